//! Requests that are damaged on purpose: each is refused in the service's form where it can be answered at all, and the endpoint goes on.

use super::client::{DOCS, Endpoint};
use docferry::emulator::Options;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

fn open() -> Endpoint {
    let mut endpoint = Endpoint::start(Options { no_auth: true, throughput: 0, ..Options::default() });
    endpoint.client.create_container();
    endpoint
}

/// Everything that is answered to these bytes before the connection ends. `is_all`: nothing more will come, and the endpoint sees that.
fn raw(address: SocketAddr, bytes: &[u8], is_all: bool) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // The endpoint may close before it has read everything.
    let _ = stream.write_all(bytes);
    if is_all {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn damaged_bodies_are_refused_in_the_form_of_the_service() {
    let mut endpoint = open();
    let client = &mut endpoint.client;
    let batch = [("x-ms-cosmos-is-batch-request", "true"), ("x-ms-documentdb-partitionkeyrangeid", "0")];
    let atomic =
        [batch[0], ("x-ms-cosmos-batch-atomic", "true"), ("x-ms-documentdb-partitionkey", "[\"x\"]")];
    let point = [("x-ms-documentdb-partitionkey", "[\"x\"]")];
    let query = [("x-ms-documentdb-isquery", "True")];
    let deep = format!("[{{\"resourceBody\":{}", "[".repeat(100_000));
    let bodies: [&[u8]; 9] = [
        b"",
        b"[",
        b"[{",
        b"[{\"operationType\":\"Upsert\",\"resourceBody\":{\"id\":\"a\",}}]",
        b"[{\"operationType\":\"Upsert\",\"resourceBody\":{\"id\":\"\\ud800\"}} 1]",
        b"{\"id\":\"\xff\"}",
        b"[\"\xc3\x28\"]",
        b"\0\0\0\0",
        deep.as_bytes(),
    ];
    for body in bodies {
        for headers in [&batch[..], &atomic, &point, &query] {
            let reply = client.send("POST", DOCS, headers, body).unwrap();
            assert_eq!(reply.status, 400, "{:?}", String::from_utf8_lossy(body));
            let told = reply.json();
            assert!(told["code"] == "BadRequest" && !told["message"].as_str().unwrap().is_empty(), "{told}");
        }
    }
    for path in ["/dbs", "/dbs/d/colls"] {
        assert_eq!(client.send("POST", path, &[], b"{\"id\":\"\xff\"}").unwrap().status, 400);
    }
    assert_eq!(client.upsert(&json!({"id": "a", "pk": "x"})).status, 201);
}

#[test]
fn operations_that_make_no_sense_leave_the_others_alone() {
    let mut endpoint = open();
    let client = &mut endpoint.client;
    let operations = json!([
        {},
        {"operationType": 1, "resourceBody": {"id": "a", "pk": "x"}},
        {"operationType": "Upsert"},
        {"operationType": "Upsert", "resourceBody": []},
        {"operationType": "Upsert", "resourceBody": {"id": 1, "pk": "x"}},
        {"operationType": "Upsert", "resourceBody": {"id": "a", "pk": "x"}, "partitionKey": "["},
        {"operationType": "Read", "id": "a", "partitionKey": 7},
        {"operationType": "Delete", "partitionKey": "[\"x\"]"},
        {"operationType": "Upsert", "resourceBody": {"id": "a", "pk": "x"}, "partitionKey": "[\"x\"]"},
    ]);
    let mut written = 0;
    for range in ["0", "1", "2", "3"] {
        let reply = client.bulk(range, &operations);
        assert_eq!(reply.status, 207);
        let statuses: Vec<u64> = reply
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|result| result["statusCode"].as_u64().unwrap())
            .collect();
        assert_eq!(statuses[..8], [400; 8]);
        written += u32::from(statuses[8] == 201);
    }
    assert_eq!(written, 1);
}

#[test]
fn unknown_places_and_unusual_headers_are_answered() {
    let mut endpoint = open();
    let client = &mut endpoint.client;
    for path in ["/nothing", "/dbs/d/colls/c/docs/a/b", "/dbs/%ff%fe", "/offers/x/y", "/dbs/d/colls/c/%00"] {
        let reply = client.send("GET", path, &[], b"").unwrap();
        assert!(reply.status == 404 || reply.status == 400, "{path}: {}", reply.status);
        assert!(reply.json()["message"].is_string(), "{path}");
    }
    let odd = [
        ("x-ms-documentdb-partitionkey", "\u{e9}"),
        ("x-ms-continuation", "\u{e9}"),
        ("x-ms-max-item-count", "many"),
        ("x-ms-documentdb-partitionkeyrangeid", ""),
    ];
    for header in odd {
        let status = client.send("GET", DOCS, &[header], b"").unwrap().status;
        assert!([200, 400, 410].contains(&status), "{header:?}: {status}");
    }
    assert_eq!(client.send("GET", "/dbs/d", &[], b"").unwrap().status, 200);
}

#[test]
fn bytes_that_are_no_request_close_one_connection_only() {
    let mut endpoint = open();
    let Endpoint { client, running, .. } = &mut endpoint;
    let address = running.address();
    let post = |length: &str, rest: &str, is_all: bool| {
        let head = "POST /dbs/d/colls/c/docs HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-ms-documentdb-partitionkey: [\"x\"]\r\n";
        raw(address, format!("{head}{length}\r\n\r\n{rest}").as_bytes(), is_all)
    };
    let document = r#"{"id":"a","pk":"x"}"#;
    assert!(post("content-length: 19", document, false).starts_with("HTTP/1.1 201"));
    // Nobody is left to be told that the rest is missing, but nothing is written.
    let short = post("content-length: 400", r#"{"id":"b","pk":"x"}"#, true);
    assert!(short.is_empty() || short.starts_with("HTTP/1.1 400"), "{short}");
    assert!(post("content-length: many", document, false).starts_with("HTTP/1.1 400"));
    assert!(post("content-length: 10", document, false).starts_with("HTTP/1.1 400"));
    let chunk = post("transfer-encoding: chunked", "zz\r\n{}\r\n0\r\n\r\n", false);
    assert!(chunk.is_empty() || chunk.starts_with("HTTP/1.1 400"), "{chunk}");
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(1000));
    assert!(raw(address, many.as_bytes(), false).starts_with("HTTP/1.1 431"));
    // So many bytes are not read to their end, and the answer may be lost with them.
    let huge = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(1_000_000));
    let told = raw(address, huge.as_bytes(), false);
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 431"), "{told}");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnoise and more noise";
    for noise in [&b"\0\x01\x02\xff\r\n\r\n"[..], b"\x16\x03\x01\x02\0", b"GET\r\n\r\n", preface] {
        let told = raw(address, noise, true);
        assert!(!told.starts_with("HTTP/1.1 2"), "{told}");
    }
    assert_eq!(client.get("a", &json!("x")).status, 200);
    assert_eq!(client.get("b", &json!("x")).status, 404);
}
