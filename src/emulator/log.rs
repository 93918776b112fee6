//! What makes an emulator with `--data` survive a kill: an append-only log a container.
//!
//! A frame is what one request changed, written with one call before the request is answered: a process that is killed
//! afterwards loses nothing of it, because the kernel has it (a machine that loses power may: nothing is synced). A
//! frame holds its length and a checksum, so that the torn end of a frame that was being written is told from a whole one; an
//! atomic batch is one frame, so it is there wholly or not at all. A write that fails leaves nothing ([`Appended`]), and nothing of it stays in memory.
//!
//! What a kill leaves torn is the last thing in the log, because nothing is ever written behind it: it is cut off when the log is opened, and nobody
//! was told of it. A frame that cannot be read and is followed by a whole one, wherever that begins, is damage of another kind: what
//! follows was answered, so the log is refused and left as it is.
//!
//! What was replaced or deleted stays in the log until an emulator starts and finds more of the past in it than of the present. Then a
//! new log is written beside the old one, forced to the disk and renamed: whenever the process is killed, one whole log is under
//! the name. A deleted document takes its ETag with it, so the new log begins with the last one that was given.

use super::appended::Appended;
use super::stored::{Key, Stored};
use crate::error::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh3::xxh3_64;

/// Length and checksum.
const HEAD: usize = 8;

const DELETE: u8 = 0;
const PUT: u8 = 1;
const COUNTER: u8 = 2;

/// What stands before the text of a document, its key aside: tag, two lengths, properties, number, ETag and time.
const PUT_HEAD: usize = 1 + 2 + 4 + 8 + 8 + 4 + 4;

/// A log is not worth compacting before the past in it is as large as this.
const WORTHWHILE: u64 = 64 * 1024;

/// Frames of a compacted log are about as large as this.
const COMPACTED_FRAME: usize = 1024 * 1024;

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
    /// The last number that was given to a document or an ETag.
    Counter(u64),
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

    fn counter(&mut self, counter: u64) {
        self.tag(COUNTER);
        self.bytes.extend_from_slice(&counter.to_le_bytes());
    }

    fn key(&mut self, tag: u8, key: &Key) {
        self.tag(tag);
        self.bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
        key.write(&mut self.bytes);
    }

    fn tag(&mut self, tag: u8) {
        if self.bytes.is_empty() {
            self.bytes.resize(HEAD, 0);
        }
        self.bytes.push(tag);
    }

    /// What is to be written; nothing of an empty frame.
    fn sealed(&mut self) -> &[u8] {
        if !self.bytes.is_empty() {
            let checksum = xxh3_64(&self.bytes[HEAD..]) as u32;
            let length = (self.bytes.len() - HEAD) as u32;
            self.bytes[..4].copy_from_slice(&length.to_le_bytes());
            self.bytes[4..HEAD].copy_from_slice(&checksum.to_le_bytes());
        }
        &self.bytes
    }

    /// Empties it: of what was written, or of what an atomic batch has done before it failed.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// The log of one container.
#[derive(Debug)]
pub(super) struct Log {
    file: Mutex<Appended>,
}

/// Hands each document that there is to the closure that it is given.
pub(super) type Documents<'a> =
    dyn Fn(&mut dyn FnMut(&Key, &Stored) -> io::Result<()>) -> io::Result<()> + 'a;

const OPENING: &str = "opening the data of the emulator";

impl Log {
    /// Opens or makes the log at `path` and hands each change in it, oldest first, to `each`. A torn end is cut off.
    pub(super) fn open(path: &Path, each: impl FnMut(Change)) -> Result<Self> {
        let failed = |cause| Error::io(OPENING, cause).with("path", path.display());
        // What was being written when the process was killed.
        remove_if_there(&beside(path)).map_err(failed)?;
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        let whole = replay(&mut file, each).map_err(failed)?;
        if is_followed(&mut file, whole).map_err(failed)? {
            return Err(damaged(path, whole));
        }
        file.set_len(whole).map_err(failed)?;
        Ok(Self::over(Appended::new(file, whole)))
    }

    /// A log that goes on with this file.
    pub(super) fn over(file: Appended) -> Self {
        Self { file: Mutex::new(file) }
    }

    /// This log, or one in its place that has only the present, if this has more of the past. Called before anything is appended.
    pub(super) fn compacted(self, path: &Path, counter: u64, documents: &Documents<'_>) -> Result<Self> {
        let failed =
            |cause| Error::io("compacting the data of the emulator", cause).with("path", path.display());
        let mut present = 0;
        let mut measure = |key: &Key, stored: &Stored| {
            present += (PUT_HEAD + key.len() + stored.text.len()) as u64;
            Ok(())
        };
        documents(&mut measure).map_err(failed)?;
        let past = self.lock().length();
        if past <= 2 * present + WORTHWHILE {
            return Ok(self);
        }
        // Closed first: not every system renames over an open file.
        drop(self);
        rewrite(path, counter, documents).map_err(failed)?;
        let file = OpenOptions::new().read(true).append(true).open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        Ok(Self::over(Appended::new(file, length)))
    }

    /// Writes a frame, wholly or, where that fails, not at all; an empty one is not written.
    pub(super) fn append(&self, frame: &mut Frame) -> io::Result<()> {
        let piece = frame.sealed();
        if piece.is_empty() { Ok(()) } else { self.lock().append(piece) }
    }

    fn lock(&self) -> MutexGuard<'_, Appended> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands over each change up to the first frame that is not whole, and says where that begins.
fn replay(file: &mut File, mut each: impl FnMut(Change)) -> io::Result<u64> {
    let mut reader = io::BufReader::with_capacity(1 << 20, file);
    let (mut whole, mut payload) = (0, Vec::new());
    while read_frame(&mut reader, &mut payload)? {
        let mut rest = &payload[..];
        while let Some(change) = read_change(&mut rest) {
            each(change);
        }
        whole += (HEAD + payload.len()) as u64;
    }
    Ok(whole)
}

/// Whether a whole frame comes anywhere behind the frame at `torn`, of which not even the length is known to be right. All there is behind a kill is
/// less than a frame; the log of a container that is served fits into the memory in any case.
fn is_followed(file: &mut File, torn: u64) -> io::Result<bool> {
    let mut rest = Vec::new();
    file.seek(SeekFrom::Start(torn))?;
    file.read_to_end(&mut rest)?;
    Ok((1..rest.len()).any(|at| begins_with_a_frame(&rest[at..])))
}

fn begins_with_a_frame(bytes: &[u8]) -> bool {
    let Some((head, behind)) = bytes.split_first_chunk() else { return false };
    let (length, checksum) = read_head(*head);
    // Looking for changes is quick where there are none; a sum over many bytes is not.
    behind
        .get(..length as usize)
        .is_some_and(|payload| is_of_changes(payload) && xxh3_64(payload) as u32 == checksum)
}

fn is_of_changes(mut payload: &[u8]) -> bool {
    !payload.is_empty() && {
        while read_change(&mut payload).is_some() {}
        payload.is_empty()
    }
}

fn damaged(path: &Path, at: u64) -> Error {
    let message = "a log is damaged: it cannot be read from this byte on, though whole changes follow";
    Error::configuration(OPENING, message).with("path", path.display()).with("byte", at).advise(format!(
        "put a copy of the folder in its place; or give up that and all later changes of the container by cutting the log off there (truncate -s {at} FILE); or delete the folder to begin anew"
    ))
}

/// Writes a new log and puts it in the place of the old one.
fn rewrite(path: &Path, counter: u64, documents: &Documents<'_>) -> io::Result<()> {
    let beside = beside(path);
    let mut file = File::create(&beside)?;
    let mut frame = Frame { bytes: Vec::new(), is_kept: true };
    frame.counter(counter);
    documents(&mut |key, stored| {
        frame.put(key, stored);
        if frame.bytes.len() >= COMPACTED_FRAME {
            file.write_all(frame.sealed())?;
            frame.clear();
        }
        Ok(())
    })?;
    file.write_all(frame.sealed())?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&beside, path)?;
    sync_folder(path)
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("new")
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

/// Reads the next whole frame; false at the end and where a frame is torn.
fn read_frame(reader: &mut impl Read, payload: &mut Vec<u8>) -> io::Result<bool> {
    let mut head = [0; HEAD];
    if !fill(reader, &mut head)? {
        return Ok(false);
    }
    let (length, checksum) = read_head(head);
    payload.clear();
    // Not reserved at once: the length of a torn frame may be anything.
    reader.by_ref().take(u64::from(length)).read_to_end(payload)?;
    Ok(payload.len() == length as usize && xxh3_64(payload) as u32 == checksum)
}

/// Length and checksum of a frame.
fn read_head(head: [u8; HEAD]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = head;
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

/// Takes one change off the front; `None` at the end, and where there is none.
fn read_change(rest: &mut &[u8]) -> Option<Change> {
    let [tag] = *chunk::<1>(rest)?;
    if tag == COUNTER {
        return Some(Change::Counter(u64::from_le_bytes(*chunk(rest)?)));
    }
    let length = u16::from_le_bytes(*chunk(rest)?);
    let key = Key::from_bytes(rest.split_off(..length as usize)?)?;
    if tag == DELETE {
        return Some(Change::Delete(key));
    }
    if tag != PUT {
        return None;
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
        log.append(&mut frame).unwrap();
        let first = std::fs::metadata(&path).unwrap().len();
        let mut frame = Frame::of(Some(&log));
        frame.put(&key("c"), &stored("{}"));
        log.append(&mut frame).unwrap();
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
        log.append(&mut frame).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(changes(&path), []);
    }

    /// Writes three frames and says where each begins, and where the last ends.
    fn of_three(path: &Path) -> [usize; 4] {
        let log = Log::open(path, |_| {}).unwrap();
        let ends = ["a", "b", "c"].map(|id| {
            let mut frame = Frame::of(Some(&log));
            frame.put(&key(id), &stored("{\"s\":\"some text\"}"));
            frame.delete(&key("before"));
            log.append(&mut frame).unwrap();
            log.lock().length() as usize
        });
        [0, ends[0], ends[1], ends[2]]
    }

    /// A kill leaves any part of the last frame, and nothing behind it.
    #[test]
    fn a_torn_end_of_any_length_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let places = of_three(&path);
        let whole = std::fs::read(&path).unwrap();
        for length in places[2]..places[3] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(changes(&path).len(), 4, "{length}");
            assert_eq!(std::fs::read(&path).unwrap(), whole[..places[2]], "{length}");
        }
    }

    #[test]
    fn a_damaged_frame_that_others_follow_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7.log");
        let places = of_three(&path);
        let whole = std::fs::read(&path).unwrap();
        for (begin, end) in [(places[0], places[1]), (places[1], places[2])] {
            for at in begin..end {
                let mut bytes = whole.clone();
                bytes[at] ^= 0x10;
                std::fs::write(&path, &bytes).unwrap();
                let refused = Log::open(&path, |_| {}).unwrap_err();
                assert_eq!(refused.kind(), crate::error::ErrorKind::Configuration);
                let told = refused.to_string();
                assert!(told.contains("7.log") && told.contains(&format!("byte: {begin}")), "{told}");
                assert!(refused.remedy().contains(&format!("truncate -s {begin} ")), "{}", refused.remedy());
                assert_eq!(std::fs::read(&path).unwrap(), bytes, "byte {at}");
            }
        }
    }

    #[test]
    fn a_frame_for_which_there_is_no_room_leaves_the_log_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let places = of_three(&path);
        let (disk, file) = crate::emulator::appended::full::Disk::with(&path, 20);
        let log = Log::over(file);
        let delete = |id| {
            let mut frame = Frame::of(Some(&log));
            frame.delete(&key(id));
            log.append(&mut frame)
        };
        assert_eq!(delete("a").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), places[3] as u64);
        disk.set_room(1000);
        delete("b").unwrap();
        assert_eq!(changes(&path)[6..], [Change::Delete(key("b"))]);
    }

    /// A log of three documents that were written often, one of which was deleted.
    fn of_the_past(path: &Path) -> Vec<(Key, Stored)> {
        let log = Log::open(path, |_| {}).unwrap();
        let large = stored(&format!("{{\"s\":\"{}\"}}", "s".repeat(20_000)));
        for number in 0..30 {
            let mut frame = Frame::of(Some(&log));
            frame.put(&key(["a", "b", "c"][number % 3]), &large);
            log.append(&mut frame).unwrap();
        }
        let mut frame = Frame::of(Some(&log));
        frame.delete(&key("b"));
        log.append(&mut frame).unwrap();
        ["a", "c"].map(|id| (key(id), large.clone())).into()
    }

    fn compact(path: &Path, documents: &[(Key, Stored)]) -> Log {
        let log = Log::open(path, |_| {}).unwrap();
        log.compacted(path, 77, &|each| documents.iter().try_for_each(|(key, stored)| each(key, stored)))
            .unwrap()
    }

    #[test]
    fn a_log_of_the_past_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7.log");
        let documents = of_the_past(&path);
        let before = std::fs::metadata(&path).unwrap().len();
        let log = compact(&path, &documents);
        let after = std::fs::metadata(&path).unwrap().len();
        assert!(before > 600_000 && after < 45_000, "{before} {after}");
        let mut frame = Frame::of(Some(&log));
        frame.delete(&key("a"));
        log.append(&mut frame).unwrap();
        let put = |(key, stored): &(Key, Stored)| Change::Put(key.clone(), stored.clone());
        let expected =
            [Change::Counter(77), put(&documents[0]), put(&documents[1]), Change::Delete(key("a"))];
        assert_eq!(changes(&path), expected);
        // Now it is of the present and left alone.
        let length = std::fs::metadata(&path).unwrap().len();
        compact(&path, &documents[1..]);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
    }

    /// A kill can come at any byte of the new log, and before or after it has taken the place of the old one.
    #[test]
    fn a_kill_while_compacting_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (path, whole) = (folder.path().join("7.log"), folder.path().join("8.log"));
        let documents = of_the_past(&path);
        std::fs::copy(&path, &whole).unwrap();
        let before = changes(&path);
        compact(&whole, &documents);
        let compacted = std::fs::read(&whole).unwrap();
        for length in [0, 1, 20, 20_000, compacted.len() - 1, compacted.len()] {
            std::fs::write(beside(&path), &compacted[..length]).unwrap();
            assert_eq!(changes(&path), before, "killed before the rename, {length} bytes written");
            assert!(!beside(&path).try_exists().unwrap());
        }
        assert_eq!(changes(&whole).len(), 3, "killed after the rename");
    }
}
