//! A container that changes while it is read: physical partitions are divided, documents go and come between two looks at a page.

use crate::cosmos::{UNLIMITED, migrate, options, place, sorted};
use docferry::connector::cosmos::CosmosSource;
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

    async fn to_the_end(mut self) -> Vec<String> {
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
    assert_eq!(sorted(&reading.to_the_end().await), sorted(&documents));

    let rest = Reading::open(&source, &partition, Stretch { from: before, until: None }).await;
    assert_eq!(rest.to_the_end().await.len(), 14, "also from a place before the division");
    let all = Reading::open(&source, &partition, whole(&partition)).await.to_the_end().await;
    assert_eq!(sorted(&all), sorted(&documents), "and from the beginning");
}
