//! The knobs of a run, and the bounds between which the tuner may turn them.

use std::fmt;

/// What the tuner can turn while a run goes on. One value of each is in force at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knobs {
    /// Partitions read at the same time.
    pub readers: usize,
    /// Batches in transform at the same time.
    pub transformers: usize,
    /// Requests sent and not yet answered, over all lanes.
    pub requests_in_flight: usize,
    /// Documents after which a batch ends.
    pub batch_documents: usize,
    /// Documents after which a request ends; the sink's own limit holds as well.
    pub request_documents: usize,
    /// Bytes of documents that may be in memory at once.
    pub credit_bytes: u64,
}

/// Batches that may wait for each transformer. With two none of them runs dry, and what was read is still in the processor's cache when its turn
/// comes; whatever waits longer does nothing but hold memory.
const AHEAD: usize = 2;

impl Knobs {
    /// Batches that may wait for the transformers: with so many of them nothing is read.
    pub fn batches_ahead(&self) -> usize {
        AHEAD * self.transformers
    }

    /// Batches that are in memory at once: one a reader, one and a half a transformer (its input and, half of the time, its output), four queued for
    /// the lanes.
    pub fn slots(&self) -> f64 {
        self.readers as f64 + 1.5 * self.transformers as f64 + 4.0
    }

    /// The bytes after which a batch ends, so that every pool can hold its batches within the credits.
    pub fn batch_bytes(&self) -> usize {
        // Places in a buffer are 32 bits wide; a sixteenth leaves room for what steps add.
        ((self.credit_bytes as f64 / self.slots()) as usize).clamp(1, 256 << 20)
    }

    /// The value of one knob.
    pub fn get(&self, knob: Knob) -> u64 {
        match knob {
            Knob::Readers => self.readers as u64,
            Knob::Transformers => self.transformers as u64,
            Knob::RequestsInFlight => self.requests_in_flight as u64,
            Knob::BatchDocuments => self.batch_documents as u64,
            Knob::RequestDocuments => self.request_documents as u64,
            Knob::CreditBytes => self.credit_bytes,
        }
    }

    /// Sets one knob.
    pub fn set(&mut self, knob: Knob, value: u64) {
        match knob {
            Knob::Readers => self.readers = value as usize,
            Knob::Transformers => self.transformers = value as usize,
            Knob::RequestsInFlight => self.requests_in_flight = value as usize,
            Knob::BatchDocuments => self.batch_documents = value as usize,
            Knob::RequestDocuments => self.request_documents = value as usize,
            Knob::CreditBytes => self.credit_bytes = value,
        }
    }
}

/// Names one knob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Knob {
    /// [`Knobs::readers`]
    Readers,
    /// [`Knobs::transformers`]
    Transformers,
    /// [`Knobs::requests_in_flight`]
    RequestsInFlight,
    /// [`Knobs::batch_documents`]
    BatchDocuments,
    /// [`Knobs::request_documents`]
    RequestDocuments,
    /// [`Knobs::credit_bytes`]
    CreditBytes,
}

impl Knob {
    /// Every knob, in the order of the data flow.
    pub const ALL: [Knob; 6] = [
        Knob::Readers,
        Knob::Transformers,
        Knob::RequestsInFlight,
        Knob::BatchDocuments,
        Knob::RequestDocuments,
        Knob::CreditBytes,
    ];

    /// The word used in events, messages and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Knob::Readers => "readers",
            Knob::Transformers => "transformers",
            Knob::RequestsInFlight => "requests_in_flight",
            Knob::BatchDocuments => "batch_documents",
            Knob::RequestDocuments => "request_documents",
            Knob::CreditBytes => "credit_bytes",
        }
    }
}

impl fmt::Display for Knob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the machine shall not be used beyond, as shares of what this process may use (0 to 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceilings {
    /// CPU: what the tuner works towards; 1.5 points above it a pool is cut.
    pub cpu: f64,
    /// CPU: above this no pool is grown.
    pub cpu_grow_below: f64,
    /// CPU: under this idle workers may be given back.
    pub cpu_shrink_below: f64,
    /// Memory: what it is kept below; where it would come nearer than two and a half points the credits are cut.
    pub memory: f64,
    /// Memory: above this no pool is grown.
    pub memory_grow_below: f64,
    /// Memory: under this idle workers may be given back.
    pub memory_shrink_below: f64,
    /// Memory of the fullest GPU: what the tuner works towards and does not pass.
    pub gpu_memory: f64,
    /// Share of failed requests above which requests in flight are cut.
    pub errors: f64,
}

/// The least and the most of every knob. A knob whose two values are equal is fixed: the tuner leaves it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The least.
    pub least: Knobs,
    /// The most.
    pub most: Knobs,
}

impl Bounds {
    /// The value nearest to `wanted` that the bounds allow.
    pub fn clamp(&self, knob: Knob, wanted: u64) -> u64 {
        wanted.clamp(self.least.get(knob), self.most.get(knob).max(self.least.get(knob)))
    }
}
