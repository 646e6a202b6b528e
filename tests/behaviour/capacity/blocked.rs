//! The free slots of a blocked worker are not handed out.

use slot_manager::{
    AllocationStatus, BlockOutcome, NotStarted, RegistrationOutcome, ResourceId, SlotManagerConfig, SlotState,
    UnblockOutcome,
};

use crate::common::{
    Fixture, SECOND, acknowledged, ask, described, granted, in_flight, instance, patient, rejected, report, slot, small,
};

/// `tm` is blocked, with so many free slots.
fn blocked(slots: usize) -> Fixture {
    blocked_with(patient(), slots)
}

fn blocked_with(config: SlotManagerConfig, slots: usize) -> Fixture {
    let mut fixture = Fixture::with(config);
    fixture.register_free("tm", 1, &vec![small(); slots]);
    assert_eq!(fixture.block("tm"), BlockOutcome::Blocked);
    assert!(fixture.manager.slots().all(|slot| slot.state() == SlotState::Blocked));
    fixture
}

fn is_blocked(fixture: &Fixture, number: u32) -> bool {
    fixture.state(&slot("tm", number)) == SlotState::Blocked
}

/// Registered, free, blocked, in flight and allocated slots.
fn counts(fixture: &Fixture) -> [usize; 5] {
    let all = fixture.manager.slot_counts();
    let task_manager = fixture
        .manager
        .task_manager(instance(1))
        .expect("registered")
        .slot_counts();
    assert_eq!(all, task_manager, "there is no other");
    [all.registered, all.free, all.blocked, all.in_flight, all.allocated]
}

// Slots.

#[test]
fn free_slots_are_not_offered() {
    let mut fixture = blocked(1);
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(1)]);
    assert!(is_blocked(&fixture, 0));
}

#[test]
fn a_blocked_slot_is_free_and_nobody_holds_it() {
    let fixture = blocked(1);
    assert!(fixture.is_free(&slot("tm", 0)));
    assert_eq!(fixture.holder(&slot("tm", 0)), None);
}

#[test]
fn slots_of_others_are_offered() {
    let mut fixture = blocked(1);
    fixture.register_free("other", 2, &[small()]);
    assert_eq!(fixture.request(1, &small()), granted(&slot("other", 0)));
}

#[test]
fn blocked_slots_are_counted_apart() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[Some(50), None, None, None]));
    fixture.request(1, &small());
    assert_eq!(counts(&fixture), [4, 2, 0, 1, 1]);
    fixture.block("tm");
    assert_eq!(counts(&fixture), [4, 0, 2, 1, 1]);
    fixture.answer(&gateway, 1, acknowledged());
    fixture.free(&slot("tm", 0), 50);
    assert_eq!(counts(&fixture), [4, 0, 3, 0, 1]);
    fixture.unblock("tm");
    assert_eq!(counts(&fixture), [4, 3, 0, 0, 1]);
}

#[test]
fn what_runs_stays() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.block("tm");
    fixture.expect_nothing();
    assert_eq!(fixture.status(50), Some(granted(&slot("tm", 0))));
}

#[test]
fn a_slot_that_is_freed_becomes_blocked() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.request(1, &small());
    fixture.block("tm");
    fixture.free(&slot("tm", 0), 50);
    assert!(is_blocked(&fixture, 0));
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn an_attempt_in_flight_goes_on() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.block("tm");
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
    fixture.answer(&gateway, 1, acknowledged());
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn the_slot_of_an_attempt_that_fails_becomes_blocked() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.block("tm");
    fixture.log.take();
    fixture.answer(&gateway, 1, rejected());
    assert!(is_blocked(&fixture, 0));
    fixture.expect(&[&ask(1)]);
}

#[test]
fn the_slot_of_an_attempt_that_is_cancelled_becomes_blocked() {
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.block("tm");
    fixture.cancel(1);
    assert!(is_blocked(&fixture, 0));
}

#[test]
fn the_slot_of_an_attempt_that_times_out_becomes_blocked() {
    let mut fixture = Fixture::with(patient().with_rpc_timeout(10 * SECOND));
    fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.block("tm");
    fixture.advance(10 * SECOND);
    assert!(is_blocked(&fixture, 0));
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

/// A slot on which attempts of two allocations failed in a row.
fn failing_slot(blocked_before_the_second: bool) -> Fixture {
    let mut fixture = Fixture::with(patient().with_retry_backoff(100 * SECOND, 100 * SECOND));
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.answer(&gateway, 1, rejected());
    if blocked_before_the_second {
        fixture.block("tm");
    }
    fixture.answer(&gateway, 2, rejected());
    fixture
}

#[test]
fn a_slot_that_would_pause_becomes_blocked() {
    let fixture = failing_slot(true);
    assert!(is_blocked(&fixture, 0));
}

#[test]
fn a_slot_that_pauses_becomes_blocked_and_pauses_no_more() {
    // given
    let mut fixture = failing_slot(false);
    assert!(matches!(fixture.state(&slot("tm", 0)), SlotState::BackingOff { .. }));

    // when, then
    fixture.block("tm");
    assert!(is_blocked(&fixture, 0));
    assert_eq!(fixture.advance(100 * SECOND), 0, "no pause ends");
    assert!(is_blocked(&fixture, 0));

    // when, then
    fixture.unblock("tm");
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
}

#[test]
fn a_report_changes_what_a_blocked_slot_does() {
    let mut fixture = blocked(1);
    fixture.report(1, &report("tm", &[Some(50)]));
    assert_eq!(fixture.status(50), Some(granted(&slot("tm", 0))));
    fixture.report(1, &report("tm", &[None, None]));
    assert!(is_blocked(&fixture, 0) && is_blocked(&fixture, 1));
    fixture.report(1, &report("tm", &[None]));
    assert_eq!(counts(&fixture), [1, 0, 1, 0, 0]);
}

// Registering.

#[test]
fn a_worker_can_be_blocked_before_it_registers() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.block("tm"), BlockOutcome::Blocked);
    fixture.request(1, &small());
    fixture.register("tm", 1, &report("tm", &[None, Some(50)]));
    assert!(is_blocked(&fixture, 0));
    assert_eq!(fixture.status(50), Some(granted(&slot("tm", 1))));
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn a_blocked_worker_keeps_promises_all_the_same() {
    // given
    let mut fixture = Fixture::new();
    fixture.promise_next(&[small()]);
    fixture.request(1, &small());
    fixture.block("tm");
    fixture.log.take();

    // when
    fixture.register_free("tm", 1, &[small()]);

    // then: the request needs another
    assert_eq!(fixture.promised(), (0, 0));
    fixture.expect(&[&ask(2)]);
}

#[test]
fn a_worker_that_registers_again_is_still_blocked() {
    let mut fixture = blocked(1);
    fixture.request(1, &small());
    let gateway = fixture.gateway();
    let outcome = fixture.register_with("tm", 2, &report("tm", &[None, None]), &gateway);
    assert_eq!(outcome, RegistrationOutcome::Replaced { previous: instance(1) });
    assert!(is_blocked(&fixture, 0) && is_blocked(&fixture, 1));
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn a_worker_that_was_gone_is_still_blocked() {
    let mut fixture = blocked(1);
    fixture.unregister(1);
    fixture.register_free("tm", 2, &[small()]);
    assert!(is_blocked(&fixture, 0));
}

#[test]
fn a_worker_that_is_unblocked_before_it_registers_is_not_blocked() {
    let mut fixture = Fixture::new();
    fixture.block("tm");
    assert_eq!(fixture.unblock("tm"), UnblockOutcome::Unblocked);
    fixture.register_free("tm", 1, &[small()]);
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
}

#[test]
fn the_next_leadership_knows_of_no_blocked_worker() {
    let mut fixture = blocked(1);
    fixture.suspend();
    fixture.start(2);
    fixture.register_free("tm", 2, &[small()]);
    assert_eq!(fixture.state(&slot("tm", 0)), SlotState::Free);
    assert_eq!(fixture.unblock("tm"), UnblockOutcome::NotBlocked);
    assert_eq!(fixture.block("tm"), BlockOutcome::Blocked);
}

// Unblocking.

#[test]
fn unblocked_slots_serve_waiting_requests_at_once_in_order() {
    // given
    let mut fixture = blocked(2);
    for id in [7, 3, 5] {
        fixture.request(id, &small());
    }
    fixture.log.take();

    // when, then
    assert_eq!(fixture.unblock("tm"), UnblockOutcome::Unblocked);
    fixture.expect(&[
        "request tm_0 for 7 #1",
        "request tm_1 for 3 #2",
        "granted 7 on tm_0",
        "granted 3 on tm_1",
    ]);
}

#[test]
fn unblocked_slots_that_serve_nobody_are_offered() {
    let mut fixture = blocked(2);
    fixture.unblock("tm");
    fixture.expect_nothing();
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 1)));
}

#[test]
fn unblocked_slots_are_free_from_now_on() {
    let mut fixture = blocked(1);
    fixture.register_free("other", 2, &[small()]);
    fixture.unblock("tm");
    assert_eq!(fixture.request(1, &small()), granted(&slot("other", 0)));
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 0)));
}

// Outcomes.

#[test]
fn a_worker_is_blocked_once() {
    let mut fixture = blocked(1);
    assert_eq!(fixture.block("tm"), BlockOutcome::AlreadyBlocked);
    assert_eq!(fixture.block("nobody"), BlockOutcome::Blocked);
    assert_eq!(fixture.block("nobody"), BlockOutcome::AlreadyBlocked);
}

#[test]
fn a_worker_is_unblocked_once() {
    let mut fixture = blocked(1);
    assert_eq!(fixture.unblock("other"), UnblockOutcome::NotBlocked);
    assert_eq!(fixture.unblock("tm"), UnblockOutcome::Unblocked);
    assert_eq!(fixture.unblock("tm"), UnblockOutcome::NotBlocked);
}

#[test]
fn nobody_is_blocked_or_unblocked_before_the_start() {
    let mut fixture = Fixture::not_started(patient());
    let tm = ResourceId::new("tm");
    assert_eq!(fixture.step(|manager| manager.block(&tm)), Err(NotStarted));
    assert_eq!(fixture.step(|manager| manager.unblock(&tm)), Err(NotStarted));
    fixture.start(1);
    assert_eq!(fixture.unblock("tm"), UnblockOutcome::NotBlocked);
}

// Idle.

#[test]
fn blocking_does_not_change_since_when_a_task_manager_is_idle() {
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(10 * SECOND));
    fixture.register_free("tm", 1, &[small()]);
    fixture.advance(5 * SECOND);
    fixture.block("tm");
    fixture.advance(5 * SECOND);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
    assert!(!fixture.is_registered(1));
}

#[test]
fn an_idle_blocked_task_manager_is_released_in_spite_of_the_floor() {
    // given
    let config = described(2).with_min_slots(2).with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.log.take();

    // when, then: its slots do not count for the floor
    fixture.block("tm");
    fixture.expect(&[&ask(2)]);

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn a_task_manager_that_was_kept_is_released_when_it_is_blocked() {
    let config = described(2).with_min_slots(2).with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.advance(10 * SECOND);
    fixture.log.take();
    fixture.block("tm");
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)", &ask(2)]);
}

#[test]
fn an_idle_blocked_task_manager_is_released_in_spite_of_redundancy() {
    let config = described(2)
        .with_redundant_task_managers(1)
        .with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register("busy", 2, &report("busy", &[Some(50)]));
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.expect(&[&ask(1)]);
    fixture.block("tm");
    fixture.expect(&[&ask(2)]);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn a_task_manager_that_goes_leaves_the_others_to_keep_up_the_floor_only_if_they_are_not_blocked() {
    // given: four slots, half of them blocked
    let config = described(2).with_min_slots(2).with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register_free("kept", 1, &[small(), small()]);
    fixture.register("tm", 2, &report("tm", &[Some(50), None]));
    fixture.block("tm");
    fixture.log.take();

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect_nothing();
    assert!(fixture.is_registered(1));
}

#[test]
fn the_floor_counts_the_slots_of_unblocked_workers_again() {
    // given: what was asked for instead is still on its way
    let config = described(2).with_min_slots(2);
    let mut fixture = Fixture::promising(config);
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.block("tm");
    fixture.log.take();

    // when
    fixture.unblock("tm");

    // then
    fixture.expect(&["withdraw 2"]);
}

#[test]
fn slots_that_are_used_on_a_blocked_worker_ask_for_redundancy() {
    let mut fixture = Fixture::promising(described(2).with_redundant_task_managers(1));
    fixture.block("tm");
    fixture.register("tm", 1, &report("tm", &[Some(50), None, None]));
    fixture.expect(&[&ask(1)]);
}
