//! What is read of which table, and how it is cut.
//!
//! Partitions are ranges of row ids, aligned to a width that depends on the rows alone: the width that was set, doubled until
//! there are few enough of them. So the list is the same on every machine, and a partition's number says where it lies.

use crate::connector::sqlite::columns::Extract;
use crate::connector::sqlite::connection::{failure, open_to_look, open_to_read, quoted};
use crate::connector::sqlite::{DEFAULT_TABLE, SourceOptions, schema};
use crate::error::{Error, Result};
use crate::model::partition::{Partition, PartitionId, Position};
use crate::model::settings::nearest;
use rusqlite::Connection;
use std::ops::RangeInclusive;

/// More partitions than this cost more (in checkpoints, in opening them) than they give: no pool has so many readers.
const MOST_PARTITIONS: u64 = 1024;

const OPERATION: &str = "opening the source";

/// How a row becomes a document.
#[derive(Clone, Debug)]
pub(super) enum Layout {
    /// One column holds it.
    Document(String),
    /// Every column is a field.
    Fields(Vec<String>),
    /// One column holds it, and the others must agree with it.
    Checked(Extract),
}

/// How a table is read.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) table: String,
    /// The name under which the row id can be asked for; columns may take the usual ones.
    pub(super) rowid: &'static str,
    pub(super) layout: Layout,
    /// Rows in the table.
    pub(super) count: u64,
    /// The smallest and the largest row id; `None`: the table is empty.
    ids: Option<RangeInclusive<u64>>,
    /// Row ids in a partition.
    width: u64,
}

impl Plan {
    /// Looks at the database. `extract`: the table was written by a sink with these columns.
    pub(super) fn make(options: &SourceOptions, extract: Option<&Extract>) -> Result<Self> {
        let path = options.path.as_path();
        let open = if extract.is_some() { open_to_look } else { open_to_read };
        let connection = open(OPERATION, path)?;
        let failure = failure(OPERATION, path);
        let refused = |why: String| Error::configuration(OPERATION, why).with("path", path.display());

        let table = match &options.table {
            Some(table) => table.clone(),
            None => only_table(schema::user_tables(&connection).map_err(failure)?).map_err(refused)?,
        };
        check_kind(&connection, &table).map_err(failure)?.map_err(refused)?;
        let columns = schema::columns(&connection, &table).map_err(failure)?;
        let rowid = rowid_name(&columns).ok_or_else(|| {
            refused(format!("table {table:?} has columns that hide the row id under each of its names"))
        })?;
        let names = columns.into_iter().map(|column| column.name).collect();
        let layout = match extract {
            Some(extract) => Layout::Checked(extract.clone()),
            None => layout(&table, names, options.column.as_deref()).map_err(refused)?,
        };
        let (ids, count) = extent(&connection, &table, rowid).map_err(failure)?;
        let ids = match ids {
            Some((least, _)) if least < 0 => {
                return Err(refused(format!(
                    "table {table:?} has row ids below zero, which cannot be positions"
                )));
            }
            ids => ids.map(|(least, most)| least as u64..=most as u64),
        };
        let width = width(ids.as_ref(), options.partition_rows);
        Ok(Self { table, rowid, layout, count, ids, width })
    }

    /// The partitions in the order of row ids. A range between the first and the last may be empty.
    pub(super) fn partitions(&self) -> Vec<Partition> {
        let Some(ids) = &self.ids else { return Vec::new() };
        // Without gaps every range is full, and its length is known without a scan.
        let is_dense = ids.end() - ids.start() + 1 == self.count;
        let partition = |number: u64| {
            let range = self.range(number * self.width);
            let (first, last) = (*range.start().max(ids.start()), *range.end().min(ids.end()));
            Partition {
                id: PartitionId(format!("{}:{number}", self.table)),
                start: Position::new(*range.start(), 0),
                bytes: None,
                documents: is_dense.then(|| last - first + 1),
            }
        };
        (ids.start() / self.width..=ids.end() / self.width).map(partition).collect()
    }

    /// The row ids of the partition that begins at `start`.
    pub(super) fn range(&self, start: u64) -> RangeInclusive<u64> {
        start..=(start + (self.width - 1)).min(i64::MAX as u64)
    }

    /// The columns that are read; the size of what is in them decides whether a row is too large.
    pub(super) fn columns(&self) -> (Vec<&str>, &[String]) {
        match &self.layout {
            Layout::Document(column) => (vec![column], &[]),
            Layout::Fields(columns) => (columns.iter().map(String::as_str).collect(), &[]),
            Layout::Checked(extract) => (vec!["document", "id"], &extract.columns),
        }
    }

    /// The query for rows: from ?1 to ?2 at most ?3 of them; the values of a row with more than ?4 bytes are left out, and so
    /// never come into memory.
    pub(super) fn query(&self) -> String {
        let (first, more) = self.columns();
        let columns: Vec<String> =
            first.into_iter().chain(more.iter().map(String::as_str)).map(quoted).collect();
        let sized = match self.layout {
            Layout::Fields(_) => &columns[..],
            Layout::Document(_) | Layout::Checked(_) => &columns[..1],
        };
        let sizes: Vec<String> =
            sized.iter().map(|column| format!("coalesce(octet_length({column}), 0)")).collect();
        let size = sizes.join(" + ");
        let values: Vec<String> =
            columns.iter().map(|column| format!("CASE WHEN {size} <= ?4 THEN {column} END")).collect();
        let (rowid, table, values) = (self.rowid, quoted(&self.table), values.join(", "));
        format!(
            "SELECT {rowid}, {size}, {values} FROM {table} WHERE {rowid} >= ?1 AND {rowid} <= ?2 \
             ORDER BY {rowid} LIMIT ?3"
        )
    }
}

fn only_table(mut tables: Vec<String>) -> Result<String, String> {
    if let Some(default) = tables.iter().find(|table| table.eq_ignore_ascii_case(DEFAULT_TABLE)) {
        return Ok(default.clone());
    }
    match tables.len() {
        0 => Err("the database has no table".to_owned()),
        1 => Ok(tables.remove(0)),
        _ => Err(format!("the database has several tables; `table` must name one of {}", tables.join(", "))),
    }
}

fn check_kind(connection: &Connection, table: &str) -> rusqlite::Result<Result<(), String>> {
    let Some(found) = schema::table(connection, table)? else {
        let tables = schema::user_tables(connection)?;
        let names: Vec<&str> = tables.iter().map(String::as_str).collect();
        let hint = nearest(table, &names).map(|near| format!("; did you mean {near:?}?"));
        return Ok(Err(format!("there is no table {table:?}{}", hint.unwrap_or_default())));
    };
    let why = match (&*found.kind, found.without_rowid) {
        ("table", false) => return Ok(Ok(())),
        ("table", true) => "is a WITHOUT ROWID table",
        ("view", _) => "is a view",
        _ => "is a virtual table",
    };
    Ok(Err(format!("{table:?} {why}, which has no row ids to read by")))
}

/// A name of the row id that no other column has taken.
pub(super) fn rowid_name(columns: &[schema::Column]) -> Option<&'static str> {
    let is_free = |name: &&str| {
        columns.iter().all(|column| !column.name.eq_ignore_ascii_case(name) || column.may_be_rowid())
    };
    ["rowid", "_rowid_", "oid"].into_iter().find(is_free)
}

fn layout(table: &str, columns: Vec<String>, column: Option<&str>) -> Result<Layout, String> {
    let wanted = column.unwrap_or("document");
    let found = columns.iter().find(|name| name.eq_ignore_ascii_case(wanted));
    match (found, column) {
        (Some(name), _) => Ok(Layout::Document(name.clone())),
        (None, None) => Ok(Layout::Fields(columns)),
        (None, Some(wanted)) => {
            let names: Vec<&str> = columns.iter().map(String::as_str).collect();
            let hint = nearest(wanted, &names).map(|near| format!("; did you mean {near:?}?"));
            Err(format!("table {table:?} has no column {wanted:?}{}", hint.unwrap_or_default()))
        }
    }
}

/// The least and the largest row id, and how many rows there are.
fn extent(connection: &Connection, table: &str, rowid: &str) -> rusqlite::Result<(Option<(i64, i64)>, u64)> {
    // One aggregate a query: each of the first two is then a seek, not a scan.
    let table = quoted(table);
    let query = format!(
        "SELECT (SELECT min({rowid}) FROM {table}), (SELECT max({rowid}) FROM {table}), \
         (SELECT count(*) FROM {table})"
    );
    connection.query_row(&query, [], |row| {
        let ends: (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
        Ok((ends.0.zip(ends.1), row.get::<_, i64>(2)? as u64))
    })
}

fn width(ids: Option<&RangeInclusive<u64>>, partition_rows: u64) -> u64 {
    let mut width = partition_rows;
    if let Some(ids) = ids {
        while ids.end() / width - ids.start() / width >= MOST_PARTITIONS {
            width *= 2;
        }
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_are_few_aligned_and_cover_every_row_id(
            a in 0..=i64::MAX as u64, b in 0..=i64::MAX as u64, rows in 1..=1_000_000_000_000_u64
        ) {
            let ids = a.min(b)..=a.max(b);
            let plan = Plan {
                table: "t".into(),
                rowid: "rowid",
                layout: Layout::Document("document".into()),
                count: 2,
                width: width(Some(&ids), rows),
                ids: Some(ids.clone()),
            };
            let partitions = plan.partitions();
            prop_assert!(partitions.len() as u64 <= MOST_PARTITIONS);
            let ranges: Vec<_> = partitions.iter().map(|partition| plan.range(partition.start.at)).collect();
            prop_assert!(ranges[0].contains(ids.start()));
            prop_assert!(ranges[ranges.len() - 1].contains(ids.end()));
            for pair in ranges.windows(2) {
                prop_assert_eq!(pair[0].end() + 1, *pair[1].start());
            }
        }
    }

    #[test]
    fn a_taken_name_of_the_row_id_is_passed_over() {
        let connection = Connection::open_in_memory().unwrap();
        let name = |columns: &str| {
            connection.execute_batch(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t ({columns})")).unwrap();
            rowid_name(&schema::columns(&connection, "t").unwrap())
        };
        assert_eq!(name("a"), Some("rowid"));
        assert_eq!(name("RowId TEXT, a"), Some("_rowid_"));
        assert_eq!(name("rowid INTEGER PRIMARY KEY"), Some("rowid"));
        assert_eq!(name("rowid, _rowid_, oid"), None);
    }
}
