//! Registrations of task managers, and how they end.

use slot_manager::error::{RegistrationError, SlotReportError};
use slot_manager::message::{Allocation, GrantLoss, ReleaseDecision};
use slot_manager::outcome::{RegistrationOutcome, UnregistrationOutcome};
use slot_manager::{InstanceId, ResourceId, SlotReport, Timestamp, WorkerRequestId};

use super::dynamic_workers::Resources;
use super::failing_workers::Failures;
use super::reports::validate;
use super::scripted_answers::ScriptedAnswers;
use super::{NaiveSlotManager, TaskManager};
use crate::command::{Answer, Report};

/// The number of replaced instance ids that are remembered.
const MOST_SUPERSEDED: usize = 1_024;

impl NaiveSlotManager {
    /// Registers a worker. A further registration of the same instance is a report.
    pub(super) fn register(
        &mut self,
        resource_id: ResourceId,
        instance_id: InstanceId,
        worker_request: Option<WorkerRequestId>,
        answer: Answer,
        report: &Report,
    ) -> Result<RegistrationOutcome, RegistrationError> {
        self.begin_input()?;
        // A worker request of another leadership is ignored.
        let worker_request = worker_request.filter(|it| Some(it.leader_id()) == self.leader);
        if let Some(known) = self.task_manager(instance_id) {
            if known.resource_id != resource_id {
                return Err(RegistrationError::InstanceOfAnotherWorker {
                    instance_id,
                    registered: known.resource_id.clone(),
                    resource_id,
                });
            }
            return match self.report(instance_id, report) {
                Ok(outcome) => Ok(RegistrationOutcome::Reported(outcome)),
                Err(SlotReportError::InvalidReport(invalid)) => Err(invalid.into()),
                Err(other) => unreachable!("the manager is started: {other}"),
            };
        }
        if self.superseded.contains(&instance_id) {
            return Err(RegistrationError::Superseded { instance_id });
        }
        let report = &SlotReport::from(report);
        validate(&resource_id, None, report)?;
        if let Some(limit) = self.refusal(&resource_id, worker_request, report) {
            return Err(RegistrationError::LimitReached { limit });
        }
        let former = self
            .task_managers
            .iter()
            .find(|it| it.resource_id == resource_id)
            .cloned();
        if let Some(former) = &former {
            self.end_registration(former.instance_id, &GrantLoss::SlotRemoved);
            if former.worker_request != worker_request {
                self.fail_promise_of(former.worker_request);
            }
            self.superseded.push(former.instance_id);
            let old = self.superseded.len().saturating_sub(MOST_SUPERSEDED);
            self.superseded.drain(..old);
        }
        let registration = self.next();
        let place = self.vacant_place();
        let resources = report
            .dynamic()
            .map(|reported| Resources::reported(place, reported, &[]));
        self.task_managers.push(TaskManager {
            resource_id: resource_id.clone(),
            instance_id,
            registration,
            worker_request,
            has_fulfilled: false,
            failures: Failures::default(),
            answers: ScriptedAnswers::new(answer),
            release_answers: ScriptedAnswers::new(ReleaseDecision::Release),
            resources,
            slots: Vec::new(),
            highest_revision: None,
            reported_revision: None,
            idle_since: None,
            idle_periods: 0,
            idle_timer: (Timestamp::MAX, 0),
            kept: None,
            release_check: None,
        });
        self.transaction.unused.push(instance_id);
        self.note_worker(instance_id);
        self.apply_report(instance_id, report, former.as_ref());
        if report.dynamic().is_some() {
            let had_slots = |it: &TaskManager| it.resources.is_some() || !it.slots.is_empty();
            let is_newcomer = !former.as_ref().is_some_and(had_slots);
            self.transaction.has_newcomer |= is_newcomer;
            self.fulfil_promise_by_total(instance_id, is_newcomer);
        }
        self.update_losses();
        if former.is_none() {
            self.worker_started();
            self.worker_registered(&resource_id);
        }
        self.end_input();
        Ok(match former {
            Some(former) => RegistrationOutcome::Replaced {
                previous: former.instance_id,
            },
            None => RegistrationOutcome::Registered,
        })
    }

    /// Ends a registration.
    pub(super) fn unregister(&mut self, instance_id: InstanceId) -> UnregistrationOutcome {
        if self.begin_input().is_err() || self.task_manager(instance_id).is_none() {
            return UnregistrationOutcome::Unknown;
        }
        let cause = "lost".into();
        let worker_request = self.task_manager_mut(instance_id).worker_request;
        self.end_registration(instance_id, &GrantLoss::TaskManagerUnregistered { instance_id, cause });
        self.fail_promise_of(worker_request);
        self.end_input();
        UnregistrationOutcome::Unregistered
    }

    /// Removes a task manager with its slots.
    pub(super) fn end_registration(&mut self, id: InstanceId, loss: &GrantLoss) {
        let slots: Vec<_> = self
            .task_manager_mut(id)
            .slots
            .iter()
            .map(|slot| slot.id.clone())
            .collect();
        for slot in &slots {
            self.remove_slot(slot, loss);
        }
        self.end_earmark_on(id);
        self.task_managers.retain(|it| it.instance_id != id);
    }

    /// Ends the promise that a worker has kept until its first slot, as if the worker had failed.
    pub(super) fn fail_promise_of(&mut self, worker_request: Option<WorkerRequestId>) {
        if let Some(open) = worker_request.filter(|it| self.is_open(*it)) {
            self.fail_worker_request(open);
        }
    }

    /// Returns the instance ids of replaced registrations.
    pub(crate) fn replaced_instances(&self) -> &[InstanceId] {
        &self.superseded
    }

    /// Gives grants that a former registration lost the cause that the new registration shows.
    fn update_losses(&mut self) {
        for mut dropped in std::mem::take(&mut self.transaction.dropped) {
            if self.find_slot(&dropped.slot).is_some() {
                dropped.loss = match self.holder(&dropped.slot) {
                    Some(Allocation { id, job }) => GrantLoss::HeldByAnother {
                        allocation_id: id,
                        job_id: job,
                    },
                    None => GrantLoss::ReportedFree,
                };
            }
            self.transaction.dropped.push(dropped);
        }
    }
}
