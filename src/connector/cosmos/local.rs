//! The seam to the local endpoint: someone else starts it and says where it listens.
//!
//! `endpoint = "emulator"` names no address. A connector knows no other room, so the assembly provides a function that starts the local endpoint,
//! or finds the one that runs already. The function is that of one run: it goes when the run does, and the next run provides its own.

use crate::connector::cosmos::account::Secret;
use crate::error::{Error, Result};
use crate::model::BoxFuture;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where the local endpoint listens.
#[derive(Clone, Debug)]
pub struct LocalAddress {
    /// Its address.
    pub endpoint: String,
    /// Its key.
    pub key: Secret,
}

/// Starts the local endpoint unless it runs.
type Start = Arc<dyn Fn() -> BoxFuture<'static, Result<LocalAddress>> + Send + Sync>;

static START: Mutex<Option<Start>> = Mutex::new(None);

/// While this lives, connectors find the local endpoint; dropping it withdraws what was provided.
#[must_use = "the local endpoint is found only while this lives"]
pub struct Provided(Start);

/// Says how the local endpoint is started, until the answer is dropped. The last word counts; said before any sink or source is checked.
pub fn provide(
    start: impl Fn() -> BoxFuture<'static, Result<LocalAddress>> + Send + Sync + 'static,
) -> Provided {
    let start: Start = Arc::new(start);
    *lock() = Some(Arc::clone(&start));
    Provided(start)
}

impl Drop for Provided {
    fn drop(&mut self) {
        let mut current = lock();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &self.0)) {
            *current = None;
        }
    }
}

fn lock() -> MutexGuard<'static, Option<Start>> {
    START.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the local endpoint listens; it is started if need be.
pub(super) async fn address() -> Result<LocalAddress> {
    // Taken out of the lock: to start takes its time.
    let start = lock().clone();
    match start {
        Some(start) => start().await,
        None => {
            let error =
                Error::internal("connecting to Cosmos", "nobody has said how to start the local endpoint");
            Err(error.advise("start `docferry emulator` and name its address as the endpoint"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(endpoint: &'static str) -> Provided {
        let address = move || LocalAddress { endpoint: endpoint.to_owned(), key: Secret::new("key") };
        provide(move || Box::pin(std::future::ready(Ok(address()))))
    }

    #[tokio::test]
    async fn the_last_word_counts_until_it_is_withdrawn() {
        let found = async || address().await.map(|address| address.endpoint).ok();
        assert_eq!(found().await, None);
        let first = at("first");
        let second = at("second");
        drop(first);
        assert_eq!(found().await.as_deref(), Some("second"), "a run that ends takes only its own word back");
        drop(second);
        assert_eq!(found().await, None);
    }
}
