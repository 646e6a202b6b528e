//! The mailbox of the task that owns the slot manager.

use slot_manager::message::{AttemptId, ReleaseCheck, ReleaseDecision, SlotFreed, SlotResult};
use slot_manager::{AllocationId, InstanceId, JobId, ResourceRequirements, SlotReport, SlotRequest, WorkerRequestId};

use super::Manager;
use super::outbox::Outbox;
use crate::protocol::{Epoch, Registration, v1};
use crate::provisioner::News;

/// The most inputs that wait. A sender waits until there is room, which slows its peer only.
pub const CAPACITY: usize = 4_096;

/// An input and the leadership that it is meant for. An input of another leadership is dropped.
pub struct Envelope {
    pub epoch: Epoch,
    pub input: Input,
}

/// An input of the owner of the slot manager.
pub enum Input {
    /// A task executor registers. If it is refused, its session ends.
    Register {
        registration: Registration,
        worker_request: Option<WorkerRequestId>,
        report: SlotReport,
        outbox: Outbox<v1::ToTaskExecutor>,
    },
    Reported {
        instance_id: InstanceId,
        report: SlotReport,
    },
    Answered {
        attempt: AttemptId,
        result: SlotResult,
    },
    Freed(SlotFreed),
    ReleaseAnswered {
        check: ReleaseCheck,
        decision: ReleaseDecision,
    },
    /// The session of a task executor has ended. Sent once for each session.
    TaskExecutorGone {
        instance_id: InstanceId,
        cause: String,
    },
    /// A job master registers. A later session of one job replaces the earlier one.
    JobMaster {
        job_id: JobId,
        session: u64,
        /// Grants that the job believes to have.
        grants: Vec<AllocationId>,
        outbox: Outbox<v1::ToJobMaster>,
    },
    Requested(SlotRequest),
    Cancelled {
        job_id: JobId,
        allocation_id: AllocationId,
    },
    /// A job declares the slots that it needs in all.
    Declared(ResourceRequirements),
    /// The session of a job master has ended. Sent once for each session.
    JobMasterGone {
        job_id: JobId,
        session: u64,
    },
    Provisioner(News),
    /// A question or an order of an operator. It returns at once.
    Query(Box<dyn FnOnce(&mut Manager) + Send>),
}
