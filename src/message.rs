//! The messages between the manager, task executors and the resource manager.

mod allocation;
mod resource_manager;
mod task_executor;

pub use self::allocation::Allocation;
pub use self::resource_manager::{
    AllocationFailureCause, GrantLoss, Release, ReleaseCause, ReleaseResource, RequestFailure, WithdrawResource,
    Withdrawal, WithdrawalCause, WorkerPromise,
};
pub use self::task_executor::{
    Acknowledge, AllocateSlot, AttemptId, FreeSlot, NoFuture, ReleaseCheck, ReleaseDecision, SlotAnswer, SlotFreed,
    SlotResult,
};
