//! The task executors: the trait to call one, the messages, and the connection of a registration.

use std::future::Future;

use crate::message::{
    AllocateSlot, FreeInactiveSlots, FreeSlot, ReleaseCheck, ReleaseDecision, ReleaseResource, SlotAnswer, SlotResult,
};
use crate::{InstanceId, LeaderId, ResourceId, WorkerRequestId};

/// The calls of the manager to one task executor.
///
/// One gateway belongs to one registration and is dropped with it, for whatever reason the
/// registration ends. So a gateway that closes its connection when it is dropped needs no second
/// list of connections. The manager's state is consistent during each call, and a gateway cannot
/// call back into the manager.
///
/// There is no `Send` bound: a manager is `Send` exactly if its gateways, their futures and its
/// other parameters are. `Box<G>` of a gateway is a gateway. With `Box<dyn
/// TaskExecutorGateway<RequestSlotFuture = ...>>` one manager calls task executors of several
/// kinds.
///
/// # Example
///
/// A gateway that sends messages to the task that owns the connection. The answers come back
/// through the mailbox of the service. With the feature `tokio`,
/// `slot_manager::task_executor::channel_gateway` returns such a gateway. The other side, a task
/// executor, is in the documentation of [`TaskSlotTable`](crate::task_executor::TaskSlotTable).
///
/// ```
/// use std::sync::mpsc;
///
/// use slot_manager::error::SlotAllocationError;
/// use slot_manager::message::{
///     Acknowledge, AllocateSlot, FreeSlot, NoFuture, ReleaseCheck, ReleaseDecision, SlotAnswer,
/// };
/// use slot_manager::outcome::{AllocationStatus, RegistrationOutcome, SlotAnswerOutcome, SlotRequestOutcome};
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions};
/// use slot_manager::{
///     AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig,
///     SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection, TaskExecutorGateway,
/// };
///
/// /// A message to a task executor.
/// enum Message {
///     Allocate(AllocateSlot),
///     Free(FreeSlot),
///     CheckRelease(ReleaseCheck),
/// }
///
/// struct Gateway(mpsc::Sender<Message>);
///
/// impl TaskExecutorGateway for Gateway {
///     type RequestSlotFuture = NoFuture;
///
///     fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<NoFuture> {
///         match self.0.send(Message::Allocate(request.clone())) {
///             // The service passes the answer to `SlotManager::answer_slot_request`.
///             Ok(()) => SlotAnswer::Later,
///             Err(_) => SlotAnswer::Ready(Err(SlotAllocationError::unreachable("the connection is closed"))),
///         }
///     }
///
///     fn free_slot(&mut self, request: &FreeSlot) {
///         if self.0.send(Message::Free(request.clone())).is_err() {
///             eprintln!("a slot is not freed: the connection is closed");
///         }
///     }
///
///     fn can_be_released(&mut self, check: &ReleaseCheck) -> ReleaseDecision {
///         // The service passes the decision to `SlotManager::answer_release`.
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
/// let (sender, messages) = mpsc::channel();
/// let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
/// let slot_id = SlotId::new("worker-1", 0);
/// let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]).with_revision(1);
/// let connection = TaskExecutorConnection::new("worker-1", InstanceId::from_u128(1), Gateway(sender));
/// assert_eq!(manager.register_task_manager(connection, &report)?, RegistrationOutcome::Registered);
///
/// let allocation_id = AllocationId::from_u128(1);
/// let request = SlotRequest::new(JobId::from_u128(7), allocation_id, profile, "job-master-7");
/// let in_flight = AllocationStatus::InFlight { slot_id: slot_id.clone() };
/// assert_eq!(manager.register_slot_request(request)?, SlotRequestOutcome::Accepted(in_flight));
///
/// // The task executor gives the slot to the allocation, which is revision 2 of its slot table.
/// let Message::Allocate(request) = messages.try_recv()? else {
///     return Err("no slot was requested".into());
/// };
/// let result = Ok(Acknowledge::new().with_revision(2));
/// assert_eq!(manager.answer_slot_request(request.attempt_id(), result), SlotAnswerOutcome::Applied);
/// assert_eq!(manager.allocation_status(allocation_id), Some(AllocationStatus::Granted { slot_id }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait TaskExecutorGateway {
    /// The future of a [`SlotAnswer::Future`]. It is dropped unfinished when the attempt is given
    /// up. A gateway that uses the other answers only names [`NoFuture`](crate::message::NoFuture).
    ///
    /// It is `Unpin`, because the manager moves it. A future that is not `Unpin`, such as an `async`
    /// block, becomes so in a `Pin<Box<_>>`.
    type RequestSlotFuture: Future<Output = SlotResult> + Unpin;

    /// Tells the task executor that it is registered. This is the first call.
    ///
    /// The manager calls it within
    /// [`register_task_manager`](crate::SlotManager::register_task_manager), before it requests a
    /// slot. If the registration is refused, or is only a report of a known one, the connection is
    /// dropped without this call. The default does nothing.
    fn confirm_registration(&mut self) {}

    /// Asks the task executor to give a slot to an allocation.
    ///
    /// The answer needs no timeout of its own: the manager enforces
    /// [`rpc_timeout`](crate::SlotManagerConfig::rpc_timeout).
    ///
    /// The manager polls a future once before the call that caused it returns, so the request can
    /// be on its way by then. Later it polls the future when it wakes, while the manager is driven.
    ///
    /// The request is lent. A gateway that writes it to a connection copies nothing. A gateway that
    /// sends it to another task clones it.
    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<Self::RequestSlotFuture>;

    /// Tells the task executor that an allocation must not hold a slot. The manager awaits no
    /// answer.
    ///
    /// The task executor frees the slot only if the allocation holds it under [`FreeSlot::attempt`]
    /// or an older attempt, and the slot is not in use. From then on it refuses each
    /// [`request_slot`](Self::request_slot) for the slot whose attempt is not newer. Attempts are
    /// compared within one [`leader_id`](FreeSlot::leader_id). A grant or a free under another
    /// leader is older than any attempt of this one.
    ///
    /// If the message is lost, the slot stays held until the task executor's own timeout for unused
    /// slots.
    fn free_slot(&mut self, request: &FreeSlot);

    /// Tells the task executor that a job has ended, of which it holds slots. The manager awaits no
    /// answer.
    ///
    /// The task executor frees each slot that the job holds under [`FreeInactiveSlots::attempt`] or
    /// an older attempt, and that is not in use. A slot in use is freed by its job, or when the job
    /// is lost. The manager calls this only for jobs that have
    /// [declared](crate::SlotManager::declare_requirements) their requirements.
    ///
    /// If the message is lost, or with the default, which does nothing, the slots stay held until
    /// the task executor's own timeout for unused slots.
    fn free_inactive_slots(&mut self, request: &FreeInactiveSlots) {
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

    /// Tells the task executor to stop: the resource manager has
    /// [accepted](crate::message::Release::Accepted) its release. This is the last call.
    ///
    /// If the message is lost, the resource manager stops the worker all the same, as it accepted
    /// to do. The default does nothing.
    fn stop(&mut self, release: &ReleaseResource) {
        let _ = release;
    }
}

impl<G: TaskExecutorGateway + ?Sized> TaskExecutorGateway for Box<G> {
    type RequestSlotFuture = G::RequestSlotFuture;

    fn confirm_registration(&mut self) {
        (**self).confirm_registration();
    }

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<Self::RequestSlotFuture> {
        (**self).request_slot(request)
    }

    fn free_slot(&mut self, request: &FreeSlot) {
        (**self).free_slot(request);
    }

    fn free_inactive_slots(&mut self, request: &FreeInactiveSlots) {
        (**self).free_inactive_slots(request);
    }

    fn can_be_released(&mut self, check: &ReleaseCheck) -> ReleaseDecision {
        (**self).can_be_released(check)
    }

    fn stop(&mut self, release: &ReleaseResource) {
        (**self).stop(release);
    }
}

/// The ids of one registration of a task executor, and its gateway.
///
/// ```
/// use slot_manager::testing::ScriptedGateway;
/// use slot_manager::{InstanceId, LeaderId, TaskExecutorConnection, WorkerRequestId};
///
/// // The worker was started with the id of its worker request in an environment variable.
/// let worker_request: WorkerRequestId = "00000000000000000000000000000001-12".parse()?;
/// let connection = TaskExecutorConnection::new("worker-1", InstanceId::from_u128(1), ScriptedGateway::new())
///     .with_leader(LeaderId::from_u128(1))
///     .with_worker_request(worker_request);
/// assert_eq!(connection.resource_id().as_str(), "worker-1");
/// assert_eq!(connection.worker_request(), Some(WorkerRequestId::new(LeaderId::from_u128(1), 12)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct TaskExecutorConnection<G> {
    pub(crate) resource_id: ResourceId,
    pub(crate) instance_id: InstanceId,
    pub(crate) leader_id: Option<LeaderId>,
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
            leader_id: None,
            worker_request: None,
            gateway,
        }
    }

    /// Sets the leadership that the task executor registers with.
    ///
    /// A manager of another leadership
    /// [refuses](crate::error::RegistrationError::OtherLeader) the registration. Without it, a
    /// message to a former leader that comes late is accepted, and the task executor refuses every
    /// attempt.
    #[must_use]
    pub fn with_leader(mut self, leader_id: LeaderId) -> Self {
        self.leader_id = Some(leader_id);
        self
    }

    /// Sets the worker request that this worker was started for.
    ///
    /// Its first slots then end the whole promise of that worker request, and fulfil no other. If
    /// unnamed workers have fulfilled it before, they end the oldest promise of the same shape
    /// instead. Any other worker request that is not open any more, or is of another leadership, is
    /// ignored: the worker counts as unnamed.
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

    /// Returns the leadership that the task executor registers with.
    pub fn leader_id(&self) -> Option<LeaderId> {
        self.leader_id
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
