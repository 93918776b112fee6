//! One run a job: an advisory lock on a file of the job's folder, held while the run lives and given back by the system when it
//! dies, however it dies.
//!
//! A file system without locks (some network and container mounts) gives none. The run then goes on and says so: the owner file of the
//! [store](super::store) still keeps a run that has lost its job from storing anything, but only after the fact.
//!
//! The lock needs the folder, so it makes it; a run that is refused before it has stored anything takes it away again, and with it
//! whatever it made above. What is not empty stays, because then it is a job.

use crate::error::{Error, ErrorKind, Result};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The lock's file name in a job's folder.
pub const LOCK_FILE: &str = "lock";

/// A held lock; dropping it gives it back.
#[derive(Debug)]
pub struct JobLock {
    _file: File,
    path: PathBuf,
    /// The file system gives no locks.
    is_missing: bool,
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
        let is_missing = match file.try_lock() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(ErrorKind::Held, OPERATION, "another run of this job is going on")
                    .with("path", path.display())
                    .advise("wait until it has ended, or stop it; if it is another migration, --job NAME gives this one a name of its own"));
            }
            Err(TryLockError::Error(cause)) if knows_no_locks(&cause) => true,
            Err(TryLockError::Error(cause)) => {
                return Err(Error::io(OPERATION, cause).with("path", path.display()));
            }
        };
        Ok(JobLock { _file: file, path, is_missing, made })
    }

    /// What the user should know, where there is no lock.
    pub fn warning(&self) -> Option<String> {
        self.is_missing.then(|| {
            format!(
                "the file system of {} gives no locks: see to it yourself that no second run of this job is started",
                self.path.display()
            )
        })
    }
}

/// Whether a lock was refused because the file system has none, and not because of this file.
pub fn knows_no_locks(cause: &io::Error) -> bool {
    // A network file system without its lock daemon says that there are no locks available, for which there is no name here.
    cause.kind() == io::ErrorKind::Unsupported || cfg!(unix) && cause.raw_os_error() == Some(libc::ENOLCK)
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
    fn a_file_system_without_locks_is_told_from_one_that_fails() {
        let of = |code| knows_no_locks(&io::Error::from_raw_os_error(code));
        assert!(of(libc::ENOTSUP) && of(libc::ENOSYS) && of(libc::ENOLCK));
        assert!(!of(libc::EIO) && !of(libc::EACCES));
        let folder = tempfile::tempdir().unwrap();
        let mut lock = JobLock::take(folder.path()).unwrap();
        assert_eq!(lock.warning(), None);
        lock.is_missing = true;
        assert!(lock.warning().unwrap().ends_with("that no second run of this job is started"));
    }

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
