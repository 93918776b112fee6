//! How documents are put into the body of a request: their own bytes, and around each what the service needs to know.
//!
//! ```text
//! [{"operationType":"Upsert","partitionKey":"[\"a\"]","resourceBody":{...}},...]      bulk: any keys of one physical partition
//! [{"operationType":"Upsert","resourceBody":{...}},...]                                batch: one key, which a header names
//! ```
//!
//! The partition key is JSON inside a JSON string. Most keys are strings without escapes or whole numbers, and are copied.

use crate::connector::cosmos::OnLossyNumber;
use crate::connector::cosmos::client::Verb;
use crate::connector::cosmos::numbers;
use crate::error::{Error, Result};
use crate::model::document::{Document, Id};
use crate::model::json::{field, value_at, write_string};
use crate::model::partition_key::{Component, PartitionKey, PartitionKeyDefinition};
use std::borrow::Cow;
use std::num::NonZeroU16;

/// One document on its way.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) verb: Verb,
    pub(super) key: Key<'a>,
    /// Where the request must name it.
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) bytes: &'a [u8],
}

/// A partition key as the document has it. Two that are equal are one key; two that differ may still be one, written in two ways.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Key<'a> {
    /// One string that is written everywhere as it stands.
    Plain(&'a str),
    Any(PartitionKey<'a>),
}

/// What a route notes of a document: where the value lies that is its key.
pub(super) fn note(document: &[u8], key: Option<&[u8]>) -> Option<NonZeroU16> {
    let place = (key?.as_ptr() as usize).checked_sub(document.as_ptr() as usize)?;
    NonZeroU16::new(u16::try_from(place).ok()?)
}

impl<'a> Key<'a> {
    /// The key of a document, found again by the note.
    pub(super) fn of(
        document: &Document<'a>,
        definition: &PartitionKeyDefinition,
        on_lossy: OnLossyNumber,
    ) -> Result<Self> {
        let noted = document.note.and_then(|note| value_at(document.bytes, note.get().into()));
        match noted {
            Some(raw) => Self::of_value(raw, on_lossy),
            None => Self::by(definition, |name| field(document.bytes, name), on_lossy),
        }
    }

    /// The key of a document, a field of which is found by `top`.
    pub(super) fn by(
        definition: &PartitionKeyDefinition,
        top: impl Fn(&str) -> Option<&'a [u8]>,
        on_lossy: OnLossyNumber,
    ) -> Result<Self> {
        let components = definition.values(top).map(|raw| component(raw, on_lossy)).collect::<Result<_>>()?;
        Ok(Self::Any(PartitionKey { components }))
    }

    /// The key that this value is alone.
    pub(super) fn of_value(raw: &'a [u8], on_lossy: OnLossyNumber) -> Result<Self> {
        let plain = raw.strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\""));
        match plain.filter(|text| is_plain(text)).and_then(|text| std::str::from_utf8(text).ok()) {
            Some(text) => Ok(Self::Plain(text)),
            None => Ok(Self::Any(PartitionKey { components: vec![component(Some(raw), on_lossy)?] })),
        }
    }

    pub(super) fn into_partition_key(self) -> PartitionKey<'a> {
        match self {
            Self::Plain(text) => PartitionKey { components: vec![Component::Text(Cow::Borrowed(text))] },
            Self::Any(key) => key,
        }
    }
}

/// A value of a key as it is in the document that is sent, where a lossy number may be a string.
fn component(raw: Option<&[u8]>, on_lossy: OnLossyNumber) -> Result<Component<'_>> {
    let is_number = |raw: &&[u8]| matches!(raw, [b'-' | b'0'..=b'9', ..]);
    let number = raw.filter(is_number).filter(|_| on_lossy == OnLossyNumber::String);
    match number.and_then(numbers::first_lossy) {
        Some(text) => Ok(Component::Text(Cow::Borrowed(text))),
        None => Component::from_json(raw),
    }
}

impl Item<'_> {
    /// Room for what stands around the document, so that a body is allocated once.
    fn around(&self) -> usize {
        const PUNCTUATION: usize = 80;
        let key = match &self.key {
            Key::Plain(text) => text.len(),
            Key::Any(_) => PUNCTUATION,
        };
        PUNCTUATION + key + self.id.as_ref().map_or(0, |id| id.len())
    }

    /// The id, read from the document.
    pub(super) fn id(&self) -> Result<String> {
        let id = Id::of("id", field(self.bytes, "id"));
        let id = id.map_err(|reason| Error::internal("writing to Cosmos", reason))?;
        Ok(id.characters.into_owned())
    }
}

/// The body of a bulk request, or with `keyed` false that of a batch.
pub(super) fn body(items: &[Item<'_>], keyed: bool, on_lossy: OnLossyNumber) -> Vec<u8> {
    let length = items.iter().map(|item| item.bytes.len() + item.around()).sum();
    let mut out = Vec::with_capacity(length);
    out.push(b'[');
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        out.extend_from_slice(match item.verb {
            Verb::Upsert => br#"{"operationType":"Upsert""#,
            Verb::Create => br#"{"operationType":"Create""#,
            Verb::Replace => br#"{"operationType":"Replace","id":"#.as_slice(),
            Verb::Delete => br#"{"operationType":"Delete","id":"#.as_slice(),
        });
        if matches!(item.verb, Verb::Replace | Verb::Delete) {
            write_string(&mut out, item.id.as_deref().unwrap_or_default());
        }
        if keyed {
            out.extend_from_slice(br#","partitionKey":"#);
            write_key(&item.key, &mut out);
        }
        if item.verb != Verb::Delete {
            out.extend_from_slice(br#","resourceBody":"#);
            write_document(item.bytes, on_lossy, &mut out);
        }
        out.push(b'}');
    }
    out.push(b']');
    out
}

/// The body of a bulk request that reads what the container holds in the places of these documents.
pub(super) fn reads<'a>(items: impl Iterator<Item = &'a Item<'a>>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for item in items {
        out.push(if out.is_empty() { b'[' } else { b',' });
        out.extend_from_slice(br#"{"operationType":"Read","id":"#);
        write_string(&mut out, &item.id()?);
        out.extend_from_slice(br#","partitionKey":"#);
        write_key(&item.key, &mut out);
        out.push(b'}');
    }
    out.push(b']');
    Ok(out)
}

/// Appends a document as it is to be sent.
pub(super) fn write_document(document: &[u8], on_lossy: OnLossyNumber, out: &mut Vec<u8>) {
    if on_lossy == OnLossyNumber::String && numbers::first_lossy(document).is_some() {
        numbers::write_lossy_as_strings(document, out);
    } else {
        out.extend_from_slice(document);
    }
}

fn write_key(key: &Key<'_>, out: &mut Vec<u8>) {
    match key {
        Key::Plain(text) => {
            out.extend_from_slice(br#""[\""#);
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(br#"\"]""#);
        }
        Key::Any(key) => write_string(out, &key.to_header_json()),
    }
}

/// Whether a string of these characters is written alike in JSON, in JSON within JSON and in a header.
fn is_plain(text: &[u8]) -> bool {
    // Every byte is looked at, so that many are at once.
    text.iter()
        .fold(true, |plain, byte| plain & (b' '..=b'~').contains(byte) & (*byte != b'"') & (*byte != b'\\'))
}

/// The key, independent of its document.
pub(super) fn owned(key: &PartitionKey<'_>) -> PartitionKey<'static> {
    let own = |component: &Component<'_>| match component {
        Component::Text(text) => Component::Text(Cow::Owned(text.clone().into_owned())),
        Component::Undefined => Component::Undefined,
        Component::Null => Component::Null,
        Component::Bool(flag) => Component::Bool(*flag),
        Component::Number(number) => Component::Number(*number),
    };
    PartitionKey { components: key.components.iter().map(own).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(components: Vec<Component<'static>>) -> Key<'static> {
        Key::Any(PartitionKey { components })
    }

    fn written(items: &[Item<'_>], keyed: bool) -> String {
        String::from_utf8(body(items, keyed, OnLossyNumber::String)).unwrap()
    }

    #[test]
    fn a_body_is_the_documents_own_bytes_between_what_the_service_needs() {
        let item = |verb, key, bytes| Item { verb, key, id: Some("i\"1".into()), bytes };
        let items = [
            item(
                Verb::Upsert,
                Key::of_value(br#""a b""#, OnLossyNumber::Reject).unwrap(),
                br#"{"id":"x","n":1.10}"#.as_slice(),
            ),
            item(Verb::Create, key(vec![Component::Number(1.5), Component::Undefined]), b"{}"),
            item(Verb::Replace, key(vec![Component::Text("q\"".into())]), br#"{"n":9007199254740993}"#),
            item(Verb::Delete, key(vec![Component::Null]), b"{}"),
        ];
        assert_eq!(
            written(&items, true),
            concat!(
                r#"[{"operationType":"Upsert","partitionKey":"[\"a b\"]","resourceBody":{"id":"x","n":1.10}},"#,
                r#"{"operationType":"Create","partitionKey":"[1.5,{}]","resourceBody":{}},"#,
                r#"{"operationType":"Replace","id":"i\"1","partitionKey":"[\"q\\\"\"]","resourceBody":{"n":"9007199254740993"}},"#,
                r#"{"operationType":"Delete","id":"i\"1","partitionKey":"[null]"}]"#,
            )
        );
        assert_eq!(
            written(&items[..1], false),
            r#"[{"operationType":"Upsert","resourceBody":{"id":"x","n":1.10}}]"#
        );
        serde_json::from_str::<serde_json::Value>(&written(&items, true)).unwrap();
        let documents = [br#"{"id":"x"}"#.as_slice(), br#"{"id":"y\""}"#];
        let [first, second] = documents.map(|bytes| Item {
            verb: Verb::Create,
            key: Key::of_value(b"1", OnLossyNumber::Reject).unwrap(),
            id: None,
            bytes,
        });
        assert_eq!(
            String::from_utf8(reads([&first, &second].into_iter()).unwrap()).unwrap(),
            concat!(
                r#"[{"operationType":"Read","id":"x","partitionKey":"[1]"},"#,
                r#"{"operationType":"Read","id":"y\"","partitionKey":"[1]"}]"#,
            )
        );
    }

    #[test]
    fn a_key_is_found_again_by_the_note() {
        use crate::model::partition_key::{Kind, Version};
        let definition =
            PartitionKeyDefinition::new(vec!["/a/k".to_owned()], Kind::Hash, Version::V2).unwrap();
        let found = |bytes: &'static [u8]| {
            let value = definition.only_value(|name| field(bytes, name));
            let document = Document { bytes, note: note(bytes, value), ..Document::default() };
            let key = Key::of(&document, &definition, OnLossyNumber::Reject).unwrap();
            assert_eq!(key.clone().into_partition_key(), definition.key_of(bytes).unwrap());
            key
        };
        assert_eq!(found(br#"{"a":{"k":"first"},"a":{"k":"last"}}"#), Key::Plain("last"));
        for other in [
            &br#"{"a":{"k":"\u0041"}}"#[..],
            "{\"a\":{\"k\":\"é\"}}".as_bytes(),
            br#"{"a":{"k":-1.50}}"#,
            br#"{"a":{"k":[1]}}"#,
            br#"{"a":{}}"#,
            br#"{"a":{"k":null}}"#,
        ] {
            assert!(matches!(found(other), Key::Any(_)));
        }
        let far: &str = format!(r#"{{"b":"{}","a":{{"k":"far"}}}}"#, "x".repeat(1 << 16)).leak();
        assert!(matches!(found(far.as_bytes()), Key::Any(_)), "a note has sixteen bits");
    }

    #[test]
    fn a_key_is_that_of_the_document_as_it_is_sent() {
        use crate::model::partition_key::{Kind, Version};
        let definition = |paths: &[&str], kind| {
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            PartitionKeyDefinition::new(paths, kind, Version::V2).unwrap()
        };
        let (one, two) = (definition(&["/k"], Kind::Hash), definition(&["/k", "/n"], Kind::MultiHash));
        let bytes = br#"{"k":9007199254740993,"n":1e400}"#.as_slice();
        let header = |definition: &PartitionKeyDefinition, note, on_lossy| {
            let document = Document { bytes, note, ..Document::default() };
            Key::of(&document, definition, on_lossy).map(|key| key.into_partition_key().to_header_json())
        };
        let noted = note(bytes, one.only_value(|name| field(bytes, name)));
        for note in [noted, None] {
            assert_eq!(header(&one, note, OnLossyNumber::String).unwrap(), r#"["9007199254740993"]"#);
            assert_eq!(header(&one, note, OnLossyNumber::Keep).unwrap(), "[9007199254740992]");
        }
        assert_eq!(header(&two, None, OnLossyNumber::String).unwrap(), r#"["9007199254740993","1e400"]"#);
        assert!(header(&two, None, OnLossyNumber::Keep).is_err());
    }
}
