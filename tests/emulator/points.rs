//! One document at a time.

use super::client::{DOCS, Endpoint};
use docferry::emulator::Options;
use serde_json::json;

#[test]
fn a_document_is_created_read_replaced_and_deleted() {
    let mut endpoint = Endpoint::with_container(4, 100_000);
    let client = &mut endpoint.client;
    let created = client.post(&json!({"id":"a","pk":"x","n":1}), &[]);
    assert_eq!(created.status, 201);
    let body = created.json();
    assert!(body["_rid"].is_string() && body["_self"].is_string() && body["_ts"].is_u64());
    assert_eq!(body["_attachments"], "attachments/");
    assert_eq!(body["_etag"], created.header("etag"));
    assert_eq!(client.post(&json!({"id":"a","pk":"x"}), &[]).status, 409);
    assert_eq!(client.post(&json!({"id":"a","pk":"y"}), &[]).status, 201, "another logical partition");

    let read = client.get("a", &json!("x"));
    assert_eq!((read.status, read.json()), (200, body));
    let range = read.header("x-ms-documentdb-partitionkeyrangeid").to_owned();
    assert!(read.header("x-ms-session-token").starts_with(&format!("{range}:-1#")));
    assert_eq!(read.header("lsn"), read.header("x-ms-session-token").rsplit('#').next().unwrap());
    let unchanged = [("x-ms-documentdb-partitionkey", "[\"x\"]"), ("if-none-match", read.header("etag"))];
    assert_eq!(client.call("GET", &format!("{DOCS}/a"), &unchanged, b"").status, 304);
    assert_eq!(client.get("b", &json!("x")).status, 404);

    let key = [("x-ms-documentdb-partitionkey", "[\"x\"]")];
    let replaced = client.call("PUT", &format!("{DOCS}/a"), &key, br#"{"id":"a","pk":"x","n":2}"#);
    assert_eq!((replaced.status, replaced.json()["n"].as_u64()), (200, Some(2)));
    assert_eq!(replaced.json()["_rid"], created.json()["_rid"]);
    assert_eq!(client.call("PUT", &format!("{DOCS}/b"), &key, br#"{"id":"b","pk":"x"}"#).status, 404);
    assert_eq!(client.call("PUT", &format!("{DOCS}/a"), &key, br#"{"id":"b","pk":"x"}"#).status, 400);
    assert_eq!(client.call("DELETE", &format!("{DOCS}/a"), &key, b"").status, 204);
    assert_eq!(client.call("DELETE", &format!("{DOCS}/a"), &key, b"").status, 404);
}

#[test]
fn an_upsert_creates_and_replaces() {
    let mut endpoint = Endpoint::with_container(4, 100_000);
    let client = &mut endpoint.client;
    let first = client.upsert(&json!({"id":"a","pk":"x","n":1}));
    let second = client.upsert(&json!({"id":"a","pk":"x","n":2}));
    assert_eq!((first.status, second.status), (201, 200));
    assert!(second.charge() > 1.5 * first.charge(), "{} after {}", second.charge(), first.charge());
    assert_ne!(first.header("etag"), second.header("etag"));
    let headers = [("x-ms-documentdb-is-upsert", "True"), ("prefer", "return=minimal")];
    let minimal = client.post(&json!({"id":"a","pk":"x","n":3}), &headers);
    assert_eq!((minimal.status, minimal.body.len()), (200, 0));
    assert_eq!(client.get("a", &json!("x")).json()["n"], 3);
}

#[test]
fn an_etag_guards_a_write() {
    let mut endpoint = Endpoint::with_container(1, 100_000);
    let client = &mut endpoint.client;
    let etag = client.upsert(&json!({"id":"a","pk":"x"})).header("etag").to_owned();
    let guarded = [("x-ms-documentdb-partitionkey", "[\"x\"]"), ("if-match", etag.as_str())];
    let mut put = |body: &str| client.call("PUT", &format!("{DOCS}/a"), &guarded, body.as_bytes()).status;
    assert_eq!(put(r#"{"id":"a","pk":"x","n":1}"#), 200);
    assert_eq!(put(r#"{"id":"a","pk":"x","n":2}"#), 412);
    let any = [("x-ms-documentdb-partitionkey", "[\"x\"]"), ("if-match", "*")];
    assert_eq!(client.call("DELETE", &format!("{DOCS}/a"), &any, b"").status, 204);
}

#[test]
fn documents_are_kept_as_the_service_keeps_them() {
    let mut endpoint = Endpoint::with_container(1, 100_000);
    let client = &mut endpoint.client;
    let key = [("x-ms-documentdb-partitionkey", "[\"x\"]")];
    let sent = br#"{ "pk":"x", "id":"a", "n":[1.10, 9007199254740993, 1e2], "_ts": 1, "\u0061b": "\u00e9" }"#;
    assert_eq!(client.call("POST", DOCS, &key, sent).status, 201);
    let body = String::from_utf8(client.get("a", &json!("x")).body).unwrap();
    assert!(
        body.starts_with(r#"{"pk":"x","id":"a","n":[1.1,9007199254740992,100],"\u0061b":"\u00e9","_rid":""#),
        "{body}"
    );
    assert!(!body.contains("\"_ts\":1,"), "{body}");
}

#[test]
fn what_is_no_document_of_the_key_is_refused() {
    let mut endpoint = Endpoint::with_container(4, 100_000);
    let client = &mut endpoint.client;
    let key = |key| [("x-ms-documentdb-partitionkey", key)];
    let mut post = |headers: &[(&str, &str)], body: &str| {
        let reply = client.call("POST", DOCS, headers, body.as_bytes());
        (reply.status, reply.header("x-ms-substatus").to_owned())
    };
    assert_eq!(post(&key("[\"x\"]"), r#"{"id":"a","pk":"y"}"#), (400, "1001".to_owned()));
    assert_eq!(post(&key("[\"x\",\"y\"]"), r#"{"id":"a","pk":"x"}"#), (400, "1001".to_owned()));
    assert_eq!(post(&key("x"), r#"{"id":"a","pk":"x"}"#).0, 400);
    assert_eq!(post(&[], r#"{"id":"a","pk":"x"}"#).0, 400);
    assert_eq!(post(&key("[\"x\"]"), r#"{"pk":"x"}"#).0, 400);
    assert_eq!(post(&key("[\"x\"]"), r#"{"id":"a","pk":"x","n":1e400}"#).0, 400);
    assert_eq!(post(&key("[{}]"), r#"{"id":"a"}"#).0, 201, "an undefined key is a key");
    assert_eq!(post(&key("[null]"), r#"{"id":"a","pk":null}"#).0, 201);
    let large = format!(r#"{{"id":"a","pk":"x","s":"{}"}}"#, "s".repeat(2 * 1024 * 1024));
    assert_eq!(post(&key("[\"x\"]"), &large).0, 413);
}

#[test]
fn names_with_unusual_characters_are_found_and_signed() {
    let mut endpoint = Endpoint::start(Options { no_auth: true, ..Options::default() });
    let client = &mut endpoint.client;
    assert_eq!(client.send("POST", "/dbs", &[], r#"{"id":"ä b"}"#.as_bytes()).unwrap().status, 201);
    assert_eq!(client.send("GET", "/dbs/%C3%A4%20b", &[], b"").unwrap().status, 200);
}
