//! Workers that die, stop or start anew.

use super::harness::{Cluster, wait_until};

/// Starts a resource manager, three workers with two slots, and a job that has begun.
fn working_cluster(test: &str, tasks: usize) -> Cluster {
    let mut cluster = Cluster::new(test);
    let election = format!("file:{}", cluster.path("leader").display());
    cluster.resource_manager("a", &election, &[]);
    for worker in ["worker-1", "worker-2", "worker-3"] {
        cluster.worker(worker, 2);
    }
    wait_until("registered workers", || cluster.count("registered") == 3);
    cluster.job("job", tasks, 6, &["sh", "-c", "sleep 0.2"]);
    wait_until("work", || cluster.count("task_done") > 10);
    cluster
}

#[test]
fn tasks_of_a_killed_worker_run_elsewhere() {
    // given
    let mut cluster = working_cluster("kill-worker", 60);

    // when
    cluster.kill("worker-2");

    // then
    let noticed = wait_until("the loss", || cluster.count("lost") > 0);
    println!("kill -9 of a worker: the job hears of it after {noticed:?}");
    cluster.wait("job");
    let counts = cluster.check(60);
    assert!(counts.lost <= 2, "{counts:?}");
}

#[test]
fn worker_that_is_stopped_for_long_is_used_again() {
    // given
    let mut cluster = working_cluster("stop-worker", 150);

    // when
    cluster.stop("worker-2");
    let noticed = wait_until("the loss", || cluster.count("lost") > 0);
    cluster.go_on("worker-2");
    let registered = cluster.count("registered");

    // then
    let back = wait_until("the worker", || cluster.count("registered") > registered);
    println!("SIGSTOP of a worker: the job hears of it after {noticed:?}; back {back:?} after SIGCONT");
    cluster.wait("job");
    let counts = cluster.check(150);
    assert!(counts.lost <= 4, "{counts:?}");
}

#[test]
fn worker_that_starts_anew_under_its_name_loses_its_grants_once() {
    // given
    let mut cluster = working_cluster("restart-worker", 80);

    // when
    cluster.kill("worker-2");
    cluster.worker("worker-2", 2);

    // then
    let noticed = wait_until("the loss", || cluster.count("lost") > 0);
    println!("restart of a worker: the job hears of it after {noticed:?}");
    cluster.wait("job");
    let counts = cluster.check(80);
    assert!(counts.lost <= 2, "{counts:?}");
}
