//! `docferry simulate`: the tuner and its rivals on simulated plants.

use super::{GlobalFlags, Simulate, SimulateFormat};
use crate::error::Error;
use crate::simulate::{self, Asked};
use std::io::{self, Write};

/// Plays, and prints a table, JSON, or the decisions of one plant.
pub(super) fn run(flags: &Simulate, global: &GlobalFlags, out: &mut dyn Write) -> anyhow::Result<u8> {
    // Where standard error is closed, nobody waits for the news.
    let told = |line: &str| {
        if !global.quiet {
            let _ = writeln!(io::stderr(), "{line}");
        }
    };
    if let Some(path) = &flags.write_oracles {
        let text = simulate::write_oracles(&told)?;
        std::fs::write(path, text)
            .map_err(|cause| Error::io("writing the oracles", cause).with("file", path.display()))?;
        return Ok(0);
    }
    let asked = Asked {
        folder: flags.plants.clone(),
        random: flags.random.map(|count| (count, flags.seed)),
        only: flags.only.clone(),
        controllers: flags.controllers.clone(),
        seeds: flags.seeds,
    };
    if let Some(plant) = &flags.explain {
        simulate::explain(&asked, plant, out)?;
        return Ok(0);
    }
    let rows = simulate::play(&asked, &told)?;
    if global.json || flags.format == SimulateFormat::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
    } else {
        simulate::print(&rows, out)?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use crate::config::asked::{Asked, Given};
    use crate::config::environment::Environment;
    use crate::config::resolve;
    use crate::model::knobs::{Bounds, Knobs};
    use crate::model::scaling::Scaling;
    use crate::simulate;

    /// The simulator is given the profile's figures, not the profile: it knows of no files.
    #[test]
    fn the_simulated_tuner_has_the_profile_of_a_real_one() {
        let asked = Asked {
            from: Some(Given::flag("--from", "in.jsonl")),
            to: Some(Given::flag("--to", "null:")),
            ..Asked::default()
        };
        let real = resolve(&asked, &Environment::of(&[], 16)).unwrap().scaling;
        let simulated = simulate::balanced();
        // Of a request the target says how much it holds; of credits the machine how many there may be.
        let alike = |of: Knobs, as_in: Knobs| Knobs {
            request_documents: as_in.request_documents,
            credit_bytes: as_in.credit_bytes,
            ..of
        };
        let bounds = Bounds {
            least: alike(real.bounds.least, simulated.bounds.least),
            most: alike(real.bounds.most, simulated.bounds.most),
        };
        assert_eq!(Scaling { bounds, ..real }, simulated);
    }
}
