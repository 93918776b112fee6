//! `docferry emulator`: start the local endpoint, say where it is, and stop when told to.

use super::dispatch::block_on;
use super::{Emulator, GlobalFlags};
use crate::emulator::{self, Faults, Options, WELL_KNOWN_KEY};
use crate::error::{Error, ErrorKind, Result};
use serde_json::json;
use std::io::Write;

const STARTING: &str = "starting the emulator";

pub(super) fn run(flags: &Emulator, global: &GlobalFlags, out: &mut dyn Write) -> anyhow::Result<u8> {
    let options = Options {
        port: flags.port,
        throughput: flags.throughput,
        partitions: flags.partitions,
        data: flags.data.clone(),
        no_auth: flags.no_auth,
        seed: flags.seed,
        faults: faults(flags)?,
    };
    block_on(async {
        let running = emulator::Emulator::start(options).await?;
        tell(&running, global, out)?;
        told_to_stop().await?;
        running.stop().await;
        Ok(0)
    })?
}

/// Ends at SIGINT or SIGTERM.
#[cfg(unix)]
async fn told_to_stop() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|cause| Error::io("listening for signals", cause));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn told_to_stop() -> Result<()> {
    tokio::signal::ctrl_c().await.map_err(|cause| Error::io("listening for signals", cause))
}

/// What the file says, over the latency of the command line.
fn faults(flags: &Emulator) -> Result<Faults> {
    let given = json!({ "latency_ms": flags.latency_ms }).to_string();
    let refuse = |why: String| Error::new(ErrorKind::Usage, STARTING, why);
    let faults = Faults::default().changed_by(given.as_bytes()).map_err(refuse)?;
    let Some(path) = &flags.faults else { return Ok(faults) };
    let failed = |error: Error, remedy: &str| {
        error.with_kind(ErrorKind::Configuration).with("faults", path.display()).advise(remedy)
    };
    let text = std::fs::read(path)
        .map_err(|cause| failed(Error::io(STARTING, cause), "name a file that can be read as --faults"))?;
    let correct = "correct the file that --faults names; docs/emulator.md says what may stand in it";
    faults.changed_by(&text).map_err(|why| failed(refuse(why), correct))
}

fn tell(running: &emulator::Running, global: &GlobalFlags, out: &mut dyn Write) -> anyhow::Result<()> {
    let (endpoint, connection) = (running.endpoint(), running.connection_string());
    if global.json {
        let told = json!({ "endpoint": endpoint, "key": WELL_KNOWN_KEY, "connection_string": connection });
        writeln!(out, "{told}")?;
    } else if !global.quiet {
        writeln!(out, "endpoint            {endpoint}")?;
        writeln!(out, "key                 {WELL_KNOWN_KEY}")?;
        writeln!(out, "connection string   {connection}")?;
        writeln!(
            out,
            "This is a simulator of Azure Cosmos DB for NoSQL with a simple model of request units, not the service: figures of a real account differ."
        )?;
    }
    // Whoever waits for the endpoint reads this while we run on.
    Ok(out.flush()?)
}
