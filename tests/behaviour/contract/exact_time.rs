//! Time is monotonic and exact: nothing happens before its deadline, everything at it.

use std::future::{Ready, ready};
use std::time::Duration;

use slot_manager::testing::{GatewayAnswer, ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use slot_manager::{
    LeaderId, Release, ScheduledExecutor, SlotAllocationError, SlotManager, SlotState, Timestamp, WorkerPromise,
};

use crate::common::{Fixture, allocation, instance, patient, profile, report, request, slot, small};

const NANOSECOND: Duration = Duration::from_nanos(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn refused() -> GatewayAnswer {
    Err(SlotAllocationError::rejected("no")).into()
}

/// Up to a nanosecond before `length` has passed nothing is said, and then exactly this.
#[track_caller]
fn falls_due(fixture: &mut Fixture, length: Duration, effects: &[&str]) {
    fixture.log.take();
    assert_eq!(fixture.advance(length - NANOSECOND), 0, "too early");
    assert_eq!(fixture.brief_effects(), [""; 0], "too early");
    assert_eq!(fixture.advance(NANOSECOND), 1);
    assert_eq!(fixture.brief_effects(), effects);
}

#[test]
fn a_waiting_request_fails_exactly_at_its_deadline() {
    let mut fixture = Fixture::with(patient().with_request_timeout(3 * SECOND));
    fixture.clock.advance(5 * SECOND + NANOSECOND);
    fixture.request(1, &small());
    falls_due(&mut fixture, 3 * SECOND, &["failed 1: timeout"]);
}

#[test]
fn an_attempt_is_given_up_exactly_at_the_rpc_timeout() {
    let mut fixture = Fixture::with(patient().with_rpc_timeout(3 * SECOND));
    fixture
        .register_free("tm", 1, &[small()])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    falls_due(
        &mut fixture,
        3 * SECOND,
        &["free tm_0 of 1 #1", "request tm_0 for 1 #2"],
    );
}

#[test]
fn a_request_tries_again_exactly_when_its_pause_is_over() {
    let mut fixture = Fixture::with(patient().with_retry_backoff(30 * MILLISECOND, 100 * MILLISECOND));
    fixture.register_free("tm", 1, &[small()]).answer_requests(refused());
    fixture.request(1, &small());
    for (pause, attempt) in [(30, 3), (60, 4), (100, 5), (100, 6)] {
        falls_due(
            &mut fixture,
            pause * MILLISECOND,
            &[&format!("request tm_0 for 1 #{attempt}")],
        );
    }
}

#[test]
fn a_slot_is_offered_exactly_when_its_pause_is_over() {
    let mut fixture = Fixture::with(patient().with_retry_backoff(30 * MILLISECOND, SECOND));
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.request(2, &small());
    for attempt in [1, 2] {
        let no = Err(SlotAllocationError::rejected("no"));
        gateway.answer(attempt, no).expect("it is pending");
        fixture.run();
    }
    let until = Timestamp::ZERO + 30 * MILLISECOND;
    let state = fixture.manager.slot(&slot("tm", 0)).expect("a known slot").state();
    assert_eq!(state, SlotState::BackingOff { until });
    falls_due(&mut fixture, 30 * MILLISECOND, &["request tm_0 for 1 #3"]);
}

#[test]
fn a_promise_expires_exactly_at_the_worker_registration_timeout() {
    let mut fixture = Fixture::with(patient().with_worker_registration_timeout(3 * SECOND));
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(1, &profile(2.0, 0));
    assert_eq!(
        fixture
            .manager
            .promised_slots()
            .map(|promise| promise.expires_at())
            .collect::<Vec<_>>(),
        [Timestamp::from_secs(3)]
    );
    falls_due(&mut fixture, 3 * SECOND, &["ask 2 for {cpu: 2}"]);
}

#[test]
fn a_declined_ask_is_repeated_exactly_after_the_worker_registration_timeout() {
    let mut fixture = Fixture::with(patient().with_worker_registration_timeout(3 * SECOND));
    fixture.request(1, &profile(2.0, 0));
    falls_due(&mut fixture, 3 * SECOND, &["ask 2 for {cpu: 2}"]);
    falls_due(&mut fixture, 3 * SECOND, &["ask 3 for {cpu: 2}"]);
}

#[test]
fn an_idle_task_manager_is_released_exactly_at_the_idle_timeout() {
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(3 * SECOND));
    fixture.clock.advance(2 * SECOND);
    fixture.register_free("tm", 7, &[small()]);
    falls_due(
        &mut fixture,
        3 * SECOND,
        &["may 7 go? #1", "release 7, idle since +2s (1)"],
    );
}

#[test]
fn a_release_that_was_declined_is_asked_for_again_exactly_after_another_idle_timeout() {
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(3 * SECOND));
    fixture.actions.answer_releases(Release::Declined);
    fixture.register_free("tm", 7, &[small()]);
    for question in ["may 7 go? #1", "may 7 go? #2", "may 7 go? #3"] {
        falls_due(&mut fixture, 3 * SECOND, &[question, "release 7, idle since +0ns (1)"]);
    }
}

/// Several periods passed unseen: what is armed anew counts from the time at which it was seen.
#[test]
fn a_manager_that_is_driven_late_makes_up_for_nothing() {
    let mut fixture = Fixture::with(
        patient()
            .with_task_manager_timeout(3 * SECOND)
            .with_worker_registration_timeout(2 * SECOND),
    );
    fixture.actions.answer_releases(Release::Declined);
    fixture.register_free("tm", 7, &[profile(0.5, 0)]);
    fixture.request(1, &profile(2.0, 0));
    fixture.log.take();
    assert_eq!(fixture.advance(100 * SECOND), 2);
    fixture.expect(&["ask 2 for {cpu: 2}", "may 7 go? #1", "release 7, idle since +0ns (1)"]);
    assert_eq!(fixture.manager.next_deadline(), Some(Timestamp::from_secs(102)));
    falls_due(&mut fixture, 2 * SECOND, &["ask 3 for {cpu: 2}"]);
}

#[test]
fn what_is_overdue_is_handled_in_the_order_in_which_it_fell_due() {
    let mut fixture = Fixture::with(
        patient()
            .with_request_timeout(5 * SECOND)
            .with_task_manager_timeout(2 * SECOND),
    );
    fixture.request(1, &profile(9.0, 0));
    fixture.advance(SECOND);
    fixture.register_free("tm", 7, &[small()]);
    fixture.log.take();
    fixture.actions.answer_releases(Release::Declined);
    // The idle timeout fell due at 3 s and the request at 5 s; still, what is said leaves in the order of kinds.
    assert_eq!(fixture.advance(9 * SECOND), 2);
    fixture.expect(&["failed 1: timeout", "may 7 go? #1", "release 7, idle since +1s (1)"]);
}

/// The pause ended at 5 s, and the slot would have been asked for; at 10 s the request was over. All of this is seen at
/// 20 s.
#[test]
fn what_is_overtaken_by_a_later_deadline_of_the_same_round_is_not_said() {
    let config = patient().with_request_timeout(10 * SECOND);
    let mut fixture = Fixture::with(config.with_retry_backoff(5 * SECOND, 5 * SECOND));
    fixture.register_free("tm", 1, &[small()]).answer_requests(refused());
    fixture.request(1, &small());
    fixture.log.take();
    assert_eq!(fixture.advance(20 * SECOND), 2);
    assert_eq!(
        fixture.brief_effects(),
        ["failed 1: timeout"],
        "no slot request, and nothing to free"
    );
}

/// The promise ended at 5 s, and a worker would have been asked for; at 10 s the request was over.
#[test]
fn a_worker_is_not_asked_for_for_a_request_that_is_over_in_the_same_round() {
    let config = patient().with_request_timeout(10 * SECOND);
    let mut fixture = Fixture::with(config.with_worker_registration_timeout(5 * SECOND));
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(1, &small());
    fixture.log.take();
    assert_eq!(fixture.advance(20 * SECOND), 2);
    fixture.expect(&["failed 1: timeout"]);
}

/// Request 1 pauses for 100 ms from 50 ms on, request 2 for 50 ms from 100 ms on, and there is one slot.
#[test]
fn pauses_of_different_lengths_that_end_together_end_in_the_order_of_arming() {
    let mut fixture = Fixture::new();
    fixture.register_free("a", 1, &[small()]).answer_requests(refused());
    fixture.request(1, &small());
    fixture.advance(50 * MILLISECOND);
    fixture.unregister(1);
    fixture.advance(50 * MILLISECOND);
    fixture.register_free("b", 2, &[small()]).answer_requests(refused());
    fixture.request(2, &small());
    fixture.unregister(2);
    let ends = [1, 2].map(|id| {
        fixture
            .manager
            .pending_slot_request(allocation(id))
            .expect("it pauses")
            .backs_off_until()
    });
    assert_eq!(ends, [Some(Timestamp::from_millis(150)); 2]);
    fixture.register_free("c", 3, &[small()]);
    fixture.log.take();

    assert_eq!(fixture.advance(50 * MILLISECOND), 2);
    fixture.expect(&[
        "request c_0 for 1 #6",
        "ask 1 for {cpu: 1, task heap: 100 MiB}",
        "granted 1 on c_0",
    ]);
}

#[test]
fn a_clock_that_goes_back_shortens_and_lengthens_nothing() {
    let mut fixture = Fixture::with(
        patient()
            .with_request_timeout(5 * SECOND)
            .with_task_manager_timeout(6 * SECOND),
    );
    fixture.advance(10 * SECOND);
    fixture.clock.set_now(Timestamp::from_secs(4));
    fixture.request(1, &profile(9.0, 0));
    fixture.register_free("tm", 7, &[small()]);
    assert_eq!(
        fixture
            .manager
            .task_manager(instance(7))
            .expect("it is registered")
            .idle_since(),
        Some(Timestamp::from_secs(10)),
        "the latest time that was seen"
    );
    fixture.log.take();

    fixture.clock.set_now(Timestamp::from_nanos(15_000_000_000 - 1));
    assert_eq!(fixture.run(), 0);
    fixture.clock.set_now(Timestamp::from_secs(15));
    fixture.run();
    fixture.expect(&["failed 1: timeout"]);
    fixture.clock.set_now(Timestamp::from_secs(16));
    fixture.run();
    fixture.expect(&["may 7 go? #1", "release 7, idle since +10s (1)"]);
}

#[test]
fn what_has_been_due_stays_due_when_the_clock_goes_back() {
    let mut fixture = Fixture::with(patient().with_request_timeout(5 * SECOND));
    fixture.request(1, &small());
    fixture.clock.advance(5 * SECOND);
    // An input sees the time, but does not act on it.
    fixture.cancel(99);
    fixture.log.take();
    fixture.clock.set_now(Timestamp::from_secs(1));
    assert_eq!(fixture.run(), 1);
    fixture.expect(&["failed 1: timeout"]);
}

#[test]
fn a_clock_that_stands_still_lets_nothing_fall_due() {
    let mut fixture = Fixture::with(patient().with_request_timeout(NANOSECOND));
    fixture.request(1, &small());
    fixture.log.take();
    for _ in 0..3 {
        assert_eq!(fixture.run(), 0);
    }
    assert_eq!(fixture.advance(NANOSECOND), 1);
}

#[test]
fn what_overflows_the_clock_means_never() {
    let mut fixture = Fixture::with(
        patient()
            .with_request_timeout(SECOND)
            .with_rpc_timeout(SECOND)
            .with_task_manager_timeout(SECOND)
            .with_worker_registration_timeout(SECOND)
            .with_retry_backoff(SECOND, SECOND),
    );
    fixture.clock.advance_to(Timestamp::from_nanos(u64::MAX - 5));
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(3, &profile(7.0, 0));
    fixture.register_free("idle", 2, &[profile(0.5, 0)]);
    fixture.log.take();

    let deadline = fixture
        .manager
        .pending_slot_request(allocation(1))
        .expect("in flight")
        .deadline();
    assert_eq!(deadline, Timestamp::MAX);
    assert_eq!(fixture.manager.next_deadline(), None);
    assert_eq!(fixture.advance(Duration::MAX), 0);
    assert_eq!(fixture.advance(Duration::MAX), 0);
    fixture.expect(&[""; 0]);
    assert_eq!(fixture.clock.armed(), []);
}

#[test]
fn what_is_armed_while_a_time_is_handled_falls_due_a_millisecond_later_at_the_earliest() {
    let zero = Duration::ZERO;
    let mut fixture = Fixture::with(
        patient()
            .with_worker_registration_timeout(zero)
            .with_task_manager_timeout(zero),
    );
    fixture.actions.answer_releases(Release::Declined);
    fixture.register_free("tm", 7, &[profile(0.5, 0)]);
    fixture.request(1, &profile(2.0, 0));
    fixture.log.take();
    // Armed by inputs, both are due at once, and armed again.
    assert_eq!(fixture.run(), 2);
    fixture.expect(&["ask 2 for {cpu: 2}", "may 7 go? #1", "release 7, idle since +0ns (1)"]);
    assert_eq!(fixture.run(), 0);
    assert_eq!(fixture.advance(MILLISECOND - NANOSECOND), 0);
    assert_eq!(fixture.advance(NANOSECOND), 2);
    fixture.expect(&["ask 3 for {cpu: 2}", "may 7 go? #2", "release 7, idle since +0ns (1)"]);
}

#[test]
fn pauses_and_attempts_without_length_do_not_spin() {
    let mut fixture = Fixture::with(
        patient()
            .with_retry_backoff(Duration::ZERO, Duration::ZERO)
            .with_rpc_timeout(Duration::ZERO),
    );
    fixture
        .register_free("tm", 1, &[small()])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();
    assert_eq!(fixture.run(), 1);
    fixture.expect(&["free tm_0 of 1 #1", "request tm_0 for 1 #2"]);
    assert_eq!(fixture.run(), 0);
    // The second failure: it pauses for the shortest time, then it tries again.
    assert_eq!(fixture.advance(MILLISECOND), 1);
    fixture.expect(&["free tm_0 of 1 #2"]);
    assert_eq!(fixture.advance(MILLISECOND - NANOSECOND), 0);
    assert_eq!(fixture.advance(NANOSECOND), 1);
    fixture.expect(&["request tm_0 for 1 #3"]);
    assert_eq!(fixture.run(), 0);
}

/// Its delays are always ready.
struct Hasty(ManualScheduledExecutor);

impl ScheduledExecutor for Hasty {
    type Delay = Ready<()>;

    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn delay_until(&mut self, _: Timestamp) -> Ready<()> {
        ready(())
    }
}

#[test]
fn a_delay_that_is_over_too_early_makes_nothing_happen_early_and_does_not_hang() {
    let clock = ManualScheduledExecutor::new();
    let config = patient().with_request_timeout(5 * SECOND);
    let mut manager = SlotManager::new(config, Hasty(clock.clone())).expect("a valid configuration");
    let actions = RecordingActions::new();
    manager
        .start(LeaderId::from_u128(1), actions.clone())
        .expect("not started");
    let connection = slot_manager::TaskExecutorConnection::new("tm", instance(1), ScriptedGateway::new());
    manager
        .register_task_manager(connection, &report("tm", &[Some(7)]))
        .expect("a valid report");
    let accepted = manager.register_slot_request(request(1, 1, &small()));
    assert!(accepted.is_ok());
    actions.take();

    clock.advance(5 * SECOND - NANOSECOND);
    assert_eq!(manager.run_until_stalled(), 0);
    assert_eq!(actions.take(), []);
    clock.advance(NANOSECOND);
    assert_eq!(manager.run_until_stalled(), 1);
    assert_eq!(actions.take().len(), 1);
}
