//! What the addresses answer.

use std::collections::BTreeSet;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use slot_manager::ResourceId;
use slot_manager::message::Acknowledge;
use slot_manager::testing::GatewayAnswer;
use tokio::time::Instant;

use super::Server;
use super::double::{Double, unreachable};
use crate::operator::client::exchange;
use crate::operator::{OperatorCommand, OperatorOptions, execute};
use crate::protocol::security::TokenOption;
use crate::web::EventKind;

fn acknowledged() -> GatewayAnswer {
    Ok(Acknowledge::new()).into()
}

fn ids(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["resource_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_overview_has_the_published_numbers() {
    let double = Double::leading();
    double.register("worker-1", 2, acknowledged());
    double.request(0xa1, 1.0);
    double.request(0xa2, 64.0);
    let server = Server::start(&double).await;

    let (status, numbers) = server.get("/api/overview").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&numbers["epoch"], &numbers["is_leading"]), (&json!(7), &json!(true)));
    assert_eq!(
        numbers["leader"],
        json!({"epoch": 7, "address": "10.0.0.1:6100", "web": null})
    );
    assert_eq!(numbers["overview"]["slots"]["allocated"]["slots"], 1);
    assert_eq!(numbers["overview"]["pending_requests"], 1);
    server.stop().await;
}

#[tokio::test]
async fn numbers_of_an_owner_that_does_not_lead_yet_are_not_shown() {
    let double = Double::leading();
    let server = Server::start(&double).await;
    // The election is ahead of the owner.
    double.publish_at(Instant::now(), false);
    assert_eq!(server.get("/api/overview").await.0, StatusCode::SERVICE_UNAVAILABLE);
    double.publish();
    assert_eq!(server.get("/api/overview").await.0, StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn an_owner_that_is_stuck_is_not_healthy() {
    let double = Double::leading();
    let server = Server::start(&double).await;
    assert_eq!(server.text("/health").await, "ok\n");
    let long_ago = Instant::now().checked_sub(Duration::from_secs(11)).unwrap();
    double.publish_at(long_ago, true);
    let health = exchange(&server.address, &Method::GET, "/health", None).await;
    assert_eq!(health.unwrap().0, StatusCode::SERVICE_UNAVAILABLE);
    server.stop().await;
}

#[tokio::test]
async fn task_managers_come_in_pages() {
    let double = Double::leading();
    for worker in 0..250 {
        double.register(&format!("Worker {worker}/a"), 1, acknowledged());
    }
    let server = Server::start(&double).await;

    let mut found = Vec::new();
    let (mut path, mut pages) = ("/api/task-managers".to_owned(), 0);
    loop {
        let (_, page) = server.get(&path).await;
        found.extend(ids(&page).into_iter().map(str::to_owned));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => path = format!("/api/task-managers?cursor={next}"),
            None => break,
        }
    }
    assert_eq!((found.len(), pages), (250, 3));
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 250);

    let (_, page) = server.get("/api/task-managers?limit=2&search=WORKER%2024").await;
    assert_eq!(ids(&page), ["Worker 24/a", "Worker 240/a"]);
    let (_, page) = server.get("/api/task-managers?search=no-such").await;
    assert_eq!((ids(&page).len(), &page["next"]), (0, &Value::Null));

    let (status, one) = server.get("/api/task-managers/Worker%207%2Fa").await;
    assert_eq!((status, &one["slots"][0]["state"]), (StatusCode::OK, &json!("free")));
    let (status, error) = server.get("/api/task-managers/nobody").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(error["error"], "no worker \"nobody\" is registered");
    server.stop().await;
}

#[tokio::test]
async fn bad_questions_are_refused_with_a_reason() {
    let server = Server::start(&Double::leading()).await;
    for path in [
        "/api/task-managers?limit=0",
        "/api/task-managers?limit=101",
        "/api/task-managers?limit=many",
        "/api/task-managers?sort=id",
        "/api/task-managers?cursor=next",
        "/api/requests?cursor=-1",
        "/api/requests/a-request",
        "/api/task-managers/%ff",
    ] {
        let (status, error) = server.get(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert!(error["error"].as_str().is_some_and(|text| !text.is_empty()), "{path}");
    }
    assert_eq!(server.get("/nowhere").await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        server.get("/api/task-managers/a/block").await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    server.stop().await;
}

#[tokio::test]
async fn each_waiting_request_has_its_reason() {
    let double = Double::leading();
    double.register("worker-1", 1, acknowledged());
    let granted = double.request(0xa1, 1.0);
    let waiting = double.request(0xa2, 64.0);
    let server = Server::start(&double).await;

    let (_, page) = server.get("/api/requests").await;
    let request = &page["items"][0];
    assert_eq!(request["allocation_id"], waiting.to_string());
    assert_eq!(
        request["reason"],
        "The only slot is short of cpu, and no worker can be started; the next worker request is in 2 min."
    );
    assert_eq!(request["explanation"]["too_small"]["slots"], 1);
    assert_eq!(request["explanation"]["waits_for"]["event"], "worker_declined");
    assert!(request["text"].as_str().unwrap().contains("waits for"));

    let (_, one) = server.get(&format!("/api/requests/{granted}")).await;
    assert_eq!(
        (&one["status"], &one["slot_id"], &one["reason"]),
        (&json!("granted"), &json!("worker-1_0"), &Value::Null)
    );
    let (status, _) = server.get("/api/requests/00000000000000000000000000000bad").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    server.stop().await;
}

#[tokio::test]
async fn requests_come_oldest_first() {
    let double = Double::leading();
    let mut oldest_first = Vec::new();
    for request in 0..250_u128 {
        // Ids are in another order, and several come at the same time.
        oldest_first.push(double.request(1_000 - request, 1.0).to_string());
        if request % 7 == 0 {
            double.pass(Duration::from_millis(1));
        }
    }
    let server = Server::start(&double).await;
    let page = async |cursor: &Value| {
        let path = match cursor.as_str() {
            Some(cursor) => format!("/api/requests?limit=60&cursor={cursor}"),
            None => "/api/requests?limit=60".to_owned(),
        };
        let (_, page) = server.get(&path).await;
        let items = page["items"].as_array().unwrap();
        let ids: Vec<_> = items
            .iter()
            .map(|item| item["allocation_id"].as_str().unwrap().to_owned())
            .collect();
        (ids, page["next"].clone())
    };

    let (mut found, mut next) = page(&Value::Null).await;
    while !next.is_null() {
        let (ids, after) = page(&next).await;
        found.extend(ids);
        next = after;
    }
    assert_eq!(found, oldest_first);

    // The last of a page goes before the next page is read.
    let (first, next) = page(&Value::Null).await;
    let last = first.last().unwrap().parse().unwrap();
    let _ = double.tell(|manager| manager.unregister_slot_request(last));
    let (second, _) = page(&next).await;
    assert!(second.contains(&oldest_first[60]), "one is missing");
    server.stop().await;
}

#[tokio::test]
async fn promised_workers_and_troubled_ones_are_listed() {
    let double = Double::leading();
    double.fill(3);
    let server = Server::start(&double).await;

    let (_, workers) = server.get("/api/workers").await;
    assert_eq!(
        (&workers["items"][0]["slots"], &workers["is_cut"]),
        (&json!(4), &json!(false))
    );
    let (_, troubled) = server.get("/api/task-managers?troubled=true").await;
    assert_eq!(ids(&troubled), ["worker-bad", "worker-1"]);
    assert_eq!(troubled["items"][0]["backoff"]["reason"], "unreachable");
    server.stop().await;
}

#[tokio::test]
async fn declared_held_and_missing_slots_are_shown_for_each_job() {
    let double = Double::leading();
    double.register("worker-1", 2, acknowledged());
    let job_id = double.declare(7, 3, 1.0);
    let server = Server::start(&double).await;
    let (_, jobs) = server.get("/api/jobs").await;
    let job = &jobs["items"][0];
    assert_eq!((&job["job_id"], &jobs["is_cut"]), (&json!(job_id), &json!(false)));
    let counts = |of: &Value| ["declared", "held", "missing", "in_flight"].map(|state| of[state].as_u64());
    assert_eq!(counts(job), [Some(3), Some(2), Some(1), Some(0)]);
    assert_eq!(counts(&job["profiles"][0]), counts(job));
    assert_eq!((&job["excess"], &job["revision"]), (&json!(0), &json!(1)));
    let options = OperatorOptions {
        web: vec![server.address.clone()],
        token: TokenOption::default(),
    };
    let status = execute(OperatorCommand::Status(options)).await.unwrap();
    let line = format!("  {job_id}  3 slots declared, 2 held, 1 missing, 0 in excess");
    assert!(status.contains(&line), "{status}");
    server.stop().await;
}

#[tokio::test]
async fn a_recovery_is_shown() {
    let double = Double::recovering();
    let workers = ["worker-1", "worker-2"].map(ResourceId::new);
    let _ = double.tell(|manager| manager.expect_workers(workers));
    double.register("worker-1", 1, acknowledged());
    let server = Server::start(&double).await;
    let (_, workers) = server.get("/api/workers").await;
    assert_eq!(workers["recovery"]["missing_workers"], 1);
    let options = OperatorOptions {
        web: vec![server.address.clone()],
        token: TokenOption::default(),
    };
    let status = execute(OperatorCommand::Status(options)).await.unwrap();
    assert!(
        status.contains("recovery       ends in 60 s, 1 worker is missing"),
        "{status}"
    );
    double.register("worker-2", 1, acknowledged());
    let (_, workers) = server.get("/api/workers").await;
    assert_eq!(workers["recovery"], Value::Null);
    server.stop().await;
}

#[tokio::test]
async fn operators_block_unblock_and_drain() {
    let double = Double::leading();
    double.register("worker-1", 2, acknowledged());
    double.request(0xa1, 1.0);
    let server = Server::start(&double).await;

    let (_, done) = server.post("/api/task-managers/worker-1/drain").await;
    assert_eq!(done["is_changed"], true);
    let text = "Worker worker-1 is drained: it stops once none of its slots is used. One of its slots is still \
                used. A leader in another process does not know of it: repeat the order then.";
    assert_eq!(done["text"], text);
    let (_, done) = server.post("/api/task-managers/worker-1/block").await;
    assert_eq!(done["is_changed"], false);
    let (_, one) = server.get("/api/task-managers/worker-1").await;
    assert_eq!(one["is_blocked"], true);
    let (_, done) = server.post("/api/task-managers/worker-1/unblock").await;
    assert_eq!(done["text"], "Worker worker-1 is unblocked.");

    // A worker can be blocked before it comes, and not drained.
    assert_eq!(server.post("/api/task-managers/later/block").await.0, StatusCode::OK);
    let (_, blocked) = server.get("/api/blocked").await;
    let expected = json!({"items": [{"resource_id": "later", "is_registered": false}], "is_cut": false});
    assert_eq!(blocked, expected);
    assert_eq!(
        server.post("/api/task-managers/nobody/drain").await.0,
        StatusCode::NOT_FOUND
    );

    let (_, events) = server.get("/api/events").await;
    assert_eq!(
        (events.as_array().unwrap().len(), &events[0]["text"]),
        (3, &json!(text))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_replica_that_does_not_lead_names_the_leader() {
    let server = Server::start(&Double::following("10.0.0.1:8080")).await;
    let leader = json!({"epoch": 7, "address": "10.0.0.1:6100", "web": "10.0.0.1:8080"});
    for path in [
        "/api/overview",
        "/api/task-managers",
        "/api/requests",
        "/api/jobs",
        "/api/workers",
        "/api/blocked",
    ] {
        let (status, error) = server.get(path).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(
            error["error"],
            "this resource manager does not lead; the leader is 10.0.0.1:6100"
        );
        assert_eq!(error["leader"], leader);
    }
    let (status, _) = server.post("/api/task-managers/worker-1/block").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);

    let (_, answer) = server.get("/leader").await;
    assert_eq!(answer, json!({"is_leading": false, "leader": leader}));
    assert_eq!(server.text("/health").await, "ok\n");
    server.stop().await;
}

#[tokio::test]
async fn the_metrics_have_every_counter_and_gauge() {
    let double = Double::leading();
    double.register("worker-1", 2, Err(unreachable()));
    double.request(0xa1, 1.0);
    let server = Server::start(&double).await;

    let metrics = server.text("/metrics").await;
    let (counters, overview) = double.tell(|manager| (manager.counters(), manager.overview()));
    let value = |name: &str| {
        let mut lines = metrics
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        lines.next().and_then(|value| value.parse::<f64>().ok())
    };
    for counter in counters.iter() {
        let shown = value(&format!("slot_manager_{}_total", counter.name));
        assert_eq!(shown, Some(counter.value as f64), "{}", counter.name);
    }
    for gauge in overview.gauges() {
        let shown = value(&format!("slot_manager_{}", gauge.name));
        assert_eq!(shown, Some(gauge.value), "{}", gauge.name);
    }
    assert_eq!(value("slot_manager_process_leading"), Some(1.0));
    assert_eq!(value("slot_manager_process_epoch"), Some(7.0));
    assert_eq!(value("slot_manager_process_mailbox_inputs"), Some(3.0));
    assert!(metrics.ends_with("# EOF\n"));
    server.stop().await;
}

#[tokio::test]
async fn the_last_200_events_are_kept() {
    let server = Server::start(&Double::leading()).await;
    for number in 1..=250 {
        server.events.push(EventKind::Job, format!("event {number}"));
    }
    let (_, events) = server.get("/api/events").await;
    let events = events.as_array().unwrap();
    assert_eq!((events.len(), &events[0]["text"]), (200, &json!("event 51")));
    server.stop().await;
}

#[tokio::test]
async fn an_event_that_repeats_is_shown_once() {
    let server = Server::start(&Double::leading()).await;
    for _ in 0..300 {
        server.events.warn(EventKind::Worker, "worker-1 is refused");
        server.events.warn(EventKind::Worker, "worker-2 is refused");
    }
    server.events.push(EventKind::Job, "a job has come");
    let (_, events) = server.get("/api/events").await;
    let shown: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (&event["text"], &event["times"]))
        .collect();
    let expected = json!([
        "worker-1 is refused",
        300,
        "worker-2 is refused",
        300,
        "a job has come",
        1
    ]);
    let shown: Vec<_> = shown
        .into_iter()
        .flat_map(|(text, times)| [text.clone(), times.clone()])
        .collect();
    assert_eq!(Value::from(shown), expected);
    server.stop().await;
}

#[tokio::test]
async fn the_page_and_its_parts_are_served() {
    let server = Server::start(&Double::leading()).await;
    assert!(server.text("/").await.contains("app.js"));
    // Each module that a module imports is served.
    let mut left = vec!["app.js".to_owned()];
    let mut served = BTreeSet::new();
    while let Some(script) = left.pop() {
        let text = server.text(&format!("/js/{script}")).await;
        let imports = text
            .split("from \"./")
            .skip(1)
            .filter_map(|rest| rest.split('"').next());
        left.extend(imports.filter(|import| !served.contains(*import)).map(str::to_owned));
        served.insert(script);
    }
    assert!(served.len() > 1, "{served:?}");
    assert_eq!(server.get("/js/no.js").await.0, StatusCode::NOT_FOUND);
    assert!(server.text("/style.css").await.contains("light-dark"));
    server.stop().await;
}

#[tokio::test]
async fn commands_of_operators_find_the_leader() {
    let double = Double::leading();
    double.register("worker-1", 1, acknowledged());
    let waiting = double.request(0xa2, 64.0);
    let leader = Server::start(&double).await;
    let follower = Server::start(&Double::following(&leader.address)).await;
    let options = OperatorOptions {
        web: vec![follower.address.clone()],
        token: TokenOption::default(),
    };

    let status = execute(OperatorCommand::Status(options.clone())).await.unwrap();
    assert!(status.contains("waiting        1 requests"), "{status}");
    assert!(status.contains("short of cpu"), "{status}");
    let worker = "worker-1".to_owned();
    let block = OperatorCommand::Block {
        worker,
        options: options.clone(),
    };
    let blocked = execute(block).await.unwrap();
    let text = "Worker worker-1 is blocked. None of its slots is used. A leader in another process does not know \
                of it: repeat the order then.";
    assert_eq!(blocked, text);
    let id = waiting.to_string();
    let _ = double.tell(|manager| manager.block(&ResourceId::new("later")));
    let status = execute(OperatorCommand::Status(options.clone())).await.unwrap();
    assert!(status.contains("worker-1  blocked, 0 slots used"), "{status}");
    assert!(status.contains("later  blocked, not registered"), "{status}");
    assert!(!status.contains("recovery"), "{status}");
    let explained = execute(OperatorCommand::Explain {
        id,
        options: options.clone(),
    })
    .await
    .unwrap();
    assert!(explained.contains("needs"), "{explained}");
    let id = "nonsense".to_owned();
    let error = execute(OperatorCommand::Explain { id, options }).await.unwrap_err();
    assert!(error.to_string().contains("is not an allocation id"), "{error}");
    leader.stop().await;
    follower.stop().await;
}
