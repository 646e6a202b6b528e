//! Attempts, registrations and leaderships are numbered, and what comes from an earlier one changes nothing.

use std::time::Duration;

use slot_manager::testing::{GatewayAnswer, NotPending};
use slot_manager::{
    Acknowledge, AllocateSlot, AllocationStatus, FreeSlot, LeaderId, RegistrationOutcome, ReportOutcome,
    SlotAllocationError, SlotManager, UnregistrationOutcome,
};

use crate::common::{
    Fixture, allocation, free_report, frees, granted, instance, job, patient, report, slot, slot_requests, small,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_slot_request_says_attempt_registration_and_leadership() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 7, &[small()]);
    fixture.request(1, &small());
    assert_eq!(
        slot_requests(&fixture.log.take()),
        [AllocateSlot {
            slot_id: slot("tm", 0),
            job_id: job(1),
            allocation_id: allocation(1),
            resource_profile: small(),
            target_address: "job-master-1".into(),
            leader_id: LeaderId::from_u128(1),
            instance_id: instance(7),
            attempt: 1,
        }]
    );
}

#[test]
fn a_free_says_which_attempt_is_given_up() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 7, &[small(), small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();
    fixture.cancel(2);
    assert_eq!(
        frees(&fixture.log.take()),
        [FreeSlot {
            slot_id: slot("tm", 1),
            job_id: job(1),
            allocation_id: allocation(2),
            leader_id: LeaderId::from_u128(1),
            instance_id: instance(7),
            attempt: 2,
        }]
    );
}

#[test]
fn every_attempt_has_a_larger_number_than_all_before() {
    let mut fixture = Fixture::with(patient().with_rpc_timeout(SECOND));
    let a = fixture.register_free("a", 1, &[small()]);
    let b = fixture.register_free("b", 2, &[small()]);
    a.answer_requests(GatewayAnswer::ByHand);
    b.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.cancel(1);
    fixture.request(1, &small());
    fixture.advance(SECOND);
    fixture.register_free("a", 3, &[small()]);
    let numbers: Vec<_> = slot_requests(&fixture.log.take())
        .iter()
        .map(|request| request.attempt)
        .collect();
    assert!(numbers.len() >= 5);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

/// The slot is given to the same allocation again, so that only the number tells the attempts apart.
#[test]
fn the_answer_to_an_attempt_that_was_given_up_does_not_answer_the_next() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.cancel(1);
    fixture.request(1, &small());

    let late = gateway.answer(1, Err(SlotAllocationError::rejected("late")));
    assert_eq!(late, Err(NotPending { attempt: 1 }));
    assert_eq!(fixture.run(), 0);
    gateway.answer(2, Ok(Acknowledge::new())).expect("it is pending");
    assert_eq!(fixture.run(), 1);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

/// The answer is there, but nobody drove the manager before the attempt was given up.
#[test]
fn an_answer_that_was_not_seen_before_its_attempt_was_given_up_does_not_count() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    gateway.answer(1, Ok(Acknowledge::new())).expect("it is pending");
    fixture.cancel(1);
    fixture.request(2, &small());
    assert_eq!(
        fixture.run(),
        0,
        "the wake-up of the first leads to the second, which has no answer"
    );
    assert_eq!(fixture.status(1), None);
    assert_eq!(fixture.manager.num_awaited_answers(), 1);
}

#[test]
fn a_registration_that_was_replaced_is_unknown() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);
    let replaced = fixture.register_with("tm", 2, &free_report("tm", &[small()]), &fixture.gateway());
    assert_eq!(replaced, RegistrationOutcome::Replaced { previous: instance(1) });

    assert_eq!(fixture.report(1, &report("tm", &[Some(7)])), ReportOutcome::Unknown);
    assert_eq!(fixture.unregister(1), UnregistrationOutcome::Unknown);
    assert!(fixture.is_free(&slot("tm", 0)));
    assert_eq!(fixture.manager.num_task_managers(), 1);
}

#[test]
fn an_answer_from_a_registration_that_was_replaced_does_not_count() {
    let mut fixture = Fixture::new();
    let before = fixture.register_free("tm", 1, &[small()]);
    before.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    let after = fixture.gateway();
    after.answer_requests(GatewayAnswer::ByHand);
    fixture.register_with("tm", 2, &free_report("tm", &[small()]), &after);

    assert_eq!(before.pending(), []);
    assert_eq!(before.answer(1, Ok(Acknowledge::new())), Err(NotPending { attempt: 1 }));
    assert_eq!(fixture.run(), 0);
    assert_eq!(
        after
            .pending()
            .iter()
            .map(|request| request.instance_id)
            .collect::<Vec<_>>(),
        [instance(2)]
    );
    assert_eq!(
        fixture.status(1),
        Some(AllocationStatus::InFlight { slot_id: slot("tm", 0) })
    );
}

#[test]
fn an_answer_from_an_earlier_leadership_does_not_count() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.step(SlotManager::suspend).expect("it was started");
    assert_eq!(gateway.pending(), []);

    fixture.start(2);
    fixture.register_with("tm", 1, &free_report("tm", &[small()]), &gateway);
    fixture.request(1, &small());
    let pending = gateway.pending();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].leader_id, LeaderId::from_u128(2));
    assert_eq!(fixture.run(), 0);
    assert_eq!(
        fixture.status(1),
        Some(AllocationStatus::InFlight { slot_id: slot("tm", 0) })
    );
}

/// A waker of an earlier attempt outlives it: it causes a needless look, not an effect.
#[test]
fn a_wake_up_from_an_earlier_leadership_is_harmless() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &vec![small(); 5]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    for id in 1..=5 {
        fixture.request(id, &small());
    }
    for attempt in 1..=5 {
        gateway.answer(attempt, Ok(Acknowledge::new())).expect("it is pending");
    }
    fixture.step(SlotManager::suspend).expect("it was started");
    fixture.start(2);
    fixture.register_with("tm", 1, &free_report("tm", &[small()]), &gateway);
    fixture.log.take();
    assert_eq!(fixture.run(), 0);
    fixture.expect(&[""; 0]);
}

#[test]
fn a_free_of_an_allocation_that_does_not_hold_the_slot_changes_nothing() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(7)]));
    fixture.free(&slot("tm", 0), 6);
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(7)));
}
