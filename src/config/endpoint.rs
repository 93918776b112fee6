//! `[source]` and `[target]`: which connector, and its settings handed to it.
//!
//! Nothing here knows a connector. The registry says which there are; a connector reads its own settings and notes its own
//! problems.

use super::asked::{Asked, Given};
use super::document::Entries;
use super::{note, uri};
use crate::connector::registry::{self, Connector};
use crate::connector::{Sink, Source};
use crate::model::settings::{Origin, Problem, Section, Setting, Value, Variables};

/// The source, and its name for a person.
pub(crate) fn source(
    strategy: &mut Section,
    from: Option<&Given>,
    variables: Variables,
) -> Option<(Box<dyn Source>, String)> {
    let given = Flags { uri: from, settings: &[] };
    endpoint(strategy, ("source", given, variables), "read from", |connector| connector.source)
}

/// The sink, and its name for a person.
pub(crate) fn sink(
    strategy: &mut Section,
    asked: &Asked,
    variables: Variables,
) -> Option<(Box<dyn Sink>, String)> {
    let given = Flags { uri: asked.to.as_ref(), settings: &asked.target };
    endpoint(strategy, ("target", given, variables), "written to", |connector| connector.sink)
}

/// What the command line says of one end.
struct Flags<'a> {
    /// In place of the strategy's table.
    uri: Option<&'a Given>,
    /// Settings that win over those of the table.
    settings: &'a [(&'static str, Given)],
}

/// How a connector makes one end of a migration, if it can be that end.
type Make<T> = fn(&mut Section) -> Option<T>;

fn endpoint<T>(
    strategy: &mut Section,
    (table, flags, variables): (&'static str, Flags<'_>, Variables),
    verb: &str,
    make: fn(&Connector) -> Option<Make<T>>,
) -> Option<(T, String)> {
    let (mut entries, origin) = entries(strategy, table, flags.uri)?;
    for (name, given) in flags.settings {
        let setting = Setting { value: Value::Text(given.text.clone()), origin: given.origin.clone() };
        entries.push(((*name).to_owned(), setting));
    }
    let connector = connector(strategy, table, &entries)?;
    let known = if table == "source" { connector.source_settings } else { connector.target_settings };
    for (name, given) in flags.settings {
        if !known.iter().any(|(known, _)| known == name) {
            let message = format!("connector {:?} counts no request units; leave it out", connector.name);
            note(
                strategy,
                Problem { origin: given.origin.clone(), path: format!("{table}.{name}"), message },
            );
            return None;
        }
    }
    let Some(make) = make(connector) else {
        strategy.problem(table, format!("connector {:?} cannot be {verb}", connector.name));
        return None;
    };
    let mut section = Section::new(table, origin, entries).with_variables(variables);
    section.text("connector");
    let made = make(&mut section);
    let location = location(&mut section, connector);
    strategy.absorb(section);
    Some((made?, format!("{}:{location}", connector.name)))
}

/// Where the endpoint is, for a person: never its other settings, one of which may be a secret.
fn location(section: &mut Section, connector: &Connector) -> String {
    if connector.location.is_empty() {
        return String::new();
    }
    match section.raw(connector.location) {
        Some(Setting { value: Value::Text(text), .. }) => text,
        Some(Setting { value: Value::List(list), .. }) => {
            let texts: Vec<&str> = list
                .iter()
                .filter_map(|one| match &one.value {
                    Value::Text(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect();
            match texts.as_slice() {
                [first, _, more @ ..] if !more.is_empty() => format!("{first} and {} more", texts.len() - 1),
                few => few.join(", "),
            }
        }
        _ => String::new(),
    }
}

/// The endpoint's settings: of the flag, or of the strategy's table with its `uri` taken apart.
fn entries(strategy: &mut Section, table: &'static str, flag: Option<&Given>) -> Option<(Entries, Origin)> {
    let setting = strategy.raw(table);
    if let Some(given) = flag {
        let parsed = uri::parse(&given.text, &given.origin);
        return noted(strategy, parsed, table, &given.origin).map(|entries| (entries, given.origin.clone()));
    }
    let (entries, origin) = match setting {
        Some(Setting { value: Value::Table(entries), origin }) => (entries, origin),
        Some(other) => {
            strategy.problem(table, format!("must be a table, found {}", other.value.kind()));
            return None;
        }
        None => {
            let flag = if table == "source" { "--from" } else { "--to" };
            strategy.problem(table, format!("is missing; give the table [{table}] or {flag} URI"));
            return None;
        }
    };
    let Some(at) = entries.iter().position(|(name, _)| name == "uri") else { return Some((entries, origin)) };
    expand(strategy, table, entries, at).map(|entries| (entries, origin))
}

/// Puts what a `uri` says before the settings that stand beside it.
fn expand(strategy: &mut Section, table: &str, mut entries: Entries, at: usize) -> Option<Entries> {
    let (_, setting) = entries.remove(at);
    let path = format!("{table}.uri");
    let parsed = match &setting.value {
        Value::Text(_) if entries.iter().any(|(name, _)| name == "connector") => {
            Err("stands beside connector; give one of the two".to_owned())
        }
        Value::Text(text) => uri::parse(text, &setting.origin),
        other => Err(format!("must be text, found {}", other.kind())),
    };
    let mut expanded = noted(strategy, parsed, &path, &setting.origin)?;
    expanded.append(&mut entries);
    Some(expanded)
}

fn connector(strategy: &mut Section, table: &str, entries: &Entries) -> Option<&'static Connector> {
    let path = format!("{table}.connector");
    let Some((_, setting)) = entries.iter().rev().find(|(name, _)| name == "connector") else {
        let names = uri::connector_names().join(", ");
        strategy.problem(table, format!("connector is missing; known are {names}"));
        return None;
    };
    let found = match &setting.value {
        Value::Text(name) => registry::find(name).ok_or_else(|| uri::unknown(name)),
        other => Err(format!("must be text, found {}", other.kind())),
    };
    noted(strategy, found, &path, &setting.origin)
}

/// Notes a failure as a problem at a place of its own.
fn noted<T>(strategy: &mut Section, outcome: Result<T, String>, path: &str, origin: &Origin) -> Option<T> {
    outcome
        .map_err(|message| note(strategy, Problem { origin: origin.clone(), path: path.to_owned(), message }))
        .ok()
}
