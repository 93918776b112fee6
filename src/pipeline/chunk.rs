//! Documents between transform and their end: how they are held, and what pays for them.
//!
//! A [`Chunk`] is what one batch has for one lane; its buffer is shared and never copied. Requests, queues and retries name its documents
//! by ranges ([`Piece`]), so a document that waits, is sent and is sent again stays where transform put it. The last piece that goes lets
//! go of the buffer and of its credits.

use crate::model::buffers;
use crate::model::document::{Documents, Span};
use crate::model::partition::PartitionIndex;
use crate::model::request::{LaneId, Leave, Request, Segment};
use crate::pipeline::account::Ticket;
use crate::pipeline::credits::Credit;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Documents of one batch for one lane.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) documents: Arc<Documents>,
    /// Hashes of (key, id), one a document; empty where the sink needs none.
    pub(crate) identities: Vec<u64>,
    pub(crate) partition: PartitionIndex,
    pub(crate) ticket: Arc<Ticket>,
    /// Pays for the bytes until the last document has met its end.
    pub(crate) _credit: Credit,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // The last request that held it is answered.
        if let Some(documents) = Arc::get_mut(&mut self.documents) {
            buffers::give(std::mem::take(&mut documents.buffer));
        }
    }
}

/// Adjacent documents of a chunk.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) chunk: Arc<Chunk>,
    pub(crate) range: Range<u32>,
}

impl Piece {
    /// All documents of a chunk.
    pub(crate) fn whole(chunk: Arc<Chunk>) -> Piece {
        let range = 0..chunk.documents.len() as u32;
        Piece { chunk, range }
    }

    fn spans(&self) -> &[Span] {
        &self.chunk.documents.spans[self.range.start as usize..self.range.end as usize]
    }

    /// Bytes of its largest document.
    pub(crate) fn largest(&self) -> u64 {
        self.spans().iter().map(|span| u64::from(span.length)).max().unwrap_or(0)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.spans().iter().map(|span| u64::from(span.length)).sum()
    }

    /// What it holds of the credits.
    pub(crate) fn weight(&self) -> u64 {
        self.bytes() + (self.range.len() * (size_of::<Span>() + size_of::<u64>())) as u64
    }

    pub(crate) fn single(&self, index: u32) -> Piece {
        Piece { chunk: Arc::clone(&self.chunk), range: index..index + 1 }
    }
}

/// A request that was cut and is under way.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) lane: LaneId,
    pub(crate) pieces: Vec<Piece>,
    /// How often these documents have failed.
    pub(crate) attempts: u32,
    /// The lane's leave to send them, if it keeps account.
    pub(crate) leave: Option<Leave>,
}

impl Flight {
    /// What the lane is given.
    pub(crate) fn request(&self) -> Request {
        let segment = |piece: &Piece| Segment {
            documents: Arc::clone(&piece.chunk.documents),
            partition: piece.chunk.partition,
            range: piece.range.clone(),
        };
        Request { segments: self.pieces.iter().map(segment).collect(), leave: self.leave }
    }

    pub(crate) fn documents(&self) -> usize {
        self.pieces.iter().map(|piece| piece.range.len()).sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.pieces.iter().map(Piece::bytes).sum()
    }
}

/// Longer than any run. What is given up keeps its place in the queue, so that nothing overtakes it while the run comes to its stop.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Documents that come back to be sent again.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) attempts: u32,
    /// Not before this has passed.
    pub(crate) delay: Duration,
}

impl Again {
    /// Documents that this run sends no more: it stops, and a resume sends them.
    pub(crate) fn never(pieces: Vec<Piece>, attempts: u32) -> Self {
        Self { pieces, attempts, delay: NEVER }
    }
}
