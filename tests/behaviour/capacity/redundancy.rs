//! While jobs run, so many workers' worth of slots are kept free.

use slot_manager::{SlotManagerConfig, SlotState, WorkerPromise};

use crate::common::{Fixture, SECOND, acknowledged, ask, described, rejected, report, slot, small};

const NOTHING: [&str; 0] = [];

/// Workers with two small slots, and so many of them are redundant.
fn redundant(workers: usize) -> SlotManagerConfig {
    described(2)
        .with_redundant_task_managers(workers)
        .with_worker_registration_timeout(10 * SECOND)
}

// Asked for.

#[test]
fn there_is_none_while_nothing_is_used() {
    let mut f = Fixture::promising(redundant(1));
    f.register_free("tm", 1, &[small()]);
    f.expect(&NOTHING);
}

#[test]
fn it_is_asked_for_when_the_first_slot_is_used() {
    let mut f = Fixture::promising(redundant(1));
    f.register_free("tm", 1, &[small(), small()]);
    f.request(1, &small());
    f.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0", &ask(1)]);
    assert_eq!(f.promised(), (0, 2));
}

#[test]
fn so_many_workers_are_asked_for_as_are_missing() {
    let mut f = Fixture::promising(redundant(2));
    f.register("tm", 1, &report("tm", &[Some(50), None]));
    f.expect(&[&ask(1), &ask(2)]);
}

#[test]
fn a_slot_in_flight_is_used() {
    let mut f = Fixture::promising(redundant(1));
    let gateway = f.register_by_hand("tm", 1, &report("tm", &[None]));
    f.request(1, &small());
    f.expect(&["request tm_0 for 1 #1", &ask(1)]);
    f.answer(&gateway, 1, acknowledged());
    f.expect(&["granted 1 on tm_0"]);
}

#[test]
fn a_slot_that_is_held_when_it_registers_is_used() {
    let mut f = Fixture::promising(redundant(1));
    f.register("tm", 1, &report("tm", &[Some(50)]));
    f.expect(&[&ask(1)]);
}

#[test]
fn free_slots_count() {
    let mut f = Fixture::promising(redundant(1));
    f.register("tm", 1, &report("tm", &[Some(50), None, None]));
    f.expect(&NOTHING);
    f.request(1, &small());
    f.expect(&["request tm_1 for 1 #1", "granted 1 on tm_1", &ask(1)]);
}

#[test]
fn promised_slots_that_cover_nothing_count() {
    let mut f = Fixture::promising(redundant(1));
    f.register("tm", 1, &report("tm", &[Some(50)]));
    f.expect(&[&ask(1)]);
    f.register("used", 2, &report("used", &[Some(51)]));
    f.expect(&NOTHING);
}

#[test]
fn promised_slots_that_cover_a_request_do_not_count() {
    let mut f = Fixture::promising(redundant(1));
    f.register("tm", 1, &report("tm", &[Some(50)]));
    f.said();
    f.request(1, &small());
    assert_eq!(f.covered_by(1), Some(1));
    f.expect(&[&ask(2)]);
}

#[test]
fn slots_that_pause_do_not_count() {
    // given: one worker of one slot is redundant
    let config = described(1)
        .with_redundant_task_managers(1)
        .with_retry_pause(100 * SECOND, 100 * SECOND);
    let mut f = Fixture::promising(config);
    f.register("used", 1, &report("used", &[Some(50)]));
    let gateway = f.register_by_hand("tm", 2, &report("tm", &[None]));
    f.request(1, &small());
    f.request(2, &small());

    // when: attempts of two allocations fail in a row
    f.answer(&gateway, 1, rejected());
    f.answer(&gateway, 2, rejected());

    // then: a slot more is promised than the two that wait need
    assert!(matches!(f.state(&slot("tm", 0)), SlotState::Pausing { .. }));
    assert_eq!(f.promised(), (2, 1));
}

#[test]
fn the_floor_is_not_added_but_covered() {
    // given: the floor is declined at the start
    let config = redundant(1).with_min_slots(4);
    let mut f = Fixture::with(config);
    f.register("tm", 1, &report("tm", &[Some(50)]));
    f.said();

    // when: three slots are missing for the floor, and two for redundancy
    f.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    f.advance(10 * SECOND);

    // then
    f.expect(&[&ask(2), &ask(3)]);
}

#[test]
fn redundancy_may_need_more_than_the_floor() {
    let mut f = Fixture::promising(redundant(2).with_min_slots(2));
    f.register("tm", 1, &report("tm", &[None, None]));
    f.expect(&[&ask(1)]);
    f.request(1, &small());
    f.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0", &ask(2), &ask(3)]);
}

#[test]
fn what_is_declined_is_asked_for_again_after_the_promise_timeout() {
    let mut f = Fixture::with(redundant(2));
    f.register("tm", 1, &report("tm", &[Some(50)]));
    f.expect(&[&ask(1)]);
    f.report(1, &report("tm", &[Some(50), Some(51)]));
    f.expect(&NOTHING);
    f.advance(10 * SECOND);
    f.expect(&[&ask(2)]);
}

#[test]
fn what_was_declined_is_not_asked_for_again_when_the_jobs_are_over() {
    let mut f = Fixture::with(redundant(1));
    f.register("tm", 1, &report("tm", &[Some(50)]));
    f.expect(&[&ask(1)]);
    f.free(&slot("tm", 0), 50);
    f.advance(10 * SECOND);
    f.expect(&NOTHING);
}

#[test]
fn no_worker_is_asked_for_beyond_the_limits() {
    let mut f = Fixture::promising(redundant(2).with_max_slots(Some(4)));
    f.register("tm", 1, &report("tm", &[Some(50)]));
    f.expect(&[&ask(1)]);
}

#[test]
fn redundant_slots_serve_requests() {
    let mut f = Fixture::promising(redundant(1));
    f.register("tm", 1, &report("tm", &[Some(50)]));
    f.register_free("spare", 2, &[small(), small()]);
    f.said();
    f.request(1, &small());
    f.expect(&["request spare_0 for 1 #1", "granted 1 on spare_0", &ask(2)]);
}

// Kept.

/// `spare` has two free slots and is idle for 10 s, and the slots of `busy` are held by 50 and 51.
fn kept() -> Fixture {
    let config = described(2)
        .with_redundant_task_managers(1)
        .with_task_manager_timeout(10 * SECOND);
    let mut f = Fixture::promising(config);
    f.register_free("spare", 1, &[small(), small()]);
    f.register("busy", 2, &report("busy", &[Some(50), Some(51)]));
    f.advance(10 * SECOND);
    f.expect(&NOTHING);
    f
}

#[test]
fn an_idle_task_manager_that_is_redundant_stays_while_slots_are_used() {
    let mut f = kept();
    f.free(&slot("busy", 0), 50);
    f.advance(10 * SECOND);
    f.expect(&NOTHING);
    assert!(f.is_registered(1));
}

#[test]
fn an_idle_task_manager_that_was_redundant_is_released_when_the_jobs_end() {
    let mut f = kept();
    f.free(&slot("busy", 0), 50);
    f.free(&slot("busy", 1), 51);
    f.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn an_idle_task_manager_that_was_redundant_is_released_when_others_have_free_slots() {
    let mut f = kept();
    f.register_free("more", 3, &[small(), small()]);
    f.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn an_idle_task_manager_is_released_while_nothing_is_used() {
    let config = redundant(1).with_task_manager_timeout(10 * SECOND);
    let mut f = Fixture::promising(config);
    f.register_free("tm", 1, &[small(), small()]);
    f.advance(10 * SECOND);
    f.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn all_that_were_kept_are_released_when_the_jobs_end_smallest_first() {
    // given: two idle task managers, of which none can be spared
    let config = described(2)
        .with_redundant_task_managers(2)
        .with_task_manager_timeout(10 * SECOND);
    let mut f = Fixture::promising(config);
    f.register_free("large", 1, &[small(), small(), small()]);
    f.register_free("small", 2, &[small(), small()]);
    f.register("busy", 3, &report("busy", &[Some(50)]));
    f.advance(10 * SECOND);
    f.expect(&NOTHING);

    // when
    f.free(&slot("busy", 0), 50);

    // then
    f.expect(&[
        "may 2 go? #1",
        "release 2, idle since +0ns (1)",
        "may 1 go? #2",
        "release 1, idle since +0ns (1)",
    ]);
    assert!(f.is_registered(3), "it is idle since now");
}

#[test]
fn only_slots_that_can_be_handed_out_are_missing_when_a_task_manager_goes() {
    // given: five free slots, of which four are to stay
    let config = described(2)
        .with_redundant_task_managers(2)
        .with_task_manager_timeout(10 * SECOND);
    let mut f = Fixture::promising(config);
    f.register_free("two", 1, &[small(), small()]);
    f.register_free("one", 2, &[small()]);
    f.register("busy", 3, &report("busy", &[Some(50), None, None]));

    // when
    f.advance(10 * SECOND);

    // then
    f.expect(&["may 2 go? #1", "release 2, idle since +0ns (1)"]);
    assert!(f.is_registered(1));
}
