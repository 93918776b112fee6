//! From the text of a JSON value to characters, and back.

use std::borrow::Cow;

/// The characters of a string's text (without its quotes), which has passed [`index`](super::index).
///
/// An escaped surrogate without its other half, which JSON allows and Unicode does not, becomes U+FFFD.
pub fn unescape(raw: &[u8]) -> Cow<'_, str> {
    unescaped(raw).0
}

/// As [`unescape`], for names: `None` where half a surrogate pair would be replaced, and two different strings become one.
pub fn unescape_exact(raw: &[u8]) -> Option<Cow<'_, str>> {
    let (text, is_exact) = unescaped(raw);
    is_exact.then_some(text)
}

/// The characters, and whether none had to be replaced.
fn unescaped(raw: &[u8]) -> (Cow<'_, str>, bool) {
    if memchr::memchr(b'\\', raw).is_none() {
        let text = std::str::from_utf8(raw).map_or_else(|_| String::from_utf8_lossy(raw), Cow::Borrowed);
        return (text, true);
    }
    let mut is_exact = true;
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let (character, used) = escape(&rest[at..]);
        is_exact &= character.is_some();
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        let mut utf8 = [0; 4];
        out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
        rest = &rest[(at + used).min(rest.len())..];
    }
    out.extend_from_slice(rest);
    (Cow::Owned(String::from_utf8_lossy(&out).into_owned()), is_exact)
}

/// The character that an escape stands for, if it stands for a whole one, and the escape's length. `text` begins with the backslash.
fn escape(text: &[u8]) -> (Option<char>, usize) {
    let simple = |c| (Some(c), 2);
    match text.get(1) {
        Some(b'n') => simple('\n'),
        Some(b't') => simple('\t'),
        Some(b'r') => simple('\r'),
        Some(b'b') => simple('\u{8}'),
        Some(b'f') => simple('\u{c}'),
        Some(b'u') => {
            let high = hex(text);
            if let Some(c) = high.and_then(char::from_u32) {
                return (Some(c), 6);
            }
            let low = text.get(6..).filter(|rest| rest.starts_with(b"\\u")).and_then(hex);
            match (high, low) {
                (Some(high @ 0xd800..=0xdbff), Some(low @ 0xdc00..=0xdfff)) => {
                    let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                    (char::from_u32(code), 12)
                }
                _ => (None, 6),
            }
        }
        Some(other) => simple(*other as char),
        None => (None, 1),
    }
}

fn hex(text: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(text.get(2..6)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

/// The code points of a string's text: half a surrogate pair is one too.
pub(super) fn code_points(raw: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let text = String::from_utf8_lossy(raw);
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &text[at..];
        let next = rest.chars().next()?;
        let (code, used) = match escape(rest.as_bytes()) {
            _ if next != '\\' => (u32::from(next), next.len_utf8()),
            (Some(character), used) => (u32::from(character), used),
            (None, used) => (hex(rest.as_bytes()).unwrap_or(u32::from(next)), used),
        };
        at = text.len().min(at + used);
        Some(code)
    })
}

/// Appends `characters` as a JSON string, quotes included.
pub fn write_string(out: &mut Vec<u8>, characters: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = characters.as_bytes();
    let mut from = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        let escaped: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1f => &[b'\\', b'u', b'0', b'0', HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]],
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..i]);
        out.extend_from_slice(escaped);
        from = i + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

/// A value as the text that a person would write for it: a string without quotes and escapes, anything else as it stands.
pub fn scalar_text(raw: &[u8]) -> Cow<'_, str> {
    match raw {
        [b'"', inner @ .., b'"'] => unescape(inner),
        _ => String::from_utf8_lossy(raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn surrogates_are_joined_and_lone_ones_replaced() {
        assert_eq!(unescape(br"\ud83d\ude00!"), "\u{1f600}!");
        assert_eq!(unescape(br"\ud83d!"), "\u{fffd}!");
        assert_eq!(unescape(br"a\/b"), "a/b");
        assert_eq!(unescape_exact(br"\ud83d\ude00\ufffd").as_deref(), Some("\u{1f600}\u{fffd}"));
        assert_eq!(unescape_exact(br"a\ud83d!"), None);
        assert_eq!(unescape_exact(br"\ude00"), None);
    }

    proptest! {
        #[test]
        fn writing_and_reading_agree_with_serde_json(text in any::<String>()) {
            let mut written = Vec::new();
            write_string(&mut written, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text.clone());
            prop_assert_eq!(scalar_text(&written), text.clone());
            let theirs = serde_json::to_vec(&text).unwrap();
            prop_assert_eq!(scalar_text(&theirs), text);
        }
    }
}
