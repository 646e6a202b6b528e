//! A job that is gone.

use slot_manager::testing::GatewayAnswer;
use slot_manager::{Acknowledge, AllocationStatus, SlotAllocationError, WorkerPromise};

use crate::common::{Fixture, granted, job, profile, slot, small};

const NOTHING: [&str; 0] = [];

fn unregister_job(f: &mut Fixture, number: u128) -> usize {
    f.step(|manager| manager.unregister_job(job(number))).expect("started")
}

#[track_caller]
fn request(f: &mut Fixture, job: u128, id: u128, cores: f64) {
    assert!(f.try_request(job, id, &profile(cores, 0)).is_ok());
}

#[test]
fn all_its_ungranted_requests_are_gone_whatever_they_were_doing() {
    let mut f = Fixture::new();
    let gateway = f.register_free("tm", 1, &[profile(1.0, 0)]);
    gateway.answer_requests(Err(SlotAllocationError::rejected("no")));
    request(&mut f, 1, 11, 1.0);
    f.register_free("other", 2, &[profile(2.0, 0)])
        .answer_requests(GatewayAnswer::ByHand);
    request(&mut f, 1, 12, 2.0);
    request(&mut f, 1, 13, 3.0);
    f.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    request(&mut f, 1, 14, 4.0);
    request(&mut f, 2, 21, 5.0);
    f.said();

    assert_eq!(unregister_job(&mut f, 1), 4);

    assert_eq!(f.said(), ["free other_0 of 12 #3", "withdraw 2"], "nobody is notified");
    for id in 11..=14 {
        assert_eq!(f.status(id), None);
    }
    assert_eq!(f.status(21), Some(AllocationStatus::Waiting));
    assert_eq!(f.manager.num_pending_slot_requests(), 1);
    assert_eq!(f.manager.slot_counts().free, 2);
    assert_eq!(f.manager.promised_slot_counts().unbound, 1);
}

#[test]
fn its_slots_go_to_the_others_in_one_matching() {
    let mut f = Fixture::new();
    f.register_free("tm", 1, &[small(), small()])
        .answer_requests(GatewayAnswer::ByHand);
    for (job, id) in [(1, 11), (1, 12), (1, 13), (2, 21), (3, 31), (2, 22)] {
        request(&mut f, job, id, 1.0);
    }
    f.said();
    assert_eq!(unregister_job(&mut f, 1), 3);
    assert_eq!(
        f.said(),
        [
            "free tm_0 of 11 #1",
            "free tm_1 of 12 #2",
            // Not to 13, which waited before them and is gone.
            "request tm_0 for 21 #3",
            "request tm_1 for 31 #4",
        ]
    );
}

#[test]
fn its_grants_stay_until_they_are_freed() {
    let mut f = Fixture::new();
    f.register_free("tm", 1, &[small()])
        .answer_requests(Ok(Acknowledge::new()));
    f.request(1, &small());
    f.said();
    assert_eq!(unregister_job(&mut f, 1), 0);
    assert_eq!(f.said(), NOTHING);
    assert_eq!(f.status(1), Some(granted(&slot("tm", 0))));
    f.free(&slot("tm", 0), 1);
    assert!(f.is_free(&slot("tm", 0)));
}

#[test]
fn a_job_without_requests_is_nothing_to_unregister() {
    let mut f = Fixture::new();
    request(&mut f, 2, 21, 1.0);
    f.said();
    assert_eq!(unregister_job(&mut f, 1), 0);
    assert_eq!(f.said(), NOTHING);
    assert_eq!(f.status(21), Some(AllocationStatus::Waiting));
}

#[test]
fn a_job_that_comes_back_begins_anew() {
    let mut f = Fixture::new();
    request(&mut f, 1, 11, 1.0);
    assert_eq!(unregister_job(&mut f, 1), 1);
    assert_eq!(unregister_job(&mut f, 1), 0);
    request(&mut f, 1, 11, 2.0);
    assert_eq!(unregister_job(&mut f, 1), 1);
}

/// Also one that was cancelled, granted or failed before.
#[test]
fn only_what_is_still_ungranted_is_counted() {
    let mut f = Fixture::new();
    request(&mut f, 1, 11, 9.0);
    request(&mut f, 1, 12, 1.0);
    request(&mut f, 1, 13, 1.0);
    f.cancel(11);
    f.register_free("tm", 1, &[small()]);
    assert_eq!(unregister_job(&mut f, 1), 1, "12 is granted");
}
