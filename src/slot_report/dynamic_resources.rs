//! The resources of a dynamic worker, from which slots are cut.

use crate::ResourceProfile;

/// The resources of a worker from which the manager cuts slots.
///
/// ```
/// use slot_manager::{DynamicResources, ResourceProfile, SlotReport};
///
/// let total = ResourceProfile::builder().cpu_cores(8.0).build()?;
/// let default_slot = ResourceProfile::builder().cpu_cores(2.0).build()?;
/// let worker = DynamicResources::new(total).with_default_slot(default_slot.clone());
/// assert_eq!(worker.default_slot(), Some(&default_slot));
/// let report = SlotReport::of_dynamic(worker, vec![]);
/// assert!(report.dynamic().is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DynamicResources {
    total: ResourceProfile,
    default_slot: Option<ResourceProfile>,
    free: Option<ResourceProfile>,
}

impl DynamicResources {
    /// Returns the resources of a worker with this total, all of which may be cut.
    pub fn new(total: ResourceProfile) -> Self {
        Self {
            total,
            default_slot: None,
            free: None,
        }
    }

    /// Sets the slot that is cut for a request for [`UNKNOWN`](ResourceProfile::UNKNOWN). Without
    /// it, the worker serves no such request. `UNKNOWN` itself means that there is none.
    #[must_use]
    pub fn with_default_slot(mut self, default_slot: ResourceProfile) -> Self {
        self.default_slot = (default_slot != ResourceProfile::UNKNOWN).then_some(default_slot);
        self
    }

    /// Sets the resources that no slot holds.
    ///
    /// If they are less than the total without the held slots, the manager cuts no more than these
    /// until the next report. `UNKNOWN` and [`ANY`](ResourceProfile::ANY) set no bound.
    #[must_use]
    pub fn with_free(mut self, free: ResourceProfile) -> Self {
        self.free = Some(free);
        self
    }

    /// Returns the resources of the whole worker.
    pub fn total(&self) -> &ResourceProfile {
        &self.total
    }

    /// Returns the slot that is cut for a request for `UNKNOWN`.
    pub fn default_slot(&self) -> Option<&ResourceProfile> {
        // Deserialized resources may have `UNKNOWN`.
        (self.default_slot.as_ref()).filter(|slot| **slot != ResourceProfile::UNKNOWN)
    }

    /// Returns the resources that no slot holds, if the worker reports them.
    pub fn free(&self) -> Option<&ResourceProfile> {
        self.free.as_ref()
    }
}

impl From<ResourceProfile> for DynamicResources {
    fn from(total: ResourceProfile) -> Self {
        Self::new(total)
    }
}
