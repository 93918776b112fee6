//! The knobs that a run begins with, and how far the tuner may turn each.
//!
//! A knob that `[run]` or a flag names is fixed there: least and most are that value, also outside the bounds of `[scaling]`. The
//! others begin low and the tuner raises them, because a run that begins too wide has already hurt the target when that is
//! noticed; where an earlier run has learned better, they begin there ([`remembered`](super::remembered)).

use super::scaling::{Bound, Ranges};
use crate::model::knobs::{Bounds, Knob, Knobs};
use crate::model::settings::{Origin, Resolved, Section};
use crate::model::units::MIB;

/// One request in flight for each of a few lanes: enough to measure a latency, too few to flood anything.
const FIRST_REQUESTS_IN_FLIGHT: u64 = 8;
/// A few milliseconds of work for a transformer: long against the cost of handing over, short against a tick of the tuner.
const FIRST_BATCH_DOCUMENTS: u64 = 2_000;
/// A sink's own limit is nearly always lower; for those without one a transaction of this size amortises its commit.
const MOST_REQUEST_DOCUMENTS: u64 = 10_000;
/// Enough for every pool to hold a batch of 2 000 documents of 1 KiB and more, and little on any machine.
const CREDITS: u64 = 32 * MIB;
/// Under a memory ceiling credits are cut down to here: some batches of a quarter MiB, so the pools still overlap.
const LEAST_CREDITS: u64 = 4 * MIB;
/// A batch is credits / 6.5 at most, and a place in its buffer has 32 bits.
const MOST_CREDITS: u64 = 16 * 1024 * MIB;

/// Reads the knobs of `[run]`; `resolved` takes what the section cannot remember itself.
pub(crate) fn read(
    run: &mut Section,
    ranges: &Ranges,
    auto_scaling: bool,
    resolved: &mut Vec<Resolved>,
) -> (Knobs, Bounds) {
    let Ranges { workers, batch_documents, requests_in_flight } = ranges;
    let request = Bound { least: (1, Origin::BuiltIn), most: (MOST_REQUEST_DOCUMENTS, Origin::BuiltIn) };
    let mut pools = Pools { run, resolved, least: NOTHING, first: NOTHING, most: NOTHING };
    let least_workers = workers.least.0;
    pools.knob("readers", Knob::Readers, least_workers, workers);
    pools.knob("transformers", Knob::Transformers, least_workers, workers);
    pools.knob("requests_in_flight", Knob::RequestsInFlight, FIRST_REQUESTS_IN_FLIGHT, requests_in_flight);
    pools.knob("batch_documents", Knob::BatchDocuments, FIRST_BATCH_DOCUMENTS, batch_documents);
    pools.knob("request_documents", Knob::RequestDocuments, MOST_REQUEST_DOCUMENTS, &request);
    pools.credits();
    let Pools { least, first, most, .. } = pools;
    let bounds = if auto_scaling { Bounds { least, most } } else { Bounds { least: first, most: first } };
    (first, bounds)
}

const NOTHING: Knobs = Knobs {
    readers: 0,
    transformers: 0,
    requests_in_flight: 0,
    batch_documents: 0,
    request_documents: 0,
    credit_bytes: 0,
};

struct Pools<'a> {
    run: &'a mut Section,
    resolved: &'a mut Vec<Resolved>,
    least: Knobs,
    first: Knobs,
    most: Knobs,
}

impl Pools<'_> {
    /// A knob that begins at `first`, or as near to it as `bound` allows.
    fn knob(&mut self, name: &'static str, knob: Knob, first: u64, bound: &Bound) {
        // What a person may fix: every pool that this process could still hold, every batch that memory could.
        let allowed = match knob {
            Knob::Readers | Knob::Transformers => 1..=1024,
            Knob::RequestsInFlight => 1..=4096,
            _ => 1..=10_000_000,
        };
        let fixed = self.run.raw(name).map(|_| self.run.count_or(name, allowed, first));
        let (least, most) = fixed.map_or((bound.least.0, bound.most.0), |value| (value, value));
        // Not `clamp`: where there was a problem the two may be the wrong way round.
        let value = fixed.unwrap_or_else(|| first.max(least).min(most));
        if fixed.is_none() {
            // A knob that begins at a bound begins where whoever set that says.
            let at_bound = [&bound.least, &bound.most].into_iter().find(|(at, _)| *at == value);
            let origin = at_bound.map_or(Origin::BuiltIn, |(_, origin)| origin.clone());
            self.resolved.push(Resolved { path: self.run.path_of(name), value: value.to_string(), origin });
        }
        self.first.set(knob, value);
        self.least.set(knob, least);
        self.most.set(knob, most);
    }

    /// Credits that someone has asked for are a promise about memory: the tuner may cut but not exceed them. The built-in ones are a start.
    fn credits(&mut self) {
        let is_promised = self.run.raw("credits").is_some();
        let credits = self.run.bytes_or("credits", MIB..=MOST_CREDITS, CREDITS);
        self.first.credit_bytes = credits;
        self.least.credit_bytes = credits.min(LEAST_CREDITS);
        self.most.credit_bytes = if is_promised { credits } else { MOST_CREDITS };
    }
}
