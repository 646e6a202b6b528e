//! Child processes. Each has its own process group, which ends with it and with this process.

use std::io;
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::guard::Guard;

/// A child process and its process group.
///
/// Dropping it kills the group, and so does the end of this process. A process that has left the
/// group lives on.
pub struct Process {
    child: Child,
    guard: Guard,
}

impl Process {
    /// Starts a command with more environment variables. It reads nothing from standard input.
    ///
    /// # Errors
    /// The command is empty or cannot be started.
    pub fn start<'a>(command: &[String], environment: impl IntoIterator<Item = (&'a str, String)>) -> io::Result<Self> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
        };
        // It is there before the process, so there is no time without it.
        let guard = Guard::start()?;
        let mut command = Command::new(program);
        command.args(arguments).envs(environment).stdin(Stdio::null());
        let child = command.process_group(guard.group()).spawn()?;
        Ok(Self { child, guard })
    }

    /// Waits until the process ends, and kills the others of its group. Returns the exit code, or
    /// `None` if a signal ended the process.
    ///
    /// Dropping the future loses nothing.
    pub async fn wait(&mut self) -> Option<i32> {
        let status = self.child.wait().await;
        self.guard.end().await;
        match status {
            Ok(status) => status.code(),
            Err(error) => {
                tracing::warn!(%error, "the exit code of a process is unknown");
                None
            }
        }
    }

    /// Kills the process with its group, and waits until it has ended.
    pub async fn kill(mut self) {
        self.guard.kill_group();
        self.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{Pid, Signal, kill_process, test_kill_process};
    use tokio::time::{sleep, timeout};

    use super::*;

    /// The time after which a test has failed.
    const DEADLINE: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Process {
        let command = ["sh", "-c", script].map(str::to_owned);
        Process::start(&command, [("CLUSTER_TASK", "7".to_owned())]).unwrap()
    }

    /// Starts a shell with a child process of its own. Returns the id of that.
    async fn shell_with_child(name: &str, rest: &str) -> (Process, Pid) {
        let path = std::env::temp_dir().join(format!("cluster-{}-{name}", std::process::id()));
        let process = shell(&format!("sleep 1000 & echo $! > {}; {rest}", path.display()));
        let child = loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            match text.strip_suffix('\n').and_then(|text| text.parse().ok()) {
                Some(pid) => break Pid::from_raw(pid).unwrap(),
                None => sleep(Duration::from_millis(5)).await,
            }
        };
        std::fs::remove_file(path).unwrap();
        (process, child)
    }

    /// Waits until a process has ended. It may be a zombie, since nobody waits for it.
    async fn ends(pid: Pid) {
        let ends = async {
            while test_kill_process(pid).is_ok() && !is_zombie(pid) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, ends).await.expect("the process lives on");
    }

    fn is_zombie(pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        stat.is_ok_and(|stat| stat.contains(") Z "))
    }

    #[tokio::test]
    async fn the_exit_code_is_returned() {
        assert_eq!(shell("exit $CLUSTER_TASK").wait().await, Some(7));
        assert_eq!(shell("kill -9 $$").wait().await, None);
    }

    #[tokio::test]
    async fn waiting_can_be_given_up() {
        let mut process = shell("sleep 0.2; exit 3");
        assert!(timeout(Duration::from_millis(20), process.wait()).await.is_err());
        assert_eq!(process.wait().await, Some(3));
        assert_eq!(process.wait().await, Some(3));
    }

    #[tokio::test]
    async fn the_group_is_killed_with_the_process() {
        let (process, child) = shell_with_child("killed", "wait").await;
        process.kill().await;
        ends(child).await;
    }

    #[tokio::test]
    async fn the_group_is_killed_when_the_process_is_dropped() {
        let (process, child) = shell_with_child("dropped", "wait").await;
        drop(process);
        ends(child).await;
    }

    #[tokio::test]
    async fn the_group_is_killed_when_the_process_ends() {
        let (mut process, child) = shell_with_child("ended", "exit 0").await;
        assert_eq!(process.wait().await, Some(0));
        ends(child).await;
    }

    #[tokio::test]
    async fn the_group_is_killed_with_this_process() {
        let (mut process, child) = shell_with_child("orphan", "wait").await;
        // The kernel does the same to a process that is killed.
        process.guard.close();
        ends(child).await;
        assert_eq!(process.wait().await, None);
    }

    #[tokio::test]
    async fn no_guard_is_left() {
        let mut process = shell("exit 0");
        let guard = Pid::from_raw(process.guard.group()).unwrap();
        process.wait().await;
        assert!(test_kill_process(guard).is_err());
    }

    #[tokio::test]
    async fn a_process_whose_guard_is_killed_runs_on() {
        let mut process = shell("sleep 0.2; exit 3");
        kill_process(Pid::from_raw(process.guard.group()).unwrap(), Signal::KILL).unwrap();
        assert_eq!(process.wait().await, Some(3));
    }

    #[tokio::test]
    async fn a_command_that_does_not_exist_is_an_error() {
        assert!(Process::start(&["/does/not/exist".to_owned()], []).is_err());
        assert!(Process::start(&[], []).is_err());
    }
}
