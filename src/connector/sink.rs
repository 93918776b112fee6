//! The contract of a sink.
//!
//! **Ids.** A sink with ids takes strings alone (it refuses others as an *illegal id*), or strings, numbers and booleans, and holds their characters ([`Id`](crate::model::document::Id)). So `7` and
//! `"7"` have one identity and one place. They never replace one another: the second to come is rejected, and a removal of
//! one leaves the other.
//!
//! A target is not one queue: each of its *lanes* takes requests on its own (in Cosmos a physical partition with its own
//! budget), so one slow lane does not hold up the rest. The pipeline asks [`Sink::route`] for every document, keeps one queue
//! a lane and calls [`Lane::send`], many at once where the sink allows it.
//!
//! The order of calls: `check`, `identity`, `stored` and at a resume `lost`, then `prepare`, then `lanes`; after that `route`, `send`,
//! `mark`, `flush` and `end_partitions` at any time from any task, and `finish` at the end of a run that came to its end.
//!
//! **Delivery.** The engine sends every document at least once, and requests that touch one (key, id) in source order, also
//! across retries; a request never holds the same (key, id) twice. After a crash it sends again everything after the last checkpoint. A sink
//! makes this exactly once in one of three ways: by upserts on deterministic ids; by committing the checkpoint in the transaction
//! that holds the data ([`SinkCapabilities::transactional`]); or by noting in [`Sink::mark`] what it holds and returning to that in
//! [`Sink::prepare`] (a file truncates).

use crate::connector::source::Source;
use crate::error::Result;
use crate::model::BoxFuture;
use crate::model::checkpoint::Checkpoint;
use crate::model::document::Document;
use crate::model::meter::LaneCharge;
use crate::model::partition::{Partition, PartitionIndex};
use crate::model::request::{Leave, Outcome, Request, Route};
use std::sync::Arc;
use tokio::time::Instant;

/// The order in which a lane must be given its documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Any order, but source order for equal (key, id).
    None,
    /// Source order within each partition.
    PerPartition,
    /// Source order over the whole source: partitions in their order, one lane.
    Total,
}

/// What a sink can do and needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkCapabilities {
    /// The order that it needs.
    pub order: Order,
    /// Requests to one lane run one after the other. A serial lane needs no care for equal ids.
    pub serial: bool,
    /// Documents have a (key, id), and [`Route::identity`] tells them apart.
    pub keyed: bool,
    /// [`Sink::flush`] commits the checkpoint together with the data: no send runs during it.
    pub transactional: bool,
    /// [`Sink::mark`] must see whole batches: no send runs during it. True of sinks that truncate on resume.
    pub marked: bool,
    /// Can a later run continue? Standard output cannot.
    pub resumable: bool,
    /// Most documents in a request.
    pub request_documents: usize,
    /// Most bytes in a request; a single larger document is sent alone.
    pub request_bytes: usize,
}

impl SinkCapabilities {
    /// Whether a document must wait while an older one with its (key, id) is under way. A serial lane has one request under way at
    /// a time, and so keeps the order by itself.
    pub fn needs_identities(&self) -> bool {
        self.keyed && !self.serial
    }
}

/// How a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// From the beginning of the source.
    Fresh,
    /// From the checkpoint.
    Resume,
}

/// What a sink is told before the first request.
#[derive(Debug)]
pub struct Prepare<'a> {
    /// The job's name.
    pub job: &'a str,
    /// The name of this run.
    pub run: &'a str,
    /// The source's partitions, in order.
    pub partitions: &'a [Partition],
    /// From the beginning, or from `previous`.
    pub start: Start,
    /// The job's last checkpoint, also of a finished or abandoned run: it proves that a target is this job's own.
    pub previous: Option<&'a Checkpoint>,
    /// The user allowed to replace a target that is not this job's.
    pub overwrite: bool,
}

/// Where documents go. Shared by all tasks.
pub trait Sink: Send + Sync {
    /// What this sink can do and needs.
    fn capabilities(&self) -> SinkCapabilities;

    /// Looks whether the target could be written, without changing it. What cannot be written is
    /// [`ErrorKind::Configuration`](crate::error::ErrorKind::Configuration).
    fn check(&self) -> BoxFuture<'_, Result<()>>;

    /// The target's identity, which a resume compares: a database's own uuid, a file's path. `None`: it does not exist yet.
    fn identity(&self) -> BoxFuture<'_, Result<Option<String>>>;

    /// Where the target is, whether or not it exists: the same text however its path was spelled, and never that of another target.
    /// Empty where the identity says it all.
    fn place(&self) -> String {
        String::new()
    }

    /// The checkpoint that the target itself holds for `job`: it wins over the one in the state folder.
    fn stored<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Result<Option<Checkpoint>>> {
        let _ = job;
        Box::pin(async { Ok(None) })
    }

    /// Creates or opens the target and brings it to where the run begins. A target that exists, is not empty and is not proven
    /// by `previous` to be this job's is refused (configuration) unless `overwrite`. Returns the target's identity.
    fn prepare<'a>(&'a self, prepare: Prepare<'a>) -> BoxFuture<'a, Result<String>>;

    /// Whether the target has lost, since, what earlier runs have put there, and if so what; asked before a resume, where it costs little to
    /// know. `None`: not that it could tell.
    fn lost(&self) -> BoxFuture<'_, Result<Option<String>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Where a document goes, or the reason why it cannot go anywhere. Called on transform workers, after validation; on the hot path.
    fn route(&self, document: &Document<'_>) -> Result<Route, String> {
        let _ = document;
        Ok(Route::default())
    }

    /// The lanes, by [`LaneId`](crate::model::request::LaneId). Called after `prepare`, and again after a lane answered
    /// [`ErrorKind::LaneClosed`](crate::error::ErrorKind::LaneClosed): the list may have grown, and never shrinks. A closed lane's keys go to lanes that the list did not hold
    /// before, and from then on [`Sink::route`] does not name the closed one. The lanes of a serial sink stay as they are.
    fn lanes(&self) -> Vec<Arc<dyn Lane>>;

    /// The settings that decide what a document looks like in the target, as a short text: a resume compares it.
    fn layout(&self) -> String {
        String::new()
    }

    /// What the sink notes of itself for the checkpoint about to be taken (the length of a file). It covers exactly the requests
    /// answered so far. Quick: no syncing, and no reading but of a few bytes that were just written.
    fn mark(&self) -> Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }

    /// Makes durable everything that `checkpoint` counts as finished. What a lane has answered may be lost until then: an answer frees
    /// memory and lets the next version of a document go, and only a flush that has returned lets the low-water mark move. A transactional sink stores the checkpoint in the same
    /// transaction, and answers [`ErrorKind::Held`](crate::error::ErrorKind::Held) if another run has stored one since this run began.
    fn flush<'a>(&'a self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<()>>;

    /// Every document of these partitions has met its end, and none of them is sent any more: what the sink keeps for them alone can be ended and
    /// let go of. Each partition is told of once in a run, those that earlier runs have finished too, unless the run ends before. No
    /// `mark` and no `finish` runs meanwhile.
    fn end_partitions<'a>(&'a self, partitions: &'a [PartitionIndex]) -> BoxFuture<'a, Result<()>> {
        let _ = partitions;
        Box::pin(async { Ok(()) })
    }

    /// Writes what ends the target (the end of a JSON array, the last frame). Called at most once in a run, as the last but one thing: when
    /// every document is accounted for, one more `mark` and `flush` follow, with the finished checkpoint. Also called where a limit or damaged
    /// input left something unread, or where the run is killed before that flush: then no checkpoint knows of the end, and the `prepare` of
    /// the run that goes on must take it off again.
    fn finish(&self) -> BoxFuture<'_, Result<()>>;

    /// Request units per second that this run may spend: what the target had when it was opened, or less if less was allowed. `None`: it counts none, or it is not known.
    fn throughput(&self) -> Option<f64> {
        None
    }

    /// What each lane was charged and may spend, by [`LaneId`](crate::model::request::LaneId), where the target counts request units. Asked once a second and more: quick.
    fn charges(&self) -> Vec<LaneCharge> {
        Vec::new()
    }

    /// Something that a person should know of how this target is written, said once. Asked for now and then while a run goes on.
    fn notice(&self) -> Option<String> {
        None
    }

    /// A command with which a person can look at what was written, if there is one. One of docferry's own is given the state folder by the
    /// assembly.
    fn look(&self) -> Option<String> {
        None
    }

    /// Appends the document in the form in which `verify` compares it with what is read back, and returns true, if this target does not hold documents
    /// as the bytes that came. What is read back is brought into this form too.
    fn as_held(&self, document: &[u8], out: &mut Vec<u8>) -> bool {
        let _ = (document, out);
        false
    }

    /// The target as a source, for `verify`. It returns as rejects what is inconsistent in itself (an id column that is not the
    /// document's id). `None`: nothing can be read back.
    fn read_back(&self) -> Option<Box<dyn Source>>;

    /// Why nothing can be read back, where that is so.
    fn not_read_back(&self) -> &'static str {
        "this target cannot be read back"
    }
}

/// What a lane says when it is asked for leave to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Admission {
    /// It keeps no account: any request, at any time.
    Free,
    /// Now, one request of at most so many documents as the leave says.
    Send(Leave),
    /// Not before this time, unless one of its requests is answered before.
    Wait(Instant),
}

/// One independently writable part of a target.
pub trait Lane: Send + Sync {
    /// Asks for leave to send up to `documents` now: before each request, when nothing else holds it up. Called with the queues locked, so it is quick.
    /// A leave goes with its request, or back by [`shorten`](Self::shorten).
    fn admit(&self, documents: u32) -> Admission {
        let _ = documents;
        Admission::Free
    }

    /// The request that was cut for a leave holds no more than `documents`. `None`: it holds none, and the leave is void.
    fn shorten(&self, leave: Leave, documents: u32) -> Option<Leave> {
        (documents > 0).then_some(Leave { documents, ..leave })
    }

    /// Sends a request. An answer, even one that took nothing, is `Ok`; a failure of the whole request is `Err`, its kind decides the retry, and
    /// nothing of it is known to be written. Dropping the future must not leave a request half applied in a way that a
    /// second send does not mend.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Outcome>>;

    /// Whether it is known to be closed: it takes nothing more, and no document is routed to it. A lane may be closed without this saying so yet; its
    /// next request finds out.
    fn is_closed(&self) -> bool {
        false
    }
}
