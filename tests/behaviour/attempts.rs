//! Attempts that fail: how their requests, slots and workers back off, and how other requests are
//! served meanwhile. Comments name the defects of FLINK-5810 that the tests guard against.

use std::time::Duration;

use slot_manager::error::{ConfigError, SlotAllocationError};
use slot_manager::message::{AllocationFailureCause, RequestFailure};
use slot_manager::outcome::AllocationStatus;
use slot_manager::testing::{GatewayAnswer, ManualScheduledExecutor, ScriptedGateway};
use slot_manager::view::SlotState;
use slot_manager::{SlotManagerConfig, SlotReport, SlotStatus, Timestamp};

use crate::common::{
    Fixture, MILLISECOND, Manager, NANOSECOND, SECOND, acknowledged, allocation, ask, cores, failures, free_report,
    granted, held_by, in_flight, instance, job, patient, profile, rejected, report, slot, small,
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
    backs_off_until(fixture, 0)
}

/// Returns until when a slot of worker `tm` backs off, by itself or with its worker.
fn backs_off_until(fixture: &Fixture, number: u32) -> Option<Timestamp> {
    match fixture.state(&slot("tm", number)) {
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

/// B.32: a request that backs off gets nothing of a worker that refused it, and holds up no other
/// request.
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

    // when, then: 1 takes no new slot of that worker, and needs no worker when that slot is lost
    fixture.report(7, &report("tm", &[None, None]));
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
    assert!(fixture.is_free(&slot("tm", 1)));
    fixture.report(7, &report("tm", &[None]));
    fixture.expect_nothing();

    // when, then
    fixture.falls_due_after(100 * MILLISECOND, &["request tm_0 for 1 #4", "granted 1 on tm_0"]);
}

#[test]
fn request_that_backs_off_takes_a_slot_of_a_worker_that_has_not_refused_it() {
    // given: 1 backs off after two rejections
    let mut fixture = Fixture::new();
    rejecting_slot(&mut fixture, "tm", 1);
    fixture.request(1, &small());
    assert!(fixture.ungranted(1).backs_off_until().is_some());
    fixture.log.take();

    // when
    fixture.register_free("other", 2, &[small()]);

    // then
    fixture.expect(&["request other_0 for 1 #3", "granted 1 on other_0"]);
    assert_eq!(fixture.manager.next_deadline(), None, "its backoff has ended");
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
    // given: two workers that do not answer
    let config = back_off(100 * MILLISECOND, 100 * MILLISECOND)
        .with_rpc_timeout(SECOND)
        .with_request_timeout(5 * SECOND);
    let mut fixture = Fixture::with(config);
    one_slot(&mut fixture, "tm", 7);
    one_slot(&mut fixture, "other", 8);
    fixture.request(1, &small());
    fixture.expect(&["request tm_0 for 1 #1"]);

    // when, then: the first retry is immediate
    fixture.falls_due_after(SECOND, &["free tm_0 of 1 #1", "request other_0 for 1 #2"]);
    assert_eq!(fixture.ungranted(1).failed_attempts(), 1);

    // when, then: the backoff of worker `tm` ends before the next failure
    fixture.falls_due_after(100 * MILLISECOND, &[]);
    fixture.falls_due_after(900 * MILLISECOND, &["free other_0 of 1 #2"]);
    assert_eq!(fixture.ungranted(1).failed_attempts(), 2);

    // when, then: the request and worker `other` back off equally long
    assert_eq!(fixture.advance(100 * MILLISECOND - NANOSECOND), 0);
    fixture.expect_nothing();
    assert_eq!(fixture.advance(NANOSECOND), 2);
    fixture.expect(&["request tm_0 for 1 #3"]);

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

/// B.32: the worker acknowledges other attempts, so the failures concern the slot.
#[test]
fn slot_backs_off_after_failures_of_two_allocations_in_a_row() {
    // given: 1 failed, and 2 is in flight to the same slot
    let mut fixture = Fixture::with(back_off(100 * MILLISECOND, SECOND));
    let gateway = fixture.register_pair(7);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.acknowledge_on_other_slot(&gateway);
    assert_eq!(slot_backs_off_until(&fixture), None);
    assert_eq!(fixture.status(2), Some(in_flight(&slot("tm", 0))));

    // when
    fixture.answer(&gateway, 2, rejected());

    // then: it is free, and neither an old nor a new request gets it
    assert_eq!(slot_backs_off_until(&fixture), Some(Timestamp::from_millis(100)));
    assert!(fixture.is_free(&slot("tm", 0)));
    assert_eq!(backs_off_until(&fixture, 1), None, "its worker does not back off");
    assert_eq!(fixture.manager.overview().slots.free.slots, 2);
    fixture.log.take();
    assert_eq!(fixture.request(3, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(4)]);

    // then: neither a report nor another acknowledgement of the worker ends the backoff
    fixture.report(7, &free_report("tm", &[small(), cores(2)]));
    fixture.expect_nothing();
    fixture.acknowledge_on_other_slot(&gateway);
    fixture.log.take();

    // when, then: after the backoff a request that the worker has not refused gets it; when it
    // fails again, the next backoff is longer
    fixture.falls_due_after(100 * MILLISECOND, &["request tm_0 for 3 #5"]);
    fixture.answer(&gateway, 5, rejected());
    assert_eq!(slot_backs_off_until(&fixture), Some(Timestamp::from_millis(300)));
    assert_eq!(backs_off_until(&fixture, 1), None);
}

/// Lets an attempt of a small request fail on slot `tm_0`, and cancels the request.
fn fail(fixture: &mut Fixture, gateway: &ScriptedGateway, id: u128) {
    fixture.request(id, &small());
    let attempts = gateway.pending();
    assert_eq!(attempts.len(), 1);
    fixture.answer(gateway, attempts[0].attempt, rejected());
    // The immediate retry on the same slot would be another failure of the same allocation.
    fixture.cancel(id);
}

/// Each backoff is twice as long as the one before, even if the allocations change less often than
/// they fail.
#[test]
fn backoff_of_a_slot_grows_up_to_the_maximum() {
    let mut fixture = Fixture::with(back_off(30 * MILLISECOND, 100 * MILLISECOND));
    let gateway = fixture.register_pair(1);
    let fail_once = |fixture: &mut Fixture, id: u128| {
        fixture.acknowledge_on_other_slot(&gateway);
        fail(fixture, &gateway, id);
        assert_eq!(fixture.state(&slot("tm", 1)), SlotState::Free);
    };

    // given
    fail_once(&mut fixture, 1);
    assert_eq!(fixture.state(&slot("tm", 0)), SlotState::Free);

    // when, then
    for (id, backoff) in [(2, 30), (3, 60), (4, 100), (5, 100)] {
        fail_once(&mut fixture, id);
        let until = fixture.clock_now() + backoff * MILLISECOND;
        assert_eq!(slot_backs_off_until(&fixture), Some(until), "after {id}");
        fixture.advance(backoff * MILLISECOND);
        assert_eq!(fixture.state(&slot("tm", 0)), SlotState::Free);
    }

    // when, then: two failures of one allocation do not count as two
    fail_once(&mut fixture, 5);
    assert_eq!(fixture.state(&slot("tm", 0)), SlotState::Free);
    fail_once(&mut fixture, 6);
    let until = fixture.clock_now() + 100 * MILLISECOND;
    assert_eq!(slot_backs_off_until(&fixture), Some(until));
}

#[test]
fn neither_slot_nor_worker_backs_off_while_one_allocation_fails_again_and_again() {
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
fn acknowledgement_resets_the_length_of_the_backoff_of_a_slot() {
    // given: two backoffs
    let mut fixture = Fixture::with(back_off(30 * MILLISECOND, SECOND));
    let gateway = fixture.register_pair(1);
    for (id, backoff) in [(1, 0), (2, 30), (3, 60)] {
        fixture.acknowledge_on_other_slot(&gateway);
        fail(&mut fixture, &gateway, id);
        let until = fixture.clock_now() + backoff * MILLISECOND;
        assert_eq!(slot_backs_off_until(&fixture), Some(until).filter(|_| backoff > 0));
        fixture.advance(backoff * MILLISECOND);
    }

    // when
    gateway.answer_next(acknowledged());
    assert_eq!(fixture.request(10, &small()), granted(&slot("tm", 0)));
    fixture.free(&slot("tm", 0), 10);

    // then: the first backoff again
    fail(&mut fixture, &gateway, 11);
    fixture.acknowledge_on_other_slot(&gateway);
    fail(&mut fixture, &gateway, 12);
    let until = fixture.clock_now() + 30 * MILLISECOND;
    assert_eq!(slot_backs_off_until(&fixture), Some(until));
}

#[test]
fn report_of_an_allocation_ends_the_backoff_of_its_slot() {
    // given: the slot backs off after failures of 1 and 2
    let mut fixture = Fixture::new();
    let gateway = fixture.register_pair(1);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.acknowledge_on_other_slot(&gateway);
    fixture.answer(&gateway, 2, rejected());
    assert!(slot_backs_off_until(&fixture).is_some());
    assert_eq!(backs_off_until(&fixture, 1), None);

    // when, then
    let free = SlotStatus::free(slot("tm", 1), cores(2));
    fixture.report(1, &SlotReport::new(vec![held_by(slot("tm", 0), 7, 1), free]));
    assert_eq!(fixture.manager.next_deadline(), None);

    // when, then: the requests begin anew
    fixture.report(1, &free_report("tm", &[small(), cores(2)]));
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
}

// The worker on which attempts failed.

/// Returns until when each slot of the pair of worker `tm` backs off.
fn pair_backs_off_until(fixture: &Fixture) -> [Option<Timestamp>; 2] {
    [0, 1].map(|number| backs_off_until(fixture, number))
}

/// Worker `tm` backs off after refusals of the small requests 1 and 2, which wait.
fn refused_two(fixture: &mut Fixture) -> ScriptedGateway {
    let gateway = fixture.register_pair(7);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.answer(&gateway, 1, rejected());
    assert_eq!(pair_backs_off_until(fixture), [None; 2]);
    assert_eq!(fixture.status(2), Some(in_flight(&slot("tm", 0))));
    fixture.answer(&gateway, 2, rejected());
    gateway
}

/// B.32
#[test]
fn worker_backs_off_after_failures_of_two_requests_in_a_row() {
    // given
    let mut fixture = Fixture::with(back_off(100 * MILLISECOND, SECOND));

    // when
    let gateway = refused_two(&mut fixture);

    // then: all its slots are free, and neither an old nor a new request gets one
    assert_eq!(pair_backs_off_until(&fixture), [Some(Timestamp::from_millis(100)); 2]);
    assert!(fixture.is_free(&slot("tm", 0)) && fixture.is_free(&slot("tm", 1)));
    assert_eq!(fixture.manager.overview().slots.free.slots, 2);
    fixture.log.take();
    assert_eq!(fixture.request(3, &small()), AllocationStatus::Waiting);
    assert_eq!(fixture.request(4, &cores(2)), AllocationStatus::Waiting);
    fixture.expect(&[&ask(4), "ask 5 for {cpu: 2}"]);

    // then: a report does not end the backoff
    fixture.report(7, &free_report("tm", &[small(), cores(2)]));
    fixture.expect_nothing();

    // when, then: after the backoff one request that the worker has not refused probes it; when it
    // fails again, the next backoff is longer
    fixture.falls_due_after(100 * MILLISECOND, &["request tm_0 for 3 #3"]);
    fixture.answer(&gateway, 3, rejected());
    assert_eq!(pair_backs_off_until(&fixture), [Some(Timestamp::from_millis(300)); 2]);
}

/// A refusal may be the fault of the request, another failure is not.
#[test]
fn worker_backs_off_at_once_if_it_is_unreachable_or_does_not_answer() {
    for error in [
        SlotAllocationError::unreachable("no route"),
        SlotAllocationError::Timeout,
    ] {
        // given
        let mut fixture = Fixture::with(back_off(100 * MILLISECOND, SECOND));
        let gateway = fixture.register_pair(7);
        fixture.request(1, &small());

        // when
        fixture.answer(&gateway, 1, Err(error));

        // then
        assert_eq!(pair_backs_off_until(&fixture), [Some(Timestamp::from_millis(100)); 2]);
    }
}

/// Each backoff is twice as long as the one before.
#[test]
fn backoff_of_a_worker_grows_up_to_the_maximum() {
    let mut fixture = Fixture::with(back_off(30 * MILLISECOND, 100 * MILLISECOND));
    let gateway = fixture.register_pair(1);

    // given
    fail(&mut fixture, &gateway, 1);
    assert_eq!(fixture.state(&slot("tm", 0)), SlotState::Free);

    // when, then: it stays until a probe is acknowledged
    for (id, backoff) in [(2, 30), (3, 60), (4, 100), (5, 100)] {
        fail(&mut fixture, &gateway, id);
        let until = fixture.clock_now() + backoff * MILLISECOND;
        assert_eq!(pair_backs_off_until(&fixture), [Some(until); 2], "after {id}");
        fixture.advance(backoff * MILLISECOND);
        assert_eq!(pair_backs_off_until(&fixture), [Some(until); 2], "after {id}");
    }

    // when, then: each failed probe counts, also of the same request
    fail(&mut fixture, &gateway, 5);
    let until = fixture.clock_now() + 100 * MILLISECOND;
    assert_eq!(pair_backs_off_until(&fixture), [Some(until); 2]);
}

#[test]
fn acknowledgement_ends_the_backoff_of_all_slots_of_a_worker() {
    // given: 1 and 2 were refused, and 4 probes the worker
    let mut fixture = Fixture::with(back_off(100 * MILLISECOND, SECOND));
    let gateway = refused_two(&mut fixture);
    fixture.request(4, &cores(2));
    fixture.advance(100 * MILLISECOND);
    assert_eq!(fixture.status(4), Some(in_flight(&slot("tm", 1))));
    assert!(slot_backs_off_until(&fixture).is_some());
    fixture.log.take();

    // when
    fixture.answer(&gateway, 3, acknowledged());

    // then
    fixture.expect(&["granted 4 on tm_1", "request tm_0 for 1 #4"]);
    assert_eq!(fixture.manager.next_deadline(), None);
}

#[test]
fn acknowledgement_resets_the_length_of_the_backoff_of_a_worker() {
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
fn report_of_a_wanted_allocation_ends_the_backoff_of_its_worker() {
    // given: 1 and 2 were refused, and 3 is in flight
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None; 3]));
    for id in 1..=3 {
        fixture.request(id, &small());
    }
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, rejected());
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
    assert!(backs_off_until(&fixture, 1).is_some());
    fixture.log.take();

    // when
    fixture.report(1, &report("tm", &[None, None, Some(3)]));

    // then
    fixture.expect(&["granted 3 on tm_2", "request tm_1 for 2 #5"]);
    assert_eq!(fixture.manager.next_deadline(), None);
}

#[test]
fn report_of_another_allocation_does_not_end_the_backoff_of_a_worker() {
    // given
    let mut fixture = Fixture::new();
    refused_two(&mut fixture);
    let until = backs_off_until(&fixture, 1);
    assert!(until.is_some());

    // when
    let free = SlotStatus::free(slot("tm", 1), cores(2));
    fixture.report(7, &SlotReport::new(vec![held_by(slot("tm", 0), 7, 1), free]));

    // then
    assert_eq!(backs_off_until(&fixture, 1), until);
}

#[test]
fn report_that_ends_a_probe_lets_another_request_probe_the_worker() {
    for is_omitted in [false, true] {
        // given: 1 and 2 were refused, and 4 probes the worker
        let mut fixture = Fixture::new();
        refused_two(&mut fixture);
        fixture.request(4, &cores(2));
        fixture.advance(50 * MILLISECOND);
        assert_eq!(fixture.status(4), Some(in_flight(&slot("tm", 1))));
        fixture.log.take();

        // when: the slot is held by another allocation, or gone
        let mut statuses = vec![SlotStatus::free(slot("tm", 0), small())];
        if !is_omitted {
            statuses.push(SlotStatus::allocated(slot("tm", 1), cores(2), allocation(7), job(1)));
        }
        fixture.report(7, &SlotReport::new(statuses));

        // then
        let effects = fixture.brief_effects();
        assert!(effects.contains(&"request tm_0 for 1 #4".to_owned()), "{effects:?}");
    }
}
