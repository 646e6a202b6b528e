//! Matching strategies on dynamic workers: from which of several workers a slot is cut.

use std::cmp::Ordering;
use std::sync::Arc;

use slot_manager::matching::{Candidate, SlotMatching, SlotMatchingStrategy, SlotOrder};
use slot_manager::outcome::{AllocationStatus, UnblockOutcome};
use slot_manager::{DynamicResources, ResourceProfile, SlotId, SlotReport, SlotStatus};

use crate::common::{Fixture, allocation, cores, free_report, granted, job, patient, slot};

fn fixture(strategy: SlotMatchingStrategy) -> Fixture {
    Fixture::with(patient().with_slot_matching_strategy(strategy))
}

/// Returns a profile with these cores, bytes of memory and GPUs.
fn amounts(cores: u32, memory: u64, gpus: u32) -> ResourceProfile {
    ResourceProfile::builder()
        .cpu_cores(f64::from(cores))
        .managed_memory_bytes(memory)
        .extended_resource("gpu", f64::from(gpus))
        .build()
        .expect("small amounts")
}

/// Registers dynamic workers `a`, `b`, ... with these totals.
fn register(fixture: &mut Fixture, totals: &[ResourceProfile]) {
    for (name, total) in ('a'..='z').zip(totals) {
        fixture.register(
            &name.to_string(),
            u128::from(u32::from(name)),
            &SlotReport::of_dynamic(total.clone(), vec![]),
        );
    }
}

/// Requests a slot and returns the worker that serves it.
#[track_caller]
fn served_by(fixture: &mut Fixture, id: u128, required: &ResourceProfile) -> String {
    match fixture.request(id, required) {
        AllocationStatus::Granted { slot_id } => slot_id.resource_id().to_string(),
        other => other.to_string(),
    }
}

/// Requests slots with these cores for allocations 1, 2, ... and returns the workers that serve them.
#[track_caller]
fn served_by_each(fixture: &mut Fixture, cores_of_slots: &[u32]) -> String {
    let served = (1..).zip(cores_of_slots);
    served.map(|(id, it)| served_by(fixture, id, &cores(*it))).collect()
}

#[test]
fn least_utilization_spreads_cuts_over_the_workers() {
    let mut fixture = fixture(SlotMatchingStrategy::LeastUtilization);
    register(&mut fixture, &[cores(8), cores(4), cores(8)]);

    // Of equal shares the lowest place, then 1/8, 2/4, 1/8, and so on.
    assert_eq!(served_by_each(&mut fixture, &[1, 2, 1, 1, 1, 4]), "abcaca");
}

#[test]
fn most_utilization_packs_cuts_on_the_workers() {
    let mut fixture = fixture(SlotMatchingStrategy::MostUtilization);
    register(&mut fixture, &[cores(8), cores(4), cores(8)]);
    assert_eq!(served_by_each(&mut fixture, &[5, 3, 4, 1]), "aabc");

    // Five of eight cores are more than one of eight, but five do not fit beside them.
    fixture.free(&SlotId::dynamic("a", 1), 2);
    assert_eq!(served_by(&mut fixture, 5, &cores(5)), "c");
    assert_eq!(served_by(&mut fixture, 6, &cores(2)), "c");
    assert_eq!(served_by(&mut fixture, 7, &cores(3)), "a");
}

#[test]
fn best_fit_takes_the_most_utilized_worker() {
    let mut fixture = fixture(SlotMatchingStrategy::BestFit);
    register(&mut fixture, &[cores(8), cores(8)]);
    assert_eq!(served_by_each(&mut fixture, &[6, 6]), "ab");
    fixture.free(&SlotId::dynamic("a", 0), 1);

    assert_eq!(served_by(&mut fixture, 3, &cores(1)), "b");
}

#[test]
fn the_scarcest_resource_decides_how_much_is_used() {
    let mut fixture = fixture(SlotMatchingStrategy::LeastUtilization);
    register(
        &mut fixture,
        &[amounts(8, 100, 4), amounts(8, 100, 4), amounts(8, 100, 0)],
    );
    // One of 8 cores, but three of 4 GPUs.
    assert_eq!(served_by(&mut fixture, 1, &amounts(1, 0, 3)), "a");
    assert_eq!(served_by(&mut fixture, 2, &amounts(2, 60, 0)), "b");
    assert_eq!(served_by(&mut fixture, 3, &amounts(4, 0, 0)), "c");

    // Half of c is used, 60 % of b and 75 % of a. That c has no GPUs does not count.
    assert_eq!(served_by(&mut fixture, 4, &amounts(1, 0, 0)), "c");
    assert_eq!(served_by(&mut fixture, 5, &amounts(1, 0, 0)), "b");
}

#[test]
fn shares_of_the_same_64th_are_equal() {
    let mut fixture = fixture(SlotMatchingStrategy::LeastUtilization);
    register(&mut fixture, &[cores(128), cores(128)]);
    assert_eq!(served_by_each(&mut fixture, &[3]), "a");
    assert_eq!(served_by(&mut fixture, 2, &cores(2)), "b");

    // 3/128 and 2/128 are one 64th.
    assert_eq!(served_by(&mut fixture, 3, &cores(1)), "a");
    // 4/128 are two.
    assert_eq!(served_by(&mut fixture, 4, &cores(1)), "b");
}

#[test]
fn worker_without_limits_counts_as_unused() {
    let mut fixture = fixture(SlotMatchingStrategy::LeastUtilization);
    register(&mut fixture, &[cores(8), ResourceProfile::ANY]);

    assert_eq!(served_by_each(&mut fixture, &[1, 1, 100, 1]), "abbb");
}

#[test]
fn reported_free_resources_count_as_used_beyond_them() {
    let mut fixture = fixture(SlotMatchingStrategy::LeastUtilization);
    register(&mut fixture, &[cores(8), cores(8)]);
    assert_eq!(served_by_each(&mut fixture, &[1, 2]), "ab");

    // when: with one core in use, worker a has only four left
    let resources = DynamicResources::new(cores(8)).with_free(cores(4));
    let held = SlotStatus::allocated(SlotId::dynamic("a", 0), cores(1), allocation(1), job(1));
    fixture.report(
        u128::from(u32::from('a')),
        &SlotReport::of_dynamic(resources, vec![held]),
    );

    // then
    assert_eq!(served_by(&mut fixture, 3, &cores(1)), "b");
}

#[test]
fn worker_that_may_be_cut_again_has_the_share_it_has_then() {
    let mut fixture = fixture(SlotMatchingStrategy::MostUtilization);
    register(&mut fixture, &[cores(8), cores(8)]);
    assert_eq!(served_by_each(&mut fixture, &[2, 3]), "aa");
    fixture.block("a");
    assert_eq!(served_by(&mut fixture, 3, &cores(4)), "b");
    fixture.free(&SlotId::dynamic("a", 0), 1);
    assert_eq!(fixture.unblock("a"), UnblockOutcome::Unblocked);

    // 3/8 of a, 4/8 of b
    assert_eq!(served_by(&mut fixture, 4, &cores(1)), "b");
}

#[test]
fn static_slot_that_fits_goes_before_any_cut() {
    for strategy in [SlotMatchingStrategy::BestFit, SlotMatchingStrategy::LeastUtilization] {
        let mut fixture = fixture(strategy);
        register(&mut fixture, &[cores(2)]);
        fixture.register("static", 8, &free_report("static", &[cores(9), cores(9)]));
        fixture.request(1, &cores(9));

        assert_eq!(fixture.request(2, &cores(2)), granted(&slot("static", 1)));
    }
}

/// A strategy that is never asked about dynamic workers.
#[derive(Debug)]
struct Own(SlotOrder);

impl SlotMatching for Own {
    fn order(&self) -> SlotOrder {
        self.0
    }

    fn compare(&self, _: &ResourceProfile, _: &Candidate<'_>, _: &Candidate<'_>) -> Ordering {
        panic!("there are no two candidates")
    }
}

#[test]
fn own_strategy_decides_by_its_order() {
    for (order, expected) in [
        (SlotOrder::Free, "aba"),
        (SlotOrder::LeastUtilized, "abc"),
        (SlotOrder::MostUtilized, "abb"),
    ] {
        let mut fixture = fixture(SlotMatchingStrategy::Custom(Arc::new(Own(order))));
        register(&mut fixture, &[cores(8), cores(8), cores(8)]);
        assert_eq!(served_by_each(&mut fixture, &[4, 5, 1]), expected, "{order:?}");
    }
}
