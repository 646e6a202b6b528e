//! Workers that are awaited: those that were requested, and those of former leaders.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use slot_manager::view::Recovery;
use slot_manager::{
    ResourceManagerActions, ResourceProfile, ScheduledExecutor, SlotManager, TaskExecutorGateway, Timestamp,
    WorkerRequestId,
};

use super::SharedWeb;
use super::cluster::Cluster;
use super::error::ApiError;

/// The most promised slots that one question reads.
const READ: usize = 2_000;

/// A worker that was requested and has not registered.
#[derive(Serialize)]
pub struct WorkerView {
    worker_request: WorkerRequestId,
    /// The number of slots that it will bring.
    slots: usize,
    /// The number of slots that requests wait for.
    bound_slots: usize,
    /// The profile of its first slot.
    slot_profile: ResourceProfile,
    /// The time when the promise ends.
    expires_at: Timestamp,
}

/// The workers that are awaited.
#[derive(Serialize)]
pub struct Workers {
    now: Timestamp,
    items: Vec<WorkerView>,
    /// `true` if there are more.
    is_cut: bool,
    /// The time in which workers of former leaders come back; `null` if it is over.
    recovery: Option<RecoveryView>,
}

/// The time in which workers of former leaders come back.
#[derive(Serialize)]
struct RecoveryView {
    /// The time when it ends at the latest.
    until: Timestamp,
    /// The number of workers that are missing; `null` if it is not known which are expected.
    missing_workers: Option<usize>,
}

impl From<Recovery<'_>> for RecoveryView {
    fn from(recovery: Recovery<'_>) -> Self {
        Self {
            until: recovery.until,
            missing_workers: recovery.missing_workers.map(BTreeSet::len),
        }
    }
}

/// `GET /api/workers`: the workers that were requested and have not registered.
pub async fn list<C: Cluster>(State(web): SharedWeb<C>) -> Result<Json<Workers>, ApiError> {
    web.cluster.ask(|manager| promised(manager)).await.map(Json)
}

fn promised<A, G, E>(manager: &SlotManager<A, G, E>) -> Workers
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    let mut workers = BTreeMap::new();
    let mut slots = manager.promised_slots();
    for slot in slots.by_ref().take(READ) {
        let worker_request = slot.worker_request();
        let worker = workers.entry(worker_request).or_insert_with(|| WorkerView {
            worker_request,
            slots: 0,
            bound_slots: 0,
            slot_profile: slot.resource_profile().clone(),
            expires_at: slot.expires_at(),
        });
        worker.slots += 1;
        worker.bound_slots += usize::from(slot.bound_to().is_some());
    }
    Workers {
        now: manager.now(),
        items: workers.into_values().collect(),
        is_cut: slots.next().is_some(),
        recovery: manager.recovery().map(Into::into),
    }
}
