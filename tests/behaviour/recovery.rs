//! Recovery: after a start, no worker is requested while workers of the former leader may register.

use std::collections::BTreeSet;
use std::time::Duration;

use slot_manager::outcome::{AllocationStatus, RecoveryOutcome};
use slot_manager::{ResourceId, SlotManager, SlotManagerConfig, Timestamp};

use crate::common::{
    Fixture, NANOSECOND, SECOND, ask, described, granted, patient, profile, report, slot, small, workers_of,
};

/// A recovery of 10 s.
fn recovering() -> SlotManagerConfig {
    patient().with_recovery_timeout(10 * SECOND)
}

#[test]
fn no_worker_is_requested_during_recovery() {
    // given
    let mut fixture = Fixture::promising(recovering());

    // when, then
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);

    // when, then
    fixture.advance(10 * SECOND - NANOSECOND);
    fixture.expect_nothing();

    // when, then
    assert_eq!(fixture.advance(NANOSECOND), 1);
    fixture.expect(&[&ask(1)]);
}

#[test]
fn recovery_ends_once() {
    // given
    let mut fixture = Fixture::promising(recovering());

    // when, then
    assert_eq!(fixture.advance(10 * SECOND), 1);
    assert_eq!(fixture.advance(100 * SECOND), 0);

    // when, then
    fixture.request(1, &small());
    fixture.expect(&[&ask(1)]);
}

#[test]
fn workers_are_requested_oldest_request_first_after_recovery() {
    // given
    let mut fixture = Fixture::promising(recovering());

    // when
    for (id, cores) in [(7, 1.0), (3, 2.0), (5, 3.0)] {
        fixture.request(id, &profile(cores, 0));
    }

    // then
    fixture.expect_nothing();

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&["ask 1 for {cpu: 1}", "ask 2 for {cpu: 2}", "ask 3 for {cpu: 3}"]);
}

#[test]
fn request_that_is_granted_during_recovery_needs_no_worker() {
    // given
    let mut fixture = Fixture::promising(recovering());
    fixture.request(1, &small());
    fixture.request(2, &profile(2.0, 0));

    // when
    fixture.register_free("tm", 1, &[small()]);

    // then
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));

    // when, then
    fixture.log.take();
    fixture.advance(10 * SECOND);
    fixture.expect(&["ask 1 for {cpu: 2}"]);
}

#[test]
fn request_that_is_cancelled_during_recovery_needs_no_worker() {
    // given
    let mut fixture = Fixture::promising(recovering());
    fixture.request(1, &small());

    // when
    fixture.cancel(1);

    // then
    fixture.expect_nothing();

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect_nothing();
}

#[test]
fn request_that_loses_its_task_manager_during_recovery_waits() {
    // given
    let mut fixture = Fixture::promising(recovering());
    fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.unregister(1);

    // then
    fixture.expect_nothing();

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(1)]);
}

#[test]
fn one_promise_may_serve_all_waiting_requests() {
    // given
    let mut fixture = Fixture::promising(described(3).with_recovery_timeout(10 * SECOND));
    for id in 1..=3 {
        fixture.request(id, &small());
    }

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&[&ask(1)]);
}

#[test]
fn limits_hold_after_recovery() {
    // given
    let config = patient()
        .with_workers(workers_of(1).with_max_slots(Some(2)))
        .with_recovery_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    for id in 1..=3 {
        fixture.request(id, &small());
    }

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&[&ask(1), &ask(2)]);
    assert_eq!(fixture.bound_to(3), None);
}

#[test]
fn min_slots_are_requested_after_recovery() {
    // given
    let mut fixture = Fixture::promising(
        patient()
            .with_workers(workers_of(2).with_min_slots(4))
            .with_recovery_timeout(10 * SECOND),
    );

    // when
    fixture.register_free("tm", 1, &[small(), small()]);

    // then
    fixture.expect_nothing();

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(1)]);
}

#[test]
fn promises_for_requests_count_for_min_slots_after_recovery() {
    // given
    let mut fixture = Fixture::promising(
        patient()
            .with_workers(workers_of(2).with_min_slots(2))
            .with_recovery_timeout(10 * SECOND),
    );

    // when
    fixture.request(1, &profile(0.5, 50));

    // then
    fixture.expect_nothing();

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&["ask 1 for {cpu: 0.5, task heap: 50 MiB}"]);
}

#[test]
fn redundant_workers_are_requested_after_recovery() {
    // given
    let config = patient()
        .with_workers(workers_of(2).with_redundant_task_managers(1))
        .with_recovery_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);

    // when
    fixture.register("tm", 1, &report("tm", &[Some(50)]));

    // then
    fixture.expect_nothing();

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(1)]);
}

#[test]
fn every_start_begins_a_recovery() {
    // given
    let mut fixture = Fixture::promising(recovering());
    fixture.advance(4 * SECOND);
    fixture.suspend();
    fixture.start(2);
    fixture.request(1, &small());

    // when
    fixture.advance(6 * SECOND);

    // then
    fixture.expect_nothing();

    // when, then
    fixture.advance(4 * SECOND);
    fixture.expect(&[&ask(1)]);
}

#[test]
fn requests_fail_at_their_timeout_during_recovery() {
    // given
    let mut fixture = Fixture::promising(recovering().with_request_timeout(5 * SECOND));
    fixture.request(1, &small());

    // when
    fixture.advance(5 * SECOND);

    // then
    fixture.expect(&["failed 1: timeout"]);

    // when, then
    fixture.advance(5 * SECOND);
    fixture.expect_nothing();
}

#[test]
fn idle_task_managers_are_released_during_recovery() {
    // given
    let mut fixture = Fixture::promising(recovering().with_task_manager_timeout(5 * SECOND));
    fixture.register_free("tm", 1, &[small()]);

    // when
    fixture.advance(5 * SECOND);

    // then
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn timeout_of_zero_means_no_recovery() {
    // given
    let mut fixture = Fixture::promising(patient().with_recovery_timeout(Duration::ZERO));

    // when
    fixture.request(1, &small());

    // then
    fixture.expect(&[&ask(1)]);

    // when, then
    assert_eq!(fixture.run(), 0);
}

// The end of the recovery.

/// Expects the workers with these numbers.
fn expect(fixture: &mut Fixture, numbers: &[u128]) -> RecoveryOutcome {
    let workers = numbers.iter().map(|number| ResourceId::new(format!("worker-{number}")));
    fixture.step(|manager| manager.expect_workers(workers))
}

fn registered(fixture: &mut Fixture, number: u128) {
    let worker = format!("worker-{number}");
    fixture.register(&worker, number, &report(&worker, &[Some(100 + number)]));
}

#[test]
fn recovery_ends_when_the_expected_workers_have_registered() {
    // given
    let mut fixture = Fixture::promising(recovering());
    fixture.request(1, &small());
    let outcome = expect(&mut fixture, &[1, 2]);
    assert_eq!(outcome, RecoveryOutcome::Waiting { missing: 2 });

    // when, then
    registered(&mut fixture, 1);
    fixture.expect_nothing();
    registered(&mut fixture, 2);
    fixture.expect(&[&ask(1)]);
}

#[test]
fn recovery_is_shown_until_it_is_over() {
    // given
    let mut fixture = Fixture::with(recovering());
    let shown = |fixture: &Fixture| {
        let recovery = fixture.manager.recovery()?;
        Some((recovery.until, recovery.missing_workers.cloned()))
    };
    let until = Timestamp::from_secs(10);
    assert_eq!(shown(&fixture), Some((until, None)));

    // when, then
    let outcome = expect(&mut fixture, &[1, 2]);
    assert_eq!(outcome, RecoveryOutcome::Waiting { missing: 2 });
    registered(&mut fixture, 1);
    let missing = BTreeSet::from([ResourceId::new("worker-2")]);
    assert_eq!(shown(&fixture), Some((until, Some(missing))));

    // when, then
    registered(&mut fixture, 2);
    assert_eq!(shown(&fixture), None);
}

#[test]
fn no_recovery_is_shown_after_its_timeout() {
    let mut fixture = Fixture::with(recovering());
    fixture.advance(10 * SECOND);
    assert_eq!(fixture.manager.recovery(), None);
}

/// A worker that has registered and is gone again is not waited for.
#[test]
fn worker_that_registered_counts_although_it_is_gone() {
    let mut fixture = Fixture::promising(recovering());
    registered(&mut fixture, 1);
    fixture.unregister(1);
    let outcome = expect(&mut fixture, &[1]);
    assert_eq!(outcome, RecoveryOutcome::Ended);
}

#[test]
fn each_expected_worker_counts_once() {
    // given: one comes, is lost and comes back, and another registers again
    let mut fixture = Fixture::promising(recovering());
    let _ = expect(&mut fixture, &[1, 2, 3]);
    registered(&mut fixture, 1);
    fixture.unregister(1);
    registered(&mut fixture, 1);
    registered(&mut fixture, 2);
    fixture.register("worker-2", 12, &report("worker-2", &[Some(102)]));

    // when, then
    assert_eq!(
        expect(&mut fixture, &[1, 2, 3]),
        RecoveryOutcome::Waiting { missing: 1 }
    );
}

#[test]
fn worker_that_nobody_expects_does_not_end_the_recovery() {
    let mut fixture = Fixture::promising(recovering());
    let _ = expect(&mut fixture, &[1]);
    registered(&mut fixture, 7);
    assert!(fixture.manager.recovery().is_some());
    registered(&mut fixture, 1);
    assert_eq!(fixture.manager.recovery(), None);
}

#[test]
fn fewer_expected_workers_end_the_recovery() {
    // given
    let mut fixture = Fixture::promising(recovering());
    fixture.request(1, &small());
    let _ = expect(&mut fixture, &[1, 2, 3]);
    registered(&mut fixture, 1);

    // when: the service learns that two workers are gone
    let outcome = expect(&mut fixture, &[1]);

    // then
    assert_eq!(outcome, RecoveryOutcome::Ended);
    fixture.expect(&[&ask(1)]);
}

#[test]
fn recovery_that_nobody_needs_is_ended_at_once() {
    // given
    let mut fixture = Fixture::promising(recovering());
    fixture.request(1, &small());

    // when, then
    assert_eq!(fixture.step(SlotManager::end_recovery), RecoveryOutcome::Ended);
    fixture.expect(&[&ask(1)]);
    assert_eq!(fixture.step(SlotManager::end_recovery), RecoveryOutcome::NotRecovering);
    assert_eq!(fixture.advance(100 * SECOND), 0, "its timeout is disarmed");
}

#[test]
fn without_a_recovery_no_worker_is_expected() {
    let mut fixture = Fixture::promising(patient());
    let outcome = expect(&mut fixture, &[1, 2, 3, 4, 5]);
    assert_eq!(outcome, RecoveryOutcome::NotRecovering);
    fixture.request(1, &small());
    fixture.expect(&[&ask(1)]);
}

#[test]
fn next_leadership_expects_its_own_workers() {
    // given
    let mut fixture = Fixture::promising(recovering());
    let _ = expect(&mut fixture, &[1]);
    registered(&mut fixture, 1);
    fixture.suspend();
    fixture.start(2);

    // when
    fixture.request(1, &small());

    // then: the registration in the former leadership does not count
    fixture.expect_nothing();
    let outcome = expect(&mut fixture, &[1]);
    assert_eq!(outcome, RecoveryOutcome::Waiting { missing: 1 });
}
