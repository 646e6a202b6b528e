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
fn park(f: &mut Fixture, task: &Task) {
    while f.step(|manager| manager.poll_progress(&mut task.context())).is_ready() {}
    task.wakes();
}

#[test]
fn before_the_start_there_is_nothing_to_do() {
    let mut f = Fixture::not_started(patient());
    let task = Task::new();
    assert_eq!(
        f.step(|manager| manager.poll_progress(&mut task.context())),
        Poll::Pending
    );
    assert_eq!(f.step(SlotManager::run_until_stalled), 0);
    assert_eq!(task.wakes(), 0);
    assert_eq!(f.clock.armed(), []);
}

#[test]
fn a_task_that_waits_since_before_the_start_is_woken_by_the_first_work() {
    let mut f = Fixture::not_started(patient().with_request_timeout(SECOND));
    let task = Task::new();
    park(&mut f, &task);
    f.start(1);
    f.request(1, &small());
    assert_eq!(task.wakes(), 1);
}

#[test]
fn after_suspending_there_is_nothing_to_do() {
    let mut f = Fixture::with(patient().with_request_timeout(SECOND));
    let task = Task::new();
    f.request(1, &small());
    park(&mut f, &task);
    f.step(SlotManager::suspend);
    f.clock.advance(10 * SECOND);
    assert_eq!(task.wakes(), 0);
    assert_eq!(
        f.step(|manager| manager.poll_progress(&mut task.context())),
        Poll::Pending
    );
}

#[test]
fn an_input_that_leaves_an_answer_to_wait_for_wakes() {
    let mut f = Fixture::new();
    f.register_free("tm", 1, &[small()])
        .answer_requests(GatewayAnswer::ByHand);
    let task = Task::new();
    park(&mut f, &task);
    f.request(1, &small());
    assert_eq!(task.wakes(), 1);
}

/// Each of these gives the slot to request 1, whose answer comes later.
#[test]
fn every_input_that_leaves_an_answer_to_wait_for_wakes() {
    type Input = fn(&mut Fixture);
    let inputs: [(&str, Input); 6] = [
        ("a slot is freed", |f| {
            f.free(&slot("tm", 0), 7);
        }),
        ("a slot is freed in flight", |f| {
            f.free(&slot("tm", 1), 6);
        }),
        ("a request is cancelled", |f| {
            f.cancel(6);
        }),
        ("a report", |f| {
            f.report(1, &report("tm", &[None, None]));
        }),
        ("a registration", |f| {
            let gateway = f.gateway();
            gateway.answer_requests(GatewayAnswer::ByHand);
            f.register_with("other", 2, &report("other", &[None]), &gateway);
        }),
        ("a job is gone", |f| {
            f.step(|manager| manager.unregister_job(job(2))).expect("started");
        }),
    ];
    for (name, input) in inputs {
        let mut f = Fixture::new();
        f.register("tm", 1, &report("tm", &[Some(7), None]))
            .answer_requests(GatewayAnswer::ByHand);
        assert!(f.try_request(2, 6, &small()).is_ok());
        f.request(1, &small());
        assert_eq!(f.status(1), Some(AllocationStatus::Waiting));
        let task = Task::new();
        park(&mut f, &task);
        input(&mut f);
        assert!(matches!(f.status(1), Some(AllocationStatus::InFlight { .. })), "{name}");
        assert_eq!(task.wakes(), 1, "{name}");
    }
}

#[test]
fn an_input_that_brings_the_earliest_deadline_forward_wakes() {
    let mut f = Fixture::with(
        patient()
            .with_request_timeout(10 * SECOND)
            .with_task_manager_timeout(SECOND),
    );
    let task = Task::new();
    park(&mut f, &task);
    f.request(1, &profile(9.0, 0));
    assert_eq!(task.wakes(), 1, "the first deadline of all");
    park(&mut f, &task);
    f.register_free("tm", 1, &[small()]);
    assert_eq!(task.wakes(), 1, "the idle timeout comes first");
}

#[test]
fn an_input_that_brings_neither_does_not_wake() {
    let mut f = Fixture::with(
        patient()
            .with_request_timeout(10 * SECOND)
            .with_task_manager_timeout(20 * SECOND),
    );
    f.request(1, &profile(9.0, 0));
    let task = Task::new();
    park(&mut f, &task);
    // Later deadlines, answers that are there at once, deadlines that end, and nothing at all.
    f.request(2, &profile(9.0, 0));
    f.register_free("tm", 1, &[small()]);
    f.request(3, &small());
    f.free(&slot("tm", 0), 3);
    f.report(1, &report("tm", &[Some(4)]));
    f.cancel(1);
    f.cancel(77);
    f.unregister(1);
    f.worker_failed(77);
    assert_eq!(task.wakes(), 0);
}

#[test]
fn a_task_is_woken_once_until_it_has_looked() {
    let mut f = Fixture::new();
    f.register_free("tm", 1, &[small(), small()])
        .answer_requests(GatewayAnswer::ByHand);
    let task = Task::new();
    park(&mut f, &task);
    f.request(1, &small());
    f.request(2, &small());
    assert_eq!(task.wakes(), 1);
    park(&mut f, &task);
    f.cancel(1);
    f.request(3, &small());
    assert_eq!(task.wakes(), 1);
}

#[test]
fn an_answer_wakes() {
    let mut f = Fixture::new();
    let gateway = f.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    f.request(1, &small());
    let task = Task::new();
    park(&mut f, &task);
    gateway.answer(1, Ok(Acknowledge::new())).expect("it is pending");
    assert_eq!(task.wakes(), 1);
    assert_eq!(
        f.step(|manager| manager.poll_progress(&mut task.context())),
        Poll::Ready(1)
    );
}

#[test]
fn an_answer_to_an_attempt_that_was_made_without_a_task_wakes_the_task_that_came_later() {
    let mut f = Fixture::new();
    let gateway = f.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    f.request(1, &small());
    let (first, second) = (Task::new(), Task::new());
    park(&mut f, &first);
    park(&mut f, &second);
    gateway.answer(1, Ok(Acknowledge::new())).expect("it is pending");
    assert_eq!((first.wakes(), second.wakes()), (0, 1), "the last one that polled");
}

#[test]
fn a_deadline_wakes() {
    let mut f = Fixture::with(patient().with_request_timeout(10 * SECOND));
    f.request(1, &small());
    let task = Task::new();
    park(&mut f, &task);
    f.clock.advance(10 * SECOND - Duration::from_nanos(1));
    assert_eq!(task.wakes(), 0);
    f.clock.advance(Duration::from_nanos(1));
    assert_eq!(task.wakes(), 1);
    assert_eq!(
        f.step(|manager| manager.poll_progress(&mut task.context())),
        Poll::Ready(1)
    );
}

#[test]
fn running_without_a_task_does_not_replace_the_task_that_waits() {
    let mut f = Fixture::with(patient().with_request_timeout(10 * SECOND));
    let gateway = f.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    let task = Task::new();
    park(&mut f, &task);

    f.run();
    f.request(1, &small());
    assert_eq!(task.wakes(), 1, "by an input");

    park(&mut f, &task);
    f.run();
    gateway.answer(1, Ok(Acknowledge::new())).expect("it is pending");
    assert_eq!(task.wakes(), 1, "by an answer");

    park(&mut f, &task);
    f.request(2, &small());
    assert_eq!(task.wakes(), 1, "by a deadline to wait for");
    park(&mut f, &task);
    // The delay that is armed here was first polled without the task.
    f.cancel(2);
    f.clock.advance(SECOND);
    f.request(3, &small());
    f.run();
    f.clock.advance(10 * SECOND);
    assert_eq!(task.wakes(), 1, "by a deadline");
}

#[test]
fn what_was_done_without_a_task_is_not_done_again() {
    let mut f = Fixture::new();
    let gateway = f.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    f.request(1, &small());
    let task = Task::new();
    park(&mut f, &task);
    gateway
        .answer(1, Err(SlotAllocationError::rejected("no")))
        .expect("it is pending");
    assert_eq!(f.run(), 1);
    f.said();
    assert_eq!(
        f.step(|manager| manager.poll_progress(&mut task.context())),
        Poll::Pending
    );
    assert_eq!(f.said(), [""; 0]);
}

#[test]
fn a_delay_that_is_not_needed_any_more_wakes_nobody_after_a_look() {
    let mut f = Fixture::with(patient().with_request_timeout(10 * SECOND));
    f.request(1, &small());
    let task = Task::new();
    park(&mut f, &task);
    f.cancel(1);
    park(&mut f, &task);
    f.clock.advance(20 * SECOND);
    assert_eq!(task.wakes(), 0);
}
