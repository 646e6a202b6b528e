//! The events of a replay.

use slot_manager::message::{AllocateSlot, AttemptId, FreeSlot, SlotFreed, SlotResult};
use slot_manager::{AllocationId, InstanceId, SlotId, SlotReport, WorkerRequestId};

use crate::machines::Start;

/// A future event.
pub(super) enum Event {
    PodCreated {
        job: usize,
    },
    PodDeleted {
        job: usize,
    },
    /// A job ends because a request of it failed.
    PodFails {
        job: usize,
    },
    /// A job that lost a slot requests another.
    AskAgain {
        job: usize,
    },

    /// To a task executor, from the manager.
    SlotRequestArrives {
        start: Start,
        request: AllocateSlot,
    },
    FreeSlotArrives {
        start: Start,
        request: FreeSlot,
    },
    /// To a task executor, from a job.
    Activated {
        slot_id: SlotId,
        allocation_id: AllocationId,
    },
    GivenBack {
        slot_id: SlotId,
        allocation_id: AllocationId,
    },
    /// A task executor checks for unused slots.
    SlotTimeout {
        start: Start,
    },

    /// To the manager, from a task executor.
    AnswerArrives {
        attempt_id: AttemptId,
        result: SlotResult,
    },
    SlotFreedArrives {
        freed: SlotFreed,
    },
    ReportArrives {
        instance_id: InstanceId,
        report: SlotReport,
    },

    Heartbeat {
        start: Start,
    },
    WorkerStarts {
        machine: usize,
        worker_request: WorkerRequestId,
    },
    WorkerFails {
        machine: usize,
        worker_request: WorkerRequestId,
    },
    /// A machine can be started again.
    MachineStopped {
        machine: usize,
    },
    /// A node fails.
    Outage {
        machine: usize,
    },
    /// The manager hears that a connection is lost.
    ConnectionLost {
        instance_id: InstanceId,
    },
    /// A task executor comes back after an outage.
    Returns {
        start: Start,
    },
}

impl Event {
    /// Returns whether the event repeats as long as there are pods.
    pub(super) fn is_background(&self) -> bool {
        matches!(self, Self::Heartbeat { .. } | Self::Outage { .. })
    }

    /// Returns whether the manager takes part in the event.
    pub(super) fn reaches_manager(&self) -> bool {
        !matches!(
            self,
            Self::SlotRequestArrives { .. }
                | Self::FreeSlotArrives { .. }
                | Self::Activated { .. }
                | Self::GivenBack { .. }
                | Self::SlotTimeout { .. }
                | Self::Heartbeat { .. }
                | Self::MachineStopped { .. }
                | Self::Outage { .. }
        )
    }
}
