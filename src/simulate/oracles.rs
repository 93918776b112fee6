//! Oracles that were searched before: a search takes seconds to minutes, and most plants stay as they are.
//!
//! Each is kept under a hash of its plant and of the simulator's source, without comments and tests. If either changes, the oracle is searched
//! anew, and a test says so before anybody trusts a table.

use super::docferry::{CEILINGS, START};
use super::oracle::{Best, Oracle};
use super::plant::Plant;
use crate::error::{Error, Result};
use crate::model::knobs::Knobs;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::sync::LazyLock;
use xxhash_rust::xxh3::xxh3_64;

/// What decides what a fixed setting yields, and which of them the oracle takes.
const SIMULATOR: [&str; 10] = [
    include_str!("../model/knobs.rs"),
    include_str!("chance.rs"),
    include_str!("controller.rs"),
    include_str!("crew.rs"),
    include_str!("oracle.rs"),
    include_str!("pipeline.rs"),
    include_str!("plant.rs"),
    include_str!("rivals/fixed.rs"),
    include_str!("target.rs"),
    include_str!("world.rs"),
];

static KEPT: LazyLock<Vec<Kept>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../plants/oracles.json")).unwrap_or_default());

/// An oracle in the file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Kept {
    plant: String,
    hash: String,
    phases: Vec<Phase>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
struct Phase {
    from: f64,
    documents_per_second: f64,
    readers: usize,
    transformers: usize,
    requests_in_flight: usize,
    batch_documents: usize,
}

/// The oracle of a plant if it was searched before, and neither the plant nor the simulator has changed.
pub(super) fn kept(plant: &Plant) -> Option<Oracle> {
    let hash = hash(plant);
    KEPT.iter().find(|kept| kept.hash == hash).map(|kept| Oracle::from(kept.phases.as_slice()))
}

/// Searches.
pub(super) fn search(plant: &Plant) -> Oracle {
    Oracle::search(plant, CEILINGS, START)
}

/// The file of these plants' oracles.
pub(super) fn file(oracles: &[(&Plant, Oracle)]) -> Result<String> {
    let mut text = String::from("[\n");
    for (index, (plant, oracle)) in oracles.iter().enumerate() {
        let phases = oracle.phases.iter().map(Phase::from).collect();
        let kept = Kept { plant: plant.name.clone(), hash: hash(plant), phases };
        let line = serde_json::to_string(&kept)
            .map_err(|cause| Error::internal("writing the oracles", "").caused_by(cause))?;
        let comma = if index + 1 < oracles.len() { "," } else { "" };
        // Writing to a text cannot fail.
        let _ = writeln!(text, "  {line}{comma}");
    }
    text.push_str("]\n");
    Ok(text)
}

/// Of a plant, its name aside, and the simulator.
fn hash(plant: &Plant) -> String {
    static CODE: LazyLock<String> = LazyLock::new(|| SIMULATOR.iter().map(|text| code(text)).collect());
    let plant = Plant { name: String::new(), about: String::new(), ..plant.clone() };
    format!("{:016x}", xxh3_64(format!("{plant:?}\n{CEILINGS:?}\n{START:?}\n{}", *CODE).as_bytes()))
}

/// A source file without its comments, its indentation and its tests.
fn code(text: &str) -> String {
    let lines = text.lines().map(str::trim).take_while(|line| *line != "#[cfg(test)]");
    lines.filter(|line| !line.starts_with("//") && !line.is_empty()).collect::<Vec<_>>().join("\n")
}

impl From<&(f64, Best)> for Phase {
    fn from((from, best): &(f64, Best)) -> Self {
        let Knobs { readers, transformers, requests_in_flight, batch_documents, .. } = best.knobs;
        let documents_per_second = (best.documents_per_second * 1e3).round() / 1e3;
        Self { from: *from, documents_per_second, readers, transformers, requests_in_flight, batch_documents }
    }
}

impl From<&[Phase]> for Oracle {
    fn from(phases: &[Phase]) -> Self {
        let best = |phase: &Phase| Best {
            knobs: Knobs {
                readers: phase.readers,
                transformers: phase.transformers,
                requests_in_flight: phase.requests_in_flight,
                batch_documents: phase.batch_documents,
                ..START
            },
            documents_per_second: phase.documents_per_second,
        };
        Self { phases: phases.iter().map(|phase| (phase.from, best(phase))).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::plant;

    #[test]
    fn comments_and_tests_do_not_count_and_code_does() {
        assert_eq!(
            code("//! a\nlet x = 1;\n\n  // b\n  let y;\n#[cfg(test)]\nmod tests {}"),
            "let x = 1;\nlet y;"
        );
        let one = plant::named("[target]\nlatency = 0.1");
        let same = Plant { name: "other".into(), ..one.clone() };
        assert_eq!(hash(&one), hash(&same));
        assert_ne!(hash(&one), hash(&plant::named("[target]\nlatency = 0.2")));
    }

    #[test]
    fn the_file_gives_back_what_was_put_into_it() {
        let plant = plant::named("");
        let best = Best { knobs: Knobs { readers: 7, ..START }, documents_per_second: 1234.5 };
        let oracle = Oracle { phases: vec![(0.0, best), (50.0, best)] };
        let text = file(&[(&plant, oracle)]).unwrap();
        let kept: Vec<Kept> = serde_json::from_str(&text).unwrap();
        let again = Oracle::from(kept[0].phases.as_slice());
        assert_eq!(again.phases[0].1.knobs.readers, 7);
        assert_eq!((again.at(49.0), again.phases[1].0), (1234.5, 50.0));
        assert_eq!(text.lines().count(), 3, "a line for each plant");
    }

    /// `docferry simulate --write-oracles plants/oracles.json` makes it so.
    #[test]
    fn every_shipped_plant_has_its_oracle_in_the_file() {
        for plant in crate::simulate::plants::shipped().unwrap() {
            assert!(kept(&plant).is_some(), "{}: the plant or the simulator has changed since", plant.name);
        }
    }
}
