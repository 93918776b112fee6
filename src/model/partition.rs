//! A partition is a slice of a source that can be read on its own; a position is a place inside it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Names a partition. Stable across runs: a checkpoint holds it, so it never depends on cores or on the tuner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionId(pub String);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A partition's place in this run's list, in source order.
pub type PartitionIndex = u32;

/// A slice of a source that can be read on its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Partition {
    /// Its stable name.
    pub id: PartitionId,
    /// Where reading begins when nothing has been read yet.
    pub start: Position,
    /// Bytes to read, where the source can tell: for progress only.
    pub bytes: Option<u64>,
    /// Documents to read, where the source can tell: for progress only.
    pub documents: Option<u64>,
}

/// A place between two documents of a partition. Ordered by `at`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Of a file the byte offset in the uncompressed stream, of a table the next row id, else a running number.
    pub at: u64,
    /// Records before this place, counted from the partition's start.
    #[serde(default)]
    pub ordinal: u64,
    /// What the source needs to go on from here (a continuation token), where a number is not enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl Position {
    /// The place after a partition's last record, wherever that is.
    pub const END: Position = Position { at: u64::MAX, ordinal: 0, token: None };

    /// The place `at`, with `ordinal` records before it.
    pub fn new(at: u64, ordinal: u64) -> Self {
        Self { at, ordinal, token: None }
    }
}

/// What is to be read of a partition: from a position up to another, or to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first place to read.
    pub from: Position,
    /// The first place not to read; `None` is the partition's end.
    pub until: Option<Position>,
}
