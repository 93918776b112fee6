//! The size of a batch: what a batch costs beside its documents, and how large it must be for that not to matter.

use super::search::NEAR;
use super::{AHEAD, GROW_MARGIN, Tuner, Turn, percent};
use crate::model::decision::Reason;
use crate::model::knobs::{Knob, Knobs};
use crate::model::sample::{PoolUse, Sample, Work};

/// The share of a batch's time that it may cost beside its documents. A batch twenty times as large is not twice as good, but takes twenty times the memory.
const OVERHEAD: f64 = 0.05;

/// No batch shall take longer than this: a run that is stopped waits for it, and long batches come to the target in convoys.
const RESIDENCE: f64 = 8.0;

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
const LEAST: f64 = 1.15;

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
    /// By far most of a batch's time goes into what it costs beside its documents: the next step need not wait to see what the last one did.
    is_costly: bool,
}

/// Sums over batches of one pool, for each of the last sizes that the pool had: with other workers beside it a batch takes another time.
#[derive(Debug, Default)]
struct Cost {
    sums: Vec<(usize, Work)>,
}

/// Sizes of a pool that are remembered: the one before a trial and the one on trial.
const SIZES: usize = 2;

impl Cost {
    fn add(&mut self, work: &Work, size: usize) {
        let known = self.sums.iter().position(|(known, _)| *known == size);
        let (_, mut sums) = known.map_or((size, Work::default()), |at| self.sums.remove(at));
        sums *= KEEP;
        sums += *work;
        self.sums.insert(0, (size, sums));
        self.sums.truncate(SIZES);
    }

    /// Documents in a batch that has come to its end lately.
    fn finished(&self) -> f64 {
        self.sums.first().map_or(0.0, |(_, work)| work.documents_squared / work.documents.max(1.0))
    }

    fn is_known(&self) -> bool {
        self.sums.first().is_some_and(|(_, work)| work.pieces >= ENOUGH)
    }

    /// Seconds of a batch beside its documents, with standard error, and seconds of a document: a line through batches of different sizes.
    fn line(&self) -> Option<(f64, f64, f64)> {
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
        Some((fixed, error, slope))
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

    /// Larger batches are on their way.
    pub(super) fn is_costly(&self) -> bool {
        self.is_costly
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
        let least = if self.batches.is_costly { 0.9 } else { least };
        if now - self.batches.changed < least || now < 2.0 || self.is_unit_bound() || self.is_after_cut(now) {
            return;
        }
        if self.readers.trial.is_some() || self.transformers.trial.is_some() || self.credits.trial.is_some() {
            return;
        }
        let size = self.batches.documents;
        let slowest = self.slowest();
        let mut wanted: Option<(f64, f64, String)> = None;
        for (stage, cost) in
            [(&self.readers, &self.batches.readers), (&self.transformers, &self.batches.transformers)]
        {
            // A pool that merely fills what has grown is no bottleneck.
            let is_near = stage.capacity() <= NEAR * slowest;
            if stage.busy_smoothed < 0.7 || stage.piece_seconds <= 0.0 || !is_near {
                continue;
            }
            let residence = size * RESIDENCE / stage.piece_seconds;
            let (documents, confidence, because) = match cost.line() {
                Some((fixed, error, slope)) => {
                    let best = (1.0 - OVERHEAD) / OVERHEAD * fixed.max(0.0) / slope;
                    let best = best.min((RESIDENCE - fixed).max(0.0) / slope);
                    let share = fixed / (fixed + slope * size);
                    let confidence = super::normal::distribution(
                        (fixed - OVERHEAD / (1.0 - OVERHEAD) * slope * size) / error.max(1e-12),
                    );
                    if confidence < self.scaling.confidence {
                        continue;
                    }
                    (
                        best,
                        confidence,
                        format!("a batch costs {} of its time beside its documents", percent(share)),
                    )
                }
                // Batches of one size tell nothing: another size does.
                None if !cost.is_known() => continue,
                None if stage.bad.is_some() || stage.size >= self.most_of(turn, stage.knob) => (
                    size * self.scaling.batch_step,
                    0.5,
                    "to see what a batch costs beside its documents".to_owned(),
                ),
                None => continue,
            };
            let documents = documents.min(residence).min(REACH * cost.finished());
            if wanted.as_ref().is_none_or(|(most, ..)| documents > *most) {
                wanted = Some((documents, confidence, because));
            }
        }
        let Some((documents, confidence, because)) = wanted else {
            self.batches.is_costly = false;
            return;
        };
        self.batches.is_costly = confidence >= self.scaling.confidence && documents > 4.0 * size;
        self.set_batch(turn, documents, confidence, because);
    }

    fn most_of(&self, turn: &Turn, knob: Knob) -> f64 {
        let by_cpu = self.cpu.most_transformers(turn.knobs.transformers as f64, self.scaling.ceilings.cpu);
        let most = self.scaling.bounds.most.get(knob) as f64;
        if knob == Knob::Transformers { most.min(by_cpu) } else { most }
    }

    /// Lets credits follow the pools, so that a batch is as large as before: a pool of another size is then compared with itself. Batches of
    /// many documents may shrink.
    pub(super) fn follow_pools(&mut self, turn: &mut Turn, before: &Knobs) {
        let size = self.batches.documents;
        let is_by_bytes = size < turn.knobs.batch_documents as f64;
        let share = turn.knobs.slots() / before.slots();
        let enough = size / share >= self.scaling.bounds.least.batch_documents as f64;
        // Where request units hold documents up, credits are what lanes that still have some are fed from.
        let is_needed = share < 1.0 && self.is_unit_bound();
        let stays = share == 1.0 || is_needed || (share > 1.0 && enough);
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

    fn set_batch(&mut self, turn: &mut Turn, wanted: f64, confidence: f64, because: String) {
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
            self.batches.is_costly = false;
            return;
        }
        let credits = (to * slots * bytes * 1.01).max(turn.knobs.credit_bytes as f64) as u64;
        let mut moved = false;
        if !self.is_fixed(Knob::CreditBytes) && credits > turn.knobs.credit_bytes {
            moved |= turn.set(Knob::CreditBytes, credits, Reason::Batch, because.clone(), Some(confidence));
        }
        if !self.is_fixed(Knob::BatchDocuments) && to > turn.knobs.batch_documents as f64 {
            moved |= turn.set(Knob::BatchDocuments, to as u64, Reason::Batch, because, Some(confidence));
        }
        if moved {
            self.batches.changed = turn.now;
            for stage in [&mut self.readers, &mut self.transformers, &mut self.credits] {
                stage.restart(turn.now);
            }
        }
    }
}
