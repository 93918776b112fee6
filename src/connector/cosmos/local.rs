//! The seam to the local endpoint: someone else starts it and says where it listens.
//!
//! `endpoint = "emulator"` names no address. A connector knows no other room, so the assembly provides a function that starts the local endpoint,
//! or finds the one that runs already.

use crate::connector::cosmos::account::Secret;
use crate::error::{Error, Result};
use crate::model::BoxFuture;
use std::sync::OnceLock;

/// Where the local endpoint listens.
#[derive(Clone, Debug)]
pub struct LocalAddress {
    /// Its address.
    pub endpoint: String,
    /// Its key.
    pub key: Secret,
}

/// Starts the local endpoint unless it runs.
type Start = Box<dyn Fn() -> BoxFuture<'static, Result<LocalAddress>> + Send + Sync>;

static START: OnceLock<Start> = OnceLock::new();

/// Says how the local endpoint is started. The first word counts; called before any sink or source is checked.
pub fn provide(start: impl Fn() -> BoxFuture<'static, Result<LocalAddress>> + Send + Sync + 'static) {
    // A second run in one process finds the endpoint of the first.
    let _ = START.set(Box::new(start));
}

/// Where the local endpoint listens; it is started if need be.
pub(super) async fn address() -> Result<LocalAddress> {
    match START.get() {
        Some(start) => start().await,
        None => {
            let error =
                Error::configuration("connecting to Cosmos", "there is no local endpoint in this build");
            Err(error.advise("name an account as the endpoint"))
        }
    }
}
