//! What happens next, in virtual time.

use std::collections::BTreeMap;

use slot_manager::{ReleaseQuestion, ResourceProfile, Timestamp, WorkerRequestId};

use crate::cluster::network::gateway::Reply;
use crate::cluster::network::transport::Envelope;

#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Something happens by itself: a job wants something, a task executor reports, something fails.
    Chance,
    Arrival(Box<Envelope>),
    /// A hung task executor goes on.
    Resume {
        worker: usize,
    },
    /// A task executor that crashed is started anew.
    Restart {
        worker: usize,
    },
    /// Somebody notices that this process is gone.
    LossNoticed {
        worker: usize,
        process: u64,
    },
    /// A slot may have been unused for too long.
    SlotTimeout {
        worker: usize,
    },
    /// A new worker is up.
    WorkerStarted {
        leadership: u128,
        worker_request: WorkerRequestId,
        slots: Vec<ResourceProfile>,
    },
    /// A task executor knows whether it can be stopped.
    ReleaseDecided {
        worker: usize,
        process: u64,
        question: ReleaseQuestion,
    },
    /// A caller sees that its connection is gone.
    ConnectionBroken(Reply),
    /// A leadership begins.
    LeaderElected,
    /// A task executor hears of the leader.
    LeaderKnown {
        worker: usize,
    },
}

/// Events in the order in which they happen, equal ones as they were scheduled.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    events: BTreeMap<(Timestamp, u64), Event>,
    scheduled: u64,
}

impl EventQueue {
    pub(crate) fn schedule(&mut self, at: Timestamp, event: Event) {
        self.scheduled += 1;
        self.events.insert((at, self.scheduled), event);
    }

    pub(crate) fn next_time(&self) -> Option<Timestamp> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn take_next(&mut self) -> Option<Event> {
        self.events.pop_first().map(|(_, event)| event)
    }
}
