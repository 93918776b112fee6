//! Reading: one dispatcher that chooses a partition, takes credits for its next batch and lets a task read it.

use crate::error::{Error, ErrorKind, Result};
use crate::model::batch::{Batch, BatchLimit, Next};
use crate::model::document::Span;
use crate::model::knobs::Knobs;
use crate::model::meter::Waiting;
use crate::model::partition::{PartitionIndex, Position};
use crate::model::request::LaneId;
use crate::pipeline::account::{Account, Ticket};
use crate::pipeline::credits::{Credit, Standing};
use crate::pipeline::lanes::{Fill, Lanes};
use crate::pipeline::order::Passing;
use crate::pipeline::permits::Permit;
use crate::pipeline::retry;
use crate::pipeline::schedule::{Destinations, Outlook, Schedule, Work};
use crate::pipeline::shared::{Delivery, Shared, woken};
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

/// Chunks into which a lane's fair share of the credits is cut.
const CHUNKS_PER_SHARE: u64 = 4;

/// However many lanes there are, a batch is at least this large: smaller ones cost more to keep account of than to move.
const LEAST_BATCH: u64 = 64 * 1024;

/// Where no credit has come back for this long, what is in use stands still: a lane that is throttled moves once in the second of its budget.
const STANDSTILL: Duration = Duration::from_secs(2);

/// A batch that was read, on its way to the transformers.
pub(crate) struct ReadBatch {
    pub(crate) batch: Batch,
    /// Records before it in its partition.
    pub(crate) first: u64,
    pub(crate) ticket: Arc<Ticket>,
    pub(crate) credit: Credit,
}

/// What the dispatcher can do now.
enum Turn {
    Read(Box<Work>, Credit, BatchLimit),
    /// Something must happen first, or this time must come.
    Wait(Option<Instant>, Lacking),
    /// Everything is read.
    Finished,
}

/// What readers lack that could read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacking {
    /// Nothing: there is nothing to read now, or no more may be read for now.
    Nothing,
    /// Somebody who takes what they would have read.
    Taker,
    /// Credits.
    Credits,
}

/// Reads until everything is read or the run stops.
pub(crate) async fn dispatch(shared: Arc<Shared>, transform: UnboundedSender<ReadBatch>) {
    let _guard = shared.stop.guard();
    loop {
        let Some(permit) = shared.stop.unless(shared.readers.acquire()).await else { return };
        let (work, credit, limit) = loop {
            let (until, lacking) = match shared.turn() {
                Turn::Read(work, credit, limit) => break (work, credit, limit),
                Turn::Finished => return,
                Turn::Wait(until, lacking) => (until, lacking),
            };
            let _held_up = shared.held_up(lacking);
            let Some(()) = shared.stop.unless(woken(&shared.read_wake, until)).await else { return };
        };
        tokio::spawn(read_one(Arc::clone(&shared), transform.clone(), permit, work, credit, limit));
    }
}

impl Shared {
    fn turn(&self) -> Turn {
        let knobs = *self.knobs.borrow();
        let mut schedule = self.schedule();
        let limited = self.pace().is_spent();
        if schedule.unfinished() == 0 || (limited && schedule.is_resting()) {
            return Turn::Finished;
        }
        let now = Instant::now();
        if let Some(until) = self.pace().wait(now) {
            return Turn::Wait(Some(until), Lacking::Nothing);
        }
        if limited {
            return Turn::Wait(None, Lacking::Nothing);
        }
        if self.untransformed.load(Ordering::Acquire) >= knobs.batches_ahead() {
            return Turn::Wait(None, Lacking::Taker);
        }
        let unfinished = self.meter.read.get().saturating_sub(self.meter.accounted.get());
        // Where there is an order, what is ahead may wait for what is not read yet.
        if self.routing.is_unordered() && self.pace().is_far_ahead(unfinished) {
            return Turn::Wait(None, Lacking::Nothing);
        }
        // The dispatcher is woken by every request that is answered, and the choice looks at every partition and lane: not while nothing can be
        // granted anyhow.
        let least = self.cost(self.buffered(self.batch_bytes(1, &knobs), &knobs));
        if schedule.has_equals_only() && self.credits.lack(least) {
            return Turn::Wait(None, Lacking::Credits);
        }
        if self.routing.queues().has_moved(&schedule.passed_over_for) {
            schedule.passed_over_for.clear();
        }
        let view = View::of(self, knobs.credit_bytes);
        let found = schedule.next(&view);
        let Some((choice, standing, work)) = found else { return Turn::Wait(None, Lacking::Taker) };
        let reached = view.destinations.of(work.partition).0.len();
        drop(view);
        let bytes = self.batch_bytes(reached, &knobs).max(work.needs.unwrap_or(0));
        let (partition, cost) = (work.partition, self.cost(self.buffered(bytes, &knobs)));
        let is_stranded = work.needs.is_some() && standing == Standing::Equal;
        let credit = match self.credits.try_take(partition, cost, standing) {
            Some(credit) => credit,
            None if is_stranded => match self.take_stranded(&mut schedule, partition, cost, now) {
                Ok(credit) => credit,
                Err(turn) => return turn,
            },
            None => return Turn::Wait(None, Lacking::Credits),
        };
        let documents = self.pace().reserve(knobs.batch_documents, now);
        let limit = BatchLimit { documents, bytes, max_document: self.options.max_document };
        match schedule.take(choice) {
            Some(work) => Turn::Read(Box::new(work), credit, limit),
            None => Turn::Wait(None, Lacking::Nothing),
        }
    }

    /// Counts the readers that are held up, until what is returned is dropped: of the places in the pool that are free, as many as there are
    /// partitions to be read. The dispatcher holds one of them.
    fn held_up(&self, lacking: Lacking) -> Option<(Waiting<'_>, Option<Waiting<'_>>)> {
        if lacking == Lacking::Nothing {
            return None;
        }
        let held_up = (self.readers.free() + 1).min(self.schedule().resting());
        if held_up == 0 {
            return None;
        }
        let is_short = lacking == Lacking::Credits;
        let short = is_short.then(|| self.meter.short_of_credits.begin(1));
        Some((self.meter.readers.blocked.begin(held_up), short))
    }

    /// Credits for a large document, where they do not come free by waiting; else what to do instead.
    fn take_stranded(
        &self,
        schedule: &mut Schedule,
        partition: PartitionIndex,
        bytes: u64,
        now: Instant,
    ) -> std::result::Result<Credit, Turn> {
        let until = self.credits.last_freed() + STANDSTILL;
        if until > now {
            return Err(Turn::Wait(Some(until), Lacking::Credits));
        }
        if let Some(credit) = self.credits.try_take(partition, bytes, Standing::Stranded) {
            return Ok(credit);
        }
        schedule.passed_over_for = self.routing.queues().holding();
        // Where no lane holds anything a read or a step is slow, and wakes this task when it is done.
        let until = (!schedule.passed_over_for.is_empty()).then_some(now);
        Err(Turn::Wait(until, Lacking::Credits))
    }

    /// The credits that a batch of `bytes` needs: its buffer, and what transform will make of it.
    fn cost(&self, bytes: u64) -> u64 {
        if self.copies() { (bytes as f64 * (1.0 + self.growth().held)) as u64 } else { bytes }
    }

    /// Bytes after which the next batch of a partition ends that reaches so many lanes. A lane gives its credits back chunk by chunk, so a chunk is to be a small part of
    /// its fair share: else the lanes hold the credits of what they have sent already, and one of them runs dry.
    fn batch_bytes(&self, reached: usize, knobs: &Knobs) -> usize {
        let lanes = self.routing.queues().len() as u64;
        if lanes == 1 {
            return knobs.batch_bytes();
        }
        let reached = reached.max(1) as u64;
        let few = LEAST_BATCH.max(2 * self.mean_document());
        knobs.batch_bytes().min((reached * knobs.credit_bytes / lanes / CHUNKS_PER_SHARE).max(few) as usize)
    }

    fn mean_document(&self) -> u64 {
        self.meter.bytes_read.get().checked_div(self.meter.read.get()).unwrap_or(0).max(1)
    }

    /// What a batch of `bytes` will hold: its documents, and where each of them lies.
    fn buffered(&self, bytes: usize, knobs: &Knobs) -> u64 {
        let documents = (bytes as u64 / self.mean_document()).min(knobs.batch_documents as u64);
        bytes as u64 + documents * size_of::<Span>() as u64
    }

    /// Gives a partition back to the schedule; none if it is read to its end.
    fn give_back(&self, partition: PartitionIndex, work: Option<Work>) {
        let mut schedule = self.schedule();
        schedule.give_back(partition, work);
        self.meter.unfinished_partitions.set(schedule.unfinished() as u64);
        drop(schedule);
        self.read_wake.notify_one();
        self.settled.notify_one();
    }
}

/// The lanes as the schedule sees them, at one moment.
struct View<'a> {
    destinations: MutexGuard<'a, Destinations>,
    queues: MutexGuard<'a, Lanes>,
    account: &'a Account,
    credit_bytes: u64,
}

impl<'a> View<'a> {
    fn of(shared: &'a Shared, credit_bytes: u64) -> Self {
        let (destinations, queues) = (shared.destinations(), shared.routing.queues());
        Self { destinations, queues, account: &shared.account, credit_bytes }
    }
}

impl Outlook for View<'_> {
    fn fill(&self, partition: PartitionIndex) -> Fill {
        let (lanes, in_transit) = self.destinations.of(partition);
        let queues = &self.queues;
        if lanes.is_empty() && queues.len() > 1 {
            // Where its documents go is not known yet, or they were all dropped.
            let share = self.credit_bytes as f64 / queues.len() as f64;
            return Fill { shares: in_transit as f64 / share.max(1.0), is_full: false };
        }
        let fills = lanes.iter().map(|lane| queues.fill(*lane, in_transit, self.credit_bytes));
        fills.max_by(|a, b| a.shares.total_cmp(&b.shares)).unwrap_or_default()
    }

    fn left_out(&self, open: &[PartitionIndex]) -> Option<f64> {
        let reached: HashSet<LaneId> =
            open.iter().flat_map(|partition| self.destinations.of(*partition).0).copied().collect();
        let queues = &self.queues;
        let left_out = queues.open().filter(|lane| !reached.contains(lane));
        left_out
            .map(|lane| queues.fill(lane, 0, self.credit_bytes).shares)
            .min_by(f64::total_cmp)
            .filter(|_| queues.len() > 1)
    }

    fn is_settled(&self) -> bool {
        self.account.is_settled()
    }
}

async fn read_one(
    shared: Arc<Shared>,
    transform: UnboundedSender<ReadBatch>,
    permit: Permit,
    work: Box<Work>,
    credit: Credit,
    limit: BatchLimit,
) {
    let _guard = shared.stop.guard();
    let mut work = *work;
    let partition = work.partition;
    let working = shared.meter.readers.begin();
    let answer = next(&shared, &mut work, limit).await;
    let mut read = 0;
    match &answer {
        Ok(Next::Batch(batch)) => {
            read = batch.documents.len() + batch.rejects.len();
            working.finish(read as u64, batch.documents.text_bytes());
        }
        _ => drop(working),
    }
    shared.pace().refund(limit.documents - read.min(limit.documents));
    drop(permit);
    let work = match answer {
        Ok(Next::Batch(batch)) => {
            shared.read(&mut work, batch, credit, &transform);
            Some(work)
        }
        Ok(Next::Grow(bytes)) => {
            // The credits go back first: whoever waits for many must not hold few.
            drop(credit);
            work.needs = Some(bytes);
            Some(work)
        }
        Ok(Next::End) => shared.stretch_ended(work),
        Err(error) => {
            shared.read_failed(error, &work);
            None
        }
    };
    shared.give_back(partition, work);
}

/// The reader's answer; failures that may pass are tried again, from the place that was reached.
async fn next(shared: &Shared, work: &mut Work, limit: BatchLimit) -> Result<Next> {
    let mut attempts = 0;
    loop {
        let error = match try_next(shared, work, limit).await {
            Ok(next) => return Ok(next),
            Err(error) => error,
        };
        attempts += 1;
        let retry::Next::After(delay) = retry::next(&error, attempts) else { return Err(error) };
        shared.event_retrying(&error, attempts, delay);
        work.reader = None;
        let Some(()) = shared.stop.unless(tokio::time::sleep(delay)).await else { return Err(error) };
    }
}

async fn try_next(shared: &Shared, work: &mut Work, limit: BatchLimit) -> Result<Next> {
    let Some(stretch) = work.stretches.front() else { return Ok(Next::End) };
    let reader = match &mut work.reader {
        Some(reader) => reader,
        none => {
            let partition = &shared.partitions[work.partition as usize];
            none.insert(shared.source.open(partition, stretch.clone()).await?)
        }
    };
    reader.next(limit).await
}

impl Shared {
    /// Sends a batch on its way.
    fn read(
        &self,
        work: &mut Work,
        batch: Batch,
        mut credit: Credit,
        transform: &UnboundedSender<ReadBatch>,
    ) {
        let Some(stretch) = work.stretches.front_mut() else { return };
        let buffered = batch.held_bytes();
        credit.resize(self.cost(buffered));
        let (from, to) = (stretch.from.clone(), batch.to.clone());
        let first = from.ordinal;
        let ticket = self.account.open(work.partition, work.sequence, from, to.clone());
        self.meter.read.add((batch.documents.len() + batch.rejects.len()) as u64);
        self.meter.bytes_read.add(batch.documents.text_bytes());
        self.destinations().departed(work.partition, buffered);
        work.sequence += 1;
        work.needs = None;
        stretch.from = to;
        self.untransformed.fetch_add(1, Ordering::AcqRel);
        // The receiver is gone only when the run stops; the batch is then replayed.
        let _ = transform.send(ReadBatch { batch, first, ticket, credit });
    }

    /// A stretch is read to its end: closes the gap to the next, or ends the partition.
    fn stretch_ended(&self, mut work: Work) -> Option<Work> {
        let stretch = work.stretches.pop_front()?;
        work.reader = None;
        let end = stretch.until.unwrap_or(Position::END);
        if stretch.from.at < end.at {
            let ticket = self.account.open(work.partition, work.sequence, stretch.from, end);
            self.deliver(work.partition, work.sequence, Passing::Batch(Delivery::Gap(ticket)));
            work.sequence += 1;
        }
        if work.stretches.is_empty() {
            self.deliver(work.partition, work.sequence, Passing::PartitionEnd);
            return None;
        }
        Some(work)
    }

    /// A partition cannot be read on. Damaged input ends only itself: everything else is still moved.
    fn read_failed(&self, error: Error, work: &Work) {
        if error.kind() == ErrorKind::InvalidInput {
            self.note_damage(error);
            self.deliver(work.partition, work.sequence, Passing::PartitionEnd);
        } else {
            self.stop.fail(error);
        }
    }
}
