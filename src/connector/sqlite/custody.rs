//! What the database knows about docferry: its own name, and which run holds which job and how far it came.
//!
//! ```text
//! _docferry_target(uuid, created_by)                        one row: the identity that a resume compares
//! _docferry_checkpoint(job, run, generation, checkpoint)    one row a job
//! _docferry_rows(name, rows)                                one row a table: how many rows docferry has put there, at least
//! ```
//!
//! A run claims its job's row before it writes, and stores its checkpoints there in the transactions that hold the documents. A
//! run that finds another's name in the row has been fenced off: whatever it had in its transaction is rolled back.

use crate::connector::sqlite::connection::quoted;
use crate::connector::sqlite::schema;
use crate::error::{Error, Result};
use crate::model::checkpoint::{CHECKPOINT_VERSION, Checkpoint};
use rusqlite::{Connection, OptionalExtension, params};

/// Names of our own tables begin so; such a table is no source and no target.
pub(super) const OWN_PREFIX: &str = "_docferry_";

/// Creates our tables if need be, and gives the database a name of its own.
pub(super) fn found(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS _docferry_target (uuid TEXT, created_by TEXT);
         CREATE TABLE IF NOT EXISTS _docferry_checkpoint
             (job TEXT PRIMARY KEY, run TEXT, generation INTEGER, checkpoint TEXT);
         CREATE TABLE IF NOT EXISTS _docferry_rows (name TEXT PRIMARY KEY, rows INTEGER);",
    )?;
    connection.execute(
        "INSERT INTO _docferry_target SELECT lower(hex(randomblob(16))), ?1
         WHERE NOT EXISTS (SELECT 1 FROM _docferry_target)",
        [concat!("docferry ", env!("CARGO_PKG_VERSION"))],
    )?;
    Ok(())
}

/// The database's own name; `None` where docferry has never written.
pub(super) fn uuid(connection: &Connection) -> rusqlite::Result<Option<String>> {
    if !schema::has_table(connection, "_docferry_target")? {
        return Ok(None);
    }
    connection.query_row("SELECT uuid FROM _docferry_target", [], |row| row.get(0)).optional()
}

/// Puts the job into the hands of `run`. A fresh start forgets the checkpoint of the runs before.
pub(super) fn claim(connection: &Connection, job: &str, run: &str, fresh: bool) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO _docferry_checkpoint VALUES (?1, ?2, 0, NULL) ON CONFLICT (job) DO UPDATE SET run = ?2",
        [job, run],
    )?;
    if fresh {
        connection.execute("UPDATE _docferry_checkpoint SET checkpoint = NULL WHERE job = ?1", [job])?;
    }
    Ok(())
}

/// Whether the job is in the hands of `run`.
pub(super) fn holds(connection: &Connection, job: &str, run: &str) -> rusqlite::Result<bool> {
    let query = "SELECT 1 FROM _docferry_checkpoint WHERE job = ?1 AND run = ?2";
    connection.prepare_cached(query)?.exists([job, run])
}

/// Stores a checkpoint in the open transaction.
pub(super) fn store(
    connection: &Connection,
    job: &str,
    checkpoint: &Checkpoint,
    text: &str,
) -> rusqlite::Result<()> {
    let update = "UPDATE _docferry_checkpoint SET generation = ?2, checkpoint = ?3 WHERE job = ?1";
    let generation = checkpoint.generation as i64;
    connection.prepare_cached(update)?.execute(params![job, generation, text])?;
    Ok(())
}

/// The text of the job's checkpoint.
pub(super) fn stored(connection: &Connection, job: &str) -> rusqlite::Result<Option<String>> {
    if !schema::has_table(connection, "_docferry_checkpoint")? {
        return Ok(None);
    }
    let query = "SELECT checkpoint FROM _docferry_checkpoint WHERE job = ?1";
    connection.query_row(query, [job], |row| row.get(0)).optional().map(Option::flatten)
}

/// Counts `more` rows of ours in the table, in the open transaction.
pub(super) fn count_rows(connection: &Connection, table: &str, more: i64) -> rusqlite::Result<()> {
    let upsert = "INSERT INTO _docferry_rows VALUES (?1, max(?2, 0))
        ON CONFLICT (name) DO UPDATE SET rows = max(rows + ?2, 0)";
    connection.prepare_cached(upsert)?.execute(params![table.to_ascii_lowercase(), more]).map(drop)
}

/// Counts no more rows of ours than the table holds: what was deleted before a job begins anew is not missed by it.
pub(super) fn recount_rows(connection: &Connection, table: &str) -> rusqlite::Result<()> {
    let held = quoted(table);
    let update =
        format!("UPDATE _docferry_rows SET rows = min(rows, (SELECT count(*) FROM {held})) WHERE name = ?1");
    connection.execute(&update, [table.to_ascii_lowercase()]).map(drop)
}

/// How many rows docferry has put into the table, and how many it holds, if it holds fewer.
pub(super) fn lost_rows(connection: &Connection, table: &str) -> rusqlite::Result<Option<(u64, u64)>> {
    if !schema::has_table(connection, "_docferry_rows")? || !schema::has_table(connection, table)? {
        return Ok(None);
    }
    let held = quoted(table);
    let query = format!("SELECT rows, (SELECT count(*) FROM {held}) FROM _docferry_rows WHERE name = ?1");
    let counts = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64));
    let counts = connection.query_row(&query, [table.to_ascii_lowercase()], counts).optional()?;
    Ok(counts.filter(|(put, held)| held < put))
}

/// A checkpoint from its text.
pub(super) fn parse(text: &str) -> Result<Checkpoint> {
    const OPERATION: &str = "reading the checkpoint in the target";
    let checkpoint: Checkpoint = serde_json::from_str(text)
        .map_err(|cause| Error::configuration(OPERATION, "it is damaged").caused_by(cause))?;
    if checkpoint.version > CHECKPOINT_VERSION {
        return Err(Error::configuration(OPERATION, "a newer docferry wrote it")
            .with("version", checkpoint.version)
            .with("understood", CHECKPOINT_VERSION));
    }
    Ok(checkpoint)
}
