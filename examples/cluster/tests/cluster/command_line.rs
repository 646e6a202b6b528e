//! What the commands say, and how they end.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::harness::{Cluster, wait_for, wait_until};

#[test]
fn a_job_ends_well_only_if_all_its_tasks_are_done() {
    // given
    let mut cluster = Cluster::beside_others("exit-code");
    let election = format!("file:{}", cluster.path("leader").display());
    cluster.resource_manager("a", &election, &[]);
    cluster.worker("worker", 2);

    // when: the second of two tasks fails
    cluster.job("job", 2, 1, &["sh", "-c", "exit {task}"]);

    // then
    assert_eq!(cluster.exit_code("job"), Some(1));
    let errors = std::fs::read_to_string(cluster.path("job.err")).expect("a log");
    assert!(errors.contains("error: not all tasks are done"), "{errors}");

    // when: a job is stopped
    cluster.job("stopped", 1, 1, &["sleep", "1000"]);
    wait_until("its task", || cluster.count("task_started") == 5);
    cluster.ask_to_end("stopped");

    // then
    assert_eq!(cluster.exit_code("stopped"), Some(1));
    cluster.check(1);
}

#[test]
fn an_operator_can_stop_a_command_that_waits() {
    // given: a server that accepts connections and answers nothing
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = server.local_addr().expect("an address").to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
    command.args(["status", "--web", &address]).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let connection = server.accept().expect("a connection");

    // when
    let pid = child.id().to_string();
    let signal = Command::new("kill").args(["-INT", &pid]).status();
    assert!(signal.expect("the command kill").success());

    // then
    let status = wait_for("the end of the command", || child.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(1));
    let output = child.wait_with_output().expect("its output");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("stopped before the answer came"), "{errors}");
    drop(connection);
}

#[test]
fn a_command_may_be_read_in_part() {
    // given
    let mut cluster = Cluster::beside_others("pipe");
    let election = format!("file:{}", cluster.path("leader").display());
    cluster.resource_manager("a", &election, &["--web", "127.0.0.1:0"]);
    wait_until("a leader", || cluster.count("leader_elected") == 1);
    let output = std::fs::read_to_string(cluster.path("a.out")).expect("its output");
    let web = output.lines().find_map(|line| line.strip_prefix("web on http://"));

    // when: nobody reads the answer
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
    command.args(["status", "--web", web.expect("an address")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    drop(child.as_mut().expect("the binary starts").stdout.take());

    // then
    let output = child.and_then(std::process::Child::wait_with_output).expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    cluster.check(0);
}

#[test]
fn workers_of_a_killed_demo_end_by_themselves() {
    // given
    let folder = std::env::temp_dir().join(format!("cluster-{}-demo", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a writable temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
    command.args(["demo", "--tasks", "1000"]).env("TMPDIR", &folder);
    let mut demo = command.stdout(Stdio::null()).spawn().expect("the binary starts");
    wait_until("workers", || !processes(&folder, "\0task-executor\0").is_empty());

    // when
    demo.kill().expect("a child");
    demo.wait().expect("a child");
    kill(&processes(&folder, "\0resource-manager\0"));

    // then
    let end = Instant::now() + Duration::from_secs(40);
    while Instant::now() < end && !processes(&folder, "").is_empty() {
        sleep(Duration::from_millis(50));
    }
    let left = processes(&folder, "");
    kill(&left);
    std::fs::remove_dir_all(folder).expect("the folder of this test");
    assert!(left.is_empty(), "{left:?}");
}

/// Kills processes. Some may have ended meanwhile.
fn kill(processes: &[String]) {
    let status = Command::new("kill")
        .arg("-KILL")
        .args(processes)
        .stderr(Stdio::null())
        .status();
    status.expect("the command kill");
}

/// Returns the ids of the processes with this temporary folder and this text in their command line.
fn processes(folder: &Path, text: &str) -> Vec<String> {
    let variable = format!("TMPDIR={}", folder.display());
    let processes = std::fs::read_dir("/proc").expect("the processes").flatten();
    let processes = processes.filter(|process| {
        let file = |name| std::fs::read_to_string(process.path().join(name)).unwrap_or_default();
        file("environ").split('\0').any(|other| other == variable) && file("cmdline").contains(text)
    });
    let id = |process: std::fs::DirEntry| process.file_name().into_string().expect("a number");
    processes.map(id).collect()
}
