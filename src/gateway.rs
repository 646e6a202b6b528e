//! The task executors: the trait to call one, the messages, and the connection of a registration.

use std::future::Future;
use std::sync::Arc;

use crate::{
    AllocationId, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile, SlotAllocationError, SlotId,
    WorkerRequestId,
};

/// The calls of the manager to one task executor.
///
/// One gateway belongs to one registration and is dropped with it. The manager's state is
/// consistent during each call, and a gateway cannot call back into the manager.
///
/// There is no `Send` bound: a manager is `Send` exactly if its gateways, their futures and its
/// other parameters are. `Box<G>` of a gateway is a gateway. With `Box<dyn
/// TaskExecutorGateway<RequestSlotFuture = ...>>` one manager calls task executors of several
/// kinds.
///
/// # Example
///
/// A gateway that sends messages to the task that owns the connection:
///
/// ```
/// use std::pin::Pin;
///
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions};
/// use slot_manager::{
///     Acknowledge, AllocateSlot, AllocationId, AllocationStatus, FreeSlot, InstanceId, JobId, LeaderId,
///     RegistrationOutcome, ReleaseCheck, ReleaseDecision, ResourceProfile, SlotAllocationError, SlotId, SlotManager,
///     SlotManagerConfig, SlotReport, SlotRequest, SlotRequestOutcome, SlotStatus, TaskExecutorConnection,
///     TaskExecutorGateway,
/// };
/// use tokio::sync::{mpsc, oneshot};
///
/// type Answer = Result<Acknowledge, SlotAllocationError>;
///
/// /// A message to a task executor.
/// enum Message {
///     Allocate(AllocateSlot, oneshot::Sender<Answer>),
///     Free(FreeSlot),
///     CheckRelease(ReleaseCheck),
/// }
///
/// struct ChannelGateway(mpsc::UnboundedSender<Message>);
///
/// impl TaskExecutorGateway for ChannelGateway {
///     type RequestSlotFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;
///
///     fn request_slot(&mut self, request: &AllocateSlot) -> Self::RequestSlotFuture {
///         let (sender, receiver) = oneshot::channel();
///         let is_connected = self.0.send(Message::Allocate(request.clone(), sender)).is_ok();
///         Box::pin(async move {
///             if !is_connected {
///                 return Err(SlotAllocationError::unreachable("the connection is closed"));
///             }
///             receiver.await.unwrap_or_else(|_| Err(SlotAllocationError::unreachable("the connection was lost")))
///         })
///     }
///
///     fn free_slot(&mut self, request: FreeSlot) {
///         if self.0.send(Message::Free(request)).is_err() {
///             eprintln!("a slot is not freed: the connection is closed");
///         }
///     }
///
///     fn can_be_released(&mut self, check: &ReleaseCheck) -> ReleaseDecision {
///         // The service passes the decision of the task executor to `SlotManager::answer_release`.
///         match self.0.send(Message::CheckRelease(*check)) {
///             Ok(()) => ReleaseDecision::Later,
///             Err(_) => ReleaseDecision::Keep,
///         }
///     }
/// }
///
/// let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
/// manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
///
/// let (sender, mut messages) = mpsc::unbounded_channel();
/// let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
/// let slot_id = SlotId::new("worker-1", 0);
/// let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]).with_revision(1);
/// let connection = TaskExecutorConnection::new("worker-1", InstanceId::from_u128(1), ChannelGateway(sender));
/// assert_eq!(manager.register_task_manager(connection, &report)?, RegistrationOutcome::Registered);
///
/// let allocation_id = AllocationId::from_u128(1);
/// let request = SlotRequest::new(JobId::from_u128(7), allocation_id, profile, "job-master-7");
/// let in_flight = AllocationStatus::InFlight { slot_id: slot_id.clone() };
/// assert_eq!(manager.register_slot_request(request)?, SlotRequestOutcome::Accepted(in_flight));
///
/// // The task executor allocates the slot, which is revision 2 of its slot table.
/// let Ok(Message::Allocate(allocate, answer)) = messages.try_recv() else {
///     return Err("no slot was requested".into());
/// };
/// assert_eq!(allocate.slot_id, slot_id);
/// assert!(answer.send(Ok(Acknowledge::new().with_revision(2))).is_ok());
///
/// // Here the manager is driven by hand. A service awaits `SlotManager::progress`.
/// assert_eq!(manager.run_until_stalled(), 1);
/// assert_eq!(manager.allocation_status(allocation_id), Some(AllocationStatus::Granted { slot_id }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait TaskExecutorGateway {
    /// The answer to [`request_slot`](Self::request_slot). It is dropped unfinished when the
    /// attempt is given up.
    type RequestSlotFuture: Future<Output = Result<Acknowledge, SlotAllocationError>>;

    /// Asks the task executor to give a slot to an allocation.
    ///
    /// The manager polls the future once before the call that caused it returns, so the request can
    /// be on its way by then. Later it polls the future when it wakes, while the manager is driven.
    /// The future needs no timeout: the manager enforces
    /// [`rpc_timeout`](crate::SlotManagerConfig::rpc_timeout).
    ///
    /// The request is lent. A gateway that writes it to a connection copies nothing. A gateway that
    /// sends it to another task clones it.
    fn request_slot(&mut self, request: &AllocateSlot) -> Self::RequestSlotFuture;

    /// Tells the task executor that an allocation must not hold a slot. The manager awaits no
    /// answer.
    ///
    /// The task executor frees the slot only if the allocation holds it under [`FreeSlot::attempt`]
    /// or an older attempt, and the slot is not in use. From then on it refuses each
    /// [`request_slot`](Self::request_slot) for the slot whose attempt is not newer. Attempts are
    /// compared within one [`leader_id`](FreeSlot::leader_id). A grant or a free under another
    /// leader is older than any attempt of this one.
    ///
    /// The default sends nothing. Then the slot stays held until the task executor's own timeout
    /// for unused slots.
    fn free_slot(&mut self, request: FreeSlot) {
        let _ = request;
    }

    /// Asks whether the task executor can be stopped: none of its slots was used for the idle
    /// timeout.
    ///
    /// It may keep results that are still being read (FLINK-10941). The default decides
    /// [`Release`](ReleaseDecision::Release).
    ///
    /// A gateway that does not know yet returns [`Later`](ReleaseDecision::Later). The decision
    /// then goes to [`answer_release`](crate::SlotManager::answer_release) within
    /// [`rpc_timeout`](crate::SlotManagerConfig::rpc_timeout). After that it counts as
    /// [`Keep`](ReleaseDecision::Keep).
    fn can_be_released(&mut self, check: &ReleaseCheck) -> ReleaseDecision {
        let _ = check;
        ReleaseDecision::Release
    }
}

impl<G: TaskExecutorGateway + ?Sized> TaskExecutorGateway for Box<G> {
    type RequestSlotFuture = G::RequestSlotFuture;

    fn request_slot(&mut self, request: &AllocateSlot) -> Self::RequestSlotFuture {
        (**self).request_slot(request)
    }

    fn free_slot(&mut self, request: FreeSlot) {
        (**self).free_slot(request);
    }

    fn can_be_released(&mut self, check: &ReleaseCheck) -> ReleaseDecision {
        (**self).can_be_released(check)
    }
}

/// The message that asks a task executor to give a slot to an allocation.
///
/// The task executor offers the slot to the job.
///
/// ```
/// use slot_manager::{AllocateSlot, InstanceId, LeaderId, SlotAllocationError};
/// # use slot_manager::{AllocationId, JobId, ResourceProfile, SlotId};
///
/// /// Refuses messages for another leadership or registration.
/// fn check(
///     request: &AllocateSlot,
///     leader_id: LeaderId,
///     instance_id: InstanceId,
/// ) -> Result<(), SlotAllocationError> {
///     match (request.leader_id, request.instance_id) == (leader_id, instance_id) {
///         true => Ok(()),
///         false => Err(SlotAllocationError::rejected("the leadership or registration has ended")),
///     }
/// }
///
/// # let request = AllocateSlot {
/// #     slot_id: SlotId::new("worker-1", 0),
/// #     job_id: JobId::from_u128(7),
/// #     allocation_id: AllocationId::from_u128(1),
/// #     resource_profile: ResourceProfile::ZERO,
/// #     target_address: "job-master-7".into(),
/// #     leader_id: LeaderId::from_u128(1),
/// #     instance_id: InstanceId::from_u128(1),
/// #     attempt: 1,
/// # };
/// assert_eq!(check(&request, request.leader_id, request.instance_id), Ok(()));
/// assert!(check(&request, LeaderId::from_u128(2), request.instance_id).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AllocateSlot {
    /// The slot.
    pub slot_id: SlotId,
    /// The job of the request.
    pub job_id: JobId,
    /// The allocation for the slot.
    pub allocation_id: AllocationId,
    /// The requested profile. The slot has at least these resources.
    pub resource_profile: ResourceProfile,
    /// The address to offer the slot to.
    pub target_address: Arc<str>,
    /// The leadership of the manager. A task executor refuses messages of every other leader.
    pub leader_id: LeaderId,
    /// The registration of the task executor. It refuses messages for an older registration.
    pub instance_id: InstanceId,
    /// The number of the attempt. Within a leadership a later attempt has a larger number.
    pub attempt: u64,
}

/// The message that tells a task executor that an allocation must not hold a slot.
///
/// ```
/// use slot_manager::{AllocationId, FreeSlot};
/// # use slot_manager::{InstanceId, JobId, LeaderId, SlotId};
///
/// /// Returns `true` if the slot must be freed that `holder` holds under `attempt` of the same leader.
/// fn must_free(request: &FreeSlot, holder: AllocationId, attempt: u64, is_in_use: bool) -> bool {
///     request.allocation_id == holder && attempt <= request.attempt && !is_in_use
/// }
///
/// # let request = FreeSlot {
/// #     slot_id: SlotId::new("worker-1", 0),
/// #     job_id: JobId::from_u128(7),
/// #     allocation_id: AllocationId::from_u128(1),
/// #     leader_id: LeaderId::from_u128(1),
/// #     instance_id: InstanceId::from_u128(1),
/// #     attempt: 3,
/// # };
/// assert_eq!(request.attempt, 3);
/// assert!(must_free(&request, request.allocation_id, 2, false));
/// assert!(!must_free(&request, request.allocation_id, 4, false));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FreeSlot {
    /// The slot.
    pub slot_id: SlotId,
    /// The job of the allocation.
    pub job_id: JobId,
    /// The allocation that must not hold the slot.
    pub allocation_id: AllocationId,
    /// The leadership of the manager.
    pub leader_id: LeaderId,
    /// The registration of the task executor.
    pub instance_id: InstanceId,
    /// The attempt that was given up. For a second slot of an allocation: the last attempt the
    /// manager made by then, or 0 if there was none. A slot held under a newer attempt stays held.
    pub attempt: u64,
}

/// The message that asks a task executor whether it can be stopped.
///
/// ```
/// use std::collections::HashSet;
///
/// use slot_manager::{InstanceId, LeaderId, ReleaseCheck, ReleaseDecision};
///
/// /// Keeps the task executors whose results are still being read.
/// fn decide(check: &ReleaseCheck, in_use: &HashSet<InstanceId>) -> ReleaseDecision {
///     match in_use.contains(&check.instance_id) {
///         true => ReleaseDecision::Keep,
///         false => ReleaseDecision::Release,
///     }
/// }
///
/// let instance_id = InstanceId::from_u128(1);
/// let check = ReleaseCheck { instance_id, leader_id: LeaderId::from_u128(1), number: 1 };
/// assert_eq!(decide(&check, &HashSet::from([instance_id])), ReleaseDecision::Keep);
/// assert_eq!(decide(&check, &HashSet::new()), ReleaseDecision::Release);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReleaseCheck {
    /// The registration of the idle task manager.
    pub instance_id: InstanceId,
    /// The leadership of the manager.
    pub leader_id: LeaderId,
    /// The number of the release check, unique for one manager. The check is void when the idle
    /// period ends in which it began.
    pub number: u64,
}

/// The decision of a task executor about a [`ReleaseCheck`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ReleaseDecision {
    /// The task executor can be stopped.
    Release,
    /// The task executor must stay. The manager asks again after another idle timeout.
    Keep,
    /// The decision is not known yet. Pass it to
    /// [`answer_release`](crate::SlotManager::answer_release) later.
    Later,
}

/// The answer of a task executor to [`AllocateSlot`] that the allocation holds the slot.
///
/// ```
/// use slot_manager::Acknowledge;
///
/// assert_eq!(Acknowledge::new().revision(), None);
/// assert_eq!(Acknowledge::new().with_revision(2).revision(), Some(2));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Acknowledge {
    revision: Option<u64>,
}

impl Acknowledge {
    /// Returns an acknowledgement without a revision.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the revision of the slot table after the allocation, see
    /// [`SlotReport`](crate::SlotReport).
    #[must_use]
    pub fn with_revision(self, revision: u64) -> Self {
        Self {
            revision: Some(revision),
        }
    }

    /// Returns the revision of the slot table after the allocation.
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }
}

/// The ids of one registration of a task executor, and its gateway.
///
/// ```
/// use slot_manager::testing::ScriptedGateway;
/// use slot_manager::{InstanceId, TaskExecutorConnection, WorkerRequestId};
///
/// // The worker was started with the id of its worker request in an environment variable.
/// let worker_request: WorkerRequestId = "12".parse()?;
/// let connection = TaskExecutorConnection::new("worker-1", InstanceId::from_u128(1), ScriptedGateway::new())
///     .with_worker_request(worker_request);
/// assert_eq!(connection.resource_id().as_str(), "worker-1");
/// assert_eq!(connection.worker_request(), Some(WorkerRequestId::new(12)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct TaskExecutorConnection<G> {
    pub(crate) resource_id: ResourceId,
    pub(crate) instance_id: InstanceId,
    pub(crate) worker_request: Option<WorkerRequestId>,
    pub(crate) gateway: G,
}

impl<G> TaskExecutorConnection<G> {
    /// Returns the connection for registration `instance_id` of the worker process `resource_id`.
    ///
    /// Every registration needs a new instance id, even if the process was registered before.
    pub fn new(resource_id: impl Into<ResourceId>, instance_id: InstanceId, gateway: G) -> Self {
        Self {
            resource_id: resource_id.into(),
            instance_id,
            worker_request: None,
            gateway,
        }
    }

    /// Sets the worker request that this worker was started for.
    ///
    /// Its slots then fulfil only the promised slots of that worker request.
    #[must_use]
    pub fn with_worker_request(mut self, worker_request: WorkerRequestId) -> Self {
        self.worker_request = Some(worker_request);
        self
    }

    /// Returns the id of the worker process.
    pub fn resource_id(&self) -> &ResourceId {
        &self.resource_id
    }

    /// Returns the id of the registration.
    pub fn instance_id(&self) -> InstanceId {
        self.instance_id
    }

    /// Returns the worker request that this worker was started for.
    pub fn worker_request(&self) -> Option<WorkerRequestId> {
        self.worker_request
    }

    /// Returns the gateway to the task executor.
    pub fn gateway(&self) -> &G {
        &self.gateway
    }
}
