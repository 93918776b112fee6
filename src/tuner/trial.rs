//! One move on trial: does the saturated throughput of its pool rise by what the move must yield?
//!
//! Only *completions per saturated second* are compared, never latencies of requests that happened to finish: those that have not yet are the slow ones, and
//! leaving them out makes any move look good.

use super::normal::confidence;
use crate::model::decision::Evidence;

/// No service is known to vary less: a smaller measured variance is one of too few pieces.
pub(super) const LEAST_VARIANCE: f64 = 0.002_5;

/// What a pool has done while it was saturated, with one setting.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Saturated {
    /// Documents of progress.
    documents: f64,
    seconds: f64,
    /// Independent pieces of work whose times made that up.
    pieces: f64,
    windows: u32,
    /// Windows with a document at least.
    with_documents: u32,
    /// Sum, and sum of squares, of the windows' logarithms of throughput: what the pieces do not explain (other users, other load) shows here.
    logs: f64,
    log_squares: f64,
}

impl Saturated {
    /// Adds a window.
    pub(super) fn add(&mut self, documents_per_second: f64, seconds: f64, pieces: f64) {
        if documents_per_second < 0.0 || seconds <= 0.0 {
            return;
        }
        self.documents += documents_per_second * seconds;
        self.seconds += seconds;
        self.pieces += pieces;
        self.windows += 1;
        // A window without a document counts as time, and has no logarithm.
        if documents_per_second > 0.0 {
            let log = documents_per_second.ln();
            self.logs += log;
            self.log_squares += log * log;
            self.with_documents += 1;
        }
    }

    /// Documents per second; half a document, if there was none.
    pub(super) fn throughput(&self) -> f64 {
        self.documents.max(0.5) / self.seconds.max(1e-9)
    }

    pub(super) fn windows(&self) -> u32 {
        self.windows
    }

    pub(super) fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Sum of the squares by which windows differ from their mean, and their degrees of freedom.
    fn scatter(&self) -> (f64, f64) {
        if self.with_documents < 2 {
            return (0.0, 0.0);
        }
        let count = f64::from(self.with_documents);
        ((self.log_squares - self.logs * self.logs / count).max(0.0), count - 1.0)
    }
}

/// What the variance of a window is taken to be before windows have shown theirs: so many windows' worth of belief in the pieces.
const BELIEF: f64 = 6.0;

/// How much less than their pieces windows may scatter: of pages of several batches one batch takes all of the time and the others none, though a page takes
/// as long as any other.
const LEAST_EXCESS: f64 = 0.2;

/// Compares `after` with `before`. `variance` is that of one piece's time, relative to its square; `least` the logarithm of what the move must yield.
pub(super) fn compare(before: &Saturated, after: &Saturated, variance: f64, least: f64) -> Evidence {
    let variance = variance.max(LEAST_VARIANCE);
    let of_pieces = |side: &Saturated| variance / side.pieces.max(1.0);
    // The same from windows, as far as there are any: windows that scatter more than their pieces explain count for less.
    let pieces_a_window = (before.pieces + after.pieces) / f64::from((before.windows + after.windows).max(1));
    let expected = variance / pieces_a_window.max(1e-9);
    let ((one, free), (other, more)) = (before.scatter(), after.scatter());
    let scatter = (BELIEF * expected + one + other) / (BELIEF + free + more);
    let excess = (scatter / expected).max(LEAST_EXCESS);
    let standard_error = (excess * (of_pieces(before) + of_pieces(after))).sqrt();
    let gain = (after.throughput() / before.throughput()).ln();
    let z = (gain - least) / standard_error;
    Evidence {
        before: before.throughput(),
        after: after.throughput(),
        standard_error,
        z,
        windows: after.windows,
    }
}

/// What a look at a trial says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// The move pays, so sure.
    Pays(f64),
    /// It does not, or it could not be told in time; so sure that it does not.
    Fails(f64),
    /// Look again.
    Open,
}

/// Trials of one size: where the first seemed to pay, and there was no time to be sure, there is a second, and each may err half as often.
const TRIES: f64 = 2.0;

/// How sure a trial makes of which this is one of at most `looks`, if it is not the only one.
fn sure(z: f64, looks: u32) -> f64 {
    (1.0 - TRIES * (1.0 - confidence(z, looks))).max(0.0)
}

/// What a move yields beyond what it must is, before anything is measured, about as much as this share of its size (both as logarithms), more or less.
const PRIOR: f64 = 0.6;

/// Judges a trial of which this is one of at most `looks`, and which changed the size by the factor whose logarithm is `step`. A small step yields little
/// whatever is measured: where that is less than the standard error, a large deviate is chance.
pub(super) fn judge(evidence: &Evidence, step: f64, looks: u32, is_last: bool, wanted: f64) -> Verdict {
    let prior = PRIOR * step.abs();
    let z = evidence.z * prior / prior.hypot(evidence.standard_error);
    let (pays, fails) = (sure(z, looks), sure(-z, looks));
    if pays >= wanted {
        Verdict::Pays(pays)
    } else if fails >= wanted || is_last {
        Verdict::Fails(fails)
    } else {
        Verdict::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuner::normal::distribution;

    /// Random numbers that are the same in every run.
    struct Chance(fastrand::Rng);

    impl Chance {
        fn normal(&mut self) -> f64 {
            // The sum of twelve uniform numbers: normal enough out to three deviates.
            (0..12).map(|_| self.0.f64()).sum::<f64>() - 6.0
        }

        /// A window in which `pieces` of work with relative variance `variance` were finished at a mean of `mean` documents per second.
        fn window(&mut self, side: &mut Saturated, mean: f64, pieces: f64, variance: f64) {
            let noise = 1.0 + (variance / pieces).sqrt() * self.normal();
            side.add(mean * noise, 1.0, pieces);
        }
    }

    /// Plays one trial, and where it seemed to pay and there was no time to be sure, the second: what the verdict was, and at which confidence. `elasticity`: the
    /// share of the growth by which throughput grows, both as logarithms.
    fn play(chance: &mut Chance, elasticity: f64, growth: f64, worth: f64, wanted: f64) -> (bool, f64) {
        let (variance, pieces) = (0.09, chance.0.f64() * 200.0 + 10.0);
        let looks = 6;
        for (is_second, base) in [(false, chance.0.usize(1..12)), (true, 6)] {
            let mut before = Saturated::default();
            for _ in 0..base {
                chance.window(&mut before, 1_000.0, pieces, variance);
            }
            let mut after = Saturated::default();
            let mut last = (0.0, 0.0);
            for look in 1..=looks {
                chance.window(&mut after, 1_000.0 * growth.powf(elasticity), pieces, variance);
                let evidence = compare(&before, &after, variance, worth * growth.ln());
                match judge(&evidence, growth.ln(), looks, look == looks, wanted) {
                    Verdict::Open => {}
                    Verdict::Pays(confidence) => return (true, confidence),
                    Verdict::Fails(confidence) => last = (confidence, evidence.z),
                }
                if last.0 >= wanted {
                    break;
                }
            }
            if is_second || last.0 >= wanted || last.1 <= 0.0 {
                return (false, last.0);
            }
        }
        unreachable!("the second is the last")
    }

    #[test]
    fn where_nothing_changes_no_more_than_the_level_is_taken_for_a_change() {
        for (wanted, seed) in [(0.75, 1), (0.85, 2), (0.95, 3)] {
            let mut chance = Chance(fastrand::Rng::with_seed(seed));
            let accepted = (0..10_000).filter(|_| play(&mut chance, 0.0, 2.0, 0.0, wanted).0).count();
            let share = accepted as f64 / 10_000.0;
            assert!(share <= 1.0 - wanted, "{share} of the trials at {wanted}");
            assert!(share > (1.0 - wanted) / 4.0, "{share}: so careful that nothing is ever found");
        }
    }

    /// Effects as a search meets them: most are large, some are none, some hurt.
    #[test]
    fn a_confidence_is_the_share_of_those_that_are_right() {
        let mut chance = Chance(fastrand::Rng::with_seed(4));
        let (mut bins, mut said) = ([(0.0, 0.0, 0.0); 10], 0);
        for _ in 0..20_000 {
            let elasticity = chance.0.f64() * 1.4 - 0.4;
            let growth = 1.2 + 0.8 * chance.0.f64();
            let (accepted, confidence) = play(&mut chance, elasticity, growth, 0.1, 0.85);
            if confidence < 0.85 {
                // There was no time to be sure: nothing is said.
                continue;
            }
            said += 1;
            let is_right = accepted == (elasticity > 0.1);
            let bin = &mut bins[((confidence * 10.0) as usize).min(9)];
            *bin = (bin.0 + 1.0, bin.1 + confidence, bin.2 + f64::from(u32::from(is_right)));
        }
        let error: f64 = bins.iter().map(|(_, said, was)| (said - was).abs()).sum::<f64>() / f64::from(said);
        assert!(error <= 0.05 && said > 10_000, "expected calibration error {error}: {bins:?}");
    }

    #[test]
    fn a_doubling_is_found_at_the_first_look() {
        let mut chance = Chance(fastrand::Rng::with_seed(5));
        let (mut before, mut after) = (Saturated::default(), Saturated::default());
        (0..2).for_each(|_| chance.window(&mut before, 1_000.0, 66.0, 0.09));
        chance.window(&mut after, 1_900.0, 132.0, 0.09);
        let evidence = compare(&before, &after, 0.09, 0.1 * 2.0_f64.ln());
        assert!(
            matches!(judge(&evidence, 2.0_f64.ln(), 6, false, 0.95), Verdict::Pays(sure) if sure > 0.999),
            "{evidence:?}"
        );
    }

    #[test]
    fn windows_that_scatter_more_than_their_pieces_make_a_test_less_sure() {
        let side = |values: &[f64]| {
            let mut side = Saturated::default();
            values.iter().for_each(|value| side.add(*value, 1.0, 1_000.0));
            side
        };
        let quiet = compare(&side(&[100.0; 6]), &side(&[110.0; 6]), 0.09, 0.0);
        let noisy = compare(&side(&[80.0, 120.0, 90.0, 110.0, 70.0, 130.0]), &side(&[110.0; 6]), 0.09, 0.0);
        assert!(noisy.standard_error > 3.0 * quiet.standard_error, "{quiet:?} {noisy:?}");
    }

    #[test]
    fn the_normal_distribution_is_that_of_the_tables() {
        for (z, p) in [(0.0, 0.5), (1.0, 0.841_344_7), (1.959_964, 0.975), (-2.326_348, 0.01)] {
            assert!((distribution(z) - p).abs() < 1e-6, "{z}");
        }
    }
}
