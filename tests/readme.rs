//! What the README tells people to type exists.
//!
//! A page of instructions is right on the day it is written. So every `docferry` line of the README and of the pages in `docs` is
//! parsed by docferry itself, every strategy that they name is loaded, every link leads to a file, and every licence that the package
//! names is there.

use crate::place::{Place, orders};
use docferry::model::workload::{Limit, Severity};
use std::fs;
use std::path::Path;

/// What people are told to read.
const PAGES: [&str; 10] = [
    "README.md",
    "docs/strategies.md",
    "docs/resume.md",
    "docs/memory-and-lanes.md",
    "docs/auto-scaling.md",
    "docs/signals.md",
    "docs/emulator.md",
    "docs/cosmos.md",
    "docs/reports.md",
    "docs/simulate.md",
];

#[test]
fn every_command_is_understood() {
    let place = Place::new();
    for (page, line) in commands() {
        let mut words = words(&line);
        let verb = words.first().cloned().unwrap_or_default();
        // `--help` after the rest of a line: it is parsed and nothing is done. What a flag is worth is not looked at.
        words.push("--help".to_owned());
        let output = place.command().args(&words).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{page}: docferry {line}");
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(told.contains(flag.as_str()), "{page}: {verb} has no {flag}");
        }
    }
}

#[test]
fn every_strategy_that_is_named_is_there() {
    let place = Place::new();
    place.write("orders.jsonl", orders(10));
    place.succeed("init orders");
    for (page, line) in commands() {
        let words = words(&line);
        let Some(at) = words.iter().position(|word| word == "--strategy") else { continue };
        let ran = place.docferry(&format!("show --strategy {}", words[at + 1]));
        assert_eq!(ran.code, 0, "{page}: docferry {line}\n{}", ran.err);
    }
}

/// The blocks of TOML in the pages that have some, each put into a strategy of its own where it is not a whole one.
#[test]
fn every_example_of_a_strategy_loads() {
    let place = Place::new();
    let mut examples = blocks("docs/strategies.md", "toml");
    examples.extend(blocks("docs/auto-scaling.md", "toml"));
    assert!(examples.len() > 11, "{} examples", examples.len());
    for example in examples {
        let mut text = example.clone();
        for (table, rest) in [("source", "connector = \"null\""), ("target", "connector = \"null\"")] {
            if !example.contains(&format!("[{table}]")) {
                text += &format!("\n[{table}]\n{rest}\n");
            }
        }
        place.write("example.toml", &text);
        let ran = place.docferry("show --strategy example.toml");
        assert_eq!(ran.code, 0, "{}\n{text}", ran.err);
    }
}

#[test]
fn every_link_leads_to_a_file() {
    for page in PAGES {
        let folder = root().join(page).parent().unwrap().to_owned();
        for target in
            read(page).split("](").skip(1).filter_map(|rest| rest.split(')').next().map(str::to_owned))
        {
            let file = target.split('#').next().unwrap_or_default();
            let is_local = !file.is_empty() && !file.contains("://");
            assert!(!is_local || folder.join(file).try_exists().unwrap(), "{page}: {target}");
        }
    }
}

#[test]
fn every_licence_that_the_package_names_is_there() {
    assert!(read("Cargo.toml").contains("license = \"MIT OR Apache-2.0\""));
    assert!(
        read("LICENSE-MIT").starts_with("MIT License")
            && read("LICENSE-APACHE").contains("Version 2.0, January 2004")
    );
}

/// What the page on memory says of defaults is what `show` prints.
#[test]
fn the_knobs_begin_where_the_page_says() {
    let page = read("docs/memory-and-lanes.md");
    let shown = Place::new().succeed("show --from null: --to null:").out;
    for (knob, value, said) in [
        ("requests_in_flight", "8", "| 8 "),
        ("batch_documents", "2000", "| 2 000 "),
        ("request_documents", "10000", "| 10 000 "),
        ("credits", "33554432", "| 32 MiB "),
        ("max_document", "16777216", "(16 MiB)"),
    ] {
        assert!(shown.contains(&format!("run.{knob} = {value} ")), "{knob}: {shown}");
        assert!(page.lines().any(|line| line.contains(knob) && line.contains(said)), "{knob}: {said}");
    }
}

/// The table of the page on auto-scaling has every figure, and of each profile what `show` prints.
#[test]
fn the_figures_of_the_profiles_are_those_of_the_page() {
    let page = read("docs/auto-scaling.md");
    let rows: Vec<Vec<&str>> = page.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    // With as many cores as any built-in least asks for.
    let most_cores = std::thread::available_parallelism().unwrap().get() >= 4;
    for (column, profile) in ["conservative", "balanced", "aggressive"].iter().enumerate() {
        let shown =
            Place::new().succeed(&format!("show --from null: --to null: --auto-scaling-profile {profile}"));
        let figures = shown.out.lines().filter_map(|line| line.strip_prefix("scaling.")?.split_once(" = "));
        for (name, value) in figures {
            let value = value.split("  ").next().unwrap();
            let name = format!("`{name}`");
            let Some(row) = rows.iter().find(|row| row.get(1) == Some(&name.as_str())) else {
                panic!("{name} is not on the page");
            };
            let is_choice = row.len() < 6;
            assert!(
                is_choice
                    || row[2 + column].replace(' ', "") == value.replace(' ', "")
                    || (name == "`min_workers`" && !most_cores),
                "{profile}: {name} is {value}, the page says {}",
                row[2 + column]
            );
        }
    }
}

/// The page on presets says what they come to.
#[test]
fn the_presets_are_those_of_the_page() {
    let page = read("docs/auto-scaling.md");
    for preset in ["development", "testing", "production"] {
        let row =
            page.lines().find(|line| line.starts_with(&format!("| `{preset}`"))).unwrap().replace(' ', "");
        let line = format!("show --from null: --to null: --scaling-preset {preset}");
        let shown = Place::new().succeed(&line).out;
        let value = |path: &str| {
            let line = shown.lines().find_map(|line| line.strip_prefix(&format!("{path} = "))).unwrap();
            line.split("  ").next().unwrap().replace(['"', ' '], "")
        };
        let range = |least: &str, most: &str| match (value(least), value(most)) {
            (least, most) if least == most => least,
            (least, most) => format!("{least}to{most}"),
        };
        let credits = value("run.credits").replace("33554432", "32MiB");
        let workers = range("scaling.min_workers", "scaling.max_workers");
        // The built-in least is that of a machine with four cores or more.
        let workers = if preset == "production" { "4to64".to_owned() } else { workers };
        let batch = range("scaling.min_batch_size", "scaling.max_batch_size");
        let requests = value("scaling.max_requests_in_flight");
        let expected = format!("|{}|{workers}|{batch}|to{requests}|{credits}|", value("run.profile"));
        assert!(row.ends_with(&expected), "{row}: {expected}");
    }
}

/// What programs follow is written down: every event that a run records.
#[test]
fn every_event_is_on_the_page_about_reports() {
    let place = Place::new();
    place.write("in.jsonl", orders(100) + "{\n");
    place.docferry("migrate --from in.jsonl --to out.jsonl");
    let page = read("docs/reports.md");
    let recorded = String::from_utf8(place.read(".docferry/jobs/file-out.jsonl/events.jsonl")).unwrap();
    for line in recorded.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = event["event"].as_str().unwrap();
        assert!(page.contains(&format!("`{name}`")), "{name} is not on the page");
    }
    let limits = Limit::ALL.map(Limit::as_str).into_iter();
    for word in limits.chain(Severity::ALL.map(Severity::as_str)) {
        assert!(page.contains(&format!("`{word}`")), "{word} is not on the page");
    }
}

/// The box for developers and the script of the clean clone must not drift apart.
#[test]
fn the_developing_box_is_what_is_run_on_a_clean_clone() {
    let script = read(".ci/run").replace("--locked ", "").replace(" --locked", "");
    let readme = read("README.md");
    let developing = readme.split("## Developing").nth(1).unwrap();
    let block = developing.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    for line in block.lines() {
        assert!(script.lines().any(|theirs| theirs == line), "{line} is not in .ci/run");
    }
    assert_eq!(script.trim_end().lines().last(), Some("cargo test"), "the tests come last");
}

/// Lines of the pages that begin with `docferry`, without that word.
fn commands() -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for page in PAGES {
        for language in ["sh", "console", ""] {
            for block in blocks(page, language) {
                for line in block.lines() {
                    let line = line.trim_start_matches("$ ");
                    let line = line
                        .strip_prefix("cargo run --release -- ")
                        .or_else(|| line.strip_prefix("docferry "));
                    found.extend(
                        line.map(|line| {
                            (page, line.split(" #").next().unwrap_or_default().trim().to_owned())
                        }),
                    );
                }
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

/// The words of a line as a shell would find them; the pages quote with double quotes only.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('"').enumerate();
    parts
        .flat_map(|(number, part)| match number % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

/// The contents of the fenced blocks of that language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = read(page);
    let mut found = Vec::new();
    let mut inside: Option<(bool, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), inside.take()) {
            (Some(_), Some((is_wanted, block))) => found.extend(is_wanted.then_some(block)),
            (Some(name), None) => inside = Some((name == language, String::new())),
            (None, Some((is_wanted, block))) => inside = Some((is_wanted, block + line + "\n")),
            (None, None) => {}
        }
    }
    found
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|cause| panic!("{page}: {cause}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
