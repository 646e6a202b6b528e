//! The name of an allocation.

use crate::{AllocationId, JobId};

/// The id of an allocation, and the job that it belongs to.
///
/// ```
/// use slot_manager::message::Allocation;
/// use slot_manager::{AllocationId, JobId};
///
/// let allocation = Allocation { id: AllocationId::from_u128(1), job: JobId::from_u128(7) };
/// assert_eq!(allocation.job, JobId::from_u128(7));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Allocation {
    /// The id of the allocation.
    pub id: AllocationId,
    /// The job of the allocation.
    pub job: JobId,
}
