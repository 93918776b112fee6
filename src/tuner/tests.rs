//! The tuner against small plants: throughput as a function of the knobs. The large ones are in `simulate`.

use super::*;
use crate::model::decision::{Block, Effect};
use crate::model::knobs::{Bounds, Ceilings};
use crate::model::sample::{GpuUse, Work};
use crate::model::scaling::Policy;
use proptest::prelude::*;
use std::time::Duration;

pub(super) fn knobs() -> Knobs {
    Knobs {
        readers: 2,
        transformers: 2,
        requests_in_flight: 4,
        batch_documents: 5_000,
        request_documents: 1_000,
        credit_bytes: 32 << 20,
    }
}

pub(super) fn scaling() -> Scaling {
    let least = Knobs {
        readers: 1,
        transformers: 1,
        requests_in_flight: 1,
        batch_documents: 2_000,
        request_documents: 1,
        credit_bytes: 1 << 20,
    };
    let most = Knobs {
        readers: 30,
        transformers: 30,
        requests_in_flight: 512,
        batch_documents: 75_000,
        request_documents: 1_000,
        credit_bytes: 1 << 34,
    };
    Scaling {
        policy: Policy::Hybrid,
        bounds: Bounds { least, most },
        ceilings: Ceilings {
            cpu: 0.7,
            cpu_grow_below: 0.65,
            cpu_shrink_below: 0.5,
            memory: 0.75,
            memory_grow_below: 0.7,
            memory_shrink_below: 0.6,
            gpu_memory: 0.75,
            errors: 0.02,
        },
        confidence: 0.85,
        search_step: 2.0,
        settled_step: 1.2,
        step_workers: 8,
        batch_step: 1.6,
        worth: 0.1,
        direction_limit: 6,
        smoothing: 0.3,
        latency_target: None,
        check_interval: Duration::from_secs(5),
        cooldown: Duration::from_secs(30),
        target_docs_per_second: 10_000.0,
        stop_at_target: false,
    }
}

/// Runs the tuner for `seconds` against a plant; returns the knobs at the end and all decisions with their second.
pub(super) fn run(
    scaling: Scaling,
    first: Knobs,
    seconds: u64,
    mut plant: impl FnMut(u64, &Knobs) -> Sample,
) -> (Knobs, Vec<(u64, Decision)>) {
    let (mut tuner, mut knobs, mut all) = (Tuner::new(scaling), first, Vec::new());
    for second in 1..=seconds {
        let (at, window) = (Duration::from_secs(second), Duration::from_secs(1));
        let sample = Sample { at, window, unfinished_partitions: 100, ..plant(second, &knobs) };
        for decision in tuner.decide(&sample, &knobs) {
            if decision.effect == Effect::Turned {
                knobs.set(decision.knob, decision.to);
            }
            all.push((second, decision));
        }
    }
    (knobs, all)
}

/// A pool of a size that is busy for a share of its time; its pieces take a tenth of a second each and vary little.
pub(super) fn pool(busy: f64, size: usize, documents_per_second: f64) -> PoolUse {
    let pieces = busy * size as f64 * 10.0 + 1.0;
    let work = Work {
        pieces,
        documents: documents_per_second,
        documents_squared: documents_per_second * documents_per_second / pieces,
        seconds: 0.1 * pieces,
        seconds_squared: 0.010_1 * pieces,
        documents_seconds: 0.1 * documents_per_second,
    };
    PoolUse { busy, documents_per_second, work, ..PoolUse::default() }
}

/// A target that takes 100 documents a second a request, up to a knee.
pub(super) fn target(knobs: &Knobs, knee: usize) -> Sample {
    let documents_per_second = 100.0 * knobs.requests_in_flight.min(knee) as f64;
    Sample {
        documents_per_second,
        readers: pool(0.2, knobs.readers, documents_per_second),
        transformers: pool(0.2, knobs.transformers, documents_per_second),
        requests: pool(1.0, knobs.requests_in_flight, documents_per_second),
        answers: 100,
        ..Sample::default()
    }
}

pub(super) fn turned(all: &[(u64, Decision)]) -> Vec<(u64, Knob, u64, u64, Reason)> {
    let turned = all.iter().filter(|(_, decision)| decision.effect == Effect::Turned);
    turned.map(|(at, decision)| (*at, decision.knob, decision.from, decision.to, decision.reason)).collect()
}

#[test]
fn requests_grow_to_the_knee_and_stop() {
    let (knobs, all) = run(scaling(), knobs(), 60, |_, knobs| target(knobs, 40));
    // The knee is at 40: from 32 to 64 throughput grows by a quarter, which is more than the tenth of a doubling that a move must yield.
    assert_eq!(knobs.requests_in_flight, 64, "{:?}", turned(&all));
    let kept: Vec<_> = all.iter().filter(|(_, decision)| decision.effect == Effect::Kept).collect();
    let first = &kept[0].1;
    assert!(first.confidence > Some(0.99) && first.reason == Reason::Accepted);
    let evidence = first.evidence.unwrap();
    assert!(
        (evidence.after / evidence.before - 2.0).abs() < 0.01 && evidence.z > 3.0 && evidence.windows >= 1
    );
}

#[test]
fn a_move_that_does_not_pay_is_taken_back_and_rests() {
    let (knobs, all) =
        run(scaling(), Knobs { requests_in_flight: 40, ..knobs() }, 70, |_, knobs| target(knobs, 40));
    assert_eq!(knobs.requests_in_flight, 40);
    let reverts: Vec<_> = all.iter().filter(|(_, decision)| decision.reason == Reason::Revert).collect();
    assert!(!reverts.is_empty() && reverts.iter().all(|(_, decision)| decision.confidence.is_some()));
    let probes: Vec<u64> =
        turned(&all).iter().filter(|turn| turn.4 == Reason::Probe).map(|turn| turn.0).collect();
    let longest = probes.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest >= 30, "{probes:?}: when nothing is left to try it rests for the cooldown");
}

#[test]
fn readers_never_exceed_the_partitions_left() {
    let plant = |_, knobs: &Knobs| {
        let documents_per_second = 1_000.0 * knobs.readers as f64;
        Sample {
            readers: pool(1.0, knobs.readers, documents_per_second),
            transformers: pool(0.1, knobs.transformers, documents_per_second),
            requests: pool(0.1, knobs.requests_in_flight, documents_per_second),
            documents_per_second,
            ..Sample::default()
        }
    };
    let mut tuner = Tuner::new(scaling());
    let mut knobs = knobs();
    for second in 1..=40 {
        let (at, window) = (Duration::from_secs(second), Duration::from_secs(1));
        let sample = Sample { at, window, unfinished_partitions: 3, ..plant(second, &knobs) };
        for decision in
            tuner.decide(&sample, &knobs).iter().filter(|decision| decision.effect == Effect::Turned)
        {
            knobs.set(decision.knob, decision.to);
        }
    }
    assert_eq!(knobs.readers, 3);
}

/// Of what is read a filter lets three in ten pass.
#[test]
fn what_steps_drop_does_not_hide_that_they_are_the_bottleneck() {
    let (knobs, all) = run(scaling(), knobs(), 30, |_, knobs| {
        let read = 1_000.0 * knobs.transformers.min(8) as f64;
        Sample {
            documents_per_second: read,
            readers: pool(0.3, knobs.readers, read),
            transformers: pool(1.0, knobs.transformers, read),
            requests: pool(0.3, knobs.requests_in_flight, 0.3 * read),
            ..Sample::default()
        }
    });
    assert!(knobs.transformers >= 8, "{:?}", turned(&all));
}

/// Requests grow, and nobody knows whether that paid when the steps become the bottleneck.
#[test]
fn moves_without_proof_pause_at_their_limit() {
    let scaling = Scaling { direction_limit: 1, ..scaling() };
    let (_, all) = run(scaling, knobs(), 40, |second, knobs| {
        let (requests, steps) = match second {
            0..3 => (1.0, 0.2),
            3..8 => (0.2, 0.2),
            _ => (0.2, 1.0),
        };
        let documents_per_second = 100.0 * knobs.transformers as f64;
        Sample {
            documents_per_second,
            requests: pool(requests, knobs.requests_in_flight, documents_per_second),
            transformers: pool(steps, knobs.transformers, documents_per_second),
            ..target(knobs, 1)
        }
    });
    let of = |wanted: Effect| {
        let mut decisions = all.iter();
        decisions.find(|(at, decision)| *at > 8 && decision.effect == wanted).map(|(at, _)| *at)
    };
    let blocked = of(Effect::Blocked(Block::DirectionLimit)).unwrap_or_else(|| panic!("{all:?}"));
    let turned = of(Effect::Turned).unwrap_or_else(|| panic!("{all:?}"));
    assert!(blocked < turned && (2..=11).contains(&(turned - blocked)), "an evaluation passes: {all:?}");
}

/// Readers that had all to do for minutes, and then little for some seconds.
#[test]
fn a_pool_is_not_shrunk_for_a_quiet_moment() {
    let busy = |second| if second < 100 { 0.8 } else { 0.05 };
    let first = Knobs { readers: 16, ..knobs() };
    let (_, all) = run(scaling(), first, 160, |second, knobs| Sample {
        readers: pool(busy(second), knobs.readers, 100.0),
        ..target(knobs, 1)
    });
    let shrunk =
        turned(&all).into_iter().find(|turn| (turn.1, turn.4) == (Knob::Readers, Reason::Shrink)).unwrap();
    assert!((130..140).contains(&shrunk.0), "{shrunk:?}");
}

/// Readers have little to do, and throughput halves in every other second for a while.
#[test]
fn no_workers_are_taken_away_while_throughput_varies_and_that_is_said_once() {
    let first = Knobs { readers: 16, ..knobs() };
    let (_, all) = run(scaling(), first, 160, |second, knobs| {
        let documents_per_second = if second < 100 && second % 2 == 0 { 50.0 } else { 100.0 };
        Sample {
            documents_per_second,
            readers: pool(0.05, knobs.readers, documents_per_second),
            requests: pool(0.5, knobs.requests_in_flight, documents_per_second),
            ..target(knobs, 1)
        }
    });
    let readers: Vec<_> = all.iter().filter(|(_, decision)| decision.knob == Knob::Readers).collect();
    let (at, blocked) = readers[0];
    assert_eq!((*at, blocked.effect, blocked.reason), (65, Effect::Blocked(Block::Unsteady), Reason::Shrink));
    let (at, shrunk) = readers[1];
    assert_eq!(
        (shrunk.effect, shrunk.reason, (106..=115).contains(at)),
        (Effect::Turned, Reason::Shrink, true)
    );
}

/// Requests are tried, and readers could do little more than now: eight more of few, twice as many of many.
#[test]
fn another_pool_is_made_large_enough_for_what_comes_within_the_limit_of_a_step() {
    let grown = |size| {
        let (_, all) = run(scaling(), Knobs { readers: size, ..knobs() }, 3, |_, knobs| Sample {
            readers: pool(0.84, knobs.readers, 400.0),
            ..target(knobs, 4)
        });
        let of_readers = all.into_iter().map(|(_, decision)| decision).find(|d| d.knob == Knob::Readers);
        let decision = of_readers.unwrap();
        (decision.to, decision.effect, decision.reason)
    };
    assert_eq!(grown(4), (9, Effect::Turned, Reason::Prescale));
    assert_eq!(grown(12), (25, Effect::Blocked(Block::StepLimit), Reason::Probe));
}

#[test]
fn lanes_that_wait_for_leave_are_not_helped_by_more_requests() {
    let (knobs, _) = run(scaling(), knobs(), 30, |_, knobs| Sample { lanes_gated: 0.9, ..target(knobs, 40) });
    assert_eq!(knobs.requests_in_flight, 4);
}

#[test]
fn the_cpu_ceiling_cuts_the_pool_that_burns_it_and_not_one_that_is_fixed() {
    let hot = |_, knobs: &Knobs| Sample { cpu: 0.12 * knobs.transformers as f64, ..Sample::default() };
    let (after, all) = run(scaling(), Knobs { transformers: 8, ..knobs() }, 10, hot);
    assert!(after.transformers <= 5, "{}", after.transformers);
    assert_eq!(all[0].1.reason, Reason::CpuCeiling);
    assert_eq!(all[0].1.because, "96 % of the CPU in use, 70 % allowed");
    let mut fixed = scaling();
    (fixed.bounds.least.transformers, fixed.bounds.most.transformers) = (8, 8);
    let (after, _) = run(fixed, Knobs { transformers: 8, ..knobs() }, 10, hot);
    assert_eq!((after.transformers, after.readers), (8, 1));
}

#[test]
fn memory_is_cut_before_its_ceiling() {
    // A base that grows by one point a second: somebody else's, or a leak.
    let mut most = 0.0_f64;
    let (_, all) = run(scaling(), Knobs { credit_bytes: 1 << 30, ..knobs() }, 60, |second, knobs| {
        let credit_bytes_used = knobs.credit_bytes;
        let base = 0.1 + 0.01 * second.min(40) as f64;
        let memory = base + 0.4 * credit_bytes_used as f64 / f64::from(1 << 30);
        most = most.max(memory);
        Sample { memory: Some(memory), credit_bytes_used, memory_limit: 1 << 32, ..target(knobs, 4) }
    });
    assert!(most < 0.75, "{most}");
    let cuts: Vec<_> = turned(&all).into_iter().filter(|turn| turn.4 == Reason::MemoryCeiling).collect();
    assert!(!cuts.is_empty() && cuts.iter().all(|cut| cut.1 == Knob::CreditBytes && cut.3 < cut.2));
}

#[test]
fn credits_that_a_ceiling_took_come_back_when_memory_is_free_again() {
    let first = Knobs { credit_bytes: 64 << 20, ..knobs() };
    let (knobs, all) = run(scaling(), first, 200, |second, knobs| {
        let memory = if second < 20 { 0.76 } else { 0.3 };
        Sample {
            memory: Some(memory),
            credit_bytes_used: knobs.credit_bytes / 2,
            memory_limit: 1 << 32,
            ..target(knobs, 4)
        }
    });
    assert_eq!(knobs.credit_bytes, 64 << 20, "{:?}", turned(&all));
    let back: Vec<u64> =
        turned(&all).iter().filter(|turn| turn.4 == Reason::MemoryFree).map(|turn| turn.0).collect();
    assert!(
        back.len() >= 2 && back.windows(2).all(|pair| pair[1] - pair[0] >= 30),
        "{back:?}: one step a cooldown"
    );
}

/// Two GPUs, of which the fuller counts.
pub(super) fn gpus(used: f64) -> Vec<GpuUse> {
    let gpu = |used: f64| GpuUse {
        name: "one".into(),
        used: Some((used * 16e9) as u64),
        total: Some(16_000_000_000),
        busy: None,
    };
    vec![gpu(0.1), gpu(used)]
}

#[test]
fn gpu_memory_is_cut_before_its_ceiling_whatever_the_policy() {
    for (_, policy) in Policy::ALL {
        let mut most = 0.0_f64;
        let first = Knobs { transformers: 8, ..knobs() };
        let (knobs, all) = run(Scaling { policy, ..scaling() }, first, 60, |second, knobs| {
            let documents = knobs.transformers as u64 * 1_000;
            let memory = 0.1 + 0.01 * second.min(30) as f64 + 0.05 * knobs.transformers as f64;
            most = most.max(memory);
            Sample {
                gpus: gpus(memory),
                transforming_documents: documents,
                most_transforming_documents: documents,
                ..target(knobs, 4)
            }
        });
        assert!(most < 0.75, "{policy:?}: {most}");
        assert!(knobs.transformers < 8, "{policy:?}");
        assert!(all.iter().any(|(_, decision)| decision.reason == Reason::GpuCeiling), "{policy:?}");
    }
}

/// What the model of the GPU's memory has foreseen is how sure the policy that goes by it is.
#[test]
fn the_policy_that_goes_by_the_gpu_is_as_sure_as_its_model_was_right() {
    let sure = |noise: f64| {
        let scaling = Scaling { policy: Policy::GpuMemoryBased, ..scaling() };
        let (_, all) = run(scaling, knobs(), 40, |second, knobs| {
            let documents = (knobs.transformers * knobs.batch_documents) as u64;
            let memory = 0.1 + noise * (second % 2) as f64 + 2e-6 * documents as f64;
            let busy = if second < 30 { 0.5 } else { 1.0 };
            let documents_per_second = 500.0 * knobs.transformers as f64 * busy;
            Sample {
                gpus: gpus(memory),
                transforming_documents: documents,
                most_transforming_documents: documents,
                documents_per_second,
                readers: pool(0.2, knobs.readers, documents_per_second),
                transformers: pool(busy, knobs.transformers, documents_per_second),
                requests: pool(0.2, knobs.requests_in_flight, documents_per_second),
                ..Sample::default()
            }
        });
        let first = all.iter().find(|(_, one)| one.knob == Knob::Transformers && one.reason == Reason::Probe);
        first.and_then(|(_, decision)| decision.confidence)
    };
    assert!(sure(0.0).is_some_and(|sure| sure > 0.95), "{:?}", sure(0.0));
    assert!(sure(0.08).is_some_and(|sure| sure < 0.5), "{:?}", sure(0.08));
}

/// Steps on a GPU, of which others take a third for a while.
#[test]
fn what_a_gpu_ceiling_took_comes_back_without_a_trial() {
    let scaling = scaling();
    let most = Knobs { transformers: 8, ..scaling.bounds.most };
    let scaling = Scaling { bounds: Bounds { most, ..scaling.bounds }, ..scaling };
    let others = |second: u64| match second {
        0..20 => 0.0,
        20..40 => 0.015 * (second - 20) as f64,
        40..80 => 0.3,
        _ => 0.0,
    };
    let (mut fullest, mut least) = (0.0_f64, f64::INFINITY);
    let first = Knobs { transformers: 8, ..knobs() };
    let (knobs, all) = run(scaling, first, 120, |second, knobs| {
        let documents = (knobs.transformers * knobs.batch_documents) as u64;
        let memory = 0.1 + others(second) + 1e-5 * documents as f64;
        fullest = fullest.max(memory);
        least = least.min(documents as f64);
        let documents_per_second = 500.0 * knobs.transformers as f64;
        Sample {
            gpus: gpus(memory),
            transforming_documents: documents,
            most_transforming_documents: documents,
            documents_per_second,
            readers: pool(0.2, knobs.readers, documents_per_second),
            transformers: pool(1.0, knobs.transformers, documents_per_second),
            requests: pool(0.2, knobs.requests_in_flight, documents_per_second),
            ..Sample::default()
        }
    });
    assert!(fullest < 0.75, "{fullest}");
    assert!(least <= 35_000.0, "others left room for 34 000: {least}");
    assert!(knobs.transformers == 8 && knobs.batch_documents > 4_300, "{knobs:?} {:?}", turned(&all));
    let workers = turned(&all).into_iter().filter(|turn| turn.1 == Knob::Transformers);
    let reasons: Vec<Reason> = workers.map(|turn| turn.4).collect();
    assert!(reasons.contains(&Reason::MemoryFree), "{reasons:?}");
    assert!(!reasons.contains(&Reason::Probe), "{reasons:?}");
}

#[test]
fn a_batch_that_found_no_memory_on_the_gpu_is_halved() {
    let (knobs, all) = run(scaling(), knobs(), 2, |second, knobs| Sample {
        gpu_out_of_memory: u64::from(second == 1),
        ..target(knobs, 4)
    });
    assert_eq!(knobs.batch_documents, 2_500, "{all:?}");
}

/// A target that fails more the more is asked of it.
#[test]
fn requests_are_cut_until_few_fail() {
    let mut worst = 0.0_f64;
    run(scaling(), Knobs { requests_in_flight: 40, ..knobs() }, 120, |second, knobs| {
        let failed = 0.01 * (knobs.requests_in_flight as f64 - 2.0).max(0.0);
        worst = if second > 60 { worst.max(failed) } else { 0.0 };
        Sample { failed, answers: 500, ..target(knobs, 0) }
    });
    assert!(worst < 0.10, "{worst}");
}

#[test]
fn a_cut_that_does_not_help_is_taken_back() {
    let first = Knobs { requests_in_flight: 40, ..knobs() };
    let (knobs, all) =
        run(scaling(), first, 20, |_, knobs| Sample { failed: 0.08, answers: 500, ..target(knobs, 0) });
    assert_eq!(knobs.requests_in_flight, 40);
    let told: Vec<_> = turned(&all).into_iter().map(|turn| (turn.4, turn.3)).collect();
    assert_eq!(told, [(Reason::Errors, 28), (Reason::Revert, 40)], "and none before the cooldown has passed");
    assert!(
        all.iter().all(|(_, decision)| decision.effect != Effect::Turned || decision.confidence > Some(0.95))
    );
}

/// A storm, and then a target that gives no answer at all.
#[test]
fn without_an_answer_nobody_says_that_failures_are_gone() {
    let first = Knobs { requests_in_flight: 16, ..knobs() };
    let (knobs, all) = run(scaling(), first, 20, |second, knobs| Sample {
        failed: if second == 1 { 0.4 } else { 0.0 },
        answers: if second == 1 { 500 } else { 0 },
        ..target(knobs, 0)
    });
    assert_eq!(knobs.requests_in_flight, 8, "{:?}", turned(&all));
}

/// Readers wait for credits all the time, and more of them are of no use until the second minute.
#[test]
fn credits_that_did_not_pay_are_tried_again_later() {
    let (_, all) = run(scaling(), knobs(), 200, |second, knobs| {
        let pays = if second > 90 { knobs.credit_bytes as f64 / (32 << 20) as f64 } else { 1.0 };
        let idle = |size| pool(0.3, size, 1_000.0 * pays);
        Sample {
            memory: Some(0.1),
            credits_short: 1.0,
            readers: idle(knobs.readers),
            transformers: idle(knobs.transformers),
            requests: idle(knobs.requests_in_flight),
            ..target(knobs, 1)
        }
    });
    let tried: Vec<_> = turned(&all).into_iter().filter(|turn| turn.1 == Knob::CreditBytes).collect();
    let probes: Vec<u64> = tried.iter().filter(|turn| turn.4 == Reason::Probe).map(|turn| turn.0).collect();
    assert!(probes.windows(2).take(2).all(|pair| pair[1] - pair[0] >= 30), "{tried:?}");
    let accepted = all.iter().any(|(_, d)| d.knob == Knob::CreditBytes && d.reason == Reason::Accepted);
    assert!(accepted, "{tried:?}");
}

/// Three in a hundred requests fail, however many there are; a hundred are answered a second by eight.
#[test]
fn failures_that_do_not_hang_on_the_requests_cost_little() {
    for seed in 0..20 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let first = Knobs { requests_in_flight: 8, ..knobs() };
        let mut sum = 0.0;
        let (_, all) = run(scaling(), first, 120, |_, knobs| {
            sum += knobs.requests_in_flight.min(8) as f64 / 8.0 / 120.0;
            let answers = 12 * knobs.requests_in_flight as u64;
            let failed = (0..answers).filter(|_| chance.f64() < 0.03).count() as f64 / answers as f64;
            Sample { failed, answers, ..target(knobs, 0) }
        });
        assert!(sum > 0.8, "{seed}: {sum}, {:?}", turned(&all));
    }
}

#[test]
fn a_few_failures_are_no_storm_and_after_a_blip_requests_are_back_in_seconds() {
    let first = Knobs { requests_in_flight: 16, ..knobs() };
    let (_, all) =
        run(scaling(), first, 20, |_, knobs| Sample { failed: 0.05, answers: 20, ..target(knobs, 0) });
    assert_eq!(turned(&all), [], "one of twenty");
    let (_, all) = run(scaling(), first, 8, |second, knobs| Sample {
        failed: if second == 1 { 0.4 } else { 0.0 },
        answers: 500,
        ..target(knobs, 0)
    });
    let told: Vec<_> = turned(&all).into_iter().map(|turn| (turn.0, turn.4, turn.3)).collect();
    assert_eq!(told, [(1, Reason::Errors, 8), (3, Reason::ErrorsGone, 12), (5, Reason::ErrorsGone, 16)]);
}

#[test]
fn the_latency_target_and_the_goal_hold_requests_back_and_say_so_once() {
    let slow = Scaling { latency_target: Some(Duration::from_millis(50)), ..scaling() };
    let goal = Scaling { target_docs_per_second: 300.0, stop_at_target: true, ..scaling() };
    for (scaling, block) in [(slow, Block::Latency), (goal, Block::Goal)] {
        let (knobs, all) = run(scaling, knobs(), 30, |_, knobs| {
            let mut sample = target(knobs, 40);
            sample.latency.p95 = Duration::from_millis(80);
            sample
        });
        assert!(knobs.requests_in_flight <= 8, "{block:?}");
        let blocked = all.iter().filter(|(_, decision)| decision.effect == Effect::Blocked(block)).count();
        assert_eq!(blocked, 1, "{block:?}: {all:?}");
    }
}

#[test]
fn what_is_not_measured_turns_nothing() {
    let nothing = |_, _: &Knobs| Sample::default();
    assert_eq!(turned(&run(scaling(), knobs(), 60, nothing).1), []);
    let nonsense = |second, knobs: &Knobs| Sample {
        cpu: if second % 2 == 0 { f64::NAN } else { -3.0 },
        ..target(knobs, 40)
    };
    assert_eq!(turned(&run(scaling(), knobs(), 60, nonsense).1), []);
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let share = || 0.0..1.3f64;
    let pool = || (share(), 0.0..1e6f64).prop_map(|(busy, speed)| pool(busy, 4, speed));
    let memory = prop::option::of(share());
    let gpu = prop::option::of(share());
    (
        pool(),
        pool(),
        pool(),
        (share(), memory, gpu, share(), share()),
        (0..3_000u64, 0..50usize, 0..1u64 << 34),
    )
        .prop_map(
            |(
                readers,
                transformers,
                requests,
                (cpu, memory, gpu, failed, other),
                (answers, partitions, used),
            )| Sample {
                readers,
                transformers,
                requests,
                documents_per_second: requests.documents_per_second,
                bytes_per_second: readers.documents_per_second * 1_000.0,
                cpu,
                memory,
                gpus: gpu.map(gpus).unwrap_or_default(),
                failed: failed / 10.0,
                answers,
                credits_short: other.min(1.0),
                lanes_gated: (1.3 - other).min(1.0),
                credit_bytes_used: used,
                transforming_documents: answers * 10,
                unfinished_partitions: partitions,
                gpu_out_of_memory: u64::from(answers % 97 == 0),
                ..Sample::default()
            },
        )
}

proptest! {
    /// Whatever is measured: a turn changes a value, begins at the present one and stays inside the bounds (cuts may pass the minimum, never
    /// below one), a fixed knob is left alone, a step is not too long, a confidence is a probability, and the same samples give the same decisions.
    #[test]
    fn decisions_are_legal_and_deterministic(samples in prop::collection::vec(any_sample(), 1..80), fixed: bool, policy in 0..5usize) {
        let mut scaling = Scaling { policy: Policy::ALL[policy].1, ..scaling() };
        if fixed {
            scaling.bounds.least.transformers = 2;
            scaling.bounds.most.transformers = 2;
        }
        let (mut tuner, mut twin, mut knobs) = (Tuner::new(scaling.clone()), Tuner::new(scaling.clone()), knobs());
        for (second, sample) in samples.into_iter().enumerate() {
            let (at, window) = (Duration::from_secs(second as u64 + 1), Duration::from_secs(1));
            let sample = Sample { at, window, ..sample };
            let decisions = tuner.decide(&sample, &knobs);
            prop_assert_eq!(&decisions, &twin.decide(&sample, &knobs));
            for decision in decisions {
                let Decision { knob, from, to, confidence, .. } = decision;
                prop_assert!(confidence.is_none_or(|sure| (0.0..=1.0).contains(&sure)), "{:?}", decision);
                if decision.effect != Effect::Turned {
                    continue;
                }
                prop_assert_eq!(from, knobs.get(knob));
                prop_assert_ne!(from, to);
                let most = scaling.bounds.most.get(knob).max(from);
                prop_assert!(to >= 1 && to <= most, "{:?}", decision);
                prop_assert!(!(fixed && knob == Knob::Transformers));
                if matches!(knob, Knob::Readers | Knob::Transformers | Knob::RequestsInFlight) {
                    prop_assert!(to <= (from * 2).max(from + 8), "{:?}", decision);
                }
                knobs.set(knob, to);
            }
        }
    }
}
