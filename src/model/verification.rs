//! What a comparison of source and target has found.

use crate::model::units::Counted;

/// What `verify` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Documents that the source, after transform, should have put into the target.
    pub source_documents: u64,
    /// Documents in the target.
    pub target_documents: u64,
    /// Order-independent sum of the content hashes of the source's documents.
    pub source_sum: u128,
    /// The same of the target's.
    pub target_sum: u128,
    /// The first of what is inconsistent in the target itself.
    pub target_inconsistent: Vec<String>,
    /// How much of it there is.
    pub target_inconsistencies: u64,
    /// Source documents that share a (key, id) with one of another partition and differ from it, where the order of partitions does not count.
    pub ambiguous: u64,
    /// Whether counts and sums agree, and the target is consistent.
    pub equal: bool,
    /// Source documents that a step does not keep.
    pub dropped: u64,
    /// Source documents that are refused.
    pub rejected: u64,
}

impl Verification {
    /// That content may differ because ids occur in several partitions, where they do.
    pub fn ambiguity(&self) -> Option<String> {
        let documents = Counted(self.ambiguous, "document");
        let have = match self.ambiguous {
            0 => return None,
            1 => "has",
            _ => "have",
        };
        Some(format!(
            "{documents} {have} an id that another partition holds with other content, and which of them the target keeps is a matter of timing"
        ))
    }
}
