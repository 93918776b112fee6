//! A batch is what one read returns: documents of one partition, in source order, with the place after them.

use crate::model::document::Documents;
use crate::model::partition::Position;
use crate::model::reject::Reject;

/// When a batch ends: whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimit {
    /// Documents.
    pub documents: usize,
    /// Bytes of the buffer. A first document that does not fit is asked for with [`Next::Grow`].
    pub bytes: usize,
    /// A document with more bytes than this is passed over and returned as a reject, without ever being held whole.
    pub max_document: usize,
}

/// Documents of one partition, in source order.
#[derive(Debug, Default)]
pub struct Batch {
    /// The documents. They need not be valid JSON yet: the transform room validates.
    pub documents: Documents,
    /// What could not even be cut into a document (too large).
    pub rejects: Vec<Reject>,
    /// The place after the last document, blank line and reject of this batch.
    pub to: Position,
}

impl Batch {
    /// What it holds in memory: buffer, places and the bytes of rejects.
    pub fn held_bytes(&self) -> u64 {
        let documents = self.documents.buffer.capacity() + size_of_val(self.documents.spans.as_slice());
        let rejects: usize = self.rejects.iter().map(|reject| reject.bytes.len()).sum();
        (documents + rejects) as u64
    }
}

/// What a reader answers.
#[derive(Debug)]
pub enum Next {
    /// Some documents or rejects; possibly none, if only blank lines were passed.
    Batch(Batch),
    /// The next document is larger than the limit: call again with at least this many bytes. The reader may keep what it
    /// has read so far.
    Grow(usize),
    /// The stretch is read to its end.
    End,
}
