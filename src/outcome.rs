//! The outcomes of inputs.

use std::fmt;

use crate::config::Limit;
use crate::{AllocationId, InstanceId, SlotId};

/// The status of a known allocation.
///
/// ```
/// use slot_manager::outcome::AllocationStatus;
/// use slot_manager::SlotId;
///
/// let status = AllocationStatus::Granted { slot_id: SlotId::new("worker-1", 0) };
/// assert_eq!(status.to_string(), "granted on slot worker-1_0");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AllocationStatus {
    /// The request waits for a slot, or backs off before the next attempt.
    Waiting,
    /// An attempt is in flight: the task executor has not answered yet.
    InFlight {
        /// The slot.
        slot_id: SlotId,
    },
    /// The allocation holds a slot.
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

/// The outcome of [`register_slot_request`](crate::SlotManager::register_slot_request).
///
/// ```
/// use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
///
/// fn describe(outcome: &SlotRequestOutcome) -> String {
///     match outcome {
///         SlotRequestOutcome::Accepted(status) => format!("accepted, {status}"),
///         SlotRequestOutcome::Duplicate(status) => format!("known, {status}"),
///     }
/// }
///
/// assert_eq!(describe(&SlotRequestOutcome::Accepted(AllocationStatus::Waiting)), "accepted, waiting");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
pub enum SlotRequestOutcome {
    /// The request is accepted. The status is its status at the end of the call, or `Granted` if it
    /// was granted within the call.
    Accepted(AllocationStatus),
    /// The allocation id was known. Nothing changed. The status is that of the known allocation.
    Duplicate(AllocationStatus),
}

/// The outcome of [`unregister_slot_request`](crate::SlotManager::unregister_slot_request).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum CancelOutcome {
    /// The request was not granted and is forgotten.
    Cancelled,
    /// The request is granted. Nothing changed. Once the task executor has freed the slot,
    /// [`free_slot`](crate::SlotManager::free_slot) ends the grant.
    AlreadyGranted {
        /// The slot that the allocation holds.
        slot_id: SlotId,
    },
    /// The allocation is not known. Nothing changed.
    Unknown,
}

/// The outcome of [`register_task_manager`](crate::SlotManager::register_task_manager).
///
/// ```
/// use slot_manager::config::Limit;
/// use slot_manager::outcome::RegistrationOutcome;
///
/// fn must_stop_worker(outcome: &RegistrationOutcome) -> bool {
///     matches!(outcome, RegistrationOutcome::Refused { .. })
/// }
///
/// assert!(must_stop_worker(&RegistrationOutcome::Refused { limit: Limit::Slots }));
/// assert!(!must_stop_worker(&RegistrationOutcome::Registered));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RegistrationOutcome {
    /// The worker was not registered before, and is now.
    Registered,
    /// The worker was registered with another instance id. The new registration replaces the old
    /// one.
    Replaced {
        /// The registration that ended.
        previous: InstanceId,
    },
    /// The instance id was registered before. The report is applied and the connection is dropped.
    Reported(ReportOutcome),
    /// The slots of the worker would exceed a limit. Nothing changed, the connection is dropped.
    /// Stop the worker.
    Refused {
        /// The limit that it would exceed.
        limit: Limit,
    },
}

/// The outcome of [`report_slot_status`](crate::SlotManager::report_slot_status).
///
/// ```
/// use slot_manager::outcome::{ReportOutcome, Stale};
///
/// fn must_register_again(outcome: &ReportOutcome) -> bool {
///     matches!(outcome, ReportOutcome::Unknown)
/// }
///
/// assert!(must_register_again(&ReportOutcome::Unknown));
/// assert!(!must_register_again(&ReportOutcome::Ignored(Stale { revision: 3, highest_seen: 4 })));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ReportOutcome {
    /// The report is applied: the manager's view agrees with it.
    Applied,
    /// The report is older than the manager's view. Nothing changed.
    Ignored(Stale),
    /// The registration is not known. Nothing changed. Let the task executor register again.
    Unknown,
}

/// The revisions of a report that was overtaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stale {
    /// The revision of the report.
    pub revision: u64,
    /// The highest revision that the registration has sent, in a report or an acknowledgement.
    pub highest_seen: u64,
}

/// The outcome of [`unregister_task_manager`](crate::SlotManager::unregister_task_manager).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum UnregistrationOutcome {
    /// The task manager and its slots are forgotten.
    Unregistered,
    /// The registration is not known. Nothing changed.
    Unknown,
}

/// The outcome of [`free_slot`](crate::SlotManager::free_slot).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum FreeSlotOutcome {
    /// The allocation held the slot. Its grant has ended.
    Freed,
    /// The allocation was in flight to the slot. Its request was granted and its grant has ended,
    /// before the acknowledgement came.
    FreedInFlight,
    /// No allocation holds the slot. Nothing changed.
    NotAllocated,
    /// Another allocation holds the slot or is in flight to it. Nothing changed.
    HeldByAnother {
        /// The other allocation.
        allocation_id: AllocationId,
    },
    /// The slot is not known. Nothing changed.
    UnknownSlot,
}

/// The outcome of [`worker_failed`](crate::SlotManager::worker_failed).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum WorkerFailedOutcome {
    /// The worker request and its remaining promised slots are forgotten.
    Forgotten {
        /// The number of promised slots that were left.
        promised_slots: usize,
    },
    /// The worker request is not known, or no promised slot was left. Nothing changed.
    Unknown,
}

/// The outcome of [`answer_release`](crate::SlotManager::answer_release).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ReleaseAnswerOutcome {
    /// The task manager is being stopped and is forgotten.
    Released,
    /// The task manager stays: its task executor or the resource manager declined, or it is needed
    /// by now.
    Stays,
    /// The decision was [`Later`](crate::message::ReleaseDecision::Later) again. The release check stays
    /// open. Nothing changed.
    Open,
    /// The release check is not open: it was answered or is too old, or the task manager is in use
    /// or gone. Nothing changed.
    Unknown,
}

/// The outcome of [`block`](crate::SlotManager::block).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum BlockOutcome {
    /// The worker is blocked from now on, registered or not.
    Blocked,
    /// The worker was blocked before. Nothing changed.
    AlreadyBlocked,
}

/// The outcome of [`unblock`](crate::SlotManager::unblock).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum UnblockOutcome {
    /// The worker is not blocked any more.
    Unblocked,
    /// The worker was not blocked. Nothing changed.
    NotBlocked,
}
