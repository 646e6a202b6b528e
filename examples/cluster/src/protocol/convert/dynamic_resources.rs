//! The resources of a dynamic worker in a message.

use slot_manager::{DynamicResources, ResourceProfile};

use crate::protocol::{ProtocolError, v1};

impl From<&DynamicResources> for v1::DynamicResources {
    fn from(worker: &DynamicResources) -> Self {
        Self {
            total: Some(worker.total().into()),
            default_slot: worker.default_slot().map(Into::into),
            free: worker.free().map(Into::into),
        }
    }
}

impl TryFrom<v1::DynamicResources> for DynamicResources {
    type Error = ProtocolError;

    fn try_from(worker: v1::DynamicResources) -> Result<Self, ProtocolError> {
        let total = worker.total.ok_or_else(|| ProtocolError::missing("total"))?;
        let total = ResourceProfile::try_from(total).map_err(|error| error.within("total"))?;
        if total == ResourceProfile::UNKNOWN {
            return Err(ProtocolError::new("total", "it is UNKNOWN"));
        }
        let mut resources = Self::new(total);
        if let Some(slot) = worker.default_slot {
            let slot = ResourceProfile::try_from(slot).map_err(|error| error.within("default_slot"))?;
            resources = resources.with_default_slot(slot);
        }
        if let Some(free) = worker.free {
            let free = ResourceProfile::try_from(free).map_err(|error| error.within("free"))?;
            resources = resources.with_free(free);
        }
        Ok(resources)
    }
}
