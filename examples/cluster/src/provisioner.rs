//! Provisioners: they start workers, and stop those that are not needed.
//!
//! A provisioner is one task. It gets [`Order`]s, and reports [`News`] to the resource manager.

use slot_manager::config::WorkerDescription;
use slot_manager::{ResourceId, WorkerRequestId};

/// An order to a provisioner.
#[derive(Debug, Clone)]
pub enum Order {
    /// Start a worker. It names the worker request when it registers.
    Start {
        worker_request: WorkerRequestId,
        worker: WorkerDescription,
    },
    /// Do not start this worker, or stop it if it has not registered.
    Withdraw(WorkerRequestId),
    /// A worker that was released has been told to stop. See to it that it does.
    Stop(ResourceId),
    /// Report the workers that run or start, also those of former leaders.
    Recover,
}

/// News of a provisioner.
#[derive(Debug, Clone)]
pub enum News {
    /// A worker will not come.
    Failed {
        worker_request: WorkerRequestId,
        cause: String,
    },
    /// The number of workers that run or start: the answer to [`Order::Recover`].
    Known(usize),
}
