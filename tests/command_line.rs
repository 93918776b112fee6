//! The command line from outside: what is printed where, and with which code it ends.

use assert_cmd::Command;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The command in a folder of its own, with none of the variables of whoever runs the tests.
fn docferry(folder: &Path, line: &str) -> Command {
    let mut command = Command::cargo_bin("docferry").unwrap();
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| {
        name.to_string_lossy().contains("DOCFERRY_") || name.to_string_lossy().contains("AUTO_SCALING_")
    }) {
        command.env_remove(name);
    }
    command.current_dir(folder).args(line.split(' ')).timeout(Duration::from_secs(60));
    command
}

fn ended(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_variable_of_a_switch_says_yes_or_no() {
    let folder = tempfile::tempdir().unwrap();
    let shown = |variable: &str, value: &str| {
        let mut command = docferry(folder.path(), "show --from null: --to null:");
        let (code, stdout, stderr) = ended(command.env(variable, value));
        let line = stdout.lines().find(|line| line.contains("run.auto_scaling ")).unwrap_or_default();
        (code, line.split_whitespace().collect::<Vec<_>>().join(" "), stderr)
    };
    let off = "run.auto_scaling = false (environment DOCFERRY_AUTO_SCALING)";
    assert_eq!(shown("DOCFERRY_AUTO_SCALING", "False").1, off);
    assert_eq!(
        shown("DOCFERRY_AUTO_SCALING", "").1,
        "run.auto_scaling = true (built-in)",
        "an empty one says nothing"
    );
    assert!(shown("DOCFERRY_AUTO_SCALING", "1").1.starts_with("run.auto_scaling = true"));
    assert!(shown("DOCFERRY_NO_AUTO_SCALING", "no").1.starts_with("run.auto_scaling = true"));
    let (code, _, stderr) = shown("DOCFERRY_COLD_START", "banana");
    assert_eq!(code, 64, "{stderr}");
    assert!(stderr.contains("banana") && stderr.contains("must be true or false"), "{stderr}");
}

#[test]
fn mistakes_end_with_64_and_wrong_settings_with_78() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["mine.toml", "Cargo.lock"] {
        fs::write(folder.path().join(file), "").unwrap();
    }
    for (line, code, says) in [
        ("--help", 0, ""),
        ("--version", 0, ""),
        ("nonsense", 64, "unrecognized subcommand"),
        ("migrate --readers x", 64, "--readers"),
        ("migrate --resume --restart", 64, "--restart"),
        ("migrate", 64, "give --strategy NAME, or both --from URI and --to URI\n  try: "),
        ("migrate --strategy quickstrat", 78, "did you mean \"quickstart\"?"),
        ("migrate --from nul: --to null:", 64, "flag --from: source: unknown connector \"nul\""),
        ("migrate --from null: --to null: --limit 0", 64, "--limit"),
        ("migrate --from null: --to null: --max-rejects 101%", 64, "flag --max-rejects: "),
        ("migrate --from null: --to null: --max-rate 0", 64, "flag --max-rate: "),
        ("migrate --from null: --to null: --job A/B", 64, "flag --job: "),
        ("jobs nothing", 78, "no job \"nothing\"; there are none"),
        ("jobs --state Cargo.lock", 78, "the state folder is not a folder (state: Cargo.lock)"),
        ("migrate --strategy mine", 78, "; there is a file \"mine.toml\": name it so\n"),
        ("migrate --from null: --to /dev/null", 78, "or to null: to discard the documents\n"),
    ] {
        let (found, _, stderr) = ended(&mut docferry(folder.path(), line));
        assert_eq!(found, code, "{line}: {stderr}");
        assert!(stderr.contains(says), "{line}: {stderr}");
    }
    let (_, _, stderr) = ended(&mut docferry(folder.path(), "migrate --json"));
    let line: serde_json::Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!((line["event"].as_str(), line["exit_code"].as_u64()), (Some("error"), Some(64)));
    let (_, _, stderr) = ended(&mut docferry(folder.path(), "migrate --from no.jsonl --to null: --json"));
    assert_eq!(stderr.matches("os error 2").count(), 1, "a cause is told once: {stderr}");
}

#[test]
fn show_tells_a_flag_from_its_twin_and_the_flag_wins() {
    let folder = tempfile::tempdir().unwrap();
    let line = "show --from null: --to null: --transformers 3 --auto-scaling";
    let mut command = docferry(folder.path(), line);
    command
        .env("DOCFERRY_READERS", "7")
        .env("DOCFERRY_TRANSFORMERS", "9")
        .env("AUTO_SCALING_MAX_WORKERS", "12")
        .env("DOCFERRY_NO_AUTO_SCALING", "1");
    let (code, stdout, _) = ended(&mut command);
    let has = |path: &str, origin: &str| {
        let line = stdout.lines().find(|line| line.starts_with(path)).unwrap_or_default();
        assert!(line.ends_with(&format!("({origin})")), "{path}: {line}");
    };
    assert_eq!(code, 0);
    has("run.readers = 7", "environment DOCFERRY_READERS");
    has("run.transformers = 3", "flag --transformers");
    has("scaling.max_workers = 12", "environment AUTO_SCALING_MAX_WORKERS");
    has("run.auto_scaling = true", "flag --auto-scaling");
    has("run.profile = \"balanced\"", "built-in");
}

#[test]
fn the_goal_stands_beside_what_was_reached_and_a_sample_is_told_once_a_check_interval() {
    let folder = tempfile::tempdir().unwrap();
    let line = |documents| {
        format!("migrate --from null:?documents={documents} --to null: --max-rate 5 --json --no-auto-scaling")
    };
    let mut command = docferry(folder.path(), &line(30));
    command.env("AUTO_SCALING_CHECK_INTERVAL", "5").env("AUTO_SCALING_TARGET_DOCS_PER_SECOND", "777");
    let (code, _, stderr) = ended(&mut command);
    assert_eq!(code, 0, "{stderr}");
    let samples = stderr.lines().filter(|line| line.contains("\"event\":\"sampled\"")).count();
    assert!((1..=2).contains(&samples), "{samples} in about six seconds");
    assert!(stderr.contains("\"target_documents_per_second\":777.0"), "{stderr}");
    let events: Vec<serde_json::Value> =
        stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sampled = events.iter().find(|event| event["event"] == "sampled").unwrap();
    assert_eq!((&sampled["limited_by"], &sampled["severity"]), (&"rate".into(), &"very-low".into()));
    let performance = &events.last().unwrap()["performance"];
    assert_eq!(
        performance["limited_by"]["limit"], "rate",
        "the tuner is off and windows are measured: {performance}"
    );
    let measured = performance["measured_s"].as_f64().unwrap();
    assert!(measured > 1.5 && performance["tuner_s"]["off"] == performance["measured_s"], "{performance}");
    let mut seldom = docferry(folder.path(), &line(12));
    let (_, _, stderr) = ended(seldom.env("AUTO_SCALING_CHECK_INTERVAL", "15"));
    assert!(!stderr.contains("\"event\":\"sampled\""), "{stderr}");
}

#[test]
fn a_variable_out_of_range_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = docferry(folder.path(), "migrate --from null:?documents=3 --to null:");
    let (code, _, stderr) = ended(command.env("AUTO_SCALING_CHECK_INTERVAL", "1"));
    assert_eq!(code, 78, "{stderr}");
    assert!(
        stderr.contains(
            "environment AUTO_SCALING_CHECK_INTERVAL: scaling.check_interval: must be seconds from 5 to 15"
        ),
        "{stderr}"
    );
}

/// A flag that takes one of several words, and its twin.
#[test]
fn an_unknown_policy_is_told_with_those_that_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let line = "migrate --from null:?documents=3 --to null:";
    let (code, _, stderr) = ended(&mut docferry(folder.path(), &format!("{line} --scaling-policy hybird")));
    assert_eq!(code, 64, "{stderr}");
    assert!(stderr.contains("workload-based") && stderr.contains("'hybrid'"), "{stderr}");
    let mut twin = docferry(folder.path(), line);
    assert_eq!(ended(twin.env("DOCFERRY_SCALING_POLICY", "none")).0, 64);
    let against = "--scaling-policy aggressive --auto-scaling-profile balanced";
    let (code, _, stderr) = ended(&mut docferry(folder.path(), &format!("{line} {against}")));
    assert_eq!(code, 64, "{stderr}");
    assert!(stderr.contains("the profile is \"balanced\" (flag --auto-scaling-profile)"), "{stderr}");
}

#[test]
fn a_strategy_of_init_runs_and_its_job_is_listed_with_its_rejects() {
    let folder = tempfile::tempdir().unwrap();
    let run = |line: &str| ended(&mut docferry(folder.path(), line));
    fs::write(folder.path().join("documents.jsonl"), "{\"id\":\"1\"}\nnot json\n{\"id\":\"2\"}\n").unwrap();
    assert_eq!(run("init mine").0, 0);
    assert_eq!(run("init mine").0, 78, "a file is never overwritten");
    let (code, stdout, stderr) = run("migrate --strategy mine.toml --max-rejects 50%");
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    assert!(
        stderr.contains("complete: job mine\n")
            && stderr.contains("1, kept in .docferry/jobs/mine/rejects.jsonl"),
        "{stderr}"
    );
    let (_, jobs, _) = run("jobs");
    assert!(jobs.starts_with("mine  finished    3 documents, 1 rejected"), "{jobs}");
    let (_, rejects, _) = run("rejects list mine");
    assert!(rejects.starts_with("job mine: 1 reject in .docferry/jobs/mine/rejects.jsonl\n"), "{rejects}");
    let (_, letters, _) = run("rejects list mine --json");
    assert_eq!(letters.lines().count(), 1);
    let summary = fs::read_to_string(folder.path().join(".docferry/jobs/mine/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(
        (summary["ending"].as_str(), summary["counters"]["written"].as_u64()),
        (Some("complete"), Some(2))
    );
    let (code, stdout, _) = run("verify --strategy mine.toml");
    assert_eq!(code, 0, "{stdout}");
}

#[test]
fn any_file_name_can_be_written_in_a_uri() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["what?.jsonl", "100%.jsonl", "a+b.jsonl", "orders:2024.jsonl", "[x].jsonl"];
    for name in names {
        fs::write(folder.path().join(name), format!("{{\"id\":\"{name}\"}}\n")).unwrap();
    }
    for (uri, name) in [
        ("what?.jsonl", "what?.jsonl"),
        ("file:what%3F.jsonl", "what?.jsonl"),
        ("100%.jsonl", "100%.jsonl"),
        ("file:100%25.jsonl", "100%.jsonl"),
        ("file:a+b.jsonl", "a+b.jsonl"),
        ("./orders:2024.jsonl", "orders:2024.jsonl"),
        ("file:orders:2024.jsonl", "orders:2024.jsonl"),
        ("[x].jsonl", "[x].jsonl"),
    ] {
        let line = format!("migrate -q --from {uri} --to -");
        let (code, stdout, stderr) = ended(&mut docferry(folder.path(), &line));
        assert_eq!((code, stdout), (0, format!("{{\"id\":\"{name}\"}}\n")), "{uri}: {stderr}");
    }
    let (code, _, stderr) = ended(&mut docferry(folder.path(), "migrate --from orders:2024.jsonl --to -"));
    assert_eq!(code, 64);
    assert!(stderr.contains("unknown connector \"orders\""), "{stderr}");
}

#[test]
fn documents_on_standard_output_are_not_mixed_with_anything() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.jsonl"), "{\"id\":\"1\"}\n{\"id\":\"2\"}\n").unwrap();
    let (code, stdout, stderr) = ended(&mut docferry(folder.path(), "migrate --from a.jsonl --to -"));
    assert_eq!((code, stdout.as_str()), (0, "{\"id\":\"1\"}\n{\"id\":\"2\"}\n"), "{stderr}");
    let (code, stdout, stderr) =
        ended(&mut docferry(folder.path(), "migrate -q --job quiet --from a.jsonl --to -"));
    assert_eq!((code, stdout.lines().count(), stderr.as_str()), (0, 2, ""));
    let (code, _, stderr) =
        ended(&mut docferry(folder.path(), "migrate --json --job events --from a.jsonl --to -"));
    let last: serde_json::Value = serde_json::from_str(stderr.lines().last().unwrap()).unwrap();
    assert_eq!(
        (code, last["event"].as_str(), last["ending"].as_str()),
        (0, Some("finished"), Some("complete"))
    );
}
