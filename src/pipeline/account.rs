//! Acknowledgement: which documents have met their end, and when that may be called finished.
//!
//! Every batch has a [`Ticket`]. Requests settle documents on the tickets they came from; when a ticket's last document is settled, the
//! batch is *committed*: its dead letters go to the reject file, its counters to the job's, its stretch to the ledger, all under one
//! lock, so that a checkpoint never sees half of it.
//!
//! A batch that finishes before an older one of its partition is kept back while the two share a (key, id). Otherwise a resume would
//! replay the older batch over the newer one's documents, and the older version would win.
//!
//! A batch for which the ledger has no room is *set aside*: a resume would replay it, and nothing waits for it meanwhile. It gives its
//! identities back with their credits, because from then on every newer batch of the partition is set aside too, whatever it
//! shares with it; so behind a lane that stands still a source is read on for as long as there are other lanes. Only dead letters, which
//! are still in memory, stay paid for.

use crate::checkpoint::ledger::Ledger;
use crate::checkpoint::store::CheckpointStore;
use crate::connector::Source;
use crate::error::Result;
use crate::model::checkpoint::{Counters, Progress};
use crate::model::meter::Meter;
use crate::model::partition::{Partition, PartitionId, PartitionIndex, Position};
use crate::model::reject::Reject;
use crate::pipeline::credits::Credit;
use crate::pipeline::owners::IdentityHasher;
use crate::rejects::{RejectLog, dead_letter};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::hash::BuildHasherDefault;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

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
    /// Pays for the dead letters and identities kept in memory, from the end of transform until the commit.
    credit: Option<Credit>,
}

/// What a batch that is not committed keeps in memory of each document's (key, id): its place in a list, and in a map that is half full.
pub(crate) const KNOWN_BYTES: u64 = 8 + 2 * 16;

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
    /// Adds a document that was refused: `first` records lie before its batch in `partition`.
    pub(crate) fn reject(&mut self, reject: &Reject, source: &dyn Source, partition: &Partition, first: u64) {
        let place = source.locate(partition, reject.at, first + u64::from(reject.ordinal));
        self.counters.rejected += 1;
        self.dead_letters.extend_from_slice(&dead_letter(reject, &partition.id.0, &place));
        self.reasons.push((reject.by.as_str(), reject.reason.clone(), place));
    }

    /// What it holds in memory until the batch is committed.
    pub(crate) fn held_bytes(&self) -> u64 {
        let reasons = self.reasons.iter().map(|each| size_of_val(each) + each.1.len() + each.2.len());
        (self.dead_letters.len() + reasons.sum::<usize>()) as u64
    }

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
    /// A partition is finished.
    ended: Notify,
    meter: Arc<Meter>,
}

#[derive(Debug)]
struct Books {
    ledger: Ledger,
    rejects: RejectLog,
    /// Batches that are not committed, by partition.
    open: HashMap<PartitionIndex, OpenBatches>,
    news: HashMap<(&'static str, String), RejectNews>,
    finished: Vec<PartitionIndex>,
    /// Finished, and the sink has not been told.
    ended: Vec<PartitionIndex>,
    failure: Option<crate::error::Error>,
    /// Asked before dead letters go to the log, which may write them: whether the job is still this run's.
    fence: Fence,
}

/// Looks whether the job is still this run's.
#[derive(Debug)]
pub(crate) struct Fence {
    pub(crate) store: CheckpointStore,
    pub(crate) run: String,
}

/// The batches of a partition that are not committed.
#[derive(Debug, Default)]
struct OpenBatches {
    by_sequence: HashMap<u64, OpenBatch>,
    /// The last batch that holds a (key, id).
    last: HashMap<u64, u64, BuildHasherDefault<IdentityHasher>>,
    /// Settled, and set aside: the ledger has no room for the first of them, and the others are newer.
    aside: BTreeSet<u64>,
}

#[derive(Debug)]
struct OpenBatch {
    ticket: Arc<Ticket>,
    /// Hashes of the (key, id) of its documents; empty where the order of equal ids is not at stake.
    identities: Vec<u64>,
    /// All its documents have met their end.
    is_settled: bool,
    /// Older batches that share a (key, id) with it.
    waits_for: usize,
    /// Newer ones that wait for it.
    followers: Vec<u64>,
}

impl Account {
    pub(crate) fn new(
        partitions: &[Partition],
        finished: &BTreeMap<PartitionId, Progress>,
        counters: Counters,
        rejects: RejectLog,
        fence: Fence,
        meter: Arc<Meter>,
    ) -> Self {
        let ledger = Ledger::new(partitions, finished, counters);
        // An earlier run may have been killed between the last document of a partition and its end.
        let ended =
            (0..partitions.len() as PartitionIndex).filter(|partition| ledger.is_done(*partition)).collect();
        let books = Books {
            ledger,
            rejects,
            open: HashMap::new(),
            news: HashMap::new(),
            finished: Vec::new(),
            ended,
            failure: None,
            fence,
        };
        Self { books: Mutex::new(books), ended: Notify::new(), meter }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the ticket of a batch that was read.
    pub(crate) fn open(
        &self,
        partition: PartitionIndex,
        sequence: u64,
        from: Position,
        to: Position,
    ) -> Arc<Ticket> {
        let state = Mutex::new(TicketState { outstanding: 1, ..TicketState::default() });
        let ticket = Arc::new(Ticket { partition, sequence, from, to, state });
        let batch = OpenBatch {
            ticket: Arc::clone(&ticket),
            identities: Vec::new(),
            is_settled: false,
            waits_for: 0,
            followers: Vec::new(),
        };
        self.lock().open.entry(partition).or_default().by_sequence.insert(sequence, batch);
        ticket
    }

    /// Notes what a batch holds once it is transformed: the documents that go to lanes, their identities, what has met its end already, and
    /// the credits for what is kept in memory. Called in the order of the batches of a partition.
    pub(crate) fn expect(
        &self,
        ticket: &Ticket,
        documents: u32,
        identities: Vec<u64>,
        results: Results,
        credit: Credit,
    ) {
        self.meter.settled.add(results.counters.accounted());
        {
            let mut state = ticket.lock();
            state.outstanding += documents;
            state.results = results;
            state.credit = Some(credit);
        }
        if !identities.is_empty()
            && let Some(open) = self.lock().open.get_mut(&ticket.partition)
        {
            open.expect(ticket.sequence, identities);
        }
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
        self.meter.settled.add(results.counters.accounted());
        {
            let mut state = ticket.lock();
            // A batch may wait for its last document for long, with the dead letters of all others: they overdraw the credits, and are paid
            // back at the commit, which waits for nothing that is still to be read.
            if let Some(credit) = &mut state.credit {
                credit.grow(results.held_bytes());
            }
            state.results.add(results);
            state.outstanding -= documents;
            if state.outstanding > 0 {
                return Ok(());
            }
        }
        let mut books = self.lock();
        let (before, ended) = (books.ledger.counters().accounted(), books.ended.len());
        books.settled(ticket);
        self.meter.accounted.add(books.ledger.counters().accounted() - before);
        if books.ended.len() > ended {
            self.ended.notify_one();
        }
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

    /// The reject file has been synced up to `length`.
    pub(crate) fn rejects_synced(&self, length: u64) {
        self.lock().rejects.synced(length);
    }

    /// Puts the reject file in the source order of `partitions`, all of which are finished and in a checkpoint. Waits for a disk.
    pub(crate) fn put_rejects_in_order(&self, partitions: &[Partition]) -> Result<()> {
        self.lock().rejects.put_in_order(partitions)
    }

    /// Partitions finished since the last call.
    pub(crate) fn finished_partitions(&self) -> Vec<PartitionIndex> {
        std::mem::take(&mut self.lock().finished)
    }

    /// Partitions of which everything is finished, each once in a run, once there are some. Those that an earlier run has finished are among
    /// the first.
    pub(crate) async fn ended_partitions(&self) -> Vec<PartitionIndex> {
        loop {
            let ended = std::mem::take(&mut self.lock().ended);
            if !ended.is_empty() {
                return ended;
            }
            self.ended.notified().await;
        }
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
}

impl OpenBatches {
    /// A batch holds these identities: it waits for the last older batch that holds one of them, which waits for those before.
    fn expect(&mut self, sequence: u64, identities: Vec<u64>) {
        let mut waits_for = 0;
        for identity in &identities {
            let before = self.last.insert(*identity, sequence).filter(|before| *before != sequence);
            let Some(older) = before.and_then(|before| self.by_sequence.get_mut(&before)) else { continue };
            if older.followers.last() != Some(&sequence) {
                older.followers.push(sequence);
                waits_for += 1;
            }
        }
        if let Some(batch) = self.by_sequence.get_mut(&sequence) {
            batch.identities = identities;
            batch.waits_for = waits_for;
        }
    }

    /// Takes a committed batch out; `ready` gets those that may be committed now.
    fn remove(&mut self, sequence: u64, ready: &mut Vec<u64>) {
        self.aside.remove(&sequence);
        self.release(sequence, ready);
        self.by_sequence.remove(&sequence);
    }

    /// Sets a batch aside until those before it are committed and there is room for it.
    fn set_aside(&mut self, sequence: u64, ready: &mut Vec<u64>) {
        self.aside.insert(sequence);
        self.release(sequence, ready);
        if let Some(batch) = self.by_sequence.get(&sequence) {
            let mut state = batch.ticket.lock();
            let held = state.results.held_bytes();
            if let Some(credit) = &mut state.credit {
                credit.resize(held);
            }
        }
    }

    /// Whether a batch that was set aside lies before this one.
    fn is_behind_one_aside(&self, sequence: u64) -> bool {
        self.aside.first().is_some_and(|first| *first < sequence)
    }

    /// Nobody waits any more for what the batch holds.
    fn release(&mut self, sequence: u64, ready: &mut Vec<u64>) {
        let Some(batch) = self.by_sequence.get_mut(&sequence) else { return };
        let (identities, followers) =
            (std::mem::take(&mut batch.identities), std::mem::take(&mut batch.followers));
        for identity in identities {
            if let Entry::Occupied(last) = self.last.entry(identity)
                && *last.get() == sequence
            {
                last.remove();
            }
        }
        for follower in followers {
            let Some(newer) = self.by_sequence.get_mut(&follower) else { continue };
            newer.waits_for -= 1;
            if newer.is_settled && newer.waits_for == 0 {
                ready.push(follower);
            }
        }
    }
}

impl Books {
    /// A batch's last document is settled: commits it, if it need not wait, and those that waited for it.
    fn settled(&mut self, ticket: &Arc<Ticket>) {
        let Some(mut open) = self.open.remove(&ticket.partition) else { return };
        let mut ready = Vec::new();
        if let Some(batch) = open.by_sequence.get_mut(&ticket.sequence) {
            batch.is_settled = true;
            if batch.waits_for == 0 {
                ready.push(ticket.sequence);
            }
        }
        let mut has_committed = false;
        loop {
            // What is committed may have made room for the first that was set aside.
            let first_aside = || open.aside.first().copied().filter(|_| has_committed);
            let Some(sequence) = ready.pop().or_else(first_aside) else { break };
            let Some(batch) = open.by_sequence.get(&sequence) else { continue };
            let was_aside = open.aside.contains(&sequence);
            let commits = !open.is_behind_one_aside(sequence) && self.try_commit(&batch.ticket);
            match commits {
                true => open.remove(sequence, &mut ready),
                false if was_aside => break,
                false => open.set_aside(sequence, &mut ready),
            }
            has_committed |= commits;
        }
        if !open.by_sequence.is_empty() {
            self.open.insert(ticket.partition, open);
        }
    }

    /// False: the ledger has no room for it yet, or its dead letters could not be written. They come first: what the ledger has
    /// entered, a checkpoint may hold.
    fn try_commit(&mut self, ticket: &Ticket) -> bool {
        if !self.ledger.has_room(ticket.partition, &ticket.from, &ticket.to) {
            return false;
        }
        let results = std::mem::take(&mut ticket.lock().results);
        let entered = match results.dead_letters.as_slice() {
            [] => Ok(()),
            letters => {
                self.fence.store.refuse_if_lost(&self.fence.run).and_then(|()| self.rejects.append(letters))
            }
        };
        if let Err(failure) = entered {
            self.failure.get_or_insert(failure);
            ticket.lock().results = results;
            return false;
        }
        self.ledger.finish(ticket.partition, &ticket.from, &ticket.to, &results.counters);
        if self.ledger.is_done(ticket.partition) {
            self.finished.push(ticket.partition);
            self.ended.push(ticket.partition);
        }
        ticket.lock().credit = None;
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
    use crate::pipeline::credits::{Credits, Standing};
    use tokio::sync::Notify;

    fn account(folder: &std::path::Path) -> Account {
        let partition = Partition {
            id: PartitionId("p".into()),
            start: Position::default(),
            bytes: None,
            documents: None,
        };
        let rejects = RejectLog::open(folder, 0).unwrap();
        let fence = Fence { store: CheckpointStore::new(folder), run: "run".to_owned() };
        let meter = Arc::new(Meter::default());
        Account::new(&[partition], &BTreeMap::new(), Counters::default(), rejects, fence, meter)
    }

    #[tokio::test]
    async fn a_partition_that_an_earlier_run_has_finished_is_ended_too() {
        let partition = |id: &str| Partition {
            id: PartitionId(id.into()),
            start: Position::default(),
            bytes: None,
            documents: None,
        };
        let done = Progress { done: true, ..Progress::default() };
        let finished = BTreeMap::from([(PartitionId("b".into()), done)]);
        let folder = tempfile::tempdir().unwrap();
        let rejects = RejectLog::open(folder.path(), 0).unwrap();
        let meter = Arc::new(Meter::default());
        let partitions = ["a", "b"].map(partition);
        let fence = Fence { store: CheckpointStore::new(folder.path()), run: "run".to_owned() };
        let account = Account::new(&partitions, &finished, Counters::default(), rejects, fence, meter);
        assert_eq!(account.ended_partitions().await, [1]);
        let ticket = account.open(0, 0, Position::default(), Position::END);
        account.settle(&ticket, 1, Results::default()).unwrap();
        assert_eq!(account.ended_partitions().await, [0]);
    }

    fn batch(account: &Account, sequence: u64, identities: &[u64]) -> Arc<Ticket> {
        let at = |n| Position::new(n * 10, n);
        let ticket = account.open(0, sequence, at(sequence), at(sequence + 1));
        let credits = Credits::new(1000, Arc::new(Notify::new()), Arc::clone(&account.meter));
        let credit = credits.try_take(0, 100, Standing::Equal).unwrap();
        account.expect(&ticket, 1, identities.to_vec(), Results::default(), credit);
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
        assert_eq!((account.meter.settled.get(), account.meter.accounted.get()), (1, 0));
        account.settle(&third, 1, written()).unwrap();
        assert_eq!(account.counters().written, 1, "nothing is shared with an older batch");
        account.settle(&first, 1, written()).unwrap();
        assert_eq!(account.counters().written, 3);
        assert_eq!((account.meter.settled.get(), account.meter.accounted.get()), (3, 3));
        assert!(account.is_settled());
        let dropped =
            Results { counters: Counters { dropped: 2, ..Counters::default() }, ..Results::default() };
        let ticket = account.open(0, 3, Position::new(30, 3), Position::new(40, 5));
        let credits = Credits::new(1000, Arc::new(Notify::new()), Arc::clone(&account.meter));
        let credit = credits.try_take(0, 100, Standing::Equal).unwrap();
        account.expect(&ticket, 0, Vec::new(), dropped, credit);
        assert_eq!(account.meter.settled.get(), 5, "what a step drops has met its end too");
    }

    #[test]
    fn a_run_that_has_lost_the_job_writes_no_dead_letters() {
        let folder = tempfile::tempdir().unwrap();
        let account = account(folder.path());
        let ticket = batch(&account, 0, &[]);
        CheckpointStore::new(folder.path()).claim("other").unwrap();
        // More than is collected before it is written.
        let results = Results { dead_letters: vec![b'x'; 1 << 20], ..written() };
        assert_eq!(account.settle(&ticket, 1, results).unwrap_err().kind(), crate::error::ErrorKind::Held);
        assert!(!folder.path().join("rejects.jsonl").try_exists().unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_batch_whose_dead_letters_cannot_be_written_is_not_finished() {
        let folder = tempfile::tempdir().unwrap();
        let account = account(folder.path());
        let ticket = batch(&account, 0, &[]);
        std::os::unix::fs::symlink("/dev/full", folder.path().join("rejects.jsonl")).unwrap();
        // More than is collected before it is written.
        let results = Results { dead_letters: vec![b'x'; 1 << 20], ..written() };
        account.settle(&ticket, 1, results).unwrap_err();
        assert_eq!(account.counters().written, 0);
        let snapshot = account.snapshot().unwrap();
        assert!(snapshot.progress.is_empty() && snapshot.rejects_length == 0);
    }

    #[test]
    fn behind_a_batch_that_stands_still_any_number_is_finished_and_holds_no_credits() {
        let folder = tempfile::tempdir().unwrap();
        let account = account(folder.path());
        // Every other one, so that none touches another: more than a ledger has room for.
        let tickets: Vec<_> =
            (0..4000).map(|sequence| batch(&account, sequence, &[7_000 + sequence])).collect();
        let (even, odd): (Vec<_>, Vec<_>) = tickets.iter().partition(|ticket| ticket.sequence % 2 == 0);
        let held = || account.snapshot().unwrap().counters.written;
        odd.iter().for_each(|ticket| account.settle(ticket, 1, written()).unwrap());
        let most = held();
        assert!(most < 2000, "{most} have found room");
        let credits =
            |ticket: &&&Arc<Ticket>| ticket.lock().credit.as_ref().is_some_and(|credit| credit.held() > 0);
        assert_eq!(odd.iter().filter(credits).count(), 0);
        // The last one finds its neighbour set aside, and waits with it.
        account.settle(even.last().unwrap(), 1, written()).unwrap();
        assert_eq!(held(), most);
        even.iter().rev().skip(1).for_each(|ticket| account.settle(ticket, 1, written()).unwrap());
        assert_eq!(held(), 4000);
        assert!(account.is_settled());
    }

    #[test]
    fn a_newer_batch_waits_for_an_older_one_with_an_equal_id_also_when_that_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let account = account(folder.path());
        let stuck = batch(&account, 0, &[]);
        let others: Vec<_> = (1..=2100).map(|sequence| batch(&account, sequence, &[])).collect();
        let (older, newer) = (batch(&account, 2101, &[5]), batch(&account, 2102, &[5]));
        others.iter().filter(|ticket| ticket.sequence % 2 == 1).for_each(|ticket| {
            account.settle(ticket, 1, written()).unwrap();
        });
        let full = account.counters().written;
        account.settle(&newer, 1, written()).unwrap();
        account.settle(&older, 1, written()).unwrap();
        assert_eq!(account.counters().written, full, "no room");
        let after = batch(&account, 2103, &[5]);
        account.settle(&after, 1, written()).unwrap();
        assert_eq!(account.counters().written, full, "it is newer than what was set aside");
        account.settle(&stuck, 1, written()).unwrap();
        others.iter().filter(|ticket| ticket.sequence % 2 == 0).for_each(|ticket| {
            account.settle(ticket, 1, written()).unwrap();
        });
        assert!(account.is_settled());
    }

    #[test]
    fn dead_letters_count_only_when_their_batch_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let account = account(folder.path());
        let ticket = batch(&account, 0, &[]);
        assert_eq!(account.snapshot().unwrap().rejects_length, 0);
        let results = Results {
            dead_letters: b"{}\n".to_vec(),
            reasons: vec![("target", "full".into(), "x".into())],
            ..Results::default()
        };
        account.settle(&ticket, 0, results).unwrap();
        assert!(account.meter.credits.get() > 103, "what waits for the last document is paid for");
        assert_eq!(account.snapshot().unwrap().rejects_length, 0);
        account.settle(&ticket, 1, written()).unwrap();
        assert_eq!(account.meter.credits.get(), 0);
        assert_eq!(account.snapshot().unwrap().rejects_length, 3);
        assert_eq!(account.reject_news()[0].documents, 1);
    }
}
