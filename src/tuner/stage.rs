//! One pool as the search sees it: how busy it is, what it could do, and what is known about more of it.

use super::consensus::Backers;
use super::trial::Saturated;
use super::usl::Points;
use crate::model::knobs::Knob;
use crate::model::sample::{PoolUse, Work};

/// A pool whose workers are busy for at least this share of a window is saturated in it: only then its throughput is its own.
const SATURATED: f64 = 0.90;

/// The same of requests in flight: where a few lanes hold most of what waits, an eighth of the requests is kept free for the others.
const SATURATED_REQUESTS: f64 = 0.85;

/// Busier than this is a pool that has more workers than its size: it was made smaller, and they are not done yet.
const OVERFULL: f64 = 1.05;

/// Weight of the newest window in how busy a pool is, how long a document takes, and what holds documents up.
pub(super) const WEIGHT: f64 = 0.4;

/// Pieces in a window that are too few to say how full they are; and how much of the fullest a window keeps.
const FEW: f64 = 8.0;
const FORGET: f64 = 0.995;

/// The relative variance of one piece's time before any was seen: requests to a service scatter more than batches.
const FIRST_VARIANCE: f64 = 0.05;

/// Less busy than this a pool has little to do.
const IDLE_BUSY: f64 = 0.35;

/// Seconds for which a trial that was left may go on, and a second one may wait for its base.
pub(super) const BASE_SECONDS: f64 = 60.0;

/// Pieces over which that variance is remembered.
const VARIANCE_MEMORY: f64 = 400.0;

/// A pool and what is known about it.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) knob: Knob,
    /// Its size now.
    pub(super) size: f64,
    /// When its size was set, or something else that makes old measurements useless happened.
    pub(super) changed: f64,
    /// Windows since.
    pub(super) windows: u32,
    /// The last change made it smaller: workers that are too many finish what they have.
    drains: bool,
    pub(super) busy: f64,
    pub(super) busy_smoothed: f64,
    /// How much windows have differed from that.
    pub(super) busy_variance: f64,
    /// Since when it has had little to do.
    pub(super) idle_since: Option<f64>,
    /// Seconds of a worker a document, smoothed.
    pub(super) service: f64,
    /// Seconds of one piece, smoothed.
    pub(super) piece_seconds: f64,
    pieces: Work,
    /// What it did while saturated, since `changed`.
    pub(super) saturated: Saturated,
    /// The trial of its size.
    pub(super) trial: Option<Trial>,
    /// A trial that was left because the pool was not saturated any more: it goes on when it is.
    pub(super) left: Option<Trial>,
    /// The least size that is known not to pay.
    pub(super) bad: Option<f64>,
    /// A size that seemed to pay, though there was no time to be sure: it is tried once more.
    pub(super) again: Option<Again>,
    /// The search has come to its end: now and then a little more is tried.
    pub(super) settled: bool,
    pub(super) next_try: f64,
    pub(super) backoff: f64,
    /// The least that a shrink may leave: the last size that paid.
    pub(super) floor: f64,
    /// Sizes and what they yielded.
    pub(super) points: Points,
    /// Moves up since one was proved.
    pub(super) unproved: u32,
    /// Documents in a piece, the most lately.
    full: f64,
}

/// A size that is to be tried once more, and until when it may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    pub(super) size: f64,
    pub(super) until: f64,
}

/// A size on trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pub(super) began: f64,
    pub(super) from: f64,
    pub(super) before: Saturated,
    /// The logarithm of what it must yield.
    pub(super) least: f64,
    /// The windows since in which the pool was not saturated, in a row.
    pub(super) idle: u32,
    pub(super) looks: u32,
    /// It is the second of this size.
    pub(super) is_second: bool,
    /// Who has proposed it.
    pub(super) by: Backers,
    /// Looks that there may be.
    pub(super) most: u32,
}

impl Stage {
    pub(super) fn new(knob: Knob) -> Self {
        Self {
            knob,
            size: 0.0,
            changed: 0.0,
            windows: 0,
            drains: false,
            busy: 0.0,
            busy_smoothed: 0.0,
            busy_variance: 0.0,
            idle_since: None,
            service: 0.0,
            piece_seconds: 0.0,
            pieces: Work::default(),
            saturated: Saturated::default(),
            trial: None,
            left: None,
            bad: None,
            again: None,
            settled: false,
            next_try: 0.0,
            backoff: 0.0,
            floor: 1.0,
            points: Points::default(),
            unproved: 0,
            full: 0.0,
        }
    }

    /// Whether these pieces hold less than half of what pieces were seen to hold.
    pub(super) fn are_half_empty(&mut self, work: &Work) -> bool {
        let documents = work.documents / work.pieces.max(1.0);
        if work.pieces >= FEW {
            self.full = (FORGET * self.full).max(documents);
        }
        work.pieces >= FEW && documents < self.full / 2.0
    }

    /// So busy it is saturated.
    pub(super) fn saturation(&self) -> f64 {
        if self.is_requests() { SATURATED_REQUESTS } else { SATURATED }
    }

    pub(super) fn is_saturated(&self) -> bool {
        self.busy >= self.saturation()
    }

    fn is_requests(&self) -> bool {
        self.knob == Knob::RequestsInFlight
    }

    /// Its progress is counted in answers.
    fn counts_answers(&self) -> bool {
        matches!(self.knob, Knob::RequestsInFlight | Knob::CreditBytes)
    }

    /// Windows after which the base of a comparison begins anew: conditions change, and a request is a thousandth of what a batch is.
    fn base_windows(&self) -> u32 {
        if self.is_requests() { 12 } else { 30 }
    }

    /// Seconds until what was begun before the last change is over: two round trips of a request; of batches none, because their progress is measured, but where
    /// workers that are too many finish theirs.
    fn settle(&self) -> f64 {
        match (self.is_requests(), self.drains) {
            (true, _) => 2.0 * self.piece_seconds,
            (false, true) => 1.5 * self.piece_seconds,
            (false, false) => 0.0,
        }
    }

    /// Takes a window in. `size` is the pool's in it.
    pub(super) fn measure(&mut self, pool: &PoolUse, size: u64, now: f64, window: f64) {
        self.size = size as f64;
        self.busy = pool.busy;
        let weight = |first: bool| if first { 1.0 } else { WEIGHT };
        let change = pool.busy - self.busy_smoothed;
        if self.windows == 0 && self.busy_smoothed == 0.0 {
            self.busy_smoothed = pool.busy;
        } else {
            self.busy_smoothed += WEIGHT * change;
            self.busy_variance += WEIGHT * (change * change - self.busy_variance);
        }
        let is_idle = self.busy_smoothed < IDLE_BUSY;
        self.idle_since = is_idle.then(|| self.idle_since.unwrap_or(now));
        let work = &pool.work;
        let service = if self.is_requests() && work.documents > 0.0 {
            work.seconds / work.documents
        } else {
            pool.busy * self.size / pool.documents_per_second
        };
        if service.is_finite() && service > 0.0 && pool.busy * self.size > 0.05 {
            self.service += weight(self.service == 0.0 || self.windows < 2) * (service - self.service);
        }
        self.learn_pieces(work);
        if self.trial.is_none() && self.windows > 0 && self.windows.is_multiple_of(self.base_windows()) {
            self.saturated = Saturated::default();
        }
        let whole_window_after = now - self.changed - window >= self.settle() - 1e-9;
        if (self.saturation()..OVERFULL).contains(&self.busy) && self.windows > 0 && whole_window_after {
            self.saturated.add(pool.documents_per_second, window, self.pieces_in(work, window));
        }
        self.windows += 1;
    }

    fn learn_pieces(&mut self, work: &Work) {
        if work.pieces <= 0.0 {
            return;
        }
        let seconds = work.seconds / work.pieces;
        self.piece_seconds +=
            (if self.piece_seconds == 0.0 { 1.0 } else { WEIGHT }) * (seconds - self.piece_seconds);
        let keep = (VARIANCE_MEMORY / (self.pieces.pieces + work.pieces)).min(1.0);
        self.pieces += *work;
        self.pieces *= keep;
    }

    /// Independent pieces behind the progress of a window: requests that were answered; of batches those under way, and those that followed.
    fn pieces_in(&self, work: &Work, window: f64) -> f64 {
        if self.counts_answers() {
            return work.pieces;
        }
        let rounds = if self.piece_seconds > 0.0 { window / self.piece_seconds } else { 1.0 };
        // The first window of a setting counts the pieces that were under way, every later one those that have followed.
        self.size * if self.saturated.windows() == 0 { 1.0 + rounds } else { rounds }
    }

    /// Relative variance of the time of one piece, as far as it is not explained by the documents in it: batches grow.
    pub(super) fn variance(&self) -> f64 {
        let Work { pieces, documents, documents_squared, seconds, seconds_squared, documents_seconds } =
            self.pieces;
        if pieces < 8.0 {
            return FIRST_VARIANCE;
        }
        let (size, mean) = (documents / pieces, seconds / pieces);
        let spread = documents_squared / pieces - size * size;
        let together = documents_seconds / pieces - size * mean;
        let explained = if spread > 1e-6 * size * size { together * together / spread } else { 0.0 };
        ((seconds_squared / pieces - mean * mean - explained) / (mean * mean)).max(0.0)
    }

    /// Documents per second that the pool could do.
    pub(super) fn capacity(&self) -> f64 {
        if self.service > 0.0 { self.size / self.service } else { f64::INFINITY }
    }

    /// The pool has this size from now on.
    pub(super) fn resize(&mut self, to: f64, now: f64) {
        self.drains = to < self.size;
        self.restart(now);
    }

    /// Measures from before count no more.
    pub(super) fn restart(&mut self, now: f64) {
        self.changed = now;
        self.windows = 0;
        self.saturated = Saturated::default();
        self.left = None;
    }

    /// A larger size has not been shown to pay.
    pub(super) fn is_at_end(&self) -> bool {
        self.bad.is_some() || self.again.is_some()
    }

    /// Conditions are others: what seemed to pay did so in those that were.
    pub(super) fn drop_again(&mut self) {
        if let Some(again) = self.again.take() {
            self.bad = Some(again.size);
        }
    }

    /// Goes on with the trial that was left, if the pool is saturated again, and what it is compared with is not too long ago.
    pub(super) fn resume(&mut self, now: f64) {
        if self.trial.is_none() && self.is_saturated() && self.saturated.seconds() >= 0.9 {
            self.trial = self.left.take().filter(|left| now - left.began < BASE_SECONDS);
        }
    }

    /// Everything that is known about sizes is forgotten.
    pub(super) fn forget(&mut self, now: f64) {
        self.bad = None;
        self.again = None;
        self.points = Points::default();
        self.settled = false;
        self.backoff = 0.0;
        self.floor = 1.0;
        self.next_try = now;
        self.restart(now);
    }

    /// Looks that a trial may take: six windows, and four pieces where these are long.
    pub(super) fn looks(&self) -> u32 {
        (6 + (4.0 * self.piece_seconds) as u32).min(16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(pieces: &[(f64, f64)]) -> PoolUse {
        let mut work = Work::default();
        pieces.iter().for_each(|(documents, seconds)| work += Work::of(*documents, *seconds));
        PoolUse { busy: 1.0, documents_per_second: 1_000.0, work, ..PoolUse::default() }
    }

    #[test]
    fn batches_that_grow_do_not_vary_and_batches_of_one_size_may() {
        let variance = |pieces: &[(f64, f64)]| {
            let mut stage = Stage::new(Knob::Transformers);
            (1..10).for_each(|second| stage.measure(&work(pieces), 4, f64::from(second), 1.0));
            stage.variance()
        };
        let growing = variance(&[(1_000.0, 1.0), (2_000.0, 2.0), (8_000.0, 8.0)]);
        assert!(growing < 1e-6, "{growing}");
        let scattered = variance(&[(1_000.0, 0.5), (1_000.0, 1.5)]);
        assert!((scattered - 0.25).abs() < 1e-6, "{scattered}");
    }

    #[test]
    fn requests_are_half_empty_beside_the_fullest_that_were_seen_and_few_say_nothing() {
        let mut stage = Stage::new(Knob::RequestsInFlight);
        let of = |documents: f64, pieces: usize| work(&vec![(documents, 0.1); pieces]).work;
        assert!(!stage.are_half_empty(&of(1.0, 20)), "none were fuller");
        assert!(!stage.are_half_empty(&of(100.0, 20)));
        assert!(!stage.are_half_empty(&of(60.0, 20)));
        assert!(stage.are_half_empty(&of(20.0, 20)));
        assert!(!stage.are_half_empty(&of(20.0, 3)));
        let lasts = (0..400).filter(|_| stage.are_half_empty(&of(20.0, 20))).count();
        assert!((100..300).contains(&lasts), "what was seen long ago is forgotten: {lasts}");
    }
}
