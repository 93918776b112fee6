//! Credits: the bytes of documents that may be in memory at once.
//!
//! A read takes the credits of its batch and of the batch's expected growth in transform *before* it reads, so nothing that
//! is in memory ever waits for credits, and the pipeline cannot lock up. Growth beyond the estimate overdraws: reading then
//! pauses until the debt is paid. A document larger than the whole budget passes when nothing else is in memory, or nothing but what
//! stands still: a lane that takes nothing holds its backlog for as long as it likes, so where no credit has come back for a while a quarter of
//! the budget may be overdrawn, and a large document passes beside that much.
//!
//! Where the target needs total order, batches of later partitions wait for the *head*, the oldest partition that is not finished. They may take half of the
//! budget only; and when nothing of the head or before it is in memory, the head is granted whatever it asks for, because
//! nothing but the head can then free credits.

use crate::model::meter::Meter;
use crate::model::partition::PartitionIndex;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How a partition stands to the others when it asks for credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The target needs no total order.
    Equal,
    /// As equal, and its lanes have enough: it leaves room for one batch more, so that a lane that runs dry need not wait for others.
    Fed,
    /// It asks for a large document, and what is in use does not come back.
    Stranded,
    /// The oldest unfinished partition of a totally ordered target.
    Head,
    /// A later one.
    Behind,
}

/// The budget of a run.
#[derive(Debug)]
pub(crate) struct Credits {
    state: Mutex<State>,
    /// Wakes the task that asks for credits.
    freed: Arc<Notify>,
    meter: Arc<Meter>,
}

#[derive(Debug)]
struct State {
    budget: u64,
    used: u64,
    /// The last time that some came back.
    freed: Instant,
    by_partition: BTreeMap<PartitionIndex, u64>,
}

impl Credits {
    pub(crate) fn new(budget: u64, freed: Arc<Notify>, meter: Arc<Meter>) -> Arc<Self> {
        let state = State { budget, used: 0, freed: Instant::now(), by_partition: BTreeMap::new() };
        Arc::new(Self { state: Mutex::new(state), freed, meter })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the budget. What is in use stays.
    pub(crate) fn resize(&self, budget: u64) {
        self.lock().budget = budget;
        self.freed.notify_one();
    }

    /// The last time that some came back.
    pub(crate) fn last_freed(&self) -> Instant {
        self.lock().freed
    }

    /// Whether there are not even so many for a partition among equals: then there is no need to choose one.
    pub(crate) fn lack(&self, bytes: u64) -> bool {
        let state = self.lock();
        state.used > 0 && state.used + bytes > state.budget
    }

    /// Takes credits if there are enough.
    pub(crate) fn try_take(
        self: &Arc<Self>,
        partition: PartitionIndex,
        bytes: u64,
        standing: Standing,
    ) -> Option<Credit> {
        let mut state = self.lock();
        let granted = match standing {
            Standing::Equal => state.used + bytes <= state.budget || state.used == 0,
            Standing::Fed => state.used + 2 * bytes <= state.budget || state.used == 0,
            Standing::Stranded => {
                let quarter = state.budget / 4;
                state.used + bytes <= state.budget + quarter || state.used <= quarter
            }
            Standing::Behind => state.used + bytes <= state.budget / 2,
            Standing::Head => {
                state.used + bytes <= state.budget
                    || state.by_partition.range(..=partition).all(|(_, held)| *held == 0)
            }
        };
        granted.then(|| {
            self.change(&mut state, partition, bytes as i64);
            drop(state);
            Credit { credits: Arc::clone(self), partition, bytes }
        })
    }

    fn change(&self, state: &mut State, partition: PartitionIndex, bytes: i64) {
        state.used = state.used.saturating_add_signed(bytes);
        if bytes < 0 {
            state.freed = Instant::now();
        }
        let held = state.by_partition.entry(partition).or_default();
        *held = held.saturating_add_signed(bytes);
        if *held == 0 {
            state.by_partition.remove(&partition);
        }
        self.meter.credits.set(state.used);
        self.meter.peak_credits.raise(state.used);
    }
}

/// Credits taken; dropping them gives them back.
#[derive(Debug)]
pub(crate) struct Credit {
    credits: Arc<Credits>,
    partition: PartitionIndex,
    bytes: u64,
}

impl Credit {
    /// Changes the amount to what is really held, which may overdraw.
    pub(crate) fn resize(&mut self, bytes: u64) {
        let change = bytes as i64 - self.bytes as i64;
        self.bytes = bytes;
        self.credits.change(&mut self.credits.lock(), self.partition, change);
        if change < 0 {
            self.credits.freed.notify_one();
        }
    }

    /// What it pays for.
    #[cfg(test)]
    pub(crate) fn held(&self) -> u64 {
        self.bytes
    }

    /// Adds to the amount, which may overdraw.
    pub(crate) fn grow(&mut self, bytes: u64) {
        if bytes > 0 {
            self.resize(self.bytes + bytes);
        }
    }

    /// Parts with some of it (at most all).
    pub(crate) fn split(&mut self, bytes: u64) -> Credit {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Credit { credits: Arc::clone(&self.credits), partition: self.partition, bytes }
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.resize(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credits(budget: u64) -> Arc<Credits> {
        Credits::new(budget, Arc::new(Notify::new()), Arc::new(Meter::default()))
    }

    #[test]
    fn a_large_document_passes_alone() {
        let credits = credits(100);
        let small = credits.try_take(0, 10, Standing::Equal).unwrap();
        assert!(credits.try_take(0, 500, Standing::Equal).is_none());
        drop(small);
        assert!(!credits.lack(500));
        let large = credits.try_take(0, 500, Standing::Equal).unwrap();
        assert!(credits.lack(1));
        assert!(credits.try_take(0, 1, Standing::Equal).is_none());
        drop(large);
        assert_eq!(credits.lock().used, 0);
        assert!(credits.lock().by_partition.is_empty());
    }

    #[test]
    fn a_large_document_passes_beside_a_quarter_that_does_not_come_back() {
        let credits = credits(100);
        let mut stuck = credits.try_take(0, 26, Standing::Equal).unwrap();
        assert!(credits.try_take(1, 75, Standing::Equal).is_none());
        drop(credits.try_take(1, 99, Standing::Stranded).unwrap());
        assert!(credits.try_take(1, 100, Standing::Stranded).is_none());
        stuck.resize(25);
        drop(credits.try_take(1, 500, Standing::Stranded).unwrap());
        assert_eq!(credits.lock().used, 25);
    }

    #[test]
    fn who_has_enough_leaves_room_for_who_has_not() {
        let credits = credits(100);
        let alone = credits.try_take(0, 60, Standing::Fed).unwrap();
        assert!(credits.try_take(0, 21, Standing::Fed).is_none());
        let fed = credits.try_take(0, 20, Standing::Fed).unwrap();
        let hungry = credits.try_take(1, 20, Standing::Equal).unwrap();
        drop((alone, fed, hungry));
        assert_eq!(credits.lock().used, 0);
    }

    #[test]
    fn the_head_is_never_starved_by_those_behind_it() {
        let credits = credits(100);
        let behind = credits.try_take(5, 50, Standing::Behind).unwrap();
        assert!(credits.try_take(6, 1, Standing::Behind).is_none());
        let head = credits.try_take(2, 50, Standing::Head).unwrap();
        assert!(credits.try_take(2, 80, Standing::Head).is_none(), "the head's own batch will free credits");
        drop(head);
        assert!(credits.try_take(2, 80, Standing::Head).is_some(), "only the head can free credits now");
        drop(behind);
    }

    #[test]
    fn splitting_and_resizing_keep_the_sum() {
        let credits = credits(100);
        let mut whole = credits.try_take(0, 60, Standing::Equal).unwrap();
        whole.resize(150);
        let part = whole.split(40);
        assert_eq!(credits.lock().used, 150);
        drop(whole);
        assert_eq!(credits.lock().used, 40);
        drop(part);
        assert_eq!(credits.lock().used, 0);
    }
}
