//! The tuner against small plants: throughput as a function of the knobs.

use super::*;
use proptest::prelude::*;

fn knobs() -> Knobs {
    Knobs {
        readers: 2,
        transformers: 2,
        requests_in_flight: 4,
        batch_documents: 5000,
        request_documents: 1000,
        credit_bytes: 32 << 20,
    }
}

fn bounds() -> Bounds {
    let least =
        Knobs { readers: 1, transformers: 1, requests_in_flight: 1, credit_bytes: 1 << 20, ..knobs() };
    let most =
        Knobs { readers: 30, transformers: 30, requests_in_flight: 512, credit_bytes: 64 << 20, ..knobs() };
    Bounds { least, most }
}

fn ceilings() -> Ceilings {
    Ceilings {
        cpu: 0.7,
        cpu_grow_below: 0.65,
        cpu_shrink_below: 0.4,
        memory: 0.75,
        memory_grow_below: 0.7,
        memory_shrink_below: 0.5,
        gpu_memory: 0.75,
        errors: 0.02,
    }
}

fn tuner() -> Tuner {
    Tuner::new(bounds(), ceilings(), Duration::from_secs(30))
}

/// Runs the tuner for `seconds` against a plant; returns the knobs at the end and all decisions.
fn run(seconds: u64, plant: impl Fn(&Knobs) -> Sample) -> (Knobs, Vec<Decision>) {
    let (mut tuner, mut knobs, mut all) = (tuner(), knobs(), Vec::new());
    for second in 1..=seconds {
        let at = Duration::from_secs(second);
        let sample =
            Sample { at, window: Duration::from_secs(1), unfinished_partitions: 100, ..plant(&knobs) };
        for decision in tuner.decide(&sample, &knobs) {
            knobs.set(decision.knob, decision.to);
            all.push(decision);
        }
    }
    (knobs, all)
}

fn busy(busy: f64) -> PoolUse {
    PoolUse { busy, ..PoolUse::default() }
}

#[test]
fn requests_grow_to_the_knee_and_stop() {
    // 100 documents a second a request, up to 40 requests.
    let (knobs, decisions) = run(25, |knobs| Sample {
        documents_per_second: 100.0 * knobs.requests_in_flight.min(40) as f64,
        requests: busy(1.0),
        ..Sample::default()
    });
    assert_eq!(knobs.requests_in_flight, 64);
    let last = decisions.last().unwrap();
    assert_eq!((last.reason, last.from, last.to), (Reason::Revert, 128, 64));
}

#[test]
fn readers_never_exceed_the_partitions_left() {
    let plant = |knobs: &Knobs| Sample {
        documents_per_second: knobs.readers as f64,
        readers: busy(1.0),
        unfinished_partitions: 3,
        ..Sample::default()
    };
    let (mut tuner, knobs) = (tuner(), knobs());
    let decisions = tuner.decide(&plant(&knobs), &knobs);
    assert_eq!(decisions[0].to, 3);
}

#[test]
fn gated_lanes_do_not_call_for_more_requests() {
    let (knobs, decisions) = run(20, |_| Sample {
        documents_per_second: 1.0,
        requests: busy(1.0),
        lanes_gated: 0.9,
        ..Sample::default()
    });
    assert_eq!((knobs.requests_in_flight, decisions.len()), (4, 0));
}

#[test]
fn a_ceiling_cuts_in_proportion_down_to_one() {
    let cpu = |knobs: &Knobs| Sample {
        cpu: 0.45 * knobs.transformers as f64,
        transformers: busy(1.0),
        ..Sample::default()
    };
    let (knobs, decisions) = run(5, cpu);
    assert_eq!(knobs.transformers, 1);
    assert_eq!(decisions[0].reason, Reason::CpuCeiling);
    assert_eq!(decisions[0].because, "90 % of the CPU in use, 70 % wanted");
}

/// A target that fails more the more is asked of it.
#[test]
fn requests_are_cut_until_few_fail() {
    let overloaded = |knobs: &Knobs| Sample {
        failed: 0.01 * (knobs.requests_in_flight as f64 - 2.0).max(0.0),
        ..Sample::default()
    };
    let (mut tuner, mut knobs) = (tuner(), Knobs { requests_in_flight: 40, ..knobs() });
    let mut worst = 0.0_f64;
    for second in 1..=120 {
        let at = Duration::from_secs(second);
        let sample = Sample { at, ..overloaded(&knobs) };
        worst = if second > 60 { worst.max(sample.failed) } else { 0.0 };
        tuner.decide(&sample, &knobs).iter().for_each(|decision| knobs.set(decision.knob, decision.to));
    }
    assert!(worst < 0.08, "{worst}");
}

#[test]
fn a_cut_that_does_not_help_is_taken_back() {
    let (knobs, decisions) = run(20, |_| Sample { failed: 0.1, ..Sample::default() });
    assert_eq!(knobs.requests_in_flight, 4);
    let told: Vec<_> = decisions.iter().map(|decision| (decision.reason, decision.to)).collect();
    assert_eq!(told, [(Reason::Errors, 2), (Reason::Revert, 4)], "and none before the cooldown has passed");
    assert_eq!(decisions[1].because, "10 % fail with fewer too, 10 % did before");
}

#[test]
fn after_a_blip_the_requests_are_back_in_seconds() {
    let mut second = 0;
    let (mut tuner, mut knobs) = (tuner(), Knobs { requests_in_flight: 16, ..knobs() });
    let mut told = Vec::new();
    while second < 8 {
        second += 1;
        let failed = if second == 1 { 0.4 } else { 0.0 };
        let sample = Sample { at: Duration::from_secs(second), failed, ..Sample::default() };
        for decision in tuner.decide(&sample, &knobs) {
            knobs.set(decision.knob, decision.to);
            told.push((second, decision.reason, decision.to));
        }
    }
    assert_eq!(told, [(1, Reason::Errors, 8), (3, Reason::ErrorsGone, 12), (5, Reason::ErrorsGone, 16)]);
}

#[test]
fn full_memory_is_cut() {
    let (knobs, _) = run(3, |_| Sample { memory: Some(0.9), ..Sample::default() });
    assert!(knobs.credit_bytes < 12 << 20 && knobs.credit_bytes >= LEAST_CREDITS);
}

#[test]
fn credits_that_were_cut_come_back_when_memory_is_free_again() {
    let (mut tuner, mut knobs) = (tuner(), Knobs { credit_bytes: 64 << 20, ..knobs() });
    let mut turn = |second: u64, memory: f64| {
        let at = Duration::from_secs(second);
        let decisions = tuner.decide(&Sample { at, memory: Some(memory), ..Sample::default() }, &knobs);
        decisions.iter().for_each(|decision| knobs.set(decision.knob, decision.to));
        decisions.first().map(|decision| (decision.reason, decision.to >> 20))
    };
    assert_eq!(turn(1, 0.9), Some((Reason::MemoryCeiling, 44)));
    assert_eq!(turn(2, 0.9), Some((Reason::MemoryCeiling, 31)));
    assert_eq!(turn(10, 0.5), None, "it rests");
    assert_eq!(turn(40, 0.72), None, "nothing grows above 70 %");
    assert_eq!(turn(41, 0.5), Some((Reason::MemoryFree, 47)));
    assert_eq!(turn(42, 0.5), None, "one step a cooldown");
    assert_eq!(turn(80, 0.5), Some((Reason::MemoryFree, 64)));
    assert_eq!(turn(120, 0.5), None, "all of it is back");
}

#[test]
fn the_cpu_ceiling_cuts_a_pool_that_is_not_fixed() {
    let mut bounds = bounds();
    (bounds.least.transformers, bounds.most.transformers) = (2, 2);
    let mut tuner = Tuner::new(bounds, ceilings(), Duration::from_secs(30));
    let decisions = tuner.decide(&Sample { cpu: 0.9, ..Sample::default() }, &knobs());
    assert_eq!((decisions[0].knob, decisions[0].to), (Knob::Readers, 1));
}

fn sample() -> impl Strategy<Value = Sample> {
    let share = || 0.0..1.2f64;
    (share(), share(), share(), share(), share(), share(), 0.0..1e6f64, 1..50usize).prop_map(
        |(
            readers,
            transformers,
            requests,
            cpu,
            memory,
            failed,
            documents_per_second,
            unfinished_partitions,
        )| Sample {
            readers: busy(readers),
            transformers: busy(transformers),
            requests: busy(requests),
            cpu,
            memory: Some(memory),
            failed: failed / 10.0,
            documents_per_second,
            unfinished_partitions,
            ..Sample::default()
        },
    )
}

proptest! {
    /// Whatever is measured: every decision changes a value and stays inside the bounds (cuts may pass the minimum, never
    /// below one), a fixed knob is left alone, and the same samples give the same decisions.
    #[test]
    fn decisions_are_legal_and_deterministic(samples in prop::collection::vec(sample(), 1..60), fixed: bool) {
        let mut bounds = bounds();
        if fixed {
            bounds.least.transformers = 2;
            bounds.most.transformers = 2;
        }
        let make = || Tuner::new(bounds, ceilings(), Duration::from_secs(5));
        let (mut tuner, mut twin, mut knobs) = (make(), make(), knobs());
        for (second, sample) in samples.into_iter().enumerate() {
            let sample = Sample { at: Duration::from_secs(second as u64 + 1), ..sample };
            let decisions = tuner.decide(&sample, &knobs);
            prop_assert_eq!(&decisions, &twin.decide(&sample, &knobs));
            for decision in decisions {
                prop_assert_eq!(decision.from, knobs.get(decision.knob));
                prop_assert_ne!(decision.from, decision.to);
                prop_assert!(decision.to >= 1 && decision.to <= bounds.most.get(decision.knob));
                prop_assert!(!(fixed && decision.knob == Knob::Transformers));
                knobs.set(decision.knob, decision.to);
            }
        }
    }
}
