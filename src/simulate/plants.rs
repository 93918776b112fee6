//! The plants that are shipped, those of a folder, and those that are drawn.
//!
//! Constants are found on plants that one looks at, and fit them better than others. So plants can be drawn by a seed: some seeds to develop on,
//! others to report on.

use super::chance::Chance;
use super::check::check;
use super::plant::{Documents, Gpu, Plant, Source, Target, Transform};
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

const READING: &str = "reading the plants";

/// Every file in `plants/`.
const SHIPPED: [&str; 18] = [
    include_str!("../../plants/a.toml"),
    include_str!("../../plants/b.toml"),
    include_str!("../../plants/c.toml"),
    include_str!("../../plants/d.toml"),
    include_str!("../../plants/e.toml"),
    include_str!("../../plants/f.toml"),
    include_str!("../../plants/g.toml"),
    include_str!("../../plants/h.toml"),
    include_str!("../../plants/i.toml"),
    include_str!("../../plants/j.toml"),
    include_str!("../../plants/k.toml"),
    include_str!("../../plants/l.toml"),
    include_str!("../../plants/m.toml"),
    include_str!("../../plants/n.toml"),
    include_str!("../../plants/o.toml"),
    include_str!("../../plants/p.toml"),
    include_str!("../../plants/q.toml"),
    include_str!("../../plants/r.toml"),
];

/// The plants that are shipped.
pub(super) fn shipped() -> Result<Vec<Plant>> {
    SHIPPED.iter().map(|text| parse(text, "plants")).collect()
}

/// Every `.toml` file of a folder, by name.
pub(super) fn of_folder(folder: &Path) -> Result<Vec<Plant>> {
    let unreadable = |what: &'static str, path: &Path, cause: io::Error| {
        Error::new(ErrorKind::Configuration, READING, "cannot be read")
            .with(what, path.display())
            .caused_by(cause)
    };
    let entries: io::Result<Vec<_>> = fs::read_dir(folder).and_then(Iterator::collect);
    let mut files: Vec<_> = entries
        .map_err(|cause| unreadable("folder", folder, cause))?
        .iter()
        .map(fs::DirEntry::path)
        .collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    if files.is_empty() {
        return Err(Error::configuration(READING, "no .toml file is in it").with("folder", folder.display()));
    }
    let read = |file: &Path| {
        let text = fs::read_to_string(file).map_err(|cause| unreadable("file", file, cause))?;
        parse(&text, &file.display().to_string())
    };
    let plants = files.iter().map(|file| read(file)).collect::<Result<Vec<_>>>()?;
    let mut names = BTreeSet::new();
    match plants.iter().find(|plant| !names.insert(&plant.name)) {
        Some(twin) => {
            let message = format!("two plants have the name {:?}", twin.name);
            Err(Error::configuration(READING, message).with("folder", folder.display()))
        }
        None => Ok(plants),
    }
}

fn parse(text: &str, file: &str) -> Result<Plant> {
    let refuse = |message: String| Error::configuration(READING, message).with("file", file);
    let plant: Plant =
        toml::from_str(text).map_err(|cause| refuse(cause.to_string().trim_end().to_owned()))?;
    check(&plant).map_err(refuse)?;
    Ok(plant)
}

/// Draws `count` plants, named `r1` and so on.
pub(super) fn draw(count: u32, seed: u64) -> Vec<Plant> {
    (1..=count).map(|number| drawn(number, seed)).collect()
}

/// In eight plants: two of fixed capacity, three bounded by request units, two retrograde, and one bounded by CPU, memory or GPU in turn.
fn drawn(number: u32, seed: u64) -> Plant {
    let chance = &mut Chance::new(seed.wrapping_mul(1_000_003).wrapping_add(u64::from(number)));
    let mut plant = ordinary(number, chance);
    match number % 8 {
        0 | 3 => plant.target.capacity = between(chance, 4_000.0, 20_000.0),
        1 | 4 | 7 => meter(&mut plant.target, chance),
        2 | 5 => {
            plant.target.contention = chance.uniform() * 0.05;
            plant.target.coherence = between(chance, 1e-4, 2e-3);
        }
        _ => match number / 8 % 3 {
            0 => bound_by_cpu(&mut plant, chance),
            1 => bound_by_memory(&mut plant, chance),
            _ => bound_by_gpu(&mut plant, chance),
        },
    }
    plant
}

/// What every drawn plant has.
fn ordinary(number: u32, chance: &mut Chance) -> Plant {
    let documents = Documents { bytes: between(chance, 500.0, 20_000.0).round(), tail: None };
    let source = Source {
        batch_seconds: between(chance, 0.02, 0.2),
        document_seconds: between(chance, 5e-5, 5e-4),
        most_per_second: 0.0,
    };
    let transform = Transform {
        batch_seconds: between(chance, 0.02, 0.2),
        document_seconds: between(chance, 1e-4, 1e-3),
        document_memory: 2.0 * documents.bytes,
        ..Transform::default()
    };
    let target = Target {
        latency: between(chance, 0.005, 0.5),
        variation: 0.2 + 0.4 * chance.uniform(),
        ..Target::default()
    };
    Plant { documents, source, transform, target, ..Plant::plain(format!("r{number}"), "drawn".to_owned()) }
}

/// Partitions from 1 to 64, shares log-normal with a deviation of up to 0.8.
fn meter(target: &mut Target, chance: &mut Chance) {
    let partitions = between(chance, 1.0, 64.99) as usize;
    let skew = 0.8 * chance.uniform();
    let weights: Vec<f64> = (0..partitions).map(|_| (skew * chance.normal()).exp()).collect();
    let sum: f64 = weights.iter().sum();
    target.shares = weights.into_iter().map(|weight| weight / sum).collect();
    target.request_units = between(chance, 2_000.0, 10_000.0).round();
    target.document_request_units = between(chance, 5.0, 20.0);
}

fn bound_by_cpu(plant: &mut Plant, chance: &mut Chance) {
    plant.transform.document_seconds = between(chance, 1e-3, 3e-3);
    plant.transform.contention = 0.01 * chance.uniform();
}

fn bound_by_memory(plant: &mut Plant, chance: &mut Chance) {
    plant.transform.batch_seconds = between(chance, 0.3, 1.0);
    plant.transform.document_seconds = between(chance, 5e-4, 1.5e-3);
    plant.transform.document_memory = between(chance, 5e4, 2e5);
}

fn bound_by_gpu(plant: &mut Plant, chance: &mut Chance) {
    plant.transform.batch_seconds = between(chance, 0.1, 0.5);
    plant.transform.document_seconds = between(chance, 2e-4, 6e-4);
    plant.transform.engines = between(chance, 1.0, 6.99).floor();
    plant.gpu = Some(Gpu {
        memory: between(chance, 8e9, 24e9),
        model_memory: between(chance, 2e9, 5e9),
        document_memory: between(chance, 1e5, 5e5),
    });
}

/// Drawn so that every factor between the two is as likely.
fn between(chance: &mut Chance, least: f64, most: f64) -> f64 {
    least * (most / least).powf(chance.uniform())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_plant_is_read_and_has_a_name_of_its_own() {
        let plants = shipped().unwrap();
        let names: Vec<&str> = plants.iter().map(|plant| plant.name.as_str()).collect();
        assert_eq!(names.join(""), "ABCDEFGHIJKLMNOPQR");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plants");
        assert_eq!(of_folder(&folder).unwrap(), plants, "a file is not in the list");
    }

    #[test]
    fn drawn_plants_are_those_of_their_seed_and_within_their_bounds() {
        let plants = draw(40, 5);
        assert_eq!(plants, draw(40, 5));
        assert_ne!(plants, draw(40, 6));
        assert_eq!(plants[..3], draw(3, 5), "more of them change none of the first");
        let metered = plants.iter().filter(|plant| plant.target.request_units > 0.0);
        assert_eq!(metered.count(), 15);
        assert_eq!(plants.iter().filter(|plant| plant.gpu.is_some()).count(), 1);
        for plant in &plants {
            check(plant).unwrap();
            assert!((0.005..=0.5).contains(&plant.target.latency), "{plant:?}");
        }
        assert_eq!(plants[16].name, "r17");
    }

    #[test]
    fn a_folder_with_a_file_that_is_no_text_or_with_twins_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let told = |name: &str, text: &[u8]| {
            fs::write(folder.path().join(name), text).unwrap();
            of_folder(folder.path()).unwrap_err().to_string()
        };
        assert!(told("b.toml", &[0xff, 0xfe]).contains("b.toml"));
        let plant = b"name = \"x\"\nabout = \"x\"\n";
        fs::write(folder.path().join("a.toml"), plant).unwrap();
        assert!(told("b.toml", plant).contains("two plants have the name \"x\""));
    }

    #[test]
    fn what_cannot_be_played_is_refused() {
        let told = |text: &str| {
            let text = format!("name = \"x\"\nabout = \"x\"\n{text}");
            parse(&text, "x.toml").unwrap_err().to_string()
        };
        assert!(told("secnods = 3").contains("secnods"));
        assert!(told("[target]\nshares = [0.5, 0.6]").contains("shares add up to 1.1"));
        assert!(told("steps = [{ at = 9 }, { at = 3 }]").contains("order of time"));
        assert!(told("seconds = 60").contains("counted_from"));
        assert!(told("[documents]\ntail = 1").contains("tail"));
        for (figures, message) in [
            ("[target]\nshares = [1.5, -0.5]", "a share of the target is -0.5, and must be 0 or more"),
            ("[target]\nshares = [nan]", "a share of the target is NaN"),
            ("[target]\nshares = []", "the 0 shares add up to 0, not to 1"),
            ("[target]\ncontention = -1", "target.contention is -1, and must be 0 or more"),
            ("[target]\nlatency = inf", "target.latency is inf, and must be above 0"),
            ("[source]\ndocument_seconds = -1", "source.document_seconds"),
            ("[machine]\nmemory = 1e6", "machine.base_memory must be less"),
            ("[gpu]\nmemory = 1e9\nmodel_memory = 2e9\ndocument_memory = 1", "gpu.model_memory must be less"),
            ("steps = [{ at = -10 }]", "at of a step is -10"),
            (
                "steps = [{ at = 9, failing = 1.5 }]",
                "failing of the step at 9 s is 1.5, and must be 1 at most",
            ),
            ("steps = [{ at = 9, latency = 0 }]", "latency of the step at 9 s is 0, and must be above 0"),
            ("seconds = 1000000000", "seconds may be 86400"),
            ("tuners = 100000", "tuners 16 at most"),
        ] {
            assert!(told(figures).contains(message), "{figures}: {}", told(figures));
        }
    }
}
