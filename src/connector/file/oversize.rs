//! A record that is larger than a document may be: passed over piece by piece, remembered only by its extent.

use crate::connector::file::format::is_white;
use crate::connector::file::split::BYTE_ORDER_MARK;
use crate::model::batch::BatchLimit;
use crate::model::reject::{Reject, RejectedBy};

/// White space around a document that is held together with it. A document in a line with more than that is rejected,
/// because without a bound a line of blanks would have to be held in memory.
pub(super) const SLACK: usize = 4 * 1024;

/// The longest record that is held at once, its line end included.
pub(super) fn longest_record(limit: &BatchLimit) -> usize {
    limit.max_document.saturating_add(SLACK + 1)
}

/// What is known of a record whose bytes are gone.
#[derive(Debug)]
pub(super) struct Oversize {
    at: u64,
    /// Places of the first byte that is not white space, and after the last.
    text: Option<(u64, u64)>,
}

impl Oversize {
    /// The record at `at`, of which nothing has been seen.
    pub(super) fn new(at: u64) -> Self {
        Self { at, text: None }
    }

    /// Takes note of the record's next bytes, which stand at `place`.
    pub(super) fn note(&mut self, bytes: &[u8], place: u64) {
        let mark = if place == 0 && bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let text = &bytes[mark..];
        let Some(first) = text.iter().position(|byte| !is_white(*byte)) else { return };
        let white_behind = text.iter().rev().take_while(|byte| is_white(**byte)).count();
        let begin = self.text.map_or(place + (mark + first) as u64, |(begin, _)| begin);
        self.text = Some((begin, place + (bytes.len() - white_behind) as u64));
    }

    /// The reject, or nothing if the record was blank.
    pub(super) fn reject(&self, max_document: usize, ordinal: u32) -> Option<Reject> {
        let (begin, end) = self.text?;
        let reason = if end - begin > max_document as u64 {
            format!("larger than max_document ({max_document} bytes)")
        } else {
            format!("stands among more than {SLACK} bytes of white space")
        };
        Some(Reject {
            by: RejectedBy::Read,
            reason,
            at: self.at,
            ordinal,
            offset: None,
            bytes: Vec::new(),
            length: end - begin,
        })
    }
}
