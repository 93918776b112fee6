//! How a run is asked to stop: once, by the first who asks, and heard by every task.

use crate::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Why a run stops before its end.
#[derive(Debug)]
pub enum StopReason {
    /// A signal of this name.
    Signal(&'static str),
    /// A failure.
    Failure(Error),
}

/// The switch.
#[derive(Debug)]
pub struct Stop {
    on: watch::Sender<bool>,
    reason: Mutex<Option<StopReason>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { on: watch::Sender::new(false), reason: Mutex::new(None) }
    }
}

impl Stop {
    fn lock(&self) -> MutexGuard<'_, Option<StopReason>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the run to stop; the first reason stays.
    pub fn stop(&self, reason: StopReason) {
        self.lock().get_or_insert(reason);
        self.on.send_replace(true);
    }

    /// Asks the run to stop because of a failure.
    pub fn fail(&self, error: Error) {
        self.stop(StopReason::Failure(error));
    }

    /// Stops the run if the task that holds this panics: the others would wait for it for ever.
    pub(crate) fn guard(&self) -> PanicGuard<'_> {
        PanicGuard(self)
    }

    /// Whether somebody asked.
    pub fn is_on(&self) -> bool {
        *self.on.borrow()
    }

    /// Waits until somebody asks.
    pub async fn wait(&self) {
        let mut on = self.on.subscribe();
        // The sender lives as long as this switch, so waiting cannot fail.
        let _ = on.wait_for(|on| *on).await;
    }

    /// What `work` yields, or none once somebody has asked, even if it is ready by then: after a stop nothing new begins.
    pub(crate) async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.wait() => None,
            done = work => Some(done),
        }
    }

    /// The reason in words, if somebody asked.
    pub fn reason(&self) -> Option<String> {
        self.lock().as_ref().map(|reason| match reason {
            StopReason::Signal(signal) => (*signal).to_owned(),
            StopReason::Failure(error) => error.to_string(),
        })
    }

    /// The reason, if somebody asked.
    pub fn take_reason(&self) -> Option<StopReason> {
        self.lock().take()
    }
}

/// Held by a task while it works.
pub(crate) struct PanicGuard<'a>(&'a Stop);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Error::internal("running the pipeline", "a task panicked"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn after_a_stop_nothing_new_begins_and_the_first_reason_stays() {
        let stop = Stop::default();
        assert_eq!(stop.unless(async { 1 }).await, Some(1));
        stop.stop(StopReason::Signal("SIGTERM"));
        stop.fail(Error::internal("testing", "later"));
        // Often enough for a choice by chance to be found out.
        for _ in 0..64 {
            assert_eq!(stop.unless(async { 1 }).await, None);
        }
        assert_eq!(stop.reason().as_deref(), Some("SIGTERM"));
    }
}
