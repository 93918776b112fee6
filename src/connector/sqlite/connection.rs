//! Opening a database, and its failures in our words.
//!
//! SQLite blocks, so whatever touches it runs on a thread that may ([`blocking`](crate::model::blocking())).

use crate::connector::sqlite::Synchronous;
use crate::error::{Error, ErrorKind, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// How long to wait for another process's lock: longer than a commit or a checkpoint of the log takes, shorter than a
/// person waits before asking. What lasts longer is reported, and retried if it was a request.
const BUSY: Duration = Duration::from_secs(5);

/// Whether there is a file at `path`. What is neither a file nor absent is refused with a plain word.
pub(super) fn find_file(operation: &'static str, path: &Path) -> Result<bool> {
    let refused = |why: &str| Err(Error::configuration(operation, why).with("path", path.display()));
    match path.metadata() {
        Ok(found) if found.is_file() => Ok(true),
        Ok(found) if found.is_dir() => refused("is a folder, not a database file"),
        Ok(_) => refused("is not a file"),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(cause) => {
            Err(Error::io(operation, cause).with_kind(ErrorKind::Configuration).with("path", path.display()))
        }
    }
}

/// Opens an existing source to read it only.
pub(super) fn open_to_read(operation: &'static str, path: &Path) -> Result<Connection> {
    if !find_file(operation, path)? {
        return Err(Error::configuration(operation, "there is no such file").with("path", path.display()));
    }
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failure(operation, path))
}

/// Opens an existing target to look at it. Nothing in it can be changed through this connection, yet it may write: so when it
/// is the last to close, SQLite clears away the files of the write-ahead log, which a connection that only reads must leave
/// behind. A source is not opened so: moving its log would be a change that a resume must refuse.
pub(super) fn open_to_look(operation: &'static str, path: &Path) -> Result<Connection> {
    if !find_file(operation, path)? {
        return Err(Error::configuration(operation, "there is no such file").with("path", path.display()));
    }
    let look = || {
        // Where writing is not permitted, SQLite opens the file for reading by itself.
        let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    };
    look().map_err(failure(operation, path))
}

/// Opens or creates a database to write to it, with a write-ahead log.
pub(super) fn open_to_write(
    operation: &'static str,
    path: &Path,
    synchronous: Synchronous,
) -> Result<Connection> {
    let level = match synchronous {
        Synchronous::Off => "off",
        Synchronous::Normal => "normal",
        Synchronous::Full => "full",
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = open(path, flags).map_err(failure(operation, path))?;
    let prepare = || {
        // The log lets `verify` read while a run writes, and makes a commit one sequential write.
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", level)?;
        // 16 MiB in KiB: keeps the inner pages of an index over tens of millions of ids in memory.
        connection.pragma_update(None, "cache_size", -16 * 1024)
    };
    prepare().map_err(write_failure(operation, path, &connection))?;
    Ok(connection)
}

fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // An absolute path is never one of the names that mean something else to SQLite (`:memory:`, the empty one).
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    // Opening reads nothing; this does, and finds out that a file is no database.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// Turns SQLite's failures into ours.
pub(super) fn failure<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl Fn(rusqlite::Error) -> Error + Copy + 'a {
    move |cause| {
        let (kind, message) = match cause.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                (ErrorKind::Unavailable, "another process holds the database")
            }
            Some(ErrorCode::DiskFull) => (ErrorKind::StorageFull, "the disk is full"),
            Some(ErrorCode::NotADatabase) => (ErrorKind::Configuration, "is not a SQLite database"),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                (ErrorKind::Configuration, "the database cannot be written")
            }
            Some(ErrorCode::CannotOpen) => (ErrorKind::Configuration, "the database cannot be opened"),
            Some(ErrorCode::DatabaseCorrupt) => (ErrorKind::Configuration, "the database is damaged"),
            _ => (ErrorKind::Io, ""),
        };
        Error::new(kind, operation, message).with("path", path.display()).caused_by(cause)
    }
}

/// The same for a connection that writes. SQLite itself tells only one of the ways in which there is no more room; of a quota and of a
/// limit of the file's size it says no more than that a write failed, and the system's own number tells the rest.
pub(super) fn write_failure<'a>(
    operation: &'static str,
    path: &'a Path,
    connection: &'a Connection,
) -> impl Fn(rusqlite::Error) -> Error + Copy + 'a {
    move |cause| {
        let system = match cause.sqlite_error_code() {
            Some(ErrorCode::SystemIoFailure) => system_error(connection),
            _ => None,
        };
        match system {
            Some(system) if Error::kind_of_io(&system) == ErrorKind::StorageFull => {
                Error::io(operation, system).with("path", path.display())
            }
            _ => failure(operation, path)(cause),
        }
    }
}

/// What the system said when it failed the connection's last call.
fn system_error(connection: &Connection) -> Option<std::io::Error> {
    #[expect(unsafe_code, reason = "reads a number of an open connection, which is borrowed meanwhile")]
    // SAFETY: the handle is valid as long as the connection lives.
    let number = unsafe { rusqlite::ffi::sqlite3_system_errno(connection.handle()) };
    (number != 0).then(|| std::io::Error::from_raw_os_error(number))
}

/// A name as it stands in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
