//! A process, identified by its number, its start time and the boot of the machine.

use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tracing::warn;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// Also the number of its process group.
    pub(super) pid: u32,
    /// The start time, in ticks after the start of the machine.
    started: u64,
    /// The id that Linux gives to each start of the machine.
    boot: String,
}

impl Process {
    /// Finds the process that has this number now.
    pub(super) fn find(pid: u32) -> io::Result<Self> {
        let (started, _) = status(pid)?;
        let boot = boot()?;
        Ok(Self { pid, started, boot })
    }

    /// Returns `true` if this process runs. One that waits for its parent to see its end does not.
    pub(super) fn is_running(&self) -> bool {
        let is_same = status(self.pid).is_ok_and(|(started, state)| started == self.started && state != "Z");
        is_same && boot().is_ok_and(|boot| boot == self.boot)
    }

    /// Sends a signal to the process group, unless the process has ended.
    pub(super) fn signal(&self, signal: Signal) {
        let group = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let Some(group) = group.filter(|_| self.is_running()) else {
            return;
        };
        match kill_process_group(group, signal) {
            // It has just ended.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => warn!(pid = self.pid, %error, "no signal can be sent"),
        }
    }
}

/// Returns the start time and the state of a process.
fn status(pid: u32) -> io::Result<(u64, String)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse(&text).ok_or_else(|| io::Error::other("an unknown form of /proc/PID/stat"))
}

fn parse(stat: &str) -> Option<(u64, String)> {
    // The name of the program is in brackets, and may have any characters.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.to_owned();
    let started = fields.nth(18)?.parse().ok()?;
    Some((started, state))
}

fn boot() -> io::Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_cannot_disguise_it() {
        let stat = "7 (a) S 1 (b)) Z 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(parse(stat), Some((4711, "Z".to_owned())));
        assert_eq!(parse("7 (a"), None);
        assert_eq!(parse("7 (a) S 1"), None);
    }

    #[test]
    fn another_process_with_the_same_number_is_not_it() {
        let process = Process::find(std::process::id()).unwrap();
        assert!(process.is_running());
        let earlier = Process {
            started: process.started - 1,
            ..process.clone()
        };
        assert!(!earlier.is_running());
        let boot = "another".to_owned();
        assert!(!Process { boot, ..process }.is_running());
    }
}
