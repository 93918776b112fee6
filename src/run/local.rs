//! The local Cosmos endpoint inside a run.
//!
//! A job whose source or target is `endpoint = "emulator"` needs no account: the run starts the endpoint when a connector first asks for it, on a
//! free port, and stops it at its end. Its data lies in a folder of the state folder, one for all jobs: so a killed run is gone on with, `verify`
//! finds what `migrate` has written, and one job reads what another wrote. The folder belongs to one process at a time, because the
//! endpoint keeps its containers in memory and only notes there what changes.

use crate::config::job::Job;
use crate::connector::cosmos::{LocalAddress, Provided, Secret, provide_local};
use crate::emulator::{Emulator, Faults, Options, Running, WELL_KNOWN_KEY};
use crate::error::{Error, ErrorKind, Result};
use crate::model::event::Event;
use crate::model::shell::word;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedSender;

/// A gateway in the same region answers in a few milliseconds; with none at all requests in flight would be nothing to see.
const LATENCY_MS: f64 = 5.0;

/// The local endpoint of one run, started or not.
pub(super) struct Local {
    state: Arc<State>,
    _provided: Provided,
}

struct State {
    data: PathBuf,
    /// Whom to tell that it was started.
    events: Option<UnboundedSender<Event>>,
    running: Mutex<Option<Running>>,
}

impl Local {
    /// Tells the connectors how to start it.
    pub(super) fn offer(job: &Job, events: Option<UnboundedSender<Event>>) -> Self {
        let state = Arc::new(State { data: job.emulator.clone(), events, running: Mutex::new(None) });
        let own = Arc::clone(&state);
        let provided = provide_local(move || {
            let state = Arc::clone(&own);
            Box::pin(async move { state.address().await })
        });
        Self { state, _provided: provided }
    }

    /// Stops it if it was started.
    pub(super) async fn stop(self) {
        if let Some(running) = self.state.running.lock().await.take() {
            running.stop().await;
        }
    }
}

impl State {
    async fn address(&self) -> Result<LocalAddress> {
        let mut running = self.running.lock().await;
        let running = match &mut *running {
            Some(running) => running,
            none => {
                let started = Emulator::start(self.options()).await.map_err(explained)?;
                self.tell();
                none.insert(started)
            }
        };
        Ok(LocalAddress { endpoint: running.endpoint(), key: Secret::new(WELL_KNOWN_KEY) })
    }

    fn options(&self) -> Options {
        Options {
            data: Some(self.data.clone()),
            faults: Faults { latency_ms: LATENCY_MS, jitter_ms: LATENCY_MS / 2.0, ..Faults::default() },
            ..Options::default()
        }
    }

    fn tell(&self) {
        let Some(events) = &self.events else { return };
        let message = format!(
            "this run holds a simulator of Azure Cosmos DB, with a simple model of request units; afterwards `docferry emulator --data {}` serves its data",
            word(&self.data.display().to_string())
        );
        let _ = events.send(Event::Notice { message });
    }
}

/// Two who want the folder at once are told of one another, and of the way for both.
fn explained(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Held => error.advise(
            "wait until the other docferry has ended, or stop it; for several at once run `docferry emulator --data DIR` and name its address as the endpoint",
        ),
        _ => error,
    }
}
