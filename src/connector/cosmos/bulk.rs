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
use crate::model::json::write_string;
use crate::model::partition_key::{Component, PartitionKey};

/// One document on its way.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) verb: Verb,
    pub(super) key: PartitionKey<'a>,
    pub(super) id: std::borrow::Cow<'a, str>,
    pub(super) bytes: &'a [u8],
}

/// Room for what stands around a document, so that a body is allocated once.
const AROUND: usize = 96;

/// The body of a bulk request, or with `keyed` false that of a batch.
pub(super) fn body(items: &[Item<'_>], keyed: bool, on_lossy: OnLossyNumber) -> Vec<u8> {
    let length = items.iter().map(|item| item.bytes.len() + item.id.len() + AROUND).sum();
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
            write_string(&mut out, &item.id);
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

/// Appends a document as it is to be sent.
pub(super) fn write_document(document: &[u8], on_lossy: OnLossyNumber, out: &mut Vec<u8>) {
    if on_lossy == OnLossyNumber::String && numbers::first_lossy(document).is_some() {
        numbers::write_lossy_as_strings(document, out);
    } else {
        out.extend_from_slice(document);
    }
}

fn write_key(key: &PartitionKey<'_>, out: &mut Vec<u8>) {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    match key.components.as_slice() {
        [Component::Text(text)] if text.as_bytes().iter().all(is_plain) => {
            out.extend_from_slice(br#""[\""#);
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(br#"\"]""#);
        }
        _ => write_string(out, &key.to_header_json()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(components: Vec<Component<'static>>) -> PartitionKey<'static> {
        PartitionKey { components }
    }

    fn written(items: &[Item<'_>], keyed: bool) -> String {
        String::from_utf8(body(items, keyed, OnLossyNumber::String)).unwrap()
    }

    #[test]
    fn a_body_is_the_documents_own_bytes_between_what_the_service_needs() {
        let item = |verb, key, bytes| Item { verb, key, id: "i\"1".into(), bytes };
        let items = [
            item(
                Verb::Upsert,
                key(vec![Component::Text("a b".into())]),
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
    }
}
