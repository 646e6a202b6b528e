//! A call ends when all that it caused was said: nothing recurses, and nothing spins.

use std::time::Duration;

use slot_manager::testing::GatewayAnswer;
use slot_manager::{Acknowledge, AllocationStatus, SlotAllocationError, Timestamp, WorkerPromise};

use crate::common::{
    Fixture, asks, failures, free_report, granted, patient, profile, request, slot, slot_requests, small,
};

/// Far less than a recursion of thousands of steps needs.
fn on_a_small_stack(test: fn()) {
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(test);
    thread.expect("a thread").join().expect("the test holds");
}

fn refused() -> GatewayAnswer {
    Err(SlotAllocationError::rejected("never")).into()
}

#[test]
fn thousands_of_requests_and_slots_that_fail_at_once_cost_two_attempts_for_each_slot() {
    on_a_small_stack(|| {
        let (slots, requests) = (1000, 4000);
        let mut fixture = Fixture::new();
        for id in 1..=requests {
            let outcome = fixture.manager.register_slot_request(request(1, id, &small()));
            assert!(outcome.is_ok());
        }
        let gateway = fixture.gateway();
        gateway.answer_requests(refused());
        fixture.log.take();

        fixture.register_with("tm", 1, &free_report("tm", &vec![small(); slots]), &gateway);

        // Two different allocations failed on each, then it pauses.
        let effects = fixture.log.take();
        assert_eq!(slot_requests(&effects).len(), 2 * slots);
        assert!(asks(&effects).len() <= 2 * slots, "one for a failed attempt at most");
        assert_eq!(fixture.manager.slot_counts().free, slots);
        assert_eq!(fixture.manager.num_pending_slot_requests(), requests as usize);
        let pause = fixture.manager.config().retry_backoff;
        assert_eq!(
            fixture.manager.next_deadline().map(Timestamp::since_origin),
            Some(pause)
        );
        assert_eq!(fixture.run(), 0);
        assert!(fixture.log.is_empty());
    });
}

#[test]
fn what_fails_for_ever_is_tried_less_and_less_often() {
    let mut fixture = Fixture::new();
    for id in 1..=50 {
        fixture.request(id, &small());
    }
    let gateway = fixture.gateway();
    gateway.answer_requests(refused());
    fixture.register_with("tm", 1, &free_report("tm", &vec![small(); 5]), &gateway);
    fixture.log.take();

    // The pauses of a slot double from 50 ms: within 10 s there are 7 of them, and at most two attempts after each.
    while fixture
        .manager
        .next_deadline()
        .is_some_and(|at| at.since_origin() <= Duration::from_secs(10))
    {
        let next = fixture.manager.next_deadline().expect("just seen");
        fixture.clock.advance_to(next);
        assert!(fixture.run() > 0, "at {next} something is due");
    }
    let attempts = slot_requests(&fixture.log.take()).len();
    assert!((5 * 7..=5 * 7 * 2).contains(&attempts), "{attempts} attempts");
}

#[test]
fn one_request_on_a_slot_that_fails_at_once_makes_two_attempts_in_the_call() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(refused());
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&["request tm_0 for 1 #1", "request tm_0 for 1 #2"]);
    assert_eq!(fixture.run(), 0);
}

/// Every acknowledgement is older than the report that shows the slot free, so every request is served and over at
/// once, and the next follows.
#[test]
fn a_chain_of_immediate_answers_may_be_as_long_as_the_queue() {
    on_a_small_stack(|| {
        let requests = 5000;
        let mut fixture = Fixture::new();
        for id in 1..=requests {
            let outcome = fixture.manager.register_slot_request(request(1, id, &small()));
            assert!(outcome.is_ok());
        }
        let gateway = fixture.gateway();
        gateway.answer_requests(Ok(Acknowledge::new().with_revision(1)));
        fixture.log.take();

        fixture.register_with("tm", 1, &free_report("tm", &[small()]).with_revision(2), &gateway);

        let effects = fixture.log.take();
        assert_eq!(slot_requests(&effects).len(), requests as usize);
        assert_eq!(failures(&effects).len(), requests as usize);
        assert_eq!(fixture.manager.num_pending_slot_requests(), 0);
        assert!(fixture.is_free(&slot("tm", 0)));
    });
}

#[test]
fn thousands_of_refused_workers_end_in_the_call() {
    on_a_small_stack(|| {
        let requests: usize = 3000;
        let mut fixture = Fixture::new();
        fixture
            .actions
            .answer_next_allocation(Ok(WorkerPromise::Slots(vec![small(); requests])));
        for id in 1..=requests {
            let outcome = fixture.manager.register_slot_request(request(1, id as u128, &small()));
            assert!(outcome.is_ok());
        }
        fixture
            .actions
            .answer_allocations(Err(slot_manager::ResourceManagerError::new("no quota")));
        fixture.log.take();

        fixture.worker_failed(1);

        let effects = fixture.log.take();
        assert_eq!(asks(&effects).len(), requests);
        assert_eq!(failures(&effects).len(), requests);
        assert_eq!(fixture.manager.num_pending_slot_requests(), 0);
    });
}

#[test]
fn requests_of_a_lost_task_manager_do_not_bounce_over_its_other_slots() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &vec![small(); 3]);
    gateway.answer_next(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();
    fixture.unregister(1);
    fixture.expect(&["ask 1 for {cpu: 1, task heap: 100 MiB}"]);
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn an_input_never_acts_on_time() {
    let mut fixture = Fixture::with(patient().with_request_timeout(Duration::from_secs(1)));
    fixture.request(1, &small());
    fixture.log.take();
    fixture.clock.advance(Duration::from_secs(5));

    // Long overdue, it is served all the same: nobody drove the manager.
    fixture.register_free("tm", 1, &[small()]);
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn the_outcome_of_a_call_counts_what_its_immediate_answers_did() {
    let mut fixture = Fixture::new();
    let first = fixture.register_free("a", 1, &[small()]);
    first.answer_next(refused());
    fixture.register_free("b", 2, &[profile(2.0, 200)]);
    assert_eq!(fixture.request(1, &small()), granted(&slot("b", 0)));
    fixture.expect(&["request a_0 for 1 #1", "request b_0 for 1 #2", "granted 1 on b_0"]);
}
