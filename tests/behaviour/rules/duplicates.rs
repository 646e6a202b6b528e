//! A request whose allocation id is known: what the known one is doing, or how they differ; nothing changes.

use slot_manager::testing::GatewayAnswer;
use slot_manager::{
    AllocationStatus, Conflict, SlotAllocationError, SlotRequestError, SlotRequestOutcome, WorkerPromise,
};

use crate::common::{Fixture, allocation, granted, in_flight, profile, report, slot, small};

#[track_caller]
fn assert_duplicate(fixture: &mut Fixture, status: AllocationStatus) {
    let counts = (
        fixture.manager.slot_counts(),
        fixture.manager.num_pending_slot_requests(),
    );
    fixture.log.take();
    assert_eq!(
        fixture.try_request(1, 1, &small()),
        Ok(SlotRequestOutcome::Duplicate(status.clone()))
    );
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(status));
    assert_eq!(
        counts,
        (
            fixture.manager.slot_counts(),
            fixture.manager.num_pending_slot_requests()
        )
    );
}

#[track_caller]
fn assert_conflict(fixture: &mut Fixture, job: u128, needs: f64, conflict: Conflict) {
    let status = fixture.status(1).expect("it is known");
    fixture.log.take();
    assert_eq!(
        fixture.try_request(job, 1, &profile(needs, 100)),
        Err(SlotRequestError::Conflict {
            allocation_id: allocation(1),
            conflict,
            status: status.clone(),
        })
    );
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(status));
}

#[test]
fn of_a_waiting_request() {
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    assert_duplicate(&mut fixture, AllocationStatus::Waiting);
    assert_conflict(&mut fixture, 2, 1.0, Conflict::Job);
    assert_conflict(&mut fixture, 1, 2.0, Conflict::ResourceProfile);
    assert_conflict(&mut fixture, 2, 2.0, Conflict::Job);
}

#[test]
fn of_a_request_that_a_promise_covers() {
    let mut fixture = Fixture::new();
    fixture
        .actions
        .answer_next_allocation(Ok(WorkerPromise::Slots(vec![small(); 2])));
    fixture.request(1, &small());
    assert_duplicate(&mut fixture, AllocationStatus::Waiting);
    assert_eq!(fixture.manager.promised_slot_counts().bound, 1);
}

#[test]
fn of_a_request_in_flight() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small(), small()])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    assert_duplicate(&mut fixture, in_flight(&slot("tm", 0)));
    assert_conflict(&mut fixture, 2, 1.0, Conflict::Job);
    assert_conflict(&mut fixture, 1, 0.5, Conflict::ResourceProfile);
}

#[test]
fn of_a_pausing_request() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small()])
        .answer_requests(Err(SlotAllocationError::rejected("no")));
    fixture.request(1, &small());
    assert_duplicate(&mut fixture, AllocationStatus::Waiting);
    assert_conflict(&mut fixture, 1, 0.5, Conflict::ResourceProfile);
}

#[test]
fn of_a_grant() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.request(1, &small());
    assert_duplicate(&mut fixture, granted(&slot("tm", 0)));
    assert_conflict(&mut fixture, 2, 1.0, Conflict::Job);
}

#[test]
fn of_a_grant_with_another_profile_is_no_conflict() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.request(1, &small());
    assert_eq!(
        fixture.try_request(1, 1, &profile(7.0, 0)),
        Ok(SlotRequestOutcome::Duplicate(granted(&slot("tm", 0))))
    );
}

#[test]
fn of_an_allocation_that_only_a_report_told_of() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None, Some(1)]));
    assert_duplicate(&mut fixture, granted(&slot("tm", 1)));
    assert_conflict(&mut fixture, 2, 1.0, Conflict::Job);
}

#[test]
fn a_conflict_says_in_words_what_differs_and_what_the_known_one_is_doing() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);
    fixture.request(1, &small());
    let error = fixture.try_request(2, 1, &small()).expect_err("another job");
    assert_eq!(
        error.to_string(),
        "allocation 00000000000000000000000000000001 is already known with another job, and is granted on slot tm_0"
    );
}

#[test]
fn an_id_is_free_again_after_its_request_or_grant_has_ended() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);
    fixture.request(1, &small());
    fixture.free(&slot("tm", 0), 1);
    assert_eq!(
        fixture.try_request(2, 1, &profile(0.5, 0)),
        Ok(SlotRequestOutcome::Accepted(granted(&slot("tm", 0))))
    );
    fixture.unregister(1);
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.cancel(1);
    assert_eq!(
        fixture.try_request(3, 1, &small()),
        Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting))
    );
}
