//! One made-up run, event by event, for the tests of every view.

use crate::model::checkpoint::Counters;
use crate::model::decision::{Block, Decision, Effect, Evidence, Reason};
use crate::model::event::{Ending, Event, Progress, Quantiles, Started, Summary};
use crate::model::knobs::{Ceilings, Knob, Knobs};
use crate::model::performance::Performance;
use crate::model::sample::{GpuUse, LaneUse, NetworkUse, PoolUse, Pressure, Sample};
use crate::model::units::MIB;
use crate::model::verification::Verification;
use crate::model::workload::{Limit, Severity, Workload, Yardstick};
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
        request_latency: summary_latency(),
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
        performance: performance(),
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

fn decision(effect: Effect, reason: Reason) -> Decision {
    Decision {
        knob: Knob::Readers,
        from: 2,
        to: 4,
        effect,
        reason,
        because: "the source is the bottleneck (0.98 busy)".into(),
        confidence: None,
        evidence: None,
    }
}

fn sample() -> Sample {
    Sample {
        at: Duration::from_secs(7),
        window: Duration::from_secs(1),
        documents_per_second: 98_000.0,
        readers: PoolUse { busy: 0.98, documents_per_second: 98_000.0, ..PoolUse::default() },
        cpu: 0.61,
        memory: Some(0.02),
        resident_bytes: 60 * MIB,
        unfinished_partitions: 3,
        ..Sample::default()
    }
}

/// Of twenty seconds: a trial that was accepted while the source was the limit, then request units were.
pub(super) fn performance() -> Performance {
    let ceilings = Ceilings {
        cpu: 0.7,
        cpu_grow_below: 0.65,
        cpu_shrink_below: 0.4,
        memory: 0.75,
        memory_grow_below: 0.7,
        memory_shrink_below: 0.4,
        gpu_memory: 0.9,
        errors: 0.02,
    };
    let mut performance = Performance::new(Yardstick::new(ceilings, None, true));
    performance.add(&sample(), &KNOBS, &[decision(Effect::Turned, Reason::Probe)]);
    for _ in 0..3 {
        performance.add(&sample(), &KNOBS, &[]);
    }
    let blocked = Effect::Blocked(Block::Cooldown(Duration::from_secs(12)));
    performance.add(
        &sample(),
        &KNOBS,
        &[decision(Effect::Kept, Reason::Accepted), decision(blocked, Reason::Probe)],
    );
    let spent = Sample {
        documents_per_second: 64_000.0,
        lanes: vec![LaneUse { request_units_per_second: 120.0, budget: Some(125.0) }; 4],
        request_units_per_second: 480.0,
        latency: summary_latency(),
        answers: 1_000,
        throttled: 0.003,
        cpu: 0.3,
        credits_used: 0.8,
        readers: PoolUse::default(),
        ..sample()
    };
    for _ in 0..15 {
        performance.add(&spent, &KNOBS, &[]);
    }
    performance
}

fn summary_latency() -> Quantiles {
    let ms = |ms| Duration::from_micros((ms * 1e3) as u64);
    Quantiles { count: 15_000, p50: ms(1.2), p95: ms(4.8), p99: ms(12.3), max: ms(250.0) }
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
        Event::Decided(decision(Effect::Turned, Reason::Probe)),
        Event::Decided(Decision {
            confidence: Some(0.97),
            evidence: Some(Evidence {
                before: 98_000.0,
                after: 147_000.0,
                standard_error: 0.03,
                z: 11.2,
                windows: 4,
            }),
            ..decision(Effect::Kept, Reason::Accepted)
        }),
        Event::Decided(decision(Effect::Blocked(Block::Cooldown(Duration::from_secs(12))), Reason::Probe)),
        Event::Sampled {
            sample: Box::new(Sample {
                latency: summary_latency(),
                lanes: vec![LaneUse { request_units_per_second: 390.5, budget: Some(400.0) }],
                pressure: Some(Pressure { cpu: 0.25, memory: 0.0, io: 0.01 }),
                network: Some(NetworkUse { received: 1_000.0, sent: 2_000.0 }),
                gpus: vec![gpu(Some(20 << 30), Some(0.9))],
                ..sample()
            }),
            workload: Workload { severity: Severity::High, limit: Limit::Source },
        },
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
