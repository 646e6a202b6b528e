//! `TokioScheduledExecutor` takes its time from tokio, which tests can pause.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use slot_manager::testing::{Action, RecordingActions, ScriptedGateway};
use slot_manager::{
    LeaderId, ScheduledExecutor, SlotManager, TaskExecutorConnection, Timestamp, TokioScheduledExecutor,
};

use super::Task;
use crate::common::{MILLISECOND, SECOND, free_report, instance, patient, profile, request, small};

#[tokio::test(start_paused = true)]
async fn clock_stands_still_while_time_is_paused() {
    // given
    let executor = TokioScheduledExecutor::new();
    assert_eq!(executor.now(), Timestamp::ZERO);

    // when, then
    tokio::task::yield_now().await;
    assert_eq!(executor.now(), Timestamp::ZERO);
    tokio::time::advance(Duration::from_millis(1500)).await;
    assert_eq!(executor.now(), Timestamp::from_millis(1500));
}

#[tokio::test(start_paused = true)]
async fn clones_share_one_origin_and_other_executors_have_their_own() {
    // given
    let first = TokioScheduledExecutor::new();
    tokio::time::advance(3 * SECOND).await;
    let second = TokioScheduledExecutor::default();

    // when
    tokio::time::advance(SECOND).await;

    // then
    assert_eq!(first.clone().now(), Timestamp::from_secs(4));
    assert_eq!(second.now(), Timestamp::from_secs(1));
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "the executor is compared with tokio's clock")]
async fn times_become_instants_and_wall_times_that_follow_paused_time() {
    // given
    let executor = TokioScheduledExecutor::new();
    let created = executor.system_time_of(executor.now()).expect("the present");

    // when
    tokio::time::advance(10 * SECOND).await;

    // then
    let now = tokio::time::Instant::now();
    assert_eq!(executor.timestamp_of(now), executor.now());
    assert_eq!(executor.instant_of(executor.now()), now);
    assert_eq!(executor.system_time_of(executor.now()), Some(created + 10 * SECOND));
    assert_eq!(executor.clone().system_time_of(Timestamp::ZERO), Some(created));
}

#[tokio::test(start_paused = true)]
async fn instant_before_the_origin_is_the_time_zero() {
    // given
    let earlier = TokioScheduledExecutor::new();
    tokio::time::advance(SECOND).await;

    // when, then
    let executor = TokioScheduledExecutor::new();
    assert_eq!(
        executor.timestamp_of(earlier.instant_of(Timestamp::ZERO)),
        Timestamp::ZERO
    );
}

#[tokio::test(start_paused = true)]
async fn delay_ends_at_its_deadline_and_not_before() {
    // given
    let mut executor = TokioScheduledExecutor::new();
    let task = Task::new();
    let mut delay = pin!(executor.delay_until(Timestamp::from_secs(10)));
    assert!(delay.as_mut().poll(&mut task.context()).is_pending());

    // when, then
    tokio::time::advance(10 * SECOND - MILLISECOND).await;
    assert!(delay.as_mut().poll(&mut task.context()).is_pending());
    tokio::time::advance(MILLISECOND).await;
    assert!(delay.as_mut().poll(&mut task.context()).is_ready());
    assert!(executor.now() >= Timestamp::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn delay_until_a_time_that_has_passed_ends_at_once() {
    // given
    let mut executor = TokioScheduledExecutor::new();
    tokio::time::advance(10 * SECOND).await;

    // when, then
    executor.delay_until(Timestamp::from_secs(3)).await;
    assert_eq!(executor.now(), Timestamp::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn delay_until_a_time_beyond_its_range_is_only_very_long() {
    let mut executor = TokioScheduledExecutor::new();
    let task = Task::new();
    for deadline in [Timestamp::MAX, Timestamp::from_nanos(u64::MAX - 1)] {
        let mut delay = pin!(executor.delay_until(deadline));
        assert!(delay.as_mut().poll(&mut task.context()).is_pending());
    }
}

/// No other task has anything to do, so paused time jumps from deadline to deadline.
#[tokio::test(start_paused = true)]
async fn manager_keeps_its_deadlines_in_paused_time() {
    // given: an idle task manager and a request that waits
    let time = TokioScheduledExecutor::new();
    let actions = RecordingActions::new();
    let config = patient()
        .with_request_timeout(90 * SECOND)
        .with_task_manager_timeout(45 * SECOND);
    let mut manager = SlotManager::new(config, time.clone()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), actions.clone())
        .expect("not started");
    manager
        .register_task_manager(
            TaskExecutorConnection::new("tm", instance(1), ScriptedGateway::new()),
            &free_report("tm", &[small()]),
        )
        .expect("a valid report");
    assert!(manager.register_slot_request(request(1, 1, &profile(9.0, 0))).is_ok());
    actions.take();

    // when, then
    assert_eq!(manager.progress().await, 1);
    assert!(matches!(actions.take()[..], [Action::ReleaseResource { .. }]));
    assert_eq!(time.now(), Timestamp::from_secs(45));

    // when, then
    assert_eq!(manager.progress().await, 1);
    assert!(matches!(actions.take()[..], [Action::NotifyAllocationFailure { .. }]));
    assert_eq!(time.now(), Timestamp::from_secs(90));
}

/// Tokio's timer ticks once a millisecond: the deadline is met at the next tick.
#[tokio::test(start_paused = true)]
async fn deadline_between_two_milliseconds_is_not_met_early() {
    // given
    let time = TokioScheduledExecutor::new();
    let actions = RecordingActions::new();
    let timeout = Duration::from_micros(1_000_300);
    let mut manager: SlotManager<_, ScriptedGateway, _> =
        SlotManager::new(patient().with_request_timeout(timeout), time.clone()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), actions.clone())
        .expect("not started");
    assert!(manager.register_slot_request(request(1, 1, &small())).is_ok());

    // when
    assert_eq!(manager.progress().await, 1);

    // then
    let late = time.now() - (Timestamp::ZERO + timeout);
    assert!(time.now() >= Timestamp::ZERO + timeout);
    assert!(late < Duration::from_millis(2), "{late:?} late");
}

/// Tokio's clock cannot express so long a timeout.
#[tokio::test(start_paused = true)]
async fn timeout_of_centuries_does_not_keep_others_from_falling_due() {
    // given
    let time = TokioScheduledExecutor::new();
    let actions = RecordingActions::new();
    let config = patient()
        .with_request_timeout(Duration::from_secs(300 * 365 * 24 * 3600))
        .with_task_manager_timeout(5 * SECOND);
    let mut manager = SlotManager::new(config, time.clone()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), actions.clone())
        .expect("not started");
    assert!(manager.register_slot_request(request(1, 1, &profile(9.0, 0))).is_ok());
    let task = Task::new();
    assert!(manager.poll_progress(&mut task.context()).is_pending());

    // when
    manager
        .register_task_manager(
            TaskExecutorConnection::new("tm", instance(1), ScriptedGateway::new()),
            &free_report("tm", &[small()]),
        )
        .expect("a valid report");

    // then
    assert_eq!(task.wakes(), 1);
    assert_eq!(manager.progress().await, 1);
    assert_eq!(time.now(), Timestamp::from_secs(5));
}
