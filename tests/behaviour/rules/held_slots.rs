//! Slots that are freed before their acknowledgement, and allocations that hold two slots.

use slot_manager::testing::{GatewayAnswer, NotPending};
use slot_manager::{Acknowledge, FreeSlotOutcome, SlotStatus};

use crate::common::{Fixture, allocation, granted, in_flight, instance, job, report, slot, small};

#[test]
fn a_slot_freed_while_its_attempt_is_in_flight_was_served_and_is_over() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();
    assert_eq!(fixture.free(&slot("tm", 0), 1), FreeSlotOutcome::FreedInFlight);
    // Should the request arrive only now, the task executor is not to keep the slot for it.
    fixture.expect(&["granted 1 on tm_0", "free tm_0 of 1 #1"]);
    assert_eq!(fixture.status(1), None);
    assert!(fixture.is_free(&slot("tm", 0)));

    // Its late answer is nobody's.
    assert_eq!(
        gateway.answer(1, Ok(Acknowledge::new())),
        Err(NotPending { attempt: 1 })
    );
    assert_eq!(fixture.run(), 0);
    assert!(fixture.is_free(&slot("tm", 0)));
}

#[test]
fn a_slot_freed_while_in_flight_serves_the_next_at_once() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small()])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();
    fixture.free(&slot("tm", 0), 1);
    fixture.expect(&["granted 1 on tm_0", "free tm_0 of 1 #1", "request tm_0 for 2 #2"]);
    assert_eq!(fixture.status(2), Some(in_flight(&slot("tm", 0))));
}

#[test]
fn a_free_of_another_than_the_one_in_flight_changes_nothing() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small()])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();
    let outcome = fixture.free(&slot("tm", 0), 2);
    assert_eq!(
        outcome,
        FreeSlotOutcome::HeldByAnother {
            allocation_id: allocation(1)
        }
    );
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
}

/// `tm` holds 1, and so do two slots of `other`, which were found later.
fn one_allocation_on_three_slots() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1)]));
    fixture.register("other", 2, &report("other", &[None, Some(1), Some(1)]));
    fixture
}

#[test]
fn the_first_slot_recorded_is_the_grant_and_the_others_are_asked_to_be_freed() {
    let fixture = one_allocation_on_three_slots();
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.expect(&["free other_1 of 1 #0", "free other_2 of 1 #0"]);
}

#[test]
fn the_others_count_as_used() {
    let mut fixture = one_allocation_on_three_slots();
    let other = fixture.manager.task_manager(instance(2)).expect("it is registered");
    assert_eq!(other.slot_counts().allocated, 2);
    assert_eq!(other.idle_since(), None);
    fixture.request(5, &small());
    fixture.request(6, &small());
    assert_eq!(fixture.status(5), Some(granted(&slot("other", 0))), "the only free one");
    assert_eq!(fixture.status(6), Some(slot_manager::AllocationStatus::Waiting));
}

#[test]
fn the_others_are_asked_to_be_freed_again_by_each_report_that_repeats_them() {
    let mut fixture = one_allocation_on_three_slots();
    fixture.log.take();
    for _ in 0..2 {
        fixture.report(2, &report("other", &[None, Some(1), Some(1)]));
        fixture.expect(&["free other_1 of 1 #0", "free other_2 of 1 #0"]);
    }
    fixture.report(2, &report("other", &[None, None, Some(1)]));
    assert_eq!(
        fixture.brief_effects(),
        ["free other_2 of 1 #0"],
        "the first did as it was asked"
    );
    fixture.report(1, &report("tm", &[Some(1)]));
    // The grant is not asked to be freed.
    fixture.expect_nothing();
}

/// The free carries the number of the newest attempt: whatever the allocation holds there is not wanted.
#[test]
fn a_second_slot_is_freed_whatever_attempt_it_was_given_by() {
    let mut fixture = Fixture::new();
    fixture.register_free("used", 9, &[small(), small()]);
    fixture.request(8, &small());
    fixture.request(9, &small());
    fixture.register("tm", 1, &report("tm", &[Some(1)]));
    fixture.log.take();
    fixture.register("other", 2, &report("other", &[Some(1)]));
    fixture.expect(&["free other_0 of 1 #2"]);
}

#[test]
fn when_the_grant_is_freed_the_oldest_other_takes_its_place_silently() {
    let mut fixture = one_allocation_on_three_slots();
    fixture.log.take();
    assert_eq!(fixture.free(&slot("tm", 0), 1), FreeSlotOutcome::Freed);
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 1))));
    assert_eq!(fixture.free(&slot("other", 1), 1), FreeSlotOutcome::Freed);
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 2))));
    assert_eq!(fixture.free(&slot("other", 2), 1), FreeSlotOutcome::Freed);
    assert_eq!(fixture.status(1), None);
    fixture.expect_nothing();
}

#[test]
fn when_the_task_manager_of_the_grant_is_lost_the_oldest_other_takes_its_place_silently() {
    let mut fixture = one_allocation_on_three_slots();
    fixture.log.take();
    fixture.unregister(1);
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 1))));
    // It is the grant now: only the last is asked to be freed.
    fixture.report(2, &report("other", &[None, Some(1), Some(1)]));
    fixture.expect(&["free other_2 of 1 #0"]);
}

#[test]
fn when_a_report_ends_the_grant_the_oldest_other_takes_its_place_silently() {
    let mut fixture = one_allocation_on_three_slots();
    fixture.log.take();
    fixture.report(1, &report("tm", &[Some(7)]));
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 1))));
}

#[test]
fn when_all_slots_of_an_allocation_go_together_it_is_lost_once() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), Some(1), Some(1)]));
    fixture.expect(&["free tm_1 of 1 #0", "free tm_2 of 1 #0"]);
    fixture.unregister(1);
    fixture.expect(&["lost 1 on tm_0: unregistered"]);
    assert_eq!(fixture.status(1), None);
}

#[test]
fn a_second_slot_that_is_freed_leaves_the_grant() {
    let mut fixture = one_allocation_on_three_slots();
    fixture.log.take();
    assert_eq!(fixture.free(&slot("other", 1), 1), FreeSlotOutcome::Freed);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert!(fixture.is_free(&slot("other", 1)));
    // It is not the next grant any more.
    fixture.free(&slot("tm", 0), 1);
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 2))));
}

#[test]
fn a_request_that_two_slots_turn_out_to_hold_is_granted_once() {
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    fixture.log.take();
    fixture.register("tm", 1, &report("tm", &[Some(1), Some(1)]));
    fixture.expect(&["granted 1 on tm_0", "free tm_1 of 1 #0"]);
}

#[test]
fn an_allocation_granted_to_one_job_may_be_held_in_the_name_of_another_elsewhere() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1)]));
    let of_another_job = SlotStatus::allocated(slot("other", 0), small(), allocation(1), job(2));
    fixture.register("other", 2, &[of_another_job].into_iter().collect());
    fixture.expect(&["free other_0 of 1 #0"]);
    fixture.unregister(1);
    assert_eq!(
        fixture.brief_effects(),
        ["lost 1 on tm_0: unregistered"],
        "its own job has none left"
    );
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 0))));
}
