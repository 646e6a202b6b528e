//! Job masters that die.

use std::time::Duration;

use super::harness::{Cluster, wait_until};
use super::measure::{Times, measure};

#[test]
fn slots_of_a_killed_job_are_free_for_others() {
    measure("kill -9 of a job", kill_job);
}

fn kill_job() -> Option<Times> {
    // given: a job that holds all slots, and has requests that wait
    let mut cluster = Cluster::new("kill-job");
    let election = format!("file:{}", cluster.path("leader").display());
    cluster.resource_manager("a", &election, &[]);
    cluster.worker("worker", 4);
    cluster.job("job", 6, 6, &["sleep", "1000"]);
    wait_until("tasks in all slots", || cluster.count("task_started") == 4);
    wait_until("requests that wait", || cluster.count("requested") == 6);

    // when
    let killed = cluster.kill("job");

    // then: the slots are free, and the requests of the job do not take them
    wait_until("free slots", || cluster.count("freed") >= 4);
    let lines = cluster.lines();
    let fourth = lines.iter().filter(|line| line.event == "freed").nth(3);
    let freed = Duration::from_micros(fourth.expect("four lines").at_us - killed);
    cluster.job_with_slot_per_task("next-job", 20, 4, &["true"]);
    cluster.wait("next-job");
    assert_eq!(cluster.check(20).lost, 0);
    Some(vec![("slots free", freed)])
}
