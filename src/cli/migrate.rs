//! `docferry migrate`: a job, a run of it, and a reporter on its events.

use super::{GlobalFlags, dispatch};
use crate::config::asked::Asked;
use crate::config::environment::Environment;
use crate::config::resolve;
use crate::report::{Reporter, Verbosity};
use crate::run;
use tokio::sync::mpsc;

/// Migrates and returns the exit code.
pub(super) fn run(asked: &Asked, global: &GlobalFlags, environment: &Environment) -> anyhow::Result<u8> {
    let job = resolve(asked, environment)?;
    let verbosity = match (global.quiet, global.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let reporter = Reporter::new(verbosity, global.json, &job.state);
    let (events, stream) = mpsc::unbounded_channel();
    let outcome = dispatch::block_on(async {
        let reporting = tokio::task::spawn_blocking(move || reporter.run(stream));
        let outcome = Box::pin(run::migrate(job, events)).await;
        // The run has dropped its sender. A reporter that panicked has nothing left to say.
        let _ = reporting.await;
        outcome
    })?;
    let code = run::exit_code(&outcome);
    outcome?;
    Ok(code)
}
