//! Inputs from workers: registrations, reports and ends.

use std::sync::Arc;

use crate::{
    GrantLoss, InstanceId, NotStarted, RegistrationOutcome, ReportOutcome, ResourceManagerActions, ScheduledExecutor,
    SlotManager, SlotReport, SlotReportError, TaskExecutorConnection, TaskExecutorGateway, UnregistrationOutcome,
    WorkerFailedOutcome, WorkerRequestId,
};

use crate::slot_manager::collections::arena::Key;

/// Inputs: what happens to workers.
impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// A task manager registers, with its first report. O(slots in it) + matching for each free one.
    ///
    /// - A known instance id: the same as [`report_slot_status`](Self::report_slot_status); the connection is dropped.
    /// - A new instance id of a known worker: the new registration takes the place of the old one in one transaction.
    ///   Attempts in flight to the old one are given up and their requests look for another slot; only what the report
    ///   does not show any more is lost.
    /// - A new worker, with whose slots there would be more than a [limit](SlotManagerConfig::max_slots) allows: it is
    ///   refused, and nothing changes; unless a slot of it holds an allocation or takes the place of a promised one.
    ///
    /// Free slots that were not known take the place of promised ones.
    ///
    /// # Errors
    /// All leave the state as it was and drop the connection: [`ForeignSlot`](SlotReportError::ForeignSlot),
    /// [`DuplicateSlot`](SlotReportError::DuplicateSlot),
    /// [`InstanceOfAnotherWorker`](SlotReportError::InstanceOfAnotherWorker),
    /// [`NotStarted`](SlotReportError::NotStarted).
    pub fn register_task_manager(
        &mut self,
        connection: TaskExecutorConnection<G>,
        report: &SlotReport,
    ) -> Result<RegistrationOutcome, SlotReportError> {
        self.begin_input()?;
        let TaskExecutorConnection {
            resource_id,
            instance_id,
            worker_request,
            gateway,
        } = connection;
        let registration = self
            .core
            .register_task_manager(&resource_id, instance_id, worker_request, report)?;
        if let Some(ended) = registration.ended {
            self.driver.remove_gateway(ended.index());
        }
        if let Some(begun) = registration.begun {
            self.driver.insert_gateway(begun.index(), gateway);
        }
        let changes_nothing = matches!(
            registration.outcome,
            RegistrationOutcome::Refused { .. } | RegistrationOutcome::Reported(ReportOutcome::Ignored(_))
        );
        if !changes_nothing {
            self.finish_input();
        }
        Ok(registration.outcome)
    }

    /// A task manager is gone. O(its slots) + matching for each request that was in flight to it.
    ///
    /// Its slots are forgotten, its grants are lost (notified, in the order of the slots), requests in flight to it
    /// look for another slot.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn unregister_task_manager(
        &mut self,
        instance_id: InstanceId,
        cause: impl Into<Arc<str>>,
    ) -> Result<UnregistrationOutcome, NotStarted> {
        self.begin_input()?;
        let Some(task_manager) = self.core.task_managers.by_instance(&instance_id) else {
            tracing::debug!(%instance_id, "unknown task manager not unregistered");
            return Ok(UnregistrationOutcome::Unknown);
        };
        let cause = cause.into();
        tracing::info!(%instance_id, %cause, "task manager unregistered");
        self.core
            .detach_task_manager(task_manager, GrantLoss::TaskManagerUnregistered { instance_id, cause });
        self.driver.remove_gateway(task_manager.index());
        self.core.commit();
        self.finish_input();
        Ok(UnregistrationOutcome::Unregistered)
    }

    /// A task manager reports its slots. O(slots in it) + matching for each that became free; an unchanged slot
    /// allocates nothing.
    ///
    /// The report is the truth: it is checked whole, then the view is brought to it, then waiting requests are matched
    /// once. Only an attempt in flight to a slot that is reported as free goes on, because the report may be older than
    /// the request.
    ///
    /// # Errors
    /// All leave the state as it was: [`ForeignSlot`](SlotReportError::ForeignSlot),
    /// [`DuplicateSlot`](SlotReportError::DuplicateSlot), [`NotStarted`](SlotReportError::NotStarted).
    pub fn report_slot_status(
        &mut self,
        instance_id: InstanceId,
        report: &SlotReport,
    ) -> Result<ReportOutcome, SlotReportError> {
        self.begin_input()?;
        let Some(task_manager) = self.core.task_managers.by_instance(&instance_id) else {
            tracing::debug!(%instance_id, "report of an unknown task manager ignored");
            return Ok(ReportOutcome::Unknown);
        };
        let outcome = self.core.report(task_manager, report)?;
        if outcome == ReportOutcome::Applied {
            self.finish_input();
        }
        Ok(outcome)
    }

    /// A worker that was asked for will not come. O(slots it promised).
    ///
    /// The requests its slots covered are covered by others, or ask for another worker within this call. If starting
    /// workers fails fast, call this after a pause, or answer the ask with
    /// [`WorkerPromise::Declined`](crate::WorkerPromise::Declined), which is asked again later: else asks and failures
    /// follow each other as fast as they can be reported.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn worker_failed(
        &mut self,
        worker_request: WorkerRequestId,
        cause: impl Into<Arc<str>>,
    ) -> Result<WorkerFailedOutcome, NotStarted> {
        self.begin_input()?;
        let Some(key) = self.core.promised_slots.find(worker_request) else {
            tracing::debug!(%worker_request, "unknown worker request has failed");
            return Ok(WorkerFailedOutcome::Unknown);
        };
        let promised_slots = self.core.end_worker_request(key, &cause.into());
        self.finish_input();
        Ok(WorkerFailedOutcome::Forgotten { promised_slots })
    }
}
