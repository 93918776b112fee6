//! What the store holds: the latest version of each (key, id), and what is noted of how it got there.

use crate::connector::memory::journal::{self, Entry, Journal};
use crate::error::Result;
use crate::model::document::Operation;
use crate::model::json;
use crate::model::partition::PartitionIndex;
use crate::model::request::LaneId;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// Tells documents apart: the key's raw JSON text, empty where the id is the key, and the id's characters.
pub(super) type Identity = (Box<[u8]>, Box<str>);

/// A document as the store holds it.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) lane: LaneId,
    pub(super) sequence: u64,
    pub(super) bytes: Arc<[u8]>,
}

/// One write of a document, for tests of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Grows with every document that the store accepts.
    pub sequence: u64,
    /// The lane that took it.
    pub lane: LaneId,
    /// Its source partition.
    pub partition: PartitionIndex,
    /// Its place there.
    pub at: u64,
}

/// All writes of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The raw JSON text of its key; empty where the id is the key.
    pub key: String,
    /// Its id.
    pub id: String,
    /// In the order in which they were applied.
    pub applied: Vec<Applied>,
}

/// A document that has been accepted and is about to be applied.
pub(super) struct Accepted<'a> {
    pub(super) identity: Identity,
    pub(super) document: &'a [u8],
    pub(super) operation: Operation,
    pub(super) partition: PartitionIndex,
    pub(super) at: u64,
}

/// What the store holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    versions: HashMap<Identity, Version>,
    history: BTreeMap<Identity, Vec<Applied>>,
    sequence: u64,
    journal: Option<Journal>,
    replayed: bool,
}

impl Contents {
    /// Brings in what the journal holds, without changing the journal.
    pub(super) fn replay(&mut self, path: &Path, key_field: Option<&str>) -> Result<()> {
        if !self.replayed {
            journal::replay(path, |entry| self.bring_back(&entry, key_field))?;
            self.replayed = true;
        }
        Ok(())
    }

    /// Opens the journal for writing.
    pub(super) fn open_journal(&mut self, path: &Path, key_field: Option<&str>) -> Result<()> {
        self.replay(path, key_field)?;
        if self.journal.is_none() {
            self.journal = Some(Journal::open(path, |_| ())?);
        }
        Ok(())
    }

    /// Writes `accepted` to the journal and applies it; or, if the journal fails, does neither.
    pub(super) fn apply(
        &mut self,
        lane: LaneId,
        accepted: Vec<Accepted<'_>>,
        request_units: f64,
        record_order: bool,
    ) -> Result<()> {
        if let Some(journal) = &mut self.journal {
            let mut lines = Vec::new();
            for (sequence, one) in (self.sequence..).zip(&accepted) {
                let id = &one.identity.1;
                let (operation, document) = (one.operation, one.document);
                Entry { sequence, lane, id, request_units, operation, document }.render(&mut lines);
            }
            journal.append(&lines)?;
        }
        for one in accepted {
            let sequence = self.sequence;
            if record_order {
                let applied = Applied { sequence, lane, partition: one.partition, at: one.at };
                self.history.entry(one.identity.clone()).or_default().push(applied);
            }
            self.put(one.identity, one.operation, Version { lane, sequence, bytes: one.document.into() });
        }
        Ok(())
    }

    /// The latest version of a document.
    pub(super) fn held(&self, identity: &Identity) -> Option<&[u8]> {
        self.versions.get(identity).map(|version| &*version.bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// Grows with every document accepted.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The latest versions in the order of their arrival.
    pub(super) fn in_order(&self) -> Vec<Version> {
        let mut versions: Vec<Version> = self.versions.values().cloned().collect();
        versions.sort_unstable_by_key(|version| version.sequence);
        versions
    }

    pub(super) fn history(&self) -> Vec<History> {
        let history = self.history.iter().map(|((key, id), applied)| History {
            key: String::from_utf8_lossy(key).into_owned(),
            id: id.to_string(),
            applied: applied.clone(),
        });
        history.collect()
    }

    fn bring_back(&mut self, entry: &Entry<'_>, key_field: Option<&str>) {
        let key = key_field.and_then(|name| json::field(entry.document, name)).unwrap_or_default();
        let version = Version { lane: entry.lane, sequence: entry.sequence, bytes: entry.document.into() };
        self.put((key.into(), entry.id.into()), entry.operation, version);
    }

    fn put(&mut self, identity: Identity, operation: Operation, version: Version) {
        self.sequence = version.sequence + 1;
        match operation {
            Operation::Upsert => drop(self.versions.insert(identity, version)),
            Operation::Delete => drop(self.versions.remove(&identity)),
        }
    }
}
