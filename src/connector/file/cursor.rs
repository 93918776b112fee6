//! Cuts a stream into batches: where limits, positions and oversize documents meet.
//!
//! The cursor fills a buffer chunk by chunk, lets the splitter find records in it, and stops at whichever limit comes first. Three
//! promises shape it:
//!
//! - *The same documents whatever the limits are.* What counts as too large depends on the record alone, never on how much
//!   of it happened to be in the buffer.
//! - *No more memory than the limit.* A document that does not fit is asked for with [`Next::Grow`]; one that is larger than any
//!   document may be is passed over piece by piece, and its bytes are dropped as they come.
//! - *Everything before damage.* A failure of the stream or of its text is kept back until the batch before it has been returned.

use crate::connector::file::feed::{CHUNK, Feed};
use crate::connector::file::format::Compression;
use crate::connector::file::oversize::{Oversize, SLACK, longest_record};
use crate::connector::file::split::{Found, Split};
use crate::connector::file::streams::failure;
use crate::error::{Error, ErrorKind, Result};
use crate::model::batch::{Batch, BatchLimit, Next};
use crate::model::document::{Documents, Operation, Span};
use crate::model::partition::Position;
use crate::model::reject::Reject;
use std::io;
use std::ops::Range;

/// The first guess of a document's size, corrected by every batch: an order with a handful of lines.
const TYPICAL_DOCUMENT: usize = 512;

/// The least that is worth a buffer of its own.
const LEAST_BUFFER: usize = 16 * 1024;

/// What a cursor reads, and how far.
#[derive(Debug)]
pub(super) struct Scope {
    /// The file, for messages.
    pub(super) file: String,
    /// Its compression: what is wrong with a packed stream is damage of the input, not a failure of the machine.
    pub(super) compression: Compression,
    /// Records before the first one.
    pub(super) ordinal: u64,
    /// The first place that is not read.
    pub(super) until: Option<u64>,
}

/// An open stretch.
pub(super) struct Cursor {
    scope: Scope,
    feed: Feed,
    split: Split,
    /// The place after the last record that was taken.
    position: Position,
    /// The pending record, when it is larger than any document may be and its bytes are being dropped.
    oversize: Option<Oversize>,
    /// Bytes per record, as the last batch had it.
    average: usize,
    /// Nothing more can be read; told after the batch before it.
    end: Option<Result<()>>,
}

/// A batch while it is filled.
struct Filling {
    documents: Documents,
    rejects: Vec<Reject>,
    /// Where the splitter goes on.
    from: usize,
    begun: Position,
}

/// Why cutting stopped.
enum Stop {
    /// The batch is complete.
    Full,
    /// The record that begins here is not.
    Hungry(usize),
    /// There is no further record.
    End(Result<()>),
}

impl Cursor {
    /// Reads from `feed`, which stands at a record's begin.
    pub(super) fn new(scope: Scope, feed: Feed, split: Split) -> Self {
        let position = Position::new(feed.place(&[], 0), scope.ordinal);
        Self { scope, feed, split, position, oversize: None, average: TYPICAL_DOCUMENT, end: None }
    }

    /// Fills a batch.
    pub(super) fn next(&mut self, limit: BatchLimit) -> Result<Next> {
        if let Some(end) = self.end.take() {
            return end.map(|()| Next::End);
        }
        // Spans hold 32-bit offsets.
        let bytes = limit.bytes.clamp(1, u32::MAX as usize);
        let limit = BatchLimit { bytes, documents: limit.documents.max(1), ..limit };
        let mut filling = self.begin(&limit);
        loop {
            match self.cut(&mut filling, &limit) {
                Stop::Full => break,
                Stop::End(end) => {
                    self.end = Some(end);
                    break;
                }
                Stop::Hungry(start) => filling.from = start,
            }
            self.drop_oversize(&mut filling, &limit);
            let has_more = filling.records() > 0 || self.position.at > filling.begun.at;
            let room = limit.bytes.saturating_sub(filling.documents.buffer.len());
            // What is passed over goes through the room that is left: not in tiny pieces.
            if has_more && (room == 0 || self.oversize.is_some() && room < CHUNK) {
                break;
            }
            if room == 0 && filling.from == 0 {
                self.feed.give_back(&mut filling.documents.buffer, 0);
                return Ok(Next::Grow((limit.bytes * 2).max(LEAST_BUFFER).min(longest_record(&limit))));
            }
            if room == 0 {
                // White space before an element makes room for it.
                filling.documents.buffer.drain(..filling.from);
                filling.from = 0;
            }
            if let Err(cause) = self.fill(&mut filling.documents.buffer, limit.bytes) {
                let byte = self.feed.place(&[], 0);
                self.end = Some(Err(failure(&self.scope.file, self.scope.compression, byte, cause)));
                break;
            }
        }
        self.finish(filling)
    }

    fn begin(&mut self, limit: &BatchLimit) -> Filling {
        // The engine pays for capacity: no more than the documents asked for will likely need, nor than there is left to read.
        let likely = self.average.saturating_mul(limit.documents).max(LEAST_BUFFER);
        let left = self.scope.until.map_or(u64::MAX, |until| until.saturating_sub(self.position.at));
        let left = usize::try_from(left).unwrap_or(usize::MAX).saturating_add(SLACK);
        let capacity = limit.bytes.min(likely).min(left);
        let buffer = self.feed.buffer(capacity);
        let spans = Vec::with_capacity(limit.documents.min(capacity / self.average + 1));
        let documents = Documents { buffer, spans };
        Filling { documents, rejects: Vec::new(), from: 0, begun: self.position.clone() }
    }

    /// Cuts records off the buffer until one is not complete.
    fn cut(&mut self, filling: &mut Filling, limit: &BatchLimit) -> Stop {
        let until = self.scope.until.unwrap_or(u64::MAX);
        let ended = self.feed.ended();
        while filling.records() < limit.documents {
            let buffer = &filling.documents.buffer;
            match self.split.find(buffer, filling.from, ended) {
                Found::Record { start, .. } | Found::More { start }
                    if self.feed.place(buffer, start) >= until && self.oversize.is_none() =>
                {
                    return Stop::End(Ok(()));
                }
                Found::Record { start, document, next } => self.take(filling, limit, start, document, next),
                Found::More { start } => return Stop::Hungry(start),
                Found::End => {
                    if self.oversize.is_some() {
                        let end = buffer.len();
                        self.take(filling, limit, end, end..end, end);
                    }
                    return Stop::End(Ok(()));
                }
                Found::Broken { at, reason } => {
                    let damage = self.damage(reason, self.feed.place(buffer, at));
                    return Stop::End(Err(damage));
                }
            }
        }
        Stop::Full
    }

    /// Takes a complete record: as a document, as a reject, or, if it is blank, only its place.
    #[inline(always)]
    fn take(
        &mut self,
        filling: &mut Filling,
        limit: &BatchLimit,
        start: usize,
        text: Range<usize>,
        next: usize,
    ) {
        let buffer = &filling.documents.buffer;
        let at = self.feed.place(buffer, start);
        let ordinal = (self.position.ordinal - filling.begun.ordinal) as u32;
        if self.oversize.is_some() || text.len() > limit.max_document || next - start > longest_record(limit)
        {
            let mut oversize = self.oversize.take().unwrap_or_else(|| Oversize::new(at));
            oversize.note(&buffer[start..next], at);
            filling.rejects.extend(oversize.reject(limit.max_document, ordinal));
        } else if !text.is_empty() {
            let (start, length) = (text.start as u32, text.len() as u32);
            filling.documents.spans.push(Span {
                start,
                length,
                at,
                ordinal,
                operation: Operation::Upsert,
                note: None,
            });
        }
        self.position.at = self.feed.place(&filling.documents.buffer, next);
        self.position.ordinal += 1;
        filling.from = next;
    }

    /// Lets go of the pending record's bytes once they are too many, or if its first ones are gone already.
    fn drop_oversize(&mut self, filling: &mut Filling, limit: &BatchLimit) {
        let buffer = &mut filling.documents.buffer;
        let pending = buffer.len() - filling.from;
        if self.oversize.is_none() && pending < longest_record(limit) {
            return;
        }
        let place = self.feed.place(buffer, filling.from);
        self.oversize.get_or_insert_with(|| Oversize::new(place)).note(&buffer[filling.from..], place);
        buffer.truncate(filling.from);
        self.split.forget_pending();
    }

    fn fill(&mut self, buffer: &mut Vec<u8>, most: usize) -> io::Result<()> {
        let spare = buffer.capacity() - buffer.len();
        let want = CHUNK.min(most - buffer.len());
        if spare > 0 {
            return self.feed.fill(buffer, want.min(spare));
        }
        // The guess was too low. Doubling keeps the copying linear.
        let want = want.min(buffer.len().max(LEAST_BUFFER));
        let capacity = (buffer.capacity() * 2).clamp(buffer.len() + want, most);
        buffer.reserve_exact(capacity - buffer.len());
        self.feed.fill(buffer, want)
    }

    fn finish(&mut self, filling: Filling) -> Result<Next> {
        let records = filling.records();
        let Filling { mut documents, rejects, from, begun } = filling;
        self.feed.give_back(&mut documents.buffer, from);
        if records == 0
            && self.position.at == begun.at
            && let Some(end) = self.end.take()
        {
            return end.map(|()| Next::End);
        }
        if let Some(average) = from.checked_div(records) {
            // An eighth more, so that documents of slightly varying size fit the guess.
            self.average = average + average / 8 + 1;
        }
        if documents.buffer.len() < documents.buffer.capacity() / 2 {
            documents.buffer.shrink_to_fit();
        }
        Ok(Next::Batch(Batch { documents, rejects, to: self.position.clone() }))
    }

    fn damage(&self, reason: impl Into<String>, byte: u64) -> Error {
        Error::new(ErrorKind::InvalidInput, "reading the source", reason)
            .with("file", &self.scope.file)
            .with("byte", byte)
    }
}

impl Filling {
    #[inline(always)]
    fn records(&self) -> usize {
        self.documents.spans.len() + self.rejects.len()
    }
}
