//! Workers that die, stop or start anew.

use std::path::Path;
use std::time::Duration;

use super::checker::longest_wait;
use super::event_log::Line;
use super::harness::{Cluster, wait_for, wait_until};
use super::measure::{Times, measure, time_until};

/// The worker at which the tests aim.
const WORKER: &str = "worker-2";

/// Starts a resource manager and three workers with two slots. `WORKER` is the first.
fn cluster_of_workers(cluster: &mut Cluster) {
    let election = format!("file:{}", cluster.path("leader").display());
    cluster.resource_manager("a", &election, &[]);
    cluster.worker(WORKER, 2);
    wait_until("the first worker", || cluster.count("registered") == 1);
    for worker in ["worker-1", "worker-3"] {
        cluster.worker(worker, 2);
    }
    wait_until("registered workers", || cluster.count("registered") == 3);
}

/// Starts such a cluster with a job that has begun.
fn working_cluster(test: &str, tasks: usize) -> Cluster {
    let mut cluster = Cluster::new(test);
    cluster_of_workers(&mut cluster);
    cluster.job("job", tasks, 6, &["sh", "-c", "sleep 0.2"]);
    wait_until("work", || cluster.count("task_done") > 10);
    cluster
}

fn is_loss(line: &Line) -> bool {
    line.event == "lost"
}

fn is_registration(line: &Line) -> bool {
    line.event == "registered" && line.worker == WORKER
}

/// Returns `true` for a line by which the worker gets a task.
fn is_use(line: &Line) -> bool {
    line.event == "task_started" && line.process == WORKER
}

/// Waits for a line after an act. Returns the time between both.
fn await_line(cluster: &Cluster, act_us: u64, what: &str, fits: fn(&Line) -> bool) -> Duration {
    let is_there = || cluster.lines().iter().any(|line| line.at_us >= act_us && fits(line));
    wait_until(what, is_there);
    time_until(&cluster.lines(), act_us, what, fits)
}

#[test]
fn tasks_of_a_killed_worker_run_elsewhere() {
    measure("kill -9 of a worker", kill_worker);
}

fn kill_worker() -> Option<Times> {
    // given
    let mut cluster = working_cluster("kill-worker", 60);

    // when
    let killed = cluster.kill(WORKER);

    // then
    let heard = await_line(&cluster, killed, "the loss", is_loss);
    cluster.wait("job");
    let counts = cluster.check(60);
    assert!((1..=2).contains(&counts.lost), "{counts:?}");
    Some(vec![("job hears", heard)])
}

#[test]
fn worker_that_is_stopped_for_long_is_used_again() {
    measure("SIGSTOP of a worker, then SIGCONT", stop_worker);
}

fn stop_worker() -> Option<Times> {
    // given
    let mut cluster = working_cluster("stop-worker", 100);

    // when
    let stopped = cluster.stop(WORKER);

    // then
    let heard = await_line(&cluster, stopped, "the loss", is_loss);

    // when
    let woken = cluster.go_on(WORKER);

    // then
    let back = await_line(&cluster, woken, "the worker", is_registration);
    let used = await_line(&cluster, woken, "its use", is_use);
    cluster.wait("job");
    let counts = cluster.check(100);
    assert!((1..=2).contains(&counts.lost), "{counts:?}");
    Some(vec![
        ("job hears", heard),
        ("back after SIGCONT", back),
        ("used after SIGCONT", used),
    ])
}

#[test]
fn worker_that_starts_anew_under_its_name_loses_its_grants_once() {
    measure("restart of a worker", restart_worker);
}

fn restart_worker() -> Option<Times> {
    // given
    let mut cluster = working_cluster("restart-worker", 80);

    // when
    let killed = cluster.kill(WORKER);
    cluster.worker(WORKER, 2);

    // then
    let heard = await_line(&cluster, killed, "the loss", is_loss);
    let back = await_line(&cluster, killed, "the worker", is_registration);
    let used = await_line(&cluster, killed, "its use", is_use);
    cluster.wait("job");
    let counts = cluster.check(80);
    assert!((1..=2).contains(&counts.lost), "{counts:?}");
    Some(vec![("job hears", heard), ("back", back), ("used", used)])
}

#[test]
fn worker_that_stops_before_it_is_asked_delays_nobody_for_long() {
    measure("SIGSTOP of a worker before it is asked", stop_idle_worker);
}

fn stop_idle_worker() -> Option<Times> {
    // given: the worker that is asked first
    let mut cluster = Cluster::new("stop-idle-worker");
    cluster_of_workers(&mut cluster);

    // when
    cluster.stop(WORKER);
    cluster.job_with_slot_per_task("job", 100, 6, &["true"]);

    // then: the others serve
    cluster.wait("job");
    let longest_wait = longest_wait(&cluster.lines());

    // when
    let woken = cluster.go_on(WORKER);

    // then: it is used again
    let back = await_line(&cluster, woken, "the worker", is_registration);
    cluster.job("next-job", 6, 6, &["sleep", "0.2"]);
    await_line(&cluster, woken, "its use", is_use);
    cluster.wait("next-job");
    assert_eq!(cluster.check(106).lost, 0);
    Some(vec![
        ("longest wait for a slot", longest_wait),
        ("back after SIGCONT", back),
    ])
}

#[test]
fn no_task_outlives_its_killed_worker() {
    // given: a task that has a child process
    let mut cluster = Cluster::beside_others("orphans");
    cluster_of_workers(&mut cluster);
    let folder = cluster.path("");
    let script =
        "sleep 1000 & echo $! > $0/$CLUSTER_SLOT.pid.new; mv $0/$CLUSTER_SLOT.pid.new $0/$CLUSTER_SLOT.pid; wait";
    cluster.job(
        "job",
        1,
        1,
        &["sh", "-c", script, folder.to_str().expect("a path in UTF-8")],
    );
    let file = cluster.path(&format!("{WORKER}_0.pid"));
    let pid = wait_for("the task", || std::fs::read_to_string(&file).ok());
    assert!(is_running(pid.trim()));

    // when
    cluster.kill(WORKER);

    // then
    wait_until("the end of the task", || !is_running(pid.trim()));
    wait_until("another try", || cluster.count("task_started") == 2);
    cluster.kill("job");
    wait_until("the end of the other try", || cluster.count("freed") == 1);
    cluster.check(0);
}

/// Returns `true` if a process runs. One of which nobody reads the end does not.
fn is_running(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}
