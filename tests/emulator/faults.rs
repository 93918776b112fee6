//! What goes wrong on purpose: faults, splits, and HTTP/2.

use super::client::{Client, DOCS, Endpoint};
use bytes::Bytes;
use docferry::emulator::{Faults, Options, Running};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

fn set(client: &mut Client, faults: &Value) {
    let reply = client.send("POST", "/_faults", &[], faults.to_string().as_bytes()).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// The upsert of a document, with its partition key.
fn try_upsert(client: &mut Client, id: &str) -> Option<u16> {
    let body = json!({"id": id, "pk": "x"}).to_string();
    let headers = [("x-ms-documentdb-partitionkey", "[\"x\"]"), ("x-ms-documentdb-is-upsert", "True")];
    client.send("POST", DOCS, &headers, body.as_bytes()).map(|reply| reply.status)
}

fn open() -> Endpoint {
    let mut endpoint =
        Endpoint::start(Options { no_auth: true, throughput: 1_000_000, ..Options::default() });
    endpoint.client.create_container();
    endpoint
}

#[test]
fn each_fault_has_its_answer_and_its_effect() {
    let mut endpoint = open();
    let Endpoint { client, running, .. } = &mut endpoint;
    let cases = [
        ("throttle", Some(429), false),
        ("retry_with", Some(449), false),
        ("internal", Some(500), false),
        ("unavailable", Some(503), false),
        ("timeout_after_commit", Some(408), true),
        ("drop_before_commit", None, false),
        ("drop_after_commit", None, true),
    ];
    for (name, status, is_done) in cases {
        set(client, &json!({ name: 1.0 }));
        assert_eq!(try_upsert(client, name), status, "{name}");
        set(client, &json!({ name: 0.0 }));
        assert_eq!(client.get(name, &json!("x")).status == 200, is_done, "{name}");
    }
    assert_eq!(running.faults(), docferry::emulator::Faults::default());
}

#[test]
fn a_stalled_answer_comes_late_but_is_done() {
    let mut endpoint = open();
    let client = &mut endpoint.client;
    set(client, &json!({"stall": 1.0, "stall_ms": 300}));
    let began = Instant::now();
    assert_eq!(try_upsert(client, "a"), Some(201));
    assert!(began.elapsed().as_millis() >= 300);
}

#[test]
fn latency_is_added_to_requests_for_documents_only() {
    let mut endpoint = open();
    let client = &mut endpoint.client;
    set(client, &json!({"latency_ms": 200.0}));
    let began = Instant::now();
    assert_eq!(client.call("GET", "/dbs/d", &[], b"").status, 200);
    assert!(began.elapsed().as_millis() < 200);
    assert_eq!(try_upsert(client, "a"), Some(201));
    assert!(began.elapsed().as_millis() >= 200);
}

#[test]
fn some_operations_of_a_batch_are_throttled() {
    let mut endpoint = open();
    let Endpoint { client, running, .. } = &mut endpoint;
    set(client, &json!({"throttle_operation": 0.3}));
    let operation = |number: u32| json!({"operationType": "Upsert", "partitionKey": "[\"x\"]", "resourceBody": {"id": number.to_string(), "pk": "x"}});
    let operations: Vec<Value> = (0..100).map(operation).collect();
    let range = client.get("a", &json!("x")).header("x-ms-documentdb-partitionkeyrangeid").to_owned();
    let results = client.bulk(&range, &json!(operations)).json();
    let throttled = results.as_array().unwrap().iter().filter(|result| result["statusCode"] == 429).count();
    assert!((10..60).contains(&throttled), "{throttled}");
    let documents: u64 =
        running.ledger().containers[0].partitions.iter().map(|partition| partition.documents).sum();
    assert_eq!(documents as usize, 100 - throttled);
}

/// Of operations that meet a fault some are done and some are not.
#[test]
fn operations_of_a_batch_meet_faults_of_their_own() {
    let cases = [
        ("retry_with_operation", 449, false),
        ("internal_operation", 500, false),
        ("unavailable_operation", 503, false),
        ("timeout_after_commit_operation", 408, true),
    ];
    for (name, status, is_done) in cases {
        let mut endpoint = open();
        let Endpoint { client, running, .. } = &mut endpoint;
        set(client, &json!({ name: 0.3 }));
        let range = client.get("a", &json!("x")).header("x-ms-documentdb-partitionkeyrangeid").to_owned();
        let operations: Vec<Value> = (0..100).map(|number| upsert(&number.to_string(), "x")).collect();
        let reply = client.bulk(&range, &json!(operations));
        assert_eq!(reply.status, 207);
        let statuses: Vec<u64> = reply
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|result| result["statusCode"].as_u64().unwrap())
            .collect();
        let failed = statuses.iter().filter(|found| **found == status).count();
        assert!((10..60).contains(&failed), "{name}: {statuses:?}");
        assert_eq!(failed + statuses.iter().filter(|found| **found == 201).count(), 100, "{name}");
        let kept = if is_done { 100 } else { 100 - failed };
        assert_eq!(documents(running), kept as u64, "{name}");
    }
}

fn upsert(id: &str, pk: &str) -> Value {
    json!({"operationType": "Upsert", "partitionKey": json!([pk]).to_string(), "resourceBody": {"id": id, "pk": pk, "s": "s".repeat(1000)}})
}

fn documents(running: &Running) -> u64 {
    running.ledger().containers[0].partitions.iter().map(|partition| partition.documents).sum()
}

#[test]
fn a_script_says_what_each_request_meets() {
    let mut endpoint = open();
    let client = &mut endpoint.client;
    set(
        client,
        &json!({"script": [
            {"request": 2, "fault": "unavailable"}, {"request": 3, "fault": "drop_after_commit"}, {"request": 5, "fault": "split"},
        ]}),
    );
    let statuses = ["a", "b", "c", "d"].map(|id| try_upsert(client, id));
    assert_eq!(statuses, [Some(201), Some(503), None, Some(201)]);
    assert_eq!(client.bulk("0", &json!([])).both(), (410, "1002"), "the fifth request finds its range split");
    let found = client.query("SELECT c.id FROM c", &[], "-1");
    assert_eq!(found, [json!({"id": "a"}), json!({"id": "c"}), json!({"id": "d"})]);
}

/// What a client that gives nothing up has to live through.
#[test]
fn all_faults_together_lose_nothing() {
    let (first, again) = (live_through(7), live_through(7));
    assert_eq!(first, again, "the same seed and the same requests meet the same faults");
    assert_ne!(first, live_through(8));
    for status in [200, 207, 408, 410, 413, 429, 449, 500, 503] {
        assert!(first.contains(&Some(status)), "no request met {status}");
    }
    assert!(first.contains(&None), "no connection was dropped");
}

/// Writes 2 000 documents of 1 KB in batches and checks that they are there; returns how each request was answered.
fn live_through(seed: u64) -> Vec<Option<u16>> {
    // The first twenty batches are all too large; the fortieth request is one that would have been served.
    let options = Options { no_auth: true, throughput: 0, partitions: 2, seed, ..Options::default() };
    let mut endpoint = Endpoint::start(options);
    let Endpoint { client, running, .. } = &mut endpoint;
    client.create_container();
    set(
        client,
        &json!({
            "throttle_operation": 0.02, "retry_with_operation": 0.01, "internal_operation": 0.01, "unavailable_operation": 0.01,
            "timeout_after_commit_operation": 0.01, "throttle": 0.05, "timeout_after_commit": 0.05, "retry_with": 0.05, "unavailable": 0.05,
            "internal": 0.02, "drop_before_commit": 0.03, "drop_after_commit": 0.03, "stall": 0.02, "stall_ms": 2, "latency_ms": 0.1,
            "jitter_ms": 0.1, "body_limit": 60_000, "script": [{"request": 40, "fault": "split"}],
        }),
    );
    // With how often a batch was sent: the next time it is for the next range.
    let mut waiting: VecDeque<(usize, Vec<String>)> = VecDeque::new();
    let all: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
    waiting.extend(all.chunks(100).map(|batch| (0, batch.to_vec())));
    let mut answered = Vec::new();
    while let Some((times, batch)) = waiting.pop_front() {
        let ranges = client.ranges();
        let range = ranges[times % ranges.len()]["id"].as_str().unwrap().to_owned();
        let operations: Vec<Value> = batch.iter().map(|id| upsert(id, id)).collect();
        let body = json!(operations).to_string();
        let headers = [
            ("x-ms-cosmos-is-batch-request", "true"),
            ("x-ms-documentdb-partitionkeyrangeid", range.as_str()),
            ("prefer", "return=minimal"),
        ];
        let reply = client.send("POST", DOCS, &headers, body.as_bytes());
        answered.push(reply.as_ref().map(|reply| reply.status));
        let is_left = match &reply {
            Some(reply) if reply.status == 200 || reply.status == 207 => {
                let results = reply.json();
                let is_done = |at: usize| results[at]["statusCode"].as_u64().unwrap() < 300;
                (0..batch.len()).map(|at| !is_done(at)).collect()
            }
            Some(reply) if reply.status == 413 => {
                let (front, back) = batch.split_at(batch.len() / 2);
                waiting.extend([(times, front.to_vec()), (times, back.to_vec())]);
                continue;
            }
            _ => vec![true; batch.len()],
        };
        let left: Vec<String> =
            batch.into_iter().zip(is_left).filter(|(_, left)| *left).map(|(id, _)| id).collect();
        if !left.is_empty() {
            waiting.push_back((times + 1, left));
        }
    }
    assert_eq!(documents(running), 2000);
    running.set_faults(Faults::default());
    let found = client.query("SELECT * FROM c", &[], "-1");
    let ids: BTreeSet<&str> = found.iter().map(|found| found["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 2000);
    assert!(
        found.iter().all(|found| found["pk"] == found["id"] && found["s"].as_str().unwrap().len() == 1000)
    );
    answered
}

#[test]
fn a_smaller_body_limit_answers_413() {
    let mut endpoint = open();
    let client = &mut endpoint.client;
    set(client, &json!({"body_limit": 20}));
    assert_eq!(try_upsert(client, "a rather long id"), Some(413));
    assert_eq!(client.send("POST", "/_faults", &[], br#"{"throtle":1}"#).unwrap().status, 400);
}

#[test]
fn a_range_is_split_while_running() {
    let mut endpoint = Endpoint::with_container(2, 1000);
    let Endpoint { client, running, .. } = &mut endpoint;
    for number in 0..60 {
        client.upsert(&json!({"id": "a", "pk": number.to_string()}));
    }
    let in_range = |range: &'static str| [("x-ms-documentdb-partitionkeyrangeid", range)];
    let before = client.query("SELECT * FROM c", &in_range("0"), "-1");
    let mut order = |body: &str| client.send("POST", "/_split", &[], body.as_bytes()).unwrap();
    assert_eq!(order(r#"{"container":"d/c","range":"0","begin":true}"#).status, 200);
    let pk = before[0]["pk"].clone();
    assert_eq!(client.bulk("0", &json!([])).both(), (410, "1007"));
    assert_eq!(client.get("a", &pk).both(), (410, "1007"));
    let key = json!([pk]).to_string();
    let atomic = [
        ("x-ms-cosmos-is-batch-request", "True"),
        ("x-ms-cosmos-batch-atomic", "True"),
        ("x-ms-documentdb-partitionkey", key.as_str()),
    ];
    let read = br#"[{"operationType":"Read","id":"a"}]"#;
    assert_eq!(client.call("POST", DOCS, &atomic, read).both(), (410, "1007"));
    assert_eq!(client.call("GET", DOCS, &in_range("0"), b"").both(), (410, "1007"));
    let mut order = |body: &str| client.send("POST", "/_split", &[], body.as_bytes()).unwrap();
    assert_eq!(order(r#"{"container":"d/c","range":"0"}"#).json(), json!({"children": ["2", "3"]}));
    assert_eq!(order(r#"{"container":"d/c","range":"0"}"#).status, 400);
    assert_eq!(order(r#"{"container":"d/x","range":"0"}"#).status, 400);
    assert_eq!(client.bulk("0", &json!([])).both(), (410, "1002"));
    assert_eq!(client.call("GET", DOCS, &in_range("0"), b"").both(), (410, "1002"));
    assert_eq!(client.call("POST", DOCS, &atomic, read).status, 200);
    assert_eq!(client.get("a", &pk).status, 200);
    let ranges = client.ranges();
    let described: Vec<(&Value, &Value)> =
        ranges.iter().map(|range| (&range["id"], &range["parents"])).collect();
    assert_eq!(json!(described), json!([["2", ["0"]], ["3", ["0"]], ["1", []]]));
    let mut after = client.query("SELECT * FROM c", &in_range("2"), "-1");
    assert!(!after.is_empty() && after.len() < before.len());
    after.extend(client.query("SELECT * FROM c", &in_range("3"), "-1"));
    assert_eq!(after, before);
    assert_eq!(running.split("d/c", "3").unwrap(), ["4", "5"]);
    let budgets: Vec<f64> = running.ledger().containers[0]
        .partitions
        .iter()
        .filter(|partition| partition.documents > 0)
        .map(|_| 250.0)
        .collect();
    assert_eq!(budgets.len(), 4);
    assert_eq!(client.ranges()[1]["parents"], json!(["0", "3"]));
}

#[test]
fn http_2_is_spoken_without_being_asked() {
    let endpoint = open();
    let Endpoint { running, runtime, .. } = &endpoint;
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(running.address()).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut client, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::builder()
            .method("POST")
            .uri(format!("{}dbs/d/colls/c/docs", running.endpoint()))
            .header("x-ms-documentdb-partitionkey", "[\"x\"]")
            .body(Full::new(Bytes::from(format!(r#"{{"id":"a","pk":"x","s":"{}"}}"#, "s".repeat(500_000)))))
            .unwrap();
        let reply = client.send_request(request).await.unwrap();
        assert_eq!((reply.status().as_u16(), reply.version()), (201, http::Version::HTTP_2));
        let body: Value =
            serde_json::from_slice(&reply.into_body().collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(body["id"], "a");
    });
}
