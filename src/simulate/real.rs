//! A rival in a real run: the knobs that it turns, as the decisions that a run carries out.
//!
//! A run closes a window each second; a rival looks as often as its law says, at the mean of the windows since it looked last.

use super::controller::Controller;
use super::rivals::Rules;
use crate::model::decision::{Decision, Effect, Reason};
use crate::model::knobs::{Bounds, Knob, Knobs};
use crate::model::sample::Sample;

/// The threshold rules `rules` of the table, to be put in the tuner's place. A knob that would leave `bounds` goes as far as it may.
pub fn threshold_rules(bounds: Bounds) -> impl FnMut(&Sample, &Knobs) -> Vec<Decision> + Send {
    let (mut rules, mut seen, mut looked) = (Rules::balanced(), Vec::<Sample>::new(), None);
    move |sample, knobs| {
        let now = sample.at.as_secs_f64();
        let since = *looked.get_or_insert_with(|| {
            rules.begin(&mut { *knobs }, 0);
            now - sample.window.as_secs_f64()
        });
        seen.push(sample.clone());
        // A window is a little longer or shorter than a second.
        if now - since < rules.interval() - 0.5 {
            return Vec::new();
        }
        looked = Some(now);
        let mut after = *knobs;
        rules.tick(&mean(&std::mem::take(&mut seen), sample), &mut after);
        let turned = |knob: &Knob| after.get(*knob).min(bounds.most.get(*knob)) != knobs.get(*knob);
        let decision = |knob: Knob| Decision {
            knob,
            from: knobs.get(knob),
            to: after.get(knob).min(bounds.most.get(knob)),
            effect: Effect::Turned,
            reason: Reason::Probe,
            because: "threshold rules".to_owned(),
            confidence: None,
            evidence: None,
        };
        Knob::ALL.into_iter().filter(turned).map(decision).collect()
    }
}

/// The last window, with the mean of what the rules go by.
fn mean(seen: &[Sample], last: &Sample) -> Sample {
    let mean = |of: fn(&Sample) -> f64| seen.iter().map(of).sum::<f64>() / seen.len().max(1) as f64;
    Sample {
        cpu: mean(|sample| sample.cpu),
        throttled: mean(|sample| sample.throttled),
        documents_per_second: mean(|sample| sample.documents_per_second),
        ..last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::docferry::{START, balanced};
    use super::*;
    use std::time::Duration;

    /// What is turned in each second, where `cpu` and 1 000 documents a second are measured.
    fn turned(seconds: u64, cpu: fn(u64) -> f64) -> Vec<(u64, Knob, u64)> {
        let bounds =
            Bounds { most: Knobs { transformers: 5, ..balanced().bounds.most }, ..balanced().bounds };
        let (mut rules, mut knobs) = (threshold_rules(bounds), START);
        let mut turned = Vec::new();
        for second in 1..=seconds {
            let (at, window) = (Duration::from_millis(second * 1_003), Duration::from_millis(1_003));
            let sample =
                Sample { at, window, cpu: cpu(second), documents_per_second: 1_000.0, ..Sample::default() };
            for decision in rules(&sample, &knobs) {
                assert_eq!(decision.from, knobs.get(decision.knob));
                knobs.set(decision.knob, decision.to);
                turned.push((second, decision.knob, decision.to));
            }
        }
        turned
    }

    #[test]
    fn rules_look_every_fifth_window_at_the_mean_and_keep_to_the_bounds() {
        let expected = [
            (5, Knob::Readers, 6),
            (5, Knob::Transformers, 5),
            (5, Knob::RequestsInFlight, 24),
            (5, Knob::BatchDocuments, 6_000),
        ];
        assert_eq!(turned(30, |_| 0.1), expected, "and then they pause");
        assert_eq!(turned(4, |_| 0.1), []);
        // 65 % in the mean is no reason to cut, 90 % is, and there are no fewer than four workers.
        let cut = turned(36, |second| match second {
            30 => 1.0,
            31.. => 0.9,
            _ => 0.3,
        });
        let last: Vec<_> = cut.iter().filter(|(second, ..)| *second > 5).copied().collect();
        assert_eq!(last, [(35, Knob::Readers, 5), (35, Knob::RequestsInFlight, 20)]);
    }
}
