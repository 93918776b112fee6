//! The lanes' queues: which documents wait for which lane, and which may be sent next.
//!
//! Plain data under one lock; no tasks and no I/O. Two rules make the order right. A *serial* lane has one request under way. In any
//! other keyed lane a document is under way only while it owns its (key, id): see [`owners`](super::owners).
//!
//! **Fairness.** A lane that stands still must not hold every permit. Beyond its fair share of the requests in flight a lane is
//! given one only while an eighth of them stays free for lanes below theirs.
//!
//! **Displaced documents.** What comes back to a lane that is closed has no queue: it is taken out and routed again, and so is all that was
//! queued when lanes were added; [`routing`](super::routing) says why that keeps the order.

use crate::connector::Lane;
use crate::model::request::LaneId;
use crate::pipeline::chunk::{Again, Flight, Piece};
use crate::pipeline::lane_queue::{Cut, LaneQueue, Ready, Taken};
use crate::pipeline::owners::Owners;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// So many requests in a row fail by chance, even where one in ten does; after that nobody is there, and the lane waits with those that failed.
const CHANCE: u32 = 2;

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
    owners: Owners,
    /// A closed lane holds something.
    has_displaced: bool,
}

/// How full a lane is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Fill {
    /// Its backlog as a multiple of its fair share of the credits.
    pub(crate) shares: f64,
    /// It is at its cap.
    pub(crate) is_full: bool,
}

/// Documents that must be routed again.
#[derive(Debug, Default)]
pub(crate) struct Displaced {
    /// They have been cut for a request, or are next in line: where the sink is keyed they own their (key, id).
    pub(crate) owning: Vec<Piece>,
    /// They were never cut. Those of old lanes come before those of new ones.
    pub(crate) fresh: Vec<Piece>,
}

impl Lanes {
    pub(crate) fn new(count: usize, cut: Cut) -> Self {
        let mut lanes = Self {
            lanes: Vec::new(),
            cut,
            turn: 0,
            largest_document: 0,
            in_flight: 0,
            owners: Owners::default(),
            has_displaced: false,
        };
        lanes.grow(count);
        lanes
    }

    /// Makes room for lanes that the sink has added. True: there are more than before, and what is queued already may belong to them.
    pub(crate) fn grow(&mut self, count: usize) -> bool {
        let has_grown = count > self.lanes.len();
        if has_grown {
            self.lanes.resize_with(count, LaneQueue::default);
        }
        has_grown
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Sets the documents after which a request ends.
    pub(crate) fn set_request_documents(&mut self, documents: usize) {
        self.cut.documents = documents.max(1);
    }

    /// Queues documents behind everything else in a lane.
    pub(crate) fn push(&mut self, lane: LaneId, piece: Piece) {
        self.largest_document = self.largest_document.max(piece.largest());
        self.lanes[lane as usize].push(piece);
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

    /// Documents that wait for a request, and those of them whose lane waits for the target's leave.
    pub(crate) fn waiting(&self, now: Instant) -> (u64, u64) {
        let gated = self.lanes.iter().filter(|lane| lane.is_gated(now));
        let waiting = |lane: &LaneQueue| lane.waiting;
        (self.lanes.iter().map(waiting).sum(), gated.map(waiting).sum())
    }

    /// The lanes that hold something, with what has left each.
    pub(crate) fn holding(&self) -> Vec<(LaneId, u64)> {
        let lanes = (0..).zip(&self.lanes);
        lanes.filter(|(_, lane)| lane.held > 0).map(|(id, lane)| (id, lane.gone)).collect()
    }

    /// Whether something has left one of these lanes since [`holding`](Self::holding) named them.
    pub(crate) fn has_moved(&self, holding: &[(LaneId, u64)]) -> bool {
        holding.iter().any(|(id, gone)| self.lanes[*id as usize].gone != *gone)
    }

    /// Whether no request is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.in_flight == 0
    }

    /// Cuts the next request: lanes take turns. `limit` is the number of requests that may be in flight; `targets` are the sink's lanes, which are
    /// asked for leave. `Err` holds the time at which one may become possible, if a time is known.
    pub(crate) fn cut(
        &mut self,
        limit: usize,
        targets: &[Arc<dyn Lane>],
        now: Instant,
    ) -> Result<Flight, Option<Instant>> {
        let count = self.lanes.len();
        let mut wake: Option<Instant> = None;
        if count == 0 {
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
            let (lane, target) = (id as LaneId, targets.get(id).map(|target| &**target));
            match self.lanes[id].cut(lane, &self.cut, &mut self.owners, target, now) {
                Ok(Taken { pieces, attempts, leave }) => {
                    self.in_flight += 1;
                    self.turn = (id + 1) % count;
                    return Ok(Flight { lane, pieces, attempts, leave });
                }
                Err(Some(at)) => wake = Some(wake.map_or(at, |wake| wake.min(at))),
                Err(None) => {}
            }
        }
        Err(wake)
    }

    /// A request was answered: `done` have met their end, all in `again` is to be sent again, and the lane keeps quiet for `gate`.
    pub(crate) fn landed(
        &mut self,
        lane: LaneId,
        done: &[Piece],
        again: impl IntoIterator<Item = Again>,
        gate: Option<Duration>,
        now: Instant,
    ) {
        let queue = &mut self.lanes[lane as usize];
        if std::mem::take(&mut queue.failures) > CHANCE {
            // Somebody is there again.
            queue.gate = None;
        }
        self.come_back(lane, done, again, gate, now);
    }

    /// A request has failed as a whole and is to be sent again.
    pub(crate) fn failed(&mut self, lane: LaneId, again: Again, now: Instant) {
        let queue = &mut self.lanes[lane as usize];
        queue.failures += 1;
        // Or each request that is queued would find out for itself that nobody answers.
        let gate = (queue.failures > CHANCE).then_some(again.delay);
        self.come_back(lane, &[], Some(again), gate, now);
    }

    fn come_back(
        &mut self,
        lane: LaneId,
        done: &[Piece],
        again: impl IntoIterator<Item = Again>,
        gate: Option<Duration>,
        now: Instant,
    ) {
        self.in_flight -= 1;
        let queue = &mut self.lanes[lane as usize];
        queue.in_flight -= 1;
        queue.asked = None;
        if let Some(delay) = gate {
            queue.gate = queue.gate.max(Some(now + delay));
        }
        done.iter().for_each(|piece| queue.end(piece));
        for Again { pieces, attempts, delay } in again {
            let not_before = (!delay.is_zero()).then(|| now + delay);
            queue.put_first(Ready { pieces, attempts, not_before });
            self.has_displaced |= queue.closed;
        }
        if self.cut.keyed {
            done.iter().for_each(|piece| self.release(piece));
        }
    }

    /// Documents have met their end: who waits for them is next.
    fn release(&mut self, done: &Piece) {
        for index in done.range.clone() {
            let Some((lane, next)) = self.owners.release(done.chunk.identities[index as usize]) else {
                continue;
            };
            let queue = &mut self.lanes[lane as usize];
            queue.line_up(next);
            self.has_displaced |= queue.closed;
        }
    }

    /// A request has found its lane closed.
    pub(crate) fn close(&mut self, flight: Flight) {
        self.in_flight -= 1;
        let queue = &mut self.lanes[flight.lane as usize];
        queue.in_flight -= 1;
        queue.closed = true;
        queue.put_first(Ready { pieces: flight.pieces, attempts: flight.attempts, not_before: None });
        self.has_displaced = true;
    }

    /// The sink says that a lane is closed.
    pub(crate) fn mark_closed(&mut self, lane: LaneId) {
        let queue = &mut self.lanes[lane as usize];
        self.has_displaced |= !queue.closed;
        queue.closed = true;
    }

    /// Whether documents may be given to a lane.
    pub(crate) fn is_open(&self, lane: LaneId) -> bool {
        self.lanes.get(lane as usize).is_some_and(|lane| !lane.closed)
    }

    /// Takes out what is to be routed again: all that closed lanes hold, and if lanes were added, every document that was
    /// never cut.
    pub(crate) fn take_displaced(&mut self, has_grown: bool) -> Displaced {
        let mut displaced = Displaced::default();
        if std::mem::take(&mut self.has_displaced) || has_grown {
            for queue in &mut self.lanes {
                if queue.closed {
                    displaced.owning.extend(queue.take_ready());
                }
                if queue.closed || has_grown {
                    displaced.fresh.extend(queue.take_fresh());
                }
            }
        }
        displaced
    }

    /// Queues documents of a closed lane that owned their (key, id) there. How often they failed there says nothing of this lane.
    pub(crate) fn line_up(&mut self, lane: LaneId, document: Piece) {
        let queue = &mut self.lanes[lane as usize];
        queue.take_charge(&document);
        queue.line_up(document);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::store::CheckpointStore;
    use crate::connector::Admission;
    use crate::model::BoxFuture;
    use crate::model::document::Documents;
    use crate::model::meter::Meter;
    use crate::model::partition::{Partition, PartitionId, Position};
    use crate::model::request::{Leave, Outcome, Request};
    use crate::pipeline::account::{Account, Fence};
    use crate::pipeline::chunk::Chunk;
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
        let fence = Fence { store: CheckpointStore::new(folder.path()), run: String::new() };
        let (none, counters) = (Default::default(), Default::default());
        let account = Account::new(&[partition], &none, counters, rejects, fence, Arc::clone(&meter));
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
        lanes.push(0, Piece::whole(chunk(queued)));
        lanes
    }

    fn land(lanes: &mut Lanes, flight: &Flight, now: Instant) {
        lanes.landed(flight.lane, &flight.pieces, None, None, now);
    }

    #[test]
    fn a_request_ends_at_documents_and_bytes_and_one_large_document_goes_alone() {
        let now = Instant::now();
        let mut by_count = lanes(1, CUT, &[1, 2, 3, 4]);
        assert_eq!(places(&by_count.cut(MANY, &[], now).unwrap().pieces), [1, 2, 3]);
        assert_eq!(places(&by_count.cut(MANY, &[], now).unwrap().pieces), [4]);
        assert_eq!(by_count.cut(MANY, &[], now).unwrap_err(), None);
        let mut by_bytes = lanes(1, Cut { bytes: 9, ..CUT }, &[1, 2]);
        assert_eq!(places(&by_bytes.cut(MANY, &[], now).unwrap().pieces), [1], "larger than a request");
    }

    #[test]
    fn a_serial_lane_has_one_request_under_way_and_waits_for_what_failed() {
        let now = Instant::now();
        let mut lanes = lanes(1, Cut { serial: true, keyed: false, ..CUT }, &[1, 1, 2, 3]);
        let first = lanes.cut(MANY, &[], now).unwrap();
        assert_eq!(places(&first.pieces), [1, 1, 2], "it needs no care for equal ids");
        assert_eq!(lanes.cut(MANY, &[], now).unwrap_err(), None);
        let delay = Duration::from_secs(1);
        lanes.landed(0, &[], Some(Again { pieces: first.pieces, attempts: 1, delay }), None, now);
        assert_eq!(lanes.cut(MANY, &[], now).unwrap_err(), Some(now + delay));
        let again = lanes.cut(MANY, &[], now + delay).unwrap();
        assert_eq!((places(&again.pieces), again.attempts), (vec![1, 1, 2], 1));
        land(&mut lanes, &again, now);
        assert_eq!(places(&lanes.cut(MANY, &[], now).unwrap().pieces), [3]);
    }

    #[test]
    fn what_has_failed_as_often_goes_again_together_and_with_nothing_fresh() {
        let now = Instant::now();
        let mut lanes = lanes(1, CUT, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        let flights: Vec<Flight> = (0..3).map(|_| lanes.cut(MANY, &[], now).unwrap()).collect();
        let delay = Duration::from_millis(50);
        for (flight, attempts) in flights.iter().zip([1, 2, 1]) {
            let failed = vec![flight.pieces[0].single(flight.pieces[0].range.start)];
            let done = flight.pieces[0].range.start + 1..flight.pieces[0].range.end;
            let done = Piece { chunk: Arc::clone(&flight.pieces[0].chunk), range: done };
            lanes.landed(0, &[done], Some(Again { pieces: failed, attempts, delay }), None, now);
        }
        let again = |lanes: &mut Lanes| {
            let flight = lanes.cut(MANY, &[], now + delay).unwrap();
            (places(&flight.pieces), flight.attempts)
        };
        assert_eq!(again(&mut lanes), (vec![7, 1], 1));
        assert_eq!(again(&mut lanes), (vec![4], 2));
        assert_eq!(again(&mut lanes), (vec![10], 0));
    }

    #[test]
    fn a_later_document_with_the_same_id_waits_aside_until_the_first_has_met_its_end() {
        let now = Instant::now();
        let mut lanes = lanes(1, CUT, &[1, 1, 2, 1, 3]);
        let first = lanes.cut(MANY, &[], now).unwrap();
        assert_eq!(places(&first.pieces), [1, 2, 3], "it holds up nobody else");
        let again = Again { pieces: vec![first.pieces[0].single(0)], attempts: 1, delay: Duration::ZERO };
        lanes.landed(0, &[first.pieces[1].single(2)], Some(again), None, now);
        let first = lanes.cut(MANY, &[], now).unwrap();
        assert_eq!((places(&first.pieces), first.attempts), (vec![1], 1), "the owner, across a retry");
        assert_eq!(lanes.cut(MANY, &[], now).unwrap_err(), None);
        land(&mut lanes, &first, now);
        let second = lanes.cut(MANY, &[], now).unwrap();
        assert_eq!((places(&second.pieces), second.pieces[0].range.start), (vec![1], 1));
        land(&mut lanes, &second, now);
        let third = lanes.cut(MANY, &[], now).unwrap();
        assert_eq!(third.pieces[0].range.start, 3);
        assert!(lanes.cut(MANY, &[], now).is_err());
    }

    #[test]
    fn requests_of_a_marked_sink_end_where_chunks_end() {
        let now = Instant::now();
        let cut = Cut { keyed: false, serial: true, whole_chunks: true, ..CUT };
        let mut lanes = lanes(1, cut, &[1, 2, 3, 4, 5]);
        lanes.push(0, Piece::whole(chunk(&[6])));
        assert_eq!(places(&lanes.cut(MANY, &[], now).unwrap().pieces), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_throttled_lane_keeps_quiet_and_the_others_do_not() {
        let now = Instant::now();
        let mut lanes = lanes(2, CUT, &[1, 2, 3, 4]);
        lanes.push(1, Piece::whole(chunk(&[5])));
        let first = lanes.cut(MANY, &[], now).unwrap();
        let wait = Duration::from_millis(300);
        let again = Again { pieces: first.pieces, attempts: 0, delay: Duration::ZERO };
        lanes.landed(0, &[], Some(again), Some(wait), now);
        let other = lanes.cut(MANY, &[], now).unwrap();
        assert_eq!(other.lane, 1);
        assert_eq!((lanes.cut(MANY, &[], now).unwrap_err(), lanes.waiting(now)), (Some(now + wait), (4, 4)));
        assert_eq!(places(&lanes.cut(MANY, &[], now + wait).unwrap().pieces), [1, 2, 3]);
    }

    /// A lane that gives leave for so many documents at a time, once a second, and notes what was made use of.
    #[derive(Default)]
    struct Accountant {
        documents: u32,
        next: std::sync::Mutex<Option<Instant>>,
        told: std::sync::Mutex<Vec<(u32, u32)>>,
    }

    impl Lane for Accountant {
        fn admit(&self, documents: u32) -> Admission {
            if let Some(at) = *self.next.lock().unwrap() {
                return Admission::Wait(at);
            }
            let documents = documents.min(self.documents);
            let leave =
                Leave { documents, lane: 0, sent: Duration::ZERO, expected: 0.0, window: 0, probe: false };
            Admission::Send(leave)
        }

        fn shorten(&self, leave: Leave, documents: u32) -> Option<Leave> {
            self.told.lock().unwrap().push((leave.documents, documents));
            (documents > 0).then_some(Leave { documents, ..leave })
        }

        fn send(&self, _: Request) -> BoxFuture<'_, crate::error::Result<Outcome>> {
            Box::pin(async { Ok(Outcome::default()) })
        }
    }

    #[test]
    fn a_lane_that_keeps_account_cuts_its_requests_and_is_asked_again_at_its_time_or_after_an_answer() {
        let now = Instant::now();
        let target = Arc::new(Accountant { documents: 2, ..Accountant::default() });
        let targets: [Arc<dyn Lane>; 1] = [Arc::clone(&target) as _];
        let mut lanes = lanes(1, CUT, &[1, 2, 3, 3, 4]);
        let first = lanes.cut(MANY, &targets, now).unwrap();
        assert_eq!((places(&first.pieces), first.leave.map(|leave| leave.documents)), (vec![1, 2], Some(2)));
        let second = lanes.cut(MANY, &targets, now).unwrap();
        assert_eq!(
            (places(&second.pieces), second.leave.map(|leave| leave.documents)),
            (vec![3, 4], Some(2))
        );
        // Only the document that waits for its elder is left: nothing is asked for it.
        assert_eq!(lanes.cut(MANY, &targets, now).unwrap_err(), None);

        let (one, two) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        *target.next.lock().unwrap() = Some(one);
        lanes.push(0, Piece::whole(chunk(&[5])));
        assert_eq!(lanes.waiting(now), (2, 0), "nobody has asked yet");
        assert_eq!((lanes.cut(MANY, &targets, now).unwrap_err(), lanes.waiting(now)), (Some(one), (2, 2)));
        *target.next.lock().unwrap() = Some(two);
        assert_eq!(lanes.cut(MANY, &targets, now).unwrap_err(), Some(one), "it is not asked before its time");
        assert_eq!(lanes.cut(MANY, &targets, one).unwrap_err(), Some(two));
        *target.next.lock().unwrap() = None;
        land(&mut lanes, &first, now);
        assert_eq!(places(&lanes.cut(MANY, &targets, now).unwrap().pieces), [5], "an answer has made room");
        assert_eq!(target.told.lock().unwrap().len(), 0, "all leaves were made use of");
    }

    #[test]
    fn a_leave_that_cannot_be_filled_goes_back() {
        let now = Instant::now();
        let target = Arc::new(Accountant { documents: 9, ..Accountant::default() });
        let targets: [Arc<dyn Lane>; 1] = [Arc::clone(&target) as _];
        let mut lanes = lanes(1, Cut { bytes: 20, ..CUT }, &[1, 2, 3]);
        assert_eq!(lanes.cut(MANY, &targets, now).unwrap().leave.map(|leave| leave.documents), Some(2));
        lanes.push(0, Piece::whole(chunk(&[1])));
        assert_eq!(places(&lanes.cut(MANY, &targets, now).unwrap().pieces), [3]);
        lanes.push(0, Piece::whole(chunk(&[2])));
        assert!(lanes.cut(MANY, &targets, now).is_err(), "it waits for its elder");
        assert_eq!(*target.told.lock().unwrap(), [(3, 2), (2, 1), (1, 0)]);
    }

    #[test]
    fn what_is_given_up_is_neither_sent_again_nor_overtaken() {
        let now = Instant::now();
        let cut = Cut { keyed: false, serial: true, ..CUT };
        let mut lanes = lanes(1, cut, &[1, 2, 3, 4, 5]);
        let first = lanes.cut(MANY, &[], now).unwrap();
        lanes.landed(0, &[], Some(Again::never(first.pieces, 8)), None, now);
        assert!(lanes.is_quiet());
        assert!(lanes.cut(MANY, &[], now).is_err());
        assert!(lanes.cut(MANY, &[], now + Duration::from_secs(3600)).is_err());
    }

    #[test]
    fn a_lane_that_stands_still_leaves_permits_for_the_others() {
        let now = Instant::now();
        let mut lanes = lanes(4, Cut { documents: 1, ..CUT }, &(0..50).collect::<Vec<_>>());
        let held = std::iter::from_fn(|| lanes.cut(16, &[], now).ok()).count();
        assert_eq!(held, 14, "an eighth of sixteen stays free");
        lanes.push(1, Piece::whole(chunk(&[60, 61, 62])));
        assert_eq!([lanes.cut(16, &[], now).unwrap().lane, lanes.cut(16, &[], now).unwrap().lane], [1, 1]);
    }

    /// What [`Lanes::take_displaced`] returns, as places.
    fn displaced(lanes: &mut Lanes, has_grown: bool) -> (Vec<u64>, Vec<u64>) {
        let Displaced { owning, fresh } = lanes.take_displaced(has_grown);
        (places(&owning), places(&fresh))
    }

    #[test]
    fn a_closed_lane_gives_up_what_it_holds_and_whatever_comes_back_to_it() {
        let now = Instant::now();
        let mut lanes = lanes(2, CUT, &[1, 2, 3, 4, 5, 6, 7]);
        lanes.push(1, Piece::whole(chunk(&[8])));
        let (first, second) = (lanes.cut(MANY, &[], now).unwrap(), lanes.cut(MANY, &[], now).unwrap());
        assert_eq!((first.lane, second.lane), (0, 1));
        let third = lanes.cut(MANY, &[], now).unwrap();
        lanes.close(first);
        assert!(!lanes.is_open(0) && lanes.is_open(1));
        assert_eq!(displaced(&mut lanes, false), (vec![1, 2, 3], vec![7]), "nothing waits for the others");
        assert_eq!(displaced(&mut lanes, false), (vec![], vec![]));
        let again = Again { pieces: vec![third.pieces[0].single(3)], attempts: 1, delay: Duration::ZERO };
        let done = [third.pieces[0].single(4), third.pieces[0].single(5)];
        lanes.landed(0, &done, Some(again), None, now);
        assert_eq!(displaced(&mut lanes, false).0, [4], "from the closed lane's last request");
    }

    #[test]
    fn a_lane_that_is_said_to_be_closed_gives_up_what_it_holds_without_a_request() {
        let mut lanes = lanes(2, CUT, &[1, 2]);
        lanes.mark_closed(0);
        lanes.mark_closed(1);
        assert_eq!(lanes.open().count(), 0, "no partition is opened for them");
        assert_eq!(displaced(&mut lanes, false), (vec![], vec![1, 2]));
    }

    #[test]
    fn a_document_in_the_lane_that_took_over_waits_for_the_one_under_way_in_the_closed_lane() {
        let now = Instant::now();
        let mut lanes = lanes(1, CUT, &[1, 2]);
        let first = lanes.cut(MANY, &[], now).unwrap();
        assert!(lanes.grow(2) && !lanes.grow(2));
        lanes.push(1, Piece::whole(chunk(&[1, 3])));
        let other = lanes.cut(MANY, &[], now).unwrap();
        assert_eq!((other.lane, places(&other.pieces)), (1, vec![3]));
        lanes.close(first);
        let Displaced { owning, fresh } = lanes.take_displaced(false);
        assert!(fresh.is_empty());
        owning.into_iter().for_each(|piece| lanes.line_up(1, piece));
        let older = lanes.cut(MANY, &[], now).unwrap();
        assert_eq!((older.lane, places(&older.pieces)), (1, vec![1, 2]));
        assert_eq!(lanes.cut(MANY, &[], now).unwrap_err(), None);
        land(&mut lanes, &older, now);
        assert_eq!(places(&lanes.cut(MANY, &[], now).unwrap().pieces), [1], "the newer one");
    }

    #[test]
    fn when_lanes_are_added_all_that_is_not_under_way_is_given_up_old_lanes_first() {
        let now = Instant::now();
        let mut lanes = lanes(2, CUT, &[1, 2, 3, 4]);
        let first = lanes.cut(MANY, &[], now).unwrap();
        lanes.push(1, Piece::whole(chunk(&[5])));
        lanes.grow(3);
        lanes.push(2, Piece::whole(chunk(&[4])));
        let Displaced { owning, fresh } = lanes.take_displaced(true);
        let starts: Vec<_> = fresh.iter().map(|piece| piece.range.start).collect();
        assert_eq!((owning.len(), places(&fresh), starts), (0, vec![4, 5, 4], vec![3, 0, 0]));
        land(&mut lanes, &first, now);
        assert_eq!(lanes.fill(0, 0, 1000), Fill::default(), "nothing is left behind");
        assert_eq!(lanes.waiting(now), (0, 0));
    }

    #[test]
    fn a_lane_has_moved_when_documents_have_ended_or_were_taken_away() {
        let now = Instant::now();
        let mut lanes = lanes(3, CUT, &[1, 2, 3]);
        lanes.push(1, Piece::whole(chunk(&[4])));
        let (first, second) = (lanes.cut(MANY, &[], now).unwrap(), lanes.cut(MANY, &[], now).unwrap());
        let holding = lanes.holding();
        assert_eq!(holding, [(0, 0), (1, 0)]);
        lanes.push(2, Piece::whole(chunk(&[5])));
        assert!(!lanes.has_moved(&holding));
        lanes.landed(0, &[first.pieces[0].single(0)], None, None, now);
        assert!(lanes.has_moved(&holding));
        let holding = lanes.holding();
        lanes.close(second);
        assert!(!lanes.has_moved(&holding));
        lanes.take_displaced(false);
        assert!(lanes.has_moved(&holding));
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
