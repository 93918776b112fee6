//! A document as it is kept: its text, normalised once, and what the service adds to it when it is read.

use crate::model::json::{self, Doubles, Field};
use crate::model::partition_key::{Epk, PartitionKey, PartitionKeyDefinition};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::io::Write;
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

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        16 + self.rest.len()
    }

    /// Appends its bytes, in the same order.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head.to_be_bytes());
        out.extend_from_slice(&self.rest);
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
    /// Appends the document as a reader sees it.
    pub(super) fn render(&self, container: &str, out: &mut Vec<u8>) {
        let rid = document_rid(container, self.number);
        out.extend_from_slice(&self.text[..self.text.len() - 1]);
        if self.text.len() > 2 {
            out.push(b',');
        }
        let database = database_rid(container);
        // Writing to a Vec does not fail.
        let _ =
            write!(out, r#""_rid":"{rid}","_self":"dbs/{database}/colls/{container}/docs/{rid}/","_etag":"#);
        write_etag(self.etag, out);
        let _ = write!(out, r#","_attachments":"attachments/","_ts":{}}}"#, self.written_at);
    }
}

/// An ETag with its quotes, as a header has it.
pub(super) fn etag_text(etag: u64) -> String {
    format!("\"{:08x}-0000-0000-0000-{:012x}\"", etag >> 48, etag & 0xffff_ffff_ffff)
}

/// Appends an ETag as a JSON string that holds its quotes. By hand, because a batch has a hundred.
pub(super) fn write_etag(etag: u64, out: &mut Vec<u8>) {
    let digits = |out: &mut Vec<u8>, part: u64, count: u32| {
        let digit = |at: u32| b"0123456789abcdef"[(part >> (4 * at) & 15) as usize];
        out.extend((0..count).rev().map(digit));
    };
    out.extend_from_slice(b"\"\\\"");
    digits(out, etag >> 48, 8);
    out.extend_from_slice(b"-0000-0000-0000-");
    digits(out, etag & 0xffff_ffff_ffff, 12);
    out.extend_from_slice(b"\\\"\"");
}

/// The resource id of a document: its container's eight bytes and eight of its own.
fn document_rid(container: &str, number: u64) -> String {
    let mut bytes = STANDARD.decode(container.replace('-', "/")).unwrap_or_default();
    bytes.extend_from_slice(&number.to_le_bytes());
    resource_id(&bytes)
}

/// The database's resource id is the first four bytes of its containers'.
pub(super) fn database_rid(container: &str) -> String {
    resource_id(resource_bytes(container).get(..4).unwrap_or_default())
}

/// The bytes of a resource id; none of what is none.
pub(super) fn resource_bytes(id: &str) -> Vec<u8> {
    STANDARD.decode(id.replace('-', "/")).unwrap_or_default()
}

/// Resource ids are base64 without slashes.
pub(super) fn resource_id(bytes: &[u8]) -> String {
    STANDARD.encode(bytes).replace('/', "-")
}

/// Seconds since 1970.
pub(super) fn now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32)
}

/// A document's text ready to be kept.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) text: Box<[u8]>,
    pub(super) properties: u32,
}

/// A document that came, and what was found in it.
#[derive(Debug)]
pub(super) struct Received<'a> {
    pub(super) incoming: Incoming,
    pub(super) id: Cow<'a, str>,
    pub(super) key: PartitionKey<'a>,
}

/// Why a document cannot be kept: 400 with this sentence.
pub(super) type Unfit = String;

/// The longest id, in bytes.
const LONGEST_ID: usize = 1023;

/// Checks and normalises a document that was passed over as a part of `bytes`, and finds its partition key.
pub(super) fn receive<'a>(
    bytes: &'a [u8],
    document: &Doubles,
    definition: &PartitionKeyDefinition,
) -> Result<Received<'a>, Unfit> {
    let id = document.fields.iter().rev().find(|field| field.is_named(bytes, "id"));
    let id = match id.map(|field| field.raw_value(bytes)) {
        Some([b'"', inner @ .., b'"']) => json::unescape(inner),
        Some(_) => return Err("the field id is not a string".to_owned()),
        None => return Err("the document has no field id".to_owned()),
    };
    check_id(&id)?;
    let incoming = keep(bytes, document).map_err(|_| "a number is too large for a double".to_owned())?;
    let key = definition.key_in(bytes, &document.fields).map_err(|error| error.to_string())?;
    Ok(Received { incoming, id, key })
}

/// The text as it is kept: normalised, without system fields.
fn keep(bytes: &[u8], document: &Doubles) -> Result<Incoming, json::OutOfRange> {
    let is_system = |field: &&Field| {
        // Nearly all names are told by their first character; it may be escaped.
        matches!(bytes[field.name_start as usize], b'_' | b'\\')
            && SYSTEM.iter().any(|name| field.is_named(bytes, name))
    };
    let place = document.place();
    let mut text = Vec::with_capacity(place.len());
    let system = document.fields.iter().filter(is_system).count() as u32;
    if system == 0 {
        document.write(bytes, place, &mut text)?;
    } else {
        text.push(b'{');
        for field in document.fields.iter().filter(|field| !is_system(field)) {
            if text.len() > 1 {
                text.push(b',');
            }
            document.write(bytes, field.name_start as usize - 1..field.value_end as usize, &mut text)?;
        }
        text.push(b'}');
    }
    Ok(Incoming { text: text.into(), properties: document.properties() - system })
}

/// An id is up to 1 023 bytes and names a resource in a path, so some characters cannot be in it.
fn check_id(id: &str) -> Result<(), Unfit> {
    let is_fit = !id.is_empty()
        && id.len() <= LONGEST_ID
        && !id.bytes().any(|byte| matches!(byte, b'/' | b'\\' | b'?' | b'#'))
        && !id.ends_with(' ');
    if is_fit { Ok(()) } else { Err("the id is empty, over 1023 bytes, or holds one of / \\ ? #".to_owned()) }
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
        let text = br#"{"_rid":"x", "id":"a\u0062", "n":1.50, "_ts":5, "_own":true, "\u005fetag":null}"#;
        let mut document = Doubles::default();
        document.read(text).unwrap();
        let Received { incoming, id, key } = receive(text, &document, &definition()).unwrap();
        assert_eq!(key.to_header_json(), "[1.5]");
        assert_eq!(&*incoming.text, br#"{"id":"a\u0062","n":1.5,"_own":true}"#);
        assert_eq!((&*id, incoming.properties), ("ab", 3));
    }

    #[test]
    fn unfit_documents_are_refused() {
        let is_fit = |text: &str| {
            let mut document = Doubles::default();
            document.read(text.as_bytes()).unwrap();
            receive(text.as_bytes(), &document, &definition()).is_ok()
        };
        for document in [
            "{}",
            "{\"id\":1}",
            "{\"a\":1}",
            "{\"id\":\"a/b\"}",
            "{\"id\":\"\"}",
            "{\"id\":\"a\",\"n\":1e999}",
        ] {
            assert!(!is_fit(document), "{document}");
        }
        assert!(is_fit(&format!("{{\"id\":\"{}\"}}", "x".repeat(1023))));
        assert!(!is_fit(&format!("{{\"id\":\"{}\"}}", "x".repeat(1024))));
    }

    #[test]
    fn a_reader_sees_the_system_fields() {
        let stored =
            Stored { text: (*b"{\"id\":\"a\"}").into(), properties: 1, number: 1, etag: 7, written_at: 5 };
        let mut out = Vec::new();
        stored.render(&resource_id(&[1, 2, 3, 4, 0x85, 6, 7, 8]), &mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["_etag"], etag_text(7));
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
