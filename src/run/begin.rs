//! Where a run begins: the lock, the earlier checkpoint, what must not have changed, and the target made ready.
//!
//! Nothing is written to the target before the source has been looked at and every reason to refuse has been ruled out.

use crate::checkpoint::lock::JobLock;
use crate::checkpoint::store::CheckpointStore;
use crate::config::job::{Begin, Job};
use crate::connector::{Prepare, Sink, Source, Start};
use crate::error::{Error, ErrorKind, Result};
use crate::model::checkpoint::{CHECKPOINT_VERSION, Checkpoint, JobFingerprint, Rules};
use crate::model::event::Event;
use crate::model::partition::Partition;
use crate::model::units::Counted;
use crate::rejects::RejectLog;
use crate::run::changes::{refuse_changes, refuse_other_target};
use tokio::sync::mpsc::UnboundedSender;

/// A run that may begin.
pub(super) struct Beginning {
    /// Held until the run has ended.
    pub(super) _lock: JobLock,
    /// What is finished already; stored, and by this run.
    pub(super) first: Checkpoint,
    pub(super) partitions: Vec<Partition>,
    pub(super) is_resume: bool,
    pub(super) store: CheckpointStore,
    pub(super) run: String,
}

/// Takes the job and makes the target ready.
pub(super) async fn begin(job: &Job, events: &UnboundedSender<Event>) -> Result<Beginning> {
    let (source, sink) = (&*job.source, &*job.sink);
    refuse_unresumable(job, source, sink)?;
    let source_lines = source.check().await?;
    let partitions = source.partitions().await?;
    sink.check().await?;
    let target = sink.identity().await?.unwrap_or_default();
    let place = sink.place();
    if source.is_target(&place, &target) {
        let message = "source and target are the same; docferry does not write onto what it reads";
        return Err(Error::configuration("opening the target", message)
            .with("target", &job.target_name)
            .advise("name another target"));
    }
    let lock = JobLock::take(&job.state)?;
    if let Some(message) = lock.warning() {
        let _ = events.send(Event::Warning { message });
    }
    let fingerprint = JobFingerprint { source: source_lines, rules: rules(job, sink), target, place };
    let store = super::store_of(job);
    let previous = earlier(job, &store, &fingerprint, events).await?;
    let is_resume = decide(job, previous.as_ref(), events)?;
    let resumed = previous.as_ref().filter(|_| is_resume);
    if let Some(previous) = resumed {
        refuse_changes(&previous.fingerprint, &fingerprint)?;
        refuse_losses(sink, &fingerprint).await?;
    }
    let run = super::run_name();
    if let Some(finished) = resumed.filter(|previous| previous.finished) {
        // Nothing is touched: the target has its end already.
        let first = finished.clone();
        return Ok(Beginning { _lock: lock, first, partitions, is_resume, store, run });
    }
    RejectLog::check(&job.state, resumed.map_or(0, |previous| previous.rejects_length))?;
    let prepare = Prepare {
        job: &job.name,
        run: &run,
        partitions: &partitions,
        start: if is_resume { Start::Resume } else { Start::Fresh },
        previous: previous.as_ref(),
        overwrite: job.overwrite,
    };
    let target = sink.prepare(prepare).await?;
    let first = first_checkpoint(job, &run, JobFingerprint { target, ..fingerprint }, previous, is_resume)?;
    // Whoever had the job before, on another machine say, stores nothing more from here on.
    store.claim(&run)?;
    sink.flush(&first).await?;
    if is_resume {
        store.save(&first)?;
    } else {
        store.save_anew(&first)?;
    }
    Ok(Beginning { _lock: lock, first, partitions, is_resume, store, run })
}

/// What is finished when the run begins, as this run's own.
fn first_checkpoint(
    job: &Job,
    run: &str,
    fingerprint: JobFingerprint,
    previous: Option<Checkpoint>,
    is_resume: bool,
) -> Result<Checkpoint> {
    let generation = previous.as_ref().map_or(0, |previous| previous.generation) + 1;
    Ok(Checkpoint {
        version: CHECKPOINT_VERSION,
        job: job.name.clone(),
        run: run.to_owned(),
        generation,
        fingerprint,
        finished: false,
        target_state: job.sink.mark()?,
        ..previous.filter(|_| is_resume).unwrap_or_default()
    })
}

/// What decides what a document becomes.
fn rules(job: &Job, sink: &dyn Sink) -> Rules {
    Rules {
        id: job.chain.id_fingerprint().to_owned(),
        steps: job.chain.steps_fingerprint().to_owned(),
        max_document: job.max_document,
        layout: sink.layout(),
    }
}

/// What a checkpoint calls written shall still be there.
async fn refuse_losses(sink: &dyn Sink, now: &JobFingerprint) -> Result<()> {
    let Some(lost) = sink.lost().await? else { return Ok(()) };
    let message = format!("the target {} has lost documents: {lost}", now.place);
    Err(Error::configuration("resuming the job", message)
        .advise("bring them back, or begin anew with --restart"))
}

/// Whether a run of this job can be continued by a later one.
pub(super) fn can_resume(job: &Job) -> bool {
    job.source.capabilities().resumable && job.sink.capabilities().resumable
}

/// What cannot go on later cannot be resumed, and says so before anything is moved.
fn refuse_unresumable(job: &Job, source: &dyn Source, sink: &dyn Sink) -> Result<()> {
    if job.begin != Begin::Resume {
        return Ok(());
    }
    let refuse = |what: &str| {
        let message = format!("{what} cannot be gone on with from the middle");
        Err(Error::new(ErrorKind::Usage, "resuming the job", message).advise("run without --resume"))
    };
    if !source.capabilities().resumable {
        return refuse("this source");
    }
    if !sink.capabilities().resumable {
        return refuse("this target");
    }
    Ok(())
}

/// The newest checkpoint of the job: the target's own wins, because it was committed with the data. One of another target is refused.
async fn earlier(
    job: &Job,
    store: &CheckpointStore,
    now: &JobFingerprint,
    events: &UnboundedSender<Event>,
) -> Result<Option<Checkpoint>> {
    let loaded = match store.load() {
        // A restart needs no checkpoint; an unreadable one is replaced.
        Err(_) if job.begin == Begin::Restart => Default::default(),
        loaded => loaded?,
    };
    if let Some(message) = loaded.warning {
        let _ = events.send(Event::Warning { message });
    }
    let stored = job.sink.stored(&job.name).await?;
    for found in stored.iter().chain(&loaded.checkpoint) {
        refuse_other_target(job, &found.fingerprint, now)?;
    }
    // Also where it is the older one: a power loss may take the last commits from a database and leave the state folder.
    Ok(match (stored, loaded.checkpoint) {
        (Some(stored), _) => Some(stored),
        (None, loaded) => loaded,
    })
}

/// Whether the run goes on from the earlier checkpoint.
fn decide(job: &Job, previous: Option<&Checkpoint>, events: &UnboundedSender<Event>) -> Result<bool> {
    let say = |message: String| drop(events.send(Event::Warning { message }));
    let Some(previous) = previous else { return Ok(false) };
    let documents = Counted(previous.counters.accounted(), "document");
    match (job.begin, previous.finished) {
        (Begin::Start, false) if !can_resume(job) => {
            say(format!("an earlier run of job {} cannot be gone on with; it begins anew", job.name));
            Ok(false)
        }
        (Begin::Start, false) => {
            let message =
                format!("an earlier run of job {} came as far as {documents} and did not finish", job.name);
            Err(Error::new(ErrorKind::Unfinished, "beginning the job", message))
        }
        (Begin::Start, true) => {
            say(format!("job {} had finished with {documents}; it begins anew", job.name));
            Ok(false)
        }
        (Begin::Restart, _) => Ok(false),
        (Begin::Resume, true) => {
            say(format!("job {} had finished with {documents}; there is nothing left to do", job.name));
            Ok(true)
        }
        (Begin::Resume, false) => Ok(true),
    }
}
