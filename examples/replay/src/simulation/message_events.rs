//! The messages between the manager, the task executors and the jobs: sent, delivered or lost.

use std::time::Duration;

use anyhow::Result;
use slot_manager::error::SlotAllocationError;
use slot_manager::message::{AllocateSlot, AttemptId, FreeSlot, SlotFreed, SlotResult};
use slot_manager::outcome::{ReportOutcome, SlotAnswerOutcome, SlotFreedOutcome};
use slot_manager::{AllocationId, InstanceId, ResourceProfile, ScheduledExecutor, SlotId, SlotReport, SlotStatus};

use super::{Event, Simulation};
use crate::jobs::RequestState;
use crate::machines::{Link, Start};

/// Messages from the manager to a task executor, and the answers.
impl Simulation {
    pub(super) fn slot_request_sent(&mut self, request: AllocateSlot) {
        let latency = self.chance.latency();
        let is_lost = self.is_lost();
        let Some(start) = self.machines.start_of(&request.slot_id) else {
            return;
        };
        match is_lost {
            true => self.hang(start),
            false => self.push(latency, Event::SlotRequestArrives { start, request }),
        }
    }

    pub(super) fn slot_request_arrives(&mut self, start: Start, request: &AllocateSlot) {
        let now = self.clock.now();
        let Some(running) = self.machines.running_mut(start) else {
            return;
        };
        let result = match running.link {
            Link::Up => running.executor.handle_request_slot(request, now),
            Link::Refusing => Err(SlotAllocationError::unreachable("the connection is broken")),
            Link::Silent => return,
        };
        if let Err(SlotAllocationError::Insufficient { free }) = &result {
            self.note_refused_cut(start, request, free);
        }
        self.expect_slot_timeout(start);
        let latency = self.chance.answer_latency();
        let is_lost = self.is_lost();
        if is_lost || latency > Duration::from_secs(1) {
            self.hang(start);
        }
        if !is_lost {
            let attempt_id = request.attempt_id();
            self.push(latency, Event::AnswerArrives { attempt_id, result });
        }
    }

    /// Notes that a dynamic worker has too little left for a request. That is right only if it holds
    /// a slot that the manager has given up: the message about it is on its way, or is lost.
    fn note_refused_cut(&mut self, start: Start, request: &AllocateSlot, free: &ResourceProfile) {
        self.statistics.cuts_refused += 1;
        let Some(running) = self.machines.running_mut(start) else {
            return;
        };
        let manager = self.manager.get();
        let is_known = |status: &SlotStatus| {
            let known = manager.slot(status.slot_id()).and_then(|slot| slot.allocation_id());
            known == status.allocation().map(|allocation| allocation.id)
        };
        let knows_all = running.executor.slot_report().statuses().iter().all(is_known);
        if knows_all && !self.settings.failures {
            self.unexpected.push(format!(
                "{} has {free} left, but the manager cuts {} from it",
                request.slot_id, request.resource_profile
            ));
        }
    }

    /// Notes that a task executor does not answer an attempt within its usual time. For the manager
    /// it hangs until the RPC timeout.
    fn hang(&mut self, start: Start) {
        let until = self.clock.now() + self.settings.rpc_timeout;
        if let Some(running) = self.machines.running_mut(start) {
            running.hangs_until = running.hangs_until.max(until);
        }
    }

    pub(super) fn answer_arrives(&mut self, attempt_id: AttemptId, result: SlotResult) {
        // Unknown if the manager has given up the attempt.
        let _: SlotAnswerOutcome = self.manager.answer_slot_request(attempt_id, result);
    }

    pub(super) fn free_slot_sent(&mut self, request: FreeSlot) {
        let latency = self.chance.latency();
        if self.is_lost() {
            return;
        }
        if let Some(start) = self.machines.start_of(&request.slot_id) {
            self.push(latency, Event::FreeSlotArrives { start, request });
        }
    }

    pub(super) fn free_slot_arrives(&mut self, start: Start, request: &FreeSlot) {
        if let Some(running) = self.machines.running_mut(start) {
            if running.link == Link::Up {
                running.executor.handle_free_slot(request);
            }
        }
    }

    fn is_lost(&mut self) -> bool {
        let lost = self.chance.fails();
        self.statistics.messages_lost += u64::from(lost);
        lost
    }
}

/// Messages from a job to a task executor.
impl Simulation {
    pub(super) fn activated(&mut self, slot_id: SlotId, allocation_id: AllocationId) {
        let request = self.jobs.request(allocation_id);
        if !request.is_some_and(|request| matches!(request.state, RequestState::Granted(_))) {
            // The job does not want the slot any more. The slot timeout frees it.
            return;
        }
        if let Some(running) = self.machines.owner(&slot_id) {
            let link = running.link;
            if running.executor.activate(allocation_id).is_none() {
                // The task executor does not hold the slot for the job any more, and the manager
                // may not know.
                let (instance_id, revision) = (running.instance_id, running.executor.revision());
                let freed = SlotFreed::new(slot_id, allocation_id).with_revision(instance_id, revision);
                self.tell_freed(link, freed);
            }
        }
    }

    pub(super) fn given_back(&mut self, slot_id: &SlotId, allocation_id: AllocationId) {
        if let Some(running) = self.machines.owner(slot_id) {
            let link = running.link;
            // It may be another slot than the job knows: the view of the manager can be out of
            // date.
            if let Some(freed) = running.executor.free(allocation_id) {
                self.tell_freed(link, freed);
            }
        }
    }
}

/// Messages from a task executor to the manager.
impl Simulation {
    /// Adds an event for the next slot timeout, unless there is one.
    fn expect_slot_timeout(&mut self, start: Start) {
        let Some(running) = self.machines.running_mut(start) else {
            return;
        };
        if let (false, Some(timeout)) = (running.expects_slot_timeout, running.executor.next_slot_timeout()) {
            running.expects_slot_timeout = true;
            self.push_at(timeout, Event::SlotTimeout { start });
        }
    }

    pub(super) fn slot_timeout(&mut self, start: Start) {
        let now = self.clock.now();
        let Some(running) = self.machines.running_mut(start) else {
            return;
        };
        running.expects_slot_timeout = false;
        let (link, expired) = (running.link, running.executor.expire(now));
        for freed in expired {
            self.tell_freed(link, freed);
        }
        self.expect_slot_timeout(start);
    }

    fn tell_freed(&mut self, link: Link, freed: SlotFreed) {
        let latency = self.chance.latency();
        if link == Link::Up && !self.is_lost() {
            self.push(latency, Event::SlotFreedArrives { freed });
        }
    }

    pub(super) fn slot_freed_arrives(&mut self, freed: &SlotFreed) -> Result<()> {
        let (outcome, allocation_id) = (self.manager.slot_freed(freed), freed.allocation_id());
        // A request in flight is granted first and then over. An allocation with a second slot
        // keeps that slot as its grant.
        self.drive()?;
        let freed = matches!(outcome, SlotFreedOutcome::Freed | SlotFreedOutcome::FreedInFlight);
        if freed && self.manager.get().allocation_status(allocation_id).is_none() {
            self.grant_ended(allocation_id);
        }
        Ok(())
    }

    pub(super) fn heartbeat(&mut self, start: Start) {
        if self.pods_left == 0 {
            return;
        }
        let Some(running) = self.machines.running_mut(start) else {
            return;
        };
        if running.link == Link::Up {
            let (instance_id, report) = (running.instance_id, running.executor.slot_report());
            let latency = self.chance.latency();
            if !self.is_lost() {
                self.push(latency, Event::ReportArrives { instance_id, report });
            }
        }
        self.push(self.settings.heartbeat, Event::Heartbeat { start });
    }

    pub(super) fn report_arrives(&mut self, instance_id: InstanceId, report: &SlotReport) -> Result<()> {
        // A stale or unknown report is normal: a later one was faster, or the sender is not
        // registered any more, and will register again.
        let _: ReportOutcome = self.manager.report_slot_status(instance_id, report)?;
        Ok(())
    }
}
