//! Gradient2 of Netflix' concurrency-limits (`Gradient2Limit.java`): the limit is multiplied by how much longer a round trip takes now than it
//! has taken over a long time, and four are added for the queue.
//!
//! ```text
//! limit <- 0.8 limit + 0.2 (limit * clamp(long / short, 0.5, 1) + 4)      nothing while less than half of the limit is in use
//! ```
//!
//! `short` is the mean of a window of a second, `long` its exponential mean over 600 windows, which falls by a tenth where it is more than twice
//! `short`. The law does not know of throttling; in its favour, a window with any costs it a tenth of the limit.

use super::super::controller::Response;
use super::{Controller, MOST_REQUESTS};
use crate::model::knobs::Knobs;

const FIRST: f64 = 20.0;
/// Published is 20, which its authors call undesirable for batches.
const LEAST: f64 = 4.0;
const QUEUE: f64 = 4.0;
const SMOOTHING: f64 = 0.2;
const LONG_WINDOW: f64 = 600.0;
/// The long mean is a plain one for so many windows.
const WARM_UP: f64 = 10.0;
/// Answers that make a window, and its length.
const LEAST_ANSWERS: f64 = 10.0;
const WINDOW: f64 = 1.0;
const DROP: f64 = 0.9;

pub(super) struct Gradient2 {
    given: Knobs,
    limit: f64,
    long: f64,
    windows: f64,
    began: f64,
    seconds: f64,
    answers: f64,
    peak: usize,
    throttled: bool,
}

impl Gradient2 {
    pub(super) fn new(given: Knobs) -> Self {
        Self {
            given,
            limit: FIRST,
            long: 0.0,
            windows: 0.0,
            began: 0.0,
            seconds: 0.0,
            answers: 0.0,
            peak: 0,
            throttled: false,
        }
    }

    /// A window has ended in which a round trip took `short`.
    fn turn(&mut self, short: f64) {
        self.windows += 1.0;
        self.long = if self.windows <= WARM_UP {
            (self.long * (self.windows - 1.0) + short) / self.windows
        } else {
            self.long + (short - self.long) * 2.0 / (LONG_WINDOW + 1.0)
        };
        if self.long > 2.0 * short {
            self.long *= 0.9;
        }
        if (self.peak as f64) < self.limit / 2.0 {
            return;
        }
        let gradient = (self.long / short).clamp(0.5, 1.0);
        self.limit += SMOOTHING * (self.limit * gradient + QUEUE - self.limit);
        if self.throttled {
            self.limit *= DROP;
        }
        self.limit = self.limit.clamp(LEAST, MOST_REQUESTS);
    }
}

impl Controller for Gradient2 {
    fn begin(&mut self, knobs: &mut Knobs, _partitions: usize) {
        *knobs = Knobs { requests_in_flight: FIRST as usize, ..self.given };
    }

    fn answered(&mut self, response: &Response, knobs: &mut Knobs) {
        if response.throttled {
            self.throttled = true;
            return;
        }
        self.seconds += response.latency;
        self.answers += 1.0;
        self.peak = self.peak.max(response.in_flight + 1);
        if response.now - self.began < WINDOW || self.answers < LEAST_ANSWERS {
            return;
        }
        self.turn(self.seconds / self.answers);
        knobs.requests_in_flight = self.limit as usize;
        (self.began, self.seconds, self.answers) = (response.now, 0.0, 0.0);
        (self.peak, self.throttled) = (0, false);
    }
}
