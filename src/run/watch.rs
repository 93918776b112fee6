//! What happens beside the pipeline while it runs: progress a few times a second, the tuner's judgement of a sample once a second, and
//! once a check interval a sample of that whole time for whoever reads along.

use crate::config::job::Job;
use crate::model::checkpoint::Counters;
use crate::model::decision::{Decision, Effect};
use crate::model::event::{Event, Progress};
use crate::model::knobs::{Bounds, Knobs};
use crate::model::meter::Meter;
use crate::model::performance::Performance;
use crate::model::sample::Sample;
use crate::model::scaling::Scaling;
use crate::model::workload::Yardstick;
use crate::observe::Observer;
use crate::observe::gpu::{Gpus, Places};
use crate::observe::host::Host;
use crate::run::standing::Standing;
use crate::tuner::{Guard, Tuner};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

/// Progress is told this often: quick enough to look alive, slow enough to cost nothing.
const PROGRESS: Duration = Duration::from_millis(200);

/// Progress events a window of the tuner; its window is one second.
const PROGRESS_PER_SAMPLE: u32 = 5;

/// Progress events over which speeds are averaged: three seconds.
const AVERAGED: usize = 15;

/// A run that is over before it is known whether there is a GPU waits so long to say so.
const GPUS_WAITED_FOR: Duration = Duration::from_millis(100);

/// Watches one run.
pub(super) struct Watch<C> {
    meter: Arc<Meter>,
    counters: C,
    knobs: watch::Sender<Knobs>,
    events: UnboundedSender<Event>,
    /// Measures the tuner's windows.
    observer: Observer,
    /// Measures what is reported.
    evaluation: Observer,
    gpus: Gpus,
    /// Progress events from one evaluation to the next.
    progress_per_evaluation: u32,
    tuner: Option<Guard<Decide>>,
    began: Instant,
    speed: Speed,
    performance: Performance,
    standing: Standing,
    /// What went wrong in the tuner last.
    warned: Option<String>,
    /// Bytes that the source holds, where it can tell.
    total_bytes: Option<u64>,
}

/// What is left when the run has ended.
pub(super) struct Watched {
    pub(super) knobs: Knobs,
    pub(super) performance: Performance,
    /// The knobs that the tuner came to and left alone, if there was time for that.
    pub(super) learned: Option<Knobs>,
}

impl<C: Fn() -> Counters> Watch<C> {
    pub(super) fn new(
        job: &Job,
        meter: Arc<Meter>,
        counters: C,
        knobs: watch::Sender<Knobs>,
        events: UnboundedSender<Event>,
        total_bytes: Option<u64>,
        decider: impl FnOnce(Scaling) -> Decide,
    ) -> Self {
        let host = Host::new();
        let bounds = useful(job.scaling.bounds, host.cores().ceil() as usize);
        let scaling = Scaling { bounds, ..job.scaling.clone() };
        let check_interval = scaling.check_interval;
        let tuner = job.auto_scaling.then(|| Guard::new(bounds, decider(scaling)));
        let gpus = Gpus::watch(Places::default());
        let observe = |host| {
            let sink = Arc::clone(&job.sink);
            let observer = Observer::new(Arc::clone(&meter), host).with_gpus(gpus.clone());
            observer.with_charges(move || sink.charges())
        };
        Self {
            observer: observe(host),
            evaluation: observe(Host::new()),
            gpus,
            progress_per_evaluation: ticks_of(check_interval),
            meter,
            counters,
            knobs,
            events,
            tuner,
            began: Instant::now(),
            speed: Speed::default(),
            performance: Performance::new(yardstick(job)),
            standing: Standing::new(check_interval),
            warned: None,
            total_bytes,
        }
    }

    /// Watches while `run` goes on.
    pub(super) async fn during<T>(mut self, run: impl Future<Output = T>) -> (T, Watched) {
        let mut run = std::pin::pin!(run);
        let mut ticks = tokio::time::interval(PROGRESS);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut number: u32 = 0;
        loop {
            tokio::select! {
                output = &mut run => {
                    self.gpus.wait(GPUS_WAITED_FOR);
                    self.progress();
                    let (knobs, learned) = (*self.knobs.borrow(), self.standing.learned());
                    // What has passed of the last window counts as well: of a short run it is all there is.
                    self.performance.add(&self.observer.close(&knobs), &knobs, &[]);
                    return (output, Watched { knobs, performance: self.performance, learned });
                }
                _ = ticks.tick() => {
                    self.progress();
                    number += 1;
                    if number.is_multiple_of(PROGRESS_PER_SAMPLE) {
                        self.sample();
                    }
                    if number.is_multiple_of(self.progress_per_evaluation) {
                        let knobs = *self.knobs.borrow();
                        let sample = self.evaluation.close(&knobs);
                        let workload = self.performance.yardstick.judge(&sample, &knobs);
                        self.send(Event::Sampled { sample: Box::new(sample), workload });
                    }
                }
            }
        }
    }

    fn progress(&mut self) {
        if let Some(gpus) = self.gpus.news() {
            self.send(Event::Gpus(gpus));
        }
        let counters = (self.counters)();
        let knobs = *self.knobs.borrow();
        let (read, bytes_read) = (self.meter.read.get(), self.meter.bytes_read.get());
        let documents_per_second = self.speed.after(Instant::now(), self.meter.settled.get());
        let share = |total: u64| (counters.bytes_read as f64 / total.max(1) as f64).min(1.0);
        self.send(Event::Progress(Progress {
            elapsed: self.began.elapsed(),
            read,
            bytes_read,
            counters,
            documents_per_second,
            bytes_per_second: documents_per_second * mean(bytes_read, read),
            share: self.total_bytes.map(share),
            credits_used: self.meter.credits.get(),
            knobs,
        }));
    }

    fn sample(&mut self) {
        let mut knobs = *self.knobs.borrow();
        let sample = self.observer.close(&knobs);
        let decisions = self.decide(&sample, &knobs);
        self.performance.add(&sample, &knobs, &decisions);
        if decisions.is_empty() {
            return;
        }
        for decision in decisions {
            if decision.effect == Effect::Turned {
                knobs.set(decision.knob, decision.to);
            }
            self.send(Event::Decided(decision));
        }
        self.knobs.send_replace(knobs);
    }

    /// What the tuner makes of a window; nothing where there is none, or where it fails.
    fn decide(&mut self, sample: &Sample, knobs: &Knobs) -> Vec<Decision> {
        let Some(tuner) = &mut self.tuner else { return Vec::new() };
        self.standing.look(self.began.elapsed(), knobs);
        match tuner.decide(sample, knobs) {
            Ok(decisions) => {
                self.standing.decided(&decisions);
                decisions
            }
            Err(message) => {
                self.warn_once(message);
                Vec::new()
            }
        }
    }

    /// A defect that shows in every window is told once.
    fn warn_once(&mut self, message: String) {
        if self.warned.as_ref() != Some(&message) {
            self.send(Event::Warning { message: message.clone() });
            self.warned = Some(message);
        }
    }

    fn send(&self, event: Event) {
        // Nobody listens any more: the run goes on all the same.
        let _ = self.events.send(event);
    }
}

/// Decides after each window what to turn: the tuner, or whoever is in its place.
pub type Decide = Box<dyn FnMut(&Sample, &Knobs) -> Vec<Decision> + Send>;

/// The tuner.
pub(super) fn tuner(scaling: Scaling) -> Decide {
    let mut tuner = Tuner::new(scaling);
    Box::new(move |sample, knobs| tuner.decide(sample, knobs))
}

/// What a job's windows are measured against.
pub(super) fn yardstick(job: &Job) -> Yardstick {
    Yardstick::new(job.scaling.ceilings, job.max_rate, job.auto_scaling)
}

/// How many documents met their end per second lately.
///
/// Each counts when it does, not with its batch: where a batch takes longer than the time that is averaged over, a run would seem to stand still, and
/// then to leap.
#[derive(Debug, Default)]
struct Speed(VecDeque<(Instant, u64)>);

impl Speed {
    /// The speed when `documents` have met their end by `now`.
    fn after(&mut self, now: Instant, documents: u64) -> f64 {
        self.0.push_back((now, documents));
        if self.0.len() > AVERAGED {
            self.0.pop_front();
        }
        match self.0.front() {
            Some((before, fewer)) if now > *before => {
                (documents - fewer) as f64 / (now - *before).as_secs_f64()
            }
            _ => 0.0,
        }
    }
}

/// Bytes of a document, as far as documents have been read. Which of those that were read ahead met their end meanwhile is known of whole batches only.
fn mean(bytes: u64, documents: u64) -> f64 {
    if documents == 0 { 0.0 } else { bytes as f64 / documents as f64 }
}

/// Progress events in so much time; at least one.
fn ticks_of(time: Duration) -> u32 {
    ((time.as_secs_f64() / PROGRESS.as_secs_f64()).round() as u32).max(1)
}

/// The bounds without values that change nothing: steps burn CPU, so more of them at once than cores only queue. Where as many workers as cores are
/// also the least, the pool is not fixed all the same: under a ceiling it may fall to one.
fn useful(mut bounds: Bounds, cores: usize) -> Bounds {
    let (least, most) = (&mut bounds.least.transformers, &mut bounds.most.transformers);
    if least != most {
        *most = (*most).min(cores).max(*least);
        *least = if least == most { 1 } else { *least };
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_that_of_the_last_seconds() {
        let (mut speed, began) = (Speed::default(), Instant::now());
        let mut after = |ticks: u32, documents| speed.after(began + PROGRESS * ticks, documents).round();
        assert_eq!(after(0, 1_000), 0.0, "of a moment nothing is said");
        assert_eq!(after(1, 1_100), 500.0);
        for tick in 2..100 {
            assert_eq!(after(tick, 1_000 + 100 * u64::from(tick)), 500.0);
        }
        for tick in 100..114 {
            assert!(after(tick, 10_900) < 500.0);
        }
        assert_eq!(after(114, 10_900), 0.0);
    }

    #[test]
    fn transformers_are_bounded_by_cores_and_not_fixed_by_them() {
        let knobs = |transformers| Knobs {
            readers: 1,
            transformers,
            requests_in_flight: 1,
            batch_documents: 1,
            request_documents: 1,
            credit_bytes: 1,
        };
        let of = |least, most, cores| {
            let Bounds { least, most } = useful(Bounds { least: knobs(least), most: knobs(most) }, cores);
            (least.transformers, most.transformers)
        };
        assert_eq!((of(2, 30, 8), of(2, 30, 2), of(4, 30, 2), of(3, 3, 2)), ((2, 8), (1, 2), (1, 4), (3, 3)));
    }

    #[test]
    fn bytes_go_by_documents() {
        assert_eq!((mean(0, 0), mean(1_000, 4)), (0.0, 250.0));
    }

    #[test]
    fn an_evaluation_comes_once_a_check_interval() {
        let of = |seconds: f64| ticks_of(Duration::from_secs_f64(seconds));
        assert_eq!((of(5.0), of(1.0), of(7.3), of(0.01)), (25, 5, 37, 1));
    }
}
