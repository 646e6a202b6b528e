//! Time: what falls due when, what a timeout may do, and what must not move it. Comments name the defects of
//! FLINK-5810's timers that the tests guard against.

use std::time::Duration;

use slot_manager::testing::NotPending;
use slot_manager::{
    AllocationFailureCause, AllocationStatus, FreeSlotOutcome, Release, ReportOutcome, RequestFailure,
    ResourceManagerError, SlotAllocationError, SlotCounts, SlotManager, SlotManagerConfig, SlotRequestError, Timestamp,
    UnregistrationOutcome, WorkerPromise,
};

use crate::common::{
    Fixture, acknowledged, allocation, ask, failures, granted, in_flight, instance, patient, rejected, report, slot,
    small,
};

const NANOSECOND: Duration = Duration::from_nanos(1);

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn idle_after(timeout: Duration) -> SlotManagerConfig {
    patient().with_task_manager_timeout(timeout)
}

fn requests_expire_after(timeout: Duration) -> SlotManagerConfig {
    patient().with_request_timeout(timeout)
}

/// `expected` is said when `duration` has passed, and nothing a nanosecond before.
#[track_caller]
fn falls_due_after(fixture: &mut Fixture, duration: Duration, expected: &[&str]) {
    fixture.advance(duration - NANOSECOND);
    fixture.expect(&[]);
    fixture.advance(NANOSECOND);
    fixture.expect(expected);
}

/// B.1
#[test]
fn released_task_manager_leaves_no_slot_behind() {
    // given
    let mut fixture = Fixture::with(idle_after(seconds(10)));
    let gateway = fixture.register_free("tm", 7, &[small(), small()]);

    // when
    falls_due_after(
        &mut fixture,
        seconds(10),
        &["may 7 go? #1", "release 7, idle since +0ns (1)"],
    );

    // then: nothing is left of it, and a request goes for a new worker
    assert_eq!(fixture.manager.num_task_managers(), 0);
    assert_eq!(fixture.manager.slot_counts(), SlotCounts::default());
    assert!(fixture.manager.slot(&slot("tm", 0)).is_none());
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    assert_eq!(gateway.take_calls(), []);
    fixture.expect(&[&ask(1)]);

    // then: what is heard of it afterwards is harmless
    assert_eq!(fixture.report(7, &report("tm", &[None, None])), ReportOutcome::Unknown);
    assert_eq!(fixture.unregister(7), UnregistrationOutcome::Unknown);
    assert_eq!(fixture.free(&slot("tm", 0), 1), FreeSlotOutcome::UnknownSlot);
    fixture.expect(&[]);
}

/// B.1, and FLINK-7793
#[test]
fn task_manager_whose_release_is_declined_stays_with_its_slots() {
    // given
    let mut fixture = Fixture::with(idle_after(seconds(10)));
    fixture.actions.answer_releases(Release::Declined);
    fixture.register_free("tm", 7, &[small()]);
    falls_due_after(
        &mut fixture,
        seconds(10),
        &["may 7 go? #1", "release 7, idle since +0ns (1)"],
    );
    assert!(fixture.is_free(&slot("tm", 0)));

    // then: asked again after another timeout, about the same idle period
    falls_due_after(
        &mut fixture,
        seconds(10),
        &["may 7 go? #2", "release 7, idle since +0ns (1)"],
    );

    // then: it serves requests as ever
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
    fixture.advance(seconds(30));
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);

    // then: idle again, that is another period
    fixture.free(&slot("tm", 0), 1);
    falls_due_after(
        &mut fixture,
        seconds(10),
        &["may 7 go? #3", "release 7, idle since +50s (2)"],
    );
}

/// B.1: each task manager is asked for, each counts its own time
#[test]
fn only_the_task_manager_whose_time_has_come_is_released() {
    let mut fixture = Fixture::with(idle_after(seconds(10)));
    fixture.register_free("early", 1, &[small()]);
    fixture.advance(seconds(4));
    fixture.register_free("late", 2, &[small()]);

    falls_due_after(
        &mut fixture,
        seconds(6),
        &["may 1 go? #1", "release 1, idle since +0ns (1)"],
    );
    assert!(fixture.is_free(&slot("late", 0)));
    falls_due_after(
        &mut fixture,
        seconds(4),
        &["may 2 go? #2", "release 2, idle since +4s (1)"],
    );
}

/// B.2
#[test]
fn task_manager_with_an_attempt_in_flight_is_not_released() {
    // given: the attempt begins a second before the release
    let mut fixture = Fixture::with(idle_after(seconds(10)));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    fixture.advance(seconds(9));
    assert_eq!(fixture.request(1, &small()), in_flight(&slot("tm", 0)));
    fixture.log.take();

    // when
    fixture.advance(seconds(100));

    // then: it is registered as before
    fixture.expect(&[]);
    assert_eq!(fixture.report(7, &report("tm", &[None, None])), ReportOutcome::Applied);
    fixture.answer(&gateway, 1, acknowledged());
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.log.take();

    // then: and can be unregistered as any other
    assert_eq!(fixture.unregister(7), UnregistrationOutcome::Unregistered);
    assert_eq!(fixture.manager.slot_counts(), SlotCounts::default());
}

/// B.2
#[test]
fn task_manager_that_reports_an_allocation_is_not_released() {
    // given: a known slot turns out to be held on one, and a new slot on the other
    let mut fixture = Fixture::with(idle_after(seconds(10)));
    fixture.register("known", 1, &report("known", &[None]));
    fixture.register("new", 2, &report("new", &[None]));
    fixture.advance(seconds(9));

    // when
    fixture.report(1, &report("known", &[Some(1)]));
    fixture.report(2, &report("new", &[None, Some(2)]));
    fixture.advance(seconds(100));

    // then
    fixture.expect(&[]);
    assert_eq!(fixture.manager.num_task_managers(), 2);

    // then: the idle time begins when they are free again
    fixture.free(&slot("known", 0), 1);
    fixture.report(2, &report("new", &[None, None]));
    fixture.log.take();
    falls_due_after(
        &mut fixture,
        seconds(10),
        &[
            "may 1 go? #1",
            "release 1, idle since +109s (2)",
            "may 2 go? #2",
            "release 2, idle since +109s (2)",
        ],
    );
}

/// B.2: the time has passed, and so has the pause of a request that takes the slot before the release is asked for
#[test]
fn task_manager_that_is_used_when_its_time_is_noticed_is_not_released() {
    // given: at 10 s the release falls due, at 11 s the retry
    let config = idle_after(seconds(10)).with_retry_backoff(seconds(11), seconds(11));
    let mut fixture = Fixture::with(config);
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, rejected());
    fixture.log.take();

    // when: the manager is driven late
    fixture.advance(seconds(12));

    // then
    fixture.expect(&["request tm_0 for 1 #3"]);
    assert_eq!(fixture.manager.num_task_managers(), 1);
}

/// B.3
#[test]
fn request_that_expires_in_flight_fails_and_gives_its_attempt_up() {
    // given: it waited at first; another request waits behind it
    let mut fixture = Fixture::with(requests_expire_after(seconds(10)));
    fixture.request(1, &small());
    fixture.advance(seconds(1));
    fixture.request(2, &small());
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
    fixture.log.take();

    // when, then: notified, taken back, and the slot is for the other
    falls_due_after(
        &mut fixture,
        seconds(9),
        &["failed 1: timeout", "free tm_0 of 1 #1", "request tm_0 for 2 #2"],
    );
    assert_eq!(fixture.status(1), None);
    assert_eq!(gateway.answer(1, acknowledged()), Err(NotPending { attempt: 1 }));

    // then: nothing of it is in the way of the other, nor of the same id
    fixture.answer(&gateway, 2, acknowledged());
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&["granted 2 on tm_0", &ask(3)]);
}

/// B.3: the answer is there, so the request is served
#[test]
fn answer_that_comes_with_the_deadline_counts() {
    let mut fixture = Fixture::with(requests_expire_after(seconds(10)).with_rpc_timeout(seconds(10)));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();

    fixture.clock.advance(seconds(10));
    gateway.answer(1, acknowledged()).expect("in flight");
    fixture.run();

    fixture.expect(&["granted 1 on tm_0"]);
}

/// B.4
#[test]
fn idle_reports_do_not_postpone_the_release() {
    // given
    let mut fixture = Fixture::with(idle_after(seconds(10)));
    fixture.register("tm", 7, &report("tm", &[None, None]));

    // when: it reports every second; one report adds a slot, some messages are about nothing
    for second in 1..10 {
        fixture.advance(seconds(1));
        let holders = vec![None; 2 + usize::from(second > 5)];
        assert_eq!(fixture.report(7, &report("tm", &holders)), ReportOutcome::Applied);
        assert_eq!(fixture.free(&slot("tm", 0), 1), FreeSlotOutcome::NotAllocated);
        fixture.register("tm", 7, &report("tm", &holders));
    }

    // then
    falls_due_after(
        &mut fixture,
        seconds(1),
        &["may 7 go? #1", "release 7, idle since +0ns (1)"],
    );
}

/// B.4
#[test]
fn idle_time_begins_when_the_last_used_slot_becomes_free() {
    // given: two slots in use
    let mut fixture = Fixture::with(idle_after(seconds(10)));
    fixture.register("tm", 7, &report("tm", &[Some(1), Some(2)]));

    // when: they become free one after the other
    fixture.advance(seconds(1));
    fixture.free(&slot("tm", 0), 1);
    fixture.advance(seconds(1));
    fixture.report(7, &report("tm", &[None, None]));

    // then
    fixture.expect(&["lost 2 on tm_1: free"]);
    falls_due_after(
        &mut fixture,
        seconds(10),
        &["may 7 go? #1", "release 7, idle since +2s (1)"],
    );
}

/// B.42 (vi): an attempt that came to nothing must leave the task manager idle
#[test]
fn task_manager_is_idle_again_after_an_attempt_that_failed_or_was_cancelled() {
    for cancelled in [false, true] {
        // given
        let mut fixture = Fixture::with(idle_after(seconds(10)));
        let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
        fixture.request(1, &small());
        fixture.advance(seconds(3));

        // when: the retry after the failure pauses for 50 ms, and is cancelled then
        if !cancelled {
            fixture.answer(&gateway, 1, rejected());
            fixture.answer(&gateway, 2, rejected());
        }
        fixture.cancel(1);
        fixture.log.take();

        // then
        falls_due_after(
            &mut fixture,
            seconds(10),
            &["may 7 go? #1", "release 7, idle since +3s (2)"],
        );
    }
}

/// B.4: idle periods are those that can be seen between two calls
#[test]
fn task_manager_whose_use_moves_from_slot_to_slot_is_not_idle_in_between() {
    // given
    let mut fixture = Fixture::with(idle_after(seconds(10)));
    fixture.register("tm", 7, &report("tm", &[Some(1), None]));

    // when: the allocation is found on the other slot; then the job gives it back while a request waits
    fixture.report(7, &report("tm", &[None, Some(1)]));
    fixture.request(2, &small());
    fixture.request(3, &small());
    fixture.free(&slot("tm", 0), 2);
    fixture.free(&slot("tm", 1), 1);
    fixture.log.take();

    // then: it is in use all the time
    fixture.advance(seconds(100));
    fixture.expect(&[]);

    // then: the first idle period
    fixture.free(&slot("tm", 0), 3);
    falls_due_after(
        &mut fixture,
        seconds(10),
        &["may 7 go? #1", "release 7, idle since +100s (1)"],
    );
}

/// B.4: a task manager without slots is idle from the start
#[test]
fn task_manager_without_slots_is_released_too() {
    let mut fixture = Fixture::with(idle_after(seconds(10)));
    fixture.register("tm", 7, &report("tm", &[]));
    falls_due_after(
        &mut fixture,
        seconds(10),
        &["may 7 go? #1", "release 7, idle since +0ns (1)"],
    );
    assert_eq!(fixture.manager.num_task_managers(), 0);
}

/// B.5
#[test]
fn request_that_is_rejected_again_and_again_fails_at_its_deadline() {
    // given: there is always a free slot, and it always refuses
    let mut fixture = Fixture::with(requests_expire_after(seconds(60)).with_retry_backoff(seconds(1), seconds(1)));
    let gateway = fixture.gateway();
    gateway.answer_requests(rejected());
    fixture.register_with("tm", 7, &report("tm", &[None, None]), &gateway);
    fixture.request(1, &small());

    // when
    for _ in 0..59 {
        fixture.advance(seconds(1));
    }
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
    assert_eq!(gateway.take_calls().len(), 2 + 59);

    // then: the notice says what the last answer was
    fixture.log.take();
    fixture.advance(seconds(1));
    let effects = fixture.log.take();
    let timed_out = AllocationFailureCause::RequestFailed(RequestFailure::Timeout {
        timeout: seconds(60),
        resource_profile: small(),
        last_failure: Some(SlotAllocationError::rejected("no")),
    });
    assert_eq!(failures(&effects), [(allocation(1), timed_out)]);
    assert_eq!(effects.len(), 1, "no other attempt: {effects:?}");

    // then: it is over
    fixture.advance(seconds(60));
    fixture.expect(&[]);
}

/// B.5
#[test]
fn deadline_stays_the_same_whatever_happens_to_a_request() {
    // given
    let mut fixture = Fixture::with(requests_expire_after(seconds(60)));
    fixture.advance(seconds(5));
    fixture.request(1, &small());
    let deadline = Timestamp::from_secs(65);
    let check = |fixture: &Fixture| {
        let pending = fixture.manager.pending_slot_request(allocation(1)).expect("pending");
        assert_eq!(pending.deadline(), deadline);
    };
    check(&fixture);

    // when: in flight, lost with its task manager, in flight again, failed, failed again and pausing
    fixture.advance(seconds(5));
    fixture.register_by_hand("gone", 1, &report("gone", &[None]));
    check(&fixture);
    fixture.advance(seconds(5));
    fixture.unregister(1);
    check(&fixture);
    let gateway = fixture.register_by_hand("tm", 2, &report("tm", &[None]));
    fixture.advance(seconds(5));
    fixture.answer(&gateway, 2, rejected());
    check(&fixture);
    fixture.answer(&gateway, 3, rejected());
    check(&fixture);

    // then
    fixture.log.take();
    fixture.clock.advance_to(Timestamp::from_nanos(deadline.as_nanos() - 1));
    fixture.run();
    fixture.expect(&["request tm_0 for 1 #4"]);
    fixture.advance(NANOSECOND);
    fixture.expect(&["failed 1: timeout", "free tm_0 of 1 #4"]);
}

/// B.6
#[test]
fn refused_request_leaves_no_deadline_behind() {
    // given
    let mut fixture = Fixture::with(requests_expire_after(seconds(10)));
    fixture
        .actions
        .answer_next_allocation(Err(ResourceManagerError::new("no quota")));

    // when
    let refused = fixture.try_request(1, 1, &small());

    // then
    assert!(matches!(refused, Err(SlotRequestError::Failed { .. })), "{refused:?}");
    assert_eq!(fixture.manager.next_deadline(), None);
    fixture.run();
    assert_eq!(fixture.clock.armed(), []);

    // then: the same id, requested again, has its own time
    fixture.advance(seconds(6));
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.log.take();
    falls_due_after(&mut fixture, seconds(10), &["failed 1: timeout"]);
}

/// B.6, on a retry
#[test]
fn request_that_is_refused_on_a_retry_leaves_no_deadline_behind() {
    // given: in flight to the only slot, which turns out to be held
    let mut fixture = Fixture::with(requests_expire_after(seconds(10)));
    fixture
        .actions
        .answer_allocations(Err(ResourceManagerError::new("no quota")));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.answer(&gateway, 1, crate::common::occupied(2));

    // then: told once, now by a notification
    fixture.expect(&[&ask(1), "failed 1: no quota"]);
    assert_eq!(fixture.manager.next_deadline(), None);
    fixture.advance(seconds(20));
    fixture.expect(&[]);
    assert_eq!(fixture.clock.armed(), []);
}

/// B.7
#[test]
fn every_timeout_is_exact() {
    // given: an RPC timeout
    let mut fixture = Fixture::with(patient().with_rpc_timeout(seconds(3)));
    fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();
    falls_due_after(
        &mut fixture,
        seconds(3),
        &["free tm_0 of 1 #1", "request tm_0 for 1 #2"],
    );

    // given: a promised worker that does not come
    let mut fixture = Fixture::with(patient().with_worker_registration_timeout(seconds(3)));
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(1, &small());
    fixture.expect(&[&ask(1)]);
    falls_due_after(&mut fixture, seconds(3), &[&ask(2)]);

    // given: a declined worker
    falls_due_after(&mut fixture, seconds(3), &[&ask(3)]);

    // given: a request that nothing serves
    let mut fixture = Fixture::with(requests_expire_after(seconds(3)));
    fixture.advance(NANOSECOND);
    fixture.request(1, &small());
    fixture.expect(&[&ask(1)]);
    falls_due_after(&mut fixture, seconds(3), &["failed 1: timeout"]);
}

/// B.7: an input never acts on time, the next drive does
#[test]
fn zero_timeout_is_due_when_the_manager_is_driven_next() {
    // given
    let mut fixture = Fixture::with(requests_expire_after(Duration::ZERO));
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    assert_eq!(fixture.request(2, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(1), &ask(2)]);

    // when, then
    assert_eq!(fixture.run(), 2);
    fixture.expect(&["failed 1: timeout", "failed 2: timeout"]);
}

/// B.7: what is armed again falls due a millisecond later at the earliest
#[test]
fn zero_timeouts_do_not_spin() {
    let millisecond = Duration::from_millis(1);

    // given: releases that are declined
    let mut fixture = Fixture::with(idle_after(Duration::ZERO));
    fixture.actions.answer_releases(Release::Declined);
    fixture.register_free("tm", 7, &[small()]);
    fixture.expect(&[]);
    let release = "release 7, idle since +0ns (1)";
    assert_eq!(fixture.run(), 1);
    fixture.expect(&["may 7 go? #1", release]);
    falls_due_after(&mut fixture, millisecond, &["may 7 go? #2", release]);

    // given: task executors that must answer at once and do not, and pauses of no length
    let mut fixture = Fixture::with(
        patient()
            .with_rpc_timeout(Duration::ZERO)
            .with_retry_backoff(Duration::ZERO, Duration::ZERO),
    );
    fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.expect(&["request tm_0 for 1 #1"]);
    assert_eq!(fixture.run(), 1);
    fixture.expect(&["free tm_0 of 1 #1", "request tm_0 for 1 #2"]);
    falls_due_after(&mut fixture, millisecond, &["free tm_0 of 1 #2"]);
    falls_due_after(&mut fixture, millisecond, &["request tm_0 for 1 #3"]);

    // given: workers that must register at once
    let mut fixture = Fixture::with(patient().with_worker_registration_timeout(Duration::ZERO));
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    fixture.request(1, &small());
    fixture.expect(&[&ask(1)]);
    assert_eq!(fixture.run(), 1);
    fixture.expect(&[&ask(2)]);
    falls_due_after(&mut fixture, millisecond, &[&ask(3)]);
}

/// B.7: what is too long for the clock means never
#[test]
fn infinite_timeouts_never_fall_due() {
    for forever in [Duration::MAX, Duration::from_nanos(u64::MAX)] {
        // given
        let config = SlotManagerConfig::default()
            .with_request_timeout(forever)
            .with_rpc_timeout(forever)
            .with_task_manager_timeout(forever)
            .with_worker_registration_timeout(forever)
            .with_retry_backoff(forever, forever);
        let mut fixture = Fixture::with(config);
        fixture.advance(seconds(1));
        fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
        fixture.request(1, &small());
        fixture.request(2, &small());
        fixture.register_by_hand("tm", 7, &report("tm", &[None]));
        fixture.register_by_hand("idle", 8, &report("idle", &[]));
        assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
        fixture.log.take();

        // when
        assert_eq!(fixture.manager.next_deadline(), None);
        assert_eq!(fixture.advance(Duration::MAX), 0);

        // then
        fixture.expect(&[]);
        assert_eq!(fixture.clock.armed(), []);
        assert_eq!(fixture.manager.num_pending_slot_requests(), 2);
    }
}

/// B.7: the manager stays at the latest time it saw
#[test]
fn clock_that_goes_back_moves_no_deadline() {
    // given
    let mut fixture = Fixture::with(requests_expire_after(seconds(10)));
    fixture.advance(seconds(100));
    fixture.request(1, &small());

    // when
    fixture.clock.set_now(Timestamp::from_secs(50));
    fixture.request(2, &small());
    fixture.run();
    fixture.log.take();

    // then: the second request came after the first, and its deadline is not before the other's
    let deadlines: Vec<_> = fixture
        .manager
        .pending_slot_requests()
        .map(|request| request.deadline())
        .collect();
    assert_eq!(deadlines, [Timestamp::from_secs(110); 2]);
    fixture.advance(seconds(59));
    fixture.expect(&[]);
    fixture.advance(seconds(1));
    fixture.expect(&["failed 1: timeout", "failed 2: timeout"]);
}

/// B.8: there is one delay, always that of the earliest deadline
#[test]
fn one_delay_is_armed_for_the_earliest_deadline() {
    // given
    let mut fixture = Fixture::with(
        requests_expire_after(seconds(30))
            .with_task_manager_timeout(seconds(20))
            .with_rpc_timeout(seconds(5)),
    );
    let armed_for = |fixture: &mut Fixture| {
        fixture.run();
        let armed = fixture.clock.armed();
        assert_eq!(armed.first().copied(), fixture.manager.next_deadline());
        assert!(armed.len() <= 1, "{armed:?}");
        armed.first().map(|deadline| deadline.since_origin().as_secs())
    };
    assert_eq!(armed_for(&mut fixture), None);

    // when, then: each step brings the earliest deadline forward or takes it away
    fixture.request(1, &small());
    assert_eq!(armed_for(&mut fixture), Some(30));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    assert_eq!(armed_for(&mut fixture), Some(5));
    fixture.answer(&gateway, 1, acknowledged());
    assert_eq!(armed_for(&mut fixture), None);
    fixture.free(&slot("tm", 0), 1);
    assert_eq!(armed_for(&mut fixture), Some(20));
    fixture.unregister(7);
    assert_eq!(armed_for(&mut fixture), None);
}

/// B.8
#[test]
fn no_timer_outlives_its_leadership() {
    // given: something of every kind is armed
    let mut fixture = Fixture::with(SlotManagerConfig::default());
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.register_by_hand("idle", 8, &report("idle", &[]));
    fixture.run();
    assert_eq!(fixture.clock.armed().len(), 1);

    // when
    fixture.step(SlotManager::suspend).expect("started");

    // then
    assert_eq!(fixture.clock.armed(), []);
    assert_eq!(fixture.manager.next_deadline(), None);
    fixture.log.take();
    fixture.start(2);
    assert_eq!(fixture.advance(seconds(10_000)), 0);
    fixture.expect(&[]);
    assert!(fixture.manager.task_manager(instance(7)).is_none());
}
