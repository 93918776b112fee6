//! The size of a batch: what a batch costs beside its documents, and how large it must be for that not to matter.

use super::normal::distribution;
use super::search::NEAR;
use super::stage::Stage;
use super::{AHEAD, GROW_MARGIN, Tuner, Turn, percent};
use crate::model::decision::Reason;
use crate::model::knobs::{Knob, Knobs};
use crate::model::sample::{PoolUse, Sample, Work};

/// The share of a batch's time that it may cost beside its documents. A batch twenty times as large is not twice as good, but takes twenty times the memory.
const OVERHEAD: f64 = 0.05;

/// No batch shall take longer than this: a run that is stopped waits for it, and long batches come to the target in convoys.
pub(super) const RESIDENCE: f64 = 8.0;

/// To see better what a batch costs it is made no longer than this where it is likelier than not to cost little: of what takes so long, hardly anything is
/// lost beside its documents.
const LOOK: f64 = 3.0;

/// How much of the largest batch a window keeps.
const FORGET: f64 = 0.9;

/// How much of the sums a window keeps.
const KEEP: f64 = 0.97;

/// No batch shall be larger than this many times one that has come to its end: a line through small batches says little of large ones.
const REACH: f64 = 4.0;

/// Pieces from which on costs are judged.
const ENOUGH: f64 = 6.0;

/// Seconds between two moves.
const PAUSE: f64 = 2.0;

/// A move is worth making from this factor on.
const LEAST: f64 = 1.08;

/// What batches have cost.
#[derive(Debug, Default)]
pub(super) struct Batches {
    readers: Cost,
    transformers: Cost,
    documents: f64,
    /// Documents in a batch in transform, the largest lately.
    waiting: f64,
    document_bytes: f64,
    changed: f64,
}

/// Sums over batches of one pool, for each of the last sizes that the pool had: with other workers beside it a batch takes another time.
#[derive(Debug, Default)]
struct Cost {
    sums: Vec<(usize, Work)>,
    /// The last line that batches of different sizes have shown: it holds while they are of one size.
    line: Option<Line>,
}

/// Seconds of a batch beside its documents, with standard error, and seconds of a document.
#[derive(Clone, Copy, Debug)]
struct Line {
    fixed: f64,
    error: f64,
    slope: f64,
}

/// Sizes of a pool that are remembered: the one before a trial and the one on trial.
const SIZES: usize = 2;

impl Line {
    /// The share of a batch's time that it costs beside its documents.
    fn share(&self, documents: f64) -> f64 {
        self.fixed / (self.fixed + self.slope * documents)
    }

    /// How sure it is that this share is above [`OVERHEAD`].
    fn is_costly(&self, documents: f64) -> f64 {
        let allowed = OVERHEAD / (1.0 - OVERHEAD) * self.slope * documents;
        distribution((self.fixed - allowed) / self.error.max(1e-12))
    }

    /// Documents with which it is just that, or that take as long as a batch may, of which one with so many takes so many seconds now.
    fn best(&self, documents: f64, seconds: f64) -> f64 {
        let by_share = (1.0 - OVERHEAD) / OVERHEAD * self.fixed.max(0.0) / self.slope;
        let share = self.share(documents).clamp(0.0, 0.99);
        by_share.min(documents * (RESIDENCE / seconds - share).max(0.0) / (1.0 - share))
    }
}

impl Cost {
    fn add(&mut self, work: &Work, size: usize) {
        let known = self.sums.iter().position(|(known, _)| *known == size);
        let (_, mut sums) = known.map_or((size, Work::default()), |at| self.sums.remove(at));
        sums *= KEEP;
        sums += *work;
        self.sums.insert(0, (size, sums));
        self.sums.truncate(SIZES);
        self.line = self.fit().or(self.line);
    }

    /// Documents in a batch that has come to its end lately.
    fn finished(&self) -> f64 {
        self.sums.first().map_or(0.0, |(_, work)| work.documents_squared / work.documents.max(1.0))
    }

    fn is_known(&self) -> bool {
        self.sums.first().is_some_and(|(_, work)| work.pieces >= ENOUGH)
    }

    /// A line through batches of different sizes.
    fn fit(&self) -> Option<Line> {
        let Work { pieces, documents, documents_squared, seconds, seconds_squared, documents_seconds } =
            self.sums.first()?.1;
        if pieces < ENOUGH {
            return None;
        }
        let (x, y) = (documents / pieces, seconds / pieces);
        let spread = documents_squared / pieces - x * x;
        if spread < 0.002 * x * x {
            return None;
        }
        let slope = (documents_seconds / pieces - x * y) / spread;
        if slope <= 0.0 {
            return None;
        }
        let rest = (seconds_squared / pieces - y * y - slope * slope * spread).max(0.0) / pieces;
        let fixed = y - slope * x;
        let error = (rest * (1.0 + x * x / spread)).sqrt();
        Some(Line { fixed, error, slope })
    }
}

impl Batches {
    pub(super) fn measure(&mut self, sample: &Sample, knobs: &Knobs) {
        self.readers.add(&sample.readers.work, knobs.readers);
        self.transformers.add(&sample.transformers.work, knobs.transformers);
        let PoolUse { documents_per_second, bytes_per_second, .. } = sample.readers;
        if documents_per_second > 0.0 && bytes_per_second > 0.0 {
            self.document_bytes = bytes_per_second / documents_per_second;
        }
        let workers = (sample.transformers.busy * knobs.transformers as f64).round().max(1.0);
        self.waiting = (self.waiting * FORGET).max(sample.transforming_documents as f64 / workers);
        let by_bytes = knobs.batch_bytes() as f64 / self.document_bytes.max(1.0);
        self.documents = if self.document_bytes > 0.0 {
            by_bytes.min(knobs.batch_documents as f64)
        } else {
            knobs.batch_documents as f64
        };
    }

    /// By what factor transformers would be faster with batches so many times as large, as a logarithm: nothing is known beforehand.
    pub(super) fn worth_of(&self, times: f64) -> f64 {
        let Some(Line { fixed, slope, .. }) = self.transformers.line else { return 0.0 };
        let seconds = |documents| fixed.max(0.0) / documents + slope;
        f64::ln(seconds(self.documents) / seconds(times * self.documents))
    }

    /// The world has changed: what batches cost is to be learnt anew.
    pub(super) fn forget(&mut self) {
        (self.readers, self.transformers) = (Cost::default(), Cost::default());
    }

    /// Documents in the largest batch that a transformer may have now: those that wait are as large as batches were when they were read.
    pub(super) fn largest(&self) -> f64 {
        self.documents.max(self.waiting)
    }

    /// Bytes of a document.
    pub(super) fn document_bytes(&self) -> f64 {
        self.document_bytes.max(1.0)
    }

    /// Documents in a batch as things stand.
    pub(super) fn documents(&self) -> f64 {
        self.documents
    }
}

impl Tuner {
    /// Makes batches larger where they cost too much beside their documents and the pool that pays for it has no other way to be faster.
    pub(super) fn size_batches(&mut self, turn: &mut Turn) {
        let now = turn.now;
        let least = PAUSE.max(1.2 * self.readers.piece_seconds).max(1.2 * self.transformers.piece_seconds);
        let rests = self.is_unit_bound() || self.is_after_cut(now) || self.is_goal_met();
        if now - self.batches.changed < least || now < 2.0 || rests {
            return;
        }
        if self.readers.trial.is_some() || self.transformers.trial.is_some() || self.credits.trial.is_some() {
            return;
        }
        let size = self.batches.documents;
        let slowest = self.slowest();
        let mut wanted: Option<(f64, Option<f64>, String)> = None;
        for (stage, cost) in
            [(&self.readers, &self.batches.readers), (&self.transformers, &self.batches.transformers)]
        {
            // A pool that merely fills what has grown is no bottleneck.
            let is_near = stage.capacity() <= NEAR * slowest;
            if stage.busy_smoothed < 0.7 || stage.piece_seconds <= 0.0 || !is_near {
                continue;
            }
            let sure = cost.line.map(|line| line.is_costly(size));
            let (documents, confidence, because) = match cost.line.zip(sure) {
                Some((line, sure)) if sure >= self.scaling.confidence => {
                    let share = percent(line.share(size));
                    (
                        line.best(size, stage.piece_seconds),
                        Some(sure),
                        format!("a batch costs {share} of its time beside its documents"),
                    )
                }
                Some((_, sure)) if sure <= 1.0 - self.scaling.confidence => continue,
                // Batches of one size tell nothing: another size does.
                _ if cost.is_known() && self.has_no_other_way(turn, stage) => {
                    let seconds = if sure.is_none_or(|sure| sure > 0.5) { RESIDENCE } else { LOOK };
                    (
                        (size * self.scaling.batch_step).min(size * seconds / stage.piece_seconds),
                        None,
                        "to see what a batch costs beside its documents".to_owned(),
                    )
                }
                _ => continue,
            };
            let documents = documents.min(REACH * cost.finished());
            if wanted.as_ref().is_none_or(|(most, ..)| documents > *most) {
                wanted = Some((documents, confidence, because));
            }
        }
        if let Some((documents, confidence, because)) = wanted {
            self.set_batch(turn, documents, confidence, because);
        }
    }

    /// More workers have not been shown to pay, or there may be no more.
    fn has_no_other_way(&self, turn: &Turn, stage: &Stage) -> bool {
        let by_cpu = self.cpu.most_transformers(turn.knobs.transformers as f64, self.scaling.ceilings.cpu);
        let most = self.scaling.bounds.most.get(stage.knob) as f64;
        let most = if stage.knob == Knob::Transformers { most.min(by_cpu) } else { most };
        stage.is_at_end() || stage.size >= most
    }

    /// Lets credits follow the pools, so that a batch is as large as before: a pool of another size is then compared with itself. Batches of
    /// many documents may shrink.
    pub(super) fn follow_pools(&mut self, turn: &mut Turn, before: &Knobs) {
        let size = self.batches.documents;
        let is_by_bytes = size < turn.knobs.batch_documents as f64;
        let share = turn.knobs.slots() / before.slots();
        // Of the smaller batch, before or after: what goes up without credits comes down without. On a GPU a batch of another size is another load.
        let least = self.scaling.bounds.least.batch_documents as f64;
        let enough = size / share.max(1.0) >= least && turn.sample.gpu_memory().is_none();
        // Where request units hold documents up, credits are what lanes that still have some are fed from.
        let is_needed = share < 1.0 && self.is_unit_bound();
        let stays = share == 1.0 || is_needed || enough;
        if stays || !is_by_bytes || self.is_fixed(Knob::CreditBytes) {
            return;
        }
        let credits = turn.knobs.credit_bytes as f64;
        let most = self.most_credits(turn).min(self.scaling.bounds.most.credit_bytes as f64);
        let least = self.first_credits.min(turn.knobs.credit_bytes) as f64;
        let to = if share > 1.0 { (credits * share).min(most) } else { (credits * share).max(least) };
        if (to > credits) == (share > 1.0) {
            let because = "so that a batch stays as large as it is".to_owned();
            turn.set(Knob::CreditBytes, to as u64, Reason::Batch, because, None);
            self.credits.restart(turn.now);
        }
    }

    fn set_batch(&mut self, turn: &mut Turn, wanted: f64, confidence: Option<f64>, because: String) {
        let step = self.scaling.batch_step;
        let size = self.batches.documents;
        let bytes = self.batches.document_bytes.max(1.0);
        let mut to = wanted.clamp(size / step, size * step);
        if turn.sample.gpu_memory().is_some() {
            to = to.min(self.gpu_documents(turn));
        }
        let slots = turn.knobs.slots();
        let bounds = self.scaling.bounds;
        let one = [slots * bytes, turn.knobs.transformers as f64];
        let by_memory = self.memory.fits(one, self.scaling.ceilings.memory - GROW_MARGIN, AHEAD);
        let by_memory = if self.memory.is_silent() { size } else { by_memory };
        to = to
            .min(by_memory)
            .min(bounds.most.credit_bytes as f64 / slots / bytes)
            .min(bounds.most.batch_documents as f64);
        if to < size * LEAST {
            return;
        }
        let credits = (to * slots * bytes * 1.01).min(bounds.most.credit_bytes as f64) as u64;
        let mut moved = false;
        if !self.is_fixed(Knob::CreditBytes) && credits > turn.knobs.credit_bytes {
            moved |= turn.set(Knob::CreditBytes, credits, Reason::Batch, because.clone(), confidence);
        }
        if !self.is_fixed(Knob::BatchDocuments) && to > turn.knobs.batch_documents as f64 {
            moved |= turn.set(Knob::BatchDocuments, to as u64, Reason::Batch, because, confidence);
        }
        if moved {
            self.batches.changed = turn.now;
            for stage in [&mut self.readers, &mut self.transformers, &mut self.credits] {
                stage.drop_again();
                stage.restart(turn.now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{knobs, pool, run, scaling, target, turned};
    use super::*;

    /// Batches of one size, which say nothing of what a batch costs.
    fn batches(documents: f64) -> Work {
        let mut work = Work::default();
        (0..10).for_each(|_| work += Work::of(documents, 0.5 + 1e-3 * documents));
        work
    }

    #[test]
    fn what_a_batch_costs_is_known_while_batches_are_of_one_size() {
        let mut cost = Cost::default();
        cost.add(&batches(1_000.0), 4);
        assert!(cost.line.is_none());
        cost.add(&batches(2_000.0), 4);
        (0..300).for_each(|_| cost.add(&batches(2_000.0), 4));
        let line = cost.line.unwrap();
        assert!((line.share(2_000.0) - 0.2).abs() < 1e-6, "{line:?}");
        assert!((line.best(2_000.0, 2.5) - 7_500.0).abs() < 1.0, "eight seconds: {line:?}");
    }

    /// The largest batches, where a batch takes `seconds`, and whatever they hold, all are of one size.
    fn grown(seconds: f64) -> usize {
        let mut scaling = scaling();
        (scaling.bounds.most.transformers, scaling.bounds.least.transformers) = (4, 4);
        let first = Knobs { transformers: 4, ..knobs() };
        let (knobs, _) = run(scaling, first, 60, |_, knobs| {
            let documents = knobs.batch_documents as f64;
            let mut work = Work::default();
            (0..10).for_each(|_| work += Work::of(documents, seconds));
            let per_second = 4.0 * documents / seconds;
            let transformers = PoolUse { work, ..pool(1.0, 4, per_second) };
            let mut readers = pool(0.2, knobs.readers, per_second);
            readers.bytes_per_second = 10.0 * per_second;
            let requests = pool(0.2, knobs.requests_in_flight, per_second);
            Sample { memory: Some(0.1), transformers, readers, requests, ..target(knobs, 1) }
        });
        knobs.batch_documents
    }

    #[test]
    fn batches_of_one_size_are_made_larger_once_to_see_what_they_cost_as_long_as_they_take_no_eight_seconds()
    {
        let first = knobs().batch_documents;
        assert!(grown(4.5) > first);
        assert_eq!(grown(7.9), first);
    }

    /// Credits are promised to be 16 MiB at most, and batches want to be larger than they allow.
    #[test]
    fn credits_never_pass_their_bound() {
        let mut scaling = scaling();
        scaling.bounds.most.credit_bytes = 16 << 20;
        (scaling.bounds.most.transformers, scaling.bounds.most.readers) = (2, 2);
        let first = Knobs { credit_bytes: 8 << 20, ..knobs() };
        let (_, all) = run(scaling, first, 60, |second, knobs| {
            let documents = (knobs.batch_bytes() / 520) as f64 * (1.0 + 0.2 * (second % 2) as f64);
            let mut work = Work::default();
            (0..10).for_each(|_| work += Work::of(documents, 0.5 + 1e-4 * documents));
            let transformers = PoolUse { work, ..pool(1.0, knobs.transformers, 10.0 * documents) };
            let mut readers = pool(0.2, knobs.readers, 10.0 * documents);
            readers.bytes_per_second = 520.0 * readers.documents_per_second;
            let requests = pool(0.2, knobs.requests_in_flight, 10.0 * documents);
            Sample { memory: Some(0.1), transformers, readers, requests, ..target(knobs, 1) }
        });
        let credits: Vec<_> = turned(&all).into_iter().filter(|turn| turn.1 == Knob::CreditBytes).collect();
        assert!(!credits.is_empty(), "{all:?}");
        assert!(credits.iter().all(|turn| turn.3 <= 16 << 20), "{credits:?}");
    }

    /// Four workers are as fast as two: the trial is taken back, and credits are what they were.
    #[test]
    fn credits_that_did_not_follow_a_pool_up_do_not_follow_it_down() {
        let (knobs, all) = run(scaling(), knobs(), 20, |_, knobs| {
            let mut readers = pool(0.2, knobs.readers, 1_000.0);
            readers.bytes_per_second = 1e6;
            let transformers = pool(1.0, knobs.transformers, 1_000.0);
            let requests = pool(0.2, knobs.requests_in_flight, 1_000.0);
            Sample { transformers, readers, requests, ..target(knobs, 1) }
        });
        let turned = turned(&all);
        let reverted = turned.iter().find(|turn| turn.4 == Reason::Revert);
        assert!(reverted.is_some_and(|turn| turn.1 == Knob::Transformers), "{turned:?}");
        let credits = turned.iter().filter(|turn| turn.1 == Knob::CreditBytes);
        assert!(credits.clone().all(|turn| turn.3 > turn.2), "{turned:?}");
        assert!(knobs.credit_bytes >= 32 << 20);
    }
}
