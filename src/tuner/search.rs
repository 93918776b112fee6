//! The search: which pool is tried next and how far, what a trial has shown, which pools have nothing to do.

use super::stage::{SATURATED, Stage, Trial};
use super::trial::{Verdict, compare, judge};
use super::{GPU_GROW_MARGIN, GROW_MARGIN, Tuner, Turn, percent, usl};
use crate::model::decision::{Decision, Effect, Evidence, Reason};
use crate::model::knobs::Knob;

/// A pool is near to being the bottleneck if it could do no more than this many times what the slowest could.
const NEAR: f64 = 1.35;

/// How busy a pool must be, now and lately, to be tried.
const BUSY: f64 = 0.85;
const BUSY_LATELY: f64 = 0.7;

/// Windows without saturation after which the bottleneck has moved.
const IDLE: u32 = 5;

/// A size closer than this to one that does not pay is the end of the search.
const CLOSE: f64 = 1.16;

/// Seconds before a settled pool is tried again, at least, and how they grow up to what.
const BACKOFF: f64 = 20.0;
const BACKOFF_GROWTH: f64 = 1.6;
const BACKOFF_MOST: f64 = 120.0;

/// What other pools are made large enough for, as a share of what is coming.
const ROOM: f64 = 1.25;

/// A pool that has been less busy than this for so many seconds is shrunk, by at most a quarter, to twice of what it needs.
const IDLE_BUSY: f64 = 0.35;
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
            let (wanted, worth) = (self.scaling.confidence, self.scaling.worth);
            let stage = self.stage(knob);
            let Some(trial) = stage.trial.as_mut() else { continue };
            if turn.knobs.get(knob) as f64 != stage.size {
                stage.trial = None;
                continue;
            }
            if stage.busy >= SATURATED {
                trial.idle = 0
            } else {
                trial.idle += 1
            }
            if stage.saturated.seconds() < 0.9 {
                if trial.idle >= IDLE {
                    stage.keep(turn, Reason::Moved, "it is not saturated any more".to_owned(), None, None);
                } else if stage.windows >= 2 * trial.most + 2 {
                    stage.revert(turn, "it could not be measured".to_owned(), None, None);
                }
                continue;
            }
            if stage.busy < SATURATED && trial.idle < IDLE {
                continue;
            }
            trial.looks += 1;
            let (from, before, looks, most) = (trial.from, trial.before, trial.looks, trial.most);
            let least = worth * (stage.size / from).ln();
            let evidence = compare(&before, &stage.saturated, stage.variance(), least);
            match judge(&evidence, most, looks >= most, wanted) {
                Verdict::Open => {}
                Verdict::Pays(confidence) => {
                    stage.floor = stage.size;
                    stage.points.push((stage.size, evidence.after));
                    stage.next_try = turn.now;
                    let because = stage.words();
                    stage.keep(turn, Reason::Accepted, because, Some(confidence), Some(evidence));
                }
                Verdict::Fails(confidence) => {
                    stage.bad = Some(stage.size);
                    stage.points.push((stage.size, evidence.after));
                    let gain = evidence.after / evidence.before - 1.0;
                    let because = format!(
                        "throughput {:+.0} %, {:+.0} % wanted",
                        gain * 100.0,
                        (least.exp() - 1.0) * 100.0
                    );
                    stage.revert(turn, because, Some(confidence), Some(evidence));
                }
            }
        }
    }

    /// Proposes moves up, for every pool that is near to being the bottleneck.
    pub(super) fn propose_all(&mut self, turn: &mut Turn) {
        let slowest = [&self.readers, &self.transformers, &self.requests]
            .into_iter()
            .filter(|stage| stage.service > 0.0)
            .map(Stage::capacity)
            .fold(f64::INFINITY, f64::min);
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

    /// Tries one pool, if it is time; returns what it may then do.
    fn propose(&mut self, turn: &mut Turn, knob: Knob, slowest: f64) -> Option<f64> {
        let is_unit_bound = self.is_unit_bound();
        let peak = self.peak_requests;
        let cap = self.most(turn, knob);
        let (search, settled, workers) =
            (self.scaling.search_step, self.scaling.settled_step, self.scaling.step_workers as f64);
        let cooldown = self.scaling.cooldown.as_secs_f64().min(BACKOFF);
        // Larger batches come first where a batch costs far more than its documents.
        let is_costly = knob != Knob::RequestsInFlight && self.batches.is_costly();
        if self.is_fixed(knob) || is_costly {
            return None;
        }
        let stage = self.stage(knob);
        if stage.trial.is_some() || stage.service <= 0.0 {
            return None;
        }
        if knob == Knob::RequestsInFlight && is_unit_bound && stage.busy * stage.size < BUSY * stage.size {
            let _ = peak;
            return None;
        }
        let is_near = stage.capacity() <= NEAR * slowest;
        let is_busy =
            stage.busy > BUSY && stage.busy_smoothed > BUSY_LATELY && stage.saturated.seconds() >= 0.9;
        if !is_near || !is_busy || turn.now < stage.next_try {
            return None;
        }
        let size = stage.size;
        let mut wanted = (size * if stage.settled { settled } else { search })
            .min((size * 1.0 + workers).max(size * search));
        if let Some(bad) = stage.bad {
            if bad / size < CLOSE || bad - size <= 1.0 {
                if !stage.settled {
                    (stage.settled, stage.backoff) = (true, cooldown);
                    stage.next_try = turn.now + stage.backoff;
                    return None;
                }
                stage.bad = None;
                wanted = (size * settled).max(size + 1.0);
                stage.backoff = (stage.backoff * BACKOFF_GROWTH).min(BACKOFF_MOST);
                stage.next_try = turn.now + stage.backoff;
            } else {
                wanted = (size * bad).sqrt();
            }
        }
        if let Some(knee) = usl::knee(&stage.points).filter(|knee| *knee > 1.05 * size && *knee < wanted) {
            wanted = knee.max(1.1 * size);
        }
        let to = wanted.round().max(size + 1.0).min(cap);
        if to <= size {
            return None;
        }
        if stage.points.is_empty() {
            stage.points.push((size, stage.saturated.throughput()));
        }
        let because = stage.words();
        let capacity = stage.capacity() * to / size;
        stage.begin(turn, to, because);
        Some(capacity)
    }

    /// The most that this pool may be now.
    fn most(&self, turn: &Turn, knob: Knob) -> f64 {
        let most = self.scaling.bounds.most.get(knob) as f64;
        match knob {
            Knob::Readers => most.min(turn.sample.unfinished_partitions as f64),
            Knob::Transformers => {
                let ceilings = &self.scaling.ceilings;
                let by_cpu = self.cpu.most_transformers(turn.knobs.transformers as f64, ceilings.cpu);
                let one = [self.batches.documents(), 0.0];
                let by_gpu = self.gpu.fits(one, ceilings.gpu_memory - GPU_GROW_MARGIN).floor();
                most.min(by_cpu).min(by_gpu)
            }
            _ => most,
        }
    }

    /// Readers wait for credits and nothing else is busy: more of them, as far as memory allows.
    fn propose_credits(&mut self, turn: &mut Turn) {
        let knob = Knob::CreditBytes;
        if self.is_fixed(knob) {
            return;
        }
        let most = self.most_credits(turn).min(self.scaling.bounds.most.credit_bytes as f64);
        let stage = &mut self.credits;
        let settled = stage.bad.is_some_and(|bad| bad / stage.size < 2.1);
        if stage.trial.is_some() || turn.now < stage.next_try || stage.saturated.seconds() < 0.9 || settled {
            return;
        }
        let to = (stage.size * 2.0).min(most).floor();
        if to < stage.size * 1.1 {
            return;
        }
        let because = format!("readers wait for credits {} of the time", percent(stage.busy_smoothed));
        stage.begin(turn, to, because);
    }

    /// The most credits that memory allows, as far as can be told.
    pub(super) fn most_credits(&self, turn: &Turn) -> f64 {
        let full = self.full(&turn.knobs);
        self.memory.fits(full, self.scaling.ceilings.memory - GROW_MARGIN) * full[0]
    }

    /// Makes the other pools large enough for what is coming.
    fn prescale(&mut self, turn: &mut Turn, coming: f64) {
        for knob in [Knob::Readers, Knob::Transformers] {
            if self.is_fixed(knob) {
                continue;
            }
            let cap = self.most(turn, knob);
            let search = self.scaling.search_step;
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
            let wanted = (ROOM * coming / capacity * stage.size).ceil();
            let to = wanted.min(stage.size * search).min(cap).floor();
            if to <= stage.size {
                continue;
            }
            let because = format!("{coming:.0} documents/s are coming, {capacity:.0} is what it can do");
            let confidence =
                super::normal::distribution((ROOM * coming / capacity).ln() / stage.capacity_error());
            turn.set(knob, to as u64, Reason::Prescale, because, Some(confidence));
            stage.resize(to, turn.now);
        }
    }

    /// Gives back workers that have had nothing to do.
    pub(super) fn shrink_all(&mut self, turn: &mut Turn) {
        let began = self.began.unwrap_or(turn.now);
        if turn.now - began < WARM {
            return;
        }
        let throughput = turn.sample.requests.documents_per_second;
        for knob in [Knob::Readers, Knob::Transformers] {
            let least = self.scaling.bounds.least.get(knob) as f64;
            if self.is_fixed(knob) {
                continue;
            }
            let stage = self.stage(knob);
            if stage.trial.is_some()
                || stage.busy_smoothed >= IDLE_BUSY
                || turn.now - stage.changed < IDLE_SECONDS
            {
                continue;
            }
            let needed = (2.0 * throughput * stage.service).ceil();
            let to = needed.max((stage.size * SHRINK).floor()).max(stage.floor).max(least).max(4.0);
            if to >= stage.size {
                continue;
            }
            let because =
                format!("{} busy for {:.0} s", percent(stage.busy_smoothed), turn.now - stage.changed);
            turn.set(knob, to as u64, Reason::Shrink, because, None);
            stage.bad = None;
            stage.settled = false;
            stage.resize(to, turn.now);
        }
    }
}

impl Stage {
    /// Begins a trial.
    pub(super) fn begin(&mut self, turn: &mut Turn, to: f64, because: String) {
        self.trial =
            Some(Trial { from: self.size, before: self.saturated, idle: 0, looks: 0, most: self.looks() });
        turn.set(self.knob, to as u64, Reason::Probe, because, None);
        self.resize(to, turn.now);
    }

    fn keep(
        &mut self,
        turn: &mut Turn,
        reason: Reason,
        because: String,
        confidence: Option<f64>,
        evidence: Option<Evidence>,
    ) {
        let Some(trial) = self.trial.take() else { return };
        let (from, to) = (trial.from as u64, self.size as u64);
        turn.push(Decision {
            knob: self.knob,
            from,
            to,
            effect: Effect::Kept,
            reason,
            because,
            confidence,
            evidence,
        });
    }

    fn revert(
        &mut self,
        turn: &mut Turn,
        because: String,
        confidence: Option<f64>,
        evidence: Option<Evidence>,
    ) {
        let Some(trial) = self.trial.take() else { return };
        let (from, to) = (self.size as u64, trial.from as u64);
        turn.push(Decision {
            knob: self.knob,
            from,
            to,
            effect: Effect::Turned,
            reason: Reason::Revert,
            because,
            confidence,
            evidence,
        });
        self.resize(trial.from, turn.now);
    }

    /// Which part of the way is the bottleneck, in words.
    fn words(&self) -> String {
        let what = match self.knob {
            Knob::Readers => "the source is the bottleneck",
            Knob::Transformers => "the steps are the bottleneck",
            Knob::RequestsInFlight => "the target is the bottleneck",
            _ => "readers wait for credits",
        };
        format!("{what} ({:.2} busy)", self.busy.min(1.0))
    }

    /// Standard error of the logarithm of what the pool could do.
    fn capacity_error(&self) -> f64 {
        (self.variance().max(0.0025) / self.size.max(1.0)).sqrt()
    }
}
