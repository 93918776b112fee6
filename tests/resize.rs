//! Every pool is resized at random while documents move and the target has a bad day: none is lost, doubled or overtaken.
//!
//! The store notes each write of each document with its place in the source. For a (key, id) the places of one partition must
//! come in ascending order; the same place comes twice only where the first answer was lost.

use crate::support::{KNOBS, Trial, is_long};
use docferry::connector::memory::{Effect, MemorySource, MemoryStore, Options, When};
use docferry::error::ErrorKind;
use docferry::model::knobs::{Knob, Knobs};
use docferry::model::units::MIB;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const PARTITIONS: usize = 4;
const DOCUMENTS: usize = 600;

/// A run gives up when one request has failed eight times. Two faults, each at one request in thirty at the most, fail a fifteenth: eight in a row
/// are one in 2 500 million, so that never happens by chance.
const RARE: std::ops::Range<u64> = 30..60;

/// The ids of each partition's documents in order; ids are few, half of them belong to one partition only.
fn ids(random: &mut fastrand::Rng) -> Vec<Vec<String>> {
    let id = |partition: usize, random: &mut fastrand::Rng| match random.bool() {
        true => format!("own-{partition}-{}", random.u32(0..40)),
        false => format!("shared-{}", random.u32(0..40)),
    };
    (0..PARTITIONS).map(|partition| (0..DOCUMENTS).map(|_| id(partition, random)).collect()).collect()
}

fn source(ids: &[Vec<String>]) -> MemorySource {
    let document = |(at, id): (usize, &String)| {
        format!(r#"{{"id":"{id}","at":{at},"text":"{}"}}"#, "x".repeat(at % 300))
    };
    MemorySource::given(ids.iter().map(|ids| ids.iter().enumerate().map(document).collect()))
}

/// A value near the ends as often as between them.
fn knobs(random: &mut fastrand::Rng) -> Knobs {
    let mut pick = |least: usize, most: usize| match random.u8(0..4) {
        0 => least,
        1 => most,
        _ => random.usize(least..=most),
    };
    Knobs {
        readers: pick(1, 6),
        transformers: pick(1, 4),
        requests_in_flight: pick(1, 40),
        batch_documents: pick(1, 200),
        request_documents: pick(1, 100),
        credit_bytes: pick(4096, MIB as usize) as u64,
    }
}

/// Turns one knob or all of them every few milliseconds until nobody follows any more.
async fn turn_knobs(sender: watch::Sender<Knobs>, mut random: fastrand::Rng) {
    while !sender.is_closed() {
        tokio::time::sleep(Duration::from_micros(random.u64(200..4000))).await;
        let (wanted, one) = (knobs(&mut random), random.choice(Knob::ALL));
        sender.send_modify(|now| match one.filter(|_| random.bool()) {
            Some(knob) => now.set(knob, wanted.get(knob)),
            None => *now = wanted,
        });
    }
}

/// A bad day, different for each seed. True: some answers are lost.
fn script(store: &MemoryStore, random: &mut fastrand::Rng) -> bool {
    let loses = random.bool();
    if random.bool() {
        store.script(None, When::Every(random.u64(RARE)), Effect::FailBefore(ErrorKind::Unavailable));
    }
    if loses {
        store.script(None, When::Every(random.u64(RARE)), Effect::FailAfter(ErrorKind::Timeout));
    }
    if random.bool() {
        store.script(None, When::Every(random.u64(30..60)), Effect::FailBefore(ErrorKind::Throttled));
    }
    if random.bool() {
        store.script(
            None,
            When::Every(random.u64(20..40)),
            Effect::Stall(Duration::from_millis(random.u64(1..60))),
        );
    }
    for _ in 0..random.u8(0..4) {
        // A lane that does not exist yet may split too.
        store.script(Some(random.u32(0..12)), When::Request(random.u64(0..20)), Effect::Split);
    }
    loses
}

async fn run(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let store = MemoryStore::new(Options {
        lanes: random.u32(1..9),
        // Some are throttled a few times, most never.
        request_units_per_second: if random.u8(0..4) == 0 { 1000.0 } else { 0.0 },
        latency: Duration::from_micros(random.u64(0..3000)),
        jitter: Duration::from_millis(random.u64(0..5)),
        record_order: true,
        ..Options::default()
    });
    let loses = script(&store, &mut random);
    let ids = ids(&mut random);
    let trial = Trial { knobs: knobs(&mut random), ..Trial::new(source(&ids), Arc::new(store.sink())) };
    let mut running = trial.start().await;
    let (unused, _) = watch::channel(KNOBS);
    let knobs = std::mem::replace(&mut running.knobs, unused);
    let turning = tokio::spawn(turn_knobs(knobs, random));
    let done = running.end(Duration::from_secs(120)).await;
    turning.abort();
    let counters = done.ended.counters;
    assert_eq!(
        (counters.read, counters.written),
        ((PARTITIONS * DOCUMENTS) as u64, (PARTITIONS * DOCUMENTS) as u64),
        "seed {seed}"
    );
    judge(seed, &store, &ids, loses);
}

fn judge(seed: u64, store: &MemoryStore, ids: &[Vec<String>], loses: bool) {
    let mut expected: BTreeMap<(&str, u32), Vec<u64>> = BTreeMap::new();
    for (partition, ids) in ids.iter().enumerate() {
        for (at, id) in ids.iter().enumerate() {
            expected.entry((id, partition as u32)).or_default().push(at as u64);
        }
    }
    let mut found: BTreeMap<(&str, u32), Vec<u64>> = BTreeMap::new();
    let history = store.history();
    for document in &history {
        assert!(document.applied.is_sorted_by_key(|applied| applied.sequence));
        for applied in &document.applied {
            found.entry((&document.id, applied.partition)).or_default().push(applied.at);
        }
    }
    if loses {
        // A repeated request writes the same place again, before anything newer.
        found.values_mut().for_each(Vec::dedup);
    }
    for (key, places) in &expected {
        assert_eq!(found.get(key), Some(places), "seed {seed}: {key:?}");
    }
    assert_eq!(found.len(), expected.len(), "seed {seed}");
    let last = store.documents();
    for document in history.iter().filter(|document| document.id.starts_with("own-")) {
        let at = document.applied.last().unwrap().at;
        let start = format!(r#"{{"id":"{}","at":{at},"#, document.id);
        assert!(last.iter().any(|bytes| bytes.starts_with(start.as_bytes())), "seed {seed}: {start}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_are_resized_at_random_and_no_document_is_lost_doubled_or_overtaken() {
    let seeds = if is_long() { 300 } else { 30 };
    // Together, because most of a run is waiting.
    for first in (0..seeds).step_by(30) {
        let runs: Vec<_> = (first..first + 30).map(|seed| tokio::spawn(run(seed))).collect();
        for run in runs {
            run.await.unwrap();
        }
    }
}
