//! Events for programs: one JSON object a line, `event` first, then the time.
//!
//! Names are in snake case and stay; new ones may come. Times end in `_s` (seconds) or `_ms`, sizes are bytes, shares lie
//! between 0 and 1.

use super::{View, sentence, summary};
use crate::model::decision::{Block, Decision, Effect};
use crate::model::event::{Event, Progress, Quantiles, Started};
use crate::model::knobs::{Knob, Knobs};
use crate::model::sample::{GpuUse, LaneUse, PoolUse, Sample};
use crate::model::verification::Verification;
use crate::model::workload::Workload;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::time::Duration;

/// Writes events as lines.
pub(super) struct Lines<W> {
    out: W,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> View for Lines<W> {
    fn show(&mut self, event: &Event) -> io::Result<()> {
        let (name, fields) = fields(event);
        writeln!(self.out, "{}", stamped(name, fields))?;
        // Whoever follows the file wants the line now, and there are only a few a second.
        self.out.flush()
    }
}

/// An event's line: its name, the time, its fields.
pub fn stamped(name: &str, fields: Value) -> Value {
    let mut line = Map::new();
    line.insert("event".to_owned(), name.into());
    line.insert("at".to_owned(), format!("{:.3}", jiff::Timestamp::now()).into());
    if let Value::Object(fields) = fields {
        line.extend(fields);
    }
    Value::Object(line)
}

fn fields(event: &Event) -> (&'static str, Value) {
    match event {
        Event::Started(started) => ("started", beginning(started)),
        Event::Progress(progress) => ("progress", state(progress)),
        Event::PartitionFinished { partition } => ("partition_finished", json!({ "partition": partition })),
        Event::Rejected { by, reason, first, documents } => {
            ("rejected", json!({ "by": by, "reason": reason, "first": first, "documents": documents }))
        }
        Event::Retrying { error, attempts, delay } => {
            ("retrying", json!({ "error": error, "attempts": attempts, "delay_s": seconds(*delay) }))
        }
        Event::Decided(decision) => ("decision", decided(decision)),
        Event::Sampled { sample, workload } => ("sampled", measured(sample, *workload)),
        Event::Gpus(gpus) => ("gpus", found(gpus)),
        Event::CheckpointSaved { generation, documents } => {
            ("checkpoint_saved", json!({ "generation": generation, "documents": documents }))
        }
        Event::Warning { message } => ("warning", json!({ "message": message })),
        Event::Notice { message } => ("notice", json!({ "message": message })),
        Event::Stopping { reason } => ("stopping", json!({ "reason": reason })),
        Event::Finished(finished) => ("finished", summary::to_json(finished)),
    }
}

fn beginning(started: &Started) -> Value {
    json!({
        "job": started.job,
        "run": started.run,
        "source": started.source,
        "target": started.target,
        "is_resume": started.is_resume,
        "resumed": started.resumed,
        "partitions": started.partitions,
        "total_bytes": started.total_bytes,
        "total_documents": started.total_documents,
        "lanes": started.lanes,
    })
}

fn state(progress: &Progress) -> Value {
    json!({
        "elapsed_s": seconds(progress.elapsed),
        "read": progress.read,
        "bytes_read": progress.bytes_read,
        "counters": progress.counters,
        "documents_per_second": progress.documents_per_second,
        "bytes_per_second": progress.bytes_per_second,
        "share": progress.share,
        "credits_used": progress.credits_used,
        "knobs": knobs(&progress.knobs),
    })
}

fn decided(decision: &Decision) -> Value {
    let (effect, block) = match decision.effect {
        Effect::Turned => ("turned", None),
        Effect::Kept => ("kept", None),
        Effect::Blocked(block) => ("blocked", Some(block)),
    };
    let left = match block {
        Some(Block::Cooldown(left)) => Some(seconds(left)),
        _ => None,
    };
    json!({
        "knob": decision.knob.as_str(),
        "from": decision.from,
        "to": decision.to,
        "effect": effect,
        "block": block.map(Block::as_str),
        "cooldown_s": left,
        "reason": decision.reason.as_str(),
        "because": decision.because,
        "confidence": decision.confidence,
        "evidence": decision.evidence.map(|evidence| json!({
            "before": evidence.before,
            "after": evidence.after,
            "standard_error": evidence.standard_error,
            "z": evidence.z,
            "windows": evidence.windows,
        })),
    })
}

fn found(gpus: &[GpuUse]) -> Value {
    let gpu = |gpu: &GpuUse| json!({ "name": gpu.name, "bytes": gpu.total });
    json!({ "message": sentence::graphics(gpus), "gpus": gpus.iter().map(gpu).collect::<Value>() })
}

/// What `docs/signals.md` describes. What was not measured is null; no latency is told of a window without an answer.
fn measured(sample: &Sample, workload: Workload) -> Value {
    let pool = |pool: &PoolUse| {
        json!({
            "busy": pool.busy,
            "blocked": pool.blocked,
            "documents_per_second": pool.documents_per_second,
            "bytes_per_second": pool.bytes_per_second,
            "pieces": pool.work.pieces as u64,
        })
    };
    json!({
        "at_s": seconds(sample.at),
        "window_s": seconds(sample.window),
        "documents_per_second": sample.documents_per_second,
        "bytes_per_second": sample.bytes_per_second,
        "readers": pool(&sample.readers),
        "transformers": pool(&sample.transformers),
        "requests": pool(&sample.requests),
        "latency": (sample.latency.count > 0).then(|| latency(&sample.latency)),
        "answers": sample.answers,
        "throttled": sample.throttled,
        "failed": sample.failed,
        "queued_documents": sample.queued_documents,
        "transforming_documents": sample.transforming_documents,
        "most_transforming_documents": sample.most_transforming_documents,
        "request_units_per_second": sample.request_units_per_second,
        "lanes": sample.lanes.iter().map(lane).collect::<Value>(),
        "lanes_gated": sample.lanes_gated,
        "connections": sample.connections.map(|of| json!({ "open": of.open, "in_use": of.in_use })),
        "credits_used": sample.credits_used,
        "credit_bytes_used": sample.credit_bytes_used,
        "credits_short": sample.credits_short,
        "cpu": sample.cpu,
        "cpu_others": sample.cpu_others,
        "memory": sample.memory,
        "resident_bytes": sample.resident_bytes,
        "memory_limit": sample.memory_limit,
        "pressure": sample.pressure.map(|of| json!({ "cpu": of.cpu, "memory": of.memory, "io": of.io })),
        "network": sample.network.map(|of| json!({ "received": of.received, "sent": of.sent })),
        "gpus": sample.gpus.iter().map(gpu).collect::<Value>(),
        "gpu_out_of_memory": sample.gpu_out_of_memory,
        "unfinished_partitions": sample.unfinished_partitions,
        "severity": workload.severity.as_str(),
        "limited_by": workload.limit.as_str(),
    })
}

/// Quantiles in milliseconds.
pub(super) fn latency(of: &Quantiles) -> Value {
    // Divided, not multiplied: 33.535 and not 33.535000000000004.
    let [p50, p95, p99, max] = [of.p50, of.p95, of.p99, of.max].map(|of| of.as_micros() as f64 / 1e3);
    json!({ "count": of.count, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "max_ms": max })
}

fn lane(of: &LaneUse) -> Value {
    json!({ "request_units_per_second": of.request_units_per_second, "budget": of.budget })
}

fn gpu(of: &GpuUse) -> Value {
    json!({ "name": of.name, "used": of.used, "total": of.total, "busy": of.busy })
}

/// What a comparison of source and target found.
pub fn verification(found: &Verification) -> Value {
    json!({
        "version": 1,
        "equal": found.equal,
        "source_documents": found.source_documents,
        "target_documents": found.target_documents,
        // As text: 128 bits do not fit a JSON number.
        "source_sum": format!("{:032x}", found.source_sum),
        "target_sum": format!("{:032x}", found.target_sum),
        "target_inconsistent": found.target_inconsistent,
        "target_inconsistencies": found.target_inconsistencies,
        "ambiguous": found.ambiguous,
        "dropped": found.dropped,
        "rejected": found.rejected,
    })
}

/// Every knob under its own word.
pub(super) fn knobs(knobs: &Knobs) -> Value {
    Knob::ALL.iter().map(|knob| (knob.as_str().to_owned(), Value::from(knobs.get(*knob)))).collect()
}

/// Seconds to the microsecond.
pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn every_event_has_a_stable_form() {
        let lines: Vec<String> = samples::events()
            .iter()
            .filter(|event| !matches!(event, Event::Finished(_)))
            .map(|event| {
                let (name, fields) = fields(event);
                format!("{name} {fields}")
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        started {"job":"orders","run":"k3x9","source":"file:orders.jsonl","target":"sqlite:orders.db","is_resume":true,"resumed":{"read":0,"bytes_read":0,"dropped":0,"rejected":0,"written":500000,"bytes_written":0,"superseded":0,"duplicate_keys":0},"partitions":4,"total_bytes":1048576000,"total_documents":null,"lanes":1}
        progress {"elapsed_s":1.0,"read":100200,"bytes_read":52000000,"counters":{"read":100152,"bytes_read":52079040,"dropped":100,"rejected":2,"written":100000,"bytes_written":50000000,"superseded":50,"duplicate_keys":1},"documents_per_second":98765.4,"bytes_per_second":53687091.2,"share":0.41,"credits_used":3145728,"knobs":{"readers":2,"transformers":4,"requests_in_flight":8,"batch_documents":5000,"request_documents":100,"credit_bytes":33554432}}
        progress {"elapsed_s":6.0,"read":600200,"bytes_read":312000000,"counters":{"read":600152,"bytes_read":312079040,"dropped":100,"rejected":2,"written":600000,"bytes_written":300000000,"superseded":50,"duplicate_keys":1},"documents_per_second":98765.4,"bytes_per_second":53687091.2,"share":0.41,"credits_used":3145728,"knobs":{"readers":2,"transformers":4,"requests_in_flight":8,"batch_documents":5000,"request_documents":100,"credit_bytes":33554432}}
        progress {"elapsed_s":7.0,"read":700200,"bytes_read":364000000,"counters":{"read":700152,"bytes_read":364079040,"dropped":100,"rejected":2,"written":700000,"bytes_written":350000000,"superseded":50,"duplicate_keys":1},"documents_per_second":98765.4,"bytes_per_second":53687091.2,"share":0.41,"credits_used":3145728,"knobs":{"readers":2,"transformers":4,"requests_in_flight":8,"batch_documents":5000,"request_documents":100,"credit_bytes":33554432}}
        rejected {"by":"transform","reason":"total is not a number","first":"orders.jsonl, line 12","documents":2}
        retrying {"error":"sending a request: timed out","attempts":1,"delay_s":0.05}
        decision {"knob":"readers","from":2,"to":4,"effect":"turned","block":null,"cooldown_s":null,"reason":"probe","because":"the source is the bottleneck (0.98 busy)","confidence":null,"evidence":null}
        decision {"knob":"readers","from":2,"to":4,"effect":"kept","block":null,"cooldown_s":null,"reason":"accepted","because":"the source is the bottleneck (0.98 busy)","confidence":0.97,"evidence":{"before":98000.0,"after":147000.0,"standard_error":0.03,"z":11.2,"windows":4}}
        decision {"knob":"readers","from":2,"to":4,"effect":"blocked","block":"cooldown","cooldown_s":12.0,"reason":"probe","because":"the source is the bottleneck (0.98 busy)","confidence":null,"evidence":null}
        sampled {"at_s":7.0,"window_s":1.0,"documents_per_second":98000.0,"bytes_per_second":0.0,"readers":{"busy":0.98,"blocked":0.0,"documents_per_second":98000.0,"bytes_per_second":0.0,"pieces":0},"transformers":{"busy":0.0,"blocked":0.0,"documents_per_second":0.0,"bytes_per_second":0.0,"pieces":0},"requests":{"busy":0.0,"blocked":0.0,"documents_per_second":0.0,"bytes_per_second":0.0,"pieces":0},"latency":{"count":15000,"p50_ms":1.2,"p95_ms":4.8,"p99_ms":12.3,"max_ms":250.0},"answers":0,"throttled":0.0,"failed":0.0,"queued_documents":0,"transforming_documents":0,"most_transforming_documents":0,"request_units_per_second":0.0,"lanes":[{"request_units_per_second":390.5,"budget":400.0}],"lanes_gated":0.0,"connections":null,"credits_used":0.0,"credit_bytes_used":0,"credits_short":0.0,"cpu":0.61,"cpu_others":null,"memory":0.02,"resident_bytes":62914560,"memory_limit":0,"pressure":{"cpu":0.25,"memory":0.0,"io":0.01},"network":{"received":1000.0,"sent":2000.0},"gpus":[{"name":"NVIDIA A100","used":21474836480,"total":42949672960,"busy":0.9}],"gpu_out_of_memory":0,"unfinished_partitions":3,"severity":"high","limited_by":"source"}
        gpus {"message":"2 GPUs: NVIDIA A100 with 40.0 GiB, Intel GPU","gpus":[{"name":"NVIDIA A100","bytes":42949672960},{"name":"Intel GPU","bytes":null}]}
        gpus {"message":"no GPU","gpus":[]}
        partition_finished {"partition":"orders.jsonl:0"}
        checkpoint_saved {"generation":7,"documents":700000}
        warning {"message":"checkpoint.json is damaged"}
        notice {"message":"this is a trial"}
        stopping {"reason":"SIGINT"}
        "#);
    }

    #[test]
    fn a_line_begins_with_event_and_time() {
        let line = stamped("warning", json!({ "message": "x" })).to_string();
        assert!(
            line.starts_with(r#"{"event":"warning","at":"20"#) && line.ends_with(r#"Z","message":"x"}"#),
            "{line}"
        );
    }
}
