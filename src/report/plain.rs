//! Lines for a file or a pipe: one every five seconds, and what needs attention when it happens.

use super::sentence::{line, sentence};
use super::{Verbosity, View, summary};
use crate::model::event::Event;
use crate::model::units::Elapsed;
use std::io::{self, Write};
use std::time::Duration;

/// Seldom enough that a night's log stays readable, often enough to see that a run is alive.
const PERIOD: Duration = Duration::from_secs(5);

/// Writes plain lines.
pub(super) struct Plain<W> {
    out: W,
    verbosity: Verbosity,
    total_bytes: Option<u64>,
    next: Duration,
}

impl<W: Write> Plain<W> {
    pub(super) fn new(out: W, verbosity: Verbosity) -> Self {
        Self { out, verbosity, total_bytes: None, next: PERIOD }
    }
}

impl<W: Write + Send> View for Plain<W> {
    fn show(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Started(started) => self.total_bytes = started.total_bytes,
            Event::Progress(progress) if progress.elapsed >= self.next => {
                self.next = progress.elapsed + PERIOD;
                let share =
                    progress.share.map(|share| format!("{:.0}%, ", share * 100.0)).unwrap_or_default();
                let line = line(progress, self.total_bytes);
                writeln!(self.out, "{}: {share}{line}", Elapsed(progress.elapsed))?;
            }
            Event::Finished(finished) => write!(self.out, "{}", summary::table(finished, self.verbosity))?,
            _ => {}
        }
        match sentence(event, self.verbosity) {
            Some(sentence) => writeln!(self.out, "{sentence}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn shown(verbosity: Verbosity) -> String {
        let mut out = Vec::new();
        let mut view = Plain::new(&mut out, verbosity);
        for event in samples::events() {
            view.show(&event).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        text.split("\ncomplete").next().unwrap().to_owned()
    }

    #[test]
    fn a_run_in_plain_lines() {
        insta::assert_snapshot!(shown(Verbosity::Normal), @"
        resuming job orders: file:orders.jsonl -> sqlite:orders.db, 1000.0 MiB in 4 partitions; 500 000 documents are done
        6.0 s: 41%, 600 152 documents, 98 765/s, 51.2 MiB/s, 2 rejected, 11.5 s left, pools 2/4/8
        rejected 2 documents (transform: total is not a number), first at orders.jsonl, line 12
        request failed, next attempt in 50 ms (attempt 1 failed): sending a request: timed out
        try readers 2 -> 4: the source is the bottleneck (0.98 busy)
        scale up readers 2 -> 4: the source is the bottleneck (0.98 busy), throughput +50 % (confidence 0.97)
        warning: checkpoint.json is damaged
        note: this is a trial
        stopping (SIGINT): waiting for requests already sent; a second signal stops at once
        ");
    }

    #[test]
    fn verbose_adds_samples_and_checkpoints() {
        insta::assert_snapshot!(shown(Verbosity::Verbose), @"
        resuming job orders: file:orders.jsonl -> sqlite:orders.db, 1000.0 MiB in 4 partitions; 500 000 documents are done
        6.0 s: 41%, 600 152 documents, 98 765/s, 51.2 MiB/s, 2 rejected, 11.5 s left, pools 2/4/8
        rejected 2 documents (transform: total is not a number), first at orders.jsonl, line 12
        request failed, next attempt in 50 ms (attempt 1 failed): sending a request: timed out
        try readers 2 -> 4: the source is the bottleneck (0.98 busy)
        scale up readers 2 -> 4: the source is the bottleneck (0.98 busy), throughput +50 % (confidence 0.97)
        held back: scale up readers 2 -> 4: the source is the bottleneck (0.98 busy) (cooldown, 12 s left)
        sample: 98 000 documents/s, busy 98%/0%/0%, throttled 0%, failed 0%, credits 0%, cpu 61%, memory 2% (60.0 MiB), workload high, limited by source
        2 GPUs: NVIDIA A100 with 40.0 GiB, Intel GPU
        no GPU
        partition orders.jsonl:0 finished
        checkpoint 7: 700 000 documents safe
        warning: checkpoint.json is damaged
        note: this is a trial
        stopping (SIGINT): waiting for requests already sent; a second signal stops at once
        ");
    }
}
