//! The line number of a place, for a person who will open the file in an editor.
//!
//! A byte range does not know how many lines lie before it, and counting them beforehand would read everything twice. So
//! they are counted when a reject first asks: range by range, each at most once. The transform thread that met the reject waits for that, so
//! it is done near the beginning of a file only ([`COUNTED`]); further on the byte has to do. Which of the two it is depends on the place
//! alone, so a replay writes the same dead letter again.

use crate::connector::file::plan::Slice;
use crate::model::units::MIB;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Mutex;

/// Lines of partitions that begin no further on than this are counted: a quarter of a second for a disk that reads a gigabyte a second, and few
/// people open a larger file in an editor. One reject at the end of a terabyte must not read it all a second time.
const COUNTED: u64 = 256 * MIB;

/// Bytes read at once: they pass through the second-level cache.
const CHUNK: usize = 256 * 1024;

/// Line ends of one file, range by range.
#[derive(Debug, Default)]
pub(super) struct LineCounts {
    /// For every slice of the file in order, the line ends between its beginning and the next one's, each beginning taken
    /// one byte early: a line end just before a slice makes its first byte the begin of a line.
    counted: Mutex<Vec<Option<u64>>>,
}

impl LineCounts {
    /// Lines before the first one that belongs to the slice, the `number`th of slices of `step` bytes; `None` where they are not counted.
    pub(super) fn before(&self, path: &Path, slice: &Slice, step: u64) -> Option<u64> {
        let number = slice.start.checked_div(step)? as usize;
        if slice.start > COUNTED {
            return None;
        }
        // A poisoned lock only says that another count was broken off: what has been counted is right.
        let mut counted = self.counted.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if counted.len() < number {
            counted.resize(number, None);
        }
        let mut total = 0;
        for (slice, count) in counted.iter_mut().enumerate().take(number) {
            let edge = |slice: u64| (slice * step).saturating_sub(1);
            let lines = match *count {
                Some(lines) => lines,
                None => *count.insert(line_ends(path, edge(slice as u64), edge(slice as u64 + 1)).ok()?),
            };
            total += lines;
        }
        // The line that reaches into the slice ends at the first line end from its edge on.
        Some(total + u64::from(number > 0))
    }
}

fn line_ends(path: &Path, from: u64, to: u64) -> io::Result<u64> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut file = file.take(to - from);
    let mut chunk = vec![0; CHUNK];
    let mut count = 0;
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(count);
        }
        count += memchr::memchr_iter(b'\n', &chunk[..read]).count() as u64;
    }
}
