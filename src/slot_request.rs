//! What a job asks for.

use std::sync::Arc;

use crate::{AllocationId, JobId, ResourceProfile};

/// A job's request for one slot.
///
/// The allocation id is the key: a second request with the same id is a duplicate. With another job, or before the
/// grant with another profile, it is refused as a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SlotRequest {
    job_id: JobId,
    allocation_id: AllocationId,
    resource_profile: ResourceProfile,
    target_address: Arc<str>,
}

impl SlotRequest {
    /// A request of `job_id` for a slot with at least `resource_profile`, which the task executor shall offer to
    /// `target_address`.
    pub fn new(
        job_id: JobId,
        allocation_id: AllocationId,
        resource_profile: ResourceProfile,
        target_address: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            job_id,
            allocation_id,
            resource_profile,
            target_address: target_address.into(),
        }
    }

    /// The job that asks.
    pub fn job_id(&self) -> JobId {
        self.job_id
    }

    /// The key of the request, chosen by the job.
    pub fn allocation_id(&self) -> AllocationId {
        self.allocation_id
    }

    /// The least a slot must have.
    pub fn resource_profile(&self) -> &ResourceProfile {
        &self.resource_profile
    }

    /// Where the task executor shall offer the slot: the address of the job's master.
    pub fn target_address(&self) -> &Arc<str> {
        &self.target_address
    }

    #[inline]
    pub(crate) fn into_parts(self) -> (JobId, AllocationId, ResourceProfile, Arc<str>) {
        (
            self.job_id,
            self.allocation_id,
            self.resource_profile,
            self.target_address,
        )
    }
}
