//! Acknowledgement: which documents have met their end, and when that may be called finished.
//!
//! Every batch has a [`Ticket`]. Requests settle documents on the tickets they came from; when a ticket's last document is settled, the
//! batch is *committed*: its dead letters go to the reject file, its counters to the job's, its stretch to the ledger, all under one
//! lock, so that a checkpoint never sees half of it.
//!
//! A batch that finishes before an older one of its partition is kept back while the two share a (key, id). Otherwise a resume would
//! replay the older batch over the newer one's documents, and the older version would win.

use crate::checkpoint::ledger::Ledger;
use crate::error::Result;
use crate::model::checkpoint::{Counters, Progress};
use crate::model::meter::Meter;
use crate::model::partition::{Partition, PartitionId, PartitionIndex, Position};
use crate::pipeline::credits::Credit;
use crate::rejects::RejectLog;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One batch on its way.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) partition: PartitionIndex,
    pub(crate) sequence: u64,
    from: Position,
    to: Position,
    state: Mutex<TicketState>,
}

#[derive(Debug, Default)]
struct TicketState {
    /// Documents not settled, and one more until the batch has been handed to the lanes.
    outstanding: u32,
    results: Results,
    /// Hashes of the (key, id) of its documents, sorted; empty where the order of equal ids is not at stake.
    identities: Vec<u64>,
    /// Pays for the dead letters kept in memory.
    _credit: Option<Credit>,
}

/// What became of some documents.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) counters: Counters,
    /// Lines for the reject file.
    pub(crate) dead_letters: Vec<u8>,
    /// For events: who and why, the first place, how many.
    pub(crate) reasons: Vec<(&'static str, String, String)>,
}

impl Results {
    fn add(&mut self, other: Results) {
        self.counters.add(&other.counters);
        self.dead_letters.extend_from_slice(&other.dead_letters);
        self.reasons.extend(other.reasons);
    }
}

/// Rejects since they were last asked for.
#[derive(Debug)]
pub(crate) struct RejectNews {
    pub(crate) by: &'static str,
    pub(crate) reason: String,
    pub(crate) first: String,
    pub(crate) documents: u64,
}

/// What a checkpoint is made of.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) progress: BTreeMap<PartitionId, Progress>,
    pub(crate) counters: Counters,
    pub(crate) rejects_length: u64,
    /// Must be synced before the checkpoint counts.
    pub(crate) rejects_file: Option<File>,
}

/// The books of a run.
#[derive(Debug)]
pub(crate) struct Account {
    books: Mutex<Books>,
    meter: Arc<Meter>,
}

#[derive(Debug)]
struct Books {
    ledger: Ledger,
    rejects: RejectLog,
    /// Batches that are not committed, by partition and sequence; the second value is true once all is settled.
    open: HashMap<PartitionIndex, BTreeMap<u64, (Arc<Ticket>, bool)>>,
    news: HashMap<(&'static str, String), RejectNews>,
    finished: Vec<PartitionIndex>,
    failure: Option<crate::error::Error>,
}

impl Account {
    pub(crate) fn new(
        partitions: &[Partition],
        finished: &BTreeMap<PartitionId, Progress>,
        counters: Counters,
        rejects: RejectLog,
        meter: Arc<Meter>,
    ) -> Self {
        let ledger = Ledger::new(partitions, finished, counters);
        let books = Books { ledger, rejects, open: HashMap::new(), news: HashMap::new(), finished: Vec::new(), failure: None };
        Self { books: Mutex::new(books), meter }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the ticket of a batch that was read.
    pub(crate) fn open(&self, partition: PartitionIndex, sequence: u64, from: Position, to: Position) -> Arc<Ticket> {
        let state = Mutex::new(TicketState { outstanding: 1, ..TicketState::default() });
        let ticket = Arc::new(Ticket { partition, sequence, from, to, state });
        self.lock().open.entry(partition).or_default().insert(sequence, (Arc::clone(&ticket), false));
        ticket
    }

    /// Whether every batch that was opened is committed.
    pub(crate) fn is_settled(&self) -> bool {
        self.lock().open.is_empty()
    }

    /// The counters of everything committed.
    pub(crate) fn counters(&self) -> Counters {
        *self.lock().ledger.counters()
    }

    /// Whether everything of a partition is committed.
    pub(crate) fn is_done(&self, partition: PartitionIndex) -> bool {
        self.lock().ledger.is_done(partition)
    }

    /// Notes that `documents` of a batch have met their end, with `results`; commits the batch if they were the last.
    pub(crate) fn settle(&self, ticket: &Arc<Ticket>, documents: u32, results: Results) -> Result<()> {
        {
            let mut state = ticket.lock();
            state.results.add(results);
            state.outstanding -= documents;
            if state.outstanding > 0 {
                return Ok(());
            }
        }
        let mut books = self.lock();
        let before = books.ledger.counters().accounted();
        books.settled(ticket);
        self.meter.accounted.add(books.ledger.counters().accounted() - before);
        match books.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// What a checkpoint is made of.
    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        let mut books = self.lock();
        let (rejects_length, rejects_file) = books.rejects.write_through()?;
        let counters = *books.ledger.counters();
        Ok(Snapshot { progress: books.ledger.progress(), counters, rejects_length, rejects_file })
    }

    /// Partitions finished since the last call.
    pub(crate) fn finished_partitions(&self) -> Vec<PartitionIndex> {
        std::mem::take(&mut self.lock().finished)
    }

    /// Rejects committed since the last call.
    pub(crate) fn reject_news(&self) -> Vec<RejectNews> {
        std::mem::take(&mut self.lock().news).into_values().collect()
    }
}

impl Ticket {
    /// Records before the batch in its partition.
    pub(crate) fn first(&self) -> u64 {
        self.from.ordinal
    }

    fn lock(&self) -> MutexGuard<'_, TicketState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the batch holds once it is transformed: the documents that go to lanes, their identities (sorted), and the credits for what is kept in memory.
    pub(crate) fn expect(&self, documents: u32, identities: Vec<u64>, credit: Option<Credit>) {
        let mut state = self.lock();
        state.outstanding += documents;
        state.identities = identities;
        state._credit = credit;
    }

    fn shares_identity_with(&self, other: &Ticket) -> bool {
        let (mine, theirs) = (self.lock(), other.lock());
        let (mut a, mut b) = (mine.identities.as_slice(), theirs.identities.as_slice());
        while let (Some(x), Some(y)) = (a.first(), b.first()) {
            match x.cmp(y) {
                std::cmp::Ordering::Equal => return true,
                std::cmp::Ordering::Less => a = &a[1..],
                std::cmp::Ordering::Greater => b = &b[1..],
            }
        }
        false
    }
}

impl Books {
    /// A batch's last document is settled: commits it and those that waited for it.
    fn settled(&mut self, ticket: &Arc<Ticket>) {
        let Some(mut open) = self.open.remove(&ticket.partition) else { return };
        if let Some(entry) = open.get_mut(&ticket.sequence) {
            entry.1 = true;
        }
        let mut committed = true;
        while committed {
            committed = false;
            let settled: Vec<u64> =
                open.iter().filter(|(_, (_, settled))| *settled).map(|(sequence, _)| *sequence).collect();
            for sequence in settled {
                if self.try_commit(&open, sequence) {
                    open.remove(&sequence);
                    committed = true;
                }
            }
        }
        if !open.is_empty() {
            self.open.insert(ticket.partition, open);
        }
    }

    fn try_commit(&mut self, open: &BTreeMap<u64, (Arc<Ticket>, bool)>, sequence: u64) -> bool {
        let Some((ticket, _)) = open.get(&sequence) else { return false };
        if open.range(..sequence).any(|(_, (older, _))| ticket.shares_identity_with(older)) {
            return false;
        }
        let results = std::mem::take(&mut ticket.lock().results);
        if !self.ledger.finish(ticket.partition, &ticket.from, &ticket.to, &results.counters) {
            ticket.lock().results = results;
            return false;
        }
        if self.ledger.is_done(ticket.partition) {
            self.finished.push(ticket.partition);
        }
        if let Err(failure) = self.rejects.append(&results.dead_letters) {
            self.failure.get_or_insert(failure);
        }
        for (by, reason, first) in results.reasons {
            let news = RejectNews { by, reason: reason.clone(), first, documents: 0 };
            self.news.entry((by, reason)).or_insert(news).documents += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(folder: &std::path::Path) -> Account {
        let partition =
            Partition { id: PartitionId("p".into()), start: Position::default(), bytes: None, documents: None };
        let rejects = RejectLog::open(folder, 0).unwrap();
        Account::new(&[partition], &BTreeMap::new(), Counters::default(), rejects, Arc::new(Meter::default()))
    }

    fn batch(account: &Account, sequence: u64, identities: &[u64]) -> Arc<Ticket> {
        let at = |n| Position::new(n * 10, n);
        let ticket = account.open(0, sequence, at(sequence), at(sequence + 1));
        ticket.expect(1, identities.to_vec(), None);
        account.settle(&ticket, 1, Results::default()).unwrap();
        ticket
    }

    fn written() -> Results {
        Results { counters: Counters { written: 1, ..Counters::default() }, ..Results::default() }
    }

    #[test]
    fn a_newer_batch_with_an_equal_id_waits_for_the_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let account = account(folder.path());
        let (first, second, third) =
            (batch(&account, 0, &[1, 5]), batch(&account, 1, &[3, 5]), batch(&account, 2, &[2, 4]));
        account.settle(&second, 1, written()).unwrap();
        assert_eq!(account.counters().written, 0, "5 is in the older batch, which is not settled");
        account.settle(&third, 1, written()).unwrap();
        assert_eq!(account.counters().written, 1, "nothing is shared with an older batch");
        account.settle(&first, 1, written()).unwrap();
        assert_eq!(account.counters().written, 3);
        assert!(account.is_settled());
    }

    #[test]
    fn dead_letters_count_only_when_their_batch_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let account = account(folder.path());
        let ticket = batch(&account, 0, &[]);
        assert_eq!(account.snapshot().unwrap().rejects_length, 0);
        let results = Results { dead_letters: b"{}\n".to_vec(), reasons: vec![("target", "full".into(), "x".into())], ..written() };
        account.settle(&ticket, 1, results).unwrap();
        assert_eq!(account.snapshot().unwrap().rejects_length, 3);
        assert_eq!(account.reject_news()[0].documents, 1);
    }
}
