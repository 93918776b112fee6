//! `--max-rate` and `--limit`: how many documents may be read, and how fast.
//!
//! A read reserves its documents beforehand and is refunded what it did not find, so that several readers together keep to the rate.

use std::time::Duration;
use tokio::time::Instant;

/// A paced read takes at most this much of a second's documents: small enough that a kill loses little.
const SLICE: f64 = 0.05;

/// A paced run reads no further ahead of what has met its end than so many seconds' documents, where a target is slow or fails: what a kill undoes is read
/// again, and who asks for a rate does not want more to be read than that.
const AHEAD: f64 = 1.5;

/// The budget of documents.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Option<f64>,
    /// The time at which everything reserved so far is paid for.
    paid_until: Option<Instant>,
    /// Documents that may still be read.
    left: Option<u64>,
}

impl Pace {
    pub(crate) fn new(rate: Option<f64>, limit: Option<u64>) -> Self {
        Self { rate, paid_until: None, left: limit }
    }

    /// Whether the limit is reached.
    pub(crate) fn is_spent(&self) -> bool {
        self.left == Some(0)
    }

    /// The time before which nothing may be read.
    pub(crate) fn wait(&self, now: Instant) -> Option<Instant> {
        self.paid_until.filter(|until| *until > now)
    }

    /// Whether so many documents that were read and have not met their end are enough.
    pub(crate) fn is_far_ahead(&self, unfinished: u64) -> bool {
        self.rate.is_some_and(|rate| unfinished as f64 >= (rate * AHEAD).max(1.0))
    }

    /// Reserves up to `documents`; at least one.
    pub(crate) fn reserve(&mut self, documents: usize, now: Instant) -> usize {
        let mut granted = documents;
        if let Some(left) = &mut self.left {
            granted = granted.min(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= granted as u64;
        }
        if let Some(rate) = self.rate {
            let slice = ((rate * SLICE) as usize).max(1);
            if let Some(left) = &mut self.left {
                *left += granted.saturating_sub(slice) as u64;
            }
            granted = granted.min(slice);
            // Time that passed without a read is not made up for.
            let from = self.paid_until.map_or(now, |until| until.max(now));
            self.paid_until = Some(from + Duration::from_secs_f64(granted as f64 / rate));
        }
        granted
    }

    /// Gives back what was reserved and not read.
    pub(crate) fn refund(&mut self, documents: usize) {
        if let Some(left) = &mut self.left {
            *left += documents as u64;
        }
        if let (Some(rate), Some(until)) = (self.rate, &mut self.paid_until) {
            *until = until.checked_sub(Duration::from_secs_f64(documents as f64 / rate)).unwrap_or(*until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn keeps_to_the_rate_and_to_the_limit() {
        let mut pace = Pace::new(Some(1000.0), Some(5000));
        let begin = Instant::now();
        let mut read = 0;
        while !pace.is_spent() {
            if let Some(until) = pace.wait(Instant::now()) {
                tokio::time::sleep_until(until).await;
            }
            let granted = pace.reserve(400, Instant::now());
            let found = granted.min(30);
            pace.refund(granted - found);
            read += found;
        }
        assert_eq!(read, 5000);
        let seconds = begin.elapsed().as_secs_f64();
        assert!((4.9..=5.1).contains(&seconds), "{seconds}");
    }
}
