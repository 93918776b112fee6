//! Throughput probing of MongoDB 7 (`throughput_probing.cpp`): every tenth of a second, in turn, measure and try a tenth more or less; the stable
//! number follows a probe by a fifth if it did better than the measurement before it.
//!
//! It begins with 16 and keeps to at least 4, as published; the most is that of all rivals rather than 128, in its favour.

use super::super::controller::Response;
use super::{Controller, MOST_REQUESTS};
use crate::model::knobs::Knobs;
use crate::model::sample::Sample;

const FIRST: f64 = 16.0;
const LEAST: f64 = 4.0;
const STEP: f64 = 0.1;
const WEIGHT: f64 = 0.2;
const INTERVAL: f64 = 0.1;

pub(super) struct Mongo {
    given: Knobs,
    is_probing: bool,
    stable: f64,
    /// Documents per second at the stable number.
    before: f64,
    peak: usize,
}

impl Mongo {
    pub(super) fn new(given: Knobs) -> Self {
        Self { given, is_probing: false, stable: FIRST, before: 0.0, peak: 0 }
    }
}

impl Controller for Mongo {
    fn begin(&mut self, knobs: &mut Knobs, _partitions: usize) {
        *knobs = Knobs { requests_in_flight: FIRST as usize, ..self.given };
    }

    fn interval(&self) -> f64 {
        INTERVAL
    }

    fn answered(&mut self, response: &Response, _knobs: &mut Knobs) {
        self.peak = self.peak.max(response.in_flight + 1);
    }

    fn tick(&mut self, sample: &Sample, knobs: &mut Knobs) {
        let requests = knobs.requests_in_flight as f64;
        let next = if self.is_probing {
            if sample.documents_per_second > self.before {
                self.stable += WEIGHT * (requests - self.stable);
            }
            self.is_probing = false;
            self.stable.round()
        } else {
            self.before = sample.documents_per_second;
            self.is_probing = true;
            if self.peak as f64 >= requests {
                (self.stable * (1.0 + STEP)).round().max(requests + 1.0)
            } else {
                (self.stable * (1.0 - STEP)).round().min(requests - 1.0)
            }
        };
        self.stable = self.stable.clamp(LEAST, MOST_REQUESTS);
        knobs.requests_in_flight = next.clamp(LEAST, MOST_REQUESTS) as usize;
        self.peak = 0;
    }
}
