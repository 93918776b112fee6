//! One run a job: an advisory lock on a file of the job's folder, held while the run lives and given back by the system when it
//! dies, however it dies.
//!
//! The lock needs the folder, so it makes it; a run that is refused before it has stored anything takes it away again, and with it
//! whatever it made above. What is not empty stays, because then it is a job.

use crate::error::{Error, ErrorKind, Result};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// The lock's file name in a job's folder.
pub const LOCK_FILE: &str = "lock";

/// A held lock; dropping it gives it back.
#[derive(Debug)]
pub struct JobLock {
    _file: File,
    path: PathBuf,
    /// Folders that were not there before, the innermost first.
    made: Vec<PathBuf>,
}

impl JobLock {
    /// Takes the lock of the job in `folder`, and makes the folder if need be.
    pub fn take(folder: &Path) -> Result<JobLock> {
        const OPERATION: &str = "locking the job";
        let made = make(folder).map_err(|cause| {
            Error::io("making the state folder", cause)
                .with("path", folder.display())
                .with_kind(ErrorKind::Configuration)
        })?;
        let path = folder.join(LOCK_FILE);
        let file = File::options().create(true).append(true).open(&path).map_err(|cause| {
            Error::io(OPERATION, cause).with("path", path.display()).with_kind(ErrorKind::Configuration)
        })?;
        match file.try_lock() {
            Ok(()) => Ok(JobLock { _file: file, path, made }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::Held, OPERATION, "another run of this job is going on")
                    .with("path", path.display())
                    .advise("wait until it has ended, or stop it; if it is another migration, --job NAME gives this one a name of its own"))
            }
            Err(TryLockError::Error(cause)) => Err(Error::io(OPERATION, cause).with("path", path.display())),
        }
    }
}

impl Drop for JobLock {
    fn drop(&mut self) {
        let Some(folder) = self.made.first() else { return };
        let holds_only_the_lock = fs::read_dir(folder).is_ok_and(|entries| entries.count() == 1);
        // Still locked: a run that begins in this moment is refused, not robbed. A folder that cannot be removed does no harm.
        if holds_only_the_lock && fs::remove_file(&self.path).is_ok() {
            let _ = self.made.iter().try_for_each(fs::remove_dir);
        }
    }
}

/// Makes a folder and those above it. Returns those that were not there, the innermost first.
fn make(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let absent = |path: &&Path| !path.as_os_str().is_empty() && !path.is_dir();
    let made = folder.ancestors().take_while(absent).map(Path::to_owned).collect();
    fs::create_dir_all(folder)?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_for_nothing_goes_and_what_was_there_or_is_used_stays() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("jobs/job");
        let entries = || fs::read_dir(state.path()).unwrap().count();
        drop(JobLock::take(&folder).unwrap());
        assert_eq!(entries(), 0);
        let lock = JobLock::take(&folder).unwrap();
        assert_eq!(JobLock::take(&folder).unwrap_err().kind(), ErrorKind::Held);
        fs::write(folder.join("checkpoint.json"), "").unwrap();
        drop(lock);
        fs::remove_file(folder.join("checkpoint.json")).unwrap();
        drop(JobLock::take(&folder).unwrap());
        assert!(folder.join(LOCK_FILE).is_file(), "this one did not make it");
    }
}
