//! Micro-batches of the Azure Cosmos DB Java SDK (`PartitionScopeThresholds.java`): one request at a time for each partition, of a size that is
//! made to fit. It grows while less than 10 % of the documents are sent again and shrinks above 20 %: throttling is what it steers by.
//!
//! ```text
//! under 10 %:  size <- min(2 size, size + 15 % of 100, 100)
//! above 20 %:  size <- max(1, size (1 - (share - 15 %)))                  looked at after every 1 000 documents, 100 if many are sent again
//! ```

use super::super::controller::Response;
use super::{Controller, MOST_REQUESTS};
use crate::model::knobs::Knobs;

const MOST: f64 = 100.0;
const LEAST_AGAIN: f64 = 0.1;
const MOST_AGAIN: f64 = 0.2;
const MIDDLE: f64 = 0.15;
const LOOKED_AT: f64 = 1_000.0;
const LOOKED_AT_SOON: f64 = 100.0;

#[derive(Clone, Copy)]
struct Partition {
    size: f64,
    documents: f64,
    again: f64,
}

pub(super) struct CosmosJava {
    given: Knobs,
    partitions: Vec<Partition>,
}

impl CosmosJava {
    pub(super) fn new(given: Knobs) -> Self {
        Self { given, partitions: Vec::new() }
    }

    fn partition(&mut self, partition: usize) -> &mut Partition {
        let known = self.partitions.len().max(partition + 1);
        self.partitions.resize(known, Partition { size: MOST, documents: 0.0, again: 0.0 });
        &mut self.partitions[partition]
    }
}

impl Controller for CosmosJava {
    fn begin(&mut self, knobs: &mut Knobs, _partitions: usize) {
        *knobs = Knobs { requests_in_flight: MOST_REQUESTS as usize, ..self.given };
    }

    fn answered(&mut self, response: &Response, _knobs: &mut Knobs) {
        let partition = self.partition(response.partition);
        partition.documents += f64::from(response.documents);
        partition.again += if response.throttled { f64::from(response.documents) } else { 0.0 };
        let again = partition.again / partition.documents;
        let is_due =
            partition.documents >= LOOKED_AT || (partition.documents >= LOOKED_AT_SOON && again > MOST_AGAIN);
        if !is_due {
            return;
        }
        if again < LEAST_AGAIN {
            partition.size = (2.0 * partition.size).min(partition.size + MOST * MIDDLE).min(MOST);
        } else if again > MOST_AGAIN {
            partition.size = (partition.size * (1.0 - (again - MIDDLE))).floor().max(1.0);
        }
        (partition.documents, partition.again) = (0.0, 0.0);
    }

    fn may_send(&mut self, _now: f64, _partition: usize, in_flight: usize) -> Result<(), f64> {
        if in_flight == 0 { Ok(()) } else { Err(f64::INFINITY) }
    }

    fn request_documents(&mut self, partition: usize) -> u32 {
        self.partition(partition).size as u32
    }
}
