//! Attempts: how they begin, which effect each answer has, and how the manager gives them up.

use std::time::Duration;

use slot_manager::error::SlotAllocationError;
use slot_manager::message::{Allocation, AttemptId, FreeSlot, GrantLoss};
use slot_manager::outcome::SlotAnswerOutcome;
use slot_manager::{AllocationId, ResourceProfile, SlotId};

use super::failing_workers::note_refused;
use super::{Expected, NaiveSlotManager, Stage, State};
use crate::command::Answer;

impl NaiveSlotManager {
    /// Begins an attempt. The flush sends the slot request.
    pub(super) fn assign(&mut self, slot: &SlotId, id: AllocationId) {
        self.consume_or_free_promise(slot, id);
        self.end_earmark_for(id);
        self.attempts += 1;
        let attempt = self.attempts;
        self.set_state(slot, State::InFlight(id));
        let request = self.request_mut(id);
        request.stage = Stage::InFlight {
            slot: slot.clone(),
            attempt,
            answer: Expected::NotSent,
        };
        let order = request.order;
        self.outbox.slot_requests.push((order, attempt));
    }

    /// Applies the answers that have arrived.
    pub(super) fn apply_answers(&mut self) {
        let answers = std::mem::take(&mut self.outbox.answers);
        // All have arrived: no answer makes the manager give up the attempt of another.
        for request in &mut self.requests {
            if let Stage::InFlight { attempt, answer, .. } = &mut request.stage {
                if answers.iter().any(|(number, _)| number == attempt) {
                    *answer = Expected::Arrived;
                }
            }
        }
        for (number, answer) in answers {
            let in_flight = self.requests.iter().find_map(|request| match &request.stage {
                Stage::InFlight { slot, attempt, .. } if *attempt == number => {
                    Some((slot.clone(), request.allocation_id, request.job_id))
                }
                _ => None,
            });
            if let Some((slot, id, job_id)) = in_flight {
                let own = Allocation { id, job: job_id };
                self.apply_answer(&slot, own, answer);
                self.commit();
            }
        }
    }

    /// Applies one answer. An occupied slot is adopted for its holder, and the attempt does not
    /// count as failed.
    pub(super) fn apply_answer(&mut self, slot: &SlotId, own: Allocation, answer: Answer) {
        match answer.result().expect("an answer") {
            Ok(acknowledge) => self.acknowledged(slot, own.id, acknowledge.revision()),
            Err(SlotAllocationError::Occupied { allocation_id, job_id })
                if (allocation_id, job_id) == (own.id, own.job) =>
            {
                self.acknowledged(slot, own.id, None);
            }
            Err(error @ SlotAllocationError::Occupied { allocation_id, job_id }) => {
                let registration = self.owner(slot).expect("a registered slot").registration;
                let request = self.request_mut(own.id);
                request.last_failure = Some(error);
                let stage = std::mem::replace(&mut request.stage, Stage::Detached);
                if let (true, Stage::InFlight { attempt, .. }) = (slot.is_dynamic(), stage) {
                    request.failed_on(registration);
                    self.probe_ended(slot, attempt);
                }
                self.transaction.detached.push(own.id);
                let (id, job) = (allocation_id, job_id);
                self.adopt(slot, Allocation { id, job });
            }
            Err(SlotAllocationError::Insufficient { free }) if self.explains(slot, &free) => {
                self.insufficient(slot, own.id, *free);
            }
            Err(error) => self.attempt_failed(slot, own.id, error),
        }
    }

    /// Grants the slot.
    pub(super) fn acknowledged(&mut self, slot: &SlotId, id: AllocationId, revision: Option<u64>) {
        let owner = self.owner(slot).expect("a registered slot").instance_id;
        self.worker_acknowledged(owner);
        let owner = self.task_manager_mut(owner);
        let overtaken = matches!((revision, owner.reported_revision), (Some(answer), Some(report)) if answer < report);
        owner.highest_revision = owner.highest_revision.max(revision);
        self.grant(slot, id);
        if overtaken {
            // A later report showed the slot as free: the grant has begun and ended.
            self.drop_grant(slot, GrantLoss::ReportedFree);
            self.transaction.freed.push(slot.clone());
        }
    }

    /// Ends a failed attempt. The slot is for other requests first; the request keeps its place in
    /// the queue.
    pub(super) fn attempt_failed(&mut self, slot: &SlotId, id: AllocationId, error: SlotAllocationError) {
        let owner = self.owner(slot).expect("a registered slot");
        let (instance_id, registration) = (owner.instance_id, owner.registration);
        let is_refusal = matches!(
            error,
            SlotAllocationError::Rejected { .. } | SlotAllocationError::Insufficient { .. }
        );
        let request = self.request_mut(id);
        let job = request.job_id;
        let Stage::InFlight { attempt, .. } = std::mem::replace(&mut request.stage, Stage::Detached) else {
            unreachable!("an attempt of the request has failed");
        };
        request.last_failure = Some(error);
        request.failed_on(registration);
        self.job_failed(job, id);
        self.worker_failed_attempt(slot, (id, job), is_refusal, attempt);
        self.set_state(slot, State::Detached);
        if self.is_cut(slot) {
            self.end_cut(slot);
            return self.transaction.detached.push(id);
        }
        let worker_backs_off = self.is_failing(instance_id);
        if !worker_backs_off {
            note_refused(&mut self.slot_mut(slot).refused, job);
        }
        match self.slot_mut(slot).failed {
            _ if worker_backs_off => self.offer(slot),
            Some((last, backoffs)) if last != id => {
                self.slot_mut(slot).failed = Some((id, backoffs + 1));
                if self.is_blocked(slot.resource_id()) {
                    self.set_state(slot, State::Blocked);
                } else if let Some(request) = self.candidate_despite_refusals(slot) {
                    self.assign(slot, request);
                } else {
                    let backoff = self.timer(self.backoff(backoffs));
                    self.set_state(slot, State::BackingOff(backoff));
                }
            }
            failed => {
                self.slot_mut(slot).failed = failed.or(Some((id, 0)));
                self.offer(slot);
            }
        }
        self.transaction.detached.push(id);
    }

    /// Returns `true` if a worker refused a cut because these resources, which it has left, do not
    /// fit it. Nothing bounds a worker whose total is `ANY`, and `UNKNOWN` bounds none.
    fn explains(&self, slot: &SlotId, free: &ResourceProfile) -> bool {
        let cut = &self.find_slot(slot).expect("a registered slot").profile;
        let resources = self.owner(slot).and_then(|it| it.resources.as_ref());
        let has_amounts = [ResourceProfile::UNKNOWN, ResourceProfile::ANY]
            .iter()
            .all(|it| it != free);
        resources.is_some_and(|it| it.total != ResourceProfile::ANY) && has_amounts && !free.is_matching(cut)
    }

    /// Ends an attempt for which the worker lacks resources. It is no failure: the worker has no
    /// more than `free` left until its next report.
    fn insufficient(&mut self, slot: &SlotId, id: AllocationId, free: ResourceProfile) {
        let request = self.request_mut(id);
        request.stage = Stage::Detached;
        request.last_failure = Some(SlotAllocationError::insufficient(free.clone()));
        self.set_state(slot, State::Detached);
        let owner = self.owner(slot).expect("a registered slot").instance_id;
        let owner = self.task_manager_mut(owner);
        let others = owner.slots.iter().filter(|it| it.id != *slot);
        let others: Vec<_> = others.map(|it| &it.profile).collect();
        let resources = owner.resources.as_mut().expect("a dynamic worker");
        resources.withhold_beyond(&free, &others);
        self.end_cut(slot);
        self.transaction.detached.push(id);
    }

    /// Returns the length of the `n`th backoff in a row, from zero.
    pub(super) fn backoff(&self, n: u32) -> Duration {
        let longest = self.config.max_retry_backoff;
        (0..n).fold(self.config.retry_backoff, |backoff, _| {
            if backoff < longest {
                backoff.saturating_mul(2).max(Duration::from_millis(1)).min(longest)
            } else {
                backoff
            }
        })
    }

    /// Has the task executor free the slot of an attempt that is given up, if the slot request was
    /// sent.
    pub(super) fn fence(&mut self, id: AllocationId) {
        let request = self.request_mut(id);
        if let Stage::InFlight { slot, attempt, answer } = &request.stage {
            if *answer != Expected::NotSent {
                let (slot, attempt, job) = (slot.clone(), *attempt, request.job_id);
                self.ask_to_free(&slot, Allocation { id, job }, attempt);
            }
        }
    }

    /// Queues a free.
    pub(super) fn ask_to_free(&mut self, slot: &SlotId, allocation: Allocation, attempt: u64) {
        let free = FreeSlot {
            slot_id: slot.clone(),
            job_id: allocation.job,
            allocation_id: allocation.id,
            leader_id: self.leader.expect("started"),
            instance_id: self.owner(slot).expect("a registered slot").instance_id,
            attempt,
        };
        self.outbox.frees.push(free);
    }

    /// Completes the future of an attempt. Returns `false` if the attempt awaits none.
    pub(super) fn answer(&mut self, number: u64, answer: Answer) -> bool {
        if answer.result().is_none() {
            return false;
        }
        self.requests.iter_mut().any(|request| match &mut request.stage {
            Stage::InFlight {
                attempt,
                answer: Expected::Awaited(_, given @ None),
                ..
            } if *attempt == number => {
                *given = Some(answer);
                true
            }
            _ => false,
        })
    }

    /// Applies an answer that is an input. If the attempt awaits a future too, the first answer
    /// counts.
    pub(super) fn answer_slot_request(&mut self, id: AttemptId, answer: Answer) -> SlotAnswerOutcome {
        if self.begin_input().is_err() || !self.attempts_in_flight().contains(&id) {
            return SlotAnswerOutcome::Unknown;
        }
        let request = self.request_mut(id.allocation_id);
        let own = Allocation {
            id: request.allocation_id,
            job: request.job_id,
        };
        if let Stage::InFlight {
            slot, answer: expected, ..
        } = &mut request.stage
        {
            *expected = Expected::Arrived;
            let slot = slot.clone();
            self.apply_answer(&slot, own, answer);
        }
        self.end_input();
        SlotAnswerOutcome::Applied
    }

    /// Returns the attempts in flight.
    pub(crate) fn attempts_in_flight(&self) -> Vec<AttemptId> {
        let Some(leader_id) = self.leader else {
            return Vec::new();
        };
        let in_flight = self.requests.iter().filter_map(|request| match request.stage {
            Stage::InFlight { attempt, .. } => Some(AttemptId {
                leader_id,
                allocation_id: request.allocation_id,
                number: attempt,
            }),
            _ => None,
        });
        in_flight.collect()
    }

    /// Returns the attempts that await a future.
    pub(crate) fn awaited_attempts(&self) -> Vec<u64> {
        let awaited = self.requests.iter().filter_map(|request| match request.stage {
            Stage::InFlight {
                attempt,
                answer: Expected::Awaited(_, None),
                ..
            } => Some(attempt),
            _ => None,
        });
        awaited.collect()
    }
}
