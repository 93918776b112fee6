//! Cosmos from the command line, against local endpoints in this process.
//!
//! What arrives is judged by a script that knows HTTP and nothing of docferry; what `verify` finds is put there over HTTP.

use crate::emulator::client::{Client, Endpoint};
use crate::place::{Place, Ran, skip};
use docferry::emulator::{Options, WELL_KNOWN_KEY};
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// A folder for runs, and an endpoint for them to write to.
struct Trial {
    place: Place,
    endpoint: Endpoint,
}

fn endpoint() -> Endpoint {
    Endpoint::start(Options { throughput: 1_000_000_000, ..Options::default() })
}

impl Trial {
    fn new() -> Self {
        Self { place: Place::new(), endpoint: endpoint() }
    }

    fn target(&self, settings: &str) -> String {
        format!("cosmos://{}/shop/orders?create=true&{settings}", self.endpoint.running.address())
    }

    fn docferry(&self, line: &str) -> Ran {
        Ran::of(self.place.command().env("COSMOS_KEY", WELL_KNOWN_KEY).args(line.split(' ')))
    }

    fn succeed(&self, line: &str) -> Ran {
        let ran = self.docferry(line);
        assert_eq!(ran.code, 0, "docferry {line}\n{}{}", ran.out, ran.err);
        ran
    }

    fn client(&self) -> Client {
        Client::connect(self.endpoint.running.address())
    }

    fn documents(&self) -> u64 {
        let ledger = self.endpoint.running.ledger();
        ledger.containers.iter().flat_map(|container| &container.partitions).map(|one| one.documents).sum()
    }
}

const DOCS: &str = "/dbs/shop/colls/orders/docs";

/// Puts a document in the place of the one with its id and key.
fn put(client: &mut Client, document: &str) {
    let value: Value = serde_json::from_str(document).unwrap();
    let key = format!("[{}]", value["customer"]);
    let headers = [("x-ms-documentdb-partitionkey", key.as_str()), ("x-ms-documentdb-is-upsert", "True")];
    let reply = client.call("POST", DOCS, &headers, document.as_bytes());
    assert!((200..300).contains(&reply.status), "{reply:?}");
}

fn delete(client: &mut Client, id: &str, customer: &str) {
    let key = format!("[{customer:?}]");
    let headers = [("x-ms-documentdb-partitionkey", key.as_str())];
    assert_eq!(client.call("DELETE", &format!("{DOCS}/{id}"), &headers, b"").status, 204);
}

#[test]
fn documents_arrive_unchanged_and_one_that_is_too_large_harms_no_other() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
        return skip("there is no python3");
    }
    let trial = Trial::new();
    let sized = |id: &str, bytes: usize| format!(r#"{{"id":"{id}","k":8,"p":"{}"}}"#, "x".repeat(bytes));
    let mut lines = [
        r#"{"id":"n1","k":7,"total":1.10}"#,
        r#"{"id":"n2","k":7.5}"#,
        r#"{"id":"n3","k":-1e-7}"#,
        r#"{"id":"n4","k":9007199254740992}"#,
        r#"{"id":"s1","k":"7"}"#,
        r#"{"id":"s2","k":"\u00e9\"\\ \ud83d\ude00"}"#,
        r#"{"id":"s3","k":"é 😀","k2":"a\/b\u0041\n\u0000"}"#,
        r#"{"id":"b1","k":true}"#,
        r#"{"id":"b2","k":false}"#,
        r#"{"id":"z1","k":null}"#,
        r#"{"id":"u1"}"#,
        r#"{"id":"f1","k":1,"Id":"I","ID":3,"iD":null,"$type":"Order, Shop","_custom":{"_ts":1,"_rid":"x"},"_id":"mongo"}"#,
        r#"{"id":"f2","k":1,"m":[[1,[2,[]]],[[]],[{"a":[{}]}]],"z":1,"a":2,"":0}"#,
        r#"{"id":"f3","k":1,"d":1,"e":{"x":1,"x":2},"d":"last"}"#,
        r#"{"id":"f4","k":1,"n":[0.1,-1.5,1e-7,1.7976931348623157e308,5e-324,-0.0,123456789012345,2100.607537417505]}"#,
        r#"{"id":"f5","k":1,"when":"2024-01-01T00:00:00.0000000Z","sp":" \t padded ","big":"9007199254740993"}"#,
        r#"{ "id" : "f6" , "k" : 1 , "white" : [ 1 , 2 ] }"#,
    ]
    .map(str::to_owned)
    .to_vec();
    lines.push(sized("one-megabyte", 1_000_000));
    lines.push(sized("as-much-as-fits", 2 * 1024 * 1024 - sized("as-much-as-fits", 0).len()));
    let expected = lines.join("\n");
    trial.place.write("expected.jsonl", &expected);
    let large = sized("one-byte-more", 2 * 1024 * 1024 - sized("one-byte-more", 0).len() + 1);
    trial.place.write("in.jsonl", format!("{large}\n{expected}\n"));

    let ends = format!("--from in.jsonl --to {} --job j", trial.target("partition_key=/k"));
    let ran = trial.docferry(&format!("migrate {ends}"));
    assert_eq!(ran.code, 65, "{}", ran.err);
    assert_eq!(trial.documents(), 19, "{}", ran.err);
    let rejects = trial.docferry("rejects list j").out;
    assert!(rejects.contains("too large: Cosmos takes 2097152 bytes"), "{rejects}");
    assert!(rejects.contains("in.jsonl, line 1, byte 0: target: too large"), "{rejects}");

    let judge = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/cosmos_documents.py");
    let address = trial.endpoint.running.address().to_string();
    let judged = Command::new("python3")
        .arg(judge)
        .args([&address, "shop", "orders", "k"])
        .arg(trial.place.path("expected.jsonl"))
        .env("COSMOS_KEY", WELL_KNOWN_KEY)
        .output()
        .unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&[judged.stdout, judged.stderr].concat()));
    assert_eq!(trial.docferry(&format!("verify {ends}")).code, 0);
}

#[test]
fn verify_finds_what_was_changed_lost_added_and_swapped() {
    let trial = Trial::new();
    let line = |id: usize, customer: usize, total: &str| {
        format!(r#"{{"id":"o-{id}","customer":"c{customer}","total":{total},"by":"n{id}-{customer}"}}"#)
    };
    let mut lines: Vec<String> = (0..200).map(|id| line(id, id % 17, "1.50")).collect();
    // One id in several logical partitions: each is a document of its own.
    lines.extend((20..23).map(|customer| line(1, customer, "2.50e0")));
    trial.place.write("in.jsonl", lines.join("\n"));
    let ends = format!("--from in.jsonl --to {} --job j", trial.target("partition_key=/customer"));
    trial.succeed(&format!("migrate {ends}"));
    assert_eq!(trial.documents(), 203);
    let verify = || trial.docferry(&format!("verify {ends}")).code;
    assert_eq!(verify(), 0);

    let mut client = trial.client();
    let swap = |one: &str, other: &str| {
        let by = |text: &str| text.split("\"by\":").nth(1).unwrap().to_owned();
        let [of_one, of_other] = [by(one), by(other)];
        [one.replace(&of_one, &of_other), other.replace(&of_other, &of_one)]
    };
    let changed = vec![lines[5].replace("1.50", "1.51")];
    let as_text = vec![lines[5].replace("1.50", "\"1.50\"")];
    let more_fields = vec![lines[5].replace("\"by\"", "\"more\":null,\"by\"")];
    let swapped = swap(&lines[3], &lines[4]).to_vec();
    let swapped_between_keys = swap(&lines[200], &lines[201]).to_vec();
    for damage in [changed, as_text, more_fields, swapped, swapped_between_keys] {
        damage.iter().for_each(|document| put(&mut client, document));
        assert_eq!(verify(), 65, "{damage:?}");
        lines.iter().for_each(|document| put(&mut client, document));
        assert_eq!(verify(), 0, "mended: {damage:?}");
    }
    delete(&mut client, "o-1", "c21");
    assert_eq!(verify(), 65, "one is missing");
    put(&mut client, &line(1, 24, "2.5"));
    assert_eq!(verify(), 65, "one is missing, and one of the same id too many");
    put(&mut client, &lines[201]);
    assert_eq!(verify(), 65, "one too many");
    delete(&mut client, "o-1", "c24");
    // Another text of the same value is no difference.
    put(&mut client, r#"{"id":"o-0","customer":"c0","total":15e-1,"by":"n0\u002d0"}"#);
    assert_eq!(verify(), 0);
}

#[test]
fn verify_knows_what_became_of_a_lossy_number() {
    for (setting, altered) in [("keep", "9007199254740994"), ("string", "\"9007199254740992\"")] {
        let trial = Trial::new();
        let lines = [
            r#"{"id":"a","customer":"c","v":9007199254740993,"w":[1.10]}"#,
            r#"{"id":"b","customer":"c","v":1}"#,
        ];
        trial.place.write("in.jsonl", lines.join("\n"));
        let target = trial.target(&format!("partition_key=/customer&on_lossy_number={setting}"));
        let ends = format!("--from in.jsonl --to {target} --job j");
        trial.succeed(&format!("migrate {ends}"));
        trial.succeed(&format!("verify {ends}"));
        put(&mut trial.client(), &lines[0].replace("9007199254740993", altered));
        assert_eq!(trial.docferry(&format!("verify {ends}")).code, 65, "{setting}");
    }
}

#[test]
fn an_id_from_a_hash_is_the_same_in_every_run() {
    let trial = Trial::new();
    let lines: Vec<String> =
        (0..60).map(|number| format!(r#"{{"country":"DE","number":{number},"customer":"c"}}"#)).collect();
    let address = trial.endpoint.running.address();
    let strategy = |rule: &str| {
        format!(
            "[source]\nuri = \"in.jsonl\"\n[id]\n{rule}\n[target]\nconnector = \"cosmos\"\nendpoint = \"{address}\"\ndatabase = \"shop\"\ncontainer = \"orders\"\npartition_key = \"/customer\"\ncreate = true\n"
        )
    };
    trial.place.write("s.toml", strategy("hash = [\"country\", \"number\"]"));
    // In another order, in other spellings: the same ids.
    trial.place.write("in.jsonl", lines.join("\n"));
    trial.succeed("migrate --strategy s.toml --job first");
    let reversed: Vec<String> =
        lines.iter().rev().map(|line| line.replace("\"DE\"", "\"\\u0044E\"").replace(',', " , ")).collect();
    trial.place.write("in.jsonl", reversed.join("\n"));
    trial.succeed("migrate --strategy s.toml --job second --overwrite");
    assert_eq!(trial.documents(), 60);
    trial.succeed("verify --strategy s.toml --job second");

    // Another id that is there already is a reject, not a loss.
    trial.place.write("in.jsonl", r#"{"id":"mine","country":"FR","number":1,"customer":"c"}"#);
    let ran = trial.docferry("migrate --strategy s.toml --job third --overwrite");
    assert_eq!(ran.code, 65, "{}", ran.err);
    let rejects = trial.docferry("rejects list third").out;
    assert!(rejects.contains("the document has another \"id\" already"), "{rejects}");
    assert_eq!(trial.documents(), 60);
}

#[test]
fn a_strategy_and_a_variable_that_differ_are_refused_and_a_flag_wins() {
    let trial = Trial::new();
    let address = trial.endpoint.running.address();
    trial.place.write("in.jsonl", r#"{"id":"a","customer":"c"}"#);
    trial.place.write(
        "s.toml",
        format!(
            "[source]\nuri = \"in.jsonl\"\n[target]\nuri = \"cosmos://{address}/shop/orders?create=true\"\n"
        ),
    );
    let run = |line: &str| {
        let mut command = trial.place.command();
        command.env("COSMOS_KEY", WELL_KNOWN_KEY).env("COSMOS_ENDPOINT", "https://stale.documents.azure.com");
        Ran::of(command.args(line.split(' ')))
    };
    let refused = run("migrate --strategy s.toml");
    assert_eq!(refused.code, 78, "{}", refused.err);
    let both = format!("is {address}, but environment COSMOS_ENDPOINT names stale.documents.azure.com");
    assert!(refused.err.contains(&both), "{}", refused.err);
    assert_eq!(trial.documents(), 0);
    let won = run(&format!("migrate --from in.jsonl --to cosmos://{address}/shop/orders?create=true"));
    assert_eq!(won.code, 0, "{}", won.err);
    assert_eq!(trial.documents(), 1);
}

#[test]
fn an_account_that_does_not_answer_is_named_with_the_reason() {
    let trial = Trial::new();
    trial.place.write("one.jsonl", r#"{"id":"a","customer":"b"}"#);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Whoever calls is hung up on.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let ran = trial.docferry(&format!("migrate --from one.jsonl --to cosmos://{address}/shop/orders"));
    assert_eq!(ran.code, 75, "{}", ran.err);
    assert!(ran.err.contains("connecting to Cosmos: no answer: "), "{}", ran.err);
    assert!(ran.err.contains(&format!("endpoint: http://{address}/")), "{}", ran.err);
    assert!(!ran.err.contains("AccountProperties"), "{}", ran.err);
}

#[test]
fn two_accounts_take_part_in_one_run_and_a_container_never_on_both_sides() {
    let (trial, other) = (Trial::new(), endpoint());
    let lines: Vec<String> =
        (0..300).map(|id| format!(r#"{{"id":"o-{id}","customer":"c{}","n":{id}}}"#, id % 7)).collect();
    trial.place.write("in.jsonl", lines.join("\n"));
    let here = trial.target("partition_key=/customer");
    trial.succeed(&format!("migrate --from in.jsonl --to {here} --job fill"));

    // The same names at both ends: only the account tells them apart, and resource ids are equal here.
    trial.place.write(
        "s.toml",
        "[source]\nconnector = \"cosmos\"\ndatabase = \"shop\"\ncontainer = \"orders\"\n[target]\nconnector = \"cosmos\"\ndatabase = \"shop\"\ncontainer = \"orders\"\npartition_key = \"/customer\"\ncreate = true\n",
    );
    let run = |line: &str, source: String, target: String| {
        let mut command = trial.place.command();
        command.env("SOURCE_COSMOS_ENDPOINT", source).env("SOURCE_COSMOS_KEY", WELL_KNOWN_KEY);
        command.env("TARGET_COSMOS_CONNECTION_STRING", target).env("COSMOS_ENDPOINT", "http://127.0.0.1:9");
        Ran::of(command.args(line.split(' ')))
    };
    let source = trial.endpoint.running.endpoint();
    for command in ["migrate", "verify"] {
        let ran =
            run(&format!("{command} --strategy s.toml"), source.clone(), other.running.connection_string());
        assert_eq!(ran.code, 0, "{command}: {}{}", ran.out, ran.err);
    }
    let ledger = other.running.ledger();
    assert_eq!(ledger.containers[0].partitions.iter().map(|one| one.documents).sum::<u64>(), 300);

    let port = trial.endpoint.running.address().port();
    let spelled = source.replace("127.0.0.1", "localhost");
    let refused =
        run("migrate --strategy s.toml --job same", spelled, trial.endpoint.running.connection_string());
    assert_eq!(refused.code, 78, "{}", refused.err);
    assert!(refused.err.contains("source and target are the same"), "{}", refused.err);
    let refused = trial.docferry(&format!(
        "migrate --from cosmos://127.0.0.1:{port}/shop/orders --to {here} --job once-more --overwrite"
    ));
    assert_eq!(refused.code, 78, "{}", refused.err);
    assert!(refused.err.contains("source and target are the same"), "{}", refused.err);
    assert_eq!(trial.documents(), 300);
}
