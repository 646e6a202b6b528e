//! After a start, task managers of the former leader may register first; then what is missing is asked for.

use slot_manager::{AllocationStatus, SlotManagerConfig};

use crate::common::{Fixture, SECOND, ask, described, granted, patient, profile, report, slot, small};

fn recovering() -> SlotManagerConfig {
    patient().with_recovery_timeout(10 * SECOND)
}

#[test]
fn nothing_is_asked_for_until_it_is_over() {
    let mut fixture = Fixture::promising(recovering());
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.advance(10 * SECOND - std::time::Duration::from_nanos(1));
    fixture.expect_nothing();
    assert_eq!(fixture.advance(std::time::Duration::from_nanos(1)), 1);
    fixture.expect(&[&ask(1)]);
}

#[test]
fn it_is_over_once() {
    let mut fixture = Fixture::promising(recovering());
    assert_eq!(fixture.advance(10 * SECOND), 1);
    assert_eq!(fixture.advance(100 * SECOND), 0);
    fixture.request(1, &small());
    fixture.expect(&[&ask(1)]);
}

#[test]
fn then_requests_ask_oldest_first() {
    let mut fixture = Fixture::promising(recovering());
    for (id, cores) in [(7, 1.0), (3, 2.0), (5, 3.0)] {
        fixture.request(id, &profile(cores, 0));
    }
    fixture.expect_nothing();
    fixture.advance(10 * SECOND);
    fixture.expect(&["ask 1 for {cpu: 1}", "ask 2 for {cpu: 2}", "ask 3 for {cpu: 3}"]);
}

#[test]
fn what_registered_meanwhile_is_not_asked_for() {
    let mut fixture = Fixture::promising(recovering());
    fixture.request(1, &small());
    fixture.request(2, &profile(2.0, 0));
    fixture.register_free("tm", 1, &[small()]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.log.take();
    fixture.advance(10 * SECOND);
    fixture.expect(&["ask 1 for {cpu: 2}"]);
}

#[test]
fn what_was_cancelled_meanwhile_is_not_asked_for() {
    let mut fixture = Fixture::promising(recovering());
    fixture.request(1, &small());
    fixture.cancel(1);
    fixture.expect_nothing();
    fixture.advance(10 * SECOND);
    fixture.expect_nothing();
}

#[test]
fn requests_that_lose_their_task_manager_meanwhile_wait_too() {
    let mut fixture = Fixture::promising(recovering());
    fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();
    fixture.unregister(1);
    fixture.expect_nothing();
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(1)]);
}

#[test]
fn one_promise_may_serve_all_that_wait() {
    let mut fixture = Fixture::promising(described(3).with_recovery_timeout(10 * SECOND));
    for id in 1..=3 {
        fixture.request(id, &small());
    }
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(1)]);
}

#[test]
fn only_what_there_is_room_for_is_asked_for_then() {
    let config = described(1).with_max_slots(Some(2)).with_recovery_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    for id in 1..=3 {
        fixture.request(id, &small());
    }
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(1), &ask(2)]);
    assert_eq!(fixture.bound_to(3), None);
}

#[test]
fn the_floor_is_asked_for_when_it_is_over() {
    let mut fixture = Fixture::promising(described(2).with_min_slots(4).with_recovery_timeout(10 * SECOND));
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.expect_nothing();
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(1)]);
}

#[test]
fn what_covers_requests_by_then_counts_for_the_floor() {
    let mut fixture = Fixture::promising(described(2).with_min_slots(2).with_recovery_timeout(10 * SECOND));
    fixture.request(1, &profile(0.5, 50));
    fixture.expect_nothing();
    fixture.advance(10 * SECOND);
    fixture.expect(&["ask 1 for {cpu: 0.5, task heap: 50 MiB}"]);
}

#[test]
fn redundancy_is_asked_for_when_it_is_over() {
    let config = described(2)
        .with_redundant_task_managers(1)
        .with_recovery_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.expect_nothing();
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(1)]);
}

#[test]
fn every_start_begins_anew() {
    let mut fixture = Fixture::promising(recovering());
    fixture.advance(4 * SECOND);
    fixture.suspend();
    fixture.start(2);
    fixture.request(1, &small());
    fixture.advance(6 * SECOND);
    fixture.expect_nothing();
    fixture.advance(4 * SECOND);
    fixture.expect(&[&ask(1)]);
}

#[test]
fn requests_fail_at_their_timeout_all_the_same() {
    let mut fixture = Fixture::promising(recovering().with_request_timeout(5 * SECOND));
    fixture.request(1, &small());
    fixture.advance(5 * SECOND);
    fixture.expect(&["failed 1: timeout"]);
    fixture.advance(5 * SECOND);
    fixture.expect_nothing();
}

#[test]
fn idle_task_managers_are_released_all_the_same() {
    let mut fixture = Fixture::promising(recovering().with_task_manager_timeout(5 * SECOND));
    fixture.register_free("tm", 1, &[small()]);
    fixture.advance(5 * SECOND);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn a_timeout_of_zero_is_no_recovery() {
    let mut fixture = Fixture::promising(patient().with_recovery_timeout(std::time::Duration::ZERO));
    fixture.request(1, &small());
    fixture.expect(&[&ask(1)]);
    assert_eq!(fixture.run(), 0);
}
