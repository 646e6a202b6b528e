//! Promised workers that come late, short, in another shape or without a name, or not at all.
//!
//! Requests do not wait for slots that will not come, and promises hold back nothing for ever.

use slot_manager::config::WorkerPolicy;
use slot_manager::error::{RegistrationError, ResourceManagerError};
use slot_manager::message::{ReleaseDecision, WithdrawResource, Withdrawal, WithdrawalCause, WorkerPromise};
use slot_manager::outcome::{AllocationStatus, RegistrationOutcome};
use slot_manager::testing::{Action, Effect};
use slot_manager::view::WaitReason;
use slot_manager::{ResourceProfile, SlotManagerConfig, SlotReport, TaskExecutorConnection, Timestamp};

use crate::common::{
    Fixture, MILLISECOND, SECOND, allocation, ask, asks, cores, failures, free_report, granted, instance, patient,
    profile, rejected, release_check, releases, report, slot, small, worker_of, workers_of,
};

/// A resource of which each slot has one.
fn gpu() -> ResourceProfile {
    let gpu = ResourceProfile::builder().extended_resource("gpu", 1.0);
    gpu.build().expect("a valid amount")
}

fn gpu_and_a_core() -> ResourceProfile {
    gpu().checked_add(&cores(1)).expect("small amounts")
}

/// Workers with this number of gpu slots, with the default timeouts.
fn gpu_workers(slots: u32) -> SlotManagerConfig {
    SlotManagerConfig::default().with_workers(WorkerPolicy::new(worker_of(slots, &gpu())))
}

/// A workers' shape that is a little smaller than described.
fn smaller() -> ResourceProfile {
    profile(1.0, 99)
}

/// Takes the effects and returns the numbers of the worker requests among them.
fn asked(fixture: &Fixture) -> Vec<u64> {
    let asks = asks(&fixture.log.take());
    asks.iter().map(|(worker_request, _)| worker_request.number()).collect()
}

/// Returns the withdrawn worker requests among effects, with the causes.
fn withdrawals(effects: &[Effect]) -> Vec<(u64, WithdrawalCause)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Action(Action::WithdrawResource(withdraw)) => {
                Some((withdraw.worker_request.number(), withdraw.cause.clone()))
            }
            _ => None,
        })
        .collect()
}

// Short.

#[test]
fn slots_that_a_named_worker_did_not_bring_are_requested_again_in_that_call() {
    // given: one worker with four slots is promised for four requests
    let mut fixture = Fixture::promising(gpu_workers(4));
    for id in 1..=4 {
        fixture.request(id, &gpu());
    }
    assert_eq!(asked(&fixture), [1]);

    // when: it comes with two
    fixture.register_for(1, "tm", 7, &free_report("tm", &[gpu(), gpu()]));

    // then
    assert_eq!(asked(&fixture), [2]);
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 1))));
    assert_eq!((fixture.bound_to(3), fixture.bound_to(4)), (Some(2), Some(2)));
}

#[test]
fn slots_that_an_unnamed_worker_did_not_bring_are_requested_again_in_that_call() {
    // given
    let mut fixture = Fixture::promising(gpu_workers(4));
    for id in 1..=4 {
        fixture.request(id, &gpu());
    }
    assert_eq!(asked(&fixture), [1]);

    // when
    fixture.register_free("tm", 7, &[gpu(), gpu()]);

    // then
    assert_eq!(asked(&fixture), [2]);
    assert_eq!((fixture.bound_to(3), fixture.bound_to(4)), (Some(2), Some(2)));
}

#[test]
fn unnamed_worker_is_one_of_the_requested_workers() {
    // given: two workers with two slots each are promised for four requests
    let mut fixture = Fixture::promising(gpu_workers(2));
    for id in 1..=4 {
        fixture.request(id, &gpu());
    }
    assert_eq!(asked(&fixture), [1, 2]);

    // when, then: a larger one completes the first worker request, and the second stays
    fixture.register_free("large", 1, &[gpu(), gpu(), gpu()]);
    assert_eq!(fixture.promises(), [(2, Some(4))]);

    // when, then: the next completes the second
    fixture.register_free("usual", 2, &[gpu(), gpu()]);
    assert_eq!(fixture.promises(), []);
    assert_eq!(asked(&fixture).len(), 0);
    assert_eq!(fixture.counts(), [1, 0, 4]);
}

#[test]
fn short_unnamed_worker_whose_slots_are_smaller_than_promised_ends_the_promise() {
    // given: the promised slots are larger than the requests need
    let mut fixture = Fixture::new();
    fixture.promise_next(&[gpu_and_a_core(), gpu_and_a_core(), gpu_and_a_core()]);
    for id in 1..=3 {
        fixture.request(id, &gpu());
    }
    fixture.log.take();

    // when
    fixture.register_free("tm", 7, &[gpu()]);

    // then
    fixture.expect(&[
        "request tm_0 for 1 #1",
        "ask 2 for {cpu: 0, gpu: 1}",
        "ask 3 for {cpu: 0, gpu: 1}",
        "granted 1 on tm_0",
    ]);
    assert_eq!(fixture.promises(), []);
}

// Late.

#[test]
fn worker_that_is_too_late_for_its_promise_serves_at_the_limit() {
    // given: one slot is allowed, and each worker takes 310 s to start and names its request
    let config = SlotManagerConfig::default()
        .with_request_timeout(3600 * SECOND)
        .with_worker_registration_timeout(300 * SECOND)
        .with_workers(workers_of(1).with_max_slots(Some(1)));
    let mut fixture = Fixture::promising(config);
    let mut starting: Vec<(u64, u64)> = Vec::new();
    let (mut refused, mut served_after) = (0, None);

    // when
    fixture.request(1, &small());
    for second in 0..3600 {
        for number in asked(&fixture) {
            starting.push((second + 310, number));
        }
        let ready: Vec<_> = starting.iter().copied().filter(|(ready, _)| *ready == second).collect();
        for (_, number) in ready {
            let worker = format!("tm-{number}");
            let connection = TaskExecutorConnection::new(worker.as_str(), instance(number.into()), fixture.gateway())
                .with_worker_request(fixture.worker_request(number));
            match fixture.try_register(connection, &free_report(&worker, &[small()])) {
                Ok(_) => _ = served_after.get_or_insert(second),
                Err(_) => refused += 1,
            }
        }
        if matches!(fixture.status(1), Some(AllocationStatus::Granted { .. })) {
            break;
        }
        fixture.advance(SECOND);
    }

    // then
    assert_eq!((refused, served_after), (0, Some(310)));
}

// Unnamed.

#[test]
fn worker_of_any_shape_fulfils_a_promise_of_unknown_shape() {
    // given: only the number of slots is configured
    let config = SlotManagerConfig::from_options([("taskmanager.numberOfTaskSlots", "1")]);
    let mut fixture = Fixture::promising(config.expect("valid options"));
    let mut waited = 0;

    // when: a request a second, and each requested worker comes at once without a name
    for id in 1..=60 {
        fixture.request(id, &small());
        for number in asked(&fixture) {
            let worker = format!("tm-{number}");
            fixture.register_free(&worker, number.into(), &[small()]);
        }
        waited += usize::from(fixture.status(id) == Some(AllocationStatus::Waiting));
        fixture.advance(SECOND);
    }
    fixture.log.take();
    fixture.advance(300 * SECOND);

    // then
    assert_eq!(
        (waited, failures(&fixture.log.take()).len()),
        (0, 0),
        "waiting and failed"
    );
}

#[test]
fn minimum_of_slightly_smaller_unnamed_workers_is_kept_by_one_worker() {
    // given: a minimum of two slots, which is one worker
    let mut fixture = Fixture::promising(SlotManagerConfig::default().with_workers(workers_of(2).with_min_slots(2)));
    let (mut below, mut came) = (0, 0);

    // when: each worker comes after a second, a little smaller than described
    for _ in 0..1740 {
        let coming = asked(&fixture);
        fixture.advance(SECOND);
        for number in coming {
            came += 1;
            let worker = format!("tm-{number}");
            fixture.register_free(&worker, number.into(), &[smaller(), smaller()]);
        }
        below += usize::from(fixture.manager.overview().slots.registered.slots < 2);
    }

    // then
    assert_eq!((came, below), (1, 0), "workers, and seconds below the minimum");
}

// Another shape.

#[test]
fn idle_worker_of_another_shape_makes_room_for_the_described_one() {
    // given: an old and smaller worker is all that the limit allows and the minimum needs
    let policy = workers_of(1).with_min_slots(1).with_max_slots(Some(1));
    let mut fixture = Fixture::with(SlotManagerConfig::default().with_workers(policy));
    fixture.register_free("old", 1, &[smaller()]);
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    fixture.log.take();

    // when
    fixture.request(1, &small());
    fixture.expect_nothing();
    let mut asked_after = None;
    for second in 1..=300 {
        fixture.advance(SECOND);
        if !asks(&fixture.log.take()).is_empty() {
            asked_after.get_or_insert(second);
        }
    }

    // then: after its idle timeout
    assert_eq!((asked_after, fixture.is_registered(1)), (Some(30), false));
}

#[test]
fn as_many_idle_workers_of_another_shape_go_as_requests_need() {
    // given: three old workers, idle since the same time, at the limit
    let policy = workers_of(1).with_min_slots(3).with_max_slots(Some(3));
    let mut fixture = Fixture::with(SlotManagerConfig::default().with_workers(policy));
    for instance in 1..=3 {
        fixture.register_free(&format!("old{instance}"), instance, &[smaller()]);
    }
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when
    fixture.advance(30 * SECOND);

    // then
    assert_eq!(asks(&fixture.log.take()).len(), 2);
    assert_eq!(
        [1, 2, 3].map(|instance| fixture.is_registered(instance)),
        [false, false, true]
    );
}

// Failed starts.

#[test]
fn worker_requests_back_off_while_every_start_fails() {
    // given
    let mut fixture = Fixture::promising(SlotManagerConfig::default());
    fixture.request(1, &small());
    let mut asks = 0;

    // when: each start fails after 10 ms, for 20 s
    for _ in 0..2000 {
        let failing = asked(&fixture);
        asks += failing.len();
        fixture.advance(10 * MILLISECOND);
        for number in failing {
            fixture.worker_failed(number);
        }
    }
    asks += asked(&fixture).len();

    // then: 10 at first, then after 3 s, 6 s and 10 s
    assert_eq!(asks, 13);
}

// Replaced.

#[test]
fn delayed_registration_of_a_replaced_instance_is_refused() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]));
    fixture.register("tm", 2, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();
    let before = fixture.view();

    // when
    let connection = TaskExecutorConnection::new("tm", instance(1), fixture.gateway());
    let refused = fixture.try_register(connection, &report("tm", &[None]));

    // then
    let instance_id = instance(1);
    assert_eq!(refused, Err(RegistrationError::Superseded { instance_id }));
    assert_eq!(fixture.view(), before);
    fixture.expect_nothing();
}

// Binding at the commit.

#[test]
fn freed_promise_is_bound_to_an_older_request_that_lost_its_attempt_in_the_same_call() {
    // given: 1 is in flight, 2 is bound, and the worker request of 3 was declined
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.promise_next(&[small()]);
    fixture.request(2, &small());
    fixture.request(3, &small());
    fixture.log.take();

    // when: the slot refuses 1 and goes to 2, whose promised slot becomes free
    fixture.answer(&gateway, 1, rejected());

    // then
    assert_eq!(fixture.promises(), [(1, Some(1))]);
    fixture.expect(&["request tm_0 for 2 #2"]);
}

// Named, with slots that serve no request that they were promised for.

#[test]
fn slots_of_a_named_worker_that_are_all_held_end_its_promise_too() {
    // given
    let mut fixture = Fixture::promising(patient());
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.register_for(1, "tm", 7, &report("tm", &[Some(50)]));

    // then
    fixture.expect(&[&ask(2)]);
    assert_eq!(fixture.promises(), [(2, Some(1))]);
}

#[test]
fn later_slots_of_a_named_worker_fulfil_no_promise_of_another() {
    // given: its one slot serves request 1, so request 2 is bound to another worker
    let mut fixture = Fixture::new();
    fixture.promise_next(&[small(), small()]);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.promise_next(&[small()]);
    fixture.register_for(1, "tm", 7, &report("tm", &[None]));
    assert_eq!(fixture.promises(), [(2, Some(2))]);
    fixture.log.take();

    // when
    fixture.report(7, &report("tm", &[Some(1), None]));

    // then: the promise of the other worker is not needed
    fixture.expect(&["request tm_1 for 2 #2", "granted 2 on tm_1", "withdraw 2"]);
    assert_eq!(fixture.promises(), [(2, None)]);
}

// Without slots at first.

/// A fixture in which a named worker without slots is registered, and request 1 is bound to its
/// promise of two slots.
fn registered_without_slots(config: SlotManagerConfig) -> Fixture {
    let mut fixture = Fixture::with(config);
    fixture.promise_next(&[small(), small()]);
    fixture.request(1, &small());
    fixture.register_for(1, "tm", 7, &SlotReport::default());
    assert_eq!(fixture.promises(), [(1, Some(1)), (1, None)]);
    fixture.log.take();
    fixture
}

#[test]
fn named_worker_without_slots_keeps_its_promise_until_its_first_slot() {
    // given
    let mut fixture = registered_without_slots(patient());
    fixture.request(2, &small());
    fixture.expect_nothing();

    // when
    fixture.report(7, &report("tm", &[None]));

    // then: the second slot is requested again
    fixture.expect(&["request tm_0 for 1 #1", &ask(2), "granted 1 on tm_0"]);
}

#[test]
fn named_worker_that_is_lost_before_its_first_slot_has_failed() {
    // given
    let mut fixture = registered_without_slots(patient());

    // when
    fixture.unregister(7);

    // then
    fixture.expect(&[&ask(2)]);
    assert_eq!(fixture.promises(), []);
    assert_eq!(fixture.manager.counters().promises_broken, 1);
}

#[test]
fn named_worker_without_slots_that_registers_again_without_its_name_has_failed() {
    let mut fixture = registered_without_slots(patient());
    fixture.register("tm", 8, &SlotReport::default());
    fixture.expect(&[&ask(2)]);
}

#[test]
fn named_worker_without_slots_that_registers_again_keeps_its_promise() {
    // given
    let mut fixture = registered_without_slots(patient());

    // when
    fixture.register_for(1, "tm", 8, &SlotReport::default());

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.promises(), [(1, Some(1)), (1, None)]);

    // when, then
    fixture.unregister(8);
    fixture.expect(&[&ask(2)]);
}

#[test]
fn named_worker_without_slots_is_not_released_while_a_request_is_bound_to_its_promise() {
    // given
    let mut fixture = registered_without_slots(patient().with_task_manager_timeout(10 * SECOND));

    // when, then
    fixture.advance(100 * SECOND);
    fixture.expect_nothing();

    // when, then: its release is the end of its promise
    fixture.cancel(1);
    fixture.expect(&["withdraw 1"]);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 7 go? #1", "release 7, idle since +0ns (1)"]);
    assert_eq!(fixture.promises(), []);
}

#[test]
fn named_worker_without_slots_keeps_its_promise_no_longer_than_the_registration_timeout() {
    let mut fixture = registered_without_slots(patient().with_worker_registration_timeout(60 * SECOND));
    fixture.falls_due_after(60 * SECOND, &["withdraw 1", &ask(2)]);
}

// Late, and not at a limit.

#[test]
fn worker_that_is_too_late_for_its_promise_fulfils_another() {
    // given: its promise has expired, and another worker was requested
    let mut fixture = Fixture::promising(patient().with_worker_registration_timeout(60 * SECOND));
    fixture.request(1, &small());
    fixture.advance(60 * SECOND);
    fixture.expect(&[&ask(1), "withdraw 1", &ask(2)]);

    // when
    fixture.register_for(1, "tm", 7, &report("tm", &[None]));

    // then
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
    assert_eq!(fixture.promises(), []);
}

#[test]
fn promise_that_expires_ends_also_if_it_is_too_late_to_withdraw_the_worker() {
    for withdrawal in [Withdrawal::TooLate, Withdrawal::Confirmed] {
        // given
        let mut fixture = Fixture::promising(patient().with_worker_registration_timeout(60 * SECOND));
        fixture.actions.answer_withdrawals(withdrawal);
        fixture.request(1, &small());
        fixture.log.take();

        // when
        fixture.advance(60 * SECOND);

        // then
        let effects = fixture.log.take();
        assert_eq!(
            effects[0],
            Effect::Action(Action::WithdrawResource(WithdrawResource {
                worker_request: fixture.worker_request(1),
                cause: WithdrawalCause::RegistrationTimeout,
            }))
        );
        assert_eq!(fixture.promises(), [(2, Some(1))]);
        let counters = fixture.manager.counters();
        assert_eq!((counters.promises_broken, counters.workers_withdrawn), (1, 0));
    }
}

#[test]
fn worker_that_silently_does_not_come_is_requested_again_before_its_request_fails() {
    // given
    let mut fixture = Fixture::promising(SlotManagerConfig::default());
    fixture.request(1, &small());
    fixture.log.take();

    // when, then: the next worker comes
    fixture.falls_due_after(120 * SECOND, &["withdraw 1", &ask(2)]);
    fixture.advance(100 * SECOND);
    fixture.register("tm", 7, &report("tm", &[None]));
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

// Unnamed workers of other shapes.

#[test]
fn slots_of_unnamed_workers_fulfil_promises_of_two_shapes() {
    // given: two shapes are promised, the larger one first
    let mut fixture = Fixture::promising(patient());
    fixture.request(1, &profile(2.0, 200));
    fixture.request(2, &small());
    fixture.log.take();

    // when, then
    fixture.register_free("small", 1, &[small()]);
    assert_eq!(fixture.promises(), [(1, Some(1))]);
    fixture.register_free("large", 2, &[profile(2.0, 200)]);
    assert_eq!(fixture.promises(), []);
    assert_eq!(fixture.counts(), [0, 0, 2]);
    assert_eq!(asked(&fixture).len(), 0);
}

#[test]
fn slot_that_fits_no_promise_fulfils_that_of_the_request_it_serves() {
    // given: the promised slot is larger than the request needs
    let mut fixture = Fixture::new();
    fixture.promise_next(&[profile(4.0, 400)]);
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.register_free("tm", 1, &[small()]);

    // then: nothing is withdrawn, because its worker has come
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
    assert_eq!(fixture.promises(), []);
}

#[test]
fn known_slot_that_serves_a_bound_request_beside_a_new_slot_fulfils_no_promise() {
    // given
    let mut fixture = Fixture::promising(patient());
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.request(1, &small());
    fixture.log.take();

    // when: the known slot becomes free, and the new one fits no promise
    fixture.report(1, &free_report("tm", &[small(), smaller()]));

    // then: the promised worker is not needed any more
    fixture.expect(&[
        "lost 50 on tm_0: free",
        "request tm_0 for 1 #1",
        "granted 1 on tm_0",
        "withdraw 1",
    ]);
}

#[test]
fn slot_of_another_shape_fulfils_the_oldest_promise_without_a_request() {
    // given: the oldest promised slot is bound, the next two are not
    let mut fixture = Fixture::new();
    fixture.promise_next(&[profile(4.0, 400), profile(4.0, 400)]);
    fixture.request(1, &profile(3.0, 300));
    fixture.promise_next(&[profile(5.0, 500)]);
    fixture.request(2, &profile(5.0, 500));
    fixture.cancel(2);

    // when
    fixture.register_free("tm", 1, &[small()]);

    // then
    assert_eq!(fixture.promises(), [(1, Some(1)), (2, None)]);
}

#[test]
fn named_worker_whose_promise_another_worker_fulfilled_ends_the_promise_of_that_worker() {
    // given: three workers of two slots are promised, the worker of the third comes unnamed
    let mut fixture = Fixture::new();
    for id in [1, 3, 5] {
        fixture.promise_next(&[small(), small()]);
        fixture.request(id, &small());
        fixture.request(id + 1, &small());
    }
    fixture.register_free("third", 7, &[small(), small()]);
    assert_eq!(
        fixture.promises(),
        [(2, Some(3)), (2, Some(4)), (3, Some(5)), (3, Some(6))]
    );
    fixture.log.take();

    // when, then: the first comes with slots that are too small, and stands for the second
    let too_small = |worker: &str| free_report(worker, &[smaller(), smaller()]);
    fixture.register_for(1, "first", 8, &too_small("first"));
    fixture.expect(&[&ask(4), &ask(5)]);
    assert_eq!(fixture.promises(), [(3, Some(5)), (3, Some(6))]);

    // when, then: so does the second for the third: no worker is left that could bring its slots
    fixture.register_for(2, "second", 9, &too_small("second"));
    fixture.expect(&[&ask(6), &ask(7)]);
    assert_eq!(fixture.promises(), []);
}

#[test]
fn short_unnamed_worker_of_another_shape_ends_a_promise_without_a_request() {
    // given: two workers of two slots, promised for the minimum
    let config = patient().with_workers(workers_of(2).with_min_slots(4));
    let mut fixture = Fixture::promising(config);
    fixture.log.take();
    assert_eq!(fixture.promises().len(), 4);

    // when: one comes with one smaller slot
    fixture.register_free("tm", 1, &[smaller()]);

    // then: the minimum requests a worker for the slot that did not come
    fixture.expect(&[&ask(3)]);
    assert_eq!(fixture.promises(), [(2, None), (2, None), (3, None), (3, None)]);
}

#[test]
fn slot_of_another_shape_passes_over_worker_requests_whose_slots_are_all_bound() {
    // given
    let mut fixture = Fixture::new();
    fixture.promise_next(&[profile(4.0, 400)]);
    fixture.request(1, &profile(3.0, 300));
    fixture.promise_next(&[profile(5.0, 500)]);
    fixture.request(2, &profile(5.0, 500));
    fixture.cancel(2);

    // when
    fixture.register_free("tm", 1, &[small()]);

    // then
    assert_eq!(fixture.promises(), [(1, Some(1))]);
}

#[test]
fn slot_that_fits_no_promise_fulfils_a_bound_one_of_unknown_shape() {
    // given
    let mut fixture = Fixture::new();
    fixture.promise_next(&[ResourceProfile::ANY]);
    fixture.request(1, &profile(4.0, 400));
    fixture.log.take();

    // when
    fixture.register_free("tm", 1, &[small()]);

    // then: the request needs another worker
    assert_eq!(fixture.promises(), []);
    assert_eq!(asked(&fixture), [2]);
}

#[test]
fn slot_that_is_too_small_for_a_bound_request_leaves_its_promise() {
    // given
    let mut fixture = Fixture::promising(patient());
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.register_free("tm", 1, &[smaller()]);

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.promises(), [(1, Some(1))]);
}

// At a limit.

/// At most two small slots, by their number, cores or memory. Each worker has one.
fn at_most_two_small_slots() -> [SlotManagerConfig; 3] {
    let workers = || workers_of(1);
    [
        workers().with_max_slots(Some(2)),
        workers().with_max_total_cpu_cores(Some(2.0)),
        workers().with_max_total_memory_bytes(Some(200 << 20)),
    ]
    .map(|policy| patient().with_workers(policy))
}

#[test]
fn worker_that_serves_a_request_takes_the_room_of_the_youngest_promise() {
    for config in at_most_two_small_slots() {
        // given: two promises, and a smaller request whose worker request a limit defers
        let mut fixture = Fixture::promising(config);
        for id in 1..=3 {
            fixture.request(id, &profile(1.0, 99 + u64::from(id < 3)));
        }
        assert_eq!(asked(&fixture), [1, 2]);

        // when: a worker comes that only the smallest request fits
        fixture.register_free("tm", 7, &[smaller()]);

        // then
        assert_eq!(fixture.promises(), [(1, Some(1))]);
        assert_eq!(fixture.status(3), Some(granted(&slot("tm", 0))));
        let withdrawn = withdrawals(&fixture.log.take());
        assert!(
            matches!(withdrawn[..], [(2, WithdrawalCause::LimitReached { .. })]),
            "{withdrawn:?}"
        );
        assert_eq!(fixture.status(2), Some(AllocationStatus::Waiting));
    }
}

#[test]
fn promises_without_a_request_end_before_younger_ones() {
    // given: a bound promise and a younger one, and an unbound one between
    let policy = workers_of(1).with_max_slots(Some(3));
    let mut fixture = Fixture::promising(patient().with_workers(policy));
    for id in 1..=4 {
        fixture.request(id, &small());
    }
    assert_eq!(asked(&fixture), [1, 2, 3]);
    fixture.cancel(4);
    fixture.cancel(2);
    fixture.request(5, &profile(2.0, 200));
    fixture.log.take();

    // when: a worker with a held slot takes the room of one promise
    fixture.register("tm", 7, &report("tm", &[Some(50)]));

    // then
    assert_eq!(fixture.promises(), [(1, Some(1)), (3, Some(3))]);
    fixture.expect(&["withdraw 2"]);
}

#[test]
fn larger_worker_that_fulfils_its_promise_ends_others_beyond_the_limit() {
    // given
    let policy = workers_of(1).with_max_slots(Some(2));
    let mut fixture = Fixture::promising(patient().with_workers(policy));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when: the first worker has two slots
    fixture.register_for(1, "tm", 7, &report("tm", &[None, None]));

    // then
    assert_eq!(fixture.promises(), []);
    fixture.expect(&[
        "request tm_0 for 1 #1",
        "request tm_1 for 2 #2",
        "withdraw 2",
        "granted 1 on tm_0",
        "granted 2 on tm_1",
    ]);
}

#[test]
fn withdrawal_at_a_limit_is_counted_if_it_is_confirmed() {
    for (withdrawal, counted) in [(Withdrawal::Confirmed, 1), (Withdrawal::TooLate, 0)] {
        // given
        let policy = workers_of(1).with_max_slots(Some(1));
        let mut fixture = Fixture::promising(patient().with_workers(policy));
        fixture.actions.answer_withdrawals(withdrawal);
        fixture.request(1, &small());
        fixture.log.take();

        // when: a worker with a held slot takes the room of the promise
        fixture.register("tm", 7, &report("tm", &[Some(50)]));

        // then
        fixture.expect(&["withdraw 1"]);
        assert_eq!(fixture.manager.counters().workers_withdrawn, counted);
    }
}

#[test]
fn worker_that_serves_no_request_is_refused_at_the_limit() {
    // given: one promise is all that is allowed
    let policy = workers_of(1).with_max_slots(Some(1));
    let mut fixture = Fixture::promising(patient().with_workers(policy));
    fixture.request(1, &small());

    // when, then: too small
    fixture.is_refused("tm", 7, &free_report("tm", &[smaller()]));
    assert_eq!(fixture.promises(), [(1, Some(1))]);
}

#[test]
fn blocked_worker_serves_no_request_and_is_refused_at_the_limit() {
    // given: the worker request of the small request is deferred
    let policy = workers_of(1).with_max_slots(Some(1));
    let mut fixture = Fixture::promising(patient().with_workers(policy));
    fixture.request(1, &small());
    fixture.request(2, &smaller());
    fixture.block("tm");

    // when, then
    fixture.is_refused("tm", 7, &free_report("tm", &[smaller()]));
    fixture.unblock("tm");
    fixture.register_free("tm", 7, &[smaller()]);
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
}

#[test]
fn worker_beyond_the_limit_without_any_promise_is_refused() {
    // given
    let policy = workers_of(1).with_max_slots(Some(2));
    let mut fixture = Fixture::promising(patient().with_workers(policy));
    fixture.register("full", 1, &report("full", &[Some(50)]));
    fixture.request(1, &small());
    fixture.request(2, &smaller());

    // when, then: two slots have no room, one has
    fixture.is_refused("tm", 7, &free_report("tm", &[smaller(), smaller()]));
    fixture.register_free("tm", 7, &[smaller()]);
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
}

// Room for another shape.

/// A fixture with an idle old worker that the minimum keeps, at the limit of one slot.
fn old_worker_is_kept() -> Fixture {
    let policy = workers_of(1).with_min_slots(1).with_max_slots(Some(1));
    let config = patient().with_workers(policy).with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::with(config);
    fixture.register_free("old", 1, &[smaller()]);
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    fixture.advance(10 * SECOND);
    fixture.log.take();
    assert!(fixture.is_registered(1), "the minimum keeps it");
    fixture
}

#[test]
fn kept_worker_makes_room_in_the_call_that_needs_it() {
    let mut fixture = old_worker_is_kept();
    fixture.request(1, &small());
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)", &ask(2)]);
}

#[test]
fn kept_worker_stays_if_no_worker_could_be_started_for_the_request() {
    let mut fixture = old_worker_is_kept();
    fixture.request(1, &profile(9.0, 900));
    fixture.expect_nothing();
}

#[test]
fn only_as_many_workers_go_as_make_room_for_one() {
    // given: three kept workers of a smaller shape
    let policy = workers_of(1).with_min_slots(3).with_max_slots(Some(3));
    let config = patient().with_workers(policy).with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::with(config);
    for instance in 1..=3 {
        let worker = format!("old-{instance}");
        let gateway = fixture.register_free(&worker, instance, &[smaller()]);
        gateway.answer_release_checks(ReleaseDecision::Later);
    }
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    fixture.advance(10 * SECOND);
    fixture.log.take();

    // when, then: one is asked
    fixture.request(1, &small());
    fixture.expect(&["may 1 go? #1"]);

    // when, then
    fixture.answer_release(&release_check(1, 1), ReleaseDecision::Release);
    fixture.expect(&["release 1, idle since +0ns (1)", &ask(2)]);
    fixture.advance(100 * SECOND);
    fixture.expect_nothing();
}

// Requests that back off.

#[test]
fn idle_worker_is_not_released_while_a_request_that_it_fits_backs_off() {
    // given: request 1 backs off for an hour
    let config = patient()
        .with_task_manager_timeout(10 * SECOND)
        .with_retry_backoff(3600 * SECOND, 3600 * SECOND);
    let mut fixture = Fixture::with(config);
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, rejected());
    fixture.register_free("small", 2, &[smaller()]);
    fixture.log.take();

    // when, then: only the worker that it does not fit is released
    fixture.advance(10 * SECOND);
    assert_eq!(releases(&fixture.log.take()), [instance(2)]);
    fixture.advance(100 * SECOND);
    fixture.expect_nothing();

    // when, then
    fixture.cancel(1);
    fixture.advance(10 * SECOND);
    assert_eq!(releases(&fixture.log.take()), [instance(1)]);
}

// The start backoff.

fn refusing() -> Fixture {
    let fixture = Fixture::with(patient());
    fixture
        .actions
        .answer_allocations(Err(ResourceManagerError::new("no quota")));
    fixture
}

#[test]
fn requests_wait_instead_of_failing_once_too_many_worker_requests_are_refused() {
    // given
    let mut fixture = refusing();
    let mut failed = 0;

    // when
    for id in 1..=20 {
        failed += usize::from(fixture.try_request(1, id, &small()).is_err());
    }

    // then
    assert_eq!((failed, asked(&fixture).len()), (10, 10));
    assert_eq!(fixture.status(11), Some(AllocationStatus::Waiting));

    // when, then: one failure begins the next backoff
    fixture.falls_due_after(3 * SECOND, &[&ask(11), "failed 11: no quota"]);
    fixture.advance(6 * SECOND - MILLISECOND);
    fixture.expect_nothing();
}

#[test]
fn refused_reserve_workers_are_failed_starts() {
    // given: the minimum asks again each second
    let policy = workers_of(1).with_min_slots(1);
    let config = patient()
        .with_workers(policy)
        .with_worker_registration_timeout(SECOND)
        .with_max_start_failure_rate(3)
        .with_start_retry_interval(20 * SECOND);
    let mut fixture = Fixture::not_started(config);
    fixture
        .actions
        .answer_allocations(Err(ResourceManagerError::new("no quota")));
    fixture.start(1);

    // when
    fixture.advance(2 * SECOND);
    assert_eq!(asked(&fixture), [1, 2]);
    fixture.advance(SECOND);
    assert_eq!(asked(&fixture), [3]);

    // then
    fixture.advance(20 * SECOND - MILLISECOND);
    assert_eq!(asked(&fixture).len(), 0);
    fixture.advance(MILLISECOND);
    assert_eq!(asked(&fixture), [4]);
}

/// A fixture with this number of requests whose workers are requested one by one, and a start
/// backoff of 3 s after two failures.
fn two_failures(requests: u128) -> Fixture {
    let mut fixture = Fixture::promising(patient().with_max_start_failure_rate(2));
    for id in 1..=requests {
        fixture.request(id, &small());
    }
    fixture
}

#[test]
fn few_workers_are_requested_after_a_start_backoff_until_one_registers() {
    // given: requests 1 and 2 lost their workers, and 3 to 7 wait, too
    let mut fixture = two_failures(2);
    fixture.worker_failed(1);
    fixture.worker_failed(2);
    for id in 3..=7 {
        fixture.request(id, &small());
    }
    assert_eq!(asked(&fixture), [1, 2, 3]);

    // when, then
    fixture.advance(3 * SECOND);
    assert_eq!(asked(&fixture), [4, 5]);

    // when, then: one comes
    fixture.register_for(4, "tm", 1, &report("tm", &[None]));
    assert_eq!(asked(&fixture), [6, 7, 8, 9]);
}

#[test]
fn withdrawn_worker_gives_its_place_after_a_start_backoff_to_another() {
    // given: the last request needs a larger worker
    let mut fixture = two_failures(2);
    fixture.actions.answer_withdrawals(Withdrawal::Confirmed);
    fixture.worker_failed(1);
    fixture.worker_failed(2);
    fixture.request(3, &small());
    fixture.request(4, &profile(2.0, 200));
    fixture.advance(3 * SECOND);
    assert_eq!(asked(&fixture), [1, 2, 3, 4, 5]);
    let deferred: Vec<_> = (1..=4).filter(|id| fixture.bound_to(*id).is_none()).collect();
    assert_eq!(deferred, [4]);

    // when
    fixture.cancel(3);

    // then
    fixture.expect(&["withdraw 5", "ask 6 for {cpu: 2, task heap: 200 MiB}"]);
}

#[test]
fn start_backoff_doubles_until_a_worker_registers() {
    // given
    let mut fixture = two_failures(1);
    fixture.worker_failed(1);
    fixture.worker_failed(2);

    // when, then
    for (number, seconds) in [(3, 3), (4, 6), (5, 10), (6, 10)] {
        fixture.log.take();
        fixture.falls_due_after(seconds * SECOND, &[&ask(number)]);
        fixture.worker_failed(number);
    }

    // when: a worker registers, which nobody requested
    fixture.register_free("tm", 1, &[smaller()]);
    fixture.advance(10 * SECOND);
    assert_eq!(asked(&fixture), [7]);
    fixture.worker_failed(7);

    // then
    fixture.falls_due_after(3 * SECOND, &[&ask(8)]);
}

#[test]
fn failures_of_workers_requested_before_a_start_backoff_begin_no_other() {
    // given: three workers are on their way, and two fail
    let mut fixture = two_failures(3);
    fixture.worker_failed(1);
    fixture.worker_failed(2);
    fixture.advance(3 * SECOND);
    assert_eq!(asked(&fixture), [1, 2, 3, 4, 5]);

    // when: an old one fails, too
    fixture.worker_failed(3);

    // then
    assert_eq!(fixture.manager.next_deadline(), None);
    fixture.expect(&[&ask(6)]);

    // when, then: a new one begins the next backoff
    fixture.worker_failed(5);
    assert!(fixture.manager.next_deadline().is_some());
}

#[test]
fn start_backoff_ends_with_its_leadership() {
    // given: its second backoff has begun
    let mut fixture = two_failures(2);
    fixture.worker_failed(1);
    fixture.worker_failed(2);
    fixture.advance(3 * SECOND);
    fixture.worker_failed(3);
    fixture.log.take();

    // when
    fixture.suspend();
    fixture.start(2);
    fixture.request(1, &small());

    // then: one failure begins no other
    assert_eq!(asked(&fixture), [6]);
    fixture.worker_failed(6);
    assert_eq!(asked(&fixture), [7]);

    // when, then: the next one lasts as long as the first one
    fixture.worker_failed(7);
    fixture.falls_due_after(3 * SECOND, &[&ask(8)]);
}

#[test]
fn failures_a_minute_apart_begin_no_start_backoff() {
    // given
    let mut fixture = two_failures(1);

    // when, then
    for number in 1..=9 {
        fixture.worker_failed(number);
        assert_eq!(fixture.manager.next_deadline(), None);
        fixture.advance(60 * SECOND);
    }
    assert_eq!(asked(&fixture).len(), 10);

    // when, then
    fixture.worker_failed(10);
    fixture.advance(60 * SECOND - MILLISECOND);
    fixture.worker_failed(11);
    assert_eq!(asked(&fixture), [11]);
}

#[test]
fn expired_promises_are_failed_starts() {
    // given
    let config = patient()
        .with_worker_registration_timeout(10 * SECOND)
        .with_max_start_failure_rate(2);
    let mut fixture = Fixture::promising(config);
    fixture.request(1, &small());
    fixture.advance(10 * SECOND);
    assert_eq!(asked(&fixture), [1, 2]);

    // when, then
    fixture.falls_due_after(10 * SECOND, &["withdraw 2"]);
    fixture.falls_due_after(3 * SECOND, &[&ask(3)]);
}

#[test]
fn end_of_a_worker_request_that_was_withdrawn_is_no_failed_start() {
    // given: withdrawals are confirmed later, as failures
    let mut fixture = Fixture::promising(patient().with_max_start_failure_rate(2));

    // when
    for id in 1..=10_u128 {
        fixture.request(id, &small());
        fixture.cancel(id);
        let number = fixture.manager.counters().workers_requested;
        fixture.worker_failed(number);
    }
    fixture.log.take();

    // then
    fixture.request(11, &small());
    fixture.expect(&[&ask(11)]);
}

#[test]
fn start_backoff_can_be_turned_off() {
    // given
    let mut fixture = Fixture::promising(patient().with_max_start_failure_rate(0));
    fixture.request(1, &small());

    // when
    for number in 1..=100 {
        fixture.worker_failed(number);
    }

    // then
    assert_eq!(asked(&fixture).len(), 101);
}

#[test]
fn workers_that_flap_without_a_slot_are_not_requested_without_a_break() {
    // given
    let mut fixture = Fixture::promising(SlotManagerConfig::default());
    fixture.request(1, &small());
    let mut asks = 0;

    // when: each worker registers without slots and is lost at once, for 20 s
    for step in 0..2000 {
        for number in asked(&fixture) {
            asks += 1;
            let (worker, instance) = (format!("tm-{step}"), step + 1);
            fixture.register_for(number, &worker, instance, &SlotReport::default());
            fixture.unregister(instance);
        }
        fixture.advance(10 * MILLISECOND);
    }

    // then: each registration begins with the shortest backoff again
    assert!(asks <= 10 + 20 / 3, "{asks} worker requests");
}

#[test]
fn explanation_names_the_start_backoff() {
    // given
    let mut fixture = two_failures(1);
    let waits_for = |fixture: &Fixture, id| {
        let explanation = fixture.manager.explain(allocation(id)).expect("known");
        explanation.request.expect("not granted").waits_for
    };

    // when
    fixture.worker_failed(1);
    fixture.worker_failed(2);

    // then
    let until = Timestamp::from_secs(3);
    let reason = waits_for(&fixture, 1);
    assert_eq!(reason, WaitReason::StartBackoff { until });
    assert_eq!(
        reason.to_string(),
        "a slot; no worker is requested after failed starts, until +3s"
    );

    // when: it is over, and two workers are requested
    for id in 2..=3 {
        fixture.request(id, &small());
    }
    fixture.advance(3 * SECOND);

    // then
    let reason = waits_for(&fixture, 3);
    assert_eq!(reason, WaitReason::EarlierWorkers { requested: 2 });
    assert_eq!(
        reason.to_string(),
        "a slot; after failed starts no more workers are requested until one of 2 registers or fails"
    );
}

// Replaced instances.

#[test]
fn as_many_replaced_instances_as_documented_are_remembered() {
    // given: instances 1 to 1,025 were replaced
    let mut fixture = Fixture::new();
    for instance in 1..=1026 {
        fixture.register("tm", instance, &SlotReport::default());
    }
    let superseded = |instance| RegistrationError::Superseded {
        instance_id: crate::common::instance(instance),
    };
    let register = |fixture: &mut Fixture, instance| {
        let connection = TaskExecutorConnection::new("tm", crate::common::instance(instance), fixture.gateway());
        fixture.try_register(connection, &SlotReport::default())
    };

    // when, then
    assert_eq!(register(&mut fixture, 1025), Err(superseded(1025)));
    assert_eq!(register(&mut fixture, 2), Err(superseded(2)));
    assert_eq!(
        register(&mut fixture, 1),
        Ok(RegistrationOutcome::Replaced {
            previous: instance(1026)
        })
    );

    // when, then: another leadership remembers none
    fixture.suspend();
    fixture.start(2);
    assert_eq!(register(&mut fixture, 2), Ok(RegistrationOutcome::Registered));
}
