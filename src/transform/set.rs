//! `set = { label = "{city}-{status}", source = 7 }`: constants, and templates over the fields as they are at this step.
//!
//! A template that is one field and nothing else (`"{total}"`) copies the field's value with its type. A field that a template
//! needs and the document lacks rejects the document: `{city:-unknown}` says what to take instead.

use crate::model::json::write_string;
use crate::model::settings::{Setting, Value};
use crate::transform::names::{NameId, Names};
use crate::transform::template::Template;
use crate::transform::{Draft, Step, Verdict};

#[derive(Debug)]
struct Set {
    fields: Vec<(NameId, Content)>,
    /// Name of each field that a template needs, for messages.
    texts: Names,
}

#[derive(Debug)]
enum Content {
    /// JSON text.
    Constant(Vec<u8>),
    Copy(NameId),
    Template(Template),
}

pub(super) fn make(setting: &Setting, names: &mut Names) -> Result<Box<dyn Step>, String> {
    let Value::Table(entries) = &setting.value else {
        return Err(format!(
            "must be a table such as {{ label = \"{{city}}\" }}, found {}",
            setting.value.kind()
        ));
    };
    let mut fields = Vec::new();
    for (name, setting) in entries {
        let content = match &setting.value {
            Value::Text(text) => {
                let template = Template::compile(text, names)?;
                match template.single_field() {
                    Some(field) => Content::Copy(field),
                    None => Content::Template(template),
                }
            }
            other => Content::Constant(constant(other)?),
        };
        fields.push((names.intern(name), content));
    }
    Ok(Box::new(Set { fields, texts: names.clone() }))
}

/// A setting's value as JSON text.
pub(super) fn constant(value: &Value) -> Result<Vec<u8>, String> {
    let mut json = Vec::new();
    match value {
        Value::Text(text) => write_string(&mut json, text),
        Value::Integer(number) => json.extend_from_slice(number.to_string().as_bytes()),
        Value::Float(number) if number.is_finite() => {
            json = serde_json::to_vec(number).map_err(|error| error.to_string())?;
        }
        Value::Float(_) => return Err("JSON has no number for infinity or nan".to_owned()),
        Value::Boolean(flag) => json.extend_from_slice(flag.to_string().as_bytes()),
        Value::List(entries) => {
            json.push(b'[');
            for (i, entry) in entries.iter().enumerate() {
                json.extend_from_slice(if i == 0 { b"" } else { b"," });
                json.extend_from_slice(&constant(&entry.value)?);
            }
            json.push(b']');
        }
        Value::Table(entries) => {
            json.push(b'{');
            for (i, (name, entry)) in entries.iter().enumerate() {
                json.extend_from_slice(if i == 0 { b"" } else { b"," });
                write_string(&mut json, name);
                json.push(b':');
                json.extend_from_slice(&constant(&entry.value)?);
            }
            json.push(b'}');
        }
    }
    Ok(json)
}

impl Step for Set {
    fn edit(&self, draft: &mut Draft<'_>) -> Verdict {
        for (name, content) in &self.fields {
            match content {
                Content::Constant(json) => draft.set(*name, |made| made.push(json)),
                Content::Copy(field) => {
                    if draft.value(*field).is_none() {
                        return self.absent(*name, *field, draft);
                    }
                    draft.set(*name, |made| made.copy_field(*field, |text| 0..text.len()));
                }
                Content::Template(template) => {
                    if let Some(field) =
                        template.required().find(|field| draft.value_not_null(*field).is_none())
                    {
                        return self.absent(*name, field, draft);
                    }
                    draft.set(*name, |made| template.write(made));
                }
            }
        }
        Verdict::Keep
    }
}

impl Set {
    #[cold]
    fn absent(&self, name: NameId, field: NameId, draft: &Draft<'_>) -> Verdict {
        let absence = draft.absence(field);
        let (name, field) = (self.texts.text(name), self.texts.text(field));
        Verdict::Reject(format!("set {name:?}: field {field:?} {absence}"))
    }
}
