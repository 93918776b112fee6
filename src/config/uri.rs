//! `scheme:path?name=value&name=value`: an endpoint on one line.
//!
//! The scheme is a connector's name, the path fills the connector's location, the rest are its settings under the names that a
//! strategy uses; a name given twice is a list. With a scheme, path, names and values are percent-decoded: there a `?` in the path is written
//! `%3F`. A `+` is no blank, for these are no forms. Without a scheme the text is a
//! path for the file connector and taken verbatim: any file name can be given, and `?` and `*` stay free for patterns.

use super::document::Entries;
use crate::connector::registry::{self, CONNECTORS};
use crate::model::settings::{Origin, Setting, Value, nearest};

/// What a path without a scheme means.
const PATH_CONNECTOR: &str = "file";

/// The settings that `uri` stands for, `connector` first, or what is wrong with it.
pub(crate) fn parse(uri: &str, origin: &Origin) -> Result<Entries, String> {
    let text = |text: String| Setting { value: Value::Text(text), origin: origin.clone() };
    let (scheme, path, query) = match split_scheme(uri) {
        None => (PATH_CONNECTOR, uri.to_owned(), ""),
        Some((scheme, rest)) => {
            let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
            (scheme, decode(path)?, query)
        }
    };
    let connector = registry::find(scheme).ok_or_else(|| unknown(scheme))?;
    let mut entries = vec![("connector".to_owned(), text(scheme.to_owned()))];
    if !path.is_empty() && connector.location.is_empty() {
        return Err(format!("{scheme}: takes no path, found {path:?}"));
    }
    if !path.is_empty() {
        entries.push((connector.location.to_owned(), text(path)));
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| format!("{pair:?} must be a name, = and a value"))?;
        let (name, setting) = (decode(name)?, text(decode(value)?));
        match entries.iter_mut().find(|(known, _)| *known == name) {
            None => entries.push((name, setting)),
            Some((_, earlier)) => append(earlier, setting),
        }
    }
    Ok(entries)
}

/// The connectors' names, for a message.
pub(crate) fn connector_names() -> Vec<&'static str> {
    CONNECTORS.iter().map(|connector| connector.name).collect()
}

/// Says that no connector has this name.
pub(crate) fn unknown(name: &str) -> String {
    let names = connector_names();
    let hint = nearest(name, &names).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    format!("unknown connector {name:?}, known are {}{hint}", names.join(", "))
}

/// A scheme has at least two letters, so that `C:\movies.json` is a path.
fn split_scheme(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once(':')?;
    let is_scheme = scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
    is_scheme.then_some((scheme, rest))
}

fn append(earlier: &mut Setting, later: Setting) {
    match &mut earlier.value {
        Value::List(values) => values.push(later),
        _ => earlier.value = Value::List(vec![earlier.clone(), later]),
    }
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |byte: Option<&u8>| byte.and_then(|b| char::from(*b).to_digit(16));
        let (Some(high), Some(low)) = (digit(after.first()), digit(after.get(1))) else {
            return Err(format!("{text:?}: % must be followed by two hexadecimal digits"));
        };
        bytes.push((high * 16 + low) as u8);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("{text:?} is not UTF-8 when decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(uri: &str) -> Result<String, String> {
        let entries = super::parse(uri, &Origin::Flag("--from".into()))?;
        let printed: Vec<String> = entries.iter().map(|(name, s)| format!("{name}={}", s.value)).collect();
        Ok(printed.join(" "))
    }

    #[test]
    fn schemes_paths_and_settings() {
        let ok = |uri| parse(uri).unwrap();
        assert_eq!(
            ok("sqlite:movies.db?table=movies"),
            r#"connector="sqlite" path="movies.db" table="movies""#
        );
        assert_eq!(
            ok("sqlite:a%20b.db?columns=a&columns=%22b"),
            r#"connector="sqlite" path="a b.db" columns=["a", "\"b"]"#
        );
        assert_eq!(ok("movies-?.json"), r#"connector="file" path="movies-?.json""#);
        assert_eq!(ok("-"), r#"connector="file" path="-""#);
        assert_eq!(ok("C:\\100%.json"), r#"connector="file" path="C:\\100%.json""#);
        assert_eq!(ok("file:a:b"), r#"connector="file" path="a:b""#);
        assert_eq!(ok("null:"), r#"connector="null""#);
        assert_eq!(ok("file:what%3F+100%25.jsonl"), r#"connector="file" path="what?+100%.jsonl""#);
        assert_eq!(ok("sqlite:a?table=b%26c%3Dd?e"), r#"connector="sqlite" path="a" table="b&c=d?e""#);
        assert_eq!(ok("./orders:2024.jsonl"), r#"connector="file" path="./orders:2024.jsonl""#);
    }

    #[test]
    fn what_is_wrong_is_said() {
        insta::assert_snapshot!(parse("sqlit:x").unwrap_err(), @r#"unknown connector "sqlit", known are file, sqlite, cosmos, memory, null; did you mean "sqlite"?"#);
        insta::assert_snapshot!(parse("file:%zz").unwrap_err(), @r#""%zz": % must be followed by two hexadecimal digits"#);
        insta::assert_snapshot!(parse("file:a?table").unwrap_err(), @r#""table" must be a name, = and a value"#);
        insta::assert_snapshot!(parse("file:%ff").unwrap_err(), @r#""%ff" is not UTF-8 when decoded"#);
    }

    proptest! {
        #[test]
        fn nothing_panics(uri in ".*") {
            let _ = parse(&uri);
        }

        #[test]
        fn every_value_can_be_encoded(value in ".+") {
            let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let entries = super::parse(&format!("file:{encoded}?x={encoded}"), &Origin::BuiltIn).unwrap();
            prop_assert_eq!(&entries[1].1.value, &Value::Text(value.clone()));
            prop_assert_eq!(&entries[2].1.value, &Value::Text(value));
        }
    }
}
