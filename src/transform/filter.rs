//! `filter = "status != 'cancelled'"`: documents for which the expression does not hold are dropped.

use crate::model::settings::{Setting, Value};
use crate::transform::expression::Expression;
use crate::transform::names::Names;
use crate::transform::{Draft, Step, Verdict};

#[derive(Debug)]
struct Filter {
    expression: Expression,
}

pub(super) fn make(setting: &Setting, names: &mut Names) -> Result<Box<dyn Step>, String> {
    let Value::Text(text) = &setting.value else {
        return Err(format!(
            "must be an expression such as \"status != 'cancelled'\", found {}",
            setting.value.kind()
        ));
    };
    Ok(Box::new(Filter { expression: Expression::compile(text, names)? }))
}

impl Step for Filter {
    fn edit(&self, draft: &mut Draft<'_>) -> Verdict {
        if self.expression.holds(draft) { Verdict::Keep } else { Verdict::Drop }
    }
}
