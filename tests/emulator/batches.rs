//! Many documents in one request: batches of a range and transactional batches.

use super::client::{Client, DOCS, Endpoint};
use docferry::emulator::Options;
use serde_json::{Value, json};

/// An upsert as the JavaScript client writes it.
fn upsert(id: &str, pk: &str) -> Value {
    json!({"operationType": "Upsert", "partitionKey": json!([pk]).to_string(), "resourceBody": {"id": id, "pk": pk}})
}

fn statuses(results: &Value) -> Vec<u64> {
    results.as_array().unwrap().iter().map(|result| result["statusCode"].as_u64().unwrap()).collect()
}

#[test]
fn a_range_batch_answers_each_operation_in_order() {
    let mut endpoint = Endpoint::with_container(1, 100_000);
    let client = &mut endpoint.client;
    let operations: Vec<Value> =
        (0..100).map(|number| upsert(&number.to_string(), &format!("key {}", number % 7))).collect();
    let reply = client.bulk("0", &json!(operations));
    assert_eq!(reply.status, 200);
    let results = reply.json();
    assert_eq!(statuses(&results), [201; 100]);
    let sum: f64 =
        results.as_array().unwrap().iter().map(|result| result["requestCharge"].as_f64().unwrap()).sum();
    assert!((reply.charge() - sum).abs() < 0.01);
    assert_eq!(results[3]["eTag"], client.get("3", &json!("key 3")).header("etag"));
    assert!(results[3].get("resourceBody").is_none());
    assert!(reply.header("x-ms-session-token").starts_with("0:-1#100"));
    assert_eq!(statuses(&client.bulk("0", &json!(operations)).json()), [200; 100]);
}

#[test]
fn a_range_batch_takes_every_verb_and_each_stands_for_itself() {
    let mut endpoint = Endpoint::with_container(1, 100_000);
    let client = &mut endpoint.client;
    let key = "[\"x\"]";
    let with = |verb: &str, rest: Value| {
        let mut operation = json!({"operationType": verb, "partitionKey": key});
        operation.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        operation
    };
    let body = |id: &str, n: u64| json!({"id": id, "pk": "x", "n": n});
    let operations = json!([
        with("Create", json!({"resourceBody": body("a", 1)})),
        with("Create", json!({"resourceBody": body("a", 2)})),
        with("Read", json!({"id": "a"})),
        with("Replace", json!({"id": "a", "resourceBody": body("a", 3)})),
        with("Replace", json!({"id": "a", "ifMatch": "\"stale\"", "resourceBody": body("a", 4)})),
        with("Replace", json!({"id": "b", "resourceBody": body("b", 4)})),
        with("Delete", json!({"id": "a"})),
        with("Read", json!({"id": "a"})),
        with("Patch", json!({"id": "a"})),
        with("Upsert", json!({"resourceBody": {"id": "a", "pk": "y"}})),
        with("Upsert", json!({"resourceBody": {"pk": "x"}})),
    ]);
    let reply = client.bulk("0", &operations);
    assert_eq!(reply.status, 207);
    let results = reply.json();
    assert_eq!(statuses(&results), [201, 409, 200, 200, 412, 404, 204, 404, 400, 400, 400]);
    assert_eq!(results[2]["resourceBody"]["n"], 1);
    assert_eq!(results[9]["subStatusCode"], 1001);
}

#[test]
fn a_document_of_another_range_is_told_so() {
    let mut endpoint = Endpoint::with_container(4, 100_000);
    let client = &mut endpoint.client;
    let operations: Vec<Value> =
        (0..40).map(|number| upsert(&number.to_string(), &number.to_string())).collect();
    let mut written = 0;
    for range in ["0", "1", "2", "3"] {
        let results = client.bulk(range, &json!(operations)).json();
        for (number, result) in results.as_array().unwrap().iter().enumerate() {
            if result["statusCode"] == 201 {
                written += 1;
                let id = number.to_string();
                let read = client.get(&id, &json!(id));
                assert_eq!(read.header("x-ms-documentdb-partitionkeyrangeid"), range);
            } else {
                assert_eq!((&result["statusCode"], &result["subStatusCode"]), (&json!(410), &json!(1002)));
            }
        }
    }
    assert_eq!(written, 40, "each belongs to one range");
    assert_eq!(client.bulk("4", &json!([])).both(), (410, "1002"));
}

#[test]
fn batches_have_limits() {
    let mut endpoint = Endpoint::with_container(1, 100_000);
    let client = &mut endpoint.client;
    let operations: Vec<Value> = (0..101).map(|number| upsert(&number.to_string(), "x")).collect();
    assert_eq!(client.bulk("0", &json!(operations)).status, 400);
    let mut large = upsert("a", "x");
    large["resourceBody"]["s"] = json!("s".repeat(2 * 1024 * 1024));
    assert_eq!(client.bulk("0", &json!([large])).status, 413);
    assert_eq!(client.call("POST", DOCS, &[("x-ms-cosmos-is-batch-request", "true")], b"[]").status, 400);
    assert_eq!(client.bulk("0", &json!({"a": 1})).status, 400);
    // Read back, three of these are more than an answer may hold.
    for id in ["a", "b", "c"] {
        assert_eq!(client.upsert(&json!({"id": id, "pk": "x", "s": "s".repeat(2_000_000)})).status, 201);
    }
    let reads =
        ["a", "b", "c"].map(|id| json!({"operationType": "Read", "id": id, "partitionKey": "[\"x\"]"}));
    let results = client.bulk("0", &json!(reads)).json();
    assert_eq!(statuses(&results), [200, 200, 413]);
    assert_eq!(results[2]["subStatusCode"], 3402);
}

#[test]
fn without_leave_to_go_on_the_rest_is_innocent() {
    let mut endpoint = Endpoint::with_container(1, 100_000);
    let client = &mut endpoint.client;
    let headers = [
        ("x-ms-cosmos-is-batch-request", "true"),
        ("x-ms-cosmos-batch-continue-on-error", "False"),
        ("x-ms-documentdb-partitionkeyrangeid", "0"),
    ];
    let create =
        json!({"operationType": "Create", "partitionKey": "[\"x\"]", "resourceBody": {"id": "a", "pk": "x"}});
    let reply =
        client.call("POST", DOCS, &headers, json!([create, create, upsert("b", "x")]).to_string().as_bytes());
    assert_eq!(statuses(&reply.json()), [201, 409, 424]);
}

fn atomic(client: &mut Client, key: &str, operations: &Value) -> (u16, Value) {
    let headers = [
        ("x-ms-cosmos-is-batch-request", "True"),
        ("x-ms-cosmos-batch-atomic", "True"),
        ("x-ms-documentdb-partitionkey", key),
    ];
    let reply = client.call("POST", DOCS, &headers, operations.to_string().as_bytes());
    (reply.status, reply.json())
}

#[test]
fn a_transactional_batch_happens_wholly_or_not_at_all() {
    let mut endpoint = Endpoint::with_container(4, 100_000);
    let client = &mut endpoint.client;
    client.upsert(&json!({"id":"kept","pk":"x","n":1}));
    let write = |verb: &str, id: &str| json!({"operationType": verb, "id": id, "resourceBody": {"id": id, "pk": "x", "n": 2}});
    let failing = json!([
        write("Create", "new"),
        write("Upsert", "kept"),
        {"operationType": "Delete", "id": "kept"},
        write("Replace", "missing"),
        write("Create", "newer"),
    ]);
    let (status, results) = atomic(client, "[\"x\"]", &failing);
    assert_eq!((status, statuses(&results)), (207, vec![424, 424, 424, 404, 424]));
    assert_eq!(client.get("new", &json!("x")).status, 404);
    assert_eq!(client.get("kept", &json!("x")).json()["n"], 1);

    let (status, results) =
        atomic(client, "[\"x\"]", &json!([write("Create", "new"), {"operationType": "Read", "id": "kept"}]));
    assert_eq!((status, statuses(&results)), (200, vec![201, 200]));
    assert_eq!(results[1]["resourceBody"]["n"], 1);
    assert_eq!(client.get("new", &json!("x")).json()["n"], 2);
}

#[test]
fn a_transactional_batch_has_one_key_and_limits() {
    let mut endpoint = Endpoint::with_container(4, 100_000);
    let client = &mut endpoint.client;
    let two_keys = json!([upsert("a", "x"), upsert("b", "y")]);
    assert_eq!(atomic(client, "[\"x\"]", &two_keys).0, 400);
    assert_eq!(client.get("a", &json!("x")).status, 404);
    let many: Vec<Value> = (0..101).map(|number| upsert(&number.to_string(), "x")).collect();
    assert_eq!(atomic(client, "[\"x\"]", &json!(many)).0, 400);
    assert_eq!(atomic(client, "[\"x\"]", &json!([])).0, 400);
}

#[test]
fn a_hierarchical_key_is_one_key() {
    let mut endpoint = Endpoint::start(Options::default());
    let client = &mut endpoint.client;
    client.call("POST", "/dbs", &[], br#"{"id":"d"}"#);
    let container = br#"{"id":"c","partitionKey":{"paths":["/t","/u"],"kind":"MultiHash","version":2}}"#;
    assert_eq!(client.call("POST", "/dbs/d/colls", &[], container).status, 201);
    for (id, user) in [("a", "1"), ("a", "2"), ("b", "1")] {
        let body = json!({"id": id, "t": "x", "u": user}).to_string();
        let key = json!(["x", user]).to_string();
        let reply = client.call("POST", DOCS, &[("x-ms-documentdb-partitionkey", &key)], body.as_bytes());
        assert_eq!(reply.status, 201);
    }
    let ids = |found: Vec<Value>| -> Vec<String> {
        let mut ids: Vec<String> =
            found.iter().map(|found| found["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let under = |key: &'static str| [("x-ms-documentdb-partitionkey", key)];
    assert_eq!(ids(client.query("SELECT * FROM c", &under(r#"["x","1"]"#), "1")), ["a", "b"]);
    assert_eq!(ids(client.query("SELECT * FROM c", &under(r#"["x"]"#), "1")), ["a", "a", "b"]);
    assert_eq!(ids(client.query("SELECT * FROM c", &under(r#"["y"]"#), "1")), Vec::<String>::new());
}
