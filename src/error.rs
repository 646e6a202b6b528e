//! The errors: an enum for each family of calls, and [`SlotManagerError`] for all calls.

use std::sync::Arc;

use crate::config::Limit;
use crate::message::RequestFailure;
use crate::outcome::AllocationStatus;
use crate::{AllocationId, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile, SlotId};

pub use crate::config::config_error::ConfigError;
pub use crate::config::worker_description::WorkerDescriptionError;
pub use crate::id::ParseIdError;
pub use crate::resource_profile::ResourceProfileError;
pub use crate::resource_requirements::TooManySlots;
pub use crate::slot_manager::invariants::InvariantViolation;

/// The error of an input without a leadership: before [`start`](crate::SlotManager::start), after
/// [`suspend`](crate::SlotManager::suspend), or after the end of a leadership that was started
/// [with an end](crate::SlotManager::start_until). Nothing changed.
///
/// ```
/// use slot_manager::error::NotStarted;
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// use slot_manager::{InstanceId, SlotManager, SlotManagerConfig, SlotReport};
///
/// let config = SlotManagerConfig::default();
/// let mut manager =
///     SlotManager::<RecordingActions, ScriptedGateway, _>::new(config, ManualScheduledExecutor::new())?;
/// let refused = manager.report_slot_status(InstanceId::from_u128(1), &SlotReport::default());
/// assert_eq!(refused, Err(NotStarted.into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[error("the slot manager is not started")]
pub struct NotStarted;

/// The error of [`start`](crate::SlotManager::start). Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum StartError {
    /// The manager is started already. Call [`suspend`](crate::SlotManager::suspend) first.
    #[error("the slot manager is already started by leader {leader_id}")]
    AlreadyStarted {
        /// The present leadership.
        leader_id: LeaderId,
    },
}

/// The error of [`register_slot_request`](crate::SlotManager::register_slot_request).
///
/// ```
/// use slot_manager::error::SlotRequestError;
///
/// /// Returns `true` if the job may register the same request again later.
/// fn may_retry(error: &SlotRequestError) -> bool {
///     match error {
///         SlotRequestError::NotStarted(_) | SlotRequestError::TooManyPendingRequests { .. } => true,
///         _ => false,
///     }
/// }
///
/// assert!(may_retry(&SlotRequestError::TooManyPendingRequests { limit: 1000 }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum SlotRequestError {
    /// See [`NotStarted`]. Nothing changed. Let the job request from the leader.
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    /// The allocation id is known with another job. Before the grant, another profile conflicts
    /// too. Nothing changed. Let the job request under another id.
    #[error("allocation {allocation_id} is already known with another {conflict}; it is {status}")]
    Conflict {
        /// The allocation id.
        allocation_id: AllocationId,
        /// The difference between the requests.
        conflict: Conflict,
        /// The status of the known allocation.
        status: AllocationStatus,
    },
    /// The number of pending requests has reached
    /// [`max_pending_requests`](crate::SlotManagerConfig::max_pending_requests). Nothing changed.
    /// Let the job request again later.
    #[error("the limit of {limit} pending slot requests is reached")]
    TooManyPendingRequests {
        /// The configured limit.
        limit: usize,
    },
    /// The job declares its requirements, and cannot request slots one by one as well. Nothing
    /// changed. Let the job declare one slot more.
    #[error("job {job_id} declares its requirements, and cannot request single slots")]
    Declares {
        /// The job.
        job_id: JobId,
    },
    /// The request was accepted and failed within the call. It is forgotten, and no notification of
    /// the failure follows: tell the job. Its effects until then have gone out through the traits.
    #[error("the slot request for allocation {allocation_id} failed: {failure}")]
    Failed {
        /// The allocation id.
        allocation_id: AllocationId,
        /// The cause of the failure.
        failure: Box<RequestFailure>,
    },
}

/// The error of [`declare_requirements`](crate::SlotManager::declare_requirements). Nothing changed.
///
/// ```
/// use slot_manager::JobId;
/// use slot_manager::error::RequirementsError;
///
/// /// Returns `true` if the job may declare the same again later.
/// fn may_retry(error: &RequirementsError) -> bool {
///     matches!(error, RequirementsError::NotStarted(_) | RequirementsError::TooManyPendingRequests { .. })
/// }
///
/// assert!(!may_retry(&RequirementsError::HasSlotRequests { job_id: JobId::from_u128(7) }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum RequirementsError {
    /// See [`NotStarted`]. Let the job declare to the leader.
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    /// The job would lack more slots than before, and the number of pending requests would exceed
    /// [`max_pending_requests`](crate::SlotManagerConfig::max_pending_requests). Let the job declare
    /// again later.
    #[error("the limit of {limit} pending slot requests would be exceeded")]
    TooManyPendingRequests {
        /// The configured limit.
        limit: usize,
    },
    /// The job has pending requests of single slots. Let it cancel them first.
    #[error("job {job_id} has requested single slots, and cannot declare its requirements")]
    HasSlotRequests {
        /// The job.
        job_id: JobId,
    },
}

/// The difference between a request and the known allocation with its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Conflict {
    /// The job differs.
    Job,
    /// The resource profile differs.
    ResourceProfile,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Job => "job",
            Self::ResourceProfile => "resource profile",
        })
    }
}

/// The error of [`register_task_manager`](crate::SlotManager::register_task_manager). Nothing
/// changed, and the connection is dropped.
///
/// ```
/// use slot_manager::config::Limit;
/// use slot_manager::error::RegistrationError;
///
/// /// Returns `true` if the worker must be stopped, because it would be refused again.
/// fn must_stop_worker(error: &RegistrationError) -> bool {
///     !matches!(
///         error,
///         RegistrationError::NotStarted(_)
///             | RegistrationError::OtherLeader { .. }
///             | RegistrationError::Superseded { .. }
///     )
/// }
///
/// assert!(must_stop_worker(&RegistrationError::LimitReached { limit: Limit::Slots }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum RegistrationError {
    /// See [`NotStarted`]. Let the worker register with the leader.
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    /// The task executor registers with [another
    /// leader](crate::TaskExecutorConnection::with_leader). Let it register with the present one.
    #[error("the registration is for leader {named}, {present} is the leader")]
    OtherLeader {
        /// The leader that the registration names.
        named: LeaderId,
        /// The leader of this manager.
        present: LeaderId,
    },
    /// The slots of the worker would exceed a limit. Stop the worker.
    #[error("the slots of the worker would exceed the {limit} limit")]
    LimitReached {
        /// The limit.
        limit: Limit,
    },
    /// The instance id belongs to a registration of another worker. Give each registration an
    /// instance id of its own.
    #[error("instance {instance_id} is a registration of {registered}, not of {resource_id}")]
    InstanceOfAnotherWorker {
        /// The instance id.
        instance_id: InstanceId,
        /// The worker that is registered with the instance id.
        registered: ResourceId,
        /// The worker that tried to register with it.
        resource_id: ResourceId,
    },
    /// The registration is late: another instance of the worker has replaced this one. Drop it. The
    /// worker itself is registered or was lost since.
    #[error("instance {instance_id} was replaced by a later registration of its worker")]
    Superseded {
        /// The instance that was replaced.
        instance_id: InstanceId,
    },
    /// The report is invalid as a whole. Refuse the worker: its messages are wrong.
    #[error(transparent)]
    InvalidReport(#[from] InvalidReport),
}

/// The error of [`report_slot_status`](crate::SlotManager::report_slot_status). Nothing changed.
///
/// ```
/// use slot_manager::error::{InvalidReport, SlotReportError};
/// use slot_manager::SlotId;
///
/// let error = SlotReportError::from(InvalidReport::DuplicateSlot { slot_id: SlotId::new("worker-1", 0) });
/// assert_eq!(error.to_string(), "the report names slot worker-1_0 twice");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum SlotReportError {
    /// See [`NotStarted`]. Let the task executor report to the leader.
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    /// The report is invalid as a whole. Close the connection: its messages are wrong.
    #[error(transparent)]
    InvalidReport(#[from] InvalidReport),
}

/// The reason why a slot report is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum InvalidReport {
    /// The report names a slot of another worker.
    #[error("the report of {resource_id} names slot {slot_id} of another worker")]
    ForeignSlot {
        /// The worker that sent the report.
        resource_id: ResourceId,
        /// The slot of another worker.
        slot_id: SlotId,
    },
    /// The report names a slot twice.
    #[error("the report names slot {slot_id} twice")]
    DuplicateSlot {
        /// The slot.
        slot_id: SlotId,
    },
    /// The report of a dynamic worker names a free slot. It may name only slots that are held.
    #[error("the report names the dynamic slot {slot_id} as free")]
    FreeDynamicSlot {
        /// The slot.
        slot_id: SlotId,
    },
    /// The report of a dynamic worker names a slot with a number below 2³¹, or the report of
    /// another worker names one with a number from there on.
    #[error("slot {slot_id} is of the other kind, static or dynamic, than its report")]
    MixedSlots {
        /// The slot.
        slot_id: SlotId,
    },
    /// The worker is static and its report is dynamic, or the reverse. A worker may change that
    /// with a new registration.
    #[error("worker {resource_id} has changed between static and dynamic within one registration")]
    KindChanged {
        /// The worker.
        resource_id: ResourceId,
    },
    /// The total of a dynamic worker is [`UNKNOWN`](crate::ResourceProfile::UNKNOWN).
    #[error("the total resources of worker {resource_id} must not be UNKNOWN")]
    UnknownTotal {
        /// The worker.
        resource_id: ResourceId,
    },
}

/// The answer to [`request_slot`](crate::TaskExecutorGateway::request_slot) of a task executor that
/// did not give the slot to the allocation.
///
/// ```
/// use slot_manager::error::SlotAllocationError;
///
/// let error = SlotAllocationError::rejected("the disk is full");
/// assert_eq!(error.to_string(), "refused by the task executor: the disk is full");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum SlotAllocationError {
    /// Another allocation holds the slot. This is no failure: the manager notes the holder, and the
    /// request looks for another slot. For a slot of a dynamic worker it counts as a failed attempt of
    /// the request.
    #[error("the slot is held by allocation {allocation_id} of job {job_id}")]
    Occupied {
        /// The allocation that holds the slot.
        allocation_id: AllocationId,
        /// The job of that allocation.
        job_id: JobId,
    },
    /// The task executor refused. That may be the fault of the request: the worker backs off only
    /// if it refuses two different requests in a row.
    #[error("refused by the task executor: {reason}")]
    Rejected {
        /// The reason of the task executor.
        reason: Arc<str>,
    },
    /// A dynamic worker has less left than the request needs. If that explains the refusal, it is no
    /// failure: until its next report the manager cuts no more from the worker than it has left.
    /// Otherwise it counts as [`Rejected`](Self::Rejected).
    #[error("the task executor has only {free} left")]
    Insufficient {
        /// The resources of the worker that no slot holds.
        free: Box<ResourceProfile>,
    },
    /// The task executor could not be reached, or its answer was lost. The worker backs off.
    #[error("the task executor cannot be reached: {reason}")]
    Unreachable {
        /// The failure of the connection.
        reason: Arc<str>,
    },
    /// The task executor did not answer within
    /// [`rpc_timeout`](crate::SlotManagerConfig::rpc_timeout). The manager detects this itself, and
    /// the worker backs off.
    #[error("the task executor did not answer in time")]
    Timeout,
}

impl SlotAllocationError {
    /// Returns a refusal by the task executor.
    pub fn rejected(reason: impl Into<Arc<str>>) -> Self {
        Self::Rejected { reason: reason.into() }
    }

    /// Returns a refusal by a dynamic worker that has only these resources left.
    pub fn insufficient(free: ResourceProfile) -> Self {
        Self::Insufficient { free: Box::new(free) }
    }

    /// Returns a failure on the way to the task executor or back.
    pub fn unreachable(reason: impl Into<Arc<str>>) -> Self {
        Self::Unreachable { reason: reason.into() }
    }
}

/// The refusal of the resource manager to start a worker: the error of
/// [`allocate_resource`](crate::ResourceManagerActions::allocate_resource).
///
/// ```
/// use slot_manager::error::ResourceManagerError;
///
/// let error = ResourceManagerError::new("the quota is used up");
/// assert_eq!(error.to_string(), "the resource manager starts no worker: the quota is used up");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[error("the resource manager starts no worker: {reason}")]
pub struct ResourceManagerError {
    reason: Arc<str>,
}

/// Refuses to start a worker because its profile cannot be computed.
impl From<ResourceProfileError> for ResourceManagerError {
    fn from(error: ResourceProfileError) -> Self {
        Self::new(error.to_string())
    }
}

impl ResourceManagerError {
    /// Returns a refusal with this reason.
    pub fn new(reason: impl Into<Arc<str>>) -> Self {
        Self { reason: reason.into() }
    }

    /// Returns the reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Any error of the manager's calls, for callers that treat all errors alike.
///
/// The documentation of each error tells its effect on the state.
///
/// ```
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// use slot_manager::error::SlotManagerError;
/// use slot_manager::{LeaderId, SlotManager, SlotManagerConfig};
///
/// type Manager = SlotManager<RecordingActions, ScriptedGateway, ManualScheduledExecutor>;
///
/// fn started() -> Result<Manager, SlotManagerError> {
///     let mut manager = Manager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
///     manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
///     Ok(manager)
/// }
///
/// assert_eq!(started()?.leader_id(), Some(LeaderId::from_u128(1)));
/// # Ok::<(), SlotManagerError>(())
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum SlotManagerError {
    /// See [`NotStarted`].
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    /// See [`StartError`].
    #[error(transparent)]
    Start(#[from] StartError),
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// See [`SlotRequestError`].
    #[error(transparent)]
    SlotRequest(#[from] SlotRequestError),
    /// See [`RequirementsError`].
    #[error(transparent)]
    Requirements(#[from] RequirementsError),
    /// See [`RegistrationError`].
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// See [`SlotReportError`].
    #[error(transparent)]
    SlotReport(#[from] SlotReportError),
}
