//! One document over and over, copied from a block that was rendered once: the cost of reading is a `memcpy`.

use crate::connector::source::{Reader, Source, SourceCapabilities};
use crate::error::Result;
use crate::model::BoxFuture;
use crate::model::batch::{Batch, BatchLimit, Next};
use crate::model::document::{Documents, Operation, Span};
use crate::model::partition::{Partition, PartitionId, Position, Stretch};
use crate::model::reject::{Reject, RejectedBy};
use crate::model::units::{Bytes, Counted};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Documents in a partition: enough partitions for thirty readers from a few million documents on, and each long enough
/// that opening one costs nothing.
pub(super) const PARTITION_DOCUMENTS: u64 = 100_000;

/// The block to copy from stays below this, so that it stays in a core's cache beside what is written.
const BLOCK_BYTES: usize = 128 * 1024;

/// The same document over and over.
#[derive(Debug)]
pub struct NullSource {
    documents: u64,
    length: usize,
    block: Arc<[u8]>,
}

impl NullSource {
    /// `documents` copies of `document`.
    pub fn new(documents: u64, document: &[u8]) -> Self {
        let copies = (BLOCK_BYTES / document.len().max(1)).max(1);
        Self { documents, length: document.len(), block: document.repeat(copies).into() }
    }
}

impl Source for NullSource {
    fn capabilities(&self) -> SourceCapabilities {
        SourceCapabilities { resumable: true, ordered: false }
    }

    fn check(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        let hash = xxh3_64(&self.block[..self.length]);
        let line = format!("null: {}, hash {hash:016x}", Counted(self.documents, "document"));
        Box::pin(async move { Ok(vec![line]) })
    }

    fn partitions(&self) -> BoxFuture<'_, Result<Vec<Partition>>> {
        let partitions = (0..self.documents.div_ceil(PARTITION_DOCUMENTS)).map(|index| {
            let from = index * PARTITION_DOCUMENTS;
            let documents = PARTITION_DOCUMENTS.min(self.documents - from);
            Partition {
                id: PartitionId(format!("null:{index}")),
                start: Position::new(from, 0),
                bytes: Some(documents * self.length as u64),
                documents: Some(documents),
            }
        });
        let partitions = partitions.collect();
        Box::pin(async move { Ok(partitions) })
    }

    fn open<'a>(
        &'a self,
        partition: &'a Partition,
        stretch: Stretch,
    ) -> BoxFuture<'a, Result<Box<dyn Reader>>> {
        let start = partition.start.at;
        let end = (start + PARTITION_DOCUMENTS).min(self.documents);
        let reader = NullReader {
            start,
            at: stretch.from.at,
            until: stretch.until.map_or(end, |until| until.at.min(end)),
            length: self.length,
            block: Arc::clone(&self.block),
        };
        Box::pin(async move { Ok(Box::new(reader) as _) })
    }

    fn locate(&self, _partition: &Partition, at: u64, _ordinal: u64) -> String {
        format!("null, document {at}")
    }

    fn position_id(&self, _partition: &Partition, at: u64, out: &mut String) {
        *out = at.to_string();
    }
}

struct NullReader {
    start: u64,
    at: u64,
    until: u64,
    length: usize,
    block: Arc<[u8]>,
}

impl NullReader {
    fn read(&mut self, limit: BatchLimit) -> Next {
        // Spans count in 32 bits.
        let room = limit.bytes.min(u32::MAX as usize);
        let count = (self.until.saturating_sub(self.at)).min(limit.documents.max(1) as u64) as usize;
        if count == 0 {
            return Next::End;
        }
        let mut batch = Batch::default();
        let taken = if self.length > limit.max_document {
            batch.rejects = (0..count).map(|index| self.too_large(index, limit.max_document)).collect();
            count
        } else if self.length > room {
            return Next::Grow(self.length);
        } else {
            let count = count.min(room / self.length.max(1));
            batch.documents = self.copies(count);
            count
        };
        self.at += taken as u64;
        batch.to = Position::new(self.at, self.at - self.start);
        Next::Batch(batch)
    }

    fn copies(&self, count: usize) -> Documents {
        let mut buffer = Vec::with_capacity(count * self.length);
        while buffer.len() < count * self.length {
            let room = count * self.length - buffer.len();
            buffer.extend_from_slice(&self.block[..room.min(self.block.len())]);
        }
        let spans = (0..count).map(|index| Span {
            start: (index * self.length) as u32,
            length: self.length as u32,
            at: self.at + index as u64,
            ordinal: index as u32,
            operation: Operation::Upsert,
            note: None,
        });
        Documents { buffer, spans: spans.collect() }
    }

    fn too_large(&self, index: usize, limit: usize) -> Reject {
        Reject {
            by: RejectedBy::Read,
            reason: format!("larger than the limit of {}", Bytes(limit as u64)),
            at: self.at + index as u64,
            ordinal: index as u32,
            offset: None,
            bytes: Vec::new(),
            length: self.length as u64,
        }
    }
}

impl Reader for NullReader {
    fn next(&mut self, limit: BatchLimit) -> BoxFuture<'_, Result<Next>> {
        let next = self.read(limit);
        Box::pin(async move { Ok(next) })
    }
}
