//! What a task executor says of its slots.

use crate::{Allocation, AllocationId, JobId, ResourceProfile, SlotId};

/// The state of one slot as its task executor sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SlotStatus {
    slot_id: SlotId,
    resource_profile: ResourceProfile,
    allocation: Option<Allocation>,
}

impl SlotStatus {
    /// A slot that nothing holds.
    pub fn free(slot_id: SlotId, resource_profile: ResourceProfile) -> Self {
        Self {
            slot_id,
            resource_profile,
            allocation: None,
        }
    }

    /// A slot held by an allocation of a job.
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

    /// The slot this is about.
    pub fn slot_id(&self) -> &SlotId {
        &self.slot_id
    }

    /// What the slot has.
    pub fn resource_profile(&self) -> &ResourceProfile {
        &self.resource_profile
    }

    /// Returns the allocation that holds the slot; `None` if the slot is free.
    pub fn allocation(&self) -> Option<Allocation> {
        self.allocation
    }
}

/// All slots of one task executor at one moment, in the order in which the task executor lists them.
///
/// A report is complete: a slot it does not mention is gone (FLINK-5810). It may carry the *revision* of the task
/// executor's slot table, a number that grows with every change there; then an overtaken report is told from a current
/// one. Without revisions the order of arrival is the truth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SlotReport {
    statuses: Vec<SlotStatus>,
    revision: Option<u64>,
}

impl SlotReport {
    /// A report of these slots, without a revision.
    pub fn new(statuses: Vec<SlotStatus>) -> Self {
        Self {
            statuses,
            revision: None,
        }
    }

    /// The same report with the revision of the slot table it was taken from.
    #[must_use]
    pub fn with_revision(mut self, revision: u64) -> Self {
        self.revision = Some(revision);
        self
    }

    /// The slots, in the order given.
    pub fn statuses(&self) -> &[SlotStatus] {
        &self.statuses
    }

    /// The revision of the slot table the report was taken from.
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }
}

impl FromIterator<SlotStatus> for SlotReport {
    fn from_iter<I: IntoIterator<Item = SlotStatus>>(statuses: I) -> Self {
        Self::new(statuses.into_iter().collect())
    }
}
