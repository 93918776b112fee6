//! `docferry completions SHELL`: a script for the shell, made from the same types that parse the command line.

use super::Cli;
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::Write;

/// Prints the script.
pub(super) fn run(shell: Shell, out: &mut dyn Write) -> anyhow::Result<u8> {
    // The generator panics where it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "docferry", &mut script);
    out.write_all(&script)?;
    Ok(0)
}
