//! A sample is one window of measurements: all the tuner knows about the world.

use crate::model::event::Quantiles;
use std::ops::{AddAssign, MulAssign};
use std::time::Duration;

/// Pieces of work that a pool finished: a batch read, a batch transformed, a request answered. Sums, so that windows add up and means, variances and the
/// fixed cost of a piece follow from them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// How many.
    pub pieces: f64,
    /// Documents in them.
    pub documents: f64,
    /// The square of the documents of each, summed.
    pub documents_squared: f64,
    /// Seconds that they took, each for itself.
    pub seconds: f64,
    /// The square of the seconds of each, summed.
    pub seconds_squared: f64,
    /// The seconds of each times its documents, summed.
    pub documents_seconds: f64,
}

impl Work {
    /// One piece.
    pub fn of(documents: f64, seconds: f64) -> Self {
        Self {
            pieces: 1.0,
            documents,
            documents_squared: documents * documents,
            seconds,
            seconds_squared: seconds * seconds,
            documents_seconds: documents * seconds,
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.pieces += other.pieces;
        self.documents += other.documents;
        self.documents_squared += other.documents_squared;
        self.seconds += other.seconds;
        self.seconds_squared += other.seconds_squared;
        self.documents_seconds += other.documents_seconds;
    }
}

impl MulAssign<f64> for Work {
    /// So that old pieces weigh less.
    fn mul_assign(&mut self, share: f64) {
        self.pieces *= share;
        self.documents *= share;
        self.documents_squared *= share;
        self.seconds *= share;
        self.seconds_squared *= share;
        self.documents_seconds *= share;
    }
}

/// How one pool spent a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolUse {
    /// Time that its workers were busy, as a share of what the pool's size allows: 1 is saturated. Work that is still going on counts up to now.
    pub busy: f64,
    /// Time that its workers waited to hand on what they had, or for credits, as a share of what the pool's size allows.
    pub blocked: f64,
    /// Documents on which it made progress, per second; those of a piece that is still going on count as far as it has come.
    pub documents_per_second: f64,
    /// The same in bytes.
    pub bytes_per_second: f64,
    /// The pieces that it finished in the window.
    pub work: Work,
}

/// One graphics processor. Shares are between 0 and 1; what the driver does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuUse {
    /// Its name, and its place where there are several of one name.
    pub name: String,
    /// Bytes of its memory in use, by anyone.
    pub used: Option<u64>,
    /// Bytes of its memory.
    pub total: Option<u64>,
    /// Share of the time that it was computing.
    pub busy: Option<f64>,
}

impl GpuUse {
    /// Share of its memory in use.
    pub fn memory(&self) -> Option<f64> {
        let (used, total) = (self.used?, self.total.filter(|total| *total > 0)?);
        Some(used as f64 / total as f64)
    }
}

/// One lane of the target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LaneUse {
    /// Request units that it was charged, per second.
    pub request_units_per_second: f64,
    /// Request units per second that it is believed to have.
    pub budget: Option<f64>,
}

/// Share of the time that someone on this machine, or in this control group, waited for a resource (pressure stall information, `some avg10`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// For a core.
    pub cpu: f64,
    /// For memory.
    pub memory: f64,
    /// For a disk.
    pub io: f64,
}

/// Bytes per second over the machine's network interfaces, loopback aside.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NetworkUse {
    /// Received.
    pub received: f64,
    /// Sent.
    pub sent: f64,
}

/// Connections to the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Open now.
    pub open: u64,
    /// Carrying a request now.
    pub in_use: u64,
}

/// One window of measurements. Shares are between 0 and 1; what could not be measured is absent.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// The window's latency of requests.
    pub latency: Quantiles,
    /// Documents that are transformed and wait for a request, at the window's end.
    pub queued_documents: u64,
    /// Documents in transform at the window's end.
    pub transforming_documents: u64,
    /// The most documents that were in transform at once in the window.
    pub most_transforming_documents: u64,
    /// Share of requests that were throttled, wholly or in part.
    pub throttled: f64,
    /// Share of requests that failed and will be or were sent again.
    pub failed: f64,
    /// Requests that were answered or failed in the window.
    pub answers: u64,
    /// Request units per second.
    pub request_units_per_second: f64,
    /// The lanes of the target that counts request units, in their order.
    pub lanes: Vec<LaneUse>,
    /// Connections to the target, where it has any.
    pub connections: Option<Connections>,
    /// Share of the credits in use at the window's end.
    pub credits_used: f64,
    /// Bytes of credits in use at the window's end.
    pub credit_bytes_used: u64,
    /// Share of the window in which a reader had to wait for credits.
    pub credits_short: f64,
    /// Share of the documents that wait for a request whose lane waits for the target's leave, averaged over the window: windows of a target and of the tuner are a
    /// second each, and the state at one moment of it would say the same every time.
    pub lanes_gated: f64,
    /// This process's CPU time as a share of the cores that it may use.
    pub cpu: f64,
    /// What others take of the cores that this process may use, as a share of them.
    pub cpu_others: Option<f64>,
    /// This process's resident memory as a share of the memory that it may use, or that of its control group where that is fuller. Absent: it could not be measured.
    pub memory: Option<f64>,
    /// This process's resident memory in bytes.
    pub resident_bytes: u64,
    /// The memory that this process may use, in bytes.
    pub memory_limit: u64,
    /// Pressure stall information.
    pub pressure: Option<Pressure>,
    /// Network traffic of the machine.
    pub network: Option<NetworkUse>,
    /// Graphics processors that this process may use.
    pub gpus: Vec<GpuUse>,
    /// Out of memory on a GPU: so many batches failed for want of it in the window.
    pub gpu_out_of_memory: u64,
    /// Partitions that are not read to their end: more readers than these have nothing to do.
    pub unfinished_partitions: usize,
}

impl Sample {
    /// Memory of the fullest GPU.
    pub fn gpu_memory(&self) -> Option<f64> {
        self.gpus.iter().filter_map(GpuUse::memory).reduce(f64::max)
    }
}
