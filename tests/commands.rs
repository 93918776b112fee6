//! What the commands print, and that it is printed where it belongs: data on standard output, all else on standard error.

use crate::place::{Place, Ran, orders};
use docferry::config::asked::{Asked, Given};
use docferry::config::environment::Environment;
use docferry::config::resolve;
use std::collections::BTreeSet;

#[test]
fn lists_name_what_is_built_in() {
    let place = Place::new();
    insta::assert_snapshot!(place.succeed("list strategies").out, @r#"
    quickstart         bundled sample of service orders to a local Azure Cosmos DB simulator, and verified there
    quickstart-sqlite  bundled sample of service orders to SQLite, to see docferry at work
    movies-to-sqlite   vega's movies data set (a JSON array) to SQLite
    movies-to-jsonl    vega's movies data set (a JSON array) to one document a line
    flights-to-sqlite  vega's flights data set (a JSON array) to SQLite
    flights-to-jsonl   vega's flights data set (a JSON array) to one document a line
    "#);
    insta::assert_snapshot!(place.succeed("list profiles").out, @r#"
    conservative  5 000 documents/s within 60% CPU and 70% memory; for machines and databases with other users
    balanced      10 000 documents/s within 70% CPU and 75% memory; the default
    aggressive    20 000 documents/s within 80% CPU and 85% memory; for a machine that has nothing else to do
    "#);
    insta::assert_snapshot!(place.succeed("list presets").out, @r#"
    development  few workers, half the memory, profile conservative; the machine stays usable
    testing      the same small pools and batches on every machine, profile aggressive; for runs to compare
    production   as built in, with up to 64 workers where cores allow
    "#);
    insta::assert_snapshot!(place.succeed("list policies").out, @r#"
    hybrid            all who propose moves are heard, and where they disagree their evidence is weighed; the default
    workload-based    as hybrid, and the GPU has no word in it; its ceiling holds
    gpu-memory-based  transformers are sized by the GPU's memory alone, batches as large as pays; the rest as hybrid
    conservative      as hybrid, with the profile conservative
    aggressive        as hybrid, with the profile aggressive
    "#);
    insta::assert_snapshot!(place.succeed("list transforms").out, @r#"
    rename   gives fields other names: rename = { old = "new" }
    remove   takes fields away: remove = ["a", "b"]
    keep     takes every other field away: keep = ["a", "b"]
    set      sets fields to constants or templates: set = { label = "{city}-{status}" }
    cast     changes types: cast = { quantity = "integer" } (integer, number, boolean, text)
    filter   keeps documents for which an expression holds: filter = "status != 'cancelled'"
    default  fills fields that are missing or null: default = { priority = "low" }
    "#);
    let connectors = place.succeed("list connectors --json").out;
    let connectors: serde_json::Value = serde_json::from_str(&connectors).unwrap();
    let names: Vec<_> =
        connectors.as_array().unwrap().iter().map(|each| each["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["file", "sqlite", "cosmos", "memory", "null"]);
}

#[test]
fn help_names_every_command() {
    insta::assert_snapshot!(Place::new().succeed("--help").out, @r#"
    Ferries millions of JSON documents between files and databases: tuned while it runs, killable at any
    moment, resumable, verifiable afterwards

    Usage: docferry [OPTIONS] <COMMAND>

    Commands:
      migrate      Move documents from a source to a target
      verify       Compare the target with what the source should have made of it, by count and content
      show         Print every setting of a job with where its value came from
      list         List what is built in
      init         Write a commented strategy file to start from
      jobs         List past, unfinished and running jobs
      rejects      Look at documents that were refused
      emulator     Run a local Azure Cosmos DB endpoint, a simulator for trials and tests
      simulate     Try the tuner and its rivals on simulated targets
      completions  Print a completion script for a shell
      help         Print this message or the help of the given subcommand(s)

    Options:
          --state <DIR>  Folder in which jobs are kept [default: .docferry]
          --json         Output for programs: events as JSON lines on standard error, lists as JSON
      -v, --verbose      Also print decisions, samples and checkpoints
      -q, --quiet        Print failures only
      -h, --help         Print help
      -V, --version      Print version

    First steps:
      docferry migrate --strategy quickstart
      docferry migrate --from "orders/*.jsonl.gz" --to "sqlite:orders.db?table=orders"
      docferry init my-migration

    Every long flag has an environment twin: --max-rejects is DOCFERRY_MAX_REJECTS.

    Exit codes: 0 done, 64 usage, 65 rejects, damaged input or differences, 70 defect, 73 job held by
    another run,
    75 temporary (run again with --resume), 78 configuration, 130 and 143 interrupted (resumable).
    "#);
}

/// What `show` prints of a job, the settings of the tuner or all others. Each layer wins somewhere; what is remembered has a test of its own.
fn shown(is_scaling: bool) -> String {
    let place = Place::new();
    let mut command = place.command();
    // What depends on the number of cores is fixed.
    command.args("show --strategy quickstart-sqlite --transformers 3 --readers 2".split(' '));
    command.args(["--scaling-preset", "development", "--cold-start"]);
    command.env("AUTO_SCALING_MIN_WORKERS", "1").env("AUTO_SCALING_STRATEGY", "workload-based");
    let out = Ran::of(command.env("DOCFERRY_MAX_RATE", "500")).out;
    let lines: Vec<&str> = out.lines().filter(|line| line.starts_with("scaling.") == is_scaling).collect();
    lines.join("\n")
}

#[test]
fn show_prints_every_setting_with_its_origin() {
    insta::assert_snapshot!(shown(false), @r#"
    id.existing = "reject"                              (built-in)
    id.into = "id"                                      (built-in)
    job = "quickstart-sqlite"                           (built-in)
    run.auto_scaling = true                             (built-in)
    run.batch_documents = 2000                          (built-in)
    run.checkpoint_interval_ms = 1000                   (built-in)
    run.credits = "16 MiB"                              (preset development)
    run.max_document = 16777216                         (built-in)
    run.max_rate = 500                                  (environment DOCFERRY_MAX_RATE)
    run.max_rejects = 0                                 (built-in)
    run.profile = "conservative"                        (preset development)
    run.readers = 2                                     (flag --readers)
    run.request_documents = 10000                       (built-in)
    run.requests_in_flight = 8                          (built-in)
    run.transformers = 3                                (flag --transformers)
    run.verify = false                                  (built-in)
    source.compression = "auto"                         (built-in)
    source.connector = "file"                           (strategies/quickstart-sqlite.toml:9:1)
    source.duplicates = "unordered"                     (built-in)
    source.format = "auto"                              (built-in)
    source.path = "bundled:service_orders.jsonl.zst"    (strategies/quickstart-sqlite.toml:10:1)
    state = ".docferry"                                 (built-in)
    target.columns = ["orderNumber", "status", "priority", "total"]    (strategies/quickstart-sqlite.toml:24:1)
    target.connector = "sqlite"                         (strategies/quickstart-sqlite.toml:21:1)
    target.id_field = "id"                              (built-in)
    target.path = "quickstart.db"                       (strategies/quickstart-sqlite.toml:22:1)
    target.synchronous = "normal"                       (built-in)
    target.table = "service_orders"                     (strategies/quickstart-sqlite.toml:23:1)
    "#);
}

#[test]
fn show_prints_every_setting_of_the_tuner_with_its_origin() {
    insta::assert_snapshot!(shown(true), @r#"
    scaling.batch_step = 1.6                            (profile conservative)
    scaling.check_interval = 5 s                        (profile conservative)
    scaling.cold_start = true                           (flag --cold-start)
    scaling.confidence = 0.95                           (profile conservative)
    scaling.cooldown = 60 s                             (profile conservative)
    scaling.cpu_scale_down_threshold = 40%              (profile conservative)
    scaling.cpu_scale_up_threshold = 50%                (profile conservative)
    scaling.direction_limit = 6                         (profile conservative)
    scaling.latency_target = "off"                      (profile conservative)
    scaling.max_batch_size = 10000                      (preset development)
    scaling.max_requests_in_flight = 32                 (preset development)
    scaling.max_workers = 4                             (preset development)
    scaling.memory_scale_down_threshold = 50%           (profile conservative)
    scaling.memory_scale_up_threshold = 60%             (profile conservative)
    scaling.min_batch_size = 2000                       (built-in)
    scaling.min_workers = 1                             (environment AUTO_SCALING_MIN_WORKERS)
    scaling.policy = "workload-based"                   (environment AUTO_SCALING_STRATEGY)
    scaling.preset = "development"                      (flag --scaling-preset)
    scaling.search_step = 1.5                           (profile conservative)
    scaling.settled_step = 1.2                          (profile conservative)
    scaling.smoothing = 0.3                             (profile conservative)
    scaling.step_workers = 8                            (profile conservative)
    scaling.stop_at_target = false                      (built-in)
    scaling.target_cpu_usage = 60%                      (profile conservative)
    scaling.target_docs_per_second = 5000               (profile conservative)
    scaling.target_error_rate = 1%                      (profile conservative)
    scaling.target_gpu_memory_usage = 70%               (profile conservative)
    scaling.target_memory_usage = 70%                   (profile conservative)
    scaling.worth = 0.15                                (profile conservative)
    "#);
}

/// What a run has left is where the next of its shape begins, unless it is told not to.
#[test]
fn a_run_begins_with_what_an_earlier_one_came_to() {
    let place = Place::new();
    let ends = "--from null:?documents=3 --to null:";
    let [from, to] = ["null:?documents=3", "null:"].map(|uri| Some(Given::flag("uri", uri)));
    let cores = std::thread::available_parallelism().unwrap().get();
    let environment = Environment::of(&[], cores).with_memory(docferry::run::memory_limit);
    let job = resolve(&Asked { from, to, ..Asked::default() }, &environment).unwrap();
    let file = job.memory.path().to_str().unwrap();
    job_file(
        &place,
        file,
        r#"{"version":1,"about":"","run":"r","knobs":{"readers":9,"requests_in_flight":9999,"batch_documents":5000}}"#,
    );

    let shown = place.succeed(&format!("show {ends} --batch-documents 7")).out;
    for (line, origin) in [
        ("run.readers = 9 ", format!("(remembered in {file})")),
        ("run.requests_in_flight = 512 ", format!("(remembered in {file})")),
        ("run.batch_documents = 7 ", "(flag --batch-documents)".to_owned()),
    ] {
        assert!(
            shown.lines().any(|shown| shown.starts_with(line) && shown.ends_with(&origin)),
            "{line}: {shown}"
        );
    }
    let note = "note: beginning with the knobs of the last run of this shape: readers 9, requests_in_flight 512, batch_documents 5 000; --cold-start begins low\n";
    let ran = place.succeed(&format!("migrate {ends}"));
    assert!(ran.err.contains(note), "{}", ran.err);
    assert!(
        ran.row("tuner")
            .ends_with("pools 9/{}/512 at the end".replace("{}", &4.min(cores).to_string()).as_str()),
        "{}",
        ran.err
    );
    let cold = place.succeed(&format!("migrate {ends} --cold-start")).err;
    assert!(!cold.contains("note: beginning"), "{cold}");
    let fixed = place.succeed(&format!("migrate {ends} --no-auto-scaling")).err;
    assert!(!fixed.contains("note: beginning"), "{fixed}");

    job_file(&place, file, "{\"version\":1,");
    let damaged = place.succeed(&format!("migrate {ends}")).err;
    assert!(damaged.contains(&format!("warning: {file} is damaged (")), "{damaged}");
    assert_eq!(place.read(file), b"{\"version\":1,", "a run of no time has learned nothing");
}

fn job_file(place: &Place, file: &str, text: &str) {
    std::fs::create_dir_all(place.path(file).parent().unwrap()).unwrap();
    place.write(file, text);
}

#[test]
fn jobs_tell_what_became_of_each() {
    let place = Place::new();
    assert_eq!(place.succeed("jobs").out, "no jobs in .docferry\n");
    place.write("in.jsonl", orders(3) + "{\n");
    place.succeed("migrate --job third --from in.jsonl --to out.jsonl --max-rejects 1");
    let jobs = place.succeed("jobs").out;
    assert!(jobs.starts_with("third  finished    4 documents, 1 rejected "), "{jobs}");
    let job: serde_json::Value = serde_json::from_str(&place.succeed("jobs third --json").out).unwrap();
    assert_eq!((job["standing"].as_str(), job["counters"]["written"].as_u64()), (Some("finished"), Some(3)));
}

#[test]
fn one_is_no_plural() {
    let place = Place::new();
    place.write("in.jsonl", "{\"id\":\"1\",\"a\":1,\"a\":2}\n");
    let to = "--from in.jsonl --to sqlite:out.db --job one";
    let mut told = place.succeed(&format!("migrate {to}")).err;
    told += &place.succeed(&format!("migrate {to} --restart")).err;
    told += &place.succeed(&format!("migrate {to}")).err;
    place.write("more.jsonl", place.read("in.jsonl").repeat(2));
    told += &place.succeed("migrate --from more.jsonl --to more.out.jsonl --limit 1").err;
    told += &place.succeed("migrate --from more.jsonl --to more.out.jsonl --resume").err;
    told += &place.succeed(&format!("verify {to}")).out;
    told += &place.succeed("jobs").out;
    told += &place.succeed("jobs one").out;
    place.write("bad.jsonl", "{\n");
    told += &place.docferry("migrate --from bad.jsonl --to bad.out.jsonl --job bad").err;
    told += &place.docferry("rejects list bad").out;
    // A rate is no count: `1 documents/s`.
    let counts = told.replace("documents/s", "rate").replace("documents per", "rate");
    let is_wrong = |words: &[&str]| {
        words[0].trim_start_matches('(') == "1" && words[1].trim_end_matches([',', ';']).ends_with('s')
    };
    for line in counts.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(!words.windows(2).any(is_wrong), "{line}");
    }
    for said in
        ["1 document holds a key twice", "1 document is done", "1 reject in", "had finished with 1 document;"]
    {
        assert!(counts.contains(said), "no {said:?} in {counts}");
    }
}

#[test]
fn events_are_json_lines_with_names_that_stay() {
    const NAMES: [&str; 13] = [
        "started",
        "progress",
        "partition_finished",
        "rejected",
        "retrying",
        "decision",
        "sampled",
        "gpus",
        "checkpoint_saved",
        "warning",
        "stopping",
        "finished",
        "error",
    ];
    let place = Place::new();
    place.write("in.jsonl", orders(100) + "{\n");
    let ran = place.docferry("migrate --from in.jsonl --to out.jsonl --json");
    assert_eq!(ran.code, 65);
    let event = |line: &str| -> serde_json::Value {
        serde_json::from_str(line).unwrap_or_else(|cause| panic!("{cause}: {line}"))
    };
    let names: BTreeSet<String> =
        ran.err.lines().map(|line| event(line)["event"].as_str().unwrap().to_owned()).collect();
    assert!(names.iter().all(|name| NAMES.contains(&name.as_str())), "{names:?}");
    for name in ["started", "progress", "rejected", "checkpoint_saved", "finished"] {
        assert!(names.contains(name), "no {name} in {names:?}");
    }
    let kept = String::from_utf8(place.read(".docferry/jobs/file-out.jsonl/events.jsonl")).unwrap();
    assert_eq!(event(kept.lines().next().unwrap())["event"], "started");
}

#[test]
fn a_pipe_goes_through() {
    let place = Place::new();
    let mut command = place.command();
    command.args(["migrate", "--from", "-", "--to", "-"]).write_stdin(orders(5_000));
    let ran = Ran::of(&mut command);
    assert_eq!((ran.code, ran.out), (0, orders(5_000)), "{}", ran.err);
}

#[test]
fn the_sample_goes_to_sqlite_too() {
    let place = Place::new();
    let ran = place.succeed("migrate --strategy quickstart-sqlite");
    assert_eq!(ran.out, "");
    assert!(ran.row("written").starts_with("5 000, "), "{}", ran.err);
    let rows: u32 = place
        .database("quickstart.db")
        .query_row("SELECT count(DISTINCT id) FROM service_orders", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 5_000);
    place.succeed("verify --strategy quickstart-sqlite");
}

/// Commands that are printed are pasted: a shell finds in them the very words that were meant.
#[cfg(unix)]
#[test]
fn what_is_printed_to_be_pasted_survives_a_shell() {
    let place = Place::new();
    let name = "it's a $HOME `test`";
    let said = Ran::of(place.command().args(["init", name])).out;
    let commands = said.lines().filter_map(|line| line.split_once(": docferry ").map(|(_, command)| command));
    let text = String::from_utf8(place.read(&format!("{name}.toml"))).unwrap();
    let in_file = text.lines().filter_map(|line| line.strip_prefix("#   docferry "));
    let in_file = in_file.map(|line| line.split("     ").next().unwrap());
    let commands: Vec<&str> = commands.chain(in_file).collect();
    assert_eq!(commands.len(), 5, "{said}{text}");
    for command in commands {
        assert_eq!(shell_words(command).last(), Some(&format!("{name}.toml")), "{command}");
    }

    place.write("in.jsonl", orders(3) + "{\n");
    let ran = Ran::of(place.command().args(["migrate", "--from", "in.jsonl", "--state", "my state"]).args([
        "--to",
        "sqlite:it's.db?table=a'b",
        "--job",
        "job",
    ]));
    let look = shell_words(ran.row("look at it"));
    assert_eq!(look, ["sqlite3", "it's.db", "SELECT id FROM \"a'b\" LIMIT 5"]);
    let remedy = ran.err.lines().last().unwrap().split('`').nth(1).unwrap();
    let words = shell_words(remedy);
    let again = Ran::of(place.command().args(&words[1..]));
    assert!(again.out.starts_with("job job: "), "{remedy}: {}{}", again.out, again.err);
    assert!(Ran::of(place.command().args(["init", "a\nb"])).code == 64);
}

/// The words that a shell makes of a command.
#[cfg(unix)]
fn shell_words(command: &str) -> Vec<String> {
    let script = format!("printf '%s\\0' {command}");
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn an_id_that_is_made_is_the_last_field() {
    for (name, variable) in [("movies", "MOVIES"), ("flights", "FLIGHTS")] {
        let place = Place::new();
        place.write("in.json", "[\n{\"a\": 1.10, \"b\":\"x\"},\n{\"id\":null,\"a\":2}\n]\n");
        let mut command = place.command();
        command.args(["migrate", "--strategy", &format!("{name}-to-jsonl")]);
        let ran = Ran::of(command.env(variable, "in.json").env("TARGET", "out.jsonl"));
        assert_eq!(ran.code, 0, "{}", ran.err);
        let written = String::from_utf8(place.read("out.jsonl")).unwrap();
        let expected = "{\"a\": 1.10, \"b\":\"x\",\"id\":\"in.json@2\"}\n{\"id\":\"in.json@24\",\"a\":2}\n";
        assert_eq!(written, expected);
    }
}

#[test]
fn shells_get_their_completions() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.succeed(&format!("completions {shell}")).out;
        assert!(script.contains("docferry") && script.contains("migrate"), "{shell}");
        assert!(script.contains("gpu-memory-based"), "{shell}");
    }
}

/// A job that wrote nothing has nothing that it may replace later.
#[test]
fn what_was_put_in_the_place_of_an_empty_target_is_not_overwritten() {
    for (target, file) in
        [("out.jsonl", "out.jsonl"), ("parts", "parts/part-00000.jsonl"), ("parts", "parts/part-00007.jsonl")]
    {
        for source in ["", "not a document\n"] {
            let place = Place::new();
            place.write("in.jsonl", source);
            place.succeed(&format!("migrate --from in.jsonl --to {target} --max-rejects 1"));
            place.write(file, "precious\n");
            for flag in ["", " --restart"] {
                let ran =
                    place.docferry(&format!("migrate --from in.jsonl --to {target} --max-rejects 1{flag}"));
                assert_eq!(ran.code, 78, "{file}: {}", ran.err);
                assert!(ran.err.contains("no record of this job names it as it is"), "{}", ran.err);
                assert_eq!(place.read(file), b"precious\n", "{file}");
            }
        }
    }
}

/// With ids made of positions it would read its own rows again, and write each once more.
#[test]
fn a_table_is_not_written_onto_itself() {
    let place = Place::new();
    let table = "CREATE TABLE t (id TEXT PRIMARY KEY, document TEXT)";
    for is_known in [false, true] {
        let path = if is_known { "known.db" } else { "new.db" };
        if is_known {
            place.write("in.jsonl", orders(5));
            place.succeed(&format!("migrate --from in.jsonl --to sqlite:{path}?table=t"));
        } else {
            place.database(path).execute_batch(table).unwrap();
        }
        let mut others = vec![format!("{path}?table=t"), format!("./{path}?table=T")];
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(place.path(path), place.path(format!("link-{path}"))).unwrap();
            others.push(format!("link-{path}?table=t"));
        }
        for other in others {
            for (from, to) in
                [(format!("{path}?table=t"), &other), (other.clone(), &format!("{path}?table=t"))]
            {
                let ran = place.docferry(&format!(
                    "migrate --job itself --overwrite --from sqlite:{from} --to sqlite:{to}"
                ));
                assert_eq!(ran.code, 78, "{from} {to}: {}", ran.err);
                assert!(ran.err.contains("source and target are the same"), "{}", ran.err);
            }
        }
        // Another table of the same file is another target.
        place.succeed(&format!(
            "migrate --job itself --from sqlite:{path}?table=t --to sqlite:{path}?table=u --restart"
        ));
    }
}
