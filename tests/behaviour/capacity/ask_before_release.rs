//! An idle task manager is asked before it is released.

use slot_manager::testing::{Effect, GatewayCall, ScriptedGateway};
use slot_manager::{
    Acknowledge, AllocateSlot, LeaderId, NotStarted, Release, ReleaseAnswerOutcome, ReleaseCheck, ReleaseDecision,
    SlotAllocationError, SlotManagerConfig, SlotReport, TaskExecutorGateway, Timestamp,
};

use crate::common::{Fixture, SECOND, described, instance, patient, question, report, slot, small};

/// Idle after 10 s, and an answer may take 3 s.
fn config() -> SlotManagerConfig {
    patient()
        .with_task_manager_timeout(10 * SECOND)
        .with_rpc_timeout(3 * SECOND)
}

/// Task manager 1 with one slot, which always says this to questions.
fn saying(answer: ReleaseDecision) -> (Fixture, ScriptedGateway) {
    let mut fixture = Fixture::with(config());
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_release_checks(answer);
    (fixture, gateway)
}

/// The same, 10 s later: question 1 is open.
fn asked() -> Fixture {
    let (mut fixture, _) = saying(ReleaseDecision::Later);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1"]);
    fixture
}

const RELEASE: &str = "release 1, idle since +0ns (1)";

// Answers at once.

#[test]
fn a_task_manager_that_says_yes_is_released() {
    let (mut fixture, _) = saying(ReleaseDecision::Release);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1", RELEASE]);
    assert!(!fixture.is_registered(1));
}

#[test]
fn the_question_names_the_registration_the_leadership_and_itself() {
    let (mut fixture, _) = saying(ReleaseDecision::Keep);
    fixture.advance(10 * SECOND);
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
fn a_task_manager_that_says_no_stays_and_is_asked_again_after_another_idle_timeout() {
    let (mut fixture, gateway) = saying(ReleaseDecision::Keep);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1"]);
    assert!(fixture.is_registered(1));
    fixture.advance(10 * SECOND - std::time::Duration::from_nanos(1));
    fixture.expect_nothing();
    gateway.answer_release_checks(ReleaseDecision::Release);
    fixture.advance(std::time::Duration::from_nanos(1));
    fixture.expect(&["may 1 go? #2", RELEASE]);
}

#[test]
fn a_task_manager_that_says_no_serves_requests() {
    let (mut fixture, _) = saying(ReleaseDecision::Keep);
    fixture.advance(10 * SECOND);
    fixture.log.take();
    fixture.request(1, &small());
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
}

#[test]
fn a_task_manager_that_says_yes_and_is_not_released_is_asked_again() {
    let (mut fixture, _) = saying(ReleaseDecision::Release);
    fixture.actions.answer_releases(Release::Declined);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1", RELEASE]);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #2", RELEASE]);
}

#[test]
fn a_task_manager_without_slots_is_asked_too() {
    let mut fixture = Fixture::with(config());
    fixture.register("empty", 1, &SlotReport::default());
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1", RELEASE]);
}

#[test]
fn questions_are_counted_over_all_task_managers() {
    let mut fixture = Fixture::with(config());
    for (worker, instance) in [("a", 7), ("b", 3)] {
        let gateway = fixture.register_free(worker, instance, &[small()]);
        gateway.answer_release_checks(ReleaseDecision::Keep);
    }
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 7 go? #1", "may 3 go? #2"]);
}

#[test]
fn a_task_manager_in_use_is_not_asked() {
    let (mut fixture, _) = saying(ReleaseDecision::Release);
    fixture.request(1, &small());
    fixture.log.take();
    fixture.advance(10 * SECOND);
    fixture.expect_nothing();
}

// Answers later.

#[test]
fn while_the_answer_is_awaited_the_task_manager_stays() {
    let fixture = asked();
    assert!(fixture.is_registered(1));
}

#[test]
fn a_yes_in_time_releases() {
    let mut fixture = asked();
    fixture.advance(2 * SECOND);
    assert_eq!(
        fixture.answer_release(&question(1, 1), ReleaseDecision::Release),
        ReleaseAnswerOutcome::Released
    );
    fixture.expect(&[RELEASE]);
    assert!(!fixture.is_registered(1));
}

#[test]
fn a_yes_in_time_does_not_release_if_the_resource_manager_declines() {
    let mut fixture = asked();
    fixture.actions.answer_next_release(Release::Declined);
    assert_eq!(
        fixture.answer_release(&question(1, 1), ReleaseDecision::Release),
        ReleaseAnswerOutcome::Stays
    );
    fixture.expect(&[RELEASE]);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #2"]);
}

#[test]
fn a_no_in_time_begins_another_idle_timeout() {
    let mut fixture = asked();
    fixture.advance(2 * SECOND);
    assert_eq!(
        fixture.answer_release(&question(1, 1), ReleaseDecision::Keep),
        ReleaseAnswerOutcome::Stays
    );
    fixture.advance(10 * SECOND - std::time::Duration::from_nanos(1));
    fixture.expect_nothing();
    fixture.advance(std::time::Duration::from_nanos(1));
    fixture.expect(&["may 1 go? #2"]);
}

#[test]
fn later_again_gives_no_more_time() {
    let mut fixture = asked();
    fixture.advance(2 * SECOND);
    assert_eq!(
        fixture.answer_release(&question(1, 1), ReleaseDecision::Later),
        ReleaseAnswerOutcome::Open
    );
    fixture.expect_nothing();
    fixture.advance(SECOND);
    assert_eq!(
        fixture.answer_release(&question(1, 1), ReleaseDecision::Release),
        ReleaseAnswerOutcome::Unknown
    );
}

#[test]
fn an_answer_that_comes_too_late_is_unknown_and_counts_as_no() {
    // given
    let mut fixture = asked();
    assert_eq!(fixture.advance(3 * SECOND - std::time::Duration::from_nanos(1)), 0);
    assert_eq!(fixture.advance(std::time::Duration::from_nanos(1)), 1);

    // when, then
    assert_eq!(
        fixture.answer_release(&question(1, 1), ReleaseDecision::Release),
        ReleaseAnswerOutcome::Unknown
    );
    assert!(fixture.is_registered(1));

    // when, then: another idle timeout from the deadline on
    fixture.advance(10 * SECOND - std::time::Duration::from_nanos(1));
    fixture.expect_nothing();
    fixture.advance(std::time::Duration::from_nanos(1));
    fixture.expect(&["may 1 go? #2"]);
}

/// The idle timeout that was armed anew when the question was asked ends together with the time for the answer.
#[test]
fn an_answer_that_is_missing_when_the_idle_timeout_ends_again_begins_another_one() {
    // given
    let mut fixture = Fixture::with(config().with_rpc_timeout(10 * SECOND));
    fixture
        .register_free("tm", 1, &[small()])
        .answer_release_checks(ReleaseDecision::Later);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1"]);

    // when, then: it counts as a no, and nothing else falls due
    assert_eq!(fixture.advance(10 * SECOND), 1);
    fixture.expect_nothing();
    assert_eq!(fixture.manager.next_deadline(), Some(Timestamp::from_secs(30)));
    assert_unknown(&mut fixture, &question(1, 1));

    // when, then
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #2"]);
}

/// Both fell due unseen: the time for the answer at 20 s, and the idle timeout, too.
#[test]
fn of_both_that_are_seen_late_the_missing_answer_comes_first() {
    let mut fixture = Fixture::with(config().with_rpc_timeout(10 * SECOND));
    fixture
        .register_free("tm", 1, &[small()])
        .answer_release_checks(ReleaseDecision::Later);
    fixture.advance(10 * SECOND);
    fixture.log.take();
    assert_eq!(fixture.advance(15 * SECOND), 1);
    fixture.expect_nothing();
    fixture.advance(10 * SECOND - std::time::Duration::from_nanos(1));
    fixture.expect_nothing();
    fixture.advance(std::time::Duration::from_nanos(1));
    fixture.expect(&["may 1 go? #2"]);
}

#[test]
fn an_idle_timeout_that_ends_before_the_time_for_the_answer_asks_nothing() {
    let mut fixture = Fixture::with(config().with_rpc_timeout(10 * SECOND + std::time::Duration::from_nanos(1)));
    fixture
        .register_free("tm", 1, &[small()])
        .answer_release_checks(ReleaseDecision::Later);
    fixture.advance(10 * SECOND);
    fixture.log.take();
    assert_eq!(fixture.advance(10 * SECOND), 1, "the idle timeout alone");
    assert_eq!(fixture.advance(std::time::Duration::from_nanos(1)), 1);
    fixture.expect_nothing();
    assert_eq!(
        fixture.manager.next_deadline(),
        Some(Timestamp::from_secs(30) + std::time::Duration::from_nanos(1))
    );
}

#[test]
fn a_question_is_answered_once() {
    for answer in [ReleaseDecision::Release, ReleaseDecision::Keep] {
        let mut fixture = asked();
        let _ = fixture.answer_release(&question(1, 1), answer);
        assert_eq!(
            fixture.answer_release(&question(1, 1), answer),
            ReleaseAnswerOutcome::Unknown
        );
    }
}

#[test]
fn while_a_question_is_open_no_other_is_asked() {
    let mut fixture = Fixture::with(config().with_rpc_timeout(100 * SECOND));
    fixture
        .register_free("tm", 1, &[small()])
        .answer_release_checks(ReleaseDecision::Later);
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1"]);
    fixture.advance(20 * SECOND);
    fixture.expect_nothing();
    assert_eq!(
        fixture.answer_release(&question(1, 1), ReleaseDecision::Release),
        ReleaseAnswerOutcome::Released
    );
}

#[test]
fn while_the_answer_is_awaited_the_slots_can_be_used() {
    let mut fixture = asked();
    fixture.request(1, &small());
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
}

// Unknown questions.

/// The answer "yes" is to no open question, and does nothing.
#[track_caller]
fn assert_unknown(fixture: &mut Fixture, question: &ReleaseCheck) {
    fixture.log.take();
    let before = fixture.view();
    assert_eq!(
        fixture.answer_release(question, ReleaseDecision::Release),
        ReleaseAnswerOutcome::Unknown
    );
    assert_eq!(fixture.view(), before);
    fixture.expect_nothing();
}

#[test]
fn a_question_that_was_never_asked_is_unknown() {
    let (mut fixture, _) = saying(ReleaseDecision::Later);
    assert_unknown(&mut fixture, &question(1, 1));
}

#[test]
fn a_question_is_named_by_all_it_has() {
    let mut fixture = asked();
    let asked = question(1, 1);
    for other in [
        ReleaseCheck { number: 2, ..asked },
        ReleaseCheck {
            instance_id: instance(2),
            ..asked
        },
        ReleaseCheck {
            leader_id: LeaderId::from_u128(2),
            ..asked
        },
    ] {
        assert_unknown(&mut fixture, &other);
    }
    assert_eq!(
        fixture.answer_release(&asked, ReleaseDecision::Release),
        ReleaseAnswerOutcome::Released
    );
}

#[test]
fn a_question_is_void_when_a_slot_is_used() {
    let mut fixture = asked();
    fixture.request(1, &small());
    assert_unknown(&mut fixture, &question(1, 1));
    fixture.free(&slot("tm", 0), 1);
    assert_unknown(&mut fixture, &question(1, 1));
}

#[test]
fn a_question_is_void_when_a_slot_is_reported_as_held() {
    let mut fixture = asked();
    fixture.report(1, &report("tm", &[Some(50)]));
    assert_unknown(&mut fixture, &question(1, 1));
}

#[test]
fn a_void_question_has_no_deadline() {
    let mut fixture = asked();
    fixture.request(1, &small());
    fixture.log.take();
    assert_eq!(fixture.advance(100 * SECOND), 0);
}

#[test]
fn a_task_manager_that_was_used_is_asked_anew() {
    let mut fixture = asked();
    fixture.request(1, &small());
    fixture.advance(SECOND);
    fixture.free(&slot("tm", 0), 1);
    fixture.log.take();
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #2"]);
    assert_eq!(
        fixture.answer_release(&question(1, 2), ReleaseDecision::Release),
        ReleaseAnswerOutcome::Released
    );
    fixture.expect(&["release 1, idle since +11s (2)"]);
}

#[test]
fn a_question_is_void_when_the_task_manager_is_gone() {
    let mut fixture = asked();
    fixture.unregister(1);
    assert_unknown(&mut fixture, &question(1, 1));
    assert_eq!(fixture.advance(100 * SECOND), 0);
}

#[test]
fn a_question_is_void_when_the_worker_registers_again() {
    let mut fixture = asked();
    fixture.register("tm", 2, &report("tm", &[None]));
    assert_unknown(&mut fixture, &question(1, 1));
    assert_unknown(&mut fixture, &question(2, 1));
}

#[test]
fn reports_do_not_void_a_question() {
    let mut fixture = asked();
    fixture.report(1, &report("tm", &[None, None]));
    assert_eq!(
        fixture.answer_release(&question(1, 1), ReleaseDecision::Release),
        ReleaseAnswerOutcome::Released
    );
}

#[test]
fn a_question_of_another_leadership_is_void_and_numbers_are_not_used_again() {
    // given
    let mut fixture = asked();
    fixture.suspend();
    fixture.start(2);
    fixture
        .register_free("tm", 1, &[small()])
        .answer_release_checks(ReleaseDecision::Later);
    assert_unknown(&mut fixture, &question(1, 1));

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["may 1 go? #2"]);
    assert_unknown(&mut fixture, &question(1, 1));
    assert_unknown(&mut fixture, &question(1, 2));
    let second = ReleaseCheck {
        leader_id: LeaderId::from_u128(2),
        ..question(1, 2)
    };
    assert_eq!(
        fixture.answer_release(&second, ReleaseDecision::Release),
        ReleaseAnswerOutcome::Released
    );
}

#[test]
fn nothing_is_answered_before_the_start() {
    let mut fixture = Fixture::not_started(config());
    let answered = fixture.step(|manager| manager.answer_release(&question(1, 1), ReleaseDecision::Release));
    assert_eq!(answered, Err(NotStarted));
}

// Needed meanwhile.

/// At least two slots; `a` and `b` have two each, and both are asked after 10 s, `a` first.
fn with_floor(answer_of_a: ReleaseDecision) -> Fixture {
    let config = described(2)
        .with_min_slots(2)
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
fn a_task_manager_with_an_open_question_is_taken_for_gone() {
    let fixture = with_floor(ReleaseDecision::Later);
    fixture.expect(&["may 1 go? #1"]);
    assert!(fixture.is_registered(2), "without both there would be no slot");
}

#[test]
fn if_it_says_no_another_may_go_that_was_kept() {
    let mut fixture = with_floor(ReleaseDecision::Later);
    fixture.log.take();
    assert_eq!(
        fixture.answer_release(&question(1, 1), ReleaseDecision::Keep),
        ReleaseAnswerOutcome::Stays
    );
    fixture.expect(&["may 2 go? #2", "release 2, idle since +0ns (1)"]);
}

#[test]
fn if_it_says_no_at_once_another_may_go() {
    let fixture = with_floor(ReleaseDecision::Keep);
    fixture.expect(&["may 1 go? #1", "may 2 go? #2", "release 2, idle since +0ns (1)"]);
}

#[test]
fn if_it_does_not_answer_another_may_go_that_was_kept() {
    let mut fixture = with_floor(ReleaseDecision::Later);
    fixture.log.take();
    fixture.advance(3 * SECOND);
    fixture.expect(&["may 2 go? #2", "release 2, idle since +0ns (1)"]);
}

#[test]
fn if_it_says_yes_the_others_stay() {
    let mut fixture = with_floor(ReleaseDecision::Later);
    fixture.log.take();
    assert_eq!(
        fixture.answer_release(&question(1, 1), ReleaseDecision::Release),
        ReleaseAnswerOutcome::Released
    );
    fixture.expect(&[RELEASE]);
    assert!(fixture.is_registered(2));
}

#[test]
fn a_task_manager_that_is_needed_by_now_stays_and_is_asked_again_when_it_is_not() {
    // given
    let mut fixture = with_floor(ReleaseDecision::Later);
    fixture.unregister(2);
    fixture.log.take();

    // when, then
    assert_eq!(
        fixture.answer_release(&question(1, 1), ReleaseDecision::Release),
        ReleaseAnswerOutcome::Stays
    );
    fixture.expect_nothing();
    assert!(fixture.is_registered(1));

    // when, then: it says yes at once this time
    fixture.register_free("c", 3, &[small(), small()]);
    fixture.expect(&["may 1 go? #2", RELEASE]);
}

// Gateways.

fn ask<G: TaskExecutorGateway>(mut gateway: G) -> ReleaseDecision {
    gateway.can_be_released(&question(1, 1))
}

#[test]
fn a_boxed_gateway_is_asked_like_any_other() {
    let gateway = ScriptedGateway::new();
    gateway.answer_release_checks(ReleaseDecision::Keep);
    assert_eq!(ask(Box::new(gateway.clone())), ReleaseDecision::Keep);
    let boxed: Box<dyn TaskExecutorGateway<RequestSlotFuture = _>> = Box::new(gateway.clone());
    assert_eq!(ask(boxed), ReleaseDecision::Keep);
    let call = GatewayCall::CanBeReleased(question(1, 1));
    assert_eq!(gateway.take_calls(), [call.clone(), call]);
}

/// Says only what a gateway must.
struct Plain;

impl TaskExecutorGateway for Plain {
    type RequestSlotFuture = std::future::Ready<Result<Acknowledge, SlotAllocationError>>;

    fn request_slot(&mut self, _: &AllocateSlot) -> Self::RequestSlotFuture {
        std::future::ready(Ok(Acknowledge::new()))
    }
}

#[test]
fn a_gateway_that_does_not_care_says_yes() {
    assert_eq!(ask(Plain), ReleaseDecision::Release);
}
