//! Task managers and their slots.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use slot_manager::view::{PageCursor, TaskManagerRegistration, TaskManagerSnapshot};
use slot_manager::{
    ResourceId, ResourceManagerActions, ScheduledExecutor, SlotManager, TaskExecutorGateway, Timestamp,
};

use super::SharedWeb;
use super::cluster::Cluster;
use super::error::ApiError;
use crate::protocol::limits::NAME_BYTES;

/// The most items of a page.
const LIMIT: usize = 100;

/// The most task managers that one question reads.
const READ: usize = 500;

/// The number of slots after which a page is full.
const SLOTS: usize = 2_000;

/// The part of a list that is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    cursor: Option<String>,
    limit: Option<usize>,
}

impl PageQuery {
    pub fn cursor(&self) -> Result<PageCursor, ApiError> {
        let Some(cursor) = &self.cursor else {
            return Ok(PageCursor::default());
        };
        cursor
            .parse()
            .map_err(|error| ApiError::Invalid(format!("cursor: {error}")))
    }

    pub fn limit(&self) -> Result<usize, ApiError> {
        match self.limit.unwrap_or(LIMIT) {
            limit @ 1..=LIMIT => Ok(limit),
            limit => Err(ApiError::Invalid(format!(
                "limit: {limit} is not a number from 1 to {LIMIT}"
            ))),
        }
    }
}

/// A part of a list.
#[derive(Serialize)]
pub struct PageView<T> {
    /// The time of the answer, on the clock of all other times in it.
    pub now: Timestamp,
    pub items: Vec<T>,
    /// The cursor of the next page; `null` if this page is the last.
    pub next: Option<PageCursor>,
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
}

/// The task managers to list.
#[derive(Clone)]
struct Filter {
    search: String,
    is_troubled: bool,
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
        (!self.is_troubled || is_troubled()) && (self.search.is_empty() || is_found())
    }
}

/// `GET /api/task-managers`: a page of task managers with their slots.
pub async fn list<C: Cluster>(
    State(web): SharedWeb<C>,
    Query(query): Query<ListQuery>,
) -> Result<Json<PageView<TaskManagerSnapshot>>, ApiError> {
    let ListQuery {
        cursor,
        limit,
        search,
        troubled,
    } = query;
    let page = PageQuery { cursor, limit };
    let (mut cursor, limit) = (page.cursor()?, page.limit()?);
    let filter = Filter {
        search: search.unwrap_or_default().to_lowercase(),
        is_troubled: troubled,
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
) -> PageView<TaskManagerSnapshot>
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
            let snapshot = task_manager.snapshot();
            slots += snapshot.slots.len();
            items.push(snapshot);
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
    task_manager: TaskManagerSnapshot,
}

/// `GET /api/task-managers/{resource-id}`: one task manager.
pub async fn one<C: Cluster>(
    State(web): SharedWeb<C>,
    Path(id): Path<String>,
) -> Result<Json<OneTaskManager>, ApiError> {
    let resource_id = resource_id(&id)?;
    let found = web.cluster.ask(move |manager| {
        let task_manager = manager.task_manager_of(&resource_id)?.snapshot();
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
