//! A folder of its own for each test, and docferry run in it as a user would run it.
//!
//! The process gets a bare environment: no variable of whoever runs the tests can reach it, and neither their language nor their
//! time zone. What it prints is compared as text, so that what differs from run to run (times, sizes of memory, names of runs) is
//! replaced first; all else stays, because it is what a user reads.

use assert_cmd::Command;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// No test moves more than some hundred megabytes: whoever needs longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A temporary folder, the working directory of every run in it.
pub(crate) struct Place {
    folder: TempDir,
}

/// What a run of docferry left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|cause| panic!("{name}: {cause}"))
    }

    pub(crate) fn holds(&self, name: &str) -> bool {
        self.path(name).try_exists().unwrap()
    }

    /// The command without arguments, for a test that gives it variables or standard input.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_docferry"));
        command.current_dir(self.folder.path()).env_clear().timeout(PATIENCE);
        command
    }

    /// Runs docferry with the words of `line`, which are separated by single blanks.
    pub(crate) fn docferry(&self, line: &str) -> Ran {
        let mut ran = Ran::of(self.command().args(line.split(' ')));
        ran.err = ran.err.replace(&self.folder.path().display().to_string(), "[folder]");
        ran
    }

    /// The same, and it must be a success.
    pub(crate) fn succeed(&self, line: &str) -> Ran {
        let ran = self.docferry(line);
        assert_eq!(ran.code, 0, "docferry {line}\n{}{}", ran.out, ran.err);
        ran
    }

    /// Opens a database that a run has left.
    pub(crate) fn database(&self, name: &str) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path(name)).unwrap()
    }
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Exit code and messages as a snapshot holds them: without the table that ends a run, which is of counters and times, and
    /// with `[hash]` for what is a hash or a random name.
    pub(crate) fn messages(&self) -> String {
        let mut told = vec![format!("exit code {}", self.code)];
        let mut is_table = false;
        for line in self.err.lines() {
            let is_row = line.starts_with("  ") && !line.starts_with("  try: ");
            if !(is_table && is_row) {
                told.push(without_hashes(line));
            }
            is_table |=
                ["complete: ", "failed: ", "interrupted "].iter().any(|heading| line.starts_with(heading));
        }
        told.join("\n")
    }

    /// A row of the table that ends a run.
    pub(crate) fn row(&self, label: &str) -> &str {
        let mut rows = self.err.lines().filter_map(|line| line.strip_prefix("  ")?.strip_prefix(label));
        rows.next_back().unwrap_or_else(|| panic!("no row {label} in {}", self.err)).trim_start()
    }
}

/// Runs of sixteen and more hexadecimal digits are hashes or random names.
fn without_hashes(line: &str) -> String {
    let mut out = String::new();
    for word in line.split_inclusive(|character: char| !character.is_ascii_hexdigit()) {
        let digits = word.trim_end_matches(|character: char| !character.is_ascii_hexdigit());
        match digits.len() {
            16.. => out += &word.replace(digits, "[hash]"),
            _ => out += word,
        }
    }
    out
}

/// `count` documents with ids, a line each.
pub(crate) fn orders(count: usize) -> String {
    let order = |number| {
        format!("{{\"id\":\"order-{number}\",\"total\":{}.50,\"open\":{}}}\n", number * 7, number % 3 == 0)
    };
    (0..count).map(order).collect()
}

/// Says that a test lacks what it needs. In continuous integration everything is installed, so there it is a fault. The harness keeps to
/// itself what a passing test prints with macros; this is written past it, so that a person sees it.
pub(crate) fn skip(why: &str) {
    let is_continuous_integration = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!is_continuous_integration, "{why}");
    // Whoever has closed standard error does not want to know.
    let _ = writeln!(std::io::stderr(), "skipped, nothing was tested: {why}");
}
