//! The tuner: samples in, decisions out. Pure rules: no clock, no I/O, no tasks, so that a simulator can drive the very code of a real run.
//!
//! ```text
//!  Sample --> measure   stage.rs   what each pool does, and could do
//!               |       gates.rs   where memory, GPU memory and CPU lead
//!             brake     brake.rs   too many failures: fewer requests; ceilings: fewer workers, fewer bytes
//!               |
//!             judge     trial.rs   does a move on trial pay?   normal.rs  how sure is that
//!               |
//!             propose   search.rs  the next move of the pool that bounds the others;  usl.rs  where its knee may lie
//!               |                  pools sized for what is coming; pools that have nothing to do; batches
//!             change.rs has the world changed? then everything is tried again
//!               v
//!           Decisions
//! ```
//!
//! Every pool is searched by itself, all at once, because a pool's own throughput *while it is saturated* says what another worker is worth there, whatever the
//! other pools do. A pool is only tried while it is near to being the bottleneck. Doubling comes first; what was seen not to pay is closed in on; when nothing
//! is left to try, a little more is tried now and then.

mod batch;
mod blocked;
mod brake;
mod change;
mod consensus;
mod gates;
mod gpu;
mod guard;
mod moves;
mod normal;
mod search;
mod stage;
mod trial;
mod usl;

use crate::model::decision::{Decision, Effect, Reason};
use crate::model::knobs::{Knob, Knobs};
use crate::model::sample::{PoolUse, Sample};
use crate::model::scaling::Scaling;
use batch::Batches;
use blocked::Blocked;
use brake::Brake;
use change::Watch;
use consensus::Record;
use gates::{Cpu, Gauge};
use gpu::Gpu;
pub use guard::Guard;
use stage::{Stage, WEIGHT};

/// Nothing that is measured is certain: the tests take times to be normal, and far out they are not.
const SUREST: f64 = 0.999_9;

/// A ceiling of the CPU may be passed by this much before anything is cut: 1.5 points are within the noise of one window.
const CPU_MARGIN: f64 = 0.015;

/// What a cut of credits leaves: enough to be felt in one window, and three of them make a third.
const CREDIT_CUT: f64 = 0.7;

/// Memory is cut when it will come nearer to its ceiling than this, and to what stays this far below it.
const CUT_MARGIN: f64 = 0.025;
const GROW_MARGIN: f64 = 0.045;

/// Seconds that the trend of memory's base is followed into the future: batches that are under way must be finished before a cut is felt.
const AHEAD: f64 = 12.0;

/// Seconds until a cut is felt.
const CUT_PAUSE: f64 = 4.0;

/// What must be cut to less than this does not wait for that: a first cut may have been too small.
const DEEP_CUT: f64 = 0.85;

/// Readers that wait for credits for more than this share of the time: with more of them, requests could be fuller.
const STARVED: f64 = 0.5;

/// The tuner's memory.
#[derive(Debug)]
pub struct Tuner {
    scaling: Scaling,
    readers: Stage,
    transformers: Stage,
    requests: Stage,
    credits: Stage,
    cpu: Cpu,
    memory: Gauge,
    gpu: Gpu,
    batches: Batches,
    brake: Brake,
    watch: Watch,
    blocked: Blocked,
    record: Record,
    /// Documents per second, smoothed.
    throughput: f64,
    /// Share of the documents that steps do not drop.
    kept: f64,
    /// The evaluation that was last: shrinks and re-probes come once in each.
    evaluation: u64,
    /// A report is due, and with it what may wait.
    is_evaluation: bool,
    /// The limit of moves in one direction was met at the last evaluation.
    has_paused: bool,
    /// Share of the time that lanes wait for the target's leave, and readers for credits.
    gated: f64,
    short: f64,
    /// When the target last threw back enough to say that a budget was met.
    met_at: f64,
    /// When bytes were cut last, and the credits that a ceiling took: as many as the run began with, at most.
    cut_at: f64,
    uncut: Option<u64>,
    began: Option<f64>,
    first_credits: u64,
}

impl Tuner {
    /// A tuner that behaves as `scaling` says.
    pub fn new(scaling: Scaling) -> Self {
        Self {
            scaling,
            readers: Stage::new(Knob::Readers),
            transformers: Stage::new(Knob::Transformers),
            requests: Stage::new(Knob::RequestsInFlight),
            credits: Stage::new(Knob::CreditBytes),
            cpu: Cpu::default(),
            memory: Gauge::default(),
            gpu: Gpu::default(),
            batches: Batches::default(),
            brake: Brake::default(),
            watch: Watch::default(),
            blocked: Blocked::default(),
            record: Record::default(),
            throughput: 0.0,
            kept: 1.0,
            evaluation: 0,
            is_evaluation: false,
            has_paused: false,
            gated: 0.0,
            met_at: f64::NEG_INFINITY,
            short: 0.0,
            cut_at: f64::NEG_INFINITY,
            uncut: None,
            began: None,
            first_credits: 0,
        }
    }

    /// What to do after this window. A decision that turns a knob changes its value. None passes the upper bound; a cut may pass the lower one,
    /// because a ceiling beats a minimum.
    pub fn decide(&mut self, sample: &Sample, knobs: &Knobs) -> Vec<Decision> {
        if !is_sound(sample) {
            return Vec::new();
        }
        let mut turn = Turn { now: sample.at.as_secs_f64(), sample, knobs: *knobs, decisions: Vec::new() };
        self.first_credits = if self.began.is_none() { knobs.credit_bytes } else { self.first_credits };
        self.measure(&turn);
        self.brake(&mut turn);
        self.judge_all(&mut turn);
        self.propose_all(&mut turn);
        self.propose_fewer(&mut turn);
        self.shrink_all(&mut turn);
        self.follow_pools(&mut turn, knobs);
        self.size_batches(&mut turn);
        self.notice_change(&turn);
        turn.decisions
    }

    fn measure(&mut self, turn: &Turn) {
        let Turn { now, sample, knobs, .. } = turn;
        self.began.get_or_insert(*now);
        let window = sample.window.as_secs_f64();
        self.readers.measure(&sample.readers, knobs.readers as u64, *now, window);
        self.transformers.measure(&sample.transformers, knobs.transformers as u64, *now, window);
        // Requests are no bottleneck while lanes wait for the target's leave: it cuts requests as it pleases, and their number says nothing. Nor while they are
        // half empty for want of credits, as far as more of those were not tried in vain.
        let is_gated = sample.lanes_gated > search::UNITS;
        let are_half_empty = self.requests.are_half_empty(&sample.requests.work);
        self.met_at = if sample.throttled > search::BUDGET_MET { *now } else { self.met_at };
        let is_short = sample.credits_short > STARVED && self.credits.bad.is_none();
        let is_starved = are_half_empty && is_short && !self.is_budget_met(*now);
        let busy = sample.requests.busy;
        let busy = if is_gated || is_starved { busy.min(self.requests.saturation() - 0.01) } else { busy };
        let requests = PoolUse { busy, ..sample.requests };
        self.requests.measure(&requests, knobs.requests_in_flight as u64, *now, window);
        // Credits are saturated when readers wait for them and nothing else is.
        let pools = [&self.readers, &self.transformers, &self.requests];
        let is_elsewhere = pools.iter().any(|pool| pool.is_saturated());
        let short = if is_elsewhere { 0.0 } else { sample.credits_short };
        let credits = PoolUse { busy: short, ..sample.requests };
        self.credits.measure(&credits, knobs.credit_bytes, *now, window);
        let (sent, settled) = (sample.requests.documents_per_second, sample.documents_per_second);
        if sent > 0.0 && settled > 0.0 {
            self.kept += WEIGHT * ((sent / settled).min(1.0) - self.kept);
        }
        self.gated += WEIGHT * (sample.lanes_gated - self.gated);
        self.short += WEIGHT * (short - self.short);
        self.throughput += self.scaling.smoothing * (sample.documents_per_second - self.throughput);
        let evaluation = (now / self.scaling.check_interval.as_secs_f64().max(1.0)) as u64;
        self.is_evaluation = evaluation != self.evaluation;
        self.evaluation = evaluation;
        if self.is_evaluation && self.unproved() >= self.scaling.direction_limit {
            // One evaluation has passed without a move up.
            self.has_paused = !self.has_paused;
            if !self.has_paused {
                let stages = [&mut self.readers, &mut self.transformers, &mut self.requests];
                stages.into_iter().for_each(|stage| stage.unproved = 0);
            }
        }
        self.cpu.add(sample, self.scaling.smoothing);
        if let Some(memory) = sample.memory {
            self.memory.add(
                *now,
                [sample.credit_bytes_used as f64, sample.transforming_documents as f64],
                memory,
            );
        }
        self.measure_gpu(sample);
        self.batches.measure(sample, knobs);
    }

    /// Cuts what is above a ceiling, or will be.
    fn brake(&mut self, turn: &mut Turn) {
        let ceilings = self.scaling.ceilings;
        let now = turn.now;
        if self.cpu.smoothed > ceilings.cpu + CPU_MARGIN && now - self.transformers.changed > 2.0 {
            let because = format!(
                "{} of the CPU in use, {} allowed",
                percent(self.cpu.smoothed),
                percent(ceilings.cpu)
            );
            let share = (ceilings.cpu + 0.01) / self.cpu.smoothed;
            let pool = [Knob::Transformers, Knob::Readers]
                .into_iter()
                .find(|knob| turn.knobs.get(*knob) > 1 && !self.is_fixed(*knob));
            if let Some(knob) = pool {
                let from = turn.knobs.get(knob);
                let to = ((from as f64 * share).floor() as u64).clamp(1, from - 1);
                turn.set(knob, to, Reason::CpuCeiling, because, None);
                self.cpu.smoothed = ceilings.cpu;
                self.abort(knob, now);
                self.gpu.keep_cut(knob, to as f64);
            }
        }
        self.brake_memory(turn);
        self.brake_gpu(turn);
        self.brake_errors(turn);
    }

    /// What memory is asked to hold when credits and batches are as large as the knobs allow.
    fn full(&self, knobs: &Knobs) -> [f64; 2] {
        [knobs.credit_bytes as f64, knobs.transformers as f64 * self.batches.documents()]
    }

    /// Cuts credits and batches so that what is under way will fit, before it does not.
    fn brake_memory(&mut self, turn: &mut Turn) {
        let ceilings = self.scaling.ceilings;
        let wanted = self.memory.fits(self.full(&turn.knobs), ceilings.memory - GROW_MARGIN, AHEAD);
        let is_settled = turn.now - self.cut_at > CUT_PAUSE || wanted < DEEP_CUT;
        let will_be_full = self.memory.with(self.full(&turn.knobs), AHEAD) > ceilings.memory - CUT_MARGIN;
        let is_full = turn.sample.memory.is_some_and(|memory| memory > ceilings.memory - CUT_MARGIN / 2.0);
        if (will_be_full || is_full) && is_settled {
            let share = if is_full { wanted.min(CREDIT_CUT) } else { wanted }.clamp(0.3, 0.95);
            let because = format!(
                "{} of the memory in use, {} in sight, {} allowed",
                percent(turn.sample.memory.unwrap_or(0.0)),
                percent(self.memory.with(self.full(&turn.knobs), AHEAD)),
                percent(ceilings.memory)
            );
            self.cut_bytes(turn, share, Reason::MemoryCeiling, &because);
        } else {
            self.give_back(turn);
        }
    }

    fn cut_bytes(&mut self, turn: &mut Turn, share: f64, reason: Reason, because: &str) {
        let credits = turn.knobs.credit_bytes;
        let least = self.scaling.bounds.least.credit_bytes.min(credits);
        let to = ((credits as f64 * share) as u64).max(least);
        if to < credits && !self.is_fixed(Knob::CreditBytes) {
            turn.set(Knob::CreditBytes, to, reason, because.to_owned(), None);
            self.uncut = Some(self.uncut.unwrap_or(0).max(credits.min(self.first_credits)));
            self.abort(Knob::CreditBytes, turn.now);
            self.cut_at = turn.now;
        }
    }

    /// What a ceiling took comes back by doubling, one step a cooldown, as far as memory allows. That is no trial: it was there before.
    fn give_back(&mut self, turn: &mut Turn) {
        let Some(uncut) = self.uncut else { return };
        let from = turn.knobs.credit_bytes;
        let is_due = turn.now - self.cut_at >= self.scaling.cooldown.as_secs_f64();
        let to = (from * 2).min(uncut).min(self.most_credits(turn) as u64);
        if from >= uncut {
            self.uncut = None;
        } else if is_due && to > from && self.credits.trial.is_none() {
            let because = format!("{} of the memory in use", percent(turn.sample.memory.unwrap_or(0.0)));
            turn.set(Knob::CreditBytes, to, Reason::MemoryFree, because, None);
            self.cut_at = turn.now;
            self.credits.resize(to as f64, turn.now);
        }
    }

    /// Request units of at least one partition were the limit a short while ago: more in memory or under way makes them no more, and where several clients share
    /// them only takes them from others.
    fn is_budget_met(&self, now: f64) -> bool {
        now - self.met_at < self.scaling.cooldown.as_secs_f64()
    }

    /// Something was cut a short while ago: batches and credits do not grow.
    fn is_after_cut(&self, now: f64) -> bool {
        now - self.cut_at < self.scaling.cooldown.as_secs_f64()
    }

    fn brake_errors(&mut self, turn: &mut Turn) {
        if self.is_fixed(Knob::RequestsInFlight) {
            return;
        }
        let cut =
            self.brake.decide(turn.sample, &turn.knobs, self.scaling.ceilings.errors, self.scaling.cooldown);
        if let Some(decision) = cut {
            self.abort(Knob::RequestsInFlight, turn.now);
            turn.push(decision);
        }
    }

    /// The trial of a knob that was cut ends, and the knob rests.
    fn abort(&mut self, knob: Knob, now: f64) {
        let cooldown = self.scaling.cooldown.as_secs_f64();
        let stage = self.stage(knob);
        stage.trial = None;
        stage.drop_again();
        stage.restart(now);
        stage.next_try = now + cooldown;
        for knob in [Knob::Readers, Knob::Transformers] {
            self.stage(knob).restart(now);
        }
    }

    fn stage(&mut self, knob: Knob) -> &mut Stage {
        match knob {
            Knob::Readers => &mut self.readers,
            Knob::Transformers => &mut self.transformers,
            Knob::RequestsInFlight => &mut self.requests,
            _ => &mut self.credits,
        }
    }

    /// A person has set this knob, or there is no auto-scaling.
    fn is_fixed(&self, knob: Knob) -> bool {
        self.scaling.bounds.least.get(knob) == self.scaling.bounds.most.get(knob)
    }

    fn notice_change(&mut self, turn: &Turn) {
        let stages = [&self.readers, &self.transformers, &self.requests, &self.credits];
        let changed = self.watch.has_changed(turn.sample.requests.documents_per_second);
        let is_quiet = stages.iter().all(|stage| stage.trial.is_none() && turn.now - stage.changed > 10.0);
        if changed && is_quiet {
            self.watch.restart();
            for knob in [Knob::Readers, Knob::Transformers, Knob::RequestsInFlight, Knob::CreditBytes] {
                self.stage(knob).forget(turn.now);
            }
            self.batches.forget();
        }
    }
}

/// A window that measures nothing, or nonsense, is no ground for anything.
fn is_sound(sample: &Sample) -> bool {
    let figures = [&sample.readers, &sample.transformers, &sample.requests]
        .into_iter()
        .flat_map(|pool| [pool.busy, pool.documents_per_second, pool.work.seconds, pool.work.pieces])
        .chain([
            sample.documents_per_second,
            sample.cpu,
            sample.failed,
            sample.credits_short,
            sample.lanes_gated,
        ])
        .chain(sample.memory)
        .chain(sample.gpu_memory());
    !sample.window.is_zero() && figures.into_iter().all(|figure| figure.is_finite() && figure >= 0.0)
}

/// One call of the tuner: the knobs as they will be, and what was decided.
struct Turn<'a> {
    now: f64,
    sample: &'a Sample,
    knobs: Knobs,
    decisions: Vec<Decision>,
}

impl Turn<'_> {
    /// Turns a knob, unless it is there already.
    fn set(&mut self, knob: Knob, to: u64, reason: Reason, because: String, confidence: Option<f64>) -> bool {
        let from = self.knobs.get(knob);
        if from == to {
            return false;
        }
        self.push(Decision {
            knob,
            from,
            to,
            effect: Effect::Turned,
            reason,
            because,
            confidence,
            evidence: None,
        });
        true
    }

    fn push(&mut self, mut decision: Decision) {
        decision.confidence = decision.confidence.map(|sure| sure.min(SUREST));
        if decision.effect == Effect::Turned {
            self.knobs.set(decision.knob, decision.to);
        }
        self.decisions.push(decision);
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests;
