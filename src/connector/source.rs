//! The contract of a source.
//!
//! A source is cut into partitions that can be read on their own and in parallel. What a checkpoint names must be stable: for
//! an unchanged source, [`Source::partitions`] returns the same list in the same order on every machine and in every run, and
//! a [`Position`](crate::model::partition::Position) stored by one run is understood by the next.

use crate::error::Result;
use crate::model::BoxFuture;
use crate::model::batch::{BatchLimit, Next};
use crate::model::partition::{Partition, Stretch};

/// What a source can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceCapabilities {
    /// Can a later run read on from a stored position? Standard input cannot.
    pub resumable: bool,
    /// Does the order of partitions count? Then one is opened only when everything of those before it is finished, so that of
    /// equal ids the later in source order wins over the whole source, whatever the sink.
    pub ordered: bool,
}

/// Where documents come from. Shared by all readers; every method may be called from many tasks at once.
pub trait Source: Send + Sync {
    /// What this source can do.
    fn capabilities(&self) -> SourceCapabilities;

    /// Looks whether the source is there and readable, and returns what tells an unchanged source from a changed one, one
    /// short line a thing (a file, a table). Called once, before anything else and before the target is touched; it reads
    /// no more than it must. A missing or unreadable source is [`ErrorKind::Configuration`](crate::error::ErrorKind::Configuration).
    fn check(&self) -> BoxFuture<'_, Result<Vec<String>>>;

    /// The partitions, in source order. May be empty.
    fn partitions(&self) -> BoxFuture<'_, Result<Vec<Partition>>>;

    /// Opens a stretch of a partition for reading. Several stretches of one partition may be open at once.
    fn open<'a>(
        &'a self,
        partition: &'a Partition,
        stretch: Stretch,
    ) -> BoxFuture<'a, Result<Box<dyn Reader>>>;

    /// Whether the target at that place ([`Sink::place`](crate::connector::Sink::place)), with that identity
    /// ([`Sink::identity`](crate::connector::Sink::identity), empty where it does not exist yet), is what this source reads, also where no run has
    /// ever written to it. Called after `check`. A run that would write onto what it reads is refused.
    fn is_target(&self, place: &str, identity: &str) -> bool {
        let _ = (place, identity);
        false
    }

    /// Names a record for a person (`orders.jsonl, line 12, byte 3401`). `at` is its place, `ordinal` the records before it in the
    /// partition. Called for rejects only; may be slow the first time.
    fn locate(&self, partition: &Partition, at: u64, ordinal: u64) -> String;

    /// The id that a document gets from its place when the strategy says `id.from = "position"`: equal in every run, unequal for
    /// any two records of the source, and free of `/ \ ? #` and control characters. Written to `out`, which the caller cleared. On the hot path.
    fn position_id(&self, partition: &Partition, at: u64, out: &mut String);
}

/// An open stretch of a partition. Used by one task at a time.
pub trait Reader: Send {
    /// Reads on. Every document of the stretch is returned exactly once and in order; reading the same stretch again returns
    /// the same documents with the same places, whatever the limits were. After [`Next::End`] it is not called again.
    ///
    /// A batch's `to` is a place at which a later [`Source::open`] may begin. Documents need not be valid JSON; damage that
    /// makes it impossible to go on is [`ErrorKind::InvalidInput`](crate::error::ErrorKind::InvalidInput), returned only after everything before it.
    fn next(&mut self, limit: BatchLimit) -> BoxFuture<'_, Result<Next>>;
}
