//! The Cosmos connector against the local endpoint, which is started in this process.
//!
//! The endpoint is the judge: its ledger says what each physical partition holds, and what it holds is read back by the connector's own source.

use crate::emulator::client::Client;
use crate::support::{Done, Trial};
use bytes::Bytes;
use docferry::connector::cosmos::{
    Account, CosmosSink, CosmosSource, Encoder, Mode, OnLossyNumber, Place, Secret, Shape, TargetOptions,
};
use docferry::connector::memory::MemorySource;
use docferry::connector::{Lane, Prepare, Sink, Source, Start};
use docferry::emulator::{Emulator, Faults, Options, Running, WELL_KNOWN_KEY};
use docferry::model::batch::{BatchLimit, Next};
use docferry::model::document::Documents;
use docferry::model::partition::Stretch;
use docferry::model::request::{Request, Segment};
use docferry::model::units::MIB;
use docferry::pipeline::StopReason;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// More than any test here spends.
pub(crate) const UNLIMITED: u64 = 1_000_000_000;

pub(crate) const LIMIT: Duration = Duration::from_secs(120);

pub(crate) async fn endpoint() -> Running {
    Emulator::start(Options { throughput: UNLIMITED, ..Options::default() }).await.unwrap()
}

pub(crate) fn place(running: &Running) -> Place {
    let account = Account::Remote { endpoint: running.endpoint(), key: Some(Secret::new(WELL_KNOWN_KEY)) };
    Place { account, database: "shop".to_owned(), container: "orders".to_owned() }
}

pub(crate) fn options(running: &Running, paths: &[&str]) -> TargetOptions {
    let partition_key = paths.iter().map(|path| (*path).to_owned()).collect();
    let shape = Shape { partition_key, ..Shape::default() };
    TargetOptions { create: true, shape, ..TargetOptions::new(place(running)) }
}

pub(crate) async fn migrate(documents: &[String], options: TargetOptions) -> Done {
    let half = documents.len() / 2;
    let source = MemorySource::given([documents[..half].to_vec(), documents[half..].to_vec()]);
    Trial::new(source, Arc::new(CosmosSink::new(options))).start().await.end(LIMIT).await
}

/// What the container holds, sorted.
pub(crate) async fn held(running: &Running) -> Vec<String> {
    let source = CosmosSource::new(place(running));
    let mut documents = Vec::new();
    for partition in source.partitions().await.unwrap() {
        let stretch = Stretch { from: partition.start.clone(), until: None };
        let mut reader = source.open(&partition, stretch).await.unwrap();
        let limit = BatchLimit { documents: 1000, bytes: 4 * MIB as usize, max_document: 4 * MIB as usize };
        while let Next::Batch(batch) = reader.next(limit).await.unwrap() {
            let text = |index| String::from_utf8(batch.documents.bytes(index).to_vec()).unwrap();
            documents.extend((0..batch.documents.len()).map(text));
        }
    }
    documents.sort();
    documents
}

pub(crate) fn sorted(documents: &[String]) -> Vec<String> {
    let mut documents = documents.to_vec();
    documents.sort();
    documents
}

/// Documents in the form in which Cosmos gives them back.
fn mixed(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| {
            format!(
                r#"{{"id":"o-{number}","customer":"c{}","total":{},"lines":[[1],[]]}}"#,
                number % 997,
                number % 7
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_of_one_physical_partition_go_in_one_request() {
    let running = endpoint().await;
    let documents = mixed(10_000);
    let (behind, seen) = before(&running, |_, _| None).await;
    let done = migrate(&documents, through(behind, options(&running, &["/customer"]))).await;
    assert_eq!(done.ended.counters.written, 10_000);
    // A lane begins with a document that tells what documents cost, and what is left over may be one.
    assert!(seen.bulk.load(Relaxed) >= 100 && seen.points.load(Relaxed) < 50, "{seen:?}");
    // A hundred documents a request, and what is left over in each of four partitions when a batch ends.
    assert!(done.meter.answered.get() < 300, "{} requests", done.meter.answered.get());
    let ledger = running.ledger().containers.remove(0);
    // Before anything is read, which costs units too.
    let admitted = ledger.request_units();
    assert_eq!(held(&running).await, sorted(&documents));
    let charged = done.meter.milli_request_units.get() as f64 / 1000.0;
    // A look into each partition, whether it is empty, is no write.
    assert!((0.0..20.0).contains(&(admitted - charged)), "{charged} units, the endpoint counts {admitted}");
    assert_eq!(ledger.partitions.len(), 4);
    assert!(ledger.partitions.iter().all(|partition| partition.documents > 1_000), "{ledger:?}");
    assert_eq!(
        ledger.partitions.iter().map(|partition| partition.operations).sum::<u64>(),
        10_004,
        "each once, and a look into each partition"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_physical_partition_is_divided_while_it_is_written() {
    let running = endpoint().await;
    running.set_faults(Faults { latency_ms: 20.0, ..Faults::default() });
    let documents = mixed(20_000);
    let source = MemorySource::given([documents.clone()]);
    let sink = Arc::new(CosmosSink::new(options(&running, &["/customer"])));
    let trial = Trial::new(source, Arc::clone(&sink) as Arc<dyn Sink>).start().await;
    until(|| trial.meter.answered.get() >= 20).await;
    let children = running.split("shop/orders", "0").unwrap();
    until(|| trial.meter.answered.get() >= 60).await;
    running.split("shop/orders", &children[1]).unwrap();
    let done = trial.end(LIMIT).await;
    assert_eq!(done.ended.counters.written, 20_000);
    // Four, of which one was divided, and one of its children.
    let closed: Vec<bool> = sink.lanes().iter().map(|lane| lane.is_closed()).collect();
    assert_eq!(closed, [true, false, false, false, false, true, false, false]);
    running.set_faults(Faults::default());
    assert_eq!(held(&running).await, sorted(&documents));
    let ledger = running.ledger().containers.remove(0);
    let written_to = |id: &String| {
        ledger.partitions.iter().any(|partition| partition.id == *id && partition.operations > 0)
    };
    assert!(children.iter().any(written_to), "{ledger:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_changed_by_faults() {
    let cases = [
        Faults { throttle_operation: 0.02, ..Faults::default() },
        Faults { throttle: 0.05, ..Faults::default() },
        Faults { body_limit: 6_000, ..Faults::default() },
        Faults {
            timeout_after_commit: 0.02,
            drop_after_commit: 0.02,
            drop_before_commit: 0.02,
            ..Faults::default()
        },
        Faults { retry_with: 0.02, internal: 0.02, unavailable: 0.02, ..Faults::default() },
        Faults {
            throttle_operation: 0.01,
            throttle: 0.02,
            body_limit: 6_000,
            timeout_after_commit: 0.01,
            unavailable: 0.01,
            ..Faults::default()
        },
    ];
    for faults in cases {
        let running = endpoint().await;
        running.set_faults(faults.clone());
        let documents = mixed(3_000);
        let done = migrate(&documents, options(&running, &["/customer"])).await;
        assert_eq!((done.ended.counters.written, done.ended.counters.rejected), (3_000, 0), "{faults:?}");
        running.set_faults(Faults::default());
        assert_eq!(held(&running).await, sorted(&documents), "{faults:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_encoder_leaves_the_same() {
    // Each document has a key of its own, so there is nothing to make batches of.
    for (encoder, bulk, points) in
        [(Encoder::Bulk, 5..50, 0..50), (Encoder::Batch, 0..1, 500..501), (Encoder::Point, 0..1, 500..501)]
    {
        let running = endpoint().await;
        let documents = mixed(500);
        let (behind, seen) = before(&running, |_, _| None).await;
        let options = TargetOptions { encoder, ..through(behind, options(&running, &["/customer"])) };
        let done = migrate(&documents, options).await;
        assert_eq!(done.ended.counters.written, 500, "{encoder:?}");
        let sent = seen.bulk.load(Relaxed) + seen.points.load(Relaxed);
        assert_eq!(done.meter.answered.get(), sent as u64, "{encoder:?}: what the summary tells");
        assert!(bulk.contains(&seen.bulk.load(Relaxed)), "{encoder:?}: {seen:?}");
        assert!(points.contains(&seen.points.load(Relaxed)), "{encoder:?}: {seen:?}");
        assert_eq!(held(&running).await, sorted(&documents), "{encoder:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_one_key_go_all_or_none_and_a_bad_one_spoils_no_other() {
    let running = endpoint().await;
    let one_key = |id: usize, text: &str| format!(r#"{{"id":"{id}","k":"one","v":"{text}"}}"#);
    let documents: Vec<String> = (0..100).map(|id| one_key(id, "first")).collect();
    migrate(&documents, options(&running, &["/k"])).await;

    // Every third is there with another content, the others are there as they are sent.
    let again: Vec<String> =
        (0..100).map(|id| one_key(id, if id % 3 == 0 { "second" } else { "first" })).collect();
    let mut inserting = TargetOptions { mode: Mode::Insert, ..options(&running, &["/k"]) };
    inserting.create = false;
    let done = overwriting(&again, inserting).await;
    assert_eq!((done.ended.counters.written, done.ended.counters.rejected), (66, 34));
    assert_eq!(held(&running).await, sorted(&documents));
}

/// Waits for what a run brings about.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("the run ended before");
}

/// As [`migrate`], into a container that holds documents.
pub(crate) async fn overwriting(documents: &[String], options: TargetOptions) -> Done {
    let sink = Arc::new(CosmosSink::new(options));
    let source = MemorySource::given([documents.to_vec()]);
    Trial { overwrite: true, ..Trial::new(source, sink) }.start().await.end(LIMIT).await
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_needs_a_document_and_deleting_does_not() {
    let running = endpoint().await;
    let version = |ids: std::ops::Range<usize>, version: usize| {
        ids.map(|id| format!(r#"{{"id":"{id}","v":{version}}}"#)).collect::<Vec<_>>()
    };
    migrate(&version(0..50, 1), options(&running, &["/id"])).await;
    let replacing = TargetOptions { mode: Mode::Replace, ..options(&running, &["/id"]) };
    let done = overwriting(&version(40..60, 2), replacing).await;
    assert_eq!((done.ended.counters.written, done.ended.counters.rejected), (10, 10));
    let expected = [version(0..40, 1), version(40..50, 2)].concat();
    assert_eq!(held(&running).await, sorted(&expected));

    let deleting = TargetOptions { mode: Mode::Delete, ..options(&running, &["/id"]) };
    let done = overwriting(&version(30..70, 3), deleting).await;
    assert_eq!((done.ended.counters.written, done.ended.counters.rejected), (40, 0));
    let deleting = TargetOptions { mode: Mode::Delete, ..options(&running, &["/id"]) };
    assert!(CosmosSink::new(deleting).read_back().is_none(), "nothing is left to be verified");
    assert_eq!(held(&running).await, sorted(&version(0..30, 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_nesting_arrive_unchanged() {
    let running = endpoint().await;
    let documents = [
        r#"{"id":"a","Id":"A","ID":7,"$type":"Order","_custom":{"_ts":1},"matrix":[[1,[2,[]]],[{}]]}"#,
        r#"{"id":"b","z":1,"a":2,"text":"line\nbreak \"quoted\" é 😀","empty":{},"nothing":null,"yes":true}"#,
        r#"{"id":"c","n":[0.1,-1.5,1e-7,9007199254740991,123456789012345]}"#,
        r#"{"id":"d","date":"2024-01-01T00:00:00.000Z","_id":"mongo"}"#,
    ]
    .map(str::to_owned);
    let done = migrate(&documents, options(&running, &["/id"])).await;
    assert_eq!(done.ended.counters.written, 4);
    assert_eq!(held(&running).await, sorted(&documents));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cosmos_never_takes_is_rejected_by_name_and_harms_no_other() {
    let running = endpoint().await;
    let sized = |id: &str, bytes: usize| format!(r#"{{"id":"{id}","p":"{}"}}"#, "x".repeat(bytes));
    let mut documents = mixed(300);
    documents.extend([
        sized("one", 1_000_000),
        sized("nearly", 2 * MIB as usize - 30),
        sized("two", 2 * MIB as usize),
    ]);
    documents.extend(
        [r#"{"id":"a/b"}"#, r#"{"id":5}"#, r#"{"no":1}"#, r#"{"id":"n","v":9007199254740993}"#]
            .map(str::to_owned),
    );
    let done = migrate(&documents, options(&running, &["/id"])).await;
    assert_eq!((done.ended.counters.written, done.ended.counters.rejected), (302, 5));
    let ledger = running.ledger().containers.remove(0);
    let operations: u64 = ledger.partitions.iter().map(|partition| partition.operations).sum();
    assert_eq!(operations, 306, "a look into each partition, and nothing of what is refused here");
    assert_eq!(held(&running).await, sorted(&documents[..302]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lossy_number_is_kept_or_becomes_a_string_if_that_is_asked_for() {
    let document = r#"{"id":"a","v":[9007199254740993,1.10]}"#.to_owned();
    let expected = [
        (OnLossyNumber::Keep, r#"{"id":"a","v":[9007199254740992,1.1]}"#),
        (OnLossyNumber::String, r#"{"id":"a","v":["9007199254740993",1.1]}"#),
    ];
    for (on_lossy_number, expected) in expected {
        let running = endpoint().await;
        let options = TargetOptions { on_lossy_number, ..options(&running, &["/id"]) };
        let sink = CosmosSink::new(options.clone());
        migrate(std::slice::from_ref(&document), options).await;
        let found = held(&running).await;
        assert_eq!(found, [expected]);
        let comparable = |document: &str| {
            let mut out = Vec::new();
            assert!(sink.as_held(document.as_bytes(), &mut out));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(comparable(&document), comparable(&found[0]), "verify compares them as equal");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_without_bulk_gets_each_document_on_its_own() {
    for encoder in [Encoder::Auto, Encoder::Bulk] {
        let running = endpoint().await;
        let (behind, seen) = before(&running, knows_no_bulk).await;
        let options = TargetOptions {
            encoder,
            request_documents: 10,
            ..through(behind, options(&running, &["/customer"]))
        };
        let sink = Arc::new(CosmosSink::new(options));
        let documents = mixed(500);
        let trial = Trial::new(MemorySource::given([documents.clone()]), Arc::clone(&sink) as Arc<dyn Sink>);
        let done = trial.start().await.end(LIMIT).await;
        assert_eq!((done.ended.counters.written, done.ended.counters.rejected), (500, 0));
        // So many requests are under way at most when the first answer comes, of fifty in all.
        let tried = seen.bulk.load(Relaxed);
        assert!((1..=16).contains(&tried), "{encoder:?}: {tried} were tried");
        assert_eq!(held(&running).await, sorted(&documents));
        assert_eq!(sink.notice(), None, "the pipeline has asked for it and said it");
    }
}

/// The first lane of a target.
async fn lane(options: TargetOptions) -> Arc<dyn Lane> {
    let sink = CosmosSink::new(options);
    let prepare = Prepare {
        job: "job",
        run: "run",
        partitions: &[],
        start: Start::Fresh,
        previous: None,
        overwrite: false,
    };
    sink.prepare(prepare).await.unwrap();
    sink.lanes().remove(0)
}

/// A hundred documents.
fn request() -> Request {
    let mut documents = Documents::default();
    mixed(100).iter().for_each(|document| documents.push(document.as_bytes(), 0, 0));
    let segment = Segment { documents: Arc::new(documents), partition: 0, range: 0..100 };
    Request { segments: vec![segment], leave: None }
}

/// Nothing is sent a second time without leave, and what is sent again all the same is paid for.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_sent_once_and_what_it_costs_is_booked() {
    let running = Emulator::start(Options { throughput: UNLIMITED, partitions: 1, ..Options::default() })
        .await
        .unwrap();
    let (behind, seen) = before(&running, |_, _| None).await;
    let lane = lane(through(behind, options(&running, &["/customer"]))).await;
    let first = lane.send(request()).await.unwrap();
    assert_eq!((seen.bulk.load(Relaxed), first.charged), (1, 100));
    let faults = [
        Faults { unavailable: 1.0, ..Faults::default() },
        Faults { internal: 1.0, ..Faults::default() },
        Faults { timeout_after_commit: 1.0, ..Faults::default() },
    ];
    for (sent, faults) in (2..).zip(faults) {
        running.set_faults(faults.clone());
        assert!(lane.send(request()).await.is_err(), "{faults:?}");
        assert_eq!(seen.bulk.load(Relaxed), sent, "{faults:?}");
    }
    running.set_faults(Faults::default());
    let once = lane.send(request()).await.unwrap();
    seen.conflicts.store(2, Relaxed);
    let thrice = lane.send(request()).await.unwrap();
    assert_eq!(seen.bulk.load(Relaxed), 8, "the driver sends again what conflicts");
    let more = thrice.request_units - once.request_units;
    assert!((more - 2.0 * CONFLICT).abs() < 0.01, "{more} units more");
    assert_eq!((once.charged, thrice.charged), (100, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_on_their_own_are_not_sent_into_a_throttle() {
    let running = Emulator::start(Options { throughput: UNLIMITED, partitions: 1, ..Options::default() })
        .await
        .unwrap();
    let lane = lane(TargetOptions { encoder: Encoder::Point, ..options(&running, &["/customer"]) }).await;
    running.set_faults(Faults { throttle: 1.0, ..Faults::default() });
    let outcome = lane.send(request()).await.unwrap();
    assert_eq!((outcome.put_off.len(), outcome.retry.len(), outcome.charged), (100, 0, 0));
    let thrown_back = outcome.throttled.unwrap().documents;
    assert!((1..=16).contains(&thrown_back), "no more than were under way at once: {thrown_back}");

    running.set_faults(Faults::default());
    let outcome = lane.send(request()).await.unwrap();
    assert!(outcome.put_off.is_empty() && outcome.retry.is_empty());
    assert_eq!((outcome.charged, outcome.throttled), (100, None));
}

/// What goes by an address before the endpoint.
#[derive(Debug, Default)]
struct Seen {
    bulk: AtomicUsize,
    points: AtomicUsize,
    /// So many bulk requests are not passed on, but answered with 449.
    conflicts: AtomicUsize,
}

/// What a request costs that is answered so.
const CONFLICT: f64 = 2.5;

fn through(behind: SocketAddr, mut options: TargetOptions) -> TargetOptions {
    options.place.account =
        Account::Remote { endpoint: format!("http://{behind}/"), key: Some(Secret::new(WELL_KNOWN_KEY)) };
    options
}

/// What an endpoint that stands before another one answers by itself.
type Rule = fn(&http::request::Parts, &[u8]) -> Option<(u16, &'static str)>;

/// To bulk requests, as one who has never heard of them.
fn knows_no_bulk(request: &http::request::Parts, _: &[u8]) -> Option<(u16, &'static str)> {
    is(request, "x-ms-cosmos-batch-atomic", "false").then_some((200, "{}"))
}

/// To new documents with a value that must be unique and is not.
fn finds_a_value_taken(request: &http::request::Parts, body: &[u8]) -> Option<(u16, &'static str)> {
    let is_new = request.method == "POST" && body.windows(7).any(|text| text == b"twofold");
    is_new.then_some((409, r#"{"code":"Conflict","message":"Unique index constraint violation."}"#))
}

/// An endpoint before another one.
async fn before(running: &Running, rule: Rule) -> (SocketAddr, Arc<Seen>) {
    let behind = running.address();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap();
    let seen = Arc::new(Seen::default());
    let counted = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let counted = Arc::clone(&counted);
            let service = hyper::service::service_fn(move |request: http::Request<_>| {
                pass_on(request, behind, own, rule, Arc::clone(&counted))
            });
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                // A client that goes away is no failure of the test.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (own, seen)
}

fn conflict() -> http::Response<Full<Bytes>> {
    let response = http::Response::builder().status(449).header("x-ms-request-charge", CONFLICT.to_string());
    response.body(Full::default()).unwrap()
}

fn is(request: &http::request::Parts, name: &str, value: &str) -> bool {
    request.headers.get(name).is_some_and(|found| found.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
}

async fn pass_on(
    request: http::Request<hyper::body::Incoming>,
    behind: SocketAddr,
    own: SocketAddr,
    rule: Rule,
    counted: Arc<Seen>,
) -> Result<http::Response<Full<Bytes>>, hyper::Error> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let is_bulk = is(&head, "x-ms-cosmos-batch-atomic", "false");
    counted.bulk.fetch_add(usize::from(is_bulk), Relaxed);
    let is_point = is(&head, "x-ms-documentdb-is-upsert", "true");
    counted.points.fetch_add(usize::from(is_point && !is_bulk), Relaxed);
    let take = |left: usize| left.checked_sub(1);
    if is_bulk && counted.conflicts.fetch_update(Relaxed, Relaxed, take).is_ok() {
        return Ok(conflict());
    }
    if let Some((status, text)) = rule(&head, &body) {
        let mut response = http::Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        return Ok(response);
    }
    // Whatever the client speaks, here it is HTTP/1.1.
    head.version = http::Version::HTTP_11;
    head.uri = head.uri.path_and_query().unwrap().as_str().parse().unwrap();
    head.headers.insert("host", behind.to_string().parse().unwrap());
    let request = http::Request::from_parts(head, Full::new(body));
    let stream = tokio::net::TcpStream::connect(behind).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = String::from_utf8(body.collect().await?.to_bytes().to_vec()).unwrap();
    // The account names its own address, and clients go there.
    let body = body.replace(&behind.to_string(), &own.to_string());
    let mut response = http::Response::new(Full::new(Bytes::from(body)));
    (*response.status_mut(), *response.headers_mut()) = (head.status, head.headers);
    response.headers_mut().remove("content-length");
    Ok(response)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_that_is_refused_though_its_place_is_free_is_a_dead_letter() {
    let running = endpoint().await;
    let (address, _) = before(&running, finds_a_value_taken).await;
    let mut documents = mixed(40);
    migrate(&documents[..20], options(&running, &["/customer"])).await;
    documents.push(r#"{"id":"other","customer":"c","value":"twofold"}"#.to_owned());
    let inserting = TargetOptions {
        mode: Mode::Insert,
        encoder: Encoder::Point,
        create: false,
        ..options(&running, &["/customer"])
    };
    let done = overwriting(&documents, through(address, inserting)).await;
    assert_eq!((done.ended.counters.written, done.ended.counters.rejected), (40, 1));
    assert_eq!(held(&running).await, sorted(&documents[..40]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_used_and_kept() {
    // Four partitions share 4 000 units a second; what is sent costs about 6 times 3 000.
    let running = Emulator::start(Options { throughput: 4_000, ..Options::default() }).await.unwrap();
    let documents = mixed(3_000);
    let done = migrate(&documents, options(&running, &["/customer"])).await;
    assert_eq!((done.ended.counters.written, done.ended.counters.rejected), (3_000, 0));
    let ledger = running.ledger().containers.remove(0);
    assert!(ledger.throttled() < 450, "{} operations of 3 000 were thrown back", ledger.throttled());
    for partition in &ledger.partitions {
        // In the first two there is the look into the partition and the beginning; the last is as full as it happens to be.
        let [_, _, between @ .., last] = &partition.windows[..] else { panic!("{partition:?}") };
        let used: f64 = between.iter().map(|window| window.request_units).sum();
        let budget = 1_000.0 * (last.window - between[0].window) as f64;
        assert!(used >= 0.6 * budget, "{used} of {budget}: {partition:?}");
    }
    assert_eq!(held(&running).await, sorted(&documents));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_migrates_and_verifies() {
    let running = endpoint().await;
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..500)
        .map(|number| {
            format!(
                r#"{{"id":"o-{number}","n":{number}.50,"t":"\\u00e9","_rid":"r==","_etag":"\"e\"","_ts":7}}"#
            )
        })
        .collect();
    std::fs::write(folder.path().join("orders.jsonl"), lines.join("\n")).unwrap();
    let target = format!("cosmos://{}/shop/orders?create=true&partition_key=/n", running.address());
    let docferry = async |command: &str, more: &[&str]| {
        let mut process = assert_cmd::Command::cargo_bin("docferry").unwrap();
        process.current_dir(folder.path()).env("COSMOS_KEY", WELL_KNOWN_KEY);
        process.args([command, "--from", "orders.jsonl", "--to", &target, "--job", "j"]).args(more);
        // The endpoint runs in this process, and must not be kept from answering.
        tokio::task::spawn_blocking(move || process.output().unwrap()).await.unwrap()
    };
    let migrated = docferry("migrate", &[]).await;
    assert!(migrated.status.success(), "{migrated:?}");
    let verified = docferry("verify", &[]).await;
    assert!(verified.status.success(), "{verified:?}");
    let everything = [migrated.stdout, migrated.stderr, verified.stdout, verified.stderr].concat();
    assert!(!String::from_utf8_lossy(&everything).contains(WELL_KNOWN_KEY), "a key is never printed");

    let other = [r#"{"id":"o-7","n":7.5,"t":"changed"}"#.to_owned()];
    overwriting(&other, options(&running, &["/n"])).await;
    assert_eq!(docferry("verify", &[]).await.status.code(), Some(65));
    let refused = docferry("migrate", &["--state", "elsewhere"]).await;
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_created_once_and_must_have_the_key_that_is_asked_for() {
    let running = endpoint().await;
    let absent = TargetOptions { create: false, ..options(&running, &["/k"]) };
    let error = CosmosSink::new(absent).check().await.unwrap_err().to_string();
    assert!(error.contains("it does not exist"), "{error}");
    let sink = CosmosSink::new(options(&running, &["/k"]));
    assert_eq!(sink.identity().await.unwrap(), None);
    migrate(&mixed(5), options(&running, &["/k"])).await;
    let identity = CosmosSink::new(options(&running, &["/k"])).identity().await.unwrap();
    assert_eq!(sink.identity().await.unwrap(), identity);
    assert!(identity.unwrap().starts_with("cosmos container "));
    let error = CosmosSink::new(options(&running, &["/other"])).check().await.unwrap_err().to_string();
    assert!(error.contains("partition key is /k, the settings say /other"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_deleted_while_it_is_written_is_named() {
    let running = endpoint().await;
    running.set_faults(Faults { latency_ms: 5.0, ..Faults::default() });
    let source = MemorySource::given([mixed(20_000)]);
    let sink = Arc::new(CosmosSink::new(options(&running, &["/customer"])));
    let trial = Trial::new(source, sink).start().await;
    until(|| trial.meter.answered.get() >= 10).await;
    running.set_faults(Faults::default());
    let address = running.address();
    let deleted = tokio::task::spawn_blocking(move || {
        Client::connect(address).call("DELETE", "/dbs/shop/colls/orders", &[], b"")
    });
    assert_eq!(deleted.await.unwrap().status, 204);
    let ended = trial.ended(LIMIT).await;
    let Some(StopReason::Failure(error)) = ended.stopped else { panic!("{:?}", ended.stopped) };
    assert!(error.to_string().contains("the container is not there any more"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_said_without_being_shown() {
    let running = endpoint().await;
    let mut options = options(&running, &["/k"]);
    options.place.account =
        Account::Remote { endpoint: running.endpoint(), key: Some(Secret::new("c2VjcmV0a2V5")) };
    let error = CosmosSink::new(options.clone()).check().await.unwrap_err();
    assert_eq!(error.kind(), docferry::error::ErrorKind::Authentication, "{error}");
    assert!(!format!("{error} {error:?} {options:?}").contains("c2VjcmV0a2V5"));
    options.place.account = Account::Remote { endpoint: running.endpoint(), key: None };
    let error = CosmosSink::new(options).check().await.unwrap_err();
    assert!(error.remedy().contains("COSMOS_KEY"), "{error}");
}
