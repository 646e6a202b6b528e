//! Snapshots of views.

use crate::view::{
    PendingSlotRequest, PendingSlotRequestSnapshot, PromisedSlot, PromisedSlotSnapshot, TaskManagerRegistration,
    TaskManagerSlot, TaskManagerSlotSnapshot, TaskManagerSnapshot,
};

impl TaskManagerSlot<'_> {
    /// Returns a copy of everything this view shows.
    pub fn snapshot(&self) -> TaskManagerSlotSnapshot {
        TaskManagerSlotSnapshot {
            slot_id: self.slot_id(),
            resource_profile: self.resource_profile().clone(),
            state: self.state(),
        }
    }
}

impl TaskManagerRegistration<'_> {
    /// Returns a copy of everything this view shows, with all slots.
    ///
    /// Cost: O(slots of the task manager).
    pub fn snapshot(&self) -> TaskManagerSnapshot {
        TaskManagerSnapshot {
            resource_id: self.resource_id().clone(),
            instance_id: self.instance_id(),
            worker_request: self.worker_request(),
            is_blocked: self.is_blocked(),
            backoff: self.backoff(),
            idle_since: self.idle_since(),
            revision: self.revision(),
            total_resources: self.total_resources().cloned(),
            default_slot: self.default_slot().cloned(),
            remaining_resources: self.remaining_resources(),
            slot_counts: self.slot_counts(),
            slots: self.slots().map(|slot| slot.snapshot()).collect(),
        }
    }
}

impl PendingSlotRequest<'_> {
    /// Returns a copy of everything this view shows.
    pub fn snapshot(&self) -> PendingSlotRequestSnapshot {
        PendingSlotRequestSnapshot {
            allocation_id: self.allocation_id(),
            job_id: self.job_id(),
            resource_profile: self.resource_profile().clone(),
            target_address: self.target_address().clone(),
            is_declared: self.is_declared(),
            deadline: self.deadline(),
            failed_attempts: self.failed_attempts(),
            in_flight_to: self.in_flight_to(),
            backs_off_until: self.backs_off_until(),
            bound_to: self.bound_to(),
        }
    }
}

impl PromisedSlot<'_> {
    /// Returns a copy of everything this view shows.
    pub fn snapshot(&self) -> PromisedSlotSnapshot {
        PromisedSlotSnapshot {
            worker_request: self.worker_request(),
            resource_profile: self.resource_profile().clone(),
            bound_to: self.bound_to(),
            expires_at: self.expires_at(),
        }
    }
}
