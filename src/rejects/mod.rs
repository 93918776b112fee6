//! Dead letters: the documents that were refused, with the reason, in `rejects.jsonl` of the job's folder.
//!
//! Each line is one JSON object: who refused it (`by`), why (`reason`), where it stands (`where` for people, `partition` and `at` for
//! programs), and the document: as `document` where it is valid JSON, as `text` where it is UTF-8, else as `base64`.
//! A line holds no time and no run, so that a resumed job leaves the same file as an uninterrupted one. A document's line is
//! written only when its whole batch is finished, and the checkpoint holds the file's length: a replay truncates, never doubles.

use crate::error::{Error, ErrorKind, Result};
use crate::model::json::{self, Index, write_string};
use crate::model::reject::{Reject, RejectedBy};
use base64::Engine;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
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

/// The places (partition, position) of documents that the target refused, from the reject file in `folder`.
pub fn refused_by_target(folder: &Path) -> Result<HashSet<(String, u64)>> {
    let fail = |cause| Error::io("reading the reject file", cause).with("path", folder.display());
    let file = match File::open(folder.join(REJECTS_FILE)) {
        Ok(file) => file,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(cause) => return Err(fail(cause)),
    };
    let mut places = HashSet::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(fail)?;
        let Ok(letter) = serde_json::from_slice::<serde_json::Value>(&line) else { continue };
        if letter["by"] == RejectedBy::Target.as_str()
            && let (Some(partition), Some(at)) = (letter["partition"].as_str(), letter["at"].as_u64())
        {
            places.insert((partition.to_owned(), at));
        }
    }
    Ok(places)
}

/// The reject file of a job, being written. The file is made by the first reject.
#[derive(Debug)]
pub struct RejectLog {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
    length: u64,
    /// Something was written that no caller was told to sync yet.
    unsynced: bool,
}

impl RejectLog {
    /// Refuses what [`RejectLog::open`] would refuse, and changes nothing.
    pub fn check(folder: &Path, length: u64) -> Result<()> {
        let path = folder.join(REJECTS_FILE);
        let log = RejectLog { path, file: None, buffer: Vec::new(), length, unsynced: false };
        match std::fs::metadata(&log.path) {
            Ok(found) if found.len() < length => Err(log.shorter(found.len())),
            Ok(_) => Ok(()),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound && length == 0 => Ok(()),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Err(log.shorter(0)),
            Err(cause) => Err(log.error(cause)),
        }
    }

    /// Opens the file in `folder` and cuts it to `length`, which an earlier run's checkpoint holds (0 for a fresh run).
    pub fn open(folder: &Path, length: u64) -> Result<RejectLog> {
        let path = folder.join(REJECTS_FILE);
        let mut log = RejectLog { path, file: None, buffer: Vec::new(), length, unsynced: false };
        match File::options().read(true).write(true).open(&log.path) {
            Ok(mut file) => {
                let found = file.metadata().map_err(|cause| log.error(cause))?.len();
                if found < length {
                    return Err(log.shorter(found));
                }
                file.set_len(length).map_err(|cause| log.error(cause))?;
                file.seek(SeekFrom::End(0)).map_err(|cause| log.error(cause))?;
                log.file = Some(file);
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound && length == 0 => {}
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Err(log.shorter(0)),
            Err(cause) => return Err(log.error(cause)),
        }
        Ok(log)
    }

    /// Appends lines that [`dead_letter`] made.
    pub fn append(&mut self, lines: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(lines);
        self.length += lines.len() as u64;
        if self.buffer.len() >= BUFFER_BYTES { self.write_out() } else { Ok(()) }
    }

    /// Writes out what is collected. Returns the file's length, and the file if it must be synced before the length counts.
    pub fn write_through(&mut self) -> Result<(u64, Option<File>)> {
        self.write_out()?;
        let unsynced = std::mem::take(&mut self.unsynced);
        let file = match &self.file {
            Some(file) if unsynced => Some(file.try_clone().map_err(|cause| self.error(cause))?),
            _ => None,
        };
        Ok((self.length, file))
    }

    fn write_out(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            let file = File::options().create(true).append(true).open(&self.path);
            self.file = Some(file.map_err(|cause| self.error(cause))?);
        }
        if let Some(file) = &mut self.file {
            let written = file.write_all(&self.buffer);
            written.map_err(|cause| {
                Error::io("writing the reject file", cause).with("path", self.path.display())
            })?;
        }
        self.buffer.clear();
        self.unsynced = true;
        Ok(())
    }

    fn error(&self, cause: std::io::Error) -> Error {
        Error::io("writing the reject file", cause).with("path", self.path.display())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::document::Span;

    #[test]
    fn a_line_holds_the_document_in_the_first_form_that_fits() {
        let span = Span { start: 0, length: 0, at: 42, ordinal: 0, operation: Default::default() };
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
        assert_eq!(RejectLog::open(folder.path(), 99).unwrap_err().kind(), ErrorKind::Configuration);
    }
}
