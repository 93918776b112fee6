//! The tuner: samples in, decisions out. Pure rules: no clock, no I/O, no tasks, so that a simulator can drive it.
//!
//! This first tuner has two rules.
//!
//! **Cut at a ceiling.** Above the CPU ceiling (by more than [`MARGIN`]) the pool that burns it is cut in proportion; above the memory ceiling
//! the credits are; above the error ceiling the requests in flight ([`brake`]). A ceiling beats everything else, minimums included. Credits that were cut
//! come back step by step, one a cooldown, while memory is below the level up to which anything may grow.
//!
//! **Grow what is saturated while throughput grows.** The most saturated pool is doubled if the machine has room. Two windows later
//! throughput has risen by a share of what was hoped for, and the move stays; or it has not, and it is taken back and not
//! tried again before the cooldown has passed. One move is on trial at a time, so that its effect is its own.

mod brake;

use crate::model::decision::{Decision, Effect, Reason};
use crate::model::knobs::{Bounds, Ceilings, Knob, Knobs};
use crate::model::sample::{PoolUse, Sample};
use crate::tuner::brake::Brake;
use std::time::Duration;

/// A pool whose workers are busy for at least this share of the time is saturated.
const SATURATED: f64 = 0.85;

/// A ceiling may be passed by this much before anything is cut: 1.5 points are within the noise of one window.
const MARGIN: f64 = 0.015;

/// Throughput must rise by this much of what the pool has grown (half as many documents again for a doubling would be 0.5). A tenth
/// is what a pool must yield to be worth its memory; noise of one window is of the same size.
const WORTH: f64 = 0.10;

/// Windows after a move that still hold work from before it.
const SETTLE: u32 = 1;

/// Windows that are measured after that.
const MEASURE: u32 = 2;

/// What a cut leaves of the credits or of the requests in flight: enough to be felt in one window, and three of them halve it.
const CUT: f64 = 0.7;

/// Credits are never cut below this: one large document must pass.
const LEAST_CREDITS: u64 = 4 << 20;

/// The tuner's memory.
#[derive(Debug)]
pub struct Tuner {
    bounds: Bounds,
    ceilings: Ceilings,
    cooldown: Duration,
    trial: Option<Trial>,
    /// The credits before the first cut that is not taken back yet.
    uncut_credits: Option<u64>,
    brake: Brake,
    /// For each knob the time before which it is not tried again.
    rested: Vec<(Knob, Duration)>,
    /// Throughput of the last windows, for the base of a trial.
    recent: Vec<f64>,
}

/// A move whose worth is being measured.
#[derive(Debug)]
struct Trial {
    knob: Knob,
    from: u64,
    to: u64,
    /// Documents per second before it.
    base: f64,
    /// Throughput of the windows since.
    windows: Vec<f64>,
}

impl Tuner {
    /// A tuner that keeps to `bounds` and `ceilings`, and tries a rejected move again after `cooldown`.
    pub fn new(bounds: Bounds, ceilings: Ceilings, cooldown: Duration) -> Self {
        Self {
            bounds,
            ceilings,
            cooldown,
            trial: None,
            uncut_credits: None,
            brake: Brake::default(),
            rested: Vec::new(),
            recent: Vec::new(),
        }
    }

    /// What to turn after this window. Every decision changes a value. None passes the upper bound; a cut may pass the
    /// lower one, because a ceiling beats a minimum.
    pub fn decide(&mut self, sample: &Sample, knobs: &Knobs) -> Vec<Decision> {
        self.recent.push(sample.documents_per_second);
        if self.recent.len() > MEASURE as usize {
            self.recent.remove(0);
        }
        let mut cuts = self.cut(sample, knobs);
        if !self.is_fixed(Knob::RequestsInFlight) {
            cuts.extend(self.brake.decide(sample, knobs, self.ceilings.errors, self.cooldown));
        }
        if !cuts.is_empty() {
            // What is cut cannot be judged; whatever was on trial rests.
            if let Some(trial) = self.trial.take() {
                self.rest(trial.knob, sample.at);
            }
            for cut in &cuts {
                self.rest(cut.knob, sample.at);
                if cut.knob == Knob::CreditBytes {
                    self.uncut_credits.get_or_insert(cut.from);
                }
            }
            return cuts;
        }
        match self.trial.take() {
            Some(trial) => self.judge(trial, sample, knobs).into_iter().collect(),
            None => self.restore(sample, knobs).or_else(|| self.grow(sample, knobs)).into_iter().collect(),
        }
    }

    /// A person has set this knob, or there is no auto-scaling.
    fn is_fixed(&self, knob: Knob) -> bool {
        self.bounds.least.get(knob) == self.bounds.most.get(knob)
    }

    /// Takes a cut of the credits back, by half as much again a time. That is no trial: they are what a person has granted.
    fn restore(&mut self, sample: &Sample, knobs: &Knobs) -> Option<Decision> {
        let knob = Knob::CreditBytes;
        let from = knobs.get(knob);
        let uncut = self.uncut_credits?;
        let to = (from + from / 2).min(uncut);
        if to <= from {
            self.uncut_credits = None;
            return None;
        }
        if sample.memory.unwrap_or(0.0) > self.ceilings.memory_grow_below || self.is_resting(knob, sample.at)
        {
            return None;
        }
        self.rest(knob, sample.at);
        let evidence = format!(
            "{} of the memory in use, {} allowed",
            percent(sample.memory.unwrap_or(0.0)),
            percent(self.ceilings.memory)
        );
        Some(Decision {
            knob,
            from,
            to,
            reason: Reason::MemoryFree,
            because: evidence,
            effect: Effect::Turned,
            confidence: None,
            evidence: None,
        })
    }

    fn cut(&self, sample: &Sample, knobs: &Knobs) -> Vec<Decision> {
        let mut cuts = Vec::new();
        let mut cut = |knob: Knob, least: u64, share: f64, reason: Reason, evidence: String| {
            let from = knobs.get(knob);
            let to = ((from as f64 * share) as u64).max(least.min(from));
            if to < from && !self.is_fixed(knob) {
                cuts.push(Decision {
                    knob,
                    from,
                    to,
                    reason,
                    because: evidence,
                    effect: Effect::Turned,
                    confidence: None,
                    evidence: None,
                });
            }
        };
        if sample.cpu > self.ceilings.cpu + MARGIN {
            let evidence =
                format!("{} of the CPU in use, {} wanted", percent(sample.cpu), percent(self.ceilings.cpu));
            let share = self.ceilings.cpu / sample.cpu;
            // Steps burn more than reading does; of a pool that is fixed or has one worker nothing can be had.
            let can_give = |knob: &Knob| knobs.get(*knob) > 1 && !self.is_fixed(*knob);
            let pool = [Knob::Transformers, Knob::Readers].into_iter().find(can_give);
            if let Some(pool) = pool {
                cut(pool, 1, share, Reason::CpuCeiling, evidence);
            }
        }
        if sample.memory.unwrap_or(0.0) > self.ceilings.memory + MARGIN {
            let evidence = format!(
                "{} of the memory in use, {} wanted",
                percent(sample.memory.unwrap_or(0.0)),
                percent(self.ceilings.memory)
            );
            cut(Knob::CreditBytes, LEAST_CREDITS, CUT, Reason::MemoryCeiling, evidence);
        }
        cuts
    }

    fn judge(&mut self, mut trial: Trial, sample: &Sample, knobs: &Knobs) -> Option<Decision> {
        trial.windows.push(sample.documents_per_second);
        if trial.windows.len() < (SETTLE + MEASURE) as usize {
            self.trial = Some(trial);
            return None;
        }
        let measured = mean(&trial.windows[SETTLE as usize..]);
        let grown = trial.to as f64 / trial.from as f64 - 1.0;
        let gain = if trial.base > 0.0 { measured / trial.base - 1.0 } else { f64::INFINITY };
        if gain >= WORTH * grown || knobs.get(trial.knob) != trial.to {
            return None;
        }
        self.rest(trial.knob, sample.at);
        let evidence = format!("{:.0} documents/s, {:.0} before", measured, trial.base);
        let Trial { knob, from, to, .. } = trial;
        Some(Decision {
            knob,
            from: to,
            to: from,
            reason: Reason::Revert,
            because: evidence,
            effect: Effect::Turned,
            confidence: None,
            evidence: None,
        })
    }

    fn grow(&mut self, sample: &Sample, knobs: &Knobs) -> Option<Decision> {
        if sample.cpu > self.ceilings.cpu_grow_below
            || sample.memory.unwrap_or(0.0) > self.ceilings.memory_grow_below
        {
            return None;
        }
        let pools = [
            (Knob::RequestsInFlight, sample.requests, u64::MAX),
            (Knob::Transformers, sample.transformers, u64::MAX),
            (Knob::Readers, sample.readers, sample.unfinished_partitions as u64),
        ];
        let (knob, pool, from, to) = pools
            .into_iter()
            // Lanes that wait for the target's leave are not helped by more requests.
            .filter(|(knob, ..)| *knob != Knob::RequestsInFlight || sample.lanes_gated < 0.5)
            .filter(|(knob, ..)| *knob != Knob::RequestsInFlight || !self.brake.is_on())
            .filter(|(knob, ..)| !self.is_resting(*knob, sample.at))
            .filter(|(_, pool, _)| pool.busy >= SATURATED)
            .filter_map(|(knob, pool, most)| {
                let from = knobs.get(knob);
                let to = self.bounds.clamp(knob, (from * 2).min(most));
                (to > from).then_some((knob, pool, from, to))
            })
            .max_by(|a, b| a.1.busy.total_cmp(&b.1.busy))?;
        self.trial = Some(Trial { knob, from, to, base: mean(&self.recent), windows: Vec::new() });
        let PoolUse { busy, .. } = pool;
        let evidence =
            format!("busy {} of the time at {:.0} documents/s", percent(busy.min(1.0)), mean(&self.recent));
        Some(Decision {
            knob,
            from,
            to,
            reason: Reason::Probe,
            because: evidence,
            effect: Effect::Turned,
            confidence: None,
            evidence: None,
        })
    }

    fn is_resting(&self, knob: Knob, now: Duration) -> bool {
        self.rested.iter().any(|(rested, until)| *rested == knob && now < *until)
    }

    fn rest(&mut self, knob: Knob, now: Duration) {
        self.rested.retain(|(rested, _)| *rested != knob);
        self.rested.push((knob, now + self.cooldown));
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests;
