//! Matching under first fit: each slot goes to the oldest waiting request that it fits, and each
//! request gets the fitting slot that has been free for the longest time. The other strategies are
//! in `strategies`. Comments of the form `B.n` name the defects of FLINK-5810 that a test guards
//! against.

use std::time::Duration;

use slot_manager::ResourceProfile;
use slot_manager::message::WorkerPromise;
use slot_manager::outcome::{AllocationStatus, CancelOutcome, SlotFreedOutcome};

use crate::common::{
    Fixture, acknowledged, allocation, ask, free_report, granted, patient, profile, rejected, report, slot, small,
};

fn wide() -> ResourceProfile {
    profile(4.0, 400)
}

/// Ids in no order: only the order of the requests counts.
const IDS: [u128; 5] = [u128::MAX, 3, 1 << 100, 2, 77];

/// The allocations that were granted, in the order in which slots became free.
fn granted_one_by_one(fixture: &mut Fixture, slots: usize) -> Vec<u128> {
    fixture.register("tm", 7, &report("tm", &[Some(1000)]));
    fixture.log.take();
    let mut holder = 1000;
    (0..slots)
        .map(|_| {
            assert_eq!(fixture.free(&slot("tm", 0), holder), SlotFreedOutcome::Freed);
            holder = fixture
                .holder(&slot("tm", 0))
                .expect("a request waits")
                .as_uuid()
                .as_u128();
            holder
        })
        .collect()
}

// Which request gets a slot.

/// B.27
#[test]
fn slots_go_to_requests_in_the_order_of_their_registration() {
    let mut fixture = Fixture::new();
    for id in IDS {
        fixture.request(id, &small());
    }
    assert_eq!(granted_one_by_one(&mut fixture, IDS.len()), IDS);
}

/// B.27: a request that is bound to a promised slot has no advantage.
#[test]
fn bound_and_unbound_requests_wait_in_one_queue() {
    // given
    let mut fixture = Fixture::new();
    for (id, promised) in IDS.into_iter().zip([false, true, false, true, true]) {
        if promised {
            fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
        }
        fixture.request(id, &small());
    }
    assert_eq!(fixture.promised(), (3, 0));

    // when, then
    assert_eq!(granted_one_by_one(&mut fixture, IDS.len()), IDS);
}

/// B.27: with different profiles.
#[test]
fn slot_goes_to_the_oldest_request_that_it_fits() {
    // given: from the oldest to the youngest: too wide, fitting, equal, and for any slot
    let mut fixture = Fixture::new();
    fixture.request(1, &wide());
    fixture.request(2, &profile(1.0, 50));
    fixture.request(3, &small());
    fixture.request(4, &ResourceProfile::UNKNOWN);
    fixture.log.take();

    // when, then: an equal profile has no advantage
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

/// B.27: a request that was refused does not move to the end of the queue.
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

    // when, then: the next slot of another worker is for 1, not for 3
    fixture.answer(&gateway, 2, acknowledged());
    fixture.register_by_hand("other", 8, &report("other", &[None]));
    fixture.expect(&["granted 2 on tm_0", "request other_0 for 1 #3"]);

    // when, then: 3 comes first only on the worker that refused 1
    fixture.free(&slot("tm", 0), 2);
    fixture.expect(&["request tm_0 for 3 #4"]);
}

/// B.27
#[test]
fn request_that_backs_off_keeps_its_place() {
    // given: 1 was refused twice and backs off, 2 is granted, 3 waits
    let mut fixture = Fixture::with(patient().with_retry_backoff(Duration::from_secs(1), Duration::from_secs(1)));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, rejected());
    fixture.request(2, &small());
    fixture.answer(&gateway, 3, acknowledged());
    fixture.request(3, &small());
    fixture.log.take();

    // when, then: 1 waits again, and is the oldest
    fixture.advance(Duration::from_secs(1));
    fixture.expect(&[&ask(2)]);
    fixture.register_by_hand("other", 8, &report("other", &[None]));
    fixture.expect(&["request other_0 for 1 #4"]);

    // when, then: 3 comes first only on the worker that refused 1
    fixture.free(&slot("tm", 0), 2);
    fixture.expect(&["request tm_0 for 3 #5"]);
}

/// B.27: requests that lose their task manager.
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

/// B.27: a request that is cancelled and made again is a new request.
#[test]
fn request_that_is_made_again_is_the_youngest() {
    // given
    let mut fixture = Fixture::new();
    for id in [1, 2] {
        fixture.request(id, &small());
    }

    // when, then
    assert_eq!(fixture.cancel(1), CancelOutcome::Cancelled);
    fixture.request(1, &small());
    assert_eq!(granted_one_by_one(&mut fixture, 2), [2, 1]);
}

/// B.27: the queue as the views show it.
#[test]
fn pending_requests_are_listed_oldest_first() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    for id in IDS {
        fixture.request(id, &small());
    }

    // when
    fixture.answer(&gateway, 1, rejected());

    // then
    let listed: Vec<_> = fixture
        .manager
        .pending_slot_requests()
        .map(|pending| pending.allocation_id())
        .collect();
    assert_eq!(listed, IDS.map(allocation));
}

// Which slot a request gets.

/// B.28: first fit takes the slot that has been free for the longest time, however well it fits.
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

/// B.28: a slot keeps its place among the free slots.
#[test]
fn reports_of_free_slots_do_not_change_their_order() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("first", 1, &report("first", &[None]));
    fixture.register("second", 2, &report("second", &[None]));
    fixture.report(1, &report("first", &[None]));

    // when, then
    assert_eq!(fixture.request(1, &small()), granted(&slot("first", 0)));
}

/// B.28: slots that a request does not fit keep their places.
#[test]
fn slots_that_are_too_small_are_left_for_others() {
    // given
    let gpu = ResourceProfile::builder()
        .cpu_cores(1.0)
        .task_heap_memory_mebibytes(100)
        .extended_resource("gpu", 1.0)
        .build()
        .expect("valid amounts");
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &free_report("tm", &[small(), wide(), gpu.clone()]));

    // when, then
    assert_eq!(fixture.request(1, &gpu), granted(&slot("tm", 2)));
    assert_eq!(fixture.request(2, &wide()), granted(&slot("tm", 1)));
    assert_eq!(fixture.request(3, &gpu), AllocationStatus::Waiting);
    assert_eq!(fixture.request(4, &small()), granted(&slot("tm", 0)));
}

/// B.28: a slot that refused comes last.
#[test]
fn slot_whose_attempt_failed_is_offered_after_the_other_free_slots() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.gateway();
    gateway.answer_next(rejected());
    fixture.register_with("tm", 7, &report("tm", &[None, None, None]), &gateway);

    // when, then
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 1)));
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 2)));
    assert_eq!(fixture.request(3, &small()), granted(&slot("tm", 0)));
}
