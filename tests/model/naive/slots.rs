//! Slots: their transitions, and which request takes a free one.

use slot_manager::SlotId;
use slot_manager::message::GrantLoss;

use super::{NaiveSlotManager, Stage, State};

impl NaiveSlotManager {
    /// Changes the state of a slot, and notes a task manager whose last used slot became free.
    pub(super) fn set_state(&mut self, slot: &SlotId, state: State) {
        let owner = self
            .task_managers
            .iter_mut()
            .find(|it| it.resource_id == *slot.resource_id());
        let owner = owner.expect("a registered task manager");
        let used = owner.used();
        let record = owner.slots.iter_mut().find(|it| it.id == *slot);
        record.expect("a registered slot").state = state;
        if used > 0 && owner.used() == 0 {
            self.transaction.unused.push(owner.instance_id);
        }
    }

    /// Gives a slot without a holder to the oldest waiting request that it fits, or offers it. A
    /// slot of a blocked worker becomes blocked.
    pub(super) fn offer(&mut self, slot: &SlotId) {
        if self.is_blocked(slot.resource_id()) {
            return self.set_state(slot, State::Blocked);
        }
        let profile = self.slot_mut(slot).profile.clone();
        let waiting = self.requests.iter().filter(|it| it.is_waiting());
        let oldest = waiting
            .filter(|it| profile.is_matching(&it.profile))
            .min_by_key(|it| it.order);
        match oldest.map(|it| it.allocation_id) {
            Some(id) => self.assign(slot, id),
            None => {
                let order = self.next();
                self.set_state(slot, State::Offered(order));
            }
        }
    }

    /// Removes a slot. The request in flight to it looks for another slot.
    pub(super) fn remove_slot(&mut self, slot: &SlotId, loss: &GrantLoss) {
        match self.slot_mut(slot).state.clone() {
            State::InFlight(id) => {
                self.request_mut(id).stage = Stage::Detached;
                self.transaction.detached.push(id);
                self.set_state(slot, State::Detached);
            }
            _ => self.drop_grant(slot, loss.clone()),
        }
        for task_manager in &mut self.task_managers {
            task_manager.slots.retain(|it| it.id != *slot);
        }
    }
}
