//! The record of a run in its job's folder: every event in `events.jsonl`, the outcome in `summary.json`.
//!
//! The files are opened when the run begins to move documents, not before: until then another run may hold the job, and
//! its record is not ours to touch. A fresh run begins a new event file, a resumed one goes on in the old.

use super::{View, json, summary};
use crate::model::event::Event;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The events' file in a job's folder.
pub const EVENTS: &str = "events.jsonl";
/// The outcome's file in a job's folder.
pub const SUMMARY: &str = "summary.json";

/// Writes the record.
pub(super) struct Record {
    folder: PathBuf,
    lines: Option<json::Lines<BufWriter<File>>>,
}

impl Record {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), lines: None }
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
        let Some(lines) = &mut self.lines else { return Ok(()) };
        lines.show(event)?;
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
    fn a_run_that_never_began_leaves_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::new(folder.path());
        record.show(&samples::events().pop().unwrap()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
