//! What the answers of task executors do, and what it means to give up an attempt.

use std::time::Duration;

use slot_manager::{AllocationId, FreeSlot, GrantLoss, JobId, SlotAllocationError, SlotId};

use super::{Expected, NaiveSlotManager, Stage, State};
use crate::command::Answer;

impl NaiveSlotManager {
    pub(super) fn apply_answers(&mut self) {
        let answers = std::mem::take(&mut self.said.answers);
        // All are here: none is given up because of what another says.
        for request in &mut self.requests {
            if let Stage::InFlight { attempt, answer, .. } = &mut request.stage {
                if answers.iter().any(|(number, _)| number == attempt) {
                    *answer = Expected::Here;
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
                self.apply_answer(&slot, (id, job_id), answer);
                self.settle();
            }
        }
    }

    pub(super) fn apply_answer(&mut self, slot: &SlotId, own: (AllocationId, JobId), answer: Answer) {
        match answer.result().expect("an answer") {
            Ok(acknowledge) => self.acknowledged(slot, own.0, acknowledge.revision()),
            Err(SlotAllocationError::Occupied { allocation_id, job_id }) if (allocation_id, job_id) == own => {
                self.acknowledged(slot, own.0, None);
            }
            Err(error @ SlotAllocationError::Occupied { allocation_id, job_id }) => {
                let request = self.request_mut(own.0);
                request.last_failure = Some(error);
                request.stage = Stage::Unplaced;
                self.transaction.unplaced.push(own.0);
                self.adopt(slot, (allocation_id, job_id));
            }
            Err(error) => self.attempt_failed(slot, own.0, error),
        }
    }

    pub(super) fn acknowledged(&mut self, slot: &SlotId, id: AllocationId, revision: Option<u64>) {
        let owner = self.owner(slot).expect("a registered slot").instance_id;
        let owner = self.task_manager_mut(owner);
        let overtaken = matches!((revision, owner.reported_revision), (Some(answer), Some(report)) if answer < report);
        owner.highest_revision = owner.highest_revision.max(revision);
        self.give(slot, id);
        if overtaken {
            // A later report said that the slot is free: it was granted, and is over.
            self.drop_holding(slot, GrantLoss::ReportedFree);
            self.transaction.freed.push(slot.clone());
        }
    }

    /// The slot is for the other waiting requests first, the request keeps its place in the queue.
    pub(super) fn attempt_failed(&mut self, slot: &SlotId, id: AllocationId, error: SlotAllocationError) {
        let request = self.request_mut(id);
        request.stage = Stage::Unplaced;
        request.failed_attempts += 1;
        request.last_failure = Some(error);
        let failed_attempts = request.failed_attempts;
        self.set_state(slot, State::Unplaced);
        match self.slot_mut(slot).failed {
            Some((last, pauses)) if last != id => {
                let pause = self.timer(self.pause(pauses));
                let state = match self.is_blocked(slot.resource_id()) {
                    true => State::Blocked,
                    false => State::Withheld(pause),
                };
                self.set_state(slot, state);
                self.slot_mut(slot).failed = Some((id, pauses + 1));
            }
            failed => {
                self.slot_mut(slot).failed = failed.or(Some((id, 0)));
                self.offer(slot);
            }
        }
        if failed_attempts == 1 {
            self.transaction.unplaced.push(id);
        } else {
            let pause = self.timer(self.pause(failed_attempts - 2));
            self.request_mut(id).stage = Stage::Paused(pause);
        }
    }

    /// The length of the `n`th pause in a row, from zero.
    pub(super) fn pause(&self, n: u32) -> Duration {
        let longest = self.config.max_retry_backoff;
        (0..n).fold(self.config.retry_backoff, |pause, _| {
            if pause < longest {
                pause.saturating_mul(2).max(Duration::from_millis(1)).min(longest)
            } else {
                pause
            }
        })
    }

    /// Tells the task executor that an attempt is over, if it was asked.
    pub(super) fn fence(&mut self, id: AllocationId) {
        let request = self.request_mut(id);
        if let Stage::InFlight { slot, attempt, answer } = &request.stage {
            if *answer != Expected::NotAsked {
                let (slot, attempt, holder) = (slot.clone(), *attempt, (id, request.job_id));
                self.ask_to_free(&slot, holder, attempt);
            }
        }
    }

    pub(super) fn ask_to_free(&mut self, slot: &SlotId, (allocation_id, job_id): (AllocationId, JobId), attempt: u64) {
        let free = FreeSlot {
            slot_id: slot.clone(),
            job_id,
            allocation_id,
            leader_id: self.leader.expect("started"),
            instance_id: self.owner(slot).expect("a registered slot").instance_id,
            attempt,
        };
        self.said.frees.push(free);
    }
}
