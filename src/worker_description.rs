//! What a worker brings that is asked for.

use crate::config::Quantity;
use crate::{ResourceProfile, ResourceProfileError};

/// The workers that are started when slots are short: all alike, with so many slots of one profile.
///
/// ```
/// use slot_manager::{ResourceProfile, WorkerDescription};
///
/// let total = ResourceProfile::builder().cpu_cores(16.0).task_heap_memory_mebibytes(65_536).build()?;
/// let worker = WorkerDescription::from_total(&total, 4)?;
/// assert_eq!(worker.slots(), 4);
/// assert_eq!(worker.slot_profile().cpu_cores(), Some(4.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerDescription {
    slots: u32,
    slot_profile: ResourceProfile,
}

/// Why something describes no worker.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerDescriptionError {
    /// A worker without slots serves nothing.
    #[error("a worker has at least one slot")]
    NoSlots,
    /// More slots than any worker has.
    #[error("{slots} slots are more than {}", WorkerDescription::MAX_SLOTS)]
    TooManySlots {
        /// How many were given.
        slots: u32,
    },
    /// A slot of which nothing is known serves hardly anything.
    #[error("the profile of a slot cannot be UNKNOWN")]
    UnknownProfile,
    /// Its slots are more than can be counted, or what it has is no profile.
    #[error(transparent)]
    ResourceProfile(#[from] ResourceProfileError),
}

impl WorkerDescription {
    /// The most slots that a worker may have.
    pub const MAX_SLOTS: u32 = 1 << 16;

    /// A worker with so many slots of this profile.
    ///
    /// # Errors
    /// - [`NoSlots`](WorkerDescriptionError::NoSlots): the number is zero.
    /// - [`TooManySlots`](WorkerDescriptionError::TooManySlots): it is larger than [`MAX_SLOTS`](Self::MAX_SLOTS).
    /// - [`UnknownProfile`](WorkerDescriptionError::UnknownProfile): the profile is [`ResourceProfile::UNKNOWN`].
    /// - [`ResourceProfile`](WorkerDescriptionError::ResourceProfile): all slots together cannot be counted.
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
        slot_profile.checked_mul(u64::from(slots))?;
        Ok(Self { slots, slot_profile })
    }

    /// A worker that divides all it has among so many slots. What cannot be divided is left over: a byte or the 10⁻⁸th
    /// part of a core.
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn from_total(total: &ResourceProfile, slots: u32) -> Result<Self, WorkerDescriptionError> {
        let slot_profile = total.divided_by(slots).ok_or(WorkerDescriptionError::NoSlots)?;
        Self::new(slots, slot_profile)
    }

    /// How many slots it has, at least one.
    pub fn slots(&self) -> usize {
        self.slots as usize
    }

    /// What each of them has.
    pub fn slot_profile(&self) -> &ResourceProfile {
        &self.slot_profile
    }

    pub(crate) fn quantity(&self) -> Quantity {
        Quantity::of_slots(self.slots(), &self.slot_profile)
    }
}
