//! Whether a file is still the one that was looked at.
//!
//! What there is to read is found out once, and partitions are opened long after. A file that is cut short, written to or replaced in
//! between is read as some mixture that nobody has ever had. No lock keeps others from doing that, so it is looked for: when a partition is
//! opened, and when its end is reached or damage is met. What the system says of a file costs microseconds.

use crate::connector::file::plan::{Input, Place};
use crate::error::{Error, Result};
use std::fs::{self, Metadata};
use std::io;
use std::time::SystemTime;

/// What the system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    length: u64,
    modified: Option<SystemTime>,
    /// Device and number, where files have one.
    identity: (u64, u64),
}

impl Seen {
    /// What is said now.
    pub(super) fn of(found: &Metadata) -> Seen {
        Seen { length: found.len(), modified: found.modified().ok(), identity: identity(found) }
    }

    /// In what `now` differs.
    fn difference(&self, now: io::Result<Seen>) -> Option<String> {
        let now = match now {
            Ok(now) => now,
            Err(cause) => return Some(format!("it cannot be found any more ({cause})")),
        };
        if now.identity != self.identity {
            return Some("another file has taken its place".to_owned());
        }
        if now.length != self.length {
            return Some(format!("it had {} bytes and has {}", self.length, now.length));
        }
        (now.modified != self.modified).then(|| "it was written to".to_owned())
    }
}

/// Refuses an input that is not as it was when it was looked at.
pub(super) fn refuse_change(input: &Input) -> Result<()> {
    let (Place::File(path), Some(seen)) = (&input.place, &input.seen) else { return Ok(()) };
    match seen.difference(fs::metadata(path).map(|found| Seen::of(&found))) {
        None => Ok(()),
        Some(difference) => {
            let message = format!("the source changed while it was read: {difference}");
            Err(Error::configuration("reading the source", message)
                .with("file", &input.shown)
                .advise("keep others from writing to it, and begin anew with --restart"))
        }
    }
}

#[cfg(unix)]
fn identity(found: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (found.dev(), found.ino())
}

#[cfg(not(unix))]
fn identity(_found: &Metadata) -> (u64, u64) {
    (0, 0)
}
