//! Which waiting requests are covered by promised slots, and which need a worker to be asked for.

use std::sync::Arc;

use crate::{RequestFailure, ResourceManagerError, ResourceProfile, WorkerPromise, WorkerRequestId};

use crate::slot_manager::core::Core;
use crate::slot_manager::pending_requests::{Ask, RequestKey, RequestState};
use crate::slot_manager::profiles::{Fitting, ProfileKey};
use crate::slot_manager::promised_slots::{PromiseKey, WorkerRequestKey};
use crate::slot_manager::slots::SlotKey;

impl Core {
    /// Lets an unplaced request that no offered slot fits wait: covered by a promised slot, else a worker is to be
    /// asked for.
    pub(crate) fn wait(&mut self, request: RequestKey) {
        let required = self.requests.records[request].profile;
        match self.promised_slots.take_unbound(&self.profiles, required) {
            Some(promise) => self.cover(request, promise),
            None => {
                let record = &mut self.requests.records[request];
                record.state = RequestState::Uncovered(Ask::Due);
                self.effects.asks.push((record.sequence, request));
                self.requests
                    .uncovered
                    .push(&mut self.requests.records, &self.profiles, required, request);
            }
        }
    }

    /// Covers an unplaced request with a promised slot that covers nothing.
    fn cover(&mut self, request: RequestKey, promise: PromiseKey) {
        let record = &mut self.requests.records[request];
        record.state = RequestState::Covered(promise);
        let profile = record.profile;
        self.requests
            .covered
            .push(&mut self.requests.records, &self.profiles, profile, request);
        self.promised_slots.records[promise].covers = Some(request);
    }

    /// Lets a promised slot that is in no queue of such slots cover the oldest uncovered request that it fits, if there
    /// is one.
    pub(crate) fn cover_with(&mut self, promise: PromiseKey) {
        self.promised_slots.records[promise].covers = None;
        let promised = &self.profiles[self.promised_slots.records[promise].profile];
        let oldest =
            self.requests
                .uncovered
                .first_fitting(&self.requests.records, &self.profiles, Fitting::Slot(promised));
        match oldest {
            Some((_, request)) => {
                self.take_uncovered(request);
                self.cover(request, promise);
            }
            None => self.promised_slots.push_unbound(&self.profiles, promise),
        }
    }

    /// Takes an uncovered request out of its queue; it is unplaced afterwards.
    pub(crate) fn take_uncovered(&mut self, request: RequestKey) {
        let record = &mut self.requests.records[request];
        let profile = record.profile;
        let state = std::mem::replace(&mut record.state, RequestState::Unplaced);
        self.requests
            .uncovered
            .remove(&mut self.requests.records, profile, request);
        if state == RequestState::Uncovered(Ask::Declined) {
            self.requests.ask_repeats.disarm(&mut self.requests.records, request);
        }
    }

    /// Begins to ask for a worker, if the request noted in the effects still needs one.
    pub(crate) fn begin_ask(&mut self, sequence: u64, request: RequestKey) -> Option<(WorkerRequestId, ProfileKey)> {
        let record = self.requests.records.get(request)?;
        if record.sequence != sequence || record.state != RequestState::Uncovered(Ask::Due) {
            return None;
        }
        self.worker_requests += 1;
        Some((WorkerRequestId::new(self.worker_requests), record.profile))
    }

    /// Applies the answer to the ask for a worker.
    pub(crate) fn apply_promise(
        &mut self,
        request: RequestKey,
        worker_request: WorkerRequestId,
        answer: Result<WorkerPromise, ResourceManagerError>,
    ) {
        match answer {
            Ok(WorkerPromise::Slots(profiles)) => self.promise(request, worker_request, &profiles),
            Ok(WorkerPromise::Unspecified) => {
                let asked = self.profiles[self.requests.records[request].profile].clone();
                self.promise(request, worker_request, &[asked]);
            }
            Ok(WorkerPromise::Declined) => {}
            Err(error) => {
                self.fail(request, RequestFailure::ResourceManager(error));
                self.settle();
                return;
            }
        }
        self.decline_if_uncovered(request);
    }

    fn promise(&mut self, request: RequestKey, worker_request: WorkerRequestId, promised: &[ResourceProfile]) {
        if promised.is_empty() {
            return;
        }
        tracing::info!(%worker_request, slots = promised.len(), "worker promised");
        let expires_at = self.deadline_in(self.config.worker_registration_timeout);
        let profiles = &mut self.profiles;
        let keys: Vec<_> = promised.iter().map(|profile| profiles.acquire(profile)).collect();
        let promises = self
            .promised_slots
            .insert(worker_request, expires_at, &self.profiles, keys.into_iter());
        let required = self.requests.records[request].profile;
        let own = promises.iter().copied().find(|promise| {
            let promised = self.promised_slots.records[*promise].profile;
            self.profiles[promised].is_matching(&self.profiles[required])
        });
        if let Some(promise) = own {
            self.take_uncovered(request);
            self.cover(request, promise);
        }
        for promise in promises {
            if Some(promise) != own {
                self.cover_with(promise);
            }
        }
    }

    /// A request that is still uncovered after its ask waits for registered slots, and asks again later.
    fn decline_if_uncovered(&mut self, request: RequestKey) {
        let timer = self.deadline_in(self.config.worker_registration_timeout);
        let record = &mut self.requests.records[request];
        if record.state == RequestState::Uncovered(Ask::Due) {
            record.state = RequestState::Uncovered(Ask::Declined);
            record.timer = timer;
            self.requests.ask_repeats.arm(&mut self.requests.records, request);
        }
    }

    /// Lets a declined request ask again.
    pub(crate) fn repeat_ask(&mut self, request: RequestKey) {
        self.take_uncovered(request);
        self.wait(request);
    }

    /// Lets a newly known free slot take the place of the promised slot it fulfils; the request that was covered by it
    /// is covered anew.
    pub(crate) fn fulfil_promise(&mut self, slot: SlotKey) {
        let slot = &self.slots[slot];
        let named = self.task_managers.records[slot.task_manager].worker_request;
        if let Some(promise) = self.promised_slots.fulfilled_by(&self.profiles, slot.profile, named) {
            let covered = self.end_promise(promise);
            self.cover_anew(covered);
        }
    }

    /// Ends all that is left of a worker request, and covers anew what it covered. Returns how many slots it still
    /// promised.
    pub(crate) fn end_worker_request(&mut self, worker_request: WorkerRequestKey, cause: &Arc<str>) -> usize {
        let record = &self.promised_slots.worker_requests[worker_request];
        let id = record.id;
        let promises: Vec<_> = record.slots.iter(&self.promised_slots.records).collect();
        tracing::warn!(worker_request = %id, promised_slots = promises.len(), %cause, "promised worker will not come");
        let covered: Vec<_> = promises
            .iter()
            .filter_map(|promise| self.end_promise(*promise))
            .collect();
        self.cover_anew(covered);
        promises.len()
    }

    /// Ends a promised slot. The request it covered is unplaced afterwards.
    fn end_promise(&mut self, promise: PromiseKey) -> Option<RequestKey> {
        let (profile, covered) = self.promised_slots.remove(promise);
        self.profiles.release(profile);
        let request = covered?;
        let record = &mut self.requests.records[request];
        record.state = RequestState::Unplaced;
        let required = record.profile;
        self.requests
            .covered
            .remove(&mut self.requests.records, required, request);
        Some(request)
    }

    fn cover_anew(&mut self, requests: impl IntoIterator<Item = RequestKey>) {
        let mut requests: Vec<_> = requests.into_iter().collect();
        requests.sort_by_key(|request| self.requests.records[*request].sequence);
        for request in requests {
            self.wait(request);
        }
    }
}
