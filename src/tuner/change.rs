//! Whether the world has changed: the throughput of the last seconds against that of the seconds before.

use std::collections::VecDeque;

/// Windows that are recent, and windows before them.
const RECENT: usize = 6;
const BEFORE: usize = 20;

/// Standard errors, and the share of throughput, that a change must exceed. Four errors come by chance once in 16 000 looks; windows are not quite
/// independent, so once an hour or so.
const ERRORS: f64 = 4.0;
const SHARE: f64 = 0.15;

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

    /// What was seen counts no more.
    pub(super) fn restart(&mut self) {
        self.0.clear();
    }
}
