//! Budgets: who is admitted, who is sent away, and what the ledger says of it.

use super::client::{DOCS, Endpoint, Reply};
use serde_json::{Value, json};

#[test]
fn a_partition_admits_what_its_window_holds() {
    // 30 request units a window are five or six creates; a hundred do not fit into the few windows that this takes.
    let mut endpoint = Endpoint::with_container(1, 30);
    let Endpoint { client, running, .. } = &mut endpoint;
    let (mut admitted, mut charged, mut throttled) = (0, 0.0, 0);
    for number in 0..100 {
        let reply = client.upsert(&json!({"id": number.to_string(), "pk": "x"}));
        if reply.status == 429 {
            throttled += 1;
            assert_eq!(reply.header("x-ms-substatus"), "3200");
            let wait: u64 = reply.header("x-ms-retry-after-ms").parse().unwrap();
            assert!((1..=1000).contains(&wait), "{wait}");
        } else {
            admitted += 1;
            charged += reply.charge();
        }
    }
    let ledger = &running.ledger().containers[0];
    let partition = &ledger.partitions[0];
    assert_eq!((partition.operations, partition.throttled), (admitted, throttled));
    assert!((partition.request_units - charged).abs() < 0.01);
    assert!(throttled > 0);
    for window in &partition.windows {
        let last = charged / admitted as f64;
        assert!(
            window.debt + window.request_units < window.budget + 2.0 * last || window.operations == 0,
            "{window:?}"
        );
    }
    // The same over the wire, and it needs no signature.
    let told = client.send("GET", "/_ledger", &[], b"").unwrap().json();
    assert_eq!(told["containers"][0]["partitions"][0]["operations"], admitted);
}

#[test]
fn each_operation_of_a_range_batch_is_admitted_by_itself() {
    let mut endpoint = Endpoint::with_container(1, 30);
    let Endpoint { client, running, .. } = &mut endpoint;
    let upsert = |number: u32| json!({"operationType": "Upsert", "partitionKey": "[\"x\"]", "resourceBody": {"id": number.to_string(), "pk": "x"}});
    let operations: Vec<Value> = (0..50).map(upsert).collect();
    let reply = client.bulk("0", &json!(operations));
    assert_eq!(reply.status, 207);
    let results = reply.json();
    let of =
        |status: u64| results.as_array().unwrap().iter().filter(move |result| result["statusCode"] == status);
    assert!((1..20).contains(&of(201).count()));
    assert_eq!(of(201).count() + of(429).count(), 50);
    let all_told = of(429).all(|result| {
        let wait = result["retryAfterMilliseconds"].as_u64().unwrap();
        result["subStatusCode"] == 3200 && (1..=1000).contains(&wait)
    });
    assert!(all_told);
    assert_eq!(running.ledger().containers[0].throttled(), of(429).count() as u64);
}

#[test]
fn atomic_batches_queries_and_reads_are_admitted_too() {
    let mut endpoint = Endpoint::with_container(1, 1);
    let client = &mut endpoint.client;
    // A debt of many windows.
    assert_eq!(client.upsert(&json!({"id": "a", "pk": "x", "s": "s".repeat(100_000)})).status, 201);
    assert_eq!(client.get("a", &json!("x")).both(), (429, "3200"));
    let is_told_to_wait = |reply: Reply| {
        assert_eq!(reply.both(), (429, "3200"), "{reply:?}");
        let wait: u64 = reply.header("x-ms-retry-after-ms").parse().unwrap();
        assert!((1..=1000).contains(&wait), "{wait}");
    };
    is_told_to_wait(client.call("GET", DOCS, &[], b""));
    let query = [("x-ms-documentdb-isquery", "True"), ("x-ms-documentdb-partitionkeyrangeid", "0")];
    is_told_to_wait(client.call("POST", DOCS, &query, br#"{"query":"SELECT * FROM c"}"#));
    let headers = [
        ("x-ms-cosmos-is-batch-request", "True"),
        ("x-ms-cosmos-batch-atomic", "True"),
        ("x-ms-documentdb-partitionkey", "[\"x\"]"),
    ];
    let batch = br#"[{"operationType":"Upsert","resourceBody":{"id":"b","pk":"x"}}]"#;
    is_told_to_wait(client.call("POST", DOCS, &headers, batch));
    // What a client needs to find its container is not throttled.
    assert_eq!(client.call("GET", "/dbs/d/colls/c", &[], b"").status, 200);
}

#[test]
fn one_partition_that_is_exhausted_leaves_the_others_alone() {
    let mut endpoint = Endpoint::with_container(4, 4);
    let client = &mut endpoint.client;
    let large = json!({"id": "a", "pk": "x", "s": "s".repeat(100_000)});
    let range = client.upsert(&large).header("x-ms-documentdb-partitionkeyrangeid").to_owned();
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..40 {
        let reply = client.upsert(&json!({"id": "a", "pk": number.to_string()}));
        if reply.status == 201 {
            seen.insert(reply.header("x-ms-documentdb-partitionkeyrangeid").to_owned());
        }
    }
    assert_eq!(seen.len(), 3, "all but {range}");
    assert!(!seen.contains(&range));
}

#[test]
fn throughput_is_changed_while_running() {
    let mut endpoint = Endpoint::with_container(1, 1);
    let client = &mut endpoint.client;
    client.upsert(&json!({"id": "a", "pk": "x", "s": "s".repeat(100_000)}));
    assert_eq!(client.get("a", &json!("x")).status, 429);
    let mut offer = client.call("GET", "/offers", &[], b"").json()["Offers"][0].clone();
    offer["content"]["offerThroughput"] = json!(100_000);
    let path = format!("/offers/{}", offer["id"].as_str().unwrap());
    client.call("PUT", &path, &[], offer.to_string().as_bytes());
    assert_eq!(client.get("a", &json!("x")).status, 200);
}

#[test]
fn without_a_limit_nothing_is_throttled() {
    let mut endpoint = Endpoint::with_container(1, 0);
    let Endpoint { client, running, .. } = &mut endpoint;
    for round in 0..3 {
        let upsert = |number: u32| json!({"operationType": "Upsert", "partitionKey": "[\"x\"]", "resourceBody": {"id": number.to_string(), "pk": "x", "s": "s".repeat(10_000)}});
        let operations: Vec<Value> = (0..100).map(upsert).collect();
        assert_eq!(client.bulk("0", &json!(operations)).status, 200, "round {round}");
    }
    // Like a container of a serverless account it has no offer.
    assert_eq!(client.call("GET", "/offers", &[], b"").json()["_count"], 0);
    assert_eq!(running.ledger().containers[0].throughput, 0);
    let told = client.send("GET", "/_ledger", &[], b"").unwrap().json();
    assert_eq!(told["containers"][0]["partitions"][0]["windows"][0]["budget"], Value::Null);
    let body = json!({"id": "limited", "partitionKey": {"paths": ["/pk"]}}).to_string();
    let header = [("x-ms-offer-throughput", "0")];
    assert_eq!(client.call("POST", "/dbs/d/colls", &header, body.as_bytes()).status, 400);
}

#[test]
fn autoscale_is_named_in_the_offer_and_can_be_given_up() {
    let mut endpoint = Endpoint::with_container(2, 400);
    let Endpoint { client, running, .. } = &mut endpoint;
    let body = json!({"id": "scaled", "partitionKey": {"paths": ["/pk"]}}).to_string();
    let header = [("x-ms-cosmos-offer-autopilot-settings", r#"{"maxThroughput":4000}"#)];
    let created = client.call("POST", "/dbs/d/colls", &header, body.as_bytes());
    assert_eq!(created.status, 201);
    let rid = created.json()["_rid"].clone();
    let offers = client.call("GET", "/offers", &[], b"").json();
    let mut offer = offers["Offers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|offer| offer["offerResourceId"] == rid)
        .unwrap()
        .clone();
    assert_eq!(offer["content"]["offerAutopilotSettings"]["maxThroughput"], 4000);
    let path = format!("/offers/{}", offer["id"].as_str().unwrap());
    let mut replace = |content: Value| {
        offer["content"] = content;
        let reply = client.call("PUT", &path, &[], offer.to_string().as_bytes());
        (reply.status, reply.json()["content"].clone(), running.ledger().containers[1].throughput)
    };
    let (status, content, throughput) = replace(json!({"offerAutopilotSettings": {"maxThroughput": 8000}}));
    assert_eq!((status, throughput), (200, 8000));
    assert_eq!(content["offerAutopilotSettings"]["maxThroughput"], 8000);
    let (status, content, throughput) = replace(json!({"offerThroughput": 600}));
    assert_eq!((status, throughput), (200, 600));
    assert_eq!(content.get("offerAutopilotSettings"), None);
    assert_eq!(replace(json!({"offerAutopilotSettings": {"maxThroughput": 0}})).0, 400);
}
