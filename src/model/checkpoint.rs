//! A checkpoint says which part of a source is finished: durable in the target, dropped by a step, or rejected with its
//! dead letter on disk.
//!
//! Requests are answered out of order, so per partition it holds a low-water mark (everything before it is
//! finished) and a bounded number of finished intervals above the mark:
//!
//! ```text
//!   start ######## low ......[####]....[##]........ end      # finished   . to be read on resume
//! ```
//!
//! Counters and the length of the reject file belong to exactly the finished part, so a resumed run continues
//! both as if nothing had happened.

use crate::model::partition::{PartitionId, Position, Stretch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The format written by this build. A reader refuses a larger number.
pub const CHECKPOINT_VERSION: u32 = 1;

/// What must be the same when a job is resumed. Each is a short text that can be shown and compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFingerprint {
    /// The source: connector, location, and what tells a changed one (of a file its length and a hash of its first and last 64 KiB).
    pub source: Vec<String>,
    /// What decides what a document becomes.
    #[serde(default)]
    pub rules: Rules,
    /// The target's identity (a database's own uuid, a file's path).
    pub target: String,
    /// Where the target is, for a person ([`Sink::place`](crate::connector::Sink::place)); empty where it is nowhere. Not compared by
    /// itself: a database that was moved keeps its identity.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
}

/// The settings that decide what a document becomes, apart, so that the one that has changed can be named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The id rule.
    pub id: String,
    /// The steps.
    pub steps: String,
    /// `max_document`: larger documents are rejected.
    pub max_document: u64,
    /// How the target lays documents out ([`Sink::layout`](crate::connector::Sink::layout)).
    pub layout: String,
}

/// How many documents met which end. Sums over the finished part of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Documents read, rejected ones included.
    pub read: u64,
    /// Bytes of these documents.
    pub bytes_read: u64,
    /// Documents that a step chose not to keep.
    pub dropped: u64,
    /// Documents that reader, step or target refused.
    pub rejected: u64,
    /// Documents written.
    pub written: u64,
    /// Bytes of the documents written.
    pub bytes_written: u64,
    /// Documents not written because a later one with the same key and id was there.
    pub superseded: u64,
    /// Documents that hold a key twice at the top level (the last one counts).
    pub duplicate_keys: u64,
}

impl Counters {
    /// Adds `other` to these.
    pub fn add(&mut self, other: &Counters) {
        self.read += other.read;
        self.bytes_read += other.bytes_read;
        self.dropped += other.dropped;
        self.rejected += other.rejected;
        self.written += other.written;
        self.bytes_written += other.bytes_written;
        self.superseded += other.superseded;
        self.duplicate_keys += other.duplicate_keys;
    }

    /// Documents that have met their end.
    pub fn accounted(&self) -> u64 {
        self.dropped + self.rejected + self.written + self.superseded
    }
}

/// How far one partition is finished.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Everything before this place is finished. `None`: nothing yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<Position>,
    /// Finished stretches above the mark, in order, not touching each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<(Position, Position)>,
    /// The whole partition is finished.
    #[serde(default)]
    pub done: bool,
}

impl Progress {
    /// What is still to be read of a partition that begins at `start`.
    pub fn remaining(&self, start: &Position) -> Vec<Stretch> {
        if self.done {
            return Vec::new();
        }
        let mut from = self.low.clone().unwrap_or_else(|| start.clone());
        let mut stretches = Vec::with_capacity(self.intervals.len() + 1);
        for (begin, end) in &self.intervals {
            stretches.push(Stretch { from, until: Some(begin.clone()) });
            from = end.clone();
        }
        // The last interval may reach the partition's end: then only gaps before it are left.
        if from.at != Position::END.at {
            stretches.push(Stretch { from, until: None });
        }
        stretches
    }
}

/// What is known durable, and everything a later run needs to go on from there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// [`CHECKPOINT_VERSION`] of the build that wrote it.
    pub version: u32,
    /// The job's name.
    pub job: String,
    /// The run that wrote it: a run that finds another's name in its place has been fenced off.
    pub run: String,
    /// Grows with every checkpoint of the job, over all its runs.
    pub generation: u64,
    /// What must not have changed at a resume.
    pub fingerprint: JobFingerprint,
    /// The job reached its end.
    pub finished: bool,
    /// Counters of the finished part.
    pub counters: Counters,
    /// Length of the reject file that belongs to the finished part.
    pub rejects_length: u64,
    /// What the sink noted of itself when the checkpoint was taken ([`Sink::mark`](crate::connector::Sink::mark)).
    #[serde(default)]
    pub target_state: serde_json::Value,
    /// The finished part, per partition. A partition that is absent has not been begun.
    pub partitions: BTreeMap<PartitionId, Progress>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_are_the_gaps() {
        let at = |at| Position::new(at, 0);
        let progress =
            Progress { low: Some(at(10)), intervals: vec![(at(20), at(30)), (at(40), at(50))], done: false };
        let gaps: Vec<_> =
            progress.remaining(&at(0)).into_iter().map(|s| (s.from.at, s.until.map(|u| u.at))).collect();
        assert_eq!(gaps, [(10, Some(20)), (30, Some(40)), (50, None)]);
        let ended = Progress { intervals: vec![(at(20), Position::END)], ..progress.clone() };
        assert_eq!(ended.remaining(&at(0)), [Stretch { from: at(10), until: Some(at(20)) }]);
        assert_eq!(Progress::default().remaining(&at(7)), [Stretch { from: at(7), until: None }]);
        assert!(Progress { done: true, ..progress }.remaining(&at(0)).is_empty());
    }
}
