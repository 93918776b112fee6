//! `[id]`: where a document's id comes from.
//!
//! `from = "position"` makes it of the document's place in the source, `field = "orderId"` of a field's text, `template = "{region}-{number}"` of
//! several, `hash = ["region", "number"]` of a hash of several values, and `from = "content"` of a hash of the whole document: two equal documents are
//! one then, where a place keeps them apart. None is random: a document gets the same id in every run and on every machine. The rule runs after the last
//! step, on the fields as the target will see them, and writes `into` (default `id`).
//!
//! A hash is the first half of the SHA-256 of the canonical text ([`write_canonical`]), in hexadecimal digits, so that anyone can compute it again.
//!
//! A document that has another id already is not silently given a new one: `existing` says what becomes of it, and it is a reject where nothing is said.

use crate::model::json::{scalar_text, write_canonical, write_string};
use crate::model::settings::{Section, Value};
use crate::transform::names::{NameId, Names};
use crate::transform::template::Template;
use crate::transform::{Draft, Verdict};
use sha2::{Digest, Sha256};

/// Where the id comes from.
#[derive(Debug)]
pub(crate) struct IdRule {
    into: NameId,
    from: From,
    existing: Existing,
    texts: Names,
}

#[derive(Debug)]
enum From {
    Position,
    Template(Template),
    /// Of these fields' values.
    Hash(Vec<NameId>),
    /// Of everything but the id itself.
    Content,
}

/// What becomes of a document that has another id already.
#[derive(Clone, Copy, Debug)]
enum Existing {
    Reject,
    Keep,
    Replace,
}

/// Bytes of a hash that make an id: as many as keep two of 2^64 documents apart.
const HASH_BYTES: usize = 16;

impl IdRule {
    /// Reads `[id]`; none where the table is empty.
    pub(crate) fn from_settings(section: &mut Section, names: &mut Names) -> Option<IdRule> {
        let from = section.text("from");
        let field = section.text("field");
        let template = section.text("template");
        let hash = section.texts("hash");
        let into = names.intern(&section.text_or("into", "id"));
        let words = [("reject", Existing::Reject), ("keep", Existing::Keep), ("replace", Existing::Replace)];
        let existing = section.choice("existing", &words, "reject");
        let given = [from.is_some(), field.is_some(), template.is_some(), !hash.is_empty()];
        if given.iter().filter(|is| **is).count() > 1 {
            section.problem("from", "from, field, template and hash exclude each other");
            return None;
        }
        let from = match (from.as_deref(), field, template) {
            (Some("position"), ..) => From::Position,
            (Some("content"), ..) => From::Content,
            (Some(word), ..) => {
                let allowed = "allowed are \"position\" and \"content\"; or give field, template or hash";
                section.problem("from", format!("is {word:?}, {allowed}"));
                return None;
            }
            (_, Some(field), _) => From::Template(Template::of_field(&field, names)),
            (.., Some(template)) => match Template::compile(&template, names) {
                Ok(template) => From::Template(template),
                Err(error) => {
                    section.problem("template", error);
                    return None;
                }
            },
            _ if hash.is_empty() => {
                if section.raw("hash").is_some_and(|given| matches!(given.value, Value::List(_))) {
                    section.problem(
                        "hash",
                        "names no field; for a hash of the whole document write from = \"content\"",
                    );
                }
                return None;
            }
            _ => From::Hash(hash.iter().map(|name| names.intern(name)).collect()),
        };
        Some(IdRule { into, from, existing: existing?, texts: names.clone() })
    }

    /// Whether the id is the document's place: the caller then makes it.
    pub(crate) fn is_position(&self) -> bool {
        matches!(self.from, From::Position)
    }

    /// Sets the id; `position` is the text of the document's place, in which the name of a file may hold a quote.
    pub(crate) fn edit(&self, draft: &mut Draft<'_>, position: &str) -> Verdict {
        let is_of_itself =
            matches!(&self.from, From::Template(template) if template.single_field() == Some(self.into));
        let before = draft.value_not_null(self.into).map(<[u8]>::to_vec);
        match &before {
            // An id that is there already as text stays as it is, byte for byte.
            Some(text) if is_of_itself && text.starts_with(b"\"") => return Verdict::Keep,
            Some(_) if !is_of_itself && matches!(self.existing, Existing::Keep) => return Verdict::Keep,
            _ => {}
        }
        if let Some(field) = self.required().find(|field| draft.value_not_null(*field).is_none()) {
            return Verdict::Reject(format!(
                "id: field {:?} {}",
                self.texts.text(field),
                draft.absence(field)
            ));
        }
        self.set(draft, position);
        let Some(before) = before.filter(|_| !is_of_itself) else { return Verdict::Keep };
        let is_same = draft.value(self.into).is_some_and(|made| scalar_text(made) == scalar_text(&before));
        if is_same || matches!(self.existing, Existing::Replace) {
            return Verdict::Keep;
        }
        let name = self.texts.text(self.into);
        Verdict::Reject(format!(
            "id: the document has another {name:?} already; rename or remove that field, or say which counts with existing = \"keep\" or \"replace\""
        ))
    }

    /// The fields that must be there.
    fn required(&self) -> impl Iterator<Item = NameId> {
        let (template, hashed) = match &self.from {
            From::Template(template) => (Some(template), &[][..]),
            From::Hash(fields) => (None, fields.as_slice()),
            From::Position | From::Content => (None, &[][..]),
        };
        template.into_iter().flat_map(Template::required).chain(hashed.iter().copied())
    }

    fn set(&self, draft: &mut Draft<'_>, position: &str) {
        match &self.from {
            From::Position => draft.set(self.into, |made| write_string(made.bytes(), position)),
            From::Template(template) => draft.set(self.into, |made| template.write(made)),
            From::Hash(_) | From::Content => {
                let hash = self.hash(draft);
                draft.set(self.into, |made| write_string(made.bytes(), &hash));
            }
        }
    }

    fn hash(&self, draft: &Draft<'_>) -> String {
        let mut text = Vec::new();
        if let From::Hash(fields) = &self.from {
            text.push(b'[');
            for (number, field) in fields.iter().enumerate() {
                text.extend_from_slice(if number == 0 { b"" } else { b"," });
                write_canonical(draft.value(*field).unwrap_or_default(), None, &mut text);
            }
            text.push(b']');
        } else {
            let mut document = Vec::new();
            draft.render(&mut document);
            write_canonical(&document, Some(self.texts.text(self.into)), &mut text);
        }
        Sha256::digest(&text)[..HASH_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
