//! How hard a window worked, and what held it back: one sample, judged by rules that anyone can check against it.
//!
//! **What limits** is the one thing that must become more, or faster, for the run to be faster. Exactly one is named, by the first rule that
//! holds. What lies outside docferry comes first, then the ceilings, then the pools: work that waits for the target's leave is not helped by
//! more cores, nor by a larger pool one that the CPU ceiling keeps small.
//!
//! 1. *request units*: of the lanes with work half or more wait for the target's leave, or one spends 95 % of what it has. Lanes that wait for a target
//!    that counts no request units are limited by the *target*.
//! 2. *rate*: 90 % of `--max-rate` is reached.
//! 3. *gpu*: batches failed for want of a GPU's memory; or the transformers are saturated while its memory is at the ceiling or it computes all the time.
//! 4. *cpu*: docferry uses what the ceiling leaves to grow into, or a tenth of the cores while others use the rest.
//! 5. *memory*: the same of memory.
//! 6. *target*, *transform* or *source*: the pool that is busiest, if it is saturated. Of equals the one further down counts, as the others
//!    wait for it. Of the readers only as many count as there are partitions to read. Where it is the target and more requests fail than may,
//!    it is *failures*.
//! 7. *target* or *credits*: readers waited for half of the window, though no pool is saturated. The target, if most of what
//!    is in memory waits for it, as it takes fewer requests at once than may be sent; the credits, if it was credits that the readers waited for.
//! 8. *nothing*: none of these. Documents came in gusts, or the run had just begun or was about to end.
//!
//! **Severity** is how near the window came to what it may use: the largest of CPU, memory and GPU memory as shares of their ceilings, request
//! units as a share of the budget, failed requests as a share of those allowed. See [`Severity`] for the steps.

use crate::model::knobs::{Ceilings, Knobs};
use crate::model::sample::Sample;
use std::fmt;

/// A lane that spends this share of its budget has none to spare: what is missing is rounding between its seconds and ours.
const SPENT: f64 = 0.95;

/// Half of the lanes with work, or half of the time.
const HALF: f64 = 0.5;

/// A rate is kept to in slices, and the first of a window may be missing.
const AT_RATE: f64 = 0.9;

/// A ceiling is reached this far below it: the tuner turns in steps and cuts above, so a run at its ceiling swings around a value just under it.
const AT_CEILING: f64 = 0.95;

/// All cores, or a GPU, busy to this share have nothing left for one worker more.
const EXHAUSTED: f64 = 0.95;

/// Who uses less of the cores than this does not wait for them, however busy others are.
const COMPUTES: f64 = 0.1;

/// Fewer answers say nothing of how many fail.
const ENOUGH_ANSWERS: u64 = 50;

/// A pool is saturated from here: batches come in gusts, so what everything waits for is not busy all the time.
const SATURATED: f64 = 0.7;

/// What held a window back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// The request units of the target, or of its hottest lane.
    RequestUnits,
    /// `--max-rate`.
    Rate,
    /// A GPU.
    Gpu,
    /// The CPU ceiling, or the cores.
    Cpu,
    /// The memory ceiling, or the memory.
    Memory,
    /// The time that the target takes for its answers.
    Target,
    /// Requests that failed.
    Failures,
    /// The time that steps take.
    Transform,
    /// The time that reading takes.
    Source,
    /// The bytes of documents that may be in memory at once.
    Credits,
    /// Nothing that is measured.
    Nothing,
}

impl Limit {
    /// Every limit, in the order of the rules.
    pub const ALL: [Limit; 11] = [
        Limit::RequestUnits,
        Limit::Rate,
        Limit::Gpu,
        Limit::Cpu,
        Limit::Memory,
        Limit::Target,
        Limit::Failures,
        Limit::Transform,
        Limit::Source,
        Limit::Credits,
        Limit::Nothing,
    ];

    /// The word used in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Limit::RequestUnits => "request_units",
            Limit::Rate => "rate",
            Limit::Gpu => "gpu",
            Limit::Cpu => "cpu",
            Limit::Memory => "memory",
            Limit::Target => "target",
            Limit::Failures => "failures",
            Limit::Transform => "transform",
            Limit::Source => "source",
            Limit::Credits => "credits",
            Limit::Nothing => "nothing",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::RequestUnits => "request units",
            Limit::Rate => "--max-rate",
            limit => limit.as_str(),
        })
    }
}

/// How near a window came to what it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Under a quarter of everything.
    VeryLow,
    /// Under a half.
    Low,
    /// Under three quarters.
    Moderate,
    /// From three quarters to the limit itself, where a well-tuned run is: to 2 % above, as a run at its ceiling swings around it.
    High,
    /// Above the limit: something is being cut, or should be.
    Critical,
}

impl Severity {
    /// Every severity, the least first.
    pub const ALL: [Severity; 5] =
        [Severity::VeryLow, Severity::Low, Severity::Moderate, Severity::High, Severity::Critical];

    /// The word used in events and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::VeryLow => "very-low",
            Severity::Low => "low",
            Severity::Moderate => "moderate",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// That of a share of what may be used.
    fn of(share: f64) -> Self {
        match share {
            share if share < 0.25 => Severity::VeryLow,
            share if share < 0.5 => Severity::Low,
            share if share < 0.75 => Severity::Moderate,
            share if share <= 1.02 => Severity::High,
            _ => Severity::Critical,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a window amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// How near it came to what it may use.
    pub severity: Severity,
    /// What held it back.
    pub limit: Limit,
}

/// What windows are measured against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yardstick {
    /// The ceilings in force: the profile's while the tuner keeps to them, else the whole machine.
    pub ceilings: Ceilings,
    /// Documents per second that may be read.
    pub max_rate: Option<f64>,
    /// Whether the tuner runs.
    pub auto_scaling: bool,
}

impl Yardstick {
    /// That of a run. Without the tuner nobody keeps to the ceilings, and the machine's end is what limits; of failures as many are
    /// too many as ever.
    pub fn new(ceilings: Ceilings, max_rate: Option<f64>, auto_scaling: bool) -> Self {
        let machine = Ceilings {
            cpu: 1.0,
            cpu_grow_below: 1.0,
            memory: 1.0,
            memory_grow_below: 1.0,
            gpu_memory: 1.0,
            ..ceilings
        };
        Self { ceilings: if auto_scaling { ceilings } else { machine }, max_rate, auto_scaling }
    }

    /// Judges a window.
    pub fn judge(&self, sample: &Sample, knobs: &Knobs) -> Workload {
        Workload { severity: self.severity(sample), limit: self.limit(sample, knobs) }
    }

    fn severity(&self, sample: &Sample) -> Severity {
        if sample.gpu_out_of_memory > 0 {
            return Severity::Critical;
        }
        let ceilings = &self.ceilings;
        let shares = [
            share(sample.cpu, ceilings.cpu),
            share(sample.memory.unwrap_or(0.0), ceilings.memory),
            share(sample.gpu_memory().unwrap_or(0.0), ceilings.gpu_memory),
            // More than the budget cannot be spent for long: what is above it is rounding between the target's seconds and ours.
            budget(sample).map_or(0.0, |budget| share(sample.request_units_per_second, budget).min(1.0)),
            share(sample.failed, ceilings.errors),
        ];
        Severity::of(shares.into_iter().fold(0.0, f64::max))
    }

    fn limit(&self, sample: &Sample, knobs: &Knobs) -> Limit {
        let ceilings = &self.ceilings;
        let is_at = |used: f64, ceiling: f64, grow_below: f64| {
            used > 0.0 && used >= grow_below.min(ceiling * AT_CEILING)
        };
        if let Some(limit) = outside(sample) {
            return limit;
        }
        if self.max_rate.is_some_and(|rate| sample.documents_per_second >= rate * AT_RATE) {
            return Limit::Rate;
        }
        if self.is_gpu(sample) {
            return Limit::Gpu;
        }
        let cores = sample.cpu + sample.cpu_others.unwrap_or(0.0);
        let is_crowded = cores >= EXHAUSTED && sample.cpu >= COMPUTES;
        if is_at(sample.cpu, ceilings.cpu, ceilings.cpu_grow_below) || is_crowded {
            return Limit::Cpu;
        }
        if is_at(sample.memory.unwrap_or(0.0), ceilings.memory, ceilings.memory_grow_below) {
            return Limit::Memory;
        }
        let waits_for_target = sample.queued_documents > sample.transforming_documents;
        match saturated(sample, knobs) {
            Some(Limit::Target) if sample.answers >= ENOUGH_ANSWERS && sample.failed > ceilings.errors => {
                Limit::Failures
            }
            Some(limit) => limit,
            None if waits_for_target && sample.credits_short.max(sample.readers.blocked) >= HALF => {
                Limit::Target
            }
            None if sample.credits_short >= HALF => Limit::Credits,
            None => Limit::Nothing,
        }
    }

    fn is_gpu(&self, sample: &Sample) -> bool {
        let is_full = sample.gpu_memory().is_some_and(|used| used >= self.ceilings.gpu_memory * AT_CEILING);
        let computes = sample.gpus.iter().any(|gpu| gpu.busy >= Some(EXHAUSTED));
        sample.gpu_out_of_memory > 0 || (sample.transformers.busy >= SATURATED && (is_full || computes))
    }
}

/// The target's own limit: its request units, or its word to wait.
fn outside(sample: &Sample) -> Option<Limit> {
    let is_spent = sample
        .lanes
        .iter()
        .any(|lane| lane.budget.is_some_and(|budget| share(lane.request_units_per_second, budget) >= SPENT));
    let counts_request_units = sample.request_units_per_second > 0.0 || !sample.lanes.is_empty();
    match sample.lanes_gated >= HALF {
        _ if is_spent => Some(Limit::RequestUnits),
        true if counts_request_units => Some(Limit::RequestUnits),
        true => Some(Limit::Target),
        false => None,
    }
}

/// The busiest pool, if it is saturated.
fn saturated(sample: &Sample, knobs: &Knobs) -> Option<Limit> {
    let readers = knobs.readers.max(1);
    // Of a window in which the last partition ended one reader is left.
    let reading = readers.min(sample.unfinished_partitions.max(1));
    let pools = [
        (Limit::Source, sample.readers.busy * readers as f64 / reading as f64),
        (Limit::Transform, sample.transformers.busy),
        (Limit::Target, sample.requests.busy),
    ];
    // More than busy all the time is rounding at a window's end. The last of equals wins.
    let saturated = pools.into_iter().filter(|(_, busy)| *busy >= SATURATED);
    saturated.max_by(|(_, one), (_, other)| one.min(1.0).total_cmp(&other.min(1.0))).map(|(limit, _)| limit)
}

/// Request units per second that the lanes have together, where that is known of each.
pub(crate) fn budget(sample: &Sample) -> Option<f64> {
    let budgets: Option<Vec<f64>> = sample.lanes.iter().map(|lane| lane.budget).collect();
    budgets.map(|budgets| budgets.iter().sum()).filter(|budget: &f64| *budget > 0.0 && budget.is_finite())
}

/// How much of `whole` is used; nothing, where there is none of it to use.
fn share(part: f64, whole: f64) -> f64 {
    let share = part / whole;
    if share.is_finite() { share } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::{GpuUse, LaneUse, PoolUse};

    const KNOBS: Knobs = Knobs {
        readers: 4,
        transformers: 2,
        requests_in_flight: 8,
        batch_documents: 2_000,
        request_documents: 100,
        credit_bytes: 1 << 25,
    };

    fn ceilings() -> Ceilings {
        Ceilings {
            cpu: 0.7,
            cpu_grow_below: 0.65,
            cpu_shrink_below: 0.4,
            memory: 0.75,
            memory_grow_below: 0.7,
            memory_shrink_below: 0.4,
            gpu_memory: 0.9,
            errors: 0.02,
        }
    }

    fn limit(sample: Sample) -> Limit {
        Yardstick::new(ceilings(), Some(1_000.0), true).judge(&sample, &KNOBS).limit
    }

    fn severity(sample: Sample) -> Severity {
        Yardstick::new(ceilings(), None, true).judge(&sample, &KNOBS).severity
    }

    fn pool(busy: f64) -> PoolUse {
        PoolUse { busy, ..PoolUse::default() }
    }

    fn gpu(used: u64, busy: f64) -> GpuUse {
        GpuUse { name: "gpu".into(), used: Some(used), total: Some(100), busy: Some(busy) }
    }

    fn lane(spent: f64, budget: f64) -> LaneUse {
        LaneUse { request_units_per_second: spent, budget: Some(budget) }
    }

    /// Everything at its limit at once; each rule is then tested by what the rules before it do not see.
    fn everything() -> Sample {
        Sample {
            documents_per_second: 950.0,
            lanes: vec![lane(40.0, 100.0), lane(95.0, 100.0)],
            request_units_per_second: 135.0,
            transformers: pool(0.9),
            requests: pool(0.9),
            readers: pool(0.9),
            gpus: vec![gpu(90, 1.0)],
            cpu: 0.7,
            memory: Some(0.75),
            credits_short: 1.0,
            unfinished_partitions: 9,
            ..Sample::default()
        }
    }

    #[test]
    fn the_first_rule_that_holds_names_the_limit() {
        let everything = everything();
        assert_eq!(limit(everything.clone()), Limit::RequestUnits);
        let unspent = Sample { lanes: vec![lane(40.0, 100.0), lane(94.0, 100.0)], ..everything };
        assert_eq!(limit(Sample { lanes_gated: 0.5, ..unspent.clone() }), Limit::RequestUnits);
        assert_eq!(limit(unspent.clone()), Limit::Rate);
        let slower = Sample { documents_per_second: 890.0, ..unspent };
        assert_eq!(limit(slower.clone()), Limit::Gpu);
        let no_gpu = Sample { gpus: vec![gpu(85, 0.9)], ..slower };
        assert_eq!(limit(no_gpu.clone()), Limit::Cpu);
        let cool = Sample { cpu: 0.64, cpu_others: Some(0.3), ..no_gpu };
        assert_eq!(limit(cool.clone()), Limit::Memory);
        let lean = Sample { memory: Some(0.69), ..cool };
        assert_eq!(limit(lean.clone()), Limit::Target, "of equals the one further down");
        let quick = Sample { requests: pool(0.69), ..lean };
        assert_eq!(limit(quick.clone()), Limit::Transform);
        let untouched = Sample { transformers: pool(0.69), ..quick };
        assert_eq!(limit(untouched.clone()), Limit::Source);
        let fast = Sample { readers: pool(0.69), ..untouched };
        assert_eq!(limit(fast.clone()), Limit::Credits);
        assert_eq!(limit(Sample { credits_short: 0.49, ..fast }), Limit::Nothing);
    }

    #[test]
    fn the_busiest_pool_limits_even_if_it_is_further_up() {
        let many = || Sample { unfinished_partitions: 9, ..Sample::default() };
        let sample = Sample { readers: pool(0.99), requests: pool(0.8), ..many() };
        assert_eq!(limit(sample), Limit::Source);
        let rounded = Sample { readers: pool(1.04), requests: pool(1.0), ..many() };
        assert_eq!(limit(rounded), Limit::Target, "both are busy all the time");
    }

    #[test]
    fn readers_without_a_partition_have_nothing_to_be_busy_with() {
        let reading = |busy, unfinished_partitions| {
            limit(Sample { readers: pool(busy), unfinished_partitions, ..Sample::default() })
        };
        assert_eq!([reading(0.25, 1), reading(0.36, 2), reading(0.8, 9)], [Limit::Source; 3]);
        assert_eq!([reading(0.34, 2), reading(0.69, 9)], [Limit::Nothing; 2]);
        assert_eq!(reading(0.25, 0), Limit::Source, "the last partition ended in this window");
    }

    #[test]
    fn a_target_that_takes_one_request_at_a_time_is_not_taken_for_a_lack_of_credits() {
        let short = |queued_documents| Sample {
            credits_short: 0.8,
            requests: pool(0.125),
            queued_documents,
            transforming_documents: 100,
            ..Sample::default()
        };
        assert_eq!([limit(short(900)), limit(short(100))], [Limit::Target, Limit::Credits]);
        let held = PoolUse { blocked: 1.0, ..PoolUse::default() };
        let handed_over = |queued| Sample { readers: held, credits_short: 0.0, ..short(queued) };
        assert_eq!([limit(handed_over(900)), limit(handed_over(100))], [Limit::Target, Limit::Nothing]);
    }

    #[test]
    fn where_requests_fail_it_is_not_the_target_that_is_slow() {
        let failing = |answers, failed| Sample { requests: pool(0.9), answers, failed, ..Sample::default() };
        assert_eq!(limit(failing(50, 0.03)), Limit::Failures);
        assert_eq!([limit(failing(49, 0.03)), limit(failing(50, 0.02))], [Limit::Target; 2]);
    }

    #[test]
    fn a_target_that_says_wait_and_counts_no_request_units_limits_itself() {
        assert_eq!(limit(Sample { lanes_gated: 1.0, ..Sample::default() }), Limit::Target);
        let counting = Sample { lanes_gated: 1.0, request_units_per_second: 1.0, ..Sample::default() };
        assert_eq!(limit(counting), Limit::RequestUnits);
    }

    #[test]
    fn cores_that_others_take_and_gpus_that_compute_limit_too() {
        let crowded = |cpu| Sample { cpu, cpu_others: Some(0.96 - cpu), ..Sample::default() };
        assert_eq!([limit(crowded(0.2)), limit(crowded(0.09))], [Limit::Cpu, Limit::Nothing]);
        let idle = Sample { gpus: vec![gpu(95, 1.0)], ..Sample::default() };
        assert_eq!(
            limit(idle.clone()),
            Limit::Nothing,
            "a model lies in its memory and nothing waits for it"
        );
        assert_eq!(limit(Sample { gpu_out_of_memory: 1, ..idle }), Limit::Gpu);
        let computing = Sample { gpus: vec![gpu(10, 0.95)], transformers: pool(0.8), ..Sample::default() };
        assert_eq!(limit(computing), Limit::Gpu);
    }

    #[test]
    fn without_the_tuner_the_machine_is_the_ceiling() {
        let machine = Yardstick::new(ceilings(), None, false);
        let busy = Sample { cpu: 0.9, memory: Some(0.9), ..Sample::default() };
        let workload = Workload { severity: Severity::High, limit: Limit::Nothing };
        assert_eq!(machine.judge(&busy, &KNOBS), workload);
        assert_eq!(machine.judge(&Sample { cpu: 0.96, ..busy }, &KNOBS).limit, Limit::Cpu);
        assert_eq!(
            machine.judge(&Sample { failed: 0.1, ..Sample::default() }, &KNOBS).severity,
            Severity::Critical
        );
    }

    #[test]
    fn severity_rises_at_its_steps() {
        use Severity::{Critical, High, Low, Moderate, VeryLow};
        let machine = Yardstick::new(ceilings(), None, false);
        for (used, expected) in [
            (0.0, VeryLow),
            (0.249, VeryLow),
            (0.25, Low),
            (0.499, Low),
            (0.5, Moderate),
            (0.749, Moderate),
            (0.75, High),
            (1.0, High),
            (1.019, High),
            (1.021, Critical),
        ] {
            let sample = Sample { cpu: used, ..Sample::default() };
            assert_eq!(machine.judge(&sample, &KNOBS).severity, expected, "{used}");
        }
    }

    #[test]
    fn the_most_loaded_signal_is_the_severity() {
        let quiet = || Sample { cpu: 0.1, ..Sample::default() };
        assert_eq!(severity(quiet()), Severity::VeryLow);
        assert_eq!(severity(Sample { memory: Some(0.8), ..quiet() }), Severity::Critical);
        assert_eq!(severity(Sample { gpus: vec![gpu(50, 0.0)], ..quiet() }), Severity::Moderate);
        assert_eq!(severity(Sample { failed: 0.03, ..quiet() }), Severity::Critical);
        assert_eq!(severity(Sample { gpu_out_of_memory: 1, ..quiet() }), Severity::Critical);
        let spending = |spent: f64| Sample {
            lanes: vec![lane(spent, 50.0), lane(0.0, 50.0)],
            request_units_per_second: spent,
            ..quiet()
        };
        assert_eq!(severity(spending(40.0)), Severity::Low, "of the budget of all lanes");
        assert_eq!(severity(spending(110.0)), Severity::High, "above the budget is rounding");
        let unknown = LaneUse { request_units_per_second: 9.0, budget: None };
        let half_known =
            Sample { lanes: vec![unknown, lane(9.0, 10.0)], request_units_per_second: 18.0, ..quiet() };
        assert_eq!(severity(half_known), Severity::VeryLow);
    }
}
