//! No worker is asked for beyond the limits: what it would serve is held until there is room.

use slot_manager::{
    AllocationStatus, ResourceManagerError, ResourceProfile, SlotManagerConfig, SlotReport, Withdrawal, WorkerPromise,
};

use crate::common::{Fixture, SECOND, ask, described, granted, patient, profile, report, slot, small, worker_of};

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

/// Workers with so many small slots, and at most so many slots.
fn at_most(max_slots: usize, slots_per_worker: u32) -> SlotManagerConfig {
    described(slots_per_worker).with_max_slots(Some(max_slots))
}

/// One slot is all there may be, and allocation 50 holds it.
fn full() -> Fixture {
    full_with(at_most(1, 1))
}

fn full_with(config: SlotManagerConfig) -> Fixture {
    let mut fixture = Fixture::promising(config);
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture
}

const LOST: &str = "lost 50 on tm_0: unregistered";

/// How many workers are asked for because of many requests.
fn workers_asked_for(config: SlotManagerConfig) -> usize {
    let mut fixture = Fixture::promising(config);
    for id in 1..=20 {
        assert_eq!(fixture.request(id, &ResourceProfile::ZERO), AllocationStatus::Waiting);
    }
    fixture.brief_effects().len()
}

// How many.

#[test]
fn no_worker_is_asked_for_beyond_the_slots() {
    assert_eq!(workers_asked_for(at_most(4, 2)), 2);
}

#[test]
fn whole_workers_are_counted() {
    assert_eq!(workers_asked_for(at_most(5, 2)), 2);
}

#[test]
fn no_worker_is_asked_for_beyond_the_cores() {
    assert_eq!(workers_asked_for(described(2).with_max_total_cpu_cores(Some(4.0))), 2);
    assert_eq!(workers_asked_for(described(2).with_max_total_cpu_cores(Some(3.99))), 1);
}

#[test]
fn no_worker_is_asked_for_beyond_the_memory() {
    let with_memory = |bytes| described(2).with_max_total_memory_bytes(Some(bytes));
    assert_eq!(workers_asked_for(with_memory(400 * MEBIBYTE)), 2);
    assert_eq!(workers_asked_for(with_memory(400 * MEBIBYTE - 1)), 1);
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
    let config = patient()
        .with_worker_description(Some(worker_of(1, &slot)))
        .with_max_total_memory_bytes(Some(39));
    assert_eq!(workers_asked_for(config), 3);
}

#[test]
fn the_first_limit_that_is_reached_counts() {
    let config = at_most(10, 1).with_max_total_cpu_cores(Some(3.0));
    assert_eq!(workers_asked_for(config), 3);
}

/// As floating point numbers, three times 0.1 is more than 0.3 (FLINK-32254).
#[test]
fn cores_are_added_exactly() {
    let config = patient()
        .with_worker_description(Some(worker_of(1, &profile(0.1, 0))))
        .with_max_total_cpu_cores(Some(0.3));
    assert_eq!(workers_asked_for(config), 3);
}

#[test]
fn totals_that_do_not_fit_64_bits_are_beyond_a_limit() {
    let memory = ResourceProfile::builder().managed_memory_bytes(1 << 63).build();
    let memory = worker_of(1, &memory.expect("a valid amount"));
    let config = patient()
        .with_worker_description(Some(memory))
        .with_max_total_memory_bytes(Some(u64::MAX));
    assert_eq!(workers_asked_for(config), 1);

    let cores = worker_of(1, &profile(1e11, 0));
    let config = patient()
        .with_worker_description(Some(cores))
        .with_max_total_cpu_cores(Some(1.8e11));
    assert_eq!(workers_asked_for(config), 1);
}

#[test]
fn of_workers_of_any_profile_only_the_slots_are_counted() {
    let any = patient().with_worker_description(Some(worker_of(1, &ResourceProfile::ANY)));
    let config = any
        .with_max_total_cpu_cores(Some(1.0))
        .with_max_total_memory_bytes(Some(1));
    assert_eq!(workers_asked_for(config.clone()), 20);
    assert_eq!(workers_asked_for(config.with_max_slots(Some(7))), 7);
}

#[test]
fn without_limits_there_is_always_room() {
    assert_eq!(workers_asked_for(described(1)), 20);
}

#[test]
fn registered_slots_are_counted_whatever_they_do() {
    // given: of five slots three are registered: one used, one free and too small, one blocked
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

// Held.

#[test]
fn a_request_that_is_held_waits_and_nothing_is_armed_for_it() {
    let mut fixture = full_with(at_most(1, 1).with_worker_registration_timeout(10 * SECOND));
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    assert_eq!(fixture.advance(100 * SECOND), 0);
    fixture.expect_nothing();
}

#[test]
fn a_request_that_is_held_fails_at_its_timeout() {
    let mut fixture = full_with(at_most(1, 1).with_request_timeout(10 * SECOND));
    fixture.request(1, &small());
    fixture.advance(10 * SECOND);
    fixture.expect(&["failed 1: timeout"]);
}

#[test]
fn the_oldest_request_asks_when_a_task_manager_is_lost() {
    let mut fixture = full();
    fixture.request(7, &narrow());
    fixture.request(3, &small());
    fixture.expect_nothing();
    fixture.unregister(1);
    fixture.expect(&[LOST, ASK_FOR_NARROW[0]]);
    assert_eq!((fixture.bound_to(7), fixture.bound_to(3)), (Some(1), None));
}

#[test]
fn the_oldest_request_asks_when_a_slot_is_not_reported_any_more() {
    let mut fixture = full();
    fixture.request(7, &narrow());
    fixture.request(3, &small());
    fixture.report(1, &SlotReport::default());
    fixture.expect(&["lost 50 on tm_0: removed", ASK_FOR_NARROW[0]]);
}

#[test]
fn the_oldest_request_asks_when_a_promise_fails() {
    let mut fixture = Fixture::promising(at_most(1, 1));
    fixture.request(7, &narrow());
    fixture.request(3, &small());
    fixture.expect(&[ASK_FOR_NARROW[0]]);
    fixture.worker_failed(1);
    fixture.expect(&[ASK_FOR_NARROW[1]]);
}

#[test]
fn the_oldest_request_asks_when_a_promise_expires() {
    let mut fixture = Fixture::promising(at_most(1, 1).with_worker_registration_timeout(10 * SECOND));
    fixture.request(7, &narrow());
    fixture.request(3, &small());
    fixture.log.take();
    fixture.advance(10 * SECOND);
    fixture.expect(&[ASK_FOR_NARROW[1]]);
}

#[test]
fn the_oldest_request_asks_when_an_idle_task_manager_is_released() {
    let mut fixture = Fixture::promising(at_most(1, 1).with_task_manager_timeout(10 * SECOND));
    fixture.register_free("tm", 1, &[tiny()]);
    fixture.request(7, &narrow());
    fixture.request(3, &small());
    fixture.expect_nothing();
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)", ASK_FOR_NARROW[0]]);
}

#[test]
fn the_oldest_request_asks_when_a_withdrawal_makes_room() {
    // given: the promise fits only the request that asked for it
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
fn a_younger_request_does_not_ask_while_an_older_one_is_held() {
    // given: 7 is held, and the younger 3 is covered by a promise that is of no use to 7
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
fn requests_ask_as_long_as_there_is_room() {
    // given: four requests that no promise serves together
    let mut fixture = full_with(at_most(3, 1));
    fixture.register("more", 2, &report("more", &[Some(51), Some(52)]));
    for id in [4, 3, 2, 1] {
        fixture.request(id, &small());
    }
    fixture.expect_nothing();

    // when: room for two
    fixture.unregister(2);

    // then
    let said = fixture.brief_effects();
    assert_eq!(
        said.iter().filter(|line| line.starts_with("ask")).count(),
        2,
        "{said:?}"
    );
    assert_eq!(
        [4, 3, 2, 1].map(|id| fixture.bound_to(id)),
        [Some(1), Some(2), None, None]
    );
}

#[test]
fn requests_that_a_promise_covers_do_not_ask_any_more() {
    let mut fixture = Fixture::promising(at_most(2, 2));
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.expect_nothing();
    fixture.unregister(1);
    fixture.expect(&[LOST, &ask(1)]);
    assert_eq!((fixture.bound_to(1), fixture.bound_to(2)), (Some(1), Some(1)));
}

#[test]
fn a_request_that_a_free_slot_serves_is_not_held_any_more() {
    let mut fixture = full();
    fixture.request(1, &small());
    fixture.free(&slot("tm", 0), 50);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.log.take();
    fixture.unregister(1);
    fixture.expect(&["lost 1 on tm_0: unregistered"]);
}

#[test]
fn a_request_that_is_cancelled_is_not_held_any_more() {
    let mut fixture = full();
    fixture.request(1, &small());
    fixture.cancel(1);
    fixture.unregister(1);
    fixture.expect(&[LOST]);
    fixture.request(2, &small());
    fixture.expect(&[&ask(1)]);
}

#[test]
fn held_requests_that_are_declined_leave_the_room_to_the_next_and_repeat_their_ask() {
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
fn a_held_request_that_is_refused_fails_with_a_notice_and_leaves_the_room_to_the_next() {
    let mut fixture = full();
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture
        .actions
        .answer_next_allocation(Err(ResourceManagerError::new("no quota")));
    fixture.unregister(1);
    fixture.expect(&[LOST, &ask(1), &ask(2), "failed 1: no quota"]);
    assert_eq!(fixture.bound_to(2), Some(2));
}

#[test]
fn a_request_that_loses_its_task_manager_is_held_like_any_other() {
    // given: two slots at most, and one of them is used for good
    let mut fixture = full_with(at_most(2, 1));
    fixture.register_by_hand("other", 2, &report("other", &[None]));
    fixture.request(1, &small());
    fixture.log.take();

    // when: another takes the room within the same registration
    fixture.register("other", 3, &report("other", &[Some(51)]));

    // then
    assert!(fixture.brief_effects().iter().all(|line| !line.starts_with("ask")));
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
    fixture.unregister(3);
    fixture.expect(&["lost 51 on other_0: unregistered", &ask(1)]);
}

/// A limit below one worker: none can ever be started.
#[test]
fn what_one_worker_alone_would_exceed_is_never_asked_for() {
    for config in [
        at_most(1, 2),
        described(2).with_max_total_cpu_cores(Some(1.9)),
        described(2).with_max_total_memory_bytes(Some(1)),
    ] {
        let mut fixture = Fixture::promising(config.with_worker_registration_timeout(10 * SECOND));
        assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
        assert_eq!(fixture.advance(100 * SECOND), 0);
        fixture.expect_nothing();
    }
}

// What is promised beyond.

#[test]
fn a_promise_up_to_a_limit_counts() {
    let mut fixture = Fixture::with(at_most(2, 1));
    fixture.promise_next(&[small(), small()]);
    fixture.request(1, &small());
    fixture.expect(&[&ask(1)]);
    assert_eq!(fixture.promised(), (1, 1));
}

#[test]
fn a_promise_beyond_a_limit_counts_as_declined_and_is_withdrawn() {
    let beyond: [(SlotManagerConfig, &[ResourceProfile]); 3] = [
        (at_most(2, 1), &[small(), small(), small()]),
        (described(1).with_max_total_cpu_cores(Some(2.0)), &[profile(2.1, 100)]),
        (
            described(1).with_max_total_memory_bytes(Some(200 * MEBIBYTE)),
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
        assert_eq!(fixture.promised(), (0, 0), "not even in part");

        // when, then
        fixture.advance(10 * SECOND);
        fixture.expect(&[&ask(2)]);
    }
}

#[test]
fn the_answer_to_the_withdrawal_of_a_promise_beyond_a_limit_does_not_matter() {
    for answer in [Withdrawal::TooLate, Withdrawal::Confirmed] {
        let mut fixture = Fixture::with(at_most(2, 1));
        fixture.actions.answer_withdrawals(answer);
        fixture.promise_next(&[small(), small(), small()]);
        fixture.request(1, &small());
        fixture.log.take();
        assert_eq!(fixture.promised(), (0, 0));
        fixture.cancel(1);
        fixture.expect_nothing();
    }
}

#[test]
fn what_is_registered_and_promised_already_leaves_less_to_promise() {
    let mut fixture = full_with(at_most(3, 1));
    fixture.request(1, &small());
    fixture.log.take();
    fixture.promise_next(&[small(), small()]);
    fixture.request(2, &small());
    fixture.expect(&[&ask(2), "withdraw 2"]);
    assert_eq!(fixture.promised(), (1, 0));
}
