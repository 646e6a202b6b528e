//! Blocking and unblocking workers.

use crate::ResourceId;
use crate::outcome::{BlockOutcome, UnblockOutcome};

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::slots::{SlotKey, SlotPhase};
use crate::slot_manager::state::task_managers::TaskManagerKey;

impl Core {
    #[inline]
    pub(crate) fn is_blocked(&self, task_manager: TaskManagerKey) -> bool {
        self.blocking.is_blocked(task_manager)
    }

    /// Blocks a worker: its free slots are not offered, now and in future.
    pub(crate) fn block(&mut self, resource_id: &ResourceId) -> BlockOutcome {
        if !self.blocking.workers.insert(resource_id.clone()) {
            return BlockOutcome::AlreadyBlocked;
        }
        tracing::info!(%resource_id, "worker blocked");
        self.apply_block_now_or_later(resource_id);
        BlockOutcome::Blocked
    }

    /// Unblocks a worker: its free slots are offered again.
    pub(crate) fn unblock(&mut self, resource_id: &ResourceId) -> UnblockOutcome {
        if !self.blocking.workers.remove(resource_id) {
            return UnblockOutcome::NotBlocked;
        }
        tracing::info!(%resource_id, "worker unblocked");
        self.apply_block_now_or_later(resource_id);
        UnblockOutcome::Unblocked
    }

    /// Applies a decision of an operator. After the end of the leadership it waits for a renewal,
    /// because slots that are offered or withheld have effects outside.
    fn apply_block_now_or_later(&mut self, resource_id: &ResourceId) {
        if self.is_leading() {
            self.apply_block(resource_id);
        } else if self.leader_id.is_some() {
            self.blocking.unapplied.insert(resource_id.clone());
        }
    }

    /// Applies the decisions that operators took after the end of the leadership.
    pub(crate) fn apply_unapplied_blocks(&mut self) {
        for resource_id in std::mem::take(&mut self.blocking.unapplied) {
            self.apply_block(&resource_id);
        }
    }

    /// Offers or withholds the free slots of a worker, as an operator decided last.
    fn apply_block(&mut self, resource_id: &ResourceId) {
        let Some(task_manager) = self.task_managers.by_resource(resource_id) else {
            return;
        };
        let is_blocked = self.blocking.workers.contains(resource_id);
        match is_blocked {
            _ if is_blocked == self.is_blocked(task_manager) => {}
            true => self.withhold_slots(task_manager),
            false => self.offer_withheld_slots(task_manager),
        }
    }

    fn withhold_slots(&mut self, task_manager: TaskManagerKey) {
        self.blocking.task_managers.insert(task_manager);
        self.blocking.slots += self.counted_slots(task_manager);
        self.withdraw_worker(task_manager);
        for slot in self.slots_of(task_manager) {
            if let SlotPhase::Offered { .. } | SlotPhase::BackingOff { .. } | SlotPhase::WorkerBackoff =
                self.slots[slot].phase
            {
                self.set_slot_phase(slot, SlotPhase::Blocked);
            }
        }
        if self.releases.is_kept(task_manager) {
            // The minimum and redundancy do not need it any more.
            self.note_release(task_manager, false);
        }
    }

    fn offer_withheld_slots(&mut self, task_manager: TaskManagerKey) {
        self.blocking.task_managers.remove(&task_manager);
        self.blocking.slots -= self.counted_slots(task_manager);
        for slot in self.slots_of(task_manager) {
            if let SlotPhase::Blocked = self.slots[slot].phase {
                self.detach_slot(slot);
                self.transaction.free.push(slot);
            }
        }
        self.note_offer(task_manager);
    }

    /// Returns the slots of a task manager, by number.
    pub(crate) fn slots_of(&self, task_manager: TaskManagerKey) -> Vec<SlotKey> {
        let slots = &self.task_managers.records[task_manager].slots;
        slots.iter().map(|(_, slot)| *slot).collect()
    }
}
