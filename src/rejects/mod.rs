//! Dead letters: the documents that were refused, with the reason, in `rejects.jsonl` of the job's folder.
//!
//! Each line is one JSON object: who refused it (`by`), why (`reason`), where it stands (`where` for people, `partition` and `at` for
//! programs), and the document: as `document` where it is valid JSON, as `text` where it is UTF-8, else as `base64`.
//! A line holds no time and no run, so that a resumed job leaves the same file as an uninterrupted one. A document's line is
//! written only when its whole batch is finished, and the checkpoint holds the file's length: a replay truncates, never doubles.
//! When every partition is finished the lines are put in source order (`order.rs`).

mod order;

use crate::error::{Error, ErrorKind, Result};
use crate::model::json::{self, Index, write_string};
use crate::model::partition::Partition;
use crate::model::reject::{Reject, RejectedBy};
use base64::Engine;
use serde::Deserialize;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The reject file's name in a job's folder.
pub const REJECTS_FILE: &str = "rejects.jsonl";

/// Lines are collected up to this many bytes before they are written: one system call for hundreds of lines.
const BUFFER_BYTES: usize = 128 * 1024;

/// One reject as its line in the file.
pub fn dead_letter(reject: &Reject, partition: &str, place: &str) -> Vec<u8> {
    let mut line = Vec::with_capacity(reject.bytes.len() + 200);
    line.extend_from_slice(b"{\"by\":");
    write_string(&mut line, reject.by.as_str());
    line.extend_from_slice(b",\"reason\":");
    write_string(&mut line, &reject.reason);
    line.extend_from_slice(b",\"where\":");
    write_string(&mut line, place);
    line.extend_from_slice(b",\"partition\":");
    write_string(&mut line, partition);
    line.extend_from_slice(format!(",\"at\":{}", reject.at).as_bytes());
    if let Some(offset) = reject.offset {
        line.extend_from_slice(format!(",\"offset\":{offset}").as_bytes());
    }
    line.extend_from_slice(format!(",\"length\":{}", reject.length).as_bytes());
    if !reject.bytes.is_empty() {
        write_document(&mut line, &reject.bytes);
    }
    line.extend_from_slice(b"}\n");
    line
}

fn write_document(line: &mut Vec<u8>, bytes: &[u8]) {
    if json::index(bytes, &mut Index::default()).is_ok() {
        line.extend_from_slice(b",\"document\":");
        json::compact(bytes, line);
    } else if let Ok(text) = std::str::from_utf8(bytes) {
        line.extend_from_slice(b",\"text\":");
        write_string(line, text);
    } else {
        line.extend_from_slice(b",\"base64\":");
        write_string(line, &base64::engine::general_purpose::STANDARD.encode(bytes));
    }
}

/// What of a dead letter says which document it is of. The document itself is passed over: it may hold what `serde_json` does not take
/// (1e400, hundreds of nested arrays).
#[derive(Deserialize)]
struct Refused {
    by: String,
    partition: String,
    at: u64,
}

/// The places (partition, position) of documents that the target refused, from the reject file in `folder`. A last line without its end, as a
/// killed run leaves it, counts for nothing; any other that cannot be read is an error, for its document would be missed in the target.
pub fn refused_by_target(folder: &Path) -> Result<HashSet<(String, u64)>> {
    let fail = |cause| Error::io("reading the reject file", cause).with("path", folder.display());
    let file = match File::open(folder.join(REJECTS_FILE)) {
        Ok(file) => file,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(cause) => return Err(fail(cause)),
    };
    let (mut file, mut line, mut number, mut places) =
        (BufReader::new(file), Vec::new(), 0u64, HashSet::new());
    while file.read_until(b'\n', &mut line).map_err(fail)? > 0 && line.ends_with(b"\n") {
        number += 1;
        let letter: Refused = serde_json::from_slice(&line).map_err(|cause| {
            Error::configuration("reading the reject file", "a line is no dead letter; it was changed since")
                .with("path", folder.join(REJECTS_FILE).display())
                .with("line", number)
                .caused_by(cause)
                .advise("bring the file back, or begin the migration anew with --restart")
        })?;
        if letter.by == RejectedBy::Target.as_str() {
            places.insert((letter.partition, letter.at));
        }
        line.clear();
    }
    Ok(places)
}

/// The reject file of a job, being written. The file is made by the first reject.
///
/// It holds whole lines only: what a failed write has left of them is cut off before anything else is written.
#[derive(Debug)]
pub struct RejectLog {
    path: PathBuf,
    file: Option<File>,
    /// Lines that are not in the file yet.
    buffer: Vec<u8>,
    /// Of the file and the buffer together.
    length: u64,
    /// How much of the file is known to survive a loss of power.
    synced: u64,
    /// A failed write may have left something behind the last whole line.
    is_torn: bool,
}

impl RejectLog {
    /// Refuses what [`RejectLog::open`] would refuse, and changes nothing.
    pub fn check(folder: &Path, length: u64) -> Result<()> {
        Self::at(folder, length).find(File::options().read(true)).map(drop)
    }

    /// Opens the file in `folder` and cuts it to `length`, which an earlier run's checkpoint holds (0 for a fresh run).
    pub fn open(folder: &Path, length: u64) -> Result<RejectLog> {
        let mut log = Self::at(folder, length);
        log.file = log.find(File::options().read(true).append(true))?;
        if let Some(file) = &log.file {
            file.set_len(length).map_err(|cause| log.error(cause))?;
        }
        Ok(log)
    }

    fn at(folder: &Path, length: u64) -> RejectLog {
        let path = folder.join(REJECTS_FILE);
        RejectLog { path, file: None, buffer: Vec::new(), length, synced: length, is_torn: false }
    }

    /// The file, if there is one; one that is not what the checkpoint speaks of is refused.
    fn find(&self, options: &OpenOptions) -> Result<Option<File>> {
        match options.open(&self.path) {
            Ok(mut file) => {
                let found = file.metadata().map_err(|cause| self.error(cause))?.len();
                if found < self.length {
                    return Err(self.shorter(found));
                }
                if !ends_a_line(&mut file, self.length).map_err(|cause| self.error(cause))? {
                    return Err(self.reordered());
                }
                Ok(Some(file))
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound && self.length == 0 => Ok(None),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Err(self.shorter(0)),
            Err(cause) => Err(self.error(cause)),
        }
    }

    /// Appends lines that [`dead_letter`] made. After a failure nothing of them is left, and all lines before them are.
    pub fn append(&mut self, lines: &[u8]) -> Result<()> {
        let before = self.buffer.len();
        self.buffer.extend_from_slice(lines);
        self.length += lines.len() as u64;
        if self.buffer.len() < BUFFER_BYTES {
            return Ok(());
        }
        self.write_out().inspect_err(|_| {
            self.buffer.truncate(before);
            self.length -= lines.len() as u64;
        })
    }

    /// Writes out what is collected. Returns the file's length, and the file if it must be synced before the length counts; the
    /// caller then tells [`synced`](Self::synced).
    pub fn write_through(&mut self) -> Result<(u64, Option<File>)> {
        self.write_out()?;
        let file = match &self.file {
            Some(file) if self.synced < self.length => {
                Some(file.try_clone().map_err(|cause| self.error(cause))?)
            }
            _ => None,
        };
        Ok((self.length, file))
    }

    /// So much of the file has been synced.
    pub fn synced(&mut self, length: u64) {
        self.synced = self.synced.max(length);
    }

    /// Puts the lines in source order. For the time when every partition is finished and a checkpoint with the file's length is stored:
    /// the length stays, so whether a crash comes before or after, that checkpoint fits the file.
    pub fn put_in_order(&mut self, partitions: &[Partition]) -> Result<()> {
        self.write_out()?;
        if self.file.is_some()
            && order::put_in_order(&self.path, partitions).map_err(|cause| self.error(cause))?
        {
            // The one that is open has no name any more.
            let file = File::options().append(true).open(&self.path);
            self.file = Some(file.map_err(|cause| self.error(cause))?);
            self.synced = self.length;
        }
        Ok(())
    }

    fn write_out(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            let file = File::options().create(true).append(true).open(&self.path);
            self.file = Some(file.map_err(|cause| self.error(cause))?);
        }
        let whole = self.length - self.buffer.len() as u64;
        if let Some(file) = &mut self.file {
            let mut written = if self.is_torn { file.set_len(whole) } else { Ok(()) };
            if written.is_ok() {
                written = file.write_all(&self.buffer);
                self.is_torn = written.is_err() && file.set_len(whole).is_err();
            }
            written.map_err(|cause| self.error(cause))?;
        }
        self.buffer.clear();
        Ok(())
    }

    fn error(&self, cause: std::io::Error) -> Error {
        Error::io("writing the reject file", cause).with("path", self.path.display())
    }

    /// A checkpoint from before the lines were put in order, as of a database that was put back to an earlier state.
    fn reordered(&self) -> Error {
        let message = format!(
            "no line ends after the {} bytes that the checkpoint speaks of; it was changed since; --restart begins anew",
            self.length
        );
        Error::configuration("opening the reject file", message).with("path", self.path.display())
    }

    fn shorter(&self, found: u64) -> Error {
        Error::new(
            ErrorKind::Configuration,
            "opening the reject file",
            format!("it holds {found} bytes, the checkpoint says {}; it was changed since", self.length),
        )
        .with("path", self.path.display())
        .advise("bring it back, or begin anew with --restart")
    }
}

/// Whether `length` is the beginning of the file or the end of a line.
fn ends_a_line(file: &mut File, length: u64) -> std::io::Result<bool> {
    let Some(last) = length.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.seek(SeekFrom::Start(last))?;
    file.read_exact(&mut byte)?;
    Ok(byte == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::document::Span;

    #[test]
    fn a_line_holds_the_document_in_the_first_form_that_fits() {
        let span =
            Span { start: 0, length: 0, at: 42, ordinal: 0, operation: Default::default(), note: None };
        let line = |bytes: &[u8]| {
            let reject = Reject::new(RejectedBy::Read, "why", &span, bytes);
            let line = dead_letter(&reject, "a.jsonl:0", "a.jsonl, line 3");
            serde_json::from_slice::<serde_json::Value>(&line).unwrap()
        };
        assert_eq!(line(b"{\"a\":\n1}")["document"]["a"], 1);
        assert_eq!(line(b"{\"a\":")["text"], "{\"a\":");
        assert_eq!(line(b"\xff")["base64"], "/w==");
        assert_eq!(line(b"{}")["where"], "a.jsonl, line 3");
        assert_eq!(line(b"{}")["at"], 42);
    }

    #[test]
    fn what_the_target_refused_is_known_by_its_place_whatever_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let line = |by, at, bytes: &[u8]| {
            let span =
                Span { start: 0, length: 0, at, ordinal: 0, operation: Default::default(), note: None };
            dead_letter(&Reject::new(by, "why", &span, bytes), "p\"1", "here")
        };
        let deep = [&b"{\"a\":"[..], &b"[".repeat(500), &b"]".repeat(500), b"}"].concat();
        let lines = [
            line(RejectedBy::Target, 1, b"{\"x\":1e400}"),
            line(RejectedBy::Target, 2, &deep),
            line(RejectedBy::Read, 3, b"{"),
            line(RejectedBy::Target, 4, b"\xff"),
        ]
        .concat();
        let refused = |text: &[u8]| {
            std::fs::write(folder.path().join(REJECTS_FILE), text).unwrap();
            refused_by_target(folder.path())
        };
        let expected = [1, 2, 4].map(|at| ("p\"1".to_owned(), at));
        assert_eq!(refused(&lines).unwrap(), HashSet::from(expected.clone()));
        assert_eq!(refused(&[&lines, &b"{\"by\":\"tar"[..]].concat()).unwrap(), HashSet::from(expected));
        let changed = refused(&[&b"{\"by\":\"tar\n"[..], &lines].concat()).unwrap_err();
        assert!(changed.to_string().contains("line: 1"), "{changed}");
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(refused_by_target(folder.path()).unwrap().len(), 0, "there is no file");
    }

    #[test]
    fn a_file_is_handed_out_until_it_has_been_synced() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = RejectLog::open(folder.path(), 0).unwrap();
        assert!(log.write_through().unwrap().1.is_none(), "there is no file");
        log.append(b"one\n").unwrap();
        for _ in 0..2 {
            let (length, file) = log.write_through().unwrap();
            assert!(length == 4 && file.is_some(), "nobody has said that it was synced");
        }
        log.synced(4);
        assert!(log.write_through().unwrap().1.is_none());
        log.append(b"two\n").unwrap();
        assert!(log.write_through().unwrap().1.is_some());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn lines_that_cannot_be_written_are_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = RejectLog::open(folder.path(), 0).unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.path().join(REJECTS_FILE)).unwrap();
        log.append(b"small\n").unwrap();
        let full = log.append(&vec![b'x'; BUFFER_BYTES]).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        assert_eq!((log.length, log.buffer.as_slice()), (6, &b"small\n"[..]));
        assert!(log.write_through().is_err(), "and nothing can be cut off there");
        // Elsewhere there is room.
        log.file = Some(File::create(folder.path().join("roomy")).unwrap());
        assert_eq!(log.write_through().unwrap().0, 6);
        assert_eq!(std::fs::read(folder.path().join("roomy")).unwrap(), b"small\n");
    }

    #[test]
    fn what_comes_after_the_lines_were_put_in_order_comes_behind_them() {
        let folder = tempfile::tempdir().unwrap();
        let partition = Partition {
            id: crate::model::partition::PartitionId("p".into()),
            start: Default::default(),
            bytes: None,
            documents: None,
        };
        let line = |at| {
            let span =
                Span { start: 0, length: 0, at, ordinal: 0, operation: Default::default(), note: None };
            dead_letter(&Reject::new(RejectedBy::Read, "why", &span, b"{}"), "p", "here")
        };
        let mut log = RejectLog::open(folder.path(), 0).unwrap();
        log.put_in_order(std::slice::from_ref(&partition)).unwrap();
        log.append(&[line(2), line(1)].concat()).unwrap();
        log.put_in_order(&[partition]).unwrap();
        log.append(&line(0)).unwrap();
        log.write_through().unwrap();
        let expected = [line(1), line(2), line(0)].concat();
        assert_eq!(std::fs::read(folder.path().join(REJECTS_FILE)).unwrap(), expected);
    }

    #[test]
    fn reopening_cuts_to_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = RejectLog::open(folder.path(), 0).unwrap();
        log.append(b"one\n").unwrap();
        assert_eq!(log.write_through().unwrap().0, 4);
        log.append(b"two\n").unwrap();
        log.write_through().unwrap();
        let mut again = RejectLog::open(folder.path(), 4).unwrap();
        again.append(b"three\n").unwrap();
        again.write_through().unwrap();
        assert_eq!(std::fs::read(folder.path().join(REJECTS_FILE)).unwrap(), b"one\nthree\n");
        for check in [4, 10, 11] {
            assert_eq!(RejectLog::check(folder.path(), check).is_ok(), check <= 10);
        }
        assert_eq!(std::fs::read(folder.path().join(REJECTS_FILE)).unwrap(), b"one\nthree\n");
        for length in [2, 99] {
            assert_eq!(RejectLog::open(folder.path(), length).unwrap_err().kind(), ErrorKind::Configuration);
        }
    }
}
