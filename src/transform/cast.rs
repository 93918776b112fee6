//! `cast = { quantity = "integer" }`: changes the type of a value without changing what it says.
//!
//! Digits are moved as text and never go through a float, so `"2100.607537417505"` becomes the number with exactly these
//! digits. Missing fields and nulls stay as they are; a value that does not say what the type asks for rejects the document.

use crate::model::json::{scalar_text, write_string};
use crate::model::settings::{Setting, Value};
use crate::transform::names::{NameId, Names};
use crate::transform::{Draft, Step, Verdict};
use std::borrow::Cow;

#[derive(Debug)]
struct Cast {
    fields: Vec<(NameId, String, Type)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Integer,
    Number,
    Boolean,
    Text,
}

pub(super) fn make(setting: &Setting, names: &mut Names) -> Result<Box<dyn Step>, String> {
    let Value::Table(entries) = &setting.value else {
        return Err(format!(
            "must be a table such as {{ quantity = \"integer\" }}, found {}",
            setting.value.kind()
        ));
    };
    let mut fields = Vec::new();
    for (name, setting) in entries {
        let kind = match &setting.value {
            Value::Text(word) if word == "integer" => Type::Integer,
            Value::Text(word) if word == "number" => Type::Number,
            Value::Text(word) if word == "boolean" => Type::Boolean,
            Value::Text(word) if word == "text" => Type::Text,
            other => {
                return Err(format!(
                    "the type of {name:?} is {other}, allowed are integer, number, boolean, text"
                ));
            }
        };
        fields.push((names.intern(name), name.clone(), kind));
    }
    Ok(Box::new(Cast { fields }))
}

impl Step for Cast {
    fn edit(&self, draft: &mut Draft<'_>) -> Verdict {
        for (name, text, kind) in &self.fields {
            let Some(value) = draft.value_not_null(*name) else { continue };
            if kind.is_already(value) {
                continue;
            }
            // A text of plain digits is the usual case: its inside is the number.
            if *kind == Type::Integer && is_plain_integer(value) {
                draft.set(*name, |made| made.copy_field(*name, |text| 1..text.len() - 1));
                continue;
            }
            match kind.convert(value) {
                Some(json) => draft.set(*name, |made| made.push(&json)),
                None => {
                    return Verdict::Reject(format!("cast {text:?}: the value is not {}", kind.in_words()));
                }
            }
        }
        Verdict::Keep
    }
}

/// `"123"`: quotes and digits, however many, without a leading zero.
fn is_plain_integer(value: &[u8]) -> bool {
    match value {
        [b'"', digits @ .., b'"'] => {
            matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

impl Type {
    fn in_words(self) -> &'static str {
        match self {
            Type::Integer => "a whole number",
            Type::Number => "a number",
            Type::Boolean => "true or false",
            Type::Text => "text",
        }
    }

    fn is_already(self, value: &[u8]) -> bool {
        match self {
            Type::Integer => value.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-'),
            Type::Number => matches!(value, [b'-' | b'0'..=b'9', ..]),
            Type::Boolean => matches!(value, b"true" | b"false"),
            Type::Text => value.starts_with(b"\""),
        }
    }

    /// The value's JSON text in this type, if it says what the type asks for.
    fn convert(self, value: &[u8]) -> Option<Vec<u8>> {
        let text = scalar_text(value);
        let text = text.trim();
        match self {
            Type::Text => {
                let mut json = Vec::new();
                write_string(&mut json, text);
                Some(json)
            }
            Type::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" | "1" => Some(b"true".to_vec()),
                "false" | "0" => Some(b"false".to_vec()),
                _ => None,
            },
            Type::Number => number(text).map(|text| text.into_owned().into_bytes()),
            Type::Integer => {
                let text = number(text)?;
                if text.contains(['e', 'E']) {
                    return None;
                }
                match text.split_once('.') {
                    None => Some(text.into_owned().into_bytes()),
                    Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => {
                        Some(if whole == "-0" { "0" } else { whole }.as_bytes().to_vec())
                    }
                    Some(_) => None,
                }
            }
        }
    }
}

/// `text` as JSON writes numbers: a leading plus and leading zeros go, everything else stays.
fn number(text: &str) -> Option<Cow<'_, str>> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let whole = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let zeros = digits[..whole].bytes().take_while(|digit| *digit == b'0').count();
    let digits = &digits[zeros.min(whole.saturating_sub(1))..];
    let mut index = crate::model::json::Index::default();
    let probe = format!("{{\"n\":{sign}{digits}}}");
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit())
        && !digits.ends_with(char::is_whitespace)
        && crate::model::json::index(probe.as_bytes(), &mut index).is_ok()
        && index.fields.len() == 1;
    is_number.then(|| Cow::Owned(format!("{sign}{digits}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(kind: Type, value: &str) -> Option<String> {
        if kind.is_already(value.as_bytes()) {
            return Some(value.to_owned());
        }
        kind.convert(value.as_bytes()).map(|json| String::from_utf8(json).unwrap())
    }

    #[test]
    fn digits_are_moved_as_they_are() {
        for (value, expected) in [
            ("\"2100.607537417505\"", Some("2100.607537417505")),
            ("\" +007.50 \"", Some("7.50")),
            ("\"0\"", Some("0")),
            ("\"-00\"", Some("-0")),
            ("\"1e400\"", Some("1e400")),
            ("\"1,5\"", None),
            ("\"\"", None),
            ("\"1,\\\"x\\\":2\"", None),
            ("true", None),
            ("[1]", None),
        ] {
            assert_eq!(convert(Type::Number, value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn whole_numbers_booleans_and_texts() {
        for (kind, value, expected) in [
            (Type::Integer, "\"12\"", Some("12")),
            (Type::Integer, "3.0", Some("3")),
            (Type::Integer, "\"3.5\"", None),
            (Type::Integer, "-7", Some("-7")),
            (Type::Integer, "\"12345678901234567890123\"", Some("12345678901234567890123")),
            (Type::Boolean, "\"TRUE\"", Some("true")),
            (Type::Boolean, "0", Some("false")),
            (Type::Boolean, "\"yes\"", None),
            (Type::Text, "1.10", Some("\"1.10\"")),
            (Type::Text, "{\"a\":\"b\"}", Some("\"{\\\"a\\\":\\\"b\\\"}\"")),
        ] {
            assert_eq!(convert(kind, value).as_deref(), expected, "{value}");
        }
    }
}
