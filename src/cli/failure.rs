//! How a failure reaches the user: `error:` and the cause, `try:` and the remedy, and an exit code that a script can read.

use crate::error::{Error, ErrorKind};
use crate::report::json::stamped;
use serde_json::json;
use std::io::{self, Write};

/// Reports a command's failure on standard error and returns its exit code.
pub(super) fn report(failure: &anyhow::Error, is_json: bool) -> u8 {
    if is_broken_pipe(failure) {
        // Whoever read our output (`head`) has seen enough.
        return 0;
    }
    let error = failure.downcast_ref::<Error>();
    let kind = error.map_or(ErrorKind::Io, Error::kind);
    let remedy = error.map_or(kind.remedy(), Error::remedy);
    // An `Error` prints its own causes.
    let message = error.map_or_else(|| format!("{failure:#}"), Error::to_string);
    let text = if is_json {
        let fields = json!({ "kind": format!("{kind:?}"), "message": message, "remedy": remedy, "exit_code": kind.exit_code() });
        format!("{}\n", stamped("error", fields))
    } else {
        format!("error: {message}\n  try: {remedy}\n")
    };
    // Where standard error is closed too, the exit code still speaks.
    let _ = io::stderr().lock().write_all(text.as_bytes());
    kind.exit_code()
}

/// Only our own writes: a target that broke is an [`Error`] with an operation, and not for us to keep quiet about.
fn is_broken_pipe(failure: &anyhow::Error) -> bool {
    failure.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
