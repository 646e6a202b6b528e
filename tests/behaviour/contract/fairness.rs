//! A slot goes to the oldest waiting request that it fits, a request to the slot that has been free
//! for the longest time.

use slot_manager::outcome::AllocationStatus;

use crate::common::{Fixture, free_report, granted, in_flight, profile, rejected, report, slot, small};

// The place of a request.

#[test]
fn slots_that_register_together_go_to_the_oldest_requests() {
    // given: ids in no order
    let mut fixture = Fixture::new();
    let ids = [77, 3, u128::MAX, 12, 1];
    for id in ids {
        fixture.request(id, &small());
    }

    // when: a slot for all but the last
    fixture.register_free("tm", 1, &vec![small(); 4]);

    // then
    for (id, number) in ids.into_iter().zip(0..4) {
        assert_eq!(fixture.status(id), Some(granted(&slot("tm", number))));
    }
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
}

#[test]
fn request_that_a_slot_does_not_fit_does_not_hold_up_younger_requests() {
    // given
    let mut fixture = Fixture::new();
    fixture.request(1, &profile(8.0, 0));
    fixture.request(2, &profile(1.0, 0));

    // when
    fixture.register_free("tm", 1, &[profile(2.0, 0)]);

    // then
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
}

#[test]
fn age_decides_among_profiles_that_fit() {
    // given
    let mut fixture = Fixture::new();
    for (id, cores) in [(5, 2.0), (4, 1.0), (3, 3.0), (2, 1.0)] {
        fixture.request(id, &profile(cores, 0));
    }
    fixture.log.take();

    // when
    fixture.register_free("tm", 1, &vec![profile(9.0, 0); 4]);

    // then
    let mut requested = fixture.brief_effects();
    requested.retain(|effect| effect.starts_with("request"));
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

#[test]
fn request_that_waits_again_comes_before_younger_ones_that_came_back_sooner() {
    // given: 1, 2 and 3 in flight, 4 waiting
    let mut fixture = Fixture::new();
    let large = profile(2.0, 0);
    for (id, cores) in [(1, 2.0), (2, 1.0), (3, 2.0), (4, 2.0)] {
        fixture.request(id, &profile(cores, 0));
    }
    for (worker, id) in [("one", 1), ("two", 2), ("three", 3)] {
        fixture.register_by_hand(worker, id, &free_report(worker, std::slice::from_ref(&large)));
    }

    // when: the large requests come back in the order 3, 1, and 4 leaves in between
    fixture.unregister(3);
    fixture.cancel(4);
    fixture.unregister(1);
    fixture.unregister(2);
    fixture.register_free("tm", 4, &[large]);

    // then
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn promised_slots_change_no_place() {
    // given: 1 is bound to no promised slot, 2 and 3 are
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    fixture.promise_next(&[small(), small()]);
    fixture.request(2, &small());
    fixture.request(3, &profile(0.5, 0));

    // when, then
    for (worker, instance, oldest) in [("a", 1, 1), ("b", 2, 2), ("c", 3, 3)] {
        fixture.register_free(worker, instance, &[small()]);
        assert_eq!(fixture.status(oldest), Some(granted(&slot(worker, 0))));
    }
}

#[test]
fn request_whose_attempt_fails_keeps_its_place() {
    // given: the slot of 1 goes to 2, and 3 and 4 wait
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    for id in 1..=4 {
        fixture.request(id, &small());
    }
    fixture.answer(&gateway, 1, rejected());
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
    assert_eq!(fixture.status(2), Some(in_flight(&slot("tm", 0))));

    // when
    fixture.register_free("other", 2, &[small(), small()]);

    // then
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 0))));
    assert_eq!(fixture.status(3), Some(granted(&slot("other", 1))));
}

#[test]
fn request_that_loses_its_attempt_keeps_its_place() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());

    // when
    fixture.unregister(1);
    fixture.register_free("other", 2, &[small()]);

    // then
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 0))));
}

#[test]
fn requests_that_lose_their_attempts_together_get_slots_in_the_order_of_their_age() {
    // given: the slot with the lower number is in flight to the younger request
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 1, &report("tm", &[None, None]));
    fixture.request(9, &small());
    fixture.request(1, &small());
    fixture.cancel(9);
    fixture.request(2, &small());
    assert_eq!(fixture.status(2), Some(in_flight(&slot("tm", 0))));
    fixture.register_free("spare", 2, &[small()]);

    // when
    fixture.unregister(1);

    // then
    assert_eq!(fixture.status(1), Some(granted(&slot("spare", 0))));
    assert_eq!(fixture.status(2), Some(AllocationStatus::Waiting));
}

#[test]
fn request_that_is_registered_again_after_its_end_is_the_youngest() {
    // given
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.cancel(1);
    fixture.request(1, &small());

    // when
    fixture.register_free("tm", 1, &[small()]);

    // then
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
}

// The place of a slot.

#[test]
fn slots_are_granted_in_the_order_in_which_they_became_free() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &vec![small(); 4]);
    for id in 1..=4 {
        fixture.request(id, &small());
    }
    for number in [2, 0, 3, 1] {
        fixture.free(&slot("tm", number), u128::from(number) + 1);
    }

    // when, then
    for (id, number) in [(11, 2), (12, 0), (13, 3), (14, 1)] {
        assert_eq!(fixture.request(id, &small()), granted(&slot("tm", number)));
    }
}

#[test]
fn request_takes_the_first_slot_that_fits_even_if_another_fits_exactly() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[profile(1.0, 0), profile(9.0, 0), profile(2.0, 0)]);

    // when, then
    assert_eq!(fixture.request(1, &profile(2.0, 0)), granted(&slot("tm", 1)));
    assert_eq!(fixture.request(2, &profile(1.0, 0)), granted(&slot("tm", 0)));
}
