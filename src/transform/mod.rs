//! What happens to a document between its source and its target.
//!
//! A [`Chain`] is a list of [`Step`]s that edit one [`Draft`] of a document in turn; the draft is rendered once, after
//! the last. Steps are pure and know nothing of batches: the pipeline runs chains on a pool of threads. What no step touches comes out
//! byte for byte.
//!
//! To add a step: one file with its settings and its `edit`, and one line in [`STEPS`].

mod cast;
mod chain;
mod default;
mod draft;
mod expression;
mod filter;
mod id;
mod keep;
mod names;
mod remove;
mod rename;
mod set;
mod template;

pub use chain::{Chain, Scratch, Transformed};
pub use draft::Draft;

use crate::model::settings::Setting;
use names::Names;

/// What a step says of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on with it.
    Keep,
    /// It shall not reach the target, and that is as wanted.
    Drop,
    /// It cannot be processed: the reason, which names fields and never values.
    Reject(String),
}

/// One edit. Pure: the same document always gets the same verdict and the same edit.
pub trait Step: Send + Sync + std::fmt::Debug {
    /// Edits the draft.
    fn edit(&self, draft: &mut Draft<'_>) -> Verdict;
}

/// Builds a step from its setting, interning the names it needs; the error says what is wrong.
type MakeStep = fn(&Setting, &mut Names) -> Result<Box<dyn Step>, String>;

/// One kind of step.
pub struct StepKind {
    /// The key in a `[[transform]]` table.
    pub name: &'static str,
    /// One line for `docferry list transforms`.
    pub about: &'static str,
    make: MakeStep,
}

/// Every kind of step.
pub const STEPS: &[StepKind] = &[
    StepKind {
        name: "rename",
        about: "gives fields other names: rename = { old = \"new\" }",
        make: rename::make,
    },
    StepKind { name: "remove", about: "takes fields away: remove = [\"a\", \"b\"]", make: remove::make },
    StepKind { name: "keep", about: "takes every other field away: keep = [\"a\", \"b\"]", make: keep::make },
    StepKind {
        name: "set",
        about: "sets fields to constants or templates: set = { label = \"{city}-{status}\" }",
        make: set::make,
    },
    StepKind {
        name: "cast",
        about: "changes types: cast = { quantity = \"integer\" } (integer, number, boolean, text)",
        make: cast::make,
    },
    StepKind {
        name: "filter",
        about: "keeps documents for which an expression holds: filter = \"status != 'cancelled'\"",
        make: filter::make,
    },
    StepKind {
        name: "default",
        about: "fills fields that are missing or null: default = { priority = \"low\" }",
        make: default::make,
    },
];
