//! The messages between the manager, task executors and the resource manager.

mod allocation;
mod resource_manager;
mod task_executor;

pub use self::allocation::Allocation;
pub use self::resource_manager::{
    AllocationFailureCause, GrantLoss, Release, ReleaseCause, RequestFailure, Withdrawal, WorkerPromise,
};
pub use self::task_executor::{Acknowledge, AllocateSlot, FreeSlot, ReleaseCheck, ReleaseDecision};
