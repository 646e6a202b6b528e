//! Which events wake the task that drives the manager.

use std::task::Poll;

use slot_manager::outcome::{AllocationStatus, RenewalOutcome};
use slot_manager::{LeaderId, SlotManager, Timestamp};

use super::{Task, park, poll};
use crate::common::{
    Fixture, NANOSECOND, SECOND, acknowledged, in_flight, job, patient, profile, rejected, report, slot, small,
};

/// One small slot, whose gateway is answered by hand.
fn one_slot(fixture: &mut Fixture) -> slot_manager::testing::ScriptedGateway {
    fixture.register_by_hand("tm", 1, &report("tm", &[None]))
}

// Before the start, and after the end.

#[test]
fn there_is_nothing_to_do_before_the_start() {
    let mut fixture = Fixture::not_started(patient());
    let task = Task::new();
    assert_eq!(poll(&mut fixture, &task), Poll::Pending);
    assert_eq!(fixture.run(), 0);
    assert_eq!(task.wakes(), 0);
    assert_eq!(fixture.clock.armed(), []);
}

#[test]
fn task_that_waits_since_before_the_start_is_woken_by_the_first_work() {
    // given
    let mut fixture = Fixture::not_started(patient().with_request_timeout(SECOND));
    let task = Task::new();
    park(&mut fixture, &task);

    // when
    fixture.start(1);
    fixture.request(1, &small());

    // then
    assert_eq!(task.wakes(), 1);
}

#[test]
fn there_is_nothing_to_do_after_suspending() {
    // given
    let mut fixture = Fixture::with(patient().with_request_timeout(SECOND));
    let task = Task::new();
    fixture.request(1, &small());
    park(&mut fixture, &task);

    // when
    fixture.step(SlotManager::suspend);
    fixture.clock.advance(10 * SECOND);

    // then
    assert_eq!(task.wakes(), 0);
    assert_eq!(poll(&mut fixture, &task), Poll::Pending);
}

// Inputs.

/// Each of these inputs sends request 1, whose answer comes later, to a slot.
#[test]
fn input_that_leaves_an_answer_to_await_wakes() {
    type Input = fn(&mut Fixture);
    let inputs: [(&str, Input); 6] = [
        ("a slot is freed", |fixture| {
            fixture.free(&slot("tm", 0), 7);
        }),
        ("a slot in flight is freed", |fixture| {
            fixture.free(&slot("tm", 1), 6);
        }),
        ("a request is cancelled", |fixture| {
            fixture.cancel(6);
        }),
        ("a report", |fixture| {
            fixture.report(1, &report("tm", &[None, None]));
        }),
        ("a registration", |fixture| {
            fixture.register_by_hand("other", 2, &report("other", &[None]));
        }),
        ("a job is unregistered", |fixture| {
            fixture.step(|manager| manager.unregister_job(job(2)));
        }),
    ];
    for (name, input) in inputs {
        // given: one slot allocated, one in flight, and request 1 waiting
        let mut fixture = Fixture::new();
        fixture.register_by_hand("tm", 1, &report("tm", &[Some(7), None]));
        assert!(fixture.try_request(2, 6, &small()).is_ok());
        fixture.request(1, &small());
        assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
        let task = Task::new();
        park(&mut fixture, &task);

        // when
        input(&mut fixture);

        // then
        assert!(
            matches!(fixture.status(1), Some(AllocationStatus::InFlight { .. })),
            "{name}"
        );
        assert_eq!(task.wakes(), 1, "{name}");
    }
}

#[test]
fn input_that_brings_the_earliest_deadline_forward_wakes() {
    // given
    let mut fixture = Fixture::with(
        patient()
            .with_request_timeout(10 * SECOND)
            .with_task_manager_timeout(SECOND),
    );
    let task = Task::new();
    park(&mut fixture, &task);

    // when, then: the first deadline of all
    fixture.request(1, &profile(9.0, 0));
    assert_eq!(task.wakes(), 1);

    // when, then: the idle timeout comes first
    park(&mut fixture, &task);
    fixture.register_free("tm", 1, &[small()]);
    assert_eq!(task.wakes(), 1);
}

#[test]
fn input_that_brings_neither_answer_nor_earlier_deadline_does_not_wake() {
    // given
    let mut fixture = Fixture::with(
        patient()
            .with_request_timeout(10 * SECOND)
            .with_task_manager_timeout(20 * SECOND),
    );
    fixture.request(1, &profile(9.0, 0));
    let task = Task::new();
    park(&mut fixture, &task);

    // when: later deadlines, immediate answers, deadlines that end, and inputs without an effect
    fixture.request(2, &profile(9.0, 0));
    fixture.register_free("tm", 1, &[small()]);
    fixture.request(3, &small());
    fixture.free(&slot("tm", 0), 3);
    fixture.report(1, &report("tm", &[Some(4)]));
    fixture.cancel(1);
    fixture.cancel(77);
    fixture.unregister(1);
    fixture.worker_failed(77);

    // then
    assert_eq!(task.wakes(), 0);
}

#[test]
fn task_is_woken_once_until_it_polls() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 1, &report("tm", &[None, None]));
    let task = Task::new();
    park(&mut fixture, &task);

    // when, then: a request in flight, and then another one
    fixture.request(1, &small());
    assert_eq!(task.wakes(), 1);
    fixture.request(2, &small());
    assert_eq!(task.wakes(), 0);

    // when, then
    park(&mut fixture, &task);
    fixture.cancel(1);
    fixture.request(3, &small());
    assert_eq!(task.wakes(), 1);
}

// Answers and deadlines.

#[test]
fn answer_wakes() {
    // given
    let mut fixture = Fixture::new();
    let gateway = one_slot(&mut fixture);
    fixture.request(1, &small());
    let task = Task::new();
    park(&mut fixture, &task);

    // when
    gateway
        .answer(1, acknowledged())
        .expect("the attempt awaits its answer");

    // then
    assert_eq!(task.wakes(), 1);
    assert_eq!(poll(&mut fixture, &task), Poll::Ready(1));
}

#[test]
fn answer_wakes_the_task_that_polled_last() {
    // given: the attempt was made before any task polled
    let mut fixture = Fixture::new();
    let gateway = one_slot(&mut fixture);
    fixture.request(1, &small());
    let (first, second) = (Task::new(), Task::new());
    park(&mut fixture, &first);
    park(&mut fixture, &second);

    // when
    gateway
        .answer(1, acknowledged())
        .expect("the attempt awaits its answer");

    // then
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
}

#[test]
fn deadline_wakes() {
    // given
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
    fixture.request(1, &small());
    let task = Task::new();
    park(&mut fixture, &task);

    // when, then
    fixture.clock.advance(10 * SECOND - NANOSECOND);
    assert_eq!(task.wakes(), 0);
    fixture.clock.advance(NANOSECOND);
    assert_eq!(task.wakes(), 1);
    assert_eq!(poll(&mut fixture, &task), Poll::Ready(1));
}

#[test]
fn delay_that_is_no_longer_needed_does_not_wake_after_the_next_poll() {
    // given
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
    fixture.request(1, &small());
    let task = Task::new();
    park(&mut fixture, &task);
    fixture.cancel(1);
    park(&mut fixture, &task);

    // when
    fixture.clock.advance(20 * SECOND);

    // then
    assert_eq!(task.wakes(), 0);
}

// `run_until_stalled`, which has no task.

#[test]
fn running_without_a_task_does_not_replace_the_task_that_waits() {
    // given
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
    let gateway = one_slot(&mut fixture);
    let task = Task::new();
    park(&mut fixture, &task);

    // when, then: an input wakes the task
    fixture.run();
    fixture.request(1, &small());
    assert_eq!(task.wakes(), 1);

    // when, then: an answer does
    park(&mut fixture, &task);
    fixture.run();
    gateway
        .answer(1, acknowledged())
        .expect("the attempt awaits its answer");
    assert_eq!(task.wakes(), 1);

    // when, then: a new earliest deadline does
    park(&mut fixture, &task);
    fixture.request(2, &small());
    assert_eq!(task.wakes(), 1);

    // when, then: a deadline does, although its delay was first polled without the task
    park(&mut fixture, &task);
    fixture.cancel(2);
    fixture.clock.advance(SECOND);
    fixture.request(3, &small());
    fixture.run();
    fixture.clock.advance(10 * SECOND);
    assert_eq!(task.wakes(), 1);
}

#[test]
fn answer_that_was_applied_without_a_task_is_not_applied_again() {
    // given
    let mut fixture = Fixture::new();
    let gateway = one_slot(&mut fixture);
    fixture.request(1, &small());
    let task = Task::new();
    park(&mut fixture, &task);
    gateway.answer(1, rejected()).expect("the attempt awaits its answer");
    assert_eq!(fixture.run(), 1);
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
    fixture.log.take();

    // when, then
    assert_eq!(poll(&mut fixture, &task), Poll::Pending);
    fixture.expect_nothing();
}

#[test]
fn renewal_of_a_leadership_that_has_ended_wakes_the_task() {
    // given: a deadline falls due after the end of the leadership
    let mut fixture = Fixture::not_started(patient().with_request_timeout(20 * SECOND));
    let actions = fixture.actions.clone();
    fixture
        .step(|manager| manager.start_until(LeaderId::from_u128(1), actions, Timestamp::from_secs(10)))
        .expect("not started");
    fixture.request(1, &small());
    fixture.clock.advance(25 * SECOND);
    let task = Task::new();
    assert_eq!(poll(&mut fixture, &task), Poll::Pending);
    assert_eq!(task.wakes(), 0);

    // when
    let renewed = fixture.step(|manager| manager.renew_leadership(Timestamp::MAX));

    // then
    assert!(matches!(renewed, RenewalOutcome::Resumed { .. }));
    assert_eq!(task.wakes(), 1);
    assert_eq!(poll(&mut fixture, &task), Poll::Ready(1));
}

#[test]
fn resumed_leadership_wakes_the_task_for_an_answer_without_a_deadline() {
    // given
    let mut fixture = Fixture::not_started(patient());
    let actions = fixture.actions.clone();
    fixture
        .step(|manager| manager.start_until(LeaderId::from_u128(1), actions, Timestamp::from_secs(10)))
        .expect("not started");
    let gateway = one_slot(&mut fixture);
    fixture.request(1, &small());
    let task = Task::new();
    park(&mut fixture, &task);
    fixture.clock.advance(25 * SECOND);
    gateway.answer(1, acknowledged()).expect("an awaited answer");
    assert_eq!(poll(&mut fixture, &task), Poll::Pending);
    task.wakes();

    // when
    let renewed = fixture.step(|manager| manager.renew_leadership(Timestamp::MAX));

    // then
    assert!(matches!(renewed, RenewalOutcome::Resumed { .. }));
    assert_eq!(task.wakes(), 1);
    assert_eq!(poll(&mut fixture, &task), Poll::Ready(1));
}
