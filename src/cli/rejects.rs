//! `docferry rejects list JOB`: how many documents were refused for which reason, and where the first of them stand.

use super::{GlobalFlags, jobs};
use crate::error::Error;
use crate::model::units::{Bytes, Count, Counted};
use crate::rejects::REJECTS_FILE;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};

const OPERATION: &str = "reading the rejects";

/// Prints counts and the first rejects, or with `--json` the lines of the file as they are.
pub(super) fn run(job: &str, limit: usize, global: &GlobalFlags, out: &mut dyn Write) -> anyhow::Result<u8> {
    let path = jobs::folder_of(&global.state, job)?.join(REJECTS_FILE);
    let mut file = match File::open(&path) {
        Ok(file) => BufReader::new(file),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            if !global.json {
                writeln!(out, "job {job} has no rejects")?;
            }
            return Ok(0);
        }
        Err(cause) => return Err(Error::io(OPERATION, cause).with("path", path.display()).into()),
    };
    if global.json {
        io::copy(&mut file, out)?;
        return Ok(0);
    }
    let found = Found::read(&mut file, limit)
        .map_err(|cause| Error::io(OPERATION, cause).with("path", path.display()))?;
    found.print(job, &path.display().to_string(), out)?;
    Ok(0)
}

/// What is printed of a dead letter. The document itself stays in the file.
#[derive(Debug, Deserialize)]
struct Letter {
    by: String,
    reason: String,
    #[serde(rename = "where")]
    place: String,
    #[serde(default)]
    offset: Option<u64>,
    length: u64,
}

#[derive(Debug, Default)]
struct Found {
    counts: BTreeMap<(String, String), u64>,
    first: Vec<Letter>,
    unreadable: u64,
}

impl Found {
    fn read(file: &mut impl BufRead, limit: usize) -> io::Result<Found> {
        let mut found = Found::default();
        let mut line = Vec::new();
        while file.read_until(b'\n', &mut line)? > 0 {
            match serde_json::from_slice::<Letter>(&line) {
                Ok(letter) => found.add(letter, limit),
                // The last line of a run that is going on may be half written.
                Err(_) => found.unreadable += 1,
            }
            line.clear();
        }
        Ok(found)
    }

    fn add(&mut self, letter: Letter, limit: usize) {
        *self.counts.entry((letter.by.clone(), letter.reason.clone())).or_default() += 1;
        if self.first.len() < limit {
            self.first.push(letter);
        }
    }

    fn print(&self, job: &str, path: &str, out: &mut dyn Write) -> io::Result<()> {
        let total: u64 = self.counts.values().sum();
        writeln!(out, "job {job}: {} in {path}", Counted(total, "reject"))?;
        let mut counts: Vec<_> = self.counts.iter().collect();
        counts.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), *reason));
        for ((by, reason), count) in counts {
            writeln!(out, "  {:>9}  {by}: {reason}", Count(*count))?;
        }
        if self.unreadable > 0 {
            let lines = if self.unreadable == 1 { "line" } else { "lines" };
            writeln!(out, "  {:>9}  {lines} that cannot be read", Count(self.unreadable))?;
        }
        for letter in &self.first {
            let offset = letter.offset.map(|offset| format!(", at its byte {offset}")).unwrap_or_default();
            writeln!(
                out,
                "{}: {}: {}{offset} ({})",
                letter.place,
                letter.by,
                letter.reason,
                Bytes(letter.length)
            )?;
        }
        match total.saturating_sub(self.first.len() as u64) {
            0 => Ok(()),
            more => writeln!(out, "and {} more; --limit N prints more, --json all of them", Count(more)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_are_counted_by_reason_and_the_first_are_placed() {
        let mut text = String::new();
        for line in 1..=3 {
            text += &format!(
                r#"{{"by":"transform","reason":"total is not a number","where":"a.jsonl, line {line}","partition":"a","at":{line},"length":520,"document":{{"id":1}}}}"#
            );
            text.push('\n');
        }
        text += r#"{"by":"read","reason":"unexpected end","where":"a.jsonl, line 9","partition":"a","at":9,"offset":17,"length":20,"text":"{"}"#;
        text += "\n{\"by\":\"re";
        let found = Found::read(&mut text.as_bytes(), 2).unwrap();
        let mut out = Vec::new();
        found.print("orders", "rejects.jsonl", &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
    job orders: 4 rejects in rejects.jsonl
              3  transform: total is not a number
              1  read: unexpected end
              1  line that cannot be read
    a.jsonl, line 1: transform: total is not a number (520 B)
    a.jsonl, line 2: transform: total is not a number (520 B)
    and 2 more; --limit N prints more, --json all of them
    "#);
    }
}
