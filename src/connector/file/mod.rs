//! Files of JSON documents: lines or one array, plain or compressed, one or many, standard input and output too.
//!
//! As a source ([`source`]):
//!
//! ```text
//!   plan      paths and patterns -> inputs -> partitions        what is there
//!   streams   an input -> uncompressed bytes from a place on    how to get at it
//!   feed      bytes -> the buffer of a batch                    one copy, by the kernel
//!   split     bytes -> records (lines, elements)                where documents are
//!   cursor    all of it -> batches                              limits, positions, damage
//! ```
//!
//! As a target ([`sink`]): a [`part`] is one file being written, [`frames`] its compression, [`mark`] what a checkpoint notes of
//! it. Bytes of a target depend on the documents and the settings alone: not on requests, not on how often the job was killed.

mod cursor;
mod elements;
mod feed;
mod fingerprint;
mod format;
mod lines;
mod locate;
mod names;
mod oversize;
mod plan;
mod source;
mod split;
mod streams;

use crate::connector::file::format::{COMPRESSIONS, FORMATS};
use crate::connector::file::plan::{Given, Reading};
use crate::connector::file::source::FileSource;
use crate::connector::registry::Connector;
use crate::connector::source::Source;
use crate::model::settings::{Section, nearest};
use crate::model::units::MIB;

/// The line in the registry.
pub const CONNECTOR: Connector = Connector {
    name: "file",
    about: "JSON Lines or a JSON array, plain, gzip or zstd; one file, many, or standard input and output",
    location: "path",
    source_settings: &[
        ("path", "a path, a pattern such as data/*.jsonl, - for standard input, bundled:NAME, or a list of these"),
        ("format", "auto (by name, then by the first byte), json-lines or json-array"),
        ("compression", "auto (by name, then by the first bytes), none, gzip or zstd"),
        ("partition_bytes", "where a plain JSON Lines file is cut for parallel reading (64 MiB)"),
        ("duplicates", "unordered, or last: a file is one partition, so of equal ids the later line wins"),
    ],
    target_settings: &[
        ("path", "with an extension one file, without one a folder of parts, - for standard output"),
        ("format", "auto (.json is an array, all else lines), json-lines or json-array"),
        ("compression", "auto (by name), none, gzip or zstd"),
        ("level", "compression level (6 for gzip, 3 for zstd)"),
        ("extension", "of the parts in a folder (jsonl)"),
    ],
    source: Some(make_source),
    sink: None,
};

/// Files in the binary: the first command of a newcomer needs no data of his own.
const BUNDLED: &[(&str, &[u8])] = &[(
    "service_orders.jsonl.zst",
    include_bytes!("../../../strategies/quickstart/service_orders.jsonl.zst"),
)];

/// The bounds of `partition_bytes`. Smaller partitions than the least are all overhead; the built-in value keeps a checkpoint of a terabyte below
/// 16 000 entries and still gives sixteen readers something to do in a gigabyte.
const LEAST_PARTITION: u64 = 4 * 1024;
const PARTITION: u64 = 64 * MIB;

fn make_source(section: &mut Section) -> Option<Box<dyn Source>> {
    let paths = section.texts("path");
    if section.raw("path").is_none() {
        section.problem("path", "is missing");
    }
    let format = section.choice("format", FORMATS, "auto");
    let compression = section.choice("compression", COMPRESSIONS, "auto");
    let partition_bytes = section.bytes_or("partition_bytes", LEAST_PARTITION..=u64::MAX, PARTITION);
    let is_ordered = section.choice("duplicates", &[("unordered", false), ("last", true)], "unordered");
    let given: Option<Vec<Given>> = paths.into_iter().map(|path| given(section, path)).collect();
    let reading = Reading {
        given: given.filter(|given| !given.is_empty())?,
        format: format?,
        compression: compression?,
        partition_bytes: (!is_ordered?).then_some(partition_bytes),
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
    section.problem("path", format!("names the bundled file {wanted:?}, there are {}{hint}", names.join(", ")));
    None
}
