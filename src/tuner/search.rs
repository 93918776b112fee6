//! The search: which pool is tried next and how far, what a trial has shown, which pools have nothing to do.

use super::consensus::{self, Backers, Opinion, Proposer};
use super::moves::BUSY_LATELY;
use super::normal::distribution;
use super::stage::{Stage, Trial};
use super::trial::{Verdict, compare, judge};
use super::{AHEAD, GROW_MARGIN, Tuner, Turn, percent};
use crate::model::decision::{Block, Reason};
use crate::model::knobs::Knob;
use crate::model::scaling::{Policy, Scaling};
use std::time::Duration;

/// A pool is near to being the bottleneck if it could do no more than this many times what the slowest could.
pub(super) const NEAR: f64 = 1.35;

/// Standard error of how busy a pool is, over the few windows that it is smoothed over.
const BUSY_ERROR: f64 = 0.1;

/// Windows without saturation after which the bottleneck has moved.
const IDLE: u32 = 5;

/// So many of the requests throttled, wholly or in part, in one window: a budget was met.
pub(super) const BUDGET_MET: f64 = 0.02;

/// Windows of the size before that a size is compared with that is tried once more.
const AGAIN: u32 = 6;

/// A size closer than this to one that does not pay is the end of the search.
const CLOSE: f64 = 1.16;

/// How the seconds grow before a settled pool is tried again, from the cooldown up to what.
const BACKOFF_GROWTH: f64 = 1.6;
const BACKOFF_MOST: f64 = 120.0;

/// What other pools are made large enough for, as a share of what is coming.
const ROOM: f64 = 1.25;

/// A pool that has had little to do for so many seconds is shrunk, by at most a quarter, to twice of what it needs.
const IDLE_SECONDS: f64 = 30.0;
const SHRINK: f64 = 0.75;

/// No shrink in the first seconds of a run.
const WARM: f64 = 60.0;

/// Lanes that wait for leave for more than this share: the target's request units are the limit.
pub(super) const UNITS: f64 = 0.5;

impl Tuner {
    /// The target's request units hold documents up, and no pool does.
    pub(super) fn is_unit_bound(&self) -> bool {
        self.gated > UNITS
    }

    /// Looks at every trial.
    pub(super) fn judge_all(&mut self, turn: &mut Turn) {
        for knob in [Knob::Readers, Knob::Transformers, Knob::RequestsInFlight, Knob::CreditBytes] {
            let wanted = self.scaling.confidence;
            let stage = self.stage(knob);
            let is_saturated = stage.is_saturated();
            stage.resume(turn.now);
            let Some(trial) = stage.trial.as_mut() else { continue };
            if turn.knobs.get(knob) as f64 != stage.size {
                stage.trial = None;
                continue;
            }
            if knob == Knob::RequestsInFlight && turn.sample.throttled > BUDGET_MET {
                // What the target sends away says that its budget is met, whatever throughput says in that moment. More requests than needed cost nothing.
                stage.unproved += 1;
                let because = "the target's request units are the limit now".to_owned();
                stage.keep(turn, Reason::Moved, because, None, None);
                continue;
            }
            trial.idle = if is_saturated { 0 } else { trial.idle + 1 };
            if trial.idle >= IDLE {
                stage.unproved += 1;
                stage.left = Some(Trial { idle: 0, ..*trial });
                stage.keep(turn, Reason::Moved, "it is not saturated any more".to_owned(), None, None);
                continue;
            }
            if stage.saturated.seconds() < 0.9 && stage.windows >= 2 * trial.most + 2 {
                stage.revert(turn, "it could not be measured".to_owned(), None, None);
                continue;
            }
            if stage.saturated.seconds() < 0.9 || !is_saturated {
                continue;
            }
            trial.looks += 1;
            let Trial { from, before, least, looks, most, by, .. } = *trial;
            let evidence = compare(&before, &stage.saturated, stage.variance(), least);
            let step = (stage.size / from).ln();
            let verdict = judge(&evidence, step, most, looks >= most, wanted);
            match verdict {
                Verdict::Open => continue,
                Verdict::Pays(confidence) => stage.accept(turn, confidence, evidence),
                Verdict::Fails(confidence) => {
                    stage.reject(turn, (confidence >= wanted).then_some(confidence), least, evidence);
                }
            }
            let pays = matches!(verdict, Verdict::Pays(_));
            if self.stage(knob).size < from {
                self.fewer_ended(turn.now, pays, evidence.z > 0.0);
            } else {
                self.record.ended(by, pays);
            }
        }
    }

    /// Proposes moves up, for every pool that is near to being the bottleneck.
    pub(super) fn propose_all(&mut self, turn: &mut Turn) {
        let slowest = self.slowest();
        let mut coming = 0.0_f64;
        for knob in [Knob::Readers, Knob::Transformers, Knob::RequestsInFlight] {
            if let Some(capacity) = self.propose(turn, knob, slowest) {
                coming = coming.max(capacity);
            }
        }
        if self.short > 0.5 && !self.is_unit_bound() {
            self.propose_credits(turn);
        }
        if coming > 0.0 && !self.is_unit_bound() {
            self.prescale(turn, coming);
        }
    }

    /// Documents per second that the slowest pool could do.
    pub(super) fn slowest(&self) -> f64 {
        let pools = [&self.readers, &self.transformers, &self.requests];
        let capacities =
            pools.into_iter().filter(|stage| stage.service > 0.0).map(|stage| self.capacity(stage));
        capacities.fold(f64::INFINITY, f64::min)
    }

    /// Documents per second that are read so that this pool has as much to do as it can: of what is read steps may drop some before it is sent.
    fn capacity(&self, stage: &Stage) -> f64 {
        if stage.knob == Knob::RequestsInFlight { stage.capacity() / self.kept } else { stage.capacity() }
    }

    fn is_on_trial(&self) -> bool {
        [&self.readers, &self.transformers, &self.requests, &self.credits]
            .iter()
            .any(|stage| stage.trial.is_some())
    }

    /// The moves up of all pools since one was proved.
    pub(super) fn unproved(&self) -> u32 {
        [&self.readers, &self.transformers, &self.requests].iter().map(|stage| stage.unproved).sum()
    }

    /// Tries one pool, if it is time; returns what it may then do.
    fn propose(&mut self, turn: &mut Turn, knob: Knob, slowest: f64) -> Option<f64> {
        let is_gated = knob == Knob::RequestsInFlight && self.is_unit_bound();
        let is_cut = knob == Knob::Transformers && self.is_gpu_cut(turn.knobs.transformers as f64);
        let rests = self.is_fixed(knob) || is_gated || is_cut;
        let kept = if knob == Knob::RequestsInFlight { self.kept } else { 1.0 };
        let stage = self.stage(knob);
        if rests || !stage.is_bottleneck(slowest * kept) {
            // What is busy and only not measured yet goes on waiting for what it waited for.
            if rests || stage.busy_smoothed <= BUSY_LATELY {
                self.blocked.clear(knob, Reason::Probe);
            }
            return None;
        }
        let because = self.stage(knob).words();
        let wanted = match self.wanted(turn, knob) {
            Ok(wanted) => wanted,
            Err(left) => {
                let stage = self.stage(knob);
                let next = (stage.size * CLOSE).ceil().max(stage.size + 1.0) as u64;
                if !left.is_zero() {
                    self.blocked.tell(turn, knob, next, because, Block::Cooldown(left));
                }
                return None;
            }
        };
        if let Some(block) = self.block(turn, knob) {
            self.blocked.tell(turn, knob, wanted as u64, because, block);
            return None;
        }
        let (most, ceiling) = self.most(turn, knob);
        let to = wanted.min(most);
        let size = self.stage(knob).size;
        if to <= size {
            self.blocked.tell(turn, knob, wanted as u64, because, ceiling);
            return None;
        }
        let Some((sure, by)) = self.opinion(turn, knob) else {
            self.blocked.tell(turn, knob, to as u64, because, Block::NoConsensus);
            return None;
        };
        self.blocked.clear(knob, Reason::Probe);
        let least = self.scaling.worth * (to / size).ln();
        let stage = self.stage(knob);
        let capacity = stage.capacity() / kept;
        if stage.points.is_empty() {
            stage.points.add(size, stage.saturated.throughput());
        }
        stage.begin(turn, to, least, because, Some(sure));
        stage.trial.iter_mut().for_each(|trial| trial.by = by);
        Some(capacity * to / size)
    }

    /// The size to try next; or how long the pool rests.
    fn wanted(&mut self, turn: &Turn, knob: Knob) -> Result<f64, Duration> {
        let Scaling { search_step, settled_step, cooldown, .. } = self.scaling;
        let is_due = self.is_evaluation;
        let stage = self.stage(knob);
        if turn.now < stage.next_try {
            return Err(Duration::from_secs_f64(stage.next_try - turn.now));
        }
        let size = stage.size;
        let limit = self.scaling.step_limit(size);
        let stage = self.stage(knob);
        if stage.again.is_some_and(|again| again.until < turn.now && again.size > size) {
            stage.drop_again();
        }
        // A pool that has grown past a size for another reason has nothing to try there.
        stage.again = stage.again.filter(|again| again.size > size);
        if let Some(again) = stage.again {
            // What was too short a while before is compared with a longer one.
            let is_known = stage.saturated.windows() >= AGAIN;
            return if is_known { Ok(again.size.min(limit)) } else { Err(Duration::ZERO) };
        }
        let mut wanted = size * if stage.settled { settled_step } else { search_step };
        if let Some(bad) = stage.bad {
            if bad / size >= CLOSE && bad - size > 1.0 {
                wanted = (size * bad).sqrt();
            } else if !stage.settled {
                (stage.settled, stage.backoff) = (true, cooldown.as_secs_f64());
                stage.next_try = turn.now + stage.backoff;
                return Err(cooldown);
            } else if !is_due {
                return Err(Duration::ZERO);
            } else {
                wanted = size * settled_step;
                stage.bad = None;
                let most = BACKOFF_MOST.max(cooldown.as_secs_f64());
                stage.backoff = (stage.backoff * BACKOFF_GROWTH).min(most);
                stage.next_try = turn.now + stage.backoff;
            }
        }
        if let Some(knee) = stage.points.knee().filter(|knee| *knee > 1.05 * size && *knee < wanted) {
            wanted = knee.max(1.1 * size);
        }
        Ok(wanted.round().max(size + 1.0).min(limit))
    }

    /// Nothing is to grow beyond the goal, and it is met.
    pub(super) fn is_goal_met(&self) -> bool {
        self.scaling.stop_at_target && self.throughput >= self.scaling.target_docs_per_second
    }

    /// What holds every move up of this pool back, if anything.
    fn block(&self, turn: &Turn, knob: Knob) -> Option<Block> {
        let Scaling { ceilings, latency_target, direction_limit, .. } = &self.scaling;
        let memory = turn.sample.memory.unwrap_or(0.0);
        let is_requests = knob == Knob::RequestsInFlight;
        match () {
            () if is_requests && self.brake.is_on() => Some(Block::Errors),
            () if is_requests && latency_target.is_some_and(|target| turn.sample.latency.p95 > target) => {
                Some(Block::Latency)
            }
            () if self.is_goal_met() => Some(Block::Goal),
            () if self.unproved() >= *direction_limit => Some(Block::DirectionLimit),
            () if self.cpu.smoothed > ceilings.cpu_grow_below && !is_requests => Some(Block::CpuCeiling),
            () if self.cpu.smoothed > ceilings.cpu => Some(Block::CpuCeiling),
            () if memory > ceilings.memory_grow_below => Some(Block::MemoryCeiling),
            () => None,
        }
    }

    /// The most that this pool may be now, and what bounds it.
    fn most(&self, turn: &Turn, knob: Knob) -> (f64, Block) {
        let most = self.scaling.bounds.most.get(knob) as f64;
        let mut bounds = vec![(most, Block::Bound)];
        match knob {
            Knob::Readers => bounds.push((turn.sample.unfinished_partitions as f64, Block::Bound)),
            Knob::Transformers => {
                let ceilings = &self.scaling.ceilings;
                let by_cpu = self.cpu.most_transformers(turn.knobs.transformers as f64, ceilings.cpu);
                bounds.push((by_cpu, Block::CpuCeiling));
                bounds.push((self.gpu_fits().floor(), Block::GpuCeiling));
            }
            _ => {}
        }
        bounds.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((most, Block::Bound))
    }

    /// What the proposers of the policy say together about more of this pool: how sure they are of it, if they are for it, and who is.
    fn opinion(&mut self, turn: &Turn, knob: Knob) -> Option<(f64, Backers)> {
        let is_gpu_first = self.scaling.policy == Policy::GpuMemoryBased
            && !self.gpu.is_silent()
            && knob == Knob::Transformers;
        let sent = turn.sample.requests.documents_per_second.max(1.0);
        let coming = if knob == Knob::RequestsInFlight { sent } else { sent / self.kept };
        let stage = self.stage(knob);
        let search = Opinion { by: Proposer::Search, z: (stage.busy_smoothed - BUSY_LATELY) / BUSY_ERROR };
        let need = (ROOM * coming / stage.capacity()).ln() / stage.capacity_error();
        let workload = Opinion { by: Proposer::Workload, z: need };
        let mut opinions = vec![];
        if !is_gpu_first {
            opinions.extend([search, workload]);
        }
        if knob == Knob::Transformers && !self.gpu.is_silent() && self.scaling.policy != Policy::WorkloadBased
        {
            let room = (self.gpu_fits() / turn.knobs.transformers as f64).max(0.01).ln();
            opinions.push(Opinion { by: Proposer::Gpu, z: room / self.gpu.relative_error().max(0.02) });
        }
        let agreed = self.record.agree(&opinions).filter(|z| *z > 0.0)?;
        let sure = if is_gpu_first { self.gpu.trust() } else { consensus::sure(agreed) };
        Some((sure, consensus::backers(&opinions)))
    }

    /// Readers wait for credits and nothing else is busy: more of them, as far as memory allows.
    fn propose_credits(&mut self, turn: &mut Turn) {
        let knob = Knob::CreditBytes;
        let rests = self.is_after_cut(turn.now) || self.is_budget_met(turn.now) || self.is_goal_met();
        if self.is_fixed(knob) || rests {
            return;
        }
        let most = self.most_credits(turn).min(self.scaling.bounds.most.credit_bytes as f64);
        // Two moves at once would be judged by one throughput.
        if self.readers.trial.is_some() || self.transformers.trial.is_some() {
            return;
        }
        let (worth, cooldown) = (self.scaling.worth, self.scaling.cooldown.as_secs_f64());
        let stage = &mut self.credits;
        if let Some(bad) = stage.bad.take() {
            // What did not pay rests, and longer each time; pools that have grown meanwhile may need it.
            if bad > turn.knobs.credit_bytes as f64 {
                stage.backoff = (stage.backoff * BACKOFF_GROWTH).clamp(cooldown, BACKOFF_MOST.max(cooldown));
                stage.next_try = turn.now + stage.backoff;
            }
        }
        if stage.trial.is_some() || turn.now < stage.next_try || stage.saturated.seconds() < 0.9 {
            return;
        }
        let to = (stage.size * 2.0).min(most).floor();
        if to < stage.size * 1.1 {
            return;
        }
        let because = format!("readers wait for credits {} of the time", percent(stage.busy_smoothed));
        stage.begin(turn, to, worth * (to / stage.size).ln(), because, None);
    }

    /// The most credits that memory allows; no more than there are where memory is not measured.
    pub(super) fn most_credits(&self, turn: &Turn) -> f64 {
        let full = self.full(&turn.knobs);
        if self.memory.is_silent() {
            return full[0];
        }
        self.memory.fits(full, self.scaling.ceilings.memory - GROW_MARGIN, AHEAD) * full[0]
    }

    /// Makes the other pools large enough for what is coming.
    fn prescale(&mut self, turn: &mut Turn, coming: f64) {
        for knob in [Knob::Readers, Knob::Transformers] {
            if self.is_fixed(knob) || self.block(turn, knob).is_some() {
                continue;
            }
            let (cap, _) = self.most(turn, knob);
            let on_gpu = knob == Knob::Transformers && turn.sample.gpu_memory().is_some();
            let stage = self.stage(knob);
            let capacity = stage.capacity();
            if stage.trial.is_some()
                || stage.bad.is_some()
                || stage.service <= 0.0
                || on_gpu
                || capacity >= ROOM * coming
            {
                continue;
            }
            let size = stage.size;
            let wanted = (ROOM * coming / capacity * size).ceil();
            let limit = self.scaling.step_limit(size).floor();
            let stage = self.stage(knob);
            let to = wanted.min(limit).min(cap).floor();
            if to <= stage.size {
                continue;
            }
            let because = format!("{coming:.0} documents/s are coming, {capacity:.0} is what it can do");
            let confidence = distribution((ROOM * coming / capacity).ln() / stage.capacity_error());
            stage.resize(to, turn.now);
            if wanted > limit && limit < cap {
                self.blocked.tell(turn, knob, wanted as u64, because.clone(), Block::StepLimit);
            }
            turn.set(knob, to as u64, Reason::Prescale, because, Some(confidence));
        }
    }

    /// Gives back workers that have had nothing to do.
    pub(super) fn shrink_all(&mut self, turn: &mut Turn) {
        let began = self.began.unwrap_or(turn.now);
        if turn.now - began < WARM || !self.is_evaluation {
            return;
        }
        let throughput = turn.sample.requests.documents_per_second / self.kept;
        let ceilings = self.scaling.ceilings;
        let is_roomy = self.cpu.smoothed < ceilings.cpu_shrink_below
            && turn.sample.memory.is_none_or(|memory| memory < ceilings.memory_shrink_below);
        let idle = IDLE_SECONDS.max(self.scaling.cooldown.as_secs_f64());
        let is_steady = self.watch.is_steady() && !self.is_on_trial();
        for knob in [Knob::Readers, Knob::Transformers] {
            let least = self.scaling.bounds.least.get(knob) as f64;
            if self.is_fixed(knob) || !is_roomy {
                continue;
            }
            let stage = self.stage(knob);
            let Some(idle_since) = stage.idle_since else { continue };
            let seconds = turn.now - idle_since.max(stage.changed);
            if stage.trial.is_some() || seconds < idle {
                continue;
            }
            let needed = (2.0 * throughput * stage.service).ceil();
            let to = needed.max((stage.size * SHRINK).floor()).max(stage.floor).max(least);
            if to >= stage.size {
                self.blocked.clear(knob, Reason::Shrink);
                continue;
            }
            let because = format!("{:.2} busy now, and little to do for {seconds:.0} s", stage.busy_smoothed);
            if !is_steady {
                self.blocked.tell(turn, knob, to as u64, because, Block::Unsteady);
                continue;
            }
            self.blocked.clear(knob, Reason::Shrink);
            let stage = self.stage(knob);
            let confidence = stage.is_enough(to);
            turn.set(knob, to as u64, Reason::Shrink, because, Some(confidence));
            (stage.bad, stage.again) = (None, None);
            stage.settled = false;
            stage.resize(to, turn.now);
            self.gpu.keep_cut(knob, to);
        }
    }
}
