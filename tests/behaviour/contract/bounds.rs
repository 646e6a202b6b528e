//! Nothing waits for ever and nothing grows without a bound, if it is so configured.

use std::time::Duration;

use slot_manager::testing::GatewayAnswer;
use slot_manager::{
    Acknowledge, AllocationFailureCause, AllocationStatus, RequestFailure, SlotAllocationError, SlotRequestError,
    SlotRequestOutcome, Timestamp,
};

use crate::common::{Fixture, allocation, failures, free_report, patient, profile, report, slot, small};

const SECOND: Duration = Duration::from_secs(1);

/// Nothing that happens to a request moves its deadline: it waits, is in flight, fails, pauses, loses a task manager,
/// and waits again.
#[test]
fn a_request_has_one_deadline_whatever_happens_to_it() {
    let mut fixture = Fixture::with(
        patient()
            .with_request_timeout(100 * SECOND)
            .with_retry_backoff(SECOND, 2 * SECOND),
    );
    let deadline = |fixture: &Fixture| {
        let request = fixture.manager.pending_slot_request(allocation(1));
        request.map(|request| request.deadline())
    };
    fixture.clock.advance(7 * SECOND);
    fixture.request(1, &small());
    let expected = Some(Timestamp::from_secs(107));
    assert_eq!(deadline(&fixture), expected);

    fixture.advance(10 * SECOND);
    let gateway = fixture.gateway();
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.register_with("tm", 1, &free_report("tm", &[small()]), &gateway);
    assert_eq!(
        fixture.status(1),
        Some(AllocationStatus::InFlight { slot_id: slot("tm", 0) })
    );
    assert_eq!(deadline(&fixture), expected);

    for attempt in [1, 2] {
        fixture.advance(10 * SECOND);
        let refused = Err(SlotAllocationError::rejected("no"));
        gateway.answer(attempt, refused).expect("it is pending");
        fixture.run();
        assert_eq!(deadline(&fixture), expected);
    }
    fixture.advance(SECOND);
    fixture.unregister(1);
    assert_eq!(deadline(&fixture), expected);

    fixture.advance(Timestamp::from_secs(107) - Timestamp::from_secs(38) - Duration::from_nanos(1));
    assert_eq!(deadline(&fixture), expected);
    fixture.log.take();
    fixture.advance(Duration::from_nanos(1));
    assert_eq!(deadline(&fixture), None);
    assert_eq!(
        failures(&fixture.log.take()),
        [(
            allocation(1),
            AllocationFailureCause::RequestFailed(RequestFailure::Timeout {
                timeout: 100 * SECOND,
                resource_profile: small(),
                last_failure: Some(SlotAllocationError::rejected("no")),
            })
        )]
    );
}

#[test]
fn a_request_in_flight_fails_at_its_deadline_and_its_task_executor_is_told() {
    let mut fixture = Fixture::with(patient().with_request_timeout(SECOND));
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_next(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.advance(SECOND / 2);
    fixture.request(2, &small());
    fixture.log.take();

    fixture.advance(SECOND / 2);
    fixture.expect(&[
        "failed 1: timeout",
        "free tm_0 of 1 #1",
        "request tm_0 for 2 #2",
        "granted 2 on tm_0",
    ]);
    assert_eq!(gateway.pending(), []);
}

#[test]
fn an_answer_that_never_comes_ends_the_attempt_after_the_rpc_timeout() {
    let mut fixture = Fixture::with(patient().with_rpc_timeout(5 * SECOND));
    fixture
        .register_free("tm", 1, &[small()])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();
    fixture.advance(5 * SECOND - Duration::from_nanos(1));
    fixture.expect(&[""; 0]);
    fixture.advance(Duration::from_nanos(1));
    fixture.expect(&["free tm_0 of 1 #1", "request tm_0 for 1 #2"]);
}

#[test]
fn the_rpc_timeout_begins_anew_with_each_attempt() {
    let mut fixture = Fixture::with(patient().with_rpc_timeout(5 * SECOND));
    let a = fixture.register_free("a", 1, &[small()]);
    let b = fixture.register_free("b", 2, &[small()]);
    a.answer_requests(GatewayAnswer::ByHand);
    b.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.advance(4 * SECOND);
    a.answer(1, Err(SlotAllocationError::unreachable("gone")))
        .expect("it is pending");
    fixture.run();
    fixture.log.take();
    fixture.advance(5 * SECOND - Duration::from_nanos(1));
    fixture.expect(&[""; 0]);
    fixture.advance(Duration::from_nanos(1));
    assert_eq!(
        fixture.brief_effects(),
        ["free b_0 of 1 #2"],
        "the second failure: it pauses"
    );
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

fn capped() -> Fixture {
    Fixture::with(patient().with_max_pending_requests(Some(2)))
}

#[test]
fn one_request_more_than_the_cap_is_refused() {
    let mut fixture = capped();
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();
    let refused = fixture.try_request(1, 3, &small());
    assert_eq!(refused, Err(SlotRequestError::TooManyPendingRequests { limit: 2 }));
    assert_eq!(fixture.status(3), None);
    assert_eq!(fixture.brief_effects(), [""; 0], "no worker was asked for");
}

#[test]
fn the_cap_counts_requests_in_flight_and_not_grants() {
    let mut fixture = capped();
    let gateway = fixture.register_free("tm", 1, &vec![small(); 3]);
    gateway.answer_next(Ok(Acknowledge::new()));
    gateway.answer_requests(GatewayAnswer::ByHand);
    for id in 1..=3 {
        fixture.request(id, &small());
    }
    assert!(fixture.try_request(1, 4, &small()).is_err());
    gateway.answer(2, Ok(Acknowledge::new())).expect("it is pending");
    fixture.run();
    assert!(fixture.try_request(1, 4, &small()).is_ok());
}

#[test]
fn a_duplicate_is_recognised_before_the_cap() {
    let mut fixture = capped();
    fixture.register("tm", 1, &report("tm", &[Some(9)]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    let waiting = SlotRequestOutcome::Duplicate(AllocationStatus::Waiting);
    assert_eq!(fixture.try_request(1, 1, &small()), Ok(waiting));
    let granted = SlotRequestOutcome::Duplicate(AllocationStatus::Granted { slot_id: slot("tm", 0) });
    assert_eq!(fixture.try_request(1, 9, &small()), Ok(granted));
    assert!(matches!(
        fixture.try_request(2, 1, &small()),
        Err(SlotRequestError::Conflict { .. })
    ));
}

#[test]
fn a_fitting_free_slot_does_not_lift_the_cap() {
    let mut fixture = capped();
    fixture.request(1, &profile(9.0, 0));
    fixture.request(2, &profile(9.0, 0));
    fixture.register_free("tm", 1, &[small()]);
    assert_eq!(
        fixture.try_request(1, 3, &small()),
        Err(SlotRequestError::TooManyPendingRequests { limit: 2 })
    );
}

#[test]
fn retries_are_exempt_from_the_cap() {
    let mut fixture = capped();
    let gateway = fixture.register_free("tm", 1, &[small(), small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.request(2, &small());
    for attempt in [1, 2] {
        let refused = Err(SlotAllocationError::rejected("no"));
        gateway.answer(attempt, refused).expect("it is pending");
    }
    fixture.log.take();
    fixture.run();
    fixture.expect(&["request tm_0 for 1 #3", "request tm_1 for 2 #4"]);
}

#[test]
fn a_request_that_ends_makes_room() {
    let mut fixture = Fixture::with(
        patient()
            .with_max_pending_requests(Some(1))
            .with_request_timeout(SECOND),
    );
    fixture.request(1, &small());
    fixture.advance(SECOND);
    fixture.request(2, &small());
    fixture.cancel(2);
    fixture.request(3, &small());
    assert_eq!(fixture.manager.num_pending_slot_requests(), 1);
}
