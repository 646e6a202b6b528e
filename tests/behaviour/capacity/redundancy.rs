//! While jobs run, so many workers' worth of slots are kept free.

use slot_manager::{SlotManagerConfig, SlotState, WorkerPromise};

use crate::common::{Fixture, SECOND, acknowledged, ask, described, rejected, report, slot, small};

/// Workers with two small slots, and so many of them are redundant.
fn redundant(workers: usize) -> SlotManagerConfig {
    described(2)
        .with_redundant_task_managers(workers)
        .with_worker_registration_timeout(10 * SECOND)
}

// Asked for.

#[test]
fn there_is_none_while_nothing_is_used() {
    let mut fixture = Fixture::promising(redundant(1));
    fixture.register_free("tm", 1, &[small()]);
    fixture.expect_nothing();
}

#[test]
fn it_is_asked_for_when_the_first_slot_is_used() {
    let mut fixture = Fixture::promising(redundant(1));
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.request(1, &small());
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0", &ask(1)]);
    assert_eq!(fixture.promised(), (0, 2));
}

#[test]
fn so_many_workers_are_asked_for_as_are_missing() {
    let mut fixture = Fixture::promising(redundant(2));
    fixture.register("tm", 1, &report("tm", &[Some(50), None]));
    fixture.expect(&[&ask(1), &ask(2)]);
}

#[test]
fn a_slot_in_flight_is_used() {
    let mut fixture = Fixture::promising(redundant(1));
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.expect(&["request tm_0 for 1 #1", &ask(1)]);
    fixture.answer(&gateway, 1, acknowledged());
    fixture.expect(&["granted 1 on tm_0"]);
}

#[test]
fn a_slot_that_is_held_when_it_registers_is_used() {
    let mut fixture = Fixture::promising(redundant(1));
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.expect(&[&ask(1)]);
}

#[test]
fn free_slots_count() {
    let mut fixture = Fixture::promising(redundant(1));
    fixture.register("tm", 1, &report("tm", &[Some(50), None, None]));
    fixture.expect_nothing();
    fixture.request(1, &small());
    fixture.expect(&["request tm_1 for 1 #1", "granted 1 on tm_1", &ask(1)]);
}

#[test]
fn promised_slots_that_cover_nothing_count() {
    let mut fixture = Fixture::promising(redundant(1));
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.expect(&[&ask(1)]);
    fixture.register("used", 2, &report("used", &[Some(51)]));
    fixture.expect_nothing();
}

#[test]
fn promised_slots_that_cover_a_request_do_not_count() {
    let mut fixture = Fixture::promising(redundant(1));
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.log.take();
    fixture.request(1, &small());
    assert_eq!(fixture.bound_to(1), Some(1));
    fixture.expect(&[&ask(2)]);
}

#[test]
fn slots_that_pause_do_not_count() {
    // given: one worker of one slot is redundant
    let config = described(1)
        .with_redundant_task_managers(1)
        .with_retry_backoff(100 * SECOND, 100 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register("used", 1, &report("used", &[Some(50)]));
    let gateway = fixture.register_by_hand("tm", 2, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());

    // when: attempts of two allocations fail in a row
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, rejected());

    // then: a slot more is promised than the two that wait need
    assert!(matches!(fixture.state(&slot("tm", 0)), SlotState::BackingOff { .. }));
    assert_eq!(fixture.promised(), (2, 1));
}

#[test]
fn the_floor_is_not_added_but_covered() {
    // given: the floor is declined at the start
    let config = redundant(1).with_min_slots(4);
    let mut fixture = Fixture::with(config);
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.log.take();

    // when: three slots are missing for the floor, and two for redundancy
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&[&ask(2), &ask(3)]);
}

#[test]
fn redundancy_may_need_more_than_the_floor() {
    let mut fixture = Fixture::promising(redundant(2).with_min_slots(2));
    fixture.register("tm", 1, &report("tm", &[None, None]));
    fixture.expect(&[&ask(1)]);
    fixture.request(1, &small());
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0", &ask(2), &ask(3)]);
}

#[test]
fn what_is_declined_is_asked_for_again_after_the_promise_timeout() {
    let mut fixture = Fixture::with(redundant(2));
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.expect(&[&ask(1)]);
    fixture.report(1, &report("tm", &[Some(50), Some(51)]));
    fixture.expect_nothing();
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(2)]);
}

#[test]
fn what_was_declined_is_not_asked_for_again_when_the_jobs_are_over() {
    let mut fixture = Fixture::with(redundant(1));
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.expect(&[&ask(1)]);
    fixture.free(&slot("tm", 0), 50);
    fixture.advance(10 * SECOND);
    fixture.expect_nothing();
}

#[test]
fn no_worker_is_asked_for_beyond_the_limits() {
    let mut fixture = Fixture::promising(redundant(2).with_max_slots(Some(4)));
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.expect(&[&ask(1)]);
}

#[test]
fn redundant_slots_serve_requests() {
    let mut fixture = Fixture::promising(redundant(1));
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.register_free("spare", 2, &[small(), small()]);
    fixture.log.take();
    fixture.request(1, &small());
    fixture.expect(&["request spare_0 for 1 #1", "granted 1 on spare_0", &ask(2)]);
}

// Kept.

/// `spare` has two free slots and is idle for 10 s, and the slots of `busy` are held by 50 and 51.
fn kept() -> Fixture {
    let config = described(2)
        .with_redundant_task_managers(1)
        .with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register_free("spare", 1, &[small(), small()]);
    fixture.register("busy", 2, &report("busy", &[Some(50), Some(51)]));
    fixture.advance(10 * SECOND);
    fixture.expect_nothing();
    fixture
}

#[test]
fn an_idle_task_manager_that_is_redundant_stays_while_slots_are_used() {
    let mut fixture = kept();
    fixture.free(&slot("busy", 0), 50);
    fixture.advance(10 * SECOND);
    fixture.expect_nothing();
    assert!(fixture.is_registered(1));
}

#[test]
fn an_idle_task_manager_that_was_redundant_is_released_when_the_jobs_end() {
    let mut fixture = kept();
    fixture.free(&slot("busy", 0), 50);
    fixture.free(&slot("busy", 1), 51);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn an_idle_task_manager_that_was_redundant_is_released_when_others_have_free_slots() {
    let mut fixture = kept();
    fixture.register_free("more", 3, &[small(), small()]);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn an_idle_task_manager_is_released_while_nothing_is_used() {
    let config = redundant(1).with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn all_that_were_kept_are_released_when_the_jobs_end_smallest_first() {
    // given: two idle task managers, of which none can be spared
    let config = described(2)
        .with_redundant_task_managers(2)
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
fn only_slots_that_can_be_handed_out_are_missing_when_a_task_manager_goes() {
    // given: five free slots, of which four are to stay
    let config = described(2)
        .with_redundant_task_managers(2)
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
