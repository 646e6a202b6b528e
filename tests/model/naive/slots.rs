//! Who holds a slot, and to whom it goes.

use slot_manager::{AllocationId, GrantLoss, InstanceId, JobId, RequestFailure, SlotId};

use super::{Dropped, NaiveSlotManager, Stage, State};

impl NaiveSlotManager {
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

    pub(super) fn hold(&mut self, slot: &SlotId, holder: (AllocationId, JobId), beside: Option<u64>) {
        self.set_state(slot, State::Allocated { holder, beside });
        self.slot_mut(slot).failed = None;
    }

    /// A slot that nobody holds goes to the oldest waiting request, or is offered; unless its task manager is blocked.
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

    /// A task executor says who holds a slot.
    pub(super) fn adopt(&mut self, slot: &SlotId, (allocation_id, job_id): (AllocationId, JobId)) {
        if let Some(request) = self.find_request(allocation_id) {
            let own = request.job_id == job_id;
            self.withdraw(allocation_id);
            if own {
                return self.give(slot, allocation_id);
            }
            let slot_id = slot.clone();
            self.fail(allocation_id, RequestFailure::HeldByAnotherJob { slot_id, job_id });
        } else if self.grant_or_promote(allocation_id).is_some() {
            let order = self.next();
            self.hold(slot, (allocation_id, job_id), Some(order));
            return self.transaction.beside.push(slot.clone());
        }
        self.hold(slot, (allocation_id, job_id), None);
    }

    /// The grant of an allocation. If only slots beside it are left, the oldest of them is its grant from now on.
    pub(super) fn grant_or_promote(&mut self, id: AllocationId) -> Option<(SlotId, JobId)> {
        if self.grant(id).is_none() && self.find_request(id).is_none() {
            let beside = self.slots().filter_map(|slot| match slot.state {
                State::Allocated { holder, beside } if holder.0 == id => Some((beside, slot.id.clone(), holder)),
                _ => None,
            });
            if let Some((_, slot, holder)) = beside.min() {
                self.set_state(&slot, State::Allocated { holder, beside: None });
            }
        }
        self.grant(id)
    }

    /// Ends what holds a slot. Of a grant it is judged later whether it is lost.
    pub(super) fn drop_holding(&mut self, slot: &SlotId, loss: GrantLoss) {
        if let State::Allocated { holder, beside: None } = self.slot_mut(slot).state {
            let slot = slot.clone();
            self.transaction.dropped.push(Dropped { slot, holder, loss });
        }
        self.set_state(slot, State::Unplaced);
    }

    pub(super) fn remove_slot(&mut self, slot: &SlotId, loss: &GrantLoss) {
        match self.slot_mut(slot).state.clone() {
            State::InFlight(id) => {
                self.request_mut(id).stage = Stage::Unplaced;
                self.transaction.unplaced.push(id);
                self.set_state(slot, State::Unplaced);
            }
            _ => self.drop_holding(slot, loss.clone()),
        }
        for task_manager in &mut self.task_managers {
            task_manager.slots.retain(|it| it.id != *slot);
        }
    }

    pub(super) fn detach(&mut self, id: InstanceId, loss: &GrantLoss) {
        let slots: Vec<_> = self
            .task_manager_mut(id)
            .slots
            .iter()
            .map(|slot| slot.id.clone())
            .collect();
        for slot in &slots {
            self.remove_slot(slot, loss);
        }
        self.task_managers.retain(|it| it.instance_id != id);
    }
}
