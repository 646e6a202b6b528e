//! Since when a task manager is idle, and how its idle periods are counted.

use std::time::Duration;

use slot_manager::testing::GatewayAnswer;
use slot_manager::{Acknowledge, Release, SlotAllocationError, SlotReport, Timestamp};

use crate::common::{Fixture, instance, patient, profile, report, slot, small};

const SECOND: Duration = Duration::from_secs(1);

fn idle_since(fixture: &Fixture) -> Option<u64> {
    let task_manager = fixture.manager.task_manager(instance(1)).expect("it is registered");
    let idle_since = task_manager.idle_since()?;
    assert_eq!(idle_since.as_nanos() % 1_000_000_000, 0);
    Some(idle_since.as_nanos() / 1_000_000_000)
}

fn at_second(second: u64, fixture: &mut Fixture) {
    fixture.clock.advance_to(Timestamp::from_secs(second));
    fixture.run();
}

#[test]
fn it_begins_at_the_registration() {
    let mut fixture = Fixture::new();
    at_second(5, &mut fixture);
    fixture.register_free("tm", 1, &[small()]);
    assert_eq!(idle_since(&fixture), Some(5));
}

#[test]
fn it_begins_at_the_registration_also_without_slots() {
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(3 * SECOND));
    at_second(5, &mut fixture);
    fixture.register("tm", 1, &SlotReport::default());
    assert_eq!(idle_since(&fixture), Some(5));
    at_second(8, &mut fixture);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +5s (1)"]);
    assert_eq!(fixture.manager.num_task_managers(), 0);
}

#[test]
fn it_does_not_begin_while_a_slot_is_held() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None, Some(1)]));
    assert_eq!(idle_since(&fixture), None);
}

#[test]
fn it_ends_as_soon_as_a_slot_is_assigned() {
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(3 * SECOND));
    fixture
        .register_free("tm", 1, &[small()])
        .answer_requests(GatewayAnswer::ByHand);
    at_second(2, &mut fixture);
    fixture.request(1, &small());
    assert_eq!(idle_since(&fixture), None, "in flight is used");
    fixture.log.take();
    at_second(100, &mut fixture);
    fixture.expect(&[""; 0]);
}

#[test]
fn it_begins_when_the_last_used_slot_becomes_free() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), Some(2)]));
    at_second(3, &mut fixture);
    fixture.free(&slot("tm", 0), 1);
    assert_eq!(idle_since(&fixture), None);
    at_second(4, &mut fixture);
    fixture.free(&slot("tm", 1), 2);
    assert_eq!(idle_since(&fixture), Some(4));
}

#[test]
fn it_begins_when_a_report_shows_the_last_used_slot_free() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1)]));
    at_second(3, &mut fixture);
    fixture.report(1, &report("tm", &[None]));
    assert_eq!(idle_since(&fixture), Some(3));
}

#[test]
fn it_begins_when_a_cancelled_request_gives_the_slot_back() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small()])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    at_second(3, &mut fixture);
    fixture.cancel(1);
    assert_eq!(idle_since(&fixture), Some(3));
}

#[test]
fn it_begins_when_an_attempt_fails() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.register_free("other", 2, &[small()]);
    fixture.clock.advance_to(Timestamp::from_secs(3));
    gateway
        .answer(1, Err(SlotAllocationError::rejected("no")))
        .expect("it is pending");
    fixture.run();
    assert_eq!(fixture.status(1), Some(crate::common::granted(&slot("other", 0))));
    assert_eq!(idle_since(&fixture), Some(3));
}

#[test]
fn it_does_not_begin_when_a_freed_slot_is_assigned_in_the_same_call() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(7)]));
    fixture.request(1, &small());
    fixture.free(&slot("tm", 0), 7);
    assert_eq!(idle_since(&fixture), None);
}

#[test]
fn idle_reports_do_not_move_it() {
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(10 * SECOND));
    fixture.register_free("tm", 1, &[small(), small()]);
    for second in 1..10 {
        at_second(second, &mut fixture);
        fixture.report(1, &report("tm", &[None, None]));
        assert_eq!(idle_since(&fixture), Some(0));
    }
    // Nor do reports that change a profile, or add and remove free slots.
    fixture.report(1, &report("tm", &[None]));
    let changed = SlotReport::new(vec![slot_manager::SlotStatus::free(slot("tm", 7), profile(0.5, 0))]);
    fixture.report(1, &changed);
    assert_eq!(idle_since(&fixture), Some(0));
    at_second(10, &mut fixture);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn a_free_that_changes_nothing_does_not_move_it() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);
    at_second(3, &mut fixture);
    fixture.free(&slot("tm", 0), 1);
    assert_eq!(idle_since(&fixture), Some(0));
}

/// The same period is asked for with the same number; after it was used, a new one begins.
#[test]
fn periods_are_numbered() {
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(10 * SECOND));
    fixture.actions.answer_releases(Release::Declined);
    fixture.register_free("tm", 1, &[small()]);
    at_second(10, &mut fixture);
    at_second(20, &mut fixture);
    fixture.expect(&[
        "may 1 go? #1",
        "release 1, idle since +0ns (1)",
        "may 1 go? #2",
        "release 1, idle since +0ns (1)",
    ]);
    fixture.request(1, &small());
    at_second(25, &mut fixture);
    fixture.free(&slot("tm", 0), 1);
    fixture.log.take();
    at_second(34, &mut fixture);
    fixture.expect(&[""; 0]);
    at_second(35, &mut fixture);
    fixture.expect(&["may 1 go? #3", "release 1, idle since +25s (2)"]);
}

#[test]
fn a_task_manager_that_registers_with_a_used_slot_has_not_been_idle() {
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(10 * SECOND));
    fixture.register("tm", 1, &report("tm", &[Some(1)]));
    fixture.free(&slot("tm", 0), 1);
    at_second(10, &mut fixture);
    assert_eq!(
        fixture.brief_effects(),
        ["may 1 go? #1", "release 1, idle since +0ns (1)"],
        "its first period"
    );
}

#[test]
fn a_declined_release_leaves_the_slots_in_use() {
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(10 * SECOND));
    fixture.actions.answer_next_release(Release::Declined);
    fixture.register_free("tm", 1, &[small()]);
    at_second(10, &mut fixture);
    fixture.log.take();
    fixture.request(1, &small());
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
}

#[test]
fn an_accepted_release_forgets_the_task_manager_at_once() {
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(10 * SECOND));
    fixture.register_free("tm", 1, &[small()]);
    at_second(10, &mut fixture);
    assert_eq!(fixture.manager.num_task_managers(), 0);
    assert_eq!(fixture.manager.slot_counts().registered, 0);
    assert_eq!(
        fixture.report(1, &report("tm", &[Some(1)])),
        slot_manager::ReportOutcome::Unknown
    );
    assert_eq!(fixture.unregister(1), slot_manager::UnregistrationOutcome::Unknown);
    assert_eq!(fixture.request(1, &small()), slot_manager::AllocationStatus::Waiting);
}

/// The answer that makes the last slot free and the idle timeout are different events: used until the moment it is
/// released, it is not idle.
#[test]
fn a_slot_that_is_taken_in_the_round_in_which_its_task_manager_is_due_keeps_it() {
    let mut fixture = Fixture::with(
        patient()
            .with_task_manager_timeout(10 * SECOND)
            .with_retry_backoff(10 * SECOND, 10 * SECOND),
    );
    let refusing = fixture.register_free("refusing", 2, &[small()]);
    refusing.answer_requests(Err(SlotAllocationError::rejected("no")));
    fixture.request(1, &small());
    fixture.unregister(2);
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(Ok(Acknowledge::new()));
    fixture.log.take();
    // The pause of request 1 ends at the very time at which the task manager has been idle for long enough.
    at_second(10, &mut fixture);
    fixture.expect(&["request tm_0 for 1 #3", "granted 1 on tm_0"]);
    assert_eq!(fixture.manager.num_task_managers(), 1);
}

#[test]
fn a_task_manager_whose_slots_pause_is_idle_and_can_be_released() {
    let config = patient().with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::with(config.with_retry_backoff(100 * SECOND, 100 * SECOND));
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.request(2, &small());
    for attempt in [1, 2] {
        gateway
            .answer(attempt, Err(SlotAllocationError::rejected("no")))
            .expect("it is pending");
        fixture.run();
    }
    fixture.log.take();
    at_second(10, &mut fixture);
    assert_eq!(
        fixture.brief_effects(),
        ["may 1 go? #1", "release 1, idle since +0ns (2)"],
        "it was used in between"
    );
    assert_eq!(fixture.manager.slot_counts().registered, 0);
    fixture.register_free("tm", 2, &[small()]);
    assert_eq!(
        fixture.status(1),
        Some(crate::common::granted(&slot("tm", 0))),
        "what is known of the old slot is forgotten"
    );
}
