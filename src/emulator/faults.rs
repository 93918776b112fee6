//! What goes wrong on purpose: latency, and failures drawn with given probabilities from a seed.
//!
//! Faults befall requests for documents only; what a client needs to find its container always works. Each request draws one
//! number for each fault that is set, in a fixed order, so that one client that asks one thing after another
//! meets the same faults again with the same seed.

use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

/// The faults that are set; a probability lies between 0 and 1. `POST /_faults` changes the fields that it names.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Every request for documents waits so long before it is answered.
    pub latency_ms: f64,
    /// Up to so much more or less, evenly.
    pub jitter_ms: f64,
    /// A larger body is answered with 413.
    pub body_limit: usize,
    /// 429 with substatus 3200 for the whole request, and nothing is done.
    pub throttle: f64,
    /// 429 with substatus 3200 for one operation of a range batch, which is not done.
    pub throttle_operation: f64,
    /// 449: two writers met; nothing is done.
    pub retry_with: f64,
    /// 500; nothing is done.
    pub internal: f64,
    /// 503; nothing is done.
    pub unavailable: f64,
    /// 408, though the request was done.
    pub timeout_after_commit: f64,
    /// The connection is closed; nothing is done.
    pub drop_before_commit: f64,
    /// The connection is closed, though the request was done.
    pub drop_after_commit: f64,
    /// The request is done and not answered before `stall_ms` have passed.
    pub stall: f64,
    /// How long a stalled answer takes.
    pub stall_ms: u64,
}

/// The service's limit of a request.
const BODY_LIMIT: usize = 2 * 1024 * 1024;

impl Default for Faults {
    fn default() -> Self {
        Self {
            latency_ms: 0.0,
            jitter_ms: 0.0,
            body_limit: BODY_LIMIT,
            throttle: 0.0,
            throttle_operation: 0.0,
            retry_with: 0.0,
            internal: 0.0,
            unavailable: 0.0,
            timeout_after_commit: 0.0,
            drop_before_commit: 0.0,
            drop_after_commit: 0.0,
            stall: 0.0,
            stall_ms: 600_000,
        }
    }
}

/// A fault that befalls a whole request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Throttle,
    RetryWith,
    Internal,
    Unavailable,
    TimeoutAfterCommit,
    DropBeforeCommit,
    DropAfterCommit,
    Stall,
}

impl Faults {
    /// These faults with the fields changed that `text` (a JSON object) names.
    pub fn changed_by(&self, text: &[u8]) -> Result<Self, String> {
        let mut fields = serde_json::to_value(self).map_err(|cause| cause.to_string())?;
        let changes: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(text).map_err(|cause| cause.to_string())?;
        if let Some(fields) = fields.as_object_mut() {
            fields.extend(changes);
        }
        let faults: Self = serde_json::from_value(fields).map_err(|cause| cause.to_string())?;
        faults.check().map(|()| faults)
    }

    fn check(&self) -> Result<(), String> {
        let probabilities = self.of_requests().map(|(share, _)| share);
        for share in probabilities.into_iter().chain([self.throttle_operation]) {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("{share} is no probability: it must lie between 0 and 1"));
            }
        }
        if !(0.0..=1e6).contains(&self.latency_ms) || !(0.0..=1e6).contains(&self.jitter_ms) {
            return Err("latency_ms and jitter_ms must lie between 0 and 1000000".to_owned());
        }
        Ok(())
    }

    fn of_requests(&self) -> [(f64, Fault); 8] {
        [
            (self.throttle, Fault::Throttle),
            (self.retry_with, Fault::RetryWith),
            (self.internal, Fault::Internal),
            (self.unavailable, Fault::Unavailable),
            (self.timeout_after_commit, Fault::TimeoutAfterCommit),
            (self.drop_before_commit, Fault::DropBeforeCommit),
            (self.drop_after_commit, Fault::DropAfterCommit),
            (self.stall, Fault::Stall),
        ]
    }
}

/// The faults that are set now, and the dice.
#[derive(Debug)]
pub(super) struct Dice {
    faults: RwLock<Faults>,
    random: Mutex<fastrand::Rng>,
}

impl Dice {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        Self { faults: RwLock::new(faults), random: Mutex::new(fastrand::Rng::with_seed(seed)) }
    }

    pub(super) fn faults(&self) -> Faults {
        self.faults.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, faults: Faults) {
        *self.faults.write().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// The fault that befalls the next request, if any. The first that is drawn wins.
    pub(super) fn request(&self, faults: &Faults) -> Option<Fault> {
        let set = faults.of_requests().into_iter().filter(|(share, _)| *share > 0.0);
        let mut drawn = None;
        for (share, fault) in set {
            let is_hit = self.is_hit(share);
            drawn = drawn.or(is_hit.then_some(fault));
        }
        drawn
    }

    /// Whether something of this probability happens.
    pub(super) fn is_hit(&self, share: f64) -> bool {
        share > 0.0 && self.roll() < share
    }

    /// How long the next answer takes.
    pub(super) fn latency(&self, faults: &Faults) -> Duration {
        if faults.latency_ms == 0.0 && faults.jitter_ms == 0.0 {
            return Duration::ZERO;
        }
        let jitter = if faults.jitter_ms > 0.0 { faults.jitter_ms * (2.0 * self.roll() - 1.0) } else { 0.0 };
        Duration::from_secs_f64((faults.latency_ms + jitter).max(0.0) / 1000.0)
    }

    fn roll(&self) -> f64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_faults() {
        let faults =
            Faults { throttle: 0.3, stall: 0.3, jitter_ms: 5.0, latency_ms: 1.0, ..Faults::default() };
        let draw = |seed| {
            let dice = Dice::new(faults.clone(), seed);
            (0..100).map(|_| (dice.request(&faults), dice.latency(&faults))).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let hits = draw(1).iter().filter(|(fault, _)| *fault == Some(Fault::Throttle)).count();
        assert!((15..45).contains(&hits), "{hits}");
        assert!(draw(1).iter().all(|(_, latency)| *latency <= Duration::from_millis(6)));
    }

    #[test]
    fn only_named_fields_change() {
        let faults = Faults { latency_ms: 5.0, ..Faults::default() };
        for wrong in ["[]", r#"{"throtle":1}"#, r#"{"throttle":2}"#, r#"{"latency_ms":-1}"#] {
            assert!(faults.changed_by(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let changed = faults.changed_by(br#"{"throttle": 0.5}"#).unwrap();
        assert_eq!(changed, Faults { throttle: 0.5, ..faults });
    }
}
