//! Which profile, which preset and which scaling policy: what decides where the figures of the tuner come from.
//!
//! A policy says who proposes moves. Two of the five, `conservative` and `aggressive`, only stand for the statistics of the profile of that
//! name: alone they choose it, and against another profile that somebody has named they are a contradiction. A preset may name a profile
//! too, and gives way to everyone.

use super::document::{self, Entries};
use super::environment::Environment;
use super::note;
use super::shipped::{BALANCED, Opened, PRESETS, PROFILES};
use crate::model::scaling::Policy;
use crate::model::settings::{Origin, Problem, Resolved, Section, Setting, Value};

/// Every scaling policy with the line that `list` prints.
pub const POLICIES: [(Policy, &str); 5] = [
    (
        Policy::Hybrid,
        "all who propose moves are heard, and where they disagree their evidence is weighed; the default",
    ),
    (Policy::WorkloadBased, "as hybrid, and the GPU has no word in it; its ceiling holds"),
    (
        Policy::GpuMemoryBased,
        "transformers are sized by the GPU's memory alone, batches as large as pays; the rest as hybrid",
    ),
    (Policy::Conservative, "as hybrid, with the profile conservative"),
    (Policy::Aggressive, "as hybrid, with the profile aggressive"),
];

/// What of `[scaling]` is a choice and no figure. A profile and a preset hold figures only.
pub(super) const SWITCHES: [&str; 4] = ["policy", "preset", "stop_at_target", "cold_start"];

/// The switches of `[scaling]`.
pub(super) struct Switches {
    pub(super) policy: Policy,
    /// Who named the policy; nobody did where it is the built-in one.
    policy_origin: Option<Origin>,
    pub(super) preset: Preset,
    pub(super) stop_at_target: bool,
    pub(super) cold_start: bool,
}

/// What a preset says; nothing where none is named.
#[derive(Default)]
pub(super) struct Preset {
    /// Figures of the tuner.
    pub(super) figures: Entries,
    /// Settings of `[run]`.
    pub(super) run: Entries,
    profile: Option<Setting>,
}

impl Switches {
    /// Reads them from `entries`; problems go into `strategy`.
    pub(super) fn read(
        strategy: &mut Section,
        (entries, origin): (Entries, Origin),
        environment: &Environment,
    ) -> Switches {
        let mut section = Section::new("scaling", origin, entries);
        let policy = section.choice("policy", &Policy::ALL, Policy::default().as_str()).unwrap_or_default();
        let policy_origin = section.raw("policy").map(|setting| setting.origin);
        let stop_at_target = section.boolean_or("stop_at_target", false);
        let cold_start = section.boolean_or("cold_start", false);
        let opened = section
            .text("preset")
            .and_then(|name| PRESETS.open(&name).map_err(|message| section.problem("preset", message)).ok());
        strategy.absorb(section);
        let preset = opened.map(|opened| Preset::read(strategy, &opened, environment)).unwrap_or_default();
        Switches { policy, policy_origin, preset, stop_at_target, cold_start }
    }

    /// The profile: the one that somebody named in `run`, else the one that the policy stands for, else the preset's, else the built-in.
    pub(super) fn profile(
        &self,
        strategy: &mut Section,
        run: &mut Section,
        resolved: &mut Vec<Resolved>,
    ) -> Opened {
        let path = run.path_of("profile");
        let of_policy = match self.policy {
            Policy::Conservative | Policy::Aggressive => Some(self.policy.as_str()),
            Policy::Hybrid | Policy::WorkloadBased | Policy::GpuMemoryBased => None,
        };
        let named = run.raw("profile").map(|setting| setting.origin);
        let (name, origin) = match (named, of_policy, &self.preset.profile) {
            (Some(origin), ..) => (run.text_or("profile", BALANCED.name), origin),
            (None, Some(name), _) => (name.to_owned(), self.policy_origin.clone().unwrap_or(Origin::BuiltIn)),
            (None, None, Some(Setting { value: Value::Text(name), origin })) => {
                (name.clone(), origin.clone())
            }
            (None, None, Some(other)) => {
                let message = format!("must be text, found {}", other.value);
                note(strategy, Problem { origin: other.origin.clone(), path: "profile".to_owned(), message });
                (BALANCED.name.to_owned(), Origin::BuiltIn)
            }
            (None, None, None) => (run.text_or("profile", BALANCED.name), Origin::BuiltIn),
        };
        if run.raw("profile").is_none() && origin != Origin::BuiltIn {
            resolved.push(Resolved {
                path: path.clone(),
                value: format!("{name:?}"),
                origin: origin.clone(),
            });
        }
        let opened = PROFILES.open(&name).unwrap_or_else(|message| {
            note(strategy, Problem { origin: origin.clone(), path, message });
            PROFILES.shipped(&BALANCED)
        });
        if let Some(policy) = of_policy.filter(|policy| !(opened.is_shipped && opened.stem == *policy)) {
            let message = format!(
                "is {policy:?}, which stands for the profile of that name, and the profile is {name:?} ({origin}); leave one of the two out, or take the policy hybrid"
            );
            let place = self.policy_origin.clone().unwrap_or(Origin::BuiltIn);
            note(strategy, Problem { origin: place, path: "scaling.policy".to_owned(), message });
        }
        opened
    }
}

impl Preset {
    fn read(strategy: &mut Section, opened: &Opened, environment: &Environment) -> Preset {
        let mut preset = Preset::default();
        let shipped = Origin::Preset(opened.stem.clone());
        for (name, setting) in figures(strategy, opened, &shipped, environment) {
            match name.as_str() {
                "profile" => preset.profile = Some(setting),
                "credits" => preset.run.push((name, setting)),
                _ => preset.figures.push((name, setting)),
            }
        }
        preset
    }
}

/// The lines of a profile or a preset. Those of one that is inside the binary get `shipped` as their origin: a line of such a file is of no
/// use to a reader of `show`.
pub(super) fn figures(
    strategy: &mut Section,
    opened: &Opened,
    shipped: &Origin,
    environment: &Environment,
) -> Entries {
    let (mut entries, problems) = document::read(&opened.path, &opened.text, environment);
    for problem in problems {
        note(strategy, problem);
    }
    entries.retain(|(name, setting)| {
        if SWITCHES.contains(&name.as_str()) {
            let message = "is no figure of a profile or a preset; it belongs into [scaling] of a strategy, or to a flag";
            let (origin, message) = (setting.origin.clone(), message.to_owned());
            note(strategy, Problem { origin, path: format!("scaling.{name}"), message });
            return false;
        }
        name != "about"
    });
    if opened.is_shipped {
        for (_, setting) in &mut entries {
            setting.origin = shipped.clone();
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_has_its_line() {
        let named: Vec<Policy> = Policy::ALL.iter().map(|(_, policy)| *policy).collect();
        assert_eq!(POLICIES.map(|(policy, _)| policy).to_vec(), named);
    }
}
