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
    }

    pub(super) fn promise(
        &mut self,
        worker_request: WorkerRequestId,
        profiles: &[ResourceProfile],
        asked: AllocationId,
    ) {
        let expires = self.timer(self.config.worker_registration_timeout);
        let required = self.request_mut(asked).profile.clone();
        let own = profiles.iter().position(|profile| profile.is_matching(&required));
        let first = self.promises.len();
        for (at, profile) in profiles.iter().enumerate() {
            let promise = Promise {
                worker_request,
                profile: profile.clone(),
                expires,
                order: self.next(),
                covers: (own == Some(at)).then_some(asked),
                unbound: 0,
            };
            self.promises.push(promise);
        }
        if own.is_some() {
            self.request_mut(asked).stage = Stage::Covered;
        }
        for at in 0..profiles.len() {
            if own != Some(at) {
                self.cover_with(first + at);
            }
        }
    }

    /// A new free slot takes the place of a promised one: of its own worker if it names one, else an equal one, else
    /// the oldest that it can stand for.
    pub(super) fn fulfil_promise(&mut self, id: InstanceId, slot: &ResourceProfile) {
        let named = self.task_manager_mut(id).worker_request;
        let candidates: Vec<_> = self
            .promises
            .iter()
            .filter(|it| named.is_none_or(|named| it.worker_request == named))
            .collect();
        let equal = candidates.iter().find(|it| it.profile == *slot);
        let smaller = candidates.iter().find(|it| slot.is_matching(&it.profile));
        let any = named.and(candidates.first());
        if let Some(promise) = equal.or(smaller).or(any) {
            let order = promise.order;
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
