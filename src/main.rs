//! The `docferry` command: hand the command line over, end with the code that comes back.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(docferry::cli::dispatch::run(std::env::args_os()))
}
