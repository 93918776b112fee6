//! From an input to a stream of uncompressed bytes that stands where reading shall begin.
//!
//! A plain file is sought. Everything else can only be read from its beginning, so what lies before the place is decompressed and
//! passed over. Format and compression that neither a setting nor the name tells are taken from the first bytes, which are
//! then put back in front of the stream.

use crate::connector::file::elements::Elements;
use crate::connector::file::feed::{Feed, read_some};
use crate::connector::file::format::{Compression, Format, is_white};
use crate::connector::file::lines::Lines;
use crate::connector::file::plan::{Place, Slice};
use crate::connector::file::split::Split;
use crate::connector::file::unpack::Unpacked;
use crate::error::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};

/// Bytes looked at to find out what a file is. Only white space before the first document can make it need more than a few.
const HEAD: usize = 64 * 1024;

/// Stored bytes that a decoder takes at once.
const STORED: usize = 64 * 1024;

/// Bytes, from anywhere.
type Stream = Box<dyn Read + Send>;

/// An input that is open.
pub(super) struct Opened {
    /// Its bytes, from the first record to read.
    pub(super) feed: Feed,
    /// How its records are found.
    pub(super) split: Split,
    /// The compression that it turned out to have.
    pub(super) compression: Compression,
}

/// Opens a slice for reading from the record at `at`, or from the first one behind it if no record begins there.
pub(super) fn open(slice: &Slice, at: u64) -> Result<Opened> {
    let input = &*slice.input;
    // A line begins behind a line end: from the byte before `at`, the first line end leads to a line's begin. This holds at
    // the begin of a byte range, which may lie in the middle of a line, as well as at a position that was noted.
    let before = at.saturating_sub(1);
    let failed = |compression, cause| failure(&input.shown, compression, 0, cause);
    if let (Place::File(path), Some(format)) = (&input.place, input.plain_format()) {
        let sought = File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::Start(if format == Format::Lines { before } else { at }))?;
            Ok(file)
        });
        let file = sought.map_err(|cause| failed(Compression::None, cause))?;
        return records(slice, Box::new(file), Compression::None, format, at);
    }
    let stored = raw(&input.place).map_err(|cause| failed(Compression::None, cause))?;
    let (compression, mut stream) =
        decoded(input.compression, stored).map_err(|cause| failed(Compression::None, cause))?;
    let head = read_head(&mut stream).map_err(|cause| failed(compression, cause))?;
    let format = *input.format.get_or_init(|| Format::of_bytes(&head));
    let mut stream: Stream = Box::new(Cursor::new(head).chain(stream));
    let passed = (&mut stream).take(if format == Format::Lines { before } else { at });
    io::copy(&mut { passed }, &mut io::sink()).map_err(|cause| failed(compression, cause))?;
    records(slice, stream, compression, format, at)
}

/// The records of a stream that stands at `at`, or for lines one byte before it.
fn records(
    slice: &Slice,
    stream: Stream,
    compression: Compression,
    format: Format,
    at: u64,
) -> Result<Opened> {
    let is_plain_file = compression == Compression::None && slice.input.length.is_some();
    let feed = |at| if is_plain_file { Feed::new(stream, at).prompt() } else { Feed::new(stream, at) };
    if format == Format::Array {
        return Ok(Opened { feed: feed(at), split: Split::Elements(Elements::new(at == 0)), compression });
    }
    let mut feed = feed(at.saturating_sub(1));
    if at > 0 {
        let until = slice.end.unwrap_or(u64::MAX);
        feed.pass_line_end(until).map_err(|cause| failure(&slice.input.shown, compression, at, cause))?;
    }
    Ok(Opened { feed, split: Split::Lines(Lines::new(at == 0)), compression })
}

/// An input's bytes as they are stored.
fn raw(place: &Place) -> io::Result<Stream> {
    Ok(match place {
        Place::File(path) => Box::new(File::open(path)?),
        Place::Bundled(bytes) => Box::new(*bytes),
        Place::StandardInput => Box::new(io::stdin()),
    })
}

/// The stream without its compression, and which one it had.
fn decoded(told: Option<Compression>, mut stored: Stream) -> io::Result<(Compression, Stream)> {
    // The magic numbers have up to four bytes.
    let mut magic = Vec::with_capacity(4);
    stored.by_ref().take(4).read_to_end(&mut magic)?;
    let found = told.unwrap_or_else(|| Compression::of_bytes(&magic));
    // An empty file holds nothing, though strictly it lacks the header of its format.
    let compression = if magic.is_empty() { Compression::None } else { found };
    let stored = Cursor::new(magic).chain(stored);
    if compression == Compression::None {
        return Ok((compression, Box::new(stored)));
    }
    let stored = BufReader::with_capacity(STORED, stored);
    Ok((compression, Box::new(Unpacked::new(stored, compression)?)))
}

/// The first bytes of a stream, enough to tell its format.
pub(super) fn read_head(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD];
    let mut filled = 0;
    // A pipe gives little at a time: more is waited for only while nothing but white space and a byte order mark has come.
    while filled < HEAD && head[..filled].iter().all(|byte| is_white(*byte) || !byte.is_ascii()) {
        let read = read_some(stream, &mut head[filled..])?;
        if read == 0 {
            break;
        }
        filled += read;
    }
    head.truncate(filled);
    Ok(head)
}

/// What a failed read means, `byte` being its place in the uncompressed stream. A decoder's complaint, which no system call
/// made, is damage of the input.
pub(super) fn failure(file: &str, compression: Compression, byte: u64, cause: io::Error) -> Error {
    const READING: &str = "reading the source";
    let error = if compression != Compression::None && cause.raw_os_error().is_none() {
        let message = format!("the {} data is damaged or truncated", compression.as_str());
        // The checksum comes last: until then a decoder takes wrong bits for right ones.
        Error::new(ErrorKind::InvalidInput, READING, message).caused_by(cause).advise(
            "documents shortly before it may be altered, as packed data proves itself only at its end; mend or replace the input",
        )
    } else {
        Error::io(READING, cause)
    };
    error.with("file", file).with("byte", byte)
}
