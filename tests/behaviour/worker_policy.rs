//! Worker descriptions, and the workers that are requested or promised according to them.

use slot_manager::config::WorkerDescription;
use slot_manager::error::{ResourceProfileError, WorkerDescriptionError};
use slot_manager::message::WorkerPromise;
use slot_manager::outcome::AllocationStatus;
use slot_manager::{ResourceProfile, SlotManagerConfig};

use crate::common::{Fixture, SECOND, ask, described, granted, patient, profile, slot, small, worker_of};

fn wide() -> ResourceProfile {
    profile(4.0, 400)
}

/// Workers with two small slots, and declined worker requests are repeated after 10 s.
fn config() -> SlotManagerConfig {
    described(2).with_worker_registration_timeout(10 * SECOND)
}

// Descriptions.

#[test]
fn worker_has_at_least_one_slot() {
    // given, when
    let worker = WorkerDescription::new(3, small()).expect("a worker");

    // then
    assert_eq!(worker.slots(), 3);
    assert_eq!(worker.slot_profile(), &small());
    assert_eq!(WorkerDescription::new(0, small()), Err(WorkerDescriptionError::NoSlots));
}

#[test]
fn worker_may_have_slots_of_any_but_not_of_an_unknown_profile() {
    assert!(WorkerDescription::new(1, ResourceProfile::ANY).is_ok());
    assert!(WorkerDescription::new(1, ResourceProfile::ZERO).is_ok());
    assert_eq!(
        WorkerDescription::new(1, ResourceProfile::UNKNOWN),
        Err(WorkerDescriptionError::UnknownProfile)
    );
}

#[test]
fn slots_of_a_worker_have_a_total() {
    let large = ResourceProfile::builder()
        .task_heap_memory_bytes(1 << 62)
        .build()
        .expect("a valid amount");
    assert!(WorkerDescription::new(3, large.clone()).is_ok());
    assert_eq!(
        WorkerDescription::new(4, large),
        Err(WorkerDescriptionError::ResourceProfile(
            ResourceProfileError::Overflow {
                resource: "task heap memory".to_owned()
            }
        ))
    );
}

#[test]
fn worker_has_at_most_the_maximum_of_slots() {
    let most = WorkerDescription::MAX_SLOTS;
    assert!(WorkerDescription::new(most, ResourceProfile::ANY).is_ok());
    assert_eq!(
        WorkerDescription::new(most + 1, ResourceProfile::ANY),
        Err(WorkerDescriptionError::TooManySlots { slots: most + 1 })
    );
}

#[test]
fn total_of_a_worker_is_divided_among_its_slots() {
    // given
    let total = |factor: u64| {
        ResourceProfile::builder()
            .cpu_cores(0.5 * factor as f64)
            .task_heap_memory_bytes(3 * factor)
            .task_off_heap_memory_bytes(5 * factor)
            .managed_memory_bytes(7 * factor)
            .network_memory_bytes(11 * factor)
            .extended_resource("gpu", 0.25 * factor as f64)
            .build()
            .expect("valid amounts")
    };

    // when
    let worker = WorkerDescription::from_total(&total(4), 4).expect("a worker");

    // then
    assert_eq!(worker.slots(), 4);
    assert_eq!(worker.slot_profile(), &total(1));
}

#[test]
fn indivisible_rest_is_left_over() {
    let total = |cores, bytes| {
        ResourceProfile::builder()
            .cpu_cores(cores)
            .managed_memory_bytes(bytes)
            .build()
            .expect("valid amounts")
    };
    let worker = WorkerDescription::from_total(&total(1.0, 11), 3).expect("a worker");
    assert_eq!(worker.slot_profile(), &total(0.333_333_33, 3));
}

#[test]
fn total_cannot_be_divided_among_no_slots() {
    for total in [small(), ResourceProfile::ANY] {
        assert_eq!(
            WorkerDescription::from_total(&total, 0),
            Err(WorkerDescriptionError::NoSlots)
        );
    }
    assert_eq!(
        WorkerDescription::from_total(&ResourceProfile::UNKNOWN, 2),
        Err(WorkerDescriptionError::UnknownProfile)
    );
}

// Worker requests.

#[test]
fn worker_is_requested_with_the_profile_of_the_request() {
    let mut fixture = Fixture::with(config());
    fixture.request(1, &profile(0.5, 50));
    fixture.expect(&["ask 1 for {cpu: 0.5, task heap: 50 MiB}"]);
}

#[test]
fn no_worker_is_requested_whose_slots_do_not_fit() {
    // given
    let mut fixture = Fixture::promising(config());

    // when, then
    assert_eq!(fixture.request(1, &wide()), AllocationStatus::Waiting);
    fixture.expect_nothing();
    assert_eq!(fixture.promised(), (0, 0));
}

#[test]
fn no_worker_is_requested_later_for_a_request_that_fits_none() {
    // given
    let mut fixture = Fixture::promising(config());
    fixture.request(1, &wide());

    // when, then
    assert_eq!(fixture.advance(100 * SECOND), 0, "nothing is armed");

    // when, then
    fixture.register_free("tm", 1, &[small()]);
    fixture.unregister(1);
    fixture.expect_nothing();
}

#[test]
fn request_that_fits_no_worker_waits_for_registered_slots() {
    // given
    let mut fixture = Fixture::promising(config());
    fixture.request(1, &wide());

    // when
    fixture.register_free("tm", 1, &[wide()]);

    // then
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn request_that_fits_no_worker_is_bound_to_a_promised_slot_that_fits() {
    // given: a worker has a larger slot than described
    let mut fixture = Fixture::with(config());
    fixture.promise_next(&[small(), wide()]);
    fixture.request(1, &small());

    // when
    fixture.request(2, &wide());

    // then
    fixture.expect(&[&ask(1)]);
    assert_eq!(fixture.bound_to(2), Some(1));
}

#[test]
fn request_that_fits_no_worker_does_not_hold_up_others() {
    // given
    let mut fixture = Fixture::promising(config());
    fixture.request(1, &wide());

    // when
    fixture.request(2, &small());

    // then
    fixture.expect(&[&ask(1)]);
}

#[test]
fn worker_is_requested_for_an_unknown_profile() {
    let mut fixture = Fixture::promising(config());
    fixture.request(1, &ResourceProfile::UNKNOWN);
    fixture.expect(&["ask 1 for UNKNOWN"]);
}

#[test]
fn workers_of_any_profile_fit_every_request() {
    // given
    let any = patient().with_workers(worker_of(1, &ResourceProfile::ANY));
    let mut fixture = Fixture::promising(any);
    fixture.request(1, &wide());

    // when
    fixture.request(2, &ResourceProfile::ANY);

    // then
    fixture.expect(&["ask 1 for {cpu: 4, task heap: 400 MiB}", "ask 2 for ANY"]);
}

// Promises.

#[test]
fn unspecified_worker_counts_as_described() {
    // given
    let mut fixture = Fixture::promising(config());

    // when
    fixture.request(1, &profile(0.5, 50));

    // then
    let promised: Vec<_> = fixture
        .manager
        .promised_slots()
        .map(|promise| promise.resource_profile().clone())
        .collect();
    assert_eq!(promised, [small(), small()]);
    assert_eq!(fixture.promised(), (1, 1));
}

#[test]
fn each_slot_of_a_described_worker_is_bound_to_a_request() {
    // given
    let mut fixture = Fixture::promising(config());

    // when
    for id in 1..=3 {
        fixture.request(id, &small());
    }

    // then
    fixture.expect(&[&ask(1), &ask(2)]);
    assert_eq!([1, 2, 3].map(|id| fixture.bound_to(id)), [Some(1), Some(1), Some(2)]);
}

#[test]
fn specified_slots_count_as_specified() {
    // given
    let mut fixture = Fixture::with(config());
    fixture.promise_next(&[wide(), wide(), wide()]);

    // when
    fixture.request(1, &small());

    // then
    assert_eq!(fixture.promised(), (1, 2));
    assert!(
        fixture
            .manager
            .promised_slots()
            .all(|promise| *promise.resource_profile() == wide())
    );
}

#[test]
fn declined_worker_request_is_repeated() {
    // given
    let mut fixture = Fixture::with(config());

    // when
    fixture.request(1, &small());

    // then
    fixture.expect(&[&ask(1)]);

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(2)]);
}

#[test]
fn all_slots_of_an_unspecified_worker_expire_together() {
    // given
    let mut fixture = Fixture::with(config());
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(1, &small());

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&[&ask(1), "withdraw 1", &ask(2)]);
    assert_eq!(fixture.promised(), (0, 0));
}
