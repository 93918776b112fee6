//! Waiting where one may wait.
//!
//! The runtime's own threads are few and must never wait for a disk or a lock: one that does holds up every task of the run. So whatever may
//! wait runs on a thread that is kept for that.

use crate::error::{Error, Result};

/// Runs `work` on a thread that may wait. `operation` is for the message, should the thread end early.
pub async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(cause) => Err(Error::internal(operation, "the thread ended early").caused_by(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn a_panic_becomes_an_error() {
        assert_eq!(blocking("testing", || Ok(7)).await.unwrap(), 7);
        let died = blocking::<()>("testing", || panic!("on purpose")).await.unwrap_err();
        assert_eq!(died.kind(), ErrorKind::Internal);
        assert!(died.to_string().starts_with("testing: the thread ended early"), "{died}");
    }
}
