//! Grants: allocations that hold slots, and how they end.

use crate::message::{Allocation, GrantLoss, RequestFailure, SlotFreed};
use crate::outcome::SlotFreedOutcome;
use crate::{AllocationId, InstanceId};

use crate::slot_manager::rules::requirements::EndOfHolding;
use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::notifications::{LossKey, LostSlot};
use crate::slot_manager::state::slot_totals::SlotUsage;
use crate::slot_manager::state::slots::{Attempt, SlotKey, SlotPhase};
use crate::slot_manager::state::task_managers::TaskManagerKey;
use crate::slot_manager::state::transaction::DroppedGrant;

/// Begin.
impl Core {
    /// Lets an allocation hold a slot as its grant.
    #[inline(always)]
    pub(crate) fn set_granted(&mut self, slot: SlotKey, allocation: Allocation) {
        let secondary = false;
        // Nearly always in flight. Its own phase value is written to the record at once.
        if let SlotPhase::InFlight(_) = self.slots[slot].phase {
            let phase = SlotPhase::Allocated { allocation, secondary };
            self.change_slot_phase(slot, SlotUsage::InFlight, phase);
        } else {
            self.set_slot_phase(slot, SlotPhase::Allocated { allocation, secondary });
        }
        self.forget_failures(slot);
    }

    /// Records that a task executor says which allocation holds a slot. Nothing else holds it or is
    /// in flight to it.
    ///
    /// A pending request of the allocation is granted. If the allocation is granted on another
    /// slot, this one is secondary.
    pub(crate) fn adopt(&mut self, slot: SlotKey, allocation: Allocation) {
        match self.find_or_promote(allocation.id) {
            Some(AllocationEntry::Pending(request)) => {
                self.withdraw(request);
                let job_id = allocation.job;
                if self.requests.records[request].job_id == job_id {
                    return self.grant(slot, request);
                }
                match self.requests.records[request].is_declared {
                    true => self.renew_unit(request),
                    false => {
                        let slot_id = self.slot_id(slot);
                        self.fail(request, RequestFailure::HeldByAnotherJob { slot_id, job_id });
                    }
                }
            }
            Some(AllocationEntry::Granted(_)) => return self.set_secondary(slot, allocation),
            None => {}
        }
        self.set_granted(slot, allocation);
        self.note_holding(slot, allocation.job, None);
        self.allocations.insert(
            self.allocations.fingerprint(allocation.id),
            AllocationEntry::Granted(slot),
        );
    }

    fn set_secondary(&mut self, slot: SlotKey, allocation: Allocation) {
        let secondary = true;
        self.set_slot_phase(slot, SlotPhase::Allocated { allocation, secondary });
        self.forget_failures(slot);
        self.allocations.add_secondary(allocation.id, slot);
        self.transaction.secondaries.push(slot);
    }

    /// Asks the task executor to free a slot whose allocation is granted on another slot.
    pub(crate) fn free_if_secondary(&mut self, slot: SlotKey) {
        // A cut may have ended since it was noted.
        if let Some(&SlotPhase::Allocated {
            allocation,
            secondary: true,
        }) = self.slots.get(slot).map(|slot| &slot.phase)
        {
            let allocation_id = allocation.id;
            tracing::warn!(slot_id = %self.slot_id(slot), %allocation_id, "a second slot holds the allocation");
            self.ask_to_free(slot, allocation, self.attempts);
        }
    }
}

/// Two slots with one allocation.
impl Core {
    /// Returns the request or slot of an allocation. Without either, its oldest secondary slot
    /// becomes its grant.
    pub(crate) fn find_or_promote(&mut self, allocation_id: AllocationId) -> Option<AllocationEntry> {
        self.find_allocation(allocation_id).or_else(|| {
            let slot = self.promote_secondary(allocation_id)?;
            Some(AllocationEntry::Granted(slot))
        })
    }

    /// Makes the oldest secondary slot of an allocation its grant.
    #[inline]
    fn promote_secondary(&mut self, allocation_id: AllocationId) -> Option<SlotKey> {
        if self.allocations.secondaries().is_empty() {
            return None;
        }
        self.promote_oldest_secondary(allocation_id)
    }

    #[cold]
    fn promote_oldest_secondary(&mut self, allocation_id: AllocationId) -> Option<SlotKey> {
        let slot = self.allocations.take_oldest_secondary(allocation_id)?;
        if let SlotPhase::Allocated { secondary, allocation } = &mut self.slots[slot].phase {
            *secondary = false;
            let job_id = allocation.job;
            self.note_holding(slot, job_id, None);
        }
        self.allocations.insert(
            self.allocations.fingerprint(allocation_id),
            AllocationEntry::Granted(slot),
        );
        Some(slot)
    }
}

/// End.
impl Core {
    /// Ends a grant and offers its slot, or what remains of its dynamic worker, if that is all that the
    /// news of a freed slot does. Returns `false`, without a change, if it is not.
    #[inline(always)]
    pub(crate) fn free_at_once(&mut self, freed: &SlotFreed) -> bool {
        if self.may_assign_free_slot() {
            return false;
        }
        let allocation_id = freed.allocation_id();
        let (requests, slots) = (&self.requests.records, &self.slots);
        let found = self.allocations.find_place(allocation_id, requests, slots);
        let Some((AllocationEntry::Granted(slot), place)) = found else {
            return false;
        };
        if self.ledger.is_on() && self.is_held_by_declaring_job(slot) {
            return false;
        }
        let record = &self.slots[slot];
        let (task_manager, profile, is_cut) = (record.task_manager, record.profile, record.is_cut());
        let owner = &mut self.task_managers.records[task_manager];
        if record.number != freed.slot_id().slot_number() || owner.resource_id != *freed.slot_id().resource_id() {
            return false;
        }
        match freed.revision() {
            Some((instance_id, revision)) => {
                if owner.instance_id != instance_id || owner.reported_revision().is_some_and(|it| it >= revision) {
                    return false;
                }
                owner.see_revision(revision);
            }
            None => self.recent_frees.note(slot, allocation_id),
        }
        self.note_end_of_holding(slot, EndOfHolding::Freed);
        self.allocations.remove_at(place);
        match is_cut {
            true => self.end_cut(slot),
            false => self.offer_last_of(task_manager, profile, slot, SlotUsage::Allocated),
        }
        // Without another used slot, an idle period begins. Nothing else is left for the commit.
        if self.transaction.task_managers.pop().is_some() {
            self.update_idle_period(task_manager);
        }
        true
    }

    /// Applies the news that a task executor has freed a slot.
    pub(crate) fn freed(&mut self, slot: SlotKey, freed: &SlotFreed) -> SlotFreedOutcome {
        use SlotFreedOutcome as Outcome;
        let allocation_id = freed.allocation_id();
        if let Some((instance_id, revision)) = freed.revision() {
            if self.is_outdated(slot, instance_id, revision) {
                return Outcome::Outdated;
            }
            // Even if the manager knew already: an older report would give the slot back.
            self.see_revision(slot, Some(revision));
            self.changes += 1;
            return self.end_holding(slot, freed);
        }
        let outcome = self.end_holding(slot, freed);
        if let Outcome::Freed | Outcome::FreedInFlight = outcome {
            self.recent_frees.note(slot, allocation_id);
        }
        outcome
    }

    /// Returns `true` if a message about a freed slot is of another registration, or if a report
    /// that was applied shows the slot after it was freed.
    ///
    /// While the slot is in flight, such a report was no news about the attempt.
    fn is_outdated(&self, slot: SlotKey, instance_id: InstanceId, revision: u64) -> bool {
        let slot = &self.slots[slot];
        let owner = &self.task_managers.records[slot.task_manager];
        let is_reported = owner.reported_revision().is_some_and(|reported| reported >= revision);
        owner.instance_id != instance_id || (is_reported && !matches!(slot.phase, SlotPhase::InFlight(_)))
    }

    /// Ends the grant of a slot, or the attempt in flight to it, if this allocation has it.
    fn end_holding(&mut self, slot: SlotKey, freed: &SlotFreed) -> SlotFreedOutcome {
        use SlotFreedOutcome as Outcome;
        let allocation_id = freed.allocation_id();
        match self.slots[slot].phase {
            SlotPhase::Allocated { allocation, .. } if allocation.id != allocation_id => Outcome::HeldByAnother {
                allocation_id: allocation.id,
            },
            SlotPhase::Allocated { .. } => {
                self.end_grant(slot, allocation_id);
                Outcome::Freed
            }
            SlotPhase::InFlight(attempt) => self.end_holding_in_flight(slot, attempt, freed),
            SlotPhase::Detached
            | SlotPhase::Offered { .. }
            | SlotPhase::BackingOff { .. }
            | SlotPhase::WorkerBackoff
            | SlotPhase::Blocked => Outcome::NotAllocated,
        }
    }

    /// Ends the attempt in flight to a slot, if it is for this allocation.
    #[cold]
    fn end_holding_in_flight(&mut self, slot: SlotKey, attempt: Attempt, freed: &SlotFreed) -> SlotFreedOutcome {
        use SlotFreedOutcome as Outcome;
        let allocation_id = freed.allocation_id();
        let wanted = self.requests.records[attempt.request].allocation_id;
        if wanted != allocation_id {
            return Outcome::HeldByAnother { allocation_id: wanted };
        }
        if freed.attempt().is_some_and(|freed| freed < attempt.number) {
            // The allocation held the slot before. The attempt in flight goes on.
            return Outcome::Outdated;
        }
        // The request was served before its answer came. The free keeps a task executor that sees
        // the request only now from giving the slot again.
        self.fence_attempt(slot, attempt);
        self.complete_attempt(slot, attempt);
        self.end_grant(slot, allocation_id);
        Outcome::FreedInFlight
    }

    fn end_grant(&mut self, slot: SlotKey, allocation_id: AllocationId) {
        if self.unindex_grant(slot).is_some() {
            self.note_end_of_holding(slot, EndOfHolding::Freed);
            self.promote_secondary(allocation_id);
        }
        if self.ledger.is_on() {
            // The commit first withdraws units that are not needed any more. Then it offers this slot
            // before those that an acknowledgement has set free.
            self.detach_slot(slot);
            return self.transaction.free.insert(0, slot);
        }
        self.offer_from(slot, SlotUsage::Allocated);
    }

    /// Drops the grant of a slot and detaches the slot. The commit decides whether the grant is
    /// lost.
    pub(crate) fn drop_grant_and_detach(&mut self, slot: SlotKey, loss: GrantLoss) {
        let end = match loss {
            GrantLoss::ReportedFree => EndOfHolding::Freed,
            _ => EndOfHolding::Lost,
        };
        let loss = self.note_loss(self.slots[slot].task_manager, loss);
        self.drop_grant(slot, loss, end);
        self.detach_slot(slot);
    }

    /// Notes a cause for losses on slots of a task manager.
    pub(crate) fn note_loss(&mut self, task_manager: TaskManagerKey, loss: GrantLoss) -> LossKey {
        let resource_id = self.task_managers.records[task_manager].resource_id.clone();
        self.effects.notifications.add_loss(resource_id, loss)
    }

    /// Drops the grant of a slot, whose phase stays. The commit decides whether the grant is lost.
    pub(crate) fn drop_grant(&mut self, slot: SlotKey, loss: LossKey, end: EndOfHolding) {
        let record = &self.slots[slot];
        if let SlotPhase::Allocated { allocation, secondary } = record.phase {
            let number = record.number;
            if secondary {
                return self.allocations.remove_secondary(allocation.id, slot);
            }
            self.allocations.remove(allocation.id, AllocationEntry::Granted(slot));
            self.note_end_of_holding(slot, end);
            self.note_dropped(allocation, LostSlot { number, loss });
        }
    }

    /// Notes a grant that is not in the index any more. The commit decides whether it is lost.
    #[inline]
    pub(crate) fn note_dropped(&mut self, allocation: Allocation, slot: LostSlot) {
        self.transaction.dropped.push(DroppedGrant { slot, allocation });
    }

    /// Removes the holder of a slot from the index of allocations. Returns it if this slot was its
    /// grant.
    fn unindex_grant(&mut self, slot: SlotKey) -> Option<Allocation> {
        let SlotPhase::Allocated { allocation, secondary } = self.slots[slot].phase else {
            return None;
        };
        if secondary {
            self.allocations.remove_secondary(allocation.id, slot);
            return None;
        }
        self.allocations.remove(allocation.id, AllocationEntry::Granted(slot));
        Some(allocation)
    }
}
