//! An etcd that dies or stops while a leader needs it.

use std::thread::sleep;
use std::time::Duration;

use super::failover::{Election, Work, await_failover, await_tasks, finish, working_cluster};
use super::harness::{Cluster, now_us, wait_for, wait_until};
use super::measure::{Times, measure};

/// It outlasts all outages here: about 6 s of work of six slots.
const STEADY: Work = Work::Steady { tasks: 240 };

/// The lease in outages that are shorter. A machine under load may take some seconds to start etcd.
const LONG_LEASE: Duration = Duration::from_secs(6);

/// The lease in outages that are longer.
const SHORT_LEASE: Duration = Duration::from_secs(3);

/// How etcd fails, and comes back.
#[derive(Debug, Clone, Copy)]
enum Outage {
    Killed,
    Stopped,
}

impl Outage {
    fn begin(self, cluster: &mut Cluster) -> u64 {
        match self {
            Self::Killed => cluster.kill("etcd"),
            Self::Stopped => cluster.stop("etcd"),
        }
    }

    /// Brings etcd back, and waits until it answers. Returns the time of the act.
    fn end(self, cluster: &mut Cluster) -> u64 {
        let at = now_us();
        match self {
            Self::Killed => cluster.restart_etcd(),
            Self::Stopped => _ = cluster.go_on("etcd"),
        }
        cluster.await_etcd();
        at
    }
}

fn cluster(test: &str, lease: Duration, work: Work) -> Option<Cluster> {
    working_cluster(
        test,
        Election::Etcd,
        &["a", "b"],
        &format!("{}s", lease.as_secs()),
        work,
    )
}

#[test]
fn leader_keeps_leading_without_etcd_for_less_than_its_lease() {
    // given: a job that takes slots all the time
    let work = Work::Churn { tasks: 1_200 };
    let Some(mut cluster) = cluster("short-outage", LONG_LEASE, work) else {
        return;
    };
    let leader = wait_for("a leader", || cluster.leader());

    for outage in [Outage::Killed, Outage::Stopped] {
        // when
        outage.begin(&mut cluster);
        let granted = cluster.count("granted");
        wait_until("grants without etcd", || cluster.count("granted") > granted + 10);
        outage.end(&mut cluster);
    }

    // then: it leads longer than it could without etcd, which is 0.8 of the lease
    sleep(LONG_LEASE.mul_f64(0.85));
    assert_eq!(cluster.count("leader_lost"), 0);
    assert_eq!(cluster.leader(), Some(leader));
    finish(cluster, work);
}

#[test]
fn leader_steps_down_and_comes_back_when_etcd_is_killed_for_long() {
    measure("etcd starts again after kill -9", || long_outage(Outage::Killed));
}

#[test]
fn leader_steps_down_and_comes_back_when_etcd_is_stopped_for_long() {
    measure("etcd goes on after SIGSTOP", || long_outage(Outage::Stopped));
}

/// Returns the times since etcd starts again or goes on.
fn long_outage(outage: Outage) -> Option<Times> {
    // given
    let mut cluster = cluster("long-outage", SHORT_LEASE, STEADY)?;
    let (_, epoch) = wait_for("a leader", || cluster.leader());

    // when
    outage.begin(&mut cluster);

    // then: it steps down, and the tasks in its slots go on
    wait_until("the end of the leadership", || cluster.count("leader_lost") == 1);
    let done = cluster.count("task_done");
    sleep(SHORT_LEASE / 2);
    await_tasks(&cluster, done + 10);
    assert_eq!(cluster.leader().map(|(_, epoch)| epoch), Some(epoch));

    // when
    let ended = outage.end(&mut cluster);
    let answers = Duration::from_micros(now_us() - ended);

    // then: one leads again
    let mut times = await_failover(&cluster, ended, epoch, STEADY);
    times.insert(0, ("etcd answers", answers));
    finish(cluster, STEADY);
    Some(times)
}
