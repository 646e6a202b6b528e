//! The web server: the REST interface, metrics, and the page for operators.
//!
//! It asks the owner of the slot manager for little at a time, so that it never delays scheduling.
//! It reads published numbers without asking the owner.

mod access;
mod blocked;
mod cluster;
mod error;
mod events;
mod explanation;
mod history;
mod jobs;
mod metrics;
mod numbers;
mod orders;
mod page;
mod paging;
mod parameters;
mod reason;
mod requests;
mod slots;
mod stream;
mod task_managers;
mod workers;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::access::Access;
pub use self::events::{EventKind, Events};

use self::cluster::Cluster;
use self::error::ApiError;
use self::history::History;
use crate::protocol::connections::Connections;
use crate::protocol::limits;

/// The most pages that are open at a time.
const STREAMS: usize = 100;

/// The part of the open files that connections may take. Most others are for peers.
const EIGHTHS_OF_FILES: u64 = 1;

/// Serves the web interface until `stop` is cancelled.
pub async fn serve<C: Cluster>(
    listener: TcpListener,
    cluster: C,
    access: Access,
    events: Events,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let history = History::default();
    let web = Web {
        cluster: cluster.clone(),
        events,
        history: history.clone(),
        streams: Arc::new(Semaphore::new(STREAMS)),
        stop: stop.clone(),
    };
    let sampling = history.record(cluster, stop.clone());
    let connections = Connections::new(listener, limits::WEB_CONNECTIONS, EIGHTHS_OF_FILES);
    let router = access::guard(router(web), access);
    let serving = axum::serve(connections, router).with_graceful_shutdown(stop.cancelled_owned());
    let (served, ()) = tokio::join!(serving.into_future(), sampling);
    Ok(served?)
}

/// All that the handlers share.
#[derive(Clone)]
struct Web<C> {
    cluster: C,
    events: Events,
    history: History,
    /// Bounds the streams.
    streams: Arc<Semaphore>,
    stop: CancellationToken,
}

fn router<C: Cluster>(web: Web<C>) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/style.css", get(page::style))
        .route("/js/{script}", get(page::script))
        .route("/health", get(numbers::health::<C>))
        .route("/leader", get(numbers::leader::<C>))
        .route("/metrics", get(metrics::metrics::<C>))
        .route("/api/overview", get(numbers::overview::<C>))
        .route("/api/history", get(history::history::<C>))
        .route("/api/events", get(events::events::<C>))
        .route("/api/stream", get(stream::stream::<C>))
        .route("/api/task-managers", get(task_managers::list::<C>))
        .route("/api/task-managers/{resource_id}", get(task_managers::one::<C>))
        .route("/api/task-managers/{resource_id}/block", post(orders::block::<C>))
        .route("/api/task-managers/{resource_id}/unblock", post(orders::unblock::<C>))
        .route("/api/task-managers/{resource_id}/drain", post(orders::drain::<C>))
        .route("/api/requests", get(requests::list::<C>))
        .route("/api/requests/{allocation_id}", get(requests::one::<C>))
        .route("/api/jobs", get(jobs::list::<C>))
        .route("/api/workers", get(workers::list::<C>))
        .route("/api/blocked", get(blocked::list::<C>))
        .fallback(async || ApiError::NotFound("there is no such address".to_owned()))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .with_state(web)
}

type SharedWeb<C> = State<Web<C>>;
