//! One figure of the tuner: its unit, what is allowed, and how it is read and printed.
//!
//! Units are told apart because they are easily taken for one another: `0.7` is no percentage here and `70` no share, and both are
//! refused with an example of what is meant.

use crate::model::settings::{Origin, Resolved, Value};
use std::ops::RangeInclusive;

/// What a number means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unit {
    /// `70` or `"70%"`.
    Percent,
    /// `0.85`.
    Share,
    /// `1.5`.
    Factor,
    /// `30`, `"30 s"` or `"250 ms"`.
    Seconds,
    /// `4`.
    Whole,
}

/// A figure as it was found.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    /// Not a number where there was a problem: then no comparison with it holds, and one mistake is reported once.
    pub(super) value: f64,
    pub(super) origin: Origin,
    /// Somebody asked for it; a profile or a preset does not.
    pub(super) explicit: bool,
}

impl Figure {
    /// It stands in somebody's own strategy, profile or preset.
    pub(super) fn is_of_a_file(&self) -> bool {
        matches!(self.origin, Origin::File { .. })
    }

    /// Becomes what `other` is.
    pub(super) fn follow(&mut self, other: &Figure) {
        self.value = other.value;
        self.origin = other.origin.clone();
    }

    /// The line for `show`.
    pub(super) fn resolved(&self) -> Resolved {
        let value = match self.unit {
            Unit::Percent => format!("{}%", self.value),
            Unit::Seconds => format!("{} s", self.value),
            Unit::Share | Unit::Factor | Unit::Whole => self.value.to_string(),
        };
        Resolved { path: format!("scaling.{}", self.name), value, origin: self.origin.clone() }
    }
}

impl Unit {
    /// The number that `value` is in this unit.
    pub(super) fn read(self, value: &Value) -> Option<f64> {
        let number = match value {
            Value::Integer(number) => *number as f64,
            Value::Float(number) => *number,
            Value::Text(text) => self.of_text(text.trim())?,
            _ => return None,
        };
        (self != Unit::Whole || number.fract() == 0.0).then_some(number)
    }

    fn of_text(self, text: &str) -> Option<f64> {
        let number = |text: &str| text.trim_end().parse::<f64>().ok();
        match self {
            Unit::Percent => number(text.strip_suffix('%')?),
            Unit::Seconds => match text.strip_suffix("ms") {
                Some(milliseconds) => Some(number(milliseconds)? / 1_000.0),
                None => number(text.strip_suffix('s')?),
            },
            Unit::Share | Unit::Factor | Unit::Whole => None,
        }
    }

    /// What is allowed, in words.
    pub(super) fn wanted(self, range: &RangeInclusive<f64>) -> String {
        let (least, most) = (range.start(), range.end());
        match self {
            Unit::Percent => format!("a percentage from {least} to {most}, such as 70 or 70%"),
            Unit::Share => format!("a share from {least} to {most}, such as 0.85"),
            Unit::Factor => format!("a factor from {least} to {most}, such as 1.5"),
            Unit::Seconds => format!("seconds from {least} to {most}, such as {}", example(*least, *most)),
            Unit::Whole => format!("a whole number from {least} to {most}"),
        }
    }
}

/// Half a minute, if it is allowed.
fn example(least: f64, most: f64) -> f64 {
    if (least..=most).contains(&30.0) { 30.0 } else { most }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_in_its_unit_only() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (unit, value, number) in [
            (Unit::Percent, text("70 %"), Some(70.0)),
            (Unit::Percent, text("70 s"), None),
            (Unit::Seconds, text("30s"), Some(30.0)),
            (Unit::Seconds, text("250 ms"), Some(0.25)),
            (Unit::Seconds, text("1 m"), None),
            (Unit::Share, Value::Float(0.85), Some(0.85)),
            (Unit::Share, text("85%"), None),
            (Unit::Factor, Value::Integer(2), Some(2.0)),
            (Unit::Whole, Value::Float(4.0), Some(4.0)),
            (Unit::Whole, Value::Float(4.5), None),
            (Unit::Whole, Value::Boolean(true), None),
        ] {
            assert_eq!(unit.read(&value), number, "{unit:?} {value}");
        }
    }
}
