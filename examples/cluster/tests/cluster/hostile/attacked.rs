//! A cluster at work, and what of it must not change.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::super::harness::{Cluster, wait_for, wait_until};
use super::PATIENCE;

/// The token of the cluster.
pub const TOKEN: &str = "correct-horse-battery-staple";

/// The most memory of the resource manager, also under attack.
const MOST_RESIDENT_KIB: u64 = 256 << 10;

/// How often the sockets of the resource manager are counted before all acts.
const SAMPLES: usize = 50;

/// The tasks of the job. They wait for the end of the attacks.
const TASKS: usize = 12;

/// The tasks of another job, which runs during an attack.
const OTHER_TASKS: usize = 4;

/// A resource manager, three workers with two slots, and a job that holds four of them.
pub struct Attacked {
    cluster: Cluster,
    pid: u32,
    /// The address of the resource manager.
    pub address: String,
    web: String,
    /// The options of all processes.
    options: Vec<String>,
    tasks: usize,
    runtime: Runtime,
    /// The state before all acts.
    first: Option<State>,
    /// The most sockets that the resource manager may keep after an act.
    steady_sockets: usize,
}

/// What must be the same after an act.
#[derive(Debug, PartialEq)]
pub struct State {
    /// The workers, as the owner of the slot manager knows them now. The numbers are a bit older.
    workers: Vec<String>,
    numbers: Value,
    counters: Value,
}

impl Attacked {
    /// Starts the cluster, whose processes have a token and these options.
    pub fn start(test: &str, options: &[&str]) -> Self {
        let mut cluster = Cluster::new(test);
        let token = cluster.path("token");
        std::fs::write(&token, TOKEN).expect("a writable file");
        std::fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).expect("a file of ours");
        let token = token.to_str().expect("a path in UTF-8");
        let options = ["--token-file", token].into_iter().chain(options.iter().copied());
        let options: Vec<String> = options.map(str::to_owned).collect();

        let election = format!("file:{}", cluster.path("leader").display());
        let manager = ["resource-manager", "--election", &election, "--web", "127.0.0.1:0"];
        // No worker is lost, even if the machine is busy.
        let heartbeats = ["--heartbeat-interval", "1s", "--heartbeat-timeout", "10s"];
        let pid = cluster.start("manager", &with(&[&manager, &heartbeats], &options));
        let output = cluster.path("manager.out");
        let line = |start| wait_for("a resource manager that listens", || line_of(&output, start));
        let (address, web) = (line("listening on "), line("web on http://"));
        cluster.addresses.insert("manager".to_owned(), address.clone());

        let runtime = Runtime::new().expect("a runtime");
        let mut attacked = Self {
            cluster,
            pid,
            address,
            web,
            options,
            tasks: 0,
            runtime,
            first: None,
            steady_sockets: 0,
        };
        for worker in ["worker-1", "worker-2", "worker-3"] {
            let arguments = ["--resource-id", worker, "--slots", "2", "--profile", "cpu=1"];
            attacked.start_process(worker, "task-executor", &arguments, &[]);
        }
        wait_until("registered workers", || attacked.cluster.count("registered") == 3);
        let end = attacked.end_of_attacks();
        let command = format!("until [ -e {} ]; do sleep 0.1; done", end.display());
        attacked.start_job("job", TASKS, 4, &command);
        wait_until("work", || attacked.cluster.count("task_started") == 4);
        wait_until("numbers of it", || {
            let overview = &attacked.overview()["overview"];
            overview["task_managers"] == 3 && overview["slots"]["allocated"]["slots"] == 4
        });
        attacked.first = Some(attacked.state());
        // Connections on which processes have asked who leads, or what the numbers are, end soon.
        let samples = (0..SAMPLES).map(|_| {
            sleep(Duration::from_millis(10));
            attacked.sockets()
        });
        attacked.steady_sockets = samples.min().unwrap_or_default();
        attacked
    }

    fn start_process(&mut self, name: &str, subcommand: &str, arguments: &[&str], command: &[&str]) {
        let head = [subcommand, "--resource-managers", &self.address];
        let arguments = [&with(&[&head, arguments], &self.options), command].concat();
        self.cluster.start(name, &arguments);
    }

    fn start_job(&mut self, name: &str, tasks: usize, parallelism: usize, command: &str) {
        let (count, parallelism) = (tasks.to_string(), parallelism.to_string());
        let options = ["--tasks", &count, "--parallelism", &parallelism, "--profile", "cpu=1"];
        self.start_process(name, "run", &options, &["--", "sh", "-c", command]);
        self.tasks += tasks;
    }

    /// The file for which the tasks of the job wait.
    fn end_of_attacks(&self) -> PathBuf {
        self.cluster.path("end")
    }

    /// Runs another job from the start to the end.
    pub fn run_another_job(&mut self) {
        self.start_job("other", OTHER_TASKS, 2, "sleep 0.1");
        self.cluster.wait("other");
    }

    /// Runs an act, which must end in time.
    pub fn run<T>(&self, act: impl AsyncFnOnce(String) -> T) -> T {
        let act = act(self.address.clone());
        self.runtime
            .block_on(async { timeout(PATIENCE, act).await.expect("an end in time") })
    }

    /// Returns what must not change.
    pub fn state(&self) -> State {
        let mut numbers = self.overview();
        let counters = numbers["overview"]["counters"].take();
        State {
            workers: self.workers(),
            numbers,
            counters,
        }
    }

    /// Waits until the state is the same as before. Then nothing is left of an act.
    ///
    /// # Panics
    /// If it does not become the same, or the resource manager takes much memory.
    pub fn assert_unchanged(&self, act: &str, before: &State) {
        self.assert_restored(act, before);
        assert_eq!(self.state().counters, before.counters, "after {act}");
    }

    /// The same after an act that was counted: it had requests that were accepted.
    pub fn assert_restored(&self, act: &str, before: &State) {
        let start = Instant::now();
        loop {
            let now = self.state();
            let sockets = self.sockets();
            if (&now.workers, &now.numbers) == (&before.workers, &before.numbers) && sockets <= self.steady_sockets {
                break;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{act} left {sockets} sockets instead of {} and {now:#?}, before it {before:#?}",
                self.steady_sockets
            );
            sleep(Duration::from_millis(10));
        }
        let (time, resident) = (start.elapsed(), self.resident_kib());
        println!("{act}: all is as before after {time:?}, {resident} KiB are resident");
        assert!(resident < MOST_RESIDENT_KIB, "{resident} KiB after {act}");
    }

    /// Ends the attacks: the job finishes, and all that must hold is checked.
    pub fn finish(mut self) {
        if let Some(first) = self.first.take() {
            self.assert_restored("all acts", &first);
        }
        std::fs::write(self.end_of_attacks(), "").expect("a writable file");
        self.cluster.wait("job");
        let counts = self.cluster.check(self.tasks);
        assert_eq!(counts.lost, 0);
    }

    /// Returns the names of the workers that are registered.
    fn workers(&self) -> Vec<String> {
        let page = self.get_json("/api/task-managers");
        let items = page["items"].as_array().expect("a list").iter();
        let names = items.map(|item| item["resource_id"].as_str().expect("a name").to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }

    fn get_json(&self, path: &str) -> Value {
        let answer = self.get(path, &format!("authorization: Bearer {TOKEN}\r\n"));
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).expect("JSON")
    }

    /// Returns the published numbers.
    fn overview(&self) -> Value {
        let mut overview = self.get_json("/api/overview");
        let numbers = overview.as_object_mut().expect("an object");
        // They change with every message.
        numbers.remove("changes");
        numbers.remove("waiting_inputs");
        overview
    }

    /// Returns the status of the page for a browser without the token.
    pub fn page_without_token(&self) -> u16 {
        let answer = self.get("/", "");
        let status = answer.split(' ').nth(1).expect("a status");
        status.parse().expect("a number")
    }

    /// Sends bytes to the web server.
    pub fn connect_to_web(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.web).expect("a web server");
        stream.write_all(bytes).expect("an open connection");
        stream
    }

    fn get(&self, path: &str, headers: &str) -> String {
        let web = &self.web;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {web}\r\nconnection: close\r\n{headers}\r\n");
        let mut stream = self.connect_to_web(request.as_bytes());
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Returns the number of sockets that the resource manager has open.
    fn sockets(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("a process that runs");
        // A file may be closed meanwhile.
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        let sockets = targets.filter(|target| target.to_string_lossy().starts_with("socket:"));
        sockets.count()
    }

    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("a process that runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.expect("its memory").parse().expect("a number")
    }

    /// Starts a worker without the options of the others.
    pub fn start_stranger(&mut self, options: &[&str]) {
        let arguments = ["task-executor", "--resource-managers", &self.address];
        self.cluster.start("stranger", &[&arguments, options].concat());
    }

    pub fn end_stranger(&mut self) {
        self.cluster.kill("stranger");
    }

    /// Waits until a process logs a text.
    pub fn wait_for_log(&self, name: &str, text: &str) {
        let log = self.cluster.path(&format!("{name}.err"));
        wait_until(&format!("{text:?} in the log of {name}"), || {
            std::fs::read_to_string(&log).is_ok_and(|log| log.contains(text))
        });
    }

    /// Returns all that the processes have logged.
    pub fn logs(&self) -> String {
        let names = ["manager", "worker-1", "worker-2", "worker-3", "job"];
        let logs = names.map(|name| self.cluster.path(&format!("{name}.err")));
        logs.map(|log| std::fs::read_to_string(log).expect("a log")).concat()
    }
}

/// Returns arguments of a process, and then the options of all.
fn with<'a>(arguments: &[&[&'a str]], options: &'a [String]) -> Vec<&'a str> {
    let mut all = arguments.concat();
    all.extend(options.iter().map(String::as_str));
    all
}

/// Returns the rest of the first whole line with this start.
fn line_of(file: &PathBuf, start: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let (whole, _) = text.rsplit_once('\n')?;
    let line = whole.lines().find_map(|line| line.strip_prefix(start));
    line.map(str::to_owned)
}

/// Allows this process, and those that it starts, as many open files as the system lets them.
pub fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("a limit within the maximum");
}
