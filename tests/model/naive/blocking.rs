//! Blocked workers, whose free slots are not offered.

use slot_manager::outcome::{BlockOutcome, UnblockOutcome};
use slot_manager::{ResourceId, SlotId};

use super::{NaiveSlotManager, State};

impl NaiveSlotManager {
    pub(super) fn is_blocked(&self, resource_id: &ResourceId) -> bool {
        self.blocked.contains(resource_id)
    }

    /// Blocks a worker. It need not be registered.
    pub(super) fn block(&mut self, resource_id: ResourceId) -> BlockOutcome {
        let is_leading = self.begin_input().is_ok();
        if self.is_blocked(&resource_id) {
            return BlockOutcome::AlreadyBlocked;
        }
        self.blocked.push(resource_id.clone());
        self.apply_or_note(resource_id, is_leading);
        BlockOutcome::Blocked
    }

    /// Unblocks a worker.
    pub(super) fn unblock(&mut self, resource_id: &ResourceId) -> UnblockOutcome {
        let is_leading = self.begin_input().is_ok();
        if !self.is_blocked(resource_id) {
            return UnblockOutcome::NotBlocked;
        }
        self.blocked.retain(|it| it != resource_id);
        self.apply_or_note(resource_id.clone(), is_leading);
        UnblockOutcome::Unblocked
    }

    /// Applies a block or an unblock. After the end of the leadership it waits.
    fn apply_or_note(&mut self, resource_id: ResourceId, is_leading: bool) {
        if is_leading {
            self.apply_block(&resource_id);
            self.end_input();
        } else if self.is_started() {
            self.unapplied_blocks.push(resource_id);
        }
    }

    /// Applies the blocks that came after the end of the leadership, by name.
    pub(super) fn apply_unapplied_blocks(&mut self) {
        let mut unapplied = std::mem::take(&mut self.unapplied_blocks);
        unapplied.sort();
        for resource_id in unapplied {
            self.apply_block(&resource_id);
        }
    }

    /// Withholds the slots of a worker that is blocked, or frees those of one that is not. Those
    /// become free at the commit.
    fn apply_block(&mut self, resource_id: &ResourceId) {
        if !self.is_blocked(resource_id) {
            for slot in self.slots_of(resource_id, |state| *state == State::Blocked) {
                self.set_state(&slot, State::Detached);
                self.transaction.freed.push(slot);
            }
            let owner = self.task_managers.iter().find(|it| it.resource_id == *resource_id);
            if let Some(id) = owner.map(|it| it.instance_id) {
                self.note_worker(id);
            }
            return;
        }
        let owner = self.task_managers.iter().find(|it| it.resource_id == *resource_id);
        if let Some(id) = owner.map(|it| it.instance_id) {
            self.end_earmark_on(id);
        }
        let free = |state: &State| matches!(state, State::Offered(_) | State::BackingOff(_) | State::WorkerBacksOff);
        for slot in self.slots_of(resource_id, free) {
            self.set_state(&slot, State::Blocked);
        }
        // A blocked task manager is not kept for the minimum or for redundancy.
        let mut all = self.task_managers.iter();
        if let Some(kept) = all.find(|it| it.resource_id == *resource_id && it.kept.is_some()) {
            self.outbox.releases.push((kept.instance_id, kept.idle_periods));
        }
    }

    /// Returns the slots of a worker in certain states.
    fn slots_of(&self, resource_id: &ResourceId, is: impl Fn(&State) -> bool) -> Vec<SlotId> {
        let slots = self.slots().filter(|slot| slot.id.resource_id() == resource_id);
        slots
            .filter(|slot| is(&slot.state))
            .map(|slot| slot.id.clone())
            .collect()
    }

    /// Returns the blocked workers.
    pub(crate) fn blocked_workers(&self) -> &[ResourceId] {
        &self.blocked
    }
}
