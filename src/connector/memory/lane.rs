//! A lane of the store: its budget, its ledger, and what became of it when it split.
//!
//! A split is a binary tree: the closed lane stays in the list as an inner node, its two children are appended, and a key
//! finds its leaf by the bits of its hash. So lane numbers never change their meaning and the list never shrinks.

use crate::connector::memory::budget::Budget;
use crate::connector::memory::faults::Number;
use crate::connector::memory::store::locked;
use crate::model::request::LaneId;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// What a lane has seen since the store's start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// Requests that were answered or failed by script.
    pub requests: u64,
    /// The most requests that were here at once.
    pub peak_in_flight: u64,
    /// Documents accepted.
    pub documents: u64,
    /// Requests that were throttled, wholly or in part.
    pub throttled: u64,
    /// Request units accepted in each second since the store's start.
    pub request_units: Vec<f64>,
}

/// One lane.
#[derive(Debug)]
pub(super) struct LaneState {
    pub(super) id: LaneId,
    children: OnceLock<[LaneId; 2]>,
    account: Mutex<Account>,
    requests: AtomicU64,
    in_flight: AtomicU64,
}

#[derive(Debug)]
struct Account {
    budget: Budget,
    ledger: Ledger,
    jitter: fastrand::Rng,
}

impl LaneState {
    pub(super) fn new(id: LaneId, request_units_per_second: f64) -> Self {
        let account = Account {
            budget: Budget::new(request_units_per_second),
            ledger: Ledger::default(),
            // Seeded by the lane: a test that fails fails again.
            jitter: fastrand::Rng::with_seed(u64::from(id)),
        };
        Self {
            id,
            children: OnceLock::new(),
            account: Mutex::new(account),
            requests: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
        }
    }

    /// The lanes that took over, if it is closed.
    pub(super) fn children(&self) -> Option<[LaneId; 2]> {
        self.children.get().copied()
    }

    /// Closes it in favour of `children`. False if it was closed before.
    pub(super) fn close(&self, children: [LaneId; 2]) -> bool {
        self.children.set(children).is_ok()
    }

    /// Notes that a request has come; it is gone when the visit is dropped, also by a caller that gave up waiting.
    pub(super) fn enter(&self, store: u64) -> (Number, Visit<'_>) {
        let lane = self.requests.fetch_add(1, Relaxed);
        let here = self.in_flight.fetch_add(1, Relaxed) + 1;
        let mut account = locked(&self.account);
        account.ledger.requests += 1;
        account.ledger.peak_in_flight = account.ledger.peak_in_flight.max(here);
        (Number { lane, store }, Visit(self))
    }

    /// A random share of `jitter`.
    pub(super) fn jitter(&self, jitter: Duration) -> Duration {
        jitter.mul_f64(locked(&self.account).jitter.f64())
    }

    /// Spends `cost` for one document, or says how long to wait; see [`Budget::take`].
    pub(super) fn take(&self, now: Duration, cost: f64) -> Result<(), Duration> {
        let account = &mut *locked(&self.account);
        if let Err(wait) = account.budget.take(now, cost) {
            account.ledger.throttled += 1;
            return Err(wait);
        }
        account.ledger.documents += 1;
        let second = now.as_secs() as usize;
        if account.ledger.request_units.len() <= second {
            account.ledger.request_units.resize(second + 1, 0.0);
        }
        account.ledger.request_units[second] += cost;
        Ok(())
    }

    pub(super) fn ledger(&self) -> Ledger {
        locked(&self.account).ledger.clone()
    }
}

/// A request that is with the lane.
#[derive(Debug)]
pub(super) struct Visit<'a>(&'a LaneState);

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
