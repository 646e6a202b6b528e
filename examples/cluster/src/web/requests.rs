//! Requests that wait, and why.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Serialize;
use slot_manager::outcome::AllocationStatus;
use slot_manager::view::{PageCursor, RequestExplanation};
use slot_manager::{
    AllocationId, JobId, ResourceManagerActions, ScheduledExecutor, SlotManager, TaskExecutorGateway, Timestamp,
};

use super::SharedWeb;
use super::cluster::Cluster;
use super::error::ApiError;
use super::reason::{group, reason};
use super::task_managers::{PageQuery, PageView};

/// A request or a grant.
#[derive(Serialize)]
pub struct RequestView {
    allocation_id: AllocationId,
    job_id: JobId,
    status: AllocationStatus,
    /// The address of the job master.
    target_address: Option<Arc<str>>,
    /// The kind of event that the request waits for.
    group: Option<&'static str>,
    /// The reason why the request waits, in one sentence.
    reason: Option<String>,
    /// The whole explanation as text.
    text: String,
    explanation: Option<RequestExplanation>,
}

/// `GET /api/requests`: a page of the requests that wait.
pub async fn list<C: Cluster>(
    State(web): SharedWeb<C>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageView<RequestView>>, ApiError> {
    let (cursor, limit) = (query.cursor()?, query.limit()?);
    let page = web.cluster.ask(move |manager| waiting(manager, cursor, limit)).await?;
    Ok(Json(page))
}

fn waiting<A, G, E>(manager: &SlotManager<A, G, E>, cursor: PageCursor, limit: usize) -> PageView<RequestView>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    let page = manager.pending_slot_requests_from(cursor, limit);
    let requests = page.items.iter().map(|request| request.allocation_id());
    PageView {
        now: manager.now(),
        items: requests
            .filter_map(|allocation_id| find(manager, allocation_id))
            .collect(),
        next: page.next,
    }
}

/// One request, and the time of the answer.
#[derive(Serialize)]
pub struct OneRequest {
    now: Timestamp,
    #[serde(flatten)]
    request: RequestView,
}

/// `GET /api/requests/{allocation-id}`: one request or grant.
pub async fn one<C: Cluster>(State(web): SharedWeb<C>, Path(id): Path<String>) -> Result<Json<OneRequest>, ApiError> {
    let allocation_id: AllocationId = id.parse().map_err(|error| ApiError::Invalid(format!("{error}")))?;
    let found = web.cluster.ask(move |manager| {
        let request = find(manager, allocation_id)?;
        let now = manager.now();
        Some(OneRequest { now, request })
    });
    let not_found = || ApiError::NotFound(format!("no request and no grant has the id {allocation_id}"));
    found.await?.map(Json).ok_or_else(not_found)
}

fn find<A, G, E>(manager: &SlotManager<A, G, E>, allocation_id: AllocationId) -> Option<RequestView>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    let explanation = manager.explain(allocation_id)?;
    let pending = manager.pending_slot_request(allocation_id);
    let text = explanation.to_string();
    let request = explanation.request.as_ref();
    Some(RequestView {
        allocation_id,
        job_id: explanation.job_id,
        target_address: pending.map(|request| Arc::clone(request.target_address())),
        group: request.map(|request| group(&request.waits_for)),
        reason: request.map(|request| reason(request, manager.now())),
        text,
        status: explanation.status,
        explanation: explanation.request,
    })
}
