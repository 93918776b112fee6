//! When to ask for more than a lane is believed to have, and for how much.
//!
//! A budget that fell shows itself: operations are throttled. One that rose does not, so now and then a lane sends a little past the end of
//! its budget. Throttled, that costs the operations sent and tells the budget anew, to within one operation. Taken, twice as much follows a round trip
//! later, in the same window, until something is throttled: a budget ten times as large is found within seconds, and what is thrown away is at most a sixteenth of
//! what a second holds. The same doubling from one document is how a lane of unknown budget begins.
//!
//! Every lane probes for itself: with a probe of one or two operations there is nothing that lanes would have to share.

/// The share of all operations that probes may have throttled. Half of the 0.5 % that is aimed at: the other half is for the noise of
/// costs at the end of windows.
const SHARE: f64 = 0.0025;

/// The first probe as a share of a window's documents: small against [`SHARE`], so that large lanes probe in every window.
const FIRST: f64 = 0.001;

/// The longest pause between probes, in windows: a doubled budget must be found and followed within 20 s.
const LONGEST: u64 = 16;

/// Doubling goes no further than this share of a window's documents, or [`REACH_LEAST`]: the last probe, which is thrown away, is then no flood. A
/// doubled budget is a dozen round trips away; where a round trip takes a good part of a window, a dozen windows.
const REACH: f64 = 1.0 / 16.0;

/// A lane that was not throttled although it spent clearly more than it was believed to have is believed to have far less than it has: its limit doubles with
/// each such window in a row, but for the first ones, up to this many. Many lanes are as slow as the one that is believed to be the poorest. One or two such
/// windows come by chance where another client shares the partition, and both would take turns at being bold.
const BOLDEST: u32 = 3;
const BY_CHANCE: u32 = 2;

/// But not where a window has fewer documents than these: what one bold probe throws away would be a good part of all that is sent in a minute.
const BOLD_DOCUMENTS: f64 = 400.0;

/// Clearly more. With 1.03 a target that refills all the time, instead of once a second, is asked for an eighth too much; with 1.12 a lane that was
/// underestimated by half takes twice as long.
const CLEARLY: f64 = 1.05;

/// The same for lanes of so few documents that a share of them would be one.
const REACH_LEAST: u32 = 4;

/// Probes of one lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prober {
    /// The window from which on probes may be sent.
    due: u64,
    /// Documents that may be in flight beyond the budget.
    reach: u32,
    /// Windows in a row that were throttled in nothing and spent clearly more than was believed.
    bold: u32,
}

impl Prober {
    pub(super) fn new() -> Self {
        Self { due: 0, reach: 1, bold: 0 }
    }

    /// Documents that may be in flight in `window` beyond its budget of `documents`.
    pub(super) fn reach(&self, window: u64, documents: f64) -> u32 {
        if window < self.due {
            return 0;
        }
        let bold = if documents < BOLD_DOCUMENTS { 0 } else { self.bold.saturating_sub(BY_CHANCE) };
        let share = REACH * f64::from(1_u32 << bold);
        self.reach.min(((documents * share) as u32).max(REACH_LEAST).max(first(documents)))
    }

    /// Documents that may be in flight while the budget is unknown.
    pub(super) fn reach_unknown(&self) -> u32 {
        self.reach
    }

    /// A probe of `documents` was taken whole.
    pub(super) fn taken(&mut self, documents: u32) {
        self.reach = self.reach.saturating_add(documents);
    }

    /// A window has closed in which nothing was throttled, with so many times the budget spent that was believed.
    pub(super) fn closed_unthrottled(&mut self, times: f64) {
        self.bold = if times > CLEARLY { (self.bold + 1).min(BOLDEST + BY_CHANCE) } else { 0 };
    }

    /// Something was throttled in `window`, whose budget is now taken to be `documents`; `doubtful` if that is the first count, or clearly
    /// less than was believed: what was mismeasured is asked again in the next window.
    pub(super) fn throttled(&mut self, window: u64, documents: f64, doubtful: bool) {
        (self.reach, self.bold) = (first(documents), 0);
        let pause = (f64::from(self.reach) / (SHARE * documents)).ceil() as u64;
        self.due = window + if doubtful { 1 } else { pause.clamp(1, LONGEST) };
    }
}

fn first(documents: f64) -> u32 {
    ((documents * FIRST) as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_double_while_they_are_taken() {
        let mut prober = Prober::new();
        prober.throttled(4, 1400.0, false);
        assert_eq!(prober.reach(4, 1400.0), 0);
        for expected in [1, 2, 4, 8, 16, 32, 64, 87, 87] {
            let reach = prober.reach(5, 1400.0);
            assert_eq!(reach, expected, "doubled, up to a sixteenth of a window");
            prober.taken(reach);
        }
        assert_eq!(prober.reach(6, 1400.0), 87, "the next window goes on");
        assert_eq!(prober.reach(6, 2800.0), 175, "with what it has gained");
        prober.throttled(6, 2800.0, false);
        assert_eq!((prober.reach(6, 2800.0), prober.reach(7, 2800.0)), (0, 2));
    }

    #[test]
    fn a_small_lane_probes_rarely_and_a_large_one_in_every_window() {
        let mut prober = Prober::new();
        prober.throttled(10, 57.0, false);
        assert_eq!(
            (prober.reach(17, 57.0), prober.reach(18, 57.0)),
            (0, 1),
            "one in 8 windows of 57 operations"
        );
        prober.throttled(10, 10_000.0, false);
        assert_eq!(prober.reach(11, 10_000.0), 10);
        prober.throttled(10, 57.0, true);
        assert_eq!(prober.reach(11, 57.0), 1, "what is doubtful is asked again at once");
    }
}
