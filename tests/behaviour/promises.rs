//! Promised slots: the requests bound to them, the slots that fulfil them, and their end.

use slot_manager::message::WorkerPromise;
use slot_manager::outcome::{AllocationStatus, CancelOutcome, WorkerFailedOutcome};
use slot_manager::{LeaderId, ResourceProfile, SlotStatus, TaskExecutorConnection, Timestamp, WorkerRequestId};

use crate::common::{
    Fixture, NANOSECOND, SECOND, allocation, ask, cores, free_report, granted, held_by, instance, occupied, patient,
    profile, rejected, report, slot, slots_of, small, worker_request,
};

/// A fixture whose promises expire after this time.
fn patient_for(seconds: u32) -> Fixture {
    Fixture::with(patient().with_worker_registration_timeout(seconds * SECOND))
}

/// A fixture in which worker requests 1, 2, ... promised slots of these cores, and none is bound.
fn with_promises(promises: &[&[u32]]) -> Fixture {
    let mut fixture = Fixture::new();
    for slots in promises {
        fixture.promise_next(&slots_of(slots));
        // No promised slot fits this request. The new promise stays when it is cancelled.
        fixture.request(99, &cores(0).checked_add(&helper()).expect("small"));
        fixture.cancel(99);
    }
    fixture.log.take();
    fixture
}

/// A resource that no promised slot has.
fn helper() -> ResourceProfile {
    let helper = ResourceProfile::builder().extended_resource("helper", 1.0);
    helper.build().expect("a valid amount")
}

/// Registers a worker with one held slot. Its later slots are those of a known worker, which has
/// brought all that it was promised with.
fn register_known(fixture: &mut Fixture, worker: &str, instance: u128) {
    fixture.register(worker, instance, &report(worker, &[Some(1000 + instance)]));
}

/// Reports new free slots of a known worker.
fn bring(fixture: &mut Fixture, worker: &str, instance: u128, slots: &[ResourceProfile]) {
    let new = slots.iter().zip(1..);
    let new = new.map(|(profile, number)| SlotStatus::free(slot(worker, number), profile.clone()));
    let held = held_by(slot(worker, 0), 1000 + instance, 1);
    fixture.report(instance, &std::iter::once(held).chain(new).collect());
}

/// The worker request and the cores of each promised slot, oldest first.
fn promised(fixture: &Fixture) -> Vec<(u64, f64)> {
    fixture
        .manager
        .promised_slots()
        .map(|promise| {
            let cores = promise.resource_profile().cpu_cores().expect("concrete");
            (promise.worker_request().number(), cores)
        })
        .collect()
}

// Views.

/// B.31
#[test]
fn promised_slots_and_bound_requests_can_be_viewed() {
    // given
    let mut fixture = patient_for(60);
    fixture.advance(60 * SECOND);
    fixture.promise_next(&[profile(2.0, 200), small()]);

    // when
    fixture.request(1, &small());

    // then
    let views: Vec<_> = fixture.manager.promised_slots().collect();
    assert_eq!(views.len(), 2);
    assert_eq!(views[0].worker_request(), worker_request(1));
    assert_eq!(views[0].resource_profile(), &profile(2.0, 200));
    assert_eq!(views[0].bound_to(), Some(allocation(1)));
    assert_eq!(views[0].expires_at(), Timestamp::ZERO + 120 * SECOND);
    assert_eq!((views[1].resource_profile(), views[1].bound_to()), (&small(), None));
    assert_eq!(fixture.bound_to(1), Some(1));
    assert_eq!(fixture.promised(), (1, 1));

    // when, then: a task manager without slots changes nothing
    fixture.register("empty", 1, &report("empty", &[]));
    assert_eq!(fixture.promised(), (1, 1));
}

/// B.31
#[test]
fn unspecified_worker_counts_as_one_slot_of_the_requested_profile() {
    // given
    let mut fixture = Fixture::new();
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    let wide = profile(4.0, 400);

    // when
    fixture.request(1, &wide);
    fixture.request(2, &wide);

    // then
    fixture.expect(&[
        "ask 1 for {cpu: 4, task heap: 400 MiB}",
        "ask 2 for {cpu: 4, task heap: 400 MiB}",
    ]);
    assert_eq!(fixture.promises(), [(1, Some(1)), (2, Some(2))]);
    assert!(
        fixture
            .manager
            .promised_slots()
            .all(|promise| promise.resource_profile() == &wide)
    );
}

// Bound.

/// B.31
#[test]
fn request_is_bound_only_to_a_promised_slot_that_fits() {
    // given: a narrow and a wide slot are promised and unbound
    let (narrow, wide) = (profile(1.0, 100), profile(4.0, 400));
    let mut fixture = Fixture::new();
    fixture.promise_next(&[narrow.clone(), narrow.clone(), wide.clone()]);
    fixture.request(1, &narrow);

    // when, then
    fixture.request(2, &wide);
    assert_eq!(fixture.promises(), [(1, Some(1)), (1, None), (1, Some(2))]);
    fixture.request(3, &wide);
    fixture.expect(&[
        "ask 1 for {cpu: 1, task heap: 100 MiB}",
        "ask 2 for {cpu: 4, task heap: 400 MiB}",
    ]);
    fixture.request(4, &narrow);
    fixture.expect_nothing();
    assert_eq!(fixture.promises(), [(1, Some(1)), (1, Some(4)), (1, Some(2))]);
}

#[test]
fn request_is_bound_to_the_promised_slot_that_is_unbound_longest() {
    // given
    let mut fixture = with_promises(&[&[4], &[2]]);
    fixture.request(1, &cores(1));

    // when
    fixture.request(2, &cores(1));

    // then
    assert_eq!((fixture.bound_to(1), fixture.bound_to(2)), (Some(1), Some(2)));

    // when, then
    fixture.cancel(2);
    fixture.cancel(1);
    fixture.request(3, &cores(1));
    assert_eq!(fixture.bound_to(3), Some(2));
}

#[test]
fn time_since_a_promised_slot_is_unbound_counts_over_all_profiles() {
    // given: the oldest of three profiles is bound
    let mut fixture = with_promises(&[&[4], &[3], &[2]]);
    fixture.request(1, &cores(4));
    assert_eq!(fixture.bound_to(1), Some(1));

    // when, then
    fixture.request(2, &cores(1));
    assert_eq!(fixture.bound_to(2), Some(2));
}

/// B.31
#[test]
fn promise_is_bound_to_its_own_request_and_then_to_the_oldest_unbound_ones() {
    // given: the worker requests of two requests were declined
    let mut fixture = patient_for(60);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.promise_next(&[small(), small(), small(), small()]);

    // when
    fixture.request(3, &small());

    // then: the declined worker requests are not repeated
    fixture.expect(&[&ask(1), &ask(2), &ask(3)]);
    assert_eq!(
        fixture.promises(),
        [(3, Some(3)), (3, Some(1)), (3, Some(2)), (3, None)]
    );
    fixture.advance(60 * SECOND - NANOSECOND);
    fixture.expect_nothing();
}

#[test]
fn each_slot_of_a_promise_is_bound_to_the_oldest_request_that_fits() {
    // given
    let mut fixture = Fixture::new();
    fixture.request(1, &cores(3));
    fixture.request(2, &cores(1));
    fixture.request(3, &cores(1));
    fixture.promise_next(&slots_of(&[1, 2, 3, 4]));

    // when
    fixture.request(4, &cores(1));

    // then
    assert_eq!(
        [1, 2, 3, 4].map(|id| fixture.bound_to(id)),
        [Some(4), Some(4), Some(4), Some(4)]
    );
    let bound: Vec<_> = fixture
        .manager
        .promised_slots()
        .map(|promise| promise.bound_to().map(slot_manager::AllocationId::as_u128))
        .collect();
    assert_eq!(bound, [Some(4), Some(2), Some(1), Some(3)]);
}

/// B.31
#[test]
fn promised_slot_of_a_cancelled_request_is_bound_to_the_next_one() {
    // given
    let mut fixture = Fixture::new();
    fixture.promise_next(&[small()]);
    fixture.request(1, &small());

    // when
    assert_eq!(fixture.cancel(1), CancelOutcome::Cancelled);
    assert_eq!(fixture.promises(), [(1, None)]);
    fixture.expect(&[&ask(1), "withdraw 1"]);
    fixture.request(2, &small());

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.promises(), [(1, Some(2))]);
}

/// B.31
#[test]
fn promised_slot_of_a_served_request_is_bound_to_the_oldest_unbound_one() {
    // given: 1 is bound, 2 and 3 are not
    let mut fixture = patient_for(60);
    fixture.register("tm", 7, &report("tm", &[Some(50)]));
    fixture.promise_next(&[small()]);
    for id in [1, 2, 3] {
        fixture.request(id, &small());
    }
    assert_eq!(fixture.promises(), [(1, Some(1))]);
    fixture.log.take();

    // when: a known slot becomes free, which fulfils no promise
    fixture.free(&slot("tm", 0), 50);

    // then
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
    assert_eq!(fixture.promises(), [(1, Some(2))]);
}

/// B.31: a retry requests no worker while one is promised
#[test]
fn rejected_request_is_bound_to_a_promised_slot_again() {
    // given: two slots are promised, one has registered, and another allocation holds it
    let mut fixture = Fixture::new();
    fixture.promise_next(&[small(), small()]);
    fixture.request(1, &small());
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[Some(50)]));
    fixture.report(7, &report("tm", &[Some(50), None]));
    assert_eq!(fixture.promises(), [(1, None)]);

    // when
    fixture.answer(&gateway, 1, occupied(9));

    // then
    fixture.expect(&[&ask(1), "request tm_1 for 1 #1"]);
    assert_eq!(fixture.promises(), [(1, Some(1))]);

    // when: the slot is free, and rejects again and again
    fixture.free(&slot("tm", 1), 9);
    assert_eq!(fixture.promises(), [(1, None)], "a request in flight needs no promise");
    fixture.answer(&gateway, 2, rejected());
    fixture.answer(&gateway, 3, rejected());
    assert_eq!(fixture.promises(), [(1, None)], "nor does a request that backs off");
    fixture.report(7, &report("tm", &[Some(50), Some(9)]));
    fixture.log.take();
    fixture.advance(60 * SECOND);

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.promises(), [(1, Some(1))]);
}

/// B.31
#[test]
fn request_of_a_failed_worker_is_bound_to_another_promised_slot() {
    // given
    let mut fixture = Fixture::new();
    fixture.promise_next(&[small()]);
    fixture.request(1, &small());
    fixture.promise_next(&[small(), small()]);
    fixture.request(2, &small());
    assert_eq!(fixture.promises(), [(1, Some(1)), (2, Some(2)), (2, None)]);
    fixture.log.take();

    // when
    fixture.worker_failed(1);

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.promises(), [(2, Some(2)), (2, Some(1))]);
}

// A binding is accounting, not a reservation.

/// B.31: the bound request requests another worker
#[test]
fn slot_of_a_promised_worker_goes_to_the_oldest_request() {
    // given: the worker request of 1 was declined, 2 is bound
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    fixture.promise_next(&[small()]);
    fixture.request(2, &small());
    fixture.expect(&[&ask(1), &ask(2)]);
    assert_eq!(fixture.promises(), [(2, Some(2))]);

    // when
    fixture.register_for(2, "tm", 7, &free_report("tm", &[small()]));

    // then
    fixture.expect(&["request tm_0 for 1 #1", &ask(3), "granted 1 on tm_0"]);
    assert_eq!(fixture.promises(), []);
    assert_eq!(fixture.status(2), Some(AllocationStatus::Waiting));
    assert_eq!(fixture.worker_failed(2), WorkerFailedOutcome::Unknown, "it came");
}

#[test]
fn request_whose_promise_a_slot_for_another_fulfils_requests_a_worker() {
    // given
    let mut fixture = Fixture::new();
    fixture.request(1, &cores(2));
    fixture.promise_next(&slots_of(&[3]));
    fixture.request(2, &cores(3));
    fixture.log.take();

    // when
    fixture.register_free("tm", 1, &[cores(3)]);

    // then
    fixture.expect(&["request tm_0 for 1 #1", "ask 3 for {cpu: 3}", "granted 1 on tm_0"]);
}

// Fulfilled by a worker that names its worker request.

/// B.42 (i): a worker that is a little different is still the requested worker
#[test]
fn named_worker_fulfils_its_own_promises_only() {
    // given: two promised workers
    let mut fixture = Fixture::new();
    fixture.promise_next(&[small(), small()]);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.promise_next(&[small()]);
    fixture.request(3, &small());
    assert_eq!(fixture.promises(), [(1, Some(1)), (1, Some(2)), (2, Some(3))]);
    fixture.log.take();

    // when, then: the later worker registers first, with a slot that is smaller than promised
    fixture.register_for(2, "late", 7, &free_report("late", &[profile(0.9, 100)]));
    assert_eq!(fixture.promises(), [(1, Some(1)), (1, Some(2))]);
    fixture.expect(&[&ask(3)]);

    // when, then: further slots of it fulfil no promise of another worker
    let more = free_report("late", &[profile(0.9, 100), small(), small()]);
    fixture.report(7, &more);
    assert_eq!(fixture.status(2), Some(granted(&slot("late", 2))));
    assert_eq!(fixture.promises(), [(1, Some(3)), (1, None)]);
    fixture.log.take();

    // when, then: a worker that names an unknown worker request counts as unnamed
    fixture.register_for(99, "stranger", 8, &free_report("stranger", &[profile(0.5, 50)]));
    assert_eq!(fixture.promises(), [(1, Some(3))]);
    fixture.register_for(99, "small", 9, &free_report("small", &[profile(0.5, 50)]));
    assert_eq!(fixture.promises(), [(1, Some(3))], "it does not fit");
    fixture.expect_nothing();
}

#[test]
fn named_worker_fulfils_its_promises_with_slots_of_any_profile() {
    let mut fixture = with_promises(&[&[2], &[8, 8]]);
    fixture.register_for(2, "tm", 1, &free_report("tm", &[cores(1), cores(9)]));
    assert_eq!(promised(&fixture), [(1, 2.0)]);
}

#[test]
fn named_worker_with_one_slot_ends_its_whole_promise() {
    let mut fixture = with_promises(&[&[9, 1, 3]]);
    fixture.register_for(1, "tm", 1, &free_report("tm", &[cores(3)]));
    assert_eq!(promised(&fixture), []);
}

// Fulfilled by other workers.

/// B.42 (i)
#[test]
fn registered_slot_fulfils_an_equal_promise_before_an_older_one() {
    // given: three bound promised slots, oldest first
    let (narrow, middle, wide) = (profile(1.0, 100), profile(2.0, 200), profile(4.0, 400));
    let mut fixture = Fixture::new();
    fixture.promise_next(&[narrow.clone(), middle.clone(), wide.clone()]);
    fixture.request(3, &wide);
    fixture.request(2, &middle);
    fixture.request(1, &narrow);
    fixture.actions.answer_allocations(Ok(WorkerPromise::Declined));
    for (worker, instance) in [("middle", 1), ("more", 2), ("less", 3)] {
        register_known(&mut fixture, worker, instance);
    }
    let left = |fixture: &Fixture| -> Vec<ResourceProfile> {
        fixture
            .manager
            .promised_slots()
            .map(|promise| promise.resource_profile().clone())
            .collect()
    };

    // when, then: an equal one
    bring(&mut fixture, "middle", 1, std::slice::from_ref(&middle));
    assert_eq!(left(&fixture), [narrow.clone(), wide.clone()]);

    // when, then: none is equal, so it fulfils the oldest that is not larger
    bring(&mut fixture, "more", 2, &[profile(8.0, 800)]);
    assert_eq!(left(&fixture), std::slice::from_ref(&wide));

    // when, then: it is smaller than the last one and serves no request
    bring(&mut fixture, "less", 3, &[profile(0.9, 400)]);
    assert_eq!(left(&fixture), [wide]);
}

#[test]
fn oldest_of_equal_promises_is_fulfilled() {
    let mut fixture = with_promises(&[&[9], &[2], &[2]]);
    fixture.register_free("tm", 1, &[cores(2)]);
    assert_eq!(promised(&fixture), [(1, 9.0), (3, 2.0)]);
}

#[test]
fn each_new_slot_fulfils_one_promise() {
    let mut fixture = with_promises(&[&[2, 2, 2, 2]]);
    register_known(&mut fixture, "tm", 1);
    bring(&mut fixture, "tm", 1, &[cores(2), cores(2), cores(2)]);
    assert_eq!(promised(&fixture), [(1, 2.0)]);
}

/// B.42 (i)
#[test]
fn only_new_free_slots_fulfil_promises() {
    // given: an unbound promised slot
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.promise_next(&[small()]);
    fixture.request(1, &small());
    fixture.cancel(1);
    assert_eq!(fixture.promises(), [(1, None)]);

    // when: allocated slots register, known slots become free, and a worker registers again
    fixture.register("held", 2, &report("held", &[Some(60)]));
    fixture.free(&slot("held", 0), 60);
    fixture.report(1, &report("tm", &[None]));
    fixture.register("tm", 3, &report("tm", &[None]));

    // then
    assert_eq!(fixture.promises(), [(1, None)]);

    // when, then: a new slot of a known worker
    fixture.report(3, &report("tm", &[None, None]));
    assert_eq!(fixture.promises(), []);
}

#[test]
fn new_slots_of_a_worker_that_registers_again_fulfil_promises() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(7)]));
    fixture.promise_next(&[profile(0.5, 0), profile(0.5, 0)]);
    fixture.request(1, &profile(0.5, 0));

    // when
    fixture.cancel(1);

    // then
    assert_eq!(fixture.manager.overview().unbound_promised_slots, 2);

    // when, then
    fixture.register_free("tm", 2, &[small()]);
    assert_eq!(fixture.manager.overview().unbound_promised_slots, 2);

    // when, then
    fixture.register_free("tm", 3, &[small(), small()]);
    assert_eq!(fixture.manager.overview().unbound_promised_slots, 1);
}

// Ended.

/// B.42 (ii): the time runs from the promise, not from the request
#[test]
fn promise_expires_and_its_requests_need_a_worker_again() {
    // given: three slots are promised; 1 and later 2 are bound
    let mut fixture = patient_for(60);
    fixture.promise_next(&[small(), small(), small()]);
    fixture.request(1, &small());
    fixture.advance(30 * SECOND);
    fixture.request(2, &small());
    fixture.advance(30 * SECOND - NANOSECOND);
    fixture.expect(&[&ask(1)]);
    assert_eq!(fixture.promises(), [(1, Some(1)), (1, Some(2)), (1, None)]);

    // when
    fixture.advance(NANOSECOND);

    // then
    assert_eq!(fixture.promises(), []);
    fixture.expect(&["withdraw 1", &ask(2), &ask(3)]);
    assert_eq!(fixture.worker_failed(1), WorkerFailedOutcome::Unknown);

    // then: a worker that registers late serves all the same
    fixture.register_for(1, "late", 7, &report("late", &[None, None]));
    assert_eq!(fixture.status(1), Some(granted(&slot("late", 0))));
    assert_eq!(fixture.status(2), Some(granted(&slot("late", 1))));
}

/// B.42 (ii): the rest of a worker with fewer slots than promised
#[test]
fn rest_of_a_promise_expires() {
    // given: a slot of a known worker has fulfilled one of three promised slots
    let mut fixture = patient_for(60);
    register_known(&mut fixture, "tm", 7);
    fixture.promise_next(&[small(), small(), small()]);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.advance(20 * SECOND);
    bring(&mut fixture, "tm", 7, &[small()]);
    assert_eq!(fixture.promises(), [(1, Some(2)), (1, None)]);
    let expiries: Vec<_> = fixture
        .manager
        .promised_slots()
        .map(|promise| promise.expires_at())
        .collect();
    assert_eq!(expiries, [Timestamp::from_secs(60); 2]);
    fixture.log.take();

    // when
    fixture.advance(40 * SECOND);

    // then
    fixture.expect(&["withdraw 1", &ask(2)]);
    assert_eq!(fixture.promises(), []);
}

#[test]
fn worker_request_that_is_fulfilled_cannot_fail() {
    // given
    let mut fixture = patient_for(10);
    fixture.promise_next(&slots_of(&[2]));
    fixture.request(1, &cores(2));
    fixture.register_for(1, "tm", 1, &free_report("tm", &[cores(2)]));
    fixture.log.take();

    // when, then
    assert_eq!(fixture.worker_failed(1), WorkerFailedOutcome::Unknown);
    assert_eq!(fixture.advance(10 * SECOND), 0);
    fixture.expect_nothing();
}

#[test]
fn failed_worker_returns_the_number_of_slots_still_promised() {
    // given: a slot of another worker fulfilled one
    let mut fixture = with_promises(&[&[2, 2, 2]]);
    register_known(&mut fixture, "tm", 1);
    bring(&mut fixture, "tm", 1, &[cores(2)]);

    // when, then
    assert_eq!(
        fixture.worker_failed(1),
        WorkerFailedOutcome::Forgotten { promised_slots: 2 }
    );
    assert_eq!(fixture.worker_failed(1), WorkerFailedOutcome::Unknown);
    assert_eq!(
        fixture.manager.overview().slots.registered.slots,
        2,
        "the registered slots stay"
    );
}

#[test]
fn worker_that_registers_after_its_failure_serves_requests() {
    // given
    let mut fixture = with_promises(&[&[2]]);
    fixture.worker_failed(1);
    fixture.request(1, &cores(2));

    // when
    fixture.register_for(1, "tm", 1, &free_report("tm", &[cores(2)]));

    // then
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

// Worker requests of other leaderships.

/// Another process counts its worker requests from 1, too.
#[test]
fn worker_of_another_leadership_does_not_take_the_place_of_a_promised_worker() {
    // given: a promised worker with a large slot
    let mut fixture = Fixture::new();
    fixture.promise_next(&[cores(8)]);
    fixture.request(1, &cores(8));
    fixture.expect(&["ask 1 for {cpu: 8}"]);

    // when: a small worker names worker request 1 of another leader
    let named = WorkerRequestId::new(LeaderId::from_u128(9), 1);
    let connection = TaskExecutorConnection::new("stranger", instance(1), fixture.gateway()).with_worker_request(named);
    fixture
        .try_register(connection, &free_report("stranger", &[cores(1)]))
        .expect("a valid registration");

    // then: the promise stays
    assert_eq!(fixture.bound_to(1), Some(1));
    fixture.expect_nothing();
    let stranger = fixture.manager.task_manager(instance(1)).expect("registered");
    assert_eq!(stranger.worker_request(), None);
}

#[test]
fn failure_of_a_worker_of_another_leadership_ends_no_promise() {
    // given
    let mut fixture = Fixture::new();
    fixture.promise_next(&[small()]);
    fixture.request(1, &small());

    // when
    let other = WorkerRequestId::new(LeaderId::from_u128(9), 1);
    let outcome = fixture.step(|manager| manager.worker_failed(other, "lost"));

    // then
    assert_eq!(outcome, WorkerFailedOutcome::Unknown);
    assert_eq!(fixture.bound_to(1), Some(1));
}
