//! The rooms of the floor plan and the doors between them.
//!
//! Theory: a plan that nothing enforces is true on the day it is drawn. The compiler sees one crate and lets every module use every other, so
//! this test reads the source as text, collects each `crate::` path (grouped imports unfolded, comments left out)
//! and fails on a door that [`DOORS`] does not know. Tests inside the rooms keep to the same doors: what a test needs from
//! another room, the room's next reader would need too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may use, itself aside. `connector contracts` are the traits and what they speak of, not a connector or the
/// list of them.
const DOORS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("model", &["error"]),
    ("connector", &["model", "error", "pacing"]),
    ("transform", &["model", "error"]),
    ("checkpoint", &["model", "error"]),
    ("rejects", &["model", "error"]),
    ("pipeline", &["model", "error", "connector contracts", "transform", "checkpoint", "rejects"]),
    ("observe", &["model", "error"]),
    ("pacing", &["model"]),
    ("tuner", &["model"]),
    ("simulate", &["model", "error", "pacing", "tuner"]),
    ("report", &["model", "error"]),
    ("emulator", &["model", "error"]),
    ("config", &["model", "error", "connector", "transform"]),
    (
        "cli",
        &[
            "model",
            "error",
            "connector",
            "transform",
            "checkpoint",
            "rejects",
            "config",
            "report",
            "run",
            "emulator",
            "simulate",
        ],
    ),
    (
        "run",
        &[
            "model",
            "error",
            "connector",
            "transform",
            "checkpoint",
            "rejects",
            "pipeline",
            "observe",
            "tuner",
            "report",
            "config",
            "emulator",
        ],
    ),
    ("main", &["cli", "run", "error"]),
    ("lib", &[]),
];

#[test]
fn rooms_use_only_the_doors_of_the_floor_plan() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let connectors = connectors(&source);
    let mut forbidden = Vec::new();
    for file in rust_files(&source) {
        let within = file.strip_prefix(&source).unwrap();
        for path in crate_paths(&fs::read_to_string(&file).unwrap()) {
            if let Err(why) = judge(within, &path, &connectors) {
                forbidden.push(format!("{}: crate::{}: {why}", within.display(), path.join("::")));
            }
        }
    }
    assert!(forbidden.is_empty(), "doors that the floor plan does not have:\n{}", forbidden.join("\n"));
}

/// A file that nobody names is not compiled, and its tests fail nowhere.
#[test]
fn every_file_of_tests_is_in_the_binary() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let main = fs::read_to_string(folder.join("main.rs")).unwrap();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let is_folder = path.is_dir() && path.join("mod.rs").try_exists().unwrap();
        let is_module = is_folder || path.extension().is_some_and(|extension| extension == "rs");
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            !is_module || name == "main" || main.contains(&format!("\nmod {name};\n")),
            "main.rs lacks {name}"
        );
    }
}

/// Whether the file at `within` (below `src`) may use the crate's `path`.
fn judge(within: &Path, path: &[String], connectors: &BTreeSet<String>) -> Result<(), String> {
    let room = within.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
    let Some((_, doors)) = DOORS.iter().find(|(name, _)| *name == room) else {
        return Err(format!("the room {room} is not on the floor plan"));
    };
    let [other, rest @ ..] = path else { return Ok(()) };
    let inner = rest.first().map_or("", String::as_str);
    if other == room {
        return if room == "connector" { between_connectors(within, inner, connectors) } else { Ok(()) };
    }
    if other == "connector" && doors.contains(&"connector contracts") {
        let is_contract = inner != "registry" && !connectors.contains(inner);
        return if is_contract { Ok(()) } else { Err(format!("{room} knows the contracts, no connector")) };
    }
    // A name that is no room (a macro, say) lies in the crate's root, which belongs to all.
    let is_room = DOORS.iter().any(|(name, _)| name == other);
    if !is_room || doors.contains(&other.as_str()) {
        Ok(())
    } else {
        Err(format!("{room} may not use {other}"))
    }
}

/// Connectors never see each other; the registry sees them all.
fn between_connectors(within: &Path, inner: &str, connectors: &BTreeSet<String>) -> Result<(), String> {
    let own = within.iter().nth(1).unwrap().to_str().unwrap();
    if own == "registry.rs" || own == inner || !connectors.contains(inner) {
        return Ok(());
    }
    Err(format!("{own} may not see {inner}"))
}

/// The folders of `connector`: each is one.
fn connectors(source: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(source.join("connector")).unwrap().map(Result::unwrap);
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every path of the crate that a source text names. Links in comments lead nowhere at run time and do not count. The
/// binary names the crate by its own name.
fn crate_paths(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or(""));
    let code = lines.collect::<Vec<_>>().join("\n").replace("docferry::", "crate::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let is_whole_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        if is_whole_word {
            unfold(&code[at + "crate::".len()..], &mut Vec::new(), &mut found);
        }
    }
    found
}

/// Unfolds a path and the groups in it: `a::{b, c::d}` is `a::b` and `a::c::d`. Returns what follows it.
fn unfold<'a>(text: &'a str, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = unfold(rest, path, found).trim_start();
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    if end == 0 {
        // The end of a group after its last comma, or a star: the path so far is all there is.
        found.push(path.clone());
        return text.strip_prefix('*').unwrap_or(text);
    }
    path.push(text[..end].to_owned());
    let mut rest = &text[end..];
    match rest.strip_prefix("::") {
        Some(more) => rest = unfold(more, path, found),
        None => found.push(path.clone()),
    }
    path.pop();
    // `a as b` renames what has been counted.
    match rest.trim_start().strip_prefix("as ") {
        Some(name) => name.trim_start().trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
        None => rest,
    }
}

#[test]
fn groups_stars_and_new_names_are_unfolded() {
    let text = "use crate::model::{batch::Batch, json::{self, Index}, units::*};\n\
                // crate::tuner in a comment\n\
                pub(crate) fn f() { crate::error::Error::io; $crate::report::x; }\n\
                use crate::connector::{Sink as S, registry};";
    let paths: Vec<String> = crate_paths(text).iter().map(|path| path.join("::")).collect();
    let expected = [
        "model::batch::Batch",
        "model::json::self",
        "model::json::Index",
        "model::units",
        "error::Error::io",
        "connector::Sink",
        "connector::registry",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn the_judge_knows_a_door_from_a_wall() {
    let connectors = BTreeSet::from(["file".to_owned(), "sqlite".to_owned()]);
    let is_open = |within: &str, path: &str| {
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        judge(Path::new(within), &path, &connectors).is_ok()
    };
    assert!(is_open("pipeline/read.rs", "connector::Reader"));
    assert!(!is_open("pipeline/read.rs", "connector::file::FileSource"));
    assert!(!is_open("pipeline/read.rs", "connector::registry::find"));
    assert!(!is_open("pipeline/mod.rs", "tuner::Tuner"));
    assert!(is_open("connector/file/sink.rs", "connector::file::Settings"));
    assert!(is_open("connector/registry.rs", "connector::sqlite"));
    assert!(!is_open("connector/file/sink.rs", "connector::sqlite::Lock"));
    assert!(is_open("tuner/mod.rs", "model::knobs::Knobs") && !is_open("tuner/mod.rs", "error::Error"));
    assert!(is_open("pacing/mod.rs", "model::request::LaneId") && !is_open("pacing/mod.rs", "error::Error"));
    assert!(!is_open("model/mod.rs", "connector::Sink"));
    assert!(!is_open("attic/mod.rs", "model::Batch"));
}
