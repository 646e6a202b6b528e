//! Time: when deadlines fall due, in which order, and which events must not move them. Comments
//! name the defects of FLINK-5810's timers that the tests guard against.

use std::future::{Ready, ready};
use std::time::Duration;

use slot_manager::error::{ResourceManagerError, SlotAllocationError, SlotRequestError};
use slot_manager::message::{AllocationFailureCause, Release, RequestFailure, WorkerPromise};
use slot_manager::outcome::{AllocationStatus, SlotFreedOutcome};
use slot_manager::testing::{ManualScheduledExecutor, NotPending, RecordingActions, ScriptedGateway};
use slot_manager::{LeaderId, ScheduledExecutor, SlotManager, SlotManagerConfig, TaskExecutorConnection, Timestamp};

use crate::common::{
    Fixture, MILLISECOND, NANOSECOND, SECOND, acknowledged, allocation, ask, failures, in_flight, instance, occupied,
    patient, profile, rejected, report, request, slot, small,
};

fn requests_expire_after(timeout: Duration) -> SlotManagerConfig {
    patient().with_request_timeout(timeout)
}

// The deadline of a request.

#[test]
fn waiting_request_fails_exactly_at_its_deadline() {
    // given: a time that is no whole number of milliseconds
    let mut fixture = Fixture::with(requests_expire_after(3 * SECOND));
    fixture.clock.advance(5 * SECOND + NANOSECOND);
    fixture.request(1, &small());
    fixture.expect(&[&ask(1)]);

    // when, then
    fixture.falls_due_after(3 * SECOND, &["failed 1: timeout"]);
}

/// B.3
#[test]
fn request_that_expires_in_flight_fails_and_its_attempt_is_given_up() {
    // given: it waited at first; another request waits behind it
    let mut fixture = Fixture::with(requests_expire_after(10 * SECOND));
    fixture.request(1, &small());
    fixture.advance(SECOND);
    fixture.request(2, &small());
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
    fixture.log.take();

    // when, then: the failure is notified, and the slot is freed and goes to the other request
    fixture.falls_due_after(
        9 * SECOND,
        &["failed 1: timeout", "free tm_0 of 1 #1", "request tm_0 for 2 #2"],
    );
    assert_eq!(fixture.status(1), None);
    assert_eq!(gateway.answer(1, acknowledged()), Err(NotPending { attempt: 1 }));

    // then: it is in the way neither of the other request nor of its own id
    fixture.answer(&gateway, 2, acknowledged());
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&["granted 2 on tm_0", &ask(3)]);
    assert_eq!(gateway.pending(), []);
}

/// B.3: an answer that is ready at the deadline counts.
#[test]
fn answer_is_applied_before_a_deadline_of_the_same_time() {
    // given
    let mut fixture = Fixture::with(requests_expire_after(10 * SECOND).with_rpc_timeout(10 * SECOND));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.clock.advance(10 * SECOND);
    gateway.answer(1, acknowledged()).expect("in flight");
    assert_eq!(fixture.run(), 1);

    // then
    fixture.expect(&["granted 1 on tm_0"]);
}

/// B.5
#[test]
fn request_that_is_rejected_again_and_again_fails_at_its_deadline() {
    // given: a free slot whose task executor always refuses
    let mut fixture = Fixture::with(requests_expire_after(60 * SECOND).with_retry_backoff(SECOND, SECOND));
    let gateway = fixture.gateway();
    gateway.answer_requests(rejected());
    fixture.register_with("tm", 7, &report("tm", &[None, None]), &gateway);
    fixture.request(1, &small());

    // when
    for _ in 0..59 {
        fixture.advance(SECOND);
    }
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
    assert_eq!(gateway.take_calls().len(), 2 + 59);

    // then: no further attempt is made, and the notification carries the last answer
    fixture.log.take();
    fixture.advance(SECOND);
    let effects = fixture.log.take();
    let timed_out = AllocationFailureCause::RequestFailed(RequestFailure::Timeout {
        timeout: 60 * SECOND,
        resource_profile: small(),
        last_failure: Some(SlotAllocationError::rejected("no")),
    });
    assert_eq!(failures(&effects), [(allocation(1), timed_out)]);
    assert_eq!(effects.len(), 1, "{effects:?}");

    // then: it is over
    fixture.advance(60 * SECOND);
    fixture.expect_nothing();
}

/// B.5
#[test]
fn deadline_of_a_request_never_moves() {
    // given: requested at 5 s
    let mut fixture = Fixture::with(requests_expire_after(60 * SECOND));
    fixture.advance(5 * SECOND);
    fixture.request(1, &small());
    let check = |fixture: &Fixture| assert_eq!(fixture.ungranted(1).deadline(), Timestamp::from_secs(65));
    check(&fixture);

    // when, then: it is in flight, lost with its task manager, and in flight again
    fixture.advance(5 * SECOND);
    fixture.register_by_hand("gone", 1, &report("gone", &[None]));
    check(&fixture);
    fixture.advance(5 * SECOND);
    fixture.unregister(1);
    check(&fixture);
    let gateway = fixture.register_by_hand("tm", 2, &report("tm", &[None]));
    check(&fixture);

    // when, then: it fails twice, backs off, is in flight once more, and waits
    for attempt in [2, 3] {
        fixture.advance(5 * SECOND);
        fixture.answer(&gateway, attempt, rejected());
        check(&fixture);
    }
    fixture.advance(SECOND);
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
    check(&fixture);
    fixture.unregister(2);
    check(&fixture);

    // when: the time is over
    fixture.log.take();
    fixture
        .clock
        .advance_to(Timestamp::from_nanos(Timestamp::from_secs(65).as_nanos() - 1));
    fixture.run();
    check(&fixture);
    fixture.expect_nothing();
    fixture.advance(NANOSECOND);

    // then
    assert!(fixture.manager.pending_slot_request(allocation(1)).is_none());
    assert_eq!(
        failures(&fixture.log.take()),
        [(
            allocation(1),
            AllocationFailureCause::RequestFailed(RequestFailure::Timeout {
                timeout: 60 * SECOND,
                resource_profile: small(),
                last_failure: Some(SlotAllocationError::rejected("no")),
            })
        )]
    );
}

/// B.6
#[test]
fn refused_request_leaves_no_deadline_behind() {
    // given
    let mut fixture = Fixture::with(requests_expire_after(10 * SECOND));
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
    fixture.advance(6 * SECOND);
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.log.take();
    fixture.falls_due_after(10 * SECOND, &["failed 1: timeout"]);
}

/// B.6, on a retry
#[test]
fn request_that_is_refused_on_a_retry_leaves_no_deadline_behind() {
    // given: in flight to the only slot, which turns out to be allocated
    let mut fixture = Fixture::with(requests_expire_after(10 * SECOND));
    fixture
        .actions
        .answer_allocations(Err(ResourceManagerError::new("no quota")));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.answer(&gateway, 1, occupied(2));

    // then: one notification
    fixture.expect(&[&ask(1), "failed 1: no quota"]);
    assert_eq!(fixture.manager.next_deadline(), None);
    fixture.advance(20 * SECOND);
    fixture.expect_nothing();
    assert_eq!(fixture.clock.armed(), []);
}

/// B.42 (vii)
#[test]
fn requests_that_expire_together_all_fail_though_answers_come_at_once() {
    // given: three requests in flight, which expire together, and three that wait behind them
    let mut fixture = Fixture::with(requests_expire_after(60 * SECOND));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None; 3]));
    for id in [1, 2, 3] {
        fixture.request(id, &small());
    }
    fixture.advance(SECOND);
    for id in [4, 5, 6] {
        fixture.request(id, &small());
    }
    gateway.answer_requests(acknowledged());
    fixture.log.take();

    // when
    fixture.advance(59 * SECOND);

    // then
    fixture.expect(&[
        "failed 1: timeout",
        "failed 2: timeout",
        "failed 3: timeout",
        "free tm_0 of 1 #1",
        "free tm_1 of 2 #2",
        "free tm_2 of 3 #3",
        "request tm_0 for 4 #4",
        "request tm_1 for 5 #5",
        "request tm_2 for 6 #6",
        "granted 4 on tm_0",
        "granted 5 on tm_1",
        "granted 6 on tm_2",
    ]);
    assert_eq!(fixture.free(&slot("tm", 0), 4), SlotFreedOutcome::Freed);
}

// The other timeouts.

/// B.7
#[test]
fn attempt_is_given_up_exactly_at_the_rpc_timeout() {
    // given
    let mut fixture = Fixture::with(patient().with_rpc_timeout(3 * SECOND));
    fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();

    // when, then
    fixture.falls_due_after(3 * SECOND, &["free tm_0 of 1 #1", &ask(1)]);
}

#[test]
fn rpc_timeout_begins_anew_with_each_attempt() {
    // given: the second attempt begins at 4 s
    let mut fixture = Fixture::with(patient().with_rpc_timeout(5 * SECOND));
    let a = fixture.register_by_hand("a", 1, &report("a", &[None]));
    fixture.register_by_hand("b", 2, &report("b", &[None]));
    fixture.request(1, &small());
    fixture.advance(4 * SECOND);
    fixture.answer(&a, 1, rejected());
    fixture.log.take();

    // when, then: after this second failure it backs off
    fixture.falls_due_after(5 * SECOND, &["free b_0 of 1 #2"]);
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

/// B.7
#[test]
fn promised_slot_expires_exactly_at_the_worker_registration_timeout() {
    // given
    let mut fixture = Fixture::with(patient().with_worker_registration_timeout(3 * SECOND));
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(1, &profile(2.0, 0));
    let expiries: Vec<_> = fixture
        .manager
        .promised_slots()
        .map(|promise| promise.expires_at())
        .collect();
    assert_eq!(expiries, [Timestamp::from_secs(3)]);
    fixture.log.take();

    // when, then
    fixture.falls_due_after(3 * SECOND, &["withdraw 1", "ask 2 for {cpu: 2}"]);

    // when, then: the new worker request was declined
    fixture.falls_due_after(3 * SECOND, &["ask 3 for {cpu: 2}"]);
}

/// B.7
#[test]
fn declined_worker_request_is_repeated_exactly_after_the_worker_registration_timeout() {
    // given
    let mut fixture = Fixture::with(patient().with_worker_registration_timeout(3 * SECOND));
    fixture.request(1, &profile(2.0, 0));
    fixture.log.take();

    // when, then
    fixture.falls_due_after(3 * SECOND, &["ask 2 for {cpu: 2}"]);
    fixture.falls_due_after(3 * SECOND, &["ask 3 for {cpu: 2}"]);
}

/// B.34: each timeout changes one behaviour.
#[test]
fn timeouts_are_independent_of_each_other() {
    let keys = [
        "pekko.ask.timeout",
        "slotmanager.request-timeout",
        "resourcemanager.taskmanager-timeout",
        "resourcemanager.taskmanager-registration.timeout",
    ];
    let after_a_second = |short: Option<&str>| {
        // given: a request that waits (1), one in flight (2) and an idle task manager (8)
        let options = keys.map(|key| (key, if Some(key) == short { "1 s" } else { "inf" }));
        let mut fixture = Fixture::with(SlotManagerConfig::from_options(options).expect("valid"));
        fixture.request(1, &profile(9.0, 900));
        fixture.register_by_hand("tm", 7, &report("tm", &[None]));
        fixture.request(2, &small());
        fixture.register("idle", 8, &report("idle", &[]));
        fixture.log.take();

        // when
        fixture.advance(SECOND);
        fixture.brief_effects()
    };

    // then
    assert_eq!(after_a_second(None), [""; 0]);
    assert_eq!(
        after_a_second(Some("pekko.ask.timeout")),
        ["free tm_0 of 2 #1", &ask(2)]
    );
    assert_eq!(
        after_a_second(Some("slotmanager.request-timeout")),
        ["failed 1: timeout", "failed 2: timeout", "free tm_0 of 2 #1"]
    );
    assert_eq!(
        after_a_second(Some("resourcemanager.taskmanager-timeout")),
        ["may 8 go? #1", "release 8, idle since +0ns (1)"]
    );
    assert_eq!(
        after_a_second(Some("resourcemanager.taskmanager-registration.timeout")),
        ["ask 2 for {cpu: 9, task heap: 900 MiB}"]
    );
}

/// B.8
#[test]
fn no_timer_outlives_its_leadership() {
    // given: a deadline of every kind
    let mut fixture = Fixture::with(SlotManagerConfig::default());
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.register_by_hand("idle", 8, &report("idle", &[]));
    fixture.run();
    assert_eq!(fixture.clock.armed().len(), 1);

    // when
    fixture.suspend();

    // then
    assert_eq!(fixture.clock.armed(), []);
    assert_eq!(fixture.manager.next_deadline(), None);
    assert_eq!(fixture.advance(1000 * SECOND), 0);
    assert_eq!(fixture.clock.armed(), []);

    // then: nor does the next leadership know of any
    fixture.log.take();
    fixture.start(2);
    assert_eq!(fixture.advance(10_000 * SECOND), 0);
    fixture.expect_nothing();
    assert!(!fixture.is_registered(7));
}

// Late.

/// Several periods pass unseen. The manager counts new deadlines from the time at which it is
/// driven.
#[test]
fn manager_that_is_driven_late_makes_up_for_nothing() {
    // given
    let mut fixture = Fixture::with(
        patient()
            .with_task_manager_timeout(3 * SECOND)
            .with_worker_registration_timeout(2 * SECOND),
    );
    fixture.actions.answer_releases(Release::Declined);
    fixture.register_free("tm", 7, &[profile(0.5, 0)]);
    fixture.request(1, &profile(2.0, 0));
    fixture.log.take();

    // when
    assert_eq!(fixture.advance(100 * SECOND), 2);

    // then
    fixture.expect(&["ask 2 for {cpu: 2}", "may 7 go? #1", "release 7, idle since +0ns (1)"]);
    assert_eq!(fixture.manager.next_deadline(), Some(Timestamp::from_secs(102)));
    fixture.falls_due_after(2 * SECOND, &["ask 3 for {cpu: 2}"]);
}

#[test]
fn effects_of_overdue_deadlines_leave_in_the_order_of_their_kinds() {
    // given: the idle timeout falls due at 3 s, the request at 5 s
    let mut fixture = Fixture::with(requests_expire_after(5 * SECOND).with_task_manager_timeout(2 * SECOND));
    fixture.request(1, &profile(9.0, 0));
    fixture.advance(SECOND);
    fixture.register_free("tm", 7, &[small()]);
    fixture.log.take();
    fixture.actions.answer_releases(Release::Declined);

    // when
    assert_eq!(fixture.advance(9 * SECOND), 2);

    // then
    fixture.expect(&["failed 1: timeout", "may 7 go? #1", "release 7, idle since +1s (1)"]);
}

#[test]
fn retry_that_is_overtaken_by_the_deadline_in_the_same_round_is_not_made() {
    // given: the backoff ends at 5 s, the request at 10 s
    let config = requests_expire_after(10 * SECOND).with_retry_backoff(5 * SECOND, 5 * SECOND);
    let mut fixture = Fixture::with(config);
    fixture.register_free("tm", 1, &[small()]).answer_requests(rejected());
    fixture.request(1, &small());
    fixture.log.take();

    // when: the manager is driven at 20 s
    assert_eq!(fixture.advance(20 * SECOND), 2);

    // then: no slot request, and nothing to give up
    fixture.expect(&["failed 1: timeout"]);
}

#[test]
fn worker_is_not_requested_for_a_request_that_ends_in_the_same_round() {
    // given: the promised slot expires at 5 s, the request at 10 s
    let config = requests_expire_after(10 * SECOND).with_worker_registration_timeout(5 * SECOND);
    let mut fixture = Fixture::with(config);
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(1, &small());
    fixture.log.take();

    // when: the manager is driven at 20 s
    assert_eq!(fixture.advance(20 * SECOND), 2);

    // then
    fixture.expect(&["failed 1: timeout", "withdraw 1"]);
}

#[test]
fn backoffs_of_different_lengths_that_end_together_end_in_the_order_of_arming() {
    // given: 1 backs off for 100 ms from 50 ms on, 2 for 50 ms from 100 ms on, and there is one
    // slot, which was granted to 3 between
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(rejected());
    fixture.request(1, &small());
    fixture.advance(50 * MILLISECOND);
    fixture.advance(50 * MILLISECOND);
    gateway.answer_next(acknowledged());
    fixture.request(3, &small());
    fixture.free(&slot("tm", 0), 3);
    fixture.request(2, &small());
    let ends = [1, 2].map(|id| fixture.ungranted(id).backs_off_until());
    assert_eq!(ends, [Some(Timestamp::from_millis(150)); 2]);
    gateway.answer_requests(acknowledged());
    fixture.log.take();

    // when
    assert_eq!(fixture.advance(50 * MILLISECOND), 2);

    // then
    fixture.expect(&["request tm_0 for 1 #7", &ask(1), "granted 1 on tm_0"]);
}

// Zero and never.

/// B.7: an input never acts on time, the next drive does.
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

/// B.7: timeouts of zero do not spin.
#[test]
fn deadline_armed_while_a_time_is_handled_falls_due_a_millisecond_later_at_the_earliest() {
    // given: releases and worker requests, both declined
    let mut fixture = Fixture::with(
        patient()
            .with_worker_registration_timeout(Duration::ZERO)
            .with_task_manager_timeout(Duration::ZERO),
    );
    fixture.actions.answer_releases(Release::Declined);
    fixture.register_free("tm", 7, &[profile(0.5, 0)]);
    fixture.expect_nothing();
    fixture.request(1, &profile(2.0, 0));
    fixture.expect(&["ask 1 for {cpu: 2}"]);

    // when, then: armed by inputs, both are due at once, and armed again
    assert_eq!(fixture.run(), 2);
    fixture.expect(&["ask 2 for {cpu: 2}", "may 7 go? #1", "release 7, idle since +0ns (1)"]);
    assert_eq!(fixture.run(), 0);

    // when, then
    assert_eq!(fixture.advance(MILLISECOND - NANOSECOND), 0);
    assert_eq!(fixture.advance(NANOSECOND), 2);
    fixture.expect(&["ask 3 for {cpu: 2}", "may 7 go? #2", "release 7, idle since +0ns (1)"]);
}

/// B.7
#[test]
fn backoffs_and_attempts_of_zero_length_do_not_spin() {
    // given
    let mut fixture = Fixture::with(
        patient()
            .with_retry_backoff(Duration::ZERO, Duration::ZERO)
            .with_rpc_timeout(Duration::ZERO),
    );
    fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.expect(&["request tm_0 for 1 #1"]);

    // when, then: the worker backs off for the shortest time, and is tried again
    assert_eq!(fixture.run(), 1);
    fixture.expect(&["free tm_0 of 1 #1", &ask(1)]);
    assert_eq!(fixture.run(), 0);
    fixture.falls_due_after(MILLISECOND, &["request tm_0 for 1 #2"]);
    assert_eq!(fixture.run(), 0);

    // when, then: after the second failure the request backs off, too
    fixture.falls_due_after(MILLISECOND, &["free tm_0 of 1 #2"]);
    assert_eq!(fixture.advance(MILLISECOND - NANOSECOND), 0);
    assert_eq!(fixture.advance(NANOSECOND), 2);
    fixture.expect(&["request tm_0 for 1 #3"]);
    assert_eq!(fixture.run(), 0);
}

/// B.7
#[test]
fn promised_workers_that_must_register_at_once_do_not_spin() {
    // given
    let mut fixture = Fixture::with(patient().with_worker_registration_timeout(Duration::ZERO));
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    fixture.request(1, &small());
    fixture.expect(&[&ask(1)]);

    // when, then
    assert_eq!(fixture.run(), 1);
    fixture.expect(&["withdraw 1", &ask(2)]);
    fixture.falls_due_after(MILLISECOND, &["withdraw 2", &ask(3)]);
}

/// B.7: a timeout that is too long for the clock means never.
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
        fixture.advance(SECOND);
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
        fixture.expect_nothing();
        assert_eq!(fixture.clock.armed(), []);
        assert_eq!(fixture.manager.overview().pending_requests, 2);
    }
}

#[test]
fn deadline_beyond_the_range_of_the_clock_means_never() {
    // given: a deadline of every kind, a second before the clock overflows
    let mut fixture = Fixture::with(
        requests_expire_after(SECOND)
            .with_rpc_timeout(SECOND)
            .with_task_manager_timeout(SECOND)
            .with_worker_registration_timeout(SECOND)
            .with_retry_backoff(SECOND, SECOND),
    );
    fixture.clock.advance_to(Timestamp::from_nanos(u64::MAX - 5));
    fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(3, &profile(7.0, 0));
    fixture.register_free("idle", 2, &[profile(0.5, 0)]);
    fixture.log.take();
    assert_eq!(fixture.ungranted(1).deadline(), Timestamp::MAX);
    assert_eq!(fixture.manager.next_deadline(), None);

    // when, then
    assert_eq!(fixture.advance(Duration::MAX), 0);
    assert_eq!(fixture.advance(Duration::MAX), 0);
    fixture.expect_nothing();
    assert_eq!(fixture.clock.armed(), []);
}

// Clocks and delays that misbehave.

/// B.7: the manager stays at the latest time it saw.
#[test]
fn clock_that_goes_back_shortens_and_lengthens_nothing() {
    // given: at 10 s
    let mut fixture = Fixture::with(requests_expire_after(5 * SECOND).with_task_manager_timeout(6 * SECOND));
    fixture.advance(10 * SECOND);
    fixture.request(1, &profile(9.0, 0));

    // when
    fixture.clock.set_now(Timestamp::from_secs(4));
    fixture.request(2, &profile(9.0, 0));
    fixture.register_free("tm", 7, &[small()]);
    fixture.run();
    fixture.log.take();

    // then: the later request has no earlier deadline
    let deadlines = [1, 2].map(|id| fixture.ungranted(id).deadline());
    assert_eq!(deadlines, [Timestamp::from_secs(15); 2]);
    assert_eq!(fixture.idle_since(7), Some(Timestamp::from_secs(10)));

    // then: all falls due at its time
    fixture.clock.set_now(Timestamp::from_nanos(15_000_000_000 - 1));
    assert_eq!(fixture.run(), 0);
    fixture.clock.set_now(Timestamp::from_secs(15));
    assert_eq!(fixture.run(), 2);
    fixture.expect(&["failed 1: timeout", "failed 2: timeout"]);
    fixture.clock.set_now(Timestamp::from_secs(16));
    fixture.run();
    fixture.expect(&["may 7 go? #1", "release 7, idle since +10s (1)"]);
}

#[test]
fn overdue_deadline_stays_due_when_the_clock_goes_back() {
    // given: an input sees the time, and does not act on it
    let mut fixture = Fixture::with(requests_expire_after(5 * SECOND));
    fixture.request(1, &small());
    fixture.clock.advance(5 * SECOND);
    fixture.cancel(99);
    fixture.log.take();

    // when
    fixture.clock.set_now(Timestamp::from_secs(1));

    // then
    assert_eq!(fixture.run(), 1);
    fixture.expect(&["failed 1: timeout"]);
}

#[test]
fn nothing_falls_due_while_the_clock_stands_still() {
    // given
    let mut fixture = Fixture::with(requests_expire_after(NANOSECOND));
    fixture.request(1, &small());

    // when, then
    for _ in 0..3 {
        assert_eq!(fixture.run(), 0);
    }
    assert_eq!(fixture.advance(NANOSECOND), 1);
}

/// An executor whose delays are always ready.
struct Hasty(ManualScheduledExecutor);

impl ScheduledExecutor for Hasty {
    type Delay = Ready<()>;

    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn delay_until(&mut self, _: Timestamp) -> Ready<()> {
        ready(())
    }
}

#[test]
fn delay_that_ends_too_early_makes_nothing_fall_due_early_and_does_not_hang() {
    // given: a waiting request
    let clock = ManualScheduledExecutor::new();
    let config = requests_expire_after(5 * SECOND);
    let mut manager = SlotManager::new(config, Hasty(clock.clone())).expect("a valid configuration");
    let actions = RecordingActions::new();
    manager
        .start(LeaderId::from_u128(1), actions.clone())
        .expect("not started");
    let connection = TaskExecutorConnection::new("tm", instance(1), ScriptedGateway::new());
    manager
        .register_task_manager(connection, &report("tm", &[Some(7)]))
        .expect("a valid report");
    let accepted = manager.register_slot_request(request(1, 1, &small()));
    assert!(accepted.is_ok());
    actions.take();

    // when, then
    clock.advance(5 * SECOND - NANOSECOND);
    assert_eq!(manager.run_until_stalled(), 0);
    assert_eq!(actions.take(), []);
    clock.advance(NANOSECOND);
    assert_eq!(manager.run_until_stalled(), 1);
    assert_eq!(actions.take().len(), 1);
}
