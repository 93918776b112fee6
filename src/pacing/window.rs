//! The shadow of the service's account: what a lane has spent in its window of one second.
//!
//! The service takes an operation while anything of the window's budget is left, whatever it costs: the last one may overshoot, and the
//! overshoot is a debt of the windows that follow. The shadow does the same sum from the charges in the answers, with the expected
//! cost standing in for what is still in flight. The account is kept by **send time**, so an answer corrects the window its request was sent
//! in, also when it arrives in the next one: two windows are kept for that.
//!
//! The *level* of a window is its debt and all that was spent in it. Whatever the order in which the service met the requests, the level at
//! the end of a window in which something was throttled **is** the budget, give or take the last operation.

use crate::model::request::Leave;

/// One window's account.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Counts from 0; windows without a request are counted too.
    pub(super) number: u64,
    /// Charges, and expected charges of what is in flight.
    spent: f64,
    /// Documents in flight.
    pub(super) in_flight: u32,
    /// Those of them that were sent beyond the budget.
    pub(super) probing: u32,
    /// Something was throttled: the budget is used up.
    pub(super) throttled: bool,
    /// Documents that were answered, and of these the ones that were throttled without a sign that the window was used up.
    answered: u32,
    strays: u32,
    /// The answers that these came in.
    stray_answers: u32,
    /// The window's bounds were moved while it lasted: its level says nothing.
    pub(super) torn: bool,
    /// Debt at its start, fixed when the next window opens.
    debt: f64,
}

/// The share of a window's operations that may be throttled by chance: more than any fault of a service is seen to make, also where a window has few
/// operations, and less than what comes back from a budget that is used up.
const STRAYS: f64 = 0.25;

/// And in so many answers at least: one request that is thrown back as a whole is a large share of the window that it begins.
const STRAY_ANSWERS: u32 = 4;

/// The account of a lane: the window that is open and the one before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    /// When the current window opened.
    pub(super) opened: f64,
    /// The current window.
    pub(super) current: Tally,
    previous: Tally,
    /// What the budgets of the windows since the previous one have paid, by the budget of that time: what is learnt later does not hold for then.
    paid: f64,
}

impl Account {
    pub(super) fn new(opened: f64) -> Self {
        Self { opened, current: Tally::default(), previous: Tally::default(), paid: f64::INFINITY }
    }

    /// Opens the window that `now` lies in, given when the one after the current opens.
    pub(super) fn roll(&mut self, now: f64, next: f64, budget: Option<f64>) {
        if now < next {
            return;
        }
        let skipped = (now - next).floor();
        self.current.debt = self.debt();
        self.previous = self.current;
        self.current = Tally { number: self.previous.number + 1 + skipped as u64, ..Tally::default() };
        // An unknown budget has not been overshot.
        self.paid = budget.map_or(f64::INFINITY, |budget| budget * (1.0 + skipped));
        self.opened = next + skipped;
    }

    /// What the windows before have left to pay.
    fn debt(&self) -> f64 {
        (self.previous.debt + self.previous.spent - self.paid).max(0.0)
    }

    /// The current window's level.
    pub(super) fn level(&self) -> f64 {
        self.debt() + self.current.spent
    }

    /// The level of a window that is still kept.
    pub(super) fn level_of(&self, number: u64) -> f64 {
        if number == self.current.number { self.level() } else { self.previous.debt + self.previous.spent }
    }

    /// What was spent in the window before the current one.
    pub(super) fn spent_before(&self) -> f64 {
        self.previous.spent
    }

    /// Whether nothing has been sent in the current window.
    pub(super) fn is_fresh(&self) -> bool {
        self.current.spent <= 0.0
    }

    /// A request was sent.
    pub(super) fn send(&mut self, documents: u32, expected: f64, probe: bool) {
        self.current.spent += expected;
        self.current.in_flight += documents;
        self.current.probing += if probe { documents } else { 0 };
    }

    /// The account of a window that is still kept.
    fn tally(&mut self, number: u64) -> Option<&mut Tally> {
        [&mut self.current, &mut self.previous].into_iter().find(|tally| tally.number == number)
    }

    /// A request was answered: it cost `difference` more than was expected. Returns whether it is its window's first with something
    /// throttled.
    pub(super) fn settle(&mut self, leave: &Leave, difference: f64, throttled: bool) -> bool {
        let Some(tally) = self.tally(leave.window) else { return false };
        tally.in_flight = tally.in_flight.saturating_sub(leave.documents);
        tally.probing = tally.probing.saturating_sub(if leave.probe { leave.documents } else { 0 });
        tally.spent += difference;
        let first = throttled && !tally.throttled;
        tally.throttled |= throttled;
        first
    }

    /// `throttled` of the `documents` of a request were throttled, though nothing else says that the budget is used up. Returns whether they are the first such
    /// of their window, and whether they are too many there to be chance.
    pub(super) fn stray(&mut self, number: u64, throttled: u32, documents: u32) -> (bool, bool) {
        let Some(tally) = self.tally(number) else { return (false, false) };
        let is_first = tally.strays == 0 && throttled > 0;
        tally.answered += documents;
        tally.strays += throttled;
        tally.stray_answers += u32::from(throttled > 0);
        let is_large = f64::from(tally.strays) > STRAYS * f64::from(tally.answered);
        (is_first, is_large && tally.stray_answers >= STRAY_ANSWERS)
    }

    /// The level of a window whose every request is answered, and whether something was throttled in it.
    pub(super) fn closed_level(&mut self, number: u64) -> Option<(f64, bool)> {
        let debt = self.debt();
        let is_current = number == self.current.number;
        let tally = self.tally(number)?;
        let debt = if is_current { debt } else { tally.debt };
        let settled = tally.in_flight == 0 && !tally.torn;
        settled.then_some((debt + tally.spent, tally.throttled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn leave(window: u64, documents: u32) -> Leave {
        Leave { documents, lane: 0, sent: Duration::ZERO, expected: 0.0, window, probe: false }
    }

    #[test]
    fn an_overshoot_is_owed_by_the_windows_that_follow() {
        let mut account = Account::new(0.0);
        account.send(30, 210.0, false);
        account.roll(0.9, 1.0, Some(100.0));
        assert_eq!(account.level(), 210.0, "still the same window");
        account.roll(1.0, 1.0, Some(100.0));
        assert_eq!(account.level(), 110.0);
        account.send(1, 5.0, false);
        account.roll(3.5, 2.0, Some(100.0));
        assert_eq!((account.opened, account.current.number), (3.0, 3));
        assert_eq!(account.level(), 0.0, "a window without a request paid too");
    }

    #[test]
    fn a_late_answer_corrects_the_window_it_was_sent_in_and_so_the_debt() {
        let mut account = Account::new(0.0);
        account.send(10, 100.0, false);
        account.roll(1.0, 1.0, Some(100.0));
        assert_eq!(account.level(), 0.0);
        assert!(account.settle(&leave(0, 10), 20.0, true));
        assert_eq!(account.level(), 20.0);
        assert_eq!(account.closed_level(0), Some((120.0, true)));
        assert!(!account.current.throttled);
        account.roll(2.0, 2.0, Some(100.0));
        assert!(!account.settle(&leave(0, 10), 500.0, true), "too late to count");
    }

    #[test]
    fn what_an_earlier_window_paid_is_not_judged_by_a_later_budget() {
        let mut account = Account::new(0.0);
        account.send(10, 100.0, false);
        account.roll(1.0, 1.0, Some(100.0));
        account.send(1, 10.0, false);
        account.roll(2.0, 2.0, Some(50.0));
        assert_eq!(account.level(), 0.0, "the first window's hundred was paid by a hundred");
    }

    #[test]
    fn a_window_is_judged_when_everything_is_answered() {
        let mut account = Account::new(0.0);
        account.send(10, 70.0, false);
        account.send(10, 70.0, false);
        assert!(account.settle(&leave(0, 10), 3.0, true), "the first to be throttled");
        assert_eq!(account.closed_level(0), None);
        assert!(!account.settle(&leave(0, 10), -3.0, true));
        assert_eq!(account.closed_level(0), Some((140.0, true)));
        account.current.torn = true;
        assert_eq!(account.closed_level(0), None);
    }
}
