//! The reports that change nothing. Nearly all do, so they have a fast path.

use crate::{SlotReport, SlotStatus};

use crate::slot_manager::collections::arena::Neighbours;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::profile_queues::ProfileKey;
use crate::slot_manager::state::slots::{Slot, SlotKey};
use crate::slot_manager::state::task_managers::{TaskManager, TaskManagerKey};

/// What most slots of a worker have in common. A status is compared with it in a few instructions.
struct Common<'a> {
    owner: &'a TaskManager,
    slots: Neighbours<'a, SlotKey, Slot>,
    profile: ProfileKey,
    amounts: [u64; 5],
}

impl Common<'_> {
    /// Returns `true` only if a status shows a slot as it is known, apart from the number of the slot.
    #[inline(always)]
    fn has(&self, slot: SlotKey, status: &SlotStatus) -> bool {
        self.slots.get(slot).is_some_and(|slot| {
            slot.profile == self.profile
                && status.slot_id().resource_id().is_clone_of(&self.owner.resource_id)
                && status.resource_profile().has_only(&self.amounts)
                && slot.phase.is_unchanged_by(status.allocation_ref())
        })
    }
}

impl Core {
    /// Returns `true` only if the report of a static worker is valid and changes nothing. This is the
    /// fast path of the usual heartbeat.
    ///
    /// A report that is not sorted by slot number may get `false`.
    #[inline(never)]
    pub(crate) fn is_unchanged_by(&self, task_manager: TaskManagerKey, report: &SlotReport) -> bool {
        let owner = &self.task_managers.records[task_manager];
        let Some(slots) = owner.slots.as_static() else {
            return false;
        };
        if slots.len() != report.statuses().len() || report.dynamic().is_some() {
            return false;
        }
        let Some((_, first)) = slots.first() else {
            return true;
        };
        let profile = self.slots[*first].profile;
        let mut slots = slots.iter().zip(report.statuses());
        let Some(amounts) = self.profiles[profile].only_amounts() else {
            return slots.all(|(slot, status)| self.is_slot_unchanged(owner, slot, status));
        };
        let common = Common {
            owner,
            slots: self.slots.neighbours(*first),
            profile,
            amounts,
        };
        slots.all(|(slot, status)| {
            (status.number() == slot.0 && common.has(slot.1, status)) || self.is_slot_unchanged(owner, slot, status)
        })
    }

    /// Returns `true` if a status shows a slot as it is known.
    #[inline(never)]
    pub(crate) fn is_slot_unchanged(
        &self,
        owner: &TaskManager,
        (number, slot): &(u32, SlotKey),
        status: &SlotStatus,
    ) -> bool {
        let slot = &self.slots[*slot];
        status.number() == *number
            && *status.slot_id().resource_id() == owner.resource_id
            && slot.phase.is_unchanged_by(status.allocation_ref())
            && self.profiles[slot.profile] == *status.resource_profile()
    }
}
