//! One run a job: an advisory lock on a file of the job's folder, held while the run lives and given back by the system when it
//! dies, however it dies.

use crate::error::{Error, ErrorKind, Result};
use std::fs::{File, TryLockError};
use std::path::Path;

/// The lock's file name in a job's folder.
pub const LOCK_FILE: &str = "lock";

/// A held lock; dropping it gives it back.
#[derive(Debug)]
pub struct JobLock {
    _file: File,
}

impl JobLock {
    /// Takes the lock of the job in `folder`, which must exist.
    pub fn take(folder: &Path) -> Result<JobLock> {
        const OPERATION: &str = "locking the job";
        let path = folder.join(LOCK_FILE);
        let file = File::options().create(true).append(true).open(&path).map_err(|cause| {
            Error::io(OPERATION, cause).with("path", path.display()).with_kind(ErrorKind::Configuration)
        })?;
        match file.try_lock() {
            Ok(()) => Ok(JobLock { _file: file }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::Held, OPERATION, "another run of this job is going on")
                    .with("path", path.display())
                    .advise("wait until it has ended, or stop it; if it is another migration, --job NAME gives this one a name of its own"))
            }
            Err(TryLockError::Error(cause)) => Err(Error::io(OPERATION, cause).with("path", path.display())),
        }
    }
}
