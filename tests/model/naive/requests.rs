//! Where a request is, from its registration to its end.

use slot_manager::testing::Action;
use slot_manager::{AllocationFailureCause, AllocationId, RequestFailure, SlotId};

use super::{Expected, NaiveSlotManager, Stage, State};

impl NaiveSlotManager {
    /// A request that is nowhere takes a free slot, or waits.
    pub(super) fn seek(&mut self, id: AllocationId) {
        let required = self.request_mut(id).profile.clone();
        match self.best_offered(&required) {
            Some(slot) => self.assign(&slot, id),
            None => self.wait(id),
        }
    }

    pub(super) fn assign(&mut self, slot: &SlotId, id: AllocationId) {
        self.unplace(id);
        self.attempts += 1;
        let attempt = self.attempts;
        self.set_state(slot, State::InFlight(id));
        let request = self.request_mut(id);
        request.stage = Stage::InFlight {
            slot: slot.clone(),
            attempt,
            answer: Expected::NotAsked,
        };
        let order = request.order;
        self.said.slot_requests.push((order, attempt));
    }

    /// A request that is nowhere, and that no offered slot fits.
    pub(super) fn wait(&mut self, id: AllocationId) {
        let required = self.request_mut(id).profile.clone();
        let unbound = self.promises.iter_mut().filter(|it| it.covers.is_none());
        let fitting = unbound.filter(|it| it.profile.is_matching(&required));
        match fitting.min_by_key(|it| it.unbound) {
            Some(promise) => {
                promise.covers = Some(id);
                let worker_request = promise.worker_request;
                self.request_mut(id).stage = Stage::Covered;
                self.of_worker_request(worker_request, |it| it.asked_to_withdraw = false);
            }
            None => {
                let request = self.request_mut(id);
                request.stage = Stage::Uncovered;
                let order = request.order;
                self.said.asks.push(order);
            }
        }
    }

    /// Takes a request from where it waits or pauses. An attempt is not touched.
    pub(super) fn unplace(&mut self, id: AllocationId) {
        let request = self.request_mut(id);
        let was_covered = request.stage == Stage::Covered;
        if !matches!(request.stage, Stage::InFlight { .. }) {
            request.stage = Stage::Unplaced;
        }
        if was_covered {
            let promise = self.promises.iter().position(|it| it.covers == Some(id));
            self.cover_with(promise.expect("what covers the request"));
        }
    }

    /// Takes a request from wherever it is. The slot of an attempt is given back.
    pub(super) fn withdraw(&mut self, id: AllocationId) {
        match self.request_mut(id).stage.clone() {
            Stage::InFlight { slot, .. } => {
                self.fence(id);
                self.set_state(&slot, State::Unplaced);
                self.request_mut(id).stage = Stage::Unplaced;
                self.transaction.freed.push(slot);
            }
            _ => self.unplace(id),
        }
    }

    pub(super) fn remove_request(&mut self, id: AllocationId) {
        self.withdraw(id);
        self.requests.retain(|it| it.allocation_id != id);
    }

    pub(super) fn fail(&mut self, id: AllocationId, failure: RequestFailure) {
        let job_id = self.request_mut(id).job_id;
        self.remove_request(id);
        match &mut self.said.registering {
            Some((registering, result)) if *registering == id => *result = Some(Err(failure)),
            _ => {
                let action = Action::NotifyAllocationFailure {
                    job_id,
                    allocation_id: id,
                    cause: AllocationFailureCause::RequestFailed(failure),
                };
                self.said.notifications.push((None, action));
            }
        }
    }

    /// A slot that nobody holds becomes the grant of a pending request.
    pub(super) fn give(&mut self, slot: &SlotId, id: AllocationId) {
        let job_id = self.request_mut(id).job_id;
        self.requests.retain(|it| it.allocation_id != id);
        self.hold(slot, (id, job_id), None);
        if let Some((registering, result)) = &mut self.said.registering {
            if *registering == id {
                *result = Some(Ok(slot.clone()));
            }
        }
        let action = Action::NotifySlotAllocated {
            job_id,
            allocation_id: id,
            slot_id: slot.clone(),
        };
        self.said.notifications.push((Some(slot.clone()), action));
    }
}
