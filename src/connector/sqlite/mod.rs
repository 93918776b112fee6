//! SQLite: one database file, as a source of rows and as a target that commits positions together with documents.
//!
//! **Target.** A table holds one document a row, as the very text that came, beside its id and the columns that were asked
//! for. All requests between two checkpoints go into one transaction, and the checkpoint itself is stored in that
//! transaction (`custody.rs`): a killed run leaves documents and positions that agree, so each is written exactly once.
//!
//! **Source.** A table is cut into fixed ranges of row ids, which never depend on the machine; a position is a row id.

mod columns;
mod connection;
mod custody;
mod plan;
mod rows;
mod schema;
mod session;
mod sink;
mod source;
mod survey;
#[cfg(test)]
mod tests;

pub use sink::SqliteSink;
pub use source::SqliteSource;

use crate::connector::registry::Connector;
use crate::connector::sink::Sink;
use crate::connector::source::Source;
use crate::model::settings::Section;
use std::path::PathBuf;

/// The line in the registry.
pub const CONNECTOR: Connector = Connector {
    name: "sqlite",
    about: "a table of a SQLite database: one JSON document a row, or rows as documents",
    location: "path",
    source_settings: &[
        ("path", "the database file"),
        ("table", "the table (default: `documents`, or the only one)"),
        ("column", "the column that holds the document (default: `document`; else a row is a document)"),
        ("partition_rows", "row ids in a partition"),
    ],
    target_settings: &[
        ("path", "the database file; created if there is none"),
        ("table", "the table; created if there is none"),
        ("columns", "top-level fields to be columns of their own"),
        ("id_field", "field that holds the id, the table's primary key"),
        ("synchronous", "off, normal or full: what a commit survives besides a kill (full: loss of power)"),
    ],
    source: Some(source_from_settings),
    sink: Some(sink_from_settings),
};

/// Row ids in a partition. A reader's fixed cost, a connection and a seek, is far below the time to read so many rows, and a
/// million rows still give sixteen readers one each.
const PARTITION_ROWS: u64 = 65_536;

/// The table when none is named.
const DEFAULT_TABLE: &str = "documents";

/// How hard a commit is pressed onto the disk (`PRAGMA synchronous`). The write-ahead log keeps documents and checkpoint
/// consistent at each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// Left to the operating system: a loss of power may damage the database.
    Off,
    /// Synced at checkpoints of the log: a loss of power may undo the last commits, whole ones.
    Normal,
    /// Synced at every commit.
    Full,
}

/// How a place ends that lies in `table`. SQLite does not tell upper from lower case in its name.
fn in_table(table: &str) -> String {
    format!(", table {}", table.to_ascii_lowercase())
}

/// What a sink is made with.
#[derive(Clone, Debug)]
pub struct TargetOptions {
    /// The database file.
    pub path: PathBuf,
    /// The table.
    pub table: String,
    /// Top-level fields to be columns of their own.
    pub columns: Vec<String>,
    /// The field that holds the id.
    pub id_field: String,
    /// How hard a commit is pressed onto the disk.
    pub synchronous: Synchronous,
}

impl TargetOptions {
    /// The built-in settings for a database file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            table: DEFAULT_TABLE.to_owned(),
            columns: Vec::new(),
            id_field: "id".to_owned(),
            synchronous: Synchronous::Normal,
        }
    }
}

/// What a source is made with.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// The database file.
    pub path: PathBuf,
    /// The table; `None`: `documents`, or the only one.
    pub table: Option<String>,
    /// The column that holds the document; `None`: `document`, or all columns are a document's fields.
    pub column: Option<String>,
    /// Row ids in a partition.
    pub partition_rows: u64,
}

impl SourceOptions {
    /// The built-in settings for a database file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), table: None, column: None, partition_rows: PARTITION_ROWS }
    }
}

fn source_from_settings(section: &mut Section) -> Option<Box<dyn Source>> {
    let path = section.text_required("path");
    let table = section.text("table");
    let column = section.text("column");
    // Up to a trillion: the alignment stays far from the ends of the number range.
    let partition_rows = section.count_or("partition_rows", 1..=1_000_000_000_000, PARTITION_ROWS);
    Some(Box::new(SqliteSource::new(SourceOptions { path: path?.into(), table, column, partition_rows })))
}

fn sink_from_settings(section: &mut Section) -> Option<Box<dyn Sink>> {
    let path = section.text_required("path");
    let table = section.text_or("table", DEFAULT_TABLE);
    let columns = section.texts("columns");
    let id_field = section.text_or("id_field", "id");
    let choices = [("off", Synchronous::Off), ("normal", Synchronous::Normal), ("full", Synchronous::Full)];
    let synchronous = section.choice("synchronous", &choices, "normal");
    let mut is_sound = true;
    for (name, problem) in [("table", table_problem(&table)), ("columns", columns_problem(&columns))] {
        if let Some(problem) = problem {
            section.problem(name, problem);
            is_sound = false;
        }
    }
    let options = TargetOptions { path: path?.into(), table, columns, id_field, synchronous: synchronous? };
    is_sound.then(|| Box::new(SqliteSink::new(options)) as _)
}

fn table_problem(table: &str) -> Option<String> {
    let reserved = ["sqlite_", custody::OWN_PREFIX];
    let starts_with = |prefix: &&str| {
        table.get(..prefix.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
    };
    match reserved.iter().find(|prefix| starts_with(prefix)) {
        Some(prefix) => Some(format!("is {table:?}, but names that begin with {prefix:?} are reserved")),
        None => is_no_name(table).then(|| "must not be empty or hold a zero byte".to_owned()),
    }
}

/// SQLite does not tell `Year` from `year`, so two fields that differ only in case cannot both be columns.
fn columns_problem(columns: &[String]) -> Option<String> {
    for (index, column) in columns.iter().enumerate() {
        let is = |other: &str| column.eq_ignore_ascii_case(other);
        if is_no_name(column) {
            return Some("holds a name that is empty or has a zero byte".to_owned());
        }
        if is("id") || is("document") {
            return Some(format!("holds {column:?}, which the table has anyway"));
        }
        if columns[..index].iter().any(|earlier| is(earlier)) {
            return Some(format!("holds {column:?} twice (upper and lower case are not told apart)"));
        }
    }
    None
}

fn is_no_name(name: &str) -> bool {
    name.is_empty() || name.contains('\0')
}
