//! When a worker is asked for, what a promise covers, and how it ends.

use std::time::Duration;

use slot_manager::{
    AllocationFailureCause, AllocationStatus, RequestFailure, ResourceManagerError, ResourceProfile, SlotRequestError,
    SlotStatus, TaskExecutorConnection, Timestamp, WorkerFailedOutcome, WorkerPromise, WorkerRequestId,
};

use crate::common::{Fixture, allocation, failures, free_report, granted, job, patient, profile, report, slot};

const NOTHING: [&str; 0] = [];
const SECOND: Duration = Duration::from_secs(1);

fn cores(cores: u32) -> ResourceProfile {
    profile(cores.into(), 0)
}

fn promise(cores_of_slots: &[u32]) -> Result<WorkerPromise, ResourceManagerError> {
    Ok(WorkerPromise::Slots(cores_of_slots.iter().map(|n| cores(*n)).collect()))
}

fn patient_for(seconds: u32) -> Fixture {
    Fixture::with(patient().with_worker_registration_timeout(seconds * SECOND))
}

/// A fixture in which worker requests 1, 2, ... promised these slots, and nothing waits for them.
fn with_promises(promises: &[&[u32]]) -> Fixture {
    let mut fixture = Fixture::new();
    for slots in promises {
        fixture.actions.answer_next_allocation(promise(slots));
        // Nobody else fits it, so it asks; the promise stays when it is cancelled.
        fixture.request(99, &cores(0).checked_add(&helper()).expect("small"));
        fixture.cancel(99);
    }
    fixture.log.take();
    fixture
}

/// A resource that no promise has.
fn helper() -> ResourceProfile {
    let helper = ResourceProfile::builder().extended_resource("helper", 1.0);
    helper.build().expect("a valid amount")
}

/// The cores of all promised slots, oldest first, with the worker request.
fn promised(fixture: &Fixture) -> Vec<(u64, f64)> {
    fixture
        .manager
        .promised_slots()
        .map(|promise| {
            let cores = promise.resource_profile().cpu_cores().expect("concrete");
            (promise.worker_request().as_u64(), cores)
        })
        .collect()
}

fn counts(fixture: &Fixture) -> (usize, usize) {
    let counts = fixture.manager.promised_slot_counts();
    (counts.bound, counts.unbound)
}

fn bound_to(fixture: &Fixture, id: u128) -> Option<u64> {
    let request = fixture
        .manager
        .pending_slot_request(allocation(id))
        .expect("not granted");
    request.bound_to().map(WorkerRequestId::as_u64)
}

fn register_for(fixture: &mut Fixture, worker: &str, instance: u128, worker_request: u64, slots: &[ResourceProfile]) {
    let connection = TaskExecutorConnection::new(worker, crate::common::instance(instance), fixture.gateway())
        .with_worker_request(WorkerRequestId::new(worker_request));
    fixture
        .try_register(connection, &free_report(worker, slots))
        .expect("a valid registration");
}

// Asking.

#[test]
fn as_many_requests_as_a_worker_has_slots_ask_once() {
    let mut fixture = Fixture::new();
    fixture.actions.answer_allocations(promise(&[2, 2, 2, 2]));
    for id in 1..=4 {
        fixture.request(id, &cores(2));
    }
    fixture.expect(&["ask 1 for {cpu: 2}"]);
    assert_eq!(counts(&fixture), (4, 0));
    fixture.request(5, &cores(2));
    fixture.expect(&["ask 2 for {cpu: 2}"]);
    assert_eq!(counts(&fixture), (5, 3));
}

#[test]
fn requests_that_become_uncovered_together_ask_once_for_a_worker_that_serves_them_all() {
    let mut fixture = Fixture::new();
    fixture.actions.answer_allocations(promise(&[2, 2, 2]));
    for id in 1..=3 {
        fixture.request(id, &cores(2));
    }
    fixture.log.take();
    assert_eq!(
        fixture.worker_failed(1),
        WorkerFailedOutcome::Forgotten { promised_slots: 3 }
    );
    fixture.expect(&["ask 2 for {cpu: 2}"]);
    assert_eq!(counts(&fixture), (3, 0));
}

#[test]
fn requests_that_lose_their_task_manager_together_ask_once_for_a_worker_that_serves_them_all() {
    let mut fixture = Fixture::new();
    fixture.actions.answer_allocations(promise(&[2, 2, 2]));
    let gateway = fixture.register_free("tm", 1, &[cores(2), cores(2), cores(2)]);
    gateway.answer_requests(slot_manager::testing::GatewayAnswer::ByHand);
    for id in 1..=3 {
        fixture.request(id, &cores(2));
    }
    fixture.log.take();
    fixture.unregister(1);
    fixture.expect(&["ask 1 for {cpu: 2}"]);
}

#[test]
fn a_request_with_a_fitting_free_slot_asks_for_no_worker() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[cores(2)]);
    fixture.request(1, &cores(1));
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
}

#[test]
fn a_promise_covers_a_request_that_it_has_more_for_than_needed() {
    let mut fixture = with_promises(&[&[4]]);
    fixture.request(1, &cores(1));
    fixture.expect_nothing();
    assert_eq!(bound_to(&fixture, 1), Some(1));
}

#[test]
fn a_promise_that_is_too_small_does_not_cover() {
    let mut fixture = with_promises(&[&[4]]);
    fixture.request(1, &cores(5));
    fixture.expect(&["ask 2 for {cpu: 5}"]);
    assert_eq!(bound_to(&fixture, 1), None);
    assert_eq!(counts(&fixture), (0, 1));
}

#[test]
fn of_several_promises_the_one_that_has_covered_nothing_for_the_longest_time_covers() {
    let mut fixture = with_promises(&[&[4], &[2]]);
    fixture.request(1, &cores(1));
    fixture.request(2, &cores(1));
    assert_eq!((bound_to(&fixture, 1), bound_to(&fixture, 2)), (Some(1), Some(2)));
    fixture.cancel(2);
    fixture.cancel(1);
    fixture.request(3, &cores(1));
    assert_eq!(bound_to(&fixture, 3), Some(2));
}

#[test]
fn a_promise_that_does_not_fit_the_request_counts_as_declined_and_covers_others() {
    let mut fixture = patient_for(10);
    fixture.actions.answer_next_allocation(promise(&[2, 3]));
    fixture.request(1, &cores(4));
    assert_eq!(bound_to(&fixture, 1), None);
    assert_eq!(counts(&fixture), (0, 2));
    fixture.request(2, &cores(3));
    fixture.expect(&["ask 1 for {cpu: 4}", "withdraw 1"]);
    assert_eq!(bound_to(&fixture, 2), Some(1));

    fixture.advance(10 * SECOND);
    assert_eq!(
        fixture.brief_effects(),
        ["ask 2 for {cpu: 4}", "ask 3 for {cpu: 3}"],
        "1 was declined, and the promise for 2 expired"
    );
}

#[test]
fn a_promise_covers_older_uncovered_requests_as_far_as_it_goes() {
    let mut fixture = Fixture::new();
    fixture.request(1, &cores(3));
    fixture.request(2, &cores(1));
    fixture.request(3, &cores(1));
    fixture.actions.answer_next_allocation(promise(&[1, 2, 3, 4]));
    fixture.request(4, &cores(1));
    // Its own first; then the oldest that fits each.
    assert_eq!(
        [1, 2, 3, 4].map(|id| bound_to(&fixture, id)),
        [Some(4), Some(4), Some(4), Some(4)]
    );
    let covers: Vec<_> = fixture
        .manager
        .promised_slots()
        .map(|promise| promise.bound_to().map(|id| id.as_uuid().as_u128()))
        .collect();
    assert_eq!(covers, [Some(4), Some(2), Some(1), Some(3)]);
}

#[test]
fn an_unspecified_worker_counts_as_one_slot_of_the_profile_asked_for() {
    let mut fixture = Fixture::new();
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    fixture.request(1, &cores(2));
    assert_eq!(promised(&fixture), [(1, 2.0)]);
    assert_eq!(counts(&fixture), (1, 0));
    fixture.request(2, &cores(2));
    fixture.expect(&["ask 1 for {cpu: 2}", "ask 2 for {cpu: 2}"]);
}

#[test]
fn a_worker_without_slots_is_declined() {
    let mut fixture = patient_for(10);
    fixture.actions.answer_next_allocation(promise(&[]));
    fixture.request(1, &cores(2));
    assert_eq!(counts(&fixture), (0, 0));
    assert_eq!(
        fixture.worker_failed(1),
        WorkerFailedOutcome::Unknown,
        "nothing is left of it"
    );
    fixture.log.take();
    fixture.advance(10 * SECOND);
    fixture.expect(&["ask 2 for {cpu: 2}"]);
}

#[test]
fn a_declined_request_waits_for_registered_slots_and_does_not_ask_at_other_events() {
    let mut fixture = patient_for(10);
    fixture.request(1, &cores(2));
    fixture.log.take();
    fixture.register_free("tm", 1, &[cores(1)]);
    fixture.request(2, &cores(1));
    fixture.free(&slot("tm", 0), 2);
    fixture.report(1, &free_report("tm", &[cores(1)]));
    fixture.cancel(77);
    fixture.worker_failed(77);
    fixture.advance(9 * SECOND);
    let asks: Vec<_> = fixture
        .brief_effects()
        .into_iter()
        .filter(|said| said.starts_with("ask"))
        .collect();
    assert_eq!(asks, NOTHING);
    fixture.register_free("big", 2, &[cores(2)]);
    assert_eq!(fixture.status(1), Some(granted(&slot("big", 0))));
}

#[test]
fn a_declined_request_asks_again_after_each_promise_timeout_until_it_is_covered() {
    let mut fixture = patient_for(10);
    fixture.request(1, &cores(2));
    fixture.advance(10 * SECOND);
    fixture.actions.answer_next_allocation(promise(&[2]));
    fixture.advance(10 * SECOND);
    fixture.expect(&["ask 1 for {cpu: 2}", "ask 2 for {cpu: 2}", "ask 3 for {cpu: 2}"]);
    fixture.advance(10 * SECOND - Duration::from_nanos(1));
    fixture.expect_nothing();
}

#[test]
fn a_declined_request_that_a_promise_comes_to_cover_does_not_ask_again() {
    let mut fixture = patient_for(10);
    fixture.request(1, &cores(2));
    fixture.advance(5 * SECOND);
    fixture.actions.answer_next_allocation(promise(&[4, 2]));
    fixture.request(2, &cores(4));
    fixture.log.take();
    assert_eq!(bound_to(&fixture, 1), Some(2));
    fixture.advance(5 * SECOND);
    // The repeat was due now.
    fixture.expect_nothing();
}

#[test]
fn a_request_for_which_no_worker_may_be_started_fails_as_the_error_of_its_registration() {
    let mut fixture = Fixture::new();
    let refused = ResourceManagerError::new("no quota");
    fixture.actions.answer_next_allocation(Err(refused.clone()));
    assert_eq!(
        fixture.try_request(1, 1, &cores(2)),
        Err(SlotRequestError::Failed {
            allocation_id: allocation(1),
            failure: Box::new(RequestFailure::ResourceManager(refused)),
        })
    );
    assert_eq!(
        fixture.brief_effects(),
        ["ask 1 for {cpu: 2}"],
        "it is not notified too"
    );
    assert_eq!(fixture.status(1), None);
    assert_eq!(fixture.manager.num_pending_slot_requests(), 0);
}

#[test]
fn a_request_for_which_no_other_worker_may_be_started_fails_with_a_notice() {
    let mut fixture = Fixture::new();
    fixture.actions.answer_next_allocation(promise(&[2, 2]));
    fixture.request(1, &cores(2));
    fixture.request(2, &cores(2));
    fixture.log.take();
    let refused = ResourceManagerError::new("no quota");
    fixture.actions.answer_next_allocation(Err(refused.clone()));
    fixture.worker_failed(1);
    let effects = fixture.log.take();
    assert_eq!(
        failures(&effects),
        [(
            allocation(1),
            AllocationFailureCause::RequestFailed(RequestFailure::ResourceManager(refused))
        )]
    );
    assert_eq!(
        fixture.status(2),
        Some(AllocationStatus::Waiting),
        "2 was declined, not refused"
    );
}

// Covering is accounting.

#[test]
fn a_slot_goes_to_the_oldest_request_whoever_a_promise_covers() {
    let mut fixture = Fixture::new();
    fixture.request(1, &cores(2));
    fixture.actions.answer_next_allocation(promise(&[3]));
    fixture.request(2, &cores(3));
    assert_eq!((bound_to(&fixture, 1), bound_to(&fixture, 2)), (None, Some(2)));
    register_for(&mut fixture, "tm", 1, 2, &[cores(3)]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn the_promise_of_a_request_served_otherwise_covers_the_next_uncovered_one() {
    let mut fixture = patient_for(10);
    fixture.actions.answer_next_allocation(promise(&[2]));
    fixture.request(1, &cores(2));
    fixture.request(2, &cores(2));
    fixture.advance(5 * SECOND);
    fixture.log.take();
    // Held already, so that it takes the place of no promise.
    fixture.register("tm", 1, &[held_of(2)].into_iter().collect());
    fixture.free(&slot("tm", 0), 50);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert_eq!(bound_to(&fixture, 2), Some(1));
    fixture.log.take();
    fixture.advance(5 * SECOND - Duration::from_nanos(1));
    fixture.expect_nothing();
    assert_eq!(
        fixture.advance(Duration::from_nanos(1)),
        1,
        "the promise expires, the declined ask is gone"
    );
    fixture.expect(&["ask 3 for {cpu: 2}"]);
}

fn held_of(n: u32) -> SlotStatus {
    SlotStatus::allocated(slot("tm", 0), cores(n), allocation(50), job(1))
}

#[test]
fn the_promise_of_a_cancelled_request_covers_the_next_that_comes() {
    let mut fixture = Fixture::new();
    fixture.actions.answer_next_allocation(promise(&[2]));
    fixture.request(1, &cores(2));
    fixture.log.take();
    fixture.cancel(1);
    fixture.expect(&["withdraw 1"]);
    assert_eq!(counts(&fixture), (0, 1), "it was too late");
    fixture.request(2, &cores(1));
    fixture.expect_nothing();
    assert_eq!(counts(&fixture), (1, 0));
}

#[test]
fn a_request_in_flight_needs_no_promise_and_one_that_fails_asks_again() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[cores(2)])
        .answer_requests(slot_manager::testing::GatewayAnswer::ByHand);
    fixture.request(1, &cores(2));
    fixture.expect(&["request tm_0 for 1 #1"]);
    fixture.unregister(1);
    fixture.expect(&["ask 1 for {cpu: 2}"]);
}

// Consuming.

#[test]
fn a_slot_takes_the_place_of_a_promise_of_the_named_worker_request() {
    let mut fixture = with_promises(&[&[2], &[2], &[2]]);
    register_for(&mut fixture, "tm", 1, 2, &[cores(2)]);
    assert_eq!(promised(&fixture), [(1, 2.0), (3, 2.0)]);
}

#[test]
fn the_slots_of_a_named_worker_take_the_place_of_its_promises_whatever_they_turned_out_to_have() {
    let mut fixture = with_promises(&[&[2], &[8, 8]]);
    register_for(&mut fixture, "tm", 1, 2, &[cores(1), cores(9)]);
    assert_eq!(promised(&fixture), [(1, 2.0)]);
}

#[test]
fn among_the_promises_of_a_named_worker_an_equal_one_goes_first_then_one_it_can_stand_for() {
    let mut fixture = with_promises(&[&[9, 1, 3]]);
    register_for(&mut fixture, "tm", 1, 1, &[cores(3)]);
    assert_eq!(promised(&fixture), [(1, 9.0), (1, 1.0)]);
    fixture.unregister(1);
    register_for(&mut fixture, "tm", 2, 1, &[cores(4)]);
    assert_eq!(promised(&fixture), [(1, 9.0)]);
}

#[test]
fn the_slots_of_a_named_worker_take_the_place_of_no_others_promises() {
    let mut fixture = with_promises(&[&[2], &[2]]);
    register_for(&mut fixture, "tm", 1, 2, &[cores(2), cores(2), cores(2)]);
    assert_eq!(promised(&fixture), [(1, 2.0)]);
    register_for(&mut fixture, "unknown", 2, 77, &[cores(2)]);
    assert_eq!(promised(&fixture), [(1, 2.0)]);
}

#[test]
fn without_a_name_a_promise_of_an_equal_profile_is_consumed_before_an_older_one() {
    let mut fixture = with_promises(&[&[1], &[2], &[3]]);
    fixture.register_free("tm", 1, &[cores(3)]);
    assert_eq!(promised(&fixture), [(1, 1.0), (2, 2.0)]);
}

#[test]
fn of_equal_promises_the_oldest_is_consumed() {
    let mut fixture = with_promises(&[&[9], &[2], &[2]]);
    fixture.register_free("tm", 1, &[cores(2)]);
    assert_eq!(promised(&fixture), [(1, 9.0), (3, 2.0)]);
}

#[test]
fn else_the_oldest_promise_that_the_slot_can_stand_for_is_consumed() {
    let mut fixture = with_promises(&[&[5], &[2], &[1]]);
    fixture.register_free("tm", 1, &[cores(4)]);
    assert_eq!(promised(&fixture), [(1, 5.0), (3, 1.0)]);
}

#[test]
fn a_slot_that_can_stand_for_no_promise_consumes_none() {
    let mut fixture = with_promises(&[&[5]]);
    fixture.register_free("tm", 1, &[cores(4)]);
    assert_eq!(promised(&fixture), [(1, 5.0)]);
}

#[test]
fn a_slot_that_is_held_when_it_becomes_known_consumes_no_promise() {
    let mut fixture = with_promises(&[&[2]]);
    fixture.register("tm", 1, &[held_of(2)].into_iter().collect());
    fixture.free(&slot("tm", 0), 50);
    assert_eq!(promised(&fixture), [(1, 2.0)]);
}

#[test]
fn a_known_slot_that_becomes_free_consumes_no_promise() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[cores(2)]);
    fixture.request(1, &cores(2));
    fixture.actions.answer_next_allocation(promise(&[2]));
    fixture.request(2, &cores(2));
    fixture.free(&slot("tm", 0), 1);
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
    assert_eq!(promised(&fixture), [(1, 2.0)]);
}

#[test]
fn a_slot_that_a_later_report_adds_consumes_a_promise() {
    let mut fixture = with_promises(&[&[2]]);
    fixture.register_free("tm", 1, &[]);
    fixture.report(1, &free_report("tm", &[cores(2)]));
    assert_eq!(promised(&fixture), []);
}

#[test]
fn each_new_slot_consumes_one_promise() {
    let mut fixture = with_promises(&[&[2, 2, 2, 2]]);
    fixture.register_free("tm", 1, &[cores(2), cores(2), cores(2)]);
    assert_eq!(promised(&fixture), [(1, 2.0)]);
}

#[test]
fn a_request_whose_promise_is_consumed_by_a_slot_for_another_is_covered_anew() {
    let mut fixture = Fixture::new();
    fixture.request(1, &cores(2));
    fixture.actions.answer_next_allocation(promise(&[3]));
    fixture.request(2, &cores(3));
    fixture.log.take();
    fixture.register_free("tm", 1, &[cores(3)]);
    fixture.expect(&["request tm_0 for 1 #1", "ask 3 for {cpu: 3}", "granted 1 on tm_0"]);
}

#[test]
fn a_request_that_loses_its_promise_takes_an_unbound_one_before_it_asks() {
    let mut fixture = Fixture::new();
    fixture.actions.answer_next_allocation(promise(&[2]));
    fixture.request(1, &cores(2));
    fixture.actions.answer_next_allocation(promise(&[2, 2]));
    fixture.request(2, &cores(2));
    fixture.log.take();
    fixture.worker_failed(1);
    fixture.expect_nothing();
    assert_eq!(bound_to(&fixture, 1), Some(2));
    assert_eq!(counts(&fixture), (2, 0));
}

// Ending.

#[test]
fn a_promise_ends_at_its_timeout_and_what_it_covered_asks_anew() {
    let mut fixture = patient_for(10);
    fixture.actions.answer_next_allocation(promise(&[2, 2]));
    fixture.request(1, &cores(2));
    fixture.advance(5 * SECOND);
    fixture.request(2, &cores(2));
    fixture.log.take();
    fixture.advance(5 * SECOND);
    assert_eq!(
        fixture.brief_effects(),
        ["ask 2 for {cpu: 2}", "ask 3 for {cpu: 2}"],
        "the time runs from the promise, not from the request"
    );
    assert_eq!(counts(&fixture), (0, 0));
    assert_eq!(fixture.worker_failed(1), WorkerFailedOutcome::Unknown);
}

#[test]
fn what_is_left_of_a_worker_request_ends_together() {
    let mut fixture = patient_for(10);
    fixture.actions.answer_next_allocation(promise(&[2, 2, 2]));
    fixture.request(1, &cores(2));
    register_for(&mut fixture, "tm", 1, 1, &[cores(2)]);
    assert_eq!(counts(&fixture), (0, 2));
    let expires: Vec<_> = fixture
        .manager
        .promised_slots()
        .map(|promise| promise.expires_at())
        .collect();
    assert_eq!(expires, [Timestamp::from_secs(10); 2]);
    fixture.advance(10 * SECOND);
    assert_eq!(counts(&fixture), (0, 0));
}

#[test]
fn a_worker_request_that_has_come_whole_cannot_fail_any_more() {
    let mut fixture = patient_for(10);
    fixture.actions.answer_next_allocation(promise(&[2]));
    fixture.request(1, &cores(2));
    register_for(&mut fixture, "tm", 1, 1, &[cores(2)]);
    fixture.log.take();
    assert_eq!(fixture.worker_failed(1), WorkerFailedOutcome::Unknown);
    assert_eq!(fixture.advance(10 * SECOND), 0);
    fixture.expect_nothing();
}

#[test]
fn a_worker_that_fails_says_how_many_slots_were_still_promised() {
    let mut fixture = with_promises(&[&[2, 2, 2]]);
    register_for(&mut fixture, "tm", 1, 1, &[cores(2)]);
    assert_eq!(
        fixture.worker_failed(1),
        WorkerFailedOutcome::Forgotten { promised_slots: 2 }
    );
    assert_eq!(fixture.worker_failed(1), WorkerFailedOutcome::Unknown);
    assert_eq!(fixture.manager.slot_counts().registered, 1, "what has come stays");
}

#[test]
fn a_worker_that_comes_after_its_promise_ended_is_welcome() {
    let mut fixture = with_promises(&[&[2]]);
    fixture.worker_failed(1);
    fixture.request(1, &cores(2));
    register_for(&mut fixture, "tm", 1, 1, &[cores(2)]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

// Queries.

#[test]
fn the_views_say_what_is_promised_and_what_it_covers() {
    let mut fixture = patient_for(10);
    fixture.actions.answer_next_allocation(promise(&[2, 3]));
    fixture.request(1, &cores(3));
    assert_eq!(counts(&fixture), (1, 1));
    assert_eq!(promised(&fixture), [(1, 2.0), (1, 3.0)]);
    let covers: Vec<_> = fixture
        .manager
        .promised_slots()
        .map(|promise| promise.bound_to())
        .collect();
    assert_eq!(covers, [None, Some(allocation(1))]);
    fixture.register("tm", 1, &report("tm", &[]));
    assert_eq!(counts(&fixture), (1, 1));
}
