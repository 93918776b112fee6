//! Latencies: of the whole run, and of windows.
//!
//! A quantile of a window does not follow from those of the run before and after it, so whoever closes windows has a histogram of its own, which is emptied
//! when it is read. It has two significant digits where that of the run has three: 13 KiB instead of 190.

use crate::model::event::Quantiles;
use hdrhistogram::{Counter, Histogram};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// An hour in microseconds: the most that any request is waited for.
const LONGEST: u64 = 3_600_000_000;

/// The distribution of a latency, from a microsecond to an hour.
#[derive(Debug)]
pub struct LatencyMeter(Mutex<Latencies>);

#[derive(Debug)]
struct Latencies {
    whole: Histogram<u64>,
    windows: Vec<Histogram<u32>>,
}

impl Default for LatencyMeter {
    fn default() -> Self {
        Self(Mutex::new(Latencies { whole: histogram(3), windows: Vec::new() }))
    }
}

fn histogram<C: Counter>(digits: u8) -> Histogram<C> {
    Histogram::new_with_bounds(1, LONGEST, digits)
        .unwrap_or_else(|_| unreachable!("constant bounds are valid"))
}

fn quantiles<C: Counter>(histogram: &Histogram<C>) -> Quantiles {
    let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
    Quantiles {
        count: histogram.len(),
        p50: at(0.5),
        p95: at(0.95),
        p99: at(0.99),
        max: Duration::from_micros(histogram.max()),
    }
}

impl LatencyMeter {
    fn lock(&self) -> MutexGuard<'_, Latencies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes one request's latency.
    pub fn record(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        let mut latencies = self.lock();
        latencies.whole.saturating_record(micros);
        latencies.windows.iter_mut().for_each(|window| window.saturating_record(micros));
    }

    /// The quantiles of the whole run.
    pub fn quantiles(&self) -> Quantiles {
        quantiles(&self.lock().whole)
    }

    /// Begins windows of one's own; the number names them.
    pub(super) fn watch(&self) -> usize {
        let mut latencies = self.lock();
        latencies.windows.push(histogram(2));
        latencies.windows.len() - 1
    }

    /// The quantiles since this was last asked for; none to whom no windows belong.
    pub(super) fn window(&self, number: usize) -> Quantiles {
        let mut latencies = self.lock();
        let Some(window) = latencies.windows.get_mut(number) else { return Quantiles::default() };
        if window.is_empty() {
            return Quantiles::default();
        }
        let found = quantiles(window);
        window.reset();
        found
    }
}
