//! A slot report is one transaction: checked whole, applied whole, judged on its result.

use slot_manager::testing::GatewayAnswer;
use slot_manager::{
    AllocationFailureCause, AllocationStatus, GrantLoss, ReportOutcome, RequestFailure, SlotReport, SlotReportError,
    SlotState, SlotStatus,
};

use crate::common::{Fixture, allocation, failures, granted, in_flight, instance, job, profile, report, slot, small};

fn held(worker: &str, number: u32, id: u128) -> SlotStatus {
    SlotStatus::allocated(slot(worker, number), small(), allocation(id), job(1))
}

fn free(worker: &str, number: u32) -> SlotStatus {
    SlotStatus::free(slot(worker, number), small())
}

#[test]
fn a_report_with_a_slot_of_another_worker_changes_nothing_at_all() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), None]));
    let refused = fixture.try_report(1, &SlotReport::new(vec![free("tm", 0), free("other", 1)]));
    let expected = SlotReportError::ForeignSlot {
        resource_id: "tm".into(),
        slot_id: slot("other", 1),
    };
    assert_eq!(refused, Err(expected));
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(1)));
    fixture.expect_nothing();
}

#[test]
fn a_report_that_names_a_slot_twice_changes_nothing_at_all() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), None]));
    let statuses = vec![free("tm", 0), free("tm", 1), held("tm", 0, 1)];
    let expected = SlotReportError::DuplicateSlot { slot_id: slot("tm", 0) };
    assert_eq!(fixture.try_report(1, &SlotReport::new(statuses)), Err(expected));
    assert_eq!(fixture.manager.slot_counts().registered, 2);
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(1)));
    fixture.expect_nothing();
}

#[test]
fn two_allocations_that_changed_places_are_not_lost() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), Some(2)]));
    assert_eq!(
        fixture.report(1, &report("tm", &[Some(2), Some(1)])),
        ReportOutcome::Applied
    );
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 1))));
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
}

#[test]
fn an_allocation_that_moved_off_a_slot_that_is_gone_is_not_lost() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), None]));
    fixture.report(1, &SlotReport::new(vec![held("tm", 1, 1)]));
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 1))));
    assert!(fixture.manager.slot(&slot("tm", 0)).is_none());
}

#[test]
fn an_allocation_that_moved_to_a_new_slot_is_not_lost() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1)]));
    fixture.report(1, &SlotReport::new(vec![held("tm", 5, 1), free("tm", 0)]));
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 5))));
    assert!(fixture.is_free(&slot("tm", 0)));
}

#[test]
fn an_allocation_that_the_report_does_not_show_is_lost_and_its_slot_served_once() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1)]));
    fixture.request(2, &small());
    fixture.request(3, &small());
    fixture.log.take();
    fixture.report(1, &report("tm", &[None]));
    let effects = fixture.log.take();
    assert_eq!(
        failures(&effects),
        [(
            allocation(1),
            AllocationFailureCause::GrantLost {
                slot_id: slot("tm", 0),
                loss: GrantLoss::ReportedFree,
            }
        )]
    );
    assert_eq!(fixture.status(1), None);
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
    assert_eq!(fixture.status(3), Some(AllocationStatus::Waiting));
}

#[test]
fn an_allocation_that_another_took_the_slot_of_is_lost_to_it() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1)]));
    fixture.report(1, &report("tm", &[Some(2)]));
    assert_eq!(
        failures(&fixture.log.take()),
        [(
            allocation(1),
            AllocationFailureCause::GrantLost {
                slot_id: slot("tm", 0),
                loss: GrantLoss::HeldByAnother {
                    allocation_id: allocation(2),
                    job_id: job(1),
                },
            }
        )]
    );
    assert_eq!(fixture.status(1), None);
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
}

#[test]
fn the_same_allocation_of_another_job_is_another() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1)]));
    let of_another_job = SlotStatus::allocated(slot("tm", 0), small(), allocation(1), job(2));
    fixture.report(1, &SlotReport::new(vec![of_another_job]));
    fixture.expect(&["lost 1 on tm_0: held by 1"]);
    let state = fixture.manager.slot(&slot("tm", 0)).expect("a known slot").state();
    let expected = SlotState::Allocated {
        allocation_id: allocation(1),
        job_id: job(2),
    };
    assert_eq!(state, expected);
}

#[test]
fn a_slot_that_is_not_mentioned_is_removed_and_its_owner_told() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), None, Some(3)]));
    fixture.report(1, &report("tm", &[Some(1)]));
    fixture.expect(&["lost 3 on tm_2: removed"]);
    assert_eq!(fixture.manager.slot_counts().registered, 1);
    assert_eq!(fixture.status(3), None);

    assert_eq!(
        fixture.request(4, &small()),
        AllocationStatus::Waiting,
        "the free one is gone too"
    );
}

#[test]
fn a_request_in_flight_to_a_slot_that_is_gone_goes_elsewhere() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register("tm", 1, &report("tm", &[None, Some(9)]));
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.register_free("other", 2, &[small()]);
    fixture.log.take();
    fixture.report(1, &SlotReport::new(vec![held("tm", 1, 9)]));
    fixture.expect(&["request other_0 for 1 #2", "granted 1 on other_0"]);
    assert_eq!(gateway.pending(), []);
}

/// The report was written before the request arrived there.
#[test]
fn an_attempt_in_flight_outlives_a_report_that_shows_its_slot_free() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();
    fixture.report(1, &report("tm", &[None]));
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
    assert_eq!(gateway.pending().len(), 1);
}

#[test]
fn an_attempt_in_flight_to_a_slot_that_another_holds_is_given_up() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.register_free("other", 2, &[small()]);
    fixture.log.take();
    fixture.report(1, &report("tm", &[Some(7)]));
    fixture.expect(&["free tm_0 of 1 #1", "request other_0 for 1 #2", "granted 1 on other_0"]);
    assert_eq!(fixture.status(7), Some(granted(&slot("tm", 0))));
    assert_eq!(gateway.pending(), []);
}

#[test]
fn an_attempt_in_flight_to_a_slot_that_the_same_id_of_another_job_holds_is_given_up() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();
    let of_another_job = SlotStatus::allocated(slot("tm", 0), small(), allocation(1), job(2));
    fixture.report(1, &SlotReport::new(vec![of_another_job]));
    let effects = fixture.log.take();
    assert_eq!(
        failures(&effects),
        [(
            allocation(1),
            AllocationFailureCause::RequestFailed(RequestFailure::HeldByAnotherJob {
                slot_id: slot("tm", 0),
                job_id: job(2),
            })
        )]
    );
    assert_eq!(fixture.manager.num_pending_slot_requests(), 0);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))), "of job 2");
}

#[test]
fn a_waiting_request_that_a_slot_turns_out_to_serve_is_complete() {
    let mut fixture = Fixture::new();
    fixture.request(1, &profile(9.0, 0));
    fixture.register_free("tm", 1, &[small()]);
    fixture.log.take();
    fixture.report(1, &report("tm", &[Some(1)]));
    assert_eq!(
        fixture.brief_effects(),
        ["granted 1 on tm_0"],
        "what it needed does not matter any more"
    );
}

#[test]
fn a_pausing_request_that_a_slot_turns_out_to_serve_is_complete() {
    let mut fixture = Fixture::new();
    let refused = Err(slot_manager::SlotAllocationError::rejected("no"));
    fixture.register_free("tm", 1, &[small()]).answer_requests(refused);
    fixture.request(1, &small());
    fixture.log.take();
    fixture.report(1, &report("tm", &[Some(1)]));
    fixture.expect(&["granted 1 on tm_0"]);
    assert_eq!(fixture.manager.next_deadline(), None, "the pause is gone with it");
}

#[test]
fn a_request_in_flight_elsewhere_that_a_slot_turns_out_to_serve_is_complete() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("a", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.register("b", 2, &report("b", &[Some(7)]));
    fixture.log.take();
    fixture.report(2, &report("b", &[Some(1)]));
    fixture.expect(&[
        "granted 1 on b_0",
        "lost 7 on b_0: held by 1",
        "free a_0 of 1 #1",
        "request a_0 for 2 #2",
    ]);
    assert_eq!(gateway.pending().len(), 1);
}

/// The slot the request is in flight to is in the same report.
#[test]
fn a_request_that_is_served_by_another_slot_of_its_task_executor_gives_its_own_back() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small(), profile(0.5, 0)])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();
    fixture.report(1, &SlotReport::new(vec![free("tm", 0), held("tm", 1, 1)]));
    fixture.expect(&["granted 1 on tm_1", "free tm_0 of 1 #1", "request tm_0 for 2 #2"]);
}

#[test]
fn a_free_slot_named_first_does_not_take_a_request_that_a_later_one_holds() {
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();
    fixture.register("tm", 1, &report("tm", &[None, Some(1)]));
    fixture.expect(&["granted 1 on tm_1", "request tm_0 for 2 #1", "granted 2 on tm_0"]);
}

#[test]
fn an_unknown_allocation_is_taken_over_silently() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);
    fixture.report(1, &report("tm", &[Some(7)]));
    fixture.expect_nothing();
    assert_eq!(fixture.status(7), Some(granted(&slot("tm", 0))));
}

#[test]
fn a_report_that_changes_nothing_says_nothing() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), None]));
    fixture.request(2, &profile(9.0, 0));
    fixture.log.take();
    for _ in 0..3 {
        assert_eq!(
            fixture.report(1, &report("tm", &[Some(1), None])),
            ReportOutcome::Applied
        );
    }
    fixture.expect_nothing();
}

#[test]
fn slots_that_were_not_known_are_added_and_matched_in_the_order_of_the_requests() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[]);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();
    fixture.report(1, &SlotReport::new(vec![free("tm", 9), free("tm", 4), free("tm", 6)]));
    assert_eq!(
        fixture.status(1),
        Some(granted(&slot("tm", 9))),
        "in the order of the report"
    );
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 4))));
    assert!(fixture.is_free(&slot("tm", 6)));
}

#[test]
fn the_profile_of_a_known_slot_is_updated() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None, Some(7)]));
    fixture.request(1, &profile(4.0, 0));
    let bigger = SlotReport::new(vec![
        SlotStatus::free(slot("tm", 0), profile(4.0, 0)),
        SlotStatus::allocated(slot("tm", 1), profile(5.0, 0), allocation(7), job(1)),
    ]);
    fixture.log.take();
    fixture.report(1, &bigger);
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
    let profiles: Vec<_> = fixture
        .manager
        .slots()
        .map(|slot| slot.resource_profile().clone())
        .collect();
    assert_eq!(profiles, [profile(4.0, 0), profile(5.0, 0)]);
}

#[test]
fn a_slot_that_became_smaller_is_not_given_to_what_it_does_not_fit_any_more() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[profile(4.0, 0)]);
    fixture.report(
        1,
        &SlotReport::new(vec![SlotStatus::free(slot("tm", 0), profile(1.0, 0))]),
    );
    assert_eq!(fixture.request(1, &profile(2.0, 0)), AllocationStatus::Waiting);
    assert_eq!(fixture.request(2, &profile(1.0, 0)), granted(&slot("tm", 0)));
}

#[test]
fn the_profile_of_a_slot_in_flight_is_updated_and_its_attempt_goes_on() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small()])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();
    fixture.report(
        1,
        &SlotReport::new(vec![SlotStatus::free(slot("tm", 0), profile(9.0, 0))]),
    );
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
    fixture.cancel(1);
    assert_eq!(fixture.request(2, &profile(8.0, 0)), in_flight(&slot("tm", 0)));
}

#[test]
fn an_empty_report_takes_all_slots_and_leaves_the_task_manager() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), None]));
    fixture.report(1, &SlotReport::default());
    fixture.expect(&["lost 1 on tm_0: removed"]);
    let task_manager = fixture.manager.task_manager(instance(1)).expect("it is registered");
    assert_eq!(task_manager.slot_counts().registered, 0);
    assert!(task_manager.idle_since().is_some());
}
