//! Answers that come as inputs: the gateway says `Later`, and the service passes the answer to
//! `answer_slot_request`.

use slot_manager::message::{AttemptId, SlotResult};
use slot_manager::outcome::{ReportOutcome, SlotAnswerOutcome};
use slot_manager::testing::{GatewayAnswer, ScriptedGateway};
use slot_manager::{LeaderId, SlotReport};

use crate::common::{
    Fixture, MILLISECOND, SECOND, acknowledged, acknowledged_at, allocation, ask, attempt, freed, granted, in_flight,
    occupied, patient, rejected, report, slot, small,
};

/// Registers with this report and returns the gateway, which answers later.
fn register_later(fixture: &mut Fixture, worker: &str, instance: u128, report: &SlotReport) -> ScriptedGateway {
    let gateway = fixture.register(worker, instance, report);
    gateway.answer_requests(GatewayAnswer::Later);
    gateway
}

/// A manager with request 1 in flight to `tm_0`, whose answer comes later.
fn with_attempt() -> Fixture {
    let mut fixture = Fixture::with(patient().with_rpc_timeout(10 * SECOND));
    register_later(&mut fixture, "tm", 7, &report("tm", &[None]));
    assert_eq!(fixture.request(1, &small()), in_flight(&slot("tm", 0)));
    fixture.expect(&["request tm_0 for 1 #1"]);
    fixture
}

fn answer(fixture: &mut Fixture, attempt: AttemptId, result: SlotResult) -> SlotAnswerOutcome {
    fixture.step(|manager| manager.answer_slot_request(attempt, result))
}

#[test]
fn acknowledgement_grants_the_slot_within_the_call() {
    let mut fixture = with_attempt();
    assert_eq!(
        answer(&mut fixture, attempt(1, 1), acknowledged()),
        SlotAnswerOutcome::Applied
    );
    fixture.expect(&["granted 1 on tm_0"]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert_eq!(fixture.run(), 0, "the RPC timeout is disarmed");
}

#[test]
fn refusal_lets_the_request_try_again_within_the_call() {
    let mut fixture = with_attempt();
    assert_eq!(
        answer(&mut fixture, attempt(1, 1), rejected()),
        SlotAnswerOutcome::Applied
    );
    fixture.expect(&["request tm_0 for 1 #2"]);
    assert_eq!(
        answer(&mut fixture, attempt(1, 2), acknowledged()),
        SlotAnswerOutcome::Applied
    );
    fixture.expect(&["granted 1 on tm_0"]);
}

#[test]
fn occupied_slot_is_adopted_for_its_holder() {
    let mut fixture = with_attempt();
    assert_eq!(
        answer(&mut fixture, attempt(1, 1), occupied(9)),
        SlotAnswerOutcome::Applied
    );
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(9)));
}

#[test]
fn answer_to_another_attempt_changes_nothing() {
    let mut fixture = with_attempt();
    let other_leader = AttemptId {
        leader_id: LeaderId::from_u128(2),
        ..attempt(1, 1)
    };
    for unknown in [attempt(1, 2), attempt(1, 0), attempt(2, 1), other_leader] {
        let before = fixture.view();
        assert_eq!(
            answer(&mut fixture, unknown, acknowledged()),
            SlotAnswerOutcome::Unknown
        );
        assert_eq!(fixture.view(), before, "{unknown}");
        fixture.expect_nothing();
    }
    assert_eq!(
        answer(&mut fixture, attempt(1, 1), acknowledged()),
        SlotAnswerOutcome::Applied
    );
}

#[test]
fn second_answer_changes_nothing() {
    let mut fixture = with_attempt();
    assert_eq!(
        answer(&mut fixture, attempt(1, 1), acknowledged()),
        SlotAnswerOutcome::Applied
    );
    assert_eq!(
        answer(&mut fixture, attempt(1, 1), rejected()),
        SlotAnswerOutcome::Unknown
    );
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn answer_that_does_not_come_fails_the_attempt_at_the_rpc_timeout() {
    // given
    let mut fixture = with_attempt();

    // when, then
    fixture.falls_due_after(10 * SECOND, &["free tm_0 of 1 #1", &ask(1)]);
    fixture.falls_due_after(50 * MILLISECOND, &["request tm_0 for 1 #2"]);

    // when, then: it comes after all
    assert_eq!(
        answer(&mut fixture, attempt(1, 1), acknowledged()),
        SlotAnswerOutcome::Unknown
    );
    fixture.expect_nothing();
}

/// Inputs never act on time.
#[test]
fn answer_after_the_rpc_timeout_counts_if_the_manager_was_not_driven() {
    let mut fixture = with_attempt();
    fixture.clock.advance(20 * SECOND);
    assert_eq!(
        answer(&mut fixture, attempt(1, 1), acknowledged()),
        SlotAnswerOutcome::Applied
    );
    fixture.expect(&["granted 1 on tm_0"]);
    assert_eq!(fixture.advance(20 * SECOND), 0);
}

#[test]
fn answer_to_a_cancelled_request_changes_nothing() {
    let mut fixture = with_attempt();
    fixture.cancel(1);
    fixture.expect(&["free tm_0 of 1 #1"]);
    assert_eq!(
        answer(&mut fixture, attempt(1, 1), acknowledged()),
        SlotAnswerOutcome::Unknown
    );
    fixture.expect_nothing();
    assert!(fixture.is_free(&slot("tm", 0)));
}

#[test]
fn answer_of_an_ended_registration_changes_nothing() {
    let mut fixture = with_attempt();
    fixture.unregister(7);
    fixture.log.take();
    assert_eq!(
        answer(&mut fixture, attempt(1, 1), acknowledged()),
        SlotAnswerOutcome::Unknown
    );
    fixture.expect_nothing();
}

#[test]
fn answer_from_before_a_suspension_changes_nothing() {
    // given
    let mut fixture = with_attempt();
    fixture.suspend();
    assert_eq!(
        answer(&mut fixture, attempt(1, 1), acknowledged()),
        SlotAnswerOutcome::Unknown
    );
    fixture.start(2);
    register_later(&mut fixture, "tm", 8, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();

    // when, then
    assert_eq!(
        answer(&mut fixture, attempt(1, 1), acknowledged()),
        SlotAnswerOutcome::Unknown
    );
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
}

/// The first answer counts, whichever way it comes.
#[test]
fn answer_by_input_replaces_a_future() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());

    // when
    assert_eq!(
        answer(&mut fixture, attempt(1, 1), acknowledged()),
        SlotAnswerOutcome::Applied
    );

    // then
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert!(gateway.pending().is_empty(), "the future is dropped");
    assert_eq!(fixture.run(), 0);
}

#[test]
fn slot_freed_before_its_acknowledgement_was_granted_and_freed() {
    let mut fixture = with_attempt();
    fixture.step(|manager| manager.slot_freed(&freed(&slot("tm", 0), 1)));
    fixture.expect(&["granted 1 on tm_0", "free tm_0 of 1 #1"]);
    assert_eq!(
        answer(&mut fixture, attempt(1, 1), acknowledged()),
        SlotAnswerOutcome::Unknown
    );
}

#[test]
fn deadlines_fall_due_without_any_future() {
    let mut fixture = with_attempt();
    assert_eq!(fixture.advance(10 * SECOND - MILLISECOND), 0);
    assert_eq!(fixture.advance(MILLISECOND), 1);
}

// An answer and an older report. The report was written before the task executor gave the slot to
// the allocation, so it shows the slot as free.

/// The answer overtakes the report, which then seems to show that the slot was lost.
#[test]
fn answer_by_a_future_overtakes_a_report_without_a_revision_and_the_grant_is_lost() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    let older = report("tm", &[None]);
    fixture.request(1, &small());

    // when
    fixture.answer(&gateway, 1, acknowledged());
    fixture.report(7, &older);

    // then
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0", "lost 1 on tm_0: free"]);
}

#[test]
fn with_revisions_the_overtaken_report_takes_no_grant_away() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]).with_revision(0));
    let older = report("tm", &[None]).with_revision(0);
    fixture.request(1, &small());

    // when
    fixture.answer(&gateway, 1, acknowledged_at(1));
    assert!(matches!(fixture.report(7, &older), ReportOutcome::Ignored(_)));

    // then
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
}

#[test]
fn later_answers_overtake_no_report_in_one_ordered_stream() {
    // given
    let mut fixture = Fixture::new();
    register_later(&mut fixture, "tm", 7, &report("tm", &[None]));
    let older = report("tm", &[None]);
    fixture.request(1, &small());

    // when: the service passes on the messages in the order in which they were sent
    fixture.report(7, &older);
    assert_eq!(
        answer(&mut fixture, attempt(1, 1), acknowledged()),
        SlotAnswerOutcome::Applied
    );

    // then
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
}
