//! How the auto-tuner shall behave: figures in layers.
//!
//! ```text
//!   flag                    --scaling-policy, --stop-at-target (no figure has a flag of its own)
//!   environment             AUTO_SCALING_MAX_WORKERS=16
//!   strategy file           [scaling] max_workers = 16
//!   profile                 profiles/balanced.toml, or a file of the user's own
//!   preset                  profiles/presets/development.toml
//!   built-in                the bounds below; for what a profile of the user's own leaves out, the profile balanced
//! ```
//!
//! All speak the same names: the variable `AUTO_SCALING_MAX_WORKERS`, the setting `scaling.max_workers` and the line
//! `max_workers` of a profile are one. The shipped profiles say nothing of bounds, because all three would say the same: so a
//! preset has something to fill in.
//!
//! What someone asked for wins over what merely a profile says: with `AUTO_SCALING_TARGET_CPU_USAGE=50` a profile's level of 65 above
//! which nothing grows becomes 50. Two wishes that contradict each other are a problem.

use super::asked::Asked;
use super::choice::{self, Preset, SWITCHES, Switches};
use super::document::Entries;
use super::environment::Environment;
use super::figure::{Figure, Unit};
use super::shipped::{BALANCED, Opened, PROFILES};
use crate::model::knobs::{Bounds, Ceilings};
use crate::model::scaling::Scaling;
use crate::model::settings::{Origin, Resolved, Section, Setting, Value};
use std::ops::RangeInclusive;
use std::time::Duration;

/// What of `[scaling]` can be set by a variable, and its name.
const VARIABLES: [(&str, &str); 15] = [
    ("policy", "AUTO_SCALING_STRATEGY"),
    ("target_docs_per_second", "AUTO_SCALING_TARGET_DOCS_PER_SECOND"),
    ("target_cpu_usage", "AUTO_SCALING_TARGET_CPU_USAGE"),
    ("target_memory_usage", "AUTO_SCALING_TARGET_MEMORY_USAGE"),
    ("target_error_rate", "AUTO_SCALING_TARGET_ERROR_RATE"),
    ("cpu_scale_up_threshold", "AUTO_SCALING_CPU_SCALE_UP_THRESHOLD"),
    ("cpu_scale_down_threshold", "AUTO_SCALING_CPU_SCALE_DOWN_THRESHOLD"),
    ("memory_scale_up_threshold", "AUTO_SCALING_MEMORY_SCALE_UP_THRESHOLD"),
    ("memory_scale_down_threshold", "AUTO_SCALING_MEMORY_SCALE_DOWN_THRESHOLD"),
    ("min_workers", "AUTO_SCALING_MIN_WORKERS"),
    ("max_workers", "AUTO_SCALING_MAX_WORKERS"),
    ("min_batch_size", "AUTO_SCALING_MIN_BATCH_SIZE"),
    ("max_batch_size", "AUTO_SCALING_MAX_BATCH_SIZE"),
    ("check_interval", "AUTO_SCALING_CHECK_INTERVAL"),
    ("cooldown", "AUTO_SCALING_COOLDOWN"),
];

/// The variable that names the profile, which is a setting of `[run]`.
pub(super) const PROFILE_VARIABLE: &str = "AUTO_SCALING_PROFILE";

/// The bounds that hold where nobody says anything.
const BUILT_IN: [(&str, i64); 5] = [
    // Readers and transformers begin here, or with as many as there are cores if these are fewer: some overlap at once.
    ("min_workers", 4),
    // More than most machines have cores: a ceiling ends growth before this.
    ("max_workers", 30),
    // Smaller batches spend their time on being handed over.
    ("min_batch_size", 2_000),
    // Larger batches save nothing more, and bytes mostly end one before this.
    ("max_batch_size", 75_000),
    // 20 000 documents a second at 10 ms need 200 at once; 512 leave room for a slower target.
    ("max_requests_in_flight", 512),
];

/// More readers or transformers than this only fight for the cores.
const MOST_WORKERS: f64 = 1024.0;

/// A batch of ten million documents outgrows any credits.
const MOST_BATCH: f64 = 1e7;

/// What someone asked for in `[scaling]`, the later over the earlier: the strategy, the environment, flags.
pub(super) fn wishes(strategy: &mut Section, asked: &Asked, environment: &Environment) -> (Entries, Origin) {
    let (mut wishes, origin) = super::table(strategy, "scaling");
    for (name, variable) in VARIABLES {
        wishes.extend(environment.setting(variable).map(|setting| (name.to_owned(), setting)));
    }
    wishes.extend(asked.scaling.iter().map(|(name, given)| ((*name).to_owned(), given.to_setting())));
    (wishes, origin)
}

/// Between what the pools and batches may be.
pub(super) struct Ranges {
    pub(super) workers: Bound,
    pub(super) batch_documents: Bound,
    pub(super) requests_in_flight: Bound,
}

/// A least and a most, each with who says so.
pub(super) struct Bound {
    pub(super) least: (u64, Origin),
    pub(super) most: (u64, Origin),
}

/// The figures of all layers, being read.
pub(super) struct Figures {
    section: Section,
    explicit: Vec<String>,
    /// What is in force. It is kept here, because numbers that gave way to others are not what any file says.
    resolved: Vec<Resolved>,
}

impl Figures {
    /// Lays the wishes over the profile, and that over the preset.
    pub(super) fn open(
        strategy: &mut Section,
        profile: &Opened,
        preset: &Preset,
        wishes: Entries,
        environment: &Environment,
    ) -> Figures {
        let built_in = |(name, value): (&str, i64)| {
            (name.to_owned(), Setting { value: Value::Integer(value), origin: Origin::BuiltIn })
        };
        let mut entries: Entries = BUILT_IN.into_iter().map(built_in).collect();
        if !profile.is_shipped {
            let balanced = PROFILES.shipped(&BALANCED);
            let origin = Origin::Profile(balanced.stem.clone());
            entries.extend(choice::figures(strategy, &balanced, &origin, environment));
        }
        entries.extend(preset.figures.iter().cloned());
        let origin = Origin::Profile(profile.stem.clone());
        entries.extend(choice::figures(strategy, profile, &origin, environment));
        let explicit = wishes.iter().map(|(name, _)| name.clone()).collect();
        entries.extend(wishes);
        let origin = if profile.is_shipped { origin } else { profile.origin() };
        let mut section = Section::new("scaling", origin, entries);
        // They were read elsewhere; an unknown name may be near to one of them.
        for name in SWITCHES {
            section.raw(name);
        }
        Figures { section, explicit, resolved: Vec::new() }
    }

    /// The bounds. A built-in least is at most `cores`: as many workers as cores are a start on any machine.
    pub(super) fn ranges(&mut self, cores: usize) -> Ranges {
        let requests = self.figure("max_requests_in_flight", Unit::Whole, 1.0..=4096.0);
        Ranges {
            workers: self.range("min_workers", "max_workers", 1.0..=MOST_WORKERS, cores as f64),
            batch_documents: self.range("min_batch_size", "max_batch_size", 1.0..=MOST_BATCH, f64::INFINITY),
            requests_in_flight: Bound {
                least: (1, Origin::BuiltIn),
                most: (self.keep(&requests) as u64, requests.origin),
            },
        }
    }

    /// Everything that the tuner keeps to.
    pub(super) fn scaling(&mut self, switches: &Switches, bounds: Bounds) -> Scaling {
        let (search_step, settled_step) = self.steps();
        Scaling {
            policy: switches.policy,
            bounds,
            ceilings: self.ceilings(),
            // Below a half a move would stay that more likely harms; nothing measured is ever certain.
            confidence: self.plain("confidence", Unit::Share, 0.5..=0.999),
            search_step,
            settled_step,
            step_workers: self.plain("step_workers", Unit::Whole, 1.0..=64.0) as u64,
            batch_step: self.plain("batch_step", Unit::Factor, 1.1..=4.0),
            worth: self.plain("worth", Unit::Share, 0.0..=1.0),
            direction_limit: self.plain("direction_limit", Unit::Whole, 1.0..=100.0) as u32,
            // Lower, and a signal is minutes behind.
            smoothing: self.plain("smoothing", Unit::Share, 0.05..=1.0),
            latency_target: self.latency_target(),
            // Sooner, and what is reported is noise; later, and a shrink or a second try comes when it is no longer wanted.
            check_interval: self.seconds("check_interval", 5.0..=15.0),
            cooldown: self.seconds("cooldown", 0.0..=86_400.0),
            target_docs_per_second: self.plain("target_docs_per_second", Unit::Whole, 1.0..=1e9),
            stop_at_target: switches.stop_at_target,
        }
    }

    /// Gives all problems to the strategy, and returns what is in force.
    pub(super) fn finish(self, strategy: &mut Section) -> Vec<Resolved> {
        strategy.absorb(self.section);
        self.resolved
    }

    fn ceilings(&mut self) -> Ceilings {
        let [cpu, cpu_up, cpu_down] =
            self.levels(["target_cpu_usage", "cpu_scale_up_threshold", "cpu_scale_down_threshold"]);
        let [memory, memory_up, memory_down] =
            self.levels(["target_memory_usage", "memory_scale_up_threshold", "memory_scale_down_threshold"]);
        let mut gpu = self.percent("target_gpu_memory_usage");
        if memory.explicit && !gpu.explicit {
            // Who says how much memory may be full has said it of both.
            gpu.follow(&memory);
        }
        // A share of requests such as 0.02 would be read as two in ten thousand, which no brake can keep to.
        let errors = self.figure("target_error_rate", Unit::Percent, 0.1..=100.0);
        let mut share = |figure: &Figure| self.keep(figure) / 100.0;
        Ceilings {
            cpu: share(&cpu),
            cpu_grow_below: share(&cpu_up),
            cpu_shrink_below: share(&cpu_down),
            memory: share(&memory),
            memory_grow_below: share(&memory_up),
            memory_shrink_below: share(&memory_down),
            gpu_memory: share(&gpu),
            errors: share(&errors),
        }
    }

    /// A ceiling, the level under it above which nothing grows, and the level under both below which workers are given back.
    fn levels(&mut self, [target, up, down]: [&'static str; 3]) -> [Figure; 3] {
        let target = self.percent(target);
        let (mut up, mut down) = (self.percent(up), self.percent(down));
        self.at_most(&mut up, &target);
        self.at_most(&mut down, &up);
        [target, up, down]
    }

    /// A pool grows faster while it is searched than later.
    fn steps(&mut self) -> (f64, f64) {
        let search = self.figure("search_step", Unit::Factor, 1.1..=4.0);
        let mut settled = self.figure("settled_step", Unit::Factor, 1.05..=4.0);
        self.at_most(&mut settled, &search);
        (self.keep(&search), self.keep(&settled))
    }

    /// Seconds, or `off`.
    fn latency_target(&mut self) -> Option<Duration> {
        const NAME: &str = "latency_target";
        let setting = self.section.raw(NAME)?;
        if setting.value == Value::Text("off".to_owned()) {
            let path = self.section.path_of(NAME);
            self.resolved.push(Resolved { path, value: "\"off\"".to_owned(), origin: setting.origin });
            return None;
        }
        // A millisecond is what a target next door needs; the service answers none later than a minute.
        let seconds = Unit::Seconds.read(&setting.value).filter(|seconds| (0.001..=60.0).contains(seconds));
        if seconds.is_none() {
            let message =
                format!("must be \"off\" or seconds from 0.001 to 60, such as 0.25, found {}", setting.value);
            self.section.problem(NAME, message);
        }
        let value = seconds?;
        let figure =
            Figure { name: NAME, unit: Unit::Seconds, value, origin: setting.origin, explicit: false };
        Duration::try_from_secs_f64(self.keep(&figure)).ok()
    }

    /// What a lower figure may be: a shipped profile's gives way to the upper; a wish is a contradiction, and so is a figure of somebody's own profile or preset
    /// unless the upper is a wish.
    fn at_most(&mut self, lower: &mut Figure, upper: &Figure) {
        if lower.value > upper.value {
            if lower.explicit || (lower.is_of_a_file() && !upper.explicit) {
                let (found, most) = (lower.resolved().value, upper.resolved().value);
                let message = format!("is {found}, above {} {most} ({})", upper.name, upper.origin);
                self.section.problem(lower.name, message);
            }
            lower.follow(upper);
        }
    }

    /// A least and a most. A built-in least is at most `enough`.
    fn range(
        &mut self,
        least: &'static str,
        most: &'static str,
        range: RangeInclusive<f64>,
        enough: f64,
    ) -> Bound {
        let mut least = self.figure(least, Unit::Whole, range.clone());
        let mut most = self.figure(most, Unit::Whole, range);
        if least.origin == Origin::BuiltIn {
            least.value = least.value.min(enough);
        }
        let is_asked = least.explicit || least.is_of_a_file() && !most.is_of_a_file();
        if is_asked && !most.explicit && least.value > most.value {
            // The wish wins over what nobody asked for.
            most.follow(&least);
        }
        self.at_most(&mut least, &most);
        Bound {
            least: (self.keep(&least) as u64, least.origin),
            most: (self.keep(&most) as u64, most.origin),
        }
    }

    fn plain(&mut self, name: &'static str, unit: Unit, range: RangeInclusive<f64>) -> f64 {
        let figure = self.figure(name, unit, range);
        self.keep(&figure)
    }

    fn seconds(&mut self, name: &'static str, range: RangeInclusive<f64>) -> Duration {
        Duration::try_from_secs_f64(self.plain(name, Unit::Seconds, range)).unwrap_or_default()
    }

    fn percent(&mut self, name: &'static str) -> Figure {
        self.figure(name, Unit::Percent, 1.0..=100.0)
    }

    fn figure(&mut self, name: &'static str, unit: Unit, range: RangeInclusive<f64>) -> Figure {
        let explicit = self.explicit.iter().any(|wish| wish == name);
        let Some(setting) = self.section.raw(name) else {
            self.section.problem(name, "is missing");
            return Figure { name, unit, value: f64::NAN, origin: Origin::BuiltIn, explicit };
        };
        let value = unit.read(&setting.value).filter(|value| range.contains(value)).unwrap_or_else(|| {
            let wanted = unit.wanted(&range);
            self.section.problem(name, format!("must be {wanted}, found {}", setting.value));
            f64::NAN
        });
        Figure { name, unit, value, origin: setting.origin, explicit }
    }

    /// Notes a figure as in force.
    fn keep(&mut self, figure: &Figure) -> f64 {
        self.resolved.push(figure.resolved());
        figure.value
    }
}
