//! A request is what one call to a lane carries; an outcome is what became of it.

use crate::error::ErrorKind;
use crate::model::document::{Document, Documents};
use crate::model::partition::PartitionIndex;
use std::num::NonZeroU16;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A lane's place in the sink's list.
pub type LaneId = u32;

/// Where a document goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The lane that will take it.
    pub lane: LaneId,
    /// A hash of the document's (key, id), equal for equal pairs: requests that touch one pair are sent in source order.
    /// Unused where the sink is not keyed.
    pub identity: u64,
    /// Whatever the sink would otherwise have to look for again when the document is sent; it comes back as
    /// [`Document::note`]. The document is the same bytes then, though perhaps in another lane.
    pub note: Option<NonZeroU16>,
}

/// Adjacent documents of one buffer.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The buffer they share.
    pub documents: Arc<Documents>,
    /// Their source partition.
    pub partition: PartitionIndex,
    /// Which of the buffer's documents.
    pub range: Range<u32>,
}

/// Leave to send one request, from a lane that keeps account of what it may spend, and what the answer will be held against there. It is spent
/// from the moment it is given.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a leave is spent already: send the request, and report what became of it"]
pub struct Leave {
    /// How many documents the request carries: at least one, at most as many as were asked for.
    pub documents: u32,
    /// Who may send.
    pub lane: LaneId,
    /// When it was given, since the lane's clock began.
    pub sent: Duration,
    /// Expected request units.
    pub expected: f64,
    /// The window of the lane's account that it is spent in.
    pub window: u64,
    /// It goes beyond the budget that is believed.
    pub probe: bool,
}

/// Documents for one lane. Cheap to clone: the bytes are shared.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The documents, in the order in which they must be applied.
    pub segments: Vec<Segment>,
    /// The lane's leave, if it keeps account.
    pub leave: Option<Leave>,
}

impl Request {
    /// The documents in order; an [`Outcome`]'s indexes count along this iterator.
    pub fn documents(&self) -> impl Iterator<Item = Document<'_>> {
        self.segments.iter().flat_map(|segment| {
            segment.range.clone().map(|index| segment.documents.get(segment.partition, index as usize))
        })
    }

    /// How many documents it carries.
    pub fn len(&self) -> usize {
        self.segments.iter().map(|segment| segment.range.len()).sum()
    }

    /// Whether it carries none.
    pub fn is_empty(&self) -> bool {
        self.segments.iter().all(|segment| segment.range.is_empty())
    }
}

/// What became of a request whose lane answered. A document that is in none of the four lists was written, and none is in two. Lists are in ascending
/// order of the index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Documents not written because a later one with the same key and id is in the target already: indexes in the request.
    pub superseded: Vec<u32>,
    /// Documents that the target will never take: index in the request, reason.
    pub rejected: Vec<(u32, String)>,
    /// Documents that failed and may pass later: indexes in the request. They are sent again after a while, at most as often as what befell them
    /// allows ([`Outcome::failure`]).
    pub retry: Vec<u32>,
    /// Documents with which nothing is wrong, that were throttled or not sent at all: indexes in the request. They are sent again as if
    /// they had never been. A serial lane puts documents here or into [`Outcome::retry`], never into both.
    pub put_off: Vec<u32>,
    /// What befell the documents in [`Outcome::retry`]; of several things the one that is given the most time to pass.
    pub failure: Option<Failure>,
    /// Request units that it cost, where the target counts them.
    pub request_units: f64,
    /// How many documents these were charged for: not those that were thrown back, nor those that were never sent.
    pub charged: u32,
    /// The target said to slow down.
    pub throttled: Option<Throttled>,
    /// What went over the wire; `None`: one request.
    pub sent: Option<Sent>,
}

/// The requests that a lane made of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Requests that were answered.
    pub requests: u32,
    /// Of these throttled, wholly or in part.
    pub throttled: u32,
}

/// Why documents failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Decides when and how often they are tried again.
    pub kind: ErrorKind,
    /// What the target said.
    pub message: String,
}

/// The target said to slow down; the documents are in [`Outcome::put_off`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// How many were sent in vain.
    pub documents: u32,
    /// The lane sends nothing before this has passed; where [`is_stray`](Self::is_stray), only the documents that were put off. Zero of a lane that keeps
    /// account: it says so when it is asked.
    pub wait: Duration,
    /// Whatever the reason was, it is not that a budget was used up: something was written after that, or the lane's account says so.
    pub is_stray: bool,
}
