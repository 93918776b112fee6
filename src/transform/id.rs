//! `[id]`: where a document's id comes from.
//!
//! `from = "position"` makes it of the document's place in the source, `field = "orderId"` of a field's text, `template = "{region}-{number}"` of
//! several. Never of the content alone: two equal rows of a source are two documents. The rule runs after the last step, on the
//! fields as the target will see them, and writes `into` (default `id`).

use crate::model::settings::Section;
use crate::transform::names::{NameId, Names};
use crate::transform::template::Template;
use crate::transform::{Draft, Verdict};

/// Where the id comes from.
#[derive(Debug)]
pub(crate) struct IdRule {
    into: NameId,
    from: From,
    texts: Names,
}

#[derive(Debug)]
enum From {
    Position,
    Template(Template),
}

impl IdRule {
    /// Reads `[id]`; none where the table is empty.
    pub(crate) fn from_settings(section: &mut Section, names: &mut Names) -> Option<IdRule> {
        let from = section.text("from");
        let field = section.text("field");
        let template = section.text("template");
        let into = names.intern(&section.text_or("into", "id"));
        let given = [from.is_some(), field.is_some(), template.is_some()].iter().filter(|is| **is).count();
        if given > 1 {
            section.problem("from", "from, field and template exclude each other");
            return None;
        }
        let from = match (from, field, template) {
            (Some(word), ..) if word == "position" => From::Position,
            (Some(word), ..) => {
                section.problem(
                    "from",
                    format!("is {word:?}, allowed is \"position\"; or give field or template"),
                );
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
            _ => return None,
        };
        Some(IdRule { into, from, texts: names.clone() })
    }

    /// Whether the id is the document's place: the caller then makes it.
    pub(crate) fn is_position(&self) -> bool {
        matches!(self.from, From::Position)
    }

    /// Sets the id; `position` is the text of the document's place, in which the name of a file may hold a quote.
    pub(crate) fn edit(&self, draft: &mut Draft<'_>, position: &str) -> Verdict {
        match &self.from {
            From::Position => draft.set(self.into, |made| {
                crate::model::json::write_string(made.bytes(), position);
            }),
            From::Template(template) => {
                if let Some(field) = template.required().find(|field| draft.value_not_null(*field).is_none())
                {
                    return Verdict::Reject(format!("id: field {:?} is missing", self.texts.text(field)));
                }
                // An id that is there already as text stays as it is, byte for byte.
                let same = template.single_field() == Some(self.into)
                    && draft.value(self.into).is_some_and(|value| value.starts_with(b"\""));
                if !same {
                    draft.set(self.into, |made| template.write(made));
                }
            }
        }
        Verdict::Keep
    }
}
