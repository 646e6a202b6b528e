//! Promised slots: which request each is bound to, and how promises end.
//!
//! A bound promised slot is no reservation. It only means that no worker is requested for the
//! request.

use std::sync::Arc;

use crate::ResourceProfile;

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::profile_queues::Fitting;
use crate::slot_manager::state::promises::{PromiseKey, WorkerRequestKey, WorkerRequestNumber};
use crate::slot_manager::state::requests::{RequestKey, RequestPhase, WorkerAsk};
use crate::slot_manager::state::slots::SlotKey;

/// Binding.
impl Core {
    /// Lets a detached request wait: bound to a promised slot that fits, or unbound with a worker
    /// request due.
    pub(crate) fn enqueue(&mut self, request: RequestKey) {
        let required = self.requests.records[request].profile;
        match self.promises.take_unbound(&self.profiles, required) {
            Some(promise) => self.bind(request, promise),
            None => {
                let record = &mut self.requests.records[request];
                record.phase = RequestPhase::Unbound(WorkerAsk::Due);
                self.effects.worker_asks.push((record.sequence, request));
                self.requests
                    .unbound
                    .push(&mut self.requests.records, &self.profiles, required, request);
            }
        }
    }

    /// Binds a detached request to an unbound promised slot.
    fn bind(&mut self, request: RequestKey, promise: PromiseKey) {
        let record = &mut self.requests.records[request];
        record.phase = RequestPhase::Bound(promise);
        let profile = record.profile;
        self.requests
            .bound
            .push(&mut self.requests.records, &self.profiles, profile, request);
        self.promises.bind(promise, request);
    }

    /// Binds a promised slot that is in no queue to the oldest unbound request that it fits, or
    /// queues it as unbound.
    pub(crate) fn bind_to_oldest(&mut self, promise: PromiseKey) {
        self.promises.unbind(promise);
        let promised = &self.profiles[self.promises.records[promise].profile];
        let oldest =
            self.requests
                .unbound
                .first_fitting(&self.requests.records, &self.profiles, Fitting::Slot(promised));
        match oldest {
            Some((_, request)) => {
                self.take_unbound(request);
                self.bind(request, promise);
            }
            None => self.promises.push_unbound(&self.profiles, promise),
        }
    }

    /// Enqueues requests again, oldest first.
    fn enqueue_again(&mut self, requests: impl IntoIterator<Item = RequestKey>) {
        let mut requests: Vec<_> = requests.into_iter().collect();
        requests.sort_by_key(|request| self.requests.records[*request].sequence);
        for request in requests {
            self.enqueue(request);
        }
    }

    /// Takes an unbound request out of its queue. It is detached afterwards.
    pub(crate) fn take_unbound(&mut self, request: RequestKey) {
        let record = &mut self.requests.records[request];
        let profile = record.profile;
        let phase = std::mem::replace(&mut record.phase, RequestPhase::Detached);
        self.requests
            .unbound
            .remove(&mut self.requests.records, profile, request);
        match phase {
            RequestPhase::Unbound(WorkerAsk::Declined) => {
                self.requests.ask_retries.disarm(&mut self.requests.records, request);
            }
            RequestPhase::Unbound(WorkerAsk::Deferred) => {
                let sequence = self.requests.records[request].sequence;
                self.worker_policy.remove_deferred(sequence, request);
            }
            _ => {}
        }
    }
}

/// New promises.
impl Core {
    /// Records the slots promised for a request, and binds the request to the first that fits.
    pub(crate) fn promise_for(
        &mut self,
        request: RequestKey,
        worker_request: WorkerRequestNumber,
        promised: &[ResourceProfile],
    ) {
        let promises = self.promise(worker_request, promised);
        let required = self.requests.records[request].profile;
        let own = promises.iter().copied().find(|promise| {
            let promised = self.promises.records[*promise].profile;
            self.profiles[promised].is_matching(&self.profiles[required])
        });
        if let Some(promise) = own {
            self.take_unbound(request);
            self.bind(request, promise);
        }
        for promise in promises {
            if Some(promise) != own {
                self.bind_to_oldest(promise);
            }
        }
    }

    /// Records promised slots. They are in no queue: the caller binds each.
    pub(crate) fn promise(
        &mut self,
        worker_request: WorkerRequestNumber,
        promised: &[ResourceProfile],
    ) -> Vec<PromiseKey> {
        if promised.is_empty() {
            return Vec::new();
        }
        tracing::info!(
            worker_request = %self.worker_request_id(worker_request), slots = promised.len(), "worker promised"
        );
        let expires_at = self.deadline_in(self.config.worker_registration_timeout);
        let profiles = &mut self.profiles;
        let keys: Vec<_> = promised.iter().map(|profile| profiles.acquire(profile)).collect();
        for profile in &keys {
            self.slot_totals.add_promised(&self.profiles, *profile);
        }
        self.promises
            .insert(worker_request, expires_at, &self.profiles, keys.into_iter())
    }
}

/// Ends of promises.
impl Core {
    /// Ends the promised slot that a new free slot fulfils. Its request is enqueued again.
    pub(crate) fn fulfil_promise(&mut self, slot: SlotKey) {
        let slot = &self.slots[slot];
        let named = self.task_managers.records[slot.task_manager].worker_request;
        if let Some(promise) = self.promises.fulfilled_by(&self.profiles, slot.profile, named) {
            self.promises.begin_to_fulfil(promise);
            let request = self.end_promise(promise);
            self.enqueue_again(request);
        }
    }

    /// Ends the promises of a worker that will not come. Returns the number of slots it still
    /// promised.
    pub(crate) fn end_worker_request(&mut self, worker_request: WorkerRequestKey, cause: &Arc<str>) -> usize {
        let worker_request_id = self.worker_request_id(self.promises.worker_requests[worker_request].number);
        let promised_slots = self.forget_worker_request(worker_request);
        tracing::warn!(worker_request = %worker_request_id, promised_slots, %cause, "promised worker will not come");
        self.counters.promises_broken += 1;
        promised_slots
    }

    /// Ends the promises of a worker request and enqueues their requests again. Returns the number
    /// of promises.
    pub(crate) fn forget_worker_request(&mut self, worker_request: WorkerRequestKey) -> usize {
        self.changes += 1;
        let record = &self.promises.worker_requests[worker_request];
        let promises: Vec<_> = record.slots.iter(&self.promises.records).collect();
        let requests: Vec<_> = promises
            .iter()
            .filter_map(|promise| self.end_promise(*promise))
            .collect();
        self.enqueue_again(requests);
        promises.len()
    }

    /// Ends a promised slot. Returns the request that was bound to it, detached.
    fn end_promise(&mut self, promise: PromiseKey) -> Option<RequestKey> {
        let (profile, bound_to) = self.promises.remove(promise);
        self.slot_totals.remove_promised(profile);
        self.profiles.release(profile);
        let request = bound_to?;
        let record = &mut self.requests.records[request];
        record.phase = RequestPhase::Detached;
        let required = record.profile;
        self.requests
            .bound
            .remove(&mut self.requests.records, required, request);
        Some(request)
    }
}
