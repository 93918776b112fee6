//! Knobs that nobody turns.

use super::{Controller, Given};
use crate::model::knobs::Knobs;

/// Requests in flight and documents in a batch of a tool that is not tuned.
const USUAL_REQUESTS: usize = 16;
const USUAL_BATCH: usize = 10_000;

/// Keeps these knobs.
pub(in super::super) struct Fixed(pub(in super::super) Knobs);

impl Controller for Fixed {
    fn begin(&mut self, knobs: &mut Knobs, _partitions: usize) {
        *knobs = self.0;
    }
}

/// The usual values.
pub(super) fn usual(given: Given) -> Box<dyn Controller> {
    Box::new(Fixed(Knobs { requests_in_flight: USUAL_REQUESTS, batch_documents: USUAL_BATCH, ..given.start }))
}
