//! What is measured: the pipeline's counters and the machine's, closed into a [`Sample`] once a window.
//!
//! ```text
//!  model::meter  what the pools do        host.rs      CPU and memory, ours and others'      gpu/  graphics processors
//!  charges       request units by lane      cgroup.rs    limits                                (a thread of its own)
//!                                           pressure.rs  waiting for cores, memory, disks
//!                                           network.rs   bytes
//! ```
//!
//! What cannot be measured is absent from a sample, never zero and never an error. **Connections** are absent always: the client of Cosmos keeps a pool of them and
//! does not tell how many, and requests in flight are no measure of connections where one connection carries many. The whole of it costs some hundred
//! microseconds a window (`benches/README.md`).

mod cgroup;
pub mod gpu;
pub mod host;
mod kernel;
mod network;
mod pressure;

use crate::model::knobs::Knobs;
use crate::model::meter::{LaneCharge, Meter, PoolMeter, PoolReading, WaitsReading, Window};
use crate::model::sample::{LaneUse, NetworkUse, PoolUse, Sample};
use gpu::Gpus;
use host::{Host, HostUse};
use std::sync::Arc;
use std::time::Instant;

/// Tells what each lane was charged.
type Charges = Box<dyn Fn() -> Vec<LaneCharge> + Send>;

/// Closes windows.
pub struct Observer {
    meter: Arc<Meter>,
    window: Window,
    host: Host,
    gpus: Option<Gpus>,
    charges: Charges,
    began: Instant,
    last: Reading,
}

/// The counters at a window's end.
struct Reading {
    at: Instant,
    settled: u64,
    bytes_read: u64,
    readers: PoolReading,
    transformers: PoolReading,
    requests: PoolReading,
    short_of_credits: WaitsReading,
    seen_waiting: u64,
    seen_gated: u64,
    answered: u64,
    flights: u64,
    throttled: u64,
    retried: u64,
    milli_request_units: u64,
    gpu_out_of_memory: u64,
    charges: Vec<LaneCharge>,
    host: HostUse,
}

impl Observer {
    /// An observer whose first window begins now.
    pub fn new(meter: Arc<Meter>, mut host: Host) -> Self {
        let last = Reading::take(&meter, host.measure(), Vec::new());
        Self {
            window: meter.watch(),
            meter,
            host,
            gpus: None,
            charges: Box::new(Vec::new),
            began: last.at,
            last,
        }
    }

    /// The same, which also tells what these GPUs use.
    pub fn with_gpus(mut self, gpus: Gpus) -> Self {
        self.gpus = Some(gpus);
        self
    }

    /// The same, which also tells what the lanes are charged, as `charges` says.
    pub fn with_charges(mut self, charges: impl Fn() -> Vec<LaneCharge> + Send + 'static) -> Self {
        self.last.charges = charges();
        self.charges = Box::new(charges);
        self
    }

    /// Closes the window: what happened since the last call.
    pub fn close(&mut self, knobs: &Knobs) -> Sample {
        let now = Reading::take(&self.meter, self.host.measure(), (self.charges)());
        let last = std::mem::replace(&mut self.last, now);
        let (now, meter) = (&self.last, &self.meter);
        let window = now.at - last.at;
        let seconds = window.as_secs_f64().max(1e-9);
        let rate = |now: u64, before: u64| now.wrapping_sub(before) as f64 / seconds;
        let flights = now.flights - last.flights;
        let limit = self.host.memory_limit();
        let resident = now.host.resident.unwrap_or_default();
        Sample {
            at: now.at - self.began,
            window,
            documents_per_second: rate(now.settled, last.settled),
            bytes_per_second: rate(now.bytes_read, last.bytes_read),
            readers: pool(&now.readers, &last.readers, seconds, knobs.readers),
            transformers: pool(&now.transformers, &last.transformers, seconds, knobs.transformers),
            requests: pool(&now.requests, &last.requests, seconds, knobs.requests_in_flight),
            latency: meter.latencies(&self.window),
            queued_documents: meter.queued.get(),
            transforming_documents: meter.transforming.get(),
            most_transforming_documents: meter.most_transforming(&self.window),
            throttled: share((now.throttled - last.throttled) as f64, (now.answered - last.answered) as f64),
            failed: share((now.retried - last.retried) as f64, flights as f64),
            answers: flights,
            request_units_per_second: rate(now.milli_request_units, last.milli_request_units) / 1e3,
            lanes: lanes(&now.charges, &last.charges, seconds),
            connections: None,
            credits_used: share(meter.credits.get() as f64, knobs.credit_bytes as f64),
            credit_bytes_used: meter.credits.get(),
            credits_short: (now.short_of_credits.since(&last.short_of_credits) / seconds).min(1.0),
            lanes_gated: share(
                (now.seen_gated - last.seen_gated) as f64,
                (now.seen_waiting - last.seen_waiting) as f64,
            ),
            cpu: now.host.cpu_since(&last.host).map_or(0.0, |time| time / seconds / self.host.cores()),
            cpu_others: self.cpu_others(&last.host, seconds),
            memory: self.memory(limit),
            resident_bytes: resident,
            memory_limit: limit.unwrap_or_default(),
            pressure: now.host.pressure,
            network: now.host.network_since(&last.host, seconds),
            gpus: self.gpus.as_ref().map(Gpus::latest).unwrap_or_default(),
            gpu_out_of_memory: now.gpu_out_of_memory - last.gpu_out_of_memory,
            unfinished_partitions: meter.unfinished_partitions.get() as usize,
        }
    }

    /// What others took of the cores that this process may run on.
    fn cpu_others(&self, last: &HostUse, seconds: f64) -> Option<f64> {
        let host = &self.last.host;
        let busy = host.cores_busy?.checked_sub(last.cores_busy?)?.as_secs_f64();
        let others = busy - host.cpu_since(last)?;
        let cores = self.host.allowed_cores()? as f64;
        // Both are counted in hundredths of a second, and not at the same moment.
        Some((others / seconds / cores).clamp(0.0, 1.0))
    }

    /// The share of the memory in use: ours, or that of the control group where it is fuller.
    fn memory(&self, limit: Option<u64>) -> Option<f64> {
        let limit = limit.filter(|limit| *limit > 0);
        let own = self.last.host.resident.zip(limit).map(|(used, limit)| used as f64 / limit as f64);
        own.into_iter().chain(self.last.host.group_memory).reduce(f64::max)
    }
}

impl HostUse {
    /// Seconds of CPU time since `earlier`.
    fn cpu_since(&self, earlier: &Self) -> Option<f64> {
        Some(self.cpu_time?.checked_sub(earlier.cpu_time?)?.as_secs_f64())
    }

    /// The traffic since `earlier`; none where an interface has gone with its count.
    fn network_since(&self, earlier: &Self, seconds: f64) -> Option<NetworkUse> {
        let (now, before) = (self.traffic?, earlier.traffic?);
        let rate = |now: u64, before: u64| Some(now.checked_sub(before)? as f64 / seconds);
        Some(NetworkUse {
            received: rate(now.received, before.received)?,
            sent: rate(now.sent, before.sent)?,
        })
    }
}

impl Reading {
    fn take(meter: &Meter, host: HostUse, charges: Vec<LaneCharge>) -> Self {
        let at = Instant::now();
        let pool = |pool: &PoolMeter| pool.read(at);
        Self {
            at,
            settled: meter.settled.get(),
            bytes_read: meter.bytes_read.get(),
            readers: pool(&meter.readers),
            transformers: pool(&meter.transformers),
            requests: pool(&meter.requests),
            short_of_credits: meter.short_of_credits.read(at),
            // The part before the whole: a share of more than one would be none.
            seen_gated: meter.seen_gated.get(),
            seen_waiting: meter.seen_waiting.get(),
            throttled: meter.throttled.get(),
            answered: meter.answered.get(),
            retried: meter.retried.get(),
            flights: meter.flights.get(),
            milli_request_units: meter.milli_request_units.get(),
            gpu_out_of_memory: meter.gpu_out_of_memory.get(),
            charges,
            host,
        }
    }
}

fn pool(now: &PoolReading, last: &PoolReading, seconds: f64, size: usize) -> PoolUse {
    let span = now.since(last);
    let places = seconds * size.max(1) as f64;
    PoolUse {
        busy: span.busy / places,
        blocked: span.blocked / places,
        documents_per_second: span.documents as f64 / seconds,
        bytes_per_second: span.bytes as f64 / seconds,
        work: span.work,
    }
}

/// What each lane was charged a second. One that is new was charged nothing before.
fn lanes(now: &[LaneCharge], last: &[LaneCharge], seconds: f64) -> Vec<LaneUse> {
    let before = last.iter().map(|charge| charge.request_units).chain(std::iter::repeat(0.0));
    let lane = |(charge, before): (&LaneCharge, f64)| LaneUse {
        request_units_per_second: (charge.request_units - before) / seconds,
        budget: charge.budget,
    };
    now.iter().zip(before).map(lane).collect()
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::kernel::tests::{tree, write};
    use std::sync::Mutex;
    use std::time::Duration;

    const KNOBS: Knobs = Knobs {
        readers: 2,
        transformers: 1,
        requests_in_flight: 1,
        batch_documents: 1,
        request_documents: 1,
        credit_bytes: 64,
    };

    #[test]
    fn a_window_holds_what_happened_since_the_last() {
        let meter = Arc::new(Meter::default());
        let mut observer = Observer::new(Arc::clone(&meter), Host::new());
        meter.settled.add(100);
        meter.answered.add(3);
        meter.throttled.add(1);
        meter.retried.add(1);
        meter.flights.add(4);
        meter.credits.set(16);
        meter.milli_request_units.add(5_000);
        meter.gpu_out_of_memory.add(2);
        meter.seen_gated.add(3);
        meter.seen_waiting.add(4);
        meter.queued.rise(7);
        meter.transforming.rise(9);
        meter.transforming.fall(8);
        meter.latency.record(Duration::from_millis(3));
        let mut working = meter.readers.begin();
        working.progressed(10, 1_000);
        let first = observer.close(&KNOBS);
        let seconds = first.window.as_secs_f64();
        let count = |rate: f64| (rate * seconds).round();
        assert_eq!((count(first.documents_per_second), count(first.request_units_per_second)), (100.0, 5.0));
        assert_eq!((first.failed, first.answers, first.throttled), (0.25, 4, 1.0 / 3.0));
        assert_eq!((first.credits_used, first.credit_bytes_used), (0.25, 16));
        assert_eq!(first.lanes_gated, 0.75);
        assert_eq!((first.queued_documents, first.transforming_documents), (7, 1));
        assert_eq!((first.most_transforming_documents, first.gpu_out_of_memory), (9, 2));
        assert_eq!((first.latency.count, count(first.readers.documents_per_second)), (1, 10.0));
        assert!(
            first.readers.busy > 0.0 && first.readers.busy <= 0.5,
            "one of two works: {}",
            first.readers.busy
        );
        assert!(first.resident_bytes > 0 && first.memory > Some(0.0));
        let second = observer.close(&KNOBS);
        assert_eq!((second.documents_per_second, second.latency.count, second.answers), (0.0, 0, 0));
        assert_eq!((second.most_transforming_documents, second.gpu_out_of_memory), (1, 0));
        assert_eq!((second.connections, second.lanes_gated), (None, 0.0));
        working.finish(10, 1_000);
    }

    #[test]
    fn waits_are_shares_of_the_window_and_of_the_pool() {
        let meter = Arc::new(Meter::default());
        let mut observer = Observer::new(Arc::clone(&meter), Host::new());
        let waiting = (meter.readers.blocked.begin(1), meter.short_of_credits.begin(1));
        let all = observer.close(&KNOBS);
        assert!(all.credits_short <= 1.0 && all.readers.blocked <= 0.5);
        let next = observer.close(&KNOBS);
        assert!(next.credits_short > 0.9 && next.readers.blocked > 0.45, "{next:?}");
        drop(waiting);
        observer.close(&KNOBS);
        let none = observer.close(&KNOBS);
        assert_eq!((none.credits_short, none.readers.blocked), (0.0, 0.0));
    }

    #[test]
    fn lanes_are_charged_a_second_and_new_ones_from_nothing() {
        let charge = |request_units, budget| LaneCharge { request_units, budget };
        let told = Arc::new(Mutex::new(vec![charge(100.0, Some(400.0))]));
        let charges = Arc::clone(&told);
        let observer = Observer::new(Arc::new(Meter::default()), Host::new());
        let mut observer = observer.with_charges(move || charges.lock().unwrap().clone());
        *told.lock().unwrap() = vec![charge(150.0, None), charge(30.0, Some(200.0))];
        let sample = observer.close(&KNOBS);
        let lanes: Vec<_> = sample
            .lanes
            .iter()
            .map(|lane| (lane.request_units_per_second * sample.window.as_secs_f64(), lane.budget))
            .collect();
        assert_eq!(lanes.len(), 2);
        assert!((lanes[0].0 - 50.0).abs() < 1e-6 && (lanes[1].0 - 30.0).abs() < 1e-6, "{lanes:?}");
        assert_eq!([lanes[0].1, lanes[1].1], [None, Some(200.0)]);
    }

    /// A machine of one core that was busy for so many ticks, of which this process had some.
    fn ticks(root: &std::path::Path, busy: u64, own: u64, received: u64) {
        let stat = format!("1 (x) S 1 2 3 0 -1 4194304 9 0 0 0 {own} 0 7 7 20 0 8 0 100 5000000 256 1\n");
        let cores = format!("cpu 1\ncpu3 {busy} 0 0 1000 0 0 0 0 0 0\n");
        let network = format!("eth0: {received} 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n");
        write(root, &[("proc/self/stat", &stat), ("proc/stat", &cores), ("proc/self/net/dev", &network)]);
    }

    #[test]
    fn what_others_take_is_what_is_not_ours() {
        let root = tree(&[("proc/self/status", "Cpus_allowed_list:\t3\n")]);
        ticks(root.path(), 1_000, 500, 100);
        let mut observer = Observer::new(Arc::new(Meter::default()), Host::below(root.path()));
        // More than any test's window: shares end at one.
        ticks(root.path(), 9_000_000, 500, 300);
        let sample = observer.close(&KNOBS);
        assert_eq!((sample.cpu_others, sample.cpu), (Some(1.0), 0.0));
        let network = sample.network.unwrap();
        assert_eq!(((network.received * sample.window.as_secs_f64()).round(), network.sent), (200.0, 0.0));
        ticks(root.path(), 9_000_100, 600, 200);
        let sample = observer.close(&KNOBS);
        assert_eq!(
            (sample.cpu_others, sample.network),
            (Some(0.0), None),
            "all of it is ours; a count went back"
        );
        assert!(sample.cpu > 0.0);
        std::fs::remove_file(root.path().join("proc/stat")).unwrap();
        assert_eq!(observer.close(&KNOBS).cpu_others, None);
    }

    #[test]
    fn what_cannot_be_measured_is_absent() {
        let mut observer =
            Observer::new(Arc::new(Meter::default()), Host::below(std::path::Path::new("nowhere")));
        let sample = observer.close(&KNOBS);
        assert_eq!((sample.memory, sample.memory_limit, sample.resident_bytes), (None, 0, 0));
        assert_eq!((sample.cpu_others, sample.pressure, sample.network), (None, None, None));
        assert!(sample.lanes.is_empty() && sample.gpus.is_empty());
    }

    #[test]
    fn memory_is_ours_or_the_groups_whichever_is_fuller() {
        let root = tree(&[
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            ("sys/fs/cgroup/memory.max", "1000000\n"),
            ("sys/fs/cgroup/memory.current", "900000\n"),
            ("sys/fs/cgroup/memory.stat", "inactive_file 100000\n"),
        ]);
        let mut observer = Observer::new(Arc::new(Meter::default()), Host::below(root.path()));
        let sample = observer.close(&KNOBS);
        assert_eq!((sample.memory, sample.memory_limit), (Some(0.8), 1_000_000));
    }
}
