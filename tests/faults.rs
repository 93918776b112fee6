//! A short form of `oracle/faults.py`: runs into the local Cosmos endpoint that meet every fault, are killed and resumed, and must leave what an undisturbed
//! run leaves. The long form is the same script with 200 000 documents and more strikes; it is run by hand before a release.

use crate::place::skip;
use std::path::Path;
use std::process::Command;

#[test]
fn nothing_is_lost_where_operations_and_requests_fail() {
    judge("operations-throttled,requests-throttled,timeout-after-commit,write-conflicts", "auto");
}

#[test]
fn nothing_is_lost_where_connections_fail_and_ranges_are_split() {
    judge("unavailable,connections-dropped,internal,split,small-bodies", "auto");
}

#[test]
fn nothing_is_lost_where_everything_fails_at_once() {
    judge("together,together-insert", "auto");
}

#[test]
fn nothing_is_lost_however_documents_are_put_into_requests() {
    judge("together", "batch,point");
}

#[test]
fn a_run_that_gets_nothing_through_gives_up_and_is_resumable() {
    judge("always-unavailable-operations,always-conflicts-and-throttling", "auto");
}

#[test]
fn a_run_whose_endpoint_stops_gives_up_and_is_resumable() {
    judge("stopped", "auto");
}

fn judge(scenes: &str, encoders: &str) {
    if !Command::new("python3").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
        return skip("there is no python3");
    }
    // Slow enough for an unoptimised build on a busy machine to keep the pace.
    let output = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/faults.py"))
        .args(["--binary", env!("CARGO_BIN_EXE_docferry"), "--scenes", scenes, "--encoders", encoders])
        .args(["--documents", "3000", "--kills", "1", "--rate", "1500"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
}
