//! The error brake: fewer requests in flight while too many fail, if that helps.
//!
//! An overloaded target fails less when less is asked of it; a flaky network or a target that is being repaired fails as often whatever is asked.
//! So after a cut the failures are measured. Have they not become clearly fewer, the cut is taken back and none is tried before the
//! cooldown has passed; have they, and are still too many, it is cut again. When they have stopped the requests come back, step by step, as far
//! as they do not fail again: a blip of a second costs a few seconds and not a cooldown.

use crate::model::decision::{Decision, Effect, Reason};
use crate::model::knobs::{Knob, Knobs};
use crate::model::sample::Sample;
use crate::tuner::percent;
use std::collections::VecDeque;
use std::time::Duration;

/// What a cut leaves of the requests in flight: much, so that its effect stands out from the noise of a few failures a window.
const CUT: f64 = 0.5;

/// A cut helped if it left less than this of the failures. Where they hang on nothing a cut leaves all of them.
const HELPED: f64 = 0.6;

/// Windows before a cut, and after it, over which failures are averaged.
const MEASURED: usize = 3;

/// Windows without too many failures after which requests come back.
const QUIET: u32 = 2;

/// What comes back at once: half as many again.
const BACK: f64 = 1.5;

/// Windows after a move that still hold work from before it.
const SETTLE: u32 = 1;

/// Windows with everything back after which the failures are forgotten.
const FORGOTTEN: u32 = 10;

/// The brake's memory.
#[derive(Debug, Default)]
pub(super) struct Brake {
    on: Option<On>,
    /// Share of failures in the last windows, of those that are too many in a row.
    recent: VecDeque<f64>,
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
    /// Share of failures before the last cut.
    before: f64,
    /// And in the windows since.
    since: Vec<f64>,
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
        if sample.failed <= most {
            self.recent.clear();
            return self.release(sample, knobs, most);
        }
        self.recent.push_back(sample.failed);
        if self.recent.len() > MEASURED {
            self.recent.pop_front();
        }
        let failing = format!("{} of the requests failed, {} wanted", percent(sample.failed), percent(most));
        let from = knobs.get(Knob::RequestsInFlight);
        let mut on = match self.on.take() {
            Some(on) => on,
            None if sample.at < self.useless_until => return None,
            None => {
                let cut = cut(from, failing)?;
                let before = mean(self.recent.make_contiguous());
                self.on = Some(On { uncut: from, good: None, before, since: Vec::new(), quiet: 0 });
                return Some(cut);
            }
        };
        on.quiet = 0;
        if let Some(good) = on.good.take() {
            self.on = Some(On { uncut: good, before: sample.failed, ..on });
            return moved(from, good.min(from), Reason::Errors, failing);
        }
        on.since.push(sample.failed);
        if on.since.len() < SETTLE as usize + MEASURED {
            self.on = Some(on);
            return None;
        }
        let now = mean(&on.since[SETTLE as usize..]);
        if now >= HELPED * on.before {
            self.useless_until = sample.at + cooldown;
            let evidence = format!("{} fail with fewer too, {} did before", percent(now), percent(on.before));
            return moved(from, on.uncut, Reason::Revert, evidence);
        }
        self.on = Some(On { before: now, since: Vec::new(), ..on });
        cut(from, failing)
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
        let evidence = format!("{} of the requests fail, {} allowed", percent(sample.failed), percent(most));
        moved(from, to, Reason::ErrorsGone, evidence)
    }
}

fn cut(from: u64, evidence: String) -> Option<Decision> {
    moved(from, ((from as f64 * CUT) as u64).max(1), Reason::Errors, evidence)
}

fn moved(from: u64, to: u64, reason: Reason, evidence: String) -> Option<Decision> {
    let knob = Knob::RequestsInFlight;
    (from != to).then_some(Decision {
        knob,
        from,
        to,
        reason,
        because: evidence,
        effect: Effect::Turned,
        confidence: None,
        evidence: None,
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
