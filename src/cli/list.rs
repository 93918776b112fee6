//! `docferry list`: what is built in, each with the line that it says about itself.

use super::{GlobalFlags, Listed};
use crate::config::POLICIES;
use crate::config::shipped::{PRESETS, PROFILES, STRATEGIES, Shelf};
use crate::connector::registry::{CONNECTORS, Connector};
use crate::error::Result;
use crate::simulate;
use crate::transform::STEPS;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// Prints one list.
pub(super) fn run(what: Listed, global: &GlobalFlags, out: &mut dyn Write) -> anyhow::Result<u8> {
    let entries = entries(what)?;
    if global.json {
        let objects: Vec<Value> = entries.iter().map(Entry::to_json).collect();
        writeln!(out, "{:#}", Value::from(objects))?;
    } else {
        print(&entries, out)?;
    }
    Ok(0)
}

struct Entry {
    name: String,
    about: String,
    /// Further lines: a heading, and names with a line each.
    settings: Vec<(&'static str, &'static [(&'static str, &'static str)])>,
}

fn entries(what: Listed) -> Result<Vec<Entry>> {
    let shelf = |shelf: Shelf| {
        let entry = |file: &crate::config::shipped::Shipped| Entry {
            name: file.name.to_owned(),
            about: file.about(),
            settings: Vec::new(),
        };
        shelf.files.iter().map(entry).collect()
    };
    let plain = |(name, about)| Entry { name, about, settings: Vec::new() };
    Ok(match what {
        Listed::Strategies => shelf(STRATEGIES),
        Listed::Profiles => shelf(PROFILES),
        Listed::Presets => shelf(PRESETS),
        Listed::Policies => POLICIES
            .iter()
            .map(|(policy, about)| Entry {
                name: policy.as_str().to_owned(),
                about: (*about).to_owned(),
                settings: Vec::new(),
            })
            .collect(),
        Listed::Connectors => CONNECTORS.iter().map(of_connector).collect(),
        Listed::Transforms => {
            STEPS.iter().map(|step| plain((step.name.to_owned(), step.about.to_owned()))).collect()
        }
        Listed::Plants => simulate::list()?.into_iter().map(plain).collect(),
        Listed::Controllers => simulate::controllers()
            .into_iter()
            .map(|(name, about)| plain((name.to_owned(), about.to_owned())))
            .collect(),
    })
}

fn of_connector(connector: &Connector) -> Entry {
    let mut settings = Vec::new();
    if connector.source.is_some() {
        settings.push(("source", connector.source_settings));
    }
    if connector.sink.is_some() {
        settings.push(("target", connector.target_settings));
    }
    Entry { name: connector.name.to_owned(), about: connector.about.to_owned(), settings }
}

impl Entry {
    fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("name".to_owned(), self.name.as_str().into());
        object.insert("about".to_owned(), self.about.as_str().into());
        for (heading, settings) in &self.settings {
            let settings: Vec<Value> =
                settings.iter().map(|(name, about)| json!({ "name": name, "about": about })).collect();
            object.insert((*heading).to_owned(), settings.into());
        }
        Value::Object(object)
    }
}

fn print(entries: &[Entry], out: &mut dyn Write) -> io::Result<()> {
    let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    for entry in entries {
        writeln!(out, "{:width$}  {}", entry.name, entry.about)?;
        let inner =
            entry.settings.iter().flat_map(|(_, all)| *all).map(|(name, _)| name.len()).max().unwrap_or(0);
        for (heading, settings) in &entry.settings {
            writeln!(out, "{:width$}  as a {heading}", "")?;
            for (name, about) in *settings {
                writeln!(out, "{:width$}    {name:inner$}  {about}", "")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_aligned() {
        let mut out = Vec::new();
        print(&entries(Listed::Profiles).unwrap(), &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
    conservative  5 000 documents/s within 60% CPU and 70% memory; for machines and databases with other users
    balanced      10 000 documents/s within 70% CPU and 75% memory; the default
    aggressive    20 000 documents/s within 80% CPU and 85% memory; for a machine that has nothing else to do
    "#);
        let settings: &[_] = &[("path", "the file"), ("table", "the table")];
        let entry = Entry {
            name: "sqlite".into(),
            about: "a database".into(),
            settings: vec![("source", settings), ("target", &[])],
        };
        let mut out = Vec::new();
        print(std::slice::from_ref(&entry), &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
    sqlite  a database
            as a source
              path   the file
              table  the table
            as a target
    "#);
        assert_eq!(entry.to_json()["source"][1]["name"], "table");
    }
}
