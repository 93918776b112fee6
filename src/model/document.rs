//! A document is the exact bytes of one JSON object.
//!
//! Documents live many to a buffer ([`Documents`]); a [`Span`] says where one begins and ends and where it came
//! from. [`Document`] is the borrowed view of one that the rooms pass around. Nothing here parses a number or
//! rewrites a string: what no step touched leaves docferry as it came.

use crate::model::json;
use crate::model::partition::PartitionIndex;

/// What the target shall do with a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operation {
    /// Write it, replacing an older one with the same key and id.
    #[default]
    Upsert,
    /// Remove the document with this key and id; only those two fields are looked at.
    Delete,
}

/// Where one document lies in its buffer, and where it lay in its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte in the buffer.
    pub start: u32,
    /// Length in bytes.
    pub length: u32,
    /// Place in the source's partition: of a file the byte offset in the uncompressed stream, of a table the row id.
    pub at: u64,
    /// Records (lines, elements, rows) between the batch's start and this one, blank ones counted.
    pub ordinal: u32,
    /// What to do with it.
    pub operation: Operation,
}

impl Span {
    /// The span's place in its buffer.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..(self.start + self.length) as usize
    }
}

/// Documents in one contiguous buffer. Bytes between spans (line ends, blank lines) belong to no document.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    /// The bytes.
    pub buffer: Vec<u8>,
    /// One entry a document, in source order.
    pub spans: Vec<Span>,
}

impl Documents {
    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The bytes of document `index`.
    pub fn bytes(&self, index: usize) -> &[u8] {
        &self.buffer[self.spans[index].range()]
    }

    /// The view of document `index`, which came from `partition`.
    pub fn get(&self, partition: PartitionIndex, index: usize) -> Document<'_> {
        let span = &self.spans[index];
        Document { bytes: self.bytes(index), partition, at: span.at, operation: span.operation }
    }

    /// Appends a document.
    pub fn push(&mut self, bytes: &[u8], at: u64, ordinal: u32) {
        let start = self.buffer.len() as u32;
        self.buffer.extend_from_slice(bytes);
        let length = bytes.len() as u32;
        self.spans.push(Span { start, length, at, ordinal, operation: Operation::Upsert });
    }
}

/// One document: its exact bytes and where it came from.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// The JSON text, without white space around it.
    pub bytes: &'a [u8],
    /// The source partition.
    pub partition: PartitionIndex,
    /// Place inside the partition.
    pub at: u64,
    /// What the target shall do.
    pub operation: Operation,
}

impl<'a> Document<'a> {
    /// The raw JSON text of a top-level field, found by name after unescaping; of duplicate keys the last counts.
    /// The bytes must have passed [`json::index`].
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        json::field(self.bytes, name)
    }
}
