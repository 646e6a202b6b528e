//! Serves the page with a cluster of doubles, to look at it.

use std::time::Duration;

use slot_manager::AllocationId;
use slot_manager::outcome::AllocationStatus;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::double::Double;
use crate::web::{EventKind, Events, serve_cluster};

/// `WORKERS=100 PORT=8080 cargo test show_page -- --ignored`
#[tokio::test]
#[ignore = "serves until it is stopped"]
async fn show_page() {
    let number = |name: &str, otherwise| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    };
    let listener = TcpListener::bind(("127.0.0.1", number("PORT", 8080) as u16))
        .await
        .unwrap();
    let (double, events, stop) = (Double::leading(), Events::default(), CancellationToken::new());
    events.push(EventKind::Leader, "This process leads with epoch 7.");
    let workers = number("WORKERS", 100);
    if workers > 0 {
        double.fill(workers);
        events.push(EventKind::Worker, format!("{workers} workers have registered."));
        events.warn(EventKind::Worker, "Worker worker-bad could not be reached.");
    }
    tokio::spawn(live(double.clone(), events.clone()));
    serve_cluster(listener, double, events, stop).await.unwrap();
}

/// Lets time pass, and jobs come and go.
async fn live(double: Double, events: Events) {
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    for round in 0_u128.. {
        tick.tick().await;
        double.time.advance(Duration::from_millis(250));
        double.tell(|manager| manager.run_until_stalled());
        let id = AllocationId::from_u128(0xa000_0000 + round % 40);
        let status = double.tell(|manager| manager.allocation_status(id));
        match status {
            Some(AllocationStatus::Granted { slot_id }) if round % 3 > 0 => {
                double.tell(|manager| {
                    let freed = slot_manager::message::SlotFreed::new(slot_id, id);
                    let _ = manager.slot_freed(&freed);
                });
                events.push(
                    EventKind::Job,
                    format!("Job 70b1 gave a slot back (allocation {round:x})."),
                );
            }
            None => {
                double.request(0xa000_0000 + round % 40, 1.0);
            }
            _ => {}
        }
    }
}
