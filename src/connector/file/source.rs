//! Files as a source.
//!
//! What there is to read is found out once, by whoever asks first, and kept: a file that appears during the run belongs to
//! the next run. Calls that may wait for a disk run on the runtime's blocking threads, one a batch, so that a slow disk
//! holds up nobody else.

use crate::connector::file::cursor::{Cursor, Scope};
use crate::connector::file::fingerprint::fingerprint;
use crate::connector::file::format::{Compression, Format};
use crate::connector::file::locate::LineCounts;
use crate::connector::file::names::input_name;
use crate::connector::file::plan::{Cut, Given, Input, Place, Plan, Reading, Slice};
use crate::connector::file::seen::refuse_change;
use crate::connector::file::streams;
use crate::connector::source::{Reader, Source, SourceCapabilities};
use crate::error::{Error, Result};
use crate::model::batch::{BatchLimit, Next};
use crate::model::partition::{Partition, Stretch};
use crate::model::position_id::write_position_id;
use crate::model::{BoxFuture, blocking};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;

/// Files, or what stands for them.
#[derive(Debug)]
pub(super) struct FileSource {
    reading: Arc<Reading>,
    plan: OnceCell<Plan>,
    /// Per path.
    line_counts: Mutex<HashMap<PathBuf, Arc<LineCounts>>>,
}

impl FileSource {
    /// A source with these settings. Nothing is opened.
    pub(super) fn new(reading: Reading) -> Self {
        Self { reading: Arc::new(reading), plan: OnceCell::new(), line_counts: Mutex::default() }
    }

    async fn plan(&self) -> Result<&Plan> {
        let make = || {
            let reading = Arc::clone(&self.reading);
            blocking("finding the source", move || Plan::new(&reading))
        };
        self.plan.get_or_try_init(make).await
    }

    fn slice(&self, partition: &Partition) -> Option<&Slice> {
        self.plan.get()?.slices.get(&partition.id)
    }

    /// The number of the line, from 1, if it is counted.
    fn line(&self, slice: &Slice, ordinal: u64) -> Option<u64> {
        let before =
            match (&slice.input.place, slice.input.length.and_then(|length| self.reading.cut.step(length))) {
                (Place::File(path), Some(step)) if slice.start > 0 => {
                    let mut all = self.line_counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    let counts = Arc::clone(all.entry(path.clone()).or_default());
                    drop(all);
                    counts.before(path, slice, step)?
                }
                _ => 0,
            };
        Some(before + ordinal + 1)
    }
}

impl Source for FileSource {
    fn capabilities(&self) -> SourceCapabilities {
        let once_only = |given: &Given| match given {
            Given::StandardInput => true,
            Given::Bundled(..) => false,
            // A pipe, a terminal: what has been read is gone.
            Given::Path(path) => fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()),
        };
        SourceCapabilities {
            resumable: !self.reading.given.iter().any(once_only),
            ordered: self.reading.is_ordered,
        }
    }

    fn check(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async {
            let inputs: Vec<_> = self.plan().await?.inputs.iter().map(Arc::clone).collect();
            let cut = self.reading.cut;
            blocking("looking at the source", move || {
                inputs.iter().map(|input| describe(input, cut)).collect()
            })
            .await
        })
    }

    fn partitions(&self) -> BoxFuture<'_, Result<Vec<Partition>>> {
        Box::pin(async { Ok(self.plan().await?.partitions.clone()) })
    }

    fn open<'a>(
        &'a self,
        partition: &'a Partition,
        stretch: Stretch,
    ) -> BoxFuture<'a, Result<Box<dyn Reader>>> {
        Box::pin(async move {
            self.plan().await?;
            let unknown = || Error::internal("opening a partition", "the source has no such partition");
            let slice =
                self.slice(partition).ok_or_else(|| unknown().with("partition", &partition.id))?.clone();
            let input = Arc::clone(&slice.input);
            let cursor = blocking("opening a partition", move || open(&slice, &stretch)).await?;
            Ok(Box::new(FileReader { input, cursor: Some(Box::new(cursor)) }) as Box<dyn Reader>)
        })
    }

    fn is_target(&self, place: &str, _identity: &str) -> bool {
        let Ok(target) = fs::canonicalize(place) else { return false };
        let inputs = self.plan.get().map(|plan| plan.inputs.as_slice()).unwrap_or_default();
        // Parts written among the inputs could take the place of one.
        let reads = |path: &Path| {
            let same_path =
                fs::canonicalize(path).is_ok_and(|path| path == target || path.parent() == Some(&target));
            same_path || is_hard_link(path, &target)
        };
        inputs.iter().any(|input| matches!(&input.place, Place::File(path) if reads(path)))
    }

    fn locate(&self, partition: &Partition, at: u64, ordinal: u64) -> String {
        let Some(slice) = self.slice(partition) else { return format!("{}, byte {at}", partition.id) };
        let file = &slice.input.shown;
        match slice.input.format.get() {
            Some(Format::Array) => format!("{file}, element {}, byte {at}", ordinal + 1),
            _ => match self.line(slice, ordinal) {
                Some(line) => format!("{file}, line {line}, byte {at}"),
                None => format!("{file}, byte {at}"),
            },
        }
    }

    fn position_id(&self, partition: &Partition, at: u64, out: &mut String) {
        write_position_id(input_name(&partition.id.0), at, out);
    }
}

fn open(slice: &Slice, stretch: &Stretch) -> Result<Cursor> {
    let from = stretch.from.at;
    refuse_change(&slice.input)?;
    let opened = streams::open(slice, from)?;
    let until = stretch.until.as_ref().map(|until| until.at);
    let scope = Scope {
        file: slice.input.shown.clone(),
        compression: opened.compression,
        ordinal: stretch.from.ordinal,
        until: until.into_iter().chain(slice.end).min(),
    };
    Ok(Cursor::new(scope, opened.feed, opened.split))
}

/// One line that changes when the input does, or when it would be cut into other partitions: a position of one cut means nothing in
/// another. How a path was spelled is no change.
fn describe(input: &Input, cut: Cut) -> Result<String> {
    let format = input.format.get().map_or("auto", |format| format.as_str());
    let compression = input.compression.map_or("auto", Compression::as_str);
    let cut = match (input.plain_format(), input.length.and_then(|length| cut.step(length))) {
        (Some(Format::Lines), Some(bytes)) => format!("cut every {bytes} bytes"),
        _ => String::from("whole"),
    };
    let hash = match (&input.place, input.length) {
        (Place::File(path), Some(length)) => {
            File::open(path).and_then(|mut file| fingerprint(&mut file, length))
        }
        (Place::Bundled(bytes), Some(length)) => fingerprint(&mut io::Cursor::new(*bytes), length),
        _ => return Ok(input.name.clone()),
    };
    let hash = hash.map_err(|cause| {
        Error::configuration("looking at the source", "the file cannot be read")
            .with("path", &input.shown)
            .caused_by(cause)
    })?;
    let length = input.length.unwrap_or_default();
    Ok(format!("{}, {length} bytes, hash {hash}, {format}, compression {compression}, {cut}", input.name))
}

/// A cursor that is taken along to a blocking thread for every batch.
struct FileReader {
    input: Arc<Input>,
    cursor: Option<Box<Cursor>>,
}

impl Reader for FileReader {
    fn next(&mut self, limit: BatchLimit) -> BoxFuture<'_, Result<Next>> {
        Box::pin(async move {
            const READING: &str = "reading the source";
            let mut cursor = self
                .cursor
                .take()
                .ok_or_else(|| Error::internal(READING, "an earlier read was broken off"))?;
            let input = Arc::clone(&self.input);
            let (cursor, next) = blocking(READING, move || {
                let next = cursor.next(limit);
                // What looks like an end, or like damage, may be somebody's work.
                let is_last = matches!(next, Ok(Next::End) | Err(_));
                let unchanged = if is_last { refuse_change(&input) } else { Ok(()) };
                Ok((cursor, unchanged.and(next)))
            })
            .await?;
            self.cursor = Some(cursor);
            next
        })
    }
}

/// Whether two paths lead to one file by different names that no resolving of paths makes equal.
#[cfg(unix)]
fn is_hard_link(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_hard_link(_one: &Path, _other: &Path) -> bool {
    false
}
