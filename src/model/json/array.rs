//! The objects of an array, one after the other, in one validating pass.
//!
//! A batch that arrives as one text is an array of small objects that hold the documents. Each object is scanned once and its
//! top-level fields are noted, as [`index`](crate::model::json::index) does for one document; the document in it is noted on the same way.
//! The array may be the value of a field, as in a page of a query; what stands around it is passed over once too.

use crate::model::json::doubles::Doubles;
use crate::model::json::scan::{Field, Malformed, Scanner, check_text};
use std::ops::Range;

/// Passes over an array of objects.
pub struct Objects<'a> {
    scanner: Scanner<'a>,
    is_first: bool,
    /// The array is the value of a field.
    is_field: bool,
}

impl<'a> Objects<'a> {
    /// Begins to pass over `bytes`.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if let Err(error) = simdutf8::compat::from_utf8(bytes) {
            return Err(Malformed { at: error.valid_up_to(), reason: "invalid UTF-8" });
        }
        let mut scanner = Scanner::new(bytes, 0);
        scanner.white_space();
        if scanner.peek() != Some(b'[') {
            return scanner.fail("not a JSON array");
        }
        scanner.at += 1;
        Ok(Self { scanner, is_first: true, is_field: false })
    }

    /// Begins to pass over the first array that is a field `name` of the object `bytes`, where nobody writes that name with escapes.
    pub fn of_field(bytes: &'a [u8], name: &str) -> Result<Self, Malformed> {
        check_text(bytes)?;
        let mut scanner = Scanner::new(bytes, 0);
        scanner.white_space();
        let mut is_first = true;
        while scanner.has_field(is_first)? {
            is_first = false;
            let start = scanner.at + 1;
            let (end, _) = scanner.key()?;
            if &bytes[start..end] == name.as_bytes() && scanner.peek() == Some(b'[') {
                scanner.at += 1;
                return Ok(Self { scanner, is_first: true, is_field: true });
            }
            scanner.value(0)?;
        }
        scanner.fail("the array is missing")
    }

    /// The place of the next object, whose fields (as offsets into the whole text) go to `fields`; `None` behind the last.
    pub fn next(&mut self, fields: &mut Vec<Field>) -> Result<Option<Range<usize>>, Malformed> {
        self.pass(fields, |scanner, _| scanner.value(0))
    }

    /// As [`Objects::next`]; the first object that is the value of a field `name` is also noted in `document`, which stays empty if there is none.
    pub fn next_around(
        &mut self,
        fields: &mut Vec<Field>,
        name: &str,
        document: &mut Doubles,
    ) -> Result<Option<Range<usize>>, Malformed> {
        document.clear();
        self.pass(fields, |scanner, found| {
            if found != name.as_bytes() || !document.is_empty() || scanner.peek() != Some(b'{') {
                return scanner.value(0);
            }
            scanner.at = document.pass(scanner.bytes, scanner.at)?;
            Ok(())
        })
    }

    /// `value` passes over the value of a field, whose name it is given.
    #[inline]
    fn pass(
        &mut self,
        fields: &mut Vec<Field>,
        mut value: impl FnMut(&mut Scanner<'a>, &'a [u8]) -> Result<(), Malformed>,
    ) -> Result<Option<Range<usize>>, Malformed> {
        let scanner = &mut self.scanner;
        fields.clear();
        scanner.white_space();
        match scanner.peek() {
            Some(b']') => {
                scanner.at += 1;
                while self.is_field && scanner.has_field(false)? {
                    scanner.field()?;
                }
                scanner.white_space();
                let is_end = scanner.at == scanner.bytes.len();
                return if is_end { Ok(None) } else { scanner.fail("more after the end of the array") };
            }
            Some(b',') if !self.is_first => {
                scanner.at += 1;
                scanner.white_space();
            }
            _ if self.is_first => self.is_first = false,
            _ => return scanner.fail("expected , or ]"),
        }
        let start = scanner.at;
        while scanner.has_field(fields.is_empty())? {
            fields.push(scanner.field_with(&mut value)?);
        }
        Ok(Some(start..scanner.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn objects(text: &str) -> Result<Vec<(String, Vec<String>)>, Malformed> {
        all(text, Objects::new(text.as_bytes())?)
    }

    fn all(text: &str, mut objects: Objects<'_>) -> Result<Vec<(String, Vec<String>)>, Malformed> {
        let (mut fields, mut found) = (Vec::new(), Vec::new());
        while let Some(range) = objects.next(&mut fields)? {
            let value =
                |field: &Field| String::from_utf8_lossy(field.raw_value(text.as_bytes())).into_owned();
            found.push((text[range].to_owned(), fields.iter().map(value).collect()));
        }
        Ok(found)
    }

    #[test]
    fn objects_and_their_fields_are_found() {
        assert_eq!(objects("[]"), Ok(vec![]));
        let found = objects(" [ {\"a\":1, \"b\":{\"c\":[2]}} ,{}] ").unwrap();
        let texts: Vec<&str> = found.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["{\"a\":1, \"b\":{\"c\":[2]}}", "{}"]);
        assert_eq!(found[0].1, ["1", "{\"c\":[2]}"]);
    }

    #[test]
    fn the_array_may_be_a_field() {
        let of_field = |text: &str| all(text, Objects::of_field(text.as_bytes(), "D")?);
        let found = of_field(r#" { "a":[{}], "D" : [{"x":{"D":[]}}, {}], "n":2 } "#).unwrap();
        let texts: Vec<&str> = found.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, [r#"{"x":{"D":[]}}"#, "{}"]);
        assert_eq!(of_field(r#"{"D":[]}"#), Ok(vec![]));
        for wrong in
            ["", "[]", "{}", r#"{"D":1}"#, r#"{"D":[]"#, r#"{"D":[],}"#, r#"{"D":[]} 1"#, r#"{"D":[] "n":1}"#]
        {
            assert!(of_field(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_document_in_an_object_is_noted() {
        let text = br#"[{"n": 1.0, "body" : { "a":1.50, "b":{"c":[2]} }}, {"body":[1]}, {"body":{}, "body":{"x":1}}]"#;
        let (mut fields, mut document, mut kept) = (Vec::new(), Doubles::default(), Vec::new());
        let mut objects = Objects::new(text).unwrap();
        while objects.next_around(&mut fields, "body", &mut document).unwrap().is_some() {
            let mut out = Vec::new();
            document.write(text, document.place(), &mut out).unwrap();
            kept.push((String::from_utf8(out).unwrap(), document.fields.len(), document.properties()));
        }
        let expected = [(r#"{"a":1.5,"b":{"c":[2]}}"#, 2, 3), ("", 0, 0), ("{}", 0, 0)];
        assert_eq!(kept, expected.map(|(text, fields, properties)| (text.to_owned(), fields, properties)));
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_token_soup(tokens in prop::collection::vec(
            prop::sample::select(vec!["{", "}", "[", "]", ":", ",", "\"a\"", "{\"a\":1}", "{}", "1", "null", " ", "\""]), 0..10)) {
            let text = format!("[{}]", tokens.concat());
            let theirs = serde_json::from_str::<Vec<serde_json::Map<String, serde_json::Value>>>(&text);
            prop_assert_eq!(objects(&text).is_ok(), theirs.is_ok(), "{}", text);
            let (mut fields, mut document) = (Vec::new(), Doubles::default());
            let noted = Objects::new(text.as_bytes()).and_then(|mut objects| {
                while objects.next_around(&mut fields, "a", &mut document)?.is_some() {}
                Ok(())
            });
            prop_assert_eq!(noted.is_ok(), theirs.is_ok(), "{}", text);
            let page = format!("{{\"n\":[1],\"D\":{text},\"m\":2}}");
            let of_field = Objects::of_field(page.as_bytes(), "D").and_then(|objects| all(&page, objects));
            let is_json = serde_json::from_str::<serde_json::Value>(&page).is_ok();
            prop_assert!(of_field.is_err() || is_json, "{}", page);
            prop_assert!(of_field.is_ok() || theirs.is_err(), "{}", page);
        }
    }
}
