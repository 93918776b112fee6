//! A document is the exact bytes of one JSON object.
//!
//! Documents live many to a buffer ([`Documents`]); a [`Span`] says where one begins and ends and where it came
//! from. [`Document`] is the borrowed view of one that the rooms pass around. Nothing here parses a number or
//! rewrites a string: what no step touched leaves docferry as it came.

use crate::model::json::{self, Field, Index};
use crate::model::partition::PartitionIndex;
use std::borrow::Cow;
use std::num::NonZeroU16;

/// What the target shall do with a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operation {
    /// Write it, replacing an older one with the same key and id.
    #[default]
    Upsert,
    /// Remove the document with this key and id; only those two fields are looked at.
    Delete,
}

/// Where one document lies in its buffer, and where it lay in its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte in the buffer.
    pub start: u32,
    /// Length in bytes.
    pub length: u32,
    /// Place in the source's partition: of a file the byte offset in the uncompressed stream, of a table the row id.
    pub at: u64,
    /// Records (lines, elements, rows) between the batch's start and this one, blank ones counted.
    pub ordinal: u32,
    /// What to do with it.
    pub operation: Operation,
    /// What the sink noted when it said where the document goes ([`Route::note`](crate::model::request::Route::note)).
    pub note: Option<NonZeroU16>,
}

impl Span {
    /// The same document in another place; `None` where 32 bits cannot tell it.
    pub fn moved(&self, start: usize, length: usize) -> Option<Span> {
        let (start, length) = (u32::try_from(start).ok()?, u32::try_from(length).ok()?);
        start.checked_add(length).map(|_| Span { start, length, ..*self })
    }

    /// The span's place in its buffer.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..(self.start + self.length) as usize
    }
}

/// Documents in one contiguous buffer. Bytes between spans (line ends, blank lines) belong to no document.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    /// The bytes.
    pub buffer: Vec<u8>,
    /// One entry a document, in source order.
    pub spans: Vec<Span>,
}

impl Documents {
    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The bytes of all of them, without what lies between.
    pub fn text_bytes(&self) -> u64 {
        self.spans.iter().map(|span| u64::from(span.length)).sum()
    }

    /// The bytes of document `index`.
    pub fn bytes(&self, index: usize) -> &[u8] {
        &self.buffer[self.spans[index].range()]
    }

    /// The view of document `index`, which came from `partition`.
    pub fn get(&self, partition: PartitionIndex, index: usize) -> Document<'_> {
        let span = &self.spans[index];
        Document {
            bytes: self.bytes(index),
            index: None,
            partition,
            at: span.at,
            operation: span.operation,
            note: span.note,
        }
    }

    /// Appends a document; the caller sees to it that the buffer stays below 4 GiB.
    pub fn push(&mut self, bytes: &[u8], at: u64, ordinal: u32) {
        let start = self.buffer.len() as u32;
        self.buffer.extend_from_slice(bytes);
        let length = bytes.len() as u32;
        self.spans.push(Span { start, length, at, ordinal, operation: Operation::Upsert, note: None });
    }
}

/// One document: its exact bytes and where it came from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Document<'a> {
    /// The JSON text, without white space around it.
    pub bytes: &'a [u8],
    /// What the validating pass noted of it, where that is still at hand; whoever looks for a field need not go through the text again.
    pub index: Option<&'a Index>,
    /// The source partition.
    pub partition: PartitionIndex,
    /// Place inside the partition.
    pub at: u64,
    /// What the target shall do.
    pub operation: Operation,
    /// What the sink noted of it.
    pub note: Option<NonZeroU16>,
}

impl<'a> Document<'a> {
    /// The raw JSON text of a top-level field, found by name after unescaping; of duplicate keys the last counts.
    /// The bytes must have passed [`json::index`].
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        let Some(index) = self.index else { return json::field(self.bytes, name) };
        let is_named = |field: &&Field| field.is_named(self.bytes, name);
        let last = match index.is_unique {
            // Ids and keys mostly come first.
            true => index.fields.iter().find(is_named),
            false => index.fields.iter().rev().find(is_named),
        };
        last.map(|field| field.raw_value(self.bytes))
    }

    /// The document's id, which field `name` holds, or why it has none. The bytes must have passed [`json::index`].
    pub fn id(&self, name: &str) -> Result<Id<'a>, String> {
        Id::of(name, self.field(name))
    }
}

/// The JSON kind of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// `"7"`
    String,
    /// `7`
    Number,
    /// `true`
    Boolean,
}

/// What tells a document from others of its key.
///
/// Targets hold an id as characters, so `7` and `"7"` meet in one place there. They are two documents all the same: a target
/// that cannot hold both keeps the one that it has and refuses the other ([`Id::taken`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id<'a> {
    /// Its characters: of a string without quotes and escapes, of anything else the text as it stands.
    pub characters: Cow<'a, str>,
    /// What it is in the document.
    pub kind: IdKind,
}

impl<'a> Id<'a> {
    /// The id that the raw value of the field `name` is, or why it is none: only what names one document, and always the same
    /// one, is an id.
    pub fn of(name: &str, raw: Option<&'a [u8]>) -> Result<Self, String> {
        let what = match raw {
            None => "is missing",
            Some(b"null") => "is null",
            Some([b'{', ..]) => "is an object",
            Some([b'[', ..]) => "is an array",
            // Replaced by U+FFFD it would be the id of every other document whose id is damaged there.
            Some([b'"', inner @ .., b'"']) => match json::unescape_exact(inner) {
                Some(characters) => return Ok(Self { characters, kind: IdKind::String }),
                None => "holds half of a surrogate pair, which is no character",
            },
            Some(raw) => {
                let kind = if matches!(raw, b"true" | b"false") { IdKind::Boolean } else { IdKind::Number };
                return Ok(Self { characters: String::from_utf8_lossy(raw), kind });
            }
        };
        // What would be an id if it were there is easily made.
        let hint =
            if matches!(raw, None | Some(b"null")) { "; [id] from = \"position\" makes one" } else { "" };
        Err(format!("no id: field {name:?} {what}{hint}"))
    }

    /// Why a document with this id is refused where a document with the same characters and another kind is.
    pub fn taken(&self, name: &str) -> String {
        let kind = match self.kind {
            IdKind::String => "a string",
            IdKind::Number => "a number",
            IdKind::Boolean => "a boolean",
        };
        format!(
            "id taken: field {name:?} is {kind}, and the target holds another document whose id has the same characters but is not {kind}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_beyond_4_gib_is_none() {
        let span = Span { start: 0, length: 0, at: 7, ordinal: 0, operation: Operation::Upsert, note: None };
        let most = u32::MAX as usize;
        assert_eq!(span.moved(most - 5, 5).map(|span| (span.range().end, span.at)), Some((most, 7)));
        assert_eq!(span.moved(most - 5, 6), None);
        assert_eq!(span.moved(most + 1, 0), None);
        assert_eq!(span.moved(0, most + 1), None);
    }

    #[test]
    fn a_field_is_the_same_whether_or_not_the_fields_are_known() {
        let bytes = br#" {"a":1, "b\u0031" : [2], "a" : "last"} "#;
        let mut index = json::Index::default();
        json::index(bytes, &mut index).unwrap();
        let unknown = Document { bytes, ..Document::default() };
        let known = Document { index: Some(&index), ..unknown };
        let mut unique = json::Index::default();
        json::index(br#"{"a":1,"b":2}"#, &mut unique).unwrap();
        unique.is_unique = true;
        let document = Document { bytes: br#"{"a":1,"b":2}"#, index: Some(&unique), ..unknown };
        assert_eq!((document.field("b"), document.field("c")), (Some(&b"2"[..]), None));
        for (name, expected) in [("a", Some(&b"\"last\""[..])), ("b1", Some(&b"[2]"[..])), ("c", None)] {
            assert_eq!((known.field(name), unknown.field(name)), (expected, expected), "{name}");
        }
    }

    #[test]
    fn an_id_is_a_scalar_whose_characters_are_whole() {
        let id = |raw: &'static str| Id::of("k", Some(raw.as_bytes()));
        let is = |characters: &'static str, kind| Ok(Id { characters: characters.into(), kind });
        assert_eq!(id("1.0"), is("1.0", IdKind::Number));
        assert_eq!(id(r#""1\u002e0""#), is("1.0", IdKind::String));
        assert_eq!(id("true"), is("true", IdKind::Boolean));
        assert_eq!(id(r#""\ufffd""#), is("\u{fffd}", IdKind::String));
        for (raw, what) in [
            (r#""a\ud800""#, "holds half of a surrogate pair, which is no character"),
            ("null", "is null; [id] from = \"position\" makes one"),
            ("{}", "is an object"),
            ("[]", "is an array"),
        ] {
            assert_eq!(id(raw).unwrap_err(), format!("no id: field \"k\" {what}"));
        }
        assert_eq!(
            Id::of("k", None).unwrap_err(),
            "no id: field \"k\" is missing; [id] from = \"position\" makes one"
        );
    }
}
