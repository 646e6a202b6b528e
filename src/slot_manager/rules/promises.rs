//! Which waiting requests are covered by promised slots, and which need a worker to be asked for.

use std::sync::Arc;

use crate::{ResourceProfile, WorkerRequestId};

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::profile_queues::Fitting;
use crate::slot_manager::state::promises::{PromiseKey, WorkerRequestKey};
use crate::slot_manager::state::requests::{RequestKey, RequestPhase, WorkerAsk};
use crate::slot_manager::state::slots::SlotKey;

impl Core {
    /// Lets an detached request that no offered slot fits wait: covered by a promised slot, else a worker is to be
    /// asked for.
    pub(crate) fn enqueue(&mut self, request: RequestKey) {
        let required = self.requests.records[request].profile;
        match self.promised_slots.take_unbound(&self.profiles, required) {
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

    /// Covers an detached request with a promised slot that covers nothing.
    fn bind(&mut self, request: RequestKey, promise: PromiseKey) {
        let record = &mut self.requests.records[request];
        record.phase = RequestPhase::Bound(promise);
        let profile = record.profile;
        self.requests
            .bound
            .push(&mut self.requests.records, &self.profiles, profile, request);
        self.promised_slots.bind(promise, request);
    }

    /// Lets a promised slot that is in no queue of such slots cover the oldest uncovered request that it fits, if there
    /// is one.
    pub(crate) fn bind_to_oldest(&mut self, promise: PromiseKey) {
        self.promised_slots.unbind(promise);
        let promised = &self.profiles[self.promised_slots.records[promise].profile];
        let oldest =
            self.requests
                .unbound
                .first_fitting(&self.requests.records, &self.profiles, Fitting::Slot(promised));
        match oldest {
            Some((_, request)) => {
                self.take_unbound(request);
                self.bind(request, promise);
            }
            None => self.promised_slots.push_unbound(&self.profiles, promise),
        }
    }

    /// Takes an uncovered request out of its queue; it is detached afterwards.
    pub(crate) fn take_unbound(&mut self, request: RequestKey) {
        let record = &mut self.requests.records[request];
        let profile = record.profile;
        let state = std::mem::replace(&mut record.phase, RequestPhase::Detached);
        self.requests
            .unbound
            .remove(&mut self.requests.records, profile, request);
        match state {
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

    /// Takes note of a promised worker, for a request that was asked for.
    pub(crate) fn promise_for(
        &mut self,
        request: RequestKey,
        worker_request: WorkerRequestId,
        promised: &[ResourceProfile],
    ) {
        let promises = self.promise(worker_request, promised);
        let required = self.requests.records[request].profile;
        let own = promises.iter().copied().find(|promise| {
            let promised = self.promised_slots.records[*promise].profile;
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

    /// Takes note of a promised worker. Its slots are in no queue of promised slots that cover nothing.
    pub(crate) fn promise(&mut self, worker_request: WorkerRequestId, promised: &[ResourceProfile]) -> Vec<PromiseKey> {
        if promised.is_empty() {
            return Vec::new();
        }
        tracing::info!(%worker_request, slots = promised.len(), "worker promised");
        let expires_at = self.deadline_in(self.config.worker_registration_timeout);
        let profiles = &mut self.profiles;
        let keys: Vec<_> = promised.iter().map(|profile| profiles.acquire(profile)).collect();
        for profile in &keys {
            self.slot_totals.add_promised(&self.profiles, *profile);
        }
        self.promised_slots
            .insert(worker_request, expires_at, &self.profiles, keys.into_iter())
    }

    /// Lets a newly known free slot take the place of the promised slot it fulfils; the request that was covered by it
    /// is covered anew.
    pub(crate) fn fulfil_promise(&mut self, slot: SlotKey) {
        let slot = &self.slots[slot];
        let named = self.task_managers.records[slot.task_manager].worker_request;
        if let Some(promise) = self.promised_slots.fulfilled_by(&self.profiles, slot.profile, named) {
            self.promised_slots.begin_to_fulfil(promise);
            let covered = self.end_promise(promise);
            self.bind_anew(covered);
        }
    }

    /// Ends all that is left of a worker request that will not come, and covers anew what it covered. Returns how many
    /// slots it still promised.
    pub(crate) fn end_worker_request(&mut self, worker_request: WorkerRequestKey, cause: &Arc<str>) -> usize {
        let worker_request_id = self.promised_slots.worker_requests[worker_request].id;
        let promised_slots = self.forget_worker_request(worker_request);
        tracing::warn!(worker_request = %worker_request_id, promised_slots, %cause, "promised worker will not come");
        self.counters.promises_broken += 1;
        promised_slots
    }

    /// Ends all that is left of a worker request, and covers anew what it covered. Returns how many slots that were.
    pub(crate) fn forget_worker_request(&mut self, worker_request: WorkerRequestKey) -> usize {
        let record = &self.promised_slots.worker_requests[worker_request];
        let promises: Vec<_> = record.slots.iter(&self.promised_slots.records).collect();
        let covered: Vec<_> = promises
            .iter()
            .filter_map(|promise| self.end_promise(*promise))
            .collect();
        self.bind_anew(covered);
        promises.len()
    }

    /// Ends a promised slot. The request it covered is detached afterwards.
    fn end_promise(&mut self, promise: PromiseKey) -> Option<RequestKey> {
        let (profile, covered) = self.promised_slots.remove(promise);
        self.slot_totals.remove_promised(profile);
        self.profiles.release(profile);
        let request = covered?;
        let record = &mut self.requests.records[request];
        record.phase = RequestPhase::Detached;
        let required = record.profile;
        self.requests
            .bound
            .remove(&mut self.requests.records, required, request);
        Some(request)
    }

    fn bind_anew(&mut self, requests: impl IntoIterator<Item = RequestKey>) {
        let mut requests: Vec<_> = requests.into_iter().collect();
        requests.sort_by_key(|request| self.requests.records[*request].sequence);
        for request in requests {
            self.enqueue(request);
        }
    }
}
