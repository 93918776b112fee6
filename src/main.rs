//! The `docferry` command: hand the command line over, end with the code that comes back.

use std::process::ExitCode;

/// Batches are large, short-lived and freed on other threads than they were made on, which mimalloc takes better than the
/// system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(docferry::cli::dispatch::run(std::env::args_os()))
}
