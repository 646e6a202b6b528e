//! Registrations of task managers: each is one transaction, checked whole before anything transaction.

use crate::config::Quantity;
use crate::{
    GrantLoss, InstanceId, Limit, RegistrationOutcome, ResourceId, SlotReport, SlotReportError, WorkerRequestId,
};

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::profile_queues::Fitting;
use crate::slot_manager::state::task_managers::{TaskManager, TaskManagerKey};

/// What a registration did, for the owner of the gateways.
pub(crate) struct Registration {
    pub(crate) outcome: RegistrationOutcome,
    /// The registration that began, if one did.
    pub(crate) begun: Option<TaskManagerKey>,
    /// The registration that ended. Its key may be that of the new one.
    pub(crate) ended: Option<TaskManagerKey>,
}

impl Core {
    /// Registers a task manager, or takes the report of one that is registered.
    pub(crate) fn register_task_manager(
        &mut self,
        resource_id: &ResourceId,
        instance_id: InstanceId,
        worker_request: Option<WorkerRequestId>,
        report: &SlotReport,
    ) -> Result<Registration, SlotReportError> {
        if let Some(known) = self.task_managers.by_instance(&instance_id) {
            let registered = &self.task_managers.records[known].resource_id;
            if registered != resource_id {
                self.counters.reports_refused += 1;
                return Err(SlotReportError::InstanceOfAnotherWorker {
                    instance_id,
                    registered: registered.clone(),
                    resource_id: resource_id.clone(),
                });
            }
            return Ok(Registration {
                outcome: RegistrationOutcome::Reported(self.report(known, report)?),
                begun: None,
                ended: None,
            });
        }
        self.validate(resource_id, report)?;
        let ended = self.task_managers.by_resource(resource_id);
        if ended.is_none() {
            if let Some(limit) = self.refuses(worker_request, report) {
                tracing::warn!(%resource_id, %instance_id, %limit, "task manager refused: beyond the limit");
                self.counters.task_managers_refused += 1;
                return Ok(Registration {
                    outcome: RegistrationOutcome::Refused { limit },
                    begun: None,
                    ended: None,
                });
            }
        }
        let mut previous_slots = Vec::new();
        let mut outcome = RegistrationOutcome::Registered;
        if let Some(ended) = ended {
            let previous = &self.task_managers.records[ended];
            previous_slots.extend(previous.slots.iter().map(|(number, _)| *number));
            outcome = RegistrationOutcome::Replaced {
                previous: previous.instance_id,
            };
            // What the old registration deferred may be in the report: what is lost is judged on the result.
            self.detach_task_manager(ended, GrantLoss::SlotRemoved);
        }
        let begun = self
            .task_managers
            .insert(TaskManager::new(resource_id.clone(), instance_id, worker_request));
        if self.blocking.workers.contains(resource_id) {
            self.blocking.task_managers.insert(begun);
        }
        self.transaction.task_managers.push(begun);
        self.note_revision(begun, report);
        self.apply(begun, report, &previous_slots);
        self.update_losses(begun);
        self.commit();
        let slots = report.statuses().len();
        tracing::info!(%resource_id, %instance_id, slots, ?outcome, "task manager registered");
        Ok(Registration {
            outcome,
            begun: Some(begun),
            ended,
        })
    }

    /// The limit that a worker would be beyond that registers anew, unless it keeps a promise or holds an allocation.
    #[inline]
    pub(crate) fn refuses(&self, named: Option<WorkerRequestId>, report: &SlotReport) -> Option<Limit> {
        match self.worker_policy.is_limited() {
            true => self.limit_of_newcomer(named, report),
            false => None,
        }
    }

    fn limit_of_newcomer(&self, named: Option<WorkerRequestId>, report: &SlotReport) -> Option<Limit> {
        let statuses = report.statuses();
        let slots = statuses
            .iter()
            .map(|status| Quantity::of_slot(status.resource_profile()));
        let limit = self
            .worker_policy
            .exceeded_by(slots.fold(self.present(), |sum, slot| sum + slot))?;
        let is_needed = |status: &crate::SlotStatus| {
            let fitting = Fitting::Slot(status.resource_profile());
            status.allocation().is_some() || self.promised_slots.is_fulfilled_by(&self.profiles, fitting, named)
        };
        let is_refused = !statuses.is_empty() && !statuses.iter().any(is_needed);
        is_refused.then_some(limit)
    }

    /// Says of grants that were dropped with an old registration what the new one has in their place.
    fn update_losses(&mut self, task_manager: TaskManagerKey) {
        let owner = &self.task_managers.records[task_manager];
        for dropped in &mut self.transaction.dropped {
            let loss = match owner.slot(dropped.slot.number) {
                None => continue,
                Some(slot) => match self.slots[slot].holder() {
                    Some((allocation_id, job_id)) => GrantLoss::HeldByAnother { allocation_id, job_id },
                    None => GrantLoss::ReportedFree,
                },
            };
            dropped.slot.loss = self.effects.losses.add(owner.resource_id.clone(), loss);
        }
    }
}
