//! Bringing a target to where a run begins.
//!
//! Two rules. Nothing is overwritten that this job did not write, unless the user says so; that a file is the job's own is
//! proven by the mark in the last checkpoint, never by a name alone. And a resume goes on only behind exactly those bytes
//! that the mark describes; what was written after it was taken is cut off, for those documents will come again. Before either is judged
//! the target is locked, so that what was seen is still so when it is cut.

use crate::connector::file::lock::TargetLock;
use crate::connector::file::mark::{Mark, PartMark};
use crate::connector::file::part::{Extent, Part, Shared};
use crate::connector::file::target::Target;
use crate::connector::sink::Start;
use crate::error::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The operation, for messages.
pub(super) const PREPARING: &str = "preparing the target";

/// A target that can be written to.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    /// Its absolute path.
    pub(super) path: String,
    /// Held as long as the target is written to; standard output has none.
    pub(super) _locks: Arc<[TargetLock]>,
    /// Its files, by lane.
    pub(super) parts: Arc<[Arc<Part>]>,
    /// Their names in a mark, in the same order.
    pub(super) names: Arc<[String]>,
}

/// What preparing needs to know.
#[derive(Debug)]
pub(super) struct Preparation {
    pub(super) target: Target,
    pub(super) shared: Arc<Shared>,
    pub(super) start: Start,
    pub(super) overwrite: bool,
    /// Partitions of the source: a folder has a part for each.
    pub(super) partitions: usize,
    /// Of the job's last checkpoint.
    pub(super) target_state: serde_json::Value,
    /// Nothing was written after that checkpoint.
    pub(super) is_finished: bool,
}

impl Preparation {
    /// Prepares the target.
    pub(super) fn run(self) -> Result<Prepared> {
        if let Target::Folder { path, .. } = &self.target {
            fs::create_dir_all(path).map_err(|cause| failed(path, cause))?;
        }
        let path = self.target.absolute().map_err(|cause| Error::io(PREPARING, cause))?;
        let shared = match &self.target {
            Target::File(path) => TargetLock::share_folder_of(path)?,
            Target::Folder { .. } | Target::StandardOutput => None,
        };
        let found = self.lock(false)?;
        let recorded = Mark::of(&self.target_state, &path);
        let files = self.target.files().map_err(|cause| failed(Path::new(&path), cause))?;
        let others = self.target.others().map_err(|cause| failed(Path::new(&path), cause))?;
        refuse_others(&others)?;
        match self.start {
            Start::Fresh if self.overwrite => {}
            Start::Fresh => self.refuse_foreign(&files, recorded.as_ref())?,
            Start::Resume => self.refuse_changed(&files, recorded.as_ref())?,
        }
        // A file that is not there yet is made only now that nothing speaks against it.
        let lock = if found.is_some() { found } else { self.lock(true)? };
        let locks = shared.into_iter().chain(lock).collect();
        let kept = recorded.filter(|_| self.start == Start::Resume);
        let noted = |name: &str| kept.as_ref().and_then(|mark| mark.parts.get(name));
        if let Target::Folder { .. } = self.target {
            // Parts of an earlier run, or begun after the checkpoint; a part without a document yet has no file.
            for file in files.iter().filter(|file| noted(&name_of(file)).is_none()) {
                fs::remove_file(file).map_err(|cause| failed(file, cause))?;
            }
        }
        let (mut names, mut parts) = (Vec::new(), Vec::new());
        for (name, file) in self.target.parts(self.partitions) {
            let extent = match &file {
                Some(file) => self.cut_back(file, noted(&name))?,
                None => Extent::default(),
            };
            parts.push(Arc::new(Part::new(file, Arc::clone(&self.shared), extent)));
            names.push(name);
        }
        Ok(Prepared { path, _locks: locks, parts: parts.into(), names: names.into() })
    }

    /// Keeps other runs away from the target, if it is there or is to be made.
    fn lock(&self, make: bool) -> Result<Option<TargetLock>> {
        let (path, opened) = match &self.target {
            Target::StandardOutput => return Ok(None),
            Target::File(path) => {
                (path, OpenOptions::new().write(true).create(make).truncate(false).open(path))
            }
            // Not everywhere can a folder be opened like a file.
            Target::Folder { .. } if !cfg!(unix) => return Ok(None),
            Target::Folder { path, .. } => (path, File::open(path)),
        };
        match opened {
            Ok(handle) => TargetLock::take(handle, path).map(Some),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && !make => Ok(None),
            Err(cause) => Err(failed(path, cause)),
        }
    }

    /// A resume finds what the mark describes; without a mark it finds nothing.
    fn refuse_changed(&self, files: &[PathBuf], recorded: Option<&Mark>) -> Result<()> {
        let changed = |path: &Path| {
            let message = "the target has changed since the checkpoint";
            Err(Error::configuration(PREPARING, message)
                .with("path", path.display())
                .advise("bring it back, or begin anew with --restart and --overwrite"))
        };
        let Some(recorded) = recorded else {
            return match files.iter().find(|file| !is_empty(file)) {
                Some(file) => changed(file),
                None => Ok(()),
            };
        };
        for (name, file) in self.target.parts(self.partitions) {
            if let (Some(file), Some(noted)) = (file, recorded.parts.get(&name))
                && !noted.proves(&file).map_err(|cause| failed(&file, cause))?
            {
                return changed(&file);
            }
        }
        Ok(())
    }

    /// A fresh run overwrites only what the last checkpoint names and what still begins as it says.
    fn refuse_foreign(&self, files: &[PathBuf], recorded: Option<&Mark>) -> Result<()> {
        for file in files.iter().filter(|file| !is_empty(file)) {
            let is_ours = match recorded.map(|mark| mark.parts.get(&name_of(file))) {
                // What stands behind the end of a part was put there by somebody else.
                Some(Some(noted)) => noted
                    .proves(file)
                    .and_then(|proves| {
                        Ok(proves && (!noted.ended || fs::metadata(file)?.len() == noted.length))
                    })
                    .map_err(|cause| failed(file, cause))?,
                // Begun after a checkpoint that names this very target. After the last one of a finished job nothing was begun.
                Some(None) => !self.is_finished,
                None => false,
            };
            if !is_ours {
                let message = "the target exists and no record of this job names it as it is";
                return Err(Error::configuration(PREPARING, message)
                    .with("path", file.display())
                    .advise("name another target, or replace this one with --overwrite"));
            }
        }
        Ok(())
    }

    /// Makes the file hold what was noted of it, or nothing.
    fn cut_back(&self, file: &Path, noted: Option<&PartMark>) -> Result<Extent> {
        // The one file of a target is there from now on, so that a later run knows the target by its path. A part comes with its
        // first document.
        if noted.is_none() && matches!(self.target, Target::Folder { .. }) {
            return Ok(Extent::default());
        }
        let extent = match noted {
            Some(noted) => Extent::new(noted.length, noted.tail()?, noted.ended),
            None => Extent::default(),
        };
        let length = noted.map_or(0, |noted| noted.length);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(file);
        opened.and_then(|opened| opened.set_len(length)).map_err(|cause| failed(file, cause))?;
        self.shared.created.store(true, Ordering::Release);
        Ok(extent)
    }
}

/// What lies in a folder and would be read as a part of it makes the target something else than this job has written, and no part
/// takes its place: it is not overwritten either.
fn refuse_others(others: &[PathBuf]) -> Result<()> {
    let Some(file) = others.first() else { return Ok(()) };
    let message = "the folder holds a file that no run has made and that would be read as a part of it";
    Err(Error::configuration(PREPARING, message)
        .with("path", file.display())
        .advise("move the file away, or name another folder"))
}

fn is_empty(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.len() == 0)
}

fn name_of(file: &Path) -> String {
    file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn failed(path: &Path, cause: io::Error) -> Error {
    Error::io(PREPARING, cause).with("path", path.display())
}
