//! One move on trial: does the saturated throughput of its pool rise by what the move must yield?
//!
//! Only *completions per saturated second* are compared, never latencies of requests that happened to finish: those that have not yet are the slow ones, and
//! leaving them out makes any move look good.

use super::normal::confidence;
use crate::model::decision::Evidence;

/// No service is known to vary less: a smaller measured variance is one of too few pieces.
const LEAST_VARIANCE: f64 = 0.002_5;

/// What a pool has done while it was saturated, with one setting.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Saturated {
    /// Documents of progress.
    documents: f64,
    seconds: f64,
    /// Independent pieces of work whose times made that up.
    pieces: f64,
    windows: u32,
    /// Sum, and sum of squares, of the windows' logarithms of throughput: what the pieces do not explain (other users, other load) shows here.
    logs: f64,
    log_squares: f64,
}

impl Saturated {
    /// Adds a window.
    pub(super) fn add(&mut self, documents_per_second: f64, seconds: f64, pieces: f64) {
        if documents_per_second <= 0.0 || seconds <= 0.0 {
            return;
        }
        self.documents += documents_per_second * seconds;
        self.seconds += seconds;
        self.pieces += pieces;
        self.windows += 1;
        let log = documents_per_second.ln();
        self.logs += log;
        self.log_squares += log * log;
    }

    /// Documents per second.
    pub(super) fn throughput(&self) -> f64 {
        self.documents / self.seconds.max(1e-9)
    }

    pub(super) fn windows(&self) -> u32 {
        self.windows
    }

    pub(super) fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Sum of the squares by which windows differ from their mean, and their degrees of freedom.
    fn scatter(&self) -> (f64, f64) {
        if self.windows < 2 {
            return (0.0, 0.0);
        }
        let count = f64::from(self.windows);
        ((self.log_squares - self.logs * self.logs / count).max(0.0), count - 1.0)
    }
}

/// What the variance of a window is taken to be before windows have shown theirs: so many windows' worth of belief in the pieces.
const BELIEF: f64 = 4.0;

/// Compares `after` with `before`. `variance` is that of one piece's time, relative to its square; `least` the logarithm of what the move must yield.
pub(super) fn compare(before: &Saturated, after: &Saturated, variance: f64, least: f64) -> Evidence {
    let variance = variance.max(LEAST_VARIANCE);
    let of_pieces = |side: &Saturated| variance / side.pieces.max(1.0);
    // The same from windows, as far as there are any: windows that scatter more than their pieces explain count for less.
    let pieces_a_window = (before.pieces + after.pieces) / f64::from((before.windows + after.windows).max(1));
    let expected = variance / pieces_a_window.max(1e-9);
    let ((one, free), (other, more)) = (before.scatter(), after.scatter());
    let scatter = (BELIEF * expected + one + other) / (BELIEF + free + more);
    let excess = (scatter / expected).max(1.0);
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

/// Judges a trial of which this is one of at most `looks`.
pub(super) fn judge(evidence: &Evidence, looks: u32, is_last: bool, wanted: f64) -> Verdict {
    let pays = confidence(evidence.z, looks);
    let fails = confidence(-evidence.z, looks);
    if pays >= wanted {
        Verdict::Pays(pays)
    } else if fails >= wanted || is_last {
        Verdict::Fails(fails)
    } else {
        Verdict::Open
    }
}
