//! Counters that the pipeline turns and `observe` reads: plain atomics, so that counting costs nanoseconds and no lock.

use crate::model::event::Quantiles;
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A counter that only grows, or a gauge that is set. Relaxed: readers want a recent value, not an order.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Raises it to at least `value`.
    pub fn raise(&self, value: u64) {
        self.0.fetch_max(value, Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one pool has done since the run began.
#[derive(Debug, Default)]
pub struct PoolMeter {
    /// Time its workers were busy, in nanoseconds, summed over workers.
    pub busy: Counter,
    /// Documents finished.
    pub documents: Counter,
}

impl PoolMeter {
    /// Notes that a worker was busy for `time` with `documents`.
    pub fn worked(&self, time: Duration, documents: u64) {
        self.busy.add(time.as_nanos() as u64);
        self.documents.add(documents);
    }
}

/// The distribution of a latency, in microseconds with three significant digits: 1 µs to an hour in about 40 KiB.
#[derive(Debug)]
pub struct LatencyMeter(Mutex<Histogram<u64>>);

impl Default for LatencyMeter {
    fn default() -> Self {
        // Three digits are always accepted; an hour is the most that any request is waited for.
        let histogram = Histogram::new_with_bounds(1, 3_600_000_000, 3);
        Self(Mutex::new(histogram.unwrap_or_else(|_| unreachable!("constant bounds are valid"))))
    }
}

impl LatencyMeter {
    /// Notes one request's latency.
    pub fn record(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros.max(1));
    }

    /// Its quantiles.
    pub fn quantiles(&self) -> Quantiles {
        let histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        Quantiles {
            count: histogram.len(),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: Duration::from_micros(histogram.max()),
        }
    }
}

/// Everything that is counted while a run goes on.
#[derive(Debug, Default)]
pub struct Meter {
    /// The readers.
    pub readers: PoolMeter,
    /// The transformers.
    pub transformers: PoolMeter,
    /// The requests in flight.
    pub requests: PoolMeter,
    /// Documents read by this run.
    pub read: Counter,
    /// Bytes of them.
    pub bytes_read: Counter,
    /// Time from sending a request to its answer.
    pub latency: LatencyMeter,
    /// Requests that lanes were given and came back with, answered or failed. A lane may make several of one.
    pub flights: Counter,
    /// Requests answered, as they went over the wire.
    pub answered: Counter,
    /// Of these throttled, wholly or in part.
    pub throttled: Counter,
    /// Documents that were sent and throttled, each as often as it was.
    pub throttled_documents: Counter,
    /// Requests that failed and are sent again.
    pub retried: Counter,
    /// Documents that failed and are sent again, each as often as it was.
    pub retried_documents: Counter,
    /// Request units times 1 000.
    pub milli_request_units: Counter,
    /// Credits in use, in bytes.
    pub credits: Counter,
    /// The most credits that were in use.
    pub peak_credits: Counter,
    /// Lanes with a backlog.
    pub lanes_backlogged: Counter,
    /// Of these, lanes that wait for the target's leave.
    pub lanes_gated: Counter,
    /// Partitions not yet read to their end.
    pub unfinished_partitions: Counter,
    /// Documents of this run that have met their end.
    pub settled: Counter,
    /// Of these, the ones of batches all of whose documents have: a resume does not replay them.
    pub accounted: Counter,
}
