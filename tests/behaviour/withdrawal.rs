//! Withdrawal: a worker that no request or rule needs any more is withdrawn, unless it is too late.

use slot_manager::message::Withdrawal;
use slot_manager::outcome::WorkerFailedOutcome;
use slot_manager::{SlotManagerConfig, SlotReport};

use crate::common::{Fixture, SECOND, ask, granted, patient, profile, report, slot, small, workers_of};

/// A fixture in which request 1 is bound to the one small slot of worker request 1.
fn waiting() -> Fixture {
    waiting_with(patient())
}

/// The same, with this configuration.
fn waiting_with(config: SlotManagerConfig) -> Fixture {
    let mut fixture = Fixture::promising(config);
    fixture.request(1, &small());
    fixture.expect(&[&ask(1)]);
    fixture
}

// Withdrawn.

#[test]
fn worker_is_withdrawn_when_its_request_is_cancelled() {
    let mut fixture = waiting();
    fixture.cancel(1);
    fixture.expect(&["withdraw 1"]);
}

#[test]
fn worker_is_withdrawn_when_its_job_is_unregistered() {
    let mut fixture = waiting();
    fixture.unregister_job(1);
    fixture.expect(&["withdraw 1"]);
}

#[test]
fn worker_is_withdrawn_when_another_slot_serves_its_request() {
    // given
    let mut fixture = Fixture::promising(patient());
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.free(&slot("tm", 0), 50);

    // then
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0", "withdraw 1"]);
}

#[test]
fn worker_is_withdrawn_when_its_request_is_reported_as_granted() {
    // given
    let mut fixture = waiting();

    // when
    fixture.register("tm", 1, &report("tm", &[Some(1)]));

    // then
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.expect(&["granted 1 on tm_0", "withdraw 1"]);
}

#[test]
fn worker_is_withdrawn_when_its_request_fails() {
    let mut fixture = waiting_with(patient().with_request_timeout(10 * SECOND));
    fixture.advance(10 * SECOND);
    fixture.expect(&["failed 1: timeout", "withdraw 1"]);
}

#[test]
fn worker_that_does_not_fit_its_request_is_withdrawn() {
    // given
    let mut fixture = Fixture::with(patient());
    fixture.promise_next(&[profile(0.5, 50)]);

    // when
    fixture.request(1, &small());

    // then
    fixture.expect(&[&ask(1), "withdraw 1"]);
}

#[test]
fn several_workers_are_withdrawn_smallest_first_and_then_latest_first() {
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
    fixture.unregister_job(1);

    // then
    fixture.expect(&["withdraw 3", "withdraw 2", "withdraw 1"]);
}

// Not withdrawn.

#[test]
fn worker_is_not_withdrawn_while_one_of_its_slots_is_bound() {
    // given
    let mut fixture = Fixture::with(patient());
    fixture.promise_next(&[small(), small()]);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when
    fixture.cancel(1);

    // then
    fixture.expect_nothing();

    // when, then
    fixture.cancel(2);
    fixture.expect(&["withdraw 1"]);
}

#[test]
fn worker_is_not_withdrawn_if_another_request_is_bound_to_it() {
    // given
    let mut fixture = Fixture::with(patient());
    fixture.promise_next(&[small()]);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when
    fixture.cancel(1);

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.bound_to(2), Some(1));
}

#[test]
fn worker_is_not_withdrawn_once_one_of_its_slots_has_registered() {
    // given: a slot of a known worker fulfilled one of two promised slots
    let mut fixture = Fixture::with(patient());
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.promise_next(&[small(), small()]);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.report(1, &report("tm", &[Some(50), None]));
    fixture.log.take();

    // when
    fixture.cancel(2);

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.promised(), (0, 1));
}

#[test]
fn worker_is_not_withdrawn_once_it_has_registered() {
    let mut fixture = waiting();
    fixture.register_for(1, "tm", 1, &report("tm", &[None]));
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
}

// Answers.

#[test]
fn confirmed_withdrawal_ends_the_promise() {
    // given
    let mut fixture = waiting();
    fixture.actions.answer_withdrawals(Withdrawal::Confirmed);

    // when
    fixture.cancel(1);

    // then
    assert_eq!(fixture.promised(), (0, 0));

    // when, then
    assert_eq!(fixture.worker_failed(1), WorkerFailedOutcome::Unknown);

    // when, then
    fixture.log.take();
    fixture.request(2, &small());
    fixture.expect(&[&ask(2)]);
}

#[test]
fn withdrawal_that_is_too_late_keeps_the_promise() {
    // given
    let mut fixture = waiting();

    // when
    fixture.cancel(1);

    // then
    fixture.expect(&["withdraw 1"]);
    assert_eq!(fixture.promised(), (0, 1));

    // when, then
    fixture.request(2, &small());
    fixture.expect_nothing();
    assert_eq!(fixture.bound_to(2), Some(1));
}

#[test]
fn worker_is_withdrawn_once() {
    // given
    let mut fixture = waiting();
    fixture.cancel(1);
    fixture.log.take();
    fixture.register("empty", 1, &SlotReport::default());
    fixture.request(2, &profile(9.0, 900));

    // when
    fixture.cancel(2);

    // then
    fixture.expect(&["ask 2 for {cpu: 9, task heap: 900 MiB}", "withdraw 2"]);
}

#[test]
fn worker_is_withdrawn_again_after_a_request_was_bound_to_it() {
    // given
    let mut fixture = waiting();
    fixture.cancel(1);
    fixture.request(2, &small());
    fixture.log.take();

    // when
    fixture.cancel(2);

    // then
    fixture.expect(&["withdraw 1"]);

    // when, then
    fixture.register("empty", 1, &SlotReport::default());
    fixture.expect_nothing();
}

#[test]
fn worker_that_was_not_withdrawn_may_still_expire() {
    // given
    let mut fixture = waiting_with(patient().with_worker_registration_timeout(10 * SECOND));

    // when
    fixture.cancel(1);

    // then
    fixture.expect(&["withdraw 1"]);
    assert_eq!(fixture.promised(), (0, 1));

    // when, then
    fixture.advance(10 * SECOND);
    assert_eq!(fixture.promised(), (0, 0));
    fixture.expect(&["withdraw 1"]);
}

#[test]
fn each_withdrawal_is_independent_of_other_answers() {
    // given
    let mut fixture = Fixture::promising(patient());
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.actions.answer_next_withdrawal(Withdrawal::TooLate);
    fixture.actions.answer_next_withdrawal(Withdrawal::Confirmed);
    fixture.log.take();

    // when
    fixture.unregister_job(1);

    // then
    fixture.expect(&["withdraw 2", "withdraw 1"]);
    let left: Vec<_> = fixture
        .manager
        .promised_slots()
        .map(|promise| promise.worker_request().number())
        .collect();
    assert_eq!(left, [2]);
}

// Needed by min_slots or redundancy.

#[test]
fn worker_that_min_slots_needs_is_not_withdrawn() {
    // given, when
    let mut fixture = Fixture::promising(patient().with_workers(workers_of(2).with_min_slots(2)));

    // then
    fixture.expect(&[&ask(1)]);

    // when, then
    fixture.request(1, &small());
    fixture.cancel(1);
    fixture.expect_nothing();
}

#[test]
fn worker_that_min_slots_needs_no_more_is_withdrawn() {
    // given
    let mut fixture = Fixture::promising(patient().with_workers(workers_of(2).with_min_slots(2)));
    fixture.log.take();

    // when: allocated slots register, which fulfil no promise
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.expect_nothing();
    fixture.register("other", 2, &report("other", &[Some(51)]));

    // then
    fixture.expect(&["withdraw 1"]);
}

#[test]
fn redundant_worker_is_withdrawn_when_the_last_slot_is_freed() {
    // given
    let mut fixture = Fixture::promising(patient().with_workers(workers_of(2).with_redundant_task_managers(1)));

    // when
    fixture.register("tm", 1, &report("tm", &[Some(50), Some(51)]));

    // then
    fixture.expect(&[&ask(1)]);

    // when, then
    fixture.free(&slot("tm", 0), 50);
    fixture.expect_nothing();

    // when, then
    fixture.free(&slot("tm", 1), 51);
    fixture.expect(&["withdraw 1"]);
}

#[test]
fn worker_that_redundancy_needs_no_more_is_withdrawn() {
    // given
    let mut fixture = Fixture::promising(patient().with_workers(workers_of(2).with_redundant_task_managers(1)));
    fixture.register("tm", 1, &report("tm", &[Some(50), Some(51), Some(52)]));
    fixture.log.take();

    // when
    fixture.free(&slot("tm", 0), 50);

    // then
    fixture.expect_nothing();

    // when, then
    fixture.free(&slot("tm", 1), 51);
    fixture.expect(&["withdraw 1"]);
}

/// `min_slots` needs only the larger of two workers.
#[test]
fn withdrawal_stops_at_the_first_worker_that_is_needed() {
    // given: `min_slots` is three, four slots are promised
    let mut fixture = Fixture::not_started(patient().with_workers(workers_of(2).with_min_slots(3)));
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
fn small_workers_are_withdrawn_even_if_a_large_one_is_not() {
    // given: `min_slots` is two; two workers have one slot each, and one has three
    let mut fixture = Fixture::not_started(patient().with_workers(workers_of(1).with_min_slots(2)));
    fixture.promise_next(&[small()]);
    fixture.promise_next(&[small()]);
    fixture.start(1);
    fixture.promise_next(&[profile(4.0, 400), profile(4.0, 400), profile(4.0, 400)]);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.request(3, &small());
    fixture.expect(&[&ask(1), &ask(2), &ask(3)]);

    // when: five slots are promised, and none is bound
    fixture.actions.answer_withdrawals(Withdrawal::Confirmed);
    fixture.unregister_job(1);

    // then: the two small workers, because the large one has enough slots
    fixture.expect(&["withdraw 2", "withdraw 1"]);
    assert_eq!(fixture.promised(), (0, 3));
}
