//! Counters that the pipeline turns and `observe` reads: plain atomics, so that counting costs nanoseconds and no lock. Only latencies, one a request, have
//! a lock.

mod latency;
mod pool;

pub use latency::LatencyMeter;
pub use pool::{PoolMeter, PoolReading, PoolSpan, Waiting, Waits, WaitsReading, Working};

use crate::model::event::Quantiles;
use std::array;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

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

/// Windows that are told the most of a gauge: the tuner's, those of the report, and as many again. Any others share the last.
const WINDOWS: usize = 4;

/// An amount that rises and falls, and the most that it was in each [`Window`].
#[derive(Debug)]
pub struct Gauge {
    now: AtomicU64,
    most: [AtomicU64; WINDOWS],
}

impl Default for Gauge {
    fn default() -> Self {
        Self { now: AtomicU64::new(0), most: array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Gauge {
    /// Raises it by so much.
    pub fn rise(&self, amount: u64) {
        let now = self.now.fetch_add(amount, Relaxed) + amount;
        self.most.iter().for_each(|most| {
            most.fetch_max(now, Relaxed);
        });
    }

    /// Lowers it by so much, which it was raised by before.
    pub fn fall(&self, amount: u64) {
        self.now.fetch_sub(amount, Relaxed);
    }

    /// What it is now.
    pub fn get(&self) -> u64 {
        self.now.load(Relaxed)
    }

    /// The most that it was since the window was last closed.
    fn most(&self, window: usize) -> u64 {
        let now = self.get();
        self.most[window.min(WINDOWS - 1)].swap(now, Relaxed).max(now)
    }
}

/// The charge of a lane of a target that counts request units.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LaneCharge {
    /// Request units that it was charged since the run began.
    pub request_units: f64,
    /// Request units per second that it is believed to have; none where that is not known, or where it is closed.
    pub budget: Option<f64>,
}

/// Windows of one observer: what can only be told of a window, and not as a difference of two counts.
#[derive(Debug)]
pub struct Window {
    latency: usize,
    most: usize,
}

/// Everything that is counted while a run goes on.
#[derive(Debug, Default)]
pub struct Meter {
    /// The readers.
    pub readers: PoolMeter,
    /// The transformers. They never wait to hand on: what they make is paid for before they begin.
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
    /// Documents in transform.
    pub transforming: Gauge,
    /// Documents that are transformed and wait for a request.
    pub queued: Gauge,
    /// Time in which readers wait for credits, however many they are.
    pub short_of_credits: Waits,
    /// Credits in use, in bytes.
    pub credits: Counter,
    /// The most credits that were in use.
    pub peak_credits: Counter,
    /// Documents that were seen waiting for a request, each as often as somebody looked.
    pub seen_waiting: Counter,
    /// Of these, the ones whose lane waited for the target's leave.
    pub seen_gated: Counter,
    /// Partitions not yet read to their end.
    pub unfinished_partitions: Counter,
    /// Batches that failed for want of memory on a GPU.
    pub gpu_out_of_memory: Counter,
    /// Documents of this run that have met their end.
    pub settled: Counter,
    /// Of these, the ones of batches all of whose documents have: a resume does not replay them.
    pub accounted: Counter,
    windows: AtomicUsize,
}

impl Meter {
    /// Begins windows of one's own.
    pub fn watch(&self) -> Window {
        Window { latency: self.latency.watch(), most: self.windows.fetch_add(1, Relaxed) }
    }

    /// The latencies of requests since this window was last asked for them.
    pub fn latencies(&self, window: &Window) -> Quantiles {
        self.latency.window(window.latency)
    }

    /// The most documents that were in transform at once since this window was last asked for it.
    pub fn most_transforming(&self, window: &Window) -> u64 {
        self.transforming.most(window.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_window_has_its_own_latencies_and_the_run_has_all() {
        let meter = Meter::default();
        let (often, seldom) = (meter.watch(), meter.watch());
        for (millis, most) in [(10, 10), (20, 20), (5, 5)] {
            meter.latency.record(Duration::from_millis(millis));
            let found = meter.latencies(&often);
            // Two significant digits.
            assert_eq!((found.count, found.p50.as_micros() / 1_000), (1, most));
        }
        let (found, whole) = (meter.latencies(&seldom), meter.latency.quantiles());
        assert_eq!((found.count, found.max.as_micros() / 1_000), (3, 20));
        assert_eq!((whole.count, whole.max.as_micros() / 1_000), (3, 20));
        assert_eq!(meter.latencies(&often), Quantiles::default());
    }

    #[test]
    fn the_most_of_a_window_includes_what_it_began_with() {
        let meter = Meter::default();
        let (often, seldom) = (meter.watch(), meter.watch());
        meter.transforming.rise(100);
        meter.transforming.rise(50);
        meter.transforming.fall(100);
        assert_eq!((meter.most_transforming(&often), meter.transforming.get()), (150, 50));
        meter.transforming.fall(20);
        assert_eq!((meter.most_transforming(&often), meter.most_transforming(&often)), (50, 30));
        assert_eq!(meter.most_transforming(&seldom), 150);
        let last = meter.watch();
        let also = meter.watch();
        assert_eq!((meter.most_transforming(&last), meter.most_transforming(&also)), (150, 150));
        let beyond = meter.watch();
        assert_eq!(meter.most_transforming(&beyond), 30, "it shares the last one's");
    }
}
