//! Unfulfillable requests: if configured, a request that no slot and no worker could serve fails at
//! once.

use std::time::Duration;

use slot_manager::error::{ResourceManagerError, SlotRequestError};
use slot_manager::message::{AllocationFailureCause, RequestFailure};
use slot_manager::outcome::AllocationStatus;
use slot_manager::testing::{Action, Effect};
use slot_manager::view::SlotState;
use slot_manager::{ResourceProfile, SlotManagerConfig, SlotReport, SlotStatus};

use crate::common::{
    Fixture, SECOND, acknowledged, allocation, ask, described, failures, free_report, granted, in_flight, job, patient,
    profile, rejected, report, slot, small, workers_of,
};

const FAILED: &str = "failed 1: unfulfillable";

/// Requests that cannot be fulfilled fail.
fn failing(config: SlotManagerConfig) -> SlotManagerConfig {
    config.with_fail_unfulfillable_requests(true)
}

/// Requests that cannot be fulfilled fail. The resource manager declines each worker, and no worker
/// is described.
fn declining() -> Fixture {
    Fixture::with(failing(patient()))
}

/// Requests that cannot be fulfilled fail, and workers are described to have small slots.
fn knowing() -> Fixture {
    Fixture::with(failing(described(2)))
}

fn wide() -> ResourceProfile {
    profile(4.0, 400)
}

fn tiny() -> ResourceProfile {
    profile(0.25, 25)
}

/// Checks that a request fails with an error of its registration.
#[track_caller]
fn assert_refused(fixture: &mut Fixture, id: u128, profile: &ResourceProfile) {
    let failure = RequestFailure::Unfulfillable {
        resource_profile: profile.clone(),
    };
    assert_eq!(
        fixture.try_request(1, id, profile),
        Err(SlotRequestError::Failed {
            allocation_id: allocation(id),
            failure: Box::new(failure),
        })
    );
    assert_eq!(fixture.status(id), None);
}

// When the request is registered.

#[test]
fn without_a_description_a_request_fails_if_its_worker_is_declined() {
    // given
    let mut fixture = declining();

    // when, then
    assert_refused(&mut fixture, 1, &small());
    fixture.expect(&[&ask(1)]);
    assert_eq!(fixture.manager.overview().pending_requests, 0);
}

#[test]
fn promise_that_does_not_fit_counts_as_declined() {
    // given
    let mut fixture = declining();
    fixture.promise_next(&[tiny()]);

    // when, then
    assert_refused(&mut fixture, 1, &small());
    fixture.expect(&[&ask(1), "withdraw 1"]);
}

#[test]
fn promise_without_slots_counts_as_declined() {
    let mut fixture = declining();
    fixture.promise_next(&[]);
    assert_refused(&mut fixture, 1, &small());
}

#[test]
fn error_of_the_resource_manager_is_returned_as_such() {
    // given
    let mut fixture = declining();
    let error = ResourceManagerError::new("no quota");
    fixture.actions.answer_next_allocation(Err(error.clone()));
    let failure = Box::new(RequestFailure::ResourceManager(error));
    let allocation_id = allocation(1);

    // when, then
    assert_eq!(
        fixture.try_request(1, 1, &small()),
        Err(SlotRequestError::Failed { allocation_id, failure })
    );
}

#[test]
fn with_a_description_a_request_that_no_worker_would_serve_fails_without_a_worker_request() {
    let mut fixture = knowing();
    assert_refused(&mut fixture, 1, &wide());
    fixture.expect_nothing();
}

#[test]
fn with_a_description_a_request_fails_if_one_worker_would_exceed_a_limit() {
    for config in [
        patient().with_workers(workers_of(2).with_max_slots(Some(1))),
        patient().with_workers(workers_of(2).with_max_total_cpu_cores(Some(1.9))),
        patient().with_workers(workers_of(2).with_max_total_memory_bytes(Some(1))),
    ] {
        let mut fixture = Fixture::promising(failing(config));
        assert_refused(&mut fixture, 1, &small());
        fixture.expect_nothing();
    }
}

#[test]
fn with_a_description_a_request_waits_if_its_worker_is_declined() {
    let mut fixture = knowing();
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(1)]);
}

#[test]
fn request_waits_if_a_limit_defers_its_worker_request() {
    // given
    let mut fixture = Fixture::promising(failing(patient().with_workers(workers_of(2).with_max_slots(Some(2)))));
    fixture.register("tm", 1, &report("tm", &[Some(50), Some(51)]));

    // when, then
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect_nothing();
}

#[test]
fn failed_request_does_not_affect_other_requests() {
    // given
    let mut fixture = declining();
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.request(2, &small());
    fixture.log.take();

    // when, then
    assert_refused(&mut fixture, 1, &wide());
    fixture.expect(&["ask 2 for {cpu: 4, task heap: 400 MiB}"]);
    assert_eq!(fixture.status(2), Some(AllocationStatus::Waiting));
}

// Slots that count as fitting.

#[test]
fn request_waits_for_an_allocated_slot_that_fits() {
    for mut fixture in [declining(), knowing()] {
        // given
        fixture.register("tm", 1, &report("tm", &[Some(50)]));

        // when, then
        assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);

        // when, then
        fixture.free(&slot("tm", 0), 50);
        assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    }
}

#[test]
fn with_a_description_a_request_waits_for_an_allocated_slot_that_is_larger_than_described() {
    // given
    let mut fixture = knowing();
    fixture.register_free("tm", 1, &[wide()]);
    fixture.request(50, &small());

    // when, then
    assert_eq!(fixture.request(1, &wide()), AllocationStatus::Waiting);
}

#[test]
fn allocated_slot_that_is_too_small_does_not_count() {
    let mut fixture = declining();
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    assert_refused(&mut fixture, 1, &wide());
}

#[test]
fn request_waits_for_a_slot_in_flight_that_fits() {
    // given
    let mut fixture = declining();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(50, &small());

    // when, then
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);

    // when, then
    fixture.answer(&gateway, 1, acknowledged());
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn request_waits_for_a_slot_that_backs_off_and_fits() {
    for with_its_worker in [false, true] {
        // given: attempts of two allocations fail in a row
        let config = patient().with_retry_backoff(10 * SECOND, 10 * SECOND);
        let mut fixture = Fixture::with(failing(config));
        let gateway = fixture.register_pair(1);
        fixture.request(1, &small());
        fixture.request(2, &small());
        fixture.answer(&gateway, 1, rejected());
        if !with_its_worker {
            fixture.acknowledge_on_other_slot(&gateway);
        }
        fixture.answer(&gateway, 2, rejected());
        assert!(matches!(fixture.state(&slot("tm", 0)), SlotState::BackingOff { .. }));
        assert_eq!(fixture.state(&slot("tm", 1)) == SlotState::Free, !with_its_worker);

        // when, then
        assert_eq!(fixture.request(3, &small()), AllocationStatus::Waiting);
        assert_eq!(
            [1, 2].map(|id| fixture.status(id)),
            [const { Some(AllocationStatus::Waiting) }; 2]
        );
        fixture.advance(10 * SECOND);
        assert_eq!(fixture.status(3), Some(in_flight(&slot("tm", 0))));
    }
}

#[test]
fn request_waits_for_a_blocked_slot_that_fits() {
    // given
    let mut fixture = declining();
    fixture.register_free("tm", 1, &[small()]);
    fixture.block("tm");

    // when, then
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
}

#[test]
fn request_waits_for_a_promised_slot_that_is_bound_to_another_request() {
    // given
    let mut fixture = declining();
    fixture.promise_next(&[small()]);
    fixture.request(1, &small());

    // when, then
    assert_eq!(fixture.request(2, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(1), &ask(2)]);
    assert_eq!(fixture.bound_to(2), None);
}

#[test]
fn promised_slot_that_is_too_small_does_not_count() {
    // given
    let mut fixture = declining();
    fixture.promise_next(&[small()]);
    fixture.request(1, &small());

    // when, then
    assert_refused(&mut fixture, 2, &wide());
}

// When slots and promises go.

#[test]
fn request_fails_with_a_notice_when_the_last_fitting_task_manager_is_lost() {
    // given
    let mut fixture = declining();
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.register("small", 2, &SlotReport::default());
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.unregister(1);

    // then
    let effects = fixture.log.take();
    let failed = AllocationFailureCause::RequestFailed(RequestFailure::Unfulfillable {
        resource_profile: small(),
    });
    assert_eq!(failures(&effects).last(), Some(&(allocation(1), failed)));
    assert_eq!(effects.len(), 2, "the loss and the failure, but no worker request");
    assert_eq!(fixture.status(1), None);
}

#[test]
fn request_waits_while_another_fitting_task_manager_is_left() {
    // given
    let mut fixture = declining();
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.register("other", 2, &report("other", &[Some(51)]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.unregister(1);

    // then
    fixture.expect(&["lost 50 on tm_0: unregistered"]);

    // when, then
    fixture.unregister(2);
    fixture.expect(&["lost 51 on other_0: unregistered", FAILED]);
}

#[test]
fn with_a_description_a_request_fails_when_the_last_fitting_task_manager_is_lost() {
    // given
    let mut fixture = knowing();
    fixture.register_free("tm", 1, &[wide()]);
    fixture.request(50, &wide());
    fixture.request(1, &wide());
    fixture.request(2, &small());
    fixture.log.take();

    // when
    fixture.unregister(1);

    // then
    fixture.expect(&["lost 50 on tm_0: unregistered", FAILED]);
    assert_eq!(
        fixture.status(2),
        Some(AllocationStatus::Waiting),
        "a worker could serve it"
    );
}

#[test]
fn request_fails_when_the_last_fitting_slot_is_no_longer_reported() {
    // given
    let mut fixture = declining();
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.report(1, &SlotReport::default());

    // then
    fixture.expect(&["lost 50 on tm_0: removed", FAILED]);
}

#[test]
fn request_fails_when_the_last_fitting_task_manager_is_released() {
    // given: it is idle because it is blocked
    let mut fixture = Fixture::with(failing(patient().with_task_manager_timeout(10 * SECOND)));
    fixture.block("tm");
    fixture.register_free("tm", 1, &[small()]);
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)", FAILED]);
}

#[test]
fn requests_fail_when_the_worker_with_the_last_fitting_promised_slot_fails() {
    // given: request 1 is bound to the promised slot, and request 2 waits
    let mut fixture = declining();
    fixture.promise_next(&[small()]);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when
    fixture.worker_failed(1);

    // then
    fixture.expect(&[&ask(3), FAILED, "failed 2: unfulfillable"]);
}

#[test]
fn with_a_description_a_request_fails_when_the_worker_with_the_last_fitting_promised_slot_fails() {
    // given: a worker that is larger than described
    let mut fixture = knowing();
    fixture.promise_next(&[wide()]);
    fixture.request(2, &small());
    assert_eq!(fixture.request(1, &wide()), AllocationStatus::Waiting);
    fixture.log.take();

    // when
    fixture.worker_failed(1);

    // then
    fixture.expect(&[&ask(2), FAILED]);
    assert_eq!(fixture.status(2), Some(AllocationStatus::Waiting));
}

#[test]
fn request_fails_when_the_last_fitting_promise_expires() {
    // given
    let mut fixture = Fixture::with(failing(patient().with_worker_registration_timeout(10 * SECOND)));
    fixture.promise_next(&[small()]);
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["withdraw 1", &ask(2), FAILED]);
}

#[test]
fn request_in_flight_that_loses_its_task_manager_fails_if_its_worker_is_declined() {
    // given
    let mut fixture = declining();
    fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.unregister(1);

    // then
    fixture.expect(&[&ask(1), FAILED]);
}

#[test]
fn request_that_backs_off_does_not_fail_before_its_backoff_ends() {
    // given: two attempts failed
    let mut fixture = Fixture::with(failing(patient().with_retry_backoff(10 * SECOND, 10 * SECOND)));
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, rejected());
    fixture.log.take();

    // when, then
    fixture.unregister(1);
    fixture.expect_nothing();
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(1), FAILED]);
}

// From when on requests fail.

#[test]
fn no_request_fails_unless_it_is_configured() {
    let mut fixture = Fixture::with(patient());
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(1)]);
}

#[test]
fn no_request_fails_before_the_grace_period_is_over() {
    // given
    let config = failing(patient()).with_unfulfillable_grace_period(10 * SECOND);
    let mut fixture = Fixture::with(config);
    fixture.request(1, &small());
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.unregister(1);
    fixture.log.take();

    // when, then
    fixture.advance(10 * SECOND - Duration::from_nanos(1));
    fixture.expect_nothing();
    assert_eq!(fixture.advance(Duration::from_nanos(1)), 1);
    fixture.expect(&[FAILED]);
    assert_refused(&mut fixture, 2, &small());
}

#[test]
fn requests_that_no_slot_fits_fail_oldest_first_when_the_grace_period_is_over() {
    // given
    let config = failing(described(2)).with_unfulfillable_grace_period(10 * SECOND);
    let mut fixture = Fixture::with(config);
    for id in [7, 3, 5] {
        fixture.request(id, &wide());
    }
    fixture.request(4, &small());
    fixture.log.take();

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&[
        "failed 7: unfulfillable",
        "failed 3: unfulfillable",
        "failed 5: unfulfillable",
    ]);
}

#[test]
fn task_managers_that_register_within_the_grace_period_count() {
    // given
    let config = failing(patient()).with_unfulfillable_grace_period(10 * SECOND);
    let mut fixture = Fixture::with(config);
    fixture.request(1, &small());
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.log.take();

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn each_start_begins_a_grace_period() {
    // given
    let config = failing(patient()).with_unfulfillable_grace_period(10 * SECOND);
    let mut fixture = Fixture::with(config);
    fixture.advance(15 * SECOND);
    fixture.suspend();
    fixture.start(2);

    // when, then
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);

    // when, then
    fixture.log.take();
    fixture.advance(10 * SECOND);
    fixture.expect(&[FAILED]);
}

#[test]
fn without_a_description_no_request_fails_before_its_worker_request() {
    // given
    let mut fixture = Fixture::with(failing(patient()).with_recovery_timeout(10 * SECOND));

    // when, then
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect_nothing();

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(1), FAILED]);
}

/// The worker is requested first, then its answer counts.
#[test]
fn recovery_that_ends_together_with_the_grace_period_ends_first() {
    // given
    let config = failing(patient())
        .with_recovery_timeout(10 * SECOND)
        .with_unfulfillable_grace_period(10 * SECOND);
    let mut fixture = Fixture::with(config);
    fixture.request(1, &small());
    fixture.promise_next(&[small()]);

    // when
    fixture.request(2, &wide());

    // then
    fixture.expect_nothing();

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&[
        &ask(1),
        "ask 2 for {cpu: 4, task heap: 400 MiB}",
        "failed 2: unfulfillable",
    ]);
    assert_eq!(fixture.bound_to(1), Some(1));
}

// Turning it on and off.

#[test]
fn waiting_requests_fail_oldest_first_when_the_rule_is_turned_on() {
    // given
    let mut fixture = Fixture::with(patient());
    for id in [7, 3, 5] {
        fixture.request(id, &small());
    }
    fixture.log.take();

    // when
    fixture.set_fail_unfulfillable(true);

    // then
    fixture.expect(&[
        "failed 7: unfulfillable",
        "failed 3: unfulfillable",
        "failed 5: unfulfillable",
    ]);
    assert_eq!(fixture.manager.overview().pending_requests, 0);
}

#[test]
fn only_unfulfillable_requests_fail_when_the_rule_is_turned_on() {
    // given: 2 is bound to a promised slot, which could also serve 3 later
    let mut fixture = Fixture::with(patient());
    fixture.request(1, &wide());
    fixture.promise_next(&[small()]);
    fixture.request(2, &small());
    fixture.request(3, &small());
    fixture.log.take();

    // when
    fixture.set_fail_unfulfillable(true);

    // then
    fixture.expect(&[FAILED]);
    assert_eq!(fixture.manager.overview().pending_requests, 2);
}

#[test]
fn with_a_description_requests_that_no_worker_would_serve_fail_when_the_rule_is_turned_on() {
    // given
    let mut fixture = Fixture::with(described(2));
    fixture.request(1, &wide());
    fixture.request(2, &small());
    fixture.log.take();

    // when
    fixture.set_fail_unfulfillable(true);

    // then
    fixture.expect(&[FAILED]);
}

#[test]
fn turning_the_rule_on_within_the_grace_period_fails_no_request_yet() {
    // given
    let mut fixture = Fixture::with(patient().with_unfulfillable_grace_period(10 * SECOND));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.set_fail_unfulfillable(true);

    // then
    fixture.expect_nothing();

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&[FAILED]);
}

#[test]
fn turning_the_rule_on_again_changes_nothing() {
    // given
    let mut fixture = declining();
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.set_fail_unfulfillable(true);

    // then
    fixture.expect_nothing();
}

#[test]
fn requests_wait_again_after_the_rule_is_turned_off() {
    // given
    let mut fixture = declining();

    // when, then
    assert_refused(&mut fixture, 1, &small());

    // when, then
    fixture.set_fail_unfulfillable(false);
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);

    // when, then
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.unregister(1);
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn rule_can_be_turned_on_before_the_start_and_stays_on() {
    // given
    let mut fixture = Fixture::not_started(patient());
    fixture.set_fail_unfulfillable(true);
    fixture.start(1);

    // when, then
    assert_refused(&mut fixture, 1, &small());

    // when, then
    fixture.suspend();
    fixture.start(2);
    assert_refused(&mut fixture, 1, &small());
}

#[test]
fn rule_can_be_turned_off_while_not_started() {
    // given
    let mut fixture = declining();

    // when, then
    assert_refused(&mut fixture, 1, &small());

    // when, then
    fixture.suspend();
    fixture.set_fail_unfulfillable(false);
    fixture.start(2);
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
}

#[test]
fn each_request_fails_once() {
    // given
    let mut fixture = Fixture::with(patient());
    fixture.request(1, &small());
    fixture.set_fail_unfulfillable(true);
    fixture.set_fail_unfulfillable(false);
    fixture.set_fail_unfulfillable(true);

    // when
    fixture.unregister(9);

    // then
    let failed = fixture.log.take();
    let notices = failed
        .iter()
        .filter(|effect| matches!(effect, Effect::Action(Action::NotifyAllocationFailure { .. })));
    assert_eq!(notices.count(), 1);
}

#[test]
fn unfulfillable_requests_fail_before_surplus_workers_are_withdrawn() {
    // given: 1 waits for the only wide slot, and 2 for a promised worker
    let mut fixture = Fixture::promising(failing(described(1)));
    let wide_slot = SlotStatus::allocated(slot("tm", 0), wide(), allocation(50), job(1));
    fixture.register("tm", 1, &SlotReport::new(vec![wide_slot]));
    fixture.request(1, &wide());
    fixture.request(2, &small());
    fixture.log.take();

    // when: the worker registers again, with a small slot
    fixture.register_free("tm", 2, &[small()]);

    // then
    fixture.expect(&[
        "lost 50 on tm_0: free",
        "request tm_0 for 2 #1",
        "granted 2 on tm_0",
        FAILED,
        "withdraw 1",
    ]);
}

#[test]
fn request_whose_attempt_failed_fails_with_the_last_slot_that_it_fits() {
    // given: 1 failed on the wide slot, which 2 holds; 3 of the same job waits for a slot that is
    // used
    let mut fixture = knowing();
    let gateway = fixture.register_by_hand("tm", 1, &free_report("tm", &[wide()]));
    let memory = profile(0.5, 1000);
    let used = SlotStatus::allocated(slot("used", 0), memory.clone(), allocation(50), job(1));
    fixture.register("used", 2, &SlotReport::new(vec![used]));
    fixture.request(1, &wide());
    fixture.try_request(2, 2, &wide()).expect("accepted");
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, acknowledged());
    fixture.request(3, &memory);
    fixture.log.take();

    // when
    fixture.unregister(1);

    // then
    fixture.expect(&["lost 2 on tm_0: unregistered", FAILED]);
    assert_eq!(fixture.status(3), Some(AllocationStatus::Waiting));
}

#[test]
fn failing_of_unfulfillable_requests_is_as_configured_or_set_last() {
    // given
    let mut fixture = Fixture::new();
    assert!(!fixture.manager.fails_unfulfillable_requests());
    assert!(declining().manager.fails_unfulfillable_requests());

    // when, then
    for fail in [true, false] {
        fixture.set_fail_unfulfillable(fail);
        assert_eq!(fixture.manager.fails_unfulfillable_requests(), fail);
    }
}
