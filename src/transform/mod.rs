//! Steps that edit documents.

use crate::model::settings::Section;

/// The kinds of step, each with one line for `docferry list transforms`.
pub const STEPS: &[(&str, &str)] = &[];

/// The steps of a strategy, ready to run.
#[derive(Debug)]
pub struct Chain {}

impl Chain {
    /// Reads the id rule (`[id]`) and the steps (`[[transform]]`) of a strategy. Problems go into the section.
    pub fn from_settings(strategy: &mut Section) -> Option<Chain> {
        let _ = strategy.raw("id");
        let _ = strategy.raw("transform");
        Some(Chain {})
    }
}
