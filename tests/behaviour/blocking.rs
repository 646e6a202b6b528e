//! Blocked workers: their free slots are not handed out.

use slot_manager::outcome::{AllocationStatus, BlockOutcome, RegistrationOutcome, UnblockOutcome};
use slot_manager::testing::{Action, Effect};
use slot_manager::view::SlotState;
use slot_manager::{ResourceId, SlotManagerConfig};

use crate::common::{
    Fixture, SECOND, acknowledged, ask, granted, in_flight, instance, patient, rejected, report, slot, small,
    workers_of,
};

/// Worker `tm` is blocked and has this number of free slots.
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
    let all = fixture.manager.overview().slots.counts();
    let task_manager = fixture
        .manager
        .task_manager(instance(1))
        .expect("registered")
        .slot_counts();
    assert_eq!(all, task_manager, "it is the only task manager");
    [all.registered, all.free, all.blocked, all.in_flight, all.allocated]
}

// Slots.

#[test]
fn free_slots_of_a_blocked_worker_are_not_offered() {
    // given
    let mut fixture = blocked(1);

    // when, then
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(1)]);
    assert!(is_blocked(&fixture, 0));
}

#[test]
fn blocked_slot_is_free_and_has_no_holder() {
    let fixture = blocked(1);
    assert!(fixture.is_free(&slot("tm", 0)));
    assert_eq!(fixture.holder(&slot("tm", 0)), None);
}

#[test]
fn free_slots_of_other_workers_are_offered() {
    let mut fixture = blocked(1);
    fixture.register_free("other", 2, &[small()]);
    assert_eq!(fixture.request(1, &small()), granted(&slot("other", 0)));
}

#[test]
fn blocked_slots_are_counted_separately() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[Some(50), None, None, None]));

    // when
    fixture.request(1, &small());

    // then
    assert_eq!(counts(&fixture), [4, 2, 0, 1, 1]);

    // when, then
    fixture.block("tm");
    assert_eq!(counts(&fixture), [4, 0, 2, 1, 1]);

    // when, then
    fixture.answer(&gateway, 1, acknowledged());
    fixture.free(&slot("tm", 0), 50);
    assert_eq!(counts(&fixture), [4, 0, 3, 0, 1]);

    // when, then
    fixture.unblock("tm");
    assert_eq!(counts(&fixture), [4, 3, 0, 0, 1]);
}

#[test]
fn grants_on_a_blocked_worker_stay() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(50)]));

    // when
    fixture.block("tm");

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.status(50), Some(granted(&slot("tm", 0))));
}

#[test]
fn slot_that_is_freed_becomes_blocked() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.request(1, &small());
    fixture.block("tm");

    // when
    fixture.free(&slot("tm", 0), 50);

    // then
    assert!(is_blocked(&fixture, 0));
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn attempt_in_flight_to_a_blocked_worker_goes_on() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());

    // when
    fixture.block("tm");

    // then
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));

    // when, then
    fixture.answer(&gateway, 1, acknowledged());
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn slot_of_an_attempt_that_fails_becomes_blocked() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.block("tm");
    fixture.log.take();

    // when
    fixture.answer(&gateway, 1, rejected());

    // then
    assert!(is_blocked(&fixture, 0));
    fixture.expect(&[&ask(1)]);
}

#[test]
fn slot_of_an_attempt_that_is_cancelled_becomes_blocked() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.block("tm");

    // when
    fixture.cancel(1);

    // then
    assert!(is_blocked(&fixture, 0));
}

#[test]
fn slot_of_an_attempt_that_times_out_becomes_blocked() {
    // given
    let mut fixture = Fixture::with(patient().with_rpc_timeout(10 * SECOND));
    fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.block("tm");

    // when
    fixture.advance(10 * SECOND);

    // then
    assert!(is_blocked(&fixture, 0));
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

/// A slot on which attempts of two allocations failed in a row, and its worker as well if
/// `of_worker`.
fn failing_slot(blocked_before_the_second: bool, of_worker: bool) -> Fixture {
    let mut fixture = Fixture::with(patient().with_retry_backoff(100 * SECOND, 100 * SECOND));
    let gateway = fixture.register_pair(1);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.answer(&gateway, 1, rejected());
    if !of_worker {
        fixture.acknowledge_on_other_slot(&gateway);
    }
    if blocked_before_the_second {
        fixture.block("tm");
    }
    fixture.answer(&gateway, 2, rejected());
    fixture
}

#[test]
fn slot_that_would_back_off_becomes_blocked() {
    for of_worker in [false, true] {
        let fixture = failing_slot(true, of_worker);
        assert!(is_blocked(&fixture, 0));
    }
}

#[test]
fn slot_that_backs_off_becomes_blocked_and_its_backoff_ends() {
    // given
    let mut fixture = failing_slot(false, false);
    assert!(matches!(fixture.state(&slot("tm", 0)), SlotState::BackingOff { .. }));
    assert_eq!(fixture.state(&slot("tm", 1)), SlotState::Free);

    // when, then
    fixture.block("tm");
    assert!(is_blocked(&fixture, 0));
    assert_eq!(fixture.advance(100 * SECOND), 0, "no backoff ends");
    assert!(is_blocked(&fixture, 0));

    // when, then
    fixture.unblock("tm");
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
}

#[test]
fn slots_of_a_worker_that_backs_off_become_blocked_until_it_is_unblocked() {
    // given
    let mut fixture = failing_slot(false, true);
    for number in [0, 1] {
        assert!(matches!(
            fixture.state(&slot("tm", number)),
            SlotState::BackingOff { .. }
        ));
    }
    fixture.log.take();

    // when, then: the end of its backoff has no effect
    fixture.block("tm");
    assert!(is_blocked(&fixture, 0) && is_blocked(&fixture, 1));
    fixture.advance(100 * SECOND);
    fixture.expect_nothing();
    assert!(is_blocked(&fixture, 0) && is_blocked(&fixture, 1));

    // when, then: one attempt probes it
    fixture.unblock("tm");
    fixture.expect(&["request tm_0 for 1 #3"]);
    assert!(matches!(fixture.state(&slot("tm", 1)), SlotState::BackingOff { .. }));
}

#[test]
fn reports_change_the_state_of_a_blocked_slot() {
    // given
    let mut fixture = blocked(1);

    // when
    fixture.report(1, &report("tm", &[Some(50)]));

    // then
    assert_eq!(fixture.status(50), Some(granted(&slot("tm", 0))));

    // when, then
    fixture.report(1, &report("tm", &[None, None]));
    assert!(is_blocked(&fixture, 0) && is_blocked(&fixture, 1));

    // when, then
    fixture.report(1, &report("tm", &[None]));
    assert_eq!(counts(&fixture), [1, 0, 1, 0, 0]);
}

// Registrations.

#[test]
fn worker_can_be_blocked_before_it_registers() {
    // given
    let mut fixture = Fixture::new();

    // when, then
    assert_eq!(fixture.block("tm"), BlockOutcome::Blocked);

    // when, then
    fixture.request(1, &small());
    fixture.register("tm", 1, &report("tm", &[None, Some(50)]));
    assert!(is_blocked(&fixture, 0));
    assert_eq!(fixture.status(50), Some(granted(&slot("tm", 1))));
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn blocked_worker_keeps_its_promise() {
    // given
    let mut fixture = Fixture::new();
    fixture.promise_next(&[small()]);
    fixture.request(1, &small());
    fixture.block("tm");
    fixture.log.take();

    // when
    fixture.register_free("tm", 1, &[small()]);

    // then: the request needs another worker
    assert_eq!(fixture.promised(), (0, 0));
    fixture.expect(&[&ask(2)]);
}

#[test]
fn worker_that_registers_again_is_still_blocked() {
    // given
    let mut fixture = blocked(1);
    fixture.request(1, &small());
    let gateway = fixture.gateway();

    // when
    let outcome = fixture.register_with("tm", 2, &report("tm", &[None, None]), &gateway);

    // then
    assert_eq!(outcome, RegistrationOutcome::Replaced { previous: instance(1) });
    assert!(is_blocked(&fixture, 0) && is_blocked(&fixture, 1));
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn worker_that_was_unregistered_is_still_blocked() {
    // given
    let mut fixture = blocked(1);
    fixture.unregister(1);

    // when
    fixture.register_free("tm", 2, &[small()]);

    // then
    assert!(is_blocked(&fixture, 0));
}

#[test]
fn worker_that_is_unblocked_before_it_registers_is_not_blocked() {
    // given
    let mut fixture = Fixture::new();
    fixture.block("tm");

    // when, then
    assert_eq!(fixture.unblock("tm"), UnblockOutcome::Unblocked);

    // when, then
    fixture.register_free("tm", 1, &[small()]);
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
}

#[test]
fn workers_stay_blocked_in_the_next_leadership() {
    // given
    let mut fixture = blocked(1);
    fixture.suspend();
    fixture.start(2);

    // when
    fixture.register_free("tm", 2, &[small()]);

    // then
    assert!(is_blocked(&fixture, 0));
    assert_eq!(fixture.block("tm"), BlockOutcome::AlreadyBlocked);
    assert_eq!(fixture.unblock("tm"), UnblockOutcome::Unblocked);
    assert_eq!(fixture.state(&slot("tm", 0)), SlotState::Free);
}

#[test]
fn blocked_workers_are_listed_by_id_registered_or_not() {
    // given
    let mut fixture = blocked(1);
    fixture.block("a worker that never came");

    // when, then
    let names = |fixture: &Fixture| Vec::from_iter(fixture.manager.blocked_workers().map(ResourceId::to_string));
    assert_eq!(names(&fixture), ["a worker that never came", "tm"]);

    // when, then
    fixture.suspend();
    fixture.unblock("tm");
    assert_eq!(names(&fixture), ["a worker that never came"]);
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
fn unblocked_slots_without_waiting_requests_are_offered() {
    // given
    let mut fixture = blocked(2);

    // when
    fixture.unblock("tm");

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 1)));
}

#[test]
fn unblocked_slots_queue_behind_the_slots_that_were_free() {
    // given
    let mut fixture = blocked(1);
    fixture.register_free("other", 2, &[small()]);
    fixture.unblock("tm");

    // when, then
    assert_eq!(fixture.request(1, &small()), granted(&slot("other", 0)));
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 0)));
}

// Outcomes.

#[test]
fn outcome_tells_whether_a_worker_was_blocked_already() {
    // given
    let mut fixture = blocked(1);

    // when, then
    assert_eq!(fixture.block("tm"), BlockOutcome::AlreadyBlocked);
    assert_eq!(fixture.block("unknown"), BlockOutcome::Blocked);
    assert_eq!(fixture.block("unknown"), BlockOutcome::AlreadyBlocked);
}

#[test]
fn outcome_tells_whether_a_worker_was_unblocked_already() {
    // given
    let mut fixture = blocked(1);

    // when, then
    assert_eq!(fixture.unblock("other"), UnblockOutcome::NotBlocked);
    assert_eq!(fixture.unblock("tm"), UnblockOutcome::Unblocked);
    assert_eq!(fixture.unblock("tm"), UnblockOutcome::NotBlocked);
}

#[test]
fn worker_can_be_blocked_and_unblocked_before_the_start() {
    // given
    let mut fixture = Fixture::not_started(patient());
    assert_eq!(fixture.block("tm"), BlockOutcome::Blocked);
    assert_eq!(fixture.block("other"), BlockOutcome::Blocked);
    assert_eq!(fixture.unblock("other"), UnblockOutcome::Unblocked);

    // when
    fixture.start(1);
    fixture.register_free("tm", 1, &[small()]);
    fixture.register_free("other", 2, &[small()]);

    // then
    assert!(is_blocked(&fixture, 0));
    assert_eq!(fixture.state(&slot("other", 0)), SlotState::Free);
}

// Idle task managers.

#[test]
fn blocking_does_not_restart_the_idle_period() {
    // given
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(10 * SECOND));
    fixture.register_free("tm", 1, &[small()]);
    fixture.advance(5 * SECOND);
    fixture.block("tm");

    // when
    fixture.advance(5 * SECOND);

    // then
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
    assert!(!fixture.is_registered(1));
}

#[test]
fn idle_blocked_task_manager_is_released_in_spite_of_the_minimum() {
    // given
    let config = patient()
        .with_workers(workers_of(2).with_min_slots(2))
        .with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.log.take();

    // when, then: its slots do not count for the minimum
    fixture.block("tm");
    fixture.expect(&[&ask(2)]);

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn task_manager_that_was_kept_is_released_once_it_is_blocked() {
    // given
    let config = patient()
        .with_workers(workers_of(2).with_min_slots(2))
        .with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.advance(10 * SECOND);
    fixture.log.take();

    // when
    fixture.block("tm");

    // then
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)", &ask(2)]);
}

#[test]
fn idle_blocked_task_manager_is_released_in_spite_of_redundancy() {
    // given
    let config = patient()
        .with_workers(workers_of(2).with_redundant_task_managers(1))
        .with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register("busy", 2, &report("busy", &[Some(50)]));

    // when
    fixture.register_free("tm", 1, &[small(), small()]);

    // then
    fixture.expect(&[&ask(1)]);

    // when, then
    fixture.block("tm");
    fixture.expect(&[&ask(2)]);

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn slots_of_a_blocked_task_manager_do_not_let_another_be_released_below_the_minimum() {
    // given: four slots, two of which are blocked
    let config = patient()
        .with_workers(workers_of(2).with_min_slots(2))
        .with_task_manager_timeout(10 * SECOND);
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
fn minimum_counts_the_slots_of_unblocked_workers_again() {
    // given: a worker was requested instead, and has not registered
    let config = patient().with_workers(workers_of(2).with_min_slots(2));
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
fn used_slots_of_a_blocked_worker_call_for_redundancy() {
    // given
    let mut fixture = Fixture::promising(patient().with_workers(workers_of(2).with_redundant_task_managers(1)));
    fixture.block("tm");

    // when
    fixture.register("tm", 1, &report("tm", &[Some(50), None, None]));

    // then
    fixture.expect(&[&ask(1)]);
}

#[test]
fn release_says_whether_the_worker_is_blocked() {
    for is_blocked in [false, true] {
        // given
        let mut fixture = Fixture::with(patient().with_task_manager_timeout(SECOND));
        fixture.register_free("tm", 1, &[small()]);
        if is_blocked {
            fixture.block("tm");
        }

        // when
        fixture.advance(SECOND);

        // then
        let released: Vec<_> = fixture
            .log
            .take()
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Action(Action::ReleaseResource(release)) => Some((release.resource_id, release.is_blocked)),
                _ => None,
            })
            .collect();
        assert_eq!(released, [("tm".into(), is_blocked)]);
    }
}
