//! The knobs that a run begins with, and how far the tuner may turn each.
//!
//! A knob that `[run]` or a flag names is fixed there: least and most are that value, also outside the profile's bounds. The
//! others begin low and the tuner raises them, because a run that begins too wide has already hurt the target when that is
//! noticed.

use super::scaling::Scaling;
use crate::model::knobs::{Bounds, Knob, Knobs};
use crate::model::settings::Section;
use crate::model::units::MIB;
use std::ops::RangeInclusive;

/// One request in flight for each of a few lanes: enough to measure a latency, too few to flood anything.
const FIRST_REQUESTS_IN_FLIGHT: u64 = 8;
/// 20 000 documents a second at 10 ms need 200 at once; 512 leave room for a slower target.
const MOST_REQUESTS_IN_FLIGHT: u64 = 512;
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

/// Reads the knobs of `[run]`.
pub(crate) fn read(run: &mut Section, scaling: &Scaling, auto_scaling: bool) -> (Knobs, Bounds) {
    let mut pools = Pools { run, least: NOTHING, first: NOTHING, most: NOTHING };
    let workers = &scaling.workers;
    let batch = &scaling.batch_documents;
    let first_batch = FIRST_BATCH_DOCUMENTS.clamp(*batch.start(), (*batch.end()).max(*batch.start()));
    pools.knob("readers", Knob::Readers, *workers.start(), workers);
    pools.knob("transformers", Knob::Transformers, *workers.start(), workers);
    pools.knob(
        "requests_in_flight",
        Knob::RequestsInFlight,
        FIRST_REQUESTS_IN_FLIGHT,
        &(1..=MOST_REQUESTS_IN_FLIGHT),
    );
    pools.knob("batch_documents", Knob::BatchDocuments, first_batch, batch);
    pools.knob(
        "request_documents",
        Knob::RequestDocuments,
        MOST_REQUEST_DOCUMENTS,
        &(1..=MOST_REQUEST_DOCUMENTS),
    );
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
    least: Knobs,
    first: Knobs,
    most: Knobs,
}

impl Pools<'_> {
    fn knob(&mut self, name: &'static str, knob: Knob, first: u64, bounds: &RangeInclusive<u64>) {
        // What a person may fix: every pool that this process could still hold, every batch that memory could.
        let allowed = match knob {
            Knob::Readers | Knob::Transformers => 1..=1024,
            Knob::RequestsInFlight => 1..=4096,
            _ => 1..=10_000_000,
        };
        let is_fixed = self.run.raw(name).is_some();
        let value = self.run.count_or(name, allowed, first);
        self.first.set(knob, value);
        self.least.set(knob, if is_fixed { value } else { *bounds.start() });
        self.most.set(knob, if is_fixed { value } else { *bounds.end() });
    }

    /// Credits are a promise about memory, so the tuner may cut but not exceed them.
    fn credits(&mut self) {
        let credits = self.run.bytes_or("credits", MIB..=MOST_CREDITS, CREDITS);
        self.first.credit_bytes = credits;
        self.least.credit_bytes = credits.min(LEAST_CREDITS);
        self.most.credit_bytes = credits;
    }
}
