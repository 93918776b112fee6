//! Checkpoints on disk: two generations, each with a checksum, replaced by rename.
//!
//! `checkpoint.json` is the newest, `checkpoint.previous.json` the one before. A file is one line of JSON with the checkpoint, a line
//! feed, and the XXH3 checksum of that line in hexadecimal. Saving writes a temporary file, syncs it, renames the newest to previous and
//! the temporary to newest, and syncs the folder: a crash at any point leaves at least one whole file. Where the newest is not there, the
//! temporary may be whole: the crash came between the two renames. A damaged newest falls back to the previous with a warning; where nothing
//! whole is left of what was there, that is said and never taken for a job that has not begun.

use crate::error::{Error, ErrorKind, Result};
use crate::model::checkpoint::{CHECKPOINT_VERSION, Checkpoint};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The newest generation's file name in a job's folder.
pub const NEWEST: &str = "checkpoint.json";
const PREVIOUS: &str = "checkpoint.previous.json";
const TEMPORARY: &str = "checkpoint.new.json";
/// Holds the name of the run that may save.
const OWNER: &str = "owner";

/// The checkpoints of one job.
#[derive(Clone, Debug)]
pub struct CheckpointStore {
    folder: PathBuf,
}

/// A loaded checkpoint.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The newest whole one, if there is any.
    pub checkpoint: Option<Checkpoint>,
    /// What was wrong with a newer one.
    pub warning: Option<String>,
}

impl CheckpointStore {
    /// The store in a job's folder, which must exist before anything is saved.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The newest whole checkpoint. A file of a later format is refused, never overwritten.
    pub fn load(&self) -> Result<Loaded> {
        let mut damage = Vec::new();
        for name in [NEWEST, TEMPORARY, PREVIOUS] {
            match read(&self.folder.join(name))? {
                Content::Whole(checkpoint) => {
                    let warning = (!damage.is_empty())
                        .then(|| format!("{}; going on from {name}", damage.join(" and ")));
                    return Ok(Loaded { checkpoint: Some(*checkpoint), warning });
                }
                // One that is cut short was being written when the run died, and counts for nothing.
                Content::Damaged(_) if name == TEMPORARY => {}
                Content::Damaged(reason) => damage.push(format!("{name} is damaged ({reason})")),
                Content::Absent => {}
            }
        }
        if damage.is_empty() {
            return Ok(Loaded::default());
        }
        let message = format!("{}, and no other generation is there", damage.join(" and "));
        Err(Error::configuration("reading the checkpoint", message)
            .with("path", self.folder.display())
            .advise("begin anew with --restart"))
    }

    /// Saves a checkpoint as the newest generation. Durable on return. If another run has claimed the job, this one has been fenced
    /// off: nothing is written, and the error is [`ErrorKind::Held`].
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<()> {
        let fail = |cause| Error::io("storing the checkpoint", cause).with("path", self.folder.display());
        self.refuse_if_lost(&checkpoint.run)?;
        let line = serde_json::to_string(checkpoint).map_err(|cause| {
            Error::internal("storing the checkpoint", "it has no JSON form").caused_by(cause)
        })?;
        let temporary = self.folder.join(TEMPORARY);
        let mut file = File::create(&temporary).map_err(fail)?;
        let checksum = checksum(&line);
        file.write_all(format!("{line}\n{checksum}\n").as_bytes()).map_err(fail)?;
        file.sync_all().map_err(fail)?;
        let newest = self.folder.join(NEWEST);
        match fs::rename(&newest, self.folder.join(PREVIOUS)) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(fail(cause)),
            _ => {}
        }
        fs::rename(&temporary, &newest).map_err(fail)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(fail)
    }

    /// Saves the checkpoint with which a job begins anew, as both generations: should the newest be damaged, nothing must go on from where a
    /// run that was given up had come to.
    pub fn save_anew(&self, checkpoint: &Checkpoint) -> Result<()> {
        self.save(checkpoint)?;
        self.save(checkpoint)
    }

    /// Takes the job over for `run`: whoever held it before can save nothing more. The lock keeps two runs of one machine apart; this
    /// keeps them apart where a lock does not reach (a folder shared by two machines, a lock file that was deleted).
    pub fn claim(&self, run: &str) -> Result<()> {
        let path = self.folder.join(OWNER);
        let written = File::create(&path)
            .and_then(|mut file| file.write_all(run.as_bytes()).and_then(|()| file.sync_all()));
        written.map_err(|cause| Error::io("taking over the job", cause).with("path", path.display()))
    }

    /// Refuses ([`ErrorKind::Held`]) where another run has taken the job over since `run` claimed it. To be asked before anything of the
    /// job's is written: what a fenced run writes is written into the other's files.
    pub fn refuse_if_lost(&self, run: &str) -> Result<()> {
        match fs::read_to_string(self.folder.join(OWNER)) {
            Ok(owner) if owner != run => Err(Error::new(
                ErrorKind::Held,
                "storing the checkpoint",
                "another run has taken over this job",
            )
            .with("run", owner)),
            _ => Ok(()),
        }
    }
}

enum Content {
    Absent,
    Damaged(&'static str),
    Whole(Box<Checkpoint>),
}

fn read(path: &Path) -> Result<Content> {
    let text = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Content::Absent),
        Err(cause) => return Err(Error::io("reading the checkpoint", cause).with("path", path.display())),
    };
    let Ok(text) = String::from_utf8(text) else { return Ok(Content::Damaged("not text")) };
    let Some((line, sum)) = text.split_once('\n') else { return Ok(Content::Damaged("cut short")) };
    if sum.trim_end() != checksum(line) {
        return Ok(Content::Damaged("its checksum does not match"));
    }
    let version =
        serde_json::from_str::<serde_json::Value>(line).ok().and_then(|value| value["version"].as_u64());
    if version.is_some_and(|version| version > u64::from(CHECKPOINT_VERSION)) {
        return Err(Error::configuration(
            "reading the checkpoint",
            "it was written by a later version of docferry",
        )
        .with("path", path.display())
        .advise("go on with that version, or begin anew with --restart"));
    }
    match serde_json::from_str(line) {
        Ok(checkpoint) => Ok(Content::Whole(Box::new(checkpoint))),
        Err(_) => Ok(Content::Damaged("not a checkpoint")),
    }
}

fn checksum(line: &str) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(line.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(generation: u64) -> Checkpoint {
        Checkpoint {
            version: CHECKPOINT_VERSION,
            generation,
            run: format!("run{generation}"),
            ..Checkpoint::default()
        }
    }

    #[test]
    fn two_generations_survive_damage_of_the_newest_at_any_byte() {
        let folder = tempfile::tempdir().unwrap();
        let store = CheckpointStore::new(folder.path());
        assert!(store.load().unwrap().checkpoint.is_none());
        store.save(&checkpoint(1)).unwrap();
        store.save(&checkpoint(2)).unwrap();
        assert_eq!(store.load().unwrap().checkpoint, Some(checkpoint(2)));
        let newest = folder.path().join(NEWEST);
        let whole = fs::read(&newest).unwrap();
        for length in 0..whole.len() - 1 {
            fs::write(&newest, &whole[..length]).unwrap();
            let loaded = store.load().unwrap();
            assert_eq!(loaded.checkpoint, Some(checkpoint(1)), "cut at {length}");
            assert!(loaded.warning.unwrap().ends_with("going on from checkpoint.previous.json"));
        }
        fs::remove_file(&newest).unwrap();
        assert_eq!(store.load().unwrap().checkpoint, Some(checkpoint(1)));
    }

    #[test]
    fn what_is_left_without_the_newest_is_found_or_its_damage_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let store = CheckpointStore::new(folder.path());
        let path = |name| folder.path().join(name);
        store.save(&checkpoint(1)).unwrap();
        store.save(&checkpoint(2)).unwrap();
        fs::rename(path(NEWEST), path(TEMPORARY)).unwrap();
        let loaded = store.load().unwrap();
        assert_eq!((loaded.checkpoint, loaded.warning), (Some(checkpoint(2)), None), "between the renames");
        fs::write(path(TEMPORARY), "{").unwrap();
        assert_eq!(store.load().unwrap().checkpoint, Some(checkpoint(1)));
        fs::write(path(PREVIOUS), "{").unwrap();
        let message = store.load().unwrap_err().to_string();
        assert!(message.contains("checkpoint.previous.json is damaged (cut short)"), "{message}");
        fs::remove_file(path(PREVIOUS)).unwrap();
        assert!(store.load().unwrap().checkpoint.is_none(), "the first one was never stored");
    }

    #[test]
    fn a_job_that_begins_anew_has_forgotten_the_run_before() {
        let folder = tempfile::tempdir().unwrap();
        let store = CheckpointStore::new(folder.path());
        store.save(&checkpoint(1)).unwrap();
        store.save_anew(&checkpoint(2)).unwrap();
        fs::write(folder.path().join(NEWEST), "damaged").unwrap();
        assert_eq!(store.load().unwrap().checkpoint, Some(checkpoint(2)));
    }

    #[test]
    fn a_later_format_and_another_run_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = CheckpointStore::new(folder.path());
        store.save(&checkpoint(1)).unwrap();
        store.claim("other").unwrap();
        assert_eq!(store.save(&checkpoint(1)).unwrap_err().kind(), ErrorKind::Held);
        store.claim("run2").unwrap();
        store.save(&Checkpoint { version: CHECKPOINT_VERSION + 1, ..checkpoint(2) }).unwrap();
        assert_eq!(store.load().unwrap_err().kind(), ErrorKind::Configuration);
    }
}
