//! The error brake: fewer requests in flight while too many fail, if that helps.
//!
//! An overloaded target fails less when less is asked of it; a flaky network or a target that is being repaired fails as often whatever is asked.
//! So after a cut the failures are counted. Are they not clearly fewer, the cut is taken back and none is tried before the
//! cooldown has passed; are they, and still too many, it is cut again. When they have stopped the requests come back, step by step, as far
//! as they do not fail again: a blip of a second costs a few seconds and not a cooldown.
//!
//! What "too many" and "fewer" mean is a test of proportions, so that three failures of forty are no storm.

use crate::model::decision::{Decision, Effect, Reason};
use crate::model::knobs::{Knob, Knobs};
use crate::model::sample::Sample;
use crate::tuner::normal::distribution;
use crate::tuner::percent;
use std::time::Duration;

/// What a cut leaves of the requests in flight where some fail, and where many do.
const CUT: f64 = 0.7;
const DEEP_CUT: f64 = 0.5;

/// Many: five times what is allowed.
const MANY: f64 = 5.0;

/// How sure the brake is that more fail than may, before it cuts.
const SURE: f64 = 0.99;

/// A cut helped if it left less than this of the failures. Where they hang on nothing a cut leaves all of them.
const HELPED: f64 = 0.75;

/// Windows that are counted before a cut, and after one that has settled.
const COUNTED: usize = 3;

/// Windows after a move that still hold work from before it.
const SETTLE: usize = 1;

/// Windows without too many failures after which requests come back.
const QUIET: u32 = 2;

/// What comes back at once: half as many again.
const BACK: f64 = 1.5;

/// Windows with everything back after which the failures are forgotten.
const FORGOTTEN: u32 = 10;

/// Requests answered, and those of them that failed.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    answers: f64,
    failed: f64,
}

impl Count {
    fn of(windows: &[Count]) -> Self {
        windows.iter().fold(Self::default(), |sum, window| Self {
            answers: sum.answers + window.answers,
            failed: sum.failed + window.failed,
        })
    }

    fn share(self) -> f64 {
        if self.answers > 0.0 { self.failed / self.answers } else { 0.0 }
    }

    /// How sure it is that more fail than the share `most`: a test of one proportion, with correction for continuity.
    fn exceeds(self, most: f64) -> f64 {
        let expected = self.answers * most;
        let deviation = (expected * (1.0 - most)).sqrt().max(1e-9);
        if self.failed <= expected { 0.0 } else { distribution((self.failed - 0.5 - expected) / deviation) }
    }
}

/// The brake's memory.
#[derive(Debug, Default)]
pub(super) struct Brake {
    on: Option<On>,
    /// The last windows.
    recent: Vec<Count>,
    /// Cuts do not help before this.
    useless_until: Duration,
}

/// Requests have been cut.
#[derive(Debug)]
struct On {
    /// The requests in flight that may come back: those before the first cut, or fewer where that was seen to be too many.
    uncut: u64,
    /// Those before the last step back.
    good: Option<u64>,
    /// Failures before the last cut, and in the windows since.
    before: Count,
    since: Vec<Count>,
    quiet: u32,
}

impl Brake {
    /// Whether requests are cut that have not come back.
    pub(super) fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// What this window asks for; `most`: the share of requests that may fail.
    pub(super) fn decide(
        &mut self,
        sample: &Sample,
        knobs: &Knobs,
        most: f64,
        cooldown: Duration,
    ) -> Option<Decision> {
        let answers = sample.answers as f64;
        let window = Count { answers, failed: sample.failed * answers };
        self.recent.push(window);
        if self.recent.len() > COUNTED {
            self.recent.remove(0);
        }
        let (now, lately) = (window.exceeds(most), Count::of(&self.recent).exceeds(most));
        if now < SURE && (lately < SURE || window.share() <= most) {
            return self.release(sample, knobs, most);
        }
        let sure = now.max(lately);
        let failing =
            format!("{} of the requests failed, {} allowed", percent(window.share()), percent(most));
        let depth = if window.share() > MANY * most { DEEP_CUT } else { CUT };
        let from = knobs.get(Knob::RequestsInFlight);
        let mut on = match self.on.take() {
            Some(on) => on,
            None if sample.at < self.useless_until => return None,
            None => {
                let before = Count::of(&self.recent);
                let cut = cut(from, depth, failing, sure)?;
                self.on = Some(On { uncut: from, good: None, before, since: Vec::new(), quiet: 0 });
                return Some(cut);
            }
        };
        on.quiet = 0;
        if let Some(good) = on.good.take() {
            self.on = Some(On { uncut: good, before: window, since: Vec::new(), ..on });
            return moved(from, good.min(from), Reason::Errors, failing, sure);
        }
        on.since.push(window);
        if on.since.len() < SETTLE + COUNTED {
            self.on = Some(on);
            return None;
        }
        let since = Count::of(&on.since[SETTLE..]);
        if since.share() >= HELPED * on.before.share() {
            self.useless_until = sample.at + cooldown;
            let because = format!(
                "{} fail with fewer too, {} did before",
                percent(since.share()),
                percent(on.before.share())
            );
            return moved(from, on.uncut, Reason::Revert, because, sure);
        }
        self.on = Some(On { before: since, since: Vec::new(), ..on });
        cut(from, depth, failing, sure)
    }

    fn release(&mut self, sample: &Sample, knobs: &Knobs, most: f64) -> Option<Decision> {
        let on = self.on.as_mut()?;
        on.since.clear();
        on.quiet += 1;
        let from = knobs.get(Knob::RequestsInFlight);
        let to = ((from as f64 * BACK).ceil() as u64).min(on.uncut);
        if to <= from {
            if on.quiet >= FORGOTTEN {
                self.on = None;
            }
            return None;
        }
        if on.quiet < QUIET {
            return None;
        }
        (on.quiet, on.good) = (0, Some(from));
        let because = format!("{} of the requests fail, {} allowed", percent(sample.failed), percent(most));
        let sure = 1.0 - Count::of(&self.recent).exceeds(most);
        moved(from, to, Reason::ErrorsGone, because, sure)
    }
}

fn cut(from: u64, depth: f64, because: String, sure: f64) -> Option<Decision> {
    moved(from, ((from as f64 * depth) as u64).max(1), Reason::Errors, because, sure)
}

fn moved(from: u64, to: u64, reason: Reason, because: String, sure: f64) -> Option<Decision> {
    let (knob, effect, confidence) = (Knob::RequestsInFlight, Effect::Turned, Some(sure));
    (from != to).then_some(Decision { knob, from, to, effect, reason, because, confidence, evidence: None })
}
