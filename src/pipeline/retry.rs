//! How long to wait before a failed request or read is tried again.

use crate::error::{Error, Retry};
use std::time::Duration;

/// What to do after the failure number `attempts` (1: the first).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Wait, then try again.
    After(Duration),
    /// Give the documents to the lanes that exist now.
    Reroute,
    /// It is over.
    GiveUp,
}

/// The rule of the error's kind, with its delay. Delays double from the first to the last, and each is drawn from
/// its upper half, so that many requests that failed together do not come back together.
pub(crate) fn next(error: &Error, attempts: u32) -> Next {
    match error.kind().retry() {
        Retry::Never => Next::GiveUp,
        Retry::Reroute => Next::Reroute,
        // Without a word from the other side, one second: the window of its budget.
        Retry::WhenTold => Next::After(error.retry_after().unwrap_or(Duration::from_secs(1))),
        Retry::Backoff { attempts: most, .. } if attempts >= most => Next::GiveUp,
        Retry::Backoff { first, last, .. } => {
            let delay = first.saturating_mul(1 << (attempts - 1).min(16)).min(last);
            Next::After(
                delay.mul_f64(0.5 + fastrand::f64() / 2.0).max(error.retry_after().unwrap_or_default()),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn delays_double_with_jitter_up_to_the_last_attempt() {
        let error = Error::new(ErrorKind::Unavailable, "sending", "no route");
        for attempts in 1..10 {
            let whole = Duration::from_millis(50 << (attempts - 1)).min(Duration::from_secs(10));
            for _ in 0..20 {
                let Next::After(delay) = next(&error, attempts) else { panic!("attempt {attempts}") };
                assert!(delay >= whole / 2 && delay <= whole, "{delay:?} of {whole:?}");
            }
        }
        assert_eq!(next(&error, 10), Next::GiveUp);
        assert_eq!(next(&Error::new(ErrorKind::Io, "sending", ""), 1), Next::GiveUp);
        assert_eq!(next(&Error::new(ErrorKind::LaneClosed, "sending", ""), 1), Next::Reroute);
    }
}
