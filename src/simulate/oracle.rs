//! The oracle: the best fixed setting there is for a plant, found by trying, for each stretch of time in which the plant does not change.
//!
//! It knows what no tuner knows, and pays nothing for what is thrown back. It keeps the ceilings all of the time, that of the CPU within one window's noise
//! and on average. The search begins from a coarse
//! grid, whose best settings are then refined one knob at a time. Of settings that yield the same the smaller one is taken: what a larger one is
//! better by must be more than one part in ten thousand for each factor of two.
//!
//! While memory is taken gradually, the stretch after it holds from the beginning; while it is given back, the stretch before it holds to the end:
//! a fixed setting must keep the ceiling throughout.
//!
//! Where it can be told what no setting can pass for long, the oracle is held to that: a run of some minutes may write more out of its queues.

use super::plant::{Plant, Step, Transform};
use super::rivals::Fixed;
use super::world::{Outcome, READER_CORES, REQUEST_CORES, World, transformer_cores};
use crate::model::knobs::{Ceilings, Knobs};
use rayon::prelude::*;

/// Seconds that a setting of the grid is played, and from when on it counts.
const TRIED: (u32, usize) = (60, 25);

/// A setting that is larger by this factor must yield more by [`WORTH`].
const LARGER: f64 = 2.0;
const WORTH: f64 = 1e-4;

/// Settings of the grid that are refined.
const CANDIDATES: usize = 5;

/// Parts of a batch in [`bound_of_steps`].
const PARTS: u32 = 20;

/// Chance for the oracle: one seed, that no score is made with.
const SEED: u64 = 7;

/// A setting and what it yields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Best {
    pub(super) knobs: Knobs,
    /// Documents per second, all tuners together.
    pub(super) documents_per_second: f64,
}

/// The best for each second of the plant.
#[derive(Clone, Debug)]
pub(super) struct Oracle {
    /// From when on, and what is best then.
    pub(super) phases: Vec<(f64, Best)>,
}

impl Oracle {
    /// Documents per second at a time.
    pub(super) fn at(&self, second: f64) -> f64 {
        let phase = self.phases.iter().rev().find(|(from, _)| second >= *from);
        phase.map_or(0.0, |(_, best)| best.documents_per_second)
    }

    /// Searches.
    pub(super) fn search(plant: &Plant, ceilings: Ceilings, start: Knobs) -> Self {
        let phases = phases(plant);
        let mut known: Vec<(&Plant, Best)> = Vec::new();
        for (_, phase) in &phases {
            if known.iter().all(|(plant, _)| *plant != phase) {
                known.push((phase, best_of(phase, ceilings, start)));
            }
        }
        let best_of = |phase: &Plant| known.iter().find(|(plant, _)| *plant == phase).map(|(_, best)| *best);
        Self { phases: phases.iter().filter_map(|(from, phase)| Some((*from, best_of(phase)?))).collect() }
    }
}

/// The stretches of a plant without a change, each as a plant of its own.
fn phases(plant: &Plant) -> Vec<(f64, Plant)> {
    let quiet = Plant { tuners: 1, steps: Vec::new(), ..plant.clone() };
    let mut phases = vec![(0.0, quiet.clone())];
    let mut splits = Vec::new();
    let mut before = Step::none();
    for step in &plant.steps {
        let is_tighter =
            step.more_memory > before.more_memory || step.more_gpu_memory > before.more_gpu_memory;
        let from = if is_tighter { step.at } else { step.at + step.over };
        let at_once = Step { at: 0.0, over: 0.0, split: false, ..*step };
        if step.split {
            splits.push(Step { split: true, ..Step::none() });
        }
        let is_quiet = splits.is_empty() && at_once == Step::none();
        let steps = if is_quiet { Vec::new() } else { [&splits[..], &[at_once]].concat() };
        phases.push((from, Plant { steps, ..quiet.clone() }));
        before = *step;
    }
    phases
}

/// What a setting yields, and that less what it is too large by: the one is told, by the other they are compared.
#[derive(Clone, Copy)]
struct Tried {
    knobs: Knobs,
    documents_per_second: f64,
    worth: f64,
}

fn best_of(plant: &Plant, ceilings: Ceilings, start: Knobs) -> Best {
    let bound = bound(plant).min(bound_of_steps(plant, &ceilings));
    let refined = (plant.seconds, plant.counted_from as usize);
    let value = |knobs: Knobs, (seconds, from): (u32, usize)| {
        let plant = Plant { seconds, ..plant.clone() };
        let fixed = || Box::new(Fixed(knobs)) as Box<dyn super::controller::Controller>;
        let outcome = World::new(&plant, ceilings, knobs, SEED, fixed).play().swap_remove(0);
        let yields = mean(&outcome.written[from..seconds as usize]).min(bound);
        let breaks = breaks_a_ceiling(&outcome) || outcome.cpu > ceilings.cpu;
        let documents_per_second = if breaks { 0.0 } else { yields };
        let sizes = [knobs.readers, knobs.transformers, knobs.requests_in_flight, knobs.batch_documents];
        let size: f64 = sizes.iter().map(|size| (*size as f64).log(LARGER)).sum();
        Tried { knobs, documents_per_second, worth: documents_per_second * (1.0 - WORTH * size) }
    };
    let grid: Vec<Knobs> = grid(start).collect();
    let mut tried: Vec<Tried> = grid.into_par_iter().map(|knobs| value(knobs, TRIED)).collect();
    tried.sort_by(|a, b| b.worth.total_cmp(&a.worth));
    tried.truncate(CANDIDATES);
    let climbed: Vec<Tried> = tried
        .into_par_iter()
        .map(|one| climb(value(one.knobs, refined), |knobs| value(knobs, refined)))
        .collect();
    let best = climbed.into_iter().max_by(|a, b| a.worth.total_cmp(&b.worth));
    best.map_or(Best { knobs: start, documents_per_second: 0.0 }, |best| Best {
        knobs: best.knobs,
        documents_per_second: best.documents_per_second,
    })
}

/// What no setting can pass for long, where it can be told.
fn bound(plant: &Plant) -> f64 {
    let step = plant.steps.last().copied().unwrap_or(Step::none());
    let target = &plant.target;
    let hottest = target.shares.iter().copied().fold(0.0, f64::max);
    let of_units = target.request_units * step.capacity / (target.document_request_units * hottest);
    let bounds = [
        plant.source.most_per_second,
        target.capacity * step.capacity,
        if target.burst { 0.0 } else { of_units },
    ];
    bounds.into_iter().filter(|bound| *bound > 0.0).fold(f64::INFINITY, f64::min)
}

/// What the steps can do within the ceiling of the CPU, if a batch cost nothing beside its documents: as many batches at once as are best, and parts of one.
fn bound_of_steps(plant: &Plant, ceilings: &Ceilings) -> f64 {
    let Transform { document_seconds, engines, contention, coherence, .. } = plant.transform;
    let step = plant.steps.last().copied().unwrap_or(Step::none());
    let request_seconds = plant.target.latency * step.latency / f64::from(plant.target.request_documents);
    let beside = READER_CORES * plant.source.document_seconds + REQUEST_CORES * request_seconds;
    let yields = |batches: f64| {
        let others = (batches - 1.0).max(0.0);
        let crowd = 1.0 + contention * others + coherence * batches * others;
        let documents = batches / (document_seconds * crowd * (batches / engines).max(1.0));
        let cores = transformer_cores(plant) * batches + beside * documents;
        if cores > ceilings.cpu * plant.machine.cores { 0.0 } else { documents }
    };
    (1..=30 * PARTS).map(|parts| yields(f64::from(parts) / f64::from(PARTS))).fold(0.0, f64::max)
}

/// Turns one knob at a time while that helps.
fn climb(first: Tried, value: impl Fn(Knobs) -> Tried) -> Tried {
    let mut best = first;
    for factor in [1.3, 1.12] {
        let mut improved = true;
        while improved {
            improved = false;
            for knobs in neighbours(&best.knobs, factor) {
                let tried = value(knobs);
                if tried.worth > best.worth * 1.001 {
                    best = tried;
                    improved = true;
                }
            }
        }
    }
    best
}

fn neighbours(knobs: &Knobs, factor: f64) -> Vec<Knobs> {
    let mut all = Vec::new();
    for factor in [factor, 1.0 / factor] {
        let scaled = |value: usize, most: usize| {
            let scaled = value as f64 * factor;
            (if factor > 1.0 { scaled.ceil() } else { scaled.floor() } as usize).clamp(1, most)
        };
        all.push(Knobs { transformers: scaled(knobs.transformers, 30), ..*knobs });
        all.push(Knobs { requests_in_flight: scaled(knobs.requests_in_flight, 512), ..*knobs });
        all.push(Knobs { batch_documents: scaled(knobs.batch_documents, 75_000), ..*knobs });
        all.push(Knobs { readers: scaled(knobs.readers, 30), ..*knobs });
    }
    all.retain(|other| other != knobs);
    all
}

fn grid(start: Knobs) -> impl Iterator<Item = Knobs> {
    let readers = [6, 16, 30];
    let transformers = [2, 3, 5, 8, 11, 16, 24];
    let requests = [6, 12, 20, 35, 60, 110, 250];
    let batches = [1_000, 4_000, 10_000, 25_000];
    readers.into_iter().flat_map(move |readers| {
        transformers.into_iter().flat_map(move |transformers| {
            requests.into_iter().flat_map(move |requests_in_flight| {
                batches.into_iter().map(move |batch_documents| Knobs {
                    readers,
                    transformers,
                    requests_in_flight,
                    batch_documents,
                    ..start
                })
            })
        })
    })
}

fn breaks_a_ceiling(outcome: &Outcome) -> bool {
    outcome.memory_over > 0.0 || outcome.gpu_over > 0.0 || outcome.cpu_over > 0.0
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::docferry::{CEILINGS, START};
    use crate::simulate::plant;

    #[test]
    fn a_plant_falls_into_its_stretches() {
        let plant = plant::named(
            "steps = [{ at = 50, more_memory = 1e9, over = 20 }, { at = 100, over = 20 }, { at = 150, split = true }, { at = 200, capacity = 2.0 }]",
        );
        let phases = phases(&plant);
        let from: Vec<f64> = phases.iter().map(|(from, _)| *from).collect();
        assert_eq!(from, [0.0, 50.0, 120.0, 150.0, 200.0]);
        assert_eq!(phases[0].1, phases[2].1, "memory that was given back leaves nothing behind");
        assert_eq!(phases[4].1.steps.len(), 2, "a split stays");
        assert!(phases[4].1.steps[0].split && phases[4].1.steps[1].capacity == 2.0);
    }

    #[test]
    fn bounds_are_those_of_the_tightest_place() {
        let plant =
            plant::named("[target]\nrequest_units = 8000\nshares = [0.5, 0.25, 0.25]\ncapacity = 5000");
        assert_eq!(bound(&plant), 2_000.0);
        assert_eq!(bound(&plant::named("")), f64::INFINITY);
    }

    /// Of 16 cores 0.7 are 11.2; a document takes 1 ms of one, and 34 us go to its reading and its request.
    #[test]
    fn steps_are_bounded_by_the_ceiling_of_the_cpu_and_by_what_crowds_them() {
        let of = |text: &str| bound_of_steps(&plant::named(text), &CEILINGS);
        let free = of("[transform]\ndocument_seconds = 0.001");
        assert!((free / 10_836.0 - 1.0).abs() < 0.01, "{free}");
        assert!(of("[transform]\ndocument_seconds = 0.001\ncontention = 0.1") < 0.6 * free);
        let engines = of("[transform]\ndocument_seconds = 0.001\nengines = 3");
        assert!((engines - 3_000.0).abs() < 1.0, "{engines}");
    }

    /// Four requests a round trip of a tenth of a second are the knee; the oracle finds them without knowing.
    #[test]
    fn the_knee_is_found_and_nothing_larger() {
        let plant = plant::named(
            "seconds = 60\ncounted_from = 20\n[target]\nlatency = 0.1\nvariation = 0.01\ncapacity = 10000",
        );
        let first = Oracle::search(&plant, CEILINGS, START).phases[0].1.knobs;
        assert!((10..=13).contains(&first.requests_in_flight), "{first:?}");
        assert!(first.transformers <= 6, "{first:?}");
    }
}
