//! Workers that operators have blocked.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use slot_manager::{ResourceId, ResourceManagerActions, ScheduledExecutor, SlotManager, TaskExecutorGateway};

use super::SharedWeb;
use super::cluster::Cluster;
use super::error::ApiError;

/// The most workers of an answer.
const LIMIT: usize = 1_000;

/// A worker that is blocked.
#[derive(Serialize)]
struct BlockedWorker {
    resource_id: ResourceId,
    /// `false` if it is blocked for when it comes.
    is_registered: bool,
}

/// The workers that are blocked.
#[derive(Serialize)]
pub struct Blocked {
    items: Vec<BlockedWorker>,
    /// `true` if there are more.
    is_cut: bool,
}

/// `GET /api/blocked`: the blocked workers by id, registered or not.
pub async fn list<C: Cluster>(State(web): SharedWeb<C>) -> Result<Json<Blocked>, ApiError> {
    web.cluster.ask(|manager| blocked(manager)).await.map(Json)
}

fn blocked<A, G, E>(manager: &SlotManager<A, G, E>) -> Blocked
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    let mut workers = manager.blocked_workers();
    let items = workers.by_ref().take(LIMIT).map(|resource_id| BlockedWorker {
        resource_id: resource_id.clone(),
        is_registered: manager.task_manager_of(resource_id).is_some(),
    });
    Blocked {
        items: items.collect(),
        is_cut: workers.next().is_some(),
    }
}
