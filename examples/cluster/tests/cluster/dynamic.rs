//! Dynamic workers beside static ones: slots are cut, freed, lost and adopted.

use std::fs::File;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::dashboard::{rest, web};
use super::failover::await_event;
use super::harness::{Cluster, wait_for, wait_until};

const GIBIBYTE: u64 = 1 << 30;

/// Starts a resource manager, a static worker with one slot of one core, and a dynamic worker of 8
/// cores and 16 GiB. Returns the election.
fn mixed_cluster(cluster: &mut Cluster) -> String {
    let election = format!("file:{}", cluster.path("leader").display());
    cluster.resource_manager("a", &election, &["--web", "127.0.0.1:0"]);
    wait_for("a leader", || cluster.leader());
    cluster.worker("small", 1);
    cluster.dynamic_worker("big", "cpu=8,memory=16GiB");
    wait_until("registered workers", || cluster.count("registered") == 2);
    election
}

/// A job whose tasks run until the test says so. No task outlives its worker.
fn start_waiting_job(cluster: &mut Cluster, name: &str, tasks: usize, profile: &str) -> PathBuf {
    let go = cluster.path(&format!("{name}.go"));
    let wait = format!(
        "until [ -e '{}' ] || ! kill -0 $PPID; do sleep 0.05; done",
        go.display()
    );
    cluster.job_with_profile(name, tasks, profile, &["sh", "-c", &wait]);
    go
}

fn go_on(go: &PathBuf) {
    File::create(go).expect("a writable folder");
}

/// Returns a worker, as the REST interface shows it.
fn worker(web: &str, name: &str) -> Value {
    rest::get(web, &format!("/api/task-managers/{name}"))
}

/// Returns the slots that are cut from a worker, each with its allocation.
fn cuts(worker: &Value) -> Vec<(String, String)> {
    let slots = worker["slots"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    slots
        .filter(|slot| slot["state"] == "allocated")
        .map(|slot| (text(&slot["slot_id"]), text(&slot["allocation_id"])))
        .collect()
}

fn profile(cores: f64, gibibytes: u64) -> Value {
    json!({"cpu_cores": cores, "task_heap_memory_bytes": gibibytes * GIBIBYTE})
}

fn waiting(web: &str) -> Value {
    rest::get(web, "/api/overview")["overview"]["pending_requests"].clone()
}

#[test]
fn slots_of_the_size_of_each_request_are_cut_and_freed() {
    // given
    let mut cluster = Cluster::beside_others("dynamic");
    mixed_cluster(&mut cluster);
    let web = web(&cluster, "a");

    // when: slots that only the dynamic worker can give
    let go = start_waiting_job(&mut cluster, "large", 2, "cpu=3,memory=4GiB");
    wait_until("cuts", || cuts(&worker(&web, "big")).len() == 2);
    // then
    let big = worker(&web, "big");
    assert_eq!(big["total_resources"], profile(8.0, 16));
    assert_eq!(big["remaining_resources"], profile(2.0, 8));
    let numbers: Vec<_> = cuts(&big).into_iter().map(|(slot, _)| slot).collect();
    assert_eq!(numbers, ["big_2147483648", "big_2147483649"]);
    wait_until("tasks", || cluster.count("task_started") == 2);

    // when: three more requests: one is too large for what is left, one fits it, one fits the static worker
    cluster.job_with_profile("later", 1, "cpu=3,memory=4GiB", &["true"]);
    wait_until("a request that waits", || waiting(&web) == 1);
    cluster.job_with_profile("small-job", 1, "cpu=1", &["true"]);
    cluster.job_with_profile("medium", 1, "cpu=2,memory=8GiB", &["true"]);
    for job in ["small-job", "medium"] {
        cluster.wait(job);
    }
    // then: the first waits on
    assert_eq!(waiting(&web), 1);
    let requests = rest::get(&web, "/api/requests");
    let reason = requests["items"][0]["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("the only dynamic worker has too little cpu left"),
        "{reason}"
    );
    assert_eq!(worker(&web, "small")["total_resources"], Value::Null);

    // when: the cuts are freed
    go_on(&go);
    // then: the first is served
    for job in ["large", "later"] {
        cluster.wait(job);
    }
    wait_until("all resources", || {
        worker(&web, "big")["remaining_resources"] == profile(8.0, 16)
    });
    assert_eq!(worker(&web, "big")["slot_counts"]["registered"], 0);
    let lines = cluster.lines();
    let slots = lines
        .iter()
        .filter(|line| line.event == "allocated")
        .map(|line| line.slot.as_str());
    assert_eq!(slots.filter(|slot| *slot == "small_0").count(), 1);
    let counts = cluster.check(5);
    assert_eq!((counts.grants, counts.lost), (5, 0), "{counts:?}");
}

#[test]
fn resource_manager_that_is_restarted_adopts_the_cuts() {
    // given
    let mut cluster = Cluster::beside_others("dynamic-restart");
    let election = mixed_cluster(&mut cluster);
    let go = start_waiting_job(&mut cluster, "large", 2, "cpu=3,memory=4GiB");
    wait_until("tasks", || cluster.count("task_started") == 2);
    let held = cuts(&worker(&web(&cluster, "a"), "big"));
    assert_eq!(held.len(), 2);
    let (_, epoch) = cluster.leader().expect("a leader");

    // when
    cluster.kill("a");
    cluster.resource_manager("a", &election, &["--web", "127.0.0.1:0"]);
    await_event(&cluster, "leader_elected", epoch);
    let web = web(&cluster, "a");
    wait_until("the worker", || rest::try_get(&web, "/api/task-managers/big").is_some());

    // then: the cuts are held, and no more is cut than is left
    let big = worker(&web, "big");
    assert_eq!(cuts(&big), held);
    assert_eq!(big["remaining_resources"], profile(2.0, 8));
    await_event(&cluster, "job_registered", epoch);
    cluster.job_with_profile("later", 1, "cpu=3", &["true"]);
    wait_until("a request that waits", || waiting(&web) == 1);
    cluster.job_with_profile("medium", 2, "cpu=2", &["true"]);
    cluster.wait("medium");
    assert_eq!(cuts(&worker(&web, "big")), held);

    // when
    go_on(&go);
    // then
    for job in ["large", "later"] {
        cluster.wait(job);
    }
    wait_until("all resources", || {
        worker(&web, "big")["remaining_resources"] == profile(8.0, 16)
    });
    let counts = cluster.check(5);
    assert_eq!(counts.lost, 0, "{counts:?}");
}

#[test]
fn tasks_of_a_killed_dynamic_worker_run_elsewhere() {
    // given
    let mut cluster = Cluster::beside_others("dynamic-kill");
    mixed_cluster(&mut cluster);
    let web = web(&cluster, "a");
    let go = start_waiting_job(&mut cluster, "large", 2, "cpu=3,memory=4GiB");
    wait_until("tasks", || cluster.count("task_started") == 2);

    // when
    cluster.kill("big");
    // then
    wait_until("the losses", || cluster.count("lost") == 2);
    wait_until("requests that wait", || waiting(&web) == 2);

    // when: another comes, of which both slots are cut
    cluster.dynamic_worker("other", "cpu=6,memory=8GiB");
    // then
    wait_until("cuts", || {
        let other = rest::try_get(&web, "/api/task-managers/other");
        other.is_some_and(|other| cuts(&other).len() == 2)
    });
    // Nothing is left.
    assert_eq!(worker(&web, "other")["remaining_resources"], json!({}));
    go_on(&go);
    cluster.wait("large");
    let counts = cluster.check(2);
    assert_eq!((counts.grants, counts.lost), (4, 2), "{counts:?}");
}
