//! The requirements of a job: the slots that it needs in all.

use std::sync::Arc;

use crate::{JobId, ResourceProfile};

/// The slots that a job needs in all, which it declares at once.
///
/// Pass it to [`declare_requirements`](crate::SlotManager::declare_requirements). A job either
/// declares or requests slots one by one.
///
/// ```
/// use slot_manager::{JobId, ResourceProfile, ResourceRequirements};
///
/// let small = ResourceProfile::builder().cpu_cores(1.0).build()?;
/// let large = ResourceProfile::builder().cpu_cores(4.0).build()?;
/// let requirements = ResourceRequirements::new(JobId::from_u128(7), "job-master-7")
///     .require(small.clone(), 3)?
///     .require(large, 1)?
///     .require(small.clone(), 2)?;
/// assert_eq!(requirements.slots(), 6);
/// assert_eq!(requirements.iter().next(), Some((&small, 5)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "SerializedRequirements"))]
pub struct ResourceRequirements {
    job_id: JobId,
    target_address: Arc<str>,
    #[cfg_attr(feature = "serde", serde(rename = "requirements"))]
    required: Vec<RequiredSlots>,
    revision: Option<u64>,
}

/// Required slots of one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct RequiredSlots {
    resource_profile: ResourceProfile,
    slots: u32,
}

/// More slots are required than [`ResourceRequirements::MAX_SLOTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{slots} required slots are more than {max}", max = ResourceRequirements::MAX_SLOTS)]
pub struct TooManySlots {
    /// The number of required slots in all.
    pub slots: u64,
}

impl ResourceRequirements {
    /// The largest number of slots that a job can require in all.
    pub const MAX_SLOTS: u32 = 1 << 20;

    /// Returns requirements of no slot.
    ///
    /// Task executors offer the slots to `target_address`.
    pub fn new(job_id: JobId, target_address: impl Into<Arc<str>>) -> Self {
        Self {
            job_id,
            target_address: target_address.into(),
            required: Vec::new(),
            revision: None,
        }
    }

    /// Adds required slots, each with at least `resource_profile`. Slots of equal profiles are added
    /// up.
    ///
    /// Slots are requested in the order in which their profiles were first added.
    ///
    /// Cost: O(distinct profiles).
    ///
    /// # Errors
    /// The job would require more than [`MAX_SLOTS`](Self::MAX_SLOTS) slots in all.
    pub fn require(mut self, resource_profile: ResourceProfile, slots: u32) -> Result<Self, TooManySlots> {
        let in_all = u64::from(self.slots()) + u64::from(slots);
        if in_all > u64::from(Self::MAX_SLOTS) {
            return Err(TooManySlots { slots: in_all });
        }
        let mut known = self.required.iter_mut();
        match known.find(|known| known.resource_profile == resource_profile) {
            Some(known) => known.slots += slots,
            None if slots > 0 => self.required.push(RequiredSlots {
                resource_profile,
                slots,
            }),
            None => {}
        }
        Ok(self)
    }

    /// Sets the revision, which grows with each declaration of the job.
    ///
    /// A declaration with a lower revision than one before is ignored: messages overtook each other.
    #[must_use]
    pub fn with_revision(mut self, revision: u64) -> Self {
        self.revision = Some(revision);
        self
    }

    /// Returns the job.
    pub fn job_id(&self) -> JobId {
        self.job_id
    }

    /// Returns the address to which task executors offer the slots: that of the job's master.
    pub fn target_address(&self) -> &Arc<str> {
        &self.target_address
    }

    /// Returns the revision, if there is one.
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// Returns the number of required slots in all.
    ///
    /// Cost: O(distinct profiles).
    pub fn slots(&self) -> u32 {
        self.required.iter().map(|required| required.slots).sum()
    }

    /// Returns `true` if no slot is required.
    pub fn is_empty(&self) -> bool {
        self.required.is_empty()
    }

    /// Returns the required profiles with the numbers of their slots, in the order in which they
    /// were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&ResourceProfile, u32)> {
        self.required
            .iter()
            .map(|required| (&required.resource_profile, required.slots))
    }
}

/// Requirements as they arrive, not checked yet.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct SerializedRequirements {
    job_id: JobId,
    target_address: Arc<str>,
    requirements: Vec<RequiredSlots>,
    revision: Option<u64>,
}

#[cfg(feature = "serde")]
impl TryFrom<SerializedRequirements> for ResourceRequirements {
    type Error = TooManySlots;

    fn try_from(serialized: SerializedRequirements) -> Result<Self, TooManySlots> {
        let mut requirements = Self::new(serialized.job_id, serialized.target_address);
        requirements.revision = serialized.revision;
        for RequiredSlots {
            resource_profile,
            slots,
        } in serialized.requirements
        {
            requirements = requirements.require(resource_profile, slots)?;
        }
        Ok(requirements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(cores: f64) -> ResourceProfile {
        ResourceProfile::builder().cpu_cores(cores).build().unwrap()
    }

    fn requirements() -> ResourceRequirements {
        ResourceRequirements::new(JobId::from_u128(7), "job-master-7")
    }

    #[test]
    fn no_slots_of_a_profile_are_no_requirement() {
        let none = requirements().require(profile(1.0), 0).unwrap();
        assert!(none.is_empty());
        assert_eq!(none, requirements());
    }

    #[test]
    fn number_of_slots_is_bounded_in_all() {
        let most = requirements()
            .require(profile(1.0), ResourceRequirements::MAX_SLOTS)
            .unwrap();
        let slots = u64::from(ResourceRequirements::MAX_SLOTS) + u64::from(u32::MAX);
        let refused = most.clone().require(profile(2.0), u32::MAX);
        assert_eq!(refused, Err(TooManySlots { slots }));
        assert_eq!(most.require(profile(2.0), 0).map(|same| same.slots()), Ok(1 << 20));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn arriving_requirements_are_checked() {
        let mut json = serde_json::to_value(requirements().require(profile(1.0), 3).unwrap().with_revision(2)).unwrap();
        let read: ResourceRequirements = serde_json::from_value(json.clone()).unwrap();
        assert_eq!((read.slots(), read.revision()), (3, Some(2)));
        json["requirements"][0]["slots"] = u32::MAX.into();
        assert!(serde_json::from_value::<ResourceRequirements>(json).is_err());
    }
}
