//! Scripted faults: what a real target does on a bad day, at a moment that a test chooses.
//!
//! A script is a list; every fault whose moment has come takes part, so a stall and a failure may meet in one request. The
//! two failures differ in what they leave behind, and an engine must survive both: *before*, nothing was written; *after*,
//! everything was, and only the answer is lost.

use crate::error::ErrorKind;
use crate::model::request::LaneId;
use std::ops::Range;
use std::time::Duration;

/// One thing that goes wrong.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The lane it befalls; `None`: every lane.
    pub lane: Option<LaneId>,
    /// When.
    pub when: When,
    /// What.
    pub effect: Effect,
}

/// The moment of a fault. Requests count from 0: those of its lane if the fault names one, else those of the whole store.
#[derive(Clone, Debug)]
pub enum When {
    /// At every request.
    Always,
    /// At one request.
    Request(u64),
    /// At each `n`-th request, the `n`-th being the first.
    Every(u64),
    /// At the requests that arrive in this time since the store's start.
    Between(Range<Duration>),
}

/// What a fault does to a request.
#[derive(Clone, Debug)]
pub enum Effect {
    /// It fails, and nothing of it was applied.
    FailBefore(ErrorKind),
    /// It is applied, and the answer is lost.
    FailAfter(ErrorKind),
    /// It takes this much longer.
    Stall(Duration),
    /// Documents with this id are refused for good.
    Reject(String),
    /// Its lane splits, as by [`MemoryStore::split`](super::MemoryStore::split).
    Split,
}

/// A request's number: in its lane and in the whole store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    pub(super) lane: u64,
    pub(super) store: u64,
}

/// What befalls one request: all faults whose moment has come, summed up.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) stall: Duration,
    pub(super) fail_before: Option<ErrorKind>,
    pub(super) fail_after: Option<ErrorKind>,
    pub(super) reject: Vec<String>,
    pub(super) split: bool,
}

/// What befalls the request `number` of `lane`, which arrived at `now`.
pub(super) fn due(script: &[Fault], lane: LaneId, number: Number, now: Duration) -> Due {
    let mut due = Due::default();
    for fault in script.iter().filter(|fault| fault.lane.is_none_or(|only| only == lane)) {
        let number = if fault.lane.is_some() { number.lane } else { number.store };
        let has_come = match &fault.when {
            When::Always => true,
            When::Request(only) => *only == number,
            When::Every(n) => (number + 1).is_multiple_of(*n),
            When::Between(time) => time.contains(&now),
        };
        if !has_come {
            continue;
        }
        match &fault.effect {
            Effect::FailBefore(kind) => due.fail_before = Some(*kind),
            Effect::FailAfter(kind) => due.fail_after = Some(*kind),
            Effect::Stall(time) => due.stall += *time,
            Effect::Reject(id) => due.reject.push(id.clone()),
            Effect::Split => due.split = true,
        }
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_meet_when_their_moments_do() {
        let fault = |lane, when, effect| Fault { lane, when, effect };
        let script = [
            fault(Some(1), When::Request(2), Effect::FailBefore(ErrorKind::Timeout)),
            fault(None, When::Every(3), Effect::Stall(Duration::from_secs(1))),
            fault(
                None,
                When::Between(Duration::from_secs(5)..Duration::from_secs(6)),
                Effect::FailAfter(ErrorKind::Unavailable),
            ),
        ];
        let at = |lane, number, store, seconds| {
            due(&script, lane, Number { lane: number, store }, Duration::from_secs(seconds))
        };
        assert_eq!(at(1, 2, 7, 0).fail_before, Some(ErrorKind::Timeout));
        assert_eq!(at(0, 2, 7, 0).fail_before, None, "another lane");
        assert_eq!(at(1, 7, 2, 0).stall, Duration::from_secs(1), "the third request of the store");
        assert_eq!(at(0, 0, 0, 5).fail_after, Some(ErrorKind::Unavailable));
        assert_eq!(at(0, 0, 0, 6).fail_after, None);
    }
}
