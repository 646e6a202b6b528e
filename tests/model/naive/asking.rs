//! Which requests ask for a worker, which are held back, and what the answers do.

use slot_manager::testing::Action;
use slot_manager::{
    AllocationId, RequestFailure, ResourceManagerError, ResourceProfile, WorkerPromise, WorkerRequestId,
};

use super::{NaiveSlotManager, Request, Stage};

impl NaiveSlotManager {
    /// Each request that is uncovered by now asks once; what the answers leave uncovered asks next.
    pub(super) fn ask_for_workers(&mut self) {
        let mut asks = std::mem::take(&mut self.said.asks);
        asks.sort_unstable();
        for order in asks {
            let uncovered = |it: &&Request| it.order == order && it.stage == Stage::Uncovered;
            if let Some(request) = self.requests.iter().find(uncovered).cloned() {
                self.ask_or_hold(&request);
            }
        }
    }

    fn ask_or_hold(&mut self, request: &Request) {
        let id = request.allocation_id;
        if !self.could_be_served_by_a_worker(&request.profile) {
            match self.fails_unfulfillable() && !self.is_served_by_a_slot(&request.profile) {
                true => self.fail_as_unfulfillable(id),
                false => self.request_mut(id).stage = Stage::NotServedByWorkers,
            }
        } else if self.recovery.is_some() || self.oldest_held().is_some() || !self.has_room() {
            self.request_mut(id).stage = Stage::Held;
        } else {
            self.ask_for_request(id);
        }
    }

    fn oldest_held(&self) -> Option<AllocationId> {
        let held = self.requests.iter().filter(|it| it.stage == Stage::Held);
        held.min_by_key(|it| it.order).map(|it| it.allocation_id)
    }

    /// One after the other, while there is room: what one is promised may cover others.
    pub(super) fn ask_for_held_requests(&mut self) {
        while let Some(id) = self.oldest_held() {
            if self.recovery.is_some() || !self.has_room() {
                break;
            }
            self.ask_for_request(id);
        }
    }

    fn ask_for_request(&mut self, id: AllocationId) {
        let required = self.request_mut(id).profile.clone();
        match self.ask_for_worker(&required) {
            Ok((worker_request, slots)) => self.promise(worker_request, &slots, Some(id)),
            Err(error) => {
                self.fail(id, RequestFailure::ResourceManager(error));
                return self.settle();
            }
        }
        if self.request_mut(id).stage != Stage::Covered {
            self.declined(id);
        }
    }

    fn declined(&mut self, id: AllocationId) {
        let again = self.timer(self.config.worker_registration_timeout);
        let request = self.request_mut(id);
        request.stage = Stage::Declined(again);
        let required = request.profile.clone();
        if self.worker().is_none() && self.fails_unfulfillable() && !self.is_served_by_a_slot(&required) {
            self.fail_as_unfulfillable(id);
        }
    }

    /// Asks for a worker with a slot of this profile. Returns what it will bring: nothing if it was declined, or is more
    /// than there may be.
    pub(super) fn ask_for_worker(
        &mut self,
        profile: &ResourceProfile,
    ) -> Result<(WorkerRequestId, Vec<ResourceProfile>), ResourceManagerError> {
        self.worker_requests += 1;
        let worker_request = WorkerRequestId::new(self.worker_requests);
        let ask = Action::AllocateResource {
            worker_request,
            resource_profile: profile.clone(),
        };
        self.effects.push(ask.into());
        let mut slots = match self.workers.take().result()? {
            WorkerPromise::Slots(profiles) => profiles,
            WorkerPromise::Unspecified => self.worker().unwrap_or_else(|| vec![profile.clone()]),
            _ => Vec::new(),
        };
        if self.limit_exceeded_with(&slots).is_some() {
            // Whatever is said to that, it is not waited for.
            let _: bool = self.withdraw_resource(worker_request);
            slots.clear();
        }
        Ok((worker_request, slots))
    }

    /// Returns whether the worker will not come.
    pub(super) fn withdraw_resource(&mut self, worker_request: WorkerRequestId) -> bool {
        self.effects.push(Action::WithdrawResource { worker_request }.into());
        self.withdrawals.take()
    }
}
