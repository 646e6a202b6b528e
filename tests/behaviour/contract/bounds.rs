//! Nothing grows without a bound: requests that are not granted can be capped.

use slot_manager::error::SlotRequestError;
use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};

use crate::common::{Fixture, SECOND, acknowledged, granted, patient, profile, rejected, report, slot, small};

/// At most two requests may be ungranted.
fn capped() -> Fixture {
    Fixture::with(patient().with_max_pending_requests(Some(2)))
}

#[test]
fn request_beyond_the_cap_is_refused() {
    // given
    let mut fixture = capped();
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when
    let refused = fixture.try_request(1, 3, &small());

    // then: no worker is requested for it
    assert_eq!(refused, Err(SlotRequestError::TooManyPendingRequests { limit: 2 }));
    assert_eq!(fixture.status(3), None);
    fixture.expect_nothing();
}

#[test]
fn cap_counts_requests_in_flight_and_not_grants() {
    // given: one granted, two in flight
    let mut fixture = capped();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None, None, None]));
    gateway.answer_next(acknowledged());
    for id in 1..=3 {
        fixture.request(id, &small());
    }

    // when, then
    assert!(fixture.try_request(1, 4, &small()).is_err());

    // when, then
    fixture.answer(&gateway, 2, acknowledged());
    assert!(fixture.try_request(1, 4, &small()).is_ok());
}

#[test]
fn duplicate_is_recognised_before_the_cap() {
    // given
    let mut fixture = capped();
    fixture.register("tm", 1, &report("tm", &[Some(9)]));
    fixture.request(1, &small());
    fixture.request(2, &small());

    // when, then
    let waiting = SlotRequestOutcome::Duplicate(AllocationStatus::Waiting);
    assert_eq!(fixture.try_request(1, 1, &small()), Ok(waiting));
    let granted = SlotRequestOutcome::Duplicate(granted(&slot("tm", 0)));
    assert_eq!(fixture.try_request(1, 9, &small()), Ok(granted));
    assert!(matches!(
        fixture.try_request(2, 1, &small()),
        Err(SlotRequestError::Conflict { .. })
    ));
}

#[test]
fn free_slot_that_fits_does_not_lift_the_cap() {
    // given
    let mut fixture = capped();
    fixture.request(1, &profile(9.0, 0));
    fixture.request(2, &profile(9.0, 0));
    fixture.register_free("tm", 1, &[small()]);

    // when, then
    assert_eq!(
        fixture.try_request(1, 3, &small()),
        Err(SlotRequestError::TooManyPendingRequests { limit: 2 })
    );
}

#[test]
fn retries_are_exempt_from_the_cap() {
    // given
    let mut fixture = capped();
    let gateways = ["a", "b"].map(|tm| fixture.register_by_hand(tm, tm.as_bytes()[0].into(), &report(tm, &[None])));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when
    for (gateway, attempt) in gateways.iter().zip([1, 2]) {
        gateway
            .answer(attempt, rejected())
            .expect("the attempt awaits its answer");
    }
    fixture.run();

    // then
    fixture.expect(&["request a_0 for 1 #3", "request b_0 for 2 #4"]);
}

#[test]
fn request_that_ends_makes_room() {
    // given
    let config = patient()
        .with_max_pending_requests(Some(1))
        .with_request_timeout(SECOND);
    let mut fixture = Fixture::with(config);

    // when, then: one expires, one is cancelled
    fixture.request(1, &small());
    fixture.advance(SECOND);
    fixture.request(2, &small());
    fixture.cancel(2);
    fixture.request(3, &small());
    assert_eq!(fixture.manager.overview().pending_requests, 1);
}
