//! The declared requirements of a job, and how far they are met.

use std::sync::Arc;

use crate::{JobId, ResourceProfile};

/// The declared requirements of a job, and how far they are met.
///
/// [`SlotManager::requirements`](crate::SlotManager::requirements) returns it. It owns its data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct JobRequirements {
    /// The job.
    pub job_id: JobId,
    /// The address to which task executors offer the slots.
    pub target_address: Arc<str>,
    /// The highest revision that was declared; `None` without revisions.
    pub revision: Option<u64>,
    /// The numbers of slots of all profiles.
    pub in_all: RequirementCounts,
    /// The requirements by profile, in the order of the declaration.
    pub profiles: Vec<ProfileRequirement>,
    /// Slots that the job holds beyond its requirements.
    pub excess: usize,
}

/// The requirement of slots with one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ProfileRequirement {
    /// The least resources of each slot.
    pub resource_profile: ResourceProfile,
    /// The numbers of slots.
    pub counts: RequirementCounts,
}

/// Numbers of declared slots by state.
///
/// ```
/// use slot_manager::view::RequirementCounts;
///
/// let counts = RequirementCounts::default();
/// assert_eq!(counts.declared, counts.charged + counts.in_flight + counts.waiting + counts.delayed);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RequirementCounts {
    /// The declared slots: the sum of the four numbers below.
    pub declared: usize,
    /// Slots that the job holds, and that are charged to the requirement.
    pub charged: usize,
    /// Slots that were requested from task executors.
    pub in_flight: usize,
    /// Slots that wait for a free slot, or are to be requested within milliseconds.
    pub waiting: usize,
    /// Slots that were freed, and are requested again at the end of the
    /// [check delay](crate::SlotManagerConfig::requirement_check_delay).
    pub delayed: usize,
}

impl std::ops::AddAssign for RequirementCounts {
    fn add_assign(&mut self, other: Self) {
        self.declared += other.declared;
        self.charged += other.charged;
        self.in_flight += other.in_flight;
        self.waiting += other.waiting;
        self.delayed += other.delayed;
    }
}
