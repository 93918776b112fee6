//! Assembly: the only room that knows every other. It takes a [`Job`] apart, hands each room its share, and awaits them.

mod begin;
mod changes;
#[cfg_attr(not(feature = "cosmos"), path = "no_local.rs")]
mod local;
mod signals;
mod standing;
mod verify;
mod watch;

pub use verify::verify;
pub use watch::Decide;

use crate::checkpoint::store::CheckpointStore;
use crate::config::STATE_FOLDER;
use crate::config::job::Job;
use crate::error::{Error, ErrorKind, Result};
use crate::model::checkpoint::{Checkpoint, Counters};
use crate::model::event::{Ending, Event, Started, Summary};
use crate::model::knobs::Knobs;
use crate::model::meter::Meter;
use crate::model::performance::Performance;
use crate::model::scaling::Scaling;
use crate::model::shell::word;
use crate::model::units::{Count, Counted};
use crate::observe::host::Host;
use crate::pipeline::{Ended, Options, Parts, Pipeline, Stop, StopReason};
use crate::rejects::{REJECTS_FILE, RejectLog};
use begin::Beginning;
use local::Local;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch as knob_watch;

/// Runs a job to its end, or until a signal stops it. A run that began always yields a summary, however it ended; an error means that
/// it did not begin.
pub async fn migrate(job: Job, events: UnboundedSender<Event>) -> Result<Summary> {
    Box::pin(migrate_under(job, events, watch::tuner)).await
}

/// The same with somebody else in the tuner's place: a rival that is measured, or a defect that is tried. `decider` is asked for it once, if the job is scaled
/// at all, and told the scaling in force; the guard that is around the tuner is around it too.
pub async fn migrate_under(
    job: Job,
    events: UnboundedSender<Event>,
    decider: impl FnOnce(Scaling) -> Decide,
) -> Result<Summary> {
    let local = Local::offer(&job, Some(events.clone()));
    let outcome = Box::pin(migrate_and_verify(&job, &events, decider)).await;
    local.stop().await;
    let summary = outcome?;
    let _ = events.send(Event::Finished(Box::new(summary.clone())));
    Ok(summary)
}

async fn migrate_and_verify(
    job: &Job,
    events: &UnboundedSender<Event>,
    decider: impl FnOnce(Scaling) -> Decide,
) -> Result<Summary> {
    verify::refuse_unverifiable(job)?;
    let began = Instant::now();
    // From the first moment: a target that takes seconds to open must not make a polite signal a deadly one.
    let stop = Arc::new(Stop::default());
    if let Some(message) = job.remembered.warning.clone() {
        let _ = events.send(Event::Warning { message });
    }
    signals::listen(Arc::clone(&stop)).await?;
    let beginning = begin::begin(job, events).await?;
    Box::pin(carry_out(job, beginning, (began, stop), events, decider)).await
}

async fn carry_out(
    job: &Job,
    beginning: Beginning,
    (began, stop): (Instant, Arc<Stop>),
    events: &UnboundedSender<Event>,
    decider: impl FnOnce(Scaling) -> Decide,
) -> Result<Summary> {
    let Beginning { _lock, first, partitions, is_resume, store, run } = beginning;
    let meter = Arc::new(Meter::default());
    let (knobs, follow) = knob_watch::channel(job.knobs);
    let resumed = first.counters;
    let total_bytes = partitions.iter().map(|partition| partition.bytes).sum();
    let _ = events.send(Event::Started(Started {
        is_resume,
        total_bytes,
        total_documents: partitions.iter().map(|partition| partition.documents).sum(),
        ..started(job, &run, partitions.len(), resumed)
    }));
    if first.finished {
        let mut summary = finished_before(job, run, &first, began);
        verify::at_the_end(job, &stop, events, &mut summary).await;
        return Ok(summary);
    }
    if let Some(message) = job.remembered.sentence() {
        let _ = events.send(Event::Notice { message });
    }
    let rejects = RejectLog::open(&job.state, first.rejects_length)?;
    let parts = Parts {
        source: Arc::clone(&job.source),
        sink: Arc::clone(&job.sink),
        chain: Arc::clone(&job.chain),
        partitions,
        knobs: follow,
        meter: Arc::clone(&meter),
        stop: Arc::clone(&stop),
        options: Options {
            limit: job.limit,
            max_rate: job.max_rate,
            max_document: usize::try_from(job.max_document).unwrap_or(usize::MAX),
            checkpoint_interval: job.checkpoint_interval,
        },
        already_read: first.counters.read,
    };
    let pipeline = Pipeline::new(parts, first, store, rejects, events.clone());
    let (counters, events_of_watch) = (pipeline.counters(), events.clone());
    let watching =
        watch::Watch::new(job, Arc::clone(&meter), counters, knobs, events_of_watch, total_bytes, decider);
    let (ended, watched) = watching.during(pipeline.run()).await;
    let mut summary = summary(job, run, &meter, &ended);
    (summary.resumed, summary.elapsed) = (resumed, began.elapsed());
    (summary.knobs, summary.performance) = (watched.knobs, watched.performance);
    summary.ending = ending(job, ended, &summary);
    remember(job, &summary, watched.learned, events);
    verify::at_the_end(job, &stop, events, &mut summary).await;
    Ok(summary)
}

/// Keeps the knobs that a run came to. A failure may be what they led to; a signal is none, and the run that goes on begins with them.
fn remember(job: &Job, summary: &Summary, learned: Option<Knobs>, events: &UnboundedSender<Event>) {
    let Some(knobs) = learned.filter(|_| !matches!(summary.ending, Ending::Failed { .. })) else { return };
    if let Err(error) = job.memory.keep(&summary.run, &knobs, &job.scaling.bounds) {
        let message = format!("{error}; the next run begins low");
        let _ = events.send(Event::Warning { message });
    }
}

/// The summary of a run that found its job finished.
fn finished_before(job: &Job, run: String, last: &Checkpoint, began: Instant) -> Summary {
    let ended =
        Ended { stopped: None, damage: None, at_limit: false, counters: last.counters, hottest_lane: None };
    let mut summary = summary(job, run, &Meter::default(), &ended);
    (summary.resumed, summary.elapsed) = (last.counters, began.elapsed());
    summary.ending = ending(job, ended, &summary);
    summary
}

fn started(job: &Job, run: &str, partitions: usize, resumed: Counters) -> Started {
    Started {
        job: job.name.clone(),
        run: run.to_owned(),
        source: job.source_name.clone(),
        target: job.target_name.clone(),
        resumed,
        is_resume: false,
        partitions,
        total_bytes: None,
        total_documents: None,
        lanes: job.sink.lanes().len(),
    }
}

/// What the meters say of a run that has ended; the caller adds what only it knows.
fn summary(job: &Job, run: String, meter: &Meter, ended: &Ended) -> Summary {
    let mut host = Host::new();
    let rejects = job.state.join(REJECTS_FILE).display().to_string();
    Summary {
        job: job.name.clone(),
        run,
        target: job.target_name.clone(),
        look: look(job),
        resumed: Counters::default(),
        read: meter.read.get(),
        bytes_read: meter.bytes_read.get(),
        target_docs_per_second: job.scaling.target_docs_per_second,
        elapsed: Duration::ZERO,
        cpu: host.measure().cpu_time.unwrap_or_default(),
        peak_memory: host.peak_memory().unwrap_or_default(),
        peak_credits: meter.peak_credits.get(),
        request_latency: meter.latency.quantiles(),
        requests: meter.answered.get(),
        throttled: meter.throttled.get(),
        retried: meter.retried.get(),
        retried_documents: meter.retried_documents.get(),
        throttled_documents: meter.throttled_documents.get(),
        throughput: job.sink.throughput(),
        request_units: meter.milli_request_units.get() as f64 / 1000.0,
        knobs: job.knobs,
        performance: Performance::new(watch::yardstick(job)),
        limit: job.limit.filter(|_| ended.at_limit),
        is_resumable: begin::can_resume(job),
        counters: ended.counters,
        hottest_lane: ended.hottest_lane.map(|(lane, share)| (format!("lane {lane}"), share)),
        verification: None,
        rejects_file: (ended.counters.rejected > 0).then_some(rejects),
        ending: Ending::Complete,
    }
}

/// How a run that moved documents ended.
fn ending(job: &Job, ended: Ended, summary: &Summary) -> Ending {
    let after = |error: &Error| failed(error.to_string(), error.kind(), remedy(job, error));
    match ended.stopped {
        Some(StopReason::Signal(signal)) => return Ending::Interrupted { signal },
        Some(StopReason::Failure(error)) => return after(&error),
        None => {}
    }
    if let Some(damage) = ended.damage {
        return after(&damage);
    }
    let counters = &summary.counters;
    if counters.accounted() < counters.read {
        let message = format!(
            "{} read, {} accounted for",
            Counted(counters.read, "document"),
            Count(counters.accounted())
        );
        return failed(message, ErrorKind::Internal, ErrorKind::Internal.remedy());
    }
    if !job.max_rejects.allows(counters.rejected, counters.read) {
        let message = format!(
            "{} of {} rejected, --max-rejects allows {}",
            Count(counters.rejected),
            Counted(counters.read, "document"),
            job.max_rejects
        );
        let remedy = format!("`{}` prints them; --max-rejects allows some", rejects_command(job));
        return failed(message, ErrorKind::Rejects, remedy);
    }
    Ending::Complete
}

fn failed(error: String, kind: ErrorKind, remedy: impl Into<String>) -> Ending {
    Ending::Failed { error, kind, remedy: remedy.into() }
}

/// What to do after a failure that stopped a run.
fn remedy(job: &Job, error: &Error) -> String {
    match error.kind() {
        // What is mended has changed, and a resume would refuse it.
        ErrorKind::InvalidInput => {
            let remedy = error.remedy();
            // A restart writes files anew; rows stay, and one with an altered id would never be replaced.
            let rows = if job.sink.capabilities().keyed && remedy != error.kind().remedy() {
                ", remove the rows that were written"
            } else {
                ""
            };
            format!("all before the damage was moved; {remedy}{rows} and begin anew with --restart")
        }
        // The remedies of what passes speak of --resume.
        kind if !begin::can_resume(job) && kind.exit_code() == ErrorKind::Io.exit_code() => {
            "see the cause and run the same command again; it begins anew, for what comes or goes through a pipe cannot be gone on with".to_owned()
        }
        _ => error.remedy().to_owned(),
    }
}

/// The command that prints a job's rejects.
fn rejects_command(job: &Job) -> String {
    in_state_folder(job, format!("docferry rejects list {}", job.name))
}

/// The command with which a person can look at the target.
fn look(job: &Job) -> Option<String> {
    let look = job.sink.look()?;
    Some(if look.starts_with("docferry ") { in_state_folder(job, look) } else { look })
}

/// A command of docferry's own, for the job's state folder.
fn in_state_folder(job: &Job, command: String) -> String {
    match job.state.ancestors().nth(2) {
        Some(state) if state != Path::new(STATE_FOLDER) => {
            format!("{command} --state {}", word(&state.display().to_string()))
        }
        _ => command,
    }
}

/// The process's exit code for an outcome.
pub fn exit_code(outcome: &Result<Summary>) -> u8 {
    match outcome {
        Err(error) => error.kind().exit_code(),
        Ok(summary) => match &summary.ending {
            Ending::Complete => 0,
            Ending::Interrupted { signal: "SIGINT" } => 130,
            Ending::Interrupted { .. } => 143,
            Ending::Failed { kind, .. } => kind.exit_code(),
        },
    }
}

/// Bytes of memory that this process may use; zero where the system does not tell.
pub fn memory_limit() -> u64 {
    Host::new().memory_limit().unwrap_or(0)
}

/// A run's name: the time it began, and a random part that tells two runs of one moment apart.
fn run_name() -> String {
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    format!("{time}-{:08x}", fastrand::u32(..))
}

/// The store in a job's folder.
fn store_of(job: &Job) -> CheckpointStore {
    CheckpointStore::new(&job.state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::asked::{Asked, Given};
    use crate::config::environment::Environment;
    use crate::config::resolve;

    #[test]
    fn what_a_run_came_to_is_kept_unless_it_failed() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let asked = Asked {
            from: Some(Given::flag("--from", "null:?documents=3")),
            to: Some(Given::flag("--to", "null:")),
            state: Some(Given::flag("--state", state.display().to_string())),
            ..Asked::default()
        };
        let job = || resolve(&asked, &Environment::of(&[], 4)).unwrap();
        let counters = Counters::default();
        let ended = Ended { stopped: None, damage: None, at_limit: false, counters, hottest_lane: None };
        let mut summary = summary(&job(), "run".to_owned(), &Meter::default(), &ended);
        let (events, mut told) = tokio::sync::mpsc::unbounded_channel();
        let mut ends = |readers, ending| {
            summary.ending = ending;
            remember(&job(), &summary, Some(Knobs { readers, ..job().knobs }), &events);
            job().knobs.readers
        };
        // A state folder that cannot be made.
        std::fs::write(&state, "").unwrap();
        assert_eq!(ends(9, Ending::Complete), 4);
        std::fs::remove_file(&state).unwrap();
        assert_eq!(ends(9, failed(String::new(), ErrorKind::Io, "")), 4);
        assert_eq!(ends(9, Ending::Complete), 9);
        assert_eq!(ends(7, Ending::Interrupted { signal: "SIGINT" }), 7);
        let Ok(Event::Warning { message }) = told.try_recv() else { panic!("no warning") };
        assert!(message.ends_with("; the next run begins low"), "{message}");
        assert!(told.try_recv().is_err(), "one warning");
    }
}
