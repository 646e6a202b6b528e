//! Redundancy: while slots are used, free slots of some additional workers are kept.

use slot_manager::SlotManagerConfig;
use slot_manager::message::WorkerPromise;
use slot_manager::view::SlotState;

use crate::common::{Fixture, SECOND, acknowledged, ask, patient, rejected, report, slot, small, workers_of};

/// Workers with two small slots, of which `workers` are redundant.
fn redundant(workers: usize) -> SlotManagerConfig {
    patient()
        .with_workers(workers_of(2).with_redundant_task_managers(workers))
        .with_worker_registration_timeout(10 * SECOND)
}

// Requested.

#[test]
fn no_worker_is_redundant_while_no_slot_is_used() {
    let mut fixture = Fixture::promising(redundant(1));
    fixture.register_free("tm", 1, &[small()]);
    fixture.expect_nothing();
}

#[test]
fn redundant_worker_is_requested_when_the_first_slot_is_used() {
    // given
    let mut fixture = Fixture::promising(redundant(1));
    fixture.register_free("tm", 1, &[small(), small()]);

    // when
    fixture.request(1, &small());

    // then
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0", &ask(1)]);
    assert_eq!(fixture.promised(), (0, 2));
}

#[test]
fn all_missing_workers_are_requested() {
    let mut fixture = Fixture::promising(redundant(2));
    fixture.register("tm", 1, &report("tm", &[Some(50), None]));
    fixture.expect(&[&ask(1), &ask(2)]);
}

#[test]
fn slot_in_flight_is_used() {
    // given
    let mut fixture = Fixture::promising(redundant(1));
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));

    // when
    fixture.request(1, &small());

    // then
    fixture.expect(&["request tm_0 for 1 #1", &ask(1)]);

    // when, then
    fixture.answer(&gateway, 1, acknowledged());
    fixture.expect(&["granted 1 on tm_0"]);
}

#[test]
fn slot_that_is_allocated_when_it_registers_is_used() {
    let mut fixture = Fixture::promising(redundant(1));
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.expect(&[&ask(1)]);
}

#[test]
fn free_slots_count() {
    // given
    let mut fixture = Fixture::promising(redundant(1));

    // when
    fixture.register("tm", 1, &report("tm", &[Some(50), None, None]));

    // then
    fixture.expect_nothing();

    // when, then
    fixture.request(1, &small());
    fixture.expect(&["request tm_1 for 1 #1", "granted 1 on tm_1", &ask(1)]);
}

#[test]
fn unbound_promised_slots_count() {
    // given
    let mut fixture = Fixture::promising(redundant(1));

    // when
    fixture.register("tm", 1, &report("tm", &[Some(50)]));

    // then
    fixture.expect(&[&ask(1)]);

    // when, then
    fixture.register("used", 2, &report("used", &[Some(51)]));
    fixture.expect_nothing();
}

#[test]
fn bound_promised_slots_do_not_count() {
    // given
    let mut fixture = Fixture::promising(redundant(1));
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.log.take();

    // when
    fixture.request(1, &small());

    // then
    assert_eq!(fixture.bound_to(1), Some(1));
    fixture.expect(&[&ask(2)]);
}

#[test]
fn slots_that_back_off_do_not_count() {
    // given: one redundant worker of one slot
    let config = patient()
        .with_workers(workers_of(1).with_redundant_task_managers(1))
        .with_retry_backoff(100 * SECOND, 100 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register("used", 1, &report("used", &[Some(50)]));
    let gateway = fixture.register_by_hand("tm", 2, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());

    // when: attempts of two allocations fail in a row
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, rejected());

    // then: one more slot is promised than the two waiting requests need
    assert!(matches!(fixture.state(&slot("tm", 0)), SlotState::BackingOff { .. }));
    assert_eq!(fixture.promised(), (2, 1));
}

#[test]
fn min_slots_and_redundancy_share_workers() {
    // given: the worker for `min_slots` is declined at the start
    let config = redundant(1).with_workers(workers_of(2).with_redundant_task_managers(1).with_min_slots(4));
    let mut fixture = Fixture::with(config);
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.log.take();

    // when: three slots are missing for `min_slots`, and two for redundancy
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&[&ask(2), &ask(3)]);
}

#[test]
fn redundancy_may_need_more_than_min_slots() {
    // given
    let mut fixture =
        Fixture::promising(redundant(2).with_workers(workers_of(2).with_redundant_task_managers(2).with_min_slots(2)));

    // when
    fixture.register("tm", 1, &report("tm", &[None, None]));

    // then
    fixture.expect(&[&ask(1)]);

    // when, then
    fixture.request(1, &small());
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0", &ask(2), &ask(3)]);
}

#[test]
fn declined_redundant_worker_is_requested_again_after_the_registration_timeout() {
    // given
    let mut fixture = Fixture::with(redundant(2));

    // when
    fixture.register("tm", 1, &report("tm", &[Some(50)]));

    // then
    fixture.expect(&[&ask(1)]);

    // when, then
    fixture.report(1, &report("tm", &[Some(50), Some(51)]));
    fixture.expect_nothing();

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(2)]);
}

#[test]
fn declined_worker_request_is_not_repeated_when_no_slot_is_used() {
    // given
    let mut fixture = Fixture::with(redundant(1));

    // when
    fixture.register("tm", 1, &report("tm", &[Some(50)]));

    // then
    fixture.expect(&[&ask(1)]);

    // when, then
    fixture.free(&slot("tm", 0), 50);
    fixture.advance(10 * SECOND);
    fixture.expect_nothing();
}

#[test]
fn no_redundant_worker_is_requested_beyond_the_limits() {
    let mut fixture = Fixture::promising(
        redundant(2).with_workers(workers_of(2).with_redundant_task_managers(2).with_max_slots(Some(4))),
    );
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.expect(&[&ask(1)]);
}

#[test]
fn redundant_slots_serve_requests() {
    // given
    let mut fixture = Fixture::promising(redundant(1));
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.register_free("spare", 2, &[small(), small()]);
    fixture.log.take();

    // when
    fixture.request(1, &small());

    // then
    fixture.expect(&["request spare_0 for 1 #1", "granted 1 on spare_0", &ask(2)]);
}

// Kept.

/// A fixture in which `spare` was idle for 10 s, and 50 and 51 hold the slots of `busy`.
fn kept() -> Fixture {
    let config = patient()
        .with_workers(workers_of(2).with_redundant_task_managers(1))
        .with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register_free("spare", 1, &[small(), small()]);
    fixture.register("busy", 2, &report("busy", &[Some(50), Some(51)]));
    fixture.advance(10 * SECOND);
    fixture.expect_nothing();
    fixture
}

#[test]
fn redundant_idle_task_manager_is_kept_while_slots_are_used() {
    // given
    let mut fixture = kept();
    fixture.free(&slot("busy", 0), 50);

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect_nothing();
    assert!(fixture.is_registered(1));
}

#[test]
fn redundant_idle_task_manager_is_released_when_no_slot_is_used() {
    // given
    let mut fixture = kept();
    fixture.free(&slot("busy", 0), 50);

    // when
    fixture.free(&slot("busy", 1), 51);

    // then
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn redundant_idle_task_manager_is_released_when_others_have_free_slots() {
    let mut fixture = kept();
    fixture.register_free("more", 3, &[small(), small()]);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn idle_task_manager_is_released_while_no_slot_is_used() {
    // given
    let config = redundant(1).with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register_free("tm", 1, &[small(), small()]);

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn kept_task_managers_are_released_smallest_first_when_no_slot_is_used() {
    // given: two idle task managers that are both needed
    let config = patient()
        .with_workers(workers_of(2).with_redundant_task_managers(2))
        .with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register_free("large", 1, &[small(), small(), small()]);
    fixture.register_free("small", 2, &[small(), small()]);
    fixture.register("busy", 3, &report("busy", &[Some(50)]));
    fixture.advance(10 * SECOND);
    fixture.expect_nothing();

    // when
    fixture.free(&slot("busy", 0), 50);

    // then
    fixture.expect(&[
        "may 2 go? #1",
        "release 2, idle since +0ns (1)",
        "may 1 go? #2",
        "release 1, idle since +0ns (1)",
    ]);
    assert!(fixture.is_registered(3), "it is idle since now");
}

#[test]
fn only_free_slots_of_a_task_manager_are_missing_after_its_release() {
    // given: five free slots, of which four are needed
    let config = patient()
        .with_workers(workers_of(2).with_redundant_task_managers(2))
        .with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register_free("two", 1, &[small(), small()]);
    fixture.register_free("one", 2, &[small()]);
    fixture.register("busy", 3, &report("busy", &[Some(50), None, None]));

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["may 2 go? #1", "release 2, idle since +0ns (1)"]);
    assert!(fixture.is_registered(1));
}
