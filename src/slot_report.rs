//! The report of a task executor about its slots.

mod dynamic_resources;

use crate::message::Allocation;
use crate::{AllocationId, JobId, ResourceProfile, SlotId};

pub use self::dynamic_resources::DynamicResources;

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

    /// Returns the number of the slot.
    #[inline]
    pub(crate) fn number(&self) -> u32 {
        self.slot_id.slot_number()
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
/// The report of a [dynamic worker](Self::of_dynamic) has its resources instead of free slots.
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
    /// The resources of a dynamic worker. Boxed, because most workers are static.
    #[cfg_attr(feature = "serde", serde(default))]
    dynamic: Option<Box<DynamicResources>>,
}

impl SlotReport {
    /// Returns the report of a worker with these slots, without a revision.
    pub fn new(statuses: Vec<SlotStatus>) -> Self {
        Self {
            statuses,
            revision: None,
            dynamic: None,
        }
    }

    /// Returns the report of a dynamic worker, without a revision.
    ///
    /// `allocated` are the slots that are cut and held. A dynamic worker has no free slots: the
    /// manager cuts a slot from what remains of the total, for each request. A worker is static or
    /// dynamic for the life of its registration.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::{AllocationId, JobId, ResourceProfile, SlotId, SlotReport, SlotStatus};
    ///
    /// let total = ResourceProfile::builder().cpu_cores(8.0).build()?;
    /// let cut = ResourceProfile::builder().cpu_cores(3.0).build()?;
    /// let slot_id = SlotId::dynamic("worker-1", 0);
    /// let held = SlotStatus::allocated(slot_id, cut, AllocationId::from_u128(1), JobId::from_u128(7));
    /// let report = SlotReport::of_dynamic(total.clone(), vec![held]).with_revision(1);
    /// assert_eq!(report.dynamic().map(|worker| worker.total()), Some(&total));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_dynamic(worker: impl Into<DynamicResources>, allocated: Vec<SlotStatus>) -> Self {
        Self {
            statuses: allocated,
            revision: None,
            dynamic: Some(Box::new(worker.into())),
        }
    }

    /// Returns the resources of a dynamic worker; `None` for a worker with slots of its own.
    pub fn dynamic(&self) -> Option<&DynamicResources> {
        self.dynamic.as_deref()
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
