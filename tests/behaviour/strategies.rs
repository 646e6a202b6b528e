//! Which of several fitting free slots is taken, by strategy. First fit and least utilization are in `matching`.

use std::cmp::Ordering;
use std::sync::atomic::{AtomicUsize, Ordering as Atomically};
use std::sync::{Arc, Mutex};

use slot_manager::{
    AllocationStatus, Candidate, ResourceProfile, SlotMatching, SlotMatchingStrategy, SlotOrder, SlotReport, SlotStatus,
};

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

fn wide() -> ResourceProfile {
    profile(4.0, 400)
}

/// Small, and with so much of these.
fn small_with(extended: &[(&str, f64)]) -> ResourceProfile {
    let mut builder = ResourceProfile::builder()
        .cpu_cores(1.0)
        .task_heap_memory_mebibytes(100);
    for (name, amount) in extended {
        builder = builder.extended_resource(*name, *amount);
    }
    builder.build().expect("valid amounts")
}

/// Requests a slot for each of `ids`, one after the other, and says which slots serve them.
fn served_by(fixture: &mut Fixture, ids: std::ops::RangeInclusive<u128>) -> Vec<String> {
    ids.map(|id| match fixture.request(id, &small()) {
        AllocationStatus::Granted { slot_id } | AllocationStatus::InFlight { slot_id } => slot_id.to_string(),
        AllocationStatus::Waiting => "none".to_owned(),
    })
    .collect()
}

// Best fit.

/// The second of two slots serves a request for `required`, although the first has been free for longer.
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
    let managed = ResourceProfile::builder()
        .cpu_cores(1.0)
        .task_heap_memory_mebibytes(100)
        .managed_memory_mebibytes(60)
        .build()
        .expect("valid amounts");
    assert_second_fits_better(managed, profile(1.0, 150), &small());
}

#[test]
fn best_fit_adds_all_extended_resources() {
    let first = small_with(&[("gpu", 1.0), ("fpga", 1.0)]);
    assert_second_fits_better(first, small_with(&[("gpu", 1.5)]), &small());
}

#[test]
fn best_fit_does_not_count_what_was_asked_for() {
    let gpus = small_with(&[("gpu", 2.0)]);
    let second = gpus.checked_add(&profile(8.0, 1000)).expect("countable");
    assert_second_fits_better(small_with(&[("gpu", 3.0)]), second, &gpus);
}

#[test]
fn best_fit_takes_a_slot_of_any_profile_last() {
    let mut fixture = best_fit();
    fixture.register_free("tm", 1, &[ResourceProfile::ANY, small_with(&[("gpu", 1e9)])]);
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

    // when, then: the one that was freed is behind the other
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
    fixture.free(&slot("tm", 0), 1);
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 1)));
}

#[test]
fn best_fit_takes_the_longest_free_of_equal_slots() {
    let mut fixture = best_fit();
    fixture.register_free("tm", 1, &[small(), small()]);
    fixture.request(1, &small());
    fixture.free(&slot("tm", 0), 1);
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 1)));
}

// Most utilization.

#[test]
fn most_utilization_packs() {
    let mut fixture = packing();
    fixture.register("a", 1, &report("a", &[None, None]));
    fixture.register("b", 2, &report("b", &[Some(101), None, None]));
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
    assert_eq!(served_by(&mut fixture, 1..=2), ["few_1", "many_2"]);
}

#[test]
fn most_utilization_takes_the_longest_free_of_equal_shares() {
    let mut fixture = packing();
    fixture.register_free("a", 1, &[small()]);
    fixture.register_free("b", 2, &[small()]);
    fixture.request(1, &small());
    fixture.free(&slot("a", 0), 1);
    assert_eq!(fixture.request(2, &small()), granted(&slot("b", 0)));
}

#[test]
fn most_utilization_counts_slots_in_flight_as_used() {
    let mut fixture = packing();
    fixture.register_free("a", 1, &[small(), small()]);
    fixture.register_by_hand("b", 2, &free_report("b", &[wide(), small(), small()]));
    assert_eq!(fixture.request(1, &wide()), in_flight(&slot("b", 0)));
    assert_eq!(fixture.request(2, &small()), in_flight(&slot("b", 1)));
}

#[test]
fn most_utilization_follows_grants_that_end() {
    let mut fixture = packing();
    fixture.register("a", 1, &report("a", &[Some(101), None]));
    fixture.register("b", 2, &report("b", &[Some(102), None]));
    fixture.free(&slot("a", 0), 101);
    assert_eq!(fixture.request(1, &small()), granted(&slot("b", 1)));
}

#[test]
fn most_utilization_chooses_among_fitting_slots() {
    let mut fixture = packing();
    fixture.register_free("unused", 1, &[wide()]);
    fixture.register("used", 2, &report("used", &[Some(101), None]));
    assert_eq!(fixture.request(1, &wide()), granted(&slot("unused", 0)));
}

/// Two task managers, of the same share in total, may each have the only fitting slot of its profile.
#[test]
fn most_utilization_compares_task_managers_over_different_profiles() {
    let mut fixture = packing();
    fixture.register_free("unused", 1, &[small(), small()]);
    let used = SlotReport::new(vec![
        SlotStatus::allocated(slot("used", 0), wide(), allocation(101), job(1)),
        SlotStatus::free(slot("used", 1), wide()),
    ]);
    fixture.register("used", 2, &used);
    assert_eq!(fixture.request(1, &small()), granted(&slot("used", 1)));
}

// All of them.

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
fn no_strategy_takes_a_slot_that_does_not_fit() {
    for strategy in all() {
        let mut fixture = fixture(strategy);
        fixture.register_free("tm", 1, &[profile(4.0, 99), profile(0.9, 400)]);
        assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    }
}

#[test]
fn under_every_strategy_a_slot_goes_to_the_oldest_request_that_it_fits() {
    for strategy in all() {
        let mut fixture = fixture(strategy);
        fixture.request(1, &wide());
        fixture.request(2, &profile(0.5, 50));
        fixture.request(3, &small());
        fixture.register_free("tm", 1, &[small()]);
        assert_eq!(
            fixture.status(2),
            Some(granted(&slot("tm", 0))),
            "not to the one that fits best"
        );
    }
}

// One's own.

/// Of different profiles, the slot that became free last.
#[derive(Debug)]
struct Newest;

impl SlotMatching for Newest {
    fn compare(&self, _: &ResourceProfile, a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
        b.free_order.cmp(&a.free_order)
    }
}

#[test]
fn a_strategy_of_ones_own_decides_between_profiles() {
    let mut fixture = custom(Newest);
    fixture.register_free("tm", 1, &[wide(), profile(2.0, 200), profile(3.0, 300)]);
    assert_eq!(served_by(&mut fixture, 1..=3), ["tm_2", "tm_1", "tm_0"]);
}

#[test]
fn within_a_profile_the_longest_free_slot_is_the_candidate() {
    let mut fixture = custom(Newest);
    fixture.register_free("tm", 1, &[small(), small(), small()]);
    assert_eq!(served_by(&mut fixture, 1..=3), ["tm_0", "tm_1", "tm_2"]);
}

/// What is required, and what each candidate has, with the utilization of its task manager.
type Compared = (ResourceProfile, [(ResourceProfile, u64); 2]);

/// All candidates are as good; notes what it was asked.
#[derive(Debug)]
struct Indifferent {
    order: SlotOrder,
    orders_asked: AtomicUsize,
    compared: Mutex<Vec<Compared>>,
}

impl Indifferent {
    fn new(order: SlotOrder) -> Arc<Self> {
        Arc::new(Self {
            order,
            orders_asked: AtomicUsize::new(0),
            compared: Mutex::default(),
        })
    }

    fn strategy(self: &Arc<Self>) -> SlotMatchingStrategy {
        SlotMatchingStrategy::Custom(Arc::<Self>::clone(self))
    }
}

impl SlotMatching for Indifferent {
    fn order(&self) -> SlotOrder {
        self.orders_asked.fetch_add(1, Atomically::Relaxed);
        self.order
    }

    fn compare(&self, required: &ResourceProfile, a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
        let seen = [a, b].map(|candidate| (candidate.resource_profile.clone(), candidate.utilization));
        self.compared
            .lock()
            .expect("nobody panics")
            .push((required.clone(), seen));
        Ordering::Equal
    }
}

#[test]
fn of_candidates_that_are_as_good_the_longest_free_is_taken() {
    let strategy = Indifferent::new(SlotOrder::Free);
    let mut fixture = fixture(strategy.strategy());
    fixture.register_free("tm", 1, &[wide(), profile(2.0, 200)]);
    fixture.request(1, &small());
    fixture.free(&slot("tm", 0), 1);
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 1)));
}

#[test]
fn a_strategy_of_ones_own_sees_one_fitting_slot_of_each_profile() {
    // given
    let strategy = Indifferent::new(SlotOrder::Free);
    let mut fixture = fixture(strategy.strategy());
    fixture.register_free("tm", 1, &[wide(), wide(), profile(0.5, 50), small(), small()]);

    // when
    fixture.request(1, &small());

    // then: two candidates, in whatever order, without a utilization
    let mut compared = strategy.compared.lock().expect("nobody panics");
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
fn the_order_of_a_strategy_is_asked_for_once() {
    let strategy = Indifferent::new(SlotOrder::Free);
    let mut fixture = fixture(strategy.strategy());
    fixture.register_free("tm", 1, &[wide(), small()]);
    fixture.request(1, &small());
    fixture.suspend();
    fixture.start(2);
    assert_eq!(strategy.orders_asked.load(Atomically::Relaxed), 1);
}

#[test]
fn a_strategy_of_ones_own_may_order_by_the_least_utilized() {
    let strategy = Indifferent::new(SlotOrder::LeastUtilized);
    let mut fixture = fixture(strategy.strategy());
    fixture.register("used", 1, &report("used", &[Some(101), None]));
    fixture.register("unused", 2, &report("unused", &[None]));
    assert_eq!(fixture.request(1, &small()), granted(&slot("unused", 0)));
}

#[test]
fn a_strategy_of_ones_own_may_order_by_the_most_utilized() {
    let strategy = Indifferent::new(SlotOrder::MostUtilized);
    let mut fixture = fixture(strategy.strategy());
    fixture.register("unused", 1, &report("unused", &[None]));
    fixture.register("used", 2, &report("used", &[Some(101), None]));
    assert_eq!(fixture.request(1, &small()), granted(&slot("used", 1)));
}

/// The slot of the task manager that is used the most, kept in an order of utilization.
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
fn a_strategy_over_utilization_compares_it_between_profiles() {
    for order in [SlotOrder::LeastUtilized, SlotOrder::MostUtilized] {
        let mut fixture = custom(Busiest(order));
        fixture.register_free("unused", 1, &[small(), small()]);
        let used = SlotReport::new(vec![
            SlotStatus::allocated(slot("used", 0), wide(), allocation(101), job(1)),
            SlotStatus::free(slot("used", 1), wide()),
        ]);
        fixture.register("used", 2, &used);
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
    let compared = strategy.compared.lock().expect("nobody panics");
    let (_, candidates) = compared.first().expect("there were two profiles");
    for (profile, utilization) in candidates {
        let expected = if *profile == small() { 1 << 31 } else { 1 << 30 };
        assert_eq!(*utilization, expected, "{profile}");
    }
}

#[test]
fn strategies_of_ones_own_are_equal_if_they_are_the_same() {
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
