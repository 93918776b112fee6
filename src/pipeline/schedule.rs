//! Which partition is read next.
//!
//! Every read is one batch of one partition, so the choice is made anew for each. A target that needs total order is read in source order.
//! Any other is read from the partition whose lanes have the least backlog: a lane that stands still fills to its cap and its
//! partitions are left alone, while the credits that come free go to those whose lanes starve. New partitions are opened only while
//! the open ones are above half of their lanes' caps, so that a source of ten thousand partitions does not open them all.

use crate::connector::Reader;
use crate::model::partition::{PartitionIndex, Stretch};
use crate::model::request::LaneId;
use crate::pipeline::credits::Standing;
use std::collections::VecDeque;

/// A partition to be read, or being read.
pub(crate) struct Work {
    pub(crate) partition: PartitionIndex,
    /// What is to be read, in order; the first is being read.
    pub(crate) stretches: VecDeque<Stretch>,
    /// Open on the first stretch.
    pub(crate) reader: Option<Box<dyn Reader>>,
    /// The number of the next batch.
    pub(crate) sequence: u64,
    /// The reader asked for a batch of at least this size.
    pub(crate) needs: Option<usize>,
}

/// All partitions that are not read to their end.
pub(crate) struct Schedule {
    /// In source order.
    unopened: VecDeque<Work>,
    /// Open and not being read.
    idle: Vec<Work>,
    /// Partitions being read.
    reading: Vec<PartitionIndex>,
    total_order: bool,
    /// Partitions that may be open at once.
    pub(crate) most_open: usize,
}

impl Schedule {
    pub(crate) fn new(work: Vec<Work>, total_order: bool) -> Self {
        Self { unopened: work.into(), idle: Vec::new(), reading: Vec::new(), total_order, most_open: 1 }
    }

    /// The partitions that will be read, in source order.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = PartitionIndex> {
        self.unopened.iter().map(|work| work.partition)
    }

    /// Partitions that are not read to their end.
    pub(crate) fn unfinished(&self) -> usize {
        self.unopened.len() + self.idle.len() + self.reading.len()
    }

    /// Whether none is being read.
    pub(crate) fn is_resting(&self) -> bool {
        self.reading.is_empty()
    }

    /// The partition to be read next, with its standing; nothing if every one is being read or has full lanes.
    /// `pressure` tells how full the fullest lane of a partition is (1: full).
    pub(crate) fn next(&self, pressure: impl Fn(PartitionIndex) -> f64) -> Option<(Choice, Standing, &Work)> {
        let choice = if self.total_order { self.in_order() } else { self.least_pressed(pressure) }?;
        let work = match choice {
            Choice::Idle(at) => &self.idle[at],
            Choice::Unopened => self.unopened.front()?,
        };
        let standing = match self.total_order {
            false => Standing::Equal,
            true if self.reading.iter().all(|other| *other > work.partition) => Standing::Head,
            true => Standing::Behind,
        };
        Some((choice, standing, work))
    }

    fn in_order(&self) -> Option<Choice> {
        let idle = self.idle.iter().enumerate().min_by_key(|(_, work)| work.partition);
        match (idle, self.unopened.front()) {
            (Some((at, idle)), unopened) if unopened.is_none_or(|work| work.partition > idle.partition) => {
                Some(Choice::Idle(at))
            }
            (_, Some(_)) if self.open() < self.most_open => Some(Choice::Unopened),
            (Some((at, _)), _) => Some(Choice::Idle(at)),
            _ => None,
        }
    }

    fn least_pressed(&self, pressure: impl Fn(PartitionIndex) -> f64) -> Option<Choice> {
        // Whoever asked for a large batch goes first: it waits until enough credits are free, and must not be overtaken for ever.
        if let Some(at) = self.idle.iter().position(|work| work.needs.is_some()) {
            return Some(Choice::Idle(at));
        }
        let least = self
            .idle
            .iter()
            .enumerate()
            .map(|(at, work)| (pressure(work.partition), work.partition, at))
            .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let can_open = !self.unopened.is_empty() && self.open() < self.most_open;
        match least {
            // Half of the cap is a lane's fair share of the credits.
            Some((pressure, _, at)) if pressure < 0.5 || (pressure < 1.0 && !can_open) => Some(Choice::Idle(at)),
            _ if can_open => Some(Choice::Unopened),
            _ => None,
        }
    }

    fn open(&self) -> usize {
        self.idle.len() + self.reading.len()
    }

    /// Takes a choice out, to be read.
    pub(crate) fn take(&mut self, choice: Choice) -> Option<Work> {
        let work = match choice {
            Choice::Idle(at) => self.idle.swap_remove(at),
            Choice::Unopened => self.unopened.pop_front()?,
        };
        self.reading.push(work.partition);
        Some(work)
    }

    /// Gives a partition back after a read; none if it is read to its end.
    pub(crate) fn give_back(&mut self, partition: PartitionIndex, work: Option<Work>) {
        self.reading.retain(|reading| *reading != partition);
        self.idle.extend(work);
    }
}

/// Which partition was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Idle(usize),
    Unopened,
}

/// The lanes that a partition's last batch went to: where its next one will most likely go.
#[derive(Debug, Default)]
pub(crate) struct Destinations {
    /// By partition.
    lanes: Vec<Vec<LaneId>>,
    /// Bytes read and not yet handed to the lanes, by partition.
    in_transit: Vec<u64>,
}

impl Destinations {
    pub(crate) fn new(partitions: usize) -> Self {
        Self { lanes: vec![Vec::new(); partitions], in_transit: vec![0; partitions] }
    }

    /// Bytes of `partition` were read.
    pub(crate) fn departed(&mut self, partition: PartitionIndex, bytes: u64) {
        self.in_transit[partition as usize] += bytes;
    }

    /// Bytes of `partition` were handed to `lanes`.
    pub(crate) fn arrived(&mut self, partition: PartitionIndex, bytes: u64, lanes: impl Iterator<Item = LaneId>) {
        self.in_transit[partition as usize] -= bytes;
        let last = &mut self.lanes[partition as usize];
        last.clear();
        last.extend(lanes);
    }

    /// The lanes, and the bytes on their way.
    pub(crate) fn of(&self, partition: PartitionIndex) -> (&[LaneId], u64) {
        (&self.lanes[partition as usize], self.in_transit[partition as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(partitions: u32, total_order: bool) -> Schedule {
        let work = |partition| Work {
            partition,
            stretches: VecDeque::new(),
            reader: None,
            sequence: 0,
            needs: None,
        };
        Schedule { most_open: 3, ..Schedule::new((0..partitions).map(work).collect(), total_order) }
    }

    fn take(schedule: &mut Schedule, pressure: impl Fn(PartitionIndex) -> f64) -> Option<(Work, Standing)> {
        let (choice, standing, _) = schedule.next(pressure)?;
        Some((schedule.take(choice)?, standing))
    }

    #[test]
    fn total_order_reads_the_oldest_first() {
        let mut schedule = schedule(3, true);
        let (head, standing) = take(&mut schedule, |_| 0.0).unwrap();
        assert_eq!((head.partition, standing), (0, Standing::Head));
        let (next, standing) = take(&mut schedule, |_| 0.0).unwrap();
        assert_eq!((next.partition, standing), (1, Standing::Behind));
        schedule.give_back(1, Some(next));
        schedule.give_back(0, Some(head));
        let (head, standing) = take(&mut schedule, |_| 0.0).unwrap();
        assert_eq!((head.partition, standing), (0, Standing::Head));
        schedule.give_back(0, None);
        let (head, standing) = take(&mut schedule, |_| 0.0).unwrap();
        assert_eq!((head.partition, standing), (1, Standing::Head));
    }

    #[test]
    fn a_partition_with_a_full_lane_is_left_alone() {
        let mut schedule = schedule(3, false);
        let (first, _) = take(&mut schedule, |_| 0.0).unwrap();
        schedule.give_back(0, Some(first));
        let (again, _) = take(&mut schedule, |_| 0.4).unwrap();
        assert_eq!(again.partition, 0, "below its fair share an open partition is read on");
        schedule.give_back(0, Some(again));
        let (second, _) = take(&mut schedule, |_| 0.6).unwrap();
        assert_eq!(second.partition, 1);
        schedule.give_back(1, Some(second));
        let by_partition = |partition| [1.2, 0.7, 0.0][partition as usize];
        let (third, _) = take(&mut schedule, by_partition).unwrap();
        assert_eq!(third.partition, 2);
        let (second, _) = take(&mut schedule, by_partition).unwrap();
        assert_eq!(second.partition, 1, "nothing else can be opened");
        assert!(take(&mut schedule, by_partition).is_none(), "the last one's lane is full");
        assert_eq!(schedule.unfinished(), 3);
    }
}
