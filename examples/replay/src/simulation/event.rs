//! What can happen in a replay.

use slot_manager::{
    Acknowledge, AllocationId, FreeSlot, InstanceId, RequestSlot, SlotAllocationError, SlotId, SlotReport,
    WorkerRequestId,
};

use crate::effects::AnswerSender;
use crate::machines::Start;

/// Something that is going to happen.
pub(super) enum Event {
    PodCreated {
        job: usize,
    },
    PodDeleted {
        job: usize,
    },
    /// A job that did not get a slot gives up.
    PodFails {
        job: usize,
    },
    /// A job that lost a slot asks for another.
    AskAgain {
        job: usize,
    },

    /// To a task executor, from the manager.
    SlotRequestArrives {
        start: Start,
        request: RequestSlot,
        answer: AnswerSender,
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
    /// A task executor may have slots that nobody uses.
    SlotTimeout {
        start: Start,
    },

    /// To the manager, from a task executor.
    AnswerArrives {
        answer: AnswerSender,
        result: Result<Acknowledge, SlotAllocationError>,
    },
    SlotFreedArrives {
        slot_id: SlotId,
        allocation_id: AllocationId,
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
    /// A random node fails.
    Outage {
        machine: usize,
    },
    /// The manager hears that a connection is gone.
    ConnectionLost {
        instance_id: InstanceId,
    },
    /// A task executor comes back after an outage.
    Returns {
        start: Start,
    },
}

impl Event {
    /// Whether it goes on happening for as long as there are pods, whatever they do.
    pub(super) fn is_background(&self) -> bool {
        matches!(self, Self::Heartbeat { .. } | Self::Outage { .. })
    }

    /// Whether it happens between a job and a task executor only.
    pub(super) fn passes_the_manager_by(&self) -> bool {
        matches!(
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
