//! What makes an emulator with `--data` survive a kill: an append-only log a container.
//!
//! A frame is what one request changed, written with one call before the request is answered: a process that is killed
//! afterwards loses nothing of it, because the kernel has it (a machine that loses power may: nothing is synced). A
//! frame holds its length and a checksum, so that the torn end of a frame that was being written is told from a whole one; an
//! atomic batch is one frame, so it is there wholly or not at all.

use super::stored::{Key, Stored};
use crate::error::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use xxhash_rust::xxh3::xxh3_64;

/// Length and checksum.
const HEAD: usize = 8;

const PUT: u8 = 1;
const DELETE: u8 = 0;

/// The changes of one request, as they will be written.
#[derive(Debug)]
pub(super) struct Frame {
    bytes: Vec<u8>,
    /// False where there is no log: nothing is noted then.
    is_kept: bool,
}

/// A change that was read back.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    Put(Key, Stored),
    Delete(Key),
}

impl Frame {
    /// An empty frame for `log`.
    pub(super) fn of(log: Option<&Log>) -> Self {
        Self { bytes: Vec::new(), is_kept: log.is_some() }
    }

    pub(super) fn put(&mut self, key: &Key, stored: &Stored) {
        if !self.is_kept {
            return;
        }
        self.key(PUT, key);
        self.bytes.extend_from_slice(&stored.properties.to_le_bytes());
        self.bytes.extend_from_slice(&stored.number.to_le_bytes());
        self.bytes.extend_from_slice(&stored.etag.to_le_bytes());
        self.bytes.extend_from_slice(&stored.written_at.to_le_bytes());
        self.bytes.extend_from_slice(&(stored.text.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&stored.text);
    }

    pub(super) fn delete(&mut self, key: &Key) {
        if self.is_kept {
            self.key(DELETE, key);
        }
    }

    fn key(&mut self, tag: u8, key: &Key) {
        if self.bytes.is_empty() {
            self.bytes.resize(HEAD, 0);
        }
        let key = key.to_bytes();
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(&key);
    }

    /// Forgets what an atomic batch has done before it failed.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// The log of one container.
#[derive(Debug)]
pub(super) struct Log {
    file: Mutex<File>,
}

impl Log {
    /// Opens or makes the log at `path` and hands each change in it, oldest first, to `each`. A torn end is cut off.
    pub(super) fn open(path: &Path, each: impl FnMut(Change)) -> Result<Self> {
        Self::try_open(path, each).map_err(|cause| {
            Error::io("opening the data of the emulator", cause).with("path", path.display())
        })
    }

    fn try_open(path: &Path, mut each: impl FnMut(Change)) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut whole = 0;
        {
            let mut reader = io::BufReader::with_capacity(1 << 20, &mut file);
            let mut payload = Vec::new();
            while read_frame(&mut reader, &mut payload)? {
                let mut rest = &payload[..];
                while let Some(change) = read_change(&mut rest) {
                    each(change);
                }
                whole += (HEAD + payload.len()) as u64;
            }
        }
        file.set_len(whole)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Writes a frame; an empty one is not written.
    pub(super) fn append(&self, mut frame: Frame) -> io::Result<()> {
        if frame.bytes.is_empty() {
            return Ok(());
        }
        let checksum = xxh3_64(&frame.bytes[HEAD..]) as u32;
        let length = (frame.bytes.len() - HEAD) as u32;
        frame.bytes[..4].copy_from_slice(&length.to_le_bytes());
        frame.bytes[4..HEAD].copy_from_slice(&checksum.to_le_bytes());
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&frame.bytes)
    }
}

/// Reads the next whole frame; false at the end and where a frame is torn.
fn read_frame(reader: &mut impl Read, payload: &mut Vec<u8>) -> io::Result<bool> {
    let mut head = [0; HEAD];
    if !fill(reader, &mut head)? {
        return Ok(false);
    }
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let checksum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    payload.clear();
    // Not reserved at once: the length of a torn frame may be anything.
    reader.by_ref().take(u64::from(length)).read_to_end(payload)?;
    Ok(payload.len() == length as usize && xxh3_64(payload) as u32 == checksum)
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

/// Takes one change off the front; `None` at the end.
fn read_change(rest: &mut &[u8]) -> Option<Change> {
    let [tag] = *chunk::<1>(rest)?;
    let length = u16::from_le_bytes(*chunk(rest)?);
    let key = Key::from_bytes(rest.split_off(..length as usize)?)?;
    if tag == DELETE {
        return Some(Change::Delete(key));
    }
    let properties = u32::from_le_bytes(*chunk(rest)?);
    let number = u64::from_le_bytes(*chunk(rest)?);
    let etag = u64::from_le_bytes(*chunk(rest)?);
    let written_at = u32::from_le_bytes(*chunk(rest)?);
    let length = u32::from_le_bytes(*chunk(rest)?);
    let text = rest.split_off(..length as usize)?.into();
    Some(Change::Put(key, Stored { text, properties, number, etag, written_at }))
}

fn chunk<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (chunk, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::partition_key::Epk;

    fn key(id: &str) -> Key {
        Key::new(&Epk::from_bytes(vec![7; 16]), id)
    }

    fn stored(text: &str) -> Stored {
        Stored { text: text.as_bytes().into(), properties: 2, number: 3, etag: 4, written_at: 5 }
    }

    fn changes(path: &Path) -> Vec<Change> {
        let mut changes = Vec::new();
        Log::open(path, |change| changes.push(change)).unwrap();
        changes
    }

    #[test]
    fn what_was_written_is_read_back_and_a_torn_end_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::open(&path, |_| panic!("a new log is empty")).unwrap();
        let mut frame = Frame::of(Some(&log));
        frame.put(&key("a"), &stored("{\"id\":\"a\"}"));
        frame.delete(&key("b"));
        log.append(frame).unwrap();
        let first = std::fs::metadata(&path).unwrap().len();
        let mut frame = Frame::of(Some(&log));
        frame.put(&key("c"), &stored("{}"));
        log.append(frame).unwrap();
        let all = [
            Change::Put(key("a"), stored("{\"id\":\"a\"}")),
            Change::Delete(key("b")),
            Change::Put(key("c"), stored("{}")),
        ];
        assert_eq!(changes(&path), all);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(std::fs::metadata(&path).unwrap().len() - 1).unwrap();
        assert_eq!(changes(&path), all[..2]);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), first);
    }

    #[test]
    fn a_frame_with_a_wrong_byte_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::open(&path, |_| {}).unwrap();
        let mut frame = Frame::of(Some(&log));
        frame.delete(&key("b"));
        log.append(frame).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(changes(&path), []);
    }
}
