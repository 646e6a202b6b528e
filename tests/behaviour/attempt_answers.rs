//! Attempts: the numbers in their messages, and answers within the call, too late, or from occupied
//! slots.

use std::time::Duration;

use slot_manager::testing::NotPending;
use slot_manager::{
    Acknowledge, AllocateSlot, AllocationStatus, FreeSlot, FreeSlotOutcome, LeaderId, RequestFailure,
    SlotAllocationError, SlotRequestError, SlotRequestOutcome, SlotState,
};

use crate::common::{
    Fixture, SECOND, acknowledged, allocation, ask, frees, granted, instance, job, occupied, patient, rejected, report,
    slot, slot_requests, small,
};

// Messages and numbers.

#[test]
fn slot_request_names_attempt_registration_and_leadership() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 7, &[small()]);

    // when
    fixture.request(1, &small());

    // then
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
fn free_names_the_attempt_that_is_given_up() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when
    fixture.cancel(2);

    // then
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
    // given
    let mut fixture = Fixture::with(patient().with_rpc_timeout(SECOND));
    fixture.register_by_hand("a", 1, &report("a", &[None]));
    fixture.register_by_hand("b", 2, &report("b", &[None]));

    // when: attempts begin for different reasons
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.cancel(1);
    fixture.request(1, &small());
    fixture.advance(SECOND);
    fixture.register_free("a", 3, &[small()]);

    // then
    let numbers: Vec<_> = slot_requests(&fixture.log.take())
        .iter()
        .map(|request| request.attempt)
        .collect();
    assert!(numbers.len() >= 5);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

// Answers to attempts that were given up.

/// The slot goes to the same allocation again, so that only the number tells the attempts apart.
#[test]
fn answer_to_an_attempt_that_was_given_up_does_not_answer_the_next() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.cancel(1);
    fixture.request(1, &small());

    // when, then
    assert_eq!(gateway.answer(1, rejected()), Err(NotPending { attempt: 1 }));
    assert_eq!(fixture.run(), 0);

    // when, then
    gateway.answer(2, acknowledged()).expect("pending");
    assert_eq!(fixture.run(), 1);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn answer_that_was_not_observed_before_its_attempt_was_given_up_changes_nothing() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    gateway.answer(1, acknowledged()).expect("pending");

    // when
    fixture.cancel(1);
    fixture.request(2, &small());

    // then: the waker of the first attempt leads to the second, which has no answer
    assert_eq!(fixture.run(), 0);
    assert_eq!(fixture.status(1), None);
    assert_eq!(fixture.manager.num_awaited_answers(), 1);
}

#[test]
fn free_of_an_allocation_that_does_not_hold_the_slot_changes_nothing() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(7)]));

    // when
    fixture.free(&slot("tm", 0), 6);

    // then
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(7)));
}

// Answers within the call.

#[test]
fn outcome_of_a_request_is_its_status_when_the_call_returns() {
    let answers = [
        Some(acknowledged()),
        Some(rejected()),
        Some(occupied(9)),
        Some(occupied(1)),
        None,
    ];
    for answer in answers {
        // given
        let mut fixture = Fixture::new();
        let gateway = fixture.gateway_by_hand();
        if let Some(answer) = answer.clone() {
            gateway.answer_next(answer);
        }
        fixture.register_with("tm", 7, &report("tm", &[None]), &gateway);

        // when
        let outcome = fixture.try_request(1, 1, &small());

        // then
        let status = fixture.status(1).expect("not over");
        assert_eq!(outcome, Ok(SlotRequestOutcome::Accepted(status)), "after {answer:?}");
    }
}

/// B.21
#[test]
fn task_executor_that_fails_at_once_is_asked_twice() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.gateway();
    gateway.answer_requests(rejected());
    fixture.register_with("tm", 7, &report("tm", &[None]), &gateway);

    // when, then: one retry at once, then the request backs off
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&["request tm_0 for 1 #1", "request tm_0 for 1 #2"]);

    // when, then: the second allocation in a row fails, so the slot backs off too
    assert_eq!(fixture.request(2, &small()), AllocationStatus::Waiting);
    fixture.expect(&["request tm_0 for 2 #3", &ask(1)]);
    let state = fixture.state(&slot("tm", 0));
    assert!(matches!(state, SlotState::BackingOff { .. }), "{state:?}");
}

/// B.25
#[test]
fn failure_within_the_call_counts_as_a_failed_answer() {
    for error in [
        SlotAllocationError::rejected("no"),
        SlotAllocationError::unreachable("no route"),
        SlotAllocationError::Timeout,
    ] {
        // given
        let mut fixture = Fixture::new();
        let (broken, sound) = (fixture.gateway(), fixture.gateway());
        broken.answer_requests(Err(error));
        fixture.register_with("broken", 1, &report("broken", &[None]), &broken);
        fixture.register_with("sound", 2, &report("sound", &[None]), &sound);

        // when, then: it goes on to the other slot, and the first is free
        assert_eq!(fixture.request(1, &small()), granted(&slot("sound", 0)));
        fixture.expect(&[
            "request broken_0 for 1 #1",
            "request sound_0 for 1 #2",
            "granted 1 on sound_0",
        ]);
        assert!(fixture.is_free(&slot("broken", 0)));

        // then: neither slot nor id is lost
        broken.answer_requests(acknowledged());
        assert_eq!(fixture.request(2, &small()), granted(&slot("broken", 0)));
        fixture.free(&slot("sound", 0), 1);
        assert_eq!(fixture.request(1, &small()), granted(&slot("sound", 0)));
    }
}

/// B.21: immediate answers cause the next step in a loop, not in ever deeper calls
#[test]
fn long_chains_of_immediate_answers_do_not_nest() {
    const SLOTS: u32 = 20_000;

    // given: each slot is held by an allocation that the manager does not know
    let mut fixture = Fixture::new();
    let gateway = fixture.gateway();
    for holder in 1..=u128::from(SLOTS) {
        gateway.answer_next(occupied(1_000_000 + holder));
    }
    fixture.register_with("tm", 7, &report("tm", &vec![None; SLOTS as usize]), &gateway);

    // when
    let status = fixture.request(1, &small());

    // then: it tried all slots
    assert_eq!(status, AllocationStatus::Waiting);
    assert_eq!(gateway.take_calls().len(), SLOTS as usize);
    assert_eq!(fixture.manager.slot_counts().allocated, SLOTS as usize);
    fixture.expect(&[&ask(1)]);
}

/// B.42 (vii)
#[test]
fn requests_that_expire_together_all_fail_though_answers_come_at_once() {
    // given: three requests in flight, which expire together, and three that wait behind them
    let mut fixture = Fixture::with(patient().with_request_timeout(60 * SECOND));
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
    assert_eq!(fixture.free(&slot("tm", 0), 4), FreeSlotOutcome::Freed);
}

// Occupied slots.

/// B.26
#[test]
fn occupied_slot_belongs_to_its_holder_and_is_not_tried_again() {
    for at_once in [false, true] {
        // given
        let mut fixture = Fixture::new();
        let gateway = fixture.gateway_by_hand();
        if at_once {
            gateway.answer_next(occupied(9));
        }
        fixture.register_with("tm", 7, &report("tm", &[None]), &gateway);

        // when
        fixture.request(1, &small());
        if !at_once {
            fixture.answer(&gateway, 1, occupied(9));
        }

        // then: the slot belongs to the other allocation, and the attempt does not count as failed
        fixture.expect(&["request tm_0 for 1 #1", &ask(1)]);
        assert_eq!(fixture.status(9), Some(granted(&slot("tm", 0))));
        assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
        let pending = fixture.manager.pending_slot_request(allocation(1)).expect("pending");
        assert_eq!((pending.failed_attempts(), pending.backs_off_until()), (0, None));
        fixture.advance(Duration::from_secs(1000));
        fixture.expect_nothing();

        // then: freed, it serves the request
        fixture.free(&slot("tm", 0), 9);
        fixture.expect(&["request tm_0 for 1 #2"]);
    }
}

/// B.26: the acknowledgement of an earlier attempt was lost
#[test]
fn slot_that_is_occupied_by_the_request_itself_is_granted() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());

    // when
    fixture.answer(&gateway, 1, occupied(1));

    // then
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

/// B.26
#[test]
fn slot_that_is_occupied_by_the_same_id_of_another_job_fails_the_request() {
    let held_by_job_2 = || {
        Err::<Acknowledge, _>(SlotAllocationError::Occupied {
            allocation_id: allocation(1),
            job_id: job(2),
        })
    };

    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    fixture.request(1, &small());

    // when
    fixture.answer(&gateway, 1, held_by_job_2());

    // then: a later answer is a notification
    fixture.expect(&["request tm_0 for 1 #1", "failed 1: held by another job"]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert_eq!(fixture.manager.num_pending_slot_requests(), 0);

    // given: the answer comes at once
    let mut fixture = Fixture::new();
    let gateway = fixture.gateway();
    gateway.answer_next(held_by_job_2());
    fixture.register_with("tm", 7, &report("tm", &[None, None]), &gateway);

    // when
    let refused = fixture.try_request(1, 1, &small());

    // then: an immediate answer is the error of the call
    let failure = Box::new(RequestFailure::HeldByAnotherJob {
        slot_id: slot("tm", 0),
        job_id: job(2),
    });
    let allocation_id = allocation(1);
    assert_eq!(refused, Err(SlotRequestError::Failed { allocation_id, failure }));
    fixture.expect(&["request tm_0 for 1 #1"]);
    assert!(fixture.is_free(&slot("tm", 1)));
}
