//! Workers that nobody needs any more are withdrawn, if it is not too late.

use slot_manager::{SlotManagerConfig, SlotReport, Withdrawal, WorkerFailedOutcome};

use crate::common::{Fixture, SECOND, ask, described, granted, job, patient, profile, report, slot, small};

/// Workers of one small slot, and request 1 waits for worker request 1.
fn waiting() -> Fixture {
    waiting_with(patient())
}

fn waiting_with(config: SlotManagerConfig) -> Fixture {
    let mut fixture = Fixture::promising(config);
    fixture.request(1, &small());
    fixture.expect(&[&ask(1)]);
    fixture
}

// Asked for.

#[test]
fn a_worker_is_withdrawn_when_its_request_is_cancelled() {
    let mut fixture = waiting();
    fixture.cancel(1);
    fixture.expect(&["withdraw 1"]);
}

#[test]
fn a_worker_is_withdrawn_when_its_job_is_gone() {
    let mut fixture = waiting();
    fixture.step(|manager| manager.unregister_job(job(1))).expect("started");
    fixture.expect(&["withdraw 1"]);
}

#[test]
fn a_worker_is_withdrawn_when_its_request_is_served_otherwise() {
    let mut fixture = Fixture::promising(patient());
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.request(1, &small());
    fixture.log.take();
    fixture.free(&slot("tm", 0), 50);
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0", "withdraw 1"]);
}

#[test]
fn a_worker_is_withdrawn_when_its_request_is_found_to_hold_a_slot() {
    let mut fixture = waiting();
    fixture.register("tm", 1, &report("tm", &[Some(1)]));
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.expect(&["granted 1 on tm_0", "withdraw 1"]);
}

#[test]
fn a_worker_is_withdrawn_when_its_request_fails() {
    let mut fixture = waiting_with(patient().with_request_timeout(10 * SECOND));
    fixture.advance(10 * SECOND);
    fixture.expect(&["failed 1: timeout", "withdraw 1"]);
}

#[test]
fn a_worker_that_never_fitted_is_withdrawn() {
    let mut fixture = Fixture::with(patient());
    fixture.promise_next(&[profile(0.5, 50)]);
    fixture.request(1, &small());
    fixture.expect(&[&ask(1), "withdraw 1"]);
}

#[test]
fn several_workers_are_withdrawn_smallest_first_and_of_equal_ones_the_last_first() {
    // given: workers with two slots, one and one
    let mut fixture = Fixture::with(patient());
    for slots in [&[small(), small()][..], &[small()], &[small()]] {
        fixture.promise_next(slots);
    }
    for id in 1..=4 {
        fixture.request(id, &small());
    }
    fixture.expect(&[&ask(1), &ask(2), &ask(3)]);

    // when
    fixture.step(|manager| manager.unregister_job(job(1))).expect("started");

    // then
    fixture.expect(&["withdraw 3", "withdraw 2", "withdraw 1"]);
}

// Not asked for.

#[test]
fn a_worker_is_not_withdrawn_while_a_slot_of_it_covers_a_request() {
    let mut fixture = Fixture::with(patient());
    fixture.promise_next(&[small(), small()]);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();
    fixture.cancel(1);
    fixture.expect_nothing();
    fixture.cancel(2);
    fixture.expect(&["withdraw 1"]);
}

#[test]
fn a_worker_is_not_withdrawn_that_comes_to_cover_another_request() {
    let mut fixture = Fixture::with(patient());
    fixture.promise_next(&[small()]);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();
    fixture.cancel(1);
    fixture.expect_nothing();
    assert_eq!(fixture.bound_to(2), Some(1));
}

#[test]
fn a_worker_is_not_withdrawn_of_which_a_slot_has_registered() {
    for names_its_request in [true, false] {
        // given
        let mut fixture = Fixture::with(patient());
        fixture.promise_next(&[small(), small()]);
        fixture.request(1, &small());
        fixture.request(2, &small());
        let one_slot = report("tm", &[None]);
        if names_its_request {
            fixture.register_for(1, "tm", 1, &one_slot);
        } else {
            fixture.register("tm", 1, &one_slot);
        }
        fixture.log.take();

        // when
        fixture.cancel(2);

        // then
        fixture.expect_nothing();
        assert_eq!(fixture.promised(), (0, 1));
    }
}

#[test]
fn a_worker_that_has_come_whole_is_not_withdrawn() {
    let mut fixture = waiting();
    fixture.register_for(1, "tm", 1, &report("tm", &[None]));
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
}

// What comes of it.

#[test]
fn a_withdrawal_that_is_confirmed_ends_the_promise() {
    let mut fixture = waiting();
    fixture.actions.answer_withdrawals(Withdrawal::Confirmed);
    fixture.cancel(1);
    assert_eq!(fixture.promised(), (0, 0));
    assert_eq!(fixture.worker_failed(1), WorkerFailedOutcome::Unknown);
    fixture.log.take();
    fixture.request(2, &small());
    fixture.expect(&[&ask(2)]);
}

#[test]
fn a_withdrawal_that_comes_too_late_keeps_the_promise() {
    let mut fixture = waiting();
    fixture.cancel(1);
    fixture.expect(&["withdraw 1"]);
    assert_eq!(fixture.promised(), (0, 1));
    fixture.request(2, &small());
    fixture.expect_nothing();
    assert_eq!(fixture.bound_to(2), Some(1));
}

#[test]
fn a_withdrawal_is_asked_for_once() {
    let mut fixture = waiting();
    fixture.cancel(1);
    fixture.log.take();
    fixture.register("empty", 1, &SlotReport::default());
    fixture.request(2, &profile(9.0, 900));
    fixture.cancel(2);
    fixture.expect(&["ask 2 for {cpu: 9, task heap: 900 MiB}", "withdraw 2"]);
}

#[test]
fn a_withdrawal_is_asked_for_again_after_the_worker_covered_a_request_again() {
    let mut fixture = waiting();
    fixture.cancel(1);
    fixture.request(2, &small());
    fixture.log.take();
    fixture.cancel(2);
    fixture.expect(&["withdraw 1"]);
    fixture.register("empty", 1, &SlotReport::default());
    fixture.expect_nothing();
}

#[test]
fn a_worker_that_could_not_be_withdrawn_may_still_never_come() {
    let mut fixture = waiting_with(patient().with_worker_registration_timeout(10 * SECOND));
    fixture.cancel(1);
    fixture.expect(&["withdraw 1"]);
    assert_eq!(fixture.promised(), (0, 1));
    fixture.advance(10 * SECOND);
    assert_eq!(fixture.promised(), (0, 0));
    fixture.expect_nothing();
}

#[test]
fn each_worker_is_asked_about_whatever_the_others_said() {
    let mut fixture = Fixture::promising(patient());
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.actions.answer_next_withdrawal(Withdrawal::TooLate);
    fixture.actions.answer_next_withdrawal(Withdrawal::Confirmed);
    fixture.log.take();
    fixture.step(|manager| manager.unregister_job(job(1))).expect("started");
    fixture.expect(&["withdraw 2", "withdraw 1"]);
    let left: Vec<_> = fixture
        .manager
        .promised_slots()
        .map(|promise| promise.worker_request().as_u64())
        .collect();
    assert_eq!(left, [2]);
}

// Wanted otherwise.

#[test]
fn what_the_floor_wants_is_not_withdrawn() {
    let mut fixture = Fixture::promising(described(2).with_min_slots(2));
    fixture.expect(&[&ask(1)]);
    fixture.request(1, &small());
    fixture.cancel(1);
    fixture.expect_nothing();
}

#[test]
fn what_the_floor_does_not_want_any_more_is_withdrawn() {
    // given
    let mut fixture = Fixture::promising(described(2).with_min_slots(2));
    fixture.log.take();

    // when: slots that are held take the place of no promise
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.expect_nothing();
    fixture.register("other", 2, &report("other", &[Some(51)]));

    // then
    fixture.expect(&["withdraw 1"]);
}

#[test]
fn what_redundancy_wants_is_not_withdrawn_before_the_jobs_end() {
    let mut fixture = Fixture::promising(described(2).with_redundant_task_managers(1));
    fixture.register("tm", 1, &report("tm", &[Some(50), Some(51)]));
    fixture.expect(&[&ask(1)]);
    fixture.free(&slot("tm", 0), 50);
    fixture.expect_nothing();
    fixture.free(&slot("tm", 1), 51);
    fixture.expect(&["withdraw 1"]);
}

#[test]
fn what_redundancy_does_not_want_any_more_is_withdrawn() {
    let mut fixture = Fixture::promising(described(2).with_redundant_task_managers(1));
    fixture.register("tm", 1, &report("tm", &[Some(50), Some(51), Some(52)]));
    fixture.log.take();
    fixture.free(&slot("tm", 0), 50);
    fixture.expect_nothing();
    fixture.free(&slot("tm", 1), 51);
    fixture.expect(&["withdraw 1"]);
}

/// Of two workers the floor wants only the larger.
#[test]
fn withdrawing_stops_at_the_first_that_is_wanted() {
    // given: three slots are wanted, four are promised
    let mut fixture = Fixture::not_started(described(2).with_min_slots(3));
    fixture.promise_next(&[small(), small(), small()]);
    fixture.promise_next(&[small()]);
    fixture.start(1);
    fixture.expect(&[&ask(1), &ask(2)]);

    // when
    fixture.actions.answer_withdrawals(Withdrawal::Confirmed);
    fixture.register("empty", 1, &SlotReport::default());

    // then
    fixture.expect(&["withdraw 2"]);
    assert_eq!(fixture.promised(), (0, 3));
}

#[test]
fn a_large_worker_is_not_withdrawn_before_a_small_one_that_is_wanted() {
    // given: two slots are wanted; one worker promised three, and one brought one
    let mut fixture = Fixture::not_started(described(1).with_min_slots(2));
    fixture.promise_next(&[small()]);
    fixture.promise_next(&[small()]);
    fixture.start(1);
    fixture.promise_next(&[profile(4.0, 400), profile(4.0, 400), profile(4.0, 400)]);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.request(3, &small());
    fixture.expect(&[&ask(1), &ask(2), &ask(3)]);

    // when: five are promised, and none is needed for a request
    fixture.actions.answer_withdrawals(Withdrawal::Confirmed);
    fixture.step(|manager| manager.unregister_job(job(1))).expect("started");

    // then: the two small ones, whose slots the large one makes good
    fixture.expect(&["withdraw 2", "withdraw 1"]);
    assert_eq!(fixture.promised(), (0, 3));
}
