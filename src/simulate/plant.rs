//! A plant: everything outside the tuner that decides how fast documents flow, as a TOML file describes it.
//!
//! The word is control engineering's. Here it is a source, a machine with its steps, and a target. All times are in seconds, sizes in bytes, shares between 0 and 1.

use serde::Deserialize;

/// A plant.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Plant {
    /// Its name in tables.
    pub(super) name: String,
    /// What it is for, in a line.
    pub(super) about: String,
    /// How long it is played.
    #[serde(default = "Plant::seconds")]
    pub(super) seconds: u32,
    /// From when on documents count: what comes before is for finding the setting.
    #[serde(default = "Plant::counted_from")]
    pub(super) counted_from: u32,
    /// Tuners that share the target, each with a machine and a source of its own.
    #[serde(default = "Plant::one")]
    pub(super) tuners: u32,
    /// The documents.
    #[serde(default)]
    pub(super) documents: Documents,
    /// The source.
    #[serde(default)]
    pub(super) source: Source,
    /// The steps.
    #[serde(default)]
    pub(super) transform: Transform,
    /// The machine.
    #[serde(default)]
    pub(super) machine: Machine,
    /// Its GPU, on which the steps then run.
    pub(super) gpu: Option<Gpu>,
    /// The target.
    #[serde(default)]
    pub(super) target: Target,
    /// What changes while it is played, in order of time.
    #[serde(default)]
    pub(super) steps: Vec<Step>,
}

/// The documents.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Documents {
    /// Bytes of one, on average.
    pub(super) bytes: f64,
    /// The exponent of their Pareto distribution, above 1; without one all are of the same size. Cost in request units follows the size. Memory
    /// follows the average: a batch of thousands of documents differs little from another.
    pub(super) tail: Option<f64>,
}

/// The source.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Source {
    /// What a batch costs beside its documents.
    pub(super) batch_seconds: f64,
    /// What a document costs.
    pub(super) document_seconds: f64,
    /// Documents per second that all readers together get; 0 is no limit.
    pub(super) most_per_second: f64,
}

/// The steps.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Transform {
    /// What a batch costs beside its documents.
    pub(super) batch_seconds: f64,
    /// What a document costs.
    pub(super) document_seconds: f64,
    /// As many batches at a time have an engine of their own.
    pub(super) engines: f64,
    /// Contention: how much slower each batch gets with each one beside it.
    pub(super) contention: f64,
    /// Coherence: the same with each pair of them.
    pub(super) coherence: f64,
    /// Memory that a document takes meanwhile, in bytes.
    pub(super) document_memory: f64,
}

/// The machine.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Machine {
    /// Cores.
    pub(super) cores: f64,
    /// Memory.
    pub(super) memory: f64,
    /// Memory that the process takes without documents.
    pub(super) base_memory: f64,
}

/// A GPU.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Gpu {
    /// Memory.
    pub(super) memory: f64,
    /// Memory of the model.
    pub(super) model_memory: f64,
    /// Memory of a document in transform.
    pub(super) document_memory: f64,
}

/// The target.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Target {
    /// From sending a request to its answer, if nothing is in its way.
    pub(super) latency: f64,
    /// The standard deviation of that, as a share of it.
    pub(super) variation: f64,
    /// Documents per second; 0 is no limit.
    pub(super) capacity: f64,
    /// Contention: how much slower a request gets with each one beside it.
    pub(super) contention: f64,
    /// Coherence: the same with each pair of them.
    pub(super) coherence: f64,
    /// Documents in a request, at most.
    pub(super) request_documents: u32,
    /// The share of the documents that goes to each partition.
    pub(super) shares: Vec<f64>,
    /// Request units per second of a partition; 0 is no limit.
    pub(super) request_units: f64,
    /// Request units of a document.
    pub(super) document_request_units: f64,
    /// Unused request units are kept for five minutes and may be spent at up to 3 000 a second, as small partitions may.
    pub(super) burst: bool,
}

/// A change.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// When.
    pub(super) at: f64,
    /// Capacity and request units become so much of what they were at first.
    #[serde(default = "Step::unchanged")]
    pub(super) capacity: f64,
    /// Latency becomes so much of what it was at first.
    #[serde(default = "Step::unchanged")]
    pub(super) latency: f64,
    /// The share of requests that fails.
    #[serde(default)]
    pub(super) failing: f64,
    /// Memory that the process takes beside documents and what it took at first, reached gradually until the next step or within `over` seconds.
    #[serde(default)]
    pub(super) more_memory: f64,
    /// Memory of the GPU that others take, in the same way.
    #[serde(default)]
    pub(super) more_gpu_memory: f64,
    /// How gradually memory changes.
    #[serde(default)]
    pub(super) over: f64,
    /// The fullest partition splits in two, each with half of its request units.
    #[serde(default)]
    pub(super) split: bool,
}

impl Plant {
    /// With every default.
    pub(super) fn plain(name: String, about: String) -> Self {
        Self {
            name,
            about,
            seconds: Self::seconds(),
            counted_from: Self::counted_from(),
            tuners: Self::one(),
            documents: Documents::default(),
            source: Source::default(),
            transform: Transform::default(),
            machine: Machine::default(),
            gpu: None,
            target: Target::default(),
            steps: Vec::new(),
        }
    }

    fn seconds() -> u32 {
        300
    }

    fn counted_from() -> u32 {
        60
    }

    fn one() -> u32 {
        1
    }
}

impl Step {
    fn unchanged() -> f64 {
        1.0
    }

    /// What holds before the first step.
    pub(super) fn none() -> Self {
        Self {
            at: 0.0,
            capacity: 1.0,
            latency: 1.0,
            failing: 0.0,
            more_memory: 0.0,
            more_gpu_memory: 0.0,
            over: 0.0,
            split: false,
        }
    }
}

impl Default for Documents {
    fn default() -> Self {
        Self { bytes: 4_000.0, tail: None }
    }
}

impl Default for Source {
    fn default() -> Self {
        Self { batch_seconds: 0.05, document_seconds: 0.000_12, most_per_second: 0.0 }
    }
}

impl Default for Transform {
    fn default() -> Self {
        Self {
            batch_seconds: 0.05,
            document_seconds: 0.000_3,
            engines: 64.0,
            contention: 0.0,
            coherence: 0.0,
            document_memory: 8_000.0,
        }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self { cores: 16.0, memory: 16e9, base_memory: 1e9 }
    }
}

impl Default for Target {
    fn default() -> Self {
        Self {
            latency: 0.12,
            variation: 0.3,
            capacity: 0.0,
            contention: 0.0,
            coherence: 0.0,
            request_documents: 100,
            shares: vec![0.125; 8],
            request_units: 0.0,
            document_request_units: 8.0,
            burst: false,
        }
    }
}

/// A plant for a test: what it says beside its name.
#[cfg(test)]
pub(super) fn named(text: &str) -> Plant {
    toml::from_str(&format!("name = \"T\"\nabout = \"a test\"\n{text}")).unwrap()
}
