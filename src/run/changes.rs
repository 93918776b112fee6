//! What must not have changed since an earlier run of the job, and the sentence that says what has.
//!
//! A checkpoint speaks of one source, one rule of how documents change, and one target. Two questions are asked of it. Is it of this
//! target at all? A job's name is derived and two targets may meet in one, so this is asked of every run that does not say `--restart`:
//! neither "finished" nor "go on" means anything about a target that the checkpoint never saw. And, where the run goes on: is everything
//! as it was?

use crate::config::job::{Begin, Job};
use crate::error::{Error, Result};
use crate::model::checkpoint::{JobFingerprint, Rules};

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
    changes.extend(rule_changes(&before.rules, &now.rules));
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

/// What differs of the rules by which documents change. The id rule and the steps are as long as the strategy makes them: they are named and
/// not repeated.
fn rule_changes(before: &Rules, now: &Rules) -> Vec<String> {
    let mut changes = Vec::new();
    if before.id != now.id {
        changes.push("the id rule ([id]) is another one".to_owned());
    }
    if before.steps != now.steps {
        changes.push("the steps ([[transform]]) are others".to_owned());
    }
    if before.max_document != now.max_document {
        let [before, now] = [before.max_document, now.max_document];
        changes.push(format!("max_document was {before} bytes, it is {now}"));
    }
    if before.layout != now.layout {
        changes.push(format!("the target's layout was {}, it is {}", before.layout, now.layout));
    }
    changes
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
    fn the_rule_that_has_changed_is_named() {
        let rules = |id: &str, steps: &str, max_document, layout: &str| Rules {
            id: id.to_owned(),
            steps: steps.to_owned(),
            max_document,
            layout: layout.to_owned(),
        };
        let before = rules("a", "b", 1, "c");
        assert_eq!(rule_changes(&before, &before), [""; 0]);
        assert_eq!(rule_changes(&before, &rules("x", "b", 1, "c")), ["the id rule ([id]) is another one"]);
        assert_eq!(rule_changes(&before, &rules("a", "x", 1, "c")), ["the steps ([[transform]]) are others"]);
        assert_eq!(
            rule_changes(&before, &rules("a", "b", 2, "d")),
            ["max_document was 1 bytes, it is 2", "the target's layout was c, it is d"]
        );
    }

    #[test]
    fn what_became_of_the_target_is_said() {
        let said = |now| refuse_changes(&at("uuid-1", "/a.db"), &now).unwrap_err().to_string();
        assert!(said(at("", "/a.db")).ends_with(": the target /a.db is missing"));
        assert!(said(at("uuid-2", "/a.db")).ends_with("stands at /a.db: it was uuid-1, it is uuid-2"));
    }
}
