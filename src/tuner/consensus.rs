//! Several proposers, one knob: whose word counts.
//!
//! Each says with a standard normal deviate how strongly the evidence speaks for more (positive) or less (negative). Those that agree are combined as Stouffer
//! did (Z = sum of w z over the root of the sum of w squared), each weighted by the share of its proposals that came true so far, beginning at one half (the mean of a Beta
//! distribution after one success and one failure). Where they disagree, one side must be stronger by [`WIN`], or nothing moves.

use super::normal::distribution;

/// By how much one side must outweigh the other.
const WIN: f64 = 1.0;

/// No evidence counts for more than this: three deviates are all that a window's measurements bear.
const MOST: f64 = 3.0;

/// Who proposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proposer {
    /// The search: the pool is saturated.
    Search,
    /// The work that comes: what the pool can do against it.
    Workload,
    /// The memory of the GPU: room for more, or not.
    Gpu,
}

/// What one proposer says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opinion {
    pub(super) by: Proposer,
    /// More where positive.
    pub(super) z: f64,
}

/// How often each proposer was right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record([(f64, f64); 3]);

impl Default for Record {
    fn default() -> Self {
        Self([(1.0, 1.0); 3])
    }
}

/// Which proposers were for a move.
pub(super) type Backers = [bool; 3];

/// Those that speak for more.
pub(super) fn backers(opinions: &[Opinion]) -> Backers {
    let mut backers = Backers::default();
    opinions.iter().for_each(|opinion| backers[opinion.by as usize] = opinion.z > 0.0);
    backers
}

impl Record {
    /// What these have proposed came to its end.
    pub(super) fn ended(&mut self, by: Backers, was_right: bool) {
        for (_, (right, wrong)) in by.into_iter().zip(&mut self.0).filter(|(backed, _)| *backed) {
            *(if was_right { right } else { wrong }) += 1.0;
        }
    }

    fn weight(&self, by: Proposer) -> f64 {
        let (right, wrong) = self.0[by as usize];
        right / (right + wrong)
    }

    /// What they say together: the combined deviate, positive for more; none if neither side wins.
    pub(super) fn agree(&self, opinions: &[Opinion]) -> Option<f64> {
        let side = |sign: f64| {
            let mine = opinions.iter().filter(|opinion| opinion.z * sign > 0.0);
            let (sum, squares) = mine.fold((0.0, 0.0), |(sum, squares), opinion| {
                let weight = self.weight(opinion.by);
                (sum + weight * (opinion.z * sign).min(MOST), squares + weight * weight)
            });
            if squares > 0.0 { sum / squares.sqrt() } else { 0.0 }
        };
        let (more, less) = (side(1.0), side(-1.0));
        match () {
            () if less == 0.0 && more > 0.0 => Some(more),
            () if more == 0.0 && less > 0.0 => Some(-less),
            () if more - less >= WIN => Some(more),
            () if less - more >= WIN => Some(-less),
            () => None,
        }
    }
}

/// The probability that goes with a combined deviate.
pub(super) fn sure(z: f64) -> f64 {
    distribution(z.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinion(by: Proposer, z: f64) -> Opinion {
        Opinion { by, z }
    }

    #[test]
    fn those_that_agree_are_surer_together() {
        let record = Record::default();
        let alone = record.agree(&[opinion(Proposer::Search, 1.5)]).unwrap();
        let together =
            record.agree(&[opinion(Proposer::Search, 1.5), opinion(Proposer::Workload, 1.5)]).unwrap();
        assert_eq!(alone, 1.5);
        assert!((together - 1.5 * 2.0_f64.sqrt()).abs() < 1e-12);
        assert!(sure(together) > sure(alone));
    }

    #[test]
    fn where_they_disagree_the_stronger_must_win_clearly() {
        let record = Record::default();
        let say =
            |search, gpu| record.agree(&[opinion(Proposer::Search, search), opinion(Proposer::Gpu, gpu)]);
        assert_eq!(say(1.5, -1.0), None);
        assert_eq!(say(2.5, -1.0), Some(2.5));
        assert_eq!(say(0.5, -2.0), Some(-2.0));
        assert_eq!(record.agree(&[]), None);
    }

    #[test]
    fn who_was_wrong_often_counts_for_less() {
        let mut record = Record::default();
        let of = |by| backers(&[opinion(by, 1.0), opinion(Proposer::Gpu, -1.0)]);
        (0..8).for_each(|_| record.ended(of(Proposer::Workload), false));
        (0..8).for_each(|_| record.ended(of(Proposer::Search), true));
        let both = record.agree(&[opinion(Proposer::Search, 2.0), opinion(Proposer::Workload, 0.5)]).unwrap();
        assert!(both > 1.95, "{both}: the search nearly alone");
    }
}
