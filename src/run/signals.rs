//! The signals that ask a run to stop: the first one politely, the second one at once. The job is resumable either way.
//!
//! They are heard on a thread of their own, with a small runtime of its own, from before the target is opened until the process is gone.
//! The runtime that moves documents is no place for them: it may be busy, and it is taken down while reports are still written and
//! calls that do not return are still waited for.

use crate::error::{Error, Result};
use crate::pipeline::{Stop, StopReason};
use std::sync::Arc;
use tokio::sync::oneshot;

const LISTENING: &str = "listening to signals";

/// Turns the first SIGINT or SIGTERM into a graceful stop, and ends the process at the second. On return both are listened to.
pub(super) async fn listen(stop: Arc<Stop>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| Error::io(LISTENING, cause))?;
    let (ready, is_ready) = oneshot::channel();
    let heard = move || runtime.block_on(hear(&stop, ready));
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(heard)
        .map_err(|cause| Error::io(LISTENING, cause))?;
    // A thread that ended without a word could not listen: the system's default holds, and the process ends at once.
    let _ = is_ready.await;
    Ok(())
}

async fn hear(stop: &Stop, ready: oneshot::Sender<()>) {
    let Ok(mut signals) = Signals::new() else { return };
    let _ = ready.send(());
    let first = signals.next().await;
    stop.stop(StopReason::Signal(first));
    let second = signals.next().await;
    #[expect(
        clippy::disallowed_methods,
        reason = "a second signal means now; what is not in a checkpoint is replayed"
    )]
    std::process::exit(if second == "SIGINT" { 130 } else { 143 });
}

/// Both signals, listened to from the beginning: one that comes while another is dealt with is not lost.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) -> &'static str {
        self.0.recv().await;
        "SIGINT"
    }
}
