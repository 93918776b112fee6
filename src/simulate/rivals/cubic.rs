//! Adaptive retry mode of the AWS SDKs (`client_rate_limiter.rs` of smithy-rs): a token bucket for all requests of a client, switched on by the
//! first throttled one. Its rate falls to 0.7 of what was measured, and climbs back along TCP CUBIC's curve.
//!
//! ```text
//! throttled:  most <- measured;  rate <- 0.7 most
//! else:       rate <- 0.4 (t - (0.3 most / 0.4)^(1/3))^3 + most           t since the last throttled request; never above twice what is measured
//! ```
//!
//! The measured rate is taken over half seconds, with weight 0.8. A request that is throttled takes its token once, in the law's favour.

use super::super::controller::Response;
use super::Controller;
use crate::model::knobs::Knobs;

const SCALE: f64 = 0.4;
const BETA: f64 = 0.7;
const WEIGHT: f64 = 0.8;
const BUCKETS_PER_SECOND: f64 = 2.0;
const LEAST_RATE: f64 = 0.5;
const LEAST_CAPACITY: f64 = 1.0;

pub(super) struct Cubic {
    given: Knobs,
    is_on: bool,
    /// Requests per second that are let through, and those that are.
    rate: f64,
    measured: f64,
    /// When measuring began anew, and answers since.
    measured_at: f64,
    answers: f64,
    /// The rate at the last throttled request, and its time.
    most: f64,
    throttled_at: f64,
    tokens: f64,
    filled_at: f64,
}

impl Cubic {
    pub(super) fn new(given: Knobs) -> Self {
        Self {
            given,
            is_on: false,
            rate: LEAST_RATE,
            measured: 0.0,
            measured_at: 0.0,
            answers: 0.0,
            most: 0.0,
            throttled_at: 0.0,
            tokens: 0.0,
            filled_at: 0.0,
        }
    }

    fn fill(&mut self, now: f64) {
        let capacity = self.rate.max(LEAST_CAPACITY);
        self.tokens = (self.tokens + (now - self.filled_at) * self.rate).min(capacity);
        self.filled_at = now;
    }

    fn measure(&mut self, now: f64) {
        self.answers += 1.0;
        let bucket = (now * BUCKETS_PER_SECOND).floor() / BUCKETS_PER_SECOND;
        if bucket > self.measured_at {
            let rate = self.answers / (bucket - self.measured_at);
            self.measured += WEIGHT * (rate - self.measured);
            (self.answers, self.measured_at) = (0.0, bucket);
        }
    }
}

impl Controller for Cubic {
    fn begin(&mut self, knobs: &mut Knobs, _partitions: usize) {
        *knobs = self.given;
    }

    fn answered(&mut self, response: &Response, _knobs: &mut Knobs) {
        self.measure(response.now);
        let rate = if response.throttled {
            self.most = if self.is_on { self.measured.min(self.rate) } else { self.measured };
            (self.throttled_at, self.is_on) = (response.now, true);
            self.most * BETA
        } else {
            let back_after = (self.most * (1.0 - BETA) / SCALE).cbrt();
            SCALE * (response.now - self.throttled_at - back_after).powi(3) + self.most
        };
        self.fill(response.now);
        self.rate = rate.min(2.0 * self.measured).max(LEAST_RATE);
        self.tokens = self.tokens.min(self.rate.max(LEAST_CAPACITY));
    }

    fn may_send(&mut self, now: f64, _partition: usize, _in_flight: usize) -> Result<(), f64> {
        if !self.is_on {
            return Ok(());
        }
        self.fill(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(now + (1.0 - self.tokens) / self.rate)
    }
}
