//! The request of a job for a slot.

use std::sync::Arc;

use crate::{AllocationId, JobId, ResourceProfile};

/// A job's request for one slot.
///
/// The allocation id is the key: a second request with the same id is a duplicate. If its job
/// differs, or before the grant its profile, it is refused as a conflict.
///
/// ```
/// use slot_manager::{AllocationId, JobId, ResourceProfile, SlotRequest};
///
/// let profile = ResourceProfile::builder().cpu_cores(2.0).extended_resource("gpu", 1.0).build()?;
/// let request = SlotRequest::new(JobId::from_u128(7), AllocationId::from_u128(1), profile, "job-master-7");
/// assert_eq!(request.resource_profile().extended_resource("gpu"), Some(1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SlotRequest {
    job_id: JobId,
    allocation_id: AllocationId,
    resource_profile: ResourceProfile,
    target_address: Arc<str>,
}

impl SlotRequest {
    /// Returns a request of `job_id` for a slot with at least `resource_profile`.
    ///
    /// The task executor offers the slot to `target_address`.
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

    /// Returns the job of the request.
    pub fn job_id(&self) -> JobId {
        self.job_id
    }

    /// Returns the key of the request, chosen by the job.
    pub fn allocation_id(&self) -> AllocationId {
        self.allocation_id
    }

    /// Returns the resources that a slot must have at least.
    pub fn resource_profile(&self) -> &ResourceProfile {
        &self.resource_profile
    }

    /// Returns the address that the task executor offers the slot to: that of the job's master.
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
