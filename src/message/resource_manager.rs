//! Answers of the resource manager, and the causes it is told.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Limit;
use crate::error::{ResourceManagerError, SlotAllocationError};
use crate::{
    AllocationId, DynamicResources, InstanceId, JobId, ResourceId, ResourceProfile, SlotId, Timestamp, WorkerRequestId,
};

/// The answer to a worker request.
///
/// ```
/// use slot_manager::message::WorkerPromise;
/// use slot_manager::ResourceProfile;
///
/// /// Promises a worker with two slots, if a slot of that worker is large enough.
/// fn promise(slot: &ResourceProfile, required: &ResourceProfile) -> WorkerPromise {
///     match slot.is_matching(required) {
///         true => WorkerPromise::Slots(vec![slot.clone(); 2]),
///         false => WorkerPromise::Declined,
///     }
/// }
///
/// let slot = ResourceProfile::builder().cpu_cores(2.0).build()?;
/// let too_large = ResourceProfile::builder().cpu_cores(4.0).build()?;
/// assert_eq!(promise(&slot, &slot), WorkerPromise::Slots(vec![slot.clone(); 2]));
/// assert_eq!(promise(&slot, &too_large), WorkerPromise::Declined);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum WorkerPromise {
    /// A worker with slots of these profiles will come. As many waiting requests as fit are bound
    /// to them. If it names its worker request and brings fewer slots, the others are not awaited
    /// any more.
    ///
    /// If no slot fits the request that needs the worker, that request counts as declined. If the
    /// slots exceed a limit, the whole promise counts as declined and the manager asks to withdraw
    /// it.
    Slots(Vec<ResourceProfile>),
    /// A worker from which slots are cut will come, with this total and default slot. As many
    /// waiting requests as its total fits are bound to it. Its
    /// [free](crate::DynamicResources::free) resources are not looked at.
    ///
    /// The total counts for the limits. If it does not fit the request that needs the worker, or
    /// exceeds a limit, the same holds as for slots.
    Total(DynamicResources),
    /// A worker of unknown shape will come. It counts as a worker of the
    /// [description](crate::config::WorkerPolicy::description), or without one as one slot of
    /// the requested profile.
    Unspecified,
    /// No worker will come now. The request waits for registered slots. The manager requests a
    /// worker again after
    /// [`worker_registration_timeout`](crate::SlotManagerConfig::worker_registration_timeout).
    Declined,
}

/// The shortage of slots of a job that declares its requirements.
///
/// ```
/// use std::time::Duration;
/// use slot_manager::message::{ResourceShortage, ShortageCause};
///
/// let cause = ShortageCause::Timeout { timeout: Duration::from_secs(300) };
/// let shortage = ResourceShortage { declared: 5, charged: 3, cause };
/// assert_eq!(shortage.to_string(), "3 of 5 declared slots are held: the others were not granted within 300s");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[error("{charged} of {declared} declared slots are held: {cause}")]
pub struct ResourceShortage {
    /// The number of declared slots in all.
    pub declared: u32,
    /// The number of those that the job holds.
    pub charged: u32,
    /// The cause.
    pub cause: ShortageCause,
}

/// The cause of a shortage of declared slots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ShortageCause {
    /// No slot, promised slot or possible worker can serve this profile, and such requests are to
    /// fail. The requests wait on, in case that such a worker registers.
    #[error("no slot and no worker can serve {resource_profile}")]
    Unfulfillable {
        /// The declared profile.
        resource_profile: ResourceProfile,
    },
    /// Declared slots were missing without a break for the
    /// [request timeout](crate::SlotManagerConfig::request_timeout).
    #[error("the others were not granted within {timeout:?}")]
    Timeout {
        /// The configured timeout.
        timeout: Duration,
    },
}

/// The message that asks to withdraw a worker request.
///
/// ```
/// use slot_manager::message::{WithdrawResource, WithdrawalCause};
/// use slot_manager::{LeaderId, WorkerRequestId};
///
/// let worker_request = WorkerRequestId::new(LeaderId::from_u128(1), 12);
/// let withdraw = WithdrawResource { worker_request, cause: WithdrawalCause::NotNeeded };
/// assert_eq!(withdraw.cause.to_string(), "its slots are not needed any more");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WithdrawResource {
    /// The worker request.
    pub worker_request: WorkerRequestId,
    /// The reason.
    pub cause: WithdrawalCause,
}

/// The cause of the withdrawal of a worker request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum WithdrawalCause {
    /// No request is bound to its slots, and neither the minimum nor redundancy needs them.
    #[error("its slots are not needed any more")]
    NotNeeded,
    /// The worker did not register within the
    /// [registration timeout](crate::SlotManagerConfig::worker_registration_timeout). Its promise has
    /// ended, also if it is too late to withdraw the worker.
    #[error("it did not register in time")]
    RegistrationTimeout,
    /// The promised slots would exceed a limit: when they were promised, or since a worker has
    /// registered that takes their room. The promise has ended, also if it is too late to withdraw
    /// the worker.
    #[error("its slots would exceed the {limit} limit")]
    LimitReached {
        /// The limit.
        limit: Limit,
    },
}

/// The answer to the withdrawal of a worker request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Withdrawal {
    /// The worker will not come.
    Confirmed,
    /// The worker is on its way. Its slots stay promised, unless the promise has ended already.
    TooLate,
}

/// The message that asks to stop a task manager.
///
/// ```
/// use slot_manager::message::{ReleaseCause, ReleaseResource};
/// use slot_manager::{InstanceId, ResourceId, Timestamp};
///
/// /// Returns the line for the log of the service.
/// fn describe(release: &ReleaseResource) -> String {
///     format!("stops {}: {}", release.resource_id, release.cause)
/// }
///
/// let release = ReleaseResource {
///     resource_id: ResourceId::new("worker-1"),
///     instance_id: InstanceId::from_u128(1),
///     worker_request: None,
///     is_blocked: false,
///     cause: ReleaseCause::IdleTimeout { idle_since: Timestamp::from_secs(30), idle_period: 1 },
/// };
/// assert_eq!(describe(&release), "stops worker-1: idle since +30s");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReleaseResource {
    /// The worker process.
    pub resource_id: ResourceId,
    /// The registration that ends if the release is accepted.
    pub instance_id: InstanceId,
    /// The worker request of this leadership that the worker named when it registered.
    pub worker_request: Option<WorkerRequestId>,
    /// The worker is [blocked](crate::SlotManager::block): it is idle for good.
    pub is_blocked: bool,
    /// The reason.
    pub cause: ReleaseCause,
}

/// The answer to the release of an idle task manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Release {
    /// The task manager is being stopped. The manager forgets it and its slots at once.
    Accepted,
    /// The task manager stays, with its slots. The manager asks again after another idle timeout.
    Declined,
}

/// The cause of the release of a task manager.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ReleaseCause {
    /// None of its slots was used for the idle timeout.
    #[error("idle since {idle_since}")]
    IdleTimeout {
        /// The time when its last used slot became free, or when it registered.
        idle_since: Timestamp,
        /// The number of this idle period of the registration, from 1. Two releases with the same
        /// number mean that the task manager was idle all the time in between.
        idle_period: u64,
    },
}

/// The cause given to
/// [`notify_allocation_failure`](crate::ResourceManagerActions::notify_allocation_failure).
///
/// ```
/// use slot_manager::message::{AllocationFailureCause, GrantLoss};
/// use slot_manager::SlotId;
///
/// let cause = AllocationFailureCause::GrantLost {
///     slot_id: SlotId::new("worker-1", 0),
///     loss: GrantLoss::ReportedFree,
/// };
/// assert_eq!(cause.to_string(), "slot worker-1_0 was lost: its task executor reports it as free");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AllocationFailureCause {
    /// The request was never granted and is forgotten.
    #[error("the slot request failed: {0}")]
    RequestFailed(RequestFailure),
    /// The request was granted, and the slot is lost.
    #[error("slot {slot_id} was lost: {loss}")]
    GrantLost {
        /// The slot that was granted.
        slot_id: SlotId,
        /// The event that ended the grant.
        loss: GrantLoss,
    },
}

/// The cause of the failure of a request that was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum RequestFailure {
    /// The request was not granted in time. The job may request again.
    #[error("not granted within {timeout:?} by a slot for {resource_profile}{}", describe_last_failure(.last_failure))]
    Timeout {
        /// The request timeout.
        timeout: Duration,
        /// The requested profile.
        resource_profile: ResourceProfile,
        /// The answer to the last attempt that failed or found the slot occupied.
        last_failure: Option<SlotAllocationError>,
    },
    /// The resource manager refused to start a worker for the request.
    #[error(transparent)]
    ResourceManager(ResourceManagerError),
    /// No slot and no worker could ever serve the request. It fails at once if
    /// [`set_fail_unfulfillable_requests`](crate::SlotManager::set_fail_unfulfillable_requests) is
    /// on.
    #[error("no slot and no worker could serve a request for {resource_profile}")]
    Unfulfillable {
        /// The requested profile.
        resource_profile: ResourceProfile,
    },
    /// Another job holds a slot under the same allocation id. A new request needs another id.
    #[error("slot {slot_id} is held by the same allocation id of job {job_id}")]
    HeldByAnotherJob {
        /// The slot that is held.
        slot_id: SlotId,
        /// The job that holds the slot.
        job_id: JobId,
    },
}

fn describe_last_failure(failure: &Option<SlotAllocationError>) -> String {
    failure
        .as_ref()
        .map(|failure| format!("; the last attempt failed: {failure}"))
        .unwrap_or_default()
}

/// The event that caused the loss of a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum GrantLoss {
    /// The task manager was unregistered.
    #[error("task manager {instance_id} was unregistered: {cause}")]
    TaskManagerUnregistered {
        /// The registration that ended.
        instance_id: InstanceId,
        /// The cause given to
        /// [`unregister_task_manager`](crate::SlotManager::unregister_task_manager).
        cause: Arc<str>,
    },
    /// The task executor reports the slot as free.
    #[error("its task executor reports it as free")]
    ReportedFree,
    /// The task executor reports that another allocation holds the slot.
    #[error("its task executor reports it as held by {allocation_id} of job {job_id}")]
    HeldByAnother {
        /// The allocation that holds the slot.
        allocation_id: AllocationId,
        /// The job of that allocation.
        job_id: JobId,
    },
    /// The task executor does not report the slot any more.
    #[error("its task executor does not report it any more")]
    SlotRemoved,
}
