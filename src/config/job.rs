//! A job is the whole intent of a migration: every question about *what* and *how* answered, nothing opened yet.
//!
//! `config` makes one; `run.rs` takes it apart and hands each room its share. Nothing after this point reads a
//! file of settings, a flag or an environment variable.

use super::remembered::{Memory, Remembered};
use crate::connector::{Sink, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::model::knobs::Knobs;
use crate::model::scaling::Scaling;
use crate::model::settings::Resolved;
use crate::transform::Chain;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// One migration, resolved.
pub struct Job {
    /// Its name: that of its folder in the state folder. Only `a-z 0-9 . _ -`.
    pub name: String,
    /// Where documents come from.
    pub source: Arc<dyn Source>,
    /// The source, for a person; holds no secret.
    pub source_name: String,
    /// Where documents go.
    pub sink: Arc<dyn Sink>,
    /// The target, for a person; holds no secret.
    pub target_name: String,
    /// What happens to a document on its way.
    pub chain: Arc<Chain>,
    /// The job's own folder, `<state folder>/jobs/<name>`. It need not exist yet.
    pub state: PathBuf,
    /// Where the local Cosmos endpoint keeps its data, if the job needs one: the same folder for every job of a state folder.
    pub emulator: PathBuf,
    /// What is done about an earlier run of this job.
    pub begin: Begin,
    /// A target that is not this job's may be replaced.
    pub overwrite: bool,
    /// Stop after this many documents.
    pub limit: Option<u64>,
    /// How many rejects are still a success.
    pub max_rejects: MaxRejects,
    /// Documents read per second, at most.
    pub max_rate: Option<f64>,
    /// A document with more bytes than this is rejected.
    pub max_document: u64,
    /// How often a checkpoint is stored.
    pub checkpoint_interval: Duration,
    /// Source and target are compared when everything has been moved.
    pub verify: bool,
    /// The knobs that the run begins with, inside the bounds.
    pub knobs: Knobs,
    /// Whether the tuner runs.
    pub auto_scaling: bool,
    /// What the tuner keeps to; with auto-scaling off both ends of its bounds are [`Job::knobs`].
    pub scaling: Scaling,
    /// Where the knobs that this run comes to are kept for the next of its shape.
    pub memory: Memory,
    /// What an earlier run has left of that, and what was wrong with it.
    pub remembered: Remembered,
    /// Every setting in force with where it came from, sorted by path.
    pub resolved: Vec<Resolved>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("name", &self.name)
            .field("source", &self.source_name)
            .field("target", &self.target_name)
            .field("begin", &self.begin)
            .field("knobs", &self.knobs)
            .finish_non_exhaustive()
    }
}

/// What is done about an earlier run of the same job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// Begin; refuse if an unfinished run is there.
    #[default]
    Start,
    /// Go on where the last run stopped; begin if there was none.
    Resume,
    /// Begin anew and forget what the last run did. Rows in the target stay.
    Restart,
}

/// How many rejected documents are still a success.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxRejects {
    /// So many.
    Count(u64),
    /// This many of a hundred documents read.
    Share(f64),
}

impl MaxRejects {
    /// Whether `rejected` of `read` documents are still a success.
    pub fn allows(self, rejected: u64, read: u64) -> bool {
        match self {
            MaxRejects::Count(most) => rejected <= most,
            // Compared as a product, so that an empty source has no share to divide by.
            MaxRejects::Share(most) => rejected as f64 * 100.0 <= most * read as f64,
        }
    }
}

impl Default for MaxRejects {
    /// None: a migration that lost documents must be asked to call that a success.
    fn default() -> Self {
        MaxRejects::Count(0)
    }
}

impl FromStr for MaxRejects {
    type Err = Error;

    /// Reads `100` or `0.5%`.
    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let parsed = match text.strip_suffix('%') {
            None => text.parse().ok().map(MaxRejects::Count),
            Some(number) => {
                let percent = number.trim_end().parse::<f64>().ok();
                percent.filter(|percent| (0.0..=100.0).contains(percent)).map(MaxRejects::Share)
            }
        };
        parsed.ok_or_else(|| {
            Error::new(
                ErrorKind::Usage,
                "reading a number of rejects",
                "must be a count such as 100, or a share such as 1%",
            )
        })
    }
}

impl fmt::Display for MaxRejects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MaxRejects::Count(most) => write!(f, "{most}"),
            MaxRejects::Share(most) => write!(f, "{most}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_are_allowed_by_count_or_share() {
        let allows = |text: &str, rejected, read| text.parse::<MaxRejects>().unwrap().allows(rejected, read);
        assert!(allows("0", 0, 10) && !allows("0", 1, 10));
        assert!(allows("1%", 1, 100) && !allows("1%", 2, 100));
        assert!(allows("50 %", 0, 0) && !allows("0.1%", 1, 0));
        for text in ["0.9%", "7", "0.07%", "100%"] {
            assert_eq!(text.parse::<MaxRejects>().unwrap().to_string(), text);
        }
        for wrong in ["", "-1", "1.5", "101%", "%", "many"] {
            assert!(wrong.parse::<MaxRejects>().is_err(), "{wrong}");
        }
    }
}
