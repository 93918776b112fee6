//! The simulated target: request units in windows of a second by partition, a capacity that all share, and a latency that grows with what is in flight.

use super::chance::Chance;
use super::plant::{Plant, Step};

/// A throttled request comes back at once: nothing is done for it.
const THROTTLED_AFTER: f64 = 0.01;

/// A partition that has less than this may spend what it has saved, up to this (Cosmos DB's burst capacity).
const BURST_RATE: f64 = 3_000.0;

/// So many seconds' worth are kept.
const BURST_SECONDS: f64 = 300.0;

/// Request units of two requests of equal size differ by this share.
const COST_VARIATION: f64 = 0.1;

/// Bytes of the largest document that it takes.
const LARGEST: f64 = 2e6;

/// What becomes of a request, known from the moment it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Answer {
    /// When it is answered.
    pub(super) at: f64,
    /// Documents written.
    pub(super) taken: u32,
    /// Documents thrown back.
    pub(super) throttled: u32,
    /// How long the target asks to wait, since it looked at the request.
    pub(super) retry_after: f64,
    /// The charge.
    pub(super) request_units: f64,
    /// Nothing was written, and for no good reason.
    pub(super) failed: bool,
    /// The partition has split: nothing was written.
    pub(super) gone: bool,
}

/// One physical partition.
#[derive(Clone, Debug)]
struct Partition {
    /// Request units per second at first; 0 is no limit.
    budget: f64,
    /// When its windows begin.
    phase: f64,
    window: i64,
    used: f64,
    /// Saved for a burst.
    saved: f64,
    /// Into which it has split.
    children: Option<(usize, usize)>,
}

/// The target.
#[derive(Debug)]
pub(super) struct Target<'a> {
    plant: &'a Plant,
    partitions: Vec<Partition>,
    /// Share of the documents of each partition that never split, by partition.
    pub(super) shares: Vec<f64>,
    pub(super) step: Step,
    /// The capacity is spoken for until then.
    busy_until: f64,
    /// Requests that it works on.
    pub(super) outstanding: u32,
}

impl<'a> Target<'a> {
    pub(super) fn new(plant: &'a Plant, chance: &mut Chance) -> Self {
        let partition = |chance: &mut Chance| Partition {
            budget: plant.target.request_units,
            phase: chance.uniform(),
            window: 0,
            used: 0.0,
            saved: if plant.target.burst { BURST_SECONDS * plant.target.request_units } else { 0.0 },
            children: None,
        };
        Self {
            plant,
            partitions: plant.target.shares.iter().map(|_| partition(chance)).collect(),
            shares: plant.target.shares.clone(),
            step: Step::none(),
            busy_until: 0.0,
            outstanding: 0,
        }
    }

    /// The two partitions into which this one has split.
    pub(super) fn children(&self, partition: usize) -> Option<(usize, usize)> {
        self.partitions[partition].children
    }

    /// Partitions that there ever were.
    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// The fullest partition splits.
    pub(super) fn split(&mut self) {
        let fullest =
            (0..self.shares.len()).reduce(|a, b| if self.shares[b] > self.shares[a] { b } else { a });
        let Some(parent) = fullest else { return };
        let first = self.partitions.len();
        let child = Partition {
            budget: self.partitions[parent].budget / 2.0,
            used: 0.0,
            ..self.partitions[parent].clone()
        };
        self.partitions[parent].children = Some((first, first + 1));
        self.partitions.extend([child.clone(), child]);
        self.shares.extend([self.shares[parent] / 2.0; 2]);
        self.shares[parent] = 0.0;
    }

    /// Sends `documents` at once.
    pub(super) fn send(&mut self, chance: &mut Chance, now: f64, partition: usize, documents: u32) -> Answer {
        let target = &self.plant.target;
        if self.partitions[partition].children.is_some() {
            return Answer { at: now + THROTTLED_AFTER, gone: true, ..Answer::default() };
        }
        let beside = f64::from(self.outstanding);
        let crowd = 1.0 + target.contention * beside + target.coherence * beside * (beside + 1.0);
        let latency = target.latency * self.step.latency * chance.about_one(target.variation) * crowd;
        if self.step.failing > 0.0 && chance.uniform() < self.step.failing {
            return Answer { at: now + latency, failed: true, ..Answer::default() };
        }
        let mut answer = Answer { at: now + latency, taken: documents, ..Answer::default() };
        if target.request_units > 0.0 {
            self.charge(chance, now, partition, documents, &mut answer);
        }
        if target.capacity > 0.0 && answer.taken > 0 {
            let capacity = target.capacity * self.step.capacity;
            self.busy_until = self.busy_until.max(now) + f64::from(answer.taken) / capacity;
            answer.at = answer.at.max(self.busy_until);
        }
        answer
    }

    fn charge(
        &mut self,
        chance: &mut Chance,
        now: f64,
        partition: usize,
        documents: u32,
        answer: &mut Answer,
    ) {
        let size = match self.plant.documents.tail {
            Some(exponent) => {
                let most = LARGEST / self.plant.documents.bytes;
                (0..documents).map(|_| chance.pareto(exponent, most)).sum::<f64>() / f64::from(documents)
            }
            None => 1.0,
        };
        let cost = self.plant.target.document_request_units * size * chance.about_one(COST_VARIATION);
        let state = &mut self.partitions[partition];
        let budget = state.open_window(now, state.budget * self.step.capacity, self.plant.target.burst);
        let left = budget - state.used;
        answer.taken = if left <= 0.0 { 0 } else { documents.min((left / cost).ceil() as u32) };
        answer.throttled = documents - answer.taken;
        answer.request_units = cost * f64::from(answer.taken);
        state.used += answer.request_units;
        if answer.throttled > 0 {
            let windows = (state.used / budget).floor().max(1.0);
            let edge = state.window as f64 + state.phase + windows;
            // Told in whole milliseconds, as the service does.
            answer.retry_after = ((edge - now).max(0.0) * 1e3).ceil() / 1e3;
            if answer.taken == 0 {
                answer.at = now + THROTTLED_AFTER;
            }
        }
    }
}

impl Partition {
    /// Opens the window of `now` and tells what may be spent in it.
    fn open_window(&mut self, now: f64, budget: f64, bursts: bool) -> f64 {
        let window = (now - self.phase).floor() as i64;
        if window > self.window {
            let windows = (window - self.window) as f64;
            if bursts {
                let unused = budget - self.used;
                self.saved =
                    (self.saved + unused + budget * (windows - 1.0)).clamp(0.0, BURST_SECONDS * budget);
                self.used = if self.used > budget + self.saved { self.used - budget } else { 0.0 };
            } else {
                self.used = (self.used - budget * windows).max(0.0);
            }
            self.window = window;
        }
        if bursts && budget < BURST_RATE { (budget + self.saved).min(BURST_RATE) } else { budget }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::plant;

    fn metered(more: &str) -> Plant {
        plant::named(&format!("[target]\nrequest_units = 1000\nshares = [1.0]\n{more}"))
    }

    /// Sends a full request every 10 ms for `seconds`, and returns what was charged in each window.
    fn flood(plant: &Plant, seconds: u32) -> (Vec<f64>, f64) {
        let mut chance = Chance::new(3);
        let mut target = Target::new(plant, &mut chance);
        let phase = target.partitions[0].phase;
        let mut windows = vec![0.0; seconds as usize + 1];
        let mut largest: f64 = 0.0;
        for step in 0..seconds * 100 {
            let now = 1.0 + f64::from(step) / 100.0;
            let answer = target.send(&mut chance, now, 0, 20);
            windows[(now - phase).floor() as usize] += answer.request_units;
            largest = largest.max(answer.request_units);
            assert_eq!(answer.taken + answer.throttled, 20);
            if answer.throttled > 0 {
                let back = now + answer.retry_after - phase;
                assert!(back >= (now - phase).floor() + 1.0 - 1e-9, "{back} is in the same window");
            }
        }
        (windows, largest)
    }

    #[test]
    fn a_window_charges_no_more_than_its_budget_and_one_request() {
        let (windows, largest) = flood(&metered(""), 100);
        assert!(largest > 100.0);
        for window in &windows[1..100] {
            assert!(*window > 700.0 && *window <= 1_000.0 + largest, "{window}");
        }
        let all: f64 = windows[1..100].iter().sum();
        assert!(all <= 99.0 * 1_000.0 + largest, "what was too much in a window is owed in the next: {all}");
    }

    #[test]
    fn what_was_saved_is_spent_at_three_thousand_a_second_and_then_it_is_gone() {
        let (windows, _) = flood(&metered("burst = true"), 250);
        assert!(windows[50] > 1_500.0, "{}", windows[50]);
        let late = windows[220..240].iter().sum::<f64>() / 20.0;
        assert!((900.0..1_100.0).contains(&late), "{late}");
        let all: f64 = windows.iter().sum();
        assert!(all <= 251_000.0 + 300_000.0 + 4_000.0, "{all}");
    }

    #[test]
    fn a_partition_that_has_split_does_nothing_and_its_halves_have_half_each() {
        let plant = metered("");
        let mut chance = Chance::new(3);
        let mut target = Target::new(&plant, &mut chance);
        target.split();
        assert_eq!(target.children(0), Some((1, 2)));
        let answer = target.send(&mut chance, 5.0, 0, 20);
        assert!(answer.gone && answer.taken == 0);
        assert_eq!(target.partitions[1].budget, 500.0);
        assert_eq!(target.shares, [0.0, 0.5, 0.5]);
    }

    #[test]
    fn contention_and_capacity_delay_what_is_sent_beside() {
        let plant = plant::named("[target]\nlatency = 1\nvariation = 0\ncontention = 0.5\ncapacity = 10");
        let mut chance = Chance::new(3);
        let mut target = Target::new(&plant, &mut chance);
        assert_eq!(target.send(&mut chance, 0.0, 0, 1).at, 1.0);
        target.outstanding = 2;
        assert_eq!(target.send(&mut chance, 0.0, 0, 1).at, 2.0);
        assert_eq!(target.send(&mut chance, 0.0, 0, 48).at, 5.0);
    }
}
