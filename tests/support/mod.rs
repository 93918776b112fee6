//! What the tests of the pipeline share: a run in this process, from a source in memory to any sink.
//!
//! A [`Trial`] holds what a run is made of; [`Trial::start`] starts it, [`Running::end`] waits for it and fails the test
//! when it takes longer than it may, so that a pipeline that locks up is a failure and not a silence.

use docferry::checkpoint::store::CheckpointStore;
use docferry::connector::memory::MemorySource;
use docferry::connector::{Prepare, Sink, Source, Start, registry};
use docferry::model::checkpoint::{CHECKPOINT_VERSION, Checkpoint};
use docferry::model::knobs::Knobs;
use docferry::model::meter::Meter;
use docferry::model::partition::Partition;
use docferry::model::settings::{Origin, Section, Setting, Value};
use docferry::model::units::MIB;
use docferry::pipeline::{Ended, Options, Parts, Pipeline, Stop};
use docferry::rejects::RejectLog;
use docferry::transform::Chain;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The knobs that the floor's figures are taken with.
pub(crate) const KNOBS: Knobs = Knobs {
    readers: 4,
    transformers: 2,
    requests_in_flight: 16,
    batch_documents: 2000,
    request_documents: 100,
    credit_bytes: 32 * MIB,
};

/// Whether the long forms were asked for.
pub(crate) fn is_long() -> bool {
    std::env::var_os("DOCFERRY_LONG_TESTS").is_some_and(|value| value == "1")
}

/// What a run is made of.
pub(crate) struct Trial {
    pub(crate) source: MemorySource,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) chain: Chain,
    pub(crate) knobs: Knobs,
    pub(crate) max_document: usize,
    /// The target may hold documents already.
    pub(crate) overwrite: bool,
    /// Documents read a second at most.
    pub(crate) max_rate: Option<f64>,
}

/// A run that goes on.
pub(crate) struct Running {
    pub(crate) knobs: watch::Sender<Knobs>,
    pub(crate) meter: Arc<Meter>,
    began: Instant,
    run: JoinHandle<Ended>,
    _folder: TempDir,
}

/// A run that has come to its end.
pub(crate) struct Done {
    pub(crate) ended: Ended,
    pub(crate) meter: Arc<Meter>,
    pub(crate) took: Duration,
}

impl Trial {
    pub(crate) fn new(source: MemorySource, sink: Arc<dyn Sink>) -> Self {
        Self {
            source,
            sink,
            chain: Chain::empty(),
            knobs: KNOBS,
            max_document: 16 * MIB as usize,
            overwrite: false,
            max_rate: None,
        }
    }

    /// Prepares the sink and starts the run.
    pub(crate) async fn start(self) -> Running {
        let folder = TempDir::new().unwrap();
        let partitions = self.source.partitions().await.unwrap();
        let first = self.prepare(&partitions).await;
        let (store, rejects) =
            (CheckpointStore::new(folder.path()), RejectLog::open(folder.path(), 0).unwrap());
        store.claim("run").unwrap();
        let (knobs, follow) = watch::channel(self.knobs);
        let meter = Arc::new(Meter::default());
        let parts = Parts {
            source: Arc::new(self.source),
            sink: self.sink,
            chain: Arc::new(self.chain),
            partitions,
            knobs: follow,
            meter: Arc::clone(&meter),
            stop: Arc::new(Stop::default()),
            options: Options {
                limit: None,
                max_rate: self.max_rate,
                max_document: self.max_document,
                checkpoint_interval: Duration::from_secs(1),
            },
            already_read: 0,
        };
        // Nobody listens to the events; the pipeline does not mind.
        let events = tokio::sync::mpsc::unbounded_channel().0;
        let pipeline = Pipeline::new(parts, first, store, rejects, events);
        Running { knobs, meter, began: Instant::now(), run: tokio::spawn(pipeline.run()), _folder: folder }
    }

    async fn prepare(&self, partitions: &[Partition]) -> Checkpoint {
        let prepare = Prepare {
            job: "job",
            run: "run",
            partitions,
            start: Start::Fresh,
            previous: None,
            overwrite: self.overwrite,
        };
        self.sink.prepare(prepare).await.unwrap();
        let (job, run) = ("job".to_owned(), "run".to_owned());
        let first =
            Checkpoint { version: CHECKPOINT_VERSION, job, run, generation: 1, ..Checkpoint::default() };
        self.sink.flush(&first).await.unwrap();
        first
    }
}

impl Running {
    /// Waits for the end, at most `limit`; every document must have met its end.
    pub(crate) async fn end(self, limit: Duration) -> Done {
        let (meter, began) = (Arc::clone(&self.meter), self.began);
        let ended = self.ended(limit).await;
        let took = began.elapsed();
        assert!(ended.stopped.is_none(), "{:?}", ended.stopped);
        assert_eq!(ended.counters.accounted(), ended.counters.read);
        assert_eq!(meter.credits.get(), 0, "credits were not given back");
        Done { ended, meter, took }
    }

    /// Waits for the end, whatever it is, at most `limit`.
    pub(crate) async fn ended(self, limit: Duration) -> Ended {
        let Self { meter, run, .. } = self;
        let Ok(ended) = tokio::time::timeout(limit, run).await else {
            let (read, accounted) = (meter.read.get(), meter.accounted.get());
            panic!(
                "not finished after {limit:?}: {read} read, {accounted} accounted for, {} credits",
                meter.credits.get()
            );
        };
        ended.unwrap()
    }
}

/// A section of settings, as a strategy file would give them.
pub(crate) fn section(settings: &[(&str, Value)]) -> Section {
    let setting = |value: &Value| Setting { value: value.clone(), origin: Origin::BuiltIn };
    let entries = settings.iter().map(|(name, value)| ((*name).to_owned(), setting(value))).collect();
    Section::new("test", Origin::BuiltIn, entries)
}

/// A chain with one step that sets fields.
pub(crate) fn setting_fields(fields: &[(&str, &str)]) -> Chain {
    let setting = |value: Value| Setting { value, origin: Origin::BuiltIn };
    let text = |(name, text): &(&str, &str)| ((*name).to_owned(), setting(Value::Text((*text).to_owned())));
    let set = setting(Value::Table(fields.iter().map(text).collect()));
    let step = setting(Value::Table(vec![("set".to_owned(), set)]));
    let mut section = section(&[("transform", Value::List(vec![step]))]);
    let chain = Chain::from_settings(&mut section);
    assert_eq!(section.finish().1, []);
    chain
}

/// One file as a target, in total order.
pub(crate) fn file_sink(path: &Path) -> Arc<dyn Sink> {
    let mut section = section(&[("path", Value::Text(path.to_str().unwrap().to_owned()))]);
    let sink = registry::find("file").unwrap().sink.unwrap()(&mut section);
    assert_eq!(section.finish().1, []);
    Arc::from(sink.unwrap())
}
