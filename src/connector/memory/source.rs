//! The store, or documents given in Rust, as a source; it can be slow, stumble once, or be damaged, as told.
//!
//! A position is the number of documents before it in its partition.

use crate::connector::memory::store::{MemoryStore, locked};
use crate::connector::source::{Reader, Source, SourceCapabilities};
use crate::error::{Error, ErrorKind, Result};
use crate::model::BoxFuture;
use crate::model::batch::{Batch, BatchLimit, Next};
use crate::model::partition::{Partition, PartitionId, Position, Stretch};
use crate::model::reject::{Reject, RejectedBy};
use crate::model::units::{Bytes, Counted};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The documents of one partition.
type Shelf = Arc<Vec<Arc<[u8]>>>;

/// Documents in this process as a source.
#[derive(Debug)]
pub struct MemorySource {
    origin: Origin,
    latency: BTreeMap<String, Duration>,
    faults: Arc<Mutex<Vec<ReadFault>>>,
}

#[derive(Debug)]
enum Origin {
    Store(Arc<MemoryStore>),
    Given(Vec<Shelf>),
}

/// A failure of a reader: when it is about to return document `at` of `partition`.
#[derive(Debug)]
struct ReadFault {
    partition: String,
    at: u64,
    kind: ErrorKind,
    once: bool,
}

impl MemorySource {
    /// These documents, by partition. The partitions are called `0`, `1` and so on.
    pub fn given<T: AsRef<[u8]>>(partitions: impl IntoIterator<Item = Vec<T>>) -> Self {
        let shelf = |documents: Vec<T>| Arc::new(documents.iter().map(|one| one.as_ref().into()).collect());
        Self::of(Origin::Given(partitions.into_iter().map(shelf).collect()))
    }

    /// What `store` holds.
    pub(super) fn of_store(store: Arc<MemoryStore>) -> Self {
        Self::of(Origin::Store(store))
    }

    fn of(origin: Origin) -> Self {
        Self { origin, latency: BTreeMap::new(), faults: Arc::default() }
    }

    /// Every batch of `partition` takes this long.
    #[must_use]
    pub fn slow(mut self, partition: &str, latency: Duration) -> Self {
        self.latency.insert(partition.to_owned(), latency);
        self
    }

    /// The first attempt to read document `at` of `partition` fails, later ones pass.
    #[must_use]
    pub fn failing_once(self, partition: &str, at: u64, kind: ErrorKind) -> Self {
        locked(&self.faults).push(ReadFault { partition: partition.to_owned(), at, kind, once: true });
        self
    }

    /// Nothing can be read from document `at` of `partition` on.
    #[must_use]
    pub fn damaged(self, partition: &str, at: u64) -> Self {
        let kind = ErrorKind::InvalidInput;
        locked(&self.faults).push(ReadFault { partition: partition.to_owned(), at, kind, once: false });
        self
    }

    /// The partitions with their documents.
    fn shelves(&self) -> Result<Vec<(String, Shelf)>> {
        let store = match &self.origin {
            Origin::Given(shelves) => {
                let named =
                    shelves.iter().enumerate().map(|(index, shelf)| (index.to_string(), Arc::clone(shelf)));
                return Ok(named.collect());
            }
            Origin::Store(store) => store,
        };
        let mut lanes: BTreeMap<_, Vec<Arc<[u8]>>> = BTreeMap::new();
        for version in store.versions()?.0 {
            lanes.entry(version.lane).or_default().push(version.bytes);
        }
        Ok(lanes.into_iter().map(|(lane, shelf)| (format!("lane-{lane}"), Arc::new(shelf))).collect())
    }
}

impl Source for MemorySource {
    fn capabilities(&self) -> SourceCapabilities {
        let resumable = match &self.origin {
            Origin::Store(store) => store.options().resumable,
            Origin::Given(_) => true,
        };
        SourceCapabilities { resumable, ordered: false }
    }

    fn check(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async {
            if let Origin::Store(store) = &self.origin {
                let (versions, sequence) = store.versions()?;
                return Ok(vec![format!(
                    "{}: {}, sequence {sequence}",
                    store.identity(),
                    Counted(versions.len() as u64, "document")
                )]);
            }
            let lines = self.shelves()?.into_iter().map(|(name, shelf)| {
                let hash = shelf.iter().fold(0, |hash, document| xxh3_64_with_seed(document, hash));
                format!("partition {name}: {}, hash {hash:016x}", Counted(shelf.len() as u64, "document"))
            });
            Ok(lines.collect())
        })
    }

    fn partitions(&self) -> BoxFuture<'_, Result<Vec<Partition>>> {
        Box::pin(async {
            let partitions = self.shelves()?.into_iter().map(|(name, shelf)| Partition {
                id: PartitionId(name),
                start: Position::default(),
                bytes: Some(shelf.iter().map(|document| document.len() as u64).sum()),
                documents: Some(shelf.len() as u64),
            });
            Ok(partitions.collect())
        })
    }

    fn open<'a>(
        &'a self,
        partition: &'a Partition,
        stretch: Stretch,
    ) -> BoxFuture<'a, Result<Box<dyn Reader>>> {
        Box::pin(async move {
            let name = &partition.id.0;
            let Some((_, shelf)) = self.shelves()?.into_iter().find(|(shelf, _)| shelf == name) else {
                return Err(Error::internal("opening the source", "there is no such partition")
                    .with("partition", name));
            };
            let until = stretch.until.map_or(u64::MAX, |until| until.at).min(shelf.len() as u64);
            Ok(Box::new(MemoryReader {
                partition: name.clone(),
                at: stretch.from.at,
                until,
                shelf,
                latency: self.latency.get(name).copied().unwrap_or_default(),
                faults: Arc::clone(&self.faults),
            }) as _)
        })
    }

    fn locate(&self, partition: &Partition, at: u64, _ordinal: u64) -> String {
        format!("memory, partition {}, document {at}", partition.id)
    }

    fn position_id(&self, partition: &Partition, at: u64, out: &mut String) {
        // Partitions are named above: numbers and `lane-` hold nothing that must be escaped.
        *out = format!("{}@{at}", partition.id);
    }
}

struct MemoryReader {
    partition: String,
    at: u64,
    until: u64,
    shelf: Shelf,
    latency: Duration,
    faults: Arc<Mutex<Vec<ReadFault>>>,
}

impl MemoryReader {
    fn read(&mut self, limit: BatchLimit) -> Result<Next> {
        let (mut batch, from) = (Batch::default(), self.at);
        // Spans hold 32-bit offsets.
        let limit = BatchLimit { bytes: limit.bytes.min(u32::MAX as usize), ..limit };
        while self.at < self.until && self.at - from < limit.documents.max(1) as u64 {
            let bytes = &self.shelf[self.at as usize];
            let ordinal = (self.at - from) as u32;
            if let Some(kind) = self.fault(self.at == from) {
                if self.at > from {
                    break;
                }
                return Err(Error::new(kind, "reading from memory", "failed by the script")
                    .with("partition", &self.partition)
                    .with("document", self.at));
            }
            if bytes.len() > limit.max_document {
                batch.rejects.push(too_large(self.at, ordinal, bytes.len(), limit.max_document));
            } else if batch.documents.buffer.len() + bytes.len() <= limit.bytes {
                batch.documents.push(bytes, self.at, ordinal);
            } else if self.at == from {
                return Ok(Next::Grow(bytes.len()));
            } else {
                break;
            }
            self.at += 1;
        }
        if self.at == from {
            return Ok(Next::End);
        }
        batch.documents.buffer.shrink_to_fit();
        batch.to = Position::new(self.at, self.at);
        Ok(Next::Batch(batch))
    }

    /// The fault at the present document; used up if it happens once and `now`.
    fn fault(&self, now: bool) -> Option<ErrorKind> {
        let mut faults = locked(&self.faults);
        let found =
            faults.iter().position(|fault| fault.partition == self.partition && fault.at == self.at)?;
        let kind = faults[found].kind;
        if now && faults[found].once {
            faults.swap_remove(found);
        }
        Some(kind)
    }
}

impl Reader for MemoryReader {
    fn next(&mut self, limit: BatchLimit) -> BoxFuture<'_, Result<Next>> {
        Box::pin(async move {
            if !self.latency.is_zero() {
                tokio::time::sleep(self.latency).await;
            }
            self.read(limit)
        })
    }
}

fn too_large(at: u64, ordinal: u32, length: usize, limit: usize) -> Reject {
    let reason = format!("larger than the limit of {}", Bytes(limit as u64));
    Reject {
        by: RejectedBy::Read,
        reason,
        at,
        ordinal,
        offset: None,
        bytes: Vec::new(),
        length: length as u64,
    }
}
