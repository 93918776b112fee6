//! Bulk congestion control of the Azure Cosmos DB .NET SDK (`BatchAsyncStreamer.cs`): for each partition a number of requests at a time, one at
//! first. After a window without throttling one more, after one with throttling fewer by half, five at most. A window is a second of request time
//! at first, and every throttled one makes it longer by a second, for good.

use super::super::controller::Response;
use super::{Controller, MOST_REQUESTS};
use crate::model::knobs::Knobs;

const MOST_PER_PARTITION: f64 = 50.0;
const MOST_TAKEN: f64 = 5.0;
const WINDOW: f64 = 1.0;

#[derive(Clone, Copy)]
struct Partition {
    degree: f64,
    window: f64,
    /// Of the window under way: request time, answers with and without throttling.
    seconds: f64,
    throttled: u32,
    taken: u32,
}

pub(super) struct CosmosNet {
    given: Knobs,
    partitions: Vec<Partition>,
}

impl CosmosNet {
    pub(super) fn new(given: Knobs) -> Self {
        Self { given, partitions: Vec::new() }
    }

    fn partition(&mut self, partition: usize) -> &mut Partition {
        let fresh = Partition { degree: 1.0, window: WINDOW, seconds: 0.0, throttled: 0, taken: 0 };
        let known = self.partitions.len().max(partition + 1);
        self.partitions.resize(known, fresh);
        &mut self.partitions[partition]
    }
}

impl Controller for CosmosNet {
    fn begin(&mut self, knobs: &mut Knobs, _partitions: usize) {
        *knobs = Knobs { requests_in_flight: MOST_REQUESTS as usize, ..self.given };
    }

    fn answered(&mut self, response: &Response, _knobs: &mut Knobs) {
        let partition = self.partition(response.partition);
        partition.seconds += response.latency;
        if response.throttled {
            partition.seconds += response.retry_after;
            partition.throttled += 1;
        } else {
            partition.taken += 1;
        }
        if partition.seconds < partition.window {
            return;
        }
        if partition.throttled > 0 {
            partition.degree -= (partition.degree / 2.0).floor().min(MOST_TAKEN);
            partition.window += 1.0;
        } else if partition.taken > 0 {
            partition.degree = (partition.degree + 1.0).min(MOST_PER_PARTITION);
        }
        (partition.seconds, partition.throttled, partition.taken) = (0.0, 0, 0);
    }

    fn may_send(&mut self, _now: f64, partition: usize, in_flight: usize) -> Result<(), f64> {
        // Only an answer makes room.
        if (in_flight as f64) < self.partition(partition).degree { Ok(()) } else { Err(f64::INFINITY) }
    }
}
