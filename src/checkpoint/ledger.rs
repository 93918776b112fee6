//! The finished stretches of every partition: interval arithmetic without I/O.
//!
//! Batches of a partition follow each other without gaps, so a finished batch either touches a finished neighbour and joins it,
//! or is a new interval. What touches the low-water mark becomes part of it.
//!
//! ```text
//! finish [30,40):   low=20   ....[30,40)              one interval
//! finish [50,60):   low=20   ....[30,40)....[50,60)   two
//! finish [20,30):   low=40   ..............[50,60)    joined the mark
//! ```
//!
//! Intervals are bounded. When one more does not fit, [`Ledger::finish`] says so and the caller keeps the batch's
//! results back until there is room: what the checkpoint does not hold is replayed, never doubled, and nothing is stalled for it.

use crate::model::checkpoint::{Counters, Progress};
use crate::model::partition::{Partition, PartitionId, PartitionIndex, Position};
use std::collections::BTreeMap;

/// Intervals kept per partition. Out-of-order batches are bounded by the credits, so this is reached only by very small batches
/// behind a stopped lane; 1 024 of them are about 60 KiB of checkpoint.
const MOST_INTERVALS: usize = 1024;

/// What is finished, of all partitions.
#[derive(Debug)]
pub struct Ledger {
    partitions: Vec<Entry>,
    counters: Counters,
    most_intervals: usize,
}

#[derive(Debug)]
struct Entry {
    id: PartitionId,
    start: u64,
    low: Position,
    /// Keyed by the first place.
    intervals: BTreeMap<u64, (Position, Position)>,
}

impl Ledger {
    /// A ledger of `partitions`, beginning where `finished` says that an earlier run came to.
    pub fn new(
        partitions: &[Partition],
        finished: &BTreeMap<PartitionId, Progress>,
        counters: Counters,
    ) -> Self {
        let partitions =
            partitions.iter().map(|partition| Entry::new(partition, finished.get(&partition.id)));
        Self { partitions: partitions.collect(), counters, most_intervals: MOST_INTERVALS }
    }

    /// Counts the stretch from `from` to `to` as finished, with its counters. False: there is no room for another interval,
    /// nothing was changed, and the caller shall try again when a neighbour has finished.
    pub fn finish(
        &mut self,
        partition: PartitionIndex,
        from: &Position,
        to: &Position,
        counters: &Counters,
    ) -> bool {
        let most = self.most_intervals;
        let done = self.partitions[partition as usize].finish(from, to, most);
        if done {
            self.counters.add(counters);
        }
        done
    }

    /// Whether [`finish`](Self::finish) would take this stretch now.
    pub fn has_room(&self, partition: PartitionIndex, from: &Position, to: &Position) -> bool {
        self.partitions[partition as usize].has_room(from, to, self.most_intervals)
    }

    /// Whether everything of the partition is finished.
    pub fn is_done(&self, partition: PartitionIndex) -> bool {
        self.partitions[partition as usize].low.at == Position::END.at
    }

    /// The counters of everything finished.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The finished part, for a checkpoint. Partitions not yet begun are left out.
    pub fn progress(&self) -> BTreeMap<PartitionId, Progress> {
        self.partitions.iter().filter_map(|entry| Some((entry.id.clone(), entry.progress()?))).collect()
    }
}

impl Entry {
    fn new(partition: &Partition, finished: Option<&Progress>) -> Self {
        let mut low =
            finished.and_then(|progress| progress.low.clone()).unwrap_or_else(|| partition.start.clone());
        if finished.is_some_and(|progress| progress.done) {
            low = Position::END;
        }
        let intervals = finished.map(|progress| progress.intervals.as_slice()).unwrap_or_default();
        let intervals = intervals.iter().map(|(from, to)| (from.at, (from.clone(), to.clone()))).collect();
        Self { id: partition.id.clone(), start: partition.start.at, low, intervals }
    }

    fn has_room(&self, from: &Position, to: &Position, most_intervals: usize) -> bool {
        let joins = from.at == to.at || from.at == self.low.at || self.intervals.contains_key(&to.at);
        joins || self.intervals.len() < most_intervals || self.before(from.at).is_some()
    }

    /// The interval that ends at `at`, by its first place.
    fn before(&self, at: u64) -> Option<u64> {
        let (key, (_, end)) = self.intervals.range(..at).next_back()?;
        (end.at == at).then_some(*key)
    }

    fn finish(&mut self, from: &Position, to: &Position, most_intervals: usize) -> bool {
        if !self.has_room(from, to, most_intervals) {
            return false;
        }
        if from.at == to.at {
            return true;
        }
        if from.at == self.low.at {
            self.low = to.clone();
            while let Some((_, (_, end))) = self.intervals.remove_entry(&self.low.at) {
                self.low = end;
            }
            return true;
        }
        let before = self.before(from.at);
        let end = self.intervals.remove(&to.at).map_or_else(|| to.clone(), |(_, end)| end);
        match before.and_then(|key| self.intervals.get_mut(&key)) {
            Some(interval) => interval.1 = end,
            None => drop(self.intervals.insert(from.at, (from.clone(), end))),
        }
        true
    }

    fn progress(&self) -> Option<Progress> {
        if self.low.at == self.start && self.intervals.is_empty() {
            return None;
        }
        let done = self.low.at == Position::END.at;
        let low = (!done).then(|| self.low.clone());
        let intervals = self.intervals.values().cloned().collect();
        Some(Progress { low, intervals, done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn partition() -> Partition {
        Partition { id: PartitionId("p".into()), start: Position::default(), bytes: None, documents: None }
    }

    fn at(at: u64) -> Position {
        Position::new(at, at / 10)
    }

    #[test]
    fn a_full_ledger_refuses_a_new_interval_and_takes_it_later() {
        let mut ledger = Ledger::new(&[partition()], &BTreeMap::new(), Counters::default());
        ledger.most_intervals = 1;
        let one = Counters { read: 1, ..Counters::default() };
        assert!(ledger.finish(0, &at(20), &at(30), &one));
        assert!(!ledger.has_room(0, &at(40), &at(50)));
        assert!(!ledger.finish(0, &at(40), &at(50), &one));
        assert!(ledger.has_room(0, &at(10), &at(20)) && ledger.has_room(0, &at(30), &at(40)));
        assert!(ledger.finish(0, &at(30), &at(40), &one));
        assert!(ledger.finish(0, &at(40), &at(50), &one));
        assert_eq!(ledger.counters().read, 3);
        assert!(ledger.finish(0, &at(0), &at(20), &one));
        assert_eq!(ledger.progress()[&partition().id].low, Some(at(50)));
        assert!(ledger.finish(0, &at(50), &Position::END, &one));
        assert!(ledger.is_done(0) && ledger.progress()[&partition().id].done);
    }

    proptest! {
        /// Stretches finished in any order, with a restart in the middle: the finished part is their union, and what
        /// remains is exactly the rest.
        #[test]
        fn the_finished_part_is_the_union(order in Just((0..20u64).collect::<Vec<_>>()).prop_shuffle(), finished in 0..=20usize) {
            let mut ledger = Ledger::new(&[partition()], &BTreeMap::new(), Counters::default());
            let one = Counters { written: 1, ..Counters::default() };
            for (count, number) in order[..finished].iter().enumerate() {
                if count == finished / 2 {
                    let counters = *ledger.counters();
                    ledger = Ledger::new(&[partition()], &ledger.progress(), counters);
                }
                prop_assert!(ledger.finish(0, &at(number * 10), &at(number * 10 + 10), &one));
            }
            prop_assert_eq!(ledger.counters().written, finished as u64);
            let progress = ledger.progress().remove(&partition().id).unwrap_or_default();
            let mut remaining = Vec::new();
            for stretch in progress.remaining(&at(0)) {
                let until = stretch.until.map_or(200, |until| until.at);
                remaining.extend((stretch.from.at / 10)..(until / 10));
            }
            let mut expected = order[finished..].to_vec();
            expected.sort_unstable();
            prop_assert_eq!(remaining, expected);
        }
    }
}
