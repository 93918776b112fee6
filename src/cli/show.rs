//! `docferry show`: every setting of a job with where its value came from. Nothing is opened.

use super::GlobalFlags;
use crate::config::asked::Asked;
use crate::config::environment::Environment;
use crate::config::{resolve, show};
use serde_json::{Value, json};
use std::io::Write;

/// Prints the settings.
pub(super) fn run(
    asked: &Asked,
    global: &GlobalFlags,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let job = resolve(asked, environment)?;
    if global.json {
        let line = |setting: &crate::model::settings::Resolved| json!({ "path": setting.path, "value": setting.value, "origin": setting.origin.to_string() });
        let settings: Vec<Value> = job.resolved.iter().map(line).collect();
        writeln!(out, "{:#}", Value::from(settings))?;
        return Ok(0);
    }
    for line in show(&job) {
        writeln!(out, "{line}")?;
    }
    Ok(0)
}
