//! The fields that the service adds to every document, taken away again: a document reads back as it was sent.

use crate::model::json::{Field, Index, index};
use std::ops::Range;

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

#[cfg(test)]
mod tests {
    use super::*;

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
