//! Leaders that die or stop.

use std::time::Duration;

use super::harness::{Cluster, wait_for, wait_until};

/// Starts resource managers with a file election, three workers with two slots, and a job.
fn file_cluster(test: &str, managers: &[&str], tasks: usize) -> Cluster {
    let mut cluster = Cluster::new(test);
    let election = format!("file:{}", cluster.path("leader").display());
    for name in managers {
        cluster.resource_manager(name, &election, &[]);
    }
    for worker in ["worker-1", "worker-2", "worker-3"] {
        cluster.worker(worker, 2);
    }
    wait_until("registered workers", || cluster.count("registered") == 3);
    cluster.job("job", tasks, 6, &["sh", "-c", "sleep 0.2"]);
    cluster
}

#[test]
fn job_finishes_with_healthy_processes() {
    let mut cluster = file_cluster("healthy", &["a", "b"], 30);
    cluster.wait("job");
    let counts = cluster.check(30);
    assert_eq!(counts.lost, 0);
}

#[test]
fn killed_leader_costs_nothing() {
    // given
    let mut cluster = file_cluster("kill-leader", &["a", "b"], 120);
    wait_until("work", || cluster.count("task_done") > 20);
    let (leader, epoch) = wait_for("a leader", || cluster.leader());

    // when
    cluster.kill(&leader);

    // then
    let elected = wait_until("a new leader", || cluster.leader().is_some_and(|(_, new)| new > epoch));
    let back = wait_until("all workers", || {
        let lines = cluster.lines();
        let registered = lines
            .iter()
            .filter(|line| line.event == "registered" && line.epoch > epoch);
        registered.count() == 3
    });
    println!(
        "kill -9 of the leader, file: new leader {elected:?}, all workers back {:?}",
        elected + back
    );
    cluster.wait("job");
    let counts = cluster.check(120);
    assert_eq!(counts.lost, 0);
    assert!(elected < Duration::from_secs(4), "{elected:?}");
}

#[test]
fn two_leaders_that_are_killed_in_a_row_cost_nothing() {
    // given
    let mut cluster = file_cluster("kill-two-leaders", &["a", "b", "c"], 150);
    for killed in 1..=2 {
        wait_until("work", || cluster.count("task_done") > killed * 20);
        let (leader, epoch) = wait_for("a leader", || cluster.leader());

        // when
        cluster.kill(&leader);

        // then
        wait_until("a new leader", || cluster.leader().is_some_and(|(_, new)| new > epoch));
    }
    cluster.wait("job");
    let counts = cluster.check(150);
    assert_eq!(counts.lost, 0);
}
