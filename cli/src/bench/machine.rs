//! What the figures were measured on.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Processor, memory, kernel and file system, and the versions of what is measured.
pub(super) fn describe(dir: &Path) -> Value {
    let line = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let found = text.lines().find_map(|l| l.strip_prefix(key));
        found.map(|rest| rest.trim_start_matches([' ', '\t', ':', '"']).trim_end_matches('"').to_owned())
    };
    json!({
        "processor": line("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": line("/proc/meminfo", "MemTotal"),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").map(|s| s.trim().to_owned()).ok(),
        "file_system": file_system(dir),
        "version": env!("CARGO_PKG_VERSION"),
        "build": if cfg!(debug_assertions) { "debug: figures mean nothing" } else { "release" },
    })
}

/// Type of the file system that holds `dir`: the mount with the longest path above it.
fn file_system(dir: &Path) -> Option<String> {
    let dir = fs::canonicalize(dir).ok()?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let above = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, kind) = (words.next()?, words.next()?);
        dir.starts_with(at).then_some((at.len(), kind.to_owned()))
    });
    above.max().map(|(_, kind)| kind)
}

/// Resident memory of this process, in bytes; 0 where the system does not tell.
pub(super) fn resident() -> u64 {
    resident_of(std::process::id())
}

/// Resident memory of a process.
pub(super) fn resident_of(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kib = text.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map_or(0, |kib: u64| kib * 1024)
}

/// Bytes of all files under `dir`.
pub(super) fn disk(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Processor time that a process has used, in seconds; 0 where the system does not tell.
pub(super) fn processor(process: u32) -> f64 {
    /// Of the kernel's interface, whatever its own clock does.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name before may hold anything; behind it, user and system time are the 12th and 13th.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: Vec<f64> = rest.split_whitespace().skip(11).take(2).filter_map(|t| t.parse().ok()).collect();
    ticks.iter().sum::<f64>() / TICKS_PER_SECOND
}

/// A moment in this thread's processor time; in that of the clock where the system does not tell.
pub(super) struct Spent(Instant, Option<Duration>);

impl Spent {
    pub(super) fn now() -> Self {
        Self(Instant::now(), on_processor())
    }

    pub(super) fn elapsed(&self) -> Duration {
        match (self.1, on_processor()) {
            (Some(before), Some(after)) => after.saturating_sub(before),
            _ => self.0.elapsed(),
        }
    }
}

/// Processor time of this thread, exact to a tick of the scheduler.
fn on_processor() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
