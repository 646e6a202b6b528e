//! Messages between the manager, the task executors and the jobs: sent, delivered, or lost.

use anyhow::Result;
use slot_manager::{
    AllocationId, FreeSlot, FreeSlotOutcome, InstanceId, RequestSlot, ScheduledExecutor, SlotAllocationError, SlotId,
    SlotReport,
};

use super::{Event, Simulation};
use crate::effects::AnswerSender;
use crate::jobs::RequestState;
use crate::machines::{Link, Start};

/// From the manager to a task executor, and the answers.
impl Simulation {
    pub(super) fn slot_request_sent(&mut self, request: RequestSlot, answer: AnswerSender) {
        let latency = self.chance.latency();
        if self.is_lost() {
            return;
        }
        if let Some(start) = self.machines.start_of(&request.slot_id) {
            self.push(latency, Event::SlotRequestArrives { start, request, answer });
        }
    }

    pub(super) fn slot_request_arrives(&mut self, start: Start, request: &RequestSlot, answer: AnswerSender) {
        let now = self.clock.now();
        let Some(running) = self.machines.running_mut(start) else {
            return;
        };
        let result = match running.link {
            Link::Up => running.executor.handle_request_slot(request, now),
            Link::Refusing => Err(SlotAllocationError::unreachable("the connection is broken")),
            Link::Silent => return,
        };
        self.expect_slot_timeout(start);
        let latency = self.chance.answer_latency();
        if !self.is_lost() {
            self.push(latency, Event::AnswerArrives { answer, result });
        }
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

/// From a job to a task executor.
impl Simulation {
    pub(super) fn activated(&mut self, slot_id: SlotId, allocation_id: AllocationId) {
        let request = self.jobs.request(allocation_id);
        if !request.is_some_and(|request| matches!(request.state, RequestState::Granted(_))) {
            // The job does not want it any more. The slot timeout frees what nobody uses.
            return;
        }
        if let Some(running) = self.machines.owner(&slot_id) {
            let link = running.link;
            if running.executor.activate(allocation_id).is_none() {
                // It does not have the slot for the job any more, whatever the manager believes.
                self.tell_freed(link, slot_id, allocation_id);
            }
        }
    }

    pub(super) fn given_back(&mut self, slot_id: &SlotId, allocation_id: AllocationId) {
        if let Some(running) = self.machines.owner(slot_id) {
            let link = running.link;
            // Not always the slot that the job was told: the manager may have been wrong about that.
            if let Some(freed) = running.executor.free(allocation_id) {
                self.tell_freed(link, freed, allocation_id);
            }
        }
    }
}

/// From a task executor to the manager.
impl Simulation {
    /// Sees to it that slots which nobody uses are freed in time.
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
        for (slot_id, allocation_id) in expired {
            self.tell_freed(link, slot_id, allocation_id);
        }
        self.expect_slot_timeout(start);
    }

    fn tell_freed(&mut self, link: Link, slot_id: SlotId, allocation_id: AllocationId) {
        let latency = self.chance.latency();
        if link == Link::Up && !self.is_lost() {
            self.push(latency, Event::SlotFreedArrives { slot_id, allocation_id });
        }
    }

    pub(super) fn slot_freed_arrives(&mut self, slot_id: &SlotId, allocation_id: AllocationId) -> Result<()> {
        let outcome = self.manager.free_slot(slot_id, allocation_id)?;
        // A request in flight is first granted, then over; and an allocation may have held a second slot, which is its
        // grant now.
        self.settle()?;
        let freed = matches!(outcome, FreeSlotOutcome::Freed | FreeSlotOutcome::FreedInFlight);
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
        // Stale or unknown are normal: the report was overtaken, or its sender is not registered any more.
        self.manager.report_slot_status(instance_id, report)?;
        Ok(())
    }
}
