//! A Slurm of one machine: munged, slurmctld and slurmd, with all their files in one folder.
//!
//! It shares nothing with a Slurm that this machine may have.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::harness::{free_port, wait_for, wait_until};
use super::super::required::{is_installed, leave_out};

/// The time that jobs and daemons get to end in order.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running Slurm. It ends with the test, and all its jobs with it.
pub struct Slurm {
    folder: PathBuf,
    /// In the order in which they started.
    daemons: Vec<Child>,
}

/// A job, as `squeue` shows it.
#[derive(Debug)]
pub struct Job {
    pub name: String,
    pub state: String,
}

impl Slurm {
    /// Returns `true` if this machine can run it.
    pub fn is_possible() -> bool {
        if !is_installed("slurm") {
            return false;
        }
        let is_root = rustix::process::geteuid().is_root();
        if !is_root {
            leave_out("slurm", "slurmd needs root");
        }
        is_root
    }

    /// Starts it with eight cores, whatever the machine has.
    pub fn start(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("slurm-{}-{test}", std::process::id()));
        fs::create_dir_all(&folder).expect("a writable temporary folder");
        let mut slurm = Self {
            folder,
            daemons: Vec::new(),
        };
        fs::write(slurm.configuration(), slurm.text()).expect("a file");
        slurm.write_programs();
        slurm.start_munged();
        for daemon in ["slurmctld", "slurmd"] {
            let configuration = slurm.configuration();
            slurm.start_daemon(daemon, |command| command.arg("-D").arg("-f").arg(configuration));
        }
        let elapsed = wait_until("a node of Slurm that is idle", || {
            slurm.output("sinfo", &["--noheader", "--format=%T"]).as_deref() == Some("idle\n")
        });
        println!("Slurm is ready after {elapsed:?}");
        slurm
    }

    /// Returns the folder of commands that talk to this Slurm.
    pub fn programs(&self) -> PathBuf {
        self.folder.join("bin")
    }

    fn write_programs(&self) {
        fs::create_dir(self.programs()).expect("a folder");
        for program in ["sbatch", "squeue", "scancel"] {
            let configuration = self.configuration();
            let text = format!(
                "#!/bin/sh\nSLURM_CONF={} exec {program} \"$@\"\n",
                configuration.display()
            );
            let path = self.programs().join(program);
            fs::write(&path, text).expect("a file");
            fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a file of ours");
        }
    }

    /// Returns the path of the configuration, the value of `SLURM_CONF`.
    fn configuration(&self) -> PathBuf {
        self.folder.join("slurm.conf")
    }

    fn text(&self) -> String {
        let system = rustix::system::uname();
        let host = system.nodename().to_string_lossy();
        let folder = self.folder.display();
        let (controller_port, node_port) = (free_port(), free_port());
        format!(
            "ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"
        )
    }

    fn start_munged(&mut self) {
        let path = |name: &str| self.folder.join(name);
        let (key, socket) = (path("munge.key"), path("munge.socket"));
        let mut bytes = [0; 128];
        let random = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
        random.expect("random bytes");
        let file = File::options().write(true).create_new(true).mode(0o600).open(&key);
        file.and_then(|mut file| file.write_all(&bytes)).expect("a file");
        let options = [
            ("--key-file", key),
            ("--socket", socket.clone()),
            ("--pid-file", path("munged.pid")),
            ("--log-file", path("munged.log")),
            ("--seed-file", path("munged.seed")),
        ];
        self.start_daemon("munged", |command| {
            // The temporary folder is open to all, which it would refuse without `--force`.
            command.args(["--foreground", "--force"]);
            options
                .iter()
                .fold(command, |command, (option, path)| command.arg(option).arg(path))
        });
        wait_for("the socket of munged", || socket.exists().then_some(()));
    }

    fn start_daemon(&mut self, name: &str, arguments: impl FnOnce(&mut Command) -> &mut Command) {
        let log = File::create(self.folder.join(format!("{name}.err"))).expect("a log file");
        let mut command = self.command(name);
        arguments(&mut command);
        command.stdout(Stdio::null()).stderr(log);
        self.daemons.push(command.spawn().expect("a daemon starts"));
    }

    /// Returns a command of this Slurm. It runs in the folder.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("SLURM_CONF", self.configuration())
            .current_dir(&self.folder);
        command.stdin(Stdio::null());
        command
    }

    /// Returns the output of a command; `None` if it fails.
    fn output(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let output = self.command(program).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then_some(text)
    }

    /// Returns the jobs that wait or run.
    pub fn queue(&self) -> Vec<Job> {
        self.jobs(&[])
    }

    /// Returns all jobs, also those that have ended.
    pub fn all_jobs(&self) -> Vec<Job> {
        self.jobs(&["--states=all"])
    }

    fn jobs(&self, more: &[&str]) -> Vec<Job> {
        let arguments = [&["--noheader", "--format=%T|%j"], more].concat();
        let lines = self.output("squeue", &arguments).expect("squeue answers");
        let jobs = lines.lines().filter_map(|line| line.split_once('|'));
        let jobs = jobs.map(|(state, name)| Job {
            name: name.to_owned(),
            state: state.to_owned(),
        });
        jobs.collect()
    }

    /// Returns the number of jobs in a state.
    pub fn count(&self, state: &str) -> usize {
        self.queue().iter().filter(|job| job.state == state).count()
    }

    /// Cancels all jobs, and waits until they have ended.
    fn cancel_jobs(&self) {
        let end = Instant::now() + PATIENCE;
        let is_empty = || {
            let queue = self.output("squeue", &["--noheader"]);
            queue.is_none_or(|queue| queue.is_empty())
        };
        while !is_empty() && Instant::now() < end {
            let _ = self.output("scancel", &["--me"]);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Kills the processes of jobs that outlived their job.
    fn kill_rest(&self) {
        let mark = format!("SLURM_CONF={}", self.configuration().display());
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let path = process.path();
            let pid = process.file_name().to_string_lossy().parse::<i32>();
            let pid = pid.ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid.filter(|_| self.owns(&path, &mark)) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }

    /// Returns `true` for a process that has this configuration, or runs in the folder. The latter
    /// are those that keep watch over jobs: they overwrite their environment.
    fn owns(&self, process: &Path, mark: &str) -> bool {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let has_mark = environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == mark.as_bytes());
        has_mark || fs::read_link(process.join("cwd")).is_ok_and(|folder| folder == self.folder)
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        self.cancel_jobs();
        for daemon in self.daemons.iter_mut().rev() {
            end(daemon);
        }
        self.kill_rest();
        if std::thread::panicking() {
            eprintln!("the logs of Slurm are in {}", self.folder.display());
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Ends a daemon: in order, or else by force.
fn end(daemon: &mut Child) {
    let _ = Command::new("kill").arg(daemon.id().to_string()).status();
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if !matches!(daemon.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = daemon.kill();
    let _ = daemon.wait();
}
