//! The resources of a dynamic worker, from which its slots are cut.

use crate::error::SlotAllocationError;
use crate::resource_profile::Remainder;
use crate::{DynamicResources, ResourceProfile};

/// The total and the default slot of a dynamic worker.
///
/// The remainder is not kept: it follows from the held slots, which the table goes through anyway.
#[derive(Debug, PartialEq)]
pub(super) struct TableResources {
    total: ResourceProfile,
    default_slot: Option<ResourceProfile>,
}

impl TableResources {
    pub(super) fn new(worker: &DynamicResources) -> Self {
        let default_slot = worker.default_slot().cloned();
        Self {
            total: worker.total().clone(),
            // It may have been read from a message, which can name any profile.
            default_slot: default_slot.filter(|profile| *profile != ResourceProfile::UNKNOWN),
        }
    }

    /// Returns the resources of the slot that is cut for a request, beside the held slots.
    pub(super) fn cut<'a>(
        &self,
        requested: &ResourceProfile,
        held: impl Iterator<Item = &'a ResourceProfile>,
    ) -> Result<ResourceProfile, SlotAllocationError> {
        let cut = if *requested == ResourceProfile::UNKNOWN {
            let no_default = || SlotAllocationError::rejected("the worker has no default slot for UNKNOWN resources");
            self.default_slot.as_ref().ok_or_else(no_default)?
        } else {
            requested
        };
        let remaining = self.remaining(held);
        match remaining.is_matching(cut) {
            true => Ok(cut.clone()),
            false => Err(SlotAllocationError::insufficient(remaining)),
        }
    }

    /// Returns the resources as a report shows them.
    pub(super) fn reported<'a>(&self, held: impl Iterator<Item = &'a ResourceProfile>) -> DynamicResources {
        let reported = DynamicResources::new(self.total.clone()).with_free(self.remaining(held));
        match &self.default_slot {
            Some(default_slot) => reported.with_default_slot(default_slot.clone()),
            None => reported,
        }
    }

    /// Returns the resources that the held slots leave. They may exceed a total that was lowered.
    fn remaining<'a>(&self, held: impl Iterator<Item = &'a ResourceProfile>) -> ResourceProfile {
        let mut remainder = Remainder::of(&self.total);
        for cut in held {
            // Nothing remains of a resource that is cut beyond the total.
            let _: bool = remainder.cut(cut);
        }
        remainder.to_profile()
    }
}
