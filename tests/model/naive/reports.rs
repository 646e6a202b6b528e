//! What a report changes.

use slot_manager::{AllocationId, GrantLoss, InstanceId, JobId, ResourceProfile, SlotId, SlotReport, SlotStatus};

use super::{NaiveSlotManager, Slot, Stage, State};
use crate::command::Report;

fn reported_holder(status: &SlotStatus) -> Option<(AllocationId, JobId)> {
    status.allocation().map(|allocation| (allocation.id, allocation.job))
}

impl NaiveSlotManager {
    /// First what the report contradicts is dropped, then come those who hold slots, then the free ones.
    pub(super) fn apply_report(&mut self, id: InstanceId, report: &Report, former: &[Slot]) {
        let statuses = SlotReport::from(report);
        let statuses = statuses.statuses();
        let task_manager = self.task_manager_mut(id);
        task_manager.reported_revision = report.revision.or(task_manager.reported_revision);
        task_manager.highest_revision = task_manager.highest_revision.max(report.revision);
        let known: Vec<_> = task_manager.slots.iter().map(|slot| slot.id.clone()).collect();
        for status in statuses {
            if known.contains(status.slot_id()) {
                self.update_profile(status.slot_id(), status.resource_profile());
                self.drop_contradicted(status.slot_id(), reported_holder(status));
            }
        }
        for slot in &known {
            if !statuses.iter().any(|status| status.slot_id() == slot) {
                self.remove_slot(slot, &GrantLoss::SlotRemoved);
            }
        }
        let new: Vec<_> = statuses
            .iter()
            .filter(|status| !known.contains(status.slot_id()))
            .collect();
        let task_manager = self.task_manager_mut(id);
        task_manager.slots.extend(new.iter().map(|status| Slot {
            id: status.slot_id().clone(),
            profile: status.resource_profile().clone(),
            state: State::Unplaced,
            failed: None,
        }));
        task_manager.slots.sort_by_key(|slot| slot.id.slot_number());
        for status in statuses {
            if let Some(holder) = reported_holder(status) {
                if self.holder(status.slot_id()) != Some(holder) {
                    self.adopt(status.slot_id(), holder);
                }
            }
        }
        for status in statuses {
            if self.slot_mut(status.slot_id()).state == State::Unplaced {
                self.transaction.freed.push(status.slot_id().clone());
            }
        }
        for status in new {
            if status.allocation().is_none() && !former.iter().any(|slot| slot.id == *status.slot_id()) {
                self.fulfil_promise(id, status.resource_profile());
            }
        }
    }

    pub(super) fn holder(&self, slot: &SlotId) -> Option<(AllocationId, JobId)> {
        match self.find_slot(slot)?.state {
            State::Allocated { holder, .. } => Some(holder),
            _ => None,
        }
    }

    pub(super) fn update_profile(&mut self, slot: &SlotId, profile: &ResourceProfile) {
        let record = self.slot_mut(slot);
        if record.profile != *profile {
            record.profile = profile.clone();
            if matches!(record.state, State::Offered(_)) {
                record.state = State::Unplaced;
            }
        }
    }

    pub(super) fn drop_contradicted(&mut self, slot: &SlotId, reported: Option<(AllocationId, JobId)>) {
        match (self.slot_mut(slot).state.clone(), reported) {
            (State::Allocated { holder, beside }, Some(reported)) if holder == reported => {
                if beside.is_some() {
                    self.transaction.beside.push(slot.clone());
                }
            }
            (State::Allocated { .. }, Some((allocation_id, job_id))) => {
                self.drop_holding(slot, GrantLoss::HeldByAnother { allocation_id, job_id });
            }
            (State::Allocated { .. }, None) => self.drop_holding(slot, GrantLoss::ReportedFree),
            (State::InFlight(id), Some(reported)) => {
                if (id, self.request_mut(id).job_id) == reported {
                    return self.give(slot, id);
                }
                self.fence(id);
                self.request_mut(id).stage = Stage::Unplaced;
                self.transaction.unplaced.push(id);
                self.set_state(slot, State::Unplaced);
            }
            // The report may be older than the request. What is free is dealt with below.
            (_, None) => {}
            (_, Some(_)) => self.set_state(slot, State::Unplaced),
        }
    }

    /// What a new registration has where the old one lost a grant.
    pub(super) fn say_what_took_the_place(&mut self) {
        for mut dropped in std::mem::take(&mut self.transaction.dropped) {
            if self.find_slot(&dropped.slot).is_some() {
                dropped.loss = match self.holder(&dropped.slot) {
                    Some((allocation_id, job_id)) => GrantLoss::HeldByAnother { allocation_id, job_id },
                    None => GrantLoss::ReportedFree,
                };
            }
            self.transaction.dropped.push(dropped);
        }
    }
}
