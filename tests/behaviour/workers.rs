//! When a worker is asked for, and what a promised one counts for until it comes or does not. Comments name the defects
//! of FLINK-5810 and its successors that the tests guard against.

use std::time::Duration;

use slot_manager::{
    AllocationStatus, CancelOutcome, FreeSlotOutcome, RegistrationOutcome, ResourceProfile, SlotManagerConfig,
    SlotMatchingStrategy, TaskExecutorConnection, Timestamp, WorkerFailedOutcome, WorkerPromise, WorkerRequestId,
};

use crate::common::{
    Fixture, acknowledged, allocation, ask, free_report, granted, in_flight, instance, occupied, patient, profile,
    rejected, report, slot, small,
};

const MINUTE: Duration = Duration::from_secs(60);

fn workers_register_within(timeout: Duration) -> SlotManagerConfig {
    patient().with_worker_registration_timeout(timeout)
}

/// The next worker brings these slots.
fn promise_next(fixture: &Fixture, slots: &[ResourceProfile]) {
    fixture
        .actions
        .answer_next_allocation(Ok(WorkerPromise::Slots(slots.to_vec())));
}

/// Each promised slot: the worker request it is of, and the request that it covers.
fn promises(fixture: &Fixture) -> Vec<(u64, Option<u128>)> {
    let listed: Vec<_> = fixture
        .manager
        .promised_slots()
        .map(|promise| {
            let number = promise.worker_request().to_string().parse().expect("a number");
            (number, promise.bound_to().map(|id| id.as_uuid().as_u128()))
        })
        .collect();
    let counts = fixture.manager.promised_slot_counts();
    let bound = listed.iter().filter(|(_, covers)| covers.is_some()).count();
    assert_eq!((counts.bound, counts.unbound), (bound, listed.len() - bound));
    listed
}

/// Registers a worker that says which worker request it answers.
#[track_caller]
fn register_for(fixture: &mut Fixture, worker_request: u64, worker: &str, number: u128, profiles: &[ResourceProfile]) {
    let connection = TaskExecutorConnection::new(worker, instance(number), fixture.gateway())
        .with_worker_request(WorkerRequestId::new(worker_request));
    let outcome = fixture.try_register(connection, &free_report(worker, profiles));
    assert_eq!(outcome, Ok(RegistrationOutcome::Registered));
}

/// B.31: workers with several slots
#[test]
fn worker_is_asked_for_only_when_no_promised_slot_is_left() {
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
    assert_eq!(promises(&fixture), Vec::from_iter(expected));

    // when, then: two workers come, and serve six of them in order
    fixture.register("a", 1, &report("a", &[None; 3]));
    fixture.register("b", 2, &report("b", &[None; 3]));
    let asked = fixture
        .brief_effects()
        .into_iter()
        .filter(|line| line.starts_with("ask"))
        .count();
    assert_eq!(asked, 0);
    assert_eq!(fixture.status(6), Some(granted(&slot("b", 2))));
    assert_eq!(promises(&fixture), [(3, Some(7)), (3, None), (3, None)]);
}

/// B.31: what is known of a promised slot
#[test]
fn promised_slots_and_their_requests_can_be_looked_at() {
    // given
    let mut fixture = Fixture::with(workers_register_within(MINUTE));
    fixture.advance(MINUTE);
    promise_next(&fixture, &[profile(2.0, 200), small()]);

    // when
    fixture.request(1, &small());

    // then
    let views: Vec<_> = fixture.manager.promised_slots().collect();
    assert_eq!(views.len(), 2);
    assert_eq!(views[0].worker_request(), WorkerRequestId::new(1));
    assert_eq!(views[0].resource_profile(), &profile(2.0, 200));
    assert_eq!(views[0].bound_to(), Some(allocation(1)));
    assert_eq!(views[0].expires_at(), Timestamp::ZERO + 2 * MINUTE);
    assert_eq!((views[1].resource_profile(), views[1].bound_to()), (&small(), None));
    let bound_to = |id| {
        fixture
            .manager
            .pending_slot_request(allocation(id))
            .expect("pending")
            .bound_to()
    };
    assert_eq!(bound_to(1), Some(WorkerRequestId::new(1)));
}

/// B.31: a wish that is not needed any more counts for the next request
#[test]
fn promise_of_a_cancelled_request_covers_the_next_one() {
    // given
    let mut fixture = Fixture::new();
    promise_next(&fixture, &[small()]);
    fixture.request(1, &small());

    // when
    assert_eq!(fixture.cancel(1), CancelOutcome::Cancelled);
    assert_eq!(promises(&fixture), [(1, None)]);
    fixture.expect(&[&ask(1), "withdraw 1"]);
    fixture.request(2, &small());

    // then
    fixture.expect(&[]);
    assert_eq!(promises(&fixture), [(1, Some(2))]);
}

/// B.31: and so does the wish of a request that was served otherwise, first of all for those that wait already
#[test]
fn promise_of_a_request_that_was_served_covers_the_oldest_uncovered_one() {
    // given: 1 is covered, 2 and 3 are not
    let mut fixture = Fixture::with(workers_register_within(MINUTE));
    fixture.register("tm", 7, &report("tm", &[Some(50)]));
    promise_next(&fixture, &[small()]);
    for id in [1, 2, 3] {
        fixture.request(id, &small());
    }
    assert_eq!(promises(&fixture), [(1, Some(1))]);
    fixture.log.take();

    // when: a known slot becomes free, which consumes no promise
    fixture.free(&slot("tm", 0), 50);

    // then
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
    assert_eq!(promises(&fixture), [(1, Some(2))]);
}

/// B.31: a retry does not ask for another worker while one is on its way
#[test]
fn request_that_was_refused_is_covered_by_a_worker_on_its_way() {
    // given: two slots promised, one comes, and turns out to be held
    let mut fixture = Fixture::new();
    promise_next(&fixture, &[small(), small()]);
    fixture.request(1, &small());
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    assert_eq!(promises(&fixture), [(1, None)]);

    // when
    fixture.answer(&gateway, 1, occupied(9));

    // then
    fixture.expect(&[&ask(1), "request tm_0 for 1 #1"]);
    assert_eq!(promises(&fixture), [(1, Some(1))]);

    // when: the slot is free, and refuses again and again
    fixture.free(&slot("tm", 0), 9);
    assert_eq!(promises(&fixture), [(1, None)], "in flight, it needs no promise");
    fixture.answer(&gateway, 2, rejected());
    fixture.answer(&gateway, 3, rejected());
    assert_eq!(promises(&fixture), [(1, None)], "pausing neither");
    fixture.report(7, &report("tm", &[Some(9)]));
    fixture.log.take();
    fixture.advance(MINUTE);

    // then
    fixture.expect(&[]);
    assert_eq!(promises(&fixture), [(1, Some(1))]);
}

/// B.31: covering is accounting, not reservation
#[test]
fn slot_of_a_promised_worker_goes_to_the_oldest_request_and_the_covered_one_asks_anew() {
    // given: 1 was declined, 2 has a promise
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    promise_next(&fixture, &[small()]);
    fixture.request(2, &small());
    fixture.expect(&[&ask(1), &ask(2)]);
    assert_eq!(promises(&fixture), [(2, Some(2))]);

    // when
    register_for(&mut fixture, 2, "tm", 7, &[small()]);

    // then
    fixture.expect(&["request tm_0 for 1 #1", &ask(3), "granted 1 on tm_0"]);
    assert_eq!(promises(&fixture), []);
    assert_eq!(fixture.status(2), Some(AllocationStatus::Waiting));
    assert_eq!(fixture.worker_failed(2), WorkerFailedOutcome::Unknown, "it came");
}

/// B.31: all that a worker promises covers whoever waits
#[test]
fn promise_covers_its_own_request_and_then_the_oldest_uncovered_ones() {
    // given: two requests were declined
    let mut fixture = Fixture::with(workers_register_within(MINUTE));
    fixture.request(1, &small());
    fixture.request(2, &small());
    promise_next(&fixture, &[small(), small(), small(), small()]);

    // when
    fixture.request(3, &small());

    // then: they are not asked for again
    fixture.expect(&[&ask(1), &ask(2), &ask(3)]);
    assert_eq!(
        promises(&fixture),
        [(3, Some(3)), (3, Some(1)), (3, Some(2)), (3, None)]
    );
    fixture.advance(MINUTE - Duration::from_nanos(1));
    fixture.expect(&[]);
}

/// B.31: of several that fit, the promise that covers nothing for the longest time
#[test]
fn request_is_covered_only_by_a_promise_that_fits() {
    // given: spare promises of a narrow and a wide slot
    let (narrow, wide) = (profile(1.0, 100), profile(4.0, 400));
    let mut fixture = Fixture::new();
    promise_next(&fixture, &[narrow.clone(), narrow.clone(), wide.clone()]);
    fixture.request(1, &narrow);

    // when, then
    fixture.request(2, &wide);
    assert_eq!(promises(&fixture), [(1, Some(1)), (1, None), (1, Some(2))]);
    fixture.request(3, &wide);
    fixture.expect(&[
        "ask 1 for {cpu: 1, task heap: 100 MiB}",
        "ask 2 for {cpu: 4, task heap: 400 MiB}",
    ]);
    fixture.request(4, &narrow);
    fixture.expect(&[]);
    assert_eq!(promises(&fixture), [(1, Some(1)), (1, Some(4)), (1, Some(2))]);
}

/// B.31: a promise that does not help the request that asked counts as none, but may help others
#[test]
fn promise_that_does_not_fit_its_request_is_as_good_as_declined() {
    let wide = profile(4.0, 400);
    let ask_for_wide = |number| format!("ask {number} for {wide}");
    for (useless, said) in [
        (vec![], [ask_for_wide(1), ask(2)]),
        (vec![small()], [ask_for_wide(1), "withdraw 1".to_owned()]),
    ] {
        // given
        let mut fixture = Fixture::with(workers_register_within(MINUTE));
        promise_next(&fixture, &useless);
        fixture.request(1, &wide);
        fixture.request(2, &small());
        let helped = useless.len();
        assert_eq!(
            promises(&fixture),
            if helped == 1 { vec![(1, Some(2))] } else { vec![] }
        );
        assert_eq!(fixture.brief_effects(), said);

        // then: asked again when a declined wish is
        fixture.advance(MINUTE - Duration::from_nanos(1));
        fixture.expect(&[]);
        fixture.advance(Duration::from_nanos(1));
        let asked = fixture.brief_effects();
        assert!(
            asked.iter().any(|line| line.ends_with("{cpu: 4, task heap: 400 MiB}")),
            "{asked:?}"
        );
    }
}

/// B.31: a worker of which no shape is known
#[test]
fn unspecified_worker_counts_as_one_slot_of_the_profile_asked_for() {
    let mut fixture = Fixture::new();
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    let wide = profile(4.0, 400);

    fixture.request(1, &wide);
    fixture.request(2, &wide);

    assert_eq!(promises(&fixture), [(1, Some(1)), (2, Some(2))]);
    assert!(
        fixture
            .manager
            .promised_slots()
            .all(|promise| promise.resource_profile() == &wide)
    );
}

/// B.31: nothing will come, so the request waits for what registers, and the wish is repeated
#[test]
fn declined_wish_is_repeated_after_the_promise_timeout() {
    // given
    let mut fixture = Fixture::with(workers_register_within(MINUTE));
    fixture.request(1, &small());
    fixture.advance(Duration::from_secs(10));
    fixture.request(2, &small());
    fixture.expect(&[&ask(1), &ask(2)]);

    // when, then: each in its own time, once
    fixture.advance(Duration::from_secs(50));
    fixture.expect(&[&ask(3)]);
    fixture.advance(Duration::from_secs(10));
    fixture.expect(&[&ask(4)]);

    // when, then: not for a request that was served
    fixture.register("tm", 7, &report("tm", &[None]));
    fixture.log.take();
    fixture.advance(MINUTE);
    fixture.expect(&[&ask(5)]);
    assert_eq!(fixture.manager.num_pending_slot_requests(), 1);

    // when, then: nor for one that a promise covers meanwhile
    promise_next(&fixture, &[small(), small()]);
    fixture.request(3, &small());
    fixture.expect(&[&ask(6)]);
    fixture.advance(MINUTE - Duration::from_nanos(1));
    fixture.expect(&[]);
}

/// B.31: events that have nothing to do with a declined request do not repeat its wish
#[test]
fn declined_wish_is_not_repeated_by_other_events() {
    let mut fixture = Fixture::new();
    fixture.request(1, &profile(4.0, 400));
    fixture.log.take();

    fixture.register("tm", 7, &report("tm", &[None, Some(9)]));
    fixture.report(7, &report("tm", &[None, None]));
    fixture.request(2, &small());
    fixture.free(&slot("tm", 0), 2);
    fixture.unregister(7);

    assert!(fixture.brief_effects().iter().all(|line| !line.starts_with("ask")));
}

/// B.42 (i): which promise a slot takes the place of
#[test]
fn registered_slot_takes_the_place_of_an_equal_promise_before_an_older_one() {
    // given: three spare promises, oldest first
    let (narrow, middle, wide) = (profile(1.0, 100), profile(2.0, 200), profile(4.0, 400));
    let mut fixture = Fixture::new();
    promise_next(&fixture, &[narrow.clone(), middle.clone(), wide.clone()]);
    fixture.request(1, &narrow);
    fixture.cancel(1);
    let left = |fixture: &Fixture| -> Vec<ResourceProfile> {
        fixture
            .manager
            .promised_slots()
            .map(|promise| promise.resource_profile().clone())
            .collect()
    };

    // when, then: an equal one
    fixture.register("middle", 1, &free_report("middle", std::slice::from_ref(&middle)));
    assert_eq!(left(&fixture), [narrow.clone(), wide.clone()]);

    // when, then: none is equal, so the oldest that it can stand for
    fixture.register("more", 2, &free_report("more", &[profile(8.0, 800)]));
    assert_eq!(left(&fixture), std::slice::from_ref(&wide));

    // when, then: it can stand for none
    fixture.register("less", 3, &free_report("less", &[profile(3.9, 400)]));
    assert_eq!(left(&fixture), [wide]);
}

/// B.42 (i): a worker that is a little different is still the worker that was asked for
#[test]
fn worker_that_names_its_request_takes_the_place_of_its_promises_only() {
    // given: two promised workers
    let mut fixture = Fixture::new();
    promise_next(&fixture, &[small(), small()]);
    fixture.request(1, &small());
    fixture.request(2, &small());
    promise_next(&fixture, &[small()]);
    fixture.request(3, &small());
    assert_eq!(promises(&fixture), [(1, Some(1)), (1, Some(2)), (2, Some(3))]);
    fixture.log.take();

    // when, then: the later one comes first, with a slot that is smaller than promised and serves nobody
    register_for(&mut fixture, 2, "late", 7, &[profile(0.9, 100)]);
    assert_eq!(promises(&fixture), [(1, Some(1)), (1, Some(2))]);
    fixture.expect(&[&ask(3)]);

    // when, then: it has more slots than it promised; they stand for no other worker's
    let more = free_report("late", &[profile(0.9, 100), small(), small()]);
    fixture.report(7, &more);
    assert_eq!(fixture.status(2), Some(granted(&slot("late", 2))));
    assert_eq!(promises(&fixture), [(1, Some(3)), (1, None)]);
    fixture.log.take();

    // when, then: a worker for a request that is not known stands for nothing
    register_for(&mut fixture, 99, "stranger", 8, &[profile(0.5, 50)]);
    assert_eq!(promises(&fixture), [(1, Some(3)), (1, None)]);
    fixture.expect(&[]);
}

/// B.42 (i): only slots that are new and free
#[test]
fn only_newly_known_free_slots_take_the_place_of_promises() {
    // given: a spare promise
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    promise_next(&fixture, &[small()]);
    fixture.request(1, &small());
    fixture.cancel(1);
    assert_eq!(promises(&fixture), [(1, None)]);

    // when: slots that are held, known slots that become free, known slots of a worker that registers again
    fixture.register("held", 2, &report("held", &[Some(60)]));
    fixture.free(&slot("held", 0), 60);
    fixture.report(1, &report("tm", &[None]));
    fixture.register("tm", 3, &report("tm", &[None]));

    // then
    assert_eq!(promises(&fixture), [(1, None)]);

    // when, then: a new slot of a known worker
    fixture.report(3, &report("tm", &[None, None]));
    assert_eq!(promises(&fixture), []);
}

/// B.42 (ii)
#[test]
fn promise_that_is_not_kept_expires() {
    // given: one slot covers a request, one covers nothing; half of what another worker promised has come
    let mut fixture = Fixture::with(workers_register_within(MINUTE));
    promise_next(&fixture, &[small(), small()]);
    fixture.request(1, &small());
    fixture.advance(MINUTE - Duration::from_nanos(1));
    fixture.expect(&[&ask(1)]);
    assert_eq!(promises(&fixture), [(1, Some(1)), (1, None)]);

    // when
    fixture.advance(Duration::from_nanos(1));

    // then: asked anew
    assert_eq!(promises(&fixture), []);
    fixture.expect(&[&ask(2)]);
    assert_eq!(fixture.worker_failed(1), WorkerFailedOutcome::Unknown);

    // then: the worker that comes late serves all the same
    register_for(&mut fixture, 1, "late", 7, &[small(), small()]);
    assert_eq!(fixture.status(1), Some(granted(&slot("late", 0))));
}

/// B.42 (ii): the rest of a worker that brought less than it promised
#[test]
fn rest_of_a_promise_expires() {
    let mut fixture = Fixture::with(workers_register_within(MINUTE));
    promise_next(&fixture, &[small(), small()]);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.advance(Duration::from_secs(20));
    register_for(&mut fixture, 1, "tm", 7, &[small()]);
    assert_eq!(promises(&fixture), [(1, Some(2))]);
    fixture.log.take();

    fixture.advance(Duration::from_secs(40));

    fixture.expect(&[&ask(2)]);
    assert_eq!(promises(&fixture), []);
}

/// B.31, B.42
#[test]
fn failed_worker_is_not_waited_for_and_its_requests_ask_anew_once() {
    // given: a worker that covers three requests, and has a slot to spare
    let mut fixture = Fixture::new();
    promise_next(&fixture, &vec![small(); 4]);
    for id in [1, 2, 3] {
        fixture.request(id, &small());
    }
    promise_next(&fixture, &vec![small(); 2]);
    fixture.log.take();

    // when
    let outcome = fixture.worker_failed(1);

    // then: the answer for the oldest covers the next too
    assert_eq!(outcome, WorkerFailedOutcome::Forgotten { promised_slots: 4 });
    fixture.expect(&[&ask(2), &ask(3)]);
    assert_eq!(promises(&fixture), [(2, Some(1)), (2, Some(2))]);
    assert_eq!(fixture.worker_failed(1), WorkerFailedOutcome::Unknown);
    fixture.expect(&[]);
}

/// B.31: the spare promise of another worker serves as well
#[test]
fn request_of_a_failed_worker_is_covered_by_another_promise() {
    let mut fixture = Fixture::new();
    promise_next(&fixture, &[small()]);
    fixture.request(1, &small());
    promise_next(&fixture, &[small(), small()]);
    fixture.request(2, &small());
    assert_eq!(promises(&fixture), [(1, Some(1)), (2, Some(2)), (2, None)]);
    fixture.log.take();

    fixture.worker_failed(1);

    fixture.expect(&[]);
    assert_eq!(promises(&fixture), [(2, Some(2)), (2, Some(1))]);
}

/// B.31: a worker that was there is not a promise: losing it asks for each request that was in flight to it
#[test]
fn requests_that_lose_their_task_manager_ask_once_each() {
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    assert_eq!(fixture.request(1, &small()), in_flight(&slot("tm", 0)));
    assert_eq!(fixture.request(2, &small()), in_flight(&slot("tm", 1)));
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    fixture.log.take();

    fixture.unregister(7);

    fixture.expect(&[&ask(1), &ask(2)]);
    assert_eq!(promises(&fixture), [(1, Some(1)), (2, Some(2))]);
}

/// B.42 (v): shares of nothing
#[test]
fn task_manager_without_slots_has_a_utilization() {
    let config = patient().with_slot_matching_strategy(SlotMatchingStrategy::LeastUtilization);
    let mut fixture = Fixture::with(config);
    fixture.register("empty", 1, &report("empty", &[]));
    fixture.register("used", 2, &report("used", &[Some(9), None]));
    assert_eq!(fixture.request(1, &small()), granted(&slot("used", 1)));

    fixture.report(1, &report("empty", &[None]));
    assert_eq!(fixture.request(2, &small()), granted(&slot("empty", 0)));
    fixture.report(1, &report("empty", &[]));
    assert_eq!(fixture.request(3, &small()), AllocationStatus::Waiting);
}

/// B.42 (vii): expiries, and the answers that they cause at once
#[test]
fn requests_that_expire_together_all_fail_though_answers_come_at_once() {
    // given: three requests in flight, which expire together, and three that wait behind them
    let mut fixture = Fixture::with(patient().with_request_timeout(MINUTE));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None; 3]));
    for id in [1, 2, 3] {
        fixture.request(id, &small());
    }
    fixture.advance(Duration::from_secs(1));
    for id in [4, 5, 6] {
        fixture.request(id, &small());
    }
    gateway.answer_requests(acknowledged());
    fixture.log.take();

    // when
    fixture.advance(Duration::from_secs(59));

    // then
    fixture.expect(&[
        "failed 1: timeout",
        "failed 2: timeout",
        "failed 3: timeout",
        "free tm_0 of 1 #1",
        "free tm_1 of 2 #2",
        "free tm_2 of 3 #3",
        "request tm_0 for 4 #4",
        "request tm_1 for 5 #5",
        "request tm_2 for 6 #6",
        "granted 4 on tm_0",
        "granted 5 on tm_1",
        "granted 6 on tm_2",
    ]);
    assert_eq!(fixture.free(&slot("tm", 0), 4), FreeSlotOutcome::Freed);
}
