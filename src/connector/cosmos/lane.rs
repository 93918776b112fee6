//! A lane sends a request in the cheapest way that its documents and the service allow, and sums up what became of each document.
//!
//! ```text
//!   one document                     point     its limits are the service's own, not those of a request
//!   several with one key             batch     all or nothing; what was innocent of a failure goes again in bulk
//!   several keys                     bulk      each document on its own
//!   several, and bulk is not to be had: point, many at a time
//! ```
//!
//! **Bulk is tried, not trusted.** If the very first answer to a bulk request is not an array with an answer for each document, the endpoint does not
//! know such requests; then all lanes send points from there on. A request that is refused whole later (400) goes as points
//! this once: the document that spoils it is found and the others are unharmed.
//!
//! **Too large.** A request that the endpoint finds too long (413) is halved until it passes, and the lane keeps to that length.
//!
//! **Failures.** A document that failed is sent again later, and how often that is done hangs on what befell it. One that was throttled, or not sent because
//! of another one's failure, has not failed and is merely put off.
//!
//! **Pace.** Before each request the lane is asked for leave, and what the request has cost is booked when it is answered (`pace.rs`).

use crate::connector::cosmos::Encoder;
use crate::connector::cosmos::answer::{
    Answer, Fate, Reply, UNTOLD_WAIT, WRITING, answers, charge, gravity, is_of_the_document, judge, refusal,
};
use crate::connector::cosmos::bulk::{self, Item};
use crate::connector::cosmos::client::{Door, Verb};
use crate::connector::cosmos::sink::Open;
use crate::connector::sink::{Admission, Lane};
use crate::error::{Error, ErrorKind, Result};
use crate::model::BoxFuture;
use crate::model::request::{Failure, LaneId, Leave, Outcome, Request, Sent};
use std::fmt;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};

/// Documents of one request that are on their way at once when each goes on its own: enough to hide the latency, and few beside what other requests
/// have under way.
pub(super) const POINTS_AT_ONCE: usize = 16;

/// What lives as long as the lane.
pub(super) struct LaneState {
    pub(super) id: LaneId,
    pub(super) door: Door,
    /// Bytes of documents in a request that the endpoint was seen to take.
    limit: AtomicUsize,
}

impl LaneState {
    pub(super) fn new(id: LaneId, door: Door) -> Self {
        Self { id, door, limit: AtomicUsize::new(usize::MAX) }
    }
}

impl fmt::Debug for LaneState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneState").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A lane as the pipeline sees it.
pub(super) struct CosmosLane {
    pub(super) open: Arc<Open>,
    pub(super) state: Arc<LaneState>,
}

impl Lane for CosmosLane {
    fn admit(&self, documents: u32) -> Admission {
        self.open.pace.admit(self.state.id, documents)
    }

    fn shorten(&self, leave: Leave, documents: u32) -> Option<Leave> {
        self.open.pace.shorten(leave, documents)
    }

    fn send(&self, request: Request) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(async move {
            let mut outcome = self.sent(&request).await;
            if let Some(leave) = request.leave {
                self.open.pace.settle(leave, &mut outcome);
            }
            outcome
        })
    }

    fn is_closed(&self) -> bool {
        !self.open.is_open(self.state.id)
    }
}

impl CosmosLane {
    async fn sent(&self, request: &Request) -> Result<Outcome> {
        let items =
            request.documents().map(|document| self.open.item(&document)).collect::<Result<Vec<_>>>()?;
        let mut sending = Sending {
            lane: self,
            items,
            outcome: Outcome::default(),
            taken: Vec::new(),
            gone: Vec::new(),
            vanished: Vec::new(),
            sent: Sent::default(),
            is_apart: false,
        };
        sending.run().await?;
        Ok(sending.outcome())
    }
}

/// One request, being sent in parts.
pub(super) struct Sending<'a> {
    pub(super) lane: &'a CosmosLane,
    pub(super) items: Vec<Item<'a>>,
    pub(super) outcome: Outcome,
    /// Documents that were to be inserted and found their place taken.
    pub(super) taken: Vec<usize>,
    /// Documents whose place is with another physical partition now, with what was said.
    pub(super) gone: Vec<(usize, Error)>,
    /// Documents that found their place taken and then free.
    pub(super) vanished: Vec<usize>,
    pub(super) sent: Sent,
    /// A batch has failed: what is left of it stands each for itself.
    is_apart: bool,
}

/// How a part is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Bulk,
    Batch,
    Points,
}

impl Sending<'_> {
    async fn run(&mut self) -> Result<()> {
        let mut parts = self.cut(0..self.items.len());
        let mut is_first = true;
        while let Some(part) = parts.pop() {
            if self.is_throttled() {
                // It would be thrown back like the part before.
                self.put_off(part);
                continue;
            }
            let sent = self.part(part.clone(), &mut parts).await;
            if let Err(error) = sent {
                // What was sent before has its answer, so the failure is only that of this part.
                if is_first {
                    return Err(error);
                }
                let behind = part.end..self.items.len();
                part.for_each(|index| self.failed(index, &error));
                self.put_off(behind);
                return Ok(());
            }
            is_first = false;
        }
        Ok(())
    }

    /// The outcome, each document in one list at most.
    fn outcome(self) -> Outcome {
        let mut outcome = self.outcome;
        outcome.sent = Some(self.sent);
        outcome.rejected.sort_unstable_by_key(|(index, _)| *index);
        outcome.retry.sort_unstable();
        outcome.retry.dedup();
        outcome.put_off.sort_unstable();
        outcome.put_off.dedup();
        // A part that failed after some of it was answered is in more than one.
        let (rejected, retry, put_off) = (&outcome.rejected, &mut outcome.retry, &mut outcome.put_off);
        retry.retain(|index| rejected.binary_search_by_key(index, |(place, _)| *place).is_err());
        put_off.retain(|index| {
            rejected.binary_search_by_key(index, |(place, _)| *place).is_err()
                && retry.binary_search(index).is_err()
        });
        outcome
    }

    /// Sends one part; what remains of it to be sent is pushed onto `parts`.
    async fn part(&mut self, part: Range<usize>, parts: &mut Vec<Range<usize>>) -> Result<()> {
        if !self.lane.open.is_open(self.lane.state.id) {
            return Err(self.closed());
        }
        match self.way(&part) {
            Way::Points => self.points(part.collect()).await?,
            Way::Batch => self.batch(part, parts).await?,
            Way::Bulk => self.bulk(part, parts).await?,
        }
        self.follow_up().await
    }

    /// What several answers may ask for, once for all of them.
    async fn follow_up(&mut self) -> Result<()> {
        let gone = mem::take(&mut self.gone);
        if !gone.is_empty() {
            let refreshed = self.lane.open.refresh().await;
            gone.iter()
                .for_each(|(index, error)| self.failed(*index, refreshed.as_ref().err().unwrap_or(error)));
        }
        self.settle_taken().await
    }

    fn way(&self, part: &Range<usize>) -> Way {
        let items = &self.items[part.clone()];
        let has_one_key = || items.iter().all(|item| item.key == items[0].key);
        match self.lane.open.encoder() {
            _ if items.len() == 1 => Way::Points,
            Encoder::Point => Way::Points,
            Encoder::Auto | Encoder::Batch if !self.is_apart && has_one_key() => Way::Batch,
            Encoder::Batch => Way::Points,
            Encoder::Auto | Encoder::Bulk if self.lane.open.bulk.is_broken() => Way::Points,
            Encoder::Auto | Encoder::Bulk => Way::Bulk,
        }
    }

    async fn bulk(&mut self, part: Range<usize>, parts: &mut Vec<Range<usize>>) -> Result<()> {
        let open = &self.lane.open;
        let body = bulk::body(&self.items[part.clone()], true, open.options.on_lossy_number);
        let reply = self.lane.state.door.send(body).await;
        self.sent.requests += 1;
        if reply.is_success() {
            if let Some(answers) = answers(&reply.body, part.len()) {
                open.bulk.proved();
                let innocent = self.apply(&part, &reply, &answers);
                self.unasked(innocent);
                return Ok(());
            }
            if open.bulk.is_proven() {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    WRITING,
                    "the answer to a bulk request is not understood",
                ));
            }
        }
        match reply.status {
            // Not understood at all: as a success without answers, or as a malformed request.
            200..300 | 400 | 404 | 405 if reply.is_from_service && !open.bulk.is_proven() => {
                open.bulk.failed();
                self.points(part.collect()).await
            }
            400 => {
                self.outcome.request_units += reply.request_units;
                self.points(part.collect()).await
            }
            413 => {
                self.halve(&part, &reply, parts);
                Ok(())
            }
            _ => self.whole(part, reply).await,
        }
    }

    async fn batch(&mut self, part: Range<usize>, parts: &mut Vec<Range<usize>>) -> Result<()> {
        let open = &self.lane.open;
        let body = bulk::body(&self.items[part.clone()], false, open.options.on_lossy_number);
        let reply =
            open.container.batch(&self.items[part.start].key.clone().into_partition_key(), body).await?;
        self.sent.requests += 1;
        if reply.is_success() {
            if let Some(answers) = answers(&reply.body, part.len()) {
                let before = self.sent.throttled;
                let innocent = self.apply(&part, &reply, &answers);
                let throttled = self.outcome.throttled.filter(|_| self.sent.throttled > before);
                if let Some(throttled) = throttled {
                    // All or none: what one was told, all were.
                    self.throttled(innocent.len(), throttled.wait);
                    self.put_off(innocent);
                    return Ok(());
                }
                // In another batch the next that fails would hold up the rest again.
                self.is_apart = true;
                let runs: Vec<_> = innocent.chunk_by(|one, next| one + 1 == *next).collect();
                // The last is taken first.
                parts.extend(runs.iter().rev().map(|run| run[0]..run[0] + run.len()));
                return Ok(());
            }
            return Err(Error::new(
                ErrorKind::Unavailable,
                WRITING,
                "the answer to a batch is not understood",
            ));
        }
        match reply.status {
            400 => {
                // Alone, each document has its own answer.
                self.outcome.request_units += reply.request_units;
                self.points(part.collect()).await
            }
            413 => {
                self.halve(&part, &reply, parts);
                Ok(())
            }
            _ => self.whole(part, reply).await,
        }
    }

    /// Each document in a request of its own. Whatever befalls one, those on their way are waited for: a write that is cut off may still be done, and
    /// then after a newer version.
    async fn points(&mut self, part: Vec<usize>) -> Result<()> {
        let is_whole_request = part.len() == self.items.len();
        let (mut tasks, mut left) = (JoinSet::new(), part.into_iter());
        let (mut failure, mut has_answer, mut is_lost) = (None, false, false);
        loop {
            // Into a failure or a throttle nothing more is sent.
            while failure.is_none() && !self.is_throttled() && tasks.len() < POINTS_AT_ONCE {
                let Some(index) = left.next() else { break };
                tasks.spawn(self.point(index));
            }
            let Some(done) = tasks.join_next().await else { break };
            self.sent.requests += 1;
            match joined(done) {
                Ok((index, Ok(reply))) if is_of_the_document(&reply) => {
                    has_answer = true;
                    let innocent = self.apply(&(index..index + 1), &reply, &[reply.as_answer()]);
                    self.unasked(innocent);
                }
                Ok((index, reply)) => {
                    let error = reply.map_or_else(|error| error, |reply| reply.into_error(WRITING));
                    self.failed(index, &error);
                    failure = failure.or(Some(error));
                }
                Err(error) => {
                    // Which document it was is not known.
                    is_lost = true;
                    failure = failure.or(Some(error));
                }
            }
        }
        match failure {
            Some(error) if is_lost || is_whole_request && !has_answer => return Err(error),
            _ => self.put_off(left),
        }
        Ok(())
    }

    pub(super) fn point(
        &self,
        index: usize,
    ) -> impl Future<Output = (usize, Result<Reply>)> + Send + 'static {
        let (open, item) = (Arc::clone(&self.lane.open), &self.items[index]);
        let (verb, key, id) = (item.verb, bulk::owned(&item.key.clone().into_partition_key()), item.id());
        let mut body = Vec::with_capacity(item.bytes.len());
        if verb != Verb::Delete {
            bulk::write_document(item.bytes, open.options.on_lossy_number, &mut body);
        }
        async move {
            match id {
                Ok(id) => (index, open.container.point(verb, &key, id, body).await),
                Err(error) => (index, Err(error)),
            }
        }
    }

    /// Sorts the documents of a part by their answers, and books what they cost. Returns those that only shared another one's fate.
    pub(super) fn apply(&mut self, part: &Range<usize>, reply: &Reply, answers: &[Answer<'_>]) -> Vec<usize> {
        let (units, charged) = charge(reply, answers);
        self.outcome.request_units += units;
        self.outcome.charged += charged;
        let mut innocent = Vec::new();
        let mut is_throttled = false;
        for (index, answer) in part.clone().zip(answers) {
            let fate = judge(self.items[index].verb, answer);
            // One after the other: what is done behind what was throttled shows that something was left to spend.
            if is_throttled && matches!(fate, Fate::Written | Fate::Taken | Fate::Rejected(_)) {
                self.stray();
            }
            match fate {
                Fate::Written => {}
                Fate::Rejected(reason) => self.outcome.rejected.push((index as u32, reason)),
                Fate::Retry => self.failed(index, &refusal(answer)),
                Fate::Throttled(wait) => {
                    is_throttled = true;
                    self.throttled(1, wait);
                    self.put_off([index]);
                }
                Fate::Gone => self.gone.push((index, refusal(answer))),
                Fate::Innocent => innocent.push(index),
                Fate::Taken => self.taken.push(index),
            }
        }
        self.sent.throttled += u32::from(is_throttled);
        innocent
    }

    /// The whole part failed.
    pub(super) async fn whole(
        &mut self,
        part: impl ExactSizeIterator<Item = usize>,
        reply: Reply,
    ) -> Result<()> {
        self.outcome.request_units += reply.request_units;
        match reply.status {
            429 => {
                self.sent.throttled += 1;
                self.throttled(part.len(), reply.retry_after.unwrap_or(UNTOLD_WAIT));
                self.put_off(part);
                Ok(())
            }
            410 => {
                self.lane.open.refresh().await?;
                if self.lane.open.is_open(self.lane.state.id) {
                    // Its division is under way and its children are not there yet.
                    return Err(reply.into_error(WRITING));
                }
                Err(self.closed())
            }
            _ => Err(reply.into_error(WRITING)),
        }
    }

    fn closed(&self) -> Error {
        Error::new(ErrorKind::LaneClosed, WRITING, "the physical partition was divided")
            .with("lane", self.lane.state.id)
    }

    /// These documents go again, and nothing is wrong with them.
    pub(super) fn put_off(&mut self, documents: impl IntoIterator<Item = usize>) {
        self.outcome.put_off.extend(documents.into_iter().map(|index| index as u32));
    }

    /// These documents were called innocent of a failure that they share with none: that is one of their own.
    pub(super) fn unasked(&mut self, innocent: Vec<usize>) {
        let error = Error::new(ErrorKind::Conflict, WRITING, "424 outside of a batch: nothing was done");
        innocent.into_iter().for_each(|index| self.failed(index, &error));
    }

    /// This document goes again, by the rule of what befell it.
    pub(super) fn failed(&mut self, index: usize, error: &Error) {
        match error.kind() {
            ErrorKind::Throttled => {
                self.throttled(1, error.retry_after().unwrap_or(UNTOLD_WAIT));
                return self.put_off([index]);
            }
            // The next request finds it closed, and all that is in it gets its place anew.
            ErrorKind::LaneClosed => return self.put_off([index]),
            _ => self.outcome.retry.push(index as u32),
        }
        let gravest = self.outcome.failure.as_ref().map_or(0, |failure| gravity(failure.kind));
        if gravity(error.kind()) > gravest {
            self.outcome.failure = Some(Failure { kind: error.kind(), message: error.to_string() });
        }
    }

    /// Whether the budget seems to be used up: what is sent now would be thrown back.
    fn is_throttled(&self) -> bool {
        self.outcome.throttled.is_some_and(|throttled| !throttled.is_stray)
    }

    /// The service said to wait, and has sent so many documents back.
    pub(super) fn throttled(&mut self, documents: usize, wait: Duration) {
        let throttled = self.outcome.throttled.get_or_insert_default();
        throttled.documents += documents as u32;
        throttled.wait = throttled.wait.max(wait);
        throttled.is_stray = false;
    }

    /// Something was done after all that was throttled so far.
    pub(super) fn stray(&mut self) {
        if let Some(throttled) = &mut self.outcome.throttled {
            throttled.is_stray = true;
        }
    }

    /// It was too large for one request.
    fn halve(&mut self, part: &Range<usize>, reply: &Reply, parts: &mut Vec<Range<usize>>) {
        self.outcome.request_units += reply.request_units;
        let bytes: usize = self.items[part.clone()].iter().map(|item| item.bytes.len()).sum();
        self.lane.state.limit.fetch_min(bytes / 2, Relaxed);
        let middle = part.start + part.len() / 2;
        // The last is taken first.
        parts.extend([middle..part.end, part.start..middle]);
    }

    /// Parts within the length that the endpoint takes; the last is the first to be sent.
    fn cut(&self, whole: Range<usize>) -> Vec<Range<usize>> {
        let limit = self.lane.state.limit.load(Relaxed);
        let (mut parts, mut start, mut bytes) = (Vec::new(), whole.start, 0);
        for index in whole.clone() {
            let length = self.items[index].bytes.len();
            if index > start && bytes + length > limit {
                parts.push(start..index);
                (start, bytes) = (index, 0);
            }
            bytes += length;
        }
        parts.push(start..whole.end);
        parts.reverse();
        parts
    }
}

/// What a task came to.
pub(super) fn joined<T>(done: Result<T, JoinError>) -> Result<T> {
    done.map_err(|cause| Error::internal(WRITING, "a task failed").caused_by(cause))
}
