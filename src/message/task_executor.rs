//! Messages between the manager and a task executor.

use std::sync::Arc;

use crate::{AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId};

/// The message that asks a task executor to give a slot to an allocation.
///
/// The task executor offers the slot to the job.
///
/// ```
/// use slot_manager::error::SlotAllocationError;
/// use slot_manager::message::AllocateSlot;
/// use slot_manager::{InstanceId, LeaderId};
/// # use slot_manager::{AllocationId, JobId, ResourceProfile, SlotId};
///
/// /// Refuses messages for another leadership or registration.
/// fn check(
///     request: &AllocateSlot,
///     leader_id: LeaderId,
///     instance_id: InstanceId,
/// ) -> Result<(), SlotAllocationError> {
///     match (request.leader_id, request.instance_id) == (leader_id, instance_id) {
///         true => Ok(()),
///         false => Err(SlotAllocationError::rejected("the leadership or registration has ended")),
///     }
/// }
///
/// # let request = AllocateSlot {
/// #     slot_id: SlotId::new("worker-1", 0),
/// #     job_id: JobId::from_u128(7),
/// #     allocation_id: AllocationId::from_u128(1),
/// #     resource_profile: ResourceProfile::ZERO,
/// #     target_address: "job-master-7".into(),
/// #     leader_id: LeaderId::from_u128(1),
/// #     instance_id: InstanceId::from_u128(1),
/// #     attempt: 1,
/// # };
/// assert_eq!(check(&request, request.leader_id, request.instance_id), Ok(()));
/// assert!(check(&request, LeaderId::from_u128(2), request.instance_id).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AllocateSlot {
    /// The slot.
    pub slot_id: SlotId,
    /// The job of the request.
    pub job_id: JobId,
    /// The allocation for the slot.
    pub allocation_id: AllocationId,
    /// The requested profile. The slot has at least these resources.
    pub resource_profile: ResourceProfile,
    /// The address to offer the slot to.
    pub target_address: Arc<str>,
    /// The leadership of the manager. A task executor refuses messages of every other leader.
    pub leader_id: LeaderId,
    /// The registration of the task executor. It refuses messages for an older registration.
    pub instance_id: InstanceId,
    /// The number of the attempt. Within a leadership a later attempt has a larger number.
    pub attempt: u64,
}

/// The message that tells a task executor that an allocation must not hold a slot.
///
/// ```
/// use slot_manager::message::FreeSlot;
/// use slot_manager::AllocationId;
/// # use slot_manager::{InstanceId, JobId, LeaderId, SlotId};
///
/// /// Returns `true` if the slot must be freed that `holder` holds under `attempt` of the same leader.
/// fn must_free(request: &FreeSlot, holder: AllocationId, attempt: u64, is_in_use: bool) -> bool {
///     request.allocation_id == holder && attempt <= request.attempt && !is_in_use
/// }
///
/// # let request = FreeSlot {
/// #     slot_id: SlotId::new("worker-1", 0),
/// #     job_id: JobId::from_u128(7),
/// #     allocation_id: AllocationId::from_u128(1),
/// #     leader_id: LeaderId::from_u128(1),
/// #     instance_id: InstanceId::from_u128(1),
/// #     attempt: 3,
/// # };
/// assert_eq!(request.attempt, 3);
/// assert!(must_free(&request, request.allocation_id, 2, false));
/// assert!(!must_free(&request, request.allocation_id, 4, false));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FreeSlot {
    /// The slot.
    pub slot_id: SlotId,
    /// The job of the allocation.
    pub job_id: JobId,
    /// The allocation that must not hold the slot.
    pub allocation_id: AllocationId,
    /// The leadership of the manager.
    pub leader_id: LeaderId,
    /// The registration of the task executor.
    pub instance_id: InstanceId,
    /// The attempt that was given up. For a second slot of an allocation: the last attempt the
    /// manager made by then, or 0 if there was none. A slot held under a newer attempt stays held.
    pub attempt: u64,
}

/// The message that asks a task executor whether it can be stopped.
///
/// ```
/// use std::collections::HashSet;
///
/// use slot_manager::message::{ReleaseCheck, ReleaseDecision};
/// use slot_manager::{InstanceId, LeaderId};
///
/// /// Keeps the task executors whose results are still being read.
/// fn decide(check: &ReleaseCheck, in_use: &HashSet<InstanceId>) -> ReleaseDecision {
///     match in_use.contains(&check.instance_id) {
///         true => ReleaseDecision::Keep,
///         false => ReleaseDecision::Release,
///     }
/// }
///
/// let instance_id = InstanceId::from_u128(1);
/// let check = ReleaseCheck { instance_id, leader_id: LeaderId::from_u128(1), number: 1 };
/// assert_eq!(decide(&check, &HashSet::from([instance_id])), ReleaseDecision::Keep);
/// assert_eq!(decide(&check, &HashSet::new()), ReleaseDecision::Release);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReleaseCheck {
    /// The registration of the idle task manager.
    pub instance_id: InstanceId,
    /// The leadership of the manager.
    pub leader_id: LeaderId,
    /// The number of the release check, unique for one manager. The check is void when the idle
    /// period ends in which it began.
    pub number: u64,
}

/// The decision of a task executor about a [`ReleaseCheck`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ReleaseDecision {
    /// The task executor can be stopped.
    Release,
    /// The task executor must stay. The manager asks again after another idle timeout.
    Keep,
    /// The decision is not known yet. Pass it to
    /// [`answer_release`](crate::SlotManager::answer_release) later.
    Later,
}

/// The answer of a task executor to [`AllocateSlot`] that the allocation holds the slot.
///
/// ```
/// use slot_manager::message::Acknowledge;
///
/// assert_eq!(Acknowledge::new().revision(), None);
/// assert_eq!(Acknowledge::new().with_revision(2).revision(), Some(2));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Acknowledge {
    revision: Option<u64>,
}

impl Acknowledge {
    /// Returns an acknowledgement without a revision.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the revision of the slot table after the allocation, see
    /// [`SlotReport`](crate::SlotReport).
    #[must_use]
    pub fn with_revision(self, revision: u64) -> Self {
        Self {
            revision: Some(revision),
        }
    }

    /// Returns the revision of the slot table after the allocation.
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }
}
