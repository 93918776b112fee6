//! The fields that the service adds to every document, taken away again: a document reads back as it was sent.

use crate::model::json::{Field, Index, index};
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64;

/// What the service adds. Other names that begin with `_` are the user's own.
const FIELDS: [&str; 5] = ["_rid", "_self", "_etag", "_ts", "_attachments"];

/// Appends the document without them; one that is malformed is appended as it is.
pub(super) fn write_without(document: &[u8], found: &mut Index, out: &mut Vec<u8>) {
    match index(document, found) {
        Ok(()) => write_fields(document, 0..document.len(), &found.fields, out),
        Err(_) => out.extend_from_slice(document),
    }
}

/// The same for a document that lies at `place` in a longer text, and whose fields are known.
pub(super) fn write_fields(text: &[u8], place: Range<usize>, fields: &[Field], out: &mut Vec<u8>) {
    let is_system = |field: &&Field| {
        let name = field.raw_name(text);
        FIELDS.iter().any(|system| system.as_bytes() == name)
    };
    if !fields.iter().any(|field| is_system(&field)) {
        return out.extend_from_slice(&text[place]);
    }
    out.push(b'{');
    let mut is_first = true;
    for field in fields.iter().filter(|field| !is_system(field)) {
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        out.extend_from_slice(&text[field.name_start as usize - 1..field.value_end as usize]);
    }
    out.push(b'}');
}

/// What tells a document from all others that its container holds or has held: a hash of its resource id, which it keeps when it is replaced and
/// which none has that takes its place after it was deleted. Of a document without one, of its text.
pub(super) fn mark(text: &[u8], place: Range<usize>, fields: &[Field]) -> u64 {
    let id = fields.iter().find(|field| field.raw_name(text) == b"_rid");
    xxh3_64(id.map_or_else(|| &text[place], |id| id.raw_value(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_marked_by_its_resource_id() {
        let mark = |document: &str| {
            let mut found = Index::default();
            index(document.as_bytes(), &mut found).unwrap();
            mark(document.as_bytes(), 0..document.len(), &found.fields)
        };
        let marked = mark(r#"{"id":"a","v":1,"_rid":"x=="}"#);
        assert_eq!(marked, mark(r#"{"_rid":"x==","id":"a","v":2}"#), "replaced");
        assert_ne!(marked, mark(r#"{"id":"a","v":1,"_rid":"y=="}"#), "deleted and made again");
        assert_ne!(mark(r#"{"id":"a"}"#), mark(r#"{"id":"b"}"#));
    }

    #[test]
    fn only_the_fields_of_the_service_are_taken_away() {
        let without = |document: &str| {
            let mut out = Vec::new();
            write_without(document.as_bytes(), &mut Index::default(), &mut out);
            String::from_utf8(out).unwrap()
        };
        let document = r#"{"_rid":"x","id":"a","_custom":{"_ts":1},"_ts":17,"$type":"t","_etag":"\"e\"","_self":"s","_attachments":"a/"}"#;
        assert_eq!(without(document), r#"{"id":"a","_custom":{"_ts":1},"$type":"t"}"#);
        assert_eq!(without(r#"{ "id" : 1 }"#), r#"{ "id" : 1 }"#);
        assert_eq!(without(r#"{"_ts":1}"#), "{}");
        assert_eq!(without("{"), "{");
    }
}
