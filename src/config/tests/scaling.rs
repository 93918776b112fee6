//! The layers of the tuner's figures: who wins, what contradicts, and that every file and every variable is followed.

use super::{cores, endpoints, flag, line};
use crate::config::asked::{Asked, Given};
use crate::config::document;
use crate::config::environment::Environment;
use crate::config::job::Job;
use crate::config::resolve;
use crate::config::shipped::{PRESETS, PROFILES};
use crate::model::knobs::{Knob, Knobs};
use crate::model::scaling::{Policy, Scaling};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// A strategy file and a state folder, as many layers over them as a test wants.
struct Layers {
    folder: TempDir,
    asked: Asked,
    variables: Vec<(&'static str, String)>,
    cores: usize,
}

impl Layers {
    fn new(strategy: &str) -> Layers {
        let folder = tempfile::tempdir().unwrap();
        let ends = "[source]\nconnector='null'\n[target]\nconnector='null'\n";
        fs::write(folder.path().join("s.toml"), format!("{ends}{strategy}")).unwrap();
        let text = |name: &str| folder.path().join(name).display().to_string();
        let asked = Asked {
            strategy: flag("--strategy", &text("s.toml")),
            state: flag("--state", &text("state")),
            ..Asked::default()
        };
        Layers { folder, asked, variables: Vec::new(), cores: 8 }
    }

    fn variable(mut self, name: &'static str, value: &str) -> Layers {
        self.variables.push((name, value.to_owned()));
        self
    }

    fn run_flag(mut self, name: &'static str, value: &str) -> Layers {
        self.asked.run.push((name, Given::flag(&format!("--{name}"), value)));
        self
    }

    fn flag(mut self, name: &'static str, value: &str) -> Layers {
        self.asked.scaling.push((name, Given::flag(&format!("--{name}"), value)));
        self
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn resolve(&self) -> Result<Job, String> {
        let variables: Vec<(&str, &str)> =
            self.variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let folder = format!("{}/", self.folder.path().display());
        resolve(&self.asked, &Environment::of(&variables, self.cores))
            .map_err(|error| error.to_string().replace(&folder, ""))
    }

    fn job(&self) -> Job {
        self.resolve().unwrap()
    }
}

#[test]
fn every_variable_is_followed_and_stands_on_the_page() {
    let page = include_str!("../../../docs/auto-scaling.md");
    let named: BTreeSet<&str> =
        page.split(['`', '=']).filter(|word| word.starts_with("AUTO_SCALING_")).collect();
    assert_eq!(named.len(), 16, "{named:?}");
    for (variable, value, path, printed) in [
        ("AUTO_SCALING_PROFILE", "aggressive", "run.profile", "\"aggressive\""),
        ("AUTO_SCALING_STRATEGY", "workload-based", "scaling.policy", "\"workload-based\""),
        ("AUTO_SCALING_TARGET_DOCS_PER_SECOND", "777", "scaling.target_docs_per_second", "777"),
        ("AUTO_SCALING_TARGET_CPU_USAGE", "66", "scaling.target_cpu_usage", "66%"),
        ("AUTO_SCALING_TARGET_MEMORY_USAGE", "71%", "scaling.target_memory_usage", "71%"),
        ("AUTO_SCALING_TARGET_ERROR_RATE", "0.5", "scaling.target_error_rate", "0.5%"),
        ("AUTO_SCALING_CPU_SCALE_UP_THRESHOLD", "61", "scaling.cpu_scale_up_threshold", "61%"),
        ("AUTO_SCALING_CPU_SCALE_DOWN_THRESHOLD", "31", "scaling.cpu_scale_down_threshold", "31%"),
        ("AUTO_SCALING_MEMORY_SCALE_UP_THRESHOLD", "62", "scaling.memory_scale_up_threshold", "62%"),
        ("AUTO_SCALING_MEMORY_SCALE_DOWN_THRESHOLD", "32", "scaling.memory_scale_down_threshold", "32%"),
        ("AUTO_SCALING_MIN_WORKERS", "3", "scaling.min_workers", "3"),
        ("AUTO_SCALING_MAX_WORKERS", "12", "scaling.max_workers", "12"),
        ("AUTO_SCALING_MIN_BATCH_SIZE", "3000", "scaling.min_batch_size", "3000"),
        ("AUTO_SCALING_MAX_BATCH_SIZE", "9000", "scaling.max_batch_size", "9000"),
        ("AUTO_SCALING_CHECK_INTERVAL", "7", "scaling.check_interval", "7 s"),
        ("AUTO_SCALING_COOLDOWN", "45s", "scaling.cooldown", "45 s"),
    ] {
        assert!(named.contains(variable), "{variable}");
        let job = Layers::new("").variable(variable, value).job();
        assert_eq!(line(&job, path), format!("{printed} (environment {variable})"));
    }
}

#[test]
fn what_variables_say_reaches_the_tuner() {
    let job = Layers::new("")
        .variable("AUTO_SCALING_STRATEGY", "gpu-memory-based")
        .variable("AUTO_SCALING_TARGET_MEMORY_USAGE", "60")
        .variable("AUTO_SCALING_TARGET_ERROR_RATE", "4")
        .variable("AUTO_SCALING_CPU_SCALE_DOWN_THRESHOLD", "20")
        .variable("AUTO_SCALING_CHECK_INTERVAL", "15")
        .flag("stop_at_target", "true")
        .job();
    let Scaling { policy, ceilings, check_interval, stop_at_target, .. } = job.scaling;
    assert_eq!((policy, stop_at_target), (Policy::GpuMemoryBased, true));
    assert_eq!((ceilings.memory, ceilings.gpu_memory), (0.6, 0.6), "one wish for both memories");
    assert_eq!(ceilings.memory_grow_below, 0.6, "a profile's level gives way");
    assert_eq!((ceilings.errors, ceilings.cpu_shrink_below), (0.04, 0.2));
    assert_eq!(check_interval, Duration::from_secs(15));
}

/// Every subset of the layers: the uppermost that says something wins, whatever lies under it.
#[test]
fn the_uppermost_layer_wins_in_every_combination() {
    const LAYERS: usize = 4;
    for said in 0..1_u32 << LAYERS {
        let says = |layer: usize| said & (1 << layer) != 0;
        let value = |layer: usize| 40 + layer;
        let text = |layer: usize| {
            if says(layer) { format!("max_workers = {}\n", value(layer)) } else { String::new() }
        };
        let mut layers = Layers::new(&format!("[scaling]\n{}", text(2)));
        let preset = layers.file("preset.toml", &text(0));
        let profile = layers.file("profile.toml", &text(1));
        layers = layers.flag("preset", &preset).run_flag("profile", &profile);
        if says(3) {
            layers = layers.variable("AUTO_SCALING_MAX_WORKERS", &value(3).to_string());
        }
        let expected = (0..LAYERS).rev().find(|layer| says(*layer)).map_or(30, value);
        assert_eq!(layers.job().scaling.bounds.most.readers, expected, "{said:04b}");
    }
}

/// The same for a knob, where what is remembered lies between the profile and the strategy.
#[test]
fn a_knob_begins_with_the_uppermost_layer_in_every_combination() {
    const LAYERS: usize = 5;
    for said in 0..1_u32 << LAYERS {
        let says = |layer: usize| said & (1 << layer) != 0;
        let value = |layer: usize| 10 + layer;
        let text = |layer: usize, name: &str| {
            if says(layer) { format!("{name} = {}\n", value(layer)) } else { String::new() }
        };
        let mut layers = Layers::new(&format!("[run]\n{}", text(3, "readers")));
        let preset = layers.file("preset.toml", &text(0, "min_workers"));
        let profile = layers.file("profile.toml", &text(1, "min_workers"));
        layers = layers.flag("preset", &preset).run_flag("profile", &profile);
        if says(2) {
            let job = layers.job();
            let knobs = Knobs { readers: value(2), ..job.knobs };
            // Kept by a run to whom no knob was fixed.
            let mut bounds = job.scaling.bounds;
            (bounds.least.readers, bounds.most.readers) = (1, 30);
            job.memory.keep("run", &knobs, &bounds).unwrap();
        }
        if says(4) {
            layers = layers.run_flag("readers", &value(4).to_string());
        }
        let expected = (0..LAYERS).rev().find(|layer| says(*layer)).map_or(4, value);
        let job = layers.job();
        let printed = line(&job, "run.readers");
        assert_eq!(job.knobs.readers, expected, "{said:05b}");
        assert_eq!(
            printed.contains("(remembered in "),
            says(2) && expected == value(2),
            "{said:05b} {printed}"
        );
    }
}

#[test]
fn contradictions_and_wrong_units_are_told_with_where_they_come_from() {
    let strategy = "[scaling]\nconfidence = 85\ntarget_error_rate = 0.02\nlatency_target = 'never'\nsearch_step = 0.5\n\
                    settled_step = 3\ndirection_limit = 2.5\npolcy = 'hybrid'\n";
    let layers = Layers::new(strategy)
        .variable("AUTO_SCALING_CHECK_INTERVAL", "1")
        .variable("AUTO_SCALING_CPU_SCALE_DOWN_THRESHOLD", "68")
        .variable("AUTO_SCALING_MEMORY_SCALE_UP_THRESHOLD", "90")
        .variable("AUTO_SCALING_MIN_BATCH_SIZE", "500")
        .variable("AUTO_SCALING_MAX_BATCH_SIZE", "400");
    insta::assert_snapshot!(layers.resolve().unwrap_err(), @r#"
    reading the settings: 10 problems
      s.toml:6:1: scaling.confidence: must be a share from 0.5 to 0.999, such as 0.85, found 85
      s.toml:7:1: scaling.target_error_rate: must be a percentage from 0.1 to 100, such as 70 or 70%, found 0.02
      s.toml:8:1: scaling.latency_target: must be "off" or seconds from 0.001 to 60, such as 0.25, found "never"
      s.toml:9:1: scaling.search_step: must be a factor from 1.1 to 4, such as 1.5, found 0.5
      s.toml:11:1: scaling.direction_limit: must be a whole number from 1 to 100, found 2.5
      s.toml:12:1: scaling.polcy: unknown setting; did you mean "policy"?
      environment AUTO_SCALING_MIN_BATCH_SIZE: scaling.min_batch_size: is 500, above max_batch_size 400 (environment AUTO_SCALING_MAX_BATCH_SIZE)
      environment AUTO_SCALING_CPU_SCALE_DOWN_THRESHOLD: scaling.cpu_scale_down_threshold: is 68%, above cpu_scale_up_threshold 65% (profile balanced)
      environment AUTO_SCALING_MEMORY_SCALE_UP_THRESHOLD: scaling.memory_scale_up_threshold: is 90%, above target_memory_usage 75% (profile balanced)
      environment AUTO_SCALING_CHECK_INTERVAL: scaling.check_interval: must be seconds from 5 to 15, such as 15, found 1
    "#);
}

#[test]
fn an_unknown_policy_preset_or_profile_is_told_with_the_nearest_name() {
    let layers = Layers::new("[scaling]\npreset = 'prodution'\n[run]\nprofile = 'balaned'\n")
        .variable("AUTO_SCALING_STRATEGY", "hybird");
    insta::assert_snapshot!(layers.resolve().unwrap_err(), @r#"
    reading the settings: 3 problems
      s.toml:6:1: scaling.preset: unknown preset "prodution", shipped are development, testing, production; a file of your own is a path with .toml; did you mean "production"?
      s.toml:8:1: run.profile: unknown profile "balaned", shipped are conservative, balanced, aggressive; a file of your own is a path with .toml; did you mean "balanced"?
      environment AUTO_SCALING_STRATEGY: scaling.policy: is "hybird", allowed are hybrid, workload-based, gpu-memory-based, conservative, aggressive; did you mean "hybrid"?
    "#);
}

#[test]
fn a_policy_of_a_profile_chooses_it_or_contradicts_another() {
    let alone = Layers::new("").flag("policy", "aggressive").job();
    assert_eq!(line(&alone, "run.profile"), "\"aggressive\" (flag --policy)");
    assert_eq!((alone.scaling.confidence, alone.scaling.ceilings.cpu), (0.75, 0.8));
    let over_preset = Layers::new("[scaling]\npreset='development'\n").flag("policy", "aggressive").job();
    assert_eq!(over_preset.scaling.confidence, 0.75, "a preset gives way");
    let same = Layers::new("[run]\nprofile='conservative'\n").flag("policy", "conservative").job();
    assert_eq!((same.scaling.policy, same.scaling.confidence), (Policy::Conservative, 0.95));
    let other = Layers::new("[run]\nprofile='aggressive'\n").flag("policy", "workload-based").job();
    assert_eq!((other.scaling.policy, other.scaling.confidence), (Policy::WorkloadBased, 0.75));
    let against = Layers::new("").variable("AUTO_SCALING_PROFILE", "balanced").flag("policy", "aggressive");
    insta::assert_snapshot!(against.resolve().unwrap_err(), @r#"reading the settings: flag --policy: scaling.policy: is "aggressive", which stands for the profile of that name, and the profile is "balanced" (environment AUTO_SCALING_PROFILE); leave one of the two out, or take the policy hybrid"#);
    let mut own = Layers::new("[scaling]\npolicy='aggressive'\n");
    let path = own.file("aggressive.toml", "");
    own = own.run_flag("profile", &path);
    assert!(own.resolve().unwrap_err().contains("scaling.policy: is \"aggressive\", which stands for"));
}

/// What the design promises of the three, and the whole of `Scaling` that a profile decides.
#[test]
fn every_shipped_profile_is_what_it_promises() {
    let promised = [
        ("conservative", 5_000.0, [0.60, 0.70, 0.01], [0.95, 1.5, 0.15], 60),
        ("balanced", 10_000.0, [0.70, 0.75, 0.02], [0.85, 2.0, 0.10], 30),
        ("aggressive", 20_000.0, [0.80, 0.85, 0.05], [0.75, 2.0, 0.05], 15),
    ];
    assert_eq!(
        promised.map(|(name, ..)| name).to_vec(),
        PROFILES.files.iter().map(|file| file.name).collect::<Vec<_>>()
    );
    for (name, goal, ceilings, statistics, cooldown) in promised {
        let run = vec![("profile", Given::flag("--auto-scaling-profile", name))];
        let job = resolve(&Asked { run, ..endpoints() }, &cores(16)).unwrap();
        let scaling = &job.scaling;
        let of = &scaling.ceilings;
        assert_eq!(
            (scaling.target_docs_per_second, [of.cpu, of.memory, of.errors]),
            (goal, ceilings),
            "{name}"
        );
        assert_eq!(of.gpu_memory, of.memory, "{name}");
        assert_eq!([scaling.confidence, scaling.search_step, scaling.worth], statistics, "{name}");
        assert_eq!(scaling.cooldown, Duration::from_secs(cooldown), "{name}");
        assert_eq!((scaling.settled_step, scaling.step_workers, scaling.batch_step), (1.2, 8, 1.6), "{name}");
        assert_eq!(
            (scaling.direction_limit, scaling.smoothing, scaling.latency_target),
            (6, 0.3, None),
            "{name}"
        );
        assert_eq!(scaling.check_interval, Duration::from_secs(5), "{name}");
        assert_eq!((scaling.policy, scaling.stop_at_target), (Policy::Hybrid, false), "{name}");
        assert!(of.cpu_shrink_below < of.cpu_grow_below && of.cpu_grow_below < of.cpu, "{name}");
        assert!(of.memory_shrink_below < of.memory_grow_below && of.memory_grow_below < of.memory, "{name}");
        let (least, most) = (scaling.bounds.least, scaling.bounds.most);
        assert_eq!((least.readers, most.readers, most.requests_in_flight), (4, 30, 512), "{name}");
        assert_eq!((least.batch_documents, most.batch_documents), (2_000, 75_000), "{name}");
    }
}

/// Every line of a profile says why, and a line that could have no effect under the profile that it names is none that a preset should have.
#[test]
fn every_line_of_a_shipped_file_has_its_reason_and_its_effect() {
    for shelf in [PROFILES, PRESETS] {
        for file in shelf.files {
            for line in file.text.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', 'a'])) {
                let reason = line.split_once('#').map_or("", |(_, reason)| reason.trim());
                assert!(reason.len() > 25, "{}: {line}", file.name);
            }
        }
    }
    for file in PRESETS.files {
        let job = Layers::new("").flag("preset", file.name).job();
        let (entries, _) = document::read(file.name, file.text, &cores(1));
        for (name, _) in entries.iter().filter(|(name, _)| name != "about") {
            let at = |table: &str| line(&job, &format!("{table}.{name}"));
            let has_effect = [at("run"), at("scaling")]
                .iter()
                .any(|line| line.ends_with(&format!("(preset {})", file.name)));
            assert!(has_effect, "{}: {name}", file.name);
        }
    }
}

#[test]
fn presets_fill_in_what_the_profile_leaves_open() {
    let with = |name: &str| Layers::new("").flag("preset", name).job();
    let development = with("development");
    assert_eq!(development.scaling.bounds.most.readers, 4);
    assert_eq!((development.scaling.ceilings.cpu, development.knobs.credit_bytes), (0.6, 16 << 20));
    let testing = with("testing");
    assert_eq!((testing.scaling.bounds.least.readers, testing.scaling.bounds.most.readers), (2, 2));
    assert_eq!((testing.knobs.batch_documents, testing.scaling.bounds.most.batch_documents), (1_000, 1_000));
    assert_eq!(testing.scaling.bounds.most.requests_in_flight, 8);
    for (knob, value) in
        [("readers", "2"), ("transformers", "2"), ("requests_in_flight", "8"), ("batch_documents", "1000")]
    {
        assert_eq!(line(&testing, &format!("run.{knob}")), format!("{value} (preset testing)"));
    }
    assert_eq!(testing.scaling.cooldown, Duration::from_secs(15));
    let (production, none) = (with("production"), Layers::new("").job());
    let mut bounds = none.scaling.bounds;
    (bounds.most.readers, bounds.most.transformers) = (64, 64);
    assert_eq!(production.scaling, Scaling { bounds, ..none.scaling }, "nothing else changes");
    let over = Layers::new("[run]\nprofile='balanced'\n").flag("preset", "development");
    let over = over.variable("AUTO_SCALING_MAX_WORKERS", "6").run_flag("credits", "8 MiB").job();
    assert_eq!((over.scaling.ceilings.cpu, over.scaling.bounds.most.readers), (0.7, 6));
    assert_eq!(over.knobs.credit_bytes, 8 << 20);
}

#[test]
fn a_profile_of_ones_own_says_what_differs_and_no_more() {
    let mut layers = Layers::new("");
    let preset = layers.file("p.toml", "cooldown = 8\nsmoothing = 0.5\n");
    let profile = layers.file("mine.toml", "cooldown = 9\nlatency_target = '250 ms'\n");
    layers = layers.flag("preset", &preset).run_flag("profile", &profile);
    let job = layers.job();
    assert_eq!((job.scaling.cooldown, job.scaling.smoothing), (Duration::from_secs(9), 0.5));
    assert_eq!(job.scaling.latency_target, Some(Duration::from_millis(250)));
    assert_eq!(line(&job, "scaling.confidence"), "0.85 (profile balanced)");
    layers.file("mine.toml", "min_workers = 20\nmax_workers = 10\ncpu_scale_up_threshold = 90\n");
    insta::assert_snapshot!(layers.resolve().unwrap_err(), @r"
    reading the settings: 2 problems
      mine.toml:1:1: scaling.min_workers: is 20, above max_workers 10 (mine.toml:2:1)
      mine.toml:3:1: scaling.cpu_scale_up_threshold: is 90%, above target_cpu_usage 70% (profile balanced)
    ");
    layers.file("mine.toml", "min_workers = 40\ntarget_cpu_usage = 50\n");
    let bounds = |job: &Job| (job.scaling.bounds.least.readers, job.scaling.bounds.most.readers);
    assert_eq!(bounds(&layers.job()), (40, 40), "the profile wins over what is built in");
    layers.file("mine.toml", "policy = 'hybrid'\nmax_wrkers = 3\ncredits = '8 MiB'\n");
    insta::assert_snapshot!(layers.resolve().unwrap_err(), @r#"
    reading the settings: 3 problems
      mine.toml:1:1: scaling.policy: is no figure of a profile or a preset; it belongs into [scaling] of a strategy, or to a flag
      mine.toml:2:1: scaling.max_wrkers: unknown setting; did you mean "max_workers"?
      mine.toml:3:1: scaling.credits: unknown setting; allowed are batch_step, check_interval, cold_start, confidence, cooldown, cpu_scale_down_threshold, cpu_scale_up_threshold, direction_limit, latency_target, max_batch_size, max_requests_in_flight, max_workers, memory_scale_down_threshold, memory_scale_up_threshold, min_batch_size, min_workers, policy, preset, search_step, settled_step, smoothing, step_workers, stop_at_target, target_cpu_usage, target_docs_per_second, target_error_rate, target_gpu_memory_usage, target_memory_usage, worth
    "#);
}

#[test]
fn a_warm_start_keeps_to_its_shape_and_can_be_declined() {
    let layers = Layers::new("");
    let job = layers.job();
    let knobs = Knobs { readers: 20, requests_in_flight: 100, ..job.knobs };
    job.memory.keep("run", &knobs, &job.scaling.bounds).unwrap();
    assert_eq!(layers.job().knobs, knobs);
    let begin = |layers: Layers| (layers.job().knobs.readers, layers.job().knobs.get(Knob::RequestsInFlight));
    let again = |strategy: &str| {
        let mut other = Layers::new(strategy);
        other.asked.state.clone_from(&layers.asked.state);
        other
    };
    assert_eq!(begin(again("")), (20, 100), "another strategy file that says the same");
    assert_eq!(begin(again("[scaling]\nmax_workers = 10\n")), (10, 100), "inside the bounds");
    assert_eq!(begin(again("").flag("cold_start", "true")), (4, 8));
    assert_eq!(begin(again("").run_flag("auto_scaling", "false")), (4, 8), "nothing is tuned");
    assert_eq!(begin(again("").run_flag("profile", "conservative")), (4, 8), "other ceilings");
    assert_eq!(begin(again("[[transform]]\nremove = ['a']\n")), (4, 8), "other steps");
    assert_eq!(begin(Layers { cores: 16, ..again("") }), (4, 8), "another machine");
    let mut elsewhere = again("");
    elsewhere.asked.to = flag("--to", "out.jsonl");
    assert_eq!(begin(elsewhere), (4, 8), "another target");
}

#[test]
fn a_damaged_memory_is_a_warning_and_a_cold_start() {
    let layers = Layers::new("");
    let path = layers.job().memory.path().to_owned();
    fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).unwrap();
    fs::write(&path, "{").unwrap();
    let job = layers.job();
    assert_eq!(job.knobs.readers, 4);
    assert!(job.remembered.warning.unwrap().contains(" is damaged ("));
    assert!(layers.flag("cold_start", "true").job().remembered.warning.is_none(), "it is not even read");
}
