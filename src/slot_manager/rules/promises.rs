//! Promised slots: which request each is bound to, and how promises end.
//!
//! A bound promised slot is no reservation. It only means that no worker is requested for the
//! request.

use std::sync::Arc;

use crate::ResourceProfile;
use crate::message::{WithdrawResource, WithdrawalCause};

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::profile_queues::Fitting;
use crate::slot_manager::state::promises::{PromiseKey, WorkerRequestKey, WorkerRequestNumber};
use crate::slot_manager::state::requests::{RequestKey, RequestPhase, WorkerAsk};
use crate::slot_manager::state::slots::SlotKey;
use crate::slot_manager::state::task_managers::{NamedWorkerRequest, TaskManagerKey};

/// Binding.
impl Core {
    /// Lets a detached request wait, unbound. The commit binds it to a promised slot that fits, or
    /// makes its worker request due.
    pub(crate) fn enqueue(&mut self, request: RequestKey) {
        let sequence = self.enqueue_unasked(request);
        // Without promised slots there is nothing to bind.
        match self.promises.is_empty() {
            true => self.effects.worker_asks.push((sequence, request)),
            false => self.transaction.unbound.push((sequence, request)),
        }
    }

    /// Lets a detached request wait, unbound. The caller makes its worker request. Returns its
    /// sequence number.
    #[inline(always)]
    pub(crate) fn enqueue_unasked(&mut self, request: RequestKey) -> u64 {
        let record = &mut self.requests.records[request];
        record.phase = RequestPhase::Unbound(WorkerAsk::Due);
        let sequence = record.sequence;
        self.push_waiting(request);
        sequence
    }

    /// Unbinds a promised slot. The commit binds it again, or queues it as unbound. A cut ends: the
    /// commit binds what remains of its worker.
    pub(crate) fn free_promise(&mut self, promise: PromiseKey) {
        if self.promises.is_cut(promise) {
            return self.end_promised_cut(promise);
        }
        self.promises.unbind(promise);
        let sequence = self.promises.records[promise].sequence;
        self.transaction.freed_promises.push((sequence, promise));
    }

    /// Ends promises that exceed the limits with a newcomer, and binds promised slots. The commit
    /// calls it when slots are offered.
    pub(crate) fn commit_promises(&mut self) {
        self.transaction.unpromised_slots.clear();
        if std::mem::take(&mut self.transaction.has_newcomer) {
            self.end_rest_of_promise();
            self.end_promises_beyond_limits();
        }
        self.transaction.fulfilled.clear();
        self.bind_promises();
    }

    /// Ends the rest of the promise that an unnamed newcomer has fulfilled in part.
    ///
    /// A newcomer that fulfils promised slots stands for one worker request. If it completes none,
    /// it stands for the oldest, and the slots that it did not bring are requested again.
    fn end_rest_of_promise(&mut self) {
        let fulfilled = &self.transaction.fulfilled;
        let mut open = fulfilled.iter().map(|number| self.promises.find(*number));
        if open.any(|open| open.is_none()) {
            return;
        }
        let oldest = fulfilled.iter().min().copied();
        if let Some(worker_request) = oldest.and_then(|number| self.promises.find(number)) {
            let promised_slots = self.forget_worker_request(worker_request);
            tracing::info!(promised_slots, "a worker brought fewer slots than promised");
        }
    }

    /// Notes that an unnamed worker fulfils a promised slot.
    pub(super) fn note_fulfilled(&mut self, promise: PromiseKey) {
        let number = self.promises.note_fulfilled_by_other(&self.profiles, promise);
        self.transaction.fulfilled.push(number);
    }

    /// Binds promised slots to requests.
    ///
    /// 1. Each freed promised slot is bound to the oldest unbound request that it fits, or queued.
    /// 2. What remains of promised workers whose cuts ended is bound in the same way, oldest first.
    /// 3. Each request that became unbound, oldest first, is bound to the promised slot that has
    ///    been unbound longest and fits. Without one, it is bound to a cut of the oldest promised
    ///    worker that fits. Without that, its worker request is due.
    fn bind_promises(&mut self) {
        let mut freed = std::mem::take(&mut self.transaction.freed_promises);
        for (sequence, promise) in freed.drain(..) {
            if self.promises.is_freed(sequence, promise) {
                self.bind_to_oldest(promise);
            }
        }
        self.transaction.freed_promises = freed;
        self.bind_promised_workers();
        let mut unbound = std::mem::take(&mut self.transaction.unbound);
        unbound.sort_unstable();
        for (sequence, request) in unbound.drain(..) {
            if self.is_worker_due(sequence, request) {
                self.bind_or_request_worker(sequence, request);
            }
        }
        self.transaction.unbound = unbound;
    }

    /// Binds an unbound request to a promised slot that fits, or makes its worker request due.
    fn bind_or_request_worker(&mut self, sequence: u64, request: RequestKey) {
        let required = self.requests.records[request].profile;
        if let Some(promise) = self.promises.take_unbound(&self.profiles, required) {
            self.take_unbound(request);
            self.bind(request, promise);
        } else if let Some(worker_request) = self.promises.oldest_worker_for(&self.profiles, required) {
            self.bind_to_cut(request, worker_request);
        } else {
            self.effects.worker_asks.push((sequence, request));
        }
    }

    /// Returns `true` if a request is still unbound and its worker request was not made yet.
    #[inline]
    pub(crate) fn is_worker_due(&self, sequence: u64, request: RequestKey) -> bool {
        let record = self.requests.records.get(request);
        record
            .is_some_and(|record| record.sequence == sequence && record.phase == RequestPhase::Unbound(WorkerAsk::Due))
    }

    /// Binds a detached request to an unbound promised slot.
    fn bind(&mut self, request: RequestKey, promise: PromiseKey) {
        self.requests.records[request].phase = RequestPhase::Bound(promise);
        self.push_waiting(request);
        self.promises.bind(promise, request);
    }

    /// Binds a promised slot that is in no queue to the oldest unbound request that it fits, or
    /// queues it as unbound.
    pub(crate) fn bind_to_oldest(&mut self, promise: PromiseKey) {
        let promised = Fitting::Slot(&self.profiles[self.promises.records[promise].profile]);
        match self.requests.waiting.oldest_unbound(&self.profiles, promised) {
            Some(request) => {
                self.take_unbound(request);
                self.bind(request, promise);
            }
            None => self.promises.push_unbound(&self.profiles, promise),
        }
    }

    /// Takes an unbound request out of its queue. It is detached afterwards.
    #[inline(always)]
    pub(crate) fn take_unbound(&mut self, request: RequestKey) {
        self.remove_waiting(request);
        let phase = std::mem::replace(&mut self.requests.records[request].phase, RequestPhase::Detached);
        match phase {
            RequestPhase::Unbound(WorkerAsk::Declined) => self.requests.disarm_ask_retry(request),
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
        let keys: Vec<_> = promised.iter().map(|profile| profiles.acquire(profile, 1)).collect();
        for profile in &keys {
            self.slot_totals.add_promised(&self.profiles, *profile);
        }
        self.promises
            .insert(worker_request, expires_at, &self.profiles, keys.into_iter())
    }
}

/// Ends of promises.
impl Core {
    /// Ends the promises that the new slots of a task manager fulfil. `new_free` are its new free
    /// slots.
    ///
    /// - The first slots of a worker that names an open worker request end its whole promise, also
    ///   the slots that it did not bring. Its slots fulfil no other promise.
    /// - So do those of a worker whose worker request other workers have fulfilled: they end the
    ///   oldest promise of the same shape.
    /// - Each new free slot of another worker fulfils one promised slot.
    pub(crate) fn fulfil_promises(&mut self, task_manager: TaskManagerKey, new_free: Vec<SlotKey>) {
        let Some(named) = self.task_managers.records[task_manager].worker_request else {
            return new_free.into_iter().for_each(|slot| self.fulfil_promise(slot));
        };
        if named.has_come {
            return;
        }
        let Some(worker_request) = self.promises.stands_for(&self.profiles, named.number) else {
            return new_free.into_iter().for_each(|slot| self.fulfil_promise(slot));
        };
        self.task_managers.records[task_manager].worker_request = Some(NamedWorkerRequest {
            has_come: true,
            ..named
        });
        self.promises.note_standing_for(named.number, worker_request);
        self.forget_worker_request(worker_request);
    }

    /// Ends the promised slot that a new free slot fulfils. That is the promised slot most like the
    /// new one, else the oldest without a bound request.
    fn fulfil_promise(&mut self, slot: SlotKey) {
        if let Some(promise) = self.promises.most_alike(&self.profiles, self.slots[slot].profile) {
            self.note_fulfilled(promise);
            if let Some(request) = self.end_promise(promise) {
                self.enqueue(request);
            }
        } else if let Some(promise) = self.promises.oldest_without_request() {
            // The shape says nothing about its worker: while a request is bound to another slot of
            // that worker, the rest of the promise stays.
            let worker_request = self.promises.records[promise].worker_request;
            match self.promises.has_bound_request(worker_request) {
                true => self.promises.begin_to_fulfil(worker_request),
                false => self.note_fulfilled(promise),
            }
            self.end_promise(promise);
        } else {
            self.transaction.unpromised_slots.insert(slot);
        }
    }

    /// Ends the promised slot of a bound request that a new slot serves, if the slot has fulfilled
    /// no other.
    #[inline]
    pub(crate) fn fulfil_promise_of(&mut self, request: RequestKey, slot: SlotKey) {
        if self.transaction.unpromised_slots.is_empty() || !self.transaction.unpromised_slots.remove(&slot) {
            return;
        }
        match self.requests.records[request].phase {
            // The slot says nothing about a promised worker from which slots will be cut.
            RequestPhase::Bound(promise) if !self.promises.is_cut(promise) => {
                self.note_fulfilled(promise);
                self.end_promise(promise);
            }
            _ => {}
        }
    }

    /// Ends the promises of a worker that did not register in time, and asks to withdraw it.
    pub(crate) fn expire_worker_request(&mut self, worker_request: WorkerRequestKey) {
        let number = self.promises.worker_requests[worker_request].number;
        self.effects.withdrawals.push(WithdrawResource {
            worker_request: self.worker_request_id(number),
            cause: WithdrawalCause::RegistrationTimeout,
        });
        self.end_worker_request(worker_request, &"it did not register in time".into());
    }

    /// Ends the promise that a task manager without slots keeps, because its registration ends.
    pub(crate) fn end_expected_worker(&mut self, task_manager: TaskManagerKey) {
        let expected = self.task_managers.records[task_manager].expected_worker_request();
        if let Some(worker_request) = expected.and_then(|number| self.promises.find(number)) {
            self.end_worker_request(worker_request, &"it was lost before it had slots".into());
        }
    }

    /// Ends the promises of a worker that will not come. Returns the number of slots it still
    /// promised. It is a failed start, unless the worker was to be withdrawn.
    pub(crate) fn end_worker_request(&mut self, worker_request: WorkerRequestKey, cause: &Arc<str>) -> usize {
        let number = self.promises.worker_requests[worker_request].number;
        let has_failed = !self.promises.is_withdrawal_requested(worker_request);
        let promised_slots = self.forget_worker_request(worker_request);
        let worker_request = self.worker_request_id(number);
        tracing::warn!(%worker_request, promised_slots, %cause, "promised worker will not come");
        self.counters.promises_broken += 1;
        if has_failed {
            self.note_failed_start(number);
        }
        promised_slots
    }

    /// Ends promises until a newcomer and they are within the limits, and asks to withdraw their
    /// workers. Promises without a bound request end first, then the youngest.
    fn end_promises_beyond_limits(&mut self) {
        if self.worker_policy.exceeded_by(self.present()).is_none() {
            return;
        }
        for worker_request in self.promises.by_order_of_end() {
            let Some(limit) = self.worker_policy.exceeded_by(self.present()) else {
                return;
            };
            let id = self.worker_request_id(self.promises.worker_requests[worker_request].number);
            tracing::warn!(worker_request = %id, %limit, "promise ended: a registered worker takes its room");
            self.effects.withdrawals.push(WithdrawResource {
                worker_request: id,
                cause: WithdrawalCause::LimitReached { limit },
            });
            self.forget_worker_request(worker_request);
        }
    }

    /// Ends the promises of a worker request. Its requests are unbound afterwards. Returns the
    /// number of slots that were promised.
    pub(crate) fn forget_worker_request(&mut self, worker_request: WorkerRequestKey) -> usize {
        self.changes += 1;
        let record = &self.promises.worker_requests[worker_request];
        let promised_slots = record.num_slots();
        let shape = self.promises.shape_of(worker_request);
        let promises: Vec<_> = record.slots.iter(&self.promises.records).collect();
        let requests: Vec<_> = promises
            .into_iter()
            .filter_map(|promise| self.end_promise(promise))
            .collect();
        // The end of its last slot has removed any other worker request.
        if let Some(shape) = shape {
            self.end_promised_worker(worker_request, shape);
        }
        for request in requests {
            self.enqueue(request);
        }
        promised_slots
    }

    /// Ends a promised slot. Returns the request that was bound to it, detached.
    fn end_promise(&mut self, promise: PromiseKey) -> Option<RequestKey> {
        let is_cut = self.promises.is_cut(promise);
        let (profile, bound_to) = self.promises.remove(&self.profiles, promise);
        if !is_cut {
            self.slot_totals.remove_promised(profile);
        }
        self.profiles.release(profile, 1);
        let request = bound_to?;
        self.remove_waiting(request);
        self.requests.records[request].phase = RequestPhase::Detached;
        Some(request)
    }
}
