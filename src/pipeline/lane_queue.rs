//! One lane's queue: what waits, in the order in which it is sent, and how a request is cut from it.
//!
//! What comes back to be sent again, or has waited for its turn, goes before everything fresh. A request is filled until the next document
//! would make it too large; what has failed before goes only with what has failed as often, so that fresh documents do not share its fate. Last of
//! all, when nothing else holds a request up, the lane itself is asked for leave: one that keeps account of a budget says how many
//! documents it has room for, or when it will have.

use crate::connector::{Admission, Lane};
use crate::model::request::{LaneId, Leave};
use crate::pipeline::chunk::Piece;
use crate::pipeline::owners::Owners;
use std::collections::VecDeque;
use std::ops::Range;
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

/// What waits for one lane.
#[derive(Debug, Default)]
pub(super) struct LaneQueue {
    fresh: VecDeque<Piece>,
    ready: VecDeque<Ready>,
    pub(super) in_flight: usize,
    /// Bytes from the push until the end of each document.
    pub(super) held: u64,
    /// Bytes that it ever held and holds no more: as long as this stays, the lane stands still.
    pub(super) gone: u64,
    /// The target's word: nothing before this.
    pub(super) gate: Option<Instant>,
    /// The lane's word when it was last asked: not before this, unless an answer comes.
    pub(super) asked: Option<Instant>,
    /// Requests that failed as a whole since the last answer.
    pub(super) failures: u32,
    pub(super) closed: bool,
    /// Documents that it was ever given.
    pub(super) documents: u64,
    /// Of these, the ones that wait for a request: for their turn, for leave, or aside for an older one with their (key, id).
    pub(super) waiting: u64,
}

/// What the next request holds.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) pieces: Vec<Piece>,
    pub(super) attempts: u32,
    pub(super) leave: Option<Leave>,
}

/// Documents that may be sent at once: where the sink is keyed they own their (key, id).
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) pieces: Vec<Piece>,
    /// How often they have failed.
    pub(super) attempts: u32,
    pub(super) not_before: Option<Instant>,
}

impl Ready {
    fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }
}

impl LaneQueue {
    /// Queues documents behind everything else.
    pub(super) fn push(&mut self, piece: Piece) {
        self.take_charge(&piece);
        match self.fresh.back_mut() {
            Some(last) if Arc::ptr_eq(&last.chunk, &piece.chunk) && last.range.end == piece.range.start => {
                last.range.end = piece.range.end;
            }
            _ => self.fresh.push_back(piece),
        }
    }

    /// Counts documents that come from elsewhere as its own.
    pub(super) fn take_charge(&mut self, piece: &Piece) {
        self.held += piece.weight();
        self.documents += piece.range.len() as u64;
        self.waiting += piece.range.len() as u64;
    }

    /// Takes documents back that it was charged with already: they go first.
    pub(super) fn put_first(&mut self, ready: Ready) {
        self.waiting += ready.pieces.iter().map(|piece| piece.range.len() as u64).sum::<u64>();
        self.ready.push_front(ready);
    }

    /// Queues a document that owns its (key, id) behind those that do.
    pub(super) fn line_up(&mut self, document: Piece) {
        match self.ready.back_mut() {
            Some(ready) if ready.attempts == 0 && ready.not_before.is_none() => ready.pieces.push(document),
            _ => self.ready.push_back(Ready { pieces: vec![document], attempts: 0, not_before: None }),
        }
    }

    /// Empties it of everything that owns nothing yet.
    pub(super) fn take_fresh(&mut self) -> VecDeque<Piece> {
        let fresh = std::mem::take(&mut self.fresh);
        fresh.iter().for_each(|piece| self.let_go(piece));
        fresh
    }

    /// Empties it of everything that may be sent at once.
    pub(super) fn take_ready(&mut self) -> Vec<Piece> {
        let ready = std::mem::take(&mut self.ready);
        let pieces: Vec<Piece> = ready.into_iter().flat_map(|ready| ready.pieces).collect();
        pieces.iter().for_each(|piece| self.let_go(piece));
        pieces
    }

    fn let_go(&mut self, piece: &Piece) {
        self.end(piece);
        self.documents -= piece.range.len() as u64;
        self.waiting -= piece.range.len() as u64;
    }

    /// Documents are its business no more.
    pub(super) fn end(&mut self, piece: &Piece) {
        self.held -= piece.weight();
        self.gone += piece.weight();
    }

    /// Whether it holds something and waits for the target's leave.
    pub(super) fn is_gated(&self, now: Instant) -> bool {
        self.held > 0 && self.gate.max(self.asked).is_some_and(|gate| gate > now)
    }

    /// Cuts the next request; `target` is asked for leave. `Err` holds the time at which one may become possible, if a time is known.
    pub(super) fn cut(
        &mut self,
        lane: LaneId,
        cut: &Cut,
        owners: &mut Owners,
        target: Option<&dyn Lane>,
        now: Instant,
    ) -> Result<Taken, Option<Instant>> {
        if self.closed || (cut.serial && self.in_flight > 0) {
            return Err(None);
        }
        let gate = self.gate.filter(|gate| *gate > now);
        let first_due = self.first_due(None, cut.serial, now);
        let is_blocked = cut.serial && first_due.is_none() && !self.ready.is_empty();
        if gate.is_some() || is_blocked || (first_due.is_none() && self.fresh.is_empty()) {
            let has_work = !self.fresh.is_empty() || !self.ready.is_empty();
            let next_due = self.ready.iter().filter_map(|ready| ready.not_before).min();
            return Err(gate.filter(|_| has_work).or(next_due));
        }
        let attempts = first_due.map_or(0, |at| self.ready[at].attempts);
        let leave = self.leave(attempts, cut, target, now).map_err(Some)?;
        let most = leave.map_or(cut.documents, |leave| cut.documents.min(leave.documents as usize));
        let cut = &Cut { documents: most, ..*cut };
        let mut load = Load::default();
        while let Some(at) = self.first_due(Some(attempts), cut.serial, now) {
            let ready = self.ready.remove(at);
            if !ready.is_some_and(|ready| self.load_ready(ready, cut, &mut load)) {
                break;
            }
        }
        if attempts == 0 {
            self.load_fresh(lane, cut, owners, &mut load);
        }
        let leave = match (leave, target) {
            (Some(leave), Some(target)) if load.documents < leave.documents as usize => {
                target.shorten(leave, load.documents as u32)
            }
            (leave, _) => leave,
        };
        if load.pieces.is_empty() {
            return Err(self.ready.iter().filter_map(|ready| ready.not_before).min());
        }
        self.in_flight += 1;
        self.waiting -= load.documents as u64;
        Ok(Taken { pieces: load.pieces, attempts, leave })
    }

    /// The place of what may be sent before everything else; `attempts`: of what has failed so often.
    fn first_due(&self, attempts: Option<u32>, serial: bool, now: Instant) -> Option<usize> {
        let due = |ready: &Ready| attempts.is_none_or(|wanted| ready.attempts == wanted) && ready.is_due(now);
        if serial {
            return self.ready.front().is_some_and(due).then_some(0);
        }
        // What has waited for its own time goes before what merely comes back, of which there may be more without end.
        let waited = |ready: &Ready| ready.not_before.is_some() && due(ready);
        self.ready.iter().position(waited).or_else(|| self.ready.iter().position(due))
    }

    /// Asks for leave to send what is next and has failed so often; `None` of a lane that keeps no account. `Err`: not before this time.
    fn leave(
        &mut self,
        attempts: u32,
        cut: &Cut,
        target: Option<&dyn Lane>,
        now: Instant,
    ) -> Result<Option<Leave>, Instant> {
        let Some(target) = target else { return Ok(None) };
        if let Some(at) = self.asked.filter(|at| *at > now) {
            return Err(at);
        }
        let most = cut.documents;
        let ready = self.ready.iter().filter(|ready| ready.attempts == attempts && ready.is_due(now));
        let ready = ready.flat_map(|ready| &ready.pieces);
        let fresh = self.fresh.iter().take(if attempts == 0 { usize::MAX } else { 0 });
        let mut waiting = 0;
        for piece in ready.chain(fresh) {
            waiting += piece.range.len();
            if waiting >= most {
                break;
            }
        }
        match target.admit(waiting.min(most) as u32) {
            Admission::Free => Ok(None),
            Admission::Send(leave) => Ok(Some(leave)),
            Admission::Wait(at) => {
                self.asked = Some(at);
                Err(at)
            }
        }
    }

    /// Takes documents that own their (key, id) already; false if not all of them fit.
    fn load_ready(&mut self, mut ready: Ready, cut: &Cut, load: &mut Load) -> bool {
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
        let fits = rest.is_empty();
        if !fits {
            self.ready.push_front(Ready { pieces: rest, ..ready });
        }
        fits
    }

    /// Takes documents that were never sent; those whose (key, id) is owned step aside.
    fn load_fresh(&mut self, lane: LaneId, cut: &Cut, owners: &mut Owners, load: &mut Load) {
        while let Some(mut piece) = self.fresh.pop_front() {
            let count = load.fits(&piece, cut);
            let middle = piece.range.start + count;
            if !cut.keyed {
                load.take_all(&piece, piece.range.start..middle);
            } else {
                let mut from = piece.range.start;
                for index in piece.range.start..middle {
                    if !owners.claim(lane, &piece, index) {
                        load.take_all(&piece, from..index);
                        from = index + 1;
                    }
                }
                load.take_all(&piece, from..middle);
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

    /// Takes these documents of a piece, if there are any.
    fn take_all(&mut self, piece: &Piece, range: Range<u32>) {
        if !range.is_empty() {
            self.take(Piece { chunk: Arc::clone(&piece.chunk), range });
        }
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
