//! Attempts to give a slot to a request: how they begin, what their answers do, how they end.

use crate::{AllocateSlot, AllocationId, FreeSlot, GrantLoss, JobId, LeaderId, SlotAllocationError, SlotRequest};

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::effects::UnsentAttempt;
use crate::slot_manager::state::requests::{RequestKey, RequestPhase};
use crate::slot_manager::state::slots::{Attempt, RpcState, SlotFailures, SlotKey, SlotPhase};

impl Core {
    /// The number of the next attempt.
    #[inline]
    pub(crate) fn next_attempt(&mut self) -> u64 {
        self.attempts += 1;
        self.attempts
    }

    /// Begins an attempt, whose gateway is to be called.
    pub(crate) fn assign(&mut self, slot: SlotKey, request: RequestKey) {
        self.detach_request(request);
        let attempt = self.next_attempt();
        self.begin_attempt(slot, request, attempt);
        self.effects.slot_requests.push(UnsentAttempt {
            sequence: self.requests.records[request].sequence,
            attempt,
            slot,
        });
    }

    /// Brings a slot and an detached request together in an attempt.
    pub(crate) fn begin_attempt(&mut self, slot: SlotKey, request: RequestKey, number: u64) {
        self.set_slot_phase(
            slot,
            SlotPhase::InFlight(Attempt {
                request,
                number,
                rpc: RpcState::Unsent,
            }),
        );
        self.requests.records[request].phase = RequestPhase::InFlight(slot);
    }

    /// The attempt with this number, if it is in flight to the slot.
    pub(crate) fn current_attempt(&self, slot: SlotKey, number: u64) -> Option<Attempt> {
        self.slots
            .get(slot)?
            .attempt()
            .filter(|attempt| attempt.number == number)
    }

    /// Notes how far an attempt is; the RPC timeout runs while its answer is awaited.
    pub(crate) fn set_rpc_state(&mut self, slot: SlotKey, rpc: RpcState) {
        let timer = self.deadline_in(self.config.rpc_timeout);
        if let SlotPhase::InFlight(attempt) = &mut self.slots[slot].phase {
            let request = attempt.request;
            if matches!(attempt.rpc, RpcState::Awaited(_)) {
                self.requests.rpc_timeouts.disarm(&mut self.requests.records, request);
            }
            attempt.rpc = rpc;
            if matches!(rpc, RpcState::Awaited(_)) {
                self.requests.records[request].timer = timer;
                self.requests.rpc_timeouts.arm(&mut self.requests.records, request);
            }
        }
    }

    /// Applies the answer to an attempt, unless the attempt has ended. It is marked as answered by now, and the future of
    /// the answer is gone.
    pub(crate) fn apply_answer(
        &mut self,
        slot: SlotKey,
        number: u64,
        result: Result<crate::Acknowledge, SlotAllocationError>,
    ) {
        let Some(attempt) = self.current_attempt(slot, number) else {
            return;
        };
        debug_assert_eq!(attempt.rpc, RpcState::Answered);
        let request = attempt.request;
        let record = &self.requests.records[request];
        let (own_allocation, own_job) = (record.allocation_id, record.job_id);
        match result {
            Ok(acknowledge) => self.acknowledged(slot, attempt, acknowledge.revision()),
            Err(SlotAllocationError::Occupied { allocation_id, job_id })
                if allocation_id == own_allocation && job_id == own_job =>
            {
                self.acknowledged(slot, attempt, None);
            }
            Err(SlotAllocationError::Occupied { allocation_id, job_id }) => {
                tracing::warn!(
                    slot_id = %self.slot_id(slot), allocation_id = %own_allocation, held_by = %allocation_id,
                    "slot is occupied by another allocation"
                );
                self.requests.records[request].last_failure =
                    Some(Box::new(SlotAllocationError::Occupied { allocation_id, job_id }));
                self.requests.records[request].phase = RequestPhase::Detached;
                self.transaction.detached.push(request);
                self.adopt(slot, allocation_id, job_id);
            }
            Err(error) => self.attempt_failed(slot, attempt, error),
        }
        self.commit();
    }

    /// Grants the slot of an attempt to its request.
    pub(crate) fn complete_attempt(&mut self, slot: SlotKey, attempt: Attempt) {
        self.abandon(slot, attempt);
        self.requests.records[attempt.request].phase = RequestPhase::Detached;
        self.grant(slot, attempt.request);
    }

    /// Whether a report that was taken after an acknowledgement has been applied: it reported that the slot is free.
    #[inline]
    pub(crate) fn is_overtaken(&self, slot: SlotKey, revision: Option<u64>) -> bool {
        let owner = &self.task_managers.records[self.slots[slot].task_manager];
        matches!((revision, owner.reported_revision()), (Some(answer), Some(report)) if answer < report)
    }

    /// Keeps the highest revision that the task executor of a slot has named.
    #[inline]
    pub(crate) fn see_revision(&mut self, slot: SlotKey, revision: Option<u64>) {
        if let Some(revision) = revision {
            self.task_managers.records[self.slots[slot].task_manager].see_revision(revision);
        }
    }

    /// What the task executor of a slot is asked in an attempt.
    #[inline]
    pub(crate) fn request_slot(
        &self,
        leader_id: LeaderId,
        slot: SlotKey,
        attempt: u64,
        request: SlotRequest,
    ) -> AllocateSlot {
        let (job_id, allocation_id, resource_profile, target_address) = request.into_parts();
        let task_manager = self.slots[slot].task_manager;
        AllocateSlot {
            slot_id: self.slot_id(slot),
            job_id,
            allocation_id,
            resource_profile,
            target_address,
            leader_id,
            instance_id: self.task_managers.records[task_manager].instance_id,
            attempt,
        }
    }

    fn acknowledged(&mut self, slot: SlotKey, attempt: Attempt, revision: Option<u64>) {
        let is_overtaken = self.is_overtaken(slot, revision);
        self.see_revision(slot, revision);
        self.complete_attempt(slot, attempt);
        if is_overtaken {
            // It was granted, and is over.
            self.drop_grant_and_detach(slot, GrantLoss::ReportedFree);
            self.transaction.free.push(slot);
        }
    }

    /// Ends an attempt that failed: the slot is for the other waiting requests first, the request keeps its place in
    /// the queue.
    fn attempt_failed(&mut self, slot: SlotKey, attempt: Attempt, error: SlotAllocationError) {
        let request = attempt.request;
        self.end_attempt(slot, attempt);
        let record = &mut self.requests.records[request];
        let allocation_id = record.allocation_id;
        record.failed_attempts = record.failed_attempts.saturating_add(1);
        let failed_attempts = record.failed_attempts;
        tracing::warn!(
            slot_id = %self.slot_id(slot), %allocation_id, %error, failed_attempts, "slot request attempt failed"
        );
        self.counters.requests_retried += 1;
        self.requests.records[request].last_failure = Some(Box::new(error));
        self.place_failed_slot(slot, allocation_id);
        if failed_attempts == 1 {
            self.transaction.detached.push(request);
        } else {
            let step = self.requests.backoffs.step(failed_attempts - 2);
            self.back_off(request, step);
        }
    }

    /// Offers a slot on which an attempt failed, or withholds it if the last two were of different allocations.
    fn place_failed_slot(&mut self, slot: SlotKey, allocation_id: AllocationId) {
        let failures = self.slot_failures.entry(slot).or_insert(SlotFailures {
            last: allocation_id,
            backoffs: 0,
        });
        if failures.last == allocation_id {
            self.offer(slot);
            return;
        }
        failures.last = allocation_id;
        let step = self.slot_backoffs.step(failures.backoffs);
        failures.backoffs = failures.backoffs.saturating_add(1);
        if self.is_blocked(self.slots[slot].task_manager) {
            self.set_slot_phase(slot, SlotPhase::Blocked);
            return;
        }
        let until = self.deadline_in(self.slot_backoffs.length(step));
        let armed_as = self.slot_backoffs.next_armed();
        self.set_slot_phase(slot, SlotPhase::BackingOff { step, until, armed_as });
    }

    /// Ends an attempt whose answer did not come in time.
    pub(crate) fn attempt_timed_out(&mut self, request: RequestKey) {
        let RequestPhase::InFlight(slot) = self.requests.records[request].phase else {
            return;
        };
        if let Some(attempt) = self.slots[slot].attempt() {
            self.fence_attempt(slot, attempt);
            self.attempt_failed(slot, attempt, SlotAllocationError::Timeout);
        }
    }

    /// Ends an attempt that nobody wants any more: its future is dropped, and the task executor is told if it was
    /// asked. Slot and request are detached afterwards.
    pub(crate) fn give_up_attempt(&mut self, slot: SlotKey, attempt: Attempt) {
        self.fence_attempt(slot, attempt);
        self.end_attempt(slot, attempt);
    }

    /// Gives up the attempt in flight to a slot that its task executor reports as deferred by another allocation. The slot
    /// is detached afterwards.
    pub(crate) fn contradict_attempt(&mut self, slot: SlotKey, attempt: Attempt) {
        self.give_up_attempt(slot, attempt);
        self.transaction.detached.push(attempt.request);
    }

    /// Ends an attempt without a word to the task executor. Slot and request are detached afterwards.
    pub(crate) fn end_attempt(&mut self, slot: SlotKey, attempt: Attempt) {
        self.abandon(slot, attempt);
        self.requests.records[attempt.request].phase = RequestPhase::Detached;
        self.detach_slot(slot);
    }

    /// Drops the future of an attempt, if it is awaited.
    fn abandon(&mut self, slot: SlotKey, attempt: Attempt) {
        if let RpcState::Awaited(cell) = attempt.rpc {
            self.effects.abandoned.push(cell);
            self.set_rpc_state(slot, RpcState::Answered);
        }
    }

    /// Tells the task executor that an attempt is over, if it was asked at all.
    pub(crate) fn fence_attempt(&mut self, slot: SlotKey, attempt: Attempt) {
        if attempt.rpc != RpcState::Unsent {
            let request = &self.requests.records[attempt.request];
            let (allocation_id, job_id) = (request.allocation_id, request.job_id);
            self.ask_to_free(slot, allocation_id, job_id, attempt.number);
        }
    }

    pub(crate) fn ask_to_free(&mut self, slot: SlotKey, allocation_id: AllocationId, job_id: JobId, attempt: u64) {
        let Some(leader_id) = self.leader_id else {
            return;
        };
        let task_manager = self.slots[slot].task_manager;
        self.effects.frees.push((
            task_manager,
            FreeSlot {
                slot_id: self.slot_id(slot),
                job_id,
                allocation_id,
                leader_id,
                instance_id: self.task_managers.records[task_manager].instance_id,
                attempt,
            },
        ));
    }
}
