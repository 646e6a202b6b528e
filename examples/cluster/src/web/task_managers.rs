//! Task managers and their slots.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use slot_manager::overview::SlotCounts;
use slot_manager::view::{BackoffReason, PageCursor, TaskManagerRegistration, WorkerBackoff};
use slot_manager::{
    InstanceId, ResourceId, ResourceManagerActions, ResourceProfile, ScheduledExecutor, SlotManager,
    TaskExecutorGateway, Timestamp, WorkerRequestId,
};

use super::SharedWeb;
use super::cluster::Cluster;
use super::error::ApiError;
use super::paging::{PageQuery, PageView};
use super::parameters::{Id, Parameters};
use super::slots::SlotView;
use crate::protocol::limits::NAME_BYTES;

/// The most task managers that one question reads.
const READ: usize = 500;

/// The number of slots after which a page is full.
const SLOTS: usize = 2_000;

/// A task manager and its slots.
#[derive(Serialize)]
pub struct TaskManagerView {
    resource_id: ResourceId,
    instance_id: InstanceId,
    /// The worker request that it was started for, if it said so.
    worker_request: Option<WorkerRequestId>,
    is_blocked: bool,
    backoff: Option<BackoffView>,
    /// The time since when none of its slots is used.
    idle_since: Option<Timestamp>,
    /// The total of a dynamic worker, from which its slots are cut; `None` for a static one.
    total_resources: Option<ResourceProfile>,
    /// What remains of the total; `None` for a static worker.
    remaining_resources: Option<ResourceProfile>,
    slot_counts: SlotCounts,
    slots: Vec<SlotView>,
}

/// The time for which a worker is not tried.
#[derive(Serialize)]
struct BackoffView {
    /// `unreachable` or `refusals`.
    reason: &'static str,
    until: Timestamp,
}

impl From<&TaskManagerRegistration<'_>> for TaskManagerView {
    fn from(task_manager: &TaskManagerRegistration<'_>) -> Self {
        Self {
            resource_id: task_manager.resource_id().clone(),
            instance_id: task_manager.instance_id(),
            worker_request: task_manager.worker_request(),
            is_blocked: task_manager.is_blocked(),
            backoff: task_manager.backoff().map(BackoffView::from),
            idle_since: task_manager.idle_since(),
            total_resources: task_manager.total_resources().cloned(),
            remaining_resources: task_manager.remaining_resources(),
            slot_counts: task_manager.slot_counts(),
            slots: task_manager.slots().map(|slot| slot.snapshot().into()).collect(),
        }
    }
}

impl From<WorkerBackoff> for BackoffView {
    fn from(backoff: WorkerBackoff) -> Self {
        let reason = match backoff.reason {
            BackoffReason::Unreachable => "unreachable",
            BackoffReason::Refusals => "refusals",
            _ => "other",
        };
        let until = backoff.until;
        Self { reason, until }
    }
}

/// The part of the task managers that is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    cursor: Option<String>,
    limit: Option<usize>,
    /// A part of the resource id, in any case.
    search: Option<String>,
    /// Only those that back off or are blocked.
    #[serde(default)]
    troubled: bool,
    /// Only dynamic workers.
    #[serde(default)]
    dynamic: bool,
}

/// The task managers to list.
#[derive(Clone)]
struct Filter {
    search: String,
    is_troubled: bool,
    is_dynamic: bool,
}

impl Filter {
    fn matches(&self, task_manager: &TaskManagerRegistration<'_>) -> bool {
        let is_troubled = || task_manager.is_blocked() || task_manager.backoff().is_some();
        let is_found = || {
            task_manager
                .resource_id()
                .as_str()
                .to_lowercase()
                .contains(&self.search)
        };
        let is_of_kind = !self.is_dynamic || task_manager.total_resources().is_some();
        is_of_kind && (!self.is_troubled || is_troubled()) && (self.search.is_empty() || is_found())
    }
}

/// `GET /api/task-managers`: a page of task managers with their slots.
pub async fn list<C: Cluster>(
    State(web): SharedWeb<C>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<PageView<TaskManagerView, PageCursor>>, ApiError> {
    let ListQuery {
        cursor,
        limit,
        search,
        troubled,
        dynamic,
    } = query;
    let page = PageQuery { cursor, limit };
    let (mut cursor, limit) = (page.cursor()?.unwrap_or_default(), page.limit()?);
    let filter = Filter {
        search: search.unwrap_or_default().to_lowercase(),
        is_troubled: troubled,
        is_dynamic: dynamic,
    };
    let mut found = Vec::new();
    // Few match: one question reads some, so that the owner does something else in between.
    loop {
        let (filter, wanted) = (filter.clone(), limit - found.len());
        let part = web
            .cluster
            .ask(move |manager| read(manager, cursor, wanted, &filter))
            .await?;
        found.extend(part.items);
        let slots: usize = found.iter().map(|task_manager| task_manager.slots.len()).sum();
        match part.next {
            Some(next) if found.len() < limit && slots < SLOTS => cursor = next,
            next => {
                return Ok(Json(PageView {
                    now: part.now,
                    items: found,
                    next,
                }));
            }
        }
    }
}

/// Reads some task managers, and returns those that match.
fn read<A, G, E>(
    manager: &SlotManager<A, G, E>,
    cursor: PageCursor,
    limit: usize,
    filter: &Filter,
) -> PageView<TaskManagerView, PageCursor>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    let (mut items, mut slots, mut next) = (Vec::new(), 0, Some(cursor));
    for _ in 0..READ {
        let Some(cursor) = next.filter(|_| items.len() < limit && slots < SLOTS) else {
            break;
        };
        let page = manager.task_managers_from(cursor, 1);
        next = page.next;
        for task_manager in page.items.iter().filter(|task_manager| filter.matches(task_manager)) {
            let view = TaskManagerView::from(task_manager);
            slots += view.slots.len();
            items.push(view);
        }
    }
    PageView {
        now: manager.now(),
        items,
        next,
    }
}

/// One task manager, and the time of the answer.
#[derive(Serialize)]
pub struct OneTaskManager {
    now: Timestamp,
    #[serde(flatten)]
    task_manager: TaskManagerView,
}

/// `GET /api/task-managers/{resource-id}`: one task manager.
pub async fn one<C: Cluster>(State(web): SharedWeb<C>, Id(id): Id) -> Result<Json<OneTaskManager>, ApiError> {
    let resource_id = resource_id(&id)?;
    let found = web.cluster.ask(move |manager| {
        let task_manager = (&manager.task_manager_of(&resource_id)?).into();
        let now = manager.now();
        Some(OneTaskManager { now, task_manager })
    });
    found.await?.map(Json).ok_or_else(|| not_registered(&id))
}

/// Returns the id of a worker if it is not too long.
pub fn resource_id(id: &str) -> Result<ResourceId, ApiError> {
    match id.len() {
        1..=NAME_BYTES => Ok(ResourceId::new(id)),
        _ => Err(ApiError::Invalid(format!(
            "the id of a worker has 1 to {NAME_BYTES} bytes"
        ))),
    }
}

pub fn not_registered(id: &str) -> ApiError {
    ApiError::NotFound(format!("no worker {id:?} is registered"))
}
