//! What a run has learned of its knobs: those that the tuner came to and then left alone for a while.
//!
//! The knobs at the very end may be a trial that nobody has judged yet. So those count that stood for a check interval, with no trial open, after the tuner
//! had turned at least one; a run in which it never turned any has learned nothing, and one that was too short neither.

use crate::model::decision::{Decision, Effect, Reason};
use crate::model::knobs::{Knob, Knobs};
use std::time::Duration;

/// Watches how long the knobs stand.
#[derive(Debug)]
pub(super) struct Standing {
    /// They must stand for so long.
    long: Duration,
    /// The knobs, and since when they are so.
    seen: Option<(Duration, Knobs)>,
    /// Whether they have ever changed.
    is_tuned: bool,
    /// Knobs on trial.
    open: Vec<Knob>,
    learned: Option<Knobs>,
}

impl Standing {
    pub(super) fn new(long: Duration) -> Self {
        Self { long, seen: None, is_tuned: false, open: Vec::new(), learned: None }
    }

    /// This was decided: a trial is open from its probe to whatever is next decided of its knob.
    pub(super) fn decided(&mut self, decisions: &[Decision]) {
        for Decision { knob, effect, reason, .. } in decisions {
            if matches!(effect, Effect::Blocked(_)) {
                continue;
            }
            self.open.retain(|open| open != knob);
            if (effect, reason) == (&Effect::Turned, &Reason::Probe) {
                self.open.push(*knob);
            }
        }
    }

    /// The knobs are these; to be told once a second.
    pub(super) fn look(&mut self, at: Duration, knobs: &Knobs) {
        match &self.seen {
            Some((since, seen)) if seen == knobs => {
                if self.is_tuned && self.open.is_empty() && at.saturating_sub(*since) >= self.long {
                    self.learned = Some(*knobs);
                }
            }
            before => {
                self.is_tuned |= before.is_some();
                self.seen = Some((at, *knobs));
            }
        }
    }

    /// The last knobs that stood.
    pub(super) fn learned(&self) -> Option<Knobs> {
        self.learned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knobs(readers: usize) -> Knobs {
        Knobs {
            readers,
            transformers: 1,
            requests_in_flight: 1,
            batch_documents: 1,
            request_documents: 1,
            credit_bytes: 1,
        }
    }

    #[test]
    fn what_stood_is_learned_and_an_unjudged_trial_is_not() {
        let at = Duration::from_secs;
        let decision = |effect, reason| Decision {
            knob: Knob::Readers,
            from: 4,
            to: 8,
            effect,
            reason,
            because: String::new(),
            confidence: None,
            evidence: None,
        };
        let mut standing = Standing::new(at(5));
        for second in 0..100 {
            standing.look(at(second), &knobs(2));
        }
        assert_eq!(standing.learned(), None, "nothing was tried");
        standing.look(at(100), &knobs(4));
        standing.look(at(104), &knobs(4));
        assert_eq!(standing.learned(), None, "it may be a trial");
        standing.look(at(105), &knobs(4));
        standing.decided(&[decision(Effect::Turned, Reason::Probe)]);
        standing.look(at(106), &knobs(8));
        standing.look(at(130), &knobs(8));
        assert_eq!(standing.learned(), Some(knobs(4)), "the next trial is not judged");
        standing.decided(&[decision(Effect::Kept, Reason::Accepted)]);
        standing.look(at(131), &knobs(8));
        assert_eq!(standing.learned(), Some(knobs(8)));
    }
}
