//! What holds whatever the target answers, when it answers and in what order.
//!
//! The target here is hostile: it charges what it likes, throttles at random, tells waits that fit no window, answers late, twice out of order, or never. The
//! pacer may then be slow, but it must neither stall nor send when it was told not to.

use super::*;
use proptest::prelude::*;

/// What happens next to a pacer.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes, in milliseconds.
    Pass(u64),
    /// A lane is asked for so many documents.
    Ask(u32, u32),
    /// The request that has been in flight for the longest, or the latest, is answered: charge a document, share throttled, retry-after.
    Answer { oldest: bool, charge: f64, throttled: f64, wait: Option<u64> },
    /// A request is lost.
    Lose,
}

const LANES: u32 = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let answer = (
        any::<bool>(),
        0.1..900.0f64,
        prop_oneof![3 => Just(0.0), 1 => 0.0..1.0f64],
        prop::option::of(0..2500u64),
    )
        .prop_map(|(oldest, charge, throttled, wait)| Step::Answer { oldest, charge, throttled, wait });
    let step = prop_oneof![
        3 => prop_oneof![0..5u64, 0..3000u64].prop_map(Step::Pass),
        6 => (0..LANES, 1..200u32).prop_map(|(lane, documents)| Step::Ask(lane, documents)),
        5 => answer,
        1 => Just(Step::Lose),
    ];
    prop::collection::vec(step, 1..300)
}

/// A pacer, its time and its requests in flight.
struct Play {
    pacer: Pacer,
    now: Duration,
    in_flight: Vec<Leave>,
    /// Until when each lane was told to wait.
    held: [Duration; LANES as usize],
}

impl Play {
    fn new(cap: Option<f64>, budgets: [Option<f64>; LANES as usize]) -> Self {
        let mut pacer = Pacer::new(cap);
        budgets.into_iter().for_each(|budget| {
            pacer.open(Duration::ZERO, budget);
        });
        Self { pacer, now: Duration::ZERO, in_flight: Vec::new(), held: Default::default() }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Pass(milliseconds) => self.now += Duration::from_millis(milliseconds),
            Step::Ask(lane, documents) => self.ask(lane, documents)?,
            Step::Answer { .. } | Step::Lose if self.in_flight.is_empty() => {}
            Step::Answer { oldest, charge, throttled, wait } => {
                let leave = if oldest { self.in_flight.remove(0) } else { self.in_flight.pop().unwrap() };
                let throttled = (f64::from(leave.documents) * throttled).ceil() as u32;
                let retry_after = wait.map(Duration::from_millis).filter(|_| throttled > 0);
                let charged = leave.documents - throttled;
                let request_units = charge * f64::from(charged);
                let answer = Answer { request_units, charged, throttled, retry_after, is_stray: false };
                if self.pacer.answered(self.now, leave, answer) {
                    let held = &mut self.held[leave.lane as usize];
                    *held = (*held).max(self.now + retry_after.unwrap_or_default());
                }
            }
            Step::Lose => {
                let leave = self.in_flight.remove(0);
                self.pacer.lost(self.now, leave);
            }
        }
        for lane in 0..LANES {
            let budget = self.pacer.budget(lane);
            prop_assert!(budget.is_none_or(|budget| budget.is_finite() && budget >= 1.0), "{budget:?}");
        }
        Ok(())
    }

    fn ask(&mut self, lane: u32, documents: u32) -> Result<(), TestCaseError> {
        match self.pacer.admit(self.now, lane, documents) {
            Admission::Send(leave) => {
                prop_assert!((1..=documents.min(100)).contains(&leave.documents));
                prop_assert!(self.now >= self.held[lane as usize], "sent before the time that was told");
                self.in_flight.push(leave);
            }
            Admission::Wait(until) => {
                prop_assert!(until > self.now, "{until:?} is not later than {:?}", self.now);
                let later = self.pacer.clone().admit(until, lane, documents);
                prop_assert!(
                    matches!(later, Admission::Send(_)),
                    "{later:?} at {until:?}, as was told at {:?}",
                    self.now
                );
            }
        }
        Ok(())
    }
}

fn budget() -> impl Strategy<Value = Option<f64>> {
    prop::option::of(prop_oneof![1.0..1000.0f64, 1000.0..100_000.0f64])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The time that is told lies in the future and admits; what is admitted is no more than was asked for, and never
    /// before a retry-after has passed; the budget stays a number.
    #[test]
    fn a_hostile_target_neither_stalls_nor_hurries_the_pacer(
        cap in budget(),
        budgets in [budget(), budget(), budget()],
        steps in steps(),
    ) {
        let mut play = Play::new(cap, budgets);
        for step in &steps {
            play.step(step)?;
        }
    }

    /// Without answers no window admits more than its budget and a few documents: one that the budget was rounded to, the first of all, and the two
    /// of a probe that may go out unanswered.
    #[test]
    fn a_window_admits_no_more_than_its_budget(
        budget in 1.0..20_000.0f64,
        cost in 0.5..500.0f64,
        asks in prop::collection::vec((0..60u64, 1..150u32), 1..400),
    ) {
        let mut pacer = Pacer::new(None);
        let lane = pacer.open(Duration::ZERO, Some(budget));
        let Admission::Send(first) = pacer.admit(Duration::ZERO, lane, 1) else { panic!("the first document passes") };
        let answer = Answer { request_units: cost, charged: 1, ..Answer::default() };
        pacer.answered(Duration::from_millis(1), first, answer);
        let mut now = Duration::from_millis(1);
        let mut windows = vec![cost];
        for (pause, documents) in asks {
            now += Duration::from_millis(pause);
            windows.resize(now.as_secs() as usize + 1, 0.0);
            if let Admission::Send(leave) = pacer.admit(now, lane, documents) {
                windows[now.as_secs() as usize] += cost * f64::from(leave.documents);
            }
        }
        let mut debt = 0.0;
        for spent in windows {
            let most = (budget - debt).max(0.0) + 4.0 * cost + 1e-6;
            prop_assert!(spent <= most, "{spent} of {budget}, {debt} owed");
            debt = f64::max(debt + spent - budget, 0.0);
        }
    }

    /// All lanes together keep to the cap over any ten seconds, to 3 %.
    #[test]
    fn the_cap_holds_over_any_ten_seconds(
        cap in 500.0..50_000.0f64,
        cost in 1.0..50.0f64,
        asks in prop::collection::vec((0..50u64, 0..4u32, 1..150u32, 1..20usize), 1..1500),
    ) {
        let mut pacer = Pacer::new(Some(cap));
        (0..4).for_each(|_| { pacer.open(Duration::ZERO, None); });
        let (mut now, mut in_flight, mut spent) = (Duration::ZERO, Vec::new(), Vec::new());
        for (pause, lane, documents, answered_after) in asks {
            now += Duration::from_millis(pause);
            if let Admission::Send(leave) = pacer.admit(now, lane, documents) {
                spent.push((now, cost * f64::from(leave.documents)));
                in_flight.push(leave);
            }
            while in_flight.len() > answered_after {
                let leave: Leave = in_flight.remove(0);
                let request_units = cost * f64::from(leave.documents);
                let charged = leave.documents;
                pacer.answered(now, leave, Answer { request_units, charged, ..Answer::default() });
            }
        }
        let ten = Duration::from_secs(10);
        for (index, (from, _)) in spent.iter().enumerate() {
            let within = spent[index..].iter().take_while(|(at, _)| *at - *from < ten);
            let units: f64 = within.map(|(_, units)| units).sum();
            // Documents whose cost is not known yet: one for each lane.
            prop_assert!(units <= 10.3 * cap + 4.0 * cost, "{units} of {cap} a second");
        }
    }
}
