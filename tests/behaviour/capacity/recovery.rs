//! After a start, task managers of the former leader may register first; then what is missing is asked for.

use slot_manager::{AllocationStatus, SlotManagerConfig};

use crate::common::{Fixture, SECOND, ask, described, granted, patient, profile, report, slot, small};

const NOTHING: [&str; 0] = [];

fn recovering() -> SlotManagerConfig {
    patient().with_recovery_timeout(10 * SECOND)
}

#[test]
fn nothing_is_asked_for_until_it_is_over() {
    let mut f = Fixture::promising(recovering());
    assert_eq!(f.request(1, &small()), AllocationStatus::Waiting);
    f.advance(10 * SECOND - std::time::Duration::from_nanos(1));
    f.expect(&NOTHING);
    assert_eq!(f.advance(std::time::Duration::from_nanos(1)), 1);
    f.expect(&[&ask(1)]);
}

#[test]
fn it_is_over_once() {
    let mut f = Fixture::promising(recovering());
    assert_eq!(f.advance(10 * SECOND), 1);
    assert_eq!(f.advance(100 * SECOND), 0);
    f.request(1, &small());
    f.expect(&[&ask(1)]);
}

#[test]
fn then_requests_ask_oldest_first() {
    let mut f = Fixture::promising(recovering());
    for (id, cores) in [(7, 1.0), (3, 2.0), (5, 3.0)] {
        f.request(id, &profile(cores, 0));
    }
    f.expect(&NOTHING);
    f.advance(10 * SECOND);
    f.expect(&["ask 1 for {cpu: 1}", "ask 2 for {cpu: 2}", "ask 3 for {cpu: 3}"]);
}

#[test]
fn what_registered_meanwhile_is_not_asked_for() {
    let mut f = Fixture::promising(recovering());
    f.request(1, &small());
    f.request(2, &profile(2.0, 0));
    f.register_free("tm", 1, &[small()]);
    assert_eq!(f.status(1), Some(granted(&slot("tm", 0))));
    f.said();
    f.advance(10 * SECOND);
    f.expect(&["ask 1 for {cpu: 2}"]);
}

#[test]
fn what_was_cancelled_meanwhile_is_not_asked_for() {
    let mut f = Fixture::promising(recovering());
    f.request(1, &small());
    f.cancel(1);
    f.expect(&NOTHING);
    f.advance(10 * SECOND);
    f.expect(&NOTHING);
}

#[test]
fn requests_that_lose_their_task_manager_meanwhile_wait_too() {
    let mut f = Fixture::promising(recovering());
    f.register_by_hand("tm", 1, &report("tm", &[None]));
    f.request(1, &small());
    f.said();
    f.unregister(1);
    f.expect(&NOTHING);
    f.advance(10 * SECOND);
    f.expect(&[&ask(1)]);
}

#[test]
fn one_promise_may_serve_all_that_wait() {
    let mut f = Fixture::promising(described(3).with_recovery_timeout(10 * SECOND));
    for id in 1..=3 {
        f.request(id, &small());
    }
    f.advance(10 * SECOND);
    f.expect(&[&ask(1)]);
}

#[test]
fn only_what_there_is_room_for_is_asked_for_then() {
    let config = described(1).with_max_slots(Some(2)).with_recovery_timeout(10 * SECOND);
    let mut f = Fixture::promising(config);
    for id in 1..=3 {
        f.request(id, &small());
    }
    f.advance(10 * SECOND);
    f.expect(&[&ask(1), &ask(2)]);
    assert_eq!(f.covered_by(3), None);
}

#[test]
fn the_floor_is_asked_for_when_it_is_over() {
    let mut f = Fixture::promising(described(2).with_min_slots(4).with_recovery_timeout(10 * SECOND));
    f.register_free("tm", 1, &[small(), small()]);
    f.expect(&NOTHING);
    f.advance(10 * SECOND);
    f.expect(&[&ask(1)]);
}

#[test]
fn what_covers_requests_by_then_counts_for_the_floor() {
    let mut f = Fixture::promising(described(2).with_min_slots(2).with_recovery_timeout(10 * SECOND));
    f.request(1, &profile(0.5, 50));
    f.expect(&NOTHING);
    f.advance(10 * SECOND);
    f.expect(&["ask 1 for {cpu: 0.5, task heap: 50 MiB}"]);
}

#[test]
fn redundancy_is_asked_for_when_it_is_over() {
    let config = described(2)
        .with_redundant_task_managers(1)
        .with_recovery_timeout(10 * SECOND);
    let mut f = Fixture::promising(config);
    f.register("tm", 1, &report("tm", &[Some(50)]));
    f.expect(&NOTHING);
    f.advance(10 * SECOND);
    f.expect(&[&ask(1)]);
}

#[test]
fn every_start_begins_anew() {
    let mut f = Fixture::promising(recovering());
    f.advance(4 * SECOND);
    f.suspend();
    f.start(2);
    f.request(1, &small());
    f.advance(6 * SECOND);
    f.expect(&NOTHING);
    f.advance(4 * SECOND);
    f.expect(&[&ask(1)]);
}

#[test]
fn requests_fail_at_their_timeout_all_the_same() {
    let mut f = Fixture::promising(recovering().with_request_timeout(5 * SECOND));
    f.request(1, &small());
    f.advance(5 * SECOND);
    f.expect(&["failed 1: timeout"]);
    f.advance(5 * SECOND);
    f.expect(&NOTHING);
}

#[test]
fn idle_task_managers_are_released_all_the_same() {
    let mut f = Fixture::promising(recovering().with_task_manager_timeout(5 * SECOND));
    f.register_free("tm", 1, &[small()]);
    f.advance(5 * SECOND);
    f.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn a_timeout_of_zero_is_no_recovery() {
    let mut f = Fixture::promising(patient().with_recovery_timeout(std::time::Duration::ZERO));
    f.request(1, &small());
    f.expect(&[&ask(1)]);
    assert_eq!(f.run(), 0);
}
