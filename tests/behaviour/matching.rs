//! Who gets which slot: the oldest request that it fits, and of several slots the one the strategy names. Comments name
//! the defects of FLINK-5810 that the tests guard against.

use std::time::Duration;

use slot_manager::testing::ScriptedGateway;
use slot_manager::{
    AllocationStatus, CancelOutcome, FreeSlotOutcome, ResourceProfile, SlotCounts, SlotManagerConfig,
    SlotMatchingStrategy, SlotReport, SlotState, SlotStatus, WorkerPromise,
};

use crate::common::{
    Fixture, acknowledged, allocation, ask, free_report, granted, in_flight, instance, patient, profile, rejected,
    report, slot, small,
};

fn wide() -> ResourceProfile {
    profile(4.0, 400)
}

/// Ids that are in no order: only that of the requests counts.
const IDS: [u128; 5] = [u128::MAX, 3, 1 << 100, 2, 77];

/// The allocations that were granted, in the order in which slots became free.
fn granted_one_by_one(fixture: &mut Fixture, slots: usize) -> Vec<u128> {
    fixture.register("tm", 7, &report("tm", &[Some(1000)]));
    fixture.log.take();
    let mut holder = 1000;
    (0..slots)
        .map(|_| {
            assert_eq!(fixture.free(&slot("tm", 0), holder), FreeSlotOutcome::Freed);
            holder = fixture
                .holder(&slot("tm", 0))
                .expect("a request waits")
                .as_uuid()
                .as_u128();
            holder
        })
        .collect()
}

/// B.27
#[test]
fn slots_go_to_requests_in_the_order_of_their_registration() {
    let mut fixture = Fixture::new();
    for id in IDS {
        fixture.request(id, &small());
    }
    assert_eq!(granted_one_by_one(&mut fixture, IDS.len()), IDS);
}

/// B.27: whether a promise covers a request is accounting, and no advantage
#[test]
fn covered_and_uncovered_requests_stand_in_one_queue() {
    let mut fixture = Fixture::new();
    for (id, promised) in IDS.into_iter().zip([false, true, false, true, true]) {
        if promised {
            fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
        }
        fixture.request(id, &small());
    }
    let promises = fixture.manager.promised_slot_counts();
    assert_eq!((promises.bound, promises.unbound), (3, 0));
    assert_eq!(granted_one_by_one(&mut fixture, IDS.len()), IDS);
}

/// B.27: over different profiles, the oldest that the slot fits
#[test]
fn slot_goes_to_the_oldest_request_that_it_fits() {
    // given: from the oldest to the youngest, too wide, fitting, equal, and for any slot
    let mut fixture = Fixture::new();
    fixture.request(1, &wide());
    fixture.request(2, &profile(1.0, 50));
    fixture.request(3, &small());
    fixture.request(4, &ResourceProfile::UNKNOWN);
    fixture.log.take();

    // when, then: an equal profile is no advantage
    fixture.register("tm", 7, &report("tm", &[None, None]));
    fixture.expect(&[
        "request tm_0 for 2 #1",
        "request tm_1 for 3 #2",
        "granted 2 on tm_0",
        "granted 3 on tm_1",
    ]);

    // when, then
    fixture.register("wide", 8, &free_report("wide", &[wide()]));
    fixture.expect(&["request wide_0 for 1 #3", "granted 1 on wide_0"]);
    assert_eq!(fixture.status(4), Some(AllocationStatus::Waiting));
}

/// B.27: a request that was refused is not sent to the end of the queue
#[test]
fn request_whose_attempt_failed_keeps_its_place() {
    // given: 1 is in flight, 2 and 3 wait
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    for id in [1, 2, 3] {
        fixture.request(id, &small());
    }
    fixture.log.take();

    // when, then: the slot is for the next, 1 waits for another
    fixture.answer(&gateway, 1, rejected());
    fixture.expect(&["request tm_0 for 2 #2", &ask(3)]);

    // when, then: the next slot is for 1, not for 3
    fixture.answer(&gateway, 2, acknowledged());
    fixture.free(&slot("tm", 0), 2);
    fixture.expect(&["granted 2 on tm_0", "request tm_0 for 1 #3"]);
}

/// B.27
#[test]
fn request_that_pauses_keeps_its_place() {
    // given: 1 was refused twice and pauses, 2 waits
    let mut fixture = Fixture::with(patient().with_retry_backoff(Duration::from_secs(1), Duration::from_secs(1)));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, rejected());
    fixture.request(2, &small());
    fixture.answer(&gateway, 3, acknowledged());
    fixture.request(3, &small());
    fixture.log.take();

    // when, then: it waits again, and is the oldest
    fixture.advance(Duration::from_secs(1));
    fixture.free(&slot("tm", 0), 2);
    fixture.expect(&[&ask(2), "request tm_0 for 1 #4"]);
}

/// B.27: requests that lose their task manager
#[test]
fn requests_that_come_back_are_served_before_younger_ones() {
    // given: 1 and 2 in flight, 3 waits
    let mut fixture = Fixture::new();
    fixture.register_by_hand("gone", 1, &report("gone", &[None, None]));
    for id in [1, 2, 3] {
        fixture.request(id, &small());
    }
    fixture.unregister(1);
    fixture.log.take();

    // when
    fixture.register("tm", 2, &report("tm", &[None, None]));

    // then
    fixture.expect(&[
        "request tm_0 for 1 #3",
        "request tm_1 for 2 #4",
        "granted 1 on tm_0",
        "granted 2 on tm_1",
    ]);
    assert_eq!(fixture.status(3), Some(AllocationStatus::Waiting));
}

/// B.27: a request that is cancelled and made again is a new one
#[test]
fn request_that_is_made_again_is_the_youngest() {
    let mut fixture = Fixture::new();
    for id in [1, 2] {
        fixture.request(id, &small());
    }
    assert_eq!(fixture.cancel(1), CancelOutcome::Cancelled);
    fixture.request(1, &small());
    assert_eq!(granted_one_by_one(&mut fixture, 2), [2, 1]);
}

/// B.27: the queue as it can be looked at
#[test]
fn pending_requests_are_listed_oldest_first() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    for id in IDS {
        fixture.request(id, &small());
    }
    fixture.answer(&gateway, 1, rejected());

    let listed: Vec<_> = fixture
        .manager
        .pending_slot_requests()
        .map(|pending| pending.allocation_id())
        .collect();

    assert_eq!(listed, IDS.map(allocation));
}

/// B.28: the strategy is first fit by name: the slot that has been free for the longest time, however well it fits
#[test]
fn first_fit_takes_the_slot_that_has_been_free_for_the_longest_time() {
    // given: the wide slot was listed first
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &free_report("tm", &[wide(), small(), small()]));

    // when, then
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 1)));

    // when, then: freed slots queue up behind those that were free
    fixture.free(&slot("tm", 1), 2);
    fixture.free(&slot("tm", 0), 1);
    assert_eq!(fixture.request(3, &small()), granted(&slot("tm", 2)));
    assert_eq!(fixture.request(4, &small()), granted(&slot("tm", 1)));
    assert_eq!(fixture.request(5, &small()), granted(&slot("tm", 0)));
}

/// B.28: a slot keeps its place among the free ones through reports
#[test]
fn reports_of_free_slots_do_not_change_their_order() {
    let mut fixture = Fixture::new();
    fixture.register("first", 1, &report("first", &[None]));
    fixture.register("second", 2, &report("second", &[None]));

    fixture.report(1, &report("first", &[None]));

    assert_eq!(fixture.request(1, &small()), granted(&slot("first", 0)));
}

/// B.28: slots that a request does not fit are passed by, and stay where they are
#[test]
fn slots_that_are_too_small_are_left_for_others() {
    let gpu = ResourceProfile::builder()
        .cpu_cores(1.0)
        .task_heap_memory_mebibytes(100)
        .extended_resource("gpu", 1.0)
        .build()
        .expect("valid amounts");
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &free_report("tm", &[small(), wide(), gpu.clone()]));

    assert_eq!(fixture.request(1, &gpu), granted(&slot("tm", 2)));
    assert_eq!(fixture.request(2, &wide()), granted(&slot("tm", 1)));
    assert_eq!(fixture.request(3, &gpu), AllocationStatus::Waiting);
    assert_eq!(fixture.request(4, &small()), granted(&slot("tm", 0)));
}

/// B.28, A.5: a slot that refused comes last
#[test]
fn slot_whose_attempt_failed_is_offered_after_the_other_free_slots() {
    let mut fixture = Fixture::new();
    let gateway = fixture.gateway();
    gateway.answer_next(rejected());
    fixture.register_with("tm", 7, &report("tm", &[None, None, None]), &gateway);

    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 1)));
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 2)));
    assert_eq!(fixture.request(3, &small()), granted(&slot("tm", 0)));
}

fn spread_out() -> SlotManagerConfig {
    patient().with_slot_matching_strategy(SlotMatchingStrategy::LeastUtilization)
}

/// The task managers that serve the requests `ids`, in order.
fn served_by(fixture: &mut Fixture, ids: std::ops::RangeInclusive<u128>) -> Vec<String> {
    ids.map(|id| match fixture.request(id, &small()) {
        AllocationStatus::Granted { slot_id } | AllocationStatus::InFlight { slot_id } => {
            slot_id.resource_id().to_string()
        }
        AllocationStatus::Waiting => "none".to_owned(),
    })
    .collect()
}

/// B.29
#[test]
fn first_fit_fills_one_task_manager_after_the_other_and_least_utilization_spreads() {
    for (config, expected) in [
        (patient(), ["a", "a", "b", "b", "c", "c"]),
        (spread_out(), ["a", "b", "c", "a", "b", "c"]),
    ] {
        let mut fixture = Fixture::with(config);
        for (worker, instance) in [("a", 1), ("b", 2), ("c", 3)] {
            fixture.register_free(worker, instance, &[small(), small()]);
        }
        assert_eq!(served_by(&mut fixture, 1..=6), expected);
    }
}

/// B.29: it is the share of used slots that counts, not their number
#[test]
fn least_utilization_compares_shares() {
    // given: one of two slots used on `few`, two of six on `many`
    let mut fixture = Fixture::with(spread_out());
    fixture.register("few", 1, &report("few", &[Some(101), None]));
    fixture.register(
        "many",
        2,
        &report("many", &[Some(102), Some(103), None, None, None, None]),
    );

    // 2/6 < 1/2; 3/6 = 1/2, and `few` has been free longer; then 3/6 < 2/2
    assert_eq!(served_by(&mut fixture, 1..=5), ["many", "few", "many", "many", "many"]);
}

/// B.29: attempts in flight count as used
#[test]
fn least_utilization_counts_slots_in_flight() {
    let mut fixture = Fixture::with(spread_out());
    fixture.register_by_hand("a", 1, &report("a", &[None, None]));
    fixture.register_by_hand("b", 2, &report("b", &[None, None]));
    assert_eq!(served_by(&mut fixture, 1..=4), ["a", "b", "a", "b"]);
}

/// B.29: the share follows what happens to the slots
#[test]
fn least_utilization_follows_grants_that_end_and_slots_that_come_and_go() {
    // given: 1/4 < 2/4; where shares are equal, the slots of `b` have been free for longer
    let mut fixture = Fixture::with(spread_out());
    fixture.register("b", 2, &report("b", &[Some(103), None, None, None]));
    fixture.register("a", 1, &report("a", &[Some(101), Some(102), None, None]));
    assert_eq!(served_by(&mut fixture, 1..=1), ["b"]);

    // when, then: a grant ends on `a`: 1/4 < 2/4
    fixture.free(&slot("a", 0), 101);
    assert_eq!(served_by(&mut fixture, 2..=2), ["a"]);

    // when, then: `b` shrinks: 2/4 < 2/3
    fixture.report(2, &report("b", &[Some(103), Some(1), None]));
    assert_eq!(served_by(&mut fixture, 3..=3), ["a"]);

    // when, then: a grant ends on `a`, so that it has 2/4; `b` grows: 2/5 < 2/4
    fixture.free(&slot("a", 1), 102);
    fixture.report(2, &report("b", &[Some(103), Some(1), None, None, None]));
    assert_eq!(served_by(&mut fixture, 4..=4), ["b"]);
}

/// B.29: only fitting slots count
#[test]
fn least_utilization_chooses_among_fitting_slots() {
    // given: `unused` has none that fits
    let mut fixture = Fixture::with(spread_out());
    fixture.register("unused", 1, &free_report("unused", &[small(), small()]));
    let wide_slots = SlotReport::new(vec![
        SlotStatus::allocated(slot("used", 0), wide(), allocation(101), crate::common::job(1)),
        SlotStatus::free(slot("used", 1), wide()),
    ]);
    fixture.register("used", 2, &wide_slots);

    assert_eq!(fixture.request(1, &wide()), granted(&slot("used", 1)));
    assert_eq!(fixture.request(2, &wide()), AllocationStatus::Waiting);
    assert_eq!(served_by(&mut fixture, 3..=4), ["unused", "unused"]);
}

/// B.29: within a task manager, the slot that has been free for the longest time
#[test]
fn least_utilization_takes_the_longest_free_slot_of_its_task_manager() {
    let mut fixture = Fixture::with(spread_out());
    fixture.register("tm", 7, &report("tm", &[Some(101), None, None]));
    fixture.free(&slot("tm", 0), 101);

    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 1)));
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 2)));
    assert_eq!(fixture.request(3, &small()), granted(&slot("tm", 0)));
}

/// B.29: it changes which slot is taken, not which request is served
#[test]
fn least_utilization_is_as_fair_as_first_fit() {
    let mut fixture = Fixture::with(spread_out());
    for id in IDS {
        fixture.request(id, &small());
    }
    assert_eq!(granted_one_by_one(&mut fixture, IDS.len()), IDS);
}

/// B.30: the counts are kept with every change, so that nobody has to walk over slots
#[test]
fn counts_are_right_after_every_change() {
    fn counts(fixture: &Fixture) -> [[usize; 4]; 2] {
        let of = |counts: SlotCounts| [counts.registered, counts.free, counts.in_flight, counts.allocated];
        let a = fixture
            .manager
            .task_manager(instance(1))
            .expect("registered")
            .slot_counts();
        [of(fixture.manager.slot_counts()), of(a)]
    }

    // given
    let mut fixture = Fixture::new();
    let gateway: ScriptedGateway = fixture.register_by_hand("a", 1, &report("a", &[Some(101), None, None]));
    assert_eq!(counts(&fixture), [[3, 2, 0, 1], [3, 2, 0, 1]]);
    fixture.register("b", 2, &report("b", &[Some(102)]));
    assert_eq!(counts(&fixture), [[4, 2, 0, 2], [3, 2, 0, 1]]);

    // when, then: in flight, refused twice and backing_off, in flight, granted, freed
    fixture.request(1, &small());
    assert_eq!(counts(&fixture), [[4, 1, 1, 2], [3, 1, 1, 1]]);
    fixture.answer(&gateway, 1, rejected());
    assert_eq!(fixture.status(1), Some(in_flight(&slot("a", 2))));
    fixture.answer(&gateway, 2, rejected());
    assert_eq!(counts(&fixture), [[4, 2, 0, 2], [3, 2, 0, 1]]);
    fixture.cancel(1);
    fixture.request(2, &small());
    fixture.answer(&gateway, 3, rejected());
    assert_eq!(counts(&fixture), [[4, 1, 1, 2], [3, 1, 1, 1]]);
    let backing_off = fixture
        .manager
        .slots()
        .filter(|slot| matches!(slot.state(), SlotState::BackingOff { .. }))
        .count();
    assert_eq!(backing_off, 1, "a pausing slot counts as free");
    fixture.answer(&gateway, 4, acknowledged());
    assert_eq!(counts(&fixture), [[4, 1, 0, 3], [3, 1, 0, 2]]);

    // when, then: slots come and go
    fixture.report(1, &report("a", &[Some(101)]));
    assert_eq!(counts(&fixture), [[2, 0, 0, 2], [1, 0, 0, 1]]);
    fixture.unregister(2);
    assert_eq!(counts(&fixture), [[1, 0, 0, 1], [1, 0, 0, 1]]);
}
