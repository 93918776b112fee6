//! One run a target: two jobs that write one file would each cut off what the other wrote.
//!
//! The lock is an advisory one on the target itself, the file or the folder, so that nothing is left beside it; it lives as long as the
//! handle, and the system gives it back when the run dies, however it dies. A file may also be a part of somebody's folder, or come
//! to lie beside the parts. So whoever writes a file shares the lock of its folder with others who write files there, and whoever
//! writes the folder has it alone. Where a file system knows no locks, or the system's locks would keep our own other handles from
//! writing, the run goes on without: the job's own lock still keeps two runs of one job apart.

use crate::connector::file::prepare::PREPARING;
use crate::error::{Error, ErrorKind, Result};
use std::fs::{self, File, TryLockError};
use std::path::Path;

/// A held lock, or none where there can be none; dropping it gives it back.
#[derive(Debug)]
pub(super) struct TargetLock {
    _handle: File,
}

impl TargetLock {
    /// Takes the lock of the target at `path`, to which `handle` is open.
    pub(super) fn take(handle: File, path: &Path) -> Result<TargetLock> {
        Self::check(
            if cfg!(unix) { handle.try_lock() } else { Ok(()) },
            "another run is writing to it",
            path,
        )?;
        Ok(TargetLock { _handle: handle })
    }

    /// Takes a share of the lock of the folder that holds the file at `path`, or of the one that a link there leads to. A folder that may
    /// be written and not be opened has no lock.
    pub(super) fn share_folder_of(path: &Path) -> Result<Option<TargetLock>> {
        let real = fs::canonicalize(path);
        let folder = super::target::folder_of(real.as_deref().unwrap_or(path));
        let Some(handle) = File::open(folder).ok().filter(|_| cfg!(unix)) else { return Ok(None) };
        Self::check(handle.try_lock_shared(), "another run is writing to its folder", path)?;
        Ok(Some(TargetLock { _handle: handle }))
    }

    fn check(taken: Result<(), TryLockError>, held: &str, path: &Path) -> Result<()> {
        match taken {
            Err(TryLockError::WouldBlock) => Err(Error::new(ErrorKind::Held, PREPARING, held)
                .with("path", path.display())
                .advise("wait until it has ended, or stop it; or name another target")),
            Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
        }
    }
}
