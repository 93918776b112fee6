//! `keep = ["a", "b"]`: takes every field away but these; their order stays the document's.

use crate::model::settings::Setting;
use crate::transform::names::{NameId, Names};
use crate::transform::remove::field_list;
use crate::transform::{Draft, Step, Verdict};

#[derive(Debug)]
struct Keep {
    fields: Vec<NameId>,
}

pub(super) fn make(setting: &Setting, names: &mut Names) -> Result<Box<dyn Step>, String> {
    Ok(Box::new(Keep { fields: field_list(setting, names)? }))
}

impl Step for Keep {
    fn edit(&self, draft: &mut Draft<'_>) -> Verdict {
        draft.keep(&self.fields);
        Verdict::Keep
    }
}
