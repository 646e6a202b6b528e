//! The resource manager: the trait to call it, its answers, and the causes it is told.

use std::sync::Arc;
use std::time::Duration;

use crate::{
    AllocationId, InstanceId, JobId, ResourceManagerError, ResourceProfile, SlotAllocationError, SlotId, Timestamp,
    WorkerRequestId,
};

/// The calls of the manager to the resource manager that embeds it.
///
/// The manager's state is consistent during each call. An implementation cannot call back into the
/// manager: it notes its work and does it after the call. There is no `Send` bound.
///
/// # Example
///
/// ```
/// use slot_manager::testing::{ManualScheduledExecutor, ScriptedGateway};
/// use slot_manager::{
///     AllocationFailureCause, AllocationId, AllocationStatus, CancelOutcome, InstanceId, JobId, LeaderId, Release,
///     ReleaseCause, ResourceManagerActions, ResourceManagerError, ResourceProfile, SlotId, SlotManager,
///     SlotManagerConfig, SlotRequest, SlotRequestOutcome, Withdrawal, WorkerPromise, WorkerRequestId,
/// };
///
/// /// Work for the service that starts and stops workers.
/// #[derive(Debug, PartialEq)]
/// enum Order {
///     Start(WorkerRequestId, ResourceProfile),
///     Cancel(WorkerRequestId),
///     Stop(InstanceId),
///     Notify(JobId, String),
/// }
///
/// /// Notes orders during a call. The service carries them out after it.
/// #[derive(Debug, Default)]
/// struct Orders(Vec<Order>);
///
/// impl ResourceManagerActions for Orders {
///     fn allocate_resource(
///         &mut self,
///         worker_request: WorkerRequestId,
///         resource_profile: &ResourceProfile,
///     ) -> Result<WorkerPromise, ResourceManagerError> {
///         self.0.push(Order::Start(worker_request, resource_profile.clone()));
///         // Each worker of this cluster brings two slots.
///         Ok(WorkerPromise::Slots(vec![resource_profile.clone(); 2]))
///     }
///
///     fn release_resource(&mut self, instance_id: InstanceId, _: ReleaseCause) -> Release {
///         self.0.push(Order::Stop(instance_id));
///         Release::Accepted
///     }
///
///     fn withdraw_resource(&mut self, worker_request: WorkerRequestId) -> Withdrawal {
///         self.0.push(Order::Cancel(worker_request));
///         Withdrawal::Confirmed
///     }
///
///     fn notify_allocation_failure(
///         &mut self,
///         job_id: JobId,
///         allocation_id: AllocationId,
///         cause: &AllocationFailureCause,
///     ) {
///         self.0.push(Order::Notify(job_id, format!("allocation {allocation_id}: {cause}")));
///     }
///
///     fn notify_slot_allocated(&mut self, job_id: JobId, allocation_id: AllocationId, slot_id: &SlotId) {
///         self.0.push(Order::Notify(job_id, format!("allocation {allocation_id} holds slot {slot_id}")));
///     }
/// }
///
/// let mut manager =
///     SlotManager::<_, ScriptedGateway, _>::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
/// manager.start(LeaderId::from_u128(1), Orders::default())?;
///
/// // No slot fits the request: a worker is requested.
/// let allocation_id = AllocationId::from_u128(1);
/// let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
/// let request = SlotRequest::new(JobId::from_u128(7), allocation_id, profile.clone(), "job-master-7");
/// assert_eq!(manager.register_slot_request(request)?, SlotRequestOutcome::Accepted(AllocationStatus::Waiting));
///
/// // No request needs the worker any more: it is withdrawn.
/// assert_eq!(manager.unregister_slot_request(allocation_id)?, CancelOutcome::Cancelled);
///
/// let worker_request = WorkerRequestId::new(1);
/// let orders = manager.actions_mut().map(|orders| std::mem::take(&mut orders.0));
/// assert_eq!(orders, Some(vec![Order::Start(worker_request, profile), Order::Cancel(worker_request)]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ResourceManagerActions {
    /// Requests a worker with a slot for `resource_profile`.
    ///
    /// The slot is for a waiting request that is bound to no promised slot, for the
    /// [minimum](crate::SlotManagerConfig::min_slots) or for
    /// [redundancy](crate::SlotManagerConfig::redundant_task_managers).
    ///
    /// The answer promises slots or none. A promise ends by any of these:
    ///
    /// - Its slots register.
    /// - [`worker_failed`](crate::SlotManager::worker_failed) ends it.
    /// - Its withdrawal is [confirmed](Withdrawal::Confirmed).
    /// - The worker does not register within
    ///   [`worker_registration_timeout`](crate::SlotManagerConfig::worker_registration_timeout).
    ///
    /// # Errors
    /// The request that needs the slot fails. Its failure is the error of
    /// [`register_slot_request`](crate::SlotManager::register_slot_request) within that call, later
    /// a [`notify_allocation_failure`](Self::notify_allocation_failure). If no request needs the
    /// slot, the error counts as [`Declined`](WorkerPromise::Declined).
    fn allocate_resource(
        &mut self,
        worker_request: WorkerRequestId,
        resource_profile: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError>;

    /// Asks to stop an idle task manager: none of its slots was used for
    /// [`task_manager_timeout`](crate::SlotManagerConfig::task_manager_timeout).
    fn release_resource(&mut self, instance_id: InstanceId, cause: ReleaseCause) -> Release;

    /// Asks to withdraw a worker request whose promised slots are not needed any more, or exceed a
    /// limit.
    ///
    /// Promised slots are not needed if no request is bound to them, and neither the minimum nor
    /// redundancy needs them. The manager asks once, and again only if a request was bound to them
    /// in between. Only a confirmed withdrawal ends the promise (FLINK-18229).
    ///
    /// The default answers [`TooLate`](Withdrawal::TooLate): the worker comes. It is released when
    /// it is idle, or refused at its registration if it exceeds a limit.
    fn withdraw_resource(&mut self, worker_request: WorkerRequestId) -> Withdrawal {
        let _ = worker_request;
        Withdrawal::TooLate
    }

    /// Notifies that an accepted request failed or that a grant was lost, as `cause` tells.
    ///
    /// The manager calls this once for each failure and each loss. The cause is lent: clone it to
    /// keep it.
    fn notify_allocation_failure(&mut self, job_id: JobId, allocation_id: AllocationId, cause: &AllocationFailureCause);

    /// Notifies that a request was granted.
    ///
    /// The manager calls this once for each granted request, before any call about the end of the
    /// grant. The default does nothing.
    fn notify_slot_allocated(&mut self, job_id: JobId, allocation_id: AllocationId, slot_id: &SlotId) {
        let _ = (job_id, allocation_id, slot_id);
    }
}

/// The answer to a worker request.
///
/// ```
/// use slot_manager::{ResourceProfile, WorkerPromise};
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
#[non_exhaustive]
pub enum WorkerPromise {
    /// A worker with slots of these profiles will come. As many waiting requests as fit are bound
    /// to them.
    ///
    /// If no slot fits the request that needs the worker, that request counts as declined. If the
    /// slots exceed a limit, the whole promise counts as declined and the manager asks to withdraw
    /// it.
    Slots(Vec<ResourceProfile>),
    /// A worker of unknown shape will come. It counts as a worker of the
    /// [description](crate::SlotManagerConfig::worker_description), or without one as one slot of
    /// the requested profile.
    Unspecified,
    /// No worker will come now. The request waits for registered slots. The manager requests a
    /// worker again after
    /// [`worker_registration_timeout`](crate::SlotManagerConfig::worker_registration_timeout).
    Declined,
}

/// The answer to the withdrawal of a worker request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// The worker will not come.
    Confirmed,
    /// The worker is on its way. Its slots stay promised.
    TooLate,
}

/// The answer to the release of an idle task manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The task manager is being stopped. The manager forgets it and its slots at once.
    Accepted,
    /// The task manager stays, with its slots. The manager asks again after another idle timeout.
    Declined,
}

/// The cause of the release of a task manager.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReleaseCause {
    /// None of its slots was used for the idle timeout.
    IdleTimeout {
        /// The time when its last used slot became free, or when it registered.
        idle_since: Timestamp,
        /// The number of this idle period of the registration, from 1. Two releases with the same
        /// number mean that the task manager was idle all the time in between.
        idle_period: u64,
    },
}

/// The cause given to
/// [`notify_allocation_failure`](ResourceManagerActions::notify_allocation_failure).
///
/// ```
/// use slot_manager::{AllocationFailureCause, GrantLoss, SlotId};
///
/// let cause = AllocationFailureCause::GrantLost {
///     slot_id: SlotId::new("worker-1", 0),
///     loss: GrantLoss::ReportedFree,
/// };
/// assert_eq!(cause.to_string(), "slot worker-1_0 was lost: its task executor reports it as free");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
