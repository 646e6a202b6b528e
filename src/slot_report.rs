//! The report of a task executor about its slots.

use crate::message::Allocation;
use crate::{AllocationId, JobId, ResourceProfile, SlotId};

/// The state of one slot as its task executor sees it.
///
/// ```
/// use slot_manager::message::Allocation;
/// use slot_manager::{AllocationId, JobId, ResourceProfile, SlotId, SlotStatus};
///
/// let allocation = Allocation { id: AllocationId::from_u128(1), job: JobId::from_u128(7) };
/// let slot_id = SlotId::new("worker-1", 0);
/// let status = SlotStatus::allocated(slot_id, ResourceProfile::ZERO, allocation.id, allocation.job);
/// assert_eq!(status.allocation(), Some(allocation));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SlotStatus {
    slot_id: SlotId,
    resource_profile: ResourceProfile,
    allocation: Option<Allocation>,
}

impl SlotStatus {
    /// Returns the status of a slot that no allocation holds.
    pub fn free(slot_id: SlotId, resource_profile: ResourceProfile) -> Self {
        Self {
            slot_id,
            resource_profile,
            allocation: None,
        }
    }

    /// Returns the status of a slot that an allocation of a job holds.
    pub fn allocated(
        slot_id: SlotId,
        resource_profile: ResourceProfile,
        allocation_id: AllocationId,
        job_id: JobId,
    ) -> Self {
        Self {
            slot_id,
            resource_profile,
            allocation: Some(Allocation {
                id: allocation_id,
                job: job_id,
            }),
        }
    }

    /// Returns the id of the slot.
    pub fn slot_id(&self) -> &SlotId {
        &self.slot_id
    }

    /// Returns the resources of the slot.
    pub fn resource_profile(&self) -> &ResourceProfile {
        &self.resource_profile
    }

    /// Returns the allocation that holds the slot; `None` if the slot is free.
    pub fn allocation(&self) -> Option<Allocation> {
        self.allocation
    }

    #[inline]
    pub(crate) fn allocation_ref(&self) -> Option<&Allocation> {
        self.allocation.as_ref()
    }
}

/// All slots of one task executor at one moment.
///
/// They are in the order in which the task executor lists them. A report is complete: a slot that
/// it does not mention is gone (FLINK-5810).
///
/// It may carry the *revision* of the task executor's slot table, a number that grows with every
/// change of the table. By it the manager detects reports that were overtaken. Without revisions
/// the manager trusts the order of arrival.
///
/// ```
/// use slot_manager::{ResourceProfile, SlotId, SlotReport, SlotStatus};
///
/// let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
/// let slots = (0..2).map(|number| SlotStatus::free(SlotId::new("worker-1", number), profile.clone()));
/// let report = slots.collect::<SlotReport>().with_revision(1);
/// assert_eq!(report.statuses().len(), 2);
/// assert_eq!(report.revision(), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SlotReport {
    statuses: Vec<SlotStatus>,
    revision: Option<u64>,
}

impl SlotReport {
    /// Returns a report of these slots, without a revision.
    pub fn new(statuses: Vec<SlotStatus>) -> Self {
        Self {
            statuses,
            revision: None,
        }
    }

    /// Sets the revision of the slot table that the report was taken from.
    #[must_use]
    pub fn with_revision(mut self, revision: u64) -> Self {
        self.revision = Some(revision);
        self
    }

    /// Returns the slots in the order given.
    pub fn statuses(&self) -> &[SlotStatus] {
        &self.statuses
    }

    /// Returns the revision of the slot table that the report was taken from.
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }
}

impl FromIterator<SlotStatus> for SlotReport {
    fn from_iter<I: IntoIterator<Item = SlotStatus>>(statuses: I) -> Self {
        Self::new(statuses.into_iter().collect())
    }
}
