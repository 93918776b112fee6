//! What the tuner decided, and why: always in words that a report can print.

use crate::model::knobs::Knob;
use std::fmt;
use std::time::Duration;

/// Why a knob is turned, or was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The pool is saturated and the machine has room: see whether more of it is faster.
    Probe,
    /// The trial of a move showed that it pays: it stays.
    Accepted,
    /// The bottleneck is elsewhere since the move: it stays.
    Moved,
    /// The move did not do what it was made for: back to where it was.
    Revert,
    /// Another pool grows, and this one would be too small for what comes.
    Prescale,
    /// Workers have had nothing to do.
    Shrink,
    /// Batches are too small for what a batch costs beside its documents, or too large for memory.
    Batch,
    /// The CPU ceiling.
    CpuCeiling,
    /// The memory ceiling.
    MemoryCeiling,
    /// The ceiling of a GPU's memory.
    GpuCeiling,
    /// What a memory ceiling took is given back.
    MemoryFree,
    /// Too many requests fail.
    Errors,
    /// What was cut because of failures is given back.
    ErrorsGone,
}

impl Reason {
    /// The word used in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Probe => "probe",
            Reason::Accepted => "accepted",
            Reason::Moved => "bottleneck moved",
            Reason::Revert => "revert",
            Reason::Prescale => "prescale",
            Reason::Shrink => "shrink",
            Reason::Batch => "batch overhead",
            Reason::CpuCeiling => "cpu ceiling",
            Reason::MemoryCeiling => "memory ceiling",
            Reason::GpuCeiling => "gpu ceiling",
            Reason::MemoryFree => "memory free",
            Reason::Errors => "errors",
            Reason::ErrorsGone => "errors gone",
        }
    }
}

/// What held a move back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Block {
    /// A move like this was rejected, or something was cut: it is tried again after so long.
    Cooldown(Duration),
    /// One step may not go so far; it goes as far as it may.
    StepLimit,
    /// So many moves in one direction without a proof that they pay: first one evaluation without a move.
    DirectionLimit,
    /// The CPU ceiling.
    CpuCeiling,
    /// The memory ceiling.
    MemoryCeiling,
    /// The ceiling of a GPU's memory.
    GpuCeiling,
    /// Too many requests fail.
    Errors,
    /// Requests take longer than the latency target.
    Latency,
    /// The bound of the knob: the profile's, or a person's.
    Bound,
    /// The scaling policies disagree.
    NoConsensus,
    /// The goal of documents per second is reached, and more is not wanted.
    Goal,
}

impl Block {
    /// The word used in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Block::Cooldown(_) => "cooldown",
            Block::StepLimit => "step limit",
            Block::DirectionLimit => "direction limit",
            Block::CpuCeiling => "cpu ceiling",
            Block::MemoryCeiling => "memory ceiling",
            Block::GpuCeiling => "gpu ceiling",
            Block::Errors => "errors",
            Block::Latency => "latency",
            Block::Bound => "bound",
            Block::NoConsensus => "no consensus",
            Block::Goal => "goal",
        }
    }
}

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// The knob is turned from `from` to `to` now.
    Turned,
    /// The knob was turned from `from` to `to` for a trial, and stays there.
    Kept,
    /// The knob would have been turned from `from` to `to` but for this, and stays where it is.
    Blocked(Block),
}

/// The measurements of a trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// Documents per second of the saturated pool before the move.
    pub before: f64,
    /// And after it.
    pub after: f64,
    /// Standard error of the logarithm of their ratio.
    pub standard_error: f64,
    /// By how many standard errors that logarithm exceeds what the move must yield.
    pub z: f64,
    /// Windows measured after the move.
    pub windows: u32,
}

/// One turn of one knob, or the judgement of one, or one that was held back.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Which knob.
    pub knob: Knob,
    /// Its value so far.
    pub from: u64,
    /// Its new value, different from `from`: never above the bounds, and below them only where a ceiling is exceeded.
    pub to: u64,
    /// Whether it is turned.
    pub effect: Effect,
    /// Why.
    pub reason: Reason,
    /// The reason in words, with the figures that it rests on.
    pub because: String,
    /// The probability, as far as the tuner knows, that the hypothesis behind the decision holds; absent where a limit acts and nothing is tested.
    pub confidence: Option<f64>,
    /// The measurements, where a trial was made.
    pub evidence: Option<Evidence>,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { knob, from, to, reason, because, .. } = self;
        write!(f, "{knob} {from} -> {to} ({}: {because})", reason.as_str())
    }
}
