//! Promised workers from which slots will be cut: bindings, limits, reserves and the workers that
//! come.

use slot_manager::config::{Limit, WorkerDescription, WorkerPolicy};
use slot_manager::error::{RegistrationError, WorkerDescriptionError};
use slot_manager::message::{Withdrawal, WorkerPromise};
use slot_manager::outcome::{AllocationStatus, WorkerFailedOutcome};
use slot_manager::view::{RequestExplanation, WaitReason};
use slot_manager::{DynamicResources, ResourceProfile, SlotId, SlotManagerConfig, SlotReport, TaskExecutorConnection};

use crate::common::{Fixture, SECOND, allocation, asks, cores, free_report, granted, instance, patient, slot};

/// Returns the report of a dynamic worker with these cores and no slots.
fn total(cores_in_total: u32) -> SlotReport {
    SlotReport::of_dynamic(cores(cores_in_total), vec![])
}

/// Returns the promise of a worker with these cores.
fn promised(cores_in_total: u32) -> WorkerPromise {
    WorkerPromise::Total(cores(cores_in_total).into())
}

/// Returns a dynamic worker as described, with two cores in each default slot.
fn dynamic(cores_in_total: u32) -> WorkerDescription {
    WorkerDescription::dynamic(&cores(cores_in_total), cores_in_total / 2).expect("a divisible total")
}

/// Returns a patient configuration with dynamic workers.
fn described(cores_in_total: u32) -> SlotManagerConfig {
    patient().with_workers(dynamic(cores_in_total))
}

/// No worker request.
const NONE: [u64; 0] = [];

impl Fixture {
    /// Creates a started fixture that promises dynamic workers with these cores, and confirms each
    /// withdrawal.
    fn promising_total(cores_in_total: u32) -> Self {
        let mut fixture = Self::not_started(patient());
        fixture.actions.answer_allocations(Ok(promised(cores_in_total)));
        fixture.actions.answer_withdrawals(Withdrawal::Confirmed);
        fixture.start(1);
        fixture
    }

    /// Takes the effects and returns the numbers of the worker requests among them.
    fn asked(&self) -> Vec<u64> {
        let asks = asks(&self.log.take());
        asks.iter().map(|(worker_request, _)| worker_request.number()).collect()
    }

    /// Returns the explanation of a request that waits.
    #[track_caller]
    fn explanation(&self, id: u128) -> RequestExplanation {
        let explanation = self.manager.explain(allocation(id)).expect("known");
        explanation.request.expect("not granted")
    }

    /// Returns the numbers of promised dynamic workers, and of slots as which they count.
    fn promised_workers(&self) -> (usize, usize) {
        let overview = self.manager.overview();
        (overview.promised_dynamic_workers, overview.promised_dynamic_total.slots)
    }
}

// Binding.

#[test]
fn workers_are_requested_for_as_many_requests_as_totals_hold() {
    // given
    let mut fixture = Fixture::promising_total(4);

    // when
    for id in 1..=5 {
        fixture.request(id, &cores(2));
    }

    // then: three workers, not five
    assert_eq!(fixture.asked(), [1, 2, 3]);
    let bound: Vec<_> = (1..=5).map(|id| fixture.bound_to(id)).collect();
    assert_eq!(bound, [Some(1), Some(1), Some(2), Some(2), Some(3)]);
    assert_eq!(fixture.promised_workers().0, 3);
    let explanation = fixture.explanation(5);
    assert!(matches!(explanation.waits_for, WaitReason::PromisedWorker { .. }));
    let workers = &explanation.promised_dynamic_workers;
    assert_eq!((workers.workers, workers.total_fits, workers.remainder_fits), (3, 3, 1));
    assert_eq!(workers.shortages, [("cpu".to_owned(), 2)]);
}

#[test]
fn room_of_a_cancelled_request_is_bound_to_another_and_one_worker_is_withdrawn() {
    // given
    let mut fixture = Fixture::promising_total(4);
    for id in 1..=5 {
        fixture.request(id, &cores(2));
    }
    fixture.log.take();

    // when
    fixture.cancel(1);

    // then: nothing is unbound, so each binding stays
    assert_eq!(fixture.asked(), NONE);
    assert_eq!(fixture.bound_to(5), Some(3));

    // when: the last one on a worker ends
    fixture.cancel(5);

    // then
    fixture.expect(&["withdraw 3"]);
    assert_eq!(fixture.promised_workers().0, 2);

    // when: a request of the size of the room that was left
    fixture.request(6, &cores(2));

    // then
    assert_eq!(fixture.asked(), NONE);
    assert_eq!(fixture.bound_to(6), Some(1));
}

#[test]
fn room_that_becomes_free_is_bound_to_the_oldest_unbound_request_that_fits() {
    // given: request 2 found no room, and its worker was declined
    let mut fixture = Fixture::promising_total(4);
    fixture.request(1, &cores(4));
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Declined));
    fixture.request(2, &cores(3));
    assert_eq!(fixture.bound_to(2), None);

    // when
    fixture.cancel(1);

    // then: the worker is kept for request 2
    assert_eq!(fixture.bound_to(2), Some(1));
    assert_eq!(fixture.promised_workers().0, 1);
}

#[test]
fn request_is_bound_to_the_oldest_promised_worker_that_fits() {
    // given: three workers, of which the first and the last have room for one core
    let mut fixture = Fixture::promising_total(4);
    fixture.request(1, &cores(3));
    fixture.request(2, &cores(4));
    fixture.request(3, &cores(3));

    // when, then
    fixture.request(4, &cores(1));
    assert_eq!(fixture.bound_to(4), Some(1));
    fixture.request(5, &cores(1));
    assert_eq!(fixture.bound_to(5), Some(3));
    fixture.request(6, &cores(1));
    assert_eq!(fixture.bound_to(6), Some(4));
}

#[test]
fn promised_slot_that_fits_is_bound_before_a_cut() {
    // given
    let mut fixture = Fixture::promising_total(4);
    fixture.request(1, &cores(1));
    fixture.promise_next(&[cores(4), cores(4)]);
    fixture.request(2, &cores(4));

    // when, then
    fixture.request(3, &cores(1));
    assert_eq!((fixture.bound_to(2), fixture.bound_to(3)), (Some(2), Some(2)));
    fixture.request(4, &cores(1));
    assert_eq!(fixture.bound_to(4), Some(1));
}

#[test]
fn request_of_unknown_size_is_bound_to_a_default_slot() {
    // given
    let mut fixture = Fixture::not_started(patient());
    let worker = DynamicResources::new(cores(4)).with_default_slot(cores(2));
    fixture.actions.answer_allocations(Ok(WorkerPromise::Total(worker)));
    fixture.start(1);

    // when
    for id in 1..=3 {
        fixture.request(id, &ResourceProfile::UNKNOWN);
    }

    // then
    assert_eq!(fixture.asked(), [1, 2]);
    assert_eq!(fixture.promises(), [(1, Some(1)), (1, Some(2)), (2, Some(3))]);
    let promised: Vec<_> = fixture
        .manager
        .promised_slots()
        .map(|slot| slot.resource_profile().clone())
        .collect();
    assert_eq!(promised, [cores(2), cores(2), cores(2)]);
}

#[test]
fn total_that_does_not_fit_its_request_counts_as_declined() {
    // given
    let mut fixture = Fixture::promising_total(4);

    // when
    fixture.request(1, &cores(5));

    // then: the worker is surplus at once
    assert_eq!(fixture.bound_to(1), None);
    fixture.expect(&[&format!("ask 1 for {}", cores(5)), "withdraw 1"]);
}

// Workers that come.

#[test]
fn requests_of_a_kept_promise_are_bound_anew() {
    // given: two workers for three requests; the oldest request is bound to the first
    let mut fixture = Fixture::promising_total(4);
    for id in 1..=3 {
        fixture.request(id, &cores(2));
    }
    assert_eq!(fixture.asked(), [1, 2]);

    // when: the second worker registers first
    fixture.register_for(2, "tm", 7, &total(4));

    // then: the oldest that fit are served, and the third is bound to the other worker
    assert_eq!(fixture.status(1), Some(granted(&SlotId::dynamic("tm", 0))));
    assert_eq!(fixture.status(2), Some(granted(&SlotId::dynamic("tm", 1))));
    assert_eq!(fixture.bound_to(3), Some(1));
    assert_eq!(fixture.asked(), NONE);
}

#[test]
fn worker_without_a_name_keeps_the_promise_most_like_it() {
    // given: three workers of 4, 8 and 8 cores
    let mut fixture = Fixture::promising_total(8);
    fixture.actions.answer_next_allocation(Ok(promised(4)));
    fixture.request(1, &cores(4));
    fixture.request(2, &cores(8));
    fixture.request(3, &cores(8));

    // when: one with 8 cores comes, and serves the first request
    fixture.register("a", 7, &total(8));

    // then: it keeps the promise of the oldest such worker, whose request goes without
    assert_eq!(fixture.status(1), Some(granted(&SlotId::dynamic("a", 0))));
    assert_eq!(fixture.bound_to(3), Some(3));
    assert_eq!(fixture.bound_to(2), Some(4));
    assert_eq!(fixture.promised_workers().0, 2);
}

#[test]
fn larger_worker_without_a_name_stands_for_the_oldest_that_it_covers() {
    // given: workers of 8, 4 and 2 cores
    let mut fixture = Fixture::promising_total(8);
    fixture.request(1, &cores(8));
    for (id, size) in [(2, 4), (3, 2)] {
        fixture.actions.answer_next_allocation(Ok(promised(size)));
        fixture.request(id, &cores(size));
    }

    // when: neither total is that of the worker
    fixture.register("a", 7, &total(5));

    // then: it serves the request that fits, and the promise of 4 cores has ended, not that of 2
    assert_eq!(fixture.status(2), Some(granted(&SlotId::dynamic("a", 0))));
    assert_eq!(fixture.promises(), [(1, Some(1)), (3, Some(3))]);
    assert_eq!(fixture.promised_workers().0, 2);
}

#[test]
fn larger_worker_without_a_name_stands_for_one_that_it_covers_and_serves_another_request() {
    // given: workers of 8 and 4 cores, the first for a request of 5
    let mut fixture = Fixture::promising_total(8);
    fixture.request(1, &cores(5));
    fixture.actions.answer_next_allocation(Ok(promised(4)));
    fixture.request(2, &cores(4));
    fixture.log.take();

    // when: the worker that comes has neither total, and serves the first request
    fixture.register("a", 7, &total(5));

    // then: the promise of 4 cores has ended, not that of 8, which has room for the other request
    assert_eq!(fixture.status(1), Some(granted(&SlotId::dynamic("a", 0))));
    assert_eq!(fixture.promises(), [(1, Some(2))]);
    assert_eq!((fixture.promised_workers().0, fixture.asked()), (1, vec![]));
}

#[test]
fn named_worker_whose_promise_another_kept_keeps_one_of_an_equal_total() {
    // given: workers of 4, 8 and 4 cores; another one has come in place of the first
    let mut fixture = Fixture::promising_total(4);
    fixture.request(1, &cores(4));
    fixture.actions.answer_next_allocation(Ok(promised(8)));
    fixture.request(2, &cores(8));
    fixture.request(3, &cores(4));
    fixture.register("a", 7, &total(4));
    assert_eq!((fixture.bound_to(2), fixture.bound_to(3)), (Some(2), Some(3)));

    // when: the worker comes that was requested first, with more
    fixture.register_for(1, "b", 8, &total(9));

    // then: it stands for the third, and does not end the promise that it could keep, too
    assert_eq!(fixture.status(2), Some(granted(&SlotId::dynamic("b", 0))));
    assert_eq!(fixture.bound_to(3), Some(2));
    assert_eq!(fixture.promised_workers().0, 1);
}

#[test]
fn static_worker_without_a_name_leaves_the_promise_of_a_total() {
    // given
    let mut fixture = Fixture::promising_total(4);
    fixture.request(1, &cores(2));
    fixture.request(2, &cores(2));
    fixture.log.take();

    // when
    fixture.register("a", 7, &free_report("a", &[cores(2)]));

    // then: request 2 still needs the worker
    assert_eq!(fixture.status(1), Some(granted(&slot("a", 0))));
    assert_eq!(fixture.promises(), [(1, Some(2))]);

    // when: a static worker names it
    fixture.register_for(1, "b", 8, &free_report("b", &[cores(2)]));

    // then
    assert_eq!(fixture.status(2), Some(granted(&slot("b", 0))));
    assert_eq!(fixture.promised_workers(), (0, 0));
}

#[test]
fn promised_worker_that_fails_or_does_not_come_is_requested_again() {
    // given
    let mut fixture = Fixture::not_started(patient().with_worker_registration_timeout(10 * SECOND));
    fixture.actions.answer_allocations(Ok(promised(4)));
    fixture.start(1);
    fixture.request(1, &cores(1));
    fixture.request(2, &cores(1));
    assert_eq!(fixture.asked(), [1]);

    // when
    let failed = fixture.worker_failed(1);

    // then: it counts as one slot, because it has no default slot
    assert_eq!(failed, WorkerFailedOutcome::Forgotten { promised_slots: 1 });
    assert_eq!(fixture.asked(), [2]);
    assert_eq!((fixture.bound_to(1), fixture.bound_to(2)), (Some(2), Some(2)));

    // when
    fixture.advance(10 * SECOND);

    // then
    assert_eq!(fixture.asked(), [3]);
    assert_eq!((fixture.bound_to(1), fixture.bound_to(2)), (Some(3), Some(3)));
}

#[test]
fn suspension_drops_promised_workers() {
    // given
    let mut fixture = Fixture::promising_total(4);
    fixture.request(1, &cores(1));

    // when
    fixture.suspend();
    fixture.start(2);

    // then
    assert_eq!(fixture.promised_workers(), (0, 0));
    assert!(fixture.manager.overview().is_empty());
}

// Descriptions, limits and reserves.

#[test]
fn worker_of_a_dynamic_description_is_asked_for_if_its_total_fits() {
    // given
    let mut fixture = Fixture::promising(described(8));

    // when, then: more than a default slot
    fixture.request(1, &cores(7));
    assert_eq!(fixture.asked(), [1]);
    assert_eq!(fixture.promised_workers(), (1, 4));
    fixture.request(2, &ResourceProfile::UNKNOWN);
    assert_eq!(fixture.bound_to(2), Some(2));
    fixture.log.take();

    // when, then: more than the total
    fixture.request(3, &cores(9));
    assert_eq!(fixture.asked(), NONE);
    let explanation = fixture.explanation(3);
    assert_eq!(explanation.waits_for, WaitReason::NothingElse);
}

#[test]
fn request_that_a_promised_total_fits_is_not_unfulfillable() {
    // given: workers as described have too little, but a larger one is promised
    let mut fixture = Fixture::not_started(described(2));
    fixture.actions.answer_next_allocation(Ok(promised(8)));
    fixture.actions.answer_withdrawals(Withdrawal::TooLate);
    fixture.start(1);
    fixture.set_fail_unfulfillable(true);
    fixture.request(1, &cores(1));

    // when, then
    assert_eq!(fixture.request(2, &cores(8)), AllocationStatus::Waiting);

    // when: the promised worker does not come
    fixture.log.take();
    fixture.worker_failed(1);

    // then
    assert_eq!(fixture.status(2), None);
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn limits_count_promised_workers_by_their_totals() {
    // given
    let policy = WorkerPolicy::new(dynamic(4)).with_max_total_cpu_cores(Some(10.0));
    let mut fixture = Fixture::promising(patient().with_workers(policy));
    fixture.request(1, &cores(4));
    fixture.request(2, &cores(4));
    fixture.log.take();

    // when: a third worker would have 12 cores in all
    fixture.request(3, &cores(4));

    // then
    assert_eq!(fixture.asked(), NONE);
    let explanation = fixture.explanation(3);
    assert_eq!(explanation.waits_for, WaitReason::Limit { limit: Limit::CpuCores });

    // when: one is cancelled, its worker goes and makes room
    fixture.cancel(1);

    // then
    assert_eq!(fixture.promised_workers(), (2, 4));
    assert_eq!(fixture.bound_to(3), Some(1));
}

#[test]
fn promise_beyond_a_limit_is_declined_and_withdrawn() {
    // given
    let policy = WorkerPolicy::new(dynamic(4)).with_max_total_cpu_cores(Some(10.0));
    let mut fixture = Fixture::promising(patient().with_workers(policy));
    fixture.actions.answer_next_allocation(Ok(promised(11)));

    // when
    fixture.request(1, &cores(4));

    // then
    fixture.expect(&[&format!("ask 1 for {}", cores(4)), "withdraw 1"]);
    assert_eq!(fixture.promised_workers(), (0, 0));
}

#[test]
fn worker_that_keeps_a_promise_is_admitted_at_the_limit() {
    // given
    let policy = WorkerPolicy::new(dynamic(4)).with_max_slots(Some(2));
    let mut fixture = Fixture::promising(patient().with_workers(policy));
    fixture.request(1, &cores(4));

    // when, then: it keeps the only promise
    let worker = SlotReport::of_dynamic(DynamicResources::new(cores(4)).with_default_slot(cores(2)), vec![]);
    fixture.register("a", 7, &worker);
    assert_eq!(fixture.promised_workers(), (0, 0));

    // when, then: another is beyond the limit
    let connection = TaskExecutorConnection::new("b", instance(8), fixture.gateway());
    let refused = fixture.try_register(connection, &worker);
    assert_eq!(refused, Err(RegistrationError::LimitReached { limit: Limit::Slots }));
}

#[test]
fn minimum_counts_promised_workers_as_their_default_slots() {
    // given
    let policy = WorkerPolicy::new(dynamic(8)).with_min_slots(10);
    let mut fixture = Fixture::not_started(patient().with_workers(policy));
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));

    // when
    fixture.start(1);

    // then: three workers of four default slots
    assert_eq!(fixture.asked(), [1, 2, 3]);
    assert_eq!(fixture.promised_workers(), (3, 12));

    // when: a request takes room of one
    fixture.request(1, &cores(8));

    // then
    assert_eq!(fixture.asked(), NONE);
    assert_eq!(fixture.bound_to(1), Some(1));
}

#[test]
fn redundancy_counts_the_default_slots_that_remain_of_promised_workers() {
    // given: one spare worker of four default slots beside what is used
    let policy = WorkerPolicy::new(dynamic(8)).with_redundant_task_managers(1);
    let mut fixture = Fixture::promising(patient().with_workers(policy));
    let worker = SlotReport::of_dynamic(DynamicResources::new(cores(8)).with_default_slot(cores(2)), vec![]);
    fixture.register("a", 7, &worker);
    assert_eq!(fixture.asked(), NONE);

    // when: three default slots remain
    fixture.request(1, &cores(1));

    // then
    assert_eq!(fixture.asked(), [1]);

    // when: with those of the promised worker, four remain
    fixture.request(2, &cores(7));

    // then
    assert_eq!(fixture.asked(), NONE);
    assert_eq!(fixture.promised_workers(), (1, 4));
}

#[test]
fn description_of_a_dynamic_worker_is_checked() {
    let total = cores(8);
    let worker = WorkerDescription::dynamic(&total, 3).expect("divisible");
    assert!(worker.is_dynamic());
    assert_eq!((worker.slots(), worker.total()), (3, &total));
    assert_eq!(worker.slot_profile().cpu_cores(), Some(2.666_666_66));

    assert_eq!(
        WorkerDescription::dynamic(&total, 0),
        Err(WorkerDescriptionError::NoSlots)
    );
    for total in [ResourceProfile::ANY, ResourceProfile::ZERO] {
        assert_eq!(
            WorkerDescription::dynamic(&total, 2),
            Err(WorkerDescriptionError::IndivisibleTotal {
                slots: 2,
                total: Box::new(total)
            })
        );
    }
}
