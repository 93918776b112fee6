//! One lane: whether it may send now, how much, and what its answers say about its budget.
//!
//! **Spending a window.** A line rises from nothing to the whole budget in the first [`SPAN`] of a window, or less (`span`), and a request may be sent whenever the
//! line has reached the level of what is spent. A lane that fell behind is below its line and catches up at once. The last
//! request is cut to what is left, less what the costs in flight may turn out too high by; when the answers
//! are in, a request of a few documents takes the rest. After that only probes are sent ([`prober`](super::prober)).
//!
//! **Learning the budget.** When every request of a window is answered its level says where the budget lies ([`window`](super::window)): not far
//! under the level if something was throttled, not far under it or anywhere above if nothing was. The estimate moves into that range by the
//! shortest way, so a window that was not full never lowers it, an idle lane learns nothing, and a window that was throttled is
//! believed at once, in both directions: the budget is a number that is counted, not a rate that is felt out.

use super::Answer;
use super::phase::{Learnt, Phase, WINDOW};
use super::prober::Prober;
use super::size::{Cost, MOST};
use super::window::Account;
use crate::model::request::Leave;
use std::time::Duration;

/// The part of a window in which the budget is spent. The rest is for answers, the cut request and probes: at 20 ms a round trip, ten of them.
/// A shorter span would make bursts that need more requests in flight.
const SPAN: f64 = 0.8;

/// A window in which something was throttled at under this share of the estimate did not merely see the noise of its last operation.
const FELL: f64 = 0.97;

/// The estimate falls to half at most in one window: what else may have gone wrong with a count (a stalled connection, another client)
/// then costs little, and a real fall to a quarter is followed in two.
const LARGEST_FALL: f64 = 0.5;

/// The share of the doubt about costs that is kept back when no answer comes in time any more: 1.4 deviations. What is kept back then is lost, and what is
/// not is thrown back one time in twelve; where one document costs as much as hundreds, nothing kept back is 1.5 % throttled, and this 0.8 %.
const LAST_DOUBT: f64 = 0.7;

/// No partition has a larger budget; and the part of a window in which the smallest are spent.
const LARGEST_BUDGET: f64 = 10_000.0;
const LEAST_SPAN: f64 = 0.2;

/// The weight of a throttled answer in the share of those whose wait ends with a window, and the share above which the target is taken to have windows.
const ALIGNED_WEIGHT: f64 = 0.1;
const ALIGNED: f64 = 0.9;

/// The least estimate, so that there is always something to divide by. No partition has fewer.
const LEAST_BUDGET: f64 = 1.0;

/// The weight of a new round trip, as RFC 6298 has it.
const ROUND_TRIP_WEIGHT: f64 = 0.125;

/// A microsecond keeps sums of times on the right side of a window's edge.
const TICK: f64 = 1e-6;

/// A lane's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    /// Request units in a window, once known.
    budget: Option<f64>,
    phase: Phase,
    account: Account,
    cost: Cost,
    prober: Prober,
    /// Told by a throttled answer: nothing before this.
    gate: f64,
    /// Seconds from sending to the answer, followed.
    round_trip: f64,
    /// The share of throttled answers whose wait ends with a window, lately.
    aligned: f64,
}

impl Lane {
    /// A lane that is opened `now`, with the budget that is known of it.
    pub(super) fn new(now: f64, budget: Option<f64>) -> Self {
        Self {
            budget: budget.map(|budget| budget.max(LEAST_BUDGET)),
            phase: Phase::new(),
            account: Account::new(now),
            cost: Cost::new(),
            prober: Prober::new(),
            gate: 0.0,
            round_trip: 0.0,
            aligned: 1.0,
        }
    }

    /// One of `children` lanes that this one becomes. They have new homes, so the phase is unknown; the documents stay what they are.
    pub(super) fn child(&self, now: f64, children: u32) -> Self {
        let budget = self.budget.map(|budget| budget / f64::from(children));
        Self { cost: self.cost, ..Self::new(now, budget) }
    }

    /// The believed budget.
    pub(super) fn budget(&self) -> Option<f64> {
        self.budget
    }

    /// The mean cost of a document.
    pub(super) fn mean_cost(&self) -> f64 {
        self.cost.mean()
    }

    /// The earliest time from `from` on, not before `now`, at which a request may be sent if nothing is answered until then.
    pub(super) fn earliest(&mut self, now: f64, from: f64) -> f64 {
        self.open_window(now);
        let from = from.max(self.gate);
        if !self.account.current.throttled {
            // Now, or when there is no time left to wait for answers.
            for at in [from, from.max(self.last_call())] {
                let at = at.max(self.line_reaches_level());
                if at < self.closes() && self.room(at).documents > 0 {
                    return at;
                }
            }
        }
        self.later_window(from)
    }

    /// Sends a request of up to `wanted` documents. To be called when [`earliest`](Self::earliest) says now.
    pub(super) fn send(&mut self, now: Duration, wanted: u32) -> Leave {
        let room = self.room(now.as_secs_f64());
        let documents = wanted.min(self.request()).min(room.documents).max(1);
        let expected = self.cost.of(documents);
        let window = self.account.current.number;
        self.account.send(documents, expected, room.is_beyond);
        Leave { documents, lane: 0, sent: now, expected, window, probe: room.is_beyond }
    }

    /// A leave is made use of for fewer documents.
    pub(super) fn shorten(&mut self, leave: &Leave, documents: u32) -> Leave {
        let documents = documents.min(leave.documents);
        let expected = leave.expected * f64::from(documents) / f64::from(leave.documents);
        let unused = Leave { documents: leave.documents - documents, expected: 0.0, ..*leave };
        self.account.settle(&unused, expected - leave.expected, false);
        Leave { documents, expected, ..*leave }
    }

    /// Documents in a request, before it is cut to what is left.
    pub(super) fn request(&self) -> u32 {
        self.budget.map_or(MOST, |budget| self.cost.request(budget))
    }

    /// A request was answered. Returns whether the lane waits for what was throttled; if not, only those documents need to.
    pub(super) fn answered(&mut self, now: f64, leave: &Leave, answer: &Answer) -> bool {
        let throttled = answer.throttled.min(leave.documents);
        self.open_window(now);
        self.cost.learn(answer.request_units, answer.charged.min(leave.documents));
        let difference = answer.request_units - leave.expected;
        let sign = self.sign(leave, answer, throttled);
        let first = self.account.settle(leave, difference, sign == Sign::End);
        self.follow_round_trip(now - leave.sent.as_secs_f64());
        if leave.probe && (throttled == 0 || answer.is_stray) {
            self.prober.taken(leave.documents - throttled);
        }
        if let (Sign::End | Sign::Doubtful, Some(wait)) = (sign, answer.retry_after) {
            self.gate = self.gate.max(now + wait.as_secs_f64());
            if first {
                self.learn_edge(now, leave.sent.as_secs_f64() + wait.as_secs_f64());
            }
        }
        self.learn_budget(leave.window);
        sign != Sign::Chance
    }

    /// What an answer says of the window's budget. It is not used up where the service took something after what it threw back. Nor, at first, where it
    /// asks for a wait that does not end when the window does, or where less than the estimate can fall at once is spent: to wait as told
    /// is enough. Too many of these in one window are no chance.
    fn sign(&mut self, leave: &Leave, answer: &Answer, throttled: u32) -> Sign {
        let is_throttled = throttled > 0 && !answer.is_stray;
        let Some(budget) = self.budget else { return if is_throttled { Sign::End } else { Sign::Chance } };
        let edge = answer.retry_after.map(|wait| leave.sent.as_secs_f64() + wait.as_secs_f64());
        if let Some(edge) = edge.filter(|_| is_throttled) {
            self.aligned += ALIGNED_WEIGHT * (f64::from(u32::from(self.phase.fits(edge))) - self.aligned);
        }
        let is_spent = self.account.level_of(leave.window) >= budget * LARGEST_FALL;
        if is_throttled && is_spent && edge.is_none_or(|edge| self.phase.fits(edge)) {
            return Sign::End;
        }
        let strays = if is_throttled { throttled } else { 0 };
        let (is_first, too_many) = self.account.stray(leave.window, strays, leave.documents);
        // The windows may lie elsewhere by now.
        let has_moved =
            edge.filter(|_| is_first).is_some_and(|edge| self.phase.observe(edge) == Learnt::Anew);
        match is_throttled {
            false => Sign::Chance,
            true if too_many || has_moved && is_spent => Sign::End,
            true if is_spent => Sign::Doubtful,
            true => Sign::Chance,
        }
    }

    /// A request was lost: whether it was charged is unknown, and taken for granted.
    pub(super) fn lost(&mut self, now: f64, leave: &Leave) {
        self.open_window(now);
        self.account.settle(leave, 0.0, false);
    }

    /// Opens the window that `now` lies in.
    fn open_window(&mut self, now: f64) {
        self.account.roll(now, self.phase.opening_after(self.account.opened), self.budget);
    }

    fn follow_round_trip(&mut self, latest: f64) {
        let weight = if self.round_trip == 0.0 { 1.0 } else { ROUND_TRIP_WEIGHT };
        self.round_trip += weight * (latest - self.round_trip);
    }

    fn learn_edge(&mut self, now: f64, edge: f64) {
        if self.phase.observe(edge) == Learnt::Anew {
            self.account.opened = self.phase.opening_before(now);
            // A lane of unknown budget has doubled its way up to here from nothing: its count is the best there is.
            self.account.current.torn = self.budget.is_some();
        }
    }

    fn learn_budget(&mut self, window: u64) {
        let Some((level, throttled)) = self.account.closed_level(window) else { return };
        let least = level - self.cost.largest();
        if !throttled {
            self.budget = self.budget.map(|budget| {
                self.prober.closed_unthrottled(least / budget);
                budget.max(least)
            });
            return;
        }
        // The first count may have begun in the middle of a window of the service: then the window before was nearer to the budget.
        let first = self.budget.is_none();
        let before = self.budget.unwrap_or(level.max(self.account.spent_before()));
        let most = if first { before } else { level };
        let after = before.max(least).min(most).max(before * LARGEST_FALL).max(LEAST_BUDGET);
        self.budget = Some(after);
        let doubtful = first || after < before * FELL;
        self.prober.throttled(window, after / self.cost.mean(), doubtful);
    }

    /// When the current window is over for requests.
    fn closes(&self) -> f64 {
        self.phase.opening_after(self.account.opened) - 2.0 * self.phase.guard()
    }

    /// From here on an answer would come too late for anything to be sent after it in this window: what is left goes out unanswered.
    fn last_call(&self) -> f64 {
        self.closes() - 2.0 * self.round_trip
    }

    /// When the line has reached the level.
    fn line_reaches_level(&self) -> f64 {
        let share = self.budget.map_or(0.0, |budget| self.account.level() / budget);
        self.account.opened + self.span() * share.min(1.0)
    }

    /// What may still be sent in this window at this time, whatever the line says.
    fn room(&self, at: f64) -> Room {
        let in_flight = self.account.current.in_flight;
        let is_last_call = at >= self.last_call();
        if !self.cost.is_known() {
            // One document tells what documents cost; more would be a blind shot.
            return Room { documents: u32::from(in_flight == 0), is_beyond: true };
        }
        let Some(budget) = self.budget else {
            let reach = self.prober.reach_unknown();
            return Room { documents: reach.saturating_sub(in_flight), is_beyond: true };
        };
        let left = budget - self.account.level();
        let fits = self.fits(left, in_flight, is_last_call);
        if fits > 0 {
            return Room { documents: fits, is_beyond: false };
        }
        if left > 0.0 && self.account.is_fresh() {
            // A document dearer than a window: it passes, and the windows after it pay.
            return Room { documents: 1, is_beyond: false };
        }
        let reach = self.prober.reach(self.account.current.number, budget / self.cost.mean());
        let unanswered = if is_last_call { self.account.current.probing } else { in_flight };
        Room { documents: reach.saturating_sub(unanswered), is_beyond: true }
    }

    /// How many documents what is `left` pays for. Those `in_flight` and these may cost more than is expected: as much as they may is kept back, and a smaller
    /// request after the answers takes it; where no answer comes in time any more, only [`LAST_DOUBT`] of it.
    fn fits(&self, left: f64, in_flight: u32, is_last_call: bool) -> u32 {
        // To the nearest document: the service takes one while anything is left, and the estimate is good to half of one.
        let nearest = |left: f64| (left / self.cost.mean() + 0.5).max(0.0) as u32;
        let asked = if is_last_call { nearest(left) } else { nearest(left).min(self.request()) };
        let kept = if is_last_call { LAST_DOUBT } else { 1.0 };
        let surely = nearest(left - kept * self.cost.doubt(in_flight + asked)).min(asked);
        if in_flight == 0 { surely.max(asked.min(1)) } else { surely }
    }

    /// The part of a window in which it is spent. Of two clients of one partition the one that has less is done earlier, and finds something left
    /// when it asks for more; the one that has more does not. With parts that are the same for all, whoever has more would keep it. A target that has no windows is
    /// served evenly.
    fn span(&self) -> f64 {
        let budget = self.budget.filter(|_| self.aligned > ALIGNED).unwrap_or(LARGEST_BUDGET);
        (SPAN * budget / LARGEST_BUDGET).clamp(LEAST_SPAN, SPAN)
    }

    /// The earliest time from `from` on in a window that is not open yet and has something left.
    fn later_window(&self, from: f64) -> f64 {
        let next = self.phase.opening_after(self.account.opened);
        let open_for = WINDOW - 2.0 * self.phase.guard() - 2.0 * TICK;
        let not_closed = ((from - next - open_for).floor() + 1.0).max(0.0);
        let Some(budget) = self.budget else { return from.max(next + not_closed) };
        let level = self.account.level();
        let paid_for = ((level / budget).floor() - 1.0).max(0.0);
        let window = not_closed.max(paid_for);
        let debt = (level - budget * (window + 1.0)).max(0.0);
        from.max(next + window + self.span() * debt / budget)
    }
}

/// What an answer says of its window's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// It is used up.
    End,
    /// It may be used up: to be safe nothing more is sent, and nothing is learnt.
    Doubtful,
    /// Nothing: most of it is left, and what was thrown back was so by chance or by another client's doing.
    Chance,
}

/// What a lane may still send in its window.
struct Room {
    documents: u32,
    /// It is more than the budget that is known.
    is_beyond: bool,
}
