//! The lanes' queues: which documents wait for which lane, and which may be sent next.
//!
//! Plain data under one lock; no tasks and no I/O. Two rules make the order right. A *serial* lane has one request under way. In any
//! other keyed lane a document owns its (key, id) from the moment it is cut for a request until it has met its end, across
//! retries; a later document with the same (key, id) waits for it aside, so it holds up nobody else.
//!
//! What comes back to be sent again keeps its ownership and goes before everything fresh.

use crate::model::buffers;
use crate::model::document::Documents;
use crate::model::partition::PartitionIndex;
use crate::model::request::{LaneId, Request, Segment};
use crate::pipeline::account::Ticket;
use crate::pipeline::credits::Credit;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Where whole chunks are joined into one request, it ends at this size: enough to make a system call cheap, little enough to stay in the
/// cache.
const JOINED_BYTES: usize = 1 << 20;

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
    fn bytes(&self) -> u64 {
        let spans = &self.chunk.documents.spans[self.range.start as usize..self.range.end as usize];
        spans.iter().map(|span| u64::from(span.length)).sum()
    }

    fn single(&self, index: u32) -> Piece {
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
}

impl Flight {
    /// What the lane is given.
    pub(crate) fn request(&self) -> Request {
        let segment = |piece: &Piece| Segment {
            documents: Arc::clone(&piece.chunk.documents),
            partition: piece.chunk.partition,
            range: piece.range.clone(),
        };
        Request { segments: self.pieces.iter().map(segment).collect() }
    }

    pub(crate) fn documents(&self) -> usize {
        self.pieces.iter().map(|piece| piece.range.len()).sum()
    }
}

/// Documents that come back to be sent again.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) attempts: u32,
    /// Not before this has passed.
    pub(crate) delay: Duration,
}

/// How requests are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) documents: usize,
    pub(crate) bytes: usize,
    pub(crate) serial: bool,
    pub(crate) keyed: bool,
    /// Requests end where chunks end: the sink's mark must see whole batches.
    pub(crate) whole_chunks: bool,
}

/// All lanes of a sink.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: Vec<LaneQueue>,
    cut: Cut,
    /// The lane that is looked at first: each gets its turn.
    turn: usize,
    largest_document: u64,
}

#[derive(Debug, Default)]
struct LaneQueue {
    fresh: VecDeque<Piece>,
    /// They own their (key, id).
    ready: VecDeque<Ready>,
    /// Who waits for the owner of a (key, id).
    owned: HashMap<u64, VecDeque<Piece>, BuildHasherDefault<Identity>>,
    in_flight: usize,
    /// Bytes from the push until the end of each document.
    held: u64,
    /// The target's word: nothing before this.
    gate: Option<Instant>,
    closed: bool,
    /// Documents that it was ever given.
    documents: u64,
}

#[derive(Debug)]
struct Ready {
    pieces: Vec<Piece>,
    attempts: u32,
    not_before: Option<Instant>,
}

impl Lanes {
    pub(crate) fn new(count: usize, cut: Cut) -> Self {
        let mut lanes = Self { lanes: Vec::new(), cut, turn: 0, largest_document: 0 };
        lanes.grow(count);
        lanes
    }

    /// Makes room for lanes that the sink has added.
    pub(crate) fn grow(&mut self, count: usize) {
        self.lanes.resize_with(count.max(self.lanes.len()), LaneQueue::default);
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Sets the documents after which a request ends.
    pub(crate) fn set_request_documents(&mut self, documents: usize) {
        self.cut.documents = documents.max(1);
    }

    /// Queues a chunk.
    pub(crate) fn push(&mut self, lane: LaneId, chunk: Arc<Chunk>) {
        let range = 0..chunk.documents.len() as u32;
        let largest = chunk.documents.spans.iter().map(|span| u64::from(span.length)).max();
        self.largest_document = self.largest_document.max(largest.unwrap_or(0));
        self.push_piece(lane, Piece { chunk, range });
    }

    fn push_piece(&mut self, lane: LaneId, piece: Piece) {
        let lane = &mut self.lanes[lane as usize];
        lane.held += piece.bytes();
        lane.documents += piece.range.len() as u64;
        lane.fresh.push_back(piece);
    }

    /// How full a lane is: 1 is its cap, the larger of twice its fair share of the credits and one request plus the largest document seen.
    pub(crate) fn pressure(&self, lane: LaneId, more: u64, credit_bytes: u64) -> f64 {
        if self.lanes.len() == 1 {
            return 0.0;
        }
        let share = 2 * credit_bytes / self.lanes.len() as u64;
        let cap = share.max((self.cut.bytes as u64).saturating_add(self.largest_document)).max(1);
        (self.lanes[lane as usize].held + more) as f64 / cap as f64
    }

    /// The lane that was given most documents, with its share, where there are several.
    pub(crate) fn hottest(&self) -> Option<(LaneId, f64)> {
        let total: u64 = self.lanes.iter().map(|lane| lane.documents).sum();
        let (id, lane) = self.lanes.iter().enumerate().max_by_key(|(_, lane)| lane.documents)?;
        (self.lanes.len() > 1 && total > 0).then(|| (id as LaneId, lane.documents as f64 / total as f64))
    }

    /// Lanes with something to send, and those of them that wait for the target's leave.
    pub(crate) fn backlogged(&self, now: Instant) -> (usize, usize) {
        let backlogged = self.lanes.iter().filter(|lane| lane.held > 0);
        let gated = backlogged.clone().filter(|lane| lane.gate.is_some_and(|gate| gate > now));
        (backlogged.count(), gated.count())
    }

    /// Whether no request is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.lanes.iter().all(|lane| lane.in_flight == 0)
    }

    /// Cuts the next request: lanes take turns. `Err` holds the time at which one may become possible, if a time is known.
    pub(crate) fn cut(&mut self, now: Instant) -> Result<Flight, Option<Instant>> {
        let count = self.lanes.len();
        let mut wake: Option<Instant> = None;
        for offset in 0..count {
            let id = (self.turn + offset) % count;
            match self.lanes[id].cut(&self.cut, now) {
                Ok((pieces, attempts)) => {
                    self.turn = (id + 1) % count;
                    return Ok(Flight { lane: id as LaneId, pieces, attempts });
                }
                Err(Some(at)) => wake = Some(wake.map_or(at, |wake| wake.min(at))),
                Err(None) => {}
            }
        }
        Err(wake)
    }

    /// A request has come back: `done` have met their end, `again` is to be sent again, and the lane keeps quiet for `gate`.
    pub(crate) fn landed(&mut self, lane: LaneId, done: &[Piece], again: Option<Again>, gate: Option<Duration>, now: Instant) {
        let keyed = self.cut.keyed && !self.cut.serial;
        let lane = &mut self.lanes[lane as usize];
        lane.in_flight -= 1;
        if let Some(delay) = gate {
            lane.gate = lane.gate.max(Some(now + delay));
        }
        if let Some(Again { pieces, attempts, delay }) = again {
            let not_before = (!delay.is_zero()).then(|| now + delay);
            lane.ready.push_front(Ready { pieces, attempts, not_before });
        }
        for piece in done {
            lane.held -= piece.bytes();
            if keyed {
                piece.range.clone().for_each(|index| lane.release(piece.chunk.identities[index as usize]));
            }
        }
    }

    /// A request has found its lane closed. All its documents wait; true when nothing of the lane is under way any more, so that
    /// [`Lanes::evacuate`] may be called.
    pub(crate) fn found_closed(&mut self, flight: Flight) -> bool {
        let lane = &mut self.lanes[flight.lane as usize];
        lane.closed = true;
        lane.in_flight -= 1;
        lane.ready.push_back(Ready { pieces: flight.pieces, attempts: flight.attempts, not_before: None });
        lane.in_flight == 0
    }

    /// Empties a closed lane: its documents, older before newer wherever they share a (key, id).
    pub(crate) fn evacuate(&mut self, lane: LaneId) -> Vec<Piece> {
        let lane = &mut self.lanes[lane as usize];
        let mut pieces: Vec<Piece> = lane.ready.drain(..).flat_map(|ready| ready.pieces).collect();
        pieces.extend(lane.owned.drain().flat_map(|(_, waiting)| waiting));
        pieces.extend(lane.fresh.drain(..));
        lane.held = 0;
        pieces
    }

    /// Queues a document of a closed lane where it goes now.
    pub(crate) fn reroute(&mut self, lane: LaneId, piece: &Piece, index: u32) {
        self.push_piece(lane, piece.single(index));
    }
}

impl LaneQueue {
    fn cut(&mut self, cut: &Cut, now: Instant) -> Result<(Vec<Piece>, u32), Option<Instant>> {
        if self.closed || (cut.serial && self.in_flight > 0) {
            return Err(None);
        }
        let gate = self.gate.filter(|gate| *gate > now);
        let due = |ready: &Ready| ready.not_before.is_none_or(|at| at <= now);
        let first_due = self.ready.iter().position(due).filter(|at| *at == 0 || !cut.serial);
        let is_blocked = cut.serial && first_due.is_none() && !self.ready.is_empty();
        if gate.is_some() || is_blocked || (first_due.is_none() && self.fresh.is_empty()) {
            let has_work = !self.fresh.is_empty() || !self.ready.is_empty();
            let next_due = self.ready.iter().filter_map(|ready| ready.not_before).min();
            return Err(gate.filter(|_| has_work).or(next_due));
        }
        let mut load = Load::default();
        let mut attempts = 0;
        if let Some(ready) = first_due.and_then(|at| self.ready.remove(at)) {
            attempts = ready.attempts;
            self.load_ready(ready, cut, &mut load);
        }
        // What has failed before goes alone, so that it fails alone.
        if attempts == 0 {
            self.load_fresh(cut, &mut load);
        }
        if load.pieces.is_empty() {
            return Err(None);
        }
        self.in_flight += 1;
        Ok((load.pieces, attempts))
    }

    /// Takes documents that own their (key, id) already.
    fn load_ready(&mut self, mut ready: Ready, cut: &Cut, load: &mut Load) {
        let mut rest = Vec::new();
        for piece in ready.pieces.drain(..) {
            match load.fits(&piece, cut) {
                0 => rest.push(piece),
                count => {
                    let middle = piece.range.start + count;
                    if middle < piece.range.end {
                        rest.push(Piece { chunk: Arc::clone(&piece.chunk), range: middle..piece.range.end });
                    }
                    load.take(Piece { chunk: piece.chunk, range: piece.range.start..middle });
                }
            }
        }
        if !rest.is_empty() {
            self.ready.push_front(Ready { pieces: rest, ..ready });
        }
    }

    /// Takes documents from the queue; those whose (key, id) is owned step aside.
    fn load_fresh(&mut self, cut: &Cut, load: &mut Load) {
        let keyed = cut.keyed && !cut.serial;
        while let Some(mut piece) = self.fresh.pop_front() {
            let count = load.fits(&piece, cut);
            let middle = piece.range.start + count;
            if !keyed {
                if count > 0 {
                    load.take(Piece { chunk: Arc::clone(&piece.chunk), range: piece.range.start..middle });
                }
            } else {
                for index in piece.range.start..middle {
                    match self.owned.entry(piece.chunk.identities[index as usize]) {
                        std::collections::hash_map::Entry::Vacant(free) => {
                            free.insert(VecDeque::new());
                            load.take(piece.single(index));
                        }
                        std::collections::hash_map::Entry::Occupied(mut owner) => {
                            owner.get_mut().push_back(piece.single(index));
                        }
                    }
                }
            }
            piece.range.start = middle;
            if !piece.range.is_empty() {
                self.fresh.push_front(piece);
                if count == 0 || load.is_full(cut) || !keyed {
                    return;
                }
            }
        }
    }

    /// The owner of a (key, id) has met its end: the next in line owns it.
    fn release(&mut self, identity: u64) {
        let Some(mut waiting) = self.owned.remove(&identity) else { return };
        if let Some(next) = waiting.pop_front() {
            self.owned.insert(identity, waiting);
            match self.ready.back_mut() {
                Some(ready) if ready.attempts == 0 && ready.not_before.is_none() => ready.pieces.push(next),
                _ => self.ready.push_back(Ready { pieces: vec![next], attempts: 0, not_before: None }),
            }
        }
    }
}

/// A request being filled.
#[derive(Debug, Default)]
struct Load {
    pieces: Vec<Piece>,
    documents: usize,
    bytes: usize,
}

impl Load {
    /// How many documents of `piece` fit; at least one if nothing is loaded yet.
    fn fits(&self, piece: &Piece, cut: &Cut) -> u32 {
        if cut.whole_chunks {
            let fits = self.pieces.is_empty() || self.bytes < JOINED_BYTES;
            return if fits { piece.range.len() as u32 } else { 0 };
        }
        let (mut documents, mut bytes, mut count) = (self.documents, self.bytes, 0);
        for index in piece.range.clone() {
            bytes += piece.chunk.documents.spans[index as usize].length as usize;
            documents += 1;
            if documents > 1 && (documents > cut.documents || bytes > cut.bytes) {
                break;
            }
            count += 1;
        }
        count
    }

    fn is_full(&self, cut: &Cut) -> bool {
        self.documents >= cut.documents || self.bytes >= cut.bytes
    }

    fn take(&mut self, piece: Piece) {
        self.documents += piece.range.len();
        self.bytes += piece.bytes() as usize;
        match self.pieces.last_mut() {
            Some(last) if Arc::ptr_eq(&last.chunk, &piece.chunk) && last.range.end == piece.range.start => {
                last.range.end = piece.range.end;
            }
            _ => self.pieces.push(piece),
        }
    }
}

/// Identities are hashes already.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
