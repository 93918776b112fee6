//! The container's request-unit account, kept for the lanes: what they may spend, and when.
//!
//! The rules are the room [`pacing`]'s; here they meet a clock and the container. The budget of a physical partition is its share
//! of what the container's offer says. Where there is no offer to read (the throughput is the database's, the account is serverless, or the sign-in may not
//! see it) a lane begins without, and finds out.

use crate::connector::sink::Admission;
use crate::error::{Error, ErrorKind, Result};
use crate::model::meter::LaneCharge;
use crate::model::request::{LaneId, Leave, Outcome};
use crate::pacing::{self, Answer, Pacer};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The most request units per second that a run may spend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxRu {
    /// So many.
    Units(f64),
    /// So much of what the container has, between 0 and 1.
    Share(f64),
}

impl MaxRu {
    /// From `5000` or `80%`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| text.trim().parse().ok().filter(|number: &f64| number.is_finite());
        match text.strip_suffix('%') {
            Some(share) => {
                number(share).filter(|share| *share > 0.0 && *share <= 100.0).map(|s| Self::Share(s / 100.0))
            }
            None => number(text).filter(|units| *units >= 1.0).map(Self::Units),
        }
    }

    /// The cap in request units per second, for a container of `throughput`.
    pub(super) fn cap(self, throughput: Option<f64>) -> Result<f64> {
        match (self, throughput) {
            (MaxRu::Units(units), _) => Ok(units),
            (MaxRu::Share(share), Some(throughput)) if share * throughput < 1.0 => {
                // As it was given, without what multiplying has added.
                let (share, cap) = ((share * 1e8).round() / 1e6, share * throughput);
                let message = format!(
                    "{share}% of the container's {throughput} request units per second comes to {cap:.4}, and nothing is written with less than 1"
                );
                Err(Error::configuration("opening the container", message)
                    .advise("give a larger share as --max-ru, or request units per second"))
            }
            (MaxRu::Share(share), Some(throughput)) => Ok(share * throughput),
            (MaxRu::Share(_), None) => {
                let message = "a share of the throughput was asked for, and the container's is not known";
                Err(Error::configuration("opening the container", message)
                    .advise("give --max-ru in request units per second"))
            }
        }
    }
}

/// How long documents wait at most that were throttled though their window had something left: what they are told is when it ends, and as long as they wait
/// no checkpoint holds the documents that were read with them.
const STRAY_WAIT: Duration = Duration::from_millis(100);

/// The account of one container.
#[derive(Debug)]
pub(super) struct Pace {
    started: Instant,
    pacer: Mutex<Pacer>,
    /// Request units that answers have charged, by lane.
    charged: Mutex<Vec<f64>>,
}

impl Pace {
    /// No lanes yet.
    pub(super) fn new(cap: Option<f64>) -> Self {
        Self { started: Instant::now(), pacer: Mutex::new(Pacer::new(cap)), charged: Mutex::default() }
    }

    fn pacer(&self) -> MutexGuard<'_, Pacer> {
        self.pacer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Opens the next lane, for a partition of this budget.
    pub(super) fn open(&self, budget: Option<f64>) {
        self.pacer().open(self.now(), budget);
    }

    /// The next lanes are what `parent` was divided into.
    pub(super) fn split(&self, parent: LaneId, children: u32) {
        self.pacer().split(self.now(), parent, children);
    }

    /// What answers have charged a lane, and what it is believed to have.
    pub(super) fn charge(&self, lane: LaneId) -> LaneCharge {
        let request_units = self.charged().get(lane as usize).copied().unwrap_or_default();
        LaneCharge { request_units, budget: self.pacer().budget(lane) }
    }

    fn charged(&self) -> MutexGuard<'_, Vec<f64>> {
        self.charged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self, lane: LaneId, request_units: f64) {
        let mut charged = self.charged();
        let lanes = charged.len().max(lane as usize + 1);
        charged.resize(lanes, 0.0);
        if request_units.is_finite() {
            charged[lane as usize] += request_units.max(0.0);
        }
    }

    pub(super) fn admit(&self, lane: LaneId, documents: u32) -> Admission {
        match self.pacer().admit(self.now(), lane, documents) {
            pacing::Admission::Send(leave) => Admission::Send(leave),
            pacing::Admission::Wait(until) => Admission::Wait(self.started + until),
        }
    }

    pub(super) fn shorten(&self, leave: Leave, documents: u32) -> Option<Leave> {
        self.pacer().shorten(leave, documents)
    }

    /// Books what became of a request. The throttled ones need not be held up by anyone else: the lane says when they may go.
    pub(super) fn settle(&self, leave: Leave, outcome: &mut Result<Outcome>) {
        match outcome {
            Ok(outcome) => {
                self.book(leave.lane, outcome.request_units);
                let throttled = outcome.throttled.unwrap_or_default();
                let answer = Answer {
                    request_units: outcome.request_units,
                    charged: outcome.charged,
                    throttled: throttled.documents,
                    retry_after: outcome.throttled.map(|throttled| throttled.wait),
                    is_stray: throttled.is_stray,
                };
                let lane_waits = self.pacer().answered(self.now(), leave, answer);
                if let Some(throttled) = &mut outcome.throttled {
                    throttled.wait = match (lane_waits, throttled.is_stray) {
                        (true, _) => Duration::ZERO,
                        (false, true) => throttled.wait.min(STRAY_WAIT),
                        (false, false) => throttled.wait,
                    };
                    throttled.is_stray = !lane_waits;
                }
            }
            // The physical partition was divided: nothing was done, and whatever becomes of the documents has a leave of its own.
            Err(error) if error.kind() == ErrorKind::LaneClosed => {
                let _void = self.pacer().shorten(leave, 0);
            }
            // What it has cost, if anything, nobody knows.
            Err(_) => self.pacer().lost(self.now(), leave),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::Throttled;

    #[test]
    fn a_cap_is_written_as_a_number_or_as_a_share() {
        assert_eq!(MaxRu::parse("5000"), Some(MaxRu::Units(5000.0)));
        assert_eq!(MaxRu::parse("80%"), Some(MaxRu::Share(0.8)));
        for wrong in ["", "0", "-5", "0%", "101%", "many", "inf", "NaN%"] {
            assert_eq!(MaxRu::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_cap_is_a_number_or_a_share_of_what_is_known() {
        assert_eq!(MaxRu::Units(500.0).cap(None).unwrap(), 500.0);
        assert_eq!(MaxRu::Share(0.8).cap(Some(1000.0)).unwrap(), 800.0);
        assert_eq!(MaxRu::Share(0.8).cap(None).unwrap_err().kind(), ErrorKind::Configuration);
        assert_eq!(MaxRu::Share(0.0025).cap(Some(400.0)).unwrap(), 1.0);
        let too_little = MaxRu::parse("0.0001%").unwrap().cap(Some(16_000.0)).unwrap_err();
        assert_eq!(
            too_little.to_string(),
            "opening the container: 0.0001% of the container's 16000 request units per second comes to 0.0160, and nothing is written with less than 1"
        );
        assert_eq!(too_little.kind(), ErrorKind::Configuration);
    }

    #[tokio::test(start_paused = true)]
    async fn what_found_its_lane_closed_was_not_spent() {
        let pace = Pace::new(Some(100.0));
        pace.open(Some(1_000.0));
        tokio::time::advance(Duration::from_secs(1)).await;
        let Admission::Send(leave) = pace.admit(0, 1) else { panic!("it may send") };
        assert!(matches!(pace.admit(0, 1), Admission::Wait(_)), "the cap's bucket is empty");
        pace.settle(leave, &mut Err(Error::new(ErrorKind::LaneClosed, "writing", "divided")));
        assert!(matches!(pace.admit(0, 1), Admission::Send(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_is_charged_what_its_answers_say() {
        let pace = Pace::new(None);
        (0..3).for_each(|_| pace.open(Some(1_000.0)));
        for (lane, units) in [(2, 7.5), (0, 2.0), (2, 1.5), (0, f64::NAN)] {
            tokio::time::advance(Duration::from_secs(1)).await;
            let Admission::Send(leave) = pace.admit(lane, 1) else { panic!("it may send") };
            pace.settle(leave, &mut Ok(Outcome { request_units: units, charged: 1, ..Outcome::default() }));
        }
        let charges = [0, 1, 2].map(|lane| pace.charge(lane));
        assert_eq!(charges.map(|charge| charge.request_units), [2.0, 0.0, 9.0]);
        assert_eq!(charges[1].budget, Some(1_000.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_lane_waits_by_its_account_and_not_by_the_outcome() {
        let pace = Pace::new(None);
        pace.open(None);
        let Admission::Send(leave) = pace.admit(0, 10) else { panic!("it may send") };
        assert_eq!(leave.documents, 1, "one document tells what documents cost");
        let wait = Duration::from_millis(700);
        let mut outcome = Ok(Outcome {
            put_off: vec![0],
            throttled: Some(Throttled { documents: 1, wait, is_stray: false }),
            ..Outcome::default()
        });
        pace.settle(leave, &mut outcome);
        assert_eq!(
            outcome.unwrap().throttled,
            Some(Throttled { documents: 1, wait: Duration::ZERO, is_stray: false })
        );
        let Admission::Wait(at) = pace.admit(0, 10) else { panic!("it was throttled") };
        assert!(at >= Instant::now() + wait);
        tokio::time::advance(at - Instant::now()).await;
        assert!(matches!(pace.admit(0, 10), Admission::Send(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_thrown_back_by_chance_waits_alone_and_as_told() {
        let pace = Pace::new(None);
        pace.open(Some(10_000.0));
        let Admission::Send(leave) = pace.admit(0, 10) else { panic!("it may send") };
        let wait = Duration::from_millis(700);
        let mut outcome = Ok(Outcome {
            put_off: vec![0],
            throttled: Some(Throttled { documents: 1, wait, is_stray: false }),
            ..Outcome::default()
        });
        pace.settle(leave, &mut outcome);
        assert_eq!(outcome.unwrap().throttled, Some(Throttled { documents: 1, wait, is_stray: true }));
        assert!(matches!(pace.admit(0, 10), Admission::Send(_)));
    }
}
