//! Attempts: how they begin, what their answers do, and how they end.

use std::sync::Arc;

use crate::error::SlotAllocationError;
use crate::message::{AllocateSlot, Allocation, AttemptId, FreeSlot, GrantLoss, SlotResult};
use crate::outcome::SlotAnswerOutcome;
use crate::{AllocationId, JobId, LeaderId, ResourceProfile, SlotId, SlotRequest};

use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::effects::{AbandonedRpc, UnsentAttempt};
use crate::slot_manager::state::refused_jobs::RefusedJobs;
use crate::slot_manager::state::requests::{PendingRequests, RequestKey, RequestPhase, TargetAddress};
use crate::slot_manager::state::slot_totals::SlotUsage;
use crate::slot_manager::state::slots::{Attempt, RpcState, Slot, SlotFailures, SlotKey, SlotPhase};

/// Begin.
impl Core {
    /// Returns the number of the next attempt.
    #[inline]
    pub(crate) fn next_attempt(&mut self) -> u64 {
        self.attempts += 1;
        self.attempts
    }

    /// Begins an attempt and queues its RPC.
    #[inline(never)]
    pub(crate) fn assign(&mut self, slot: SlotKey, request: RequestKey) {
        self.fulfil_promise_of(request, slot);
        self.detach_request(request);
        self.end_earmark_for(request);
        let attempt = self.next_attempt();
        self.begin_attempt(slot, request, attempt);
        self.effects.slot_requests.push(UnsentAttempt {
            sequence: self.requests.records[request].sequence,
            attempt,
            slot,
        });
    }

    /// Puts a slot and a detached request in flight.
    #[inline(always)]
    pub(crate) fn begin_attempt(&mut self, slot: SlotKey, request: RequestKey, number: u64) {
        let rpc = RpcState::Unsent;
        // Each case has its own phase value, which is written to the record at once.
        match self.slots[slot].phase {
            SlotPhase::Offered { .. } => {
                self.take_offered_slot(slot, SlotPhase::InFlight(Attempt { request, number, rpc }));
            }
            SlotPhase::Detached => {
                let phase = SlotPhase::InFlight(Attempt { request, number, rpc });
                self.change_slot_phase(slot, SlotUsage::Free, phase);
            }
            _ => self.set_slot_phase(slot, SlotPhase::InFlight(Attempt { request, number, rpc })),
        }
        self.requests.records[request].phase = RequestPhase::InFlight(slot);
    }

    /// Returns the message that asks the task executor for a slot.
    #[inline(always)]
    pub(crate) fn allocate_slot(
        &self,
        leader_id: LeaderId,
        slot: SlotKey,
        attempt: u64,
        request: SlotRequest,
    ) -> AllocateSlot {
        let (job_id, allocation_id, resource_profile, target_address) = request.into_parts();
        let slot = &self.slots[slot];
        let owner = &self.task_managers.records[slot.task_manager];
        AllocateSlot {
            slot_id: SlotId::new(owner.resource_id.clone(), slot.number),
            job_id,
            allocation_id,
            resource_profile,
            target_address,
            leader_id,
            instance_id: owner.instance_id,
            attempt,
        }
    }

    /// Makes the message of an attempt that is in flight to a slot. Reuses what an earlier message
    /// to the same task manager has in common with it.
    #[inline]
    pub(crate) fn message_of<'a>(
        &self,
        slot: SlotKey,
        number: u64,
        message: &'a mut Option<AllocateSlot>,
    ) -> Option<&'a AllocateSlot> {
        let (leader_id, attempt) = (self.leader_id?, self.current_attempt(slot, number)?);
        let request = &self.requests.records[attempt.request];
        let profile = &self.profiles[request.profile];
        let TargetAddress(address) = &self.requests.addresses[request.target_address];
        let Slot {
            number: slot_number,
            task_manager,
            ..
        } = &self.slots[slot];
        let instance_id = self.task_managers.records[*task_manager].instance_id;
        match message {
            Some(earlier) if earlier.instance_id == instance_id => {
                earlier.slot_id.set_slot_number(*slot_number);
                earlier.job_id = request.job_id;
                earlier.allocation_id = request.allocation_id;
                earlier.attempt = number;
                if earlier.resource_profile != *profile {
                    earlier.resource_profile = profile.clone();
                }
                if !Arc::ptr_eq(&earlier.target_address, address) {
                    earlier.target_address = Arc::clone(address);
                }
            }
            _ => {
                let request = SlotRequest::new(
                    request.job_id,
                    request.allocation_id,
                    profile.clone(),
                    Arc::clone(address),
                );
                *message = Some(self.allocate_slot(leader_id, slot, number, request));
            }
        }
        message.as_ref()
    }

    /// Returns the attempt with this number, if it is in flight to the slot.
    pub(crate) fn current_attempt(&self, slot: SlotKey, number: u64) -> Option<Attempt> {
        self.slots
            .get(slot)?
            .attempt()
            .filter(|attempt| attempt.number == number)
    }

    /// Awaits the answer to an attempt: the RPC timeout runs.
    #[inline]
    pub(crate) fn await_answer(&mut self, slot: SlotKey, rpc: RpcState) {
        let timer = self.deadline_in(self.config.rpc_timeout);
        if let SlotPhase::InFlight(attempt) = &mut self.slots[slot].phase {
            attempt.rpc = rpc;
            let request = attempt.request;
            self.requests.records[request].timer = timer;
            self.requests.rpc_timeouts.arm(&mut self.requests.records, request);
        }
    }

    /// Puts an offered slot or a new cut, and a new request, in flight, and ends the registration of the request.
    #[inline(always)]
    pub(crate) fn await_new_request(&mut self, slot: SlotKey, request: RequestKey, number: u64, rpc: RpcState) {
        let timer = self.deadline_in(self.config.rpc_timeout);
        self.take_free_slot(slot, SlotPhase::InFlight(Attempt { request, number, rpc }));
        self.requests.put_in_flight(request, slot, timer);
        self.commit();
    }

    /// Returns `true` if an acknowledgement of an attempt on a slot has no effect but the grant.
    ///
    /// Not if the grant is over already, or may end a backoff or a suspicion.
    #[inline]
    pub(crate) fn only_grants(&self, slot: SlotKey, revision: Option<u64>) -> bool {
        self.failing_workers.is_empty() && self.requests.failing_jobs.is_empty() && !self.is_overtaken(slot, revision)
    }
}

/// Answers.
impl Core {
    /// Applies an answer that comes as an input.
    pub(crate) fn answer(&mut self, id: AttemptId, result: SlotResult) -> SlotAnswerOutcome {
        let Some((slot, attempt)) = self.find_attempt(id) else {
            tracing::debug!(attempt = %id, "answer to an unknown attempt ignored");
            return SlotAnswerOutcome::Unknown;
        };
        // If the gateway returned a future as well, the first answer counts.
        self.abandon(slot, attempt);
        self.apply_result(slot, attempt, result);
        SlotAnswerOutcome::Applied
    }

    /// Applies an acknowledgement that comes as an input, if it only grants the slot. Returns `None`,
    /// without a change, if it does more.
    ///
    /// The caller notifies the returned grant.
    #[inline(always)]
    pub(crate) fn acknowledge_at_once(
        &mut self,
        id: AttemptId,
        revision: Option<u64>,
    ) -> Option<(SlotKey, Allocation)> {
        let (slot, attempt) = self.find_attempt(id)?;
        // A future would have to be dropped.
        if attempt.rpc != RpcState::AwaitedAsInput {
            return None;
        }
        let allocation = self.grant_awaited(slot, attempt, revision)?;
        Some((slot, allocation))
    }

    /// Applies the acknowledgement of an attempt that was answered at once, if it only grants the
    /// slot. Returns `false`, without a change, if it does more.
    #[inline]
    pub(crate) fn grant_answered(&mut self, slot: SlotKey, number: u64, revision: Option<u64>) -> bool {
        let attempt = self.current_attempt(slot, number);
        let Some(attempt) = attempt.filter(|_| self.only_grants(slot, revision)) else {
            return false;
        };
        self.see_revision(slot, revision);
        self.requests.records[attempt.request].phase = RequestPhase::Detached;
        self.grant(slot, attempt.request);
        true
    }

    /// Applies an awaited answer, if it only grants its slot. Returns `None`, without a change, if it
    /// does more.
    ///
    /// The caller notifies the returned grant.
    #[inline]
    pub(crate) fn grant_answer(&mut self, slot: SlotKey, attempt: u64, result: &SlotResult) -> Option<Allocation> {
        let acknowledge = result.as_ref().ok()?;
        let attempt = self.current_attempt(slot, attempt)?;
        self.grant_awaited(slot, attempt, acknowledge.revision())
    }

    /// Applies the acknowledgement of an attempt that is awaited, if it only grants the slot. Returns
    /// `None`, without a change, if it does more.
    ///
    /// The caller notifies the returned grant.
    #[inline(always)]
    pub(crate) fn grant_awaited(
        &mut self,
        slot: SlotKey,
        attempt: Attempt,
        revision: Option<u64>,
    ) -> Option<Allocation> {
        if !attempt.rpc.is_awaited() || !self.only_grants(slot, revision) {
            return None;
        }
        self.see_revision(slot, revision);
        let PendingRequests {
            records, rpc_timeouts, ..
        } = &mut self.requests;
        rpc_timeouts.disarm(records, attempt.request);
        records[attempt.request].phase = RequestPhase::Detached;
        let allocation = self.record_grant(slot, attempt.request);
        self.commit();
        Some(allocation)
    }

    #[inline(always)]
    fn find_attempt(&mut self, id: AttemptId) -> Option<(SlotKey, Attempt)> {
        let Some(AllocationEntry::Pending(request)) = self.locate_allocation(id.allocation_id) else {
            return None;
        };
        let RequestPhase::InFlight(slot) = self.requests.records[request].phase else {
            return None;
        };
        let attempt = self.current_attempt(slot, id.number)?;
        (self.leader_id == Some(id.leader_id)).then_some((slot, attempt))
    }

    /// Applies the answer to an attempt and commits. The answer to an attempt that has ended
    /// changes nothing.
    pub(crate) fn apply_answer(&mut self, slot: SlotKey, number: u64, result: SlotResult) {
        if let Some(attempt) = self.current_attempt(slot, number) {
            // The answer took its future out of the pool.
            self.stop_awaiting(slot, attempt);
            self.apply_result(slot, attempt, result);
        }
    }

    /// Applies the answer to an attempt that is awaited no more, and commits.
    #[inline]
    fn apply_result(&mut self, slot: SlotKey, mut attempt: Attempt, result: SlotResult) {
        attempt.rpc = RpcState::Answered;
        let own = self.requests.records[attempt.request].allocation();
        match result {
            Ok(acknowledge) => self.acknowledged(slot, attempt, acknowledge.revision()),
            Err(SlotAllocationError::Occupied { allocation_id, job_id }) => {
                let holder = Allocation {
                    id: allocation_id,
                    job: job_id,
                };
                match holder == own {
                    true => self.acknowledged(slot, attempt, None),
                    false => self.occupied(slot, attempt, holder),
                }
            }
            Err(SlotAllocationError::Insufficient { free }) if self.explains_refusal(slot, &free) => {
                self.lacks_resources(slot, attempt, *free);
            }
            Err(error) => self.attempt_failed(slot, attempt, error),
        }
        self.commit();
    }

    fn acknowledged(&mut self, slot: SlotKey, attempt: Attempt, revision: Option<u64>) {
        let is_overtaken = self.is_overtaken(slot, revision);
        self.see_revision(slot, revision);
        self.complete_attempt(slot, attempt);
        if is_overtaken {
            // The request was granted, and its grant is over.
            self.drop_grant_and_detach(slot, GrantLoss::ReportedFree);
            self.transaction.free.push(slot);
        }
    }

    /// Ends an attempt to a slot that another allocation holds. That is no failure of the slot.
    ///
    /// Nor of the request, unless the slot is cut for it: a worker that answers so to each new number
    /// would be tried without end. For the same reason it ends a probe of the worker.
    fn occupied(&mut self, slot: SlotKey, attempt: Attempt, holder: Allocation) {
        let worker = self.task_managers.records[self.slots[slot].task_manager].instance_id;
        let is_cut = self.is_cut(slot);
        let record = &mut self.requests.records[attempt.request];
        let Allocation {
            id: allocation_id,
            job: job_id,
        } = holder;
        let error = SlotAllocationError::Occupied { allocation_id, job_id };
        match is_cut {
            true => drop(record.note_failure(&error, worker)),
            false => record.note_answer(error),
        }
        record.phase = RequestPhase::Detached;
        let own = record.allocation_id;
        if is_cut {
            self.note_undecided_probe(slot, attempt.number);
        }
        tracing::warn!(
            slot_id = %self.slot_id(slot), allocation_id = %own, held_by = %allocation_id,
            "slot is occupied by another allocation"
        );
        self.requests.note_end_of_attempt(attempt.request);
        self.transaction.detached.push(attempt.request);
        self.adopt(slot, holder);
        self.note_probe(self.slots[slot].task_manager);
    }

    /// Returns `true` if a worker refused a cut because it has only `free` left.
    ///
    /// Not if that bounds nothing: the worker would get the same attempt again, without end.
    fn explains_refusal(&self, slot: SlotKey, free: &ResourceProfile) -> bool {
        let Slot {
            task_manager, profile, ..
        } = self.slots[slot];
        let worker = self.dynamic_workers.get(task_manager);
        worker.is_some_and(|worker| worker.is_bounded_by(free)) && !free.is_matching(&self.profiles[profile])
    }

    /// Ends an attempt to cut more than a worker has left. That is no failure of the worker or the
    /// request.
    fn lacks_resources(&mut self, slot: SlotKey, attempt: Attempt, free: ResourceProfile) {
        let record = &mut self.requests.records[attempt.request];
        let own = record.allocation_id;
        tracing::warn!(
            slot_id = %self.slot_id(slot), allocation_id = %own, %free, "worker has less left than was known"
        );
        let task_manager = self.slots[slot].task_manager;
        self.end_attempt(slot, attempt);
        self.end_cut_beyond(slot, &free);
        let free = Box::new(free);
        self.requests.records[attempt.request].note_answer(SlotAllocationError::Insufficient { free });
        self.transaction.detached.push(attempt.request);
        self.note_probe(task_manager);
    }

    /// Returns `true` if a report taken after this acknowledgement was applied first. It showed the
    /// slot as free.
    #[inline]
    pub(crate) fn is_overtaken(&self, slot: SlotKey, revision: Option<u64>) -> bool {
        revision.is_some_and(|answer| {
            let owner = &self.task_managers.records[self.slots[slot].task_manager];
            owner.reported_revision().is_some_and(|report| answer < report)
        })
    }

    /// Notes the revision of an acknowledgement.
    #[inline]
    pub(crate) fn see_revision(&mut self, slot: SlotKey, revision: Option<u64>) {
        if let Some(revision) = revision {
            self.task_managers.records[self.slots[slot].task_manager].see_revision(revision);
        }
    }

    /// Grants the slot of an attempt to its request.
    #[inline]
    pub(crate) fn complete_attempt(&mut self, slot: SlotKey, attempt: Attempt) {
        self.abandon(slot, attempt);
        self.requests.records[attempt.request].phase = RequestPhase::Detached;
        self.grant(slot, attempt.request);
        self.worker_acknowledged(slot);
    }
}

/// Failures.
impl Core {
    /// Ends an attempt that failed. The slot goes to other waiting requests first; the request
    /// keeps its age.
    fn attempt_failed(&mut self, slot: SlotKey, attempt: Attempt, error: SlotAllocationError) {
        let request = attempt.request;
        self.end_attempt(slot, attempt);
        let task_manager = self.slots[slot].task_manager;
        let worker = self.task_managers.records[task_manager].instance_id;
        let is_refusal = matches!(
            error,
            SlotAllocationError::Rejected { .. } | SlotAllocationError::Insufficient { .. }
        );
        let record = &mut self.requests.records[request];
        let Allocation {
            id: allocation_id,
            job: job_id,
        } = record.allocation();
        let failed_attempts = record.note_failure(&error, worker);
        tracing::warn!(
            slot_id = %self.slot_id(slot), %allocation_id, %error, failed_attempts, "slot request attempt failed"
        );
        self.counters.requests_retried += 1;
        if self.requests.note_failure_of_job(request) {
            self.counters.jobs_suspected += 1;
            tracing::warn!(%job_id, "job is suspect: attempts for two of its requests failed in a row");
        }
        let refused = is_refusal.then_some(job_id);
        self.note_failure_of_worker(slot, attempt.number, allocation_id, refused);
        // At once, not at the commit: there the failed request would come before the others.
        self.offer_failed_slot(slot, allocation_id, job_id);
        self.transaction.detached.push(request);
    }

    /// Offers a slot on which an attempt failed, or backs it off if different allocations failed on
    /// it in a row. While its worker backs off, the worker is at fault and not the slot.
    fn offer_failed_slot(&mut self, slot: SlotKey, allocation_id: AllocationId, job_id: JobId) {
        let task_manager = self.slots[slot].task_manager;
        if self.failing_workers.backoff(task_manager).is_some() || self.is_cut(slot) {
            self.offer(slot);
            return;
        }
        let failures = self.slot_failures.entry(slot).or_insert(SlotFailures {
            last: allocation_id,
            backoffs: 0,
            refused_jobs: RefusedJobs::default(),
        });
        failures.refused_jobs.note(job_id);
        if failures.last == allocation_id {
            self.offer(slot);
            return;
        }
        failures.last = allocation_id;
        let step = self.slot_backoffs.step(failures.backoffs);
        failures.backoffs = failures.backoffs.saturating_add(1);
        if self.is_blocked(task_manager) {
            return self.set_blocked(slot);
        }
        if let Some(request) = self.candidate_despite_refusals(slot) {
            return self.assign(slot, request);
        }
        let until = self.deadline_in(self.slot_backoffs.length(step));
        let armed_as = self.slot_backoffs.next_armed();
        self.set_slot_phase(slot, SlotPhase::BackingOff { step, until, armed_as });
    }

    /// Fails an attempt whose answer did not come in time.
    pub(crate) fn attempt_timed_out(&mut self, request: RequestKey) {
        let RequestPhase::InFlight(slot) = self.requests.records[request].phase else {
            return;
        };
        if let Some(attempt) = self.slots[slot].attempt() {
            self.fence_attempt(slot, attempt);
            self.attempt_failed(slot, attempt, SlotAllocationError::Timeout);
        }
    }
}

/// End.
impl Core {
    /// Ends an attempt that is not wanted any more, and tells the task executor. Slot and request
    /// are detached afterwards.
    pub(crate) fn give_up_attempt(&mut self, slot: SlotKey, attempt: Attempt) {
        self.fence_attempt(slot, attempt);
        self.end_attempt(slot, attempt);
    }

    /// Ends an attempt without telling the task executor. Slot and request are detached afterwards.
    pub(crate) fn end_attempt(&mut self, slot: SlotKey, attempt: Attempt) {
        self.abandon(slot, attempt);
        self.requests.note_end_of_attempt(attempt.request);
        self.requests.records[attempt.request].phase = RequestPhase::Detached;
        self.detach_slot(slot);
    }

    /// Awaits the answer to an attempt no more, and drops its future.
    #[inline]
    fn abandon(&mut self, slot: SlotKey, attempt: Attempt) {
        if let RpcState::Awaited(rpc) = attempt.rpc {
            self.effects.abandoned.push(AbandonedRpc {
                rpc,
                attempt: attempt.number,
            });
        }
        self.stop_awaiting(slot, attempt);
    }

    /// Awaits the answer to an attempt no more.
    #[inline]
    fn stop_awaiting(&mut self, slot: SlotKey, attempt: Attempt) {
        if attempt.rpc.is_awaited() {
            self.requests
                .rpc_timeouts
                .disarm(&mut self.requests.records, attempt.request);
            self.note_answered(slot);
        }
    }

    /// Notes that the answer to an attempt is at hand, or not wanted any more.
    #[inline]
    pub(crate) fn note_answered(&mut self, slot: SlotKey) {
        if let SlotPhase::InFlight(attempt) = &mut self.slots[slot].phase {
            attempt.rpc = RpcState::Answered;
        }
    }

    /// Tells the task executor that an attempt is over, if its RPC was sent.
    pub(crate) fn fence_attempt(&mut self, slot: SlotKey, attempt: Attempt) {
        if attempt.rpc != RpcState::Unsent {
            let request = &self.requests.records[attempt.request];
            self.ask_to_free(slot, request.allocation(), attempt.number);
        }
    }

    /// Queues a message that the allocation must not hold the slot under this or an older attempt.
    pub(crate) fn ask_to_free(&mut self, slot: SlotKey, allocation: Allocation, attempt: u64) {
        let Some(leader_id) = self.leader_id else {
            return;
        };
        let task_manager = self.slots[slot].task_manager;
        self.effects.frees.push((
            task_manager,
            FreeSlot {
                slot_id: self.slot_id(slot),
                job_id: allocation.job,
                allocation_id: allocation.id,
                leader_id,
                instance_id: self.task_managers.records[task_manager].instance_id,
                attempt,
            },
        ));
    }
}
