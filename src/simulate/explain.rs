//! What docferry decides while a plant is played: every decision with its time and its reason, and a line every ten seconds with what came of it.

use super::controller::Controller;
use super::docferry::{CEILINGS, Docferry, START, balanced};
use super::plant::Plant;
use super::world::World;
use crate::error::{Error, Result};
use crate::model::decision::{Decision, Effect};
use crate::model::knobs::Knobs;
use crate::model::sample::Sample;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write;

/// Seconds between two lines that say how it goes.
const EVERY: f64 = 10.0;

/// Plays the plant with this seed, and prints.
pub(super) fn explain(plant: &Plant, seed: u64, out: &mut dyn Write) -> Result<()> {
    let text = RefCell::new(String::new());
    let next = RefCell::new(0);
    let make = || {
        let tuner = next.replace_with(|next| *next + 1) + 1;
        let name = if plant.tuners > 1 { format!(" tuner {tuner}") } else { String::new() };
        let text = &text;
        let told = move |now, sample: &Sample, knobs: &Knobs, decisions: &[Decision]| {
            say(&mut text.borrow_mut(), &format!("{now:5.0} s{name}"), now, sample, knobs, decisions);
        };
        Box::new(Docferry::new(balanced(), Box::new(told))) as Box<dyn Controller>
    };
    World::new(plant, CEILINGS, START, seed, make).play();
    writeln!(out, "{}: {}\n{}", plant.name, plant.about, text.into_inner())
        .map_err(|cause| Error::io("printing", cause))
}

fn say(text: &mut String, when: &str, now: f64, sample: &Sample, knobs: &Knobs, decisions: &[Decision]) {
    // Writing to a text cannot fail.
    for decision in decisions {
        let Decision { knob, from, to, effect, reason, because, confidence, .. } = decision;
        let sure = confidence.map_or(String::new(), |sure| format!(", {:.0} % sure", 100.0 * sure));
        let effect = match effect {
            Effect::Turned => reason.as_str().to_owned(),
            Effect::Kept => format!("{}, kept", reason.as_str()),
            Effect::Blocked(block) => format!("{}, blocked: {}", reason.as_str(), block.as_str()),
        };
        let _ = writeln!(text, "{when}  {knob} {from} -> {to}, {effect}{sure}: {because}");
    }
    if now % EVERY == 0.0 {
        let Knobs { readers, transformers, requests_in_flight, batch_documents, .. } = knobs;
        let _ = writeln!(
            text,
            "{when}  {:.0} documents/s, {:.1} % throttled, {readers} readers, {transformers} transformers, {requests_in_flight} requests, batches of {batch_documents}, {} MB",
            sample.documents_per_second,
            100.0 * sample.throttled,
            knobs.credit_bytes / 1_000_000,
        );
    }
}
