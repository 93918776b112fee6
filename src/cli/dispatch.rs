//! From the words on the command line to an exit code: parse, hand over to the command's file, report a failure.

use super::{
    Cli, Command, Rejects, completions, emulator, failure, flags, init, jobs, list, migrate, rejects, show,
    simulate, verify,
};
use crate::config::environment::Environment;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write};
use std::time::Duration;

/// The exit code of a command line that cannot be understood, after `sysexits.h`; clap's own would be 2.
const USAGE: u8 = 64;

/// Does what the command line says and returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let parsed = Cli::command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (cli, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(message) => {
            // Help and the version are "errors" too: those go to standard output and are a success. A closed pipe is no matter.
            let _ = message.print();
            return if message.use_stderr() { USAGE } else { 0 };
        }
    };
    // Not locked: with `--to -` the target writes to it too, from another thread.
    let mut out = io::BufWriter::new(io::stdout());
    let outcome = command(&cli, &matches, &mut out).and_then(|code| Ok(out.flush().map(|()| code)?));
    outcome.unwrap_or_else(|cause| failure::report(&cause, cli.global.json))
}

fn command(cli: &Cli, matches: &ArgMatches, out: &mut dyn Write) -> anyhow::Result<u8> {
    let global = &cli.global;
    let own = matches.subcommand().map_or(matches, |(_, own)| own);
    let environment = Environment::of_process().with_memory(crate::run::memory_limit);
    match &cli.command {
        Command::Migrate(migrate) => {
            migrate::run(&flags::asked_to_migrate(migrate, own), global, &environment)
        }
        Command::Verify(job) => verify::run(&flags::asked(job, own), global, &environment, out),
        Command::Show(job) => show::run(&flags::asked(job, own), global, &environment, out),
        Command::List { what } => list::run(*what, global, out),
        Command::Init { name } => init::run(name, out),
        Command::Jobs { job } => jobs::run(job.as_deref(), global, out),
        Command::Rejects(Rejects::List { job, limit }) => rejects::run(job, *limit, global, out),
        Command::Emulator(flags) => emulator::run(flags, global, out),
        Command::Simulate(flags) => simulate::run(flags, global, out),
        Command::Completions { shell } => completions::run(*shell, out),
    }
}

/// A blocking call that has not returned by now (a read of a pipe that nobody writes to) is left behind when the process ends. All that
/// counts is durable by then; the moment is for calls that are about to return.
const PARTING: Duration = Duration::from_millis(200);

/// Runs a command that moves documents to its end.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> crate::error::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|cause| crate::error::Error::io("starting the runtime", cause))?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(PARTING);
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_long_flag_has_a_twin_in_the_environment() {
        let mut commands = vec![Cli::command()];
        commands[0].build();
        let mut seen = 0;
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands().cloned());
            for flag in
                command.get_arguments().filter(|flag| !matches!(flag.get_id().as_str(), "help" | "version"))
            {
                let Some(long) = flag.get_long() else { continue };
                let twin = flag.get_env().and_then(|name| name.to_str()).unwrap_or_default();
                let plain = format!("DOCFERRY_{}", long.replace('-', "_").to_ascii_uppercase());
                assert!(
                    twin == plain || (long == "limit" && twin == "DOCFERRY_REJECTS_LIMIT"),
                    "--{long}: {twin:?}"
                );
                seen += 1;
            }
        }
        assert!(seen > 20);
    }
}
