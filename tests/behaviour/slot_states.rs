//! What a slot is, as reports, answers and messages in any order tell it. Comments name the defects of FLINK-5810 that
//! the tests guard against.

use std::time::Duration;

use slot_manager::testing::{
    Delivery, EffectLog, GatewayCall, GatewayMessage, ManualScheduledExecutor, NotPending, RecordingActions,
    SimulatedTaskExecutor,
};
use slot_manager::{
    Acknowledge, AllocationFailureCause, AllocationStatus, CancelOutcome, FreeSlotOutcome, GrantLoss, JobId, LeaderId,
    ReportOutcome, RequestFailure, SlotAllocationError, SlotCounts, SlotManager, SlotReport, SlotRequestOutcome,
    SlotState, SlotStatus, Stale, UnregistrationOutcome,
};

use crate::common::{
    Fixture, acknowledged, allocation, ask, brief, failures, frees, granted, in_flight, instance, job, occupied,
    patient, profile, rejected, report, request, slot, small,
};

fn counts(fixture: &Fixture) -> (usize, usize, usize) {
    let SlotCounts {
        free,
        in_flight,
        allocated,
        ..
    } = fixture.manager.slot_counts();
    (free, in_flight, allocated)
}

/// A small slot held by allocation `id` of `job`.
fn held_by(slot_id: slot_manager::SlotId, id: u128, job: u128) -> SlotStatus {
    SlotStatus::allocated(slot_id, small(), allocation(id), JobId::from_u128(job))
}

/// B.9
#[test]
fn free_slot_that_is_reported_as_allocated_is_not_handed_out() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[None, None]));

    // when
    fixture.report(7, &report("tm", &[Some(99), None]));

    // then: requests pass it by
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 1)));
    assert_eq!(fixture.request(2, &small()), AllocationStatus::Waiting);
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(99)));
    fixture.expect(&["request tm_1 for 1 #1", "granted 1 on tm_1", &ask(1)]);

    // then: once freed it is handed out as any other
    assert_eq!(fixture.free(&slot("tm", 0), 99), FreeSlotOutcome::Freed);
    fixture.expect(&["request tm_0 for 2 #2", "granted 2 on tm_0"]);
}

/// B.9: the same for a slot that pauses after failures
#[test]
fn pausing_slot_that_is_reported_as_allocated_is_not_handed_out() {
    // given: attempts of two allocations failed
    let mut fixture = Fixture::new();
    let gateway = fixture.gateway();
    gateway.answer_requests(rejected());
    fixture.register_with("tm", 7, &report("tm", &[None]), &gateway);
    fixture.request(1, &small());
    fixture.request(2, &small());
    let state = fixture.manager.slot(&slot("tm", 0)).expect("registered").state();
    assert!(matches!(state, SlotState::BackingOff { .. }), "{state:?}");

    // when
    fixture.report(7, &report("tm", &[Some(99)]));
    fixture.cancel(1);
    fixture.cancel(2);
    fixture.log.take();
    fixture.advance(Duration::from_secs(100));

    // then: the end of its backoff is not the end of its allocation
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(99)));
    assert_eq!(fixture.request(3, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(2)]);
}

/// B.10
#[test]
fn allocated_slot_that_is_reported_as_free_serves_the_next_request() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1)]));
    fixture.request(2, &small());
    fixture.log.take();

    // when
    fixture.report(7, &report("tm", &[None]));

    // then
    fixture.expect(&["lost 1 on tm_0: free", "request tm_0 for 2 #1", "granted 2 on tm_0"]);

    // then: the lost allocation is forgotten, so its id is no duplicate
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(2)]);
}

/// B.10: nobody waits
#[test]
fn allocated_slot_that_is_reported_as_free_is_offered() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), Some(2)]));

    // when
    fixture.report(7, &report("tm", &[None, Some(2)]));

    // then
    fixture.expect(&["lost 1 on tm_0: free"]);
    assert_eq!(counts(&fixture), (1, 0, 1));
    assert_eq!(fixture.free(&slot("tm", 0), 1), FreeSlotOutcome::NotAllocated);
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
}

/// B.11
#[test]
fn allocation_that_another_replaced_on_its_slot_can_be_requested_again() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), None]));

    // when
    fixture.report(7, &report("tm", &[Some(2), None]));

    // then
    fixture.expect(&["lost 1 on tm_0: held by 2"]);
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 1)));
    assert_eq!(
        fixture.try_request(1, 2, &small()),
        Ok(SlotRequestOutcome::Duplicate(granted(&slot("tm", 0))))
    );
}

/// B.11: a grant that is found elsewhere is not lost
#[test]
fn allocations_that_changed_places_are_not_lost() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), Some(2), Some(3), None]));

    // when: 1 and 2 changed places, 3 moved to the free slot
    fixture.report(7, &report("tm", &[Some(2), Some(1), None, Some(3)]));

    // then
    fixture.expect(&[]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 1))));
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
    assert_eq!(fixture.status(3), Some(granted(&slot("tm", 3))));
    assert!(fixture.is_free(&slot("tm", 2)));
}

/// Where request 2 is when its allocation is found on slot `tm_0`. Its profile fits no slot of `tm`, so that is its
/// only way there.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Elsewhere {
    Waiting,
    InFlight,
    Pausing,
}

const PLACES: [Elsewhere; 3] = [Elsewhere::Waiting, Elsewhere::InFlight, Elsewhere::Pausing];

impl Elsewhere {
    fn given(self) -> Fixture {
        let wide = profile(8.0, 10);
        let mut fixture = Fixture::new();
        if self != Self::Waiting {
            let gateway = fixture.gateway_by_hand();
            let slots = SlotReport::new(vec![SlotStatus::free(slot("other", 0), wide.clone())]);
            fixture.register_with("other", 70, &slots, &gateway);
            fixture.request(2, &wide);
            if self == Self::Pausing {
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
            Self::Pausing => 3,
        }
    }

    /// Request 2 was granted `tm_0`, its own attempt was given up, and `others` was said besides.
    #[track_caller]
    fn expect_complete(self, fixture: &mut Fixture, freed: &[String], others: &[String]) {
        let mut expected = vec!["granted 2 on tm_0".to_owned()];
        expected.extend_from_slice(freed);
        if self == Self::InFlight {
            expected.push("free other_0 of 2 #1".to_owned());
        }
        expected.extend_from_slice(others);
        assert_eq!(fixture.brief_effects(), expected, "{self:?}");
        assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))), "{self:?}");
        if self != Self::Waiting {
            assert!(fixture.is_free(&slot("other", 0)), "{self:?}");
        }
        fixture.advance(Duration::from_secs(100));
        fixture.expect(&[]);
    }
}

/// B.12, first shape, by a report
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

/// B.12, first shape, by an answer
#[test]
fn request_is_complete_when_another_finds_its_allocation_on_the_slot() {
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

/// B.12, second shape
#[test]
fn request_is_complete_when_its_allocation_is_reported_on_a_free_slot() {
    for place in PLACES {
        let mut fixture = place.given();
        fixture.register("tm", 7, &report("tm", &[None]));

        fixture.report(7, &report("tm", &[Some(2)]));

        place.expect_complete(&mut fixture, &[], &[]);
    }
}

/// B.12, second shape, where another allocation held the slot
#[test]
fn request_is_complete_when_its_allocation_is_reported_in_place_of_another() {
    for place in PLACES {
        let mut fixture = place.given();
        fixture.register("tm", 7, &report("tm", &[Some(50)]));

        fixture.report(7, &report("tm", &[Some(2)]));

        let mut said = fixture.brief_effects();
        assert!(said.contains(&"granted 2 on tm_0".to_owned()), "{said:?}");
        assert!(said.contains(&"lost 50 on tm_0: held by 2".to_owned()), "{said:?}");
        said.retain(|line| !line.ends_with("on tm_0") && !line.starts_with("lost 50"));
        let freed = ["free other_0 of 2 #1"];
        assert_eq!(said, if place == Elsewhere::InFlight { &freed[..] } else { &[] });
        assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
    }
}

/// B.12, third shape: the task manager is new, or registers anew
#[test]
fn request_is_complete_when_its_allocation_is_on_a_slot_that_registers() {
    for place in PLACES {
        for registered_before in [false, true] {
            let mut fixture = place.given();
            if registered_before {
                fixture.register("tm", 7, &report("tm", &[None]));
            }

            fixture.register("tm", 8, &report("tm", &[Some(2)]));

            place.expect_complete(&mut fixture, &[], &[]);
        }
    }
}

/// B.12, where the job differs: the request can never be served, because its id is taken
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
        assert_eq!(fixture.manager.num_pending_slot_requests(), 0);
    }
}

/// B.13
#[test]
fn report_is_applied_whole_before_requests_are_matched() {
    // given: requests 1 and 2 wait
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when: a free slot is listed before the one that holds allocation 1
    fixture.register("tm", 7, &report("tm", &[None, Some(1)]));

    // then: 1 has its slot, the free one is for 2
    fixture.expect(&["granted 1 on tm_1", "request tm_0 for 2 #1", "granted 2 on tm_0"]);
}

/// B.13: the same for slots that are known
#[test]
fn slot_that_becomes_free_does_not_go_to_a_request_that_the_report_completes() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(50), Some(60)]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.report(7, &report("tm", &[None, Some(1)]));

    // then
    let said = fixture.brief_effects();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said.contains(&"granted 1 on tm_1".to_owned()), "{said:?}");
    assert!(fixture.is_free(&slot("tm", 0)));
}

/// Notifications of one call leave in the order of the slots, whatever order the report has.
#[test]
fn losses_of_one_report_are_told_in_the_order_of_the_slots() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), Some(2), Some(3), Some(4)]));

    // Slot 0 is not listed any more, the others are listed backwards.
    fixture.report(
        7,
        &SlotReport::new(vec![
            held_by(slot("tm", 3), 8, 1),
            SlotStatus::free(slot("tm", 2), small()),
            held_by(slot("tm", 1), 9, 1),
        ]),
    );

    fixture.expect(&[
        "lost 1 on tm_0: removed",
        "lost 2 on tm_1: held by 9",
        "lost 3 on tm_2: free",
        "lost 4 on tm_3: held by 8",
    ]);
}

/// Notifications of one call leave in the order of the slots, grants and losses alike.
#[test]
fn grants_and_losses_of_one_report_are_told_in_the_order_of_the_slots() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(50), Some(60), Some(70)]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when
    fixture.report(
        7,
        &SlotReport::new(vec![
            held_by(slot("tm", 2), 2, 1),
            held_by(slot("tm", 1), 1, 1),
            held_by(slot("tm", 0), 51, 1),
        ]),
    );

    // then
    let mut of_slots: Vec<_> = fixture.brief_effects();
    for line in &mut of_slots {
        let at = line.find("tm_").expect("a line about a slot");
        *line = line[at..at + 4].to_owned();
    }
    assert_eq!(of_slots, ["tm_0", "tm_1", "tm_1", "tm_2", "tm_2"]);
}

/// B.15
#[test]
fn slot_is_never_allocated_and_in_flight_at_once() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    assert_eq!(counts(&fixture), (0, 1, 0));
    fixture.log.take();

    // when: the report is faster than the answer
    fixture.report(7, &report("tm", &[Some(1)]));

    // then: granted once, and nothing is awaited any more
    fixture.expect(&["granted 1 on tm_0"]);
    assert_eq!(counts(&fixture), (0, 0, 1));
    assert_eq!(gateway.answer(1, acknowledged()), Err(NotPending { attempt: 1 }));

    // then: one free makes it free
    assert_eq!(fixture.free(&slot("tm", 0), 1), FreeSlotOutcome::Freed);
    assert_eq!(counts(&fixture), (1, 0, 0));
    fixture.expect(&[]);
}

/// B.16
#[test]
fn answer_to_a_cancelled_attempt_does_not_touch_the_next_one() {
    for late_answer in [acknowledged(), rejected(), occupied(99)] {
        // given: the answer is there, and has not been looked at
        let mut fixture = Fixture::new();
        let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
        fixture.request(1, &small());
        gateway.answer(1, late_answer).expect("in flight");

        // when: the same allocation is cancelled and requested again, on the same slot
        assert_eq!(fixture.cancel(1), CancelOutcome::Cancelled);
        assert_eq!(fixture.request(1, &small()), in_flight(&slot("tm", 0)));
        fixture.run();

        // then
        fixture.expect(&["request tm_0 for 1 #1", "free tm_0 of 1 #1", "request tm_0 for 1 #2"]);
        assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
        fixture.answer(&gateway, 2, acknowledged());
        fixture.expect(&["granted 1 on tm_0"]);
    }
}

/// B.16
#[test]
fn answer_from_an_ended_registration_does_not_touch_the_next_one() {
    for unregistered in [true, false] {
        for late_answer in [acknowledged(), rejected(), occupied(99)] {
            // given
            let mut fixture = Fixture::new();
            let old = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
            fixture.request(1, &small());
            old.answer(1, late_answer).expect("in flight");
            fixture.log.take();

            // when: the worker registers again, and the same allocation is put on the same slot
            if unregistered {
                fixture.unregister(7);
                fixture.expect(&[&ask(1)]);
            }
            let new = fixture.register_by_hand("tm", 8, &report("tm", &[None]));
            fixture.run();

            // then
            fixture.expect(&["request tm_0 for 1 #2"]);
            assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
            fixture.answer(&new, 2, acknowledged());
            fixture.expect(&["granted 1 on tm_0"]);
        }
    }
}

/// B.17
#[test]
fn task_executor_is_told_of_every_attempt_that_is_given_up() {
    fn cancelled(fixture: &mut Fixture) {
        fixture.cancel(1);
    }
    fn job_is_gone(fixture: &mut Fixture) {
        fixture.step(|manager| manager.unregister_job(job(1))).expect("started");
    }
    fn answer_is_late(fixture: &mut Fixture) {
        fixture.advance(Duration::from_secs(5));
    }
    fn granted_elsewhere(fixture: &mut Fixture) {
        fixture.register("other", 9, &report("other", &[Some(1)]));
    }
    fn slot_is_held_by_another(fixture: &mut Fixture) {
        fixture.report(7, &report("tm", &[Some(99)]));
    }

    for given_up in [
        cancelled,
        job_is_gone,
        answer_is_late,
        granted_elsewhere,
        slot_is_held_by_another,
    ] {
        // given
        let mut fixture = Fixture::with(patient().with_rpc_timeout(Duration::from_secs(5)));
        let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
        fixture.request(1, &small());
        fixture.log.take();

        // when
        given_up(&mut fixture);

        // then: told once, and no late answer can arrive
        let told = frees(&fixture.log.take());
        let about: Vec<_> = told
            .iter()
            .map(|free| (&free.slot_id, free.allocation_id, free.attempt))
            .collect();
        assert_eq!(about, [(&slot("tm", 0), allocation(1), 1)]);
        assert_eq!(gateway.answer(1, acknowledged()), Err(NotPending { attempt: 1 }));
    }
}

/// B.17: an attempt that was answered is over, so there is nothing to take back
#[test]
fn task_executor_is_not_told_of_attempts_that_it_ended_itself() {
    for answer in [acknowledged(), rejected(), occupied(99)] {
        let mut fixture = Fixture::new();
        let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
        fixture.request(1, &small());

        fixture.answer(&gateway, 1, answer);
        fixture.report(
            7,
            &report("tm", &[fixture.holder(&slot("tm", 0)).map(|id| id.as_uuid().as_u128())]),
        );

        assert_eq!(frees(&fixture.log.take()), []);
    }
}

/// B.17, seen from the task executor: whatever overtakes what, it keeps no slot for a cancelled allocation
#[test]
fn task_executor_does_not_keep_a_slot_for_a_cancelled_request() {
    #[derive(Debug, PartialEq)]
    enum Cancelled {
        BeforeTheRequestArrives,
        BeforeTheAnswerArrives,
        AndTheFreeOvertakesTheRequest,
    }
    use Cancelled::{AndTheFreeOvertakesTheRequest, BeforeTheAnswerArrives, BeforeTheRequestArrives};

    for order in [
        BeforeTheRequestArrives,
        BeforeTheAnswerArrives,
        AndTheFreeOvertakesTheRequest,
    ] {
        // given
        let clock = ManualScheduledExecutor::new();
        let log = EffectLog::new();
        let executor = SimulatedTaskExecutor::new("tm", [small()], clock.clone()).with_log(&log);
        executor.set_delivery(Delivery::Manual);
        let mut manager = SlotManager::new(patient(), clock).expect("valid");
        manager
            .start(LeaderId::from_u128(1), RecordingActions::with_log(&log))
            .expect("not started");
        let connection = executor.connect(LeaderId::from_u128(1), instance(7));
        manager
            .register_task_manager(connection, &executor.slot_report())
            .expect("valid");
        let _ = manager
            .register_slot_request(request(1, 1, &small()))
            .expect("accepted");

        // when
        if order == BeforeTheAnswerArrives {
            executor.deliver_next();
            assert_eq!(executor.current_allocation(0), Some(allocation(1)));
        }
        manager.unregister_slot_request(allocation(1)).expect("started");
        if order == AndTheFreeOvertakesTheRequest {
            let overtakes = executor.deliver(1);
            assert!(matches!(
                overtakes,
                Some(GatewayMessage::Call(GatewayCall::FreeSlot(_)))
            ));
        }
        executor.deliver_all();
        manager.run_until_stalled();

        // then: both sides agree that the slot is free
        assert_eq!(brief(&log.take()), ["request tm_0 for 1 #1", "free tm_0 of 1 #1"]);
        assert_eq!(executor.current_allocation(0), None, "{order:?}");
        assert!(manager.slot(&slot("tm", 0)).expect("registered").is_free());
        manager.check_invariants().expect("consistent");

        // then: it can be given to the next
        let _ = manager
            .register_slot_request(request(1, 2, &small()))
            .expect("accepted");
        executor.deliver_all();
        manager.run_until_stalled();
        assert_eq!(executor.current_allocation(0), Some(allocation(2)), "{order:?}");
        assert_eq!(manager.allocation_status(allocation(2)), Some(granted(&slot("tm", 0))));
    }
}

/// B.18 (i), without revisions
#[test]
fn slot_that_is_freed_before_its_acknowledgement_arrives_is_free() {
    // given: another request waits
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when
    let outcome = fixture.free(&slot("tm", 0), 1);

    // then: 1 was served and is over, also for a request that is still on its way; the slot is for the next
    assert_eq!(outcome, FreeSlotOutcome::FreedInFlight);
    fixture.expect(&["granted 1 on tm_0", "free tm_0 of 1 #1", "request tm_0 for 2 #2"]);
    assert_eq!(fixture.status(1), None);

    // then: the acknowledgement that was on its way does nothing
    assert_eq!(gateway.answer(1, acknowledged()), Err(NotPending { attempt: 1 }));
    fixture.answer(&gateway, 2, acknowledged());
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(2)));
}

/// B.18 (i): only by the allocation that is in flight
#[test]
fn slot_in_flight_is_not_freed_by_another_allocation() {
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();

    let outcome = fixture.free(&slot("tm", 0), 2);

    let holder = allocation(1);
    assert_eq!(outcome, FreeSlotOutcome::HeldByAnother { allocation_id: holder });
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
    fixture.expect(&[]);
}

fn acknowledged_at(revision: u64) -> Result<Acknowledge, SlotAllocationError> {
    Ok(Acknowledge::new().with_revision(revision))
}

/// B.18 (i), with revisions: a report that is newer than the allocation has shown the slot as free
#[test]
fn acknowledgement_that_is_older_than_a_report_of_the_free_slot_grants_nothing_that_lasts() {
    // given: a report of revision 5 while the attempt is in flight
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]).with_revision(3));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.report(7, &report("tm", &[None]).with_revision(5));
    fixture.log.take();

    // when: the allocation was made at revision 4, so at 5 it is over
    fixture.answer(&gateway, 1, acknowledged_at(4));

    // then
    fixture.expect(&["granted 1 on tm_0", "lost 1 on tm_0: free", "request tm_0 for 2 #2"]);
    assert_eq!(fixture.status(1), None);
}

/// B.18 (i), with revisions
#[test]
fn acknowledgement_that_is_newer_than_a_report_of_the_free_slot_is_a_grant() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]).with_revision(3));
    fixture.request(1, &small());
    fixture.report(7, &report("tm", &[None]).with_revision(5));
    fixture.log.take();

    fixture.answer(&gateway, 1, acknowledged_at(6));

    fixture.expect(&["granted 1 on tm_0"]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

/// B.18 (ii), with revisions
#[test]
fn report_that_is_older_than_an_acknowledgement_does_not_take_the_grant_away() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]).with_revision(3));
    fixture.request(1, &small());
    fixture.answer(&gateway, 1, acknowledged_at(4));
    fixture.log.take();

    // when, then: older
    let stale = Stale {
        revision: 3,
        highest_seen: 4,
    };
    let outcome = fixture.report(7, &report("tm", &[None, None]).with_revision(3));
    assert_eq!(outcome, ReportOutcome::Ignored(stale));
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert_eq!(fixture.manager.slot_counts().registered, 1, "nothing of it counts");

    // when, then: equal is current
    let outcome = fixture.report(7, &report("tm", &[Some(1)]).with_revision(4));
    assert_eq!(outcome, ReportOutcome::Applied);
    fixture.expect(&[]);

    // when, then: newer
    let outcome = fixture.report(7, &report("tm", &[None]).with_revision(5));
    assert_eq!(outcome, ReportOutcome::Applied);
    fixture.expect(&["lost 1 on tm_0: free"]);
}

/// B.18 (ii), without revisions: the order of arrival is the truth
#[test]
fn report_that_arrives_after_an_acknowledgement_counts_if_there_are_no_revisions() {
    for (at_registration, at_answer, in_report) in [
        (None, None, None),
        (Some(3), Some(4), None),
        (Some(3), None, Some(3)),
        (None, None, Some(1)),
    ] {
        let with = |revision: Option<u64>, report: SlotReport| match revision {
            Some(revision) => report.with_revision(revision),
            None => report,
        };

        // given
        let mut fixture = Fixture::new();
        let gateway = fixture.register_by_hand("tm", 7, &with(at_registration, report("tm", &[None])));
        fixture.request(1, &small());
        fixture.answer(&gateway, 1, at_answer.map_or_else(acknowledged, acknowledged_at));
        fixture.log.take();

        // when
        let outcome = fixture.report(7, &with(in_report, report("tm", &[None])));

        // then
        assert_eq!(outcome, ReportOutcome::Applied);
        fixture.expect(&["lost 1 on tm_0: free"]);
    }
}

/// B.18: reports that overtake each other
#[test]
fn report_that_was_overtaken_by_another_is_ignored() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[None]).with_revision(0));
    fixture.report(7, &report("tm", &[Some(1)]).with_revision(9));

    let outcome = fixture.report(7, &report("tm", &[Some(2)]).with_revision(8));

    let stale = Stale {
        revision: 8,
        highest_seen: 9,
    };
    assert_eq!(outcome, ReportOutcome::Ignored(stale));
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(1)));
    assert_eq!(
        fixture
            .manager
            .task_manager(instance(7))
            .expect("registered")
            .revision(),
        Some(9)
    );
    fixture.expect(&[]);
}

/// B.18: the report may be older than the request
#[test]
fn report_of_a_free_slot_does_not_end_the_attempt_in_flight_to_it() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    fixture.request(1, &small());

    // when
    for _ in 0..3 {
        fixture.report(7, &report("tm", &[None, None]));
    }

    // then
    fixture.expect(&["request tm_0 for 1 #1"]);
    assert_eq!(gateway.pending().len(), 1);
    fixture.answer(&gateway, 1, acknowledged());
    fixture.expect(&["granted 1 on tm_0"]);
}

/// Two slots of `tm` that hold allocation 1: the first is its grant.
fn with_duplicate() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), Some(1)]));
    fixture.expect(&["free tm_1 of 1 #0"]);
    fixture
}

/// Slots of two task managers that hold allocation 1: that of `first` is its grant, that of `second` holds it besides.
fn with_duplicate_elsewhere() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.register("first", 1, &report("first", &[Some(1)]));
    fixture.register("second", 2, &report("second", &[Some(1)]));
    fixture.expect(&["free second_0 of 1 #0"]);
    fixture
}

/// B.19
#[test]
fn second_slot_of_an_allocation_is_in_use_and_asked_to_be_freed() {
    for mut fixture in [with_duplicate(), with_duplicate_elsewhere()] {
        // then: the first is the grant, the other is not handed out
        let first = fixture.manager.slots().next().expect("two slots").slot_id();
        assert_eq!(fixture.status(1), Some(granted(&first)));
        assert_eq!(counts(&fixture), (0, 0, 2));
        assert_eq!(fixture.request(2, &small()), AllocationStatus::Waiting);
        fixture.expect(&[&ask(1)]);
    }
}

/// B.19
#[test]
fn second_slot_is_asked_to_be_freed_again_by_each_report_that_repeats_it() {
    let mut fixture = with_duplicate_elsewhere();
    for _ in 0..2 {
        fixture.report(2, &report("second", &[Some(1)]));
        fixture.expect(&["free second_0 of 1 #0"]);
        fixture.report(1, &report("first", &[Some(1)]));
        fixture.expect(&[]);
    }

    // The attempt number is that of the latest attempt, so that the task executor frees what any of them gave it.
    fixture.register("third", 3, &report("third", &[None]));
    fixture.request(5, &small());
    fixture.log.take();
    fixture.report(2, &report("second", &[Some(1)]));
    fixture.expect(&["free second_0 of 1 #1"]);
}

/// B.19
#[test]
fn freeing_the_second_slot_leaves_the_grant_alone() {
    for freed_by_report in [false, true] {
        // given
        let mut fixture = with_duplicate_elsewhere();
        fixture.request(2, &small());
        fixture.log.take();

        // when
        if freed_by_report {
            fixture.report(2, &report("second", &[None]));
        } else {
            assert_eq!(fixture.free(&slot("second", 0), 1), FreeSlotOutcome::Freed);
        }

        // then: the slot serves the next, nothing is lost
        fixture.expect(&["request second_0 for 2 #1", "granted 2 on second_0"]);
        assert_eq!(fixture.status(1), Some(granted(&slot("first", 0))));
        let duplicate = fixture.try_request(1, 1, &small());
        let known = granted(&slot("first", 0));
        assert_eq!(duplicate, Ok(SlotRequestOutcome::Duplicate(known)));
    }
}

/// B.19
#[test]
fn second_slot_takes_the_place_of_a_grant_that_ends() {
    fn freed(fixture: &mut Fixture) {
        assert_eq!(fixture.free(&slot("first", 0), 1), FreeSlotOutcome::Freed);
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
    fn not_reported_any_more(fixture: &mut Fixture) {
        fixture.report(1, &report("first", &[]));
    }
    fn registered_anew(fixture: &mut Fixture) {
        fixture.register("first", 11, &report("first", &[None]));
    }

    for ended in [
        freed,
        lost_with_its_task_manager,
        reported_free,
        reported_as_held_by_another,
        not_reported_any_more,
        registered_anew,
    ] {
        let mut fixture = with_duplicate_elsewhere();

        ended(&mut fixture);

        // Silently: the job holds the allocation all the time.
        fixture.expect(&[]);
        assert_eq!(fixture.status(1), Some(granted(&slot("second", 0))));

        // It is a grant as any other now.
        fixture.report(2, &report("second", &[Some(1)]));
        fixture.expect(&[]);
        fixture.report(2, &report("second", &[None]));
        fixture.expect(&["lost 1 on second_0: free"]);
    }
}

/// B.19: duplicates are judged on the whole report
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
        let mut fixture = with_duplicate();

        fixture.report(7, &report);

        assert_eq!(fixture.status(1), Some(granted(&slot("tm", 1))), "{how}");
        assert_eq!(fixture.brief_effects(), [""; 0], "{how}");
    }
}

/// B.19: the slot that was asked for is the grant, wherever the report lists it
#[test]
fn report_that_confirms_an_attempt_and_shows_a_second_slot_grants_the_one_that_was_asked_for() {
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
fn oldest_of_several_other_slots_takes_the_place_of_the_grant() {
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
    fixture.expect(&[]);
    fixture.unregister(3);
    fixture.expect(&["lost 1 on third_0: unregistered"]);
}

/// B.19: found by an answer
#[test]
fn slot_that_is_occupied_by_an_allocation_granted_elsewhere_is_asked_to_be_freed() {
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

/// B.19: the first slot that a report lists completes the request, the other holds it besides
#[test]
fn request_that_is_found_on_two_slots_is_granted_the_first() {
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    fixture.log.take();

    fixture.register("tm", 7, &report("tm", &[None, Some(1), Some(1)]));

    fixture.expect(&["granted 1 on tm_1", "free tm_2 of 1 #0"]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 1))));
}

/// B.19, in the names of two jobs: the slot takes the place, but the job that held the grant has lost it
#[test]
fn grant_whose_place_is_taken_by_another_jobs_slot_is_lost() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("first", 1, &report("first", &[Some(1)]));
    fixture.register("second", 2, &SlotReport::new(vec![held_by(slot("second", 0), 1, 2)]));
    assert_eq!(frees(&fixture.log.take())[0].job_id, job(2));

    // when
    fixture.report(1, &report("first", &[None]));

    // then
    let loss = AllocationFailureCause::GrantLost {
        slot_id: slot("first", 0),
        loss: GrantLoss::ReportedFree,
    };
    assert_eq!(failures(&fixture.log.take()), [(allocation(1), loss)]);
    assert_eq!(fixture.status(1), Some(granted(&slot("second", 0))));
}

/// B.20
#[test]
fn report_updates_what_a_known_slot_has() {
    let (narrow, wide) = (profile(1.0, 100), profile(4.0, 400));
    let offers =
        |profile: &slot_manager::ResourceProfile| crate::common::free_report("tm", std::slice::from_ref(profile));

    // given: a request that the slot does not fit
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &offers(&narrow));
    assert_eq!(fixture.request(1, &wide), AllocationStatus::Waiting);
    fixture.log.take();

    // when, then: the slot grows
    fixture.report(7, &offers(&wide));
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
    assert_eq!(
        fixture
            .manager
            .slot(&slot("tm", 0))
            .expect("registered")
            .resource_profile(),
        &wide
    );

    // when, then: it shrinks while it is held
    let held = SlotStatus::allocated(slot("tm", 0), narrow.clone(), allocation(1), job(1));
    fixture.report(7, &SlotReport::new(vec![held]));
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.free(&slot("tm", 0), 1);
    assert_eq!(fixture.request(2, &wide), AllocationStatus::Waiting);
    fixture.expect(&["ask 2 for {cpu: 4, task heap: 400 MiB}"]);
    assert_eq!(fixture.request(3, &narrow), granted(&slot("tm", 0)));

    // when, then: it shrinks while it is free
    fixture.cancel(2);
    fixture.report(7, &offers(&wide));
    fixture.report(7, &offers(&narrow));
    fixture.log.take();
    assert_eq!(fixture.request(4, &wide), AllocationStatus::Waiting);
    fixture.expect(&["ask 3 for {cpu: 4, task heap: 400 MiB}"]);
}

/// B.20: the job is kept with the slot
#[test]
fn lost_grant_is_told_to_the_job_that_held_it() {
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
    let told: Vec<_> = fixture
        .actions
        .take()
        .into_iter()
        .map(|action| match action {
            slot_manager::testing::Action::NotifyAllocationFailure {
                job_id, allocation_id, ..
            } => (job_id, allocation_id),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(told, [(job(5), allocation(1)), (job(6), allocation(2))]);
}

/// B.20
#[test]
fn allocation_that_changes_its_job_is_lost_to_the_first() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1)]));

    fixture.report(7, &SlotReport::new(vec![held_by(slot("tm", 0), 1, 2)]));

    let loss = GrantLoss::HeldByAnother {
        allocation_id: allocation(1),
        job_id: job(2),
    };
    let cause = AllocationFailureCause::GrantLost {
        slot_id: slot("tm", 0),
        loss,
    };
    assert_eq!(failures(&fixture.log.take()), [(allocation(1), cause)]);
    let state = fixture.manager.slot(&slot("tm", 0)).expect("registered").state();
    assert!(matches!(state, SlotState::Allocated { job_id, .. } if job_id == job(2)));
}
