//! The journal: what the store accepted, on disk, in the order in which it did.
//!
//! It makes the store a target that survives a kill, and it is the target's own ledger: an outside judge reads it to see
//! what arrived, when, how often and in which order, without trusting the run that wrote it. Each request is one `write`, so
//! a kill can tear only the last line; that line was never answered, and opening cuts it off. It is not synced: it outlives
//! the process, not the machine.
//!
//! ```text
//! {"sequence":7,"lane":0,"id":"a","request_units":1,"document":{"id":"a"}}
//! ```
//!
//! A removal carries `"delete":true` beside its document. A document that spans lines is written without the white space between its tokens.

use crate::error::{Error, ErrorKind, Result};
use crate::model::document::Operation;
use crate::model::json;
use crate::model::request::LaneId;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

/// One line.
pub(super) struct Entry<'a> {
    pub(super) sequence: u64,
    pub(super) lane: LaneId,
    pub(super) id: &'a str,
    pub(super) request_units: f64,
    pub(super) operation: Operation,
    pub(super) document: &'a [u8],
}

impl Entry<'_> {
    /// Appends the line.
    pub(super) fn render(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            format!("{{\"sequence\":{},\"lane\":{},\"id\":", self.sequence, self.lane).as_bytes(),
        );
        json::write_string(out, self.id);
        out.extend_from_slice(format!(",\"request_units\":{}", self.request_units).as_bytes());
        if self.operation == Operation::Delete {
            out.extend_from_slice(b",\"delete\":true");
        }
        out.extend_from_slice(b",\"document\":");
        if memchr::memchr2(b'\n', b'\r', self.document).is_some() {
            json::compact(self.document, out);
        } else {
            out.extend_from_slice(self.document);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// A journal that is open for writing.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    length: u64,
}

impl Journal {
    /// Opens or creates the journal, shows `visit` every line and cuts off a torn one.
    pub(super) fn open(path: &Path, visit: impl FnMut(Entry<'_>)) -> Result<Self> {
        let length = replay(path, visit)?;
        let opening = |cause| {
            let error = Error::io("opening the journal", cause).with("path", path.display());
            error.with_kind(ErrorKind::Configuration)
        };
        let file = OpenOptions::new().append(true).create(true).open(path).map_err(opening)?;
        file.set_len(length).map_err(opening)?;
        Ok(Self { file, length })
    }

    /// Appends the lines of one request. After a failure nothing of them is left.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<()> {
        // The page cache takes this at memory speed: too short to be worth another thread.
        if let Err(cause) = self.file.write_all(lines) {
            // Best effort: if this fails too, opening finds the torn line and cuts it off.
            drop(self.file.set_len(self.length));
            return Err(Error::io("writing the journal", cause));
        }
        self.length += lines.len() as u64;
        Ok(())
    }
}

/// Shows `visit` every whole line and returns their length. A journal that does not exist is empty.
pub(super) fn replay(path: &Path, mut visit: impl FnMut(Entry<'_>)) -> Result<u64> {
    let reading = |cause| Error::io("reading the journal", cause).with("path", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(cause) => return Err(reading(cause).with_kind(ErrorKind::Configuration)),
    };
    let mut input = BufReader::new(file);
    let (mut length, mut number, mut line) = (0, 0_u64, Vec::new());
    loop {
        line.clear();
        input.read_until(b'\n', &mut line).map_err(reading)?;
        if line.last() != Some(&b'\n') {
            return Ok(length);
        }
        number += 1;
        let Some(entry) = parse(&line) else {
            return Err(Error::configuration("reading the journal", "a line is damaged")
                .with("path", path.display())
                .with("line", number));
        };
        visit(entry.borrow());
        length += line.len() as u64;
    }
}

/// A line as it was read: the id is unescaped and so may need a buffer of its own.
struct Line<'a> {
    entry: Entry<'a>,
    id: std::borrow::Cow<'a, str>,
}

impl Line<'_> {
    fn borrow(&self) -> Entry<'_> {
        Entry { id: &self.id, ..self.entry }
    }
}

fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut index = json::Index::default();
    json::index(line, &mut index).ok()?;
    let number = |name| json::field(line, name).and_then(|raw| std::str::from_utf8(raw).ok());
    let is_delete = json::field(line, "delete") == Some(b"true");
    let entry = Entry {
        sequence: number("sequence")?.parse().ok()?,
        lane: number("lane")?.parse().ok()?,
        id: "",
        request_units: number("request_units")?.parse().ok()?,
        operation: if is_delete { Operation::Delete } else { Operation::Upsert },
        document: json::field(line, "document")?,
    };
    Some(Line { entry, id: json::scalar_text(json::field(line, "id")?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sequence: u64, document: &[u8]) -> Entry<'_> {
        Entry { sequence, lane: 3, id: "a\"\n", request_units: 1.5, operation: Operation::Upsert, document }
    }

    #[test]
    fn what_is_written_is_replayed_and_a_torn_line_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut lines = Vec::new();
        entry(0, b"{\"id\":\"a\"}").render(&mut lines);
        entry(1, b"{\n \"b\" : 1}").render(&mut lines);
        let whole = lines.len() as u64;
        lines.extend_from_slice(b"{\"sequence\":2,\"la");
        std::fs::write(&path, &lines).unwrap();

        let mut seen = Vec::new();
        let mut journal = Journal::open(&path, |entry| {
            assert_eq!((entry.lane, entry.id, entry.request_units), (3, "a\"\n", 1.5));
            seen.push((entry.sequence, entry.document.to_vec()));
        })
        .unwrap();
        assert_eq!(seen, [(0, b"{\"id\":\"a\"}".to_vec()), (1, b"{\"b\":1}".to_vec())]);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);

        let mut more = Vec::new();
        entry(2, b"{}").render(&mut more);
        journal.append(&more).unwrap();
        let mut count = 0;
        assert_eq!(replay(&path, |_| count += 1).unwrap(), whole + more.len() as u64);
        assert_eq!(count, 3);
    }

    #[test]
    fn damage_inside_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        std::fs::write(&path, "{}\nrubbish\n").unwrap();
        let error = replay(&path, |_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("line: 1"), "{error}");
    }
}
