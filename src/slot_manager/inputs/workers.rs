//! Inputs from workers: registrations, reports and ends.

use std::sync::Arc;

use crate::error::{NotStarted, SlotReportError};
use crate::message::GrantLoss;
use crate::outcome::{RegistrationOutcome, ReportOutcome, UnregistrationOutcome, WorkerFailedOutcome};
use crate::{
    InstanceId, ResourceManagerActions, ScheduledExecutor, SlotManager, SlotReport, TaskExecutorConnection,
    TaskExecutorGateway, WorkerRequestId,
};

/// Inputs from workers.
impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Registers a task manager with its first report.
    ///
    /// - A known instance id is treated as [`report_slot_status`](Self::report_slot_status). The
    ///   connection is dropped.
    /// - A new instance id of a known worker replaces the old registration in one transaction.
    ///   Attempts in flight to the old one end, and their requests look for another slot. A grant
    ///   is lost only if the report does not show it.
    /// - A new worker that would exceed a [limit](crate::config::WorkerPolicy::max_slots) is refused
    ///   and nothing changes, unless one of its slots holds an allocation or fulfils a promise.
    ///
    /// New free slots fulfil promised slots.
    ///
    /// Cost: O(slots in the report) + matching for each free one.
    ///
    /// # Errors
    /// All errors leave the state as it was and drop the connection:
    /// [`ForeignSlot`](SlotReportError::ForeignSlot),
    /// [`DuplicateSlot`](SlotReportError::DuplicateSlot),
    /// [`InstanceOfAnotherWorker`](SlotReportError::InstanceOfAnotherWorker),
    /// [`NotStarted`](SlotReportError::NotStarted).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::testing::ScriptedGateway;
    /// use slot_manager::outcome::RegistrationOutcome;
    /// use slot_manager::{InstanceId, ResourceProfile, SlotId, SlotReport, SlotStatus, TaskExecutorConnection};
    ///
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions};
    /// # use slot_manager::{LeaderId, SlotManager, SlotManagerConfig};
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// let report = SlotReport::new(vec![SlotStatus::free(SlotId::new("worker-1", 0), profile)]);
    /// let connection = TaskExecutorConnection::new("worker-1", InstanceId::from_u128(1), ScriptedGateway::new());
    /// let outcome = manager.register_task_manager(connection, &report)?;
    /// assert_eq!(outcome, RegistrationOutcome::Registered);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        if let Some(begun) = registration.begun {
            self.driver.insert_gateway(&mut self.core, begun, gateway);
        }
        match registration.outcome {
            RegistrationOutcome::Refused { .. } | RegistrationOutcome::Reported(ReportOutcome::Ignored(_)) => {}
            RegistrationOutcome::Reported(_) => self.finish_unchanged_input(),
            _ => self.finish_input(),
        }
        Ok(registration.outcome)
    }

    /// Unregisters a task manager that is gone.
    ///
    /// Its slots are forgotten. Its grants are lost and notified in the order of the slots.
    /// Requests in flight to it look for another slot.
    ///
    /// Cost: O(its slots) + matching for each request that was in flight to it.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, slot_id) = (InstanceId::from_u128(1), SlotId::new("worker-1", 0));
    /// # let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]);
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, ScriptedGateway::new());
    /// # let registered = manager.register_task_manager(connection, &report)?;
    /// let outcome = manager.unregister_task_manager(instance_id, "heartbeat timeout")?;
    /// assert_eq!(outcome, UnregistrationOutcome::Unregistered);
    /// assert_eq!(manager.slots().count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
            .end_registration(task_manager, GrantLoss::TaskManagerUnregistered { instance_id, cause });
        self.finish_input();
        Ok(UnregistrationOutcome::Unregistered)
    }

    /// Applies the slot report of a task manager.
    ///
    /// The report is the truth. It is checked whole, the view is brought to it, and waiting
    /// requests are matched once. An attempt in flight to a slot that the report shows as free goes
    /// on: the report may be older than the request.
    ///
    /// Cost: O(slots in the report) + matching for each that became free. An unchanged slot
    /// allocates nothing.
    ///
    /// # Errors
    /// All errors leave the state as it was: [`ForeignSlot`](SlotReportError::ForeignSlot),
    /// [`DuplicateSlot`](SlotReportError::DuplicateSlot),
    /// [`NotStarted`](SlotReportError::NotStarted).
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, slot_id) = (InstanceId::from_u128(1), SlotId::new("worker-1", 0));
    /// # let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]);
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, ScriptedGateway::new());
    /// # let registered = manager.register_task_manager(connection, &report)?;
    /// // The report shows that slot 0 is gone and slot 1 is new.
    /// let report = SlotReport::new(vec![SlotStatus::free(SlotId::new("worker-1", 1), profile)]);
    /// assert_eq!(manager.report_slot_status(instance_id, &report)?, ReportOutcome::Applied);
    /// assert!(manager.slot(&slot_id).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
            // The rule has noted a change, if there was one.
            self.finish_unchanged_input();
        }
        Ok(outcome)
    }

    /// Ends a worker request: the worker will not come.
    ///
    /// Its promised slots end. Requests bound to them are bound to other promised slots, or request
    /// another worker within this call. If starting workers fails fast, call this after a delay, or
    /// answer the worker request with [`WorkerPromise::Declined`](crate::message::WorkerPromise::Declined),
    /// which is retried later. Otherwise requests and failures alternate without a break.
    ///
    /// Cost: O(slots that it promised).
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// let actions = RecordingActions::new();
    /// actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    /// # manager.start(LeaderId::from_u128(1), actions)?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, slot_id) = (InstanceId::from_u128(1), SlotId::new("worker-1", 0));
    /// # let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]);
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, ScriptedGateway::new());
    /// # let registered = manager.register_task_manager(connection, &report)?;
    /// # let profile = ResourceProfile::builder().cpu_cores(2.0).build()?;
    /// # let allocation_id = AllocationId::from_u128(1);
    /// # let request = SlotRequest::new(JobId::from_u128(7), allocation_id, profile.clone(), "job-master-7");
    /// # let accepted = manager.register_slot_request(request)?;
    /// // No slot fits the request, so the manager has made worker request 1.
    /// let outcome = manager.worker_failed(WorkerRequestId::new(1), "no machine available")?;
    /// assert_eq!(outcome, WorkerFailedOutcome::Forgotten { promised_slots: 1 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn worker_failed(
        &mut self,
        worker_request: WorkerRequestId,
        cause: impl Into<Arc<str>>,
    ) -> Result<WorkerFailedOutcome, NotStarted> {
        self.begin_input()?;
        let Some(key) = self.core.promises.find(worker_request) else {
            tracing::debug!(%worker_request, "failure of an unknown worker request ignored");
            return Ok(WorkerFailedOutcome::Unknown);
        };
        let promised_slots = self.core.end_worker_request(key, &cause.into());
        self.finish_input();
        Ok(WorkerFailedOutcome::Forgotten { promised_slots })
    }
}
