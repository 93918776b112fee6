//! A TOML document as settings that know their line and column.
//!
//! The parser keeps byte ranges; here they become lines and columns, tables are put back into the order of the file (an
//! order that counts: a step renames its fields in it), and texts are interpolated. A document that is not TOML is one problem for every
//! mistake that the parser could tell apart.

use super::environment::Environment;
use super::interpolate::interpolate;
use crate::model::settings::{Origin, Problem, Setting, Value};
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

/// Named settings, in file order.
pub(crate) type Entries = Vec<(String, Setting)>;

/// The settings of `text`, which the user knows as `path`, and what is wrong with them.
pub(crate) fn read(path: &str, text: &str, environment: &Environment) -> (Entries, Vec<Problem>) {
    let (table, mut errors) = DeTable::parse_recoverable(text);
    // The parser reports what it noticed first; a reader goes from top to bottom.
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    let mut reading = Reading { path, text, environment, problems: Vec::new() };
    for error in errors {
        let start = error.span().map_or(0, |span| span.start);
        let message = error.message().replace('\n', "; ");
        reading.problem(start, "syntax", message);
    }
    if !reading.problems.is_empty() {
        // What recovery made of a broken document would only lead to problems that are none.
        return (Vec::new(), reading.problems);
    }
    let entries = reading.table(table.get_ref(), "");
    (entries, reading.problems)
}

struct Reading<'a> {
    path: &'a str,
    text: &'a str,
    environment: &'a Environment,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn table(&mut self, table: &DeTable<'_>, path: &str) -> Entries {
        let mut in_order: Vec<_> = table.iter().collect();
        in_order.sort_by_key(|(key, _)| key.span().start);
        let mut entries = Vec::with_capacity(in_order.len());
        for (key, value) in in_order {
            let name = key.get_ref().to_string();
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            // A name's place serves for its value too: they stand on one line, and an unknown name needs its own.
            let setting = self.setting(value, key.span().start, &below);
            entries.push((name, setting));
        }
        entries
    }

    fn setting(&mut self, value: &Spanned<DeValue<'_>>, start: usize, path: &str) -> Setting {
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(self.text(text, start, path)),
            DeValue::Integer(number) => self.integer(number, start, path),
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            // JSON has no dates: in a document it becomes text anyway.
            DeValue::Datetime(time) => Value::Text(time.to_string()),
            DeValue::Array(values) => {
                let below = |index: usize| format!("{path}[{index}]");
                let each = values.iter().enumerate();
                Value::List(
                    each.map(|(i, value)| self.setting(value, value.span().start, &below(i))).collect(),
                )
            }
            DeValue::Table(table) => Value::Table(self.table(table, path)),
        };
        Setting { value, origin: self.origin(start) }
    }

    fn text(&mut self, text: &str, start: usize, path: &str) -> String {
        interpolate(text, self.environment).unwrap_or_else(|message| {
            self.problem(start, path, message);
            text.to_owned()
        })
    }

    fn integer(&mut self, number: &DeInteger<'_>, start: usize, path: &str) -> Value {
        i64::from_str_radix(number.as_str(), number.radix()).map(Value::Integer).unwrap_or_else(|_| {
            self.problem(start, path, format!("{number} is out of range for a whole number"));
            Value::Integer(0)
        })
    }

    fn problem(&mut self, start: usize, path: &str, message: impl Into<String>) {
        let origin = self.origin(start);
        self.problems.push(Problem { origin, path: path.to_owned(), message: message.into() });
    }

    fn origin(&self, start: usize) -> Origin {
        let before = &self.text[..start.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Origin::File { path: self.path.to_owned(), line, column }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Entries, Vec<String>) {
        let environment = Environment::of(&[("WHERE", "here")], 4);
        let (entries, problems) = super::read("s.toml", text, &environment);
        (entries, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn values_keep_their_order_and_place() {
        let (entries, problems) =
            read("'é' = { z = 1_000, a = '${WHERE}' }\n[[b]]\nday = 2024-02-29\nx = 0x10\n");
        assert_eq!(problems, [""; 0]);
        let printed: Vec<_> = entries.iter().map(|(n, s)| format!("{n} {} {}", s.value, s.origin)).collect();
        assert_eq!(
            printed,
            ["é { z = 1000, a = \"here\" } s.toml:1:1", "b [{ day = \"2024-02-29\", x = 16 }] s.toml:2:3",]
        );
        let Value::Table(inner) = &entries[0].1.value else { panic!("a table") };
        assert_eq!(inner[1].1.origin.to_string(), "s.toml:1:20", "columns are characters, not bytes");
    }

    #[test]
    fn broken_documents_are_problems_with_a_place() {
        assert_eq!(
            read("a = 1\nb = tru\n[x\n").1,
            [
                "s.toml:2:5: syntax: invalid boolean, expected `true`",
                "s.toml:3:3: syntax: unclosed table, expected `]`",
            ]
        );
        assert_eq!(
            read("[a]\nb = 99999999999999999999\nc = ['${NO}', '${']\n").1,
            [
                "s.toml:2:1: a.b: 99999999999999999999 is out of range for a whole number",
                "s.toml:3:6: a.c[0]: the environment variable NO is not defined; ${NO:-value} gives it a default",
                "s.toml:3:15: a.c[1]: ${ must be followed by a name and }; a literal ${ is written $${",
            ]
        );
    }
}
