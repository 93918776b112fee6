//! A document as a database keeps it that knows no numbers but doubles.
//!
//! Cosmos keeps `1.10` as 1.1 and 9007199254740993 as 9007199254740992, and white space between tokens not at all. Most numbers are
//! the shortest text of their double already: whole numbers and plain fractions of up to fifteen digits are told by their
//! look, since every decimal of so many digits survives a double.

use crate::model::json::scan::Scanner;

/// A number that no double holds, such as 1e400; where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange(pub usize);

/// Every decimal of so many digits is told from its neighbours by a double.
const DIGITS: usize = 15;

/// Appends a document that has passed [`index`](crate::model::json::index), without white space and with every number as the shortest text of
/// its double. Returns how many properties it has, at all levels.
pub fn as_doubles(bytes: &[u8], out: &mut Vec<u8>) -> Result<u32, OutOfRange> {
    let mut scanner = Scanner::new(bytes, 0);
    let (mut from, mut properties) = (0, 0);
    while let Some(byte) = scanner.peek() {
        let start = scanner.at;
        match byte {
            // It has passed once, so it passes again; were it not so, the rest is copied as it is.
            b'"' if scanner.string().is_err() => break,
            b'"' => {}
            b' ' | b'\t' | b'\n' | b'\r' => {
                out.extend_from_slice(&bytes[from..start]);
                scanner.at += 1;
                from = scanner.at;
            }
            b'-' | b'0'..=b'9' => {
                if scanner.number().is_err() {
                    break;
                }
                let text = &bytes[start..scanner.at];
                if !is_shortest(text) {
                    out.extend_from_slice(&bytes[from..start]);
                    write_double(out, double(text).ok_or(OutOfRange(start))?);
                    from = scanner.at;
                }
            }
            _ => {
                properties += u32::from(byte == b':');
                scanner.at += 1;
            }
        }
    }
    out.extend_from_slice(&bytes[from..]);
    Ok(properties)
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

/// Appends the shortest text that is read back as `number`.
pub fn write_double(out: &mut Vec<u8>, number: f64) {
    let size = number.abs();
    let is_plain = number == 0.0 || (1e-6..1e21).contains(&size);
    let text = if is_plain { format!("{number}") } else { format!("{number:e}") };
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(text: &str) -> Result<(String, u32), OutOfRange> {
        let mut out = Vec::new();
        let properties = as_doubles(text.as_bytes(), &mut out)?;
        Ok((String::from_utf8(out).unwrap(), properties))
    }

    #[test]
    fn numbers_become_the_text_of_their_doubles() {
        let (text, properties) = kept(
            r#"{ "a" : [1.10, -0, 0, 9007199254740993, 1E3, 0.1], "b 1.10" : {"c": 1e-7, "d\"": 1e21 } }"#,
        )
        .unwrap();
        assert_eq!(text, r#"{"a":[1.1,-0,0,9007199254740992,1000,0.1],"b 1.10":{"c":1e-7,"d\"":1e21}}"#);
        assert_eq!(properties, 4);
        assert_eq!(kept(r#"{"a":1e400}"#), Err(OutOfRange(5)));
    }

    proptest! {
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
