//! Test doubles of everything outside the manager (feature `test-util`).
//!
//! They serve the tests of this crate, and those of a service that embeds the manager.
//!
//! | double | stands for | use it to |
//! |---|---|---|
//! | [`ManualScheduledExecutor`] | [`ScheduledExecutor`] | move time by hand, read armed deadlines |
//! | [`RecordingActions`] | [`ResourceManagerActions`] | read the calls, script the answers |
//! | [`ScriptedGateway`] | [`TaskExecutorGateway`] | read the calls, answer by script or by hand |
//! | [`SimulatedTaskExecutor`] | a task executor | run against a slot table, over a bad network |
//!
//! - Each double is a handle: clones share one state. A test gives one clone to the manager and
//!   keeps another.
//! - All doubles are `Send` and `Sync`. They hold no lock while they wake a task, and they still
//!   work after a panic in another thread.
//! - Each double keeps a record of its own. Doubles that are made with one [`EffectLog`] write into
//!   it together, so the log shows the order of all effects.
//!
//! ```
//! use slot_manager::testing::{Action, EffectLog, RecordingActions};
//! use slot_manager::message::WorkerPromise;
//! use slot_manager::{LeaderId, ResourceManagerActions, ResourceProfile, WorkerRequestId};
//!
//! let log = EffectLog::new();
//! let mut actions = RecordingActions::with_log(&log);
//! actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
//!
//! let worker_request = WorkerRequestId::new(LeaderId::from_u128(1), 1);
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

mod effect_log;
mod manual_scheduled_executor;
mod recording_actions;
#[cfg(test)]
pub(crate) mod samples;
mod scripted_gateway;
mod simulated_task_executor;

pub use self::effect_log::{Effect, EffectLog};
pub use self::manual_scheduled_executor::{ManualDelay, ManualScheduledExecutor};
pub use self::recording_actions::{Action, RecordingActions};
pub use self::scripted_gateway::{GatewayAnswer, GatewayCall, NotPending, ScriptedGateway};
pub use self::simulated_task_executor::{Delivery, GatewayMessage, SimulatedGateway, SimulatedTaskExecutor};

/// Locks a mutex, even after a panic with the lock held: that test has failed, the others go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task_executor::PendingAnswer;

    #[test]
    fn doubles_can_be_shared_between_threads() {
        fn assert_shareable<T: Clone + Send + Sync + 'static>() {}
        assert_shareable::<ManualScheduledExecutor>();
        assert_shareable::<EffectLog>();
        assert_shareable::<RecordingActions>();
        assert_shareable::<ScriptedGateway>();
        assert_shareable::<SimulatedTaskExecutor>();
        assert_shareable::<SimulatedGateway>();

        fn assert_movable<T: Send + Unpin + 'static>() {}
        assert_movable::<ManualDelay>();
        assert_movable::<PendingAnswer>();
    }
}
