//! What happens to a request from its registration to its end.

use crate::{
    AllocateSlot, AllocationId, Conflict, JobId, RequestFailure, ResourceProfile, SlotRequest, SlotRequestError,
    SlotRequestOutcome,
};

use crate::slot_manager::collections::fingerprint_table::Fingerprint;
use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::effects::{Notification, NotificationKind};
use crate::slot_manager::state::requests::{RequestKey, RequestPhase};
use crate::slot_manager::state::slots::{SlotKey, SlotPhase};

impl Core {
    /// What a request says whose allocation is known.
    pub(crate) fn duplicate(
        &self,
        holder: AllocationEntry,
        request: &SlotRequest,
    ) -> Result<SlotRequestOutcome, SlotRequestError> {
        let status = self.status_of(holder);
        let (job_id, same_profile) = match holder {
            AllocationEntry::Pending(known) => {
                let known = &self.requests.records[known];
                (
                    Some(known.job_id),
                    self.profiles[known.profile] == *request.resource_profile(),
                )
            }
            // The profile of a granted request is not kept.
            AllocationEntry::Granted(slot) => (self.slots[slot].holder().map(|(_, job_id)| job_id), true),
        };
        let conflict = if job_id != Some(request.job_id()) {
            Conflict::Job
        } else if !same_profile {
            Conflict::ResourceProfile
        } else {
            tracing::debug!(allocation_id = %request.allocation_id(), %status, "duplicate slot request ignored");
            return Ok(SlotRequestOutcome::Duplicate(status));
        };
        let allocation_id = request.allocation_id();
        tracing::warn!(%allocation_id, %conflict, %status, "conflicting slot request refused");
        Err(SlotRequestError::Conflict {
            allocation_id,
            conflict,
            status,
        })
    }

    /// Accepts a request, detached.
    pub(crate) fn insert_request(&mut self, fingerprint: Fingerprint, request: SlotRequest) -> RequestKey {
        let (job_id, allocation_id, profile, target_address) = request.into_parts();
        let profile = self.profiles.acquire(&profile);
        let deadline = self.now + self.config.request_timeout;
        let request = self
            .requests
            .insert(allocation_id, job_id, profile, target_address, deadline);
        self.allocations.insert(fingerprint, AllocationEntry::Pending(request));
        self.counters.requests_accepted += 1;
        request
    }

    /// The offered slot for a request.
    #[inline]
    pub(crate) fn offered_for(&self, required: &ResourceProfile) -> Option<SlotKey> {
        self.free_slots.find(&self.slots, &self.profiles, required)
    }

    /// Looks for a free slot for an detached request; without one it waits.
    pub(crate) fn place(&mut self, request: RequestKey) {
        let required = self.requests.records[request].profile;
        match self.offered_for(&self.profiles[required]) {
            Some(slot) => self.assign(slot, request),
            None => self.enqueue(request),
        }
    }

    /// Takes a request out of the queue or pause it is in. An attempt in flight is not touched.
    pub(crate) fn detach_request(&mut self, request: RequestKey) {
        let record = &mut self.requests.records[request];
        let profile = record.profile;
        match record.phase {
            RequestPhase::Detached | RequestPhase::InFlight(_) => return,
            RequestPhase::Bound(promise) => {
                self.requests.bound.remove(&mut self.requests.records, profile, request);
                self.requests.records[request].phase = RequestPhase::Detached;
                self.bind_to_oldest(promise);
            }
            RequestPhase::Unbound(_) => self.take_unbound(request),
            RequestPhase::BackingOff { step, .. } => {
                self.requests.backoffs.disarm(&mut self.requests.records, step, request);
            }
        }
        self.requests.records[request].phase = RequestPhase::Detached;
    }

    /// Lets an detached request pause.
    pub(crate) fn back_off(&mut self, request: RequestKey, step: u8) {
        let timer = self.deadline_in(self.requests.backoffs.length(step));
        let armed_as = self.requests.backoffs.next_armed();
        let record = &mut self.requests.records[request];
        record.timer = timer;
        record.phase = RequestPhase::BackingOff { step, armed_as };
        self.requests.backoffs.arm(&mut self.requests.records, step, request);
    }

    /// Lets a request whose pause is over look for a slot again.
    pub(crate) fn end_backoff(&mut self, request: RequestKey) {
        self.detach_request(request);
        self.transaction.detached.push(request);
    }

    /// Takes a request out of wherever it is: a slot in flight is given back. It is detached afterwards.
    pub(crate) fn withdraw(&mut self, request: RequestKey) {
        if let RequestPhase::InFlight(slot) = self.requests.records[request].phase {
            if let Some(attempt) = self.slots[slot].attempt() {
                self.give_up_attempt(slot, attempt);
                self.transaction.free.push(slot);
            }
        } else {
            self.detach_request(request);
        }
    }

    /// Forgets an detached request whose allocation is not indexed as pending any more.
    fn forget(&mut self, request: RequestKey) {
        let profile = self.requests.remove(request);
        self.profiles.release(profile);
    }

    /// Ends a request at the wish of its job.
    pub(crate) fn cancel(&mut self, request: RequestKey) {
        self.counters.requests_cancelled += 1;
        self.end(request);
    }

    fn end(&mut self, request: RequestKey) {
        self.withdraw(request);
        let allocation_id = self.requests.records[request].allocation_id;
        self.allocations
            .remove(allocation_id, AllocationEntry::Pending(request));
        self.forget(request);
    }

    /// Ends a request that cannot be served, and says so.
    pub(crate) fn fail(&mut self, request: RequestKey, failure: RequestFailure) {
        let record = &self.requests.records[request];
        let (allocation_id, job_id) = (record.allocation_id, record.job_id);
        self.end(request);
        self.counters.requests_failed.count(&failure);
        let failure = Box::new(failure);
        match &mut self.registering {
            Some(registering) if registering.allocation_id == allocation_id => {
                registering.result = Some(Err(failure));
            }
            _ => {
                tracing::warn!(%job_id, %allocation_id, %failure, "slot request failed");
                self.effects.notifications.push(Notification {
                    job_id,
                    allocation_id,
                    kind: NotificationKind::Failed(failure),
                });
            }
        }
    }

    /// Ends a request whose time is over.
    pub(crate) fn expire(&mut self, request: RequestKey) {
        let record = &self.requests.records[request];
        let failure = RequestFailure::Timeout {
            timeout: self.config.request_timeout,
            resource_profile: self.profiles[record.profile].clone(),
            last_failure: record.last_failure.as_deref().cloned(),
        };
        self.fail(request, failure);
    }

    /// Grants an offered slot to a request that is being registered and is no pending one.
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
        self.set_allocated(slot, allocation_id, job_id);
        self.allocations.insert(fingerprint, AllocationEntry::Granted(slot));
        self.see_revision(slot, revision);
        self.counters.requests_accepted += 1;
        self.counters.requests_served += 1;
        self.commit();
        tracing::debug!(%job_id, %allocation_id, %slot_id, "slot granted");
    }

    /// Lets an allocation hold a slot as its grant.
    #[inline]
    fn set_allocated(&mut self, slot: SlotKey, allocation_id: AllocationId, job_id: JobId) {
        let secondary = false;
        self.set_slot_phase(
            slot,
            SlotPhase::Allocated {
                allocation_id,
                job_id,
                secondary,
            },
        );
        self.forget_failures(slot);
    }

    /// Grants a slot, which nothing else holds, to an detached request.
    pub(crate) fn grant(&mut self, slot: SlotKey, request: RequestKey) {
        let record = &self.requests.records[request];
        let (allocation_id, job_id) = (record.allocation_id, record.job_id);
        self.set_allocated(slot, allocation_id, job_id);
        self.allocations.grant(allocation_id, request, slot);
        self.forget(request);
        self.counters.requests_served += 1;
        let slot_id = self.slot_id(slot);
        tracing::debug!(%job_id, %allocation_id, %slot_id, "slot granted");
        if let Some(registering) = &mut self.registering {
            if registering.allocation_id == allocation_id {
                registering.result = Some(Ok(slot_id.clone()));
            }
        }
        self.effects.notifications.push(Notification {
            job_id,
            allocation_id,
            kind: NotificationKind::Allocated(slot_id),
        });
    }
}
