//! Answers to attempts: the numbers of attempts, answers that are too late or come within the call,
//! and the answer `Occupied`. Comments name the defects of FLINK-5810 that the tests guard against.

use std::time::Duration;

use slot_manager::error::{SlotAllocationError, SlotRequestError};
use slot_manager::message::{AllocationFailureCause, RequestFailure};
use slot_manager::outcome::{AllocationStatus, CancelOutcome, SlotRequestOutcome};
use slot_manager::testing::NotPending;
use slot_manager::view::SlotState;

use crate::common::{
    Fixture, MILLISECOND, SECOND, acknowledged, allocation, ask, failures, granted, in_flight, job, occupied,
    occupied_by, patient, profile, rejected, report, slot, slot_requests, small,
};

#[test]
fn every_attempt_has_a_larger_number_than_all_before() {
    // given
    let mut fixture = Fixture::with(patient().with_rpc_timeout(SECOND));
    fixture.register_by_hand("a", 1, &report("a", &[None]));
    fixture.register_by_hand("b", 2, &report("b", &[None]));

    // when: attempts begin for different reasons
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.advance(MILLISECOND);
    fixture.cancel(1);
    fixture.request(1, &small());
    // First b does not answer, then a. Their backoffs end in the same order.
    for milliseconds in [999, 1, 49, 1] {
        fixture.advance(milliseconds * MILLISECOND);
    }
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
    fixture.log.take();

    // when, then: the slot is free
    assert_eq!(gateway.answer(1, acknowledged()), Err(NotPending { attempt: 1 }));
    assert_eq!(fixture.run(), 0);
    assert!(fixture.is_free(&slot("tm", 0)));
    fixture.expect_nothing();

    // when, then
    fixture.request(1, &small());
    assert_eq!(gateway.answer(1, rejected()), Err(NotPending { attempt: 1 }));
    assert_eq!(fixture.run(), 0);

    // when, then
    gateway.answer(2, acknowledged()).expect("pending");
    assert_eq!(fixture.run(), 1);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

/// B.16: the answer has arrived, and the manager has not read it.
#[test]
fn answer_that_is_read_after_its_attempt_was_given_up_does_not_touch_the_next() {
    for late_answer in [acknowledged(), rejected(), occupied(99)] {
        for next in [1, 2] {
            // given
            let mut fixture = Fixture::new();
            let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
            fixture.request(1, &small());
            gateway.answer(1, late_answer.clone()).expect("in flight");

            // when: the same or another allocation is requested on the same slot
            assert_eq!(fixture.cancel(1), CancelOutcome::Cancelled);
            assert_eq!(fixture.request(next, &small()), in_flight(&slot("tm", 0)));

            // then: the waker of the first attempt leads to the second, which has no answer
            assert_eq!(fixture.run(), 0);
            fixture.expect(&[
                "request tm_0 for 1 #1",
                "free tm_0 of 1 #1",
                &format!("request tm_0 for {next} #2"),
            ]);
            assert_eq!(fixture.status(next), Some(in_flight(&slot("tm", 0))));
            assert_eq!(fixture.manager.overview().slots.in_flight.slots, 1);

            // when, then
            fixture.answer(&gateway, 2, acknowledged());
            fixture.expect(&[&format!("granted {next} on tm_0")]);
            assert_eq!(fixture.status(3 - next), None);
        }
    }
}

/// B.16
#[test]
fn answer_from_an_ended_registration_does_not_touch_the_next_one() {
    for unregistered in [true, false] {
        for late_answer in [acknowledged(), rejected(), occupied(99)] {
            // given
            let mut fixture = Fixture::new();
            let old = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
            fixture.request(1, &small());
            old.answer(1, late_answer).expect("in flight");
            fixture.log.take();

            // when: the worker registers again, and the same allocation is put on the same slot
            if unregistered {
                fixture.unregister(7);
                fixture.expect(&[&ask(1)]);
            }
            let new = fixture.register_by_hand("tm", 8, &report("tm", &[None]));
            fixture.run();

            // then
            fixture.expect(&["request tm_0 for 1 #2"]);
            assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
            fixture.answer(&new, 2, acknowledged());
            fixture.expect(&["granted 1 on tm_0"]);
        }
    }
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
fn task_executor_that_fails_at_once_gets_two_attempts() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.gateway();
    gateway.answer_requests(rejected());
    fixture.register_with("tm", 7, &report("tm", &[None]), &gateway);

    // when, then: one retry at once, then the request backs off
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&["request tm_0 for 1 #1", "request tm_0 for 1 #2"]);

    // when, then: the second request in a row fails, so the worker backs off too
    assert_eq!(fixture.request(2, &small()), AllocationStatus::Waiting);
    fixture.expect(&["request tm_0 for 2 #3", &ask(1)]);
    let state = fixture.state(&slot("tm", 0));
    assert!(matches!(state, SlotState::BackingOff { .. }), "{state:?}");
}

/// B.25
#[test]
fn failure_within_the_call_counts_as_a_failed_answer() {
    for (error, backs_off) in [
        (SlotAllocationError::rejected("no"), false),
        (SlotAllocationError::unreachable("no route"), true),
        (SlotAllocationError::Timeout, true),
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

        // then: neither slot nor id is lost, after the backoff of a worker that was not reached
        broken.answer_requests(acknowledged());
        let status = fixture.request(2, &small());
        assert_eq!(status == AllocationStatus::Waiting, backs_off);
        fixture.advance(50 * MILLISECOND);
        assert_eq!(fixture.status(2), Some(granted(&slot("broken", 0))));
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
    assert_eq!(fixture.manager.overview().slots.allocated.slots, SLOTS as usize);
    fixture.expect(&[&ask(1)]);
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
            gateway.answer_next(occupied_by(9, 2));
        }
        fixture.register_with("tm", 7, &report("tm", &[None]), &gateway);

        // when
        fixture.request(1, &small());
        if !at_once {
            fixture.answer(&gateway, 1, occupied_by(9, 2));
        }

        // then: the slot belongs to the other allocation, and the attempt does not count as failed
        fixture.expect(&["request tm_0 for 1 #1", &ask(1)]);
        assert_eq!(fixture.status(9), Some(granted(&slot("tm", 0))));
        let held = SlotState::Allocated {
            allocation_id: allocation(9),
            job_id: job(2),
        };
        assert_eq!(fixture.state(&slot("tm", 0)), held);
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

#[test]
fn request_goes_to_another_slot_if_the_first_is_occupied() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.register_free("other", 2, &[small()]);
    fixture.log.take();

    // when
    fixture.answer(&gateway, 1, occupied_by(7, 3));

    // then
    fixture.expect(&["request other_0 for 1 #2", "granted 1 on other_0"]);
    assert_eq!(
        fixture.state(&slot("tm", 0)),
        SlotState::Allocated {
            allocation_id: allocation(7),
            job_id: job(3),
        }
    );
}

#[test]
fn occupied_is_no_failure_of_the_request_or_of_the_slot() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());

    // when, then: neither backs off
    for (attempt, holder) in [(1, 7), (2, 8), (3, 9)] {
        fixture.answer(&gateway, attempt, occupied_by(holder, 3));
        assert_eq!(fixture.ungranted(1).failed_attempts(), 0);
        assert_eq!(fixture.ungranted(1).backs_off_until(), None);
        fixture.free(&slot("tm", 0), holder);
        assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
    }
}

/// B.32
#[test]
fn occupied_after_a_failure_is_no_second_failure_of_the_slot_or_the_worker() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, occupied(9));
    fixture.log.take();

    // when
    fixture.free(&slot("tm", 0), 9);

    // then: 2 was not refused
    fixture.expect(&["request tm_0 for 2 #3"]);
}

/// B.26
#[test]
fn occupied_by_the_same_allocation_of_another_job_ends_the_request() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.answer(&gateway, 1, occupied_by(1, 2));

    // then: the allocation is that of job 2
    let failure = RequestFailure::HeldByAnotherJob {
        slot_id: slot("tm", 0),
        job_id: job(2),
    };
    assert_eq!(
        failures(&fixture.log.take()),
        [(allocation(1), AllocationFailureCause::RequestFailed(failure))]
    );
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert_eq!(fixture.manager.overview().pending_requests, 0);
}

/// B.26
#[test]
fn occupied_at_once_by_the_same_allocation_of_another_job_is_the_error_of_the_call() {
    // given
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small(), small()])
        .answer_next(occupied_by(1, 2));

    // when
    let refused = fixture.try_request(1, 1, &small());

    // then: no notification is sent, and the allocation is that of job 2
    let failure = RequestFailure::HeldByAnotherJob {
        slot_id: slot("tm", 0),
        job_id: job(2),
    };
    assert_eq!(
        refused,
        Err(SlotRequestError::Failed {
            allocation_id: allocation(1),
            failure: Box::new(failure),
        })
    );
    fixture.expect(&["request tm_0 for 1 #1"]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert!(fixture.is_free(&slot("tm", 1)));
}

#[test]
fn slot_occupied_by_an_allocation_that_is_granted_elsewhere_is_freed() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("other", 2, &report("other", &[Some(7)]));
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.answer(&gateway, 1, occupied(7));

    // then: the slot is used until the task executor reports it free
    fixture.expect(&["free tm_0 of 7 #1", &ask(1)]);
    assert_eq!(fixture.status(7), Some(granted(&slot("other", 0))));
    assert!(!fixture.is_free(&slot("tm", 0)));
}

#[test]
fn occupied_by_another_waiting_request_grants_that_request() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &profile(9.0, 0));
    fixture.log.take();

    // when
    fixture.answer(&gateway, 1, occupied(2));

    // then
    fixture.expect(&["granted 2 on tm_0", &ask(2)]);
}

#[test]
fn occupied_by_another_request_in_flight_grants_that_request_and_sets_its_slot_free() {
    // given
    let mut fixture = Fixture::new();
    let a = fixture.register_by_hand("a", 1, &report("a", &[None]));
    let b = fixture.register_by_hand("b", 2, &report("b", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when
    fixture.answer(&a, 1, occupied(2));

    // then
    fixture.expect(&["granted 2 on a_0", "free b_0 of 2 #2", "request b_0 for 1 #3"]);
    assert_eq!(b.pending().len(), 1);
}

/// The answer that is applied first ends the attempt whose own answer was found in the same round.
#[test]
fn occupied_may_grant_a_request_whose_own_answer_is_ready_too() {
    for own_answer in [acknowledged(), rejected(), occupied(7)] {
        // given
        let mut fixture = Fixture::new();
        let a = fixture.register_by_hand("a", 1, &report("a", &[None]));
        let b = fixture.register_by_hand("b", 2, &report("b", &[None]));
        fixture.request(1, &small());
        fixture.request(2, &small());
        fixture.log.take();

        // when
        a.answer(1, occupied(2)).expect("the attempt awaits its answer");
        b.answer(2, own_answer).expect("the attempt awaits its answer");
        assert_eq!(fixture.run(), 2);

        // then
        fixture.expect(&["granted 2 on a_0", "free b_0 of 2 #2", "request b_0 for 1 #3"]);
        assert_eq!(fixture.manager.overview().slots.in_flight.slots, 1);

        // then: the pending answers are in order, and the next two go to the right attempts
        let c = fixture.register_by_hand("c", 3, &report("c", &[None]));
        fixture.request(3, &small());
        fixture.answer(&c, 4, acknowledged());
        fixture.answer(&b, 3, acknowledged());
        assert_eq!(fixture.status(1), Some(granted(&slot("b", 0))));
        assert_eq!(fixture.status(3), Some(granted(&slot("c", 0))));
    }
}
