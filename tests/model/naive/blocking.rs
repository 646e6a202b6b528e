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
        if self.begin_input().is_err() {
            return BlockOutcome::NotStarted;
        }
        if self.is_blocked(&resource_id) {
            return BlockOutcome::AlreadyBlocked;
        }
        let free = |state: &State| matches!(state, State::Offered(_) | State::BackingOff(_) | State::WorkerBacksOff);
        for slot in self.slots_of(&resource_id, free) {
            self.set_state(&slot, State::Blocked);
        }
        // A blocked task manager is not kept for the minimum or for redundancy.
        let mut all = self.task_managers.iter();
        if let Some(kept) = all.find(|it| it.resource_id == resource_id && it.kept.is_some()) {
            self.outbox.releases.push((kept.instance_id, kept.idle_periods));
        }
        self.blocked.push(resource_id);
        self.end_input();
        BlockOutcome::Blocked
    }

    /// Unblocks a worker. Its slots become free at the commit.
    pub(super) fn unblock(&mut self, resource_id: &ResourceId) -> UnblockOutcome {
        if self.begin_input().is_err() || !self.is_blocked(resource_id) {
            return UnblockOutcome::NotBlocked;
        }
        self.blocked.retain(|it| it != resource_id);
        for slot in self.slots_of(resource_id, |state| *state == State::Blocked) {
            self.set_state(&slot, State::Detached);
            self.transaction.freed.push(slot);
        }
        self.end_input();
        UnblockOutcome::Unblocked
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
