//! Worker requests: when one is made, what its answer does, and when it is withdrawn.

use crate::Timestamp;
use crate::config::{Limit, Quantity};
use crate::error::ResourceManagerError;
use crate::message::{RequestFailure, WithdrawResource, Withdrawal, WithdrawalCause, WorkerPromise};

use super::Outside;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::promises::{WorkerRequestKey, WorkerRequestNumber};
use crate::slot_manager::state::requests::{RequestKey, RequestPhase, WorkerAsk};
use crate::slot_manager::state::slot_totals::SlotUsage;

/// The answer of the resource manager to a worker request.
type PromiseResult = Result<WorkerPromise, ResourceManagerError>;

/// Requests that need a worker.
impl Core {
    /// Makes a worker request for each request that became unbound, oldest first.
    pub(crate) fn request_workers(&mut self, outside: &mut impl Outside) {
        self.effects.worker_asks.sort_unstable();
        let noted = self.effects.worker_asks.len();
        for at in 0..noted {
            // Answers add to the list and remove nothing.
            let (sequence, request) = self.effects.worker_asks[at];
            if self.needs_worker(sequence, request) {
                self.request_worker_for(outside, request);
            }
        }
        // Requests that an answer made unbound come next.
        self.effects.worker_asks.drain(..noted);
    }

    /// Makes the deferred worker requests that are possible now, oldest first.
    pub(crate) fn request_deferred_workers(&mut self, outside: &mut impl Outside) {
        while let Some(request) = self.worker_policy.first_deferred() {
            if !self.may_request_worker() {
                return;
            }
            let record = &mut self.requests.records[request];
            record.phase = RequestPhase::Unbound(WorkerAsk::Due);
            self.worker_policy.remove_deferred(record.sequence, request);
            self.request_worker_for(outside, request);
        }
    }

    /// Returns `true` if a request that became unbound still needs a worker, and one may be
    /// requested now.
    #[inline]
    fn needs_worker(&mut self, sequence: u64, request: RequestKey) -> bool {
        self.is_worker_due(sequence, request)
            && (!self.worker_policy.is_active() || self.may_request_worker_for(request))
    }

    /// Returns `true` if the worker request for an unbound request may be made now; else defers it
    /// or drops it.
    fn may_request_worker_for(&mut self, request: RequestKey) -> bool {
        let record = &mut self.requests.records[request];
        if !self.worker_policy.could_start(&self.profiles[record.profile]) {
            record.phase = RequestPhase::Unbound(WorkerAsk::Useless);
            self.fail_if_unfulfillable(request);
            return false;
        }
        if self.worker_policy.first_deferred().is_some() || !self.may_request_worker() {
            if let (None, Some(limit)) = (self.worker_policy.first_deferred(), self.limit_of_next_worker()) {
                tracing::warn!(%limit, "worker request deferred: the limit is reached");
            }
            let record = &mut self.requests.records[request];
            record.phase = RequestPhase::Unbound(WorkerAsk::Deferred);
            self.worker_policy.defer(record.sequence, request);
            return false;
        }
        true
    }

    /// Makes the worker request for an unbound request and applies its answer.
    fn request_worker_for(&mut self, outside: &mut impl Outside, request: RequestKey) {
        let (worker_request, answer) = self.ask_for_worker(outside, request);
        let answer = match self.worker_policy.is_limited() {
            true => self.within_limits(outside, worker_request, answer),
            false => answer,
        };
        self.apply_promise_result(request, worker_request, answer);
    }

    /// Asks for a worker that could serve a request. Returns the answer.
    #[inline(always)]
    pub(crate) fn ask_for_worker(
        &mut self,
        outside: &mut impl Outside,
        request: RequestKey,
    ) -> (WorkerRequestNumber, PromiseResult) {
        let worker_request = self.next_worker_request();
        let asked = self.requests.records[request].profile;
        let id = self.worker_request_id(worker_request);
        (worker_request, outside.allocate_resource(id, &self.profiles[asked]))
    }

    /// Applies the answer to the worker request for an unbound request.
    pub(crate) fn apply_promise_result(
        &mut self,
        request: RequestKey,
        worker_request: WorkerRequestNumber,
        answer: PromiseResult,
    ) {
        match answer.map(|promise| self.specified(promise)) {
            Ok(WorkerPromise::Slots(profiles)) => self.promise_for(request, worker_request, &profiles),
            Ok(WorkerPromise::Total(resources)) => self.promise_worker_for(request, worker_request, &resources),
            Ok(WorkerPromise::Unspecified) => {
                let asked = self.requests.records[request].profile;
                self.promise_for(request, worker_request, &[self.profiles[asked].clone()]);
            }
            Ok(WorkerPromise::Declined) => {}
            Err(error) => {
                self.note_failed_start(worker_request);
                if self.requests.records[request].is_declared {
                    tracing::warn!(%error, "worker request for a declared slot failed");
                    return self.retry_later_if_unbound(request);
                }
                self.counters.workers_declined += 1;
                self.fail(request, RequestFailure::ResourceManager(error));
                // Requests that were held back for this one may get slots instead of workers.
                self.commit();
                return;
            }
        }
        self.retry_later_if_unbound(request);
    }

    /// Returns a promise, with the described worker in place of an unspecified one.
    fn specified(&self, promise: WorkerPromise) -> WorkerPromise {
        match promise {
            WorkerPromise::Unspecified => self.worker_policy.described_promise().unwrap_or(promise),
            promise => promise,
        }
    }

    /// Arms the retry of a declined worker request, or fails the request if nothing could ever
    /// serve it.
    fn retry_later_if_unbound(&mut self, request: RequestKey) {
        if self.requests.records[request].phase != RequestPhase::Unbound(WorkerAsk::Due) {
            return;
        }
        let timer = self.note_declined();
        self.requests.set_declined(request, timer);
        if self.worker_policy.is_active() {
            self.fail_if_unfulfillable(request);
        }
    }

    /// Lets a new request wait whose worker request was declined. There are no failures, promised
    /// slots and no worker policy.
    #[inline(always)]
    pub(crate) fn wait_declined(&mut self, request: RequestKey) {
        let timer = self.note_declined();
        self.requests.enqueue_declined(&self.profiles, request, timer);
    }

    /// Counts a declined worker request, and returns the time at which it is repeated.
    #[inline(always)]
    fn note_declined(&mut self) -> Timestamp {
        self.counters.workers_declined += 1;
        self.deadline_in(self.config.worker_registration_timeout)
    }

    /// Makes a declined worker request due again.
    pub(crate) fn retry_ask(&mut self, request: RequestKey) {
        self.take_unbound(request);
        self.enqueue(request);
    }

    /// Returns the number of the next worker request.
    fn next_worker_request(&mut self) -> WorkerRequestNumber {
        self.changes += 1;
        self.worker_requests += 1;
        self.counters.workers_requested += 1;
        self.worker_requests
    }
}

/// Failed starts.
impl Core {
    /// Notes that a worker request has failed. Too many failures begin a start backoff.
    pub(crate) fn note_failed_start(&mut self, worker_request: WorkerRequestNumber) {
        let is_recent = self.promises.is_recent(worker_request);
        let starts = &mut self.worker_policy.start_backoff;
        if starts.note_failure(is_recent, self.now) {
            let length = starts.next_length();
            let until = self.deadline_in(length);
            tracing::warn!(%until, "worker requests deferred: starts of workers fail too often");
            self.worker_policy.back_off_starts(until);
            self.promises.count_from(self.worker_requests);
        }
    }

    /// Asks to withdraw the worker requests whose promises this call has ended. The answer is only
    /// counted.
    pub(crate) fn withdraw_ended_worker_requests(&mut self, outside: &mut impl Outside) {
        for withdraw in std::mem::take(&mut self.effects.withdrawals) {
            let withdrawal = outside.withdraw_resource(&withdraw);
            // A promise that expired counts as broken.
            let is_broken = withdraw.cause == WithdrawalCause::RegistrationTimeout;
            self.counters.workers_withdrawn += u64::from(withdrawal == Withdrawal::Confirmed && !is_broken);
            tracing::info!(
                ?withdraw,
                ?withdrawal,
                "withdrawal of an ended worker request requested"
            );
        }
    }
}

/// Limits.
impl Core {
    /// Returns all registered and promised slots and dynamic workers.
    pub(crate) fn present(&self) -> Quantity {
        self.registered() + self.promised()
    }

    /// Returns all promised slots and dynamic workers.
    fn promised(&self) -> Quantity {
        self.slot_totals.promised() + self.promises.workers.quantity()
    }

    /// Returns `true` if neither the recovery, the start backoff nor a limit forbids one more
    /// worker.
    pub(crate) fn may_request_worker(&self) -> bool {
        !self.worker_policy.is_recovering()
            && self.worker_policy.start_backoff.allows(self.promises.num_recent())
            && (!self.worker_policy.is_limited() || self.limit_of_next_worker().is_none())
    }

    /// Returns the limit that one more worker would exceed.
    pub(crate) fn limit_of_next_worker(&self) -> Option<Limit> {
        self.worker_policy.limit_of_next_worker(self.present())
    }

    /// Returns the answer, or `Declined` in its place if its slots would exceed a limit. That
    /// worker is withdrawn.
    #[inline]
    fn within_limits(
        &self,
        outside: &mut impl Outside,
        worker_request: WorkerRequestNumber,
        answer: PromiseResult,
    ) -> PromiseResult {
        if let Some(limit) = self.limit_exceeded_by(&answer) {
            let worker_request = self.worker_request_id(worker_request);
            tracing::warn!(%worker_request, %limit, "promise declined: beyond the limit");
            let cause = WithdrawalCause::LimitReached { limit };
            let _: Withdrawal = outside.withdraw_resource(&WithdrawResource { worker_request, cause });
            return Ok(WorkerPromise::Declined);
        }
        answer
    }

    /// Returns the limit that the promised slots or worker of an answer would exceed.
    fn limit_exceeded_by(&self, answer: &PromiseResult) -> Option<Limit> {
        let measure = self.slot_totals.measure();
        let with_it = match answer {
            Ok(WorkerPromise::Slots(profiles)) => {
                let slots = profiles.iter().map(|profile| measure.of_slot(profile));
                slots.fold(self.present(), |sum, slot| sum + slot)
            }
            Ok(WorkerPromise::Total(resources)) => self.present() + self.quantity_of_resources(resources),
            Ok(WorkerPromise::Unspecified | WorkerPromise::Declined) | Err(_) => return None,
        };
        self.worker_policy.exceeded_by(with_it)
    }
}

/// Reserves, and workers that are not needed any more.
impl Core {
    /// Returns the minimum number of slots, and the number of free slots that redundancy asks for.
    pub(crate) fn reserves(&self) -> (usize, usize) {
        let redundant = self.worker_policy.redundant_slots(self.slot_totals.used_slots());
        (self.worker_policy.min_slots(), redundant)
    }

    /// Returns the number of free slots and unbound promised slots. A dynamic worker has as many as
    /// default slots remain.
    fn spare_slots(&self) -> usize {
        self.free_slots() + self.promises.num_unbound() + self.promises.workers.free_slots()
    }

    /// Returns the number of free slots, and of default slots that remain of dynamic workers.
    pub(crate) fn free_slots(&self) -> usize {
        self.slot_totals.slots(SlotUsage::Free) + self.dynamic_workers.free_slots()
    }

    /// Requests the workers that the minimum and redundancy lack, until one is declined.
    pub(crate) fn request_reserve_workers(&mut self, outside: &mut impl Outside) {
        for _ in 0..self.missing_workers() {
            if !self.may_request_worker() || !self.request_reserve_worker(outside) {
                return;
            }
        }
    }

    /// Returns the number of workers that the minimum and redundancy lack.
    pub(crate) fn missing_workers(&self) -> usize {
        let (minimum, redundant) = self.reserves();
        if (minimum, redundant) == (0, 0) || !self.worker_policy.may_request_reserve() {
            return 0;
        }
        let missing = minimum
            .saturating_sub(self.usable_slots())
            .max(redundant.saturating_sub(self.spare_slots()));
        match missing {
            0 => 0,
            missing => missing.div_ceil(self.worker_policy.slots_per_worker()),
        }
    }

    /// Requests one reserve worker. Returns `false` if none comes: then the reserve backs off.
    fn request_reserve_worker(&mut self, outside: &mut impl Outside) -> bool {
        let Some(profile) = self.worker_policy.reserve_profile().cloned() else {
            return false;
        };
        let worker_request = self.next_worker_request();
        let answer = outside.allocate_resource(self.worker_request_id(worker_request), &profile);
        let answer = self.within_limits(outside, worker_request, answer);
        match answer.map(|promise| self.specified(promise)) {
            Ok(WorkerPromise::Slots(profiles)) if !profiles.is_empty() => {
                for promise in self.promise(worker_request, &profiles) {
                    self.bind_to_oldest(promise);
                }
                return true;
            }
            Ok(WorkerPromise::Total(resources)) => {
                let promised = self.promise_worker(worker_request, &resources);
                self.bind_rest_of_worker(promised);
                return true;
            }
            Ok(WorkerPromise::Slots(_) | WorkerPromise::Unspecified | WorkerPromise::Declined) => {}
            Err(error) => {
                self.note_failed_start(worker_request);
                let worker_request = self.worker_request_id(worker_request);
                tracing::warn!(%worker_request, %error, "reserve worker request failed");
            }
        }
        self.counters.workers_declined += 1;
        let until = self.deadline_in(self.config.worker_registration_timeout);
        self.worker_policy.back_off_reserve(until);
        false
    }

    /// Asks to withdraw each surplus worker, once.
    pub(crate) fn withdraw_surplus_workers(&mut self, outside: &mut impl Outside) {
        while let Some(key) = self.next_surplus_worker() {
            let worker_request = self.worker_request_id(self.promises.worker_requests[key].number);
            self.promises.mark_withdrawal_requested(key);
            let cause = WithdrawalCause::NotNeeded;
            if outside.withdraw_resource(&WithdrawResource { worker_request, cause }) == Withdrawal::Confirmed {
                tracing::info!(%worker_request, "promised worker withdrawn");
                self.counters.workers_withdrawn += 1;
                self.forget_worker_request(key);
            }
        }
    }

    /// Returns the next promised worker that no request, minimum or redundancy needs.
    fn next_surplus_worker(&mut self) -> Option<WorkerRequestKey> {
        let (slots, worker_request) = self.promises.first_surplus()?;
        let (minimum, redundant) = self.reserves();
        let spare = self.promises.free_slots_of(worker_request).unwrap_or(slots);
        let is_needed =
            |wanted: usize, present: usize, slots: usize| wanted > 0 && present < wanted.saturating_add(slots);
        if is_needed(minimum, self.usable_slots(), slots) || is_needed(redundant, self.spare_slots(), spare) {
            return None;
        }
        Some(worker_request)
    }

    /// Returns the number of promised slots and of registered slots that are not on blocked task
    /// managers.
    pub(crate) fn usable_slots(&self) -> usize {
        self.registered().slots - self.blocking.slots + self.promised().slots
    }
}
