//! One batch through the chain, on a thread of the transform pool: validated, edited, rendered, and told apart by lane.
//!
//! Where the chain changes nothing and the sink has one lane, the batch's own buffer goes on: not a byte is copied.

use crate::connector::{Sink, Source};
use crate::model::batch::Batch;
use crate::model::buffers;
use crate::model::document::{Document, Documents, Span};
use crate::model::meter::Working;
use crate::model::partition::{Partition, PartitionIndex};
use crate::model::reject::{Reject, RejectedBy};
use crate::model::request::{LaneId, Route};
use crate::pipeline::account::Results;
use crate::transform::{Chain, Scratch, Transformed};

/// An output buffer is made this much larger than expected: a batch that grows a little more than the last must not be copied.
const MARGIN: f64 = 1.05;

/// Documents after which a worker says how far it has come: a batch of large documents takes seconds, and telling it costs what a tenth of one small
/// document does.
const TOLD_EVERY: u64 = 256;

/// What a worker needs to know of the run.
pub(crate) struct Workshop<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) sink: &'a dyn Sink,
    pub(crate) chain: &'a Chain,
    pub(crate) partition: &'a Partition,
    pub(crate) partition_index: PartitionIndex,
    /// The sink must be asked where each document goes.
    pub(crate) routed: bool,
    /// Lanes known so far.
    pub(crate) lanes: usize,
    /// Equal (key, id) must be told apart.
    pub(crate) keyed: bool,
    /// Bytes of output documents a byte of input, as seen so far.
    pub(crate) growth: f64,
}

/// A batch after transform.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// By lane, in the order in which the lanes were met.
    pub(crate) chunks: Vec<ChunkDraft>,
    /// How many lanes were known when it was routed.
    pub(crate) lanes: usize,
    /// What has met its end already: dropped and rejected documents, and what was read.
    pub(crate) results: Results,
}

/// Documents for one lane.
#[derive(Debug)]
pub(crate) struct ChunkDraft {
    pub(crate) lane: LaneId,
    pub(crate) documents: Documents,
    pub(crate) identities: Vec<u64>,
}

impl Output {
    /// Documents that go on.
    pub(crate) fn documents(&self) -> u32 {
        self.chunks.iter().map(|chunk| chunk.documents.len() as u32).sum()
    }

    /// The bytes of the documents.
    pub(crate) fn text(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.documents.buffer.len()).sum()
    }

    /// Bytes that they hold in memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.chunks.iter().map(ChunkDraft::bytes).sum()
    }
}

impl ChunkDraft {
    /// Gives back what a buffer that grew has too much: it may wait for its lane for long.
    fn shrink(&mut self) {
        let Documents { buffer, spans } = &mut self.documents;
        // A quarter is not worth a copy.
        if buffer.capacity() > buffer.len() + buffer.len() / 4 {
            buffer.shrink_to_fit();
            spans.shrink_to_fit();
            self.identities.shrink_to_fit();
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        let beside = size_of_val(self.documents.spans.as_slice()) + size_of_val(self.identities.as_slice());
        (self.documents.buffer.capacity() + beside) as u64
    }
}

/// How far a worker has come.
struct Progress<'p, 'm> {
    working: &'p mut Working<'m>,
    documents: u64,
    bytes: u64,
}

impl Progress<'_, '_> {
    /// Begins with one more document.
    #[inline]
    fn one(&mut self, span: &Span) {
        if self.documents == TOLD_EVERY {
            self.working.progressed(self.documents, self.bytes);
            (self.documents, self.bytes) = (0, 0);
        }
        (self.documents, self.bytes) = (self.documents + 1, self.bytes + u64::from(span.length));
    }
}

impl Workshop<'_> {
    /// Runs the chain on every document of a batch, and tells on the way how far it has come. `first` is the number of records before it in the partition.
    pub(crate) fn run(&self, batch: Batch, first: u64, working: &mut Working<'_>) -> Output {
        let mut progress = Progress { working, documents: 0, bytes: 0 };
        let mut output = Output { lanes: self.lanes, ..Output::default() };
        let counters = &mut output.results.counters;
        counters.read = (batch.documents.len() + batch.rejects.len()) as u64;
        counters.bytes_read =
            batch.documents.text_bytes() + batch.rejects.iter().map(|reject| reject.length).sum::<u64>();
        for reject in &batch.rejects {
            self.reject(reject, first, &mut output.results);
        }
        if self.chain.is_empty() && !self.routed {
            self.pass_through(batch.documents, first, &mut progress, &mut output);
        } else {
            self.edit(&batch.documents, first, &mut progress, &mut output);
            buffers::give(batch.documents.buffer);
        }
        output
    }

    /// Validates only: the batch's buffer goes on as it is.
    fn pass_through(
        &self,
        mut documents: Documents,
        first: u64,
        progress: &mut Progress<'_, '_>,
        output: &mut Output,
    ) {
        let mut scratch = Scratch::default();
        let Documents { buffer, spans } = &mut documents;
        spans.retain(|span| {
            progress.one(span);
            let bytes = &buffer[span.range()];
            match self.chain.apply(bytes, |_| (), &mut scratch, &mut Vec::new()) {
                Transformed::Kept { duplicates, .. } => {
                    output.results.counters.duplicate_keys += u64::from(duplicates);
                    true
                }
                other => {
                    self.not_kept(other, span, bytes, first, &mut output.results);
                    false
                }
            }
        });
        if !documents.is_empty() {
            output.chunks.push(ChunkDraft { lane: 0, documents, identities: Vec::new() });
        }
    }

    fn edit(&self, documents: &Documents, first: u64, progress: &mut Progress<'_, '_>, output: &mut Output) {
        let mut scratch = Scratch::default();
        let mut rendered = Vec::new();
        for (index, span) in documents.spans.iter().enumerate() {
            progress.one(span);
            let bytes = documents.bytes(index);
            let place = |out: &mut String| self.source.position_id(self.partition, span.at, out);
            // With one lane the document is rendered where it stays.
            if !self.routed {
                let chunk = self.chunk(output, 0, documents);
                let start = chunk.documents.buffer.len();
                match self.chain.apply(bytes, place, &mut scratch, &mut chunk.documents.buffer) {
                    Transformed::Kept { changed, duplicates } => {
                        if !changed {
                            chunk.documents.buffer.extend_from_slice(bytes);
                        }
                        if !chunk.keep(start, span) {
                            self.no_room(span, bytes, first, &mut output.results);
                        }
                        output.results.counters.duplicate_keys += u64::from(duplicates);
                    }
                    other => self.not_kept(other, span, bytes, first, &mut output.results),
                }
                continue;
            }
            rendered.clear();
            match self.chain.apply(bytes, place, &mut scratch, &mut rendered) {
                Transformed::Kept { changed, duplicates } => {
                    output.results.counters.duplicate_keys += u64::from(duplicates);
                    let (bytes, index) = match changed {
                        true => (rendered.as_slice(), scratch.index_of(&rendered)),
                        false => (bytes, Some(scratch.index())),
                    };
                    let (partition, note) = (self.partition_index, None);
                    let Span { at, operation, .. } = *span;
                    let document = Document { bytes, index, partition, at, operation, note };
                    self.route(&document, span, first, documents, output);
                }
                other => self.not_kept(other, span, bytes, first, &mut output.results),
            }
        }
        output.chunks.retain(|chunk| !chunk.documents.is_empty());
        if self.lanes > 1 {
            output.chunks.iter_mut().for_each(ChunkDraft::shrink);
        }
    }

    fn route(
        &self,
        document: &Document<'_>,
        span: &Span,
        first: u64,
        documents: &Documents,
        output: &mut Output,
    ) {
        let bytes = document.bytes;
        match self.sink.route(document) {
            Ok(Route { lane, identity, note }) => {
                let keyed = self.keyed;
                let chunk = self.chunk(output, lane, documents);
                let start = chunk.documents.buffer.len();
                chunk.documents.buffer.extend_from_slice(bytes);
                if !chunk.keep(start, &Span { note, ..*span }) {
                    self.no_room(span, bytes, first, &mut output.results);
                } else if keyed {
                    chunk.identities.push(identity);
                }
            }
            Err(reason) => {
                self.reject(
                    &Reject::new(RejectedBy::Target, reason, span, bytes),
                    first,
                    &mut output.results,
                );
            }
        }
    }

    #[cold]
    fn no_room(&self, span: &Span, bytes: &[u8], first: u64, results: &mut Results) {
        let reason = "the steps make more than 4 GiB of one batch; take fewer documents in a batch";
        self.reject(&Reject::new(RejectedBy::Transform, reason, span, bytes), first, results);
    }

    /// The output's chunk for `lane`.
    fn chunk<'o>(&self, output: &'o mut Output, lane: LaneId, documents: &Documents) -> &'o mut ChunkDraft {
        let found = match output.chunks.last() {
            Some(last) if last.lane == lane => Some(output.chunks.len() - 1),
            _ => output.chunks.iter().position(|chunk| chunk.lane == lane),
        };
        let at = found.unwrap_or_else(|| {
            // A single lane takes the whole batch. Of several each has its share, and one that has more grows.
            let share = MARGIN / self.lanes.max(1) as f64;
            let bytes = (documents.buffer.len() as f64 * self.growth * share) as usize;
            let count = (documents.len() as f64 * share) as usize;
            let identities = Vec::with_capacity(if self.keyed { count } else { 0 });
            let documents = Documents { buffer: buffers::take(bytes), spans: Vec::with_capacity(count) };
            output.chunks.push(ChunkDraft { lane, documents, identities });
            output.chunks.len() - 1
        });
        &mut output.chunks[at]
    }

    #[cold]
    fn malformed(reason: &'static str, offset: usize, span: &Span, bytes: &[u8]) -> Reject {
        let offset = Some(offset as u64);
        Reject { offset, ..Reject::new(RejectedBy::Read, format!("malformed JSON: {reason}"), span, bytes) }
    }

    fn not_kept(&self, what: Transformed, span: &Span, bytes: &[u8], first: u64, results: &mut Results) {
        match what {
            Transformed::Kept { .. } => {}
            Transformed::Dropped => results.counters.dropped += 1,
            Transformed::Malformed { reason, offset } => {
                self.reject(&Self::malformed(reason, offset, span, bytes), first, results);
            }
            Transformed::Rejected(reason) => {
                self.reject(&Reject::new(RejectedBy::Transform, reason, span, bytes), first, results);
            }
        }
    }

    fn reject(&self, reject: &Reject, first: u64, results: &mut Results) {
        results.reject(reject, self.source, self.partition, first);
    }
}

impl ChunkDraft {
    /// Counts what was appended to the buffer since `start` as a document. False: its place cannot be told in 32 bits, and it is
    /// taken off again.
    fn keep(&mut self, start: usize, span: &Span) -> bool {
        let end = self.documents.buffer.len();
        let Some(span) = span.moved(start, end - start) else {
            self.documents.buffer.truncate(start);
            return false;
        };
        // The line feed belongs to no document; with it the buffer is what a JSON Lines file wants to hold.
        self.documents.buffer.push(b'\n');
        self.documents.spans.push(span);
        true
    }
}
