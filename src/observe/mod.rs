//! What is measured: the pipeline's counters and the machine's, closed into a [`Sample`] once a window.

pub mod host;

use crate::model::knobs::Knobs;
use crate::model::meter::{Meter, PoolMeter};
use crate::model::sample::{PoolUse, Sample};
use host::{Host, HostUse};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Closes windows.
#[derive(Debug)]
pub struct Observer {
    meter: Arc<Meter>,
    host: Host,
    began: Instant,
    last: Reading,
}

/// The counters at a window's end.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    accounted: u64,
    bytes_read: u64,
    readers: (u64, u64),
    transformers: (u64, u64),
    requests: (u64, u64),
    answered: u64,
    flights: u64,
    throttled: u64,
    retried: u64,
    cpu: Duration,
}

impl Observer {
    /// An observer whose first window begins now.
    pub fn new(meter: Arc<Meter>, mut host: Host) -> Self {
        let last = Reading::take(&meter, host.measure().cpu_time);
        Self { meter, host, began: last.at, last }
    }

    /// Closes the window: what happened since the last call.
    pub fn close(&mut self, knobs: &Knobs) -> Sample {
        let HostUse { cpu_time, resident } = self.host.measure();
        let now = Reading::take(&self.meter, cpu_time);
        let last = std::mem::replace(&mut self.last, now);
        let window = now.at - last.at;
        let seconds = window.as_secs_f64().max(1e-9);
        let pool = |(busy, documents): (u64, u64), (busy_before, before): (u64, u64), size: usize| PoolUse {
            busy: (busy - busy_before) as f64 / 1e9 / seconds / size.max(1) as f64,
            documents_per_second: (documents - before) as f64 / seconds,
            ..PoolUse::default()
        };
        let answered = (now.answered - last.answered) as f64;
        let retried = (now.retried - last.retried) as f64;
        let flights = (now.flights - last.flights) as f64;
        let backlogged = self.meter.lanes_backlogged.get();
        Sample {
            at: now.at - self.began,
            window,
            documents_per_second: (now.accounted - last.accounted) as f64 / seconds,
            bytes_per_second: (now.bytes_read - last.bytes_read) as f64 / seconds,
            readers: pool(now.readers, last.readers, knobs.readers),
            transformers: pool(now.transformers, last.transformers, knobs.transformers),
            requests: pool(now.requests, last.requests, knobs.requests_in_flight),
            throttled: share((now.throttled - last.throttled) as f64, answered),
            failed: share(retried, flights),
            credits_used: share(self.meter.credits.get() as f64, knobs.credit_bytes as f64),
            lanes_gated: share(self.meter.lanes_gated.get() as f64, backlogged as f64),
            cpu: (now.cpu - last.cpu).as_secs_f64() / seconds / self.host.cores() as f64,
            memory: Some(share(resident as f64, self.host.memory_limit() as f64)),
            memory_limit: self.host.memory_limit(),
            resident_bytes: resident,
            unfinished_partitions: self.meter.unfinished_partitions.get() as usize,
            ..Sample::default()
        }
    }
}

impl Reading {
    fn take(meter: &Meter, cpu: Duration) -> Self {
        let pool = |pool: &PoolMeter| (pool.busy.get(), pool.documents.get());
        Self {
            at: Instant::now(),
            accounted: meter.accounted.get(),
            bytes_read: meter.bytes_read.get(),
            readers: pool(&meter.readers),
            transformers: pool(&meter.transformers),
            requests: pool(&meter.requests),
            answered: meter.answered.get(),
            throttled: meter.throttled.get(),
            retried: meter.retried.get(),
            flights: meter.flights.get(),
            cpu,
        }
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_what_happened_since_the_last() {
        let meter = Arc::new(Meter::default());
        let mut observer = Observer::new(Arc::clone(&meter), Host::new());
        meter.accounted.add(100);
        meter.answered.add(3);
        meter.retried.add(1);
        meter.flights.add(4);
        meter.credits.set(16);
        let knobs = Knobs {
            readers: 1,
            transformers: 1,
            requests_in_flight: 1,
            batch_documents: 1,
            request_documents: 1,
            credit_bytes: 64,
        };
        let first = observer.close(&knobs);
        assert!((first.documents_per_second * first.window.as_secs_f64() - 100.0).abs() < 1e-6);
        assert_eq!((first.failed, first.credits_used), (0.25, 0.25));
        assert!(first.resident_bytes > 0 && first.memory > Some(0.0));
        assert_eq!(observer.close(&knobs).documents_per_second, 0.0);
    }
}
