//! Stops and goings-on that once went wrong, each through the real binary.

use crate::place::{Place, orders};
use std::process::{Command, Stdio};

/// Damaged input, and differences.
const DAMAGED: i32 = 65;

#[test]
fn a_finished_array_stays_as_it_is_when_it_is_resumed() {
    let place = Place::new();
    place.write("in.jsonl", orders(50));
    place.succeed("migrate --from in.jsonl --to out.json");
    let written = place.read("out.json");
    let again = place.succeed("migrate --from in.jsonl --to out.json --resume");
    assert_eq!(place.read("out.json"), written);
    assert!(again.err.contains("nothing left to do"), "{}", again.err);
}

#[test]
fn a_limited_run_leaves_a_whole_file_and_can_be_gone_on_with() {
    for target in ["out.json", "out.jsonl.gz"] {
        let place = Place::new();
        place.write("in.jsonl", orders(50));
        place.succeed(&format!("migrate --from in.jsonl --to {target} --limit 20"));
        place.succeed(&format!("migrate --from {target} --to back.jsonl"));
        assert_eq!(place.read("back.jsonl"), orders(20).into_bytes(), "{target}");
        place.succeed(&format!("migrate --from in.jsonl --to {target} --resume"));
        place.succeed(&format!("verify --from in.jsonl --to {target}"));
    }
}

#[test]
fn a_limit_that_ended_a_run_is_said_also_where_it_is_all_that_the_source_holds() {
    let place = Place::new();
    place.write("in.jsonl", orders(50));
    for (limit, line) in [(20, ""), (50, " --resume"), (60, " --resume")] {
        let ran =
            place.succeed(&format!("migrate --from in.jsonl --to out.jsonl --job j --limit {limit}{line}"));
        let summary: serde_json::Value =
            serde_json::from_slice(&place.read(".docferry/jobs/j/summary.json")).unwrap();
        // Whether the source ends there was not looked at.
        assert_eq!(summary["limit"].as_u64(), Some(limit).filter(|limit| *limit <= 50), "{}", ran.err);
        assert_eq!(ran.err.contains("stopped at the limit of"), limit <= 50, "{}", ran.err);
        assert_eq!(ran.err.contains("\ncomplete: job j\n"), limit > 50, "{}", ran.err);
    }
}

#[test]
fn an_array_cut_off_between_elements_is_truncated_input() {
    for text in ["[", "[{\"id\":1}", "[{\"id\":1},{\"id\":2},", "[{\"id\":1},\n"] {
        let place = Place::new();
        place.write("in.json", text);
        let ran = place.docferry("migrate --from in.json --to out.jsonl");
        assert_eq!(ran.code, DAMAGED, "{text}: {}", ran.err);
        let whole = text.matches('}').count();
        assert_eq!(place.read("out.jsonl").iter().filter(|byte| **byte == b'\n').count(), whole, "{text}");
    }
}

#[test]
fn a_line_that_is_no_document_is_a_difference() {
    let place = Place::new();
    place.write("in.jsonl", orders(5));
    place.succeed("migrate --from in.jsonl --to out.jsonl");
    let mut written = place.read("out.jsonl");
    written.extend_from_slice(b"garbage\n");
    place.write("out.jsonl", written);
    assert_eq!(place.docferry("verify --from in.jsonl --to out.jsonl").code, DAMAGED);
}

#[test]
fn an_empty_source_makes_an_empty_folder() {
    let place = Place::new();
    place.write("in.jsonl", "");
    let ran = place.succeed("migrate --from in.jsonl --to parts");
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
}

#[test]
fn a_database_put_back_to_an_earlier_state_is_filled_again() {
    let place = Place::new();
    place.write("in.jsonl", orders(400));
    place.succeed("migrate --from in.jsonl --to sqlite:out.db --limit 100");
    place.write("earlier.db", place.read("out.db"));
    place.succeed("migrate --from in.jsonl --to sqlite:out.db --limit 300 --resume");
    place.write("out.db", place.read("earlier.db"));
    place.succeed("migrate --from in.jsonl --to sqlite:out.db --resume");
    place.succeed("verify --from in.jsonl --to sqlite:out.db");
}

/// A limit of the size of files stands in for a full disk: unlike that it lets the first part of a write pass.
#[cfg(unix)]
#[test]
fn a_reject_file_that_can_grow_no_more_holds_whole_lines() {
    let place = Place::new();
    place.write("in.jsonl", "this is no document\n".repeat(5_000));
    // Blocks of 512 or of 1024 bytes, as the shell pleases: less than the dead letters take, more than any other file.
    let script = format!(
        "trap '' XFSZ; ulimit -f 400; exec {} migrate --from in.jsonl --to out.jsonl --max-rejects 5000 --job j -q",
        env!("CARGO_BIN_EXE_docferry")
    );
    let mut limited = Command::new("sh");
    let ran = limited.args(["-c", &script]).current_dir(place.path("")).output().unwrap();
    assert_eq!(ran.status.code(), Some(75), "{}", String::from_utf8_lossy(&ran.stderr));
    let rejects = ".docferry/jobs/j/rejects.jsonl";
    let letters = place.read(rejects);
    assert!(letters.is_empty() || letters.ends_with(b"}\n"), "{} bytes", letters.len());
    place.succeed("migrate --from in.jsonl --to out.jsonl --max-rejects 5000 --job j --resume");
    let letters = String::from_utf8(place.read(rejects)).unwrap();
    assert_eq!(letters.lines().count(), 5_000);
    assert!(letters.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

#[test]
fn two_targets_that_meet_in_one_name_are_told_apart() {
    let place = Place::new();
    place.write("in.jsonl", orders(50));
    std::fs::create_dir(place.path("p")).unwrap();
    for (first, second, name) in [
        ("p/o.jsonl", "p-o.jsonl", "file-p-o.jsonl"),
        ("sqlite:x.db?table=a", "sqlite:x.db?table=b", "sqlite-x.db"),
        ("sqlite:p/y.db", "sqlite:p-y.db", "sqlite-p-y.db"),
    ] {
        for limit in ["", " --limit 20"] {
            place.succeed(&format!("migrate --from in.jsonl --to {first}{limit} --restart"));
            for flag in ["", " --resume"] {
                let ran = place.docferry(&format!("migrate --from in.jsonl --to {second}{flag}"));
                assert_eq!(ran.code, 78, "{second}{flag}: {}", ran.err);
                let says = format!("the name {name} is of a job that writes to [folder]/");
                assert!(ran.err.contains(&says) && ran.err.contains("--job NAME"), "{}", ran.err);
            }
            // The first one's record is as it was.
            place.succeed(&format!("migrate --from in.jsonl --to {first} --resume"));
        }
        place.succeed(&format!("migrate --job own --from in.jsonl --to {second} --restart"));
        place.succeed(&format!("migrate --job own --from in.jsonl --to {second}"));
        place.succeed(&format!("verify --from in.jsonl --to {first}"));
        place.succeed(&format!("verify --from in.jsonl --to {second}"));
    }
}

#[test]
fn a_shortened_reject_file_is_refused_before_the_target_is_touched() {
    let place = Place::new();
    place.write("in.jsonl", orders(20) + "{\n" + &orders(50));
    place.succeed("migrate --from in.jsonl --to out.jsonl --limit 30 --max-rejects 1");
    let rejects = ".docferry/jobs/file-out.jsonl/rejects.jsonl";
    let letters = place.read(rejects);
    // What a run that was killed leaves behind the noted length: a resume that begins cuts it off.
    let longer = [place.read("out.jsonl"), b"{\"id\":\"lost\"}\n".to_vec()].concat();
    place.write("out.jsonl", &longer);
    place.write(rejects, "");
    let resume = "migrate --from in.jsonl --to out.jsonl --resume --max-rejects 1";
    let ran = place.docferry(resume);
    assert_eq!(ran.code, 78, "{}", ran.err);
    assert!(ran.err.contains("opening the reject file: it holds 0 bytes"), "{}", ran.err);
    assert_eq!(place.read("out.jsonl"), longer);
    place.write(rejects, letters);
    place.succeed(resume);
    assert_eq!(place.read("out.jsonl"), [orders(20), orders(50)].concat().into_bytes());
}

/// Ids are made of positions, so the rows that both halves of a run leave show whether a place kept its name.
#[test]
fn another_spelling_of_the_sources_path_is_no_change() {
    let place = Place::new();
    std::fs::create_dir(place.path("data")).unwrap();
    place.write("data/in.jsonl", "{\"a\":1}\n".repeat(50));
    place.succeed("migrate --from data/in.jsonl --to sqlite:from.db?id_field=a");
    let absolute = place.path("data/in.jsonl").display().to_string();
    let spellings = ["data/in.jsonl", "./data/in.jsonl", "data/./in.jsonl", absolute.as_str()];
    for first in spellings {
        for second in spellings {
            let strategy = |path: &str| {
                let text = format!(
                    "[source]\nuri = \"{path}\"\n[id]\nfrom = \"position\"\n[target]\nuri = \"sqlite:out.db\"\n"
                );
                place.write("s.toml", text);
            };
            strategy(first);
            place.succeed("migrate --strategy s.toml --limit 20 --restart");
            strategy(second);
            place.succeed("migrate --strategy s.toml --resume");
            let rows: u32 = place
                .database("out.db")
                .query_row("SELECT count(*) FROM documents", [], |row| row.get(0))
                .unwrap();
            assert_eq!(rows, 50, "{first} {second}");
            place.succeed("verify --strategy s.toml");
        }
    }
    place.succeed("migrate --from sqlite:from.db --to back.jsonl --limit 1");
    place.succeed("migrate --from sqlite:./from.db --to back.jsonl --resume");
}

#[test]
fn what_is_given_twice_is_read_once_however_it_is_spelled() {
    let place = Place::new();
    place.write("in.jsonl", orders(5));
    place.write(
        "s.toml",
        "[source]\nconnector = \"file\"\npath = [\"in.jsonl\", \"./in.jsonl\", \"*.jsonl\"]\n[target]\nuri = \"sqlite:out.db\"\n",
    );
    let ran = place.succeed("migrate --strategy s.toml");
    assert!(ran.row("read").starts_with("5 documents"), "{}", ran.err);
    assert!(ran.err.starts_with("starting job s: file:in.jsonl and 2 more -> "), "{}", ran.err);
}

#[test]
fn a_target_that_was_exchanged_under_one_name_is_not_called_missing() {
    let place = Place::new();
    place.write("in.jsonl", orders(50));
    place.succeed("migrate --job one --from in.jsonl --to a.jsonl --limit 20");
    let ran = place.docferry("migrate --job one --from in.jsonl --to b.jsonl --resume");
    assert_eq!(ran.code, 78);
    let says = "the name one is of a job that writes to [folder]/a.jsonl, not to [folder]/b.jsonl";
    assert!(ran.err.contains(says) && !ran.err.contains("missing"), "{}", ran.err);
    // However it is spelled, it is the same one.
    place.succeed("migrate --job one --from in.jsonl --to ./a.jsonl --resume");
    std::fs::remove_file(place.path("a.jsonl")).unwrap();
    let ran = place.docferry("migrate --job one --from in.jsonl --to a.jsonl --resume");
    assert!(ran.err.contains("the target [folder]/a.jsonl is missing"), "{}", ran.err);
}

/// What was written to a table and is gone again is not "done".
#[test]
fn rows_that_are_gone_are_missed() {
    let refused = |place: &Place, statement: &str, says: &str| {
        place.database("out.db").execute_batch(statement).unwrap();
        let ran = place.docferry("migrate --from in.jsonl --to sqlite:out.db --resume");
        assert_eq!(ran.code, 78, "{statement}: {}", ran.err);
        assert!(ran.err.contains(says) && ran.err.contains("--restart"), "{statement}: {}", ran.err);
    };
    for limit in [" --limit 20", ""] {
        let place = Place::new();
        place.write("in.jsonl", orders(50));
        place.succeed(&format!("migrate --from in.jsonl --to sqlite:out.db{limit}"));
        // Rows that others have added are not counted, and a table that holds more is not suspicious.
        place.database("out.db").execute_batch("INSERT INTO documents VALUES ('x', '{}')").unwrap();
        place.succeed("migrate --from in.jsonl --to sqlite:out.db --resume");
        place.succeed("migrate --from in.jsonl --to sqlite:out.db --restart");
        place.database("out.db").execute_batch("DELETE FROM documents WHERE id = 'x'").unwrap();
        let delete = "DELETE FROM documents WHERE rowid = 7";
        refused(
            &place,
            delete,
            "documents has lost documents: docferry has put 50 rows into it, and it holds 49 rows",
        );
        refused(&place, "DELETE FROM documents", "and it holds 0 rows");
        refused(&place, "DROP TABLE documents", "/out.db, table documents is missing");
        place.succeed("migrate --from in.jsonl --to sqlite:out.db --restart");
        place.succeed("verify --from in.jsonl --to sqlite:out.db");
    }
}

/// Two runs in one pipe have one working folder, and need not wait for each other.
#[cfg(unix)]
#[test]
fn docferry_twice_in_one_pipe() {
    let place = Place::new();
    place.write("in.jsonl", orders(500));
    let docferry = env!("CARGO_BIN_EXE_docferry");
    let script = format!(
        "'{docferry}' migrate -q --from in.jsonl --to - | '{docferry}' migrate -q --from - --to - | '{docferry}' migrate -q --from - --to out.jsonl"
    );
    let status = Command::new("sh").args(["-c", &script]).current_dir(place.path("")).status().unwrap();
    assert!(status.success());
    assert_eq!(place.read("out.jsonl"), orders(500).into_bytes());
    let jobs = place.succeed("jobs").out;
    for name in ["file-out.jsonl ", "stdout-from-in.jsonl ", "stdout-from-stdin "] {
        assert!(jobs.contains(name), "{jobs}");
    }
}

#[test]
fn another_layout_of_the_target_is_refused() {
    let place = Place::new();
    place.write("in.jsonl", orders(50));
    let strategy = |extension: &str| {
        format!(
            "[source]\npath = \"in.jsonl\"\nconnector = \"file\"\n[target]\nconnector = \"file\"\npath = \"parts\"\nextension = \"{extension}\"\n"
        )
    };
    place.write("s.toml", strategy("jsonl"));
    place.succeed("migrate --strategy ./s.toml --limit 10");
    place.write("s.toml", strategy("ndjson"));
    let ran = place.docferry("migrate --strategy ./s.toml --resume");
    assert_eq!(ran.code, 78, "{}", ran.err);
    assert!(ran.err.contains("layout"), "{}", ran.err);
}

/// Hundreds of small partitions, stopped at many moments: the end of some is known before their documents are written.
#[cfg(unix)]
#[test]
fn a_source_of_many_partitions_can_be_stopped_anywhere() {
    let place = Place::new();
    place.write(
        "in.jsonl",
        orders(20_000)
            .replace("\"total\":77", "\"total\":,77")
            .replace("\"order-123", "null,\"was\":\"order-123"),
    );
    let strategy = |target: &str| {
        format!(
            "[source]\nconnector = \"file\"\npath = \"in.jsonl\"\npartition_bytes = 4096\n\
             [target]\nconnector = \"sqlite\"\npath = \"{target}\"\n[run]\nmax_rejects = 1000\n",
        )
    };
    place.write("calm.toml", strategy("calm.db"));
    place.succeed("migrate --strategy ./calm.toml");
    place.write("s.toml", strategy("out.db"));
    for round in 0..12 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_docferry"))
            .args(["migrate", "--strategy", "./s.toml", "--resume", "-q"])
            .current_dir(place.path(""))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Not to wait for something: to strike at another moment each time.
        let moment = std::time::Instant::now() + std::time::Duration::from_millis(20 * round);
        while std::time::Instant::now() < moment && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let id = child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).stderr(Stdio::null()).status().unwrap();
        let code = child.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 143) | None), "round {round}: {code:?}");
    }
    place.succeed("migrate --strategy ./s.toml --resume");
    place.succeed("verify --strategy ./s.toml");
    // Refused by the reader and by the target, in the order of the source.
    let letters = String::from_utf8(place.read(".docferry/jobs/calm/rejects.jsonl")).unwrap();
    let count = |by: &str| letters.matches(&format!("{{\"by\":\"{by}\"")).count();
    assert!(count("read") > 100 && count("target") > 100, "{} letters", letters.lines().count());
    let line = |letter: &str| {
        letter.split_once(", line ").unwrap().1.split_once(',').unwrap().0.parse::<u64>().unwrap()
    };
    assert!(letters.lines().map(line).is_sorted());
    assert!(place.read(".docferry/jobs/s/rejects.jsonl") == letters.as_bytes());
}

/// Parts are ended as their files are finished, so each stop leaves some with their end and some without.
#[test]
fn packed_parts_do_not_depend_on_stops() {
    let place = Place::new();
    std::fs::create_dir(place.path("in")).unwrap();
    for file in 0..20 {
        place.write(&format!("in/{file:02}.jsonl"), orders(5 + 5 * file));
    }
    let strategy = |name: &str, extension: &str| {
        let ends = format!(
            "[source]\nuri = \"in/*.jsonl\"\n[target]\nconnector = \"file\"\npath = \"{name}\"\nextension = \"{extension}\"\n"
        );
        place.write(&format!("{name}.toml"), ends + "[run]\nbatch_documents = 7\n");
    };
    for extension in ["jsonl.gz", "json.zst"] {
        let (calm, stopped) = (format!("calm-{extension}"), format!("stopped-{extension}"));
        let (calm, stopped) = (calm.replace('.', "-"), stopped.replace('.', "-"));
        strategy(&calm, extension);
        strategy(&stopped, extension);
        place.succeed(&format!("migrate --strategy ./{calm}.toml"));
        for limit in (100..=1100).step_by(100) {
            place.succeed(&format!("migrate --strategy ./{stopped}.toml --resume --limit {limit}"));
        }
        for file in 0..20 {
            let part = |folder: &str| place.read(&format!("{folder}/part-{file:05}.{extension}"));
            assert!(part(&stopped) == part(&calm), "{file}");
        }
        place.succeed(&format!("verify --strategy ./{stopped}.toml"));
    }
}

/// The last run fails after everything is written and before the job is called finished: what a full disk does when the rejects are put in
/// order. A folder where their new file is to be made stands in for it.
#[test]
fn an_array_is_ended_once_however_late_its_run_has_failed() {
    let place = Place::new();
    // Refused by the steps, then by the reader, whose dead letters come first: so there is an order to be made.
    let large = format!("{{\"id\":\"{}\"}}\n", "x".repeat(3000));
    place.write("in.jsonl", orders(3) + "{\n" + &large + &orders(3));
    let ends = "[source]\nuri = \"in.jsonl\"\n[target]\nuri = \"out.json\"\n";
    place.write("s.toml", format!("{ends}[run]\nmax_document = \"2 KiB\"\nmax_rejects = 2\n"));
    let in_the_way = place.path(".docferry/jobs/s/rejects.new.jsonl");
    std::fs::create_dir_all(&in_the_way).unwrap();
    let ran = place.docferry("migrate --strategy ./s.toml");
    assert!(ran.code != 0 && ran.err.contains("writing the reject file"), "{}: {}", ran.code, ran.err);
    std::fs::remove_dir(&in_the_way).unwrap();
    place.succeed("migrate --strategy ./s.toml --resume");
    let written: Vec<serde_json::Value> = serde_json::from_slice(&place.read("out.json")).unwrap();
    assert_eq!(written.len(), 6);
    place.succeed("verify --strategy ./s.toml");
}
