//! What there is to read: from the paths and patterns that a user gave to inputs, and from inputs to partitions.
//!
//! Only a plain JSON Lines file can be entered in the middle, so only such a file is cut, at multiples of `partition_bytes`
//! whatever lies there: a line belongs to the partition in which its first byte lies. Everything else is one partition. The
//! cuts depend on the file and the setting alone; a checkpoint that names them is understood on a machine with other cores.

use crate::connector::file::format::{Compression, Format};
use crate::connector::file::names::{distinct, full_name, is_pattern, partition_id, short_name};
use crate::connector::file::pattern;
use crate::connector::file::seen::Seen;
use crate::connector::file::streams::read_head;
use crate::error::{Error, Result};
use crate::model::partition::{Partition, PartitionId, Position};
use crate::model::standard::{Standard, was_closed};
use crate::model::units::MIB;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

const FINDING: &str = "finding the source";

/// One entry of the setting `path`.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// `-`
    StandardInput,
    /// `bundled:NAME`
    Bundled(&'static str, &'static [u8]),
    /// A path, or a pattern if no file has that name.
    Path(String),
}

/// The settings of a source.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) given: Vec<Given>,
    pub(super) format: Option<Format>,
    pub(super) compression: Option<Compression>,
    pub(super) cut: Cut,
    /// Of equal ids the later one counts, over all files in their order.
    pub(super) is_ordered: bool,
}

/// Where a plain JSON Lines file is cut into partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nowhere.
    Never,
    /// After so many bytes, and their multiples.
    Every(u64),
    /// After a 64th of its length, as the next power of two within [`LEAST_BUILT_IN`] and [`MOST_BUILT_IN`].
    BySize,
}

/// A target with dozens of lanes is fed from as many places of a file that is sorted by key.
const PARTITIONS: u64 = 64;

/// Under this much a partition's own cost shows.
const LEAST_BUILT_IN: u64 = MIB;

/// Keeps a checkpoint of a terabyte at some 15 000 entries, and still gives sixteen readers something to do in a gigabyte.
const MOST_BUILT_IN: u64 = 64 * MIB;

impl Cut {
    /// Bytes from cut to cut in a file of this length; none: it is not cut.
    pub(super) fn step(self, length: u64) -> Option<u64> {
        match self {
            Cut::Never => None,
            Cut::Every(bytes) => Some(bytes),
            Cut::BySize => {
                let share = length.div_ceil(PARTITIONS).clamp(LEAST_BUILT_IN, MOST_BUILT_IN);
                Some(share.next_power_of_two())
            }
        }
    }
}

/// Where an input's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    Bundled(&'static [u8]),
    StandardInput,
}

/// One file, or what stands for one.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) place: Place,
    /// Its name in checkpoints.
    pub(super) name: String,
    /// Its name in messages: the path as it was given.
    pub(super) shown: String,
    /// Its stored length. A pipe has none.
    pub(super) length: Option<u64>,
    /// What the system said of it; a pipe changes as it is read.
    pub(super) seen: Option<Seen>,
    /// Its compression, unless only reading will tell.
    pub(super) compression: Option<Compression>,
    /// Its format, once it is known: for a plain file when planning, else when it is first opened.
    pub(super) format: OnceLock<Format>,
}

/// What a partition stands for.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    pub(super) input: Arc<Input>,
    pub(super) start: u64,
    /// The first place that belongs to the next slice; `None` where the text itself says where it ends.
    pub(super) end: Option<u64>,
}

/// Inputs and partitions, in source order.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) inputs: Vec<Arc<Input>>,
    pub(super) partitions: Vec<Partition>,
    pub(super) slices: HashMap<PartitionId, Slice>,
}

impl Input {
    /// The format of a file that can be entered anywhere.
    pub(super) fn plain_format(&self) -> Option<Format> {
        match (&self.place, self.length, self.compression) {
            (Place::File(_), Some(_), Some(Compression::None)) => self.format.get().copied(),
            _ => None,
        }
    }
}

impl Plan {
    /// Looks at every input.
    pub(super) fn new(reading: &Reading) -> Result<Plan> {
        let found = find(&reading.given)?;
        let (short, full) = found.iter().map(|found| (found.short.clone(), found.full.clone())).unzip();
        let names = distinct(short, full);
        let mut plan = Plan { inputs: Vec::new(), partitions: Vec::new(), slices: HashMap::new() };
        for (found, name) in found.into_iter().zip(names) {
            let input = Arc::new(look(found.place, name, reading)?);
            plan.cut(&input, reading.cut);
            plan.inputs.push(input);
        }
        Ok(plan)
    }

    fn cut(&mut self, input: &Arc<Input>, cut: Cut) {
        let (plain, length) = (input.plain_format(), input.length.unwrap_or(u64::MAX));
        let step = match (plain, cut.step(length)) {
            (Some(Format::Lines), Some(bytes)) => bytes,
            _ => u64::MAX,
        };
        let mut start = 0;
        while start < length {
            let end = plain.map(|_| length.min(start.saturating_add(step)));
            let id = PartitionId(partition_id(&input.name, start));
            let bytes = end.map(|end| end - start);
            self.partitions.push(Partition {
                id: id.clone(),
                start: Position::new(start, 0),
                bytes,
                documents: None,
            });
            // An array ends at its bracket and nowhere else: where the file ends first, it is truncated.
            let end = end.filter(|_| plain == Some(Format::Lines));
            self.slices.insert(id, Slice { input: Arc::clone(input), start, end });
            start = start.saturating_add(step);
        }
    }
}

/// An input that has been found but not looked at.
struct Candidate {
    place: Place,
    short: String,
    full: String,
}

fn find(given: &[Given]) -> Result<Vec<Candidate>> {
    let mut found = Vec::new();
    for given in given {
        match given {
            Given::StandardInput => found.push(candidate(Place::StandardInput, "-", "-")),
            Given::Bundled(name, bytes) => {
                found.push(candidate(Place::Bundled(bytes), name, &format!("bundled:{name}")));
            }
            // A file may have the name of a pattern; then it is meant.
            Given::Path(path) if is_pattern(path) && fs::symlink_metadata(path).is_err() => {
                matches(path, &mut found)?;
            }
            Given::Path(path) => found.push(named(Path::new(path), None)?),
        }
    }
    // What two patterns match, or is given twice, is read once, also where one of them says `./a`. That a link, or a way through another
    // folder (`b/../a`), leads to the same file is not seen.
    let mut seen = HashSet::new();
    found.retain(|candidate| seen.insert(candidate.full.clone()));
    Ok(found)
}

fn candidate(place: Place, short: &str, full: &str) -> Candidate {
    Candidate { place, short: short.to_owned(), full: full.to_owned() }
}

fn named(path: &Path, pattern: Option<&str>) -> Result<Candidate> {
    match (full_name(path), short_name(path, pattern)) {
        (Some(full), Some(short)) => Ok(candidate(Place::File(path.to_owned()), &short, &full)),
        (None, _) => Err(unusable("the path is not UTF-8", path).advise("rename the file")),
        (_, None) => Err(unusable("the path names no file", path)),
    }
}

/// Adds the files that `pattern` matches, in the order of their paths.
fn matches(pattern: &str, found: &mut Vec<Candidate>) -> Result<()> {
    let wrong = |message: String| Error::configuration(FINDING, message).with("path", pattern);
    let files = pattern::files(pattern)
        .map_err(|cause| wrong(format!("not a valid pattern: {cause}")))?
        .map_err(|(folder, cause)| {
            wrong(String::from("a folder cannot be read")).with("folder", folder.display()).caused_by(cause)
        })?;
    if files.is_empty() {
        return Err(wrong(String::from("no file matches the pattern"))
            .advise("check the pattern, and quote it where the shell would expand it"));
    }
    for path in &files {
        found.push(named(path, Some(pattern))?);
    }
    Ok(())
}

/// Finds out what reading the input will need to know, and that it can be read.
fn look(place: Place, name: String, reading: &Reading) -> Result<Input> {
    let shown = match &place {
        Place::StandardInput => String::from("standard input"),
        Place::Bundled(_) => format!("bundled:{name}"),
        Place::File(path) => path.display().to_string(),
    };
    let compression = reading.compression.or_else(|| Compression::of_name(&shown));
    let format = OnceLock::new();
    if let Some(known) = reading.format.or_else(|| Format::of_source_name(&shown)) {
        let _ = format.set(known);
    }
    let mut input = Input { place, name, shown, length: None, seen: None, compression, format };
    match &input.place {
        Place::StandardInput if was_closed(Standard::Input) => {
            return Err(unusable("standard input is closed", Path::new("-"))
                .advise("give it something to read, or name a file"));
        }
        Place::StandardInput => {}
        Place::Bundled(bytes) => input.length = Some(bytes.len() as u64),
        Place::File(path) => {
            let metadata = fs::metadata(path).map_err(|cause| unreadable(path, cause))?;
            if metadata.is_dir() {
                return Err(
                    unusable("this is a folder", path).advise("name its files, for example with *.jsonl")
                );
            }
            // Opening a pipe would wait for its writer, and reading would use it up.
            if metadata.is_file() {
                input.length = Some(metadata.len());
                input.seen = Some(Seen::of(&metadata));
                let path = path.clone();
                look_inside(&mut input, &path).map_err(|cause| unreadable(&path, cause))?;
            }
        }
    }
    Ok(input)
}

fn look_inside(input: &mut Input, path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let head = read_head(&mut file)?;
    let compression = *input.compression.get_or_insert_with(|| Compression::of_bytes(&head));
    if compression == Compression::None {
        input.format.get_or_init(|| Format::of_bytes(&head));
    }
    Ok(())
}

fn unusable(message: &str, path: &Path) -> Error {
    Error::configuration(FINDING, message).with("path", path.display())
}

fn unreadable(path: &Path, cause: io::Error) -> Error {
    let (message, advice) = match cause.kind() {
        io::ErrorKind::NotFound => {
            ("there is no such file", "correct the path; a relative one begins at the working folder")
        }
        io::ErrorKind::PermissionDenied => ("the file may not be read", "check its permissions"),
        _ => ("the file cannot be read", "see the cause, or name another file"),
    };
    unusable(message, path).caused_by(cause).advise(advice)
}
