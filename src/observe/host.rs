//! What this process uses of the machine: CPU time and resident memory, against the cores and the memory that it may use.

use std::time::Duration;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Measures this process.
#[derive(Debug)]
pub struct Host {
    /// Absent where the system does not let itself be measured.
    system: Option<System>,
    pid: Option<Pid>,
    cores: usize,
    memory_limit: u64,
}

/// What this process uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostUse {
    /// CPU time since it began, all threads.
    pub cpu_time: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// Looks at the machine: the cores that this process may use, and the memory of its control group or of the machine.
    pub fn new() -> Self {
        let mut system = System::new().ok();
        let memory_limit = system.as_mut().map_or(0, |system| {
            system.refresh_memory();
            let group = system.cgroup_limits().map(|limits| limits.total_memory).filter(|limit| *limit > 0);
            group.unwrap_or(u64::MAX).min(system.total_memory())
        });
        Self {
            memory_limit,
            pid: sysinfo::get_current_pid().ok(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system,
        }
    }

    /// The cores that this process may use.
    pub fn cores(&self) -> usize {
        self.cores
    }

    /// The memory that this process may use, in bytes.
    pub fn memory_limit(&self) -> u64 {
        self.memory_limit
    }

    /// Measures now. Where the system does not tell, zero.
    pub fn measure(&mut self) -> HostUse {
        let (Some(pid), Some(system)) = (self.pid, &mut self.system) else { return HostUse::default() };
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
        system.process(pid).map_or_else(HostUse::default, |process| HostUse {
            cpu_time: Duration::from_millis(process.accumulated_cpu_time()),
            resident: process.memory(),
        })
    }

    /// The most memory that was ever resident, where the system keeps it; else what is resident now.
    pub fn peak_memory(&mut self) -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status.lines().find_map(|line| {
            let kib = line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?;
            Some(kib.trim().parse::<u64>().ok()? * 1024)
        });
        peak.unwrap_or_else(|| self.measure().resident)
    }
}
