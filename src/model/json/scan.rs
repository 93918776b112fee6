//! The validating pass.
//!
//! Theory: most bytes of a document are inside strings, so these are passed over many at a time ([`plain`]). Most of the rest are
//! names and punctuation, and most documents have those of the one before: they are compared with what
//! is remembered ([`shape`](crate::model::json::shape)) instead of being scanned. What remains are numbers, arrays, and what differs.
//! Nesting is a stack of bits, one a level, so that a hostile text can exhaust neither the stack nor memory.

use crate::model::json::plain;
use crate::model::json::shape::{Lead, Shape};
use crate::model::json::text::unescape;
use crate::model::json::witness::{Notes, Number, Witness};
use std::fmt;
use std::ops::Range;

/// Levels of nesting accepted, the outermost object included. Well above any document a target takes (Cosmos: 128), and few enough that
/// the stack of bits stays in one cache line.
pub const MAX_DEPTH: usize = 512;

/// Says the limit, so that the reader of a reject need not look for it.
const TOO_DEEP: &str = "nested more than 512 levels deep";

/// One top-level field, as byte offsets into the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// First byte of the name, after its quote.
    pub name_start: u32,
    /// The name's closing quote.
    pub name_end: u32,
    /// First byte of the value.
    pub value_start: u32,
    /// One past the value's last byte.
    pub value_end: u32,
    /// The name holds a backslash: it must be unescaped before it is compared.
    pub escaped: bool,
}

impl Field {
    /// The name as it stands in the text, without quotes.
    pub fn raw_name<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.name_start as usize..self.name_end as usize]
    }

    /// The value as it stands in the text.
    pub fn raw_value<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.value_start as usize..self.value_end as usize]
    }

    /// Whether the name, unescaped, is `name`.
    #[inline]
    pub fn is_named(&self, bytes: &[u8], name: &str) -> bool {
        // Most names differ in their length already.
        if self.escaped {
            unescape(self.raw_name(bytes)).as_bytes() == name.as_bytes()
        } else {
            (self.name_end - self.name_start) as usize == name.len()
                && self.raw_name(bytes) == name.as_bytes()
        }
    }
}

/// Where the top-level fields of a document lie. Reused from document to document, because it remembers their shape.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// In the order of the text.
    pub fields: Vec<Field>,
    /// Documents of one number have the same top-level names in the same order, written in the same way. Nothing is known of number zero.
    pub shape: u64,
    /// Numbers of more than fifteen characters or with an exponent, in the order of the text: those alone may be more than a double holds.
    pub long_numbers: Vec<Range<u32>>,
    /// Levels of nesting, the outermost object included.
    pub depth: usize,
    /// No two top-level names are alike, as far as anyone has looked.
    pub is_unique: bool,
    known: Shape,
}

/// Why a text is not one JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Byte offset in the text.
    pub at: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

/// Checks that `bytes` are one JSON object in UTF-8, with nothing but white space around it, and fills `index`.
pub fn index(bytes: &[u8], index: &mut Index) -> Result<(), Malformed> {
    index.fields.clear();
    check_text(bytes)?;
    index.is_unique = false;
    index.long_numbers.clear();
    let notes = Notes { long_numbers: &mut index.long_numbers, deepest: 0 };
    let mut scanner = Scanner::heard_by(bytes, 0, notes);
    let fit = scanner.object(&mut index.fields, &index.known)?;
    scanner.white_space();
    if scanner.at != bytes.len() {
        return scanner.fail("more after the end of the document");
    }
    index.depth = 1 + scanner.witness.deepest;
    index.shape = index.known.met(fit, bytes, &index.fields);
    Ok(())
}

/// Whether `bytes` are UTF-8, and few enough.
pub(super) fn check_text(bytes: &[u8]) -> Result<(), Malformed> {
    // Places are 32-bit numbers.
    if u32::try_from(bytes.len()).is_err() {
        return Err(Malformed { at: u32::MAX as usize, reason: "the text is longer than 4 GiB" });
    }
    if simdutf8::basic::from_utf8(bytes).is_err() {
        let at = simdutf8::compat::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
        return Err(Malformed { at, reason: "invalid UTF-8" });
    }
    Ok(())
}

/// How a document compares with the shape that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// The same names and punctuation.
    Whole,
    /// The same at the top level; an object in it differs.
    TopLevel,
    /// Not the same.
    None,
}

pub(super) struct Scanner<'a, W = ()> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    witness: W,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, witness: () }
    }
}

impl<'a, W: Witness> Scanner<'a, W> {
    pub(super) fn heard_by(bytes: &'a [u8], at: usize, witness: W) -> Self {
        Self { bytes, at, witness }
    }

    /// The outermost object. As long as it has the known shape, names and punctuation are only compared.
    #[inline]
    fn object(&mut self, fields: &mut Vec<Field>, known: &Shape) -> Result<Fit, Malformed> {
        let mut fit = Fit::Whole;
        for lead in known.leads() {
            if !known.stands(&lead.text, self.bytes, self.at) {
                fit = Fit::None;
                break;
            }
            let (name_start, name_end) = (self.at + lead.name_start, self.at + lead.name_end);
            self.at += lead.text.len();
            self.white_space();
            let value_start = self.at;
            if !self.known_value(known, lead)? {
                fit = Fit::TopLevel;
            }
            fields.push(self.ended_field(name_start, name_end, value_start, lead.escaped));
        }
        while self.has_field(fields.is_empty())? {
            fit = Fit::None;
            fields.push(self.field()?);
        }
        Ok(fit)
    }

    /// The value behind `lead`. False if it is an object of another shape than the one that was there.
    #[inline(always)]
    fn known_value(&mut self, known: &Shape, lead: &Lead) -> Result<bool, Malformed> {
        let begin = self.at;
        let inside = known.inside(lead);
        for stretch in inside {
            if !known.stands(&stretch.text, self.bytes, self.at) {
                self.at = begin;
                return self.value(0).map(|()| false);
            }
            self.at += stretch.text.len();
            self.witness.level(stretch.depth);
            // The last one closes the object.
            if stretch.depth > 0 {
                self.white_space();
                self.value(stretch.depth)?;
            }
        }
        if inside.is_empty() {
            self.value(0)?;
        }
        Ok(true)
    }

    pub(super) fn fail<T>(&self, reason: &'static str) -> Result<T, Malformed> {
        let reason = if self.at >= self.bytes.len() { "unexpected end" } else { reason };
        Err(Malformed { at: self.at, reason })
    }

    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline(always)]
    pub(super) fn white_space(&mut self) {
        let from = self.at;
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
        if self.at > from {
            self.witness.gap(from, self.at);
        }
    }

    /// Passes over what stands before a name; false if the object ends instead.
    #[inline]
    pub(super) fn has_field(&mut self, is_first: bool) -> Result<bool, Malformed> {
        self.white_space();
        match self.peek() {
            Some(b'{') if is_first => {
                self.at += 1;
                self.white_space();
                let is_empty = self.peek() == Some(b'}');
                self.at += usize::from(is_empty);
                Ok(!is_empty)
            }
            _ if is_first => self.fail("not a JSON object"),
            Some(b',') => {
                self.at += 1;
                self.white_space();
                Ok(true)
            }
            Some(b'}') => {
                self.at += 1;
                Ok(false)
            }
            _ => self.fail("expected , or }"),
        }
    }

    #[inline]
    pub(super) fn field(&mut self) -> Result<Field, Malformed> {
        self.field_with(|scanner, _| scanner.value(0))
    }

    /// A field whose value `pass` passes over; it is given the name as it stands in the text.
    #[inline(always)]
    pub(super) fn field_with(
        &mut self,
        pass: impl FnOnce(&mut Self, &'a [u8]) -> Result<(), Malformed>,
    ) -> Result<Field, Malformed> {
        let name_start = self.at + 1;
        let (name_end, escaped) = self.key()?;
        let value_start = self.at;
        let bytes = self.bytes;
        pass(self, &bytes[name_start..name_end])?;
        Ok(self.ended_field(name_start, name_end, value_start, escaped))
    }

    /// A field whose value has just been passed.
    #[inline(always)]
    fn ended_field(&self, name_start: usize, name_end: usize, value_start: usize, escaped: bool) -> Field {
        Field {
            name_start: name_start as u32,
            name_end: name_end as u32,
            value_start: value_start as u32,
            value_end: self.at as u32,
            escaped,
        }
    }

    /// A name with its colon, up to the value. Returns the place of the closing quote and whether there was a backslash.
    #[inline]
    pub(super) fn key(&mut self) -> Result<(usize, bool), Malformed> {
        if self.peek() != Some(b'"') {
            return self.fail("expected a field name");
        }
        let escaped = self.string()?;
        let end = self.at - 1;
        self.witness.name();
        self.colon()?;
        Ok((end, escaped))
    }

    #[inline(always)]
    fn colon(&mut self) -> Result<(), Malformed> {
        self.white_space();
        if self.peek() != Some(b':') {
            return self.fail("expected :");
        }
        self.at += 1;
        self.white_space();
        Ok(())
    }

    /// A value within `depth` objects or arrays, not counting the outermost object.
    #[inline]
    pub(super) fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'{' | b'[') => self.container(depth),
            _ => self.scalar(),
        }
    }

    #[inline]
    fn scalar(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => self.fail("expected a value"),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Malformed> {
        if !self.bytes[self.at..].starts_with(word) {
            return self.fail("expected a value");
        }
        self.at += word.len();
        Ok(())
    }

    pub(super) fn number(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.fail("expected a digit"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        let has_exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if has_exponent {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.some_digits()?;
        }
        let text = &self.bytes[from..self.at];
        self.witness.number(Number { text, from, to: self.at, has_exponent });
        Ok(())
    }

    #[inline(always)]
    fn digits(&mut self) {
        self.at = plain::digits_end(self.bytes, self.at);
    }

    fn some_digits(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'0'..=b'9') => {
                self.digits();
                Ok(())
            }
            _ => self.fail("expected a digit"),
        }
    }

    /// A string with its quotes. Returns whether it holds a backslash.
    #[inline]
    pub(super) fn string(&mut self) -> Result<bool, Malformed> {
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = plain::string_end(self.bytes, self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return self.fail("control character in a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return self.fail("expected four hexadecimal digits");
                    }
                    self.at += 1;
                }
                Ok(())
            }
            _ => self.fail("unknown escape"),
        }
    }

    /// An object or array below the top level, itself within `depth` others.
    fn container(&mut self, depth: usize) -> Result<(), Malformed> {
        let mut levels = Levels { bits: [0; MAX_DEPTH / 64], depth: 0 };
        loop {
            if let Some(open @ (b'{' | b'[')) = self.peek() {
                // One level is the document itself.
                if depth + levels.depth == MAX_DEPTH - 1 {
                    return self.fail(TOO_DEEP);
                }
                levels.push(open == b'{');
                self.witness.level(depth + levels.depth);
                self.at += 1;
                self.white_space();
                let is_empty = self.peek() == Some(if open == b'{' { b'}' } else { b']' });
                if !is_empty {
                    if open == b'{' {
                        self.key()?;
                    }
                    continue;
                }
            } else {
                self.scalar()?;
            }
            if self.after_value(&mut levels)? {
                return Ok(());
            }
        }
    }

    /// Closes what ends here. True when the outermost container has ended, false when another value follows.
    #[inline]
    fn after_value(&mut self, levels: &mut Levels) -> Result<bool, Malformed> {
        loop {
            self.white_space();
            match (self.peek(), levels.is_object()) {
                (Some(b','), is_object) => {
                    self.at += 1;
                    self.white_space();
                    // A container that has just been opened and closed comes here with its own level still on
                    // the stack, and then sees its closing bracket, never a comma.
                    if is_object {
                        self.key()?;
                    }
                    return Ok(false);
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    self.at += 1;
                    levels.depth -= 1;
                    if levels.depth == 0 {
                        return Ok(true);
                    }
                }
                (_, true) => return self.fail("expected , or }"),
                (_, false) => return self.fail("expected , or ]"),
            }
        }
    }
}

/// Which of the open containers are objects: a stack of bits.
struct Levels {
    bits: [u64; MAX_DEPTH / 64],
    depth: usize,
}

impl Levels {
    #[inline]
    fn push(&mut self, is_object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        self.bits[word] = self.bits[word] & !(1 << bit) | u64::from(is_object) << bit;
        self.depth += 1;
    }

    #[inline]
    fn is_object(&self) -> bool {
        let top = self.depth - 1;
        self.bits[top / 64] >> (top % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::json::{compact, field};
    use proptest::prelude::*;

    fn check(text: &[u8]) -> Result<(), Malformed> {
        index(text, &mut Index::default())
    }

    fn serde_accepts(text: &[u8]) -> bool {
        // serde_json ignores bytes inside strings that are not UTF-8 when a value is ignored; RFC 8259 does not.
        std::str::from_utf8(text).is_ok()
            && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
            && text.trim_ascii_start().starts_with(b"{")
    }

    #[test]
    fn finds_fields_by_unescaped_name_and_the_last_of_duplicates() {
        let text = br#" {"a" : 1 , "\u0069d":"x","a":{"b":[1,{}]}} "#;
        assert_eq!(field(text, "id"), Some(&br#""x""#[..]));
        assert_eq!(field(text, "a"), Some(&br#"{"b":[1,{}]}"#[..]));
        assert_eq!(field(text, "b"), None);
        assert_eq!(field(b"{}", "a"), None);
        let mut found = Index::default();
        index(text, &mut found).unwrap();
        assert_eq!(found.fields.len(), 3);
        assert!(found.fields[1].escaped);
    }

    #[test]
    fn notes_long_numbers_and_the_depth() {
        let mut used = Index::default();
        let mut noted = |text: &str| {
            index(text.as_bytes(), &mut used).unwrap();
            let number = |place: &Range<u32>| text[place.start as usize..place.end as usize].to_owned();
            (used.long_numbers.iter().map(number).collect::<Vec<_>>().join(" "), used.depth)
        };
        assert_eq!(noted("{}"), (String::new(), 1));
        let text = r#"{"a":1e3,"b":{"c":{"d":1.2345678901234},"e":12.34567890123456},"f":[[1234567890123456,"1e3"]]}"#;
        // The second time names and punctuation are known and only compared.
        for _ in 0..2 {
            assert_eq!(noted(text), ("1e3 12.34567890123456 1234567890123456".to_owned(), 3));
        }
        assert_eq!(noted(r#"{"a":1,"b":{"c":{"d":1},"e":1},"f":[]}"#), (String::new(), 3));
        assert_eq!(noted(r#"{"a":1,"b":{"c":[{"d":{}}],"e":1},"f":[]}"#), (String::new(), 5));
    }

    #[test]
    fn names_place_and_reason() {
        let cases: [(&[u8], usize, &str); 10] = [
            (b"[1]", 0, "not a JSON object"),
            (b"{\"a\":01}", 6, "expected , or }"),
            (b"{\"a\":1,}", 7, "expected a field name"),
            (b"{\"a\":\"\x01\"}", 6, "control character in a string"),
            (b"{\"a\":\"\\x\"}", 7, "unknown escape"),
            (b"{\"a\":\"\xff\"}", 6, "invalid UTF-8"),
            (b"{\"a\":[1,]}", 8, "expected a value"),
            (b"{\"a\":{\"b\":1,2}}", 12, "expected a field name"),
            (b"{\"a\":1", 6, "unexpected end"),
            (b"{\"a\":1} x", 8, "more after the end of the document"),
        ];
        for (text, at, reason) in cases {
            assert_eq!(check(text), Err(Malformed { at, reason }), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert_eq!(TOO_DEEP, format!("nested more than {MAX_DEPTH} levels deep"));
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(check(nested(MAX_DEPTH - 1).as_bytes()), Ok(()));
        assert_eq!(check(nested(MAX_DEPTH).as_bytes()).unwrap_err().reason, TOO_DEEP);
        // Nor does it depend on what was seen before.
        let inside = |levels: usize| {
            format!("{{\"a\":{{\"b\":{{\"c\":{}{}}}}}}}", "[".repeat(levels), "]".repeat(levels))
        };
        let mut used = Index::default();
        index(inside(1).as_bytes(), &mut used).unwrap();
        assert_eq!(index(inside(MAX_DEPTH - 3).as_bytes(), &mut used), Ok(()));
        assert_eq!(index(inside(MAX_DEPTH - 2).as_bytes(), &mut used).unwrap_err().reason, TOO_DEEP);
    }

    #[test]
    fn compact_removes_white_space_between_tokens_only() {
        let mut out = Vec::new();
        compact(b"{ \"a b\" :\n [ 1 , \" \\\" x \" ]\r\n}", &mut out);
        assert_eq!(out, b"{\"a b\":[1,\" \\\" x \"]}");
    }

    fn json_value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::vec((".{0,10}", inner), 0..6)
                    .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    /// So few that documents often have the same shape.
    fn few_values() -> impl Strategy<Value = serde_json::Value> {
        let texts = [
            "1",
            "\"x\"",
            "{}",
            "[]",
            r#"{"x":1}"#,
            r#"{"x":"y"}"#,
            r#"{"x":{"y":{},"z":[{"a":1}]},"w":null}"#,
            r#"{"x":{"y":{},"z":[]},"w":{"v":2}}"#,
            r#"{"x":{"y":{}},"z":3}"#,
        ];
        prop::sample::select(texts.to_vec()).prop_map(|text| serde_json::from_str(text).unwrap())
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_valid_documents(fields in prop::collection::vec((".{0,10}", json_value()), 0..8), pretty: bool) {
            let value = serde_json::Value::Object(fields.into_iter().collect());
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            prop_assert_eq!(check(&text), Ok(()));
            for (name, expected) in value.as_object().unwrap() {
                let found: serde_json::Value = serde_json::from_slice(field(&text, name).unwrap()).unwrap();
                prop_assert_eq!(&found, expected);
            }
            let mut compacted = Vec::new();
            compact(&text, &mut compacted);
            prop_assert_eq!(compacted, serde_json::to_vec(&value).unwrap());
        }

        /// An index that has seen other documents finds what a new one finds, and equal shapes have equal names.
        #[test]
        fn what_was_seen_before_changes_nothing(
            documents in prop::collection::vec(prop::collection::vec(("[ab\"é]{0,1}", few_values()), 0..3), 1..20),
            gaps in prop::collection::vec(prop::sample::select(vec![",", " ,", ", "]), 20),
        ) {
            let mut used = Index::default();
            let mut names_of: std::collections::HashMap<u64, Vec<Vec<u8>>> = Default::default();
            for (fields, gap) in documents.into_iter().zip(gaps) {
                let fields = fields.into_iter().map(|(name, value)| format!("{}:{value}", serde_json::json!(name)));
                let text = format!("{{{}}}", fields.collect::<Vec<_>>().join(gap));
                let mut fresh = Index::default();
                index(text.as_bytes(), &mut fresh).unwrap();
                index(text.as_bytes(), &mut used).unwrap();
                prop_assert_eq!(&used.fields, &fresh.fields);
                let names: Vec<_> = used.fields.iter().map(|field| field.raw_name(text.as_bytes()).to_vec()).collect();
                if used.shape > 0 {
                    prop_assert_eq!(names_of.entry(used.shape).or_insert_with(|| names.clone()), &names);
                }
            }
        }

        /// The same with damage: a memory neither lets anything through nor refuses anything.
        #[test]
        fn what_was_seen_before_lets_nothing_through(value in few_values(), other in few_values(), at: prop::sample::Index, byte in prop::sample::select(b"{}[]:,\"a1 \\".to_vec()), how in 0..3) {
            let text = |value: &serde_json::Value| serde_json::to_vec(&serde_json::json!({ "a": value, "b": {"c": 1, "d": value} })).unwrap();
            let mut used = Index::default();
            index(&text(&other), &mut used).unwrap();
            let mut damaged = text(&value);
            let at = at.index(damaged.len());
            match how {
                0 => damaged[at] = byte,
                1 => drop(damaged.remove(at)),
                _ => damaged.insert(at, byte),
            }
            prop_assert_eq!(index(&damaged, &mut used), check(&damaged), "{}", String::from_utf8_lossy(&damaged));
        }

        /// One byte of a valid document replaced, removed or added: both must still agree.
        #[test]
        fn agrees_with_serde_json_on_damaged_documents(value in json_value(), at: prop::sample::Index, byte: u8, how in 0..3) {
            let mut text = serde_json::to_vec(&serde_json::json!({ "a": value, "b\n": 1.5 })).unwrap();
            let at = at.index(text.len());
            match how {
                0 => text[at] = byte,
                1 => drop(text.remove(at)),
                _ => text.insert(at, byte),
            }
            prop_assert_eq!(check(&text).is_ok(), serde_accepts(&text), "{}", String::from_utf8_lossy(&text));
        }

        #[test]
        fn agrees_with_serde_json_on_token_soup(tokens in prop::collection::vec(
            prop::sample::select(vec!["{", "}", "[", "]", ":", ",", "\"a\"", "\"\\u00e9\"", "1", "-0.5e+3", "true", "null", " ", "\"", "0", "."]), 0..14)) {
            let text = format!("{{{}}}", tokens.concat());
            prop_assert_eq!(check(text.as_bytes()).is_ok(), serde_accepts(text.as_bytes()), "{}", text);
        }
    }
}
