//! What the command line asks for, free of the library that parsed it: `cli` fills this, [`resolve`](super::resolve) reads it.

use super::job::Begin;
use crate::model::settings::{Origin, Setting, Value};

/// A flag's text, and whether it came from the flag or from its `DOCFERRY_*` twin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The text as the user wrote it.
    pub text: String,
    /// The flag or the variable.
    pub origin: Origin,
}

impl Given {
    /// A flag's text.
    pub fn flag(name: &str, text: impl Into<String>) -> Self {
        Self { text: text.into(), origin: Origin::Flag(name.to_owned()) }
    }

    /// The setting it stands for. Flags and variables have no types, so what looks like a number or a truth value is one.
    pub fn to_setting(&self) -> Setting {
        let text = self.text.trim();
        let value = if let Ok(number) = text.parse() {
            Value::Integer(number)
        } else if let Ok(flag) = text.parse() {
            Value::Boolean(flag)
        } else if let Ok(number) = text.parse() {
            Value::Float(number)
        } else {
            Value::Text(text.to_owned())
        };
        Setting { value, origin: self.origin.clone() }
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// `--strategy`
    pub strategy: Option<Given>,
    /// `--from`, which replaces the strategy's source.
    pub from: Option<Given>,
    /// `--to`, which replaces the strategy's target.
    pub to: Option<Given>,
    /// `--job`
    pub job: Option<Given>,
    /// `--state`
    pub state: Option<Given>,
    /// `--resume`, `--restart`
    pub begin: Begin,
    /// `--overwrite`
    pub overwrite: bool,
    /// Flags that stand above a setting of the strategy's `[run]` table, by its name there.
    pub run: Vec<(&'static str, Given)>,
    /// Flags that stand above a setting of the strategy's `[scaling]` table, by its name there.
    pub scaling: Vec<(&'static str, Given)>,
    /// Flags that stand above a setting of the target, by its name there.
    pub target: Vec<(&'static str, Given)>,
}
