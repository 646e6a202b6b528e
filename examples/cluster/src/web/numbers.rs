//! The published numbers, and who leads.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use slot_manager::overview::Overview;

use super::SharedWeb;
use super::cluster::Cluster;
use crate::election::Leader;
use crate::protocol::Epoch;

/// The leader, as this process knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeaderView {
    pub epoch: Epoch,
    /// The address at which task executors and job masters reach it.
    pub address: String,
    /// The address of its web server, if it has one.
    pub web: Option<String>,
}

impl From<Leader> for LeaderView {
    fn from(leader: Leader) -> Self {
        let Leader { epoch, addresses } = leader;
        Self {
            epoch,
            address: addresses.grpc,
            web: addresses.web,
        }
    }
}

/// The published numbers.
#[derive(Serialize)]
pub struct Numbers {
    /// `true` if this process leads.
    is_leading: bool,
    /// The present leadership of this process.
    epoch: Option<Epoch>,
    leader: Option<LeaderView>,
    /// Grows with each change of the slot manager.
    changes: u64,
    /// The inputs that wait in the mailbox.
    waiting_inputs: usize,
    /// The sessions of job masters.
    job_masters: usize,
    overview: Overview,
}

impl Numbers {
    pub fn of(cluster: &impl Cluster) -> Self {
        let published = cluster.published();
        // With the numbers: the election is ahead of them.
        let epoch = published.epoch;
        Self {
            is_leading: epoch.is_some(),
            epoch,
            leader: cluster.leader().map(LeaderView::from),
            changes: published.changes,
            waiting_inputs: published.waiting_inputs,
            job_masters: published.job_masters,
            overview: published.overview.clone(),
        }
    }
}

/// `GET /api/overview`: the published numbers.
pub async fn overview<C: Cluster>(State(web): SharedWeb<C>) -> Response {
    let numbers = Numbers::of(&web.cluster);
    match numbers.is_leading {
        true => Json(numbers).into_response(),
        false => web.cluster.not_leading().into_response(),
    }
}

/// The age at which the numbers show that their owner is stuck. It publishes several times a second.
const STUCK: Duration = Duration::from_secs(10);

/// `GET /health`: an error if the owner of the slot manager does not act any more.
pub async fn health<C: Cluster>(State(web): SharedWeb<C>) -> (StatusCode, &'static str) {
    match web.cluster.published().at {
        Some(at) if at.elapsed() >= STUCK => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the owner of the slot manager is stuck\n",
        ),
        _ => (StatusCode::OK, "ok\n"),
    }
}

/// Who leads.
#[derive(Serialize)]
pub struct WhoLeads {
    is_leading: bool,
    leader: Option<LeaderView>,
}

/// `GET /leader`: the leader that this process knows, if any.
pub async fn leader<C: Cluster>(State(web): SharedWeb<C>) -> Json<WhoLeads> {
    Json(WhoLeads {
        is_leading: web.cluster.epoch().is_some(),
        leader: web.cluster.leader().map(LeaderView::from),
    })
}
