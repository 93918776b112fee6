//! What was held back, told once: a move that waits for the same thing in every window is one piece of news and not sixty a minute.

use super::Turn;
use crate::model::decision::{Block, Decision, Effect, Reason};
use crate::model::knobs::Knob;
use std::mem::Discriminant;

/// What was told of each knob last.
#[derive(Debug, Default)]
pub(super) struct Blocked(Vec<(Knob, Reason, Discriminant<Block>)>);

impl Blocked {
    /// A move from the knob's present value is held back.
    pub(super) fn tell(&mut self, turn: &mut Turn, knob: Knob, to: u64, because: String, block: Block) {
        let (from, kind) = (turn.knobs.get(knob), std::mem::discriminant(&block));
        let reason = if to > from { Reason::Probe } else { Reason::Shrink };
        if from == to || self.0.contains(&(knob, reason, kind)) {
            return;
        }
        self.clear(knob, reason);
        self.0.push((knob, reason, kind));
        let effect = Effect::Blocked(block);
        turn.push(Decision { knob, from, to, effect, reason, because, confidence: None, evidence: None });
    }

    /// The knob has moved for this reason, or nothing holds it any more.
    pub(super) fn clear(&mut self, knob: Knob, reason: Reason) {
        self.0.retain(|told| (told.0, told.1) != (knob, reason));
    }
}
