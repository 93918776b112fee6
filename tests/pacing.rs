//! Pacing over the wire: a short form of `oracle/pace.py`. The endpoint's ledger says how much of the budget was used and how much was thrown back.
//!
//! The rules are tested in virtual time where they are (`src/pacing`), to the goal's own figures. Here they meet a clock, a network and a machine
//! that others use too, so the margins are wide; the long form has the real ones and is run by hand.

use crate::place::skip;
use std::path::Path;
use std::process::Command;

#[test]
fn a_small_partition_is_used_up_and_little_is_throttled() {
    play("one-small", "1", &[]);
}

#[test]
fn lanes_of_a_sorted_source_are_all_used_up() {
    play("sorted", "0.05", &[]);
}

#[test]
fn a_mixed_source_keeps_its_hottest_partition_busy() {
    play("skewed", "0.05", &[]);
}

#[test]
fn a_throughput_that_is_halved_is_followed() {
    play("halved", "0.2", &["--seconds", "24"]);
}

#[test]
fn a_throughput_that_is_doubled_is_found() {
    play("doubled", "0.2", &["--seconds", "50"]);
}

#[test]
fn a_cap_is_used_and_kept() {
    play("max-ru-share", "0.2", &["--most-throttled", "0"]);
}

fn play(scene: &str, scale: &str, more: &[&str]) {
    if !Command::new("python3").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
        return skip("there is no python3");
    }
    let output = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/pace.py"))
        .args(["--binary", env!("CARGO_BIN_EXE_docferry"), "--scenes", scene, "--scale", scale])
        .args(["--seconds", "20", "--least-used", "0.85", "--most-throttled", "0.05"])
        .args(more)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
}
