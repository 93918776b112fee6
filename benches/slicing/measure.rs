//! What one run of a program cost.
//!
//! The operating system adds up the CPU time of all children that have ended, and of their memory keeps the highest peak. Read by a
//! process that has had exactly one child, both belong to that child. `measured` starts such a process, and the process
//! (`measured_child`) prints what it saw as three numbers.

#![expect(clippy::print_stdout, reason = "the three numbers go to the process that asked for them")]

use crate::Result;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// CPU time of all threads, the kernel's work for them included.
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
    /// Most resident memory.
    pub(crate) peak_kib: u64,
}

/// Runs a command that was made to run through [`measured_child`].
pub(crate) fn measured(command: &mut Command) -> Result<Run> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?} ended with {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let numbers = text.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<u64>, _>>()?;
    let [cpu, wall, peak_kib] = numbers[..] else {
        return Err(format!("three numbers, not {text:?}").into());
    };
    Ok(Run { cpu: Duration::from_micros(cpu), wall: Duration::from_micros(wall), peak_kib })
}

/// Runs a program, throws away what it prints, and prints CPU microseconds, wall microseconds and peak memory in KiB.
pub(crate) fn measured_child(program: &str, arguments: &[&str]) -> Result<()> {
    let begin = Instant::now();
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status()?;
    let wall = begin.elapsed().as_micros();
    if !status.success() {
        return Err(format!("{program} {} ended with {status}", arguments.join(" ")).into());
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    println!("{cpu} {wall} {}", usage.max_rss());
    Ok(())
}

/// The middle value.
pub(crate) fn median(runs: &[Run], value: impl Fn(&Run) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}
