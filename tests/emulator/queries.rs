//! Reading many documents.

use super::client::{DOCS, Endpoint};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn filled(partitions: u32, documents: usize) -> Endpoint {
    let mut endpoint = Endpoint::with_container(partitions, 1_000_000);
    for number in 0..documents {
        let id = number.to_string();
        assert_eq!(
            endpoint.client.upsert(&json!({"id": id, "pk": format!("k{}", number % 10), "n": number})).status,
            201
        );
    }
    endpoint
}

fn ids(found: &[Value]) -> BTreeSet<String> {
    let ids: BTreeSet<String> = found.iter().map(|found| found["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), found.len(), "each once");
    ids
}

#[test]
fn ranges_and_the_whole_are_read_page_by_page() {
    let mut endpoint = filled(4, 95);
    let client = &mut endpoint.client;
    let mut of_ranges = Vec::new();
    for range in ["0", "1", "2", "3"] {
        let scope = [("x-ms-documentdb-partitionkeyrangeid", range)];
        of_ranges.extend(client.query("SELECT * FROM c", &scope, "7"));
    }
    assert_eq!(ids(&of_ranges).len(), 95);
    assert!(of_ranges.iter().all(|document| document["_ts"].is_u64()));
    let whole = client.query("SELECT * FROM c", &[], "-1");
    assert_eq!(whole, of_ranges, "the order of pages is the order of ranges");
    assert_eq!(ids(&client.query("SELECT c.id FROM c", &[], "10")).len(), 95);
}

#[test]
fn a_query_of_one_partition_key_sees_only_that() {
    let mut endpoint = filled(4, 95);
    let client = &mut endpoint.client;
    let scope = [("x-ms-documentdb-partitionkey", "[\"k3\"]")];
    let found = client.query("SELECT * FROM c", &scope, "4");
    assert_eq!(found.len(), 10);
    assert!(found.iter().all(|document| document["pk"] == "k3"));
    assert_eq!(client.query("SELECT VALUE COUNT(1) FROM c", &scope, "4"), [json!(10)]);
    let projected = client.query("SELECT c.id, c.n, c.missing FROM c", &scope, "4");
    assert_eq!(projected[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "n"]);
}

#[test]
fn a_count_over_partitions_needs_a_plan() {
    let mut endpoint = filled(4, 95);
    let client = &mut endpoint.client;
    let is_query = [("x-ms-documentdb-isquery", "True")];
    let body = br#"{"query":"SELECT VALUE COUNT(1) FROM c"}"#;
    assert_eq!(client.call("POST", DOCS, &is_query, body).both(), (400, "1004"));
    let plan = [("x-ms-cosmos-is-query-plan-request", "True")];
    let plan = client.call("POST", DOCS, &plan, body).json();
    assert_eq!(plan["queryInfo"]["aggregates"], json!(["Count"]));
    let rewritten = plan["queryInfo"]["rewrittenQuery"].as_str().unwrap().to_owned();
    let mut counted = 0;
    for range in ["0", "1", "2", "3"] {
        let scope = [("x-ms-documentdb-partitionkeyrangeid", range)];
        counted += client.query(&rewritten, &scope, "1")[0][0]["item"].as_u64().unwrap();
    }
    assert_eq!(counted, 95);
}

#[test]
fn a_feed_goes_on_where_it_stood_while_others_write() {
    let mut endpoint = filled(1, 50);
    let client = &mut endpoint.client;
    let mut feed = |continuation: &str| {
        let headers = [("x-ms-max-item-count", "20"), ("x-ms-continuation", continuation)];
        let reply = client.call("GET", DOCS, &headers, b"");
        assert_eq!(reply.header("x-ms-item-count"), reply.json()["_count"].to_string());
        (
            reply.json()["Documents"].as_array().unwrap().clone(),
            reply.header("x-ms-continuation").to_owned(),
            reply.charge(),
        )
    };
    let (first, continuation, charge) = feed("");
    assert_eq!(first.len(), 20);
    assert!(charge > 2.0);
    let (again, ..) = feed(&continuation);
    let (second, continuation, _) = feed(&continuation);
    assert_eq!(again, second);
    let (third, end, _) = feed(&continuation);
    assert_eq!((third.len(), end.as_str()), (10, ""));
    assert_eq!(ids(&[first, second, third].concat()).len(), 50);
    assert_eq!(client.call("GET", DOCS, &[("x-ms-continuation", "?")], b"").status, 400);
}

#[test]
fn a_page_goes_on_behind_a_split() {
    let mut endpoint = filled(2, 80);
    let Endpoint { client, running, .. } = &mut endpoint;
    let headers = [("x-ms-max-item-count", "5")];
    let first = client.call("GET", DOCS, &headers, b"");
    running.split("d/c", "0").unwrap();
    running.split("d/c", "1").unwrap();
    let mut found = first.json()["Documents"].as_array().unwrap().clone();
    let mut continuation = first.header("x-ms-continuation").to_owned();
    while !continuation.is_empty() {
        let reply = client.call("GET", DOCS, &[("x-ms-continuation", &continuation)], b"");
        found.extend(reply.json()["Documents"].as_array().unwrap().iter().cloned());
        continuation = reply.header("x-ms-continuation").to_owned();
    }
    assert_eq!(ids(&found).len(), 80);
}

#[test]
fn a_part_of_a_range_can_be_asked_for() {
    let mut endpoint = filled(1, 60);
    let client = &mut endpoint.client;
    let middle = "20000000000000000000000000000000";
    let lower = client.query(
        "SELECT * FROM c",
        &[("x-ms-documentdb-partitionkeyrangeid", "0"), ("x-ms-end-epk", middle)],
        "9",
    );
    let upper = client.query(
        "SELECT * FROM c",
        &[("x-ms-documentdb-partitionkeyrangeid", "0"), ("x-ms-start-epk", middle)],
        "9",
    );
    assert!(!lower.is_empty() && !upper.is_empty());
    assert_eq!(ids(&[lower, upper].concat()).len(), 60);
}

#[test]
fn other_queries_are_refused_with_a_sentence() {
    let mut endpoint = filled(1, 1);
    let client = &mut endpoint.client;
    let body = br#"{"query":"SELECT * FROM c WHERE c.n > 1"}"#;
    let reply = client.call("POST", DOCS, &[("x-ms-documentdb-isquery", "True")], body);
    assert_eq!(reply.status, 400);
    assert!(reply.json()["message"].as_str().unwrap().contains("SELECT VALUE COUNT(1)"));
}
