//! One lane's queue: what waits, in the order in which it is sent, and how a request is cut from it.
//!
//! What comes back to be sent again, or has waited for its turn, goes before everything fresh. A request is filled until the next document
//! would make it too large; what has failed before goes alone, so that it fails alone.

use crate::pipeline::chunk::Piece;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use tokio::time::Instant;

/// Where whole chunks are joined into one request, it ends at this size: enough to make a system call cheap, little enough to stay in the
/// cache.
const JOINED_BYTES: usize = 1 << 20;

/// How requests are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) documents: usize,
    pub(crate) bytes: usize,
    /// One request is under way at a time.
    pub(crate) serial: bool,
    /// Of equal (key, id) one is under way at a time.
    pub(crate) keyed: bool,
    /// Requests end where chunks end: the sink's mark must see whole batches.
    pub(crate) whole_chunks: bool,
}

#[derive(Debug, Default)]
pub(super) struct LaneQueue {
    pub(super) fresh: VecDeque<Piece>,
    /// They own their (key, id).
    pub(super) ready: VecDeque<Ready>,
    /// Who waits for the owner of a (key, id).
    owned: HashMap<u64, VecDeque<Piece>, BuildHasherDefault<Identity>>,
    pub(super) in_flight: usize,
    /// Bytes from the push until the end of each document.
    pub(super) held: u64,
    /// The target's word: nothing before this.
    pub(super) gate: Option<Instant>,
    pub(super) closed: bool,
    /// Documents that it was ever given.
    pub(super) documents: u64,
}

#[derive(Debug)]
pub(super) struct Ready {
    pub(super) pieces: Vec<Piece>,
    pub(super) attempts: u32,
    pub(super) not_before: Option<Instant>,
}

impl LaneQueue {
    pub(super) fn evacuate(&mut self) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = self.ready.drain(..).flat_map(|ready| ready.pieces).collect();
        pieces.extend(self.owned.drain().flat_map(|(_, waiting)| waiting));
        pieces.extend(self.fresh.drain(..));
        self.held = 0;
        self.documents -= pieces.iter().map(|piece| piece.range.len() as u64).sum::<u64>();
        pieces
    }

    pub(super) fn cut(&mut self, cut: &Cut, now: Instant) -> Result<(Vec<Piece>, u32), Option<Instant>> {
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
            return Err(self.ready.iter().filter_map(|ready| ready.not_before).min());
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
        while let Some(mut piece) = self.fresh.pop_front() {
            let count = load.fits(&piece, cut);
            let middle = piece.range.start + count;
            if !cut.keyed {
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
                if count == 0 || load.is_full(cut) || !cut.keyed {
                    return;
                }
            }
        }
    }

    /// The owner of a (key, id) has met its end: the next in line owns it.
    pub(super) fn release(&mut self, identity: u64) {
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
