//! Workers that die, stop or start anew.

use super::harness::{Cluster, wait_until};

#[test]
fn tasks_of_a_killed_worker_run_elsewhere() {
    // given
    let mut cluster = Cluster::new("kill-worker");
    let election = format!("file:{}", cluster.path("leader").display());
    cluster.resource_manager("a", &election, &[]);
    for worker in ["worker-1", "worker-2", "worker-3"] {
        cluster.worker(worker, 2);
    }
    wait_until("registered workers", || cluster.count("registered") == 3);
    cluster.job("job", 60, 6, &["sh", "-c", "sleep 0.2"]);
    wait_until("work", || cluster.count("task_done") > 10);

    // when
    cluster.kill("worker-2");

    // then
    let noticed = wait_until("the loss", || cluster.count("lost") > 0);
    println!("kill -9 of a worker: the job hears of it after {noticed:?}");
    cluster.wait("job");
    let counts = cluster.check(60);
    assert!(counts.lost <= 2, "{counts:?}");
}
