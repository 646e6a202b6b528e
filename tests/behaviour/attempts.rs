//! Attempts that fail: how their requests and slots back off, and how other requests are served
//! meanwhile. Comments name the defects of FLINK-5810 that the tests guard against.

use std::time::Duration;

use slot_manager::error::{ConfigError, SlotAllocationError};
use slot_manager::message::{AllocationFailureCause, RequestFailure};
use slot_manager::outcome::AllocationStatus;
use slot_manager::testing::{GatewayAnswer, ManualScheduledExecutor, ScriptedGateway};
use slot_manager::view::SlotState;
use slot_manager::{SlotManagerConfig, Timestamp};

use crate::common::{
    Fixture, MILLISECOND, Manager, SECOND, acknowledged, allocation, ask, failures, granted, in_flight, instance,
    patient, profile, rejected, report, slot, small,
};

fn back_off(initial: Duration, max: Duration) -> SlotManagerConfig {
    patient().with_retry_backoff(initial, max)
}

/// One small slot, whose gateway is answered by hand.
fn one_slot(fixture: &mut Fixture, worker: &str, instance: u128) -> ScriptedGateway {
    fixture.register_by_hand(worker, instance, &report(worker, &[None]))
}

/// One small slot, whose gateway rejects every attempt.
fn rejecting_slot(fixture: &mut Fixture, worker: &str, instance: u128) -> ScriptedGateway {
    let gateway = fixture.register_free(worker, instance, &[small()]);
    gateway.answer_requests(rejected());
    gateway
}

/// Returns until when slot `tm_0` backs off.
fn slot_backs_off_until(fixture: &Fixture) -> Option<Timestamp> {
    match fixture.state(&slot("tm", 0)) {
        SlotState::BackingOff { until } => Some(until),
        _ => None,
    }
}

// The request that failed.

/// B.32
#[test]
fn retry_comes_at_once_and_then_after_a_growing_backoff() {
    // given: a task executor that always refuses
    let mut fixture = Fixture::with(back_off(100 * MILLISECOND, 350 * MILLISECOND));
    rejecting_slot(&mut fixture, "tm", 7);

    // when, then: the first retry is immediate, on the same slot
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&["request tm_0 for 1 #1", "request tm_0 for 1 #2"]);
    assert_eq!(fixture.run(), 0);

    // when, then: each backoff is twice as long as the one before, up to the maximum
    let mut ends = Timestamp::ZERO;
    for (attempt, milliseconds) in [(3, 100), (4, 200), (5, 350), (6, 350), (7, 350)] {
        let backoff = milliseconds * MILLISECOND;
        ends = ends + backoff;
        assert_eq!(fixture.ungranted(1).failed_attempts(), attempt - 1);
        assert_eq!(fixture.ungranted(1).backs_off_until(), Some(ends));
        assert_eq!(fixture.manager.next_deadline(), Some(ends));
        fixture.falls_due_after(backoff, &[&format!("request tm_0 for 1 #{attempt}")]);
    }
}

#[test]
fn slot_is_offered_to_other_waiting_requests_first() {
    // given
    let mut fixture = Fixture::new();
    let gateway = one_slot(&mut fixture, "tm", 1);
    for id in 1..=3 {
        fixture.request(id, &small());
    }
    fixture.log.take();

    // when
    fixture.answer(&gateway, 1, rejected());

    // then
    fixture.expect(&["request tm_0 for 2 #2", &ask(3)]);
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn failed_request_gets_the_slot_again_at_once_if_it_fits_no_other_request() {
    // given
    let mut fixture = Fixture::new();
    let gateway = one_slot(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    fixture.request(2, &profile(9.0, 0));
    fixture.log.take();

    // when
    fixture.answer(&gateway, 1, rejected());

    // then
    fixture.expect(&["request tm_0 for 1 #2"]);
}

#[test]
fn first_retry_prefers_a_slot_that_did_not_just_fail() {
    // given
    let mut fixture = Fixture::new();
    let gateway = one_slot(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    fixture.register_free("other", 2, &[small()]);
    fixture.log.take();

    // when
    fixture.answer(&gateway, 1, rejected());

    // then
    fixture.expect(&["request other_0 for 1 #2", "granted 1 on other_0"]);
}

/// B.32: a request that backs off gets nothing, and holds up no other request.
#[test]
fn other_requests_are_served_while_one_backs_off() {
    // given: 1 backs off after two rejections
    let mut fixture = Fixture::with(back_off(100 * MILLISECOND, 100 * MILLISECOND));
    let gateway = fixture.gateway();
    gateway.answer_next(rejected());
    gateway.answer_next(rejected());
    fixture.register_with("tm", 7, &report("tm", &[None]), &gateway);
    fixture.request(1, &small());
    fixture.log.take();

    // when, then: the slot is not reserved for 1
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 0)));
    fixture.free(&slot("tm", 0), 2);
    fixture.expect(&["request tm_0 for 2 #3", "granted 2 on tm_0"]);
    assert!(fixture.is_free(&slot("tm", 0)));

    // when, then: 1 takes no new slot either, and needs no worker when that slot is lost
    fixture.register_free("other", 8, &[small()]);
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
    assert!(fixture.is_free(&slot("other", 0)));
    fixture.unregister(8);
    fixture.expect_nothing();

    // when, then
    fixture.falls_due_after(100 * MILLISECOND, &["request tm_0 for 1 #4", "granted 1 on tm_0"]);
}

#[test]
fn request_has_its_old_place_after_its_backoff() {
    // given: 1 backs off, and 2 waits
    let mut fixture = Fixture::new();
    rejecting_slot(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    fixture.unregister(1);
    fixture.request(2, &small());

    // when
    fixture.advance(50 * MILLISECOND);
    fixture.register_free("other", 2, &[small()]);

    // then
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 0))));
}

/// B.32: an answer that does not come is a failed attempt, too.
#[test]
fn unanswered_attempt_is_retried_as_a_rejected_one() {
    // given
    let config = back_off(100 * MILLISECOND, 100 * MILLISECOND)
        .with_rpc_timeout(SECOND)
        .with_request_timeout(5 * SECOND);
    let mut fixture = Fixture::with(config);
    one_slot(&mut fixture, "tm", 7);
    fixture.request(1, &small());
    fixture.expect(&["request tm_0 for 1 #1"]);

    // when, then
    fixture.falls_due_after(SECOND, &["free tm_0 of 1 #1", "request tm_0 for 1 #2"]);
    assert_eq!(fixture.ungranted(1).failed_attempts(), 1);
    fixture.falls_due_after(SECOND, &["free tm_0 of 1 #2"]);
    assert_eq!(fixture.ungranted(1).failed_attempts(), 2);
    fixture.falls_due_after(100 * MILLISECOND, &["request tm_0 for 1 #3"]);

    // when, then: the notification carries the last failure
    fixture.advance(2900 * MILLISECOND);
    assert_eq!(
        failures(&fixture.log.take()),
        [(
            allocation(1),
            AllocationFailureCause::RequestFailed(RequestFailure::Timeout {
                timeout: 5 * SECOND,
                resource_profile: small(),
                last_failure: Some(SlotAllocationError::Timeout),
            })
        )]
    );
}

#[test]
fn request_that_begins_to_back_off_sets_its_promised_slot_free_for_others() {
    // given: 1 backs off, and a worker is promised for 2
    let mut fixture = Fixture::new();
    rejecting_slot(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    fixture
        .actions
        .answer_next_allocation(Ok(slot_manager::message::WorkerPromise::Unspecified));
    fixture.request(2, &profile(2.0, 0));
    fixture.log.take();

    // when
    fixture.request(3, &profile(2.0, 0));

    // then: 1 is bound to no promised slot
    fixture.expect(&["ask 2 for {cpu: 2}"]);
    assert_eq!(fixture.promised(), (1, 0));
}

#[test]
fn request_that_is_cancelled_while_it_backs_off_leaves_nothing_behind() {
    // given
    let mut fixture = Fixture::new();
    rejecting_slot(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.cancel(1);

    // then: no deadline, and nothing in flight to give up
    assert_eq!(fixture.manager.next_deadline(), None);
    fixture.expect_nothing();

    // then: a report that shows its allocation grants no request
    fixture.report(1, &report("tm", &[Some(1)]));
    fixture.expect_nothing();
    let task_manager = fixture.manager.task_manager(instance(1)).expect("registered");
    assert_eq!(task_manager.overview().slots.allocated.slots, 1);
}

/// B.34: a manager is not made with a configuration that contradicts itself.
#[test]
fn longest_backoff_must_not_be_shorter_than_the_first() {
    // given
    let config = back_off(200 * MILLISECOND, 100 * MILLISECOND);
    let error = ConfigError::MaxRetryBackoffTooShort {
        max: 100 * MILLISECOND,
        initial: 200 * MILLISECOND,
    };

    // when, then
    assert_eq!(config.validate(), Err(error.clone()));
    let refused = Manager::new(config, ManualScheduledExecutor::new());
    assert_eq!(refused.map(|_| ()), Err(error));
}

// The slot that failed.

/// B.32
#[test]
fn slot_backs_off_after_failures_of_two_allocations_in_a_row() {
    // given: 1 failed, and 2 is in flight to the same slot
    let mut fixture = Fixture::with(back_off(100 * MILLISECOND, SECOND));
    let gateway = one_slot(&mut fixture, "tm", 7);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.answer(&gateway, 1, rejected());
    assert_eq!(slot_backs_off_until(&fixture), None);
    assert_eq!(fixture.status(2), Some(in_flight(&slot("tm", 0))));

    // when
    fixture.answer(&gateway, 2, rejected());

    // then: it is free, and neither an old nor a new request gets it
    assert_eq!(slot_backs_off_until(&fixture), Some(Timestamp::from_millis(100)));
    assert!(fixture.is_free(&slot("tm", 0)));
    assert_eq!(fixture.manager.overview().slots.free.slots, 1);
    fixture.log.take();
    assert_eq!(fixture.request(3, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(4)]);

    // then: a report does not end the backoff
    fixture.report(7, &report("tm", &[None]));
    fixture.expect_nothing();

    // when, then: after the backoff the oldest request gets it; when it fails again, the next
    // backoff is longer
    fixture.falls_due_after(100 * MILLISECOND, &["request tm_0 for 1 #3"]);
    fixture.answer(&gateway, 3, rejected());
    assert_eq!(slot_backs_off_until(&fixture), Some(Timestamp::from_millis(300)));
}

/// Each backoff is twice as long as the one before, even if the allocations change less often than
/// they fail.
#[test]
fn backoff_of_a_slot_grows_up_to_the_maximum() {
    let mut fixture = Fixture::with(back_off(30 * MILLISECOND, 100 * MILLISECOND));
    let gateway = one_slot(&mut fixture, "tm", 1);
    let mut attempt = 0;
    let mut fail = |fixture: &mut Fixture, id: u128| {
        fixture.request(id, &small());
        attempt += 1;
        fixture.answer(&gateway, attempt, rejected());
        // The immediate retry on the same slot would be another failure of the same allocation.
        if fixture.status(id) == Some(in_flight(&slot("tm", 0))) {
            attempt += 1;
        }
        fixture.cancel(id);
    };

    // given
    fail(&mut fixture, 1);
    assert_eq!(fixture.state(&slot("tm", 0)), SlotState::Free);

    // when, then
    for (id, backoff) in [(2, 30), (3, 60), (4, 100), (5, 100)] {
        fail(&mut fixture, id);
        let until = fixture.clock_now() + backoff * MILLISECOND;
        assert_eq!(slot_backs_off_until(&fixture), Some(until), "after {id}");
        fixture.advance(backoff * MILLISECOND);
        assert_eq!(fixture.state(&slot("tm", 0)), SlotState::Free);
    }

    // when, then: two failures of one allocation do not count as two
    fail(&mut fixture, 5);
    assert_eq!(fixture.state(&slot("tm", 0)), SlotState::Free);
    fail(&mut fixture, 6);
    let until = fixture.clock_now() + 100 * MILLISECOND;
    assert_eq!(slot_backs_off_until(&fixture), Some(until));
}

#[test]
fn slot_on_which_one_allocation_fails_again_and_again_does_not_back_off() {
    // given
    let mut fixture = Fixture::with(back_off(30 * MILLISECOND, 100 * MILLISECOND));
    let gateway = rejecting_slot(&mut fixture, "tm", 1);

    // when, then
    fixture.request(1, &small());
    for _ in 0..5 {
        assert_eq!(fixture.state(&slot("tm", 0)), SlotState::Free);
        fixture.advance(100 * MILLISECOND);
    }

    // then: another request gets it
    gateway.answer_requests(acknowledged());
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 0)));
}

/// B.32
#[test]
fn acknowledgement_ends_a_run_of_failures() {
    // given: 1 failed on the slot before it was granted there
    let mut fixture = Fixture::new();
    let gateway = one_slot(&mut fixture, "tm", 7);
    fixture.request(1, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, acknowledged());
    fixture.free(&slot("tm", 0), 1);
    fixture.request(2, &small());
    fixture.log.take();

    // when: another allocation fails
    fixture.answer(&gateway, 3, rejected());

    // then: this is the first failure in a row
    fixture.expect(&["request tm_0 for 2 #4"]);
}

#[test]
fn acknowledgement_resets_the_length_of_the_backoff() {
    // given
    let mut fixture = Fixture::with(back_off(30 * MILLISECOND, SECOND));
    let gateway = fixture.register_free("tm", 1, &[small()]);
    let fail_in_turn = |fixture: &mut Fixture, first: u128| {
        // The first request is cancelled before its retry can fail, too.
        gateway.answer_next(rejected());
        gateway.answer_next(GatewayAnswer::ByHand);
        fixture.request(first, &small());
        fixture.cancel(first);
        // The second one is not retried: the slot backs off.
        gateway.answer_next(rejected());
        fixture.request(first + 1, &small());
        fixture.cancel(first + 1);
    };
    fail_in_turn(&mut fixture, 1);
    let until = fixture.clock_now() + 30 * MILLISECOND;
    assert_eq!(slot_backs_off_until(&fixture), Some(until));
    fixture.advance(30 * MILLISECOND);

    // when
    fixture.request(10, &small());
    assert_eq!(fixture.status(10), Some(granted(&slot("tm", 0))));
    fixture.free(&slot("tm", 0), 10);

    // then: the first backoff again
    fail_in_turn(&mut fixture, 11);
    let until = fixture.clock_now() + 30 * MILLISECOND;
    assert_eq!(slot_backs_off_until(&fixture), Some(until));
}

#[test]
fn report_of_an_allocation_ends_the_backoff_of_its_slot() {
    // given: the slot backs off after failures of 1 and 2
    let mut fixture = Fixture::new();
    let gateway = one_slot(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, rejected());
    assert!(slot_backs_off_until(&fixture).is_some());

    // when, then
    fixture.report(1, &report("tm", &[Some(7)]));
    assert_eq!(fixture.manager.next_deadline(), None);

    // when, then: the requests begin anew
    fixture.report(1, &report("tm", &[None]));
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
}
