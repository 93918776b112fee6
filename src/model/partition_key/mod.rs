//! Where a document lives in Azure Cosmos DB: its partition key and the place that the key is hashed to.
//!
//! Theory: a container's physical partitions divide one ordered space of byte strings. The *effective partition key* ([`Epk`]) of a
//! document is its place in that space, so that whoever knows the ranges knows which partition a document belongs to without
//! asking. Kind `Hash` in version 2 is one MurmurHash3 of 128 bits over all values; version 1, which old containers have, is a hash of
//! 32 bits followed by the (shortened) values themselves; `MultiHash`, for hierarchical keys, is one hash of 128 bits a
//! level, one behind the other, so that a prefix of the key is a prefix of the place.
//!
//! Nothing is kept from key to key. Hashing a key of 8 to 36 bytes takes 40 to 60 ns, allocations included 50 to 70; to find its place in a table of
//! earlier ones takes 25 to 35 ns among a thousand keys, 115 among a hundred thousand and 285 among a million (one core, no lock). So a table would save 1 % of
//! what a document costs where keys are few, and lose more than that where they are many.
//!
//! The service reads a key's numbers as doubles, a missing field as *undefined*, which differs from null, and an object or an array
//! in the place of a value as undefined too.

mod definition;
mod hash;
mod place;

pub use definition::{Kind, PartitionKeyDefinition, Version};
pub use place::Epk;

use crate::error::{Error, ErrorKind, Result};
use crate::model::json::{unescape, write_double, write_string};
use std::borrow::Cow;

/// One value of a partition key.
#[derive(Clone, Debug, PartialEq)]
pub enum Component<'a> {
    /// The document has no such field.
    Undefined,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as the service keeps it.
    Number(f64),
    /// A string, unescaped.
    Text(Cow<'a, str>),
}

/// The values of one partition key, in the order of the definition's paths. A hierarchical key may be a prefix.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartitionKey<'a> {
    /// One a level.
    pub components: Vec<Component<'a>>,
}

const READING: &str = "reading a partition key";

impl<'a> Component<'a> {
    /// Reads the text of a JSON value that has passed [`crate::model::json::index`]; `None` is a missing field.
    pub fn from_json(raw: Option<&'a [u8]>) -> Result<Self> {
        Ok(match raw {
            Some(b"null") => Component::Null,
            Some(b"true") => Component::Bool(true),
            Some(b"false") => Component::Bool(false),
            Some([b'"', inner @ .., b'"']) => Component::Text(unescape(inner)),
            Some(text @ [b'-' | b'0'..=b'9', ..]) => {
                let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
                Component::Number(number.filter(|number| number.is_finite()).ok_or_else(|| {
                    Error::new(ErrorKind::InvalidInput, READING, "the number is too large for a double")
                })?)
            }
            Some(_) | None => Component::Undefined,
        })
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Component::Undefined => out.extend_from_slice(b"{}"),
            Component::Null => out.extend_from_slice(b"null"),
            Component::Bool(true) => out.extend_from_slice(b"true"),
            Component::Bool(false) => out.extend_from_slice(b"false"),
            Component::Number(number) => write_double(out, *number),
            Component::Text(text) => write_string(out, text),
        }
    }
}

impl PartitionKey<'_> {
    /// Reads what [`PartitionKey::to_header_json`] writes: an array of values, with `{}` for an undefined one.
    pub fn from_header_json(text: &str) -> Result<PartitionKey<'static>> {
        let refuse = |message| Error::new(ErrorKind::InvalidInput, READING, message);
        let values: Vec<serde_json::Value> =
            serde_json::from_str(text).map_err(|cause| refuse("not a JSON array").caused_by(cause))?;
        let component = |value: serde_json::Value| match value {
            serde_json::Value::Null => Ok(Component::Null),
            serde_json::Value::Bool(value) => Ok(Component::Bool(value)),
            serde_json::Value::Number(value) => {
                value.as_f64().map(Component::Number).ok_or_else(|| refuse("not a double"))
            }
            serde_json::Value::String(value) => Ok(Component::Text(Cow::Owned(value))),
            serde_json::Value::Object(members) if members.is_empty() => Ok(Component::Undefined),
            _ => Err(refuse("a partition key has no arrays and no objects but {}")),
        };
        Ok(PartitionKey { components: values.into_iter().map(component).collect::<Result<_>>()? })
    }

    /// The text for the header `x-ms-documentdb-partitionkey` and for the field `partitionKey` of a batch's operation. Characters beyond
    /// ASCII are escaped, because a header cannot carry them.
    pub fn to_header_json(&self) -> String {
        let mut out = vec![b'['];
        for (number, component) in self.components.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            component.write_json(&mut out);
        }
        out.push(b']');
        let text = String::from_utf8_lossy(&out);
        let mut ascii = String::with_capacity(text.len());
        for character in text.chars() {
            if character.is_ascii() && character != '\u{7f}' {
                ascii.push(character);
                continue;
            }
            for unit in character.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
        ascii
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_is_ascii_and_reads_back() {
        let key = PartitionKey {
            components: vec![
                Component::Text("é\"😀\u{7f}".into()),
                Component::Number(-0.5),
                Component::Null,
                Component::Undefined,
                Component::Bool(true),
            ],
        };
        let header = key.to_header_json();
        assert_eq!(header, r#"["\u00e9\"\ud83d\ude00\u007f",-0.5,null,{},true]"#);
        assert_eq!(PartitionKey::from_header_json(&header).unwrap(), key);
    }

    #[test]
    fn a_header_that_is_no_key_is_refused() {
        for text in ["", "\"a\"", "[[1]]", "[{\"a\":1}]"] {
            assert!(PartitionKey::from_header_json(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_text_and_number_reads_back(text: String, number in -1e300..1e300f64) {
            let key = PartitionKey { components: vec![Component::Text(text.into()), Component::Number(number)] };
            prop_assert_eq!(PartitionKey::from_header_json(&key.to_header_json()).unwrap(), key);
        }
    }
}
