//! From a row to a document, or to the reason why it is none. Pure: values go in, JSON text comes out.

use crate::connector::sqlite::columns::Extract;
use crate::connector::sqlite::plan::Layout;
use crate::model::json::{self, Index};
use crate::model::reject::RejectedBy;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::Row;
use rusqlite::types::ValueRef;

/// The first column of a row that holds a value; before it come the row id and the size.
const VALUES: usize = 2;

/// Why a row is no document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) by: RejectedBy,
    pub(super) reason: String,
}

/// Appends the row's document to `out`. Of a refused row, what was appended belongs into the dead letter.
pub(super) fn document(
    layout: &Layout,
    rowid: i64,
    row: &Row<'_>,
    out: &mut Vec<u8>,
) -> rusqlite::Result<Result<(), Refusal>> {
    let refused = |by| move |reason| Refusal { by, reason };
    let start = out.len();
    Ok(match layout {
        Layout::Document(column) => {
            text(column, row.get_ref(VALUES)?, out).map_err(refused(RejectedBy::Read))
        }
        Layout::Fields(columns) => {
            let mut values = Vec::with_capacity(columns.len());
            for (index, column) in columns.iter().enumerate() {
                values.push((column.as_str(), row.get_ref(VALUES + index)?));
            }
            object(&values, out).map_err(refused(RejectedBy::Read))
        }
        Layout::Checked(extract) => {
            let mut stored = vec![("id", row.get_ref(VALUES + 1)?)];
            for (index, column) in extract.columns.iter().enumerate() {
                stored.push((column, row.get_ref(VALUES + 2 + index)?));
            }
            let read = text("document", row.get_ref(VALUES)?, out);
            read.and_then(|()| agree(extract, &out[start..], &stored))
                .map_err(|reason| format!("row id {rowid}: {reason}"))
                .map_err(refused(RejectedBy::Target))
        }
    })
}

/// A column's text, without the white space around it.
fn text(column: &str, value: ValueRef<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    let kind = match value {
        ValueRef::Text(text) => {
            out.extend_from_slice(trimmed(text));
            return Ok(());
        }
        ValueRef::Null => "null",
        ValueRef::Integer(_) | ValueRef::Real(_) => "a number",
        ValueRef::Blob(bytes) => {
            out.extend_from_slice(bytes);
            "a blob"
        }
    };
    Err(format!("column {column:?} is {kind}, not the text of a document"))
}

/// Without the white space of JSON, which is less than that of ASCII.
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] | [rest @ .., b' ' | b'\t' | b'\n' | b'\r'] = text {
        text = rest;
    }
    text
}

/// An object of all columns, in their order.
fn object(values: &[(&str, ValueRef<'_>)], out: &mut Vec<u8>) -> Result<(), String> {
    out.push(b'{');
    for (index, (name, value)) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::write_string(out, name);
        out.push(b':');
        match value {
            ValueRef::Null => out.extend_from_slice(b"null"),
            ValueRef::Integer(integer) => out.extend_from_slice(integer.to_string().as_bytes()),
            ValueRef::Real(real) if real.is_finite() => {
                // The shortest text that reads back as the same double.
                out.extend_from_slice(serde_json::Value::from(*real).to_string().as_bytes());
            }
            ValueRef::Real(_) => return Err(format!("column {name:?} is infinite, which JSON cannot say")),
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => json::write_string(out, text),
                Err(_) => return Err(format!("column {name:?} is not valid UTF-8")),
            },
            ValueRef::Blob(bytes) => json::write_string(out, &STANDARD.encode(bytes)),
        }
    }
    out.push(b'}');
    Ok(())
}

/// Whether the columns of a row hold what its document says.
fn agree(extract: &Extract, document: &[u8], stored: &[(&str, ValueRef<'_>)]) -> Result<(), String> {
    let mut index = Index::default();
    json::index(document, &mut index)
        .map_err(|malformed| format!("the document is not one JSON object: {malformed}"))?;
    let (_, expected) = extract.row(document, &index)?;
    match stored.iter().zip(&expected).find(|((_, stored), expected)| !expected.is(*stored)) {
        Some(((column, _), _)) => Err(format!("column {column} is not what the document holds")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_becomes_an_object_in_column_order() {
        let values = [
            ("id", ValueRef::Integer(i64::MAX)),
            ("a\"b", ValueRef::Text("é\n".as_bytes())),
            ("real", ValueRef::Real(0.1)),
            ("whole", ValueRef::Real(5.0)),
            ("none", ValueRef::Null),
            ("bytes", ValueRef::Blob(&[0, 255])),
        ];
        let mut out = Vec::new();
        object(&values, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"id":9223372036854775807,"a\"b":"é\n","real":0.1,"whole":5.0,"none":null,"bytes":"AP8="}"#
        );
    }

    #[test]
    fn what_json_cannot_say_is_refused_by_column() {
        let reason = |value| object(&[("x", value)], &mut Vec::new()).unwrap_err();
        assert_eq!(reason(ValueRef::Real(f64::INFINITY)), "column \"x\" is infinite, which JSON cannot say");
        assert_eq!(reason(ValueRef::Text(b"\xff")), "column \"x\" is not valid UTF-8");
    }
}
