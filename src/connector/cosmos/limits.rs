//! What Cosmos will never take, found before it is sent.
//!
//! A document that the service refuses costs request units, and inside a batch a round trip of its neighbours; so what can be known from
//! the bytes is known here. The limits are the service's own, as its documentation of quotas gives them.

use crate::connector::cosmos::OnLossyNumber;
use crate::connector::cosmos::numbers;
use crate::model::document::{Document, Id, IdKind, Operation};
use crate::model::partition_key::{Component, PartitionKey, PartitionKeyDefinition, Version};

/// Bytes of a document: of its UTF-8 text as it is sent. What the service adds to it does not count.
pub(super) const DOCUMENT_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of an id.
const ID_BYTES: usize = 1023;
/// Bytes of a string in a partition key.
const KEY_BYTES: usize = 2048;
/// The same in a container whose keys are hashed in version 1.
const KEY_BYTES_V1: usize = 101;
/// Levels of nesting, the outermost object included.
const NESTING: usize = 128;

/// The id of a document, or why Cosmos takes none such.
pub(super) fn id<'a>(document: &Document<'a>) -> Result<Id<'a>, String> {
    let id = document.id("id")?;
    let characters = &*id.characters;
    if id.kind != IdKind::String {
        return Err(format!("illegal id: Cosmos takes a string, found {characters}"));
    }
    if characters.is_empty() {
        return Err("illegal id: it is empty".to_owned());
    }
    if characters.len() > ID_BYTES {
        return Err(format!("illegal id: {} bytes, Cosmos takes {ID_BYTES}", characters.len()));
    }
    if characters.ends_with(' ') {
        return Err("illegal id: it ends with a blank, which is lost in an address".to_owned());
    }
    let is_illegal = |byte: &u8| (*byte == b'/') | (*byte == b'\\') | (*byte == b'?') | (*byte == b'#');
    // Every byte is looked at, so that many are at once.
    if !characters.as_bytes().iter().fold(false, |found, byte| found | is_illegal(byte)) {
        return Ok(id);
    }
    let found = characters.bytes().find(is_illegal).map(char::from).unwrap_or_default();
    Err(format!("illegal id: it holds {found:?}, which no address can carry"))
}

/// Why a document with this id cannot be named in an address, as one is that is replaced, deleted or read back. An address loses tabs and
/// line ends, and `.` and `..` lead out of the container's documents: the request would meet another document, or the container. Where a
/// document is upserted its id stands in the body alone, and may be any of these.
pub(super) fn address(id: &Id<'_>) -> Result<(), String> {
    let characters = &*id.characters;
    let refused =
        |why: &str| Err(format!("illegal id: it {why} in an address; only mode = \"upsert\" takes it"));
    if matches!(characters, "." | "..") {
        return refused(&format!("is {characters:?}, which leads elsewhere"));
    }
    match characters.bytes().find(|byte| matches!(byte, b'\t' | b'\n' | b'\r')) {
        None => Ok(()),
        Some(b'\t') => refused("holds a tab, which is lost"),
        Some(_) => refused("holds a line end, which is lost"),
    }
}

/// Why Cosmos does not take a document with that partition key.
pub(super) fn key(key: &PartitionKey<'_>, definition: &PartitionKeyDefinition) -> Result<(), String> {
    let most = if definition.version == Version::V1 { KEY_BYTES_V1 } else { KEY_BYTES };
    let too_long = key.components.iter().find_map(|component| match component {
        Component::Text(text) if text.len() > most => Some(text.len()),
        _ => None,
    });
    match too_long {
        None => Ok(()),
        Some(length) => Err(format!("partition key too long: {length} bytes, Cosmos takes {most}")),
    }
}

/// Why Cosmos does not take what the document holds. Of a document to be deleted nothing but id and key is looked at.
pub(super) fn content(document: &Document<'_>, on_lossy: OnLossyNumber) -> Result<(), String> {
    if document.operation == Operation::Delete {
        return Ok(());
    }
    let bytes = document.bytes;
    if sent_bytes(bytes, on_lossy) > DOCUMENT_BYTES {
        // The same words for every length, so that rejects of this kind are counted together; the dead letter has the length.
        return Err(format!("too large: Cosmos takes {DOCUMENT_BYTES} bytes"));
    }
    let depth = match document.index {
        Some(index) => index.depth,
        None if may_be_deep(bytes) => depth(bytes),
        None => 1,
    };
    if depth > NESTING {
        return Err(format!("nested too deep: {depth} levels, Cosmos takes {NESTING}"));
    }
    if on_lossy != OnLossyNumber::Reject {
        return Ok(());
    }
    let lossy = match document.index {
        Some(index) => numbers::first_lossy_of(bytes, &index.long_numbers),
        None => numbers::first_lossy(bytes),
    };
    match lossy {
        None => Ok(()),
        Some(number) => Err(format!(
            "lossy number: Cosmos keeps numbers as doubles, in which {number} has another value (see on_lossy_number)"
        )),
    }
}

/// The length of a document as it is sent: a number that becomes a string gets two quotes.
fn sent_bytes(document: &[u8], on_lossy: OnLossyNumber) -> usize {
    // A lossy number and the comma behind it take six bytes at least, so what is short enough stays so.
    let may_grow_too_long = document.len() > DOCUMENT_BYTES / 2;
    let quotes = if on_lossy == OnLossyNumber::String && may_grow_too_long {
        2 * numbers::count_lossy(document)
    } else {
        0
    };
    document.len() + quotes
}

/// Whether there are enough opening brackets; those in strings count too.
fn may_be_deep(document: &[u8]) -> bool {
    document.len() > NESTING && document.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() > NESTING
}

fn depth(document: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in document {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::json::{self, Index};
    use crate::model::partition_key::Kind;

    fn document(bytes: &[u8]) -> Document<'_> {
        Document { bytes, ..Document::default() }
    }

    fn content_of(bytes: &[u8]) -> Result<(), String> {
        let found = content(&document(bytes), OnLossyNumber::Reject);
        let mut index = Index::default();
        if json::index(bytes, &mut index).is_ok() {
            // What the validating pass has noted says the same.
            let known = Document { index: Some(&index), ..document(bytes) };
            assert_eq!(content(&known, OnLossyNumber::Reject), found);
        }
        found
    }

    #[test]
    fn an_id_is_a_short_string_without_what_an_address_cannot_carry() {
        let refused = |text: &str| id(&document(text.as_bytes())).unwrap_err();
        let missing = refused(r#"{"Id":"a"}"#);
        assert!(missing.starts_with("no id: field \"id\" is missing"), "{missing}");
        assert_eq!(refused(r#"{"id":7}"#), "illegal id: Cosmos takes a string, found 7");
        assert_eq!(refused(r#"{"id":""}"#), "illegal id: it is empty");
        assert_eq!(refused(r#"{"id":"a\u002fb"}"#), "illegal id: it holds '/', which no address can carry");
        assert!(refused(r#"{"id":"a\\b"}"#).contains("'\\\\'"));
        assert!(refused(r#"{"id":"a?"}"#).contains("'?'") && refused(r##"{"id":"#"}"##).contains("'#'"));
        let long = |length: usize| format!(r#"{{"id":"{}"}}"#, "x".repeat(length));
        assert!(id(&document(long(1023).as_bytes())).is_ok());
        assert_eq!(refused(&long(1024)), "illegal id: 1024 bytes, Cosmos takes 1023");
        // Bytes, not characters, and those of the text without escapes.
        let wide = |character: &str, count: usize| format!(r#"{{"id":"x{}"}}"#, character.repeat(count));
        for character in ["é", "\\u00e9"] {
            assert!(id(&document(wide(character, 511).as_bytes())).is_ok());
            assert_eq!(refused(&wide(character, 512)), "illegal id: 1025 bytes, Cosmos takes 1023");
        }
        assert_eq!(
            refused(r#"{"id":"a "}"#),
            "illegal id: it ends with a blank, which is lost in an address"
        );
        assert!(id(&document(br#"{"id":" a\t\u0000.%+&"}"#)).is_ok());
    }

    #[test]
    fn what_an_address_loses_is_only_upserted() {
        let in_address = |text: &str| address(&id(&document(text.as_bytes())).unwrap());
        for (text, what) in [
            (r#"{"id":"a\tb"}"#, "a tab, which is lost"),
            (r#"{"id":"\u000a"}"#, "a line end, which is lost"),
            (r#"{"id":"a\r"}"#, "a line end, which is lost"),
            (r#"{"id":"."}"#, r#"is ".", which leads elsewhere"#),
            (r#"{"id":"\u002e."}"#, r#"is "..", which leads elsewhere"#),
        ] {
            let refused = in_address(text).unwrap_err();
            assert!(refused.starts_with("illegal id: it ") && refused.contains(what), "{refused}");
        }
        for text in [r#"{"id":"..."}"#, r#"{"id":".a"}"#, r#"{"id":"a.."}"#, r#"{"id":"%2e%2E"}"#] {
            assert_eq!(in_address(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_key_is_as_long_as_its_hash_takes_it() {
        let check = |length: usize, version| {
            let definition = PartitionKeyDefinition::new(vec!["/k".to_owned()], Kind::Hash, version).unwrap();
            let document = format!(r#"{{"k":"{}"}}"#, "x".repeat(length));
            key(&definition.key_of(document.as_bytes()).unwrap(), &definition)
        };
        assert!(check(2048, Version::V2).is_ok() && check(101, Version::V1).is_ok());
        assert_eq!(
            check(2049, Version::V2).unwrap_err(),
            "partition key too long: 2049 bytes, Cosmos takes 2048"
        );
        assert!(check(102, Version::V1).is_err());
    }

    #[test]
    fn size_and_nesting_are_bounded() {
        let padded = |length: usize| format!(r#"{{"p":"{}"}}"#, "x".repeat(length - 8)).into_bytes();
        assert!(content_of(&padded(DOCUMENT_BYTES)).is_ok());
        assert_eq!(
            content_of(&padded(DOCUMENT_BYTES + 1)).unwrap_err(),
            "too large: Cosmos takes 2097152 bytes"
        );
        let wide = |count: usize| format!(r#"{{"p":"{}"}}"#, "é".repeat(count)).into_bytes();
        assert!(content_of(&wide((DOCUMENT_BYTES - 8) / 2)).is_ok());
        assert!(content_of(&wide((DOCUMENT_BYTES - 8) / 2 + 1)).is_err(), "bytes, not characters");
        let nested = |levels: usize| {
            format!(r#"{{"p":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1)).into_bytes()
        };
        assert!(content_of(&nested(128)).is_ok());
        assert_eq!(content_of(&nested(129)).unwrap_err(), "nested too deep: 129 levels, Cosmos takes 128");
        let quoted = format!(r#"{{"p":"\"{}"}}"#, "[".repeat(500));
        assert!(content_of(quoted.as_bytes()).is_ok(), "brackets in a string");
    }

    #[test]
    fn quotes_around_a_number_count() {
        let padded = |length: usize| {
            format!(r#"{{"a":[1e400,9007199254740993],"p":"{}"}}"#, "x".repeat(length - 37)).into_bytes()
        };
        assert_eq!(padded(100).len(), 100);
        let check = |length, on_lossy| content(&document(&padded(length)), on_lossy);
        assert!(check(DOCUMENT_BYTES, OnLossyNumber::Keep).is_ok());
        assert!(check(DOCUMENT_BYTES - 4, OnLossyNumber::String).is_ok());
        assert_eq!(
            check(DOCUMENT_BYTES - 3, OnLossyNumber::String).unwrap_err(),
            "too large: Cosmos takes 2097152 bytes"
        );
    }

    #[test]
    fn a_lossy_number_is_named() {
        let reason = content_of(br#"{"a":9007199254740993}"#).unwrap_err();
        assert!(reason.contains("in which 9007199254740993 has another value"), "{reason}");
        let keep = |on_lossy| content(&document(br#"{"a":9007199254740993}"#), on_lossy);
        assert!(keep(OnLossyNumber::Keep).is_ok() && keep(OnLossyNumber::String).is_ok());
    }
}
