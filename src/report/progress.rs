//! A bar on a terminal, with the same words as the plain view; sentences scroll by above it.

use super::sentence::{line, sentence};
use super::{Verbosity, View, summary};
use crate::model::event::Event;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, Write};
use std::time::Duration;

/// Steps of the bar. The share of the source read is a fraction; finer than a thousandth nobody sees.
const STEPS: u64 = 1_000;

/// Draws a bar.
pub(super) struct Bar {
    bar: ProgressBar,
    verbosity: Verbosity,
    total_bytes: Option<u64>,
}

impl Bar {
    /// Colours are left out where `NO_COLOR` is set: the terminal library looks.
    pub(super) fn new(verbosity: Verbosity) -> Self {
        let bar = ProgressBar::new(STEPS).with_style(style("{spinner} {elapsed} {wide_msg}"));
        Self { bar, verbosity, total_bytes: None }
    }
}

impl View for Bar {
    fn show(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Started(started) => {
                self.total_bytes = started.total_bytes;
                self.bar.enable_steady_tick(Duration::from_millis(200));
            }
            Event::Progress(progress) => {
                if let Some(share) = progress.share {
                    if self.bar.position() == 0 {
                        self.bar.set_style(style("{bar:24.cyan/dim} {percent:>3}% {elapsed} {wide_msg}"));
                    }
                    self.bar.set_position((share * STEPS as f64) as u64);
                }
                self.bar.set_message(line(progress, self.total_bytes));
            }
            Event::Finished(finished) => {
                self.bar.finish_and_clear();
                io::stderr().lock().write_all(summary::table(finished, self.verbosity).as_bytes())?;
            }
            // The pools are in the bar; why they moved is for those who ask.
            Event::Decided(_) if self.verbosity < Verbosity::Verbose => return Ok(()),
            _ => {}
        }
        if let Some(sentence) = sentence(event, self.verbosity) {
            self.bar.println(sentence);
        }
        Ok(())
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        ProgressStyle::with_template("{bar:24.cyan/dim} {percent:>3}% {elapsed} {wide_msg}").unwrap();
        ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}").unwrap();
    }
}
