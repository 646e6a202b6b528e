//! Leaders that die or stop.

use std::time::Duration;

use super::harness::{Cluster, wait_for, wait_until};

/// Starts resource managers with a file election, three workers with two slots, and a job.
fn file_cluster(test: &str, managers: &[&str], tasks: usize) -> Cluster {
    let mut cluster = Cluster::new(test);
    let election = format!("file:{}", cluster.path("leader").display());
    start(&mut cluster, &election, managers, tasks);
    cluster
}

/// The same with etcd; `None` if it is not installed.
fn etcd_cluster(test: &str, managers: &[&str], tasks: usize) -> Option<Cluster> {
    let mut cluster = Cluster::new(test);
    let election = cluster.etcd()?;
    start(&mut cluster, &election, managers, tasks);
    Some(cluster)
}

fn start(cluster: &mut Cluster, election: &str, managers: &[&str], tasks: usize) {
    for name in managers {
        cluster.resource_manager(name, election, &[]);
    }
    for worker in ["worker-1", "worker-2", "worker-3"] {
        cluster.worker(worker, 2);
    }
    wait_until("registered workers", || cluster.count("registered") == 3);
    cluster.job("job", tasks, 6, &["sh", "-c", "sleep 0.2"]);
}

/// Waits until another leads, and all workers are back. Prints how long both took.
fn await_next_leader(cluster: &Cluster, act: &str, epoch: u64) -> Duration {
    let elected = wait_until("a new leader", || cluster.leader().is_some_and(|(_, new)| new > epoch));
    let back = wait_until("all workers", || {
        let lines = cluster.lines();
        let mut back: Vec<_> = lines
            .iter()
            .filter(|line| line.event == "registered" && line.epoch > epoch)
            .map(|line| &line.worker)
            .collect();
        back.sort_unstable();
        back.dedup();
        back.len() == 3
    });
    println!("{act}: new leader {elected:?}, all workers back {:?}", elected + back);
    elected
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
    let elected = await_next_leader(&cluster, "kill -9 of the leader, file", epoch);
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

#[test]
fn killed_leader_with_etcd_costs_nothing() {
    // given
    let Some(mut cluster) = etcd_cluster("etcd-kill-leader", &["a", "b"], 200) else {
        return;
    };
    wait_until("work", || cluster.count("task_done") > 20);
    let (leader, epoch) = wait_for("a leader", || cluster.leader());

    // when
    cluster.kill(&leader);

    // then
    let elected = await_next_leader(&cluster, "kill -9 of the leader, etcd", epoch);
    cluster.wait("job");
    let counts = cluster.check(200);
    assert_eq!(counts.lost, 0);
    assert!(elected < Duration::from_secs(4), "{elected:?}");
}

#[test]
fn leader_that_is_stopped_longer_than_its_lease_grants_nothing_when_it_wakes() {
    // given
    let Some(mut cluster) = etcd_cluster("etcd-stop-leader", &["a", "b"], 250) else {
        return;
    };
    wait_until("work", || cluster.count("task_done") > 20);
    let (leader, epoch) = wait_for("a leader", || cluster.leader());

    // when
    cluster.stop(&leader);

    // then: the checker finds an old leader that is obeyed
    await_next_leader(&cluster, "SIGSTOP of the leader, etcd", epoch);
    cluster.go_on(&leader);
    cluster.wait("job");
    let counts = cluster.check(250);
    assert_eq!(counts.lost, 0);
}
