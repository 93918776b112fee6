//! Batches leave the transformers in any order; here they get their source order back before their documents reach the lanes.
//!
//! Order is kept inside each partition, always: it is what makes the last version of a document win. A target that needs total order
//! gets the partitions one after the other too.

use crate::model::partition::PartitionIndex;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// What comes through: a batch, or the end of its partition.
#[derive(Debug)]
pub(crate) enum Passing<T> {
    Batch(T),
    PartitionEnd,
}

/// Puts batches back in order.
#[derive(Debug)]
pub(crate) struct Reorder<T> {
    /// Early ones, by partition and sequence.
    early: HashMap<PartitionIndex, BTreeMap<u64, Passing<T>>>,
    /// The sequence expected next, by partition.
    expected: HashMap<PartitionIndex, u64>,
    /// Partitions not yet ended, in order; only the first may pass. Empty: no total order.
    order: VecDeque<PartitionIndex>,
    total: bool,
}

impl<T> Reorder<T> {
    /// `partitions` that will come, in source order.
    pub(crate) fn new(partitions: impl Iterator<Item = PartitionIndex>, total: bool) -> Self {
        let order = if total { partitions.collect() } else { VecDeque::new() };
        Self { early: HashMap::new(), expected: HashMap::new(), order, total }
    }

    /// Takes what has come, and gives out all that may pass now, in order.
    pub(crate) fn pass(
        &mut self,
        partition: PartitionIndex,
        sequence: u64,
        passing: Passing<T>,
        mut out: impl FnMut(T),
    ) {
        self.early.entry(partition).or_default().insert(sequence, passing);
        let mut partition = partition;
        while !self.total || self.order.front() == Some(&partition) {
            if !self.drain(partition, &mut out) || !self.total {
                return;
            }
            self.order.pop_front();
            let Some(next) = self.order.front() else { return };
            partition = *next;
        }
    }

    /// Gives out what is next in a partition; true if it has ended.
    fn drain(&mut self, partition: PartitionIndex, out: &mut impl FnMut(T)) -> bool {
        let expected = self.expected.entry(partition).or_default();
        let Some(early) = self.early.get_mut(&partition) else { return false };
        while let Some(passing) = early.remove(expected) {
            *expected += 1;
            match passing {
                Passing::Batch(batch) => out(batch),
                Passing::PartitionEnd => {
                    self.early.remove(&partition);
                    self.expected.remove(&partition);
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_order_in_gives_source_order_out(mut arrivals in Just((0..3u32).flat_map(|p| (0..5u64).map(move |s| (p, s))).collect::<Vec<_>>()).prop_shuffle(), total: bool) {
            let mut reorder = Reorder::new(0..3, total);
            let mut out = Vec::new();
            for (partition, sequence) in arrivals.drain(..) {
                let passing = if sequence == 4 { Passing::PartitionEnd } else { Passing::Batch((partition, sequence)) };
                reorder.pass(partition, sequence, passing, |batch| out.push(batch));
            }
            prop_assert_eq!(out.len(), 12);
            if !total {
                out.sort_by_key(|(partition, _)| *partition);
            }
            let expected: Vec<_> = (0..3u32).flat_map(|p| (0..4u64).map(move |s| (p, s))).collect();
            prop_assert_eq!(out, expected);
        }
    }
}
