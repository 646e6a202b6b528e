//! A task executor in memory: a slot table, a gateway, and a network under control of the test.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::effect_log::Recorder;
use super::{EffectLog, GatewayCall, lock};
use crate::message::{
    AllocateSlot, FreeInactiveSlots, FreeSlot, ReleaseCheck, ReleaseDecision, SlotAnswer, SlotFreed, SlotResult,
};
use crate::task_executor::{AnswerSender, PendingAnswer, TaskSlotTable};
use crate::{
    AllocationId, DynamicResources, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile, ScheduledExecutor,
    SlotId, SlotReport, TaskExecutorConnection, TaskExecutorGateway, Timestamp,
};

/// A task executor in memory, on a [`TaskSlotTable`], which keeps the rules of real ones.
///
/// Compare the view of a manager with its [`slot_report`](Self::slot_report), which is the truth.
/// Three parties act on it:
///
/// - The manager, through the [gateway](Self::gateway). A test can take its place with
///   [`handle_request_slot`](Self::handle_request_slot),
///   [`handle_free_slot`](Self::handle_free_slot),
///   [`handle_free_inactive_slots`](Self::handle_free_inactive_slots) and
///   [`handle_release_check`](Self::handle_release_check).
/// - The job, with [`activate`](Self::activate) and [`free`](Self::free).
/// - The environment, with [`expire`](Self::expire), [`disconnect`](Self::disconnect) and
///   [`crash`](Self::crash).
///
/// It never calls the manager. When a slot becomes free, the test tells the manager, or leaves that
/// out. With [`Delivery::Manual`] and [`Delivery::Mailbox`], messages can be late, get lost, or
/// overtake each other.
///
/// Reports, acknowledgements and freed slots carry the revision of the table. Clones share one task
/// executor.
///
/// ```
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, SimulatedTaskExecutor};
/// use slot_manager::outcome::{AllocationStatus, RegistrationOutcome, SlotRequestOutcome};
/// use slot_manager::{
///     AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig,
///     SlotRequest,
/// };
///
/// let (time, leader_id) = (ManualScheduledExecutor::new(), LeaderId::from_u128(1));
/// let mut manager = SlotManager::new(SlotManagerConfig::default(), time.clone())?;
/// manager.start(leader_id, RecordingActions::new())?;
///
/// let slot = ResourceProfile::builder().cpu_cores(2.0).build()?;
/// let task_executor = SimulatedTaskExecutor::new("tm-1", [slot.clone(), slot.clone()], time);
/// let connection = task_executor.connect(leader_id, InstanceId::from_u128(7));
/// let registered = manager.register_task_manager(connection, &task_executor.slot_report())?;
/// assert_eq!(registered, RegistrationOutcome::Registered);
///
/// let (job, allocation) = (JobId::from_u128(7), AllocationId::from_u128(1));
/// let outcome = manager.register_slot_request(SlotRequest::new(job, allocation, slot, "job-master"))?;
/// let slot_id = SlotId::new("tm-1", 0);
/// assert_eq!(outcome, SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id }));
/// assert_eq!(task_executor.current_allocation(0), Some(allocation));
/// assert_eq!(task_executor.revision(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SimulatedTaskExecutor {
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    table: TaskSlotTable,
    delivery: Delivery,
    /// Undelivered messages, in the order in which they were sent.
    in_transit: VecDeque<InTransit>,
    lost_answers: LostAnswers,
    recorder: Option<Recorder>,
}

/// The senders of answers that never arrive. As long as they are kept, the futures stay pending.
#[derive(Debug, Default)]
struct LostAnswers {
    /// Senders whose future was dropped are removed when the list is full.
    senders: Vec<AnswerSender>,
}

/// The delivery of messages between a [`SimulatedGateway`] and its task executor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// Messages arrive at once. The task executor acts within the call of the gateway, which
    /// answers [at once](SlotAnswer::Ready).
    #[default]
    Immediate,
    /// Messages arrive when the test [delivers](SimulatedTaskExecutor::deliver_next) them. It can
    /// also [lose](SimulatedTaskExecutor::lose) them. A slot request takes two messages, the call
    /// and its answer. The gateway answers by a [future](SlotAnswer::Future), which the delivery of
    /// the answer completes.
    ///
    /// The decision about a release check is an input of the manager, as with
    /// [`Mailbox`](Self::Mailbox).
    Manual,
    /// Messages arrive as with [`Manual`](Self::Manual), but the gateway answers
    /// [later](SlotAnswer::Later). All messages of the task executor are inputs of the manager: the
    /// test delivers a message and passes the returned [`GatewayMessage`] on.
    ///
    /// Each slot that the task executor frees for a message of the manager takes a message too.
    ///
    /// ```
    /// use slot_manager::outcome::{AllocationStatus, RegistrationOutcome, SlotAnswerOutcome, SlotRequestOutcome};
    /// use slot_manager::testing::{
    ///     Delivery, GatewayMessage, ManualScheduledExecutor, RecordingActions, SimulatedTaskExecutor,
    /// };
    /// use slot_manager::{
    ///     AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig,
    ///     SlotRequest,
    /// };
    ///
    /// let (time, leader_id) = (ManualScheduledExecutor::new(), LeaderId::from_u128(1));
    /// let mut manager = SlotManager::new(SlotManagerConfig::default(), time.clone())?;
    /// manager.start(leader_id, RecordingActions::new())?;
    /// let task_executor = SimulatedTaskExecutor::new("tm", [ResourceProfile::ANY], time);
    /// task_executor.set_delivery(Delivery::Mailbox);
    /// let connection = task_executor.connect(leader_id, InstanceId::from_u128(1));
    /// let registered = manager.register_task_manager(connection, &task_executor.slot_report())?;
    /// assert_eq!(registered, RegistrationOutcome::Registered);
    ///
    /// let request = SlotRequest::new(JobId::from_u128(7), AllocationId::from_u128(1), ResourceProfile::ZERO, "job");
    /// let slot_id = SlotId::new("tm", 0);
    /// let in_flight = AllocationStatus::InFlight { slot_id };
    /// assert_eq!(manager.register_slot_request(request)?, SlotRequestOutcome::Accepted(in_flight));
    ///
    /// // The request arrives at the task executor, and its answer at the service.
    /// assert!(matches!(task_executor.deliver_next(), Some(GatewayMessage::Call(_))));
    /// let Some(GatewayMessage::Answer { request, answer }) = task_executor.deliver_next() else {
    ///     return Err("no answer".into());
    /// };
    /// assert_eq!(manager.answer_slot_request(request.attempt_id(), answer), SlotAnswerOutcome::Applied);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Mailbox,
}

/// An undelivered message between a [`SimulatedGateway`] and its task executor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatewayMessage {
    /// A call to the task executor.
    Call(GatewayCall),
    /// An answer of the task executor. Its slot table has already changed as the answer says.
    ///
    /// With [`Delivery::Mailbox`], pass it to
    /// [`answer_slot_request`](crate::SlotManager::answer_slot_request).
    Answer {
        /// The request that it answers.
        request: AllocateSlot,
        /// The answer.
        answer: SlotResult,
    },
    /// A slot that the task executor has freed for a message of the manager. Only with [`Delivery::Mailbox`].
    /// Pass it to [`slot_freed`](crate::SlotManager::slot_freed).
    Freed(SlotFreed),
    /// A decision of the task executor. Pass it to
    /// [`answer_release`](crate::SlotManager::answer_release).
    Decision {
        /// The release check that it answers.
        check: ReleaseCheck,
        /// The decision.
        decision: ReleaseDecision,
    },
}

/// A message, and the sender that completes its future, if it has one.
#[derive(Debug)]
enum InTransit {
    RequestSlot(AllocateSlot, Option<AnswerSender>),
    FreeSlot(FreeSlot),
    FreeInactiveSlots(FreeInactiveSlots),
    CheckRelease(ReleaseCheck),
    Answer(AllocateSlot, Option<AnswerSender>, SlotResult),
    Freed(SlotFreed),
    Decision(ReleaseCheck, ReleaseDecision),
}

impl SimulatedTaskExecutor {
    /// Creates a task executor with free slots of these profiles, numbered from 0. It is not
    /// connected.
    ///
    /// It reads the time from `executor`, which may be a clone of the manager's. An allocation has
    /// 10 s to [use](Self::activate) a slot, unless [`with_slot_timeout`](Self::with_slot_timeout)
    /// changes that.
    pub fn new(
        resource_id: impl Into<ResourceId>,
        slots: impl IntoIterator<Item = ResourceProfile>,
        executor: impl ScheduledExecutor + Send + Sync + 'static,
    ) -> Self {
        Self::with_table(TaskSlotTable::new(resource_id, slots), executor)
    }

    /// Creates the task executor of a dynamic worker with these resources. It is not connected.
    ///
    /// Its slots are cut by the rules of [`TaskSlotTable::dynamic`]. In all else it is as one of
    /// [`new`](Self::new).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::message::{AllocateSlot, SlotAnswer};
    /// use slot_manager::testing::{ManualScheduledExecutor, SimulatedTaskExecutor};
    /// use slot_manager::{AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, TaskExecutorGateway};
    ///
    /// let cores = |cores| ResourceProfile::builder().cpu_cores(cores).build();
    /// let task_executor = SimulatedTaskExecutor::dynamic("tm", cores(8.0)?, ManualScheduledExecutor::new());
    /// let request = AllocateSlot {
    ///     slot_id: SlotId::dynamic("tm", 0),
    ///     job_id: JobId::from_u128(7),
    ///     allocation_id: AllocationId::from_u128(1),
    ///     resource_profile: cores(5.0)?,
    ///     target_address: "job-master".into(),
    ///     leader_id: LeaderId::from_u128(1),
    ///     instance_id: InstanceId::from_u128(1),
    ///     attempt: 1,
    /// };
    /// let mut gateway = task_executor.connect(request.leader_id, request.instance_id).gateway().clone();
    /// assert!(matches!(gateway.request_slot(&request), SlotAnswer::Ready(Ok(_))));
    /// let report = task_executor.slot_report();
    /// assert_eq!(report.dynamic().and_then(|worker| worker.free()), Some(&cores(3.0)?));
    /// # Ok::<(), slot_manager::error::ResourceProfileError>(())
    /// ```
    pub fn dynamic(
        resource_id: impl Into<ResourceId>,
        worker: impl Into<DynamicResources>,
        executor: impl ScheduledExecutor + Send + Sync + 'static,
    ) -> Self {
        Self::with_table(TaskSlotTable::dynamic(resource_id, worker), executor)
    }

    fn with_table(table: TaskSlotTable, executor: impl ScheduledExecutor + Send + Sync + 'static) -> Self {
        let state = State {
            table,
            delivery: Delivery::Immediate,
            in_transit: VecDeque::new(),
            lost_answers: LostAnswers::default(),
            recorder: None,
        };
        Self {
            clock: Arc::new(move || executor.now()),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Sets the time that an allocation has to [use](Self::activate) a slot. Running timeouts do
    /// not change.
    #[must_use]
    pub fn with_slot_timeout(self, timeout: Duration) -> Self {
        lock(&self.state).table.set_slot_timeout(timeout);
        self
    }

    /// Records the calls of its gateways into `log`, at the time of the call. Without a log, none
    /// is recorded.
    #[must_use]
    pub fn with_log(self, log: &EffectLog) -> Self {
        lock(&self.state).recorder = Some(Recorder::new(log));
        self
    }

    /// Returns the id of the worker process. A crash does not change it.
    pub fn resource_id(&self) -> ResourceId {
        lock(&self.state).table.resource_id().clone()
    }

    /// Returns the leadership that it is connected to; `None` without a connection.
    pub fn leader_id(&self) -> Option<LeaderId> {
        lock(&self.state).table.leader_id()
    }

    /// Returns the registration that it is connected with; `None` without a connection.
    pub fn instance_id(&self) -> Option<InstanceId> {
        lock(&self.state).table.instance_id()
    }

    /// Connects it to a resource manager. Returns the connection to register with.
    ///
    /// From now on it accepts only messages of this leadership to this registration. If the leader
    /// is another than before, all attempts of the earlier leader count as older than any new one.
    ///
    /// Cost: O(slots).
    pub fn connect(&self, leader_id: LeaderId, instance_id: InstanceId) -> TaskExecutorConnection<SimulatedGateway> {
        let resource_id = {
            let mut state = lock(&self.state);
            state.table.connect(leader_id, instance_id);
            state.table.resource_id().clone()
        };
        TaskExecutorConnection::new(resource_id, instance_id, self.gateway())
    }

    /// Ends the connection. It keeps its slots, and refuses every message until it is connected
    /// again.
    pub fn disconnect(&self) {
        lock(&self.state).table.disconnect();
    }

    /// Ends the process and starts it anew, not connected.
    ///
    /// All its slots are free, the revision is 0, and all attempts are forgotten. A dynamic worker
    /// has its whole total again, and no slots. Undelivered messages can still be delivered.
    ///
    /// Cost: O(slots).
    pub fn crash(&self) {
        lock(&self.state).table.restart();
    }

    /// Returns a gateway to it.
    ///
    /// Messages name the registration that they are meant for. Those for another registration are
    /// refused, through every gateway.
    pub fn gateway(&self) -> SimulatedGateway {
        SimulatedGateway {
            task_executor: self.clone(),
        }
    }

    /// Returns a report of all slots, ordered by number, with the current revision. That of a dynamic
    /// worker has its resources, too.
    ///
    /// Cost: O(slots).
    pub fn slot_report(&self) -> SlotReport {
        lock(&self.state).table.report()
    }

    /// Returns the current revision: the number of changes of its slots since the process began.
    pub fn revision(&self) -> u64 {
        lock(&self.state).table.revision()
    }

    /// Returns the allocation that holds the slot; `None` if the slot is free or does not exist.
    pub fn current_allocation(&self, slot_number: u32) -> Option<AllocationId> {
        let allocation = lock(&self.state).table.current_allocation(slot_number)?;
        Some(allocation.id)
    }

    /// Changes the total and the default slot of a dynamic worker, by the rules of
    /// [`TaskSlotTable::set_resources`]. Held slots stay as they are.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::testing::{ManualScheduledExecutor, SimulatedTaskExecutor};
    /// use slot_manager::ResourceProfile;
    ///
    /// let time = ManualScheduledExecutor::new();
    /// let task_executor = SimulatedTaskExecutor::dynamic("tm", ResourceProfile::ANY, time);
    /// task_executor.set_resources(ResourceProfile::ZERO);
    /// assert_eq!(task_executor.revision(), 1);
    /// ```
    pub fn set_resources(&self, worker: impl Into<DynamicResources>) {
        let worker = worker.into();
        lock(&self.state).table.set_resources(worker);
    }

    /// Adds a free slot, or changes the profile of the slot with this number. A held slot stays
    /// held.
    ///
    /// A dynamic worker has no free slots, and another one no [dynamic slots](SlotId::dynamic):
    /// then nothing changes.
    pub fn set_slot(&self, slot_number: u32, resource_profile: ResourceProfile) {
        lock(&self.state).table.set_slot(slot_number, resource_profile);
    }

    /// Removes a slot. Returns the allocation that held it.
    pub fn remove_slot(&self, slot_number: u32) -> Option<AllocationId> {
        let allocation = lock(&self.state).table.remove_slot(slot_number)?;
        Some(allocation.id)
    }

    /// Handles a slot request by the rules of [`TaskSlotTable::request_slot`].
    ///
    /// Cost: O(slots).
    ///
    /// # Errors
    /// [`SlotAllocationError`](crate::error::SlotAllocationError), by the same rules. Nothing
    /// changes.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::testing::{ManualScheduledExecutor, SimulatedTaskExecutor};
    /// use slot_manager::message::AllocateSlot;
    /// use slot_manager::{AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, Timestamp};
    ///
    /// let time = ManualScheduledExecutor::new();
    /// let task_executor = SimulatedTaskExecutor::new("tm", [ResourceProfile::ANY], time);
    /// let request = AllocateSlot {
    ///     slot_id: SlotId::new("tm", 0),
    ///     job_id: JobId::from_u128(7),
    ///     allocation_id: AllocationId::from_u128(1),
    ///     resource_profile: ResourceProfile::ANY,
    ///     target_address: "job-master".into(),
    ///     leader_id: LeaderId::from_u128(1),
    ///     instance_id: InstanceId::from_u128(1),
    ///     attempt: 1,
    /// };
    /// let refused = task_executor.handle_request_slot(&request, Timestamp::ZERO);
    /// assert!(refused.is_err(), "it is not connected");
    ///
    /// task_executor.connect(request.leader_id, request.instance_id);
    /// let acknowledge = task_executor.handle_request_slot(&request, Timestamp::ZERO)?;
    /// assert_eq!(acknowledge.revision(), Some(1));
    /// # Ok::<(), slot_manager::error::SlotAllocationError>(())
    /// ```
    pub fn handle_request_slot(&self, request: &AllocateSlot, now: Timestamp) -> SlotResult {
        lock(&self.state).table.request_slot(request, now)
    }

    /// Handles the message that an allocation must not hold a slot, by the rules of
    /// [`TaskSlotTable::free_slot`]. Returns the message for the manager if a slot became free.
    pub fn handle_free_slot(&self, request: &FreeSlot) -> Option<SlotFreed> {
        lock(&self.state).table.free_slot(request)
    }

    /// Handles the message that a job has ended, by the rules of
    /// [`TaskSlotTable::free_inactive_slots`]. Returns the messages for the manager.
    ///
    /// Cost: O(slots).
    pub fn handle_free_inactive_slots(&self, request: &FreeInactiveSlots) -> Vec<SlotFreed> {
        lock(&self.state).table.free_inactive_slots(request)
    }

    /// Handles a release check by the rules of [`TaskSlotTable::can_be_released`].
    ///
    /// Cost: O(slots).
    pub fn handle_release_check(&self, check: &ReleaseCheck) -> ReleaseDecision {
        lock(&self.state).table.can_be_released(check)
    }

    /// Marks the slot of an allocation as used by its job. Returns the slot, if the allocation
    /// holds one.
    ///
    /// From now on, neither the slot timeout nor the manager frees it.
    ///
    /// Cost: O(slots).
    pub fn activate(&self, allocation_id: AllocationId) -> Option<SlotId> {
        lock(&self.state).table.activate(allocation_id)
    }

    /// Frees the slot of an allocation for its job. Returns the message for the manager, if the
    /// allocation holds a slot.
    ///
    /// Tell the manager with [`slot_freed`](crate::SlotManager::slot_freed).
    ///
    /// Cost: O(slots).
    pub fn free(&self, allocation_id: AllocationId) -> Option<SlotFreed> {
        lock(&self.state).table.free(allocation_id)
    }

    /// Frees all slots of a job that is gone, in the order of their numbers.
    ///
    /// Tell the manager of each with [`slot_freed`](crate::SlotManager::slot_freed).
    ///
    /// Cost: O(slots).
    pub fn free_job(&self, job_id: JobId) -> Vec<SlotFreed> {
        lock(&self.state).table.free_job(job_id)
    }

    /// Frees the slots that were not [used](Self::activate) within the slot timeout.
    ///
    /// They are ordered by the time at which they fell due, then by number. Tell the manager of
    /// each with [`slot_freed`](crate::SlotManager::slot_freed).
    ///
    /// Cost: O(slots).
    pub fn expire(&self, now: Timestamp) -> Vec<SlotFreed> {
        lock(&self.state).table.expire(now)
    }

    /// Returns the earliest time at which [`expire`](Self::expire) frees a slot.
    ///
    /// `None` if no slot timeout runs, or all end beyond the range of the clock.
    ///
    /// Cost: O(slots).
    pub fn next_slot_timeout(&self) -> Option<Timestamp> {
        lock(&self.state).table.next_timeout()
    }

    /// Sets the delivery of messages that are sent from now on. Undelivered messages stay
    /// undelivered.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::testing::{Delivery, ManualScheduledExecutor, SimulatedTaskExecutor};
    /// use slot_manager::message::AllocateSlot;
    /// use slot_manager::{AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, TaskExecutorGateway};
    ///
    /// let time = ManualScheduledExecutor::new();
    /// let task_executor = SimulatedTaskExecutor::new("tm", [ResourceProfile::ANY], time);
    /// task_executor.set_delivery(Delivery::Manual);
    /// let slot_request = AllocateSlot {
    ///     slot_id: SlotId::new("tm", 0),
    ///     job_id: JobId::from_u128(7),
    ///     allocation_id: AllocationId::from_u128(1),
    ///     resource_profile: ResourceProfile::ANY,
    ///     target_address: "job-master".into(),
    ///     leader_id: LeaderId::from_u128(1),
    ///     instance_id: InstanceId::from_u128(1),
    ///     attempt: 1,
    /// };
    /// let mut gateway = task_executor.connect(slot_request.leader_id, slot_request.instance_id).gateway().clone();
    /// let _answer = gateway.request_slot(&slot_request);
    ///
    /// // The call is undelivered, then its answer is.
    /// assert_eq!(task_executor.pending().len(), 1);
    /// assert_eq!(task_executor.current_allocation(0), None);
    /// assert_eq!(task_executor.deliver_all(), 2);
    /// assert_eq!(task_executor.current_allocation(0), Some(slot_request.allocation_id));
    /// ```
    pub fn set_delivery(&self, delivery: Delivery) {
        lock(&self.state).delivery = delivery;
    }

    /// Returns the undelivered messages, oldest first. Messages of attempts given up since are
    /// among them.
    ///
    /// Cost: O(undelivered messages).
    pub fn pending(&self) -> Vec<GatewayMessage> {
        lock(&self.state).in_transit.iter().map(InTransit::message).collect()
    }

    /// Delivers the oldest message and returns it; `None` if none is undelivered.
    ///
    /// See [`deliver`](Self::deliver).
    pub fn deliver_next(&self) -> Option<GatewayMessage> {
        self.deliver(0)
    }

    /// Delivers the message at this position of [`pending`](Self::pending) and returns it.
    ///
    /// It overtakes the messages that were sent earlier. `None` if there is no message at this
    /// position.
    ///
    /// The answer to a delivered call becomes the last undelivered message. A delivered answer
    /// wakes the task that polls its future, if it has one. All other messages to the manager are
    /// inputs: pass them on.
    ///
    /// Cost: O(undelivered messages + slots).
    pub fn deliver(&self, position: usize) -> Option<GatewayMessage> {
        let now = (self.clock)();
        let mut state = lock(&self.state);
        let arrived = state.in_transit.remove(position)?;
        let message = arrived.message();
        match arrived {
            InTransit::RequestSlot(request, sender) => {
                let answer = state.table.request_slot(&request, now);
                state.in_transit.push_back(InTransit::Answer(request, sender, answer));
            }
            InTransit::FreeSlot(request) => state.free_slot(&request),
            InTransit::FreeInactiveSlots(request) => state.free_inactive_slots(&request),
            InTransit::CheckRelease(check) => {
                let decision = state.table.can_be_released(&check);
                state.in_transit.push_back(InTransit::Decision(check, decision));
            }
            InTransit::Answer(_, Some(sender), answer) => {
                // The sender wakes a task, which must happen without the lock.
                drop(state);
                sender.send(answer);
            }
            InTransit::Answer(_, None, _) | InTransit::Freed(_) | InTransit::Decision(..) => {}
        }
        Some(message)
    }

    /// Delivers all messages, oldest first, and the answers that they cause. Returns their number.
    ///
    /// Messages that are inputs of the manager are lost this way.
    pub fn deliver_all(&self) -> usize {
        std::iter::from_fn(|| self.deliver_next()).count()
    }

    /// Loses the message at this position of [`pending`](Self::pending) and returns it. It never
    /// arrives.
    ///
    /// `None` if there is no message at this position.
    pub fn lose(&self, position: usize) -> Option<GatewayMessage> {
        let mut state = lock(&self.state);
        let lost = state.in_transit.remove(position)?;
        let message = lost.message();
        if let InTransit::RequestSlot(_, Some(sender)) | InTransit::Answer(_, Some(sender), _) = lost {
            state.lost_answers.keep(sender);
        }
        Some(message)
    }
}

impl LostAnswers {
    fn keep(&mut self, sender: AnswerSender) {
        if self.senders.len() == self.senders.capacity() {
            self.senders.retain(AnswerSender::is_awaited);
        }
        self.senders.push(sender);
    }
}

impl fmt::Debug for SimulatedTaskExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedTaskExecutor")
            .field("state", &lock(&self.state))
            .finish_non_exhaustive()
    }
}

impl InTransit {
    /// Returns the message that a test sees.
    fn message(&self) -> GatewayMessage {
        match self {
            Self::RequestSlot(request, _) => GatewayMessage::Call(GatewayCall::RequestSlot(request.clone())),
            Self::FreeSlot(request) => GatewayMessage::Call(GatewayCall::FreeSlot(request.clone())),
            Self::FreeInactiveSlots(request) => GatewayMessage::Call(GatewayCall::FreeInactiveSlots(*request)),
            Self::CheckRelease(check) => GatewayMessage::Call(GatewayCall::CanBeReleased(*check)),
            Self::Answer(request, _, answer) => GatewayMessage::Answer {
                request: request.clone(),
                answer: answer.clone(),
            },
            Self::Freed(freed) => GatewayMessage::Freed(freed.clone()),
            Self::Decision(check, decision) => GatewayMessage::Decision {
                check: *check,
                decision: *decision,
            },
        }
    }
}

/// The gateway of a manager to a [`SimulatedTaskExecutor`].
#[derive(Debug, Clone)]
pub struct SimulatedGateway {
    task_executor: SimulatedTaskExecutor,
}

impl SimulatedGateway {
    /// Returns the task executor behind this gateway.
    pub fn task_executor(&self) -> &SimulatedTaskExecutor {
        &self.task_executor
    }
}

impl TaskExecutorGateway for SimulatedGateway {
    type RequestSlotFuture = PendingAnswer;

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<PendingAnswer> {
        let now = (self.task_executor.clock)();
        let mut state = lock(&self.task_executor.state);
        state.record(|| GatewayCall::RequestSlot(request.clone()));
        let (sender, slot_answer) = match state.delivery {
            Delivery::Immediate => return SlotAnswer::Ready(state.table.request_slot(request, now)),
            Delivery::Manual => {
                let (sender, answer) = PendingAnswer::new();
                (Some(sender), SlotAnswer::Future(answer))
            }
            Delivery::Mailbox => (None, SlotAnswer::Later),
        };
        state
            .in_transit
            .push_back(InTransit::RequestSlot(request.clone(), sender));
        slot_answer
    }

    fn free_slot(&mut self, request: &FreeSlot) {
        let mut state = lock(&self.task_executor.state);
        state.record(|| GatewayCall::FreeSlot(request.clone()));
        match state.delivery {
            Delivery::Immediate => state.free_slot(request),
            Delivery::Manual | Delivery::Mailbox => state.in_transit.push_back(InTransit::FreeSlot(request.clone())),
        }
    }

    fn free_inactive_slots(&mut self, request: &FreeInactiveSlots) {
        let mut state = lock(&self.task_executor.state);
        state.record(|| GatewayCall::FreeInactiveSlots(*request));
        match state.delivery {
            Delivery::Immediate => state.free_inactive_slots(request),
            Delivery::Manual | Delivery::Mailbox => state.in_transit.push_back(InTransit::FreeInactiveSlots(*request)),
        }
    }

    fn can_be_released(&mut self, check: &ReleaseCheck) -> ReleaseDecision {
        let mut state = lock(&self.task_executor.state);
        state.record(|| GatewayCall::CanBeReleased(*check));
        match state.delivery {
            Delivery::Immediate => state.table.can_be_released(check),
            Delivery::Manual | Delivery::Mailbox => {
                state.in_transit.push_back(InTransit::CheckRelease(*check));
                ReleaseDecision::Later
            }
        }
    }
}

impl State {
    fn free_slot(&mut self, request: &FreeSlot) {
        let freed = self.table.free_slot(request);
        self.tell_freed(freed);
    }

    fn free_inactive_slots(&mut self, request: &FreeInactiveSlots) {
        let freed = self.table.free_inactive_slots(request);
        self.tell_freed(freed);
    }

    /// With a mailbox, the task executor tells the manager which slots it has freed.
    fn tell_freed(&mut self, freed: impl IntoIterator<Item = SlotFreed>) {
        if self.delivery == Delivery::Mailbox {
            self.in_transit.extend(freed.into_iter().map(InTransit::Freed));
        }
    }

    /// Records a call, if there is a log.
    fn record(&self, call: impl FnOnce() -> GatewayCall) {
        if let Some(recorder) = &self.recorder {
            recorder.record(call());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::error::SlotAllocationError;
    use crate::message::Acknowledge;
    use crate::outcome::{
        AllocationStatus, RegistrationOutcome, SlotAnswerOutcome, SlotFreedOutcome, SlotRequestOutcome,
    };
    use crate::testing::samples::{
        ALLOCATION, EXECUTOR, INSTANCE, JOB, LEADER, OTHER_ALLOCATION, WakeCounter, free_slot, release_check,
        request_slot,
    };
    use crate::testing::{ManualScheduledExecutor, RecordingActions};
    use crate::{SlotManager, SlotManagerConfig, SlotRequest};

    const OTHER_INSTANCE: InstanceId = InstanceId::from_u128(0x2);
    const SLOT_TIMEOUT: Duration = Duration::from_secs(30);

    /// A connected task executor with two slots.
    struct Fixture {
        time: ManualScheduledExecutor,
        executor: SimulatedTaskExecutor,
    }

    impl Fixture {
        fn new() -> Self {
            let time = ManualScheduledExecutor::new();
            let executor = SimulatedTaskExecutor::new(EXECUTOR, vec![ResourceProfile::ANY; 2], time.clone())
                .with_slot_timeout(SLOT_TIMEOUT);
            executor.connect(LEADER, INSTANCE);
            Self { time, executor }
        }

        fn holders(&self) -> [Option<AllocationId>; 2] {
            [0, 1].map(|slot_number| self.executor.current_allocation(slot_number))
        }
    }

    fn acknowledged(revision: u64) -> SlotResult {
        Ok(Acknowledge::new().with_revision(revision))
    }

    /// Returns the message that [`INSTANCE`] has freed slot 0.
    fn freed(allocation_id: AllocationId, revision: u64) -> SlotFreed {
        let freed = SlotFreed::new(SlotId::new(EXECUTOR, 0), allocation_id);
        freed.with_revision(INSTANCE, revision).with_attempt(1)
    }

    /// Requests a slot whose answer is a future.
    #[track_caller]
    fn request_by_future(executor: &SimulatedTaskExecutor, request: &AllocateSlot) -> PendingAnswer {
        match executor.gateway().request_slot(request) {
            SlotAnswer::Future(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn connecting_returns_the_connection_to_register() {
        let fixture = Fixture::new();
        let leader = LeaderId::from_u128(0x2eade);
        let connection = fixture.executor.connect(leader, OTHER_INSTANCE);
        assert_eq!(connection.resource_id(), &ResourceId::from(EXECUTOR));
        assert_eq!(connection.instance_id(), OTHER_INSTANCE);
        assert_eq!(connection.gateway().task_executor().resource_id(), EXECUTOR.into());
        assert_eq!(fixture.executor.leader_id(), Some(leader));
        assert_eq!(fixture.executor.instance_id(), Some(OTHER_INSTANCE));

        fixture.executor.disconnect();
        assert_eq!(
            (fixture.executor.leader_id(), fixture.executor.instance_id()),
            (None, None)
        );
    }

    #[test]
    fn clones_and_gateways_are_one_task_executor() {
        let fixture = Fixture::new();
        let request = request_slot(0, ALLOCATION, 1);
        let answer = fixture.executor.clone().handle_request_slot(&request, Timestamp::ZERO);
        assert_eq!(answer, acknowledged(1));
        assert_eq!(fixture.holders(), [Some(ALLOCATION), None]);
        assert_eq!(
            fixture.executor.slot_report().revision(),
            Some(fixture.executor.revision())
        );

        let gateway = fixture.executor.gateway();
        let answer = gateway.task_executor().handle_free_slot(&free_slot(0, ALLOCATION, 1));
        assert_eq!(answer, Some(freed(ALLOCATION, 2)));
        assert_eq!(fixture.holders(), [None, None]);
    }

    fn call(request: &AllocateSlot) -> GatewayMessage {
        GatewayMessage::Call(GatewayCall::RequestSlot(request.clone()))
    }

    #[test]
    fn gateway_answers_at_once_at_the_time_of_the_clock() {
        let fixture = Fixture::new();
        let mut gateway = fixture.executor.gateway();
        fixture.time.advance(Duration::from_secs(2));
        let answer = gateway.request_slot(&request_slot(0, ALLOCATION, 1));
        assert_eq!(fixture.holders(), [Some(ALLOCATION), None]);
        assert!(matches!(answer, SlotAnswer::Ready(answer) if answer == acknowledged(1)));
        assert_eq!(gateway.can_be_released(&release_check(1)), ReleaseDecision::Keep);
        let due = Timestamp::from_secs(2) + SLOT_TIMEOUT;
        assert_eq!(fixture.executor.next_slot_timeout(), Some(due));

        gateway.free_slot(&free_slot(0, ALLOCATION, 1));
        assert_eq!(fixture.holders(), [None, None]);
        assert_eq!(gateway.can_be_released(&release_check(2)), ReleaseDecision::Release);
        assert_eq!(fixture.executor.pending(), []);
    }

    #[test]
    fn calls_are_recorded_when_they_are_made() {
        let log = EffectLog::new();
        let mut fixture = Fixture::new();
        fixture.executor = fixture.executor.with_log(&log);
        fixture.executor.set_delivery(Delivery::Manual);
        let mut gateway = fixture.executor.gateway();
        let (request, free) = (request_slot(0, ALLOCATION, 1), free_slot(0, ALLOCATION, 1));
        drop(gateway.request_slot(&request));
        gateway.free_slot(&free);
        assert_eq!(gateway.can_be_released(&release_check(1)), ReleaseDecision::Later);
        assert_eq!(
            log.take(),
            [
                GatewayCall::RequestSlot(request).into(),
                GatewayCall::FreeSlot(free).into(),
                GatewayCall::CanBeReleased(release_check(1)).into(),
            ]
        );
        fixture.executor.deliver_all();
        assert!(log.is_empty());
    }

    #[test]
    fn request_and_answer_are_delivered_one_by_one() {
        let fixture = Fixture::new();
        fixture.executor.set_delivery(Delivery::Manual);
        let request = request_slot(0, ALLOCATION, 1);
        let mut answer = request_by_future(&fixture.executor, &request);
        let task = WakeCounter::new();
        assert!(answer.poll_unpin(&mut task.context()).is_pending());
        assert_eq!(fixture.executor.pending(), [call(&request)]);
        assert_eq!(fixture.holders(), [None, None]);

        fixture.time.advance(Duration::from_secs(5));
        assert_eq!(fixture.executor.deliver_next(), Some(call(&request)));
        assert_eq!(fixture.holders(), [Some(ALLOCATION), None]);
        let due = Timestamp::from_secs(5) + SLOT_TIMEOUT;
        assert_eq!(
            fixture.executor.next_slot_timeout(),
            Some(due),
            "the timeout begins on arrival"
        );
        assert_eq!(task.count(), 0);

        let back = GatewayMessage::Answer {
            request,
            answer: acknowledged(1),
        };
        assert_eq!(fixture.executor.pending(), std::slice::from_ref(&back));
        assert_eq!(fixture.executor.deliver_next(), Some(back));
        assert_eq!(task.count(), 1);
        assert_eq!(answer.now_or_never(), Some(acknowledged(1)));
        assert_eq!(fixture.executor.deliver_next(), None);
    }

    #[test]
    fn answer_queues_behind_messages_sent_before_it() {
        let fixture = Fixture::new();
        fixture.executor.set_delivery(Delivery::Manual);
        let _first = request_by_future(&fixture.executor, &request_slot(0, ALLOCATION, 1));
        let second = request_slot(1, OTHER_ALLOCATION, 2);
        let _second = request_by_future(&fixture.executor, &second);
        fixture.executor.deliver_next();

        let answer = GatewayMessage::Answer {
            request: request_slot(0, ALLOCATION, 1),
            answer: acknowledged(1),
        };
        assert_eq!(fixture.executor.pending(), [call(&second), answer]);
    }

    #[test]
    fn late_answer_has_the_revision_of_its_allocation() {
        let fixture = Fixture::new();
        fixture.executor.set_delivery(Delivery::Manual);
        let answer = request_by_future(&fixture.executor, &request_slot(0, ALLOCATION, 1));
        fixture.executor.deliver_next();
        assert_eq!(fixture.executor.free(ALLOCATION), Some(freed(ALLOCATION, 2)));
        fixture.executor.deliver_next();
        assert_eq!(fixture.executor.revision(), 2);
        assert_eq!(answer.now_or_never(), Some(acknowledged(1)));
    }

    #[test]
    fn free_that_overtakes_its_request_wins() {
        let fixture = Fixture::new();
        fixture.executor.set_delivery(Delivery::Manual);
        drop(request_by_future(&fixture.executor, &request_slot(0, ALLOCATION, 1)));
        fixture.executor.gateway().free_slot(&free_slot(0, ALLOCATION, 1));

        let expected = GatewayMessage::Call(GatewayCall::FreeSlot(free_slot(0, ALLOCATION, 1)));
        assert_eq!(fixture.executor.deliver(1), Some(expected));
        assert_eq!(fixture.executor.deliver_all(), 2, "the request and its answer");
        assert_eq!(fixture.holders(), [None, None]);
    }

    #[test]
    fn lost_request_changes_nothing_and_lost_answer_leaves_the_slot_held() {
        let fixture = Fixture::new();
        fixture.executor.set_delivery(Delivery::Manual);
        let lost_request = request_by_future(&fixture.executor, &request_slot(0, ALLOCATION, 1));
        let lost_answer = request_by_future(&fixture.executor, &request_slot(1, OTHER_ALLOCATION, 2));
        assert_eq!(fixture.executor.lose(0), Some(call(&request_slot(0, ALLOCATION, 1))));
        fixture.executor.deliver_next();
        assert!(matches!(fixture.executor.lose(0), Some(GatewayMessage::Answer { .. })));
        assert_eq!(fixture.executor.lose(0), None);

        assert_eq!(fixture.holders(), [None, Some(OTHER_ALLOCATION)]);
        assert_eq!(lost_request.now_or_never(), None);
        assert_eq!(lost_answer.now_or_never(), None);
    }

    #[test]
    fn lost_answers_do_not_accumulate() {
        let fixture = Fixture::new();
        fixture.executor.set_delivery(Delivery::Manual);
        let kept = request_by_future(&fixture.executor, &request_slot(0, ALLOCATION, 1));
        fixture.executor.lose(0);
        for attempt in 2..1000 {
            let given_up = request_by_future(&fixture.executor, &request_slot(0, ALLOCATION, attempt));
            fixture.executor.lose(0);
            drop(given_up);
        }
        assert!(lock(&fixture.executor.state).lost_answers.senders.len() < 10);
        assert_eq!(kept.now_or_never(), None);
    }

    #[test]
    fn with_a_mailbox_the_test_passes_all_messages_of_the_task_executor_on() {
        // given
        let fixture = Fixture::new();
        fixture.executor.set_delivery(Delivery::Mailbox);
        let mut gateway = fixture.executor.gateway();
        let (request, free) = (request_slot(0, ALLOCATION, 1), free_slot(0, ALLOCATION, 1));

        // when
        assert!(matches!(gateway.request_slot(&request), SlotAnswer::Later));
        gateway.free_slot(&free);
        assert_eq!(gateway.can_be_released(&release_check(1)), ReleaseDecision::Later);

        // then
        let calls = [
            GatewayCall::RequestSlot(request.clone()),
            GatewayCall::FreeSlot(free),
            GatewayCall::CanBeReleased(release_check(1)),
        ];
        let replies = [
            GatewayMessage::Answer {
                request,
                answer: acknowledged(1),
            },
            GatewayMessage::Freed(freed(ALLOCATION, 2)),
            GatewayMessage::Decision {
                check: release_check(1),
                decision: ReleaseDecision::Release,
            },
        ];
        for expected in calls.map(GatewayMessage::Call).into_iter().chain(replies) {
            assert_eq!(fixture.executor.deliver_next(), Some(expected));
        }
        assert_eq!(fixture.executor.deliver_next(), None);
    }

    #[test]
    fn lost_message_of_a_mailbox_stays_away() {
        let fixture = Fixture::new();
        fixture.executor.set_delivery(Delivery::Mailbox);
        let _later = fixture.executor.gateway().request_slot(&request_slot(0, ALLOCATION, 1));
        fixture.executor.deliver_next();
        assert!(matches!(fixture.executor.lose(0), Some(GatewayMessage::Answer { .. })));
        assert_eq!(fixture.executor.pending(), []);
        assert!(lock(&fixture.executor.state).lost_answers.senders.is_empty());
    }

    #[test]
    fn manager_is_driven_through_a_mailbox() {
        // given
        let fixture = Fixture::new();
        fixture.executor.set_delivery(Delivery::Mailbox);
        let mut manager = SlotManager::new(SlotManagerConfig::default(), fixture.time.clone()).expect("valid");
        manager.start(LEADER, RecordingActions::new()).expect("not started");
        let connection = fixture.executor.connect(LEADER, INSTANCE);
        let registered = manager.register_task_manager(connection, &fixture.executor.slot_report());
        assert_eq!(registered, Ok(RegistrationOutcome::Registered));

        // when
        let request = SlotRequest::new(JOB, ALLOCATION, ResourceProfile::ZERO, "job-master");
        let outcome = manager.register_slot_request(request).expect("accepted");

        // then: the request is in flight until its answer is passed on
        let slot_id = SlotId::new(EXECUTOR, 0);
        let in_flight = AllocationStatus::InFlight {
            slot_id: slot_id.clone(),
        };
        assert_eq!(outcome, SlotRequestOutcome::Accepted(in_flight));
        fixture.executor.deliver_next();
        let Some(GatewayMessage::Answer { request, answer }) = fixture.executor.deliver_next() else {
            panic!("no answer");
        };
        assert_eq!(
            manager.answer_slot_request(request.attempt_id(), answer),
            SlotAnswerOutcome::Applied
        );
        assert_eq!(
            manager.allocation_status(ALLOCATION),
            Some(AllocationStatus::Granted { slot_id })
        );

        // when: the job ends
        let of_job = fixture.executor.free_job(JOB);

        // then
        assert_eq!(of_job, [freed(ALLOCATION, 2)]);
        assert_eq!(manager.slot_freed(&of_job[0]), SlotFreedOutcome::Freed);
        assert_eq!(
            fixture.executor.handle_release_check(&release_check(1)),
            ReleaseDecision::Release
        );
    }

    /// A connected task executor of a dynamic worker.
    fn dynamic() -> Fixture {
        let time = ManualScheduledExecutor::new();
        let executor = SimulatedTaskExecutor::dynamic(EXECUTOR, cores(8.0), time.clone());
        executor.connect(LEADER, INSTANCE);
        Fixture { time, executor }
    }

    fn cores(cores: f64) -> ResourceProfile {
        let profile = ResourceProfile::builder().cpu_cores(cores).build();
        profile.expect("a valid amount")
    }

    /// Returns a request that cuts these cores.
    fn cut(number: u32, allocation_id: AllocationId, attempt: u64, profile: f64) -> AllocateSlot {
        AllocateSlot {
            slot_id: SlotId::dynamic(EXECUTOR, number),
            resource_profile: cores(profile),
            ..request_slot(0, allocation_id, attempt)
        }
    }

    /// Returns the cores that a report shows as free.
    fn remaining(executor: &SimulatedTaskExecutor) -> Option<f64> {
        executor.slot_report().dynamic()?.free()?.cpu_cores()
    }

    #[test]
    fn slots_of_a_dynamic_worker_are_cut_on_arrival_of_the_request() {
        // given
        let fixture = dynamic();
        fixture.executor.set_delivery(Delivery::Manual);
        let first = request_by_future(&fixture.executor, &cut(0, ALLOCATION, 1, 5.0));
        let second = request_by_future(&fixture.executor, &cut(1, OTHER_ALLOCATION, 2, 5.0));
        assert_eq!(remaining(&fixture.executor), Some(8.0));

        // when: the second overtakes the first
        fixture.executor.deliver(1);
        assert_eq!(remaining(&fixture.executor), Some(3.0));
        fixture.executor.deliver_all();

        // then
        let too_late = Err(SlotAllocationError::insufficient(cores(3.0)));
        assert_eq!(first.now_or_never(), Some(too_late));
        assert_eq!(second.now_or_never(), Some(acknowledged(1)));
        let slot_number = SlotId::dynamic(EXECUTOR, 1).slot_number();
        assert_eq!(fixture.executor.current_allocation(slot_number), Some(OTHER_ALLOCATION));
    }

    #[test]
    fn free_that_overtakes_the_request_for_a_cut_wins() {
        // given
        let fixture = dynamic();
        fixture.executor.set_delivery(Delivery::Mailbox);
        let mut gateway = fixture.executor.gateway();
        let request = cut(0, ALLOCATION, 1, 5.0);
        let free = FreeSlot {
            slot_id: request.slot_id.clone(),
            ..free_slot(0, ALLOCATION, 1)
        };
        assert!(matches!(gateway.request_slot(&request), SlotAnswer::Later));
        gateway.free_slot(&free);

        // when
        fixture.executor.deliver(1);
        fixture.executor.deliver_next();

        // then
        let answer = Err(SlotAllocationError::rejected("the attempt was given up"));
        assert_eq!(fixture.executor.pending(), [GatewayMessage::Answer { request, answer }]);
        assert_eq!(remaining(&fixture.executor), Some(8.0));
    }

    #[test]
    fn resources_of_a_dynamic_worker_change_and_survive_a_crash() {
        // given
        let fixture = dynamic();
        let answer = fixture
            .executor
            .handle_request_slot(&cut(0, ALLOCATION, 1, 5.0), Timestamp::ZERO);
        assert_eq!(answer, acknowledged(1));

        // when, then
        fixture.executor.set_resources(cores(6.0));
        assert_eq!(remaining(&fixture.executor), Some(1.0));
        assert_eq!(fixture.executor.next_slot_timeout(), Some(Timestamp::from_secs(10)));
        fixture.executor.crash();
        assert_eq!(remaining(&fixture.executor), Some(6.0));
        assert_eq!((fixture.executor.revision(), fixture.executor.instance_id()), (0, None));
    }

    #[test]
    fn message_to_an_earlier_registration_is_refused_on_arrival() {
        let fixture = Fixture::new();
        fixture.executor.set_delivery(Delivery::Manual);
        let answer = request_by_future(&fixture.executor, &request_slot(0, ALLOCATION, 1));
        fixture.executor.crash();
        fixture.executor.connect(LEADER, OTHER_INSTANCE);
        fixture.executor.deliver_all();

        let reason = format!("{INSTANCE} is not the registration, {OTHER_INSTANCE} is");
        assert_eq!(answer.now_or_never(), Some(Err(SlotAllocationError::rejected(reason))));
        assert_eq!(fixture.holders(), [None, None]);
    }
}
