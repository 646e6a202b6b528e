//! To the resource manager: the trait, and what its answers and causes say.

use std::sync::Arc;
use std::time::Duration;

use crate::{
    AllocationId, InstanceId, JobId, ResourceManagerError, ResourceProfile, SlotAllocationError, SlotId, Timestamp,
    WorkerRequestId,
};

/// What the manager asks of the resource manager that embeds it.
///
/// Called with the manager's state consistent; an implementation cannot call back into the manager, only note what is
/// to be done after the call. There is no `Send` bound.
pub trait ResourceManagerActions {
    /// Asks for a worker with a slot for `resource_profile`, because a waiting request is covered by no promised slot, or
    /// because there are to be [more slots](crate::SlotManagerConfig::min_slots) or
    /// [free ones](crate::SlotManagerConfig::redundant_task_managers).
    ///
    /// The answer says what comes of it. A promise ends when its slots register, when
    /// [`worker_failed`](crate::SlotManager::worker_failed) says so, or after
    /// [`worker_registration_timeout`](crate::SlotManagerConfig::worker_registration_timeout).
    ///
    /// # Errors
    /// The request that needs the slot fails (without a request it counts as declined): as the error of
    /// [`register_slot_request`](crate::SlotManager::register_slot_request) if it is being registered, else by
    /// [`notify_allocation_failure`](Self::notify_allocation_failure).
    fn allocate_resource(
        &mut self,
        worker_request: WorkerRequestId,
        resource_profile: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError>;

    /// Asks to stop a task manager, because none of its slots was used for
    /// [`task_manager_timeout`](crate::SlotManagerConfig::task_manager_timeout).
    fn release_resource(&mut self, instance_id: InstanceId, cause: ReleaseCause) -> Release;

    /// Asks to withdraw a worker request, because the slots it promised cover no request any more, and nothing else needs
    /// them; or because what it promised is beyond the limits. Asked once, and again only when they covered a request
    /// in between. Only a confirmed withdrawal ends the promise (FLINK-18229).
    ///
    /// The default says that it is too late: the worker comes, and is released when it is idle; or it is refused when it
    /// registers, if it is beyond the limits.
    fn withdraw_resource(&mut self, worker_request: WorkerRequestId) -> Withdrawal {
        let _ = worker_request;
        Withdrawal::TooLate
    }

    /// Says that an accepted request will not be served, or that a grant was lost; the cause says which. Said once for
    /// each. The cause is lent: clone it to keep it.
    fn notify_allocation_failure(&mut self, job_id: JobId, allocation_id: AllocationId, cause: &AllocationFailureCause);

    /// Says that a request was granted. Said once for each request that is, before anything that ends the grant. The
    /// default does nothing.
    fn notify_slot_allocated(&mut self, job_id: JobId, allocation_id: AllocationId, slot_id: &SlotId) {
        let _ = (job_id, allocation_id, slot_id);
    }
}

/// What comes of the wish for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerPromise {
    /// A worker with slots of these profiles is coming. They cover as many waiting requests as fit. If none of them
    /// fits the request that was asked for, the request counts as declined. More than the limits allow counts as
    /// declined as a whole, and is asked to be withdrawn.
    Slots(Vec<ResourceProfile>),
    /// A worker is coming, its shape is not said: counts as a worker of the
    /// [description](crate::SlotManagerConfig::worker_description), or without one as one slot of the profile asked for.
    Unspecified,
    /// Nothing will come, or not now: the request waits for registered slots. Asked again after
    /// [`worker_registration_timeout`](crate::SlotManagerConfig::worker_registration_timeout).
    Declined,
}

/// What comes of the wish to withdraw a worker request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// The worker will not come.
    Confirmed,
    /// It is on its way: its slots stay promised.
    TooLate,
}

/// What comes of the wish to stop an idle task manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// It is being stopped. The manager forgets it and its slots at once.
    Accepted,
    /// It stays, with its slots. Asked again after another idle timeout.
    Declined,
}

/// Why a task manager shall be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReleaseCause {
    /// None of its slots was used for the idle timeout.
    IdleTimeout {
        /// When its last used slot became free, or when it registered.
        idle_since: Timestamp,
        /// Counts the idle periods of this registration, from 1: asked twice with one number, it was idle all the time
        /// between.
        idle_period: u64,
    },
}

/// Why [`notify_allocation_failure`](ResourceManagerActions::notify_allocation_failure) is called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocationFailureCause {
    /// The request was never granted and will not be.
    #[error("the slot request failed: {0}")]
    RequestFailed(RequestFailure),
    /// The slot had been granted and is lost.
    #[error("slot {slot_id} was lost: {loss}")]
    GrantLost {
        /// The slot that was granted.
        slot_id: SlotId,
        /// How it was lost.
        loss: GrantLoss,
    },
}

/// Why a request will not be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFailure {
    /// It was not granted in time.
    #[error("not granted within {timeout:?} by a slot for {resource_profile}{}", describe_last_failure(.last_failure))]
    Timeout {
        /// The request timeout.
        timeout: Duration,
        /// What was asked for.
        resource_profile: ResourceProfile,
        /// The last answer of a task executor, if there was an attempt that failed.
        last_failure: Option<SlotAllocationError>,
    },
    /// The resource manager refused to start a worker for it.
    #[error(transparent)]
    ResourceManager(ResourceManagerError),
    /// No slot and no worker could ever serve it, see
    /// [`set_fail_unfulfillable_requests`](crate::SlotManager::set_fail_unfulfillable_requests).
    #[error("no slot and no worker could serve a request for {resource_profile}")]
    Unfulfillable {
        /// What was asked for.
        resource_profile: ResourceProfile,
    },
    /// Its allocation id was found on a slot in the name of another job.
    #[error("slot {slot_id} is held by the same allocation id of job {job_id}")]
    HeldByAnotherJob {
        /// The slot that is held.
        slot_id: SlotId,
        /// The job that holds it.
        job_id: JobId,
    },
}

fn describe_last_failure(failure: &Option<SlotAllocationError>) -> String {
    failure
        .as_ref()
        .map(|failure| format!("; the last attempt failed: {failure}"))
        .unwrap_or_default()
}

/// How a granted slot was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantLoss {
    /// Its task manager was unregistered.
    #[error("task manager {instance_id} was unregistered: {cause}")]
    TaskManagerUnregistered {
        /// The registration that ended.
        instance_id: InstanceId,
        /// The cause given.
        cause: Arc<str>,
    },
    /// Its task executor says that the slot is free.
    #[error("its task executor reports it as free")]
    ReportedFree,
    /// Its task executor says that another allocation holds it.
    #[error("its task executor reports it as held by {allocation_id} of job {job_id}")]
    HeldByAnother {
        /// The allocation that holds it.
        allocation_id: AllocationId,
        /// The job of that allocation.
        job_id: JobId,
    },
    /// Its task executor does not have the slot any more.
    #[error("its task executor does not report it any more")]
    SlotRemoved,
}
