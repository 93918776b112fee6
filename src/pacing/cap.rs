//! The hard cap of `--max-ru`: one bucket that all lanes draw from.
//!
//! By need, not by share: whichever lane has documents and budget of its own takes what there is, so a skewed migration still
//! spends the whole cap. Fairness is the caller's order of asking.
//!
//! The bucket lets a request pass while anything is in it and may be overdrawn by that one request. So the wait depends on nothing but the
//! bucket, and over any time `t` no more than `rate * t`, one depth and one request is spent: with the two constants below 2 %
//! over ten seconds, which leaves 1 % for costs that were guessed too low and are corrected a round trip later.

/// How much unused leave is kept, in seconds of the rate: a scheduler that wakes late by less loses nothing.
const DEPTH: f64 = 0.1;

/// The largest request, in seconds of the rate.
const REQUEST: f64 = 0.1;

/// The shared bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cap {
    /// Request units per second; none: no cap.
    rate: Option<f64>,
    left: f64,
    filled: f64,
}

impl Cap {
    pub(super) fn new(rate: Option<f64>) -> Self {
        Self { rate, left: 0.0, filled: 0.0 }
    }

    /// Sets another cap from `now` on.
    pub(super) fn set(&mut self, now: f64, rate: Option<f64>) {
        self.fill(now);
        self.rate = rate;
        self.left = self.left.min(rate.unwrap_or(0.0) * DEPTH);
    }

    fn fill(&mut self, now: f64) {
        if let Some(rate) = self.rate {
            self.left = (self.left + rate * (now - self.filled).max(0.0)).min(rate * DEPTH);
        }
        self.filled = self.filled.max(now);
    }

    /// The earliest time from `now` on at which a request may pass.
    pub(super) fn earliest(&mut self, now: f64) -> f64 {
        self.fill(now);
        match self.rate {
            Some(rate) if self.left <= 0.0 => now - self.left / rate,
            _ => now,
        }
    }

    /// Documents of `cost` each that fit into one request; at least one.
    pub(super) fn fits(&self, cost: f64) -> u32 {
        self.rate.map_or(u32::MAX, |rate| ((rate * REQUEST / cost) as u32).max(1))
    }

    /// Takes what a request is expected to cost, or, negative, gives back what it did not.
    pub(super) fn spend(&mut self, units: f64) {
        if self.rate.is_some() {
            self.left -= units;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn without_a_cap_everything_passes() {
        let mut cap = Cap::new(None);
        cap.spend(1e9);
        assert_eq!(cap.earliest(3.0), 3.0);
        assert_eq!(cap.fits(7.0), u32::MAX);
    }

    #[test]
    fn a_dear_document_passes_alone_and_is_paid_off() {
        let mut cap = Cap::new(Some(10.0));
        assert_eq!(cap.fits(500.0), 1);
        assert_eq!(cap.earliest(1.0), 1.0);
        cap.spend(501.0);
        assert!((cap.earliest(1.0) - 51.0).abs() < 1e-9);
    }

    #[test]
    fn a_new_cap_holds_at_once() {
        let mut cap = Cap::new(Some(1e6));
        assert_eq!(cap.earliest(1.0), 1.0);
        cap.set(1.0, Some(100.0));
        cap.spend(10.0);
        assert!(cap.earliest(1.0) >= 1.0 && cap.earliest(1.0) < 1.001, "no more than the new depth was left");
        cap.spend(10.0);
        assert!(cap.earliest(1.0) > 1.09);
    }

    proptest! {
        /// Over any stretch of time: no more than the rate, one depth and one request.
        #[test]
        fn is_never_exceeded(
            rate in 10.0..1e5f64,
            asks in proptest::collection::vec((0.0..0.3f64, 0.01..1.0f64), 1..200),
        ) {
            let mut cap = Cap::new(Some(rate));
            let (mut now, mut spent) = (0.0, Vec::new());
            for (pause, share) in asks {
                now += pause;
                let at = cap.earliest(now);
                prop_assert!(at >= now);
                now = at + 1e-6;
                prop_assert_eq!(cap.earliest(now), now, "the time that was told admits");
                let units = rate * REQUEST * share;
                cap.spend(units);
                spent.push((now, units));
            }
            for from in 0..spent.len() {
                let mut sum = 0.0;
                for (at, units) in &spent[from..] {
                    sum += units;
                    let most = rate * (at - spent[from].0 + DEPTH + REQUEST + 1e-5);
                    prop_assert!(sum <= most, "{} in {} s", sum, at - spent[from].0);
                }
            }
        }
    }
}
