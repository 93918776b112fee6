//! What the store does on a bad day, in paused time: no test here waits.

use super::{Effect, MemorySource, MemoryStore, Options, When};
use crate::connector::{Prepare, Sink, Source, Start};
use crate::error::{ErrorKind, Result};
use crate::model::batch::{BatchLimit, Next};
use crate::model::document::Documents;
use crate::model::partition::Stretch;
use crate::model::request::{Outcome, Request, Segment, Throttled};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const LIMIT: BatchLimit = BatchLimit { documents: 4, bytes: 1000, max_document: 1000 };

fn request(documents: &[String]) -> Request {
    let mut buffer = Documents::default();
    documents.iter().zip(0..).for_each(|(document, at)| buffer.push(document.as_bytes(), at, at as u32));
    let range = 0..documents.len() as u32;
    Request { segments: vec![Segment { documents: Arc::new(buffer), partition: 0, range }], leave: None }
}

fn numbered(ids: std::ops::Range<u32>) -> Request {
    request(&ids.map(|id| format!(r#"{{"id":"{id}","lane":0}}"#)).collect::<Vec<_>>())
}

async fn send(store: &Arc<MemoryStore>, lane: usize, request: Request) -> Result<Outcome> {
    store.sink().lanes()[lane].send(request).await
}

async fn prepare(store: &Arc<MemoryStore>) {
    let prepare = Prepare {
        job: "job",
        run: "run",
        partitions: &[],
        start: Start::Fresh,
        previous: None,
        overwrite: false,
    };
    store.sink().prepare(prepare).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lane_gives_its_budget_each_second_and_says_when_to_come_back() {
    let store = MemoryStore::new(Options {
        request_units_per_second: 25.0,
        request_units_per_document: 10.0,
        latency: Duration::from_millis(10),
        ..Options::default()
    });
    prepare(&store).await;
    let outcome = send(&store, 0, numbered(0..10)).await.unwrap();
    assert_eq!(outcome.put_off, (3..10).collect::<Vec<_>>(), "the third overshoots");
    let wait = Duration::from_millis(990);
    assert_eq!(outcome.throttled, Some(Throttled { documents: 7, wait, is_stray: false }));
    assert_eq!(outcome.request_units, 30.0);

    tokio::time::sleep(Duration::from_millis(990)).await;
    let outcome = send(&store, 0, numbered(3..10)).await.unwrap();
    assert_eq!((outcome.put_off.len(), store.documents().len()), (5, 5), "five units were owed");
    let ledger = &store.ledgers()[0];
    assert_eq!(ledger.request_units, [30.0, 20.0]);
    assert_eq!((ledger.requests, ledger.throttled, ledger.documents), (2, 2, 5));
}

#[tokio::test(start_paused = true)]
async fn faults_differ_in_what_they_leave_behind() {
    let store = MemoryStore::new(Options { record_order: true, ..Options::default() });
    store.script(Some(0), When::Request(0), Effect::FailBefore(ErrorKind::Unavailable));
    store.script(Some(0), When::Request(1), Effect::FailAfter(ErrorKind::Timeout));
    store.script(None, When::Request(2), Effect::Stall(Duration::from_secs(30)));
    store.script(None, When::Always, Effect::Reject("2".to_owned()));
    let fail = async || send(&store, 0, numbered(0..3)).await.unwrap_err().kind();
    assert_eq!((fail().await, store.documents().len()), (ErrorKind::Unavailable, 0));
    assert_eq!((fail().await, store.documents().len()), (ErrorKind::Timeout, 2));
    let before = Instant::now();
    let outcome = send(&store, 0, numbered(0..3)).await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_secs(30));
    assert_eq!(outcome.rejected, [(2, "refused by the script".to_owned())]);
    let writes: Vec<usize> = store.history().iter().map(|history| history.applied.len()).collect();
    assert_eq!(writes, [2, 2], "once lost, once answered");
}

#[tokio::test(start_paused = true)]
async fn a_split_lane_is_closed_and_its_keys_are_shared_by_two() {
    let store = MemoryStore::new(Options { lane_field: Some("lane".to_owned()), ..Options::default() });
    store.script(None, When::Request(1), Effect::Split);
    send(&store, 0, numbered(0..50)).await.unwrap();
    let closed = send(&store, 0, numbered(50..60)).await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::LaneClosed);
    assert_eq!(send(&store, 0, numbered(50..60)).await.unwrap_err().kind(), ErrorKind::LaneClosed);

    let (sink, mut sent) = (store.sink(), [0; 3]);
    assert_eq!(sink.lanes().len(), 3);
    for id in 0..50 {
        let one = numbered(id..id + 1);
        let lane = sink.route(&one.documents().next().unwrap()).unwrap().lane as usize;
        assert!(send(&store, lane, one).await.unwrap().put_off.is_empty());
        sent[lane] += 1;
    }
    assert!(sent[0] == 0 && sent[1] > 0 && sent[2] > 0, "{sent:?}");
    assert_eq!(store.documents().len(), 50, "the same documents in another lane");
}

#[tokio::test(start_paused = true)]
async fn a_broken_promise_of_the_engine_is_loud() {
    let store = MemoryStore::new(Options {
        lanes: 2,
        lane_field: Some("lane".to_owned()),
        request_documents: 3,
        ..Options::default()
    });
    // Two spellings of one id.
    let twice = request(&[r#"{"id":"a","lane":0}"#.to_owned(), r#"{"id":"\u0061","lane":0}"#.to_owned()]);
    for (lane, request) in [(0, numbered(0..4)), (1, numbered(0..1)), (0, twice)] {
        let error = send(&store, lane, request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    }
    assert!(store.documents().is_empty());
}

#[tokio::test]
async fn a_journal_outlives_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { journal: Some(folder.path().join("j.jsonl")), ..Options::default() };
    let store = MemoryStore::new(options.clone());
    prepare(&store).await;
    send(&store, 0, numbered(0..5)).await.unwrap();
    let again = request(&[r#"{"id":"3","lane":0,"v":2}"#.to_owned()]);
    send(&store, 0, again).await.unwrap();
    let expected = store.documents();
    drop(store);

    let store = MemoryStore::new(options);
    let lines = store.source().check().await.unwrap();
    assert!(lines[0].ends_with("5 documents, sequence 6"), "{lines:?}");
    assert_eq!(store.documents(), expected);
    let refused = Prepare {
        job: "job",
        run: "run",
        partitions: &[],
        start: Start::Fresh,
        previous: None,
        overwrite: false,
    };
    assert_eq!(store.sink().prepare(refused).await.unwrap_err().kind(), ErrorKind::Configuration);
}

#[tokio::test(start_paused = true)]
async fn a_reader_is_slow_stumbles_once_and_meets_damage_after_what_lies_before_it() {
    let documents: Vec<String> = (0..9).map(|id| format!(r#"{{"id":{id}}}"#)).collect();
    let source = MemorySource::given([documents])
        .slow("0", Duration::from_secs(2))
        .failing_once("0", 2, ErrorKind::Unavailable)
        .damaged("0", 7);
    let partition = source.partitions().await.unwrap().remove(0);
    let stretch = Stretch { from: partition.start.clone(), until: None };
    let mut reader = source.open(&partition, stretch).await.unwrap();
    let before = Instant::now();
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(match reader.next(LIMIT).await {
            Ok(Next::Batch(batch)) => Ok(batch.to.at),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.kind()),
        });
    }
    let damage = Err(ErrorKind::InvalidInput);
    assert_eq!(seen, [Ok(2), Err(ErrorKind::Unavailable), Ok(6), Ok(7), damage, damage]);
    assert_eq!(before.elapsed(), Duration::from_secs(12));
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_has_split_says_that_it_is_closed() {
    let store = MemoryStore::new(Options { lanes: 2, ..Options::default() });
    prepare(&store).await;
    store.split(1);
    let closed: Vec<bool> = store.sink().lanes().iter().map(|lane| lane.is_closed()).collect();
    assert_eq!(closed, [false, true, false, false]);
}
