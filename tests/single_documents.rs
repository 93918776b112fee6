//! What a lane says of single documents of a request decides how often they are sent again: those that failed by the rule of what befell them, those that
//! were put off as often as it takes.
//!
//! Time is virtual, so that delays cost nothing.

use crate::support::Trial;
use docferry::connector::memory::MemorySource;
use docferry::connector::{Lane, Order, Prepare, Sink, SinkCapabilities, Source};
use docferry::error::{Error, ErrorKind, Result};
use docferry::model::BoxFuture;
use docferry::model::checkpoint::Checkpoint;
use docferry::model::document::Document;
use docferry::model::request::{Failure, Outcome, Request, Route, Throttled};
use docferry::pipeline::StopReason;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_secs(600);

/// Longer than a write conflict may last, shorter than a target may be out of reach.
const OUTAGE: Duration = Duration::from_secs(6);

/// Says what becomes of the document of that number in a request that arrives so long after the first.
type Rule = fn(u64, Duration, &mut Outcome, u32);

struct Ruled {
    rule: Rule,
    began: Instant,
    /// Before this, whole requests fail.
    out_of_reach: Duration,
    sent: Arc<AtomicUsize>,
}

fn fail(outcome: &mut Outcome, index: u32, kind: ErrorKind) {
    outcome.retry.push(index);
    outcome.failure = Some(Failure { kind, message: "not now".to_owned() });
}

impl Ruled {
    fn by(rule: Rule) -> Self {
        Self { rule, began: Instant::now(), out_of_reach: Duration::ZERO, sent: Arc::default() }
    }

    fn trial(self) -> Trial {
        let documents = (0..300).map(|number| format!("{{\"id\":{number}}}")).collect();
        Trial::new(MemorySource::given([documents]), Arc::new(self))
    }
}

fn trial(rule: Rule) -> Trial {
    Ruled::by(rule).trial()
}

#[tokio::test(start_paused = true)]
async fn a_target_out_of_reach_is_asked_by_a_few_requests_and_not_by_all() {
    let ruled = Ruled { out_of_reach: OUTAGE, ..Ruled::by(|_, _, _, _| ()) };
    let sent = Arc::clone(&ruled.sent);
    let done = ruled.trial().start().await.end(LIMIT).await;
    assert_eq!(done.ended.counters.written, 300);
    let failed = sent.load(Relaxed) - 30;
    assert!(failed < 150, "{failed} requests in vain; each on its own would make more than 200");
    assert_eq!(done.meter.retried_documents.get(), failed as u64 * 10);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_single_documents_is_waited_for() {
    let trial = trial(|number, at, outcome, index| {
        if number % 3 == 0 && at < OUTAGE {
            fail(outcome, index, ErrorKind::Unavailable);
        }
    });
    let done = trial.start().await.end(LIMIT).await;
    assert_eq!(done.ended.counters.written, 300);
    assert!(done.meter.retried_documents.get() >= 500, "each several times");
}

#[tokio::test(start_paused = true)]
async fn what_is_put_off_is_sent_as_often_as_it_takes() {
    let done = trial(|number, at, outcome, index| {
        // Far more often than anything may fail, beside documents that do fail.
        if number % 3 == 0 && at < 20 * OUTAGE {
            let wait = Duration::from_millis(50);
            outcome.throttled = Some(Throttled { documents: 1, wait, is_stray: false });
            outcome.put_off.push(index);
        } else if number % 7 == 0 && at < Duration::from_millis(300) {
            fail(outcome, index, ErrorKind::Conflict);
        }
    });
    assert_eq!(done.start().await.end(LIMIT).await.ended.counters.written, 300);
}

#[tokio::test(start_paused = true)]
async fn a_paced_run_does_not_read_far_ahead_of_a_target_out_of_reach() {
    let ruled = Ruled { out_of_reach: OUTAGE, ..Ruled::by(|_, _, _, _| ()) };
    let run = Trial { max_rate: Some(40.0), ..ruled.trial() }.start().await;
    // Paused time leaps while batches are on the transform threads: after each step these are waited for, however busy the machine is.
    let step = Duration::from_millis(20);
    for _ in 0..(OUTAGE - Duration::from_secs(1)).as_millis() / step.as_millis() {
        tokio::time::sleep(step).await;
        tokio::task::spawn_blocking(|| rayon::broadcast(|_| ())).await.unwrap();
    }
    let read = run.meter.read.get();
    assert!((60..=70).contains(&read), "{read}: one and a half seconds, and not five");
    assert_eq!(run.end(LIMIT).await.ended.counters.written, 300);
}

/// What was taken behind it shows that the lane has something left.
#[tokio::test(start_paused = true)]
async fn a_document_that_is_throttled_among_others_waits_alone() {
    let trial = trial(|number, at, outcome, index| {
        // The first request says when the last may go; whoever waited for it would never get there.
        if number == 0 && at < OUTAGE {
            let wait = OUTAGE;
            outcome.throttled = Some(Throttled { documents: 1, wait, is_stray: true });
            outcome.put_off.push(index);
        } else if number > 0 && at >= OUTAGE {
            outcome.rejected.push((index, "waited with another".to_owned()));
        }
    });
    assert_eq!(trial.start().await.end(LIMIT).await.ended.counters.written, 300);
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_good_ends_the_run_though_others_are_throttled() {
    let trial = trial(|number, _, outcome, index| match number {
        7 => fail(outcome, index, ErrorKind::Conflict),
        _ => {
            let wait = Duration::from_millis(50);
            outcome.throttled = Some(Throttled { documents: 1, wait, is_stray: false });
            outcome.put_off.push(index);
        }
    });
    let ended = trial.start().await.ended(LIMIT).await;
    let Some(StopReason::Failure(error)) = ended.stopped else { panic!("{:?}", ended.stopped) };
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.to_string(), "sending single documents again: not now (attempts: 10)");
}

impl Sink for Ruled {
    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities {
            order: Order::None,
            serial: false,
            keyed: false,
            transactional: false,
            marked: false,
            resumable: true,
            request_documents: 10,
            request_bytes: usize::MAX,
        }
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn identity(&self) -> BoxFuture<'_, Result<Option<String>>> {
        Box::pin(async { Ok(None) })
    }

    fn prepare<'a>(&'a self, _: Prepare<'a>) -> BoxFuture<'a, Result<String>> {
        Box::pin(async { Ok(String::new()) })
    }

    fn route(&self, _: &Document<'_>) -> Result<Route, String> {
        Ok(Route::default())
    }

    fn lanes(&self) -> Vec<Arc<dyn Lane>> {
        let (rule, began, out_of_reach) = (self.rule, self.began, self.out_of_reach);
        vec![Arc::new(RuledLane { rule, began, out_of_reach, sent: Arc::clone(&self.sent) })]
    }

    fn flush<'a>(&'a self, _: &'a Checkpoint) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn finish(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn read_back(&self) -> Option<Box<dyn Source>> {
        None
    }
}

struct RuledLane {
    rule: Rule,
    began: Instant,
    out_of_reach: Duration,
    sent: Arc<AtomicUsize>,
}

impl Lane for RuledLane {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(async move {
            self.sent.fetch_add(1, Relaxed);
            if self.began.elapsed() < self.out_of_reach {
                return Err(Error::new(ErrorKind::Unavailable, "sending", "nobody answers"));
            }
            let mut outcome = Outcome::default();
            for (index, document) in (0..).zip(request.documents()) {
                let id = document.id("id").unwrap();
                let number = id.characters.parse().unwrap();
                (self.rule)(number, self.began.elapsed(), &mut outcome, index);
            }
            Ok(outcome)
        })
    }
}
