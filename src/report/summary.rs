//! What a run did, as a table for a person and as `summary.json` for programs.

use super::json::{self, knobs, seconds};
use super::{Verbosity, performance};
use crate::model::checkpoint::Counters;
use crate::model::event::{Ending, Summary};
use crate::model::units::{Bytes, Count, Counted, Elapsed};
use crate::model::verification::Verification;
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// The format of `summary.json` that this build writes.
pub const SUMMARY_VERSION: u32 = 1;

/// The table that ends a run: a heading, aligned lines, and how to go on.
pub fn table(summary: &Summary, verbosity: Verbosity) -> String {
    let mut text = heading(summary);
    for (label, value) in rows(summary, verbosity) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {label:<14}{value}");
    }
    let _ = match &summary.ending {
        Ending::Complete if summary.limit.is_some() && summary.is_resumable => {
            writeln!(text, "to go on: run the same command with --resume, and with a higher --limit or none")
        }
        Ending::Complete => Ok(()),
        Ending::Interrupted { .. } if summary.is_resumable => {
            writeln!(text, "to go on: run the same command with --resume")
        }
        Ending::Interrupted { .. } => {
            writeln!(text, "it cannot be gone on with; the same command begins anew")
        }
        Ending::Failed { error, remedy, .. } => writeln!(text, "error: {error}\n  try: {remedy}"),
    };
    text
}

fn heading(summary: &Summary) -> String {
    let Summary { job, .. } = summary;
    let nothing = match summary.counters {
        counters if counters.read == 0 => ": the source holds no documents",
        counters if counters.dropped == counters.read => ": every document was dropped by a step",
        _ => "",
    };
    match (&summary.ending, summary.limit) {
        (Ending::Complete, Some(limit)) => {
            format!("stopped at the limit of {}: job {job}\n", Counted(limit, "document"))
        }
        (Ending::Complete, None) => format!("complete: job {job}{nothing}\n"),
        (Ending::Interrupted { signal }, _) => format!("interrupted by {signal}: job {job}\n"),
        (Ending::Failed { .. }, _) => format!("failed: job {job}\n"),
    }
}

fn rows(summary: &Summary, verbosity: Verbosity) -> Vec<(&'static str, String)> {
    let Summary { counters, resumed, .. } = summary;
    let documents = |count: u64| Count(count).to_string();
    let mut rows = vec![
        ("read", format!("{}, {}", Counted(counters.read, "document"), Bytes(counters.bytes_read))),
        ("transformed", documents(counters.written + counters.superseded)),
        ("dropped", documents(counters.dropped)),
        ("rejected", rejected(summary)),
        (
            "written",
            format!("{}, {}, to {}", Count(counters.written), Bytes(counters.bytes_written), summary.target),
        ),
        ("superseded", documents(counters.superseded)),
    ];
    if counters.duplicate_keys > 0 {
        rows.push((
            "same key",
            match counters.duplicate_keys {
                1 => "1 document holds a key twice; the last one counts".to_owned(),
                many => format!("{} documents hold a key twice; the last one counts", Count(many)),
            },
        ));
    }
    if resumed.accounted() > 0 {
        let done = Counted(resumed.accounted(), "document");
        rows.push(("resumed", format!("{done} done by earlier runs")));
    }
    let (documents_per_second, bytes_per_second) = throughput(summary);
    rows.push((
        "throughput",
        format!(
            "{} documents/s (goal {}), {}/s",
            Count(documents_per_second as u64),
            Count(summary.target_docs_per_second as u64),
            Bytes(bytes_per_second as u64)
        ),
    ));
    rows.extend(requests(summary));
    rows.push((
        "memory",
        format!(
            "{} at most, {} reserved for documents at most",
            Bytes(summary.peak_memory),
            Bytes(summary.peak_credits)
        ),
    ));
    let per_cpu_second = Count(per_second(moved(summary), summary.cpu) as u64);
    rows.push(("cpu", format!("{}, {per_cpu_second} documents per CPU-second", Elapsed(summary.cpu))));
    rows.push(("time", Elapsed(summary.elapsed).to_string()));
    rows.extend(performance::rows(summary, verbosity));
    rows.extend(summary.verification.as_ref().map(|found| ("verified", verified(found))));
    rows.extend(summary.look.clone().map(|look| ("look at it", look)));
    rows
}

fn verified(found: &Verification) -> String {
    match found.equal {
        true => format!("source and target are equal, {}", Counted(found.target_documents, "document")),
        false => "source and target differ".to_owned(),
    }
}

fn rejected(summary: &Summary) -> String {
    let rejected = Count(summary.counters.rejected);
    match &summary.rejects_file {
        Some(file) => format!("{rejected}, kept in {file}"),
        None => rejected.to_string(),
    }
}

fn requests(summary: &Summary) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    let counts = format!(
        "{}, {} throttled; {} sent again",
        Count(summary.requests),
        Count(summary.throttled),
        Counted(summary.retried_documents, "document")
    );
    rows.push(("requests", counts));
    if summary.request_units > 0.0 {
        rows.push(("request units", request_units(summary)));
    }
    let latency = &summary.request_latency;
    if latency.count > 0 {
        let [p50, p95, p99, max] =
            [latency.p50, latency.p95, latency.p99, latency.max].map(milliseconds_text);
        rows.push(("latency", format!("p50 {p50}, p95 {p95}, p99 {p99}, max {max}")));
    }
    if let Some((lane, share)) = &summary.hottest_lane {
        rows.push(("hottest lane", format!("{lane}, {:.1}% of the documents", share * 100.0)));
    }
    rows
}

/// A shorter run spends parts of more seconds than it takes, and its share of a budget says nothing.
const STEADY: Duration = Duration::from_secs(5);

/// What was spent, of how much, and how much of the work was in vain.
fn request_units(summary: &Summary) -> String {
    let spent = summary.request_units;
    let rate = spent / summary.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    let mut text = format!("{}, {}/s", Count(spent.round() as u64), Count(rate.round() as u64));
    if let Some(throughput) =
        summary.throughput.filter(|throughput| *throughput > 0.0 && summary.elapsed >= STEADY)
    {
        let allowed = Count(throughput.round() as u64);
        let _ = write!(text, " of {allowed}/s at the start ({:.0}%)", 100.0 * rate / throughput);
    }
    let throttled = summary.throttled_documents;
    // The counters are those of the whole job, the rest is of this run.
    let ended = |counters: &Counters| counters.written + counters.rejected;
    let sent = (ended(&summary.counters).saturating_sub(ended(&summary.resumed)) + throttled).max(1);
    let share = 100.0 * throttled as f64 / sent as f64;
    let _ = write!(text, ", {} throttled ({share:.2}%)", Counted(throttled, "document"));
    text
}

/// The outcome for programs; versioned by `version`.
pub fn to_json(summary: &Summary) -> Value {
    let (documents_per_second, bytes_per_second) = throughput(summary);
    let (ending, signal, error) = match &summary.ending {
        Ending::Complete => ("complete", None, None),
        Ending::Interrupted { signal } => ("interrupted", Some(signal), None),
        Ending::Failed { error, .. } => ("failed", None, Some(error)),
    };
    json!({
        "version": SUMMARY_VERSION,
        "job": summary.job,
        "run": summary.run,
        "ending": ending,
        "signal": signal,
        "error": error,
        "target": summary.target,
        "counters": summary.counters,
        "resumed": summary.resumed,
        "read": summary.read,
        "bytes_read": summary.bytes_read,
        "elapsed_s": seconds(summary.elapsed),
        "documents_per_second": documents_per_second,
        "target_documents_per_second": summary.target_docs_per_second,
        "bytes_per_second": bytes_per_second,
        "cpu_s": seconds(summary.cpu),
        "documents_per_cpu_second": per_second(moved(summary), summary.cpu),
        "peak_memory": summary.peak_memory,
        "peak_credits": summary.peak_credits,
        "requests": summary.requests,
        "throttled": summary.throttled,
        "retried": summary.retried,
        "retried_documents": summary.retried_documents,
        "throttled_documents": summary.throttled_documents,
        "request_units": summary.request_units,
        "throughput": summary.throughput,
        "request_latency": json::latency(&summary.request_latency),
        "limit": summary.limit,
        "hottest_lane": summary.hottest_lane.as_ref().map(|(lane, share)| json!({ "lane": lane, "share": share })),
        "rejects_file": summary.rejects_file,
        "verification": summary.verification.as_ref().map(json::verification),
        "knobs": knobs(&summary.knobs),
        "decisions": summary.performance.decided.turned,
        "performance": performance::to_json(summary),
    })
}

/// Documents that this run brought to their end.
pub(super) fn moved(summary: &Summary) -> u64 {
    summary.counters.accounted().saturating_sub(summary.resumed.accounted())
}

/// Documents and bytes per second. What was read ahead when a run was stopped has not been moved: bytes go by the documents.
fn throughput(summary: &Summary) -> (f64, f64) {
    let documents = per_second(moved(summary), summary.elapsed);
    let mean = summary.bytes_read as f64 / summary.read.max(1) as f64;
    (documents, documents * mean)
}

fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// Requests to a local file take microseconds, so milliseconds keep two digits.
fn milliseconds_text(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_complete_run_as_a_table() {
        insta::assert_snapshot!(table(&samples::summary(), Verbosity::Normal), @"
        complete: job orders
          read          2 000 000 documents, 991.8 MiB
          transformed   1 999 898
          dropped       100
          rejected      2, kept in .docferry/jobs/orders/rejects.jsonl
          written       1 999 848, 953.6 MiB, to sqlite:orders.db
          superseded    50
          same key      1 document holds a key twice; the last one counts
          resumed       500 000 documents done by earlier runs
          throughput    75 000 documents/s (goal 20 000), 37.2 MiB/s
          requests      15 000, 3 throttled; 103 documents sent again
          request units 1 234, 62/s of 500/s at the start (12%), 120 documents throttled (0.01%)
          latency       p50 1.20 ms, p95 4.80 ms, p99 12.30 ms, max 250.00 ms
          hottest lane  lane 3, 31.7% of the documents
          memory        61.0 MiB at most, 31.0 MiB reserved for documents at most
          cpu           30.0 s, 50 000 documents per CPU-second
          time          20.0 s
          tuner         1 decision (1 tried, 1 accepted), 1 held back, pools 2/4/8 at the end
          tuner time    awaiting request units 75%, searching 20%, holding 5% of the time
          workload      high 100% of the time
          on average    cpu 38% (ceiling 70%); memory 2% (2% at most, ceiling 75%); credits 60%
          limited by    request units 75%, source 25% of the time
          to be faster  raise the container's throughput (or --max-ru) above 500 RU/s, or expect about 610 000 documents/s
          verified      source and target are equal, 1 999 848 documents
        ");
    }

    #[test]
    fn what_was_read_ahead_was_not_moved() {
        let whole = throughput(&samples::summary());
        // Of 1 500 000 documents that were read, a third met their end.
        let mut failed = samples::summary();
        failed.counters.written -= 1_000_000;
        let (documents, bytes) = throughput(&failed);
        assert_eq!((documents, bytes), (whole.0 / 3.0, whole.1 / 3.0));
        assert_eq!(throughput(&Summary { read: 0, bytes_read: 0, ..failed }).1, 0.0);
    }

    #[test]
    fn an_interrupted_run_says_how_to_go_on() {
        let ending = Ending::Interrupted { signal: "SIGINT" };
        let summary = Summary { ending, hottest_lane: None, rejects_file: None, ..samples::summary() };
        let text = table(&summary, Verbosity::Normal);
        assert!(text.starts_with("interrupted by SIGINT: job orders\n"));
        assert!(text.ends_with("to go on: run the same command with --resume\n"));
    }

    #[test]
    fn a_run_that_a_limit_ended_is_not_called_complete() {
        let limited = Summary { limit: Some(20), ..samples::summary() };
        let text = table(&limited, Verbosity::Normal);
        assert!(text.starts_with("stopped at the limit of 20 documents: job orders\n"), "{text}");
        assert!(text.ends_with("with --resume, and with a higher --limit or none\n"), "{text}");
        assert!(!table(&Summary { is_resumable: false, ..limited }, Verbosity::Normal).contains("to go on"));
    }

    #[test]
    fn an_empty_run_is_said_and_divides_by_nothing() {
        let empty = Summary {
            counters: Default::default(),
            resumed: Default::default(),
            elapsed: Duration::ZERO,
            cpu: Duration::ZERO,
            ..samples::summary()
        };
        assert!(
            table(&empty, Verbosity::Normal)
                .starts_with("complete: job orders: the source holds no documents\n")
        );
        assert_eq!(to_json(&empty)["documents_per_second"], 0.0);
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a snapshot is as long as what it shows")]
    fn the_json_form_is_stable() {
        insta::assert_snapshot!(format!("{:#}", to_json(&samples::summary())), @r#"
        {
          "version": 1,
          "job": "orders",
          "run": "k3x9",
          "ending": "complete",
          "signal": null,
          "error": null,
          "target": "sqlite:orders.db",
          "counters": {
            "read": 2000000,
            "bytes_read": 1040000000,
            "dropped": 100,
            "rejected": 2,
            "written": 1999848,
            "bytes_written": 999924000,
            "superseded": 50,
            "duplicate_keys": 1
          },
          "resumed": {
            "read": 500000,
            "bytes_read": 0,
            "dropped": 0,
            "rejected": 0,
            "written": 500000,
            "bytes_written": 0,
            "superseded": 0,
            "duplicate_keys": 0
          },
          "read": 1500000,
          "bytes_read": 780000000,
          "elapsed_s": 20.0,
          "documents_per_second": 75000.0,
          "target_documents_per_second": 20000.0,
          "bytes_per_second": 39000000.0,
          "cpu_s": 30.0,
          "documents_per_cpu_second": 50000.0,
          "peak_memory": 63963136,
          "peak_credits": 32505856,
          "requests": 15000,
          "throttled": 3,
          "retried": 1,
          "retried_documents": 103,
          "throttled_documents": 120,
          "request_units": 1234.4,
          "throughput": 500.0,
          "request_latency": {
            "count": 15000,
            "p50_ms": 1.2,
            "p95_ms": 4.8,
            "p99_ms": 12.3,
            "max_ms": 250.0
          },
          "limit": null,
          "hottest_lane": {
            "lane": "lane 3",
            "share": 0.317
          },
          "rejects_file": ".docferry/jobs/orders/rejects.jsonl",
          "verification": {
            "version": 1,
            "equal": true,
            "source_documents": 1999848,
            "target_documents": 1999848,
            "source_sum": "00000000000000000000000000000005",
            "target_sum": "00000000000000000000000000000005",
            "target_inconsistent": [],
            "target_inconsistencies": 0,
            "ambiguous": 0,
            "dropped": 100,
            "rejected": 2
          },
          "knobs": {
            "readers": 2,
            "transformers": 4,
            "requests_in_flight": 8,
            "batch_documents": 5000,
            "request_documents": 100,
            "credit_bytes": 33554432
          },
          "decisions": 1,
          "performance": {
            "measured_s": 20.0,
            "auto_scaling": true,
            "averages": {
              "documents_per_second": 72500.0,
              "bytes_per_second": 0.0,
              "request_units_per_second": 360.0,
              "request_units_budget": 500.0,
              "request_units_share": 0.96,
              "cpu": 0.37749999999999984,
              "cpu_others": null,
              "memory": 0.020000000000000004,
              "gpu_memory": null,
              "latency_p50_ms": 1.2,
              "latency_p95_ms": 4.8,
              "latency_p99_ms": 12.3,
              "throttled": 0.003,
              "failed": 0.0,
              "credits_used": 0.6000000000000001
            },
            "peak_memory": 0.02,
            "peak_gpu_memory": null,
            "ceilings": {
              "cpu": 0.7,
              "memory": 0.75,
              "gpu_memory": 0.9,
              "failed": 0.02
            },
            "decisions": {
              "turned": 1,
              "tried": 1,
              "accepted": 1,
              "unproved": 0,
              "reverted": 0,
              "blocked": {
                "cooldown": 1
              }
            },
            "tuner_s": {
              "searching": 4.0,
              "holding": 1.0,
              "awaiting_request_units": 15.0
            },
            "severity_s": {
              "high": 20.0
            },
            "limited_by_s": {
              "request_units": 15.0,
              "source": 5.0
            },
            "limited_by": {
              "limit": "request_units",
              "share": 0.75
            },
            "recommendation": "raise the container's throughput (or --max-ru) above 500 RU/s, or expect about 610 000 documents/s"
          }
        }
        "#);
    }
}
