//! A table as a source: pages of rows by row id, each reader with a read-only connection of its own.
//!
//! A page is one query from the position on, so nothing stays open between two batches: the log of a database that is being written
//! can be moved meanwhile, and a reader that was not asked again holds nothing.

use crate::connector::source::{Reader, Source, SourceCapabilities};
use crate::connector::sqlite::columns::Extract;
use crate::connector::sqlite::connection::{failure, find_file, open_to_look, open_to_read};
use crate::connector::sqlite::plan::{Layout, Plan};
use crate::connector::sqlite::{SourceOptions, TargetOptions, in_table, rows};
use crate::error::{Error, ErrorKind, Result};
use crate::model::batch::{Batch, BatchLimit, Next};
use crate::model::document::{Operation, Span};
use crate::model::partition::{Partition, Position, Stretch};
use crate::model::position_id::write_position_id;
use crate::model::reject::{Reject, RejectedBy};
use crate::model::units::{Bytes, Counted};
use crate::model::{BoxFuture, blocking};
use rusqlite::{Connection, ErrorCode};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Mutex, OnceCell};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// How much of a file's beginning and end goes into its fingerprint: the header with SQLite's own change counter is in it.
const ENDS: u64 = 64 * 1024;

const READING: &str = "reading from SQLite";

/// A table of a SQLite database as a source.
#[derive(Debug)]
pub struct SqliteSource {
    options: Arc<SourceOptions>,
    extract: Option<Extract>,
    plan: OnceCell<Arc<Plan>>,
}

impl SqliteSource {
    /// Reads the table that `options` name. Nothing is opened yet.
    pub fn new(options: SourceOptions) -> Self {
        Self { options: Arc::new(options), extract: None, plan: OnceCell::new() }
    }

    /// Reads what a sink wrote, and checks each row's columns against its document.
    pub(super) fn of_target(target: &TargetOptions) -> Self {
        let options = SourceOptions { table: Some(target.table.clone()), ..SourceOptions::new(&target.path) };
        let extract = Extract::new(target);
        Self { extract: Some(extract), ..Self::new(options) }
    }

    async fn plan(&self) -> Result<&Arc<Plan>> {
        let make = || {
            let (options, extract) = (Arc::clone(&self.options), self.extract.clone());
            blocking(READING, move || Plan::make(&options, extract.as_ref()).map(Arc::new))
        };
        self.plan.get_or_try_init(make).await
    }
}

impl Source for SqliteSource {
    fn capabilities(&self) -> SourceCapabilities {
        SourceCapabilities { resumable: true, ordered: false }
    }

    fn check(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async {
            let plan = self.plan().await?;
            let options = Arc::clone(&self.options);
            let file = blocking(READING, move || fingerprint(&options.path)).await?;
            Ok(vec![file, format!("table {}: {}", plan.table, Counted(plan.count, "row"))])
        })
    }

    fn partitions(&self) -> BoxFuture<'_, Result<Vec<Partition>>> {
        Box::pin(async { Ok(self.plan().await?.partitions()) })
    }

    fn open<'a>(
        &'a self,
        partition: &'a Partition,
        stretch: Stretch,
    ) -> BoxFuture<'a, Result<Box<dyn Reader>>> {
        Box::pin(async move {
            let plan = Arc::clone(self.plan().await?);
            let range = plan.range(partition.start.at);
            let end = stretch.until.map_or(range.end() + 1, |until| until.at.min(range.end() + 1));
            let path = self.options.path.clone();
            let pages = blocking(READING, move || Pages::open(path, plan)).await?;
            let at = stretch.from.at.max(*range.start());
            Ok(Box::new(SqliteReader {
                pages: Arc::new(Mutex::new(pages)),
                at: Position { at, ..stretch.from },
                end,
            }) as _)
        })
    }

    fn is_target(&self, place: &str, _identity: &str) -> bool {
        let Some(plan) = self.plan.get() else { return false };
        let Some(path) = place.strip_suffix(&in_table(&plan.table)) else { return false };
        let whole = [path.as_ref(), self.options.path.as_path()].map(fs::canonicalize);
        matches!(whole, [Ok(target), Ok(source)] if target == source)
    }

    fn locate(&self, partition: &Partition, at: u64, _ordinal: u64) -> String {
        let table = partition.id.0.rsplit_once(':').map_or("", |(table, _)| table);
        format!("{}, table {table}, row id {at}", self.options.path.display())
    }

    fn position_id(&self, partition: &Partition, at: u64, out: &mut String) {
        let table = partition.id.0.rsplit_once(':').map_or("", |(table, _)| table);
        write_position_id(table, at, out);
    }
}

/// The place in the partition, and what reads from it. They are apart so that a read that was given up moves nothing.
struct SqliteReader {
    pages: Arc<Mutex<Pages>>,
    at: Position,
    end: u64,
}

impl Reader for SqliteReader {
    fn next(&mut self, limit: BatchLimit) -> BoxFuture<'_, Result<Next>> {
        Box::pin(async move {
            if self.at.at >= self.end {
                return Ok(Next::End);
            }
            let (rows, ordinal) = (self.at.at..=self.end - 1, self.at.ordinal);
            let pages = Arc::clone(&self.pages).lock_owned().await;
            let next = blocking(READING, move || pages.read(rows, ordinal, limit)).await?;
            if let Next::Batch(batch) = &next {
                self.at = batch.to.clone();
            }
            Ok(next)
        })
    }
}

/// A connection and the query for rows.
struct Pages {
    connection: Connection,
    path: PathBuf,
    plan: Arc<Plan>,
    query: String,
}

impl Pages {
    fn open(path: PathBuf, plan: Arc<Plan>) -> Result<Self> {
        let open = if matches!(plan.layout, Layout::Checked(_)) { open_to_look } else { open_to_read };
        let connection = open("opening the source", &path)?;
        Ok(Self { connection, query: plan.query(), path, plan })
    }

    /// Reads on in `ids`, before which lie `ordinal` rows.
    fn read(&self, ids: RangeInclusive<u64>, ordinal: u64, limit: BatchLimit) -> Result<Next> {
        self.page(ids, ordinal, limit).map_err(|cause| {
            let is_damaged = cause.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt);
            let error = failure(READING, &self.path)(cause);
            if is_damaged { error.with_kind(ErrorKind::InvalidInput) } else { error }
        })
    }

    fn page(&self, ids: RangeInclusive<u64>, ordinal: u64, limit: BatchLimit) -> rusqlite::Result<Next> {
        let documents = limit.documents.clamp(1, u32::MAX as usize) as i64;
        // Spans hold 32-bit offsets.
        let limit = BatchLimit { bytes: limit.bytes.min(u32::MAX as usize), ..limit };
        let largest = i64::try_from(limit.max_document).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(&self.query)?;
        let mut rows = statement.query([*ids.start() as i64, *ids.end() as i64, documents, largest])?;
        let mut batch = Batch { to: Position::new(*ids.start(), ordinal), ..Batch::default() };
        let (mut count, mut rejected) = (0, 0);
        loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                // What lies before a damaged page comes first; the next call meets the damage at once.
                Err(_) if count > 0 => break,
                Ok(None) => break,
                Err(cause) => return Err(cause),
            };
            let rowid: i64 = row.get(0)?;
            let span = Span {
                start: batch.documents.buffer.len() as u32,
                length: 0,
                at: rowid as u64,
                ordinal: count,
                operation: Operation::Upsert,
                note: None,
            };
            // What was rejected is in memory beside the documents.
            let left = BatchLimit { bytes: limit.bytes.saturating_sub(rejected), ..limit };
            match self.take(row, rowid, &span, left, &mut batch)? {
                Taken::Whole => {}
                Taken::Rejected(length) => rejected += length,
                Taken::NoRoom(length) if count == 0 => return Ok(Next::Grow(length)),
                Taken::NoRoom(_) => break,
            }
            count += 1;
            batch.to = Position::new(rowid as u64 + 1, ordinal + u64::from(count));
        }
        Ok(if count == 0 { Next::End } else { Next::Batch(batch) })
    }

    /// Adds a row to the batch, as a document or as a reject, if there is room for it.
    fn take(
        &self,
        row: &rusqlite::Row<'_>,
        rowid: i64,
        span: &Span,
        limit: BatchLimit,
        batch: &mut Batch,
    ) -> rusqlite::Result<Taken> {
        let size: i64 = row.get(1)?;
        if size as usize > limit.max_document {
            batch.rejects.push(too_large(span, size as usize, limit.max_document));
            return Ok(Taken::Whole);
        }
        let buffer = &mut batch.documents.buffer;
        let start = buffer.len();
        let made = rows::document(&self.plan.layout, rowid, row, buffer)?;
        let length = buffer.len() - start;
        match made {
            Ok(()) if length <= limit.max_document => {
                if buffer.len() > limit.bytes {
                    buffer.truncate(start);
                    return Ok(Taken::NoRoom(length));
                }
                batch.documents.spans.push(Span { length: length as u32, ..*span });
                return Ok(Taken::Whole);
            }
            Ok(()) => batch.rejects.push(too_large(span, length, limit.max_document)),
            Err(_) if buffer.len() > limit.bytes => {
                buffer.truncate(start);
                return Ok(Taken::NoRoom(length));
            }
            Err(refusal) => {
                batch.rejects.push(Reject::new(refusal.by, refusal.reason, span, &buffer[start..]));
                buffer.truncate(start);
                return Ok(Taken::Rejected(length));
            }
        }
        buffer.truncate(start);
        Ok(Taken::Whole)
    }
}

/// What became of a row.
enum Taken {
    /// It is in the batch, or only that it was too large is.
    Whole,
    /// It is in the batch as a reject of this many bytes.
    Rejected(usize),
    /// It has this many bytes, more than are left.
    NoRoom(usize),
}

fn too_large(span: &Span, length: usize, limit: usize) -> Reject {
    let reason = format!("larger than the limit of {}", Bytes(limit as u64));
    Reject { length: length as u64, ..Reject::new(RejectedBy::Read, reason, span, &[]) }
}

/// What tells an unchanged database file from a changed one.
fn fingerprint(path: &Path) -> Result<String> {
    const OPERATION: &str = "checking the source";
    let failed =
        |cause| Error::io(OPERATION, cause).with_kind(ErrorKind::Configuration).with("path", path.display());
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut end = Vec::new();
    file.by_ref().take(ENDS).read_to_end(&mut end).map_err(failed)?;
    let hash = xxh3_64(&end);
    end.clear();
    file.seek(SeekFrom::Start(length.saturating_sub(ENDS))).map_err(failed)?;
    file.take(ENDS).read_to_end(&mut end).map_err(failed)?;
    let hash = xxh3_64_with_seed(&end, hash);
    // Rows that were committed and not yet moved into the file lie in its write-ahead log.
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = Path::new(&log);
    let log_length = if find_file(OPERATION, log)? { log.metadata().map_err(failed)?.len() } else { 0 };
    // Positions are row ids: a folder that was moved, or a path that is spelled in another way, is no change.
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Ok(format!("{name}: {length} bytes, hash {hash:016x}, log {log_length} bytes"))
}
