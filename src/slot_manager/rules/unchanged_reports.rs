//! The reports that change nothing. Nearly all do, so they have a fast path.

use crate::{ResourceProfile, SlotReport, SlotStatus};

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
}

impl Common<'_> {
    /// Returns `true` only if a status shows a slot as it is known.
    #[inline(always)]
    fn is_unchanged(
        &self,
        (number, slot): &(u32, SlotKey),
        status: &SlotStatus,
        has_profile: impl Fn(&ResourceProfile) -> bool,
    ) -> bool {
        self.slots.get(*slot).is_some_and(|slot| {
            status.number() == *number
                && slot.profile == self.profile
                && status.slot_id().resource_id().is(&self.owner.resource_id)
                && has_profile(status.resource_profile())
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
        let common = Common {
            owner,
            slots: self.slots.neighbours(*first),
            profile: self.slots[*first].profile,
        };
        let profile = &self.profiles[common.profile];
        let slots = slots.iter().zip(report.statuses());
        match profile.only_amounts() {
            Some(amounts) => self.are_unchanged(&common, slots, |reported| reported.has_only(&amounts)),
            None => self.are_unchanged(&common, slots, |reported| reported == profile),
        }
    }

    /// Returns `true` if statuses show slots as they are known. `has_profile` compares a profile with
    /// the common one.
    #[inline(always)]
    fn are_unchanged<'a>(
        &self,
        common: &Common<'_>,
        mut slots: impl Iterator<Item = (&'a (u32, SlotKey), &'a SlotStatus)>,
        has_profile: impl Fn(&ResourceProfile) -> bool,
    ) -> bool {
        slots.all(|(slot, status)| {
            common.is_unchanged(slot, status, &has_profile) || self.is_slot_unchanged(common.owner, slot, status)
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
