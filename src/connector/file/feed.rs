//! Bytes of a stream, read straight into the buffer that will become a batch.
//!
//! A batch ends in the middle of a chunk: at its limit, or because the last document is not complete. What is left over is given
//! back to the feed and comes first next time. It is at most one chunk unless a single document is larger, so readers hold little
//! that the engine's byte budget does not know of.

use crate::model::buffers;
use std::io::{self, ErrorKind, Read};

/// Bytes asked of the stream at once: large enough that system calls do not count, small enough that the bytes are still in
/// the second-level cache when the splitter looks at them.
pub(super) const CHUNK: usize = 256 * 1024;

/// Bytes asked for to find the end of one line: most lines are shorter, and most of what is read has to be held.
const LINE: usize = 8 * 1024;

/// A stream with its place, and what was read from it too early.
pub(super) struct Feed {
    stream: Box<dyn Read + Send>,
    /// Place in the stream of the next byte that [`Feed::fill`] gives.
    at: u64,
    /// Bytes given back; those before `used` have been taken again.
    held: Vec<u8>,
    used: usize,
    ended: bool,
    /// The stream gives all that it is asked for without waiting for somebody to write it.
    is_prompt: bool,
}

impl Feed {
    /// A stream that stands at `at`.
    pub(super) fn new(stream: Box<dyn Read + Send>, at: u64) -> Self {
        Self { stream, at, held: Vec::new(), used: 0, ended: false, is_prompt: false }
    }

    /// The same, of a stream that never waits for somebody to write what it is asked for.
    pub(super) fn prompt(self) -> Self {
        Self { is_prompt: true, ..self }
    }

    /// Whether everything has been given.
    pub(super) fn ended(&self) -> bool {
        self.ended && self.used == self.held.len()
    }

    /// The place of `buffer[index]`, when the buffer's end is what was given last.
    #[inline(always)]
    pub(super) fn place(&self, buffer: &[u8], index: usize) -> u64 {
        self.at - (buffer.len() - index) as u64
    }

    /// A buffer of `capacity`, which holds what was given back if that is not more.
    pub(super) fn buffer(&mut self, capacity: usize) -> Vec<u8> {
        let mut buffer = buffers::take(capacity);
        if self.used == 0 && self.held.len() <= capacity {
            buffer.extend_from_slice(&self.held);
            self.at += self.held.len() as u64;
            self.held.clear();
        }
        buffer
    }

    /// Appends up to `want` bytes (at least one) to `buffer`, or finds that the stream has ended.
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>, want: usize) -> io::Result<()> {
        let before = buffer.len();
        if self.used < self.held.len() {
            let taken = want.min(self.held.len() - self.used);
            buffer.extend_from_slice(&self.held[self.used..self.used + taken]);
            self.used += taken;
        } else if !self.ended {
            self.held.clear();
            self.used = 0;
            self.ended = self.read(buffer, want)? == 0;
        }
        self.at += (buffer.len() - before) as u64;
        Ok(())
    }

    fn read(&mut self, buffer: &mut Vec<u8>, want: usize) -> io::Result<usize> {
        let before = buffer.len();
        if self.is_prompt {
            // This way the buffer need not be filled with zeroes first.
            let read = self.stream.by_ref().take(want as u64).read_to_end(buffer);
            return read.inspect_err(|_| buffer.truncate(before));
        }
        buffer.resize(before + want, 0);
        let read = read_some(&mut self.stream, &mut buffer[before..]);
        buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        read
    }

    /// Takes `buffer[from..]` back. The buffer's end is what was given last.
    pub(super) fn give_back(&mut self, buffer: &mut Vec<u8>, from: usize) {
        let left = buffer.len() - from;
        self.at -= left as u64;
        if self.used < self.held.len() {
            // Then all of it came from there.
            self.used -= left;
        } else if from == 0 {
            (self.held, self.used) = (std::mem::take(buffer), 0);
        } else {
            self.held.clear();
            self.held.extend_from_slice(&buffer[from..]);
            self.used = 0;
        }
        buffer.truncate(from);
    }

    /// Goes on behind the next line end, unless there is none before `until`.
    pub(super) fn pass_line_end(&mut self, until: u64) -> io::Result<()> {
        let mut chunk = Vec::new();
        while self.at < until && !self.ended() {
            chunk.clear();
            self.fill(&mut chunk, LINE)?;
            if let Some(found) = memchr::memchr(b'\n', &chunk) {
                self.give_back(&mut chunk, found + 1);
                break;
            }
        }
        Ok(())
    }
}

/// One read, tried again when a signal came in between.
pub(super) fn read_some(stream: &mut (impl Read + ?Sized), into: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(into) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_comes_first() {
        let mut feed = Feed::new(Box::new(&b"abcdefgh"[..]), 100);
        let mut buffer = feed.buffer(6);
        feed.fill(&mut buffer, 6).unwrap();
        assert_eq!((&buffer[..], feed.place(&buffer, 0)), (&b"abcdef"[..], 100));
        feed.give_back(&mut buffer, 2);
        // Less room than is held: in pieces, and the rest of a piece goes back to where it came from.
        let mut buffer = feed.buffer(3);
        feed.fill(&mut buffer, 3).unwrap();
        assert_eq!((&buffer[..], feed.place(&buffer, 0)), (&b"cde"[..], 102));
        feed.give_back(&mut buffer, 1);
        let mut buffer = feed.buffer(8);
        while !feed.ended() {
            let room = 8 - buffer.len();
            feed.fill(&mut buffer, room).unwrap();
        }
        assert_eq!((&buffer[..], feed.place(&buffer, 0)), (&b"defgh"[..], 103));
    }
}
