//! `remove = ["a", "b"]`: takes fields away, with all their duplicates.

use crate::model::settings::{Setting, Value};
use crate::transform::names::{NameId, Names};
use crate::transform::{Draft, Step, Verdict};

#[derive(Debug)]
struct Remove {
    fields: Vec<NameId>,
}

pub(super) fn make(setting: &Setting, names: &mut Names) -> Result<Box<dyn Step>, String> {
    Ok(Box::new(Remove { fields: field_list(setting, names)? }))
}

/// A list of field names.
pub(super) fn field_list(setting: &Setting, names: &mut Names) -> Result<Vec<NameId>, String> {
    let wrong = || format!("must be a list of field names such as [\"a\", \"b\"], found {}", setting.value);
    let Value::List(entries) = &setting.value else { return Err(wrong()) };
    entries
        .iter()
        .map(|entry| match &entry.value {
            Value::Text(name) => Ok(names.intern(name)),
            _ => Err(wrong()),
        })
        .collect()
}

impl Step for Remove {
    fn edit(&self, draft: &mut Draft<'_>) -> Verdict {
        for field in &self.fields {
            draft.remove(*field);
        }
        Verdict::Keep
    }
}
