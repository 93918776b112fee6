//! What can be done with a document that has passed [`index`](crate::model::json::index()), without an index of it.

use crate::model::json::scan::Scanner;

/// The text of a top-level field of a document that has passed [`index`](crate::model::json::index()); of duplicate keys the last.
pub fn field<'a>(bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut scanner = Scanner::new(bytes, 0);
    let mut found = None;
    scanner.white_space();
    scanner.at += 1;
    scanner.white_space();
    while scanner.peek() == Some(b'"') {
        let field = scanner.field().ok()?;
        if field.is_named(bytes, name) {
            found = Some(field.raw_value(bytes));
        }
        scanner.white_space();
        scanner.at += usize::from(scanner.peek() == Some(b','));
        scanner.white_space();
    }
    found
}

/// Appends a document that has passed [`index`](crate::model::json::index()) without the white space between its tokens.
pub fn compact(bytes: &[u8], out: &mut Vec<u8>) {
    let mut scanner = Scanner::new(bytes, 0);
    while let Some(byte) = scanner.peek() {
        let from = scanner.at;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => scanner.at += 1,
            b'"' => {
                // It has passed once, so it passes again; were it not so, the rest is copied as it is.
                let end = if scanner.string().is_ok() { scanner.at } else { bytes.len() };
                out.extend_from_slice(&bytes[from..end]);
                scanner.at = end;
            }
            _ => {
                out.push(byte);
                scanner.at += 1;
            }
        }
    }
}
