//! Registrations of task managers: each is one transaction, checked whole before anything changes.

use crate::config::Limit;
use crate::error::RegistrationError;
use crate::message::{Allocation, GrantLoss};
use crate::outcome::RegistrationOutcome;
use crate::resource_profile::Remainder;
use crate::{DynamicResources, InstanceId, ResourceId, ResourceProfile, SlotReport, SlotStatus};

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::profile_queues::Fitting;
use crate::slot_manager::state::promises::WorkerRequestNumber;
use crate::slot_manager::state::slot_list::SlotList;
use crate::slot_manager::state::task_managers::{TaskManager, TaskManagerKey};

/// The result of a registration.
pub(crate) struct Registration {
    pub(crate) outcome: RegistrationOutcome,
    /// The registration that began; `None` for a report.
    pub(crate) begun: Option<TaskManagerKey>,
}

impl Core {
    /// Registers a task manager, or applies the report of one that is registered.
    pub(crate) fn register_task_manager(
        &mut self,
        resource_id: &ResourceId,
        instance_id: InstanceId,
        worker_request: Option<WorkerRequestNumber>,
        report: &SlotReport,
    ) -> Result<Registration, RegistrationError> {
        if let Some(known) = self.task_managers.by_instance(&instance_id) {
            let registered = &self.task_managers.records[known].resource_id;
            if registered != resource_id {
                self.counters.reports_refused += 1;
                return Err(RegistrationError::InstanceOfAnotherWorker {
                    instance_id,
                    registered: registered.clone(),
                    resource_id: resource_id.clone(),
                });
            }
            let is_unchanged = self.is_unchanged_by(known, report);
            let outcome = RegistrationOutcome::Reported(self.report(known, report, is_unchanged)?);
            return Ok(Registration { outcome, begun: None });
        }
        if self.superseded.contains(&instance_id) {
            tracing::warn!(%resource_id, %instance_id, "registration of a replaced instance refused");
            return Err(RegistrationError::Superseded { instance_id });
        }
        self.validate(resource_id, report)?;
        let previous = self.task_managers.by_resource(resource_id);
        if previous.is_none() {
            if let Some(limit) = self.limit_of_newcomer(resource_id, worker_request, report) {
                tracing::warn!(%resource_id, %instance_id, %limit, "task manager refused: beyond the limit");
                self.counters.task_managers_refused += 1;
                return Err(RegistrationError::LimitReached { limit });
            }
        }
        let mut previous_slots = Vec::new();
        let mut was_dynamic = false;
        let mut outcome = RegistrationOutcome::Registered;
        if let Some(previous) = previous {
            let record = &mut self.task_managers.records[previous];
            if record.expected_worker_request() == worker_request {
                // The new registration keeps the promise.
                record.worker_request = None;
            }
            previous_slots.extend(record.slots.iter().map(|(number, _)| *number));
            was_dynamic = record.slots.is_dynamic();
            outcome = RegistrationOutcome::Replaced {
                previous: record.instance_id,
            };
            self.superseded.note(record.instance_id);
            // The report may show the grants of the old registration: the commit decides what is
            // lost.
            self.end_registration(previous, GrantLoss::SlotRemoved);
        }
        let begun = self
            .task_managers
            .insert(TaskManager::new(resource_id.clone(), instance_id, worker_request));
        if self.blocking.workers.contains(resource_id) {
            self.blocking.task_managers.insert(begun);
        }
        if let Some(resources) = report.dynamic() {
            self.task_managers.records[begun].slots = SlotList::dynamic();
            self.insert_dynamic_worker(begun, report, resources);
        } else if was_dynamic {
            // The worker has fulfilled a promise with its total: none of its slots is news.
            previous_slots = report.statuses().iter().map(SlotStatus::number).collect();
            previous_slots.sort_unstable();
        }
        self.transaction.task_managers.push(begun);
        self.note_revision(begun, report);
        self.apply(begun, report, &previous_slots);
        if report.dynamic().is_some() {
            let is_newcomer = previous_slots.is_empty() && !was_dynamic;
            self.fulfil_promises_of_worker(begun, is_newcomer);
        }
        self.update_losses(begun);
        if previous.is_none() {
            self.worker_policy.worker_registered(resource_id);
        }
        let slots = report.statuses().len();
        tracing::info!(%resource_id, %instance_id, slots, ?outcome, "task manager registered");
        Ok(Registration {
            outcome,
            begun: Some(begun),
        })
    }

    /// Returns the limit that a new worker would exceed.
    ///
    /// A worker without slots, with a held slot, or with a slot that fulfils a promise is always
    /// admitted. If only promises stand in the way, a worker that would serve a waiting request is
    /// admitted, too: they end at the commit.
    fn limit_of_newcomer(
        &self,
        resource_id: &ResourceId,
        named: Option<WorkerRequestNumber>,
        report: &SlotReport,
    ) -> Option<Limit> {
        if !self.worker_policy.is_limited() {
            return None;
        }
        let quantity = self.reported_quantity(report);
        let limit = self.worker_policy.exceeded_by(self.present() + quantity)?;
        let statuses = report.statuses();
        let is_held = statuses.iter().any(|status| status.allocation().is_some());
        if is_held || (statuses.is_empty() && report.dynamic().is_none()) {
            return None;
        }
        let (promises, profiles) = (&self.promises, &self.profiles);
        let mut slots = statuses.iter().map(SlotStatus::resource_profile);
        let fulfils = match report.dynamic() {
            Some(resources) => promises.is_fulfilled_by_worker(profiles, resources.total(), named),
            None => slots
                .clone()
                .any(|slot| promises.is_fulfilled_by(profiles, slot, named)),
        };
        if fulfils {
            return None;
        }
        let has_room = self.worker_policy.exceeded_by(self.registered() + quantity).is_none();
        let mut serves = || match report.dynamic() {
            Some(resources) => self.is_waited_for_dynamic(resources),
            None => slots.any(|slot| self.is_waited_for(Fitting::Slot(slot))),
        };
        let is_useful = has_room && !self.blocking.workers.contains(resource_id) && serves();
        (!is_useful).then_some(limit)
    }

    /// Returns `true` if a dynamic worker that holds nothing would serve a request that waits or
    /// backs off.
    fn is_waited_for_dynamic(&self, resources: &DynamicResources) -> bool {
        let mut left = Remainder::of(resources.total());
        if let Some(free) = resources.free() {
            let _: Option<ResourceProfile> = left.lower_to(free);
        }
        let default_slot = resources.default_slot();
        self.is_waited_for(Fitting::Worker {
            remainder: left.as_slot(),
            fits_default_slot: default_slot.is_some_and(|slot| left.as_slot().is_matching(slot)),
        })
    }

    /// Returns `true` if a free slot or worker would serve a request that waits or backs off.
    fn is_waited_for(&self, slot: Fitting<'_>) -> bool {
        self.fits_waiting_request(slot) || self.fits_request_that_backs_off(slot)
    }

    /// Gives grants that were dropped with the old registration the loss that the new one shows.
    fn update_losses(&mut self, task_manager: TaskManagerKey) {
        let owner = &self.task_managers.records[task_manager];
        for dropped in &mut self.transaction.dropped {
            let loss = match owner.slot(dropped.slot.number) {
                None => continue,
                Some(slot) => match self.slots[slot].allocation() {
                    Some(Allocation { id, job }) => GrantLoss::HeldByAnother {
                        allocation_id: id,
                        job_id: job,
                    },
                    None => GrantLoss::ReportedFree,
                },
            };
            dropped.slot.loss = self.effects.notifications.add_loss(owner.resource_id.clone(), loss);
        }
    }

    /// Ends a registration and removes its slots. Attempts in flight end, grants are dropped with
    /// `loss`.
    pub(crate) fn end_registration(&mut self, task_manager: TaskManagerKey, loss: GrantLoss) {
        let loss = self.note_loss(task_manager, loss);
        let slots = std::mem::take(&mut self.task_managers.records[task_manager].slots);
        self.remove_slots(task_manager, &slots, loss);
        self.failing_workers.remove(task_manager);
        self.end_expected_worker(task_manager);
        self.end_idle_period(task_manager);
        self.remove_dynamic_worker(task_manager);
        self.blocking.task_managers.remove(&task_manager);
        self.task_managers.remove(task_manager);
        self.effects.ended_registrations.push(task_manager);
    }

    /// Returns `true` if the end of a registration only loses grants: its slots are all held or
    /// offered, and nothing else depends on them.
    #[inline]
    pub(crate) fn may_end_at_once(&self, task_manager: TaskManagerKey) -> bool {
        let owner = &self.task_managers.records[task_manager];
        owner.in_flight == 0
            && !owner.slots.is_dynamic()
            && owner.expected_worker_request().is_none()
            && self.failing_workers.is_empty()
            && self.slot_failures.is_empty()
            && !self.has_failures()
            && !self.requests.may_release_held_back
            && !self.blocking.is_any()
            && !self.ledger.is_on()
            && self.allocations.secondaries().is_empty()
    }

    /// Ends a registration that may end at once, and logs its grants as lost. They stay in the
    /// transaction until they are notified.
    #[inline(always)]
    pub(crate) fn end_registration_at_once(&mut self, task_manager: TaskManagerKey, loss: GrantLoss) {
        let loss = self.note_loss(task_manager, loss);
        let slots = std::mem::take(&mut self.task_managers.records[task_manager].slots);
        self.remove_slots(task_manager, &slots, loss);
        // The task manager goes: no idle period of it begins.
        self.transaction.task_managers.clear();
        self.end_idle_period(task_manager);
        self.task_managers.remove(task_manager);
        self.log_losses();
    }

    /// Ends the registration of an idle task manager that is being stopped. It has no grant to
    /// lose.
    pub(crate) fn forget_idle_task_manager(&mut self, task_manager: TaskManagerKey) {
        self.end_registration(task_manager, GrantLoss::SlotRemoved);
        debug_assert!(self.transaction.dropped.is_empty());
    }
}
