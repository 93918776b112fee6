//! How fast a run goes and when it stops: `[run]` and `[scaling]` with the layers above them.

use super::asked::Asked;
use super::environment::Environment;
use super::limits::Limits;
use super::scaling::{self, Scaling};
use super::shipped::{BALANCED, PROFILES};
use super::{pools, table};
use crate::model::knobs::{Bounds, Knobs};
use crate::model::settings::{Resolved, Section};

/// What `[run]` and `[scaling]` come to.
pub(crate) struct Pace {
    pub(crate) auto_scaling: bool,
    pub(crate) scaling: Scaling,
    pub(crate) knobs: Knobs,
    pub(crate) bounds: Bounds,
    pub(crate) limits: Limits,
    pub(crate) resolved: Vec<Resolved>,
}

impl Pace {
    /// Reads both tables; problems go into the strategy.
    pub(crate) fn read(strategy: &mut Section, asked: &Asked, environment: &Environment) -> Pace {
        let mut run = layers(strategy, asked, environment);
        let auto_scaling = run.boolean_or("auto_scaling", true);
        let profile = run.text_or("profile", BALANCED.name);
        let opened = PROFILES.open(&profile).unwrap_or_else(|message| {
            run.problem("profile", message);
            PROFILES.shipped(&BALANCED)
        });
        let (scaling, mut resolved) = scaling::read(strategy, &opened, environment);
        let (knobs, bounds) = pools::read(&mut run, &scaling, auto_scaling);
        let limits = Limits::read(&mut run, &mut resolved);
        strategy.absorb(run);
        Pace { auto_scaling, scaling, knobs, bounds, limits, resolved }
    }
}

/// `[run]`: the strategy, the environment over it, the flags over both.
fn layers(strategy: &mut Section, asked: &Asked, environment: &Environment) -> Section {
    let (mut entries, origin) = table(strategy, "run");
    entries
        .extend(environment.setting("AUTO_SCALING_PROFILE").map(|setting| ("profile".to_owned(), setting)));
    entries.extend(asked.run.iter().map(|(name, given)| ((*name).to_owned(), given.to_setting())));
    Section::new("run", origin, entries)
}
