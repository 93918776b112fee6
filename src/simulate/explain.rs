//! What docferry decides while a plant is played: every decision with its time and its reason, and a line every ten seconds with what came of it.

use super::controller::Controller;
use super::docferry::{CEILINGS, Docferry, START, balanced};
use super::plant::Plant;
use super::world::World;
use crate::error::{Error, Result};
use crate::model::decision::{Decision, Effect, Evidence};
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
        let mut written = 0.0;
        let told = move |now: f64, sample: &Sample, knobs: &Knobs, decisions: &[Decision]| {
            written += sample.documents_per_second;
            say(&mut text.borrow_mut(), &format!("{now:5.0} s{name}"), decisions);
            if now % EVERY == 0.0 {
                let mean = std::mem::take(&mut written) / EVERY;
                sum_up(&mut text.borrow_mut(), &format!("{now:5.0} s{name}"), mean, sample, knobs);
            }
        };
        Box::new(Docferry::new(balanced(), Box::new(told))) as Box<dyn Controller>
    };
    World::new(plant, CEILINGS, START, seed, make).play();
    writeln!(out, "{}: {}\n{}", plant.name, plant.about, text.into_inner())
        .map_err(|cause| Error::io("printing", cause))
}

fn say(text: &mut String, when: &str, decisions: &[Decision]) {
    // Writing to a text cannot fail.
    for decision in decisions {
        let Decision { knob, from, to, effect, reason, because, confidence, evidence } = decision;
        let sure = confidence.map_or(String::new(), |sure| format!(", {:.0} % sure", 100.0 * sure.min(0.99)));
        let evidence = evidence.as_ref().map_or(String::new(), |evidence| {
            let Evidence { before, after, standard_error, z, windows } = evidence;
            format!(
                " ({before:.0} -> {after:.0} in {windows} s, standard error {standard_error:.3}, z {z:.1})"
            )
        });
        let effect = match effect {
            Effect::Turned => reason.as_str().to_owned(),
            Effect::Kept => format!("{}, kept", reason.as_str()),
            Effect::Blocked(block) => format!("{}, blocked: {}", reason.as_str(), block.as_str()),
        };
        let _ = writeln!(text, "{when}  {knob} {from} -> {to}, {effect}{sure}: {because}{evidence}");
    }
}

/// `mean` documents a second were written since the line before; the rest is that of the last second.
fn sum_up(text: &mut String, when: &str, mean: f64, sample: &Sample, knobs: &Knobs) {
    let Knobs { readers, transformers, requests_in_flight, batch_documents, .. } = knobs;
    let busy = [&sample.readers, &sample.transformers, &sample.requests].map(|pool| pool.busy);
    let share = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.0} %", 100.0 * share));
    let _ = writeln!(
        text,
        "{when}  {mean:.0} documents/s, {:.1} % throttled; {readers} readers {:.2} busy, {transformers} transformers {:.2}, {requests_in_flight} requests {:.2}; batches of {batch_documents}, {} MB; CPU {}, memory {}, GPU {}",
        100.0 * sample.throttled,
        busy[0],
        busy[1],
        busy[2],
        knobs.credit_bytes / 1_000_000,
        share(Some(sample.cpu)),
        share(sample.memory),
        share(sample.gpu_memory()),
    );
}
