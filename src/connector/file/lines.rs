//! JSON Lines: a document ends where its line ends, or where the file does.

use crate::connector::file::format::is_white;
use crate::connector::file::split::{BYTE_ORDER_MARK, Found};
use std::ops::Range;

/// Cuts at line ends.
#[derive(Debug)]
pub(super) struct Lines {
    /// Bytes of the pending line that hold no line end.
    searched: usize,
    /// The next line is the first of its file, where a byte order mark may stand.
    first: bool,
}

impl Lines {
    /// For bytes that begin at a line, the `first` of its file or another.
    pub(super) fn new(first: bool) -> Self {
        Self { searched: 0, first }
    }

    /// See [`Split::find`](crate::connector::file::split::Split::find).
    #[inline]
    pub(super) fn find(&mut self, bytes: &[u8], from: usize, ended: bool) -> Found {
        let line = &bytes[from..];
        // A smaller limit than the last one shows less of a line than was searched already.
        let unsearched = line.get(self.searched..).unwrap_or_default();
        let (end, next) = match memchr::memchr(b'\n', unsearched) {
            Some(found) => (from + self.searched + found, from + self.searched + found + 1),
            None if !ended => {
                self.searched = self.searched.max(line.len());
                return Found::More { start: from };
            }
            None if line.is_empty() => return Found::End,
            None => (bytes.len(), bytes.len()),
        };
        self.searched = 0;
        let mut begin = from;
        if self.first {
            self.first = false;
            begin += if bytes[from..end].starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        }
        Found::Record { start: from, document: trim(bytes, begin, end), next }
    }

    /// The bytes of the pending line are gone.
    pub(super) fn forget_pending(&mut self) {
        self.searched = 0;
        self.first = false;
    }
}

/// `bytes[begin..end]` without white space at its ends. Most lines have none, and then this is two comparisons.
#[inline(always)]
fn trim(bytes: &[u8], mut begin: usize, mut end: usize) -> Range<usize> {
    while begin < end && is_white(bytes[begin]) {
        begin += 1;
    }
    while begin < end && is_white(bytes[end - 1]) {
        end -= 1;
    }
    begin..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_trimmed_and_a_blank_one_is_empty() {
        let text = b"\xef\xbb\xbf {} \r\n\t\r\n\xef\xbb\xbf1";
        let mut lines = Lines::new(true);
        assert_eq!(lines.find(text, 0, false), Found::Record { start: 0, document: 4..6, next: 9 });
        let Found::Record { document, next, .. } = lines.find(text, 9, false) else { panic!() };
        assert_eq!((document.len(), next), (0, 12));
        assert_eq!(lines.find(text, 12, false), Found::More { start: 12 });
        // Only the file's first line may begin with a byte order mark: elsewhere it is for validation to refuse.
        assert_eq!(lines.find(text, 12, true), Found::Record { start: 12, document: 12..16, next: 16 });
        assert_eq!(lines.find(text, 16, true), Found::End);
    }

    #[test]
    fn what_was_searched_is_not_searched_again() {
        let mut lines = Lines::new(false);
        assert_eq!(lines.find(b"\"abc", 0, false), Found::More { start: 0 });
        assert_eq!(lines.searched, 4);
        assert_eq!(lines.find(b"\"a", 0, false), Found::More { start: 0 });
        assert_eq!(lines.find(b"\"abc\"\n", 0, false), Found::Record { start: 0, document: 0..5, next: 6 });
        assert_eq!(lines.searched, 0);
    }
}
