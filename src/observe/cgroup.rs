//! Control groups: what this process may use of memory and cores, whichever version limits it.
//!
//! A process is in one group of each hierarchy: of version 2 there is one, of version 1 one for memory and one for cores, and a machine may have both kinds. `/proc/self/cgroup` says
//! which group, `/proc/self/mountinfo` where its files are; a container sees its hierarchy from its own group downwards. **Every group above limits too**, so
//! the way is followed up to the mount, and the tightest limit counts.
//!
//! What a group uses is measured at each level that has a limit, without the file cache that the kernel drops before it takes anything else: otherwise whoever
//! reads large files would always seem to be at the limit.

use super::kernel;
use std::path::{Path, PathBuf};

/// A larger limit of version 1 is how it says that there is none.
const UNLIMITED: u64 = 1 << 62;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A process's groups in one hierarchy, from its own upwards.
#[derive(Debug)]
struct Way {
    version: Version,
    groups: Vec<PathBuf>,
}

/// The groups of this process.
#[derive(Debug, Default)]
pub(super) struct Groups {
    memory: Option<Way>,
    cpu: Option<Way>,
    own: Option<PathBuf>,
}

/// A group whose memory is limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limited {
    group: PathBuf,
    version_one: bool,
    /// Bytes.
    pub(super) limit: u64,
}

impl Groups {
    /// Looks where they are.
    pub(super) fn find(root: &Path) -> Self {
        let text = |name: &str| kernel::text(&root.join("proc/self").join(name)).unwrap_or_default();
        let (member, mounts) = (text("cgroup"), text("mountinfo"));
        let unified = way(root, &member, &mounts, None);
        let of = |controller| {
            way(root, &member, &mounts, Some(controller)).or_else(|| way(root, &member, &mounts, None))
        };
        Self {
            memory: of("memory"),
            cpu: of("cpu"),
            own: unified.and_then(|way| way.groups.into_iter().next()),
        }
    }

    /// The process's own group of version 2.
    pub(super) fn own(&self) -> Option<&Path> {
        self.own.as_deref()
    }

    /// The groups that have a limit of memory.
    pub(super) fn limited(&self) -> Vec<Limited> {
        let Some(way) = &self.memory else { return Vec::new() };
        let limited = |group: &PathBuf| {
            let version_one = way.version == Version::One;
            Some(Limited { limit: memory_limit(group, way.version)?, group: group.clone(), version_one })
        };
        way.groups.iter().filter_map(limited).collect()
    }

    /// The cores that may be used at once, a part of one too, where that is limited.
    pub(super) fn quota(&self) -> Option<f64> {
        let way = self.cpu.as_ref()?;
        way.groups.iter().filter_map(|group| quota(group, way.version)).reduce(f64::min)
    }
}

impl Limited {
    /// The share of the limit that the group uses.
    pub(super) fn used(&self) -> Option<f64> {
        let (current, cache) = match self.version_one {
            true => ("memory.usage_in_bytes", "total_inactive_file"),
            false => ("memory.current", "inactive_file"),
        };
        let current = kernel::number(&self.group.join(current))?;
        let cache = kernel::named(&kernel::text(&self.group.join("memory.stat"))?, cache)?;
        Some(current.saturating_sub(cache) as f64 / self.limit as f64)
    }
}

fn memory_limit(group: &Path, version: Version) -> Option<u64> {
    let names: &[&str] = match version {
        Version::One => &["memory.limit_in_bytes"],
        // Beyond `high` everybody in the group is slowed down until it has given memory back.
        Version::Two => &["memory.max", "memory.high"],
    };
    let limits = names.iter().filter_map(|name| kernel::number(&group.join(name)));
    limits.filter(|limit| (1..UNLIMITED).contains(limit)).min()
}

fn quota(group: &Path, version: Version) -> Option<f64> {
    match version {
        Version::One => {
            let [quota, period] =
                ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(|name| kernel::number(&group.join(name)));
            // Without a quota it is -1, which is no such number.
            cores(quota?, period?)
        }
        Version::Two => {
            let text = kernel::text(&group.join("cpu.max"))?;
            let (quota, period) = text.trim().split_once(' ')?;
            cores(quota.parse().ok()?, period.parse().ok()?)
        }
    }
}

fn cores(quota: u64, period: u64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// The process's way up the hierarchy of a controller of version 1, or that of version 2.
fn way(root: &Path, member: &str, mounts: &str, controller: Option<&str>) -> Option<Way> {
    let own = member.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let is_it = match controller {
            Some(controller) => controllers.split(',').any(|name| name == controller),
            None => number == "0" && controllers.is_empty(),
        };
        is_it.then_some(path)
    })?;
    let (seen_from, mount) = mounts.lines().find_map(|line| mount(line, controller))?;
    let inside = Path::new(own).strip_prefix(&seen_from).unwrap_or(Path::new(""));
    // A group outside of what a container sees: the mount is all there is to see.
    let is_outside = inside.components().any(|part| part == std::path::Component::ParentDir);
    let inside = if is_outside { Path::new("") } else { inside };
    let inside = inside.strip_prefix("/").unwrap_or(inside);
    let groups = inside.ancestors().map(|part| kernel::below(root, &mount).join(part)).collect();
    Some(Way { version: if controller.is_some() { Version::One } else { Version::Two }, groups })
}

/// What a line of `mountinfo` mounts, and where, if it is that hierarchy.
fn mount(line: &str, controller: Option<&str>) -> Option<(PathBuf, PathBuf)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (seen_from, mount) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let (name, options) = (kind.next()?, kind.nth(1).unwrap_or_default());
    let is_it = match controller {
        Some(controller) => name == "cgroup" && options.split(',').any(|option| option == controller),
        None => name == "cgroup2",
    };
    is_it.then(|| (unescaped(seen_from), unescaped(mount)))
}

/// A path of `mountinfo`, where blanks and the like stand as `\040`.
fn unescaped(path: &str) -> PathBuf {
    let mut parts = path.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                plain.push(char::from(code));
                plain += &part[3..];
            }
            None => {
                plain.push('\\');
                plain += part;
            }
        }
    }
    PathBuf::from(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::kernel::tests::{tree, write};
    use proptest::prelude::*;

    const TWO: [(&str, &str); 2] = [
        ("proc/self/cgroup", "0::/job.slice/docferry\n"),
        (
            "proc/self/mountinfo",
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
        ),
    ];
    const OWN: &str = "sys/fs/cgroup/job.slice/docferry";
    const ABOVE: &str = "sys/fs/cgroup/job.slice";

    fn with(base: &[(&str, &str)], files: &[(&str, &str, &str)]) -> (tempfile::TempDir, Groups) {
        let root = tree(base);
        for (folder, name, text) in files {
            write(root.path(), &[(&format!("{folder}/{name}"), text)]);
        }
        let groups = Groups::find(root.path());
        (root, groups)
    }

    fn limits(groups: &Groups) -> Vec<u64> {
        groups.limited().iter().map(|limited| limited.limit).collect()
    }

    #[test]
    fn of_version_2_every_level_limits_and_cache_is_not_used() {
        let (_root, groups) = with(
            &TWO,
            &[
                (OWN, "memory.max", "1000\n"),
                (OWN, "memory.high", "800\n"),
                (OWN, "memory.current", "700\n"),
                (OWN, "memory.stat", "anon 100\ninactive_file 300\nactive_file 5\n"),
                (OWN, "cpu.max", "max 100000\n"),
                (ABOVE, "memory.max", "600\n"),
                (ABOVE, "memory.high", "max\n"),
                (ABOVE, "memory.current", "590\n"),
                (ABOVE, "memory.stat", "inactive_file 50\n"),
                (ABOVE, "cpu.max", "150000 100000\n"),
                ("sys/fs/cgroup", "cpu.stat", "usage_usec 1\n"),
            ],
        );
        assert_eq!((limits(&groups), groups.quota()), (vec![800, 600], Some(1.5)));
        let used: Vec<_> = groups.limited().iter().map(Limited::used).collect();
        assert_eq!(used, [Some(0.5), Some(0.9)]);
        assert!(groups.own().unwrap().ends_with("job.slice/docferry"));
    }

    #[test]
    fn without_limits_there_are_none() {
        let (_root, groups) = with(&TWO, &[(OWN, "memory.max", "max\n"), (OWN, "cpu.max", "max 100000\n")]);
        assert_eq!((limits(&groups), groups.quota()), (vec![], None));
        let nothing = Groups::find(Path::new("nowhere"));
        assert_eq!((limits(&nothing), nothing.quota(), nothing.own()), (vec![], None, None));
    }

    const ONE: [(&str, &str); 2] = [
        (
            "proc/self/cgroup",
            "9:name=systemd:/\n4:memory:/docker/abc/inner\n2:cpu,cpuacct:/docker/abc\n1:cpuset:/\n0::/\n",
        ),
        (
            "proc/self/mountinfo",
            "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
        ),
    ];

    #[test]
    fn of_version_1_each_controller_has_its_hierarchy_and_a_container_sees_its_own_part() {
        let (_root, groups) = with(
            &ONE,
            &[
                ("sys/fs/cgroup/memory/inner", "memory.limit_in_bytes", "9223372036854771712\n"),
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "2000\n"),
                ("sys/fs/cgroup/memory", "memory.usage_in_bytes", "1500\n"),
                ("sys/fs/cgroup/memory", "memory.stat", "inactive_file 900\ntotal_inactive_file 500\n"),
                ("sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "50000\n"),
                ("sys/fs/cgroup/cpu", "cpu.cfs_period_us", "100000\n"),
            ],
        );
        assert_eq!((limits(&groups), groups.quota()), (vec![2000], Some(0.5)));
        assert_eq!(groups.limited()[0].used(), Some(0.5));
        assert!(groups.own().unwrap().ends_with("sys/fs/cgroup/unified"));
        let (_root, unlimited) = with(
            &ONE,
            &[
                ("sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu", "cpu.cfs_period_us", "100000\n"),
            ],
        );
        assert_eq!((limits(&unlimited), unlimited.quota()), (vec![], None));
    }

    #[test]
    fn a_group_that_is_not_to_be_seen_is_looked_for_no_further_than_its_mount() {
        for own in ["0::/../../elsewhere\n", "0::/other/place\n"] {
            let mounts = "30 23 0:26 /kube/pod /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
            let found = way(Path::new("/"), own, mounts, None).unwrap();
            assert_eq!(found.groups, [Path::new("/sys/fs/cgroup")], "{own}");
        }
    }

    #[test]
    fn half_of_what_is_needed_is_nothing() {
        let (root, groups) = with(&TWO, &[(OWN, "memory.max", "1000\n"), (OWN, "memory.current", "700\n")]);
        assert_eq!(groups.limited()[0].used(), None, "how much of it is cache is not known");
        write(root.path(), &[(&format!("{OWN}/memory.stat"), "inactive_file x\n")]);
        assert_eq!(groups.limited()[0].used(), None);
        for cpu in ["", "100000", "x y", "100000 0", "0 100000"] {
            write(root.path(), &[(&format!("{OWN}/cpu.max"), cpu)]);
            assert_eq!(groups.quota(), None, "{cpu}");
        }
    }

    #[test]
    fn blanks_in_paths_are_told_by_their_number() {
        assert_eq!(unescaped(r"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(unescaped(r"/a\9x\"), Path::new(r"/a\9x\"));
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(
            member in "([0-9:a-z,/.\n]|.){0,80}",
            mounts in "([0-9a-z ,/\\\\-]|.){0,120}",
        ) {
            for controller in [None, Some("memory")] {
                let _ = way(Path::new("/"), &member, &mounts, controller);
                let _ = mount(&mounts, controller);
            }
            let _ = unescaped(&mounts);
        }
    }
}
