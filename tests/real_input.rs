//! Data that nobody here wrote: two arrays of npm's vega-datasets, through the shipped strategies, judged by a script that shares
//! no line with docferry.
//!
//! Neither file has an id and both hold equal rows, so the strategies make ids from positions, and not one document may
//! be merged with its equal. The package is fetched once and kept under the build folder.

use crate::fetched::{fetched, run};
use crate::place::{Place, skip};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The version whose counts stand below.
const PACKAGE: &str = "vega-datasets@3.2.1";

#[test]
fn movies_arrive_in_sqlite() {
    arrives("movies.json", "movies", Target::Sqlite, 3_201);
}

#[test]
fn movies_arrive_in_a_file() {
    arrives("movies.json", "movies", Target::Lines, 3_201);
}

#[test]
fn flights_arrive_in_sqlite() {
    arrives("flights-200k.json", "flights", Target::Sqlite, 200_000);
}

#[test]
fn flights_arrive_in_a_file() {
    arrives("flights-200k.json", "flights", Target::Lines, 200_000);
}

#[derive(Clone, Copy)]
enum Target {
    Sqlite,
    Lines,
}

/// Migrates, lets the script compare, and lets docferry verify.
fn arrives(file: &str, name: &str, target: Target, documents: usize) {
    let data = match data() {
        Ok(data) => data,
        Err(why) => return skip(why),
    };
    let (strategy, output) = match target {
        Target::Sqlite => (format!("{name}-to-sqlite"), format!("{name}.db")),
        Target::Lines => (format!("{name}-to-jsonl"), format!("{name}.jsonl")),
    };
    let place = Place::new();
    let source = data.join(file);
    let run = |verb: &str| {
        let ran = crate::place::Ran::of(
            place.command().args([verb, "--strategy", &strategy]).env(name.to_uppercase(), &source),
        );
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        ran
    };
    run("migrate");
    let mut judge = Command::new("python3");
    judge.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/equal_documents.py"));
    judge.args(["--ids", "position"]).arg(&source).arg(place.path(&output));
    if matches!(target, Target::Sqlite) {
        judge.args(["--table", name]);
    }
    let judged = judge.output().unwrap();
    let verdict = String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success(), "{verdict}{}", String::from_utf8_lossy(&judged.stderr));
    let counted = format!("source {documents} documents (0 malformed lines left out), target {documents}\n");
    assert_eq!(verdict, counted);
    assert!(run("verify").out.starts_with("source and target are equal\n"));
}

/// The package's data, or why it cannot be had.
fn data() -> Result<&'static Path, &'static str> {
    static DATA: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    DATA.get_or_init(fetch).as_deref().map_err(String::as_str)
}

fn fetch() -> Result<PathBuf, String> {
    run(Command::new("python3").arg("--version"))?;
    let package = fetched("vega-datasets-3.2.1", |folder| {
        let list = run(Command::new("npm").args(["pack", "--silent", PACKAGE]).current_dir(folder))?;
        let archive = list.lines().last().unwrap_or_default().trim().to_owned();
        run(Command::new("tar").args(["-xzf", &archive]).current_dir(folder)).map(drop)
    })?;
    Ok(package.join("package/data"))
}
