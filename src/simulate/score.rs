//! What a run is worth beside the oracle.

use super::oracle::{Oracle, mean};
use super::world::Outcome;

/// Seconds that are left for finding the setting: what comes after is steady.
const STEADY_FROM: usize = 60;

/// The figures of one run, or the mean of several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Score {
    /// Documents in the steady part, as a percentage of the oracle's.
    pub(super) steady_percent: f64,
    /// Seconds until five of them yield 95 % of the oracle's, and the ten after them no less than 92 %; all of them if never.
    pub(super) t95_s: f64,
    /// Documents thrown back in the steady part, as a percentage of those sent.
    pub(super) throttled_percent: f64,
    /// Standard deviation of the share of the oracle over five seconds each, as a percentage.
    pub(super) oscillation_percent: f64,
    /// Seconds above the ceilings.
    pub(super) ram_over_s: f64,
    pub(super) gpu_over_s: f64,
    pub(super) cpu_over_s: f64,
    /// Ticks in which a knob was turned.
    pub(super) decisions: f64,
}

impl Score {
    /// Of one run.
    pub(super) fn of(outcome: &Outcome, oracle: &Oracle, tuners: u32) -> Self {
        let seconds = outcome.written.len() - 1;
        let best: Vec<f64> =
            (0..seconds).map(|second| oracle.at(second as f64) / f64::from(tuners)).collect();
        let written = &outcome.written[..seconds];
        let steady = STEADY_FROM.min(seconds)..seconds;
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
