//! The databases and containers of the account, and the log of how they came to be.
//!
//! With `--data` every change here is one line of JSON in `catalog.jsonl`, written before it is answered; at the start the lines are read
//! again, in their order, and each container then reads its own log.

use super::container::{Blueprint, Container, Offer, Split};
use super::stored::{now, resource_bytes, resource_id};
use crate::error::{Error, ErrorKind, Result};
use crate::model::partition_key::{Epk, Kind, PartitionKeyDefinition, Version};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// All databases.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) databases: BTreeMap<String, Database>,
    /// The last number that was given to a database or a container.
    given: u64,
    /// What resource ids are counted from. Another for each account that is made, so that a client that remembers a container by its resource
    /// id does not take one of a later account for it.
    epoch: u32,
    seed: u64,
    keeping: Option<Keeping>,
}

/// A database.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) rid: String,
    pub(super) written_at: u32,
    pub(super) containers: BTreeMap<String, Arc<Container>>,
}

#[derive(Debug)]
struct Keeping {
    folder: PathBuf,
    file: File,
}

/// A change of the catalog, as it is written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    /// The first of an account that is kept.
    Account {
        epoch: u32,
    },
    Database {
        name: String,
        number: u64,
        written_at: u32,
    },
    DropDatabase {
        name: String,
    },
    Container {
        link: String,
        number: u64,
        written_at: u32,
        properties: Map<String, Value>,
        partitions: u32,
        #[serde(flatten)]
        offer: Offer,
    },
    DropContainer {
        link: String,
    },
    Throughput {
        link: String,
        #[serde(flatten)]
        offer: Offer,
    },
    Split {
        link: String,
        range: String,
        at: String,
        children: [String; 2],
    },
}

const OPENING: &str = "opening the data of the emulator";
const CATALOG: &str = "catalog.jsonl";

impl Catalog {
    /// An account without databases, or the one that is kept in `folder`.
    pub(super) fn open(folder: Option<&Path>, seed: u64) -> Result<Self> {
        // A catalog of an earlier version has no epoch and counts from zero.
        let epoch = if folder.is_some() { 0 } else { fastrand::u32(..) };
        let mut catalog = Self { databases: BTreeMap::new(), given: 0, epoch, seed, keeping: None };
        let Some(folder) = folder else { return Ok(catalog) };
        let path = folder.join(CATALOG);
        let failed = |cause| {
            Error::io(OPENING, cause).with_kind(ErrorKind::Configuration).with("path", path.display())
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(failed)?;
        file.try_lock().map_err(|_| {
            Error::new(ErrorKind::Held, OPENING, "another emulator uses this folder")
                .with("path", folder.display())
        })?;
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        // A line without its end was being written when the process was killed, and nobody was told of it.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64).map_err(failed)?;
        for (number, line) in text[..whole].lines().enumerate() {
            let change = serde_json::from_str(line).map_err(|cause| {
                Error::configuration(OPENING, "the catalog is damaged")
                    .with("path", path.display())
                    .with("line", number + 1)
                    .caused_by(cause)
            })?;
            catalog.apply(&change)?;
        }
        let keeping = Keeping { folder: folder.to_owned(), file };
        for container in catalog.databases.values().flat_map(|database| database.containers.values()) {
            container.keep_in(&keeping.log_of(container))?;
        }
        catalog.keeping = Some(keeping);
        if whole == 0 {
            catalog.change(Change::Account { epoch: fastrand::u32(..) })?;
        }
        Ok(catalog)
    }

    /// Makes a database; `None` if there is one of that name.
    pub(super) fn create_database(&mut self, name: &str) -> Result<Option<&Database>> {
        if self.databases.contains_key(name) {
            return Ok(None);
        }
        let number = self.given + 1;
        self.change(Change::Database { name: name.to_owned(), number, written_at: now() })?;
        Ok(self.databases.get(name))
    }

    /// Makes a container; `None` if there is one of that name.
    pub(super) fn create_container(
        &mut self,
        link: &str,
        properties: Map<String, Value>,
        partitions: u32,
        offer: Offer,
    ) -> Result<Option<Arc<Container>>> {
        if self.container(link).is_some() {
            return Ok(None);
        }
        let (number, link) = (self.given + 1, link.to_owned());
        let change = Change::Container {
            link: link.clone(),
            number,
            written_at: now(),
            properties,
            partitions,
            offer,
        };
        self.change(change)?;
        let container = self.container(&link).cloned();
        if let (Some(container), Some(keeping)) = (&container, &self.keeping) {
            container.keep_in(&keeping.log_of(container))?;
        }
        Ok(container)
    }

    /// The container of a link `database/container`.
    pub(super) fn container(&self, link: &str) -> Option<&Arc<Container>> {
        let (database, container) = link.split_once('/')?;
        self.databases.get(database)?.containers.get(container)
    }

    pub(super) fn containers(&self) -> impl Iterator<Item = &Arc<Container>> {
        self.databases.values().flat_map(|database| database.containers.values())
    }

    /// The path by names of one that has resource ids in their places; `None` of one that has names already. Some clients cache ids and ask with
    /// them, so that a container that was made again is not taken for its forerunner. Ids of nothing stay as they are.
    pub(super) fn by_names(&self, path: &str) -> Option<String> {
        let mut parts: Vec<&str> = path.split('/').collect();
        let ["dbs", id, rest @ ..] = &mut parts[..] else { return None };
        if self.databases.contains_key(*id) {
            return None;
        }
        if let Some((name, database)) = self.databases.iter().find(|(_, database)| database.rid == *id) {
            *id = name;
            if let ["colls", id, ..] = rest {
                let mut containers = database.containers.iter();
                if let Some((name, _)) = containers.find(|(_, container)| container.rid == *id) {
                    *id = name;
                }
            }
        }
        Some(parts.join("/"))
    }

    /// Does a change and writes it down.
    pub(super) fn change(&mut self, change: Change) -> Result<()> {
        let dropped = match &change {
            Change::DropContainer { link } => self.container(link).into_iter().cloned().collect(),
            Change::DropDatabase { name } => {
                let database = self.databases.get(name);
                database.map_or_else(Vec::new, |database| database.containers.values().cloned().collect())
            }
            _ => Vec::new(),
        };
        self.apply(&change)?;
        let Some(keeping) = &mut self.keeping else { return Ok(()) };
        let failed = |cause| Error::io("writing the catalog of the emulator", cause);
        let mut line = serde_json::to_vec(&change).map_err(|cause| failed(cause.into()))?;
        line.push(b'\n');
        keeping.file.write_all(&line).map_err(failed)?;
        for container in dropped {
            std::fs::remove_file(keeping.log_of(&container)).map_err(failed)?;
        }
        Ok(())
    }

    fn apply(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::Account { epoch } => self.epoch = *epoch,
            Change::Database { name, number, written_at } => {
                self.given = *number;
                let rid = resource_id(&self.counted(*number).to_be_bytes());
                let database = Database { rid, written_at: *written_at, containers: BTreeMap::new() };
                self.databases.insert(name.clone(), database);
            }
            Change::DropDatabase { name } => drop(self.databases.remove(name)),
            Change::Container { link, number, written_at, properties, partitions, offer } => {
                self.given = *number;
                let container = Container::new(Blueprint {
                    number: *number,
                    rid: self.container_rid(link, *number)?,
                    link: link.clone(),
                    definition: definition(properties)?,
                    properties: properties.clone(),
                    written_at: *written_at,
                    partitions: *partitions,
                    offer: *offer,
                    seed: self.seed,
                });
                let (database, name) = self.place_of(link)?;
                database.containers.insert(name.to_owned(), Arc::new(container));
            }
            Change::DropContainer { link } => {
                let (database, name) = self.place_of(link)?;
                database.containers.remove(name);
            }
            Change::Throughput { link, offer } => self.known(link)?.set_offer(*offer),
            Change::Split { link, range, at, children } => {
                let at =
                    Epk::from_hex(at).ok_or_else(|| Error::configuration(OPENING, "a split has no place"))?;
                self.known(link)?.split(&Split { range: range.clone(), at, children: children.clone() })?;
            }
        }
        Ok(())
    }

    fn known(&self, link: &str) -> Result<&Arc<Container>> {
        self.container(link).ok_or_else(|| missing(link))
    }

    fn place_of<'a>(&mut self, link: &'a str) -> Result<(&mut Database, &'a str)> {
        let (database, name) = link.split_once('/').ok_or_else(|| missing(link))?;
        Ok((self.databases.get_mut(database).ok_or_else(|| missing(link))?, name))
    }

    fn counted(&self, number: u64) -> u32 {
        (number as u32).wrapping_add(self.epoch)
    }

    /// Four bytes of the database and four of its own, of which the highest bit is set.
    fn container_rid(&mut self, link: &str, number: u64) -> Result<String> {
        let number = self.counted(number) | 1 << 31;
        let (database, _) = self.place_of(link)?;
        let mut bytes = resource_bytes(&database.rid);
        bytes.extend_from_slice(&number.to_be_bytes());
        Ok(resource_id(&bytes))
    }
}

pub(super) fn missing(link: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        "looking for a container",
        format!("there is no container {link:?} (database/container)"),
    )
}

impl Keeping {
    fn log_of(&self, container: &Container) -> PathBuf {
        self.folder.join(format!("{}.log", container.number))
    }
}

/// The definition in a container's properties.
pub(super) fn definition(properties: &Map<String, Value>) -> Result<PartitionKeyDefinition> {
    let refuse = |message: &str| Error::new(ErrorKind::InvalidInput, "reading a container", message);
    let key = properties.get("partitionKey").ok_or_else(|| refuse("it has no partitionKey"))?;
    let paths =
        key.get("paths").and_then(Value::as_array).ok_or_else(|| refuse("partitionKey has no paths"))?;
    let paths: Option<Vec<String>> = paths.iter().map(|path| path.as_str().map(str::to_owned)).collect();
    let kind = match key.get("kind").and_then(Value::as_str) {
        Some("Hash") | None => Kind::Hash,
        Some("MultiHash") => Kind::MultiHash,
        Some(_) => return Err(refuse("partitionKey.kind is neither Hash nor MultiHash")),
    };
    let version = match (key.get("version").and_then(Value::as_u64), kind) {
        (Some(2), _) => Version::V2,
        (Some(1) | None, Kind::Hash) => Version::V1,
        _ => return Err(refuse("partitionKey.version is neither 1 nor 2, or 1 of a MultiHash key")),
    };
    PartitionKeyDefinition::new(paths.ok_or_else(|| refuse("a path is no string"))?, kind, version)
}
