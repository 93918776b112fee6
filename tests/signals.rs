//! Signals to a real process: the first stops a run politely and soon, the second at once.

use crate::place::Place;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a supervisor waits before it kills is ten seconds and more; a person is less patient.
const SOON: Duration = Duration::from_secs(5);

fn start(place: &Place, line: &str, stderr: Stdio) -> Child {
    Command::new(env!("CARGO_BIN_EXE_docferry"))
        .args(line.split(' '))
        .current_dir(place.path(""))
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// Reads lines of standard error until one begins so.
fn wait_for(told: &mut impl BufRead, beginning: &str) {
    let mut line = String::new();
    while !line.starts_with(beginning) {
        line.clear();
        assert!(told.read_line(&mut line).unwrap() > 0, "no line begins with {beginning:?}");
    }
}

#[test]
fn a_silent_standard_input_does_not_hold_up_a_stop() {
    for (name, code) in [("-TERM", 143), ("-INT", 130)] {
        for given in ["", "{\"id\":1}\n", "{\"id\":"] {
            let place = Place::new();
            let mut child = start(&place, "migrate --from - --to out.jsonl", Stdio::piped());
            let mut told = BufReader::new(child.stderr.take().unwrap());
            child.stdin.as_mut().unwrap().write_all(given.as_bytes()).unwrap();
            wait_for(&mut told, "starting job ");
            let began = Instant::now();
            signal(&child, name);
            wait_for(&mut told, "interrupted by ");
            // Its input stays open: waiting on the child alone would close it.
            let input = child.stdin.take();
            assert_eq!(child.wait().unwrap().code(), Some(code), "{name} {given:?}");
            assert!(began.elapsed() < SOON, "{name} {given:?}: {:?}", began.elapsed());
            drop(input);
            let rest: Vec<String> = told.lines().map(Result::unwrap).collect();
            let last = rest.last().unwrap();
            assert_eq!(last, "it cannot be gone on with; the same command begins anew");
        }
    }
}

/// Documents go to a pipe that nobody reads, so the polite stop waits for a request that does not end.
#[test]
fn a_second_signal_ends_the_process_at_once() {
    let place = Place::new();
    place.write("in.jsonl", crate::place::orders(50_000));
    let mut child = start(&place, "migrate --from in.jsonl --to -", Stdio::piped());
    let mut told = BufReader::new(child.stderr.take().unwrap());
    wait_for(&mut told, "starting job ");
    // A request is under way, and is too large for the pipe.
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    signal(&child, "-TERM");
    wait_for(&mut told, "stopping (SIGTERM)");
    let began = Instant::now();
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

/// What the run tells goes to a socket that is full and that nobody reads: the documents have all arrived, and the report does not end.
#[test]
fn a_second_signal_is_heard_when_only_the_report_is_left() {
    let place = Place::new();
    place.write("in.jsonl", crate::place::orders(10));
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    while writer.write(b"\n").is_ok() {}
    writer.set_nonblocking(false).unwrap();
    let mut child = start(&place, "migrate --from in.jsonl --to out.jsonl", OwnedFd::from(writer).into());
    let checkpoint = place.path(".docferry/jobs/file-out.jsonl/checkpoint.json");
    let began = Instant::now();
    while !fs::read_to_string(&checkpoint).is_ok_and(|text| text.contains("\"finished\":true")) {
        assert!(began.elapsed() < Duration::from_secs(60), "the run did not come to its end");
        std::thread::yield_now();
    }
    assert!(child.try_wait().unwrap().is_none(), "it has something left to tell");
    signal(&child, "-TERM");
    signal(&child, "-INT");
    let began = Instant::now();
    // Two that come together may be heard in either order.
    let ended = child.wait().unwrap();
    assert!(matches!(ended.code(), Some(130 | 143)), "{ended}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    drop(reader);
}
