//! One poll does a bounded number of things and then lets others run; nobody starves.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slot_manager::testing::{GatewayAnswer, ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use slot_manager::{
    Acknowledge, AllocateSlot, LeaderId, Release, ScheduledExecutor, SlotAllocationError, SlotManager,
    SlotManagerConfig, TaskExecutorConnection, TaskExecutorGateway, Timestamp,
};

use super::{RestlessGateway, Task};
use crate::common::{Fixture, free_report, instance, patient, request, small};

const SECOND: Duration = Duration::from_secs(1);
/// What a poll does at most: so many answers, and so many deadlines.
const BUDGET: usize = 2 * 256;

/// Polls until nothing is left, and says how many events that were. Each poll but the last stops early, and has woken
/// the task.
#[track_caller]
fn poll_all(fixture: &mut Fixture, task: &Task) -> usize {
    let mut polls = Vec::new();
    loop {
        task.wakes();
        match fixture.step(|manager| manager.poll_progress(&mut task.context())) {
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
        "it says that there is more: {polls:?}"
    );
    polls.iter().map(|(events, _)| events).sum()
}

fn in_flight(requests: usize) -> (Fixture, ScriptedGateway) {
    let mut fixture = Fixture::with(patient().with_rpc_timeout(100 * SECOND));
    let gateway = fixture.register_free("tm", 1, &vec![small(); requests]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    for id in 1..=requests {
        let outcome = fixture.manager.register_slot_request(request(1, id as u128, &small()));
        assert!(outcome.is_ok());
    }
    fixture.log.take();
    (fixture, gateway)
}

#[test]
fn more_answers_than_a_poll_takes_are_applied_poll_by_poll() {
    let (mut fixture, gateway) = in_flight(1000);
    for attempt in 1..=1000 {
        gateway.answer(attempt, Ok(Acknowledge::new())).expect("it is pending");
    }
    let task = Task::new();
    assert_eq!(poll_all(&mut fixture, &task), 1000);
    assert_eq!(fixture.manager.slot_counts().allocated, 1000);
    let order: Vec<_> = fixture.brief_effects();
    let expected: Vec<_> = (1..=1000).map(|id| format!("granted {id} on tm_{}", id - 1)).collect();
    assert_eq!(order, expected);
}

#[test]
fn more_deadlines_than_a_poll_takes_are_handled_poll_by_poll() {
    let mut fixture = Fixture::with(patient().with_request_timeout(SECOND));
    for id in 1..=600 {
        let outcome = fixture.manager.register_slot_request(request(1, id, &small()));
        assert!(outcome.is_ok());
    }
    fixture.log.take();
    fixture.clock.advance(SECOND);
    let task = Task::new();
    assert_eq!(poll_all(&mut fixture, &task), 600);
    let expected: Vec<_> = (1..=600).map(|id| format!("failed {id}: timeout")).collect();
    assert_eq!(fixture.brief_effects(), expected);
}

/// Long after the RPC timeout of all of them.
#[test]
fn answers_that_were_there_in_time_count_however_many_there_are() {
    let drives: [fn(&mut Fixture); 2] = [
        |fixture| {
            poll_all(fixture, &Task::new());
        },
        |fixture| {
            fixture.run();
        },
    ];
    for drive in drives {
        let (mut fixture, gateway) = in_flight(1000);
        for attempt in 1..=1000 {
            gateway.answer(attempt, Ok(Acknowledge::new())).expect("it is pending");
        }
        fixture.clock.advance(1000 * SECOND);
        drive(&mut fixture);
        assert_eq!(fixture.manager.slot_counts().allocated, 1000);
    }
}

#[test]
fn answers_and_deadlines_are_all_dealt_with() {
    let (mut fixture, gateway) = in_flight(2000);
    for attempt in 1..=1000 {
        gateway.answer(attempt, Ok(Acknowledge::new())).expect("it is pending");
    }
    fixture.clock.advance(100 * SECOND);
    let task = Task::new();
    assert_eq!(poll_all(&mut fixture, &task), 2000);
    assert_eq!(fixture.manager.slot_counts().allocated, 1000);
}

#[test]
fn running_until_stalled_takes_all_at_once() {
    let (mut fixture, gateway) = in_flight(1000);
    for attempt in 1..=1000 {
        gateway.answer(attempt, Ok(Acknowledge::new())).expect("it is pending");
    }
    assert_eq!(fixture.run(), 1000);
    assert_eq!(fixture.manager.slot_counts().allocated, 1000);
}

type RestlessManager = SlotManager<RecordingActions, RestlessGateway, ManualScheduledExecutor>;

/// A manager that waits for this many answers which never come and never rest.
fn restless(requests: usize) -> (RestlessManager, ManualScheduledExecutor, RecordingActions) {
    let clock = ManualScheduledExecutor::new();
    let actions = RecordingActions::new();
    let config: SlotManagerConfig = patient().with_request_timeout(10 * SECOND);
    let mut manager = SlotManager::new(config, clock.clone()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), actions.clone())
        .expect("not started");
    let connection = TaskExecutorConnection::new("tm", instance(1), RestlessGateway);
    manager
        .register_task_manager(connection, &free_report("tm", &vec![small(); requests]))
        .expect("a valid report");
    for id in 1..=requests {
        let outcome = manager.register_slot_request(request(1, id as u128, &small()));
        assert!(outcome.is_ok());
    }
    manager.check_invariants().expect("they hold");
    (manager, clock, actions)
}

#[test]
fn a_future_that_wakes_itself_for_ever_hangs_nobody() {
    let (mut manager, clock, actions) = restless(1);
    let task = Task::new();
    assert_eq!(manager.run_until_stalled(), 0);
    assert_eq!(manager.poll_progress(&mut task.context()), Poll::Pending);
    assert_eq!(task.wakes(), 1, "it wants to be polled again");

    clock.advance(10 * SECOND);
    assert_eq!(manager.poll_progress(&mut task.context()), Poll::Ready(1));
    assert_eq!(actions.take().len(), 1, "its request failed");
    assert_eq!(manager.poll_progress(&mut task.context()), Poll::Pending);
}

/// Time goes on, however many futures keep the manager busy.
#[test]
fn many_futures_that_wake_themselves_for_ever_do_not_hold_up_time() {
    for requests in [255, 256, 257, 600] {
        let (mut manager, clock, actions) = restless(requests);
        clock.advance(10 * SECOND);
        let task = Task::new();
        for _ in 0..20 {
            let _did_something = manager.poll_progress(&mut task.context());
        }
        assert_eq!(
            actions.take().len(),
            requests,
            "failures with {requests} restless futures"
        );
        assert_eq!(manager.num_awaited_answers(), 0);
    }
}

#[test]
fn running_until_stalled_sees_time_beside_many_futures_that_wake_themselves_for_ever() {
    for requests in [255, 256, 257, 600] {
        let (mut manager, clock, actions) = restless(requests);
        assert_eq!(manager.run_until_stalled(), 0);
        clock.advance(10 * SECOND);
        assert_eq!(manager.run_until_stalled(), requests);
        assert_eq!(actions.take().len(), requests);
    }
}

/// Suspended between two polls, each of which had enough to do.
#[test]
fn what_a_poll_left_undone_does_not_concern_the_next_leader() {
    let (mut fixture, gateway) = in_flight(600);
    for attempt in 1..=600 {
        gateway.answer(attempt, Ok(Acknowledge::new())).expect("it is pending");
    }
    let task = Task::new();
    let first = fixture.step(|manager| manager.poll_progress(&mut task.context()));
    assert!(first.is_ready());
    assert!(fixture.manager.num_awaited_answers() > 0);
    fixture.step(SlotManager::suspend).expect("it was started");
    fixture.start(2);
    fixture
        .register_free("tm", 2, &[small()])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();
    fixture.advance(100 * SECOND);
    fixture.expect(&["free tm_0 of 1 #601", "request tm_0 for 1 #602"]);
}

/// Wakes every future once, needlessly, before the only answer.
#[test]
fn running_until_stalled_finds_an_answer_behind_any_number_of_needless_wake_ups() {
    let mut manager = SlotManager::new(patient(), ManualScheduledExecutor::new()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), RecordingActions::new())
        .expect("not started");
    let gateway = NudgedGateway::default();
    let connection = TaskExecutorConnection::new("tm", instance(1), gateway.clone());
    manager
        .register_task_manager(connection, &free_report("tm", &vec![small(); 1000]))
        .expect("a valid report");
    for id in 1..=1000 {
        let outcome = manager.register_slot_request(request(1, id, &small()));
        assert!(outcome.is_ok());
    }
    gateway.nudge_all_and_answer_the_last();
    assert_eq!(manager.run_until_stalled(), 1);
    assert_eq!(manager.slot_counts().allocated, 1);
    manager.check_invariants().expect("they hold");
}

/// One answer among many futures that do not rest fails an attempt; the answer to the next one is there when it is looked
/// at again.
#[test]
fn running_until_stalled_goes_on_with_what_an_answer_among_restless_futures_led_to() {
    let mut manager = SlotManager::new(patient(), ManualScheduledExecutor::new()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), RecordingActions::new())
        .expect("not started");
    let connection = TaskExecutorConnection::new("tm", instance(1), OneAnswers);
    manager
        .register_task_manager(connection, &free_report("tm", &vec![small(); 512]))
        .expect("a valid report");
    for id in 1..=512 {
        let outcome = manager.register_slot_request(request(1, id, &small()));
        assert!(outcome.is_ok());
    }
    assert_eq!(manager.run_until_stalled(), 2);
    assert_eq!(manager.slot_counts().allocated, 1);
    manager.check_invariants().expect("they hold");
}

/// Refuses the first attempt and grants the 513th, each when it is looked at for the second time. All its futures wake
/// themselves.
struct OneAnswers;

struct SecondLook {
    attempt: u64,
    looks: u32,
}

impl TaskExecutorGateway for OneAnswers {
    type RequestSlotFuture = SecondLook;

    fn request_slot(&mut self, request: &AllocateSlot) -> SecondLook {
        SecondLook {
            attempt: request.attempt,
            looks: 0,
        }
    }
}

impl Future for SecondLook {
    type Output = Result<Acknowledge, SlotAllocationError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.looks += 1;
        context.waker().wake_by_ref();
        match (self.attempt, self.looks) {
            (1, 2) => Poll::Ready(Err(SlotAllocationError::rejected("no"))),
            (513, 2) => Poll::Ready(Ok(Acknowledge::new())),
            _ => Poll::Pending,
        }
    }
}

/// Its futures can be woken without a reason.
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

    fn request_slot(&mut self, _: &AllocateSlot) -> Nudged {
        let future = Nudged::default();
        self.sent.lock().expect("not poisoned").push(future.clone());
        future
    }
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

/// One answer is left over from a poll that had enough to do; another comes then, and then its timeout is due.
#[test]
fn an_answer_that_comes_while_others_are_left_over_is_in_time() {
    let (mut fixture, gateway) = in_flight(258);
    for attempt in 1..=257 {
        gateway.answer(attempt, Ok(Acknowledge::new())).expect("it is pending");
    }
    let task = Task::new();
    let first = fixture.step(|manager| manager.poll_progress(&mut task.context()));
    assert_eq!(first, Poll::Ready(256));
    gateway.answer(258, Ok(Acknowledge::new())).expect("it is pending");
    fixture.clock.advance(100 * SECOND);
    let second = fixture.step(|manager| manager.poll_progress(&mut task.context()));
    assert_eq!(second, Poll::Ready(2));
    assert_eq!(fixture.manager.slot_counts().allocated, 258);
}

/// A clock that goes on by 10 ms whenever it is asked.
#[derive(Default)]
struct HurryingExecutor {
    asked: Cell<u64>,
}

impl ScheduledExecutor for HurryingExecutor {
    type Delay = std::future::Ready<()>;

    fn now(&self) -> Timestamp {
        self.asked.set(self.asked.get() + 1);
        Timestamp::from_millis(10 * self.asked.get())
    }

    fn delay_until(&mut self, _: Timestamp) -> Self::Delay {
        std::future::ready(())
    }
}

/// What is armed again is due by the time the round is over.
#[test]
fn running_until_stalled_ends_though_time_goes_on_meanwhile() {
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
    assert_eq!(manager.run_until_stalled(), 1);
    assert_eq!(actions.take().len(), 1);
    assert_eq!(manager.run_until_stalled(), 1);
}
