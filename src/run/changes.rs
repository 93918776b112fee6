//! What must not have changed since an earlier run of the job, and the sentence that says what has.
//!
//! A checkpoint speaks of one source, one rule of how documents change, and one target. Two questions are asked of it. Is it of this
//! target at all? A job's name is derived and two targets may meet in one, so this is asked of every run that does not say `--restart`:
//! neither "finished" nor "go on" means anything about a target that the checkpoint never saw. And, where the run goes on: is everything
//! as it was?

use crate::config::job::{Begin, Job};
use crate::error::{Error, Result};
use crate::model::checkpoint::JobFingerprint;

/// Refuses an earlier checkpoint that was found under this job's name and is of another target.
pub(super) fn refuse_other_target(job: &Job, before: &JobFingerprint, now: &JobFingerprint) -> Result<()> {
    if job.begin == Begin::Restart || !is_other(before, now) {
        return Ok(());
    }
    let message =
        format!("the name {} is of a job that writes to {}, not to {}", job.name, shown(before), shown(now));
    let remedy = "give this job a name of its own with --job NAME, or take the name over with --restart";
    Err(Error::configuration("beginning the job", message).advise(remedy))
}

/// Whether the two are different targets, and not one that is missing or was replaced where it stands.
fn is_other(before: &JobFingerprint, now: &JobFingerprint) -> bool {
    if before.target == now.target {
        // Also where it was moved.
        return false;
    }
    match (before.place.as_str(), now.place.as_str()) {
        ("", _) | (_, "") => !now.target.is_empty(),
        (before, now) => before != now,
    }
}

/// Refuses a resume where source, transform or target are not what the checkpoint says, and names what differs.
pub(super) fn refuse_changes(before: &JobFingerprint, now: &JobFingerprint) -> Result<()> {
    let mut changes = Vec::new();
    for line in before.source.iter().filter(|line| !now.source.contains(line)) {
        changes.push(format!("the source was {line}"));
    }
    for line in now.source.iter().filter(|line| !before.source.contains(line)) {
        changes.push(format!("the source is {line}"));
    }
    if before.transform != now.transform {
        changes.push("the id rule, the steps or the target's layout have changed".to_owned());
    }
    if before.target != now.target {
        changes.push(match now.target.as_str() {
            "" => format!("the target {} is missing", shown(before)),
            found => {
                format!("another target stands at {}: it was {}, it is {found}", shown(now), before.target)
            }
        });
    }
    if changes.is_empty() {
        return Ok(());
    }
    let message = format!("the job has changed since its checkpoint: {}", changes.join("; "));
    Err(Error::configuration("resuming the job", message)
        .advise("undo the change, or begin anew with --restart"))
}

fn shown(fingerprint: &JobFingerprint) -> &str {
    if fingerprint.place.is_empty() { &fingerprint.target } else { &fingerprint.place }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(target: &str, place: &str) -> JobFingerprint {
        JobFingerprint { target: target.to_owned(), place: place.to_owned(), ..JobFingerprint::default() }
    }

    #[test]
    fn a_moved_a_missing_and_a_replaced_target_are_no_other_one() {
        let before = at("uuid-1", "/a.db, table t");
        assert!(!is_other(&before, &at("uuid-1", "/moved/a.db, table t")), "moved");
        assert!(!is_other(&before, &at("", "/a.db, table t")), "missing");
        assert!(!is_other(&before, &at("uuid-2", "/a.db, table t")), "replaced");
        assert!(is_other(&before, &at("", "/b.db, table t")), "another that is not there yet");
        assert!(is_other(&before, &at("uuid-2", "/b.db, table t")));
        assert!(is_other(&before, &at("null", "")) && is_other(&at("null", ""), &at("memory m", "")));
        assert!(!is_other(&at("null", ""), &at("null", "")));
    }

    #[test]
    fn what_became_of_the_target_is_said() {
        let said = |now| refuse_changes(&at("uuid-1", "/a.db"), &now).unwrap_err().to_string();
        assert!(said(at("", "/a.db")).ends_with(": the target /a.db is missing"));
        assert!(said(at("uuid-2", "/a.db")).ends_with("stands at /a.db: it was uuid-1, it is uuid-2"));
    }
}
