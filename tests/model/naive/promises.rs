//! Which waiting requests are covered by promised slots.

use slot_manager::{AllocationId, InstanceId, ResourceProfile, WorkerRequestId};

use super::{NaiveSlotManager, Promise, Stage};

impl NaiveSlotManager {
    /// A promised slot covers the oldest uncovered request that it fits, or nothing.
    pub(super) fn cover_with(&mut self, promise: usize) {
        let profile = self.promises[promise].profile.clone();
        let uncovered = self.requests.iter_mut().filter(|it| it.is_uncovered());
        let oldest = uncovered
            .filter(|it| profile.is_matching(&it.profile))
            .min_by_key(|it| it.order);
        let covers = oldest.map(|request| {
            request.stage = Stage::Covered;
            request.allocation_id
        });
        let unbound = self.next();
        self.promises[promise].covers = covers;
        self.promises[promise].unbound = unbound;
        if covers.is_some() {
            let worker_request = self.promises[promise].worker_request;
            self.of_worker_request(worker_request, |it| it.asked_to_withdraw = false);
        }
    }

    /// Slots are promised, because a request asked or without one. The one that asked is covered first, if one fits.
    pub(super) fn promise(
        &mut self,
        worker_request: WorkerRequestId,
        profiles: &[ResourceProfile],
        asked: Option<AllocationId>,
    ) {
        let expires = self.timer(self.config.worker_registration_timeout);
        let required = asked.map(|id| self.request_mut(id).profile.clone());
        let own = required.and_then(|required| profiles.iter().position(|profile| profile.is_matching(&required)));
        let first = self.promises.len();
        for (at, profile) in profiles.iter().enumerate() {
            let promise = Promise {
                worker_request,
                profile: profile.clone(),
                expires,
                order: self.next(),
                covers: asked.filter(|_| own == Some(at)),
                unbound: 0,
                began_to_come: false,
                asked_to_withdraw: false,
            };
            self.promises.push(promise);
        }
        if let (Some(id), Some(_)) = (asked, own) {
            self.request_mut(id).stage = Stage::Covered;
        }
        for at in 0..profiles.len() {
            if own != Some(at) {
                self.cover_with(first + at);
            }
        }
    }

    /// The promised slot whose place a new free slot takes: of its own worker if it names one, else an equal one, else
    /// the oldest that it can stand for.
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

    pub(super) fn fulfil_promise(&mut self, id: InstanceId, slot: &ResourceProfile) {
        let named = self.task_manager_mut(id).worker_request;
        if let Some(promise) = self.fulfilled_by(named, slot) {
            let (order, worker_request) = (promise.order, promise.worker_request);
            self.of_worker_request(worker_request, |it| it.began_to_come = true);
            self.end_promises(|it| it.order == order);
        }
    }

    /// Returns how many slots it still promised.
    pub(super) fn end_worker_request(&mut self, id: WorkerRequestId) -> usize {
        self.end_promises(|it| it.worker_request == id)
    }

    /// What these promises covered is covered anew, the oldest first.
    pub(super) fn end_promises(&mut self, ends: impl Fn(&Promise) -> bool) -> usize {
        let (ended, kept) = std::mem::take(&mut self.promises)
            .into_iter()
            .partition::<Vec<_>, _>(ends);
        self.promises = kept;
        let mut covered: Vec<_> = ended.iter().filter_map(|it| it.covers).collect();
        covered.sort_by_key(|id| self.find_request(*id).map(|it| it.order));
        for id in &covered {
            self.request_mut(*id).stage = Stage::Unplaced;
        }
        for id in covered {
            self.wait(id);
        }
        ended.len()
    }
}
