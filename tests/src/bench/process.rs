// SPDX-License-Identifier: Apache-2.0
//! What a process costs, as `/proc` tells it.

use std::time::Duration;

use anyhow::{Context, Result};

/// Clock ticks a second in `/proc/PID/stat`: `sysconf(_SC_CLK_TCK)` is 100 on every Linux that runs on PCs.
const TICKS: u32 = 100;

/// Resident bytes of a process.
pub fn resident(pid: u32) -> Result<u64> {
    status(pid, "VmRSS:")
}

/// The most that it ever had.
pub fn highest_resident(pid: u32) -> Result<u64> {
    status(pid, "VmHWM:")
}

fn status(pid: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("reading a process's status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line
        .with_context(|| format!("no {name}"))?
        .trim()
        .trim_end_matches(" kB");
    let kilobytes: u64 = kilobytes.parse().with_context(|| format!("understanding {name}"))?;
    Ok(kilobytes * 1024)
}

/// Processor time of a process and its children so far.
pub fn processor(pid: u32) -> Result<Duration> {
    of_all(|| std::iter::once(pid).chain(children(pid)))
}

/// Processor time of a process so far.
pub fn alone(pid: u32) -> Result<Duration> {
    of_all(|| std::iter::once(pid))
}

fn of_all<I: Iterator<Item = u32>>(all: impl Fn() -> I) -> Result<Duration> {
    let precise = all().map(scheduled).sum::<Option<Duration>>().unwrap_or_default();
    let mut ticks = 0;
    for pid in all() {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("reading a process's times")?;
        // proc(5): the second field is in brackets and may hold blanks; utime and stime are the 14th and 15th.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
        for field in fields.get(11..13).context("a short line")? {
            ticks += field.parse::<u32>().context("understanding a time")?;
        }
    }
    // The precise figure misses threads that have ended, and the other one the last hundredth of a second.
    Ok(precise.max(Duration::from_secs(1) * ticks / TICKS))
}

/// The same in nanoseconds, from its threads' first figure in `schedstat`; `None` where the kernel does not count so.
fn scheduled(pid: u32) -> Option<Duration> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let nanoseconds: Option<u64> = threads
        .map(|thread| {
            let line = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum();
    nanoseconds.filter(|&sum| sum > 0).map(Duration::from_nanos)
}

fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = std::fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Megabytes, as people write them.
#[allow(clippy::cast_precision_loss)] // a figure with one decimal
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
