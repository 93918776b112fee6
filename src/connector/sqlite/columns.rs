//! From a document to the values of its row, and whether a row holds what its document says.

use crate::connector::sqlite::TargetOptions;
use crate::model::document::Id;
use crate::model::json::{self, Index};
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use std::borrow::Cow;

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
}

impl<'a> Cell<'a> {
    /// What a field becomes: a string its characters, a number the nearest that SQLite holds (its text where that would be
    /// infinite), true and false 1 and 0, null and an absent field NULL, an object or array its text.
    pub(super) fn of_field(raw: Option<&'a [u8]>) -> Self {
        match raw {
            None | Some(b"null") => Cell::Null,
            Some(b"true") => Cell::Integer(1),
            Some(b"false") => Cell::Integer(0),
            Some(raw @ [b'-' | b'0'..=b'9', ..]) => Self::of_number(String::from_utf8_lossy(raw)),
            Some(raw) => Cell::Text(json::scalar_text(raw)),
        }
    }

    fn of_number(text: Cow<'a, str>) -> Self {
        if let Ok(integer) = text.parse() {
            return Cell::Integer(integer);
        }
        match text.parse::<f64>() {
            Ok(real) if real.is_finite() => Cell::Real(real),
            _ => Cell::Text(text),
        }
    }

    /// Whether a stored value is this one.
    pub(super) fn is(&self, stored: ValueRef<'_>) -> bool {
        match (self, stored) {
            (Cell::Null, ValueRef::Null) => true,
            (Cell::Integer(ours), ValueRef::Integer(theirs)) => *ours == theirs,
            // SQLite stores -0.0 as 0.0, which is equal here.
            (Cell::Real(ours), ValueRef::Real(theirs)) => *ours == theirs,
            (Cell::Text(ours), ValueRef::Text(theirs)) => ours.as_bytes() == theirs,
            _ => false,
        }
    }
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Cell::Null => ValueRef::Null,
            Cell::Integer(integer) => ValueRef::Integer(*integer),
            Cell::Real(real) => ValueRef::Real(*real),
            Cell::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// Takes the id and the extra columns out of documents.
#[derive(Clone, Debug)]
pub(super) struct Extract {
    pub(super) id_field: String,
    pub(super) columns: Vec<String>,
}

impl Extract {
    /// What a target's settings ask for.
    pub(super) fn new(options: &TargetOptions) -> Self {
        Self { id_field: options.id_field.clone(), columns: options.columns.clone() }
    }

    /// The document's id and the cells of its row: the id's characters, then the columns in their order. `index` is the document's.
    pub(super) fn row<'a>(&self, bytes: &'a [u8], index: &Index) -> Result<(Id<'a>, Vec<Cell<'a>>), String> {
        // Of duplicate keys the last counts.
        let field = |name: &str| {
            let found = index.fields.iter().rev().find(|field| field.is_named(bytes, name));
            found.map(|field| field.raw_value(bytes))
        };
        let mut cells = Vec::with_capacity(1 + self.columns.len());
        let id = Id::of(&self.id_field, field(&self.id_field))?;
        cells.push(Cell::Text(id.characters.clone()));
        cells.extend(self.columns.iter().map(|name| Cell::of_field(field(name))));
        Ok((id, cells))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_the_nearest_value_that_sqlite_holds() {
        let cases: [(&str, Cell<'_>); 12] = [
            (r#""a\u0062""#, Cell::Text("ab".into())),
            ("12", Cell::Integer(12)),
            ("-9223372036854775808", Cell::Integer(i64::MIN)),
            ("9223372036854775808", Cell::Real(9_223_372_036_854_775_808.0)),
            ("1.10", Cell::Real(1.1)),
            ("1e3", Cell::Real(1000.0)),
            ("1e400", Cell::Text("1e400".into())),
            ("true", Cell::Integer(1)),
            ("false", Cell::Integer(0)),
            ("null", Cell::Null),
            ("[1, 2]", Cell::Text("[1, 2]".into())),
            (r#"{"a":"b"}"#, Cell::Text(r#"{"a":"b"}"#.into())),
        ];
        for (raw, expected) in cases {
            assert_eq!(Cell::of_field(Some(raw.as_bytes())), expected, "{raw}");
        }
        assert_eq!(Cell::of_field(None), Cell::Null);
    }

    #[test]
    fn an_id_is_the_text_of_a_scalar() {
        let extract = Extract { id_field: "id".into(), columns: vec!["n".into()] };
        let cells = |text: &'static str| {
            let mut index = Index::default();
            json::index(text.as_bytes(), &mut index).unwrap();
            extract.row(text.as_bytes(), &index).map(|(_, cells)| cells)
        };
        assert_eq!(cells(r#"{"id":1.0,"n":1}"#).unwrap(), [Cell::Text("1.0".into()), Cell::Integer(1)]);
        assert_eq!(cells(r#"{"id":1,"id":"b"}"#).unwrap(), [Cell::Text("b".into()), Cell::Null]);
        assert_eq!(
            cells(r#"{"Id":1}"#).unwrap_err(),
            r#"no id: field "id" is missing; [id] from = "position" makes one"#
        );
        assert_eq!(cells(r#"{"id":{}}"#).unwrap_err(), r#"no id: field "id" is an object"#);
    }
}
