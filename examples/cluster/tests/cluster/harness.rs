//! A cluster of real processes, in a folder of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::etcd::Etcd;
use super::event_log::{Line, Logs};

/// The binary under test.
const CLUSTER: &str = env!("CARGO_BIN_EXE_cluster");

/// The time after which a condition that never holds ends a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tests that measure times run alone. The others may run beside each other.
static MACHINE: RwLock<()> = RwLock::new(());

/// The part of the machine that a test takes.
enum Share {
    Alone { _guard: RwLockWriteGuard<'static, ()> },
    BesideOthers { _guard: RwLockReadGuard<'static, ()> },
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The processes of a test. All end with it.
pub struct Cluster {
    folder: PathBuf,
    processes: BTreeMap<String, Child>,
    /// The address that each resource manager listens on.
    pub addresses: BTreeMap<String, String>,
    /// The ids of the jobs.
    jobs: BTreeMap<String, String>,
    pub(super) etcd: Option<Etcd>,
    logs: RefCell<Logs>,
    _share: Share,
}

impl Cluster {
    /// Creates a cluster without processes, for a test that measures times.
    pub fn new(test: &str) -> Self {
        let guard = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        Self::with_share(test, Share::Alone { _guard: guard })
    }

    /// Creates a cluster without processes, for a test that measures nothing.
    pub fn beside_others(test: &str) -> Self {
        let guard = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
        Self::with_share(test, Share::BesideOthers { _guard: guard })
    }

    fn with_share(test: &str, share: Share) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("cluster-{}-{number}-{test}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a writable temporary folder");
        Self {
            logs: RefCell::new(Logs::new(&folder)),
            folder,
            processes: BTreeMap::new(),
            addresses: BTreeMap::new(),
            jobs: BTreeMap::new(),
            etcd: None,
            _share: share,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts a process of the binary. Its output goes to files in the folder.
    pub fn start(&mut self, name: &str, arguments: &[&str]) -> u32 {
        let mut command = Command::new(CLUSTER);
        let (subcommand, options) = arguments.split_first().expect("a subcommand");
        command.arg(subcommand).arg("--event-log");
        command.arg(self.path(&format!("{name}.events"))).args(options);
        self.spawn(name, command).expect("the binary starts")
    }

    /// Starts a process. Its output goes to files in the folder.
    pub(super) fn spawn(&mut self, name: &str, mut command: Command) -> std::io::Result<u32> {
        let file = |suffix| File::create(self.path(&format!("{name}.{suffix}"))).expect("a log file");
        command.env("RUST_LOG", "info").stdin(Stdio::null());
        let child = command.stdout(file("out")).stderr(file("err")).spawn()?;
        let pid = child.id();
        self.processes.insert(name.to_owned(), child);
        Ok(pid)
    }

    /// Starts a resource manager, and waits until it listens. Its lease is 3 s, if nothing else is
    /// asked for. A restarted process listens on its former address.
    pub fn resource_manager(&mut self, name: &str, election: &str, more: &[&str]) {
        let listen = self.addresses.get(name).cloned();
        let listen = listen.unwrap_or_else(|| "127.0.0.1:0".to_owned());
        let mut arguments = vec!["resource-manager", "--listen", &listen, "--election", election];
        arguments.extend(["--heartbeat-interval", "300ms", "--heartbeat-timeout", "1500ms"]);
        if !more.contains(&"--lease") {
            arguments.extend(["--lease", "3s"]);
        }
        arguments.extend(more);
        self.start(name, &arguments);
        let output = self.path(&format!("{name}.out"));
        let child = self.processes.get_mut(name).expect("a known process");
        let address = wait_for("a resource manager that listens", || {
            let end = child.try_wait().expect("a child");
            assert!(end.is_none(), "{name} ended, see {}", output.display());
            line_with(&output, "listening on ")
        });
        self.addresses.insert(name.to_owned(), address);
    }

    /// Starts resource managers that start workers with two slots. The other arguments say how.
    pub fn resource_managers_with_workers(&mut self, names: &[&str], more: &[&str]) {
        // All are known before the first starts, which gives them to its workers.
        let addresses = names.iter().map(|_| format!("127.0.0.1:{}", free_port()));
        let addresses: Vec<_> = addresses.collect();
        let all = addresses.join(",");
        let election = format!("file:{}", self.path("leader").display());
        let folder = self.path("").display().to_string();
        let event_log = format!("--worker-argument=--event-log={folder}/{{name}}.events");
        for (name, address) in names.iter().zip(addresses) {
            let mut arguments = vec!["resource-manager", &event_log];
            for (option, value) in [
                ("--cluster", "test"),
                ("--listen", &address),
                ("--resource-managers", &all),
                ("--election", &election),
                ("--heartbeat-interval", "300ms"),
                ("--heartbeat-timeout", "1500ms"),
                ("--folder", &folder),
                ("-D", "taskmanager.numberOfTaskSlots=2"),
            ] {
                arguments.extend([option, value]);
            }
            arguments.extend(more);
            self.start(name, &arguments);
            self.addresses.insert((*name).to_owned(), address);
        }
    }

    /// Returns the addresses of all resource managers, as an argument.
    pub fn resource_managers(&self) -> String {
        let addresses: Vec<&str> = self.addresses.values().map(String::as_str).collect();
        addresses.join(",")
    }

    /// Starts a task executor with slots of one core.
    pub fn worker(&mut self, name: &str, slots: u32) {
        let slots = slots.to_string();
        self.task_executor(name, &["--slots", &slots, "--profile", "cpu=1"]);
    }

    /// Starts a task executor from whose total slots are cut.
    pub fn dynamic_worker(&mut self, name: &str, total: &str) {
        self.task_executor(name, &["--total", total]);
    }

    fn task_executor(&mut self, name: &str, more: &[&str]) {
        let managers = self.resource_managers();
        let mut arguments = vec!["task-executor", "--resource-managers", &managers, "--resource-id", name];
        arguments.extend(more);
        self.start(name, &arguments);
    }

    /// Starts a job that runs its tasks one after the other in the same slots.
    pub fn job(&mut self, name: &str, tasks: usize, parallelism: usize, command: &[&str]) {
        self.run(name, tasks, parallelism, &[], command);
    }

    /// Starts a job that takes a new slot for each of its tasks.
    pub fn job_with_slot_per_task(&mut self, name: &str, tasks: usize, parallelism: usize, command: &[&str]) {
        self.run(name, tasks, parallelism, &["--slot-per-task"], command);
    }

    /// Starts a job whose slots need these resources.
    pub fn job_with_profile(&mut self, name: &str, tasks: usize, profile: &str, command: &[&str]) {
        self.run(name, tasks, tasks, &["--profile", profile], command);
    }

    /// Starts a job that declares the slots that it needs in all.
    pub fn declaring_job(&mut self, name: &str, tasks: usize, parallelism: usize, command: &[&str]) {
        self.run(name, tasks, parallelism, &["--declare"], command);
    }

    fn run(&mut self, name: &str, tasks: usize, parallelism: usize, more: &[&str], command: &[&str]) {
        let (managers, tasks, parallelism) = (self.resource_managers(), tasks.to_string(), parallelism.to_string());
        let id = format!("{:032x}", self.jobs.len() + 1);
        let mut arguments = vec![
            "run",
            "--resource-managers",
            &managers,
            "--job-id",
            &id,
            "--tasks",
            &tasks,
            "--parallelism",
            &parallelism,
        ];
        if !more.contains(&"--profile") {
            arguments.extend(["--profile", "cpu=1"]);
        }
        arguments.extend(more);
        arguments.push("--");
        arguments.extend(command);
        self.start(name, &arguments);
        self.jobs.insert(name.to_owned(), id);
    }

    /// Waits until a process ends by itself.
    ///
    /// # Panics
    /// If it does not end well.
    pub fn wait(&mut self, name: &str) {
        let code = self.exit_code(name);
        assert_eq!(code, Some(0), "{name} ended, see {}", self.folder.display());
    }

    /// Waits until a process ends. Returns its exit code; `None` if a signal ended it.
    pub fn exit_code(&mut self, name: &str) -> Option<i32> {
        let child = self.processes.get_mut(name).expect("a known process");
        let status = wait_for(&format!("the end of {name}"), || child.try_wait().expect("a child"));
        self.processes.remove(name);
        status.code()
    }

    /// Asks a process to end, and waits until it has.
    pub fn terminate(&mut self, name: &str) {
        self.ask_to_end(name);
        self.exit_code(name);
    }

    /// Asks a process to end.
    pub fn ask_to_end(&self, name: &str) {
        self.signal(name, "TERM");
    }

    fn signal(&self, name: &str, signal: &str) {
        let pid = self.processes[name].id().to_string();
        let status = Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        assert!(status.expect("the command kill").success(), "{signal} to {name}");
    }

    /// Kills a process, and notes it in an event log of the test. Returns the time of the act,
    /// as in the logs.
    pub fn kill(&mut self, name: &str) -> u64 {
        let mut child = self.processes.remove(name).expect("a known process");
        self.note("to_be_killed", name);
        let at = now_us();
        child.kill().expect("a child");
        child.wait().expect("a child");
        self.note("killed", name);
        at
    }

    /// Stops a process with SIGSTOP, and notes it in an event log of the test. Returns the time of
    /// the act, as in the logs.
    pub fn stop(&self, name: &str) -> u64 {
        self.note("stopped", name);
        let at = now_us();
        self.signal(name, "STOP");
        at
    }

    /// Lets a stopped process go on, and notes it in an event log of the test. Returns the time of
    /// the act, as in the logs.
    pub fn go_on(&self, name: &str) -> u64 {
        let at = now_us();
        self.note("continued", name);
        self.signal(name, "CONT");
        at
    }

    /// Notes an act in an event log of the test.
    pub fn note(&self, event: &str, name: &str) {
        let (job, address) = (self.jobs.get(name), self.addresses.get(name));
        let line = serde_json::json!({
            "at_us": now_us(),
            "process": address.map_or("test", String::as_str),
            "event": event,
            "worker": name,
            "job": job.map_or("", String::as_str),
        });
        let log = File::options().create(true).append(true).open(self.path("test.events"));
        log.and_then(|mut log| log.write_all(format!("{line}\n").as_bytes()))
            .expect("a log file");
    }

    /// Returns the lines of all event logs.
    pub fn lines(&self) -> Rc<Vec<Line>> {
        self.logs.borrow_mut().read()
    }

    /// Returns the number of lines with an event.
    pub fn count(&self, event: &str) -> usize {
        self.lines().iter().filter(|line| line.event == event).count()
    }

    /// Returns the resource manager that was elected last, and its epoch.
    pub fn leader(&self) -> Option<(String, u64)> {
        let lines = self.lines();
        let elected = lines.iter().filter(|line| line.event == "leader_elected");
        let last = elected.max_by_key(|line| line.epoch)?;
        let mut managers = self.addresses.iter();
        let (name, _) = managers.find(|(_, address)| last.process.ends_with(address.as_str()))?;
        Some((name.clone(), last.epoch))
    }

    /// Ends the test: everything that must hold is checked.
    pub fn check(self, tasks: usize) -> super::checker::Counts {
        super::checker::check(&self.lines(), tasks)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.processes.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the logs are in {}", self.folder.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// Returns the time as in the event logs: in microseconds after 1970.
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_micros();
    now.try_into().expect("a clock before the year 500,000")
}

/// Returns a port that nothing listens at.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
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
