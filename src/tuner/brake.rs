//! The error brake: fewer requests in flight while too many fail, if that helps.
//!
//! An overloaded target fails less when less is asked of it; a flaky network or a target that is being repaired fails as often whatever is asked.
//! So after a cut the failures are counted. Are they not clearly fewer, everything comes back, and none is cut before a pause has passed, which
//! doubles each time; are they, and still too many, it is cut again. When few fail the requests come back, step by step: a blip of a second costs
//! a few seconds and not a cooldown. A step after which too many fail again is taken back, and tried again after the pause, only if more fail than before it: where as many
//! do, the number of requests has nothing to do with it.
//!
//! What "too many", "more" and "fewer" mean are tests of proportions, so that three failures of forty are no storm.

use crate::model::decision::{Decision, Effect, Reason};
use crate::model::knobs::{Knob, Knobs};
use crate::model::sample::Sample;
use crate::tuner::normal::distribution;
use crate::tuner::percent;
use std::collections::VecDeque;
use std::ops::AddAssign;
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

/// How sure it must be that more fail since a step back than before it, for the step to be to blame.
const MORE: f64 = 0.95;

/// Windows that are counted before a cut, and after one that has settled.
const COUNTED: usize = 3;

/// Windows after a move that still hold work from before it.
const SETTLE: usize = 1;

/// Windows without too many failures after which requests come back.
const QUIET: u32 = 2;

/// Windows in which neither few nor clearly too many failed after which requests come back too.
const PATIENCE: u32 = 6;

/// What comes back at once: half as many again.
const BACK: f64 = 1.5;

/// Windows with everything back after which the failures are forgotten.
const FORGOTTEN: u32 = 10;

/// The pause after a cut that did not help, or a step back that was too long, doubles so often.
const DOUBLINGS: u32 = 4;

/// Requests answered, and those of them that failed.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    answers: f64,
    failed: f64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.answers += other.answers;
        self.failed += other.failed;
    }
}

impl Count {
    fn share(self) -> f64 {
        if self.answers > 0.0 { self.failed / self.answers } else { 0.0 }
    }

    /// How sure it is that more fail than the share `most`: a test of one proportion, with correction for continuity.
    fn exceeds(self, most: f64) -> f64 {
        let expected = self.answers * most;
        let deviation = (expected * (1.0 - most)).sqrt().max(1e-9);
        if self.failed <= expected { 0.0 } else { distribution((self.failed - 0.5 - expected) / deviation) }
    }

    /// How sure it is that a larger share fails than `part` of that of `other`: a test of two proportions.
    fn is_more_than(self, part: f64, other: Self) -> f64 {
        let (one, two) = (self.answers.max(1.0), other.answers.max(1.0));
        let both = (self.failed + other.failed) / (one + two);
        let deviation = (both * (1.0 - both) * (1.0 / one + part * part / two)).sqrt().max(1e-9);
        distribution((self.share() - part * other.share()) / deviation)
    }
}

/// The brake's memory.
#[derive(Debug, Default)]
pub(super) struct Brake {
    on: Option<On>,
    /// The last windows.
    recent: VecDeque<Count>,
    /// Cuts do not help before this.
    useless_until: Duration,
    /// Cuts that did not help, and steps back that were too long, in a row.
    vain: u32,
}

/// Requests have been cut.
#[derive(Debug)]
struct On {
    /// The requests in flight before the first cut.
    uncut: u64,
    /// None come back before this: more failed with more of them.
    rests_until: Duration,
    /// Those before the last step back, and what failed of them.
    good: Option<(u64, Count)>,
    /// What failed before the last cut, and since the last move as soon as that is felt.
    before: Count,
    since: Count,
    /// Windows since that move, and those in a row in which not too many failed.
    windows: usize,
    quiet: u32,
}

impl On {
    fn new(uncut: u64, before: Count) -> Self {
        Self {
            uncut,
            rests_until: Duration::ZERO,
            good: None,
            before,
            since: Count::default(),
            windows: 0,
            quiet: 0,
        }
    }

    /// The last move has been felt for long enough to say what it did.
    fn is_counted(&self) -> bool {
        self.windows >= SETTLE + COUNTED
    }
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
        if sample.answers == 0 {
            // Who gets no answer knows nothing of failures.
            return None;
        }
        let answers = sample.answers as f64;
        let window = Count { answers, failed: sample.failed * answers };
        self.recent.push_back(window);
        if self.recent.len() > COUNTED {
            self.recent.pop_front();
        }
        let from = knobs.get(Knob::RequestsInFlight);
        let Some(mut on) = self.on.take() else { return self.begin(window, from, most, sample.at) };
        on.windows += 1;
        if on.windows > SETTLE {
            on.since += window;
        }
        let sure = on.since.exceeds(most);
        if sure < SURE {
            on.quiet += 1;
            return self.release(on, from, most, sample.at, cooldown);
        }
        on.quiet = 0;
        let failing = failing(on.since, most);
        if let Some((good, then)) = on.good {
            let is_more = on.since.is_more_than(1.0, then);
            if is_more >= MORE {
                let rests_until = sample.at + self.pause(cooldown);
                self.on = Some(On { rests_until, ..On::new(on.uncut, on.since) });
                return moved(from, good.min(from), Reason::Errors, failing, is_more);
            }
            return if on.is_counted() {
                self.give_up(on, then, from, sample.at, cooldown)
            } else {
                self.wait(on)
            };
        }
        if !on.is_counted() {
            return self.wait(on);
        }
        if on.since.share() >= HELPED * on.before.share() {
            let before = on.before;
            return self.give_up(on, before, from, sample.at, cooldown);
        }
        self.vain = 0;
        self.on = Some(On::new(on.uncut, on.since));
        cut(from, on.since.share(), most, failing, sure)
    }

    fn pause(&mut self, cooldown: Duration) -> Duration {
        self.vain += 1;
        cooldown * 2_u32.pow((self.vain - 1).min(DOUBLINGS))
    }

    fn wait(&mut self, on: On) -> Option<Decision> {
        self.on = Some(on);
        None
    }

    /// The first cut, if too many fail.
    fn begin(&mut self, window: Count, from: u64, most: f64, at: Duration) -> Option<Decision> {
        let mut lately = Count::default();
        self.recent.iter().for_each(|window| lately += *window);
        let (now, lasting) = (window.exceeds(most), lately.exceeds(most));
        let is_failing = now >= SURE || (lasting >= SURE && window.share() > most);
        if !is_failing || at < self.useless_until {
            return None;
        }
        let told = if now >= SURE { window } else { lately };
        let cut = cut(from, told.share(), most, failing(told, most), now.max(lasting))?;
        self.on = Some(On::new(from, lately));
        Some(cut)
    }

    /// Not too many fail now: some come back if few do, all of them if as many do as before.
    fn release(
        &mut self,
        mut on: On,
        from: u64,
        most: f64,
        at: Duration,
        cooldown: Duration,
    ) -> Option<Decision> {
        let is_few = on.since.share() <= most;
        if !is_few && on.good.is_none() && on.is_counted() && on.since.share() >= HELPED * on.before.share() {
            let before = on.before;
            return self.give_up(on, before, from, at, cooldown);
        }
        let to = ((from as f64 * BACK).ceil() as u64).min(on.uncut);
        if to <= from {
            self.on = Some(on).filter(|on| on.quiet < FORGOTTEN);
            return None;
        }
        if on.quiet < QUIET || at < on.rests_until || !(is_few || on.quiet >= PATIENCE) {
            return self.wait(on);
        }
        let share = percent(on.since.share());
        let because = if is_few {
            format!("{share} of the requests fail, {} allowed", percent(most))
        } else {
            format!("{share} of the requests fail: to see whether it is more with more of them")
        };
        let sure = 1.0 - on.since.is_more_than(1.0, on.before);
        on.good = Some((from, on.since));
        (on.since, on.windows, on.quiet) = (Count::default(), 0, 0);
        self.on = Some(on);
        moved(from, to, Reason::ErrorsGone, because, sure)
    }

    /// As many fail with fewer requests as with more: everything comes back.
    fn give_up(
        &mut self,
        on: On,
        other: Count,
        from: u64,
        at: Duration,
        cooldown: Duration,
    ) -> Option<Decision> {
        self.useless_until = at + self.pause(cooldown);
        // What was counted with more requests, and with fewer.
        let (more, fewer) = if on.good.is_some() { (on.since, other) } else { (other, on.since) };
        let because =
            format!("{} fail with fewer too, {} with more", percent(fewer.share()), percent(more.share()));
        moved(from, on.uncut, Reason::Revert, because, fewer.is_more_than(HELPED, more))
    }
}

fn failing(count: Count, most: f64) -> String {
    format!("{} of the requests failed, {} allowed", percent(count.share()), percent(most))
}

fn cut(from: u64, share: f64, most: f64, because: String, sure: f64) -> Option<Decision> {
    let depth = if share > MANY * most { DEEP_CUT } else { CUT };
    moved(from, ((from as f64 * depth) as u64).max(1), Reason::Errors, because, sure)
}

fn moved(from: u64, to: u64, reason: Reason, because: String, sure: f64) -> Option<Decision> {
    let (knob, effect, confidence) = (Knob::RequestsInFlight, Effect::Turned, Some(sure));
    (from != to).then_some(Decision { knob, from, to, effect, reason, because, confidence, evidence: None })
}
