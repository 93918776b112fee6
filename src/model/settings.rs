//! Settings as the user gave them: values that remember where they came from, read with all errors collected.
//!
//! A [`Section`] is one table of settings (`source`, `target`, one step). Its owner asks for each setting by name, with the type
//! it needs and the built-in value; what nobody asked for is unknown, and reported with the nearest name that was
//! asked for. Every answer is remembered for `docferry show`. No getter fails at once: problems are
//! collected, so that a user sees all of them in one go.

use crate::model::units::parse_bytes;
use std::fmt;
use std::sync::Arc;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    BuiltIn,
    /// A preset of the auto-tuner.
    Preset(String),
    /// A profile of the auto-tuner.
    Profile(String),
    /// What an earlier run of the same shape ended with, kept in this file.
    Remembered(String),
    /// A file, at a line and column (both from 1).
    File {
        /// The file as the user named it.
        path: String,
        /// Line.
        line: usize,
        /// Column, in characters.
        column: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => f.write_str("built-in"),
            Origin::Preset(name) => write!(f, "preset {name}"),
            Origin::Profile(name) => write!(f, "profile {name}"),
            Origin::Remembered(path) => write!(f, "remembered in {path}"),
            Origin::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value of a settings file, a flag or a variable.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// Several values.
    List(Vec<Setting>),
    /// Named values, in file order.
    Table(Vec<(String, Setting)>),
}

impl Value {
    /// What kind of value it is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Float(number) => write!(f, "{number}"),
            Value::Boolean(flag) => write!(f, "{flag}"),
            Value::List(values) => {
                f.write_str("[")?;
                for (i, setting) in values.iter().enumerate() {
                    write!(f, "{}{}", if i == 0 { "" } else { ", " }, setting.value)?;
                }
                f.write_str("]")
            }
            Value::Table(entries) => {
                f.write_str("{")?;
                for (i, (name, setting)) in entries.iter().enumerate() {
                    write!(f, "{}{name} = {}", if i == 0 { " " } else { ", " }, setting.value)?;
                }
                f.write_str(if entries.is_empty() { "}" } else { " }" })
            }
        }
    }
}

/// A value and its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The value.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

/// Something wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub origin: Origin,
    /// Its path (`source.compression`).
    pub path: String,
    /// What was found, what is allowed, and the nearest name.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::BuiltIn => write!(f, "{}: {}", self.path, self.message),
            origin => write!(f, "{origin}: {}: {}", self.path, self.message),
        }
    }
}

/// A setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Its path.
    pub path: String,
    /// The value, printed.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// From a variable's name to its value.
type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The environment's variables, for what may stand in no file: secrets.
#[derive(Clone)]
pub struct Variables(Arc<Lookup>);

impl Variables {
    /// Variables by a function from name to value.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }
}

impl Default for Variables {
    /// None is set.
    fn default() -> Self {
        Self::new(|_| None)
    }
}

impl fmt::Debug for Variables {
    /// They hold secrets and are not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Variables")
    }
}

/// One table of settings, being read.
#[derive(Debug)]
pub struct Section {
    path: String,
    origin: Origin,
    entries: Vec<(String, Setting)>,
    asked: Vec<&'static str>,
    problems: Vec<Problem>,
    resolved: Vec<Resolved>,
    variables: Variables,
}

impl Section {
    /// A table at `path`, which stands at `origin`. Of equal names the last counts.
    pub fn new(path: impl Into<String>, origin: Origin, entries: Vec<(String, Setting)>) -> Self {
        let path = path.into();
        let variables = Variables::default();
        Self {
            path,
            origin,
            entries,
            asked: Vec::new(),
            problems: Vec::new(),
            resolved: Vec::new(),
            variables,
        }
    }

    /// The same table, with variables for its owner to look up.
    #[must_use]
    pub fn with_variables(self, variables: Variables) -> Self {
        Self { variables, ..self }
    }

    /// The value of an environment variable, which is remembered nowhere: not for `show`, and not in any message.
    pub fn variable(&self, name: &str) -> Option<String> {
        (self.variables.0)(name).filter(|value| !value.is_empty())
    }

    /// The path of a name in this table.
    pub fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Where the table stands.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The raw setting; the name counts as known.
    pub fn raw(&mut self, name: &'static str) -> Option<Setting> {
        self.asked.push(name);
        self.entries.iter().rev().find(|(key, _)| key == name).map(|(_, setting)| setting.clone())
    }

    /// Text.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.get(name, "text", |value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// Text, or the built-in value.
    pub fn text_or(&mut self, name: &'static str, built_in: &str) -> String {
        self.text(name).unwrap_or_else(|| self.fallback(name, &format!("{built_in:?}"), built_in.to_owned()))
    }

    /// Text that must be given.
    pub fn text_required(&mut self, name: &'static str) -> Option<String> {
        let missing = !self.entries.iter().any(|(key, _)| key == name);
        let found = self.text(name);
        if missing {
            self.problem(name, "is missing");
        }
        found
    }

    /// One of several words, or the built-in one.
    pub fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&str, T)],
        built_in: &str,
    ) -> Option<T> {
        let word = self.text_or(name, built_in);
        if let Some((_, value)) = choices.iter().find(|(allowed, _)| *allowed == word) {
            return Some(*value);
        }
        let allowed: Vec<&str> = choices.iter().map(|(allowed, _)| *allowed).collect();
        let hint =
            nearest(&word, &allowed).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        self.problem(name, format!("is {word:?}, allowed are {}{hint}", allowed.join(", ")));
        None
    }

    /// A number or a text that `parse` understands as what is `wanted`.
    pub fn parsed<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        self.get(name, wanted, |value| match value {
            Value::Text(text) => parse(text),
            Value::Integer(number) => parse(&number.to_string()),
            Value::Float(number) => parse(&number.to_string()),
            _ => None,
        })
    }

    /// A whole number in a range, or the built-in value.
    pub fn count_or(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<u64>,
        built_in: u64,
    ) -> u64 {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let found = self.get(name, &wanted, |value| match value {
            Value::Integer(number) => u64::try_from(*number).ok().filter(|n| range.contains(n)),
            Value::Text(text) => text.parse().ok().filter(|n| range.contains(n)),
            _ => None,
        });
        found.unwrap_or_else(|| self.fallback(name, &built_in.to_string(), built_in))
    }

    /// A number in a range, or the built-in value.
    pub fn number_or(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<f64>,
        built_in: f64,
    ) -> f64 {
        let wanted = format!("a number from {} to {}", range.start(), range.end());
        let found = self.get(name, &wanted, |value| match value {
            Value::Integer(number) => Some(*number as f64).filter(|n| range.contains(n)),
            Value::Float(number) => Some(*number).filter(|n| range.contains(n)),
            Value::Text(text) => text.parse().ok().filter(|n| range.contains(n)),
            _ => None,
        });
        found.unwrap_or_else(|| self.fallback(name, &built_in.to_string(), built_in))
    }

    /// A number of bytes (`64 MiB`, or a whole number) in a range, or the built-in value.
    pub fn bytes_or(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<u64>,
        built_in: u64,
    ) -> u64 {
        let wanted =
            format!("a number of bytes from {} to {}, such as \"64 MiB\"", range.start(), range.end());
        let found = self.get(name, &wanted, |value| match value {
            Value::Integer(number) => u64::try_from(*number).ok().filter(|n| range.contains(n)),
            Value::Text(text) => parse_bytes(text).filter(|n| range.contains(n)),
            _ => None,
        });
        found.unwrap_or_else(|| self.fallback(name, &built_in.to_string(), built_in))
    }

    /// True or false, or the built-in value.
    pub fn boolean_or(&mut self, name: &'static str, built_in: bool) -> bool {
        let found = self.get(name, "true or false", |value| match value {
            Value::Boolean(flag) => Some(*flag),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        });
        found.unwrap_or_else(|| self.fallback(name, &built_in.to_string(), built_in))
    }

    /// A list of texts; a single text counts as a list of one. Absent is empty.
    pub fn texts(&mut self, name: &'static str) -> Vec<String> {
        let found = self.get(name, "a list of texts", |value| match value {
            Value::Text(text) => Some(vec![text.clone()]),
            Value::List(values) => values
                .iter()
                .map(|setting| match &setting.value {
                    Value::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// A table below this one, to be read by its own owner and given back to [`Section::absorb`]. Absent is empty.
    pub fn table(&mut self, name: &'static str) -> Section {
        let path = self.path_of(name);
        match self.raw(name) {
            None => Section::new(path, self.origin.clone(), Vec::new()),
            Some(Setting { value: Value::Table(entries), origin }) => Section::new(path, origin, entries),
            Some(other) => {
                self.problem(name, format!("must be a table, found {}", other.value.kind()));
                Section::new(path, self.origin.clone(), Vec::new())
            }
        }
    }

    /// Takes over what a table below this one found.
    pub fn absorb(&mut self, below: Section) {
        let (resolved, problems) = below.finish();
        self.resolved.extend(resolved);
        self.problems.extend(problems);
    }

    /// Notes something wrong with a setting (or with its absence).
    pub fn problem(&mut self, name: &str, message: impl Into<String>) {
        let at = self.entries.iter().rev().find(|(key, _)| key == name).map(|(_, setting)| &setting.origin);
        let origin = at.unwrap_or(&self.origin).clone();
        self.problems.push(Problem { origin, path: self.path_of(name), message: message.into() });
    }

    /// What is in force, and everything that was wrong, unknown names included.
    pub fn finish(mut self) -> (Vec<Resolved>, Vec<Problem>) {
        for (name, setting) in &self.entries {
            if self.asked.iter().any(|asked| asked == name) {
                continue;
            }
            let mut known = self.asked.clone();
            known.sort_unstable();
            known.dedup();
            let message = match nearest(name, &known) {
                Some(near) => format!("unknown setting; did you mean {near:?}?"),
                None if known.is_empty() => "unknown setting; none is allowed here".to_owned(),
                None => format!("unknown setting; allowed are {}", known.join(", ")),
            };
            let path = if self.path.is_empty() { name.clone() } else { format!("{}.{name}", self.path) };
            self.problems.push(Problem { origin: setting.origin.clone(), path, message });
        }
        (self.resolved, self.problems)
    }

    fn get<T>(&mut self, name: &'static str, wanted: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let setting = self.raw(name)?;
        let answer = read(&setting.value);
        let path = self.path_of(name);
        match answer {
            Some(_) => {
                self.resolved.push(Resolved {
                    path,
                    value: setting.value.to_string(),
                    origin: setting.origin,
                });
            }
            None => self.problem(name, format!("must be {wanted}, found {}", setting.value)),
        }
        answer
    }

    fn fallback<T>(&mut self, name: &str, printed: &str, built_in: T) -> T {
        let path = self.path_of(name);
        self.resolved.push(Resolved { path, value: printed.to_owned(), origin: Origin::BuiltIn });
        built_in
    }
}

/// The allowed name that a mistyped one most likely meant, if one is near enough to be worth a hint.
pub fn nearest<'a>(found: &str, allowed: &[&'a str]) -> Option<&'a str> {
    allowed
        .iter()
        .map(|name| (strsim::damerau_levenshtein(found, name), *name))
        // A third of the letters may be wrong: more is another word.
        .filter(|(distance, name)| *distance * 3 <= name.len().max(found.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(entries: &[(&str, Value)]) -> Section {
        let at = |line| Origin::File { path: "s.toml".into(), line, column: 1 };
        let entries = entries
            .iter()
            .enumerate()
            .map(|(i, (name, value))| {
                ((*name).to_owned(), Setting { value: value.clone(), origin: at(i + 2) })
            })
            .collect();
        Section::new("source", at(1), entries)
    }

    #[test]
    fn all_problems_are_reported_at_once_with_place_and_nearest_name() {
        let mut section = section(&[
            ("compresion", Value::Text("gzip".into())),
            ("format", Value::Text("lines".into())),
            ("limit", Value::Integer(0)),
        ]);
        section.text_or("compression", "auto");
        section.choice("format", &[("json-lines", 1), ("json-array", 2)], "json-lines");
        section.count_or("limit", 1..=10, 5);
        section.text_required("path");
        let problems: Vec<String> = section.finish().1.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "s.toml:3:1: source.format: is \"lines\", allowed are json-lines, json-array",
                "s.toml:4:1: source.limit: must be a whole number from 1 to 10, found 0",
                "s.toml:1:1: source.path: is missing",
                "s.toml:2:1: source.compresion: unknown setting; did you mean \"compression\"?",
            ]
        );
    }

    #[test]
    fn every_answer_is_remembered_with_its_origin() {
        let mut section = section(&[("path", Value::Text("a.jsonl".into()))]);
        section.text_required("path");
        section.bytes_or("partition_bytes", 1..=u64::MAX, 64);
        let resolved: Vec<String> =
            section.finish().0.iter().map(|r| format!("{} = {} ({})", r.path, r.value, r.origin)).collect();
        assert_eq!(
            resolved,
            ["source.path = \"a.jsonl\" (s.toml:2:1)", "source.partition_bytes = 64 (built-in)"]
        );
    }
}
