//! The store as a target: many requests to many lanes at once, each answered after the latency that was set.
//!
//! A request waits first and is applied last, in one step: a caller that gives up waiting leaves nothing behind, and what
//! overtakes while it waits is applied before it. An engine that does not hold back equal ids is found out here.

use crate::connector::memory::lane::LaneState;
use crate::connector::memory::store::MemoryStore;
use crate::connector::sink::{Lane, Order, Prepare, Sink, SinkCapabilities};
use crate::connector::source::Source;
use crate::error::{Error, ErrorKind, Result};
use crate::model::BoxFuture;
use crate::model::checkpoint::Checkpoint;
use crate::model::document::Document;
use crate::model::request::{Outcome, Request, Route};
use std::sync::Arc;
use std::time::Duration;

/// How long a request waits that a script throttles as a whole: to the end of a window at most.
const SCRIPTED_THROTTLE: Duration = Duration::from_secs(1);

/// A store as a target.
#[derive(Debug)]
pub struct MemorySink {
    store: Arc<MemoryStore>,
}

impl MemorySink {
    /// Writes to `store`.
    pub fn new(store: Arc<MemoryStore>) -> Self {
        Self { store }
    }
}

impl Sink for MemorySink {
    fn capabilities(&self) -> SinkCapabilities {
        let options = self.store.options();
        SinkCapabilities {
            order: Order::None,
            serial: false,
            keyed: true,
            transactional: false,
            marked: false,
            resumable: options.resumable,
            request_documents: options.request_documents,
            request_bytes: options.request_bytes,
        }
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.store.is_empty().map(drop) })
    }

    fn identity(&self) -> BoxFuture<'_, Result<Option<String>>> {
        Box::pin(async { Ok(Some(self.store.identity().to_owned())) })
    }

    fn prepare<'a>(&'a self, prepare: Prepare<'a>) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            let identity = self.store.identity();
            let is_own = prepare.previous.is_some_and(|previous| previous.fingerprint.target == identity);
            if !is_own && !prepare.overwrite && !self.store.is_empty()? {
                return Err(Error::configuration(
                    "preparing the target",
                    "the store holds documents that are not this job's",
                )
                .with("target", identity)
                .advise("name another store, or write over them with --overwrite"));
            }
            self.store.open()?;
            Ok(identity.to_owned())
        })
    }

    fn route(&self, document: &Document<'_>) -> Result<Route, String> {
        self.store.route(document)
    }

    fn lanes(&self) -> Vec<Arc<dyn Lane>> {
        let lanes = self.store.lanes().into_iter();
        lanes.map(|lane| Arc::new(MemoryLane { store: Arc::clone(&self.store), lane }) as _).collect()
    }

    fn flush<'a>(&'a self, _checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn finish(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn read_back(&self) -> Option<Box<dyn Source>> {
        Some(Box::new(self.store.source()))
    }
}

struct MemoryLane {
    store: Arc<MemoryStore>,
    lane: Arc<LaneState>,
}

impl Lane for MemoryLane {
    fn is_closed(&self) -> bool {
        self.lane.children().is_some()
    }

    fn send(&self, request: Request) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(async move {
            let options = self.store.options();
            let (due, _visit) = self.store.arrive(&self.lane);
            let wait = options.latency + self.lane.jitter(options.jitter) + due.stall;
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            if let Some(kind) = due.fail_before {
                return Err(scripted(kind));
            }
            if due.split {
                self.store.split(self.lane.id);
            }
            let outcome = self.store.apply(&self.lane, &request, &due.reject)?;
            match due.fail_after {
                Some(kind) => Err(scripted(kind)),
                None => Ok(outcome),
            }
        })
    }
}

fn scripted(kind: ErrorKind) -> Error {
    let error = Error::new(kind, "writing to memory", "failed by the script");
    if kind == ErrorKind::Throttled { error.with_retry_after(SCRIPTED_THROTTLE) } else { error }
}
