//! Leaders that die or stop.

use std::thread::sleep;
use std::time::Duration;

use super::checker::Counts;
use super::failover::{Election, Work, await_event, await_failover, finish, working_cluster};
use super::harness::{wait_for, wait_until};
use super::measure::{Times, measure};

const STEADY: Work = Work::Steady { tasks: 120 };
const CHURN: Work = Work::Churn { tasks: 1_200 };
const LEASE: &str = "3s";

#[test]
fn job_finishes_with_healthy_processes() {
    let cluster = working_cluster("healthy", Election::File, &["a", "b"], LEASE, CHURN);
    finish(cluster.expect("a cluster without etcd"), CHURN);
}

#[test]
fn killed_leader_costs_nothing() {
    measure("kill -9 of the leader, file, steady", || {
        kill_leader(Election::File, STEADY)
    });
    measure("kill -9 of the leader, file, churn", || {
        kill_leader(Election::File, CHURN)
    });
}

#[test]
fn killed_leader_with_etcd_costs_nothing() {
    measure("kill -9 of the leader, etcd, churn", || {
        kill_leader(Election::Etcd, CHURN)
    });
}

#[test]
fn two_leaders_that_are_killed_in_a_row_cost_nothing() {
    measure("kill -9 of the second leader, file, churn", || {
        kill_two_leaders(Election::File)
    });
}

#[test]
fn two_leaders_with_etcd_that_are_killed_in_a_row_cost_nothing() {
    measure("kill -9 of the second leader, etcd, churn", || {
        kill_two_leaders(Election::Etcd)
    });
}

#[test]
fn leader_that_is_stopped_longer_than_its_lease_grants_nothing_when_it_wakes() {
    measure("SIGSTOP of the leader, etcd, churn", stop_leader);
}

fn kill_leader(election: Election, work: Work) -> Option<Times> {
    // given
    let mut cluster = working_cluster("kill-leader", election, &["a", "b"], LEASE, work)?;
    let (leader, epoch) = wait_for("a leader", || cluster.leader());

    // when
    let killed = cluster.kill(&leader);

    // then
    let times = await_failover(&cluster, killed, epoch, work);
    Some(with_longest_wait(times, &finish(cluster, work)))
}

fn kill_two_leaders(election: Election) -> Option<Times> {
    // given
    let mut cluster = working_cluster("kill-two-leaders", election, &["a", "b", "c"], LEASE, CHURN)?;
    let (first, epoch) = wait_for("a leader", || cluster.leader());
    let killed = cluster.kill(&first);
    await_failover(&cluster, killed, epoch, CHURN);
    let (second, epoch) = wait_for("a leader", || cluster.leader());

    // when
    let killed = cluster.kill(&second);

    // then
    let times = await_failover(&cluster, killed, epoch, CHURN);
    Some(with_longest_wait(times, &finish(cluster, CHURN)))
}

fn stop_leader() -> Option<Times> {
    // given
    let cluster = working_cluster("stop-leader", Election::Etcd, &["a", "b"], LEASE, CHURN)?;
    let (leader, epoch) = wait_for("a leader", || cluster.leader());

    // when
    let stopped = cluster.stop(&leader);
    let times = await_failover(&cluster, stopped, epoch, CHURN);
    cluster.go_on(&leader);

    // then: the checker finds an old leader that grants
    wait_until("the end of the old leadership", || cluster.count("leader_lost") == 1);
    Some(with_longest_wait(times, &finish(cluster, CHURN)))
}

/// Only the clock of the old leader can tell it that it leads no more, since etcd is stopped while
/// it wakes up. The worker has seen no later leader, and would take what the old one sends.
#[test]
fn leader_that_wakes_up_without_etcd_sends_nothing_to_a_worker_that_wakes_up_later() {
    // given
    let Some(cluster) = working_cluster("stop-both", Election::Etcd, &["a", "b"], LEASE, CHURN) else {
        return;
    };
    let (leader, epoch) = wait_for("a leader", || cluster.leader());

    // when: the leader is to find free slots, and requests for them
    cluster.stop(&leader);
    sleep(Duration::from_millis(300));
    cluster.stop("worker-2");
    await_event(&cluster, "granted", epoch);
    cluster.stop("etcd");
    cluster.go_on(&leader);
    wait_until("the end of the old leadership", || cluster.count("leader_lost") > 0);
    cluster.go_on("worker-2");
    cluster.go_on("etcd");

    // then: the checker finds an old leader that grants
    finish(cluster, CHURN);
}

/// Adds the longest time that a request has waited.
fn with_longest_wait(mut times: Times, counts: &Counts) -> Times {
    times.push(("longest wait for a slot", counts.longest_wait));
    times
}
