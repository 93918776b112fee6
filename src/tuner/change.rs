//! Whether the world has changed: the throughput of the last seconds against that of the seconds before. And whether it is steady enough to take workers away.

use std::collections::VecDeque;

/// Windows that are recent, and windows before them.
const RECENT: usize = 6;
const BEFORE: usize = 20;

/// Standard errors, and the share of throughput, that a change must exceed. Four errors come by chance once in 16 000 looks; windows are not quite
/// independent, so once an hour or so.
const ERRORS: f64 = 4.0;
const SHARE: f64 = 0.15;

/// Windows over which throughput is steady if its coefficient of variation is no more than this.
const STEADY_WINDOWS: usize = 10;
const STEADY: f64 = 0.15;

/// Throughput lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(VecDeque<f64>);

impl Watch {
    /// Takes a window in; returns whether throughput has changed.
    pub(super) fn has_changed(&mut self, documents_per_second: f64) -> bool {
        self.0.push_back(documents_per_second);
        if self.0.len() > RECENT + BEFORE {
            self.0.pop_front();
        }
        if self.0.len() < RECENT + BEFORE {
            return false;
        }
        let mean = |from: usize, to: usize| self.0.range(from..to).sum::<f64>() / (to - from) as f64;
        let (before, recent) = (mean(0, BEFORE), mean(BEFORE, BEFORE + RECENT));
        let squares: f64 = self.0.range(0..BEFORE).map(|x| (x - before).powi(2)).sum();
        let variance = squares / (BEFORE - 1) as f64;
        let error = (variance * (1.0 / RECENT as f64 + 1.0 / BEFORE as f64)).sqrt().max(0.01 * before);
        let difference = (recent - before).abs();
        difference > ERRORS * error && difference > SHARE * before
    }

    /// Whether throughput has hardly varied for ten windows.
    pub(super) fn is_steady(&self) -> bool {
        let Some(first) = self.0.len().checked_sub(STEADY_WINDOWS) else { return false };
        let lately = || self.0.range(first..);
        let mean = lately().sum::<f64>() / STEADY_WINDOWS as f64;
        let variance = lately().map(|x| (x - mean).powi(2)).sum::<f64>() / (STEADY_WINDOWS - 1) as f64;
        variance.sqrt() <= STEADY * mean
    }

    /// What was seen counts no more.
    pub(super) fn restart(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_steady(windows: impl IntoIterator<Item = f64>) -> bool {
        let mut watch = Watch::default();
        windows.into_iter().for_each(|window| {
            watch.has_changed(window);
        });
        watch.is_steady()
    }

    #[test]
    fn throughput_is_steady_when_ten_windows_hardly_vary() {
        let swings = |by: f64| (0..10).map(move |n| 100.0 * if n % 2 == 0 { 1.0 + by } else { 1.0 - by });
        assert!(is_steady(swings(0.13)));
        assert!(!is_steady(swings(0.16)));
        assert!(!is_steady(swings(0.0).take(9)), "too few windows");
        assert!(is_steady([0.0, 900.0].into_iter().chain(swings(0.1))), "what was before does not count");
        assert!(is_steady([0.0; 10]), "nothing moves");
    }
}
