//! Slots: their states, and the steps from one state to the next. Comments of the form `B.n` name
//! the defects of FLINK-5810 that a test guards against.

use std::time::Duration;

use slot_manager::outcome::SlotFreedOutcome;
use slot_manager::overview::SlotCounts;
use slot_manager::testing::{
    Delivery, EffectLog, GatewayAnswer, GatewayCall, GatewayMessage, ManualScheduledExecutor, NotPending,
    RecordingActions, ScriptedGateway, SimulatedTaskExecutor,
};
use slot_manager::view::SlotState;
use slot_manager::{LeaderId, SlotManager};

use crate::common::{
    Fixture, acknowledged, allocation, brief, frees, granted, in_flight, instance, job, occupied, patient, rejected,
    report, request, slot, small,
};

/// B.15
#[test]
fn slot_is_never_allocated_and_in_flight_at_once() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    assert_eq!(fixture.counts(), [0, 1, 0]);
    fixture.log.take();

    // when: the report is faster than the answer
    fixture.report(7, &report("tm", &[Some(1)]));

    // then: granted once, and no answer is awaited
    fixture.expect(&["granted 1 on tm_0"]);
    assert_eq!(fixture.counts(), [0, 0, 1]);
    assert_eq!(gateway.answer(1, acknowledged()), Err(NotPending { attempt: 1 }));

    // then: one free makes it free
    assert_eq!(fixture.free(&slot("tm", 0), 1), SlotFreedOutcome::Freed);
    assert_eq!(fixture.counts(), [1, 0, 0]);
    fixture.expect_nothing();
}

/// B.30: totals are kept with every change, never recounted.
#[test]
fn counts_are_right_after_every_change() {
    fn of_all_and_of_a(fixture: &Fixture) -> [[usize; 4]; 2] {
        let of = |counts: SlotCounts| [counts.registered, counts.free, counts.in_flight, counts.allocated];
        let a = fixture
            .manager
            .task_manager(instance(1))
            .expect("registered")
            .slot_counts();
        [of(fixture.manager.overview().slots.counts()), of(a)]
    }

    // given
    let mut fixture = Fixture::new();
    let gateway: ScriptedGateway = fixture.register_by_hand("a", 1, &report("a", &[Some(101), None, None]));
    assert_eq!(of_all_and_of_a(&fixture), [[3, 2, 0, 1], [3, 2, 0, 1]]);
    fixture.register("b", 2, &report("b", &[Some(102)]));
    assert_eq!(of_all_and_of_a(&fixture), [[4, 2, 0, 2], [3, 2, 0, 1]]);

    // when, then: in flight, refused twice
    fixture.request(1, &small());
    assert_eq!(of_all_and_of_a(&fixture), [[4, 1, 1, 2], [3, 1, 1, 1]]);
    fixture.answer(&gateway, 1, rejected());
    assert_eq!(fixture.status(1), Some(in_flight(&slot("a", 2))));
    fixture.answer(&gateway, 2, rejected());
    assert_eq!(of_all_and_of_a(&fixture), [[4, 2, 0, 2], [3, 2, 0, 1]]);
    fixture.cancel(1);

    // when, then: granted on one slot and freed, refused on the other, which backs off
    gateway.answer_next(acknowledged());
    assert_eq!(fixture.request(3, &small()), granted(&slot("a", 1)));
    assert_eq!(of_all_and_of_a(&fixture), [[4, 1, 0, 3], [3, 1, 0, 2]]);
    fixture.free(&slot("a", 1), 3);
    assert_eq!(of_all_and_of_a(&fixture), [[4, 2, 0, 2], [3, 2, 0, 1]]);
    fixture.request(2, &small());
    fixture.answer(&gateway, 4, rejected());
    assert_eq!(of_all_and_of_a(&fixture), [[4, 1, 1, 2], [3, 1, 1, 1]]);
    let backing_off = fixture
        .manager
        .slots()
        .filter(|slot| matches!(slot.state(), SlotState::BackingOff { .. }))
        .count();
    assert_eq!(backing_off, 1, "a slot that backs off counts as free");
    fixture.answer(&gateway, 5, acknowledged());
    assert_eq!(of_all_and_of_a(&fixture), [[4, 1, 0, 3], [3, 1, 0, 2]]);

    // when, then: another worker is refused twice in a row, and backs off with its slot
    let b = fixture.register_by_hand("b", 3, &report("b", &[Some(102), None, None]));
    for (id, attempt) in [(4, 6), (5, 8)] {
        fixture.request(id, &small());
        fixture.answer(&b, attempt, rejected());
        fixture.cancel(id);
    }
    assert_eq!(
        of_all_and_of_a(&fixture),
        [[6, 3, 0, 3], [3, 1, 0, 2]],
        "slots of a worker that backs off count as free"
    );
    fixture.report(3, &report("b", &[Some(102)]));

    // when, then: slots come and go
    fixture.report(1, &report("a", &[Some(101)]));
    assert_eq!(of_all_and_of_a(&fixture), [[2, 0, 0, 2], [1, 0, 0, 1]]);
    fixture.unregister(3);
    assert_eq!(of_all_and_of_a(&fixture), [[1, 0, 0, 1], [1, 0, 0, 1]]);
}

// Attempts that are given up.

/// B.17
#[test]
fn task_executor_is_notified_of_each_attempt_that_is_given_up() {
    fn cancelled(fixture: &mut Fixture) {
        fixture.cancel(1);
    }
    fn job_is_gone(fixture: &mut Fixture) {
        fixture.step(|manager| manager.unregister_job(job(1)));
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

        // then: one notice, and no late answer can arrive
        let freed = frees(&fixture.log.take());
        let about: Vec<_> = freed
            .iter()
            .map(|free| (&free.slot_id, free.allocation_id, free.attempt))
            .collect();
        assert_eq!(about, [(&slot("tm", 0), allocation(1), 1)]);
        assert_eq!(gateway.answer(1, acknowledged()), Err(NotPending { attempt: 1 }));
    }
}

/// B.17: the task executor has answered, so it needs no notice.
#[test]
fn task_executor_is_not_notified_of_attempts_that_it_ended_itself() {
    for answer in [acknowledged(), rejected(), occupied(99)] {
        // given
        let mut fixture = Fixture::new();
        let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
        fixture.request(1, &small());
        fixture.answer(&gateway, 1, answer);

        // when
        fixture.report(
            7,
            &report(
                "tm",
                &[fixture.holder(&slot("tm", 0)).map(slot_manager::AllocationId::as_u128)],
            ),
        );

        // then
        assert_eq!(frees(&fixture.log.take()), []);
    }
}

/// B.17, seen from the task executor: it keeps no slot for a cancelled allocation, in any order of
/// the messages.
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
        manager.unregister_slot_request(allocation(1));
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

// Slots that are freed before their acknowledgement.

/// B.18 (i), without revisions.
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

    // then: request 1 was served and has ended. The free reaches also a slot request that is still
    // on its way. The slot goes to the next request.
    assert_eq!(outcome, SlotFreedOutcome::FreedInFlight);
    fixture.expect(&["granted 1 on tm_0", "free tm_0 of 1 #1", "request tm_0 for 2 #2"]);
    assert_eq!(fixture.status(1), None);
    assert_eq!(fixture.status(2), Some(in_flight(&slot("tm", 0))));

    // then: the late acknowledgement changes nothing
    assert_eq!(gateway.answer(1, acknowledged()), Err(NotPending { attempt: 1 }));
    fixture.answer(&gateway, 2, acknowledged());
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(2)));
}

#[test]
fn slot_that_is_freed_in_flight_stays_free_without_waiting_requests() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();

    // when, then
    assert_eq!(fixture.free(&slot("tm", 0), 1), SlotFreedOutcome::FreedInFlight);
    // The free also reaches a slot request that is still on its way.
    fixture.expect(&["granted 1 on tm_0", "free tm_0 of 1 #1"]);
    assert_eq!(fixture.status(1), None);
    assert!(fixture.is_free(&slot("tm", 0)));
    // The late answer changes nothing.
    assert_eq!(gateway.answer(1, acknowledged()), Err(NotPending { attempt: 1 }));
    assert_eq!(fixture.run(), 0);
    assert!(fixture.is_free(&slot("tm", 0)));
}

/// B.18 (i): only the allocation in flight can free the slot.
#[test]
fn slot_in_flight_is_not_freed_by_another_allocation() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    let outcome = fixture.free(&slot("tm", 0), 2);

    // then
    let holder = allocation(1);
    assert_eq!(outcome, SlotFreedOutcome::HeldByAnother { allocation_id: holder });
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
    fixture.expect_nothing();
}
