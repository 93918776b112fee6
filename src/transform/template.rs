//! Templates over fields: `"{city}-{status:-unknown}"`.
//!
//! `{name}` stands for a field's text, `{name:-text}` for `text` where the field is missing or null; `{{` and `}}` are braces. A
//! template is rendered in the space of JSON text: a string's characters are copied with their escapes as they stand, so nothing is
//! unescaped only to be escaped again.

use crate::model::json::write_string;
use crate::transform::draft::Made;
use crate::transform::names::{NameId, Names};

/// A compiled template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Characters, escaped for the inside of a JSON string.
    Text(Vec<u8>),
    Field {
        name: NameId,
        instead: Option<Vec<u8>>,
    },
}

impl Template {
    /// Compiles `text`; the error says what is wrong with it.
    pub(crate) fn compile(text: &str, names: &mut Names) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..];
            if brace.starts_with("{{") || brace.starts_with("}}") {
                plain.push_str(&brace[..1]);
                rest = &brace[2..];
                continue;
            }
            let Some(end) = brace.find('}').filter(|_| brace.starts_with('{')) else {
                let column = text.len() - brace.len() + 1;
                return Err(format!(
                    "in template {text:?}: unmatched brace at column {column}; write {{{{ or }}}} for a brace"
                ));
            };
            let (name, instead) = match brace[1..end].split_once(":-") {
                Some((name, instead)) => (name, Some(escaped(instead))),
                None => (&brace[1..end], None),
            };
            if name.is_empty() {
                return Err(format!("in template {text:?}: a field name is missing between the braces"));
            }
            if !plain.is_empty() {
                parts.push(Part::Text(escaped(&std::mem::take(&mut plain))));
            }
            parts.push(Part::Field { name: names.intern(name), instead });
            rest = &brace[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(escaped(&plain)));
        }
        Ok(Template { parts })
    }

    /// The template that is one field.
    pub(crate) fn of_field(name: &str, names: &mut Names) -> Template {
        Template { parts: vec![Part::Field { name: names.intern(name), instead: None }] }
    }

    /// The field, if the template is one field and nothing else.
    pub(crate) fn single_field(&self) -> Option<NameId> {
        match self.parts.as_slice() {
            [Part::Field { name, instead: None }] => Some(*name),
            _ => None,
        }
    }

    /// The fields that must be there.
    pub(crate) fn required(&self) -> impl Iterator<Item = NameId> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field { name, instead: None } => Some(*name),
            _ => None,
        })
    }

    /// Appends the text as a JSON string. Fields that must be there have been looked for by the caller.
    pub(crate) fn write(&self, made: &mut Made<'_, '_>) {
        made.push(b"\"");
        for part in &self.parts {
            match part {
                Part::Text(text) => made.push(text),
                Part::Field { name, instead } => match made.field(*name) {
                    None | Some(b"null") => made.push(instead.as_deref().unwrap_or_default()),
                    Some([b'"', ..]) => made.copy_field(*name, |text| 1..text.len() - 1),
                    Some([b'{' | b'[', ..]) => {
                        let text =
                            String::from_utf8_lossy(made.field(*name).unwrap_or_default()).into_owned();
                        made.push(&escaped(&text));
                    }
                    Some(_) => made.copy_field(*name, |text| 0..text.len()),
                },
            }
        }
        made.push(b"\"");
    }
}

/// Characters as they stand inside a JSON string.
fn escaped(text: &str) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    write_string(&mut quoted, text);
    quoted[1..quoted.len() - 1].to_vec()
}
