//! `default = { priority = "low" }`: fills fields that are missing or null with constants.

use crate::model::settings::{Setting, Value};
use crate::transform::names::{NameId, Names};
use crate::transform::set::constant;
use crate::transform::{Draft, Step, Verdict};

#[derive(Debug)]
struct Default {
    fields: Vec<(NameId, Vec<u8>)>,
}

pub(super) fn make(setting: &Setting, names: &mut Names) -> Result<Box<dyn Step>, String> {
    let Value::Table(entries) = &setting.value else {
        return Err(format!(
            "must be a table such as {{ priority = \"low\" }}, found {}",
            setting.value.kind()
        ));
    };
    let fields = entries.iter().map(|(name, setting)| Ok((names.intern(name), constant(&setting.value)?)));
    Ok(Box::new(Default { fields: fields.collect::<Result<_, String>>()? }))
}

impl Step for Default {
    fn edit(&self, draft: &mut Draft<'_>) -> Verdict {
        for (name, json) in &self.fields {
            if draft.value_not_null(*name).is_none() {
                draft.set(*name, |made| made.push(json));
            }
        }
        Verdict::Keep
    }
}
