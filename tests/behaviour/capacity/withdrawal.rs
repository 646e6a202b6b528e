//! Workers that nobody needs any more are withdrawn, if it is not too late.

use slot_manager::{SlotManagerConfig, SlotReport, Withdrawal, WorkerFailedOutcome};

use crate::common::{Fixture, SECOND, ask, described, granted, job, patient, profile, report, slot, small};

const NOTHING: [&str; 0] = [];

/// Workers of one small slot, and request 1 waits for worker request 1.
fn waiting() -> Fixture {
    waiting_with(patient())
}

fn waiting_with(config: SlotManagerConfig) -> Fixture {
    let mut f = Fixture::promising(config);
    f.request(1, &small());
    f.expect(&[&ask(1)]);
    f
}

// Asked for.

#[test]
fn a_worker_is_withdrawn_when_its_request_is_cancelled() {
    let mut f = waiting();
    f.cancel(1);
    f.expect(&["withdraw 1"]);
}

#[test]
fn a_worker_is_withdrawn_when_its_job_is_gone() {
    let mut f = waiting();
    f.step(|manager| manager.unregister_job(job(1))).expect("started");
    f.expect(&["withdraw 1"]);
}

#[test]
fn a_worker_is_withdrawn_when_its_request_is_served_otherwise() {
    let mut f = Fixture::promising(patient());
    f.register("tm", 1, &report("tm", &[Some(50)]));
    f.request(1, &small());
    f.said();
    f.free(&slot("tm", 0), 50);
    f.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0", "withdraw 1"]);
}

#[test]
fn a_worker_is_withdrawn_when_its_request_is_found_to_hold_a_slot() {
    let mut f = waiting();
    f.register("tm", 1, &report("tm", &[Some(1)]));
    assert_eq!(f.status(1), Some(granted(&slot("tm", 0))));
    f.expect(&["granted 1 on tm_0", "withdraw 1"]);
}

#[test]
fn a_worker_is_withdrawn_when_its_request_fails() {
    let mut f = waiting_with(patient().with_request_timeout(10 * SECOND));
    f.advance(10 * SECOND);
    f.expect(&["failed 1: timeout", "withdraw 1"]);
}

#[test]
fn a_worker_that_never_fitted_is_withdrawn() {
    let mut f = Fixture::with(patient());
    f.promise_next(&[profile(0.5, 50)]);
    f.request(1, &small());
    f.expect(&[&ask(1), "withdraw 1"]);
}

#[test]
fn several_workers_are_withdrawn_smallest_first_and_of_equal_ones_the_last_first() {
    // given: workers with two slots, one and one
    let mut f = Fixture::with(patient());
    for slots in [&[small(), small()][..], &[small()], &[small()]] {
        f.promise_next(slots);
    }
    for id in 1..=4 {
        f.request(id, &small());
    }
    f.expect(&[&ask(1), &ask(2), &ask(3)]);

    // when
    f.step(|manager| manager.unregister_job(job(1))).expect("started");

    // then
    f.expect(&["withdraw 3", "withdraw 2", "withdraw 1"]);
}

// Not asked for.

#[test]
fn a_worker_is_not_withdrawn_while_a_slot_of_it_covers_a_request() {
    let mut f = Fixture::with(patient());
    f.promise_next(&[small(), small()]);
    f.request(1, &small());
    f.request(2, &small());
    f.said();
    f.cancel(1);
    f.expect(&NOTHING);
    f.cancel(2);
    f.expect(&["withdraw 1"]);
}

#[test]
fn a_worker_is_not_withdrawn_that_comes_to_cover_another_request() {
    let mut f = Fixture::with(patient());
    f.promise_next(&[small()]);
    f.request(1, &small());
    f.request(2, &small());
    f.said();
    f.cancel(1);
    f.expect(&NOTHING);
    assert_eq!(f.covered_by(2), Some(1));
}

#[test]
fn a_worker_is_not_withdrawn_of_which_a_slot_has_registered() {
    for names_its_request in [true, false] {
        // given
        let mut f = Fixture::with(patient());
        f.promise_next(&[small(), small()]);
        f.request(1, &small());
        f.request(2, &small());
        let one_slot = report("tm", &[None]);
        if names_its_request {
            f.register_for(1, "tm", 1, &one_slot);
        } else {
            f.register("tm", 1, &one_slot);
        }
        f.said();

        // when
        f.cancel(2);

        // then
        f.expect(&NOTHING);
        assert_eq!(f.promised(), (0, 1));
    }
}

#[test]
fn a_worker_that_has_come_whole_is_not_withdrawn() {
    let mut f = waiting();
    f.register_for(1, "tm", 1, &report("tm", &[None]));
    f.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
}

// What comes of it.

#[test]
fn a_withdrawal_that_is_confirmed_ends_the_promise() {
    let mut f = waiting();
    f.actions.answer_withdrawals(Withdrawal::Confirmed);
    f.cancel(1);
    assert_eq!(f.promised(), (0, 0));
    assert_eq!(f.worker_failed(1), WorkerFailedOutcome::Unknown);
    f.said();
    f.request(2, &small());
    f.expect(&[&ask(2)]);
}

#[test]
fn a_withdrawal_that_comes_too_late_keeps_the_promise() {
    let mut f = waiting();
    f.cancel(1);
    f.expect(&["withdraw 1"]);
    assert_eq!(f.promised(), (0, 1));
    f.request(2, &small());
    f.expect(&NOTHING);
    assert_eq!(f.covered_by(2), Some(1));
}

#[test]
fn a_withdrawal_is_asked_for_once() {
    let mut f = waiting();
    f.cancel(1);
    f.said();
    f.register("empty", 1, &SlotReport::default());
    f.request(2, &profile(9.0, 900));
    f.cancel(2);
    f.expect(&["ask 2 for {cpu: 9, task heap: 900 MiB}", "withdraw 2"]);
}

#[test]
fn a_withdrawal_is_asked_for_again_after_the_worker_covered_a_request_again() {
    let mut f = waiting();
    f.cancel(1);
    f.request(2, &small());
    f.said();
    f.cancel(2);
    f.expect(&["withdraw 1"]);
    f.register("empty", 1, &SlotReport::default());
    f.expect(&NOTHING);
}

#[test]
fn a_worker_that_could_not_be_withdrawn_may_still_never_come() {
    let mut f = waiting_with(patient().with_worker_registration_timeout(10 * SECOND));
    f.cancel(1);
    f.expect(&["withdraw 1"]);
    assert_eq!(f.promised(), (0, 1));
    f.advance(10 * SECOND);
    assert_eq!(f.promised(), (0, 0));
    f.expect(&NOTHING);
}

#[test]
fn each_worker_is_asked_about_whatever_the_others_said() {
    let mut f = Fixture::promising(patient());
    f.request(1, &small());
    f.request(2, &small());
    f.actions.answer_next_withdrawal(Withdrawal::TooLate);
    f.actions.answer_next_withdrawal(Withdrawal::Confirmed);
    f.said();
    f.step(|manager| manager.unregister_job(job(1))).expect("started");
    f.expect(&["withdraw 2", "withdraw 1"]);
    let left: Vec<_> = f
        .manager
        .promised_slots()
        .map(|promise| promise.worker_request().as_u64())
        .collect();
    assert_eq!(left, [2]);
}

// Wanted otherwise.

#[test]
fn what_the_floor_wants_is_not_withdrawn() {
    let mut f = Fixture::promising(described(2).with_min_slots(2));
    f.expect(&[&ask(1)]);
    f.request(1, &small());
    f.cancel(1);
    f.expect(&NOTHING);
}

#[test]
fn what_the_floor_does_not_want_any_more_is_withdrawn() {
    // given
    let mut f = Fixture::promising(described(2).with_min_slots(2));
    f.said();

    // when: slots that are held take the place of no promise
    f.register("tm", 1, &report("tm", &[Some(50)]));
    f.expect(&NOTHING);
    f.register("other", 2, &report("other", &[Some(51)]));

    // then
    f.expect(&["withdraw 1"]);
}

#[test]
fn what_redundancy_wants_is_not_withdrawn_before_the_jobs_end() {
    let mut f = Fixture::promising(described(2).with_redundant_task_managers(1));
    f.register("tm", 1, &report("tm", &[Some(50), Some(51)]));
    f.expect(&[&ask(1)]);
    f.free(&slot("tm", 0), 50);
    f.expect(&NOTHING);
    f.free(&slot("tm", 1), 51);
    f.expect(&["withdraw 1"]);
}

#[test]
fn what_redundancy_does_not_want_any_more_is_withdrawn() {
    let mut f = Fixture::promising(described(2).with_redundant_task_managers(1));
    f.register("tm", 1, &report("tm", &[Some(50), Some(51), Some(52)]));
    f.said();
    f.free(&slot("tm", 0), 50);
    f.expect(&NOTHING);
    f.free(&slot("tm", 1), 51);
    f.expect(&["withdraw 1"]);
}

/// Of two workers the floor wants only the larger.
#[test]
fn withdrawing_stops_at_the_first_that_is_wanted() {
    // given: three slots are wanted, four are promised
    let mut f = Fixture::not_started(described(2).with_min_slots(3));
    f.promise_next(&[small(), small(), small()]);
    f.promise_next(&[small()]);
    f.start(1);
    f.expect(&[&ask(1), &ask(2)]);

    // when
    f.actions.answer_withdrawals(Withdrawal::Confirmed);
    f.register("empty", 1, &SlotReport::default());

    // then
    f.expect(&["withdraw 2"]);
    assert_eq!(f.promised(), (0, 3));
}

#[test]
fn a_large_worker_is_not_withdrawn_before_a_small_one_that_is_wanted() {
    // given: two slots are wanted; one worker promised three, and one brought one
    let mut f = Fixture::not_started(described(1).with_min_slots(2));
    f.promise_next(&[small()]);
    f.promise_next(&[small()]);
    f.start(1);
    f.promise_next(&[profile(4.0, 400), profile(4.0, 400), profile(4.0, 400)]);
    f.request(1, &small());
    f.request(2, &small());
    f.request(3, &small());
    f.expect(&[&ask(1), &ask(2), &ask(3)]);

    // when: five are promised, and none is needed for a request
    f.actions.answer_withdrawals(Withdrawal::Confirmed);
    f.step(|manager| manager.unregister_job(job(1))).expect("started");

    // then: the two small ones, whose slots the large one makes good
    f.expect(&["withdraw 2", "withdraw 1"]);
    assert_eq!(f.promised(), (0, 3));
}
