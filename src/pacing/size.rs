//! What a document costs, and how many go into one request.
//!
//! Costs are known only from answers, so the mean of what came back stands for what is on its way. Its deviation matters as much: it says how
//! far a sum over documents in flight may be off, which is what the end of a window must be kept free of.
//!
//! A request carries a twentieth of a window, so that a window is spent smoothly and one request more or less is no error that shows; but
//! never so few that the cost of a round trip shows instead, and never more than the service takes. The last
//! request of a window is cut to what is left ([`lane`](super::lane)).

/// What a document is taken to cost before the first answer: an upsert of 1 KiB with few indexed paths. A lane sends one document to learn better.
const FIRST_GUESS: f64 = 10.0;

/// Documents over which the mean is taken: enough to be within 1 % at a deviation of 20 %, few enough to follow a change of documents within
/// a window or two of a small partition. Where documents differ so much that this many are not enough for [`GOOD_MEAN`], more of them are.
const MEMORY: f64 = 400.0;

/// The standard error of the mean that is good enough, as a share of it.
const GOOD_MEAN: f64 = 0.1;

/// The same for the deviation: one document in hundreds may be what makes most of it, and must not be forgotten until the next one comes.
const DEVIATION_MEMORY: f64 = 4_000.0;

/// The share of a window's budget in one request.
const SHARE: f64 = 0.05;

/// Below this many documents a request costs more in round trips than its smoothness is worth.
const FEWEST: f64 = 20.0;

/// The service takes at most this many operations in a batch.
pub(super) const MOST: u32 = 100;

/// So many answers that charge nothing for what they wrote are believed: the target counts no request units, as Microsoft's emulator in its
/// container does not.
const UNPAID: u32 = 3;

/// What a document costs there: as good as nothing, and something that can be divided by.
const FREE: f64 = 1e-6;

/// The cost of a lane's documents, in request units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    mean: f64,
    variance: f64,
    seen: f64,
    /// Answers that charged nothing, before the first that did.
    unpaid: u32,
}

impl Cost {
    pub(super) fn new() -> Self {
        Self { mean: FIRST_GUESS, variance: 0.0, seen: 0.0, unpaid: 0 }
    }

    /// An answer charged `charge` for `documents` that were written.
    pub(super) fn learn(&mut self, charge: f64, documents: u32) {
        if documents == 0 || !charge.is_finite() || charge < 0.0 {
            return;
        }
        if charge == 0.0 {
            self.unpaid = self.unpaid.saturating_add(1);
            if self.seen == 0.0 && self.unpaid >= UNPAID {
                self.mean = FREE;
            }
            return;
        }
        let count = f64::from(documents);
        let off = charge / count - self.mean;
        let enough = self.variance / (GOOD_MEAN * self.mean).powi(2);
        let weight = count / (self.seen.min(enough.clamp(MEMORY, DEVIATION_MEMORY)) + count);
        if self.seen > 0.0 {
            // The mean of n documents deviates by 1/sqrt(n) of what one does.
            let weight = count / (self.seen.min(DEVIATION_MEMORY) + count);
            self.variance += weight * (off * off * count - self.variance);
        }
        self.mean += weight * off;
        self.seen += count;
    }

    /// Whether there has been an answer that tells, or enough of those that charge nothing.
    pub(super) fn is_known(&self) -> bool {
        self.seen > 0.0 || self.unpaid >= UNPAID
    }

    /// What `documents` are expected to cost.
    pub(super) fn of(&self, documents: u32) -> f64 {
        self.mean * f64::from(documents)
    }

    /// The mean cost of a document.
    pub(super) fn mean(&self) -> f64 {
        self.mean
    }

    /// By how much the cost of `documents` in flight may exceed what was expected: two deviations, passed once in 40 times.
    pub(super) fn doubt(&self, documents: u32) -> f64 {
        2.0 * (self.variance * f64::from(documents)).sqrt()
    }

    /// What the dearest document may have cost, within two deviations.
    pub(super) fn largest(&self) -> f64 {
        self.mean + self.doubt(1)
    }

    /// Documents in a request of a lane that may spend `budget` in a window.
    pub(super) fn request(&self, budget: f64) -> u32 {
        (SHARE * budget / self.mean).clamp(FEWEST, f64::from(MOST)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_is_believed_and_later_ones_by_their_weight() {
        let mut cost = Cost::new();
        assert!(!cost.is_known());
        cost.learn(7.0, 1);
        assert!(cost.is_known());
        assert_eq!(cost.mean(), 7.0);
        (0..100).for_each(|_| cost.learn(700.0, 100));
        cost.learn(14.0, 1);
        assert!(cost.mean() < 7.02, "one document among four hundred: {}", cost.mean());
        (0..20).for_each(|_| cost.learn(1400.0, 100));
        assert!(cost.mean() > 13.8, "documents changed: {}", cost.mean());
    }

    #[test]
    fn the_doubt_grows_with_the_root_of_what_is_in_flight() {
        let mut cost = Cost::new();
        (0..400).for_each(|n| cost.learn(if n % 2 == 0 { 6.0 } else { 8.0 }, 1));
        assert!((cost.doubt(1) - 2.0).abs() < 0.2, "{}", cost.doubt(1));
        assert!((cost.doubt(100) - 20.0).abs() < 2.0);
        assert!((cost.largest() - 9.0).abs() < 0.3);
    }

    #[test]
    fn one_dear_document_in_hundreds_is_not_forgotten_until_the_next() {
        let mut cost = Cost::new();
        let mut seen = |documents: u32| {
            (0..documents).for_each(|n| cost.learn(if n % 500 == 250 { 2_000.0 } else { 6.0 }, 1));
            (cost.mean(), cost.doubt(1))
        };
        let (_, doubt) = seen(4_000);
        assert!((120.0..240.0).contains(&doubt), "2 x 2 000 / sqrt(500) = 179: {doubt}");
        let (mean, later) = seen(249);
        assert!(later > 0.8 * doubt, "{later} after {doubt}");
        assert!((8.0..12.0).contains(&mean), "10 on average: {mean}");
    }

    #[test]
    fn requests_carry_a_twentieth_of_a_window_within_limits() {
        let mut cost = Cost::new();
        cost.learn(7.0, 1);
        assert_eq!(cost.request(10_000.0), 71);
        assert_eq!(cost.request(400.0), 20);
        assert_eq!(cost.request(1e6), 100);
    }

    #[test]
    fn answers_that_charge_nothing_are_believed_when_there_are_several_and_until_one_does() {
        let mut cost = Cost::new();
        (0..UNPAID).for_each(|_| {
            assert!(!cost.is_known());
            cost.learn(0.0, 1);
        });
        assert!(cost.is_known());
        assert_eq!(cost.request(400.0), MOST);
        cost.learn(7.0, 1);
        assert_eq!(cost.mean(), 7.0);
        (0..UNPAID).for_each(|_| cost.learn(0.0, 100));
        assert_eq!(cost.mean(), 7.0, "who has charged once does count");
    }

    #[test]
    fn an_answer_that_says_nothing_of_its_documents_teaches_nothing() {
        let mut cost = Cost::new();
        [(0.0, 5), (f64::NAN, 5), (3.0, 0)].into_iter().for_each(|(charge, n)| cost.learn(charge, n));
        assert!(!cost.is_known());
    }
}
