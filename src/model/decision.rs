//! What the tuner decided, and why: always in words that a report can print.
//!
//! Every decision reads as one sentence: what is done with which knob, a colon, why, and in brackets how sure that is and what held it
//! back. The verb tells a trial (`try`), its two outcomes (`scale`, `back to`) and what was not done (`held back`) apart:
//!
//! ```text
//! try requests in flight 8 -> 16: the target is the bottleneck (0.97 busy)
//! scale up requests in flight 8 -> 16: the target is the bottleneck (0.97 busy), throughput +71 % (confidence 0.99)
//! back to requests in flight 8 (from 16): throughput +1 % is less than the move must yield (confidence 0.93)
//! held back: scale up readers 4 -> 8: the source is the bottleneck (0.99 busy) (cooldown, 12 s left)
//! ```

use crate::model::knobs::Knob;
use crate::model::units::{Bytes, Count, Elapsed};
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
    /// Another pool is on trial, or throughput varies: workers are not taken away.
    Unsteady,
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
            Block::Unsteady => "unsteady",
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

impl Evidence {
    /// By how much of itself throughput changed; nothing can be said where there was none.
    pub fn change(&self) -> Option<f64> {
        let change = self.after / self.before - 1.0;
        change.is_finite().then_some(change)
    }
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
    /// The reason in words, with the figures that it rests on; of a trial that is kept, why it was begun: what it yielded is said after it, from
    /// the evidence.
    pub because: String,
    /// The probability, as far as the tuner knows, that the hypothesis behind the decision holds; absent where a limit acts and nothing is tested.
    pub confidence: Option<f64>,
    /// The measurements, where a trial was made.
    pub evidence: Option<Evidence>,
}

impl Decision {
    /// Up, or down.
    fn direction(&self) -> &'static str {
        if self.to > self.from { "up" } else { "down" }
    }

    /// What stands in brackets: what held it back, how sure it is.
    fn remarks(&self) -> Option<String> {
        let block = match self.effect {
            Effect::Blocked(block) => Some(held_by(block)),
            Effect::Turned | Effect::Kept => None,
        };
        let confidence = self.confidence.map(|confidence| format!("confidence {:.2}", sure(confidence)));
        let remarks: Vec<String> = block.into_iter().chain(confidence).collect();
        (!remarks.is_empty()).then(|| remarks.join(", "))
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { knob, because, .. } = self;
        let name = words(*knob);
        let (from, to) = (amount(*knob, self.from), amount(*knob, self.to));
        let direction = self.direction();
        match (self.effect, self.reason) {
            (Effect::Turned, Reason::Probe) => write!(f, "try {name} {from} -> {to}")?,
            (Effect::Turned, Reason::Revert) => write!(f, "back to {name} {to} (from {from})")?,
            (Effect::Blocked(_), _) => write!(f, "held back: scale {direction} {name} {from} -> {to}")?,
            (Effect::Turned | Effect::Kept, _) => write!(f, "scale {direction} {name} {from} -> {to}")?,
        }
        write!(f, ": {because}")?;
        if self.effect == Effect::Kept
            && let Some(yielded) = self.evidence.as_ref().and_then(Evidence::change)
        {
            write!(f, ", throughput {:+.0} %", whole_percent(yielded))?;
        }
        self.remarks().map_or(Ok(()), |remarks| write!(f, " ({remarks})"))
    }
}

/// The knob as a sentence names it.
fn words(knob: Knob) -> &'static str {
    match knob {
        Knob::Readers => "readers",
        Knob::Transformers => "transformers",
        Knob::RequestsInFlight => "requests in flight",
        Knob::BatchDocuments => "batch documents",
        Knob::RequestDocuments => "request documents",
        Knob::CreditBytes => "credits",
    }
}

fn amount(knob: Knob, value: u64) -> String {
    match knob {
        Knob::CreditBytes => Bytes(value).to_string(),
        _ => Count(value).to_string(),
    }
}

/// What held a move back, as a sentence says it.
fn held_by(block: Block) -> String {
    match block {
        Block::Cooldown(left) => return format!("cooldown, {} left", waiting(left)),
        Block::CpuCeiling => "CPU ceiling",
        Block::GpuCeiling => "GPU ceiling",
        Block::Errors => "too many requests fail",
        Block::Latency => "above the latency target",
        Block::Bound => "at its bound",
        Block::NoConsensus => "the policies disagree",
        Block::Goal => "the goal is reached",
        Block::Unsteady => "throughput is not steady yet",
        Block::StepLimit | Block::DirectionLimit | Block::MemoryCeiling => block.as_str(),
    }
    .to_owned()
}

/// A cooldown is waited for in seconds; what is left of one is not over yet.
fn waiting(left: Duration) -> String {
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    if seconds < 60 { format!("{seconds} s") } else { Elapsed(Duration::from_secs(seconds)).to_string() }
}

/// Nothing that was measured is certain: two digits never say 1.
fn sure(confidence: f64) -> f64 {
    confidence.clamp(0.0, 0.99)
}

/// A share in whole percent, without the sign that a rounded zero may carry.
fn whole_percent(share: f64) -> f64 {
    (share * 100.0).round() + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(
        reason: Reason,
        effect: Effect,
        (knob, from, to): (Knob, u64, u64),
        because: &str,
    ) -> Decision {
        Decision {
            knob,
            from,
            to,
            effect,
            reason,
            because: because.to_owned(),
            confidence: None,
            evidence: None,
        }
    }

    fn judged(confidence: f64, before: f64, after: f64, decision: Decision) -> Decision {
        let evidence = Evidence { before, after, standard_error: 0.02, z: 9.5, windows: 3 };
        Decision { confidence: Some(confidence), evidence: Some(evidence), ..decision }
    }

    const REQUESTS: (Knob, u64, u64) = (Knob::RequestsInFlight, 8, 16);
    const TARGET: &str = "the target is the bottleneck (0.97 busy)";

    #[test]
    fn a_trial_and_its_outcomes_are_told_apart() {
        let tried = decision(Reason::Probe, Effect::Turned, REQUESTS, TARGET);
        let kept = decision(Reason::Accepted, Effect::Kept, REQUESTS, TARGET);
        let moved =
            decision(Reason::Moved, Effect::Kept, (Knob::Readers, 2, 4), "the target is the bottleneck now");
        let less = "throughput +1 % is less than the move must yield";
        let back = decision(Reason::Revert, Effect::Turned, (Knob::RequestsInFlight, 16, 8), less);
        let sentences = [
            tried,
            judged(0.993, 10_000.0, 17_100.0, kept),
            judged(0.8, 10_000.0, 9_960.0, moved),
            judged(0.93, 10_000.0, 10_100.0, back),
        ];
        insta::assert_snapshot!(sentences.map(|sentence| sentence.to_string()).join("\n"), @"
        try requests in flight 8 -> 16: the target is the bottleneck (0.97 busy)
        scale up requests in flight 8 -> 16: the target is the bottleneck (0.97 busy), throughput +71 % (confidence 0.99)
        scale up readers 2 -> 4: the target is the bottleneck now, throughput +0 % (confidence 0.80)
        back to requests in flight 8 (from 16): throughput +1 % is less than the move must yield (confidence 0.93)
        ");
    }

    #[test]
    fn what_needs_no_trial_says_its_direction_and_its_figures() {
        let sentences = [
            (Reason::Prescale, (Knob::Transformers, 2, 3), "the readers are to bring twice as much"),
            (Reason::Shrink, (Knob::Readers, 8, 6), "0.41 busy for 30 s"),
            (Reason::Batch, (Knob::BatchDocuments, 2_000, 8_000), "a batch costs 4 ms beside its documents"),
            (
                Reason::Batch,
                (Knob::RequestDocuments, 10_000, 5_000),
                "a request takes longer than the latency target",
            ),
            (Reason::CpuCeiling, (Knob::Transformers, 4, 3), "84 % of the CPU in use, 70 % wanted"),
            (
                Reason::MemoryCeiling,
                (Knob::CreditBytes, 32 << 20, 23_488_102),
                "79 % of the memory in use, 75 % wanted",
            ),
            (Reason::GpuCeiling, (Knob::Transformers, 3, 2), "93 % of the GPU's memory in use, 90 % wanted"),
            (
                Reason::MemoryFree,
                (Knob::CreditBytes, 23_488_102, 32 << 20),
                "41 % of the memory in use, 75 % allowed",
            ),
            (Reason::Errors, (Knob::RequestsInFlight, 64, 32), "11 % of the requests failed, 2 % wanted"),
            (Reason::ErrorsGone, (Knob::RequestsInFlight, 32, 48), "0 % of the requests fail, 2 % allowed"),
        ]
        .map(|(reason, turn, because)| decision(reason, Effect::Turned, turn, because).to_string());
        insta::assert_snapshot!(sentences.join("\n"), @"
        scale up transformers 2 -> 3: the readers are to bring twice as much
        scale down readers 8 -> 6: 0.41 busy for 30 s
        scale up batch documents 2 000 -> 8 000: a batch costs 4 ms beside its documents
        scale down request documents 10 000 -> 5 000: a request takes longer than the latency target
        scale down transformers 4 -> 3: 84 % of the CPU in use, 70 % wanted
        scale down credits 32.0 MiB -> 22.4 MiB: 79 % of the memory in use, 75 % wanted
        scale down transformers 3 -> 2: 93 % of the GPU's memory in use, 90 % wanted
        scale up credits 22.4 MiB -> 32.0 MiB: 41 % of the memory in use, 75 % allowed
        scale down requests in flight 64 -> 32: 11 % of the requests failed, 2 % wanted
        scale up requests in flight 32 -> 48: 0 % of the requests fail, 2 % allowed
        ");
    }

    #[test]
    fn what_held_a_move_back_stands_behind_it() {
        let seconds = Duration::from_secs_f64;
        let blocks = [
            Block::Cooldown(seconds(11.2)),
            Block::Cooldown(seconds(90.0)),
            Block::StepLimit,
            Block::DirectionLimit,
            Block::CpuCeiling,
            Block::MemoryCeiling,
            Block::GpuCeiling,
            Block::Errors,
            Block::Latency,
            Block::Bound,
            Block::NoConsensus,
            Block::Goal,
            Block::Unsteady,
        ];
        let because = "the source is the bottleneck (0.99 busy)";
        let held = blocks.map(|block| {
            decision(Reason::Probe, Effect::Blocked(block), (Knob::Readers, 4, 8), because).to_string()
        });
        insta::assert_snapshot!(held.join("\n"), @"
        held back: scale up readers 4 -> 8: the source is the bottleneck (0.99 busy) (cooldown, 12 s left)
        held back: scale up readers 4 -> 8: the source is the bottleneck (0.99 busy) (cooldown, 1 min 30 s left)
        held back: scale up readers 4 -> 8: the source is the bottleneck (0.99 busy) (step limit)
        held back: scale up readers 4 -> 8: the source is the bottleneck (0.99 busy) (direction limit)
        held back: scale up readers 4 -> 8: the source is the bottleneck (0.99 busy) (CPU ceiling)
        held back: scale up readers 4 -> 8: the source is the bottleneck (0.99 busy) (memory ceiling)
        held back: scale up readers 4 -> 8: the source is the bottleneck (0.99 busy) (GPU ceiling)
        held back: scale up readers 4 -> 8: the source is the bottleneck (0.99 busy) (too many requests fail)
        held back: scale up readers 4 -> 8: the source is the bottleneck (0.99 busy) (above the latency target)
        held back: scale up readers 4 -> 8: the source is the bottleneck (0.99 busy) (at its bound)
        held back: scale up readers 4 -> 8: the source is the bottleneck (0.99 busy) (the policies disagree)
        held back: scale up readers 4 -> 8: the source is the bottleneck (0.99 busy) (the goal is reached)
        held back: scale up readers 4 -> 8: the source is the bottleneck (0.99 busy) (throughput is not steady yet)
        ");
        let shrink =
            decision(Reason::Shrink, Effect::Blocked(Block::Bound), (Knob::Readers, 4, 3), "0.41 busy");
        let unsure = Decision { confidence: Some(0.8), ..shrink };
        assert_eq!(
            unsure.to_string(),
            "held back: scale down readers 4 -> 3: 0.41 busy (at its bound, confidence 0.80)"
        );
    }

    #[test]
    fn nothing_is_certain_and_of_nothing_nothing_follows() {
        let kept = decision(Reason::Accepted, Effect::Kept, REQUESTS, TARGET);
        let text = judged(1.0, 0.0, 500.0, kept).to_string();
        assert_eq!(text, format!("scale up requests in flight 8 -> 16: {TARGET} (confidence 0.99)"));
    }
}
