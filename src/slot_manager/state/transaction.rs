//! What a transaction leaves for the commit.

use crate::{AllocationId, JobId};

use super::effects::LostSlot;
use super::requests::RequestKey;
use super::slots::SlotKey;
use super::task_managers::TaskManagerKey;

/// What a transaction leaves to be settled at its end.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Slots that became free, in this order.
    pub(crate) free: Vec<SlotKey>,
    /// Requests that lost their attempt and look for another slot.
    pub(crate) detached: Vec<RequestKey>,
    /// Slots that were found to hold an allocation beside its grant. If they still do in the end, they are to be freed.
    pub(crate) secondaries: Vec<SlotKey>,
    /// Task managers of which the first slot became used, or the last one unused.
    pub(crate) task_managers: Vec<TaskManagerKey>,
    /// Grants that were dropped. Whether they are lost is judged when the transaction is complete.
    pub(crate) dropped: Vec<DroppedGrant>,
    /// Some slot came to be deferred.
    pub(crate) has_new_holder: bool,
}

impl Transaction {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.free.is_empty()
            && self.detached.is_empty()
            && self.secondaries.is_empty()
            && self.task_managers.is_empty()
            && self.dropped.is_empty()
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct DroppedGrant {
    pub(crate) slot: LostSlot,
    pub(crate) allocation_id: AllocationId,
    pub(crate) job_id: JobId,
}
