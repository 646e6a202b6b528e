//! What an input did.

use std::fmt;

use crate::{AllocationId, InstanceId, Limit, SlotId};

/// What a known allocation is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AllocationStatus {
    /// It waits for a slot, or pauses before it tries again.
    Waiting,
    /// A task executor has been asked for a slot and has not answered.
    InFlight {
        /// The slot.
        slot_id: SlotId,
    },
    /// It holds a slot.
    Granted {
        /// The slot.
        slot_id: SlotId,
    },
}

impl fmt::Display for AllocationStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting"),
            Self::InFlight { slot_id } => write!(f, "in flight to slot {slot_id}"),
            Self::Granted { slot_id } => write!(f, "granted on slot {slot_id}"),
        }
    }
}

/// What [`register_slot_request`](crate::SlotManager::register_slot_request) did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum SlotRequestOutcome {
    /// The request is accepted, and this is where it is when the call returns; or it was granted within the call.
    Accepted(AllocationStatus),
    /// The allocation id was known. Nothing changed; this is what the known request is doing.
    Duplicate(AllocationStatus),
}

/// What [`unregister_slot_request`](crate::SlotManager::unregister_slot_request) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The request was ungranted and is gone.
    Cancelled,
    /// The request is granted, which cannot be taken back here: [`free_slot`](crate::SlotManager::free_slot) ends a
    /// grant. Nothing changed.
    AlreadyGranted {
        /// The slot it holds.
        slot_id: SlotId,
    },
    /// No such allocation. Nothing changed.
    Unknown,
}

/// What [`register_task_manager`](crate::SlotManager::register_task_manager) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationOutcome {
    /// A worker that was not registered is.
    Registered,
    /// The worker was registered with another instance id. The new registration took the place of the old one.
    Replaced {
        /// The registration that ended.
        previous: InstanceId,
    },
    /// The instance id was registered: taken as a report, the connection is dropped.
    Reported(ReportOutcome),
    /// With its slots there would be more than a limit allows. Nothing changed, the connection is dropped: stop it.
    Refused {
        /// The limit.
        limit: Limit,
    },
}

/// What [`report_slot_status`](crate::SlotManager::report_slot_status) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportOutcome {
    /// The view agrees with the report now.
    Applied,
    /// The report was older than what is known. Nothing changed.
    Ignored(Stale),
    /// No such registration. Nothing changed.
    Unknown,
}

/// A report that was overtaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// The revision of the report.
    pub revision: u64,
    /// The highest revision seen from that registration, in a report or an acknowledgement.
    pub highest_seen: u64,
}

/// What [`unregister_task_manager`](crate::SlotManager::unregister_task_manager) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnregistrationOutcome {
    /// The task manager and its slots are forgotten.
    Unregistered,
    /// No such registration. Nothing changed.
    Unknown,
}

/// What [`free_slot`](crate::SlotManager::free_slot) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreeSlotOutcome {
    /// The allocation held the slot and does not any more.
    Freed,
    /// The allocation was in flight to the slot: it was served and is over, before its acknowledgement came.
    FreedInFlight,
    /// Nothing holds the slot. Nothing changed.
    NotAllocated,
    /// Another allocation holds the slot, or is in flight to it. Nothing changed.
    HeldByAnother {
        /// That allocation.
        allocation_id: AllocationId,
    },
    /// No such slot. Nothing changed.
    UnknownSlot,
}

/// What [`worker_failed`](crate::SlotManager::worker_failed) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerFailedOutcome {
    /// The slots it still promised are not waited for any more.
    Forgotten {
        /// How many they were.
        promised_slots: usize,
    },
    /// No such worker request, or nothing was left of it. Nothing changed.
    Unknown,
}

/// What [`answer_release`](crate::SlotManager::answer_release) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseAnswerOutcome {
    /// The task manager is being stopped, and forgotten.
    Released,
    /// It stays, because of the answer, because it is needed by now, or because the resource manager declined.
    Stays,
    /// The answer is still awaited. Nothing changed.
    Open,
    /// No such question is open: it was answered, it is too old, or the task manager is in use or gone. Nothing changed.
    Unknown,
}

/// What [`block`](crate::SlotManager::block) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockOutcome {
    /// The worker is blocked from now on, whether it is registered or not.
    Blocked,
    /// It was. Nothing changed.
    AlreadyBlocked,
}

/// What [`unblock`](crate::SlotManager::unblock) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnblockOutcome {
    /// The worker is not blocked any more.
    Unblocked,
    /// It was not. Nothing changed.
    NotBlocked,
}
