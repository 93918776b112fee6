//! Which partition is read next.
//!
//! Every read is one batch of one partition, so the choice is made anew for each. A target that needs total order is read in source order.
//! Any other is read from the partition whose lanes have the least backlog: a lane that stands still fills to its cap and its
//! partitions are left alone, while the credits that come free go to those whose lanes starve. Beyond one partition a reader another is
//! opened only while a lane is hungry and none of the open ones leads to it, so that a source of ten thousand partitions
//! does not open them all. Neighbours often lead to the same lane (a source that is sorted by key), so where there are several lanes the next to be opened is
//! never a neighbour: the order in which partitions are opened is spread over the whole source. Of a source whose order counts the next is opened when all before it is finished, and no sooner: a
//! checkpoint then never holds a later document while an earlier one of the same id may be sent again.
//!
//! Whoever has met a document larger than a batch goes first: it waits until enough credits are free, and must not be overtaken for ever. But
//! where the credits that it waits for are held by lanes that stand still, waiting would make all others stand still too. Then it is *passed over*
//! until one of these lanes moves.

use crate::connector::Reader;
use crate::model::partition::{PartitionIndex, Stretch};
use crate::model::request::LaneId;
use crate::pipeline::credits::Standing;
use crate::pipeline::lanes::Fill;
use std::collections::VecDeque;

/// A lane with this much of its fair share of the credits is not hungry.
const ENOUGH: f64 = 0.5;

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
    /// In the order in which they will be opened.
    unopened: VecDeque<Work>,
    /// Open and not being read.
    idle: Vec<Work>,
    /// Partitions being read.
    reading: Vec<PartitionIndex>,
    total_order: bool,
    /// A partition is opened when those before it are finished.
    pub(crate) one_by_one: bool,
    /// Partitions that are open in any case.
    pub(crate) readers: usize,
    /// Partitions that may be open at once.
    pub(crate) most_open: usize,
    /// The lanes for which those that need large batches wait while others go ahead, with what has left each; else empty.
    pub(crate) passed_over_for: Vec<(LaneId, u64)>,
}

/// What the schedule asks about the lanes.
pub(crate) trait Outlook {
    /// How full the fullest lane of a partition is.
    fn fill(&self, partition: PartitionIndex) -> Fill;

    /// The least backlog of a lane to which none of `open` leads, in fair shares.
    fn left_out(&self, open: &[PartitionIndex]) -> Option<f64>;

    /// Whether everything that was read is finished.
    fn is_settled(&self) -> bool;
}

impl Schedule {
    pub(crate) fn new(work: Vec<Work>, total_order: bool) -> Self {
        Self {
            unopened: work.into(),
            idle: Vec::new(),
            reading: Vec::new(),
            total_order,
            one_by_one: false,
            readers: 1,
            most_open: 1,
            passed_over_for: Vec::new(),
        }
    }

    /// Opens partitions far from each other one after the other: the middle of what lies between those that were opened before, as bits reversed
    /// count. To be called before anything is opened, where no order counts.
    pub(crate) fn spread(&mut self) {
        let bits = usize::BITS - self.unopened.len().saturating_sub(1).leading_zeros();
        let work = std::mem::take(&mut self.unopened);
        let mut places: Vec<(usize, Work)> = work.into_iter().enumerate().collect();
        places.sort_by_key(|(place, _)| place.reverse_bits().checked_shr(usize::BITS - bits).unwrap_or(0));
        self.unopened = places.into_iter().map(|(_, work)| work).collect();
    }

    /// The partitions that will be read, in the order in which they are opened.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = PartitionIndex> {
        self.unopened.iter().map(|work| work.partition)
    }

    /// Partitions that are not read to their end.
    pub(crate) fn unfinished(&self) -> usize {
        self.unopened.len() + self.idle.len() + self.reading.len()
    }

    /// Partitions that a reader could begin to read now, if nothing else held it up.
    pub(crate) fn resting(&self) -> usize {
        let unopened = match self.one_by_one {
            true => usize::from(self.open() == 0).min(self.unopened.len()),
            false => self.unopened.len(),
        };
        self.idle.len() + unopened
    }

    /// Whether none is being read.
    pub(crate) fn is_resting(&self) -> bool {
        self.reading.is_empty()
    }

    /// Whether all are equals and want a usual batch: none of them can be read with fewer credits than the smallest one takes.
    pub(crate) fn has_equals_only(&self) -> bool {
        !self.total_order && self.idle.iter().all(|work| work.needs.is_none())
    }

    /// The partition to be read next, with its standing; nothing if every one is being read or has full lanes.
    pub(crate) fn next(&self, outlook: &impl Outlook) -> Option<(Choice, Standing, &Work)> {
        let choice = if self.total_order { self.in_order() } else { self.least_pressed(outlook) }?;
        let work = match choice {
            Choice::Idle(at) => &self.idle[at],
            Choice::Unopened => self.unopened.front()?,
        };
        let standing = match self.total_order {
            // Who waits for many credits need not leave room for others beside.
            false if work.needs.is_some() || choice == Choice::Unopened => Standing::Equal,
            false if outlook.fill(work.partition).shares >= ENOUGH => Standing::Fed,
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

    fn least_pressed(&self, outlook: &impl Outlook) -> Option<Choice> {
        let fills = self.idle.iter().map(|work| outlook.fill(work.partition)).collect::<Vec<_>>();
        let mut large =
            (0..self.idle.len()).filter(|at| !fills[*at].is_full && self.idle[*at].needs.is_some());
        if self.passed_over_for.is_empty()
            && let Some(at) = large.next()
        {
            return Some(Choice::Idle(at));
        }
        let waiting = (0..self.idle.len()).filter(|at| !fills[*at].is_full && self.idle[*at].needs.is_none());
        let rank = |at: &usize| (fills[*at].shares, self.idle[*at].partition);
        let least = waiting.min_by(|a, b| rank(a).0.total_cmp(&rank(b).0).then(rank(a).1.cmp(&rank(b).1)));
        let backlog = least.map_or(f64::INFINITY, |at| fills[at].shares);
        match self.worth_opening(outlook) {
            Some(hunger) if hunger <= backlog => Some(Choice::Unopened),
            _ => least.map(Choice::Idle),
        }
    }

    /// The backlog of the lane for which another partition would be opened, in fair shares; nothing if none may be opened.
    fn worth_opening(&self, outlook: &impl Outlook) -> Option<f64> {
        if self.unopened.is_empty() || (self.one_by_one && (self.open() > 0 || !outlook.is_settled())) {
            return None;
        }
        // Up to one a reader, another is opened as soon as the lanes of the open ones have enough.
        let spare = (self.open() < self.readers).then_some(ENOUGH);
        let open = self.idle.iter().map(|work| work.partition).chain(self.reading.iter().copied());
        let left_out =
            if self.open() < self.most_open { outlook.left_out(&open.collect::<Vec<_>>()) } else { None };
        left_out.filter(|backlog| *backlog < ENOUGH).or(spare)
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
    pub(crate) fn arrived(
        &mut self,
        partition: PartitionIndex,
        bytes: u64,
        lanes: impl Iterator<Item = LaneId>,
    ) {
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

    /// The backlogs of the partitions' lanes in fair shares, two being full; and whether a lane is left out.
    struct Backlogs(f64, f64, f64, bool);

    const NONE: Backlogs = Backlogs(0.0, 0.0, 0.0, false);

    impl Outlook for Backlogs {
        fn fill(&self, partition: PartitionIndex) -> Fill {
            let shares = [self.0, self.1, self.2][partition as usize];
            Fill { shares, is_full: shares >= 2.0 }
        }

        fn left_out(&self, _: &[PartitionIndex]) -> Option<f64> {
            self.3.then_some(0.3)
        }

        fn is_settled(&self) -> bool {
            self.0 == 0.0
        }
    }

    fn take(schedule: &mut Schedule, outlook: &Backlogs) -> Option<(Work, Standing)> {
        let (choice, standing, _) = schedule.next(outlook)?;
        Some((schedule.take(choice)?, standing))
    }

    #[test]
    fn total_order_reads_the_oldest_first() {
        let mut schedule = schedule(3, true);
        let (head, standing) = take(&mut schedule, &NONE).unwrap();
        assert_eq!((head.partition, standing), (0, Standing::Head));
        let (next, standing) = take(&mut schedule, &NONE).unwrap();
        assert_eq!((next.partition, standing), (1, Standing::Behind));
        schedule.give_back(1, Some(next));
        schedule.give_back(0, Some(head));
        let (head, standing) = take(&mut schedule, &NONE).unwrap();
        assert_eq!((head.partition, standing), (0, Standing::Head));
        schedule.give_back(0, None);
        let (head, standing) = take(&mut schedule, &NONE).unwrap();
        assert_eq!((head.partition, standing), (1, Standing::Head));
    }

    #[test]
    fn partitions_that_are_opened_one_after_the_other_lie_far_apart() {
        let order = |partitions| {
            let mut schedule = schedule(partitions, false);
            schedule.spread();
            schedule.partitions().collect::<Vec<_>>()
        };
        assert_eq!(order(8), [0, 4, 2, 6, 1, 5, 3, 7]);
        assert_eq!(order(5), [0, 4, 2, 1, 3]);
        assert_eq!((order(0), order(1), order(2)), (vec![], vec![0], vec![0, 1]));
    }

    #[test]
    fn a_partition_with_a_full_lane_is_left_alone() {
        let mut schedule = schedule(3, false);
        let (first, _) = take(&mut schedule, &NONE).unwrap();
        schedule.give_back(0, Some(first));
        let (again, _) = take(&mut schedule, &Backlogs(0.2, 0.0, 0.0, true)).unwrap();
        assert_eq!(again.partition, 0, "a hungry lane is fed from its open partition");
        schedule.give_back(0, Some(again));
        let (again, _) = take(&mut schedule, &Backlogs(1.5, 0.0, 0.0, false)).unwrap();
        assert_eq!(again.partition, 0, "no lane is left out");
        schedule.give_back(0, Some(again));
        let (second, _) = take(&mut schedule, &Backlogs(1.5, 0.0, 0.0, true)).unwrap();
        assert_eq!(second.partition, 1);
        schedule.give_back(1, Some(second));
        let backlogs = Backlogs(2.1, 0.7, 0.0, true);
        let (third, _) = take(&mut schedule, &backlogs).unwrap();
        assert_eq!(third.partition, 2);
        let (second, _) = take(&mut schedule, &backlogs).unwrap();
        assert_eq!(second.partition, 1, "nothing else can be opened");
        assert!(take(&mut schedule, &backlogs).is_none(), "the last one's lane is full");
        assert_eq!(schedule.unfinished(), 3);
    }

    #[test]
    fn where_order_counts_the_next_partition_waits_for_the_end_of_those_before() {
        let mut schedule = schedule(2, false);
        (schedule.one_by_one, schedule.readers) = (true, 3);
        let (first, _) = take(&mut schedule, &NONE).unwrap();
        assert!(take(&mut schedule, &Backlogs(0.0, 0.0, 0.0, true)).is_none(), "the first is being read");
        schedule.give_back(0, Some(first));
        assert_eq!(schedule.resting(), 1);
        assert_eq!(take(&mut schedule, &NONE).unwrap().0.partition, 0);
        assert_eq!(schedule.resting(), 0, "the second must wait for it");
        schedule.give_back(0, None);
        assert_eq!(schedule.resting(), 1);
        assert!(
            take(&mut schedule, &Backlogs(0.1, 0.0, 0.0, true)).is_none(),
            "it is read, and not finished"
        );
        assert_eq!(take(&mut schedule, &NONE).unwrap().0.partition, 1);
    }

    #[test]
    fn who_needs_a_large_batch_goes_first_unless_its_lane_is_full() {
        let mut schedule = schedule(2, false);
        schedule.readers = 2;
        let (first, _) = take(&mut schedule, &NONE).unwrap();
        let (second, _) = take(&mut schedule, &NONE).unwrap();
        schedule.give_back(0, Some(first));
        schedule.give_back(1, Some(Work { needs: Some(100), ..second }));
        let choice =
            |schedule: &Schedule, backlogs| schedule.next(&backlogs).map(|(_, _, work)| work.partition);
        assert_eq!(choice(&schedule, Backlogs(0.0, 1.9, 0.0, false)), Some(1));
        assert_eq!(choice(&schedule, Backlogs(1.9, 2.0, 0.0, false)), Some(0));
        assert!(!schedule.has_equals_only());
        let standing = schedule.next(&Backlogs(0.0, 1.9, 0.0, false)).map(|(_, standing, _)| standing);
        assert_eq!(standing, Some(Standing::Equal), "it asks for no more than it needs");
        schedule.passed_over_for = vec![(3, 0)];
        assert_eq!(choice(&schedule, Backlogs(1.9, 0.0, 0.0, false)), Some(0), "it is passed over");
    }
}
