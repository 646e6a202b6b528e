//! Release checks: the manager asks an idle task manager before it releases it.

use slot_manager::message::{
    Acknowledge, AllocateSlot, FreeSlot, NoFuture, Release, ReleaseCheck, ReleaseDecision, SlotAnswer,
};
use slot_manager::outcome::ReleaseAnswerOutcome;
use slot_manager::testing::{Effect, GatewayCall, ScriptedGateway};
use slot_manager::{LeaderId, SlotManagerConfig, TaskExecutorGateway, Timestamp};

use crate::common::{Fixture, NANOSECOND, SECOND, instance, patient, release_check, report, slot, small, workers_of};

const RELEASE: &str = "release 1, idle since +0ns (1)";

/// Task managers may be idle for 10 s, and an answer may take 3 s.
fn config() -> SlotManagerConfig {
    patient()
        .with_task_manager_timeout(10 * SECOND)
        .with_rpc_timeout(3 * SECOND)
}

/// Task manager 1 has one slot, and always gives this answer.
fn answering_with(config: SlotManagerConfig, answer: ReleaseDecision) -> (Fixture, ScriptedGateway) {
    let mut fixture = Fixture::with(config);
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_release_checks(answer);
    (fixture, gateway)
}

fn answering(answer: ReleaseDecision) -> (Fixture, ScriptedGateway) {
    answering_with(config(), answer)
}

/// Release check 1 of task manager 1 is open: it answers later.
fn checked_with(config: SlotManagerConfig) -> Fixture {
    let (mut fixture, _) = answering_with(config, ReleaseDecision::Later);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1"]);
    fixture
}

fn checked() -> Fixture {
    checked_with(config())
}

// Answers at once.

#[test]
fn task_manager_that_agrees_is_released() {
    // given
    let (mut fixture, _) = answering(ReleaseDecision::Release);

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["may 1 go? #1", RELEASE]);
    assert!(!fixture.is_registered(1));
}

#[test]
fn release_check_names_the_registration_the_leadership_and_itself() {
    // given
    let (mut fixture, _) = answering(ReleaseDecision::Keep);

    // when
    fixture.advance(10 * SECOND);

    // then
    let expected = ReleaseCheck {
        instance_id: instance(1),
        leader_id: LeaderId::from_u128(1),
        number: 1,
    };
    assert_eq!(
        fixture.log.take(),
        [Effect::Gateway(GatewayCall::CanBeReleased(expected))]
    );
}

#[test]
fn task_manager_that_refuses_stays_and_is_checked_again_after_another_idle_timeout() {
    // given
    let (mut fixture, gateway) = answering(ReleaseDecision::Keep);

    // when, then
    fixture.falls_due_after(10 * SECOND, &["may 1 go? #1"]);
    assert!(fixture.is_registered(1));

    // when, then
    gateway.answer_release_checks(ReleaseDecision::Release);
    fixture.falls_due_after(10 * SECOND, &["may 1 go? #2", RELEASE]);
}

#[test]
fn task_manager_that_refuses_serves_requests() {
    // given
    let (mut fixture, _) = answering(ReleaseDecision::Keep);
    fixture.advance(10 * SECOND);
    fixture.log.take();

    // when
    fixture.request(1, &small());

    // then
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
}

#[test]
fn release_checks_are_counted_over_all_task_managers() {
    // given
    let mut fixture = Fixture::with(config());
    for (worker, instance) in [("a", 7), ("b", 3)] {
        let gateway = fixture.register_free(worker, instance, &[small()]);
        gateway.answer_release_checks(ReleaseDecision::Keep);
    }

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["may 7 go? #1", "may 3 go? #2"]);
}

// Answers later.

#[test]
fn task_manager_stays_and_serves_requests_while_its_answer_is_awaited() {
    // given
    let mut fixture = checked();
    assert!(fixture.is_registered(1));

    // when
    fixture.request(1, &small());

    // then
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
}

#[test]
fn agreement_in_time_releases() {
    // given
    let mut fixture = checked();
    fixture.advance(2 * SECOND);

    // when
    let outcome = fixture.answer_release(&release_check(1, 1), ReleaseDecision::Release);

    // then
    assert_eq!(outcome, ReleaseAnswerOutcome::Released);
    fixture.expect(&[RELEASE]);
    assert!(!fixture.is_registered(1));
}

#[test]
fn agreement_in_time_does_not_release_if_the_resource_manager_declines() {
    // given
    let mut fixture = checked();
    fixture.actions.answer_next_release(Release::Declined);

    // when
    let outcome = fixture.answer_release(&release_check(1, 1), ReleaseDecision::Release);

    // then
    assert_eq!(outcome, ReleaseAnswerOutcome::Stays);
    fixture.expect(&[RELEASE]);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #2"]);
}

#[test]
fn refusal_in_time_begins_another_idle_timeout() {
    // given
    let mut fixture = checked();
    fixture.advance(2 * SECOND);

    // when
    let outcome = fixture.answer_release(&release_check(1, 1), ReleaseDecision::Keep);

    // then
    assert_eq!(outcome, ReleaseAnswerOutcome::Stays);
    fixture.falls_due_after(10 * SECOND, &["may 1 go? #2"]);
}

#[test]
fn later_for_the_second_time_gives_no_more_time() {
    // given
    let mut fixture = checked();
    fixture.advance(2 * SECOND);

    // when
    let outcome = fixture.answer_release(&release_check(1, 1), ReleaseDecision::Later);

    // then
    assert_eq!(outcome, ReleaseAnswerOutcome::Open);
    fixture.expect_nothing();
    fixture.advance(SECOND);
    assert_unknown(&mut fixture, &release_check(1, 1));
}

#[test]
fn answer_that_comes_too_late_is_unknown_and_counts_as_a_refusal() {
    // given
    let mut fixture = checked();

    // when
    fixture.falls_due_after(3 * SECOND, &[]);

    // then
    assert_eq!(
        fixture.answer_release(&release_check(1, 1), ReleaseDecision::Release),
        ReleaseAnswerOutcome::Unknown
    );
    assert!(fixture.is_registered(1));

    // then: another idle timeout begins at the deadline
    fixture.falls_due_after(10 * SECOND, &["may 1 go? #2"]);
}

/// The idle timeout that was armed anew with the release check ends together with the time for the
/// answer.
#[test]
fn answer_that_is_missing_when_the_idle_timeout_ends_again_begins_another_one() {
    // given
    let mut fixture = checked_with(config().with_rpc_timeout(10 * SECOND));

    // when, then: it counts as a refusal, and nothing else falls due
    fixture.falls_due_after(10 * SECOND, &[]);
    assert_eq!(fixture.manager.next_deadline(), Some(Timestamp::from_secs(30)));
    assert_unknown(&mut fixture, &release_check(1, 1));

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #2"]);
}

/// Both fell due unseen at 20 s: the time for the answer, and the idle timeout.
#[test]
fn missing_answer_counts_before_an_idle_timeout_that_is_noticed_with_it() {
    // given
    let mut fixture = checked_with(config().with_rpc_timeout(10 * SECOND));

    // when, then: the manager is driven at 25 s
    assert_eq!(fixture.advance(15 * SECOND), 1);
    fixture.expect_nothing();

    // when, then
    fixture.falls_due_after(10 * SECOND, &["may 1 go? #2"]);
}

#[test]
fn idle_timeout_that_ends_before_the_time_for_the_answer_makes_no_release_check() {
    // given
    let mut fixture = checked_with(config().with_rpc_timeout(10 * SECOND + NANOSECOND));

    // when, then: the idle timeout alone, and then the time for the answer
    assert_eq!(fixture.advance(10 * SECOND), 1);
    assert_eq!(fixture.advance(NANOSECOND), 1);
    fixture.expect_nothing();
    assert_eq!(
        fixture.manager.next_deadline(),
        Some(Timestamp::from_secs(30) + NANOSECOND)
    );
}

#[test]
fn release_check_is_answered_once() {
    for answer in [ReleaseDecision::Release, ReleaseDecision::Keep] {
        // given
        let mut fixture = checked();
        let _ = fixture.answer_release(&release_check(1, 1), answer);

        // when, then
        assert_eq!(
            fixture.answer_release(&release_check(1, 1), answer),
            ReleaseAnswerOutcome::Unknown
        );
    }
}

#[test]
fn no_other_release_check_is_made_while_one_is_open() {
    // given
    let mut fixture = checked_with(config().with_rpc_timeout(100 * SECOND));

    // when, then
    fixture.advance(20 * SECOND);
    fixture.expect_nothing();
    assert_eq!(
        fixture.answer_release(&release_check(1, 1), ReleaseDecision::Release),
        ReleaseAnswerOutcome::Released
    );
}

// Unknown release checks.

/// Checks that no such release check is open: to agree to it does nothing.
#[track_caller]
fn assert_unknown(fixture: &mut Fixture, check: &ReleaseCheck) {
    fixture.log.take();
    let before = fixture.view();
    assert_eq!(
        fixture.answer_release(check, ReleaseDecision::Release),
        ReleaseAnswerOutcome::Unknown
    );
    assert_eq!(fixture.view(), before);
    fixture.expect_nothing();
}

#[test]
fn release_check_that_was_never_made_is_unknown() {
    let (mut fixture, _) = answering(ReleaseDecision::Later);
    assert_unknown(&mut fixture, &release_check(1, 1));
}

#[test]
fn release_check_is_identified_by_all_its_fields() {
    // given
    let mut fixture = checked();
    let open = release_check(1, 1);

    // when, then
    for other in [
        ReleaseCheck { number: 2, ..open },
        ReleaseCheck {
            instance_id: instance(2),
            ..open
        },
        ReleaseCheck {
            leader_id: LeaderId::from_u128(2),
            ..open
        },
    ] {
        assert_unknown(&mut fixture, &other);
    }
    assert_eq!(
        fixture.answer_release(&open, ReleaseDecision::Release),
        ReleaseAnswerOutcome::Released
    );
}

#[test]
fn release_check_ends_when_a_slot_is_used() {
    // given
    let mut fixture = checked();

    // when, then: it stays ended after the use
    fixture.request(1, &small());
    assert_unknown(&mut fixture, &release_check(1, 1));
    fixture.free(&slot("tm", 0), 1);
    assert_unknown(&mut fixture, &release_check(1, 1));
}

#[test]
fn release_check_ends_when_a_slot_is_reported_as_allocated() {
    let mut fixture = checked();
    fixture.report(1, &report("tm", &[Some(50)]));
    assert_unknown(&mut fixture, &release_check(1, 1));
}

#[test]
fn release_check_that_ended_leaves_no_deadline_behind() {
    let mut fixture = checked();
    fixture.request(1, &small());
    assert_eq!(fixture.advance(100 * SECOND), 0);
}

#[test]
fn task_manager_that_was_used_is_checked_anew() {
    // given
    let mut fixture = checked();
    fixture.request(1, &small());
    fixture.advance(SECOND);
    fixture.free(&slot("tm", 0), 1);
    fixture.log.take();

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #2"]);
    assert_eq!(
        fixture.answer_release(&release_check(1, 2), ReleaseDecision::Release),
        ReleaseAnswerOutcome::Released
    );
    fixture.expect(&["release 1, idle since +11s (2)"]);
}

#[test]
fn release_check_ends_with_its_task_manager() {
    let mut fixture = checked();
    fixture.unregister(1);
    assert_unknown(&mut fixture, &release_check(1, 1));
    assert_eq!(fixture.advance(100 * SECOND), 0);
}

#[test]
fn release_check_ends_when_the_worker_registers_again() {
    let mut fixture = checked();
    fixture.register("tm", 2, &report("tm", &[None]));
    assert_unknown(&mut fixture, &release_check(1, 1));
    assert_unknown(&mut fixture, &release_check(2, 1));
}

#[test]
fn report_of_free_slots_does_not_end_a_release_check() {
    // given
    let mut fixture = checked();

    // when
    fixture.report(1, &report("tm", &[None, None]));

    // then
    assert_eq!(
        fixture.answer_release(&release_check(1, 1), ReleaseDecision::Release),
        ReleaseAnswerOutcome::Released
    );
}

#[test]
fn slot_that_a_report_omits_does_not_count_for_an_open_release_check() {
    // given: two slots
    let mut fixture = Fixture::with(config());
    let gateway = fixture.register_free("tm", 1, &[small(), small()]);
    gateway.answer_release_checks(ReleaseDecision::Later);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1"]);

    // when, then: the fixture checks the invariants
    fixture.report(1, &report("tm", &[None]));
    assert_eq!(
        fixture.answer_release(&release_check(1, 1), ReleaseDecision::Release),
        ReleaseAnswerOutcome::Released
    );
}

#[test]
fn release_check_ends_with_the_leadership_and_its_number_is_not_used_again() {
    // given
    let mut fixture = checked();
    fixture.suspend();
    fixture.start(2);
    fixture
        .register_free("tm", 1, &[small()])
        .answer_release_checks(ReleaseDecision::Later);
    assert_unknown(&mut fixture, &release_check(1, 1));

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["may 1 go? #2"]);
    assert_unknown(&mut fixture, &release_check(1, 1));
    assert_unknown(&mut fixture, &release_check(1, 2));
    let second = ReleaseCheck {
        leader_id: LeaderId::from_u128(2),
        ..release_check(1, 2)
    };
    assert_eq!(
        fixture.answer_release(&second, ReleaseDecision::Release),
        ReleaseAnswerOutcome::Released
    );
}

#[test]
fn answer_before_the_start_is_unknown() {
    let mut fixture = Fixture::not_started(config());
    let answered = fixture.step(|manager| manager.answer_release(&release_check(1, 1), ReleaseDecision::Release));
    assert_eq!(answered, ReleaseAnswerOutcome::Unknown);
}

// Task managers that are needed by the time they answer.

/// The minimum is two slots. `a` and `b` have two each, and are both idle for 10 s, `a` first.
fn with_a_minimum(answer_of_a: ReleaseDecision) -> Fixture {
    let config = patient()
        .with_workers(workers_of(2).with_min_slots(2))
        .with_task_manager_timeout(10 * SECOND)
        .with_rpc_timeout(3 * SECOND);
    let mut fixture = Fixture::promising(config);
    let a = fixture.register_free("a", 1, &[small(), small()]);
    a.answer_next_release_check(answer_of_a);
    fixture.register_free("b", 2, &[small(), small()]);
    fixture.log.take();
    fixture.advance(10 * SECOND);
    fixture
}

#[test]
fn task_manager_with_an_open_release_check_does_not_count_towards_the_minimum() {
    let fixture = with_a_minimum(ReleaseDecision::Later);
    fixture.expect(&["may 1 go? #1"]);
    assert!(fixture.is_registered(2), "without both there would be no slot");
}

#[test]
fn refusal_lets_a_kept_task_manager_go() {
    // given
    let mut fixture = with_a_minimum(ReleaseDecision::Later);
    fixture.log.take();

    // when
    let outcome = fixture.answer_release(&release_check(1, 1), ReleaseDecision::Keep);

    // then
    assert_eq!(outcome, ReleaseAnswerOutcome::Stays);
    fixture.expect(&["may 2 go? #2", "release 2, idle since +0ns (1)"]);
}

#[test]
fn refusal_at_once_lets_another_task_manager_go() {
    let fixture = with_a_minimum(ReleaseDecision::Keep);
    fixture.expect(&["may 1 go? #1", "may 2 go? #2", "release 2, idle since +0ns (1)"]);
}

#[test]
fn missing_answer_lets_a_kept_task_manager_go() {
    // given
    let mut fixture = with_a_minimum(ReleaseDecision::Later);
    fixture.log.take();

    // when
    fixture.advance(3 * SECOND);

    // then
    fixture.expect(&["may 2 go? #2", "release 2, idle since +0ns (1)"]);
}

#[test]
fn agreement_keeps_the_other_task_managers() {
    // given
    let mut fixture = with_a_minimum(ReleaseDecision::Later);
    fixture.log.take();

    // when
    let outcome = fixture.answer_release(&release_check(1, 1), ReleaseDecision::Release);

    // then
    assert_eq!(outcome, ReleaseAnswerOutcome::Released);
    fixture.expect(&[RELEASE]);
    assert!(fixture.is_registered(2));
}

#[test]
fn task_manager_that_is_needed_when_it_agrees_stays_and_is_checked_again_when_it_is_not() {
    // given
    let mut fixture = with_a_minimum(ReleaseDecision::Later);
    fixture.unregister(2);
    fixture.log.take();

    // when, then
    assert_eq!(
        fixture.answer_release(&release_check(1, 1), ReleaseDecision::Release),
        ReleaseAnswerOutcome::Stays
    );
    fixture.expect_nothing();
    assert!(fixture.is_registered(1));

    // when, then: it agrees at once this time
    fixture.register_free("c", 3, &[small(), small()]);
    fixture.expect(&["may 1 go? #2", RELEASE]);
}

#[test]
fn open_release_check_of_a_blocked_task_manager_keeps_no_other() {
    // given: the minimum is two slots; `a` and `b` have two each, and so has a blocked task manager
    let config = config().with_workers(workers_of(2).with_min_slots(2));
    let mut fixture = Fixture::promising(config);
    fixture.block("blocked");
    let blocked = fixture.register_free("blocked", 1, &[small(), small()]);
    blocked.answer_next_release_check(ReleaseDecision::Later);
    fixture.register_free("a", 2, &[small(), small()]);
    fixture.register_free("b", 3, &[small(), small()]);
    fixture.log.take();

    // when
    fixture.advance(10 * SECOND);

    // then: the slots of `b` are enough
    fixture.expect(&["may 1 go? #1", "may 2 go? #2", "release 2, idle since +0ns (1)"]);
}

// Gateways.

fn ask<G: TaskExecutorGateway>(mut gateway: G) -> ReleaseDecision {
    gateway.can_be_released(&release_check(1, 1))
}

#[test]
fn boxed_gateway_decides_like_any_other() {
    // given
    let gateway = ScriptedGateway::new();
    gateway.answer_release_checks(ReleaseDecision::Keep);

    // when, then
    assert_eq!(ask(Box::new(gateway.clone())), ReleaseDecision::Keep);
    let boxed: Box<dyn TaskExecutorGateway<RequestSlotFuture = _>> = Box::new(gateway.clone());
    assert_eq!(ask(boxed), ReleaseDecision::Keep);
    let call = GatewayCall::CanBeReleased(release_check(1, 1));
    assert_eq!(gateway.take_calls(), [call.clone(), call]);
}

/// A gateway that implements only the required method.
struct Plain;

impl TaskExecutorGateway for Plain {
    type RequestSlotFuture = NoFuture;

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<NoFuture> {
        SlotAnswer::Ready(Ok(Acknowledge::new()))
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

#[test]
fn gateway_agrees_by_default() {
    assert_eq!(ask(Plain), ReleaseDecision::Release);
}
