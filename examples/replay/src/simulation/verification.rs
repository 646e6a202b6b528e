//! The checks at the end of a run: every task executor reports once more, and nothing may be left.

use anyhow::{Context, Result};
use slot_manager::SlotId;
use slot_manager::outcome::ReportOutcome;

use super::Simulation;
use crate::machines::Running;

impl Simulation {
    pub(super) fn report_once_more(&mut self) -> Result<()> {
        let reports: Vec<_> = self
            .machines
            .running()
            .map(|running| (running.instance_id, running.executor.slot_report()))
            .collect();
        for (instance_id, report) in reports {
            let outcome = self
                .manager
                .report_slot_status(instance_id, &report)
                .with_context(|| format!("the last report of {instance_id} is rejected"))?;
            if outcome != ReportOutcome::Applied {
                self.unexpected
                    .push(format!("the last report of {instance_id} was not applied: {outcome:?}"));
            }
            self.drive()?;
        }
        Ok(())
    }

    /// Returns the violations after all pods have ended and every task executor has reported once
    /// more.
    pub(super) fn violations(&mut self) -> Vec<String> {
        let mut violations = std::mem::take(&mut self.unexpected);
        let manager = self.manager.get();
        violations.extend(manager.check_invariants().err().map(|violation| violation.to_string()));

        let (slots, pending) = (manager.overview().slots.counts(), manager.overview().pending_requests);
        if slots.allocated + slots.in_flight + pending > 0 {
            violations.push(format!(
                "the manager has {} allocated slots, {} in flight and {pending} waiting requests left",
                slots.allocated, slots.in_flight
            ));
        }
        for (allocation_id, request) in self.jobs.unended() {
            let pod = &self.pods[request.job].name;
            violations.push(format!(
                "allocation {allocation_id} of {pod} has not ended: {:?}",
                request.state
            ));
        }
        if self.jobs.asked() != self.statistics.ended() {
            violations.push(format!(
                "{} requests were made, but {} were granted, cancelled or failed",
                self.jobs.asked(),
                self.statistics.ended()
            ));
        }
        violations.extend(self.differences());
        violations
    }

    /// Returns slots that are still in use, and differences between the manager's view and the task
    /// executors.
    fn differences(&self) -> Vec<String> {
        let manager = self.manager.get();
        let (mut violations, mut executors, mut slots) = (Vec::new(), 0, 0);
        for running in self.machines.running() {
            executors += 1;
            let resource_id = running.executor.resource_id();
            let registered = manager.task_manager_of(&resource_id).map(|known| known.instance_id());
            if registered != Some(running.instance_id) {
                violations.push(format!(
                    "{resource_id} has the registration {}, the manager knows {registered:?}",
                    running.instance_id
                ));
            }
            violations.extend(self.difference_of_resources(running));
            for status in running.executor.slot_report().statuses() {
                slots += 1;
                if let Some(slot_manager::message::Allocation { id: allocation_id, .. }) = status.allocation() {
                    violations.push(format!("slot {} is still held by {allocation_id}", status.slot_id()));
                }
                violations
                    .extend(self.difference(status.slot_id(), status.allocation().map(|allocation| allocation.id)));
            }
        }
        if (
            manager.overview().task_managers,
            manager.overview().slots.registered.slots,
        ) != (executors, slots)
        {
            violations.push(format!(
                "{executors} task executors with {slots} slots are running, the manager knows {} with {}",
                manager.overview().task_managers,
                manager.overview().slots.registered.slots
            ));
        }
        violations
    }

    /// Returns the difference between what a dynamic worker has left and the manager's view. Without
    /// a held slot, this is its total.
    fn difference_of_resources(&self, running: &Running) -> Option<String> {
        let known = self.manager.get().task_manager(running.instance_id)?;
        let report = running.executor.slot_report();
        let reported = report.dynamic().map(|worker| (worker.total(), worker.free().cloned()));
        let known = known
            .total_resources()
            .map(|total| (total, known.remaining_resources()));
        let all_left = reported
            .as_ref()
            .is_none_or(|(total, free)| free.as_ref() == Some(*total));
        (known != reported || (report.statuses().is_empty() && !all_left)).then(|| {
            format!(
                "{} has the total and what remains as {reported:?}, the manager has {known:?}",
                running.executor.resource_id()
            )
        })
    }

    fn difference(&self, slot_id: &SlotId, holder: Option<slot_manager::AllocationId>) -> Option<String> {
        let Some(slot) = self.manager.get().slot(slot_id) else {
            return Some(format!("the manager does not know slot {slot_id}"));
        };
        let agrees = match holder {
            Some(_) => slot.allocation_id() == holder,
            None => slot.is_free(),
        };
        (!agrees).then(|| {
            format!(
                "slot {slot_id} is held by {holder:?}, the manager has {:?}",
                slot.state()
            )
        })
    }

    /// Returns the violations after all nodes have been released.
    pub(super) fn violations_without_nodes(&self) -> Vec<String> {
        let manager = self.manager.get();
        let mut violations: Vec<_> = manager
            .check_invariants()
            .err()
            .map(|error| error.to_string())
            .into_iter()
            .collect();
        let (known, slots) = (
            manager.overview().task_managers,
            manager.overview().slots.registered.slots,
        );
        let running = self.machines.running().count();
        if known + slots + running > 0 {
            violations.push(format!(
                "{running} nodes run that should have been released; the manager knows {known} with {slots} slots"
            ));
        }
        violations
    }
}
