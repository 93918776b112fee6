//! What tests fetch from registries of packages: once, and kept under the build folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of that name below the build folder, filled by `fill` if it is not there yet.
pub(crate) fn fetched(name: &str, fill: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    // Filled beside and then renamed: a fetch that was cut short leaves nothing that looks whole.
    let filled = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(|cause| cause.to_string())?;
    fill(filled.path())?;
    match fs::rename(filled.path(), &folder) {
        // Another process was quicker; its copy is as good.
        Err(_) if folder.is_dir() => Ok(folder),
        renamed => renamed.map(|()| folder).map_err(|cause| cause.to_string()),
    }
}

/// What the command prints, or why it failed.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let what = format!("{command:?}");
    let output = command.output().map_err(|cause| format!("{what}: {cause}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{what}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}
