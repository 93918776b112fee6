//! Adaptive request concurrency of Vector (`src/sinks/util/adaptive_concurrency/controller.rs`): once in a mean round trip, one more request if
//! the limit was reached, nothing pushed back and the round trip is no longer than its mean; nine tenths if anything pushed back or it is longer by
//! 2.5 deviations. Mean and variance are exponential with weight 0.4.

use super::super::controller::Response;
use super::{Controller, MOST_REQUESTS};
use crate::model::knobs::Knobs;

const WEIGHT: f64 = 0.4;
const DEVIATIONS: f64 = 2.5;
const DECREASE: f64 = 0.9;

pub(super) struct Arc {
    given: Knobs,
    limit: f64,
    /// Of round trips; the mean is 0 as long as none was seen.
    mean: f64,
    variance: f64,
    /// The round trip under way.
    until: f64,
    seconds: f64,
    answers: f64,
    pushed_back: bool,
    reached: bool,
}

impl Arc {
    pub(super) fn new(given: Knobs) -> Self {
        Self {
            given,
            limit: 1.0,
            mean: 0.0,
            variance: 0.0,
            until: 0.0,
            seconds: 0.0,
            answers: 0.0,
            pushed_back: false,
            reached: false,
        }
    }

    /// A round trip has ended, in which answers took `seconds` on average, if there were any.
    fn turn(&mut self, seconds: Option<f64>) {
        let threshold = self.mean + DEVIATIONS * self.variance.sqrt();
        let is_slower = seconds.is_some_and(|seconds| seconds >= threshold);
        let is_no_slower = seconds.is_some_and(|seconds| seconds <= self.mean);
        if self.limit < MOST_REQUESTS && self.reached && !self.pushed_back && is_no_slower {
            self.limit += 1.0;
        } else if self.limit > 1.0 && (self.pushed_back || is_slower) {
            self.limit = (self.limit * DECREASE).floor().max(1.0);
        }
        if let Some(seconds) = seconds {
            let difference = seconds - self.mean;
            self.mean += WEIGHT * difference;
            self.variance = (1.0 - WEIGHT) * (self.variance + WEIGHT * difference * difference);
        }
    }
}

impl Controller for Arc {
    fn begin(&mut self, knobs: &mut Knobs, _partitions: usize) {
        *knobs = Knobs { requests_in_flight: 1, ..self.given };
    }

    fn answered(&mut self, response: &Response, knobs: &mut Knobs) {
        self.pushed_back |= response.throttled;
        if !response.throttled {
            self.seconds += response.latency;
            self.answers += 1.0;
        }
        self.reached |= response.in_flight + 1 >= self.limit as usize;
        let seconds = (self.answers > 0.0).then(|| self.seconds / self.answers);
        if self.mean == 0.0 {
            self.mean = seconds.unwrap_or(0.0);
            self.until = response.now + self.mean;
        } else if response.now >= self.until {
            self.turn(seconds);
            self.until = response.now + self.mean;
            (self.seconds, self.answers) = (0.0, 0.0);
            (self.pushed_back, self.reached) = (false, false);
            knobs.requests_in_flight = self.limit as usize;
        }
    }
}
