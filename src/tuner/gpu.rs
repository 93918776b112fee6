//! The memory of a GPU: fewer workers, because batches that wait are as large as they were; and smaller batches, so that the workers can come back.
//!
//! How many documents it holds is known from a model of its memory ([`Gauge`]), so that what was cut comes back without a trial, as soon as the model
//! says that it fits. Workers are cut for what comes while their batches are under way; batches for what comes until those that are read now are.

use super::batch::RESIDENCE;
use super::gates::Gauge;
use super::{CUT_PAUSE, Tuner, Turn, percent};
use crate::model::decision::Reason;
use crate::model::knobs::{Knob, Knobs};
use crate::model::sample::Sample;
use crate::model::scaling::Policy;
use std::collections::VecDeque;

/// Memory is cut when it will come nearer to its ceiling than this, and to what stays this far below it. It never holds more than the workers' batches, so
/// the margins are narrower than those of the machine's memory.
const CUT_MARGIN: f64 = 0.01;
const GROW_MARGIN: f64 = 0.02;

/// A forecast looks ahead at least, and at most, so many seconds.
const LEAST_AHEAD: f64 = 4.0;
const MOST_AHEAD: f64 = 15.0;

/// Share of a GPU's memory that the documents in transform must explain, or they are not what fills it.
const OURS: f64 = 0.03;

/// Seconds without a reading after which there is no GPU any more.
const MISSING: f64 = 5.0;

/// Seconds from a change until something comes back.
const BACK_PAUSE: f64 = 2.0;

/// Batches come back when they may be larger by this factor.
const WORTH: f64 = 1.15;

/// Memory is known beforehand if it differs from what was expected by no more than this, and it is counted how often over so many windows.
const KNOWN: f64 = 0.03;
const WINDOWS: usize = 30;

/// Fewer workers are tried, in so large a step, where larger batches would yield at least so much (a logarithm).
const FEWER: f64 = 0.7;
const LEAST_GAIN: f64 = 0.05;

/// The share of that by which fewer workers may be slower with batches as they are.
const LOSS: f64 = 0.75;

/// What the workers have done for so many windows is what fewer are compared with; and seconds until it is tried again after it was in vain.
const FEWER_WINDOWS: u32 = 4;
const FEWER_PAUSE: f64 = 180.0;

/// Seconds for batches to grow, after fewer workers were enough; and until fewer are tried again that seemed to be.
const FEWER_REST: f64 = 30.0;

/// What is known of the GPU that is fullest.
#[derive(Clone, Debug)]
pub(super) struct Gpu {
    gauge: Gauge,
    /// Seconds that a batch takes in transform, and until one that is read now has left it.
    soon: f64,
    later: f64,
    uncut: Option<Uncut>,
    /// Whether the model knew the memory of each of the last windows beforehand.
    known: VecDeque<bool>,
    /// When they were turned last.
    batch_changed: f64,
    workers_changed: f64,
    /// When fewer workers may be tried.
    next_fewer: f64,
}

/// What there was before the ceiling took some of it.
#[derive(Clone, Copy, Debug)]
struct Uncut {
    workers: f64,
    /// Documents.
    batch: f64,
}

impl Default for Gpu {
    fn default() -> Self {
        Self {
            gauge: Gauge::default(),
            soon: LEAST_AHEAD,
            later: LEAST_AHEAD,
            uncut: None,
            known: VecDeque::new(),
            batch_changed: f64::NEG_INFINITY,
            workers_changed: f64::NEG_INFINITY,
            next_fewer: 0.0,
        }
    }
}

impl Gpu {
    /// There is none, or it does not tell.
    pub(super) fn is_silent(&self) -> bool {
        self.gauge.is_silent()
    }

    /// How sure the model is: the share of the last windows whose memory it knew beforehand.
    pub(super) fn trust(&self) -> f64 {
        let known = self.known.iter().filter(|known| **known).count();
        known as f64 / self.known.len().max(1) as f64
    }

    fn add(&mut self, at: f64, documents: f64, memory: f64) {
        if let Some(expected) = self.gauge.expected([documents, 0.0]) {
            self.known.push_back((expected - memory).abs() <= KNOWN);
            if self.known.len() > WINDOWS {
                self.known.pop_front();
            }
        }
        self.gauge.add(at, [documents, 0.0], memory);
    }

    /// Workers were cut for another reason: so many are enough.
    pub(super) fn keep_cut(&mut self, knob: Knob, workers: f64) {
        if let Some(uncut) = self.uncut.as_mut().filter(|_| knob == Knob::Transformers) {
            uncut.workers = uncut.workers.min(workers);
        }
    }

    /// By what share of the value what is explained differs from what was measured.
    pub(super) fn relative_error(&self) -> f64 {
        self.gauge.relative_error()
    }
}

impl Tuner {
    pub(super) fn measure_gpu(&mut self, sample: &Sample) {
        let Some(memory) = sample.gpu_memory() else { return };
        self.gpu.add(sample.at.as_secs_f64(), sample.transforming_documents as f64, memory);
        let waiting = sample.credit_bytes_used as f64 / self.batches.document_bytes();
        let in_transform = 0.7 * self.transformers.piece_seconds + 2.0;
        let before = waiting / sample.transformers.documents_per_second.max(1.0);
        self.gpu.soon = in_transform.clamp(LEAST_AHEAD, MOST_AHEAD);
        self.gpu.later = (in_transform + before).clamp(LEAST_AHEAD, MOST_AHEAD);
    }

    /// Cuts what will not fit, and gives back what will.
    pub(super) fn brake_gpu(&mut self, turn: &mut Turn) {
        let ceiling = self.scaling.ceilings.gpu_memory;
        if turn.sample.gpu_out_of_memory > 0 && turn.now - self.gpu.batch_changed > CUT_PAUSE {
            return self.halve_batch(turn);
        }
        let Some(memory) = turn.sample.gpu_memory() else { return self.miss_gpu(turn) };
        let load = turn.knobs.transformers as f64 * self.batches.largest();
        let in_sight = self.gpu.gauge.with([load, 0.0], self.gpu.soon);
        let because = |in_sight| {
            format!(
                "{} of the GPU's memory in use, {} in sight, {} allowed",
                percent(memory),
                percent(in_sight),
                percent(ceiling)
            )
        };
        // What others fill is none of this run's doing, unless a person has said that it goes by the GPU.
        let is_theirs = !self.is_gpu_ours() && self.scaling.policy != Policy::GpuMemoryBased;
        let is_full = memory > ceiling - CUT_MARGIN / 2.0;
        let will_be_full = (in_sight > ceiling - CUT_MARGIN || is_full) && !is_theirs;
        if will_be_full && turn.knobs.transformers > 1 && !self.is_fixed(Knob::Transformers) {
            self.cut_workers(turn, &because(in_sight));
        } else if will_be_full && self.is_gpu_ours() {
            // What workers hold who are too many shall fit: one batch, if there is one worker.
            let aim = ceiling - GROW_MARGIN;
            let fit = self.gpu.gauge.fits([turn.knobs.transformers as f64, 0.0], aim, self.gpu.soon);
            self.cut_batch(turn, fit.max(1.0), &because(in_sight));
        } else if !will_be_full {
            self.give_back_workers(turn, memory);
        }
        let load = self.uncut_workers(turn) * self.batches.documents();
        let in_sight = self.gpu.gauge.with([load, 0.0], self.gpu.later);
        if in_sight > ceiling - CUT_MARGIN && !is_theirs && self.scaling.policy != Policy::GpuMemoryBased {
            let least = self.scaling.bounds.least.batch_documents as f64;
            self.cut_batch(turn, self.gpu_documents(turn).max(least), &because(in_sight));
        } else {
            self.give_back_batch(turn, memory);
        }
    }

    /// What is in transform has something to do with the GPU's memory.
    fn is_gpu_ours(&self) -> bool {
        let workers = self.gpu.uncut.map_or(self.transformers.size, |uncut| uncut.workers);
        let documents = workers * self.batches.largest();
        self.gpu.gauge.explains(documents) > OURS
    }

    /// Workers that there are, or that there were before the ceiling took some.
    fn uncut_workers(&self, turn: &Turn) -> f64 {
        let workers = turn.knobs.transformers as f64;
        self.gpu.uncut.map_or(workers, |uncut| workers.max(uncut.workers))
    }

    /// Documents in a batch that the GPU's memory allows with the workers that there are, or were.
    pub(super) fn gpu_documents(&self, turn: &Turn) -> f64 {
        let aim = self.scaling.ceilings.gpu_memory - GROW_MARGIN;
        if self.is_gpu_ours() {
            self.gpu.gauge.fits([self.uncut_workers(turn), 0.0], aim, self.gpu.later)
        } else {
            f64::INFINITY
        }
    }

    /// Transformers of the present batch that the GPU's memory holds.
    pub(super) fn gpu_fits(&self) -> f64 {
        let aim = self.scaling.ceilings.gpu_memory - GROW_MARGIN;
        if self.is_gpu_ours() || self.scaling.policy == Policy::GpuMemoryBased {
            self.gpu.gauge.fits([self.batches.largest(), 0.0], aim, self.gpu.soon)
        } else {
            f64::INFINITY
        }
    }

    /// Workers that a ceiling took are not back yet: there is nothing to search.
    pub(super) fn is_gpu_cut(&self, transformers: f64) -> bool {
        self.gpu.uncut.is_some_and(|uncut| transformers < uncut.workers)
    }

    fn halve_batch(&mut self, turn: &mut Turn) {
        if self.is_fixed(Knob::BatchDocuments) {
            return;
        }
        let because = format!("{} batches found no memory on the GPU", turn.sample.gpu_out_of_memory);
        let half = (self.batches.documents() / 2.0).max(1.0) as u64;
        turn.set(Knob::BatchDocuments, half, Reason::GpuCeiling, because, None);
        self.cut_at = turn.now;
        self.gpu.batch_changed = turn.now;
        self.abort(Knob::Transformers, turn.now);
    }

    fn cut_workers(&mut self, turn: &mut Turn, because: &str) {
        let transformers = turn.knobs.transformers as f64;
        if turn.now - self.gpu.workers_changed <= CUT_PAUSE {
            return;
        }
        self.note_uncut(turn);
        let to = self.gpu_fits().floor().clamp(1.0, transformers - 1.0);
        turn.set(Knob::Transformers, to as u64, Reason::GpuCeiling, because.to_owned(), None);
        self.gpu.workers_changed = turn.now;
        self.abort(Knob::Transformers, turn.now);
        self.transformers.bad = None;
    }

    fn cut_batch(&mut self, turn: &mut Turn, to: f64, because: &str) {
        if self.is_fixed(Knob::BatchDocuments) || turn.now - self.gpu.batch_changed <= CUT_PAUSE {
            return;
        }
        self.note_uncut(turn);
        if to < self.batches.documents() {
            self.resize_batch(turn, to, Reason::GpuCeiling, because);
        }
    }

    fn note_uncut(&mut self, turn: &Turn) {
        // Workers on trial have not been shown to pay.
        let workers = turn.knobs.transformers as f64;
        let workers = self.transformers.trial.map_or(workers, |trial| workers.min(trial.from));
        self.gpu.uncut.get_or_insert(Uncut { workers, batch: self.batches.documents() });
    }

    /// What a ceiling took comes back as far as it fits. That is no trial: it was there before.
    fn give_back_workers(&mut self, turn: &mut Turn, memory: f64) {
        let Some(uncut) = self.gpu.uncut else { return };
        let now = turn.knobs.transformers as f64;
        let by_cpu = self.cpu.most_transformers(now, self.scaling.ceilings.cpu);
        let to = self.gpu_fits().floor().min(uncut.workers).min(by_cpu);
        if to <= now || turn.now - self.gpu.workers_changed <= BACK_PAUSE {
            return;
        }
        let because = format!("{} of the GPU's memory in use", percent(memory));
        turn.set(Knob::Transformers, to as u64, Reason::MemoryFree, because, None);
        self.gpu.workers_changed = turn.now;
        self.transformers.drop_again();
        self.transformers.resize(to, turn.now);
    }

    /// A GPU that does not tell any more holds nothing back.
    fn miss_gpu(&mut self, turn: &mut Turn) {
        if self.gpu.is_silent() || self.gpu.gauge.age(turn.now) < MISSING {
            return;
        }
        if let Some(uncut) = std::mem::take(&mut self.gpu).uncut {
            let because = "the GPU does not tell its memory any more".to_owned();
            let workers = uncut.workers.max(turn.knobs.transformers as f64);
            turn.set(Knob::Transformers, workers as u64, Reason::MemoryFree, because.clone(), None);
            self.transformers.resize(workers, turn.now);
            if uncut.batch > self.batches.documents() {
                self.resize_batch(turn, uncut.batch, Reason::MemoryFree, &because);
            }
        }
    }

    fn give_back_batch(&mut self, turn: &mut Turn, memory: f64) {
        let Some(uncut) = self.gpu.uncut else { return };
        let to = self.gpu_documents(turn).min(uncut.batch);
        let size = self.batches.documents();
        if to > WORTH * size && turn.now - self.gpu.batch_changed > BACK_PAUSE {
            let because = format!("{} of the GPU's memory in use", percent(memory));
            if !self.resize_batch(turn, to, Reason::MemoryFree, &because) {
                // Other bounds hold it: that is all there is to give back.
                self.gpu.uncut.iter_mut().for_each(|uncut| uncut.batch = size);
            }
        } else if turn.knobs.transformers as f64 >= uncut.workers && WORTH * size >= uncut.batch {
            self.gpu.uncut = None;
        }
    }

    /// Where memory, or the time that a batch may take, bounds what the workers hold together, and a batch costs much beside its documents, fewer workers with
    /// larger batches may be faster: if they keep the GPU as busy. That is tried with batches as they are, and batches grow when it was not in vain.
    pub(super) fn propose_fewer(&mut self, turn: &mut Turn) {
        let (knob, size) = (Knob::Transformers, turn.knobs.transformers as f64);
        let is_full = self.gpu_documents(turn) < WORTH * self.batches.documents();
        let is_long = WORTH * self.transformers.piece_seconds > RESIDENCE;
        let is_fixed = self.is_fixed(knob) || self.is_fixed(Knob::BatchDocuments);
        let least = self.scaling.bounds.least.transformers as f64;
        if self.gpu.is_silent()
            || !(is_full || is_long)
            || is_fixed
            || size <= least
            || self.gpu.uncut.is_some()
            || turn.now < self.gpu.next_fewer
        {
            return;
        }
        let stage = &self.transformers;
        if !stage.is_bottleneck(self.slowest()) || stage.saturated.windows() < FEWER_WINDOWS {
            return;
        }
        let to = (FEWER * size).round().clamp(least, size - 1.0);
        let gain = self.batches.worth_of(size / to);
        if gain < LEAST_GAIN {
            return;
        }
        let more = percent(gain.exp() - 1.0);
        let because =
            format!("the GPU's memory is full, and batches for fewer workers would yield {more} more");
        self.gpu.next_fewer = turn.now + FEWER_PAUSE;
        self.transformers.begin(turn, to, -LOSS * gain, because, None);
    }

    /// Fewer workers were tried: they are enough, or seemed to be.
    pub(super) fn fewer_ended(&mut self, now: f64, are_enough: bool, seemed: bool) {
        if are_enough {
            let stage = &mut self.transformers;
            // More of them were no faster.
            stage.bad = Some(stage.size + 1.0);
            stage.settled = false;
            stage.next_try = now + FEWER_REST;
            self.gpu.next_fewer = now;
        } else if seemed {
            self.gpu.next_fewer = now + FEWER_REST;
        }
    }

    /// Credits go with it: what waits shall not be more batches than before. Says whether anything has changed.
    fn resize_batch(&mut self, turn: &mut Turn, to: f64, reason: Reason, because: &str) -> bool {
        let is_less = to < self.batches.documents();
        let slots = Knobs { transformers: self.uncut_workers(turn) as usize, ..turn.knobs }.slots();
        let credits = (1.01 * to * slots * self.batches.document_bytes()).min(self.most_credits(turn));
        let credits = credits.min(self.scaling.bounds.most.credit_bytes as f64);
        let credits = (credits as u64).max(self.first_credits.min(turn.knobs.credit_bytes));
        let mut has_changed = turn.set(Knob::BatchDocuments, to as u64, reason, because.to_owned(), None);
        if !self.is_fixed(Knob::CreditBytes) && (credits < turn.knobs.credit_bytes) == is_less {
            has_changed |= turn.set(Knob::CreditBytes, credits, reason, because.to_owned(), None);
        }
        if !has_changed {
            return false;
        }
        self.gpu.batch_changed = turn.now;
        for stage in [&mut self.readers, &mut self.transformers, &mut self.credits] {
            stage.restart(turn.now);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{gpus, knobs, pool, run, scaling, turned};
    use super::*;
    use crate::model::sample::Work;
    use crate::model::scaling::Scaling;

    /// Steps on a GPU that works on `engines` batches at a time, each of which costs a second beside its documents.
    fn steps(knobs: &Knobs, engines: f64) -> Sample {
        let (workers, batch) = (knobs.transformers as f64, knobs.batch_documents as f64);
        let crowd = (workers / engines).max(1.0);
        let mut work = Work::default();
        for factor in [0.94, 1.0, 1.06] {
            let documents = factor * batch;
            work += Work::of(documents, crowd * (1.0 + 2e-4 * documents));
        }
        let documents_per_second = workers * batch / (crowd * (1.0 + 2e-4 * batch));
        let held = (workers * batch) as u64;
        let mut transformers = pool(1.0, knobs.transformers, documents_per_second);
        transformers.work = work;
        let mut readers = pool(0.2, knobs.readers, documents_per_second);
        readers.bytes_per_second = 100.0 * documents_per_second;
        Sample {
            gpus: gpus(0.1 + 1e-5 * held as f64),
            memory: Some(0.1),
            transforming_documents: held,
            most_transforming_documents: held,
            documents_per_second,
            readers,
            transformers,
            requests: pool(0.2, knobs.requests_in_flight, documents_per_second),
            ..Sample::default()
        }
    }

    /// Documents per second at the end, and the workers.
    fn end(engines: f64) -> (f64, usize, Vec<Reason>) {
        let first = Knobs { transformers: 8, ..knobs() };
        let mut scaling = scaling();
        scaling.bounds.most.transformers = 8;
        let (knobs, all) = run(scaling, first, 300, |_, knobs| steps(knobs, engines));
        let workers = turned(&all).into_iter().filter(|turn| turn.1 == Knob::Transformers);
        (
            steps(&knobs, engines).documents_per_second,
            knobs.transformers,
            workers.map(|turn| turn.4).collect(),
        )
    }

    #[test]
    fn fewer_workers_make_room_for_larger_batches_where_they_are_as_fast() {
        let eight = steps(&Knobs { transformers: 8, batch_documents: 7_800, ..knobs() }, 2.0);
        let (documents_per_second, workers, _) = end(2.0);
        assert!(workers < 5, "{workers}");
        assert!(documents_per_second > 1.2 * eight.documents_per_second, "{documents_per_second}");
    }

    /// A run whose steps do not touch the GPU.
    fn beside(second: u64, knobs: &Knobs, memory: f64) -> Sample {
        let varied = 1.0 + 0.2 * (second % 3) as f64;
        let held = (varied * 1_000.0 * knobs.transformers as f64) as u64;
        Sample { gpus: gpus(memory), transforming_documents: held, ..steps(knobs, 100.0) }
    }

    #[test]
    fn a_gpu_that_others_fill_holds_nothing_back_but_where_a_person_goes_by_it() {
        for (policy, workers) in [(Policy::Hybrid, 8), (Policy::GpuMemoryBased, 1)] {
            let scaling = Scaling { policy, ..scaling() };
            let first = Knobs { transformers: 8, ..knobs() };
            let (knobs, all) = run(scaling, first, 60, |second, knobs| beside(second, knobs, 0.9));
            assert_eq!(knobs.transformers.min(8), workers, "{:?}", turned(&all));
            assert!(knobs.batch_documents >= 2_000, "{:?}", turned(&all));
        }
    }

    #[test]
    fn a_gpu_that_does_not_tell_any_more_gives_everything_back() {
        let mut scaling = scaling();
        scaling.bounds.most.transformers = 8;
        let first = Knobs { transformers: 8, batch_documents: 20_000, ..knobs() };
        let mut least = usize::MAX;
        let (knobs, all) = run(scaling, first, 60, |second, knobs| {
            least = least.min(knobs.transformers);
            let gpus = if second < 20 { steps(knobs, 8.0).gpus } else { Vec::new() };
            Sample { gpus, ..steps(knobs, 8.0) }
        });
        assert!(least < 8, "{:?}", turned(&all));
        assert_eq!(knobs.transformers, 8, "{:?}", turned(&all));
    }

    /// Others take a third of the GPU's memory for a while, just as a worker more is tried.
    #[test]
    fn what_comes_back_is_what_there_was_before_the_trial() {
        let mut others = 0.0;
        let (_, all) = run(scaling(), knobs(), 30, |second, knobs| {
            others = if knobs.transformers > 4 { 0.35 } else { others };
            others = if second > 12 { 0.0 } else { others };
            let held = (2_000.0 * knobs.transformers as f64) as u64;
            let own = steps(knobs, 64.0);
            Sample { gpus: gpus(0.1 + 1.8e-5 * held as f64 + others), transforming_documents: held, ..own }
        });
        let turned: Vec<_> = turned(&all).into_iter().filter(|turn| turn.1 == Knob::Transformers).collect();
        let cut = turned.iter().position(|turn| turn.4 == Reason::GpuCeiling).unwrap();
        let tried = turned[cut - 1];
        assert_eq!((tried.3, tried.4), (turned[cut].2, Reason::Probe), "{turned:?}");
        let back = turned.iter().rfind(|turn| turn.4 == Reason::MemoryFree).unwrap();
        assert_eq!(back.3, tried.2, "{turned:?}");
    }

    #[test]
    fn workers_come_back_whatever_the_least_of_a_batch_is() {
        for least in [1, 2_000] {
            let mut scaling = scaling();
            (scaling.bounds.most.transformers, scaling.bounds.least.batch_documents) = (8, least);
            let first = Knobs { transformers: 8, batch_documents: 20_000, ..knobs() };
            let (knobs, all) = run(scaling, first, 60, |_, knobs| steps(knobs, 8.0));
            assert_eq!(knobs.transformers, 8, "{least}: {:?}", turned(&all));
        }
    }

    #[test]
    fn where_workers_are_fixed_batches_are_cut() {
        let mut scaling = scaling();
        (scaling.bounds.least.transformers, scaling.bounds.most.transformers) = (8, 8);
        let first = Knobs { transformers: 8, batch_documents: 20_000, ..knobs() };
        let (knobs, all) = run(scaling, first, 30, |_, knobs| steps(knobs, 8.0));
        assert!(knobs.batch_documents * 8 < 65_000, "{:?}", turned(&all));
    }

    #[test]
    fn workers_that_are_all_needed_stay() {
        let (_, workers, reasons) = end(8.0);
        assert_eq!(workers, 8, "{reasons:?}");
        assert!(reasons.contains(&Reason::Revert), "fewer were tried: {reasons:?}");
    }
}
