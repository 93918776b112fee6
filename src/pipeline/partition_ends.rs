//! Telling the sink which partitions are finished, as soon as they are.
//!
//! What a sink keeps for a partition until its end (of a compressed part the bytes that do not fill a frame) is outside the credits, which
//! go back when a document is answered. So the sink is told at once and not only when the whole run ends: ten thousand partitions
//! would leave gigabytes. Where partitions are so small that they finish faster than the sink can end them, sends wait for it.

use crate::pipeline::shared::Shared;
use std::sync::Arc;

/// With more finished partitions than these, sends wait: 8 MiB of frames that are not full.
const MOST_WAITING: usize = 16;

/// Tells the sink of finished partitions until the run stops.
pub(crate) async fn tell(shared: Arc<Shared>) {
    let _guard = shared.stop.guard();
    loop {
        let Some(partitions) = shared.stop.unless(shared.account.ended_partitions()).await else { return };
        // A mark sees a partition before its end or after it.
        let told = if partitions.len() > MOST_WAITING {
            let _alone = shared.quiet.write().await;
            shared.sink.end_partitions(&partitions).await
        } else {
            let _quiet = shared.quiet.read().await;
            shared.sink.end_partitions(&partitions).await
        };
        if let Err(error) = told {
            return shared.stop.fail(error);
        }
    }
}
