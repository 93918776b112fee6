//! What only this connector does: columns, rows of any table, and the databases that it refuses.

use super::{SourceOptions, SqliteSink, SqliteSource, TargetOptions, sink_from_settings};
use crate::connector::{Prepare, Sink, Source, Start};
use crate::error::{ErrorKind, Result};
use crate::model::batch::{BatchLimit, Next};
use crate::model::checkpoint::Checkpoint;
use crate::model::document::{Documents, Operation};
use crate::model::partition::Stretch;
use crate::model::request::{Outcome, Request, Segment};
use crate::model::settings::{Origin, Section, Setting, Value};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

const LIMIT: BatchLimit = BatchLimit { documents: 1000, bytes: 1 << 20, max_document: 1 << 20 };

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    (folder, path)
}

fn database(path: &Path, sql: &str) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
    connection
}

async fn prepare(sink: &SqliteSink) -> Result<String> {
    let prepare = Prepare {
        job: "job",
        run: "run",
        partitions: &[],
        start: Start::Fresh,
        previous: None,
        overwrite: false,
    };
    sink.prepare(prepare).await
}

async fn send(sink: &SqliteSink, documents: &[&str], operation: Operation) -> Result<Outcome> {
    let mut buffer = Documents::default();
    documents.iter().zip(0..).for_each(|(document, at)| buffer.push(document.as_bytes(), at, at as u32));
    buffer.spans.iter_mut().for_each(|span| span.operation = operation);
    let range = 0..documents.len() as u32;
    let segment = Segment { documents: Arc::new(buffer), partition: 0, range };
    sink.lanes()[0].send(Request { segments: vec![segment], leave: None }).await
}

/// Documents, and the reasons of rejects, over all partitions.
async fn read(source: &dyn Source) -> (Vec<String>, Vec<String>) {
    let (mut documents, mut reasons) = (Vec::new(), Vec::new());
    for partition in source.partitions().await.unwrap() {
        let stretch = Stretch { from: partition.start.clone(), until: None };
        let mut reader = source.open(&partition, stretch).await.unwrap();
        while let Next::Batch(batch) = reader.next(LIMIT).await.unwrap() {
            let text = |index| String::from_utf8(batch.documents.bytes(index).to_vec()).unwrap();
            documents.extend((0..batch.documents.len()).map(text));
            reasons.extend(batch.rejects.into_iter().map(|reject| reject.reason));
        }
    }
    (documents, reasons)
}

async fn refusal(source: SourceOptions) -> String {
    let error = SqliteSource::new(source).check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    error.to_string()
}

#[tokio::test]
async fn fields_become_columns_and_a_row_that_disagrees_is_found() {
    let (_folder, path) = folder();
    let columns = vec!["year".to_owned(), "a \"b".to_owned()];
    let sink = SqliteSink::new(TargetOptions { columns, ..TargetOptions::new(&path) });
    prepare(&sink).await.unwrap();
    let documents = [
        r#"{"id":7,"year":1999,"a \"b":[1]}"#,
        r#"{"id":"b","year":1e400}"#,
        r#"{"year":1}"#,
        r#"{"id":"c","year":-0.0}"#,
    ];
    let outcome = send(&sink, &documents, Operation::Upsert).await.unwrap();
    assert_eq!(
        outcome.rejected,
        [(2, r#"no id: field "id" is missing; [id] from = "position" makes one"#.to_owned())]
    );
    sink.finish().await.unwrap();
    let found = read(&*sink.read_back().unwrap()).await;
    assert_eq!(found.0, [documents[0], documents[1], documents[3]]);
    assert!(found.1.is_empty(), "{:?}", found.1);

    let other = database(&path, "UPDATE documents SET year = 2000 WHERE id = '7'");
    other.execute("UPDATE documents SET id = 'x' WHERE id = 'b'", []).unwrap();
    assert_eq!(
        read(&*sink.read_back().unwrap()).await.1,
        [
            "row id 1: column year is not what the document holds",
            "row id 2: column id is not what the document holds",
        ]
    );
}

#[tokio::test]
async fn a_delete_removes_the_row() {
    let (_folder, path) = folder();
    let sink = SqliteSink::new(TargetOptions::new(&path));
    prepare(&sink).await.unwrap();
    send(&sink, &[r#"{"id":"a"}"#, r#"{"id":"b"}"#], Operation::Upsert).await.unwrap();
    send(&sink, &[r#"{"id":"a"}"#], Operation::Delete).await.unwrap();
    send(&sink, &[r#"{"id":7}"#], Operation::Upsert).await.unwrap();
    send(&sink, &[r#"{"id":"7"}"#], Operation::Delete).await.unwrap();
    sink.finish().await.unwrap();
    assert_eq!(read(&*sink.read_back().unwrap()).await.0, [r#"{"id":"b"}"#, r#"{"id":7}"#]);
}

#[tokio::test]
async fn a_row_that_holds_no_document_gives_way() {
    let (_folder, path) = folder();
    database(
        &path,
        "CREATE TABLE documents (id TEXT PRIMARY KEY, document TEXT NOT NULL);
         INSERT INTO documents VALUES ('1', 'rubbish'), ('2', x'ff'), ('3', '{\"id\":3}')",
    );
    let sink = SqliteSink::new(TargetOptions::new(&path));
    let prepare = Prepare {
        job: "job",
        run: "run",
        partitions: &[],
        start: Start::Fresh,
        previous: None,
        overwrite: true,
    };
    sink.prepare(prepare).await.unwrap();
    let documents = [r#"{"id":"1"}"#, r#"{"id":2}"#, r#"{"id":"3"}"#];
    let outcome = send(&sink, &documents, Operation::Upsert).await.unwrap();
    assert_eq!(outcome.rejected.len(), 1, "{outcome:?}");
    assert_eq!(outcome.rejected[0].0, 2);
    sink.finish().await.unwrap();
    assert_eq!(read(&*sink.read_back().unwrap()).await.0, [documents[0], documents[1], r#"{"id":3}"#]);
}

#[tokio::test]
async fn a_request_that_fails_leaves_nothing_and_a_full_disk_is_told() {
    let (_folder, path) = folder();
    let sink = SqliteSink::new(TargetOptions::new(&path));
    prepare(&sink).await.unwrap();
    sink.finish().await.unwrap();
    // A trigger stands in for a full disk in the middle of a request.
    let other = database(
        &path,
        "CREATE TRIGGER t BEFORE INSERT ON documents WHEN new.id = 'bad' BEGIN SELECT RAISE(FAIL, 'no'); END",
    );
    prepare(&sink).await.unwrap();
    send(&sink, &[r#"{"id":"a"}"#], Operation::Upsert).await.unwrap();
    let failed = send(&sink, &[r#"{"id":"b"}"#, r#"{"id":"bad"}"#], Operation::Upsert).await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Io);
    sink.flush(&Checkpoint::default()).await.unwrap();
    let count = |from: &Connection| {
        from.query_row("SELECT count(*) FROM documents", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(count(&other), 1, "the request before it stands, nothing of the failed one does");

    let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    let error = super::connection::failure("writing", &path)(rusqlite::Error::SqliteFailure(full, None));
    assert_eq!(error.kind(), ErrorKind::StorageFull);
}

#[tokio::test]
async fn targets_that_cannot_be_written_are_named() {
    let (folder, path) = folder();
    let check = async |options: TargetOptions| {
        let error = SqliteSink::new(options.clone()).check().await.unwrap_err();
        let again = prepare(&SqliteSink::new(options)).await.unwrap_err();
        assert_eq!((error.kind(), again.kind()), (ErrorKind::Configuration, ErrorKind::Configuration));
        error.to_string()
    };
    let missing = TargetOptions::new(folder.path().join("no/t.db"));
    assert!(check(missing).await.contains("the folder of the database does not exist"));
    assert!(check(TargetOptions::new(folder.path())).await.contains("is a folder, not a database file"));
    let text = folder.path().join("text.db");
    std::fs::write(&text, "no database, but long enough to have a header of one hundred bytes".repeat(3))
        .unwrap();
    assert!(check(TargetOptions::new(&text)).await.contains("is not a SQLite database"));

    database(
        &path,
        "CREATE TABLE a (id TEXT PRIMARY KEY, document TEXT, extra);
         CREATE TABLE b (id TEXT, document TEXT);
         CREATE VIEW v AS SELECT 1;",
    );
    let table = |table: &str| TargetOptions { table: table.to_owned(), ..TargetOptions::new(&path) };
    assert!(check(table("a")).await.contains("it has a column \"extra\", which `columns` does not name"));
    assert!(check(table("b")).await.contains("its primary key is not the column \"id\""));
    assert!(check(table("V")).await.contains("it is a view"));
    let columns = vec!["extra".to_owned(), "year".to_owned()];
    assert!(check(TargetOptions { columns, ..table("a") }).await.contains("it has no column \"year\""));
}

#[tokio::test]
async fn sources_that_cannot_be_read_are_named() {
    let (folder, path) = folder();
    let at = |path: &Path| SourceOptions::new(path);
    let table = |table: &str| SourceOptions { table: Some(table.to_owned()), ..SourceOptions::new(&path) };
    assert!(refusal(at(&path)).await.contains("there is no such file"));
    assert!(refusal(at(folder.path())).await.contains("is a folder"));
    let connection = database(&path, "CREATE TABLE orders (a)");
    assert_eq!(read(&SqliteSource::new(at(&path))).await.0.len(), 0);
    connection
        .execute_batch(
            "CREATE TABLE other (id TEXT PRIMARY KEY) WITHOUT ROWID; CREATE VIEW v AS SELECT 1;
             CREATE TABLE below (a); INSERT INTO below (rowid) VALUES (-1);",
        )
        .unwrap();
    assert!(refusal(at(&path)).await.contains("`table` must name one of below, orders, other, v"));
    assert!(refusal(table("order")).await.contains("there is no table \"order\"; did you mean \"orders\"?"));
    assert!(refusal(table("other")).await.contains("is a WITHOUT ROWID table"));
    assert!(refusal(table("v")).await.contains("is a view"));
    assert!(refusal(table("below")).await.contains("row ids below zero"));
    let column = SourceOptions { column: Some("b".to_owned()), ..table("orders") };
    assert!(refusal(column).await.contains("has no column \"b\""));
}

#[tokio::test]
async fn a_value_that_is_no_document_is_a_reject() {
    let (_folder, path) = folder();
    database(
        &path,
        "CREATE TABLE documents (n INTEGER PRIMARY KEY, document);
         INSERT INTO documents VALUES (1, ' {\"a\":1.10} ' || char(10)), (2, NULL), (3, x'7b7d'), (4, 5);
         INSERT INTO documents VALUES (9223372036854775807, '{}');",
    );
    let (documents, reasons) = read(&SqliteSource::new(SourceOptions::new(&path))).await;
    assert_eq!(documents, [r#"{"a":1.10}"#, "{}"]);
    let reason = |kind| format!("column \"document\" is {kind}, not the text of a document");
    assert_eq!(reasons, [reason("null"), reason("a blob"), reason("a number")]);
}

#[tokio::test]
async fn a_damaged_page_comes_after_what_lies_before_it() {
    let (_folder, path) = folder();
    let connection = database(&path, "CREATE TABLE documents (id TEXT PRIMARY KEY, document); BEGIN");
    for number in 0..2000 {
        let document = format!(r#"{{"id":{number},"text":"{}"}}"#, "x".repeat(200));
        connection.execute("INSERT INTO documents VALUES (?1, ?2)", (number, document)).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
    drop(connection);
    let mut bytes = std::fs::read(&path).unwrap();
    // A leaf of the table (13 in SQLite's format), not of the index: counting the rows does not pass it.
    let leaves: Vec<usize> = (0..bytes.len()).step_by(4096).filter(|page| bytes[*page] == 13).collect();
    let middle = leaves[leaves.len() / 2];
    bytes[middle..middle + 4096].fill(0xff);
    std::fs::write(&path, bytes).unwrap();

    let source = SqliteSource::new(SourceOptions::new(&path));
    let partition = source.partitions().await.unwrap().remove(0);
    let stretch = Stretch { from: partition.start.clone(), until: None };
    let mut reader = source.open(&partition, stretch).await.unwrap();
    let mut seen = 0;
    let error = loop {
        match reader.next(LIMIT).await {
            Ok(Next::Batch(batch)) => seen = batch.to.ordinal,
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!((900..1100).contains(&seen), "{seen} of 2000 lie before the middle leaf");
}

#[test]
fn names_that_would_collide_are_problems() {
    let text = |text: &str| Value::Text(text.to_owned());
    let setting = |value| Setting { value, origin: Origin::BuiltIn };
    let problems = |table: &str, columns: &[&str]| {
        let columns = columns.iter().map(|column| setting(text(column))).collect();
        let entries = [("path", text("x.db")), ("table", text(table)), ("columns", Value::List(columns))];
        let entries = entries.map(|(name, value)| (name.to_owned(), setting(value)));
        let mut section = Section::new("target", Origin::BuiltIn, entries.into());
        let is_made = sink_from_settings(&mut section).is_some();
        let problems = section.finish().1;
        assert_eq!(is_made, problems.is_empty());
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(problems("t", &["year", "name"]), "");
    assert_eq!(
        problems("SQLITE_x", &["Id"]),
        "target.table: is \"SQLITE_x\", but names that begin with \"sqlite_\" are reserved; \
         target.columns: holds \"Id\", which the table has anyway"
    );
    assert_eq!(
        problems("t", &["year", "Year"]),
        "target.columns: holds \"Year\" twice (upper and lower case are not told apart)"
    );
}

#[tokio::test]
async fn refused_rows_fill_a_batch_like_documents() {
    const ROW: usize = 400_000;
    let (_folder, path) = folder();
    let sql = "CREATE TABLE t (document); CREATE TABLE numbers (n);
               INSERT INTO numbers VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
               INSERT INTO t SELECT zeroblob(400000) FROM numbers";
    database(&path, sql);
    let source =
        SqliteSource::new(SourceOptions { table: Some("t".to_owned()), ..SourceOptions::new(&path) });
    let partition = source.partitions().await.unwrap().remove(0);
    let stretch = Stretch { from: partition.start.clone(), until: None };
    let mut reader = source.open(&partition, stretch).await.unwrap();
    let mut rejected = Vec::new();
    // Too little for one row: it is asked for.
    let small = BatchLimit { bytes: ROW - 1, ..LIMIT };
    assert!(matches!(reader.next(small).await.unwrap(), Next::Grow(ROW)));
    while let Next::Batch(batch) = reader.next(LIMIT).await.unwrap() {
        assert!(batch.rejects.iter().map(|reject| reject.bytes.len()).sum::<usize>() <= LIMIT.bytes);
        rejected.extend(batch.rejects.iter().map(|reject| (reject.at, reject.bytes.len())));
    }
    assert_eq!(rejected, (1..=10).map(|at| (at, ROW)).collect::<Vec<_>>());
}
