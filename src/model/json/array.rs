//! The objects of an array, one after the other, in one validating pass.
//!
//! A batch that arrives as one text is an array of small objects that hold the documents. Each object is scanned once and its
//! top-level fields are noted, as [`index`](crate::model::json::index) does for one document; the document in it is noted on the same way.

use crate::model::json::doubles::Doubles;
use crate::model::json::scan::{Field, Malformed, Scanner};
use std::ops::Range;

/// Passes over an array of objects.
pub struct Objects<'a> {
    scanner: Scanner<'a>,
    is_first: bool,
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
        Ok(Self { scanner, is_first: true })
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
        let (mut fields, mut found) = (Vec::new(), Vec::new());
        let mut objects = Objects::new(text.as_bytes())?;
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
        }
    }
}
