//! How the tuner shall behave: what a profile, the environment and a person have settled, as plain data.

use crate::model::knobs::{Bounds, Ceilings};
use std::time::Duration;

/// Who proposes moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// All proposers; where they disagree, their evidence is weighed.
    #[default]
    Hybrid,
    /// The search, and pools sized by the work that comes to them.
    WorkloadBased,
    /// Transformers and batches sized by the memory of the GPU they share; the rest as they are.
    GpuMemoryBased,
    /// As hybrid, with the statistics of the profile `conservative`.
    Conservative,
    /// As hybrid, with the statistics of the profile `aggressive`.
    Aggressive,
}

impl Policy {
    /// Every policy with its name.
    pub const ALL: [(&'static str, Policy); 5] = [
        ("hybrid", Policy::Hybrid),
        ("workload-based", Policy::WorkloadBased),
        ("gpu-memory-based", Policy::GpuMemoryBased),
        ("conservative", Policy::Conservative),
        ("aggressive", Policy::Aggressive),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, policy)| *policy == self).map_or("hybrid", |(name, _)| name)
    }
}

/// What the tuner keeps to. The profiles hold these figures, each with its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// Who proposes moves.
    pub policy: Policy,
    /// The least and the most of every knob.
    pub bounds: Bounds,
    /// What the machine shall not be used beyond.
    pub ceilings: Ceilings,
    /// How sure the tuner must be that a move pays before it stays, from 0.5 to 1.
    pub confidence: f64,
    /// What one move multiplies a pool by while it is searched.
    pub search_step: f64,
    /// And once it is settled.
    pub settled_step: f64,
    /// Workers that one move may add where the factor gives fewer.
    pub step_workers: u64,
    /// What one move may multiply or divide a batch by.
    pub batch_step: f64,
    /// The share of a pool's growth that throughput must grow by for a move to pay, both as logarithms.
    pub worth: f64,
    /// Moves in one direction without proof after which an evaluation passes without one.
    pub direction_limit: u32,
    /// Weight of the newest window in the CPU and the throughput that ceilings and goals are held against.
    pub smoothing: f64,
    /// Requests whose 95th percentile is slower are not sent more at a time.
    pub latency_target: Option<Duration>,
    /// How often a report is due, and with it shrinks and re-probes.
    pub check_interval: Duration,
    /// How long a move rests when the search has come to its end, and how long a pool must have little to do before it shrinks.
    pub cooldown: Duration,
    /// Documents per second that are the goal: reported, no limit.
    pub target_docs_per_second: f64,
    /// Whether nothing grows beyond the goal.
    pub stop_at_target: bool,
}

impl Scaling {
    /// The most that one move may make of a pool of `size`.
    pub fn step_limit(&self, size: f64) -> f64 {
        (size * self.search_step).max(size + self.step_workers as f64)
    }
}
