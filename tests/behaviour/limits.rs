//! Limits: a worker request that would exceed a limit is deferred until there is room.

use slot_manager::config::{WorkerDescription, WorkerPolicy};
use slot_manager::error::ResourceManagerError;
use slot_manager::message::{Withdrawal, WorkerPromise};
use slot_manager::outcome::AllocationStatus;
use slot_manager::{ResourceProfile, SlotManagerConfig, SlotReport};

use crate::common::{
    Fixture, SECOND, ask, described, free_report, granted, patient, profile, report, slot, small, worker_of, workers_of,
};

const MEBIBYTE: u64 = 1 << 20;

fn narrow() -> ResourceProfile {
    profile(0.5, 50)
}

fn tiny() -> ResourceProfile {
    profile(0.25, 25)
}

const ASK_FOR_NARROW: [&str; 3] = [
    "ask 1 for {cpu: 0.5, task heap: 50 MiB}",
    "ask 2 for {cpu: 0.5, task heap: 50 MiB}",
    "ask 3 for {cpu: 0.5, task heap: 50 MiB}",
];

/// Workers with `slots_per_worker` small slots, and at most `max_slots` slots in total.
fn at_most(max_slots: usize, slots_per_worker: u32) -> SlotManagerConfig {
    patient().with_workers(workers_of(slots_per_worker).with_max_slots(Some(max_slots)))
}

/// A fixture with a limit of one slot, which allocation 50 holds.
fn full() -> Fixture {
    full_with(at_most(1, 1))
}

/// A fixture with this configuration, in which allocation 50 holds the slot of `tm`.
fn full_with(config: SlotManagerConfig) -> Fixture {
    let mut fixture = Fixture::promising(config);
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture
}

const LOST: &str = "lost 50 on tm_0: unregistered";

/// Returns the number of workers that 20 requests lead to.
fn workers_requested(config: SlotManagerConfig) -> usize {
    let mut fixture = Fixture::promising(config);
    for id in 1..=20 {
        assert_eq!(fixture.request(id, &ResourceProfile::ZERO), AllocationStatus::Waiting);
    }
    fixture.brief_effects().len()
}

// How many workers.

#[test]
fn no_worker_is_requested_beyond_the_slots() {
    assert_eq!(workers_requested(at_most(4, 2)), 2);
}

#[test]
fn whole_workers_are_counted() {
    assert_eq!(workers_requested(at_most(5, 2)), 2);
}

#[test]
fn no_worker_is_requested_beyond_the_cores() {
    assert_eq!(
        workers_requested(patient().with_workers(workers_of(2).with_max_total_cpu_cores(Some(4.0)))),
        2
    );
    assert_eq!(
        workers_requested(patient().with_workers(workers_of(2).with_max_total_cpu_cores(Some(3.99)))),
        1
    );
}

#[test]
fn no_worker_is_requested_beyond_the_memory() {
    let with_memory = |bytes| patient().with_workers(workers_of(2).with_max_total_memory_bytes(Some(bytes)));
    assert_eq!(workers_requested(with_memory(400 * MEBIBYTE)), 2);
    assert_eq!(workers_requested(with_memory(400 * MEBIBYTE - 1)), 1);
}

#[test]
fn all_kinds_of_memory_are_counted() {
    let slot = ResourceProfile::builder()
        .task_heap_memory_bytes(1)
        .task_off_heap_memory_bytes(2)
        .managed_memory_bytes(3)
        .network_memory_bytes(4)
        .build()
        .expect("valid amounts");
    let config = patient().with_workers(WorkerPolicy::new(worker_of(1, &slot)).with_max_total_memory_bytes(Some(39)));
    assert_eq!(workers_requested(config), 3);
}

/// Six slots of a rounded sixth have 1.00000002 cores, and as many bytes less than the memory.
#[test]
fn total_of_a_worker_counts_and_not_the_sum_of_its_rounded_slots() {
    // given
    let total = ResourceProfile::builder()
        .cpu_cores(1.0)
        .managed_memory_bytes(100)
        .build();
    let worker = WorkerDescription::from_total(&total.expect("valid amounts"), 6).expect("a worker");
    let sixth = worker.slot_profile().clone();
    let limited = WorkerPolicy::new(worker)
        .with_max_total_cpu_cores(Some(2.0))
        .with_max_total_memory_bytes(Some(299));
    let mut fixture = Fixture::promising(patient().with_workers(limited));

    // when, then: the first worker is requested, comes and is full
    for id in 1..=6 {
        fixture.request(id, &sixth);
    }
    fixture.expect(&["ask 1 for {cpu: 0.16666667, managed: 16 B}"]);
    fixture.register_free("tm-1", 1, &vec![sixth.clone(); 6]);
    fixture.log.take();

    // when, then: there is room for a second worker and not for a third
    fixture.request(7, &sixth);
    fixture.expect(&["ask 2 for {cpu: 0.16666667, managed: 16 B}"]);
    fixture.register_free("tm-2", 2, &vec![sixth.clone(); 6]);
    fixture.is_refused("tm-3", 3, &free_report("tm-3", &[sixth]));
}

#[test]
fn first_limit_that_is_reached_counts() {
    let config = patient().with_workers(
        workers_of(1)
            .with_max_slots(Some(10))
            .with_max_total_cpu_cores(Some(3.0)),
    );
    assert_eq!(workers_requested(config), 3);
}

/// As floating point numbers, three times 0.1 is more than 0.3 (FLINK-32254).
#[test]
fn cores_are_added_exactly() {
    let config =
        patient().with_workers(WorkerPolicy::new(worker_of(1, &profile(0.1, 0))).with_max_total_cpu_cores(Some(0.3)));
    assert_eq!(workers_requested(config), 3);
}

#[test]
fn totals_that_do_not_fit_64_bits_exceed_a_limit() {
    let memory = ResourceProfile::builder().managed_memory_bytes(1 << 63).build();
    let memory = worker_of(1, &memory.expect("a valid amount"));
    let config = patient().with_workers(WorkerPolicy::new(memory).with_max_total_memory_bytes(Some(u64::MAX)));
    assert_eq!(workers_requested(config), 1);

    let cores = worker_of(1, &profile(1e11, 0));
    let config = patient().with_workers(WorkerPolicy::new(cores).with_max_total_cpu_cores(Some(1.8e11)));
    assert_eq!(workers_requested(config), 1);
}

#[test]
fn only_slots_of_workers_of_any_profile_are_counted() {
    let any = WorkerPolicy::new(worker_of(1, &ResourceProfile::ANY));
    let limited = any
        .with_max_total_cpu_cores(Some(1.0))
        .with_max_total_memory_bytes(Some(1));
    assert_eq!(workers_requested(patient().with_workers(limited.clone())), 20);
    assert_eq!(
        workers_requested(patient().with_workers(limited.with_max_slots(Some(7)))),
        7
    );
}

#[test]
fn every_worker_is_requested_without_limits() {
    assert_eq!(workers_requested(described(1)), 20);
}

#[test]
fn registered_slots_are_counted_in_every_state() {
    // given: three of five slots are registered: one used, one free and too small, one blocked
    let mut fixture = Fixture::promising(at_most(5, 1));
    fixture.block("blocked");
    fixture.register("used", 1, &report("used", &[Some(50)]));
    fixture.register_free("free", 2, &[tiny()]);
    fixture.register_free("blocked", 3, &[small()]);

    // when
    for id in 1..=4 {
        fixture.request(id, &small());
    }

    // then
    fixture.expect(&[&ask(1), &ask(2)]);
}

// Deferred.

#[test]
fn request_with_a_deferred_worker_request_waits_without_a_deadline() {
    // given
    let mut fixture = full_with(at_most(1, 1).with_worker_registration_timeout(10 * SECOND));

    // when, then
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    assert_eq!(fixture.advance(100 * SECOND), 0);
    fixture.expect_nothing();
}

#[test]
fn request_with_a_deferred_worker_request_fails_at_its_timeout() {
    // given
    let mut fixture = full_with(at_most(1, 1).with_request_timeout(10 * SECOND));
    fixture.request(1, &small());

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["failed 1: timeout"]);
}

#[test]
fn lost_task_manager_makes_room_for_the_oldest_request() {
    // given
    let mut fixture = full();
    fixture.request(7, &narrow());

    // when
    fixture.request(3, &small());

    // then
    fixture.expect_nothing();

    // when, then
    fixture.unregister(1);
    fixture.expect(&[LOST, ASK_FOR_NARROW[0]]);
    assert_eq!((fixture.bound_to(7), fixture.bound_to(3)), (Some(1), None));
}

#[test]
fn removed_slot_makes_room_for_the_oldest_request() {
    // given
    let mut fixture = full();
    fixture.request(7, &narrow());
    fixture.request(3, &small());

    // when
    fixture.report(1, &SlotReport::default());

    // then
    fixture.expect(&["lost 50 on tm_0: removed", ASK_FOR_NARROW[0]]);
}

#[test]
fn failed_worker_makes_room_for_the_oldest_request() {
    // given
    let mut fixture = Fixture::promising(at_most(1, 1));
    fixture.request(7, &narrow());

    // when
    fixture.request(3, &small());

    // then
    fixture.expect(&[ASK_FOR_NARROW[0]]);

    // when, then
    fixture.worker_failed(1);
    fixture.expect(&[ASK_FOR_NARROW[1]]);
}

#[test]
fn expired_promise_makes_room_for_the_oldest_request() {
    // given
    let mut fixture = Fixture::promising(at_most(1, 1).with_worker_registration_timeout(10 * SECOND));
    fixture.request(7, &narrow());
    fixture.request(3, &small());
    fixture.log.take();

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["withdraw 1", ASK_FOR_NARROW[1]]);
}

#[test]
fn release_makes_room_for_the_oldest_request() {
    // given
    let mut fixture = Fixture::promising(at_most(1, 1).with_task_manager_timeout(10 * SECOND));
    fixture.register_free("tm", 1, &[tiny()]);
    fixture.request(7, &narrow());

    // when
    fixture.request(3, &small());

    // then
    fixture.expect_nothing();

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)", ASK_FOR_NARROW[0]]);
}

#[test]
fn withdrawal_makes_room_for_the_oldest_request() {
    // given: the promise fits only its own request
    let mut fixture = Fixture::with(at_most(1, 1));
    fixture.promise_next(&[tiny()]);
    fixture.request(99, &tiny());
    fixture.request(7, &narrow());
    fixture.log.take();

    // when
    fixture.actions.answer_withdrawals(Withdrawal::Confirmed);
    fixture.cancel(99);

    // then
    fixture.expect(&["withdraw 1", ASK_FOR_NARROW[1]]);
}

#[test]
fn younger_request_does_not_overtake_a_deferred_one() {
    // given: 7 is deferred, and the younger 3 is bound to a promised slot that does not fit 7
    let mut fixture = Fixture::with(at_most(1, 1));
    fixture.promise_next(&[tiny()]);
    fixture.request(99, &tiny());
    fixture.cancel(99);
    fixture.request(7, &narrow());
    fixture.request(3, &tiny());
    assert_eq!(fixture.bound_to(3), Some(1));
    fixture.log.take();

    // when
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    fixture.worker_failed(1);

    // then
    fixture.expect(&[ASK_FOR_NARROW[1]]);
    assert_eq!((fixture.bound_to(7), fixture.bound_to(3)), (Some(2), None));
}

#[test]
fn workers_are_requested_as_long_as_there_is_room() {
    // given: four requests, and no promise that serves more than one
    let mut fixture = full_with(at_most(3, 1));
    fixture.register("more", 2, &report("more", &[Some(51), Some(52)]));
    for id in [4, 3, 2, 1] {
        fixture.request(id, &small());
    }
    fixture.expect_nothing();

    // when: room for two
    fixture.unregister(2);

    // then
    let effects = fixture.brief_effects();
    assert_eq!(
        effects.iter().filter(|line| line.starts_with("ask")).count(),
        2,
        "{effects:?}"
    );
    assert_eq!(
        [4, 3, 2, 1].map(|id| fixture.bound_to(id)),
        [Some(1), Some(2), None, None]
    );
}

#[test]
fn request_that_is_bound_is_not_deferred_any_more() {
    // given
    let mut fixture = Fixture::promising(at_most(2, 2));
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.request(1, &small());

    // when
    fixture.request(2, &small());

    // then
    fixture.expect_nothing();

    // when, then
    fixture.unregister(1);
    fixture.expect(&[LOST, &ask(1)]);
    assert_eq!((fixture.bound_to(1), fixture.bound_to(2)), (Some(1), Some(1)));
}

#[test]
fn request_that_is_granted_is_not_deferred_any_more() {
    // given
    let mut fixture = full();
    fixture.request(1, &small());

    // when
    fixture.free(&slot("tm", 0), 50);

    // then
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));

    // when, then
    fixture.log.take();
    fixture.unregister(1);
    fixture.expect(&["lost 1 on tm_0: unregistered"]);
}

#[test]
fn request_that_is_cancelled_is_not_deferred_any_more() {
    // given
    let mut fixture = full();
    fixture.request(1, &small());
    fixture.cancel(1);

    // when
    fixture.unregister(1);

    // then
    fixture.expect(&[LOST]);

    // when, then
    fixture.request(2, &small());
    fixture.expect(&[&ask(1)]);
}

#[test]
fn declined_worker_request_leaves_the_room_to_the_next_and_is_repeated() {
    // given
    let mut fixture = Fixture::with(at_most(1, 1).with_worker_registration_timeout(10 * SECOND));
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.request(1, &small());
    fixture.request(2, &small());

    // when, then
    fixture.unregister(1);
    fixture.expect(&[LOST, &ask(1), &ask(2)]);
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(3), &ask(4)]);
}

#[test]
fn refused_worker_request_fails_its_request_and_leaves_the_room_to_the_next() {
    // given
    let mut fixture = full();
    fixture.request(1, &small());
    fixture.request(2, &small());

    // when
    fixture
        .actions
        .answer_next_allocation(Err(ResourceManagerError::new("no quota")));
    fixture.unregister(1);

    // then
    fixture.expect(&[LOST, &ask(1), &ask(2), "failed 1: no quota"]);
    assert_eq!(fixture.bound_to(2), Some(2));
}

#[test]
fn request_that_loses_its_task_manager_is_deferred_like_any_other() {
    // given: at most two slots, of which one stays allocated
    let mut fixture = full_with(at_most(2, 1));
    fixture.register_by_hand("other", 2, &report("other", &[None]));
    fixture.request(1, &small());
    fixture.log.take();

    // when: another allocation holds the slot in the next registration
    fixture.register("other", 3, &report("other", &[Some(51)]));

    // then
    assert!(fixture.brief_effects().iter().all(|line| !line.starts_with("ask")));
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
    fixture.unregister(3);
    fixture.expect(&["lost 51 on other_0: unregistered", &ask(1)]);
}

#[test]
fn no_worker_is_requested_if_one_alone_exceeds_a_limit() {
    for config in [
        at_most(1, 2),
        patient().with_workers(workers_of(2).with_max_total_cpu_cores(Some(1.9))),
        patient().with_workers(workers_of(2).with_max_total_memory_bytes(Some(1))),
    ] {
        let mut fixture = Fixture::promising(config.with_worker_registration_timeout(10 * SECOND));
        assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
        assert_eq!(fixture.advance(100 * SECOND), 0);
        fixture.expect_nothing();
    }
}

// Promises beyond a limit.

#[test]
fn promise_up_to_a_limit_counts() {
    // given
    let mut fixture = Fixture::with(at_most(2, 1));
    fixture.promise_next(&[small(), small()]);

    // when
    fixture.request(1, &small());

    // then
    fixture.expect(&[&ask(1)]);
    assert_eq!(fixture.promised(), (1, 1));
}

#[test]
fn promise_beyond_a_limit_counts_as_declined_and_is_withdrawn() {
    let beyond: [(SlotManagerConfig, &[ResourceProfile]); 3] = [
        (at_most(2, 1), &[small(), small(), small()]),
        (
            patient().with_workers(workers_of(1).with_max_total_cpu_cores(Some(2.0))),
            &[profile(2.1, 100)],
        ),
        (
            patient().with_workers(workers_of(1).with_max_total_memory_bytes(Some(200 * MEBIBYTE))),
            &[profile(1.0, 201)],
        ),
    ];
    for (config, slots) in beyond {
        // given
        let mut fixture = Fixture::with(config.with_worker_registration_timeout(10 * SECOND));
        fixture.promise_next(slots);

        // when, then
        assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
        fixture.expect(&[&ask(1), "withdraw 1"]);
        assert_eq!(fixture.promised(), (0, 0), "no part of it counts");

        // when, then
        fixture.advance(10 * SECOND);
        fixture.expect(&[&ask(2)]);
    }
}

#[test]
fn withdrawal_of_a_promise_beyond_a_limit_may_have_any_answer() {
    for answer in [Withdrawal::TooLate, Withdrawal::Confirmed] {
        // given
        let mut fixture = Fixture::with(at_most(2, 1));
        fixture.actions.answer_withdrawals(answer);
        fixture.promise_next(&[small(), small(), small()]);

        // when
        fixture.request(1, &small());
        fixture.log.take();

        // then
        assert_eq!(fixture.promised(), (0, 0));

        // when, then
        fixture.cancel(1);
        fixture.expect_nothing();
    }
}

#[test]
fn registered_and_promised_slots_leave_less_room_for_promises() {
    // given
    let mut fixture = full_with(at_most(3, 1));
    fixture.request(1, &small());
    fixture.log.take();
    fixture.promise_next(&[small(), small()]);

    // when
    fixture.request(2, &small());

    // then
    fixture.expect(&[&ask(2), "withdraw 2"]);
    assert_eq!(fixture.promised(), (1, 0));
}
