//! Views: task managers, slots, pending requests, promised slots and declared requirements, pages
//! and snapshots of them, and explanations why a request waits.
//!
//! A view borrows the manager. A snapshot owns its data and can leave the task of the manager.

mod explanation;
mod page;
mod recovery;
mod requirements;
mod snapshot;
mod worker_backoff;

pub use self::explanation::{
    Explanation, FittingSlots, FittingWorkers, RequestExplanation, SetAsideWorker, TooSmallSlots, WaitReason,
};
pub use self::page::{Page, PageCursor};
pub use self::recovery::Recovery;
pub use self::requirements::{JobRequirements, ProfileRequirement, RequirementCounts};
pub use self::snapshot::{
    PendingSlotRequestSnapshot, PromisedSlotSnapshot, PromisedWorkerSnapshot, TaskManagerSlotSnapshot,
    TaskManagerSnapshot,
};
pub use self::worker_backoff::{BackoffReason, WorkerBackoff};
pub use crate::slot_manager::queries::promised_workers::PromisedWorker;
pub use crate::slot_manager::queries::views::{
    PendingSlotRequest, PromisedSlot, SlotState, TaskManagerRegistration, TaskManagerSlot,
};
