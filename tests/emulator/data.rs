//! What an emulator with `--data` keeps, and the command itself.

use super::client::{Client, DOCS, Endpoint};
use docferry::emulator::{Emulator, Options};
use docferry::error::ErrorKind;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

/// A `docferry emulator` on a free port; killed without mercy when dropped.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_docferry"))
            .args([
                "emulator",
                "--port",
                "0",
                "--latency-ms",
                "0",
                "--throughput",
                "10000000",
                "--json",
                "--data",
            ])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        let endpoint = told["endpoint"].as_str().unwrap();
        assert!(
            told["connection_string"]
                .as_str()
                .unwrap()
                .starts_with(&format!("AccountEndpoint={endpoint};AccountKey="))
        );
        let address = endpoint.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        Self { child, address }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Upserts one document after the other until the connection breaks; returns how many were answered.
fn write_each(address: SocketAddr, started: Sender<()>) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut client = Client::connect(address);
        for number in 0.. {
            let document = json!({"id": number.to_string(), "pk": number.to_string(), "n": number, "s": "s".repeat(500)});
            match client.try_upsert(&document) {
                Some(status) => assert_eq!(status, 201),
                None => return number,
            }
            if number == 200 {
                started.send(()).unwrap();
            }
        }
        unreachable!("it is killed before");
    })
}

#[test]
fn a_kill_loses_nothing_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    let mut client = Client::connect(process.address);
    client.call("POST", "/dbs", &[], br#"{"id":"d"}"#);
    let container = br#"{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2}}"#;
    let one = json!({"id": "other", "partitionKey": {"paths": ["/pk"]}}).to_string();
    assert_eq!(
        client.call("POST", "/dbs/d/colls", &[("x-ms-offer-throughput", "10000000")], container).status,
        201
    );
    assert_eq!(client.call("POST", "/dbs/d/colls", &[], one.as_bytes()).status, 201);
    let (started, wait) = channel();
    let writing = write_each(process.address, started);
    wait.recv().unwrap();
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    let answered = writing.join().unwrap();
    assert!(answered >= 200);

    let process = Process::start(folder.path());
    let mut client = Client::connect(process.address);
    let found = client.query("SELECT * FROM c", &[], "-1");
    let found: HashMap<&str, &Value> =
        found.iter().map(|found| (found["id"].as_str().unwrap(), found)).collect();
    for number in 0..answered {
        let document = found
            .get(number.to_string().as_str())
            .unwrap_or_else(|| panic!("{number} of {answered} is lost"));
        assert_eq!(document["n"], number);
    }
    assert!(found.len() as u64 <= answered + 1, "one was under way");
    assert_eq!(client.call("GET", "/dbs/d/colls", &[], b"").json()["_count"], 2);
}

#[test]
fn everything_is_there_again_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        Options { data: Some(folder.path().to_owned()), throughput: 1_000_000, ..Options::default() };
    let Endpoint { mut client, running, runtime } = Endpoint::start(options.clone());
    client.create_container();
    for number in 0..40 {
        client.upsert(&json!({"id": "a", "pk": number.to_string()}));
    }
    let kept = client.get("a", &json!("7")).json();
    client.upsert(&json!({"id": "b", "pk": "7"}));
    let key = [("x-ms-documentdb-partitionkey", "[\"7\"]")];
    assert_eq!(client.call("DELETE", &format!("{DOCS}/b"), &key, b"").status, 204);
    running.split("d/c", "0").unwrap();
    let mut offer = client.call("GET", "/offers", &[], b"").json()["Offers"][0].clone();
    offer["content"]["offerThroughput"] = json!(777_000);
    let path = format!("/offers/{}", offer["id"].as_str().unwrap());
    assert_eq!(client.call("PUT", &path, &[], offer.to_string().as_bytes()).status, 200);
    let (ranges, container) = (client.ranges(), client.call("GET", "/dbs/d/colls/c", &[], b"").json());
    let before = client.query("SELECT * FROM c", &[], "-1");
    runtime.block_on(running.stop());

    let mut endpoint = Endpoint::start(options.clone());
    let Endpoint { client, running, .. } = &mut endpoint;
    assert_eq!(client.get("a", &json!("7")).json(), kept);
    assert_eq!(client.get("b", &json!("7")).status, 404);
    assert_eq!(client.query("SELECT * FROM c", &[], "-1"), before);
    assert_eq!(client.call("GET", "/dbs/d/colls/c", &[], b"").json(), container);
    let ids = |ranges: &[Value]| ranges.iter().map(|range| range["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&client.ranges()), ids(&ranges));
    assert_eq!(running.ledger().containers[0].throughput, 777_000);
    // A new document has an ETag and a _rid that none had before.
    let new = client.upsert(&json!({"id": "new", "pk": "x"})).json();
    assert!(before.iter().all(|old| old["_etag"] != new["_etag"] && old["_rid"] != new["_rid"]));

    // A second emulator is kept out of the folder, and a dropped container leaves nothing in it.
    let second = runtime.block_on(Emulator::start(options));
    assert_eq!(second.err().unwrap().kind(), ErrorKind::Held);
    assert_eq!(client.call("DELETE", "/dbs/d", &[], b"").status, 204);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_is_past_leaves_the_folder_and_no_etag_comes_twice() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { data: Some(folder.path().to_owned()), throughput: 0, ..Options::default() };
    let Endpoint { mut client, running, runtime } = Endpoint::start(options.clone());
    client.create_container();
    for round in 0..20 {
        for id in ["a", "b", "c", "d"] {
            client.upsert(&json!({"id": id, "pk": id, "n": round, "s": "s".repeat(5_000)}));
        }
    }
    // The last ETag is that of a document that goes.
    let gone = client.upsert(&json!({"id": "gone", "pk": "x"})).json();
    let key = [("x-ms-documentdb-partitionkey", "[\"x\"]")];
    assert_eq!(client.call("DELETE", &format!("{DOCS}/gone"), &key, b"").status, 204);
    let before = client.query("SELECT * FROM c", &[], "-1");
    runtime.block_on(running.stop());
    let size = || -> u64 {
        let files =
            std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
        files.sum()
    };
    assert!(size() > 400_000);

    let mut endpoint = Endpoint::start(options.clone());
    assert!(size() < 30_000, "{}", size());
    assert_eq!(endpoint.client.query("SELECT * FROM c", &[], "-1"), before);
    let Endpoint { running, runtime, .. } = endpoint;
    runtime.block_on(running.stop());

    // And again, now that the log is a compacted one.
    endpoint = Endpoint::start(options);
    let client = &mut endpoint.client;
    assert_eq!(client.query("SELECT * FROM c", &[], "-1"), before);
    let new = client.upsert(&json!({"id": "gone", "pk": "x"})).json();
    for old in before.iter().chain([&gone]) {
        assert!(old["_etag"] != new["_etag"] && old["_rid"] != new["_rid"], "{new}");
    }
}

/// A client that goes on where it was must not take another container for its own.
#[test]
fn no_container_has_the_resource_id_of_an_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Options { data: Some(folder.path().to_owned()), ..Options::default() };
    let mut seen = Vec::new();
    for options in [Options::default(), Options::default(), kept.clone()] {
        let Endpoint { mut client, running, runtime } = Endpoint::start(options);
        client.create_container();
        seen.push(client.call("GET", "/dbs/d/colls/c", &[], b"").json()["_rid"].as_str().unwrap().to_owned());
        runtime.block_on(running.stop());
    }
    for _ in 0..2 {
        let Endpoint { mut client, running, runtime } = Endpoint::start(kept.clone());
        let rid = client.call("GET", "/dbs/d/colls/c", &[], b"").json()["_rid"].clone();
        assert_eq!(rid, json!(seen.last()), "the same container after a restart");
        assert_eq!(client.call("DELETE", "/dbs/d", &[], b"").status, 204);
        runtime.block_on(running.stop());
        let Endpoint { mut client, running, runtime } = Endpoint::start(kept.clone());
        client.create_container();
        seen.push(client.call("GET", "/dbs/d/colls/c", &[], b"").json()["_rid"].as_str().unwrap().to_owned());
        runtime.block_on(running.stop());
    }
    let different: HashSet<&String> = seen.iter().collect();
    assert_eq!(different.len(), 5, "{seen:?}");
}

#[test]
fn a_port_or_a_folder_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let port = process.address.port().to_string();
    let start = |flags: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_docferry")).arg("emulator").args(flags).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, told) = start(&["--port", &port]);
    assert_eq!(code, Some(78), "{told}");
    assert!(told.contains(&port) && told.contains("in use"), "{told}");
    let (code, told) = start(&["--port", "0", "--data", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(73), "{told}");
    assert!(told.contains("another emulator uses this folder"), "{told}");
}

#[test]
fn the_command_stops_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    let told = Command::new("kill").args(["-TERM", &process.child.id().to_string()]).status().unwrap();
    assert!(told.success());
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_command_says_where_it_is_and_what_it_is() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_docferry"))
        .args(["emulator", "--port", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().take(4).map(Result::unwrap);
    let told = lines.collect::<Vec<_>>().join("\n");
    child.kill().unwrap();
    child.wait().unwrap();
    for words in ["endpoint            http://127.0.0.1:", "AccountKey=C2y6", "simulator"] {
        assert!(told.contains(words), "{told}");
    }
}

/// What `docferry emulator` says before it ends with 78, with this flag.
fn refused(flag: &str, value: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_docferry"))
        .args(["emulator", "--port", "0", flag])
        .arg(value)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{told}");
    told
}

#[test]
fn a_file_of_faults_is_read_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("faults.json");
    let told = refused("--faults", &path);
    assert!(told.contains("\n  try: name a file that can be read as --faults"), "{told}");
    std::fs::write(&path, r#"{"throtle": 1}"#).unwrap();
    let told = refused("--faults", &path);
    assert!(told.contains("throtle") && told.contains("faults.json"), "{told}");
    assert!(told.contains("\n  try: correct the file that --faults names"), "{told}");
}

#[test]
fn what_cannot_be_the_folder_of_the_data_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.jsonl");
    std::fs::write(&file, "{}\n").unwrap();
    let told = refused("--data", &file);
    assert!(told.contains("it is a file, and the data lies in a folder (path: "), "{told}");
    assert!(!told.contains("os error"), "{told}");
    for told in [told, refused("--data", &file.join("below"))] {
        assert!(
            told.contains("\n  try: name a folder that can be written to, or that can be made"),
            "{told}"
        );
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"{}\n");
}

#[test]
fn a_port_that_is_taken_is_no_matter_of_settings_to_be_shown() {
    let taken = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_docferry"))
        .args(["emulator", "--port", &port])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains(&format!("(port: {port})")), "{told}");
    assert!(told.ends_with("\n  try: choose another --port; 0 takes any free one\n"), "{told}");
}
