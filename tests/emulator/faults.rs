//! What goes wrong on purpose: faults, splits, and HTTP/2.

use super::client::{Client, DOCS, Endpoint};
use bytes::Bytes;
use docferry::emulator::Options;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
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
    let mut order = |body: &str| client.send("POST", "/_split", &[], body.as_bytes()).unwrap();
    assert_eq!(order(r#"{"container":"d/c","range":"0"}"#).json(), json!({"children": ["2", "3"]}));
    assert_eq!(order(r#"{"container":"d/c","range":"0"}"#).status, 400);
    assert_eq!(order(r#"{"container":"d/x","range":"0"}"#).status, 400);
    assert_eq!(client.bulk("0", &json!([])).both(), (410, "1002"));
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
