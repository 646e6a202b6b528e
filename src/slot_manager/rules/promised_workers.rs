//! Promised workers from which slots will be cut: which requests are bound to their cuts, and which
//! promise a dynamic worker keeps.
//!
//! A cut of a promised worker is no reservation. When the worker registers, its cuts end, and what it
//! has goes to the waiting requests that come first.

use crate::DynamicResources;

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::dynamic_workers::WorkerShape;
use crate::slot_manager::state::promises::{PromiseKey, WorkerRequestKey, WorkerRequestNumber};
use crate::slot_manager::state::requests::{RequestKey, RequestPhase};
use crate::slot_manager::state::task_managers::TaskManagerKey;

/// Promises and cuts.
impl Core {
    /// Records the worker promised for a request, and binds the request to a cut if one fits.
    pub(crate) fn promise_worker_for(
        &mut self,
        request: RequestKey,
        number: WorkerRequestNumber,
        resources: &DynamicResources,
    ) {
        let worker_request = self.promise_worker(number, resources);
        let required = &self.profiles[self.requests.records[request].profile];
        let fitting = self.promises.fitting_of(worker_request);
        if fitting.is_some_and(|fitting| fitting.fits(required)) {
            self.bind_to_cut(request, worker_request);
        }
        self.bind_rest_of_worker(worker_request);
    }

    /// Records a promised worker. The caller binds what it has to requests.
    pub(crate) fn promise_worker(
        &mut self,
        number: WorkerRequestNumber,
        resources: &DynamicResources,
    ) -> WorkerRequestKey {
        tracing::info!(
            worker_request = %self.worker_request_id(number), total = %resources.total(), "dynamic worker promised"
        );
        let expires_at = self.deadline_in(self.config.worker_registration_timeout);
        let shape = WorkerShape {
            total: self.profiles.acquire(resources.total(), 1),
            default_slot: resources.default_slot().map(|slot| self.profiles.acquire(slot, 1)),
        };
        let quantity = self.quantity_of_shape(shape);
        self.promises
            .insert_worker(number, expires_at, &self.profiles, shape, quantity)
    }

    /// Binds what remains of a promised worker: to the oldest unbound request that it fits, again and
    /// again, until it fits none.
    pub(crate) fn bind_rest_of_worker(&mut self, worker_request: WorkerRequestKey) {
        while let Some(fitting) = self.promises.fitting_of(worker_request) {
            let Some(request) = self.requests.waiting.oldest_unbound(&self.profiles, fitting) else {
                return;
            };
            self.bind_to_cut(request, worker_request);
        }
    }

    /// Binds what remains of the promised workers whose cuts ended, oldest first.
    pub(super) fn bind_promised_workers(&mut self) {
        let mut grown = std::mem::take(&mut self.transaction.grown_promises);
        grown.sort_unstable();
        for number in grown.drain(..) {
            if let Some(worker_request) = self.promises.find(number) {
                self.bind_rest_of_worker(worker_request);
            }
        }
        self.transaction.grown_promises = grown;
    }

    /// Binds an unbound request to a cut of a promised worker that fits it.
    pub(super) fn bind_to_cut(&mut self, request: RequestKey, worker_request: WorkerRequestKey) {
        self.take_unbound(request);
        let required = self.requests.records[request].profile;
        let cut = self
            .promises
            .bind_cut(&self.profiles, worker_request, request, required);
        let Some((promise, profile)) = cut else {
            debug_assert!(false, "the worker request has a promised worker");
            return;
        };
        self.profiles.share(profile);
        self.requests.records[request].phase = RequestPhase::Bound(promise);
        self.push_waiting(request);
    }

    /// Ends a cut whose request needs no promise any more. The commit binds what remains of the
    /// worker.
    pub(super) fn end_promised_cut(&mut self, promise: PromiseKey) {
        let worker_request = self.promises.records[promise].worker_request;
        let number = self.promises.worker_requests[worker_request].number;
        let (profile, _) = self.promises.remove(&self.profiles, promise);
        self.profiles.release(profile, 1);
        self.transaction.grown_promises.push(number);
    }

    /// Ends a promised worker of this shape. It has no cuts.
    pub(super) fn end_promised_worker(&mut self, worker_request: WorkerRequestKey, shape: WorkerShape) {
        let quantity = self.quantity_of_shape(shape);
        self.promises.remove_worker(worker_request, quantity);
        self.profiles.release(shape.total, 1);
        if let Some(default_slot) = shape.default_slot {
            self.profiles.release(default_slot, 1);
        }
    }
}

/// Registrations.
impl Core {
    /// Ends the promises that a new registration of a dynamic worker keeps: those of the worker
    /// request that it names.
    ///
    /// A newcomer that names none keeps those of one worker request, the first of:
    ///
    /// 1. That of the promised worker most like it.
    /// 2. That of the promised slot most like its total.
    /// 3. The oldest with a promised slot without a bound request.
    /// 4. The oldest promised worker without cuts.
    pub(crate) fn fulfil_promises_of_worker(&mut self, task_manager: TaskManagerKey, is_newcomer: bool) {
        if self.promises.is_empty() {
            return;
        }
        self.transaction.has_newcomer |= is_newcomer;
        self.fulfil_promises(task_manager, Vec::new());
        let named = self.task_managers.records[task_manager].worker_request;
        if named.is_some_and(|named| named.has_come) || !is_newcomer {
            return;
        }
        let Some(total) = self.dynamic_workers.get(task_manager).map(|worker| worker.shape.total) else {
            return;
        };
        let promises = &self.promises;
        if let Some(worker_request) = promises.worker_most_alike(&self.profiles, &self.profiles[total]) {
            return self.fulfil_promised_worker(worker_request);
        }
        let alike = promises.most_alike(&self.profiles, total);
        if let Some(promise) = alike.or_else(|| promises.oldest_without_request()) {
            self.note_fulfilled(promise);
            self.forget_worker_request(self.promises.records[promise].worker_request);
        } else if let Some(worker_request) = promises.oldest_worker_without_cuts() {
            self.fulfil_promised_worker(worker_request);
        }
    }

    /// Ends the promise of a worker in whose place another has come.
    fn fulfil_promised_worker(&mut self, worker_request: WorkerRequestKey) {
        let number = self
            .promises
            .note_worker_fulfilled_by_other(&self.profiles, worker_request);
        self.transaction.fulfilled.extend(number);
        self.forget_worker_request(worker_request);
    }
}
