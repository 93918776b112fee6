//! The endpoint that the tests pace themselves against, and the caller that drives the pacer.
//!
//! A partition takes an operation while its window of one second has budget left; what the last one overshoots by is a debt of the next window. Windows
//! have a phase, told to nobody; a throttled operation is told how long its window still lasts, in whole milliseconds. A batch is no transaction: each of its
//! operations is taken or throttled on its own. What goes to the partition and what comes back each takes half of the latency and an exponential jitter, so
//! requests overtake each other. Time is virtual and chance is seeded: a scene is the same in every run.
//!
//! The caller has a bounded number of requests in flight and asks lanes in turn, as the connector will.

use super::{Admission, Answer, Pacer};
use crate::model::request::Leave;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::time::Duration;

/// A partition and the work there is for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Partition {
    /// Request units per second.
    pub(super) budget: f64,
    /// Documents per second that come for it; infinite: a backlog without end.
    pub(super) arriving: f64,
    /// They come together, once in so many seconds; zero: one by one.
    pub(super) burst: f64,
}

/// What is played.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) partitions: Vec<Partition>,
    /// Whether lanes are opened with their budget.
    pub(super) known: bool,
    pub(super) cap: Option<f64>,
    /// From this second on every budget is its first times the factor.
    pub(super) steps: Vec<(f64, f64)>,
    pub(super) seconds: usize,
    pub(super) seed: u64,
    /// Round trip without jitter.
    pub(super) latency: f64,
    /// Mean of the exponential jitter of either way.
    pub(super) jitter: f64,
    pub(super) requests_in_flight: usize,
    /// Request units of a document: mean, and half the width of a uniform noise as a share of it.
    pub(super) cost: (f64, f64),
    /// The share of documents that cost ten times the mean.
    pub(super) dear: f64,
    /// Seconds in which there is no work.
    pub(super) pause: Range<u64>,
    /// The share of operations that are throttled for a reason of their own, for 300 ms.
    pub(super) stray: f64,
    /// The service refills continuously instead of in windows: what the pacer does not expect.
    pub(super) continuous: bool,
}

impl Scene {
    /// `count` partitions of `budget` with a backlog without end.
    pub(super) fn even(count: usize, budget: f64, seed: u64) -> Self {
        let partition = Partition { budget, arriving: f64::INFINITY, burst: 0.0 };
        Self {
            partitions: vec![partition; count],
            known: false,
            cap: None,
            steps: Vec::new(),
            seconds: 70,
            seed,
            latency: 0.005,
            jitter: 0.001,
            requests_in_flight: 512,
            cost: (7.0, 0.3),
            dear: 0.0,
            stray: 0.0,
            pause: 0..0,
            continuous: false,
        }
    }

    pub(super) fn play(&self) -> Report {
        let mut stage = Stage::new(self);
        stage.dispatch();
        while let Some(Reverse((at, _, event))) = stage.events.pop() {
            if at > self.seconds as u64 * SECOND {
                break;
            }
            stage.now = at;
            stage.happen(event);
            stage.dispatch();
        }
        let lanes = 0..self.partitions.len() as u32;
        stage.report.budgets = lanes.map(|lane| stage.pacer.budget(lane)).collect();
        stage.report
    }

    /// What a partition may spend in the window that begins at `at`; a step within it counts in part.
    fn budget_in(&self, partition: usize, at: f64) -> f64 {
        let mut factor = 1.0;
        let mut before = 1.0;
        for (step, then) in &self.steps {
            let after = (at + 1.0 - step).clamp(0.0, 1.0);
            factor = before * (1.0 - after) + then * after;
            before = factor;
        }
        self.partitions[partition].budget * factor
    }
}

/// Nanoseconds: the order of events must not hang on rounding.
const SECOND: u64 = 1_000_000_000;

/// What a window of a partition saw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) units: f64,
    pub(super) taken: u32,
    pub(super) throttled: u32,
    pub(super) budget: f64,
}

/// What the endpoint saw.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// By partition and window of that partition.
    pub(super) windows: Vec<Vec<Seen>>,
    /// Request units by hundredth of a second, all partitions together.
    pub(super) hundredths: Vec<f64>,
    /// Requests sent.
    pub(super) requests: u64,
    /// Requests that were sent before the time that a throttled answer of their lane had told.
    pub(super) early: u64,
    pub(super) budgets: Vec<Option<f64>>,
}

impl Report {
    /// The share of the budget that partition used in these windows.
    pub(super) fn used(&self, partition: usize, windows: Range<usize>) -> f64 {
        let seen = &self.windows[partition][windows];
        seen.iter().map(|w| w.units).sum::<f64>() / seen.iter().map(|w| w.budget).sum::<f64>()
    }

    /// The least of [`used`](Self::used) over all partitions.
    pub(super) fn least_used(&self, windows: Range<usize>) -> f64 {
        (0..self.windows.len()).map(|p| self.used(p, windows.clone())).fold(f64::INFINITY, f64::min)
    }

    /// The share of a partition's operations that was throttled.
    pub(super) fn throttled(&self, partition: usize, windows: Range<usize>) -> f64 {
        let seen = &self.windows[partition][windows];
        let throttled = seen.iter().map(|w| f64::from(w.throttled)).sum::<f64>();
        throttled / (throttled + seen.iter().map(|w| f64::from(w.taken)).sum::<f64>()).max(1.0)
    }

    /// The largest of [`throttled`](Self::throttled) over all partitions.
    pub(super) fn most_throttled(&self, windows: Range<usize>) -> f64 {
        (0..self.windows.len()).map(|p| self.throttled(p, windows.clone())).fold(0.0, f64::max)
    }

    /// Windows from `from` on until every partition uses `share` of its budget in every window but the last.
    pub(super) fn used_again_after(&self, from: usize, share: f64) -> usize {
        let last = self.windows[0].len() - 1;
        let poor = (from..last).rev().find(|at| self.least_used(*at..at + 1) < share);
        poor.map_or(0, |at| at + 1 - from)
    }

    /// Request units per second of all partitions, between these seconds.
    pub(super) fn units_per_second(&self, seconds: Range<usize>) -> f64 {
        let units: f64 = self.hundredths[seconds.start * 100..seconds.end * 100].iter().sum();
        units / seconds.len() as f64
    }

    /// The most request units in any ten seconds.
    pub(super) fn most_in_ten_seconds(&self) -> f64 {
        self.hundredths.windows(1000).map(|w| w.iter().sum()).fold(0.0, f64::max)
    }
}

/// The service's account of a partition.
struct Account {
    budget: f64,
    first_budget: f64,
    phase: f64,
    window: i64,
    used: f64,
}

impl Account {
    /// Takes an operation, or tells how long it must wait.
    fn take(&mut self, now: f64, cost: f64) -> Result<(), f64> {
        let window = (now - self.phase).floor() as i64;
        if window > self.window {
            self.used = (self.used - self.budget * (window - self.window) as f64).max(0.0);
            self.window = window;
        }
        if self.used < self.budget {
            self.used += cost;
            return Ok(());
        }
        let windows = (self.used / self.budget).floor().max(1.0);
        Err(self.window as f64 + windows + self.phase - now)
    }

    /// The same for a budget that flows in all the time, a second's worth of it kept; `window` counts microseconds then.
    fn take_continuously(&mut self, now: f64, cost: f64) -> Result<(), f64> {
        let now_micros = (now * 1e6) as i64;
        self.used = (self.used - self.budget * (now_micros - self.window) as f64 / 1e6).max(0.0);
        self.window = now_micros;
        if self.used < self.budget {
            self.used += cost;
            return Ok(());
        }
        Err((self.used - self.budget) / self.budget + 0.01)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Event {
    /// A request reaches its partition.
    Arrive(usize, Leave),
    /// Its answer is back.
    Back(usize, Leave, Answer),
    /// A lane may be asked again, or work has come.
    Wake,
    Step(f64),
}

/// Events of one time are told apart by their number alone.
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

struct Stage<'a> {
    scene: &'a Scene,
    pacer: Pacer,
    accounts: Vec<Account>,
    chance: fastrand::Rng,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    numbered: u64,
    in_flight: usize,
    /// When each lane is to be asked again.
    ask_at: Vec<u64>,
    /// Told by throttled answers, by lane.
    held_until: Vec<u64>,
    /// Documents of each lane that were sent and taken, or are on their way.
    given: Vec<f64>,
    turn: usize,
    report: Report,
}

impl<'a> Stage<'a> {
    fn new(scene: &'a Scene) -> Self {
        let mut chance = fastrand::Rng::with_seed(scene.seed);
        let mut pacer = Pacer::new(scene.cap);
        let lanes = scene.partitions.len();
        let mut accounts = Vec::new();
        for partition in &scene.partitions {
            let budget = partition.budget;
            pacer.open(Duration::ZERO, scene.known.then_some(budget));
            accounts.push(Account {
                budget,
                first_budget: budget,
                phase: chance.f64(),
                window: -1,
                used: 0.0,
            });
        }
        let window = |lane: usize, number: usize, phase: f64| Seen {
            budget: scene.budget_in(lane, number as f64 + phase),
            ..Seen::default()
        };
        let phases = accounts.iter().map(|account| account.phase).enumerate();
        let report = Report {
            windows: phases
                .map(|(lane, phase)| (0..scene.seconds).map(|n| window(lane, n, phase)).collect())
                .collect(),
            hundredths: vec![0.0; scene.seconds * 100 + 1],
            requests: 0,
            early: 0,
            budgets: Vec::new(),
        };
        let mut stage = Self {
            scene,
            pacer,
            accounts,
            chance,
            now: 0,
            events: BinaryHeap::new(),
            numbered: 0,
            in_flight: 0,
            ask_at: vec![0; lanes],
            held_until: vec![0; lanes],
            given: vec![0.0; lanes],
            turn: 0,
            report,
        };
        for (at, factor) in &scene.steps {
            stage.push((at * SECOND as f64) as u64, Event::Step(*factor));
        }
        stage
    }

    fn push(&mut self, at: u64, event: Event) {
        self.numbered += 1;
        self.events.push(Reverse((at, self.numbered, event)));
    }

    fn later(&mut self, seconds: f64, event: Event) {
        self.push(self.now + (seconds * SECOND as f64) as u64, event);
    }

    fn half_a_round_trip(&mut self) -> f64 {
        self.scene.latency / 2.0 - self.scene.jitter * (1.0 - self.chance.f64()).ln()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(lane, leave) => {
                let answer = self.serve(lane, leave);
                let back = self.half_a_round_trip();
                self.later(back, Event::Back(lane, leave, answer));
            }
            Event::Back(lane, leave, answer) => {
                self.in_flight -= 1;
                self.given[lane] -= f64::from(answer.throttled);
                self.ask_at[lane] = 0;
                let waits = self.pacer.answered(Duration::from_nanos(self.now), leave, answer);
                if let Some(wait) = answer.retry_after.filter(|_| waits) {
                    self.held_until[lane] = self.held_until[lane].max(self.now + wait.as_nanos() as u64);
                }
            }
            Event::Wake => {}
            Event::Step(factor) => {
                self.accounts.iter_mut().for_each(|account| account.budget = account.first_budget * factor);
            }
        }
    }

    /// What the partition makes of a batch.
    fn serve(&mut self, lane: usize, leave: Leave) -> Answer {
        let now = self.now as f64 / SECOND as f64;
        let mut answer = Answer::default();
        let account = &mut self.accounts[lane];
        let at = ((now - account.phase).floor().max(0.0) as usize).min(self.scene.seconds - 1);
        for _ in 0..leave.documents {
            let (mean, noise) = self.scene.cost;
            let dear = if self.chance.f64() < self.scene.dear { 10.0 } else { 1.0 };
            let cost = mean * dear * (1.0 + noise * (2.0 * self.chance.f64() - 1.0));
            let result = if self.scene.stray > 0.0 && self.chance.f64() < self.scene.stray {
                Err(0.3)
            } else if self.scene.continuous {
                account.take_continuously(now, cost)
            } else {
                account.take(now, cost)
            };
            match result {
                Ok(()) => {
                    answer.request_units += cost;
                    answer.is_stray = answer.throttled > 0;
                    answer.charged += 1;
                    self.report.windows[lane][at].taken += 1;
                }
                Err(wait) => {
                    answer.throttled += 1;
                    answer.is_stray = false;
                    let wait = Duration::from_millis((wait * 1e3).ceil() as u64);
                    answer.retry_after = answer.retry_after.max(Some(wait));
                    self.report.windows[lane][at].throttled += 1;
                }
            }
        }
        self.report.windows[lane][at].units += answer.request_units;
        self.report.hundredths[(self.now / (SECOND / 100)) as usize] += answer.request_units;
        answer
    }

    /// Documents that wait for a lane now.
    fn waiting(&self, lane: usize) -> u32 {
        let arriving = self.scene.partitions[lane].arriving;
        if self.scene.pause.contains(&(self.now / SECOND)) {
            return 0;
        }
        if arriving.is_infinite() {
            return 1000;
        }
        let mut now = self.now as f64 / SECOND as f64;
        let burst = self.scene.partitions[lane].burst;
        if burst > 0.0 {
            now = (now / burst).floor() * burst;
        }
        (arriving * now - self.given[lane]).max(0.0) as u32
    }

    /// Sends what may be sent, lanes in turn.
    fn dispatch(&mut self) {
        let lanes = self.ask_at.len();
        let mut refused = 0;
        while refused < lanes && self.in_flight < self.scene.requests_in_flight {
            let lane = self.turn % lanes;
            self.turn += 1;
            refused += 1;
            if self.ask_at[lane] > self.now {
                continue;
            }
            let waiting = self.waiting(lane);
            if waiting == 0 {
                let between = SECOND as f64 / self.scene.partitions[lane].arriving;
                self.ask_at[lane] = self.now + (between as u64).max(SECOND / 1000);
                self.push(self.ask_at[lane], Event::Wake);
                continue;
            }
            let wanted = waiting.min(self.pacer.request_documents(lane as u32));
            match self.pacer.admit(Duration::from_nanos(self.now), lane as u32, wanted) {
                Admission::Send(leave) => {
                    refused = 0;
                    self.sent(lane, leave);
                }
                Admission::Wait(until) => {
                    self.ask_at[lane] = until.as_nanos() as u64;
                    assert!(self.ask_at[lane] > self.now, "a time that has passed");
                    self.push(self.ask_at[lane], Event::Wake);
                }
            }
        }
    }

    fn sent(&mut self, lane: usize, leave: Leave) {
        self.report.early += u64::from(self.now < self.held_until[lane]);
        self.report.requests += 1;
        self.in_flight += 1;
        self.given[lane] += f64::from(leave.documents);
        let forth = self.half_a_round_trip();
        self.later(forth, Event::Arrive(lane, leave));
    }
}
