//! The queue of future events, in virtual time.

use std::collections::BTreeMap;

use slot_manager::message::ReleaseCheck;
use slot_manager::{ResourceProfile, Timestamp, WorkerRequestId};

use crate::cluster::network::gateway::Reply;
use crate::cluster::network::transport::Envelope;

#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A random event: a job acts, a task executor reports, an operator acts, or a fault happens.
    Random,
    Arrival(Box<Envelope>),
    /// A hung task executor continues.
    Resume {
        worker: usize,
    },
    /// A crashed task executor starts again.
    Restart {
        worker: usize,
    },
    /// Jobs notice that this process is gone.
    LossNoticed {
        worker: usize,
        process: u64,
    },
    /// The slot timeout of a task executor.
    SlotTimeout {
        worker: usize,
    },
    /// A requested worker has started.
    WorkerStarted {
        leadership: u128,
        worker_request: WorkerRequestId,
        slots: Vec<ResourceProfile>,
    },
    /// A task executor has decided a release check.
    ReleaseDecided {
        worker: usize,
        process: u64,
        question: ReleaseCheck,
    },
    /// A caller sees that its connection is broken.
    ConnectionBroken(Reply),
    /// A leadership begins.
    LeaderElected,
    /// The leader renews its lease.
    LeaseRenewal {
        leadership: u128,
    },
    /// The stopped process of the leader continues.
    LeaderContinues,
    /// A task executor hears of the leader.
    LeaderKnown {
        worker: usize,
    },
}

/// Events in the order of their times. Events of one time keep the order in which they were
/// scheduled.
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
