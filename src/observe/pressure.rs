//! Pressure stall information: for which share of the last ten seconds someone had to wait for a core, for memory or for a disk.
//!
//! That of the own control group is best, because it leaves out strangers; version 1 of control groups, and the root group, have none. Then the machine's is taken, and
//! where the kernel keeps none, nothing.

use super::kernel;
use crate::model::sample::Pressure;
use std::path::{Path, PathBuf};

/// Where pressure is told.
#[derive(Debug)]
pub(super) struct Gauges([PathBuf; 3]);

impl Gauges {
    /// Those of the control group, else those of the machine.
    pub(super) fn find(root: &Path, group: Option<&Path>) -> Option<Self> {
        let of_group =
            group.map(|group| Self(["cpu", "memory", "io"].map(|of| group.join(format!("{of}.pressure")))));
        let of_machine = Self(["cpu", "memory", "io"].map(|of| root.join("proc/pressure").join(of)));
        of_group.into_iter().chain([of_machine]).find(|gauges| gauges.read().is_some())
    }

    /// The pressure now.
    pub(super) fn read(&self) -> Option<Pressure> {
        let [cpu, memory, io] = self.0.each_ref().map(|path| kernel::text(path).as_deref().and_then(some));
        Some(Pressure { cpu: cpu?, memory: memory?, io: io? })
    }
}

/// The share of the last ten seconds in which someone waited.
fn some(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let percent: f64 =
        line.split_ascii_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()?;
    (percent.is_finite() && percent >= 0.0).then(|| (percent / 100.0).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::kernel::tests::tree;
    use proptest::prelude::*;

    const CPU: &str = "some avg10=25.50 avg60=0.33 avg300=0.92 total=12068840438\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=0\n";
    const NONE: &str = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";

    fn pressure(files: &[(&str, &str)]) -> Option<Pressure> {
        let root = tree(files);
        Gauges::find(root.path(), Some(&root.path().join("group")))?.read()
    }

    #[test]
    fn the_groups_own_is_taken_before_the_machines() {
        let machine =
            [("proc/pressure/cpu", CPU), ("proc/pressure/memory", NONE), ("proc/pressure/io", NONE)];
        assert_eq!(pressure(&machine), Some(Pressure { cpu: 0.255, memory: 0.0, io: 0.0 }));
        let group =
            [("group/cpu.pressure", NONE), ("group/memory.pressure", CPU), ("group/io.pressure", NONE)];
        let both = [machine, group].concat();
        assert_eq!(pressure(&both), Some(Pressure { cpu: 0.0, memory: 0.255, io: 0.0 }));
        assert_eq!(pressure(&both[..5]), pressure(&machine), "half of a group's is none");
        assert_eq!(pressure(&machine[..2]), None);
        assert_eq!(pressure(&[]), None);
    }

    #[test]
    fn what_is_no_share_is_none() {
        for text in [
            "",
            "some",
            "some avg10=",
            "some avg10=x",
            "full avg10=1.0",
            "some avg60=1",
            "some avg10=NaN",
            "some avg10=-1",
        ] {
            assert_eq!(some(text), None, "{text}");
        }
        assert_eq!(some("some avg10=100.01"), Some(1.0));
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in ".*", number in ".*") {
            let _ = some(&text);
            let share = some(&format!("some avg10={number}"));
            prop_assert!(share.is_none_or(|share| (0.0..=1.0).contains(&share)));
        }
    }
}
