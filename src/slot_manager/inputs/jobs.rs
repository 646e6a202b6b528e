//! Inputs from jobs: requests, cancellations and freed slots.

use crate::{
    AllocationId, CancelOutcome, FreeSlotOutcome, JobId, NotStarted, ResourceManagerActions, ScheduledExecutor, SlotId,
    SlotManager, SlotRequest, SlotRequestError, SlotRequestOutcome, TaskExecutorGateway,
};

use crate::slot_manager::collections::fingerprint_table::Fingerprint;
use crate::slot_manager::state::allocations::AllocationEntry;

/// Inputs: what jobs ask for.
impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// A job asks for a slot. O(1) + matching.
    ///
    /// A fitting free slot is asked for at once; without one the request waits, and a worker is asked for unless a
    /// promised slot covers it. From now on it has one deadline, whatever happens to it. A request whose allocation id
    /// is known changes nothing; the outcome says what the known one is doing.
    ///
    /// # Errors
    /// - [`Conflict`](SlotRequestError::Conflict), [`TooManyPendingRequests`](SlotRequestError::TooManyPendingRequests)
    ///   and [`NotStarted`](SlotRequestError::NotStarted): nothing changed.
    /// - [`Failed`](SlotRequestError::Failed): the request failed within the call, because the resource manager refused
    ///   to start a worker for it, for example; it is forgotten and not notified.
    pub fn register_slot_request(&mut self, request: SlotRequest) -> Result<SlotRequestOutcome, SlotRequestError> {
        let leader_id = self.begin_input()?;
        let allocation_id = request.allocation_id();
        let fingerprint = Fingerprint::of(&allocation_id);
        if let Some(holder) = self.core.find_allocation_by(fingerprint, allocation_id) {
            return self.core.duplicate(holder, &request);
        }
        if let Some(limit) = self.core.config.max_pending_requests {
            if self.core.requests.records.len() >= limit {
                let job_id = request.job_id();
                tracing::warn!(%job_id, %allocation_id, limit, "slot request refused: too many pending");
                return Err(SlotRequestError::TooManyPendingRequests { limit });
            }
        }
        tracing::debug!(job_id = %request.job_id(), %allocation_id, "slot request registered");
        match self.core.offered_for(request.resource_profile()) {
            Some(slot) => self.attempt_at_once(leader_id, slot, fingerprint, request),
            None => {
                let key = self.core.insert_request(fingerprint, request);
                self.core.enqueue(key);
                self.finish_registration(key, false)
            }
        }
    }

    /// A job withdraws a request. O(1) + matching.
    ///
    /// If it is in flight, the attempt is given up, its task executor told, and the slot goes to the oldest waiting
    /// request that it fits.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn unregister_slot_request(&mut self, allocation_id: AllocationId) -> Result<CancelOutcome, NotStarted> {
        self.begin_input()?;
        match self.core.find_allocation(allocation_id) {
            Some(AllocationEntry::Pending(request)) => {
                self.core.cancel(request);
                self.core.commit();
                self.finish_input();
                tracing::debug!(%allocation_id, "slot request cancelled");
                Ok(CancelOutcome::Cancelled)
            }
            Some(AllocationEntry::Granted(slot)) => Ok(CancelOutcome::AlreadyGranted {
                slot_id: self.core.slot_id(slot),
            }),
            None => {
                tracing::debug!(%allocation_id, "unknown slot request not cancelled");
                Ok(CancelOutcome::Unknown)
            }
        }
    }

    /// A job is gone: withdraws all its ungranted requests, and matches once. Returns how many they were. O(its
    /// requests) + matching.
    ///
    /// Its grants stay until they are freed.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn unregister_job(&mut self, job_id: JobId) -> Result<usize, NotStarted> {
        self.begin_input()?;
        let requests = self.core.requests.of_job(&job_id);
        for request in &requests {
            self.core.cancel(*request);
        }
        self.core.commit();
        self.finish_input();
        tracing::debug!(%job_id, requests = requests.len(), "job unregistered");
        Ok(requests.len())
    }

    /// A slot was freed by its task executor or its job. O(1) + matching.
    ///
    /// If the allocation is still in flight to the slot, it was served and is over: the request is granted and the
    /// grant ends.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn free_slot(&mut self, slot_id: &SlotId, allocation_id: AllocationId) -> Result<FreeSlotOutcome, NotStarted> {
        self.begin_input()?;
        let outcome = match self.core.find_slot_held(slot_id, allocation_id) {
            Some(slot) => self.core.freed(slot, allocation_id),
            None => FreeSlotOutcome::UnknownSlot,
        };
        tracing::debug!(%slot_id, %allocation_id, ?outcome, "slot freed");
        if let FreeSlotOutcome::Freed | FreeSlotOutcome::FreedInFlight = outcome {
            self.finish_input();
        }
        Ok(outcome)
    }
}
