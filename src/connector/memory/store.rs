//! The store: documents by (key, id), spread over lanes that throttle, stall and split as told.
//!
//! It is what the tests of every room write to, so it checks what the engine promises (see
//! [`sink`](crate::connector::sink)): a request within the limits, routed to this lane, no (key, id) twice. A broken promise is
//! an internal error, loud enough to fail any test.
//!
//! Time is `tokio::time`: with a paused clock a run of minutes takes milliseconds and every window falls where the test
//! expects it.

use crate::connector::memory::contents::{Accepted, Contents, History, Identity, Version};
use crate::connector::memory::faults::{self, Due, Effect, Fault, Number, When};
use crate::connector::memory::lane::{LaneState, Ledger};
use crate::connector::memory::{MemorySink, MemorySource, Options};
use crate::error::{Error, ErrorKind, Result};
use crate::model::document::{Document, Id, Operation};
use crate::model::json;
use crate::model::request::{LaneId, Outcome, Request, Route, Throttled};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The stores that settings name. A store lives as long as the process.
static NAMED: LazyLock<Mutex<BTreeMap<String, Arc<MemoryStore>>>> = LazyLock::new(Mutex::default);

/// A target in this process. Shared: a clone of the `Arc` is the same store.
#[derive(Debug)]
pub struct MemoryStore {
    options: Options,
    identity: String,
    started: OnceLock<Instant>,
    lanes: RwLock<Vec<Arc<LaneState>>>,
    contents: Mutex<Contents>,
    script: Mutex<Vec<Fault>>,
    requests: AtomicU64,
}

impl MemoryStore {
    /// A store that only its owner knows.
    pub fn new(mut options: Options) -> Arc<Self> {
        options.lanes = options.lanes.max(1);
        static NAMELESS: AtomicU64 = AtomicU64::new(0);
        let identity = match (&options.journal, options.name.as_str()) {
            (Some(path), _) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                format!("memory journal {}", path.display())
            }
            (None, "") => format!("memory #{}", NAMELESS.fetch_add(1, Relaxed)),
            (None, name) => format!("memory {name}"),
        };
        let lanes =
            (0..options.lanes).map(|id| Arc::new(LaneState::new(id, options.request_units_per_second)));
        Arc::new(Self {
            identity,
            started: OnceLock::new(),
            lanes: RwLock::new(lanes.collect()),
            contents: Mutex::default(),
            script: Mutex::default(),
            requests: AtomicU64::new(0),
            options,
        })
    }

    /// The store of that name in this process; made now if there is none. `None`: there is one with other options.
    pub fn named(options: Options) -> Option<Arc<Self>> {
        let mut named = locked(&NAMED);
        if let Some(store) = named.get(&options.name) {
            return (store.options == options).then(|| Arc::clone(store));
        }
        let store = Self::new(options);
        named.insert(store.options.name.clone(), Arc::clone(&store));
        Some(store)
    }

    /// The store of that name, if there is one in this process.
    pub fn find(name: &str) -> Option<Arc<Self>> {
        locked(&NAMED).get(name).cloned()
    }

    /// The store as a target.
    pub fn sink(self: &Arc<Self>) -> MemorySink {
        MemorySink::new(Arc::clone(self))
    }

    /// The store's documents as a source: the latest version of each, one partition a lane, in the order of arrival.
    pub fn source(self: &Arc<Self>) -> MemorySource {
        MemorySource::of_store(Arc::clone(self))
    }

    /// What it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What tells it from other stores.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Adds a fault to the script.
    pub fn script(&self, lane: Option<LaneId>, when: When, effect: Effect) {
        locked(&self.script).push(Fault { lane, when, effect });
    }

    /// Closes a lane; two new ones take over its keys. Nothing happens to a lane that is closed already or does not exist.
    pub fn split(&self, lane: LaneId) {
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        let next = lanes.len() as LaneId;
        if lanes.get(lane as usize).is_some_and(|lane| lane.close([next, next + 1])) {
            let budget = self.options.request_units_per_second;
            lanes.extend([next, next + 1].map(|id| Arc::new(LaneState::new(id, budget))));
        }
    }

    /// What each lane has seen.
    pub fn ledgers(&self) -> Vec<Ledger> {
        self.lanes().iter().map(|lane| lane.ledger()).collect()
    }

    /// The latest version of each document, in the order of arrival.
    pub fn documents(&self) -> Vec<Arc<[u8]>> {
        locked(&self.contents).in_order().into_iter().map(|version| version.bytes).collect()
    }

    /// All writes of each document, by key and id; empty without [`Options::record_order`].
    pub fn history(&self) -> Vec<History> {
        locked(&self.contents).history()
    }

    pub(super) fn lanes(&self) -> Vec<Arc<LaneState>> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens the journal, if there is one. The store's clock starts here.
    pub(super) fn open(&self) -> Result<()> {
        self.now();
        match &self.options.journal {
            Some(path) => locked(&self.contents).open_journal(path, self.options.key_field.as_deref()),
            None => Ok(()),
        }
    }

    /// The latest versions in the order of arrival, from the journal if need be, and the sequence number that comes next.
    pub(super) fn versions(&self) -> Result<(Vec<Version>, u64)> {
        let mut contents = locked(&self.contents);
        if let Some(path) = &self.options.journal {
            contents.replay(path, self.options.key_field.as_deref())?;
        }
        Ok((contents.in_order(), contents.sequence()))
    }

    /// Whether it holds a document; a journal on disk counts.
    pub(super) fn is_empty(&self) -> Result<bool> {
        let mut contents = locked(&self.contents);
        if let Some(path) = &self.options.journal {
            contents.replay(path, self.options.key_field.as_deref())?;
        }
        Ok(contents.is_empty())
    }

    /// Where a document goes, or why it goes nowhere.
    pub(super) fn route(&self, document: &Document<'_>) -> Result<Route, String> {
        let (key, id) = self.identify(document)?;
        let id = id.characters.as_bytes();
        let hash = if self.options.key_field.is_some() { xxh3_64(key) } else { xxh3_64(id) };
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        let mut lane = match &self.options.lane_field {
            None => hash % u64::from(self.options.lanes),
            Some(name) => named_lane(document, name, self.options.lanes)?,
        } as LaneId;
        // The high bits decide between children: the low ones have chosen the lane.
        let mut bit = u64::BITS;
        while let Some(children) = lanes[lane as usize].children() {
            bit = bit.saturating_sub(1);
            lane = children[(hash >> bit & 1) as usize];
        }
        Ok(Route { lane, identity: xxh3_64_with_seed(id, hash), note: None })
    }

    /// A request arrives: its number, and what the script has for it.
    pub(super) fn arrive<'a>(&self, lane: &'a LaneState) -> (Due, super::lane::Visit<'a>) {
        let (number, visit): (Number, _) = lane.enter(self.requests.fetch_add(1, Relaxed));
        (faults::due(&locked(&self.script), lane.id, number, self.now()), visit)
    }

    /// Takes what the lane's budget allows of a request.
    pub(super) fn apply(&self, lane: &LaneState, request: &Request, refused: &[String]) -> Result<Outcome> {
        let promise = self.check_promise(lane, request);
        if lane.children().is_some() {
            return Err(Error::new(ErrorKind::LaneClosed, "writing to memory", "the lane has split")
                .with("lane", lane.id));
        }
        promise?;
        let mut contents = locked(&self.contents);
        let (now, cost) = (self.now(), self.options.request_units_per_document);
        let mut outcome = Outcome::default();
        let mut accepted = Vec::with_capacity(request.len());
        for (index, document) in (0..).zip(request.documents()) {
            let (key, id) = match self.identify(&document) {
                Ok(identity) => identity,
                Err(reason) => {
                    outcome.rejected.push((index, reason));
                    continue;
                }
            };
            if refused.iter().any(|refused| *refused == id.characters) {
                outcome.rejected.push((index, "refused by the script".to_owned()));
                continue;
            }
            let identity: Identity = (key.into(), id.characters.as_ref().into());
            if !self.gives_way(contents.held(&identity), &id) {
                // A removal of what is not here is done.
                if document.operation == Operation::Upsert {
                    outcome.rejected.push((index, id.taken(&self.options.id_field)));
                }
                continue;
            }
            if let Err(wait) = lane.take(now, cost) {
                let documents = request.len() as u32 - index;
                outcome.throttled = Some(Throttled { documents, wait, is_stray: false });
                outcome.put_off.extend(index..request.len() as u32);
                break;
            }
            outcome.request_units += cost;
            let Document { bytes, partition, at, operation, .. } = document;
            accepted.push(Accepted { identity, document: bytes, operation, partition, at });
        }
        contents.apply(lane.id, accepted, cost, self.options.record_order)?;
        Ok(outcome)
    }

    /// Time since the store's first use.
    fn now(&self) -> Duration {
        self.started.get_or_init(Instant::now).elapsed()
    }

    /// The key's raw text, empty where the id is the key, and the id.
    fn identify<'a>(&self, document: &Document<'a>) -> Result<(&'a [u8], Id<'a>), String> {
        let id = document.id(&self.options.id_field)?;
        let key = self.options.key_field.as_ref().and_then(|name| document.field(name));
        Ok((key.unwrap_or_default(), id))
    }

    /// Whether the document that is held, if one is, may be replaced by one with this id.
    fn gives_way(&self, held: Option<&[u8]>, id: &Id<'_>) -> bool {
        let name = &self.options.id_field;
        held.is_none_or(|held| Id::of(name, json::field(held, name)).is_ok_and(|held| held.kind == id.kind))
    }

    fn check_promise(&self, lane: &LaneState, request: &Request) -> Result<()> {
        let broken = |what| Err(Error::internal("writing to memory", what).with("lane", lane.id));
        let bytes: usize = request.documents().map(|document| document.bytes.len()).sum();
        if request.len() > self.options.request_documents {
            return broken("the request holds more documents than the sink takes");
        }
        if bytes > self.options.request_bytes && request.len() > 1 {
            return broken("the request holds more bytes than the sink takes");
        }
        let mut seen = HashSet::with_capacity(request.len());
        for document in request.documents() {
            let Ok(route) = self.route(&document) else { continue };
            if route.lane != lane.id {
                return broken("the request holds a document of another lane");
            }
            if !seen.insert(route.identity) {
                return broken("the request holds the same key and id twice");
            }
        }
        Ok(())
    }
}

/// The lane that the document names itself.
fn named_lane(document: &Document<'_>, field: &str, lanes: u32) -> Result<u64, String> {
    let text = document.field(field).and_then(|raw| std::str::from_utf8(raw).ok());
    match text.and_then(|text| text.parse::<u64>().ok()) {
        Some(lane) if lane < u64::from(lanes) => Ok(lane),
        _ => Err(format!("no lane: field {field:?} is not a whole number below {lanes}")),
    }
}

/// Locks. A panic elsewhere left nothing half done: every critical section here ends in plain assignments.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
