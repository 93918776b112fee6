//! A reject is a document that will never be accepted as it is; its record on disk is a dead letter.

use crate::model::document::Span;

/// Which room refused the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectedBy {
    /// The reader or the validating pass: malformed, too large, not an object.
    Read,
    /// A step of the transform.
    Transform,
    /// The target.
    Target,
}

impl RejectedBy {
    /// The word used in dead letters and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            RejectedBy::Read => "read",
            RejectedBy::Transform => "transform",
            RejectedBy::Target => "target",
        }
    }
}

/// A document that was refused, with the reason and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Who refused it.
    pub by: RejectedBy,
    /// Why, as a lowercase fragment. It names fields and offsets, never values.
    pub reason: String,
    /// Place in the partition.
    pub at: u64,
    /// Records between the batch's start and this one.
    pub ordinal: u32,
    /// Where inside the document's bytes the trouble lies, if a place can be named.
    pub offset: Option<u64>,
    /// The document's bytes as they were when it was refused; empty where they were too many to keep.
    pub bytes: Vec<u8>,
    /// The document's length, also where its bytes were not kept.
    pub length: u64,
}

impl Reject {
    /// A reject of the document at `span`, with a copy of its bytes.
    pub fn new(by: RejectedBy, reason: impl Into<String>, span: &Span, bytes: &[u8]) -> Self {
        Self {
            by,
            reason: reason.into(),
            at: span.at,
            ordinal: span.ordinal,
            offset: None,
            bytes: bytes.to_vec(),
            length: bytes.len() as u64,
        }
    }
}
