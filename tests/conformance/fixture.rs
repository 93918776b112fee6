//! What the suite is run on, and how it reads and writes.
//!
//! A fixture is made from settings, as a user would give them; `{folder}` in a value is a folder of the test's own. An [`Origin`]
//! is a source that is known to hold certain documents: [`written`] fills it through the same connector's sink. A [`Target`]
//! is where a sink may write. Both come as futures, because filling one takes time.

#[cfg(feature = "cosmos")]
use docferry::connector::cosmos::{
    Account, CosmosSink, CosmosSource, Encoder, Place, Secret, Shape, TargetOptions,
};
use docferry::connector::registry::find;
use docferry::connector::{Prepare, Reader, Sink, Source, Start};
use docferry::connector::{memory::MemorySource, null::NullSource};
use docferry::error::Result;
use docferry::model::batch::{Batch, BatchLimit, Next};
use docferry::model::checkpoint::{CHECKPOINT_VERSION, Checkpoint, JobFingerprint};
use docferry::model::document::Documents;
use docferry::model::partition::{Partition, PartitionId, Position, Stretch};
use docferry::model::request::{LaneId, Outcome, Request, Segment};
use docferry::model::settings::{Origin as From, Section, Setting, Value};
use std::collections::{BTreeMap, HashSet};
use std::future::{Ready, ready};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) const ROOMY: BatchLimit = BatchLimit { documents: 1000, bytes: 1 << 20, max_document: 1 << 20 };

type Settings = &'static [(&'static str, &'static str)];

/// A source that holds `documents`, in this order over its partitions.
pub(crate) struct Origin {
    pub(crate) documents: Vec<Vec<u8>>,
    /// Makes the source anew, over the same content.
    pub(crate) open: Box<dyn Fn() -> Box<dyn Source>>,
    _folder: TempDir,
}

/// A place that a sink may write to.
pub(crate) struct Target {
    /// Makes the sink anew, over the same content.
    pub(crate) open: Box<dyn Fn() -> Box<dyn Sink>>,
    pub(crate) folder: TempDir,
}

/// A source of the connector `name`, filled through the sink of that connector.
pub(crate) async fn written(name: &'static str, target_settings: Settings, settings: Settings) -> Origin {
    let target = target(name, target_settings).await;
    let documents = documents();
    let sink = (target.open)();
    prepare(&*sink, "filling", Start::Fresh, None).await.unwrap();
    send_all(&*sink, &documents).await;
    sink.flush(&checkpoint(&*sink, "filling").await).await.unwrap();
    sink.finish().await.unwrap();
    let folder = target.folder;
    let path = folder.path().to_owned();
    let open = Box::new(move || {
        let mut section = section(settings, &path);
        let source = find(name).unwrap().source.unwrap()(&mut section);
        assert_eq!(section.finish().1, []);
        source.unwrap()
    });
    Origin { documents, open, _folder: folder }
}

/// Documents in this process, in partitions of which one is empty.
pub(crate) fn given() -> Ready<Origin> {
    let documents = documents();
    let copy = documents.clone();
    let open = Box::new(move || {
        let (first, rest) = copy.split_at(70);
        Box::new(MemorySource::given([first.to_vec(), Vec::new(), rest.to_vec()])) as Box<dyn Source>
    });
    ready(Origin { documents, open, _folder: TempDir::new().unwrap() })
}

pub(crate) fn null() -> Ready<Origin> {
    let document = br#"{"id":"x"}"#;
    let open = Box::new(|| Box::new(NullSource::new(100, document)) as Box<dyn Source>);
    ready(Origin { documents: vec![document.to_vec(); 100], open, _folder: TempDir::new().unwrap() })
}

/// A table without a document column, with gaps between row ids and ranges without a row.
pub(crate) fn sqlite_rows() -> Ready<Origin> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("rows.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("BEGIN; CREATE TABLE \"o/r\" (name TEXT, size REAL, more)").unwrap();
    let mut documents = Vec::new();
    for row in (0..150_i64).map(|row| row * row) {
        let (name, text) = (format!("né\"{row}"), "x".repeat(row as usize % 700));
        let insert = "INSERT INTO \"o/r\" (rowid, name, size, more) VALUES (?1, ?2, ?3, ?4)";
        connection.execute(insert, rusqlite::params![row, name, 0.5, text]).unwrap();
        let document = serde_json::json!({"name": name, "size": 0.5, "more": text});
        documents.push(document.to_string().into_bytes());
    }
    connection.execute_batch("COMMIT").unwrap();
    let open = Box::new(move || {
        let mut section =
            section(&[("partition_rows", "3000"), ("path", "{folder}/rows.db")], path.parent().unwrap());
        find("sqlite").unwrap().source.unwrap()(&mut section).unwrap()
    });
    ready(Origin { documents, open, _folder: folder })
}

/// A container of a local endpoint that lives as long as the test.
#[cfg(feature = "cosmos")]
pub(crate) async fn cosmos(settings: &[(&str, &str)]) -> Target {
    let (options, running) = endpoint(settings).await;
    let open = Box::new(move || {
        let _ = &running;
        Box::new(CosmosSink::new(options.clone())) as Box<dyn Sink>
    });
    Target { open, folder: TempDir::new().unwrap() }
}

/// What a container holds, in the order in which it gives it back.
#[cfg(feature = "cosmos")]
pub(crate) async fn cosmos_written() -> Origin {
    let (options, running) = endpoint(&[("partition_key", "/year")]).await;
    let place = options.place.clone();
    let sink = CosmosSink::new(options);
    prepare(&sink, "filling", Start::Fresh, None).await.unwrap();
    send_all(&sink, &documents()).await;
    let source = CosmosSource::new(place.clone());
    let mut found = Vec::new();
    for partition in source.partitions().await.unwrap() {
        found.extend(read(&source, &partition, whole(&partition), ROOMY).await.bytes());
    }
    assert_eq!(held(&sink, found.clone()), held(&sink, documents()));
    let open = Box::new(move || {
        let _ = &running;
        Box::new(CosmosSource::new(place.clone())) as Box<dyn Source>
    });
    Origin { documents: found, open, _folder: TempDir::new().unwrap() }
}

#[cfg(feature = "cosmos")]
async fn endpoint(settings: &[(&str, &str)]) -> (TargetOptions, docferry::emulator::Running) {
    // A budget that no test here spends.
    let options = docferry::emulator::Options { throughput: 1_000_000_000, ..Default::default() };
    let running = docferry::emulator::Emulator::start(options).await.unwrap();
    let key = Secret::new(docferry::emulator::WELL_KNOWN_KEY);
    let account = Account::Remote { endpoint: running.endpoint(), key: Some(key) };
    let place = Place { account, database: "d".to_owned(), container: "c".to_owned() };
    let keys =
        settings.iter().filter(|(name, _)| *name == "partition_key").map(|(_, path)| (*path).to_owned());
    let shape = Shape { partition_key: keys.collect(), ..Shape::default() };
    let encoder = if settings.contains(&("encoder", "point")) { Encoder::Point } else { Encoder::Auto };
    (TargetOptions { create: true, shape, encoder, ..TargetOptions::new(place) }, running)
}

/// A target of the connector `name`.
pub(crate) fn target(name: &'static str, settings: Settings) -> Ready<Target> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_owned();
    let open = Box::new(move || {
        let mut section = section(settings, &path);
        let sink = find(name).unwrap().sink.unwrap()(&mut section);
        assert_eq!(section.finish().1, []);
        sink.unwrap()
    });
    ready(Target { open, folder })
}

fn section(settings: &[(&str, &str)], folder: &Path) -> Section {
    let setting = |value: &str| {
        let text = value.replace("{folder}", folder.to_str().unwrap());
        Setting { value: Value::Text(text), origin: From::BuiltIn }
    };
    let entries = settings.iter().map(|(name, value)| ((*name).to_owned(), setting(value))).collect();
    Section::new("fixture", From::BuiltIn, entries)
}

/// Documents that are easily changed by accident: number text, escapes, key order, and every twentieth a large one.
pub(crate) fn documents() -> Vec<Vec<u8>> {
    (0..150).map(|number| document(number, "first")).collect()
}

/// A version of document `number`.
pub(crate) fn document(number: usize, version: &str) -> Vec<u8> {
    let padding = "é".repeat(if number % 20 == 7 { 2000 } else { number % 9 });
    let year = 1990 + number % 30;
    format!(
        r#"{{"z":1.10,"id":"d-{number}","year":{year},"$v":"{version}","Id":{{"a":[[1e3],[]]}},"t":"\u00e9{padding}"}}"#
    )
    .into_bytes()
}

/// What reading gave.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// Place, records before it, bytes.
    pub(crate) documents: Vec<(u64, u64, Vec<u8>)>,
    /// Place, length, reason.
    pub(crate) rejects: Vec<(u64, u64, String)>,
}

impl Seen {
    pub(crate) fn add(&mut self, from: u64, batch: &Batch) {
        for (index, span) in batch.documents.spans.iter().enumerate() {
            let ordinal = from + u64::from(span.ordinal);
            self.documents.push((span.at, ordinal, batch.documents.bytes(index).to_vec()));
        }
        self.rejects
            .extend(batch.rejects.iter().map(|reject| (reject.at, reject.length, reject.reason.clone())));
    }

    pub(crate) fn bytes(&self) -> Vec<Vec<u8>> {
        self.documents.iter().map(|(_, _, bytes)| bytes.clone()).collect()
    }
}

/// The next batch, with more room if the reader asks for it; `None` at the end.
pub(crate) async fn next(reader: &mut dyn Reader, limit: BatchLimit) -> Option<Batch> {
    match reader.next(limit).await.unwrap() {
        Next::Batch(batch) => Some(batch),
        Next::End => None,
        Next::Grow(bytes) => {
            assert!(bytes > limit.bytes, "asked for {bytes} with {} at hand", limit.bytes);
            match reader.next(BatchLimit { bytes, ..limit }).await.unwrap() {
                Next::Batch(batch) => Some(batch),
                other => panic!("with the room it asked for the reader answered {other:?}"),
            }
        }
    }
}

/// A stretch from its beginning to its end.
pub(crate) async fn read(
    source: &dyn Source,
    partition: &Partition,
    stretch: Stretch,
    limit: BatchLimit,
) -> Seen {
    let mut from = stretch.from.ordinal;
    let mut reader = source.open(partition, stretch).await.unwrap();
    let mut seen = Seen::default();
    while let Some(batch) = next(&mut *reader, limit).await {
        seen.add(from, &batch);
        from = batch.to.ordinal;
    }
    seen
}

pub(crate) fn whole(partition: &Partition) -> Stretch {
    Stretch { from: partition.start.clone(), until: None }
}

/// What the target holds, sorted; `None` if it cannot be read back.
pub(crate) async fn contents(sink: &dyn Sink) -> Option<Vec<Vec<u8>>> {
    let source = sink.read_back()?;
    let mut documents = Vec::new();
    for partition in source.partitions().await.unwrap() {
        let seen = read(&*source, &partition, whole(&partition), ROOMY).await;
        assert_eq!(seen.rejects, [], "inconsistent in itself");
        documents.extend(seen.bytes());
    }
    Some(held(sink, documents))
}

/// Documents as this target holds them, sorted.
pub(crate) fn held(sink: &dyn Sink, documents: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let as_held = |document: Vec<u8>| {
        let mut held = Vec::new();
        if sink.as_held(&document, &mut held) { held } else { document }
    };
    let mut documents: Vec<_> = documents.into_iter().map(as_held).collect();
    documents.sort();
    documents
}

pub(crate) async fn prepare(
    sink: &dyn Sink,
    run: &str,
    start: Start,
    previous: Option<&Checkpoint>,
) -> Result<String> {
    let partitions = [partition()];
    let prepare = Prepare { job: "job", run, partitions: &partitions, start, previous, overwrite: false };
    sink.prepare(prepare).await
}

/// The partition that every document is said to come from.
pub(crate) fn partition() -> Partition {
    Partition { id: PartitionId("p".to_owned()), start: Position::default(), bytes: None, documents: None }
}

/// A checkpoint of all that was sent so far.
pub(crate) async fn checkpoint(sink: &dyn Sink, run: &str) -> Checkpoint {
    let target = sink.identity().await.unwrap().unwrap();
    Checkpoint {
        version: CHECKPOINT_VERSION,
        job: "job".to_owned(),
        run: run.to_owned(),
        generation: 3,
        fingerprint: JobFingerprint { target, ..JobFingerprint::default() },
        target_state: sink.mark().unwrap(),
        ..Checkpoint::default()
    }
}

/// Routes documents and cuts them into requests as the engine does: a lane's documents in order, within the sink's
/// limits, no identity twice in one.
pub(crate) fn requests(sink: &dyn Sink, documents: &[Vec<u8>]) -> Vec<(LaneId, Request)> {
    let limits = sink.capabilities();
    let mut buffer = Documents::default();
    documents.iter().zip(0..).for_each(|(document, at)| buffer.push(document, at, at as u32));
    let buffer = Arc::new(buffer);
    let mut open: BTreeMap<LaneId, (Request, usize, HashSet<u64>)> = BTreeMap::new();
    let mut cut = Vec::new();
    for index in 0..buffer.len() {
        let route = sink.route(&buffer.get(0, index)).unwrap();
        let length = buffer.bytes(index).len();
        let (request, bytes, identities) = open.entry(route.lane).or_default();
        let is_full = request.len() >= limits.request_documents || *bytes + length > limits.request_bytes;
        let is_twice = limits.keyed && !identities.insert(route.identity);
        if !request.is_empty() && (is_full || is_twice) {
            cut.push((route.lane, std::mem::take(request)));
            *bytes = 0;
            *identities = HashSet::from([route.identity]);
        }
        let range = index as u32..index as u32 + 1;
        request.segments.push(Segment { documents: Arc::clone(&buffer), partition: 0, range });
        *bytes += length;
    }
    cut.extend(open.into_iter().map(|(lane, (request, _, _))| (lane, request)));
    cut
}

/// Sends documents one request after the other; all must be taken.
pub(crate) async fn send_all(sink: &dyn Sink, documents: &[Vec<u8>]) {
    let lanes = sink.lanes();
    for (lane, request) in requests(sink, documents) {
        assert_taken(&lanes[lane as usize].send(request).await.unwrap());
    }
}

/// Nothing of the request was refused or put off.
pub(crate) fn assert_taken(outcome: &Outcome) {
    assert!(
        outcome.rejected.is_empty() && outcome.retry.is_empty() && outcome.put_off.is_empty(),
        "{outcome:?}"
    );
}
