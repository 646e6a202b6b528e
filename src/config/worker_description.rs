//! The description of the workers that the resource manager starts.

use crate::error::ResourceProfileError;
use crate::message::WorkerPromise;
use crate::resource_profile::Remainder;
use crate::{DynamicResources, ResourceProfile};

/// The description of the workers that are started when slots are short.
///
/// All workers are alike: each has the same number of slots, and all slots have one profile. Or
/// slots are cut from their totals as requests need them ([`dynamic`](Self::dynamic)).
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
    serde(try_from = "serialized::Worker", into = "serialized::Worker")
)]
pub struct WorkerDescription {
    slots: u32,
    slot_profile: ResourceProfile,
    /// The resources of all slots together, before the division by their number.
    total: ResourceProfile,
    /// Slots are cut from the total.
    is_dynamic: bool,
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
    /// The total of a dynamic worker has another number of default slots. It is
    /// [`ResourceProfile::ANY`], nothing at all, or too little to be divided.
    #[error("the total {total} cannot be divided into {slots} default slots")]
    IndivisibleTotal {
        /// The number of default slots.
        slots: u32,
        /// The total.
        total: Box<ResourceProfile>,
    },
    /// The amounts are not a profile, or the total of all slots is too large.
    #[error(transparent)]
    ResourceProfile(#[from] ResourceProfileError),
    /// A deserialized worker has a slot profile that is not its total divided by its slots.
    #[error("{slots} slots with the profile {slot_profile} do not have the total {total}")]
    OtherTotal {
        /// The number of slots.
        slots: u32,
        /// The profile of each slot.
        slot_profile: ResourceProfile,
        /// The total of all slots.
        total: Box<ResourceProfile>,
    },
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
        check(slots, &slot_profile)?;
        let total = slot_profile.checked_mul(slots.into())?;
        Ok(Self {
            slots,
            slot_profile,
            total,
            is_dynamic: false,
        })
    }

    /// Describes a worker by its total, which is divided evenly among its slots.
    ///
    /// A slot exactly fits a request for `total / slots`, for every number of slots: cores and
    /// units of extended resources are divided as `f64` and rounded half up to 10⁻⁸, as a
    /// [builder](ResourceProfile::builder) rounds them. Memory is rounded down to bytes. Limits and
    /// minima count the total of the worker, not the sum of its rounded slots.
    ///
    /// # Errors
    /// The same as of [`new`](Self::new).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::config::WorkerDescription;
    /// use slot_manager::ResourceProfile;
    ///
    /// let total = ResourceProfile::builder().extended_resource("gpu", 1.0).build()?;
    /// let worker = WorkerDescription::from_total(&total, 6)?;
    /// let request = ResourceProfile::builder().extended_resource("gpu", 1.0 / 6.0).build()?;
    /// assert_eq!(worker.slot_profile(), &request);
    /// assert_eq!(worker.total(), &total);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_total(total: &ResourceProfile, slots: u32) -> Result<Self, WorkerDescriptionError> {
        check(slots, total)?;
        let slot_profile = total.divided_by(slots).ok_or(WorkerDescriptionError::NoSlots)?;
        Ok(Self {
            slots,
            slot_profile,
            total: total.clone(),
            is_dynamic: false,
        })
    }

    /// Describes a worker from whose total slots are cut as requests need them.
    ///
    /// A request is served by a cut of its own profile, if the total fits it. One of `default_slots`
    /// equal parts of the total is the default slot: a request for [`ResourceProfile::UNKNOWN`] gets
    /// it. Its amounts are rounded down, to 10⁻⁸ cores or units and to bytes. Limits, minima and
    /// redundancy count the worker as `default_slots` slots.
    ///
    /// The resource manager answers a worker request with
    /// [`WorkerPromise::Unspecified`](crate::message::WorkerPromise::Unspecified), or with
    /// [`Total`](crate::message::WorkerPromise::Total) for a worker of another shape.
    ///
    /// # Errors
    /// - [`NoSlots`](WorkerDescriptionError::NoSlots): `default_slots` is zero.
    /// - [`TooManySlots`](WorkerDescriptionError::TooManySlots): it is larger than
    ///   [`MAX_SLOTS`](Self::MAX_SLOTS).
    /// - [`UnknownProfile`](WorkerDescriptionError::UnknownProfile): the total is
    ///   [`ResourceProfile::UNKNOWN`].
    /// - [`IndivisibleTotal`](WorkerDescriptionError::IndivisibleTotal): not just `default_slots`
    ///   default slots are in the total, as in that of [`ResourceProfile::ANY`].
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::config::WorkerDescription;
    /// use slot_manager::ResourceProfile;
    ///
    /// let total = ResourceProfile::builder().cpu_cores(16.0).task_heap_memory_mebibytes(65_536).build()?;
    /// let worker = WorkerDescription::dynamic(&total, 4)?;
    /// assert!(worker.is_dynamic());
    /// assert_eq!(worker.slot_profile().cpu_cores(), Some(4.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dynamic(total: &ResourceProfile, default_slots: u32) -> Result<Self, WorkerDescriptionError> {
        check(default_slots, total)?;
        let slot_profile = total
            .divided_down_by(default_slots)
            .ok_or(WorkerDescriptionError::NoSlots)?;
        if Remainder::of(total).times(&slot_profile) != default_slots {
            return Err(WorkerDescriptionError::IndivisibleTotal {
                slots: default_slots,
                total: Box::new(total.clone()),
            });
        }
        Ok(Self {
            slots: default_slots,
            slot_profile,
            total: total.clone(),
            is_dynamic: true,
        })
    }

    /// Returns `true` if slots are cut from the total of the worker.
    pub fn is_dynamic(&self) -> bool {
        self.is_dynamic
    }

    /// Returns the number of slots, or of default slots in the total; at least one.
    pub fn slots(&self) -> usize {
        self.slots as usize
    }

    /// Returns the profile of each slot, or of the default slot.
    pub fn slot_profile(&self) -> &ResourceProfile {
        &self.slot_profile
    }

    /// Returns the resources of all slots together.
    pub fn total(&self) -> &ResourceProfile {
        &self.total
    }

    /// Returns `true` if such a worker could serve a request.
    pub(crate) fn could_serve(&self, required: &ResourceProfile) -> bool {
        let largest = match self.is_dynamic && *required != ResourceProfile::UNKNOWN {
            true => &self.total,
            false => &self.slot_profile,
        };
        largest.is_matching(required)
    }

    /// Returns the promise of such a worker.
    pub(crate) fn promise(&self) -> WorkerPromise {
        match self.is_dynamic {
            true => {
                let resources = DynamicResources::new(self.total.clone());
                WorkerPromise::Total(resources.with_default_slot(self.slot_profile.clone()))
            }
            false => WorkerPromise::Slots(vec![self.slot_profile.clone(); self.slots()]),
        }
    }
}

/// Checks the number of slots of a worker, and a profile of a slot or of all slots.
fn check(slots: u32, profile: &ResourceProfile) -> Result<(), WorkerDescriptionError> {
    if slots == 0 {
        return Err(WorkerDescriptionError::NoSlots);
    }
    if slots > WorkerDescription::MAX_SLOTS {
        return Err(WorkerDescriptionError::TooManySlots { slots });
    }
    if *profile == ResourceProfile::UNKNOWN {
        return Err(WorkerDescriptionError::UnknownProfile);
    }
    Ok(())
}

/// The serialized form, which is checked again when it is read.
#[cfg(feature = "serde")]
mod serialized {
    use super::{ResourceProfile, WorkerDescription, WorkerDescriptionError};

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Worker {
        slots: u32,
        slot_profile: ResourceProfile,
        /// The sum of the slots if absent.
        #[serde(default)]
        total: Option<ResourceProfile>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dynamic: bool,
    }

    impl From<WorkerDescription> for Worker {
        fn from(worker: WorkerDescription) -> Self {
            Self {
                slots: worker.slots,
                slot_profile: worker.slot_profile,
                total: Some(worker.total),
                dynamic: worker.is_dynamic,
            }
        }
    }

    impl TryFrom<Worker> for WorkerDescription {
        type Error = WorkerDescriptionError;

        fn try_from(worker: Worker) -> Result<Self, WorkerDescriptionError> {
            let Worker {
                slots,
                slot_profile,
                total,
                dynamic,
            } = worker;
            if dynamic {
                let total = total.unwrap_or_else(|| slot_profile.clone());
                return Self::of_divided(Self::dynamic(&total, slots)?, slot_profile);
            }
            let of_slots = Self::new(slots, slot_profile.clone())?;
            let Some(total) = total.filter(|total| *total != of_slots.total) else {
                return Ok(of_slots);
            };
            // The sum of rounded slots differs from the total that was divided.
            Self::of_divided(Self::from_total(&total, slots)?, slot_profile)
        }
    }

    impl WorkerDescription {
        /// Returns a worker whose total was divided, if its slots have this profile.
        fn of_divided(divided: Self, slot_profile: ResourceProfile) -> Result<Self, WorkerDescriptionError> {
            if divided.slot_profile == slot_profile {
                return Ok(divided);
            }
            Err(WorkerDescriptionError::OtherTotal {
                slots: divided.slots,
                slot_profile,
                total: Box::new(divided.total),
            })
        }
    }
}
