//! What the meters say of runs whose course is known: every document and piece is counted once, and who waits for what is told apart.

use crate::support::{Done, KNOBS, Trial, setting_fields};
use docferry::connector::memory::{Effect, MemorySource, MemoryStore, Options, When};
use docferry::error::ErrorKind;
use docferry::model::knobs::Knobs;
use docferry::model::meter::{Meter, PoolSpan};
use docferry::model::units::MIB;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const DOCUMENTS: usize = 4_000;

/// Four partitions with documents of about a kilobyte, and the bytes of all of them.
fn source() -> (MemorySource, u64) {
    let document = |id: usize| format!(r#"{{"id":"{id}","text":"{}"}}"#, "x".repeat(1_000));
    let partition = |of: usize| (0..DOCUMENTS / 4).map(|n| document(4 * n + of)).collect::<Vec<_>>();
    let partitions: Vec<_> = (0..4).map(partition).collect();
    let bytes = partitions.iter().flatten().map(|document| document.len() as u64).sum();
    (MemorySource::given(partitions), bytes)
}

async fn run(store: &Arc<MemoryStore>, knobs: Knobs) -> Done {
    let trial = Trial { knobs, ..Trial::new(source().0, Arc::new(store.sink())) };
    trial.start().await.end(PATIENCE).await
}

/// What the pools did in all: readers, transformers, requests.
fn pools(meter: &Meter) -> [PoolSpan; 3] {
    let (now, none) = (Instant::now(), Meter::default());
    let pools = [
        (&meter.readers, &none.readers),
        (&meter.transformers, &none.transformers),
        (&meter.requests, &none.requests),
    ];
    pools.map(|(pool, none)| pool.read(now).since(&none.read(now)))
}

fn short_of_credits(meter: &Meter) -> f64 {
    let (now, none) = (Instant::now(), Meter::default());
    meter.short_of_credits.read(now).since(&none.short_of_credits.read(now))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_document_and_piece_is_counted_once() {
    let latency = Duration::from_millis(5);
    let store = MemoryStore::new(Options { latency, ..Options::default() });
    let Done { meter, took, .. } = run(&store, KNOBS).await;
    let spans = pools(&meter);
    let (_, bytes) = source();
    for span in &spans {
        assert_eq!(
            (span.documents, span.bytes, span.work.documents),
            (DOCUMENTS as u64, bytes, DOCUMENTS as f64)
        );
        let PoolSpan { busy, work, .. } = span;
        assert!((busy - work.seconds).abs() < 1e-3 + 1e-5 * work.pieces, "{span:?}");
        assert!(work.documents_squared >= work.documents * work.documents / work.pieces, "{work:?}");
        assert!(work.seconds_squared * work.pieces >= 0.99 * work.seconds * work.seconds, "{work:?}");
    }
    let [_, _, requests] = spans;
    assert_eq!(requests.work.pieces as u64, meter.flights.get());
    assert!(requests.busy >= requests.work.pieces * latency.as_secs_f64(), "{requests:?}");
    assert!(requests.busy <= took.as_secs_f64() * KNOBS.requests_in_flight as f64);
    assert_eq!((meter.queued.get(), meter.transforming.get()), (0, 0));
    assert!(meter.most_transforming(&meter.watch()) > 0);
    assert_eq!(short_of_credits(&meter), 0.0, "all of it fits into the credits");
}

/// One batch that takes the steps a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transformer_tells_how_far_it_has_come() {
    let document = |id: usize| format!(r#"{{"id":"{id}","text":"{}"}}"#, "x".repeat(1_000));
    let source = MemorySource::given([(0..20_000).map(document).collect::<Vec<_>>()]);
    let store = MemoryStore::new(Options::default());
    let knobs =
        Knobs { readers: 1, transformers: 1, batch_documents: 20_000, credit_bytes: 256 * MIB, ..KNOBS };
    let chain = setting_fields(&[("also", "{id}-{id}")]);
    let running = Trial { knobs, chain, ..Trial::new(source, Arc::new(store.sink())) }.start().await;
    let (mut told, mut busy) = (0, 0.0);
    loop {
        let [_, transformers, _] = pools(&running.meter);
        if transformers.work.pieces > 0.0 {
            break;
        }
        // The last part of the batch is told at its end, just before the piece is.
        if transformers.documents < 19_900 {
            (told, busy) = (transformers.documents, transformers.busy);
        }
        tokio::task::yield_now().await;
    }
    assert!(told > 0 && told % 256 == 0 && busy > 0.0, "{told} documents, {busy} s");
    running.end(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_wait_for_credits_are_short_of_them() {
    let store = MemoryStore::new(Options { latency: Duration::from_millis(20), ..Options::default() });
    let knobs = Knobs { credit_bytes: MIB / 2, requests_in_flight: 1, ..KNOBS };
    let Done { meter, took, .. } = run(&store, knobs).await;
    let (short, [readers, ..]) = (short_of_credits(&meter), pools(&meter));
    assert!(short > 0.3 * took.as_secs_f64() && short <= took.as_secs_f64(), "{short} s of {took:?}");
    assert!(readers.blocked >= short, "{readers:?}");
    assert!(readers.blocked <= 4.0 * took.as_secs_f64(), "{readers:?} in {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_wait_for_the_targets_leave_block_requests_and_come_to_their_end() {
    let options = Options { request_units_per_second: 3_000.0, ..Options::default() };
    let Done { meter, took, .. } = run(&MemoryStore::new(options), KNOBS).await;
    let [readers, _, requests] = pools(&meter);
    assert!(meter.throttled.get() > 0);
    let (gated, waiting) = (meter.seen_gated.get(), meter.seen_waiting.get());
    assert!(gated > waiting / 2 && gated <= waiting, "{gated} of {waiting}");
    assert!(requests.blocked > 0.3 * took.as_secs_f64(), "{requests:?} in {took:?}");
    assert!(requests.blocked <= KNOBS.requests_in_flight as f64 * took.as_secs_f64());
    assert_eq!((requests.documents, readers.documents), (DOCUMENTS as u64, DOCUMENTS as u64), "each once");
    assert_eq!(meter.queued.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_failed_is_no_piece_of_work() {
    let store = MemoryStore::new(Options::default());
    store.script(None, When::Every(5), Effect::FailBefore(ErrorKind::Unavailable));
    let Done { meter, .. } = run(&store, KNOBS).await;
    let [_, _, requests] = pools(&meter);
    assert!(meter.retried.get() > 0);
    assert_eq!(requests.work.pieces as u64, meter.flights.get() - meter.retried.get());
    assert_eq!((requests.documents, meter.queued.get()), (DOCUMENTS as u64, 0));
}

/// What the lanes were charged is what all answers together were, and each has its share of the container's throughput.
#[cfg(feature = "cosmos")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lanes_of_a_container_tell_their_charge_and_their_budget() {
    use docferry::connector::Sink;
    use docferry::connector::cosmos::CosmosSink;

    let endpoint = crate::cosmos::endpoint().await;
    let sink = Arc::new(CosmosSink::new(crate::cosmos::options(&endpoint, &["/id"])));
    assert_eq!(sink.charges(), [], "it is not open yet");
    let shared = Arc::clone(&sink);
    let Done { meter, .. } = Trial::new(source().0, shared).start().await.end(PATIENCE).await;
    let charges = sink.charges();
    assert_eq!(charges.len(), sink.lanes().len());
    assert!(charges.len() > 1 && charges.iter().all(|charge| charge.request_units > 0.0), "{charges:?}");
    let charged: f64 = charges.iter().map(|charge| charge.request_units).sum();
    let metered = meter.milli_request_units.get() as f64 / 1e3;
    assert!((charged - metered).abs() < 1e-3 * meter.flights.get() as f64 + 1e-6, "{charged} {metered}");
    let share = sink.throughput().unwrap() / charges.len() as f64;
    for charge in charges {
        assert!(
            charge.budget.is_some_and(|budget| (budget / share - 1.0).abs() < 0.01),
            "{charge:?} {share}"
        );
    }
}
