//! Events as sentences and progress as a line: the words that the terminal and the plain view share.

use super::Verbosity;
use crate::model::decision::Effect;
use crate::model::event::{Event, Progress, Started};
use crate::model::sample::{GpuUse, Sample};
use crate::model::units::{Bytes, Count, Counted, Elapsed};
use crate::model::workload::Workload;
use std::time::Duration;

/// What an event says to a person who wants this much, if anything.
pub(super) fn sentence(event: &Event, verbosity: Verbosity) -> Option<String> {
    let is_verbose = verbosity == Verbosity::Verbose;
    let text = match event {
        Event::Started(started) => beginning(started),
        Event::Rejected { by, reason, first, documents } => {
            let first = if *documents == 1 { format!("at {first}") } else { format!("first at {first}") };
            format!("rejected {} ({by}: {reason}), {first}", documents_of(*documents))
        }
        Event::Retrying { error, attempts, delay } => {
            format!(
                "request failed, next attempt in {} (attempt {attempts} failed): {error}",
                Elapsed(*delay)
            )
        }
        Event::Warning { message } => format!("warning: {message}"),
        Event::Notice { message } => format!("note: {message}"),
        Event::Stopping { reason } => {
            format!("stopping ({reason}): waiting for requests already sent; a second signal stops at once")
        }
        // What was not done is for those who ask why it was not.
        Event::Decided(decision) if is_verbose || !matches!(decision.effect, Effect::Blocked(_)) => {
            decision.to_string()
        }
        Event::PartitionFinished { partition } if is_verbose => format!("partition {partition} finished"),
        Event::CheckpointSaved { generation, documents } if is_verbose => {
            format!("checkpoint {generation}: {} safe", documents_of(*documents))
        }
        Event::Sampled { sample, workload } if is_verbose => measured(sample, *workload),
        Event::Gpus(gpus) if is_verbose => graphics(gpus),
        Event::Progress(_)
        | Event::PartitionFinished { .. }
        | Event::CheckpointSaved { .. }
        | Event::Decided(_)
        | Event::Sampled { .. }
        | Event::Gpus(_)
        | Event::Finished(_) => return None,
    };
    Some(text)
}

/// The state of a run on one line.
pub(super) fn line(progress: &Progress, total_bytes: Option<u64>) -> String {
    let mut parts = vec![
        documents_of(progress.counters.accounted()),
        format!("{}/s", Count(progress.documents_per_second as u64)),
        format!("{}/s", Bytes(progress.bytes_per_second as u64)),
    ];
    if progress.counters.rejected > 0 {
        parts.push(format!("{} rejected", Count(progress.counters.rejected)));
    }
    if let Some(remaining) = remaining(progress, total_bytes) {
        parts.push(format!("{} left", Elapsed(remaining)));
    }
    let knobs = &progress.knobs;
    parts.push(format!("pools {}/{}/{}", knobs.readers, knobs.transformers, knobs.requests_in_flight));
    parts.join(", ")
}

/// Time until everything is read at the present rate, where share, size and rate are known.
fn remaining(progress: &Progress, total_bytes: Option<u64>) -> Option<Duration> {
    let unread = total_bytes? as f64 * (1.0 - progress.share?).max(0.0);
    let seconds = unread / progress.bytes_per_second;
    // A stalled run has no end in sight, and a day's forecast is none.
    (seconds.is_finite() && seconds < 86_400.0).then(|| Duration::from_secs_f64(seconds))
}

fn beginning(started: &Started) -> String {
    let Started { job, source, target, .. } = started;
    let size = match (started.total_documents, started.total_bytes) {
        (Some(documents), _) => format!(", {}", documents_of(documents)),
        (None, Some(bytes)) => format!(", {}", Bytes(bytes)),
        (None, None) => String::new(),
    };
    let partitions = match started.partitions {
        1 => String::new(),
        many => format!(" in {many} partitions"),
    };
    let verb = if started.is_resume { "resuming" } else { "starting" };
    let done = match started.resumed.accounted() {
        0 => String::new(),
        1 => "; 1 document is done".to_owned(),
        documents => format!("; {} are done", documents_of(documents)),
    };
    format!("{verb} job {job}: {source} -> {target}{size}{partitions}{done}")
}

fn measured(sample: &Sample, workload: Workload) -> String {
    let percent = |share: f64| format!("{:.0}%", share * 100.0);
    format!(
        "sample: {}/s, busy {}/{}/{}, throttled {}, failed {}, credits {}, cpu {}, memory {} ({}), workload {}, limited by {}",
        documents_of(sample.documents_per_second as u64),
        percent(sample.readers.busy),
        percent(sample.transformers.busy),
        percent(sample.requests.busy),
        percent(sample.throttled),
        percent(sample.failed),
        percent(sample.credits_used),
        percent(sample.cpu),
        sample.memory.map_or_else(|| "unknown".to_owned(), percent),
        Bytes(sample.resident_bytes),
        workload.severity,
        workload.limit,
    )
}

/// Which graphics processors there are.
pub(super) fn graphics(gpus: &[GpuUse]) -> String {
    if gpus.is_empty() {
        return "no GPU".to_owned();
    }
    let gpu = |gpu: &GpuUse| match gpu.total {
        Some(total) => format!("{} with {}", gpu.name, Bytes(total)),
        None => gpu.name.clone(),
    };
    format!("{}: {}", Counted(gpus.len() as u64, "GPU"), gpus.iter().map(gpu).collect::<Vec<_>>().join(", "))
}

fn documents_of(count: u64) -> String {
    Counted(count, "document").to_string()
}
