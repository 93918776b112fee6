//! From what the user said to one resolved [`Job`].
//!
//! Settings come in layers, the lower giving way to the upper:
//!
//! ```text
//!   flag                    --readers 8, or its twin DOCFERRY_READERS
//!   environment             AUTO_SCALING_MAX_WORKERS=16
//!   strategy file           [run] readers = 8
//!   remembered              the knobs that an earlier run of the same shape came to
//!   profile                 target_cpu_usage = 70
//!   preset                  max_workers = 4
//!   built-in                in the code, beside the reason for the number
//! ```
//!
//! A layer is a list of named settings, and laying one over another is appending it, because a
//! [`Section`] lets the last of equal names count. Every setting keeps its origin on the way, so that `show` and
//! every message can name it. Nothing stops at the first mistake: problems are collected, and the user sees all of them at once.

pub mod asked;
mod choice;
mod document;
mod endpoint;
pub mod environment;
mod figure;
mod interpolate;
pub mod job;
mod limits;
mod name;
mod pace;
mod pools;
pub mod remembered;
mod scaling;
pub mod shipped;
mod show;
mod uri;

pub use choice::POLICIES;
pub use show::show;

// What a strategy can name: `list` prints these, and `cli` knows no room but this one that has them.
pub use crate::connector::registry::{CONNECTORS, Connector};
pub use crate::transform::STEPS;

use crate::error::{Error, ErrorKind, Result};
use crate::model::settings::{Origin, Problem, Section, Setting, Value};
use crate::transform::Chain;
use asked::Asked;
use document::Entries;
use environment::Environment;
use job::Job;
use name::Place;
use pace::Pace;
use remembered::{Memory, Remembered};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where jobs are kept unless `--state` says otherwise.
pub const STATE_FOLDER: &str = ".docferry";

/// What every failure of this room says first.
const OPERATION: &str = "reading the settings";

/// The folder of a job.
pub fn job_folder(state: &Path, name: &str) -> PathBuf {
    state.join("jobs").join(name)
}

/// The folder in which the local Cosmos endpoint keeps the data of all jobs.
fn emulator_folder(state: &Path) -> PathBuf {
    state.join("emulator")
}

/// Makes a job of what the user said, or says everything that is wrong with it.
pub fn resolve(asked: &Asked, environment: &Environment) -> Result<Job> {
    let Opened { mut root, stem, mut problems } = open_strategy(asked, environment)?;
    // For whoever reads the file, and for `list`.
    let _ = root.text("about");
    let source = endpoint::source(&mut root, asked.from.as_ref(), environment.variables());
    let sink = endpoint::sink(&mut root, asked, environment.variables());
    let chain = Chain::from_settings(&mut root);
    let pace = Pace::read(&mut root, asked, environment);
    let source_name = source.as_ref().map_or("", |(_, name)| name.as_str());
    let target_name = sink.as_ref().map_or("", |(_, name)| name.as_str());
    let place = Place::read(asked, stem.as_deref(), source_name, target_name);

    let (mut resolved, found) = root.finish();
    problems.extend(found);
    problems.extend(place.problems);
    let (Some((source, source_name)), Some((sink, target_name)), true) = (source, sink, problems.is_empty())
    else {
        return Err(refusal(problems));
    };
    // `about` is prose of the file, not a setting in force.
    resolved.retain(|setting| setting.path != "about");
    resolved.extend(pace.resolved);
    resolved.extend(place.resolved);
    resolved.sort_by(|a, b| a.path.cmp(&b.path));
    let about = format!("{source_name} -> {target_name}");
    let memory = Memory::of(&place.state, about, &resolved, (&chain, &*sink), environment);
    let mut knobs = pace.knobs;
    let remembered = if pace.auto_scaling && !pace.cold_start {
        memory.warm(&mut knobs, &pace.scaling.bounds, &mut resolved)
    } else {
        Remembered::default()
    };
    Ok(Job {
        state: job_folder(&place.state, &place.name),
        emulator: emulator_folder(&place.state),
        name: place.name,
        source: Arc::from(source),
        source_name,
        sink: Arc::from(sink),
        target_name,
        chain: Arc::new(chain),
        begin: asked.begin,
        overwrite: asked.overwrite,
        limit: pace.limits.documents,
        max_rejects: pace.limits.max_rejects,
        max_rate: pace.limits.max_rate,
        max_document: pace.limits.max_document,
        checkpoint_interval: pace.limits.checkpoint_interval,
        verify: pace.limits.verify,
        knobs,
        auto_scaling: pace.auto_scaling,
        scaling: pace.scaling,
        memory,
        remembered,
        resolved,
    })
}

/// A strategy about to be read; without a file it is empty, and the flags say it all.
struct Opened {
    root: Section,
    stem: Option<String>,
    problems: Vec<Problem>,
}

fn open_strategy(asked: &Asked, environment: &Environment) -> Result<Opened> {
    let Some(wanted) = &asked.strategy else {
        if asked.from.is_none() || asked.to.is_none() {
            let message = "give --strategy NAME, or both --from URI and --to URI";
            return Err(Error::new(ErrorKind::Usage, OPERATION, message));
        }
        let root = Section::new("", Origin::BuiltIn, Vec::new());
        return Ok(Opened { root, stem: None, problems: Vec::new() });
    };
    let file = shipped::STRATEGIES
        .open(&wanted.text)
        .map_err(|message| Error::configuration(OPERATION, format!("{}: {message}", wanted.origin)))?;
    let (entries, problems) = document::read(&file.path, &file.text, environment);
    if entries.is_empty() && !problems.is_empty() {
        // Not TOML: nothing further can be said about it.
        return Err(refusal(problems));
    }
    Ok(Opened { root: Section::new("", file.origin(), entries), stem: Some(file.stem), problems })
}

/// All problems as one failure, in the order of the file.
fn refusal(mut problems: Vec<Problem>) -> Error {
    problems.sort_by_key(|problem| match problem.origin {
        Origin::File { line, column, .. } => (line, column),
        _ => (usize::MAX, 0),
    });
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let message = match lines.as_slice() {
        [] => {
            let message = "a connector or the transform refused its settings without a word";
            return Error::internal(OPERATION, message);
        }
        [only] => only.clone(),
        many => format!("{} problems\n  {}", many.len(), many.join("\n  ")),
    };
    let is_typed = problems.iter().all(|problem| is_of_command_line(&problem.origin));
    let kind = if is_typed { ErrorKind::Usage } else { ErrorKind::Configuration };
    Error::new(kind, OPERATION, message).advise(ErrorKind::Configuration.remedy())
}

/// Whether a setting came from a flag, or from its twin in the environment.
fn is_of_command_line(origin: &Origin) -> bool {
    match origin {
        Origin::Flag(_) => true,
        Origin::Environment(name) => name.starts_with("DOCFERRY_"),
        _ => false,
    }
}

/// The settings of a table of the strategy, and where it stands; an absent table is empty.
fn table(strategy: &mut Section, name: &'static str) -> (Entries, Origin) {
    match strategy.raw(name) {
        None => (Vec::new(), strategy.origin().clone()),
        Some(Setting { value: Value::Table(entries), origin }) => (entries, origin),
        Some(other) => {
            strategy.problem(name, format!("must be a table, found {}", other.value.kind()));
            (Vec::new(), other.origin)
        }
    }
}

/// Adds a problem that stands at a place of its own.
fn note(section: &mut Section, problem: Problem) {
    let mut at_place = Section::new("", problem.origin, Vec::new());
    at_place.problem(&problem.path, problem.message);
    section.absorb(at_place);
}

#[cfg(test)]
mod tests;
