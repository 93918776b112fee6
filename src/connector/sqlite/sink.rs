//! The table as a target. One connection does all the work, a request after the other, off the async threads.
//!
//! The session lies in a fair lock, and a request takes it before it moves to a blocking thread: a caller that gives up waits no
//! longer, but what it started ends before anything that is sent later begins, so the order of requests holds.

use crate::connector::sink::{Lane, Order, Prepare, Sink, SinkCapabilities, Start};
use crate::connector::source::Source;
use crate::connector::sqlite::connection::{failure, find_file, open_to_look, quoted};
use crate::connector::sqlite::session::Session;
use crate::connector::sqlite::survey::{Survey, survey};
use crate::connector::sqlite::{SqliteSource, TargetOptions, custody, in_table, schema};
use crate::error::{Error, Result};
use crate::model::checkpoint::Checkpoint;
use crate::model::document::Document;
use crate::model::request::{Outcome, Request, Route};
use crate::model::shell::word;
use crate::model::units::{Counted, MIB};
use crate::model::{BoxFuture, blocking};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Mutex;
use xxhash_rust::xxh3::xxh3_64;

/// The operation of what has none of its own, for messages.
const USING: &str = "using SQLite";

/// A table of a SQLite database as a target.
#[derive(Debug)]
pub struct SqliteSink {
    options: Arc<TargetOptions>,
    session: Arc<Mutex<Option<Session>>>,
}

impl SqliteSink {
    /// Writes to the table that `options` name. Nothing is opened yet.
    pub fn new(options: TargetOptions) -> Self {
        Self { options: Arc::new(options), session: Arc::default() }
    }

    /// Does `work` with the open session.
    async fn with_session<T: Send + 'static>(
        session: Arc<Mutex<Option<Session>>>,
        work: impl FnOnce(&mut Session) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut session = session.lock_owned().await;
        blocking(USING, move || match session.as_mut() {
            Some(session) => work(session),
            None => Err(Error::internal("writing to SQLite", "the target is not prepared")),
        })
        .await
    }
}

impl Sink for SqliteSink {
    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities {
            order: Order::PerPartition,
            serial: true,
            keyed: true,
            transactional: true,
            marked: false,
            resumable: true,
            // A request costs a change of threads and a savepoint, some 30 us: little beside 4096 upserts (10 ms and more),
            // and short enough that a flush does not wait long for one.
            request_documents: 4096,
            request_bytes: 8 * MIB as usize,
        }
    }

    fn route(&self, document: &Document<'_>) -> Result<Route, String> {
        // Of the characters alone: ids that differ only in kind meet in one row, so they keep their source order too.
        let id = document.id(&self.options.id_field)?;
        Ok(Route { identity: xxh3_64(id.characters.as_bytes()), ..Route::default() })
    }

    fn layout(&self) -> String {
        let TargetOptions { id_field, columns, .. } = &*self.options;
        format!("id {id_field:?} columns {columns:?}")
    }

    fn look(&self) -> Option<String> {
        let TargetOptions { path, table, columns, .. } = &*self.options;
        let columns = columns.iter().map(|column| format!(", {}", quoted(column))).collect::<String>();
        let query = format!("SELECT id{columns} FROM {} LIMIT 5", quoted(table));
        Some(format!("sqlite3 {} {}", word(&path.display().to_string()), word(&query)))
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        let options = Arc::clone(&self.options);
        Box::pin(blocking(USING, move || survey("checking the target", &options).map(drop)))
    }

    fn identity(&self) -> BoxFuture<'_, Result<Option<String>>> {
        const OPERATION: &str = "reading the target's identity";
        let options = Arc::clone(&self.options);
        Box::pin(blocking(USING, move || {
            if !find_file(OPERATION, &options.path)? {
                return Ok(None);
            }
            let connection = open_to_look(OPERATION, &options.path)?;
            let failure = failure(OPERATION, &options.path);
            if !schema::has_table(&connection, &options.table).map_err(failure)? {
                return Ok(None);
            }
            let uuid = custody::uuid(&connection).map_err(failure)?;
            Ok(uuid.map(|uuid| identity(&uuid, &options)))
        }))
    }

    fn place(&self) -> String {
        let path = self.options.path.as_path();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let path = match (folder.canonicalize(), path.file_name()) {
            (Ok(folder), Some(name)) => folder.join(name),
            _ => path.to_owned(),
        };
        format!("{}{}", path.display(), in_table(&self.options.table))
    }

    fn stored<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Result<Option<Checkpoint>>> {
        const OPERATION: &str = "reading the checkpoint in the target";
        let (options, job) = (Arc::clone(&self.options), job.to_owned());
        Box::pin(blocking(USING, move || {
            if !find_file(OPERATION, &options.path)? {
                return Ok(None);
            }
            let connection = open_to_look(OPERATION, &options.path)?;
            let text = custody::stored(&connection, &job).map_err(failure(OPERATION, &options.path))?;
            text.map(|text| custody::parse(&text)).transpose()
        }))
    }

    fn lost(&self) -> BoxFuture<'_, Result<Option<String>>> {
        const OPERATION: &str = "looking for what was written";
        let options = Arc::clone(&self.options);
        Box::pin(blocking(USING, move || {
            let connection = open_to_look(OPERATION, &options.path)?;
            let lost = custody::lost_rows(&connection, &options.table);
            let lost = lost.map_err(failure(OPERATION, &options.path))?;
            Ok(lost.map(|(put, held)| {
                format!(
                    "docferry has put {} into it, and it holds {}",
                    Counted(put, "row"),
                    Counted(held, "row")
                )
            }))
        }))
    }

    /// With `overwrite` the rows of a foreign table stay, and documents with the same id replace them.
    fn prepare<'a>(&'a self, prepare: Prepare<'a>) -> BoxFuture<'a, Result<String>> {
        let options = Arc::clone(&self.options);
        let (job, run) = (prepare.job.to_owned(), prepare.run.to_owned());
        let previous = prepare.previous.map(|previous| previous.fingerprint.target.clone());
        let (is_fresh, overwrite) = (prepare.start == Start::Fresh, prepare.overwrite);
        Box::pin(async move {
            let mut session = Arc::clone(&self.session).lock_owned().await;
            blocking(USING, move || {
                let survey = survey("preparing the target", &options)?;
                if !overwrite {
                    check_own(&survey, previous.as_deref(), &options)?;
                }
                // A session left from an earlier call would hold the lock that the new one needs.
                *session = None;
                let (opened, uuid) = Session::open(&options, job, run, is_fresh)?;
                *session = Some(opened);
                Ok(identity(&uuid, &options))
            })
            .await
        })
    }

    fn lanes(&self) -> Vec<Arc<dyn Lane>> {
        vec![Arc::new(SqliteLane { session: Arc::clone(&self.session) })]
    }

    fn flush<'a>(&'a self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<()>> {
        let checkpoint = checkpoint.clone();
        let session = Arc::clone(&self.session);
        Box::pin(Self::with_session(session, move |session| session.flush(&checkpoint)))
    }

    fn finish(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let mut session = Arc::clone(&self.session).lock_owned().await;
            blocking(USING, move || session.as_mut().map_or(Ok(()), Session::finish)).await
        })
    }

    fn read_back(&self) -> Option<Box<dyn Source>> {
        Some(Box::new(SqliteSource::of_target(&self.options)))
    }
}

struct SqliteLane {
    session: Arc<Mutex<Option<Session>>>,
}

impl Lane for SqliteLane {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Outcome>> {
        let session = Arc::clone(&self.session);
        Box::pin(SqliteSink::with_session(session, move |session| session.write(&request)))
    }
}

/// The table's identity. SQLite does not tell upper from lower case in its name.
fn identity(uuid: &str, options: &TargetOptions) -> String {
    format!("sqlite {uuid} table {}", options.table.to_ascii_lowercase())
}

fn check_own(survey: &Survey, previous: Option<&str>, options: &TargetOptions) -> Result<()> {
    let own = survey.uuid.as_ref().map(|uuid| identity(uuid, options));
    if !survey.has_rows || own.is_some_and(|own| previous == Some(&*own)) {
        return Ok(());
    }
    Err(Error::configuration(
        "preparing the target",
        "the table holds rows that are not this job's",
    )
    .with("path", options.path.display())
    .with("table", &options.table)
    .advise("name another table, or write to this one with --overwrite: its rows stay, and those with the same id are replaced"))
}
