//! The bare slicing loop: how fast can one thread do the five steps, if it does nothing else?
//!
//! Theory: a document need not be parsed to be edited. One pass checks that a line is one JSON object and notes where its
//! top-level names and values lie; every edit is then a choice of which stretches of the line to copy and what to put between
//! them. The block is the unit of input, of UTF-8 validation and of output, so that each costs one call a mebibyte. What
//! remains per document is one look at each byte, one copy of most of them, and nothing allocated.
//!
//! It is a reference, not a tool. It shares no line with the crate that it is held against, and leaves out what that crate owes
//! its users: no other job than this one, no threads, no checkpoint, no dead letters (malformed lines are counted and left
//! out), names are matched as they are written, and a document nested deeper than [`DEEPEST`] is refused. What it does, it
//! does in full: every byte that it writes has been validated.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Bytes read at once. Fits the second-level cache with its output beside it, and makes the system calls too few to see.
const BLOCK: usize = 1 << 20;

/// Bytes behind the text that may be looked at: what the scanner loads at once.
const SLACK: usize = 16;

/// Levels of containers: one bit each in the scanner's stack, which is one machine word.
const DEEPEST: u32 = 64;

/// What became of the documents.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) read: u64,
    pub(crate) dropped: u64,
    pub(crate) rejected: u64,
    pub(crate) written: u64,
}

/// Does the five steps on every line of `input` and writes the lines that are kept to `output`.
pub(crate) fn run(input: &Path, output: &Path) -> io::Result<Counts> {
    let mut source = File::open(input)?;
    let mut target = File::create(output)?;
    let mut block = vec![0; BLOCK + SLACK];
    let mut filled = 0;
    let mut job = Job::default();
    loop {
        // A line longer than the block: the only reason to grow.
        if filled + SLACK == block.len() {
            block.resize(filled * 2 + SLACK, 0);
        }
        let room = block.len() - SLACK;
        let got = source.read(&mut block[filled..room])?;
        filled += got;
        // What stands behind the last line must end it, as a line end does.
        block[filled] = b'\n';
        let whole = match memchr::memrchr(b'\n', &block[..filled]) {
            // The last line of a file may have no end of its own.
            _ if got == 0 => filled,
            Some(at) => at + 1,
            None => continue,
        };
        job.block(&block, whole);
        target.write_all(&job.out)?;
        job.out.clear();
        if got == 0 {
            return Ok(job.counts);
        }
        block.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

/// One top-level field: byte offsets into its line.
#[derive(Clone, Copy)]
struct Field {
    /// The name's opening quote.
    start: usize,
    /// The name's closing quote.
    name_end: usize,
    value: usize,
    end: usize,
}

/// The job's state: what is used again from line to line.
#[derive(Default)]
struct Job {
    fields: Vec<Field>,
    out: Vec<u8>,
    counts: Counts,
}

impl Job {
    /// The whole lines at the beginning of `block`. No character of UTF-8 holds a byte that looks like a line end, so a valid block has only valid lines.
    fn block(&mut self, block: &[u8], whole: usize) {
        let is_valid = simdutf8::basic::from_utf8(&block[..whole]).is_ok();
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', &block[..whole]) {
            self.line(&block[from..], end - from, is_valid);
            from = end + 1;
        }
        self.line(&block[from..], whole - from, is_valid);
    }

    /// `text` begins with a line of `length` bytes and goes on behind it.
    fn line(&mut self, text: &[u8], length: usize, is_valid: bool) {
        if length == 0 {
            return;
        }
        self.counts.read += 1;
        let before = self.out.len();
        let is_valid = is_valid || simdutf8::basic::from_utf8(&text[..length]).is_ok();
        let fate = if is_valid && index(text, &mut self.fields) == Some(length) {
            five_steps(text, &self.fields, &mut self.out)
        } else {
            None
        };
        match fate {
            Some(true) => self.counts.written += 1,
            Some(false) => self.counts.dropped += 1,
            None => {
                self.counts.rejected += 1;
                self.out.truncate(before);
            }
        }
    }
}

/// Two renames, a removal, a cast, a field joined from two others, and a filter on one of them. `None` if a step cannot be
/// done, `Some(false)` if the filter says no.
#[inline]
fn five_steps(line: &[u8], fields: &[Field], out: &mut Vec<u8>) -> Option<bool> {
    // Everything up to here has been copied or deliberately left out.
    let mut done = fields.first()?.start;
    let (mut city, mut status) = (None, None);
    let before = out.len();
    out.push(b'{');
    for (at, field) in fields.iter().enumerate() {
        match &line[field.start + 1..field.name_end] {
            b"name" => rename(line, field, b"\"customerName", &mut done, out),
            b"createdAt" => rename(line, field, b"\"created", &mut done, out),
            b"quantity" => {
                out.extend_from_slice(&line[done..field.value]);
                out.extend_from_slice(integer(&line[field.value..field.end])?);
                done = field.end;
            }
            b"city" => city = Some(&line[field.value..field.end]),
            b"status" => status = Some(&line[field.value..field.end]),
            b"_etag" => {
                // A comma goes with it: the one before, or of the first field the one after.
                let kept = if at == 0 { done } else { fields[at - 1].end };
                out.extend_from_slice(&line[done..kept]);
                done = if at == 0 { fields.get(1)?.start } else { field.end };
            }
            _ => {}
        }
    }
    let (city, status) = (within_quotes(city?)?, within_quotes(status?)?);
    if status == b"cancelled" {
        out.truncate(before);
        return Some(false);
    }
    out.extend_from_slice(&line[done..fields.last()?.end]);
    for piece in [&b",\"label\":\""[..], city, b"-", status, b"\"}\n"] {
        out.extend_from_slice(piece);
    }
    Some(true)
}

#[inline(always)]
fn rename(line: &[u8], field: &Field, name: &[u8], done: &mut usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&line[*done..field.start]);
    out.extend_from_slice(name);
    *done = field.name_end;
}

/// A whole number's text within quotes, or a whole number. The text of either is the number's own, so it is copied; eighteen
/// digits always fit 64 bits, and a leading zero would not be JSON.
#[inline]
fn integer(value: &[u8]) -> Option<&[u8]> {
    let text = within_quotes(value).unwrap_or(value);
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    (is_plain && (digits[0] != b'0' || text.len() == 1)).then_some(text)
}

#[inline(always)]
fn within_quotes(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// Checks that one JSON object stands at the beginning of `line`, notes its top-level fields and returns its end, with the
/// white space behind it. A line end is neither white space here nor allowed in a string, so the scan never leaves
/// its line, though it may look behind it.
#[inline]
fn index(line: &[u8], fields: &mut Vec<Field>) -> Option<usize> {
    fields.clear();
    let mut at = blank(line, 0);
    if line.get(at) != Some(&b'{') {
        return None;
    }
    at = blank(line, at + 1);
    if line.get(at) == Some(&b'}') {
        return Some(blank(line, at + 1));
    }
    loop {
        let start = at;
        let name_end = string(line, at)?;
        let value = colon(line, name_end)?;
        let end = match line.get(value)? {
            b'{' | b'[' => container(line, value)?,
            _ => scalar(line, value)?,
        };
        fields.push(Field { start, name_end: name_end - 1, value, end });
        at = blank(line, end);
        match line.get(at)? {
            b',' => at = blank(line, at + 1),
            b'}' => return Some(blank(line, at + 1)),
            _ => return None,
        }
    }
}

/// Passes an object or array below the top level; returns the place after it.
#[inline]
fn container(line: &[u8], mut at: usize) -> Option<usize> {
    // One bit a level, the innermost lowest: set for an object.
    let mut kinds = 0u64;
    let mut depth = 0;
    loop {
        match line.get(at)? {
            &open @ (b'{' | b'[') => {
                depth += 1;
                if depth == DEEPEST {
                    return None;
                }
                let is_object = open == b'{';
                kinds = kinds << 1 | u64::from(is_object);
                at = blank(line, at + 1);
                // In ASCII each closing bracket is two places after its opening one.
                if line.get(at)? != &(open + 2) {
                    if is_object {
                        at = colon(line, string(line, at)?)?;
                    }
                    continue;
                }
            }
            _ => at = blank(line, scalar(line, at)?),
        }
        // A value has ended: close what ends with it, up to the next comma.
        loop {
            match (line.get(at)?, kinds & 1 == 1) {
                (b',', true) => {
                    at = blank(line, at + 1);
                    at = colon(line, string(line, at)?)?;
                    break;
                }
                (b',', false) => {
                    at = blank(line, at + 1);
                    break;
                }
                (b'}', true) | (b']', false) => {
                    kinds >>= 1;
                    depth -= 1;
                    if depth == 0 {
                        return Some(at + 1);
                    }
                    at = blank(line, at + 1);
                }
                _ => return None,
            }
        }
    }
}

#[inline(always)]
fn blank(line: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\r') = line.get(at) {
        at += 1;
    }
    at
}

/// From after a name to its value.
#[inline(always)]
fn colon(line: &[u8], at: usize) -> Option<usize> {
    let at = blank(line, at);
    (line.get(at)? == &b':').then(|| blank(line, at + 1))
}

#[inline(always)]
fn scalar(line: &[u8], at: usize) -> Option<usize> {
    match line.get(at)? {
        b'"' => string(line, at),
        b'-' | b'0'..=b'9' => number(line, at),
        b't' => line[at..].starts_with(b"true").then_some(at + 4),
        b'n' => line[at..].starts_with(b"null").then_some(at + 4),
        b'f' => line[at..].starts_with(b"false").then_some(at + 5),
        _ => None,
    }
}

#[inline(always)]
fn number(line: &[u8], at: usize) -> Option<usize> {
    let whole = at + usize::from(line[at] == b'-');
    let mut at = digits(line, whole)?;
    if line[whole] == b'0' && at > whole + 1 {
        return None;
    }
    if line.get(at) == Some(&b'.') {
        at = digits(line, at + 1)?;
    }
    if let Some(b'e' | b'E') = line.get(at) {
        at = digits(line, at + 1 + usize::from(matches!(line.get(at + 1), Some(b'+' | b'-'))))?;
    }
    Some(at)
}

/// Eight bytes, the first in the text in the lowest place.
#[inline(always)]
fn eight(text: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*text.get(at..)?.first_chunk()?))
}

/// A byte in every place of a word.
const fn every(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Passes one digit or more.
#[inline(always)]
fn digits(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while text.get(at)?.is_ascii_digit() {
        at += 1;
    }
    (at > from).then_some(at)
}

/// Passes a string from its opening quote to after its closing one.
#[inline(always)]
fn string(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at)? != &b'"' {
        return None;
    }
    let mut at = at + 1;
    loop {
        let hits = stops(eight(text, at)?) & every(0x80);
        if hits == 0 {
            at += 8;
            continue;
        }
        at += hits.trailing_zeros() as usize / 8;
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = escape(text, at + 1)?,
            _ => return None,
        }
    }
}

/// Sets the top bit of each place that holds a quote, a backslash or a control character.
///
/// Subtracting a byte value from each place sets the place's top bit where it was smaller; after an exclusive-or with
/// the byte that is searched, "smaller than one" means "is it". Places above the first hit may be set falsely, by the borrow, and are
/// not looked at.
#[inline(always)]
fn stops(word: u64) -> u64 {
    let quote = word ^ every(b'"');
    let backslash = word ^ every(b'\\');
    (quote.wrapping_sub(every(1)) & !quote)
        | (backslash.wrapping_sub(every(1)) & !backslash)
        | (word.wrapping_sub(every(b' ')) & !word)
}

/// Passes what follows a backslash.
#[inline(always)]
fn escape(line: &[u8], at: usize) -> Option<usize> {
    match line.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => line.get(at + 1..at + 5)?.iter().all(u8::is_ascii_hexdigit).then_some(at + 5),
        _ => None,
    }
}
