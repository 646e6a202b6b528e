//! The last events, for people. The event log is for the checker.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tokio::sync::watch;

use super::SharedWeb;
use super::cluster::Cluster;

/// The most events that are kept.
const CAPACITY: usize = 200;

/// The time within which an event that happens again is the same event. A worker that is refused
/// tries again and again, and must not push all others out.
const AGAIN_MS: u64 = 60_000;

/// The subject of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    Leader,
    Worker,
    Request,
    Job,
    Operator,
}

/// An event that an operator may want to know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Grows from event to event. One that happens again gets a new number.
    pub number: u64,
    /// The wall time in milliseconds since 1970.
    pub at_ms: u64,
    /// The time when it happened first.
    pub first_at_ms: u64,
    /// How often it happened.
    pub times: u32,
    pub kind: EventKind,
    /// `true` if something went wrong.
    pub is_warning: bool,
    pub text: String,
}

/// The last 200 events. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Events(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ring: Mutex<VecDeque<Event>>,
    /// The number of the last event.
    count: watch::Sender<u64>,
}

impl Events {
    /// Notes a usual event.
    pub fn push(&self, kind: EventKind, text: impl Into<String>) {
        self.note(kind, false, text.into());
    }

    /// Notes an event that should not have happened.
    pub fn warn(&self, kind: EventKind, text: impl Into<String>) {
        self.note(kind, true, text.into());
    }

    fn note(&self, kind: EventKind, is_warning: bool, text: String) {
        let mut ring = self.lock();
        let number = *self.0.count.borrow() + 1;
        let at_ms = now_ms();
        let is_same =
            |event: &Event| event.kind == kind && event.text == text && at_ms.saturating_sub(event.at_ms) < AGAIN_MS;
        let before = ring.iter().rposition(is_same).and_then(|index| ring.remove(index));
        if ring.len() == CAPACITY {
            ring.pop_front();
        }
        ring.push_back(Event {
            number,
            at_ms,
            first_at_ms: before.as_ref().map_or(at_ms, |before| before.first_at_ms),
            times: before.map_or(0, |before| before.times).saturating_add(1),
            kind,
            is_warning,
            text,
        });
        self.0.count.send_replace(number);
    }

    /// Returns the events after that with a number, oldest first.
    pub fn after(&self, number: u64) -> Vec<Event> {
        let ring = self.lock();
        ring.iter().filter(|event| event.number > number).cloned().collect()
    }

    /// Returns a receiver of the number of events.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.count.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the wall time in milliseconds since 1970.
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// `GET /api/events`: the last events, oldest first.
pub async fn events<C: Cluster>(State(web): SharedWeb<C>) -> Json<Vec<Event>> {
    Json(web.events.after(0))
}
