//! Numbers that Cosmos would change, and documents in the form in which Cosmos gives them back.
//!
//! The service keeps every number as an IEEE double and writes it as the shortest text that reads back as the same double. A number is
//! *lossy* when its decimal value differs from that of this text: `9007199254740993` and `1e400` are, `1.10` and `0.1` are not. No number
//! with up to fifteen significant digits is, unless an exponent carries it out of a double's range; so on the hot path a document is only
//! asked whether it holds a longer run of digits, or a digit before an `e`, and hardly any does.
//!
//! All functions take documents that have passed [`json::index`](crate::model::json::index).

use crate::model::json::{compact, compare_numbers, unescape, write_double, write_string};
use std::cmp::Ordering;
use std::ops::Range;

/// Every decimal number with so many significant digits reads back from the shortest text of its double.
const SAFE_DIGITS: usize = 15;

/// A step shorter than a run of more than [`SAFE_DIGITS`] digits and a point: two steps in line fall into each such run.
const STEP: usize = 8;

/// Whether the document may hold a lossy number: never wrong where it says no. Digits inside strings count too.
pub(super) fn may_hold_lossy(document: &[u8]) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() | (byte == b'.');
    let mut before = false;
    for byte in document.iter().step_by(STEP) {
        let now = is_digit(*byte);
        if before & now {
            return true;
        }
        before = now;
    }
    // Without a branch in the loop, so that it compares many bytes at once.
    let exponents = document.iter().zip(document.iter().skip(1));
    exponents.fold(false, |found, (digit, letter)| found | (digit.is_ascii_digit() & (letter | 0x20 == b'e')))
}

/// The document's first lossy number.
pub(super) fn first_lossy(document: &[u8]) -> Option<&str> {
    if !may_hold_lossy(document) {
        return None;
    }
    Tokens::of(document).find_map(|token| match token {
        Token::Number(text) if is_lossy(text) => Some(text),
        _ => None,
    })
}

/// How many lossy numbers the document holds.
pub(super) fn count_lossy(document: &[u8]) -> usize {
    if !may_hold_lossy(document) {
        return 0;
    }
    Tokens::of(document).filter(|token| matches!(token, Token::Number(text) if is_lossy(text))).count()
}

/// The same where the document's long numbers are known ([`Index::long_numbers`](crate::model::json::Index::long_numbers)).
pub(super) fn first_lossy_of<'a>(document: &'a [u8], long_numbers: &[Range<u32>]) -> Option<&'a str> {
    let mut long = long_numbers.iter().filter_map(|place| {
        std::str::from_utf8(document.get(place.start as usize..place.end as usize)?).ok()
    });
    long.find(|text| is_lossy(text))
}

/// Appends the document with its lossy numbers as strings.
pub(super) fn write_lossy_as_strings(document: &[u8], out: &mut Vec<u8>) {
    for token in Tokens::of(document) {
        match token {
            Token::Number(text) if is_lossy(text) => write_string(out, text),
            Token::Number(text) => out.extend_from_slice(text.as_bytes()),
            Token::String(text) | Token::Other(text) => out.extend_from_slice(text),
        }
    }
}

/// Appends the document in the form that two texts of it have in common after one went through Cosmos: numbers as doubles, strings with no
/// escape that is not needed, no white space.
pub(super) fn write_comparable(document: &[u8], out: &mut Vec<u8>) {
    let mut compacted = Vec::with_capacity(document.len());
    compact(document, &mut compacted);
    for token in Tokens::of(&compacted) {
        match token {
            Token::Number(text) => match text.parse::<f64>() {
                // A negative zero is written as zero by some of those who pass it on.
                Ok(number) if number.is_finite() => {
                    write_double(out, if number == 0.0 { 0.0 } else { number });
                }
                _ => out.extend_from_slice(text.as_bytes()),
            },
            Token::String([b'"', inner @ .., b'"']) => write_string(out, &unescape(inner)),
            Token::String(text) | Token::Other(text) => out.extend_from_slice(text),
        }
    }
}

/// Whether the number has another value once it was a double.
fn is_lossy(text: &str) -> bool {
    let digits =
        text.bytes().take_while(|byte| !matches!(byte, b'e' | b'E')).filter(u8::is_ascii_digit).count();
    if digits <= SAFE_DIGITS && digits + 2 >= text.len() {
        // A sign and a point aside, it is digits: no exponent.
        return false;
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => differs(text, number),
        _ => true,
    }
}

/// Whether the text is another number than the shortest text of this double. Of two that are as short and as near that with the even last digit is
/// meant, as everywhere but in `std::fmt`: 600000000000000.25 is written 600000000000000.2.
fn differs(text: &str, number: f64) -> bool {
    /// Every whole number up to this is a double.
    const WHOLE: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;
    if number.abs() < WHOLE && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return false;
    }
    /// That of -2.2250738585072014e-308.
    const LONGEST: usize = 24;
    let mut written = [0; LONGEST];
    let mut rest = &mut written[..];
    if serde_json::to_writer(&mut rest, &number).is_err() {
        return true;
    }
    let length = LONGEST - rest.len();
    // Most long numbers were written by someone who wrote the shortest text.
    let shortest = &written[..length];
    shortest != text.as_bytes() && compare_numbers(text.as_bytes(), shortest) != Ordering::Equal
}

enum Token<'a> {
    Number(&'a str),
    /// Quotes included.
    String(&'a [u8]),
    /// Names of values, punctuation and white space.
    Other(&'a [u8]),
}

/// A document's tokens; together they are the document.
struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    fn of(document: &'a [u8]) -> Self {
        Self { rest: document }
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        token
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let is_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-');
        match *self.rest.first()? {
            b'"' => {
                let length = string_length(self.rest);
                Some(Token::String(self.take(length)))
            }
            byte if is_number(&byte) => {
                let ends = |byte: &u8| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let length = self.rest.iter().position(ends).unwrap_or(self.rest.len());
                Some(Token::Number(std::str::from_utf8(self.take(length)).unwrap_or_default()))
            }
            _ => {
                let ends = |byte: &u8| *byte == b'"' || is_number(byte);
                let length = self.rest.iter().position(ends).unwrap_or(self.rest.len());
                Some(Token::Other(self.take(length)))
            }
        }
    }
}

/// The length of the string at the beginning of `text`, quotes included.
fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &text[at..]) {
        at += found + 1;
        if text[at - 1] == b'"' {
            return at;
        }
        at = (at + 1).min(text.len());
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::json::Index;
    use proptest::prelude::*;

    fn comparable(document: &str) -> String {
        let mut out = Vec::new();
        write_comparable(document.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Without and with what the validating pass noted.
    fn both(document: &str) -> [Option<&str>; 2] {
        let mut index = Index::default();
        crate::model::json::index(document.as_bytes(), &mut index).unwrap();
        [first_lossy(document.as_bytes()), first_lossy_of(document.as_bytes(), &index.long_numbers)]
    }

    #[test]
    fn a_number_is_lossy_when_its_value_changes() {
        for number in [
            "9007199254740993",
            "1e400",
            "-1E+400",
            "1e-400",
            "0.1000000000000000055511151231257827",
            "123456789012345678",
            "600000000000000.3",
            "1e99999999999999999999",
            "4.9e-325",
            "0.01e-9223372036854775808",
            "10e9223372036854775807",
        ] {
            let document = format!(r#"{{"a":[{number}]}}"#);
            assert_eq!(both(&document), [Some(number); 2]);
        }
        for number in [
            "0",
            "-0",
            "-0.0",
            "1.10",
            "0.1",
            "1e3",
            "1E-7",
            "9007199254740992",
            "1e308",
            "5e-324",
            "2100.607537417505",
            "100000000000000000000000",
            "1.0000000000000000000",
            "0.30000000000000004",
            "600000000000000.2",
            "0e999",
            "123456789012345",
        ] {
            let document = format!(r#"{{"a":[{number}]}}"#);
            assert_eq!(both(&document), [None; 2], "{number}");
        }
        assert_eq!(both(r#"{"9007199254740993":"1e400","b\"9007199254740993":1}"#), [None; 2], "in strings");
    }

    #[test]
    fn lossy_numbers_become_strings_and_nothing_else_changes() {
        let mut out = Vec::new();
        let document = br#"{ "a": 9007199254740993, "b":[1.10, -1e400 ,"9007199254740993\""],"c":true}"#;
        write_lossy_as_strings(document, &mut out);
        let expected = r#"{ "a": "9007199254740993", "b":[1.10, "-1e400" ,"9007199254740993\""],"c":true}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn two_texts_of_one_value_compare_as_equal() {
        assert_eq!(
            comparable("{ \"a\" : [1.10, 1e3,\n-0.0] , \"\\u0041\\/\":\"\\u00e9\\n\"}"),
            "{\"a\":[1.1,1000,0],\"A/\":\"é\\n\"}"
        );
        assert_ne!(comparable(r#"{"a":1}"#), comparable(r#"{"a":"1"}"#));
    }

    proptest! {
        #[test]
        fn what_is_not_lossy_reads_back_as_the_same_decimal(text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?") {
            let document = format!(r#"{{"a":{text}}}"#);
            let [slow, fast] = both(&document);
            prop_assert_eq!(slow, fast);
            if slow.is_none() {
                let number: f64 = text.parse().unwrap();
                prop_assert!(number.is_finite());
                let shortest = serde_json::to_string(&number).unwrap();
                prop_assert_eq!(compare_numbers(text.as_bytes(), shortest.as_bytes()), Ordering::Equal);
            }
        }

        #[test]
        fn doubles_are_never_lossy(number in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL) {
            let shortest = serde_json::to_string(&number).unwrap();
            let other = shortest.replace('e', "E");
            let document = format!(r#"{{"a":{shortest},"b":{other}}}"#);
            prop_assert_eq!(first_lossy(document.as_bytes()), None);
        }
    }
}
