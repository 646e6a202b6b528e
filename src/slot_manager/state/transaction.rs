//! Work that a transaction leaves for its commit.

use std::collections::BTreeSet;

use crate::message::Allocation;

use super::notifications::LostSlot;
use super::promises::{PromiseKey, WorkerRequestNumber};
use super::requests::RequestKey;
use super::requirements::AccountKey;
use super::slots::SlotKey;
use super::task_managers::TaskManagerKey;

/// Work that a transaction leaves for its commit.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Slots that became free, in this order.
    pub(crate) free: Vec<SlotKey>,
    /// Dynamic workers of which more may remain, in this order.
    pub(crate) dynamic_workers: Vec<TaskManagerKey>,
    /// Requests that lost their attempt and need another slot.
    pub(crate) detached: Vec<RequestKey>,
    /// Workers that back off and may be probed now.
    pub(crate) probes: Vec<TaskManagerKey>,
    /// Slots found to hold an allocation that is granted elsewhere. Those that still do at the
    /// commit are freed.
    pub(crate) secondaries: Vec<SlotKey>,
    /// Task managers whose first slot became used, or whose last slot became unused.
    pub(crate) task_managers: Vec<TaskManagerKey>,
    /// Accounts of declaring jobs whose charges or requirements have changed.
    pub(crate) accounts: Vec<AccountKey>,
    /// Grants that were dropped. The commit decides whether they are lost.
    pub(crate) dropped: Vec<DroppedGrant>,
    /// Promised slots that became unbound, with their sequence numbers as a fence.
    pub(crate) freed_promises: Vec<(u64, PromiseKey)>,
    /// Worker requests of promised workers whose cuts ended.
    pub(crate) grown_promises: Vec<WorkerRequestNumber>,
    /// Requests that became unbound, with their sequence numbers. The commit binds them or makes
    /// their worker requests due.
    pub(crate) unbound: Vec<(u64, RequestKey)>,
    /// New free slots that fulfilled no promised slot.
    pub(crate) unpromised_slots: BTreeSet<SlotKey>,
    /// Set when a task manager brought its first slots while slots are promised.
    pub(crate) has_newcomer: bool,
    /// The worker requests of promised slots that new slots have fulfilled.
    pub(crate) fulfilled: Vec<WorkerRequestNumber>,
    /// A dynamic worker that is not set aside any more.
    pub(crate) no_longer_set_aside: Option<TaskManagerKey>,
    /// Set if a worker may have to be set aside.
    pub(crate) may_set_aside: bool,
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
    /// Returns `true` if promised slots may be fulfilled, end or be bound at the commit.
    #[inline]
    pub(crate) fn concerns_promises(&self) -> bool {
        let items = self.freed_promises.len()
            | self.grown_promises.len()
            | self.unbound.len()
            | self.fulfilled.len()
            | self.unpromised_slots.len()
            | usize::from(self.has_newcomer);
        items != 0
    }

    /// Returns `true` if the commit has nothing to do.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Without branches: every call asks.
        let items = self.free.len()
            | self.dynamic_workers.len()
            | self.detached.len()
            | self.probes.len()
            | self.secondaries.len()
            | self.task_managers.len()
            | self.dropped.len()
            | self.accounts.len()
            | self.freed_promises.len()
            | self.grown_promises.len()
            | self.unbound.len()
            | usize::from(self.may_set_aside);
        items == 0
    }
}
