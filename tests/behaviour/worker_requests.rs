//! Worker requests: when a worker is requested, and the effects of a declined or refused request.

use slot_manager::error::{ResourceManagerError, SlotRequestError};
use slot_manager::message::{AllocationFailureCause, RequestFailure, WorkerPromise};
use slot_manager::outcome::{AllocationStatus, WorkerFailedOutcome};
use slot_manager::{SlotReport, SlotStatus};

use crate::common::{
    Fixture, NANOSECOND, SECOND, allocation, ask, cores, failures, free_report, granted, in_flight, job, patient,
    profile, report, slot, slots_of, small,
};

/// A promise is kept, and a declined worker request is repeated, after this time.
fn patient_for(seconds: u32) -> Fixture {
    Fixture::with(patient().with_worker_registration_timeout(seconds * SECOND))
}

// How many.

/// B.31
#[test]
fn worker_is_requested_only_when_no_promised_slot_is_left() {
    // given: each worker brings three slots
    let mut fixture = Fixture::new();
    fixture
        .actions
        .answer_allocations(Ok(WorkerPromise::Slots(vec![small(); 3])));

    // when
    for id in 1..=7 {
        assert_eq!(fixture.request(id, &small()), AllocationStatus::Waiting);
    }

    // then
    fixture.expect(&[&ask(1), &ask(2), &ask(3)]);
    let expected = [1, 1, 1, 2, 2, 2, 3]
        .into_iter()
        .zip((1..=7).map(Some))
        .chain([(3, None), (3, None)]);
    assert_eq!(fixture.promises(), Vec::from_iter(expected));

    // when, then: two workers register, and serve six requests in order
    fixture.register("a", 1, &report("a", &[None; 3]));
    fixture.register("b", 2, &report("b", &[None; 3]));
    let asked = fixture
        .brief_effects()
        .into_iter()
        .filter(|line| line.starts_with("ask"))
        .count();
    assert_eq!(asked, 0);
    assert_eq!(fixture.status(6), Some(granted(&slot("b", 2))));
    assert_eq!(fixture.promises(), [(3, Some(7)), (3, None), (3, None)]);
}

#[test]
fn no_worker_is_requested_while_a_free_slot_fits() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[cores(2)]);

    // when
    fixture.request(1, &cores(1));

    // then
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
}

#[test]
fn requests_that_lose_their_task_manager_share_the_slots_of_a_promise() {
    // given
    let mut fixture = Fixture::new();
    fixture
        .actions
        .answer_allocations(Ok(WorkerPromise::Slots(slots_of(&[2, 2, 2]))));
    let gateway = fixture.gateway_by_hand();
    fixture.register_with("tm", 1, &free_report("tm", &[cores(2), cores(2), cores(2)]), &gateway);
    for id in 1..=3 {
        fixture.request(id, &cores(2));
    }
    fixture.log.take();

    // when
    fixture.unregister(1);

    // then
    fixture.expect(&["ask 1 for {cpu: 2}"]);
}

/// B.31: workers of one slot
#[test]
fn requests_that_lose_their_task_manager_request_a_worker_each() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    assert_eq!(fixture.request(1, &small()), in_flight(&slot("tm", 0)));
    assert_eq!(fixture.request(2, &small()), in_flight(&slot("tm", 1)));
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    fixture.expect(&["request tm_0 for 1 #1", "request tm_1 for 2 #2"]);

    // when
    fixture.unregister(7);

    // then
    fixture.expect(&[&ask(1), &ask(2)]);
    assert_eq!(fixture.promises(), [(1, Some(1)), (2, Some(2))]);
}

/// B.31, B.42
#[test]
fn requests_of_a_failed_worker_share_the_slots_of_the_next_promise() {
    // given: a worker with four promised slots, of which three are bound
    let mut fixture = Fixture::new();
    fixture.promise_next(&vec![small(); 4]);
    for id in [1, 2, 3] {
        fixture.request(id, &small());
    }
    fixture.promise_next(&vec![small(); 2]);
    fixture.log.take();

    // when
    let outcome = fixture.worker_failed(1);

    // then: the promise for the oldest request serves the next one too
    assert_eq!(outcome, WorkerFailedOutcome::Forgotten { promised_slots: 4 });
    fixture.expect(&[&ask(2), &ask(3)]);
    assert_eq!(fixture.promises(), [(2, Some(1)), (2, Some(2))]);
    assert_eq!(fixture.worker_failed(1), WorkerFailedOutcome::Unknown);
    fixture.expect_nothing();
}

// Declined.

/// B.31: a promise that does not fit its request counts as declined, but may serve others
#[test]
fn promise_that_does_not_fit_its_request_counts_as_declined() {
    let wide = profile(4.0, 400);
    let ask_for_wide = |number| format!("ask {number} for {wide}");
    let cases = [
        (vec![], [ask_for_wide(1), ask(2)], vec![ask_for_wide(3), ask(4)]),
        (
            vec![small()],
            [ask_for_wide(1), "withdraw 1".to_owned()],
            vec!["withdraw 1".to_owned(), ask_for_wide(2), ask(3)],
        ),
    ];
    for (useless, first, repeated) in cases {
        // given
        let mut fixture = patient_for(60);
        fixture.promise_next(&useless);

        // when
        fixture.request(1, &wide);
        fixture.request(2, &small());

        // then
        assert_eq!(fixture.brief_effects(), first);
        if useless.is_empty() {
            assert_eq!(fixture.promises(), []);
            assert_eq!(fixture.worker_failed(1), WorkerFailedOutcome::Unknown);
        } else {
            assert_eq!(fixture.promises(), [(1, Some(2))]);
        }

        // when, then: workers are requested again for both requests
        fixture.advance(60 * SECOND - NANOSECOND);
        fixture.expect_nothing();
        fixture.advance(NANOSECOND);
        assert_eq!(fixture.brief_effects(), repeated);
    }
}

/// B.31
#[test]
fn declined_worker_request_is_repeated_after_the_registration_timeout() {
    // given
    let mut fixture = patient_for(60);
    fixture.request(1, &small());
    fixture.advance(10 * SECOND);
    fixture.request(2, &small());
    fixture.expect(&[&ask(1), &ask(2)]);

    // when, then: each in its own time, once
    fixture.advance(50 * SECOND);
    fixture.expect(&[&ask(3)]);
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(4)]);

    // when, then: not for a request that was served
    fixture.register("tm", 7, &report("tm", &[None]));
    fixture.log.take();
    fixture.advance(60 * SECOND);
    fixture.expect(&[&ask(5)]);
    assert_eq!(fixture.manager.overview().pending_requests, 1);

    // when, then: a request that is bound meanwhile is not repeated either
    fixture.promise_next(&[small(), small()]);
    fixture.request(3, &small());
    fixture.expect(&[&ask(6)]);
    fixture.advance(60 * SECOND - NANOSECOND);
    fixture.expect_nothing();
}

#[test]
fn declined_worker_request_is_repeated_until_it_brings_a_promise() {
    // given
    let mut fixture = patient_for(10);
    fixture.request(1, &cores(2));
    fixture.advance(10 * SECOND);
    fixture.promise_next(&slots_of(&[2]));

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["ask 1 for {cpu: 2}", "ask 2 for {cpu: 2}", "ask 3 for {cpu: 2}"]);

    // when, then
    fixture.advance(10 * SECOND - NANOSECOND);
    fixture.expect_nothing();
}

#[test]
fn declined_worker_request_is_not_repeated_once_its_request_is_bound() {
    // given
    let mut fixture = patient_for(10);
    fixture.request(1, &cores(2));
    fixture.advance(5 * SECOND);
    fixture.promise_next(&slots_of(&[4, 2]));

    // when
    fixture.request(2, &cores(4));
    fixture.log.take();

    // then
    assert_eq!(fixture.bound_to(1), Some(2));

    // when, then
    fixture.advance(5 * SECOND);
    // The repeat would be due now.
    fixture.expect_nothing();
}

#[test]
fn declined_worker_request_is_not_repeated_once_its_request_takes_over_a_promise() {
    // given: 1 is bound, 2 was declined at the same time
    let mut fixture = patient_for(10);
    fixture.promise_next(&slots_of(&[2]));
    fixture.request(1, &cores(2));
    fixture.request(2, &cores(2));
    fixture.advance(5 * SECOND);
    fixture.log.take();

    // when: a slot that was allocated when it registered is freed
    let held = SlotStatus::allocated(slot("tm", 0), cores(2), allocation(50), job(1));
    fixture.register("tm", 1, &[held].into_iter().collect());
    fixture.free(&slot("tm", 0), 50);

    // then
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert_eq!(fixture.bound_to(2), Some(1));
    fixture.log.take();

    // when, then: the promise expires, and the declined worker request is gone
    fixture.advance(5 * SECOND - NANOSECOND);
    fixture.expect_nothing();
    assert_eq!(fixture.advance(NANOSECOND), 1);
    fixture.expect(&["withdraw 1", "ask 3 for {cpu: 2}"]);
}

/// B.31
#[test]
fn declined_worker_request_is_not_repeated_by_other_events() {
    // given
    let mut fixture = patient_for(10);
    fixture.request(1, &cores(2));
    fixture.log.take();

    // when
    fixture.register(
        "tm",
        1,
        &SlotReport::new(vec![
            SlotStatus::free(slot("tm", 0), cores(1)),
            SlotStatus::allocated(slot("tm", 1), cores(1), allocation(50), job(1)),
        ]),
    );
    fixture.request(2, &cores(1));
    fixture.free(&slot("tm", 0), 2);
    fixture.report(1, &free_report("tm", &[cores(1), cores(1)]));
    fixture.cancel(77);
    fixture.worker_failed(77);
    fixture.unregister(1);
    fixture.advance(9 * SECOND);

    // then
    assert!(fixture.brief_effects().iter().all(|effect| !effect.starts_with("ask")));

    // when, then: a registered slot still serves the request
    fixture.register_free("big", 2, &[cores(2)]);
    assert_eq!(fixture.status(1), Some(granted(&slot("big", 0))));
}

// Refused.

#[test]
fn request_whose_worker_request_is_refused_fails_within_the_call() {
    // given
    let mut fixture = Fixture::new();
    let refused = ResourceManagerError::new("no quota");
    fixture.actions.answer_next_allocation(Err(refused.clone()));

    // when, then
    assert_eq!(
        fixture.try_request(1, 1, &cores(2)),
        Err(SlotRequestError::Failed {
            allocation_id: allocation(1),
            failure: Box::new(RequestFailure::ResourceManager(refused)),
        })
    );
    // The failure is returned, not notified.
    fixture.expect(&["ask 1 for {cpu: 2}"]);
    assert_eq!(fixture.status(1), None);
    assert_eq!(fixture.manager.overview().pending_requests, 0);
}

#[test]
fn request_whose_later_worker_request_is_refused_fails_with_a_notification() {
    // given
    let mut fixture = Fixture::new();
    fixture.promise_next(&slots_of(&[2, 2]));
    fixture.request(1, &cores(2));
    fixture.request(2, &cores(2));
    fixture.log.take();
    let refused = ResourceManagerError::new("no quota");
    fixture.actions.answer_next_allocation(Err(refused.clone()));

    // when
    fixture.worker_failed(1);

    // then
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
        "the worker request of 2 was declined, not refused"
    );
}

/// B.25: exactly the request that needs the worker fails, once
#[test]
fn refused_worker_request_fails_its_request_after_every_event() {
    fn task_manager_lost(fixture: &mut Fixture) {
        fixture.register_by_hand("tm", 7, &report("tm", &[None]));
        fixture.unregister(7);
    }
    fn worker_failed(fixture: &mut Fixture) {
        assert_eq!(
            fixture.worker_failed(1),
            WorkerFailedOutcome::Forgotten { promised_slots: 1 }
        );
    }
    fn worker_never_came(fixture: &mut Fixture) {
        fixture.advance(10 * SECOND);
    }

    for event in [task_manager_lost, worker_failed, worker_never_came] {
        // given: a request that was bound to a promised slot
        let mut fixture = Fixture::with(patient().with_worker_registration_timeout(10 * SECOND));
        fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
        assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
        fixture
            .actions
            .answer_allocations(Err(ResourceManagerError::new("no quota")));

        // when
        event(&mut fixture);

        // then
        let effects: Vec<_> = fixture
            .brief_effects()
            .into_iter()
            .filter(|line| !line.starts_with("request") && !line.starts_with("withdraw"))
            .collect();
        assert_eq!(effects, [ask(1), ask(2), "failed 1: no quota".to_owned()]);
        assert_eq!(fixture.status(1), None);
        fixture.advance(100 * SECOND);
        fixture.expect_nothing();
    }
}
