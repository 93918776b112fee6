//! A run's hold on the database: one connection, and at most one open transaction.
//!
//! The transaction begins with the first request after a commit and ends with the next flush, so what the requests of one
//! second wrote, and the checkpoint that counts them, become durable in one commit. Each request has a savepoint of its own:
//! one that fails leaves nothing behind and can be sent again.
//!
//! The key column holds an id's characters, so `7` and `"7"` are one row. The second to come is refused: an SQL function
//! of ours looks at the document in the row, and it is asked only where a row is about to be replaced.
//!
//! How many rows a transaction has put into the table is told by the largest row id before and after it: SQLite gives a new row the
//! next one. So counting costs two seeks a commit. After a deletion an id may be given again, and the count is then too small, never
//! too large; nothing is concluded from a table that holds more.

use crate::connector::sqlite::TargetOptions;
use crate::connector::sqlite::columns::{Cell, Extract};
use crate::connector::sqlite::connection::{open_to_write, quoted, write_failure};
use crate::connector::sqlite::plan::rowid_name;
use crate::connector::sqlite::{custody, schema};
use crate::error::{Error, ErrorKind, Result};
use crate::model::checkpoint::Checkpoint;
use crate::model::document::{Document, Id, IdKind, Operation};
use crate::model::json::{self, Index};
use crate::model::request::{Outcome, Request};
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql, params_from_iter};
use std::path::PathBuf;

const PREPARING: &str = "preparing the target";
const WRITING: &str = "writing to SQLite";
const COMMITTING: &str = "committing to SQLite";

/// The SQL function that keeps ids of different kinds from replacing one another.
const KIND_RULE: &str = "docferry_gives_way";

/// An open target.
#[derive(Debug)]
pub(super) struct Session {
    connection: Connection,
    path: PathBuf,
    job: String,
    run: String,
    upsert: String,
    delete: String,
    extract: Extract,
    table: String,
    /// Asks for the largest row id; `None`: columns hide the row id under all its names.
    last_row: Option<String>,
    /// What that was when the transaction began.
    last_before: i64,
    /// Rows removed in the open transaction.
    removed: i64,
    /// We have begun a transaction and neither committed nor rolled it back.
    begun: bool,
}

impl Session {
    /// Opens the database, creates what is not there, and puts the job into this run's hands. Returns the database's name too.
    pub(super) fn open(
        options: &TargetOptions,
        job: String,
        run: String,
        fresh: bool,
    ) -> Result<(Self, String)> {
        let path = options.path.clone();
        let connection = open_to_write(PREPARING, &path, options.synchronous)?;
        let claim = || {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            custody::found(&connection)?;
            schema::create(&connection, options)?;
            custody::claim(&connection, &job, &run, fresh)?;
            if fresh {
                custody::recount_rows(&connection, &options.table)?;
            }
            let uuid = custody::uuid(&connection)?;
            connection.execute_batch("COMMIT")?;
            Ok(uuid)
        };
        let uuid = claim().map_err(write_failure(PREPARING, &path, &connection))?;
        let uuid = uuid.ok_or_else(|| Error::internal(PREPARING, "the database has got no name"))?;
        let ready = || {
            add_kind_rule(&connection, &options.id_field)?;
            let name = rowid_name(&schema::columns(&connection, &options.table)?);
            let table = quoted(&options.table);
            Ok(name.map(|name| format!("SELECT coalesce(max({name}), 0) FROM {table}")))
        };
        let last_row = ready().map_err(write_failure(PREPARING, &path, &connection))?;
        let session = Self {
            path,
            job,
            run,
            upsert: upsert(options),
            delete: delete(options),
            extract: Extract::new(options),
            table: options.table.clone(),
            last_row,
            last_before: 0,
            removed: 0,
            begun: false,
            connection,
        };
        Ok((session, uuid))
    }

    /// Writes a request into the open transaction.
    pub(super) fn write(&mut self, request: &Request) -> Result<Outcome> {
        self.begin(WRITING)?;
        // Not kept by the transaction but by name, so that a failure can be looked into before it is undone.
        let failure = self.failure(WRITING);
        self.connection.execute_batch("SAVEPOINT request").map_err(failure)?;
        let applied = apply(&self.connection, &self.upsert, &self.delete, &self.extract, request);
        let applied = applied.and_then(|applied| {
            self.connection.execute_batch("RELEASE request")?;
            Ok(applied)
        });
        match applied {
            Ok((outcome, removed)) => {
                self.removed += removed;
                Ok(outcome)
            }
            Err(cause) => {
                let error = failure(cause);
                // Fails where SQLite has given up the whole transaction, which `begin` finds out.
                drop(self.connection.execute_batch("ROLLBACK TO request; RELEASE request"));
                Err(error)
            }
        }
    }

    /// Stores the checkpoint in the open transaction and commits.
    pub(super) fn flush(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let text = serde_json::to_string(checkpoint)
            .map_err(|cause| Error::internal(COMMITTING, "the checkpoint has no text").caused_by(cause))?;
        self.begin(COMMITTING)?;
        self.check_hold()?;
        custody::store(&self.connection, &self.job, checkpoint, &text).map_err(self.failure(COMMITTING))?;
        self.commit()
    }

    /// Commits what is open and moves the log into the database file.
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.begun {
            self.begin(COMMITTING)?;
            self.check_hold()?;
            self.commit()?;
        }
        // A reader may keep the log busy; then it stays, and the database is complete all the same.
        let truncated = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        truncated.map_err(self.failure("emptying the write-ahead log"))
    }

    fn failure(&self, operation: &'static str) -> impl Fn(rusqlite::Error) -> Error + Copy {
        write_failure(operation, &self.path, &self.connection)
    }

    fn begin(&mut self, operation: &'static str) -> Result<()> {
        if !self.begun {
            self.connection.execute_batch("BEGIN IMMEDIATE").map_err(self.failure(operation))?;
            self.begun = true;
            (self.last_before, self.removed) = (self.last_row().map_err(self.failure(operation))?, 0);
        } else if self.connection.is_autocommit() {
            // After some failures (a full disk) SQLite gives up a transaction by itself. What was accepted is lost, so no
            // later checkpoint may count it: from here on everything fails, and the resumed run sends it again.
            return Err(Error::new(ErrorKind::Io, operation, "the open transaction was rolled back")
                .with("path", self.path.display()));
        }
        Ok(())
    }

    /// Inside the transaction, so that no other run can take over between this look and the commit.
    fn check_hold(&mut self) -> Result<()> {
        let failure = self.failure(COMMITTING);
        if custody::holds(&self.connection, &self.job, &self.run).map_err(failure)? {
            return Ok(());
        }
        self.connection.execute_batch("ROLLBACK").map_err(failure)?;
        self.begun = false;
        Err(Error::new(ErrorKind::Held, COMMITTING, "another run has taken over the job")
            .with("job", &self.job)
            .with("path", self.path.display()))
    }

    /// The largest row id of the table.
    fn last_row(&self) -> rusqlite::Result<i64> {
        match &self.last_row {
            Some(query) => self.connection.prepare_cached(query)?.query_row([], |row| row.get(0)),
            None => Ok(0),
        }
    }

    fn commit(&mut self) -> Result<()> {
        let counted = self.last_row().and_then(|last| {
            let more = last.saturating_sub(self.last_before) - self.removed;
            custody::count_rows(&self.connection, &self.table, more)
        });
        counted.map_err(self.failure(COMMITTING))?;
        self.connection.execute_batch("COMMIT").map_err(self.failure(COMMITTING))?;
        self.begun = false;
        Ok(())
    }
}

/// Writes the documents of a request one by one. Says too how many rows it has removed.
fn apply(
    connection: &Connection,
    upsert: &str,
    delete: &str,
    extract: &Extract,
    request: &Request,
) -> rusqlite::Result<(Outcome, i64)> {
    let (mut outcome, mut removed) = (Outcome::default(), 0);
    let mut upsert = connection.prepare_cached(upsert)?;
    let mut fields = Index::default();
    for (index, document) in (0..).zip(request.documents()) {
        let row = match json::index(document.bytes, &mut fields) {
            Ok(()) => extract.row(document.bytes, &fields),
            Err(malformed) => Err(format!("not one JSON object: {malformed}")),
        };
        let (id, cells) = match row {
            Ok(row) => row,
            Err(reason) => {
                outcome.rejected.push((index, reason));
                continue;
            }
        };
        match document.operation {
            Operation::Upsert => {
                if !put(&mut upsert, &document, &id, &cells)? {
                    outcome.rejected.push((index, id.taken(&extract.id_field)));
                }
            }
            Operation::Delete => {
                removed += connection.prepare_cached(delete)?.execute((&cells[0], id.kind as i64))? as i64;
            }
        }
    }
    Ok((outcome, removed))
}

/// Writes a document's row. False: its place is taken by a document whose id is of another kind.
fn put(
    upsert: &mut CachedStatement<'_>,
    document: &Document<'_>,
    id: &Id<'_>,
    cells: &[Cell<'_>],
) -> rusqlite::Result<bool> {
    let (kind, text) = (id.kind as i64, Verbatim(document.bytes));
    let columns = cells[1..].iter().map(|cell| cell as &dyn ToSql);
    let values = [&kind as &dyn ToSql, &cells[0], &text].into_iter().chain(columns);
    Ok(upsert.execute(params_from_iter(values))? > 0)
}

/// Adds the function [`KIND_RULE`] to the connection: whether a document may give way to one whose id is of the given kind. What
/// is no document with an id has no kind to defend.
fn add_kind_rule(connection: &Connection, id_field: &str) -> rusqlite::Result<()> {
    let id_field = id_field.to_owned();
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function(KIND_RULE, 2, flags, move |values| {
        let kind: i64 = values.get(1)?;
        let held = values.get_raw(0).as_bytes().ok().and_then(|document| kind_of(&id_field, document));
        Ok(held.is_none_or(|held| held as i64 == kind))
    })
}

fn kind_of(id_field: &str, document: &[u8]) -> Option<IdKind> {
    json::index(document, &mut Index::default()).ok()?;
    Id::of(id_field, json::field(document, id_field)).ok().map(|id| id.kind)
}

/// A document's own bytes as TEXT.
struct Verbatim<'a>(&'a [u8]);

impl ToSql for Verbatim<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

fn upsert(options: &TargetOptions) -> String {
    let columns: Vec<String> = options.columns.iter().map(|column| quoted(column)).collect();
    let mut names = vec!["id".to_owned(), "document".to_owned()];
    names.extend(columns);
    // The first parameter is the kind of the id.
    let places: Vec<String> = (2..names.len() + 2).map(|place| format!("?{place}")).collect();
    let updates: Vec<String> = names[1..].iter().map(|name| format!("{name} = excluded.{name}")).collect();
    let (table, names, places, updates) =
        (quoted(&options.table), names.join(", "), places.join(", "), updates.join(", "));
    format!(
        "INSERT INTO {table} ({names}) VALUES ({places}) ON CONFLICT (id) DO UPDATE SET {updates} \
         WHERE {KIND_RULE}({table}.document, ?1)"
    )
}

fn delete(options: &TargetOptions) -> String {
    format!("DELETE FROM {} WHERE id = ?1 AND {KIND_RULE}(document, ?2)", quoted(&options.table))
}
