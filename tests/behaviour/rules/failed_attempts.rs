//! What an attempt that fails means for its slot, its request and the others; and what `Occupied` means.

use std::time::Duration;

use slot_manager::testing::{GatewayAnswer, ScriptedGateway};
use slot_manager::{
    Acknowledge, AllocationFailureCause, AllocationStatus, RequestFailure, SlotAllocationError, SlotRequestError,
    SlotState, SlotStatus, Timestamp,
};

use crate::common::{
    Fixture, allocation, failures, granted, in_flight, instance, job, patient, profile, report, slot, small,
};

const MILLISECOND: Duration = Duration::from_millis(1);

fn no() -> Result<Acknowledge, SlotAllocationError> {
    Err(SlotAllocationError::rejected("no"))
}

fn occupied(id: u128, by_job: u128) -> Result<Acknowledge, SlotAllocationError> {
    Err(SlotAllocationError::Occupied {
        allocation_id: allocation(id),
        job_id: job(by_job),
    })
}

/// One slot, whose gateway is answered by hand.
fn by_hand(fixture: &mut Fixture, worker: &str, instance: u128) -> ScriptedGateway {
    let gateway = fixture.register_free(worker, instance, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    gateway
}

#[track_caller]
fn answer(
    fixture: &mut Fixture,
    gateway: &ScriptedGateway,
    attempt: u64,
    answer: Result<Acknowledge, SlotAllocationError>,
) {
    gateway.answer(attempt, answer).expect("it is pending");
    assert_eq!(fixture.run(), 1);
}

fn state(fixture: &Fixture, worker: &str) -> SlotState {
    fixture.manager.slot(&slot(worker, 0)).expect("a known slot").state()
}

fn backs_off_until(fixture: &Fixture, id: u128) -> Option<Timestamp> {
    fixture
        .manager
        .pending_slot_request(allocation(id))
        .expect("not granted")
        .backs_off_until()
}

fn failed_attempts(fixture: &Fixture, id: u128) -> u32 {
    fixture
        .manager
        .pending_slot_request(allocation(id))
        .expect("not granted")
        .failed_attempts()
}

/// The only slot pauses, because attempts of two different allocations failed on it.
fn pausing_slot(fixture: &mut Fixture) -> ScriptedGateway {
    let gateway = by_hand(fixture, "tm", 1);
    fixture.request(1, &small());
    fixture.request(2, &small());
    answer(fixture, &gateway, 1, no());
    answer(fixture, &gateway, 2, no());
    gateway
}

#[test]
fn the_slot_is_offered_to_the_other_waiting_requests_first() {
    let mut fixture = Fixture::new();
    let gateway = by_hand(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.request(3, &small());
    fixture.log.take();
    answer(&mut fixture, &gateway, 1, no());
    fixture.expect(&["request tm_0 for 2 #2", "ask 3 for {cpu: 1, task heap: 100 MiB}"]);
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn without_others_the_failed_request_gets_it_again_at_once() {
    let mut fixture = Fixture::new();
    let gateway = by_hand(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    fixture.request(2, &profile(9.0, 0));
    fixture.log.take();
    answer(&mut fixture, &gateway, 1, no());
    fixture.expect(&["request tm_0 for 1 #2"]);
}

#[test]
fn the_first_retry_prefers_a_slot_that_did_not_just_fail() {
    let mut fixture = Fixture::new();
    let gateway = by_hand(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    fixture.register_free("other", 2, &[small()]);
    fixture.log.take();
    answer(&mut fixture, &gateway, 1, no());
    fixture.expect(&["request other_0 for 1 #2", "granted 1 on other_0"]);
}

#[test]
fn the_request_keeps_its_place_before_younger_ones() {
    let mut fixture = Fixture::new();
    let gateway = by_hand(&mut fixture, "tm", 1);
    for id in 1..=4 {
        fixture.request(id, &small());
    }
    answer(&mut fixture, &gateway, 1, no());
    fixture.register_free("other", 2, &[small(), small()]);
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 0))));
    assert_eq!(fixture.status(3), Some(granted(&slot("other", 1))));
}

#[test]
fn from_the_second_failure_on_the_request_pauses_twice_as_long_each_time_up_to_the_maximum() {
    let mut fixture = Fixture::with(patient().with_retry_backoff(30 * MILLISECOND, 100 * MILLISECOND));
    fixture.register_free("tm", 1, &[small()]).answer_requests(no());
    fixture.request(1, &small());
    let mut ends = Timestamp::ZERO;
    for (failed, pause) in [(2, 30), (3, 60), (4, 100), (5, 100), (6, 100)] {
        ends = ends + pause * MILLISECOND;
        assert_eq!(failed_attempts(&fixture, 1), failed);
        assert_eq!(backs_off_until(&fixture, 1), Some(ends));
        fixture.advance(pause * MILLISECOND);
    }
}

#[test]
fn a_pausing_request_waits_but_gets_nothing() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]).answer_requests(no());
    fixture.request(1, &small());
    fixture.register_free("other", 2, &[small()]);
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
    fixture.log.take();
    // Not even a slot that becomes free, and no worker is asked for.
    fixture.request(2, &small());
    fixture.unregister(2);
    fixture.register_free("other", 3, &[small()]);
    assert!(
        fixture
            .brief_effects()
            .iter()
            .all(|said| !said.contains("for 1") && !said.starts_with("ask")),
        "2 was served, and lost"
    );
    assert!(fixture.is_free(&slot("other", 0)));
}

#[test]
fn after_its_pause_the_request_has_its_old_place() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]).answer_requests(no());
    fixture.request(1, &small());
    fixture.unregister(1);
    fixture.request(2, &small());
    fixture.advance(50 * MILLISECOND);
    fixture.register_free("other", 2, &[small()]);
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 0))));
}

#[test]
fn a_slot_on_which_one_allocation_fails_again_and_again_does_not_pause() {
    let mut fixture = Fixture::with(patient().with_retry_backoff(30 * MILLISECOND, 100 * MILLISECOND));
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(no());
    fixture.request(1, &small());
    for _ in 0..5 {
        assert_eq!(state(&fixture, "tm"), SlotState::Free);
        fixture.advance(100 * MILLISECOND);
    }
    gateway.answer_requests(Ok(Acknowledge::new()));
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 0)));
}

/// Each pause is twice as long as the one before, also when the request changes less often than it fails.
#[test]
fn a_slot_pauses_after_failures_of_two_different_allocations_in_a_row() {
    let mut fixture = Fixture::with(patient().with_retry_backoff(30 * MILLISECOND, 100 * MILLISECOND));
    let gateway = by_hand(&mut fixture, "tm", 1);
    let mut attempt = 0;
    let mut fail = |fixture: &mut Fixture, id: u128| {
        fixture.request(id, &small());
        attempt += 1;
        answer(fixture, &gateway, attempt, no());
        // The retry on the same slot is not wanted here.
        if fixture.status(id) == Some(in_flight(&slot("tm", 0))) {
            attempt += 1;
        }
        fixture.cancel(id);
    };
    fail(&mut fixture, 1);
    assert_eq!(state(&fixture, "tm"), SlotState::Free);
    for (id, pause) in [(2, 30), (3, 60), (4, 100), (5, 100)] {
        fail(&mut fixture, id);
        let until = fixture.clock_now() + pause * MILLISECOND;
        assert_eq!(state(&fixture, "tm"), SlotState::BackingOff { until }, "after {id}");
        fixture.advance(pause * MILLISECOND);
        assert_eq!(state(&fixture, "tm"), SlotState::Free);
    }
    fail(&mut fixture, 5);
    assert_eq!(
        state(&fixture, "tm"),
        SlotState::Free,
        "the last two were of the same allocation"
    );
    fail(&mut fixture, 6);
    let until = fixture.clock_now() + 100 * MILLISECOND;
    assert_eq!(state(&fixture, "tm"), SlotState::BackingOff { until });
}

#[test]
fn a_pausing_slot_is_free_and_not_handed_out() {
    let mut fixture = Fixture::new();
    pausing_slot(&mut fixture);
    assert!(fixture.is_free(&slot("tm", 0)));
    assert_eq!(fixture.manager.slot_counts().free, 1);
    assert_eq!(fixture.request(3, &small()), AllocationStatus::Waiting);
    fixture.log.take();
    fixture.report(1, &report("tm", &[None]));
    // A report does not end the pause.
    fixture.expect_nothing();
}

#[test]
fn an_acknowledgement_resets_what_a_slot_remembers() {
    let mut fixture = Fixture::with(patient().with_retry_backoff(30 * MILLISECOND, 1000 * MILLISECOND));
    let gateway = fixture.register_free("tm", 1, &[small()]);
    let fail_in_turn = |fixture: &mut Fixture, first: u128| {
        for id in first..first + 2 {
            // Whoever fails is cancelled before it can try again.
            gateway.answer_next(no());
            gateway.answer_next(GatewayAnswer::ByHand);
            fixture.request(id, &small());
            fixture.cancel(id);
        }
    };
    fail_in_turn(&mut fixture, 1);
    let until = fixture.clock_now() + 30 * MILLISECOND;
    assert_eq!(state(&fixture, "tm"), SlotState::BackingOff { until });
    fixture.advance(30 * MILLISECOND);

    gateway.answer_requests(Ok(Acknowledge::new()));
    fixture.request(10, &small());
    fixture.free(&slot("tm", 0), 10);
    fail_in_turn(&mut fixture, 11);
    let until = fixture.clock_now() + 30 * MILLISECOND;
    assert_eq!(
        state(&fixture, "tm"),
        SlotState::BackingOff { until },
        "the first pause again"
    );
}

#[test]
fn a_slot_that_its_task_executor_shows_as_held_does_not_pause() {
    let mut fixture = Fixture::new();
    pausing_slot(&mut fixture);
    fixture.report(1, &report("tm", &[Some(7)]));
    assert_eq!(fixture.manager.next_deadline(), None);
    fixture.report(1, &report("tm", &[None]));
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))), "it begins anew");
}

#[test]
fn an_answer_that_does_not_come_counts_as_a_failure() {
    let mut fixture = Fixture::with(
        patient()
            .with_rpc_timeout(1000 * MILLISECOND)
            .with_request_timeout(5000 * MILLISECOND),
    );
    by_hand(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    fixture.advance(1000 * MILLISECOND);
    assert_eq!(failed_attempts(&fixture, 1), 1);
    fixture.advance(1000 * MILLISECOND);
    assert_eq!(failed_attempts(&fixture, 1), 2);
    fixture.log.take();
    fixture.advance(1000 * MILLISECOND);
    fixture.advance(2000 * MILLISECOND);
    assert_eq!(
        failures(&fixture.log.take()),
        [(
            allocation(1),
            AllocationFailureCause::RequestFailed(RequestFailure::Timeout {
                timeout: 5000 * MILLISECOND,
                resource_profile: small(),
                last_failure: Some(SlotAllocationError::Timeout),
            })
        )]
    );
}

#[test]
fn an_occupied_slot_belongs_to_its_holder_and_the_request_goes_elsewhere() {
    let mut fixture = Fixture::new();
    let gateway = by_hand(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    fixture.register_free("other", 2, &[small()]);
    fixture.log.take();
    answer(&mut fixture, &gateway, 1, occupied(7, 3));
    fixture.expect(&["request other_0 for 1 #2", "granted 1 on other_0"]);
    assert_eq!(
        state(&fixture, "tm"),
        SlotState::Allocated {
            allocation_id: allocation(7),
            job_id: job(3),
        }
    );
}

#[test]
fn occupied_is_no_failure_of_the_request_nor_of_the_slot() {
    let mut fixture = Fixture::new();
    let gateway = by_hand(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    for (attempt, holder) in [(1, 7), (2, 8), (3, 9)] {
        answer(&mut fixture, &gateway, attempt, occupied(holder, 3));
        assert_eq!(failed_attempts(&fixture, 1), 0);
        assert_eq!(backs_off_until(&fixture, 1), None);
        fixture.free(&slot("tm", 0), holder);
        assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))), "neither pauses");
    }
}

#[test]
fn occupied_by_the_request_itself_is_an_acknowledgement() {
    let mut fixture = Fixture::new();
    let gateway = by_hand(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    fixture.log.take();
    answer(&mut fixture, &gateway, 1, occupied(1, 1));
    fixture.expect(&["granted 1 on tm_0"]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn occupied_by_the_same_allocation_of_another_job_ends_the_request() {
    let mut fixture = Fixture::new();
    let gateway = by_hand(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    fixture.log.take();
    answer(&mut fixture, &gateway, 1, occupied(1, 2));
    assert_eq!(
        failures(&fixture.log.take()),
        [(
            allocation(1),
            AllocationFailureCause::RequestFailed(RequestFailure::HeldByAnotherJob {
                slot_id: slot("tm", 0),
                job_id: job(2),
            })
        )]
    );
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))), "of job 2");
}

#[test]
fn occupied_by_another_job_within_the_registration_is_its_error() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]).answer_next(occupied(1, 2));
    assert_eq!(
        fixture.try_request(1, 1, &small()),
        Err(SlotRequestError::Failed {
            allocation_id: allocation(1),
            failure: Box::new(RequestFailure::HeldByAnotherJob {
                slot_id: slot("tm", 0),
                job_id: job(2),
            }),
        })
    );
    assert_eq!(
        fixture.brief_effects(),
        ["request tm_0 for 1 #1"],
        "it is not notified too"
    );
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))), "of job 2");
}

#[test]
fn occupied_by_what_is_granted_elsewhere_is_a_second_slot_to_be_freed() {
    let mut fixture = Fixture::new();
    fixture.register("other", 2, &report("other", &[Some(7)]));
    let gateway = by_hand(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    fixture.log.take();
    answer(&mut fixture, &gateway, 1, occupied(7, 1));
    fixture.expect(&["free tm_0 of 7 #1", "ask 1 for {cpu: 1, task heap: 100 MiB}"]);
    assert_eq!(fixture.status(7), Some(granted(&slot("other", 0))));
    assert!(!fixture.is_free(&slot("tm", 0)));
}

#[test]
fn occupied_by_another_waiting_request_completes_that_one() {
    let mut fixture = Fixture::new();
    let gateway = by_hand(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    fixture.request(2, &profile(9.0, 0));
    fixture.log.take();
    answer(&mut fixture, &gateway, 1, occupied(2, 1));
    fixture.expect(&["granted 2 on tm_0", "ask 2 for {cpu: 1, task heap: 100 MiB}"]);
}

#[test]
fn occupied_by_another_request_in_flight_completes_that_one_and_frees_its_slot() {
    let mut fixture = Fixture::new();
    let a = by_hand(&mut fixture, "a", 1);
    let b = by_hand(&mut fixture, "b", 2);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();
    answer(&mut fixture, &a, 1, occupied(2, 1));
    fixture.expect(&["granted 2 on a_0", "free b_0 of 2 #2", "request b_0 for 1 #3"]);
    assert_eq!(b.pending().len(), 1);
}

/// The first answer ends the attempt whose own answer was found in the same round.
#[test]
fn an_answer_may_complete_a_request_whose_own_answer_is_ready_too() {
    for own_answer in [Ok(Acknowledge::new()), no(), occupied(7, 1)] {
        let mut fixture = Fixture::new();
        let a = by_hand(&mut fixture, "a", 1);
        let b = by_hand(&mut fixture, "b", 2);
        fixture.request(1, &small());
        fixture.request(2, &small());
        fixture.log.take();
        a.answer(1, occupied(2, 1)).expect("it is pending");
        b.answer(2, own_answer).expect("it is pending");
        assert_eq!(fixture.run(), 2);
        fixture.expect(&["granted 2 on a_0", "free b_0 of 2 #2", "request b_0 for 1 #3"]);
        assert_eq!(fixture.manager.num_awaited_answers(), 1);
        // The pool of answers is in order: the next ones do not meet in one place.
        let c = by_hand(&mut fixture, "c", 3);
        fixture.request(3, &small());
        answer(&mut fixture, &c, 4, Ok(Acknowledge::new()));
        answer(&mut fixture, &b, 3, Ok(Acknowledge::new()));
        assert_eq!(fixture.status(1), Some(granted(&slot("b", 0))));
        assert_eq!(fixture.status(3), Some(granted(&slot("c", 0))));
    }
}

#[test]
fn a_request_whose_second_attempt_fails_frees_its_promise_for_others() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]).answer_requests(no());
    fixture.request(1, &small());
    fixture
        .actions
        .answer_next_allocation(Ok(slot_manager::WorkerPromise::Unspecified));
    fixture.request(2, &profile(2.0, 0));
    fixture.log.take();
    fixture.request(3, &profile(2.0, 0));
    fixture.expect(&["ask 2 for {cpu: 2}"]);
    assert_eq!(
        fixture.manager.promised_slot_counts().bound,
        1,
        "1 pauses and needs none"
    );
}

#[test]
fn a_request_that_is_cancelled_while_it_pauses_leaves_nothing_behind() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]).answer_requests(no());
    fixture.request(1, &small());
    fixture.log.take();
    fixture.cancel(1);
    assert_eq!(fixture.manager.next_deadline(), None);
    // Nothing is in flight.
    fixture.expect_nothing();
    let held = SlotStatus::allocated(slot("tm", 0), small(), allocation(1), job(1));
    fixture.report(1, &[held].into_iter().collect());
    // And nobody is told of a slot it holds.
    fixture.expect_nothing();
    assert_eq!(
        fixture
            .manager
            .task_manager(instance(1))
            .expect("it is registered")
            .slot_counts()
            .allocated,
        1
    );
}
