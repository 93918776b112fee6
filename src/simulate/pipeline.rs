//! One simulated run: readers, transformers and requests in flight, the queues between them, and the credits that bound all of it, as in the real pipeline.

use super::chance::Chance;
use super::controller::{Controller, Response};
use super::crew::Crew;
use super::plant::Plant;
use super::target::{Answer, Target};
use crate::model::knobs::Knobs;
use crate::model::request::Leave;
use crate::model::sample::Work;
use crate::pacing::{Admission, Answer as Charged, Pacer};
use std::collections::VecDeque;
use std::time::Duration;

/// Batches of one size take times that differ by this share; and the parts of a batch that go to each partition differ by this share of them.
const BATCH_VARIATION: f64 = 0.15;
const SHARE_VARIATION: f64 = 0.05;

/// A lane is not asked again sooner than this, so that time passes.
const SHORTEST_WAIT: f64 = 1e-4;

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) partition: usize,
    pub(super) documents: u32,
    pub(super) sent: f64,
    pub(super) leave: Option<Leave>,
    pub(super) answer: Answer,
}

/// What is to happen later.
#[derive(Clone, Copy, Debug)]
pub(super) enum Later {
    /// Batches are read, or transformed, unless something has overtaken this version of the pool.
    Read(u64),
    Transformed(u64),
    Answered(Flight),
    /// A request that was throttled leaves again: for which partition, with how many documents.
    Again(usize, u32),
    Wake,
}

/// Documents for one partition.
#[derive(Debug, Default)]
struct Lane {
    waiting: u32,
    /// Without pacing: requests as they were made, with their numbers; and documents that fill none yet.
    requests: VecDeque<(u64, u32)>,
    loose: u32,
    in_flight: usize,
    /// Not asked before.
    wake: f64,
}

/// Counters since the last sample.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) written: f64,
    pub(super) answers: f64,
    pub(super) throttled_answers: f64,
    pub(super) failed: f64,
    pub(super) request_units: f64,
    pub(super) requests: Work,
    /// Seconds times requests that the target worked on; seconds in which a reader waited for credits.
    pub(super) outstanding: f64,
    pub(super) short: f64,
    /// Seconds times the share of the waiting documents that waited for leave.
    pub(super) gated: f64,
}

/// One run.
pub(super) struct Pipeline<'a> {
    plant: &'a Plant,
    pub(super) controller: Box<dyn Controller + 'a>,
    pacer: Option<Pacer>,
    pub(super) knobs: Knobs,
    pub(super) chance: Chance,
    pub(super) readers: Crew,
    pub(super) transformers: Crew,
    read: VecDeque<u32>,
    pub(super) read_documents: f64,
    lanes: Vec<Lane>,
    shares: Vec<f64>,
    pub(super) queued: f64,
    pub(super) in_flight: usize,
    pub(super) sleeping: usize,
    pub(super) flying_documents: f64,
    /// Documents of all batches whose reading has begun.
    pub(super) begun: f64,
    next_request: u64,
    turn: usize,
    is_short: bool,
    /// When a lane may be asked again, and the earliest such time that is noted.
    wake_at: f64,
    noted_wake: f64,
    pub(super) counts: Counts,
    /// Documents written, thrown back and written again, of the whole run, by second.
    pub(super) written_by_second: Vec<f64>,
    pub(super) throttled_by_second: Vec<f64>,
    pub(super) later: Vec<(f64, Later)>,
}

impl<'a> Pipeline<'a> {
    pub(super) fn new(
        plant: &'a Plant,
        mut controller: Box<dyn Controller + 'a>,
        first: Knobs,
        seed: u64,
    ) -> Self {
        let mut knobs = first;
        controller.begin(&mut knobs, plant.target.shares.len());
        let is_metered = plant.target.request_units > 0.0;
        let pacer = (controller.is_paced() && is_metered).then(|| {
            let mut pacer = Pacer::new(None);
            plant.target.shares.iter().for_each(|_| {
                pacer.open(Duration::ZERO, None);
            });
            pacer
        });
        let seconds = plant.seconds as usize + 1;
        Self {
            plant,
            controller,
            pacer,
            knobs,
            chance: Chance::new(seed),
            readers: Crew::default(),
            transformers: Crew::default(),
            read: VecDeque::new(),
            read_documents: 0.0,
            lanes: plant.target.shares.iter().map(|_| Lane::default()).collect(),
            shares: plant.target.shares.clone(),
            queued: 0.0,
            in_flight: 0,
            sleeping: 0,
            flying_documents: 0.0,
            begun: 0.0,
            next_request: 0,
            turn: 0,
            is_short: false,
            wake_at: f64::INFINITY,
            noted_wake: f64::INFINITY,
            counts: Counts::default(),
            written_by_second: vec![0.0; seconds],
            throttled_by_second: vec![0.0; seconds],
            later: Vec::new(),
        }
    }

    /// Documents in memory.
    pub(super) fn documents(&self) -> f64 {
        self.readers.documents
            + self.read_documents
            + self.transformers.documents
            + self.queued
            + self.flying_documents
    }

    /// Share of the documents that wait for a request whose lane waits for leave.
    fn lanes_gated(&self, now: f64) -> f64 {
        if self.pacer.is_none() {
            return 0.0;
        }
        let (gated, all) = self.lanes.iter().fold((0, 0), |(gated, all), lane| {
            (gated + if lane.wake > now { lane.waiting } else { 0 }, all + lane.waiting)
        });
        if all == 0 { 0.0 } else { f64::from(gated) / f64::from(all) }
    }

    /// Lets `seconds` pass.
    pub(super) fn pass(&mut self, now: f64, seconds: f64) {
        self.counts.gated += self.lanes_gated(now) * seconds;
        self.readers.pass(seconds);
        self.transformers.pass(seconds);
        self.counts.outstanding += (self.in_flight - self.sleeping) as f64 * seconds;
        self.counts.short += if self.is_short { seconds } else { 0.0 };
    }

    /// Something happens. Returns whether anything did: what was overtaken by something else does not.
    pub(super) fn happen(&mut self, now: f64, what: Later, target: &mut Target) -> bool {
        match what {
            Later::Read(version) if version == self.readers.version => {
                for documents in self.readers.finished(now) {
                    self.read.push_back(documents as u32);
                    self.read_documents += documents;
                }
            }
            Later::Transformed(version) if version == self.transformers.version => {
                for documents in self.transformers.finished(now) {
                    self.route(documents as u32);
                }
            }
            Later::Read(_) | Later::Transformed(_) => return false,
            Later::Answered(flight) => self.answered(now, flight, target),
            Later::Again(partition, documents) => {
                self.sleeping -= 1;
                self.fly(now, partition, documents, None, target);
            }
            Later::Wake => {
                if now < self.noted_wake {
                    return false;
                }
                self.noted_wake = f64::INFINITY;
            }
        }
        true
    }

    fn route(&mut self, documents: u32) {
        self.queued += f64::from(documents);
        let mut left = documents;
        let last = self.shares.iter().rposition(|share| *share > 0.0).unwrap_or(0);
        for partition in 0..=last {
            let share = self.shares[partition] * (1.0 + SHARE_VARIATION * self.chance.normal());
            let part = if partition == last {
                left
            } else {
                ((share * f64::from(documents)).round().max(0.0) as u32).min(left)
            };
            left -= part;
            self.give(partition, part);
        }
    }

    fn give(&mut self, partition: usize, documents: u32) {
        let lane = &mut self.lanes[partition];
        lane.waiting += documents;
        if self.controller.is_paced() {
            return;
        }
        let asked = self.controller.request_documents(partition);
        let most = asked.clamp(1, self.plant.target.request_documents);
        lane.loose += documents;
        while lane.loose >= most {
            lane.loose -= most;
            self.next_request += 1;
            lane.requests.push_back((self.next_request, most));
        }
    }

    fn answered(&mut self, now: f64, flight: Flight, target: &mut Target) {
        let Flight { partition, documents, sent, leave, answer } = flight;
        target.outstanding -= 1;
        let second = (now as usize).min(self.written_by_second.len() - 1);
        self.counts.answers += 1.0;
        self.counts.written += f64::from(answer.taken);
        self.counts.request_units += answer.request_units;
        self.written_by_second[second] += f64::from(answer.taken);
        self.throttled_by_second[second] += f64::from(answer.throttled);
        if answer.taken == documents {
            self.counts.requests += Work::of(f64::from(documents), now - sent);
        }
        self.counts.throttled_answers += f64::from(u32::from(answer.throttled > 0));
        self.counts.failed += f64::from(u32::from(answer.failed));
        if answer.gone {
            self.learn_splits(now, target);
        }
        let back = documents - answer.taken;
        let sleeps = answer.throttled > 0 && !self.controller.is_paced();
        let at = Duration::from_secs_f64(now);
        if let (Some(pacer), Some(leave)) = (&mut self.pacer, leave) {
            if answer.failed || answer.gone {
                pacer.lost(at, leave);
            } else {
                let retry_after = (answer.throttled > 0).then(|| Duration::from_secs_f64(answer.retry_after));
                let charged = Charged {
                    request_units: answer.request_units,
                    charged: answer.taken,
                    throttled: answer.throttled,
                    retry_after,
                    is_stray: false,
                };
                pacer.answered(at, leave, charged);
            }
        }
        self.flying_documents -= f64::from(answer.taken);
        if sleeps {
            self.sleeping += 1;
            self.later.push((now + answer.retry_after, Later::Again(partition, back)));
        } else {
            self.in_flight -= 1;
            self.lanes[partition].in_flight -= 1;
            self.flying_documents -= f64::from(back);
            self.take_back(partition, back, target);
        }
        self.lanes[partition].wake = 0.0;
        let response = Response {
            now,
            partition,
            latency: now - sent,
            throttled: answer.throttled > 0,
            retry_after: answer.retry_after,
            documents,
            in_flight: self.in_flight,
        };
        self.controller.answered(&response, &mut self.knobs);
    }

    /// Documents that were not written wait in front.
    fn take_back(&mut self, partition: usize, documents: u32, target: &Target) {
        if documents == 0 {
            return;
        }
        self.queued += f64::from(documents);
        if let Some((one, other)) = target.children(partition).filter(|(one, _)| *one < self.lanes.len()) {
            self.give(one, documents / 2);
            self.give(other, documents - documents / 2);
            return;
        }
        let lane = &mut self.lanes[partition];
        lane.waiting += documents;
        if !self.controller.is_paced() {
            lane.requests.push_front((0, documents));
        }
    }

    /// Routes to the halves of what has split: all of it, in the order in which it did.
    fn learn_splits(&mut self, now: f64, target: &Target) {
        while self.lanes.len() < target.partitions() {
            let one = self.lanes.len();
            let made = |parent: &usize| target.children(*parent).is_some_and(|(first, _)| first == one);
            let Some(parent) = (0..one).find(made) else { return };
            self.lanes.resize_with(one + 2, Lane::default);
            self.shares.resize(one + 2, self.shares[parent] / 2.0);
            self.shares[parent] = 0.0;
            if let Some(pacer) = &mut self.pacer {
                pacer.split(Duration::from_secs_f64(now), parent as u32, 2);
            }
            let waiting = std::mem::take(&mut self.lanes[parent].waiting);
            self.lanes[parent].requests.clear();
            self.lanes[parent].loose = 0;
            self.give(one, waiting / 2);
            self.give(one + 1, waiting - waiting / 2);
        }
    }

    fn fly(&mut self, now: f64, partition: usize, documents: u32, leave: Option<Leave>, target: &mut Target) {
        let answer = target.send(&mut self.chance, now, partition, documents);
        target.outstanding += 1;
        self.later
            .push((answer.at, Later::Answered(Flight { partition, documents, sent: now, leave, answer })));
    }

    /// Begins whatever may begin now.
    pub(super) fn dispatch(&mut self, now: f64, target: &mut Target) {
        self.begin_reads(now);
        self.begin_transforms(now);
        if self.controller.is_paced() {
            self.send_paced(now, target);
        } else {
            self.send_in_order(now, target);
        }
        if self.wake_at < self.noted_wake {
            self.noted_wake = self.wake_at;
            self.later.push((self.wake_at, Later::Wake));
        }
    }

    /// Documents in a batch that is read now.
    pub(super) fn batch(&self) -> f64 {
        let by_bytes = (self.knobs.batch_bytes() as f64 / self.plant.documents.bytes).floor();
        by_bytes.min(self.knobs.batch_documents as f64).max(1.0)
    }

    fn begin_reads(&mut self, now: f64) {
        if !self.controller.sets_credits() {
            let slots = self.knobs.slots();
            self.knobs.credit_bytes =
                (slots * self.knobs.batch_documents as f64 * self.plant.documents.bytes) as u64 + 1;
        }
        let batch = self.batch();
        let source = &self.plant.source;
        self.is_short = false;
        while self.readers.len() < self.knobs.readers && self.read.len() < self.knobs.batches_ahead() {
            let in_memory = self.documents();
            if in_memory > 0.0
                && (in_memory + batch) * self.plant.documents.bytes > self.knobs.credit_bytes as f64
            {
                self.is_short = true;
                break;
            }
            let seconds = source.batch_seconds + batch * source.document_seconds;
            self.readers.begin(now, seconds * self.chance.about_one(BATCH_VARIATION), batch);
            self.begun += batch;
        }
        let most = source.most_per_second;
        let speed = if most > 0.0 { (most / self.readers.demand()).min(1.0) } else { 1.0 };
        if let Some(at) = self.readers.set_speed(now, speed) {
            self.later.push((at, Later::Read(self.readers.version)));
        }
    }

    fn begin_transforms(&mut self, now: f64) {
        let transform = &self.plant.transform;
        while self.transformers.len() < self.knobs.transformers {
            let Some(documents) = self.read.pop_front() else { break };
            self.read_documents -= f64::from(documents);
            let seconds = transform.batch_seconds + f64::from(documents) * transform.document_seconds;
            self.transformers.begin(
                now,
                seconds * self.chance.about_one(BATCH_VARIATION),
                f64::from(documents),
            );
        }
        let workers = self.transformers.len() as f64;
        let beside = (workers - 1.0).max(0.0);
        let crowd = 1.0 + transform.contention * beside + transform.coherence * workers * beside;
        let speed = 1.0 / (crowd * (workers / transform.engines).max(1.0));
        if let Some(at) = self.transformers.set_speed(now, speed) {
            self.later.push((at, Later::Transformed(self.transformers.version)));
        }
    }

    /// Lane by lane in turn, as the pacing allows; the last eighth of the requests is for lanes below their fair share.
    fn send_paced(&mut self, now: f64, target: &mut Target) {
        let full = self.plant.target.request_documents;
        self.wake_at = f64::INFINITY;
        while self.in_flight < self.knobs.requests_in_flight {
            let (lanes, limit) = (self.lanes.len(), self.knobs.requests_in_flight);
            let kept_free = if lanes == 1 { 0 } else { (limit / 8).max(1) };
            let (has_spare, fair) = (self.in_flight + kept_free < limit, (limit / lanes).max(1));
            // A request that is not full leaves only if nothing is coming that could fill it.
            let is_dry = self.readers.len() + self.transformers.len() + self.read.len() + self.in_flight == 0;
            let least = if is_dry || self.pacer.is_some() { 1 } else { full };
            let mut sent = false;
            for step in 0..lanes {
                let partition = (self.turn + step) % lanes;
                let lane = &mut self.lanes[partition];
                if lane.waiting < least || !has_spare && lane.in_flight >= fair {
                    continue;
                }
                if lane.wake > now {
                    self.wake_at = self.wake_at.min(lane.wake);
                    continue;
                }
                let asked = lane.waiting.min(full);
                let (documents, leave) = match &mut self.pacer {
                    None => (asked, None),
                    Some(pacer) => match pacer.admit(Duration::from_secs_f64(now), partition as u32, asked) {
                        Admission::Send(leave) => (leave.documents, Some(leave)),
                        Admission::Wait(until) => {
                            lane.wake = until.as_secs_f64().max(now + SHORTEST_WAIT);
                            self.wake_at = self.wake_at.min(lane.wake);
                            continue;
                        }
                    },
                };
                lane.waiting -= documents;
                lane.in_flight += 1;
                self.turn = partition + 1;
                self.leave(now, partition, documents, leave, target);
                sent = true;
                break;
            }
            if !sent {
                break;
            }
        }
    }

    /// In the order in which requests were made, whatever their partition; where the controller holds a partition back, the others go on.
    fn send_in_order(&mut self, now: f64, target: &mut Target) {
        self.wake_at = f64::INFINITY;
        let mut held = vec![false; self.lanes.len()];
        while self.in_flight < self.knobs.requests_in_flight {
            let lanes = self.lanes.iter().enumerate().filter(|(at, _)| !held[*at]);
            let Some((_, partition)) =
                lanes.filter_map(|(at, lane)| Some((lane.requests.front()?.0, at))).min()
            else {
                break;
            };
            if let Err(until) = self.controller.may_send(now, partition, self.lanes[partition].in_flight) {
                self.wake_at = self.wake_at.min(until.max(now + SHORTEST_WAIT));
                held[partition] = true;
                continue;
            }
            let lane = &mut self.lanes[partition];
            let Some((_, documents)) = lane.requests.pop_front() else { break };
            lane.waiting -= documents;
            lane.in_flight += 1;
            self.leave(now, partition, documents, None, target);
        }
    }

    fn leave(
        &mut self,
        now: f64,
        partition: usize,
        documents: u32,
        leave: Option<Leave>,
        target: &mut Target,
    ) {
        self.queued -= f64::from(documents);
        self.in_flight += 1;
        self.flying_documents += f64::from(documents);
        self.fly(now, partition, documents, leave, target);
    }
}
