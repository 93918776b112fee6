//! Checkpoints while a run goes on: one a second, and one at each end.
//!
//! ```text
//!   sends pause   (transactional and marked sinks only)
//!   mark, snapshot of the books
//!   sends go on   (a marked sink: what comes later is cut off by a resume)
//!   dead letters synced, sink flushed, checkpoint stored
//!   sends go on   (a transactional sink: its flush commits data and checkpoint together)
//! ```

use crate::checkpoint::store::CheckpointStore;
use crate::error::{Error, Result};
use crate::model::checkpoint::Checkpoint;
use crate::model::event::Event;
use crate::pipeline::account::Snapshot;
use crate::pipeline::shared::Shared;
use std::sync::Arc;

/// Stores the checkpoints of a run.
pub(crate) struct Committer {
    store: CheckpointStore,
    /// The newest: what does not change from one to the next is taken from here.
    last: Checkpoint,
    failed: bool,
}

impl Committer {
    /// `first` is the checkpoint that the run begins with.
    pub(crate) fn new(store: CheckpointStore, first: Checkpoint) -> Self {
        Self { store, last: first, failed: false }
    }

    /// Whether a checkpoint could not be stored.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Stores checkpoints until the run stops or is complete. What cannot be stored stops the run.
    pub(crate) async fn run(mut self, shared: Arc<Shared>) -> Self {
        let mut ticks = tokio::time::interval(shared.options.checkpoint_interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shared.stop.wait() => return self,
                () = shared.ended.notified() => return self,
            }
            if let Err(error) = self.commit(&shared, false).await {
                self.failed = true;
                shared.stop.fail(error);
                return self;
            }
        }
    }

    /// Stores a checkpoint of what is finished now.
    pub(crate) async fn commit(&mut self, shared: &Shared, finished: bool) -> Result<()> {
        let capabilities = &shared.capabilities;
        let pause = capabilities.transactional || capabilities.marked;
        let mut paused = if pause { Some(shared.quiet.write().await) } else { None };
        let target_state = shared.sink.mark()?;
        let Snapshot { progress, counters, rejects_length, rejects_file } = shared.account.snapshot()?;
        if !capabilities.transactional {
            paused = None;
        }
        shared.report_news();
        if let Some(file) = rejects_file {
            blocking(move || file.sync_data().map_err(|cause| Error::io("syncing the reject file", cause)))
                .await?;
            shared.account.rejects_synced(rejects_length);
        }
        let checkpoint = Checkpoint {
            generation: self.last.generation + 1,
            finished,
            counters,
            rejects_length,
            target_state,
            partitions: progress,
            ..self.last.clone()
        };
        shared.sink.flush(&checkpoint).await?;
        drop(paused);
        let store = self.store.clone();
        self.last = blocking(move || store.save(&checkpoint).map(|()| checkpoint)).await?;
        shared.note_durable(self.last.counters);
        let documents = self.last.counters.accounted();
        shared.event(Event::CheckpointSaved { generation: self.last.generation, documents });
        Ok(())
    }
}

impl Shared {
    /// Tells what happened since the last checkpoint.
    fn report_news(&self) {
        for news in self.account.reject_news() {
            let (by, documents) = (news.by, news.documents);
            self.event(Event::Rejected { by, reason: news.reason, first: news.first, documents });
        }
        for partition in self.account.finished_partitions() {
            let partition = self.partitions[partition as usize].id.to_string();
            self.event(Event::PartitionFinished { partition });
        }
        if let Some(message) = self.sink.notice() {
            self.event(Event::Warning { message });
        }
    }
}

/// Runs what waits for a disk where it may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(cause) => Err(Error::internal("storing the checkpoint", "the thread ended").caused_by(cause)),
    }
}
