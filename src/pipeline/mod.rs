//! read -> transform -> lanes -> send: how documents move, and nothing about why the pools are as large as they are.
//!
//! ```text
//!  read dispatcher          transform dispatcher          send dispatcher
//!  (permits: readers)       (permits: transformers)       (permits: requests in flight)
//!   |  chooses a partition    |  a thread of the pool       |  cuts a request from a lane's queue
//!   |  takes credits          |  runs the chain             |  sends it
//!   v                         v                             v
//!  batch + ticket  ======>  chunks by lane  == in source order ==> lanes  ====> settle the ticket
//!                                                                              |
//!                                             committer: a checkpoint a second <
//! ```
//!
//! Each dispatcher is one task that goes on when it has both a permit and something to do (for the transformers the batch comes first, for the
//! others the permit), so resizing a pool is changing a number.
//! Memory is bounded by [`credits`], order is made by [`order`] and kept by [`routing`], the end of each document is
//! noted by [`account`]. What may be read next is decided in [`schedule`].
//!
//! Shutdown: reading stops, requests under way are waited for, what was not sent is dropped (a resume replays it), a last checkpoint is stored.

mod account;
mod chunk;
mod commit;
mod credits;
mod lane_queue;
mod lanes;
mod order;
mod owners;
mod pace;
mod partition_ends;
mod permits;
mod read;
pub(crate) mod retry;
mod routing;
mod schedule;
mod send;
mod shared;
mod stop;
mod transform;

pub use stop::{Stop, StopReason};

use crate::checkpoint::store::CheckpointStore;
use crate::connector::{Order, Sink, Source};
use crate::error::{Error, Result};
use crate::model::blocking;
use crate::model::checkpoint::{Checkpoint, Counters};
use crate::model::event::Event;
use crate::model::knobs::Knobs;
use crate::model::meter::Meter;
use crate::model::partition::Partition;
use crate::pipeline::account::{Account, Fence};
use crate::pipeline::commit::Committer;
use crate::pipeline::order::Passing;
use crate::pipeline::permits::Permit;
use crate::pipeline::read::ReadBatch;
use crate::pipeline::schedule::{Schedule, Work};
use crate::pipeline::shared::{Delivery, Growth, Shared};
use crate::pipeline::transform::Workshop;
use crate::rejects::RejectLog;
use crate::transform::Chain;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::time::Instant;

/// Requests under way are waited for this long when a run is stopped: of the 30 seconds that are promised the last checkpoint, with all that it
/// syncs, has five.
const PATIENCE: Duration = Duration::from_secs(25);

/// Lanes are looked at this often. A target's budget is that of a second, so a lane waits at the same part of each: twenty looks tell how large that part is.
const LANES_LOOKED_AT: Duration = Duration::from_millis(50);

/// What a run does besides moving documents.
#[derive(Clone, Debug)]
pub struct Options {
    /// Documents to read in all, over all runs of the job.
    pub limit: Option<u64>,
    /// Documents to read per second.
    pub max_rate: Option<f64>,
    /// A larger document is rejected.
    pub max_document: usize,
    /// Time between checkpoints.
    pub checkpoint_interval: Duration,
}

/// What a run is made of.
pub struct Parts {
    /// Where documents come from.
    pub source: Arc<dyn Source>,
    /// Where they go; prepared.
    pub sink: Arc<dyn Sink>,
    /// What happens to them.
    pub chain: Arc<Chain>,
    /// The source's partitions.
    pub partitions: Vec<Partition>,
    /// The knobs in force, whenever they change.
    pub knobs: watch::Receiver<Knobs>,
    /// Counts what happens.
    pub meter: Arc<Meter>,
    /// Asks the run to stop.
    pub stop: Arc<Stop>,
    /// What else was asked for.
    pub options: Options,
    /// Documents that earlier runs of the job have read and finished.
    pub already_read: u64,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Why it ended before everything was accounted for.
    pub stopped: Option<StopReason>,
    /// The source's damaged input, if some was met.
    pub damage: Option<Error>,
    /// [`Options::limit`] ended it; nobody has looked whether the source holds more.
    pub at_limit: bool,
    /// Counters of the job, as the last checkpoint has them: what was accepted and never made durable does not count.
    pub counters: Counters,
    /// The lane that took most documents, with its share.
    pub hottest_lane: Option<(u32, f64)>,
}

/// A run, ready to go.
pub struct Pipeline {
    shared: Arc<Shared>,
    committer: Committer,
}

impl Pipeline {
    /// A run that goes on from `first` (a checkpoint with nothing finished begins at the beginning).
    pub fn new(
        parts: Parts,
        first: Checkpoint,
        store: CheckpointStore,
        rejects: RejectLog,
        events: UnboundedSender<Event>,
    ) -> Self {
        let total = parts.sink.capabilities().order == Order::Total;
        let work = parts.partitions.iter().enumerate().filter_map(|(number, partition)| {
            let stretches = match first.partitions.get(&partition.id) {
                Some(progress) => progress.remaining(&partition.start),
                None => crate::model::checkpoint::Progress::default().remaining(&partition.start),
            };
            let partition = number as u32;
            let work =
                Work { partition, stretches: stretches.into(), reader: None, sequence: 0, needs: None };
            (!work.stretches.is_empty()).then_some(work)
        });
        let mut schedule = Schedule::new(work.collect(), total);
        schedule.one_by_one = parts.source.capabilities().ordered && !total;
        let fence = Fence { store: store.clone(), run: first.run.clone() };
        let account = Account::new(
            &parts.partitions,
            &first.partitions,
            first.counters,
            rejects,
            fence,
            Arc::clone(&parts.meter),
        );
        let shared = Shared::new(parts, schedule, account, events);
        Self { shared, committer: Committer::new(store, first) }
    }

    /// The counters of the job, while it runs.
    pub fn counters(&self) -> impl Fn() -> Counters + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.account.counters()
    }

    /// Runs to the end, or until asked to stop.
    pub async fn run(self) -> Ended {
        let Self { shared, committer } = self;
        shared.apply(&shared.knobs.borrow());
        let (to_transform, from_readers) = tokio::sync::mpsc::unbounded_channel();
        let tasks = [
            tokio::spawn(read::dispatch(Arc::clone(&shared), to_transform)),
            tokio::spawn(dispatch_transform(Arc::clone(&shared), from_readers)),
            tokio::spawn(send::dispatch(Arc::clone(&shared))),
            tokio::spawn(follow_knobs(Arc::clone(&shared))),
            tokio::spawn(measure_lanes(Arc::clone(&shared))),
            tokio::spawn(partition_ends::tell(Arc::clone(&shared))),
        ];
        let committing = tokio::spawn(committer.run(Arc::clone(&shared)));
        let watching = async {
            while !shared.is_complete() {
                shared.settled.notified().await;
            }
        };
        shared.stop.unless(watching).await;
        if let Some(reason) = shared.stop.reason() {
            shared.event(Event::Stopping { reason });
        }
        shared.ended.notify_one();
        let closing = close(&shared, committing).await;
        if let Err(error) = closing {
            shared.stop.fail(error);
        }
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        Ended {
            stopped: shared.stop.take_reason(),
            damage: shared.take_damage(),
            at_limit: shared.is_at_limit(),
            counters: shared.durable(),
            hottest_lane: send::hottest_lane(&shared),
        }
    }
}

/// Waits for what is under way and stores the last checkpoint.
async fn close(shared: &Arc<Shared>, committing: tokio::task::JoinHandle<Committer>) -> Result<()> {
    let quiet = send::wait_until_quiet(shared, PATIENCE).await;
    let pauses = shared.capabilities.marked || shared.capabilities.transactional;
    if !quiet {
        let message = format!("some requests were not answered within {} s", PATIENCE.as_secs());
        shared.event(Event::Warning { message });
        if pauses {
            // A sink that must be quiet cannot be asked for a mark now; the last checkpoint stands.
            committing.abort();
            shared.saving.settled().await;
            return Ok(());
        }
    }
    let mut committer = committing
        .await
        .map_err(|cause| Error::internal("storing the checkpoint", "the task ended").caused_by(cause))?;
    if committer.has_failed() {
        // What a disk has refused once it may accept a second time without having kept the first.
        return Ok(());
    }
    committer.commit(shared, false).await?;
    if shared.stop.is_on() {
        return Ok(());
    }
    let all_done = (0..shared.partitions.len()).all(|partition| shared.account.is_done(partition as u32));
    if all_done && shared.account.counters().rejected > 0 {
        // Both generations of the checkpoint now speak of the whole reject file, whose order is about to change.
        committer.commit(shared, false).await?;
        let books = Arc::clone(shared);
        blocking("ordering the reject file", move || books.account.put_rejects_in_order(&books.partitions))
            .await?;
    }
    // Also where a limit or damaged input left something unread: what was written shall be usable. No unfinished checkpoint may
    // follow: it would note the end, and a resume would write a second one behind it instead of cutting the first one off.
    let alone = shared.quiet.write().await;
    shared.sink.finish().await?;
    drop(alone);
    if all_done {
        committer.commit(shared, true).await?;
    }
    Ok(())
}

async fn follow_knobs(shared: Arc<Shared>) {
    let mut knobs = shared.knobs.clone();
    while knobs.changed().await.is_ok() {
        let now = *knobs.borrow_and_update();
        shared.apply(&now);
    }
}

/// Counts what waits in the lanes: there may be hundreds, and a gate opens without a word, so they are looked at now and then.
async fn measure_lanes(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(LANES_LOOKED_AT);
    loop {
        ticks.tick().await;
        let (waiting, gated) = shared.routing.queues().waiting(Instant::now());
        shared.meter.seen_gated.add(gated);
        shared.meter.seen_waiting.add(waiting);
    }
}

async fn dispatch_transform(shared: Arc<Shared>, mut batches: UnboundedReceiver<ReadBatch>) {
    while let Some(batch) = batches.recv().await {
        let permit = shared.transformers.acquire().await;
        let shared = Arc::clone(&shared);
        rayon::spawn(move || {
            let work = AssertUnwindSafe(|| transform_one(&shared, batch, permit));
            if std::panic::catch_unwind(work).is_err() {
                shared.stop.fail(Error::internal("transforming", "a step panicked"));
            }
        });
    }
}

fn transform_one(shared: &Shared, read: ReadBatch, permit: Permit) {
    let ReadBatch { batch, first, ticket, mut credit } = read;
    shared.untransformed.fetch_sub(1, Ordering::AcqRel);
    shared.read_wake.notify_one();
    let mut working = shared.meter.transformers.begin();
    let (documents, text) = (batch.documents.len() as u64, batch.documents.text_bytes());
    shared.meter.transforming.rise(documents);
    let bytes_read = batch.held_bytes();
    let text_read = batch.documents.buffer.len();
    let (routed, lanes) = shared.routing.known();
    let workshop = Workshop {
        source: &*shared.source,
        sink: &*shared.sink,
        chain: &shared.chain,
        partition: &shared.partitions[ticket.partition as usize],
        partition_index: ticket.partition,
        routed,
        lanes,
        keyed: shared.capabilities.needs_identities(),
        growth: shared.growth().text,
    };
    let output = workshop.run(batch, first, &mut working);
    let known = if workshop.keyed { u64::from(output.documents()) * account::KNOWN_BYTES } else { 0 };
    let held = output.bytes() + output.results.held_bytes() + known;
    if text_read > 0 {
        let held = held as f64 / bytes_read as f64;
        shared.note_growth(Growth { held, text: output.text() as f64 / text_read as f64 });
    }
    credit.resize(held);
    working.finish(documents, text);
    shared.meter.transforming.fall(documents);
    drop(permit);
    let (partition, sequence) = (ticket.partition, ticket.sequence);
    let delivery = Delivery::Batch { ticket, output, credit, bytes_read };
    shared.deliver(partition, sequence, Passing::Batch(delivery));
}
