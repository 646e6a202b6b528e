//! The specification by example: each test of Apache Flink's early `SlotManagerTest` as this crate
//! passes it. Comments name Flink's test, and describe where this crate behaves differently.

use std::time::Duration;

use slot_manager::error::{Conflict, ResourceManagerError, SlotRequestError};
use slot_manager::message::{AllocateSlot, AllocationFailureCause, RequestFailure};
use slot_manager::outcome::{
    AllocationStatus, CancelOutcome, ReportOutcome, SlotFreedOutcome, SlotRequestOutcome, UnregistrationOutcome,
};
use slot_manager::overview::SlotCounts;
use slot_manager::testing::{Effect, GatewayCall};
use slot_manager::view::SlotState;
use slot_manager::{LeaderId, SlotReport, SlotStatus, Timestamp};

use crate::common::{
    Fixture, acknowledged, allocation, ask, failures, granted, in_flight, instance, job, occupied, patient, profile,
    rejected, report, slot, small,
};

fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn moment_before(duration: Duration) -> Duration {
    duration - Duration::from_nanos(1)
}

fn registered_and_free(counts: SlotCounts) -> (usize, usize) {
    (counts.registered, counts.free)
}

/// testTaskManagerRegistration
#[test]
fn registered_slots_are_known_and_free() {
    // given
    let mut fixture = Fixture::new();
    let wide = profile(42.0, 1337);

    // when
    fixture.register_free("tm", 1, &[wide.clone(), wide.clone()]);

    // then
    assert_eq!(registered_and_free(fixture.manager.overview().slots.counts()), (2, 2));
    for number in 0..2 {
        let view = fixture.manager.slot(&slot("tm", number)).expect("registered");
        assert_eq!(view.resource_profile(), &wide);
        assert_eq!(view.state(), SlotState::Free);
    }
    assert_eq!(fixture.manager.overview().task_managers, 1);
    fixture.expect_nothing();
}

/// testTaskManagerUnregistration. Here the job of the lost grant is notified, and the request that
/// waits again causes a worker request.
#[test]
fn unregistered_task_manager_takes_its_slots_and_gives_its_requests_back() {
    // given: slot 0 allocated to 1, slot 1 in flight to 2 of another job
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[Some(1), None]));
    let accepted = fixture.try_request(2, 2, &small());
    assert_eq!(accepted, Ok(SlotRequestOutcome::Accepted(in_flight(&slot("tm", 1)))));
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(1)));
    let requested = SlotState::InFlight {
        allocation_id: allocation(2),
        job_id: job(2),
    };
    let view = fixture.manager.slot(&slot("tm", 1)).expect("registered");
    assert_eq!(view.state(), requested);
    fixture.expect(&["request tm_1 for 2 #1"]);

    // when
    let outcome = fixture.unregister(7);

    // then
    assert_eq!(outcome, UnregistrationOutcome::Unregistered);
    assert_eq!(registered_and_free(fixture.manager.overview().slots.counts()), (0, 0));
    assert_eq!(fixture.status(2), Some(AllocationStatus::Waiting));
    assert_eq!(fixture.status(1), None);
    assert_eq!(gateway.pending(), [], "the attempt is given up");
    fixture.expect(&["lost 1 on tm_0: unregistered", &ask(1)]);
}

/// testSlotRequestWithoutFreeSlots
#[test]
fn request_without_a_free_slot_causes_a_worker_request_of_its_profile() {
    // given
    let mut fixture = Fixture::new();

    // when
    let status = fixture.request(1, &profile(42.0, 1337));

    // then
    assert_eq!(status, AllocationStatus::Waiting);
    fixture.expect(&["ask 1 for {cpu: 42, task heap: 1337 MiB}"]);
}

/// testSlotRequestWithResourceAllocationFailure
#[test]
fn request_fails_if_its_worker_is_refused() {
    // given
    let mut fixture = Fixture::new();
    let refusal = ResourceManagerError::new("no quota");
    fixture.actions.answer_allocations(Err(refusal.clone()));

    // when
    let refused = fixture.try_request(1, 1, &small());

    // then: the outcome is the error, no notification is sent, and the request is unknown
    let failure = Box::new(RequestFailure::ResourceManager(refusal));
    assert_eq!(
        refused,
        Err(SlotRequestError::Failed {
            allocation_id: allocation(1),
            failure
        })
    );
    assert_eq!(fixture.status(1), None);
    assert_eq!(fixture.manager.overview().pending_requests, 0);
    fixture.expect(&[&ask(1)]);
}

/// testSlotRequestWithFreeSlot. The message has three more fields: instance id, attempt, and the
/// requested profile.
#[test]
fn request_is_sent_to_a_free_slot_and_granted_by_its_acknowledgement() {
    // given
    let mut fixture = Fixture::not_started(patient());
    fixture.start(77);
    fixture.register_free("tm", 7, &[profile(42.0, 1337)]);

    // when
    let status = fixture.request(1, &small());

    // then
    assert_eq!(status, granted(&slot("tm", 0)));
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(1)));
    let effects = fixture.log.take();
    let sent = AllocateSlot {
        slot_id: slot("tm", 0),
        job_id: job(1),
        allocation_id: allocation(1),
        resource_profile: small(),
        target_address: "job-master-1".into(),
        leader_id: LeaderId::from_u128(77),
        instance_id: instance(7),
        attempt: 1,
    };
    assert_eq!(effects[0], Effect::Gateway(GatewayCall::RequestSlot(sent)));
    assert_eq!(crate::common::brief(&effects[1..]), ["granted 1 on tm_0"]);
}

/// testUnregisterPendingSlotRequest. Here the task executor frees the slot of the attempt that was
/// given up.
#[test]
fn cancelled_request_sets_its_slot_free() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    assert_eq!(fixture.request(1, &small()), in_flight(&slot("tm", 0)));
    fixture.log.take();

    // when
    let outcome = fixture.cancel(1);

    // then
    assert_eq!(outcome, CancelOutcome::Cancelled);
    assert_eq!(fixture.status(1), None);
    assert!(fixture.is_free(&slot("tm", 0)));
    assert_eq!(gateway.pending(), []);
    fixture.expect(&["free tm_0 of 1 #1"]);
}

/// testFulfillingPendingSlotRequest
#[test]
fn waiting_request_is_served_by_a_task_manager_that_registers() {
    // given
    let mut fixture = Fixture::new();
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(1)]);

    // when
    fixture.register_free("tm", 7, &[profile(42.0, 1337)]);

    // then
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(1)));
    assert_eq!(fixture.manager.overview().pending_requests, 0);
}

/// testFreeSlot
#[test]
fn slot_is_freed_only_in_the_name_of_its_holder() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1)]));
    let held = slot("tm", 0);

    // when, then: another allocation frees nothing
    let outcome = fixture.free(&held, 2);
    assert_eq!(
        outcome,
        SlotFreedOutcome::HeldByAnother {
            allocation_id: allocation(1)
        }
    );
    assert_eq!(fixture.holder(&held), Some(allocation(1)));

    // when, then: the holder does
    assert_eq!(fixture.free(&held, 1), SlotFreedOutcome::Freed);
    assert_eq!(fixture.holder(&held), None);
    assert!(fixture.is_free(&held));
    fixture.expect_nothing();
}

/// testDuplicatePendingSlotRequest. Here a request whose job or profile differs from the known
/// request is an error, not `false`.
#[test]
fn duplicate_of_a_waiting_request_causes_no_second_worker_request() {
    // given
    let mut fixture = Fixture::new();
    fixture.request(1, &profile(1.0, 2));
    fixture.expect(&["ask 1 for {cpu: 1, task heap: 2 MiB}"]);
    let conflict = |conflict| SlotRequestError::Conflict {
        allocation_id: allocation(1),
        conflict,
        status: AllocationStatus::Waiting,
    };

    // when
    let same = fixture.try_request(1, 1, &profile(1.0, 2));
    let other_profile = fixture.try_request(1, 1, &profile(2.0, 1));
    let other_job = fixture.try_request(2, 1, &profile(1.0, 2));

    // then
    assert_eq!(same, Ok(SlotRequestOutcome::Duplicate(AllocationStatus::Waiting)));
    assert_eq!(other_profile, Err(conflict(Conflict::ResourceProfile)));
    assert_eq!(other_job, Err(conflict(Conflict::Job)));
    fixture.expect_nothing();
}

/// testDuplicatePendingSlotRequestAfterSlotReport
#[test]
fn request_for_an_allocation_that_a_report_shows_is_a_duplicate() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), None]));

    // when
    let duplicate = fixture.try_request(1, 1, &small());

    // then
    let known = granted(&slot("tm", 0));
    assert_eq!(duplicate, Ok(SlotRequestOutcome::Duplicate(known)));
    assert!(fixture.is_free(&slot("tm", 1)));
    fixture.expect_nothing();
}

/// testDuplicatePendingSlotRequestAfterSuccessfulAllocation. The profile of a granted request is
/// not kept, so it is no conflict.
#[test]
fn request_for_an_allocation_that_is_granted_is_a_duplicate() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 7, &[profile(1.0, 2)]);
    fixture.request(1, &profile(1.0, 2));
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);

    // when
    let duplicate = fixture.try_request(1, 1, &profile(2.0, 1));

    // then
    let known = granted(&slot("tm", 0));
    assert_eq!(duplicate, Ok(SlotRequestOutcome::Duplicate(known)));
    fixture.expect_nothing();
}

/// testAcceptingDuplicateSlotRequestAfterAllocationRelease
#[test]
fn allocation_that_was_freed_can_be_requested_again() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 7, &[profile(2.0, 2)]);
    fixture.request(1, &profile(2.0, 2));
    fixture.log.take();

    // when
    assert_eq!(fixture.free(&slot("tm", 0), 1), SlotFreedOutcome::Freed);
    assert_eq!(fixture.holder(&slot("tm", 0)), None);
    let status = fixture.request(1, &profile(2.0, 1));

    // then
    assert_eq!(status, granted(&slot("tm", 0)));
    fixture.expect(&["request tm_0 for 1 #2", "granted 1 on tm_0"]);
}

/// testReceivingUnknownSlotReport
#[test]
fn report_of_an_unknown_task_manager_changes_nothing() {
    // given
    let mut fixture = Fixture::new();

    // when
    let outcome = fixture.report(7, &report("tm", &[None]));

    // then
    assert_eq!(outcome, ReportOutcome::Unknown);
    assert_eq!(fixture.manager.overview().slots.counts(), SlotCounts::default());
    assert_eq!(fixture.manager.overview().task_managers, 0);
    fixture.expect_nothing();
}

/// testUpdateSlotReport
#[test]
fn report_brings_the_slots_up_to_date_in_any_order() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 7, &[small(), small()]);

    // when
    let listed_backwards = SlotReport::new(vec![
        SlotStatus::allocated(slot("tm", 1), small(), allocation(1), job(1)),
        SlotStatus::free(slot("tm", 0), small()),
    ]);
    let outcome = fixture.report(7, &listed_backwards);

    // then
    assert_eq!(outcome, ReportOutcome::Applied);
    assert_eq!(registered_and_free(fixture.manager.overview().slots.counts()), (2, 1));
    assert_eq!(fixture.holder(&slot("tm", 1)), Some(allocation(1)));
    assert!(fixture.is_free(&slot("tm", 0)));
    fixture.expect_nothing();
}

/// testTaskManagerTimeout. Here an accepted release removes the task manager and its slots at once.
#[test]
fn idle_task_manager_is_released_once_and_unknown_afterwards() {
    // given
    let timeout = milliseconds(50);
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(timeout));
    fixture.register_free("tm", 7, &[small()]);
    assert_eq!(fixture.advance(moment_before(timeout)), 0);
    fixture.expect_nothing();

    // when
    fixture.advance(Duration::from_nanos(1));

    // then
    fixture.expect(&["may 7 go? #1", "release 7, idle since +0ns (1)"]);
    assert_eq!(fixture.manager.overview().task_managers, 0);
    assert_eq!(fixture.manager.overview().slots.counts(), SlotCounts::default());

    // then: not again
    fixture.advance(10 * timeout);
    fixture.expect_nothing();
}

/// testSlotRequestTimeout
#[test]
fn waiting_request_fails_at_its_deadline() {
    // given
    let timeout = milliseconds(50);
    let mut fixture = Fixture::with(patient().with_request_timeout(timeout));
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    assert_eq!(fixture.advance(moment_before(timeout)), 0);
    fixture.expect(&[&ask(1)]);

    // when
    fixture.advance(Duration::from_nanos(1));

    // then
    let timed_out = AllocationFailureCause::RequestFailed(RequestFailure::Timeout {
        timeout,
        resource_profile: small(),
        last_failure: None,
    });
    let effects = fixture.log.take();
    assert_eq!(failures(&effects), [(allocation(1), timed_out)]);
    assert_eq!(effects.len(), 1);
    assert_eq!(fixture.status(1), None);
}

/// testTaskManagerSlotRequestTimeoutHandling
#[test]
fn request_whose_attempt_failed_tries_another_slot_at_once() {
    // given: two slots, and a request in flight to the first
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    fixture.request(1, &small());

    // when
    fixture.answer(&gateway, 1, rejected());

    // then: the other slot is in flight, the first is free
    fixture.expect(&["request tm_0 for 1 #1", "request tm_1 for 1 #2"]);
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 1))));
    assert!(fixture.is_free(&slot("tm", 0)));

    // when, then
    fixture.answer(&gateway, 2, acknowledged());
    fixture.expect(&["granted 1 on tm_1"]);
    assert_eq!(fixture.holder(&slot("tm", 1)), Some(allocation(1)));
    assert!(fixture.is_free(&slot("tm", 0)));
}

/// testSlotReportWhileActiveSlotRequest. Here the request goes to the other slot within the report,
/// and the first attempt is given up.
#[test]
fn request_whose_slot_is_reported_as_allocated_to_another_moves_on() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.report(7, &report("tm", &[Some(99), None]));

    // then
    fixture.expect(&["free tm_0 of 1 #1", "request tm_1 for 1 #2"]);
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(99)));

    // when, then
    fixture.answer(&gateway, 2, acknowledged());
    fixture.expect(&["granted 1 on tm_1"]);
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(99)));
    assert_eq!(fixture.holder(&slot("tm", 1)), Some(allocation(1)));
}

/// testTimeoutForUnusedTaskManager
#[test]
fn idle_period_begins_when_the_last_grant_is_freed() {
    // given: a waiting request, which takes a slot of the task manager that registers
    let timeout = milliseconds(123_456);
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(timeout));
    fixture.request(1, &small());
    fixture.register_free("tm", 7, &[small(), small()]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.log.take();

    // then: while it is granted, nothing is armed
    let idle_since = |fixture: &Fixture| {
        fixture
            .manager
            .task_manager(instance(7))
            .expect("registered")
            .idle_since()
    };
    assert_eq!(idle_since(&fixture), None);
    assert_eq!(fixture.advance(milliseconds(1000)), 0);
    assert_eq!(fixture.clock.armed(), []);

    // when
    fixture.free(&slot("tm", 0), 1);
    fixture.run();

    // then: exactly one delay, of the idle timeout
    assert_eq!(idle_since(&fixture), Some(Timestamp::from_secs(1)));
    assert_eq!(fixture.clock.armed(), [Timestamp::from_secs(1) + timeout]);
    assert_eq!(fixture.advance(moment_before(timeout)), 0);
    fixture.expect_nothing();
    fixture.advance(Duration::from_nanos(1));
    fixture.expect(&["may 7 go? #1", "release 7, idle since +1s (1)"]);
}

/// testTimeoutForRejectedSlotRequest. Here the deadline is absolute: counted from the registration,
/// armed from then on, and not begun anew by the retry.
#[test]
fn request_that_met_an_occupied_slot_fails_at_its_first_deadline() {
    // given: half the time has passed when the answer comes
    let timeout = milliseconds(1337);
    let mut fixture = Fixture::with(patient().with_request_timeout(timeout));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.run();
    let deadline = [Timestamp::ZERO + timeout];
    assert_eq!(fixture.clock.armed(), deadline);
    fixture.advance(milliseconds(700));

    // when
    fixture.answer(&gateway, 1, occupied(2));

    // then: the slot belongs to the other allocation, and a worker is requested
    fixture.expect(&["request tm_0 for 1 #1", &ask(1)]);
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(2)));
    assert_eq!(fixture.clock.armed(), deadline);

    // when, then
    fixture.advance(milliseconds(636));
    fixture.expect_nothing();
    fixture.advance(milliseconds(1));
    fixture.expect(&["failed 1: timeout"]);
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(2)));
}
