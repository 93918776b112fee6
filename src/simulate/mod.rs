//! The simulator: plants in virtual time, on which the tuner and its rivals are tried.
//!
//! ```text
//!  plants.rs    what there is to play: plants/*.toml (plant.rs, check.rs), or drawn by a seed
//!  world.rs     virtual time;  pipeline.rs, crew.rs, target.rs  what moves in it
//!  docferry.rs  the tuner and the pacing of production, as one controller;  rivals/  others;  real.rs  one in a real run
//!  oracle.rs    the best fixed setting, by search;  oracles.rs  those that are kept
//!  score.rs     a run beside the oracle;  table.rs  all of them
//! ```
//!
//! Nothing in it knows of a clock, a network or a file other than plants, so a run of five minutes takes a fraction of a second and is the same on
//! every machine.

mod chance;
mod check;
mod controller;
mod crew;
mod docferry;
mod explain;
mod oracle;
mod oracles;
mod pipeline;
mod plant;
mod plants;
mod real;
mod rivals;
mod score;
mod table;
mod target;
mod world;

use crate::error::{Error, ErrorKind, Result};
use crate::model::knobs::Knobs;
use controller::Controller;
pub use docferry::balanced;
use docferry::{CEILINGS, Docferry, START};
use oracle::Oracle;
use plant::Plant;
use rayon::prelude::*;
pub use real::threshold_rules;
use rivals::{Fixed, Given, RIVALS};
pub use score::Score;
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;
pub use table::geometric_mean;
use world::{Outcome, World};

const PLAYING: &str = "simulating";

/// docferry's own name among the controllers.
pub const DOCFERRY: &str = "docferry";

/// Oracles are kept for so many drawn plants of one seed. Nobody develops on it.
pub const RESERVED: (u32, u64) = (40, 20_261_122);

/// What is played.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Plants of this folder instead of those that are shipped.
    pub folder: Option<PathBuf>,
    /// So many drawn plants instead, and the seed by which they are drawn.
    pub random: Option<(u32, u64)>,
    /// Only this plant.
    pub only: Option<String>,
    /// Only these controllers; all of them if there are none.
    pub controllers: Vec<String>,
    /// Runs of each, with the seeds 1, 2 and so on.
    pub seeds: u32,
}

/// A controller on a plant: the mean over the seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The plant's name.
    pub plant: String,
    /// The controller's name.
    pub controller: String,
    /// What it is worth.
    #[serde(flatten)]
    pub score: Score,
}

/// Name and line of every shipped plant.
pub fn list() -> Result<Vec<(String, String)>> {
    Ok(plants::shipped()?.into_iter().map(|plant| (plant.name, plant.about)).collect())
}

/// Name and line of every controller.
pub fn controllers() -> Vec<(&'static str, &'static str)> {
    let own = (DOCFERRY, "the tuner and the pacing of production, with the profile balanced");
    RIVALS.iter().map(|rival| (rival.name, rival.about)).chain([own]).collect()
}

/// Plays every controller on every plant. `told` hears, in a line, what takes long.
pub fn play(asked: &Asked, told: &(dyn Fn(&str) + Sync)) -> Result<Vec<Row>> {
    let plants = chosen(asked)?;
    let controllers = chosen_controllers(asked)?;
    apart(|| play_all(asked, &plants, &controllers, told))
}

/// Plays take all cores for long, and run beside a pipeline in tests: not on the threads that its batches are transformed on.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().build();
    let pool =
        pool.map_err(|cause| Error::internal("simulating", "no threads could be started").caused_by(cause))?;
    Ok(pool.install(work))
}

fn play_all(
    asked: &Asked,
    plants: &[Plant],
    controllers: &[&'static str],
    told: &(dyn Fn(&str) + Sync),
) -> Vec<Row> {
    let oracles: Vec<Oracle> = plants.par_iter().map(|plant| oracle_of(plant, told)).collect();
    let given: Vec<Given> = plants
        .par_iter()
        .zip(&oracles)
        .map(|(plant, oracle)| Given { start: START, best: overall(plant, oracle) })
        .collect();
    let known: Vec<_> = plants.iter().zip(&oracles).zip(&given).collect();
    let all = known.iter().flat_map(|one| controllers.iter().map(move |name| (*one, *name)));
    let all: Vec<_> = all.collect();
    let rows = all.into_par_iter().map(|(((plant, oracle), given), controller)| {
        let runs = (1..=u64::from(asked.seeds.max(1))).into_par_iter();
        let scores = runs
            .map(|seed| Score::of(&run(plant, *given, controller, seed), oracle, plant))
            .collect::<Vec<_>>();
        Row { plant: plant.name.clone(), controller: controller.to_owned(), score: Score::mean(&scores) }
    });
    rows.collect()
}

/// Prints rows as a table.
pub fn print(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    table::print(rows, out)
}

/// Prints what docferry decides on a plant, and when.
pub fn explain(asked: &Asked, name: &str, out: &mut dyn Write) -> Result<()> {
    let asked = Asked { only: Some(name.to_owned()), ..asked.clone() };
    let plants = chosen(&asked)?;
    plants.iter().try_for_each(|plant| explain::explain(plant, u64::from(asked.seeds.max(1)), out))
}

/// The file that keeps the oracles of all shipped plants, and of those drawn with the reserved seed. What is kept already is not searched again.
pub fn write_oracles(told: &(dyn Fn(&str) + Sync)) -> Result<String> {
    let mut all = plants::shipped()?;
    all.extend(plants::draw(RESERVED.0, RESERVED.1));
    let search = |plant| (plant, oracle_of(plant, told));
    let found: Vec<(&Plant, Oracle)> = apart(|| all.par_iter().map(search).collect())?;
    oracles::file(&found)
}

/// Searches the oracle of a shipped plant, and returns by how much what it yields differs from what is kept, as a share, in its worst stretch.
pub fn recompute(name: &str) -> Result<f64> {
    let plants = chosen(&Asked { only: Some(name.to_owned()), ..Asked::default() })?;
    let found = apart(|| plants.iter().map(oracles::search).collect::<Vec<_>>())?;
    let differences = plants.iter().zip(found).filter_map(|(plant, found)| {
        let kept = oracles::kept(plant)?;
        let stretches = kept.phases.iter().zip(&found.phases);
        stretches
            .map(|((_, a), (_, b))| (a.documents_per_second / b.documents_per_second - 1.0).abs())
            .reduce(f64::max)
    });
    Ok(differences.fold(f64::NAN, f64::max))
}

fn chosen(asked: &Asked) -> Result<Vec<Plant>> {
    let mut plants = match (&asked.folder, asked.random) {
        (Some(folder), _) => plants::of_folder(folder)?,
        (None, Some((count, seed))) => plants::draw(count, seed),
        (None, None) => plants::shipped()?,
    };
    let Some(only) = &asked.only else { return Ok(plants) };
    let names: Vec<String> = plants.iter().map(|plant| plant.name.clone()).collect();
    plants.retain(|plant| plant.name.eq_ignore_ascii_case(only));
    if plants.is_empty() {
        return Err(unknown("plant", only, &names));
    }
    Ok(plants)
}

fn chosen_controllers(asked: &Asked) -> Result<Vec<&'static str>> {
    let all: Vec<&str> = controllers().into_iter().map(|(name, _)| name).collect();
    if let Some(name) = asked.controllers.iter().find(|name| !all.contains(&name.as_str())) {
        return Err(unknown("controller", name, &all));
    }
    let is_asked =
        |name: &&str| asked.controllers.is_empty() || asked.controllers.iter().any(|one| one == name);
    Ok(all.into_iter().filter(is_asked).collect())
}

fn unknown(what: &str, name: &str, all: &[impl AsRef<str>]) -> Error {
    let names: Vec<&str> = all.iter().map(AsRef::as_ref).collect();
    Error::new(ErrorKind::Usage, PLAYING, format!("there is no {what} {name}"))
        .advise(format!("choose one of {}", names.join(", ")))
}

fn oracle_of(plant: &Plant, told: &(dyn Fn(&str) + Sync)) -> Oracle {
    oracles::kept(plant).unwrap_or_else(|| {
        told(&format!("{}: no oracle is kept for this plant and this simulator; searching one", plant.name));
        oracles::search(plant)
    })
}

/// The one setting of the oracle that does best from the first to the last second: what rivals are given. One that keeps the ceilings comes before
/// one that does not.
fn overall(plant: &Plant, oracle: &Oracle) -> Knobs {
    let mut settings: Vec<Knobs> = Vec::new();
    for (_, best) in &oracle.phases {
        if !settings.contains(&best.knobs) {
            settings.push(best.knobs);
        }
    }
    let worth = |knobs: &Knobs| {
        let make = || Box::new(Fixed(*knobs)) as Box<dyn Controller>;
        let score = Score::of(&World::new(plant, CEILINGS, *knobs, 1, make).play(), oracle, plant);
        let over = score.ram_over_s + score.gpu_over_s + score.cpu_over_s;
        if over > 0.0 { -over } else { score.steady_percent }
    };
    let best = settings.iter().map(|knobs| (worth(knobs), knobs)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or(START, |(_, knobs)| *knobs)
}

fn run(plant: &Plant, given: Given, controller: &str, seed: u64) -> Vec<Outcome> {
    let rival = RIVALS.iter().find(|rival| rival.name == controller);
    let make = || -> Box<dyn Controller> {
        match rival {
            Some(rival) => (rival.make)(given),
            None => Box::new(Docferry::new(balanced(), Box::new(|_, _, _, _| {}))),
        }
    };
    World::new(plant, CEILINGS, START, seed, make).play()
}
