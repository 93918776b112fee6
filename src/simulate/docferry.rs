//! docferry's own tuner as a controller: the very code that a real run is tuned by, with the profile `balanced`.

use super::controller::Controller;
use crate::model::decision::{Decision, Effect};
use crate::model::knobs::{Bounds, Ceilings, Knobs};
use crate::model::sample::Sample;
use crate::model::scaling::{Policy, Scaling};
use crate::tuner::Tuner;
use std::time::Duration;

/// A cold start.
pub(super) const START: Knobs = Knobs {
    readers: 4,
    transformers: 4,
    requests_in_flight: 8,
    batch_documents: 5_000,
    request_documents: 100,
    credit_bytes: 32 << 20,
};

/// The ceilings of the profile `balanced`, which rivals and the oracle are held against too.
pub(super) const CEILINGS: Ceilings = Ceilings {
    cpu: 0.70,
    cpu_grow_below: 0.65,
    cpu_shrink_below: 0.40,
    memory: 0.75,
    memory_grow_below: 0.70,
    memory_shrink_below: 0.50,
    gpu_memory: 0.75,
    errors: 0.02,
};

/// The profile `balanced`, on a machine with four cores or more.
pub fn balanced() -> Scaling {
    Scaling {
        policy: Policy::Hybrid,
        bounds: Bounds {
            least: Knobs {
                readers: 4,
                transformers: 4,
                requests_in_flight: 1,
                batch_documents: 2_000,
                request_documents: 1,
                credit_bytes: 4 << 20,
            },
            most: Knobs {
                readers: 30,
                transformers: 30,
                requests_in_flight: 512,
                batch_documents: 75_000,
                request_documents: 100,
                credit_bytes: 1 << 60,
            },
        },
        ceilings: CEILINGS,
        confidence: 0.85,
        search_step: 2.0,
        settled_step: 1.2,
        step_workers: 8,
        batch_step: 1.6,
        worth: 0.1,
        direction_limit: 6,
        smoothing: 0.3,
        latency_target: None,
        check_interval: Duration::from_secs(5),
        cooldown: Duration::from_secs(30),
        target_docs_per_second: 10_000.0,
        stop_at_target: false,
    }
}

/// Sees a tick: its time, what was measured, the knobs before it, and what was decided.
pub(super) type Told<'a> = Box<dyn FnMut(f64, &Sample, &Knobs, &[Decision]) + 'a>;

/// Drives the tuner.
pub(super) struct Docferry<'a> {
    tuner: Tuner,
    told: Told<'a>,
}

impl<'a> Docferry<'a> {
    pub(super) fn new(scaling: Scaling, told: Told<'a>) -> Self {
        Self { tuner: Tuner::new(scaling), told }
    }
}

impl Controller for Docferry<'_> {
    fn is_paced(&self) -> bool {
        true
    }

    fn sets_credits(&self) -> bool {
        true
    }

    fn tick(&mut self, sample: &Sample, knobs: &mut Knobs) {
        let decisions = self.tuner.decide(sample, knobs);
        (self.told)(sample.at.as_secs_f64(), sample, knobs, &decisions);
        for decision in decisions.iter().filter(|decision| decision.effect == Effect::Turned) {
            knobs.set(decision.knob, decision.to);
        }
    }
}
