//! One physical partition: its documents in the order of pages, its budget, and the rules by which an operation changes them.
//!
//! Each partition has a lock of its own, held for the whole of an operation or a batch and for the write to the log, so that the log has the
//! changes of a document in their order. What the log does not take is undone before the lock is given back: nobody has seen it. What can be done before
//! (reading and normalising the text) is done before.

use super::budget::{Budget, Exhausted};
use super::charge::{Charged, charge};
use super::faults::OperationFault;
use super::log::{Frame, Log};
use super::stored::{Incoming, Key, Stored, etag_text};
use crate::model::partition_key::Epk;
use std::collections::BTreeMap;
use std::collections::btree_map::{Entry, OccupiedEntry};
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A range of the space of effective partition keys.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) id: String,
    pub(super) min: Epk,
    pub(super) max: Epk,
    /// The ranges this one came from by splits, oldest first.
    pub(super) parents: Vec<String>,
    begin: Key,
    end: Key,
    contents: Mutex<Contents>,
}

/// What the lock of a partition guards.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) documents: BTreeMap<Key, Stored>,
    pub(super) budget: Budget,
    pub(super) standing: Standing,
    /// Counts writes.
    pub(super) lsn: u64,
}

/// Whether a partition takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Open,
    /// A split is about to end: 410 with substatus 1007.
    Splitting,
    /// Its children have taken over: 410 with substatus 1002.
    Gone,
}

/// What shall be done to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Upsert,
    Replace,
    Delete,
    Read,
}

/// One operation, checked and ready.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) verb: Verb,
    pub(super) key: Key,
    /// What to write; `None` for delete and read.
    pub(super) incoming: Option<Incoming>,
    /// Do it only if the document has this ETag, quotes included.
    pub(super) if_match: Option<String>,
    /// The document is wanted in the answer.
    pub(super) wants_document: bool,
}

/// What became of an operation.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) charge: f64,
    pub(super) etag: Option<u64>,
    pub(super) document: Option<Stored>,
}

/// Why a partition did nothing at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Refusal {
    Splitting,
    Gone,
    Throttled(Duration),
    /// The log could not be written, for this reason.
    Unwritten(io::ErrorKind),
}

impl From<Exhausted> for Refusal {
    fn from(exhausted: Exhausted) -> Self {
        Refusal::Throttled(exhausted.0)
    }
}

/// What an operation needs besides the partition.
pub(super) struct Surroundings<'a> {
    /// Time since the start of the endpoint.
    pub(super) now: Duration,
    /// The same on the calendar: seconds since 1970.
    pub(super) written_at: u32,
    /// Gives numbers and ETags.
    pub(super) counter: &'a AtomicU64,
    pub(super) log: Option<&'a Log>,
}

impl Partition {
    pub(super) fn new(id: String, (min, max): (Epk, Epk), parents: Vec<String>, budget: Budget) -> Self {
        let contents = Contents { documents: BTreeMap::new(), budget, standing: Standing::Open, lsn: 0 };
        let (begin, end) = (Key::begin_of(&min), Key::begin_of(&max));
        Self { id, min, max, parents, begin, end, contents: Mutex::new(contents) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, unless the partition takes no requests.
    pub(super) fn open(&self) -> Result<MutexGuard<'_, Contents>, Refusal> {
        let contents = self.lock();
        match contents.standing {
            Standing::Open => Ok(contents),
            Standing::Splitting => Err(Refusal::Splitting),
            Standing::Gone => Err(Refusal::Gone),
        }
    }

    /// Whether a document with this key belongs here.
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.begin <= *key && *key < self.end
    }

    /// Whether it begins at or before `key`.
    pub(super) fn begins_by(&self, key: &Key) -> bool {
        self.begin <= *key
    }

    /// Whether it ends at or before `key`.
    pub(super) fn ends_by(&self, key: &Key) -> bool {
        self.end <= *key
    }

    /// Whether documents may be here whose places begin with these bytes.
    pub(super) fn may_hold_under(&self, place: &Epk) -> bool {
        let first = Key::begin_of(place);
        first < self.end && (self.begin <= first || self.begin.is_under(place))
    }

    /// One operation by itself, which is taken if it is admitted; a refusal leaves it for another partition. With the outcome comes the number
    /// of writes so far.
    pub(super) fn one(
        &self,
        operation: &mut Option<Operation>,
        around: &Surroundings<'_>,
    ) -> Result<(Outcome, u64), Refusal> {
        let mut contents = self.open()?;
        contents.budget.admit(around.now)?;
        let operation = operation.take().ok_or(Refusal::Gone)?;
        let mut done = Done::new(around, false);
        let outcome = contents.apply(operation, around, &mut done);
        contents.budget.spend(outcome.charge);
        contents.keep(around, done)?;
        Ok((outcome, contents.lsn))
    }

    /// The operations of a range batch, each admitted by itself. What is not for this range is 410 with substatus 1002. Operations that
    /// were refused before they came here are `Err` and stay so.
    pub(super) fn each(
        &self,
        operations: Vec<Result<Operation, Refused>>,
        around: &Surroundings<'_>,
        goes_on: bool,
        mut befalls: impl FnMut() -> Option<OperationFault>,
    ) -> Result<(Vec<Result<Outcome, Refused>>, u64), Refusal> {
        let mut contents = self.open()?;
        let mut done = Done::new(around, false);
        let mut outcomes = Vec::with_capacity(operations.len());
        let mut has_failed = false;
        for operation in operations {
            let outcome = match operation {
                _ if has_failed && !goes_on => Err(Refused::innocent()),
                Err(refused) => Err(refused),
                Ok(operation) if !self.holds(&operation.key) => Err(Refused::gone()),
                Ok(operation) => contents.admit(operation, around, &mut done, befalls()),
            };
            has_failed |= outcome.as_ref().map_or(true, |outcome| outcome.status >= 400);
            outcomes.push(outcome);
        }
        contents.keep(around, done)?;
        Ok((outcomes, contents.lsn))
    }

    /// All operations or none. When one fails, it keeps its status and the others are 424.
    pub(super) fn atomically(
        &self,
        operations: Vec<Operation>,
        around: &Surroundings<'_>,
    ) -> Result<(Vec<Outcome>, u64), Refusal> {
        let mut contents = self.open()?;
        contents.budget.admit(around.now)?;
        let count = operations.len();
        let (mut done, mut outcomes) = (Done::new(around, true), Vec::with_capacity(count));
        for operation in operations {
            outcomes.push(contents.apply(operation, around, &mut done));
            if outcomes.last().is_some_and(|outcome| outcome.status >= 400) {
                break;
            }
        }
        contents.budget.spend(outcomes.iter().map(|outcome| outcome.charge).sum());
        if let Some(failed) = outcomes.iter().position(|outcome| outcome.status >= 400) {
            contents.undo(&mut done);
            let innocent = || Outcome { status: 424, charge: 0.0, etag: None, document: None };
            outcomes[..failed].iter_mut().for_each(|outcome| {
                *outcome = Outcome { charge: outcome.charge, ..innocent() };
            });
            outcomes.resize_with(count, innocent);
        }
        contents.keep(around, done)?;
        Ok((outcomes, contents.lsn))
    }
}

/// An operation of a range batch that was not done.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) substatus: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn bad(status: u16, message: impl Into<String>) -> Self {
        Self { status, substatus: 0, retry_after: None, message: message.into() }
    }

    fn gone() -> Self {
        Self { substatus: 1002, ..Self::bad(410, "the document does not belong to this partition key range") }
    }

    fn innocent() -> Self {
        Self::bad(424, "an operation before this one has failed")
    }

    fn throttled(exhausted: Exhausted) -> Self {
        let message = "the request rate is large: retry after the given time";
        Self { substatus: 3200, retry_after: Some(exhausted.0), ..Self::bad(429, message) }
    }

    fn failed(fault: OperationFault, exhausted: Exhausted) -> Self {
        match fault {
            OperationFault::Throttle => Self::throttled(exhausted),
            OperationFault::RetryWith => Self::bad(449, "another write is under way: try again"),
            OperationFault::Internal => Self::bad(500, "an internal error, as was asked for"),
            OperationFault::Unavailable => Self::bad(503, "the service is unavailable, as was asked for"),
            OperationFault::TimeoutAfterCommit => Self::bad(408, "the operation was done but took too long"),
        }
    }
}

/// What a request has done so far: for the log, and for the way back.
struct Done {
    frame: Frame,
    /// What each document was before; nothing where no way back is needed.
    before: Vec<(Key, Option<Stored>)>,
    is_undoable: bool,
}

impl Done {
    /// There is a way back from an atomic batch, and from whatever a log may fail to take.
    fn new(around: &Surroundings<'_>, is_atomic: bool) -> Self {
        let is_undoable = is_atomic || around.log.is_some();
        Self { frame: Frame::of(around.log), before: Vec::new(), is_undoable }
    }

    fn was(&mut self, key: &Key, old: Option<Stored>) {
        if self.is_undoable {
            self.before.push((key.clone(), old));
        }
    }
}

impl Contents {
    /// One operation of a range batch, if the budget admits it, and what a fault makes of it.
    fn admit(
        &mut self,
        operation: Operation,
        around: &Surroundings<'_>,
        done: &mut Done,
        fault: Option<OperationFault>,
    ) -> Result<Outcome, Refused> {
        let failed = |fault, budget: &Budget| Refused::failed(fault, budget.until_next(around.now));
        if let Some(fault) = fault.filter(|fault| *fault != OperationFault::TimeoutAfterCommit) {
            return Err(failed(fault, &self.budget));
        }
        self.budget.admit(around.now).map_err(Refused::throttled)?;
        let outcome = self.apply(operation, around, done);
        self.budget.spend(outcome.charge);
        fault.map_or(Ok(outcome), |fault| Err(failed(fault, &self.budget)))
    }

    fn apply(&mut self, operation: Operation, around: &Surroundings<'_>, done: &mut Done) -> Outcome {
        let Operation { verb, key, incoming, if_match, wants_document } = operation;
        match self.documents.entry(key) {
            Entry::Vacant(_) if matches!(verb, Verb::Replace | Verb::Delete | Verb::Read) => refused(404),
            Entry::Vacant(_) if if_match.is_some() => refused(412),
            Entry::Vacant(place) => {
                let Some(incoming) = incoming else { return refused(400) };
                let stored = incoming.stored(around, None);
                let units = charge(Charged::Create { properties: stored.properties }, stored.text.len());
                let outcome = Outcome::done(201, units, &stored, wants_document);
                done.frame.put(place.key(), &stored);
                done.was(place.key(), None);
                place.insert(stored);
                self.lsn += 1;
                outcome
            }
            Entry::Occupied(_) if verb == Verb::Create => refused(409),
            Entry::Occupied(place)
                if if_match
                    .as_ref()
                    .is_some_and(|wanted| wanted != "*" && *wanted != etag_text(place.get().etag)) =>
            {
                refused(412)
            }
            Entry::Occupied(place) if verb == Verb::Read => {
                let units = charge(Charged::Read, place.get().text.len());
                Outcome::done(200, units, place.get(), wants_document)
            }
            Entry::Occupied(place) if verb == Verb::Delete => {
                self.lsn += 1;
                remove(place, done)
            }
            Entry::Occupied(mut place) => {
                let Some(incoming) = incoming else { return refused(400) };
                let stored = incoming.stored(around, Some(place.get().number));
                let units = charge(Charged::Replace { properties: stored.properties }, stored.text.len());
                let outcome = Outcome::done(200, units, &stored, wants_document);
                done.frame.put(place.key(), &stored);
                let old = place.insert(stored);
                done.was(place.key(), Some(old));
                self.lsn += 1;
                outcome
            }
        }
    }

    /// Writes what was done to the log. What cannot be written there is undone.
    fn keep(&mut self, around: &Surroundings<'_>, mut done: Done) -> Result<(), Refusal> {
        let Some(log) = around.log else { return Ok(()) };
        log.append(&mut done.frame).map_err(|cause| {
            self.undo(&mut done);
            Refusal::Unwritten(cause.kind())
        })
    }

    fn undo(&mut self, done: &mut Done) {
        done.frame.clear();
        self.lsn -= done.before.len() as u64;
        for (key, old) in done.before.drain(..).rev() {
            match old {
                Some(old) => drop(self.documents.insert(key, old)),
                None => drop(self.documents.remove(&key)),
            }
        }
    }

    /// The documents behind `after`, in order.
    pub(super) fn behind(&self, after: Bound<&Key>) -> impl Iterator<Item = (&Key, &Stored)> {
        self.documents.range::<Key, _>((after, Bound::Unbounded))
    }
}

fn remove(place: OccupiedEntry<'_, Key, Stored>, done: &mut Done) -> Outcome {
    let (key, old) = place.remove_entry();
    done.frame.delete(&key);
    let units = charge(Charged::Delete { properties: old.properties }, old.text.len());
    done.was(&key, Some(old));
    Outcome { status: 204, charge: units, etag: None, document: None }
}

fn refused(status: u16) -> Outcome {
    let units = if status == 404 { 1.0 } else { charge(Charged::Refused, 0) };
    Outcome { status, charge: units, etag: None, document: None }
}

impl Outcome {
    fn done(status: u16, charge: f64, stored: &Stored, wants_document: bool) -> Self {
        let document = wants_document.then(|| stored.clone());
        Self { status, charge, etag: Some(stored.etag), document }
    }
}

impl Incoming {
    /// The document as it will be kept, with a fresh ETag; `number` is that of the one it takes the place of.
    fn stored(self, around: &Surroundings<'_>, number: Option<u64>) -> Stored {
        let etag = around.counter.fetch_add(1, Ordering::Relaxed) + 1;
        let Self { text, properties } = self;
        Stored { text, properties, number: number.unwrap_or(etag), etag, written_at: around.written_at }
    }
}
