//! Whom the manager wakes, and when.

use std::task::Poll;
use std::time::Duration;

use slot_manager::testing::GatewayAnswer;
use slot_manager::{Acknowledge, AllocationStatus, SlotAllocationError, SlotManager};

use super::Task;
use crate::common::{Fixture, job, patient, profile, report, slot, small};

const SECOND: Duration = Duration::from_secs(1);

/// Polls with the waker of the task, which then has nothing to do.
#[track_caller]
fn park(fixture: &mut Fixture, task: &Task) {
    while fixture
        .step(|manager| manager.poll_progress(&mut task.context()))
        .is_ready()
    {}
    task.wakes();
}

#[test]
fn before_the_start_there_is_nothing_to_do() {
    let mut fixture = Fixture::not_started(patient());
    let task = Task::new();
    assert_eq!(
        fixture.step(|manager| manager.poll_progress(&mut task.context())),
        Poll::Pending
    );
    assert_eq!(fixture.step(SlotManager::run_until_stalled), 0);
    assert_eq!(task.wakes(), 0);
    assert_eq!(fixture.clock.armed(), []);
}

#[test]
fn a_task_that_waits_since_before_the_start_is_woken_by_the_first_work() {
    let mut fixture = Fixture::not_started(patient().with_request_timeout(SECOND));
    let task = Task::new();
    park(&mut fixture, &task);
    fixture.start(1);
    fixture.request(1, &small());
    assert_eq!(task.wakes(), 1);
}

#[test]
fn after_suspending_there_is_nothing_to_do() {
    let mut fixture = Fixture::with(patient().with_request_timeout(SECOND));
    let task = Task::new();
    fixture.request(1, &small());
    park(&mut fixture, &task);
    fixture.step(SlotManager::suspend);
    fixture.clock.advance(10 * SECOND);
    assert_eq!(task.wakes(), 0);
    assert_eq!(
        fixture.step(|manager| manager.poll_progress(&mut task.context())),
        Poll::Pending
    );
}

#[test]
fn an_input_that_leaves_an_answer_to_wait_for_wakes() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small()])
        .answer_requests(GatewayAnswer::ByHand);
    let task = Task::new();
    park(&mut fixture, &task);
    fixture.request(1, &small());
    assert_eq!(task.wakes(), 1);
}

/// Each of these gives the slot to request 1, whose answer comes later.
#[test]
fn every_input_that_leaves_an_answer_to_wait_for_wakes() {
    type Input = fn(&mut Fixture);
    let inputs: [(&str, Input); 6] = [
        ("a slot is freed", |fixture| {
            fixture.free(&slot("tm", 0), 7);
        }),
        ("a slot is freed in flight", |fixture| {
            fixture.free(&slot("tm", 1), 6);
        }),
        ("a request is cancelled", |fixture| {
            fixture.cancel(6);
        }),
        ("a report", |fixture| {
            fixture.report(1, &report("tm", &[None, None]));
        }),
        ("a registration", |fixture| {
            let gateway = fixture.gateway();
            gateway.answer_requests(GatewayAnswer::ByHand);
            fixture.register_with("other", 2, &report("other", &[None]), &gateway);
        }),
        ("a job is gone", |fixture| {
            fixture.step(|manager| manager.unregister_job(job(2))).expect("started");
        }),
    ];
    for (name, input) in inputs {
        let mut fixture = Fixture::new();
        fixture
            .register("tm", 1, &report("tm", &[Some(7), None]))
            .answer_requests(GatewayAnswer::ByHand);
        assert!(fixture.try_request(2, 6, &small()).is_ok());
        fixture.request(1, &small());
        assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
        let task = Task::new();
        park(&mut fixture, &task);
        input(&mut fixture);
        assert!(
            matches!(fixture.status(1), Some(AllocationStatus::InFlight { .. })),
            "{name}"
        );
        assert_eq!(task.wakes(), 1, "{name}");
    }
}

#[test]
fn an_input_that_brings_the_earliest_deadline_forward_wakes() {
    let mut fixture = Fixture::with(
        patient()
            .with_request_timeout(10 * SECOND)
            .with_task_manager_timeout(SECOND),
    );
    let task = Task::new();
    park(&mut fixture, &task);
    fixture.request(1, &profile(9.0, 0));
    assert_eq!(task.wakes(), 1, "the first deadline of all");
    park(&mut fixture, &task);
    fixture.register_free("tm", 1, &[small()]);
    assert_eq!(task.wakes(), 1, "the idle timeout comes first");
}

#[test]
fn an_input_that_brings_neither_does_not_wake() {
    let mut fixture = Fixture::with(
        patient()
            .with_request_timeout(10 * SECOND)
            .with_task_manager_timeout(20 * SECOND),
    );
    fixture.request(1, &profile(9.0, 0));
    let task = Task::new();
    park(&mut fixture, &task);
    // Later deadlines, answers that are there at once, deadlines that end, and nothing at all.
    fixture.request(2, &profile(9.0, 0));
    fixture.register_free("tm", 1, &[small()]);
    fixture.request(3, &small());
    fixture.free(&slot("tm", 0), 3);
    fixture.report(1, &report("tm", &[Some(4)]));
    fixture.cancel(1);
    fixture.cancel(77);
    fixture.unregister(1);
    fixture.worker_failed(77);
    assert_eq!(task.wakes(), 0);
}

#[test]
fn a_task_is_woken_once_until_it_has_looked() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small(), small()])
        .answer_requests(GatewayAnswer::ByHand);
    let task = Task::new();
    park(&mut fixture, &task);
    fixture.request(1, &small());
    fixture.request(2, &small());
    assert_eq!(task.wakes(), 1);
    park(&mut fixture, &task);
    fixture.cancel(1);
    fixture.request(3, &small());
    assert_eq!(task.wakes(), 1);
}

#[test]
fn an_answer_wakes() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    let task = Task::new();
    park(&mut fixture, &task);
    gateway.answer(1, Ok(Acknowledge::new())).expect("it is pending");
    assert_eq!(task.wakes(), 1);
    assert_eq!(
        fixture.step(|manager| manager.poll_progress(&mut task.context())),
        Poll::Ready(1)
    );
}

#[test]
fn an_answer_to_an_attempt_that_was_made_without_a_task_wakes_the_task_that_came_later() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    let (first, second) = (Task::new(), Task::new());
    park(&mut fixture, &first);
    park(&mut fixture, &second);
    gateway.answer(1, Ok(Acknowledge::new())).expect("it is pending");
    assert_eq!((first.wakes(), second.wakes()), (0, 1), "the last one that polled");
}

#[test]
fn a_deadline_wakes() {
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
    fixture.request(1, &small());
    let task = Task::new();
    park(&mut fixture, &task);
    fixture.clock.advance(10 * SECOND - Duration::from_nanos(1));
    assert_eq!(task.wakes(), 0);
    fixture.clock.advance(Duration::from_nanos(1));
    assert_eq!(task.wakes(), 1);
    assert_eq!(
        fixture.step(|manager| manager.poll_progress(&mut task.context())),
        Poll::Ready(1)
    );
}

#[test]
fn running_without_a_task_does_not_replace_the_task_that_waits() {
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    let task = Task::new();
    park(&mut fixture, &task);

    fixture.run();
    fixture.request(1, &small());
    assert_eq!(task.wakes(), 1, "by an input");

    park(&mut fixture, &task);
    fixture.run();
    gateway.answer(1, Ok(Acknowledge::new())).expect("it is pending");
    assert_eq!(task.wakes(), 1, "by an answer");

    park(&mut fixture, &task);
    fixture.request(2, &small());
    assert_eq!(task.wakes(), 1, "by a deadline to wait for");
    park(&mut fixture, &task);
    // The delay that is armed here was first polled without the task.
    fixture.cancel(2);
    fixture.clock.advance(SECOND);
    fixture.request(3, &small());
    fixture.run();
    fixture.clock.advance(10 * SECOND);
    assert_eq!(task.wakes(), 1, "by a deadline");
}

#[test]
fn what_was_done_without_a_task_is_not_done_again() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    let task = Task::new();
    park(&mut fixture, &task);
    gateway
        .answer(1, Err(SlotAllocationError::rejected("no")))
        .expect("it is pending");
    assert_eq!(fixture.run(), 1);
    fixture.log.take();
    assert_eq!(
        fixture.step(|manager| manager.poll_progress(&mut task.context())),
        Poll::Pending
    );
    fixture.expect(&[""; 0]);
}

#[test]
fn a_delay_that_is_not_needed_any_more_wakes_nobody_after_a_look() {
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
    fixture.request(1, &small());
    let task = Task::new();
    park(&mut fixture, &task);
    fixture.cancel(1);
    park(&mut fixture, &task);
    fixture.clock.advance(20 * SECOND);
    assert_eq!(task.wakes(), 0);
}
