//! The state, and the transitions that touch more than one part of it. Nothing here talks to the outside: what is to be said goes to
//! [`Effects`].

use crate::{
    AllocationFailureCause, AllocationId, AllocationStatus, Conflict, FreeSlot, GrantLoss, JobId, LeaderId,
    RequestFailure, SlotAllocationError, SlotId, SlotManagerConfig, SlotRequest, SlotRequestError, SlotRequestOutcome,
    Timestamp,
};

use super::allocations::{Allocations, Holder};
use super::deadlines::{Pauses, SHORTEST_REARM};
use super::effects::{Effects, Notification, NotificationKind, SlotRequestToSend};
use super::free_slots::FreeSlots;
use super::pending_requests::{PendingRequests, RequestKey, RequestState};
use super::profiles::Profiles;
use super::promised_slots::PromisedSlots;
use super::records::Records;
use super::slots::{Attempt, Delivery, Slot, SlotFailures, SlotKey, SlotState, Withheld};
use super::task_managers::{TaskManagerKey, TaskManagers};

/// How many slots are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotCounts {
    /// All slots: the sum of the three below.
    pub registered: usize,
    /// Free slots, also those that pause after failed attempts.
    pub free: usize,
    /// Slots a task executor has been asked for and has not answered.
    pub in_flight: usize,
    /// Slots held by an allocation.
    pub allocated: usize,
}

/// The state of the manager: only data, no outside.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: SlotManagerConfig,
    pub(super) leader_id: Option<LeaderId>,
    /// The time of the present call.
    pub(super) now: Timestamp,
    /// What is armed in the present call falls due no earlier than this.
    pub(super) earliest_rearm: Timestamp,
    pub(super) profiles: Profiles,
    pub(super) slots: Records<SlotKey, Slot>,
    pub(super) free_slots: FreeSlots,
    pub(super) withheld: Pauses<Withheld, SlotKey>,
    pub(super) requests: PendingRequests,
    pub(super) allocations: Allocations,
    pub(super) task_managers: TaskManagers,
    pub(super) promised_slots: PromisedSlots,
    pub(super) counts: SlotCounts,
    pub(super) effects: Effects,
    /// What the present transaction set free, unplaced or took away; empty between transactions.
    pub(super) changes: Changes,
    /// The request that is being registered, and what became of it.
    pub(super) registering: Option<Registering>,
    /// The number of the last attempt.
    pub(super) attempts: u64,
    /// The number of the last worker request; not reset by a new leadership.
    pub(super) worker_requests: u64,
}

/// What a transaction leaves to be settled at its end.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Slots that became free, in this order.
    pub(super) free: Vec<SlotKey>,
    /// Requests that lost their attempt and look for another slot.
    pub(super) unplaced: Vec<RequestKey>,
    /// Grants that were dropped. Whether they are lost is judged when the transaction is complete.
    pub(super) dropped: Vec<DroppedGrant>,
}

#[derive(Debug)]
pub(super) struct DroppedGrant {
    pub(super) slot_id: SlotId,
    pub(super) allocation_id: AllocationId,
    pub(super) job_id: JobId,
    pub(super) loss: GrantLoss,
}

/// The request of the present call to `register_slot_request`.
#[derive(Debug)]
pub(super) struct Registering {
    pub(super) allocation_id: AllocationId,
    pub(super) result: Option<Result<SlotId, RequestFailure>>,
}

impl Core {
    pub(super) fn new(config: SlotManagerConfig) -> Self {
        Self {
            leader_id: None,
            now: Timestamp::ZERO,
            earliest_rearm: Timestamp::ZERO,
            profiles: Profiles::new(),
            slots: Records::new(),
            free_slots: FreeSlots::new(config.slot_matching_strategy),
            withheld: Pauses::new(config.retry_pause, config.max_retry_pause),
            requests: PendingRequests::new(&config),
            allocations: Allocations::new(),
            task_managers: TaskManagers::new(),
            promised_slots: PromisedSlots::new(),
            counts: SlotCounts::default(),
            effects: Effects::default(),
            changes: Changes::default(),
            registering: None,
            attempts: 0,
            worker_requests: 0,
            config,
        }
    }

    /// Forgets everything but the configuration, the time, and what numbers have been used.
    pub(super) fn clear(&mut self) {
        self.leader_id = None;
        self.profiles.clear();
        self.slots.clear();
        self.free_slots.clear();
        self.withheld.clear();
        self.requests.clear();
        self.allocations.clear();
        self.task_managers.clear();
        self.promised_slots.clear();
        self.counts = SlotCounts::default();
        self.effects.clear();
        self.changes = Changes::default();
        self.registering = None;
    }

    /// Begins an input: it never acts on time, and deadlines are as long as configured.
    pub(super) fn begin_input(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.earliest_rearm = Timestamp::ZERO;
    }

    /// Begins a round of progress, which handles the time `now`.
    pub(super) fn begin_round(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.earliest_rearm = self.now + SHORTEST_REARM;
    }

    /// The deadline of what is armed now for `length`.
    pub(super) fn deadline_in(&self, length: std::time::Duration) -> Timestamp {
        (self.now + length).max(self.earliest_rearm)
    }

    pub(super) fn slot_id(&self, slot: SlotKey) -> SlotId {
        let slot = &self.slots[slot];
        SlotId::new(
            self.task_managers.records[slot.task_manager].resource_id.clone(),
            slot.number,
        )
    }

    pub(super) fn find_slot(&self, slot_id: &SlotId) -> Option<SlotKey> {
        let task_manager = self.task_managers.by_resource(slot_id.resource_id())?;
        self.task_managers.records[task_manager].slot(slot_id.slot_number())
    }

    pub(super) fn find_allocation(&self, id: AllocationId) -> Option<Holder> {
        self.allocations.find(id, &self.requests.records, &self.slots)
    }

    pub(super) fn status_of(&self, holder: Holder) -> AllocationStatus {
        match holder {
            Holder::Granted(slot) => AllocationStatus::Granted {
                slot_id: self.slot_id(slot),
            },
            Holder::Pending(request) => match self.requests.records[request].state {
                RequestState::InFlight(slot) => AllocationStatus::InFlight {
                    slot_id: self.slot_id(slot),
                },
                _ => AllocationStatus::Waiting,
            },
        }
    }
}

/// Transitions of a slot.
impl Core {
    /// The one place where the state of a slot changes, and with it the free index, the counts and the idle time of the task manager.
    fn set_slot_state(&mut self, slot: SlotKey, state: SlotState) {
        let task_manager = self.slots[slot].task_manager;
        let used_before = self.task_managers.records[task_manager].used();
        self.leave_slot_state(slot, task_manager);
        self.enter_slot_state(slot, task_manager, state);
        let used = self.task_managers.records[task_manager].used();
        if used != used_before {
            self.free_slots
                .utilization_changed(&self.task_managers.records, task_manager);
            match (used_before, used) {
                (0, _) => self.end_idle_period(task_manager),
                (_, 0) => self.begin_idle_period(task_manager),
                _ => {}
            }
        }
    }

    fn leave_slot_state(&mut self, slot: SlotKey, task_manager: TaskManagerKey) {
        let owner = &mut self.task_managers.records[task_manager];
        match self.slots[slot].state {
            SlotState::Unplaced => self.counts.free -= 1,
            SlotState::Offered { .. } => {
                self.counts.free -= 1;
                self.free_slots.remove(&mut self.slots, slot);
            }
            SlotState::Withheld { step, .. } => {
                self.counts.free -= 1;
                self.withheld.disarm(&mut self.slots, step, slot);
            }
            SlotState::InFlight(_) => {
                self.counts.in_flight -= 1;
                owner.in_flight -= 1;
            }
            SlotState::Allocated { .. } => {
                self.counts.allocated -= 1;
                owner.allocated -= 1;
            }
        }
    }

    fn enter_slot_state(&mut self, slot: SlotKey, task_manager: TaskManagerKey, state: SlotState) {
        let owner = &mut self.task_managers.records[task_manager];
        self.slots[slot].state = state;
        match self.slots[slot].state {
            SlotState::Unplaced => self.counts.free += 1,
            SlotState::Offered { .. } => {
                self.counts.free += 1;
                self.free_slots.push(&mut self.slots, &self.task_managers.records, slot);
            }
            SlotState::Withheld { step, .. } => {
                self.counts.free += 1;
                self.withheld.arm(&mut self.slots, step, slot);
            }
            SlotState::InFlight(_) => {
                self.counts.in_flight += 1;
                owner.in_flight += 1;
            }
            SlotState::Allocated { .. } => {
                self.counts.allocated += 1;
                owner.allocated += 1;
            }
        }
    }

    /// Adds a free slot, unplaced.
    pub(super) fn insert_slot(&mut self, slot: Slot) -> SlotKey {
        let (number, task_manager) = (slot.number, slot.task_manager);
        let key = self.slots.insert(slot);
        self.task_managers.records[task_manager].slots.push((number, key));
        self.counts.registered += 1;
        self.counts.free += 1;
        key
    }

    /// Forgets a free slot. Its task manager's list of slots is left to the caller.
    pub(super) fn remove_slot(&mut self, slot: SlotKey) {
        self.make_unplaced(slot);
        self.counts.registered -= 1;
        self.counts.free -= 1;
        let slot = self.slots.remove(slot);
        self.profiles.release(slot.profile);
    }

    pub(super) fn make_unplaced(&mut self, slot: SlotKey) {
        self.set_slot_state(slot, SlotState::Unplaced);
    }

    /// Gives an unplaced slot to the oldest waiting request that it fits, else into the free index.
    pub(super) fn offer(&mut self, slot: SlotKey) {
        match self.requests.oldest_waiting(&self.profiles, self.slots[slot].profile) {
            Some(request) => self.assign(slot, request),
            None => {
                let sequence = self.free_slots.next_sequence();
                self.set_slot_state(slot, SlotState::Offered { sequence });
            }
        }
    }

    /// Begins an attempt.
    fn assign(&mut self, slot: SlotKey, request: RequestKey) {
        self.unplace_request(request);
        self.attempts += 1;
        let number = self.attempts;
        self.set_slot_state(
            slot,
            SlotState::InFlight(Attempt {
                request,
                number,
                delivery: Delivery::Unsent,
            }),
        );
        let record = &mut self.requests.records[request];
        record.state = RequestState::InFlight(slot);
        self.effects.slot_requests.push(SlotRequestToSend {
            sequence: record.sequence,
            attempt: number,
            slot,
        });
    }

    /// The attempt with this number, if it is in flight to the slot.
    pub(super) fn current_attempt(&self, slot: SlotKey, number: u64) -> Option<Attempt> {
        self.slots
            .get(slot)?
            .attempt()
            .filter(|attempt| attempt.number == number)
    }

    /// Notes how far an attempt is; the RPC timeout runs while its answer is awaited.
    pub(super) fn set_delivery(&mut self, slot: SlotKey, delivery: Delivery) {
        let timer = self.deadline_in(self.config.rpc_timeout);
        if let SlotState::InFlight(attempt) = &mut self.slots[slot].state {
            let request = attempt.request;
            if matches!(attempt.delivery, Delivery::Awaited(_)) {
                self.requests.rpc_timeouts.disarm(&mut self.requests.records, request);
            }
            attempt.delivery = delivery;
            if matches!(delivery, Delivery::Awaited(_)) {
                self.requests.records[request].timer = timer;
                self.requests.rpc_timeouts.arm(&mut self.requests.records, request);
            }
        }
    }

    /// Ends an attempt that nobody wants any more: its future is dropped, and the task executor is told if it was asked. Slot and request are
    /// unplaced afterwards.
    fn give_up_attempt(&mut self, slot: SlotKey, attempt: Attempt) {
        if attempt.delivery != Delivery::Unsent {
            let request = &self.requests.records[attempt.request];
            let (allocation_id, job_id) = (request.allocation_id, request.job_id);
            self.ask_to_free(slot, allocation_id, job_id, attempt.number);
        }
        self.end_attempt(slot, attempt);
    }

    /// Ends an attempt without a word to the task executor. Slot and request are unplaced afterwards.
    fn end_attempt(&mut self, slot: SlotKey, attempt: Attempt) {
        self.abandon(slot, attempt);
        self.requests.records[attempt.request].state = RequestState::Unplaced;
        self.make_unplaced(slot);
    }

    /// Drops the future of an attempt, if it is awaited.
    fn abandon(&mut self, slot: SlotKey, attempt: Attempt) {
        if let Delivery::Awaited(cell) = attempt.delivery {
            self.effects.abandoned.push(cell);
            self.set_delivery(slot, Delivery::Answered);
        }
    }

    fn ask_to_free(&mut self, slot: SlotKey, allocation_id: AllocationId, job_id: JobId, attempt: u64) {
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

    pub(super) fn begin_idle_period(&mut self, task_manager: TaskManagerKey) {
        let release_at = self.deadline_in(self.config.task_manager_timeout);
        let record = &mut self.task_managers.records[task_manager];
        record.idle_since = Some(self.now);
        record.idle_periods += 1;
        record.release_at = release_at;
        self.task_managers
            .idle
            .arm(&mut self.task_managers.records, task_manager);
    }

    pub(super) fn end_idle_period(&mut self, task_manager: TaskManagerKey) {
        self.task_managers.records[task_manager].idle_since = None;
        self.task_managers
            .idle
            .disarm(&mut self.task_managers.records, task_manager);
    }

    /// Notes that the release of an idle task manager is to be asked for, and that it is asked for again if that is declined.
    pub(super) fn note_idle_timeout(&mut self, task_manager: TaskManagerKey) {
        let release_at = self.deadline_in(self.config.task_manager_timeout);
        self.task_managers
            .idle
            .disarm(&mut self.task_managers.records, task_manager);
        let record = &mut self.task_managers.records[task_manager];
        record.release_at = release_at;
        self.effects.releases.push((task_manager, record.idle_periods));
        self.task_managers
            .idle
            .arm(&mut self.task_managers.records, task_manager);
    }
}

/// Transitions of a request.
impl Core {
    /// What a request says whose allocation is known.
    pub(super) fn duplicate(
        &self,
        holder: Holder,
        request: &SlotRequest,
    ) -> Result<SlotRequestOutcome, SlotRequestError> {
        let status = self.status_of(holder);
        let (job_id, same_profile) = match holder {
            Holder::Pending(known) => {
                let known = &self.requests.records[known];
                (
                    Some(known.job_id),
                    self.profiles[known.profile] == *request.resource_profile(),
                )
            }
            // The profile of a granted request is not kept.
            Holder::Granted(slot) => (self.slots[slot].holder().map(|(_, job_id)| job_id), true),
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

    /// Accepts a request, unplaced.
    pub(super) fn insert_request(&mut self, request: SlotRequest) -> RequestKey {
        let (job_id, allocation_id, profile, target_address) = request.into_parts();
        let profile = self.profiles.acquire(&profile);
        let deadline = self.now + self.config.request_timeout;
        let request = self
            .requests
            .insert(allocation_id, job_id, profile, target_address, deadline);
        self.allocations.insert(
            allocation_id,
            Holder::Pending(request),
            &self.requests.records,
            &self.slots,
        );
        request
    }

    /// Looks for a free slot for an unplaced request; without one it waits.
    pub(super) fn seek(&mut self, request: RequestKey) {
        let required = self.requests.records[request].profile;
        match self.free_slots.find(&self.slots, &self.profiles, required) {
            Some(slot) => self.assign(slot, request),
            None => self.wait(request),
        }
    }

    /// Takes a request out of the queue or pause it is in. An attempt in flight is not touched.
    fn unplace_request(&mut self, request: RequestKey) {
        let record = &mut self.requests.records[request];
        let profile = record.profile;
        match record.state {
            RequestState::Unplaced | RequestState::InFlight(_) => return,
            RequestState::Covered(promise) => {
                self.requests
                    .covered
                    .remove(&mut self.requests.records, profile, request);
                self.requests.records[request].state = RequestState::Unplaced;
                self.cover_with(promise);
            }
            RequestState::Uncovered(_) => self.take_uncovered(request),
            RequestState::Paused { step } => {
                self.requests.pauses.disarm(&mut self.requests.records, step, request);
            }
        }
        self.requests.records[request].state = RequestState::Unplaced;
    }

    /// Lets an unplaced request pause.
    fn pause(&mut self, request: RequestKey, step: u8) {
        let timer = self.deadline_in(self.requests.pauses.length(step));
        let record = &mut self.requests.records[request];
        record.timer = timer;
        record.state = RequestState::Paused { step };
        self.requests.pauses.arm(&mut self.requests.records, step, request);
    }

    /// Lets a request whose pause is over look for a slot again.
    pub(super) fn resume(&mut self, request: RequestKey) {
        self.unplace_request(request);
        self.seek(request);
    }

    /// Takes a request out of wherever it is: a slot in flight is given back. It is unplaced afterwards.
    fn withdraw(&mut self, request: RequestKey) {
        if let RequestState::InFlight(slot) = self.requests.records[request].state {
            if let Some(attempt) = self.slots[slot].attempt() {
                self.give_up_attempt(slot, attempt);
                self.changes.free.push(slot);
            }
        } else {
            self.unplace_request(request);
        }
    }

    /// Forgets an unplaced request whose allocation is not indexed as pending any more.
    fn forget(&mut self, request: RequestKey) {
        let record = self.requests.remove(request);
        self.profiles.release(record.profile);
    }

    /// Ends a request at the wish of its job.
    pub(super) fn cancel(&mut self, request: RequestKey) {
        self.withdraw(request);
        let allocation_id = self.requests.records[request].allocation_id;
        self.allocations.remove(allocation_id, Holder::Pending(request));
        self.forget(request);
    }

    /// Ends a request that cannot be served, and says so.
    pub(super) fn fail(&mut self, request: RequestKey, failure: RequestFailure) {
        let record = &self.requests.records[request];
        let (allocation_id, job_id) = (record.allocation_id, record.job_id);
        self.cancel(request);
        match &mut self.registering {
            Some(registering) if registering.allocation_id == allocation_id => {
                registering.result = Some(Err(failure));
            }
            _ => {
                tracing::warn!(%job_id, %allocation_id, %failure, "slot request failed");
                self.effects.notifications.push(Notification {
                    job_id,
                    allocation_id,
                    kind: NotificationKind::Failed(AllocationFailureCause::RequestFailed(failure)),
                });
            }
        }
    }

    /// Ends a request whose time is over.
    pub(super) fn expire(&mut self, request: RequestKey) {
        let record = &self.requests.records[request];
        let failure = RequestFailure::Timeout {
            timeout: self.config.request_timeout,
            resource_profile: self.profiles[record.profile].clone(),
            last_failure: record.last_failure.as_deref().cloned(),
        };
        self.fail(request, failure);
    }

    /// Grants a slot, which nothing else holds, to an unplaced request.
    fn grant(&mut self, slot: SlotKey, request: RequestKey) {
        let record = &self.requests.records[request];
        let (allocation_id, job_id) = (record.allocation_id, record.job_id);
        self.set_slot_state(
            slot,
            SlotState::Allocated {
                allocation_id,
                job_id,
                duplicate: false,
            },
        );
        self.slots[slot].failures = None;
        self.allocations.grant(allocation_id, request, slot);
        self.forget(request);
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

/// Answers of task executors.
impl Core {
    /// Applies the answer to an attempt, unless the attempt has ended. The answer's future is gone by now.
    pub(super) fn apply_answer(
        &mut self,
        slot: SlotKey,
        number: u64,
        result: Result<crate::Acknowledge, SlotAllocationError>,
    ) {
        let Some(attempt) = self.current_attempt(slot, number) else {
            return;
        };
        self.set_delivery(slot, Delivery::Answered);
        let attempt = Attempt {
            delivery: Delivery::Answered,
            ..attempt
        };
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
                self.requests.records[request].state = RequestState::Unplaced;
                self.changes.unplaced.push(request);
                self.adopt(slot, allocation_id, job_id);
            }
            Err(error) => self.attempt_failed(slot, attempt, error),
        }
        self.settle();
    }

    /// Grants the slot of an attempt to its request.
    pub(super) fn complete_attempt(&mut self, slot: SlotKey, attempt: Attempt) {
        self.abandon(slot, attempt);
        self.requests.records[attempt.request].state = RequestState::Unplaced;
        self.grant(slot, attempt.request);
    }

    fn acknowledged(&mut self, slot: SlotKey, attempt: Attempt, revision: Option<u64>) {
        let owner = &mut self.task_managers.records[self.slots[slot].task_manager];
        owner.revision = owner.revision.max(revision);
        // A report that was taken after this allocation said that the slot is free: granted, and over (B.18 of the design's rules).
        let already_freed =
            matches!((revision, owner.report_revision), (Some(answer), Some(report)) if answer < report);
        self.complete_attempt(slot, attempt);
        if already_freed {
            self.drop_holding(slot, GrantLoss::ReportedFree);
            self.changes.free.push(slot);
        }
    }

    /// Ends an attempt that failed: the slot is for the other waiting requests first, the request keeps its place in the queue.
    fn attempt_failed(&mut self, slot: SlotKey, attempt: Attempt, error: SlotAllocationError) {
        let request = attempt.request;
        self.end_attempt(slot, attempt);
        let record = &mut self.requests.records[request];
        let allocation_id = record.allocation_id;
        record.failed_attempts += 1;
        let failed_attempts = record.failed_attempts;
        tracing::warn!(
            slot_id = %self.slot_id(slot), %allocation_id, %error, failed_attempts, "slot request attempt failed"
        );
        self.requests.records[request].last_failure = Some(Box::new(error));
        self.place_failed_slot(slot, allocation_id);
        if failed_attempts == 1 {
            self.changes.unplaced.push(request);
        } else {
            let step = self.requests.pauses.step(failed_attempts - 2);
            self.pause(request, step);
        }
    }

    /// Offers a slot on which an attempt failed, or withholds it if the last two were of different allocations.
    fn place_failed_slot(&mut self, slot: SlotKey, allocation_id: AllocationId) {
        let failures = self.slots[slot].failures.get_or_insert_with(|| {
            Box::new(SlotFailures {
                last: allocation_id,
                pauses: 0,
            })
        });
        if failures.last == allocation_id {
            self.offer(slot);
            return;
        }
        failures.last = allocation_id;
        let step = self.withheld.step(failures.pauses);
        failures.pauses = failures.pauses.saturating_add(1);
        let until = self.deadline_in(self.withheld.length(step));
        self.set_slot_state(slot, SlotState::Withheld { step, until });
    }

    /// Ends an attempt whose answer did not come in time.
    pub(super) fn attempt_timed_out(&mut self, request: RequestKey) {
        let RequestState::InFlight(slot) = self.requests.records[request].state else {
            return;
        };
        if let Some(attempt) = self.slots[slot].attempt() {
            let record = &self.requests.records[request];
            let (allocation_id, job_id) = (record.allocation_id, record.job_id);
            self.ask_to_free(slot, allocation_id, job_id, attempt.number);
            self.attempt_failed(slot, attempt, SlotAllocationError::Timeout);
        }
        self.settle();
    }
}

/// Who holds a slot, as its task executor says.
impl Core {
    /// Records that a slot is held by an allocation. Whatever held it, or was in flight to it, has been dealt with.
    pub(super) fn adopt(&mut self, slot: SlotKey, allocation_id: AllocationId, job_id: JobId) {
        if self.find_allocation(allocation_id).is_none() {
            self.promote_duplicate(allocation_id);
        }
        let mut duplicate = false;
        match self.find_allocation(allocation_id) {
            Some(Holder::Pending(request)) => {
                self.withdraw(request);
                if self.requests.records[request].job_id == job_id {
                    self.grant(slot, request);
                    return;
                }
                let slot_id = self.slot_id(slot);
                self.fail(request, RequestFailure::HeldByAnotherJob { slot_id, job_id });
            }
            Some(Holder::Granted(_)) => duplicate = true,
            None => {}
        }
        self.set_slot_state(
            slot,
            SlotState::Allocated {
                allocation_id,
                job_id,
                duplicate,
            },
        );
        self.slots[slot].failures = None;
        if duplicate {
            self.allocations.add_duplicate(allocation_id, slot);
            self.free_if_duplicate(slot);
        } else {
            self.allocations.insert(
                allocation_id,
                Holder::Granted(slot),
                &self.requests.records,
                &self.slots,
            );
        }
    }

    /// Asks the task executor to free a slot if it holds an allocation which is granted on another.
    pub(super) fn free_if_duplicate(&mut self, slot: SlotKey) {
        if let SlotState::Allocated {
            allocation_id,
            job_id,
            duplicate: true,
        } = self.slots[slot].state
        {
            tracing::warn!(slot_id = %self.slot_id(slot), %allocation_id, "a second slot holds the allocation");
            self.ask_to_free(slot, allocation_id, job_id, self.attempts);
        }
    }

    /// Ends what holds a slot without judging it; the slot is unplaced afterwards.
    pub(super) fn drop_holding(&mut self, slot: SlotKey, loss: GrantLoss) {
        if let Some(dropped) = self.forget_holding(slot, loss) {
            self.changes.dropped.push(dropped);
        }
        self.make_unplaced(slot);
    }

    /// Ends what holds a slot in the index of allocations only.
    pub(super) fn forget_holding(&mut self, slot: SlotKey, loss: GrantLoss) -> Option<DroppedGrant> {
        let SlotState::Allocated {
            allocation_id,
            job_id,
            duplicate,
        } = self.slots[slot].state
        else {
            return None;
        };
        if duplicate {
            self.allocations.remove_duplicate(allocation_id, slot);
            return None;
        }
        self.allocations.remove(allocation_id, Holder::Granted(slot));
        Some(DroppedGrant {
            slot_id: self.slot_id(slot),
            allocation_id,
            job_id,
            loss,
        })
    }

    /// Lets the oldest other slot that holds an allocation take the place of its grant.
    pub(super) fn promote_duplicate(&mut self, allocation_id: AllocationId) {
        let Some(slot) = self.allocations.take_oldest_duplicate(allocation_id) else {
            return;
        };
        if let SlotState::Allocated { duplicate, .. } = &mut self.slots[slot].state {
            *duplicate = false;
        }
        self.allocations.insert(
            allocation_id,
            Holder::Granted(slot),
            &self.requests.records,
            &self.slots,
        );
    }

    /// Ends a grant, or a request in flight, because its task executor says that the slot is free (or the job gave it back).
    pub(super) fn freed(&mut self, slot: SlotKey, allocation_id: AllocationId) -> crate::FreeSlotOutcome {
        use crate::FreeSlotOutcome as Outcome;
        match self.slots[slot].state {
            SlotState::Allocated {
                allocation_id: holder, ..
            } if holder != allocation_id => Outcome::HeldByAnother { allocation_id: holder },
            SlotState::Allocated { .. } => {
                self.end_grant(slot, allocation_id);
                Outcome::Freed
            }
            SlotState::InFlight(attempt) => {
                let wanted = self.requests.records[attempt.request].allocation_id;
                if wanted != allocation_id {
                    return Outcome::HeldByAnother { allocation_id: wanted };
                }
                self.complete_attempt(slot, attempt);
                self.end_grant(slot, allocation_id);
                Outcome::FreedInFlight
            }
            SlotState::Unplaced | SlotState::Offered { .. } | SlotState::Withheld { .. } => Outcome::NotAllocated,
        }
    }

    fn end_grant(&mut self, slot: SlotKey, allocation_id: AllocationId) {
        // The job gave it back: not a loss, so what is dropped is not to be judged.
        if self.forget_holding(slot, GrantLoss::ReportedFree).is_some() {
            self.promote_duplicate(allocation_id);
        }
        self.make_unplaced(slot);
        self.changes.free.push(slot);
        self.settle();
    }

    /// Forgets a task manager and its slots. Attempts in flight to it are given up, its grants dropped for `loss`.
    pub(super) fn detach_task_manager(&mut self, task_manager: TaskManagerKey, loss: &GrantLoss) {
        let slots = std::mem::take(&mut self.task_managers.records[task_manager].slots);
        for (_, slot) in &slots {
            self.vacate(*slot, loss);
        }
        for (_, slot) in slots {
            self.remove_slot(slot);
        }
        self.end_idle_period(task_manager);
        self.task_managers.remove(task_manager);
    }

    /// Forgets a task manager that is being stopped because nothing uses its slots.
    pub(super) fn forget_idle_task_manager(&mut self, task_manager: TaskManagerKey) {
        self.detach_task_manager(task_manager, &GrantLoss::SlotRemoved);
    }

    /// Takes whatever holds a slot off it, because the slot is gone. It is unplaced afterwards.
    pub(super) fn vacate(&mut self, slot: SlotKey, loss: &GrantLoss) {
        match self.slots[slot].state {
            SlotState::InFlight(attempt) => {
                self.end_attempt(slot, attempt);
                self.changes.unplaced.push(attempt.request);
            }
            SlotState::Allocated { .. } => self.drop_holding(slot, loss.clone()),
            SlotState::Unplaced | SlotState::Offered { .. } | SlotState::Withheld { .. } => self.make_unplaced(slot),
        }
    }

    /// Gives up the attempt in flight to a slot that its task executor reports as held by another allocation. The slot is unplaced afterwards.
    pub(super) fn contradict_attempt(&mut self, slot: SlotKey, attempt: Attempt) {
        self.give_up_attempt(slot, attempt);
        self.changes.unplaced.push(attempt.request);
    }
}

/// The end of a transaction.
impl Core {
    /// Judges dropped grants on the result, then matches once: requests that look for a slot with the slots offered before, oldest first; then the
    /// slots that became free with the oldest waiting request each.
    pub(super) fn settle(&mut self) {
        let Changes {
            mut free,
            mut unplaced,
            mut dropped,
        } = std::mem::take(&mut self.changes);
        dropped.sort_by(|a, b| a.slot_id.cmp(&b.slot_id));
        for grant in dropped.drain(..) {
            self.judge(grant);
        }
        unplaced.sort_by_key(|request| self.requests.records.get(*request).map(|record| record.sequence));
        for request in unplaced.drain(..) {
            let state = self.requests.records.get(request).map(|record| record.state);
            if state == Some(RequestState::Unplaced) {
                self.seek(request);
            }
        }
        for slot in free.drain(..) {
            let slot_record = self.slots.get(slot);
            if slot_record.is_some_and(|slot| matches!(slot.state, SlotState::Unplaced)) {
                self.offer(slot);
            }
        }
        // Keeps the memory for the next transaction.
        self.changes = Changes {
            free,
            unplaced,
            dropped,
        };
    }

    /// A dropped grant is lost unless its job holds the allocation elsewhere.
    fn judge(&mut self, grant: DroppedGrant) {
        let DroppedGrant {
            slot_id,
            allocation_id,
            job_id,
            loss,
        } = grant;
        if self.find_allocation(allocation_id).is_none() {
            self.promote_duplicate(allocation_id);
        }
        if let Some(Holder::Granted(slot)) = self.find_allocation(allocation_id) {
            if self.slots[slot].holder() == Some((allocation_id, job_id)) {
                return;
            }
        }
        tracing::warn!(%job_id, %allocation_id, %slot_id, %loss, "granted slot lost");
        self.effects.notifications.push(Notification {
            job_id,
            allocation_id,
            kind: NotificationKind::Failed(AllocationFailureCause::GrantLost { slot_id, loss }),
        });
    }
}
