//! There are to be so many slots at least, with or without jobs.

use slot_manager::{Release, ResourceManagerError, SlotManagerConfig, SlotReport, WorkerFailedOutcome, WorkerPromise};

use crate::common::{Fixture, SECOND, ask, asks, described, profile, report, small};

const NOTHING: [&str; 0] = [];

/// Workers with two small slots, at least so many slots, and what was declined is asked for again after 10 s.
fn at_least(min_slots: usize) -> SlotManagerConfig {
    described(2)
        .with_min_slots(min_slots)
        .with_worker_registration_timeout(10 * SECOND)
}

/// At least two slots, which `tm` brought; idle task managers are released after 10 s.
fn kept_up() -> Fixture {
    let mut f = Fixture::promising(described(2).with_min_slots(2).with_task_manager_timeout(10 * SECOND));
    f.register_free("tm", 1, &[small(), small()]);
    f.expect(&[&ask(1)]);
    f
}

// Asked for.

#[test]
fn what_is_missing_is_asked_for_at_the_start() {
    let mut f = Fixture::not_started(at_least(4));
    f.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    f.start(1);
    f.expect(&[&ask(1), &ask(2)]);
    assert_eq!(f.promised(), (0, 4));
}

#[test]
fn whole_workers_are_asked_for() {
    let f = Fixture::promising(at_least(3));
    f.expect(&[&ask(1), &ask(2)]);
}

#[test]
fn without_a_floor_nothing_is_asked_for() {
    let f = Fixture::promising(at_least(0));
    f.expect(&NOTHING);
}

#[test]
fn what_is_promised_is_not_asked_for_again() {
    let mut f = Fixture::promising(at_least(2));
    f.expect(&[&ask(1)]);
    f.register("empty", 9, &SlotReport::default());
    f.advance(9 * SECOND);
    f.expect(&NOTHING);
}

#[test]
fn what_is_registered_is_not_asked_for_again() {
    let mut f = kept_up();
    f.register("empty", 9, &SlotReport::default());
    f.expect(&NOTHING);
}

#[test]
fn used_slots_count() {
    let mut f = kept_up();
    f.request(1, &small());
    f.request(2, &small());
    assert!(asks(&f.log.take()).is_empty());
}

#[test]
fn what_a_lost_task_manager_leaves_missing_is_asked_for() {
    let mut f = kept_up();
    f.unregister(1);
    f.expect(&[&ask(2)]);
}

#[test]
fn what_a_report_leaves_missing_is_asked_for() {
    let mut f = kept_up();
    f.report(1, &report("tm", &[None]));
    f.expect(&[&ask(2)]);
}

#[test]
fn what_a_failed_worker_leaves_missing_is_asked_for() {
    let mut f = Fixture::promising(at_least(2));
    f.said();
    assert_eq!(f.worker_failed(1), WorkerFailedOutcome::Forgotten { promised_slots: 2 });
    f.expect(&[&ask(2)]);
}

#[test]
fn what_did_not_come_in_time_is_asked_for() {
    let mut f = Fixture::promising(at_least(4));
    f.said();
    f.advance(10 * SECOND);
    f.expect(&[&ask(3), &ask(4)]);
}

#[test]
fn promised_slots_of_the_floor_cover_requests() {
    let mut f = Fixture::promising(at_least(2));
    f.said();
    f.request(1, &small());
    f.request(2, &small());
    f.expect(&NOTHING);
    assert_eq!(f.promised(), (2, 0));
    f.request(3, &small());
    f.expect(&[&ask(2)]);
}

#[test]
fn promised_slots_of_requests_count_for_the_floor() {
    // given: the floor is declined, the worker for the request is not
    let mut f = Fixture::with(at_least(2));
    f.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    f.advance(5 * SECOND);
    f.request(1, &small());
    f.expect(&[&ask(1), &ask(2)]);

    // when: the ask for the floor would be repeated
    f.advance(5 * SECOND);

    // then
    f.expect(&NOTHING);
}

#[test]
fn each_leadership_asks_for_what_is_missing() {
    let mut f = Fixture::promising(at_least(2));
    f.suspend();
    f.said();
    f.start(2);
    f.expect(&[&ask(2)]);
}

#[test]
fn how_many_are_asked_for_is_decided_before_the_first_is() {
    // given: two workers are needed, and the first alone would bring enough
    let mut f = Fixture::not_started(at_least(4));
    f.promise_next(&[small(), small(), small(), small()]);
    f.promise_next(&[profile(9.0, 900)]);

    // when
    f.start(1);

    // then
    f.expect(&[&ask(1), &ask(2)]);
    assert_eq!(f.promised(), (0, 5));
}

// Declined.

#[test]
fn nothing_more_is_asked_for_when_an_ask_is_declined() {
    let f = Fixture::with(at_least(4));
    f.expect(&[&ask(1)]);
}

#[test]
fn what_is_declined_is_asked_for_again_after_the_promise_timeout() {
    for declined in [
        Ok(WorkerPromise::Declined),
        Ok(WorkerPromise::Slots(vec![])),
        Err(ResourceManagerError::new("no quota")),
    ] {
        // given
        let mut f = Fixture::not_started(at_least(4));
        f.actions.answer_allocations(declined);
        f.start(1);
        f.expect(&[&ask(1)]);

        // when, then: not by other events
        f.register("empty", 9, &SlotReport::default());
        f.unregister(9);
        f.advance(10 * SECOND - std::time::Duration::from_nanos(1));
        f.expect(&NOTHING);

        // when, then: as often as it takes
        f.advance(std::time::Duration::from_nanos(1));
        f.expect(&[&ask(2)]);
        f.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
        f.advance(10 * SECOND);
        f.expect(&[&ask(3), &ask(4)]);
        assert_eq!(f.promised(), (0, 4));
    }
}

#[test]
fn what_was_promised_before_an_ask_was_declined_stays() {
    let mut f = Fixture::not_started(at_least(6));
    f.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    f.start(1);
    f.expect(&[&ask(1), &ask(2)]);
    assert_eq!(f.promised(), (0, 2));
}

#[test]
fn what_came_meanwhile_is_not_asked_for_again() {
    let mut f = Fixture::with(at_least(2));
    f.register_free("tm", 1, &[small(), small()]);
    f.expect(&[&ask(1)]);
    f.advance(10 * SECOND);
    f.expect(&NOTHING);
}

#[test]
fn the_pause_after_a_declined_ask_ends_with_the_leadership() {
    let mut f = Fixture::with(at_least(2));
    f.suspend();
    f.advance(5 * SECOND);
    f.said();
    f.start(2);
    f.expect(&[&ask(2)]);
    f.advance(5 * SECOND);
    f.expect(&NOTHING);
    f.advance(5 * SECOND);
    f.expect(&[&ask(3)]);
}

#[test]
fn a_promise_beyond_the_limits_counts_as_declined() {
    let mut f = Fixture::not_started(at_least(2).with_max_slots(Some(2)));
    f.promise_next(&[small(), small(), small()]);
    f.start(1);
    f.expect(&[&ask(1), "withdraw 1"]);
    assert_eq!(f.promised(), (0, 0));
    f.advance(10 * SECOND);
    f.expect(&[&ask(2)]);
}

#[test]
fn no_worker_is_asked_for_beyond_the_limits_and_nothing_is_armed() {
    // given: a worker brought less than it promised, and no other fits beside it
    let mut f = Fixture::promising(described(2).with_min_slots(2).with_max_slots(Some(2)));
    f.register_for(1, "tm", 1, &report("tm", &[None]));
    f.said();

    // when
    f.worker_failed(1);

    // then
    f.expect(&NOTHING);
    assert_eq!(f.manager.next_deadline(), None);

    // when, then: there is room
    f.unregister(1);
    f.expect(&[&ask(2)]);
}

// Kept.

#[test]
fn idle_task_managers_that_are_needed_stay() {
    let mut f = kept_up();
    f.advance(10 * SECOND);
    f.advance(10 * SECOND);
    f.expect(&NOTHING);
    assert!(f.is_registered(1));
}

#[test]
fn idle_task_managers_beyond_are_released() {
    let mut f = kept_up();
    f.register_free("more", 2, &[small(), small()]);
    f.advance(10 * SECOND);
    f.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
    assert!(f.is_registered(2));
}

#[test]
fn a_task_manager_that_would_leave_less_stays() {
    let mut f = kept_up();
    f.register_free("more", 2, &[small()]);
    f.advance(10 * SECOND);
    f.expect(&["may 2 go? #1", "release 2, idle since +0ns (1)"]);
    assert!(f.is_registered(1), "without it there would be one slot");
}

#[test]
fn used_slots_of_others_keep_up_the_floor() {
    let mut f = kept_up();
    f.register("used", 2, &report("used", &[Some(50), Some(51)]));
    f.advance(10 * SECOND);
    f.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn a_task_manager_that_was_kept_is_released_when_others_take_its_place() {
    let mut f = kept_up();
    f.advance(10 * SECOND);
    f.expect(&NOTHING);
    f.register_free("more", 2, &[small(), small()]);
    f.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn a_task_manager_that_was_kept_and_used_since_is_not_released() {
    let mut f = kept_up();
    f.advance(10 * SECOND);
    f.request(1, &small());
    f.said();
    f.register_free("more", 2, &[small(), small()]);
    f.expect(&NOTHING);
    assert!(f.is_registered(1));
}

#[test]
fn a_task_manager_that_was_kept_and_is_gone_is_not_released() {
    let mut f = kept_up();
    f.advance(10 * SECOND);
    f.unregister(1);
    f.said();
    f.register_free("more", 2, &[small(), small()]);
    f.register_free("most", 3, &[small(), small()]);
    f.expect(&NOTHING);
}

#[test]
fn of_those_that_were_kept_the_smallest_goes_first_and_then_who_was_kept_first() {
    // given: three are kept, which have six slots
    let config = described(2).with_min_slots(6).with_task_manager_timeout(10 * SECOND);
    let mut f = Fixture::promising(config);
    f.register_free("large", 1, &[small(), small(), small(), small()]);
    f.register_free("first", 2, &[small()]);
    f.register_free("second", 3, &[small()]);
    f.advance(10 * SECOND);
    f.said();
    assert_eq!(f.manager.num_task_managers(), 3);

    // when, then: one slot more, then four
    f.register_free("more", 4, &[small()]);
    f.expect(&["may 2 go? #1", "release 2, idle since +0ns (1)"]);
    f.register_free("most", 5, &[small(), small(), small(), small()]);
    f.expect(&["may 3 go? #2", "release 3, idle since +0ns (1)"]);
    assert!(f.is_registered(1), "the next one, which may not go");
}

#[test]
fn one_that_the_resource_manager_keeps_is_asked_for_again_at_its_timeout() {
    let mut f = kept_up();
    f.advance(10 * SECOND);
    f.actions.answer_next_release(Release::Declined);
    f.advance(5 * SECOND);
    f.register("used", 2, &report("used", &[Some(50), Some(51)]));
    f.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
    f.register("empty", 3, &SlotReport::default());
    f.expect(&NOTHING);
    f.advance(5 * SECOND);
    f.expect(&["may 1 go? #2", "release 1, idle since +0ns (1)"]);
}
