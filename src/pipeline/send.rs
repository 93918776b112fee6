//! Sending: one dispatcher that cuts requests from the lanes' queues, and a task for each request under way.

use crate::error::{Error, ErrorKind};
use crate::model::meter::Waiting;
use crate::model::reject::{Reject, RejectedBy};
use crate::model::request::{Failure, LaneId, Outcome, Sent, Throttled};
use crate::pipeline::account::{Results, Ticket};
use crate::pipeline::chunk::{Again, Flight, Piece};
use crate::pipeline::permits::Permit;
use crate::pipeline::retry;
use crate::pipeline::shared::{Shared, woken};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Sends until the run stops.
pub(crate) async fn dispatch(shared: Arc<Shared>) {
    let _guard = shared.stop.guard();
    loop {
        let Some(permit) = shared.stop.unless(shared.requests.acquire()).await else { return };
        let flight = loop {
            let wake = match shared.routing.cut(shared.requests.limit()) {
                Ok(flight) => break flight,
                Err(wake) => wake,
            };
            let _blocked = wake.and_then(|_| shared.blocked());
            let Some(()) = shared.stop.unless(woken(&shared.send_wake, wake)).await else { return };
        };
        shared.meter.queued.fall(flight.documents() as u64);
        tokio::spawn(send(Arc::clone(&shared), permit, flight));
    }
}

async fn send(shared: Arc<Shared>, permit: Permit, flight: Flight) {
    let _guard = shared.stop.guard();
    // A checkpoint that needs the sink quiet waits for this, and holds up the next.
    let quiet = match shared.quiet.try_read() {
        Ok(quiet) => quiet,
        Err(_) => {
            let _blocked = shared.meter.requests.blocked.begin(1);
            shared.quiet.read().await
        }
    };
    let lane = shared.routing.lane(flight.lane);
    let (started, working) = (Instant::now(), shared.meter.requests.begin());
    let answer = lane.send(flight.request()).await;
    let took = started.elapsed();
    shared.meter.latency.record(took);
    shared.meter.flights.add(1);
    match answer {
        Ok(outcome) => {
            let (documents, again) = (flight.documents(), outcome.retry.len() + outcome.put_off.len());
            let ended = documents.saturating_sub(again);
            // Which of the documents come again is of no matter here.
            let bytes = flight.bytes() as f64 * ended as f64 / documents.max(1) as f64;
            working.finish(ended as u64, bytes as u64);
            shared.meter.queued.rise(again as u64);
            shared.landed(flight, &outcome);
        }
        Err(error) => {
            drop(working);
            shared.meter.queued.rise(flight.documents() as u64);
            shared.failed(flight, error);
        }
    }
    drop(quiet);
    drop(permit);
    shared.send_wake.notify_one();
    shared.read_wake.notify_one();
    shared.settled.notify_one();
}

impl Shared {
    /// Counts the requests that documents wait for while the target gives no leave, or lets what failed wait, until what is returned is dropped. The dispatcher holds
    /// one of the pool's free places.
    fn blocked(&self) -> Option<Waiting<'_>> {
        let most = self.knobs.borrow().request_documents.min(self.capabilities.request_documents);
        let wanted = self.meter.queued.get().div_ceil(most.max(1) as u64);
        let blocked = (self.requests.free() as u64 + 1).min(wanted);
        (blocked > 0).then(|| self.meter.requests.blocked.begin(blocked as usize))
    }

    /// The lane answered.
    fn landed(&self, flight: Flight, outcome: &Outcome) {
        let one = Sent { requests: 1, throttled: u32::from(outcome.throttled.is_some()) };
        let sent = outcome.sent.unwrap_or(one);
        self.meter.answered.add(u64::from(sent.requests));
        self.meter.throttled.add(u64::from(sent.throttled));
        if let Some(throttled) = outcome.throttled {
            self.meter.throttled_documents.add(u64::from(throttled.documents));
        }
        self.meter.milli_request_units.add((outcome.request_units * 1000.0) as u64);
        let Divided { done, retry, put_off } = divide(&flight.pieces, outcome);
        let settlements = self.settlements(&flight, outcome);
        let retry =
            (!retry.is_empty()).then(|| self.back_off(retry, outcome.failure.as_ref(), flight.attempts));
        // Their turn comes when the lane's gate opens, or alone when they were told to wait alone; that is not a failure.
        let is_stray = |throttled: &Throttled| throttled.is_stray;
        let stray = outcome.throttled.filter(is_stray);
        let put_off = (!put_off.is_empty()).then(|| Again {
            pieces: put_off,
            attempts: flight.attempts,
            delay: stray.map_or(Duration::ZERO, |throttled| throttled.wait),
        });
        let again = retry.into_iter().chain(put_off);
        let gate = outcome.throttled.filter(|throttled| !is_stray(throttled)).map(|throttled| throttled.wait);
        self.go_on(self.routing.landed(flight.lane, &done, again, gate));
        for (ticket, documents, results) in settlements {
            self.settle(&ticket, documents, results);
        }
    }

    /// Single documents that failed: by the rule of what befell them, as a write conflict where the lane does not say.
    fn back_off(&self, pieces: Vec<Piece>, failure: Option<&Failure>, attempts: u32) -> Again {
        let (kind, message) = match failure {
            Some(failure) => (failure.kind, failure.message.as_str()),
            None => (ErrorKind::Conflict, "the target asks to try single documents again"),
        };
        let error = Error::new(kind, "sending single documents again", message);
        match retry::next(&error, attempts + 1) {
            retry::Next::After(delay) => {
                let documents: usize = pieces.iter().map(|piece| piece.range.len()).sum();
                self.meter.retried_documents.add(documents as u64);
                self.event_retrying(&error, attempts + 1, delay);
                Again { pieces, attempts: attempts + 1, delay }
            }
            _ => {
                self.stop.fail(error.with("attempts", attempts + 1));
                Again::never(pieces, attempts + 1)
            }
        }
    }

    /// The whole request failed.
    fn failed(&self, flight: Flight, error: Error) {
        let attempts = flight.attempts + 1;
        let next = retry::next(&error, attempts);
        match next {
            // The whole lane keeps quiet; that is not a failure of these documents.
            retry::Next::After(delay) if error.kind() == ErrorKind::Throttled => {
                self.meter.answered.add(1);
                self.meter.throttled.add(1);
                self.meter.throttled_documents.add(flight.documents() as u64);
                let again = Again { pieces: flight.pieces, attempts: flight.attempts, delay: Duration::ZERO };
                self.go_on(self.routing.landed(flight.lane, &[], Some(again), Some(delay)));
            }
            retry::Next::After(delay) => {
                self.meter.retried.add(1);
                self.meter.retried_documents.add(flight.documents() as u64);
                self.event_retrying(&error, attempts, delay);
                let again = Again { pieces: flight.pieces, attempts, delay };
                self.go_on(self.routing.failed(flight.lane, again));
            }
            retry::Next::Reroute => self.go_on(self.routing.closed(flight)),
            retry::Next::GiveUp => {
                // Before the queue has them again: the dispatcher may be about to look at it.
                self.stop.fail(if attempts > 1 { error.with("attempts", attempts) } else { error });
                let again = Again::never(flight.pieces, attempts);
                self.go_on(self.routing.landed(flight.lane, &[], Some(again), None));
            }
        }
    }

    /// What the tickets of a request are told: documents that have met their end, and how.
    fn settlements(&self, flight: &Flight, outcome: &Outcome) -> Vec<(Arc<Ticket>, u32, Results)> {
        let mut fates = Fates::new(outcome);
        let mut first = 0;
        let mut settlements: Vec<(Arc<Ticket>, u32, Results)> = Vec::new();
        for piece in &flight.pieces {
            let ticket = &piece.chunk.ticket;
            if !settlements.last().is_some_and(|(last, ..)| Arc::ptr_eq(last, ticket)) {
                settlements.push((Arc::clone(ticket), 0, Results::default()));
            }
            let Some((_, documents, results)) = settlements.last_mut() else { continue };
            for (offset, index) in piece.range.clone().enumerate() {
                let span = &piece.chunk.documents.spans[index as usize];
                let fate = fates.of(first + offset as u32);
                *documents += u32::from(fate != Fate::Again);
                match fate {
                    Fate::Again => {}
                    Fate::Superseded => results.counters.superseded += 1,
                    Fate::Written => {
                        results.counters.written += 1;
                        results.counters.bytes_written += u64::from(span.length);
                    }
                    Fate::Rejected(reason) => {
                        let bytes = piece.chunk.documents.bytes(index as usize);
                        let reject = Reject::new(RejectedBy::Target, reason, span, bytes);
                        let partition = &self.partitions[piece.chunk.partition as usize];
                        results.reject(&reject, &*self.source, partition, ticket.first());
                    }
                }
            }
            first += piece.range.len() as u32;
        }
        settlements.retain(|(_, documents, _)| *documents > 0);
        settlements
    }
}

/// How a document of a request fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate<'o> {
    Written,
    Superseded,
    Rejected(&'o str),
    Again,
}

/// Walks along an outcome's lists.
struct Fates<'o> {
    superseded: std::slice::Iter<'o, u32>,
    rejected: std::slice::Iter<'o, (u32, String)>,
    retry: std::slice::Iter<'o, u32>,
    put_off: std::slice::Iter<'o, u32>,
}

impl<'o> Fates<'o> {
    fn new(outcome: &'o Outcome) -> Self {
        Self {
            superseded: outcome.superseded.iter(),
            rejected: outcome.rejected.iter(),
            retry: outcome.retry.iter(),
            put_off: outcome.put_off.iter(),
        }
    }

    /// The fate of document `index`; asked in ascending order.
    #[inline]
    fn of(&mut self, index: u32) -> Fate<'o> {
        for again in [&mut self.retry, &mut self.put_off] {
            if again.as_slice().first() == Some(&index) {
                again.next();
                return Fate::Again;
            }
        }
        if self.rejected.as_slice().first().is_some_and(|(at, _)| *at == index) {
            return self.rejected.next().map_or(Fate::Written, |(_, reason)| Fate::Rejected(reason));
        }
        if self.superseded.as_slice().first() == Some(&index) {
            self.superseded.next();
            return Fate::Superseded;
        }
        Fate::Written
    }
}

/// The documents of a request: those that have met their end, those that failed and those that were put off.
#[derive(Default)]
struct Divided {
    done: Vec<Piece>,
    retry: Vec<Piece>,
    put_off: Vec<Piece>,
}

fn divide(pieces: &[Piece], outcome: &Outcome) -> Divided {
    if outcome.retry.is_empty() && outcome.put_off.is_empty() {
        return Divided { done: pieces.to_vec(), ..Divided::default() };
    }
    let mut divided = Divided::default();
    let mut retry = outcome.retry.iter().peekable();
    let mut put_off = outcome.put_off.iter().peekable();
    let mut number = 0;
    for piece in pieces {
        for index in piece.range.clone() {
            let to = if retry.next_if_eq(&&number).is_some() {
                &mut divided.retry
            } else if put_off.next_if_eq(&&number).is_some() {
                &mut divided.put_off
            } else {
                &mut divided.done
            };
            match to.last_mut() {
                Some(last) if Arc::ptr_eq(&last.chunk, &piece.chunk) && last.range.end == index => {
                    last.range.end += 1;
                }
                _ => to.push(Piece { chunk: Arc::clone(&piece.chunk), range: index..index + 1 }),
            }
            number += 1;
        }
    }
    divided
}

/// Waits until no request is under way, at most `limit`. False: some still are.
pub(crate) async fn wait_until_quiet(shared: &Shared, limit: Duration) -> bool {
    let quiet = async {
        while !shared.routing.queues().is_quiet() {
            shared.settled.notified().await;
        }
    };
    tokio::time::timeout(limit, quiet).await.is_ok()
}

/// The lane that was given most documents, with its share.
pub(crate) fn hottest_lane(shared: &Shared) -> Option<(LaneId, f64)> {
    shared.routing.queues().hottest()
}
