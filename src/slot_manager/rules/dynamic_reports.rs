//! Reports of dynamic workers: their slots, their resources and their remainders.

use crate::message::GrantLoss;
use crate::resource_profile::Remainder;
use crate::{DynamicResources, ResourceProfile, SlotReport, SlotStatus};

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::slots::SlotPhase;
use crate::slot_manager::state::task_managers::TaskManagerKey;

impl Core {
    /// Returns `true` only if a report of a dynamic worker is valid and changes nothing. This is the
    /// fast path of the usual heartbeat.
    ///
    /// While slots are in flight, or if the report is not sorted by slot number, it may get `false`.
    pub(crate) fn is_unchanged_by_dynamic(
        &self,
        task_manager: TaskManagerKey,
        report: &SlotReport,
        resources: &DynamicResources,
    ) -> bool {
        let record = &self.task_managers.records[task_manager];
        let Some(worker) = self.dynamic_workers.get(task_manager) else {
            return false;
        };
        record.in_flight == 0
            && record.slots.len() == report.statuses().len()
            && self.has_resources(task_manager, resources)
            && worker.agrees_with(resources.free())
            && (record.slots.iter().zip(report.statuses()))
                .all(|(slot, status)| self.is_slot_unchanged(record, slot, status))
    }

    /// Returns `true` if a valid report of a dynamic worker, in any order, differs from the view.
    pub(crate) fn differs_from_dynamic(
        &self,
        task_manager: TaskManagerKey,
        report: &SlotReport,
        resources: &DynamicResources,
    ) -> bool {
        let record = &self.task_managers.records[task_manager];
        let is_unchanged = |status: &SlotStatus| {
            let slot = record.slot(status.number()).map(|slot| &self.slots[slot]);
            slot.is_some_and(|slot| {
                slot.phase.is_unchanged_by(status.allocation_ref())
                    && self.profiles[slot.profile] == *status.resource_profile()
            })
        };
        let worker = self.dynamic_workers.get(task_manager);
        let withheld = worker.and_then(|worker| worker.withheld());
        record.allocated as usize != report.statuses().len()
            || !report.statuses().iter().all(is_unchanged)
            || !self.has_resources(task_manager, resources)
            || withheld_by(report, resources).as_ref() != withheld
    }

    /// Returns `true` if a dynamic worker is known to have these resources in total.
    fn has_resources(&self, task_manager: TaskManagerKey, resources: &DynamicResources) -> bool {
        self.dynamic_workers.get(task_manager).is_some_and(|worker| {
            let default_slot = worker.shape.default_slot.map(|slot| &self.profiles[slot]);
            self.profiles[worker.shape.total] == *resources.total() && default_slot == resources.default_slot()
        })
    }

    /// Adds a registered worker to the dynamic ones, without cuts.
    pub(crate) fn insert_dynamic_worker(
        &mut self,
        task_manager: TaskManagerKey,
        report: &SlotReport,
        resources: &DynamicResources,
    ) {
        let quantity = self.reported_quantity(report);
        self.dynamic_workers
            .insert(task_manager, &mut self.profiles, resources, quantity);
        if self.is_blocked(task_manager) {
            self.blocking.slots += self.counted_slots(task_manager);
        }
    }

    /// Removes a dynamic worker without cuts. Another task manager stays as it is.
    pub(crate) fn remove_dynamic_worker(&mut self, task_manager: TaskManagerKey) {
        if self.dynamic_workers.get(task_manager).is_none() {
            return;
        }
        if self.is_blocked(task_manager) {
            self.blocking.slots -= self.counted_slots(task_manager);
        }
        let quantity = self.quantity_of(task_manager);
        self.dynamic_workers.remove(task_manager, &mut self.profiles, quantity);
        self.end_earmark_on(task_manager);
    }

    /// Brings the view of a dynamic worker to a valid report. The commit follows.
    pub(crate) fn apply_dynamic(
        &mut self,
        task_manager: TaskManagerKey,
        report: &SlotReport,
        resources: &DynamicResources,
    ) {
        if !self.has_resources(task_manager, resources) {
            self.change_resources(task_manager, report, resources);
        }
        let mut new = Vec::new();
        for status in report.statuses() {
            match self.reported_slot(task_manager, status) {
                Some(slot) => {
                    self.drop_contradicted(slot, status);
                }
                None => new.push(status),
            }
        }
        self.remove_omitted_cuts(task_manager, report);
        self.forget_removed_slots();
        for status in new {
            let profile = self.profiles.acquire(status.resource_profile(), 1);
            self.insert_cut(task_manager, status.number(), profile);
            self.profiles.release(profile, 1);
        }
        self.recompute_remainder(task_manager, withheld_by(report, resources));
        self.adopt_reported(task_manager, report);
        self.note_offer(task_manager);
    }

    /// Changes the total or the default slot of a dynamic worker.
    fn change_resources(&mut self, task_manager: TaskManagerKey, report: &SlotReport, resources: &DynamicResources) {
        let quantities = (self.quantity_of(task_manager), self.reported_quantity(report));
        let before = self.counted_slots(task_manager);
        self.dynamic_workers
            .change_resources(task_manager, &mut self.profiles, resources, quantities);
        let after = self.counted_slots(task_manager);
        if self.is_blocked(task_manager) {
            self.blocking.slots = self.blocking.slots - before + after;
        }
        if !self.releases.is_empty() {
            self.releases.update_slots(task_manager, after);
        }
        let resource_id = &self.task_managers.records[task_manager].resource_id;
        tracing::info!(%resource_id, total = %resources.total(), "resources of dynamic worker changed");
    }

    /// Removes the allocated cuts that a report does not mention. Those in flight go on: the report
    /// may be older than the request.
    fn remove_omitted_cuts(&mut self, task_manager: TaskManagerKey, report: &SlotReport) {
        let mut mentioned: Vec<u32> = report.statuses().iter().map(SlotStatus::number).collect();
        mentioned.sort_unstable();
        let slots = &self.slots;
        let is_kept = |number, slot| {
            matches!(slots[slot].phase, SlotPhase::InFlight(_)) || mentioned.binary_search(&number).is_ok()
        };
        let omitted = self.task_managers.records[task_manager].slots.split_off(is_kept);
        if omitted.is_empty() {
            return;
        }
        let loss = self.note_loss(task_manager, GrantLoss::SlotRemoved);
        let resource_id = &self.task_managers.records[task_manager].resource_id;
        for (number, _) in &omitted {
            tracing::warn!(%resource_id, slot_number = number, "slot is not reported any more");
        }
        self.remove_slots(task_manager, &omitted, loss);
    }
}

/// Returns the resources that a worker has neither given to the slots in its report nor has left.
fn withheld_by(report: &SlotReport, resources: &DynamicResources) -> Option<ResourceProfile> {
    let free = resources.free()?;
    let mut rest = Remainder::of(resources.total());
    for status in report.statuses() {
        rest.cut(status.resource_profile());
    }
    rest.lower_to(free)
}
