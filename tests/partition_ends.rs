//! The sink is told of a finished partition while the run goes on: what it keeps for one may be large.

use crate::support::Trial;
use docferry::connector::memory::MemorySource;
use docferry::connector::{Lane, Order, Prepare, Sink, SinkCapabilities, Source};
use docferry::error::Result;
use docferry::model::BoxFuture;
use docferry::model::checkpoint::Checkpoint;
use docferry::model::document::Document;
use docferry::model::partition::PartitionIndex;
use docferry::model::request::{Outcome, Request, Route};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Partitions of the source, each with a lane of its own. So few that sends need not wait until the sink has ended what is finished.
const PARTITIONS: u32 = 12;

/// The lane of the last partition answers when all others have been ended.
struct Waiting {
    ended: watch::Sender<BTreeSet<PartitionIndex>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_is_told_of_finished_partitions_while_others_are_not() {
    let documents = |partition| (0..50).map(move |n| format!("{{\"id\":{}}}", 50 * partition + n)).collect();
    let sink = Arc::new(Waiting { ended: watch::Sender::default() });
    let ended = sink.ended.subscribe();
    let trial = Trial::new(MemorySource::given((0..PARTITIONS).map(documents)), sink);
    trial.start().await.end(Duration::from_secs(60)).await;
    assert!(ended.borrow().len() >= PARTITIONS as usize - 1);
}

impl Sink for Waiting {
    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities {
            order: Order::PerPartition,
            serial: true,
            keyed: false,
            transactional: false,
            marked: false,
            resumable: true,
            request_documents: 10,
            request_bytes: usize::MAX,
        }
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn identity(&self) -> BoxFuture<'_, Result<Option<String>>> {
        Box::pin(async { Ok(None) })
    }

    fn prepare<'a>(&'a self, _: Prepare<'a>) -> BoxFuture<'a, Result<String>> {
        Box::pin(async { Ok(String::new()) })
    }

    fn route(&self, document: &Document<'_>) -> Result<Route, String> {
        Ok(Route { lane: document.partition, ..Route::default() })
    }

    fn lanes(&self) -> Vec<Arc<dyn Lane>> {
        let lane = |lane| Arc::new(Part { is_last: lane + 1 == PARTITIONS, ended: self.ended.subscribe() });
        (0..PARTITIONS).map(|number| lane(number) as _).collect()
    }

    fn flush<'a>(&'a self, _: &'a Checkpoint) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn end_partitions<'a>(&'a self, partitions: &'a [PartitionIndex]) -> BoxFuture<'a, Result<()>> {
        self.ended.send_modify(|ended| {
            partitions.iter().for_each(|one| assert!(ended.insert(*one), "{one} twice"));
        });
        Box::pin(async { Ok(()) })
    }

    fn finish(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn read_back(&self) -> Option<Box<dyn Source>> {
        None
    }
}

struct Part {
    is_last: bool,
    ended: watch::Receiver<BTreeSet<PartitionIndex>>,
}

impl Lane for Part {
    fn send(&self, _: Request) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(async {
            if self.is_last {
                let others = PARTITIONS as usize - 1;
                self.ended.clone().wait_for(|ended| ended.len() >= others).await.unwrap();
            }
            Ok(Outcome::default())
        })
    }
}
