//! Documents in this process: the reference connector, and the target of the tests.
//!
//! It behaves as a Cosmos container does where it matters to an engine: documents have a key and an id, lanes have budgets in
//! request units, a lane that is asked for more says when to come back, and a lane may split while a run goes on. What
//! a real target does on a bad day it does on demand ([`MemoryStore::script`]). With a journal it outlives its process, so a
//! run against it can be killed and resumed.
//!
//! Tests make a store in Rust ([`MemoryStore::new`]); settings name one (`memory:NAME?lanes=4`), and equal names mean
//! the same store for as long as the process lives.

mod budget;
mod contents;
mod faults;
mod journal;
mod lane;
mod sink;
mod source;
mod store;
#[cfg(test)]
mod tests;

pub use contents::{Applied, History};
pub use faults::{Effect, Fault, When};
pub use lane::Ledger;
pub use sink::MemorySink;
pub use source::MemorySource;
pub use store::MemoryStore;

use crate::connector::registry::Connector;
use crate::connector::sink::Sink;
use crate::connector::source::Source;
use crate::error::ErrorKind;
use crate::model::settings::Section;
use crate::model::units::MIB;
use std::path::PathBuf;
use std::time::Duration;

/// The line in the registry.
pub const CONNECTOR: Connector = Connector {
    name: "memory",
    about: "documents in this process, with budgets, latency and faults on demand: for trials and tests",
    location: "name",
    source_settings: &[
        ("name", "the store"),
        ("journal", "file that holds what the store accepted"),
        ("id_field", "field that holds the id"),
        ("key_field", "field that holds the key (default: the id)"),
    ],
    target_settings: &[
        ("name", "the store"),
        ("journal", "file to which every accepted request is appended; makes the target resumable"),
        ("id_field", "field that holds the id"),
        ("key_field", "field that holds the key (default: the id)"),
        ("lane_field", "field that names the lane by its number (default: a hash of the key)"),
        ("lanes", "lanes at the start"),
        ("ru_per_second", "budget of each lane in request units per second; 0 is unlimited"),
        ("ru_per_document", "price of a document in request units"),
        ("latency", "milliseconds until a request is answered"),
        ("jitter", "milliseconds more, at random between none and all of them"),
        ("request_documents", "most documents in a request"),
        ("request_bytes", "most bytes in a request"),
        ("fail_every", "each n-th request fails before it is applied; 0 is never"),
        ("lose_every", "each n-th request is applied and its answer lost; 0 is never"),
    ],
    source: Some(source_from_settings),
    sink: Some(sink_from_settings),
};

/// What a store is made with.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Its name; a store without one is known only to its owner.
    pub name: String,
    /// Where accepted requests are written.
    pub journal: Option<PathBuf>,
    /// The field that holds the id.
    pub id_field: String,
    /// The field that holds the key; `None` is the id.
    pub key_field: Option<String>,
    /// The field that names the lane by its number; `None` is a hash of the key.
    pub lane_field: Option<String>,
    /// Lanes at the start.
    pub lanes: u32,
    /// Budget of each lane; 0 is unlimited.
    pub request_units_per_second: f64,
    /// Price of a document.
    pub request_units_per_document: f64,
    /// Time until a request is answered.
    pub latency: Duration,
    /// More time, at random between none and all of it.
    pub jitter: Duration,
    /// Most documents in a request.
    pub request_documents: usize,
    /// Most bytes in a request.
    pub request_bytes: usize,
    /// Notes every write of every document ([`MemoryStore::history`]).
    pub record_order: bool,
    /// A later run finds what this one left. Settings say so only of a store with a journal.
    pub resumable: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: String::new(),
            journal: None,
            id_field: "id".to_owned(),
            key_field: None,
            lane_field: None,
            lanes: 1,
            request_units_per_second: 0.0,
            request_units_per_document: 1.0,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            // The limits of a Cosmos batch: 100 documents, 2 MiB.
            request_documents: 100,
            request_bytes: 2 * MIB as usize,
            record_order: false,
            resumable: true,
        }
    }
}

fn source_from_settings(section: &mut Section) -> Option<Box<dyn Source>> {
    let options = store_settings(section);
    let store = MemoryStore::find(&options.name).or_else(|| MemoryStore::named(options))?;
    Some(Box::new(store.source()))
}

fn sink_from_settings(section: &mut Section) -> Option<Box<dyn Sink>> {
    let built_in = Options::default();
    let milliseconds = |section: &mut Section, name| {
        // An hour is longer than any trial waits.
        Duration::from_millis(section.count_or(name, 0..=3_600_000, 0))
    };
    let options = Options {
        lane_field: section.text("lane_field"),
        // More lanes than any container has partitions.
        lanes: section.count_or("lanes", 1..=10_000, 1) as u32,
        request_units_per_second: section.number_or("ru_per_second", 0.0..=1e9, 0.0),
        request_units_per_document: section.number_or("ru_per_document", 0.0..=1e6, 1.0),
        latency: milliseconds(section, "latency"),
        jitter: milliseconds(section, "jitter"),
        request_documents: section.count_or("request_documents", 1..=1_000_000, 100) as usize,
        request_bytes: section.bytes_or("request_bytes", 1..=1024 * MIB, built_in.request_bytes as u64)
            as usize,
        ..store_settings(section)
    };
    let fail_every = section.count_or("fail_every", 0..=u64::MAX, 0);
    let lose_every = section.count_or("lose_every", 0..=u64::MAX, 0);
    let Some(store) = MemoryStore::named(options) else {
        section.problem("name", "a store of this name is in use with other settings");
        return None;
    };
    if fail_every > 0 {
        store.script(None, When::Every(fail_every), Effect::FailBefore(ErrorKind::Unavailable));
    }
    if lose_every > 0 {
        store.script(None, When::Every(lose_every), Effect::FailAfter(ErrorKind::Timeout));
    }
    Some(Box::new(store.sink()))
}

/// What source and target have in common.
fn store_settings(section: &mut Section) -> Options {
    let journal = section.text("journal").map(PathBuf::from);
    Options {
        name: section.text_or("name", "memory"),
        resumable: journal.is_some(),
        journal,
        id_field: section.text_or("id_field", "id"),
        key_field: section.text("key_field"),
        ..Options::default()
    }
}
