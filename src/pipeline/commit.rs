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
use crate::model::blocking;
use crate::model::checkpoint::Checkpoint;
use crate::model::event::Event;
use crate::pipeline::account::Snapshot;
use crate::pipeline::shared::Shared;
use std::sync::Arc;
use tokio::sync::Mutex;

const STORING: &str = "storing the checkpoint";

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
        let (store, run) = (self.store.clone(), self.last.run.clone());
        blocking(STORING, move || store.refuse_if_lost(&run)).await?;
        let mut paused = if pause { Some(shared.quiet.write().await) } else { None };
        let target_state = shared.sink.mark()?;
        let Snapshot { progress, counters, rejects_length, rejects_file } = shared.account.snapshot()?;
        if !capabilities.transactional {
            paused = None;
        }
        shared.report_news();
        if let Some(file) = rejects_file {
            blocking(STORING, move || {
                file.sync_data().map_err(|cause| Error::io("syncing the reject file", cause))
            })
            .await?;
            shared.account.rejects_synced(rejects_length);
        }
        // Field by field: the finished part of the last one may be large, and is not needed.
        let checkpoint = Checkpoint {
            version: self.last.version,
            job: self.last.job.clone(),
            run: self.last.run.clone(),
            fingerprint: self.last.fingerprint.clone(),
            generation: self.last.generation + 1,
            finished,
            counters,
            rejects_length,
            target_state,
            partitions: progress,
        };
        shared.sink.flush(&checkpoint).await?;
        drop(paused);
        let store = self.store.clone();
        self.last = shared.saving.run(move || store.save(&checkpoint).map(|()| checkpoint)).await?;
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

/// Who waits for a checkpoint on its way to the disk. A task that is aborted leaves such work behind on its thread, and the job must not be given
/// to another run before that is done.
#[derive(Debug, Default)]
pub(crate) struct Saving(Arc<Mutex<()>>);

impl Saving {
    /// Runs what waits for a disk, one after the other.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let held = Arc::clone(&self.0).lock_owned().await;
        blocking(STORING, move || {
            let _held = held;
            work()
        })
        .await
    }

    /// Waits until nothing is on its way, also of tasks that were aborted.
    pub(crate) async fn settled(&self) {
        drop(self.0.lock().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_an_aborted_task_was_storing_is_waited_for() {
        let saving = Arc::new(Saving::default());
        let (go_on, waits) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let storing = Arc::clone(&saving);
        let task = tokio::spawn(async move {
            let work = move || {
                begun.send(()).unwrap();
                waits.recv().unwrap();
                Ok(())
            };
            storing.run(work).await
        });
        has_begun.await.unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        let mut settled = std::pin::pin!(saving.settled());
        tokio::select! {
            biased;
            () = &mut settled => panic!("the work goes on"),
            () = std::future::ready(()) => {}
        }
        go_on.send(()).unwrap();
        settled.await;
    }
}
