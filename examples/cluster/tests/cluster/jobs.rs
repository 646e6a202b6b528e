//! Job masters that die.

use std::time::Duration;

use super::harness::{Cluster, wait_until};
use super::measure::{Times, measure};

/// Ends when four tasks of the job run at a time.
const MEETING: &str = "
    touch $0/task-$CLUSTER_TASK
    for task in 0 1 2 3; do
        until test -e $0/task-$task; do sleep 0.02; done
    done";

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
    cluster.job("job", 8, 8, &["sleep", "1000"]);
    wait_until("tasks in all slots", || cluster.count("task_started") == 4);
    wait_until("requests that wait", || cluster.count("requested") == 8);

    // when
    let killed = cluster.kill("job");

    // then: the slots are free
    wait_until("free slots", || cluster.count("freed") >= 4);
    let lines = cluster.lines();
    let fourth = lines.iter().filter(|line| line.event == "freed").nth(3);
    let freed = Duration::from_micros(fourth.expect("four lines").at_us - killed);

    // then: all slots serve another job, of which each task waits for the others
    use_all_slots(&mut cluster);
    let lines = cluster.lines();
    let last = lines.iter().rfind(|line| line.event == "task_started").expect("a line");
    let used = Duration::from_micros(last.at_us - killed);
    assert_eq!(cluster.check(4).lost, 0);
    Some(vec![("slots free", freed), ("slots used by another job", used)])
}

#[test]
fn slots_of_a_killed_job_that_declares_are_free_for_others() {
    // given: a job that holds all slots
    let mut cluster = Cluster::beside_others("kill-declaring-job");
    let election = format!("file:{}", cluster.path("leader").display());
    cluster.resource_manager("a", &election, &[]);
    cluster.worker("worker", 4);
    cluster.declaring_job("job", 8, 8, &["sleep", "1000"]);
    wait_until("tasks in all slots", || cluster.count("task_started") == 4);

    // when
    cluster.kill("job");

    // then
    use_all_slots(&mut cluster);
    assert_eq!(cluster.check(4).lost, 0);
}

/// Runs a job of which each task waits until all have a slot.
fn use_all_slots(cluster: &mut Cluster) {
    let folder = cluster.path("");
    let folder = folder.to_str().expect("a path in UTF-8");
    cluster.job("next-job", 4, 4, &["sh", "-c", MEETING, folder]);
    cluster.wait("next-job");
}
