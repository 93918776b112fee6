//! A target that takes everything at once and keeps nothing.

use crate::connector::sink::{Lane, Order, Prepare, Sink, SinkCapabilities};
use crate::connector::source::Source;
use crate::error::Result;
use crate::model::BoxFuture;
use crate::model::checkpoint::Checkpoint;
use crate::model::request::{Outcome, Request};
use crate::model::units::MIB;
use std::sync::Arc;

/// The identity: there is only one nothing.
const IDENTITY: &str = "null";

/// A target that discards.
#[derive(Debug, Default)]
pub struct NullSink;

impl Sink for NullSink {
    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities {
            order: Order::None,
            serial: false,
            keyed: false,
            transactional: false,
            marked: false,
            resumable: true,
            // Nothing here costs by the request: a batch goes as it is, and only its bytes are bounded, so that
            // a request never holds more than half of the smallest useful credit.
            request_documents: usize::MAX,
            request_bytes: 16 * MIB as usize,
        }
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn identity(&self) -> BoxFuture<'_, Result<Option<String>>> {
        Box::pin(async { Ok(Some(IDENTITY.to_owned())) })
    }

    fn prepare<'a>(&'a self, _prepare: Prepare<'a>) -> BoxFuture<'a, Result<String>> {
        Box::pin(async { Ok(IDENTITY.to_owned()) })
    }

    fn lanes(&self) -> Vec<Arc<dyn Lane>> {
        vec![Arc::new(NullLane)]
    }

    fn flush<'a>(&'a self, _checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn finish(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn read_back(&self) -> Option<Box<dyn Source>> {
        None
    }
}

struct NullLane;

impl Lane for NullLane {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Outcome>> {
        drop(request);
        Box::pin(async { Ok(Outcome::default()) })
    }
}
