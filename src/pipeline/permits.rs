//! Permits of a pool whose size changes while it runs: growing wakes the one that waits, shrinking lets workers finish
//! and gives their permits to nobody.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The permits of one pool. One task, the pool's dispatcher, acquires them.
#[derive(Debug)]
pub(crate) struct Permits {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    limit: usize,
    used: usize,
}

impl Permits {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { limit, used: 0 }), changed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the pool's size.
    pub(crate) fn resize(&self, limit: usize) {
        self.lock().limit = limit;
        self.changed.notify_one();
    }

    /// The pool's size.
    pub(crate) fn limit(&self) -> usize {
        self.lock().limit
    }

    /// Permits that nobody has.
    pub(crate) fn free(&self) -> usize {
        let state = self.lock();
        state.limit.saturating_sub(state.used)
    }

    /// Waits for a permit.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Permit {
        loop {
            {
                let mut state = self.lock();
                if state.used < state.limit {
                    state.used += 1;
                    return Permit { permits: Arc::clone(self) };
                }
            }
            self.changed.notified().await;
        }
    }
}

/// One place in the pool; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit {
    permits: Arc<Permits>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.lock().used -= 1;
        self.permits.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shrinking_drains_and_growing_wakes() {
        let permits = Permits::new(2);
        let (first, second) = (permits.acquire().await, permits.acquire().await);
        assert_eq!(permits.free(), 0);
        permits.resize(1);
        drop(first);
        let waiting = tokio::spawn({
            let permits = Arc::clone(&permits);
            async move { permits.acquire().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "one is used and one is allowed");
        permits.resize(2);
        drop(waiting.await.unwrap());
        assert_eq!(permits.free(), 1);
        drop(second);
        assert_eq!(permits.lock().used, 0);
    }
}
