//! Observations: the result of a call, its effects, and the state that the queries show.

use slot_manager::error::{RegistrationError, RequirementsError, SlotReportError, SlotRequestError, StartError};
use slot_manager::outcome::{
    AllocationStatus, BlockOutcome, CancelOutcome, RecoveryOutcome, RegistrationOutcome, ReleaseAnswerOutcome,
    RenewalOutcome, ReportOutcome, RequirementsOutcome, SlotAnswerOutcome, SlotFreedOutcome, SlotRequestOutcome,
    UnblockOutcome, UnregistrationOutcome, WorkerFailedOutcome,
};
use slot_manager::testing::Effect;
use slot_manager::view::SlotState;
use slot_manager::{
    AllocationId, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile, SlotId, Timestamp, WorkerRequestId,
};

/// The outcome and the effects of a command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Response {
    pub(crate) outcome: Outcome,
    pub(crate) effects: Vec<Effect>,
}

/// The result of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Start(Result<(), StartError>),
    /// `true` if it was started.
    Suspend(bool),
    Renew(RenewalOutcome),
    Recovery(RecoveryOutcome),
    Request(Result<SlotRequestOutcome, SlotRequestError>),
    Cancel(CancelOutcome),
    Declare(Result<RequirementsOutcome, RequirementsError>),
    /// The number of cancelled requests.
    UnregisterJob(usize),
    Free(SlotFreedOutcome),
    Register(Result<RegistrationOutcome, RegistrationError>),
    Unregister(UnregistrationOutcome),
    Report(Result<ReportOutcome, SlotReportError>),
    WorkerFailed(WorkerFailedOutcome),
    Block(BlockOutcome),
    Unblock(UnblockOutcome),
    AnswerRelease(ReleaseAnswerOutcome),
    AnswerInput(SlotAnswerOutcome),
    /// `true` if the attempt awaited an answer.
    Answered(bool),
    /// The number of handled answers and deadlines.
    Ran(usize),
    /// The manager was not called, or the call returns nothing.
    Nothing,
}

/// The state that the queries show.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) leader_id: Option<LeaderId>,
    /// `false` before the start, after the suspension and after the end of the leadership.
    pub(crate) is_leading: bool,
    /// Numbers of registered, free, blocked, in-flight and allocated slots.
    pub(crate) slots: [usize; 5],
    /// Numbers of bound and unbound promised slots.
    pub(crate) promised: [usize; 2],
    pub(crate) task_managers: Vec<TaskManagerView>,
    pub(crate) requests: Vec<RequestView>,
    /// By job.
    pub(crate) requirements: Vec<RequirementsView>,
    pub(crate) promises: Vec<PromiseView>,
    pub(crate) promised_workers: Vec<PromisedWorkerView>,
    /// The statuses of the allocations from number 1 on.
    pub(crate) allocations: Vec<Option<AllocationStatus>>,
    pub(crate) next_deadline: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskManagerView {
    pub(crate) resource_id: ResourceId,
    pub(crate) instance_id: InstanceId,
    pub(crate) worker_request: Option<WorkerRequestId>,
    pub(crate) idle_since: Option<Timestamp>,
    pub(crate) revision: Option<u64>,
    /// The total and the remaining resources of a dynamic worker.
    pub(crate) total: Option<ResourceProfile>,
    pub(crate) remaining: Option<ResourceProfile>,
    pub(crate) slots: Vec<SlotView>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PromisedWorkerView {
    pub(crate) worker_request: WorkerRequestId,
    pub(crate) total: ResourceProfile,
    pub(crate) remaining: ResourceProfile,
    pub(crate) expires_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SlotView {
    pub(crate) slot_id: SlotId,
    pub(crate) profile: ResourceProfile,
    pub(crate) state: SlotState,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RequestView {
    pub(crate) allocation_id: AllocationId,
    pub(crate) job_id: JobId,
    pub(crate) profile: ResourceProfile,
    pub(crate) deadline: Timestamp,
    pub(crate) failed_attempts: u32,
    pub(crate) in_flight_to: Option<SlotId>,
    pub(crate) backs_off_until: Option<Timestamp>,
    pub(crate) bound_to: Option<WorkerRequestId>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RequirementsView {
    pub(crate) job_id: JobId,
    pub(crate) revision: Option<u64>,
    pub(crate) excess: usize,
    pub(crate) required: Vec<RequiredView>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RequiredView {
    pub(crate) profile: ResourceProfile,
    pub(crate) declared: usize,
    pub(crate) charged: usize,
    pub(crate) delayed: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PromiseView {
    pub(crate) worker_request: WorkerRequestId,
    pub(crate) profile: ResourceProfile,
    pub(crate) bound_to: Option<AllocationId>,
    pub(crate) expires_at: Timestamp,
}
