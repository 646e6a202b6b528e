//! Promised slots, and which waiting requests are bound to them.

use slot_manager::outcome::WorkerFailedOutcome;
use slot_manager::{AllocationId, InstanceId, ResourceProfile, WorkerRequestId};

use super::{NaiveSlotManager, Promise, Stage};

impl NaiveSlotManager {
    /// Ends a worker request whose worker failed.
    pub(super) fn worker_failed(&mut self, worker_request: WorkerRequestId) -> WorkerFailedOutcome {
        if self.begin_input().is_err() || !self.promises.iter().any(|it| it.worker_request == worker_request) {
            return WorkerFailedOutcome::Unknown;
        }
        let promised_slots = self.end_worker_request(worker_request);
        self.end_input();
        WorkerFailedOutcome::Forgotten { promised_slots }
    }

    /// Binds a promised slot to the oldest unbound request that it fits, or leaves it unbound.
    pub(super) fn bind_to_oldest(&mut self, promise: usize) {
        let profile = self.promises[promise].profile.clone();
        let unbound = self.requests.iter_mut().filter(|it| it.is_unbound());
        let oldest = unbound
            .filter(|it| profile.is_matching(&it.profile))
            .min_by_key(|it| it.order);
        let bound_to = oldest.map(|request| {
            request.stage = Stage::Bound;
            request.allocation_id
        });
        let unbound = self.next();
        self.promises[promise].bound_to = bound_to;
        self.promises[promise].unbound_since = unbound;
        if bound_to.is_some() {
            let worker_request = self.promises[promise].worker_request;
            self.update_promises(worker_request, |it| it.withdrawal_tried = false);
        }
    }

    /// Records promised slots, with or without a request that caused them. The first fitting slot
    /// is bound to that request.
    pub(super) fn promise(
        &mut self,
        worker_request: WorkerRequestId,
        profiles: &[ResourceProfile],
        cause: Option<AllocationId>,
    ) {
        let expires = self.timer(self.config.worker_registration_timeout);
        let required = cause.map(|id| self.request_mut(id).profile.clone());
        let own = required.and_then(|required| profiles.iter().position(|profile| profile.is_matching(&required)));
        let first = self.promises.len();
        for (at, profile) in profiles.iter().enumerate() {
            let promise = Promise {
                worker_request,
                profile: profile.clone(),
                expires,
                order: self.next(),
                bound_to: cause.filter(|_| own == Some(at)),
                unbound_since: 0,
                worker_arrived: false,
                withdrawal_tried: false,
            };
            self.promises.push(promise);
        }
        if let (Some(id), Some(_)) = (cause, own) {
            self.request_mut(id).stage = Stage::Bound;
        }
        for at in 0..profiles.len() {
            if own != Some(at) {
                self.bind_to_oldest(first + at);
            }
        }
    }

    /// Returns the promised slot that a new free slot fulfils. If the worker names its worker
    /// request, only slots of that request count.
    ///
    /// An equal slot comes first, then the oldest that the new slot can replace, then the oldest of
    /// the named worker request.
    pub(super) fn fulfilled_by(&self, named: Option<WorkerRequestId>, slot: &ResourceProfile) -> Option<&Promise> {
        let candidates: Vec<_> = self
            .promises
            .iter()
            .filter(|it| named.is_none_or(|named| it.worker_request == named))
            .collect();
        let equal = candidates.iter().find(|it| it.profile == *slot);
        let smaller = candidates.iter().find(|it| slot.is_matching(&it.profile));
        let any = named.and(candidates.first());
        equal.or(smaller).or(any).copied()
    }

    /// Ends the promised slot that a new free slot fulfils.
    pub(super) fn fulfil_promise(&mut self, id: InstanceId, slot: &ResourceProfile) {
        let named = self.task_manager_mut(id).worker_request;
        if let Some(promise) = self.fulfilled_by(named, slot) {
            let (order, worker_request) = (promise.order, promise.worker_request);
            self.update_promises(worker_request, |it| it.worker_arrived = true);
            self.end_promises(|it| it.order == order);
        }
    }

    /// Ends the promised slots of a worker request. Returns their number.
    pub(super) fn end_worker_request(&mut self, id: WorkerRequestId) -> usize {
        self.end_promises(|it| it.worker_request == id)
    }

    /// Ends promised slots. The requests bound to them are enqueued again, oldest first.
    pub(super) fn end_promises(&mut self, ends: impl Fn(&Promise) -> bool) -> usize {
        let (ended, kept) = std::mem::take(&mut self.promises)
            .into_iter()
            .partition::<Vec<_>, _>(ends);
        self.promises = kept;
        let mut detached: Vec<_> = ended.iter().filter_map(|it| it.bound_to).collect();
        detached.sort_by_key(|id| self.find_request(*id).map(|it| it.order));
        for id in &detached {
            self.request_mut(*id).stage = Stage::Detached;
        }
        for id in detached {
            self.enqueue(id);
        }
        ended.len()
    }
}
