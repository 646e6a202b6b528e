//! The phase of a slot, and all that changes with it.

use crate::slot_manager::rules::requirements::EndOfHolding;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::notifications::{LossKey, LostSlot};
use crate::slot_manager::state::profile_queues::ProfileKey;
use crate::slot_manager::state::slot_totals::SlotUsage;
use crate::slot_manager::state::slots::{Slot, SlotKey, SlotPhase};
use crate::slot_manager::state::task_managers::TaskManagerKey;

impl Core {
    /// Sets the phase of a slot, and with it the free index, the totals and the usage of the task
    /// manager.
    #[inline(always)]
    pub(crate) fn set_slot_phase(&mut self, slot: SlotKey, phase: SlotPhase) {
        match self.slots[slot].phase {
            SlotPhase::Offered { .. } => self.take_offered_slot(slot, phase),
            SlotPhase::Detached => self.change_slot_phase(slot, SlotUsage::Free, phase),
            SlotPhase::InFlight(_) => self.change_slot_phase(slot, SlotUsage::InFlight, phase),
            SlotPhase::Allocated { .. } => self.change_slot_phase(slot, SlotUsage::Allocated, phase),
            SlotPhase::BackingOff { .. } | SlotPhase::WorkerBackoff | SlotPhase::Blocked => {
                self.set_phase_of_unusable_slot(slot, phase);
            }
        }
    }

    /// Sets the phase of an offered slot.
    #[inline(always)]
    pub(crate) fn take_offered_slot(&mut self, slot: SlotKey, phase: SlotPhase) {
        let (after, step) = (SlotUsage::of(&phase), phase.backoff_step());
        let ended = self.slots[slot].end_offer(phase);
        let (task_manager, profile) = (ended.task_manager, ended.profile);
        self.free_slots.remove(&mut self.slots, slot, ended);
        self.change_usage(task_manager, profile, SlotUsage::Free, after);
        self.reorder_free_slots(task_manager);
        self.end_phase_change(slot, after, step);
    }

    /// Sets the phase of an offered slot or of a new cut.
    #[inline(always)]
    pub(crate) fn take_free_slot(&mut self, slot: SlotKey, phase: SlotPhase) {
        match self.slots[slot].phase {
            SlotPhase::Offered { .. } => self.take_offered_slot(slot, phase),
            _ => self.set_slot_phase(slot, phase),
        }
    }

    /// Offers a slot that is in no list and has this usage. It becomes the last one.
    #[inline(always)]
    pub(crate) fn offer_last(&mut self, slot: SlotKey, before: SlotUsage) {
        let Slot {
            task_manager, profile, ..
        } = self.slots[slot];
        self.offer_last_of(task_manager, profile, slot, before);
    }

    /// Offers a slot of this task manager with this profile.
    #[inline(always)]
    pub(crate) fn offer_last_of(
        &mut self,
        task_manager: TaskManagerKey,
        profile: ProfileKey,
        slot: SlotKey,
        before: SlotUsage,
    ) {
        if self.change_usage(task_manager, profile, before, SlotUsage::Free) {
            self.reorder_free_slots(task_manager);
        }
        let Self {
            free_slots,
            slots,
            profiles,
            task_managers,
            ..
        } = self;
        free_slots.push(slots, profiles, &task_managers.records, profile, slot);
    }

    #[cold]
    fn set_phase_of_unusable_slot(&mut self, slot: SlotKey, phase: SlotPhase) {
        let before = SlotUsage::of(&self.slots[slot].phase);
        if let SlotPhase::BackingOff { step, .. } = self.slots[slot].phase {
            self.slot_backoffs.disarm(&mut self.slots, step, slot);
        }
        self.change_slot_phase(slot, before, phase);
    }

    /// Sets the phase of a slot that has this usage and is not offered, before and after.
    // Inlined: where the usages are known, half of this is left.
    #[inline(always)]
    pub(crate) fn change_slot_phase(&mut self, slot: SlotKey, before: SlotUsage, phase: SlotPhase) {
        debug_assert!(
            !matches!(phase, SlotPhase::Offered { .. }),
            "a slot is offered by `offer_last`"
        );
        let (after, step) = (SlotUsage::of(&phase), phase.backoff_step());
        let record = &mut self.slots[slot];
        let (task_manager, profile) = (record.task_manager, record.profile);
        record.phase = phase;
        if self.change_usage(task_manager, profile, before, after) {
            self.reorder_free_slots(task_manager);
        }
        self.end_phase_change(slot, after, step);
    }

    #[inline(always)]
    fn reorder_free_slots(&mut self, task_manager: TaskManagerKey) {
        self.free_slots
            .reorder(&self.slots, &self.task_managers.records, task_manager);
    }

    #[inline(always)]
    fn end_phase_change(&mut self, slot: SlotKey, after: SlotUsage, step: Option<u8>) {
        self.transaction.has_new_holder |= after == SlotUsage::Allocated;
        if let Some(step) = step {
            self.slot_backoffs.arm(&mut self.slots, step, slot);
        }
    }

    /// Moves a slot from one usage to another in all totals. Returns `true` if the task manager has
    /// another number of used slots: the caller updates the order of its free ones.
    // Inlined: it is part of each grant and of its end.
    #[inline(always)]
    fn change_usage(
        &mut self,
        task_manager: TaskManagerKey,
        profile: ProfileKey,
        before: SlotUsage,
        after: SlotUsage,
    ) -> bool {
        if before == after {
            return false;
        }
        self.slot_totals.move_slot(profile, before, after);
        let owner = &mut self.task_managers.records[task_manager];
        let used_before = owner.used();
        match before {
            SlotUsage::InFlight => owner.in_flight -= 1,
            SlotUsage::Allocated => owner.allocated -= 1,
            SlotUsage::Free | SlotUsage::BackingOff | SlotUsage::Blocked => {}
        }
        match after {
            SlotUsage::InFlight => owner.in_flight += 1,
            SlotUsage::Allocated => owner.allocated += 1,
            SlotUsage::Free | SlotUsage::BackingOff | SlotUsage::Blocked => {}
        }
        let used = owner.used();
        if used != used_before && (used == 0 || used_before == 0) {
            self.transaction.task_managers.push(task_manager);
        }
        used != used_before
    }

    /// Forgets the failed attempts on a slot.
    #[inline]
    pub(crate) fn forget_failures(&mut self, slot: SlotKey) {
        if !self.slot_failures.is_empty() {
            self.slot_failures.remove(&slot);
        }
    }

    /// Adds new detached slots of one profile to the totals.
    pub(crate) fn count_new_slots(&mut self, task_manager: TaskManagerKey, profile: ProfileKey, slots: usize) {
        self.slot_totals.add_slots(&self.profiles, profile, slots);
        if self.is_blocked(task_manager) {
            self.blocking.slots += slots;
        }
    }

    /// Removes slots of one task manager. Attempts in flight end without a message, grants are
    /// dropped with `loss`.
    ///
    /// The caller removes the slots from the list of the task manager.
    pub(crate) fn remove_slots(&mut self, task_manager: TaskManagerKey, slots: &[(u32, SlotKey)], loss: LossKey) {
        // Most slots have one profile and one usage: they are counted together.
        let mut counted = None;
        for &(number, slot) in slots {
            let &Slot { profile, ref phase, .. } = &self.slots[slot];
            let usage = match *phase {
                SlotPhase::Allocated { allocation, secondary } => {
                    match secondary {
                        true => self.allocations.remove_secondary(allocation.id, slot),
                        false => {
                            self.allocations.note_removal(allocation.id, slot);
                            self.note_end_of_holding(slot, EndOfHolding::Lost);
                            self.note_dropped(allocation, LostSlot { number, loss });
                        }
                    }
                    SlotUsage::Allocated
                }
                SlotPhase::InFlight(attempt) => {
                    self.end_attempt(slot, attempt);
                    self.transaction.detached.push(attempt.request);
                    self.note_probe(task_manager);
                    SlotUsage::Free
                }
                SlotPhase::Detached => SlotUsage::Free,
                SlotPhase::Offered { .. }
                | SlotPhase::BackingOff { .. }
                | SlotPhase::WorkerBackoff
                | SlotPhase::Blocked => {
                    self.detach_slot(slot);
                    SlotUsage::Free
                }
            };
            self.forget_failures(slot);
            self.slots.remove(slot);
            match &mut counted {
                Some((last, count)) if *last == (profile, usage) => *count += 1,
                _ => {
                    if let Some((last, count)) = counted.replace(((profile, usage), 1)) {
                        self.uncount_slots(task_manager, last, count);
                    }
                }
            }
        }
        if let Some((last, count)) = counted {
            self.uncount_slots(task_manager, last, count);
        }
        self.allocations.remove_noted();
        self.free_slots
            .reorder(&self.slots, &self.task_managers.records, task_manager);
    }

    /// Takes removed slots of one profile and one usage out of the totals.
    fn uncount_slots(&mut self, task_manager: TaskManagerKey, (profile, usage): (ProfileKey, SlotUsage), slots: u32) {
        let is_dynamic = self.dynamic_workers.get(task_manager).is_some();
        match is_dynamic {
            true => self.slot_totals.remove_cuts(profile, usage, slots),
            false => self.slot_totals.remove_slots(profile, usage, slots),
        }
        self.profiles.release(profile, slots as usize);
        if self.is_blocked(task_manager) && !is_dynamic {
            self.blocking.slots -= slots as usize;
        }
        if usage == SlotUsage::Allocated {
            let owner = &mut self.task_managers.records[task_manager];
            owner.allocated -= slots;
            if owner.used() == 0 {
                self.transaction.task_managers.push(task_manager);
            }
        }
    }

    /// Returns `true` if a slot that becomes free may not just be offered.
    #[inline]
    pub(crate) fn may_assign_free_slot(&self) -> bool {
        !self.requests.waiting.is_empty()
            || self.blocking.is_any()
            || self.failing_workers.has_backoffs()
            || !self.allocations.secondaries().is_empty()
    }

    /// Takes a slot out of the free index, its backoff or its use.
    #[inline(never)]
    pub(crate) fn detach_slot(&mut self, slot: SlotKey) {
        self.set_slot_phase(slot, SlotPhase::Detached);
    }

    /// Gives a detached slot to the waiting request that comes first, or offers it.
    ///
    /// A slot of a blocked task manager is blocked instead. A slot of a worker that backs off backs
    /// off with it. A cut ends.
    pub(crate) fn offer(&mut self, slot: SlotKey) {
        self.offer_from(slot, SlotUsage::Free);
    }

    /// Offers a slot that nothing uses any more, but that still has this usage.
    #[inline(always)]
    pub(crate) fn offer_from(&mut self, slot: SlotKey, before: SlotUsage) {
        if self.is_cut(slot) {
            return self.end_cut(slot);
        }
        if self.blocking.is_any() && self.is_blocked(self.slots[slot].task_manager) {
            return self.set_blocked(slot);
        }
        if self.failing_workers.has_backoffs() && self.back_off_with_worker(slot) {
            return;
        }
        match self.candidate_for(slot) {
            Some(request) => self.assign(slot, request),
            None => self.offer_last(slot, before),
        }
    }

    #[cold]
    pub(crate) fn set_blocked(&mut self, slot: SlotKey) {
        self.set_slot_phase(slot, SlotPhase::Blocked);
    }

    /// Lets a slot back off with its worker. Returns `false` if the worker does not back off.
    #[cold]
    fn back_off_with_worker(&mut self, slot: SlotKey) -> bool {
        let task_manager = self.slots[slot].task_manager;
        let is_backing_off = self.failing_workers.backoff(task_manager).is_some();
        if is_backing_off {
            self.set_slot_phase(slot, SlotPhase::WorkerBackoff);
            self.note_probe(task_manager);
        }
        is_backing_off
    }
}
