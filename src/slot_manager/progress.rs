//! Driving: effects out, answers and time in.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::{
    Release, ReleaseCause, RequestSlot, ResourceManagerActions, ScheduledExecutor, SlotManager, TaskExecutorGateway,
    Timestamp,
};

use super::core::Core;
use super::effects::{Notification, NotificationKind};
use super::in_flight::{Answer, InFlight};
use super::records::Key;
use super::slots::{Delivery, SlotKey};
use super::task_managers::TaskManagerKey;

/// Futures that one `poll_progress` polls, and deadlines it handles, before it lets others run.
const EVENTS_PER_POLL: usize = 256;

type AnswerOf<G> = Answer<<<G as TaskExecutorGateway>::RequestSlotFuture as Future>::Output>;

/// The outside: the collaborators, what is awaited from them, and the armed delay.
pub(super) struct Driver<A, G: TaskExecutorGateway, E: ScheduledExecutor> {
    actions: Option<A>,
    /// By the index of the key of the task manager.
    gateways: Vec<Option<G>>,
    in_flight: InFlight<G::RequestSlotFuture>,
    answers: Vec<AnswerOf<G>>,
    backlog: Backlog,
    executor: E,
    delay: Pin<Box<Option<E::Delay>>>,
    /// What the delay is polled with.
    delay_waker: Waker,
    /// The deadline the delay is armed for; `MAX` if there is none.
    armed_for: Timestamp,
}

/// The futures that had woken when stock was last taken. All are polled before the next deadline is handled: an answer
/// that was there in time counts, however many there are. Those that wake meanwhile are not among them, or they could
/// hold up time for ever.
#[derive(Default)]
struct Backlog {
    /// How many are left to poll.
    futures: usize,
    /// Answers and deadlines since stock was taken.
    events: usize,
    /// When stock was taken: no later deadline is handled before stock is taken anew.
    taken_at: Timestamp,
}

/// What a call of `advance` did.
#[derive(Default)]
struct Advance {
    /// Answers and deadlines.
    events: usize,
    /// It stopped because it had done enough.
    unfinished: bool,
    /// In the end, every future that woke was polled and nothing was ready or due.
    for_nothing: bool,
}

/// Driving.
impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Applies answers that are ready and deadlines that are due; ready with how many they were, at least one.
    ///
    /// The waker is kept: it is woken when an answer may be ready, when a deadline is due, and when an input brings
    /// more to do. Not started, or with nothing to do, it is pending; that costs O(1). Stops after a fixed number of
    /// events and then wakes itself, so that it shares a task with others.
    ///
    /// In each round, answers are applied in the order of their attempts, then deadlines by time, kind and order of
    /// arming; then what they caused is said.
    pub fn poll_progress(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        self.driver.in_flight.signal().register(context.waker());
        match self.driver.advance(&mut self.core, Timestamp::MAX).events {
            0 => Poll::Pending,
            events => Poll::Ready(events),
        }
    }

    /// Waits until something was done, and says how many answers and deadlines it was.
    ///
    /// Cancel-safe: dropping the future between two polls loses nothing. In a biased `select!` it goes first, or a busy
    /// mailbox starves time.
    pub async fn progress(&mut self) -> usize {
        std::future::poll_fn(|context| self.poll_progress(context)).await
    }

    /// Applies what is ready, and what is due when it is called, until nothing is left; returns how many answers and
    /// deadlines it was.
    ///
    /// For whoever drives the manager without a task, and for tests. A waker kept by
    /// [`poll_progress`](Self::poll_progress) stays. Futures that wake themselves for ever do not keep it: it has
    /// stalled when each was polled once more for nothing.
    pub fn run_until_stalled(&mut self) -> usize {
        // What falls due while this runs is left to the next call, or it might never end.
        let until = self.driver.now().max(self.core.now);
        let mut events = 0;
        loop {
            let advance = self.driver.advance(&mut self.core, until);
            events += advance.events;
            if !advance.unfinished || advance.for_nothing {
                return events;
            }
        }
    }

    /// The earliest deadline, at which something falls due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        Some(self.core.earliest_deadline()).filter(|deadline| *deadline != Timestamp::MAX)
    }
}

impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> SlotManager<A, G, E> {
    /// How many answers of task executors are awaited.
    pub fn num_awaited_answers(&self) -> usize {
        self.driver.in_flight.len()
    }

    /// The deadline the delay is armed for; `MAX` if there is none.
    pub(super) fn armed_for(&self) -> Timestamp {
        self.driver.armed_for
    }
}

impl<A, G, E> Driver<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    pub(super) fn new(executor: E) -> Self {
        let in_flight = InFlight::new();
        Self {
            actions: None,
            gateways: Vec::new(),
            delay_waker: Waker::from(Arc::clone(in_flight.signal())),
            in_flight,
            answers: Vec::new(),
            backlog: Backlog::default(),
            executor,
            delay: Box::pin(None),
            armed_for: Timestamp::MAX,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.executor.now()
    }

    pub(super) fn start(&mut self, actions: A) {
        self.actions = Some(actions);
    }

    pub(super) fn actions_mut(&mut self) -> Option<&mut A> {
        self.actions.as_mut()
    }

    pub(super) fn suspend(&mut self) -> Option<A> {
        let actions = self.actions.take()?;
        self.gateways = Vec::new();
        self.in_flight.clear();
        self.backlog = Backlog::default();
        self.disarm();
        Some(actions)
    }

    pub(super) fn insert_gateway(&mut self, index: usize, gateway: G) {
        if self.gateways.len() <= index {
            self.gateways.resize_with(index + 1, || None);
        }
        self.gateways[index] = Some(gateway);
    }

    pub(super) fn remove_gateway(&mut self, index: usize) {
        self.gateways[index] = None;
    }

    /// Says everything that waits to be said, in the documented order, until the answers that come at once cause no
    /// more. Returns whether an answer is awaited that was not before.
    pub(super) fn run_effects(&mut self, core: &mut Core) -> bool {
        let mut stored = false;
        while !core.effects.is_empty() || !self.answers.is_empty() {
            self.apply_answers(core);
            self.drop_abandoned(core);
            self.send_notifications(core);
            self.send_frees(core);
            stored |= self.send_slot_requests(core);
            self.ask_for_workers(core);
            self.ask_for_releases(core);
        }
        stored
    }

    fn drop_abandoned(&mut self, core: &mut Core) {
        for cell in core.effects.abandoned.drain(..) {
            self.in_flight.drop_future(cell);
        }
    }

    fn send_notifications(&mut self, core: &mut Core) {
        let Some(actions) = &mut self.actions else {
            return;
        };
        // Stable: what happened to one slot is told in the order in which it happened.
        core.effects.notifications.sort_by(|a, b| a.slot_id().cmp(&b.slot_id()));
        for notification in core.effects.notifications.drain(..) {
            let Notification {
                job_id,
                allocation_id,
                kind,
            } = notification;
            match kind {
                NotificationKind::Allocated(slot_id) => actions.notify_slot_allocated(job_id, allocation_id, &slot_id),
                NotificationKind::Failed(cause) => actions.notify_allocation_failure(job_id, allocation_id, *cause),
            }
        }
    }

    fn send_frees(&mut self, core: &mut Core) {
        for (task_manager, free) in core.effects.frees.drain(..) {
            if let Some(Some(gateway)) = self.gateways.get_mut(task_manager.index()) {
                gateway.free_slot(free);
            }
        }
    }

    fn send_slot_requests(&mut self, core: &mut Core) -> bool {
        let mut requests = std::mem::take(&mut core.effects.slot_requests);
        requests.sort_unstable();
        let mut stored = false;
        for request in requests.drain(..) {
            stored |= self.send_slot_request(core, request.slot, request.attempt);
        }
        // Sending changes no slot but those it sends to, so nothing was added meanwhile.
        core.effects.slot_requests = requests;
        stored
    }

    /// Calls the gateway for an attempt that is still wanted. Returns whether its answer is awaited.
    fn send_slot_request(&mut self, core: &mut Core, slot: SlotKey, number: u64) -> bool {
        let Some(attempt) = core.current_attempt(slot, number) else {
            return false;
        };
        let task_manager = core.slots[slot].task_manager;
        let (Some(leader_id), Some(Some(gateway))) = (core.leader_id, self.gateways.get_mut(task_manager.index()))
        else {
            return false;
        };
        let request = &core.requests.records[attempt.request];
        let answer = gateway.request_slot(RequestSlot {
            slot_id: core.slot_id(slot),
            job_id: request.job_id,
            allocation_id: request.allocation_id,
            resource_profile: core.profiles[request.profile].clone(),
            target_address: Arc::clone(&request.target_address),
            leader_id,
            instance_id: core.task_managers.records[task_manager].instance_id,
            attempt: number,
        });
        match self.in_flight.start(slot, number, answer) {
            Ok(result) => {
                core.set_delivery(slot, Delivery::Answered);
                self.answers.push(Answer {
                    attempt: number,
                    slot,
                    result,
                });
                false
            }
            Err(cell) => {
                core.set_delivery(slot, Delivery::Awaited(cell));
                true
            }
        }
    }

    fn ask_for_workers(&mut self, core: &mut Core) {
        let Some(actions) = &mut self.actions else {
            return;
        };
        let mut asks = std::mem::take(&mut core.effects.asks);
        asks.sort_unstable();
        for (sequence, request) in asks.drain(..) {
            if let Some((worker_request, profile)) = core.begin_ask(sequence, request) {
                let answer = actions.allocate_resource(worker_request, &core.profiles[profile]);
                core.apply_promise(request, worker_request, answer);
            }
        }
        if core.effects.asks.is_empty() {
            // Keeps the memory for the next ask.
            core.effects.asks = asks;
        }
    }

    fn ask_for_releases(&mut self, core: &mut Core) {
        for (task_manager, idle_period) in std::mem::take(&mut core.effects.releases) {
            self.ask_for_release(core, task_manager, idle_period);
        }
    }

    fn ask_for_release(&mut self, core: &mut Core, task_manager: TaskManagerKey, idle_period: u64) {
        let (Some(actions), Some(record)) = (&mut self.actions, core.task_managers.records.get(task_manager)) else {
            return;
        };
        let (Some(idle_since), true) = (record.idle_since, record.idle_periods == idle_period) else {
            return;
        };
        let instance_id = record.instance_id;
        let cause = ReleaseCause::IdleTimeout {
            idle_since,
            idle_period,
        };
        let release = actions.release_resource(instance_id, cause);
        tracing::info!(%instance_id, ?release, "idle task manager: release asked for");
        // If declined, it is asked again after another idle timeout: that is armed already.
        if release == Release::Accepted {
            core.forget_idle_task_manager(task_manager);
            self.remove_gateway(task_manager.index());
        }
    }

    /// Wakes the task that drives the manager if an input left it something that it does not wait for yet.
    pub(super) fn wake_after_input(&self, core: &Core, stored: bool) {
        if stored || core.earliest_deadline() < self.armed_for {
            self.in_flight.signal().wake_task();
        }
    }

    /// Rounds of progress until nothing is ready, or due by `until`, or enough was done.
    fn advance(&mut self, core: &mut Core, until: Timestamp) -> Advance {
        let mut advance = Advance::default();
        if self.actions.is_none() {
            return advance;
        }
        let (mut polls_left, mut deadlines_left) = (EVENTS_PER_POLL, EVENTS_PER_POLL);
        loop {
            core.begin_round(self.executor.now());
            if self.backlog.futures == 0 {
                self.backlog = Backlog {
                    futures: self.in_flight.num_woken(),
                    events: 0,
                    taken_at: core.now.min(until),
                };
            }
            let limit = self.backlog.futures.min(polls_left);
            let polled = self.in_flight.poll_woken(limit, &mut self.answers);
            self.backlog.futures -= polled;
            polls_left -= polled;
            let mut events = self.answers.len();
            self.apply_answers(core);
            while self.backlog.futures == 0 && deadlines_left > 0 && core.handle_earliest_due(self.backlog.taken_at) {
                deadlines_left -= 1;
                events += 1;
            }
            self.run_effects(core);
            self.backlog.events += events;
            advance.events += events;
            let for_nothing = self.backlog.futures == 0 && self.backlog.events == 0 && self.backlog.taken_at >= until;
            advance.for_nothing = events == 0 && (advance.for_nothing || for_nothing);
            if polls_left == 0 || deadlines_left == 0 {
                // There may be more: it is looked at again soon.
                self.in_flight.signal().wake_task();
                advance.unfinished = true;
                return advance;
            }
            if polled == 0 && events == 0 && !self.delay_is_over(core, until) {
                return advance;
            }
        }
    }

    /// Applies the answers at hand. Their futures are gone: none is to be dropped because of what another answer says.
    fn apply_answers(&mut self, core: &mut Core) {
        for answer in &self.answers {
            if core.current_attempt(answer.slot, answer.attempt).is_some() {
                core.set_delivery(answer.slot, Delivery::Answered);
            }
        }
        for answer in self.answers.drain(..) {
            core.apply_answer(answer.slot, answer.attempt, answer.result);
        }
    }

    /// Arms the delay for the earliest deadline, if it is not, and polls it. Returns whether the deadline has come.
    fn delay_is_over(&mut self, core: &Core, until: Timestamp) -> bool {
        let deadline = core.earliest_deadline();
        if deadline == Timestamp::MAX {
            self.disarm();
            return false;
        }
        if self.armed_for != deadline {
            // The old one goes first: there is never more than one.
            self.disarm();
            let delay = self.executor.delay_until(deadline);
            self.delay.set(Some(delay));
            self.armed_for = deadline;
        }
        let over = match self.delay.as_mut().as_pin_mut() {
            Some(delay) => delay.poll(&mut Context::from_waker(&self.delay_waker)).is_ready(),
            None => false,
        };
        if !over {
            return false;
        }
        self.disarm();
        if deadline <= until && self.executor.now().max(core.now) >= deadline {
            return true;
        }
        // Ready too early, or not to be handled now: it is armed again in the next poll, which is soon.
        self.in_flight.signal().wake_task();
        false
    }

    fn disarm(&mut self) {
        self.delay.set(None);
        self.armed_for = Timestamp::MAX;
    }
}
