//! What the tuner decided, and why: always in words that a report can print.

use crate::model::knobs::Knob;
use std::fmt;

/// Why a knob was turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The pool is saturated and the machine has room: see whether more of it is faster.
    Probe,
    /// The move did not do what it was made for: back to where it was.
    Revert,
    /// The CPU ceiling.
    CpuCeiling,
    /// The memory ceiling.
    MemoryCeiling,
    /// What the memory ceiling took is given back.
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
            Reason::Revert => "revert",
            Reason::CpuCeiling => "cpu ceiling",
            Reason::MemoryCeiling => "memory ceiling",
            Reason::MemoryFree => "memory free",
            Reason::Errors => "errors",
            Reason::ErrorsGone => "errors gone",
        }
    }
}

/// One turn of one knob.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Which knob.
    pub knob: Knob,
    /// Its value so far.
    pub from: u64,
    /// Its new value, different from `from`: never above the bounds, and below them only where a ceiling is exceeded.
    pub to: u64,
    /// Why.
    pub reason: Reason,
    /// How sure the tuner is that the hypothesis behind the move holds, where a test was made.
    pub confidence: Option<f64>,
    /// The measurements that it rests on, as a sentence fragment.
    pub evidence: String,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { knob, from, to, reason, evidence, .. } = self;
        write!(f, "{knob} {from} -> {to} ({}: {evidence})", reason.as_str())
    }
}
