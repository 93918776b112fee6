//! The record of a run in its job's folder: its events in `events.jsonl`, the outcome in `summary.json`.
//!
//! A run may last for weeks and has something to say several times a second. So what is said again and again (progress, samples,
//! checkpoints, decisions, rejects, retries) is recorded whole for ten minutes, and from then on one event of each sort for every hundredth
//! of the time that the run has lasted: every 36 s after an hour, every 14 minutes after a day. The record then grows with the logarithm of
//! time, and a curve drawn from it is as fine everywhere as its width allows. All rejects are in the reject file, whatever is left out
//! here.
//!
//! The files are opened when the run begins to move documents, not before: until then another run may hold the job, and
//! its record is not ours to touch. A fresh run begins a new event file, a resumed one goes on in the old.

use super::{View, json, summary};
use crate::model::decision::Effect;
use crate::model::event::Event;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::mem::{Discriminant, discriminant};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The events' file in a job's folder.
pub const EVENTS: &str = "events.jsonl";
/// The outcome's file in a job's folder.
pub const SUMMARY: &str = "summary.json";

/// Writes the record.
pub(super) struct Record {
    folder: PathBuf,
    lines: Option<json::Lines<BufWriter<File>>>,
    /// How long the run has lasted, as far as its progress tells.
    lasted: Duration,
    /// When the next event of a sort is recorded. What was held back is a sort of its own, so that it displaces nothing that was done.
    next: HashMap<(Discriminant<Event>, bool), Duration>,
}

/// Everything is recorded for this long.
const WHOLE: Duration = Duration::from_secs(600);

/// After that, one event of a sort for this share of the time that the run has lasted.
const SHARE: u32 = 100;

impl Record {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), lines: None, lasted: Duration::ZERO, next: HashMap::new() }
    }

    fn open(&mut self, is_resume: bool) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut options = OpenOptions::new();
        options.create(true);
        // `append` also with a new file: a person may truncate it meanwhile.
        let file = if is_resume {
            options.append(true).open(self.folder.join(EVENTS))?
        } else {
            options.write(true).truncate(true).open(self.folder.join(EVENTS))?
        };
        self.lines = Some(json::Lines::new(BufWriter::new(file)));
        Ok(())
    }

    /// Whether an event is recorded, or is one of a sort of which there are enough.
    fn takes(&mut self, event: &Event) -> bool {
        if let Event::Progress(progress) = event {
            self.lasted = progress.elapsed;
        }
        let is_repeated = match event {
            Event::Progress(_)
            | Event::Rejected { .. }
            | Event::Retrying { .. }
            | Event::Decided(_)
            | Event::Sampled { .. }
            | Event::CheckpointSaved { .. } => true,
            Event::Started(_)
            | Event::Gpus(_)
            | Event::PartitionFinished { .. }
            | Event::Warning { .. }
            | Event::Notice { .. }
            | Event::Stopping { .. }
            | Event::Finished(_) => false,
        };
        if !is_repeated || self.lasted < WHOLE {
            return true;
        }
        let is_blocked =
            matches!(event, Event::Decided(decision) if matches!(decision.effect, Effect::Blocked(_)));
        let next = self.next.entry((discriminant(event), is_blocked)).or_default();
        let is_due = self.lasted >= *next;
        if is_due {
            *next = self.lasted + self.lasted / SHARE;
        }
        is_due
    }

    /// Replaces the summary by rename: whoever reads it sees the old one or the new one.
    fn store(&self, text: &str) -> io::Result<()> {
        let temporary = self.folder.join("summary.json.new");
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(temporary, self.folder.join(SUMMARY))
    }
}

impl View for Record {
    fn show(&mut self, event: &Event) -> io::Result<()> {
        if let Event::Started(started) = event {
            self.open(started.is_resume)?;
        }
        let is_taken = self.takes(event);
        let Some(lines) = &mut self.lines else { return Ok(()) };
        if is_taken {
            lines.show(event)?;
        }
        if let Event::Finished(finished) = event {
            self.store(&format!("{:#}\n", summary::to_json(finished)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_fresh_run_begins_a_new_record_and_a_resumed_one_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let lines = |is_resume| {
            let mut record = Record::new(&folder.path().join("job"));
            for event in samples::events() {
                let event = match event {
                    Event::Started(started) => {
                        Event::Started(crate::model::event::Started { is_resume, ..started })
                    }
                    other => other,
                };
                record.show(&event).unwrap();
            }
            fs::read_to_string(folder.path().join("job").join(EVENTS)).unwrap().lines().count()
        };
        let once = samples::events().len();
        assert_eq!([lines(false), lines(false), lines(true)], [once, once, 2 * once]);
        let summary = fs::read_to_string(folder.path().join("job").join(SUMMARY)).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&summary).unwrap()["version"], 1);
    }

    #[test]
    fn a_long_run_is_recorded_ever_more_seldom_but_for_what_happens_once() {
        let mut record = Record::new(Path::new("unused"));
        let progress = samples::events().into_iter().find_map(|event| match event {
            Event::Progress(progress) => Some(progress),
            _ => None,
        });
        let mut taken = |seconds: std::ops::Range<u64>| {
            let mut counts = [0, 0, 0];
            for second in seconds {
                let elapsed = Duration::from_secs(second);
                let progress = crate::model::event::Progress { elapsed, ..progress.unwrap() };
                counts[0] += u32::from(record.takes(&Event::Progress(progress)));
                counts[1] += u32::from(record.takes(&Event::CheckpointSaved { generation: 1, documents: 1 }));
                counts[2] += u32::from(record.takes(&Event::Warning { message: String::new() }));
            }
            counts
        };
        assert_eq!(taken(0..600), [600, 600, 600]);
        let [progress, checkpoints, warnings] = taken(600..86_400);
        assert!((400..600).contains(&progress) && progress == checkpoints, "{progress} {checkpoints}");
        assert_eq!(warnings, 85_800);
        assert!(taken(86_400..864_000)[0] < 300);
    }

    #[test]
    fn what_was_held_back_displaces_nothing_that_was_done() {
        let mut record = Record::new(Path::new("unused"));
        record.lasted = WHOLE;
        let mut taken: Vec<bool> = samples::events()
            .iter()
            .map(|event| {
                record.lasted = WHOLE;
                matches!(event, Event::Decided(_)) && record.takes(event)
            })
            .collect();
        taken.retain(|taken| *taken);
        assert_eq!(taken.len(), 2, "the first turn and the first that was held back");
    }

    #[test]
    fn a_run_that_never_began_leaves_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::new(folder.path());
        record.show(&samples::events().pop().unwrap()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
