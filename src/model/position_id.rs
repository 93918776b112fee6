//! The id that a document gets from its place.
//!
//! Targets forbid some characters in ids (`/ \ ? #` and control characters in Cosmos), so those of the name are encoded as in a URI.
//! Percent signs and the `@` before the place are encoded as well, so no two places get equal texts.

use std::fmt::Write as _;

/// Appends the id of the document at `at` in what is called `name`: `name@at`.
#[inline]
pub fn write_position_id(name: &str, at: u64, out: &mut String) {
    let mut rest = name;
    while let Some(found) =
        rest.find(|c: char| matches!(c, '/' | '\\' | '?' | '#' | '%' | '@') || c.is_control())
    {
        out.push_str(&rest[..found]);
        let special = rest[found..].chars().next().map_or(1, char::len_utf8);
        for byte in rest[found..found + special].bytes() {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        rest = &rest[found + special..];
    }
    out.push_str(rest);
    let _ = write!(out, "@{at}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn position_ids_are_legal() {
        let mut out = String::new();
        write_position_id("a/b c?\u{7}ü@1%", 12, &mut out);
        assert_eq!(out, "a%2Fb c%3F%07ü%401%25@12");
    }

    proptest! {
        #[test]
        fn position_ids_differ_where_places_do(a in "[a%@/:2F0-9]{0,6}", b in "[a%@/:2F0-9]{0,6}", at in 0..3u64, bt in 0..3u64) {
            let (mut first, mut second) = (String::new(), String::new());
            write_position_id(&a, at, &mut first);
            write_position_id(&b, bt, &mut second);
            prop_assert_eq!(first == second, a == b && at == bt);
        }
    }
}
