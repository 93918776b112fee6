//! A guard around the tuner: whatever happens inside, the run goes on with the knobs that it has.
//!
//! The tuner is arithmetic on measurements, and measurements can be anything. A defect in it must cost speed at most, never a run: a panic is caught, and a
//! decision that contradicts the knobs or the bounds is dropped, with all others of that window.

use crate::model::decision::{Decision, Effect};
use crate::model::knobs::{Bounds, Knobs};
use crate::model::sample::Sample;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a tuner, or whatever decides.
pub struct Guard<D> {
    decide: Option<D>,
    bounds: Bounds,
}

impl<D: FnMut(&Sample, &Knobs) -> Vec<Decision>> Guard<D> {
    /// Guards `decide`, whose decisions shall keep to `bounds`.
    pub fn new(bounds: Bounds, decide: D) -> Self {
        Self { decide: Some(decide), bounds }
    }

    /// What to do after this window; or a sentence about what went wrong, and then nothing is to be done. After a panic there is no tuner any more.
    pub fn decide(&mut self, sample: &Sample, knobs: &Knobs) -> Result<Vec<Decision>, String> {
        let Some(decide) = &mut self.decide else { return Ok(Vec::new()) };
        // The tuner's state may be torn after a panic: it is not used again.
        let Ok(decisions) = catch_unwind(AssertUnwindSafe(|| decide(sample, knobs))) else {
            self.decide = None;
            return Err("the tuner has failed; the run goes on with the knobs as they are".to_owned());
        };
        let mut after = *knobs;
        for decision in &decisions {
            if let Some(wrong) = contradiction(decision, &after, &self.bounds) {
                return Err(format!("the tuner contradicts itself ({wrong}); the knobs stay as they are"));
            }
            if decision.effect == Effect::Turned {
                after.set(decision.knob, decision.to);
            }
        }
        Ok(decisions)
    }
}

/// What is wrong with a decision, if anything.
fn contradiction(decision: &Decision, knobs: &Knobs, bounds: &Bounds) -> Option<String> {
    let Decision { knob, from, to, effect, confidence, .. } = decision;
    if let Some(sure) = confidence.filter(|sure| !(0.0..=1.0).contains(sure)) {
        return Some(format!("{knob}: a confidence of {sure}"));
    }
    if *effect != Effect::Turned {
        return None;
    }
    let present = knobs.get(*knob);
    let most = bounds.most.get(*knob).max(present);
    if present != *from {
        Some(format!("{knob} is {present}, not {from}"))
    } else if to == from || *to < 1 || *to > most {
        Some(format!("{knob} {from} -> {to}, from 1 to {most} allowed"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decision::Reason;
    use crate::model::knobs::Knob;

    const KNOBS: Knobs = Knobs {
        readers: 2,
        transformers: 2,
        requests_in_flight: 8,
        batch_documents: 2_000,
        request_documents: 100,
        credit_bytes: 32 << 20,
    };

    fn bounds() -> Bounds {
        Bounds { least: KNOBS, most: Knobs { readers: 8, ..KNOBS } }
    }

    fn decision(from: u64, to: u64) -> Decision {
        Decision {
            knob: Knob::Readers,
            from,
            to,
            effect: Effect::Turned,
            reason: Reason::Probe,
            because: String::new(),
            confidence: None,
            evidence: None,
        }
    }

    #[test]
    fn a_panic_ends_the_tuner_and_not_the_run() {
        let mut guard = Guard::new(bounds(), |_: &Sample, _: &Knobs| panic!("a defect"));
        assert!(guard.decide(&Sample::default(), &KNOBS).is_err_and(|message| message.contains("goes on")));
        assert_eq!(guard.decide(&Sample::default(), &KNOBS), Ok(Vec::new()));
    }

    #[test]
    fn a_contradiction_turns_nothing() {
        let unsure = Decision { confidence: Some(f64::NAN), ..decision(2, 4) };
        for wrong in [decision(3, 4), decision(2, 2), decision(2, 0), decision(2, 9), unsure] {
            let mut guard = Guard::new(bounds(), |_: &Sample, _: &Knobs| vec![wrong.clone()]);
            assert!(guard.decide(&Sample::default(), &KNOBS).is_err(), "{wrong:?}");
        }
        let mut guard = Guard::new(bounds(), |_: &Sample, _: &Knobs| vec![decision(2, 4), decision(4, 8)]);
        assert_eq!(guard.decide(&Sample::default(), &KNOBS).map(|decisions| decisions.len()), Ok(2));
    }
}
