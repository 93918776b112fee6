//! The smoke script as a person would run it who has no account: it starts a local endpoint, kills and resumes a run, and verifies.

use crate::place::skip;
use std::path::Path;
use std::process::Command;

#[test]
fn the_smoke_script_ends_well() {
    if !Command::new("bash").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
        return skip("there is no bash");
    }
    let output = Command::new("bash")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smoke/cosmos.sh"))
        .arg(env!("CARGO_BIN_EXE_docferry"))
        .env_remove("COSMOS_ENDPOINT")
        .env_remove("COSMOS_KEY")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.ends_with("all is as it must be\n"), "{told}");
}
