//! Work that a transaction leaves for its commit.

use crate::message::Allocation;

use super::effects::LostSlot;
use super::requests::RequestKey;
use super::slots::SlotKey;
use super::task_managers::TaskManagerKey;

/// Work that a transaction leaves for its commit.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Slots that became free, in this order.
    pub(crate) free: Vec<SlotKey>,
    /// Requests that lost their attempt and need another slot.
    pub(crate) detached: Vec<RequestKey>,
    /// Slots found to hold an allocation that is granted elsewhere. Those that still do at the
    /// commit are freed.
    pub(crate) secondaries: Vec<SlotKey>,
    /// Task managers whose first slot became used, or whose last slot became unused.
    pub(crate) task_managers: Vec<TaskManagerKey>,
    /// Grants that were dropped. The commit decides whether they are lost.
    pub(crate) dropped: Vec<DroppedGrant>,
    /// Set when a slot came to hold an allocation. Without it no dropped grant can have moved.
    pub(crate) has_new_holder: bool,
}

/// A grant whose slot does not hold its allocation any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DroppedGrant {
    pub(crate) slot: LostSlot,
    pub(crate) allocation: Allocation,
}

impl Transaction {
    /// Returns `true` if the commit has nothing to do.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Without branches: every call asks.
        let items = self.free.len()
            | self.detached.len()
            | self.secondaries.len()
            | self.task_managers.len()
            | self.dropped.len();
        items == 0
    }
}
