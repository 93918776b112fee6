//! The container as a target.
//!
//! Nothing is kept in the container but the documents: what is finished stands in the state folder, and a document that is sent twice
//! replaces itself. An answer means that the document is safe, so a flush has nothing to do.

use crate::connector::cosmos::bulk::{self, Item, Key};
use crate::connector::cosmos::client::{Client, Container, Range, Verb};
use crate::connector::cosmos::lane::{CosmosLane, LaneState};
use crate::connector::cosmos::lanes::{Added, Lanes};
use crate::connector::cosmos::pace::Pace;
use crate::connector::cosmos::{
    Account, CosmosSource, Encoder, Mode, OnLossyNumber, TargetOptions, limits, numbers, settings, system,
};
use crate::connector::sink::{Lane, Order, Prepare, Sink, SinkCapabilities};
use crate::connector::source::Source;
use crate::error::{Error, Result};
use crate::model::BoxFuture;
use crate::model::checkpoint::Checkpoint;
use crate::model::document::{Document, Operation};
use crate::model::json::Index;
use crate::model::meter::LaneCharge;
use crate::model::partition_key::{Epk, PartitionKeyDefinition};
use crate::model::request::{LaneId, Route};
use crate::model::shell::word;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use tokio::sync::Mutex;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A container as a target.
#[derive(Debug)]
pub struct CosmosSink {
    options: Arc<TargetOptions>,
    /// The partition key of the container that is to be created.
    planned: Result<PartitionKeyDefinition, String>,
    /// Held while connecting, so that it is done once.
    client: Mutex<Option<Arc<Client>>>,
    open: OnceLock<Arc<Open>>,
}

/// The container, open for writing.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) container: Container,
    pub(super) options: Arc<TargetOptions>,
    pub(super) bulk: Trial,
    pub(super) pace: Pace,
    /// Request units per second that the container has, if that can be known.
    throughput: Option<f64>,
    definition: PartitionKeyDefinition,
    lanes: RwLock<Lanes>,
    states: RwLock<Vec<Arc<LaneState>>>,
    refreshing: Mutex<()>,
    refreshed: AtomicU64,
    /// It was said that bulk is broken.
    told: AtomicBool,
}

impl CosmosSink {
    /// Writes to the container that the options name.
    pub fn new(options: TargetOptions) -> Self {
        let planned = options.shape.definition().map_err(|error| error.to_string());
        Self { options: Arc::new(options), planned, client: Mutex::new(None), open: OnceLock::new() }
    }

    /// The container; `None` if there is none.
    async fn open(&self) -> Result<Option<Arc<Open>>> {
        if let Some(open) = self.open.get() {
            return Ok(Some(Arc::clone(open)));
        }
        let client = self.client().await?;
        let place = &self.options.place;
        let found = client.container(&place.database, &place.container, Some(&self.options)).await?;
        let Some(container) = found else { return Ok(None) };
        let definition = container.definition()?;
        self.options.shape.must_fit(&definition, &place.name())?;
        let ranges = container.ranges(false).await?;
        let throughput = client.throughput(&container).await;
        let open = Open::new(container, definition, Arc::clone(&self.options), throughput, &ranges)?;
        Ok(Some(Arc::clone(self.open.get_or_init(|| Arc::new(open)))))
    }

    async fn client(&self) -> Result<Arc<Client>> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }
        let made = Arc::new(Client::of(&self.options.place.account).await?);
        Ok(Arc::clone(client.insert(made)))
    }

    fn missing(&self) -> Error {
        Error::configuration("opening the container", "it does not exist")
            .with("container", self.options.place.name())
            .advise("create it, or let docferry do it with create = true")
    }

    async fn made(&self) -> Result<Arc<Open>> {
        if let Some(open) = self.open().await? {
            return Ok(open);
        }
        if !self.options.create {
            return Err(self.missing());
        }
        let place = &self.options.place;
        self.client().await?.create(&place.database, &place.container, &self.options.shape).await?;
        self.open().await?.ok_or_else(|| self.missing())
    }
}

impl Sink for CosmosSink {
    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities {
            order: Order::None,
            serial: false,
            keyed: true,
            transactional: false,
            marked: false,
            resumable: true,
            request_documents: self.options.request_documents,
            request_bytes: self.options.request_bytes,
        }
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            match self.open().await? {
                None if !self.options.create => Err(self.missing()),
                _ => Ok(()),
            }
        })
    }

    fn identity(&self) -> BoxFuture<'_, Result<Option<String>>> {
        Box::pin(async { Ok(self.open().await?.map(|open| open.container.identity())) })
    }

    fn place(&self) -> String {
        self.options.place.name()
    }

    fn prepare<'a>(&'a self, prepare: Prepare<'a>) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            let open = self.made().await?;
            let identity = open.container.identity();
            let is_own = prepare.previous.is_some_and(|previous| previous.fingerprint.target == identity);
            if !is_own && !prepare.overwrite && !open.is_empty().await? {
                let message = "the container holds documents that are not this job's";
                return Err(Error::configuration("preparing the target", message)
                    .with("container", self.options.place.name())
                    .advise("name another container, or write among them with --overwrite"));
            }
            Ok(identity)
        })
    }

    fn route(&self, document: &Document<'_>) -> Result<Route, String> {
        match self.open.get() {
            Some(open) => open.route(document),
            // There is no container yet, and no lane; what a document is told apart by is known from the settings. The container may have
            // another key all the same, so nothing is noted.
            None => route(document, self.planned.as_ref().map_err(Clone::clone)?, &self.options)
                .map(|place| Route { note: None, ..place.route(0) }),
        }
    }

    fn lanes(&self) -> Vec<Arc<dyn Lane>> {
        let Some(open) = self.open.get() else { return Vec::new() };
        let states = open.states.read().unwrap_or_else(PoisonError::into_inner);
        let lane = |state: &Arc<LaneState>| CosmosLane { open: Arc::clone(open), state: Arc::clone(state) };
        states.iter().map(|state| Arc::new(lane(state)) as _).collect()
    }

    fn layout(&self) -> String {
        settings::layout(self.options.mode, self.options.on_lossy_number)
    }

    fn flush<'a>(&'a self, _checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn finish(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn read_back(&self) -> Option<Box<dyn Source>> {
        let is_kept = self.options.mode != Mode::Delete;
        is_kept.then(|| Box::new(CosmosSource::new(self.options.place.clone())) as _)
    }

    fn not_read_back(&self) -> &'static str {
        "with mode = \"delete\" nothing of what was moved is there to be compared"
    }

    fn throughput(&self) -> Option<f64> {
        let open = self.open.get()?;
        let cap = self.options.max_ru.and_then(|max| max.cap(open.throughput).ok());
        match (cap, open.throughput) {
            (Some(cap), Some(throughput)) => Some(cap.min(throughput)),
            (cap, throughput) => cap.or(throughput),
        }
    }

    fn charges(&self) -> Vec<LaneCharge> {
        let Some(open) = self.open.get() else { return Vec::new() };
        let states = open.states.read().unwrap_or_else(PoisonError::into_inner);
        let charge = |state: &Arc<LaneState>| {
            let LaneCharge { request_units, budget } = open.pace.charge(state.id);
            LaneCharge { request_units, budget: budget.filter(|_| open.is_open(state.id)) }
        };
        states.iter().map(charge).collect()
    }

    fn look(&self) -> Option<String> {
        let place = &self.options.place;
        let uri = format!("cosmos://{}", place.name());
        let is_local = place.account == Account::Local;
        is_local.then(|| format!("docferry migrate --quiet --limit 5 --from {} --to -", word(&uri)))
    }

    fn notice(&self) -> Option<String> {
        let is_new =
            self.open.get().is_some_and(|open| open.bulk.is_broken() && !open.told.swap(true, Relaxed));
        is_new.then(|| {
            "this endpoint does not know bulk requests; each document is sent on its own, which costs far more time".to_owned()
        })
    }

    fn as_held(&self, document: &[u8], out: &mut Vec<u8>) -> bool {
        write_held(document, self.options.on_lossy_number, out);
        true
    }
}

impl Open {
    fn new(
        container: Container,
        definition: PartitionKeyDefinition,
        options: Arc<TargetOptions>,
        throughput: Option<f64>,
        ranges: &[Range],
    ) -> Result<Self> {
        let cap = options.max_ru.map(|max| max.cap(throughput)).transpose()?;
        let open = Self {
            container,
            options,
            pace: Pace::new(cap),
            throughput,
            bulk: Trial::default(),
            definition,
            lanes: RwLock::default(),
            states: RwLock::default(),
            refreshing: Mutex::default(),
            refreshed: AtomicU64::new(0),
            told: AtomicBool::new(false),
        };
        open.take_over(ranges)?;
        Ok(open)
    }

    fn take_over(&self, ranges: &[Range]) -> Result<()> {
        // One after the other, and the lanes last: a route never names a lane that `lanes` does not list.
        let mut states = self.states.write().unwrap_or_else(PoisonError::into_inner);
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        let added = lanes.update(ranges)?;
        for of_one_parent in added.chunk_by(|one, other| one.parent == other.parent) {
            let budget = self.throughput.map(|throughput| throughput / ranges.len() as f64);
            match of_one_parent[0].parent {
                Some(parent) => self.pace.split(parent, of_one_parent.len() as u32),
                None => of_one_parent.iter().for_each(|_| self.pace.open(budget)),
            }
        }
        for Added { id, .. } in added {
            let lane = LaneState::new(states.len() as LaneId, self.container.door(&id)?);
            states.push(Arc::new(lane));
        }
        Ok(())
    }

    /// Asks which physical partitions there are now. Of many who found one divided, one asks.
    pub(super) async fn refresh(&self) -> Result<()> {
        let before = self.refreshed.load(Relaxed);
        let _one = self.refreshing.lock().await;
        if self.refreshed.load(Relaxed) != before {
            return Ok(());
        }
        let ranges = self.container.ranges(true).await?;
        self.take_over(&ranges)?;
        self.refreshed.fetch_add(1, Relaxed);
        Ok(())
    }

    pub(super) fn is_open(&self, lane: LaneId) -> bool {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner).is_open(lane)
    }

    pub(super) fn encoder(&self) -> Encoder {
        self.options.encoder
    }

    /// A document as it goes into a request.
    pub(super) fn item<'a>(&self, document: &Document<'a>) -> Result<Item<'a>> {
        let lost = |reason: String| Error::internal("writing to Cosmos", reason);
        let verb = verb(document, self.options.mode);
        let id = match verb {
            Verb::Upsert | Verb::Create => None,
            Verb::Replace | Verb::Delete => Some(document.id("id").map_err(lost)?.characters),
        };
        let key = Key::of(document, &self.definition, self.options.on_lossy_number)?;
        Ok(Item { verb, key, id, bytes: document.bytes })
    }

    /// Where a document goes, or why Cosmos would never take it.
    fn route(&self, document: &Document<'_>) -> Result<Route, String> {
        let placed = route(document, &self.definition, &self.options)?;
        let lane = self.lanes.read().unwrap_or_else(PoisonError::into_inner).lane(&placed.place);
        Ok(placed.route(lane))
    }

    /// Whether what the container holds is what was sent.
    pub(super) fn is_equal(&self, sent: &[u8], held: &[u8]) -> bool {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        write_held(sent, self.options.on_lossy_number, &mut ours);
        write_comparable(held, &mut theirs);
        ours == theirs
    }

    async fn is_empty(&self) -> Result<bool> {
        for range in self.container.ranges(false).await? {
            let mut pages = self.container.pages(&range, None, NonZeroU32::new(1)).await?;
            while let Some(documents) = pages.next().await? {
                if !documents.is_empty() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// A document's place among all others.
struct Placed {
    place: Epk,
    identity: u64,
    note: Option<NonZeroU16>,
}

impl Placed {
    fn route(&self, lane: LaneId) -> Route {
        Route { lane, identity: self.identity, note: self.note }
    }
}

/// What is done to a document.
fn verb(document: &Document<'_>, mode: Mode) -> Verb {
    match (document.operation, mode) {
        (Operation::Delete, _) | (_, Mode::Delete) => Verb::Delete,
        (_, Mode::Upsert) => Verb::Upsert,
        (_, Mode::Insert) => Verb::Create,
        (_, Mode::Replace) => Verb::Replace,
    }
}

/// Where a document belongs, or why Cosmos would never take it.
fn route(
    document: &Document<'_>,
    definition: &PartitionKeyDefinition,
    options: &TargetOptions,
) -> Result<Placed, String> {
    let id = limits::id(document)?;
    if verb(document, options.mode) != Verb::Upsert {
        limits::address(&id)?;
    }
    let field = |name: &str| document.field(name);
    let only = definition.only_value(field);
    let key = match only {
        Some(raw) => Key::of_value(raw, options.on_lossy_number),
        None => Key::by(definition, field, options.on_lossy_number),
    };
    let key =
        key.map_err(|error| format!("partition key: {error} (see on_lossy_number)"))?.into_partition_key();
    limits::key(&key, definition)?;
    if options.mode != Mode::Delete {
        limits::content(document, options.on_lossy_number)?;
    }
    let place = definition.epk(&key);
    let identity = xxh3_64_with_seed(id.characters.as_bytes(), xxh3_64(place.as_bytes()));
    Ok(Placed { place, identity, note: bulk::note(document.bytes, only) })
}

/// Appends the document in the form in which it is compared with what the container holds.
fn write_held(document: &[u8], on_lossy: OnLossyNumber, out: &mut Vec<u8>) {
    let mut sent = Vec::with_capacity(document.len());
    bulk::write_document(document, on_lossy, &mut sent);
    write_comparable(&sent, out);
}

/// Appends what two texts of a document have in common after one went through Cosmos. The service's own fields are not part of it, whatever was
/// sent under their names: the service writes them anew.
fn write_comparable(document: &[u8], out: &mut Vec<u8>) {
    let mut comparable = Vec::with_capacity(document.len());
    numbers::write_comparable(document, &mut comparable);
    // Last, as names have no escapes then.
    system::write_without(&comparable, &mut Index::default(), out);
}

/// Whether the endpoint knows bulk requests: the first answer tells.
#[derive(Debug, Default)]
pub(super) struct Trial(AtomicU8);

const UNTRIED: u8 = 0;
const PROVEN: u8 = 1;
const BROKEN: u8 = 2;

impl Trial {
    pub(super) fn is_proven(&self) -> bool {
        self.0.load(Relaxed) == PROVEN
    }

    pub(super) fn is_broken(&self) -> bool {
        self.0.load(Relaxed) == BROKEN
    }

    pub(super) fn proved(&self) {
        let _ = self.0.compare_exchange(UNTRIED, PROVEN, Relaxed, Relaxed);
    }

    pub(super) fn failed(&self) {
        let _ = self.0.compare_exchange(UNTRIED, BROKEN, Relaxed, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::cosmos::Place;
    use crate::model::partition_key::{Kind, Version};

    fn held(document: &str) -> String {
        let mut out = Vec::new();
        write_held(document.as_bytes(), OnLossyNumber::String, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_key_that_no_double_holds_is_refused_with_what_helps() {
        let place = Place { account: Account::Local, database: "d".to_owned(), container: "c".to_owned() };
        let mut options = TargetOptions::new(place);
        let paths = vec!["/k".to_owned()];
        let definition = PartitionKeyDefinition::new(paths, Kind::Hash, Version::V2).unwrap();
        let document = Document { bytes: br#"{"id":"a","k":1e400}"#, ..Document::default() };
        options.on_lossy_number = OnLossyNumber::Keep;
        let refused = route(&document, &definition, &options).err().unwrap();
        assert!(refused.ends_with("the number is too large for a double (see on_lossy_number)"), "{refused}");
        options.on_lossy_number = OnLossyNumber::String;
        assert!(route(&document, &definition, &options).is_ok());
    }

    #[test]
    fn what_the_service_writes_anew_is_not_compared() {
        let exported = r#"{"id":"a","n":1.10,"_rid":"x==","_self":"s","_etag":"\"e\"","\u005fts":1e400,"_attachments":"a/","_own":1}"#;
        assert_eq!(held(exported), r#"{"id":"a","n":1.1,"_own":1}"#);
    }
}
