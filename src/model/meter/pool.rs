//! What one pool does, also while it does it.
//!
//! A pool whose pieces of work take longer than a window would seem idle in one window and overfull in the next if its time were counted when a
//! piece is finished. So the meter knows who is at work: with the number of workers and the sum of the times at which they began, their time up to
//! any moment is one multiplication. Documents are counted as far as a piece has come where its worker can tell, and whole when it is
//! finished; a read and a request are told of only then.
//!
//! Everything is plain atomics. A piece costs two readings of the clock and about ten additions.

use crate::model::meter::Counter;
use crate::model::sample::Work;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The lower bits of a [`Presence`], which hold times.
const TIME_BITS: u32 = 48;
const TIMES: u64 = (1 << TIME_BITS) - 1;

/// How many are at something, and how long all of them have been up to now.
///
/// One word, so that a reader never sees one without the other: the upper 16 bits count those who are at it, the lower 48 hold the times, in microseconds, at
/// which some have left less those at which some came. That sum is taken modulo 2^48, so it never overflows, and two readings
/// tell what lies between them as long as that is under four years of one worker.
#[derive(Debug, Default)]
struct Presence(AtomicU64);

impl Presence {
    fn change(&self, count: u64, micros: u64) {
        let moved = |word: u64| {
            let present = (word >> TIME_BITS).wrapping_add(count);
            present << TIME_BITS | word.wrapping_add(micros) & TIMES
        };
        // The closure always gives a value, so this is no failure to look at.
        let _before = self.0.fetch_update(Relaxed, Relaxed, |word| Some(moved(word)));
    }

    fn come(&self, many: u64, at: u64) {
        self.change(many, many.wrapping_mul(at).wrapping_neg());
    }

    fn leave(&self, many: u64, at: u64) {
        self.change(many.wrapping_neg(), many.wrapping_mul(at));
    }

    /// The time of all who were and are at it, modulo 2^48 microseconds: only the difference of two readings means something.
    fn until(&self, at: u64) -> u64 {
        let word = self.0.load(Relaxed);
        word.wrapping_add((word >> TIME_BITS).wrapping_mul(at)) & TIMES
    }
}

/// The seconds between two readings of a [`Presence`]. One who came while the later was taken may have come after its time: then it is
/// nothing, and not a step back.
fn seconds_between(earlier: u64, later: u64) -> f64 {
    let difference = (later.wrapping_sub(earlier) << (64 - TIME_BITS)) as i64 >> (64 - TIME_BITS);
    difference.max(0) as f64 / 1e6
}

/// Time that some spend waiting, up to now.
#[derive(Debug)]
pub struct Waits {
    origin: Instant,
    presence: Presence,
}

/// [`Waits`] at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitsReading(u64);

impl Default for Waits {
    fn default() -> Self {
        Self { origin: Instant::now(), presence: Presence::default() }
    }
}

impl Waits {
    /// So many wait until what is returned is dropped.
    pub fn begin(&self, many: usize) -> Waiting<'_> {
        self.begin_at(many, Instant::now())
    }

    fn begin_at(&self, many: usize, at: Instant) -> Waiting<'_> {
        let many = many.min(usize::from(u16::MAX)) as u64;
        self.presence.come(many, self.micros(at));
        Waiting { waits: self, many }
    }

    /// As of `now`.
    pub fn read(&self, now: Instant) -> WaitsReading {
        WaitsReading(self.presence.until(self.micros(now)))
    }

    fn micros(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_micros() as u64
    }
}

impl WaitsReading {
    /// The seconds between `earlier` and this, of all who waited together.
    pub fn since(&self, earlier: &Self) -> f64 {
        seconds_between(earlier.0, self.0)
    }
}

/// Some who wait.
#[derive(Debug)]
pub struct Waiting<'a> {
    waits: &'a Waits,
    many: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waits.presence.leave(self.many, self.waits.micros(Instant::now()));
    }
}

/// What one pool has done since the run began.
#[derive(Debug, Default)]
pub struct PoolMeter {
    /// Workers that cannot go on because what they have is not taken from them, or for want of credits or leave.
    pub blocked: Waits,
    busy: Waits,
    documents: Counter,
    bytes: Counter,
    work: Sums,
}

/// The sums of [`Work`] as whole numbers.
#[derive(Debug, Default)]
struct Sums {
    pieces: Counter,
    documents: Counter,
    documents_squared: Counter,
    nanoseconds: Counter,
    /// Squares of nanoseconds would overflow after four seconds.
    microseconds_squared: Counter,
    documents_nanoseconds: Counter,
}

/// The meter at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolReading {
    busy: WaitsReading,
    blocked: WaitsReading,
    documents: u64,
    bytes: u64,
    work: [u64; 6],
}

/// What a pool did between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolSpan {
    /// Seconds that its workers were busy, all together.
    pub busy: f64,
    /// Seconds that its workers were blocked, all together.
    pub blocked: f64,
    /// Documents on which it made progress.
    pub documents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The pieces that it finished.
    pub work: Work,
}

impl PoolMeter {
    /// A worker begins a piece of work.
    pub fn begin(&self) -> Working<'_> {
        self.begin_at(Instant::now())
    }

    fn begin_at(&self, began: Instant) -> Working<'_> {
        Working { meter: self, _busy: self.busy.begin_at(1, began), began, documents: 0, bytes: 0 }
    }

    /// The meter as of `now`.
    pub fn read(&self, now: Instant) -> PoolReading {
        let work = &self.work;
        let sums = [
            &work.pieces,
            &work.documents,
            &work.documents_squared,
            &work.nanoseconds,
            &work.microseconds_squared,
            &work.documents_nanoseconds,
        ];
        PoolReading {
            busy: self.busy.read(now),
            blocked: self.blocked.read(now),
            documents: self.documents.get(),
            bytes: self.bytes.get(),
            work: sums.map(Counter::get),
        }
    }
}

impl Sums {
    fn add(&self, documents: u64, took: Duration) {
        let nanoseconds = took.as_nanos() as u64;
        self.pieces.add(1);
        self.documents.add(documents);
        self.documents_squared.add(documents.wrapping_mul(documents));
        self.nanoseconds.add(nanoseconds);
        let squared = u128::from(nanoseconds) * u128::from(nanoseconds);
        self.microseconds_squared.add(((squared + 500_000) / 1_000_000) as u64);
        self.documents_nanoseconds.add(documents.wrapping_mul(nanoseconds));
    }
}

impl PoolReading {
    /// What lies between `earlier` and this.
    pub fn since(&self, earlier: &Self) -> PoolSpan {
        // Sums may go round, and their difference is right all the same.
        let between = |at: usize| self.work[at].wrapping_sub(earlier.work[at]) as f64;
        PoolSpan {
            busy: self.busy.since(&earlier.busy),
            blocked: self.blocked.since(&earlier.blocked),
            documents: self.documents.wrapping_sub(earlier.documents),
            bytes: self.bytes.wrapping_sub(earlier.bytes),
            work: Work {
                pieces: between(0),
                documents: between(1),
                documents_squared: between(2),
                seconds: between(3) / 1e9,
                seconds_squared: between(4) / 1e12,
                documents_seconds: between(5) / 1e9,
            },
        }
    }
}

/// A worker at a piece of work. Dropped before it is finished, its time counts and the piece does not.
#[derive(Debug)]
pub struct Working<'a> {
    meter: &'a PoolMeter,
    _busy: Waiting<'a>,
    began: Instant,
    /// Told so far.
    documents: u64,
    bytes: u64,
}

impl Working<'_> {
    /// So many more documents of the piece are done, of so many bytes.
    pub fn progressed(&mut self, documents: u64, bytes: u64) {
        (self.documents, self.bytes) = (self.documents + documents, self.bytes + bytes);
        self.meter.documents.add(documents);
        self.meter.bytes.add(bytes);
    }

    /// The piece is finished: so many documents and bytes in all.
    pub fn finish(self, documents: u64, bytes: u64) {
        let took = self.began.elapsed();
        self.finish_after(documents, bytes, took);
    }

    fn finish_after(mut self, documents: u64, bytes: u64, took: Duration) {
        let rest = (documents.saturating_sub(self.documents), bytes.saturating_sub(self.bytes));
        self.progressed(rest.0, rest.1);
        self.meter.work.add(documents, took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Busy seconds of a presence between the start and this second.
    fn busy(presence: &Presence, seconds: u64) -> f64 {
        seconds_between(0, presence.until(seconds * 1_000_000))
    }

    #[test]
    fn work_that_goes_on_counts_up_to_now() {
        let presence = Presence::default();
        presence.come(1, 0);
        presence.come(2, 1_000_000);
        assert_eq!((busy(&presence, 1), busy(&presence, 3)), (1.0, 7.0));
        presence.leave(1, 4_000_000);
        assert_eq!((busy(&presence, 4), busy(&presence, 10)), (10.0, 22.0));
        presence.leave(2, 6_000_000);
        assert_eq!((busy(&presence, 10), busy(&presence, 1_000)), (14.0, 14.0));
    }

    #[test]
    fn a_pool_is_busy_as_long_as_its_workers_are() {
        let meter = PoolMeter::default();
        let (start, before) = (meter.busy.origin, meter.read(meter.busy.origin));
        let first = meter.begin_at(start);
        let second = meter.begin_at(start + SECOND);
        let at = |seconds: u32| meter.read(start + SECOND * seconds).since(&before);
        assert_eq!((at(1).busy, at(3).busy, at(3).work.pieces), (1.0, 5.0, 0.0));
        first.finish_after(10, 100, SECOND * 4);
        second.finish_after(30, 300, SECOND * 5);
        let mut work = Work::of(10.0, 4.0);
        work += Work::of(30.0, 5.0);
        let whole = at(1_000);
        assert_eq!((whole.documents, whole.bytes, whole.work), (40, 400, work));
        assert_eq!(at(2_000), whole, "nobody is at work");
    }

    #[test]
    fn documents_count_as_far_as_a_piece_has_come_and_once() {
        let meter = PoolMeter::default();
        let now = Instant::now();
        let before = meter.read(now);
        let mut working = meter.begin();
        working.progressed(256, 1_000);
        let span = meter.read(now).since(&before);
        assert_eq!((span.documents, span.bytes, span.work.documents), (256, 1_000, 0.0));
        working.finish(300, 1_200);
        let span = meter.read(now).since(&before);
        assert_eq!((span.documents, span.bytes, span.work.documents), (300, 1_200, 300.0));
    }

    #[test]
    fn who_gives_up_leaves_no_piece_and_is_busy_no_more() {
        let meter = PoolMeter::default();
        let before = meter.read(Instant::now());
        drop(meter.begin());
        drop(meter.blocked.begin(3));
        let later = |seconds| meter.read(Instant::now() + SECOND * seconds).since(&before);
        assert_eq!(later(1), later(100));
        assert_eq!(later(1).work, Work::default());
    }

    #[test]
    fn who_waits_counts_by_the_head() {
        let waits = Waits::default();
        let before = waits.read(waits.origin);
        let waiting = waits.begin_at(3, waits.origin);
        assert_eq!(waits.read(waits.origin + SECOND * 2).since(&before), 6.0);
        drop(waiting);
    }

    #[test]
    fn one_who_comes_while_the_clock_is_read_takes_nothing_away() {
        let presence = Presence::default();
        presence.come(1, 1_000_000);
        assert_eq!(busy(&presence, 0), 0.0);
    }

    proptest! {
        /// However the times add up and go round, what lies between two readings is what they were at it.
        #[test]
        fn a_presence_never_overflows(
            start in any::<u64>(),
            stays in prop::collection::vec((0..1_u64 << 40, 0..1_u64 << 36, 1..100_u64), 1..30),
        ) {
            let presence = Presence::default();
            let mut expected = 0;
            let before = presence.until(start);
            for (came, stayed, many) in stays {
                let came = start.wrapping_add(came);
                presence.come(many, came);
                presence.leave(many, came.wrapping_add(stayed));
                expected += many * stayed;
            }
            prop_assume!(expected < 1 << (TIME_BITS - 1));
            let found = seconds_between(before, presence.until(start));
            prop_assert!((found - expected as f64 / 1e6).abs() < 1e-3, "{found} {expected}");
        }
    }
}
