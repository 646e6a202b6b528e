//! Grants: requests whose allocation is found on a slot, allocations that hold two slots, and lost
//! grants. Comments of the form `B.n` name the defects of FLINK-5810 that a test guards against.

use std::time::Duration;

use slot_manager::message::{AllocationFailureCause, GrantLoss, RequestFailure};
use slot_manager::outcome::{AllocationStatus, SlotFreedOutcome, SlotRequestOutcome, UnregistrationOutcome};
use slot_manager::testing::{Action, GatewayAnswer};
use slot_manager::view::SlotState;
use slot_manager::{SlotReport, SlotStatus};

use crate::common::{
    Fixture, allocation, ask, failures, frees, granted, held_by, job, occupied, profile, rejected, report, slot, small,
};

// Requests whose allocation is found on a slot.

/// Where request 2 is when its allocation is found on slot `tm_0`. Its profile fits no slot of
/// `tm`, so this is the only way to get that slot.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Elsewhere {
    Waiting,
    InFlight,
    BackingOff,
}

const PLACES: [Elsewhere; 3] = [Elsewhere::Waiting, Elsewhere::InFlight, Elsewhere::BackingOff];

impl Elsewhere {
    fn given(self) -> Fixture {
        let wide = profile(8.0, 10);
        let mut fixture = Fixture::new();
        if self != Self::Waiting {
            let gateway = fixture.gateway_by_hand();
            let slots = SlotReport::new(vec![SlotStatus::free(slot("other", 0), wide.clone())]);
            fixture.register_with("other", 70, &slots, &gateway);
            fixture.request(2, &wide);
            if self == Self::BackingOff {
                fixture.answer(&gateway, 1, rejected());
                fixture.answer(&gateway, 2, rejected());
            }
        } else {
            fixture.request(2, &wide);
        }
        fixture.log.take();
        fixture
    }

    /// The number of the next attempt.
    fn next_attempt(self) -> u64 {
        match self {
            Self::Waiting => 1,
            Self::InFlight => 2,
            Self::BackingOff => 3,
        }
    }

    /// Checks that request 2 was granted `tm_0`. The other effects are `others`, the free of its
    /// own attempt, and `after`.
    #[track_caller]
    fn expect_complete(self, fixture: &mut Fixture, others: &[String], after: &[String]) {
        let mut expected = vec!["granted 2 on tm_0".to_owned()];
        expected.extend_from_slice(others);
        if self == Self::InFlight {
            expected.push("free other_0 of 2 #1".to_owned());
        }
        expected.extend_from_slice(after);
        assert_eq!(fixture.brief_effects(), expected, "{self:?}");
        assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))), "{self:?}");
        if self != Self::Waiting {
            assert!(fixture.is_free(&slot("other", 0)), "{self:?}");
        }
        assert_eq!(fixture.manager.next_deadline(), None, "no backoff is left");
        fixture.advance(Duration::from_secs(100));
        fixture.expect_nothing();
    }
}

/// B.12, first shape, by a report.
#[test]
fn request_is_complete_when_its_allocation_is_reported_on_a_slot_in_flight_for_another() {
    for place in PLACES {
        // given
        let mut fixture = place.given();
        fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
        fixture.request(1, &small());
        let attempt = place.next_attempt();
        fixture.expect(&[&format!("request tm_0 for 1 #{attempt}")]);

        // when
        fixture.report(7, &report("tm", &[Some(2), None]));

        // then
        place.expect_complete(
            &mut fixture,
            &[format!("free tm_0 of 1 #{attempt}")],
            &[format!("request tm_1 for 1 #{}", attempt + 1)],
        );
    }
}

/// B.12, first shape, by an answer.
#[test]
fn request_is_complete_when_the_attempt_of_another_finds_its_allocation() {
    for place in PLACES {
        // given
        let mut fixture = place.given();
        let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
        fixture.request(1, &small());
        fixture.log.take();
        let attempt = place.next_attempt();

        // when
        fixture.answer(&gateway, attempt, occupied(2));

        // then
        place.expect_complete(&mut fixture, &[], &[format!("request tm_1 for 1 #{}", attempt + 1)]);
    }
}

/// B.12, second shape.
#[test]
fn request_is_complete_when_its_allocation_is_reported_on_a_free_slot() {
    for place in PLACES {
        // given
        let mut fixture = place.given();
        fixture.register("tm", 7, &report("tm", &[None]));

        // when
        fixture.report(7, &report("tm", &[Some(2)]));

        // then
        place.expect_complete(&mut fixture, &[], &[]);
    }
}

/// B.12, second shape, where another allocation held the slot.
#[test]
fn request_is_complete_when_its_allocation_is_reported_in_place_of_another() {
    for place in PLACES {
        // given
        let mut fixture = place.given();
        fixture.register("tm", 7, &report("tm", &[Some(50)]));

        // when
        fixture.report(7, &report("tm", &[Some(2)]));

        // then
        place.expect_complete(&mut fixture, &["lost 50 on tm_0: held by 2".to_owned()], &[]);
    }
}

/// B.12, third shape: the task manager is new, or registers again.
#[test]
fn request_is_complete_when_its_allocation_is_on_a_slot_that_registers() {
    for place in PLACES {
        for registered_before in [false, true] {
            // given
            let mut fixture = place.given();
            if registered_before {
                fixture.register("tm", 7, &report("tm", &[None]));
            }

            // when
            fixture.register("tm", 8, &report("tm", &[Some(2)]));

            // then
            place.expect_complete(&mut fixture, &[], &[]);
        }
    }
}

#[test]
fn slot_in_flight_of_a_request_that_is_complete_serves_the_next() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("a", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.register("b", 2, &report("b", &[Some(7)]));
    fixture.log.take();

    // when
    fixture.report(2, &report("b", &[Some(1)]));

    // then
    fixture.expect(&[
        "granted 1 on b_0",
        "lost 7 on b_0: held by 1",
        "free a_0 of 1 #1",
        "request a_0 for 2 #2",
    ]);
    assert_eq!(gateway.pending().len(), 1);
}

/// The report shows both slots.
#[test]
fn slot_in_flight_of_a_request_that_another_slot_of_its_task_executor_serves_is_freed() {
    // given
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small(), profile(0.5, 0)])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when
    fixture.report(
        1,
        &SlotReport::new(vec![
            SlotStatus::free(slot("tm", 0), small()),
            held_by(slot("tm", 1), 1, 1),
        ]),
    );

    // then
    fixture.expect(&["granted 1 on tm_1", "free tm_0 of 1 #1", "request tm_0 for 2 #2"]);
}

/// B.12: the request can never be served, because its id is taken by another job.
#[test]
fn request_fails_when_its_allocation_is_held_by_another_job() {
    for place in PLACES {
        // given
        let mut fixture = place.given();

        // when
        fixture.register("tm", 7, &SlotReport::new(vec![held_by(slot("tm", 0), 2, 9)]));

        // then
        let effects = fixture.log.take();
        let held = AllocationFailureCause::RequestFailed(RequestFailure::HeldByAnotherJob {
            slot_id: slot("tm", 0),
            job_id: job(9),
        });
        assert_eq!(failures(&effects), [(allocation(2), held)], "{place:?}");
        let given_up = if place == Elsewhere::InFlight { 1 } else { 0 };
        assert_eq!(
            (frees(&effects).len(), effects.len()),
            (given_up, 1 + given_up),
            "{place:?}"
        );
        assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
        assert_eq!(fixture.manager.overview().pending_requests, 0);
    }
}

// Allocations that hold two slots.

/// Two slots of `tm` that hold allocation 1: the first is its grant.
fn with_second_slot() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), Some(1)]));
    fixture.expect(&["free tm_1 of 1 #0"]);
    fixture
}

/// Slots of two task managers that hold allocation 1: the slot of `first` is its grant.
fn with_second_slot_elsewhere() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.register("first", 1, &report("first", &[Some(1)]));
    fixture.register("second", 2, &report("second", &[Some(1)]));
    fixture.expect(&["free second_0 of 1 #0"]);
    fixture
}

/// Three slots that hold allocation 1: the slot of `tm` is its grant, two slots of `other` were
/// found later.
fn one_allocation_on_three_slots() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1)]));
    fixture.register("other", 2, &report("other", &[None, Some(1), Some(1)]));
    fixture
}

/// B.19
#[test]
fn second_slot_of_an_allocation_is_in_use_and_freed() {
    for mut fixture in [with_second_slot(), with_second_slot_elsewhere()] {
        // then: the first is the grant, the other is not handed out
        let first = fixture.manager.slots().next().expect("two slots").slot_id();
        assert_eq!(fixture.status(1), Some(granted(&first)));
        let counts = fixture.manager.overview().slots.counts();
        assert_eq!([counts.free, counts.in_flight, counts.allocated], [0, 0, 2]);
        assert!(
            fixture
                .manager
                .task_managers()
                .all(|task_manager| task_manager.idle_since().is_none())
        );
        assert_eq!(fixture.request(2, &small()), AllocationStatus::Waiting);
        fixture.expect(&[&ask(1)]);
    }
}

/// B.19
#[test]
fn each_report_that_repeats_a_second_slot_has_it_freed_again() {
    // given
    let mut fixture = one_allocation_on_three_slots();
    fixture.expect(&["free other_1 of 1 #0", "free other_2 of 1 #0"]);

    // when, then: the grant is not freed
    for _ in 0..2 {
        fixture.report(2, &report("other", &[None, Some(1), Some(1)]));
        fixture.expect(&["free other_1 of 1 #0", "free other_2 of 1 #0"]);
        fixture.report(1, &report("tm", &[Some(1)]));
        fixture.expect_nothing();
    }

    // when, then: one slot has been freed
    fixture.report(2, &report("other", &[None, None, Some(1)]));
    fixture.expect(&["free other_2 of 1 #0"]);

    // when, then: the free carries the number of the latest attempt, so it ends each earlier one
    fixture.request(5, &small());
    fixture.log.take();
    fixture.report(2, &report("other", &[Some(5), None, Some(1)]));
    fixture.expect(&["free other_2 of 1 #1"]);
}

/// The free carries the number of the latest attempt, so it ends each attempt for the slot.
#[test]
fn second_slot_is_freed_with_the_number_of_the_latest_attempt() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("used", 9, &[small(), small()]);
    fixture.request(8, &small());
    fixture.request(9, &small());
    fixture.register("tm", 1, &report("tm", &[Some(1)]));
    fixture.log.take();

    // when
    fixture.register("other", 2, &report("other", &[Some(1)]));

    // then
    fixture.expect(&["free other_0 of 1 #2"]);
}

/// B.19
#[test]
fn freeing_the_second_slot_leaves_the_grant_alone() {
    for freed_by_report in [false, true] {
        // given
        let mut fixture = with_second_slot_elsewhere();
        fixture.request(2, &small());
        fixture.log.take();

        // when
        if freed_by_report {
            fixture.report(2, &report("second", &[None]));
        } else {
            assert_eq!(fixture.free(&slot("second", 0), 1), SlotFreedOutcome::Freed);
        }

        // then: the slot serves the next, nothing is lost
        fixture.expect(&["request second_0 for 2 #1", "granted 2 on second_0"]);
        assert_eq!(fixture.status(1), Some(granted(&slot("first", 0))));
        let duplicate = fixture.try_request(1, 1, &small());
        let known = granted(&slot("first", 0));
        assert_eq!(duplicate, Ok(SlotRequestOutcome::Duplicate(known)));
    }
}

#[test]
fn second_slot_that_was_freed_does_not_take_the_place_of_the_grant() {
    // given
    let mut fixture = one_allocation_on_three_slots();
    fixture.log.take();

    // when, then
    assert_eq!(fixture.free(&slot("other", 1), 1), SlotFreedOutcome::Freed);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert!(fixture.is_free(&slot("other", 1)));

    // when, then: the next grant is the other slot
    fixture.free(&slot("tm", 0), 1);
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 2))));
}

/// B.19
#[test]
fn second_slot_takes_the_place_of_a_grant_that_ends() {
    fn freed(fixture: &mut Fixture) {
        assert_eq!(fixture.free(&slot("first", 0), 1), SlotFreedOutcome::Freed);
    }
    fn lost_with_its_task_manager(fixture: &mut Fixture) {
        assert_eq!(fixture.unregister(1), UnregistrationOutcome::Unregistered);
    }
    fn reported_free(fixture: &mut Fixture) {
        fixture.report(1, &report("first", &[None]));
    }
    fn reported_as_held_by_another(fixture: &mut Fixture) {
        fixture.report(1, &report("first", &[Some(99)]));
    }
    fn no_longer_reported(fixture: &mut Fixture) {
        fixture.report(1, &report("first", &[]));
    }
    fn registered_again(fixture: &mut Fixture) {
        fixture.register("first", 11, &report("first", &[None]));
    }

    for ended in [
        freed,
        lost_with_its_task_manager,
        reported_free,
        reported_as_held_by_another,
        no_longer_reported,
        registered_again,
    ] {
        // given
        let mut fixture = with_second_slot_elsewhere();

        // when
        ended(&mut fixture);

        // then: without a notice, because the job holds the allocation all the time
        fixture.expect_nothing();
        assert_eq!(fixture.status(1), Some(granted(&slot("second", 0))));

        // when, then: it is a grant like any other
        fixture.report(2, &report("second", &[Some(1)]));
        fixture.expect_nothing();
        fixture.report(2, &report("second", &[None]));
        fixture.expect(&["lost 1 on second_0: free"]);
    }
}

/// B.19: second slots are judged on the whole report.
#[test]
fn report_that_ends_the_grant_does_not_free_the_slot_that_takes_its_place() {
    let second = |first: Option<SlotStatus>| {
        let mut statuses = Vec::from_iter(first);
        statuses.push(held_by(slot("tm", 1), 1, 1));
        SlotReport::new(statuses)
    };
    for (report, how) in [
        (second(Some(SlotStatus::free(slot("tm", 0), small()))), "free"),
        (second(Some(held_by(slot("tm", 0), 99, 1))), "held by another"),
        (second(None), "removed"),
    ] {
        // given
        let mut fixture = with_second_slot();

        // when
        fixture.report(7, &report);

        // then
        assert_eq!(fixture.status(1), Some(granted(&slot("tm", 1))), "{how}");
        assert_eq!(fixture.brief_effects(), [""; 0], "{how}");
    }
}

/// B.19: the slot in flight becomes the grant. The order of the statuses does not matter.
#[test]
fn report_that_confirms_an_attempt_and_shows_a_second_slot_grants_the_slot_in_flight() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 7, &report("tm", &[None, Some(50)]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    let statuses = vec![held_by(slot("tm", 1), 1, 1), held_by(slot("tm", 0), 1, 1)];
    fixture.report(7, &SlotReport::new(statuses));

    // then
    fixture.expect(&["granted 1 on tm_0", "lost 50 on tm_1: held by 1", "free tm_1 of 1 #1"]);
}

/// B.19
#[test]
fn oldest_of_several_second_slots_takes_the_place_of_the_grant() {
    // given
    let mut fixture = Fixture::new();
    for (worker, instance) in [("first", 1), ("second", 2), ("third", 3)] {
        fixture.register(worker, instance, &report(worker, &[Some(1)]));
    }
    fixture.expect(&["free second_0 of 1 #0", "free third_0 of 1 #0"]);

    // when, then
    fixture.free(&slot("first", 0), 1);
    assert_eq!(fixture.status(1), Some(granted(&slot("second", 0))));
    fixture.report(3, &report("third", &[Some(1)]));
    fixture.expect(&["free third_0 of 1 #0"]);
    fixture.unregister(2);
    assert_eq!(fixture.status(1), Some(granted(&slot("third", 0))));
    fixture.expect_nothing();
    fixture.unregister(3);
    fixture.expect(&["lost 1 on third_0: unregistered"]);
}

#[test]
fn second_slots_take_the_place_of_freed_grants_until_the_last_is_freed() {
    // given
    let mut fixture = one_allocation_on_three_slots();
    fixture.log.take();

    // when, then
    assert_eq!(fixture.free(&slot("tm", 0), 1), SlotFreedOutcome::Freed);
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 1))));
    assert_eq!(fixture.free(&slot("other", 1), 1), SlotFreedOutcome::Freed);
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 2))));
    assert_eq!(fixture.free(&slot("other", 2), 1), SlotFreedOutcome::Freed);
    assert_eq!(fixture.status(1), None);
    fixture.expect_nothing();
}

#[test]
fn allocation_whose_slots_are_all_unregistered_together_is_lost_once() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), Some(1), Some(1)]));
    fixture.expect(&["free tm_1 of 1 #0", "free tm_2 of 1 #0"]);

    // when, then
    fixture.unregister(1);
    fixture.expect(&["lost 1 on tm_0: unregistered"]);
    assert_eq!(fixture.status(1), None);
}

/// B.19: found by an answer.
#[test]
fn slot_that_is_occupied_by_an_allocation_granted_elsewhere_is_freed() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("first", 1, &report("first", &[Some(1)]));
    let gateway = fixture.register_by_hand("second", 2, &report("second", &[None]));
    fixture.request(2, &small());
    fixture.log.take();

    // when
    fixture.answer(&gateway, 1, occupied(1));

    // then
    fixture.expect(&["free second_0 of 1 #1", &ask(1)]);
    assert_eq!(fixture.status(1), Some(granted(&slot("first", 0))));
    assert_eq!(fixture.holder(&slot("second", 0)), Some(allocation(1)));
}

/// B.19: the first slot that a report lists becomes the grant, the other is a second slot.
#[test]
fn request_that_is_found_on_two_slots_is_granted_the_first() {
    // given
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.register("tm", 7, &report("tm", &[None, Some(1), Some(1)]));

    // then
    fixture.expect(&["granted 1 on tm_1", "free tm_2 of 1 #0"]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 1))));
}

/// B.19, in the names of two jobs: the slot takes the place, but the first job has lost its grant.
#[test]
fn grant_whose_place_is_taken_by_a_slot_of_another_job_is_lost() {
    for unregistered in [false, true] {
        // given
        let mut fixture = Fixture::new();
        fixture.register("first", 1, &report("first", &[Some(1)]));
        fixture.register("second", 2, &SlotReport::new(vec![held_by(slot("second", 0), 1, 2)]));
        let freed = frees(&fixture.log.take());
        assert_eq!(
            (freed.len(), &freed[0].slot_id, freed[0].job_id),
            (1, &slot("second", 0), job(2))
        );

        // when
        if unregistered {
            fixture.unregister(1);
        } else {
            fixture.report(1, &report("first", &[None]));
        }

        // then
        let how = if unregistered { "unregistered" } else { "free" };
        fixture.expect(&[&format!("lost 1 on first_0: {how}")]);
        assert_eq!(fixture.status(1), Some(granted(&slot("second", 0))));
    }
}

// Lost grants.

/// B.20: the job is kept with the slot.
#[test]
fn lost_grant_is_notified_to_the_job_that_held_it() {
    // given: allocations of two jobs, one adopted from a report, one requested
    let mut fixture = Fixture::new();
    let status = SlotStatus::free(slot("tm", 1), small());
    fixture.register("tm", 7, &SlotReport::new(vec![held_by(slot("tm", 0), 1, 5), status]));
    let outcome = fixture.try_request(6, 2, &small());
    assert_eq!(outcome, Ok(SlotRequestOutcome::Accepted(granted(&slot("tm", 1)))));
    fixture.log.take();

    // when
    fixture.unregister(7);

    // then
    let notified: Vec<_> = fixture
        .actions
        .take()
        .into_iter()
        .map(|action| match action {
            Action::NotifyAllocationFailure {
                job_id, allocation_id, ..
            } => (job_id, allocation_id),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(notified, [(job(5), allocation(1)), (job(6), allocation(2))]);
}

/// B.20
#[test]
fn allocation_that_changes_its_job_is_lost_to_the_first_job() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1)]));

    // when
    fixture.report(7, &SlotReport::new(vec![held_by(slot("tm", 0), 1, 2)]));

    // then
    let loss = GrantLoss::HeldByAnother {
        allocation_id: allocation(1),
        job_id: job(2),
    };
    let cause = AllocationFailureCause::GrantLost {
        slot_id: slot("tm", 0),
        loss,
    };
    assert_eq!(failures(&fixture.log.take()), [(allocation(1), cause)]);
    let held = SlotState::Allocated {
        allocation_id: allocation(1),
        job_id: job(2),
    };
    assert_eq!(fixture.state(&slot("tm", 0)), held);
}
