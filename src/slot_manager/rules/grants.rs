//! Who holds a slot: what a task executor says of it, and what is taken away.

use crate::{AllocationId, FreeSlotOutcome, GrantLoss, JobId, RequestFailure};

use crate::slot_manager::collections::fingerprint_table::Fingerprint;
use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::effects::{LossKey, LostSlot};
use crate::slot_manager::state::slots::{SlotKey, SlotPhase};
use crate::slot_manager::state::task_managers::TaskManagerKey;
use crate::slot_manager::state::transaction::DroppedGrant;

impl Core {
    /// Arena that a slot is deferred by an allocation. Whatever deferred it, or was in flight to it, has been dealt with.
    pub(crate) fn adopt(&mut self, slot: SlotKey, allocation_id: AllocationId, job_id: JobId) {
        let mut secondary = false;
        match self.find_or_promote(allocation_id) {
            Some(AllocationEntry::Pending(request)) => {
                self.withdraw(request);
                if self.requests.records[request].job_id == job_id {
                    self.grant(slot, request);
                    return;
                }
                let slot_id = self.slot_id(slot);
                self.fail(request, RequestFailure::HeldByAnotherJob { slot_id, job_id });
            }
            Some(AllocationEntry::Granted(_)) => secondary = true,
            None => {}
        }
        self.set_slot_phase(
            slot,
            SlotPhase::Allocated {
                allocation_id,
                job_id,
                secondary,
            },
        );
        self.forget_failures(slot);
        if secondary {
            self.allocations.add_secondary(allocation_id, slot);
            self.transaction.secondaries.push(slot);
        } else {
            self.allocations
                .insert(Fingerprint::of(&allocation_id), AllocationEntry::Granted(slot));
        }
    }

    /// Asks the task executor to free a slot if it holds an allocation which is granted on another.
    pub(crate) fn free_if_secondary(&mut self, slot: SlotKey) {
        if let SlotPhase::Allocated {
            allocation_id,
            job_id,
            secondary: true,
        } = self.slots[slot].phase
        {
            tracing::warn!(slot_id = %self.slot_id(slot), %allocation_id, "a second slot holds the allocation");
            self.ask_to_free(slot, allocation_id, job_id, self.attempts);
        }
    }

    /// Ends what holds a slot; whether a grant is lost by that is judged later. The slot is detached afterwards.
    pub(crate) fn drop_grant_and_detach(&mut self, slot: SlotKey, loss: GrantLoss) {
        let loss = self.note_loss(self.slots[slot].task_manager, loss);
        self.drop_grant(slot, loss);
        self.detach_slot(slot);
    }

    /// Notes how grants on slots of a task manager are dropped.
    pub(crate) fn note_loss(&mut self, task_manager: TaskManagerKey, loss: GrantLoss) -> LossKey {
        let resource_id = self.task_managers.records[task_manager].resource_id.clone();
        self.effects.losses.add(resource_id, loss)
    }

    /// Ends what holds a slot in the index of allocations only, and notes a grant that may be lost by that.
    pub(crate) fn drop_grant(&mut self, slot: SlotKey, loss: LossKey) {
        if let Some((allocation_id, job_id)) = self.unindex_grant(slot) {
            let number = self.slots[slot].number;
            self.transaction.dropped.push(DroppedGrant {
                slot: LostSlot { number, loss },
                allocation_id,
                job_id,
            });
        }
    }

    /// Takes what holds a slot out of the index of allocations. Returns it if it was granted there.
    fn unindex_grant(&mut self, slot: SlotKey) -> Option<(AllocationId, JobId)> {
        let SlotPhase::Allocated {
            allocation_id,
            job_id,
            secondary,
        } = self.slots[slot].phase
        else {
            return None;
        };
        if secondary {
            self.allocations.remove_secondary(allocation_id, slot);
            return None;
        }
        self.allocations.remove(allocation_id, AllocationEntry::Granted(slot));
        Some((allocation_id, job_id))
    }

    /// Where an allocation is. If nothing has it any more but slots beside its grant, the oldest of them is its grant.
    pub(crate) fn find_or_promote(&mut self, allocation_id: AllocationId) -> Option<AllocationEntry> {
        self.find_allocation(allocation_id).or_else(|| {
            let slot = self.promote_secondary(allocation_id)?;
            Some(AllocationEntry::Granted(slot))
        })
    }

    /// Lets the oldest other slot that holds an allocation take the place of its grant.
    fn promote_secondary(&mut self, allocation_id: AllocationId) -> Option<SlotKey> {
        let slot = self.allocations.take_oldest_secondary(allocation_id)?;
        if let SlotPhase::Allocated { secondary, .. } = &mut self.slots[slot].phase {
            *secondary = false;
        }
        self.allocations
            .insert(Fingerprint::of(&allocation_id), AllocationEntry::Granted(slot));
        Some(slot)
    }

    /// Ends a grant, or a request in flight, because its task executor says that the slot is free (or the job gave it
    /// back).
    pub(crate) fn freed(&mut self, slot: SlotKey, allocation_id: AllocationId) -> FreeSlotOutcome {
        use FreeSlotOutcome as Outcome;
        match self.slots[slot].phase {
            SlotPhase::Allocated {
                allocation_id: holder, ..
            } if holder != allocation_id => Outcome::HeldByAnother { allocation_id: holder },
            SlotPhase::Allocated { .. } => {
                self.end_grant(slot, allocation_id);
                Outcome::Freed
            }
            SlotPhase::InFlight(attempt) => {
                let wanted = self.requests.records[attempt.request].allocation_id;
                if wanted != allocation_id {
                    return Outcome::HeldByAnother { allocation_id: wanted };
                }
                // It was served before its answer came. Should the task executor see the request only now, it is not to
                // keep the slot for it.
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
        self.commit();
    }

    /// Forgets a task manager and its slots. Attempts in flight to it are given up, its grants dropped for `loss`.
    pub(crate) fn detach_task_manager(&mut self, task_manager: TaskManagerKey, loss: GrantLoss) {
        let loss = self.note_loss(task_manager, loss);
        let slots = std::mem::take(&mut self.task_managers.records[task_manager].slots);
        let deferred = slots.iter().filter_map(|(_, slot)| self.slots[*slot].holder());
        self.allocations
            .prefetch(deferred.map(|(allocation_id, _)| allocation_id));
        for (_, slot) in slots {
            self.remove_slot(slot, loss);
        }
        self.end_idle_period(task_manager);
        self.blocking.task_managers.remove(&task_manager);
        self.task_managers.remove(task_manager);
    }

    /// Forgets a task manager that is being stopped because nothing uses its slots.
    pub(crate) fn forget_idle_task_manager(&mut self, task_manager: TaskManagerKey) {
        // It holds nothing, so nothing is lost by it.
        self.detach_task_manager(task_manager, GrantLoss::SlotRemoved);
        debug_assert!(self.transaction.dropped.is_empty());
    }
}
