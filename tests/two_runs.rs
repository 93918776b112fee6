//! Two runs at once: each job has one run, each file one writer, and a database takes turns.
//!
//! The first run reads a pipe that the test holds open, so it goes on for exactly as long as the test wants it to.

use crate::place::{Place, orders};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

/// Another run holds it.
const HELD: i32 = 73;

/// A run from standard input that has begun and goes on.
struct Going {
    child: Child,
    told: BufReader<std::process::ChildStderr>,
}

impl Going {
    fn start(place: &Place, line: &str) -> Going {
        let mut child = Command::new(env!("CARGO_BIN_EXE_docferry"))
            .args(["migrate", "--from", "-"])
            .args(line.split(' '))
            .current_dir(place.path(""))
            .env_clear()
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        told.read_line(&mut first).unwrap();
        assert!(first.starts_with("starting job "), "{first}");
        Going { child, told }
    }

    fn give(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Ends its input, and it must end well.
    fn end(mut self) {
        drop(self.child.stdin.take());
        let rest: Vec<String> = self.told.lines().map(Result::unwrap).collect();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{rest:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_target_that_another_job_is_writing_to_is_held() {
    for target in ["out.jsonl", "out.json.gz", "parts"] {
        let place = Place::new();
        place.write("in.jsonl", orders(100));
        let mut first = Going::start(&place, &format!("--to {target}"));
        first.give(&orders(10));
        for flag in ["", " --overwrite"] {
            let ran = place.docferry(&format!("migrate --job second --from in.jsonl --to {target}{flag}"));
            assert_eq!(ran.code, HELD, "{target}: {}", ran.err);
            let says =
                format!("error: preparing the target: another run is writing to it (path: {target})\n");
            assert!(ran.err.starts_with(&says), "{}", ran.err);
        }
        first.end();
        if target == "parts" {
            let files: Vec<_> = std::fs::read_dir(place.path("parts")).unwrap().collect();
            assert_eq!(files.len(), 1, "a part and nothing beside it: {files:?}");
        }
        place.succeed(&format!("migrate --job second --from in.jsonl --to {target} --overwrite"));
        place.succeed(&format!("verify --from in.jsonl --to {target}"));
    }
}

/// A folder of parts is one target: no file in it, a part or another, has a second writer.
#[cfg(unix)]
#[test]
fn a_folder_and_a_file_in_it_are_not_written_at_once() {
    let place = Place::new();
    place.write("in.jsonl", orders(100));
    let refused = |target: &str, why: &str| {
        let ran = place.docferry(&format!("migrate --job second --from in.jsonl --to {target} --overwrite"));
        assert_eq!(ran.code, HELD, "{target}: {}", ran.err);
        assert!(ran.err.contains(why), "{target}: {}", ran.err);
    };
    let mut folder = Going::start(&place, "--to parts");
    folder.give(&orders(10));
    std::os::unix::fs::symlink("parts/part-00000.jsonl", place.path("link.jsonl")).unwrap();
    std::fs::write(place.path("parts/part-00000.jsonl"), "").unwrap();
    for file in ["parts/part-00000.jsonl", "parts/new.jsonl", "link.jsonl"] {
        refused(file, "another run is writing to its folder");
    }
    folder.end();

    let mut file = Going::start(&place, "--job file --to parts/part-00007.jsonl");
    file.give(&orders(10));
    refused("parts", "another run is writing to it");
    // Files in one folder do not exclude each other.
    place.succeed("migrate --job second --from in.jsonl --to parts/part-00008.jsonl");
    file.end();
    place.succeed("migrate --job third --from in.jsonl --to parts --overwrite");
}

#[test]
fn two_jobs_may_fill_one_table_at_once() {
    let place = Place::new();
    let all = orders(40);
    let (half, other) = all.split_at(orders(20).len());
    place.write("in.jsonl", other);
    place.write("all.jsonl", &all);
    let mut first = Going::start(&place, "--to sqlite:out.db");
    first.give(half);
    place.succeed("migrate --job second --from in.jsonl --to sqlite:out.db --overwrite");
    first.end();
    place.succeed("verify --from all.jsonl --to sqlite:out.db");
}
