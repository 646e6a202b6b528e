//! A task executor that exists in memory only.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::answer_future::{Answer, Reply};
use super::effect_log::Recorder;
use super::slot_table::SlotTable;
use super::{AnswerFuture, EffectLog, GatewayCall, lock};
use crate::{
    Acknowledge, AllocateSlot, AllocationId, FreeSlot, InstanceId, LeaderId, ResourceId, ResourceProfile,
    ScheduledExecutor, SlotAllocationError, SlotId, SlotReport, TaskExecutorConnection, TaskExecutorGateway, Timestamp,
};

/// What Flink's `taskmanager.slot.timeout` is if nothing else is configured.
const DEFAULT_SLOT_TIMEOUT: Duration = Duration::from_secs(10);

/// A task executor with a slot table, which keeps the rules of [`TaskExecutorGateway`] as a real one has to.
///
/// It is the truth a manager's view can be compared with: [`slot_report`](Self::slot_report) says what is. Three sides
/// act on it:
/// - the manager, through its [gateway](Self::gateway), or a test in its place with
///   [`handle_request_slot`](Self::handle_request_slot) and [`handle_free_slot`](Self::handle_free_slot);
/// - the job: [`activate`](Self::activate) and [`free`](Self::free);
/// - time and fate: [`expire`](Self::expire), [`disconnect`](Self::disconnect), [`crash`](Self::crash).
///
/// It never calls the manager: when a slot becomes free, the caller tells the manager, or forgets to. With
/// [`Delivery::Manual`] messages to it and its answers can be late, lost, and overtake each other.
///
/// Its *revision* grows with every change that a slot report shows. Reports and acknowledgements carry it. Clones share
/// one task executor.
///
/// ```
/// use slot_manager::testing::{ManualScheduledExecutor, SimulatedTaskExecutor};
/// use slot_manager::{InstanceId, LeaderId, ResourceProfile, SlotId};
///
/// let time = ManualScheduledExecutor::new();
/// let slot = ResourceProfile::builder().cpu_cores(2.0).build()?;
/// let task_executor = SimulatedTaskExecutor::new("tm-1", [slot.clone(), slot], time);
///
/// // What a manager is registered with:
/// let connection = task_executor.connect(LeaderId::from_u128(1), InstanceId::from_u128(7));
/// let report = task_executor.slot_report();
///
/// assert_eq!(connection.resource_id().as_str(), "tm-1");
/// assert_eq!(report.statuses()[1].slot_id(), &SlotId::new("tm-1", 1));
/// assert_eq!(report.revision(), Some(0));
/// # Ok::<(), slot_manager::ResourceProfileError>(())
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
    /// Messages under way, in the order in which they were sent.
    in_transit: VecDeque<InTransit>,
    recorder: Option<Recorder>,
}

/// When messages between a [`SimulatedGateway`] and its task executor arrive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// At once: the task executor acts within the gateway's call, its answer is there when the future is first polled.
    #[default]
    Immediate,
    /// When the test [delivers](SimulatedTaskExecutor::deliver_next) them, unless it
    /// [loses](SimulatedTaskExecutor::lose) them. A slot request takes two messages, there and back.
    Manual,
}

/// A message between a [`SimulatedGateway`] and its task executor that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatewayMessage {
    /// To the task executor.
    Call(GatewayCall),
    /// Back from it. The slot table has changed already, or not, as the answer says.
    Answer {
        /// The request that is answered.
        request: AllocateSlot,
        /// The answer.
        answer: Result<Acknowledge, SlotAllocationError>,
    },
}

#[derive(Debug)]
enum InTransit {
    RequestSlot(AllocateSlot, Reply),
    FreeSlot(FreeSlot),
    Answer(AllocateSlot, Reply, Answer),
}

impl SimulatedTaskExecutor {
    /// A task executor that is not connected, with free slots of these profiles, numbered from 0.
    ///
    /// Its clock is that of `executor`, which may be a clone of the manager's. A slot that was given to an allocation
    /// may stay unused for 10 s.
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

    /// Sets how long a slot may stay unused after it was given to an allocation. What runs already is not changed.
    #[must_use]
    pub fn with_slot_timeout(self, timeout: Duration) -> Self {
        lock(&self.state).table.set_slot_timeout(timeout);
        self
    }

    /// Records what the gateways are asked into `log`, when they are asked. Without a log nothing is recorded.
    #[must_use]
    pub fn with_log(self, log: &EffectLog) -> Self {
        lock(&self.state).recorder = Some(Recorder::new(log));
        self
    }

    /// The worker process it is; stays the same over crashes.
    pub fn resource_id(&self) -> ResourceId {
        lock(&self.state).table.resource_id().clone()
    }

    /// The leadership it is connected to.
    pub fn leader_id(&self) -> Option<LeaderId> {
        let connection = lock(&self.state).table.connection()?;
        Some(connection.leader_id)
    }

    /// The registration it is connected with.
    pub fn instance_id(&self) -> Option<InstanceId> {
        let connection = lock(&self.state).table.connection()?;
        Some(connection.instance_id)
    }

    /// Connects it to a resource manager: from now on it obeys this leadership, addressed by this registration, and no
    /// other. Gives the connection to register with.
    ///
    /// Under another leader than before, all attempts of the earlier one are forgotten or count as older than any.
    pub fn connect(&self, leader_id: LeaderId, instance_id: InstanceId) -> TaskExecutorConnection<SimulatedGateway> {
        let resource_id = {
            let mut state = lock(&self.state);
            state.table.connect(leader_id, instance_id);
            state.table.resource_id().clone()
        };
        TaskExecutorConnection::new(resource_id, instance_id, self.gateway())
    }

    /// Ends the connection: it keeps its slots and refuses everything until it is connected again.
    pub fn disconnect(&self) {
        lock(&self.state).table.disconnect();
    }

    /// The process ends and is started anew: it has its slots, all free, is not connected, starts again from revision
    /// 0, and knows nothing of what was. Messages under way still arrive.
    pub fn crash(&self) {
        lock(&self.state).table.crash();
    }

    /// A way to it. Messages say which registration they are meant for; those for an earlier one are refused, whatever
    /// gateway they came through.
    pub fn gateway(&self) -> SimulatedGateway {
        SimulatedGateway {
            task_executor: self.clone(),
        }
    }

    /// All slots, ordered by number, with the present revision.
    pub fn slot_report(&self) -> SlotReport {
        lock(&self.state).table.report()
    }

    /// How often the slots changed.
    pub fn revision(&self) -> u64 {
        lock(&self.state).table.revision()
    }

    /// The allocation that holds the slot; `None` if it is free, or if there is no such slot.
    pub fn current_allocation(&self, slot_number: u32) -> Option<AllocationId> {
        lock(&self.state).table.current_allocation(slot_number)
    }

    /// Adds a free slot, or changes what the one with this number has, whoever holds it.
    pub fn set_slot(&self, slot_number: u32, resource_profile: ResourceProfile) {
        lock(&self.state).table.set_slot(slot_number, resource_profile);
    }

    /// Removes a slot and says which allocation lost it.
    pub fn remove_slot(&self, slot_number: u32) -> Option<AllocationId> {
        lock(&self.state).table.remove_slot(slot_number)
    }

    /// Does what a slot request asks for, and answers it. In this order:
    /// 1. without a connection, for another leader, for another instance id, or for a slot it does not have: refused;
    /// 2. the slot is free: given to the allocation and the slot timeout begins, unless the attempt is not newer than
    ///    the last one freed there, or the allocation holds another slot of this task executor (FLINK-14589): then
    ///    refused;
    /// 3. the slot is held by another allocation or job: [`Occupied`](SlotAllocationError::Occupied);
    /// 4. the slot is held by this one: acknowledged again, and held under the newer of the attempts.
    ///
    /// # Errors
    /// As said; nothing changes then.
    pub fn handle_request_slot(
        &self,
        request: &AllocateSlot,
        now: Timestamp,
    ) -> Result<Acknowledge, SlotAllocationError> {
        lock(&self.state).table.request_slot(request, now)
    }

    /// Does what the manager asks when it gave an attempt up; says which slot became free by that, if one did.
    ///
    /// Ignored if it is meant for another leader or registration, or for a slot it does not have. Otherwise requests
    /// for the slot that are not newer are refused while it is free, and the slot becomes free if the allocation holds
    /// it, under this attempt or an older one, and does not [use](Self::activate) it.
    pub fn handle_free_slot(&self, request: &FreeSlot) -> Option<SlotId> {
        lock(&self.state).table.free_slot(request)
    }

    /// The job begins to use the slot that the allocation holds: it is not freed by the slot timeout any more, nor by
    /// the manager. `None` if the allocation holds no slot.
    pub fn activate(&self, allocation_id: AllocationId) -> Option<SlotId> {
        lock(&self.state).table.activate(allocation_id)
    }

    /// The job gives the slot back that the allocation holds. The manager is to be told with
    /// [`free_slot`](crate::SlotManager::free_slot). `None` if the allocation holds no slot.
    pub fn free(&self, allocation_id: AllocationId) -> Option<SlotId> {
        lock(&self.state).table.free(allocation_id)
    }

    /// Frees the slots that were not [used](Self::activate) within the slot timeout, in the order in which they fell
    /// due, equal ones by number. The manager is to be told of each with
    /// [`free_slot`](crate::SlotManager::free_slot).
    pub fn expire(&self, now: Timestamp) -> Vec<(SlotId, AllocationId)> {
        lock(&self.state).table.expire(now)
    }

    /// When [`expire`](Self::expire) will next have something to do, as things are. A timeout beyond the range of the
    /// clock is never.
    pub fn next_slot_timeout(&self) -> Option<Timestamp> {
        lock(&self.state).table.next_timeout()
    }

    /// Sets when messages sent from now on arrive. Those under way stay there.
    pub fn set_delivery(&self, delivery: Delivery) {
        lock(&self.state).delivery = delivery;
    }

    /// The messages under way, oldest first. Also those of attempts that the manager gave up meanwhile: they were sent.
    pub fn pending(&self) -> Vec<GatewayMessage> {
        lock(&self.state).in_transit.iter().map(InTransit::message).collect()
    }

    /// Lets the oldest message arrive; see [`deliver`](Self::deliver).
    pub fn deliver_next(&self) -> Option<GatewayMessage> {
        self.deliver(0)
    }

    /// Lets the message at this position of [`pending`](Self::pending) arrive, before those that were sent earlier.
    /// `None` if there is none there.
    ///
    /// A slot request is handled, and its answer is under way then, as the last one. An answer wakes whoever waits for
    /// it.
    pub fn deliver(&self, position: usize) -> Option<GatewayMessage> {
        let now = (self.clock)();
        let mut state = lock(&self.state);
        let arrived = state.in_transit.remove(position)?;
        let message = arrived.message();
        match arrived {
            InTransit::RequestSlot(request, reply) => {
                let answer = state.table.request_slot(&request, now);
                state.in_transit.push_back(InTransit::Answer(request, reply, answer));
            }
            InTransit::FreeSlot(request) => {
                state.table.free_slot(&request);
            }
            InTransit::Answer(_, reply, answer) => {
                drop(state);
                reply.give(answer);
            }
        }
        Some(message)
    }

    /// Lets all messages arrive, oldest first, and the answers they cause; says how many there were.
    pub fn deliver_all(&self) -> usize {
        std::iter::from_fn(|| self.deliver_next()).count()
    }

    /// Loses the message at this position of [`pending`](Self::pending): the request, or its answer, never arrives.
    /// `None` if there is none there.
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

/// The manager's way to a [`SimulatedTaskExecutor`].
#[derive(Debug, Clone)]
pub struct SimulatedGateway {
    task_executor: SimulatedTaskExecutor,
}

impl SimulatedGateway {
    /// The task executor it leads to.
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
                let (reply, future) = AnswerFuture::pending();
                state
                    .in_transit
                    .push_back(InTransit::RequestSlot(request.clone(), reply));
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

    /// Two slots, connected.
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
    fn connecting_gives_what_is_to_be_registered() {
        let given = Fixture::new();
        let leader = LeaderId::from_u128(0x2eade);
        let connection = given.executor.connect(leader, OTHER_INSTANCE);
        assert_eq!(connection.resource_id(), &ResourceId::from(EXECUTOR));
        assert_eq!(connection.instance_id(), OTHER_INSTANCE);
        assert_eq!(connection.gateway().task_executor().resource_id(), EXECUTOR.into());
        assert_eq!(given.executor.leader_id(), Some(leader));
        assert_eq!(given.executor.instance_id(), Some(OTHER_INSTANCE));

        given.executor.disconnect();
        assert_eq!((given.executor.leader_id(), given.executor.instance_id()), (None, None));
    }

    #[test]
    fn clones_and_gateways_are_one_task_executor() {
        let given = Fixture::new();
        let request = request_slot(0, ALLOCATION, 1);
        let answer = given.executor.clone().handle_request_slot(&request, Timestamp::ZERO);
        assert_eq!(answer, acknowledged(1));
        assert_eq!(given.holders(), [Some(ALLOCATION), None]);
        assert_eq!(given.executor.slot_report().revision(), Some(given.executor.revision()));

        let freed = given
            .executor
            .gateway()
            .task_executor()
            .handle_free_slot(&free_slot(0, ALLOCATION, 1));
        assert_eq!(freed, Some(SlotId::new(EXECUTOR, 0)));
        assert_eq!(given.holders(), [None, None]);
    }

    #[test]
    fn unless_configured_a_slot_may_stay_unused_for_ten_seconds() {
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
    fn a_gateway_answers_at_once_and_at_the_time_of_the_clock() {
        let given = Fixture::new();
        let mut gateway = given.executor.gateway();
        given.time.advance(Duration::from_secs(2));
        let answer = gateway.request_slot(&request_slot(0, ALLOCATION, 1));
        assert_eq!(given.holders(), [Some(ALLOCATION), None]);
        assert_eq!(answer.now_or_never(), Some(acknowledged(1)));
        let due = Timestamp::from_secs(2) + SLOT_TIMEOUT;
        assert_eq!(given.executor.next_slot_timeout(), Some(due));

        gateway.free_slot(free_slot(0, ALLOCATION, 1));
        assert_eq!(given.holders(), [None, None]);
        assert_eq!(given.executor.pending(), []);
    }

    #[test]
    fn calls_are_recorded_when_they_are_made() {
        let log = EffectLog::new();
        let mut given = Fixture::new();
        given.executor = given.executor.with_log(&log);
        given.executor.set_delivery(Delivery::Manual);
        let mut gateway = given.executor.gateway();
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
        given.executor.deliver_all();
        assert!(log.is_empty());
    }

    #[test]
    fn by_hand_a_request_and_its_answer_arrive_one_by_one() {
        let given = Fixture::new();
        given.executor.set_delivery(Delivery::Manual);
        let request = request_slot(0, ALLOCATION, 1);
        let mut answer = given.executor.gateway().request_slot(&request);
        let task = WakeCounter::new();
        assert!(answer.poll_unpin(&mut task.context()).is_pending());
        assert_eq!(given.executor.pending(), [call(&request)]);
        assert_eq!(given.holders(), [None, None]);

        given.time.advance(Duration::from_secs(5));
        assert_eq!(given.executor.deliver_next(), Some(call(&request)));
        assert_eq!(given.holders(), [Some(ALLOCATION), None]);
        let due = Timestamp::from_secs(5) + SLOT_TIMEOUT;
        assert_eq!(given.executor.next_slot_timeout(), Some(due), "from its arrival on");
        assert_eq!(task.count(), 0);

        let back = GatewayMessage::Answer {
            request,
            answer: acknowledged(1),
        };
        assert_eq!(given.executor.pending(), std::slice::from_ref(&back));
        assert_eq!(given.executor.deliver_next(), Some(back));
        assert_eq!(task.count(), 1);
        assert_eq!(answer.now_or_never(), Some(acknowledged(1)));
        assert_eq!(given.executor.deliver_next(), None);
    }

    #[test]
    fn an_answer_queues_behind_what_was_sent_before_it() {
        let given = Fixture::new();
        given.executor.set_delivery(Delivery::Manual);
        let mut gateway = given.executor.gateway();
        let _first = gateway.request_slot(&request_slot(0, ALLOCATION, 1));
        let second = request_slot(1, OTHER_ALLOCATION, 2);
        let _second = gateway.request_slot(&second);
        given.executor.deliver_next();

        let answer = GatewayMessage::Answer {
            request: request_slot(0, ALLOCATION, 1),
            answer: acknowledged(1),
        };
        assert_eq!(given.executor.pending(), [call(&second), answer]);
    }

    #[test]
    fn a_late_answer_has_the_revision_of_its_time() {
        let given = Fixture::new();
        given.executor.set_delivery(Delivery::Manual);
        let answer = given.executor.gateway().request_slot(&request_slot(0, ALLOCATION, 1));
        given.executor.deliver_next();
        given.executor.free(ALLOCATION);
        given.executor.deliver_next();
        assert_eq!(given.executor.revision(), 2);
        assert_eq!(answer.now_or_never(), Some(acknowledged(1)));
    }

    #[test]
    fn a_free_that_overtakes_its_request_wins() {
        let given = Fixture::new();
        given.executor.set_delivery(Delivery::Manual);
        let mut gateway = given.executor.gateway();
        let given_up = gateway.request_slot(&request_slot(0, ALLOCATION, 1));
        drop(given_up);
        gateway.free_slot(free_slot(0, ALLOCATION, 1));

        let expected = GatewayMessage::Call(GatewayCall::FreeSlot(free_slot(0, ALLOCATION, 1)));
        assert_eq!(given.executor.deliver(1), Some(expected));
        assert_eq!(given.executor.deliver_all(), 2, "the request and its answer");
        assert_eq!(given.holders(), [None, None]);
    }

    #[test]
    fn a_lost_request_does_nothing_and_a_lost_answer_comes_too_late() {
        let given = Fixture::new();
        given.executor.set_delivery(Delivery::Manual);
        let mut gateway = given.executor.gateway();
        let lost_request = gateway.request_slot(&request_slot(0, ALLOCATION, 1));
        let lost_answer = gateway.request_slot(&request_slot(1, OTHER_ALLOCATION, 2));
        assert_eq!(given.executor.lose(0), Some(call(&request_slot(0, ALLOCATION, 1))));
        given.executor.deliver_next();
        assert!(matches!(given.executor.lose(0), Some(GatewayMessage::Answer { .. })));
        assert_eq!(given.executor.lose(0), None);

        assert_eq!(given.holders(), [None, Some(OTHER_ALLOCATION)]);
        assert_eq!(lost_request.now_or_never(), None);
        assert_eq!(lost_answer.now_or_never(), None);
    }

    #[test]
    fn a_message_to_an_earlier_registration_is_refused_on_arrival() {
        let given = Fixture::new();
        given.executor.set_delivery(Delivery::Manual);
        let answer = given.executor.gateway().request_slot(&request_slot(0, ALLOCATION, 1));
        given.executor.crash();
        given.executor.connect(LEADER, OTHER_INSTANCE);
        given.executor.deliver_all();

        let reason = format!("{INSTANCE} is not the registration, {OTHER_INSTANCE} is");
        assert_eq!(answer.now_or_never(), Some(Err(SlotAllocationError::rejected(reason))));
        assert_eq!(given.holders(), [None, None]);
    }
}
