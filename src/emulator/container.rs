//! A container: how its space is divided, what it may spend, and how a part of it is split.
//!
//! The division ([`Topology`]) is replaced as a whole when it changes; whoever works with an old one finds the partitions that
//! are gone closed.

use super::budget::Budget;
use super::log::{Change, Log};
use super::partition::{Partition, Standing, Surroundings};
use super::stored::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::model::partition_key::{Epk, PartitionKeyDefinition};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

/// Above every place: the end of the last range.
const END: [u8; 1] = [0xff];

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    /// Number among all containers ever made; its log is named after it.
    pub(super) number: u64,
    pub(super) rid: String,
    /// `database/container`.
    pub(super) link: String,
    pub(super) definition: PartitionKeyDefinition,
    /// The body it was made from, without what the service adds.
    pub(super) properties: serde_json::Map<String, serde_json::Value>,
    pub(super) written_at: u32,
    topology: RwLock<Arc<Topology>>,
    offer: Mutex<Offer>,
    /// The last number that was given to a document or an ETag.
    pub(super) counter: AtomicU64,
    phases: Mutex<fastrand::Rng>,
    log: OnceLock<Log>,
}

/// How a container's space is divided now.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    /// Changes with every split; the ETag of the list of ranges.
    pub(super) version: u64,
    next_id: u64,
    /// In the order of their ranges.
    pub(super) partitions: Vec<Arc<Partition>>,
    /// Partitions that were split, for the ledger.
    pub(super) retired: Vec<Arc<Partition>>,
}

/// A split that was done, as it is remembered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Split {
    pub(super) range: String,
    pub(super) at: Epk,
    pub(super) children: [String; 2],
}

/// What a container may spend.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Offer {
    /// Request units a second; zero is no limit.
    pub(super) throughput: u64,
    /// It is the most of a range in which the service would scale by itself. The emulator keeps it at the most.
    #[serde(default)]
    pub(super) autoscale: bool,
}

impl Offer {
    /// The share of one of so many partitions.
    fn share(self, partitions: usize) -> f64 {
        if self.throughput == 0 { f64::INFINITY } else { self.throughput as f64 / partitions as f64 }
    }
}

/// What makes a container.
pub(super) struct Blueprint {
    pub(super) number: u64,
    pub(super) rid: String,
    pub(super) link: String,
    pub(super) definition: PartitionKeyDefinition,
    pub(super) properties: serde_json::Map<String, serde_json::Value>,
    pub(super) written_at: u32,
    pub(super) partitions: u32,
    pub(super) offer: Offer,
    pub(super) seed: u64,
}

impl Container {
    pub(super) fn new(blueprint: Blueprint) -> Self {
        let Blueprint { number, rid, link, definition, properties, written_at, partitions, offer, seed } =
            blueprint;
        // Containers of one seed do not beat in step.
        let mut phases = fastrand::Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let bounds = definition.even_bounds(partitions);
        let mins = std::iter::once(Epk::default()).chain(bounds.clone());
        let maxes = bounds.into_iter().chain([Epk::from_bytes(END)]);
        let share = offer.share(partitions as usize);
        let partition = |(id, range): (usize, (Epk, Epk))| {
            Arc::new(Partition::new(
                id.to_string(),
                range,
                Vec::new(),
                Budget::new(share, phase(&mut phases)),
            ))
        };
        let partitions: Vec<_> = mins.zip(maxes).enumerate().map(partition).collect();
        let topology =
            Topology { version: 1, next_id: partitions.len() as u64, partitions, retired: Vec::new() };
        Self {
            number,
            rid,
            link,
            definition,
            properties,
            written_at,
            topology: RwLock::new(Arc::new(topology)),
            offer: Mutex::new(offer),
            counter: AtomicU64::new(0),
            phases: Mutex::new(phases),
            log: OnceLock::new(),
        }
    }

    pub(super) fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.topology.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn offer(&self) -> Offer {
        *self.offer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Divides other throughput evenly among the partitions, from their present windows on. The catalog is locked meanwhile: no other change
    /// and no split comes between.
    pub(super) fn set_offer(&self, offer: Offer) {
        *self.offer.lock().unwrap_or_else(PoisonError::into_inner) = offer;
        self.topology().share(offer);
    }

    pub(super) fn around(&self, now: Duration) -> Surroundings<'_> {
        Surroundings { now, written_at: super::stored::now(), counter: &self.counter, log: self.log.get() }
    }

    /// Reads the log at `path`, and writes to it from now on. A log that is mostly of the past is written anew first.
    pub(super) fn keep_in(&self, path: &Path) -> Result<()> {
        let topology = self.topology();
        let log = Log::open(path, |change| {
            if let Change::Counter(counter) = change {
                self.counter.fetch_max(counter, Ordering::Relaxed);
                return;
            }
            let (Change::Put(key, _) | Change::Delete(key)) = &change else { return };
            let Some(partition) = topology.holder(key) else { return };
            let documents = &mut partition.lock().documents;
            match change {
                Change::Put(key, stored) => {
                    self.counter.fetch_max(stored.etag, Ordering::Relaxed);
                    documents.insert(key, stored);
                }
                Change::Delete(key) => drop(documents.remove(&key)),
                Change::Counter(_) => {}
            }
        })?;
        let log = log.compacted(path, self.counter.load(Ordering::Relaxed), &|each| {
            topology.partitions.iter().try_for_each(|partition| {
                partition.lock().documents.iter().try_for_each(|(key, stored)| each(key, stored))
            })
        })?;
        self.log.set(log).map_err(|_| {
            Error::internal("opening the data of the emulator", "the container has a log already")
        })
    }

    /// Lets the range answer that a split is about to end.
    pub(super) fn begin_split(&self, range: &str) -> Result<()> {
        self.topology().partition(range).ok_or_else(|| unknown(range))?.lock().standing = Standing::Splitting;
        Ok(())
    }

    /// Where [`Container::split`] would divide the range, and what its parts would be called.
    pub(super) fn plan_split(&self, range: &str) -> Result<Split> {
        let topology = self.topology();
        let partition = topology.partition(range).ok_or_else(|| unknown(range))?;
        let whole = self.definition.even_bounds(1 << 12);
        let (first, last) = (
            whole.partition_point(|bound| *bound <= partition.min),
            whole.partition_point(|bound| *bound < partition.max),
        );
        if last <= first {
            let message = "the range is 1/4096 of the whole and is not divided any more";
            return Err(Error::new(ErrorKind::InvalidInput, SPLITTING, message));
        }
        let children = [topology.next_id.to_string(), (topology.next_id + 1).to_string()];
        Ok(Split { range: range.to_owned(), at: whole[first + (last - first) / 2].clone(), children })
    }

    /// Puts two new ranges in the place of one. Requests that are under way there end first.
    pub(super) fn split(&self, split: &Split) -> Result<()> {
        let mut current = self.topology.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Topology::clone(&current);
        let at = next.partitions.iter().position(|partition| partition.id == split.range);
        let at = at.ok_or_else(|| unknown(&split.range))?;
        let parent = Arc::clone(&next.partitions[at]);
        let mut contents = parent.lock();
        contents.standing = Standing::Gone;
        let upper = contents.documents.split_off(&Key::begin_of(&split.at));
        let lower = std::mem::take(&mut contents.documents);
        let parents = [&parent.parents[..], std::slice::from_ref(&parent.id)].concat();
        let child = |id: &String, range, documents| {
            let phase = phase(&mut self.phases.lock().unwrap_or_else(PoisonError::into_inner));
            let child = Partition::new(id.clone(), range, parents.clone(), Budget::new(0.0, phase));
            child.lock().documents = documents;
            // The session's order goes on where the parent's stood.
            child.lock().lsn = contents.lsn;
            Arc::new(child)
        };
        let children = [
            child(&split.children[0], (parent.min.clone(), split.at.clone()), lower),
            child(&split.children[1], (split.at.clone(), parent.max.clone()), upper),
        ];
        next.partitions.splice(at..=at, children);
        next.retired.push(Arc::clone(&parent));
        next.next_id += 2;
        next.version += 1;
        next.share(self.offer());
        *current = Arc::new(next);
        Ok(())
    }
}

const SPLITTING: &str = "splitting a range";

fn unknown(range: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, SPLITTING, format!("there is no partition key range {range:?}"))
}

/// How far into its window a partition is at the start: known to nobody.
fn phase(random: &mut fastrand::Rng) -> Duration {
    Duration::from_micros(random.u64(0..1_000_000))
}

impl Topology {
    /// The partition of that id; `None` if it is gone or never was.
    pub(super) fn partition(&self, id: &str) -> Option<&Arc<Partition>> {
        self.partitions.iter().find(|partition| partition.id == id)
    }

    /// The partition that `key` belongs to.
    pub(super) fn holder(&self, key: &Key) -> Option<&Arc<Partition>> {
        let behind = self.partitions.partition_point(|partition| partition.begins_by(key));
        self.partitions.get(behind.checked_sub(1)?)
    }

    fn share(&self, offer: Offer) {
        let share = offer.share(self.partitions.len());
        self.partitions.iter().for_each(|partition| partition.lock().budget.set(share));
    }
}

#[cfg(test)]
mod tests {
    use super::super::appended::full::Disk;
    use super::super::partition::{Operation, Outcome, Refusal, Verb};
    use super::super::stored::{Incoming, Stored};
    use super::*;
    use crate::model::partition_key::{Kind, Version};

    fn container() -> Container {
        let definition = PartitionKeyDefinition::new(vec!["/pk".to_owned()], Kind::Hash, Version::V2);
        Container::new(Blueprint {
            number: 1,
            rid: String::new(),
            link: "d/c".to_owned(),
            definition: definition.unwrap(),
            properties: serde_json::Map::new(),
            written_at: 0,
            partitions: 1,
            offer: Offer::default(),
            seed: 1,
        })
    }

    fn operation(verb: Verb, id: &str) -> Operation {
        let text = (*b"{\"id\":\"a text of some length\"}").into();
        let incoming = (verb != Verb::Delete).then_some(Incoming { text, properties: 1 });
        let key = Key::new(&Epk::from_bytes(vec![7; 16]), id);
        Operation { verb, key, incoming, if_match: None, wants_document: false }
    }

    /// The three ways in which a request changes documents.
    #[derive(Clone, Copy)]
    enum Way {
        One,
        Range,
        Atomic,
    }

    fn ask(container: &Container, way: Way, operations: &[(Verb, &str)]) -> Result<Vec<u16>, Refusal> {
        let around = container.around(Duration::ZERO);
        let partition = &container.topology().partitions[0];
        let operations = operations.iter().map(|(verb, id)| operation(*verb, id));
        let status = |outcome: Outcome| outcome.status;
        Ok(match way {
            Way::One => operations
                .map(|operation| Ok(status(partition.one(&mut Some(operation), &around)?.0)))
                .collect::<Result<_, Refusal>>()?,
            Way::Range => partition
                .each(operations.map(Ok).collect(), &around, true, || None)?
                .0
                .into_iter()
                .map(|outcome| status(outcome.unwrap()))
                .collect(),
            Way::Atomic => {
                partition.atomically(operations.collect(), &around)?.0.into_iter().map(status).collect()
            }
        })
    }

    fn contents(container: &Container) -> (Vec<(Key, Stored)>, u64) {
        let topology = container.topology();
        let contents = topology.partitions[0].lock();
        (contents.documents.clone().into_iter().collect(), contents.lsn)
    }

    /// Whoever is told 503 tries again, and must not find there what no log has.
    #[test]
    fn what_the_log_does_not_take_was_not_done() {
        for way in [Way::One, Way::Range, Way::Atomic] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("1.log");
            let (disk, file) = Disk::with(&path, 10_000);
            let served = container();
            served.log.set(Log::over(file)).unwrap();
            let made = ask(&served, way, &[(Verb::Create, "a"), (Verb::Create, "b")]);
            assert_eq!(made, Ok(vec![201, 201]));
            let before = contents(&served);
            let changes: &[&[(Verb, &str)]] = match way {
                Way::One => &[&[(Verb::Create, "c")], &[(Verb::Replace, "a")], &[(Verb::Delete, "b")]],
                _ => &[&[
                    (Verb::Create, "c"),
                    (Verb::Replace, "a"),
                    (Verb::Upsert, "a"),
                    (Verb::Delete, "b"),
                    (Verb::Create, "b"),
                ]],
            };
            for changes in changes {
                disk.set_room(11);
                let refused = Refusal::Unwritten(std::io::ErrorKind::StorageFull);
                assert_eq!(ask(&served, way, changes), Err(refused));
                assert_eq!(contents(&served), before);
            }
            disk.set_room(10_000);
            let statuses = ask(&served, way, &changes.concat()).unwrap();
            assert!(statuses.iter().all(|status| *status < 300), "{statuses:?}");

            let restarted = container();
            restarted.keep_in(&path).unwrap();
            assert_eq!(contents(&restarted).0, contents(&served).0);
        }
    }
}
