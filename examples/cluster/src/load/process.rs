//! The memory and the CPU time of a process, from `/proc`.

use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::Context;

/// The clock ticks of a second in `/proc`. Linux has the same on all common machines.
const TICKS: u32 = 100;

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    cpu_time: Duration,
    resident_kib: u64,
}

/// What a process used during a measurement.
#[derive(Debug)]
pub struct ProcessUse {
    /// The part of one core.
    cpu_share: f64,
    resident_kib: u64,
}

impl Usage {
    /// Reads the usage of a process.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |file| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))
        };
        Self::parse(&read("stat")?, &read("status")?).with_context(|| format!("/proc/{pid} is not understood"))
    }

    fn parse(stat: &str, status: &str) -> Option<Self> {
        // The name of the program is in brackets, and may hold blanks and brackets itself.
        let (_, stat) = stat.rsplit_once(") ")?;
        let mut ticks = stat.split(' ').skip(11).map(str::parse::<u32>);
        let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(Self {
            cpu_time: Duration::from_secs(1) * user.checked_add(system)? / TICKS,
            resident_kib: resident.trim().strip_suffix(" kB")?.parse().ok()?,
        })
    }

    /// Returns the use since an earlier time.
    pub fn since(self, before: Self, elapsed: Duration) -> ProcessUse {
        let cpu_time = self.cpu_time.saturating_sub(before.cpu_time);
        ProcessUse {
            cpu_share: cpu_time.as_secs_f64() / elapsed.as_secs_f64(),
            resident_kib: self.resident_kib,
        }
    }
}

impl fmt::Display for ProcessUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (share, mebibytes) = (self.cpu_share * 100.0, self.resident_kib / 1024);
        write!(f, "{share:.1} % of a core, {mebibytes} MiB resident")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_is_read_from_proc() {
        let stat = "17 (a (b) c) S 1 17 17 0 -1 4194560 900 0 3 0 150 50 0 0 20 0 3 0 5 1000 200";
        let status = "Name:\ta\nVmRSS:\t    2048 kB\nThreads:\t3\n";
        let usage = Usage::parse(stat, status).unwrap();
        assert_eq!(usage.cpu_time, Duration::from_secs(2));
        let before = Usage {
            cpu_time: Duration::from_secs(1),
            resident_kib: 1,
        };
        let during = usage.since(before, Duration::from_secs(4));
        assert_eq!(during.to_string(), "25.0 % of a core, 2 MiB resident");
        assert_eq!(Usage::parse("17", status), None);
        assert_eq!(Usage::parse(stat, ""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_memory() {
        assert!(Usage::of(std::process::id()).unwrap().resident_kib > 0);
        assert!(Usage::of(u32::MAX).is_err());
    }
}
