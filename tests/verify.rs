//! `verify` sees every difference, also those that a count or a sum of columns would miss.

use crate::place::{Place, orders};

const ORDERS: usize = 500;

/// The exit code that says that source and target differ.
const DIFFERENT: i32 = 65;

#[test]
fn equal_targets_are_equal() {
    for target in ["out.jsonl", "out.jsonl.gz", "out.json", "parts", "sqlite:out.db"] {
        let place = Place::new();
        place.write("in.jsonl", orders(ORDERS));
        place.succeed(&format!("migrate --from in.jsonl --to {target}"));
        let ran = place.succeed(&format!("verify --from in.jsonl --to {target}"));
        assert!(ran.out.starts_with("source and target are equal\n"), "{target}: {}", ran.out);
    }
}

/// What somebody did to the lines of a target.
type Change = fn(&mut Vec<String>);

#[test]
fn a_changed_file_is_told_from_its_source() {
    let changes: [(&str, Change); 5] = [
        ("one changed byte", |lines| lines[77] = lines[77].replace(".50", ".51")),
        ("one missing", |lines| drop(lines.remove(77))),
        ("one extra", |lines| lines.push(r#"{"id":"order-extra"}"#.to_owned())),
        ("one doubled and another missing", |lines| lines[77] = lines[78].clone()),
        ("two bodies swapped between ids", |lines| {
            let body = |line: &str| line.split_once(',').unwrap().1.to_owned();
            let (first, second) = (body(&lines[77]), body(&lines[78]));
            lines[77] = lines[77].replace(&first, &second);
            lines[78] = lines[78].replace(&second, &first);
        }),
    ];
    for (what, change) in changes {
        let place = Place::new();
        place.write("in.jsonl", orders(ORDERS));
        place.succeed("migrate --from in.jsonl --to out.jsonl");
        let written = String::from_utf8(place.read("out.jsonl")).unwrap();
        let mut lines: Vec<String> = written.lines().map(str::to_owned).collect();
        change(&mut lines);
        let changed = lines.join("\n") + "\n";
        assert_ne!(changed, written, "{what}");
        place.write("out.jsonl", changed);
        let ran = place.docferry("verify --from in.jsonl --to out.jsonl");
        assert_eq!(ran.code, DIFFERENT, "{what}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn a_changed_table_is_told_from_its_source() {
    for (what, change) in [
        ("one changed byte", "UPDATE t SET document = replace(document, '.50', '.51') WHERE id = 'order-77'"),
        ("one missing", "DELETE FROM t WHERE id = 'order-77'"),
        ("one extra", r#"INSERT INTO t (id, document) VALUES ('extra', '{"id":"extra"}')"#),
        (
            "one doubled and another missing",
            "DELETE FROM t WHERE id = 'order-78';
             INSERT INTO t SELECT 'order-78', document, total FROM t WHERE id = 'order-77'",
        ),
        (
            "two bodies swapped between ids",
            "CREATE TEMP TABLE kept AS SELECT id, document FROM t WHERE id IN ('order-77', 'order-78');
             UPDATE t SET document = (SELECT document FROM kept WHERE kept.id <> t.id)
             WHERE id IN ('order-77', 'order-78')",
        ),
        (
            "two ids swapped",
            "UPDATE t SET id = 'x' WHERE id = 'order-77'; UPDATE t SET id = 'order-77' WHERE id = 'order-78'; UPDATE t SET id = 'order-78' WHERE id = 'x'",
        ),
        (
            "a column that is not what the document holds",
            "UPDATE t SET total = total + 1 WHERE id = 'order-77'",
        ),
    ] {
        let place = Place::new();
        place.write("in.jsonl", orders(ORDERS));
        let ends = "--from in.jsonl --to sqlite:out.db?table=t&columns=total";
        place.succeed(&format!("migrate {ends}"));
        place.database("out.db").execute_batch(change).unwrap();
        let ran = place.docferry(&format!("verify {ends}"));
        assert_eq!(ran.code, DIFFERENT, "{what}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn only_the_database_is_left() {
    let place = Place::new();
    place.write("in.jsonl", orders(ORDERS));
    let ends = "--from in.jsonl --to sqlite:db/out.db";
    std::fs::create_dir(place.path("db")).unwrap();
    let files = || std::fs::read_dir(place.path("db")).unwrap().count();
    for command in ["migrate", "verify", "migrate --restart", "verify"] {
        place.succeed(&format!("{command} {ends}"));
        assert_eq!(files(), 1, "after {command}");
    }
    // Somebody else has it open: then it is theirs to clear away.
    let other = place.database("db/out.db");
    other.query_row("SELECT count(*) FROM documents", [], |_| Ok(())).unwrap();
    place.succeed(&format!("verify {ends}"));
    drop(other);
    assert_eq!(files(), 1);
}

/// Whoever reads the folder reads them too.
#[test]
fn a_part_that_no_run_has_written_is_a_difference() {
    for foreign in ["part-00001.jsonl", "part-00000.copy.jsonl", "more.jsonl"] {
        let place = Place::new();
        place.write("in.jsonl", orders(ORDERS));
        place.succeed("migrate --from in.jsonl --to parts");
        place.write("parts/notes.txt", "not a document");
        place.succeed("verify --from in.jsonl --to parts");
        place.write(&format!("parts/{foreign}"), orders(1));
        let ran = place.docferry("verify --from in.jsonl --to parts");
        assert_eq!(ran.code, DIFFERENT, "{foreign}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains("501"), "{foreign}: {}", ran.out);
        // A run begun anew does not touch what it has not written, nor write beside it.
        let ran = place.docferry("migrate --from in.jsonl --to parts --restart --overwrite");
        if foreign == "more.jsonl" {
            let says = "would be read as a part of it (path: parts/more.jsonl)\n  try: move the file away";
            assert!(ran.code == 78 && ran.err.contains(says), "{}", ran.err);
            assert!(place.holds("parts/more.jsonl"));
        } else {
            assert_eq!(ran.code, 0, "{}", ran.err);
        }
    }
}

/// The steps are applied to the source again, and what they drop or reject is not expected in the target.
#[test]
fn dropped_and_rejected_documents_are_not_missed() {
    let place = Place::new();
    place.write("in.jsonl", orders(ORDERS) + "not a document\n");
    place.write(
        "strategy.toml",
        "[source]\nconnector = \"file\"\npath = \"in.jsonl\"\n[[transform]]\nfilter = \"open\"\n\
         [target]\nconnector = \"sqlite\"\npath = \"out.db\"\n[run]\nmax_rejects = 1\n",
    );
    place.succeed("migrate --strategy strategy.toml");
    let ran = place.succeed("verify --strategy strategy.toml --json");
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let counts = ["source_documents", "target_documents", "dropped", "rejected"]
        .map(|name| found[name].as_u64().unwrap());
    assert_eq!(counts, [167, 167, 333, 1]);
}

#[test]
fn a_target_that_is_not_there_is_no_difference_but_a_mistake() {
    let place = Place::new();
    place.write("in.jsonl", orders(1));
    let ran = place.docferry("verify --from in.jsonl --to nothing.jsonl");
    insta::assert_snapshot!(ran.messages(), @r#"
    exit code 78
    error: reading the target back: it does not exist (target: file:nothing.jsonl)
      try: migrate first, or correct the target
    "#);
}

/// Their dead letters hold what not every reader of JSON takes.
#[test]
fn what_the_target_refused_is_not_missed_whatever_it_holds() {
    let place = Place::new();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    place.write(
        "in.jsonl",
        format!("{{\"id\":7}}\n{{\"id\":\"7\",\"x\":1e400}}\n{{\"id\":\"7\",\"x\":{deep}}}\n"),
    );
    place.succeed("migrate --from in.jsonl --to sqlite:out.db --max-rejects 2");
    let ran = place.succeed("verify --from in.jsonl --to sqlite:out.db");
    assert!(ran.out.contains("after 0 dropped and 2 rejected"), "{}", ran.out);
}

/// Without `duplicates = "last"` nothing says which of two files is the later one.
#[test]
fn ids_of_several_partitions_are_said_to_be_ambiguous() {
    let place = Place::new();
    place.write("1.jsonl", orders(20));
    place.write("2.jsonl", orders(10).replace(".50", ".51") + &orders(20)[orders(10).len()..]);
    let ends = |duplicates: &str| {
        let source =
            format!("[source]\nconnector = \"file\"\npath = \"*.jsonl\"\nduplicates = \"{duplicates}\"\n");
        place.write(
            &format!("{duplicates}.toml"),
            format!("{source}[target]\nuri = \"sqlite:{duplicates}.db\"\n"),
        );
    };
    ends("unordered");
    place.succeed("migrate --strategy ./unordered.toml");
    let ran = place.docferry("verify --strategy ./unordered.toml");
    assert!(ran.out.contains("  ambiguous     10 documents have an id that"), "{}", ran.out);
    let ran = place.docferry("verify --strategy ./unordered.toml --json");
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found["ambiguous"], 10);
    // At the end of a run too. Which version is kept is chance, so here it is neither of the two.
    let change = "UPDATE documents SET document = replace(document, '.5', '.6') WHERE id = 'order-1'";
    place.database("unordered.db").execute_batch(change).unwrap();
    let ran = place.docferry("migrate --strategy ./unordered.toml --resume --verify");
    assert_eq!(ran.code, DIFFERENT, "{}", ran.err);
    assert!(ran.err.contains("; 10 documents have an id that another partition holds"), "{}", ran.err);
    assert!(ran.err.contains("\n  try: set duplicates = \"last\" in [source]"), "{}", ran.err);
    ends("last");
    place.succeed("migrate --strategy ./last.toml");
    let ran = place.succeed("verify --strategy ./last.toml");
    assert!(!ran.out.contains("ambiguous"), "{}", ran.out);
}

/// However much is wrong, only the first of it is told, and counted.
#[test]
fn of_much_that_is_inconsistent_some_is_told() {
    let place = Place::new();
    place.write("in.jsonl", orders(ORDERS));
    place.succeed("migrate --from in.jsonl --to out.jsonl");
    place.write("out.jsonl", orders(ORDERS) + &"garbage\n".repeat(1000));
    let ran = place.docferry("verify --from in.jsonl --to out.jsonl --json");
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found["target_inconsistencies"], 1000);
    assert_eq!(found["target_inconsistent"].as_array().unwrap().len(), 10);
    let ran = place.docferry("verify --from in.jsonl --to out.jsonl");
    assert!(ran.out.contains("  inconsistent  and 990 more\n"), "{}", ran.out);
}

/// What it would leave out it would call missing.
#[test]
fn verify_knows_no_limit() {
    let place = Place::new();
    place.write("in.jsonl", orders(5));
    place.succeed("migrate --from in.jsonl --to out.jsonl --limit 3");
    let ran = place.docferry("verify --from in.jsonl --to out.jsonl --limit 3");
    assert_eq!(ran.code, 64, "{}", ran.err);
    assert!(ran.err.contains("unexpected argument '--limit'"), "{}", ran.err);
}
