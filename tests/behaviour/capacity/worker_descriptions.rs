//! What is known of the workers that are started: no worker is asked for that would not help.

use slot_manager::{
    AllocationStatus, ResourceProfile, ResourceProfileError, SlotManagerConfig, WorkerDescription,
    WorkerDescriptionError, WorkerPromise,
};

use crate::common::{Fixture, SECOND, ask, described, granted, patient, profile, slot, small, worker_of};

fn wide() -> ResourceProfile {
    profile(4.0, 400)
}

/// Workers with two small slots, and an ask that was declined is repeated after 10 s.
fn config() -> SlotManagerConfig {
    described(2).with_worker_registration_timeout(10 * SECOND)
}

// The description.

#[test]
fn a_worker_has_slots() {
    let worker = WorkerDescription::new(3, small()).expect("a worker");
    assert_eq!(worker.slots(), 3);
    assert_eq!(worker.slot_profile(), &small());
    assert_eq!(WorkerDescription::new(0, small()), Err(WorkerDescriptionError::NoSlots));
}

#[test]
fn a_worker_may_have_slots_of_any_profile_but_not_of_an_unknown_one() {
    assert!(WorkerDescription::new(1, ResourceProfile::ANY).is_ok());
    assert!(WorkerDescription::new(1, ResourceProfile::ZERO).is_ok());
    assert_eq!(
        WorkerDescription::new(1, ResourceProfile::UNKNOWN),
        Err(WorkerDescriptionError::UnknownProfile)
    );
}

#[test]
fn the_slots_of_a_worker_can_be_counted_together() {
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
fn a_worker_divides_all_it_has_among_its_slots() {
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
    let worker = WorkerDescription::from_total(&total(4), 4).expect("a worker");
    assert_eq!(worker.slots(), 4);
    assert_eq!(worker.slot_profile(), &total(1));
}

#[test]
fn what_cannot_be_divided_is_left_over() {
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
fn nothing_is_divided_among_no_slots() {
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

// Asking.

#[test]
fn a_worker_is_asked_for_with_what_the_request_needs() {
    let mut fixture = Fixture::with(config());
    fixture.request(1, &profile(0.5, 50));
    fixture.expect(&["ask 1 for {cpu: 0.5, task heap: 50 MiB}"]);
}

#[test]
fn no_worker_is_asked_for_whose_slots_would_not_fit() {
    let mut fixture = Fixture::promising(config());
    assert_eq!(fixture.request(1, &wide()), AllocationStatus::Waiting);
    fixture.expect_nothing();
    assert_eq!(fixture.promised(), (0, 0));
}

#[test]
fn what_no_worker_would_serve_is_not_asked_for_later_either() {
    let mut fixture = Fixture::promising(config());
    fixture.request(1, &wide());
    assert_eq!(fixture.advance(100 * SECOND), 0, "nothing is armed");
    fixture.register_free("tm", 1, &[small()]);
    fixture.unregister(1);
    fixture.expect_nothing();
}

#[test]
fn what_no_worker_would_serve_waits_for_registered_slots() {
    let mut fixture = Fixture::promising(config());
    fixture.request(1, &wide());
    fixture.register_free("tm", 1, &[wide()]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn what_no_worker_would_serve_is_covered_by_a_promise_that_fits() {
    // given: a worker is larger than described
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
fn what_no_worker_would_serve_does_not_keep_others_from_asking() {
    let mut fixture = Fixture::promising(config());
    fixture.request(1, &wide());
    fixture.request(2, &small());
    fixture.expect(&[&ask(1)]);
}

#[test]
fn a_request_for_any_slot_is_asked_for() {
    let mut fixture = Fixture::promising(config());
    fixture.request(1, &ResourceProfile::UNKNOWN);
    fixture.expect(&["ask 1 for UNKNOWN"]);
}

#[test]
fn workers_of_any_profile_serve_everything() {
    let any = patient().with_worker_description(Some(worker_of(1, &ResourceProfile::ANY)));
    let mut fixture = Fixture::promising(any);
    fixture.request(1, &wide());
    fixture.request(2, &ResourceProfile::ANY);
    fixture.expect(&["ask 1 for {cpu: 4, task heap: 400 MiB}", "ask 2 for ANY"]);
}

// What is promised.

#[test]
fn an_unspecified_worker_counts_as_one_of_the_description() {
    let mut fixture = Fixture::promising(config());
    fixture.request(1, &profile(0.5, 50));
    let promised: Vec<_> = fixture
        .manager
        .promised_slots()
        .map(|promise| promise.resource_profile().clone())
        .collect();
    assert_eq!(promised, [small(), small()]);
    assert_eq!(fixture.promised(), (1, 1));
}

#[test]
fn each_slot_of_a_described_worker_covers_a_request() {
    let mut fixture = Fixture::promising(config());
    for id in 1..=3 {
        fixture.request(id, &small());
    }
    fixture.expect(&[&ask(1), &ask(2)]);
    assert_eq!([1, 2, 3].map(|id| fixture.bound_to(id)), [Some(1), Some(1), Some(2)]);
}

#[test]
fn slots_that_are_said_count_as_they_are_said() {
    let mut fixture = Fixture::with(config());
    fixture.promise_next(&[wide(), wide(), wide()]);
    fixture.request(1, &small());
    assert_eq!(fixture.promised(), (1, 2));
    assert!(
        fixture
            .manager
            .promised_slots()
            .all(|promise| *promise.resource_profile() == wide())
    );
}

#[test]
fn an_ask_that_is_declined_is_repeated() {
    let mut fixture = Fixture::with(config());
    fixture.request(1, &small());
    fixture.expect(&[&ask(1)]);
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(2)]);
}

#[test]
fn all_slots_of_an_unspecified_worker_end_with_it() {
    let mut fixture = Fixture::with(config());
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(1, &small());
    fixture.advance(10 * SECOND);
    fixture.expect(&[&ask(1), &ask(2)]);
    assert_eq!(fixture.promised(), (0, 0));
}
