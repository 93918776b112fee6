//! How a container finds the partition key in a document.

use super::{Component, Epk, PartitionKey};
use crate::error::{Error, Result};
use crate::model::json;

/// How the values of a key are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One hash over all values; one path.
    Hash,
    /// One hash a level; up to three paths.
    MultiHash,
}

/// Which hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 32 bits, of no more than 100 bytes of a string: containers made without "large partition keys".
    V1,
    /// 128 bits.
    V2,
}

/// What a container says about its partition key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionKeyDefinition {
    /// As they were given: `/a/b`.
    pub paths: Vec<String>,
    /// How the values are hashed.
    pub kind: Kind,
    /// Which hash.
    pub version: Version,
    /// The names of each path, unquoted.
    names: Vec<Vec<String>>,
}

const READING: &str = "reading a partition key definition";

impl PartitionKeyDefinition {
    /// A definition of these paths. A hierarchical key has up to three, a plain one has one.
    pub fn new(paths: Vec<String>, kind: Kind, version: Version) -> Result<Self> {
        let most = if kind == Kind::Hash { 1 } else { 3 };
        if paths.is_empty() || paths.len() > most {
            let message = format!("kind {kind:?} takes 1 to {most} paths, there are {}", paths.len());
            return Err(Error::configuration(READING, message));
        }
        if let Some((_, path)) = paths.iter().enumerate().find(|(at, path)| paths[..*at].contains(path)) {
            return Err(Error::configuration(READING, format!("the path {path} stands there twice")));
        }
        let names = paths.iter().map(|path| split(path)).collect::<Result<_>>()?;
        Ok(Self { paths, kind, version, names })
    }

    /// The key of a document that has passed [`json::index`]. Of duplicate fields the last counts. Fails on a number that
    /// no double holds.
    pub fn key_of<'a>(&self, document: &'a [u8]) -> Result<PartitionKey<'a>> {
        self.key_by(|name| json::field(document, name))
    }

    /// The same where the document's fields are known already.
    pub fn key_in<'a>(&self, document: &'a [u8], fields: &[json::Field]) -> Result<PartitionKey<'a>> {
        let last = |name: &str| fields.iter().rev().find(|field| field.is_named(document, name));
        self.key_by(|name| last(name).map(|field| field.raw_value(document)))
    }

    /// The same, where `top` finds a field of the document itself.
    pub fn key_by<'a>(&self, top: impl Fn(&str) -> Option<&'a [u8]>) -> Result<PartitionKey<'a>> {
        Ok(PartitionKey { components: self.values(top).map(Component::from_json).collect::<Result<_>>()? })
    }

    /// The texts of the key's values, `None` where the document has none; `top` finds a field of the document itself.
    pub fn values<'a>(
        &self,
        top: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> impl Iterator<Item = Option<&'a [u8]>> {
        self.names.iter().map(move |names| value(names, &top))
    }

    /// The text of the value that is the whole key, in a container of one path; `None` also where the document has none.
    pub fn only_value<'a>(&self, top: impl Fn(&str) -> Option<&'a [u8]>) -> Option<&'a [u8]> {
        match self.names.as_slice() {
            [names] => value(names, &top),
            _ => None,
        }
    }

    /// The place of a document that has passed [`json::index`].
    pub fn epk_of(&self, document: &[u8]) -> Result<Epk> {
        Ok(self.epk(&self.key_of(document)?))
    }

    /// The `parts - 1` places that divide the whole space into equal parts.
    pub fn even_bounds(&self, parts: u32) -> Vec<Epk> {
        (1..parts).map(|part| Epk::at_share(self, f64::from(part) / f64::from(parts))).collect()
    }

    /// The place of a key. Of the prefix of a hierarchical key it is where the documents with that prefix begin: their places begin with the
    /// same bytes.
    pub fn epk(&self, key: &PartitionKey<'_>) -> Epk {
        Epk::of(key, self)
    }
}

/// The value at the end of a path. `top` finds a field of the document itself.
fn value<'a>(names: &[String], top: &impl Fn(&str) -> Option<&'a [u8]>) -> Option<&'a [u8]> {
    let within = |value: Option<&'a [u8]>, name: &String| {
        value.filter(|text| text.first() == Some(&b'{')).and_then(|text| json::field(text, name))
    };
    let (first, rest) = names.split_first()?;
    rest.iter().fold(top(first), within)
}

/// The names of a path: `/a/b`, or `/"a/b"/c` where a name holds a slash.
fn split(path: &str) -> Result<Vec<String>> {
    let refuse = || Error::configuration(READING, format!("{path:?} is not a path such as /a/b or /\"a/b\""));
    let mut names = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        rest = rest.strip_prefix('/').ok_or_else(refuse)?;
        let quote = rest.chars().next().filter(|first| matches!(first, '"' | '\''));
        let (name, behind) = match quote {
            Some(quote) => rest[1..].split_once(quote).ok_or_else(refuse)?,
            None => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        };
        if name.is_empty() {
            return Err(refuse());
        }
        names.push(name.to_owned());
        rest = behind;
    }
    if names.is_empty() { Err(refuse()) } else { Ok(names) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(paths: &[&str]) -> PartitionKeyDefinition {
        let kind = if paths.len() == 1 { Kind::Hash } else { Kind::MultiHash };
        PartitionKeyDefinition::new(paths.iter().map(|path| (*path).to_owned()).collect(), kind, Version::V2)
            .unwrap()
    }

    #[test]
    fn a_key_is_found_by_its_paths() {
        let document = br#"{"a":{"b":"x\u0041"},"n":-1.50,"l":[1],"z":null,"a/b":true,"a":{"b":"last"}}"#;
        let key = |paths: &[&str]| definition(paths).key_of(document).unwrap().to_header_json();
        assert_eq!(key(&["/a/b"]), r#"["last"]"#);
        assert_eq!(key(&["/n", "/z", "/missing"]), "[-1.5,null,{}]");
        assert_eq!(key(&["/\"a/b\""]), "[true]");
        assert_eq!(key(&["/l"]), "[{}]");
        assert_eq!(key(&["/n/b"]), "[{}]");
        let mut index = json::Index::default();
        json::index(document, &mut index).unwrap();
        let only = |paths: &[&str]| {
            definition(paths).only_value(|name| json::field(document, name)).map(<[u8]>::to_vec)
        };
        assert_eq!(only(&["/a/b"]), Some(br#""last""#.to_vec()));
        assert_eq!((only(&["/missing"]), only(&["/n", "/z"])), (None, None));
        for paths in [vec!["/a/b"], vec!["/n", "/z", "/missing"], vec!["/n/b"]] {
            let definition = definition(&paths);
            assert_eq!(
                definition.key_in(document, &index.fields).unwrap(),
                definition.key_of(document).unwrap()
            );
        }
    }

    #[test]
    fn even_bounds_divide_documents_evenly() {
        let one = |version| PartitionKeyDefinition::new(vec!["/id".to_owned()], Kind::Hash, version).unwrap();
        for definition in [one(Version::V1), one(Version::V2), definition(&["/id", "/n"])] {
            let bounds = definition.even_bounds(4);
            let mut counts = [0; 4];
            for number in 0..4000 {
                let place = definition.epk_of(format!("{{\"id\":\"{number}\"}}").as_bytes()).unwrap();
                counts[bounds.partition_point(|bound| *bound <= place)] += 1;
            }
            assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        }
    }

    #[test]
    fn a_number_beyond_doubles_is_no_key() {
        assert!(definition(&["/n"]).epk_of(br#"{"n":1e400}"#).is_err());
    }

    #[test]
    fn wrong_definitions_are_refused() {
        let new = |paths: &[&str], kind| {
            PartitionKeyDefinition::new(
                paths.iter().map(|path| (*path).to_owned()).collect(),
                kind,
                Version::V2,
            )
        };
        for path in ["", "a", "/", "/a//b", "/\"a", "/\"a\"b"] {
            assert!(new(&[path], Kind::Hash).is_err(), "{path}");
        }
        assert!(new(&["/a", "/b"], Kind::Hash).is_err());
        assert!(new(&["/a", "/b", "/c", "/d"], Kind::MultiHash).is_err());
    }
}
