//! Strategies, variables and flags in, jobs or problems out.

use super::asked::{Asked, Given};
use super::environment::Environment;
use super::job::{Job, MaxRejects};
use super::shipped::STRATEGIES;
use super::{resolve, show};
use crate::error::{ErrorKind, Result};
use crate::model::knobs::Knob;
use std::io::Write;

mod scaling;

pub(super) fn flag(name: &str, text: &str) -> Option<Given> {
    Some(Given::flag(name, text))
}

pub(super) fn endpoints() -> Asked {
    Asked { from: flag("--from", "null:?documents=3"), to: flag("--to", "null:"), ..Asked::default() }
}

fn with_file(text: &str, asked: Asked, environment: &Environment) -> Result<Job, String> {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let asked = Asked { strategy: flag("--strategy", path), ..asked };
    resolve(&asked, environment).map_err(|error| error.to_string().replace(path, "s.toml"))
}

pub(super) fn cores(cores: usize) -> Environment {
    Environment::of(&[], cores)
}

pub(super) fn line(job: &Job, path: &str) -> String {
    let found = job.resolved.iter().find(|setting| setting.path == path);
    found.map(|setting| format!("{} ({})", setting.value, setting.origin)).unwrap_or_default()
}

#[test]
fn two_uris_make_a_job_of_built_in_values() {
    let job = resolve(&endpoints(), &cores(2)).unwrap();
    assert_eq!((job.name.as_str(), job.source_name.as_str()), ("null", "null:"));
    assert_eq!(job.state, std::path::Path::new(".docferry/jobs/null"));
    insta::assert_snapshot!(show(&job).join("\n"), @r#"
    id.existing = "reject"                       (built-in)
    id.into = "id"                               (built-in)
    job = "null"                                 (built-in)
    run.auto_scaling = true                      (built-in)
    run.batch_documents = 2000                   (built-in)
    run.checkpoint_interval_ms = 1000            (built-in)
    run.credits = 33554432                       (built-in)
    run.max_document = 16777216                  (built-in)
    run.max_rejects = 0                          (built-in)
    run.profile = "balanced"                     (built-in)
    run.readers = 2                              (built-in)
    run.request_documents = 10000                (built-in)
    run.requests_in_flight = 8                   (built-in)
    run.transformers = 2                         (built-in)
    run.verify = false                           (built-in)
    scaling.batch_step = 1.6                     (profile balanced)
    scaling.check_interval = 5 s                 (profile balanced)
    scaling.cold_start = false                   (built-in)
    scaling.confidence = 0.85                    (profile balanced)
    scaling.cooldown = 30 s                      (profile balanced)
    scaling.cpu_scale_down_threshold = 40%       (profile balanced)
    scaling.cpu_scale_up_threshold = 65%         (profile balanced)
    scaling.direction_limit = 6                  (profile balanced)
    scaling.latency_target = "off"               (profile balanced)
    scaling.max_batch_size = 75000               (built-in)
    scaling.max_requests_in_flight = 512         (built-in)
    scaling.max_workers = 30                     (built-in)
    scaling.memory_scale_down_threshold = 50%    (profile balanced)
    scaling.memory_scale_up_threshold = 70%      (profile balanced)
    scaling.min_batch_size = 2000                (built-in)
    scaling.min_workers = 2                      (built-in)
    scaling.policy = "hybrid"                    (built-in)
    scaling.search_step = 2                      (profile balanced)
    scaling.settled_step = 1.2                   (profile balanced)
    scaling.smoothing = 0.3                      (profile balanced)
    scaling.step_workers = 8                     (profile balanced)
    scaling.stop_at_target = false               (built-in)
    scaling.target_cpu_usage = 70%               (profile balanced)
    scaling.target_docs_per_second = 10000       (profile balanced)
    scaling.target_error_rate = 2%               (profile balanced)
    scaling.target_gpu_memory_usage = 75%        (profile balanced)
    scaling.target_memory_usage = 75%            (profile balanced)
    scaling.worth = 0.1                          (profile balanced)
    source.connector = "null"                    (flag --from)
    source.document = "{\"id\":\"null\",\"name\":\"a small document\",\"amount\":12.5,\"count\":7,\"tags\":[\"a\",\"b\"],\"nested\":{\"flag\":true}}"    (built-in)
    source.documents = "3"                       (flag --from)
    state = ".docferry"                          (built-in)
    target.connector = "null"                    (flag --to)
    "#);
}

#[test]
fn the_upper_layer_wins_flag_environment_strategy_profile_built_in() {
    let text = "[source]\nconnector='null'\n[target]\nconnector='null'\n[run]\nreaders=3\nbatch_documents=9\nprofile='conservative'\n\
                [scaling]\nmax_workers=20\ncooldown=7\n";
    let environment =
        Environment::of(&[("AUTO_SCALING_MAX_WORKERS", "10"), ("AUTO_SCALING_TARGET_CPU_USAGE", "55%")], 16);
    let asked = Asked { run: vec![("readers", Given::flag("--readers", "5"))], ..Asked::default() };
    let job = with_file(text, asked, &environment).unwrap();
    assert_eq!(line(&job, "run.readers"), "5 (flag --readers)");
    assert_eq!(line(&job, "scaling.max_workers"), "10 (environment AUTO_SCALING_MAX_WORKERS)");
    assert!(line(&job, "scaling.cooldown").starts_with("7 s ("));
    assert_eq!(line(&job, "scaling.target_memory_usage"), "70% (profile conservative)");
    assert_eq!(line(&job, "run.max_document"), "16777216 (built-in)");
    assert_eq!(job.scaling.ceilings.cpu, 0.55);
    assert_eq!(
        (job.scaling.bounds.least.readers, job.scaling.bounds.most.readers),
        (5, 5),
        "a knob by flag is fixed"
    );
    assert_eq!((job.scaling.bounds.least.transformers, job.scaling.bounds.most.transformers), (4, 10));
    assert_eq!(
        (job.knobs.batch_documents, job.scaling.bounds.most.batch_documents),
        (9, 9),
        "also outside the profile's bounds"
    );
}

#[test]
fn a_profile_gives_way_to_a_wish_and_to_the_cores() {
    let with = |variables: &[(&str, &str)], cores| resolve(&endpoints(), &Environment::of(variables, cores));
    let job = with(&[], 2).unwrap();
    assert_eq!(
        (job.knobs.readers, job.scaling.bounds.least.transformers, job.scaling.bounds.most.readers),
        (2, 2, 30)
    );
    let job = with(&[("AUTO_SCALING_MAX_WORKERS", "1")], 8).unwrap();
    assert_eq!((job.scaling.bounds.least.readers, job.scaling.bounds.most.readers), (1, 1));
    let job = with(&[("AUTO_SCALING_MIN_WORKERS", "40")], 8).unwrap();
    assert_eq!((job.scaling.bounds.least.readers, job.scaling.bounds.most.readers), (40, 40));
    let job = with(&[("AUTO_SCALING_TARGET_CPU_USAGE", "50")], 8).unwrap();
    assert_eq!((job.scaling.ceilings.cpu, job.scaling.ceilings.cpu_grow_below), (0.5, 0.5));
    assert_eq!(
        line(&job, "scaling.cpu_scale_up_threshold"),
        "50% (environment AUTO_SCALING_TARGET_CPU_USAGE)"
    );
    let job = with(&[("AUTO_SCALING_MIN_BATCH_SIZE", "6000")], 8).unwrap();
    assert_eq!(job.knobs.batch_documents, 6_000);
    let error = with(
        &[
            ("AUTO_SCALING_TARGET_CPU_USAGE", "0.7"),
            ("AUTO_SCALING_MIN_WORKERS", "9"),
            ("AUTO_SCALING_MAX_WORKERS", "8"),
        ],
        8,
    );
    insta::assert_snapshot!(error.unwrap_err(), @r#"
    reading the settings: 2 problems
      environment AUTO_SCALING_MIN_WORKERS: scaling.min_workers: is 9, above max_workers 8 (environment AUTO_SCALING_MAX_WORKERS)
      environment AUTO_SCALING_TARGET_CPU_USAGE: scaling.target_cpu_usage: must be a percentage from 1 to 100, such as 70 or 70%, found 0.7
    "#);
}

#[test]
fn without_auto_scaling_the_bounds_are_the_knobs() {
    let run = vec![
        ("auto_scaling", Given::flag("--no-auto-scaling", "false")),
        ("max_rejects", Given::flag("--max-rejects", "2%")),
    ];
    let job = resolve(&Asked { run, ..endpoints() }, &cores(8)).unwrap();
    assert!(
        !job.auto_scaling && job.scaling.bounds.least == job.knobs && job.scaling.bounds.most == job.knobs
    );
    assert_eq!(job.knobs.get(Knob::RequestsInFlight), 8);
    assert_eq!(job.max_rejects, MaxRejects::Share(2.0));
}

#[test]
fn flags_replace_an_endpoint_and_uris_may_stand_in_a_strategy() {
    let text = "[source]\nuri='null:?documents=3'\ndocuments=5\n[target]\nconnector='nowhere'\n";
    let asked = Asked { to: flag("--to", "memory:m?lanes=2"), ..Asked::default() };
    let job = with_file(text, asked, &cores(1)).unwrap();
    assert_eq!(job.target_name, "memory:m");
    assert_eq!(line(&job, "target.lanes"), "\"2\" (flag --to)");
    assert!(line(&job, "source.documents").starts_with("5 ("));
}

#[test]
fn all_problems_are_said_at_once_in_the_order_of_the_file() {
    let text = r#"about = "${NOT_DEFINED}"
[source]
connector = "nul"
[traget]
connector = "null"
[run]
readers = 0
max_rejects = "few"
profile = "agressive"
credits = "lots"
limmit = 3
[scaling]
cooldown = "soon"
"#;
    let asked = Asked { job: flag("--job", "../x"), ..Asked::default() };
    insta::assert_snapshot!(with_file(text, asked, &cores(1)).unwrap_err(), @r#"
    reading the settings: 11 problems
      s.toml:1:1: about: the environment variable NOT_DEFINED is not defined; ${NOT_DEFINED:-value} gives it a default
      s.toml:1:1: target: is missing; give the table [target] or --to URI
      s.toml:3:1: source.connector: unknown connector "nul", known are file, sqlite, cosmos, memory, null; did you mean "null"?
      s.toml:4:2: traget: unknown setting; did you mean "target"?
      s.toml:7:1: run.readers: must be a whole number from 1 to 1024, found 0
      s.toml:8:1: run.max_rejects: must be a count such as 100, or a share such as "1%", found "few"
      s.toml:9:1: run.profile: unknown profile "agressive", shipped are conservative, balanced, aggressive; a file of your own is a path with .toml; did you mean "aggressive"?
      s.toml:10:1: run.credits: must be a number of bytes from 1048576 to 17179869184, such as "64 MiB", found "lots"
      s.toml:11:1: run.limmit: unknown setting; did you mean "limit"?
      s.toml:13:1: scaling.cooldown: must be seconds from 0 to 86400, such as 30, found "soon"
      flag --job: job: must be 1 to 80 of a-z 0-9 . _ - and begin with a letter or digit, found "../x"
    "#);
}

#[test]
fn a_flag_for_the_target_means_nothing_to_one_that_does_not_know_it() {
    let target = vec![("max_ru", Given::flag("--max-ru", "500"))];
    let error = resolve(&Asked { target, ..endpoints() }, &cores(1)).unwrap_err();
    insta::assert_snapshot!(error, @r#"reading the settings: flag --max-ru: target.max_ru: connector "null" counts no request units; leave it out"#);
}

#[test]
fn what_is_asked_for_must_be_there() {
    let error = resolve(&Asked { to: flag("--to", "null:"), ..Asked::default() }, &cores(1)).unwrap_err();
    assert_eq!((error.kind(), error.kind().exit_code()), (ErrorKind::Usage, 64));
    let error = resolve(&Asked { strategy: flag("--strategy", "quickstar"), ..Asked::default() }, &cores(1))
        .unwrap_err();
    assert_eq!(error.kind().exit_code(), 78);
    insta::assert_snapshot!(error, @r#"reading the settings: flag --strategy: unknown strategy "quickstar", shipped are quickstart, quickstart-sqlite, movies-to-sqlite, movies-to-jsonl, flights-to-sqlite, flights-to-jsonl; a file of your own is a path with .toml; did you mean "quickstart"?"#);
    insta::assert_snapshot!(with_file("[run\n", Asked::default(), &cores(1)).unwrap_err(), @r#"reading the settings: s.toml:1:5: syntax: unclosed table, expected `]`"#);
    insta::assert_snapshot!(with_file("run = 3\n[source]\nuri = 'null:'\nconnector = 'null'\n", Asked::default(), &cores(1)).unwrap_err(), @r#"
    reading the settings: 3 problems
      s.toml:1:1: target: is missing; give the table [target] or --to URI
      s.toml:1:1: run: must be a table, found a whole number
      s.toml:3:1: source.uri: stands beside connector; give one of the two
    "#);
}

#[test]
fn every_shipped_strategy_loads() {
    for file in STRATEGIES.files {
        let asked = Asked { strategy: flag("--strategy", file.name), ..Asked::default() };
        let job = resolve(&asked, &cores(4)).unwrap_or_else(|error| panic!("{}: {error}", file.name));
        assert_eq!(job.name, file.name);
    }
}
