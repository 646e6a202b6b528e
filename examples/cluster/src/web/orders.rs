//! Orders of operators.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use serde::Serialize;
use slot_manager::outcome::{BlockOutcome, UnblockOutcome};
use slot_manager::overview::SlotCounts;
use slot_manager::{ResourceId, ScheduledExecutor, SlotManager, TaskExecutorGateway};

use super::cluster::Cluster;
use super::error::ApiError;
use super::parameters::Id;
use super::task_managers::{not_registered, resource_id};
use super::{EventKind, SharedWeb};

/// The last sentence of an answer, since an operator may count on the order for long.
const FORGOTTEN: &str = "A leader in another process does not know of it: repeat the order then.";

/// What an order has done.
#[derive(Serialize)]
pub struct Done {
    resource_id: ResourceId,
    /// `true` if the order changed something.
    is_changed: bool,
    /// A sentence for the operator.
    text: String,
    /// The slots of the worker, if it is registered.
    slot_counts: Option<SlotCounts>,
}

/// `POST /api/task-managers/{resource-id}/block`: gives no more slots of a worker away.
///
/// The worker need not be registered: it is blocked when it comes.
pub async fn block<C: Cluster>(
    State(web): SharedWeb<C>,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Json<Done>, ApiError> {
    let worker = order(&id, &headers)?;
    let ordered = worker.clone();
    // An idle worker may leave when it is blocked.
    let slots = web.cluster.ask(move |manager| slot_counts(manager, &ordered)).await?;
    let outcome = web.cluster.block(worker.clone()).await;
    let outcome = outcome.map_err(|unanswered| web.cluster.explain(unanswered))?;
    let is_changed = outcome == BlockOutcome::Blocked;
    let rest = slots.map_or_else(|| "It is not registered.".to_owned(), rest);
    let text = format!("Worker {worker} is blocked. {rest} {FORGOTTEN}");
    Ok(web.done(worker, is_changed, text, slots))
}

/// `POST /api/task-managers/{resource-id}/drain`: blocks a worker, and stops it once none of its slots
/// is used.
pub async fn drain<C: Cluster>(
    State(web): SharedWeb<C>,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Json<Done>, ApiError> {
    let worker = order(&id, &headers)?;
    let ordered = worker.clone();
    // A worker that is unknown cannot stop, and must not stay blocked by mistake.
    let slots = web.cluster.ask(move |manager| slot_counts(manager, &ordered)).await?;
    let slots = slots.ok_or_else(|| not_registered(&id))?;
    let drained = web.cluster.drain(worker.clone()).await;
    let is_changed = drained.map_err(|unanswered| web.cluster.explain(unanswered))?;
    let rest = rest(slots);
    let text = format!("Worker {worker} is drained: it stops once none of its slots is used. {rest} {FORGOTTEN}");
    Ok(web.done(worker, is_changed, text, Some(slots)))
}

/// `POST /api/task-managers/{resource-id}/unblock`: gives slots of a worker away again.
pub async fn unblock<C: Cluster>(
    State(web): SharedWeb<C>,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Json<Done>, ApiError> {
    let worker = order(&id, &headers)?;
    let ordered = worker.clone();
    let outcome = web.cluster.unblock(worker.clone()).await;
    let outcome = outcome.map_err(|unanswered| web.cluster.explain(unanswered))?;
    let slots = web.cluster.ask(move |manager| slot_counts(manager, &ordered)).await?;
    let is_changed = outcome == UnblockOutcome::Unblocked;
    let text = match is_changed {
        true => format!("Worker {worker} is unblocked."),
        false => format!("Worker {worker} was not blocked."),
    };
    Ok(web.done(worker, is_changed, text, slots))
}

fn slot_counts<A, G, E>(manager: &SlotManager<A, G, E>, worker: &ResourceId) -> Option<SlotCounts>
where
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    manager
        .task_manager_of(worker)
        .map(|task_manager| task_manager.slot_counts())
}

/// Says how much of a blocked worker is still used.
fn rest(slots: SlotCounts) -> String {
    match slots.allocated + slots.in_flight {
        0 => "None of its slots is used.".to_owned(),
        1 => "One of its slots is still used.".to_owned(),
        used => format!("{used} of its slots are still used."),
    }
}

/// Checks an order, and returns the worker that it names.
///
/// A browser sends orders of other sites too. It names the site.
pub fn order(id: &str, headers: &HeaderMap) -> Result<ResourceId, ApiError> {
    if let Some(origin) = headers.get(ORIGIN) {
        let site = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        if site.map(|(_, host)| host) != host {
            return Err(ApiError::OtherSite);
        }
    }
    resource_id(id)
}

impl<C> super::Web<C> {
    fn done(&self, resource_id: ResourceId, is_changed: bool, text: String, slots: Option<SlotCounts>) -> Json<Done> {
        if is_changed {
            self.events.push(EventKind::Operator, text.clone());
        }
        Json(Done {
            resource_id,
            is_changed,
            text,
            slot_counts: slots,
        })
    }
}
