//! What a physical partition may spend: request units in windows of one second.
//!
//! Theory: the service meters a partition in seconds of its own clock. An operation is admitted while the window has anything left; what it
//! costs is known only afterwards, so the last one overshoots, and the overshoot is a debt of the windows that follow.
//! Whoever comes when nothing is left is sent away until the window ends. Windows of different partitions begin at different moments,
//! which nobody outside is told.
//!
//! Pure: the clock is passed in, as the time since the endpoint was started.

use serde::Serialize;
use std::collections::VecDeque;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(1);

/// Windows kept for the ledger: an hour's worth; a test looks at seconds.
const KEPT_WINDOWS: usize = 3600;

/// The budget of one partition, and the ledger of what it was spent on.
#[derive(Clone, Debug)]
pub struct Budget {
    per_window: f64,
    phase: Duration,
    window: u64,
    /// Spent in this window, debt of earlier ones included.
    spent: f64,
    ledger: VecDeque<Window>,
}

/// One window in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Window {
    /// Its number since the start; windows in which nothing happened are left out.
    pub window: u64,
    /// What could be spent in it, had there been no debt; infinite where there is no limit, which JSON writes as null.
    pub budget: f64,
    /// Debt of the window before.
    pub debt: f64,
    /// Request units of the operations that were admitted.
    pub request_units: f64,
    /// How many were admitted.
    pub operations: u64,
    /// How many were sent away.
    pub throttled: u64,
}

/// Nothing is left: come back after this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted(pub Duration);

impl Budget {
    /// A budget of `per_window` request units, which may be infinite. `phase` (below one second) is how far the first window has already gone at time zero.
    pub fn new(per_window: f64, phase: Duration) -> Self {
        Self { per_window, phase, window: 0, spent: 0.0, ledger: VecDeque::new() }
    }

    /// Changes what a window holds, from this one on.
    pub fn set(&mut self, per_window: f64) {
        self.per_window = per_window;
    }

    /// Whether operations may be admitted now. Each that is must be followed by [`Budget::spend`].
    pub fn admit(&mut self, now: Duration) -> Result<(), Exhausted> {
        self.enter(now);
        if self.spent < self.per_window {
            return Ok(());
        }
        self.entry().throttled += 1;
        Err(self.until_next(now))
    }

    /// Accounts for an operation that was admitted.
    pub fn spend(&mut self, request_units: f64) {
        let entry = self.entry();
        entry.request_units += request_units;
        entry.operations += 1;
        self.spent += request_units;
    }

    /// The windows in which something happened, oldest first.
    pub fn ledger(&self) -> impl Iterator<Item = &Window> {
        self.ledger.iter()
    }

    /// The time until the next window begins: never zero.
    pub fn until_next(&self, now: Duration) -> Exhausted {
        let gone = (now + self.phase).as_nanos() % WINDOW.as_nanos();
        Exhausted(WINDOW - Duration::from_nanos(gone as u64))
    }

    fn enter(&mut self, now: Duration) {
        let window = (now + self.phase).as_secs();
        if window > self.window {
            let passed = (window - self.window) as f64;
            self.spent = (self.spent - passed * self.per_window).max(0.0);
            self.window = window;
        }
    }

    fn entry(&mut self) -> &mut Window {
        if self.ledger.back().is_none_or(|last| last.window != self.window) {
            if self.ledger.len() == KEPT_WINDOWS {
                self.ledger.pop_front();
            }
            // The first that happens in a window finds what earlier ones have left.
            let (window, budget, debt) = (self.window, self.per_window, self.spent);
            self.ledger.push_back(Window { window, budget, debt, ..Window::default() });
        }
        let last = self.ledger.len() - 1;
        &mut self.ledger[last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_overshoot_is_a_debt_of_the_next_window() {
        let mut budget = Budget::new(10.0, ms(0));
        budget.admit(ms(0)).unwrap();
        budget.spend(9.0);
        budget.admit(ms(1)).unwrap();
        budget.spend(9.0);
        assert_eq!(budget.admit(ms(250)), Err(Exhausted(ms(750))));
        budget.admit(ms(1000)).unwrap();
        budget.spend(2.0);
        assert!(budget.admit(ms(1001)).is_err());
        budget.admit(ms(2000)).unwrap();
        let debts: Vec<_> =
            budget.ledger().map(|window| (window.window, window.debt, window.throttled)).collect();
        assert_eq!(debts, [(0, 0.0, 1), (1, 8.0, 1)]);
    }

    #[test]
    fn a_debt_of_many_windows_is_paid_before_anything_is_admitted() {
        let mut budget = Budget::new(10.0, ms(0));
        budget.admit(ms(0)).unwrap();
        budget.spend(35.0);
        assert!(budget.admit(ms(2999)).is_err());
        assert!(budget.admit(ms(3000)).is_ok());
    }

    #[test]
    fn the_phase_moves_the_end_of_the_window() {
        let mut budget = Budget::new(1.0, ms(300));
        budget.admit(ms(0)).unwrap();
        budget.spend(2.0);
        assert_eq!(budget.admit(ms(600)), Err(Exhausted(ms(100))));
        assert!(budget.admit(ms(700)).is_err(), "one unit of debt fills the next window");
        assert!(budget.admit(ms(1700)).is_ok());
    }

    #[test]
    fn a_change_holds_from_the_present_window_on() {
        let mut budget = Budget::new(10.0, ms(0));
        budget.admit(ms(0)).unwrap();
        budget.spend(7.0);
        budget.set(5.0);
        assert!(budget.admit(ms(1)).is_err(), "seven of five are spent");
        budget.admit(ms(1000)).unwrap();
        budget.spend(4.0);
        assert!(budget.admit(ms(1001)).is_err(), "two were a debt");
        budget.set(20.0);
        assert!(budget.admit(ms(1002)).is_ok());
        let budgets: Vec<f64> = budget.ledger().map(|window| window.budget).collect();
        assert_eq!(budgets, [10.0, 5.0], "a window is judged by what it began with");
    }

    #[test]
    fn without_a_limit_everything_is_admitted_until_there_is_one() {
        let mut budget = Budget::new(f64::INFINITY, ms(0));
        for now in [0, 500, 1500, 9000] {
            budget.admit(ms(now)).unwrap();
            budget.spend(1e9);
        }
        budget.set(10.0);
        assert!(budget.admit(ms(9999)).is_err());
        assert_eq!(budget.ledger().map(|window| window.debt).collect::<Vec<_>>(), [0.0; 3]);
    }

    proptest! {
        /// Over any number of windows no more is admitted than their budgets and the last overshoot, whatever comes when.
        #[test]
        fn no_more_is_spent_than_there_was(
            per_window in 1.0..100.0f64,
            phase in 0..1000u64,
            steps in prop::collection::vec((0..400u64, 0.1..50.0f64), 1..200),
        ) {
            let mut budget = Budget::new(per_window, ms(phase));
            let (mut now, mut spent, mut last) = (0, 0.0, 0.0);
            for (wait, cost) in steps {
                now += wait;
                if budget.admit(ms(now)).is_ok() {
                    prop_assert!(spent < per_window * (1.0 + ((now + phase) / 1000) as f64) + 1e-6);
                    budget.spend(cost);
                    spent += cost;
                    last = cost;
                } else {
                    // Nothing was left, counted from the first window on, unless time passed unused.
                    let Exhausted(wait) = budget.until_next(ms(now));
                    prop_assert!(wait > Duration::ZERO && wait <= WINDOW);
                    prop_assert_eq!((ms(now + phase) + wait).subsec_nanos(), 0);
                }
            }
            let windows = 1.0 + ((now + phase) / 1000) as f64;
            prop_assert!(spent < windows * per_window + last + 1e-6);
            let in_ledger: f64 = budget.ledger().map(|window| window.request_units).sum();
            prop_assert!((in_ledger - spent).abs() < 1e-6);
        }

        /// Whoever always has something to send gets the whole budget of every window.
        #[test]
        fn nothing_is_withheld(per_window in 20.0..100.0f64, phase in 0..1000u64, cost in 1.0..5.0f64) {
            let mut budget = Budget::new(per_window, ms(phase));
            let mut spent = 0.0;
            for now in 0..10_000 {
                if budget.admit(ms(now)).is_ok() {
                    budget.spend(cost);
                    spent += cost;
                }
            }
            let whole_windows = ((10_000 + phase) / 1000) as f64;
            prop_assert!(spent >= whole_windows * per_window - 1e-6);
        }
    }
}
