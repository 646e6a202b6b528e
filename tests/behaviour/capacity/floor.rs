//! There are to be so many slots at least, with or without jobs.

use slot_manager::{Release, ResourceManagerError, SlotManagerConfig, SlotReport, WorkerFailedOutcome, WorkerPromise};

use crate::common::{Fixture, SECOND, ask, asks, described, profile, report, small};

/// Workers with two small slots, at least so many slots, and what was declined is asked for again after 10 s.
fn at_least(min_slots: usize) -> SlotManagerConfig {
    described(2)
        .with_min_slots(min_slots)
        .with_worker_registration_timeout(10 * SECOND)
}

/// At least two slots, which `tm` brought; idle task managers are released after 10 s.
fn kept_up() -> Fixture {
    let mut fixture = Fixture::promising(described(2).with_min_slots(2).with_task_manager_timeout(10 * SECOND));
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.expect(&[&ask(1)]);
    fixture
}

// Asked for.

#[test]
fn what_is_missing_is_asked_for_at_the_start() {
    let mut fixture = Fixture::not_started(at_least(4));
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    fixture.start(1);
    fixture.expect(&[&ask(1), &ask(2)]);
    assert_eq!(fixture.promised(), (0, 4));
}

#[test]
fn whole_workers_are_asked_for() {
    let fixture = Fixture::promising(at_least(3));
    fixture.expect(&[&ask(1), &ask(2)]);
}

#[test]
fn without_a_floor_nothing_is_asked_for() {
    let fixture = Fixture::promising(at_least(0));
    fixture.expect_nothing();
}

#[test]
fn what_is_promised_is_not_asked_for_again() {
    let mut fixture = Fixture::promising(at_least(2));
    fixture.expect(&[&ask(1)]);
    fixture.register("empty", 9, &SlotReport::default());
    fixture.advance(9 * SECOND);
    fixture.expect_nothing();
}

#[test]
fn what_is_registered_is_not_asked_for_again() {
    let mut fixture = kept_up();
    fixture.register("empty", 9, &SlotReport::default());
    fixture.expect_nothing();
}

#[test]
fn used_slots_count() {
    let mut fixture = kept_up();
    fixture.request(1, &small());
    fixture.request(2, &small());
    assert!(asks(&fixture.log.take()).is_empty());
}

#[test]
fn what_a_lost_task_manager_leaves_missing_is_asked_for() {
    let mut fixture = kept_up();
    fixture.unregister(1);
    fixture.expect(&[&ask(2)]);
}

#[test]
fn what_a_report_leaves_missing_is_asked_for() {
    let mut fixture = kept_up();
    fixture.report(1, &report("tm", &[None]));
    fixture.expect(&[&ask(2)]);
}

#[test]
fn what_a_failed_worker_leaves_missing_is_asked_for() {
    let mut fixture = Fixture::promising(at_least(2));
    fixture.log.take();
    assert_eq!(
        fixture.worker_failed(1),
        WorkerFailedOutcome::Forgotten { promised_slots: 2 }
    );
    fixture.expect(&[&ask(2)]);
}

#[test]
fn what_did_not_come_in_time_is_asked_for() {
    let mut fixture = Fixture::promising(at_least(4));
    fixture.log.take();
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(3), &ask(4)]);
}

#[test]
fn promised_slots_of_the_floor_cover_requests() {
    let mut fixture = Fixture::promising(at_least(2));
    fixture.log.take();
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.expect_nothing();
    assert_eq!(fixture.promised(), (2, 0));
    fixture.request(3, &small());
    fixture.expect(&[&ask(2)]);
}

#[test]
fn promised_slots_of_requests_count_for_the_floor() {
    // given: the floor is declined, the worker for the request is not
    let mut fixture = Fixture::with(at_least(2));
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.advance(5 * SECOND);
    fixture.request(1, &small());
    fixture.expect(&[&ask(1), &ask(2)]);

    // when: the ask for the floor would be repeated
    fixture.advance(5 * SECOND);

    // then
    fixture.expect_nothing();
}

#[test]
fn each_leadership_asks_for_what_is_missing() {
    let mut fixture = Fixture::promising(at_least(2));
    fixture.suspend();
    fixture.log.take();
    fixture.start(2);
    fixture.expect(&[&ask(2)]);
}

#[test]
fn how_many_are_asked_for_is_decided_before_the_first_is() {
    // given: two workers are needed, and the first alone would bring enough
    let mut fixture = Fixture::not_started(at_least(4));
    fixture.promise_next(&[small(), small(), small(), small()]);
    fixture.promise_next(&[profile(9.0, 900)]);

    // when
    fixture.start(1);

    // then
    fixture.expect(&[&ask(1), &ask(2)]);
    assert_eq!(fixture.promised(), (0, 5));
}

// Declined.

#[test]
fn nothing_more_is_asked_for_when_an_ask_is_declined() {
    let fixture = Fixture::with(at_least(4));
    fixture.expect(&[&ask(1)]);
}

#[test]
fn what_is_declined_is_asked_for_again_after_the_promise_timeout() {
    for declined in [
        Ok(WorkerPromise::Declined),
        Ok(WorkerPromise::Slots(vec![])),
        Err(ResourceManagerError::new("no quota")),
    ] {
        // given
        let mut fixture = Fixture::not_started(at_least(4));
        fixture.actions.answer_allocations(declined);
        fixture.start(1);
        fixture.expect(&[&ask(1)]);

        // when, then: not by other events
        fixture.register("empty", 9, &SlotReport::default());
        fixture.unregister(9);
        fixture.advance(10 * SECOND - std::time::Duration::from_nanos(1));
        fixture.expect_nothing();

        // when, then: as often as it takes
        fixture.advance(std::time::Duration::from_nanos(1));
        fixture.expect(&[&ask(2)]);
        fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
        fixture.advance(10 * SECOND);
        fixture.expect(&[&ask(3), &ask(4)]);
        assert_eq!(fixture.promised(), (0, 4));
    }
}

#[test]
fn what_was_promised_before_an_ask_was_declined_stays() {
    let mut fixture = Fixture::not_started(at_least(6));
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.start(1);
    fixture.expect(&[&ask(1), &ask(2)]);
    assert_eq!(fixture.promised(), (0, 2));
}

#[test]
fn what_came_meanwhile_is_not_asked_for_again() {
    let mut fixture = Fixture::with(at_least(2));
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.expect(&[&ask(1)]);
    fixture.advance(10 * SECOND);
    fixture.expect_nothing();
}

#[test]
fn the_pause_after_a_declined_ask_ends_with_the_leadership() {
    let mut fixture = Fixture::with(at_least(2));
    fixture.suspend();
    fixture.advance(5 * SECOND);
    fixture.log.take();
    fixture.start(2);
    fixture.expect(&[&ask(2)]);
    fixture.advance(5 * SECOND);
    fixture.expect_nothing();
    fixture.advance(5 * SECOND);
    fixture.expect(&[&ask(3)]);
}

#[test]
fn a_promise_beyond_the_limits_counts_as_declined() {
    let mut fixture = Fixture::not_started(at_least(2).with_max_slots(Some(2)));
    fixture.promise_next(&[small(), small(), small()]);
    fixture.start(1);
    fixture.expect(&[&ask(1), "withdraw 1"]);
    assert_eq!(fixture.promised(), (0, 0));
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(2)]);
}

#[test]
fn no_worker_is_asked_for_beyond_the_limits_and_nothing_is_armed() {
    // given: a worker brought less than it promised, and no other fits beside it
    let mut fixture = Fixture::promising(described(2).with_min_slots(2).with_max_slots(Some(2)));
    fixture.register_for(1, "tm", 1, &report("tm", &[None]));
    fixture.log.take();

    // when
    fixture.worker_failed(1);

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.manager.next_deadline(), None);

    // when, then: there is room
    fixture.unregister(1);
    fixture.expect(&[&ask(2)]);
}

// Kept.

#[test]
fn idle_task_managers_that_are_needed_stay() {
    let mut fixture = kept_up();
    fixture.advance(10 * SECOND);
    fixture.advance(10 * SECOND);
    fixture.expect_nothing();
    assert!(fixture.is_registered(1));
}

#[test]
fn idle_task_managers_beyond_are_released() {
    let mut fixture = kept_up();
    fixture.register_free("more", 2, &[small(), small()]);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
    assert!(fixture.is_registered(2));
}

#[test]
fn a_task_manager_that_would_leave_less_stays() {
    let mut fixture = kept_up();
    fixture.register_free("more", 2, &[small()]);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 2 go? #1", "release 2, idle since +0ns (1)"]);
    assert!(fixture.is_registered(1), "without it there would be one slot");
}

#[test]
fn used_slots_of_others_keep_up_the_floor() {
    let mut fixture = kept_up();
    fixture.register("used", 2, &report("used", &[Some(50), Some(51)]));
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn a_task_manager_that_was_kept_is_released_when_others_take_its_place() {
    let mut fixture = kept_up();
    fixture.advance(10 * SECOND);
    fixture.expect_nothing();
    fixture.register_free("more", 2, &[small(), small()]);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn a_task_manager_that_was_kept_and_used_since_is_not_released() {
    let mut fixture = kept_up();
    fixture.advance(10 * SECOND);
    fixture.request(1, &small());
    fixture.log.take();
    fixture.register_free("more", 2, &[small(), small()]);
    fixture.expect_nothing();
    assert!(fixture.is_registered(1));
}

#[test]
fn a_task_manager_that_was_kept_and_is_gone_is_not_released() {
    let mut fixture = kept_up();
    fixture.advance(10 * SECOND);
    fixture.unregister(1);
    fixture.log.take();
    fixture.register_free("more", 2, &[small(), small()]);
    fixture.register_free("most", 3, &[small(), small()]);
    fixture.expect_nothing();
}

#[test]
fn of_those_that_were_kept_the_smallest_goes_first_and_then_who_was_kept_first() {
    // given: three are kept, which have six slots
    let config = described(2).with_min_slots(6).with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register_free("large", 1, &[small(), small(), small(), small()]);
    fixture.register_free("first", 2, &[small()]);
    fixture.register_free("second", 3, &[small()]);
    fixture.advance(10 * SECOND);
    fixture.log.take();
    assert_eq!(fixture.manager.num_task_managers(), 3);

    // when, then: one slot more, then four
    fixture.register_free("more", 4, &[small()]);
    fixture.expect(&["may 2 go? #1", "release 2, idle since +0ns (1)"]);
    fixture.register_free("most", 5, &[small(), small(), small(), small()]);
    fixture.expect(&["may 3 go? #2", "release 3, idle since +0ns (1)"]);
    assert!(fixture.is_registered(1), "the next one, which may not go");
}

#[test]
fn one_that_the_resource_manager_keeps_is_asked_for_again_at_its_timeout() {
    let mut fixture = kept_up();
    fixture.advance(10 * SECOND);
    fixture.actions.answer_next_release(Release::Declined);
    fixture.advance(5 * SECOND);
    fixture.register("used", 2, &report("used", &[Some(50), Some(51)]));
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
    fixture.register("empty", 3, &SlotReport::default());
    fixture.expect_nothing();
    fixture.advance(5 * SECOND);
    fixture.expect(&["may 1 go? #2", "release 1, idle since +0ns (1)"]);
}
