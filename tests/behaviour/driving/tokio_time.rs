//! `TokioScheduledExecutor` takes its time from tokio, paused or not.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use slot_manager::testing::{Action, RecordingActions, ScriptedGateway};
use slot_manager::{
    LeaderId, ScheduledExecutor, SlotManager, TaskExecutorConnection, Timestamp, TokioScheduledExecutor,
};

use super::Task;
use crate::common::{free_report, instance, patient, profile, request, small};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn its_clock_stands_still_while_time_is_paused() {
    let executor = TokioScheduledExecutor::new();
    assert_eq!(executor.now(), Timestamp::ZERO);
    tokio::task::yield_now().await;
    assert_eq!(executor.now(), Timestamp::ZERO);
    tokio::time::advance(Duration::from_millis(1500)).await;
    assert_eq!(executor.now(), Timestamp::from_millis(1500));
}

#[tokio::test(start_paused = true)]
async fn clones_have_one_origin_and_others_their_own() {
    let first = TokioScheduledExecutor::new();
    tokio::time::advance(3 * SECOND).await;
    let second = TokioScheduledExecutor::default();
    tokio::time::advance(SECOND).await;
    assert_eq!(first.clone().now(), Timestamp::from_secs(4));
    assert_eq!(second.now(), Timestamp::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_over_at_its_deadline_and_not_before() {
    let mut executor = TokioScheduledExecutor::new();
    let task = Task::new();
    let mut delay = pin!(executor.delay_until(Timestamp::from_secs(10)));
    assert!(delay.as_mut().poll(&mut task.context()).is_pending());
    tokio::time::advance(10 * SECOND - Duration::from_millis(1)).await;
    assert!(delay.as_mut().poll(&mut task.context()).is_pending());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(delay.as_mut().poll(&mut task.context()).is_ready());
    assert!(executor.now() >= Timestamp::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_is_over_at_once() {
    let mut executor = TokioScheduledExecutor::new();
    tokio::time::advance(10 * SECOND).await;
    executor.delay_until(Timestamp::from_secs(3)).await;
    assert_eq!(executor.now(), Timestamp::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_beyond_its_range_is_only_far_away() {
    let mut executor = TokioScheduledExecutor::new();
    let task = Task::new();
    for deadline in [Timestamp::MAX, Timestamp::from_nanos(u64::MAX - 1)] {
        let mut delay = pin!(executor.delay_until(deadline));
        assert!(delay.as_mut().poll(&mut task.context()).is_pending());
    }
}

/// Nothing else is to be done, so paused time jumps from deadline to deadline.
#[tokio::test(start_paused = true)]
async fn a_manager_keeps_its_deadlines_in_paused_time() {
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

    assert_eq!(manager.progress().await, 1);
    assert!(matches!(actions.take()[..], [Action::ReleaseResource { .. }]));
    assert_eq!(time.now(), Timestamp::from_secs(45));
    assert_eq!(manager.progress().await, 1);
    assert!(matches!(actions.take()[..], [Action::NotifyAllocationFailure { .. }]));
    assert_eq!(time.now(), Timestamp::from_secs(90));
}

/// A deadline between two ticks of tokio's timer is met at the next, never before.
#[tokio::test(start_paused = true)]
async fn a_deadline_between_two_milliseconds_is_not_met_early() {
    let time = TokioScheduledExecutor::new();
    let actions = RecordingActions::new();
    let timeout = Duration::from_micros(1_000_300);
    let mut manager: SlotManager<_, ScriptedGateway, _> =
        SlotManager::new(patient().with_request_timeout(timeout), time.clone()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), actions.clone())
        .expect("not started");
    assert!(manager.register_slot_request(request(1, 1, &small())).is_ok());
    assert_eq!(manager.progress().await, 1);
    let late = time.now() - (Timestamp::ZERO + timeout);
    assert!(time.now() >= Timestamp::ZERO + timeout);
    assert!(late < Duration::from_millis(2), "{late:?} late");
}

/// A timeout that tokio's clock cannot express does not keep others from falling due.
#[tokio::test(start_paused = true)]
async fn a_timeout_of_centuries_disturbs_nobody() {
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
    manager
        .register_task_manager(
            TaskExecutorConnection::new("tm", instance(1), ScriptedGateway::new()),
            &free_report("tm", &[small()]),
        )
        .expect("a valid report");
    assert_eq!(task.wakes(), 1);
    assert_eq!(manager.progress().await, 1);
    assert_eq!(time.now(), Timestamp::from_secs(5));
}
