//! What tables a database has, what is in them, and the target's own table.

use crate::connector::sqlite::TargetOptions;
use crate::connector::sqlite::connection::quoted;
use rusqlite::{Connection, OptionalExtension};

/// What a name in the schema stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// `table`, `view`, `virtual` or `shadow`.
    pub(super) kind: String,
    pub(super) without_rowid: bool,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    declared: String,
    primary_key: bool,
}

impl Column {
    /// Whether it may be the row id under another name.
    pub(super) fn may_be_rowid(&self) -> bool {
        self.primary_key && self.declared.eq_ignore_ascii_case("INTEGER")
    }
}

/// What stands in the schema under this name.
pub(super) fn table(connection: &Connection, name: &str) -> rusqlite::Result<Option<Table>> {
    let query = "SELECT type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE";
    let found = connection
        .query_row(query, [name], |row| Ok(Table { kind: row.get(0)?, without_rowid: row.get(1)? }));
    found.optional()
}

/// Whether anything stands in the schema under this name.
pub(super) fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    table(connection, name).map(|found| found.is_some())
}

/// The user's tables and views, by name.
pub(super) fn user_tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let query = r"SELECT name FROM pragma_table_list WHERE schema = 'main' AND type <> 'shadow'
        AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE '\_docferry\_%' ESCAPE '\' ORDER BY name";
    connection.prepare(query)?.query_map([], |row| row.get(0))?.collect()
}

/// The columns of a table, generated ones included.
pub(super) fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    // `hidden` is 1 for the arguments of a virtual table, 2 and 3 for generated columns.
    let query = "SELECT name, type, pk FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid";
    let column = |row: &rusqlite::Row<'_>| {
        Ok(Column { name: row.get(0)?, declared: row.get(1)?, primary_key: row.get::<_, i64>(2)? > 0 })
    };
    connection.prepare(query)?.query_map([table], column)?.collect()
}

/// Creates the target's table if need be. Extra columns have no declared type: a value is stored as what it is.
pub(super) fn create(connection: &Connection, options: &TargetOptions) -> rusqlite::Result<()> {
    let mut sql = format!(
        "CREATE TABLE IF NOT EXISTS {} (id TEXT PRIMARY KEY, document TEXT NOT NULL",
        quoted(&options.table)
    );
    for column in &options.columns {
        sql.push_str(", ");
        sql.push_str(&quoted(column));
    }
    sql.push(')');
    connection.execute(&sql, []).map(drop)
}

/// Whether the target's table holds a row.
pub(super) fn has_rows(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    connection.prepare(&format!("SELECT 1 FROM {} LIMIT 1", quoted(table)))?.exists([])
}

/// In what an existing table differs from the one that would be created; `None` if in nothing that matters.
pub(super) fn difference(
    connection: &Connection,
    found: &Table,
    options: &TargetOptions,
) -> rusqlite::Result<Option<String>> {
    if found.kind != "table" {
        return Ok(Some(format!("it is a {} table or view", found.kind)));
    }
    let columns = columns(connection, &options.table)?;
    let expected = ["id", "document"].into_iter().chain(options.columns.iter().map(String::as_str));
    let is = |column: &Column, name: &str| column.name.eq_ignore_ascii_case(name);
    for name in expected.clone() {
        if !columns.iter().any(|column| is(column, name)) {
            return Ok(Some(format!("it has no column {name:?}")));
        }
    }
    let unexpected = |column: &&Column| !expected.clone().any(|name| is(column, name));
    if let Some(column) = columns.iter().find(unexpected) {
        return Ok(Some(format!("it has a column {:?}, which `columns` does not name", column.name)));
    }
    if columns.iter().any(|column| column.primary_key != is(column, "id")) {
        return Ok(Some("its primary key is not the column \"id\"".to_owned()));
    }
    Ok(None)
}
