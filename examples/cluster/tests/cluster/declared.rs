//! Jobs that declare the slots that they need in all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use super::event_log::Line;
use super::failover::await_event;
use super::harness::{Cluster, wait_for, wait_until};
use super::measure::{Times, measure, time_until};

/// The slots that a job declares whose 60 tasks, or more, run six at a time.
const SCHEDULE: [u32; 10] = [3, 6, 2, 6, 5, 4, 3, 2, 1, 0];

/// The workers that six slots need.
const WORKERS: usize = 3;

/// Returns the numbers of slots that each job has declared, in the order of the ids of the jobs.
fn declared(lines: &[Line]) -> Vec<Vec<u32>> {
    let mut jobs: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.event == "declared") {
        jobs.entry(&line.job).or_default().push(line.slots);
    }
    jobs.into_values().collect()
}

#[test]
fn declaring_jobs_grow_and_shrink_beside_a_job_that_requests() {
    // given
    let mut cluster = Cluster::beside_others("declared");
    let election = format!("file:{}", cluster.path("leader").display());
    cluster.resource_manager("a", &election, &[]);
    for worker in ["worker-1", "worker-2", "worker-3"] {
        cluster.worker(worker, 2);
    }

    // when: each needs all slots at times
    cluster.declaring_job("first", 60, 6, &["sleep", "0.05"]);
    cluster.declaring_job("second", 80, 6, &["sleep", "0.05"]);
    cluster.job("third", 30, 2, &["sleep", "0.05"]);
    for job in ["first", "second", "third"] {
        cluster.wait(job);
    }

    // then
    assert_eq!(declared(&cluster.lines()), [SCHEDULE, SCHEDULE]);
    let counts = cluster.check(170);
    assert_eq!(counts.lost, 0, "{counts:?}");
}

#[test]
fn leader_that_is_killed_costs_a_declaring_job_nothing() {
    measure("kill -9 of the leader, file, declared", kill_leader);
}

fn kill_leader() -> Option<Times> {
    // given: a job that has its six slots, from workers that were started for it
    let mut cluster = Cluster::new("declared-leader");
    let idle_timeout = "resourcemanager.taskmanager-timeout=5 s";
    let more = [
        ["--provisioner", "local"],
        ["-D", "taskmanager.cpu.cores=2"],
        ["-D", idle_timeout],
        // Workers that a failed test leaves behind end soon.
        ["--worker-argument", "--registration-timeout=5s"],
    ];
    cluster.resource_managers_with_workers(&["a", "b"], &more.concat());
    wait_for("a leader", || cluster.leader());
    let go = cluster.path("go");
    // The tasks of the second quarter wait for the file.
    let script = "[ $CLUSTER_TASK -lt 30 ] || until [ -e $0 ]; do sleep 0.02; done; sleep 0.05";
    let command = ["sh", "-c", script, go.to_str().expect("a path in UTF-8")];
    cluster.declaring_job("job", 120, 6, &command);
    wait_until("all slots", || cluster.count("granted") == 6);
    let (leader, epoch) = wait_for("a leader", || cluster.leader());

    // when
    let killed = cluster.kill(&leader);

    // then: the workers and the job are back, and the job goes on
    await_event(&cluster, "leader_elected", epoch);
    await_event(&cluster, "job_registered", epoch);
    wait_until("all workers", || {
        later_workers(&cluster.lines(), epoch).len() == WORKERS
    });
    let lines = cluster.lines();
    let until = |event| time_until(&lines, killed, event, |line| line.event == event && line.epoch > epoch);
    let times = vec![
        ("new leader", until("leader_elected")),
        ("job back", until("job_registered")),
    ];
    File::create(&go).expect("a file");
    cluster.wait("job");

    // then: no worker was requested that is not needed, and all leave once they are idle
    wait_until("released workers", || cluster.count("worker_released") == WORKERS);
    assert_eq!(cluster.count("worker_requested"), WORKERS);
    assert_eq!(declared(&cluster.lines()), [SCHEDULE]);
    let counts = cluster.check(120);
    assert_eq!(counts.lost, 0, "{counts:?}");
    Some(times)
}

/// Returns the workers that have registered in a later epoch.
fn later_workers(lines: &[Line], epoch: u64) -> BTreeSet<&str> {
    let registered = |line: &&Line| line.event == "registered" && line.epoch > epoch;
    lines
        .iter()
        .filter(registered)
        .map(|line| line.worker.as_str())
        .collect()
}
