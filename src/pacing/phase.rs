//! When a lane's windows begin and end, learnt from what throttled answers say.
//!
//! The service renews a partition's budget every second, at a moment that it tells nobody. A throttled answer tells it indirectly: its
//! retry-after ends with the window. All times here are **send times**: an operation sent at `s` and told to wait `r` met the end of its
//! window at `s + r` *as seen by the sender*, so the way to the service is in the figure already and no clock need agree with another.
//!
//! The way takes now 2 ms, now 5, so edges scatter. Their mean and mean deviation are followed as TCP follows round trips (RFC 6298), and a
//! guard on both sides of the mean keeps requests out of the moment in which nobody can say which window they will meet.
//! An edge far away from the others is set aside; a second one beside it, from another window, proves that the phase has moved. Each move
//! makes the next one need twice as many witnesses: a target whose retry-after has nothing to do with windows would else open a new one as often as it
//! throttles.

/// Seconds in a window: the service counts request units per second.
pub(super) const WINDOW: f64 = 1.0;

/// The guard in mean deviations. Three cover 98 of 100 exponential delays, and a stray request costs one operation's throttling.
const GUARD_DEVIATIONS: f64 = 3.0;

/// The least guard: retry-after is told in whole milliseconds.
const GUARD_LEAST: f64 = 0.001;

/// The largest guard. A target whose retry-after has no phase at all must not lose more than a tenth of its time to guards.
const GUARD_MOST: f64 = 0.05;

/// Deviation assumed after the first edge, before there is a second to compare with: a few milliseconds, as networks within a region have.
const FIRST_DEVIATION: f64 = 0.003;

/// The weight of a new edge, as RFC 6298 has it for the mean and the deviation: clocks drift by under 0.1 ms a second, and an edge every
/// ten seconds follows that.
const MEAN_WEIGHT: f64 = 0.125;
const DEVIATION_WEIGHT: f64 = 0.25;

/// An edge this much outside the guards is no scatter: four guards and one long delay of a network.
const STRAY_GUARDS: f64 = 4.0;
const STRAY_LEAST: f64 = 0.02;

/// Strays in a row, side by side, that move the phase at first, and at most: a real move is then still followed within minutes.
const WITNESSES: u32 = 2;
const WITNESSES_MOST: u32 = 64;

/// What an edge changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learnt {
    /// The phase is a little better known, or the edge was set aside.
    Little,
    /// Windows lie elsewhere than was believed.
    Anew,
}

/// The phase of one lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    /// Edges counted; none: the phase is unknown.
    seen: u32,
    /// The mean edge within the second.
    mean: f64,
    deviation: f64,
    /// The last edge that fitted nowhere else, and how many in a row lie beside it.
    stray: f64,
    strays: u32,
    /// Strays in a row that move the phase.
    witnesses: u32,
}

impl Phase {
    /// Nothing is known.
    pub(super) fn new() -> Self {
        Self { seen: 0, mean: 0.0, deviation: 0.0, stray: 0.0, strays: 0, witnesses: WITNESSES }
    }

    /// Takes in an edge: the send time plus the retry-after. At most one for each window, or two of one moment would prove each other.
    pub(super) fn observe(&mut self, edge: f64) -> Learnt {
        if self.seen == 0 {
            self.anchor(edge);
            return Learnt::Anew;
        }
        let off = distance(edge, self.mean);
        if off.abs() > self.reach() {
            let agrees = distance(edge, self.stray).abs() < STRAY_LEAST;
            self.strays = if self.strays > 0 && agrees { self.strays + 1 } else { 1 };
            self.stray = edge;
            if self.strays < self.witnesses {
                return Learnt::Little;
            }
            self.witnesses = (self.witnesses * 2).min(WITNESSES_MOST);
            self.anchor(edge);
            return Learnt::Anew;
        }
        self.strays = 0;
        self.seen = self.seen.saturating_add(1);
        self.mean = (self.mean + off * MEAN_WEIGHT.max(1.0 / f64::from(self.seen))).rem_euclid(WINDOW);
        self.deviation += (off.abs() - self.deviation) * DEVIATION_WEIGHT;
        Learnt::Little
    }

    /// Whether an edge lies where windows are believed to end; none can be told apart while the phase is unknown.
    pub(super) fn fits(&self, edge: f64) -> bool {
        self.seen == 0 || distance(edge, self.mean).abs() <= self.reach()
    }

    /// How far from the mean an edge is no stray.
    fn reach(&self) -> f64 {
        STRAY_GUARDS * self.guard() + STRAY_LEAST
    }

    fn anchor(&mut self, edge: f64) {
        let mean = edge.rem_euclid(WINDOW);
        *self = Self { seen: 1, mean, deviation: FIRST_DEVIATION, strays: 0, ..*self };
    }

    /// The time on either side of an edge in which nothing is sent; none while the phase is unknown.
    pub(super) fn guard(&self) -> f64 {
        if self.seen == 0 {
            return 0.0;
        }
        (GUARD_DEVIATIONS * self.deviation).clamp(GUARD_LEAST, GUARD_MOST)
    }

    /// When the window after the one opened at `opened` opens.
    pub(super) fn opening_after(&self, opened: f64) -> f64 {
        if self.seen == 0 {
            return opened + WINDOW;
        }
        // The mean moves by milliseconds between windows: half a window tells this opening from the next.
        let first = self.mean + self.guard();
        first + (opened + WINDOW / 2.0 - first).floor() + WINDOW
    }

    /// The last opening at or before `now`.
    pub(super) fn opening_before(&self, now: f64) -> f64 {
        let first = self.mean + self.guard();
        first + (now - first).floor()
    }
}

/// How far `edge` lies after `mean`, by the shorter way around the second.
fn distance(edge: f64, mean: f64) -> f64 {
    (edge - mean + WINDOW / 2.0).rem_euclid(WINDOW) - WINDOW / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_that_scatter_are_averaged_and_guarded() {
        let mut phase = Phase::new();
        assert_eq!(phase.opening_after(3.2), 4.2, "an unknown phase begins where the lane began");
        assert_eq!(phase.observe(7.399), Learnt::Anew);
        for second in 8..40 {
            let late = if second % 2 == 0 { 0.001 } else { -0.001 };
            assert_eq!(phase.observe(f64::from(second) + 0.4 + late), Learnt::Little);
        }
        let opening = phase.opening_after(50.41);
        assert!((51.402..51.405).contains(&opening), "{opening}: the mean and three deviations of 1 ms");
        assert!((phase.opening_before(51.403_5) - 51.403).abs() < 0.001);
    }

    #[test]
    fn a_phase_at_the_turn_of_the_second_does_not_tear() {
        let mut phase = Phase::new();
        for second in 1..30 {
            let off = if second % 2 == 0 { 0.002 } else { -0.002 };
            phase.observe(f64::from(second) + off);
        }
        let opening = phase.opening_after(100.0);
        assert!((101.0 - 0.001..101.01).contains(&opening), "{opening}");
    }

    #[test]
    fn one_stray_edge_is_set_aside_and_two_move_the_phase() {
        let mut phase = Phase::new();
        for second in 1..10 {
            phase.observe(f64::from(second) + 0.4);
        }
        let before = phase.opening_after(20.0);
        assert_eq!(phase.observe(10.75), Learnt::Little);
        assert_eq!(phase.opening_after(20.0), before);
        assert_eq!(phase.observe(11.751), Learnt::Anew);
        assert!((phase.opening_after(20.0) - 20.76).abs() < 0.01);
        let second_move: Vec<_> = (12..16).map(|second| phase.observe(f64::from(second) + 0.1)).collect();
        assert_eq!(
            second_move,
            [Learnt::Little, Learnt::Little, Learnt::Little, Learnt::Anew],
            "twice as many"
        );
    }
}
