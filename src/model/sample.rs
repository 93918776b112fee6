//! A sample is one window of measurements: all the tuner knows about the world.

use std::time::Duration;

/// How one pool spent a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolUse {
    /// Time that its workers were busy, as a share of what the pool's size allows: 1 is saturated.
    pub busy: f64,
    /// Documents that it finished, per second.
    pub documents_per_second: f64,
}

/// One window of measurements. Shares are between 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Time since the run began, at the window's end.
    pub at: Duration,
    /// The window's length.
    pub window: Duration,
    /// Documents that met their end in the window, per second.
    pub documents_per_second: f64,
    /// Bytes read, per second.
    pub bytes_per_second: f64,
    /// The readers.
    pub readers: PoolUse,
    /// The transformers.
    pub transformers: PoolUse,
    /// The requests in flight.
    pub requests: PoolUse,
    /// Share of requests that were throttled, wholly or in part.
    pub throttled: f64,
    /// Share of requests that failed and will be or were sent again.
    pub failed: f64,
    /// Share of the credits in use at the window's end.
    pub credits_used: f64,
    /// Share of the lanes with a backlog that were waiting for the target's leave at the window's end.
    pub lanes_gated: f64,
    /// This process's CPU time as a share of the cores that it may use.
    pub cpu: f64,
    /// This process's resident memory as a share of the memory that it may use.
    pub memory: f64,
    /// This process's resident memory in bytes.
    pub resident_bytes: u64,
    /// Partitions that are not read to their end: more readers than these have nothing to do.
    pub unfinished_partitions: usize,
}
