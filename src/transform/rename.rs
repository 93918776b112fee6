//! `rename = { old = "new" }`: all pairs at once, so two names can be swapped. A document without the old field stays as it is.

use crate::model::settings::{Setting, Value};
use crate::transform::names::{NameId, Names};
use crate::transform::{Draft, Step, Verdict};

#[derive(Debug)]
struct Rename {
    pairs: Vec<(NameId, NameId)>,
}

pub(super) fn make(setting: &Setting, names: &mut Names) -> Result<Box<dyn Step>, String> {
    let Value::Table(entries) = &setting.value else {
        return Err(format!("must be a table such as {{ old = \"new\" }}, found {}", setting.value.kind()));
    };
    let mut pairs: Vec<(NameId, NameId)> = Vec::new();
    for (from, to) in entries {
        let Value::Text(to) = &to.value else {
            return Err(format!("the new name of {from:?} must be text, found {}", to.value.kind()));
        };
        let pair = (names.intern(from), names.intern(to));
        if pairs.iter().any(|(_, taken)| *taken == pair.1) {
            return Err(format!("two fields would get the name {to:?}"));
        }
        if pair.0 != pair.1 {
            pairs.push(pair);
        }
    }
    Ok(Box::new(Rename { pairs }))
}

impl Step for Rename {
    fn edit(&self, draft: &mut Draft<'_>) -> Verdict {
        draft.rename(&self.pairs);
        Verdict::Keep
    }
}
