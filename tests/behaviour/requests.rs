//! A request from its registration to its end: duplicates, cancellation, notifications, the
//! messages about it, and the end of its job. Comments name the defects of FLINK-5810 that the
//! tests guard against.

use std::time::Duration;

use slot_manager::error::{Conflict, SlotAllocationError, SlotRequestError};
use slot_manager::message::{AllocateSlot, AllocationFailureCause, FreeSlot, GrantLoss, RequestFailure, WorkerPromise};
use slot_manager::outcome::{AllocationStatus, CancelOutcome, SlotRequestOutcome};
use slot_manager::testing::{
    Delivery, GatewayAnswer, ManualScheduledExecutor, RecordingActions, SimulatedTaskExecutor,
};
use slot_manager::{LeaderId, ResourceProfile, SlotManager, SlotRequest};

use crate::common::{
    Fixture, SECOND, acknowledged, allocation, ask, failures, frees, granted, in_flight, instance, job, patient,
    profile, rejected, report, request, slot, slot_requests, small,
};

// Duplicates (B.35): a request whose allocation id is known changes nothing. Its outcome names the
// state of the known request, or the difference between the two.

/// Checks that request 1, registered again, is a duplicate and changes nothing.
#[track_caller]
fn assert_duplicate(fixture: &mut Fixture, status: AllocationStatus) {
    let counts = |fixture: &Fixture| {
        let manager = &fixture.manager;
        (manager.overview().slots.counts(), manager.overview().pending_requests)
    };
    let counts_before = counts(fixture);
    fixture.log.take();
    assert_eq!(
        fixture.try_request(1, 1, &small()),
        Ok(SlotRequestOutcome::Duplicate(status.clone()))
    );
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(status));
    assert_eq!(counts(fixture), counts_before);
}

/// Checks that a request with the id of request 1 is a conflict and changes nothing.
#[track_caller]
fn assert_conflict(fixture: &mut Fixture, job: u128, cores: f64, conflict: Conflict) {
    let status = fixture.status(1).expect("a known allocation");
    let requests = fixture.manager.overview().pending_requests;
    fixture.log.take();
    assert_eq!(
        fixture.try_request(job, 1, &profile(cores, 100)),
        Err(SlotRequestError::Conflict {
            allocation_id: allocation(1),
            conflict,
            status: status.clone(),
        })
    );
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(status));
    assert_eq!(fixture.manager.overview().pending_requests, requests);
}

#[test]
fn duplicate_of_a_waiting_request() {
    // given
    let mut fixture = Fixture::new();
    fixture.request(1, &small());

    // when, then: another job counts before another profile
    assert_duplicate(&mut fixture, AllocationStatus::Waiting);
    assert_conflict(&mut fixture, 2, 1.0, Conflict::Job);
    assert_conflict(&mut fixture, 1, 2.0, Conflict::ResourceProfile);
    assert_conflict(&mut fixture, 2, 2.0, Conflict::Job);
}

#[test]
fn duplicate_of_a_request_that_is_bound_to_a_promised_slot() {
    // given
    let mut fixture = Fixture::new();
    fixture.promise_next(&[small(), small()]);
    fixture.request(1, &small());

    // when, then: the other promised slot stays free
    assert_duplicate(&mut fixture, AllocationStatus::Waiting);
    assert_eq!(fixture.promised(), (1, 1));
}

#[test]
fn duplicate_of_a_request_in_flight() {
    // given: a free slot besides
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 1, &report("tm", &[None, None]));
    fixture.request(1, &small());

    // when, then
    assert_duplicate(&mut fixture, in_flight(&slot("tm", 0)));
    assert_conflict(&mut fixture, 2, 1.0, Conflict::Job);
    assert_conflict(&mut fixture, 1, 0.5, Conflict::ResourceProfile);
}

#[test]
fn duplicate_of_a_request_that_backs_off() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]).answer_requests(rejected());
    fixture.request(1, &small());

    // when, then
    assert_duplicate(&mut fixture, AllocationStatus::Waiting);
    assert_conflict(&mut fixture, 1, 0.5, Conflict::ResourceProfile);
}

/// The manager does not keep the profile of a granted request, so another profile is no conflict.
#[test]
fn duplicate_of_a_granted_request() {
    // given: a free slot besides
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.request(1, &small());

    // when, then
    let status = granted(&slot("tm", 0));
    assert_duplicate(&mut fixture, status.clone());
    assert_conflict(&mut fixture, 2, 1.0, Conflict::Job);
    assert_eq!(
        fixture.try_request(1, 1, &profile(7.0, 0)),
        Ok(SlotRequestOutcome::Duplicate(status))
    );
    fixture.expect_nothing();
    assert_eq!(fixture.manager.overview().pending_requests, 0);
}

#[test]
fn duplicate_of_an_allocation_that_only_a_report_has_shown() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None, Some(1)]));

    // when, then
    assert_duplicate(&mut fixture, granted(&slot("tm", 1)));
    assert_conflict(&mut fixture, 2, 1.0, Conflict::Job);
}

#[test]
fn conflict_describes_the_difference_and_the_state_of_the_known_allocation() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);
    fixture.request(1, &small());

    // when
    let error = fixture.try_request(2, 1, &small()).expect_err("another job");

    // then
    assert_eq!(
        error.to_string(),
        "allocation 00000000000000000000000000000001 is already known with another job; it is granted on slot tm_0"
    );
}

/// B.35: a duplicate does not prolong the known request.
#[test]
fn duplicate_does_not_move_the_deadline() {
    // given
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
    fixture.request(1, &small());
    fixture.advance(9 * SECOND);

    // when
    let _ = fixture.try_request(1, 1, &small());

    // then
    fixture.advance(SECOND);
    fixture.expect(&[&ask(1), "failed 1: timeout"]);
}

/// B.35: another address does not make another request.
#[test]
fn duplicate_may_name_another_address() {
    // given
    let mut fixture = Fixture::new();
    fixture.request(1, &small());

    // when
    let moved = SlotRequest::new(job(1), allocation(1), small(), "elsewhere");
    let outcome = fixture.step(|manager| manager.register_slot_request(moved));

    // then: the known request keeps its address
    assert_eq!(outcome, Ok(SlotRequestOutcome::Duplicate(AllocationStatus::Waiting)));
    fixture.register_free("tm", 7, &[small()]);
    let sent = slot_requests(&fixture.log.take());
    assert_eq!(&*sent[0].target_address, "job-master-1");
}

/// B.35: the id of a request or grant that has ended can be used again, by any job and with any
/// profile.
#[test]
fn id_is_unknown_after_the_end_of_its_request_or_grant() {
    fn cancelled(fixture: &mut Fixture) {
        assert_eq!(fixture.cancel(1), CancelOutcome::Cancelled);
    }
    fn expired(fixture: &mut Fixture) {
        fixture.advance(10 * SECOND);
    }
    fn granted_and_lost(fixture: &mut Fixture) {
        fixture.register_free("tm", 7, &[small()]);
        fixture.unregister(7);
    }
    fn granted_and_freed(fixture: &mut Fixture) {
        fixture.register_free("tm", 7, &[small()]);
        fixture.free(&slot("tm", 0), 1);
    }
    type End = fn(&mut Fixture);
    let ends: [(End, AllocationStatus); 4] = [
        (cancelled, AllocationStatus::Waiting),
        (expired, AllocationStatus::Waiting),
        (granted_and_lost, AllocationStatus::Waiting),
        (granted_and_freed, granted(&slot("tm", 0))),
    ];
    for (end, expected) in ends {
        // given
        let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
        fixture.request(1, &small());
        end(&mut fixture);

        // when
        let other_job = fixture.try_request(2, 1, &profile(0.5, 0));

        // then
        assert_eq!(other_job, Ok(SlotRequestOutcome::Accepted(expected)));
    }
}

// Cancellation.

/// B.35
#[test]
fn cancellation_reports_the_state_it_met() {
    // given: 1 granted by request, 2 known from a report, 3 waiting
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[None, Some(2)]));
    fixture.request(1, &small());
    fixture.request(3, &small());
    fixture.log.take();

    // when, then
    let slot_id = slot("tm", 0);
    assert_eq!(fixture.cancel(1), CancelOutcome::AlreadyGranted { slot_id });
    let slot_id = slot("tm", 1);
    assert_eq!(fixture.cancel(2), CancelOutcome::AlreadyGranted { slot_id });
    assert_eq!(fixture.cancel(3), CancelOutcome::Cancelled);
    assert_eq!(fixture.cancel(3), CancelOutcome::Unknown);
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(1)));
    fixture.expect_nothing();
}

// Notifications.

/// B.36
#[test]
fn failure_is_notified_with_its_cause() {
    // given: in flight again after two rejections
    let timeout = 10 * SECOND;
    let mut fixture = Fixture::with(patient().with_request_timeout(timeout));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    let error = SlotAllocationError::rejected("disk full");
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, Err(error.clone()));
    fixture.advance(SECOND);
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));

    // when
    fixture.advance(timeout - SECOND);

    // then: with the last failure
    let notified = failures(&fixture.log.take());
    let cause = AllocationFailureCause::RequestFailed(RequestFailure::Timeout {
        timeout,
        resource_profile: small(),
        last_failure: Some(error),
    });
    assert_eq!(notified, [(allocation(1), cause.clone())]);
    let text = cause.to_string();
    for part in ["10s", "cpu: 1", "disk full"] {
        assert!(text.contains(part), "{text}");
    }
}

/// B.36
#[test]
fn grants_lost_with_their_task_manager_are_notified_once_each() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(3), Some(1), None]));
    fixture.request(2, &small());
    fixture.log.take();

    // when
    let cause = "heartbeat timed out";
    let _ = fixture.step(|manager| manager.unregister_task_manager(instance(7), cause));

    // then: in the order of the slots, with the given cause
    let notified = failures(&fixture.log.take());
    let expected = [(3, 0), (1, 1), (2, 2)].map(|(id, number)| {
        let loss = GrantLoss::TaskManagerUnregistered {
            instance_id: instance(7),
            cause: cause.into(),
        };
        let slot_id = slot("tm", number);
        (allocation(id), AllocationFailureCause::GrantLost { slot_id, loss })
    });
    assert_eq!(notified, expected);
    assert!(notified[0].1.to_string().contains(cause));

    // then: later messages about the grants notify nothing
    fixture.unregister(7);
    fixture.free(&slot("tm", 0), 3);
    fixture.expect_nothing();
}

/// B.36: ends that the job caused are not notified.
#[test]
fn ends_that_the_job_knows_of_are_silent() {
    // given: a grant and a waiting request
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 7, &[small()]);
    fixture.request(1, &small());
    fixture.request(2, &profile(9.0, 900));
    fixture.log.take();

    // when
    fixture.free(&slot("tm", 0), 1);
    fixture.cancel(2);
    fixture.advance(1000 * SECOND);

    // then
    fixture.expect_nothing();
}

// Messages.

/// B.37
#[test]
fn messages_to_task_executors_carry_leader_registration_and_attempt() {
    // given: the second leadership, and a registration that replaced another
    let mut fixture = Fixture::new();
    fixture.suspend();
    fixture.start(2);
    fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.register_by_hand("tm", 8, &report("tm", &[None]));
    let needed = ResourceProfile::builder().cpu_cores(0.5).build().expect("valid");

    // when
    let _ = fixture.step(|manager| manager.register_slot_request(request(3, 1, &needed)));
    fixture.cancel(1);
    let _ = fixture.step(|manager| manager.register_slot_request(request(3, 1, &needed)));

    // then
    let effects = fixture.log.take();
    let sent = |attempt| AllocateSlot {
        slot_id: slot("tm", 0),
        job_id: job(3),
        allocation_id: allocation(1),
        resource_profile: needed.clone(),
        target_address: "job-master-3".into(),
        leader_id: LeaderId::from_u128(2),
        instance_id: instance(8),
        attempt,
    };
    assert_eq!(slot_requests(&effects), [sent(1), sent(2)]);
    let given_up = FreeSlot {
        slot_id: slot("tm", 0),
        job_id: job(3),
        allocation_id: allocation(1),
        leader_id: LeaderId::from_u128(2),
        instance_id: instance(8),
        attempt: 1,
    };
    assert_eq!(frees(&effects), [given_up]);
}

/// B.37, seen from the task executor: it refuses a request that was sent before it registered
/// again.
#[test]
fn request_meant_for_an_earlier_registration_is_not_honoured() {
    // given: a request on its way to registration 7
    let clock = ManualScheduledExecutor::new();
    let executor = SimulatedTaskExecutor::new("tm", [small(), small()], clock.clone());
    executor.set_delivery(Delivery::Manual);
    let leader = LeaderId::from_u128(1);
    let mut manager = SlotManager::new(patient(), clock).expect("valid");
    manager.start(leader, RecordingActions::new()).expect("not started");
    manager
        .register_task_manager(executor.connect(leader, instance(7)), &executor.slot_report())
        .expect("valid");
    let _ = manager
        .register_slot_request(request(1, 1, &small()))
        .expect("accepted");

    // when: it registers again, and the new attempt goes to another slot
    let connection = executor.connect(leader, instance(8));
    let _ = manager
        .register_slot_request(request(1, 2, &small()))
        .expect("accepted");
    manager
        .register_task_manager(connection, &executor.slot_report())
        .expect("valid");
    executor.deliver_all();
    manager.run_until_stalled();
    manager.check_invariants().expect("consistent");

    // then: each allocation holds one slot, and the manager knows which
    for id in [1, 2] {
        let held: Vec<_> = (0..2)
            .filter(|number| executor.current_allocation(*number) == Some(allocation(id)))
            .collect();
        assert_eq!(held.len(), 1);
        assert_eq!(
            manager.allocation_status(allocation(id)),
            Some(granted(&slot("tm", held[0])))
        );
    }
}

// The end of a job (B.33).

/// Returns how many requests end with job `number`.
#[track_caller]
fn unregister_job(fixture: &mut Fixture, number: u128) -> usize {
    fixture.step(|manager| manager.unregister_job(job(number)))
}

/// Registers a request of `job` for `cores`.
#[track_caller]
fn request_cores(fixture: &mut Fixture, job: u128, id: u128, cores: f64) {
    assert!(fixture.try_request(job, id, &profile(cores, 0)).is_ok());
}

/// B.33
#[test]
fn unregistered_job_takes_its_ungranted_requests_along() {
    // given: of job 1 one granted, two in flight and one bound to a promised slot; of job 2 three
    // waiting
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None, None, None]));
    gateway.answer_next(acknowledged());
    for (job, id) in [(1, 1), (1, 2), (1, 3)] {
        let _ = fixture.try_request(job, id, &small()).expect("accepted");
    }
    let _ = fixture.try_request(2, 4, &small()).expect("accepted");
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    let _ = fixture.try_request(1, 5, &small()).expect("accepted");
    let _ = fixture.try_request(2, 6, &small()).expect("accepted");
    let _ = fixture.try_request(2, 7, &small()).expect("accepted");
    assert_eq!(fixture.status(3), Some(in_flight(&slot("tm", 2))));
    fixture.log.take();

    // when
    assert_eq!(unregister_job(&mut fixture, 1), 3);

    // then: slots and promised slot go to the other job, oldest request first
    fixture.expect(&[
        "free tm_1 of 2 #2",
        "free tm_2 of 3 #3",
        "request tm_1 for 4 #4",
        "request tm_2 for 6 #5",
    ]);
    let promise = fixture.manager.promised_slots().next().expect("one");
    assert_eq!(promise.bound_to(), Some(allocation(7)));

    // then: its grant stays
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    for id in [2, 3, 5] {
        assert_eq!(fixture.status(id), None);
    }
    assert_eq!(fixture.manager.overview().pending_requests, 3);

    // then: nothing of it is left, and other jobs are not concerned
    assert_eq!(unregister_job(&mut fixture, 1), 0);
    assert_eq!(unregister_job(&mut fixture, 3), 0);
    assert_eq!(fixture.manager.overview().pending_requests, 3);
    fixture.expect_nothing();

    // then: it can come back and use its ids again
    assert_eq!(fixture.request(2, &profile(2.0, 0)), AllocationStatus::Waiting);
    fixture.expect(&["ask 5 for {cpu: 2}"]);
    assert_eq!(unregister_job(&mut fixture, 1), 1);
}

#[test]
fn ungranted_requests_of_an_unregistered_job_end_in_every_state_without_a_notification() {
    // given: 11 backs off, 12 is in flight, 13 waits, 14 is bound to a promised slot
    let mut fixture = Fixture::new();
    fixture
        .register_free("other", 2, &[profile(2.0, 0)])
        .answer_requests(GatewayAnswer::ByHand);
    request_cores(&mut fixture, 1, 12, 2.0);
    let gateway = fixture.register_free("tm", 1, &[profile(1.0, 0)]);
    gateway.answer_requests(rejected());
    request_cores(&mut fixture, 1, 11, 1.0);
    assert!(fixture.ungranted(11).backs_off_until().is_some());
    request_cores(&mut fixture, 1, 13, 3.0);
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    request_cores(&mut fixture, 1, 14, 4.0);
    request_cores(&mut fixture, 2, 21, 5.0);
    fixture.log.take();

    // when
    assert_eq!(unregister_job(&mut fixture, 1), 4);

    // then
    fixture.expect(&["free other_0 of 12 #1", "withdraw 2"]);
    for id in 11..=14 {
        assert_eq!(fixture.status(id), None);
    }
    assert_eq!(fixture.status(21), Some(AllocationStatus::Waiting));
    assert_eq!(fixture.manager.overview().pending_requests, 1);
    assert_eq!(fixture.manager.overview().slots.free.slots, 2);
    assert_eq!(fixture.promised(), (0, 1));
}

#[test]
fn slots_of_an_unregistered_job_go_to_other_jobs_in_one_matching() {
    // given: 13 waits for a slot before the requests of other jobs
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 1, &report("tm", &[None, None]));
    for (job, id) in [(1, 11), (1, 12), (1, 13), (2, 21), (3, 31), (2, 22)] {
        request_cores(&mut fixture, job, id, 1.0);
    }
    fixture.log.take();

    // when
    assert_eq!(unregister_job(&mut fixture, 1), 3);

    // then: 13 gets nothing
    fixture.expect(&[
        "free tm_0 of 11 #1",
        "free tm_1 of 12 #2",
        "request tm_0 for 21 #3",
        "request tm_1 for 31 #4",
    ]);
}

#[test]
fn grants_of_an_unregistered_job_stay_until_they_are_freed() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);
    fixture.request(1, &small());
    fixture.log.take();

    // when, then
    assert_eq!(unregister_job(&mut fixture, 1), 0);
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));

    // when, then
    fixture.free(&slot("tm", 0), 1);
    assert!(fixture.is_free(&slot("tm", 0)));
}

#[test]
fn unregistering_a_job_counts_only_requests_that_are_still_ungranted() {
    // given: 11 is cancelled, 12 granted, 13 waiting
    let mut fixture = Fixture::new();
    request_cores(&mut fixture, 1, 11, 9.0);
    request_cores(&mut fixture, 1, 12, 1.0);
    request_cores(&mut fixture, 1, 13, 1.0);
    fixture.cancel(11);
    fixture.register_free("tm", 1, &[small()]);

    // when, then
    assert_eq!(unregister_job(&mut fixture, 1), 1);
}

/// B.33, for a request that backs off
#[test]
fn unregistered_job_leaves_no_retry_behind() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 7, &[small()]).answer_requests(rejected());
    fixture.request(1, &small());
    fixture.log.take();

    // when
    assert_eq!(unregister_job(&mut fixture, 1), 1);

    // then
    assert_eq!(fixture.manager.next_deadline(), None);
    fixture.advance(Duration::from_secs(100));
    fixture.expect_nothing();
}
