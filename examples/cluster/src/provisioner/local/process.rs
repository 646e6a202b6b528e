//! A process, told apart from later ones that have its number.

use std::io;
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::process::Command;
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

#[derive(Debug, Clone, Copy)]
pub(super) enum Signal {
    Terminate,
    Kill,
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

    /// Sends a signal to the process group.
    pub(super) async fn signal(&self, signal: Signal) {
        if !self.is_running() {
            return;
        }
        let name = match signal {
            Signal::Terminate => "TERM",
            Signal::Kill => "KILL",
        };
        let mut command = Command::new("sh");
        command.args(["-c", "kill -s \"$0\" -- \"-$1\"", name, &self.pid.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A process that has just ended is no failure.
        if let Err(error) = command.status().await {
            warn!(pid = self.pid, %error, "no signal can be sent");
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
