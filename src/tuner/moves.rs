//! What happens to a pool: a trial begins, pays or does not, and what is said of it.

use super::Turn;
use super::consensus::Backers;
use super::normal::distribution;
use super::search::NEAR;
use super::stage::{Again, BASE_SECONDS, Stage, Trial};
use super::trial::LEAST_VARIANCE;
use crate::model::decision::{Decision, Effect, Evidence, Reason};
use crate::model::knobs::Knob;

/// How busy a pool must be, now and lately, to be tried.
const BUSY: f64 = 0.85;
pub(super) const BUSY_LATELY: f64 = 0.7;

impl Stage {
    /// Begins a trial. `least` is the logarithm of what it must yield.
    pub(super) fn begin(
        &mut self,
        turn: &mut Turn,
        to: f64,
        least: f64,
        because: String,
        confidence: Option<f64>,
    ) {
        self.trial = Some(Trial {
            began: turn.now,
            from: self.size,
            before: self.saturated,
            least,
            idle: 0,
            looks: 0,
            by: Backers::default(),
            is_second: self.again.take().is_some_and(|again| again.size == to),
            most: self.looks(),
        });
        turn.set(self.knob, to as u64, Reason::Probe, because, confidence);
        self.resize(to, turn.now);
    }

    /// The trial has shown that the move pays.
    pub(super) fn accept(&mut self, turn: &mut Turn, confidence: f64, evidence: Evidence) {
        self.floor = self.size;
        self.unproved = 0;
        self.points.add(self.size, evidence.after);
        self.next_try = turn.now;
        let because = if self.trial.is_some_and(|trial| trial.from > self.size) {
            "as fast with fewer".to_owned()
        } else {
            self.words()
        };
        self.keep(turn, Reason::Accepted, because, Some(confidence), Some(evidence));
    }

    /// The trial has shown that it does not, or there was no time to show anything.
    pub(super) fn reject(
        &mut self,
        turn: &mut Turn,
        confidence: Option<f64>,
        least: f64,
        evidence: Evidence,
    ) {
        let is_more = self.trial.is_some_and(|trial| trial.from < self.size);
        let is_first = self.trial.is_some_and(|trial| !trial.is_second) && self.knob != Knob::CreditBytes;
        if is_more && is_first && confidence.is_none() && evidence.z > 0.0 {
            self.again = Some(Again { size: self.size, until: turn.now + BASE_SECONDS });
        } else if is_more {
            self.bad = Some(self.size);
        }
        self.points.add(self.size, evidence.after);
        let gain = evidence.after / evidence.before - 1.0;
        let unproved = if confidence.is_none() { ", and no more time to be sure" } else { "" };
        let wanted = least.exp() - 1.0;
        let because = format!("throughput {:+.0} %, {:+.0} % wanted{unproved}", gain * 100.0, wanted * 100.0);
        self.revert(turn, because, confidence, Some(evidence));
    }

    pub(super) fn keep(
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

    pub(super) fn revert(
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

    /// It is near to being the bottleneck, has been busy, and was measured so.
    pub(super) fn is_bottleneck(&self, slowest: f64) -> bool {
        self.trial.is_none()
            && self.service > 0.0
            && self.capacity() <= NEAR * slowest
            && self.busy > BUSY
            && self.busy_smoothed > BUSY_LATELY
            && self.saturated.seconds() >= 0.9
    }

    /// Which part of the way is the bottleneck, in words.
    pub(super) fn words(&self) -> String {
        let what = match self.knob {
            Knob::Readers => "the source is the bottleneck",
            Knob::Transformers => "the steps are the bottleneck",
            Knob::RequestsInFlight => "the target is the bottleneck",
            _ => "readers wait for credits",
        };
        format!("{what} ({:.2} busy)", self.busy.min(1.0))
    }

    /// The probability that so many workers are enough in a window, as busy workers have varied from one to the next.
    pub(super) fn is_enough(&self, to: f64) -> f64 {
        let deviation = self.busy_variance.sqrt().max(0.01) * self.size;
        distribution((to - self.busy_smoothed * self.size) / deviation)
    }

    /// Standard error of the logarithm of what the pool could do.
    pub(super) fn capacity_error(&self) -> f64 {
        (self.variance().max(LEAST_VARIANCE) / self.size.max(1.0)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{knobs, pool, run, scaling, target, turned};
    use crate::model::decision::{Decision, Reason};
    use crate::model::knobs::{Knob, Knobs};
    use crate::model::sample::Sample;
    use crate::model::scaling::Scaling;

    /// A target of which requests get `of` so much a second; readers and steps have little to do.
    fn yields(knobs: &Knobs, of: impl Fn(f64) -> f64) -> Sample {
        let documents_per_second = of(knobs.requests_in_flight as f64);
        let requests = pool(1.0, knobs.requests_in_flight, documents_per_second);
        Sample { documents_per_second, requests, ..target(knobs, 1) }
    }

    fn tried(all: &[(u64, Decision)]) -> Vec<(u64, u64, Reason)> {
        let requests = turned(all).into_iter().filter(|turn| turn.1 == Knob::RequestsInFlight);
        requests.map(|turn| (turn.2, turn.3, turn.4)).collect()
    }

    /// The window before the first trial shows more than there is, so that the trial is not sure that the move pays, which it does.
    #[test]
    fn a_size_that_seemed_to_pay_is_tried_once_more_against_a_longer_base() {
        let (knobs, all) = run(scaling(), knobs(), 40, |second, knobs| {
            let lucky = if second < 3 { 1.22 } else { 1.0 };
            yields(knobs, |size| lucky * 100.0 * size.min(8.0).powf(0.4))
        });
        let tried = tried(&all);
        assert_eq!(tried[..3], [(4, 8, Reason::Probe), (8, 4, Reason::Revert), (4, 8, Reason::Probe)]);
        assert_eq!(knobs.requests_in_flight, 8, "{tried:?}");
        let reverted = all.iter().find(|(_, decision)| decision.reason == Reason::Revert).unwrap();
        assert!(reverted.1.confidence.is_none() && reverted.1.because.contains("no more time to be sure"));
    }

    #[test]
    fn a_size_that_only_seemed_to_pay_is_tried_twice_and_then_a_smaller_one() {
        let (knobs, all) = run(scaling(), knobs(), 60, |second, knobs| {
            let unlucky = if second < 3 { 0.92 } else { 1.0 };
            yields(knobs, |_| unlucky * 100.0)
        });
        let tried = tried(&all);
        let to_eight = tried.iter().filter(|tried| tried.1 == 8).count();
        assert_eq!((to_eight, knobs.requests_in_flight), (2, 4), "{tried:?}");
        assert!(tried.contains(&(4, 6, Reason::Probe)), "{tried:?}");
    }

    /// The whole procedure: base, looks, second trial. Each run is asked whether the first size that it tried was kept.
    #[test]
    fn where_nothing_changes_no_more_moves_are_kept_than_the_confidence_allows() {
        for (confidence, seed) in [(0.75, 1), (0.85, 2), (0.95, 3)] {
            let mut chance = fastrand::Rng::with_seed(seed);
            let kept = (0..10_000).filter(|_| {
                let scaling = Scaling { confidence, worth: 0.0, ..scaling() };
                let (_, all) = run(scaling, knobs(), 25, |_, knobs| {
                    // The pieces of a window vary by a tenth, and there are as many as the pool says.
                    let pieces = knobs.requests_in_flight as f64 * 10.0 + 1.0;
                    let normal = (0..12).map(|_| chance.f64()).sum::<f64>() - 6.0;
                    yields(knobs, |_| 100.0 * (1.0 + 0.1 / pieces.sqrt() * normal))
                });
                all.iter().any(|(_, decision)| (decision.reason, decision.from) == (Reason::Accepted, 4))
            });
            let share = kept.count() as f64 / 10_000.0;
            assert!(share <= 1.0 - confidence, "{share} at {confidence}");
            assert!(share > (1.0 - confidence) / 8.0, "{share} at {confidence}: nothing would ever be found");
        }
    }

    /// More requests are slower, which does not show while there is too little to send.
    #[test]
    fn a_trial_whose_pool_had_nothing_to_do_for_a_while_goes_on() {
        let (knobs, all) = run(scaling(), knobs(), 30, |second, knobs| {
            let sample = yields(knobs, |size| 400.0 * 4.0 / size.max(4.0));
            let requests = pool(0.3, knobs.requests_in_flight, 100.0);
            if (3..15).contains(&second) { Sample { requests, ..sample } } else { sample }
        });
        // The pool may have been measured already when it falls idle.
        let (_, later) = run(scaling(), super::super::tests::knobs(), 30, |second, knobs| {
            let sample = yields(knobs, |size| 400.0 * 1.08_f64.powf((size / 4.0).log2()));
            let requests = pool(0.3, knobs.requests_in_flight, 100.0);
            if second >= 4 { Sample { requests, ..sample } } else { sample }
        });
        let last = later.iter().rfind(|(_, decision)| decision.knob == Knob::RequestsInFlight).unwrap();
        assert_eq!(last.1.reason, Reason::Moved, "{later:?}");
        let of = |reason| all.iter().position(|(_, decision)| decision.reason == reason);
        assert!(of(Reason::Moved) < of(Reason::Revert), "{all:?}");
        assert_eq!(knobs.requests_in_flight, 4, "{all:?}");
    }
}
