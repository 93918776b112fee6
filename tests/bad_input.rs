//! What cannot work ends with a message that a user can act on and a code that a script can act on, and loses nothing.
//!
//! The snapshots hold the messages whole, because a message is an interface: whoever changes one reads what it has become.

use crate::place::{Place, Ran, orders};
use std::fs::{self, File};
use std::io::Write;

const LINES: &str = "{\"id\":\"1\"}\n{\"id\":\"2\"}\n";

#[test]
fn sources_that_cannot_be_read() {
    let place = Place::new();
    fs::create_dir(place.path("folder")).unwrap();
    let told = ["missing.jsonl", "folder", "missing/*.jsonl", "sqlite:missing.db"].map(|source| {
        format!("{source}: {}", place.docferry(&format!("migrate --from {source} --to out.jsonl")).messages())
    });
    insta::assert_snapshot!(told.join("\n\n"), @r#"
    missing.jsonl: exit code 78
    error: finding the source: there is no such file (path: missing.jsonl): No such file or directory (os error 2)
      try: correct the path; a relative one begins at the working folder

    folder: exit code 78
    error: finding the source: this is a folder (path: folder)
      try: name its files, for example with *.jsonl

    missing/*.jsonl: exit code 78
    error: finding the source: no file matches the pattern (path: missing/*.jsonl)
      try: check the pattern, and quote it where the shell would expand it

    sqlite:missing.db: exit code 78
    error: opening the source: there is no such file (path: missing.db)
      try: correct what the message names; `docferry show` prints every setting with its origin
    "#);
    assert!(!place.holds("out.jsonl"), "no target is made for a source that is not there");
}

/// A name that is no text matters only where it matches.
#[cfg(unix)]
#[test]
fn a_file_name_that_is_not_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    place.write("a.jsonl", LINES);
    place.write("notes", "");
    fs::rename(place.path("notes"), place.path(std::ffi::OsStr::from_bytes(b"\xff.txt"))).unwrap();
    place.succeed("migrate --from *.jsonl --to out.json");
    let ran = place.docferry("migrate --from *.txt --to out2.json");
    assert_eq!(ran.code, 78, "{}", ran.err);
    let says =
        "error: finding the source: the path is not UTF-8 (path: \u{fffd}.txt)\n  try: rename the file";
    assert!(ran.err.starts_with(says), "{}", ran.err);
}

/// The runtime puts the null device in the place of a closed stream; nobody wants documents to go there.
#[cfg(target_os = "linux")]
#[test]
fn a_closed_standard_stream_is_not_the_null_device() {
    let place = Place::new();
    place.write("in.jsonl", LINES);
    let run = |line: &str| {
        let mut shell = assert_cmd::Command::new("/bin/sh");
        let docferry = env!("CARGO_BIN_EXE_docferry");
        Ran::of(shell.current_dir(place.path("")).args(["-c", &format!("{docferry} migrate {line}")]))
    };
    for (line, says) in [
        ("--from in.jsonl --to - >&-", "error: checking the target: standard output is closed (path: -)\n"),
        ("--from - --to out.jsonl <&-", "error: finding the source: standard input is closed (path: -)\n"),
    ] {
        let ran = run(line);
        assert_eq!(ran.code, 78, "{line}: {}", ran.err);
        assert!(ran.err.starts_with(says), "{line}: {}", ran.err);
    }
    for line in ["--from in.jsonl --to - >/dev/null", "--from - --to out.jsonl </dev/null"] {
        let ran = run(line);
        assert_eq!(ran.code, 0, "{line}: {}", ran.err);
    }
}

#[test]
fn an_empty_source_is_a_success_and_it_is_said() {
    let place = Place::new();
    place.write("in.jsonl", "");
    insta::assert_snapshot!(place.docferry("migrate --from in.jsonl --to out.jsonl").messages(), @r#"
    exit code 0
    starting job file-out.jsonl: file:in.jsonl -> file:out.jsonl, 0 documents in 0 partitions
    complete: job file-out.jsonl: the source holds no documents
    "#);
    assert_eq!(place.read("out.jsonl"), b"");
}

#[test]
fn a_source_whose_documents_are_all_dropped_is_a_success_and_it_is_said() {
    let place = Place::new();
    place.write("in.jsonl", LINES);
    strategy(&place, "filter = \"id == 'nothing'\"");
    insta::assert_snapshot!(place.docferry("migrate --strategy strategy.toml").messages(), @r#"
    exit code 0
    starting job strategy: file:in.jsonl -> file:out.jsonl, 22 B
    complete: job strategy: every document was dropped by a step
    "#);
}

#[test]
fn all_before_a_truncation_is_moved() {
    let place = Place::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(orders(50_000).as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    place.write("in.jsonl.gz", &packed[..packed.len() / 2]);
    let ran = place.docferry("migrate --from in.jsonl.gz --to out.jsonl");
    insta::assert_snapshot!(ran.messages(), @r#"
    exit code 65
    starting job file-out.jsonl: file:in.jsonl.gz -> file:out.jsonl
    warning: reading the source: the gzip data is damaged or truncated (file: in.jsonl.gz, byte: 1274633): it ends too early
    failed: job file-out.jsonl
    error: reading the source: the gzip data is damaged or truncated (file: in.jsonl.gz, byte: 1274633): it ends too early
      try: all before the damage was moved; documents shortly before it may be altered, as packed data proves itself only at its end; mend or replace the input and begin anew with --restart
    "#);
    let moved = String::from_utf8(place.read("out.jsonl")).unwrap();
    assert!(orders(50_000).starts_with(&moved) && moved.ends_with('\n'));
    assert!(
        moved.lines().count() > 20_000,
        "half of the bytes hold about half of the documents: {}",
        moved.lines().count()
    );
    let ran = place.docferry("migrate --from in.jsonl.gz --to sqlite:out.db");
    let says = "mend or replace the input, remove the rows that were written and begin anew with --restart\n";
    assert!(ran.code == 65 && ran.err.ends_with(says), "{}", ran.err);
}

#[test]
fn a_line_that_is_not_text_is_a_reject() {
    let place = Place::new();
    place.write("in.jsonl", [LINES.as_bytes(), b"{\"id\":\"\xff\"}\n", LINES.as_bytes()].concat());
    insta::assert_snapshot!(place.docferry("migrate --from in.jsonl --to out.jsonl").messages(), @r#"
    exit code 65
    starting job file-out.jsonl: file:in.jsonl -> file:out.jsonl, 55 B
    rejected 1 document (read: malformed JSON: invalid UTF-8), at in.jsonl, line 3, byte 22
    failed: job file-out.jsonl
    error: 1 of 5 documents rejected, --max-rejects allows 0
      try: `docferry rejects list file-out.jsonl` prints them; --max-rejects allows some
    "#);
    assert_eq!(place.read("out.jsonl"), [LINES, LINES].concat().as_bytes());
    insta::assert_snapshot!(place.succeed("rejects list file-out.jsonl").out, @r#"
    job file-out.jsonl: 1 reject in .docferry/jobs/file-out.jsonl/rejects.jsonl
              1  read: malformed JSON: invalid UTF-8
    in.jsonl, line 3, byte 22: read: malformed JSON: invalid UTF-8, at its byte 7 (10 B)
    "#);
    let ran = place.docferry("migrate --job allowed --from in.jsonl --to allowed.jsonl --max-rejects 1");
    insta::assert_snapshot!(ran.messages(), @r#"
    exit code 0
    starting job allowed: file:in.jsonl -> file:allowed.jsonl, 55 B
    rejected 1 document (read: malformed JSON: invalid UTF-8), at in.jsonl, line 3, byte 22
    complete: job allowed
    "#);
}

#[test]
fn a_document_beyond_the_limit_is_rejected_while_it_passes() {
    const MIB: usize = 1 << 20;
    let place = Place::new();
    let mut file = File::create(place.path("in.jsonl")).unwrap();
    file.write_all(b"{\"id\":\"1\"}\n{\"id\":\"long\",\"text\":\"").unwrap();
    for _ in 0..300 {
        file.write_all(&[b'x'; MIB]).unwrap();
    }
    file.write_all(b"\"}\n{\"id\":\"2\"}\n").unwrap();
    let ran = place.docferry("migrate --from in.jsonl --to out.jsonl");
    insta::assert_snapshot!(ran.messages(), @r#"
    exit code 65
    starting job file-out.jsonl: file:in.jsonl -> file:out.jsonl, 300.0 MiB in 38 partitions
    rejected 1 document (read: larger than max_document (16777216 bytes)), at in.jsonl, line 2, byte 11
    failed: job file-out.jsonl
    error: 1 of 3 documents rejected, --max-rejects allows 0
      try: `docferry rejects list file-out.jsonl` prints them; --max-rejects allows some
    "#);
    assert_eq!(place.read("out.jsonl"), LINES.as_bytes());
    let peak = summary(&place, "file-out.jsonl")["peak_memory"].as_u64().unwrap() as usize;
    assert!(peak < 64 * MIB, "{peak} bytes of memory for a document of 300 MiB");
}

#[test]
fn mistakes_in_a_strategy_are_told_all_at_once_with_the_nearest_name() {
    let place = Place::new();
    place.write(
        "strategy.toml",
        "[source]\nconnector = \"file\"\npth = \"in.jsonl\"\n\n[[transform]]\nrenam = { a = \"b\" }\n\n\
         [target]\nconnector = \"sqlit\"\n\n[run]\nmax_rejects = \"many\"\n",
    );
    insta::assert_snapshot!(place.docferry("migrate --strategy strategy.toml").messages(), @r#"
    exit code 78
    error: reading the settings: 5 problems
      strategy.toml:1:2: source.path: is missing
      strategy.toml:3:1: source.pth: unknown setting; did you mean "path"?
      strategy.toml:6:1: transform[0].renam: unknown setting; did you mean "rename"?
      strategy.toml:9:1: target.connector: unknown connector "sqlit", known are file, sqlite, cosmos, memory, null; did you mean "sqlite"?
      strategy.toml:12:1: run.max_rejects: must be a count such as 100, or a share such as "1%", found "many"
      try: correct what the message names; `docferry show` prints every setting with its origin
    "#);
    place.write("broken.toml", "[source\nconnector = \"file\"\n");
    insta::assert_snapshot!(place.docferry("migrate --strategy broken.toml").messages(), @r#"
    exit code 78
    error: reading the settings: broken.toml:1:8: syntax: unclosed table, expected `]`
      try: correct what the message names; `docferry show` prints every setting with its origin
    "#);
    insta::assert_snapshot!(place.docferry("migrate --strategy quickstat").messages(), @r#"
    exit code 78
    error: reading the settings: flag --strategy: unknown strategy "quickstat", shipped are quickstart, quickstart-sqlite, movies-to-sqlite, movies-to-jsonl, flights-to-sqlite, flights-to-jsonl; a file of your own is a path with .toml; did you mean "quickstart"?
      try: correct what the message names; `docferry show` prints every setting with its origin
    "#);
}

#[test]
fn targets_that_cannot_be_written() {
    let place = Place::new();
    place.write("in.jsonl", LINES);
    place.write("a-file", "");
    fs::create_dir(place.path("folder.jsonl")).unwrap();
    fs::create_dir(place.path("folder.db")).unwrap();
    let told = [
        "missing/out.jsonl",
        "a-file/out.jsonl",
        "a-file",
        "folder.jsonl",
        "sqlite:missing/out.db",
        "sqlite:folder.db",
    ]
    .map(|target| {
        format!("{target}: {}", place.docferry(&format!("migrate --from in.jsonl --to {target}")).messages())
    });
    insta::assert_snapshot!(told.join("\n\n"), @r#"
    missing/out.jsonl: exit code 78
    error: checking the target: its folder does not exist (path: missing/out.jsonl)
      try: create the folder first

    a-file/out.jsonl: exit code 78
    error: checking the target: it cannot be written (path: a-file/out.jsonl): Not a directory (os error 20)
      try: check the path and its permissions

    a-file: exit code 78
    error: checking the target: this is a file, and a path without an extension is a folder (path: a-file)
      try: add an extension such as .jsonl, or name a folder; standard output is -

    folder.jsonl: exit code 78
    error: checking the target: this is a folder, and a path with an extension is one file (path: folder.jsonl)
      try: name a file inside it

    sqlite:missing/out.db: exit code 78
    error: checking the target: the folder of the database does not exist (folder: missing)
      try: create the folder first

    sqlite:folder.db: exit code 78
    error: checking the target: is a folder, not a database file (path: folder.db)
      try: correct what the message names; `docferry show` prints every setting with its origin
    "#);
}

#[test]
fn a_target_that_is_not_this_jobs_stays_as_it_is() {
    let place = Place::new();
    place.write("in.jsonl", LINES);
    place.write("out.jsonl", "mine\n");
    insta::assert_snapshot!(place.docferry("migrate --from in.jsonl --to out.jsonl").messages(), @r#"
    exit code 78
    error: preparing the target: the target exists and no record of this job names it as it is (path: out.jsonl)
      try: name another target, or replace this one with --overwrite
    "#);
    assert_eq!(place.read("out.jsonl"), b"mine\n");
    assert!(!place.holds(".docferry"), "a run that never began is no job");
    place.database("out.db").execute_batch("CREATE TABLE documents (id TEXT PRIMARY KEY, document TEXT); INSERT INTO documents VALUES ('1', '{}')").unwrap();
    insta::assert_snapshot!(place.docferry("migrate --from in.jsonl --to sqlite:out.db").messages(), @r#"
    exit code 78
    error: preparing the target: the table holds rows that are not this job's (path: out.db, table: documents)
      try: name another table, or write to this one with --overwrite: its rows stay, and those with the same id are replaced
    "#);
    let rows: u32 =
        place.database("out.db").query_row("SELECT count(*) FROM documents", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

#[test]
fn a_source_is_never_its_own_target() {
    let place = Place::new();
    place.write("in.jsonl", LINES);
    let ran = place.docferry("migrate --from in.jsonl --to in.jsonl");
    insta::assert_snapshot!(ran.messages(), @r#"
    exit code 78
    error: opening the target: source and target are the same; docferry does not write onto what it reads (target: file:in.jsonl)
      try: name another target
    "#);
    let mut names = vec!["in.jsonl", "./in.jsonl"];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(place.path("in.jsonl"), place.path("symbolic.jsonl")).unwrap();
        fs::hard_link(place.path("in.jsonl"), place.path("hard.jsonl")).unwrap();
        names.extend(["symbolic.jsonl", "hard.jsonl"]);
    }
    for name in names {
        let ran = place.docferry(&format!("migrate --from in.jsonl --to {name} --overwrite"));
        assert_eq!(ran.code, 78, "{name}: {}", ran.err);
        assert_eq!(place.read("in.jsonl"), LINES.as_bytes(), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_temporary_and_a_resume_completes() {
    let place = Place::new();
    place.write("in.jsonl", orders(20_000));
    for target in ["out.jsonl", "sqlite:out.db"] {
        let ends = format!("--from in.jsonl --to {target}");
        let ran = on_a_full_disk(&place, &ends);
        assert_eq!(ran.code, 75, "{target}: {}", ran.err);
        let remedy = "  try: free some space and run the same command with --resume\n";
        assert!(ran.err.ends_with(remedy), "{target}: {}", ran.err);
        let ran = place.docferry(&format!("migrate {ends}"));
        assert_eq!(ran.code, 64, "{target}: {}", ran.err);
        let far = "came as far as ";
        assert!(ran.err.contains(far) && ran.err.contains("--resume"), "{target}: {}", ran.err);
        place.succeed(&format!("migrate {ends} --resume"));
        place.succeed(&format!("verify {ends}"));
    }
    assert_eq!(place.read("out.jsonl"), orders(20_000).as_bytes());
}

#[cfg(unix)]
#[test]
fn a_full_standard_output_is_told() {
    let place = Place::new();
    place.write("in.jsonl", orders(20_000));
    let full = File::options().write(true).open("/dev/full");
    let Ok(full) = full else { return };
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_docferry"));
    command.args(["migrate", "--from", "in.jsonl", "--to", "-"]).env_clear().current_dir(place.path(""));
    let output = command.stdout(full).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{told}");
    let remedy = told.lines().last().unwrap();
    assert!(remedy.contains("it begins anew") && !remedy.contains("--resume"), "{remedy}");
}

#[cfg(unix)]
#[test]
fn a_resume_of_what_has_changed_names_what_differs() {
    let place = Place::new();
    let source = orders(20_000);
    place.write("in.jsonl", &source);
    strategy(&place, "remove = [\"open\"]");
    assert_eq!(on_a_full_disk(&place, "--strategy strategy.toml").code, 75);
    let resume = "migrate --strategy strategy.toml --resume";

    place.write("in.jsonl", source.replacen("7.50", "8.50", 1));
    insta::assert_snapshot!(place.docferry(resume).messages(), @r#"
    exit code 78
    error: resuming the job: the job has changed since its checkpoint: the source was in.jsonl, 1006348 bytes, hash [hash], json-lines, compression none, cut every 1048576 bytes; the source is in.jsonl, 1006348 bytes, hash [hash], json-lines, compression none, cut every 1048576 bytes
      try: undo the change, or begin anew with --restart
    "#);
    place.write("in.jsonl", &source);

    strategy(&place, "remove = [\"total\"]");
    insta::assert_snapshot!(place.docferry(resume).messages(), @r#"
    exit code 78
    error: resuming the job: the job has changed since its checkpoint: the steps ([[transform]]) are others
      try: undo the change, or begin anew with --restart
    "#);
    strategy(&place, "remove = [\"open\"]");

    let written = place.read("out.jsonl");
    place.write("out.jsonl", &written[..10]);
    insta::assert_snapshot!(place.docferry(resume).messages(), @r#"
    exit code 78
    error: preparing the target: the target has changed since the checkpoint (path: out.jsonl)
      try: bring it back, or begin anew with --restart and --overwrite
    "#);
    fs::remove_file(place.path("out.jsonl")).unwrap();
    insta::assert_snapshot!(place.docferry(resume).messages(), @r#"
    exit code 78
    error: resuming the job: the job has changed since its checkpoint: the target [folder]/out.jsonl is missing
      try: undo the change, or begin anew with --restart
    "#);

    place.write("out.jsonl", &written);
    place.succeed(resume);
    place.succeed("verify --strategy strategy.toml");
}

#[cfg(unix)]
#[test]
fn a_resume_into_another_database_is_refused() {
    let place = Place::new();
    place.write("in.jsonl", orders(20_000));
    let ends = "--from in.jsonl --to sqlite:out.db";
    assert_eq!(on_a_full_disk(&place, ends).code, 75);
    place.succeed("migrate --job other --from in.jsonl --to sqlite:other.db");
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(place.path(format!("out.db{end}")));
    }
    fs::copy(place.path("other.db"), place.path("out.db")).unwrap();
    insta::assert_snapshot!(place.docferry(&format!("migrate {ends} --resume")).messages(), @r#"
    exit code 78
    error: resuming the job: the job has changed since its checkpoint: another target stands at [folder]/out.db, table documents: it was sqlite [hash] table documents, it is sqlite [hash] table documents
      try: undo the change, or begin anew with --restart
    "#);
}

#[cfg(unix)]
#[test]
fn a_damaged_checkpoint_falls_back_to_the_one_before() {
    let place = Place::new();
    place.write("in.jsonl", orders(20_000));
    let ends = "--job job --from in.jsonl --to out.jsonl";
    assert_eq!(on_a_full_disk(&place, ends).code, 75);
    place.write(".docferry/jobs/job/checkpoint.json", "{}\n0\n");
    let ran = place.succeed(&format!("migrate {ends} --resume"));
    let warning = "warning: checkpoint.json is damaged (its checksum does not match); going on from checkpoint.previous.json\n";
    assert!(ran.err.starts_with(warning), "{}", ran.err);
    assert_eq!(place.read("out.jsonl"), orders(20_000).as_bytes());
}

#[test]
fn standard_input_cannot_be_resumed() {
    let place = Place::new();
    let ran = Ran::of(
        place.command().args(["migrate", "--from", "-", "--to", "out.jsonl", "--resume"]).write_stdin(LINES),
    );
    insta::assert_snapshot!(ran.messages(), @r#"
    exit code 64
    error: resuming the job: this source cannot be gone on with from the middle
      try: run without --resume
    "#);
    assert!(!place.holds("out.jsonl"));
}

#[test]
fn a_job_in_the_hands_of_another_run_is_left_alone() {
    let place = Place::new();
    place.write("in.jsonl", LINES);
    fs::create_dir_all(place.path(".docferry/jobs/job")).unwrap();
    let lock = File::create(place.path(".docferry/jobs/job/lock")).unwrap();
    lock.lock().unwrap();
    let line = "migrate --job job --from in.jsonl --to out.jsonl";
    insta::assert_snapshot!(place.docferry(line).messages(), @r#"
    exit code 73
    error: locking the job: another run of this job is going on (path: .docferry/jobs/job/lock)
      try: wait until it has ended, or stop it; if it is another migration, --job NAME gives this one a name of its own
    "#);
    assert!(!place.holds("out.jsonl"));
    assert!(place.succeed("jobs").out.starts_with("job  running"));
    drop(lock);
    place.succeed(line);
}

/// A strategy with one step, from `in.jsonl` to `out.jsonl`.
fn strategy(place: &Place, step: &str) {
    let text = format!(
        "[source]\nconnector = \"file\"\npath = \"in.jsonl\"\n\n[[transform]]\n{step}\n\n[target]\nconnector = \"file\"\npath = \"out.jsonl\"\n"
    );
    place.write("strategy.toml", text);
}

/// Migrates where no file may grow beyond some hundred kilobytes, which to a process looks like a full disk: a write takes a part of its
/// bytes and the next one fails.
#[cfg(unix)]
fn on_a_full_disk(place: &Place, ends: &str) -> Ran {
    // Without the trap the system would end the process before it sees the failed write.
    let script =
        format!("trap '' XFSZ; ulimit -f 600; exec '{}' migrate {ends}", env!("CARGO_BIN_EXE_docferry"));
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .env_clear()
        .current_dir(place.path(""))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

fn summary(place: &Place, job: &str) -> serde_json::Value {
    serde_json::from_slice(&place.read(&format!(".docferry/jobs/{job}/summary.json"))).unwrap()
}
