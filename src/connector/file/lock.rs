//! One run a target: two jobs that write one file would each cut off what the other wrote.
//!
//! The lock is an advisory one on the target itself, the file or the folder, so that nothing is left beside it; it lives as long as the
//! handle, and the system gives it back when the run dies, however it dies. Where a file system knows no locks, or the system's locks
//! would keep our own other handles from writing, the run goes on without: the job's own lock still keeps two runs of one job apart.

use crate::error::{Error, ErrorKind, Result};
use std::fs::{File, TryLockError};
use std::path::Path;

/// A held lock, or none where there can be none; dropping it gives it back.
#[derive(Debug)]
pub(super) struct TargetLock {
    _handle: File,
}

impl TargetLock {
    /// Takes the lock of the target at `path`, to which `handle` is open.
    pub(super) fn take(handle: File, path: &Path) -> Result<TargetLock> {
        let taken = if cfg!(unix) { handle.try_lock() } else { Ok(()) };
        match taken {
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::Held, super::prepare::PREPARING, "another run is writing to it")
                    .with("path", path.display())
                    .advise("wait until it has ended, or stop it; or name another target"))
            }
            Ok(()) | Err(TryLockError::Error(_)) => Ok(TargetLock { _handle: handle }),
        }
    }
}
