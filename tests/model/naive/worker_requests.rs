//! Worker requests: which requests make one, which are deferred, and the effect of each answer.

use slot_manager::error::ResourceManagerError;
use slot_manager::message::{RequestFailure, WithdrawResource, WithdrawalCause, WorkerPromise};
use slot_manager::testing::Action;
use slot_manager::{AllocationId, ResourceProfile, WorkerRequestId};

use super::dynamic_workers::Resources;
use super::promised_workers::Promised;
use super::{NaiveSlotManager, Request, Stage};

impl NaiveSlotManager {
    /// Makes the worker request of each request that needs one, oldest first.
    pub(super) fn request_workers(&mut self) {
        let mut orders = std::mem::take(&mut self.outbox.worker_requests);
        orders.sort_unstable();
        for order in orders {
            let needs_worker = |it: &&Request| it.order == order && it.stage == Stage::NeedsWorker;
            if let Some(request) = self.requests.iter().find(needs_worker).cloned() {
                self.request_or_defer(&request);
            }
        }
    }

    /// Makes or defers the worker request of a request, or fails the request as unfulfillable.
    fn request_or_defer(&mut self, request: &Request) {
        let id = request.allocation_id;
        if !self.could_be_served_by_a_worker(&request.profile) {
            self.request_mut(id).stage = Stage::NotServedByWorkers;
            if self.fails_unfulfillable() && !self.is_served_by_a_slot(&request.profile) {
                self.fail_as_unfulfillable(id);
            }
        } else if self.asks_are_deferred() || self.oldest_deferred().is_some() || !self.has_room() {
            self.request_mut(id).stage = Stage::Deferred;
        } else {
            self.request_worker_for(id);
        }
    }

    /// Returns `true` if no worker may be requested, whether or not there is room.
    pub(super) fn asks_are_deferred(&self) -> bool {
        self.recovery.is_some() || self.start_backs_off()
    }

    pub(super) fn has_deferred(&self) -> bool {
        self.oldest_deferred().is_some()
    }

    fn oldest_deferred(&self) -> Option<AllocationId> {
        let deferred = self.requests.iter().filter(|it| it.stage == Stage::Deferred);
        deferred.min_by_key(|it| it.order).map(|it| it.allocation_id)
    }

    /// Makes deferred worker requests one by one within the limits. The slots of each promise may
    /// serve further requests.
    pub(super) fn request_deferred_workers(&mut self) {
        while let Some(id) = self.oldest_deferred() {
            if self.asks_are_deferred() || !self.has_room() {
                break;
            }
            self.request_worker_for(id);
        }
    }

    fn request_worker_for(&mut self, id: AllocationId) {
        let required = self.request_mut(id).profile.clone();
        match self.request_worker(&required) {
            Ok((worker_request, promised)) => self.promise(worker_request, promised, Some(id)),
            Err(_) if self.request_mut(id).is_declared => {}
            Err(error) => {
                self.fail(id, RequestFailure::ResourceManager(error));
                return self.commit();
            }
        }
        if self.request_mut(id).stage != Stage::Bound {
            self.declined(id);
        }
    }

    /// Arms the repetition of a declined worker request.
    fn declined(&mut self, id: AllocationId) {
        let retry = self.timer(self.config.worker_registration_timeout);
        let request = self.request_mut(id);
        request.stage = Stage::Declined(retry);
        let required = request.profile.clone();
        if self.worker().is_none() && self.fails_unfulfillable() && !self.is_served_by_a_slot(&required) {
            self.fail_as_unfulfillable(id);
        }
    }

    /// Requests a worker with a slot of this profile. Returns the promise: no slots if the worker was
    /// declined or exceeds a limit.
    pub(super) fn request_worker(
        &mut self,
        profile: &ResourceProfile,
    ) -> Result<(WorkerRequestId, Promised), ResourceManagerError> {
        self.worker_requests += 1;
        let worker_request = WorkerRequestId::new(self.leader.expect("started"), self.worker_requests);
        let action = Action::AllocateResource {
            worker_request,
            resource_profile: profile.clone(),
        };
        self.effects.push(action.into());
        let answer = self.workers.take().result();
        if answer.is_err() {
            self.start_failed(worker_request);
        }
        let mut promised = match answer? {
            WorkerPromise::Slots(profiles) => Promised::Slots(profiles),
            WorkerPromise::Total(resources) => Promised::Worker(Box::new(Resources::reported(0, &resources, &[]))),
            WorkerPromise::Unspecified => self.worker().unwrap_or_else(|| Promised::Slots(vec![profile.clone()])),
            _ => Promised::Slots(Vec::new()),
        };
        if let Some(limit) = self.limit_exceeded_with(promised.quantity()) {
            // The promise is dropped, even if the withdrawal is too late.
            let _: bool = self.withdraw_resource(worker_request, WithdrawalCause::LimitReached { limit });
            promised = Promised::Slots(Vec::new());
        }
        Ok((worker_request, promised))
    }

    /// Returns the number of the last worker request.
    pub(crate) fn worker_requests(&self) -> u64 {
        self.worker_requests
    }

    /// Withdraws a worker. Returns `false` if it is too late.
    pub(super) fn withdraw_resource(&mut self, worker_request: WorkerRequestId, cause: WithdrawalCause) -> bool {
        let withdraw = WithdrawResource { worker_request, cause };
        self.effects.push(Action::WithdrawResource(withdraw).into());
        self.withdrawals.take()
    }
}
