//! A cluster of real processes, in a folder of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::event_log::{self, Line};

/// The binary under test.
const CLUSTER: &str = env!("CARGO_BIN_EXE_cluster");

/// The time after which a condition that never holds ends a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tests run one at a time: they measure times.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The processes of a test. All end with it.
pub struct Cluster {
    folder: PathBuf,
    processes: BTreeMap<String, Child>,
    /// The address that each resource manager listens on.
    pub addresses: BTreeMap<String, String>,
    is_checked: bool,
    _one_at_a_time: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Creates a cluster without processes.
    pub fn new(test: &str) -> Self {
        let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("cluster-{}-{number}-{test}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a writable temporary folder");
        Self {
            folder,
            processes: BTreeMap::new(),
            addresses: BTreeMap::new(),
            is_checked: false,
            _one_at_a_time: guard,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts a process of the binary. Its output goes to files in the folder.
    pub fn start(&mut self, name: &str, arguments: &[&str]) -> u32 {
        let errors = File::create(self.path(&format!("{name}.err"))).expect("a log file");
        let output = File::create(self.path(&format!("{name}.out"))).expect("a log file");
        let (subcommand, options) = arguments.split_first().expect("a subcommand");
        let child = Command::new(CLUSTER)
            .arg(subcommand)
            .arg("--event-log")
            .arg(self.path(&format!("{name}.events")))
            .args(options)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .expect("the binary starts");
        let pid = child.id();
        self.processes.insert(name.to_owned(), child);
        pid
    }

    /// Starts an etcd with one member. Returns its election place; `None` if it is not installed.
    pub fn etcd(&mut self) -> Option<String> {
        let port = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("an address").port()
        };
        let (clients, peers) = (port(), port());
        let (clients, peers) = (
            format!("http://127.0.0.1:{clients}"),
            format!("http://127.0.0.1:{peers}"),
        );
        let log = File::create(self.path("etcd.err")).expect("a log file");
        let child = Command::new("etcd")
            .arg("--data-dir")
            .arg(self.path("etcd"))
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("default={peers}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let Ok(child) = child else {
            println!("left out: etcd is not installed");
            return None;
        };
        self.processes.insert("etcd".to_owned(), child);
        Some(format!("etcd:{}", clients.trim_start_matches("http://")))
    }

    /// Starts a resource manager, and waits until it listens.
    pub fn resource_manager(&mut self, name: &str, election: &str, more: &[&str]) {
        let mut arguments = vec![
            "resource-manager",
            "--listen",
            "127.0.0.1:0",
            "--election",
            election,
            "--lease",
            "3s",
            "--heartbeat-interval",
            "300ms",
            "--heartbeat-timeout",
            "1500ms",
        ];
        arguments.extend(more);
        self.start(name, &arguments);
        let output = self.path(&format!("{name}.out"));
        let address = wait_for("a resource manager that listens", || {
            line_with(&output, "listening on ")
        });
        self.addresses.insert(name.to_owned(), address);
    }

    /// Returns the addresses of all resource managers, as an argument.
    pub fn resource_managers(&self) -> String {
        let addresses: Vec<&str> = self.addresses.values().map(String::as_str).collect();
        addresses.join(",")
    }

    /// Starts a task executor.
    pub fn worker(&mut self, name: &str, slots: u32) {
        let (managers, slots) = (self.resource_managers(), slots.to_string());
        let arguments = [
            "task-executor",
            "--resource-managers",
            &managers,
            "--resource-id",
            name,
            "--slots",
            &slots,
            "--profile",
            "cpu=1",
        ];
        self.start(name, &arguments);
    }

    /// Starts a job.
    pub fn job(&mut self, name: &str, tasks: usize, parallelism: usize, command: &[&str]) {
        let (managers, tasks, parallelism) = (self.resource_managers(), tasks.to_string(), parallelism.to_string());
        let mut arguments = vec![
            "run",
            "--resource-managers",
            &managers,
            "--tasks",
            &tasks,
            "--parallelism",
            &parallelism,
            "--profile",
            "cpu=1",
            "--event-log",
        ];
        let log = self.path(&format!("{name}.events"));
        let log = log.to_str().expect("a path in UTF-8");
        arguments.extend([log, "--"]);
        arguments.extend(command);
        let errors = File::create(self.path(&format!("{name}.err"))).expect("a log file");
        let child = Command::new(CLUSTER)
            .args(&arguments)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .expect("the binary starts");
        self.processes.insert(name.to_owned(), child);
    }

    /// Waits until a process ends by itself.
    ///
    /// # Panics
    /// If it does not end well.
    pub fn wait(&mut self, name: &str) {
        let child = self.processes.get_mut(name).expect("a known process");
        let status = wait_for(&format!("the end of {name}"), || child.try_wait().expect("a child"));
        self.processes.remove(name);
        assert!(
            status.success(),
            "{name} ended with {status}, see {}",
            self.folder.display()
        );
    }

    /// Asks a process to end, and waits until it has.
    pub fn terminate(&mut self, name: &str) {
        self.signal(name, "TERM");
        let child = self.processes.get_mut(name).expect("a known process");
        wait_for(&format!("the end of {name}"), || child.try_wait().expect("a child"));
        self.processes.remove(name);
    }

    fn signal(&self, name: &str, signal: &str) {
        let pid = self.processes[name].id().to_string();
        let status = Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        assert!(status.expect("the command kill").success(), "{signal} to {name}");
    }

    /// Kills a process, and notes it in an event log of the test.
    pub fn kill(&mut self, name: &str) {
        let mut child = self.processes.remove(name).expect("a known process");
        child.kill().expect("a child");
        child.wait().expect("a child");
        self.note("killed", name);
    }

    /// Stops a process with SIGSTOP, and notes it in an event log of the test.
    pub fn stop(&self, name: &str) {
        self.signal(name, "STOP");
        self.note("stopped", name);
    }

    /// Lets a stopped process go on.
    pub fn go_on(&self, name: &str) {
        self.signal(name, "CONT");
    }

    fn note(&self, event: &str, worker: &str) {
        let at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock after 1970");
        let line = format!(
            "{{\"seq\":0,\"at_us\":{},\"process\":\"test\",\"event\":\"{event}\",\"worker\":\"{worker}\"}}\n",
            at.as_micros()
        );
        let log = File::options().create(true).append(true).open(self.path("test.events"));
        log.and_then(|mut log| log.write_all(line.as_bytes()))
            .expect("a log file");
    }

    /// Returns the lines of all event logs.
    pub fn lines(&self) -> Vec<Line> {
        event_log::read(&self.folder)
    }

    /// Returns the number of lines with an event.
    pub fn count(&self, event: &str) -> usize {
        self.lines().iter().filter(|line| line.event == event).count()
    }

    /// Returns the resource manager that leads, and its epoch.
    pub fn leader(&self) -> Option<(String, u64)> {
        let lines = self.lines();
        let elected = lines.iter().filter(|line| line.event == "leader_elected");
        let last = elected.max_by_key(|line| line.epoch)?;
        let mut managers = self.addresses.iter();
        let (name, _) = managers.find(|(_, address)| last.process.ends_with(address.as_str()))?;
        Some((name.clone(), last.epoch))
    }

    /// Ends the test: everything that must hold is checked, and the folder is removed.
    pub fn check(mut self, tasks: usize) -> super::checker::Counts {
        let counts = super::checker::check(&self.lines(), tasks);
        self.is_checked = true;
        counts
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.processes.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.is_checked && !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        } else {
            eprintln!("the logs are in {}", self.folder.display());
        }
    }
}

/// Waits until there is a value.
///
/// # Panics
/// If there is none in time.
pub fn wait_for<T>(what: &str, mut value: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = value() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "no sign of {what} within {PATIENCE:?}");
        sleep(Duration::from_millis(10));
    }
}

/// Waits until a condition holds, and returns the time it took.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    wait_for(what, || holds().then_some(()));
    start.elapsed()
}

/// Returns the rest of the first line with this beginning.
fn line_with(path: &Path, beginning: &str) -> Option<String> {
    let lines = BufReader::new(File::open(path).ok()?).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with(beginning))?;
    line.strip_prefix(beginning).map(str::to_owned)
}
