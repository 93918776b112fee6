//! What a run's performance says to a person, and to a program: rows of the summary, a part of `summary.json`, and one piece of advice.
//!
//! Advice is about what limited the run for most of its time, and names one thing that a person can do about it, with the figures of this run. A
//! run that was measured for less than five seconds is given none, and its table has no shares of time: most of it was beginning and ending.

use super::Verbosity;
use super::json::seconds;
use super::summary::moved;
use crate::model::event::Summary;
use crate::model::performance::{Averages, Decided, Mean, Performance, State, Times};
use crate::model::units::{Bytes, Count, Counted};
use crate::model::workload::Limit;
use serde_json::{Map, Value, json};
use std::fmt::Display;
use std::time::Duration;

/// A shorter run says nothing of how a longer one would go.
const STEADY: f64 = 5.0;

/// Others are named where they take so much of the cores.
const CROWDED: f64 = 0.25;

/// A lane is hot from this multiple of its fair share.
const HOT: f64 = 1.5;

/// The rows of the table that end it.
pub(super) fn rows(summary: &Summary, verbosity: Verbosity) -> Vec<(&'static str, String)> {
    let performance = &summary.performance;
    let mut rows = vec![("tuner", tuner(summary))];
    let is_verbose = verbosity == Verbosity::Verbose;
    if performance.seconds <= 0.0 || (performance.seconds < STEADY && !is_verbose) {
        return rows;
    }
    if performance.yardstick.auto_scaling {
        rows.push(("tuner time", shares(&performance.states, |state| state.as_str().replace('_', " "))));
    }
    rows.push(("workload", shares(&performance.severities, |severity| severity)));
    rows.push(("on average", averages(performance)));
    if is_verbose {
        rows.push(("a window", window(&performance.averages)));
        rows.extend(held_back(&performance.decided).map(|text| ("held back", text)));
    }
    rows.push(("limited by", shares(&performance.limits, |limit| limit)));
    rows.extend(recommendation(summary).map(|advice| ("to be faster", advice)));
    rows
}

fn tuner(summary: &Summary) -> String {
    let knobs = &summary.knobs;
    let pools = format!("pools {}/{}/{}", knobs.readers, knobs.transformers, knobs.requests_in_flight);
    if !summary.performance.yardstick.auto_scaling {
        return format!("off, {pools}");
    }
    let Decided { turned, tried, accepted, unproved, reverted, blocked } = &summary.performance.decided;
    let kinds =
        [(tried, "tried"), (accepted, "accepted"), (unproved, "kept unproved"), (reverted, "taken back")];
    let kinds: Vec<String> = kinds
        .into_iter()
        .filter(|(count, _)| **count > 0)
        .map(|(count, kind)| format!("{} {kind}", Count(*count)))
        .collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    let blocked: u64 = blocked.values().sum();
    let blocked = if blocked == 0 { String::new() } else { format!(", {} held back", Count(blocked)) };
    format!("{}{kinds}{blocked}, {pools} at the end", Counted(*turned, "decision"))
}

fn held_back(decided: &Decided) -> Option<String> {
    let kinds: Vec<String> =
        decided.blocked.iter().map(|(kind, count)| format!("{kind} {}", Count(*count))).collect();
    (!kinds.is_empty()).then(|| kinds.join(", "))
}

/// What took at least half a percent of the time.
fn shares<T: Ord + Copy, W: Display>(times: &Times<T>, word: impl Fn(T) -> W) -> String {
    let shares = times.shares().into_iter().filter(|(_, share)| *share >= 0.005);
    let parts: Vec<String> =
        shares.map(|(condition, share)| format!("{} {}", word(condition), percent(share))).collect();
    format!("{} of the time", parts.join(", "))
}

fn averages(performance: &Performance) -> String {
    let Performance { averages, peak_memory, peak_gpu_memory, yardstick, .. } = performance;
    let ceiling = |share: f64| yardstick.auto_scaling.then(|| format!("ceiling {}", percent(share)));
    let most = |peak: f64, share: f64| {
        let most = format!("{} at most", percent(peak));
        ceiling(share).map_or(most.clone(), |ceiling| format!("{most}, {ceiling}"))
    };
    let mut parts = Vec::new();
    if let Some(cpu) = averages.cpu.get() {
        let ceiling = ceiling(yardstick.ceilings.cpu).map(|ceiling| format!(" ({ceiling})"));
        parts.push(format!("cpu {}{}", percent(cpu), ceiling.unwrap_or_default()));
    }
    if let Some(memory) = averages.memory.get() {
        parts.push(format!("memory {} ({})", percent(memory), most(*peak_memory, yardstick.ceilings.memory)));
    }
    if let (Some(memory), Some(peak)) = (averages.gpu_memory.get(), peak_gpu_memory) {
        parts.push(format!(
            "gpu memory {} ({})",
            percent(memory),
            most(*peak, yardstick.ceilings.gpu_memory)
        ));
    }
    if let Some(credits) = averages.credits_used.get() {
        parts.push(format!("credits {}", percent(credits)));
    }
    parts.join("; ")
}

/// Means over windows, for who asks for more than the whole run's figures above them.
fn window(averages: &Averages) -> String {
    let count = |mean: Mean| Count(mean.get().unwrap_or(0.0).round() as u64);
    let mut parts = vec![
        format!("{} documents/s", count(averages.documents_per_second)),
        format!("{}/s", Bytes(averages.bytes_per_second.get().unwrap_or(0.0) as u64)),
    ];
    if let (Some(used), Some(budget)) = (averages.budget_used.get(), averages.budget.get()) {
        let budget = Count(budget.round() as u64);
        parts.push(format!(
            "{} RU/s, {} of {budget}",
            count(averages.request_units_per_second),
            percent(used)
        ));
    }
    let latencies = [averages.latency_p50, averages.latency_p95, averages.latency_p99].map(Mean::get);
    if let [Some(p50), Some(p95), Some(p99)] = latencies.map(|latency| latency.map(milliseconds)) {
        parts.push(format!("latency p50 {p50}, p95 {p95}, p99 {p99}"));
    }
    if let (Some(throttled), Some(failed)) = (averages.throttled.get(), averages.failed.get()) {
        parts.push(format!("requests throttled {}, failed {}", percent(throttled), percent(failed)));
    }
    parts.join("; ")
}

/// What a person can do about what limited the run.
pub(super) fn recommendation(summary: &Summary) -> Option<String> {
    let performance = &summary.performance;
    let (limit, _) = performance.limit().filter(|_| performance.seconds >= STEADY)?;
    let knobs = &summary.knobs;
    Some(match limit {
        Limit::RequestUnits => request_units(summary),
        Limit::Rate => {
            let rate = performance.yardstick.max_rate.unwrap_or(0.0);
            format!("raise --max-rate above {rate} documents/s, or leave it out")
        }
        Limit::Gpu => format!(
            "use a GPU with more memory or a second one, or smaller batches: --batch-documents below {}",
            Count(knobs.batch_documents as u64)
        ),
        Limit::Cpu => cpu(performance),
        Limit::Memory => memory(performance),
        Limit::Target => target(summary),
        Limit::Failures => format!(
            "find out why requests fail: {} of them did, and each is sent again",
            percent(performance.averages.failed.get().unwrap_or(0.0))
        ),
        Limit::Transform => format!(
            "use more cores, or fewer and simpler steps: {} at work all the time",
            Counted(knobs.transformers as u64, "transformer")
        ),
        Limit::Source => {
            "split the source into more partitions (several files instead of one), or read it from faster storage"
                .to_owned()
        }
        Limit::Credits => {
            format!("raise [run] credits above {}: readers waited for them", Bytes(knobs.credit_bytes))
        }
        Limit::Nothing => format!(
            "try larger batches, --batch-documents above {}: no pool was saturated and no ceiling reached",
            Count(knobs.batch_documents as u64)
        ),
    })
}

/// What the container must have for more, and what can be had of what it has.
fn request_units(summary: &Summary) -> String {
    let performance = &summary.performance;
    if let Some((lane, share)) = &summary.hottest_lane
        && performance.lanes > 1
        && share * performance.lanes as f64 >= HOT
    {
        let share = percent(*share);
        return format!(
            "choose a partition key that spreads: {lane} takes {share} of the documents and spends all that it has"
        );
    }
    let budget = summary.throughput.or(performance.averages.budget.get()).filter(|budget| *budget > 0.0);
    let a_document = summary.request_units / moved(summary) as f64;
    let (Some(budget), true) = (budget, a_document > 0.0 && a_document.is_finite()) else {
        return "raise the container's throughput, or --max-ru where it is given".to_owned();
    };
    let goal = summary.target_docs_per_second;
    let within = about(budget / a_document);
    let mut advice = format!(
        "raise the container's throughput (or --max-ru) above {} RU/s, or expect {within} documents/s",
        Count(budget.round() as u64)
    );
    if goal * a_document > budget {
        advice += &format!("; {} take {} RU/s", Count(goal as u64), about(goal * a_document));
    }
    advice
}

fn cpu(performance: &Performance) -> String {
    let others = performance.averages.cpu_others.get().unwrap_or(0.0);
    if others >= CROWDED {
        return format!("leave docferry more of the cores: others took {} of them", percent(others));
    }
    ceiling("use more cores", "CPU", performance.yardstick.ceilings.cpu, performance)
}

fn memory(performance: &Performance) -> String {
    ceiling("give docferry more memory", "memory", performance.yardstick.ceilings.memory, performance)
}

/// More of something, or a higher ceiling for it where there is one.
fn ceiling(more: &str, of: &str, ceiling: f64, performance: &Performance) -> String {
    // That of the profile `aggressive`, for either.
    const HIGH: f64 = 0.8;
    let allowed = percent(ceiling);
    match performance.yardstick.auto_scaling {
        false => more.to_owned(),
        true if ceiling < HIGH => {
            format!("{more}, or --auto-scaling-profile aggressive: the {of} ceiling was {allowed}")
        }
        true => {
            let variable = of.to_uppercase();
            format!("{more}, or raise AUTO_SCALING_TARGET_{variable}_USAGE: the {of} ceiling was {allowed}")
        }
    }
}

fn target(summary: &Summary) -> String {
    let requests = Counted(summary.knobs.requests_in_flight as u64, "request");
    let median = milliseconds(summary.request_latency.p50.as_secs_f64());
    let tuner = match summary.performance.yardstick.auto_scaling {
        true => "",
        false => "; without --no-auto-scaling more are sent at once where that pays",
    };
    format!(
        "use a faster or nearer target: with {requests} in flight half of the answers took more than {median}{tuner}"
    )
}

/// A figure that rests on estimates, to two digits.
fn about(value: f64) -> String {
    let unit = 10f64.powf((value.max(1.0).log10().floor() - 1.0).max(0.0));
    format!("about {}", Count(((value / unit).round() * unit) as u64))
}

/// In whole percent; a small share that is not nothing keeps a digit.
fn percent(share: f64) -> String {
    let digits = usize::from(share > 0.0 && share < 0.01);
    format!("{:.digits$}%", share * 100.0)
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.2} ms", seconds * 1e3)
}

/// The performance for programs, a part of `summary.json`.
pub(super) fn to_json(summary: &Summary) -> Value {
    let performance = &summary.performance;
    let Performance { averages, decided, yardstick, .. } = performance;
    let latency = |mean: Mean| mean.get().map(|seconds| seconds * 1e3);
    json!({
        "measured_s": seconds_of(performance.seconds),
        "auto_scaling": yardstick.auto_scaling,
        "averages": {
            "documents_per_second": averages.documents_per_second.get(),
            "bytes_per_second": averages.bytes_per_second.get(),
            "request_units_per_second": averages.request_units_per_second.get(),
            "request_units_budget": averages.budget.get(),
            "request_units_share": averages.budget_used.get(),
            "cpu": averages.cpu.get(),
            "cpu_others": averages.cpu_others.get(),
            "memory": averages.memory.get(),
            "gpu_memory": averages.gpu_memory.get(),
            "latency_p50_ms": latency(averages.latency_p50),
            "latency_p95_ms": latency(averages.latency_p95),
            "latency_p99_ms": latency(averages.latency_p99),
            "throttled": averages.throttled.get(),
            "failed": averages.failed.get(),
            "credits_used": averages.credits_used.get(),
        },
        "peak_memory": performance.peak_memory,
        "peak_gpu_memory": performance.peak_gpu_memory,
        "ceilings": {
            "cpu": yardstick.ceilings.cpu,
            "memory": yardstick.ceilings.memory,
            "gpu_memory": yardstick.ceilings.gpu_memory,
            "failed": yardstick.ceilings.errors,
        },
        "decisions": {
            "turned": decided.turned,
            "tried": decided.tried,
            "accepted": decided.accepted,
            "unproved": decided.unproved,
            "reverted": decided.reverted,
            "blocked": decided.blocked,
        },
        "tuner_s": times(&performance.states, State::as_str),
        "severity_s": times(&performance.severities, |severity| severity.as_str()),
        "limited_by_s": times(&performance.limits, Limit::as_str),
        "limited_by": performance.limit().map(|(limit, share)| json!({ "limit": limit.as_str(), "share": share })),
        "recommendation": recommendation(summary),
    })
}

fn times<T: Ord + Copy>(times: &Times<T>, word: impl Fn(T) -> &'static str) -> Value {
    let fields =
        times.seconds().map(|(condition, time)| (word(condition).to_owned(), json!(seconds_of(time))));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// Seconds to the microsecond, as everywhere.
fn seconds_of(time: f64) -> f64 {
    seconds(Duration::try_from_secs_f64(time).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decision::{Block, Decision, Effect, Reason};
    use crate::model::knobs::Knob;
    use crate::model::sample::{GpuUse, LaneUse, PoolUse, Sample};
    use crate::model::workload::Yardstick;
    use crate::report::samples;

    fn shown(summary: &Summary, verbosity: Verbosity) -> String {
        let lines = rows(summary, verbosity).into_iter();
        lines.map(|(label, text)| format!("{label}: {text}")).collect::<Vec<_>>().join("\n")
    }

    /// Ten seconds of one and the same window.
    fn summary(sample: &Sample, auto_scaling: bool) -> Summary {
        let mut summary = samples::summary();
        let ceilings = summary.performance.yardstick.ceilings;
        let mut performance = Performance::new(Yardstick::new(ceilings, Some(500.0), auto_scaling));
        performance.add(&Sample { window: Duration::from_secs(10), ..sample.clone() }, &summary.knobs, &[]);
        (summary.performance, summary.hottest_lane) = (performance, None);
        summary
    }

    fn advised(sample: Sample) -> String {
        recommendation(&summary(&sample, true)).unwrap()
    }

    fn busy() -> PoolUse {
        PoolUse { busy: 1.0, ..PoolUse::default() }
    }

    #[test]
    fn a_run_ends_with_where_its_time_went_and_what_to_do() {
        insta::assert_snapshot!(shown(&samples::summary(), Verbosity::Normal), @"
        tuner: 1 decision (1 tried, 1 accepted), 1 held back, pools 2/4/8 at the end
        tuner time: awaiting request units 75%, searching 20%, holding 5% of the time
        workload: high 100% of the time
        on average: cpu 38% (ceiling 70%); memory 2% (2% at most, ceiling 75%); credits 60%
        limited by: request units 75%, source 25% of the time
        to be faster: raise the container's throughput (or --max-ru) above 500 RU/s, or expect about 610 000 documents/s
        ");
    }

    #[test]
    fn verbose_adds_the_windows_and_what_was_held_back() {
        let mut summary = samples::summary();
        let block = |block| Decision {
            knob: Knob::Readers,
            from: 2,
            to: 4,
            effect: Effect::Blocked(block),
            reason: Reason::Probe,
            because: String::new(),
            confidence: None,
            evidence: None,
        };
        let gpu = GpuUse { used: Some(30), total: Some(100), ..GpuUse::default() };
        let sample = Sample { gpus: vec![gpu], window: Duration::from_secs(1), ..Sample::default() };
        summary.performance.add(&sample, &summary.knobs, &[block(Block::StepLimit), block(Block::StepLimit)]);
        insta::assert_snapshot!(shown(&summary, Verbosity::Verbose), @"
        tuner: 1 decision (1 tried, 1 accepted), 3 held back, pools 2/4/8 at the end
        tuner time: awaiting request units 71%, searching 19%, holding 10% of the time
        workload: high 95%, low 5% of the time
        on average: cpu 36% (ceiling 70%); memory 2% (2% at most, ceiling 75%); gpu memory 30% (30% at most, ceiling 90%); credits 57%
        a window: 69 048 documents/s; 0 B/s; 343 RU/s, 96% of 500; latency p50 1.20 ms, p95 4.80 ms, p99 12.30 ms; requests throttled 0.3%, failed 0%
        held back: cooldown 1, step limit 2
        limited by: request units 71%, source 24%, nothing 5% of the time
        to be faster: raise the container's throughput (or --max-ru) above 500 RU/s, or expect about 610 000 documents/s
        ");
    }

    #[test]
    fn a_short_run_says_what_the_tuner_did_and_no_more() {
        let mut summary = summary(&Sample::default(), false);
        summary.performance = Performance::new(summary.performance.yardstick);
        assert_eq!(shown(&summary, Verbosity::Verbose), "tuner: off, pools 2/4/8");
        summary.performance.add(
            &Sample { window: Duration::from_secs(4), ..Sample::default() },
            &summary.knobs,
            &[],
        );
        assert_eq!(shown(&summary, Verbosity::Normal), "tuner: off, pools 2/4/8");
        assert_eq!(recommendation(&summary), None);
        assert_eq!(
            shown(&summary, Verbosity::Verbose).lines().last(),
            Some("limited by: nothing 100% of the time")
        );
    }

    #[test]
    fn every_limit_has_advice_with_the_figures_of_the_run() {
        let gpu = || GpuUse { used: Some(90), total: Some(100), ..GpuUse::default() };
        let advice = [
            advised(Sample { documents_per_second: 480.0, ..Sample::default() }),
            advised(Sample { gpus: vec![gpu()], transformers: busy(), ..Sample::default() }),
            advised(Sample { cpu: 0.68, ..Sample::default() }),
            advised(Sample { cpu: 0.5, cpu_others: Some(0.46), ..Sample::default() }),
            advised(Sample { memory: Some(0.74), ..Sample::default() }),
            advised(Sample { requests: busy(), ..Sample::default() }),
            advised(Sample { transformers: busy(), ..Sample::default() }),
            advised(Sample { readers: busy(), ..Sample::default() }),
            advised(Sample { credits_short: 0.9, ..Sample::default() }),
            advised(Sample::default()),
        ];
        insta::assert_snapshot!(advice.join("\n"), @"
        raise --max-rate above 500 documents/s, or leave it out
        use a GPU with more memory or a second one, or smaller batches: --batch-documents below 5 000
        use more cores, or --auto-scaling-profile aggressive: the CPU ceiling was 70%
        leave docferry more of the cores: others took 46% of them
        give docferry more memory, or --auto-scaling-profile aggressive: the memory ceiling was 75%
        use a faster or nearer target: with 8 requests in flight half of the answers took more than 1.20 ms
        use more cores, or fewer and simpler steps: 4 transformers at work all the time
        split the source into more partitions (several files instead of one), or read it from faster storage
        raise [run] credits above 32.0 MiB: readers waited for them
        try larger batches, --batch-documents above 5 000: no pool was saturated and no ceiling reached
        ");
    }

    #[test]
    fn without_the_tuner_no_ceiling_is_blamed() {
        let advised = |sample: Sample| recommendation(&summary(&sample, false)).unwrap();
        assert_eq!(advised(Sample { cpu: 0.97, ..Sample::default() }), "use more cores");
        let slow = advised(Sample { requests: busy(), ..Sample::default() });
        assert!(
            slow.ends_with("; without --no-auto-scaling more are sent at once where that pays"),
            "{slow}"
        );
    }

    #[test]
    fn request_units_are_reckoned_from_what_a_document_took() {
        let lane = LaneUse { request_units_per_second: 5_000.0, budget: Some(5_000.0) };
        let spent = Sample { lanes: vec![lane; 2], request_units_per_second: 10_000.0, ..Sample::default() };
        // 1 500 000 documents were moved, at 6 RU each.
        let cost = |summary| Summary { request_units: 9e6, throughput: Some(10_000.0), ..summary };
        let limited = cost(summary(&spent, true));
        assert_eq!(
            recommendation(&limited).unwrap(),
            "raise the container's throughput (or --max-ru) above 10 000 RU/s, or expect about 1 700 documents/s; \
             20 000 take about 120 000 RU/s"
        );
        let modest = Summary { target_docs_per_second: 1_000.0, throughput: None, ..limited.clone() };
        assert!(
            recommendation(&modest)
                .unwrap()
                .ends_with("above 10 000 RU/s, or expect about 1 700 documents/s")
        );
        let hot = |share| Summary { hottest_lane: Some(("lane 3".into(), share)), ..limited.clone() };
        assert_eq!(
            recommendation(&hot(0.8)).unwrap(),
            "choose a partition key that spreads: lane 3 takes 80% of the documents and spends all that it has"
        );
        assert_eq!(recommendation(&hot(0.6)), recommendation(&limited));
        let unknown = Summary { request_units: 0.0, ..limited };
        assert_eq!(
            recommendation(&unknown).unwrap(),
            "raise the container's throughput, or --max-ru where it is given"
        );
    }

    #[test]
    fn an_estimate_has_two_digits() {
        let figures = [0.0, 7.4, 84.6, 816.0, 61_350.0].map(about);
        assert_eq!(figures, ["about 0", "about 7", "about 85", "about 820", "about 61 000"]);
    }
}
