//! One poll handles a bounded number of events and then lets other tasks run. Neither answers nor
//! deadlines starve.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slot_manager::error::SlotAllocationError;
use slot_manager::message::{Acknowledge, AllocateSlot, FreeSlot, Release, SlotAnswer};
use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use slot_manager::{LeaderId, ScheduledExecutor, SlotManager, TaskExecutorConnection, TaskExecutorGateway, Timestamp};

use super::{RestlessGateway, Task, poll};
use crate::common::{
    Fixture, MILLISECOND, SECOND, acknowledged, ask, free_report, instance, patient, rejected, report, request, small,
};

/// The most events of one poll: 256 answers and 256 deadlines.
const BUDGET: usize = 2 * 256;

/// Polls until nothing is left, and returns the number of events. Checks that each poll but the
/// last stops early, and wakes the task.
#[track_caller]
fn poll_all(fixture: &mut Fixture, task: &Task) -> usize {
    let mut polls = Vec::new();
    loop {
        task.wakes();
        match poll(fixture, task) {
            Poll::Ready(events) => polls.push((events, task.wakes())),
            Poll::Pending => break,
        }
    }
    assert!(polls.len() > 1, "all at once: {polls:?}");
    assert!(
        polls.iter().all(|(events, _)| (1..=BUDGET).contains(events)),
        "{polls:?}"
    );
    let (_, early) = polls.split_last().expect("more than one");
    assert!(
        early.iter().all(|(_, wakes)| *wakes == 1),
        "no wake for the rest: {polls:?}"
    );
    polls.iter().map(|(events, _)| events).sum()
}

/// Registers small requests 1, 2, ..., without the check of all invariants after each.
fn register_requests<G: TaskExecutorGateway, E: ScheduledExecutor>(
    manager: &mut SlotManager<RecordingActions, G, E>,
    requests: usize,
) {
    for id in 1..=requests {
        let outcome = manager.register_slot_request(request(1, id as u128, &small()));
        assert!(outcome.is_ok());
    }
}

/// Requests 1, 2, ... are in flight as attempts of the same numbers, which are answered by hand
/// within 100 s.
fn in_flight(requests: usize) -> (Fixture, ScriptedGateway) {
    let mut fixture = Fixture::with(patient().with_rpc_timeout(100 * SECOND));
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &vec![None; requests]));
    register_requests(&mut fixture.manager, requests);
    fixture.check();
    fixture.log.take();
    (fixture, gateway)
}

/// Answers attempts 1, 2, ..., without driving the manager.
fn acknowledge(gateway: &ScriptedGateway, attempts: u64) {
    for attempt in 1..=attempts {
        gateway
            .answer(attempt, acknowledged())
            .expect("the attempt awaits its answer");
    }
}

#[test]
fn answers_beyond_the_budget_are_applied_poll_by_poll() {
    // given
    let (mut fixture, gateway) = in_flight(1000);
    acknowledge(&gateway, 1000);

    // when
    assert_eq!(poll_all(&mut fixture, &Task::new()), 1000);

    // then
    assert_eq!(fixture.manager.overview().slots.allocated.slots, 1000);
    let expected: Vec<_> = (1..=1000).map(|id| format!("granted {id} on tm_{}", id - 1)).collect();
    assert_eq!(fixture.brief_effects(), expected);
}

#[test]
fn deadlines_beyond_the_budget_are_handled_poll_by_poll() {
    // given
    let mut fixture = Fixture::with(patient().with_request_timeout(SECOND));
    register_requests(&mut fixture.manager, 600);
    fixture.log.take();

    // when
    fixture.clock.advance(SECOND);
    assert_eq!(poll_all(&mut fixture, &Task::new()), 600);

    // then
    let expected: Vec<_> = (1..=600).map(|id| format!("failed {id}: timeout")).collect();
    assert_eq!(fixture.brief_effects(), expected);
}

#[test]
fn answers_that_were_ready_in_time_count_even_beyond_the_budget() {
    let drives: [fn(&mut Fixture); 2] = [
        |fixture| {
            poll_all(fixture, &Task::new());
        },
        |fixture| {
            fixture.run();
        },
    ];
    for drive in drives {
        // given
        let (mut fixture, gateway) = in_flight(1000);
        acknowledge(&gateway, 1000);

        // when: long after the RPC timeout
        fixture.clock.advance(1000 * SECOND);
        drive(&mut fixture);

        // then
        assert_eq!(fixture.manager.overview().slots.allocated.slots, 1000);
    }
}

#[test]
fn answers_and_deadlines_are_all_handled() {
    // given: half of the attempts are answered
    let (mut fixture, gateway) = in_flight(2000);
    acknowledge(&gateway, 1000);

    // when: at the RPC timeout
    fixture.clock.advance(100 * SECOND);
    assert_eq!(poll_all(&mut fixture, &Task::new()), 2000);

    // then
    assert_eq!(fixture.manager.overview().slots.allocated.slots, 1000);
}

#[test]
fn running_until_stalled_has_no_budget() {
    // given
    let (mut fixture, gateway) = in_flight(1000);
    acknowledge(&gateway, 1000);

    // when, then
    assert_eq!(fixture.run(), 1000);
    assert_eq!(fixture.manager.overview().slots.allocated.slots, 1000);
}

// Futures that wake themselves.

type RestlessManager = SlotManager<RecordingActions, RestlessGateway, ManualScheduledExecutor>;

/// A manager that awaits answers which never come, and whose futures wake themselves at each poll.
/// Requests expire after 10 s.
fn restless(requests: usize) -> (RestlessManager, ManualScheduledExecutor, RecordingActions) {
    let clock = ManualScheduledExecutor::new();
    let actions = RecordingActions::new();
    let config = patient().with_request_timeout(10 * SECOND);
    let mut manager = SlotManager::new(config, clock.clone()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), actions.clone())
        .expect("not started");
    let connection = TaskExecutorConnection::new("tm", instance(1), RestlessGateway);
    manager
        .register_task_manager(connection, &free_report("tm", &vec![small(); requests]))
        .expect("a valid report");
    register_requests(&mut manager, requests);
    manager.check_invariants().expect("they hold");
    (manager, clock, actions)
}

#[test]
fn future_that_wakes_itself_for_ever_does_not_hang_the_manager() {
    // given
    let (mut manager, clock, actions) = restless(1);
    let task = Task::new();

    // when, then: it wakes its task for another poll
    assert_eq!(manager.run_until_stalled(), 0);
    assert_eq!(manager.poll_progress(&mut task.context()), Poll::Pending);
    assert_eq!(task.wakes(), 1);

    // when, then: its request fails
    clock.advance(10 * SECOND);
    assert_eq!(manager.poll_progress(&mut task.context()), Poll::Ready(1));
    assert_eq!(actions.take().len(), 1);
    assert_eq!(manager.poll_progress(&mut task.context()), Poll::Pending);
}

#[test]
fn many_futures_that_wake_themselves_for_ever_do_not_hold_up_time() {
    for requests in [255, 256, 257, 600] {
        // given
        let (mut manager, clock, actions) = restless(requests);

        // when
        clock.advance(10 * SECOND);
        let task = Task::new();
        for _ in 0..20 {
            let _events = manager.poll_progress(&mut task.context());
        }

        // then
        assert_eq!(
            actions.take().len(),
            requests,
            "failures with {requests} restless futures"
        );
        assert_eq!(manager.overview().slots.in_flight.slots, 0);
    }
}

#[test]
fn running_until_stalled_handles_deadlines_beside_many_futures_that_wake_themselves_for_ever() {
    for requests in [255, 256, 257, 600] {
        // given
        let (mut manager, clock, actions) = restless(requests);
        assert_eq!(manager.run_until_stalled(), 0);

        // when, then
        clock.advance(10 * SECOND);
        assert_eq!(manager.run_until_stalled(), requests);
        assert_eq!(actions.take().len(), requests);
    }
}

#[test]
fn answers_that_a_poll_left_over_do_not_concern_the_next_leadership() {
    // given: suspended after a poll that used up its budget
    let (mut fixture, gateway) = in_flight(600);
    acknowledge(&gateway, 600);
    assert!(poll(&mut fixture, &Task::new()).is_ready());
    assert!(fixture.manager.overview().slots.in_flight.slots > 0);
    fixture.suspend();

    // when
    fixture.start(2);
    fixture.register_by_hand("tm", 2, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();
    fixture.advance(100 * SECOND);

    // then
    fixture.expect(&["free tm_0 of 1 #601", &ask(1)]);
    fixture.falls_due_after(50 * MILLISECOND, &["request tm_0 for 1 #602"]);
}

#[test]
fn running_until_stalled_finds_an_answer_behind_any_number_of_needless_wake_ups() {
    // given
    let mut manager = SlotManager::new(patient(), ManualScheduledExecutor::new()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), RecordingActions::new())
        .expect("not started");
    let gateway = NudgedGateway::default();
    let connection = TaskExecutorConnection::new("tm", instance(1), gateway.clone());
    manager
        .register_task_manager(connection, &free_report("tm", &vec![small(); 1000]))
        .expect("a valid report");
    register_requests(&mut manager, 1000);

    // when: each future is woken once, and only the last one has an answer
    gateway.nudge_all_and_answer_the_last();

    // then
    assert_eq!(manager.run_until_stalled(), 1);
    assert_eq!(manager.overview().slots.allocated.slots, 1);
    manager.check_invariants().expect("they hold");
}

/// One answer among many restless futures fails an attempt. The answer to the next attempt is ready
/// at its second poll.
#[test]
fn running_until_stalled_goes_on_with_the_retry_that_an_answer_among_restless_futures_caused() {
    // given
    let mut manager = SlotManager::new(patient(), ManualScheduledExecutor::new()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), RecordingActions::new())
        .expect("not started");
    let connection = TaskExecutorConnection::new("tm", instance(1), OneAnswers);
    manager
        .register_task_manager(connection, &free_report("tm", &vec![small(); 512]))
        .expect("a valid report");
    register_requests(&mut manager, 512);

    // when, then
    assert_eq!(manager.run_until_stalled(), 2);
    assert_eq!(manager.overview().slots.allocated.slots, 1);
    manager.check_invariants().expect("they hold");
}

/// A gateway that refuses attempt 1 and grants attempt 513, each at its second poll. All its
/// futures wake themselves.
struct OneAnswers;

struct SecondPoll {
    attempt: u64,
    polls: u32,
}

impl TaskExecutorGateway for OneAnswers {
    type RequestSlotFuture = SecondPoll;

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<SecondPoll> {
        SlotAnswer::Future(SecondPoll {
            attempt: request.attempt,
            polls: 0,
        })
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

impl Future for SecondPoll {
    type Output = Result<Acknowledge, SlotAllocationError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.polls += 1;
        context.waker().wake_by_ref();
        match (self.attempt, self.polls) {
            (1, 2) => Poll::Ready(rejected()),
            (513, 2) => Poll::Ready(Ok(Acknowledge::new())),
            _ => Poll::Pending,
        }
    }
}

/// A gateway whose futures can be woken without a reason.
#[derive(Clone, Default)]
struct NudgedGateway {
    sent: Arc<Mutex<Vec<Nudged>>>,
}

#[derive(Clone, Default)]
struct Nudged {
    cell: Arc<Mutex<(bool, Option<Waker>)>>,
}

impl NudgedGateway {
    fn nudge_all_and_answer_the_last(&self) {
        let sent = self.sent.lock().expect("not poisoned");
        sent.last().expect("a request").cell.lock().expect("not poisoned").0 = true;
        for request in &*sent {
            let waker = request.cell.lock().expect("not poisoned").1.take();
            waker.expect("it was polled").wake();
        }
    }
}

impl TaskExecutorGateway for NudgedGateway {
    type RequestSlotFuture = Nudged;

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<Nudged> {
        let future = Nudged::default();
        self.sent.lock().expect("not poisoned").push(future.clone());
        SlotAnswer::Future(future)
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

impl Future for Nudged {
    type Output = Result<Acknowledge, SlotAllocationError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut cell = self.cell.lock().expect("not poisoned");
        if cell.0 {
            return Poll::Ready(Ok(Acknowledge::new()));
        }
        cell.1 = Some(context.waker().clone());
        Poll::Pending
    }
}

#[test]
fn answer_that_comes_while_others_are_left_over_is_in_time() {
    // given: one answer is left over from a poll that used up its budget
    let (mut fixture, gateway) = in_flight(258);
    acknowledge(&gateway, 257);
    let task = Task::new();
    assert_eq!(poll(&mut fixture, &task), Poll::Ready(256));

    // when: another answer comes, and then its timeout is due
    gateway
        .answer(258, acknowledged())
        .expect("the attempt awaits its answer");
    fixture.clock.advance(100 * SECOND);

    // then
    assert_eq!(poll(&mut fixture, &task), Poll::Ready(2));
    assert_eq!(fixture.manager.overview().slots.allocated.slots, 258);
}

/// A clock that advances by 10 ms whenever it is read.
#[derive(Default)]
struct HurryingExecutor {
    reads: Cell<u64>,
}

impl ScheduledExecutor for HurryingExecutor {
    type Delay = std::future::Ready<()>;

    fn now(&self) -> Timestamp {
        self.reads.set(self.reads.get() + 1);
        Timestamp::from_millis(10 * self.reads.get())
    }

    fn delay_until(&mut self, _: Timestamp) -> Self::Delay {
        std::future::ready(())
    }
}

/// The deadline that is armed again is due by the time the round is over.
#[test]
fn running_until_stalled_ends_although_time_goes_on_meanwhile() {
    // given: a release that is declined
    let config = patient().with_task_manager_timeout(Duration::ZERO);
    let mut manager = SlotManager::new(config, HurryingExecutor::default()).expect("a valid configuration");
    let actions = RecordingActions::new();
    actions.answer_releases(Release::Declined);
    manager
        .start(LeaderId::from_u128(1), actions.clone())
        .expect("not started");
    let connection = TaskExecutorConnection::new("tm", instance(1), ScriptedGateway::new());
    manager
        .register_task_manager(connection, &free_report("tm", &[small()]))
        .expect("a valid report");

    // when, then
    assert_eq!(manager.run_until_stalled(), 1);
    assert_eq!(actions.take().len(), 1);
    assert_eq!(manager.run_until_stalled(), 1);
}
