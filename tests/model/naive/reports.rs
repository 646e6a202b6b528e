//! Reports, and the changes they cause.

use slot_manager::error::{InvalidReport, SlotReportError};
use slot_manager::message::{Allocation, GrantLoss};
use slot_manager::outcome::{ReportOutcome, Stale};
use slot_manager::{InstanceId, ResourceId, ResourceProfile, SlotId, SlotReport};

use super::{NaiveSlotManager, Slot, Stage, State};
use crate::command::Report;

impl NaiveSlotManager {
    /// Applies a report, unless a newer one was seen.
    pub(super) fn report(
        &mut self,
        instance_id: InstanceId,
        report: &Report,
    ) -> Result<ReportOutcome, SlotReportError> {
        self.begin_input()?;
        let Some(task_manager) = self.task_manager(instance_id) else {
            return Ok(ReportOutcome::Unknown);
        };
        validate(&task_manager.resource_id, report)?;
        if let (Some(revision), Some(highest_seen)) = (report.revision, task_manager.highest_revision) {
            if revision < highest_seen {
                return Ok(ReportOutcome::Ignored(Stale { revision, highest_seen }));
            }
        }
        self.apply_report(instance_id, report, &[]);
        self.end_input();
        Ok(ReportOutcome::Applied)
    }

    /// Applies a report: first contradicted holders are dropped, then holders are adopted, then
    /// free slots are noted.
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
                self.drop_contradicted(status.slot_id(), status.allocation());
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
            state: State::Detached,
            failed: None,
            refused: Vec::new(),
        }));
        task_manager.slots.sort_by_key(|slot| slot.id.slot_number());
        for status in statuses {
            if let Some(allocation) = status.allocation() {
                if self.holder(status.slot_id()) != Some(allocation) {
                    self.adopt(status.slot_id(), allocation);
                }
            }
        }
        for status in statuses {
            if self.slot_mut(status.slot_id()).state == State::Detached {
                self.transaction.freed.push(status.slot_id().clone());
            }
        }
        let had_slots = !known.is_empty() || !former.is_empty();
        self.transaction.has_newcomer |= !had_slots && !new.is_empty();
        let brought = new.iter().filter(|status| status.allocation().is_none());
        let brought = brought.filter(|status| !former.iter().any(|slot| slot.id == *status.slot_id()));
        let brought: Vec<_> = brought.map(|status| status.slot_id().clone()).collect();
        if !new.is_empty() && !self.promises.is_empty() {
            self.fulfil_promises(id, &brought);
        }
    }

    /// Changes the profile of a slot. An offered slot is offered anew.
    fn update_profile(&mut self, slot: &SlotId, profile: &ResourceProfile) {
        let record = self.slot_mut(slot);
        if record.profile != *profile {
            record.profile = profile.clone();
            let state = record.state.clone();
            self.note_holder(slot);
            let record = self.slot_mut(slot);
            if matches!(state, State::Offered(_) | State::WorkerBacksOff) {
                record.state = State::Detached;
            } else if matches!(state, State::BackingOff(_)) {
                self.transaction.freed.push(slot.clone());
            }
        }
    }

    /// Ends the grant, attempt or backoff of a slot that its status contradicts.
    fn drop_contradicted(&mut self, slot: &SlotId, reported: Option<Allocation>) {
        match (self.slot_mut(slot).state.clone(), reported) {
            (State::Allocated { allocation, secondary }, Some(reported)) if allocation == reported => {
                if secondary.is_some() {
                    self.transaction.secondaries.push(slot.clone());
                }
            }
            (State::Allocated { .. }, Some(Allocation { id, job })) => {
                let (allocation_id, job_id) = (id, job);
                self.drop_grant(slot, GrantLoss::HeldByAnother { allocation_id, job_id });
            }
            (State::Allocated { .. }, None) => self.drop_grant(slot, GrantLoss::ReportedFree),
            (State::InFlight(id), Some(reported)) => {
                if (id, self.request_mut(id).job_id) == (reported.id, reported.job) {
                    let owner = self.owner(slot).expect("a registered slot").instance_id;
                    self.worker_acknowledged(owner);
                    return self.grant(slot, id);
                }
                self.fence(id);
                self.request_mut(id).stage = Stage::Detached;
                self.transaction.detached.push(id);
                self.set_state(slot, State::Detached);
            }
            // The report may be older than the slot request. The caller notes slots that are free.
            (_, None) => {}
            (_, Some(_)) => self.set_state(slot, State::Detached),
        }
    }
}

/// Returns the error for which a report is refused as a whole.
pub(super) fn validate(resource_id: &ResourceId, report: &Report) -> Result<(), InvalidReport> {
    let slots = || report.statuses.iter().map(|status| &status.slot);
    if let Some(foreign) = slots().find(|slot| slot.resource_id() != resource_id) {
        return Err(InvalidReport::ForeignSlot {
            resource_id: resource_id.clone(),
            slot_id: foreign.clone(),
        });
    }
    let twice = slots().filter(|slot| slots().filter(|other| other == slot).count() > 1);
    match twice.min() {
        Some(twice) => Err(InvalidReport::DuplicateSlot { slot_id: twice.clone() }),
        None => Ok(()),
    }
}
