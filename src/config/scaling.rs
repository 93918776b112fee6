//! How the auto-tuner shall behave: a profile, with what the strategy's `[scaling]` table and the environment lay over it.
//!
//! All three speak the same names: the variable `AUTO_SCALING_MAX_WORKERS`, the setting `scaling.max_workers` and the line
//! `max_workers` of a profile are one. Percentages are written `70` or `70%`; times are in seconds.
//!
//! What someone asked for wins over what merely a profile says: with `AUTO_SCALING_MAX_WORKERS=2` a profile's least
//! of 4 workers becomes 2. Two wishes that contradict each other are a problem.

use super::document::{self, Entries};
use super::environment::Environment;
use super::note;
use super::shipped::Opened;
use crate::model::knobs::Ceilings;
use crate::model::settings::{Origin, Resolved, Section, Value};
use std::ops::RangeInclusive;
use std::time::Duration;

/// What can be set by a variable `AUTO_SCALING_*`, the name in capitals.
const VARIABLES: [&str; 12] = [
    "target_docs_per_second",
    "target_cpu_usage",
    "target_memory_usage",
    "target_error_rate",
    "cpu_scale_up_threshold",
    "memory_scale_up_threshold",
    "min_workers",
    "max_workers",
    "min_batch_size",
    "max_batch_size",
    "check_interval",
    "cooldown",
];

/// Variables of the family that are promised and that this build does not follow. They are never ignored without a word.
const NOT_YET: [&str; 3] = [
    "AUTO_SCALING_STRATEGY",
    "AUTO_SCALING_CPU_SCALE_DOWN_THRESHOLD",
    "AUTO_SCALING_MEMORY_SCALE_DOWN_THRESHOLD",
];

/// A sentence about each variable that is set and not followed.
pub(crate) fn not_followed(environment: &Environment) -> Vec<String> {
    let is_set = NOT_YET.iter().filter(|name| environment.get(name).is_some());
    is_set.map(|name| format!("{name} is set, and has no effect in this version of docferry")).collect()
}

/// Ceilings, bounds and times of the tuner.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scaling {
    pub(crate) ceilings: Ceilings,
    pub(crate) workers: RangeInclusive<u64>,
    pub(crate) batch_documents: RangeInclusive<u64>,
    pub(crate) target_docs_per_second: f64,
    pub(crate) check_interval: Duration,
    pub(crate) cooldown: Duration,
}

/// Reads a profile and what lies over it. Problems go into `strategy`; what is in force is returned, because numbers that gave
/// way to others are not what any file says.
pub(crate) fn read(
    strategy: &mut Section,
    profile: &Opened,
    environment: &Environment,
) -> (Scaling, Vec<Resolved>) {
    let (mut entries, problems) = document::read(&profile.path, &profile.text, environment);
    for problem in problems {
        note(strategy, problem);
    }
    let origin = if profile.is_shipped { Origin::Profile(profile.stem.clone()) } else { profile.origin() };
    if profile.is_shipped {
        // A line of a file inside the binary is of no use to a reader of `show`.
        for (_, setting) in &mut entries {
            setting.origin = origin.clone();
        }
    }
    let wishes = wishes(strategy, environment);
    let explicit = wishes.iter().map(|(name, _)| name.clone()).collect();
    entries.extend(wishes);
    let mut section = Section::new("scaling", origin, entries);
    section.raw("about");
    let mut figures = Figures { section: &mut section, explicit, resolved: Vec::new() };
    let scaling = figures.scaling(environment.cores());
    let resolved = figures.resolved;
    strategy.absorb(section);
    (scaling, resolved)
}

/// What someone asked for: the strategy, then the environment.
fn wishes(strategy: &mut Section, environment: &Environment) -> Entries {
    let mut wishes = super::table(strategy, "scaling").0;
    for name in VARIABLES {
        let variable = format!("AUTO_SCALING_{}", name.to_ascii_uppercase());
        wishes.extend(environment.setting(&variable).map(|setting| (name.to_owned(), setting)));
    }
    wishes
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Percent,
    Seconds,
    Whole,
}

/// One number of a profile.
struct Figure {
    name: &'static str,
    unit: Unit,
    /// Not a number where there was a problem: then no comparison with it holds, and one mistake is reported once.
    value: f64,
    origin: Origin,
    explicit: bool,
}

struct Figures<'a> {
    section: &'a mut Section,
    explicit: Vec<String>,
    resolved: Vec<Resolved>,
}

impl Figures<'_> {
    fn scaling(&mut self, cores: usize) -> Scaling {
        let goal = self.figure("target_docs_per_second", Unit::Whole, 1.0..=1e9);
        let target_docs_per_second = goal.print(&mut self.resolved);
        let (cpu, cpu_grow_below) = self.ceiling("target_cpu_usage", "cpu_scale_up_threshold");
        let (memory, memory_grow_below) = self.ceiling("target_memory_usage", "memory_scale_up_threshold");
        let errors =
            self.figure("target_error_rate", Unit::Percent, 0.0..=100.0).print(&mut self.resolved) / 100.0;
        // More workers than 1 024 only fight for the cores; a batch of ten million documents outgrows any credits.
        let workers = self.range("min_workers", "max_workers", 1.0..=1024.0, cores as f64);
        let batch_documents = self.range("min_batch_size", "max_batch_size", 1.0..=1e7, f64::INFINITY);
        let check_interval = self.seconds("check_interval", 1.0..=3600.0);
        let cooldown = self.seconds("cooldown", 0.0..=86400.0);
        let ceilings = Ceilings {
            cpu,
            cpu_grow_below,
            cpu_shrink_below: cpu_grow_below,
            memory,
            memory_grow_below,
            memory_shrink_below: memory_grow_below,
            gpu_memory: memory,
            errors,
        };
        Scaling { ceilings, workers, batch_documents, target_docs_per_second, check_interval, cooldown }
    }

    /// A ceiling and the level under it above which nothing grows. A profile's level gives way to a lower ceiling, never a
    /// ceiling to a level.
    fn ceiling(&mut self, target: &'static str, grow_below: &'static str) -> (f64, f64) {
        let target = self.figure(target, Unit::Percent, 1.0..=100.0);
        let mut grow_below = self.figure(grow_below, Unit::Percent, 1.0..=100.0);
        if grow_below.value > target.value {
            if grow_below.explicit {
                self.section
                    .problem(grow_below.name, format!("is above {} ({}%)", target.name, target.value));
            }
            grow_below.follow(&target);
        }
        (target.print(&mut self.resolved) / 100.0, grow_below.print(&mut self.resolved) / 100.0)
    }

    /// A least and a most. A profile's least is at most `enough`: as many workers as cores are a start on any machine.
    fn range(
        &mut self,
        least: &'static str,
        most: &'static str,
        range: RangeInclusive<f64>,
        enough: f64,
    ) -> RangeInclusive<u64> {
        let mut least = self.figure(least, Unit::Whole, range.clone());
        let mut most = self.figure(most, Unit::Whole, range);
        if !least.explicit {
            least.value = least.value.min(enough);
        }
        if least.value > most.value {
            match (least.explicit, most.explicit) {
                (true, true) => {
                    self.section.problem(
                        least.name,
                        format!("is {}, above {} {}", least.value, most.name, most.value),
                    );
                }
                (true, false) => most.follow(&least),
                (false, _) => least.follow(&most),
            }
        }
        least.print(&mut self.resolved) as u64..=most.print(&mut self.resolved) as u64
    }

    fn seconds(&mut self, name: &'static str, range: RangeInclusive<f64>) -> Duration {
        let seconds = self.figure(name, Unit::Seconds, range).print(&mut self.resolved);
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
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
}

impl Figure {
    fn follow(&mut self, other: &Figure) {
        self.value = other.value;
        self.origin = other.origin.clone();
    }

    fn print(&self, resolved: &mut Vec<Resolved>) -> f64 {
        let value = match self.unit {
            Unit::Percent => format!("{}%", self.value),
            Unit::Seconds => format!("{} s", self.value),
            Unit::Whole => self.value.to_string(),
        };
        resolved.push(Resolved {
            path: format!("scaling.{}", self.name),
            value,
            origin: self.origin.clone(),
        });
        self.value
    }
}

impl Unit {
    fn read(self, value: &Value) -> Option<f64> {
        let number = match value {
            Value::Integer(number) => *number as f64,
            Value::Float(number) => *number,
            Value::Text(text) if self == Unit::Percent => {
                text.trim().strip_suffix('%')?.trim_end().parse().ok()?
            }
            Value::Text(text) if self == Unit::Seconds => {
                text.trim().strip_suffix('s')?.trim_end().parse().ok()?
            }
            _ => return None,
        };
        (self != Unit::Whole || number.fract() == 0.0).then_some(number)
    }

    fn wanted(self, range: &RangeInclusive<f64>) -> String {
        let (least, most) = (range.start(), range.end());
        match self {
            Unit::Percent => format!("a percentage from {least} to {most}, such as 70 or 70%"),
            Unit::Seconds => format!("seconds from {least} to {most}, such as 30"),
            Unit::Whole => format!("a whole number from {least} to {most}"),
        }
    }
}
