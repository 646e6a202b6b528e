//! Dynamic workers in the answers.

use serde_json::{Value, json};
use slot_manager::ResourceId;
use slot_manager::message::Acknowledge;

use super::Server;
use super::double::Double;
use crate::operator::{OperatorCommand, OperatorOptions, execute};
use crate::protocol::security::TokenOption;

/// The profile of the doubles: each has 2 GiB.
fn resources(cores: f64) -> Value {
    json!({"cpu_cores": cores, "task_heap_memory_bytes": 2_u64 << 30})
}

async fn status(server: &Server) -> String {
    let options = OperatorOptions {
        web: vec![server.address.clone()],
        token: TokenOption::default(),
    };
    execute(OperatorCommand::Status(options)).await.unwrap()
}

#[tokio::test]
async fn the_total_the_rest_and_the_cuts_of_a_worker_are_shown() {
    let double = Double::leading();
    double.register("small", 1, Ok(Acknowledge::new()));
    double.register_dynamic("big", 8.0);
    let held = double.request(0xa1, 3.0);
    let server = Server::start(&double).await;

    let (_, one) = server.get("/api/task-managers/big").await;
    assert_eq!(one["total_resources"], resources(8.0));
    // All memory is in the cut.
    assert_eq!(one["remaining_resources"], json!({"cpu_cores": 5.0}));
    assert_eq!(one["slot_counts"]["registered"], 1);
    let cut = &one["slots"][0];
    assert_eq!(
        (&cut["slot_id"], &cut["state"], &cut["allocation_id"]),
        (&json!("big_2147483648"), &json!("allocated"), &json!(held))
    );
    assert_eq!(cut["resource_profile"], resources(3.0));

    let (_, one) = server.get("/api/task-managers/small").await;
    assert_eq!(
        (&one["total_resources"], &one["remaining_resources"]),
        (&Value::Null, &Value::Null)
    );
    let (_, page) = server.get("/api/task-managers?dynamic=true").await;
    let items = page["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["resource_id"]), (1, &json!("big")));
    let (_, numbers) = server.get("/api/overview").await;
    assert_eq!(numbers["overview"]["dynamic_workers"], 1);
    assert_eq!(numbers["overview"]["dynamic_total"]["cpu_cores"], 8.0);
    server.stop().await;
}

#[tokio::test]
async fn commands_of_operators_list_dynamic_workers() {
    let double = Double::leading();
    double.register("small", 1, Ok(Acknowledge::new()));
    let server = Server::start(&double).await;
    assert!(!status(&server).await.contains("dynamic"));
    double.register_dynamic("big", 8.0);
    double.request(0xa1, 3.0);
    let status = status(&server).await;
    let lines = "dynamic        1 workers, 8 cores, 2 GiB in total\n  \
                 big  1 slot cut from 8 cores, 2 GiB; 5 cores left\n";
    assert!(status.contains(lines), "{status}");
    assert!(!status.contains("small"), "{status}");
    server.stop().await;
}

#[tokio::test]
async fn a_waiting_request_says_what_dynamic_workers_lack() {
    let double = Double::leading();
    let waiting = double.request(0xa1, 9.0);
    let server = Server::start(&double).await;
    let reason = async || {
        let (_, request) = server.get(&format!("/api/requests/{waiting}")).await;
        let reason = request["reason"].as_str().unwrap().to_owned();
        reason.split(", and no worker").next().unwrap().to_owned()
    };
    assert_eq!(reason().await, "No slot is registered");
    double.register_dynamic("big-1", 8.0);
    let small = "No slot is registered; the only dynamic worker has too little in total";
    assert_eq!(reason().await, small);
    // It is served, and 7 cores are left.
    double.register_dynamic("big-2", 16.0);
    let second = double.request(0xa2, 16.0);
    let (_, request) = server.get(&format!("/api/requests/{second}")).await;
    let counts = &request["explanation"]["dynamic_workers"];
    assert_eq!(
        (&counts["workers"], &counts["total_fits"], &counts["remainder_fits"]),
        (&json!(2), &json!(1), &json!(0))
    );
    let reason = request["reason"].as_str().unwrap();
    let lack = "The only slot is short of cpu; all 2 dynamic workers have too little cpu left";
    assert!(reason.starts_with(lack), "{reason}");

    let _ = double.tell(|manager| manager.block(&ResourceId::new("big-1")));
    let third = double.request(0xa3, 1.0);
    let (_, request) = server.get(&format!("/api/requests/{third}")).await;
    let reason = request["reason"].as_str().unwrap();
    assert!(
        reason.contains("1 dynamic worker has room, but may not be used now"),
        "{reason}"
    );
    server.stop().await;
}
