//! What a run says of the machine it runs on: graphics processors, from a library that the tests make; and what looking costs.

use crate::place::{Place, Ran, orders, skip};
use crate::support::{KNOBS, is_long};
use docferry::model::meter::{LaneCharge, Meter};
use docferry::model::sample::GpuUse;
use docferry::observe::Observer;
use docferry::observe::gpu::{Places, Survey};
use docferry::observe::host::Host;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// Makes `libnvidia-ml.so.1` in the place's folder `name`; none, if there is no C compiler.
fn stub(place: &Place, name: &str, options: &[String]) -> Option<PathBuf> {
    let folder = place.path(name);
    std::fs::create_dir(&folder).unwrap();
    let library = folder.join("libnvidia-ml.so.1");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nvml/stub.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(&library).arg(source).args(options);
    let Ok(output) = compiler.output() else {
        skip("there is no C compiler (cc)");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(library)
}

/// A stub that is told by the file `state`, for use in this process.
fn told_by(place: &Place, state: &str) -> String {
    format!("-DSTATE=\"{}\"", place.path(state).display())
}

fn survey(library: &Path, visible: Option<&str>) -> Survey {
    // No cards but those of the library.
    let root = library.parent().unwrap().to_owned();
    let visible = visible.map(str::to_owned);
    Survey::new(Places { root, nvml: library.to_owned(), cuda_visible_devices: visible })
}

fn gpu(name: &str, used: Option<u64>, busy: Option<f64>) -> GpuUse {
    let total = used.map(|_| 16_384 * MIB);
    GpuUse { name: name.to_owned(), used: used.map(|mib| mib * MIB), total, busy }
}

#[test]
fn gpus_tell_what_they_can_and_those_that_are_hidden_nothing() {
    let place = Place::new();
    place.write("state", "2048 35\n20 -1\n");
    let Some(library) = stub(&place, "whole", &[told_by(&place, "state")]) else { return };
    let mut all = survey(&library, None);
    assert!(all.look());
    let [first, second] = [gpu("Stub GPU #0", Some(2048), Some(0.35)), gpu("Stub GPU #1", Some(20), None)];
    assert_eq!(all.measure(), [first.clone(), second.clone()], "the second does not tell how busy it is");
    place.write("state", "9000 80\n-1 0\n");
    let moved = gpu("Stub GPU #0", Some(9000), Some(0.8));
    assert_eq!(all.measure(), [moved, gpu("Stub GPU #1", None, None)], "the second is lost");
    place.write("state", "2048 35\n20 -1\n");
    let alone = |of: GpuUse| GpuUse { name: "Stub GPU".to_owned(), ..of };
    for (visible, expected) in [
        ("1", vec![alone(second.clone())]),
        ("GPU-00000000", vec![alone(first)]),
        ("MIG-1,2,0", vec![alone(second)]),
        ("", vec![]),
        ("-1", vec![]),
    ] {
        let mut survey = survey(&library, Some(visible));
        assert_eq!(survey.look(), !expected.is_empty(), "{visible}");
        assert_eq!(survey.measure(), expected, "{visible}");
    }
}

#[test]
fn a_library_that_lacks_functions_or_a_driver_does_no_harm() {
    let place = Place::new();
    let options = [told_by(&place, "state"), "-DPARTIAL".to_owned()];
    let Some(library) = stub(&place, "partial", &options) else { return };
    let mut partial = survey(&library, None);
    assert!(!partial.look(), "the driver is not loaded");
    place.write("state", "1 1\n");
    assert!(partial.look(), "it was loaded meanwhile");
    assert_eq!(partial.measure(), [gpu("NVIDIA GPU", None, None)]);
    drop(partial);
    place.write("whole.so", "no library");
    assert!(!survey(&place.path("whole.so"), None).look());
}

/// A run that goes on for as long as it is looked at.
struct Run {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Run {
    /// Documents to nowhere, slowly; events are told every second.
    fn start(place: &Place, library: &Path) -> Self {
        place.write("in.jsonl", orders(100_000));
        let line =
            "migrate --from in.jsonl --to null: --max-rate 500 --json --scaling-policy gpu-memory-based";
        let mut child = Command::new(env!("CARGO_BIN_EXE_docferry"))
            .args(line.split(' '))
            .current_dir(place.path(""))
            .env_clear()
            .env("LD_LIBRARY_PATH", library.parent().unwrap())
            .env("NVML_STUB_STATE", place.path("state"))
            .env("AUTO_SCALING_CHECK_INTERVAL", "5")
            .env("AUTO_SCALING_MIN_WORKERS", "4")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next event.
    fn any(&mut self) -> Value {
        let line = self.lines.next().expect("the run has ended").unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// The next event of that name.
    fn next(&mut self, name: &str) -> Value {
        loop {
            let event = self.any();
            if event["event"] == name {
                return event;
            }
        }
    }

    /// Reads samples until what the GPUs use is this, in MiB.
    fn until_used(&mut self, expected: Value) {
        for _ in 0..20 {
            let sampled = self.next("sampled");
            let used = |gpu: &Value| gpu["used"].as_u64().map(|bytes| bytes / MIB);
            let found: Vec<_> = sampled["gpus"].as_array().unwrap().iter().map(used).collect();
            if json!(found) == expected {
                return;
            }
        }
        panic!("the GPUs never used {expected}");
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_run_shows_two_gpus_whose_memory_moves() {
    let place = Place::new();
    let Some(library) = stub(&place, "library", &[]) else { return };
    place.write("state", "2048 35\n20000 10\n");
    let mut run = Run::start(&place, &library);
    let found = run.next("gpus");
    assert_eq!(found["message"], "2 GPUs: Stub GPU #0 with 16.0 GiB, Stub GPU #1 with 16.0 GiB");
    assert_eq!(found["gpus"][1], json!({ "name": "Stub GPU #1", "bytes": 16_384 * MIB }));
    run.until_used(json!([2048, 20000]));
    place.write("state", "9000 80\n12000 10\n");
    run.until_used(json!([9000, 12000]));
    place.write("state", "9500 80\n-1 0\n");
    run.until_used(json!([9500, null]));
}

/// The profile's ceiling is 75 % of 16 GiB. The second GPU fills up by 300 MiB a second, as told by five progress events.
#[test]
fn workers_are_cut_before_a_gpu_is_full() {
    let place = Place::new();
    let Some(library) = stub(&place, "library", &[]) else { return };
    let mut used = 6_000;
    place.write("state", format!("2048 35\n{used} 10\n"));
    let mut run = Run::start(&place, &library);
    run.next("gpus");
    let cut = loop {
        let event = run.any();
        if event["event"] == "progress" {
            used += 60;
            // Written aside and moved, so that it is never read half.
            place.write("next", format!("2048 35\n{used} 10\n"));
            std::fs::rename(place.path("next"), place.path("state")).unwrap();
        }
        if event["event"] == "decision" && event["effect"] == "turned" && event["knob"] == "transformers" {
            break event;
        }
        assert!(used < 16_000, "nothing was cut");
    };
    assert!(used < 12_288, "cut at {used} MiB: {cut}");
    assert_eq!(cut["reason"], "gpu ceiling", "{cut}");
    assert!(cut["to"].as_u64() < cut["from"].as_u64(), "{cut}");
    assert!(cut["because"].as_str().unwrap().contains("of the GPU's memory in use"), "{cut}");
}

#[test]
fn a_run_without_gpus_says_so_once_and_goes_on() {
    let place = Place::new();
    place.write("in.jsonl", orders(10));
    let events: Vec<Value> = place
        .succeed("migrate --from in.jsonl --to out.jsonl --json")
        .err
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found: Vec<&Value> = events.iter().filter(|event| event["event"] == "gpus").collect();
    assert_eq!(found.len(), 1);
    if found[0]["gpus"] != json!([]) {
        return skip("this machine has a GPU");
    }
    assert_eq!(found[0]["message"], "no GPU");
    let told = |flag: &str| -> Ran {
        place.succeed(&format!("migrate --from in.jsonl --to null: --restart {flag}"))
    };
    assert_eq!(told("-v").err.matches("no GPU").count(), 1);
    assert_eq!(
        told("--no-auto-scaling").err.matches("GPU").count(),
        0,
        "only who wants to read much reads it"
    );
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let used = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    Duration::from_micros((used.user_time() + used.system_time()).num_microseconds() as u64)
}

/// At most 0.05 % of a core at a tick a second: 500 microseconds a sample, with two GPUs and a hundred lanes.
#[test]
fn a_sample_costs_half_a_millisecond_at_most() {
    let place = Place::new();
    place.write("state", "2048 35\n20000 10\n");
    let Some(library) = stub(&place, "library", &[told_by(&place, "state")]) else { return };
    let mut gpus = survey(&library, None);
    assert!(gpus.look());
    let meter = Arc::new(Meter::default());
    let charges = || vec![LaneCharge { request_units: 1.0, budget: Some(1.0) }; 100];
    let mut observer = Observer::new(Arc::clone(&meter), Host::new()).with_charges(charges);
    let rounds = if is_long() { 10_000 } else { 200 };
    let began = cpu();
    for round in 0..rounds {
        // A second's requests would be more, and what a histogram costs to read does not hang on their number.
        meter.latency.record(Duration::from_millis(u64::from(round % 50)));
        assert!(!observer.close(&KNOBS).lanes.is_empty());
    }
    let sample = (cpu() - began) / rounds;
    let began = cpu();
    for _ in 0..rounds {
        assert_eq!(gpus.measure().len(), 2);
    }
    let two_gpus = (cpu() - began) / rounds;
    let began = cpu();
    for _ in 0..rounds * 100 {
        let mut working = meter.requests.begin();
        working.progressed(50, 5_000);
        working.finish(100, 10_000);
    }
    let piece = (cpu() - began) / (rounds * 100);
    eprintln!("a sample takes {sample:?} of CPU, two GPUs {two_gpus:?}, a piece of work {piece:?}");
    // Code that is not optimised, on a machine that others use, is given more.
    let most = Duration::from_micros(if is_long() { 500 } else { 2_000 });
    assert!(sample + two_gpus < most, "{sample:?} and {two_gpus:?}");
    assert!(piece < Duration::from_micros(5), "{piece:?}");
}
