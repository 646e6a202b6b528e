//! The resource manager: the trait to call it, its answers, and the causes it is told.

use crate::error::ResourceManagerError;
use crate::message::{
    AllocationFailureCause, Release, ReleaseResource, ResourceShortage, WithdrawResource, Withdrawal, WorkerPromise,
};
use crate::{AllocationId, JobId, ResourceProfile, SlotId, WorkerRequestId};

/// The calls of the manager to the resource manager that embeds it.
///
/// The manager's state is consistent during each call. An implementation cannot call back into the
/// manager: it notes its work and does it after the call. There is no `Send` bound. `Box<A>` and
/// `&mut A` of actions are actions.
///
/// # Example
///
/// ```
/// use slot_manager::testing::{ManualScheduledExecutor, ScriptedGateway};
/// use slot_manager::error::ResourceManagerError;
/// use slot_manager::message::{
///     AllocationFailureCause, Release, ReleaseResource, WithdrawResource, Withdrawal, WorkerPromise,
/// };
/// use slot_manager::outcome::{AllocationStatus, CancelOutcome, SlotRequestOutcome};
/// use slot_manager::{
///     AllocationId, JobId, LeaderId, ResourceId, ResourceManagerActions, ResourceProfile, SlotId, SlotManager,
///     SlotManagerConfig, SlotRequest, WorkerRequestId,
/// };
///
/// /// Work for the service that starts and stops workers.
/// #[derive(Debug, PartialEq)]
/// enum Order {
///     Start(WorkerRequestId, ResourceProfile),
///     Cancel(WorkerRequestId),
///     Stop(ResourceId),
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
///     fn release_resource(&mut self, release: &ReleaseResource) -> Release {
///         self.0.push(Order::Stop(release.resource_id.clone()));
///         Release::Accepted
///     }
///
///     fn withdraw_resource(&mut self, withdraw: &WithdrawResource) -> Withdrawal {
///         self.0.push(Order::Cancel(withdraw.worker_request));
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
/// assert_eq!(manager.unregister_slot_request(allocation_id), CancelOutcome::Cancelled);
///
/// let worker_request = WorkerRequestId::new(LeaderId::from_u128(1), 1);
/// let orders = manager.actions_mut().map(|orders| std::mem::take(&mut orders.0));
/// assert_eq!(orders, Some(vec![Order::Start(worker_request, profile), Order::Cancel(worker_request)]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ResourceManagerActions {
    /// Requests a worker with a slot for `resource_profile`.
    ///
    /// The slot is for a waiting request that is bound to no promised slot, for the
    /// [minimum](crate::config::WorkerPolicy::min_slots) or for
    /// [redundancy](crate::config::WorkerPolicy::redundant_task_managers).
    ///
    /// The profile is that of the request, or that of the described slots for the minimum and
    /// redundancy. Where all workers are as [described](crate::config::WorkerPolicy), answer
    /// [`Unspecified`](WorkerPromise::Unspecified).
    ///
    /// The answer promises slots or none. A promise ends by any of these:
    ///
    /// - Its slots register, or a worker that names it registers with any slot.
    /// - A worker that names it is lost before it had a slot.
    /// - [`worker_failed`](crate::SlotManager::worker_failed) ends it.
    /// - Its withdrawal is [confirmed](Withdrawal::Confirmed).
    /// - The worker does not register within
    ///   [`worker_registration_timeout`](crate::SlotManagerConfig::worker_registration_timeout).
    /// - At a limit, a worker that is here takes its room.
    ///
    /// # Errors
    /// The request that needs the slot fails. Its failure is the error of
    /// [`register_slot_request`](crate::SlotManager::register_slot_request) within that call, later
    /// a [`notify_allocation_failure`](Self::notify_allocation_failure). If no request needs the
    /// slot, the error counts as [`Declined`](WorkerPromise::Declined). Each error is a failed
    /// start, see [`max_start_failure_rate`](crate::SlotManagerConfig::max_start_failure_rate).
    fn allocate_resource(
        &mut self,
        worker_request: WorkerRequestId,
        resource_profile: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError>;

    /// Asks to stop an idle task manager: none of its slots was used for
    /// [`task_manager_timeout`](crate::SlotManagerConfig::task_manager_timeout).
    ///
    /// If the release is accepted, the gateway is told to
    /// [stop](crate::TaskExecutorGateway::stop) the task executor. Then the manager forgets the
    /// task manager and drops the gateway.
    fn release_resource(&mut self, release: &ReleaseResource) -> Release;

    /// Asks to withdraw a worker request. The [cause](crate::message::WithdrawalCause) tells why.
    ///
    /// - [`NotNeeded`](crate::message::WithdrawalCause::NotNeeded): no request is bound to its
    ///   promised slots, and neither the minimum nor redundancy needs them. The manager asks once,
    ///   and again only if a request was bound to them in between. Only a confirmed withdrawal ends
    ///   the promise (FLINK-18229).
    /// - The other causes: the promise has ended already, and the answer changes nothing. Stop the
    ///   start of the worker if you can.
    ///
    /// If the worker can only be cancelled later, answer [`TooLate`](Withdrawal::TooLate) now. Call
    /// [`worker_failed`](crate::SlotManager::worker_failed) once it is cancelled.
    ///
    /// Confirm only if the worker certainly does not come. If it registers after all, it counts as
    /// a worker that nobody requested.
    ///
    /// The default answers [`TooLate`](Withdrawal::TooLate): the worker comes. It is released when
    /// it is idle, or refused at its registration if it exceeds a limit.
    fn withdraw_resource(&mut self, withdraw: &WithdrawResource) -> Withdrawal {
        let _ = withdraw;
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
    /// grant. It does so for a grant within the call that registers the request, too, and when a
    /// report shows that a task executor holds a slot for it. The default does nothing.
    fn notify_slot_allocated(&mut self, job_id: JobId, allocation_id: AllocationId, slot_id: &SlotId) {
        let _ = (job_id, allocation_id, slot_id);
    }

    /// Notifies that a job that [declares](crate::SlotManager::declare_requirements) its requirements
    /// lacks slots, as the cause of `shortage` tells. Its requests wait on.
    ///
    /// The manager calls this once for each cause, until all declared slots were granted or the job
    /// declares others. The default does nothing.
    fn notify_not_enough_resources(&mut self, job_id: JobId, shortage: &ResourceShortage) {
        let _ = (job_id, shortage);
    }
}

/// Forwards the calls of the trait to the value behind a pointer.
macro_rules! forward_actions {
    ($pointer:ty) => {
        impl<A: ResourceManagerActions + ?Sized> ResourceManagerActions for $pointer {
            fn allocate_resource(
                &mut self,
                worker_request: WorkerRequestId,
                resource_profile: &ResourceProfile,
            ) -> Result<WorkerPromise, ResourceManagerError> {
                (**self).allocate_resource(worker_request, resource_profile)
            }

            fn release_resource(&mut self, release: &ReleaseResource) -> Release {
                (**self).release_resource(release)
            }

            fn withdraw_resource(&mut self, withdraw: &WithdrawResource) -> Withdrawal {
                (**self).withdraw_resource(withdraw)
            }

            fn notify_allocation_failure(
                &mut self,
                job_id: JobId,
                allocation_id: AllocationId,
                cause: &AllocationFailureCause,
            ) {
                (**self).notify_allocation_failure(job_id, allocation_id, cause);
            }

            fn notify_slot_allocated(&mut self, job_id: JobId, allocation_id: AllocationId, slot_id: &SlotId) {
                (**self).notify_slot_allocated(job_id, allocation_id, slot_id);
            }

            fn notify_not_enough_resources(&mut self, job_id: JobId, shortage: &ResourceShortage) {
                (**self).notify_not_enough_resources(job_id, shortage);
            }
        }
    };
}

forward_actions!(Box<A>);
forward_actions!(&mut A);
