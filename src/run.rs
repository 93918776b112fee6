//! Assembly: the only file that knows every room. A stand-in that keeps this tree compiling.

use crate::config::job::Job;
use crate::error::{Error, Result};
use crate::model::event::{Ending, Event, Summary};
use tokio::sync::mpsc::UnboundedSender;

/// What `verify` found.
#[derive(Clone, Debug)]
pub struct Verification {
    /// Documents that the source, after transform, should have put into the target.
    pub source_documents: u64,
    /// Documents in the target.
    pub target_documents: u64,
    /// Order-independent sum of the content hashes of the source's documents.
    pub source_sum: u128,
    /// The same of the target's.
    pub target_sum: u128,
    /// What is inconsistent in the target itself.
    pub target_inconsistent: Vec<String>,
    /// Whether counts and sums agree.
    pub equal: bool,
    /// Source documents that a step does not keep.
    pub dropped: u64,
    /// Source documents that are refused.
    pub rejected: u64,
}

/// Runs a job.
pub async fn migrate(job: Job, events: UnboundedSender<Event>) -> Result<Summary> {
    std::future::ready((job, events)).await;
    Err(Error::internal("running the job", "not assembled yet"))
}

/// Compares source and target.
pub async fn verify(job: Job) -> Result<Verification> {
    std::future::ready(job).await;
    Err(Error::internal("verifying the job", "not assembled yet"))
}

/// The process's exit code for an outcome.
pub fn exit_code(outcome: &Result<Summary>) -> u8 {
    match outcome {
        Ok(Summary { ending: Ending::Interrupted { .. }, .. }) => 130,
        Ok(Summary { ending: Ending::Failed { .. }, .. }) => 70,
        Ok(_) => 0,
        Err(error) => error.kind().exit_code(),
    }
}
