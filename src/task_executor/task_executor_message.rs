//! The calls of the manager to a task executor, as messages.

use crate::message::{AllocateSlot, FreeInactiveSlots, FreeSlot, ReleaseCheck, ReleaseResource};

/// A call of the manager to a task executor, as a message.
///
/// A [`TaskSlotTable`](super::TaskSlotTable) has a method for each variant about its slots. Its
/// documentation shows a complete task executor.
///
/// ```
/// use slot_manager::message::ReleaseCheck;
/// use slot_manager::task_executor::TaskExecutorMessage;
/// use slot_manager::{InstanceId, LeaderId};
///
/// let check = ReleaseCheck { instance_id: InstanceId::from_u128(1), leader_id: LeaderId::from_u128(1), number: 1 };
/// let message = TaskExecutorMessage::CheckRelease(check);
///
/// // With the feature `serde`, the message can travel.
/// let json = serde_json::to_string(&message)?;
/// assert_eq!(serde_json::from_str::<TaskExecutorMessage>(&json)?, message);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum TaskExecutorMessage {
    /// The task executor is registered. This is the first message.
    Registered,
    /// A slot is requested for an allocation. Answer with the result of
    /// [`TaskSlotTable::request_slot`](super::TaskSlotTable::request_slot) and the
    /// [attempt](AllocateSlot::attempt_id).
    AllocateSlot(AllocateSlot),
    /// An allocation must not hold a slot. If
    /// [`TaskSlotTable::free_slot`](super::TaskSlotTable::free_slot) frees it, send the
    /// [`SlotFreed`](crate::message::SlotFreed). Otherwise the manager expects no answer.
    FreeSlot(FreeSlot),
    /// A job has ended. Send a [`SlotFreed`](crate::message::SlotFreed) for each slot that
    /// [`TaskSlotTable::free_inactive_slots`](super::TaskSlotTable::free_inactive_slots) frees.
    FreeInactiveSlots(FreeInactiveSlots),
    /// The manager wants to stop the task executor. Answer with the check and the decision of
    /// [`TaskSlotTable::can_be_released`](super::TaskSlotTable::can_be_released), or with
    /// [`Keep`](crate::message::ReleaseDecision::Keep) for another reason.
    CheckRelease(ReleaseCheck),
    /// The manager has released the task executor, which must stop. This is the last message.
    Stop(ReleaseResource),
}
