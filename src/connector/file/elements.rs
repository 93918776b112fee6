//! One JSON array: its elements are the documents, and they are found without parsing them.
//!
//! To know where an element ends it is enough to count brackets outside strings. The scanner is a state machine that may stop
//! after any byte and go on with the next chunk, so an element of any size is passed over once. Whether an element is
//! valid JSON is not asked here: the transform room validates every document, and an element that is not one becomes a
//! reject with its place. Damage *between* elements cannot be passed on that way and ends the reading.
//!
//! Between two elements the state is always "inside the top-level array". So a position needs no more than an offset: reading
//! goes on there with an optional comma, then an element or the closing bracket.

use crate::connector::file::format::is_white;
use crate::connector::file::split::{BYTE_ORDER_MARK, Found};

/// Cuts where an element's brackets close.
#[derive(Debug)]
pub(super) struct Elements {
    place: Place,
    /// Bytes of the pending element that were looked at.
    scanned: usize,
    /// Open brackets of the pending element.
    depth: u64,
}

/// Where in the text the scanner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the top-level bracket.
    Outside,
    /// After the top-level bracket: an element or the end.
    Opened,
    /// After a comma: an element.
    Comma,
    /// After an element: a comma or the end.
    After,
    /// Where an earlier run stopped: a comma, an element or the end.
    Resumed,
    /// In an element, outside its strings.
    Structure,
    /// In an element that is a bare number or word.
    Scalar,
    /// In a string of an element.
    Text,
    /// After a backslash in such a string.
    Escape,
    /// After the top-level array.
    Closed,
}

impl Elements {
    /// For a stream's beginning, or for a place between two elements.
    pub(super) fn new(beginning: bool) -> Self {
        let place = if beginning { Place::Outside } else { Place::Resumed };
        Self { place, scanned: 0, depth: 0 }
    }

    /// See [`Split::find`](crate::connector::file::split::Split::find).
    pub(super) fn find(&mut self, bytes: &[u8], from: usize, ended: bool) -> Found {
        let mut start = from;
        if !matches!(self.place, Place::Structure | Place::Scalar | Place::Text | Place::Escape) {
            start = match self.between(bytes, from, ended) {
                Ok(start) => start,
                Err(found) => return found,
            };
            self.begin(bytes[start]);
        }
        match self.end_of_element(bytes, start) {
            Some(end) => Found::Record { start, document: start..end, next: end },
            None if ended => broken(bytes.len(), "the file ends inside the array: ] is missing"),
            None => Found::More { start },
        }
    }

    /// The bytes of the pending element are gone.
    pub(super) fn forget_pending(&mut self) {
        self.scanned = 0;
    }

    /// Passes over what stands between elements, up to the first byte of one.
    fn between(&mut self, bytes: &[u8], from: usize, ended: bool) -> Result<usize, Found> {
        let mut at = from;
        loop {
            at += bytes[at..].iter().take_while(|byte| is_white(**byte)).count();
            let Some(&byte) = bytes.get(at) else { return Err(self.out_of_bytes(at, ended)) };
            self.place = match (self.place, byte) {
                (Place::Outside, b'[') => Place::Opened,
                (Place::Outside, 0xef) if bytes.len() - at < BYTE_ORDER_MARK.len() && !ended => {
                    return Err(Found::More { start: at });
                }
                (Place::Outside, 0xef) if bytes[at..].starts_with(BYTE_ORDER_MARK) => {
                    at += BYTE_ORDER_MARK.len();
                    continue;
                }
                (Place::Outside, _) => return Err(broken(at, "expected [")),
                (Place::After | Place::Resumed, b',') => Place::Comma,
                (Place::Opened | Place::After | Place::Resumed, b']') => Place::Closed,
                (Place::After, _) => return Err(broken(at, "expected , or ] after an element")),
                (Place::Closed, _) => return Err(broken(at, "more after the end of the array")),
                (_, b',' | b']' | b'}' | b':') => return Err(broken(at, "expected an element")),
                _ => return Ok(at),
            };
            at += 1;
        }
    }

    fn out_of_bytes(&self, at: usize, ended: bool) -> Found {
        match self.place {
            _ if !ended => Found::More { start: at },
            // A file of nothing but white space is an empty source, whatever its format.
            Place::Outside | Place::Closed => Found::End,
            _ => broken(at, "the file ends inside the array: ] is missing"),
        }
    }

    /// Takes note of the first byte of an element.
    fn begin(&mut self, byte: u8) {
        self.depth = u64::from(matches!(byte, b'{' | b'['));
        self.scanned = 1;
        self.place = match byte {
            b'{' | b'[' => Place::Structure,
            b'"' => Place::Text,
            _ => Place::Scalar,
        };
    }

    /// The index behind the element that begins at `start`, if it ends in `bytes`.
    fn end_of_element(&mut self, bytes: &[u8], start: usize) -> Option<usize> {
        let mut at = start + self.scanned;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match self.place {
                Place::Text => self.pass_text(rest),
                Place::Escape => {
                    self.place = Place::Text;
                    1
                }
                Place::Scalar => {
                    let passed = rest.iter().position(|byte| ends_scalar(*byte));
                    if let Some(passed) = passed {
                        self.place = Place::After;
                        return Some(at + passed);
                    }
                    rest.len()
                }
                _ => self.pass_structure(rest),
            };
            if self.place == Place::After {
                return Some(at);
            }
        }
        // A smaller limit than the last one may show less of an element than was scanned already.
        self.scanned = self.scanned.max(at - start);
        None
    }

    fn pass_text(&mut self, rest: &[u8]) -> usize {
        let Some(found) = quote_or_backslash(rest) else { return rest.len() };
        self.place = match (rest[found], self.depth) {
            (b'\\', _) => Place::Escape,
            (_, 0) => Place::After,
            _ => Place::Structure,
        };
        found + 1
    }

    fn pass_structure(&mut self, rest: &[u8]) -> usize {
        for (passed, byte) in rest.iter().enumerate() {
            match byte {
                b'"' => self.place = Place::Text,
                b'{' | b'[' => {
                    self.depth += 1;
                    continue;
                }
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth > 0 {
                        continue;
                    }
                    self.place = Place::After;
                }
                _ => continue,
            }
            return passed + 1;
        }
        rest.len()
    }
}

/// Most strings are shorter than the set-up of a vectorised search is worth: up to 32 bytes are tested eight at a time, by
/// the arithmetic that `model/json/plain.rs` explains. What that looks for will not do here: it stops at control characters too, which are
/// for the validating pass to refuse.
#[inline]
fn quote_or_backslash(rest: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    while at < 32
        && let Some(word) = rest[at..].first_chunk::<8>()
    {
        let word = u64::from_le_bytes(*word);
        let (quote, backslash) = (word ^ (ONES * b'"' as u64), word ^ (ONES * b'\\' as u64));
        let hit = (quote.wrapping_sub(ONES) & !quote | backslash.wrapping_sub(ONES) & !backslash) & HIGHS;
        if hit != 0 {
            return Some(at + (hit.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    memchr::memchr2(b'"', b'\\', &rest[at..]).map(|found| at + found)
}

fn broken(at: usize, reason: &'static str) -> Found {
    Found::Broken { at, reason }
}

/// A bare number or word ends where anything stands that cannot belong to one.
fn ends_scalar(byte: u8) -> bool {
    is_white(byte) || matches!(byte, b',' | b']' | b'}' | b'[' | b'{' | b'"' | b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The elements of `text` when its bytes arrive one by one, and what stands at its end.
    fn one_by_one(text: &[u8], mut elements: Elements) -> (Vec<String>, Found) {
        let (mut found, mut from, mut shown) = (Vec::new(), 0, 0);
        loop {
            match elements.find(&text[..shown], from, shown == text.len()) {
                Found::Record { document, next, .. } => {
                    found.push(String::from_utf8(text[document].to_vec()).unwrap());
                    from = next;
                }
                Found::More { start } => {
                    from = start;
                    shown += 1;
                }
                end => return (found, end),
            }
        }
    }

    #[test]
    fn elements_of_every_kind_are_cut() {
        let text = b"\xef\xbb\xbf\n[ {\"a\":[\"]\\\"\"]} ,1,\"x,\\\\\",\t[[],{}] , null\n]\n";
        let (found, end) = one_by_one(text, Elements::new(true));
        assert_eq!(found, ["{\"a\":[\"]\\\"\"]}", "1", "\"x,\\\\\"", "[[],{}]", "null"]);
        assert_eq!(end, Found::End);
    }

    #[test]
    fn damage_between_elements_names_its_place() {
        let cases: [(&[u8], usize, &str); 9] = [
            (b"{}", 0, "expected ["),
            (b"[1 2]", 3, "expected , or ] after an element"),
            (b"[1,]", 3, "expected an element"),
            (b"[,1]", 1, "expected an element"),
            (b"[1] x", 4, "more after the end of the array"),
            (b"[1", 2, "the file ends inside the array: ] is missing"),
            (b"[{\"a\":[}", 8, "the file ends inside the array: ] is missing"),
            (b"[}", 1, "expected an element"),
            (b"[", 1, "the file ends inside the array: ] is missing"),
        ];
        for (text, at, reason) in cases {
            let (_, end) = one_by_one(text, Elements::new(true));
            assert_eq!(end, Found::Broken { at, reason }, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn reading_goes_on_before_a_comma_an_element_or_the_end() {
        for (text, expected) in [(" ,1,2]", vec!["1", "2"]), ("1,2]", vec!["1", "2"]), (" ] ", vec![])] {
            assert_eq!(
                one_by_one(text.as_bytes(), Elements::new(false)),
                (expected.into_iter().map(Into::into).collect(), Found::End)
            );
        }
        assert_eq!(one_by_one(b" \n", Elements::new(true)), (vec![], Found::End));
    }
}
