//! docferry's own tuner as a controller: the very code that a real run is tuned by.

use super::controller::Controller;
use crate::model::decision::{Decision, Effect};
use crate::model::knobs::Knobs;
use crate::model::sample::Sample;
use crate::model::scaling::Scaling;
use crate::tuner::Tuner;

/// Drives the tuner.
pub(super) struct Docferry<'a> {
    tuner: Tuner,
    /// Sees every decision and the time of it.
    pub(super) told: Box<dyn FnMut(f64, &Sample, &Knobs, &[Decision]) + 'a>,
}

impl<'a> Docferry<'a> {
    pub(super) fn new(
        scaling: Scaling,
        told: Box<dyn FnMut(f64, &Sample, &Knobs, &[Decision]) + 'a>,
    ) -> Self {
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
