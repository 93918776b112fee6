//! The lanes' queues: which documents wait for which lane, and which may be sent next.
//!
//! Plain data under one lock; no tasks and no I/O. Two rules make the order right. A *serial* lane has one request under way. In any
//! other keyed lane a document owns its (key, id) from the moment it is cut for a request until it has met its end, across
//! retries; a later document with the same (key, id) waits for it aside, so it holds up nobody else.
//!
//! What comes back to be sent again keeps its ownership and goes before everything fresh.
//!
//! **Fairness.** A lane that stands still must not hold every permit. Beyond its fair share of the requests in flight a lane is
//! given one only while an eighth of them stays free for lanes below theirs.
//!
//! **Moving.** When a lane closes, its keys go to lanes that did not exist before. From then on nothing is sent until everything under way has
//! come back; then every queued document is asked for its lane anew, old lanes before new ones, so that no document
//! overtakes an older one that was queued in the closed lane.

use crate::model::request::LaneId;
use crate::pipeline::chunk::{Again, Chunk, Flight, Piece};
use crate::pipeline::lane_queue::{Cut, LaneQueue, Ready};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// All lanes of a sink.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: Vec<LaneQueue>,
    cut: Cut,
    /// The lane that is looked at first: each gets its turn.
    turn: usize,
    largest_document: u64,
    /// Requests under way, over all lanes.
    in_flight: usize,
    /// Lanes were added: nothing is sent until the queued documents have been asked for their lane anew.
    moving: bool,
}

/// How full a lane is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Fill {
    /// Its backlog as a multiple of its fair share of the credits.
    pub(crate) shares: f64,
    /// It is at its cap.
    pub(crate) is_full: bool,
}

impl Lanes {
    pub(crate) fn new(count: usize, cut: Cut) -> Self {
        let mut lanes =
            Self { lanes: Vec::new(), cut, turn: 0, largest_document: 0, in_flight: 0, moving: false };
        lanes.grow(count);
        lanes
    }

    /// Makes room for lanes that the sink has added. What is queued already may have to move to them.
    pub(crate) fn grow(&mut self, count: usize) {
        if count > self.lanes.len() {
            self.moving |= self.lanes.iter().any(|lane| lane.held > 0);
            self.lanes.resize_with(count, LaneQueue::default);
        }
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
        lane.held += piece.weight();
        lane.documents += piece.range.len() as u64;
        match lane.fresh.back_mut() {
            Some(last) if Arc::ptr_eq(&last.chunk, &piece.chunk) && last.range.end == piece.range.start => {
                last.range.end = piece.range.end;
            }
            _ => lane.fresh.push_back(piece),
        }
    }

    /// How full a lane is with `more` bytes. Its cap is the larger of twice its fair share of the credits and one request plus the
    /// largest document seen. A single lane is never full: only the credits bound it.
    pub(crate) fn fill(&self, lane: LaneId, more: u64, credit_bytes: u64) -> Fill {
        if self.lanes.len() == 1 {
            return Fill::default();
        }
        let held = self.lanes.get(lane as usize).map_or(0, |lane| lane.held) + more;
        let share = (credit_bytes / self.lanes.len() as u64).max(1);
        let request =
            (self.cut.bytes as u64).min(self.largest_document.saturating_mul(self.cut.documents as u64));
        let cap = (2 * share).max(request.saturating_add(self.largest_document));
        Fill { shares: held as f64 / share as f64, is_full: held >= cap }
    }

    /// The lanes that are not closed.
    pub(crate) fn open(&self) -> impl Iterator<Item = LaneId> {
        (0..).zip(&self.lanes).filter(|(_, lane)| !lane.closed).map(|(id, _)| id)
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
        self.in_flight == 0
    }

    /// Cuts the next request: lanes take turns. `limit` is the number of requests that may be in flight. `Err` holds the time at which one
    /// may become possible, if a time is known.
    pub(crate) fn cut(&mut self, limit: usize, now: Instant) -> Result<Flight, Option<Instant>> {
        let count = self.lanes.len();
        let mut wake: Option<Instant> = None;
        if self.moving || count == 0 {
            return Err(None);
        }
        let fair = (limit / count).max(1);
        let kept_free = if count == 1 { 0 } else { (limit / 8).max(1) };
        let has_spare = self.in_flight + kept_free < limit;
        for offset in 0..count {
            let id = (self.turn + offset) % count;
            if !has_spare && self.lanes[id].in_flight >= fair {
                continue;
            }
            match self.lanes[id].cut(&self.cut, now) {
                Ok((pieces, attempts)) => {
                    self.in_flight += 1;
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
    pub(crate) fn landed(
        &mut self,
        lane: LaneId,
        done: &[Piece],
        again: Option<Again>,
        gate: Option<Duration>,
        now: Instant,
    ) {
        self.in_flight -= 1;
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
            lane.held -= piece.weight();
            if self.cut.keyed {
                piece.range.clone().for_each(|index| lane.release(piece.chunk.identities[index as usize]));
            }
        }
    }

    /// A request has found its lane closed: everything is to move.
    pub(crate) fn found_closed(&mut self, flight: Flight) {
        self.in_flight -= 1;
        self.moving = true;
        let lane = &mut self.lanes[flight.lane as usize];
        lane.closed = true;
        lane.in_flight -= 1;
        lane.ready.push_front(Ready { pieces: flight.pieces, attempts: flight.attempts, not_before: None });
    }

    /// Whether documents are to move and nothing is under way any more, so that [`Lanes::evacuate`] may be called.
    pub(crate) fn may_move(&self) -> bool {
        self.moving && self.in_flight == 0
    }

    /// Empties all lanes and lets them send again: the documents, older before newer wherever they share a (key, id).
    pub(crate) fn evacuate(&mut self) -> Vec<Piece> {
        self.moving = false;
        self.lanes.iter_mut().flat_map(LaneQueue::evacuate).collect()
    }

    /// Queues a document where it goes now; false if that lane is closed.
    #[must_use]
    pub(crate) fn reroute(&mut self, lane: LaneId, piece: &Piece, index: u32) -> bool {
        let is_open = self.lanes.get(lane as usize).is_some_and(|lane| !lane.closed);
        if is_open {
            self.push_piece(lane, piece.single(index));
        }
        is_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::document::Documents;
    use crate::model::meter::Meter;
    use crate::model::partition::{Partition, PartitionId, Position};
    use crate::pipeline::account::Account;
    use crate::pipeline::credits::{Credits, Standing};
    use crate::rejects::RejectLog;
    use tokio::sync::Notify;

    const CUT: Cut = Cut { documents: 3, bytes: 100, serial: false, keyed: true, whole_chunks: false };
    /// More requests than any test here has in flight.
    const MANY: usize = 100;

    /// Documents of ten bytes with these identities, which are their places too.
    fn chunk(identities: &[u64]) -> Arc<Chunk> {
        let folder = tempfile::tempdir().unwrap();
        let start = Position::default();
        let partition =
            Partition { id: PartitionId("p".into()), start: start.clone(), bytes: None, documents: None };
        let (meter, rejects) = (Arc::new(Meter::default()), RejectLog::open(folder.path(), 0).unwrap());
        let account =
            Account::new(&[partition], &Default::default(), Default::default(), rejects, Arc::clone(&meter));
        let credits = Credits::new(1 << 20, Arc::new(Notify::new()), meter);
        let mut documents = Documents::default();
        identities.iter().for_each(|identity| documents.push(b"0123456789", *identity, 0));
        Arc::new(Chunk {
            documents: Arc::new(documents),
            identities: identities.to_vec(),
            partition: 0,
            ticket: account.open(0, 0, start.clone(), start),
            _credit: credits.try_take(0, 1, Standing::Equal).unwrap(),
        })
    }

    fn places(pieces: &[Piece]) -> Vec<u64> {
        let of = |piece: &Piece| {
            piece.range.clone().map(|index| piece.chunk.identities[index as usize]).collect::<Vec<_>>()
        };
        pieces.iter().flat_map(of).collect()
    }

    fn lanes(count: usize, cut: Cut, queued: &[u64]) -> Lanes {
        let mut lanes = Lanes::new(count, cut);
        lanes.push(0, chunk(queued));
        lanes
    }

    fn land(lanes: &mut Lanes, flight: &Flight, now: Instant) {
        lanes.landed(flight.lane, &flight.pieces, None, None, now);
    }

    #[test]
    fn a_request_ends_at_documents_and_bytes_and_one_large_document_goes_alone() {
        let now = Instant::now();
        let mut by_count = lanes(1, CUT, &[1, 2, 3, 4]);
        assert_eq!(places(&by_count.cut(MANY, now).unwrap().pieces), [1, 2, 3]);
        assert_eq!(places(&by_count.cut(MANY, now).unwrap().pieces), [4]);
        assert_eq!(by_count.cut(MANY, now).unwrap_err(), None);
        let mut by_bytes = lanes(1, Cut { bytes: 9, ..CUT }, &[1, 2]);
        assert_eq!(places(&by_bytes.cut(MANY, now).unwrap().pieces), [1], "larger than a request");
    }

    #[test]
    fn a_serial_lane_has_one_request_under_way_and_waits_for_what_failed() {
        let now = Instant::now();
        let mut lanes = lanes(1, Cut { serial: true, keyed: false, ..CUT }, &[1, 1, 2, 3]);
        let first = lanes.cut(MANY, now).unwrap();
        assert_eq!(places(&first.pieces), [1, 1, 2], "it needs no care for equal ids");
        assert_eq!(lanes.cut(MANY, now).unwrap_err(), None);
        let delay = Duration::from_secs(1);
        lanes.landed(0, &[], Some(Again { pieces: first.pieces, attempts: 1, delay }), None, now);
        assert_eq!(lanes.cut(MANY, now).unwrap_err(), Some(now + delay));
        let again = lanes.cut(MANY, now + delay).unwrap();
        assert_eq!((places(&again.pieces), again.attempts), (vec![1, 1, 2], 1));
        land(&mut lanes, &again, now);
        assert_eq!(places(&lanes.cut(MANY, now).unwrap().pieces), [3]);
    }

    #[test]
    fn a_later_document_with_the_same_id_waits_aside_until_the_first_has_met_its_end() {
        let now = Instant::now();
        let mut lanes = lanes(1, CUT, &[1, 1, 2, 1, 3]);
        let first = lanes.cut(MANY, now).unwrap();
        assert_eq!(places(&first.pieces), [1, 2, 3], "it holds up nobody else");
        let again = Again { pieces: vec![first.pieces[0].single(0)], attempts: 1, delay: Duration::ZERO };
        lanes.landed(0, &[first.pieces[1].single(2)], Some(again), None, now);
        let first = lanes.cut(MANY, now).unwrap();
        assert_eq!((places(&first.pieces), first.attempts), (vec![1], 1), "the owner, across a retry");
        assert_eq!(lanes.cut(MANY, now).unwrap_err(), None);
        land(&mut lanes, &first, now);
        let second = lanes.cut(MANY, now).unwrap();
        assert_eq!((places(&second.pieces), second.pieces[0].range.start), (vec![1], 1));
        land(&mut lanes, &second, now);
        let third = lanes.cut(MANY, now).unwrap();
        assert_eq!(third.pieces[0].range.start, 3);
        assert!(lanes.cut(MANY, now).is_err());
    }

    #[test]
    fn requests_of_a_marked_sink_end_where_chunks_end() {
        let now = Instant::now();
        let cut = Cut { keyed: false, serial: true, whole_chunks: true, ..CUT };
        let mut lanes = lanes(1, cut, &[1, 2, 3, 4, 5]);
        lanes.push(0, chunk(&[6]));
        assert_eq!(places(&lanes.cut(MANY, now).unwrap().pieces), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_throttled_lane_keeps_quiet_and_the_others_do_not() {
        let now = Instant::now();
        let mut lanes = lanes(2, CUT, &[1, 2, 3, 4]);
        lanes.push(1, chunk(&[5]));
        let first = lanes.cut(MANY, now).unwrap();
        let wait = Duration::from_millis(300);
        let again = Again { pieces: first.pieces, attempts: 0, delay: Duration::ZERO };
        lanes.landed(0, &[], Some(again), Some(wait), now);
        let other = lanes.cut(MANY, now).unwrap();
        assert_eq!(other.lane, 1);
        assert_eq!((lanes.cut(MANY, now).unwrap_err(), lanes.backlogged(now)), (Some(now + wait), (2, 1)));
        assert_eq!(places(&lanes.cut(MANY, now + wait).unwrap().pieces), [1, 2, 3]);
    }

    #[test]
    fn a_lane_that_stands_still_leaves_permits_for_the_others() {
        let now = Instant::now();
        let mut lanes = lanes(4, Cut { documents: 1, ..CUT }, &(0..50).collect::<Vec<_>>());
        let held = std::iter::from_fn(|| lanes.cut(16, now).ok()).count();
        assert_eq!(held, 14, "an eighth of sixteen stays free");
        lanes.push(1, chunk(&[60, 61, 62]));
        assert_eq!([lanes.cut(16, now).unwrap().lane, lanes.cut(16, now).unwrap().lane], [1, 1]);
    }

    #[test]
    fn what_moves_keeps_older_before_newer() {
        let now = Instant::now();
        let mut lanes = lanes(1, CUT, &[1, 1, 2, 3, 2]);
        let first = lanes.cut(MANY, now).unwrap();
        assert_eq!(places(&first.pieces), [1, 2, 3]);
        lanes.grow(3);
        lanes.push(2, chunk(&[1]));
        assert!(lanes.cut(MANY, now).is_err(), "nothing is sent while documents are to move");
        assert!(!lanes.may_move());
        lanes.found_closed(first);
        assert!(lanes.may_move());
        let moved = lanes.evacuate();
        let starts: Vec<_> = moved
            .iter()
            .filter(|piece| places(std::slice::from_ref(piece)) == [1])
            .map(|piece| piece.range.start)
            .collect();
        assert_eq!(
            (places(&moved).len(), starts),
            (6, vec![0, 1, 0]),
            "the new lane's document is the newest"
        );
        assert!(!lanes.reroute(0, &moved[0], 0), "the lane is closed");
        assert!(lanes.reroute(1, &moved[0], 0));
        assert_eq!(lanes.cut(MANY, now).unwrap().lane, 1);
    }

    #[test]
    fn an_empty_lane_is_hungry_and_a_lane_is_full_at_its_cap() {
        let mut lanes = lanes(2, CUT, &[1, 2]);
        let held = 2 * (10 + 32);
        assert_eq!(lanes.fill(1, 0, 1000), Fill { shares: 0.0, is_full: false });
        assert_eq!(lanes.fill(0, 0, 2 * held), Fill { shares: 1.0, is_full: false });
        assert!(lanes.fill(0, 0, held).is_full, "twice its fair share");
        let mut small = Lanes::new(2, CUT);
        small.largest_document = 10;
        assert!(
            !small.fill(0, 39, 2).is_full && small.fill(0, 40, 2).is_full,
            "a request and the largest document"
        );
        lanes.grow(3);
        assert_eq!(lanes.open().collect::<Vec<_>>(), [0, 1, 2]);
    }
}
