//! Everything the outside may know of a run, as one ordered stream. Progress display, log, `--json` output, event file and
//! summary are views of it. No event holds a document's content or a secret.

use crate::error::ErrorKind;
use crate::model::checkpoint::Counters;
use crate::model::decision::Decision;
use crate::model::knobs::Knobs;
use crate::model::performance::Performance;
use crate::model::sample::{GpuUse, Sample};
use crate::model::verification::Verification;
use crate::model::workload::Workload;
use std::time::Duration;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The run begins to move documents.
    Started(Started),
    /// The state of the run; sent a few times a second.
    Progress(Progress),
    /// A partition is read to its end and everything in it accounted for.
    PartitionFinished {
        /// The partition.
        partition: String,
    },
    /// The reject file grew: counts by reason since the last such event.
    Rejected {
        /// Who refused them.
        by: &'static str,
        /// Why.
        reason: String,
        /// Where the first of them stands.
        first: String,
        /// How many.
        documents: u64,
    },
    /// A request failed and will be sent again.
    Retrying {
        /// The failure.
        error: String,
        /// Attempts so far.
        attempts: u32,
        /// The delay before the next.
        delay: Duration,
    },
    /// The tuner turned a knob, judged a turn, or held one back.
    Decided(Decision),
    /// What was measured since the last such event, or since the run began; sent once a check interval.
    Sampled {
        /// The measurements.
        sample: Box<Sample>,
        /// What they amount to.
        workload: Workload,
    },
    /// The graphics processors that this process may use; none, if there are none. Sent once, and again when some are found later.
    Gpus(Vec<GpuUse>),
    /// A checkpoint is on disk.
    CheckpointSaved {
        /// Its number.
        generation: u64,
        /// Documents that it accounts for.
        documents: u64,
    },
    /// Something that the user should know and that does not stop the run.
    Warning {
        /// What.
        message: String,
    },
    /// Something that the user may like to know; nothing is amiss.
    Notice {
        /// What.
        message: String,
    },
    /// The run was asked to stop and finishes what it has sent.
    Stopping {
        /// Why.
        reason: String,
    },
    /// The run has ended. The last event.
    Finished(Box<Summary>),
}

/// How a run begins.
#[derive(Clone, Debug)]
pub struct Started {
    /// The job's name.
    pub job: String,
    /// This run's name.
    pub run: String,
    /// The source, for a person.
    pub source: String,
    /// The target, for a person.
    pub target: String,
    /// Documents that earlier runs of this job accounted for.
    pub resumed: Counters,
    /// Whether a checkpoint was continued.
    pub is_resume: bool,
    /// Source partitions.
    pub partitions: usize,
    /// Bytes to read in all, where known.
    pub total_bytes: Option<u64>,
    /// Documents to read in all, where known.
    pub total_documents: Option<u64>,
    /// Lanes of the target.
    pub lanes: usize,
}

/// The state of a run at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Time since the run began.
    pub elapsed: Duration,
    /// Documents read by this run, replayed ones included.
    pub read: u64,
    /// Bytes of them.
    pub bytes_read: u64,
    /// Counters of the job, earlier runs included.
    pub counters: Counters,
    /// Documents that met their end per second, over the last few seconds, those of unfinished batches included.
    pub documents_per_second: f64,
    /// The same in bytes as read, by the mean of all that was read.
    pub bytes_per_second: f64,
    /// Share of the source that is read, where it can be told.
    pub share: Option<f64>,
    /// Bytes of documents in memory.
    pub credits_used: u64,
    /// The knobs in force.
    pub knobs: Knobs,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything is accounted for.
    Complete,
    /// A signal stopped it; it can be resumed.
    Interrupted {
        /// The signal's name.
        signal: &'static str,
    },
    /// It failed; it can be resumed unless the message says otherwise.
    Failed {
        /// The failure.
        error: String,
        /// Its kind, from which the exit code follows.
        kind: ErrorKind,
        /// What to do next.
        remedy: String,
    },
}

/// Quantiles of a latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// How many were measured.
    pub count: u64,
    /// The median.
    pub p50: Duration,
    /// 95 of 100 were faster.
    pub p95: Duration,
    /// 99 of 100 were faster.
    pub p99: Duration,
    /// The slowest.
    pub max: Duration,
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The job's name.
    pub job: String,
    /// This run's name.
    pub run: String,
    /// How it ended.
    pub ending: Ending,
    /// The target, for a person.
    pub target: String,
    /// A command with which a person can look at the target.
    pub look: Option<String>,
    /// Counters of the whole job, earlier runs included.
    pub counters: Counters,
    /// Counters of earlier runs.
    pub resumed: Counters,
    /// Documents read by this run, replayed ones included.
    pub read: u64,
    /// Bytes read by this run.
    pub bytes_read: u64,
    /// Documents a second that were the goal.
    pub target_docs_per_second: f64,
    /// Wall time of this run.
    pub elapsed: Duration,
    /// CPU time of this process, all threads.
    pub cpu: Duration,
    /// Most resident memory of this process.
    pub peak_memory: u64,
    /// Most bytes of documents in memory at once.
    pub peak_credits: u64,
    /// Time from sending a request to its answer.
    pub request_latency: Quantiles,
    /// Requests answered.
    pub requests: u64,
    /// Of these throttled, wholly or in part.
    pub throttled: u64,
    /// Requests that failed as a whole and were sent again.
    pub retried: u64,
    /// Documents that failed, alone or with their request, and were sent again; each as often as it was.
    pub retried_documents: u64,
    /// Documents that were throttled, each as often as it was.
    pub throttled_documents: u64,
    /// Request units, where the target counts them.
    pub request_units: f64,
    /// Request units per second that the run might have spent as things stood when it began, where that is known.
    pub throughput: Option<f64>,
    /// The lane that took most, as (name, share of the documents), where there are several.
    pub hottest_lane: Option<(String, f64)>,
    /// Where the reject file is, if it is not empty.
    pub rejects_file: Option<String>,
    /// What a comparison of source and target found, if one was asked for and came to its end.
    pub verification: Option<Verification>,
    /// The knobs at the end.
    pub knobs: Knobs,
    /// What its windows and the tuner's decisions amount to.
    pub performance: Performance,
    /// Whether a later run can go on where this one stopped.
    pub is_resumable: bool,
    /// The limit of documents, where it ended the run before the end of the source was seen: the job is then not finished.
    pub limit: Option<u64>,
}
