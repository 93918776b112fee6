//! A document as it is kept: its text, normalised once, and what the service adds to it when it is read.

use crate::model::json::{self, Index};
use crate::model::partition_key::{Epk, PartitionKey, PartitionKeyDefinition};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

/// Fields that the service sets. What a client sends under these names is left out.
const SYSTEM: [&str; 5] = ["_rid", "_self", "_etag", "_attachments", "_ts"];

/// Where a document lies in its partition: its effective partition key and its id, in an order in which pages follow each other. The first
/// sixteen bytes stand apart, because comparing them decides nearly always.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    head: u128,
    rest: Box<[u8]>,
}

impl Key {
    /// Bytes that are no part of any document's id end the place, so that no place with an id runs into another.
    pub(super) fn new(place: &Epk, id: &str) -> Self {
        let mut key = Self::begin_of(place);
        key.rest = [&key.rest, id.as_bytes()].concat().into();
        key
    }

    /// The lowest key of all documents whose place begins with these bytes.
    pub(super) fn begin_of(place: &Epk) -> Self {
        let bytes = place.as_bytes();
        let (first, rest) = bytes.split_at(bytes.len().min(16));
        let mut head = [0; 16];
        head[..first.len()].copy_from_slice(first);
        Self { head: u128::from_be_bytes(head), rest: rest.into() }
    }

    /// All bytes, in the same order.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [&self.head.to_be_bytes(), &*self.rest].concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk()?;
        Some(Self { head: u128::from_be_bytes(*head), rest: rest.into() })
    }

    /// Whether the place begins with these bytes.
    pub(super) fn is_under(&self, place: &Epk) -> bool {
        let bytes = place.as_bytes();
        let (first, rest) = bytes.split_at(bytes.len().min(16));
        self.head.to_be_bytes().starts_with(first) && self.rest.starts_with(rest)
    }
}

/// A document that is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    /// Its text, without system fields.
    pub(super) text: Box<[u8]>,
    /// Properties at all levels, for the charge of a delete.
    pub(super) properties: u32,
    /// Its number in the container, for its `_rid`.
    pub(super) number: u64,
    /// Changes with every write.
    pub(super) etag: u64,
    /// Seconds since 1970.
    pub(super) written_at: u32,
}

impl Stored {
    /// The ETag, with its quotes.
    pub(super) fn etag_text(&self) -> String {
        etag_text(self.etag)
    }

    /// Appends the document as a reader sees it.
    pub(super) fn render(&self, container: &str, out: &mut Vec<u8>) {
        let rid = document_rid(container, self.number);
        out.extend_from_slice(&self.text[..self.text.len() - 1]);
        if self.text.len() > 2 {
            out.push(b',');
        }
        let system = format!(
            r#""_rid":"{rid}","_self":"dbs/{}/colls/{container}/docs/{rid}/","_etag":"\"{}\"","_attachments":"attachments/","_ts":{}}}"#,
            database_rid(container),
            etag_text(self.etag).trim_matches('"'),
            self.written_at,
        );
        out.extend_from_slice(system.as_bytes());
    }
}

fn etag_text(etag: u64) -> String {
    format!("\"{:08x}-0000-0000-0000-{:012x}\"", etag >> 48, etag & 0xffff_ffff_ffff)
}

/// The resource id of a document: its container's eight bytes and eight of its own.
fn document_rid(container: &str, number: u64) -> String {
    let mut bytes = STANDARD.decode(container.replace('-', "/")).unwrap_or_default();
    bytes.extend_from_slice(&number.to_le_bytes());
    resource_id(&bytes)
}

/// The database's resource id is the first four bytes of its containers'.
pub(super) fn database_rid(container: &str) -> String {
    let bytes = STANDARD.decode(container.replace('-', "/")).unwrap_or_default();
    resource_id(bytes.get(..4).unwrap_or_default())
}

/// Resource ids are base64 without slashes.
pub(super) fn resource_id(bytes: &[u8]) -> String {
    STANDARD.encode(bytes).replace('/', "-")
}

/// Seconds since 1970.
pub(super) fn now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32)
}

/// A document's text ready to be kept, and what was found in it.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) text: Box<[u8]>,
    pub(super) properties: u32,
    pub(super) id: String,
}

/// Why a document cannot be kept: 400 with this sentence.
pub(super) type Unfit = String;

/// The longest id, in bytes.
const LONGEST_ID: usize = 1023;

thread_local! {
    /// Kept, because it remembers the shape of the last documents.
    static INDEX: RefCell<Index> = RefCell::default();
}

/// Checks and normalises a document, and finds its partition key.
pub(super) fn receive<'a>(
    bytes: &'a [u8],
    definition: &PartitionKeyDefinition,
) -> Result<(Incoming, PartitionKey<'a>), Unfit> {
    INDEX.with_borrow_mut(|index| receive_with(bytes, definition, index))
}

fn receive_with<'a>(
    bytes: &'a [u8],
    definition: &PartitionKeyDefinition,
    index: &mut Index,
) -> Result<(Incoming, PartitionKey<'a>), Unfit> {
    json::index(bytes, index).map_err(|malformed| {
        format!("the document is no JSON object: {malformed} at byte {}", malformed.at)
    })?;
    let id = index.fields.iter().rev().find(|field| field.is_named(bytes, "id"));
    let id = match id.map(|field| field.raw_value(bytes)) {
        Some([b'"', inner @ .., b'"']) => check_id(&json::unescape(inner))?,
        Some(_) => return Err("the field id is not a string".to_owned()),
        None => return Err("the document has no field id".to_owned()),
    };
    let mut text = Vec::with_capacity(bytes.len());
    let is_system = |field: &json::Field| SYSTEM.iter().any(|name| field.is_named(bytes, name));
    let has_system =
        index.fields.iter().any(|field| bytes[field.name_start as usize] == b'_' && is_system(field));
    let out_of_range = |_| "a number is too large for a double".to_owned();
    let properties = if has_system {
        json::as_doubles(&without_system(bytes, index, is_system), &mut text)
    } else {
        json::as_doubles(bytes, &mut text)
    };
    let properties = properties.map_err(out_of_range)?;
    let key = definition.key_in(bytes, &index.fields).map_err(|error| error.to_string())?;
    Ok((Incoming { text: text.into(), properties, id }, key))
}

/// An id is up to 1 023 bytes and names a resource in a path, so some characters cannot be in it.
fn check_id(id: &str) -> Result<String, Unfit> {
    let is_fit =
        !id.is_empty() && id.len() <= LONGEST_ID && !id.contains(['/', '\\', '?', '#']) && !id.ends_with(' ');
    if is_fit {
        Ok(id.to_owned())
    } else {
        Err("the id is empty, over 1023 bytes, or holds one of / \\ ? #".to_owned())
    }
}

fn without_system(bytes: &[u8], index: &Index, is_system: impl Fn(&json::Field) -> bool) -> Vec<u8> {
    let mut out = vec![b'{'];
    for field in index.fields.iter().filter(|field| !is_system(field)) {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(&bytes[field.name_start as usize - 1..field.value_end as usize]);
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::partition_key::{Kind, Version};

    fn definition() -> PartitionKeyDefinition {
        PartitionKeyDefinition::new(vec!["/n".to_owned()], Kind::Hash, Version::V2).unwrap()
    }

    #[test]
    fn system_fields_of_a_client_are_left_out() {
        let document = br#"{"_rid":"x", "id":"a\u0062", "n":1.50, "_ts":5, "_own":true, "_etag":null}"#;
        let (incoming, key) = receive(document, &definition()).unwrap();
        assert_eq!(key.to_header_json(), "[1.5]");
        assert_eq!(&*incoming.text, br#"{"id":"a\u0062","n":1.5,"_own":true}"#);
        assert_eq!((incoming.id.as_str(), incoming.properties), ("ab", 3));
    }

    #[test]
    fn unfit_documents_are_refused() {
        for document in [
            "[]",
            "{\"id\":1}",
            "{\"a\":1}",
            "{\"id\":\"a/b\"}",
            "{\"id\":\"\"}",
            "{\"id\":\"a\",\"n\":1e999}",
        ] {
            assert!(receive(document.as_bytes(), &definition()).is_err(), "{document}");
        }
        let long = format!("{{\"id\":\"{}\"}}", "x".repeat(1024));
        assert!(receive(long.as_bytes(), &definition()).is_err());
    }

    #[test]
    fn a_reader_sees_the_system_fields() {
        let stored =
            Stored { text: (*b"{\"id\":\"a\"}").into(), properties: 1, number: 1, etag: 7, written_at: 5 };
        let mut out = Vec::new();
        stored.render(&resource_id(&[1, 2, 3, 4, 0x85, 6, 7, 8]), &mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["_etag"], stored.etag_text());
        assert_eq!(value["_ts"], 5);
        assert_eq!(value["_rid"], "AQIDBIUGBwgBAAAAAAAAAA==");
        assert_eq!(value["_self"], "dbs/AQIDBA==/colls/AQIDBIUGBwg=/docs/AQIDBIUGBwgBAAAAAAAAAA==/");
    }

    #[test]
    fn keys_are_in_the_order_of_their_bytes() {
        let place = |byte| Epk::from_bytes(vec![byte; 32]);
        let keys = [
            Key::begin_of(&place(1)),
            Key::new(&place(1), "a"),
            Key::new(&place(1), "b"),
            Key::new(&place(2), ""),
        ];
        assert!(keys.is_sorted());
        for key in keys {
            assert_eq!(Key::from_bytes(&key.to_bytes()), Some(key));
        }
        assert!(Key::new(&place(1), "a").is_under(&Epk::from_bytes(vec![1; 16])));
        assert!(!Key::new(&place(1), "a").is_under(&Epk::from_bytes(vec![2])));
    }
}
