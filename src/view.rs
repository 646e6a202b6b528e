//! Views of slots, task managers and requests, and explanations why a request waits.

mod explanation;

pub use self::explanation::{Explanation, FittingSlots, RequestExplanation, TooSmallSlots, WaitReason};
pub use crate::slot_manager::queries::views::{
    PendingSlotRequest, PromisedSlot, SlotState, TaskManagerRegistration, TaskManagerSlot,
};
