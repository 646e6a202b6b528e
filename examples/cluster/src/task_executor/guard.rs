//! The guard of a process group. It kills the group when this process ends, however that happens.

use std::io;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// Waits for the end of standard input, and kills the process group.
const SCRIPT: &str = "read -r _; kill -s KILL 0";

/// A process group and the small shell that leads it.
///
/// The shell reads from a pipe of which only this process has the other end. The kernel closes that
/// end also if this process is killed. Dropping the guard kills the group.
pub struct Guard {
    shell: Child,
    group: Pid,
}

impl Guard {
    /// Starts a group with nothing in it but the shell.
    ///
    /// # Errors
    /// The shell cannot be started.
    pub fn start() -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let shell = command.process_group(0).spawn()?;
        let id = shell.id().and_then(|id| id.try_into().ok());
        let group = id.and_then(Pid::from_raw);
        let group = group.ok_or_else(|| io::Error::other("the guard has no process id"))?;
        Ok(Self { shell, group })
    }

    /// Returns the id of the group, for [`Command::process_group`].
    pub fn group(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// Kills the group.
    pub fn kill_group(&self) {
        // A shell whose end was not read yet is there at least as a zombie, so its id, which is
        // that of the group, is not used again.
        if self.shell.id().is_some() {
            // It fails only if the whole group is gone.
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }

    /// Closes the pipe, as the end of this process does.
    #[cfg(test)]
    pub fn close(&mut self) {
        self.shell.stdin = None;
    }

    /// Kills the group, and waits until the shell has ended.
    pub async fn end(&mut self) {
        self.kill_group();
        if let Err(error) = self.shell.wait().await {
            tracing::warn!(%error, "the end of a guard is unknown");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.kill_group();
    }
}
