//! The numbers of the last minutes, for the chart.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::SharedWeb;
use super::cluster::Cluster;
use super::events::now_ms;
use crate::resource_manager::handle::Published;

/// The time between two samples.
const INTERVAL: Duration = Duration::from_secs(1);

/// The most samples: ten minutes.
const CAPACITY: usize = 600;

/// The numbers of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// The wall time in milliseconds since 1970.
    at_ms: u64,
    /// Slots in flight or allocated.
    used: usize,
    free: usize,
    promised: usize,
    /// Requests that wait.
    waiting: usize,
}

impl Sample {
    fn of(published: &Published) -> Self {
        let overview = &published.overview;
        let slots = overview.slots.counts();
        Self {
            at_ms: now_ms(),
            used: slots.allocated + slots.in_flight,
            free: slots.free,
            promised: overview.promised.slots,
            waiting: overview.pending_requests,
        }
    }
}

/// The samples of the last minutes. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<VecDeque<Sample>>>);

impl History {
    /// Samples the published numbers until `stop` is cancelled.
    pub async fn record<C: Cluster>(self, cluster: C, stop: CancellationToken) {
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => self.push(Sample::of(&cluster.published())),
            }
        }
    }

    fn push(&self, sample: Sample) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == CAPACITY {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    fn samples(&self) -> Vec<Sample> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().copied().collect()
    }
}

/// `GET /api/history`: a sample a second of the last ten minutes, oldest first.
pub async fn history<C: Cluster>(State(web): SharedWeb<C>) -> Json<Vec<Sample>> {
    Json(web.history.samples())
}
