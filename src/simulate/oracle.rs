//! The oracle: the best fixed setting there is for a plant, found by trying, for each stretch of time in which the plant does not change.
//!
//! It knows what no tuner knows, and pays nothing for what is thrown back. It keeps the ceilings. The search begins from a coarse grid, whose best
//! settings are then refined one knob at a time.

use super::plant::{Plant, Step};
use super::rivals::Fixed;
use super::world::{Outcome, World};
use crate::model::knobs::{Ceilings, Knobs};

/// Seconds that a setting of the grid is played, and from when on it counts.
const TRIED: (u32, usize) = (60, 25);

/// The same for those that are refined.
const REFINED: (u32, usize) = (300, 60);

/// Settings of the grid that are refined.
const CANDIDATES: usize = 5;

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

    /// The best setting at first: what rivals are given.
    pub(super) fn first(&self) -> Knobs {
        self.phases[0].1.knobs
    }

    /// Searches.
    pub(super) fn search(plant: &Plant, ceilings: Ceilings, start: Knobs) -> Self {
        let mut known: Vec<(Plant, Best)> = Vec::new();
        let phases = phases(plant).into_iter().map(|(from, phase)| {
            let before = known.iter().find(|(plant, _)| *plant == phase).map(|(_, best)| *best);
            let best = before.unwrap_or_else(|| best_of(&phase, ceilings, start));
            if before.is_none() {
                known.push((phase, best));
            }
            (from, best)
        });
        Self { phases: phases.collect() }
    }
}

/// The stretches of a plant without a change, each as a plant of its own.
fn phases(plant: &Plant) -> Vec<(f64, Plant)> {
    let mut split = plant.clone();
    (split.tuners, split.steps) = (1, Vec::new());
    let mut phases = vec![(0.0, split.clone())];
    for step in &plant.steps {
        if step.split {
            let shares = &mut split.target.shares;
            let fullest =
                (0..shares.len()).reduce(|a, b| if shares[b] > shares[a] { b } else { a }).unwrap_or(0);
            // A partition that has split is two of half the budget: seen from the target as a whole, as if it had not.
            let _ = fullest;
        }
        let at_once = Step { at: 0.0, over: 0.0, split: false, ..*step };
        let settled = step.at + step.over;
        let phase = Plant {
            steps: if at_once == Step::none() { Vec::new() } else { vec![at_once] },
            ..split.clone()
        };
        phases.push((settled.min(step.at + step.over), phase));
    }
    phases
}

fn best_of(plant: &Plant, ceilings: Ceilings, start: Knobs) -> Best {
    let value = |knobs: &Knobs, (seconds, from): (u32, usize)| {
        let plant = Plant { seconds, ..plant.clone() };
        let fixed = || Box::new(Fixed(*knobs)) as Box<dyn super::controller::Controller>;
        let outcome = World::new(&plant, ceilings, *knobs, SEED, fixed).play().swap_remove(0);
        if breaks_a_ceiling(&outcome) { 0.0 } else { mean(&outcome.written[from..seconds as usize]) }
    };
    let mut tried: Vec<(f64, Knobs)> = grid(start).map(|knobs| (value(&knobs, TRIED), knobs)).collect();
    tried.sort_by(|a, b| b.0.total_cmp(&a.0));
    tried.truncate(CANDIDATES);
    let refined = tried.into_iter().map(|(_, knobs)| climb(knobs, |knobs| value(knobs, REFINED)));
    let bound = bound(plant);
    let refined =
        refined.map(|best| Best { documents_per_second: best.documents_per_second.min(bound), ..best });
    let best = refined.max_by(|a, b| a.documents_per_second.total_cmp(&b.documents_per_second));
    best.unwrap_or(Best { knobs: start, documents_per_second: 0.0 })
}

/// What no setting can pass for long, where it can be told: a run of some minutes may, out of what queues take up or give back.
fn bound(plant: &Plant) -> f64 {
    let step = plant.steps.first().copied().unwrap_or(Step::none());
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

/// Turns one knob at a time while that helps.
fn climb(first: Knobs, value: impl Fn(&Knobs) -> f64) -> Best {
    let mut best = Best { knobs: first, documents_per_second: value(&first) };
    for factor in [1.3, 1.12] {
        let mut improved = true;
        while improved {
            improved = false;
            for knobs in neighbours(&best.knobs, factor) {
                let documents_per_second = value(&knobs);
                if documents_per_second > best.documents_per_second * 1.002 {
                    best = Best { knobs, documents_per_second };
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
