//! Dynamic workers on the page: a bar for each resource, filled by the cuts.

use serde_json::Value;

use super::browser::{Bar, Card, dump_dom};
use super::{operator, rest, web};
use crate::harness::{Cluster, wait_for, wait_until};
use crate::required::is_installed;

/// The resources of the worker, with their names in profiles.
const RESOURCES: [(&str, &str, f64); 3] = [
    ("cpu", "/cpu_cores", 8.0),
    ("memory", "/task_heap_memory_bytes", 16.0 * (1_u64 << 30) as f64),
    ("gpu", "/extended_resources/gpu", 2.0),
];

fn amount(profile: &Value, pointer: &str) -> f64 {
    profile.pointer(pointer).and_then(Value::as_f64).unwrap_or_default()
}

/// Returns the cards of the page.
fn cards(cluster: &Cluster, web: &str) -> Vec<Card> {
    let page = wait_for("the page", || {
        dump_dom(&cluster.path("browser"), &format!("http://{web}/?poll"))
    });
    page.cards()
}

/// Checks the bars of a worker against the REST interface: the cuts in their order, then the rest.
fn compare(bars: &[Bar], web: &str, rest_state: &str) {
    let worker = rest::get(web, "/api/task-managers/big");
    let cuts = worker["slots"].as_array().expect("a list");
    assert_eq!(bars.len(), RESOURCES.len(), "{bars:?}");
    for (bar, (resource, pointer, total)) in bars.iter().zip(RESOURCES) {
        assert_eq!(bar.resource, resource);
        let mut parts = bar.parts.iter();
        for cut in cuts {
            let expected = 100.0 * amount(&cut["resource_profile"], pointer) / total;
            if expected == 0.0 {
                continue;
            }
            let part = parts.next().expect("a part for each cut");
            assert!((part.percent - expected).abs() < 0.001, "{part:?} has not {expected} %");
            assert_eq!(part.state, cut["state"].as_str().expect("a state"));
            let id = cut["slot_id"].as_str().expect("an id");
            assert!(part.title.starts_with(&format!("Slot {id}: allocated")), "{part:?}");
        }
        let remaining = parts.next().expect("a part for the rest");
        let expected = 100.0 * amount(&worker["remaining_resources"], pointer) / total;
        assert!(
            (remaining.percent - expected).abs() < 0.001,
            "{remaining:?} has not {expected} %"
        );
        assert_eq!(remaining.state, rest_state);
        assert!(parts.next().is_none(), "{bar:?}");
    }
}

#[test]
fn dynamic_worker_is_a_bar_for_each_resource_filled_by_its_cuts() {
    if !is_installed("chromium") {
        return;
    }
    // given
    let mut cluster = Cluster::new("dynamic-dashboard");
    let election = format!("file:{}", cluster.path("leader").display());
    cluster.resource_manager("a", &election, &["--web", "127.0.0.1:0"]);
    wait_for("a leader", || cluster.leader());
    let web = web(&cluster, "a");
    cluster.worker("small", 2);
    cluster.dynamic_worker("big", "cpu=8,memory=16GiB,gpu=2");
    wait_until("registered workers", || cluster.count("registered") == 2);

    // when: cuts of two sizes. The tasks run until the test says so, and no longer than their worker.
    let end = cluster.path("end");
    let wait = format!(
        "while [ ! -e '{}' ] && kill -0 $PPID; do sleep 0.1; done",
        end.display()
    );
    cluster.job_with_profile("plain", 2, "cpu=2,memory=2GiB", &["sh", "-c", &wait]);
    wait_until("grants", || cluster.count("granted") == 2);
    cluster.job_with_profile("gpu", 1, "cpu=1,memory=4GiB,gpu=1", &["sh", "-c", &wait]);
    wait_until("grants", || cluster.count("granted") == 3);
    // then
    let shown = cards(&cluster, &web);
    let card = |id: &str| shown.iter().find(|card| card.id == id).expect("a card");
    compare(&card("big").bars, &web, "free");
    let label = "3 allocated, cpu 5 of 8 used, memory 8 GiB of 16 GiB used, gpu 1 of 2 used";
    assert_eq!(card("big").slots, label);
    assert_eq!((card("small").slots.as_str(), card("small").bars.len()), ("2 free", 0));

    // when
    operator(&["block", "big", "--web", &web]);
    // then: the rest is blocked, the cuts are used on
    let shown = cards(&cluster, &web);
    let big = shown.iter().find(|card| card.id == "big").expect("a card");
    assert!(big.is_troubled);
    compare(&big.bars, &web, "blocked");

    std::fs::write(&end, "").expect("a writable folder");
    for job in ["plain", "gpu"] {
        cluster.wait(job);
    }
    cluster.check(3);
}
