//! A run under the classic threshold rules, in real time; all else of this benchmark is in `run.py`.
//!
//! ```text
//! tuner STRATEGY.toml STATE      migrates as `docferry migrate --strategy STRATEGY.toml --state STATE --cold-start --json` does, rules in the tuner's place
//! ```
//!
//! Started by `cargo bench --bench tuner -- ARGUMENTS`, this program starts `run.py`.

#![expect(clippy::print_stdout, reason = "a word for whoever starts it without arguments")]

use docferry::config::asked::{Asked, Given};
use docferry::config::environment::Environment;
use docferry::config::resolve;
use docferry::report::{Reporter, Verbosity};
use docferry::run;
use docferry::simulate::threshold_rules;
use std::error::Error;
use std::process::Command;
use tokio::sync::mpsc::unbounded_channel;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        words if words.contains(&"--bench") => {
            let mut command = Command::new("python3");
            command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/tuner/run.py"));
            command
                .args(["--binary", env!("CARGO_BIN_EXE_docferry"), "--rules"])
                .arg(std::env::current_exe()?);
            command.args(words.iter().filter(|word| **word != "--bench"));
            if command.status()?.success() { Ok(()) } else { Err("benches/tuner/run.py failed".into()) }
        }
        [strategy, state] => migrate(strategy, state),
        // `cargo test --benches` starts every benchmark without that word, to see whether it builds.
        _ => {
            println!("start with `cargo bench --bench tuner`");
            Ok(())
        }
    }
}

fn migrate(strategy: &str, state: &str) -> Result<(), Box<dyn Error>> {
    let asked = Asked {
        strategy: Some(Given::flag("--strategy", strategy)),
        state: Some(Given::flag("--state", state)),
        scaling: vec![("cold_start", Given::flag("--cold-start", "true"))],
        ..Asked::default()
    };
    let job = resolve(&asked, &Environment::of_process())?;
    let reporter = Reporter::new(Verbosity::Normal, true, &job.state);
    let (events, stream) = unbounded_channel();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let reporting = std::thread::spawn(move || reporter.run(stream));
    let rules = |scaling: docferry::model::scaling::Scaling| -> run::Decide {
        Box::new(threshold_rules(scaling.bounds))
    };
    let outcome = runtime.block_on(Box::pin(run::migrate_under(job, events, rules)));
    // A reporter that panicked has nothing left to say.
    let _ = reporting.join();
    outcome?;
    Ok(())
}
