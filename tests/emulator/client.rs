//! A client of the emulator that knows nothing of it but HTTP: one connection, requests signed by hand.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use docferry::emulator::{Emulator, Options, Running, WELL_KNOWN_KEY};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tokio::runtime::Runtime;

/// An emulator with a runtime of its own, and a client.
pub(crate) struct Endpoint {
    pub(crate) client: Client,
    pub(crate) running: Running,
    pub(crate) runtime: Runtime,
}

pub(crate) struct Client {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Of requests that are signed here; the emulator does not look at the clock.
const DATE: &str = "Sat, 21 Nov 2026 22:25:28 GMT";

impl Endpoint {
    pub(crate) fn start(options: Options) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let running = runtime.block_on(Emulator::start(options)).unwrap();
        Self { client: Client::connect(running.address()), running, runtime }
    }

    /// With a container `d/c` whose partition key is `/pk`, divided into `partitions`, that may spend so much.
    pub(crate) fn with_container(partitions: u32, throughput: u64) -> Self {
        let mut endpoint = Self::start(Options { partitions, throughput, ..Options::default() });
        endpoint.client.create_container();
        endpoint
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { address, stream: BufReader::new(stream) }
    }

    pub(crate) fn create_container(&mut self) {
        assert_eq!(self.call("POST", "/dbs", &[], br#"{"id":"d"}"#).status, 201);
        let container = br#"{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2}}"#;
        assert_eq!(self.call("POST", "/dbs/d/colls", &[], container).status, 201);
    }

    /// Sends a signed request and reads its answer.
    pub(crate) fn call(&mut self, verb: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let token = sign(verb, path);
        let signed = [headers, &[("authorization", &token), ("x-ms-date", DATE)]].concat();
        self.send(verb, path, &signed, body).expect("the connection was closed")
    }

    /// Reads what has this path by resource ids, of which only the last is signed, in lower case.
    pub(crate) fn get_by_ids(&mut self, path: &str) -> Reply {
        let (kind, link) = kind_and_link(path);
        let token = sign_link("GET", &kind, &link.rsplit('/').next().unwrap().to_lowercase());
        let signed = [("authorization", token.as_str()), ("x-ms-date", DATE)];
        self.send("GET", path, &signed, b"").expect("the connection was closed")
    }

    /// Sends a request as it is; `None` if the connection is closed instead of an answer. It is opened again then.
    pub(crate) fn send(
        &mut self,
        verb: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Reply> {
        let reply = self.send_once(verb, path, headers, body);
        if reply.is_none() {
            *self = Self::connect(self.address);
        }
        reply
    }

    fn send_once(&mut self, verb: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Reply> {
        let mut head =
            format!("{verb} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n", self.address, body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let message = [head.as_bytes(), b"\r\n", body].concat();
        self.stream.get_mut().write_all(&message).ok()?;
        self.read()
    }

    fn read(&mut self) -> Option<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut reply = Reply { status, headers, body: Vec::new() };
        let length =
            if status == 304 || status == 204 { 0 } else { reply.header("content-length").parse().unwrap() };
        reply.body.resize(length, 0);
        self.stream.read_exact(&mut reply.body).ok()?;
        Some(reply)
    }

    /// Creates or upserts a document into `d/c`.
    pub(crate) fn post(&mut self, document: &Value, headers: &[(&str, &str)]) -> Reply {
        let key = json!([document["pk"]]).to_string();
        let headers = [headers, &[("x-ms-documentdb-partitionkey", key.as_str())]].concat();
        self.call("POST", DOCS, &headers, document.to_string().as_bytes())
    }

    pub(crate) fn upsert(&mut self, document: &Value) -> Reply {
        self.post(document, &[("x-ms-documentdb-is-upsert", "True")])
    }

    /// The status of an upsert; `None` if the connection broke.
    pub(crate) fn try_upsert(&mut self, document: &Value) -> Option<u16> {
        let key = json!([document["pk"]]).to_string();
        let token = sign("POST", DOCS);
        let headers = [
            ("authorization", token.as_str()),
            ("x-ms-date", DATE),
            ("x-ms-documentdb-partitionkey", &key),
            ("x-ms-documentdb-is-upsert", "True"),
        ];
        self.send_once("POST", DOCS, &headers, document.to_string().as_bytes()).map(|reply| reply.status)
    }

    pub(crate) fn get(&mut self, id: &str, pk: &Value) -> Reply {
        let key = json!([pk]).to_string();
        self.call("GET", &format!("{DOCS}/{id}"), &[("x-ms-documentdb-partitionkey", &key)], b"")
    }

    /// Sends a batch of operations to one range, as the JavaScript client does.
    pub(crate) fn bulk(&mut self, range: &str, operations: &Value) -> Reply {
        let headers = [
            ("x-ms-cosmos-is-batch-request", "true"),
            ("x-ms-cosmos-batch-atomic", "false"),
            ("x-ms-cosmos-batch-continue-on-error", "true"),
            ("x-ms-documentdb-partitionkeyrangeid", range),
            ("prefer", "return=minimal"),
        ];
        self.call("POST", DOCS, &headers, operations.to_string().as_bytes())
    }

    /// All documents of `d/c` that a query finds in `scope`, page by page.
    pub(crate) fn query(&mut self, text: &str, scope: &[(&str, &str)], page: &str) -> Vec<Value> {
        let body = json!({ "query": text }).to_string();
        let (mut found, mut continuation) = (Vec::new(), String::new());
        loop {
            let headers = [
                scope,
                &[("x-ms-documentdb-isquery", "True"), ("content-type", "application/query+json")],
                &[("x-ms-max-item-count", page), ("x-ms-continuation", &continuation)],
            ]
            .concat();
            let reply = self.call("POST", DOCS, &headers, body.as_bytes());
            assert_eq!(reply.status, 200, "{reply:?}");
            found.extend(reply.json()["Documents"].as_array().unwrap().iter().cloned());
            continuation = reply.header("x-ms-continuation").to_owned();
            if continuation.is_empty() {
                return found;
            }
        }
    }

    /// The ranges of `d/c`.
    pub(crate) fn ranges(&mut self) -> Vec<Value> {
        let reply = self.call("GET", "/dbs/d/colls/c/pkranges", &[], b"");
        reply.json()["PartitionKeyRanges"].as_array().unwrap().clone()
    }
}

pub(crate) const DOCS: &str = "/dbs/d/colls/c/docs";

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn charge(&self) -> f64 {
        self.header("x-ms-request-charge").parse().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&self.body)))
    }

    /// Status and substatus.
    pub(crate) fn both(&self) -> (u16, &str) {
        (self.status, self.header("x-ms-substatus"))
    }
}

fn sign(verb: &str, path: &str) -> String {
    let (kind, link) = kind_and_link(path);
    sign_link(verb, &kind, &link)
}

fn kind_and_link(path: &str) -> (String, String) {
    let names: Vec<&str> = path.trim_matches('/').split('/').collect();
    let link =
        if names.len().is_multiple_of(2) { names.join("/") } else { names[..names.len() - 1].join("/") };
    let kind = names[if names.len().is_multiple_of(2) { names.len() - 2 } else { names.len() - 1 }];
    (kind.to_owned(), link)
}

fn sign_link(verb: &str, kind: &str, link: &str) -> String {
    let text = format!("{}\n{kind}\n{link}\n{}\n\n", verb.to_lowercase(), DATE.to_lowercase());
    let key = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(WELL_KNOWN_KEY).unwrap()).unwrap();
    let signature = STANDARD.encode(key.chain_update(text).finalize().into_bytes());
    let token = format!("type=master&ver=1.0&sig={signature}");
    token.replace('=', "%3D").replace('&', "%26").replace('+', "%2B").replace('/', "%2F")
}
