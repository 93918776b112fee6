//! Additive increase, multiplicative decrease (Chiu and Jain 1989; TCP Reno): one more request in flight per round trip, half of them when any
//! was throttled in it.

use super::super::controller::Response;
use super::{Controller, MOST_REQUESTS};
use crate::model::knobs::Knobs;

const DECREASE: f64 = 0.5;

pub(super) struct Aimd {
    given: Knobs,
    limit: f64,
    /// The round trip under way: its end, whether anything was throttled in it, the most that was in flight.
    until: f64,
    throttled: bool,
    peak: usize,
}

impl Aimd {
    pub(super) fn new(given: Knobs) -> Self {
        Self { given, limit: 1.0, until: 0.0, throttled: false, peak: 0 }
    }
}

impl Controller for Aimd {
    fn begin(&mut self, knobs: &mut Knobs, _partitions: usize) {
        *knobs = Knobs { requests_in_flight: 1, ..self.given };
    }

    fn answered(&mut self, response: &Response, knobs: &mut Knobs) {
        self.throttled |= response.throttled;
        self.peak = self.peak.max(response.in_flight + 1);
        if response.now < self.until {
            return;
        }
        if self.throttled {
            self.limit = (self.limit * DECREASE).max(1.0);
        } else if self.peak as f64 >= self.limit {
            self.limit = (self.limit + 1.0).min(MOST_REQUESTS);
        }
        knobs.requests_in_flight = self.limit as usize;
        (self.until, self.throttled, self.peak) = (response.now + response.latency, false, 0);
    }
}
