//! One made-up run, event by event, for the tests of every view.

use crate::model::checkpoint::Counters;
use crate::model::decision::{Decision, Effect, Reason};
use crate::model::event::{Ending, Event, Progress, Quantiles, Started, Summary};
use crate::model::knobs::{Knob, Knobs};
use crate::model::sample::{GpuUse, LaneUse, NetworkUse, PoolUse, Pressure, Sample};
use crate::model::units::MIB;
use crate::model::verification::Verification;
use std::time::Duration;

const KNOBS: Knobs = Knobs {
    readers: 2,
    transformers: 4,
    requests_in_flight: 8,
    batch_documents: 5_000,
    request_documents: 100,
    credit_bytes: 32 * MIB,
};

fn counters(written: u64) -> Counters {
    let (dropped, rejected, superseded) = (100, 2, 50);
    let read = written + dropped + rejected + superseded;
    Counters {
        read,
        bytes_read: read * 520,
        dropped,
        rejected,
        written,
        bytes_written: written * 500,
        superseded,
        duplicate_keys: 1,
    }
}

pub(super) fn summary() -> Summary {
    let ms = |ms| Duration::from_micros((ms * 1e3) as u64);
    Summary {
        job: "orders".into(),
        run: "k3x9".into(),
        ending: Ending::Complete,
        target: "sqlite:orders.db".into(),
        look: None,
        counters: counters(1_999_848),
        resumed: Counters { written: 500_000, read: 500_000, ..Counters::default() },
        read: 1_500_000,
        bytes_read: 780_000_000,
        target_docs_per_second: 20_000.0,
        elapsed: Duration::from_secs(20),
        cpu: Duration::from_secs(30),
        peak_memory: 61 * MIB,
        peak_credits: 31 * MIB,
        request_latency: Quantiles {
            count: 15_000,
            p50: ms(1.2),
            p95: ms(4.8),
            p99: ms(12.3),
            max: ms(250.0),
        },
        requests: 15_000,
        throttled: 3,
        retried: 1,
        retried_documents: 103,
        throttled_documents: 120,
        request_units: 1234.4,
        throughput: Some(500.0),
        hottest_lane: Some(("lane 3".into(), 0.317)),
        rejects_file: Some(".docferry/jobs/orders/rejects.jsonl".into()),
        verification: Some(verification()),
        knobs: KNOBS,
        decisions: 1,
        is_resumable: true,
        limit: None,
    }
}

/// Of a target that holds what it should.
pub(super) fn verification() -> Verification {
    Verification {
        source_documents: 1_999_848,
        target_documents: 1_999_848,
        source_sum: 5,
        target_sum: 5,
        target_inconsistent: Vec::new(),
        target_inconsistencies: 0,
        ambiguous: 0,
        equal: true,
        dropped: 100,
        rejected: 2,
    }
}

fn progress(seconds: u64, written: u64) -> Event {
    Event::Progress(Progress {
        elapsed: Duration::from_secs(seconds),
        read: written + 200,
        bytes_read: written * 520,
        counters: counters(written),
        documents_per_second: 98_765.4,
        bytes_per_second: 51.2 * MIB as f64,
        share: Some(0.41),
        credits_used: 3 * MIB,
        knobs: KNOBS,
    })
}

fn gpu(used: Option<u64>, busy: Option<f64>) -> GpuUse {
    GpuUse { name: "NVIDIA A100".into(), used, total: Some(40 << 30), busy }
}

fn sampled() -> Event {
    Event::Sampled(Box::new(Sample {
        at: Duration::from_secs(7),
        window: Duration::from_secs(1),
        documents_per_second: 98_000.0,
        readers: PoolUse { busy: 0.98, documents_per_second: 98_000.0, ..PoolUse::default() },
        cpu: 0.61,
        memory: Some(0.02),
        resident_bytes: 60 * MIB,
        unfinished_partitions: 3,
        latency: summary().request_latency,
        lanes: vec![LaneUse { request_units_per_second: 390.5, budget: Some(400.0) }],
        pressure: Some(Pressure { cpu: 0.25, memory: 0.0, io: 0.01 }),
        network: Some(NetworkUse { received: 1_000.0, sent: 2_000.0 }),
        gpus: vec![gpu(Some(20 << 30), Some(0.9))],
        ..Sample::default()
    }))
}

pub(super) fn events() -> Vec<Event> {
    vec![
        Event::Started(Started {
            job: "orders".into(),
            run: "k3x9".into(),
            source: "file:orders.jsonl".into(),
            target: "sqlite:orders.db".into(),
            resumed: Counters { written: 500_000, ..Counters::default() },
            is_resume: true,
            partitions: 4,
            total_bytes: Some(1_000 * MIB),
            total_documents: None,
            lanes: 1,
        }),
        progress(1, 100_000),
        progress(6, 600_000),
        progress(7, 700_000),
        Event::Rejected {
            by: "transform",
            reason: "total is not a number".into(),
            first: "orders.jsonl, line 12".into(),
            documents: 2,
        },
        Event::Retrying {
            error: "sending a request: timed out".into(),
            attempts: 1,
            delay: Duration::from_millis(50),
        },
        Event::KnobChanged(Decision {
            knob: Knob::Readers,
            from: 2,
            to: 4,
            reason: Reason::Probe,
            confidence: Some(0.97),
            because: "readers 98% busy".into(),
            effect: Effect::Turned,
            evidence: None,
        }),
        sampled(),
        Event::Gpus(vec![gpu(None, None), GpuUse { name: "Intel GPU".into(), ..GpuUse::default() }]),
        Event::Gpus(Vec::new()),
        Event::PartitionFinished { partition: "orders.jsonl:0".into() },
        Event::CheckpointSaved { generation: 7, documents: 700_000 },
        Event::Warning { message: "checkpoint.json is damaged".into() },
        Event::Notice { message: "this is a trial".into() },
        Event::Stopping { reason: "SIGINT".into() },
        Event::Finished(Box::new(summary())),
    ]
}
