//! What a person, a program and the state folder get to see of a run.
//!
//! A run sends one ordered stream of [`Event`]s and knows nothing of who looks. A [`View`] turns events into output; the
//! [`Reporter`] takes the stream and gives every event to each of its views:
//!
//! ```text
//!   events --> Reporter --> one of  progress (a terminal)  plain (a file, a pipe)  json (--json)  quiet (-q)
//!                       --> record: events.jsonl and summary.json in the job's folder, always
//! ```
//!
//! Everything goes to standard error: standard output belongs to documents (`--to -`). A view that cannot write
//! is given up, and the others say so; a run is not stopped because nobody listens.

pub mod json;
mod performance;
mod plain;
mod progress;
pub mod record;
mod sentence;
pub mod summary;

use crate::model::event::{Ending, Event};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use tokio::sync::mpsc::UnboundedReceiver;

/// How much a person wants to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
pub enum Verbosity {
    /// Failures only.
    Quiet,
    /// Progress, what needs attention, and the summary.
    #[default]
    Normal,
    /// Also every decision, sample and checkpoint.
    Verbose,
}

/// One way to look at a run.
pub trait View: Send {
    /// Shows an event. Called with every event in order, from one thread.
    fn show(&mut self, event: &Event) -> io::Result<()>;
}

/// Gives the events of one run to its views.
pub struct Reporter {
    views: Vec<Box<dyn View>>,
}

impl Reporter {
    /// The views for this process's standard error, and the record in the job's folder.
    pub fn new(verbosity: Verbosity, json: bool, folder: &Path) -> Self {
        let stderr = io::stderr();
        let view: Box<dyn View> = if json {
            Box::new(json::Lines::new(stderr))
        } else if verbosity == Verbosity::Quiet {
            Box::new(Quiet(stderr))
        } else if stderr.is_terminal() {
            Box::new(progress::Bar::new(verbosity))
        } else {
            Box::new(plain::Plain::new(stderr, verbosity))
        };
        Self { views: vec![Box::new(record::Record::new(folder)), view] }
    }

    /// Shows events until the run has finished or its sender is gone. Blocks: it belongs on a thread of its own, because a
    /// terminal that is scrolled back does not read.
    pub fn run(mut self, mut events: UnboundedReceiver<Event>) {
        while let Some(event) = events.blocking_recv() {
            self.show(&event);
            if matches!(event, Event::Finished(_)) {
                break;
            }
        }
    }

    fn show(&mut self, event: &Event) {
        let mut lost = None;
        self.views.retain_mut(|view| view.show(event).map_err(|cause| lost = Some(cause)).is_ok());
        if let Some(cause) = lost {
            // Terminates: every round has a view less.
            self.show(&Event::Warning { message: format!("a report of this run is incomplete: {cause}") });
        }
    }
}

/// Says nothing unless the run fails.
struct Quiet<W>(W);

impl<W: Write + Send> View for Quiet<W> {
    fn show(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Finished(summary) => match &summary.ending {
                Ending::Failed { error, remedy, .. } => writeln!(self.0, "error: {error}\n  try: {remedy}"),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod samples;
