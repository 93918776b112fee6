//! A look at the target before anything is changed in it: what would be written to, and why it could not be.

use crate::connector::sqlite::connection::{failure, find_file, open_to_look};
use crate::connector::sqlite::{TargetOptions, custody, schema};
use crate::error::{Error, Result};
use std::path::Path;

/// What an existing database says of itself.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) uuid: Option<String>,
    pub(super) has_rows: bool,
}

/// Looks at the target without changing it. What cannot be written is refused.
pub(super) fn survey(operation: &'static str, options: &TargetOptions) -> Result<Survey> {
    let path = options.path.as_path();
    if !find_file(operation, path)? {
        check_folder(operation, path)?;
        return Ok(Survey::default());
    }
    // Opening for writing asks the system for permission and changes nothing.
    if let Err(cause) = std::fs::OpenOptions::new().write(true).open(path) {
        return Err(Error::configuration(operation, "the database cannot be written")
            .with("path", path.display())
            .caused_by(cause));
    }
    let connection = open_to_look(operation, path)?;
    let failure = failure(operation, path);
    let mut survey = Survey { uuid: custody::uuid(&connection).map_err(failure)?, has_rows: false };
    let Some(table) = schema::table(&connection, &options.table).map_err(failure)? else {
        return Ok(survey);
    };
    if let Some(difference) = schema::difference(&connection, &table, options).map_err(failure)? {
        return Err(Error::configuration(
            operation,
            format!("the table is not one that this target writes: {difference}"),
        )
        .with("path", path.display())
        .with("table", &options.table));
    }
    survey.has_rows = schema::has_rows(&connection, &options.table).map_err(failure)?;
    Ok(survey)
}

fn check_folder(operation: &'static str, path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if folder.is_dir() {
        return Ok(());
    }
    Err(Error::configuration(operation, "the folder of the database does not exist")
        .with("folder", folder.display())
        .advise("create the folder first"))
}
