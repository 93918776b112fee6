//! What a run is worth beside the oracle.

use super::oracle::{Oracle, mean};
use super::plant::Plant;
use super::world::Outcome;
use serde::Serialize;

/// The figures of one run, or the mean of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// Documents in the steady part, as a percentage of the oracle's. Of several tuners, that of the one with the least, of its share.
    pub steady_percent: f64,
    /// Seconds until five of them yield 95 % of the oracle's, and the ten after them no less than 92 %; all of them if never.
    pub t95_s: f64,
    /// Documents thrown back in the steady part, as a percentage of those sent.
    pub throttled_percent: f64,
    /// Standard deviation of the share of the oracle over five seconds each, as a percentage.
    pub oscillation_percent: f64,
    /// Seconds above the ceiling of memory.
    pub ram_over_s: f64,
    /// Seconds above the ceiling of the GPU's memory.
    pub gpu_over_s: f64,
    /// Seconds above the ceiling of the CPU.
    pub cpu_over_s: f64,
    /// Ticks in which a knob was turned.
    pub decisions: f64,
    /// How even the tuners' shares are (Jain): 1 if all got the same, one divided by their number if one got all.
    #[serde(skip_serializing_if = "is_one")]
    pub fairness: f64,
}

fn is_one(fairness: &f64) -> bool {
    *fairness == 1.0
}

impl Score {
    /// Of one run with all its tuners.
    pub(super) fn of(outcomes: &[Outcome], oracle: &Oracle, plant: &Plant) -> Self {
        let tuners = outcomes.len() as f64;
        let each: Vec<Self> =
            outcomes.iter().map(|outcome| Self::of_one(outcome, oracle, plant, tuners)).collect();
        let steady = |power: i32| each.iter().map(|score| score.steady_percent.powi(power)).sum::<f64>();
        let squares = tuners * steady(2);
        Self {
            steady_percent: each.iter().map(|score| score.steady_percent).fold(f64::INFINITY, f64::min),
            t95_s: each.iter().map(|score| score.t95_s).fold(0.0, f64::max),
            fairness: if each.len() > 1 && squares > 0.0 { steady(1).powi(2) / squares } else { 1.0 },
            ..Self::mean(&each)
        }
    }

    fn of_one(outcome: &Outcome, oracle: &Oracle, plant: &Plant, tuners: f64) -> Self {
        let seconds = outcome.written.len() - 1;
        let best: Vec<f64> = (0..seconds).map(|second| oracle.at(second as f64) / tuners).collect();
        let written = &outcome.written[..seconds];
        let steady = (plant.counted_from as usize).min(seconds)..seconds;
        let (sum, all): (f64, f64) =
            (written[steady.clone()].iter().sum(), best[steady.clone()].iter().sum());
        let throttled: f64 = outcome.throttled[steady.clone()].iter().sum();
        let fives: Vec<f64> = steady
            .step_by(5)
            .filter(|at| at + 5 <= seconds)
            .map(|at| mean(&written[at..at + 5]) / mean(&best[at..at + 5]))
            .collect();
        let middle = mean(&fives);
        let variance = mean(&fives.iter().map(|five| (five - middle).powi(2)).collect::<Vec<_>>());
        Self {
            steady_percent: 100.0 * sum / all,
            t95_s: reached(written, &best, 0.95),
            throttled_percent: 100.0 * throttled / (throttled + sum).max(1.0),
            oscillation_percent: 100.0 * variance.sqrt() / middle.max(1e-9),
            ram_over_s: outcome.memory_over,
            gpu_over_s: outcome.gpu_over,
            cpu_over_s: outcome.cpu_over,
            decisions: f64::from(outcome.decisions),
            fairness: 1.0,
        }
    }

    /// Of several runs.
    pub(super) fn mean(all: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| mean(&all.iter().map(figure).collect::<Vec<_>>());
        Self {
            steady_percent: of(|score| score.steady_percent),
            t95_s: of(|score| score.t95_s),
            throttled_percent: of(|score| score.throttled_percent),
            oscillation_percent: of(|score| score.oscillation_percent),
            ram_over_s: of(|score| score.ram_over_s),
            gpu_over_s: of(|score| score.gpu_over_s),
            cpu_over_s: of(|score| score.cpu_over_s),
            decisions: of(|score| score.decisions),
            fairness: of(|score| score.fairness),
        }
    }
}

/// When `share` of the best was reached and kept.
fn reached(written: &[f64], best: &[f64], share: f64) -> f64 {
    let seconds = written.len();
    let has = |from: usize, to: usize, share: f64| mean(&written[from..to]) >= share * mean(&best[from..to]);
    let at = (5..seconds)
        .find(|at| has(at - 4, at + 1, share) && (at + 10 >= seconds || has(*at, at + 10, share - 0.03)));
    at.map_or(seconds as f64, |at| at as f64 - 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::knobs::Knobs;
    use crate::simulate::docferry::START;
    use crate::simulate::oracle::Best;
    use crate::simulate::plant;

    fn oracle(phases: &[(f64, f64)]) -> Oracle {
        let best = |documents_per_second| Best { knobs: Knobs { ..START }, documents_per_second };
        Oracle { phases: phases.iter().map(|(from, rate)| (*from, best(*rate))).collect() }
    }

    fn outcome(written: impl Fn(usize) -> f64) -> Outcome {
        Outcome {
            written: (0..=100).map(written).collect(),
            throttled: vec![10.0; 101],
            ..Outcome::default()
        }
    }

    #[test]
    fn a_score_is_a_share_of_the_phase_that_holds() {
        let plant = plant::named("seconds = 100");
        let ramp = outcome(|second| if second < 20 { 50.0 } else { 96.0 });
        let score = Score::of(&[ramp], &oracle(&[(0.0, 100.0), (80.0, 200.0)]), &plant);
        assert_eq!(score.steady_percent, 100.0 * 96.0 * 40.0 / (100.0 * 20.0 + 200.0 * 20.0));
        assert_eq!(score.t95_s, 22.0);
        assert_eq!(score.throttled_percent, 100.0 * 10.0 / 106.0);
        assert!((score.oscillation_percent - 100.0 / 3.0).abs() < 0.1, "{}", score.oscillation_percent);
        assert_eq!(score.fairness, 1.0);
    }

    #[test]
    fn of_two_tuners_the_one_with_less_counts() {
        let plant = plant::named("seconds = 100\ntuners = 2");
        let score = Score::of(&[outcome(|_| 60.0), outcome(|_| 20.0)], &oracle(&[(0.0, 100.0)]), &plant);
        assert_eq!(score.steady_percent, 40.0);
        assert_eq!(score.fairness, 0.8);
        assert_eq!(score.t95_s, 100.0, "one never got its half");
    }
}
