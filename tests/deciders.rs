//! Whatever becomes of the tuner, a run goes on: defects are put in its place, and measurements that its sensors may give are put before it.
//!
//! Readers are what holds these runs up: a batch takes them [`BATCH_TAKES`], so that one lasts some four windows of a second, and a tuner that works has something
//! to turn in each.

use crate::place::Place;
use docferry::config::asked::{Asked, Given};
use docferry::config::environment::Environment;
use docferry::config::job::Job;
use docferry::config::resolve;
use docferry::connector::memory::{MemorySource, MemoryStore, Options};
use docferry::model::decision::{Decision, Effect, Reason};
use docferry::model::event::{Ending, Event, Summary};
use docferry::model::knobs::{Knob, Knobs};
use docferry::model::sample::{GpuUse, Sample};
use docferry::model::scaling::Scaling;
use docferry::run::{self, Decide};
use docferry::tuner::Tuner;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const PARTITIONS: usize = 16;
const BATCHES: usize = 9;
const BATCH: usize = 10;
const BATCH_TAKES: Duration = Duration::from_millis(120);

fn source() -> MemorySource {
    let document = |id: usize| format!(r#"{{"id":"{id}"}}"#);
    let each = BATCHES * BATCH;
    let partition = |of: usize| (of * each..(of + 1) * each).map(document).collect();
    let given = MemorySource::given((0..PARTITIONS).map(partition));
    (0..PARTITIONS).fold(given, |source, partition| source.slow(&partition.to_string(), BATCH_TAKES))
}

/// A run that is over, as a bystander saw it.
struct Seen {
    begun: Knobs,
    summary: Summary,
    warnings: Vec<String>,
    decisions: Vec<Decision>,
}

/// A whole run under `decider`: it must come to its end, with every document.
async fn run_under(decider: impl FnOnce(Scaling) -> Decide + Send) -> Seen {
    let place = Place::new();
    let asked = Asked {
        from: Some(Given::flag("--from", "null:")),
        to: Some(Given::flag("--to", "null:")),
        state: Some(Given::flag("--state", place.path("state").display().to_string())),
        ..Asked::default()
    };
    let store = MemoryStore::new(Options::default());
    let job = resolve(&asked, &Environment::of(&[], 4)).unwrap();
    let begun = Knobs { batch_documents: BATCH, ..job.knobs };
    let job = Job { source: Arc::new(source()), sink: Arc::new(store.sink()), knobs: begun, ..job };
    let (events, mut told) = tokio::sync::mpsc::unbounded_channel();
    let summary = Box::pin(run::migrate_under(job, events, decider)).await.unwrap();
    assert_eq!(summary.ending, Ending::Complete);
    assert_eq!(store.documents().len(), PARTITIONS * BATCHES * BATCH);
    let (mut warnings, mut decisions) = (Vec::new(), Vec::new());
    while let Ok(event) = told.try_recv() {
        match event {
            Event::Warning { message } => warnings.push(message),
            Event::Decided(decision) => decisions.push(decision),
            _ => {}
        }
    }
    Seen { begun, summary, warnings, decisions }
}

fn turn(knob: Knob, from: u64, to: u64) -> Decision {
    Decision {
        knob,
        from,
        to,
        effect: Effect::Turned,
        reason: Reason::Probe,
        because: "a test wants it".to_owned(),
        confidence: Some(0.9),
        evidence: None,
    }
}

/// Turns a knob in its second window, has its defect in the third, and in all after it if it is still asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tuner_that_panics_is_set_aside_and_told_of_once() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let seen = run_under(move |_| {
        Box::new(move |_, knobs| match count.fetch_add(1, Ordering::Relaxed) {
            0 => Vec::new(),
            1 => vec![turn(Knob::RequestsInFlight, knobs.requests_in_flight as u64, 11)],
            _ => panic!("a defect that a test put there"),
        })
    })
    .await;
    assert_eq!(seen.warnings, ["the tuner has failed; the run goes on with the knobs as they are"]);
    assert_eq!(asked.load(Ordering::Relaxed), 3, "a tuner that has failed is not asked again");
    assert_eq!(seen.decisions.len(), 1);
    assert_eq!(seen.summary.knobs, Knobs { requests_in_flight: 11, ..seen.begun });
}

/// A decision that is wrong, made of the knobs in force and the bounds, and what is said of it.
type Wrong = (fn(&Knobs, &Scaling) -> Decision, &'static str);

const WRONG: [Wrong; 5] = [
    (
        |knobs, _| turn(Knob::Readers, knobs.readers as u64 + 1, 2),
        "the tuner contradicts itself (readers is 4, not 5); the knobs stay as they are",
    ),
    (
        |knobs, scaling| turn(Knob::Readers, knobs.readers as u64, scaling.bounds.most.readers as u64 + 1),
        "the tuner contradicts itself (readers 4 -> 31, from 1 to 30 allowed); the knobs stay as they are",
    ),
    (
        |knobs, _| turn(Knob::RequestsInFlight, knobs.requests_in_flight as u64, 0),
        "the tuner contradicts itself (requests_in_flight 11 -> 0, from 1 to 512 allowed); the knobs stay as they are",
    ),
    (
        |knobs, _| Decision { confidence: Some(f64::NAN), ..turn(Knob::Readers, knobs.readers as u64, 5) },
        "the tuner contradicts itself (readers: a confidence of NaN); the knobs stay as they are",
    ),
    (
        |knobs, _| Decision {
            effect: Effect::Kept,
            confidence: Some(1.5),
            ..turn(Knob::Readers, 2, knobs.readers as u64)
        },
        "the tuner contradicts itself (readers: a confidence of 1.5); the knobs stay as they are",
    ),
];

/// All that was decided in such a window is dropped, also what was right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tuner_that_contradicts_itself_turns_nothing_and_is_told_of_once() {
    let mut runs = tokio::task::JoinSet::new();
    for (wrong, message) in WRONG {
        let decider = move |scaling: Scaling| -> Decide {
            Box::new(move |_, knobs| {
                let right = turn(Knob::RequestsInFlight, knobs.requests_in_flight as u64, 11);
                vec![right, wrong(&Knobs { requests_in_flight: 11, ..*knobs }, &scaling)]
            })
        };
        runs.spawn(async move { (run_under(decider).await, message) });
    }
    while let Some(ended) = runs.join_next().await {
        let (seen, message) = ended.unwrap();
        assert_eq!(seen.warnings, [message]);
        assert_eq!((seen.summary.knobs, seen.decisions.as_slice()), (seen.begun, [].as_slice()), "{message}");
    }
}

/// What a sensor that fails makes of a sample.
type Failing = fn(&mut Sample);

fn tuner_that_sees(failing: Failing) -> impl FnOnce(Scaling) -> Decide + Send {
    move |scaling| {
        let mut tuner = Tuner::new(scaling);
        Box::new(move |sample, knobs| {
            let mut sample = sample.clone();
            failing(&mut sample);
            tuner.decide(&sample, knobs)
        })
    }
}

/// Runs that are tuned by samples from which something is missing or wrong.
async fn runs_that_see<const N: usize>(failing: [(&'static str, Failing); N]) -> Vec<(&'static str, Seen)> {
    let mut runs = tokio::task::JoinSet::new();
    for (what, failing) in failing {
        runs.spawn(async move { (what, run_under(tuner_that_sees(failing)).await) });
    }
    runs.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tuner_without_sensors_of_the_machine_tunes_all_the_same() {
    let seen = runs_that_see([
        ("nothing but the pools", |sample| {
            *sample = Sample {
                memory: None,
                resident_bytes: 0,
                memory_limit: 0,
                cpu: 0.0,
                cpu_others: None,
                pressure: None,
                network: None,
                gpus: Vec::new(),
                ..sample.clone()
            };
        }),
        ("a GPU that tells nothing", |sample| sample.gpus = vec![GpuUse::default()]),
        ("a GPU without memory", |sample| {
            sample.gpus = vec![GpuUse { used: Some(1), total: Some(0), ..GpuUse::default() }];
        }),
    ])
    .await;
    for (what, seen) in seen {
        assert_eq!(seen.warnings, [""; 0], "{what}");
        let grown = seen.decisions.iter().any(|decision| decision.knob == Knob::Readers && decision.to > 4);
        assert!(grown, "{what}: {:?}", seen.decisions);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_from_a_sensor_turns_nothing() {
    let seen = runs_that_see([
        ("CPU", |sample| sample.cpu = f64::NAN),
        ("memory", |sample| sample.memory = Some(f64::INFINITY)),
        ("failures", |sample| sample.failed = -1.0),
        ("documents", |sample| sample.readers.documents_per_second = f64::NAN),
        ("a window of no time", |sample| sample.window = Duration::ZERO),
    ])
    .await;
    for (what, seen) in seen {
        assert_eq!(seen.warnings, [""; 0], "{what}");
        assert_eq!((seen.summary.knobs, seen.decisions.as_slice()), (seen.begun, [].as_slice()), "{what}");
    }
}
