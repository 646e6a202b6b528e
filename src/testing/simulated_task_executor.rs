//! A task executor in memory: a slot table, a gateway, and a network under control of the test.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::answer_future::{Answer, Responder};
use super::effect_log::Recorder;
use super::slot_table::SlotTable;
use super::{AnswerFuture, EffectLog, GatewayCall, lock};
use crate::error::SlotAllocationError;
use crate::message::{Acknowledge, AllocateSlot, FreeSlot};
use crate::{
    AllocationId, InstanceId, LeaderId, ResourceId, ResourceProfile, ScheduledExecutor, SlotId, SlotReport,
    TaskExecutorConnection, TaskExecutorGateway, Timestamp,
};

/// The default of Flink's `taskmanager.slot.timeout`.
const DEFAULT_SLOT_TIMEOUT: Duration = Duration::from_secs(10);

/// A task executor with a slot table. It follows the rules of [`TaskExecutorGateway`], as real ones
/// must.
///
/// Compare the view of a manager with its [`slot_report`](Self::slot_report), which is the truth.
/// Three parties act on it:
///
/// - The manager, through the [gateway](Self::gateway). A test can take its place with
///   [`handle_request_slot`](Self::handle_request_slot) and
///   [`handle_free_slot`](Self::handle_free_slot).
/// - The job, with [`activate`](Self::activate) and [`free`](Self::free).
/// - The environment, with [`expire`](Self::expire), [`disconnect`](Self::disconnect) and
///   [`crash`](Self::crash).
///
/// It never calls the manager. When a slot becomes free, the test tells the manager, or leaves that
/// out. With [`Delivery::Manual`], messages can be late, get lost, or overtake each other.
///
/// Its *revision* grows with every change that a slot report shows. Reports and acknowledgements
/// carry it. Clones share one task executor.
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
    table: SlotTable,
    delivery: Delivery,
    /// Undelivered messages, in the order in which they were sent.
    in_transit: VecDeque<InTransit>,
    recorder: Option<Recorder>,
}

/// The delivery of messages between a [`SimulatedGateway`] and its task executor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// Messages arrive at once. The task executor acts within the call of the gateway, and its
    /// answer is ready when the future is first polled.
    #[default]
    Immediate,
    /// Messages arrive when the test [delivers](SimulatedTaskExecutor::deliver_next) them. It can
    /// also [lose](SimulatedTaskExecutor::lose) them. A slot request takes two messages, the call
    /// and its answer.
    Manual,
}

/// An undelivered message between a [`SimulatedGateway`] and its task executor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatewayMessage {
    /// A call to the task executor.
    Call(GatewayCall),
    /// An answer of the task executor. Its slot table has already changed as the answer says.
    Answer {
        /// The request that it answers.
        request: AllocateSlot,
        /// The answer.
        answer: Result<Acknowledge, SlotAllocationError>,
    },
}

/// A message with the responder that it completes.
#[derive(Debug)]
enum InTransit {
    RequestSlot(AllocateSlot, Responder),
    FreeSlot(FreeSlot),
    Answer(AllocateSlot, Responder, Answer),
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
        let state = State {
            table: SlotTable::new(resource_id.into(), slots, DEFAULT_SLOT_TIMEOUT),
            delivery: Delivery::Immediate,
            in_transit: VecDeque::new(),
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
        let connection = lock(&self.state).table.connection()?;
        Some(connection.leader_id)
    }

    /// Returns the registration that it is connected with; `None` without a connection.
    pub fn instance_id(&self) -> Option<InstanceId> {
        let connection = lock(&self.state).table.connection()?;
        Some(connection.instance_id)
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
    /// All its slots are free, the revision is 0, and all attempts are forgotten. Undelivered
    /// messages can still be delivered.
    ///
    /// Cost: O(slots).
    pub fn crash(&self) {
        lock(&self.state).table.crash();
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

    /// Returns a report of all slots, ordered by number, with the current revision.
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
        lock(&self.state).table.current_allocation(slot_number)
    }

    /// Adds a free slot, or changes the profile of the slot with this number. A held slot stays
    /// held.
    pub fn set_slot(&self, slot_number: u32, resource_profile: ResourceProfile) {
        lock(&self.state).table.set_slot(slot_number, resource_profile);
    }

    /// Removes a slot. Returns the allocation that held it.
    pub fn remove_slot(&self, slot_number: u32) -> Option<AllocationId> {
        lock(&self.state).table.remove_slot(slot_number)
    }

    /// Handles a slot request and returns the answer. The first rule that applies decides:
    ///
    /// 1. It is not connected, the leader or the instance id is another, or the slot does not
    ///    exist: it refuses.
    /// 2. Another allocation or job holds the slot: [`Occupied`](SlotAllocationError::Occupied).
    /// 3. The allocation of the request holds the slot: it acknowledges again. The slot is then
    ///    held under the newer of the two attempts.
    /// 4. The slot is free, but the last free of the slot is for this attempt or a newer one: it
    ///    refuses.
    /// 5. The slot is free, but the allocation holds another slot of it (FLINK-14589): it refuses.
    /// 6. The slot is free: it gives the slot to the allocation, and the slot timeout begins.
    ///
    /// Cost: O(slots).
    ///
    /// # Errors
    /// [`SlotAllocationError`] with rules 1, 2, 4 and 5. Nothing changes.
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
    pub fn handle_request_slot(
        &self,
        request: &AllocateSlot,
        now: Timestamp,
    ) -> Result<Acknowledge, SlotAllocationError> {
        lock(&self.state).table.request_slot(request, now)
    }

    /// Handles the message that an attempt was given up. Returns the slot if it became free.
    ///
    /// - A message of another leader, to another registration, or for an unknown slot is ignored.
    /// - From now on, requests for the slot with this attempt or an older one are refused while it
    ///   is free.
    /// - The slot becomes free if the allocation holds it under this attempt or an older one, and
    ///   does not [use](Self::activate) it.
    pub fn handle_free_slot(&self, request: &FreeSlot) -> Option<SlotId> {
        lock(&self.state).table.free_slot(request)
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

    /// Frees the slot of an allocation for its job. Returns the slot, if the allocation holds one.
    ///
    /// Tell the manager with [`free_slot`](crate::SlotManager::free_slot).
    ///
    /// Cost: O(slots).
    pub fn free(&self, allocation_id: AllocationId) -> Option<SlotId> {
        lock(&self.state).table.free(allocation_id)
    }

    /// Frees the slots that were not [used](Self::activate) within the slot timeout, and returns
    /// them.
    ///
    /// They are ordered by the time at which they fell due, then by number. Tell the manager of
    /// each with [`free_slot`](crate::SlotManager::free_slot).
    ///
    /// Cost: O(slots).
    pub fn expire(&self, now: Timestamp) -> Vec<(SlotId, AllocationId)> {
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
    /// The answer to a delivered slot request becomes the last undelivered message. A delivered
    /// answer wakes the task that polls its future.
    ///
    /// Cost: O(undelivered messages + slots).
    pub fn deliver(&self, position: usize) -> Option<GatewayMessage> {
        let now = (self.clock)();
        let mut state = lock(&self.state);
        let arrived = state.in_transit.remove(position)?;
        let message = arrived.message();
        match arrived {
            InTransit::RequestSlot(request, responder) => {
                let answer = state.table.request_slot(&request, now);
                state
                    .in_transit
                    .push_back(InTransit::Answer(request, responder, answer));
            }
            InTransit::FreeSlot(request) => {
                state.table.free_slot(&request);
            }
            InTransit::Answer(_, responder, answer) => {
                drop(state);
                responder.respond(answer);
            }
        }
        Some(message)
    }

    /// Delivers all messages, oldest first, and the answers that they cause. Returns their number.
    pub fn deliver_all(&self) -> usize {
        std::iter::from_fn(|| self.deliver_next()).count()
    }

    /// Loses the message at this position of [`pending`](Self::pending) and returns it. It never
    /// arrives.
    ///
    /// `None` if there is no message at this position.
    pub fn lose(&self, position: usize) -> Option<GatewayMessage> {
        let lost = lock(&self.state).in_transit.remove(position)?;
        Some(lost.message())
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
            Self::Answer(request, _, answer) => GatewayMessage::Answer {
                request: request.clone(),
                answer: answer.clone(),
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
    type RequestSlotFuture = AnswerFuture;

    fn request_slot(&mut self, request: &AllocateSlot) -> AnswerFuture {
        let now = (self.task_executor.clock)();
        let mut state = lock(&self.task_executor.state);
        state.record(|| GatewayCall::RequestSlot(request.clone()));
        match state.delivery {
            Delivery::Immediate => AnswerFuture::ready(state.table.request_slot(request, now)),
            Delivery::Manual => {
                let (responder, future) = AnswerFuture::pending();
                state
                    .in_transit
                    .push_back(InTransit::RequestSlot(request.clone(), responder));
                future
            }
        }
    }

    fn free_slot(&mut self, request: FreeSlot) {
        let mut state = lock(&self.task_executor.state);
        state.record(|| GatewayCall::FreeSlot(request.clone()));
        match state.delivery {
            Delivery::Immediate => {
                state.table.free_slot(&request);
            }
            Delivery::Manual => state.in_transit.push_back(InTransit::FreeSlot(request)),
        }
    }
}

impl State {
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
    use crate::testing::ManualScheduledExecutor;
    use crate::testing::samples::{
        ALLOCATION, EXECUTOR, INSTANCE, LEADER, OTHER_ALLOCATION, WakeCounter, free_slot, request_slot,
    };

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

    fn acknowledged(revision: u64) -> Result<Acknowledge, SlotAllocationError> {
        Ok(Acknowledge::new().with_revision(revision))
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

        let freed = fixture
            .executor
            .gateway()
            .task_executor()
            .handle_free_slot(&free_slot(0, ALLOCATION, 1));
        assert_eq!(freed, Some(SlotId::new(EXECUTOR, 0)));
        assert_eq!(fixture.holders(), [None, None]);
    }

    #[test]
    fn default_slot_timeout_is_ten_seconds() {
        let time = ManualScheduledExecutor::new();
        let executor = SimulatedTaskExecutor::new(EXECUTOR, [ResourceProfile::ANY], time);
        let mut gateway = executor.connect(LEADER, INSTANCE).gateway().clone();
        drop(gateway.request_slot(&request_slot(0, ALLOCATION, 1)));
        assert_eq!(executor.next_slot_timeout(), Some(Timestamp::from_secs(10)));
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
        assert_eq!(answer.now_or_never(), Some(acknowledged(1)));
        let due = Timestamp::from_secs(2) + SLOT_TIMEOUT;
        assert_eq!(fixture.executor.next_slot_timeout(), Some(due));

        gateway.free_slot(free_slot(0, ALLOCATION, 1));
        assert_eq!(fixture.holders(), [None, None]);
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
        gateway.free_slot(free.clone());
        assert_eq!(
            log.take(),
            [
                GatewayCall::RequestSlot(request).into(),
                GatewayCall::FreeSlot(free).into()
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
        let mut answer = fixture.executor.gateway().request_slot(&request);
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
        let mut gateway = fixture.executor.gateway();
        let _first = gateway.request_slot(&request_slot(0, ALLOCATION, 1));
        let second = request_slot(1, OTHER_ALLOCATION, 2);
        let _second = gateway.request_slot(&second);
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
        let answer = fixture.executor.gateway().request_slot(&request_slot(0, ALLOCATION, 1));
        fixture.executor.deliver_next();
        fixture.executor.free(ALLOCATION);
        fixture.executor.deliver_next();
        assert_eq!(fixture.executor.revision(), 2);
        assert_eq!(answer.now_or_never(), Some(acknowledged(1)));
    }

    #[test]
    fn free_that_overtakes_its_request_wins() {
        let fixture = Fixture::new();
        fixture.executor.set_delivery(Delivery::Manual);
        let mut gateway = fixture.executor.gateway();
        let future = gateway.request_slot(&request_slot(0, ALLOCATION, 1));
        drop(future);
        gateway.free_slot(free_slot(0, ALLOCATION, 1));

        let expected = GatewayMessage::Call(GatewayCall::FreeSlot(free_slot(0, ALLOCATION, 1)));
        assert_eq!(fixture.executor.deliver(1), Some(expected));
        assert_eq!(fixture.executor.deliver_all(), 2, "the request and its answer");
        assert_eq!(fixture.holders(), [None, None]);
    }

    #[test]
    fn lost_request_changes_nothing_and_lost_answer_leaves_the_slot_held() {
        let fixture = Fixture::new();
        fixture.executor.set_delivery(Delivery::Manual);
        let mut gateway = fixture.executor.gateway();
        let lost_request = gateway.request_slot(&request_slot(0, ALLOCATION, 1));
        let lost_answer = gateway.request_slot(&request_slot(1, OTHER_ALLOCATION, 2));
        assert_eq!(fixture.executor.lose(0), Some(call(&request_slot(0, ALLOCATION, 1))));
        fixture.executor.deliver_next();
        assert!(matches!(fixture.executor.lose(0), Some(GatewayMessage::Answer { .. })));
        assert_eq!(fixture.executor.lose(0), None);

        assert_eq!(fixture.holders(), [None, Some(OTHER_ALLOCATION)]);
        assert_eq!(lost_request.now_or_never(), None);
        assert_eq!(lost_answer.now_or_never(), None);
    }

    #[test]
    fn message_to_an_earlier_registration_is_refused_on_arrival() {
        let fixture = Fixture::new();
        fixture.executor.set_delivery(Delivery::Manual);
        let answer = fixture.executor.gateway().request_slot(&request_slot(0, ALLOCATION, 1));
        fixture.executor.crash();
        fixture.executor.connect(LEADER, OTHER_INSTANCE);
        fixture.executor.deliver_all();

        let reason = format!("{INSTANCE} is not the registration, {OTHER_INSTANCE} is");
        assert_eq!(answer.now_or_never(), Some(Err(SlotAllocationError::rejected(reason))));
        assert_eq!(fixture.holders(), [None, None]);
    }
}
