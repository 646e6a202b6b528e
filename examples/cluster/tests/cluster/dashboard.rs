//! The dashboard in a real browser shows what the REST interface says.

mod browser;
mod dynamic;
pub mod rest;

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use self::browser::{Page, dump_dom, take_screenshot};
use super::harness::{Cluster, wait_for, wait_until};
use super::required::is_installed;

/// Returns the address of the dashboard of a resource manager.
pub fn web(cluster: &Cluster, name: &str) -> String {
    let output = cluster.path(&format!("{name}.out"));
    wait_for("a dashboard", || {
        let output = std::fs::read_to_string(&output).ok()?;
        let line = output.lines().find_map(|line| line.strip_prefix("web on http://"))?;
        Some(line.to_owned())
    })
}

/// The parts of the cluster that are compared, as the REST interface has them.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    epoch: String,
    used: String,
    registered: String,
    task_managers: String,
    waiting: String,
    /// The states of the slots of each task manager, in words.
    slots: BTreeMap<String, String>,
    /// The workers that back off or are blocked.
    troubled: Vec<String>,
}

impl Shown {
    fn by_rest(web: &str) -> Self {
        let numbers = rest::get(web, "/api/overview");
        let overview = &numbers["overview"];
        let slots = |state: &str| overview["slots"][state]["slots"].as_u64().expect("a number");
        let page = rest::get(web, "/api/task-managers");
        let task_managers = page["items"].as_array().expect("a list");
        let id = |task_manager: &Value| task_manager["resource_id"].as_str().expect("an id").to_owned();
        let is_troubled =
            |task_manager: &&Value| task_manager["is_blocked"] == true || !task_manager["backoff"].is_null();
        let mut troubled: Vec<_> = task_managers.iter().filter(is_troubled).map(id).collect();
        troubled.sort_unstable();
        Self {
            epoch: numbers["epoch"].to_string(),
            used: (slots("allocated") + slots("in_flight")).to_string(),
            registered: slots("registered").to_string(),
            task_managers: overview["task_managers"].to_string(),
            waiting: match overview["pending_requests"].as_u64().expect("a number") {
                0 => "✓ No request waits".to_owned(),
                1 => "1 request waits".to_owned(),
                waiting => format!("{waiting} requests wait"),
            },
            slots: task_managers
                .iter()
                .map(|task_manager| (id(task_manager), states(task_manager)))
                .collect(),
            troubled,
        }
    }

    fn by_page(page: &Page) -> Self {
        let cards = page.cards();
        let mut troubled: Vec<_> = cards
            .iter()
            .filter(|card| card.is_troubled)
            .map(|card| card.id.clone())
            .collect();
        troubled.sort_unstable();
        Self {
            epoch: page.text("epoch"),
            used: page.text("used"),
            registered: page.text("registered"),
            task_managers: page.text("task-managers-count"),
            waiting: page.heading("waiting-verdict"),
            slots: cards.into_iter().map(|card| (card.id, card.slots)).collect(),
            troubled,
        }
    }
}

/// Says in words how many slots are in which state.
fn states(task_manager: &Value) -> String {
    let slots = task_manager["slots"].as_array().expect("a list");
    let names = ["allocated", "in_flight", "free", "backing_off", "blocked"];
    let counted = names.into_iter().filter_map(|name| {
        let number = slots.iter().filter(|slot| slot["state"] == name).count();
        (number > 0).then(|| format!("{number} {}", name.replace('_', " ")))
    });
    counted.collect::<Vec<_>>().join(", ")
}

/// Checks that the page shows what the REST interface says. Returns what it says.
///
/// It looks again if something happened meanwhile.
fn compare(cluster: &Cluster, web: &str, act: &str) -> Shown {
    let (before, page) = wait_for("a cluster at rest", || {
        let before = Shown::by_rest(web);
        let page = dump_dom(&cluster.path("browser"), &format!("http://{web}/?poll"))?;
        (Shown::by_rest(web) == before).then_some((before, page))
    });
    assert_eq!(Shown::by_page(&page), before, "after {act}");
    println!("after {act}: {before:?}");
    before
}

/// Runs a command of an operator. Returns what it prints.
fn operator(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_cluster")).args(arguments).output();
    let output = output.expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn page_shows_what_rest_says_after_each_act() {
    if !is_installed("chromium") {
        return;
    }
    // given
    let mut cluster = Cluster::new("dashboard");
    let election = format!("file:{}", cluster.path("leader").display());
    for name in ["a", "b"] {
        cluster.resource_manager(name, &election, &["--web", "127.0.0.1:0"]);
        // So that the first leads.
        wait_for("a leader", || cluster.leader());
    }
    let (leading, following) = (web(&cluster, "a"), web(&cluster, "b"));
    for worker in ["worker-1", "worker-2", "worker-3"] {
        cluster.worker(worker, 2);
    }
    wait_until("registered workers", || cluster.count("registered") == 3);

    // when: grants. The tasks run until the test says so, and no longer than their worker.
    let end = cluster.path("end");
    let wait = format!(
        "while [ ! -e '{}' ] && kill -0 $PPID; do sleep 0.1; done",
        end.display()
    );
    cluster.job("job", 5, 5, &["sh", "-c", &wait]);
    wait_until("grants", || cluster.count("granted") == 5);
    // then
    let shown = compare(&cluster, &leading, "grants");
    assert_eq!((shown.used.as_str(), shown.registered.as_str()), ("5", "6"));
    let screenshot = cluster.path("dashboard.png");
    take_screenshot(
        &cluster.path("browser"),
        &format!("http://{leading}/?poll"),
        &screenshot,
    );

    // when: the page and the commands of a follower. Then they lead to the leader.
    let page = wait_for("the page of a follower", || {
        dump_dom(&cluster.path("browser"), &format!("http://{following}/?poll"))
    });
    assert!(
        page.html().contains(&format!("href=\"http://{leading}/\"")),
        "no link to the leader"
    );
    let status = operator(&["status", "--web", &following]);
    assert!(status.contains("slots          6: 5 allocated"), "{status}");

    // when: a block, by way of the follower
    let blocked = operator(&["block", "worker-3", "--web", &following]);
    assert!(blocked.starts_with("Worker worker-3 is blocked."), "{blocked}");
    // then
    let shown = compare(&cluster, &leading, "a block");
    assert_eq!(shown.troubled, ["worker-3"]);

    // when: a lost worker
    cluster.kill("worker-1");
    wait_until("the loss", || Shown::by_rest(&leading).task_managers == "2");
    // then
    let shown = compare(&cluster, &leading, "a lost worker");
    assert!(!shown.slots.contains_key("worker-1"));

    // when: a fail-over
    let (_, epoch) = cluster.leader().expect("a leader");
    cluster.kill("a");
    wait_until("a new leader", || cluster.leader().is_some_and(|(_, new)| new > epoch));
    wait_until("the workers", || {
        let overview = rest::try_get(&following, "/api/overview");
        overview.is_some_and(|numbers| numbers["overview"]["task_managers"] == 2)
    });
    // then
    let shown = compare(&cluster, &following, "a fail-over");
    assert_eq!(shown.slots.keys().collect::<Vec<_>>(), ["worker-2", "worker-3"]);

    // The tasks that wait need a slot.
    cluster.worker("worker-4", 4);
    std::fs::write(&end, "").expect("a writable folder");
    cluster.wait("job");
    cluster.check(5);
}

#[test]
fn page_is_for_those_who_have_the_token() {
    if !is_installed("chromium") {
        return;
    }
    // given
    let mut cluster = Cluster::new("token");
    let (election, token) = (
        format!("file:{}", cluster.path("leader").display()),
        cluster.path("token"),
    );
    std::fs::write(&token, "secret\n").expect("a writable folder");
    let token = token.to_str().expect("a path in UTF-8");
    cluster.resource_manager("a", &election, &["--web", "127.0.0.1:0", "--token-file", token]);
    wait_for("a leader", || cluster.leader());
    let web = web(&cluster, "a");

    // when: a browser has the token as its password
    let page = |password: &str| {
        let address = format!("http://operator:{password}@{web}/?poll");
        dump_dom(&cluster.path("browser"), &address)
    };
    let shown = wait_for("the page", || page("secret"));
    // then
    assert_eq!(shown.text("epoch"), "1");

    // when, then: it does not show the page if the password is wrong
    let refused = page("another");
    assert!(refused.is_none_or(|page| !page.html().contains("id=\"epoch\"")));
}
