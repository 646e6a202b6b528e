//! A slot goes to the oldest waiting request that it fits, a request to the slot that has been free for the longest
//! time.

use slot_manager::testing::GatewayAnswer;
use slot_manager::{AllocationStatus, SlotAllocationError, WorkerPromise};

use crate::common::{Fixture, free_report, granted, profile, slot, small};

#[test]
fn slots_go_to_requests_in_the_order_of_their_registration() {
    let mut fixture = Fixture::new();
    // Ids that are in no order.
    let ids = [77, 3, u128::MAX, 12, 1];
    for id in ids {
        fixture.request(id, &small());
    }
    fixture.register_free("tm", 1, &vec![small(); 4]);
    for (id, number) in ids.into_iter().zip(0..4) {
        assert_eq!(fixture.status(id), Some(granted(&slot("tm", number))));
    }
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn a_request_that_a_slot_does_not_fit_does_not_hold_up_those_behind_it() {
    let mut fixture = Fixture::new();
    fixture.request(1, &profile(8.0, 0));
    fixture.request(2, &profile(1.0, 0));
    fixture.register_free("tm", 1, &[profile(2.0, 0)]);
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
}

#[test]
fn among_profiles_that_fit_age_decides() {
    let mut fixture = Fixture::new();
    let ages = [(5, 2.0), (4, 1.0), (3, 3.0), (2, 1.0)];
    for (id, cores) in ages {
        fixture.request(id, &profile(cores, 0));
    }
    fixture.log.take();
    fixture.register_free("tm", 1, &vec![profile(9.0, 0); 4]);
    let requested: Vec<_> = fixture
        .brief_effects()
        .into_iter()
        .filter(|said| said.starts_with("request"))
        .collect();
    assert_eq!(
        requested,
        [
            "request tm_0 for 5 #1",
            "request tm_1 for 4 #2",
            "request tm_2 for 3 #3",
            "request tm_3 for 2 #4",
        ]
    );
}

/// The large requests come back in the order 3, 1, and one that stayed leaves between them.
#[test]
fn a_request_that_waits_again_is_before_those_that_came_back_sooner_and_are_younger() {
    let mut fixture = Fixture::new();
    let large = profile(2.0, 0);
    for (id, cores) in [(1, 2.0), (2, 1.0), (3, 2.0), (4, 2.0)] {
        fixture.request(id, &profile(cores, 0));
    }
    for (worker, id) in [("one", 1), ("two", 2), ("three", 3)] {
        fixture.register_by_hand(worker, id, &free_report(worker, std::slice::from_ref(&large)));
    }
    fixture.unregister(3);
    fixture.cancel(4);
    fixture.unregister(1);
    fixture.unregister(2);
    fixture.register_free("tm", 4, &[large]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn a_covered_request_is_not_behind_an_uncovered_one_nor_before_it() {
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    fixture
        .actions
        .answer_next_allocation(Ok(WorkerPromise::Slots(vec![small(); 2])));
    fixture.request(2, &small());
    fixture.request(3, &profile(0.5, 0));
    fixture.log.take();
    for (worker, instance, oldest) in [("a", 1, 1), ("b", 2, 2), ("c", 3, 3)] {
        fixture.register_free(worker, instance, &[small()]);
        assert_eq!(fixture.status(oldest), Some(granted(&slot(worker, 0))));
    }
}

#[test]
fn slots_are_handed_out_in_the_order_in_which_they_became_free() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &vec![small(); 4]);
    for id in 1..=4 {
        fixture.request(id, &small());
    }
    for number in [2, 0, 3, 1] {
        fixture.free(&slot("tm", number), u128::from(number) + 1);
    }
    for (id, number) in [(11, 2), (12, 0), (13, 3), (14, 1)] {
        assert_eq!(fixture.request(id, &small()), granted(&slot("tm", number)));
    }
}

#[test]
fn a_request_takes_the_first_slot_that_fits_whatever_its_profile() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[profile(1.0, 0), profile(9.0, 0), profile(2.0, 0)]);
    assert_eq!(fixture.request(1, &profile(2.0, 0)), granted(&slot("tm", 1)));
    assert_eq!(fixture.request(2, &profile(1.0, 0)), granted(&slot("tm", 0)));
}

#[test]
fn a_request_whose_attempt_fails_keeps_its_place() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    for id in 1..=3 {
        fixture.request(id, &small());
    }
    gateway
        .answer(1, Err(SlotAllocationError::rejected("no")))
        .expect("it is pending");
    fixture.run();
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting), "the slot went to 2");
    fixture.register_free("other", 2, &[small()]);
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 0))), "before 3");
}

#[test]
fn a_request_that_loses_its_attempt_keeps_its_place() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small()])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.unregister(1);
    fixture.register_free("other", 2, &[small()]);
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 0))));
}

/// The slot with the lower number is in flight to the younger request.
#[test]
fn requests_that_lose_their_attempts_together_look_for_slots_in_the_order_of_their_age() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small(), small()])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(9, &small());
    fixture.request(1, &small());
    fixture.cancel(9);
    fixture.request(2, &small());
    assert_eq!(
        fixture.status(2),
        Some(AllocationStatus::InFlight { slot_id: slot("tm", 0) })
    );
    fixture.register_free("spare", 2, &[small()]);
    fixture.unregister(1);
    assert_eq!(fixture.status(1), Some(granted(&slot("spare", 0))));
    assert_eq!(fixture.status(2), Some(AllocationStatus::Waiting));
}

#[test]
fn a_request_that_is_registered_again_after_its_end_is_the_youngest() {
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.cancel(1);
    fixture.request(1, &small());
    fixture.register_free("tm", 1, &[small()]);
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
}
