//! How fast a run goes and when it stops: `[run]` and `[scaling]` with the layers above them.

use super::asked::Asked;
use super::choice::{SWITCHES, Switches};
use super::document::Entries;
use super::environment::Environment;
use super::limits::Limits;
use super::scaling::{self, Figures, PROFILE_VARIABLE};
use super::{pools, table};
use crate::model::knobs::Knobs;
use crate::model::scaling::Scaling;
use crate::model::settings::{Resolved, Section, Setting};

/// What `[run]` and `[scaling]` come to.
pub(crate) struct Pace {
    pub(crate) auto_scaling: bool,
    /// Whether what an earlier run has learned counts for nothing.
    pub(crate) cold_start: bool,
    pub(crate) scaling: Scaling,
    pub(crate) knobs: Knobs,
    pub(crate) limits: Limits,
    pub(crate) resolved: Vec<Resolved>,
}

impl Pace {
    /// Reads both tables; problems go into the strategy.
    pub(crate) fn read(strategy: &mut Section, asked: &Asked, environment: &Environment) -> Pace {
        let (wishes, origin) = scaling::wishes(strategy, asked, environment);
        let (switches, wishes): (Entries, Entries) =
            wishes.into_iter().partition(|(name, _)| SWITCHES.contains(&name.as_str()));
        let switches = Switches::read(strategy, (switches, origin), environment);
        let mut run = layers(strategy, asked, environment, &switches.preset.run);
        let mut resolved = Vec::new();
        let auto_scaling = run.boolean_or("auto_scaling", true);
        let profile = switches.profile(strategy, &mut run, &mut resolved);
        let mut figures = Figures::open(strategy, &profile, &switches.preset, wishes, environment);
        let ranges = figures.ranges(environment.cores());
        let (knobs, bounds) = pools::read(&mut run, &ranges, auto_scaling, &mut resolved);
        let scaling = figures.scaling(&switches, bounds);
        resolved.extend(figures.finish(strategy));
        let limits = Limits::read(&mut run, &mut resolved);
        strategy.absorb(run);
        Pace { auto_scaling, cold_start: switches.cold_start, scaling, knobs, limits, resolved }
    }
}

/// `[run]`: the preset, the strategy over it, the environment, and the flags over all.
fn layers(
    strategy: &mut Section,
    asked: &Asked,
    environment: &Environment,
    preset: &[(String, Setting)],
) -> Section {
    let (entries, origin) = table(strategy, "run");
    let mut layers = preset.to_vec();
    layers.extend(entries);
    layers.extend(environment.setting(PROFILE_VARIABLE).map(|setting| ("profile".to_owned(), setting)));
    layers.extend(asked.run.iter().map(|(name, given)| ((*name).to_owned(), given.to_setting())));
    Section::new("run", origin, layers)
}
