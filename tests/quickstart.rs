//! The first command that people type, and what it is made of: a local endpoint that lives inside a run, and a comparison at its end.
//!
//! Everything here is done by real processes, because an endpoint that lives in a process must survive its death.

use crate::place::{Place, Ran, orders};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// More than the sample costs: a run that is not about the budget is over at once.
const PLENTY: &str = "1000000";

fn quickstart(place: &Place, more: &[&str]) -> Ran {
    let mut command = place.command();
    command.args(["migrate", "--strategy", "quickstart"]).args(more).env("THROUGHPUT", PLENTY);
    Ran::of(&mut command)
}

#[test]
fn the_first_command_works_in_an_empty_folder_and_again() {
    let place = Place::new();
    let first = quickstart(&place, &[]);
    assert_eq!(first.code, 0, "{}", first.err);
    assert_eq!(first.out, "");
    assert!(first.row("written").starts_with("5 000, "), "{}", first.err);
    assert_eq!(first.row("verified"), "source and target are equal, 5 000 documents");
    assert!(first.row("request units").contains("/s, "), "{}", first.err);
    let note = first.err.lines().next().unwrap();
    assert!(note.starts_with("note: this run holds a simulator of Azure Cosmos DB, "), "{note}");
    assert!(note.contains("`docferry emulator --data .docferry/emulator`"), "{note}");
    assert!(place.succeed("verify --strategy quickstart").out.starts_with("source and target are equal\n"));
    place.succeed("rejects list quickstart");

    let look: Vec<&str> = first.row("look at it").split(' ').skip(1).collect();
    let looked = Ran::of(place.command().args(look));
    assert_eq!((looked.code, looked.out.lines().count()), (0, 5), "{}", looked.err);
    let is_clean = |line: &str| line.contains(r#""assignedTo":{"#) && !line.contains(r#""_"#);
    assert!(looked.out.lines().all(is_clean), "{}", looked.out);

    let resumed = quickstart(&place, &["--resume"]);
    assert_eq!(resumed.code, 0, "{}", resumed.err);
    assert_eq!(resumed.row("verified"), "source and target are equal, 5 000 documents");
    let again = quickstart(&place, &[]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.err.contains("job quickstart had finished with 5 000 documents; it begins anew"));
    assert_eq!(again.row("verified"), "source and target are equal, 5 000 documents");
}

/// At the throughput that people see; the first checkpoint that holds documents comes after a second of some six.
#[cfg(unix)]
#[test]
fn a_killed_run_finds_its_endpoint_again() {
    let place = Place::new();
    let mut child =
        start(&place, &["migrate", "--strategy", "quickstart", "--json"], Stdio::null(), Stdio::piped());
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let saved = told.find(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["event"] == "checkpoint_saved" && event["documents"].as_u64() > Some(0)
    });
    assert!(saved.is_some(), "the run ended before a checkpoint held documents");
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "killed");

    let refused = place.docferry("migrate --strategy quickstart");
    assert_eq!(refused.code, 64, "{}", refused.err);
    let resumed = place.succeed("migrate --strategy quickstart --resume");
    assert!(resumed.row("resumed").ends_with(" documents done by earlier runs"));
    assert!(resumed.row("written").starts_with("5 000, "), "{}", resumed.err);
    assert_eq!(resumed.row("verified"), "source and target are equal, 5 000 documents");
}

#[cfg(unix)]
#[test]
fn the_data_belong_to_one_process_at_a_time() {
    let place = Place::new();
    let data = ["emulator", "--port", "0", "--json", "--data", ".docferry/emulator"];
    let mut child = start(&place, &data, Stdio::piped(), Stdio::null());
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("AccountEndpoint="), "{line}");
    for command in ["migrate --strategy quickstart", "verify --strategy quickstart"] {
        let refused = place.docferry(command);
        assert_eq!(refused.code, 73, "{}", refused.err);
        assert!(refused.err.contains("another emulator uses this folder (path: .docferry/emulator)"));
        assert!(refused.err.contains("\n  try: wait until the other docferry has ended, or stop it; "));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(quickstart(&place, &[]).code, 0);
}

#[test]
fn the_local_endpoint_is_source_and_target_and_never_both_at_one_place() {
    let place = Place::new();
    place.write("in.jsonl", orders(300));
    let ran =
        place.succeed("migrate --state mine --from in.jsonl --to cosmos://emulator/d/a?create=true --verify");
    assert!(
        ran.row("look at it").ends_with(" --from cosmos://emulator/d/a --to - --state mine"),
        "{}",
        ran.err
    );
    place.succeed(
        "migrate --state mine --from cosmos://emulator/d/a --to cosmos://emulator/d/b?create=true --verify",
    );
    place.succeed("migrate --state mine --from cosmos://emulator/d/b --to out.jsonl --verify");
    let lines = |text: &[u8]| {
        let mut lines: Vec<String> = String::from_utf8_lossy(text).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    // The service keeps numbers as doubles and writes them its own way.
    let doubles = orders(300).replace(".50", ".5");
    assert_eq!(lines(&place.read("out.jsonl")), lines(doubles.as_bytes()));
    let same = place.docferry("migrate --state mine --from cosmos://emulator/d/a --to cosmos://emulator/d/a");
    assert_eq!(same.code, 78, "{}", same.err);
    assert!(same.err.contains("source and target are the same"), "{}", same.err);
}

#[test]
fn a_run_that_verifies_ends_with_what_it_found() {
    let place = Place::new();
    place.write("in.jsonl", orders(3));
    let to = "--to sqlite:out.db --job j --verify";
    let equal = place.succeed(&format!("migrate --from in.jsonl {to}"));
    assert_eq!(equal.row("verified"), "source and target are equal, 3 documents");
    // The rows of a restarted job stay.
    place.write("other.jsonl", orders(2));
    let differs = place.docferry(&format!("migrate --from other.jsonl {to} --restart"));
    assert_eq!(differs.code, 65, "{}", differs.err);
    assert_eq!(differs.row("verified"), "source and target differ");
    let error = "error: verifying the target: it should hold 2 documents and holds 3\n  try: ";
    assert!(differs.err.contains(error), "{}", differs.err);

    let limited = place.succeed("migrate --from in.jsonl --to limited.jsonl --limit 1 --verify");
    assert!(
        limited.err.contains("note: the target is not verified: the limit left documents"),
        "{}",
        limited.err
    );
    for (line, why) in [
        ("migrate --from in.jsonl --to null: --verify", "this target cannot be read back"),
        (
            "migrate --from in.jsonl --to cosmos://emulator/d/c?mode=delete --verify",
            "with mode = \"delete\" nothing of what was moved is there to be compared",
        ),
        ("migrate --from - --to piped.jsonl --verify", "this source cannot be read a second time"),
    ] {
        let refused = place.docferry(line);
        assert_eq!(refused.code, 78, "{}", refused.err);
        assert!(
            refused.err.contains(&format!("verifying the target: it is asked for, and {why}")),
            "{}",
            refused.err
        );
    }
    assert!(!place.holds("piped.jsonl"), "it is refused before anything is moved");
}

#[cfg(unix)]
fn start(place: &Place, line: &[&str], stdout: Stdio, stderr: Stdio) -> Child {
    Command::new(env!("CARGO_BIN_EXE_docferry"))
        .args(line)
        .current_dir(place.path(""))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .unwrap()
}
