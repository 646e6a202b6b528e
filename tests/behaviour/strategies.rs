//! Matching strategies: which of several fitting free slots a request gets. First fit is in
//! `matching`. Comments of the form `B.n` name the defects of FLINK-5810 that a test guards
//! against.

use std::cmp::Ordering;
use std::ops::RangeInclusive;
use std::sync::atomic::{self, AtomicUsize};
use std::sync::{Arc, Mutex};

use slot_manager::matching::{Candidate, SlotMatching, SlotMatchingStrategy, SlotOrder};
use slot_manager::outcome::AllocationStatus;
use slot_manager::{ResourceProfile, SlotReport, SlotStatus};

use crate::common::{Fixture, allocation, free_report, granted, in_flight, job, patient, profile, report, slot, small};

fn fixture(strategy: SlotMatchingStrategy) -> Fixture {
    Fixture::with(patient().with_slot_matching_strategy(strategy))
}

fn best_fit() -> Fixture {
    fixture(SlotMatchingStrategy::BestFit)
}

fn packing() -> Fixture {
    fixture(SlotMatchingStrategy::MostUtilization)
}

fn custom(strategy: impl SlotMatching + Send + Sync + 'static) -> Fixture {
    fixture(SlotMatchingStrategy::Custom(Arc::new(strategy)))
}

fn spread_out() -> Fixture {
    fixture(SlotMatchingStrategy::LeastUtilization)
}

fn wide() -> ResourceProfile {
    profile(4.0, 400)
}

/// Small, with these amounts of extended resources.
fn small_with(extended: &[(&str, f64)]) -> ResourceProfile {
    let mut builder = ResourceProfile::builder()
        .cpu_cores(1.0)
        .task_heap_memory_mebibytes(100);
    for (name, amount) in extended {
        builder = builder.extended_resource(*name, *amount);
    }
    builder.build().expect("valid amounts")
}

/// Requests a slot for each of `ids` and returns the slots that serve them.
fn served_by(fixture: &mut Fixture, ids: RangeInclusive<u128>) -> Vec<String> {
    ids.map(|id| match fixture.request(id, &small()) {
        AllocationStatus::Granted { slot_id } | AllocationStatus::InFlight { slot_id } => slot_id.to_string(),
        AllocationStatus::Waiting => "none".to_owned(),
    })
    .collect()
}

/// Requests a slot for each of `ids` and returns the workers that serve them.
fn workers_of(fixture: &mut Fixture, ids: RangeInclusive<u128>) -> Vec<String> {
    let slots = served_by(fixture, ids).into_iter();
    slots
        .map(|slot| slot.rsplit_once('_').expect("a worker and a number").0.to_owned())
        .collect()
}

// Best fit.

/// The second of two slots serves a request for `required`, although the first has been free for
/// longer.
#[track_caller]
fn assert_second_fits_better(first: ResourceProfile, second: ResourceProfile, required: &ResourceProfile) {
    let mut fixture = best_fit();
    fixture.register_free("tm", 1, &[first, second]);
    assert_eq!(fixture.request(1, required), granted(&slot("tm", 1)));
}

#[test]
fn best_fit_takes_the_slot_that_has_the_least_beyond_the_request() {
    assert_second_fits_better(wide(), profile(2.0, 200), &small());
}

#[test]
fn best_fit_spares_extended_resources_before_memory_and_cores() {
    assert_second_fits_better(small_with(&[("gpu", 1.0)]), profile(64.0, 100_000), &small());
}

#[test]
fn best_fit_spares_memory_before_cores() {
    assert_second_fits_better(profile(1.0, 101), profile(64.0, 100), &small());
}

#[test]
fn best_fit_spares_cores_last() {
    assert_second_fits_better(profile(1.1, 100), small(), &small());
}

#[test]
fn best_fit_adds_all_kinds_of_memory() {
    // given
    let managed = ResourceProfile::builder()
        .cpu_cores(1.0)
        .task_heap_memory_mebibytes(100)
        .managed_memory_mebibytes(60)
        .build()
        .expect("valid amounts");

    // then
    assert_second_fits_better(managed, profile(1.0, 150), &small());
}

#[test]
fn best_fit_adds_all_extended_resources() {
    let first = small_with(&[("gpu", 1.0), ("fpga", 1.0)]);
    assert_second_fits_better(first, small_with(&[("gpu", 1.5)]), &small());
}

#[test]
fn best_fit_counts_only_the_amounts_beyond_the_request() {
    let gpus = small_with(&[("gpu", 2.0)]);
    let second = gpus.checked_add(&profile(8.0, 1000)).expect("countable");
    assert_second_fits_better(small_with(&[("gpu", 3.0)]), second, &gpus);
}

#[test]
fn best_fit_takes_a_slot_of_any_profile_last() {
    // given
    let mut fixture = best_fit();
    fixture.register_free("tm", 1, &[ResourceProfile::ANY, small_with(&[("gpu", 1e9)])]);

    // when, then
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 1)));
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 0)));
}

#[test]
fn best_fit_gives_a_request_of_unknown_needs_the_smallest_slot() {
    assert_second_fits_better(wide(), small(), &ResourceProfile::UNKNOWN);
}

#[test]
fn best_fit_takes_the_longest_free_of_slots_that_fit_equally_well() {
    // given: different profiles, and as much memory beyond the request
    let managed = ResourceProfile::builder()
        .cpu_cores(1.0)
        .task_heap_memory_mebibytes(100)
        .managed_memory_mebibytes(50)
        .build()
        .expect("valid amounts");
    let mut fixture = best_fit();
    fixture.register_free("tm", 1, &[managed, profile(1.0, 150)]);

    // when, then: the slot that was freed is behind the other slot
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
    fixture.free(&slot("tm", 0), 1);
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 1)));
}

#[test]
fn best_fit_takes_the_longest_free_of_equal_slots() {
    // given
    let mut fixture = best_fit();
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.request(1, &small());
    fixture.free(&slot("tm", 0), 1);

    // when, then
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 1)));
}

// Least utilization.

/// B.29
#[test]
fn first_fit_fills_one_task_manager_after_the_other_and_least_utilization_spreads() {
    for (strategy, expected) in [
        (SlotMatchingStrategy::FirstFit, ["a", "a", "b", "b", "c", "c"]),
        (SlotMatchingStrategy::LeastUtilization, ["a", "b", "c", "a", "b", "c"]),
    ] {
        let mut fixture = fixture(strategy);
        for (worker, instance) in [("a", 1), ("b", 2), ("c", 3)] {
            fixture.register_free(worker, instance, &[small(), small()]);
        }
        assert_eq!(workers_of(&mut fixture, 1..=6), expected);
    }
}

/// B.29: the share of used slots counts, not their number.
#[test]
fn least_utilization_compares_shares() {
    // given: one of two slots used on `few`, two of six on `many`
    let mut fixture = spread_out();
    fixture.register("few", 1, &report("few", &[Some(101), None]));
    fixture.register(
        "many",
        2,
        &report("many", &[Some(102), Some(103), None, None, None, None]),
    );

    // when, then: 2/6 < 1/2; 3/6 = 1/2, and `few` has been free longer; then 3/6 < 2/2
    assert_eq!(workers_of(&mut fixture, 1..=5), ["many", "few", "many", "many", "many"]);
}

/// B.29
#[test]
fn least_utilization_counts_slots_in_flight_as_used() {
    // given
    let mut fixture = spread_out();
    fixture.register_by_hand("a", 1, &report("a", &[None, None]));
    fixture.register_by_hand("b", 2, &report("b", &[None, None]));

    // when, then
    assert_eq!(workers_of(&mut fixture, 1..=4), ["a", "b", "a", "b"]);
}

/// B.29: the share changes with the slots.
#[test]
fn least_utilization_follows_grants_that_end_and_slots_that_come_and_go() {
    // given: 1/4 < 2/4; where shares are equal, the slots of `b` have been free for longer
    let mut fixture = spread_out();
    fixture.register("b", 2, &report("b", &[Some(103), None, None, None]));
    fixture.register("a", 1, &report("a", &[Some(101), Some(102), None, None]));
    assert_eq!(workers_of(&mut fixture, 1..=1), ["b"]);

    // when, then: a grant ends on `a`: 1/4 < 2/4
    fixture.free(&slot("a", 0), 101);
    assert_eq!(workers_of(&mut fixture, 2..=2), ["a"]);

    // when, then: `b` shrinks: 2/4 < 2/3
    fixture.report(2, &report("b", &[Some(103), Some(1), None]));
    assert_eq!(workers_of(&mut fixture, 3..=3), ["a"]);

    // when, then: a grant ends on `a`, so that it has 2/4; `b` grows: 2/5 < 2/4
    fixture.free(&slot("a", 1), 102);
    fixture.report(2, &report("b", &[Some(103), Some(1), None, None, None]));
    assert_eq!(workers_of(&mut fixture, 4..=4), ["b"]);
}

/// B.29
#[test]
fn least_utilization_chooses_among_fitting_slots() {
    // given: `unused` has no slot that fits
    let mut fixture = spread_out();
    fixture.register("unused", 1, &free_report("unused", &[small(), small()]));
    let wide_slots = SlotReport::new(vec![
        SlotStatus::allocated(slot("used", 0), wide(), allocation(101), job(1)),
        SlotStatus::free(slot("used", 1), wide()),
    ]);
    fixture.register("used", 2, &wide_slots);

    // when, then
    assert_eq!(fixture.request(1, &wide()), granted(&slot("used", 1)));
    assert_eq!(fixture.request(2, &wide()), AllocationStatus::Waiting);
    assert_eq!(workers_of(&mut fixture, 3..=4), ["unused", "unused"]);
}

/// Each task manager has the only free slot of its profile.
#[test]
fn least_utilization_compares_task_managers_over_different_profiles() {
    // given
    let mut fixture = spread_out();
    fixture.register_free("unused", 1, &[small()]);
    let used = SlotReport::new(vec![
        SlotStatus::allocated(slot("used", 0), wide(), allocation(101), job(1)),
        SlotStatus::free(slot("used", 1), wide()),
    ]);
    fixture.register("used", 2, &used);

    // when, then
    assert_eq!(fixture.request(1, &small()), granted(&slot("unused", 0)));
}

/// B.29
#[test]
fn least_utilization_takes_the_longest_free_slot_of_its_task_manager() {
    // given
    let mut fixture = spread_out();
    fixture.register("tm", 7, &report("tm", &[Some(101), None, None]));
    fixture.free(&slot("tm", 0), 101);

    // when, then
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 1)));
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 2)));
    assert_eq!(fixture.request(3, &small()), granted(&slot("tm", 0)));
}

/// B.42 (v)
#[test]
fn task_manager_without_slots_has_a_utilization() {
    // given
    let mut fixture = spread_out();
    fixture.register("empty", 1, &report("empty", &[]));
    fixture.register("used", 2, &report("used", &[Some(9), None]));

    // when, then
    assert_eq!(fixture.request(1, &small()), granted(&slot("used", 1)));

    // when, then
    fixture.report(1, &report("empty", &[None]));
    assert_eq!(fixture.request(2, &small()), granted(&slot("empty", 0)));

    // when, then
    fixture.report(1, &report("empty", &[]));
    assert_eq!(fixture.request(3, &small()), AllocationStatus::Waiting);
}

// Most utilization.

#[test]
fn most_utilization_packs() {
    // given
    let mut fixture = packing();
    fixture.register("a", 1, &report("a", &[None, None]));
    fixture.register("b", 2, &report("b", &[Some(101), None, None]));

    // when, then
    assert_eq!(served_by(&mut fixture, 1..=4), ["b_1", "b_2", "a_0", "a_1"]);
}

#[test]
fn most_utilization_compares_shares() {
    // given: two of six used on `many`, one of two on `few`
    let mut fixture = packing();
    fixture.register(
        "many",
        1,
        &report("many", &[Some(101), Some(102), None, None, None, None]),
    );
    fixture.register("few", 2, &report("few", &[Some(103), None]));

    // when, then
    assert_eq!(served_by(&mut fixture, 1..=2), ["few_1", "many_2"]);
}

#[test]
fn most_utilization_takes_the_longest_free_of_equal_shares() {
    // given
    let mut fixture = packing();
    fixture.register_free("a", 1, &[small()]);
    fixture.register_free("b", 2, &[small()]);
    fixture.request(1, &small());
    fixture.free(&slot("a", 0), 1);

    // when, then
    assert_eq!(fixture.request(2, &small()), granted(&slot("b", 0)));
}

#[test]
fn most_utilization_counts_slots_in_flight_as_used() {
    // given
    let mut fixture = packing();
    fixture.register_free("a", 1, &[small(), small()]);
    fixture.register_by_hand("b", 2, &free_report("b", &[wide(), small(), small()]));

    // when, then
    assert_eq!(fixture.request(1, &wide()), in_flight(&slot("b", 0)));
    assert_eq!(fixture.request(2, &small()), in_flight(&slot("b", 1)));
}

#[test]
fn most_utilization_follows_grants_that_end() {
    // given
    let mut fixture = packing();
    fixture.register("a", 1, &report("a", &[Some(101), None]));
    fixture.register("b", 2, &report("b", &[Some(102), None]));
    fixture.free(&slot("a", 0), 101);

    // when, then
    assert_eq!(fixture.request(1, &small()), granted(&slot("b", 1)));
}

#[test]
fn most_utilization_chooses_among_fitting_slots() {
    // given
    let mut fixture = packing();
    fixture.register_free("unused", 1, &[wide()]);
    fixture.register("used", 2, &report("used", &[Some(101), None]));

    // when, then
    assert_eq!(fixture.request(1, &wide()), granted(&slot("unused", 0)));
}

/// Each task manager has the only free slot of its profile.
#[test]
fn most_utilization_compares_task_managers_over_different_profiles() {
    // given
    let mut fixture = packing();
    fixture.register_free("unused", 1, &[small(), small()]);
    let used = SlotReport::new(vec![
        SlotStatus::allocated(slot("used", 0), wide(), allocation(101), job(1)),
        SlotStatus::free(slot("used", 1), wide()),
    ]);
    fixture.register("used", 2, &used);

    // when, then
    assert_eq!(fixture.request(1, &small()), granted(&slot("used", 1)));
}

// All strategies.

fn all() -> [SlotMatchingStrategy; 5] {
    [
        SlotMatchingStrategy::FirstFit,
        SlotMatchingStrategy::BestFit,
        SlotMatchingStrategy::LeastUtilization,
        SlotMatchingStrategy::MostUtilization,
        SlotMatchingStrategy::Custom(Arc::new(Newest)),
    ]
}

#[test]
fn best_fit_prefers_a_slot_that_was_offered_later_and_wastes_less() {
    // given: the first small slot is taken, so the wide one has been free longer than the other
    let mut fixture = best_fit();
    fixture.register_free("tm", 1, &[small(), wide(), small()]);
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));

    // when, then
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 2)));
}

#[test]
fn no_strategy_takes_a_slot_that_does_not_fit() {
    for strategy in all() {
        let mut fixture = fixture(strategy);
        fixture.register_free("tm", 1, &[profile(4.0, 99), profile(0.9, 400)]);
        assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    }
}

#[test]
fn no_strategy_takes_a_slot_that_lacks_an_extended_resource() {
    let orders = [SlotOrder::Free, SlotOrder::LeastUtilized, SlotOrder::MostUtilized];
    let custom = orders.map(|order| Indifferent::new(order).strategy());
    for strategy in all().into_iter().chain(custom) {
        let mut fixture = fixture(strategy);
        fixture.register_free("tm", 1, &[small()]);
        let required = small_with(&[("gpu", 1.0)]);
        assert_eq!(fixture.request(1, &required), AllocationStatus::Waiting);
    }
}

#[test]
fn no_strategy_takes_a_slot_of_a_former_leadership() {
    for strategy in all() {
        // given
        let mut fixture = fixture(strategy);
        fixture.register_free("tm", 1, &[small()]);

        // when
        fixture.suspend();
        fixture.start(2);

        // then
        assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
        fixture.register_free("tm", 2, &[small()]);
        assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    }
}

#[test]
fn every_strategy_gives_a_slot_to_the_oldest_request_that_it_fits() {
    for strategy in all() {
        // given
        let mut fixture = fixture(strategy);
        fixture.request(1, &wide());
        fixture.request(2, &profile(0.5, 50));
        fixture.request(3, &small());

        // when
        fixture.register_free("tm", 1, &[small()]);

        // then
        assert_eq!(
            fixture.status(2),
            Some(granted(&slot("tm", 0))),
            "not to the request that fits best"
        );
    }
}

/// B.29: the strategy decides which slot is taken, not which request is served.
#[test]
fn every_strategy_serves_requests_in_the_order_of_their_registration() {
    const IDS: [u128; 5] = [u128::MAX, 3, 1 << 100, 2, 77];
    for strategy in all() {
        // given
        let mut fixture = fixture(strategy);
        for id in IDS {
            fixture.request(id, &small());
        }
        fixture.register("tm", 7, &report("tm", &[Some(1000)]));

        // when, then: each request gets the slot that the request before it frees
        let mut holder = 1000;
        for id in IDS {
            fixture.free(&slot("tm", 0), holder);
            assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(id)));
            holder = id;
        }
    }
}

// Custom strategies.

/// Among different profiles, the slot that became free last.
#[derive(Debug)]
struct Newest;

impl SlotMatching for Newest {
    fn compare(&self, _: &ResourceProfile, a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
        b.free_order.cmp(&a.free_order)
    }
}

#[test]
fn custom_strategy_decides_between_profiles() {
    let mut fixture = custom(Newest);
    fixture.register_free("tm", 1, &[wide(), profile(2.0, 200), profile(3.0, 300)]);
    assert_eq!(served_by(&mut fixture, 1..=3), ["tm_2", "tm_1", "tm_0"]);
}

#[test]
fn candidate_of_a_profile_is_its_longest_free_slot() {
    let mut fixture = custom(Newest);
    fixture.register_free("tm", 1, &[small(), small(), small()]);
    assert_eq!(served_by(&mut fixture, 1..=3), ["tm_0", "tm_1", "tm_2"]);
}

/// The required profile, and the profile and utilization of each candidate.
type Compared = (ResourceProfile, [(ResourceProfile, u64); 2]);

/// All candidates are equal; records the calls.
#[derive(Debug)]
struct Indifferent {
    order: SlotOrder,
    order_calls: AtomicUsize,
    compared: Mutex<Vec<Compared>>,
}

impl Indifferent {
    fn new(order: SlotOrder) -> Arc<Self> {
        Arc::new(Self {
            order,
            order_calls: AtomicUsize::new(0),
            compared: Mutex::default(),
        })
    }

    fn strategy(self: &Arc<Self>) -> SlotMatchingStrategy {
        SlotMatchingStrategy::Custom(Arc::<Self>::clone(self))
    }
}

impl SlotMatching for Indifferent {
    fn order(&self) -> SlotOrder {
        self.order_calls.fetch_add(1, atomic::Ordering::Relaxed);
        self.order
    }

    fn compare(&self, required: &ResourceProfile, a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
        let seen = [a, b].map(|candidate| (candidate.resource_profile.clone(), candidate.utilization));
        self.compared
            .lock()
            .expect("no test panics")
            .push((required.clone(), seen));
        Ordering::Equal
    }
}

#[test]
fn longest_free_of_equal_candidates_is_taken() {
    // given
    let strategy = Indifferent::new(SlotOrder::Free);
    let mut fixture = fixture(strategy.strategy());
    fixture.register_free("tm", 1, &[wide(), profile(2.0, 200)]);
    fixture.request(1, &small());
    fixture.free(&slot("tm", 0), 1);

    // when, then
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 1)));
}

#[test]
fn custom_strategy_sees_one_fitting_slot_of_each_profile() {
    // given
    let strategy = Indifferent::new(SlotOrder::Free);
    let mut fixture = fixture(strategy.strategy());
    fixture.register_free("tm", 1, &[wide(), wide(), profile(0.5, 50), small(), small()]);

    // when
    fixture.request(1, &small());

    // then: two candidates, in any order, without a utilization
    let mut compared = strategy.compared.lock().expect("no test panics");
    for (_, candidates) in compared.iter_mut() {
        candidates.sort_by_key(|(profile, _)| *profile == wide());
    }
    assert!(!compared.is_empty());
    assert!(
        compared
            .iter()
            .all(|seen| *seen == (small(), [(small(), 0), (wide(), 0)])),
        "{compared:?}"
    );
}

#[test]
fn order_of_a_custom_strategy_is_read_once() {
    // given
    let strategy = Indifferent::new(SlotOrder::Free);
    let mut fixture = fixture(strategy.strategy());
    fixture.register_free("tm", 1, &[wide(), small()]);
    fixture.request(1, &small());
    fixture.suspend();

    // when
    fixture.start(2);

    // then
    assert_eq!(strategy.order_calls.load(atomic::Ordering::Relaxed), 1);
}

#[test]
fn custom_strategy_may_order_by_the_least_utilized() {
    // given
    let strategy = Indifferent::new(SlotOrder::LeastUtilized);
    let mut fixture = fixture(strategy.strategy());
    fixture.register("used", 1, &report("used", &[Some(101), None]));
    fixture.register("unused", 2, &report("unused", &[None]));

    // when, then
    assert_eq!(fixture.request(1, &small()), granted(&slot("unused", 0)));
}

#[test]
fn custom_strategy_may_order_by_the_most_utilized() {
    // given
    let strategy = Indifferent::new(SlotOrder::MostUtilized);
    let mut fixture = fixture(strategy.strategy());
    fixture.register("unused", 1, &report("unused", &[None]));
    fixture.register("used", 2, &report("used", &[Some(101), None]));

    // when, then
    assert_eq!(fixture.request(1, &small()), granted(&slot("used", 1)));
}

/// The slot of the task manager with the highest utilization, kept in this order.
#[derive(Debug)]
struct Busiest(SlotOrder);

impl SlotMatching for Busiest {
    fn order(&self) -> SlotOrder {
        self.0
    }

    fn compare(&self, _: &ResourceProfile, a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
        b.utilization.cmp(&a.utilization)
    }
}

#[test]
fn custom_strategy_may_compare_utilization_between_profiles() {
    for order in [SlotOrder::LeastUtilized, SlotOrder::MostUtilized] {
        // given
        let mut fixture = custom(Busiest(order));
        fixture.register_free("unused", 1, &[small(), small()]);
        let used = SlotReport::new(vec![
            SlotStatus::allocated(slot("used", 0), wide(), allocation(101), job(1)),
            SlotStatus::free(slot("used", 1), wide()),
        ]);
        fixture.register("used", 2, &used);

        // when, then
        assert_eq!(fixture.request(1, &small()), granted(&slot("used", 1)), "{order:?}");
    }
}

#[test]
fn utilization_is_a_fraction_of_two_to_the_power_of_32() {
    // given: half of the one is used, and a quarter of the other
    let strategy = Indifferent::new(SlotOrder::MostUtilized);
    let mut fixture = fixture(strategy.strategy());
    fixture.register("half", 1, &report("half", &[Some(101), None]));
    let mut quarter = free_report("quarter", &[wide(), wide(), wide()]).statuses().to_vec();
    quarter.push(SlotStatus::allocated(
        slot("quarter", 3),
        wide(),
        allocation(102),
        job(1),
    ));
    fixture.register("quarter", 2, &SlotReport::new(quarter));

    // when
    fixture.request(1, &small());

    // then
    let compared = strategy.compared.lock().expect("no test panics");
    let (_, candidates) = compared.first().expect("there were two profiles");
    for (profile, utilization) in candidates {
        let expected = if *profile == small() { 1 << 31 } else { 1 << 30 };
        assert_eq!(*utilization, expected, "{profile}");
    }
}

#[test]
fn custom_strategies_are_equal_if_they_are_the_same() {
    let own: Arc<dyn SlotMatching + Send + Sync> = Arc::new(Newest);
    let strategy = SlotMatchingStrategy::Custom(Arc::clone(&own));
    assert_eq!(strategy, SlotMatchingStrategy::Custom(own));
    assert_ne!(strategy, SlotMatchingStrategy::Custom(Arc::new(Newest)));
    assert_ne!(strategy, SlotMatchingStrategy::BestFit);
    assert_ne!(SlotMatchingStrategy::MostUtilization, SlotMatchingStrategy::BestFit);
    assert_eq!(
        SlotMatchingStrategy::MostUtilization,
        SlotMatchingStrategy::MostUtilization
    );
}
