//! Files of JSON documents: lines or one array, plain or compressed, one or many, standard input and output too.
//!
//! As a source:
//!
//! ```text
//!   pattern   a pattern -> files                                what matches
//!   plan      paths and patterns -> inputs -> partitions        what is there
//!   streams   an input -> uncompressed bytes from a place on    how to get at it
//!   unpack    compressed bytes -> uncompressed ones             what of a damaged stream can be had
//!   feed      bytes -> the buffer of a batch                    one copy, by the kernel
//!   seen      an input, later                                   is it still the one that was looked at
//!   split     bytes -> records (lines, elements)                where documents are
//!   cursor    all of it -> batches                              limits, positions, damage
//! ```
//!
//! and as a target:
//!
//! ```text
//!   target    a path -> files                                   where they are, and may they be written
//!   lock      a target -> this run's alone                      nobody else writes to it
//!   prepare   files and the last mark -> where the run begins   whose they are
//!   sheet     documents -> bytes (frames, where compressed)     how they are laid out
//!   part      one file: append, accept, sync                    what of it counts
//!   mark      a part -> a checkpoint's note, and back           how to return to it
//! ```
//!
//! The bytes of a target depend on the documents and the settings alone: not on requests, not on how often the job was killed.

mod cursor;
mod elements;
mod feed;
mod fingerprint;
mod format;
mod frames;
mod lines;
mod locate;
mod lock;
mod mark;
mod names;
mod oversize;
mod part;
mod pattern;
mod plan;
mod prepare;
#[cfg(test)]
mod reading_tests;
mod seen;
mod sheet;
mod sink;
mod source;
mod split;
mod streams;
mod target;
mod unpack;
#[cfg(test)]
mod writing_tests;

use crate::connector::file::format::{COMPRESSIONS, Compression, FORMATS, Format};
use crate::connector::file::plan::{Cut, Given, Reading};
use crate::connector::file::sheet::Layout;
use crate::connector::file::sink::FileSink;
use crate::connector::file::source::FileSource;
use crate::connector::file::target::Target;
use crate::connector::registry::Connector;
use crate::connector::sink::Sink;
use crate::connector::source::Source;
use crate::model::settings::{Section, nearest};

/// The line in the registry.
pub const CONNECTOR: Connector = Connector {
    name: "file",
    about: "JSON Lines or a JSON array, plain, gzip or zstd; one file, many, or standard input and output",
    location: "path",
    source_settings: &[
        (
            "path",
            "a path, a pattern such as data/*.jsonl, - for standard input, bundled:NAME, or a list of these",
        ),
        ("format", "auto (by name, then by the first byte), json-lines or json-array"),
        ("compression", "auto (by name, then by the first bytes), none, gzip or zstd"),
        (
            "partition_bytes",
            "where a plain JSON Lines file is cut for parallel reading (a 64th of it, 1 to 64 MiB)",
        ),
        (
            "duplicates",
            "unordered, or last: files are read whole and one after the other, so of equal ids the later one wins",
        ),
    ],
    target_settings: &[
        ("path", "with an extension one file, without one a folder of parts, - for standard output"),
        ("format", "auto (.json is an array, all else lines), json-lines or json-array"),
        ("compression", "auto (by name), none, gzip or zstd"),
        ("level", "compression level (6 for gzip, 3 for zstd)"),
        ("extension", "of the parts in a folder (jsonl)"),
    ],
    source: Some(make_source),
    sink: Some(make_sink),
};

/// Files in the binary: the first command of a newcomer needs no data of his own.
const BUNDLED: &[(&str, &[u8])] = &[(
    "service_orders.jsonl.zst",
    include_bytes!("../../../strategies/quickstart/service_orders.jsonl.zst"),
)];

/// Smaller partitions than this are all overhead.
const LEAST_PARTITION: u64 = 4 * 1024;

fn make_source(section: &mut Section) -> Option<Box<dyn Source>> {
    let paths = section.texts("path");
    if section.raw("path").is_none() {
        section.problem("path", "is missing");
    }
    let format = section.choice("format", FORMATS, "auto");
    let compression = section.choice("compression", COMPRESSIONS, "auto");
    let given_bytes = section.raw("partition_bytes").is_some();
    let cut = match given_bytes {
        true => Cut::Every(section.bytes_or("partition_bytes", LEAST_PARTITION..=u64::MAX, LEAST_PARTITION)),
        false => Cut::BySize,
    };
    let is_ordered = section.choice("duplicates", &[("unordered", false), ("last", true)], "unordered");
    let given: Option<Vec<Given>> = paths.into_iter().map(|path| given(section, path)).collect();
    let reading = Reading {
        given: given.filter(|given| !given.is_empty())?,
        format: format?,
        compression: compression?,
        cut: if is_ordered? { Cut::Never } else { cut },
        is_ordered: is_ordered?,
    };
    Some(Box::new(FileSource::new(reading)))
}

fn given(section: &mut Section, path: String) -> Option<Given> {
    if path == "-" {
        return Some(Given::StandardInput);
    }
    let Some(wanted) = path.strip_prefix("bundled:") else { return Some(Given::Path(path)) };
    if let Some((name, bytes)) = BUNDLED.iter().find(|(name, _)| *name == wanted) {
        return Some(Given::Bundled(name, bytes));
    }
    let names: Vec<&str> = BUNDLED.iter().map(|(name, _)| *name).collect();
    let hint = nearest(wanted, &names).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    section
        .problem("path", format!("names the bundled file {wanted:?}, there are {}{hint}", names.join(", ")));
    None
}

fn make_sink(section: &mut Section) -> Option<Box<dyn Sink>> {
    let path = section.text_required("path");
    let format = section.choice("format", FORMATS, "auto");
    let compression = section.choice("compression", COMPRESSIONS, "auto");
    let extension = section.text_or("extension", "jsonl");
    let target = path.map(|path| Target::new(&path, extension.trim_start_matches('.')));
    let name = target.as_ref().map(Target::file_name).unwrap_or_default();
    let compression =
        compression.map(|said| said.or_else(|| Compression::of_name(&name)).unwrap_or(Compression::None));
    let level = match compression {
        // The levels that both tools use when nothing is said; zstd's above 19 need hundreds of megabytes.
        Some(Compression::Gzip) => section.count_or("level", 1..=9, 6),
        Some(Compression::Zstd) => section.count_or("level", 1..=19, 3),
        _ => {
            if section.raw("level").is_some() && compression.is_some() {
                section.problem("level", "means nothing without compression");
            }
            0
        }
    };
    let layout = Layout {
        format: format?.unwrap_or_else(|| Format::of_target_name(&name)),
        compression: compression?,
        level: level as u32,
    };
    Some(Box::new(FileSink::new(target?, layout)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::{Origin, Setting, Value};

    fn section(entries: &[(&str, &str)]) -> Section {
        let setting = |text: &str| Setting { value: Value::Text(text.to_owned()), origin: Origin::BuiltIn };
        let entries = entries.iter().map(|(name, text)| ((*name).to_owned(), setting(text))).collect();
        Section::new("x", Origin::BuiltIn, entries)
    }

    fn problems(section: Section) -> Vec<String> {
        section.finish().1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn wrong_settings_are_told() {
        let mut wrong = section(&[("path", "bundled:service_order.jsonl.zst"), ("partition_bytes", "1 KiB")]);
        assert!(make_source(&mut wrong).is_none());
        let found = problems(wrong);
        assert!(found[0].starts_with("x.partition_bytes: must be a number of bytes from 4096"), "{found:?}");
        assert!(found[1].ends_with("did you mean \"service_orders.jsonl.zst\"?"), "{found:?}");
        let mut wrong = section(&[("path", "a.jsonl"), ("level", "3")]);
        make_sink(&mut wrong);
        assert_eq!(problems(wrong), ["x.level: means nothing without compression"]);
        let mut empty = section(&[]);
        assert!(make_source(&mut empty).is_none() && make_sink(&mut empty).is_none());
        assert_eq!(problems(empty), ["x.path: is missing", "x.path: is missing"]);
    }

    #[test]
    fn every_setting_that_is_read_is_listed() {
        let mut source = section(&[("path", "a.jsonl"), ("no", "1")]);
        assert!(make_source(&mut source).is_some());
        let mut target = section(&[("path", "out"), ("extension", ".json.gz"), ("no", "1")]);
        assert!(make_sink(&mut target).is_some());
        for (section, listed) in [(source, CONNECTOR.source_settings), (target, CONNECTOR.target_settings)] {
            let unknown = problems(section).remove(0);
            let mut names: Vec<&str> = listed.iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            let expected = format!("x.no: unknown setting; allowed are {}", names.join(", "));
            assert!(unknown == expected || unknown.contains("did you mean"), "{unknown}");
        }
    }
}
