//! What goes wrong on purpose: latency, and failures drawn with given probabilities from a seed.
//!
//! Faults befall requests for documents only; what a client needs to find its container always works. Requests are counted from the moment at
//! which faults were set, and each has dice of its own, made of the seed and its number: which faults the tenth request meets depends on
//! nothing that other requests did meanwhile. A script names requests by the same number.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
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
    /// 449 for one operation of a range batch, which is not done.
    pub retry_with_operation: f64,
    /// 500 for one operation of a range batch, which is not done.
    pub internal_operation: f64,
    /// 503 for one operation of a range batch, which is not done.
    pub unavailable_operation: f64,
    /// 408 for one operation of a range batch, though it was done.
    pub timeout_after_commit_operation: f64,
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
    /// What certain requests meet, whatever is drawn.
    pub script: Vec<Scripted>,
}

/// A fault for one request.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scripted {
    /// Its number among the requests for documents since faults were set last; the first is 1.
    pub request: u64,
    /// What it meets.
    pub fault: Fault,
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
            retry_with_operation: 0.0,
            internal_operation: 0.0,
            unavailable_operation: 0.0,
            timeout_after_commit_operation: 0.0,
            retry_with: 0.0,
            internal: 0.0,
            unavailable: 0.0,
            timeout_after_commit: 0.0,
            drop_before_commit: 0.0,
            drop_after_commit: 0.0,
            stall: 0.0,
            stall_ms: 600_000,
            script: Vec::new(),
        }
    }
}

/// A fault that befalls a whole request; each but the last is named as in [`Faults`].
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "Faults says what each is")]
pub enum Fault {
    Throttle,
    RetryWith,
    Internal,
    Unavailable,
    TimeoutAfterCommit,
    DropBeforeCommit,
    DropAfterCommit,
    Stall,
    /// The range that the request names is split before the request is looked at. Only in a script.
    Split,
}

/// A fault that befalls one operation of a range batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperationFault {
    Throttle,
    RetryWith,
    Internal,
    Unavailable,
    TimeoutAfterCommit,
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
        let requests = self.of_requests().map(|(share, _)| share);
        for share in requests.into_iter().chain(self.of_operations().map(|(share, _)| share)) {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("{share} is no probability: it must lie between 0 and 1"));
            }
        }
        if self.script.iter().any(|scripted| scripted.request == 0) {
            return Err("the script names request 0: the first is 1".to_owned());
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

    fn of_operations(&self) -> [(f64, OperationFault); 5] {
        [
            (self.throttle_operation, OperationFault::Throttle),
            (self.retry_with_operation, OperationFault::RetryWith),
            (self.internal_operation, OperationFault::Internal),
            (self.unavailable_operation, OperationFault::Unavailable),
            (self.timeout_after_commit_operation, OperationFault::TimeoutAfterCommit),
        ]
    }
}

/// The faults that are set now, and how many requests have met them.
#[derive(Debug)]
pub(super) struct Dice {
    faults: RwLock<Arc<Faults>>,
    seed: u64,
    requests: AtomicU64,
}

/// What one request draws.
#[derive(Debug)]
pub(super) struct Draws {
    pub(super) faults: Arc<Faults>,
    number: u64,
    random: fastrand::Rng,
}

impl Dice {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        Self { faults: RwLock::new(Arc::new(faults)), seed, requests: AtomicU64::new(0) }
    }

    pub(super) fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.faults.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, faults: Faults) {
        let mut current = self.faults.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(faults);
        self.requests.store(0, Ordering::Relaxed);
    }

    /// The draws of the next request.
    pub(super) fn next(&self) -> Draws {
        let current = self.faults.read().unwrap_or_else(PoisonError::into_inner);
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        // An odd constant spreads the numbers over all seeds.
        let random = fastrand::Rng::with_seed(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Draws { faults: Arc::clone(&current), number, random }
    }
}

impl Draws {
    /// The fault that befalls the request, if any: what the script says, or the first that is drawn.
    pub(super) fn request(&mut self) -> Option<Fault> {
        let drawn = self.first(self.faults.of_requests());
        let scripted = self.faults.script.iter().find(|scripted| scripted.request == self.number);
        scripted.map(|scripted| scripted.fault).or(drawn)
    }

    /// The fault that befalls the next operation of the request.
    pub(super) fn operation(&mut self) -> Option<OperationFault> {
        self.first(self.faults.of_operations())
    }

    /// The first of these that is drawn. Each that is set is drawn, so that no number depends on another.
    fn first<F: Copy, const N: usize>(&mut self, faults: [(f64, F); N]) -> Option<F> {
        let mut drawn = None;
        for (share, fault) in faults {
            let is_hit = share > 0.0 && self.random.f64() < share;
            drawn = drawn.or(is_hit.then_some(fault));
        }
        drawn
    }

    /// How long the answer takes.
    pub(super) fn latency(&mut self) -> Duration {
        let Faults { latency_ms, jitter_ms, .. } = *self.faults;
        if latency_ms == 0.0 && jitter_ms == 0.0 {
            return Duration::ZERO;
        }
        let jitter = if jitter_ms > 0.0 { jitter_ms * (2.0 * self.random.f64() - 1.0) } else { 0.0 };
        Duration::from_secs_f64((latency_ms + jitter).max(0.0) / 1000.0)
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
            let draw = || {
                let mut draws = dice.next();
                (draws.request(), draws.latency())
            };
            (0..100).map(|_| draw()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let hits = draw(1).iter().filter(|(fault, _)| *fault == Some(Fault::Throttle)).count();
        assert!((15..45).contains(&hits), "{hits}");
        assert!(draw(1).iter().all(|(_, latency)| *latency <= Duration::from_millis(6)));
    }

    /// How many operations a request has decides nothing for the next one.
    #[test]
    fn each_request_has_dice_of_its_own() {
        let faults = Faults { throttle: 0.5, throttle_operation: 0.5, ..Faults::default() };
        let draw = |operations: usize| {
            let dice = Dice::new(faults.clone(), 1);
            let draw = || {
                let mut draws = dice.next();
                let fault = draws.request();
                (
                    fault,
                    draws.latency(),
                    (0..operations).map(|_| draws.operation()).take(3).collect::<Vec<_>>(),
                )
            };
            (0..50).map(|_| draw()).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(30));
    }

    #[test]
    fn a_script_names_requests_and_setting_faults_begins_to_count_again() {
        let script =
            r#"{"script":[{"request":2,"fault":"drop_after_commit"},{"request":3,"fault":"split"}]}"#;
        let faults = Faults::default().changed_by(script.as_bytes()).unwrap();
        let dice = Dice::new(faults.clone(), 1);
        let expected = [None, Some(Fault::DropAfterCommit), Some(Fault::Split), None];
        for _ in 0..2 {
            assert_eq!([(); 4].map(|()| dice.next().request()), expected);
            dice.set(faults.clone());
        }
    }

    #[test]
    fn only_named_fields_change() {
        let faults = Faults { latency_ms: 5.0, ..Faults::default() };
        for wrong in [
            "[]",
            r#"{"throtle":1}"#,
            r#"{"throttle":2}"#,
            r#"{"latency_ms":-1}"#,
            r#"{"internal_operation":-1}"#,
            r#"{"script":[{"request":0,"fault":"stall"}]}"#,
        ] {
            assert!(faults.changed_by(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let changed = faults.changed_by(br#"{"throttle": 0.5}"#).unwrap();
        assert_eq!(changed, Faults { throttle: 0.5, ..faults });
    }
}
