//! The databases and containers of the account, and the log of how they came to be.
//!
//! With `--data` every change here is one line of JSON in `catalog.jsonl`, written before it is done; at the start the lines are read
//! again, in their order, and each container then reads its own log. A line that cannot be written leaves nothing, neither in the file nor here, and
//! neither does one whose change cannot be done: a container without its log, above all, is not there at all.

use super::appended::Appended;
use super::container::{Blueprint, Container, Offer, Split};
use super::stored::{now, resource_bytes, resource_id};
use crate::error::{Error, ErrorKind, Result};
use crate::model::partition_key::{Epk, Kind, PartitionKeyDefinition, Version};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read;
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
    file: Appended,
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

/// What helps where the data cannot lie. A run has its folder from `--state`.
const ANOTHER_FOLDER: &str =
    "name a folder that can be written to, or that can be made (`docferry emulator` --data, a run --state)";

impl Catalog {
    /// An account without databases, or the one that is kept in `folder`.
    pub(super) fn open(folder: Option<&Path>, seed: u64) -> Result<Self> {
        // A catalog of an earlier version has no epoch and counts from zero.
        let epoch = if folder.is_some() { 0 } else { fastrand::u32(..) };
        let mut catalog = Self { databases: BTreeMap::new(), given: 0, epoch, seed, keeping: None };
        let Some(folder) = folder else { return Ok(catalog) };
        let path = folder.join(CATALOG);
        let failed = |cause| {
            Error::io(OPENING, cause)
                .with_kind(ErrorKind::Configuration)
                .with("path", path.display())
                .advise(ANOTHER_FOLDER)
        };
        if folder.is_file() {
            return Err(Error::configuration(OPENING, "it is a file, and the data lies in a folder")
                .with("path", folder.display())
                .advise(ANOTHER_FOLDER));
        }
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(failed)?;
        file.try_lock().map_err(|_| {
            Error::new(ErrorKind::Held, OPENING, "another emulator uses this folder")
                .with("path", folder.display())
        })?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        // A line without its end was being written when the process was killed, and nobody was told of it. It may end within a character.
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        let whole = bytes.len() as u64;
        file.set_len(whole).map_err(failed)?;
        for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let change = serde_json::from_slice(line).map_err(|cause| damaged(&path, number + 1, cause))?;
            catalog.apply(&change)?;
        }
        let keeping = Keeping { folder: folder.to_owned(), file: Appended::new(file, whole) };
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
        Ok(self.container(&link).cloned())
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

    /// Writes a change down and does it; what fails leaves everything as it was.
    pub(super) fn change(&mut self, change: Change) -> Result<()> {
        let dropped = match &change {
            Change::DropContainer { link } => self.container(link).into_iter().cloned().collect(),
            Change::DropDatabase { name } => {
                let database = self.databases.get(name);
                database.map_or_else(Vec::new, |database| database.containers.values().cloned().collect())
            }
            _ => Vec::new(),
        };
        let before = self.keeping.as_ref().map_or(0, |keeping| keeping.file.length());
        if let Some(keeping) = &mut self.keeping {
            let mut line = serde_json::to_vec(&change).map_err(|cause| unwritten(cause.into()))?;
            line.push(b'\n');
            keeping.file.append(&line).map_err(unwritten)?;
        }
        let done = self.apply(&change);
        let Some(keeping) = &mut self.keeping else { return done };
        if done.is_err() {
            keeping.file.cut_to(before);
            return done;
        }
        for container in dropped {
            std::fs::remove_file(keeping.log_of(&container)).map_err(unwritten)?;
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
                // At the start it is given its log when all splits are known.
                if let Some(keeping) = &self.keeping {
                    container.keep_in(&keeping.log_of(&container))?;
                }
                let (database, name) = self.place_of(link)?;
                database.containers.insert(name.to_owned(), Arc::new(container));
                self.given = *number;
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

fn unwritten(cause: std::io::Error) -> Error {
    Error::io("writing the catalog of the emulator", cause)
}

fn damaged(path: &Path, line: usize, cause: serde_json::Error) -> Error {
    Error::configuration(OPENING, "the catalog is damaged")
        .with("path", path.display())
        .with("line", line)
        .caused_by(cause)
        .advise("put a copy of the folder in its place, or delete the folder to begin anew")
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

#[cfg(test)]
mod tests {
    use super::super::appended::full::Disk;
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    const ROOM: usize = 100_000;

    fn open(folder: &Path) -> Catalog {
        Catalog::open(Some(folder), 1).unwrap()
    }

    /// Makes `d/c`; whether there was none.
    fn create(catalog: &mut Catalog) -> Result<bool> {
        let properties = json!({"id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}});
        let Value::Object(properties) = properties else { unreachable!() };
        Ok(catalog.create_container("d/c", properties, 1, Offer::default())?.is_some())
    }

    fn text(folder: &Path) -> String {
        std::fs::read_to_string(folder.join(CATALOG)).unwrap()
    }

    /// Whether there is a container that notes what is written into it.
    fn is_kept(catalog: &Catalog) -> bool {
        catalog.container("d/c").is_some_and(|container| container.around(Duration::ZERO).log.is_some())
    }

    #[test]
    fn a_line_for_which_there_is_no_room_is_not_done() {
        let folder = tempfile::tempdir().unwrap();
        let mut catalog = open(folder.path());
        catalog.create_database("d").unwrap();
        let (disk, file) = Disk::with(&folder.path().join(CATALOG), 20);
        catalog.keeping.as_mut().unwrap().file = file;
        let before = text(folder.path());
        assert_eq!(create(&mut catalog).unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(catalog.container("d/c").is_none());
        disk.set_room(20);
        assert_eq!(catalog.create_database("e").unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(!catalog.databases.contains_key("e"));
        disk.set_room(20);
        let drop_it = Change::DropDatabase { name: "d".to_owned() };
        assert_eq!(catalog.change(drop_it).unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(catalog.databases.contains_key("d"));
        assert_eq!(text(folder.path()), before);

        disk.set_room(ROOM);
        assert!(create(&mut catalog).unwrap() && is_kept(&catalog));
        drop(catalog);
        assert!(is_kept(&open(folder.path())));
    }

    #[test]
    fn a_container_whose_log_cannot_be_made_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut catalog = open(folder.path());
        catalog.create_database("d").unwrap();
        let before = text(folder.path());
        // The second number that is given.
        let in_the_way = folder.path().join("2.log");
        std::fs::create_dir(&in_the_way).unwrap();
        assert_eq!(create(&mut catalog).unwrap_err().kind(), ErrorKind::Io);
        assert!(catalog.container("d/c").is_none());
        assert_eq!(text(folder.path()), before);
        std::fs::remove_dir(&in_the_way).unwrap();
        assert!(create(&mut catalog).unwrap() && is_kept(&catalog) && in_the_way.is_file());
    }

    #[test]
    fn a_change_that_cannot_be_done_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut catalog = open(folder.path());
        catalog.create_database("d").unwrap();
        let before = text(folder.path());
        let link = "d/none".to_owned();
        catalog.change(Change::Throughput { link, offer: Offer::default() }).unwrap_err();
        assert_eq!(text(folder.path()), before);
    }

    /// A kill can come within any line, and within a character.
    #[test]
    fn a_line_that_was_being_written_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()));
        let path = folder.path().join(CATALOG);
        let first = std::fs::read(&path).unwrap();
        let mut catalog = open(folder.path());
        catalog.create_database("h\u{e4}user \u{1f3e0}").unwrap();
        drop(catalog);
        let whole = std::fs::read(&path).unwrap();
        for length in first.len()..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(open(folder.path()).databases.is_empty(), "{length}");
            assert_eq!(std::fs::read(&path).unwrap(), first, "{length}");
        }
    }

    #[test]
    fn a_damaged_line_before_the_end_is_named_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let mut catalog = open(folder.path());
        catalog.create_database("d").unwrap();
        drop(catalog);
        let path = folder.path().join(CATALOG);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[3] = 0xff;
        std::fs::write(&path, &bytes).unwrap();
        let refused = Catalog::open(Some(folder.path()), 1).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Configuration);
        let told = refused.to_string();
        assert!(told.contains(CATALOG) && told.contains("line: 1"), "{told}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
