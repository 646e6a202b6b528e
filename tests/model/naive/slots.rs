//! Slots: their transitions, and which request takes a free one.

use slot_manager::SlotId;
use slot_manager::message::GrantLoss;

use super::{NaiveSlotManager, Stage, State};

impl NaiveSlotManager {
    /// Changes the state of a slot. Notes a task manager whose last used slot became free, and a
    /// worker whose attempt ended or that has a further slot for a probe.
    pub(super) fn set_state(&mut self, slot: &SlotId, state: State) {
        let owner = self
            .task_managers
            .iter_mut()
            .find(|it| it.resource_id == *slot.resource_id());
        let owner = owner.expect("a registered task manager");
        let used = owner.used();
        let record = owner.slots.iter_mut().find(|it| it.id == *slot);
        let record = record.expect("a registered slot");
        if matches!(record.state, State::InFlight(_)) || state == State::WorkerBacksOff {
            self.transaction.probes.push(owner.instance_id);
        }
        record.state = state;
        if used > 0 && owner.used() == 0 {
            self.transaction.unused.push(owner.instance_id);
        }
    }

    /// Gives a slot without a holder to the best candidate that it fits, or offers it. Slots of
    /// blocked and of failing workers are not offered.
    pub(super) fn offer(&mut self, slot: &SlotId) {
        let owner = self.owner(slot).expect("a registered slot");
        if self.is_blocked(slot.resource_id()) {
            return self.set_state(slot, State::Blocked);
        }
        if self.is_failing(owner.instance_id) {
            return self.set_state(slot, State::WorkerBacksOff);
        }
        let profile = &self.find_slot(slot).expect("a registered slot").profile;
        let mut candidates = self.candidates(owner).into_iter();
        let best = candidates.find(|it| profile.is_matching(&it.profile) && !self.is_held_back(it, owner));
        match best.map(|it| it.allocation_id) {
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
