//! Unfulfillable requests, and when they fail.

use slot_manager::message::RequestFailure;
use slot_manager::{AllocationId, ResourceProfile};

use super::{NaiveSlotManager, Request, Stage};

impl NaiveSlotManager {
    /// Turns fail-fast on or off. The setting is valid before the first start too, and outlasts
    /// leaderships.
    pub(super) fn set_fail_unfulfillable(&mut self, fail: bool) {
        let changes = self.fail_unfulfillable != fail;
        self.fail_unfulfillable = fail;
        if self.begin_input().is_ok() && changes {
            self.end_input();
        }
    }

    pub(super) fn fails_unfulfillable(&self) -> bool {
        self.fail_unfulfillable && self.leader.is_some() && self.grace_period.is_none()
    }

    /// Returns `true` if a registered slot in any state, a promised slot, or the total of a dynamic
    /// worker fits. Cuts do not count.
    pub(super) fn is_served_by_a_slot(&self, required: &ResourceProfile) -> bool {
        let registered = self.static_slots().map(|slot| &slot.profile);
        let promised = self.promises.iter().map(|promise| &promise.profile);
        let promised_totals = self.promised_workers.iter().map(|it| &it.resources);
        let totals = self.task_managers.iter().filter_map(|it| it.resources.as_ref());
        let mut totals = totals.chain(promised_totals);
        registered.chain(promised).any(|profile| profile.is_matching(required))
            || totals.any(|resources| resources.could_serve(required))
    }

    /// Returns `true` if a worker could serve a request. Without a description, only a declined
    /// worker request shows that none could.
    fn may_be_served_by_a_worker(&self, request: &Request) -> bool {
        match self.config.workers {
            Some(_) => self.could_be_served_by_a_worker(&request.profile),
            None => !matches!(request.stage, Stage::Declined(_)),
        }
    }

    pub(super) fn fail_unfulfillable_requests(&mut self) {
        if !self.fails_unfulfillable() {
            return;
        }
        let unbound = self.requests.iter().filter(|it| it.is_unbound());
        let ids: Vec<_> = unbound
            .filter(|it| !self.is_served_by_a_slot(&it.profile) && !self.may_be_served_by_a_worker(it))
            .map(|it| it.allocation_id)
            .collect();
        for id in ids {
            self.fail_as_unfulfillable(id);
        }
    }

    pub(super) fn fail_as_unfulfillable(&mut self, id: AllocationId) {
        if self.request_mut(id).is_declared {
            return self.tell_unfulfillable(id);
        }
        let resource_profile = self.request_mut(id).profile.clone();
        self.fail(id, RequestFailure::Unfulfillable { resource_profile });
        self.commit();
    }
}
