//! Slots and their states, as JSON.

use serde::Serialize;
use slot_manager::view::{SlotState, TaskManagerSlotSnapshot};
use slot_manager::{AllocationId, JobId, ResourceProfile, SlotId, Timestamp};

/// A slot of a task manager.
#[derive(Debug, Serialize)]
pub struct SlotView {
    pub slot_id: SlotId,
    pub resource_profile: ResourceProfile,
    #[serde(flatten)]
    pub state: StateView,
}

/// The state of a slot. Its name is the field `state`, beside what belongs to it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StateView {
    Free,
    /// The slot or its worker is not tried after failed attempts.
    BackingOff {
        until: Timestamp,
    },
    /// It is free, and its worker is blocked.
    Blocked,
    /// It was requested for an allocation, and the task executor has not answered.
    InFlight {
        allocation_id: AllocationId,
        job_id: JobId,
    },
    Allocated {
        allocation_id: AllocationId,
        job_id: JobId,
    },
    /// A state that this program does not know.
    Other,
}

impl From<SlotState> for StateView {
    fn from(state: SlotState) -> Self {
        match state {
            SlotState::Free => Self::Free,
            SlotState::BackingOff { until } => Self::BackingOff { until },
            SlotState::Blocked => Self::Blocked,
            SlotState::InFlight { allocation_id, job_id } => Self::InFlight { allocation_id, job_id },
            SlotState::Allocated { allocation_id, job_id } => Self::Allocated { allocation_id, job_id },
            _ => Self::Other,
        }
    }
}

impl From<TaskManagerSlotSnapshot> for SlotView {
    fn from(slot: TaskManagerSlotSnapshot) -> Self {
        Self {
            slot_id: slot.slot_id,
            resource_profile: slot.resource_profile,
            state: slot.state.into(),
        }
    }
}
