//! `docferry jobs`: what the state folder knows of past, unfinished and running jobs.

use super::GlobalFlags;
use crate::checkpoint::lock::{LOCK_FILE, knows_no_locks};
use crate::checkpoint::store::{CheckpointStore, NEWEST};
use crate::config::job_folder;
use crate::error::{Error, Result};
use crate::model::checkpoint::Checkpoint;
use crate::model::units::{Bytes, Count, Counted};
use crate::report::record::SUMMARY;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const OPERATION: &str = "reading the state folder";

/// Lists the jobs, or says more about one.
pub(super) fn run(job: Option<&str>, global: &GlobalFlags, out: &mut dyn Write) -> anyhow::Result<u8> {
    let found = match job {
        Some(name) => vec![Found::read(name, &folder_of(&global.state, name)?)?],
        None => all(&global.state)?,
    };
    if global.json {
        let jobs: Vec<Value> = found.iter().map(Found::to_json).collect();
        writeln!(
            out,
            "{:#}",
            if job.is_some() { jobs.into_iter().next().into() } else { Value::from(jobs) }
        )?;
    } else if job.is_some() {
        found.iter().try_for_each(|job| job.print_details(out))?;
    } else {
        print(&found, &global.state, out)?;
    }
    Ok(0)
}

/// The folder of a job that is there.
pub(super) fn folder_of(state: &Path, name: &str) -> Result<PathBuf> {
    let folder = job_folder(state, name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let names = names(state)?;
    let hint = match names.as_slice() {
        [] => "there are none".to_owned(),
        names => format!("there are {}", names.join(", ")),
    };
    Err(Error::configuration(OPERATION, format!("no job {name:?}; {hint}"))
        .with("state", state.display())
        .advise("name a job that is there; --state DIR names another state folder"))
}

fn all(state: &Path) -> Result<Vec<Found>> {
    names(state)?.iter().map(|name| Found::read(name, &job_folder(state, name))).collect()
}

fn names(state: &Path) -> Result<Vec<String>> {
    let folder = state.join("jobs");
    let fail = |cause| Error::io(OPERATION, cause).with("path", folder.display());
    let entries = match fs::read_dir(&folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) if cause.kind() == io::ErrorKind::NotADirectory => {
            let message = "the state folder is not a folder";
            return Err(Error::configuration(OPERATION, message)
                .with("state", state.display())
                .advise("--state DIR names the folder"));
        }
        entries => entries.map_err(fail)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fail)?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Running,
    Finished,
    Unfinished,
    /// A folder without a checkpoint: the run was refused or has only just begun.
    Empty,
    /// Neither generation of the checkpoint can be read.
    Damaged,
}

struct Found {
    name: String,
    standing: Standing,
    checkpoint: Checkpoint,
    summary: Value,
    when: Option<Timestamp>,
    folder: PathBuf,
}

impl Found {
    fn read(name: &str, folder: &Path) -> Result<Found> {
        let loaded = CheckpointStore::new(folder).load();
        let standing = match &loaded {
            _ if is_locked(folder)? => Standing::Running,
            Err(_) => Standing::Damaged,
            Ok(loaded) => match &loaded.checkpoint {
                None => Standing::Empty,
                Some(checkpoint) if checkpoint.finished => Standing::Finished,
                Some(_) => Standing::Unfinished,
            },
        };
        let checkpoint = loaded.ok().and_then(|loaded| loaded.checkpoint).unwrap_or_default();
        let summary = fs::read(folder.join(SUMMARY)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let changed = |file: &str| fs::metadata(folder.join(file)).and_then(|about| about.modified()).ok();
        let when = changed(NEWEST).max(changed(SUMMARY)).and_then(|time| Timestamp::try_from(time).ok());
        let summary = summary.unwrap_or_default();
        Ok(Found { name: name.to_owned(), standing, checkpoint, summary, when, folder: folder.to_owned() })
    }

    fn to_json(&self) -> Value {
        json!({
            "job": self.name,
            "standing": self.standing.as_str(),
            "run": self.checkpoint.run,
            "counters": self.checkpoint.counters,
            "source": self.checkpoint.fingerprint.source,
            "target": self.checkpoint.fingerprint.target,
            "when": self.when(),
            "folder": self.folder.display().to_string(),
            "summary": self.summary,
        })
    }

    fn print_details(&self, out: &mut dyn Write) -> io::Result<()> {
        let counters = &self.checkpoint.counters;
        writeln!(out, "job {}: {}", self.name, self.standing.as_str())?;
        writeln!(out, "  folder        {}", self.folder.display())?;
        for source in &self.checkpoint.fingerprint.source {
            writeln!(out, "  source        {source}")?;
        }
        if !self.checkpoint.fingerprint.target.is_empty() {
            writeln!(out, "  target        {}", self.checkpoint.fingerprint.target)?;
        }
        writeln!(
            out,
            "  read          {}, {}",
            Counted(counters.read, "document"),
            Bytes(counters.bytes_read)
        )?;
        writeln!(out, "  dropped       {}", Count(counters.dropped))?;
        writeln!(out, "  rejected      {}", Count(counters.rejected))?;
        writeln!(out, "  written       {}", Count(counters.written))?;
        writeln!(out, "  superseded    {}", Count(counters.superseded))?;
        if let (Some(ending), Some(seconds)) =
            (self.summary["ending"].as_str(), self.summary["elapsed_s"].as_f64())
        {
            writeln!(out, "  last run      {ending} after {seconds:.1} s")?;
        }
        if let Some(error) = self.summary["error"].as_str() {
            writeln!(out, "  error         {error}")?;
        }
        writeln!(out, "  changed       {}", self.when())
    }

    fn when(&self) -> String {
        // To the second: nobody sorts jobs by hand any finer.
        self.when.map(|when| format!("{when:.0}")).unwrap_or_default()
    }
}

impl Standing {
    fn as_str(self) -> &'static str {
        match self {
            Standing::Running => "running",
            Standing::Finished => "finished",
            Standing::Unfinished => "unfinished",
            Standing::Empty => "empty",
            Standing::Damaged => "damaged",
        }
    }
}

/// Whether a run holds the job. The lock is given back at once; a run that begins in this very moment would have to be
/// started again.
fn is_locked(folder: &Path) -> Result<bool> {
    let path = folder.join(LOCK_FILE);
    let fail = |cause| Error::io(OPERATION, cause).with("path", path.display());
    match File::open(&path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(fail(cause)),
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(cause)) if knows_no_locks(&cause) => Ok(false),
            Err(TryLockError::Error(cause)) => Err(fail(cause)),
        },
    }
}

fn print(jobs: &[Found], state: &Path, out: &mut dyn Write) -> io::Result<()> {
    if jobs.is_empty() {
        return writeln!(out, "no jobs in {}", state.display());
    }
    let width = jobs.iter().map(|job| job.name.len()).max().unwrap_or(0);
    for job in jobs {
        let counters = &job.checkpoint.counters;
        let rejected = match counters.rejected {
            0 => String::new(),
            rejected => format!(", {} rejected", Count(rejected)),
        };
        let documents = format!("{}{rejected}", Counted(counters.accounted(), "document"));
        let line =
            format!("{:width$}  {:10}  {documents:36}  {}", job.name, job.standing.as_str(), job.when());
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::lock::JobLock;
    use crate::model::checkpoint::{CHECKPOINT_VERSION, Counters};

    fn job(state: &Path, name: &str, finished: bool) -> PathBuf {
        let folder = job_folder(state, name);
        fs::create_dir_all(&folder).unwrap();
        let counters = Counters { read: 1_300, written: 1_234, rejected: 66, ..Counters::default() };
        let checkpoint =
            Checkpoint { version: CHECKPOINT_VERSION, finished, counters, ..Checkpoint::default() };
        CheckpointStore::new(&folder).save(&checkpoint).unwrap();
        folder
    }

    #[test]
    fn jobs_are_told_apart_by_checkpoint_and_lock() {
        let state = tempfile::tempdir().unwrap();
        job(state.path(), "done", true);
        job(state.path(), "half", false);
        let held = JobLock::take(&job(state.path(), "held", false)).unwrap();
        fs::create_dir_all(job_folder(state.path(), "new")).unwrap();
        let standings = || -> Vec<String> {
            let all = all(state.path()).unwrap();
            all.iter().map(|found| format!("{} {}", found.name, found.standing.as_str())).collect()
        };
        assert_eq!(standings(), ["done finished", "half unfinished", "held running", "new empty"]);
        drop(held);
        assert_eq!(standings()[2], "held unfinished");
        let mut out = Vec::new();
        print(&all(state.path()).unwrap(), state.path(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("done  finished    1\u{202f}300 documents, 66 rejected")
                || text.starts_with("done  finished    1 300 documents, 66 rejected"),
            "{text}"
        );
    }

    #[test]
    fn an_unknown_job_is_refused_with_the_names_that_are_there() {
        let state = tempfile::tempdir().unwrap();
        job(state.path(), "orders", true);
        let message = folder_of(state.path(), "order").unwrap_err().to_string();
        assert!(
            message.starts_with(r#"reading the state folder: no job "order"; there are orders (state: "#),
            "{message}"
        );
        assert!(all(&state.path().join("nothing")).unwrap().is_empty());
    }
}
