//! Inputs from workers: registrations, reports and ends.

use std::sync::Arc;

use crate::error::{RegistrationError, SlotReportError};
use crate::message::{AttemptId, GrantLoss, SlotResult};
use crate::outcome::{
    RecoveryOutcome, RegistrationOutcome, ReportOutcome, SlotAnswerOutcome, UnregistrationOutcome, WorkerFailedOutcome,
};
use crate::view::Recovery;
use crate::{
    InstanceId, ResourceId, ResourceManagerActions, ScheduledExecutor, SlotManager, SlotReport, TaskExecutorConnection,
    TaskExecutorGateway, WorkerRequestId,
};

use crate::slot_manager::state::task_managers::TaskManagerKey;

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
    /// - A new worker that would exceed a [limit](crate::config::WorkerPolicy::max_slots) is
    ///   refused, unless one of its slots holds an allocation or fulfils a promise. If only
    ///   promised slots stand in the way, a worker that would serve a waiting request is
    ///   registered, too.
    /// - A delayed registration of an instance that was replaced is refused. The last 1,024 are
    ///   remembered.
    ///
    /// # Promised slots
    ///
    /// - A worker that names an open [worker request](TaskExecutorConnection::with_worker_request)
    ///   ends its whole promise with its first slots. Slots that it did not bring are requested
    ///   again within the call, if a request waits for them. Until its first slots it keeps the
    ///   promise. If its registration ends before, the worker request has failed.
    /// - Each new free slot of another worker fulfils one promised slot: the oldest of equal
    ///   profile, else the oldest that it fits, else the oldest of profile `ANY`, else the oldest
    ///   without a bound request. A slot that fulfils none and serves a bound request fulfils the
    ///   promised slot of that request.
    /// - A new worker that fulfils promised slots, but not the last one of a worker request, has
    ///   brought fewer slots than promised. The rest of the oldest of these worker requests ends.
    ///   Slots that only fulfil the oldest promised slot without a bound request do not count here.
    /// - If the slots of a new worker and the promised slots exceed a limit together, promises end
    ///   by whole worker requests: first those without a bound request, then the youngest. The
    ///   manager asks to withdraw each.
    ///
    /// Cost: O(slots in the report) + matching for each free one.
    ///
    /// # Errors
    /// [`RegistrationError`]: the state is as before, and the connection is dropped.
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
    ) -> Result<RegistrationOutcome, RegistrationError> {
        let present = self.begin_input()?;
        let TaskExecutorConnection {
            resource_id,
            instance_id,
            leader_id,
            worker_request,
            gateway,
        } = connection;
        if let Some(named) = leader_id.filter(|named| *named != present) {
            tracing::debug!(%resource_id, %named, "registration with another leader refused");
            return Err(RegistrationError::OtherLeader { named, present });
        }
        let worker_request = worker_request.and_then(|id| self.core.number_of(id));
        let registration = self
            .core
            .register_task_manager(&resource_id, instance_id, worker_request, report)?;
        if let Some(begun) = registration.begun {
            self.driver.insert_gateway(&mut self.core, begun, gateway);
        }
        match registration.outcome {
            RegistrationOutcome::Reported(ReportOutcome::Ignored(_)) => {}
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
    /// let outcome = manager.unregister_task_manager(instance_id, "heartbeat timeout");
    /// assert_eq!(outcome, UnregistrationOutcome::Unregistered);
    /// assert_eq!(manager.slots().count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unregister_task_manager(
        &mut self,
        instance_id: InstanceId,
        cause: impl Into<Arc<str>>,
    ) -> UnregistrationOutcome {
        let is_started = self.begin_input().is_ok();
        let known = self.core.task_managers.by_instance(&instance_id);
        let Some(task_manager) = known.filter(|_| is_started) else {
            tracing::debug!(%instance_id, "unknown task manager not unregistered");
            return UnregistrationOutcome::Unknown;
        };
        let cause = cause.into();
        tracing::info!(%instance_id, %cause, "task manager unregistered");
        let loss = GrantLoss::TaskManagerUnregistered { instance_id, cause };
        match self.core.may_end_at_once(task_manager) {
            true => self.unregister_at_once(task_manager, loss),
            false => {
                self.core.end_registration(task_manager, loss);
                self.finish_input();
            }
        }
        UnregistrationOutcome::Unregistered
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
    /// [`SlotReportError`]: the state is as before.
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
        let is_unchanged = self.core.is_unchanged_by(task_manager, report);
        if is_unchanged && report.revision().is_none() {
            self.finish_untouched_input();
            return Ok(ReportOutcome::Applied);
        }
        self.report_the_long_way(task_manager, report, is_unchanged)
    }

    /// Applies a report by the rules. `is_unchanged` is `true` only if it is known to change no slot.
    #[inline(never)]
    pub(crate) fn report_the_long_way(
        &mut self,
        task_manager: TaskManagerKey,
        report: &SlotReport,
        is_unchanged: bool,
    ) -> Result<ReportOutcome, SlotReportError> {
        let outcome = self.core.report(task_manager, report, is_unchanged)?;
        if outcome == ReportOutcome::Applied {
            // The rule has noted a change, if there was one.
            self.finish_unchanged_input();
        }
        Ok(outcome)
    }

    /// Applies the answer of a task executor to a slot request that was
    /// [answered later](crate::message::SlotAnswer::Later).
    ///
    /// Pass answers, reports and freed slots of one task executor in the order in which it sent
    /// them. An attempt that awaits a future can be answered so too: the first answer counts. The
    /// attempt ends without an answer after
    /// [`rpc_timeout`](crate::SlotManagerConfig::rpc_timeout).
    ///
    /// Cost: O(1) + matching if the attempt failed.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{GatewayAnswer, ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, slot_id) = (InstanceId::from_u128(1), SlotId::new("worker-1", 0));
    /// # let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]);
    /// # let gateway = ScriptedGateway::new();
    /// # gateway.answer_requests(GatewayAnswer::Later);
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, gateway.clone());
    /// # let registered = manager.register_task_manager(connection, &report)?;
    /// # let allocation_id = AllocationId::from_u128(1);
    /// # let request = SlotRequest::new(JobId::from_u128(7), allocation_id, profile, "job-master-7");
    /// # let accepted = manager.register_slot_request(request)?;
    /// // The task executor answers the request that its gateway has sent.
    /// let attempt_id = AttemptId { leader_id: LeaderId::from_u128(1), allocation_id, number: 1 };
    /// let answer = Ok(Acknowledge::new().with_revision(1));
    /// assert_eq!(manager.answer_slot_request(attempt_id, answer), SlotAnswerOutcome::Applied);
    /// assert_eq!(manager.allocation_status(allocation_id), Some(AllocationStatus::Granted { slot_id }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn answer_slot_request(&mut self, attempt_id: AttemptId, result: SlotResult) -> SlotAnswerOutcome {
        if self.begin_input().is_err() {
            return SlotAnswerOutcome::Unknown;
        }
        if let Ok(acknowledge) = &result {
            if self.acknowledge_at_once(attempt_id, acknowledge.revision()) {
                return SlotAnswerOutcome::Applied;
            }
        }
        self.answer_the_long_way(attempt_id, result)
    }

    /// Applies the answer to an attempt by the rules.
    pub(crate) fn answer_the_long_way(&mut self, attempt_id: AttemptId, result: SlotResult) -> SlotAnswerOutcome {
        let outcome = self.core.answer(attempt_id, result);
        if outcome == SlotAnswerOutcome::Applied {
            self.finish_input();
        }
        outcome
    }

    /// Sets the workers of earlier leaderships that are expected to register, and ends the
    /// [recovery](crate::SlotManagerConfig::recovery_timeout) when each of them has.
    ///
    /// Name workers that run and workers that are being started. A worker that has registered in
    /// this recovery is not missing, also if it is lost since. A later call replaces the workers,
    /// for example when the service learns that one of the
    /// [missing](crate::view::Recovery::missing_workers) ones is gone.
    ///
    /// Cost: O(workers * log(workers)).
    ///
    /// # Example
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// let config = SlotManagerConfig::default().with_recovery_timeout(Duration::from_secs(60));
    /// # let mut manager = SlotManager::new(config, ManualScheduledExecutor::new())?;
    /// manager.start(LeaderId::from_u128(2), RecordingActions::new())?;
    /// // The cluster shows one worker of the former leader.
    /// let worker = ResourceId::new("worker-1");
    /// assert_eq!(manager.expect_workers([worker.clone()]), RecoveryOutcome::Waiting { missing: 1 });
    ///
    /// let connection = TaskExecutorConnection::new(worker, InstanceId::from_u128(1), ScriptedGateway::new());
    /// let outcome = manager.register_task_manager(connection, &SlotReport::default())?;
    /// assert_eq!(outcome, RegistrationOutcome::Registered);
    /// assert_eq!(manager.end_recovery(), RecoveryOutcome::NotRecovering);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn expect_workers(&mut self, workers: impl IntoIterator<Item = ResourceId>) -> RecoveryOutcome {
        if self.begin_input().is_err() {
            return RecoveryOutcome::NotRecovering;
        }
        let outcome = self.core.worker_policy.expect_workers(workers.into_iter());
        if outcome == RecoveryOutcome::Ended {
            self.finish_input();
        }
        outcome
    }

    /// Ends the [recovery](crate::SlotManagerConfig::recovery_timeout): no worker of an earlier
    /// leadership will come. Workers that are needed are requested within the call.
    ///
    /// Call it right after the first start of a cluster.
    pub fn end_recovery(&mut self) -> RecoveryOutcome {
        self.expect_workers([])
    }

    /// Returns the recovery of this leadership; `None` once it is over, or if none is configured.
    ///
    /// Look at it after each registration and while time passes, for example to tell jobs which of
    /// their grants nobody reports.
    ///
    /// # Example
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// let config = SlotManagerConfig::default().with_recovery_timeout(Duration::from_secs(60));
    /// # let mut manager: SlotManager<_, ScriptedGateway, _> =
    /// #     SlotManager::new(config, ManualScheduledExecutor::new())?;
    /// manager.start(LeaderId::from_u128(2), RecordingActions::new())?;
    /// let workers = ["worker-1", "worker-2"].map(ResourceId::new);
    /// assert_eq!(manager.expect_workers(workers.clone()), RecoveryOutcome::Waiting { missing: 2 });
    ///
    /// let recovery = manager.recovery().ok_or("the recovery is over")?;
    /// assert_eq!(recovery.until, Timestamp::from_secs(60));
    /// assert_eq!(recovery.missing_workers, Some(&workers.into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recovery(&self) -> Option<Recovery<'_>> {
        self.core.worker_policy.recovery()
    }

    /// Ends a worker request: the worker will not come.
    ///
    /// Its promised slots end. Requests bound to them are bound to other promised slots, or request
    /// another worker within this call. If starts fail too often, worker requests are deferred for
    /// some time, see
    /// [`max_start_failure_rate`](crate::SlotManagerConfig::max_start_failure_rate). The end of a
    /// worker request that the manager asked to withdraw does not count as a failed start.
    ///
    /// Cost: O(slots that it promised).
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
    /// let worker_request = WorkerRequestId::new(LeaderId::from_u128(1), 1);
    /// let outcome = manager.worker_failed(worker_request, "no machine available");
    /// assert_eq!(outcome, WorkerFailedOutcome::Forgotten { promised_slots: 1 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn worker_failed(
        &mut self,
        worker_request: WorkerRequestId,
        cause: impl Into<Arc<str>>,
    ) -> WorkerFailedOutcome {
        let is_started = self.begin_input().is_ok();
        let number = self.core.number_of(worker_request).filter(|_| is_started);
        let Some(key) = number.and_then(|number| self.core.promises.find(number)) else {
            tracing::debug!(%worker_request, "failure of an unknown worker request ignored");
            return WorkerFailedOutcome::Unknown;
        };
        let promised_slots = self.core.end_worker_request(key, &cause.into());
        self.finish_input();
        WorkerFailedOutcome::Forgotten { promised_slots }
    }
}
