//! What can be seen of a manager: what a call returned, what it did to the outside, and the state that the queries show.

use slot_manager::testing::Effect;
use slot_manager::{
    AllocationId, AllocationStatus, BlockOutcome, CancelOutcome, FreeSlotOutcome, InstanceId, JobId, LeaderId,
    NotStarted, RegistrationOutcome, ReleaseAnswerOutcome, ReportOutcome, ResourceId, ResourceProfile, SlotId,
    SlotReportError, SlotRequestError, SlotRequestOutcome, SlotState, StartError, Timestamp, UnblockOutcome,
    UnregistrationOutcome, WorkerFailedOutcome, WorkerRequestId,
};

/// What a command led to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Response {
    pub(crate) outcome: Outcome,
    pub(crate) effects: Vec<Effect>,
}

/// What a call returned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Start(Result<(), StartError>),
    /// Whether it was started.
    Suspend(bool),
    Request(Result<SlotRequestOutcome, SlotRequestError>),
    Cancel(Result<CancelOutcome, NotStarted>),
    UnregisterJob(Result<usize, NotStarted>),
    Free(Result<FreeSlotOutcome, NotStarted>),
    Register(Result<RegistrationOutcome, SlotReportError>),
    Unregister(Result<UnregistrationOutcome, NotStarted>),
    Report(Result<ReportOutcome, SlotReportError>),
    WorkerFailed(Result<WorkerFailedOutcome, NotStarted>),
    Block(Result<BlockOutcome, NotStarted>),
    Unblock(Result<UnblockOutcome, NotStarted>),
    AnswerRelease(Result<ReleaseAnswerOutcome, NotStarted>),
    /// Whether the attempt waited for an answer.
    Answered(bool),
    /// How many answers and deadlines were handled.
    Ran(usize),
    /// The world changed and the manager was not called, or the call returns nothing.
    Nothing,
}

/// What the queries show.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) leader_id: Option<LeaderId>,
    /// Registered, free, blocked, in flight and allocated.
    pub(crate) slots: [usize; 5],
    /// Bound and unbound.
    pub(crate) promised: [usize; 2],
    pub(crate) task_managers: Vec<TaskManagerView>,
    pub(crate) requests: Vec<RequestView>,
    pub(crate) promises: Vec<PromiseView>,
    pub(crate) allocations: Vec<Option<AllocationStatus>>,
    pub(crate) next_deadline: Option<Timestamp>,
    pub(crate) awaited_answers: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskManagerView {
    pub(crate) resource_id: ResourceId,
    pub(crate) instance_id: InstanceId,
    pub(crate) worker_request: Option<WorkerRequestId>,
    pub(crate) idle_since: Option<Timestamp>,
    pub(crate) revision: Option<u64>,
    pub(crate) slots: Vec<SlotView>,
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
pub(crate) struct PromiseView {
    pub(crate) worker_request: WorkerRequestId,
    pub(crate) profile: ResourceProfile,
    pub(crate) covers: Option<AllocationId>,
    pub(crate) expires_at: Timestamp,
}
