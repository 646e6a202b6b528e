//! Grants: allocations that hold slots, and how they end.

use crate::AllocationId;
use crate::message::{Allocation, GrantLoss, RequestFailure};
use crate::outcome::FreeSlotOutcome;

use crate::slot_manager::collections::fingerprint_table::Fingerprint;
use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::effects::{LossKey, LostSlot};
use crate::slot_manager::state::slots::{SlotKey, SlotPhase};
use crate::slot_manager::state::task_managers::TaskManagerKey;
use crate::slot_manager::state::transaction::DroppedGrant;

/// Begin.
impl Core {
    /// Lets an allocation hold a slot as its grant.
    #[inline]
    pub(crate) fn set_granted(&mut self, slot: SlotKey, allocation: Allocation) {
        let secondary = false;
        self.set_slot_phase(slot, SlotPhase::Allocated { allocation, secondary });
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
                let slot_id = self.slot_id(slot);
                self.fail(request, RequestFailure::HeldByAnotherJob { slot_id, job_id });
            }
            Some(AllocationEntry::Granted(_)) => return self.set_secondary(slot, allocation),
            None => {}
        }
        self.set_granted(slot, allocation);
        self.allocations
            .insert(Fingerprint::of(&allocation.id), AllocationEntry::Granted(slot));
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
        if let SlotPhase::Allocated {
            allocation,
            secondary: true,
        } = self.slots[slot].phase
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
    fn promote_secondary(&mut self, allocation_id: AllocationId) -> Option<SlotKey> {
        let slot = self.allocations.take_oldest_secondary(allocation_id)?;
        if let SlotPhase::Allocated { secondary, .. } = &mut self.slots[slot].phase {
            *secondary = false;
        }
        self.allocations
            .insert(Fingerprint::of(&allocation_id), AllocationEntry::Granted(slot));
        Some(slot)
    }
}

/// End.
impl Core {
    /// Ends the grant of a slot, or the attempt in flight to it, because its task executor has
    /// freed it.
    pub(crate) fn freed(&mut self, slot: SlotKey, allocation_id: AllocationId) -> FreeSlotOutcome {
        use FreeSlotOutcome as Outcome;
        match self.slots[slot].phase {
            SlotPhase::Allocated { allocation, .. } if allocation.id != allocation_id => Outcome::HeldByAnother {
                allocation_id: allocation.id,
            },
            SlotPhase::Allocated { .. } => {
                self.end_grant(slot, allocation_id);
                Outcome::Freed
            }
            SlotPhase::InFlight(attempt) => {
                let wanted = self.requests.records[attempt.request].allocation_id;
                if wanted != allocation_id {
                    return Outcome::HeldByAnother { allocation_id: wanted };
                }
                // The request was served before its answer came. The free keeps a task executor
                // that sees the request only now from giving the slot again.
                self.fence_attempt(slot, attempt);
                self.complete_attempt(slot, attempt);
                self.end_grant(slot, allocation_id);
                Outcome::FreedInFlight
            }
            SlotPhase::Detached | SlotPhase::Offered { .. } | SlotPhase::BackingOff { .. } | SlotPhase::Blocked => {
                Outcome::NotAllocated
            }
        }
    }

    fn end_grant(&mut self, slot: SlotKey, allocation_id: AllocationId) {
        if self.unindex_grant(slot).is_some() {
            self.promote_secondary(allocation_id);
        }
        self.offer(slot);
    }

    /// Drops the grant of a slot and detaches the slot. The commit decides whether the grant is
    /// lost.
    pub(crate) fn drop_grant_and_detach(&mut self, slot: SlotKey, loss: GrantLoss) {
        let loss = self.note_loss(self.slots[slot].task_manager, loss);
        self.drop_grant(slot, loss);
        self.detach_slot(slot);
    }

    /// Notes a cause for losses on slots of a task manager.
    pub(crate) fn note_loss(&mut self, task_manager: TaskManagerKey, loss: GrantLoss) -> LossKey {
        let resource_id = self.task_managers.records[task_manager].resource_id.clone();
        self.effects.losses.add(resource_id, loss)
    }

    /// Drops the grant of a slot, whose phase stays. The commit decides whether the grant is lost.
    pub(crate) fn drop_grant(&mut self, slot: SlotKey, loss: LossKey) {
        if let Some(allocation) = self.unindex_grant(slot) {
            let number = self.slots[slot].number;
            self.transaction.dropped.push(DroppedGrant {
                slot: LostSlot { number, loss },
                allocation,
            });
        }
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
