//! One text for all spellings of one value, to be hashed.
//!
//! Two texts say the same when they differ in nothing but the order of members, white space, escapes, and the way in which a number of the same
//! decimal value is written. Their canonical text is one: members in the order of their names, of duplicates the last, no white space, no escape that is not
//! needed, and numbers as ECMAScript writes them, but with all of their digits. For numbers that a double holds exactly this is RFC 8785.

use crate::model::json::compare::write_number;
use crate::model::json::scan::{Malformed, Scanner};
use crate::model::json::text::{unescape_exact, write_string};
use std::ops::Range;

/// Appends the canonical text of a value that has passed [`index`](crate::model::json::index()) or lies in such a document; `without` names a member of the value
/// itself that is left out.
pub fn write_canonical(value: &[u8], without: Option<&str>, out: &mut Vec<u8>) {
    let mut scanner = Scanner::new(value, 0);
    scanner.white_space();
    let written = match scanner.peek() {
        Some(b'{') => write_object(&mut scanner, without, out),
        _ => write_value(&mut scanner, out),
    };
    if written.is_err() {
        // It has passed once, so it passes again; were it not so, the rest is copied as it is.
        out.extend_from_slice(&value[scanner.at..]);
    }
}

fn write_value(scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    match scanner.peek() {
        Some(b'{') => write_object(scanner, None, out),
        Some(b'[') => write_array(scanner, out),
        _ => {
            let from = scanner.at;
            scanner.value(0)?;
            write_scalar(&scanner.bytes[from..scanner.at], out);
            Ok(())
        }
    }
}

fn write_array(scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    out.push(b'[');
    scanner.at += 1;
    scanner.white_space();
    let mut is_end = scanner.peek() == Some(b']');
    while !is_end {
        write_value(scanner, out)?;
        scanner.white_space();
        is_end = scanner.peek() != Some(b',');
        if !is_end {
            out.push(b',');
            scanner.at += 1;
            scanner.white_space();
        }
    }
    scanner.at += 1;
    out.push(b']');
    Ok(())
}

/// A member as it was written: its name, and the whole.
type Member = (Range<usize>, Range<usize>);

/// Members are written one behind the other, and put in order when all of them are there.
fn write_object(
    scanner: &mut Scanner<'_>,
    without: Option<&str>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let start = out.len();
    let mut left_out = Vec::new();
    without.into_iter().for_each(|name| write_string(&mut left_out, name));
    let mut members: Vec<Member> = Vec::new();
    let mut is_first = true;
    while scanner.has_field(is_first)? {
        is_first = false;
        let (from, name_from) = (out.len(), scanner.at);
        let (name_end, _) = scanner.key()?;
        write_scalar(&scanner.bytes[name_from..=name_end], out);
        let name = from - start..out.len() - start;
        out.push(b':');
        write_value(scanner, out)?;
        if out[from..].starts_with(&left_out) && name.len() == left_out.len() {
            out.truncate(from);
        } else {
            members.push((name, from - start..out.len() - start));
        }
    }
    let text = out.split_off(start);
    // Stable, so that of equal names the last stays the last.
    members.sort_by(|one, other| text[one.0.clone()].cmp(&text[other.0.clone()]));
    out.push(b'{');
    for (number, (name, whole)) in members.iter().enumerate() {
        let next = members.get(number + 1);
        if next.is_some_and(|(next, _)| text[next.clone()] == text[name.clone()]) {
            continue;
        }
        if out.len() > start + 1 {
            out.push(b',');
        }
        out.extend_from_slice(&text[whole.clone()]);
    }
    out.push(b'}');
    Ok(())
}

fn write_scalar(text: &[u8], out: &mut Vec<u8>) {
    match text {
        [b'"', inner @ .., b'"'] => match unescape_exact(inner) {
            Some(characters) => write_string(out, &characters),
            // Half a surrogate pair has no characters, and two of them must not become one.
            None => out.extend_from_slice(text),
        },
        [b'-' | b'0'..=b'9', ..] => write_number(text, out),
        word => out.extend_from_slice(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> String {
        let mut out = Vec::new();
        write_canonical(text.as_bytes(), None, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn spellings_of_one_value_have_one_text() {
        let expected = r#"{"a":[1,2.5,{"x":null,"y":[]}],"b":"é\n","c":{}}"#;
        assert_eq!(canonical(expected), expected);
        let other =
            r#" { "c" : { }, "b":"\u00e9\u000a","a":[10e-1, 2.50,{"y":[ ],"\u0078":null} ], "c":{} } "#;
        assert_eq!(canonical(other), expected);
        assert_eq!(canonical(r#"{"a":1,"b":2,"a":3}"#), r#"{"a":3,"b":2}"#, "of duplicates the last");
        assert_ne!(canonical(r#"{"a":"\ud800"}"#), canonical(r#"{"a":"\ud801"}"#));
        assert_ne!(canonical(r#"{"a":1}"#), canonical(r#"{"a":"1"}"#));
        assert_eq!(canonical("\"x\""), "\"x\"");
    }

    #[test]
    fn numbers_are_written_as_ecmascript_does_with_all_their_digits() {
        let cases = [
            ("0", "0"),
            ("-0.0", "0"),
            ("1.10", "1.1"),
            ("-12e2", "-1200"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("12.5e-8", "1.25e-7"),
            ("100000000000000000000", "100000000000000000000"),
            ("1000000000000000000000", "1e+21"),
            ("9007199254740993", "9007199254740993"),
            ("1e400", "1e+400"),
            ("123.4560e1", "1234.56"),
        ];
        for (text, expected) in cases {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn a_member_of_the_value_itself_is_left_out() {
        let without = |text: &str| {
            let mut out = Vec::new();
            write_canonical(text.as_bytes(), Some("id"), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(without(r#"{"\u0069d":1,"z":{"id":2},"idx":3,"id":4}"#), r#"{"idx":3,"z":{"id":2}}"#);
        assert_eq!(without(r#"{"id":1}"#), "{}");
        assert_eq!(without("{}"), "{}");
    }

    proptest! {
        #[test]
        fn doubles_are_written_as_their_shortest_text_and_the_canonical_text_stays(number in -1e25..1e25f64) {
            let written = canonical(&format!("{number:e}"));
            prop_assert_eq!(written.parse::<f64>().unwrap(), number);
            prop_assert_eq!(canonical(&written), written);
        }
    }
}
