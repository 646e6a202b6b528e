//! The description of the workers that the resource manager starts.

use crate::ResourceProfile;
use crate::config::Quantity;
use crate::error::ResourceProfileError;

/// The description of the workers that are started when slots are short.
///
/// All workers are alike: each has the same number of slots, and all slots have one profile.
///
/// ```
/// use slot_manager::config::WorkerDescription;
/// use slot_manager::ResourceProfile;
///
/// let total = ResourceProfile::builder().cpu_cores(16.0).task_heap_memory_mebibytes(65_536).build()?;
/// let worker = WorkerDescription::from_total(&total, 4)?;
/// assert_eq!(worker.slots(), 4);
/// assert_eq!(worker.slot_profile().cpu_cores(), Some(4.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "serialized::Worker")
)]
pub struct WorkerDescription {
    slots: u32,
    slot_profile: ResourceProfile,
}

/// The reason why a number of slots and a profile do not describe a worker.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum WorkerDescriptionError {
    /// The number of slots is zero.
    #[error("0 slots are too few, a worker has at least 1")]
    NoSlots,
    /// The number of slots is larger than [`WorkerDescription::MAX_SLOTS`].
    #[error("{slots} slots are too many, a worker has at most {}", WorkerDescription::MAX_SLOTS)]
    TooManySlots {
        /// The given number.
        slots: u32,
    },
    /// The profile is [`ResourceProfile::UNKNOWN`], which fits hardly any request.
    #[error("the slot profile must not be UNKNOWN")]
    UnknownProfile,
    /// The amounts are not a profile, or the total of all slots is too large.
    #[error(transparent)]
    ResourceProfile(#[from] ResourceProfileError),
}

impl WorkerDescription {
    /// The largest number of slots of a worker, 2¹⁶.
    pub const MAX_SLOTS: u32 = 1 << 16;

    /// Describes a worker by the number of its slots and their profile.
    ///
    /// # Errors
    /// - [`NoSlots`](WorkerDescriptionError::NoSlots): the number is zero.
    /// - [`TooManySlots`](WorkerDescriptionError::TooManySlots): it is larger than
    ///   [`MAX_SLOTS`](Self::MAX_SLOTS).
    /// - [`UnknownProfile`](WorkerDescriptionError::UnknownProfile): the profile is
    ///   [`ResourceProfile::UNKNOWN`].
    /// - [`ResourceProfile`](WorkerDescriptionError::ResourceProfile): the total of all slots is
    ///   too large.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::config::WorkerDescription;
    /// use slot_manager::ResourceProfile;
    ///
    /// let slot = ResourceProfile::builder().cpu_cores(4.0).build()?;
    /// let worker = WorkerDescription::new(4, slot)?;
    /// assert_eq!(worker.slots(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(slots: u32, slot_profile: ResourceProfile) -> Result<Self, WorkerDescriptionError> {
        if slots == 0 {
            return Err(WorkerDescriptionError::NoSlots);
        }
        if slots > Self::MAX_SLOTS {
            return Err(WorkerDescriptionError::TooManySlots { slots });
        }
        if slot_profile == ResourceProfile::UNKNOWN {
            return Err(WorkerDescriptionError::UnknownProfile);
        }
        let worker = Self { slots, slot_profile };
        worker.total()?;
        Ok(worker)
    }

    /// Describes a worker by its total, which is divided evenly among its slots.
    ///
    /// Amounts of a slot are rounded down to bytes and to 10⁻⁸ cores or units.
    ///
    /// # Errors
    /// The same as of [`new`](Self::new).
    pub fn from_total(total: &ResourceProfile, slots: u32) -> Result<Self, WorkerDescriptionError> {
        let slot_profile = total.divided_by(slots).ok_or(WorkerDescriptionError::NoSlots)?;
        Self::new(slots, slot_profile)
    }

    /// Returns the number of slots, at least one.
    pub fn slots(&self) -> usize {
        self.slots as usize
    }

    /// Returns the profile of each slot.
    pub fn slot_profile(&self) -> &ResourceProfile {
        &self.slot_profile
    }

    /// Returns the resources of all slots together.
    pub(super) fn total(&self) -> Result<ResourceProfile, ResourceProfileError> {
        self.slot_profile.checked_mul(self.slots.into())
    }

    /// Returns the slots, cores and memory of all slots together.
    pub(crate) fn quantity(&self) -> Quantity {
        Quantity::of_slots(self.slots(), &self.slot_profile)
    }
}

/// The serialized form, which is checked again when it is read.
#[cfg(feature = "serde")]
mod serialized {
    use super::{ResourceProfile, WorkerDescription, WorkerDescriptionError};

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Worker {
        slots: u32,
        slot_profile: ResourceProfile,
    }

    impl TryFrom<Worker> for WorkerDescription {
        type Error = WorkerDescriptionError;

        fn try_from(worker: Worker) -> Result<Self, WorkerDescriptionError> {
            Self::new(worker.slots, worker.slot_profile)
        }
    }
}
