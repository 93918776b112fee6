//! Threshold rules, as operators write them: one number of workers for all pools, two more while throughput is under a goal, fewer above a
//! ceiling or when more than 5 % is throttled, and a pause after every move.
//!
//! Rebuilt from the description of the tool that docferry succeeds, not from its code. Requests in flight are four per worker.

use super::{Controller, MOST_WORKERS};
use crate::model::knobs::Knobs;
use crate::model::sample::Sample;

const LEAST_WORKERS: usize = 4;
const LEAST_BATCH: usize = 2_000;
const MOST_BATCH: usize = 75_000;
const REQUESTS_PER_WORKER: usize = 4;

/// Share of throttled answers above which workers are taken away.
const THROTTLED: f64 = 0.05;

/// Both keep the ceilings of the profile `balanced`, for a comparison under equal terms.
const CPU: f64 = 0.70;
const MEMORY: f64 = 0.75;

pub(in super::super) struct Rules {
    /// Documents per second under which workers are added.
    goal: f64,
    /// Seconds from one move to the next.
    pause: f64,
    workers: usize,
    moved: f64,
}

impl Rules {
    pub(in super::super) fn balanced() -> Self {
        Self { goal: 10_000.0, pause: 30.0, workers: LEAST_WORKERS, moved: f64::NEG_INFINITY }
    }

    pub(super) fn aggressive() -> Self {
        Self { goal: 20_000.0, pause: 15.0, ..Self::balanced() }
    }
}

impl Controller for Rules {
    fn begin(&mut self, knobs: &mut Knobs, _partitions: usize) {
        self.workers = knobs.readers;
    }

    fn interval(&self) -> f64 {
        5.0
    }

    fn tick(&mut self, sample: &Sample, knobs: &mut Knobs) {
        let now = sample.at.as_secs_f64();
        if now - self.moved < self.pause {
            return;
        }
        let is_full = |share: Option<f64>| share.is_some_and(|share| share > MEMORY);
        let batch = knobs.batch_documents as f64;
        let (workers, batch) = if is_full(sample.memory) || is_full(sample.gpu_memory()) {
            (self.workers.saturating_sub(2), batch * 0.75)
        } else if sample.throttled > THROTTLED {
            (self.workers.saturating_sub(2), batch)
        } else if sample.cpu > CPU {
            (self.workers - 1, batch)
        } else if sample.documents_per_second < self.goal {
            (self.workers + 2, batch * 1.2)
        } else {
            return;
        };
        let workers = workers.clamp(LEAST_WORKERS, MOST_WORKERS);
        let batch = (batch as usize).clamp(LEAST_BATCH, MOST_BATCH);
        if (workers, batch) != (self.workers, knobs.batch_documents) {
            (self.workers, self.moved) = (workers, now);
            (knobs.readers, knobs.transformers, knobs.batch_documents) = (workers, workers, batch);
            knobs.requests_in_flight = workers * REQUESTS_PER_WORKER;
        }
    }
}
