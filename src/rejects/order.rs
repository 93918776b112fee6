//! Putting the lines of the reject file in source order, once all of them are there.
//!
//! Lines arrive in the order in which batches are finished, and that depends on timing. So when every partition is finished the file
//! is put in order: by partition, then by place; a document has one dead letter, so no two lines share both. A job that was stopped
//! and resumed then leaves the very bytes that an undisturbed one leaves.
//!
//! Only the keys are held in memory, 24 bytes a line; the lines are copied by their offsets into a new file that takes the place of
//! the old one. At this time nothing is in flight and the credits are free, so the keys may take as much memory as those take by
//! default. More lines than that (1.4 million) keep the order of their arrival.

use crate::model::json;
use crate::model::partition::Partition;
use crate::model::units::MIB;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Where the new file is made.
const TEMPORARY: &str = "rejects.new.jsonl";

/// Most lines that are put in order.
const MOST_LINES: usize = 32 * MIB as usize / size_of::<Key>();

/// No line is shorter: it has seven names, and white space nowhere.
const SHORTEST_LINE: u64 = 64;

/// Bytes copied at once.
const PIECE: usize = 128 * 1024;

/// A line, and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    at: u64,
    offset: u64,
    partition: u32,
    length: u32,
}

impl Key {
    fn place(&self) -> (u32, u64, u64) {
        (self.partition, self.at, self.offset)
    }
}

/// Puts the lines of the file at `path` in the order of `partitions` and of places in them. Durable on return. False: nothing was
/// changed, because the lines are in order, or too many, or not ours.
pub(super) fn put_in_order(path: &Path, partitions: &[Partition]) -> io::Result<bool> {
    let Some(mut keys) = keys(path, partitions, MOST_LINES)? else { return Ok(false) };
    if keys.is_sorted_by_key(Key::place) {
        return Ok(false);
    }
    keys.sort_unstable_by_key(Key::place);
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = folder.join(TEMPORARY);
    let copied = copy(path, &keys, &temporary).and_then(|()| fs::rename(&temporary, path));
    if let Err(cause) = copied {
        // A disk that had no room for it shall have it back.
        drop(fs::remove_file(&temporary));
        return Err(cause);
    }
    File::open(folder).and_then(|folder| folder.sync_all())?;
    Ok(true)
}

/// The keys of all lines in their present order; `None` if they are more than `most`, or one has no place.
fn keys(path: &Path, partitions: &[Partition], most: usize) -> io::Result<Option<Vec<Key>>> {
    let numbers: HashMap<&str, u32> =
        partitions.iter().zip(0..).map(|(partition, number)| (partition.id.0.as_str(), number)).collect();
    let file = File::open(path)?;
    let likely = usize::try_from(file.metadata()?.len() / SHORTEST_LINE + 1).unwrap_or(most);
    // At once, because a list that grows is there twice for a moment.
    let mut keys = Vec::with_capacity(likely.min(most));
    let (mut input, mut line, mut offset) = (BufReader::with_capacity(PIECE, file), Vec::new(), 0);
    while input.read_until(b'\n', &mut line)? > 0 {
        let (Some((partition, at)), Ok(length)) = (place(&line, &numbers), u32::try_from(line.len())) else {
            return Ok(None);
        };
        if keys.len() == most {
            return Ok(None);
        }
        keys.push(Key { at, offset, partition, length });
        offset += line.len() as u64;
        line.clear();
    }
    Ok(Some(keys))
}

/// The partition's number and the place of a line.
fn place(line: &[u8], numbers: &HashMap<&str, u32>) -> Option<(u32, u64)> {
    json::index(line.strip_suffix(b"\n")?, &mut json::Index::default()).ok()?;
    let partition = json::scalar_text(json::field(line, "partition")?);
    let at = std::str::from_utf8(json::field(line, "at")?).ok()?.parse().ok()?;
    Some((*numbers.get(partition.as_ref())?, at))
}

/// Writes the lines of `keys` to `to`, in that order, and makes it durable.
fn copy(from: &Path, keys: &[Key], to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut out = BufWriter::with_capacity(PIECE, File::create(to)?);
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    for key in keys {
        if at != key.offset {
            from.seek(SeekFrom::Start(key.offset))?;
        }
        at = key.offset + u64::from(key.length);
        let mut left = key.length as usize;
        while left > 0 {
            let now = left.min(PIECE);
            from.read_exact(&mut piece[..now])?;
            out.write_all(&piece[..now])?;
            left -= now;
        }
    }
    out.into_inner()?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::partition::{PartitionId, Position};
    use crate::model::reject::{Reject, RejectedBy};
    use crate::rejects::dead_letter;
    use proptest::prelude::*;

    fn partitions() -> Vec<Partition> {
        let partition = |id: &str| Partition {
            id: PartitionId(id.to_owned()),
            start: Position::default(),
            bytes: None,
            documents: None,
        };
        // In source order, which is not that of their names.
        ["b:0", "a\"é:0", "b:10"].map(partition).into()
    }

    fn line(partition: usize, at: u64) -> Vec<u8> {
        let reject = Reject {
            by: RejectedBy::Target,
            reason: "why".to_owned(),
            at,
            ordinal: 0,
            offset: None,
            bytes: b"x\n".repeat(at as usize % 700),
            length: 0,
        };
        dead_letter(&reject, &partitions()[partition].id.0, "here")
    }

    proptest! {
        // Each is synced to a disk twice.
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn any_order_of_arrival_becomes_source_order(
            arrival in Just((0..3).flat_map(|p| (0..40).map(move |n| (p, n * n * n))).collect::<Vec<_>>()).prop_shuffle()
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("r.jsonl");
            let write = |places: &[(usize, u64)]| places.iter().flat_map(|(p, at)| line(*p, *at)).collect::<Vec<_>>();
            fs::write(&path, write(&arrival)).unwrap();
            prop_assert!(put_in_order(&path, &partitions()).unwrap());
            let mut expected = arrival;
            expected.sort_unstable();
            prop_assert!(fs::read(&path).unwrap() == write(&expected));
            prop_assert!(!put_in_order(&path, &partitions()).unwrap(), "it is in order");
            prop_assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn too_many_lines_and_foreign_ones_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let ours = [line(1, 5), line(0, 5)].concat();
        fs::write(&path, &ours).unwrap();
        assert_eq!(keys(&path, &partitions(), 1).unwrap(), None);
        assert_eq!(keys(&path, &partitions(), 2).unwrap().map(|keys| keys.len()), Some(2));
        for foreign in ["rubbish\n", "{\"partition\":\"c:0\",\"at\":1}\n", "{\"partition\":\"b:0\"}\n"] {
            let lines = [ours.as_slice(), foreign.as_bytes()].concat();
            fs::write(&path, &lines).unwrap();
            assert!(!put_in_order(&path, &partitions()).unwrap());
            assert_eq!(fs::read(&path).unwrap(), lines);
        }
    }
}
