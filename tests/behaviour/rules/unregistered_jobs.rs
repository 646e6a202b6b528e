//! A job that is gone.

use slot_manager::testing::GatewayAnswer;
use slot_manager::{Acknowledge, AllocationStatus, SlotAllocationError, WorkerPromise};

use crate::common::{Fixture, granted, job, profile, slot, small};

fn unregister_job(fixture: &mut Fixture, number: u128) -> usize {
    fixture
        .step(|manager| manager.unregister_job(job(number)))
        .expect("started")
}

#[track_caller]
fn request(fixture: &mut Fixture, job: u128, id: u128, cores: f64) {
    assert!(fixture.try_request(job, id, &profile(cores, 0)).is_ok());
}

#[test]
fn all_its_ungranted_requests_are_gone_whatever_they_were_doing() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[profile(1.0, 0)]);
    gateway.answer_requests(Err(SlotAllocationError::rejected("no")));
    request(&mut fixture, 1, 11, 1.0);
    fixture
        .register_free("other", 2, &[profile(2.0, 0)])
        .answer_requests(GatewayAnswer::ByHand);
    request(&mut fixture, 1, 12, 2.0);
    request(&mut fixture, 1, 13, 3.0);
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    request(&mut fixture, 1, 14, 4.0);
    request(&mut fixture, 2, 21, 5.0);
    fixture.log.take();

    assert_eq!(unregister_job(&mut fixture, 1), 4);

    assert_eq!(
        fixture.brief_effects(),
        ["free other_0 of 12 #3", "withdraw 2"],
        "nobody is notified"
    );
    for id in 11..=14 {
        assert_eq!(fixture.status(id), None);
    }
    assert_eq!(fixture.status(21), Some(AllocationStatus::Waiting));
    assert_eq!(fixture.manager.num_pending_slot_requests(), 1);
    assert_eq!(fixture.manager.slot_counts().free, 2);
    assert_eq!(fixture.manager.promised_slot_counts().unbound, 1);
}

#[test]
fn its_slots_go_to_the_others_in_one_matching() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small(), small()])
        .answer_requests(GatewayAnswer::ByHand);
    for (job, id) in [(1, 11), (1, 12), (1, 13), (2, 21), (3, 31), (2, 22)] {
        request(&mut fixture, job, id, 1.0);
    }
    fixture.log.take();
    assert_eq!(unregister_job(&mut fixture, 1), 3);
    fixture.expect(&[
        "free tm_0 of 11 #1",
        "free tm_1 of 12 #2",
        // Not to 13, which waited before them and is gone.
        "request tm_0 for 21 #3",
        "request tm_1 for 31 #4",
    ]);
}

#[test]
fn its_grants_stay_until_they_are_freed() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small()])
        .answer_requests(Ok(Acknowledge::new()));
    fixture.request(1, &small());
    fixture.log.take();
    assert_eq!(unregister_job(&mut fixture, 1), 0);
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.free(&slot("tm", 0), 1);
    assert!(fixture.is_free(&slot("tm", 0)));
}

#[test]
fn a_job_without_requests_is_nothing_to_unregister() {
    let mut fixture = Fixture::new();
    request(&mut fixture, 2, 21, 1.0);
    fixture.log.take();
    assert_eq!(unregister_job(&mut fixture, 1), 0);
    fixture.expect_nothing();
    assert_eq!(fixture.status(21), Some(AllocationStatus::Waiting));
}

#[test]
fn a_job_that_comes_back_begins_anew() {
    let mut fixture = Fixture::new();
    request(&mut fixture, 1, 11, 1.0);
    assert_eq!(unregister_job(&mut fixture, 1), 1);
    assert_eq!(unregister_job(&mut fixture, 1), 0);
    request(&mut fixture, 1, 11, 2.0);
    assert_eq!(unregister_job(&mut fixture, 1), 1);
}

/// Also one that was cancelled, granted or failed before.
#[test]
fn only_what_is_still_ungranted_is_counted() {
    let mut fixture = Fixture::new();
    request(&mut fixture, 1, 11, 9.0);
    request(&mut fixture, 1, 12, 1.0);
    request(&mut fixture, 1, 13, 1.0);
    fixture.cancel(11);
    fixture.register_free("tm", 1, &[small()]);
    assert_eq!(unregister_job(&mut fixture, 1), 1, "12 is granted");
}
