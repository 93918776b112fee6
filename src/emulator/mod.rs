//! A Cosmos DB for NoSQL on this machine: an endpoint in memory that official clients can talk to over HTTP/1.1 and HTTP/2 without TLS.
//!
//! It is a simulator. It keeps documents, divides containers into physical partitions by the real hash, charges request units by a
//! simple model ([`charge`]), throttles each partition second by second ([`budget`]), splits ranges and fails on demand
//! ([`faults`]). What it does not do it refuses. The ledger ([`Ledger`]) tells a test what each partition admitted and sent away.
//!
//! ```text
//!  serve (transport, signature, faults) -> point | batch | query -> container (which partition) -> partition (lock, budget, documents) -> log
//!                                       -> metadata (databases, containers, ranges, offers) -> catalog
//!                                       -> control (ledger, faults, splits)
//! ```

mod answer;
mod appended;
mod auth;
mod batch;
pub mod budget;
mod catalog;
mod charge;
mod container;
mod control;
mod faults;
mod ledger;
mod log;
mod metadata;
mod partition;
mod point;
mod query;
mod serve;
mod sql;
mod stored;

pub use auth::WELL_KNOWN_KEY;
pub use faults::{Fault, Faults, Scripted};
pub use ledger::{ContainerLedger, Ledger, PartitionLedger};

use crate::error::{Error, ErrorKind, Result};
use crate::model::blocking;
use auth::Authority;
use catalog::{Catalog, Change};
use container::Container;
use faults::Dice;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How an emulator is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port on the loopback interface; zero is any free one.
    pub port: u16,
    /// Request units a second of a container that is made without naming them; zero is no limit.
    pub throughput: u64,
    /// Physical partitions of a new container.
    pub partitions: u32,
    /// Keep everything in this folder.
    pub data: Option<PathBuf>,
    /// Take requests without a signature.
    pub no_auth: bool,
    /// Decides when windows begin and which faults are drawn.
    pub seed: u64,
    /// What goes wrong, to begin with.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            throughput: 10_000,
            partitions: 4,
            data: None,
            no_auth: false,
            seed: 1,
            faults: Faults::default(),
        }
    }
}

/// Starts emulators.
pub struct Emulator;

/// An emulator that runs, until it is stopped or dropped.
pub struct Running {
    address: SocketAddr,
    account: Arc<Account>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Emulator {
    /// Starts an emulator on the runtime that this is called from.
    pub async fn start(options: Options) -> Result<Running> {
        let failed = |cause| {
            Error::io("starting the emulator", cause)
                .with_kind(ErrorKind::Configuration)
                .with("port", options.port)
                .advise("choose another --port; 0 takes any free one")
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (data, seed) = (options.data.clone(), options.seed);
        // Reads whole logs, and writes some of them anew.
        let open = move || Catalog::open(data.as_deref(), seed);
        let catalog = blocking("opening the data of the emulator", open).await?;
        let account = Arc::new(Account {
            address,
            catalog: RwLock::new(catalog),
            authority: Authority::new(),
            dice: Dice::new(options.faults.clone(), options.seed),
            started: Instant::now(),
            options,
        });
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(serve::accept(listener, Arc::clone(&account), stopped));
        Ok(Running { address, account, stop, accepting })
    }
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint for a client.
    pub fn endpoint(&self) -> String {
        self.account.endpoint()
    }

    /// Endpoint and key for a client.
    pub fn connection_string(&self) -> String {
        format!("AccountEndpoint={};AccountKey={WELL_KNOWN_KEY};", self.endpoint())
    }

    /// What each partition admitted and sent away.
    pub fn ledger(&self) -> Ledger {
        self.account.ledger()
    }

    /// The faults that are set.
    pub fn faults(&self) -> Faults {
        Faults::clone(&self.account.dice.faults())
    }

    /// Sets other faults from the next request on.
    pub fn set_faults(&self, faults: Faults) {
        self.account.dice.set(faults);
    }

    /// Lets a range of `database/container` answer 410 with substatus 1007, until [`Running::split`] is called.
    pub fn begin_split(&self, container: &str, range: &str) -> Result<()> {
        self.account.begin_split(container, range)
    }

    /// Splits a range of `database/container` in two and returns the ids of its children.
    pub fn split(&self, container: &str, range: &str) -> Result<[String; 2]> {
        self.account.split(container, range)
    }

    /// Stops taking requests and drops the connections.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // It ends by itself; that it panicked would have been seen by its clients.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// What all requests share.
struct Account {
    address: SocketAddr,
    catalog: RwLock<Catalog>,
    authority: Authority,
    dice: Dice,
    started: Instant,
    options: Options,
}

impl Account {
    fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn catalog_mut(&self) -> RwLockWriteGuard<'_, Catalog> {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn container(&self, link: &str) -> Option<Arc<Container>> {
        self.catalog().container(link).cloned()
    }

    fn endpoint(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn since_start(&self) -> Duration {
        self.started.elapsed()
    }

    fn ledger(&self) -> Ledger {
        Ledger {
            containers: self.catalog().containers().map(|container| ContainerLedger::of(container)).collect(),
        }
    }

    fn begin_split(&self, link: &str, range: &str) -> Result<()> {
        self.known(link)?.begin_split(range)
    }

    fn split(&self, link: &str, range: &str) -> Result<[String; 2]> {
        // Planned under the lock of the catalog: two splits at once would give the same ids.
        let mut catalog = self.catalog_mut();
        let container = catalog.container(link).cloned().ok_or_else(|| catalog::missing(link))?;
        let split = container.plan_split(range)?;
        let (link, at) = (link.to_owned(), split.at.to_string());
        catalog.change(Change::Split { link, range: split.range, at, children: split.children.clone() })?;
        Ok(split.children)
    }

    fn known(&self, link: &str) -> Result<Arc<Container>> {
        self.container(link).ok_or_else(|| catalog::missing(link))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use tokio::runtime::Builder;

    /// A run starts one while it does other things: those must not wait for the logs to be read.
    #[test]
    fn the_data_is_not_read_on_a_thread_of_the_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { data: Some(folder.path().to_owned()), ..Options::default() };
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
        let (free, busy) = channel::<()>();
        runtime.block_on(async {
            // The only thread that may wait is taken, so nothing can be read.
            let other = tokio::task::spawn_blocking(move || busy.recv().is_ok());
            let mut start = std::pin::pin!(Emulator::start(options));
            tokio::select! {
                biased;
                _ = &mut start => panic!("it was read by the thread that all tasks share"),
                () = tokio::task::yield_now() => {}
            }
            free.send(()).unwrap();
            assert!(other.await.unwrap());
            start.await.unwrap().stop().await;
        });
        assert!(folder.path().join("catalog.jsonl").is_file());
    }
}
