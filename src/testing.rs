//! Doubles of everything outside the manager, for its tests and for those of a service that embeds it (feature
//! `test-util`).
//!
//! | double | stands for | use it to |
//! |---|---|---|
//! | [`ManualScheduledExecutor`] | [`ScheduledExecutor`] | move time by hand, see what is armed |
//! | [`RecordingActions`] | [`ResourceManagerActions`] | see what is asked and told, script the answers |
//! | [`ScriptedGateway`] | [`TaskExecutorGateway`] | see what is sent, script the answers or give them by hand |
//! | [`SimulatedTaskExecutor`] | a task executor | run against one that keeps the rules, also over a bad network |
//!
//! Each is a handle: a clone shares its state, so a test gives one clone away and keeps another. All are `Send` and
//! `Sync`, never wake a task with a lock held, and are unaffected by a test thread that panicked meanwhile. By default
//! each double keeps its own record; those made with one [`EffectLog`] write into it together, which shows the order of
//! effects over all of them.
//!
//! ```
//! use slot_manager::testing::{Action, EffectLog, RecordingActions};
//! use slot_manager::{ResourceManagerActions, ResourceProfile, WorkerPromise, WorkerRequestId};
//!
//! let log = EffectLog::new();
//! let mut actions = RecordingActions::with_log(&log);
//! actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
//!
//! let worker_request = WorkerRequestId::new(1);
//! let answer = actions.allocate_resource(worker_request, &ResourceProfile::ANY);
//! assert_eq!(answer, Ok(WorkerPromise::Unspecified));
//!
//! let expected = Action::AllocateResource { worker_request, resource_profile: ResourceProfile::ANY };
//! assert_eq!(log.take(), [expected.into()]);
//! ```
//!
//! [`ScheduledExecutor`]: crate::ScheduledExecutor
//! [`ResourceManagerActions`]: crate::ResourceManagerActions
//! [`TaskExecutorGateway`]: crate::TaskExecutorGateway

use std::sync::{Mutex, MutexGuard, PoisonError};

mod answer_future;
mod effect_log;
mod manual_scheduled_executor;
mod recording_actions;
#[cfg(test)]
pub(crate) mod samples;
mod scripted_gateway;
mod simulated_task_executor;
mod slot_table;

pub use self::answer_future::AnswerFuture;
pub use self::effect_log::{Effect, EffectLog};
pub use self::manual_scheduled_executor::{ManualDelay, ManualScheduledExecutor};
pub use self::recording_actions::{Action, RecordingActions};
pub use self::scripted_gateway::{GatewayAnswer, GatewayCall, NotPending, ScriptedGateway};
pub use self::simulated_task_executor::{Delivery, GatewayMessage, SimulatedGateway, SimulatedTaskExecutor};

/// A test that panicked with the lock held has failed already; the others shall say what they have to say.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doubles_can_be_shared_between_threads() {
        fn assert_shareable<T: Clone + Send + Sync + 'static>() {}
        assert_shareable::<ManualScheduledExecutor>();
        assert_shareable::<EffectLog>();
        assert_shareable::<RecordingActions>();
        assert_shareable::<ScriptedGateway>();
        assert_shareable::<SimulatedTaskExecutor>();
        assert_shareable::<SimulatedGateway>();

        fn assert_movable<T: Send + Unpin + 'static>() {}
        assert_movable::<ManualDelay>();
        assert_movable::<AnswerFuture>();
    }
}
