//! A lane's budget, in windows of one second, as Cosmos keeps it for a physical partition.
//!
//! A document is taken while anything of the window is left, whatever it costs: the last one may overshoot, and what it took too
//! much is owed by the windows that follow. So the mean rate is exact, the first answer after a pause is never refused, and
//! a caller that waits as long as it was told is taken again. Pure: the time is passed in.

use std::time::Duration;

/// What one lane may spend.
#[derive(Debug)]
pub(super) struct Budget {
    per_second: f64,
    window: u64,
    spent: f64,
}

impl Budget {
    /// `per_second` request units; 0 is unlimited.
    pub(super) fn new(per_second: f64) -> Self {
        Self { per_second, window: 0, spent: 0.0 }
    }

    /// Spends `cost` at `now` (time since the store's start), or says how long the caller must wait.
    pub(super) fn take(&mut self, now: Duration, cost: f64) -> Result<(), Duration> {
        if self.per_second == 0.0 {
            return Ok(());
        }
        let window = now.as_secs();
        if window > self.window {
            self.spent = (self.spent - self.per_second * (window - self.window) as f64).max(0.0);
            self.window = window;
        }
        if self.spent < self.per_second {
            self.spent += cost;
            return Ok(());
        }
        Err(self.free_again().saturating_sub(now))
    }

    /// The end of the last window that has nothing left.
    fn free_again(&self) -> Duration {
        let windows = (self.spent / self.per_second).floor().max(1.0) as u64;
        Duration::from_secs(self.window + windows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_document_overshoots_and_the_next_window_pays() {
        let mut budget = Budget::new(10.0);
        let at = Duration::from_millis;
        assert_eq!(budget.take(at(0), 9.0), Ok(()));
        assert_eq!(budget.take(at(100), 9.0), Ok(()), "one unit was left");
        assert_eq!(budget.take(at(200), 1.0), Err(at(800)));
        assert_eq!(budget.take(at(1000), 1.0), Ok(()), "eight of ten are owed, two are left");
        assert_eq!(budget.take(at(1000), 1.0), Ok(()));
        assert_eq!(budget.take(at(1300), 1.0), Err(at(700)));
    }

    #[test]
    fn a_debt_of_several_windows_is_waited_for_in_full() {
        let mut budget = Budget::new(10.0);
        let at = Duration::from_millis;
        assert_eq!(budget.take(at(500), 35.0), Ok(()));
        assert_eq!(budget.take(at(500), 1.0), Err(at(2500)));
        assert_eq!(budget.take(at(3000), 1.0), Ok(()));
    }

    #[test]
    fn zero_is_unlimited() {
        let mut budget = Budget::new(0.0);
        assert!((0..1000).all(|_| budget.take(Duration::ZERO, 1e9).is_ok()));
    }
}
