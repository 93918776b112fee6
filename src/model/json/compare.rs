//! How two numbers, or two strings, stand to each other, by what their texts say.
//!
//! A number is compared as the decimal that is written there, not as the double that some reader would make of it: of
//! `9007199254740993.0` and `9007199254740992` the first is more, and `1e400` is less than `1e500`. Nothing is computed but where the first
//! digit stands, so numbers of any length compare in one pass over their digits.

use super::text::code_points;
use std::cmp::Ordering;

/// A number taken apart: `0.DIGITS` times ten to the power of `top`, where neither the first nor the last digit is a zero.
struct Decimal<'a> {
    is_negative: bool,
    top: i128,
    /// The digits, in two parts as the point has cut them.
    digits: [&'a [u8]; 2],
}

impl<'a> Decimal<'a> {
    fn of(text: &'a [u8]) -> Self {
        let (is_negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let (mantissa, exponent) = match memchr::memchr2(b'e', b'E', text) {
            Some(at) => (&text[..at], exponent(&text[at + 1..])),
            None => (text, 0),
        };
        let (whole, fraction) = match memchr::memchr(b'.', mantissa) {
            Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
            None => (mantissa, &b""[..]),
        };
        let whole = without_leading_zeros(whole);
        let (top, fraction) = if whole.is_empty() {
            let digits = without_leading_zeros(fraction);
            (-((fraction.len() - digits.len()) as i128), digits)
        } else {
            (whole.len() as i128, fraction)
        };
        let fraction = without_trailing_zeros(fraction);
        let whole = if fraction.is_empty() { without_trailing_zeros(whole) } else { whole };
        Self { is_negative, top: top.saturating_add(exponent), digits: [whole, fraction] }
    }

    /// The digits in a row.
    fn row(&self) -> impl Iterator<Item = &'a u8> + use<'a> {
        self.digits.into_iter().flatten()
    }

    /// Minus one, zero or one.
    fn sign(&self) -> i8 {
        match (self.digits.iter().all(|part| part.is_empty()), self.is_negative) {
            (true, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        }
    }
}

/// Beyond what 127 bits hold it stays at their end: nobody writes an exponent of forty digits.
fn exponent(text: &[u8]) -> i128 {
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = digits.iter().fold(0_i128, |value, digit| {
        value.saturating_mul(10).saturating_add(i128::from(digit.wrapping_sub(b'0')))
    });
    if is_negative { -value } else { value }
}

fn without_leading_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

fn without_trailing_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    &digits[..digits.len() - zeros]
}

/// How the values of two numbers stand to each other. Both are JSON texts of numbers.
pub fn compare_numbers(left: &[u8], right: &[u8]) -> Ordering {
    let (left, right) = (Decimal::of(left), Decimal::of(right));
    let sign = left.sign();
    if sign != right.sign() || sign == 0 {
        return sign.cmp(&right.sign());
    }
    // With equal tops, and without zeros at their end, digits compare like the letters of words.
    let magnitude = left.top.cmp(&right.top).then_with(|| left.row().cmp(right.row()));
    if sign < 0 { magnitude.reverse() } else { magnitude }
}

/// Appends the number in the one way in which its value is written: as ECMAScript writes doubles, but with all its digits.
pub(super) fn write_number(text: &[u8], out: &mut Vec<u8>) {
    let number = Decimal::of(text);
    if number.sign() == 0 {
        return out.push(b'0');
    }
    if number.is_negative {
        out.push(b'-');
    }
    let digits: Vec<u8> = number.row().copied().collect();
    let zeros = |count: i128| std::iter::repeat_n(b'0', count.unsigned_abs() as usize);
    match (number.top, digits.len() as i128) {
        (top @ 1..=21, count) if top >= count => {
            out.extend_from_slice(&digits);
            out.extend(zeros(top - count));
        }
        (top @ 1..=21, _) => {
            let (whole, fraction) = digits.split_at(top as usize);
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
        (top @ -5..=0, _) => {
            out.extend_from_slice(b"0.");
            out.extend(zeros(top));
            out.extend_from_slice(&digits);
        }
        (top, count) => {
            out.push(digits[0]);
            if count > 1 {
                out.push(b'.');
                out.extend_from_slice(&digits[1..]);
            }
            out.extend_from_slice(format!("e{:+}", top.saturating_sub(1)).as_bytes());
        }
    }
}

/// How two strings stand to each other, by their characters, escapes resolved. Half a surrogate pair stands for itself, and is unlike
/// any other. Both are texts without quotes that have passed [`index`](super::index).
pub fn compare_strings(left: &[u8], right: &[u8]) -> Ordering {
    // Most hold no escape, and UTF-8 keeps the order of characters.
    if memchr::memchr(b'\\', left).is_none() && memchr::memchr(b'\\', right).is_none() {
        return left.cmp(right);
    }
    code_points(left).cmp(code_points(right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The number as one row of digits around a fixed point: an exact decimal without any cleverness.
    fn spelled(whole: &str, fraction: &str, exponent: i32) -> String {
        // The point stands behind so many digits, far enough from both ends for every exponent here.
        const POINT: i32 = 200;
        let before = (POINT - exponent) as usize - whole.len();
        let row = format!("{}{whole}{fraction}", "0".repeat(before));
        format!("{row:0<500}")
    }

    fn number() -> impl Strategy<Value = (bool, String, String, Option<i32>)> {
        let whole =
            prop_oneof!["0", "[1-9][0-9]{0,3}", "[1-9][0-9]{0,2}0{0,20}", "[1-9][0-9]{40,50}", "10{0,9}"];
        let fraction = prop_oneof![Just(String::new()), "[0-9]{1,4}", "0{1,20}[0-9]{1,2}0{0,4}"];
        (any::<bool>(), whole, fraction, prop::option::of(-60..60_i32))
    }

    fn text((is_negative, whole, fraction, exponent): &(bool, String, String, Option<i32>)) -> String {
        let sign = if *is_negative { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        let exponent = exponent.map(|exponent| format!("E{exponent:+}")).unwrap_or_default();
        format!("{sign}{whole}{point}{fraction}{exponent}")
    }

    proptest! {
        #[test]
        fn numbers_compare_as_exact_decimals(one in number(), other in number(), shift in 0..30_usize) {
            let row = |n: &(bool, String, String, Option<i32>)| spelled(&n.1, &n.2, n.3.unwrap_or(0));
            let expected = {
                let (a, b) = (row(&one), row(&other));
                let is_zero = |row: &str| row.bytes().all(|digit| digit == b'0');
                let negative = |n: &(bool, String, String, Option<i32>), row: &str| n.0 && !is_zero(row);
                match (negative(&one, &a), negative(&other, &b)) {
                    (true, true) => b.cmp(&a),
                    (false, false) => a.cmp(&b),
                    (left, right) => right.cmp(&left),
                }
            };
            let (a, b) = (text(&one), text(&other));
            prop_assert_eq!(compare_numbers(a.as_bytes(), b.as_bytes()), expected, "{} {}", a, b);
            prop_assert_eq!(compare_numbers(b.as_bytes(), a.as_bytes()), expected.reverse(), "{} {}", b, a);
            // The same value in other words.
            let zeros = "0".repeat(shift);
            let fraction = format!("{}{zeros}0", one.2);
            let same = text(&(one.0, one.1.clone(), fraction, one.3));
            prop_assert_eq!(compare_numbers(a.as_bytes(), same.as_bytes()), Ordering::Equal, "{} {}", a, same);
        }

        #[test]
        fn strings_compare_as_their_characters(one: String, other: String) {
            let written = |text: &str| {
                let mut written = Vec::new();
                super::super::write_string(&mut written, text);
                let utf16: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
                (written[1..written.len() - 1].to_vec(), utf16)
            };
            let ((a, a_escaped), (b, b_escaped)) = (written(&one), written(&other));
            let expected = one.cmp(&other);
            prop_assert_eq!(compare_strings(&a, &b), expected);
            prop_assert_eq!(compare_strings(a_escaped.as_bytes(), &b), expected);
            prop_assert_eq!(compare_strings(a_escaped.as_bytes(), b_escaped.as_bytes()), expected);
        }
    }

    #[test]
    fn numbers_that_doubles_take_for_equal() {
        let less = |left: &str, right: &str| {
            assert_eq!(compare_numbers(left.as_bytes(), right.as_bytes()), Ordering::Less, "{left} {right}");
        };
        less("123456789012345678901234567890123456789012", "123456789012345678901234567890123456789013");
        less("1e400", "1e500");
        less("-1e500", "-1e400");
        less("9007199254740992", "9007199254740993.0");
        less("1e-500", "1e-400");
        less("0", "1e-400");
        less("1e99999999999999999999", "1e100000000000000000000");
        for same in ["0", "-0", "0.000", "0e7", "-0E-7"] {
            assert_eq!(compare_numbers(same.as_bytes(), b"0"), Ordering::Equal, "{same}");
        }
    }

    #[test]
    fn halves_of_surrogate_pairs_differ() {
        assert_eq!(compare_strings(br"\ud800", br"\ud801"), Ordering::Less);
        assert_eq!(compare_strings(br"a\ud800", br"a\uD800"), Ordering::Equal);
        assert_eq!(compare_strings(br"\ud800", br"\ufffd"), Ordering::Less);
    }
}
