//! The programs of `benches/` that no Rust compiler looks at are whole, and the documents of the Cosmos benchmark are what its loops take them for.

use crate::place::{Place, skip};
use std::path::{Path, PathBuf};
use std::process::Command;

fn benches(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(name)
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|ran| ran.status.success())
}

#[test]
fn the_documents_of_the_cosmos_benchmark_are_a_kilobyte_and_begin_with_id_and_key() {
    if !is_there("python3") {
        return skip("there is no python3");
    }
    let made = Command::new("python3").arg(benches("cosmos/make_documents.py")).arg("200").output().unwrap();
    let text = String::from_utf8(made.stdout).unwrap();
    assert_eq!(text.lines().count(), 200);
    assert!((900..1300).contains(&(text.len() / 200)), "{} bytes", text.len() / 200);
    for line in text.lines() {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        let begin = format!(r#"{{"id":{},"customer":{},"#, document["id"], document["customer"]);
        assert!(line.starts_with(&begin), "{line}");
    }
}

/// What the benchmark of the tuner makes of a ledger and of the seconds of a run.
const JUDGED: &str = r#"
import run
# Two partitions; the run began 3.4 seconds after the endpoint, so its first whole second is window 4. Window 6 of the second one saw nothing.
windows = lambda *rows: {"windows": [{"window": at, "operations": done, "throttled": away} for at, done, away in rows]}
ledger = {"partitions": [windows((3, 9, 9), (4, 5, 0), (5, 10, 1), (6, 20, 0)), windows((5, 10, 0), (7, 99, 9))]}
found = run.judge(ledger, 3.4, (1, 3))
assert found == {"score": 20.0, "throttled": 1 / 41, "written": [5, 20, 20]}, found
rise = [10] * 4 + [100] * 50
assert run.t95(rise, 100, 0) == 4
assert run.t95(rise, 100, 20) == 0, "from a change on"
assert run.t95(rise, 120, 0) is None
assert set(run.PLANTS) == {path.stem for path in run.HERE.glob("plants/*.toml")}, "each plant has a twin"
assert run.t95([100] * 8 + [10] * 10 + [100] * 20, 100, 0) == 18, "what does not last is none"
"#;

#[test]
fn the_benchmark_of_the_tuner_judges_as_it_says() {
    if !is_there("python3") {
        return skip("there is no python3");
    }
    let judged =
        Command::new("python3").args(["-B", "-c", JUDGED]).current_dir(benches("tuner")).output().unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
}

/// Whoever names one that is not there is told of those that were read.
#[test]
fn the_simulated_twins_of_its_plants_are_read() {
    let ran = Place::new()
        .docferry(&format!("simulate --plants {} --only nothing", benches("tuner/plants").display()));
    assert_eq!(ran.code, 64, "{}", ran.err);
    assert!(ran.err.contains("latency, skewed, source, step, steps, units"), "{}", ran.err);
}

#[test]
fn the_scripts_of_the_cosmos_benchmark_are_read_without_an_error() {
    if !is_there("python3") {
        return skip("there is no python3");
    }
    let help =
        Command::new("python3").arg("-B").arg(benches("cosmos/run.py")).arg("--help").output().unwrap();
    assert!(help.status.success(), "{}", String::from_utf8_lossy(&help.stderr));
    // Who has no Node does not run that part of the benchmark either.
    if is_there("node") {
        let checked = Command::new("node").arg("--check").arg(benches("cosmos/bulk.mjs")).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}
