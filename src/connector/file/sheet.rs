//! Laying documents out as bytes of a file.
//!
//! Documents are gathered in one buffer, with what stands between them, and written when there is enough of them for one large
//! system call; their own bytes are copied once. Compressed, only whole frames are written, and what does not fill one stays in
//! the buffer.

use crate::connector::file::format::{Compression, Format};
use crate::connector::file::frames::{FRAME, FRAMES_AT_ONCE, compress};
use crate::model::document::Documents;
use crate::model::json;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;

/// Plain bytes written by one system call: beyond this a call costs nothing in comparison, and the bytes are still in the
/// cache when the kernel copies them.
const PIECE: usize = 1024 * 1024;

/// How documents are laid out in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// What stands between documents.
    pub(super) format: Format,
    /// How the result is packed.
    pub(super) compression: Compression,
    /// How hard that tries.
    pub(super) level: u32,
}

/// Where bytes go.
#[derive(Debug)]
pub(super) enum Output {
    /// To a file, at its cursor.
    File(File),
    /// To standard output.
    Stdout(io::Stdout),
}

impl Output {
    /// The same output once more.
    pub(super) fn try_clone(&self) -> io::Result<Output> {
        Ok(match self {
            Output::File(file) => Output::File(file.try_clone()?),
            Output::Stdout(_) => Output::Stdout(io::stdout()),
        })
    }

    /// Makes durable what was written, as far as that is possible.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        match self {
            Output::File(file) => file.sync_data(),
            Output::Stdout(stdout) => stdout.flush(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Output::File(file) => file.write_all(bytes),
            Output::Stdout(stdout) => stdout.write_all(bytes),
        }
    }
}

/// Writing in progress: bytes that were written, and bytes that were not.
#[derive(Debug)]
pub(super) struct Sheet<'a> {
    layout: Layout,
    output: &'a mut Output,
    pending: &'a mut Vec<u8>,
    written: u64,
}

impl<'a> Sheet<'a> {
    /// Goes on behind `written` bytes of the output, with `pending` uncompressed ones before what will be put.
    pub(super) fn new(
        layout: Layout,
        output: &'a mut Output,
        pending: &'a mut Vec<u8>,
        written: u64,
    ) -> Self {
        Self { layout, output, pending, written }
    }

    /// Bytes of the output.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Goes on at `written`, wherever the output's cursor was.
    pub(super) fn turn_to(&mut self, written: u64) -> io::Result<()> {
        self.written = written;
        if let Output::File(file) = self.output {
            file.seek(SeekFrom::Start(written))?;
        }
        Ok(())
    }

    /// Cuts off what stands behind the bytes written.
    pub(super) fn cut(&mut self) -> io::Result<()> {
        match self.output {
            Output::File(file) => file.set_len(self.written),
            Output::Stdout(_) => Ok(()),
        }
    }

    /// Adds adjacent documents. Where they stand in memory as they will in the file, they are written from there.
    pub(super) fn put_all(&mut self, documents: &Documents, range: Range<u32>) -> io::Result<()> {
        let range = range.start as usize..range.end as usize;
        if let Some(lines) = self.as_lines(documents, range.clone()) {
            self.store(false)?;
            self.output.write(lines)?;
            self.written += lines.len() as u64;
            return Ok(());
        }
        range.into_iter().try_for_each(|index| self.put(documents.bytes(index)))
    }

    /// The stretch of the buffer that is these documents as plain lines, if there is one.
    fn as_lines<'d>(&self, documents: &'d Documents, range: Range<usize>) -> Option<&'d [u8]> {
        if self.layout.format != Format::Lines || self.layout.compression != Compression::None {
            return None;
        }
        let spans = &documents.spans[range];
        let (from, mut end) = (spans.first()?.range().start, spans.first()?.range().start);
        for span in spans {
            let range = span.range();
            if range.start != end || documents.buffer.get(range.end) != Some(&b'\n') {
                return None;
            }
            end = range.end + 1;
        }
        let lines = &documents.buffer[from..end];
        // No line break but the one behind each document.
        let breaks = memchr::memchr2_iter(b'\n', b'\r', lines).count();
        (breaks == spans.len()).then_some(lines)
    }

    /// Adds a document.
    #[inline]
    pub(super) fn put(&mut self, document: &[u8]) -> io::Result<()> {
        match self.layout.format {
            Format::Array => {
                let before: &[u8] = if self.is_empty() { b"[\n" } else { b",\n" };
                self.pending.extend_from_slice(before);
                self.pending.extend_from_slice(document);
            }
            Format::Lines => {
                // Between tokens a document may hold line breaks, but a line may not.
                if memchr::memchr2(b'\n', b'\r', document).is_some() {
                    json::compact(document, self.pending);
                } else {
                    self.pending.extend_from_slice(document);
                }
                self.pending.push(b'\n');
            }
        }
        let enough =
            if self.layout.compression == Compression::None { PIECE } else { FRAMES_AT_ONCE * FRAME };
        if self.pending.len() >= enough { self.store(false) } else { Ok(()) }
    }

    /// Adds what stands after the last document.
    pub(super) fn end(&mut self) {
        if self.layout.format == Format::Array {
            let end: &[u8] = if self.is_empty() { b"[\n]\n" } else { b"\n]\n" };
            self.pending.extend_from_slice(end);
        }
    }

    /// Writes what is pending: whole frames, or `all` of it.
    pub(super) fn store(&mut self, all: bool) -> io::Result<()> {
        let Layout { compression, level, .. } = self.layout;
        let ready = match compression {
            Compression::None => self.pending.len(),
            _ if all => self.pending.len(),
            _ => self.pending.len() / FRAME * FRAME,
        };
        if compression == Compression::None {
            self.output.write(self.pending)?;
            self.written += ready as u64;
        } else if ready > 0 || all && self.is_empty() {
            // Without a document too the file is one that a decoder accepts.
            for frame in compress(&self.pending[..ready], compression, level)? {
                self.output.write(&frame)?;
                self.written += frame.len() as u64;
            }
        }
        self.pending.drain(..ready);
        Ok(())
    }

    /// Whether nothing has ever been put.
    fn is_empty(&self) -> bool {
        self.written == 0 && self.pending.is_empty()
    }
}
