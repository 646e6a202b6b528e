//! `min_slots`: workers are requested and task managers kept for a minimum of slots.

use slot_manager::config::{WorkerDescription, WorkerPolicy};
use slot_manager::error::ResourceManagerError;
use slot_manager::message::{Release, WorkerPromise};
use slot_manager::outcome::WorkerFailedOutcome;
use slot_manager::{ResourceProfile, SlotManagerConfig, SlotReport};

use crate::common::{
    Fixture, NANOSECOND, SECOND, ask, asks, free_report, patient, profile, releases, report, small, workers_of,
};

/// At least `min_slots` slots, workers with two small slots, and a worker registration timeout of
/// 10 s.
fn at_least(min_slots: usize) -> SlotManagerConfig {
    patient()
        .with_workers(workers_of(2).with_min_slots(min_slots))
        .with_worker_registration_timeout(10 * SECOND)
}

/// A fixture with a minimum of two slots, which `tm` has, and an idle timeout of 10 s.
fn kept_up() -> Fixture {
    let mut fixture = Fixture::promising(
        patient()
            .with_workers(workers_of(2).with_min_slots(2))
            .with_task_manager_timeout(10 * SECOND),
    );
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.expect(&[&ask(1)]);
    fixture
}

// Requested.

#[test]
fn missing_slots_are_requested_at_the_start() {
    // given
    let mut fixture = Fixture::not_started(at_least(4));
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));

    // when
    fixture.start(1);

    // then
    fixture.expect(&[&ask(1), &ask(2)]);
    assert_eq!(fixture.promised(), (0, 4));
}

#[test]
fn whole_workers_are_requested() {
    let fixture = Fixture::promising(at_least(3));
    fixture.expect(&[&ask(1), &ask(2)]);
}

/// A worker has two cores and 200 MiB.
#[test]
fn workers_for_the_minimum_cores_and_memory_are_requested() {
    const MEBIBYTE: u64 = 1 << 20;
    for (cores, mebibytes, min_slots, workers) in [
        (4.0, 0, 0, 2),
        (4.1, 0, 0, 3),
        (0.0, 401, 0, 3),
        (0.1, 400, 5, 3),
        (0.0, 0, 1, 1),
    ] {
        // given, when
        let policy = workers_of(2)
            .with_min_slots(min_slots)
            .with_min_total_cpu_cores(cores)
            .with_min_total_memory_bytes(mebibytes * MEBIBYTE);
        let fixture = Fixture::promising(patient().with_workers(policy));

        // then
        assert_eq!(
            asks(&fixture.log.take()).len(),
            workers,
            "{cores} cores, {mebibytes} MiB and {min_slots} slots"
        );
    }
}

/// Three slots of a rounded third have 0.99999999 cores.
#[test]
fn minimum_cores_count_the_total_of_a_worker() {
    let total = ResourceProfile::builder().cpu_cores(1.0).build();
    let worker = WorkerDescription::from_total(&total.expect("a valid amount"), 3).expect("a worker");
    let policy = WorkerPolicy::new(worker).with_min_total_cpu_cores(2.0);
    let fixture = Fixture::promising(patient().with_workers(policy));
    assert_eq!(asks(&fixture.log.take()).len(), 2);
}

#[test]
fn task_managers_for_the_minimum_cores_are_kept() {
    // given
    let policy = workers_of(2).with_min_total_cpu_cores(2.0);
    let mut fixture = Fixture::promising(patient().with_workers(policy).with_task_manager_timeout(10 * SECOND));
    fixture.register_for(1, "tm-1", 1, &free_report("tm-1", &[small(), small()]));
    fixture.register_free("tm-2", 2, &[small(), small()]);
    fixture.log.take();

    // when
    fixture.advance(10 * SECOND);

    // then
    assert_eq!(releases(&fixture.log.take()).len(), 1);
    fixture.advance(60 * SECOND);
    fixture.expect_nothing();
}

#[test]
fn no_worker_is_requested_without_a_minimum() {
    let fixture = Fixture::promising(at_least(0));
    fixture.expect_nothing();
}

#[test]
fn promised_slots_count() {
    // given, when
    let mut fixture = Fixture::promising(at_least(2));

    // then
    fixture.expect(&[&ask(1)]);

    // when, then
    fixture.register("empty", 9, &SlotReport::default());
    fixture.advance(9 * SECOND);
    fixture.expect_nothing();
}

#[test]
fn registered_slots_count() {
    let mut fixture = kept_up();
    fixture.register("empty", 9, &SlotReport::default());
    fixture.expect_nothing();
}

#[test]
fn used_slots_count() {
    // given
    let mut fixture = kept_up();
    fixture.request(1, &small());

    // when
    fixture.request(2, &small());

    // then
    assert!(asks(&fixture.log.take()).is_empty());
}

#[test]
fn slots_of_a_lost_task_manager_are_requested() {
    let mut fixture = kept_up();
    fixture.unregister(1);
    fixture.expect(&[&ask(2)]);
}

#[test]
fn slots_that_a_report_omits_are_requested() {
    let mut fixture = kept_up();
    fixture.report(1, &report("tm", &[None]));
    fixture.expect(&[&ask(2)]);
}

#[test]
fn slots_of_a_failed_worker_are_requested() {
    // given
    let mut fixture = Fixture::promising(at_least(2));
    fixture.log.take();

    // when, then
    assert_eq!(
        fixture.worker_failed(1),
        WorkerFailedOutcome::Forgotten { promised_slots: 2 }
    );
    fixture.expect(&[&ask(2)]);
}

#[test]
fn slots_of_an_expired_promise_are_requested() {
    // given
    let mut fixture = Fixture::promising(at_least(4));
    fixture.log.take();

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["withdraw 1", "withdraw 2", &ask(3), &ask(4)]);
}

#[test]
fn requests_are_bound_to_promised_slots_of_the_minimum() {
    // given
    let mut fixture = Fixture::promising(at_least(2));
    fixture.log.take();
    fixture.request(1, &small());

    // when
    fixture.request(2, &small());

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.promised(), (2, 0));

    // when, then
    fixture.request(3, &small());
    fixture.expect(&[&ask(2)]);
}

#[test]
fn promised_slots_of_requests_count_for_the_minimum() {
    // given: the worker for the minimum is declined, the worker for the request is not
    let mut fixture = Fixture::with(at_least(2));
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.advance(5 * SECOND);
    fixture.request(1, &small());
    fixture.expect(&[&ask(1), &ask(2)]);

    // when: the worker request for the minimum would be repeated
    fixture.advance(5 * SECOND);

    // then
    fixture.expect_nothing();
}

#[test]
fn each_leadership_requests_missing_slots() {
    // given
    let mut fixture = Fixture::promising(at_least(2));
    fixture.suspend();
    fixture.log.take();

    // when
    fixture.start(2);

    // then
    fixture.expect(&[&ask(2)]);
}

#[test]
fn number_of_workers_is_decided_before_the_first_request() {
    // given: two workers are needed, but the first alone has enough slots
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
fn no_worker_is_requested_after_one_that_is_declined() {
    let fixture = Fixture::with(at_least(4));
    fixture.expect(&[&ask(1)]);
}

#[test]
fn declined_reserve_worker_is_requested_again_after_the_registration_timeout() {
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
        fixture.advance(10 * SECOND - NANOSECOND);
        fixture.expect_nothing();

        // when, then: until it is promised
        fixture.advance(NANOSECOND);
        fixture.expect(&[&ask(2)]);
        fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
        fixture.advance(10 * SECOND);
        fixture.expect(&[&ask(3), &ask(4)]);
        assert_eq!(fixture.promised(), (0, 4));
    }
}

#[test]
fn earlier_promise_outlives_a_declined_worker_request() {
    // given
    let mut fixture = Fixture::not_started(at_least(6));
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));

    // when
    fixture.start(1);

    // then
    fixture.expect(&[&ask(1), &ask(2)]);
    assert_eq!(fixture.promised(), (0, 2));
}

#[test]
fn declined_worker_request_is_not_repeated_for_slots_that_registered() {
    // given
    let mut fixture = Fixture::with(at_least(2));

    // when
    fixture.register_free("tm", 1, &[small(), small()]);

    // then
    fixture.expect(&[&ask(1)]);

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect_nothing();
}

#[test]
fn wait_after_a_declined_worker_request_ends_with_the_leadership() {
    // given
    let mut fixture = Fixture::with(at_least(2));
    fixture.suspend();
    fixture.advance(5 * SECOND);
    fixture.log.take();

    // when
    fixture.start(2);

    // then
    fixture.expect(&[&ask(2)]);

    // when, then
    fixture.advance(5 * SECOND);
    fixture.expect_nothing();

    // when, then
    fixture.advance(5 * SECOND);
    fixture.expect(&[&ask(3)]);
}

#[test]
fn promise_beyond_the_limits_counts_as_declined() {
    // given
    let mut fixture =
        Fixture::not_started(at_least(2).with_workers(workers_of(2).with_min_slots(2).with_max_slots(Some(2))));
    fixture.promise_next(&[small(), small(), small()]);

    // when
    fixture.start(1);

    // then
    fixture.expect(&[&ask(1), "withdraw 1"]);
    assert_eq!(fixture.promised(), (0, 0));

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(2)]);
}

#[test]
fn no_worker_is_requested_beyond_the_limits_and_no_deadline_is_armed() {
    // given: a worker has fewer slots than promised, and there is no room for another
    let mut fixture =
        Fixture::promising(patient().with_workers(workers_of(2).with_min_slots(2).with_max_slots(Some(2))));
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
fn needed_idle_task_manager_is_kept() {
    // given
    let mut fixture = kept_up();
    fixture.advance(10 * SECOND);

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect_nothing();
    assert!(fixture.is_registered(1));
}

#[test]
fn idle_task_manager_beyond_the_minimum_is_released() {
    // given
    let mut fixture = kept_up();
    fixture.register_free("more", 2, &[small(), small()]);

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
    assert!(fixture.is_registered(2));
}

#[test]
fn task_manager_whose_release_would_leave_less_is_kept() {
    // given
    let mut fixture = kept_up();
    fixture.register_free("more", 2, &[small()]);

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["may 2 go? #1", "release 2, idle since +0ns (1)"]);
    assert!(fixture.is_registered(1), "without it there would be one slot");
}

#[test]
fn used_slots_of_others_count_for_the_minimum() {
    // given
    let mut fixture = kept_up();
    fixture.register("used", 2, &report("used", &[Some(50), Some(51)]));

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn kept_task_manager_is_released_when_others_replace_its_slots() {
    // given
    let mut fixture = kept_up();

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect_nothing();

    // when, then
    fixture.register_free("more", 2, &[small(), small()]);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);
}

#[test]
fn kept_task_manager_that_is_used_is_not_released() {
    // given
    let mut fixture = kept_up();
    fixture.advance(10 * SECOND);
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.register_free("more", 2, &[small(), small()]);

    // then
    fixture.expect_nothing();
    assert!(fixture.is_registered(1));
}

#[test]
fn kept_task_manager_that_is_unregistered_is_not_released() {
    // given
    let mut fixture = kept_up();
    fixture.advance(10 * SECOND);
    fixture.unregister(1);
    fixture.log.take();
    fixture.register_free("more", 2, &[small(), small()]);

    // when
    fixture.register_free("most", 3, &[small(), small()]);

    // then
    fixture.expect_nothing();
}

#[test]
fn kept_task_managers_are_released_smallest_first_and_then_oldest_first() {
    // given: three task managers with six slots are kept
    let config = patient()
        .with_workers(workers_of(2).with_min_slots(6))
        .with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.register_free("large", 1, &[small(), small(), small(), small()]);
    fixture.register_free("first", 2, &[small()]);
    fixture.register_free("second", 3, &[small()]);
    fixture.advance(10 * SECOND);
    fixture.log.take();
    assert_eq!(fixture.manager.overview().task_managers, 3);

    // when, then: one slot more, then four
    fixture.register_free("more", 4, &[small()]);
    fixture.expect(&["may 2 go? #1", "release 2, idle since +0ns (1)"]);
    fixture.register_free("most", 5, &[small(), small(), small(), small()]);
    fixture.expect(&["may 3 go? #2", "release 3, idle since +0ns (1)"]);
    assert!(fixture.is_registered(1), "the next one, which is needed");
}

#[test]
fn declined_release_is_repeated_at_the_next_timeout() {
    // given
    let mut fixture = kept_up();
    fixture.advance(10 * SECOND);
    fixture.actions.answer_next_release(Release::Declined);
    fixture.advance(5 * SECOND);

    // when
    fixture.register("used", 2, &report("used", &[Some(50), Some(51)]));

    // then
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)"]);

    // when, then
    fixture.register("empty", 3, &SlotReport::default());
    fixture.expect_nothing();

    // when, then
    fixture.advance(5 * SECOND);
    fixture.expect(&["may 1 go? #2", "release 1, idle since +0ns (1)"]);
}
