//! A cluster with several resource managers under work, and the times of its fail-overs.

use std::collections::BTreeSet;
use std::time::Duration;

use super::checker::Counts;
use super::event_log::Line;
use super::harness::{Cluster, wait_until};
use super::measure::{Times, time_until};

/// The workers of each cluster here. Each has two slots.
const WORKERS: [&str; 3] = ["worker-1", "worker-2", "worker-3"];

/// The number of slots.
const SLOTS: usize = 6;

/// The place of the election.
#[derive(Debug, Clone, Copy)]
pub enum Election {
    File,
    Etcd,
}

/// The job of the cluster.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// Tasks of 0.2 s, one after the other in the same slots.
    Steady { tasks: usize },
    /// Short tasks, each in a slot of its own.
    Churn { tasks: usize },
}

impl Work {
    pub fn tasks(self) -> usize {
        match self {
            Self::Steady { tasks } | Self::Churn { tasks } => tasks,
        }
    }

    pub fn start(self, cluster: &mut Cluster) {
        match self {
            Self::Steady { tasks } => cluster.job("job", tasks, SLOTS, &["sh", "-c", "sleep 0.2"]),
            Self::Churn { tasks } => cluster.job_with_slot_per_task("job", tasks, SLOTS, &["true"]),
        }
    }
}

/// Starts resource managers, three workers with two slots, and a job. Waits until a sixth of the
/// tasks is done. Returns `None` if etcd is needed and not installed.
pub fn working_cluster(test: &str, election: Election, managers: &[&str], lease: &str, work: Work) -> Option<Cluster> {
    let mut cluster = Cluster::new(test);
    let place = match election {
        Election::File => format!("file:{}", cluster.path("leader").display()),
        Election::Etcd => cluster.etcd()?,
    };
    for name in managers {
        cluster.resource_manager(name, &place, &["--lease", lease]);
    }
    for worker in WORKERS {
        cluster.worker(worker, 2);
    }
    wait_until("registered workers", || cluster.count("registered") == WORKERS.len());
    work.start(&mut cluster);
    await_tasks(&cluster, work.tasks() / 6);
    Some(cluster)
}

/// Waits until this number of tasks is done.
pub fn await_tasks(cluster: &Cluster, tasks: usize) {
    wait_until("work", || cluster.count("task_done") >= tasks);
}

/// Waits until another leads, and workers and job are back and work. Returns the times since the
/// act that ended the leadership of this epoch.
pub fn await_failover(cluster: &Cluster, act_us: u64, epoch: u64, work: Work) -> Times {
    await_event(cluster, "leader_elected", epoch);
    wait_until("all workers", || last_to_register(&cluster.lines(), epoch).is_some());
    await_event(cluster, "job_registered", epoch);
    // Steady work has all its slots, and needs no grant.
    let needs_grants = matches!(work, Work::Churn { .. });
    if needs_grants {
        await_event(cluster, "granted", epoch);
    }

    let lines = cluster.lines();
    let until =
        |event: &'static str| time_until(&lines, act_us, event, |line| line.event == event && line.epoch > epoch);
    let last = last_to_register(&lines, epoch).expect("all workers are back");
    let mut times = vec![
        ("new leader", until("leader_elected")),
        ("all workers back", Duration::from_micros(last.at_us - act_us)),
        ("job back", until("job_registered")),
    ];
    if needs_grants {
        times.push(("next grant", until("granted")));
    }
    times
}

/// Waits until there is an event of a later epoch.
pub fn await_event(cluster: &Cluster, event: &str, epoch: u64) {
    let is_there = |line: &Line| line.event == event && line.epoch > epoch;
    wait_until(event, || cluster.lines().iter().any(is_there));
}

/// Returns the line by which all workers are registered in a later epoch.
fn last_to_register(lines: &[Line], epoch: u64) -> Option<&Line> {
    let mut missing = BTreeSet::from(WORKERS);
    let registered = |line: &&Line| line.event == "registered" && line.epoch > epoch;
    lines.iter().filter(registered).find(|line| {
        missing.remove(line.worker.as_str());
        missing.is_empty()
    })
}

/// Waits until the job is done, and checks that no grant was lost.
pub fn finish(mut cluster: Cluster, work: Work) -> Counts {
    cluster.wait("job");
    let counts = cluster.check(work.tasks());
    assert_eq!(counts.lost, 0, "{counts:?}");
    if let Work::Churn { tasks } = work {
        assert!(counts.grants >= tasks, "{counts:?}");
    }
    counts
}
