//! The programs of `benches/` that no Rust compiler looks at are whole, and the documents of the Cosmos benchmark are what its loops take them for.

use crate::place::skip;
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
