//! Finding records in bytes: what the two formats have in common.
//!
//! A splitter knows nothing of files, limits or batches. It is shown a buffer, again and again with more bytes at its end, and
//! says where the next record lies. What it has looked at once it never looks at again, so reading is linear whatever
//! the sizes of chunks and documents are.

use crate::connector::file::elements::Elements;
use crate::connector::file::lines::Lines;
use std::ops::Range;

/// What some editors write before the first character of a file in UTF-8. It is not part of the JSON text.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a splitter finds, as indexes of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A record is complete.
    Record {
        /// Where the record begins: its place in the source.
        start: usize,
        /// Its document, without white space around it; empty for a blank line.
        document: Range<usize>,
        /// Where to look for the next one.
        next: usize,
    },
    /// The record that begins at `start` goes on behind the buffer; nothing before it is needed any more.
    More {
        /// Where the pending record begins, or the buffer's end if none has begun.
        start: usize,
    },
    /// There is no further record.
    End,
    /// The text is damaged at `at`: no further record can be found.
    Broken {
        /// Where.
        at: usize,
        /// Why.
        reason: &'static str,
    },
}

/// Finds one record after the other.
#[derive(Debug)]
pub(super) enum Split {
    /// Lines.
    Lines(Lines),
    /// Elements of an array.
    Elements(Elements),
}

impl Split {
    /// Looks for the record at `from`, which is what the last call answered as `next` or `start`. `ended`: no more bytes will come.
    #[inline(always)]
    pub(super) fn find(&mut self, bytes: &[u8], from: usize, ended: bool) -> Found {
        match self {
            Split::Lines(lines) => lines.find(bytes, from, ended),
            Split::Elements(elements) => elements.find(bytes, from, ended),
        }
    }

    /// The pending record's bytes, all that were shown, have been taken out of the buffer.
    pub(super) fn forget_pending(&mut self) {
        match self {
            Split::Lines(lines) => lines.forget_pending(),
            Split::Elements(elements) => elements.forget_pending(),
        }
    }
}
