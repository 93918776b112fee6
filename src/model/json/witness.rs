//! Those who hear what the scanner passes over: the one pass over a document serves everyone who wants to know something of it.

use std::ops::Range;

/// Hears what a scanner passes over, for those who want to know more than that it is well-formed.
pub(super) trait Witness {
    /// The name of a field, at any level.
    #[inline(always)]
    fn name(&mut self) {}

    /// White space between tokens.
    #[inline(always)]
    fn gap(&mut self, _from: usize, _to: usize) {}

    /// A number.
    #[inline(always)]
    fn number(&mut self, _number: Number<'_>) {}

    /// So many levels of nesting, the outermost object not counted.
    #[inline(always)]
    fn level(&mut self, _depth: usize) {}
}

/// A number that was passed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number<'a> {
    pub(super) text: &'a [u8],
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) has_exponent: bool,
}

/// Nobody listens.
impl Witness for () {}

/// What an [`Index`](crate::model::json::Index) remembers besides the fields.
pub(super) struct Notes<'a> {
    pub(super) long_numbers: &'a mut Vec<Range<u32>>,
    pub(super) deepest: usize,
}

/// A number of so many characters has at most so many digits, and every decimal of fifteen digits is told from its neighbours by a double.
const SHORT_NUMBER: usize = 15;

impl Witness for Notes<'_> {
    #[inline(always)]
    fn number(&mut self, number: Number<'_>) {
        if number.has_exponent || number.text.len() > SHORT_NUMBER {
            self.long_numbers.push(number.from as u32..number.to as u32);
        }
    }

    #[inline(always)]
    fn level(&mut self, depth: usize) {
        self.deepest = self.deepest.max(depth);
    }
}
