//! Reports, and the changes they cause.

use slot_manager::error::{InvalidReport, SlotReportError};
use slot_manager::message::{Allocation, GrantLoss};
use slot_manager::outcome::{ReportOutcome, Stale};
use slot_manager::{InstanceId, ResourceId, ResourceProfile, SlotId, SlotReport, SlotStatus};

use super::dynamic_workers::FIRST_NUMBER;
use super::{NaiveSlotManager, Slot, Stage, State, TaskManager};
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
        let report = &SlotReport::from(report);
        validate(&task_manager.resource_id, Some(task_manager), report)?;
        if let (Some(revision), Some(highest_seen)) = (report.revision(), task_manager.highest_revision) {
            if revision < highest_seen {
                return Ok(ReportOutcome::Ignored(Stale { revision, highest_seen }));
            }
        }
        self.apply_report(instance_id, report, None);
        self.end_input();
        Ok(ReportOutcome::Applied)
    }

    /// Applies a report: first contradicted holders are dropped, then holders are adopted, then
    /// free slots are noted.
    pub(super) fn apply_report(&mut self, id: InstanceId, report: &SlotReport, former: Option<&TaskManager>) {
        let statuses = report.statuses();
        let task_manager = self.task_manager_mut(id);
        task_manager.reported_revision = report.revision().or(task_manager.reported_revision);
        task_manager.highest_revision = task_manager.highest_revision.max(report.revision());
        if let (Some(resources), Some(reported)) = (&mut task_manager.resources, report.dynamic()) {
            let before = resources.clone();
            let slots: Vec<_> = statuses.iter().map(SlotStatus::resource_profile).collect();
            resources.update(reported, &slots);
            if *resources != before || task_manager.holds_other_slots_than(statuses) {
                self.note_worker(id);
            }
        }
        let task_manager = self.task_manager(id).expect("a registered task manager");
        let known: Vec<_> = task_manager.slots.iter().map(|slot| slot.id.clone()).collect();
        for status in statuses {
            if known.contains(status.slot_id()) {
                self.update_profile(status.slot_id(), status.resource_profile());
                self.drop_contradicted(status.slot_id(), status.allocation());
            }
        }
        for slot in &known {
            let is_mentioned = statuses.iter().any(|status| status.slot_id() == slot);
            // The task executor of a dynamic worker shows a slot from the acknowledgement on.
            let goes_on = report.dynamic().is_some() && matches!(self.slot_mut(slot).state, State::InFlight(_));
            if !is_mentioned && !goes_on {
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
        if report.dynamic().is_some() {
            return;
        }
        // A worker that was dynamic has fulfilled promises with its total.
        let was_dynamic = former.is_some_and(|it| it.resources.is_some());
        let former = former.map_or(&[][..], |it| &it.slots);
        let had_slots = !known.is_empty() || !former.is_empty() || was_dynamic;
        self.transaction.has_newcomer |= !had_slots && !new.is_empty();
        let brought = new
            .iter()
            .filter(|status| status.allocation().is_none() && !was_dynamic);
        let brought = brought.filter(|status| !former.iter().any(|slot| slot.id == *status.slot_id()));
        let brought: Vec<_> = brought.map(|status| status.slot_id().clone()).collect();
        if !new.is_empty() && !self.open_worker_requests().is_empty() {
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
///
/// A worker is static or dynamic for the life of a registration.
pub(super) fn validate(
    resource_id: &ResourceId,
    known: Option<&TaskManager>,
    report: &SlotReport,
) -> Result<(), InvalidReport> {
    let (resource_id, is_dynamic) = (resource_id.clone(), report.dynamic().is_some());
    if known.is_some_and(|it| it.resources.is_some() != is_dynamic) {
        return Err(InvalidReport::KindChanged { resource_id });
    }
    if report
        .dynamic()
        .is_some_and(|it| *it.total() == ResourceProfile::UNKNOWN)
    {
        return Err(InvalidReport::UnknownTotal { resource_id });
    }
    for status in report.statuses() {
        let slot_id = status.slot_id().clone();
        if *slot_id.resource_id() != resource_id {
            return Err(InvalidReport::ForeignSlot { resource_id, slot_id });
        } else if (slot_id.slot_number() >= FIRST_NUMBER) != is_dynamic {
            return Err(InvalidReport::MixedSlots { slot_id });
        } else if is_dynamic && status.allocation().is_none() {
            return Err(InvalidReport::FreeDynamicSlot { slot_id });
        }
    }
    let slots = || report.statuses().iter().map(SlotStatus::slot_id);
    let twice = slots().filter(|slot| slots().filter(|other| other == slot).count() > 1);
    match twice.min() {
        Some(twice) => Err(InvalidReport::DuplicateSlot { slot_id: twice.clone() }),
        None => Ok(()),
    }
}
