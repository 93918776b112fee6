//! What this process uses of the machine: CPU time and resident memory, against the cores and the memory that it may use, and what others use
//! of the same cores.
//!
//! Where there is a `/proc` it is read, below a root that a test may choose; elsewhere `sysinfo` asks the system for what it knows. The cores are
//! those that the process may run on, or its quota where that is less: a quota of one and a half cores is one and a half cores.

use super::cgroup::{Groups, Limited};
use super::kernel;
use super::network::{self, Traffic};
use super::pressure::Gauges;
use crate::model::sample::Pressure;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// The kernel counts CPU time in hundredths of a second (`USER_HZ`), on every architecture that Rust is tested on.
const TICK: Duration = Duration::from_millis(10);

/// Limits of memory are looked up again after so many measurements: who changes them while a run goes on is heard within half a minute.
const LIMITS_KEPT: u32 = 30;

/// The type of the entry of `/proc/self/auxv` that holds the size of a page.
const AT_PAGESZ: u64 = 6;

/// Measures this process.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
    /// Where there is no `/proc`.
    other: Option<Other>,
    page: Option<u64>,
    /// The numbers of the cores that the process may run on.
    allowed: Option<Vec<u32>>,
    cores: f64,
    groups: Groups,
    limited: Vec<Limited>,
    memory: Option<u64>,
    gauges: Option<Gauges>,
    measured: u32,
}

/// What this process uses. What could not be measured is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostUse {
    /// CPU time since it began, all threads.
    pub cpu_time: Option<Duration>,
    /// Resident memory in bytes.
    pub resident: Option<u64>,
    /// The share of its limit that the fullest of its control groups uses.
    pub group_memory: Option<f64>,
    /// Time since the machine's start that the cores that it may run on were busy, or taken by others of the hypervisor; all of them together.
    pub cores_busy: Option<Duration>,
    /// Pressure stall information.
    pub pressure: Option<Pressure>,
    pub(super) traffic: Option<Traffic>,
}

/// A system without `/proc`.
#[derive(Debug)]
struct Other {
    system: System,
    pid: Pid,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// Looks at the machine.
    pub fn new() -> Self {
        let root = Path::new("/");
        let mut host = Self::below(root);
        if kernel::text(&root.join("proc/self/stat")).is_none() {
            host.other = Other::new();
            host.memory = host.other.as_mut().and_then(Other::memory);
        }
        host
    }

    /// Looks at what a tree of files says of a machine.
    pub fn below(root: &Path) -> Self {
        let groups = Groups::find(root);
        let status = kernel::text(&root.join("proc/self/status")).unwrap_or_default();
        let allowed = status.lines().find_map(|line| numbers(line.strip_prefix("Cpus_allowed_list:")?));
        let count = match &allowed {
            Some(allowed) => allowed.len(),
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let gauges = Gauges::find(root, groups.own());
        let machine = kernel::text(&root.join("proc/meminfo")).as_deref().and_then(total_memory);
        Self {
            root: root.to_owned(),
            other: None,
            page: kernel::bytes(&root.join("proc/self/auxv")).and_then(|auxv| page(&auxv)),
            cores: groups.quota().map_or(count as f64, |quota| quota.min(count as f64)),
            allowed,
            limited: groups.limited(),
            groups,
            memory: machine,
            gauges,
            measured: 0,
        }
    }

    /// The cores that this process may use, a part of one too.
    pub fn cores(&self) -> f64 {
        self.cores
    }

    /// The cores that it may run on.
    pub(super) fn allowed_cores(&self) -> Option<usize> {
        self.allowed.as_ref().map(Vec::len)
    }

    /// The memory that this process may use, in bytes; none where nobody tells.
    pub fn memory_limit(&self) -> Option<u64> {
        self.limited.iter().map(|limited| limited.limit).chain(self.memory).min()
    }

    /// Measures now.
    pub fn measure(&mut self) -> HostUse {
        if let Some(other) = &mut self.other {
            return other.measure();
        }
        self.measured += 1;
        if self.measured.is_multiple_of(LIMITS_KEPT) {
            self.limited = self.groups.limited();
        }
        let own = kernel::text(&self.root.join("proc/self/stat")).as_deref().and_then(OwnUse::parse);
        let machine = kernel::text(&self.root.join("proc/stat"));
        let cores_busy = machine.zip(self.allowed.as_ref()).and_then(|(text, cores)| busy(&text, cores));
        HostUse {
            cpu_time: own.map(|own| own.cpu_time),
            resident: own.zip(self.page).map(|(own, page)| own.resident_pages.saturating_mul(page)),
            group_memory: self.limited.iter().filter_map(Limited::used).reduce(f64::max),
            cores_busy,
            pressure: self.gauges.as_ref().and_then(Gauges::read),
            traffic: network::read(&self.root),
        }
    }

    /// The most memory that was ever resident, where the system keeps it; else what is resident now.
    pub fn peak_memory(&mut self) -> Option<u64> {
        let status = kernel::text(&self.root.join("proc/self/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| kibibytes(line.strip_prefix("VmHWM:")?));
        peak.or_else(|| self.measure().resident)
    }
}

impl Other {
    fn new() -> Option<Self> {
        Some(Self { system: System::new().ok()?, pid: sysinfo::get_current_pid().ok()? })
    }

    fn memory(&mut self) -> Option<u64> {
        self.system.refresh_memory();
        Some(self.system.total_memory()).filter(|bytes| *bytes > 0)
    }

    fn measure(&mut self) -> HostUse {
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[self.pid]), false, what);
        self.system.process(self.pid).map_or_else(HostUse::default, |process| HostUse {
            cpu_time: Some(Duration::from_millis(process.accumulated_cpu_time())),
            resident: Some(process.memory()),
            ..HostUse::default()
        })
    }
}

/// What `/proc/self/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OwnUse {
    cpu_time: Duration,
    resident_pages: u64,
}

impl OwnUse {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in brackets, which may hold anything; the third begins behind the last of them.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self { cpu_time: ticks(field(14)?.checked_add(field(15)?)?), resident_pages: field(24)? })
    }
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count.saturating_mul(TICK.as_millis() as u64))
}

/// The time that these cores were busy or taken away; none if one of them is not told of.
fn busy(text: &str, cores: &[u32]) -> Option<Duration> {
    let (mut sum, mut found) = (0_u64, 0);
    for line in text.lines().filter_map(|line| line.strip_prefix("cpu")) {
        let mut fields = line.split_ascii_whitespace();
        // The first line has no number: it is the sum of all.
        let is_ours = !line.starts_with(' ')
            && fields.next()?.parse().is_ok_and(|number: u32| cores.binary_search(&number).is_ok());
        if !is_ours {
            continue;
        }
        // user, nice, system, idle, iowait, irq, softirq, steal; what follows is in user already.
        let times: Vec<u64> = fields.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let [user, nice, system, _idle, _wait, irq, softirq, steal] = times.try_into().ok()?;
        sum = [user, nice, system, irq, softirq, steal]
            .iter()
            .try_fold(sum, |sum, part| sum.checked_add(*part))?;
        found += 1;
    }
    (found == cores.len()).then(|| ticks(sum))
}

/// The numbers of a list like `0-3,8`, in order; none if it is none.
fn numbers(list: &str) -> Option<Vec<u32>> {
    /// More cores than any machine has: a list that asks for more is garbage.
    const MOST: u32 = 1 << 16;
    let mut numbers = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last || last >= MOST || numbers.last().is_some_and(|before| *before >= first) {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

fn total_memory(meminfo: &str) -> Option<u64> {
    meminfo.lines().find_map(|line| kibibytes(line.strip_prefix("MemTotal:")?)).filter(|bytes| *bytes > 0)
}

fn kibibytes(text: &str) -> Option<u64> {
    text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The size of a page: `auxv` is pairs of machine words, a type and a value.
fn page(auxv: &[u8]) -> Option<u64> {
    const WORD: usize = size_of::<usize>();
    let word = |bytes: &[u8]| Some(usize::from_ne_bytes(bytes.try_into().ok()?) as u64);
    let mut pairs = auxv.chunks_exact(2 * WORD);
    pairs
        .find_map(|pair| (word(&pair[..WORD])? == AT_PAGESZ).then(|| word(&pair[WORD..]))?)
        .filter(|page| *page > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::kernel::tests::{tree, write};
    use proptest::prelude::*;
    use std::fs;

    const STAT: &str = "4242 (a) b (c)) S 1 2 3 0 -1 4194304 9 0 0 0 150 50 7 7 20 0 8 0 100 5000000 256 18446744073709551615 1 1 0";
    const CORES: &str = "cpu  999 9 9 9 9 9 9 9 0 0\n\
                         cpu0 100 1 10 1000 50 2 3 4 5 6\n\
                         cpu1 200 2 20 1000 50 2 3 4 5 6\n\
                         cpu10 7000 0 0 0 0 0 0 0 0 0\n\
                         intr 1 2 3\n";

    /// A machine with two cores and a megabyte.
    fn machine() -> tempfile::TempDir {
        let root = tree(&[
            ("proc/self/stat", STAT),
            ("proc/self/status", "Name:\tx\nVmHWM:\t    2048 kB\nCpus_allowed_list:\t0-1\n"),
            ("proc/stat", CORES),
            ("proc/meminfo", "MemTotal:           1024 kB\nMemFree: 1 kB\n"),
            ("proc/self/cgroup", "0::/a\n"),
            ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
        ]);
        let auxv = [3_usize, 77, AT_PAGESZ as usize, 4096, 0, 0].map(usize::to_ne_bytes).concat();
        fs::write(root.path().join("proc/self/auxv"), auxv).unwrap();
        root
    }

    #[test]
    fn a_machine_is_read_from_its_files() {
        let root = machine();
        let mut host = Host::below(root.path());
        assert_eq!(
            (host.cores(), host.memory_limit(), host.peak_memory()),
            (2.0, Some(1 << 20), Some(2 << 20))
        );
        let used = HostUse {
            cpu_time: Some(Duration::from_secs(2)),
            resident: Some(1 << 20),
            cores_busy: Some(Duration::from_millis(10 * (120 + 231))),
            ..HostUse::default()
        };
        assert_eq!(host.measure(), used);
    }

    #[test]
    fn a_group_limits_cores_and_memory() {
        let root = machine();
        write(
            root.path(),
            &[
                ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
                ("sys/fs/cgroup/a/memory.max", "524288\n"),
                ("sys/fs/cgroup/a/memory.current", "262144\n"),
                ("sys/fs/cgroup/a/memory.stat", "inactive_file 131072\n"),
            ],
        );
        let mut host = Host::below(root.path());
        assert_eq!((host.cores(), host.memory_limit()), (1.5, Some(524_288)));
        assert_eq!(host.measure().group_memory, Some(0.25));
        write(root.path(), &[("sys/fs/cgroup/a/memory.max", "1048576\n")]);
        for _ in 0..LIMITS_KEPT {
            host.measure();
        }
        assert_eq!((host.memory_limit(), host.measure().group_memory), (Some(1 << 20), Some(0.125)));
    }

    #[test]
    fn what_is_missing_is_absent_and_nothing_else() {
        let whole = Host::below(machine().path()).measure();
        assert_eq!(Host::below(Path::new("nowhere")).measure(), HostUse::default());
        for (missing, expected) in [
            ("proc/self/stat", HostUse { cpu_time: None, resident: None, ..whole }),
            ("proc/stat", HostUse { cores_busy: None, ..whole }),
            ("proc/self/status", HostUse { cores_busy: None, ..whole }),
            ("proc/self/auxv", HostUse { resident: None, ..whole }),
            ("proc/meminfo", whole),
        ] {
            let root = machine();
            fs::remove_file(root.path().join(missing)).unwrap();
            // A file of garbage is as good as none.
            for garbage in [None, Some("garbage\n\0(1 2) 3")] {
                garbage.into_iter().for_each(|text| write(root.path(), &[(missing, text)]));
                assert_eq!(Host::below(root.path()).measure(), expected, "{missing}");
            }
        }
    }

    #[test]
    fn this_process_is_measured() {
        let mut host = Host::new();
        let used = host.measure();
        assert!(used.resident > Some(1 << 20) && used.cpu_time.is_some());
        assert!(host.memory_limit() > used.resident && host.cores() > 0.0);
        assert!(host.peak_memory() >= used.resident);
    }

    #[test]
    fn lists_of_cores() {
        assert_eq!(numbers(" 0-2,5,7-8\n"), Some(vec![0, 1, 2, 5, 7, 8]));
        for wrong in ["", "x", "3-1", "1,1", "0-4294967295", "1-", "0-2,1"] {
            assert_eq!(numbers(wrong), None, "{wrong}");
        }
        assert_eq!(busy(CORES, &[0, 5]), None, "one of them is not there");
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in ".*", near in "[0-9 ()a-zA-Z,:-]{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for text in [&text, &near] {
                let _ = (OwnUse::parse(text), numbers(text), total_memory(text), kibibytes(text));
                let _ = busy(&format!("cpu0 {text}"), &[0]);
                let _ = OwnUse::parse(&format!("1 (x) {text}"));
                let _ = total_memory(&format!("MemTotal: {text} kB"));
            }
            let _ = page(&bytes);
        }
    }
}
