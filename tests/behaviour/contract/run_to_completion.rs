//! A call ends after all the effects that it caused: nothing recurses, and nothing spins.

use std::time::Duration;

use slot_manager::Timestamp;
use slot_manager::message::{Acknowledge, WorkerPromise};
use slot_manager::outcome::AllocationStatus;
use slot_manager::testing::GatewayAnswer;

use crate::common::{
    Fixture, SECOND, ask, asks, failures, free_report, granted, patient, profile, rejected, request, slot,
    slot_requests, small,
};

/// Runs a test on a stack that is far too small for a recursion of thousands of steps.
fn on_a_small_stack(test: fn()) {
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(test);
    thread.expect("a thread").join().expect("the test passes");
}

/// Registers small requests 1, 2, ..., without the check of all invariants after each.
fn register_requests(fixture: &mut Fixture, requests: usize) {
    for id in 1..=requests {
        let outcome = fixture.manager.register_slot_request(request(1, id as u128, &small()));
        assert!(outcome.is_ok());
    }
}

// Chains of immediate answers.

#[test]
fn thousands_of_attempts_that_fail_at_once_are_one_for_each_slot() {
    on_a_small_stack(|| {
        // given
        let (slots, requests) = (1000, 4000);
        let mut fixture = Fixture::new();
        register_requests(&mut fixture, requests);
        let gateway = fixture.gateway();
        gateway.answer_requests(rejected());
        fixture.log.take();

        // when
        fixture.register_with("tm", 1, &free_report("tm", &vec![small(); slots]), &gateway);

        // then: the slot of the first failure was offered once more; after the second failure the
        // worker backs off
        let effects = fixture.log.take();
        assert_eq!(slot_requests(&effects).len(), slots + 1);
        assert!(asks(&effects).len() <= slots + 1, "at most one for each failed attempt");
        assert_eq!(fixture.manager.overview().slots.free.slots, slots);
        assert_eq!(fixture.manager.overview().pending_requests, requests);
        let backoff = fixture.manager.config().retry_backoff;
        assert_eq!(
            fixture.manager.next_deadline().map(Timestamp::since_origin),
            Some(backoff)
        );
        assert_eq!(fixture.run(), 0);
        fixture.expect_nothing();
    });
}

#[test]
fn worker_that_always_fails_is_tried_less_and_less_often() {
    // given
    let mut fixture = Fixture::new();
    register_requests(&mut fixture, 50);
    let gateway = fixture.gateway();
    gateway.answer_requests(rejected());
    fixture.register_with("tm", 1, &free_report("tm", &vec![small(); 5]), &gateway);
    fixture.log.take();

    // when: ten seconds pass
    let next_within_ten_seconds = |fixture: &Fixture| {
        let next = fixture.manager.next_deadline();
        next.filter(|next| next.since_origin() <= 10 * SECOND)
    };
    while let Some(next) = next_within_ten_seconds(&fixture) {
        fixture.clock.advance_to(next);
        assert!(fixture.run() > 0, "something is due at {next}");
    }

    // then: the backoff of the worker doubles from 50 ms, so it ends 7 times, with one attempt
    // after each, however many slots the worker has
    assert_eq!(slot_requests(&fixture.log.take()).len(), 7);
}

/// Each acknowledgement is older than the report that shows the slot free. So each request is
/// granted and lost at once, and the next one follows.
#[test]
fn chain_of_immediate_answers_may_be_as_long_as_the_queue() {
    on_a_small_stack(|| {
        // given
        let requests = 5000;
        let mut fixture = Fixture::new();
        register_requests(&mut fixture, requests);
        let gateway = fixture.gateway();
        gateway.answer_requests(Ok(Acknowledge::new().with_revision(1)));
        fixture.log.take();

        // when
        fixture.register_with("tm", 1, &free_report("tm", &[small()]).with_revision(2), &gateway);

        // then
        let effects = fixture.log.take();
        assert_eq!(slot_requests(&effects).len(), requests);
        assert_eq!(failures(&effects).len(), requests);
        assert_eq!(fixture.manager.overview().pending_requests, 0);
        assert!(fixture.is_free(&slot("tm", 0)));
    });
}

#[test]
fn thousands_of_refused_workers_end_in_one_call() {
    on_a_small_stack(|| {
        // given: one promise for all requests, and no start backoff
        let requests = 3000;
        let mut fixture = Fixture::with(patient().with_max_start_failure_rate(0));
        fixture
            .actions
            .answer_next_allocation(Ok(WorkerPromise::Slots(vec![small(); requests])));
        register_requests(&mut fixture, requests);
        fixture
            .actions
            .answer_allocations(Err(slot_manager::error::ResourceManagerError::new("no quota")));
        fixture.log.take();

        // when
        fixture.worker_failed(1);

        // then
        let effects = fixture.log.take();
        assert_eq!(asks(&effects).len(), requests);
        assert_eq!(failures(&effects).len(), requests);
        assert_eq!(fixture.manager.overview().pending_requests, 0);
    });
}

// The end of a call.

#[test]
fn request_of_a_lost_task_manager_does_not_try_its_other_slots() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &vec![small(); 3]);
    gateway.answer_next(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.unregister(1);

    // then
    fixture.expect(&[&ask(1)]);
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn input_never_acts_on_time() {
    // given: a request that is long overdue, while the manager is not driven
    let mut fixture = Fixture::with(patient().with_request_timeout(SECOND));
    fixture.request(1, &small());
    fixture.log.take();
    fixture.clock.advance(Duration::from_secs(5));

    // when
    fixture.register_free("tm", 1, &[small()]);

    // then: it is granted all the same
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn outcome_of_a_call_includes_the_effects_of_its_immediate_answers() {
    // given
    let mut fixture = Fixture::new();
    let first = fixture.register_free("a", 1, &[small()]);
    first.answer_next(rejected());
    fixture.register_free("b", 2, &[profile(2.0, 200)]);

    // when, then
    assert_eq!(fixture.request(1, &small()), granted(&slot("b", 0)));
    fixture.expect(&["request a_0 for 1 #1", "request b_0 for 1 #2", "granted 1 on b_0"]);
}
