//! Counters that the pipeline turns and `observe` reads: plain atomics, so that counting costs nanoseconds and no lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
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
    /// Workers busy now.
    pub active: Counter,
}

impl PoolMeter {
    /// Notes that a worker was busy for `time` with `documents`.
    pub fn worked(&self, time: Duration, documents: u64) {
        self.busy.add(time.as_nanos() as u64);
        self.documents.add(documents);
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
    /// Requests answered.
    pub answered: Counter,
    /// Of these throttled, wholly or in part.
    pub throttled: Counter,
    /// Requests that failed and are sent again.
    pub retried: Counter,
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
    /// Documents accounted for by this run.
    pub accounted: Counter,
}
