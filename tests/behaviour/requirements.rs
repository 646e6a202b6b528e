//! Declared requirements: their charges, the requests they make, and the shortages they are told.

use std::time::Duration;

use slot_manager::config::WorkerPolicy;
use slot_manager::error::{RequirementsError, ResourceManagerError, SlotRequestError};
use slot_manager::message::{SlotFreed, WorkerPromise};
use slot_manager::outcome::{CancelOutcome, RequirementsOutcome, SlotFreedOutcome, Stale, UnregistrationOutcome};
use slot_manager::testing::GatewayAnswer;
use slot_manager::view::WaitReason;
use slot_manager::{
    AllocationId, ResourceProfile, ResourceRequirements, SlotId, SlotManagerConfig, SlotReport, SlotStatus,
};

use crate::common::{
    Fixture, MILLISECOND, NANOSECOND, SECOND, acknowledged, acknowledged_at, allocation, ask, cores, described,
    free_report, held_by, job, name_of, patient, rejected, report, requirements, slot, small, unit, worker_of,
};

/// The default of `requirement_check_delay`.
const CHECK_DELAY: Duration = Duration::from_millis(50);

fn declared(requested: usize, withdrawn: usize, excess: usize) -> RequirementsOutcome {
    RequirementsOutcome::Declared {
        requested,
        withdrawn,
        excess,
    }
}

/// Returns a fixture in which job 1 holds three small slots of worker `tm`, granted to declared
/// requirements.
#[track_caller]
fn with_three_grants() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 7, &[small(), small(), small()]);
    assert_eq!(fixture.declare(&[(&small(), 3)]), declared(3, 0, 0));
    assert_eq!(fixture.required(), [3, 3, 0, 0, 0, 0]);
    fixture.log.take();
    fixture
}

/// Frees the slot of a unit.
#[track_caller]
fn free_unit(fixture: &mut Fixture, slot: &SlotId, id: AllocationId) -> SlotFreedOutcome {
    fixture.step(|manager| manager.slot_freed(&SlotFreed::new(slot.clone(), id)))
}

// Declaring.

#[test]
fn declared_slots_are_requested_and_the_rest_waits() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &free_report("tm", &[small(), small()]));
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    // when
    let outcome = fixture.declare(&[(&small(), 3)]);
    // then
    assert_eq!(outcome, declared(3, 0, 0));
    fixture.expect(&["request tm_0 for u1 #1", "request tm_1 for u2 #2", &ask(1)]);
    assert_eq!(fixture.required(), [3, 0, 2, 1, 0, 0]);
    // when
    fixture.answer(&gateway, 1, acknowledged());
    // then
    fixture.expect(&["granted u1 on tm_0"]);
    assert_eq!(fixture.required(), [3, 1, 1, 1, 0, 0]);
}

#[test]
fn profiles_are_requested_in_the_order_of_the_declaration() {
    let mut fixture = Fixture::new();
    fixture.declare(&[(&cores(2), 1), (&small(), 2), (&cores(3), 1)]);
    let order: Vec<_> = fixture.manager.pending_slot_requests().collect();
    let profiles: Vec<_> = order.iter().map(|request| request.resource_profile().clone()).collect();
    assert_eq!(profiles, [cores(2), small(), small(), cores(3)]);
}

#[test]
fn equal_declaration_looks_at_nothing() {
    // given
    let mut fixture = with_three_grants();
    free_unit(&mut fixture, &slot("tm", 0), unit(1));
    let changes = fixture.manager.changes();
    // when
    let outcome = fixture.declare(&[(&small(), 3)]);
    // then: the freed slot is not requested before its time
    assert_eq!(outcome, RequirementsOutcome::Unchanged);
    fixture.expect_nothing();
    assert_eq!(fixture.manager.changes(), changes);
}

#[test]
fn other_target_address_holds_for_later_attempts() {
    // given
    let mut fixture = Fixture::new();
    fixture.declare(&[(&small(), 1)]);
    // when
    let moved = ResourceRequirements::new(job(1), "elsewhere")
        .require(small(), 2)
        .unwrap();
    let outcome = fixture.try_declare(&moved);
    // then
    assert_eq!(outcome, Ok(declared(1, 0, 0)));
    let addresses: Vec<_> = fixture
        .manager
        .pending_slot_requests()
        .map(|request| request.target_address().to_string())
        .collect();
    assert_eq!(addresses, ["elsewhere", "elsewhere"]);
}

#[test]
fn job_requests_or_declares() {
    // given
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    let before = fixture.view();
    // when, then
    let refused = fixture.try_declare(&requirements(1, &[(&small(), 1)]));
    assert_eq!(refused, Err(RequirementsError::HasSlotRequests { job_id: job(1) }));
    assert_eq!(fixture.view(), before);
    // when
    fixture.cancel(1);
    assert_eq!(fixture.declare(&[(&small(), 1)]), declared(1, 0, 0));
    let before = fixture.view();
    // then
    let refused = fixture.try_request(1, 2, &small());
    assert_eq!(refused, Err(SlotRequestError::Declares { job_id: job(1) }));
    assert_eq!(fixture.view(), before);
    // and: another job requests, and this one does after its declaration
    assert!(fixture.try_request(2, 3, &small()).is_ok());
    fixture.declare(&[]);
    assert!(fixture.try_request(1, 4, &small()).is_ok());
}

#[test]
fn old_declaration_is_ignored() {
    // given
    let mut fixture = Fixture::new();
    let revised = |slots: u32, revision| requirements(1, &[(&small(), slots)]).with_revision(revision);
    fixture.try_declare(&revised(5, 5)).unwrap();
    let stale = |revision, highest_seen| Ok(RequirementsOutcome::Ignored(Stale { revision, highest_seen }));
    // when, then
    assert_eq!(fixture.try_declare(&revised(9, 4)), stale(4, 5));
    assert_eq!(fixture.required(), [5, 0, 0, 5, 0, 0]);
    // when
    assert_eq!(fixture.try_declare(&revised(0, 6)), Ok(declared(0, 5, 0)));
    // then: the revision is remembered after an empty declaration
    assert_eq!(fixture.try_declare(&revised(5, 5)), stale(5, 6));
    assert_eq!(fixture.manager.requirements(job(1)), None);
    // when
    fixture.unregister_job(1);
    // then
    assert_eq!(fixture.try_declare(&revised(5, 5)), Ok(declared(5, 0, 0)));
}

#[test]
fn equal_declaration_renews_the_revision() {
    let mut fixture = Fixture::new();
    let revised = |slots: u32, revision| requirements(1, &[(&small(), slots)]).with_revision(revision);
    fixture.try_declare(&revised(1, 1)).unwrap();
    assert_eq!(fixture.try_declare(&revised(1, 3)), Ok(RequirementsOutcome::Unchanged));
    let ignored = RequirementsOutcome::Ignored(Stale {
        revision: 2,
        highest_seen: 3,
    });
    assert_eq!(fixture.try_declare(&revised(2, 2)), Ok(ignored));
}

#[test]
fn equal_declaration_is_a_change_only_with_a_newer_revision() {
    // given
    let mut fixture = Fixture::new();
    let revised = |revision| requirements(1, &[(&small(), 1)]).with_revision(revision);
    fixture.try_declare(&revised(3)).unwrap();
    let changes = fixture.manager.changes();
    // when, then: the same revision and none are no news
    fixture.try_declare(&revised(3)).unwrap();
    fixture.declare(&[(&small(), 1)]);
    assert_eq!(fixture.manager.changes(), changes);
    // when, then
    fixture.try_declare(&revised(4)).unwrap();
    assert_eq!(fixture.manager.changes(), changes + 1);
}

#[test]
fn declaration_beyond_the_limit_is_refused_whole() {
    // given: two pending requests of four
    let mut fixture = Fixture::with(SlotManagerConfig::default().with_max_pending_requests(Some(4)));
    fixture.try_request(2, 1, &small()).unwrap();
    fixture.declare(&[(&small(), 1)]);
    let before = fixture.view();
    // when, then
    let too_many = Err(RequirementsError::TooManyPendingRequests { limit: 4 });
    assert_eq!(fixture.try_declare(&requirements(1, &[(&small(), 4)])), too_many);
    assert_eq!(fixture.view(), before);
    assert_eq!(fixture.declare(&[(&small(), 3)]), declared(2, 0, 0));
}

#[test]
fn held_slots_do_not_count_for_the_limit() {
    // given: a job that holds three slots, one of them too small
    let mut fixture = Fixture::with(SlotManagerConfig::default().with_max_pending_requests(Some(1)));
    let statuses = [(0, small()), (1, cores(2)), (2, cores(2))];
    let statuses = statuses.map(|(number, profile)| {
        let slot_id = slot("tm", number);
        SlotStatus::allocated(slot_id, profile, allocation(u128::from(number) + 1), job(1))
    });
    fixture.register("tm", 7, &SlotReport::new(statuses.to_vec()));
    // when, then
    let wanted = requirements(1, &[(&cores(2), 4)]);
    assert_eq!(
        fixture.try_declare(&wanted),
        Err(RequirementsError::TooManyPendingRequests { limit: 1 })
    );
    assert_eq!(fixture.declare(&[(&cores(2), 3)]), declared(1, 0, 1));
    // when: two charged slots become excess, and the third is charged
    assert_eq!(fixture.declare(&[(&cores(3), 1), (&small(), 1)]), declared(1, 1, 2));
}

#[test]
fn job_that_needs_no_more_than_before_is_not_refused() {
    // given: a refill that the limit does not count, so that more requests are pending than allowed
    let mut fixture = Fixture::with(SlotManagerConfig::default().with_max_pending_requests(Some(2)));
    fixture.register_free("tm", 7, &[small(), small()]);
    assert_eq!(fixture.declare(&[(&small(), 2)]), declared(2, 0, 0));
    fixture.try_request(2, 1, &small()).unwrap();
    fixture.try_request(2, 2, &small()).unwrap();
    fixture.unregister(7);
    assert_eq!(fixture.required(), [2, 0, 0, 2, 0, 0]);
    // when, then: as many and fewer are declared, but not more
    assert_eq!(fixture.declare(&[(&cores(2), 2)]), declared(2, 2, 0));
    assert_eq!(fixture.declare(&[(&cores(2), 1)]), declared(0, 1, 0));
    let before = fixture.view();
    let too_many = Err(RequirementsError::TooManyPendingRequests { limit: 2 });
    assert_eq!(fixture.try_declare(&requirements(1, &[(&cores(2), 2)])), too_many);
    assert_eq!(fixture.view(), before);
}

#[test]
fn large_declaration_is_made_in_batches() {
    // given
    let mut fixture = Fixture::with(patient());
    // when
    let outcome = fixture.declare(&[(&small(), 3000)]);
    // then
    assert_eq!(outcome, declared(3000, 0, 0));
    assert_eq!(fixture.manager.pending_slot_requests().count(), 1024);
    assert_eq!(fixture.required(), [3000, 0, 0, 3000, 0, 0]);
    // when
    fixture.advance(Duration::ZERO);
    fixture.advance(MILLISECOND);
    // then
    assert_eq!(fixture.manager.pending_slot_requests().count(), 3000);
}

#[test]
fn declaration_replaces_the_batches_of_the_former() {
    let mut fixture = Fixture::with(patient());
    fixture.declare(&[(&small(), 3000)]);
    assert_eq!(fixture.declare(&[(&small(), 1000)]), declared(0, 24, 0));
    fixture.advance(SECOND);
    assert_eq!(fixture.manager.pending_slot_requests().count(), 1000);
}

#[test]
fn without_a_leadership_nothing_is_declared() {
    let mut fixture = Fixture::not_started(SlotManagerConfig::default());
    let refused = fixture.try_declare(&requirements(1, &[(&small(), 1)]));
    assert!(matches!(refused, Err(RequirementsError::NotStarted(_))));
}

// Fewer slots.

#[test]
fn granted_slots_are_never_taken_back() {
    // given
    let mut fixture = with_three_grants();
    // when
    let outcome = fixture.declare(&[(&small(), 1)]);
    // then
    assert_eq!(outcome, declared(0, 0, 2));
    fixture.expect_nothing();
    // when
    free_unit(&mut fixture, &slot("tm", 0), unit(1));
    fixture.advance(SECOND);
    // then: an excess slot takes the place of the freed one
    fixture.expect_nothing();
    assert_eq!(fixture.required(), [1, 1, 0, 0, 0, 1]);
}

#[test]
fn units_are_withdrawn_by_phase_and_newest_first() {
    // given: u1 backs off, u2 is in flight, u3 and u4 wait
    let mut fixture = Fixture::with(patient().with_retry_backoff(Duration::from_secs(20), Duration::from_secs(20)));
    let gateway = fixture.register_by_hand("tm", 7, &free_report("tm", &[small()]));
    fixture.declare(&[(&small(), 1)]);
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, rejected());
    fixture.declare(&[(&small(), 4)]);
    assert_eq!(fixture.required(), [4, 0, 1, 3, 0, 0]);
    fixture.log.take();
    let left = |fixture: &Fixture| {
        let requests = fixture.manager.pending_slot_requests();
        let names = requests.map(|request| name_of(&request.allocation_id()));
        names.collect::<Vec<_>>().join(" ")
    };
    // when, then
    fixture.declare(&[(&small(), 3)]);
    assert_eq!(left(&fixture), "u2 u3 u4");
    fixture.declare(&[(&small(), 2)]);
    assert_eq!(left(&fixture), "u2 u3");
    fixture.declare(&[(&small(), 1)]);
    assert_eq!(left(&fixture), "u2");
    fixture.expect_nothing();
    // when, then: the attempt is given up and fenced
    fixture.declare(&[]);
    assert_eq!(left(&fixture), "");
    fixture.expect(&["free tm_0 of u2 #3"]);
}

#[test]
fn empty_declaration_ends_the_declaration() {
    let mut fixture = with_three_grants();
    assert_eq!(fixture.declare(&[]), declared(0, 0, 3));
    assert_eq!(fixture.manager.requirements(job(1)), None);
    assert_eq!(fixture.declare(&[]), RequirementsOutcome::Unchanged);
    fixture.unregister(7);
    let losses = fixture.brief_effects();
    assert_eq!(losses.len(), 3, "no slot is requested: {losses:?}");
}

// Charges.

#[test]
fn slots_of_a_former_leader_are_charged() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), Some(2), Some(3)]));
    // when
    let outcome = fixture.declare(&[(&small(), 3)]);
    // then
    assert_eq!(outcome, declared(0, 0, 0));
    fixture.expect_nothing();
    assert_eq!(fixture.required(), [3, 3, 0, 0, 0, 0]);
}

#[test]
fn slot_that_is_found_later_withdraws_a_unit() {
    // given
    let mut fixture = Fixture::new();
    fixture.declare(&[(&small(), 2)]);
    fixture.log.take();
    // when
    fixture.register("tm", 7, &report("tm", &[Some(1)]));
    // then
    assert_eq!(fixture.required(), [2, 1, 0, 1, 0, 0]);
    assert_eq!(fixture.manager.counters().requests_cancelled, 1);
}

#[test]
fn large_slot_is_charged_to_a_large_requirement() {
    // given
    let mut fixture = Fixture::new();
    fixture.declare(&[(&cores(1), 1), (&cores(4), 1)]);
    // when
    let statuses = vec![SlotStatus::allocated(slot("tm", 0), cores(4), allocation(1), job(1))];
    fixture.register("tm", 7, &SlotReport::new(statuses));
    // then
    let view = fixture.manager.requirements(job(1)).unwrap();
    let charged: Vec<_> = view.profiles.iter().map(|required| required.counts.charged).collect();
    assert_eq!(charged, [0, 1]);
}

#[test]
fn slot_is_charged_to_the_requirement_it_wastes_least_on() {
    let mut fixture = Fixture::new();
    fixture.declare(&[(&cores(1), 1), (&cores(3), 1), (&cores(3), 0), (&cores(5), 1)]);
    let statuses = vec![SlotStatus::allocated(slot("tm", 0), cores(4), allocation(1), job(1))];
    fixture.register("tm", 7, &SlotReport::new(statuses));
    let view = fixture.manager.requirements(job(1)).unwrap();
    let charged: Vec<_> = view.profiles.iter().map(|required| required.counts.charged).collect();
    assert_eq!(charged, [0, 1, 0]);
}

#[test]
fn second_slot_of_an_allocation_is_not_held() {
    // given
    let mut fixture = Fixture::new();
    fixture.declare(&[(&small(), 2)]);
    fixture.register("tm", 7, &report("tm", &[Some(1)]));
    // when
    fixture.register("other", 8, &report("other", &[Some(1)]));
    // then
    assert_eq!(fixture.required(), [2, 1, 0, 1, 0, 0]);
    // when: the first is gone, the second takes its place
    fixture.unregister(7);
    // then
    assert_eq!(fixture.required(), [2, 1, 0, 1, 0, 0]);
}

#[test]
fn slot_of_another_profile_is_charged_as_soon_as_it_fits() {
    // given
    let mut fixture = Fixture::new();
    let held = |profile: &ResourceProfile| {
        let status = SlotStatus::allocated(slot("tm", 0), profile.clone(), allocation(1), job(1));
        SlotReport::new(vec![status])
    };
    fixture.register("tm", 7, &held(&cores(1)));
    fixture.declare(&[(&cores(2), 1)]);
    assert_eq!(fixture.required(), [1, 0, 0, 1, 0, 1]);
    // when
    fixture.report(7, &held(&cores(2)));
    // then
    assert_eq!(fixture.required(), [1, 1, 0, 0, 0, 0]);
}

// Refill.

#[test]
fn freed_slot_does_not_bounce_back_to_its_job() {
    // given
    let mut fixture = with_three_grants();
    // when
    assert_eq!(
        free_unit(&mut fixture, &slot("tm", 0), unit(1)),
        SlotFreedOutcome::Freed
    );
    assert_eq!(fixture.required(), [3, 2, 0, 0, 1, 0]);
    fixture.advance(CHECK_DELAY - NANOSECOND);
    assert_eq!(fixture.declare(&[(&small(), 2)]), declared(0, 0, 0));
    fixture.advance(SECOND);
    // then
    fixture.expect_nothing();
}

#[test]
fn freed_slot_is_replaced_after_the_check_delay() {
    let mut fixture = with_three_grants();
    free_unit(&mut fixture, &slot("tm", 0), unit(1));
    fixture.advance(10 * MILLISECOND);
    free_unit(&mut fixture, &slot("tm", 1), unit(2));
    // The time counts from the first.
    fixture.falls_due_after(
        CHECK_DELAY - 10 * MILLISECOND,
        &[
            "request tm_0 for u4 #4",
            "request tm_1 for u5 #5",
            "granted u4 on tm_0",
            "granted u5 on tm_1",
        ],
    );
    assert_eq!(fixture.required(), [3, 3, 0, 0, 0, 0]);
}

#[test]
fn without_a_delay_a_freed_slot_is_replaced_when_the_manager_is_driven() {
    let mut fixture = Fixture::with(SlotManagerConfig::default().with_requirement_check_delay(Duration::ZERO));
    fixture.register_free("tm", 7, &[small()]);
    fixture.declare(&[(&small(), 1)]);
    fixture.log.take();
    free_unit(&mut fixture, &slot("tm", 0), unit(1));
    fixture.expect_nothing();
    assert_eq!(fixture.run(), 1);
    fixture.expect(&["request tm_0 for u2 #2", "granted u2 on tm_0"]);
}

#[test]
fn slot_that_is_reported_free_is_replaced_after_the_check_delay() {
    let mut fixture = with_three_grants();
    fixture.report(7, &free_report("tm", &[small(), small(), small()]));
    assert_eq!(fixture.required(), [3, 0, 0, 0, 3, 0]);
    fixture.log.take();
    fixture.advance(CHECK_DELAY);
    assert_eq!(fixture.required(), [3, 3, 0, 0, 0, 0]);
}

#[test]
fn lost_slots_are_replaced_in_the_same_call() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 7, &[small(), small()]);
    fixture.declare(&[(&small(), 2)]);
    fixture.log.take();
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    // when
    assert_eq!(fixture.unregister(7), UnregistrationOutcome::Unregistered);
    // then
    fixture.expect(&[
        "lost u1 on tm_0: unregistered",
        "lost u2 on tm_1: unregistered",
        &ask(1),
        &ask(2),
    ]);
    assert_eq!(fixture.required(), [2, 0, 0, 2, 0, 0]);
}

#[test]
fn slot_that_another_job_holds_is_replaced_at_once() {
    let mut fixture = with_three_grants();
    let statuses = vec![
        held_by(slot("tm", 0), 9, 2),
        SlotStatus::allocated(slot("tm", 1), small(), unit(2), job(1)),
        SlotStatus::allocated(slot("tm", 2), small(), unit(3), job(1)),
    ];
    fixture.report(7, &SlotReport::new(statuses));
    fixture.expect(&["lost u1 on tm_0: held by 9", &ask(1)]);
    assert_eq!(fixture.required(), [3, 2, 0, 1, 0, 0]);
}

#[test]
fn excess_slot_takes_the_place_of_a_lost_one() {
    // given: two charged slots and one in excess
    let mut fixture = Fixture::new();
    fixture.register("other", 8, &report("other", &[Some(1)]));
    fixture.register("tm", 7, &report("tm", &[Some(2), Some(3)]));
    fixture.declare(&[(&small(), 2)]);
    assert_eq!(fixture.required(), [2, 2, 0, 0, 0, 1]);
    // when
    fixture.unregister(8);
    // then
    fixture.expect(&["lost 1 on other_0: unregistered"]);
    assert_eq!(fixture.required(), [2, 2, 0, 0, 0, 0]);
}

#[test]
fn blocked_slots_stay_charged() {
    let mut fixture = with_three_grants();
    fixture.block("tm");
    fixture.advance(SECOND);
    fixture.expect_nothing();
    assert_eq!(fixture.required(), [3, 3, 0, 0, 0, 0]);
}

// Trouble.

#[test]
fn refused_worker_does_not_fail_a_unit() {
    // given
    let mut fixture = Fixture::new();
    let refused = Err(ResourceManagerError::new("no quota"));
    fixture.actions.answer_allocations(refused);
    // when
    fixture.declare(&[(&small(), 1)]);
    // then
    fixture.expect(&[&ask(1)]);
    assert_eq!(fixture.required(), [1, 0, 0, 1, 0, 0]);
    let waits_for = fixture.manager.explain(unit(1)).unwrap().request.unwrap().waits_for;
    assert!(matches!(waits_for, WaitReason::WorkerDeclined { .. }), "{waits_for}");
}

#[test]
fn unit_whose_id_another_job_holds_gets_a_new_id_and_keeps_its_place() {
    // given
    let mut fixture = Fixture::new();
    fixture.declare(&[(&small(), 2)]);
    fixture.log.take();
    // when
    let status = SlotStatus::allocated(slot("tm", 0), small(), unit(1), job(2));
    fixture.register("tm", 7, &SlotReport::new(vec![status]));
    // then
    let ids = fixture
        .manager
        .pending_slot_requests()
        .map(|request| request.allocation_id());
    assert_eq!(ids.collect::<Vec<_>>(), [unit(3), unit(2)]);
    assert_eq!(fixture.required(), [2, 0, 0, 2, 0, 0]);
}

#[test]
fn known_id_is_skipped() {
    let mut fixture = Fixture::new();
    let status = SlotStatus::allocated(slot("tm", 0), small(), unit(1), job(2));
    fixture.register("tm", 7, &SlotReport::new(vec![status]));
    fixture.declare(&[(&small(), 1)]);
    let ids = fixture
        .manager
        .pending_slot_requests()
        .map(|request| request.allocation_id());
    assert_eq!(ids.collect::<Vec<_>>(), [unit(2)]);
}

#[test]
fn unit_is_not_cancelled() {
    let mut fixture = Fixture::new();
    fixture.declare(&[(&small(), 1)]);
    let before = fixture.view();
    let outcome = fixture.step(|manager| manager.unregister_slot_request(unit(1)));
    assert_eq!(outcome, CancelOutcome::Declared);
    assert_eq!(fixture.view(), before);
}

#[test]
fn unit_is_explained() {
    let mut fixture = Fixture::new();
    fixture.declare(&[(&small(), 1)]);
    let explanation = fixture.manager.explain(unit(1)).unwrap();
    let text = explanation.to_string();
    let request = explanation.request.unwrap();
    assert!(request.is_declared);
    assert!(
        text.contains("declared     by the job") && text.contains("fails        never"),
        "{text}"
    );
}

// Shortages.

/// Returns a configuration in which a worker has two cores, and requests that nothing serves fail.
fn failing_fast() -> SlotManagerConfig {
    SlotManagerConfig::default()
        .with_workers(WorkerPolicy::new(worker_of(1, &cores(2))))
        .with_fail_unfulfillable_requests(true)
}

#[test]
fn requirement_that_nothing_serves_is_told_once() {
    // given
    let mut fixture = Fixture::with(failing_fast());
    // when
    fixture.declare(&[(&cores(3), 2)]);
    // then
    fixture.expect(&["job 1 lacks slots, 0 of 2: unfulfillable"]);
    assert_eq!(fixture.required(), [2, 0, 0, 2, 0, 0]);
    // when, then: another declaration begins another period
    fixture.declare(&[(&cores(3), 3)]);
    fixture.expect(&["job 1 lacks slots, 0 of 3: unfulfillable"]);
}

#[test]
fn in_the_grace_period_no_requirement_is_unfulfillable() {
    // given
    let mut fixture = Fixture::with(failing_fast().with_unfulfillable_grace_period(SECOND));
    fixture.declare(&[(&cores(3), 1)]);
    fixture.expect_nothing();
    // when, then
    fixture.falls_due_after(SECOND, &["job 1 lacks slots, 0 of 1: unfulfillable"]);
}

#[test]
fn requirement_that_is_not_met_in_time_is_told_once() {
    // given
    let timeout = Duration::from_secs(7);
    let mut fixture = Fixture::with(patient().with_request_timeout(timeout));
    fixture.register_free("tm", 7, &[small()]);
    fixture.declare(&[(&small(), 2)]);
    fixture.log.take();
    // when, then
    fixture.falls_due_after(timeout, &["job 1 lacks slots, 1 of 2: timeout"]);
    fixture.advance(3 * timeout);
    assert_eq!(fixture.manager.counters().shortages_notified, 1);
    assert_eq!(fixture.required(), [2, 1, 0, 1, 0, 0]);
    // when: it is met, and misses a slot again
    fixture.register_free("other", 8, &[small()]);
    fixture.unregister(8);
    fixture.log.take();
    // then
    fixture.falls_due_after(timeout, &["job 1 lacks slots, 1 of 2: timeout"]);
}

// The end.

#[test]
fn end_of_a_job_asks_each_task_executor_once_to_free_its_slots() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("b", 8, &[small(), small()]);
    fixture.register_free("a", 7, &[small()]);
    fixture.register_free("c", 9, &[small()]);
    fixture.declare(&[(&small(), 3)]);
    fixture.try_request(2, 1, &small()).unwrap();
    fixture.declare(&[(&small(), 4)]);
    fixture.log.take();
    // when
    let cancelled = fixture.unregister_job(1);
    // then
    assert_eq!(cancelled, 1);
    fixture.expect(&["job 1 ended, on 7 #4", "job 1 ended, on 8 #4"]);
    assert_eq!(fixture.manager.requirements(job(1)), None);
    assert_eq!(
        fixture.counts(),
        [0, 0, 4],
        "the manager believes nothing until they say so"
    );
    // when
    free_unit(&mut fixture, &slot("a", 0), unit(3));
    fixture.advance(SECOND);
    // then
    fixture.expect_nothing();
}

#[test]
fn end_of_a_job_that_did_not_declare_tells_nobody() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 7, &[small(), small()]);
    fixture.try_request(2, 1, &small()).unwrap();
    fixture.declare(&[(&small(), 1)]);
    fixture.log.take();
    assert_eq!(fixture.unregister_job(2), 0);
    fixture.expect_nothing();
}

#[test]
fn suspended_manager_forgets_declarations() {
    let mut fixture = with_three_grants();
    fixture.suspend();
    fixture.start(2);
    assert_eq!(fixture.manager.declared_requirements().count(), 0);
    fixture.register("tm", 7, &report("tm", &[Some(1)]));
    assert_eq!(fixture.declare(&[(&small(), 2)]), declared(1, 0, 0));
}

#[test]
fn declaring_jobs_are_in_the_overview() {
    let mut fixture = Fixture::with(described(2));
    fixture.declare(&[(&small(), 1)]);
    let overview = fixture.manager.overview();
    assert_eq!(
        (overview.declaring_jobs, overview.counters.requirements_declared),
        (1, 1)
    );
    assert!(overview.to_string().contains("declaring jobs 1"), "{overview}");
}

#[test]
fn task_executor_whose_answers_are_always_old_is_asked_once_in_each_check_delay() {
    // given: the report is newer than each acknowledgement
    let mut fixture = Fixture::with(SlotManagerConfig::default().with_requirement_check_delay(Duration::ZERO));
    let gateway = fixture.gateway();
    gateway.answer_requests(GatewayAnswer::AtOnce(acknowledged_at(1)));
    fixture.register_with("tm", 7, &free_report("tm", &[small()]).with_revision(2), &gateway);
    // when
    fixture.declare(&[(&small(), 1)]);
    // then
    fixture.expect(&["request tm_0 for u1 #1", "granted u1 on tm_0", "lost u1 on tm_0: free"]);
    assert_eq!(fixture.run(), 1);
    fixture.expect(&["request tm_0 for u2 #2", "granted u2 on tm_0", "lost u2 on tm_0: free"]);
    assert_eq!(fixture.run(), 0);
}
