//! What a run amounts to, folded from its windows and decisions as they come: averages, times, counts. No window is kept, so that a run of a
//! week needs no more memory than one of a second.
//!
//! Windows count by their length, latencies by their requests, shares of requests by the requests that they are shares of: the mean over two
//! windows is that of one window over both. Every window belongs to exactly one [`Limit`], one [`Severity`] and one [`State`].

use crate::model::decision::{Decision, Effect, Reason};
use crate::model::knobs::Knobs;
use crate::model::sample::Sample;
use crate::model::workload::{Limit, Severity, Workload, Yardstick, budget};
use std::collections::BTreeMap;
use std::time::Duration;

/// A cut is felt for this many seconds: the window that it empties, and the ones in which pools settle.
const BRAKING: f64 = 5.0;

/// What the tuner was at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// A move was on trial.
    Searching,
    /// Nothing was on trial: the knobs were where they shall be, as far as was known.
    Holding,
    /// Something had been cut because of a ceiling or of failures in the last five seconds.
    Braking,
    /// Nothing was on trial because request units were the limit, which no knob moves.
    AwaitingRequestUnits,
    /// There was no tuner.
    Off,
}

impl State {
    /// The word used in events.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Searching => "searching",
            State::Holding => "holding",
            State::Braking => "braking",
            State::AwaitingRequestUnits => "awaiting_request_units",
            State::Off => "off",
        }
    }
}

/// Seconds spent in each of several exclusive conditions.
#[derive(Clone, Debug, PartialEq)]
pub struct Times<T>(BTreeMap<T, f64>);

impl<T> Default for Times<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord + Copy> Times<T> {
    fn add(&mut self, condition: T, seconds: f64) {
        if seconds > 0.0 {
            *self.0.entry(condition).or_default() += seconds;
        }
    }

    /// Every condition that was met, with its seconds.
    pub fn seconds(&self) -> impl Iterator<Item = (T, f64)> {
        self.0.iter().map(|(condition, seconds)| (*condition, *seconds))
    }

    /// Every condition that was met, with its share of the time, the longest first.
    pub fn shares(&self) -> Vec<(T, f64)> {
        let whole: f64 = self.0.values().sum();
        let mut shares: Vec<(T, f64)> =
            self.seconds().map(|(condition, seconds)| (condition, seconds / whole)).collect();
        // Stable: of equals the first in order stays first.
        shares.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        shares
    }
}

/// A weighted mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    fn add(&mut self, value: f64, weight: f64) {
        self.sum += bounded(value) * weight;
        self.weight += weight;
    }

    /// Its value, where anything was measured.
    pub fn get(self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

/// What a run's windows amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Averages {
    /// Documents that met their end, per second.
    pub documents_per_second: Mean,
    /// Bytes read, per second.
    pub bytes_per_second: Mean,
    /// Request units per second.
    pub request_units_per_second: Mean,
    /// Request units per second that the lanes had, where that was known.
    pub budget: Mean,
    /// What was spent of them.
    pub budget_used: Mean,
    /// CPU, of the cores that this process may use.
    pub cpu: Mean,
    /// What others took of them.
    pub cpu_others: Mean,
    /// Memory, of what this process may use.
    pub memory: Mean,
    /// Memory of the fullest GPU.
    pub gpu_memory: Mean,
    /// Seconds that a request took: the windows' medians.
    pub latency_p50: Mean,
    /// Their 95th percentiles.
    pub latency_p95: Mean,
    /// Their 99th percentiles.
    pub latency_p99: Mean,
    /// Requests that were throttled.
    pub throttled: Mean,
    /// Requests that failed.
    pub failed: Mean,
    /// Credits in use.
    pub credits_used: Mean,
}

/// What became of the tuner's decisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// Knobs turned, for a trial, for good or back.
    pub turned: u64,
    /// Of these, for a trial.
    pub tried: u64,
    /// Trials that were accepted.
    pub accepted: u64,
    /// Trials that nobody could measure to their end, because the bottleneck moved: they stayed.
    pub unproved: u64,
    /// Of the turns, those that took another back.
    pub reverted: u64,
    /// What was held back, by the word for what held it.
    pub blocked: BTreeMap<&'static str, u64>,
}

impl Decided {
    fn add(&mut self, decision: &Decision) {
        match decision.effect {
            Effect::Turned => {
                self.turned += 1;
                self.tried += u64::from(decision.reason == Reason::Probe);
                self.reverted += u64::from(decision.reason == Reason::Revert);
            }
            Effect::Kept if decision.reason == Reason::Accepted => self.accepted += 1,
            Effect::Kept => self.unproved += 1,
            Effect::Blocked(block) => *self.blocked.entry(block.as_str()).or_default() += 1,
        }
    }
}

/// What a run amounts to.
#[derive(Clone, Debug, PartialEq)]
pub struct Performance {
    /// What its windows were measured against.
    pub yardstick: Yardstick,
    /// Seconds measured.
    pub seconds: f64,
    /// Means over them.
    pub averages: Averages,
    /// The most memory in use at a window's end, as a share of what this process may use.
    pub peak_memory: f64,
    /// The same of the fullest GPU's, where there is one.
    pub peak_gpu_memory: Option<f64>,
    /// Lanes of the target that counts request units.
    pub lanes: usize,
    /// What the tuner decided.
    pub decided: Decided,
    /// Time by what held the run back.
    pub limits: Times<Limit>,
    /// Time by how near it came to what it may use.
    pub severities: Times<Severity>,
    /// Time by what the tuner was at.
    pub states: Times<State>,
    /// Whether a move is on trial.
    is_trying: bool,
    /// Until when a cut is felt, in seconds measured.
    braking_until: f64,
}

impl Performance {
    /// That of a run of which nothing has been measured.
    pub fn new(yardstick: Yardstick) -> Self {
        Self {
            yardstick,
            seconds: 0.0,
            averages: Averages::default(),
            peak_memory: 0.0,
            peak_gpu_memory: None,
            lanes: 0,
            decided: Decided::default(),
            limits: Times::default(),
            severities: Times::default(),
            states: Times::default(),
            is_trying: false,
            braking_until: 0.0,
        }
    }

    /// Adds a window, with the knobs that were in force and what was decided at its end.
    pub fn add(&mut self, sample: &Sample, knobs: &Knobs, decisions: &[Decision]) {
        let seconds = bounded(sample.window.as_secs_f64());
        let Workload { severity, limit } = self.yardstick.judge(sample, knobs);
        self.limits.add(limit, seconds);
        self.severities.add(severity, seconds);
        self.states.add(self.state(limit), seconds);
        self.measure(sample, seconds);
        self.seconds += seconds;
        for decision in decisions {
            self.decide(decision);
        }
    }

    /// What limited the run most of the time, and for what share of it.
    pub fn limit(&self) -> Option<(Limit, f64)> {
        self.limits.shares().first().copied()
    }

    fn state(&self, limit: Limit) -> State {
        match limit {
            _ if !self.yardstick.auto_scaling => State::Off,
            _ if self.seconds < self.braking_until => State::Braking,
            _ if self.is_trying => State::Searching,
            Limit::RequestUnits => State::AwaitingRequestUnits,
            _ => State::Holding,
        }
    }

    fn decide(&mut self, decision: &Decision) {
        self.decided.add(decision);
        let is_turned = decision.effect == Effect::Turned;
        match decision.reason {
            Reason::Probe if is_turned => self.is_trying = true,
            Reason::Accepted | Reason::Moved | Reason::Revert => self.is_trying = false,
            // What is cut cannot be judged: it ends a trial.
            Reason::CpuCeiling | Reason::MemoryCeiling | Reason::GpuCeiling | Reason::Errors if is_turned => {
                self.is_trying = false;
                self.braking_until = self.seconds + BRAKING;
            }
            _ => {}
        }
    }

    fn measure(&mut self, sample: &Sample, seconds: f64) {
        let averages = &mut self.averages;
        averages.documents_per_second.add(sample.documents_per_second, seconds);
        averages.bytes_per_second.add(sample.bytes_per_second, seconds);
        averages.request_units_per_second.add(sample.request_units_per_second, seconds);
        if let Some(budget) = budget(sample) {
            let budget = bounded(budget);
            averages.budget.add(budget, seconds);
            averages.budget_used.add(sample.request_units_per_second / budget, budget * seconds);
        }
        averages.cpu.add(sample.cpu, seconds);
        averages.credits_used.add(sample.credits_used, seconds);
        if let Some(others) = sample.cpu_others {
            averages.cpu_others.add(others, seconds);
        }
        if let Some(memory) = sample.memory {
            averages.memory.add(memory, seconds);
            self.peak_memory = self.peak_memory.max(bounded(memory));
        }
        if let Some(memory) = sample.gpu_memory() {
            averages.gpu_memory.add(memory, seconds);
            self.peak_gpu_memory = Some(self.peak_gpu_memory.unwrap_or(0.0).max(bounded(memory)));
        }
        let requests = sample.latency.count as f64;
        let latency = |mean: &mut Mean, latency: Duration| mean.add(latency.as_secs_f64(), requests);
        latency(&mut averages.latency_p50, sample.latency.p50);
        latency(&mut averages.latency_p95, sample.latency.p95);
        latency(&mut averages.latency_p99, sample.latency.p99);
        averages.throttled.add(sample.throttled, sample.answers as f64);
        averages.failed.add(sample.failed, sample.answers as f64);
        self.lanes = self.lanes.max(sample.lanes.len());
    }
}

/// A measurement that sums stay finite with, whatever was measured: nothing that docferry counts comes near a quadrillion a second.
fn bounded(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1e15) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decision::Block;
    use crate::model::event::Quantiles;
    use crate::model::knobs::{Ceilings, Knob, Knobs};
    use crate::model::sample::{GpuUse, LaneUse, PoolUse};
    use proptest::prelude::*;

    const CEILINGS: Ceilings = Ceilings {
        cpu: 0.7,
        cpu_grow_below: 0.65,
        cpu_shrink_below: 0.4,
        memory: 0.75,
        memory_grow_below: 0.7,
        memory_shrink_below: 0.4,
        gpu_memory: 0.9,
        errors: 0.02,
    };

    const KNOBS: Knobs = Knobs {
        readers: 1,
        transformers: 2,
        requests_in_flight: 8,
        batch_documents: 2_000,
        request_documents: 100,
        credit_bytes: 1 << 25,
    };

    fn fresh() -> Performance {
        Performance::new(Yardstick::new(CEILINGS, None, true))
    }

    fn second() -> Sample {
        Sample { window: Duration::from_secs(1), ..Sample::default() }
    }

    fn decision(reason: Reason, effect: Effect) -> Decision {
        Decision {
            knob: Knob::Readers,
            from: 2,
            to: 4,
            effect,
            reason,
            because: String::new(),
            confidence: None,
            evidence: None,
        }
    }

    #[test]
    fn windows_count_by_their_length_and_latencies_by_their_requests() {
        let mut performance = fresh();
        let window = |seconds, documents_per_second, count, p50, throttled| Sample {
            window: Duration::from_secs(seconds),
            documents_per_second,
            latency: Quantiles { count, p50: Duration::from_millis(p50), ..Quantiles::default() },
            answers: count,
            throttled,
            lanes: vec![LaneUse { request_units_per_second: 0.0, budget: Some(1_000.0) }; 2],
            request_units_per_second: documents_per_second,
            memory: Some(0.1 * seconds as f64),
            ..Sample::default()
        };
        performance.add(&window(1, 100.0, 3, 10, 1.0), &KNOBS, &[]);
        performance.add(&window(3, 500.0, 1, 50, 0.0), &KNOBS, &[]);
        let Averages { documents_per_second, latency_p50, throttled, budget, budget_used, memory, .. } =
            performance.averages;
        let values = [documents_per_second, latency_p50, throttled, budget, budget_used, memory]
            .map(|mean| (mean.get().unwrap() * 1e6).round() / 1e6);
        assert_eq!(values, [400.0, 0.02, 0.75, 2_000.0, 0.2, 0.25]);
        assert_eq!((performance.seconds, performance.lanes), (4.0, 2));
        assert!((performance.peak_memory - 0.3).abs() < 1e-9);
        assert_eq!(performance.averages.gpu_memory.get(), None, "what was never measured has no mean");
    }

    #[test]
    fn a_run_is_limited_by_what_limits_it_longest() {
        let mut performance = fresh();
        assert_eq!(performance.limit(), None);
        let busy = PoolUse { busy: 1.0, ..PoolUse::default() };
        performance.add(&Sample { requests: busy, ..second() }, &KNOBS, &[]);
        performance.add(&Sample { readers: busy, ..second() }, &KNOBS, &[]);
        performance.add(&Sample { readers: busy, ..second() }, &KNOBS, &[]);
        let (limit, share) = performance.limit().unwrap();
        assert!(limit == Limit::Source && (share - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(
            performance.limits.seconds().collect::<Vec<_>>(),
            [(Limit::Target, 1.0), (Limit::Source, 2.0)]
        );
    }

    #[test]
    fn the_tuner_is_at_one_thing_at_a_time() {
        let mut performance = fresh();
        let mut states = |decisions: &[Decision], sample: Sample| {
            let before = performance.states.clone();
            performance.add(&sample, &KNOBS, decisions);
            let after = performance.states.seconds();
            let grown = after.filter(|(state, seconds)| before.0.get(state).unwrap_or(&0.0) < seconds);
            grown.map(|(state, _)| state).collect::<Vec<_>>()
        };
        let gated = || Sample { lanes_gated: 1.0, request_units_per_second: 1.0, ..second() };
        let blocked = decision(Reason::Probe, Effect::Blocked(Block::Bound));
        assert_eq!(states(&[blocked], second()), [State::Holding]);
        assert_eq!(states(&[decision(Reason::Probe, Effect::Turned)], second()), [State::Holding]);
        assert_eq!(states(&[], gated()), [State::Searching]);
        assert_eq!(states(&[decision(Reason::Accepted, Effect::Kept)], second()), [State::Searching]);
        assert_eq!(
            states(&[decision(Reason::Probe, Effect::Turned)], gated()),
            [State::AwaitingRequestUnits]
        );
        assert_eq!(states(&[decision(Reason::Revert, Effect::Turned)], second()), [State::Searching]);
        assert_eq!(states(&[decision(Reason::Errors, Effect::Turned)], second()), [State::Holding]);
        for _ in 0..5 {
            assert_eq!(states(&[], second()), [State::Braking]);
        }
        assert_eq!(states(&[], second()), [State::Holding]);
        let mut untuned = Performance::new(Yardstick::new(CEILINGS, None, false));
        untuned.add(&gated(), &KNOBS, &[]);
        assert_eq!(untuned.states.shares(), [(State::Off, 1.0)]);
    }

    #[test]
    fn decisions_are_counted_by_what_became_of_them() {
        let mut performance = fresh();
        let cooldown = Effect::Blocked(Block::Cooldown(Duration::from_secs(3)));
        let decisions = [
            decision(Reason::Probe, Effect::Turned),
            decision(Reason::Moved, Effect::Kept),
            decision(Reason::Accepted, Effect::Kept),
            decision(Reason::Probe, Effect::Turned),
            decision(Reason::Revert, Effect::Turned),
            decision(Reason::Prescale, Effect::Turned),
            decision(Reason::Probe, cooldown),
            decision(Reason::Shrink, cooldown),
            decision(Reason::Probe, Effect::Blocked(Block::StepLimit)),
        ];
        performance.add(&second(), &KNOBS, &decisions);
        let blocked = BTreeMap::from([("cooldown", 2), ("step limit", 1)]);
        assert_eq!(
            performance.decided,
            Decided { turned: 4, tried: 2, accepted: 1, unproved: 1, reverted: 1, blocked }
        );
    }

    fn any_share() -> impl Strategy<Value = f64> {
        prop_oneof![4 => 0.0..1.5_f64, 1 => any::<f64>()]
    }

    fn any_sample() -> impl Strategy<Value = Sample> {
        let shares = prop::collection::vec(any_share(), 12);
        let lanes = prop::collection::vec((any_share(), prop::option::of(any_share())), 0..4);
        let times = (0..5_000_u64, any::<u64>(), any::<u64>());
        (shares, lanes, times, prop::option::of(any_share()), any::<u64>()).prop_map(
            |(shares, lanes, (window, answers, nanoseconds), memory, used)| {
                let pool = |busy| PoolUse { busy, ..PoolUse::default() };
                let latency = Duration::from_nanos(nanoseconds);
                let lanes = lanes.into_iter();
                let gpu = GpuUse { used: Some(used), total: Some(used / 2), ..GpuUse::default() };
                Sample {
                    window: Duration::from_millis(window),
                    documents_per_second: shares[0],
                    bytes_per_second: shares[1],
                    request_units_per_second: shares[2],
                    readers: pool(shares[3]),
                    transformers: pool(shares[4]),
                    requests: pool(shares[5]),
                    throttled: shares[6],
                    failed: shares[7],
                    cpu: shares[8],
                    cpu_others: Some(shares[9]),
                    credits_short: shares[10],
                    lanes_gated: shares[11],
                    lanes: lanes
                        .map(|(request_units_per_second, budget)| LaneUse {
                            request_units_per_second,
                            budget,
                        })
                        .collect(),
                    memory,
                    gpus: vec![gpu],
                    answers,
                    latency: Quantiles {
                        count: answers,
                        p50: latency,
                        p95: latency,
                        p99: latency,
                        max: latency,
                    },
                    ..Sample::default()
                }
            },
        )
    }

    fn whole<T: Ord + Copy>(times: &Times<T>) -> f64 {
        times.shares().iter().map(|(_, share)| share).sum()
    }

    proptest! {
        #[test]
        fn any_windows_amount_to_finite_figures_and_whole_shares(samples in prop::collection::vec(any_sample(), 1..20)) {
            let mut performance = fresh();
            for sample in &samples {
                performance.add(sample, &KNOBS, &[]);
            }
            let has_length = samples.iter().any(|sample| !sample.window.is_zero());
            for whole in [whole(&performance.limits), whole(&performance.severities), whole(&performance.states)] {
                prop_assert!((whole - f64::from(u8::from(has_length))).abs() < 1e-9, "{}", whole);
            }
            let text = format!("{performance:?}");
            prop_assert!(!text.contains("NaN") && !text.contains("inf"), "{}", text);
        }
    }
}
