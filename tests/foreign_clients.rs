//! The official clients for JavaScript and Java against the local endpoint and against docferry.
//!
//! Three writers fill containers that each of the clients has made, and three readers must find there what all have written, value by value. The
//! clients' programs are in `tests/foreign`; they also lead a container through its whole life. Their packages are fetched once.

use crate::fetched::{fetched, run};
use crate::place::{Place, Ran, skip};
use docferry::emulator::{Emulator, Options, Running, WELL_KNOWN_KEY};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Documents of each writer.
const DOCUMENTS: usize = 240;

/// More than any client here spends.
const UNLIMITED: u64 = 1_000_000_000;

/// What no client needs, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(600);

/// An official client.
struct Client {
    name: &'static str,
    start: fn(&Path) -> Command,
    packages: PathBuf,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_client_and_docferry_agree() {
    match javascript() {
        Ok(client) => agree(&[client]).await,
        Err(why) => skip(&format!("no Node with npm: {why}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_java_client_agrees_with_them() {
    match (java(), javascript()) {
        (Ok(java), Ok(javascript)) => agree(&[javascript, java]).await,
        (Ok(java), Err(why)) => {
            skip(&format!("no Node with npm: {why}"));
            agree(&[java]).await;
        }
        (Err(why), _) => skip(&format!("no Java with Maven: {why}")),
    }
}

async fn agree(clients: &[Client]) {
    let options = Options { throughput: UNLIMITED, ..Options::default() };
    let endpoint = Emulator::start(options).await.unwrap();
    tokio::task::block_in_place(|| Meeting::new(endpoint).hold(clients));
}

/// Where all meet: an endpoint, and the files of what each writes.
struct Meeting {
    endpoint: Running,
    place: Place,
}

impl Meeting {
    fn new(endpoint: Running) -> Self {
        Self { endpoint, place: Place::new() }
    }

    fn hold(&self, clients: &[Client]) {
        let writers: Vec<&str> = clients.iter().map(|client| client.name).chain(["docferry"]).collect();
        let files: Vec<String> = writers.iter().map(|writer| format!("{writer}.jsonl")).collect();
        let texts: Vec<String> = writers.iter().map(|writer| documents(writer)).collect();
        for (file, text) in files.iter().zip(&texts) {
            self.place.write(file, text);
        }
        self.place.write("all.jsonl", texts.concat());
        for (at, client) in clients.iter().enumerate() {
            // The first to write into a container makes it, and each makes its own.
            let mut orders = vec![format!("exercise life-{}", client.name)];
            let earlier = clients[..=at].iter().rev();
            orders.extend(earlier.map(|made| format!("write shop {} {}.jsonl", made.name, client.name)));
            self.order(client, &orders);
        }
        for (at, client) in clients.iter().enumerate() {
            let later = clients[at + 1..].iter();
            let orders: Vec<_> =
                later.map(|made| format!("write shop {} {}.jsonl", made.name, client.name)).collect();
            self.order(client, &orders);
            self.docferry("migrate", "docferry.jsonl", &place_of(client));
        }
        for client in clients {
            let find = |made: &Client| format!("find shop {} {}", made.name, files.join(" "));
            self.order(client, &clients.iter().map(find).collect::<Vec<_>>());
            self.docferry("verify", "all.jsonl", &place_of(client));
            let copy = format!("from-{}.jsonl", client.name);
            self.docferry("migrate", &place_of(client), &copy);
            let copied = String::from_utf8(self.place.read(&copy)).unwrap();
            assert_eq!(by_id(&copied), by_id(&texts.concat()), "{copy}");
        }
    }

    /// Lets the client do all this in one process.
    fn order(&self, client: &Client, orders: &[String]) {
        if orders.is_empty() {
            return;
        }
        let mut command = (client.start)(&client.packages);
        command.args(orders.join(" then ").split(' ')).current_dir(self.place.path("."));
        command.env("COSMOS_ENDPOINT", self.endpoint.endpoint()).env("COSMOS_KEY", WELL_KNOWN_KEY);
        let ran = Ran::of(assert_cmd::Command::from_std(command).timeout(PATIENCE));
        assert_eq!(ran.code, 0, "{}, {}\n{}{}", client.name, orders.join(" then "), ran.out, ran.err);
    }

    fn docferry(&self, verb: &str, from: &str, to: &str) {
        let mut command = self.place.command();
        command.env("COSMOS_ENDPOINT", self.endpoint.endpoint()).env("COSMOS_KEY", WELL_KNOWN_KEY);
        command.args([verb, "--from", from, "--to", to]);
        if verb == "migrate" {
            // Others have written there.
            command.arg("--overwrite");
        }
        let ran = Ran::of(&mut command);
        assert_eq!(ran.code, 0, "docferry {verb} --from {from} --to {to}\n{}{}", ran.out, ran.err);
    }
}

fn place_of(made: &Client) -> String {
    format!("cosmos:{}?database=shop", made.name)
}

fn javascript() -> Result<Client, String> {
    let folder = source("js");
    let lock = fs::read(folder.join("package-lock.json")).unwrap();
    run(Command::new("node").arg("--version"))?;
    let packages = fetched(&named("foreign-js", &lock), |into| {
        for file in ["package.json", "package-lock.json"] {
            fs::copy(folder.join(file), into.join(file)).map_err(|cause| cause.to_string())?;
        }
        run(Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(into))
            .map(drop)
    })?;
    let start = |packages: &Path| {
        let mut command = polite("node");
        command.arg(source("js").join("judge.js")).env("NODE_PATH", packages.join("node_modules"));
        command
    };
    Ok(Client { name: "javascript", start, packages })
}

fn java() -> Result<Client, String> {
    let definition = source("java").join("pom.xml");
    // The program is started from its source, for which a runtime without a compiler is not enough.
    run(Command::new("javac").arg("--version"))?;
    let packages = fetched(&named("foreign-java", &fs::read(&definition).unwrap()), |into| {
        let repository = tempfile::tempdir().map_err(|cause| cause.to_string())?;
        let mut maven = Command::new("mvn");
        maven.args(["--quiet", "--batch-mode", "--file"]).arg(&definition);
        maven.arg(format!("-Dmaven.repo.local={}", repository.path().display()));
        maven.arg(format!("-DoutputDirectory={}", into.display())).arg("dependency:copy-dependencies");
        run(&mut maven).map(drop)
    })?;
    let start = |packages: &Path| {
        let mut command = polite("java");
        // It lives for seconds: what takes long to optimise is not worth it.
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]).arg(packages.join("*"));
        command.arg(source("java").join("Judge.java"));
        command
    };
    Ok(Client { name: "java", start, packages })
}

/// A command that leaves the cores to tests that measure times.
fn polite(program: &str) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "19", program]);
    command
}

fn source(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(language)
}

/// Other packages have another folder.
fn named(name: &str, packages: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    packages.hash(&mut hasher);
    format!("{name}-{:016x}", hasher.finish())
}

/// Documents with all that a careless tool changes: keys of every type and none at all, `Id` beside `id`, `$type`, names with an underscore, arrays of
/// arrays, numbers of every form.
fn documents(writer: &str) -> String {
    let numbers = ["0", "-5", "1.1", "1.10", "1e300", "123456789012", "1e-7"];
    let document = |number: usize| {
        let mut document = json!({
            "id": format!("{writer}-{number}"), "Id": number, "$type": "Shop.Order, Shop", "_custom": {"x": [[1, [2, []]], {}]},
            "text": "\"ü\" \\ \u{1f600}", "": [], "none": null, "lines": [{"a": [null, false]}, [[[]]]],
        });
        let key = match number % 7 {
            0 => json!(format!("k{}", number % 3)),
            1 => json!(number % 5),
            2 => json!(number.is_multiple_of(2)),
            3 => json!(null),
            4 => json!(-1.5),
            5 => json!("\"ü\" \u{1f600}"),
            _ => return document.to_string(),
        };
        document["pk"] = key;
        document.to_string()
    };
    (0..DOCUMENTS)
        .map(|number| {
            let document = document(number);
            let rest = document.strip_suffix('}').unwrap();
            format!("{rest},\"number\":{}}}\n", numbers[number % numbers.len()])
        })
        .collect()
}

/// Documents by their ids, with numbers as doubles.
fn by_id(lines: &str) -> BTreeMap<String, Value> {
    let documents = lines.lines().map(|line| as_doubles(serde_json::from_str(line).unwrap()));
    let all: BTreeMap<String, Value> =
        documents.map(|document| (document["id"].as_str().unwrap().to_owned(), document)).collect();
    assert_eq!(all.len(), lines.lines().count(), "each once");
    all
}

fn as_doubles(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(values) => values.into_iter().map(as_doubles).collect(),
        Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(name, value)| (name, as_doubles(value))).collect::<Map<_, _>>(),
        ),
        other => other,
    }
}
