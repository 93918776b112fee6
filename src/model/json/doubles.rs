//! A document as a database keeps it that knows no numbers but doubles.
//!
//! Cosmos keeps `1.10` as 1.1 and 9007199254740993 as 9007199254740992, and white space between tokens not at all. Most documents have
//! neither such a number nor such a space: the one validating pass ([`Doubles`]) notes the few places that must change, counts the
//! properties and notes the top-level fields, and what is kept is then copied in a few pieces. Most numbers are the shortest text of their
//! double already: whole numbers and plain fractions of up to fifteen digits are told by their look, since every
//! decimal of so many digits survives a double.

use crate::model::json::scan::{Field, Malformed, Scanner, check_text};
use crate::model::json::witness::{Number, Witness};
use std::io::Write;
use std::ops::Range;

/// A number that no double holds, such as 1e400; where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange(pub usize);

/// Every decimal of so many digits is told from its neighbours by a double.
const DIGITS: usize = 15;

/// A document that was passed over. All places are those in the whole text that it is a part of. Reused from document to document.
#[derive(Clone, Debug, Default)]
pub struct Doubles {
    /// The top-level fields, in the order of the text.
    pub fields: Vec<Field>,
    start: u32,
    end: u32,
    heard: Heard,
}

/// What was heard of a document besides its top-level fields.
#[derive(Clone, Debug, Default)]
struct Heard {
    properties: u32,
    /// White space, and numbers that are not the shortest text of their double; in the order of the text.
    changes: Vec<Range<u32>>,
}

impl Witness for &mut Heard {
    #[inline(always)]
    fn name(&mut self) {
        self.properties += 1;
    }

    #[inline(always)]
    fn gap(&mut self, from: usize, to: usize) {
        self.changes.push(from as u32..to as u32);
    }

    #[inline(always)]
    fn number(&mut self, number: Number<'_>) {
        if !is_shortest(number.text) {
            self.changes.push(number.from as u32..number.to as u32);
        }
    }
}

impl Doubles {
    /// Passes over a text that is one JSON object in UTF-8, with nothing but white space around it.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.clear();
        check_text(bytes)?;
        let mut around = Scanner::new(bytes, 0);
        around.white_space();
        around.at = self.pass(bytes, around.at)?;
        around.white_space();
        if around.at != bytes.len() {
            return around.fail("more after the end of the document");
        }
        Ok(())
    }

    /// Passes over the document that begins at `at` of a checked text. Returns where it ends.
    pub(super) fn pass(&mut self, bytes: &[u8], at: usize) -> Result<usize, Malformed> {
        self.clear();
        let mut scanner = Scanner::heard_by(bytes, at, &mut self.heard);
        while scanner.has_field(self.fields.is_empty())? {
            self.fields.push(scanner.field()?);
        }
        (self.start, self.end) = (at as u32, scanner.at as u32);
        Ok(scanner.at)
    }

    pub(super) fn clear(&mut self) {
        self.fields.clear();
        self.heard.properties = 0;
        self.heard.changes.clear();
        (self.start, self.end) = (0, 0);
    }

    /// Nothing was passed over.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Where it lies in the text.
    pub fn place(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// How many properties it has, at all levels.
    pub fn properties(&self) -> u32 {
        self.heard.properties
    }

    /// Appends a part of it (or all) without white space and with every number as the shortest text of its double. `bytes` is the text that was
    /// passed over.
    pub fn write(&self, bytes: &[u8], part: Range<usize>, out: &mut Vec<u8>) -> Result<(), OutOfRange> {
        let changes = &self.heard.changes;
        let first = changes.partition_point(|change| (change.start as usize) < part.start);
        let mut from = part.start;
        for change in &changes[first..] {
            let (start, end) = (change.start as usize, change.end as usize);
            if start >= part.end {
                break;
            }
            out.extend_from_slice(&bytes[from..start]);
            if matches!(bytes[start], b'-' | b'0'..=b'9') {
                write_shortest(&bytes[start..end], out).ok_or(OutOfRange(start))?;
            }
            from = end;
        }
        out.extend_from_slice(&bytes[from..part.end]);
        Ok(())
    }
}

/// Appends the shortest text of a number's double; `None` if there is no such double. Often only last zeros have to go.
fn write_shortest(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let zeros = text.iter().rev().take_while(|byte| **byte == b'0').count();
    let rest = &text[..text.len() - zeros];
    let rest = rest.strip_suffix(b".").unwrap_or(rest);
    if text.contains(&b'.') && text.len() <= DIGITS && is_shortest(rest) {
        out.extend_from_slice(rest);
    } else {
        write_double(out, double(text)?);
    }
    Some(())
}

fn double(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// Whether a number is seen at once to be the shortest text of its double.
#[inline]
fn is_shortest(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.len() > DIGITS || digits == b"0" {
        return text == b"0";
    }
    match digits.iter().position(|byte| !byte.is_ascii_digit()) {
        None => true,
        // Below a millionth the shortest text has an exponent; a last zero is not the shortest.
        Some(dot) => {
            let fraction = &digits[dot + 1..];
            let is_plain = digits[dot] == b'.' && fraction.iter().all(u8::is_ascii_digit);
            is_plain && fraction.last() != Some(&b'0') && !digits.starts_with(b"0.00000")
        }
    }
}

/// Appends the shortest text that is read back as `number`; of two that are as short and as near that with the even last digit.
pub fn write_double(out: &mut Vec<u8>, number: f64) {
    // Writing to a Vec does not fail.
    let from = out.len();
    let _ = serde_json::to_writer(&mut *out, &number);
    if !out[from..].contains(&b'e') {
        let is_whole = out.ends_with(b".0");
        out.truncate(out.len() - if is_whole { 2 } else { 0 });
        return;
    }
    // `std::fmt` may take the odd one of two, but there are two only where the text above has no exponent.
    out.truncate(from);
    let is_plain = (1e-6..1e21).contains(&number.abs());
    let _ = if is_plain { write!(out, "{number}") } else { write!(out, "{number:e}") };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(text: &str) -> Result<(String, u32), OutOfRange> {
        let (mut document, mut out) = (Doubles::default(), Vec::new());
        document.read(text.as_bytes()).unwrap();
        document.write(text.as_bytes(), document.place(), &mut out)?;
        Ok((String::from_utf8(out).unwrap(), document.properties()))
    }

    #[test]
    fn numbers_become_the_text_of_their_doubles() {
        let (text, properties) = kept(
            " { \"a\" : [1.10, -0, 0, 9007199254740993, 1E3, 0.1],\n\"b 1.10\" : {\"c\": 1e-7, \"d\\\"\": 1e21 } } ",
        )
        .unwrap();
        assert_eq!(text, r#"{"a":[1.1,-0,0,9007199254740992,1000,0.1],"b 1.10":{"c":1e-7,"d\"":1e21}}"#);
        assert_eq!(properties, 4);
        // Two are as short and as near.
        assert_eq!(kept(r#"{"a":600000000000000.3}"#).unwrap().0, r#"{"a":600000000000000.2}"#);
        assert_eq!(kept(r#"{"a":1e400}"#), Err(OutOfRange(5)));
        assert!(Doubles::default().read(b"{} {}").is_err());
    }

    #[test]
    fn a_part_is_written_by_itself() {
        let text = br#"{"a":1.0, "b" : 2.50, "c":[ ]}"#;
        let mut document = Doubles::default();
        document.read(text).unwrap();
        let mut parts = Vec::new();
        for field in document.fields.iter().rev() {
            document
                .write(text, field.name_start as usize - 1..field.value_end as usize, &mut parts)
                .unwrap();
        }
        assert_eq!(parts, br#""c":[]"b":2.5"a":1"#);
    }

    proptest! {
        #[test]
        fn last_zeros_go_as_they_would_by_parsing(text in "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{0,5}0{1,5})?([eE]-?[0-9]0?)?") {
            let (mut quickly, mut slowly) = (Vec::new(), Vec::new());
            write_shortest(text.as_bytes(), &mut quickly).unwrap();
            write_double(&mut slowly, double(text.as_bytes()).unwrap());
            prop_assert_eq!(String::from_utf8(quickly).unwrap(), String::from_utf8(slowly).unwrap(), "{}", text);
        }

        /// What is left as it was is exactly what would have been written.
        #[test]
        fn a_number_that_looks_shortest_is(text in "-?(0|[1-9][0-9]{0,16})(\\.[0-9]{1,16})?") {
            if is_shortest(text.as_bytes()) {
                let mut out = Vec::new();
                write_double(&mut out, double(text.as_bytes()).unwrap());
                prop_assert_eq!(String::from_utf8(out).unwrap(), text);
            }
        }

        #[test]
        fn doubles_are_read_back(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
            let mut out = Vec::new();
            write_double(&mut out, number);
            prop_assert_eq!(double(&out).unwrap().to_bits(), number.to_bits());
            let text = format!("{{\"a\":{number:?}}}");
            let (kept, _) = kept(&text).unwrap();
            let value: serde_json::Value = serde_json::from_str(&kept).unwrap();
            prop_assert_eq!(value["a"].as_f64().unwrap(), number);
        }
    }
}
