//! A short form of `oracle/kill.py`: runs are killed at places spread over their source and resumed, and must leave what a run leaves that
//! nobody touched. The long form is the same script with more strikes; it is run by hand before a release.

use crate::place::skip;
use std::path::Path;
use std::process::Command;

/// Enough strikes for one of each sort: SIGKILL, one that strikes the resumed run at once, SIGTERM.
const STRIKES: &str = "6";

#[test]
fn a_killed_run_to_a_file_is_continued() {
    strike("file");
}

#[test]
fn a_killed_run_to_sqlite_is_continued() {
    strike("sqlite");
}

#[test]
fn a_killed_run_to_a_journal_is_continued() {
    strike("memory");
}

fn strike(target: &str) {
    if !Command::new("python3").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
        return skip("there is no python3");
    }
    // Slow enough for an unoptimised build on a busy machine to keep the pace.
    let output = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/kill.py"))
        .args(["--binary", env!("CARGO_BIN_EXE_docferry"), "--targets", target])
        .args(["--kills", STRIKES, "--seconds", "8", "--rate", "2000"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
}
