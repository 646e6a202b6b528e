//! Snapshots: copies of views that own their data.

use std::sync::Arc;

use super::{SlotState, WorkerBackoff};
use crate::overview::SlotCounts;
use crate::{AllocationId, InstanceId, JobId, ResourceId, ResourceProfile, SlotId, Timestamp, WorkerRequestId};

/// A copy of the view of a registered task manager.
///
/// [`TaskManagerRegistration::snapshot`](super::TaskManagerRegistration::snapshot) returns it.
///
/// ```
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// use slot_manager::view::{SlotState, TaskManagerSnapshot};
/// # use slot_manager::outcome::RegistrationOutcome;
/// # use slot_manager::{
/// #     InstanceId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig, SlotReport, SlotStatus,
/// #     TaskExecutorConnection,
/// # };
///
/// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
/// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
/// # let report = SlotReport::new(vec![SlotStatus::free(SlotId::new("worker-1", 0), ResourceProfile::ZERO)]);
/// # let connection = TaskExecutorConnection::new("worker-1", InstanceId::from_u128(1), ScriptedGateway::new());
/// # assert_eq!(manager.register_task_manager(connection, &report)?, RegistrationOutcome::Registered);
/// let snapshots: Vec<TaskManagerSnapshot> = manager.task_managers().map(|one| one.snapshot()).collect();
/// assert_eq!(snapshots[0].resource_id.as_str(), "worker-1");
/// assert_eq!(snapshots[0].slots[0].state, SlotState::Free);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TaskManagerSnapshot {
    /// The id of the worker process.
    pub resource_id: ResourceId,
    /// The id of the registration.
    pub instance_id: InstanceId,
    /// The worker request that the worker named in its registration.
    pub worker_request: Option<WorkerRequestId>,
    /// `true` if the worker is blocked.
    pub is_blocked: bool,
    /// The backoff of the worker; `None` while its slots are offered.
    pub backoff: Option<WorkerBackoff>,
    /// The time since which no slot is in flight or allocated; `None` while one is.
    pub idle_since: Option<Timestamp>,
    /// The highest revision of all reports and acknowledgements; `None` if none had a revision.
    pub revision: Option<u64>,
    /// The total of a dynamic worker; `None` for a worker with slots of its own.
    pub total_resources: Option<ResourceProfile>,
    /// The slot that is cut from a dynamic worker for a request for [`ResourceProfile::UNKNOWN`].
    pub default_slot: Option<ResourceProfile>,
    /// What remains of a dynamic worker.
    pub remaining_resources: Option<ResourceProfile>,
    /// The numbers of its slots by state.
    pub slot_counts: SlotCounts,
    /// Its slots, by number.
    pub slots: Vec<TaskManagerSlotSnapshot>,
}

/// A copy of the view of a slot.
///
/// [`TaskManagerSlot::snapshot`](super::TaskManagerSlot::snapshot) returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TaskManagerSlotSnapshot {
    /// The id of the slot.
    pub slot_id: SlotId,
    /// The resources of the slot.
    pub resource_profile: ResourceProfile,
    /// The state of the slot.
    pub state: SlotState,
}

/// A copy of the view of a pending request.
///
/// [`PendingSlotRequest::snapshot`](super::PendingSlotRequest::snapshot) returns it.
///
/// ```
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// # use slot_manager::outcome::SlotRequestOutcome;
/// # use slot_manager::{
/// #     AllocationId, JobId, LeaderId, ResourceProfile, SlotManager, SlotManagerConfig, SlotRequest,
/// # };
///
/// # let config = SlotManagerConfig::default();
/// # let mut manager = SlotManager::<_, ScriptedGateway, _>::new(config, ManualScheduledExecutor::new())?;
/// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
/// # let allocation_id = AllocationId::from_u128(1);
/// # let request = SlotRequest::new(JobId::from_u128(7), allocation_id, ResourceProfile::ZERO, "job-master-7");
/// # assert!(matches!(manager.register_slot_request(request)?, SlotRequestOutcome::Accepted(_)));
/// let request = manager.pending_slot_request(allocation_id).ok_or("it is not pending")?;
/// let snapshot = request.snapshot();
/// assert_eq!((snapshot.job_id, snapshot.in_flight_to), (JobId::from_u128(7), None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PendingSlotRequestSnapshot {
    /// The allocation id, which identifies the request.
    pub allocation_id: AllocationId,
    /// The job that made the request.
    pub job_id: JobId,
    /// The least resources that a slot must have.
    pub resource_profile: ResourceProfile,
    /// The address to which the task executor offers the slot.
    pub target_address: Arc<str>,
    /// `true` if the manager made the request for the declared requirements of its job.
    pub is_declared: bool,
    /// The time at which the request fails; [`Timestamp::MAX`] means never.
    pub deadline: Timestamp,
    /// The number of failed attempts.
    pub failed_attempts: u32,
    /// The slot of the attempt in flight.
    pub in_flight_to: Option<SlotId>,
    /// The end of the backoff after failed attempts; `None` if the request does not back off.
    pub backs_off_until: Option<Timestamp>,
    /// The worker request of the promised slot to which the request is bound.
    pub bound_to: Option<WorkerRequestId>,
}

/// A copy of the view of a promised slot.
///
/// [`PromisedSlot::snapshot`](super::PromisedSlot::snapshot) returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PromisedSlotSnapshot {
    /// The worker request that the promise answers.
    pub worker_request: WorkerRequestId,
    /// The promised resources of the slot.
    pub resource_profile: ResourceProfile,
    /// The allocation id of the waiting request that is bound to the slot.
    pub bound_to: Option<AllocationId>,
    /// The time at which the promise expires; [`Timestamp::MAX`] means never.
    pub expires_at: Timestamp,
}

/// A copy of the view of a promised worker from which slots will be cut.
///
/// [`PromisedWorker::snapshot`](super::PromisedWorker::snapshot) returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PromisedWorkerSnapshot {
    /// The worker request that the promise answers.
    pub worker_request: WorkerRequestId,
    /// The promised resources of the whole worker.
    pub total: ResourceProfile,
    /// The slot that is promised for a request for [`ResourceProfile::UNKNOWN`].
    pub default_slot: Option<ResourceProfile>,
    /// The promised resources that are bound to no request.
    pub remaining_resources: ResourceProfile,
    /// The time at which the promise expires; [`Timestamp::MAX`] means never.
    pub expires_at: Timestamp,
}
