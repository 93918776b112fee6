//! The command line: what can be typed, and nothing else.
//!
//! The types here are parsed by clap and read by [`dispatch`], which hands each command to its own file. Below `cli` nobody sees them:
//! [`flags`] turns them into what `config` asks for. Every long flag has a twin in the environment, `DOCFERRY_` and
//! its name in capitals, and the flag wins.

mod completions;
pub mod dispatch;
mod emulator;
mod failure;
mod flags;
mod init;
mod jobs;
mod list;
mod migrate;
mod rejects;
mod show;
mod simulate;
mod verify;

use self::flags::switch;
use crate::model::scaling::Policy;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Ferries millions of JSON documents between files and databases: tuned while it runs, killable at any moment, resumable,
/// verifiable afterwards.
#[derive(Debug, Parser)]
#[command(name = "docferry", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What every command takes.
    #[command(flatten)]
    pub global: GlobalFlags,
}

const AFTER_HELP: &str = "\
First steps:
  docferry migrate --strategy quickstart
  docferry migrate --from \"orders/*.jsonl.gz\" --to \"sqlite:orders.db?table=orders\"
  docferry init my-migration

Every long flag has an environment twin: --max-rejects is DOCFERRY_MAX_REJECTS.

Exit codes: 0 done, 64 usage, 65 rejects, damaged input or differences, 70 defect, 73 job held by another run,
75 temporary (run again with --resume), 78 configuration, 130 and 143 interrupted (resumable).";

/// What every command takes.
#[derive(Args, Clone, Debug)]
pub struct GlobalFlags {
    /// Folder in which jobs are kept
    #[arg(long, global = true, env = "DOCFERRY_STATE", hide_env = true, value_name = "DIR", default_value = crate::config::STATE_FOLDER)]
    pub state: PathBuf,
    /// Output for programs: events as JSON lines on standard error, lists as JSON
    #[arg(long, global = true, env = "DOCFERRY_JSON", hide_env = true, value_parser = switch)]
    pub json: bool,
    /// Also print decisions, samples and checkpoints
    #[arg(short, long, global = true, env = "DOCFERRY_VERBOSE", hide_env = true, value_parser = switch, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Print failures only
    #[arg(short, long, global = true, env = "DOCFERRY_QUIET", hide_env = true, value_parser = switch)]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Move documents from a source to a target
    Migrate(Migrate),
    /// Compare the target with what the source should have made of it, by count and content
    Verify(JobFlags),
    /// Print every setting of a job with where its value came from
    Show(JobFlags),
    /// List what is built in
    List {
        /// What to list
        what: Listed,
    },
    /// Write a commented strategy file to start from
    Init {
        /// The file's name, with or without .toml
        name: String,
    },
    /// List past, unfinished and running jobs
    Jobs {
        /// Only this job, with more about it
        job: Option<String>,
    },
    /// Look at documents that were refused
    #[command(subcommand)]
    Rejects(Rejects),
    /// Run a local Azure Cosmos DB endpoint, a simulator for trials and tests
    Emulator(Emulator),
    /// Try the tuner and its rivals on simulated targets
    Simulate(Simulate),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What `list` can list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Listed {
    /// Migrations that are built in
    Strategies,
    /// How the auto-tuner can behave
    Profiles,
    /// Who proposes the auto-tuner's moves
    Policies,
    /// What the auto-tuner begins with in different places
    Presets,
    /// Places to read from and write to
    Connectors,
    /// Steps that edit documents
    Transforms,
    /// Simulated sources, machines and targets, for `simulate`
    Plants,
    /// What turns the knobs in `simulate`: docferry's tuner and its rivals
    Controllers,
}

/// `docferry rejects`.
#[derive(Debug, Subcommand)]
pub enum Rejects {
    /// Count the rejects of a job by reason and print the first of them
    List {
        /// The job
        job: String,
        /// How many to print
        #[arg(long, env = "DOCFERRY_REJECTS_LIMIT", hide_env = true, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
}

/// `docferry migrate`.
#[derive(Args, Debug)]
pub struct Migrate {
    /// The job.
    #[command(flatten)]
    pub job: JobFlags,
    /// Go on where the last run of this job stopped, or begin if there was none
    #[arg(long, env = "DOCFERRY_RESUME", hide_env = true, value_parser = switch, conflicts_with = "restart")]
    pub resume: bool,
    /// Begin anew, whatever the last run of this job did; deletes no rows
    #[arg(long, env = "DOCFERRY_RESTART", hide_env = true, value_parser = switch)]
    pub restart: bool,
    /// Stop after so many documents
    #[arg(long, env = "DOCFERRY_LIMIT", hide_env = true, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Compare source and target when all has been moved
    #[arg(long, env = "DOCFERRY_VERIFY", hide_env = true, value_parser = switch)]
    pub verify: bool,
    /// Replace a target that this job did not make
    #[arg(long, env = "DOCFERRY_OVERWRITE", hide_env = true, value_parser = switch)]
    pub overwrite: bool,
}

/// `docferry emulator`.
#[derive(Args, Debug)]
pub struct Emulator {
    /// Port on the loopback interface; 0 takes any free one
    #[arg(long, env = "DOCFERRY_PORT", hide_env = true, value_name = "N", default_value_t = 8081)]
    pub port: u16,
    /// Request units a second of a container that is made without naming its own; 0 is no limit
    #[arg(long, env = "DOCFERRY_THROUGHPUT", hide_env = true, value_name = "RU", default_value_t = 10_000)]
    pub throughput: u64,
    /// Physical partitions of a new container
    #[arg(long, env = "DOCFERRY_PARTITIONS", hide_env = true, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub partitions: u32,
    /// Every request for documents takes so long
    #[arg(long, env = "DOCFERRY_LATENCY_MS", hide_env = true, value_name = "MS", default_value_t = 5.0)]
    pub latency_ms: f64,
    /// Keep databases, containers and documents in this folder, and begin with what is there
    #[arg(long, env = "DOCFERRY_DATA", hide_env = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Take requests without a signature
    #[arg(long, env = "DOCFERRY_NO_AUTH", hide_env = true, value_parser = switch)]
    pub no_auth: bool,
    /// A JSON file of what goes wrong on purpose (see docs/emulator.md)
    #[arg(long, env = "DOCFERRY_FAULTS", hide_env = true, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Decides which faults are drawn and when the windows of throughput begin
    #[arg(long, env = "DOCFERRY_SEED", hide_env = true, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// `docferry simulate`.
#[derive(Args, Debug)]
pub struct Simulate {
    /// Play the plants in this folder (see docs/simulate.md) instead of those that are built in
    #[arg(long, env = "DOCFERRY_PLANTS", hide_env = true, value_name = "DIR")]
    pub plants: Option<PathBuf>,
    /// Draw so many plants instead
    #[arg(long, env = "DOCFERRY_RANDOM", hide_env = true, value_name = "N", conflicts_with = "plants", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub random: Option<u32>,
    /// Decides which plants are drawn
    #[arg(long, env = "DOCFERRY_SEED", hide_env = true, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Play each so many times, each time with other noise
    #[arg(long, env = "DOCFERRY_SEEDS", hide_env = true, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub seeds: u32,
    /// Only these, separated by commas; `docferry list controllers` names them
    #[arg(long, env = "DOCFERRY_CONTROLLERS", hide_env = true, value_name = "A,B", value_delimiter = ',')]
    pub controllers: Vec<String>,
    /// Only this plant
    #[arg(long, env = "DOCFERRY_ONLY", hide_env = true, value_name = "NAME")]
    pub only: Option<String>,
    /// How the result is printed
    #[arg(long, env = "DOCFERRY_FORMAT", hide_env = true, value_enum, default_value_t = SimulateFormat::Table)]
    pub format: SimulateFormat,
    /// Print what docferry decides on this plant, and when, instead of a table
    #[arg(long, env = "DOCFERRY_EXPLAIN", hide_env = true, value_name = "PLANT", conflicts_with = "only")]
    pub explain: Option<String>,
    /// Write the file of oracles anew, after a plant or the simulator has changed
    #[arg(long, env = "DOCFERRY_WRITE_ORACLES", hide = true, value_name = "FILE")]
    pub write_oracles: Option<PathBuf>,
}

/// How `simulate` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimulateFormat {
    /// A block for each figure
    Table,
    /// A JSON array with an object for each plant and controller
    Json,
}

/// What says which job is meant and how it is run.
#[derive(Args, Debug, Default)]
pub struct JobFlags {
    /// A built-in strategy, or the path of a strategy file
    #[arg(long, env = "DOCFERRY_STRATEGY", hide_env = true, value_name = "NAME|PATH")]
    pub strategy: Option<String>,
    /// Read from here, instead of the strategy's source: a path, - or CONNECTOR:PATH?setting=value
    #[arg(long, env = "DOCFERRY_FROM", hide_env = true, value_name = "URI")]
    pub from: Option<String>,
    /// Write to here, instead of the strategy's target
    #[arg(long, env = "DOCFERRY_TO", hide_env = true, value_name = "URI")]
    pub to: Option<String>,
    /// The job's name, by default that of the strategy or the target
    #[arg(long, env = "DOCFERRY_JOB", hide_env = true, value_name = "NAME")]
    pub job: Option<String>,
    /// So many rejects (100) or this share of the documents (1%) are still a success [default: 0]
    #[arg(long, env = "DOCFERRY_MAX_REJECTS", hide_env = true, value_name = "N|N%")]
    pub max_rejects: Option<String>,
    /// Read at most so many documents a second
    #[arg(long, env = "DOCFERRY_MAX_RATE", hide_env = true, value_name = "DOCS_PER_S")]
    pub max_rate: Option<f64>,
    /// Spend at most so many request units a second, or this share of what the target has; reading back to verify is not covered
    #[arg(long, env = "DOCFERRY_MAX_RU", hide_env = true, value_name = "N|N%")]
    pub max_ru: Option<String>,
    /// How the tuner runs.
    #[command(flatten)]
    pub scaling: ScalingFlags,
}

/// How the tuner runs, and which knobs it must leave alone.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Scaling")]
pub struct ScalingFlags {
    /// Tune the pools while running; the default
    #[arg(long, env = "DOCFERRY_AUTO_SCALING", hide_env = true, value_parser = switch)]
    pub auto_scaling: bool,
    /// Keep every knob as it is at the start
    #[arg(long, env = "DOCFERRY_NO_AUTO_SCALING", hide_env = true, value_parser = switch)]
    pub no_auto_scaling: bool,
    /// conservative, balanced, aggressive, or the path of a profile file [default: balanced]
    #[arg(long, env = "DOCFERRY_AUTO_SCALING_PROFILE", hide_env = true, value_name = "NAME|PATH")]
    pub auto_scaling_profile: Option<String>,
    /// Who proposes moves [default: hybrid]
    #[arg(long, env = "DOCFERRY_SCALING_POLICY", hide_env = true, value_name = "POLICY", value_parser = PossibleValuesParser::new(Policy::ALL.map(|(name, _)| name)))]
    pub scaling_policy: Option<String>,
    /// What holds where the profile says nothing: development, testing, production, or the path of a file
    #[arg(long, env = "DOCFERRY_SCALING_PRESET", hide_env = true, value_name = "NAME|PATH")]
    pub scaling_preset: Option<String>,
    /// Grow nothing beyond the goal of documents a second
    #[arg(long, env = "DOCFERRY_STOP_AT_TARGET", hide_env = true, value_parser = switch)]
    pub stop_at_target: bool,
    /// Begin low, whatever an earlier run of this shape came to
    #[arg(long, env = "DOCFERRY_COLD_START", hide_env = true, value_parser = switch)]
    pub cold_start: bool,
    /// Fix how many partitions are read at once
    #[arg(long, env = "DOCFERRY_READERS", hide_env = true, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub readers: Option<u64>,
    /// Fix how many batches are transformed at once
    #[arg(long, env = "DOCFERRY_TRANSFORMERS", hide_env = true, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub transformers: Option<u64>,
    /// Fix how many requests are sent at once
    #[arg(long, env = "DOCFERRY_REQUESTS_IN_FLIGHT", hide_env = true, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub requests_in_flight: Option<u64>,
    /// Fix after how many documents a batch ends
    #[arg(long, env = "DOCFERRY_BATCH_DOCUMENTS", hide_env = true, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub batch_documents: Option<u64>,
}
