//! A build without the Cosmos connector has nobody who could ask for a local endpoint.

use crate::config::job::Job;
use crate::model::event::Event;
use std::future::{Ready, ready};
use tokio::sync::mpsc::UnboundedSender;

/// No endpoint.
pub(super) struct Local;

impl Local {
    pub(super) fn offer(_job: &Job, _events: Option<UnboundedSender<Event>>) -> Self {
        Self
    }

    pub(super) fn stop(self) -> Ready<()> {
        ready(())
    }
}
