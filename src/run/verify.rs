//! `verify`: does the target hold what the source should have made of it?
//!
//! The strategy's steps are applied to the source again, and the target is read back. Each side is one sum, wrapping in 128 bits, of a hash
//! of every document: a sum does not depend on order, and unlike an exclusive-or it tells a document held twice from one held never.
//! A document's hash is of its bytes, or of the form that a target which changes them (numbers as doubles) compares by; one that holds line breaks is hashed without the white space between its tokens, because
//! that is how JSON Lines must write it.
//!
//! Where documents have a (key, id), of several with the same the last in source order counts. That takes 40 bytes of memory a document. In the
//! target it is so within a partition, and over the whole source where its order counts (`duplicates = "last"`). Elsewhere several
//! partitions that hold one (key, id) with different content leave to timing which of them the target keeps: such documents are counted
//! as ambiguous, and the verdict says so.
//!
//! To read takes as long as a run does, so a failure to read that may pass is borne as a run bears it: by the same rule, from the place that
//! was reached.

use crate::config::job::Job;
use crate::connector::{Reader, Sink, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::model::batch::{BatchLimit, Next};
use crate::model::document::Document;
use crate::model::event::{Ending, Event, Summary};
use crate::model::json;
use crate::model::partition::{Partition, PartitionIndex, Position, Stretch};
use crate::model::units::{Count, Counted};
use crate::model::verification::Verification;
use crate::pipeline::{Stop, StopReason, retry};
use crate::rejects::refused_by_target;
use crate::run::local::Local;
use crate::transform::{Chain, Scratch, Transformed};
use std::collections::{HashMap, HashSet};
use tokio::sync::mpsc::UnboundedSender;

/// How much of what is inconsistent is told: enough to see a pattern. A target may be wrong throughout.
const MOST_TOLD: usize = 10;

/// Bytes read at a time.
const BATCH_BYTES: usize = 4 << 20;

/// Compares source and target.
pub async fn verify(job: Job) -> Result<Verification> {
    let local = Local::offer(&job, None);
    let outcome = Box::pin(check_and_compare(&job)).await;
    local.stop().await;
    outcome
}

async fn check_and_compare(job: &Job) -> Result<Verification> {
    job.source.check().await?;
    Box::pin(compare(job)).await
}

/// What a run does at its end if its job is to be verified: the comparison becomes part of the summary, and how it came out of how the run ended.
pub(super) async fn at_the_end(
    job: &Job,
    stop: &Stop,
    events: &UnboundedSender<Event>,
    summary: &mut Summary,
) {
    let say = |message: String| drop(events.send(Event::Notice { message }));
    if !job.verify || summary.ending != Ending::Complete {
        return;
    }
    if summary.limit.is_some() {
        return say("the target is not verified: the limit left documents of the source unread".to_owned());
    }
    say("verifying: source and target are read again".to_owned());
    let failed = |error: &Error| super::failed(error.to_string(), error.kind(), error.remedy());
    match stop.unless(Box::pin(compare(job))).await {
        None => {
            summary.ending = match stop.take_reason() {
                Some(StopReason::Signal(signal)) => Ending::Interrupted { signal },
                Some(StopReason::Failure(error)) => failed(&error),
                None => failed(&Error::internal("verifying", "it was stopped without a reason")),
            };
        }
        Some(Err(error)) => summary.ending = failed(&error),
        Some(Ok(found)) => {
            if !found.equal {
                summary.ending = differs(&found);
            }
            summary.verification = Some(found);
        }
    }
}

/// What helps where ids occur in several partitions: to run again as before would leave it to timing again.
const AMBIGUOUS: &str = "set duplicates = \"last\" in [source], which readers of files know, or give these documents ids that differ; then run the migration again";

fn differs(found: &Verification) -> Ending {
    let Verification { source_documents, target_documents, target_inconsistencies, .. } = found;
    let kind = ErrorKind::Differences;
    let mut remedy = kind.remedy();
    let what = if source_documents != target_documents {
        let should = Counted(*source_documents, "document");
        format!("it should hold {should} and holds {}", Count(*target_documents))
    } else if *target_inconsistencies > 0 {
        format!("{} of its documents contradict themselves", Count(*target_inconsistencies))
    } else {
        let mut what = format!(
            "it holds {} as it should, and not all have the content that they should",
            Count(*target_documents)
        );
        if let Some(why) = found.ambiguity() {
            remedy = AMBIGUOUS;
            what = format!("{what}; {why}");
        }
        what
    };
    super::failed(format!("verifying the target: {what}"), kind, remedy)
}

/// Refuses, before anything is moved, what could not be verified afterwards.
pub(super) fn refuse_unverifiable(job: &Job) -> Result<()> {
    let refuse = |what: &str| {
        let message = format!("it is asked for, and {what}");
        let remedy = "take `verify` out of [run], or --verify off the command line";
        Err(Error::configuration("verifying the target", message).advise(remedy))
    };
    if !job.verify {
        return Ok(());
    }
    if job.sink.read_back().is_none() {
        return refuse(job.sink.not_read_back());
    }
    if !job.source.capabilities().resumable {
        return refuse("this source cannot be read a second time");
    }
    Ok(())
}

/// Compares a source that has been checked with the target.
async fn compare(job: &Job) -> Result<Verification> {
    // A target must be known before it can say where documents belong.
    if job.sink.identity().await?.is_none() {
        return Err(Error::configuration("reading the target back", "it does not exist")
            .with("target", &job.target_name)
            .advise("migrate first, or correct the target"));
    }
    let Some(target) = job.sink.read_back() else {
        return Err(Error::configuration("reading the target back", job.sink.not_read_back())
            .with("target", &job.target_name)
            .advise(
                "where it is to be verified, write to a file or a database, and not with mode = \"delete\"",
            ));
    };
    let refused = refused_by_target(&job.state)?;
    let max_document = usize::try_from(job.max_document).unwrap_or(usize::MAX);
    let mut expected = Side::of_source(&*job.source, &*job.sink, &job.chain, refused);
    expected.read(&*job.source, max_document).await?;
    target.check().await?;
    let nothing = Chain::empty();
    let mut found = Side::of_target(&*job.sink, &nothing);
    found.read(&*target, usize::MAX).await?;
    let (source_documents, source_sum) = expected.total();
    let (target_documents, target_sum) = found.total();
    let equal =
        source_documents == target_documents && source_sum == target_sum && found.inconsistencies == 0;
    Ok(Verification {
        source_documents,
        target_documents,
        source_sum,
        target_sum,
        target_inconsistent: found.inconsistent,
        target_inconsistencies: found.inconsistencies,
        ambiguous: expected.ambiguous,
        equal,
        dropped: expected.dropped,
        rejected: expected.rejected,
    })
}

/// A partition that is read from its beginning to its end.
struct Passage<'a> {
    source: &'a dyn Source,
    partition: &'a Partition,
    /// What was reached.
    from: Position,
    reader: Option<Box<dyn Reader>>,
}

impl<'a> Passage<'a> {
    fn new(source: &'a dyn Source, partition: &'a Partition) -> Self {
        Self { source, partition, from: partition.start.clone(), reader: None }
    }

    /// The reader's answer; failures that may pass are tried again.
    async fn next(&mut self, limit: BatchLimit) -> Result<Next> {
        let mut attempts = 0;
        loop {
            let error = match self.try_next(limit).await {
                Ok(next) => return Ok(next),
                Err(error) => error,
            };
            attempts += 1;
            let retry::Next::After(delay) = retry::next(&error, attempts) else { return Err(error) };
            self.reader = None;
            tokio::time::sleep(delay).await;
        }
    }

    async fn try_next(&mut self, limit: BatchLimit) -> Result<Next> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => {
                let stretch = Stretch { from: self.from.clone(), until: None };
                none.insert(self.source.open(self.partition, stretch).await?)
            }
        };
        let next = reader.next(limit).await?;
        if let Next::Batch(batch) = &next {
            self.from = batch.to.clone();
        }
        Ok(next)
    }
}

/// What is remembered of a (key, id).
struct Seen {
    /// Of the content, in two halves: a number of 128 bits would be aligned so that an entry takes half as much again.
    hash: [u64; 2],
    partition: PartitionIndex,
}

/// One side of the comparison.
struct Side<'a> {
    chain: &'a Chain,
    /// What is not a document here is a difference.
    is_target: bool,
    /// Knows the form in which documents are compared.
    sink: &'a dyn Sink,
    /// Documents with the same (key, id) are told by the sink, and the last counts.
    is_keyed: bool,
    /// Places of documents that the target refused: they are not expected there.
    refused: HashSet<(String, u64)>,
    documents: u64,
    sum: u128,
    by_identity: HashMap<u64, Seen>,
    /// Of equal ids the later one counts over the whole source.
    is_ordered: bool,
    ambiguous: u64,
    dropped: u64,
    rejected: u64,
    /// The first of what is inconsistent in a target.
    inconsistent: Vec<String>,
    inconsistencies: u64,
    scratch: Scratch,
    rendered: Vec<u8>,
    held: Vec<u8>,
}

impl<'a> Side<'a> {
    fn of_source(
        source: &dyn Source,
        sink: &'a dyn Sink,
        chain: &'a Chain,
        refused: HashSet<(String, u64)>,
    ) -> Self {
        Self {
            is_keyed: sink.capabilities().keyed,
            refused,
            is_ordered: source.capabilities().ordered,
            is_target: false,
            ..Self::of_target(sink, chain)
        }
    }

    fn of_target(sink: &'a dyn Sink, chain: &'a Chain) -> Self {
        Self {
            chain,
            is_target: true,
            sink,
            is_keyed: false,
            refused: HashSet::new(),
            documents: 0,
            sum: 0,
            by_identity: HashMap::new(),
            is_ordered: false,
            ambiguous: 0,
            dropped: 0,
            rejected: 0,
            inconsistent: Vec::new(),
            inconsistencies: 0,
            scratch: Scratch::default(),
            rendered: Vec::new(),
            held: Vec::new(),
        }
    }

    fn total(&self) -> (u64, u128) {
        let hashes =
            self.by_identity.values().map(|seen| u128::from(seen.hash[0]) << 64 | u128::from(seen.hash[1]));
        let sum = hashes.fold(self.sum, u128::wrapping_add);
        (self.documents + self.by_identity.len() as u64, sum)
    }

    async fn read(&mut self, source: &dyn Source, max_document: usize) -> Result<()> {
        for (number, partition) in source.partitions().await?.iter().enumerate() {
            let mut passage = Passage::new(source, partition);
            let mut limit = BatchLimit { documents: usize::MAX, bytes: BATCH_BYTES, max_document };
            let mut first = partition.start.ordinal;
            loop {
                match passage.next(limit).await? {
                    Next::End => break,
                    Next::Grow(bytes) => limit.bytes = bytes,
                    Next::Batch(batch) => {
                        limit.bytes = BATCH_BYTES;
                        self.rejected += batch.rejects.len() as u64;
                        for reject in &batch.rejects {
                            let ordinal = first + u64::from(reject.ordinal);
                            self.inconsistent(&reject.reason, || {
                                source.locate(partition, reject.at, ordinal)
                            });
                        }
                        for index in 0..batch.documents.len() {
                            let document = batch.documents.get(number as u32, index);
                            self.document(source, partition, &document);
                        }
                        first = batch.to.ordinal;
                    }
                }
            }
        }
        Ok(())
    }

    fn document(&mut self, source: &dyn Source, partition: &Partition, document: &Document<'_>) {
        self.rendered.clear();
        let place = |out: &mut String| source.position_id(partition, document.at, out);
        let bytes = match self.chain.apply(document.bytes, place, &mut self.scratch, &mut self.rendered) {
            Transformed::Kept { changed: true, .. } => self.rendered.as_slice(),
            Transformed::Kept { changed: false, .. } => document.bytes,
            Transformed::Dropped => return self.dropped += 1,
            Transformed::Malformed { reason, .. } => {
                self.rejected += 1;
                return self.inconsistent(&format!("malformed JSON: {reason}"), || {
                    let mut place = String::new();
                    source.position_id(partition, document.at, &mut place);
                    place
                });
            }
            Transformed::Rejected(_) => return self.rejected += 1,
        };
        if !self.refused.is_empty() && self.refused.contains(&(partition.id.0.clone(), document.at)) {
            return self.rejected += 1;
        }
        self.held.clear();
        let hash = content_hash(if self.sink.as_held(bytes, &mut self.held) { &self.held } else { bytes });
        if !self.is_keyed {
            self.documents += 1;
            self.sum = self.sum.wrapping_add(hash);
            return;
        }
        match self.sink.route(&Document { bytes, index: None, ..*document }) {
            Ok(route) => {
                let (hash, partition) = ([(hash >> 64) as u64, hash as u64], document.partition);
                let before = self.by_identity.insert(route.identity, Seen { hash, partition });
                let differs =
                    before.is_some_and(|before| before.partition != partition && before.hash != hash);
                self.ambiguous += u64::from(differs && !self.is_ordered);
            }
            Err(_) => self.rejected += 1,
        }
    }

    /// Notes what should not be in a target. Of a source it is expected: its documents are refused.
    fn inconsistent(&mut self, what: &str, place: impl FnOnce() -> String) {
        if !self.is_target {
            return;
        }
        self.inconsistencies += 1;
        if self.inconsistent.len() < MOST_TOLD {
            self.inconsistent.push(format!("{}: {what}", place()));
        }
    }
}

fn content_hash(bytes: &[u8]) -> u128 {
    if memchr::memchr2(b'\n', b'\r', bytes).is_none() {
        return xxhash_rust::xxh3::xxh3_128(bytes);
    }
    let mut compact = Vec::with_capacity(bytes.len());
    json::compact(bytes, &mut compact);
    xxhash_rust::xxh3::xxh3_128(&compact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::memory::{MemorySource, MemoryStore, Options};

    async fn read(source: &MemorySource) -> Result<(u64, u128)> {
        let (store, nothing) = (MemoryStore::new(Options::default()), Chain::empty());
        let sink = store.sink();
        let mut side = Side::of_source(source, &sink, &nothing, HashSet::new());
        side.read(source, 1 << 20).await?;
        Ok(side.total())
    }

    fn found(target_documents: u64, ambiguous: u64) -> Verification {
        Verification {
            source_documents: 3_501,
            target_documents,
            source_sum: 1,
            target_sum: 2,
            target_inconsistent: Vec::new(),
            target_inconsistencies: 0,
            ambiguous,
            equal: false,
            dropped: 0,
            rejected: 0,
        }
    }

    /// To run the migration again as it was would end in the same way.
    #[test]
    fn where_ids_are_ambiguous_the_advice_is_not_to_try_the_same_again() {
        let said = |found: &Verification| match differs(found) {
            Ending::Failed { error, remedy, .. } => (error, remedy),
            other => panic!("{other:?}"),
        };
        let (error, remedy) = said(&found(3_501, 1));
        assert_eq!(
            error,
            "verifying the target: it holds 3 501 as it should, and not all have the content that they should; 1 document has an id that another partition holds with other content, and which of them the target keeps is a matter of timing"
        );
        assert!(remedy.starts_with("set duplicates = \"last\" in [source]"), "{remedy}");
        let (error, remedy) = said(&found(3_501, 0));
        assert!(error.ends_with("the content that they should"), "{error}");
        assert_eq!(remedy, ErrorKind::Differences.remedy());
        let (error, remedy) = said(&found(3_500, 1));
        assert!(
            error.ends_with("it should hold 3 501 documents and holds 3 500"),
            "timing changes no count: {error}"
        );
        assert_eq!(remedy, ErrorKind::Differences.remedy());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_to_read_that_passes_changes_nothing() {
        let given = || {
            let shelf = |from: usize| (from..from + 50).map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
            MemorySource::given::<String>([shelf(0), shelf(50)])
        };
        let undisturbed = read(&given()).await.unwrap();
        assert_eq!(undisturbed.0, 100);
        let disturbed = given()
            .failing_once("0", 0, ErrorKind::Unavailable)
            .failing_once("1", 20, ErrorKind::Timeout)
            .failing_once("1", 20, ErrorKind::Unavailable);
        assert_eq!(read(&disturbed).await.unwrap(), undisturbed);
        let lost = given().failing_once("1", 20, ErrorKind::Authentication);
        assert_eq!(read(&lost).await.unwrap_err().kind(), ErrorKind::Authentication);
    }
}
