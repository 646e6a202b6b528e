//! Requests, from their registration to their end.

use crate::error::{Conflict, SlotRequestError};
use crate::message::{AllocateSlot, Allocation, RequestFailure};
use crate::outcome::SlotRequestOutcome;
use crate::{ResourceProfile, SlotRequest};

use crate::slot_manager::collections::fingerprint_table::Fingerprint;
use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::requests::{PendingRequests, RequestKey, RequestPhase};
use crate::slot_manager::state::slots::{RpcState, SlotKey, SlotPhase};

/// Registration.
impl Core {
    /// Checks whether a request may be registered. Returns how to answer one that may not.
    // Inlined: every request passes here.
    #[inline(always)]
    pub(crate) fn refuse(
        &self,
        fingerprint: Fingerprint,
        request: &SlotRequest,
    ) -> Option<Result<SlotRequestOutcome, SlotRequestError>> {
        if let Some(known) = self.find_allocation_by(fingerprint, &request.allocation_id()) {
            return Some(self.duplicate(known, request));
        }
        if self.ledger.declares(request.job_id()) {
            return Some(self.refuse_declaring(request));
        }
        let limit = self.config.max_pending_requests?;
        if self.requests.records.len() < limit {
            return None;
        }
        let (job_id, allocation_id) = (request.job_id(), request.allocation_id());
        tracing::warn!(%job_id, %allocation_id, limit, "slot request refused: too many pending");
        Some(Err(SlotRequestError::TooManyPendingRequests { limit }))
    }

    /// Refuses a request of a job that declares its requirements.
    #[cold]
    fn refuse_declaring(&self, request: &SlotRequest) -> Result<SlotRequestOutcome, SlotRequestError> {
        let (job_id, allocation_id) = (request.job_id(), request.allocation_id());
        tracing::warn!(%job_id, %allocation_id, "slot request refused: the job declares its requirements");
        Err(SlotRequestError::Declares { job_id })
    }

    /// Returns the answer to a request whose allocation is known.
    fn duplicate(&self, known: AllocationEntry, request: &SlotRequest) -> Result<SlotRequestOutcome, SlotRequestError> {
        let status = self.status_of(known);
        let (job_id, same_profile) = match known {
            AllocationEntry::Pending(known) => {
                let known = &self.requests.records[known];
                let same_profile = self.profiles[known.profile] == *request.resource_profile();
                (Some(known.job_id), same_profile)
            }
            // The profile of a granted request is not kept.
            AllocationEntry::Granted(slot) => (self.slots[slot].allocation().map(|allocation| allocation.job), true),
        };
        let allocation_id = request.allocation_id();
        let conflict = if job_id != Some(request.job_id()) {
            Conflict::Job
        } else if !same_profile {
            Conflict::ResourceProfile
        } else {
            tracing::debug!(%allocation_id, %status, "duplicate slot request ignored");
            return Ok(SlotRequestOutcome::Duplicate(status));
        };
        tracing::warn!(%allocation_id, %conflict, %status, "conflicting slot request refused");
        Err(SlotRequestError::Conflict {
            allocation_id,
            conflict,
            status,
        })
    }

    /// Records a request, detached.
    #[inline(always)]
    pub(crate) fn insert_request(&mut self, fingerprint: Fingerprint, request: SlotRequest) -> RequestKey {
        let (job_id, allocation_id, resource_profile, target_address) = request.into_parts();
        let profile = self.profiles.acquire(&resource_profile, 1);
        let deadline = self.deadline_in(self.config.request_timeout);
        let request = self
            .requests
            .insert(allocation_id, job_id, profile, target_address, deadline);
        self.allocations.insert(fingerprint, AllocationEntry::Pending(request));
        self.counters.requests_accepted += 1;
        self.note_new_request(request);
        request
    }
}

/// Waiting.
impl Core {
    /// Returns the offered slot that the strategy chooses for a profile.
    #[inline(always)]
    pub(crate) fn offered_for(&self, required: &ResourceProfile) -> Option<SlotKey> {
        self.free_slots.find(&self.slots, &self.profiles, required)
    }

    /// Gives a detached request a free slot, or lets it wait.
    pub(crate) fn place(&mut self, request: RequestKey) {
        if self.requests.records[request].failures.is_some() || self.has_failures() {
            return self.place_despite_failures(request);
        }
        let required = self.requests.records[request].profile;
        let slot = self
            .offered_for(&self.profiles[required])
            .or_else(|| self.cut_for(request));
        match slot {
            Some(slot) => self.assign(slot, request),
            None => {
                self.note_waiting(request);
                self.enqueue(request);
            }
        }
    }

    /// Adds a request to those to which slots are offered. Its phase says how it waits.
    #[inline]
    pub(crate) fn push_waiting(&mut self, request: RequestKey) {
        let PendingRequests {
            waiting,
            records,
            failing_jobs,
            ..
        } = &mut self.requests;
        waiting.push(records, &self.profiles, failing_jobs, request);
    }

    /// Removes a request from those to which slots are offered. Its phase stays.
    #[inline]
    pub(crate) fn remove_waiting(&mut self, request: RequestKey) {
        self.requests.waiting.remove(&mut self.requests.records, request);
    }

    /// Takes a request out of its queue or backoff. An attempt in flight stays.
    #[inline(always)]
    pub(crate) fn detach_request(&mut self, request: RequestKey) {
        match self.requests.records[request].phase {
            RequestPhase::Detached | RequestPhase::InFlight(_) => {}
            RequestPhase::Unbound(_) => self.take_unbound(request),
            RequestPhase::Bound(_) | RequestPhase::BackingOff { .. } => self.detach_bound_or_backing_off(request),
        }
    }

    /// Detaches a request that is bound to a promise, or that backs off.
    #[inline(never)]
    fn detach_bound_or_backing_off(&mut self, request: RequestKey) {
        self.remove_waiting(request);
        let phase = std::mem::replace(&mut self.requests.records[request].phase, RequestPhase::Detached);
        match phase {
            RequestPhase::Bound(promise) => self.free_promise(promise),
            RequestPhase::BackingOff { step, .. } => {
                self.requests.backoffs.disarm(&mut self.requests.records, step, request);
            }
            _ => {}
        }
    }

    /// Backs off a detached request.
    pub(crate) fn back_off(&mut self, request: RequestKey, step: u8) {
        let timer = self.deadline_in(self.requests.backoffs.length(step));
        let armed_as = self.requests.backoffs.next_armed();
        let record = &mut self.requests.records[request];
        record.timer = timer;
        record.phase = RequestPhase::BackingOff { step, armed_as };
        self.requests.backoffs.arm(&mut self.requests.records, step, request);
        self.push_waiting(request);
    }

    /// Ends the backoff of a request. The commit places it.
    pub(crate) fn end_backoff(&mut self, request: RequestKey) {
        self.detach_request(request);
        if let Some(failures) = &mut self.requests.records[request].failures {
            failures.must_back_off = false;
        }
        self.transaction.detached.push(request);
    }
}

/// Grants.
impl Core {
    /// Grants a slot that nothing holds to a detached request, and notifies the grant.
    pub(crate) fn grant(&mut self, slot: SlotKey, request: RequestKey) {
        let is_registering = self.requests.records[request].is_registering();
        let allocation = self.record_grant(slot, request);
        self.clear_job(allocation.job);
        if is_registering {
            let slot_id = self.slot_id(slot);
            self.effects.set_outcome(allocation.id, Ok(slot_id));
        }
        let record = &self.slots[slot];
        let owner = &self.task_managers.records[record.task_manager];
        self.effects
            .notifications
            .add_granted(allocation, &owner.resource_id, record.number);
    }

    /// Lets a detached request hold a slot that nothing holds. The request is over.
    #[inline(always)]
    pub(crate) fn record_grant(&mut self, slot: SlotKey, request: RequestKey) -> Allocation {
        let allocation = self.requests.records[request].allocation();
        self.set_granted(slot, allocation);
        let record = &self.requests.records[request];
        let unit = record.is_declared.then_some(record.profile);
        self.note_holding(slot, allocation.job, unit);
        self.allocations.grant(allocation.id, request, slot);
        self.forget(request);
        self.counters.requests_served += 1;
        let Allocation { id, job } = allocation;
        tracing::debug!(job_id = %job, allocation_id = %id, slot_id = %self.slot_id(slot), "slot granted");
        allocation
    }

    /// Grants an offered slot or a new cut to a request of the fast path, which has no record.
    #[inline]
    pub(crate) fn grant_at_once(
        &mut self,
        slot: SlotKey,
        fingerprint: Fingerprint,
        request: &AllocateSlot,
        revision: Option<u64>,
    ) {
        let &AllocateSlot {
            ref slot_id,
            job_id,
            allocation_id,
            ..
        } = request;
        let allocation = Allocation {
            id: allocation_id,
            job: job_id,
        };
        self.take_free_slot(
            slot,
            SlotPhase::Allocated {
                allocation,
                secondary: false,
            },
        );
        self.forget_failures(slot);
        self.note_holding(slot, job_id, None);
        self.allocations.insert(fingerprint, AllocationEntry::Granted(slot));
        self.see_revision(slot, revision);
        self.worker_acknowledged(slot);
        self.counters.requests_accepted += 1;
        self.counters.requests_served += 1;
        self.commit();
        tracing::debug!(%job_id, %allocation_id, %slot_id, "slot granted");
    }
}

/// Ends.
impl Core {
    /// Takes a request out of its queue, backoff or attempt. It is detached afterwards.
    #[inline(always)]
    pub(crate) fn withdraw(&mut self, request: RequestKey) {
        if let RequestPhase::InFlight(slot) = self.requests.records[request].phase {
            self.withdraw_from(slot);
        } else {
            self.detach_request(request);
        }
    }

    /// Gives up the attempt in flight to a slot. The commit offers the slot.
    #[inline(never)]
    fn withdraw_from(&mut self, slot: SlotKey) {
        if let Some(attempt) = self.slots[slot].attempt() {
            self.give_up_attempt(slot, attempt);
            if attempt.rpc != RpcState::Unsent {
                self.note_undecided_probe(slot, attempt.number);
            }
            self.transaction.free.push(slot);
        }
    }

    /// Forgets a detached request whose allocation is not indexed as pending any more.
    #[inline(always)]
    fn forget(&mut self, request: RequestKey) {
        let profile = self.requests.remove(request);
        self.profiles.release(profile, 1);
        self.note_end_of_request(request);
    }

    #[inline(always)]
    fn end(&mut self, request: RequestKey) {
        self.withdraw(request);
        let allocation_id = self.requests.records[request].allocation_id;
        self.allocations
            .remove(allocation_id, AllocationEntry::Pending(request));
        self.forget(request);
    }

    /// Cancels the request that was located last, if it waits unbound in a queue. Returns `false`,
    /// without a change, if it does not.
    #[inline(always)]
    pub(crate) fn cancel_queued(&mut self, request: RequestKey) -> bool {
        if self.set_aside.is_on() {
            return false;
        }
        let Some(profile) = self.requests.remove_queued(request) else {
            return false;
        };
        self.allocations.remove_located();
        self.profiles.release(profile, 1);
        self.counters.requests_cancelled += 1;
        true
    }

    /// Ends a request that its job has cancelled.
    pub(crate) fn cancel(&mut self, request: RequestKey) {
        self.counters.requests_cancelled += 1;
        self.end(request);
    }

    /// Ends a request that cannot be served. The failure is notified, or returned by the call that
    /// registers it.
    pub(crate) fn fail(&mut self, request: RequestKey, failure: RequestFailure) {
        let record = &self.requests.records[request];
        let (allocation, is_registering) = (record.allocation(), record.is_registering());
        self.end(request);
        self.counters.requests_failed.count(&failure);
        if is_registering {
            self.effects.set_outcome(allocation.id, Err(Box::new(failure)));
            return;
        }
        tracing::warn!(job_id = %allocation.job, allocation_id = %allocation.id, %failure, "slot request failed");
        self.effects.notifications.add_failed(allocation, failure);
    }

    /// Fails a request whose deadline has come.
    pub(crate) fn expire(&mut self, request: RequestKey) {
        let record = &self.requests.records[request];
        let failure = RequestFailure::Timeout {
            timeout: self.config.request_timeout,
            resource_profile: self.profiles[record.profile].clone(),
            last_failure: record.last_failure().cloned(),
        };
        self.fail(request, failure);
    }
}
