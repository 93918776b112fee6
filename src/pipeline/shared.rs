//! What the stages of a run share: the pools' sizes, the credits, the queues and the books.

use crate::connector::{Order, Sink, SinkCapabilities, Source};
use crate::error::{Error, Result};
use crate::model::checkpoint::Counters;
use crate::model::event::Event;
use crate::model::knobs::Knobs;
use crate::model::meter::Meter;
use crate::model::partition::{Partition, PartitionIndex};
use crate::pipeline::account::{Account, Results, Ticket};
use crate::pipeline::chunk::Chunk;
use crate::pipeline::commit::Saving;
use crate::pipeline::credits::{Credit, Credits};
use crate::pipeline::order::{Passing, Reorder};
use crate::pipeline::pace::Pace;
use crate::pipeline::permits::Permits;
use crate::pipeline::routing::Routing;
use crate::pipeline::schedule::{Destinations, Schedule};
use crate::pipeline::stop::Stop;
use crate::pipeline::transform::{ChunkDraft, Output};
use crate::pipeline::{Options, Parts};
use crate::transform::Chain;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How fast the estimate of the growth in transform follows what is seen.
const GROWTH_WEIGHT: f64 = 0.2;

/// Of failures that are tried again one is told in this time; the summary counts them all.
const RETRIES_TOLD_EVERY: Duration = Duration::from_secs(1);

/// Partitions opened to find one hungry lane: neighbours in a source often lead to the same lane.
const OPEN_PER_LANE: usize = 8;

/// Partitions opened to find hungry lanes, over all of them: an open one may hold a file and the window of its decompression.
const MOST_OPEN: usize = 256;

/// The state of a run.
pub(crate) struct Shared {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) capabilities: SinkCapabilities,
    pub(crate) chain: Arc<Chain>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) options: Options,
    pub(crate) knobs: watch::Receiver<Knobs>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) stop: Arc<Stop>,
    pub(crate) readers: Arc<Permits>,
    pub(crate) transformers: Arc<Permits>,
    pub(crate) requests: Arc<Permits>,
    pub(crate) credits: Arc<Credits>,
    pub(crate) account: Account,
    pub(crate) routing: Routing,
    /// Held for reading by every send; for writing while the sink must be quiet.
    pub(crate) quiet: tokio::sync::RwLock<()>,
    /// Something that the read dispatcher waits for has happened.
    pub(crate) read_wake: Arc<Notify>,
    /// Something that the send dispatcher waits for has happened.
    pub(crate) send_wake: Notify,
    /// A batch was committed, a request answered, or a partition read to its end.
    pub(crate) settled: Notify,
    /// Batches that were read and that no transformer has taken yet.
    pub(crate) untransformed: AtomicUsize,
    /// Nothing more is to be committed on the way: the last checkpoint comes.
    pub(crate) ended: Notify,
    pub(crate) saving: Saving,
    events: UnboundedSender<Event>,
    schedule: Mutex<Schedule>,
    destinations: Mutex<Destinations>,
    reorder: Mutex<Reorder<Delivery>>,
    growth: Mutex<Growth>,
    pace: Mutex<Pace>,
    damage: Mutex<Option<Error>>,
    /// When a failed request was last told of.
    retry_told: Mutex<Option<Instant>>,
    durable: Mutex<Counters>,
}

/// How much more a batch is after transform than before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    /// Memory held: what credits pay for.
    pub(crate) held: f64,
    /// Bytes of documents: what a buffer must have room for.
    pub(crate) text: f64,
}

/// What goes to the lanes in source order.
pub(crate) enum Delivery {
    /// A batch after transform.
    Batch {
        ticket: Arc<Ticket>,
        output: Output,
        /// Pays for all that the output holds.
        credit: Credit,
        /// Bytes that were read for it.
        bytes_read: u64,
    },
    /// A stretch without a document.
    Gap(Arc<Ticket>),
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until something that a dispatcher waits for has happened, or `until` has come.
pub(crate) async fn woken(wake: &Notify, until: Option<Instant>) {
    match until {
        // Which of the two it was makes no difference: the dispatcher looks again.
        Some(until) => drop(tokio::time::timeout_at(until, wake.notified()).await),
        None => wake.notified().await,
    }
}

impl Shared {
    pub(crate) fn new(
        parts: Parts,
        mut schedule: Schedule,
        account: Account,
        events: UnboundedSender<Event>,
    ) -> Arc<Self> {
        let Parts { source, sink, chain, partitions, knobs, meter, stop, options, already_read } = parts;
        let capabilities = sink.capabilities();
        let now = *knobs.borrow();
        let read_wake = Arc::new(Notify::new());
        let routing = Routing::new(Arc::clone(&sink), now.request_documents);
        let total = capabilities.order == Order::Total;
        let coming = schedule.partitions().collect::<Vec<_>>();
        if capabilities.order == Order::None && !schedule.one_by_one && routing.known().1 > 1 {
            schedule.spread();
        }
        let limit = options.limit.map(|limit| limit.saturating_sub(already_read));
        let durable = account.counters();
        Arc::new(Self {
            readers: Permits::new(now.readers),
            transformers: Permits::new(now.transformers),
            requests: Permits::new(now.requests_in_flight),
            credits: Credits::new(now.credit_bytes, Arc::clone(&read_wake), Arc::clone(&meter)),
            account,
            quiet: tokio::sync::RwLock::new(()),
            read_wake,
            send_wake: Notify::new(),
            settled: Notify::new(),
            untransformed: AtomicUsize::new(0),
            ended: Notify::new(),
            saving: Saving::default(),
            events,
            destinations: Mutex::new(Destinations::new(partitions.len())),
            reorder: Mutex::new(Reorder::new(coming.into_iter(), total)),
            schedule: Mutex::new(schedule),
            routing,
            growth: Mutex::new(Growth { held: 1.0, text: 1.0 }),
            pace: Mutex::new(Pace::new(options.max_rate, limit)),
            damage: Mutex::new(None),
            retry_told: Mutex::new(None),
            durable: Mutex::new(durable),
            source,
            sink,
            capabilities,
            chain,
            partitions,
            options,
            knobs,
            meter,
            stop,
        })
    }

    pub(crate) fn schedule(&self) -> MutexGuard<'_, Schedule> {
        locked(&self.schedule)
    }

    pub(crate) fn destinations(&self) -> MutexGuard<'_, Destinations> {
        locked(&self.destinations)
    }

    pub(crate) fn pace(&self) -> MutexGuard<'_, Pace> {
        locked(&self.pace)
    }

    /// Whether transform makes new buffers.
    pub(crate) fn copies(&self) -> bool {
        !self.chain.is_empty() || self.routing.is_needed()
    }

    /// Output bytes a byte of input, as seen so far.
    pub(crate) fn growth(&self) -> Growth {
        *locked(&self.growth)
    }

    /// Notes what transform made of a batch.
    pub(crate) fn note_growth(&self, seen: Growth) {
        let mut growth = locked(&self.growth);
        growth.held += GROWTH_WEIGHT * (seen.held - growth.held);
        growth.text += GROWTH_WEIGHT * (seen.text - growth.text);
    }

    /// Notes that a source's input is damaged; the first is reported when the run ends.
    pub(crate) fn note_damage(&self, error: Error) {
        self.event(Event::Warning { message: error.to_string() });
        locked(&self.damage).get_or_insert(error);
    }

    pub(crate) fn take_damage(&self) -> Option<Error> {
        locked(&self.damage).take()
    }

    /// Notes the counters of a checkpoint that is stored.
    pub(crate) fn note_durable(&self, counters: Counters) {
        *locked(&self.durable) = counters;
    }

    /// The counters of the last checkpoint.
    pub(crate) fn durable(&self) -> Counters {
        *locked(&self.durable)
    }

    pub(crate) fn event(&self, event: Event) {
        // Nobody listens any more: the run goes on all the same.
        let _ = self.events.send(event);
    }

    /// Tells of one failed request, and no more of others for a while: when a target goes away all of them fail at once.
    pub(crate) fn event_retrying(&self, error: &Error, attempts: u32, delay: Duration) {
        let now = Instant::now();
        let mut told = locked(&self.retry_told);
        if told.is_some_and(|at| now < at + RETRIES_TOLD_EVERY) {
            return;
        }
        *told = Some(now);
        drop(told);
        self.event(Event::Retrying { error: error.to_string(), attempts, delay });
    }

    /// Puts a batch in its place of the source order; what may pass goes to the lanes.
    pub(crate) fn deliver(&self, partition: PartitionIndex, sequence: u64, passing: Passing<Delivery>) {
        let mut reorder = locked(&self.reorder);
        reorder.pass(partition, sequence, passing, |delivery| self.enter_lanes(delivery));
        drop(reorder);
        self.send_wake.notify_one();
        self.read_wake.notify_one();
    }

    fn enter_lanes(&self, delivery: Delivery) {
        let (ticket, output, mut credit, bytes_read) = match delivery {
            Delivery::Gap(ticket) => return self.settle(&ticket, 1, Results::default()),
            Delivery::Batch { ticket, output, credit, bytes_read } => (ticket, output, credit, bytes_read),
        };
        let partition = ticket.partition;
        let documents = output.documents();
        self.destinations().arrived(partition, bytes_read, output.chunks.iter().map(|chunk| chunk.lane));
        let mut identities = Vec::new();
        if self.capabilities.needs_identities() {
            identities = output.chunks.iter().flat_map(|chunk| chunk.identities.iter().copied()).collect();
        }
        let chunk = |draft: ChunkDraft| {
            let credit = credit.split(draft.bytes());
            let ChunkDraft { lane, documents, identities } = draft;
            let (documents, ticket) = (Arc::new(documents), Arc::clone(&ticket));
            (lane, Chunk { documents, identities, partition, ticket, _credit: credit })
        };
        let chunks = output.chunks.into_iter().map(chunk).collect();
        self.meter.queued.rise(u64::from(documents));
        self.account.expect(&ticket, documents, identities, output.results, credit);
        self.go_on(self.routing.enter(chunks, output.lanes));
        self.settle(&ticket, 1, Results::default());
    }

    /// Goes on, or stops the run with the error.
    pub(crate) fn go_on(&self, result: Result<()>) {
        if let Err(error) = result {
            self.stop.fail(error);
        }
    }

    /// Settles documents of a batch; see [`Account::settle`].
    pub(crate) fn settle(&self, ticket: &Arc<Ticket>, documents: u32, results: Results) {
        self.go_on(self.account.settle(ticket, documents, results));
        self.settled.notify_one();
    }

    /// Puts the knobs in force.
    pub(crate) fn apply(&self, knobs: &Knobs) {
        self.readers.resize(knobs.readers);
        self.transformers.resize(knobs.transformers);
        self.requests.resize(knobs.requests_in_flight);
        self.credits.resize(knobs.credit_bytes);
        let mut queues = self.routing.queues();
        queues.set_request_documents(knobs.request_documents.min(self.capabilities.request_documents));
        let count = queues.len();
        drop(queues);
        let mut schedule = self.schedule();
        schedule.readers = knobs.readers;
        // A lane that takes its documents in the order of a partition is that partition's own: there is nobody else to open for it.
        let sought = if self.capabilities.order == Order::None { count.saturating_sub(1) } else { 0 };
        schedule.most_open = knobs.readers + (OPEN_PER_LANE * sought).min(MOST_OPEN);
        drop(schedule);
        self.read_wake.notify_one();
        self.send_wake.notify_one();
    }

    /// Whether the limit has ended the reading before the end of every partition was seen.
    pub(crate) fn is_at_limit(&self) -> bool {
        let schedule = self.schedule();
        schedule.unfinished() > 0 && self.pace().is_spent()
    }

    /// Whether everything that was read is accounted for, and nothing is left to read.
    pub(crate) fn is_complete(&self) -> bool {
        let schedule = self.schedule();
        let all_read = schedule.unfinished() == 0 || (self.pace().is_spent() && schedule.is_resting());
        drop(schedule);
        all_read && self.account.is_settled()
    }
}
