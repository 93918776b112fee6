//! What a run may at most do: the settings of `[run]` that are no knobs.

use super::job::MaxRejects;
use crate::model::settings::{Resolved, Section, Value};
use crate::model::units::MIB;
use std::time::Duration;

/// Loses at most a second of work to a crash, and costs a few milliseconds a second.
const CHECKPOINT_INTERVAL_MS: u64 = 1_000;
/// Eight times what the widest document store takes (2 MiB), so it stops accidents and no data.
const MAX_DOCUMENT: u64 = 16 * MIB;
/// A place in a batch has 32 bits; a document and what a step makes of it must fit.
const MOST_MAX_DOCUMENT: u64 = 1024 * MIB;

/// Limits of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limits {
    pub(crate) documents: Option<u64>,
    pub(crate) max_rejects: MaxRejects,
    pub(crate) max_rate: Option<f64>,
    pub(crate) max_document: u64,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) verify: bool,
}

impl Limits {
    /// Reads them; `resolved` takes what the section cannot remember itself.
    pub(crate) fn read(run: &mut Section, resolved: &mut Vec<Resolved>) -> Limits {
        let documents = run.raw("limit").map(|_| run.count_or("limit", 1..=u64::MAX, 1));
        let max_rate = run.raw("max_rate").map(|_| run.number_or("max_rate", 0.001..=1e9, 1.0));
        let interval = run.count_or("checkpoint_interval_ms", 10..=3_600_000, CHECKPOINT_INTERVAL_MS);
        Limits {
            documents,
            max_rejects: max_rejects(run, resolved),
            max_rate,
            max_document: run.bytes_or("max_document", 1..=MOST_MAX_DOCUMENT, MAX_DOCUMENT),
            checkpoint_interval: Duration::from_millis(interval),
            verify: run.boolean_or("verify", false),
        }
    }
}

/// A count may be a number of the file, a share is always text.
fn max_rejects(run: &mut Section, resolved: &mut Vec<Resolved>) -> MaxRejects {
    let given = run.raw("max_rejects");
    let text = match &given {
        None => return MaxRejects::Count(run.count_or("max_rejects", 0..=0, 0)),
        Some(setting) => match &setting.value {
            Value::Text(text) => text.clone(),
            other => other.to_string(),
        },
    };
    let parsed = text.parse().map_err(|_| {
        run.problem(
            "max_rejects",
            format!("must be a count such as 100, or a share such as \"1%\", found {text:?}"),
        );
    });
    let most: MaxRejects = parsed.unwrap_or_default();
    if let Some(setting) = given {
        let path = run.path_of("max_rejects");
        resolved.push(Resolved { path, value: most.to_string(), origin: setting.origin });
    }
    most
}
