//! What happens: every transition of the state, as methods of [`Core`].
//!
//! A rule changes the state and notes in the [`Transaction`] what it set free, detached or took
//! away; [`commit`] ends the transaction. Notifications and RPCs go to [`Effects`] and leave with
//! the next flush. A rule that needs an answer within the call asks [`Outside`].
//!
//! [`Core`]: crate::slot_manager::state::core::Core
//! [`Transaction`]: crate::slot_manager::state::transaction::Transaction
//! [`Effects`]: crate::slot_manager::state::effects::Effects

use crate::error::ResourceManagerError;
use crate::message::{
    Release, ReleaseCheck, ReleaseDecision, ReleaseResource, WithdrawResource, Withdrawal, WorkerPromise,
};
use crate::{ResourceProfile, WorkerRequestId};

use super::state::core::Core;
use super::state::task_managers::TaskManagerKey;

mod attempts;
mod blocking;
mod commit;
pub(crate) mod cuts;
mod dynamic_reports;
mod grants;
mod idle_release;
mod offers;
mod promised_workers;
mod promises;
mod reconcile;
mod registrations;
mod reports;
mod requests;
pub(crate) mod requirements;
mod set_aside;
mod slots;
pub(crate) mod timers;
mod unchanged_reports;
mod unfulfillable;
mod worker_backoffs;
mod worker_requests;

/// The outside as rules see it: calls that are answered at once. The driver implements it.
pub(crate) trait Outside {
    /// Requests a worker.
    fn allocate_resource(
        &mut self,
        worker_request: WorkerRequestId,
        resource_profile: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError>;

    /// Asks to withdraw a worker request.
    fn withdraw_resource(&mut self, withdraw: &WithdrawResource) -> Withdrawal;

    /// Asks to stop a worker. If that is accepted, its task executor is told, too.
    fn release_resource(&mut self, task_manager: TaskManagerKey, release: &ReleaseResource) -> Release;

    /// Asks a task executor whether it can be released.
    fn can_be_released(&mut self, task_manager: TaskManagerKey, check: &ReleaseCheck) -> ReleaseDecision;

    /// Commits the transaction and sends all effects, until answers at hand cause no more.
    fn flush(&mut self, core: &mut Core);
}
