//! Files as a target.
//!
//! A path with an extension is one file in source order, so one lane takes everything, one request after the other. A path
//! without is a folder with a part for every source partition, and as many lanes. Either way the bytes are a function of the
//! documents: `mark` notes how far each file is, and a resume cuts it back to that.

use crate::connector::file::mark::Mark;
use crate::connector::file::part::{Part, Shared};
use crate::connector::file::plan::{Cut, Given, Reading};
use crate::connector::file::prepare::{PREPARING, Preparation, Prepared};
use crate::connector::file::sheet::Layout;
use crate::connector::file::source::FileSource;
use crate::connector::file::target::{Target, sync_folder_of};
use crate::connector::sink::{Lane, Order, Prepare, Sink, SinkCapabilities};
use crate::connector::source::Source;
use crate::error::{Error, Result};
use crate::model::checkpoint::Checkpoint;
use crate::model::document::Document;
use crate::model::partition::PartitionIndex;
use crate::model::request::{Outcome, Request, Route};
use crate::model::{BoxFuture, blocking};
use rayon::prelude::*;
use std::fs;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

/// A file, a folder of parts, or standard output.
#[derive(Debug)]
pub(super) struct FileSink {
    target: Target,
    shared: Arc<Shared>,
    layout: Layout,
    /// Set by `prepare`.
    open: OnceLock<Prepared>,
}

impl FileSink {
    /// A sink with these settings. Nothing is opened.
    pub(super) fn new(target: Target, layout: Layout) -> Self {
        Self { target, shared: Arc::new(Shared::new(layout)), layout, open: OnceLock::new() }
    }

    fn is_folder(&self) -> bool {
        matches!(self.target, Target::Folder { .. })
    }

    fn prepared(&self) -> Result<&Prepared> {
        self.open
            .get()
            .ok_or_else(|| Error::internal("writing the target", "the target has not been prepared"))
    }

    async fn on_all_parts(&self, work: fn(&Part) -> Result<()>) -> Result<()> {
        let Prepared { parts, .. } = self.prepared()?.clone();
        let (target, shared) = (self.target.clone(), Arc::clone(&self.shared));
        blocking("flushing the target", move || {
            parts.iter().try_for_each(|part| work(part))?;
            // After the files, so that a crash in between leaves no name without content.
            if shared.created.swap(false, Ordering::AcqRel) {
                match &target {
                    Target::Folder { path, .. } => {
                        sync_folder_of(&path.join("part"))?;
                        sync_folder_of(path)?;
                    }
                    Target::File(path) => sync_folder_of(path)?,
                    Target::StandardOutput => {}
                }
            }
            Ok(())
        })
        .await
    }
}

impl Sink for FileSink {
    fn capabilities(&self) -> SinkCapabilities {
        let is_stdout = self.target == Target::StandardOutput;
        SinkCapabilities {
            order: if self.is_folder() { Order::PerPartition } else { Order::Total },
            serial: true,
            keyed: false,
            transactional: false,
            marked: !is_stdout,
            resumable: !is_stdout,
            request_documents: usize::MAX,
            request_bytes: usize::MAX,
        }
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        let target = self.target.clone();
        Box::pin(blocking("checking the target", move || target.check()))
    }

    fn layout(&self) -> String {
        match &self.target {
            Target::Folder { extension, .. } => format!("{:?} extension {extension}", self.layout),
            _ => format!("{:?}", self.layout),
        }
    }

    fn identity(&self) -> BoxFuture<'_, Result<Option<String>>> {
        let target = self.target.clone();
        Box::pin(blocking("checking the target", move || {
            let is_there = target.path().is_none_or(|path| fs::metadata(path).is_ok());
            let absolute = is_there.then(|| target.absolute()).transpose();
            absolute.map_err(|cause| Error::io("checking the target", cause))
        }))
    }

    fn place(&self) -> String {
        // Where the folder cannot be asked, `check` has refused the target already.
        self.target.absolute().unwrap_or_default()
    }

    fn prepare<'a>(&'a self, prepare: Prepare<'a>) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            let preparation = Preparation {
                target: self.target.clone(),
                shared: Arc::clone(&self.shared),
                start: prepare.start,
                overwrite: prepare.overwrite,
                partitions: prepare.partitions.len(),
                target_state: prepare
                    .previous
                    .map(|previous| previous.target_state.clone())
                    .unwrap_or_default(),
                is_finished: prepare.previous.is_some_and(|previous| previous.finished),
            };
            let prepared = blocking(PREPARING, move || preparation.run()).await?;
            let path = prepared.path.clone();
            let twice = |_| Error::internal(PREPARING, "the target has been prepared before");
            self.open.set(prepared).map_err(twice)?;
            Ok(path)
        })
    }

    fn route(&self, document: &Document<'_>) -> Result<Route, String> {
        let lane = if self.is_folder() { document.partition } else { 0 };
        Ok(Route { lane, ..Route::default() })
    }

    fn lanes(&self) -> Vec<Arc<dyn Lane>> {
        let parts = self.open.get().map(|prepared| prepared.parts.iter()).into_iter().flatten();
        parts.map(|part| Arc::new(PartLane { part: Arc::clone(part) }) as Arc<dyn Lane>).collect()
    }

    fn mark(&self) -> Result<serde_json::Value> {
        let Prepared { path, parts, names, .. } = self.prepared()?;
        if self.target == Target::StandardOutput {
            return Ok(serde_json::Value::Null);
        }
        let mut mark = Mark { path: path.clone(), parts: Default::default() };
        for (part, name) in parts.iter().zip(names.iter()) {
            if let Some(noted) = part.mark()? {
                mark.parts.insert(name.clone(), noted);
            }
        }
        serde_json::to_value(mark).map_err(|cause| Error::internal("noting the target", "").caused_by(cause))
    }

    fn flush<'a>(&'a self, _checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.on_all_parts(Part::sync))
    }

    fn end_partitions<'a>(&'a self, partitions: &'a [PartitionIndex]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            let Prepared { parts, .. } = self.prepared()?;
            let parts = partitions.iter().filter_map(|partition| parts.get(*partition as usize));
            let parts: Vec<Arc<Part>> = match self.is_folder() {
                true => parts.map(Arc::clone).collect(),
                false => return Ok(()),
            };
            // Each packs one frame more; of small partitions that is all there is to pack.
            blocking("ending parts of the target", move || parts.par_iter().try_for_each(|part| part.end()))
                .await
        })
    }

    fn finish(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.on_all_parts(Part::finish))
    }

    fn read_back(&self) -> Option<Box<dyn Source>> {
        self.target.path()?;
        let files = self.target.readable().ok()?;
        let given = files.into_iter().map(|path| path.to_str().map(|path| Given::Path(path.to_owned())));
        let reading = Reading {
            given: given.collect::<Option<_>>()?,
            format: Some(self.layout.format),
            compression: Some(self.layout.compression),
            cut: Cut::BySize,
            is_ordered: false,
        };
        Some(Box::new(FileSource::new(reading)))
    }
}

/// One part, taking requests.
struct PartLane {
    part: Arc<Part>,
}

impl Lane for PartLane {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(async move {
            let part = Arc::clone(&self.part);
            let turn = part.turn();
            let extent = blocking("writing the target", move || part.append(turn, &request)).await?;
            // Only now: had this future been dropped, the request would count as never sent.
            self.part.accept(extent);
            Ok(Outcome::default())
        })
    }
}
