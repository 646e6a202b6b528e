//! A request whose allocation id is known: what the known one is doing, or how they differ; nothing changes.

use slot_manager::testing::GatewayAnswer;
use slot_manager::{
    AllocationStatus, Conflict, SlotAllocationError, SlotRequestError, SlotRequestOutcome, WorkerPromise,
};

use crate::common::{Fixture, allocation, granted, in_flight, profile, report, slot, small};

const NOTHING: [&str; 0] = [];

#[track_caller]
fn assert_duplicate(f: &mut Fixture, status: AllocationStatus) {
    let counts = (f.manager.slot_counts(), f.manager.num_pending_slot_requests());
    f.said();
    assert_eq!(
        f.try_request(1, 1, &small()),
        Ok(SlotRequestOutcome::Duplicate(status.clone()))
    );
    assert_eq!(f.said(), NOTHING);
    assert_eq!(f.status(1), Some(status));
    assert_eq!(counts, (f.manager.slot_counts(), f.manager.num_pending_slot_requests()));
}

#[track_caller]
fn assert_conflict(f: &mut Fixture, job: u128, needs: f64, conflict: Conflict) {
    let status = f.status(1).expect("it is known");
    f.said();
    assert_eq!(
        f.try_request(job, 1, &profile(needs, 100)),
        Err(SlotRequestError::Conflict {
            allocation_id: allocation(1),
            conflict,
            status: status.clone(),
        })
    );
    assert_eq!(f.said(), NOTHING);
    assert_eq!(f.status(1), Some(status));
}

#[test]
fn of_a_waiting_request() {
    let mut f = Fixture::new();
    f.request(1, &small());
    assert_duplicate(&mut f, AllocationStatus::Waiting);
    assert_conflict(&mut f, 2, 1.0, Conflict::Job);
    assert_conflict(&mut f, 1, 2.0, Conflict::ResourceProfile);
    assert_conflict(&mut f, 2, 2.0, Conflict::Job);
}

#[test]
fn of_a_request_that_a_promise_covers() {
    let mut f = Fixture::new();
    f.actions
        .answer_next_allocation(Ok(WorkerPromise::Slots(vec![small(); 2])));
    f.request(1, &small());
    assert_duplicate(&mut f, AllocationStatus::Waiting);
    assert_eq!(f.manager.promised_slot_counts().bound, 1);
}

#[test]
fn of_a_request_in_flight() {
    let mut f = Fixture::new();
    f.register_free("tm", 1, &[small(), small()])
        .answer_requests(GatewayAnswer::ByHand);
    f.request(1, &small());
    assert_duplicate(&mut f, in_flight(&slot("tm", 0)));
    assert_conflict(&mut f, 2, 1.0, Conflict::Job);
    assert_conflict(&mut f, 1, 0.5, Conflict::ResourceProfile);
}

#[test]
fn of_a_pausing_request() {
    let mut f = Fixture::new();
    f.register_free("tm", 1, &[small()])
        .answer_requests(Err(SlotAllocationError::rejected("no")));
    f.request(1, &small());
    assert_duplicate(&mut f, AllocationStatus::Waiting);
    assert_conflict(&mut f, 1, 0.5, Conflict::ResourceProfile);
}

#[test]
fn of_a_grant() {
    let mut f = Fixture::new();
    f.register_free("tm", 1, &[small(), small()]);
    f.request(1, &small());
    assert_duplicate(&mut f, granted(&slot("tm", 0)));
    assert_conflict(&mut f, 2, 1.0, Conflict::Job);
}

#[test]
fn of_a_grant_with_another_profile_is_no_conflict() {
    let mut f = Fixture::new();
    f.register_free("tm", 1, &[small(), small()]);
    f.request(1, &small());
    assert_eq!(
        f.try_request(1, 1, &profile(7.0, 0)),
        Ok(SlotRequestOutcome::Duplicate(granted(&slot("tm", 0))))
    );
}

#[test]
fn of_an_allocation_that_only_a_report_told_of() {
    let mut f = Fixture::new();
    f.register("tm", 1, &report("tm", &[None, Some(1)]));
    assert_duplicate(&mut f, granted(&slot("tm", 1)));
    assert_conflict(&mut f, 2, 1.0, Conflict::Job);
}

#[test]
fn a_conflict_says_in_words_what_differs_and_what_the_known_one_is_doing() {
    let mut f = Fixture::new();
    f.register_free("tm", 1, &[small()]);
    f.request(1, &small());
    let error = f.try_request(2, 1, &small()).expect_err("another job");
    assert_eq!(
        error.to_string(),
        "allocation 00000000000000000000000000000001 is already known with another job, and is granted on slot tm_0"
    );
}

#[test]
fn an_id_is_free_again_after_its_request_or_grant_has_ended() {
    let mut f = Fixture::new();
    f.register_free("tm", 1, &[small()]);
    f.request(1, &small());
    f.free(&slot("tm", 0), 1);
    assert_eq!(
        f.try_request(2, 1, &profile(0.5, 0)),
        Ok(SlotRequestOutcome::Accepted(granted(&slot("tm", 0))))
    );
    f.unregister(1);
    assert_eq!(f.request(1, &small()), AllocationStatus::Waiting);
    f.cancel(1);
    assert_eq!(
        f.try_request(3, 1, &small()),
        Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting))
    );
}
