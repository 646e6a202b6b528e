//! The free slots of a blocked worker are not handed out.

use slot_manager::{
    AllocationStatus, BlockOutcome, NotStarted, RegistrationOutcome, ResourceId, SlotManagerConfig, SlotState,
    UnblockOutcome,
};

use crate::common::{
    Fixture, SECOND, acknowledged, ask, described, granted, in_flight, instance, patient, rejected, report, slot, small,
};

const NOTHING: [&str; 0] = [];

/// `tm` is blocked, with so many free slots.
fn blocked(slots: usize) -> Fixture {
    blocked_with(patient(), slots)
}

fn blocked_with(config: SlotManagerConfig, slots: usize) -> Fixture {
    let mut f = Fixture::with(config);
    f.register_free("tm", 1, &vec![small(); slots]);
    assert_eq!(f.block("tm"), BlockOutcome::Blocked);
    assert!(f.manager.slots().all(|slot| slot.state() == SlotState::Blocked));
    f
}

fn is_blocked(f: &Fixture, number: u32) -> bool {
    f.state(&slot("tm", number)) == SlotState::Blocked
}

/// Registered, free, blocked, in flight and allocated slots.
fn counts(f: &Fixture) -> [usize; 5] {
    let all = f.manager.slot_counts();
    let task_manager = f.manager.task_manager(instance(1)).expect("registered").slot_counts();
    assert_eq!(all, task_manager, "there is no other");
    [all.registered, all.free, all.blocked, all.in_flight, all.allocated]
}

// Slots.

#[test]
fn free_slots_are_not_offered() {
    let mut f = blocked(1);
    assert_eq!(f.request(1, &small()), AllocationStatus::Waiting);
    f.expect(&[&ask(1)]);
    assert!(is_blocked(&f, 0));
}

#[test]
fn a_blocked_slot_is_free_and_nobody_holds_it() {
    let f = blocked(1);
    assert!(f.is_free(&slot("tm", 0)));
    assert_eq!(f.holder(&slot("tm", 0)), None);
}

#[test]
fn slots_of_others_are_offered() {
    let mut f = blocked(1);
    f.register_free("other", 2, &[small()]);
    assert_eq!(f.request(1, &small()), granted(&slot("other", 0)));
}

#[test]
fn blocked_slots_are_counted_apart() {
    let mut f = Fixture::new();
    let gateway = f.register_by_hand("tm", 1, &report("tm", &[Some(50), None, None, None]));
    f.request(1, &small());
    assert_eq!(counts(&f), [4, 2, 0, 1, 1]);
    f.block("tm");
    assert_eq!(counts(&f), [4, 0, 2, 1, 1]);
    f.answer(&gateway, 1, acknowledged());
    f.free(&slot("tm", 0), 50);
    assert_eq!(counts(&f), [4, 0, 3, 0, 1]);
    f.unblock("tm");
    assert_eq!(counts(&f), [4, 3, 0, 0, 1]);
}

#[test]
fn what_runs_stays() {
    let mut f = Fixture::new();
    f.register("tm", 1, &report("tm", &[Some(50)]));
    f.block("tm");
    f.expect(&NOTHING);
    assert_eq!(f.status(50), Some(granted(&slot("tm", 0))));
}

#[test]
fn a_slot_that_is_freed_becomes_blocked() {
    let mut f = Fixture::new();
    f.register("tm", 1, &report("tm", &[Some(50)]));
    f.request(1, &small());
    f.block("tm");
    f.free(&slot("tm", 0), 50);
    assert!(is_blocked(&f, 0));
    assert_eq!(f.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn an_attempt_in_flight_goes_on() {
    let mut f = Fixture::new();
    let gateway = f.register_by_hand("tm", 1, &report("tm", &[None]));
    f.request(1, &small());
    f.block("tm");
    assert_eq!(f.status(1), Some(in_flight(&slot("tm", 0))));
    f.answer(&gateway, 1, acknowledged());
    assert_eq!(f.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn the_slot_of_an_attempt_that_fails_becomes_blocked() {
    let mut f = Fixture::new();
    let gateway = f.register_by_hand("tm", 1, &report("tm", &[None]));
    f.request(1, &small());
    f.block("tm");
    f.said();
    f.answer(&gateway, 1, rejected());
    assert!(is_blocked(&f, 0));
    f.expect(&[&ask(1)]);
}

#[test]
fn the_slot_of_an_attempt_that_is_cancelled_becomes_blocked() {
    let mut f = Fixture::new();
    f.register_by_hand("tm", 1, &report("tm", &[None]));
    f.request(1, &small());
    f.block("tm");
    f.cancel(1);
    assert!(is_blocked(&f, 0));
}

#[test]
fn the_slot_of_an_attempt_that_times_out_becomes_blocked() {
    let mut f = Fixture::with(patient().with_rpc_timeout(10 * SECOND));
    f.register_by_hand("tm", 1, &report("tm", &[None]));
    f.request(1, &small());
    f.block("tm");
    f.advance(10 * SECOND);
    assert!(is_blocked(&f, 0));
    assert_eq!(f.status(1), Some(AllocationStatus::Waiting));
}

/// A slot on which attempts of two allocations failed in a row.
fn failing_slot(blocked_before_the_second: bool) -> Fixture {
    let mut f = Fixture::with(patient().with_retry_pause(100 * SECOND, 100 * SECOND));
    let gateway = f.register_by_hand("tm", 1, &report("tm", &[None]));
    f.request(1, &small());
    f.request(2, &small());
    f.answer(&gateway, 1, rejected());
    if blocked_before_the_second {
        f.block("tm");
    }
    f.answer(&gateway, 2, rejected());
    f
}

#[test]
fn a_slot_that_would_pause_becomes_blocked() {
    let f = failing_slot(true);
    assert!(is_blocked(&f, 0));
}

#[test]
fn a_slot_that_pauses_becomes_blocked_and_pauses_no_more() {
    // given
    let mut f = failing_slot(false);
    assert!(matches!(f.state(&slot("tm", 0)), SlotState::Pausing { .. }));

    // when, then
    f.block("tm");
    assert!(is_blocked(&f, 0));
    assert_eq!(f.advance(100 * SECOND), 0, "no pause ends");
    assert!(is_blocked(&f, 0));

    // when, then
    f.unblock("tm");
    assert_eq!(f.status(1), Some(in_flight(&slot("tm", 0))));
}

#[test]
fn a_report_changes_what_a_blocked_slot_does() {
    let mut f = blocked(1);
    f.report(1, &report("tm", &[Some(50)]));
    assert_eq!(f.status(50), Some(granted(&slot("tm", 0))));
    f.report(1, &report("tm", &[None, None]));
    assert!(is_blocked(&f, 0) && is_blocked(&f, 1));
    f.report(1, &report("tm", &[None]));
    assert_eq!(counts(&f), [1, 0, 1, 0, 0]);
}

// Registering.

#[test]
fn a_worker_can_be_blocked_before_it_registers() {
    let mut f = Fixture::new();
    assert_eq!(f.block("tm"), BlockOutcome::Blocked);
    f.request(1, &small());
    f.register("tm", 1, &report("tm", &[None, Some(50)]));
    assert!(is_blocked(&f, 0));
    assert_eq!(f.status(50), Some(granted(&slot("tm", 1))));
    assert_eq!(f.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn a_blocked_worker_keeps_promises_all_the_same() {
    // given
    let mut f = Fixture::new();
    f.promise_next(&[small()]);
    f.request(1, &small());
    f.block("tm");
    f.said();

    // when
    f.register_free("tm", 1, &[small()]);

    // then: the request needs another
    assert_eq!(f.promised(), (0, 0));
    f.expect(&[&ask(2)]);
}

#[test]
fn a_worker_that_registers_again_is_still_blocked() {
    let mut f = blocked(1);
    f.request(1, &small());
    let gateway = f.gateway();
    let outcome = f.register_with("tm", 2, &report("tm", &[None, None]), &gateway);
    assert_eq!(outcome, RegistrationOutcome::Replaced { previous: instance(1) });
    assert!(is_blocked(&f, 0) && is_blocked(&f, 1));
    assert_eq!(f.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn a_worker_that_was_gone_is_still_blocked() {
    let mut f = blocked(1);
    f.unregister(1);
    f.register_free("tm", 2, &[small()]);
    assert!(is_blocked(&f, 0));
}

#[test]
fn a_worker_that_is_unblocked_before_it_registers_is_not_blocked() {
    let mut f = Fixture::new();
    f.block("tm");
    assert_eq!(f.unblock("tm"), UnblockOutcome::Unblocked);
    f.register_free("tm", 1, &[small()]);
    assert_eq!(f.request(1, &small()), granted(&slot("tm", 0)));
}

#[test]
fn the_next_leadership_knows_of_no_blocked_worker() {
    let mut f = blocked(1);
    f.suspend();
    f.start(2);
    f.register_free("tm", 2, &[small()]);
    assert_eq!(f.state(&slot("tm", 0)), SlotState::Free);
    assert_eq!(f.unblock("tm"), UnblockOutcome::NotBlocked);
    assert_eq!(f.block("tm"), BlockOutcome::Blocked);
}

// Unblocking.

#[test]
fn unblocked_slots_serve_waiting_requests_at_once_in_order() {
    // given
    let mut f = blocked(2);
    for id in [7, 3, 5] {
        f.request(id, &small());
    }
    f.said();

    // when, then
    assert_eq!(f.unblock("tm"), UnblockOutcome::Unblocked);
    f.expect(&[
        "request tm_0 for 7 #1",
        "request tm_1 for 3 #2",
        "granted 7 on tm_0",
        "granted 3 on tm_1",
    ]);
}

#[test]
fn unblocked_slots_that_serve_nobody_are_offered() {
    let mut f = blocked(2);
    f.unblock("tm");
    f.expect(&NOTHING);
    assert_eq!(f.request(1, &small()), granted(&slot("tm", 0)));
    assert_eq!(f.request(2, &small()), granted(&slot("tm", 1)));
}

#[test]
fn unblocked_slots_are_free_from_now_on() {
    let mut f = blocked(1);
    f.register_free("other", 2, &[small()]);
    f.unblock("tm");
    assert_eq!(f.request(1, &small()), granted(&slot("other", 0)));
    assert_eq!(f.request(2, &small()), granted(&slot("tm", 0)));
}

// Outcomes.

#[test]
fn a_worker_is_blocked_once() {
    let mut f = blocked(1);
    assert_eq!(f.block("tm"), BlockOutcome::AlreadyBlocked);
    assert_eq!(f.block("nobody"), BlockOutcome::Blocked);
    assert_eq!(f.block("nobody"), BlockOutcome::AlreadyBlocked);
}

#[test]
fn a_worker_is_unblocked_once() {
    let mut f = blocked(1);
    assert_eq!(f.unblock("other"), UnblockOutcome::NotBlocked);
    assert_eq!(f.unblock("tm"), UnblockOutcome::Unblocked);
    assert_eq!(f.unblock("tm"), UnblockOutcome::NotBlocked);
}

#[test]
fn nobody_is_blocked_or_unblocked_before_the_start() {
    let mut f = Fixture::not_started(patient());
    let tm = ResourceId::new("tm");
    assert_eq!(f.step(|manager| manager.block(&tm)), Err(NotStarted));
    assert_eq!(f.step(|manager| manager.unblock(&tm)), Err(NotStarted));
    f.start(1);
    assert_eq!(f.unblock("tm"), UnblockOutcome::NotBlocked);
}

// Idle.

#[test]
fn blocking_does_not_change_since_when_a_task_manager_is_idle() {
    let mut f = Fixture::with(patient().with_task_manager_timeout(10 * SECOND));
    f.register_free("tm", 1, &[small()]);
    f.advance(5 * SECOND);
    f.block("tm");
    f.advance(5 * SECOND);
    f.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
    assert!(!f.is_registered(1));
}

#[test]
fn an_idle_blocked_task_manager_is_released_in_spite_of_the_floor() {
    // given
    let config = described(2).with_min_slots(2).with_task_manager_timeout(10 * SECOND);
    let mut f = Fixture::promising(config);
    f.register_free("tm", 1, &[small(), small()]);
    f.said();

    // when, then: its slots do not count for the floor
    f.block("tm");
    f.expect(&[&ask(2)]);

    // when, then
    f.advance(10 * SECOND);
    f.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn a_task_manager_that_was_kept_is_released_when_it_is_blocked() {
    let config = described(2).with_min_slots(2).with_task_manager_timeout(10 * SECOND);
    let mut f = Fixture::promising(config);
    f.register_free("tm", 1, &[small(), small()]);
    f.advance(10 * SECOND);
    f.said();
    f.block("tm");
    f.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)", &ask(2)]);
}

#[test]
fn an_idle_blocked_task_manager_is_released_in_spite_of_redundancy() {
    let config = described(2)
        .with_redundant_task_managers(1)
        .with_task_manager_timeout(10 * SECOND);
    let mut f = Fixture::promising(config);
    f.register("busy", 2, &report("busy", &[Some(50)]));
    f.register_free("tm", 1, &[small(), small()]);
    f.expect(&[&ask(1)]);
    f.block("tm");
    f.expect(&[&ask(2)]);
    f.advance(10 * SECOND);
    f.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn a_task_manager_that_goes_leaves_the_others_to_keep_up_the_floor_only_if_they_are_not_blocked() {
    // given: four slots, half of them blocked
    let config = described(2).with_min_slots(2).with_task_manager_timeout(10 * SECOND);
    let mut f = Fixture::promising(config);
    f.register_free("kept", 1, &[small(), small()]);
    f.register("tm", 2, &report("tm", &[Some(50), None]));
    f.block("tm");
    f.said();

    // when
    f.advance(10 * SECOND);

    // then
    f.expect(&NOTHING);
    assert!(f.is_registered(1));
}

#[test]
fn the_floor_counts_the_slots_of_unblocked_workers_again() {
    // given: what was asked for instead is still on its way
    let config = described(2).with_min_slots(2);
    let mut f = Fixture::promising(config);
    f.register_free("tm", 1, &[small(), small()]);
    f.block("tm");
    f.said();

    // when
    f.unblock("tm");

    // then
    f.expect(&["withdraw 2"]);
}

#[test]
fn slots_that_are_used_on_a_blocked_worker_ask_for_redundancy() {
    let mut f = Fixture::promising(described(2).with_redundant_task_managers(1));
    f.block("tm");
    f.register("tm", 1, &report("tm", &[Some(50), None, None]));
    f.expect(&[&ask(1)]);
}
