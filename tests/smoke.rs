//! The smoke script as a person would run it who has no account: it starts a local endpoint, kills and resumes a run, and verifies.

use crate::place::{Ran, skip};
use assert_cmd::Command;
use std::path::Path;
use std::time::Duration;

/// It takes some seconds.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn the_smoke_script_ends_well() {
    if !std::process::Command::new("bash").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
        return skip("there is no bash");
    }
    let mut command = Command::new("bash");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smoke/cosmos.sh"));
    command.arg(env!("CARGO_BIN_EXE_docferry")).env_remove("COSMOS_ENDPOINT").env_remove("COSMOS_KEY");
    // An account of whoever runs the tests, to which nothing may be written.
    command.env("TARGET_COSMOS_ENDPOINT", "https://127.0.0.1:1/").env("TARGET_COSMOS_KEY", "b3RoZXI=");
    let ran = Ran::of(command.timeout(PATIENCE));
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.ends_with("all is as it must be\n"), "{}", ran.out);
}
