//! Requests that wait, and why.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Serialize, Serializer};
use slot_manager::outcome::AllocationStatus;
use slot_manager::view::PendingSlotRequest;
use slot_manager::{
    AllocationId, JobId, ResourceManagerActions, ScheduledExecutor, SlotId, SlotManager, TaskExecutorGateway, Timestamp,
};

use super::SharedWeb;
use super::cluster::Cluster;
use super::error::ApiError;
use super::explanation::ExplanationView;
use super::paging::{PageQuery, PageView};
use super::parameters::{Id, Parameters};
use super::reason::{group, reason};

/// A request or a grant.
#[derive(Serialize)]
pub struct RequestView {
    allocation_id: AllocationId,
    job_id: JobId,
    /// `waiting`, `in_flight` or `granted`.
    status: &'static str,
    /// The slot that was requested for it, or that it holds.
    slot_id: Option<SlotId>,
    /// The address of the job master.
    target_address: Option<Arc<str>>,
    /// The kind of event that the request waits for.
    group: Option<&'static str>,
    /// The reason why the request waits, in one sentence.
    reason: Option<String>,
    /// The whole explanation as text.
    text: String,
    explanation: Option<ExplanationView>,
}

/// The place in the list after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestCursor {
    deadline: Timestamp,
    allocation_id: AllocationId,
}

impl RequestCursor {
    fn after(request: &PendingSlotRequest<'_>) -> Self {
        Self {
            deadline: request.deadline(),
            allocation_id: request.allocation_id(),
        }
    }
}

impl fmt::Display for RequestCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.deadline.as_nanos(), self.allocation_id)
    }
}

impl FromStr for RequestCursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (deadline, allocation_id) = text.split_once('-')?;
            let deadline = Timestamp::from_nanos(deadline.parse().ok()?);
            let allocation_id = allocation_id.parse().ok()?;
            Some(Self {
                deadline,
                allocation_id,
            })
        };
        parse().ok_or("no earlier page has named it as the next")
    }
}

impl Serialize for RequestCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

type RequestPage = PageView<RequestView, RequestCursor>;

/// `GET /api/requests`: a page of the requests that wait, that which fails first at the top.
///
/// All requests have the same timeout, so that is the oldest.
pub async fn list<C: Cluster>(
    State(web): SharedWeb<C>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Json<RequestPage>, ApiError> {
    let (cursor, limit) = (query.cursor()?, query.limit()?);
    let page = web.cluster.ask(move |manager| waiting(manager, cursor, limit)).await?;
    Ok(Json(page))
}

fn waiting<A, G, E>(manager: &SlotManager<A, G, E>, cursor: Option<RequestCursor>, limit: usize) -> RequestPage
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    let mut requests = manager.pending_slot_requests().peekable();
    if let Some(cursor) = cursor {
        while requests
            .next_if(|request| request.deadline() < cursor.deadline)
            .is_some()
        {}
        // Several may fail at the same time. If the last of the former page has gone, the others
        // come again: twice is better than never.
        if manager.pending_slot_request(cursor.allocation_id).is_some() {
            let mut is_passed = false;
            while !is_passed && let Some(request) = requests.next_if(|request| request.deadline() == cursor.deadline) {
                is_passed = request.allocation_id() == cursor.allocation_id;
            }
        }
    }
    let page: Vec<_> = requests.by_ref().take(limit).collect();
    let next = requests.peek().and(page.last()).map(RequestCursor::after);
    PageView {
        now: manager.now(),
        items: page
            .iter()
            .filter_map(|request| find(manager, request.allocation_id()))
            .collect(),
        next,
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
pub async fn one<C: Cluster>(State(web): SharedWeb<C>, Id(id): Id) -> Result<Json<OneRequest>, ApiError> {
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
    let (status, slot_id) = match explanation.status {
        AllocationStatus::Waiting => ("waiting", None),
        AllocationStatus::InFlight { slot_id } => ("in_flight", Some(slot_id)),
        AllocationStatus::Granted { slot_id } => ("granted", Some(slot_id)),
    };
    Some(RequestView {
        allocation_id,
        job_id: explanation.job_id,
        target_address: pending.map(|request| Arc::clone(request.target_address())),
        group: request.map(|request| group(&request.waits_for)),
        reason: request.map(|request| reason(request, manager.now())),
        text,
        status,
        slot_id,
        explanation: explanation.request.map(ExplanationView::from),
    })
}
