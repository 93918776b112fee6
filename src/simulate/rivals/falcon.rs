//! Gradient ascent over readers, transformers and requests, in the manner of Falcon and Marlin (Arifuzzaman and Arslan, SC 2021 and TPDS 2023):
//! one pool after the other, the utility of a change is what throughput it brings, discounted by 1.02 for every worker and by what is thrown back.
//!
//! ```text
//! utility = sum over pools of throughput / 1.02^workers, times 1 - 2 min(throttled, 0.5)
//! ```
//!
//! It starts cold like docferry, and tries a setting for three seconds. The Bayesian variant is not here.

use super::{Controller, MOST_REQUESTS, MOST_WORKERS};
use crate::model::knobs::{Knob, Knobs};
use crate::model::sample::Sample;

const POOLS: [Knob; 3] = [Knob::Readers, Knob::Transformers, Knob::RequestsInFlight];
const DISCOUNT: f64 = 1.02;
const INTERVAL: f64 = 3.0;
const GROWTH: f64 = 1.5;
const SHRINKING: f64 = 0.5;
const MOST_STEP: f64 = 8.0;

pub(super) struct Falcon {
    /// The pool whose turn it is, and the step of each.
    turn: usize,
    steps: [f64; 3],
    /// A trial under way: the utility and the value before it.
    before: Option<(f64, u64)>,
}

impl Falcon {
    pub(super) fn new() -> Self {
        Self { turn: 0, steps: [1.0; 3], before: None }
    }
}

fn utility(sample: &Sample, knobs: &Knobs) -> f64 {
    let pools = [&sample.readers, &sample.transformers, &sample.requests];
    let sum: f64 = POOLS
        .into_iter()
        .zip(pools)
        .map(|(knob, pool)| pool.documents_per_second / DISCOUNT.powf(knobs.get(knob) as f64))
        .sum();
    sum * (1.0 - 2.0 * sample.throttled.min(0.5))
}

impl Controller for Falcon {
    fn interval(&self) -> f64 {
        INTERVAL
    }

    fn tick(&mut self, sample: &Sample, knobs: &mut Knobs) {
        let now = utility(sample, knobs);
        let knob = POOLS[self.turn];
        let step = &mut self.steps[self.turn];
        let Some((before, value)) = self.before.take() else {
            let value = knobs.get(knob);
            let most = if knob == Knob::RequestsInFlight { MOST_REQUESTS } else { MOST_WORKERS as f64 };
            knobs.set(knob, (value as f64 + *step).round().clamp(1.0, most) as u64);
            self.before = Some((now, value));
            return;
        };
        if now > before {
            *step = (*step * GROWTH).clamp(-MOST_STEP, MOST_STEP);
        } else {
            knobs.set(knob, value);
            let smaller = -*step * SHRINKING;
            *step = if smaller.abs() < 1.0 { smaller.signum() } else { smaller };
        }
        self.turn = (self.turn + 1) % POOLS.len();
    }
}
