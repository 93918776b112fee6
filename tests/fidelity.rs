//! What no step touches comes out byte for byte, whatever it is read from and written to.
//!
//! The documents are those that other tools change: they read values and write them again, and what a value does not hold is lost. docferry
//! never has the value, only its text.

use crate::place::Place;
use std::io::{Read, Write};

/// Number text, escapes, order of keys, a key that stands twice, white space inside, keys that differ by case only.
const DOCUMENTS: [&str; 8] = [
    r#"{"id":"1","price":1.10,"far":1e400,"near":2100.607537417505,"whole":12345678901234567890123}"#,
    r#"{"id":"2","escaped":"\u00e9\/\ud83d\ude00\n","plain":"é😀","$type":"T"}"#,
    r#"{"z":1,"a":2,"id":"3"}"#,
    r#"{"id":"4","twice":1,"twice":2}"#,
    "{ \"id\" : \"5\" ,\t\"nested\" : { \"x\" : [ 1 , [ 2 ] ] } }",
    r#"{"\u0069d":"6","zero":-0,"nought":-0.0,"exponent":1E+2}"#,
    r#"{"id":"7","Id":"seven","object":{},"list":[],"yes":true,"no":false,"nothing":null}"#,
    r#"{"id":8,"":"","deep":[[[[[[{"a":[]}]]]]]]}"#,
];

const SOURCES: [&str; 4] = ["in.jsonl", "in.jsonl.gz", "in.jsonl.zst", "in.json"];

/// The first file is long and the second short: read at the same time, the second would be written before the end of the first.
#[test]
fn of_equal_ids_in_several_files_the_one_in_the_later_file_wins() {
    const DOCUMENTS: usize = 20_000;
    let file = |version: char, padding: &str| -> String {
        let line = |id| format!("{{\"id\":\"{id}\",\"version\":\"{version}\",\"padding\":\"{padding}\"}}\n");
        (0..DOCUMENTS).rev().map(line).collect()
    };
    for target in [
        "connector = \"sqlite\"\npath = \"out.db\"",
        "connector = \"memory\"\njournal = \"j.jsonl\"\nlanes = 3",
    ] {
        let place = Place::new();
        // In the order of names, not of making.
        place.write("in-2.jsonl", file('b', ""));
        place.write("in-1.jsonl", file('a', &"x".repeat(300)));
        place.write(
            "s.toml",
            format!("[source]\nconnector = \"file\"\npath = \"in-*.jsonl\"\nduplicates = \"last\"\n[target]\n{target}\n"),
        );
        place.succeed("migrate --strategy ./s.toml --readers 4 --transformers 4");
        let is_second = |text: &str| text.contains("\"version\":\"b\"");
        if target.contains("sqlite") {
            let database = place.database("out.db");
            let mut query = database.prepare("SELECT document FROM documents").unwrap();
            let rows: Vec<String> =
                query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            assert_eq!(
                (rows.len(), rows.iter().filter(|row| is_second(row)).count()),
                (DOCUMENTS, DOCUMENTS)
            );
        } else {
            let journal = text(&place.read("j.jsonl"));
            let lines: Vec<bool> = journal.lines().map(is_second).collect();
            assert_eq!(lines.len(), 2 * DOCUMENTS);
            assert!(lines.is_sorted(), "all of the first file before all of the second");
        }
        place.succeed("verify --strategy ./s.toml");
    }
}

#[test]
fn lines_come_out_as_they_went_in() {
    for source in SOURCES {
        assert_eq!(text(&migrated(source, "out.jsonl")), lines(), "from {source}");
    }
}

#[test]
fn compressed_lines_come_out_as_they_went_in() {
    for source in SOURCES {
        let mut found = String::new();
        let packed = migrated(source, "out.jsonl.gz");
        flate2::read::MultiGzDecoder::new(&packed[..]).read_to_string(&mut found).unwrap();
        assert_eq!(found, lines(), "from {source} to gzip");
        let packed = migrated(source, "out.jsonl.zst");
        assert_eq!(text(&zstd::decode_all(&packed[..]).unwrap()), lines(), "from {source} to zstd");
    }
}

#[test]
fn an_array_holds_the_documents_as_they_were() {
    for source in SOURCES {
        let array = text(&migrated(source, "out.json"));
        let mut rest = array.trim_start_matches(['[', '\n']);
        for document in DOCUMENTS {
            let found = rest.strip_prefix(document);
            rest = found
                .unwrap_or_else(|| panic!("{document} is not next in {rest}"))
                .trim_start_matches([',', '\n']);
        }
        assert_eq!(rest, "]\n", "from {source}");
    }
}

#[test]
fn a_row_holds_the_document_as_it_was() {
    for source in SOURCES {
        let place = given();
        place.succeed(&format!("migrate --from {source} --to sqlite:out.db"));
        let database = place.database("out.db");
        let mut query = database.prepare("SELECT document FROM documents ORDER BY id").unwrap();
        let found: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(found, DOCUMENTS, "from {source}");
    }
}

#[test]
fn rows_come_out_as_they_went_in() {
    let place = given();
    place.succeed("migrate --from in.jsonl --to sqlite:between.db");
    place.succeed("migrate --from sqlite:between.db --to out.jsonl");
    assert_eq!(text(&place.read("out.jsonl")), lines());
}

/// Beside what a step edits, everything stays.
#[test]
fn a_step_changes_its_field_and_nothing_else() {
    let place = given();
    place.write(
        "strategy.toml",
        "[source]\nconnector = \"file\"\npath = \"in.jsonl\"\n[[transform]]\nremove = [\"near\"]\n\
         [target]\nconnector = \"file\"\npath = \"out.jsonl\"\n",
    );
    place.succeed("migrate --strategy strategy.toml");
    assert_eq!(text(&place.read("out.jsonl")), lines().replace(r#","near":2100.607537417505"#, ""));
}

fn lines() -> String {
    DOCUMENTS.map(|document| format!("{document}\n")).concat()
}

/// A place with the documents in every form.
fn given() -> Place {
    let place = Place::new();
    place.write("in.jsonl", lines());
    place.write("in.json", format!("[\n  {}\n]\n", DOCUMENTS.join(",\n  ")));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(lines().as_bytes()).unwrap();
    place.write("in.jsonl.gz", gzip.finish().unwrap());
    place.write("in.jsonl.zst", zstd::encode_all(lines().as_bytes(), 0).unwrap());
    place
}

fn migrated(source: &str, target: &str) -> Vec<u8> {
    let place = given();
    place.succeed(&format!("migrate --from {source} --to {target}"));
    place.read(target)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
