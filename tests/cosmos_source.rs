//! A container that changes while it is read: physical partitions are divided, documents go and come between two looks at a page.

use crate::cosmos::{UNLIMITED, migrate, options, overwriting, place, sorted};
use docferry::connector::cosmos::{CosmosSource, Mode, TargetOptions};
use docferry::connector::{Reader, Source};
use docferry::emulator::{Emulator, Faults, Options, Running};
use docferry::error::{ErrorKind, Result};
use docferry::model::batch::{BatchLimit, Next};
use docferry::model::partition::{Partition, Position, Stretch};
use docferry::model::units::MIB;

/// A reader and what it has read.
struct Reading<'a> {
    source: &'a CosmosSource,
    partition: &'a Partition,
    reader: Box<dyn Reader>,
    reached: Position,
    documents: Vec<String>,
}

impl<'a> Reading<'a> {
    async fn open(source: &'a CosmosSource, partition: &'a Partition, stretch: Stretch) -> Reading<'a> {
        let reached = stretch.from.clone();
        let reader = source.open(partition, stretch).await.unwrap();
        Self { source, partition, reader, reached, documents: Vec::new() }
    }

    /// Reads a batch of at most so many documents; false at the end.
    async fn read(&mut self, most: usize) -> Result<bool> {
        let limit = BatchLimit { documents: most, bytes: 8 * MIB as usize, max_document: 4 * MIB as usize };
        let Next::Batch(batch) = self.reader.next(limit).await? else { return Ok(false) };
        let text = |index| String::from_utf8(batch.documents.bytes(index).to_vec()).unwrap();
        self.documents.extend((0..batch.documents.len()).map(text));
        self.reached = batch.to;
        Ok(true)
    }

    async fn until_the_end(mut self) -> Vec<String> {
        while self.read(1000).await.unwrap() {}
        self.documents
    }

    /// As after a failure to read: from what was reached.
    async fn again(self) -> Reading<'a> {
        let stretch = Stretch { from: self.reached.clone(), until: None };
        let Self { source, partition, documents, .. } = self;
        Self { documents, ..Self::open(source, partition, stretch).await }
    }
}

fn whole(partition: &Partition) -> Stretch {
    Stretch { from: partition.start.clone(), until: None }
}

/// One physical partition, and these documents in it.
async fn holding(documents: &[String]) -> (Running, CosmosSource, Partition) {
    let running = Emulator::start(Options { throughput: UNLIMITED, partitions: 1, ..Options::default() })
        .await
        .unwrap();
    migrate(documents, options(&running, &["/id"])).await;
    let source = CosmosSource::new(place(&running));
    source.check().await.unwrap();
    let partition = source.partitions().await.unwrap().remove(0);
    (running, source, partition)
}

/// Too large for a page to hold more than a few.
fn large(count: usize) -> Vec<String> {
    (0..count).map(|id| format!(r#"{{"id":"{id}","p":"{}"}}"#, "x".repeat(1_000_000))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_physical_partition_that_is_divided_is_read_on_after_a_failure() {
    let documents = large(16);
    let (running, source, partition) = holding(&documents).await;
    let mut reading = Reading::open(&source, &partition, whole(&partition)).await;
    assert!(reading.read(2).await.unwrap());
    let before = reading.reached.clone();
    let children = running.split("shop/orders", "0").unwrap();
    // Behind this page the driver knows of the division.
    while reading.documents.len() < 6 {
        assert!(reading.read(1000).await.unwrap());
    }
    running.split("shop/orders", &children[0]).unwrap();
    running.set_faults(Faults { internal: 1.0, ..Faults::default() });
    let refused = loop {
        match reading.read(1000).await {
            Ok(is_more) => assert!(is_more),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    running.set_faults(Faults::default());
    let reading = reading.again().await;
    assert_eq!(sorted(&reading.until_the_end().await), sorted(&documents));

    let rest = Reading::open(&source, &partition, Stretch { from: before, until: None }).await;
    let rest = rest.until_the_end().await;
    // The service orders the children's documents otherwise, so those of a page that was begun are all read again.
    assert_eq!(sorted(&rest), sorted(&documents), "also from a place before the division");
    let all = Reading::open(&source, &partition, whole(&partition)).await.until_the_end().await;
    assert_eq!(sorted(&all), sorted(&documents), "and from the beginning");
}

async fn delete(running: &Running, documents: &[String]) {
    let deleting = TargetOptions { mode: Mode::Delete, ..options(running, &["/id"]) };
    let counters = overwriting(documents, deleting).await.ended.counters;
    assert_eq!(counters.written, documents.len() as u64);
}

/// What was read of a page and is gone when the page is asked for again must not be counted off from what was not read.
#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_deleted_from_a_page_take_no_unread_ones_with_them() {
    let documents: Vec<String> = (0..100).map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
    // Of those that were read: one at the beginning, the last, more than a position knows.
    for gone in [0..10, 39..40, 30..40, 0..40] {
        let (running, source, partition) = holding(&documents).await;
        let mut reading = Reading::open(&source, &partition, whole(&partition)).await;
        assert!(reading.read(40).await.unwrap());
        let passed = reading.documents.clone();
        delete(&running, &passed[gone.clone()]).await;
        let rest = Reading { documents: Vec::new(), ..reading }.again().await.until_the_end().await;
        let unread: Vec<String> =
            documents.iter().filter(|document| !passed.contains(document)).cloned().collect();
        let missing = unread.iter().filter(|document| !rest.contains(document)).count();
        assert_eq!(missing, 0, "{gone:?} were deleted");
        let twice = rest.len() - unread.len();
        let most = if gone.contains(&36) { 40 - gone.len() } else { 1 };
        assert!(twice <= most, "{gone:?} were deleted, {twice} read twice");
    }
}

/// A stretch of a resumed run ends where a finished one begins, wherever that is by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_ends_before_the_document_that_it_ended_before() {
    let documents: Vec<String> = (0..100).map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
    let (running, source, partition) = holding(&documents).await;
    let mut reading = Reading::open(&source, &partition, whole(&partition)).await;
    assert!(reading.read(20).await.unwrap());
    let from = reading.reached.clone();
    assert!(reading.read(40).await.unwrap());
    let (until, passed) = (reading.reached.clone(), reading.documents.clone());
    let stretch = || Stretch { from: from.clone(), until: Some(until.clone()) };
    let all = Reading::open(&source, &partition, stretch()).await.until_the_end().await;
    assert_eq!(all, passed[20..]);

    delete(&running, &passed[30..35]).await;
    let fewer = Reading::open(&source, &partition, stretch()).await.until_the_end().await;
    assert_eq!(fewer, [&passed[20..30], &passed[35..]].concat());

    let more: Vec<String> = (100..200).map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
    overwriting(&more, options(&running, &["/id"])).await;
    let mut reading = Reading::open(&source, &partition, stretch()).await;
    let (mut at, mut places) = (from.at, 0);
    while reading.read(7).await.unwrap() {
        assert!(at < reading.reached.at && reading.reached.at <= until.at);
        (at, places) = (reading.reached.at, places + 1);
    }
    assert_eq!(reading.reached.at, until.at);
    let old: Vec<String> =
        reading.documents.iter().filter(|document| documents.contains(document)).cloned().collect();
    assert_eq!(old, fewer, "what came in between takes no place from what was there");
    assert!(places > 5 && reading.documents.len() > 35, "{places}");
}
